#include "txn/verify.h"

#include <stdio.h>

#include "txn/head.h"

typedef struct Verifier {
    const DbVerify *verify;
    DbVerified *out;
    Db db;  // as much of one as replaying needs
    Diag diag;
} Verifier;

static void tell(void *ctx, const char *line) {
    Verifier *v = ctx;
    v->out->problems++;
    if (v->verify->line) v->verify->line(v->verify->ctx, line);
}

static bool is_well(Verifier *v, const char *what, Err err) {
    char line[DIAG_TEXT_MAX + 64];
    if (err == OK) return true;
    snprintf(line, sizeof line, "%s: %s", what, v->diag.text[0] ? v->diag.text : err_text(err));
    tell(v, line);
    return false;
}

// What is looked at may leave memory again; what a replay changes has nowhere to go.
#define MEMORY_BYTES ((size_t)256 << 20)

static Err store_make(Verifier *v) {
    const Io *io = v->verify->io;
    StoreOptions options = {.io = io, .read_only = true, .diag = &v->diag};
    IoFile *file = NULL;
    if (io->file_open(io->world, v->verify->page_file, IO_READ, &file) == OK) {
        options.page_file = v->verify->page_file;
        options.memory_max = v->verify->memory_max ? v->verify->memory_max : MEMORY_BYTES;
    }
    io->file_close(io->world, &file);
    return store_open(&options, &v->db.store);
}

static bool pages_check(Verifier *v) {
    if (store_checkpoints(v->db.store) == 0) return true;
    return store_check_pages(v->db.store, tell, v, &v->out->pages) == 0;
}

static Err tables_check(Verifier *v) {
    Store *store = v->db.store;
    size_t may = v->verify->memory_max ? v->verify->memory_max : MEMORY_BYTES;
    store_memory_max(store, may + (size_t)store_stats(store).dirty_bytes);
    Err err = store_check(store, &v->diag);
    v->out->memory_bytes = MAX(v->out->memory_bytes, store_stats(store).memory_bytes);
    store_memory_max(store, 0);
    return err;
}

static void rows_count(Verifier *v) {
    v->out->tables = catalog_table_count(v->db.catalog);
    for (uint32_t i = 0; i < v->out->tables; i++) {
        v->out->rows += table_row_count(catalog_table_at(v->db.catalog, i)->table, NULL);
    }
}

static void verify_run(Verifier *v) {
    DbVerified *out = v->out;
    if (!is_well(v, "checkpoint", store_make(v))) return;
    out->checkpoints = store_checkpoints(v->db.store);
    out->checkpoint_offset = store_log_offset(v->db.store);
    if (!pages_check(v)) return;
    if (!is_well(v, "tables of the checkpoint", tables_check(v))) return;
    if (!is_well(v, "system tables", catalog_open(v->db.store, &v->db.catalog, &v->diag))) return;
    v->db.look.catalog = v->db.catalog;
    LogOptions options = {
        .io = v->verify->io,
        .dir = v->verify->dir,
        .start = {out->checkpoint_offset},
    };
    Err err = log_verify(&options, db_replay_commit, &v->db, &out->log, &v->diag);
    if (!is_well(v, "log", err)) return;
    if (!is_well(v, "tables after the log", tables_check(v))) return;
    rows_count(v);
}

// Held meanwhile, so that no server begins to write.
static bool lock_take(Verifier *v, IoFile **lock) {
    const Io *io = v->verify->io;
    char path[IO_PATH_MAX];
    if (path_join(path, v->verify->dir, "LOCK") != OK) return true;
    if (io->file_open(io->world, path, IO_READ | IO_WRITE, lock) != OK) return true;
    if (io->file_lock(io->world, *lock) != ERR_BUSY) return true;
    tell(v, "a server has this database open");
    return false;
}

void db_verify(const DbVerify *verify, DbVerified *out) {
    *out = (DbVerified){0};
    Verifier v = {.verify = verify, .out = out};
    IoFile *lock = NULL;
    if (lock_take(&v, &lock)) verify_run(&v);
    verify->io->file_close(verify->io->world, &lock);
    if (v.db.catalog) catalog_close(&v.db.catalog);
    if (v.db.store) store_close(&v.db.store);
}
