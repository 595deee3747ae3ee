// catalog.c: the catalog's life, and finding tables and indexes in it. See catalog.h for the
// picture, catalog_internal.h for where everything is.
#include "txn/catalog_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

// ── entries ────────────────────────────────────────────────────────────────────────────────────

bool entry_list_reserve(EntryList *list, uint32_t more) {
    if (list->cap - list->count >= more) return true;
    uint32_t cap = MAX(list->cap * 2, list->count + more);
    CatalogEntry **at = mem_realloc(list->at, cap * sizeof *at);
    if (!at) return false;
    list->at = at;
    list->cap = cap;
    return true;
}

void entry_free(CatalogEntry *entry) {
    if (!entry) return;
    arena_deinit(&entry->arena);
    mem_free(entry);
}

static void entry_list_free(EntryList *list) {
    for (uint32_t i = 0; i < list->count; i++)
        entry_free(list->at[i]);
    mem_free(list->at);
    *list = (EntryList){0};
}

// Ids of the system tables are 1 to 20, of their indexes 1 to 29; users' begin at 4096. In the arrays
// the gap is left out.
enum { SYSTEM_SLOTS = 32 };
static_assert((int)SYSTEM_TABLES < (int)SYSTEM_SLOTS && (int)SYSTEM_INDEXES < (int)SYSTEM_SLOTS,
              "every system id has a slot");

static uint32_t slot_of(uint32_t id) {
    if (id < SYSTEM_SLOTS) return id;
    return id < CATALOG_FIRST_USER_ID ? UINT32_MAX : id - CATALOG_FIRST_USER_ID + SYSTEM_SLOTS;
}

static void count_slots(const EntryList *entries, uint32_t *tables, uint32_t *indexes) {
    *tables = *indexes = SYSTEM_SLOTS;
    for (uint32_t i = 0; i < entries->count; i++) {
        const CatalogTable *table = &entries->at[i]->table;
        *tables = MAX(*tables, slot_of(table->table_id) + 1);
        for (uint32_t k = 0; k < table->index_count; k++)
            *indexes = MAX(*indexes, slot_of(table->indexes[k].index_id) + 1);
    }
}

Err catalog_index_entries(Catalog *catalog, const EntryList *entries) {
    uint32_t table_count, index_count;
    count_slots(entries, &table_count, &index_count);
    CatalogTable **tables = mem_zalloc(table_count * sizeof(CatalogTable *));
    IndexSlot *indexes = mem_zalloc(index_count * sizeof *indexes);
    if (!tables || !indexes) {
        mem_free(tables);
        mem_free(indexes);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < entries->count; i++) {
        CatalogTable *table = &entries->at[i]->table;
        tables[slot_of(table->table_id)] = table;
        for (uint32_t k = 0; k < table->index_count; k++)
            indexes[slot_of(table->indexes[k].index_id)] = (IndexSlot){table, &table->indexes[k]};
    }
    mem_free(catalog->tables_by_id);
    mem_free(catalog->indexes_by_id);
    catalog->tables_by_id = tables;
    catalog->tables_by_id_count = table_count;
    catalog->indexes_by_id = indexes;
    catalog->indexes_by_id_count = index_count;
    return OK;
}

// ── the system tables in memory ────────────────────────────────────────────────────────────────

static bool system_columns(CatalogEntry *entry) {
    CatalogTable *table = &entry->table;
    table->column_count = table->row_type->field_count;
    CatalogColumn *columns = arena_array(&entry->arena, CatalogColumn, table->column_count);
    if (!columns) return false;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const TypeField *field = &table->row_type->fields[i];
        columns[i] =
            (CatalogColumn){.name = field->name, .source = field->name, .type = field->type};
    }
    table->columns = columns;
    return true;
}

static bool system_index(CatalogEntry *entry, uint32_t index_id) {
    CatalogTable *table = &entry->table;
    const SystemKey *key = &system_indexes[index_id - 1];
    CatalogIndex *index = &table->indexes[table->index_count++];
    index->index_id = index_id;
    index->name = system_key_name(&entry->arena, key, table->row_type, "_idx_btree");
    index->source = index->name;
    index->algorithm = INDEX_BTREE;
    index->unique = system_index_is_unique(index_id);
    index->column_count = key->column_count;
    index->columns = arena_array(&entry->arena, uint16_t, key->column_count);
    if (!index->name.ptr || !index->columns) return false;
    memcpy(index->columns, key->columns, key->column_count * sizeof *key->columns);
    return true;
}

