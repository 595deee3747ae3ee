// read.c: reading on a snapshot, on a worker's thread.
//
// MEMORY
//   An answer is one message, as the protocol has it. It stands in memory as rows (growing, so at worst
//   twice), then as message and frame: the peak is about three times the answer while it is encoded,
//   once while the client reads it. READS_ACTIVE_MAX of these are under way in a database; what is
//   behind them waits as a question. the setting result_bytes_max bounds one.
#include "node/read.h"

#include <stdio.h>

#include "base/mem.h"
#include "node/bury.h"
#include "node/resume.h"
#include "node/session_private.h"

#define READS_ACTIVE_MAX 4

enum { PACK_FOR_NOBODY, PACK_FOR_OURS, PACK_FOR_ALL };  // the setting compression

typedef struct SessionRead {
    WorkerJob job;
    LoopTask ended;
    atomic_uint refs;  // the session's and the worker's
    NodeLoop *loop;
    Session *session;  // NULL: cancelled. The loop's
    Snapshot *snapshot;
    WireProtocol protocol;
    const WireCodec *codec;
    Buf message_id;
    ReadAsk ask;
    bool waits;  // for the log; in database->resumes
    struct SessionRead *next_waiting;
    uint64_t rows_max, bytes_max;
    int64_t began_ns;

    pthread_mutex_t mutex;  // (3) of read.h
    atomic_bool stop;

    // The worker's until `ended` runs.
    Err err;
    Diag diag;
    NetFrame *frame;
    WirePacking packing;  // allowed, then done
    size_t saved;         // bytes, by packing
} SessionRead;

static const Node *node_of(const Database *db) {
    return db->loop->node;
}

static int64_t now_ns(const NodeLoop *loop) {
    const Io *io = loop->node->io;
    return io->clock_monotonic_ns(io->world);
}

uint64_t read_cost_max(const Database *db) {
    if (!node_of(db)->workers) return UINT64_MAX;
    bool crowded = fair_is_crowded(&db->fair, db->fair.served_since_ns);
    return crowded ? READ_COST_CROWDED : READ_COST_MAX;
}

void read_limit(const Database *db, Statement *statement) {
    statement_limit(statement,
                    NULL,
                    (uint64_t)db->settings.result_rows_max,
                    (uint64_t)db->settings.result_bytes_max);
    if (node_of(db)->workers) statement_limit_tries(statement, 2 * READ_COST_MAX);
}

static void too_large(uint64_t rows_max, uint64_t bytes_max, Diag *diag) {
    char rows[64] = "";
    if (rows_max) snprintf(rows, sizeof rows, " or %llu rows", (unsigned long long)rows_max);
    (void)!diag_fail(diag,
                     ERR_TOO_LARGE,
                     "The answer is larger than this server allows (%llu bytes%s): ask for less "
                     "with WHERE or LIMIT",
                     (unsigned long long)bytes_max,
                     rows);
}

void read_too_large(Database *db, Diag *diag) {
    const Settings *set = &db->settings;
    db->counters.reads_refused++;
    too_large((uint64_t)set->result_rows_max, (uint64_t)set->result_bytes_max, diag);
}

// ── on the worker's thread ─────────────────────────────────────────────────────────────────────

static bool take_row(void *ctx, Bytes row) {
    RowList *list = ctx;
    rowlist_add(list, row);
    return rowlist_ok(list);
}

static WireTableRows table_rows(const CatalogTable *table, bool is_absent) {
    return (WireTableRows){
        .table_name = table->name,
        .table_id = table->table_id,
        .type = {.row_type = table->row_type, .hidden_columns = table->is_view ? 1 : 0},
        .is_absent = is_absent,
    };
}

static WireTableRows standing_table_rows(const Standing *standing, bool is_absent) {
    StandingRows rows = standing_rows(standing);
    return (WireTableRows){
        .table_name = rows.name,
        .table_id = rows.table_id,
        .type = {.row_type = rows.row_type, .hidden_columns = rows.hidden_columns},
        .is_absent = is_absent,
    };
}

