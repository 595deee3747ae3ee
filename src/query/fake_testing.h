// fake_testing.h: a catalog made by hand, for the tests of query/ and live/.
#pragma once
#include "query/query.h"

typedef struct FakeColumn {
    const char *name;
    const Type *type;
    const char *accessor;  // NULL: as name
} FakeColumn;

typedef struct FakeCatalog {
    Arena arena;
    CatalogTable *tables[64];
    uint32_t count;
    struct {
        const CatalogTable *table;
        Str sql;
    } rules[16];
    uint32_t rule_count;
    QueryCatalog door;
} FakeCatalog;

// Each asserts that memory suffices. Tables are public, keyless and without rows (table is NULL).
FakeCatalog *fake_new(void);
void fake_free(FakeCatalog **fake);
CatalogTable *fake_table(FakeCatalog *fake,
                         const char *name,
                         const FakeColumn *columns,
                         uint32_t count);
#define FAKE_TABLE(fake, name, ...)               \
    fake_table((fake),                            \
               (name),                            \
               (const FakeColumn[]){__VA_ARGS__}, \
               sizeof((const FakeColumn[]){__VA_ARGS__}) / sizeof(FakeColumn))

// Row-level security. The text must outlive the catalog.
void fake_rule(FakeCatalog *fake, const CatalogTable *table, const char *sql);

// Give the table rows in the store, clustered by `primary` (-1: by row hash). Each index is a
// string of digits, its columns, behind 'u' when it is unique: "u0", "12". At most four of them.
void fake_store_table(CatalogTable *table,
                      Store *store,
                      int32_t primary,
                      const char *const *indexes,
                      uint32_t count);
