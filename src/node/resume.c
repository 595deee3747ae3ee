// resume.c: registering what a client had, and reading what became of it.
#include "node/resume.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "live/since.h"
#include "log/tail.h"
#include "node/commit.h"
#include "node/session_private.h"

#define OPERATIONS_MAX 100000  // on the tables of the queries; one that has more is told whole

struct Resume {
    const Io *io;
    char dir[IO_PATH_MAX];  // of the log
    LogMark from;
    TxOffset to;  // the snapshot shows every commit below
    uint64_t bytes_max;
    LogTail *tail;  // may be NULL
    uint32_t *sets;
    uint32_t set_count;
    bool *guarded;  // of each query
};

void resume_free(Resume **handle) {
    Resume *resume = *handle;
    *handle = NULL;
    if (!resume) return;
    log_tail_release(&resume->tail);
    mem_free(resume->sets);
    mem_free(resume->guarded);
    mem_free(resume);
}

// ── places ─────────────────────────────────────────────────────────────────────────────────────

static uint32_t who(const Session *s) {
    return crc32c(0, BYTES(s->identity.le, sizeof s->identity.le));
}

static WirePoint point_of(const Session *s, const LogMark *mark) {
    WirePoint point = {.offset = mark->offset.v};
    store_u64(point.history, mark->salt);
    store_u32(point.history + 8, mark->chain);
    store_u32(point.history + 12, who(s));
    return point;
}

static bool mark_of(const Session *s, const WirePoint *point, LogMark *out) {
    *out = (LogMark){
        .offset = {point->offset},
        .salt = load_u64(point->history),
        .chain = load_u32(point->history + 8),
    };
    return load_u32(point->history + 12) == who(s);
}

// ── the question ───────────────────────────────────────────────────────────────────────────────

static void set_leave(Session *s, uint32_t set) {
    LiveAnswer none;
    Diag diag;
    // It may have ended meanwhile, by a view or a schema that it needs.
    (void)!live_unsubscribe_within(s->live, set, false, 0, &none, &diag);
}

// The first `count` of those that the message names.
static void sets_leave(Session *s, const ClientMessage *m, uint32_t count) {
    Bytes rest = m->sets;
    WireSet set;
    for (uint32_t i = 0; i < count && wire_next_set(&rest, &set); i++) {
        set_leave(s, set.query_set);
    }
}

static void count_refused(DatabaseCounters *counters, Err err) {
    switch (err) {
    case ERR_CONFLICT: counters->resumes_other_history++; return;
    case ERR_NOT_FOUND: counters->resumes_log_gone++; return;
    case ERR_TOO_LARGE: counters->resumes_too_much++; return;
    case ERR_UNSUPPORTED: counters->resumes_other_schema++; return;
    default: counters->resumes_failed++; return;
    }
}

void resume_refuse(Session *s, const ClientMessage *m, Err err, const char *text) {
    count_refused(&s->database->counters, err);
    s->has_asked = true;
    wire_resume_refused(outbox_begin(&s->out), m->request_id, str_from(text));
    outbox_end(&s->out);
}

// Is the place one that there could be? Whether it is one the log will tell.
static Err place_check(Session *s, const ClientMessage *m, LogMark *from, Diag *diag) {
    Database *db = s->database;
    LogMark now;
    bool works = db->settings.resume_bytes_max && read_cost_max(db) != UINT64_MAX;
    if (s->has_asked)
        return diag_fail(diag, ERR_INVALID, "only what a connection asks first can be resumed");
    if (!works || !s->confirmed || !log_mark(db_log(db->db), &now))
        return diag_fail(diag, ERR_INVALID, "this database does not resume: subscribe");
    if (!mark_of(s, &m->point, from))
        return diag_fail(diag, ERR_CONFLICT, "somebody else was told that place");
    if (from->offset.v > now.offset.v)
        return diag_fail(diag, ERR_CONFLICT, "that place is ahead of the log");
    return OK;
}

