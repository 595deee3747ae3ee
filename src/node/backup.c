#include "node/backup.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/routes.h"
#include "os/background.h"

enum {
    PIECE_BYTES = 1 << 20,
    PIECES = 4,
    QUEUED_BYTES_MAX = 4 << 20,  // on the connection, before it gets the next piece
    BACKUPS_MAX = 4,             // of one database at a time
};

typedef struct Piece {
    uint8_t *bytes;
    size_t len;
} Piece;

typedef struct Backup {
    ConnOwner owner;  // first: the connection's data
    struct Backup *next;
    Database *db;
    NetConn *conn;    // NULL: gone
    uint64_t wanted;  // the checkpoint to wait for
    uint64_t failures_before;
    StoreImage *image;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;  // guards the rest
    pthread_cond_t changed;
    Piece pieces[PIECES];
    uint32_t first, count;
    bool stop, finished;
    Err err;
    Diag diag;  // the reader's, until it has finished
} Backup;

// ── the reader ─────────────────────────────────────────────────────────────────────────────────

// Wait for a free piece; NULL: nobody wants it any more.
static Piece *piece_take(Backup *b) {
    pthread_mutex_lock(&b->mutex);
    while (b->count == PIECES && !b->stop) {
        pthread_cond_wait(&b->changed, &b->mutex);
    }
    Piece *piece = b->stop ? NULL : &b->pieces[(b->first + b->count) % PIECES];
    pthread_mutex_unlock(&b->mutex);
    return piece;
}

static void piece_give(Backup *b, Err err, bool finished) {
    NetLoop *net = b->db->loop->net;
    pthread_mutex_lock(&b->mutex);
    b->err = err;
    b->finished = finished;
    if (err == OK) b->count++;
    pthread_mutex_unlock(&b->mutex);
    net_wake(net);
}

static void *reader_run(void *ctx) {
    Backup *b = ctx;
    thread_become("backup", THREAD_BACKGROUND);
    background_begin();
    uint64_t bytes = store_image_bytes(b->image);
    Err err = OK;
    for (uint64_t at = 0; err == OK && at < bytes;) {
        Piece *piece = piece_take(b);
        if (!piece) return NULL;
        piece->len = (size_t)MIN((uint64_t)PIECE_BYTES, bytes - at);
        err = store_image_read(b->image, at, piece->bytes, piece->len, &b->diag);
        at += piece->len;
        piece_give(b, err, err != OK || at == bytes);
    }
    return NULL;
}

// ── on the loop ────────────────────────────────────────────────────────────────────────────────

static void backup_free(Backup *b) {
    if (b->has_thread) {
        pthread_mutex_lock(&b->mutex);
        b->stop = true;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->mutex);
        pthread_join(b->thread, NULL);
    }
    if (b->conn) net_conn_set_data(b->conn, NULL);
    store_image_close(db_store(b->db->db), &b->image);
    for (uint32_t i = 0; i < PIECES; i++) {
        mem_free(b->pieces[i].bytes);
    }
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->changed);
    mem_free(b);
}

// Before anything was sent the answer can still be an error.
static bool refuse(Backup *b, Err err, const char *why) {
    if (b->conn) {
        http_respond(b->conn,
                     err_http_status(err),
                     NULL,
                     0,
                     STR("text/plain; charset=utf-8"),
                     str_bytes(str_from(why)));
    }
    return true;
}

static Err pieces_make(Backup *b) {
    for (uint32_t i = 0; i < PIECES; i++) {
        b->pieces[i].bytes = mem_alloc(PIECE_BYTES);
        if (!b->pieces[i].bytes) return ERR_NOMEM;
    }
    return OK;
}

static bool stream_begin(Backup *b) {
    Diag diag = {0};
    Err err = pieces_make(b);
    if (err == OK) err = store_image_open(db_store(b->db->db), &b->image, &diag);
    if (err == OK && pthread_create(&b->thread, NULL, reader_run, b) != 0) err = ERR_NOMEM;
    if (err != OK) return refuse(b, err, diag.text[0] ? diag.text : err_text(err));
    b->has_thread = true;
    http_stream_begin(b->conn, 200, NULL, 0, STR("application/octet-stream"));
    return false;
}

// Nothing was sent yet: is the checkpoint there? True: it is over.
static bool wait_for_checkpoint(Backup *b) {
    Db *db = b->db->db;
    DbCheckpointStats stats;
    Diag diag = {0};
    if (db_in_transaction(db)) return false;
    if (store_checkpoints(db_store(db)) >= b->wanted) return stream_begin(b);
    if (db_checkpoint_running(db)) return false;
    db_checkpoint_stats(db, &stats);
    if (stats.failed > b->failures_before) return refuse(b, ERR_IO, stats.failure);
    Err err = db_checkpoint_begin(db, &diag);
    return err == OK ? false : refuse(b, err, diag.text);
}

// True: it is over, well or badly.
static bool pieces_send(Backup *b) {
    bool over = false;
    pthread_mutex_lock(&b->mutex);
    while (b->count && net_conn_queued(b->conn) < QUEUED_BYTES_MAX && !over) {
        const Piece *piece = &b->pieces[b->first];
        over = !http_stream_send(b->conn, BYTES(piece->bytes, piece->len));
        b->first = (b->first + 1) % PIECES;
        b->count--;
        pthread_cond_broadcast(&b->changed);
    }
    bool finished = b->finished && b->count == 0 && !over;
    Err err = b->err;
    pthread_mutex_unlock(&b->mutex);
    if (finished && err == OK) http_stream_end(b->conn);
    if (finished && err != OK) {
        log_error("%s: a backup failed: %s", b->db->dir, b->diag.text);
        http_stream_break(b->conn, b->diag.text);
    }
    return over || finished;
}

void backups_tick(Database *db) {
    for (Backup **link = &db->backups; *link;) {
        Backup *b = *link;
        bool over = !b->conn || (b->image ? pieces_send(b) : wait_for_checkpoint(b));
        if (over) {
            *link = b->next;
            backup_free(b);
        } else {
            link = &b->next;
        }
    }
}

void backups_end(Database *db) {
    while (db->backups) {
        Backup *b = db->backups;
        db->backups = b->next;
        if (b->conn && b->image) http_stream_break(b->conn, "the database is stopping");
        if (b->conn && !b->image) (void)refuse(b, ERR_CLOSED, "the database is stopping");
        backup_free(b);
    }
}

static void conn_closed(void *self) {
    ((Backup *)self)->conn = NULL;
}

void route_backup(Request *r) {
    Database *db = r->db;
    uint32_t count = 0;
    if (!request_owner_only(r, "back up database")) return;
    if (r->node->options.in_memory) {
        request_text(r, 400, "the server keeps nothing on disk (--in-memory)");
        return;
    }
    for (const Backup *b = db->backups; b; b = b->next) {
        count++;
    }
    Backup *b = count < BACKUPS_MAX ? MEM_NEW(Backup) : NULL;
    if (!b) {
        request_err(r, count < BACKUPS_MAX ? ERR_NOMEM : ERR_BUSY, NULL);
        return;
    }
    DbCheckpointStats stats;
    db_checkpoint_stats(db->db, &stats);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->owner = (ConnOwner){.conn_closed = conn_closed};
    b->db = db;
    b->conn = r->conn;
    b->failures_before = stats.failed;
    // One that is being written now was begun before this request.
    b->wanted = store_checkpoints(db_store(db->db)) + (db_checkpoint_running(db->db) ? 2 : 1);
    b->next = db->backups;
    db->backups = b;
    net_conn_set_data(r->conn, b);
}
