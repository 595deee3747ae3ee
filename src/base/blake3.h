// blake3.h: the hash under identities. Plain mode, 32 bytes out.
#pragma once
#include "base/bytes.h"

#define BLAKE3_LEN 32

// 54 levels hash 2^64 bytes: a chunk is 2^10 and each level doubles.
enum { BLAKE3_LEVELS_MAX = 54 };

typedef struct Blake3 {
    uint32_t cv[8];  // of the chunk being filled
    uint64_t chunk;  // its number
    uint8_t block[64];
    uint8_t block_len;
    uint8_t blocks_done;  // in this chunk, 0..15
    uint8_t levels;       // entries of `stack`
    uint32_t stack[BLAKE3_LEVELS_MAX][8];
} Blake3;

void blake3_init(Blake3 *hash);
void blake3_add(Blake3 *hash, Bytes bytes);
void blake3_end(const Blake3 *hash, uint8_t out[BLAKE3_LEN]);  // more may be added afterwards

void blake3(Bytes bytes, uint8_t out[BLAKE3_LEN]);  // all three in one
