// match.c: does a row satisfy a query's predicate? The hot path of subscriptions: called for each
// candidate query of each changed row, so it reads columns where they lie in the row's bytes and
// compares the common kinds without a call.
//
// Equality is equality of bytes for every comparable type except floats, where -0 = 0 and any NaN
// equals any NaN; there, and for order, bsatn_cmp decides (spec §1.9).
#include "query/compile.h"

static bool op_holds(QueryOp op, int order) {
    switch (op) {
    case QUERY_EQ: return order == 0;
    case QUERY_NE: return order != 0;
    case QUERY_LT: return order < 0;
    case QUERY_LE: return order <= 0;
    case QUERY_GT: return order > 0;
    case QUERY_GE: return order >= 0;
    }
    UNREACHABLE();
}

static int order_u64(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}
static int order_i64(int64_t a, int64_t b) {
    return a < b ? -1 : a > b;
}

static int compare(const Type *type, const uint8_t *a, const uint8_t *b) {
    switch (type->kind) {
    case TYPE_BOOL:
    case TYPE_U8: return order_u64(*a, *b);
    case TYPE_I8: return order_i64((int8_t)*a, (int8_t)*b);
    case TYPE_U16: return order_u64(load_u16(a), load_u16(b));
    case TYPE_I16: return order_i64((int16_t)load_u16(a), (int16_t)load_u16(b));
    case TYPE_U32: return order_u64(load_u32(a), load_u32(b));
    case TYPE_I32: return order_i64((int32_t)load_u32(a), (int32_t)load_u32(b));
    case TYPE_U64: return order_u64(load_u64(a), load_u64(b));
    case TYPE_I64: return order_i64((int64_t)load_u64(a), (int64_t)load_u64(b));
    default: return bsatn_cmp(type, a, b);
    }
}

static bool compares_as_bytes(const Type *type) {
    return type->kind != TYPE_F32 && type->kind != TYPE_F64;
}

bool query_values_hold(const Type *type, QueryOp op, Bytes a, Bytes b) {
    if (op <= QUERY_NE && compares_as_bytes(type)) return bytes_eq(a, b) == (op == QUERY_EQ);
    return op_holds(op, compare(type, a.ptr, b.ptr));
}

static inline Bytes column_bytes(const RowLayout *layout, Bytes row, uint16_t column) {
    uint32_t offset = layout->fixed_offset[column];
    uint32_t size = layout->row_type->fields[column].type->fixed_size;
    if (LIKELY(offset != TYPE_SIZE_VARIES && size != TYPE_SIZE_VARIES))
        return (Bytes){row.ptr + offset, size};
    return row_column(layout, row, column);
}

bool query_matches_with(const Query *query, const Bytes *values, Bytes row) {
    const RowLayout *layout = query->layout;
    uint64_t bits = 0;  // of QTEST_PUSH, newest lowest; compile.c bounds their depth to 64
    uint32_t at = query->entry;
    while (at < QUERY_REJECT) {
        const QueryTest *test = &query->tests[at];
        const Type *type = layout->row_type->fields[test->column].type;
        bool holds = false;
        switch (test->kind) {
        case QTEST_COMPARE:
            holds = query_values_hold(type,
                                      test->op,
                                      column_bytes(layout, row, test->column),
                                      values[test->param]);
            break;
        case QTEST_COLUMNS:
            holds = query_values_hold(type,
                                      test->op,
                                      column_bytes(layout, row, test->column),
                                      column_bytes(layout, row, test->other_column));
            break;
        case QTEST_NONE:
            holds = (column_bytes(layout, row, test->column).ptr[0] == 1) == (test->op == QUERY_EQ);
            break;
        case QTEST_PUSH:
            bits = bits << 1 | test->bit;
            holds = true;
            break;
        case QTEST_POP:
            holds = op_holds(test->op, (int)(bits & 1) - (int)test->bit);
            bits >>= 1;
            break;
        }
        at = holds ? test->if_true : test->if_false;
    }
    return at == QUERY_ACCEPT;
}

bool query_matches(const Query *query, Bytes row) {
    return query_matches_with(query, query->values, row);
}
