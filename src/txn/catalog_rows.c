// catalog_rows.c: rows of the system tables, field by field. See catalog_rows.h.
#include "txn/catalog_rows.h"
#include "sats/bsatn.h"

enum { ALGORITHM_BTREE = 1, ALGORITHM_DIRECT = 2, ALGORITHM_HASH = 3 };
enum { CONSTRAINT_UNIQUE = 1 };
#define MODULE_VERSION STR("0.0.1")

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static void put_str(Buf *out, Str text) {
    buf_put_lp(out, str_bytes(text));
}

void st_table_write(Buf *out, const StTable *row) {
    buf_put_u32(out, row->table_id);
    put_str(out, row->name);
    put_str(out, row->is_system ? STR("system") : STR("user"));
    put_str(out, row->is_public ? STR("public") : STR("private"));
    buf_put_u8(out, row->primary_key >= 0 ? 0 : 1);
    if (row->primary_key < 0) return;
    buf_put_u32(out, 1);
    buf_put_u16(out, (uint16_t)row->primary_key);
}

void st_column_write(Buf *out, const StColumn *row) {
    buf_put_u32(out, row->table_id);
    buf_put_u16(out, row->position);
    put_str(out, row->name);
    buf_put_lp(out, row->type);
}

static void put_i128(Buf *out, const Int128 *value) {
    buf_put(out, value->le, sizeof value->le);
}

void st_sequence_write(Buf *out, const StSequence *row) {
    buf_put_u32(out, row->sequence_id);
    put_str(out, row->name);
    buf_put_u32(out, row->table_id);
    buf_put_u16(out, row->column);
    put_i128(out, &row->increment);
    put_i128(out, &row->start);
    put_i128(out, &row->min);
    put_i128(out, &row->max);
    put_i128(out, &row->allocated);
}

static void put_columns(Buf *out, const uint8_t *columns, uint32_t count) {
    buf_put_u32(out, count);
    buf_put(out, columns, (size_t)count * 2);
}

void st_index_write(Buf *out, const StIndex *row) {
    buf_put_u32(out, row->index_id);
    buf_put_u32(out, row->table_id);
    put_str(out, row->name);
    switch (row->algorithm) {
    case INDEX_BTREE:
        buf_put_u8(out, ALGORITHM_BTREE);
        put_columns(out, row->columns, row->column_count);
        return;
    case INDEX_HASH:
        buf_put_u8(out, ALGORITHM_HASH);
        put_columns(out, row->columns, row->column_count);
        return;
    case INDEX_DIRECT:
        buf_put_u8(out, ALGORITHM_DIRECT);
        buf_put(out, row->columns, 2);
        return;
    }
    UNREACHABLE();
}

void st_constraint_write(Buf *out, const StConstraint *row) {
    buf_put_u32(out, row->constraint_id);
    put_str(out, row->name);
    buf_put_u32(out, row->table_id);
    buf_put_u8(out, CONSTRAINT_UNIQUE);
    put_columns(out, row->columns, row->column_count);
}

void st_scheduled_write(Buf *out, const StScheduled *row) {
    buf_put_u32(out, row->schedule_id);
    buf_put_u32(out, row->table_id);
    put_str(out, row->function);
    put_str(out, row->name);
    buf_put_u16(out, row->at_column);
}

void st_view_write(Buf *out, const StView *row) {
    buf_put_u32(out, row->view_id);
    put_str(out, row->name);
    buf_put_u8(out, row->table_id == 0);
    if (row->table_id) buf_put_u32(out, row->table_id);
    buf_put_u8(out, row->is_public);
    buf_put_u8(out, row->is_anonymous);
}

void st_accessor_write(Buf *out, Str name, Str accessor) {
    put_str(out, name);
    put_str(out, accessor);
}

void st_column_accessor_write(Buf *out, Str table, Str column, Str accessor) {
    put_str(out, table);
    put_str(out, column);
    put_str(out, accessor);
}

void st_row_level_security_write(Buf *out, uint32_t table_id, Str sql) {
    buf_put_u32(out, table_id);
    put_str(out, sql);
}

