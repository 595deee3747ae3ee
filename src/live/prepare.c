#include "live/prepare.h"

#include "live/join.h"

// What may be left of a log for the loop to apply, and how often a worker is asked to make it less.
#define LOG_LEFT_BYTES ((size_t)64 << 10)
#define ROUNDS_MAX     16u
#define MISSING        UINT32_MAX

// ── life ───────────────────────────────────────────────────────────────────────────────────────

bool prepare_is_needed(const Live *live, uint64_t rows) {
    return live->answer_may_move && rows > live->answer_cost_left;
}

static Err prepare_new(Live *live, LivePrepare **out) {
    if (live->answer_prepare) return ERR_BUSY;  // one after another
    LivePrepare *p = MEM_NEW(LivePrepare);
    if (!p) return ERR_NOMEM;
    p->live = live;
    p->memory.max = live->arranged.max - MIN(live->arranged.max, live->arranged.used);
    p->log_max = p->memory.max;
    p->next = live->prepares;
    p->link = &live->prepares;
    if (p->next) p->next->link = &p->next;
    live->prepares = p;
    live->answer_prepare = p;
    *out = p;
    return ERR_BUSY;
}

Err prepare_group(Live *live, Group *group) {
    LivePrepare *p = NULL;
    Err err = prepare_new(live, &p);
    if (!p) return err;
    p->group = group;
    group_more(group)->prepare = p;
    return err;
}

Err prepare_arrangement(Live *live, LiveTable *table, TableArrangement *arranged) {
    LivePrepare *p = NULL;
    Err err = prepare_new(live, &p);
    if (!p) return err;
    p->table = table;
    p->arranged = arranged;
    p->arrangement = arranged->arrangement;
    arranged->refs++;
    arranged->prepare = p;
    table->group_count++;
    arrangement_count_in(p->arrangement, &p->memory);
    return err;
}

Err prepare_with(LivePrepare *p, Standing **standing) {
    p->standing = *standing;
    *standing = NULL;
    Err err = standing_detach(p->standing);
    return err == OK ? tally_new(p->standing, &p->memory.used, &p->tally) : err;
}

static void leave_group(Live *live, LivePrepare *p) {
    Group *group = p->group;
    p->group = NULL;
    group_more(group)->prepare = NULL;
    group_release(live, group);
}

static void leave_table(Live *live, LivePrepare *p) {
    LiveTable *table = p->table;
    p->arranged->prepare = NULL;
    bool whole = p->state == PREPARE_READY;
    table_arrangement_release(table, p->arranged, whole);
    p->table = NULL;
    p->arranged = NULL;
    table->group_count--;
    table_release(live, table);
}

void prepare_abandon(LivePrepare *p) {
    Live *live = p->live;
    if (!live) return;
    *p->link = p->next;
    if (p->next) p->next->link = p->link;
    if (live->answer_prepare == p) live->answer_prepare = NULL;
    if (p->group) leave_group(live, p);
    if (p->table) leave_table(live, p);
    p->state = PREPARE_GONE;
    p->live = NULL;
}

void prepare_abandon_all(Live *live) {
    while (live->prepares)
        prepare_abandon(live->prepares);
}

void live_prepare_release(LivePrepare **list) {
    while (*list) {
        LivePrepare *p = *list;
        *list = p->older;
        prepare_abandon(p);
        tally_free(&p->tally);
        arrangement_free(&p->arrangement);
        standing_free(&p->standing);
        buf_deinit(&p->log);
        buf_deinit(&p->work);
        mem_free(p);
    }
}

void live_prepare_add(LivePrepare **list, LivePrepare *prepare) {
    prepare->older = *list;
    *list = prepare;
}

Err prepare_state(const LivePrepare *p, Diag *diag) {
    if (!p || p->state == PREPARE_READY) return OK;
    if (p->state != PREPARE_FAILED) return ERR_BUSY;
    *diag = p->diag;
    return p->err;
}

// ── the log ────────────────────────────────────────────────────────────────────────────────────

static void fail(LivePrepare *p, Err err) {
    p->state = PREPARE_FAILED;
    p->err = err;
    buf_deinit(&p->log);
    if (err == ERR_TOO_LARGE) {
        p->err =
            diag_fail(&p->diag,
                      ERR_LIMIT,
                      "The groups of this subscription need more memory than is left of %zu MiB",
                      p->live->arranged.max >> 20);
    }
}

