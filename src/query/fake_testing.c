#include "query/fake_testing.h"

#include "base/mem.h"

static const CatalogTable *table_by_name(void *ctx, Str name) {
    FakeCatalog *fake = ctx;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < fake->count; i++) {
            const CatalogTable *table = fake->tables[i];
            if (str_eq(pass == 0 ? table->name : table->source, name)) return table;
        }
    }
    return NULL;
}

static void each_table(void *ctx, bool (*each)(void *ectx, const CatalogTable *table), void *ectx) {
    FakeCatalog *fake = ctx;
    for (uint32_t i = 0; i < fake->count; i++) {
        if (!each(ectx, fake->tables[i])) return;
    }
}

static Err each_rule(void *ctx,
                     const CatalogTable *table,
                     bool (*each)(void *ectx, Str sql),
                     void *ectx) {
    FakeCatalog *fake = ctx;
    for (uint32_t i = 0; i < fake->rule_count; i++) {
        if (fake->rules[i].table == table && !each(ectx, fake->rules[i].sql)) break;
    }
    return OK;
}

void fake_rule(FakeCatalog *fake, const CatalogTable *table, const char *sql) {
    ASSERT(fake->rule_count < ARRAY_LEN(fake->rules));
    fake->rules[fake->rule_count].table = table;
    fake->rules[fake->rule_count++].sql = str_from(sql);
}

FakeCatalog *fake_new(void) {
    FakeCatalog *fake = MEM_NEW(FakeCatalog);
    ASSERT(fake);
    fake->door = (QueryCatalog){.ctx = fake,
                                .table_by_name = table_by_name,
                                .each_table = each_table,
                                .schema_version = 1,
                                .each_rule = each_rule,
                                .stats = query_stats_new()};
    ASSERT(fake->door.stats);
    return fake;
}

void fake_free(FakeCatalog **fake) {
    if (!*fake) return;
    query_stats_free(&(*fake)->door.stats);
    arena_deinit(&(*fake)->arena);
    mem_free(*fake);
    *fake = NULL;
}

CatalogTable *fake_table(FakeCatalog *fake,
                         const char *name,
                         const FakeColumn *columns,
                         uint32_t count) {
    CatalogTable *table = arena_new(&fake->arena, CatalogTable);
    CatalogColumn *copy = arena_array(&fake->arena, CatalogColumn, count);
    TypeField *fields = arena_array(&fake->arena, TypeField, count);
    ASSERT(table && copy && fields && fake->count < ARRAY_LEN(fake->tables));
    for (uint32_t i = 0; i < count; i++) {
        const char *accessor = columns[i].accessor ? columns[i].accessor : columns[i].name;
        copy[i] = (CatalogColumn){
            .name = str_from(columns[i].name),
            .source = str_from(accessor),
            .type = columns[i].type,
        };
        fields[i] = (TypeField){copy[i].name, copy[i].type};
    }
    *table = (CatalogTable){
        .table_id = 4096 + fake->count,
        .name = str_from(name),
        .source = str_from(name),
        .columns = copy,
        .column_count = count,
        .row_type = type_product(&fake->arena, fields, count),
        .primary_key = -1,
        .is_public = true,
    };
    ASSERT(table->row_type);
    fake->tables[fake->count++] = table;
    return table;
}
