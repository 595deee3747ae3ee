// fake_access.h: a small in-memory Access for tests of the host. Tables are lists of rows; a
// table's index has the table's id and looks at the first key_len bytes of a row.
#pragma once
#include <stdlib.h>

#include "host/host.h"

typedef struct FakeTable {
    const char *name;
    uint32_t key_len;  // of the index
    bool unique;
    bool autoinc;  // the first 8 bytes are generated when zero
    Buf rows[4096];
    uint32_t row_count;
    uint64_t next;
} FakeTable;

typedef struct FakeAccess {
    Access base;
    FakeTable *tables;  // ids from 1
    uint32_t table_count;
    uint64_t calls;     // how often any function ran
    AccessRange range;  // the last one; its bytes are copied into range_bytes
    Buf range_bytes;
    bool fatal;  // answer ABI_FATAL to everything
    Bytes jwt;
    ConnectionId jwt_asked;
} FakeAccess;

static inline FakeAccess *fake_of(Access *access) {
    return (FakeAccess *)(void *)access;
}

static inline FakeTable *fake_table(Access *access, uint32_t id) {
    FakeAccess *fake = fake_of(access);
    fake->calls++;
    return id >= 1 && id <= fake->table_count ? &fake->tables[id - 1] : NULL;
}

static AbiErrno fake_id(Access *access, Str name, uint32_t *out, AbiErrno missing) {
    FakeAccess *fake = fake_of(access);
    if (fake->fatal) return ABI_FATAL;
    for (uint32_t i = 0; i < fake->table_count; i++) {
        if (!str_starts(name, str_from(fake->tables[i].name))) continue;
        *out = i + 1;
        return ABI_OK;
    }
    return missing;
}
static AbiErrno fake_table_id(Access *access, Str name, uint32_t *out) {
    return fake_id(access, name, out, ABI_NO_SUCH_TABLE);
}
static AbiErrno fake_index_id(Access *access, Str name, uint32_t *out) {
    return fake_id(access, name, out, ABI_NO_SUCH_INDEX);
}
static AbiErrno fake_row_count(Access *access, uint32_t id, uint64_t *out) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_TABLE;
    *out = table->row_count;
    return fake_of(access)->fatal ? ABI_FATAL : ABI_OK;
}
static AbiErrno fake_scan_table(Access *access, uint32_t id, RowSink sink) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_TABLE;
    for (uint32_t i = 0; i < table->row_count; i++)
        if (!sink.row(sink.ctx, buf_bytes(&table->rows[i]))) return ABI_FATAL;
    return fake_of(access)->fatal ? ABI_FATAL : ABI_OK;
}
static bool fake_matches(const FakeTable *table, uint32_t row, Bytes point) {
    return table->rows[row].len >= point.len &&
           memcmp(table->rows[row].ptr, point.ptr, point.len) == 0;
}
static AbiErrno fake_scan_point(Access *access, uint32_t id, Bytes point, RowSink sink) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_INDEX;
    if (point.len != table->key_len) return ABI_BSATN_DECODE_ERROR;
    for (uint32_t i = 0; i < table->row_count; i++)
        if (fake_matches(table, i, point) && !sink.row(sink.ctx, buf_bytes(&table->rows[i])))
            return ABI_FATAL;
    return fake_of(access)->fatal ? ABI_FATAL : ABI_OK;
}
static void fake_range_keep(FakeAccess *fake, const AccessRange *range) {
    size_t prefix = range->prefix.len, lower = range->lower.len;
    buf_clear(&fake->range_bytes);
    buf_put_bytes(&fake->range_bytes, range->prefix);
    buf_put_bytes(&fake->range_bytes, range->lower);
    buf_put_bytes(&fake->range_bytes, range->upper);
    const uint8_t *bytes = fake->range_bytes.ptr;
    fake->range = (AccessRange){.prefix = BYTES(bytes, prefix),
                                .prefix_elems = range->prefix_elems,
                                .lower = BYTES(bytes + prefix, lower),
                                .upper = BYTES(bytes + prefix + lower, range->upper.len)};
}
static AbiErrno fake_scan_range(Access *access,
                                uint32_t id,
                                const AccessRange *range,
                                RowSink sink) {
    fake_range_keep(fake_of(access), range);
    AbiErrno result = fake_scan_table(access, id, sink);
    return result == ABI_NO_SUCH_TABLE ? ABI_NO_SUCH_INDEX : result;
}
static void fake_generate(FakeTable *table, Buf *row, Buf *generated) {
    if (!table->autoinc || row->len < 8 || load_u64(row->ptr) != 0) return;
    store_u64(row->ptr, ++table->next);
    buf_put_u64(generated, table->next);
}
static AbiErrno fake_insert(Access *access, uint32_t id, Bytes row, Buf *generated) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_TABLE;
    if (fake_of(access)->fatal) return ABI_FATAL;
    if (row.len < table->key_len) return ABI_BSATN_DECODE_ERROR;
    if (table->row_count == ARRAY_LEN(table->rows)) return ABI_FATAL;
    Buf *copy = &table->rows[table->row_count];
    buf_clear(copy);
    buf_put_bytes(copy, row);
    fake_generate(table, copy, generated);
    for (uint32_t i = 0; table->unique && i < table->row_count; i++)
        if (fake_matches(table, i, BYTES(copy->ptr, table->key_len)))
            return ABI_UNIQUE_ALREADY_EXISTS;
    table->row_count++;
    return ABI_OK;
}
static AbiErrno fake_update(Access *access,
                            uint32_t id,
                            uint32_t index,
                            Bytes row,
                            Buf *generated) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_TABLE;
    if (index != id) return ABI_NO_SUCH_INDEX;
    if (!table->unique) return ABI_INDEX_NOT_UNIQUE;
    for (uint32_t i = 0; i < table->row_count; i++) {
        if (!fake_matches(table, i, BYTES(row.ptr, table->key_len))) continue;
        buf_clear(&table->rows[i]);
        buf_put_bytes(&table->rows[i], row);
        fake_generate(table, &table->rows[i], generated);
        return ABI_OK;
    }
    return ABI_NO_SUCH_ROW;
}
static void fake_remove(FakeTable *table, uint32_t row) {
    Buf gone = table->rows[row];
    table->rows[row] = table->rows[--table->row_count];
    table->rows[table->row_count] = gone;
}
static AbiErrno fake_delete_point(Access *access, uint32_t id, Bytes point, uint32_t *deleted) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_INDEX;
    *deleted = 0;
    for (uint32_t i = table->row_count; i-- > 0;) {
        if (!fake_matches(table, i, point)) continue;
        fake_remove(table, i);
        (*deleted)++;
    }
    return ABI_OK;
}
static AbiErrno fake_clear(Access *access, uint32_t id, uint64_t *deleted) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_TABLE;
    *deleted = table->row_count;
    table->row_count = 0;
    return ABI_OK;
}
static AbiErrno fake_delete_range(Access *access,
                                  uint32_t id,
                                  const AccessRange *range,
                                  uint32_t *deleted) {
    fake_range_keep(fake_of(access), range);
    uint64_t count = 0;
    AbiErrno result = fake_clear(access, id, &count);
    *deleted = (uint32_t)count;
    return result == ABI_NO_SUCH_TABLE ? ABI_NO_SUCH_INDEX : result;
}
// `relation` is a count and then rows, each a BSATN byte array: the fake's own row format.
static AbiErrno fake_delete_all_by_eq(Access *access,
                                      uint32_t id,
                                      Bytes relation,
                                      uint32_t *deleted) {
    FakeTable *table = fake_table(access, id);
    if (!table) return ABI_NO_SUCH_TABLE;
    if (relation.len < 4) return ABI_BSATN_DECODE_ERROR;
    *deleted = load_u32(relation.ptr);
    return ABI_OK;
}
static AbiErrno fake_jwt(Access *access, const ConnectionId *connection, Bytes *out) {
    fake_of(access)->jwt_asked = *connection;
    *out = fake_of(access)->jwt;
    return ABI_OK;
}

static const AccessOps fake_ops = {
    .table_id = fake_table_id,
    .index_id = fake_index_id,
    .row_count = fake_row_count,
    .scan_table = fake_scan_table,
    .scan_point = fake_scan_point,
    .scan_range = fake_scan_range,
    .insert = fake_insert,
    .update = fake_update,
    .delete_point = fake_delete_point,
    .delete_range = fake_delete_range,
    .delete_all_by_eq = fake_delete_all_by_eq,
    .clear = fake_clear,
    .jwt = fake_jwt,
};

static inline void fake_init(FakeAccess *fake, FakeTable *tables, uint32_t count) {
    *fake = (FakeAccess){.base = {.ops = &fake_ops}, .tables = tables, .table_count = count};
}
static inline void fake_deinit(FakeAccess *fake) {
    for (uint32_t t = 0; t < fake->table_count; t++)
        for (uint32_t i = 0; i < ARRAY_LEN(fake->tables[t].rows); i++)
            buf_deinit(&fake->tables[t].rows[i]);
    buf_deinit(&fake->range_bytes);
}