static Err resume_new(const Session *s, const ClientMessage *m, const LogMark *from, Resume **out) {
    Database *db = s->database;
    Resume *resume = MEM_NEW(Resume);
    if (!resume) return ERR_NOMEM;
    resume->io = db->loop->node->io;
    resume->from = *from;
    resume->to = log_end(db_log(db->db));
    resume->bytes_max = (uint64_t)db->settings.resume_bytes_max;
    if (db->tail) resume->tail = log_tail_retain(db->tail);
    resume->sets = mem_zalloc(((size_t)m->set_count + 1) * sizeof *resume->sets);
    Err err = resume->sets ? path_join(resume->dir, db->dir, "log") : ERR_NOMEM;
    if (err == OK)
        *out = resume;
    else
        resume_free(&resume);
    return err;
}

typedef struct Gathered {  // the queries of all sets
    Standing **queries;
    uint32_t count;
    bool bag;
} Gathered;

static Err gather(Gathered *all, LiveAnswer *answer) {
    size_t count = (size_t)all->count + answer->query_count;
    Standing **queries = mem_realloc(all->queries, (count + 1) * sizeof(Standing *));
    all->bag = answer->bag;
    if (queries) {
        for (uint32_t i = 0; i < answer->query_count; i++) {
            queries[all->count + i] = answer->queries[i];
            answer->queries[i] = NULL;
        }
        all->queries = queries;
        all->count = (uint32_t)count;
    }
    live_queries_free(&answer->queries, answer->query_count);
    return queries ? OK : ERR_NOMEM;
}

static Err set_join(Session *s, const WireSet *set, Resume *resume, Gathered *all, Diag *diag) {
    Str *queries = arena_array(&s->database->turn_arena, Str, set->query_count + 1);
    Bytes rest = set->queries;
    LiveAnswer answer = {0};
    uint32_t n = 0;
    while (queries && n < set->query_count && wire_next_query(&rest, &queries[n])) {
        n++;
    }
    if (!queries) return ERR_NOMEM;
    Err err =
        live_subscribe_within(s->live, set->query_set, queries, n, LIVE_ELSEWHERE, &answer, diag);
    // What has to be prepared is begun by who subscribes; that is not less than to be told all of it.
    if (err == ERR_BUSY && answer.prepare) {
        live_prepare_release(&answer.prepare);
        return diag_fail(diag, ERR_INVALID, "a query that has to be prepared: subscribe");
    }
    if (err != OK) return err;
    resume->sets[resume->set_count++] = set->query_set;
    return gather(all, &answer);
}

static bool rule_is(void *ctx, Str sql) {
    (void)sql;
    *(bool *)ctx = true;
    return false;
}

// Which of the queries are of tables that others see otherwise.
static Err guards_find(const Session *s, Resume *resume, const Gathered *all) {
    const QueryCatalog *catalog = &s->database->query_catalog;
    Err err = OK;
    resume->guarded = mem_zalloc(((size_t)all->count + 1) * sizeof *resume->guarded);
    if (!resume->guarded) return ERR_NOMEM;
    for (uint32_t i = 0; i < all->count && err == OK && !s->is_owner; i++) {
        const CatalogTable *table = standing_table(all->queries[i]);
        if (table && catalog->each_rule)
            err = catalog->each_rule(catalog->ctx, table, rule_is, &resume->guarded[i]);
    }
    return err;
}

static Err sets_join(Session *s,
                     const ClientMessage *m,
                     Resume *resume,
                     Gathered *all,
                     Diag *diag) {
    Err err = OK;
    Bytes rest = m->sets;
    WireSet set;
    while (err == OK && wire_next_set(&rest, &set)) {
        err = set_join(s, &set, resume, all, diag);
    }
    return err == OK ? guards_find(s, resume, all) : err;
}