// The rows of all queries, each as a finished list in `bytes`; `tables` point at them once all are
// there. What the earlier ones took is missing from the limits of the later ones.
static Err rows_read(SessionRead *r, WireTableRows *tables, uint32_t *count, Buf *bytes) {
    Err err = OK;
    uint64_t rows_left = r->rows_max, bytes_left = r->bytes_max;
    for (uint32_t i = 0; i < r->ask.query_count && err == OK; i++) {
        Standing *query = r->ask.queries[i];
        const CatalogTable *table = standing_table(query);
        if (table && table_row_count(table->table, r->snapshot) == 0) {
            if (wire_is_v1(r->protocol)) tables[(*count)++] = standing_table_rows(query, true);
            continue;
        }
        RowList list;
        size_t at = bytes->len;
        rowlist_init(&list);
        standing_limit(query, &r->stop, rows_left, bytes_left);
        err = standing_run(query, r->snapshot, r->ask.bag, take_row, &list, &r->diag);
        if (err == OK) rowlist_encode(bytes, &list);
        if (err == ERR_LIMIT || (err == OK && !buf_ok(bytes))) err = ERR_NOMEM;
        size_t len = list.rows.len;
        // What is exactly used up must not read as "no limit".
        if (r->rows_max && err == OK) rows_left = MAX(rows_left - list.count, 1u);
        if (r->bytes_max && err == OK) bytes_left = MAX(bytes_left - MIN(bytes_left, len), 1u);
        rowlist_deinit(&list);
        tables[*count] = standing_table_rows(query, false);
        tables[(*count)++].rows.len = bytes->len - at;
    }
    const uint8_t *at = bytes->ptr;
    for (uint32_t i = 0; i < *count; i++) {
        tables[i].rows.ptr = at;
        at += tables[i].rows.len;
    }
    return err;
}

// The rows of a one-off query, which are whole rows of one table.
static Err one_off_read(SessionRead *r, WireTableRows *table, Buf *bytes) {
    Statement *statement = r->ask.statement;
    RowList list;
    rowlist_init(&list);
    statement_limit(statement, &r->stop, r->rows_max, r->bytes_max);
    Err err = statement_run(statement, r->snapshot, take_row, &list, &r->diag);
    if (err == OK) rowlist_encode(bytes, &list);
    if (err == ERR_LIMIT || (err == OK && !buf_ok(bytes))) err = ERR_NOMEM;
    *table = table_rows(statement_table(statement), false);
    table->rows = buf_bytes(bytes);
    rowlist_deinit(&list);
    return err;
}

static int64_t read_us(const SessionRead *r) {
    return (now_ns(r->loop) - r->began_ns) / 1000;
}

static void message_write(const SessionRead *r,
                          const WireTableRows *tables,
                          uint32_t count,
                          Buf *out) {
    const WireAsk *asked = &r->ask.asked;
    switch (r->ask.kind) {
    case READ_ONE_OFF: r->codec->rows(out, asked, read_us(r), &tables[0]); return;
    case READ_SUBSCRIBE: r->codec->subscribed(out, asked, read_us(r), tables, count); return;
    case READ_UNSUBSCRIBE:
        r->codec->unsubscribed(out, asked, read_us(r), true, tables, count);
        return;
    case READ_RESUME:
    case READ_SQL:
    case READ_PREPARE: break;
    }
    UNREACHABLE();
}

// Which packing an answer may have: ordering is kept by clients of our own protocol (SDKs of others
// were seen to take a plain message before the packed one that was sent before it).
static WirePacking packing_of(const Session *s) {
    int64_t to_whom = s->database->settings.compression;
    return to_whom == PACK_FOR_ALL || (to_whom == PACK_FOR_OURS && s->speaks_ours) ? s->packing
                                                                                   : WIRE_PLAIN;
}

// ── the answer ─────────────────────────────────────────────────────────────────────────────────

static void frame_mark(const SessionRead *r, NetFrame *frame) {
    if (frame) bury_mark(r->loop->node, frame);
}

static Err frame_of(const SessionRead *r, Bytes message, NetFrame **out) {
    *out = outbox_frame(message, r->protocol);
    frame_mark(r, *out);
    return *out ? OK : ERR_NOMEM;
}

static Err read_resume(SessionRead *r, Buf *message) {
    ResumeWork work = {.queries = r->ask.queries,
                       .query_count = r->ask.query_count,
                       .snapshot = r->snapshot,
                       .stop = &r->stop,
                       .rows_max = r->rows_max,
                       .bytes_max = r->bytes_max,
                       .bag = r->ask.bag,
                       .request = r->ask.asked.request};
    return resume_run(r->ask.resume, &work, message, &r->diag);
}

