// usage_test.c: what the process says it takes follows what it touches and gives back.
#include "os/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

// A made-up system's files, in a directory of their own.
typedef struct Groups {
    char root[64], list[96];
} Groups;

static void put(const char *root, const char *path, const char *text) {
    char full[256];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(full, sizeof full, "%s/%.*s", root, (int)(slash - path), path);
        mkdir(full, 0700);
    }
    snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *file = fopen(full, "w");
    EXPECT(file != NULL);
    fputs(text, file);
    fclose(file);
}

static Groups groups_new(const char *list) {
    Groups groups = {.root = "/tmp/lightcone-usage-XXXXXX"};
    EXPECT(mkdtemp(groups.root) != NULL);
    put(groups.root, "list", list);
    snprintf(groups.list, sizeof groups.list, "%s/list", groups.root);
    return groups;
}

static void groups_end(const Groups *groups, const char *const *paths) {
    char full[256];
    for (; *paths; paths++) {
        snprintf(full, sizeof full, "%s/%s", groups->root, *paths);
        EXPECT_EQ(remove(full), 0);
    }
    EXPECT_EQ(remove(groups->list), 0);
    EXPECT_EQ(remove(groups->root), 0);
}

TEST(usage, cpu_is_limited_where_a_group_or_one_above_it_has_a_quota) {
    Groups groups = groups_new("0::/a/b\n");
    put(groups.root, "a/b/cpu.max", "max 100000\n");
    EXPECT(!usage_cpu_is_limited(groups.list, groups.root));
    put(groups.root, "a/cpu.max", "50000 100000\n");
    EXPECT(usage_cpu_is_limited(groups.list, groups.root));
    groups_end(&groups, (const char *[]){"a/b/cpu.max", "a/b", "a/cpu.max", "a", NULL});
}

TEST(usage, cpu_is_limited_in_a_container_whose_root_has_a_quota) {
    Groups groups = groups_new("0::/\n");
    EXPECT(!usage_cpu_is_limited(groups.list, groups.root));
    put(groups.root, "cpu.max", "200000 100000\n");
    EXPECT(usage_cpu_is_limited(groups.list, groups.root));
    groups_end(&groups, (const char *[]){"cpu.max", NULL});
}

TEST(usage, cpu_is_limited_by_a_quota_of_the_first_version_of_groups) {
    Groups groups = groups_new("9:memory:/x\n8:cpu,cpuacct:/x\nnonsense\n");
    put(groups.root, "memory/x/cpu.cfs_quota_us", "50000\n");
    put(groups.root, "cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
    EXPECT(!usage_cpu_is_limited(groups.list, groups.root));
    put(groups.root, "cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n");
    EXPECT(usage_cpu_is_limited(groups.list, groups.root));
    groups_end(&groups,
               (const char *[]){"memory/x/cpu.cfs_quota_us",
                                "memory/x",
                                "memory",
                                "cpu,cpuacct/x/cpu.cfs_quota_us",
                                "cpu,cpuacct/x",
                                "cpu,cpuacct",
                                NULL});
}

TEST(usage, cpu_is_not_limited_where_the_system_does_not_say) {
    EXPECT(!usage_cpu_is_limited("/nowhere/cgroup", "/nowhere"));
}

TEST_MAIN()
