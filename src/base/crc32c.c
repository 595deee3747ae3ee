// crc32c.c: one instruction where the compiler may use it (x86-64-v2, ARMv8 with CRC), else tables.
#include "base/crc32c.h"

#include <pthread.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

enum { POLYNOMIAL_REVERSED = (int)0x82f63b78 };

// table[k][b]: the effect of byte b, k bytes before the end of an 8-byte word.
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_make(void) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? (uint32_t)POLYNOMIAL_REVERSED : 0);
        }
        table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++) {
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
        }
    }
}

uint32_t crc32c_portable(uint32_t crc, Bytes bytes) {
    pthread_once(&table_once, table_make);
    const uint8_t *p = bytes.ptr;
    size_t n = bytes.len;
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word = load_u64(p) ^ crc;
        crc = 0;
        for (int k = 0; k < 8; k++) {
            crc ^= table[7 - k][word >> (8 * k) & 255];
        }
    }
    for (; n > 0; n--, p++) {
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    }
    return ~crc;
}

#if defined(__SSE4_2__)
#define STEP_8(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define STEP_1(crc, byte) _mm_crc32_u8((crc), (byte))
#elif defined(__ARM_FEATURE_CRC32)
#define STEP_8(crc, word) __crc32cd((crc), (word))
#define STEP_1(crc, byte) __crc32cb((crc), (byte))
#endif

uint32_t crc32c(uint32_t crc, Bytes bytes) {
#if defined(STEP_8)
    const uint8_t *p = bytes.ptr;
    size_t n = bytes.len;
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        crc = STEP_8(crc, load_u64(p));
    }
    for (; n > 0; n--, p++) {
        crc = STEP_1(crc, *p);
    }
    return ~crc;
#else
    return crc32c_portable(crc, bytes);
#endif
}
