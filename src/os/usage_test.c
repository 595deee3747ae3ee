// usage_test.c: what the process says it takes follows what it touches and gives back.
#include "os/usage.h"

#include <string.h>
#include <sys/mman.h>

#include "base/test.h"

#define MIB ((int64_t)1 << 20)

TEST(usage, is_what_was_touched_and_not_what_was_reserved) {
    int64_t before = usage_memory_bytes();
    EXPECT(before > MIB / 4 && before < INT64_MAX);
    char *range = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(range != MAP_FAILED);
    EXPECT(usage_memory_bytes() < before + 16 * MIB);
    memset(range, 1, 64 * MIB);
    EXPECT(usage_memory_bytes() > before + 48 * MIB);
    munmap(range, 64 * MIB);
    EXPECT(usage_memory_bytes() < before + 16 * MIB);
}

TEST_MAIN()
