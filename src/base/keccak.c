// keccak.c: Keccak-f[1600] as a sponge (Bertoni, Daemen, Peeters, Van Assche), rate 136 bytes.
//
// The state is 5 x 5 lanes of 64 bits; input is xored into the first 17, then all are permuted.
#include "base/keccak.h"

enum { RATE_BYTES = 136, RATE_LANES = RATE_BYTES / 8, ROUNDS = 24 };

static const uint64_t round_constants[ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

// rho and pi in one walk: the lane that was at the previous place, rotated, goes to pi_lane[i].
static const uint8_t rho_bits[24] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                                     27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};
static const uint8_t pi_lane[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                    15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};

static inline uint64_t rotate_left(uint64_t word, int by) {
    return word << by | word >> (64 - by);
}

static void theta(uint64_t a[25]) {
    uint64_t column[5];
    for (int x = 0; x < 5; x++) {
        column[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
    }
    for (int x = 0; x < 5; x++) {
        uint64_t d = column[(x + 4) % 5] ^ rotate_left(column[(x + 1) % 5], 1);
        for (int y = 0; y < 25; y += 5) {
            a[y + x] ^= d;
        }
    }
}

static void rho_and_pi(uint64_t a[25]) {
    uint64_t carried = a[1];
    for (int i = 0; i < 24; i++) {
        uint64_t displaced = a[pi_lane[i]];
        a[pi_lane[i]] = rotate_left(carried, rho_bits[i]);
        carried = displaced;
    }
}

static void chi(uint64_t a[25]) {
    for (int y = 0; y < 25; y += 5) {
        uint64_t row[5];
        memcpy(row, a + y, sizeof row);
        for (int x = 0; x < 5; x++) {
            a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
        }
    }
}

static void permute(uint64_t a[25]) {
    for (int round = 0; round < ROUNDS; round++) {
        theta(a);
        rho_and_pi(a);
        chi(a);
        a[0] ^= round_constants[round];
    }
}

static void absorb(uint64_t a[25], const uint8_t *block) {
    for (int i = 0; i < RATE_LANES; i++) {
        a[i] ^= load_u64(block + 8 * i);
    }
    permute(a);
}

void keccak256(Bytes bytes, uint8_t out[KECCAK256_LEN]) {
    uint64_t state[25] = {0};
    for (; bytes.len >= RATE_BYTES; bytes.ptr += RATE_BYTES, bytes.len -= RATE_BYTES) {
        absorb(state, bytes.ptr);
    }
    uint8_t last[RATE_BYTES] = {0};
    if (bytes.len > 0) memcpy(last, bytes.ptr, bytes.len);
    last[bytes.len] = 0x01;  // the original padding; SHA-3 put two domain bits before it
    last[RATE_BYTES - 1] |= 0x80;
    absorb(state, last);
    memcpy(out, state, KECCAK256_LEN);
}
