// database_files.c: where a database is on the disk, and that nothing of it is left there.
//
//   DATA-DIR/databases/IDENTITY/GENERATION/{log,pages,module_logs}     a reset begins a new generation
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/database.h"
#include "node/node_private.h"

Err database_dir(const Node *node,
                 const Identity *identity,
                 uint64_t generation,
                 char out[IO_PATH_MAX]) {
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(identity, hex);
    int len = snprintf(out,
                       IO_PATH_MAX,
                       "%s/databases/%s/%llu",
                       node->data_dir,
                       hex,
                       (unsigned long long)generation);
    return len < IO_PATH_MAX ? OK : ERR_TOO_LARGE;
}

static Err remove_file(void *ctx, const char *name) {
    const char *dir = *(const char **)ctx;
    const Io *io = ((const Io **)ctx)[1];
    char path[IO_PATH_MAX];
    return path_join(path, dir, name) == OK ? io->file_remove(io->world, path) : OK;
}

static void directory_remove(const Io *io, const char *dir) {
    const void *ctx[2] = {dir, io};
    if (io->dir_list(io->world, dir, remove_file, ctx) == OK)
        (void)!io->file_remove(io->world, dir);
}

static void files_remove(const Io *io, const char *dir) {
    char path[IO_PATH_MAX];
    static const char *const parts[] = {"log", "module_logs"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (path_join(path, dir, parts[i]) == OK) directory_remove(io, path);
    }
    directory_remove(io, dir);
}

void database_files_remove(const Node *node, const Identity *identity, uint64_t generation) {
    char dir[IO_PATH_MAX];
    if (node->options.in_memory || database_dir(node, identity, generation, dir) != OK) return;
    files_remove(node->io, dir);
}

typedef struct Sweep {
    uint64_t before;
    uint64_t found[64];
    uint32_t count;
} Sweep;

static Err sweep_each(void *ctx, const char *name) {
    Sweep *sweep = ctx;
    char *end;
    errno = 0;
    unsigned long long generation = strtoull(name, &end, 10);
    bool is_number = name[0] >= '0' && name[0] <= '9' && !*end && errno == 0;
    if (is_number && generation < sweep->before && sweep->count < ARRAY_LEN(sweep->found))
        sweep->found[sweep->count++] = generation;
    return OK;
}

void database_files_sweep(const Node *node, const ControlDatabase *record) {
    char dir[IO_PATH_MAX];
    Sweep sweep = {.before = record->generation};
    if (node->options.in_memory || database_dir(node, &record->identity, 0, dir) != OK) return;
    *strrchr(dir, '/') = 0;
    if (node->io->dir_list(node->io->world, dir, sweep_each, &sweep) != OK) return;  // no directory
    for (uint32_t i = 0; i < sweep.count; i++) {
        database_files_remove(node, &record->identity, sweep.found[i]);
    }
}
