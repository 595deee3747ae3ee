#include "store/root.h"

#include "store/cache.h"

enum {
    HEAD_BYTES = 16,
    TREE_BYTES = 12,
    TABLE_BYTES = 4 + 4 + 8 + 8 + 8 + TREE_BYTES + 4 + 4,
    INDEX_BYTES = 4 + 1 + 2 + TREE_BYTES,
};

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static uint32_t words_for(PageNo end) {
    return (end + 63) / 64;
}

static uint32_t fallen_count(const Pages *pages) {
    uint32_t count = 0;
    for (PageNo no = pages->fallen; no; no = pages->meta[no].next) {
        count++;
    }
    return count;
}

size_t root_bytes(const Store *store, PageNo end) {
    size_t bytes = HEAD_BYTES + (size_t)fallen_count(&store->pages) * 4;
    bytes += (size_t)words_for(end) * 8;
    for (uint32_t i = 0; i < store->table_count; i++) {
        const TableDef *def = table_def(store->by_id[i]);
        bytes += TABLE_BYTES + def->type_bytes.len;
        for (uint32_t k = 0; k < def->index_count; k++) {
            bytes += INDEX_BYTES + 2u * def->indexes[k].info.column_count;
        }
    }
    return bytes;
}

static uint8_t *put_u32(uint8_t *p, uint32_t v) {
    store_u32(p, v);
    return p + 4;
}

static uint8_t *put_u64(uint8_t *p, uint64_t v) {
    store_u64(p, v);
    return p + 8;
}

static uint8_t *put_tree(uint8_t *p, const Tree *tree) {
    p = put_u32(p, tree->root);
    p = put_u32(p, tree->height);
    return put_u32(p, tree->key_pages_max);
}

static uint8_t *put_index(uint8_t *p, const TableIndex *index, const Tree *tree) {
    p = put_u32(p, index->info.index_id);
    *p++ = index->info.unique;
    store_u16(p, index->info.column_count);
    p += 2;
    for (uint32_t i = 0; i < index->info.column_count; i++, p += 2) {
        store_u16(p, index->info.columns[i]);
    }
    return put_tree(p, index->is_rows ? &(Tree){0} : tree);
}

static uint8_t *put_table(uint8_t *p, const Table *table) {
    const TableDef *def = table_def(table);
    const TableState *state = &table->state;
    p = put_u32(p, table->table_id);
    p = put_u32(p, (uint32_t)table->primary_column);
    p = put_u64(p, state->row_count);
    p = put_u64(p, state->data_bytes);
    p = put_u64(p, state->collisions);
    p = put_tree(p, &state->rows);
    p = put_u32(p, (uint32_t)def->type_bytes.len);
    memcpy(p, def->type_bytes.ptr, def->type_bytes.len);
    p = put_u32(p + def->type_bytes.len, def->index_count);
    for (uint32_t i = 0; i < def->index_count; i++) {
        p = put_index(p, &def->indexes[i], &state->indexes[i]);
    }
    return p;
}

