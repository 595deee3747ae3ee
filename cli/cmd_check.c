// cmd_check.c: `lightcone check`: is a data directory in order? Reads files, talks to no server.
#include <stdio.h>

#include "cli/commands.h"
#include "txn/verify.h"

typedef struct Check {
    const Io *io;
    const char *path;  // being looked into
    uint64_t databases, problems;
} Check;

static void problem_print(void *ctx, const char *line) {
    const Check *check = ctx;
    printf("%s: %s\n", check->path, line);
}

static bool dir_exists(const Io *io, const char *path);

// One generation of a database: its log and its page file.
static Err generation_check(void *ctx, const char *dir) {
    Check *check = ctx;
    char log[IO_PATH_MAX], pages[IO_PATH_MAX];
    DbVerified found;
    if (path_join(log, dir, "log") != OK || path_join(pages, dir, "pages") != OK)
        return ERR_TOO_LARGE;
    if (!dir_exists(check->io, log)) return OK;
    DbVerify verify = {
        .io = check->io,
        .dir = log,
        .page_file = pages,
        .line = problem_print,
        .ctx = check,
    };
    check->path = dir;
    check->databases++;
    db_verify(&verify, &found);
    check->problems += found.problems;
    if (found.problems) return OK;
    printf(
        "%s: in order: %llu tables, %llu rows; checkpoint %llu up to commit %llu, %llu pages; log "
        "%llu to %llu in %llu segments",
        dir,
        (unsigned long long)found.tables,
        (unsigned long long)found.rows,
        (unsigned long long)found.checkpoints,
        (unsigned long long)found.checkpoint_offset,
        (unsigned long long)found.pages,
        (unsigned long long)found.log.begin.v,
        (unsigned long long)found.log.end.v,
        (unsigned long long)found.log.segments);
    if (found.log.torn_bytes) {
        printf(", %llu bytes of an unfinished write at its end",
               (unsigned long long)found.log.torn_bytes);
    }
    puts("");
    return OK;
}

static Err nothing(void *ctx, const char *name) {
    (void)ctx, (void)name;
    return OK;
}

static bool dir_exists(const Io *io, const char *path) {
    return io->dir_list(io->world, path, nothing, NULL) == OK;
}

typedef struct Walk {
    Check *check;
    const char *dir;
    Err (*each)(void *ctx, const char *path);
} Walk;

static Err walk_name(void *ctx, const char *name) {
    const Walk *walk = ctx;
    char path[IO_PATH_MAX];
    Err err = path_join(path, walk->dir, name);
    return err == OK ? walk->each(walk->check, path) : err;
}

static Err walk_dir(Check *check, const char *dir, Err (*each)(void *ctx, const char *path)) {
    Walk walk = {check, dir, each};
    return check->io->dir_list(check->io->world, dir, walk_name, &walk);
}

static Err database_check(void *ctx, const char *path) {
    return walk_dir(ctx, path, generation_check);
}

static int check_run(const Args *args) {
    if (args->word_count != 1)
        args_fail(args->command,
                  "give one data directory, the one that the server has as --data-dir");
    const char *dir = args->words[0];
    char databases[IO_PATH_MAX], control[IO_PATH_MAX];
    Check check = {.io = io_real()};
    if (path_join(databases, dir, "databases") != OK || path_join(control, dir, "control") != OK) {
        cli_die("%s is too long", dir);
    }
    Err err = OK;
    if (dir_exists(check.io, databases)) err = walk_dir(&check, databases, database_check);
    if (err == OK && dir_exists(check.io, control)) err = generation_check(&check, control);
    if (err == OK && check.databases == 0) err = generation_check(&check, dir);
    if (err != OK) cli_die("cannot read %s: %s", dir, io_last_error_text());
    if (check.databases == 0)
        cli_die("%s holds no databases. Give the directory that the server has as --data-dir.",
                dir);
    if (check.problems)
        printf("%llu problem%s\n",
               (unsigned long long)check.problems,
               check.problems == 1 ? "" : "s");
    return check.problems ? 1 : 0;
}

static const ArgSpec specs[] = {ARG_SPECS_END};

const CliCommand command_check = {
    .name = "check",
    .usage = "<DIR>",
    .summary = "Verify a data directory",
    .about =
        "Reads everything a server that is not running has on disk: every page's checksum, every\n"
        "table and index, the log's chain. Says what is wrong where, and changes nothing. DIR is a\n"
        "server's data directory, or one generation of a database in it. Exit code 1: something\n"
        "is wrong.\n"
        "\n"
        "Examples:\n"
        "  lightcone check ./data\n",
    .specs = specs,
    .run = check_run,
};