static Err resume_begin(Session *s, const ClientMessage *m, const LogMark *from, Diag *diag) {
    Resume *resume = NULL;
    Gathered all = {0};
    Err err = resume_new(s, m, from, &resume);
    if (err != OK) return err;
    err = sets_join(s, m, resume, &all, diag);
    uint32_t joined = resume->set_count;
    if (err != OK) {
        sets_leave(s, m, joined);
        live_queries_free(&all.queries, all.count);
        resume_free(&resume);
        return err;
    }
    ReadAsk ask = {.kind = READ_RESUME,
                   .asked = {.request = m->request_id},
                   .queries = all.queries,
                   .query_count = all.count,
                   .bag = all.bag,
                   .resume = resume};
    err = read_begin(s, &ask);  // takes over what is in it, and frees it if it fails
    if (err != OK) sets_leave(s, m, joined);
    return err;
}

void resume_step(Session *s, const ClientMessage *m) {
    LogMark from;
    Diag diag = {0};
    Err err = place_check(s, m, &from, &diag);
    if (err == OK && !read_place(s)) {
        session_ws_untake(s);
        return;
    }
    if (err == OK) err = resume_begin(s, m, &from, &diag);
    if (err != OK) read_place_unused(s);
    if (err == OK) {
        s->has_asked = true;
    } else if (err == ERR_AGAIN) {
        session_ask_later(s, m);
    } else if (err == ERR_BUSY) {
        session_ws_untake(s);
        session_await_views(s);
    } else {
        resume_refuse(s, m, err, diag.text[0] ? diag.text : err_text(err));
    }
}

// ── the answer, on a worker ────────────────────────────────────────────────────────────────────

static Err log_read(Resume *resume, Since *since, Diag *diag) {
    Err err = OK;
    bool is_shared = resume->tail != NULL;
    if (is_shared) {
        err = log_tail_read(resume->tail, &resume->from, resume->to, since_commit, since, diag);
        if (err != ERR_NOT_FOUND && err != ERR_TOO_LARGE) return err;
        log_tail_release(&resume->tail);
        diag_clear(diag);
    }
    err = log_tail_new(resume->io, resume->dir, resume->bytes_max, &resume->tail);
    if (err != OK) return err;
    return log_tail_read(resume->tail, &resume->from, resume->to, since_commit, since, diag);
}

static WireSinceKind wire_kind(SinceKind kind) {
    switch (kind) {
    case SINCE_ROWS: return WIRE_SINCE_ROWS;
    case SINCE_KEYS: return WIRE_SINCE_KEYS;
    case SINCE_WHOLE: return WIRE_SINCE_WHOLE;
    }
    UNREACHABLE();
}

static Err answer_write(Since *since, const ResumeWork *work, Buf *message, Diag *diag) {
    const SinceTable *told;
    uint32_t count;
    Err err = since_end(since, work->snapshot, &told, &count, diag);
    if (err != OK) return err;
    WireSince *tables = mem_zalloc(((size_t)count + 1) * sizeof *tables);
    if (!tables) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        tables[i] = (WireSince){told[i].name, wire_kind(told[i].kind), told[i].gone, told[i].rows};
    }
    wire_resumed(message, work->request, tables, count);
    mem_free(tables);
    return buf_ok(message) ? OK : ERR_NOMEM;
}

Err resume_run(Resume *resume, const ResumeWork *work, Buf *message, Diag *diag) {
    Since *since = NULL;
    SinceOptions options = {.bag = work->bag,
                            .rows_max = work->rows_max,
                            .bytes_max = work->bytes_max,
                            .operations_max = OPERATIONS_MAX,
                            .stop = work->stop};
    SinceQuery *queries = mem_zalloc(((size_t)work->query_count + 1) * sizeof *queries);
    Err err = queries ? OK : ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < work->query_count; i++) {
        queries[i] = (SinceQuery){work->queries[i], resume->guarded[i]};
    }
    if (err == OK) err = since_new(queries, work->query_count, &options, &since);
    if (err == OK) err = log_read(resume, since, diag);
    if (err == OK) err = answer_write(since, work, message, diag);
    since_free(&since);
    mem_free(queries);
    return err;
}

