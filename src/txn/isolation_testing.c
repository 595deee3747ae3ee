#include "txn/isolation_testing.h"

#include "base/test.h"
#include "txn/bulk_testing.h"
#include "txn/def_testing.h"
#include "txn/script_testing.h"

// ── what steps do ──────────────────────────────────────────────────────────────────────────────

void saw(Session *session, int64_t value) {
    ASSERT(session->seen_count < SEEN_MAX);
    session->seen[session->seen_count++] = value;
}

static uint32_t id_of(const Session *session, int table) {
    return testdef_table(session->db, table)->table_id;
}

typedef struct Found {
    const RowLayout *layout;
    uint32_t count;
    int64_t id, v;
} Found;

static bool find_item(void *ctx, Bytes row) {
    Found *found = ctx;
    found->count++;
    if (!found->layout) return true;
    found->id = (int64_t)load_u64(row_column(found->layout, row, 0).ptr);
    found->v = load_u32(row_column(found->layout, row, 2).ptr);
    return true;
}

static Found scan_item(Session *session, const char *index, uint64_t key, size_t width) {
    uint8_t bytes[8];
    store_u64(bytes, key);
    Found found = {table_layout(testdef_table(session->db, TEST_ITEM)->table), 0, -1, -1};
    AbiErrno status = session->access->ops->scan_point(session->access,
                                                       testdef_index(session->db, index),
                                                       BYTES(bytes, width),
                                                       (RowSink){find_item, &found});
    ASSERT(status == ABI_OK);
    return found;
}

int64_t item_get(Session *session, uint64_t id) {
    return scan_item(session, "item_id_idx_btree", id, 8).v;
}

int64_t item_with_code(Session *session, uint32_t code) {
    return scan_item(session, "item_code_idx_btree", code, 4).id;
}

uint32_t items_with(Session *session, uint32_t v) {
    return scan_item(session, "item_v_idx_btree", v, 4).count;
}

uint32_t items_between(Session *session, uint32_t low, uint32_t high) {
    uint8_t lower[5] = {0}, upper[5] = {0};
    store_u32(lower + 1, low);
    store_u32(upper + 1, high);
    Found found = {0};
    AccessRange range = {.lower = BYTES(lower, 5), .upper = BYTES(upper, 5)};
    AbiErrno status =
        session->access->ops->scan_range(session->access,
                                         testdef_index(session->db, "item_v_idx_btree"),
                                         &range,
                                         (RowSink){find_item, &found});
    ASSERT(status == ABI_OK);
    return found.count;
}

static AbiErrno put(Session *session, int table, const char *update_by, Buf *row) {
    Buf generated = {0};
    const AccessOps *ops = session->access->ops;
    AbiErrno status =
        update_by ? ops->update(session->access,
                                id_of(session, table),
                                testdef_index(session->db, update_by),
                                buf_bytes(row),
                                &generated)
                  : ops->insert(session->access, id_of(session, table), buf_bytes(row), &generated);
    if (status == ABI_OK && generated.len == 8) saw(session, (int64_t)load_u64(generated.ptr));
    buf_deinit(&generated);
    buf_deinit(row);
    return status;
}

AbiErrno item_put(Session *session, uint64_t id, uint32_t v, uint32_t code) {
    Buf row = {0};
    testdef_item(&row, id, "", v, code);
    return put(session, TEST_ITEM, NULL, &row);
}

AbiErrno item_set(Session *session, uint64_t id, uint32_t v) {
    Buf row = {0};
    testdef_item(&row, id, "", v, (uint32_t)id);
    return put(session, TEST_ITEM, "item_id_idx_btree", &row);
}

AbiErrno note_put(Session *session, const char *text, uint32_t n) {
    Buf row = {0};
    testdef_note(&row, text, n);
    return put(session, TEST_NOTE, NULL, &row);
}

AbiErrno timer_put(Session *session) {
    Buf row = {0};
    buf_put_u64(&row, 0);
    buf_put_u8(&row, 0);
    buf_put_u64(&row, 1);
    return put(session, TEST_TIMER, NULL, &row);
}

uint32_t item_delete(Session *session, uint64_t id) {
    uint8_t key[8];
    uint32_t deleted = 0;
    store_u64(key, id);
    AbiErrno status =
        session->access->ops->delete_point(session->access,
                                           testdef_index(session->db, "item_id_idx_btree"),
                                           BYTES(key, 8),
                                           &deleted);
    ASSERT(status == ABI_OK);
    return deleted;
}

uint32_t note_delete(Session *session, const char *text, uint32_t n) {
    Buf relation = {0};
    uint32_t deleted = 0;
    buf_put_u32(&relation, 1);
    testdef_note(&relation, text, n);
    AbiErrno status = session->access->ops->delete_all_by_eq(session->access,
                                                             id_of(session, TEST_NOTE),
                                                             buf_bytes(&relation),
                                                             &deleted);
    ASSERT(status == ABI_OK);
    buf_deinit(&relation);
    return deleted;
}

