#include "os/usage.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The value of a line "name:   123 kB" of proc(5)'s status, or -1.
static int64_t kilobytes(const char *status, const char *name) {
    const char *line = strstr(status, name);
    return line ? strtoll(line + strlen(name), NULL, 10) : -1;
}

int64_t usage_memory_bytes(void) {
    char status[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return INT64_MAX;
    ssize_t len = read(fd, status, sizeof status - 1);
    close(fd);
    status[MAX(len, 0)] = 0;
    int64_t resident = kilobytes(status, "\nVmRSS:"), swapped = kilobytes(status, "\nVmSwap:");
    return resident < 0 || swapped < 0 ? INT64_MAX : (resident + swapped) * 1024;
}

// ── control groups ─────────────────────────────────────────────────────────────────────────────

// "max 100000", "50000 100000" (version 2), "-1", "50000" (version 1): is it a number above 0?
static bool quota_is_set(const char *directory, const char *name) {
    char path[PATH_MAX], text[64];
    int len = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (len < 0 || (size_t)len >= sizeof path) return false;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool read = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return read && strtoll(text, NULL, 10) > 0;
}

// Of a group and all above it, up to the root of their file system.
static bool any_quota(char *directory, size_t root_len, const char *name) {
    for (;;) {
        if (quota_is_set(directory, name)) return true;
        char *last = strrchr(directory, '/');
        if (!last || (size_t)(last - directory) < root_len) return false;
        *last = 0;
    }
}

// A line is "number:controllers:/path"; of version 2 there are no controllers.
static bool line_is_limited(char *line, const char *root) {
    char directory[PATH_MAX];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) return false;
    *path++ = 0;
    controllers++;
    path[strcspn(path, "\n")] = 0;
    bool is_second = *controllers == 0;
    bool is_cpu = strcmp(controllers, "cpu") == 0 || strcmp(controllers, "cpu,cpuacct") == 0;
    if (!is_second && !is_cpu) return false;
    const char *between = is_second ? "" : "/";
    int len = snprintf(directory, sizeof directory, "%s%s%s%s", root, between, controllers, path);
    if (len < 0 || (size_t)len >= sizeof directory) return false;
    size_t root_len = strlen(root) + strlen(between) + strlen(controllers);
    return any_quota(directory, root_len, is_second ? "cpu.max" : "cpu.cfs_quota_us");
}

bool usage_cpu_is_limited(const char *groups, const char *root) {
    char line[PATH_MAX + 256];
    FILE *file = fopen(groups, "re");
    if (!file) return false;
    bool limited = false;
    while (!limited && fgets(line, sizeof line, file))
        limited = line_is_limited(line, root);
    fclose(file);
    return limited;
}
