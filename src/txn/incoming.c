#include "txn/incoming.h"

// §5.8: schedules further ahead than this are refused (64^6 ms, less one).
#define SCHEDULE_DELAY_MAX_US ((((int64_t)1 << 36) - 1) * 1000)

AbiErrno incoming_status(Err err) {
    switch (err) {
    case OK: return ABI_OK;
    case ERR_UNIQUE: return ABI_UNIQUE_ALREADY_EXISTS;
    case ERR_NOT_FOUND: return ABI_NO_SUCH_ROW;
    case ERR_MALFORMED: return ABI_BSATN_DECODE_ERROR;
    default: return ABI_FATAL;
    }
}

AbiErrno incoming_row(CatalogTable *table,
                      SequenceSource source,
                      Bytes row,
                      Buf *filled,
                      Buf *generated,
                      Bytes *out) {
    size_t len;
    if (bsatn_check(table->row_type, row, &len, NULL) != OK) return ABI_BSATN_DECODE_ERROR;
    *out = BYTES(row.ptr, len);
    if (table->sequence_count && sequences_wanted(table, *out)) {
        buf_clear(filled);
        buf_put_bytes(filled, *out);
        if (!buf_ok(filled)) return ABI_FATAL;
        AbiErrno status = sequences_fill(table, source, filled->ptr, filled->len, generated);
        if (status != ABI_OK) return status;
        if (!buf_ok(generated)) return ABI_FATAL;
        *out = buf_bytes(filled);
    }
    return ABI_OK;
}

static Micros schedule_delay(const CatalogTable *table, Bytes row, Micros now) {
    Bytes at = row_column(table_layout(table->table), row, table->schedule_at_column);
    int64_t micros = (int64_t)load_u64(at.ptr + 1);
    if (at.ptr[0] == 0) return micros == INT64_MIN ? INT64_MAX : micros < 0 ? -micros : micros;
    int64_t delay;
    if (__builtin_sub_overflow(micros, now, &delay)) return micros < 0 ? 0 : INT64_MAX;
    return delay;
}

AbiErrno incoming_schedule(const CatalogTable *table, Bytes row, Micros now) {
    if (!table->schedule_id) return ABI_OK;
    return schedule_delay(table, row, now) > SCHEDULE_DELAY_MAX_US ? ABI_SCHEDULE_AT_DELAY_TOO_LONG
                                                                   : ABI_OK;
}

AbiErrno incoming_rows(IncomingRows *rows, const CatalogTable *table, Bytes relation) {
    if (relation.len < 4) return ABI_BSATN_DECODE_ERROR;
    *rows = (IncomingRows){table, {relation.ptr + 4, relation.len - 4}, load_u32(relation.ptr)};
    Bytes rest = rows->rest;
    for (uint32_t i = 0; i < rows->left; i++) {
        size_t len;
        if (bsatn_check(table->row_type, rest, &len, NULL) != OK) return ABI_BSATN_DECODE_ERROR;
        rest = BYTES(rest.ptr + len, rest.len - len);
    }
    return ABI_OK;
}

bool incoming_next(IncomingRows *rows, Bytes *row) {
    size_t len;
    if (rows->left == 0) return false;
    ASSERT(bsatn_check(rows->table->row_type, rows->rest, &len, NULL) == OK);  // as it was before
    *row = BYTES(rows->rest.ptr, len);
    rows->rest = (Bytes){rows->rest.ptr + len, rows->rest.len - len};
    rows->left--;
    return true;
}