uint64_t rows_of(Session *session, int table) {
    uint64_t count = 0;
    AbiErrno status =
        session->access->ops->row_count(session->access, id_of(session, table), &count);
    ASSERT(status == ABI_OK);
    return count;
}

uint64_t clear_of(Session *session, int table) {
    uint64_t count = 0;
    AbiErrno status = session->access->ops->clear(session->access, id_of(session, table), &count);
    ASSERT(status == ABI_OK);
    return count;
}

uint32_t scan_of(Session *session, int table) {
    Found found = {0};
    AbiErrno status = session->access->ops->scan_table(session->access,
                                                       id_of(session, table),
                                                       (RowSink){find_item, &found});
    ASSERT(status == ABI_OK);
    return found.count;
}

// ── running ────────────────────────────────────────────────────────────────────────────────────

static const CommitInfo info = {.timestamp = 1, .name = {"test", 4}};

typedef struct Outcome {
    uint64_t seen[SESSIONS_MAX];  // a digest of each session's
    uint64_t data;
} Outcome;

typedef struct Running {
    Session session;
    const Program *program;
    Overlay *overlay;
    bool on_head;
    bool begun;
    int at;                   // steps done
    int began, ended;         // when, in steps of the interleaving
    bool committed, aborted;  // neither: still running
} Running;

typedef struct Run {
    Db *db;
    const Scenario *scenario;
    bool on_head[SESSIONS_MAX];
    bool check_often, makes_ready;
    int order[SESSIONS_MAX * (STEPS_MAX + 2)], length;
    Outcome serial[64];  // by permutation, made when first wanted
    uint64_t serial_made;
    IsolationCount count;
} Run;

static void head_run(Db *db, const SessionStep *steps, Session *session) {
    const WriteSet *writes;
    bool changed;
    db_begin(db, &info);
    session->db = db;
    session->access = db_access(db);
    for (int i = 0; i < STEPS_MAX && steps[i]; i++)
        steps[i](session);
    ASSERT(db_commit(db, &writes, &changed) == OK);
}

static void reset(Session *session) {
    for (int table = 0; table < TEST_TABLES; table++)
        clear_of(session, table);
}

static void prepare(const Run *run) {
    Session session = {0};
    head_run(run->db, (const SessionStep[STEPS_MAX]){reset, run->scenario->setup}, &session);
}

static uint64_t data_of(const Db *db, bool ids_differ) {
    if (ids_differ) return table_row_count(testdef_table(db, TEST_TIMER)->table, NULL);
    Buf all = {0};
    script_dump(db, &all);
    uint64_t digest = bytes_hash(buf_bytes(&all));
    buf_deinit(&all);
    return digest;
}

static uint64_t seen_of(const Run *run, const Session *session) {
    if (run->scenario->ids_differ) return 0;
    return bytes_hash(BYTES(session->seen, sizeof session->seen));
}

static int steps_of(const Program *program) {
    int count = 0;
    while (count < STEPS_MAX && program->steps[count])
        count++;
    return count;
}

// With two sessions the beginning has a turn of its own; with more the first step makes it, or the
// interleavings would be too many.
static bool begins_apart(const Scenario *scenario) {
    return scenario->session_count == 2;
}

// How many turns of the interleaving a session takes: begin, its steps, commit; on the head one.
static int turns_of(const Run *run, int s) {
    if (run->on_head[s]) return 1;
    return begins_apart(run->scenario) + steps_of(&run->scenario->sessions[s]) + 1;
}

static void finish(Running *running) {
    const WriteSet *writes;
    bool changed;
    Err err = overlay_validate(running->overlay);
    if (err == OK) err = overlay_apply(running->overlay, NULL);
    ASSERT(err == OK || err == ERR_CONFLICT);
    if (err == OK) ASSERT(db_commit(running->session.db, &writes, &changed) == OK);
    running->committed = err == OK;
    running->aborted = err != OK;
    overlay_free(&running->overlay);
    db_checkpoint_tick(running->session.db);  // a turn ends
}

static void begin(const Run *run, Running *running) {
    OverlayEnv env = {.ctx = run->db, .reserve = reserve_here, .prepare = bulk_here()};
    ASSERT(overlay_new(run->db, &info, &env, &running->overlay) == OK);
    running->session.db = run->db;
    running->session.access = overlay_access(running->overlay);
}

static void step(const Run *run, Running *running) {
    running->program->steps[running->at++](&running->session);
    if (run->makes_ready && running->at == steps_of(running->program))
        (void)!overlay_prepare(running->overlay);
    if (!run->check_often) return;
    Err err = overlay_validate(running->overlay);
    ASSERT(err == OK || err == ERR_CONFLICT);
}

static void turn(const Run *run, Running *running, int now) {
    running->ended = now;
    if (!running->begun) running->began = now;
    if (running->on_head) {
        head_run(run->db, running->program->steps, &running->session);
        running->committed = true;
    } else if (!running->begun) {
        begin(run, running);
        if (!begins_apart(run->scenario)) step(run, running);
    } else if (running->at < steps_of(running->program)) {
        step(run, running);
    } else {
        finish(running);
    }
    running->begun = true;
}

