#include "txn/def_testing.h"

static const char *const table_names[TEST_TABLES] = {"item", "note", "tick"};

static TableDef *declare(TestDef *t,
                         int which,
                         const TypeField *fields,
                         uint16_t count,
                         int32_t key) {
    TableDef *table = &t->def.tables[which];
    *table = (TableDef){
        .name = str_from(table_names[which]),
        .source = str_from(table_names[which]),
        .row_type = type_product(&t->arena, fields, count),
        .columns = arena_array(&t->arena, ColumnDef, count),
        .column_count = count,
        .primary_key = key,
        .is_public = true,
    };
    for (uint16_t i = 0; i < count; i++) {
        table->columns[i] =
            (ColumnDef){.name = fields[i].name, .source = fields[i].name, .type = fields[i].type};
    }
    return table;
}

static void add_index(TestDef *t, TableDef *table, uint16_t column, bool unique) {
    uint16_t *columns = arena_array(&t->arena, uint16_t, 1);
    columns[0] = column;
    Str of = table->columns[column].name;
    Str name = arena_printf(&t->arena,
                            STR_FMT "_" STR_FMT "_idx_btree",
                            STR_ARG(table->name),
                            STR_ARG(of));
    table->indexes[table->index_count++] =
        (IndexDef){.name = name, .source = name, .columns = columns, .column_count = 1};
    if (!unique) return;
    Str key =
        arena_printf(&t->arena, STR_FMT "_" STR_FMT "_key", STR_ARG(table->name), STR_ARG(of));
    table->constraints[table->constraint_count++] =
        (ConstraintDef){.name = key, .columns = columns, .column_count = 1};
}

void testdef_init(TestDef *t) {
    *t = (TestDef){0};
    t->def.arena = &t->arena;
    t->def.version = 10;
    t->def.tables = arena_array(&t->arena, TableDef, TEST_TABLES);
    t->def.table_count = TEST_TABLES;

    const TypeField item[] = {
        {STR("id"), type_simple(TYPE_U64)},
        {STR("name"), type_simple(TYPE_STRING)},
        {STR("v"), type_simple(TYPE_U32)},
        {STR("code"), type_simple(TYPE_U32)},
    };
    TableDef *table = declare(t, TEST_ITEM, item, 4, 0);
    table->indexes = arena_array(&t->arena, IndexDef, 3);
    table->constraints = arena_array(&t->arena, ConstraintDef, 3);
    add_index(t, table, 0, true);
    add_index(t, table, 2, false);
    add_index(t, table, 3, true);
    table->sequences = arena_new(&t->arena, SequenceDef);
    table->sequences[0] =
        (SequenceDef){.name = STR("item_id_seq"), .column = 0, .increment = {{1}}};
    table->sequence_count = 1;

    const TypeField note[] = {{STR("text"), type_simple(TYPE_STRING)},
                              {STR("n"), type_simple(TYPE_U32)}};
    declare(t, TEST_NOTE, note, 2, -1);
    const TypeField tick[] = {{STR("kind"), type_simple(TYPE_U8)},
                              {STR("at"), type_simple(TYPE_I64)}};
    declare(t, TEST_TICK, tick, 2, -1)->is_event = true;
}

void testdef_deinit(TestDef *t) {
    arena_deinit(&t->arena);
}

Err testdef_create(Db *db, const TestDef *t) {
    const WriteSet *writes;
    bool changed;
    CatalogModule module = {.program_kind = 1, .program = BYTES("program", 7)};
    db_begin(db, &(CommitInfo){.name = STR("<publish>")});
    Err err = catalog_create(db_catalog(db), &t->def, &module, NULL, NULL, NULL);
    if (err != OK) {
        db_rollback(db);
        return err;
    }
    if ((err = db_commit(db, &writes, &changed)) != OK) return err;
    return db_flush(db, NULL);
}

CatalogTable *testdef_table(const Db *db, int which) {
    return catalog_table_by_name(db_catalog(db), str_from(table_names[which]));
}

uint32_t testdef_index(const Db *db, const char *name) {
    const CatalogIndex *index = NULL;
    ASSERT(catalog_index_by_name(db_catalog(db), str_from(name), &index));
    return index->index_id;
}

void testdef_item(Buf *out, uint64_t id, const char *name, uint32_t v, uint32_t code) {
    buf_put_u64(out, id);
    buf_put_lp(out, str_bytes(str_from(name)));
    buf_put_u32(out, v);
    buf_put_u32(out, code);
}

void testdef_note(Buf *out, const char *text, uint32_t n) {
    buf_put_lp(out, str_bytes(str_from(text)));
    buf_put_u32(out, n);
}
