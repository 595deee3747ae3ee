// once.c: st_call_once, a row for each call that has a number and has committed.
//
// PICTURE
//   CallOnce { session, number, settled, … } ─> transaction of the call:
//        row (identity, session, number) there?  yes: undo, answer as the first time
//                                                no:  insert it, delete those below `settled`, run the reducer
//
// ALWAYS TRUE
//   (1) The row is written by the call's own transaction: it is there exactly when what the call did is,
//       after a crash and in a backup too.
//   (2) Looking for it is a read of the transaction. If the first try of a call and its repeat run at
//       the same time beside the loop, one of them is stale, begins again, and finds the other's row.
//   (3) What clients do not settle, because they never came back, leaves after KEEP.
#include "node/once.h"

#include "node/session_private.h"

#define KEEP         ((Micros)600000000)
#define SWEEP_ROWS   32
#define SWEEP_PAUSE  ((Micros)1000000)   // after a sweep that found all it may take
#define SWEEP_REST   ((Micros)30000000)  // after one that did not
#define BY_NUMBER    ST_CALL_ONCE_BY_NUMBER
#define BY_TIMESTAMP ST_CALL_ONCE_BY_TIMESTAMP

enum {
    IDENTITY_BYTES = 32,
    SESSION_BYTES = 16,
    PREFIX_BYTES = IDENTITY_BYTES + SESSION_BYTES,
    KEY_BYTES = PREFIX_BYTES + 8,
    ROW_BYTES = KEY_BYTES + 8
};

static void row_write(const Session *s, uint8_t row[ROW_BYTES]) {
    memcpy(row, s->identity.le, IDENTITY_BYTES);
    memcpy(row + IDENTITY_BYTES, s->once.session, SESSION_BYTES);
    store_u64(row + PREFIX_BYTES, s->once.number);
    store_u64(row + KEY_BYTES, (uint64_t)s->call_timestamp);
}

typedef struct Found {
    bool any;
    Micros when;
} Found;

static bool found_row(void *ctx, Bytes row) {
    Found *found = ctx;
    found->any = true;
    found->when = (Micros)load_u64(row.ptr + KEY_BYTES);
    return true;
}

// Delete what is below `settled`, which its client has heard of.
static AbiErrno settled_forget(const Session *s, Access *access, const uint8_t *prefix) {
    uint8_t lower = 2, upper[9] = {1};  // BSATN Bound: unbounded; excluded
    uint32_t deleted;
    store_u64(upper + 1, s->once.settled);
    AccessRange range = {.prefix = BYTES(prefix, PREFIX_BYTES),
                         .prefix_elems = 2,
                         .lower = BYTES(&lower, 1),
                         .upper = BYTES(upper, sizeof upper)};
    return access->ops->delete_range(access, BY_NUMBER, &range, &deleted);
}

Err once_begin(Session *s, Access *access, Micros *when) {
    if (!s->once.is_asked) return OK;
    uint8_t row[ROW_BYTES];
    Found found = {0};
    Buf generated = {0};
    row_write(s, row);
    RowSink sink = {found_row, &found};
    AbiErrno result = access->ops->scan_point(access, BY_NUMBER, BYTES(row, KEY_BYTES), sink);
    if (result == ABI_OK && found.any) {
        *when = found.when;
        return ERR_EXISTS;
    }
    if (result == ABI_OK)
        result = access->ops->insert(access, ST_CALL_ONCE, BYTES(row, ROW_BYTES), &generated);
    if (result == ABI_OK && s->once.settled) result = settled_forget(s, access, row);
    buf_deinit(&generated);
    return result == ABI_OK ? OK : ERR_NOMEM;  // a key that is there was found above
}

void once_answer(Session *s, Micros when) {
    s->database->counters.calls_repeated++;
    WireCall call = {.request = s->request_id, .timestamp = when};
    s->codec->called(outbox_begin(&s->out), &call, NULL, 0);
    outbox_end(&s->out);
    session_dirty(s);
}

bool once_call_begin(Session *s, const FunctionDef *f, Bytes args, HostCall *call) {
    Database *db = s->database;
    Micros when;
    session_transaction_begin(s, f->name);
    Err err = once_begin(s, db_access(db->db), &when);
    if (err == OK) {
        if (s->once.is_asked) once_sweep(db);
        session_call_begin(s, CALL_REDUCER, f, args, call);
        return true;
    }
    db_rollback(db->db);
    if (err == ERR_EXISTS) {
        once_answer(s, when);
        return false;
    }
    WireCall failed = session_wire_call(s);
    s->codec->failed(outbox_begin(&s->out), &failed, false, str_from(err_text(err)));
    outbox_end(&s->out);
    session_dirty(s);
    return false;
}

// ── forgetting ─────────────────────────────────────────────────────────────────────────────────

// The oldest rows, while they are older than `before`.
static uint32_t old_rows(const Table *table, Micros before, uint8_t rows[SWEEP_ROWS][ROW_BYTES]) {
    uint32_t count = 0;
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table, NULL, BY_TIMESTAMP, BYTES_NONE, BYTES_NONE);
    while (count < SWEEP_ROWS && table_scan_next(&scan, &row)) {
        if ((Micros)load_u64(row.ptr + KEY_BYTES) >= before) break;
        memcpy(rows[count++], row.ptr, ROW_BYTES);
    }
    table_scan_end(&scan);
    return count;
}

void once_sweep(Database *db) {
    if (db->now < db->once_sweep_at) return;
    uint8_t rows[SWEEP_ROWS][ROW_BYTES];
    Table *table = catalog_table(db_catalog(db->db), ST_CALL_ONCE)->table;
    uint32_t count = old_rows(table, db->now - KEEP, rows);
    for (uint32_t i = 0; i < count; i++) {
        // What stays for lack of memory leaves with a later sweep.
        if (table_delete_row(table, BYTES(rows[i], ROW_BYTES)) != OK) break;
    }
    db->once_sweep_at = db->now + (count == SWEEP_ROWS ? SWEEP_PAUSE : SWEEP_REST);
}
