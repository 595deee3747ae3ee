// txns.c: transactions of a run. One step is one operation of an overlay, or a whole transaction on
// the head, as the loop would run it.
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/sim/run.h"
#include "txn/bulk_testing.h"

static const CommitInfo info = {.timestamp = 1, .name = {"test", 4}};

enum { IDS = 24, CODES = 60, VS = 12 };
#define OWN_IDS 1000000u  // ids that are not the sequence's

// ── one operation ──────────────────────────────────────────────────────────────────────────────

static Op op_draw(Run *run) {
    static const uint8_t odds[] = {
        OP_GET,       OP_GET,        OP_CODE,     OP_RANGE,    OP_RANGE,       OP_SCAN,
        OP_COUNT,     OP_PUT,        OP_PUT,      OP_PUT,      OP_PUT,         OP_PUT,
        OP_SET,       OP_SET,        OP_SET,      OP_SET,      OP_DELETE,      OP_DELETE,
        OP_DELETE_V,  OP_NOTE_PUT,   OP_NOTE_PUT, OP_NOTE_PUT, OP_NOTE_DELETE, OP_NOTE_SCAN,
        OP_TIMER_PUT, OP_TIMER_SCAN,
    };
    Op op = {.kind = odds[run_draw(run, sizeof odds)]};
    op.a = run_draw(run, VS);
    op.b = op.a + run_draw(run, 3);
    if (op.kind == OP_DELETE_V && run_chance(run, 8)) {
        op.kind = run_chance(run, 2) ? OP_CLEAR : OP_DELETE_V;
        op.a = 0, op.b = VS;  // either way all rows
    }
    if (op.kind == OP_GET || op.kind == OP_DELETE) op.a = OWN_IDS + run_draw(run, IDS);
    if (op.kind == OP_CODE) op.a = run_draw(run, CODES);
    op.item = (Item){.id = OWN_IDS + run_draw(run, IDS),
                     .v = run_draw(run, VS),
                     .code = run_draw(run, CODES),
                     .name = ++run->names};
    if (op.kind == OP_PUT && run_chance(run, 3)) op.item.id = 0;
    return op;
}

typedef struct Gather {
    Run *run;
    const RowLayout *layout;
    int table;
    Answer *answer;
} Gather;

static bool gather(void *ctx, Bytes row) {
    Gather *g = ctx;
    Answer *answer = g->answer;
    Bytes first = row_column(g->layout, row, 0);
    answer->count++;
    if (g->table == TEST_TIMER) {
        answer->digest += model_mix(1, load_u64(first.ptr));
    } else if (g->table == TEST_NOTE) {
        Note note = {(uint32_t)strtoul((const char *)first.ptr + 4, NULL, 10),
                     load_u32(row_column(g->layout, row, 1).ptr)};
        answer->digest += model_of_note(note);
    } else {
        Item item = {.id = load_u64(first.ptr),
                     .v = load_u32(row_column(g->layout, row, 2).ptr),
                     .code = load_u32(row_column(g->layout, row, 3).ptr)};
        Bytes name = row_column(g->layout, row, 1);
        if (!model_name_read(BYTES(name.ptr + 4, name.len - 4), &item.name))
            run_fail(g->run, "item %llu has a name nobody gave it", (unsigned long long)item.id);
        answer->digest = model_mix_item(answer->digest, &item);
    }
    return true;
}

static Gather gather_of(Run *run, int table, Answer *answer) {
    return (Gather){run, table_layout(testdef_table(run->db, table)->table), table, answer};
}

static void item_row(const Item *item, Buf *out) {
    buf_put_u64(out, item->id);
    size_t at = out->len;
    buf_put_u32(out, 0);
    model_name(item->name, out);
    store_u32(out->ptr + at, (uint32_t)(out->len - at - 4));
    buf_put_u32(out, item->v);
    buf_put_u32(out, item->code);
}

static void note_row(const Op *op, Buf *out) {
    char text[16];
    snprintf(text, sizeof text, "%u", op->a);
    testdef_note(out, text, op->b);
}

static void range_of(const Op *op, uint8_t lower[5], uint8_t upper[5], AccessRange *out) {
    lower[0] = upper[0] = 0;
    store_u32(lower + 1, op->a);
    store_u32(upper + 1, op->b);
    *out = (AccessRange){.lower = BYTES(lower, 5), .upper = BYTES(upper, 5)};
}

