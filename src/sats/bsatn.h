// bsatn.h: values as bytes. The server never converts a row: it checks it, measures it, compares
// it and copies it, always as BSATN. Spec: websocket-and-data-model §2.
#pragma once
#include "sats/type.h"

// Check that `in` begins with one valid value of `type` and say how long it is. Malformed input is
// refused with the original's words (§2.3) and its position in diag->at.
MUST_USE Err bsatn_check(const Type *type, Bytes in, size_t *len, Diag *diag);

// Length of the value at the front of `in`, which was checked before (no validation).
size_t bsatn_len(const Type *type, const uint8_t *value);

// Append a value of the type, a short one that means nothing: zeros, empty, the first variant without
// content. False: there is none, or none that is found; what was appended by then is good for nothing.
MUST_USE bool bsatn_put_least(Buf *out, const Type *type);

// The total order of §0.4 in module-abi: false < true, numbers, floats with NaN greatest and
// -0 = +0, strings and bytes bytewise, arrays and products lexicographic, sums by tag.
int bsatn_cmp(const Type *type, const uint8_t *a, const uint8_t *b);

// Where each column of a row begins. Made once a table; finding a column after fixed-size ones is
// an addition, otherwise a walk over the columns in between.
typedef struct RowLayout {
    const Type *row_type;
    uint32_t column_count;
    const uint32_t *fixed_offset;  // of each column, or TYPE_SIZE_VARIES when it depends on the row
} RowLayout;
MUST_USE Err row_layout_init(RowLayout *layout, const Type *row_type, Arena *arena);
Bytes row_column(const RowLayout *layout, Bytes row, uint32_t column);  // borrows from row

// A cursor for decoding wire messages by hand. The first failure sticks: later reads return zeros,
// reader_ok() tells. `at` is where it failed.
typedef struct Reader {
    Bytes in;   // what is left
    size_t at;  // consumed so far
    bool failed;
    const char *expected;  // "u32", "[u8]" …, for the message; NULL when text is not UTF-8
    size_t needed;
} Reader;
Reader reader_of(Bytes in);
bool reader_ok(const Reader *r);
uint8_t reader_u8(Reader *r);
uint16_t reader_u16(Reader *r);
uint32_t reader_u32(Reader *r);
uint64_t reader_u64(Reader *r);
Bytes reader_take(Reader *r, size_t len);
Bytes reader_lp(Reader *r);  // u32 length, then that many bytes; borrows from the input
Str reader_str(Reader *r);   // the same, checked to be UTF-8
Err reader_err(const Reader *r, Diag *diag);  // OK or ERR_MALFORMED with §2.3's words

// BsatnRowList (§2.5): rows back to back, and a hint. Used for everything a client receives.
typedef struct RowList {
    Buf rows;
    Buf offsets;  // u64 each; empty while every row has the same length
    uint32_t count;
    uint64_t same_len;  // length of every row so far, or UINT64_MAX once they differ
} RowList;
void rowlist_init(RowList *list);  // a zeroed RowList is not ready: same_len is unset
void rowlist_deinit(RowList *list);
void rowlist_clear(RowList *list);
void rowlist_add(RowList *list, Bytes row);
// Append the list; chooses the hint as §2.5. A list that is incomplete (rowlist_ok) or over 4 GiB
// marks `out` as failed.
void rowlist_encode(Buf *out, const RowList *list);
bool rowlist_ok(const RowList *list);