static Err read_rows(SessionRead *r, Buf *message) {
    Buf bytes = {0};
    uint32_t count = 0;
    WireTableRows *tables = mem_zalloc((r->ask.query_count + 1) * sizeof *tables);
    Err err = ERR_NOMEM;
    if (tables && r->ask.statement)
        err = one_off_read(r, tables, &bytes);
    else if (tables)
        err = rows_read(r, tables, &count, &bytes);
    if (err == OK) message_write(r, tables, count, message);
    buf_deinit(&bytes);
    mem_free(tables);
    return err == OK && !buf_ok(message) ? ERR_NOMEM : err;
}

static Err read_json(SessionRead *r, Buf *body) {
    statement_limit(r->ask.statement, &r->stop, r->rows_max, r->bytes_max);
    buf_put_u8(body, '[');
    Err err = statement_write_json(r->ask.statement, r->snapshot, NULL, read_us(r), body, &r->diag);
    buf_put_u8(body, ']');
    return err == OK && !buf_ok(body) ? ERR_NOMEM : err;
}

static Err read_all(SessionRead *r, Buf *out) {
    if (atomic_load(&r->stop)) return ERR_CLOSED;
    switch (r->ask.kind) {
    case READ_SQL: return read_json(r, out);
    case READ_RESUME: return read_resume(r, out);
    case READ_PREPARE: return live_prepare_run(r->ask.prepare, r->snapshot, &r->stop);
    case READ_ONE_OFF:
    case READ_SUBSCRIBE:
    case READ_UNSUBSCRIBE: return read_rows(r, out);
    }
    UNREACHABLE();
}

static void job_run(WorkerJob *job) {
    SessionRead *r = CONTAINER_OF(job, SessionRead, job);
    Buf out = {0};
    bool json = r->ask.kind == READ_SQL, answers = r->ask.kind != READ_PREPARE;
    pthread_mutex_lock(&r->mutex);
    r->err = read_all(r, &out);
    store_guard_lower();  // before somebody may release the snapshot
    pthread_mutex_unlock(&r->mutex);
    if (r->err == ERR_TOO_LARGE && answers && !r->ask.resume)
        too_large(r->rows_max, r->bytes_max, &r->diag);
    if (r->err == OK && json) {
        r->frame = net_frame_raw(buf_bytes(&out));
        frame_mark(r, r->frame);
        if (!r->frame) r->err = ERR_NOMEM;
    } else if (r->err == OK && answers) {
        r->frame = outbox_frame_packed(buf_bytes(&out), r->protocol, &r->packing);
        frame_mark(r, r->frame);
        if (!r->frame) r->err = ERR_NOMEM;
        r->saved = r->frame && r->packing ? out.len - MIN(out.len, r->frame->len) : 0;
    }
    buf_deinit(&out);
    loop_post(r->loop, &r->ended);
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static void read_release(SessionRead *r) {
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) return;
    live_queries_free(&r->ask.queries, r->ask.query_count);
    resume_free(&r->ask.resume);
    statement_free(&r->ask.statement);
    live_prepare_release(&r->ask.prepare);
    buf_deinit(&r->message_id);
    if (r->frame) net_frame_release(&r->frame);
    pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}

static void place_free(Database *db) {
    db->reads_active--;
    park_wake(db, PARK_READ, false);
}

bool read_place(Session *s) {
    Database *db = s->database;
    if (s->read_granted) return true;
    bool any = db->reads_active < READS_ACTIVE_MAX && !db->parks[PARK_READ].first;
    if (any) {
        db->reads_active++;
        s->read_granted = true;
    } else {
        park(s, PARK_READ);
    }
    return any;
}

void read_place_unused(Session *s) {
    if (!s->read_granted) return;
    s->read_granted = false;
    place_free(s->database);
}

static void waiting_leave(Database *db, SessionRead *r) {
    SessionRead **at = &db->resumes;
    while (*at != r) {
        at = &(*at)->next_waiting;
    }
    *at = r->next_waiting;
    r->waits = false;
}

static void session_detach(Session *s) {
    SessionRead *r = s->read;
    if (r->waits) waiting_leave(s->database, r);
    s->read = NULL;
    r->session = NULL;
    snapshot_release(&r->snapshot);
    place_free(s->database);
}

// Whoever waits for the same must begin it himself.
static void prepare_give_up(Session *s, SessionRead *r) {
    live_prepare_release(&r->ask.prepare);
    park_wake(s->database, PARK_VIEWS, true);
}