static AbiErrno read_do(Run *run, Access *access, Op *op, RowSink sink) {
    const AccessOps *ops = access->ops;
    uint8_t key[8], lower[5], upper[5];
    AccessRange range;
    const Db *db = run->db;
    store_u64(key, op->a);
    switch (op->kind) {
    case OP_GET:
        return ops->scan_point(access, testdef_index(db, "item_id_idx_btree"), BYTES(key, 8), sink);
    case OP_CODE:
        return ops->scan_point(access,
                               testdef_index(db, "item_code_idx_btree"),
                               BYTES(key, 4),
                               sink);
    case OP_RANGE:
        range_of(op, lower, upper, &range);
        return ops->scan_range(access, testdef_index(db, "item_v_idx_btree"), &range, sink);
    case OP_COUNT:
        return ops->row_count(access, testdef_table(db, TEST_ITEM)->table_id, &op->answer.count);
    default: {
        int table = op->kind == OP_SCAN        ? TEST_ITEM
                    : op->kind == OP_NOTE_SCAN ? TEST_NOTE
                                               : TEST_TIMER;
        return ops->scan_table(access, testdef_table(db, table)->table_id, sink);
    }
    }
}

static AbiErrno delete_do(Run *run, Access *access, Op *op) {
    const AccessOps *ops = access->ops;
    uint8_t key[8], lower[5], upper[5];
    uint32_t deleted = 0;
    AccessRange range;
    AbiErrno status;
    Buf relation = {0};
    store_u64(key, op->a);
    if (op->kind == OP_DELETE) {
        uint32_t index = testdef_index(run->db, "item_id_idx_btree");
        status = ops->delete_point(access, index, BYTES(key, 8), &deleted);
    } else if (op->kind == OP_CLEAR) {
        uint64_t all = 0;
        status = ops->clear(access, testdef_table(run->db, TEST_ITEM)->table_id, &all);
        deleted = (uint32_t)all;
    } else if (op->kind == OP_DELETE_V) {
        uint32_t index = testdef_index(run->db, "item_v_idx_btree");
        range_of(op, lower, upper, &range);
        status = ops->delete_range(access, index, &range, &deleted);
    } else {
        uint32_t table = testdef_table(run->db, TEST_NOTE)->table_id;
        buf_put_u32(&relation, 1);
        note_row(op, &relation);
        status = ops->delete_all_by_eq(access, table, buf_bytes(&relation), &deleted);
    }
    buf_deinit(&relation);
    op->answer.count = deleted;
    return status;
}

static AbiErrno write_do(Run *run, Access *access, Op *op) {
    const AccessOps *ops = access->ops;
    Buf row = {0}, generated = {0};
    int table = op->kind == OP_NOTE_PUT    ? TEST_NOTE
                : op->kind == OP_TIMER_PUT ? TEST_TIMER
                                           : TEST_ITEM;
    if (op->kind == OP_NOTE_PUT) {
        note_row(op, &row);
    } else if (op->kind == OP_TIMER_PUT) {
        buf_put_u64(&row, 0);
        buf_put_u8(&row, 0);
        buf_put_u64(&row, 1);
    } else {
        item_row(&op->item, &row);
    }
    uint32_t id = testdef_table(run->db, table)->table_id;
    uint32_t index = testdef_index(run->db, "item_id_idx_btree");
    AbiErrno status = op->kind == OP_SET
                          ? ops->update(access, id, index, buf_bytes(&row), &generated)
                          : ops->insert(access, id, buf_bytes(&row), &generated);
    if (status == ABI_OK && generated.len == 8) op->answer.generated = load_u64(generated.ptr);
    buf_deinit(&row);
    buf_deinit(&generated);
    return status;
}

static void op_do(Run *run, Access *access, Op *op) {
    bool timers = op->kind == OP_TIMER_SCAN, notes = op->kind == OP_NOTE_SCAN;
    Gather g = gather_of(run, timers ? TEST_TIMER : notes ? TEST_NOTE : TEST_ITEM, &op->answer);
    AbiErrno status;
    switch (op->kind) {
    case OP_PUT:
    case OP_SET:
    case OP_NOTE_PUT:
    case OP_TIMER_PUT: status = write_do(run, access, op); break;
    case OP_DELETE:
    case OP_DELETE_V:
    case OP_CLEAR:
    case OP_NOTE_DELETE: status = delete_do(run, access, op); break;
    default: status = read_do(run, access, op, (RowSink){gather, &g}); break;
    }
    op->answer.status = status;
    run->tally.reads++;
    run_note(run,
             "  %s %u %u item %llu v %u code %u -> %u count %llu digest %llx generated %llu",
             model_op_name(op->kind),
             op->a,
             op->b,
             (unsigned long long)op->item.id,
             op->item.v,
             op->item.code,
             status,
             (unsigned long long)op->answer.count,
             (unsigned long long)op->answer.digest,
             (unsigned long long)op->answer.generated);
}

// ── are the answers right? ─────────────────────────────────────────────────────────────────────

