#include "node/tell.h"

#include <time.h>

#include "base/mem.h"
#include "node/bury.h"
#include "node/session_private.h"

#define PIECE_BYTES_MIN 4096  // what is shorter is copied into each message
#define JSON_ROWS       1024  // between two looks at whether it is still wanted
#define WAIT_NS         2000000

struct Tell {
    WorkerJob job;  // its end
    LaneCall *call;
    LiveTell *live;
    bool wants_json;
    TellKept *kept;
};

// ── on the loop, for the worker ────────────────────────────────────────────────────────────────

typedef struct Begin {
    LaneCall *call;
    Buf tables;  // uint32_t
} Begin;

static bool is_stopped(void *ctx) {
    const Tell *tell = ctx;
    return lane_is_stopped(tell->call);
}

static bool speaks_json(const Database *db) {
    if (!db->v1_count) return false;
    for (const Session *s = db->sessions; s; s = s->next) {
        if (s->live && s->codec && s->codec->is_text) return true;
    }
    return false;
}

static Err keep(void *ctx, LiveDelta *delta);

static Err begin(void *arg) {
    Begin *b = arg;
    Database *db = b->call->session->database;
    Tell *tell = MEM_NEW(Tell);
    if (!tell) return ERR_NOMEM;
    LiveTellEnv env = {.ctx = tell, .is_stopped = is_stopped, .keep = keep};
    tell->call = b->call;
    tell->wants_json = speaks_json(db);
    uint32_t count = (uint32_t)(b->tables.len / sizeof(uint32_t));
    const uint32_t *ids = (const void *)b->tables.ptr;
    Err err = live_tell_begin(db->live, ids, count, &env, &tell->live);
    if (err != OK) {
        mem_free(tell);
        return err;
    }
    b->call->tell = tell;
    return OK;
}

// ── on the worker's thread ─────────────────────────────────────────────────────────────────────

static Err piece_of(const Tell *tell, Bytes bytes, NetFrame **out) {
    if (bytes.len < PIECE_BYTES_MIN) return OK;
    *out = net_frame_ws_piece(bytes, NET_FURTHER);
    if (*out) bury_mark(tell->call->loop->node, *out);
    return *out ? OK : ERR_NOMEM;
}

static Err json_of(const Tell *tell, const LiveDelta *delta, Bytes rows, NetFrame **out) {
    Buf text = {0};
    WireRowType type = {.row_type = delta->row_type, .hidden_columns = delta->hidden_columns};
    WireRows list = wire_rows(rows);
    Err err = OK;
    while (err == OK && !wire_rows_json_some(&text, &list, &type, false, JSON_ROWS)) {
        if (live_tell_is_stopped(tell->live)) err = ERR_CLOSED;
    }
    if (err == OK) err = buf_ok(&text) ? piece_of(tell, buf_bytes(&text), out) : ERR_NOMEM;
    buf_deinit(&text);
    return err;
}

// The bytes are the piece's from here on. Short ones lie behind the TellKept.
static Err keep(void *ctx, LiveDelta *delta) {
    Tell *tell = ctx;
    Bytes *lists[2] = {&delta->inserts, &delta->deletes};
    size_t copied = 0;
    for (int i = 0; i < 2; i++)
        copied += lists[i]->len < PIECE_BYTES_MIN ? lists[i]->len : 0;
    TellKept *kept = mem_zalloc(sizeof *kept + copied);
    if (!kept) return ERR_NOMEM;
    kept->next = tell->kept;
    tell->kept = kept;
    Err err = piece_of(tell, delta->inserts, &kept->inserts);
    if (err == OK) err = piece_of(tell, delta->deletes, &kept->deletes);
    if (err == OK && tell->wants_json)
        err = json_of(tell, delta, delta->inserts, &kept->inserts_json);
    if (err == OK && tell->wants_json)
        err = json_of(tell, delta, delta->deletes, &kept->deletes_json);
    if (err != OK) return err;
    NetFrame *frames[2] = {kept->inserts, kept->deletes};
    uint8_t *room = (uint8_t *)(kept + 1);
    for (int i = 0; i < 2; i++) {
        size_t len = lists[i]->len;
        if (frames[i]) {
            lists[i]->ptr = frames[i]->bytes + frames[i]->len - len;
        } else {
            memcpy(room, lists[i]->ptr, len);
            lists[i]->ptr = room;
            room += len;
        }
    }
    delta->kept = kept;
    return OK;
}

static Err tables_of(const TxnChange *changes, size_t count, Buf *out) {
    for (size_t i = 0; i < count; i++) {
        uint32_t id = changes[i].table_id;
        if (i == 0 || id != changes[i - 1].table_id) buf_put(out, &id, sizeof id);
    }
    return buf_ok(out) ? OK : ERR_NOMEM;
}

// There is one at a time: another's is over soon.
static Err begin_in_turn(Begin *b) {
    for (;;) {
        Err err = lane_on_loop(b->call, begin, b);
        if (err != ERR_BUSY || lane_is_stopped(b->call)) return err;
        nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
    }
}

void tell_make(void *ctx, const TxnChange *changes, size_t count, const Snapshot *before) {
    Begin b = {.call = ctx};
    Err err = tables_of(changes, count, &b.tables);
    if (err == OK) err = begin_in_turn(&b);
    // Whatever it answers: what is not ready will not be used.
    if (err == OK) (void)!live_tell_run(b.call->tell->live, changes, count, before);
    buf_deinit(&b.tables);
}

// ── the commit ─────────────────────────────────────────────────────────────────────────────────

void tell_use(Tell *tell, Database *db) {
    if (tell && live_tell_use(tell->live)) db->counters.told++;
}

static void end_run(WorkerJob *job) {
    Tell *tell = CONTAINER_OF(job, Tell, job);
    live_tell_free(&tell->live);
    while (tell->kept) {
        TellKept *kept = tell->kept;
        tell->kept = kept->next;
        mem_free(kept);
    }
    mem_free(tell);
}

void tell_over(Tell **handle, Database *db) {
    Tell *tell = *handle;
    *handle = NULL;
    if (!tell) return;
    live_tell_end(tell->live);
    for (TellKept *kept = tell->kept; kept; kept = kept->next) {
        NetFrame **frames[] = {&kept->inserts,
                               &kept->deletes,
                               &kept->inserts_json,
                               &kept->deletes_json};
        for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
            if (*frames[i]) net_frame_release(frames[i]);
        }
    }
    tell->job = (WorkerJob){.run = end_run};
    bury(db->loop->node, &tell->job);
    park_wake(db, PARK_VIEWS, true);
}