// ── the serial orders ──────────────────────────────────────────────────────────────────────────

// Orders of all subsets, numbered as they are met: 4 sessions have 64 non-empty ones.
typedef struct Search {
    Run *run;
    const Running *running;
    const Outcome *outcome;
    int order[SESSIONS_MAX], length, number;
    bool found;
} Search;

static const Outcome *serial_outcome(Run *run, const int *order, int length, int number) {
    Outcome *outcome = &run->serial[number];
    if (run->serial_made >> number & 1) return outcome;
    *outcome = (Outcome){0};
    prepare(run);
    for (int i = 0; i < length; i++) {
        Session session = {0};
        head_run(run->db, run->scenario->sessions[order[i]].steps, &session);
        outcome->seen[order[i]] = seen_of(run, &session);
    }
    outcome->data = data_of(run->db, run->scenario->ids_differ);
    run->serial_made |= (uint64_t)1 << number;
    return outcome;
}

static bool in_order(const Search *search, int s) {
    for (int i = 0; i < search->length; i++) {
        if (search->order[i] == s) return true;
    }
    return false;
}

// A session that ended before another began must come first.
static bool keeps_time(const Search *search) {
    for (int i = 0; i < search->length; i++) {
        for (int k = i + 1; k < search->length; k++) {
            const Running *first = &search->running[search->order[i]];
            const Running *then = &search->running[search->order[k]];
            if (then->ended < first->began) return false;
        }
    }
    return true;
}

static bool order_explains(Search *search) {
    int committed = 0;
    for (int s = 0; s < search->run->scenario->session_count; s++) {
        committed += search->running[s].committed;
        if (search->running[s].committed != in_order(search, s)) return false;
    }
    if (search->length != committed || !keeps_time(search)) return false;
    const Outcome *serial =
        serial_outcome(search->run, search->order, search->length, search->number);
    return memcmp(serial, search->outcome, sizeof *serial) == 0;
}

static void orders_walk(Search *search) {
    if (search->length) {
        if (order_explains(search)) search->found = true;
        search->number++;
    }
    for (int s = 0; s < search->run->scenario->session_count; s++) {
        if (in_order(search, s)) continue;
        search->order[search->length++] = s;
        orders_walk(search);
        search->length--;
    }
}

// ── the interleavings ──────────────────────────────────────────────────────────────────────────

static void fail_with(const Run *run, const Running *running, const char *what) {
    print_error("%s: %s; sessions' turns:", run->scenario->name, what);
    for (int i = 0; i < run->length; i++)
        print_error(" %d", run->order[i]);
    for (int s = 0; s < run->scenario->session_count; s++)
        print_error("\n  session %d (%s) %s",
                    s,
                    running[s].on_head ? "head" : "overlay",
                    running[s].committed ? "committed" : "gave way");
    print_error("\n");
    fail();
}

static bool is_serial(const Run *run) {
    int changes = 0;
    for (int i = 1; i < run->length; i++)
        changes += run->order[i] != run->order[i - 1];
    return changes == run->scenario->session_count - 1;
}

static void run_one(Run *run) {
    Running running[SESSIONS_MAX] = {0};
    Outcome outcome = {0};
    int committed = 0, count = run->scenario->session_count;
    prepare(run);
    for (int s = 0; s < count; s++) {
        running[s].program = &run->scenario->sessions[s];
        running[s].on_head = run->on_head[s];
    }
    for (int i = 0; i < run->length; i++)
        turn(run, &running[run->order[i]], i);
    for (int s = 0; s < count; s++) {
        committed += running[s].committed;
        if (running[s].committed) outcome.seen[s] = seen_of(run, &running[s].session);
    }
    outcome.data = data_of(run->db, run->scenario->ids_differ);
    run->count.runs++;
    run->count.conflicts += committed < count;
    if (committed == 0) fail_with(run, running, "nobody committed");
    if (committed < count && is_serial(run)) fail_with(run, running, "gave way without need");
    Search search = {.run = run, .running = running, .outcome = &outcome};
    orders_walk(&search);
    if (!search.found) fail_with(run, running, "no serial order explains the outcome");
}

static void interleave(Run *run, int *left) {
    bool done = true;
    for (int s = 0; s < run->scenario->session_count; s++) {
        if (left[s] == 0) continue;
        done = false;
        left[s]--;
        run->order[run->length++] = s;
        interleave(run, left);
        run->length--;
        left[s]++;
    }
    if (done) run_one(run);
}

IsolationCount isolation_run(Db *db, const Scenario *scenario) {
    Run run = {.db = db, .scenario = scenario};
    for (uint32_t mix = 0; mix < 1u << scenario->session_count; mix++) {
        int left[SESSIONS_MAX];
        for (int s = 0; s < scenario->session_count; s++) {
            run.on_head[s] = mix >> s & 1;
            left[s] = turns_of(&run, s);
        }
        run.check_often = mix % 3 == 0;
        for (int ready = 0; ready < 2; ready++) {
            run.makes_ready = ready;
            interleave(&run, left);
        }
    }
    return run.count;
}
