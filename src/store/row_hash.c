// row_hash.c: 128 bits that stand for a row in tables without a primary key.
//
// Two lanes of multiply-and-fold (the step of Wang Yi's wyhash, public domain) over 16 bytes at a
// time, the last block zero-padded, the length in the start value. It is part of the format: trees
// are ordered by it, so it never changes. It need not resist an attacker: rows that collide are
// kept apart by one more byte in the key (inside.h), and 256 colliding rows are refused.
#include "store/inside.h"

#define K0 0xa0761d6478bd642fu
#define K1 0xe7037ed1a0b428dbu
#define K2 0x8ebc6af09c88c6e3u
#define K3 0x589965cc75374cc3u
#define K4 0x1d8e4e27c47d124fu
#define K5 0xeb44accab455d165u

static uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

typedef struct Lanes {
    uint64_t a, b;
} Lanes;

static Lanes lanes_block(Lanes lanes, const uint8_t *p) {
    uint64_t x = load_u64(p), y = load_u64(p + 8);
    return (Lanes){fold(lanes.a ^ x ^ K2, y ^ K3) ^ lanes.b, fold(lanes.b ^ y ^ K4, x ^ K5) + x};
}

void row_hash(Bytes row, uint8_t out[ROW_HASH_BYTES]) {
    Lanes lanes = {row.len ^ K0, row.len * K1 + K1};
    const uint8_t *p = row.ptr;
    size_t left = row.len;
    for (; left >= 16; left -= 16, p += 16) {
        lanes = lanes_block(lanes, p);
    }
    if (left) {
        uint8_t last[16] = {0};
        memcpy(last, p, left);
        lanes = lanes_block(lanes, last);
    }
    store_u64(out, fold(lanes.a ^ K1, lanes.b ^ K0));
    store_u64(out + 8, fold(lanes.a ^ K4, lanes.b ^ K2) ^ lanes.a);
}