void root_encode(const Store *store, PageNo end, uint8_t *out) {
    const Pages *pages = &store->pages;
    uint8_t *p = put_u32(out, store->table_count);
    p = put_u32(p, fallen_count(pages));
    p = put_u32(p, words_for(end));
    p = put_u32(p, 0);
    for (PageNo no = pages->fallen; no; no = pages->meta[no].next) {
        p = put_u32(p, no);
    }
    memcpy(p, pages->cache->live, (size_t)words_for(end) * 8);
    p += (size_t)words_for(end) * 8;
    for (uint32_t i = 0; i < store->table_count; i++) {
        p = put_table(p, store->by_id[i]);
    }
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

typedef struct RootReader {
    Bytes rest;
    PageNo end;
    Root *root;
    Arena *arena;
    Diag *diag;
    bool cut;  // it ended too early; what was read since is zeros
} RootReader;

static Err corrupt(RootReader *reader, const char *what) {
    return diag_fail(reader->diag, ERR_CORRUPT, "the checkpoint's root: %s", what);
}

static const uint8_t *take(RootReader *reader, uint64_t len) {
    static const uint8_t zeros[TABLE_BYTES];
    if (len > reader->rest.len) {
        reader->cut = true;
        reader->rest.len = 0;
        return len <= sizeof zeros ? zeros : NULL;
    }
    const uint8_t *p = reader->rest.ptr;
    reader->rest = (Bytes){p + len, reader->rest.len - (size_t)len};
    return p;
}

static uint32_t take_u32(RootReader *reader) {
    return load_u32(take(reader, 4));
}

static uint64_t take_u64(RootReader *reader) {
    return load_u64(take(reader, 8));
}

static bool page_is_live(const RootReader *reader, PageNo no) {
    return no != PAGE_NONE && no < reader->end && (reader->root->live[no / 8] >> (no % 8) & 1);
}

static Err take_tree(RootReader *reader, Tree *out) {
    *out = (Tree){take_u32(reader), take_u32(reader), take_u32(reader)};
    bool empty = out->root == PAGE_NONE;
    if (empty != (out->height == 0) || out->height > TREE_HEIGHT_MAX) {
        return corrupt(reader, "a tree has a wrong height");
    }
    if (!empty && !page_is_live(reader, out->root)) return corrupt(reader, "a tree leads nowhere");
    return out->key_pages_max < reader->end ? OK : corrupt(reader, "a tree has impossible keys");
}

static Err take_index(RootReader *reader, const RootTable *table, RootIndex *out) {
    out->index_id = take_u32(reader);
    const uint8_t *p = take(reader, 3);
    out->unique = p[0] != 0;
    out->column_count = load_u16(p + 1);
    if (out->index_id == TABLE_ROWS || out->column_count == 0) {
        return corrupt(reader, "an index without a number or columns");
    }
    p = take(reader, 2u * out->column_count);
    if (!p || reader->cut) return corrupt(reader, "it is cut off");
    out->columns = arena_array(reader->arena, uint16_t, out->column_count);
    if (!out->columns) return ERR_NOMEM;
    for (uint32_t i = 0; i < out->column_count; i++) {
        out->columns[i] = load_u16(p + 2u * i);
        if (out->columns[i] >= table->row_type->field_count) {
            return corrupt(reader, "an index of a column that is not there");
        }
    }
    return take_tree(reader, &out->tree);
}

static bool is_primary(const RootTable *table, const RootIndex *index) {
    return index->unique && index->column_count == 1 && index->columns[0] == table->primary_column;
}

static Err take_indexes(RootReader *reader, RootTable *table) {
    table->index_count = take_u32(reader);
    if (table->index_count > reader->rest.len / INDEX_BYTES)
        return corrupt(reader, "it is cut off");
    table->indexes = arena_array(reader->arena, RootIndex, table->index_count);
    if (!table->indexes) return ERR_NOMEM;
    bool has_primary = table->primary_column < 0;
    for (uint32_t i = 0; i < table->index_count; i++) {
        Err err = take_index(reader, table, &table->indexes[i]);
        if (err != OK) return err;
        for (uint32_t k = 0; k < i; k++) {
            if (table->indexes[k].index_id == table->indexes[i].index_id) {
                return corrupt(reader, "two indexes have one number");
            }
        }
        has_primary |= is_primary(table, &table->indexes[i]);
    }
    return has_primary ? OK : corrupt(reader, "a primary key without an index");
}

static Err take_type(RootReader *reader, const Type **out) {
    uint32_t len = take_u32(reader);
    const uint8_t *p = take(reader, len);
    if (!p || reader->cut) return corrupt(reader, "it is cut off");
    Bytes encoded = {p, len};
    const Type *declared;
    Err err = type_decode(&encoded, reader->arena, &declared, reader->diag);
    if (err == OK) err = type_resolve(declared, NULL, 0, reader->arena, out, reader->diag);
    if (err == ERR_NOMEM) return err;
    if (err != OK || encoded.len || (*out)->kind != TYPE_PRODUCT) {
        return corrupt(reader, "a table's row type is not one");
    }
    return OK;
}

static Err take_table(RootReader *reader, RootTable *out) {
    Err err = OK;
    out->table_id = take_u32(reader);
    out->primary_column = (int32_t)take_u32(reader);
    out->row_count = take_u64(reader);
    out->data_bytes = take_u64(reader);
    out->collisions = take_u64(reader);
    if ((err = take_tree(reader, &out->rows)) != OK) return err;
    if ((err = take_type(reader, &out->row_type)) != OK) return err;
    if (out->primary_column < -1 || out->primary_column >= (int64_t)out->row_type->field_count) {
        return corrupt(reader, "a primary key of a column that is not there");
    }
    return take_indexes(reader, out);
}

static Err take_fallen(RootReader *reader, const uint8_t *list) {
    Root *root = reader->root;
    root->fallen = arena_array(reader->arena, PageNo, root->fallen_count);
    if (!root->fallen) return ERR_NOMEM;
    for (uint32_t i = 0; i < root->fallen_count; i++) {
        root->fallen[i] = load_u32(list + 4 * (size_t)i);
        if (!page_is_live(reader, root->fallen[i]))
            return corrupt(reader, "a dropped tree is gone");
    }
    return OK;
}

static Err take_tables(RootReader *reader) {
    Root *root = reader->root;
    if (root->table_count > reader->rest.len / TABLE_BYTES) return corrupt(reader, "it is cut off");
    root->tables = arena_array(reader->arena, RootTable, root->table_count);
    if (!root->tables) return ERR_NOMEM;
    for (uint32_t i = 0; i < root->table_count; i++) {
        Err err = take_table(reader, &root->tables[i]);
        if (err != OK) return err;
        if (i && root->tables[i].table_id <= root->tables[i - 1].table_id) {
            return corrupt(reader, "tables are out of order");
        }
    }
    return reader->cut ? corrupt(reader, "it is cut off") : OK;
}

Err root_decode(Bytes bytes, PageNo end, Arena *arena, Root *out, Diag *diag) {
    *out = (Root){0};
    RootReader reader = {.rest = bytes, .end = end, .root = out, .arena = arena, .diag = diag};
    out->table_count = take_u32(&reader);
    out->fallen_count = take_u32(&reader);
    out->words = take_u32(&reader);
    (void)take_u32(&reader);
    const uint8_t *fallen = take(&reader, 4 * (uint64_t)out->fallen_count);
    out->live = take(&reader, 8 * (uint64_t)out->words);
    if (reader.cut || out->words != words_for(end)) return corrupt(&reader, "it is cut off");
    Err err = take_fallen(&reader, fallen);
    return err == OK ? take_tables(&reader) : err;
}
