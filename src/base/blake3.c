// blake3.c: BLAKE3 in portable C, from the paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020).
//
//   input   chunk 0   chunk 1   chunk 2   chunk 3   chunk 4      1024 bytes each, 16 blocks of 64
//              └────┬────┘         └────┬────┘         │
//                   └─────────┬─────────┘              │
//                             └───────────┬────────────┘
//                                       root
//
// A chunk is a chain of compressions that ends in a chaining value (cv); a parent compresses the
// two cvs of its children. The left side of every parent is a complete tree, as large as can be.
// So a stack of cvs is enough: after chunk n-1 it holds one subtree for each 1 bit of n, and
// completing a chunk merges as many pairs as n has trailing 0 bits.
//
// ALWAYS TRUE
//   (1) The last block of the input has not been compressed: only blake3_end knows that it is the
//       last, and the root's flag must go into that very compression. Hence blocks and chunks are
//       finished when the next byte arrives, not when they are full.
#include "base/blake3.h"

enum { CHUNK_BYTES = 1024, BLOCK_BYTES = 64, BLOCKS_PER_CHUNK = CHUNK_BYTES / BLOCK_BYTES };

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

static const uint32_t iv[8] = {
    0x6a09e667,
    0xbb67ae85,
    0x3c6ef372,
    0xa54ff53a,
    0x510e527f,
    0x9b05688c,
    0x1f83d9ab,
    0x5be0cd19,
};

static const uint8_t permutation[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

static inline uint32_t rotate_right(uint32_t word, int by) {
    return word >> by | word << (32 - by);
}

static inline void mix(uint32_t v[16], int a, int b, int c, int d, uint32_t x, uint32_t y) {
    v[a] += v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 7);
}

static void mix_columns_and_diagonals(uint32_t v[16], const uint32_t m[16]) {
    mix(v, 0, 4, 8, 12, m[0], m[1]);
    mix(v, 1, 5, 9, 13, m[2], m[3]);
    mix(v, 2, 6, 10, 14, m[4], m[5]);
    mix(v, 3, 7, 11, 15, m[6], m[7]);
    mix(v, 0, 5, 10, 15, m[8], m[9]);
    mix(v, 1, 6, 11, 12, m[10], m[11]);
    mix(v, 2, 7, 8, 13, m[12], m[13]);
    mix(v, 3, 4, 9, 14, m[14], m[15]);
}

// One compression, cut to the 8 words that the plain 32-byte hash needs. `cv` is replaced.
static void compress(uint32_t cv[8],
                     const uint32_t words[16],
                     uint64_t counter,
                     uint32_t len,
                     uint32_t flags) {
    uint32_t v[16] = {
        cv[0],
        cv[1],
        cv[2],
        cv[3],
        cv[4],
        cv[5],
        cv[6],
        cv[7],
        iv[0],
        iv[1],
        iv[2],
        iv[3],
        (uint32_t)counter,
        (uint32_t)(counter >> 32),
        len,
        flags,
    };
    uint32_t m[16];
    memcpy(m, words, sizeof m);
    for (int round = 0;; round++) {
        mix_columns_and_diagonals(v, m);
        if (round == 6) break;
        uint32_t permuted[16];
        for (int i = 0; i < 16; i++) {
            permuted[i] = m[permutation[i]];
        }
        memcpy(m, permuted, sizeof m);
    }
    for (int i = 0; i < 8; i++) {
        cv[i] = v[i] ^ v[i + 8];
    }
}

static uint32_t start_flag(const Blake3 *hash) {
    return hash->blocks_done == 0 ? CHUNK_START : 0;
}

// The block being filled, zero-padded, through the chunk's chain.
static void block_compress(const Blake3 *hash, uint32_t cv[8], uint32_t flags) {
    uint8_t padded[BLOCK_BYTES] = {0};
    uint32_t words[16];
    memcpy(padded, hash->block, hash->block_len);
    memcpy(words, padded, sizeof words);  // little-endian, asserted in bytes.c
    compress(cv, words, hash->chunk, hash->block_len, flags | start_flag(hash));
}

static void parent_compress(uint32_t right[8], const uint32_t left[8], uint32_t flags) {
    uint32_t words[16];
    memcpy(words, left, 32);
    memcpy(words + 8, right, 32);
    memcpy(right, iv, 32);
    compress(right, words, 0, BLOCK_BYTES, PARENT | flags);
}

static void chunk_begin(Blake3 *hash, uint64_t number) {
    memcpy(hash->cv, iv, sizeof iv);
    hash->chunk = number;
    hash->block_len = 0;
    hash->blocks_done = 0;
}

// The full chunk becomes a leaf; complete pairs on the stack merge into their parents.
static void chunk_finish(Blake3 *hash) {
    uint32_t cv[8];
    memcpy(cv, hash->cv, sizeof cv);
    block_compress(hash, cv, CHUNK_END);
    for (uint64_t done = hash->chunk + 1; (done & 1) == 0; done >>= 1) {
        parent_compress(cv, hash->stack[--hash->levels], 0);
    }
    memcpy(hash->stack[hash->levels++], cv, sizeof cv);
    chunk_begin(hash, hash->chunk + 1);
}

void blake3_init(Blake3 *hash) {
    hash->levels = 0;
    chunk_begin(hash, 0);
}

void blake3_add(Blake3 *hash, Bytes bytes) {
    while (bytes.len > 0) {
        if (hash->block_len == BLOCK_BYTES) {  // (1)
            if (hash->blocks_done == BLOCKS_PER_CHUNK - 1) {
                chunk_finish(hash);
            } else {
                block_compress(hash, hash->cv, 0);
                hash->blocks_done++;
                hash->block_len = 0;
            }
        }
        size_t n = MIN(bytes.len, (size_t)(BLOCK_BYTES - hash->block_len));
        memcpy(hash->block + hash->block_len, bytes.ptr, n);
        hash->block_len = (uint8_t)(hash->block_len + n);
        bytes = (Bytes){bytes.ptr + n, bytes.len - n};
    }
}

void blake3_end(const Blake3 *hash, uint8_t out[BLAKE3_LEN]) {
    uint32_t cv[8];
    memcpy(cv, hash->cv, sizeof cv);
    block_compress(hash, cv, CHUNK_END | (hash->levels == 0 ? ROOT : 0));
    for (int level = hash->levels - 1; level >= 0; level--) {
        parent_compress(cv, hash->stack[level], level == 0 ? ROOT : 0);
    }
    memcpy(out, cv, BLAKE3_LEN);
}

void blake3(Bytes bytes, uint8_t out[BLAKE3_LEN]) {
    Blake3 hash;
    blake3_init(&hash);
    blake3_add(&hash, bytes);
    blake3_end(&hash, out);
}
