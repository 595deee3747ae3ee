// cmd_backup.c: `lightcone backup` copies a running database into a file; `lightcone restore` makes a
// database's files of one, while no server has them open.
#define _GNU_SOURCE  // strptime, timegm
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/http.h"
#include "cli/session.h"
#include "txn/restore.h"

// ── backup ─────────────────────────────────────────────────────────────────────────────────────

typedef struct Download {
    FILE *file;
    const char *path;
    unsigned long long bytes;
} Download;

static void piece_write(void *ctx, Bytes piece) {
    Download *download = ctx;
    if (fwrite(piece.ptr, 1, piece.len, download->file) != piece.len) {
        cli_die_cause(strerror(errno), "cannot write %s", download->path);
    }
    download->bytes += piece.len;
}

static int backup_run(const Args *args) {
    const char *to = args_value(args, "output");
    if (!to) args_fail(args->command, "say where to: --output FILE");
    if (cli_file_exists(to))
        cli_die("%s is there already. Give another name, or move it away.", to);
    DbArg db = session_database(args, DB_ARG_ONE, NULL);
    Download download = {.path = cli_format("%s.part", to)};
    download.file = fopen(download.path, "wb");
    if (!download.file) cli_die_cause(strerror(errno), "cannot make %s", download.path);
    HttpReply reply = http_send(&(HttpCall){
        .method = "GET",
        .url = target_url(&db.target, "/backup"),
        .token = db.target.token,
        .on_piece = piece_write,
        .ctx = &download,
    });
    if (!http_ok(&reply)) {
        fclose(download.file);
        remove(download.path);
        http_expect_ok(&reply);
    }
    bool kept = fflush(download.file) == 0 && fsync(fileno(download.file)) == 0;
    if (fclose(download.file) != 0 || !kept) {
        cli_die_cause(strerror(errno), "cannot write %s", download.path);
    }
    StoreImageInfo info;
    Diag diag = {0};
    if (store_image_info(io_real(), download.path, &info, &diag) != OK) cli_die("%s", diag.text);
    if (rename(download.path, to) != 0) cli_die_cause(strerror(errno), "cannot make %s", to);
    printf("%s: %llu bytes, every commit below %llu\n",
           to,
           download.bytes,
           (unsigned long long)info.log_offset);
    return 0;
}

static const ArgSpec backup_specs[] = {
    {"output", NULL, 'o', ARG_VALUE, "FILE", "Where the backup goes"},
    SPEC_YES,
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};

const CliCommand command_backup = {
    .name = "backup",
    .usage = "[OPTIONS] --output FILE [DATABASE]",
    .summary = "Copy a running database into a file",
    .about =
        "The copy is of one moment, and of the database as it is when the command begins; the\n"
        "server goes on meanwhile. For its owner only. `lightcone restore` makes a database's\n"
        "files of it.\n"
        "\n"
        "Examples:\n"
        "  lightcone backup my-db -o my-db.backup\n",
    .specs = backup_specs,
    .run = backup_run,
};

// ── restore ────────────────────────────────────────────────────────────────────────────────────

// "2026-11-22T04:57:23Z", with or without a fraction; always UTC.
static Micros time_read(const Args *args, const char *text) {
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    double fraction = 0;
    char *end = (char *)rest;
    if (rest && *rest == '.') fraction = strtod(rest, &end);
    if (!rest || strcmp(end, "Z") != 0) {
        args_fail(args->command,
                  "--to-time takes a moment like 2026-11-22T04:57:23Z, not `%s`",
                  text);
    }
    return (Micros)timegm(&parts) * 1000000 + (Micros)(fraction * 1e6);
}

static uint64_t offset_read(const Args *args, const char *text) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno) {
        args_fail(args->command, "--to-offset takes a number, not `%s`", text);
    }
    return value;
}

static int restore_run(const Args *args) {
    if (args->word_count != 2)
        args_fail(args->command, "give a backup and the directory to make of it");
    const char *offset = args_value(args, "to-offset"), *time = args_value(args, "to-time");
    DbRestore restore = {
        .io = io_real(),
        .image = args->words[0],
        .log_from = args_value(args, "log"),
        .until = {offset ? offset_read(args, offset) : UINT64_MAX},
        .until_time = time ? time_read(args, time) : INT64_MAX,
        .log_to = cli_join(args->words[1], "log"),
        .page_file = cli_join(args->words[1], "pages"),
    };
    if ((offset || time) && !restore.log_from) {
        args_fail(args->command, "a point in time needs the log since the backup: --log DIR");
    }
    DbRestored done;
    Diag diag = {0};
    if (db_restore(&restore, &done, &diag) != OK) cli_die("%s", diag.text);
    char moment[RFC3339_LEN + 1];
    rfc3339_write(done.time, moment);
    printf("%s: every commit below %llu, the last of %s\n",
           args->words[1],
           (unsigned long long)done.end.v,
           moment);
    return 0;
}

static const ArgSpec restore_specs[] = {
    {"log",
     NULL,
     0,
     ARG_VALUE,
     "DIR",
     "The log of the database it is of: commits since the backup"},
    {"to-offset", NULL, 0, ARG_VALUE, "N", "Only commits below N"},
    {"to-time", NULL, 0, ARG_VALUE, "TIME", "Only commits up to this moment, in UTC"},
    ARG_SPECS_END,
};

const CliCommand command_restore = {
    .name = "restore",
    .usage = "[OPTIONS] <BACKUP> <DIR>",
    .summary = "Make a database's files of a backup",
    .about =
        "DIR is a generation of a database in the data directory of a server that is not running,\n"
        "DATA-DIR/databases/IDENTITY/GENERATION, with its log/ and pages moved away. With --log, the\n"
        "commits since the backup are taken from the log that was moved away or kept (see\n"
        "--log-keep of `lightcone start`).\n"
        "\n"
        "Examples:\n"
        "  lightcone restore my-db.backup data/databases/c200…/1\n"
        "  lightcone restore my-db.backup data/databases/c200…/1 --log old/log \\\n"
        "      --to-time 2026-11-22T04:57:00Z\n",
    .specs = restore_specs,
    .run = restore_run,
};