void read_cancel(Session *s) {
    SessionRead *r = s->read;
    read_place_unused(s);
    if (!r) return;
    atomic_store(&r->stop, true);
    worker_job_lock(&r->job, &r->mutex);  // (3)
    pthread_mutex_unlock(&r->mutex);
    if (r->ask.kind == READ_PREPARE) {
        prepare_give_up(s, r);
    } else {
        outbox_cut(&s->out);
    }
    s->database->counters.reads_cancelled++;
    session_detach(s);
    read_release(r);
}

// ── the answer, on the loop ────────────────────────────────────────────────────────────────────

static const char *reason(const SessionRead *r) {
    return r->diag.text[0] ? r->diag.text : err_text(r->err);
}

static void answer_http(Session *s, SessionRead *r) {
    if (r->err != OK) {
        int status = r->err == ERR_NOMEM ? 503 : r->err == ERR_TOO_LARGE ? 413 : 400;
        session_http_answer(s, status, reason(r));
        return;
    }
    session_http_answer(s, 200, "");
    s->http.content_type = STR("application/json");
    s->http.frame = r->frame;
    r->frame = NULL;
    s->http.has_duration = true;
    s->http.duration_us = read_us(r);
}

static bool error_write(Session *s, const SessionRead *r, Buf *out) {
    Str text = str_from(reason(r));
    if (r->ask.kind == READ_ONE_OFF) {
        r->codec->no_rows(out, &r->ask.asked, read_us(r), text);
        return buf_ok(out);
    }
    if (r->ask.kind == READ_RESUME) {
        wire_resume_refused(out, r->ask.asked.request, text);
        return buf_ok(out);
    }
    if (r->ask.kind == READ_SUBSCRIBE) {
        LiveAnswer none;
        Diag diag;
        // It may have ended meanwhile, by a view or a schema that it needs.
        (void)!live_unsubscribe_within(s->live, r->ask.set, false, 0, &none, &diag);
    }
    r->codec->refused(out, &r->ask.asked, read_us(r), text);
    return buf_ok(out);
}

// Updates of a set that has no first rows would reach the client, or the set that it replaced is gone:
// it cannot go on.
static bool is_told_already(const Session *s, const SessionRead *r) {
    bool replaces = r->ask.asked.set_kind == WIRE_SET_LEGACY;
    return r->ask.kind == READ_SUBSCRIBE && s->out.held && (replaces || s->out.held < s->out.count);
}

static void answer_ws(Session *s, SessionRead *r) {
    if (r->ask.kind == READ_RESUME) resume_ended(s, r->ask.resume, r->err);
    if (r->err == OK) {
        s->database->counters.packing_saved += r->saved;
        outbox_fill(&s->out, r->frame);
        s->progress_due |= r->ask.kind != READ_ONE_OFF;
        session_dirty(s);
        return;
    }
    if (r->ask.kind == READ_RESUME) {  // (2) of resume.h: updates of its sets, which have ended
        outbox_cut(&s->out);
        outbox_hold(&s->out);
    }
    Buf message = {0};
    bool ok = !is_told_already(s, r) && error_write(s, r, &message) &&
              frame_of(r, buf_bytes(&message), &r->frame) == OK;
    buf_deinit(&message);
    if (ok) {
        outbox_fill(&s->out, r->frame);
        session_dirty(s);
    } else {
        outbox_cut(&s->out);
        session_close(s, 1011, reason(r));
    }
}

// True: it has to be run once more, and is.
static bool prepare_again(SessionRead *r) {
    if (!live_prepare_end(r->ask.prepare, r->err)) return false;
    Err err = worker_submit(node_of(r->session->database)->workers, &r->job);
    if (err != OK) (void)live_prepare_end(r->ask.prepare, err);
    return err == OK;
}

// The message that asked for it is taken up again.
static void prepare_ended(Session *s, SessionRead *r) {
    live_prepare_add(&s->prepared, r->ask.prepare);
    r->ask.prepare = NULL;
    park_wake(s->database, PARK_VIEWS, true);
}

static void ended_run(LoopTask *task, NodeLoop *loop) {
    SessionRead *r = CONTAINER_OF(task, SessionRead, ended);
    Session *s = r->session;
    (void)loop;
    if (s && r->ask.kind == READ_PREPARE && prepare_again(r)) return;
    if (s) {
        session_detach(s);
        if (r->err == ERR_TOO_LARGE && r->ask.kind != READ_PREPARE && !r->ask.resume)
            s->database->counters.reads_refused++;
        if (r->ask.kind == READ_SQL) {
            answer_http(s, r);
        } else if (r->ask.kind == READ_PREPARE) {
            prepare_ended(s, r);
        } else {
            answer_ws(s, r);
        }
        session_ready(s);
        read_release(r);  // the session's
    }
    read_release(r);  // the worker's
}