static bool system_indexes_of(CatalogEntry *entry) {
    entry->table.indexes = arena_array(&entry->arena, CatalogIndex, SYSTEM_INDEXES);
    if (!entry->table.indexes) return false;
    for (uint32_t id = 1; id <= SYSTEM_INDEXES; id++) {
        if (system_indexes[id - 1].table_id != entry->table.table_id) continue;
        if (!system_index(entry, id)) return false;
    }
    return true;
}

static Err system_entry_new(uint32_t table_id, CatalogEntry **out) {
    CatalogEntry *entry = MEM_NEW(CatalogEntry);
    if (!entry) return ERR_NOMEM;
    CatalogTable *table = &entry->table;
    table->table_id = table_id;
    table->name = table->source = system_table_name(table_id);
    table->primary_key = system_table_primary_key(table_id);
    table->is_public = system_table_is_public(table_id);
    table->is_system = true;
    table->row_type = system_table_row_type(&entry->arena, table_id);
    if (table->row_type && system_columns(entry) && system_indexes_of(entry)) {
        *out = entry;
        return OK;
    }
    entry_free(entry);
    return ERR_NOMEM;
}

static Err system_store_table(Catalog *catalog, CatalogTable *table) {
    StoreIndexSpec specs[SYSTEM_INDEXES];
    for (uint32_t i = 0; i < table->index_count; i++) {
        specs[i] = (StoreIndexSpec){.index_id = table->indexes[i].index_id,
                                    .columns = table->indexes[i].columns,
                                    .column_count = table->indexes[i].column_count,
                                    .unique = table->indexes[i].unique};
    }
    StoreTableSpec spec = {.table_id = table->table_id,
                           .row_type = table->row_type,
                           .primary_column = table->primary_key,
                           .indexes = specs,
                           .index_count = table->index_count};
    table->table = store_table(catalog->store, table->table_id);  // it came with a checkpoint
    return table->table ? OK : store_table_create(catalog->store, &spec, &table->table);
}

static Err system_tables_open(Catalog *catalog) {
    if (!entry_list_reserve(&catalog->live, SYSTEM_TABLES)) return ERR_NOMEM;
    for (uint32_t id = 1; id <= SYSTEM_TABLES; id++) {
        CatalogEntry *entry = NULL;
        Err err = system_entry_new(id, &entry);
        if (err != OK) return err;
        catalog->live.at[catalog->live.count++] = entry;
        if ((err = system_store_table(catalog, &entry->table)) != OK) return err;
    }
    return catalog_index_entries(catalog, &catalog->live);
}

// ── rows of the system tables ──────────────────────────────────────────────────────────────────

Table *system_table(const Catalog *catalog, uint32_t table_id) {
    ASSERT(table_id >= 1 && table_id <= SYSTEM_TABLES);
    return catalog->live.at[table_id - 1]->table.table;
}

Err catalog_find_by_names(Catalog *catalog,
                          uint32_t table_id,
                          uint32_t index_id,
                          const Str *names,
                          uint32_t count,
                          Bytes *row) {
    Buf value = {0};
    buf_clear(&catalog->key);
    for (uint32_t i = 0; i < count; i++) {
        buf_clear(&value);
        buf_put_lp(&value, str_bytes(names[i]));
        if (buf_ok(&value))
            key_append(&catalog->key, type_simple(TYPE_STRING), value.ptr);
        else
            catalog->key.failed = true;
    }
    buf_deinit(&value);
    if (!buf_ok(&catalog->key)) return ERR_NOMEM;
    return table_find(system_table(catalog, table_id),
                      NULL,
                      index_id,
                      buf_bytes(&catalog->key),
                      row);
}

Err catalog_find_by_id(Catalog *catalog,
                       uint32_t table_id,
                       uint32_t index_id,
                       uint32_t id,
                       Bytes *row) {
    uint8_t value[4];
    store_u32(value, id);
    buf_clear(&catalog->key);
    key_append(&catalog->key, type_simple(TYPE_U32), value);
    if (!buf_ok(&catalog->key)) return ERR_NOMEM;
    return table_find(system_table(catalog, table_id),
                      NULL,
                      index_id,
                      buf_bytes(&catalog->key),
                      row);
}