void st_module_write(Buf *out, const CatalogModule *module) {
    buf_put(out, module->database.le, sizeof module->database.le);
    buf_put(out, module->owner.le, sizeof module->owner.le);
    buf_put_u8(out, module->program_kind);
    buf_put(out, module->program_hash, sizeof module->program_hash);
    buf_put_lp(out, module->program);
    put_str(out, MODULE_VERSION);
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

static Str take_str(Reader *r) {
    return bytes_str(reader_lp(r));  // UTF-8 was checked when the row was stored
}

StTable st_table_read(Bytes row) {
    Reader r = reader_of(row);
    StTable out = {.primary_key = -1};
    out.table_id = reader_u32(&r);
    out.name = take_str(&r);
    out.is_system = str_eq(take_str(&r), STR("system"));
    out.is_public = str_eq(take_str(&r), STR("public"));
    if (reader_u8(&r) == 0 && reader_u32(&r) > 0) out.primary_key = reader_u16(&r);
    return out;
}

StColumn st_column_read(Bytes row) {
    Reader r = reader_of(row);
    StColumn out;
    out.table_id = reader_u32(&r);
    out.position = reader_u16(&r);
    out.name = take_str(&r);
    out.type = reader_lp(&r);
    return out;
}

static Int128 take_i128(Reader *r) {
    Int128 out = {0};
    Bytes bytes = reader_take(r, sizeof out.le);
    if (bytes.len == sizeof out.le) memcpy(out.le, bytes.ptr, sizeof out.le);
    return out;
}

StSequence st_sequence_read(Bytes row) {
    Reader r = reader_of(row);
    StSequence out;
    out.sequence_id = reader_u32(&r);
    out.name = take_str(&r);
    out.table_id = reader_u32(&r);
    out.column = reader_u16(&r);
    out.increment = take_i128(&r);
    out.start = take_i128(&r);
    out.min = take_i128(&r);
    out.max = take_i128(&r);
    out.allocated = take_i128(&r);
    return out;
}

static const uint8_t *take_columns(Reader *r, uint32_t *count) {
    *count = reader_u32(r);
    return reader_take(r, (size_t)*count * 2).ptr;
}

bool st_index_read(Bytes row, StIndex *out) {
    Reader r = reader_of(row);
    *out = (StIndex){0};
    out->index_id = reader_u32(&r);
    out->table_id = reader_u32(&r);
    out->name = take_str(&r);
    switch (reader_u8(&r)) {
    case ALGORITHM_BTREE: out->algorithm = INDEX_BTREE; break;
    case ALGORITHM_HASH: out->algorithm = INDEX_HASH; break;
    case ALGORITHM_DIRECT:
        out->algorithm = INDEX_DIRECT;
        out->column_count = 1;
        out->columns = reader_take(&r, 2).ptr;
        return true;
    default: return false;
    }
    out->columns = take_columns(&r, &out->column_count);
    return true;
}

bool st_constraint_read(Bytes row, StConstraint *out) {
    Reader r = reader_of(row);
    *out = (StConstraint){0};
    out->constraint_id = reader_u32(&r);
    out->name = take_str(&r);
    out->table_id = reader_u32(&r);
    if (reader_u8(&r) != CONSTRAINT_UNIQUE) return false;
    out->columns = take_columns(&r, &out->column_count);
    return true;
}

StScheduled st_scheduled_read(Bytes row) {
    Reader r = reader_of(row);
    StScheduled out;
    out.schedule_id = reader_u32(&r);
    out.table_id = reader_u32(&r);
    out.function = take_str(&r);
    out.name = take_str(&r);
    out.at_column = reader_u16(&r);
    return out;
}

StView st_view_read(Bytes row) {
    Reader r = reader_of(row);
    StView out;
    out.view_id = reader_u32(&r);
    out.name = take_str(&r);
    out.table_id = reader_u8(&r) == 0 ? reader_u32(&r) : 0;
    out.is_public = reader_u8(&r) != 0;
    out.is_anonymous = reader_u8(&r) != 0;
    return out;
}

static void take_32(Reader *r, uint8_t out[32]) {
    Bytes bytes = reader_take(r, 32);
    if (bytes.len == 32) memcpy(out, bytes.ptr, 32);
}

CatalogModule st_module_read(Bytes row) {
    Reader r = reader_of(row);
    CatalogModule out = {0};
    take_32(&r, out.database.le);
    take_32(&r, out.owner.le);
    out.program_kind = reader_u8(&r);
    take_32(&r, out.program_hash);
    out.program = reader_lp(&r);
    return out;
}