// Do it all again on the state, which is then what the transaction leaves.
static void explain(Run *run, State *state, const Op *ops, uint32_t count, const char *where) {
    for (uint32_t i = 0; i < count; i++) {
        const char *why = NULL;
        const Answer *got = &ops[i].answer;
        Answer want = model_do(state, &ops[i], &why);
        if (why) run_fail(run, "%s: %s", where, why);
        if (memcmp(&want, got, sizeof want) == 0) continue;
        run_fail(
            run,
            "%s: %s %u %u answered %llu, %llu rows, digest %llx; it should be %llu, %llu, %llx",
            where,
            model_op_name(ops[i].kind),
            ops[i].a,
            ops[i].b,
            (unsigned long long)got->status,
            (unsigned long long)got->count,
            (unsigned long long)got->digest,
            (unsigned long long)want.status,
            (unsigned long long)want.count,
            (unsigned long long)want.digest);
    }
}

static bool refused(const Op *op) {
    return op->answer.status == ABI_FATAL;
}

// ── on the head ────────────────────────────────────────────────────────────────────────────────

static bool commit(Run *run) {
    const WriteSet *writes;
    bool changed;
    Err err = db_commit(run->db, &writes, &changed);
    if (err != OK) run_excuse(run, err, "a commit", NULL);
    return err == OK;
}

void txns_head(Run *run) {
    Op ops[OPS_MAX];
    uint32_t count = 0, wanted = 1 + run_draw(run, OPS_MAX - 1);
    bool roll_back = run_chance(run, 8), fatal = false;
    run_note(run, "head");
    db_begin(run->db, &info);
    while (count < wanted && !fatal) {
        ops[count] = op_draw(run);
        op_do(run, db_access(run->db), &ops[count]);
        fatal = refused(&ops[count++]);
    }
    if (fatal) run_excuse(run, ERR_IO, "an operation on the head", NULL);
    if (fatal || roll_back) {
        db_rollback(run->db);
        run_note(run, "  rolled back");
        run_advanced(run);
        return;
    }
    if (!commit(run)) return;
    explain(run, run->head, ops, count, "on the head");
    run->tally.commits++;
    run_advanced(run);
}

void txns_refused(Run *run) {
    const WriteSet *writes;
    bool changed;
    Op op = {.kind = OP_TIMER_PUT};
    db_begin(run->db, &info);
    op_do(run, db_access(run->db), &op);
    if (refused(&op)) {
        run_excuse(run, ERR_IO, "an operation on the head", NULL);
        db_rollback(run->db);
        return;
    }
    Err err = db_commit(run->db, &writes, &changed);
    if (err == OK) run_fail(run, "a commit where nothing may be written");
    if (err != ERR_DISK_FULL) run_excuse(run, err, "a commit", NULL);
}

// ── overlays ───────────────────────────────────────────────────────────────────────────────────

static Err reserve(void *ctx,
                   uint32_t table_id,
                   uint32_t sequence_id,
                   uint32_t count,
                   Int128 *first) {
    Run *run = ctx;
    Err err = db_sequence_reserve(run->db, table_id, sequence_id, count, first);
    if (err != OK) run_excuse(run, err, "a reservation of a sequence", NULL);
    run_advanced(run);
    return err;
}

static State *state_copy(const State *from) {
    State *copy = mem_alloc(sizeof *copy);
    ASSERT(copy);
    model_copy(copy, from);
    return copy;
}

static void overlay_begin(Run *run, uint32_t which) {
    OverlayEnv env = {.ctx = run, .reserve = reserve, .prepare = bulk_here()};
    Running *running = &run->running[which];
    Err err = overlay_new(run->db, &info, &env, &running->overlay);
    run_note(run, "overlay %u begins: %s", which, err_name(err));
    if (err != OK) {
        run_excuse(run, err, "the begin of an overlay", NULL);
        return;
    }
    running->seen = state_copy(run->head);
    running->op_count = 0;
    running->is_ready = false;
}

static bool overlay_apply_commit(Run *run, uint32_t which, bool wrote) {
    Running *running = &run->running[which];
    Diag diag = {0};
    Err err = overlay_apply(running->overlay, &diag);
    run_note(run, "overlay %u applies: %s", which, err_name(err));
    if (err == ERR_CONFLICT) run->tally.conflicts++;
    if (err == ERR_CONFLICT && !wrote) run_fail(run, "a reader was told of a conflict");
    if (err != OK && err != ERR_CONFLICT) run_excuse(run, err, "applying an overlay", &diag);
    if (err != OK) return false;
    return commit(run);
}

