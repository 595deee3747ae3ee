// mem_testing.h: for tests only: work that leaves an allocator with pages of all sizes.
#pragma once
#include <string.h>

#include "base/mem.h"
#include "base/test.h"

// Takes blocks of all sizes up to 400,000 bytes, touches and frees them: 15 MiB that mimalloc keeps for its thread.
static inline void mem_churn(void) {
    for (size_t bytes = 1024; bytes < 400000; bytes += bytes / 4) {
        void *blocks[40];
        for (int i = 0; i < 40; i++) {
            blocks[i] = mem_alloc(bytes);
            EXPECT(blocks[i] != NULL);
            if (blocks[i]) memset(blocks[i], 1, bytes);
        }
        for (int i = 0; i < 40; i++)
            mem_free(blocks[i]);
    }
}
