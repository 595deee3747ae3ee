// catalog_image.c: what the system tables say now, gathered table by table.
//
// The rows are copied: they borrow from pages, and what follows changes the store. The fingerprint
// of a table is everything about it in a fixed order, so that equal fingerprints mean that nothing
// changed. Where a sequence stands (`allocated`) is left out of it.
#include "txn/catalog_internal.h"

typedef struct ImageReader {
    Catalog *catalog;
    Arena *arena;
    CatalogImage *image;
} ImageReader;

static Err copy_row(Arena *arena, Bytes row, Bytes *out) {
    *out = arena_bytes(arena, row);
    return out->len == row.len ? OK : ERR_NOMEM;
}

// Append to a list in the arena; lists double, old copies stay behind.
static Err push_row(Arena *arena, Bytes **rows, uint32_t *count, Bytes row) {
    uint32_t n = *count;
    if ((n & (n - 1)) == 0) {  // full at 0, 1, 2, 4, 8 …
        Bytes *grown = arena_array(arena, Bytes, n ? n * 2 : 1);
        if (!grown) return ERR_NOMEM;
        if (n) memcpy(grown, *rows, n * sizeof **rows);
        *rows = grown;
    }
    Err err = copy_row(arena, row, &(*rows)[n]);
    if (err == OK) *count = n + 1;
    return err;
}

static TableImage *image_table(const CatalogImage *image, uint32_t table_id) {
    uint32_t low = 0, high = image->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (image->tables[middle].table_id < table_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == image->count || image->tables[low].table_id != table_id) return NULL;
    return &image->tables[low];
}

// ── one scan for each system table ─────────────────────────────────────────────────────────────

typedef Err (*ImageRow)(ImageReader *reader, Bytes row);

static Err each_row(ImageReader *reader, uint32_t st, uint32_t index_id, ImageRow take) {
    TableScan scan;
    Bytes row;
    Err err = OK;
    table_scan_begin(&scan,
                     system_table(reader->catalog, st),
                     NULL,
                     index_id,
                     BYTES_NONE,
                     BYTES_NONE);
    while (err == OK && table_scan_next(&scan, &row))
        err = take(reader, row);
    table_scan_end(&scan);
    return err == OK ? scan.err : err;
}

static Err take_table(ImageReader *reader, Bytes row) {
    CatalogImage *image = reader->image;
    StTable table = st_table_read(row);
    if (table.table_id < CATALOG_FIRST_USER_ID) return OK;
    uint32_t n = image->count;
    if ((n & (n - 1)) == 0) {
        TableImage *grown = arena_array(reader->arena, TableImage, n ? n * 2 : 1);
        if (!grown) return ERR_NOMEM;
        if (n) memcpy(grown, image->tables, n * sizeof *grown);
        image->tables = grown;
    }
    TableImage *out = &image->tables[n];
    out->table_id = table.table_id;
    Err err = copy_row(reader->arena, row, &out->table);
    if (err == OK) image->count++;
    return err;
}

static Err take_column(ImageReader *reader, Bytes row) {
    TableImage *table = image_table(reader->image, st_column_read(row).table_id);
    return table ? push_row(reader->arena, &table->columns, &table->column_count, row) : OK;
}

static Err take_index(ImageReader *reader, Bytes row) {
    StIndex index;
    if (!st_index_read(row, &index)) return ERR_CORRUPT;
    TableImage *table = image_table(reader->image, index.table_id);
    return table ? push_row(reader->arena, &table->indexes, &table->index_count, row) : OK;
}

static Err take_constraint(ImageReader *reader, Bytes row) {
    StConstraint constraint;
    if (!st_constraint_read(row, &constraint)) return ERR_CORRUPT;
    TableImage *table = image_table(reader->image, constraint.table_id);
    return table ? push_row(reader->arena, &table->constraints, &table->constraint_count, row) : OK;
}

static Err take_sequence(ImageReader *reader, Bytes row) {
    TableImage *table = image_table(reader->image, st_sequence_read(row).table_id);
    return table ? push_row(reader->arena, &table->sequences, &table->sequence_count, row) : OK;
}

static Err take_scheduled(ImageReader *reader, Bytes row) {
    TableImage *table = image_table(reader->image, st_scheduled_read(row).table_id);
    return table ? copy_row(reader->arena, row, &table->scheduled) : OK;
}

static Err take_event(ImageReader *reader, Bytes row) {
    TableImage *table = image_table(reader->image, load_u32(row.ptr));
    if (table) table->is_event = true;
    return OK;
}

static Err take_view(ImageReader *reader, Bytes row) {
    TableImage *table = image_table(reader->image, st_view_read(row).table_id);
    return table ? copy_row(reader->arena, row, &table->view) : OK;
}

