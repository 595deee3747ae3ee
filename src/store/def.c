// def.c: what a table is made of. A def is built once, published, and never changed: readers on
// other threads hold it.
#include "base/mem.h"
#include "store/inside.h"

static Err indexes_copy(TableDef *def, const TableIndex *indexes, uint32_t count) {
    def->indexes = arena_array(&def->arena, TableIndex, MAX(count, 1u));
    if (!def->indexes) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        def->indexes[i] = indexes[i];
        size_t bytes = indexes[i].info.column_count * sizeof(uint16_t);
        uint16_t *columns = arena_alloc(&def->arena, bytes);
        if (!columns) return ERR_NOMEM;
        memcpy(columns, indexes[i].info.columns, bytes);
        def->indexes[i].info.columns = columns;
        def->trees += !indexes[i].is_rows;
    }
    def->index_count = count;
    return OK;
}

static Err type_write(TableDef *def) {
    Buf encoded = {0};
    type_encode(&encoded, def->layout.row_type);
    Err err = buf_ok(&encoded) ? OK : ERR_NOMEM;
    if (err == OK) def->type_bytes = arena_bytes(&def->arena, buf_bytes(&encoded));
    if (err == OK && !def->type_bytes.ptr) err = ERR_NOMEM;
    buf_deinit(&encoded);
    return err;
}

static void id_find(TableDef *def, int32_t primary_column) {
    const RowLayout *layout = &def->layout;
    if (primary_column < 0 || layout->fixed_offset[primary_column] == TYPE_SIZE_VARIES) return;
    def->id_bytes = key_id_bytes(layout->row_type->fields[primary_column].type);
    def->id_at = layout->fixed_offset[primary_column];
}

Err table_def_new(Table *table,
                  const Type *row_type,
                  const TableIndex *indexes,
                  uint32_t count,
                  TableDef **out) {
    Err err = OK;
    TableDef *def = MEM_NEW(TableDef);
    if (!def) return ERR_NOMEM;
    if ((err = row_layout_init(&def->layout, row_type, &def->arena)) != OK) goto failed;
    if ((err = indexes_copy(def, indexes, count)) != OK) goto failed;
    id_find(def, table->primary_column);
    if (table->store->pages.cache && (err = type_write(def)) != OK) goto failed;
    def->older = table->defs;
    table->defs = def;
    *out = def;
    return OK;
failed:
    arena_deinit(&def->arena);
    mem_free(def);
    return err;
}

Err table_index_make(const Table *table, const StoreIndexSpec *spec, TableIndex *out) {
    if (spec->column_count == 0 || spec->index_id == TABLE_ROWS) return ERR_INVALID;
    *out = (TableIndex){
        .info = {spec->index_id, spec->columns, spec->column_count, spec->unique},
        .is_rows = table->primary_column >= 0 && spec->column_count == 1 &&
                   spec->columns[0] == table->primary_column,
    };
    return OK;
}

int64_t table_def_find(const TableDef *def, uint32_t index_id) {
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (def->indexes[i].info.index_id == index_id) return i;
    }
    return -1;
}

void table_free(Table *table) {
    fingers_forget(table);
    for (TableDef *def = table->defs; def;) {
        TableDef *older = def->older;
        arena_deinit(&def->arena);
        mem_free(def);
        def = older;
    }
    mem_free(table->state.indexes);
    mem_free(table);
}
