#include "base/mem_testing.h"

#include <unistd.h>

#ifndef MEM_IS_WATCHED

static int64_t resident_bytes(void) {
    long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    EXPECT(file && fscanf(file, "%lld %lld", &size, &resident) == 2);
    if (file) fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

TEST(mem, what_a_thread_keeps_for_later_is_the_systems_when_it_settles) {
    void *kept = mem_alloc(100000);
    EXPECT(kept != NULL && mem_settle());
    memset(kept, 7, 100000);
    int64_t before = resident_bytes();
    mem_churn();
    EXPECT(resident_bytes() > before + (8 << 20));  // else there is nothing to test
    usleep(100000);
    EXPECT(mem_settle());
    EXPECT(resident_bytes() < before + (3 << 20));
    EXPECT_EQ(((uint8_t *)kept)[99999], 7);
    mem_free(kept);
}

#endif

TEST(mem, settling_is_harmless_at_any_time) {
    for (int i = 0; i < 3; i++)
        (void)mem_settle();
    void *block = mem_zalloc(10);
    EXPECT(block != NULL);
    (void)mem_settle();
    mem_free(block);
    (void)mem_settle();
}

TEST_MAIN()