// A resume reads the log up to what its snapshot shows, which may not be there yet.
static Err submit(Database *db, SessionRead *r) {
    if (r->ask.resume && !resume_may_run(r->ask.resume, db)) {
        r->waits = true;
        r->next_waiting = db->resumes;
        db->resumes = r;
        return OK;
    }
    atomic_fetch_add(&r->refs, 1);
    Err err = worker_submit(node_of(db)->workers, &r->job);
    if (err != OK) atomic_fetch_sub(&r->refs, 1);
    return err;
}

void read_landed(Database *db) {
    for (SessionRead *r = db->resumes, *next; r; r = next) {
        next = r->next_waiting;
        if (!resume_may_run(r->ask.resume, db)) continue;
        waiting_leave(db, r);
        r->err = submit(db, r);
        if (r->err == OK) continue;
        Session *s = r->session;
        session_detach(s);
        answer_ws(s, r);
        session_ready(s);
        read_release(r);
    }
}

Err read_begin(Session *s, ReadAsk *ask) {
    Database *db = s->database;
    Err err = OK;
    ASSERT(s->read_granted && !s->read);
    SessionRead *r = MEM_NEW(SessionRead);
    if (!r) {
        live_queries_free(&ask->queries, ask->query_count);
        statement_free(&ask->statement);
        resume_free(&ask->resume);
        live_prepare_release(&ask->prepare);
        read_place_unused(s);
        return ERR_NOMEM;
    }
    pthread_mutex_init(&r->mutex, NULL);
    atomic_init(&r->refs, 1);
    atomic_init(&r->stop, false);
    r->job.run = job_run;
    r->ended.run = ended_run;
    r->loop = db->loop;
    r->session = s;
    r->ask = *ask;
    r->protocol = s->protocol;
    r->codec = s->codec;
    r->packing = packing_of(s);
    buf_put_bytes(&r->message_id, ask->asked.message_id);
    r->ask.asked.message_id = buf_bytes(&r->message_id);
    r->rows_max = (uint64_t)db->settings.result_rows_max;
    r->bytes_max = (uint64_t)db->settings.result_bytes_max;
    r->began_ns = now_ns(db->loop);
    ask->queries = NULL;
    ask->statement = NULL;
    ask->resume = NULL;
    ask->prepare = NULL;
    if (!buf_ok(&r->message_id)) {
        err = ERR_NOMEM;
        goto failed;
    }
    if ((err = store_snapshot(db_store(db->db), &r->snapshot)) != OK) goto failed;
    if (r->ask.prepare) live_prepare_begin(r->ask.prepare);
    if ((err = submit(db, r)) != OK) {
        snapshot_release(&r->snapshot);
        goto failed;
    }
    s->read_granted = false;  // the place is the read's from here on
    s->read = r;
    if (ask->kind != READ_SQL && ask->kind != READ_PREPARE) outbox_hold(&s->out);
    db->counters.reads++;
    return OK;
failed:
    read_place_unused(s);
    read_release(r);
    return err;
}

// ── waiting ────────────────────────────────────────────────────────────────────────────────────

void park(Session *s, ParkKind why) {
    ASSERT(why != PARK_NONE && s->parked == PARK_NONE);
    ParkList *list = &s->database->parks[why];
    s->parked = why;
    s->next_parked = NULL;
    s->prev_parked = list->last;
    *(list->last ? &list->last->next_parked : &list->first) = s;
    list->last = s;
}

void park_leave(Session *s) {
    if (s->parked == PARK_NONE) return;
    ParkList *list = &s->database->parks[s->parked];
    *(s->prev_parked ? &s->prev_parked->next_parked : &list->first) = s->next_parked;
    *(s->next_parked ? &s->next_parked->prev_parked : &list->last) = s->prev_parked;
    s->parked = PARK_NONE;
}

void park_wake(Database *db, ParkKind why, bool all) {
    do {
        Session *s = db->parks[why].first;
        if (!s) return;
        park_leave(s);
        if (why == PARK_READ) {  // with its place, so that nobody who came later takes it
            db->reads_active++;
            s->read_granted = true;
        }
        session_ready(s);
    } while (all);
}
