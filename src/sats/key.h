// key.h: memcomparable keys. memcmp of two encodings orders as bsatn_cmp orders the values, for
// every type that may be a key column, so trees compare bytes and know no types.
//
// The encoding is documented in key.c, lives on disk inside trees and never changes.
#pragma once
#include "sats/bsatn.h"

// Append the key of one checked BSATN value. Concatenating the keys of several columns gives the
// key of the tuple, and the key of a prefix of columns is a prefix of it.
void key_append(Buf *out, const Type *type, const uint8_t *value);
// Ids are u32 or u64, as a rule. Who asks once how long such keys are (0: it is no such type) makes them in
// line, looking at no type.
static inline uint8_t key_id_bytes(const Type *type) {
    return type->kind == TYPE_U32 ? 4 : type->kind == TYPE_U64 ? 8 : 0;
}
static inline void key_append_id(Buf *out, uint8_t id_bytes, const uint8_t *value) {
    if (LIKELY(id_bytes == 4)) {
        buf_put_u32(out, __builtin_bswap32(load_u32(value)));
    } else {
        buf_put_u64(out, __builtin_bswap64(load_u64(value)));
    }
}
// Append the keys of `columns` of a row, in that order.
void key_append_columns(Buf *out,
                        const RowLayout *layout,
                        Bytes row,
                        const uint16_t *columns,
                        uint32_t count);
// Append the BSATN of the one value that this is the key of. False: it is none of this type, or floats are
// in it, of which several have one key; what was appended by then is good for nothing.
MUST_USE bool key_read(Buf *out, const Type *type, Bytes key);
// Whether a column of this type may be indexed at all. Every resolved type may.
bool key_type_ok(const Type *type);
// The smallest key greater than every key that begins with `key`: turns a prefix into an upper
// bound. False when there is none (all 0xff, or empty): the scan is unbounded above, and *key is
// empty.
bool key_successor(Buf *key);