// ── back on the loop ───────────────────────────────────────────────────────────────────────────

static int64_t now_ns(const Database *db) {
    const Io *io = db->loop->node->io;
    return io->clock_monotonic_ns(io->world);
}

bool resume_may_run(const Resume *resume, const Database *db) {
    return log_durable_end(db_log(db->db)).v >= resume->to.v;
}

void resume_ended(Session *s, Resume *resume, Err err) {
    Database *db = s->database;
    if (resume->tail) {  // others are likely to want it too
        LogTail *before = db->tail;
        db->tail = resume->tail;
        resume->tail = NULL;
        log_tail_release(&before);
        db->tail_used_ns = now_ns(db);
    }
    if (err == OK) {
        db->counters.resumes++;
    } else {
        count_refused(&db->counters, err);
        for (uint32_t i = 0; i < resume->set_count; i++)
            set_leave(s, resume->sets[i]);
    }
}

// ── progress ───────────────────────────────────────────────────────────────────────────────────

#define ROUND_NS      INT64_C(15000000000)
#define ROUND_STEP_NS INT64_C(2000000)
#define STEP_SESSIONS 256
#define TAIL_KEPT_NS  INT64_C(10000000000)

static bool hears_progress(const Session *s) {
    return s->speaks_ours && s->confirmed && s->kind == SESSION_WS &&
           s->database->settings.resume_bytes_max;
}

static bool progress_write(Session *s, Outbox *box) {
    LogMark mark;
    if (!log_mark(db_log(s->database->db), &mark)) return false;
    WirePoint point = point_of(s, &mark);
    wire_progress(outbox_begin(box), &point);
    outbox_end(box);
    s->progress_told = mark.offset.v;
    return true;
}

void progress_put(Session *s, Outbox *box) {
    if (!s->progress_due || !hears_progress(s)) return;
    if (box->held || box->is_part || box->failed) return;  // (3)
    if (!progress_write(s, box)) return;
    // What was said since the sealing is of a later place.
    s->progress_due = box != &s->out && !outbox_is_empty(&s->out);
}

static void progress_remind(Session *s, uint64_t durable) {
    bool is_idle = outbox_is_empty(&s->out) && outbox_is_empty(&s->sealed) && !s->read;
    if (!s->conn || s->state != SESSION_LIVE || !hears_progress(s)) return;
    if (!is_idle || s->progress_due || !s->progress_told || s->progress_told >= durable) return;
    if (progress_write(s, &s->out)) session_dirty(s);
}

// A round goes over all sessions, some at a time: a hundred thousand messages at once would be a long turn.
static void round_step(Database *db, int64_t now) {
    uint64_t durable = log_durable_end(db_log(db->db)).v;
    if (!db->progress_next) {
        db->progress_next = db->sessions;
        db->progress_offset = durable;
        db->progress_round_ns = now + ROUND_NS;
    }
    for (int i = 0; i < STEP_SESSIONS && db->progress_next; i++) {
        Session *s = db->progress_next;
        db->progress_next = s->next;
        progress_remind(s, durable);
    }
    db->progress_step_ns = now + ROUND_STEP_NS;
}

static int64_t round_due_ns(const Database *db) {
    if (db->progress_next) return db->progress_step_ns;
    bool moved = log_durable_end(db_log(db->db)).v != db->progress_offset;
    return moved && db->ours_count ? db->progress_round_ns : INT64_MAX;
}

int64_t resume_next_due_ns(const Database *db) {
    int64_t due = db->tail ? db->tail_used_ns + TAIL_KEPT_NS : INT64_MAX;
    return MIN(due, round_due_ns(db));
}

void resume_tick(Database *db) {
    if (!db->ours_count && !db->tail) return;
    int64_t now = now_ns(db);
    if (db->tail && now >= db->tail_used_ns + TAIL_KEPT_NS) log_tail_release(&db->tail);
    if (now >= round_due_ns(db)) round_step(db, now);
}
