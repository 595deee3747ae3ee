#include "os/usage.h"

#include <fcntl.h>
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
