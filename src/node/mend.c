#include "node/mend.h"

#include <stdio.h>

#include "base/log.h"
#include "node/node_private.h"

#define MEND_FIRST_NS   ((int64_t)1000 * 1000 * 1000)
#define MEND_LONGEST_NS (30 * MEND_FIRST_NS)
// As much as the log takes when it begins its next segment.
#define PROBE_BYTES ((uint64_t)64 << 20)

static int64_t now_ns(const Database *db) {
    const Io *io = db->loop->node->io;
    return io->clock_monotonic_ns(io->world);
}

// Errors that looking does not meet.
static bool only_writing(Err err) {
    return err == ERR_DISK_FULL || err == ERR_DENIED || err == ERR_IO;
}

static const char *reason(Err why) {
    switch (why) {
    case ERR_DISK_FULL: return "the disk is full";
    case ERR_DENIED: return "its files may not be written";
    default: return "its log cannot be written: an input or output operation failed";
    }
}

static Err look(const DatabaseOpen *open, Err why, Database **out, Diag *diag) {
    DatabaseOpen looking = *open;
    char text[256];
    looking.read_only = why;
    looking.why = text;
    snprintf(text, sizeof text, "the database is read-only because %s", reason(why));
    Err err = database_open(&looking, out, diag);
    if (err != OK) return err;
    log_error("%s: %s", (*out)->dir, text);
    (*out)->mend_delay_ns = MEND_FIRST_NS;
    (*out)->mend_ns = now_ns(*out) + MEND_FIRST_NS;
    return OK;
}

Err mend_open(const DatabaseOpen *open, Database **out, Diag *diag) {
    Err err = database_open(open, out, diag);
    if (err == OK || !only_writing(err)) return err;
    Diag why = *diag;
    if (look(open, err, out, diag) == OK) return OK;
    *diag = why;
    return err;
}

// Does the disk take a file of the size that the log will ask for?
static Err probe(const Database *db) {
    const Io *io = db->loop->node->io;
    char path[IO_PATH_MAX];
    IoFile *file = NULL;
    Err err = path_join(path, db->dir, "probe");
    if (err == OK) err = io->file_open(io->world, path, IO_READ | IO_WRITE | IO_CREATE, &file);
    if (err != OK) return err;
    err = io->file_preallocate(io->world, file, PROBE_BYTES);
    if (err == OK) err = io->file_write(io->world, file, 0, path, sizeof path);
    if (err == OK) err = io->file_sync(io->world, file);
    io->file_close(io->world, &file);
    Err removed = io->file_remove(io->world, path);
    return err == OK ? removed : err;
}

// Close it and put what `open` gives in its place. Two at once could be more than memory holds.
static Database *replace(NodeLoop *loop, Database *db, const char *goodbye) {
    Database **at = &loop->databases;
    while (*at != db)
        at = &(*at)->next;
    *at = db->next;
    DatabaseOpen open = {.loop = loop,
                         .identity = db->identity,
                         .owner = db->owner,
                         .generation = db->generation,
                         .end = log_durable_end(db_log(db->db))};
    Err why = db->failed ? log_failed(db_log(db->db)) : OK;
    char dir[IO_PATH_MAX];
    memcpy(dir, db->dir, sizeof dir);
    database_close(&db, goodbye, false);
    Diag diag = {0};
    Database *fresh = NULL;
    Err err = why == OK ? mend_open(&open, &fresh, &diag) : look(&open, why, &fresh, &diag);
    if (err != OK) {
        log_error("%s cannot be opened again: %s", dir, diag.text[0] ? diag.text : err_text(err));
        return NULL;
    }
    fresh->next = loop->databases;
    loop->databases = fresh;
    return fresh;
}

static void try_to_write(NodeLoop *loop, Database *db) {
    if (now_ns(db) < db->mend_ns) return;
    int64_t delay_ns = MIN(db->mend_delay_ns * 2, MEND_LONGEST_NS);
    if (probe(db) == OK) db = replace(loop, db, "the database can be written again");
    if (!db || db->read_only == OK) {
        if (db) log_info("%s: it can be written again", db->dir);
        return;
    }
    db->mend_delay_ns = delay_ns;
    db->mend_ns = now_ns(db) + delay_ns;
}

void mend_after_turn(NodeLoop *loop, Database *db) {
    if (db->failed) {
        replace(loop, db, NULL);
    } else if (db->read_only != OK) {
        try_to_write(loop, db);
    }
}
