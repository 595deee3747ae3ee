#include "txn/range.h"

typedef struct KeyColumns {
    const Type *types[RANGE_COLUMNS_MAX];
    uint32_t count;
} KeyColumns;

static bool key_columns(const CatalogTable *table, const CatalogIndex *index, KeyColumns *out) {
    out->count = 0;
    if (index->column_count == 1) {
        const Type *only = table->columns[index->columns[0]].type;
        if (only->kind == TYPE_PRODUCT && only->field_count > 0) {
            if (only->field_count > RANGE_COLUMNS_MAX) return false;
            for (uint32_t i = 0; i < only->field_count; i++) {
                out->types[out->count++] = only->fields[i].type;
            }
            return true;
        }
    }
    if (index->column_count > RANGE_COLUMNS_MAX) return false;
    for (uint32_t i = 0; i < index->column_count; i++) {
        out->types[out->count++] = table->columns[index->columns[i]].type;
    }
    return true;
}

// Check one value at the front of *in, append its key, advance.
static bool value_key(const Type *type, Bytes *in, Buf *key) {
    size_t len;
    if (bsatn_check(type, *in, &len, NULL) != OK) return false;
    key_append(key, type, in->ptr);
    in->ptr += len;
    in->len -= len;
    return true;
}

// Nearly every index is of one column whose every value is as long, and whatever bits it has.
static bool plain_point_key(const CatalogTable *table,
                            const CatalogIndex *index,
                            Bytes point,
                            Buf *key) {
    if (index->column_count != 1) return false;
    const Type *type = table->columns[index->columns[0]].type;
    if (type->kind <= TYPE_STRING || !type->any_bits || type->fixed_size != point.len) return false;
    key_append(key, type, point.ptr);
    return true;
}

AbiErrno range_any_point_key(const CatalogTable *table,
                             const CatalogIndex *index,
                             Bytes point,
                             Buf *key) {
    if (LIKELY(plain_point_key(table, index, point, key))) return buf_ok(key) ? ABI_OK : ABI_FATAL;
    KeyColumns columns;
    if (!key_columns(table, index, &columns)) return ABI_BSATN_DECODE_ERROR;
    for (uint32_t i = 0; i < columns.count; i++) {
        if (!value_key(columns.types[i], &point, key)) return ABI_BSATN_DECODE_ERROR;
    }
    if (point.len) return ABI_BSATN_DECODE_ERROR;
    return buf_ok(key) ? ABI_OK : ABI_FATAL;
}

enum { BOUND_INCLUDED = 0, BOUND_EXCLUDED = 1, BOUND_UNBOUNDED = 2 };

// Append the bound's value to *key (which holds the prefix) and tell its kind.
static bool bound_read(const Type *type, Bytes bound, Buf *key, int *kind) {
    if (bound.len == 0 || bound.ptr[0] > BOUND_UNBOUNDED) return false;
    *kind = bound.ptr[0];
    bound.ptr++;
    bound.len--;
    if (*kind != BOUND_UNBOUNDED && !value_key(type, &bound, key)) return false;
    return bound.len == 0;
}

AbiErrno range_keys(const CatalogTable *table,
                    const CatalogIndex *index,
                    const AccessRange *range,
                    Buf *lower,
                    Buf *upper,
                    bool *empty) {
    *empty = false;
    if (index->algorithm == INDEX_HASH) return ABI_WRONG_INDEX_ALGO;
    KeyColumns columns;
    if (!key_columns(table, index, &columns)) return ABI_BSATN_DECODE_ERROR;
    if (range->prefix_elems >= columns.count) return ABI_BSATN_DECODE_ERROR;

    Bytes prefix = range->prefix_elems ? range->prefix : BYTES_NONE;
    for (uint32_t i = 0; i < range->prefix_elems; i++) {
        if (!value_key(columns.types[i], &prefix, lower)) return ABI_BSATN_DECODE_ERROR;
    }
    if (prefix.len) return ABI_BSATN_DECODE_ERROR;
    buf_put_bytes(upper, buf_bytes(lower));

    const Type *type = columns.types[range->prefix_elems];
    int low, high;
    if (!bound_read(type, range->lower, lower, &low)) return ABI_BSATN_DECODE_ERROR;
    if (!bound_read(type, range->upper, upper, &high)) return ABI_BSATN_DECODE_ERROR;
    if (!buf_ok(lower) || !buf_ok(upper)) return ABI_FATAL;

    // Every key that continues the value's key belongs to the value, so "after the value" is the
    // successor of its key. A key without a successor is the greatest there is.
    if (low == BOUND_EXCLUDED && !key_successor(lower)) *empty = true;
    if (high != BOUND_EXCLUDED && !key_successor(upper)) buf_clear(upper);
    if (high == BOUND_EXCLUDED && upper->len == 0) *empty = true;
    if (upper->len && bytes_cmp(buf_bytes(lower), buf_bytes(upper)) >= 0) *empty = true;
    return ABI_OK;
}

bool range_is_point(const CatalogTable *table,
                    const CatalogIndex *index,
                    const AccessRange *range) {
    KeyColumns columns;
    return key_columns(table, index, &columns) && range->prefix_elems + 1 == columns.count &&
           range->lower.ptr[0] == BOUND_INCLUDED && bytes_eq(range->lower, range->upper);
}