void catalog_log(const CatalogLog *log, const char *fmt, ...) {
    if (!log->line) return;
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    log->line(log->ctx, str_from(text));
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

Err catalog_open(Store *store, Catalog **out, Diag *diag) {
    *out = NULL;
    Catalog *catalog = MEM_NEW(Catalog);
    if (!catalog) return diag_fail(diag, ERR_NOMEM, "out of memory");
    catalog->store = store;
    store_begin(store);
    bool is_new = store_table(store, ST_TABLE) == NULL;
    Err err = system_tables_open(catalog);
    if (err == OK && !is_new) err = catalog_sync(catalog, diag);
    if (err == OK) {
        store_commit(store);
        *out = catalog;
        return OK;
    }
    store_rollback(store);
    catalog_close(&catalog);
    return diag_fail(diag, err, "cannot make the system tables: %s", err_text(err));
}

void catalog_close(Catalog **handle) {
    Catalog *catalog = *handle;
    if (!catalog) return;
    *handle = NULL;
    entry_list_free(&catalog->live);
    entry_list_free(&catalog->retired);
    mem_free(catalog->tables_by_id);
    mem_free(catalog->indexes_by_id);
    buf_deinit(&catalog->row);
    buf_deinit(&catalog->key);
    mem_free(catalog);
}

// ── look-ups ───────────────────────────────────────────────────────────────────────────────────

uint64_t catalog_schema_version(const Catalog *catalog) {
    return catalog->schema_version;
}

CatalogTable *catalog_table(const Catalog *catalog, uint32_t table_id) {
    uint32_t slot = slot_of(table_id);
    return slot < catalog->tables_by_id_count ? catalog->tables_by_id[slot] : NULL;
}

CatalogTable *catalog_table_by_name(const Catalog *catalog, Str name) {
    CatalogTable *by_source = NULL;
    for (uint32_t i = 0; i < catalog->live.count; i++) {
        CatalogTable *table = &catalog->live.at[i]->table;
        if (str_eq(table->name, name)) return table;
        if (str_eq(table->source, name)) by_source = table;
    }
    return by_source;
}

CatalogTable *catalog_index_by_name(const Catalog *catalog, Str name, const CatalogIndex **index) {
    IndexSlot by_source = {0};
    for (uint32_t i = 0; i < catalog->live.count; i++) {
        CatalogTable *table = &catalog->live.at[i]->table;
        for (uint32_t k = 0; k < table->index_count; k++) {
            if (str_eq(table->indexes[k].name, name)) {
                *index = &table->indexes[k];
                return table;
            }
            if (str_eq(table->indexes[k].source, name))
                by_source = (IndexSlot){table, &table->indexes[k]};
        }
    }
    *index = by_source.index;
    return by_source.table;
}

CatalogTable *catalog_index_by_id(const Catalog *catalog,
                                  uint32_t index_id,
                                  const CatalogIndex **index) {
    uint32_t slot = slot_of(index_id);
    if (slot >= catalog->indexes_by_id_count) return NULL;
    *index = catalog->indexes_by_id[slot].index;
    return catalog->indexes_by_id[slot].table;
}

uint32_t catalog_table_count(const Catalog *catalog) {
    return catalog->live.count;
}

CatalogTable *catalog_table_at(const Catalog *catalog, uint32_t position) {
    ASSERT(position < catalog->live.count);
    return &catalog->live.at[position]->table;
}

Err catalog_module(const Catalog *catalog, CatalogModule *out) {
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan,
                     system_table(catalog, ST_MODULE),
                     NULL,
                     TABLE_ROWS,
                     BYTES_NONE,
                     BYTES_NONE);
    bool found = table_scan_next(&scan, &row);
    table_scan_end(&scan);
    if (!found) return scan.err == OK ? ERR_NOT_FOUND : scan.err;
    *out = st_module_read(row);
    return OK;
}

// Rows of these decide what tables there are and how they look. st_sequence is among them although
// an ordinary transaction writes `allocated` there: replay must see both that and new sequences.
bool catalog_is_schema_table(uint32_t table_id) {
    switch (table_id) {
    case ST_TABLE:
    case ST_COLUMN:
    case ST_SEQUENCE:
    case ST_INDEX:
    case ST_CONSTRAINT:
    case ST_SCHEDULED:
    case ST_VIEW:
    case ST_EVENT_TABLE:
    case ST_TABLE_ACCESSOR:
    case ST_INDEX_ACCESSOR:
    case ST_COLUMN_ACCESSOR: return true;
    default: return false;
    }
}
