// rowlist.c: BsatnRowList, the form in which clients receive rows.
//
//     hint  00 size:2                          every row is exactly this long, never 0
//           01 count:4, count times offset:8   where each row starts
//     len:4 rows back to back
//
// ALWAYS TRUE
//   (1) While all rows so far have one length, `offsets` is empty: the usual list of fixed rows
//       never writes down what nobody will send. It is filled at the first row that differs.
//   (2) The hint follows the actual lengths, not the type: two strings of three bytes are FixedSize.
#include "sats/bsatn.h"

#define HINT_FIXED   0
#define HINT_OFFSETS 1

void rowlist_init(RowList *list) {
    *list = (RowList){.same_len = UINT64_MAX};
}

void rowlist_deinit(RowList *list) {
    buf_deinit(&list->rows);
    buf_deinit(&list->offsets);
    rowlist_init(list);
}

void rowlist_clear(RowList *list) {
    buf_clear(&list->rows);
    buf_clear(&list->offsets);
    list->count = 0;
    list->same_len = UINT64_MAX;
}

// Offsets of `count` rows of one length.
static void put_even_offsets(Buf *out, uint32_t count, uint64_t len) {
    for (uint32_t i = 0; i < count; i++) {
        buf_put_u64(out, i * len);
    }
}

void rowlist_add(RowList *list, Bytes row) {
    if (list->count == 0) {
        list->same_len = row.len;
    } else if (list->same_len != UINT64_MAX && list->same_len != row.len) {
        put_even_offsets(&list->offsets, list->count, list->same_len);
        list->same_len = UINT64_MAX;
    }
    if (list->same_len == UINT64_MAX) buf_put_u64(&list->offsets, list->rows.len);
    buf_put_bytes(&list->rows, row);
    list->count++;
}

void rowlist_encode(Buf *out, const RowList *list) {
    bool same = list->count > 0 && list->same_len != UINT64_MAX;
    if (same && list->same_len > 0 && list->same_len <= UINT16_MAX) {
        buf_put_u8(out, HINT_FIXED);
        buf_put_u16(out, (uint16_t)list->same_len);
    } else {
        buf_put_u8(out, HINT_OFFSETS);
        buf_put_u32(out, list->count);
        if (same) put_even_offsets(out, list->count, list->same_len);
        buf_put_bytes(out, buf_bytes(&list->offsets));
    }
    if (list->rows.len > UINT32_MAX || !rowlist_ok(list)) out->failed = true;
    buf_put_lp(out, buf_bytes(&list->rows));
}

bool rowlist_ok(const RowList *list) {
    return buf_ok(&list->rows) && buf_ok(&list->offsets);
}