void prepare_note(LivePrepare *p, bool adds, const Bytes *rows, uint32_t count) {
    if (p->state != PREPARE_RUNNING) return;
    buf_put_u8(&p->log, adds);
    for (uint32_t i = 0; i < count; i++) {
        buf_put_u32(&p->log, rows[i].ptr ? (uint32_t)rows[i].len : MISSING);
        if (rows[i].ptr) buf_put_bytes(&p->log, rows[i]);
    }
    if (!buf_ok(&p->log))
        fail(p, ERR_NOMEM);
    else if (p->log.len > p->log_max)
        fail(p, p->group ? ERR_TOO_LARGE : ERR_LIMIT);
}

static const uint8_t *take_row(const uint8_t *at, Bytes *row) {
    uint32_t len = load_u32(at);
    at += 4;
    *row = len == MISSING ? BYTES_NONE : BYTES(at, len);
    return at + row->len;
}

static Err apply_to_group(LivePrepare *p) {
    uint32_t count = p->standing->blocks[0].count;
    Bytes rows[STANDING_NODES_MAX];
    const uint8_t *at = p->work.ptr, *end = at + p->work.len;
    Err err = OK;
    while (err == OK && at < end) {
        bool adds = *at++;
        for (uint32_t i = 0; i < count; i++)
            at = take_row(at, &rows[i]);
        err = (adds ? tally_add : tally_remove)(p->tally, rows);
    }
    return err;
}

static Err apply_to_table(LivePrepare *p) {
    const uint8_t *at = p->work.ptr, *end = at + p->work.len;
    Err err = OK;
    while (err == OK && at < end) {
        bool adds = *at++;
        Bytes row, key;
        at = take_row(take_row(at, &row), &key);
        err = arrangement_change(p->arrangement, adds, row, key);
    }
    return err;
}

static Err ignore(void *ctx, Bytes row) {
    (void)ctx;
    (void)row;
    return OK;
}

static Err apply(LivePrepare *p) {
    Err err = p->tally ? apply_to_group(p) : apply_to_table(p);
    buf_clear(&p->work);
    if (err == OK && p->tally) err = tally_flush(p->tally, ignore, ignore, NULL, &p->diag);
    return err;
}

// ── on a worker, and around it ─────────────────────────────────────────────────────────────────

void live_prepare_begin(LivePrepare *p) {
    ASSERT(p->live && p->state == PREPARE_NEW);
    p->state = PREPARE_RUNNING;
}

static Err fill(LivePrepare *p, const Snapshot *snapshot, const atomic_bool *stop) {
    if (!p->tally) return arrangement_fill(p->arrangement, snapshot, stop);
    standing_limit(p->standing, stop, 0, 0);
    return tally_fill(p->tally, p->standing, snapshot, p->memory.max, &p->diag);
}

Err live_prepare_run(LivePrepare *p, const Snapshot *snapshot, const atomic_bool *stop) {
    Err err = p->is_filled ? OK : fill(p, snapshot, stop);
    p->is_filled = true;
    return err == OK ? apply(p) : err;
}

static void adopt(LivePrepare *p) {
    Live *live = p->live;
    live->arranged.used += p->memory.used;
    if (p->tally) {
        tally_move(p->tally, p->group->template->standing, &live->arranged.used);
        group_more(p->group)->tally = p->tally;
        p->tally = NULL;
    } else {
        arrangement_count_in(p->arrangement, &live->arranged);
        p->arrangement = NULL;  // the table's
    }
    p->state = PREPARE_READY;
}

bool live_prepare_end(LivePrepare *p, Err err) {
    if (p->state != PREPARE_RUNNING) return false;  // it is of no use any more
    Buf done = p->work;
    p->work = p->log;
    p->log = done;
    buf_clear(&p->log);
    if (err == OK && p->work.len > LOG_LEFT_BYTES && ++p->rounds < ROUNDS_MAX) return true;
    if (err == OK) err = apply(p);
    if (err == OK)
        adopt(p);
    else
        fail(p, err);
    return false;
}
