// sequence.h: auto-increment, for the head and for overlays. See sequence.c.
#pragma once
#include "txn/access.h"
#include "txn/catalog.h"

static inline __int128 int128_get(const Int128 *v) {
    __int128 out;
    memcpy(&out, v->le, sizeof out);
    return out;
}
static inline Int128 int128_from(__int128 v) {
    Int128 out;
    memcpy(out.le, &v, sizeof v);
    return out;
}

// The value after `value`, going round from max to min, and back for a negative step. Reads only
// what never changes of a sequence.
__int128 sequence_step(const CatalogSequence *sequence, __int128 value);
static inline bool sequence_wraps(const CatalogSequence *sequence, __int128 value, __int128 next) {
    return int128_get(&sequence->increment) > 0 ? next < value : next > value;
}

// Where the values of a row's zero columns come from. ABI_OK or ABI_FATAL.
typedef struct SequenceSource {
    AbiErrno (*draw)(void *ctx, CatalogTable *table, CatalogSequence *sequence, __int128 *out);
    void *ctx;
} SequenceSource;

bool sequences_wanted(const CatalogTable *table, Bytes row);
// Replace every sequence column of `row` whose value is zero by the next value, in place, and
// append the new values to `generated`. ABI_OK or ABI_FATAL.
AbiErrno sequences_fill(CatalogTable *table,
                        SequenceSource source,
                        uint8_t *row,
                        size_t row_len,
                        Buf *generated);
