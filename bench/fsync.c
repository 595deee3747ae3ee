// fsync.c: what this disk, here and now, takes to make a small append durable.
//
//   fsync [--file PATH] [--bytes 4096] [--count 1000] [--json]
//
// Appends into preallocated space and calls fdatasync each time, as the log does; prints the
// median and the 99th percentile. Every latency the server can promise begins with this number.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "os/io.h"

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void fatal(const char *what, Err err) {
    fprintf(stderr, "fsync: %s: %s (%s)\n", what, err_text(err), io_last_error_text());
    exit(1);
}

static void measure(const char *path, size_t bytes, size_t count, int64_t *ns) {
    const Io *io = io_real();
    IoFile *file = NULL;
    uint8_t *block = mem_zalloc(bytes);
    if (!block) fatal("block", ERR_NOMEM);
    Err err = io->file_open(io->world, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE, &file);
    if (err != OK) fatal(path, err);
    if ((err = io->file_preallocate(io->world, file, bytes * count)) != OK) fatal("size", err);
    if ((err = io->file_sync(io->world, file)) != OK) fatal("sync", err);
    for (size_t i = 0; i < count; i++) {
        memset(block, (int)i, bytes);
        int64_t start = io->clock_monotonic_ns(io->world);
        err = io->file_write(io->world, file, i * bytes, block, bytes);
        if (err == OK) err = io->file_sync(io->world, file);
        if (err != OK) fatal("write and sync", err);
        ns[i] = io->clock_monotonic_ns(io->world) - start;
    }
    io->file_close(io->world, &file);
    if ((err = io->file_remove(io->world, path)) != OK) fatal("remove", err);
    mem_free(block);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"bytes", required_argument, NULL, 'b'},
        {"count", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    const char *file = "fsync.tmp";
    size_t bytes = 4096, count = 1000;
    bool json = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'f') file = optarg;
        if (option == 'b') bytes = strtoul(optarg, NULL, 10);
        if (option == 'c') count = strtoul(optarg, NULL, 10);
        if (option == 'j') json = true;
        if (option == '?') return 2;
    }
    if (bytes == 0 || count == 0 || count > 1000000) return 2;
    int64_t *ns = mem_zalloc(count * sizeof *ns);
    if (!ns) fatal("times", ERR_NOMEM);
    measure(file, bytes, count, ns);
    qsort(ns, count, sizeof *ns, by_value);
    double p50 = (double)ns[count / 2] / 1000, p99 = (double)ns[count * 99 / 100] / 1000;
    if (json) {
        printf("[{\"scenario\":\"fdatasync\",\"name\":\"p50\",\"value\":%.1f,\"unit\":\"us\"},"
               "{\"scenario\":\"fdatasync\",\"name\":\"p99\",\"value\":%.1f,\"unit\":\"us\"}]\n",
               p50,
               p99);
    } else {
        printf("fdatasync of %zu bytes, %zu times: p50 %.1f us, p99 %.1f us\n",
               bytes,
               count,
               p50,
               p99);
    }
    mem_free(ns);
    return 0;
}