void txns_overlay_end(Run *run, uint32_t which, bool want_commit) {
    Running *running = &run->running[which];
    if (!running->overlay) return;
    bool fatal = running->op_count && refused(&running->ops[running->op_count - 1]);
    bool wrote = overlay_wrote(running->overlay);
    uint32_t count = running->op_count - fatal;
    // Whatever becomes of it: it has seen one moment, and its own writes.
    explain(run, running->seen, running->ops, count, "in a snapshot");
    if (fatal) run_excuse(run, ERR_IO, "an operation of an overlay", NULL);
    bool committed = want_commit && !fatal && overlay_apply_commit(run, which, wrote);
    overlay_free(&running->overlay);
    if (committed && wrote) explain(run, run->head, running->ops, count, "at its commit");
    if (committed) run->tally.commits++;
    mem_free(running->seen);
    running->seen = NULL;
    run_note(run, "overlay %u ends, %s", which, committed ? "committed" : "gone");
    run_advanced(run);
}

void txns_overlay_step(Run *run) {
    uint32_t which = run_draw(run, RUNNING_MAX);
    Running *running = &run->running[which];
    if (!running->overlay) {
        overlay_begin(run, which);
        return;
    }
    bool full = running->op_count == OPS_MAX;
    if (running->is_ready || full ||
        (running->op_count && refused(&running->ops[running->op_count - 1])) ||
        run_chance(run, 6)) {
        txns_overlay_end(run, which, !run_chance(run, 8));
        return;
    }
    if (run_chance(run, 8)) {
        Err err = overlay_validate(running->overlay);
        run_note(run, "overlay %u validates: %s", which, err_name(err));
        if (err != OK && err != ERR_CONFLICT) run_excuse(run, err, "validating", NULL);
        return;
    }
    if (run_chance(run, 8)) {
        Err err = overlay_prepare(running->overlay);
        run_note(run,
                 "overlay %u is made ready: %s%s",
                 which,
                 err_name(err),
                 overlay_is_prepared(running->overlay) ? "" : ", but not");
        if (err != OK && err != ERR_CONFLICT) run_excuse(run, err, "making ready", NULL);
        running->is_ready = true;
        run_advanced(run);
        return;
    }
    run_note(run, "overlay %u", which);
    Op *op = &running->ops[running->op_count++];
    *op = op_draw(run);
    op_do(run, overlay_access(running->overlay), op);
}

// ── snapshots ──────────────────────────────────────────────────────────────────────────────────

static void snapshot_check(Run *run, const Looking *looking, const State *state) {
    static const struct {
        int table;
        OpKind kind;
    } scans[] = {{TEST_ITEM, OP_SCAN}, {TEST_NOTE, OP_NOTE_SCAN}, {TEST_TIMER, OP_TIMER_SCAN}};
    State *scratch = state_copy(state);
    for (size_t i = 0; i < ARRAY_LEN(scans); i++) {
        Op op = {.kind = scans[i].kind};
        Gather g = gather_of(run, scans[i].table, &op.answer);
        Table *table = testdef_table(run->db, scans[i].table)->table;
        TableScan scan;
        Bytes row;
        table_scan_begin(&scan,
                         table,
                         looking ? looking->snapshot : NULL,
                         TABLE_ROWS,
                         BYTES_NONE,
                         BYTES_NONE);
        while (table_scan_next(&scan, &row))
            gather(&g, row);
        table_scan_end(&scan);
        if (scan.err != OK) {
            run_excuse(run, scan.err, "a scan", NULL);
            continue;
        }
        explain(run, scratch, &op, 1, looking ? "through a snapshot" : "at the head");
    }
    mem_free(scratch);
}

void txns_snapshot_step(Run *run) {
    uint32_t which = run_draw(run, SNAPSHOTS_MAX);
    Looking *looking = &run->looking[which];
    if (!looking->snapshot) {
        Err err = store_snapshot(db_store(run->db), &looking->snapshot);
        run_note(run, "snapshot %u taken: %s", which, err_name(err));
        if (err != OK) run_excuse(run, err, "a snapshot", NULL);
        if (err == OK) looking->seen = state_copy(run->head);
        return;
    }
    run_note(run, "snapshot %u read", which);
    snapshot_check(run, looking, looking->seen);
    if (run_chance(run, 2)) return;
    run_note(run, "snapshot %u released", which);
    snapshot_release(&looking->snapshot);
    mem_free(looking->seen);
    looking->seen = NULL;
}

void txns_check_all(Run *run) {
    snapshot_check(run, NULL, run->head);
    store_breathe(db_store(run->db));
}

void txns_abandon_all(Run *run) {
    for (uint32_t i = 0; i < RUNNING_MAX; i++)
        txns_overlay_end(run, i, false);
    for (uint32_t i = 0; i < SNAPSHOTS_MAX; i++) {
        snapshot_release(&run->looking[i].snapshot);
        mem_free(run->looking[i].seen);
        run->looking[i].seen = NULL;
    }
}