// ── fingerprints ───────────────────────────────────────────────────────────────────────────────

Err catalog_accessor(Catalog *catalog,
                     Arena *arena,
                     uint32_t st,
                     uint32_t index_id,
                     const Str *names,
                     uint32_t count,
                     Str *out) {
    Bytes row;
    Err err = catalog_find_by_names(catalog, st, index_id, names, count, &row);
    Str accessor = names[count - 1];
    if (err == OK) {
        Reader r = reader_of(row);
        for (uint32_t i = 0; i < count; i++)
            (void)reader_lp(&r);
        accessor = bytes_str(reader_lp(&r));
    } else if (err != ERR_NOT_FOUND) {
        return err;
    }
    *out = arena_str(arena, accessor);
    return out->ptr ? OK : ERR_NOMEM;
}

static Err put_accessor(ImageReader *reader,
                        Buf *out,
                        uint32_t st,
                        uint32_t index_id,
                        const Str *names,
                        uint32_t count) {
    Str accessor;
    Err err =
        catalog_accessor(reader->catalog, reader->arena, st, index_id, names, count, &accessor);
    if (err == OK) buf_put_lp(out, str_bytes(accessor));
    return err;
}

static Err put_accessors(ImageReader *reader, const TableImage *table, Buf *out) {
    Str names[2] = {st_table_read(table->table).name};
    Err err = put_accessor(reader, out, ST_TABLE_ACCESSOR, ST_TABLE_ACCESSOR_BY_NAME, names, 1);
    for (uint32_t i = 0; err == OK && i < table->column_count; i++) {
        names[1] = st_column_read(table->columns[i]).name;
        err = put_accessor(reader, out, ST_COLUMN_ACCESSOR, ST_COLUMN_ACCESSOR_BY_NAME, names, 2);
    }
    for (uint32_t i = 0; err == OK && i < table->index_count; i++) {
        StIndex index;
        if (!st_index_read(table->indexes[i], &index)) return ERR_CORRUPT;
        err =
            put_accessor(reader, out, ST_INDEX_ACCESSOR, ST_INDEX_ACCESSOR_BY_NAME, &index.name, 1);
    }
    return err;
}

static void put_rows(Buf *out, const Bytes *rows, uint32_t count) {
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++)
        buf_put_lp(out, rows[i]);
}

static void put_sequences(Buf *out, const TableImage *table) {
    buf_put_u32(out, table->sequence_count);
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        Bytes row = table->sequences[i];
        buf_put_lp(out,
                   (Bytes){row.ptr, row.len - sizeof(Int128)});  // `allocated` is the last column
    }
}

static Err fingerprint(ImageReader *reader, TableImage *table) {
    Buf out = {0};
    buf_put_lp(&out, table->table);
    put_rows(&out, table->columns, table->column_count);
    put_rows(&out, table->indexes, table->index_count);
    put_rows(&out, table->constraints, table->constraint_count);
    put_sequences(&out, table);
    buf_put_lp(&out, table->scheduled);
    buf_put_lp(&out, table->view);
    buf_put_u8(&out, table->is_event);
    Err err = put_accessors(reader, table, &out);
    if (err == OK && !buf_ok(&out)) err = ERR_NOMEM;
    if (err == OK) err = copy_row(reader->arena, buf_bytes(&out), &table->fingerprint);
    buf_deinit(&out);
    return err;
}

Err catalog_image_read(Catalog *catalog, Arena *arena, CatalogImage *out, Diag *diag) {
    *out = (CatalogImage){0};
    ImageReader reader = {.catalog = catalog, .arena = arena, .image = out};
    Err err = each_row(&reader, ST_TABLE, TABLE_ROWS, take_table);
    if (err == OK) err = each_row(&reader, ST_COLUMN, ST_COLUMN_BY_POSITION, take_column);
    if (err == OK) err = each_row(&reader, ST_INDEX, TABLE_ROWS, take_index);
    if (err == OK) err = each_row(&reader, ST_CONSTRAINT, TABLE_ROWS, take_constraint);
    if (err == OK) err = each_row(&reader, ST_SEQUENCE, TABLE_ROWS, take_sequence);
    if (err == OK) err = each_row(&reader, ST_SCHEDULED, TABLE_ROWS, take_scheduled);
    if (err == OK) err = each_row(&reader, ST_VIEW, TABLE_ROWS, take_view);
    if (err == OK) err = each_row(&reader, ST_EVENT_TABLE, TABLE_ROWS, take_event);
    for (uint32_t i = 0; err == OK && i < out->count; i++)
        err = fingerprint(&reader, &out->tables[i]);
    if (err != OK) return diag_fail(diag, err, "cannot read the system tables: %s", err_text(err));
    return OK;
}
