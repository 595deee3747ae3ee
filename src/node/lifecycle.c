#include "node/lifecycle.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/commit.h"
#include "node/pg.h"
#include "node/session_private.h"

static Table *system_table(const Database *db, uint32_t id) {
    return catalog_table(db_catalog(db->db), id)->table;
}

static void client_row(const Identity *identity, const ConnectionId *connection, Buf *row) {
    buf_put(row, identity->le, sizeof identity->le);
    buf_put(row, connection->le, sizeof connection->le);
}

static Err row_insert(Access *access, uint32_t table, const Buf *row, Buf *generated) {
    if (!buf_ok(row)) return ERR_NOMEM;
    AbiErrno result = access->ops->insert(access, table, buf_bytes(row), generated);
    return result == ABI_OK ? OK : result == ABI_UNIQUE_ALREADY_EXISTS ? ERR_UNIQUE : ERR_NOMEM;
}

Err lifecycle_client_insert(Session *s, Access *access) {
    Buf row = {0}, generated = {0};
    client_row(&s->identity, &s->connection, &row);
    Err err = row_insert(access, ST_CLIENT, &row, &generated);
    buf_clear(&row);
    buf_put(&row, s->connection.le, sizeof s->connection.le);
    buf_put_lp(&row, str_bytes(s->claims));
    if (err == OK) err = row_insert(access, ST_CONNECTION_CREDENTIALS, &row, &generated);
    buf_deinit(&row);
    buf_deinit(&generated);
    return err;
}

static bool client_is_known(const Database *db,
                            const Identity *identity,
                            const ConnectionId *connection) {
    Buf row = {0};
    client_row(identity, connection, &row);
    bool known = buf_ok(&row) && table_contains(system_table(db, ST_CLIENT), NULL, buf_bytes(&row));
    buf_deinit(&row);
    return known;
}

static Err client_rows_delete(Session *s) {
    Buf bytes = {0};
    client_row(&s->identity, &s->connection, &bytes);
    Err err = buf_ok(&bytes)
                  ? table_delete_row(system_table(s->database, ST_CLIENT), buf_bytes(&bytes))
                  : ERR_NOMEM;
    buf_clear(&bytes);
    key_append(&bytes, type_simple(TYPE_U128), s->connection.le);
    if (err == OK && !buf_ok(&bytes)) err = ERR_NOMEM;
    if (err == OK) {
        err = table_delete_key(system_table(s->database, ST_CONNECTION_CREDENTIALS),
                               buf_bytes(&bytes));
        if (err == ERR_NOT_FOUND) err = OK;
    }
    buf_deinit(&bytes);
    return err;
}

// ── arriving ───────────────────────────────────────────────────────────────────────────────────

static void refuse(Session *s, int http_status, const char *text) {
    s->state = SESSION_ENDED;
    session_dirty(s);
    if (s->kind == SESSION_HTTP) {
        session_http_answer(s, http_status, text);
    } else if (s->kind == SESSION_PG) {
        pg_refuse(s, text);
    } else {
        session_close(s, 1008, text);
    }
}

static void let_in(Session *s) {
    Database *db = s->database;
    s->state = SESSION_LIVE;
    if (s->kind == SESSION_PG) pg_let_in(s);
    if (s->kind != SESSION_WS) return;
    QueryCaller caller = {.identity = s->identity, .is_owner = s->is_owner};
    if (live_client_open(db->live, s, &caller, &s->live) != OK) {
        session_close(s, 1011, "the server is out of memory");
        return;
    }
    if (wire_is_v1(s->protocol)) live_client_distinct(s->live);
    db->client_count++;
    s->codec->connected(outbox_begin(&s->out), &s->identity, &s->connection, s->token);
    outbox_end(&s->out);
    session_dirty(s);
}

static void connect_committed(Session *s, Err err, const LiveUpdate *own) {
    (void)own;  // it has no subscriptions yet
    if (err == OK) {
        let_in(s);
    } else {
        refuse(s, 503, err_text(err));
    }
}

bool lifecycle_step_connect(Session *s, HostCall *call) {
    const FunctionDef *f = moduledef_lifecycle(s->database->def, LIFECYCLE_CONNECT);
    if (!f && s->database->read_only != OK) {
        let_in(s);
        return false;
    }
    session_transaction_begin(s, f ? f->name : STR("<connect>"));
    Err err = lifecycle_client_insert(s, db_access(s->database->db));
    if (err == OK && f) {
        session_call_begin(s, CALL_CONNECT, f, BYTES_NONE, call);
        return true;
    }
    if (err == OK) {
        commit_start(s, false, connect_committed);
    } else {
        db_rollback(s->database->db);
        refuse(s, 503, err_text(err));
    }
    return false;
}

static void connect_done(Session *s, const HostOutcome *outcome) {
    char text[512];
    if (outcome->status == HOST_OK && s->database->read_only == OK) {
        commit_start(s, false, connect_committed);
        return;
    }
    db_rollback(s->database->db);
    if (outcome->status == HOST_OK) {  // asked whether it lets them in, and no more
        let_in(s);
        return;
    }
    Str why = session_failure_text(s, outcome);
    snprintf(text,
             sizeof text,
             "Connection rejected by `client_connected` reducer: " STR_FMT,
             STR_ARG(why));
    refuse(s, 403, text);
}

// ── leaving ────────────────────────────────────────────────────────────────────────────────────

static void gone(Session *s) {
    if (s->kind == SESSION_SYSTEM) return;
    if (s->kind == SESSION_WS && s->state == SESSION_LIVE && s->live) s->database->client_count--;
    if (s->live) live_client_close(&s->live);
    s->state = SESSION_ENDED;
    session_dirty(s);
}

static void rows_deleted(Session *s, Err err, const LiveUpdate *own) {
    (void)own;
    if (err != OK) log_error("a client's row could not be removed: %s", err_text(err));
    gone(s);
}

// The rows go whatever the module says: in a transaction of their own if its reducer failed.
static void rows_delete_alone(Session *s) {
    session_transaction_begin(s, STR("<disconnect>"));
    Err err = client_rows_delete(s);
    if (err == OK) {
        commit_start(s, false, rows_deleted);
    } else {
        db_rollback(s->database->db);
        rows_deleted(s, err == ERR_NOT_FOUND ? OK : err, NULL);
    }
}

bool lifecycle_step_disconnect(Session *s, HostCall *call, bool *more) {
    *more = false;
    if (!client_is_known(s->database, &s->identity, &s->connection)) {
        gone(s);
        return false;
    }
    const FunctionDef *f = moduledef_lifecycle(s->database->def, LIFECYCLE_DISCONNECT);
    if (f) {
        // Its own updates are nobody's business any more.
        if (s->live) {
            s->database->client_count--;
            live_client_close(&s->live);
        }
        session_transaction_begin(s, f->name);
        session_call_begin(s, CALL_DISCONNECT, f, BYTES_NONE, call);
        return true;
    }
    rows_delete_alone(s);
    return false;
}

static void disconnect_committed(Session *s, Err err, const LiveUpdate *own) {
    (void)own;
    if (err == OK) {
        gone(s);
    } else {
        rows_delete_alone(s);
    }
}

static void disconnect_done(Session *s, const HostOutcome *outcome) {
    if (outcome->status == HOST_OK && client_rows_delete(s) == OK) {
        commit_start(s, false, disconnect_committed);
        return;
    }
    db_rollback(s->database->db);
    if (outcome->status != HOST_OK) session_failure_text(s, outcome);
    rows_delete_alone(s);
}

Err lifecycle_collect_orphans(Database *db) {
    Table *table = system_table(db, ST_CLIENT);
    uint64_t count = table_row_count(table, NULL);
    if (count == 0) return OK;
    db->orphans = mem_alloc(count * sizeof *db->orphans);
    if (!db->orphans) return ERR_NOMEM;
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        memcpy(db->orphans[db->orphan_count].identity.le, row.ptr, 32);
        memcpy(db->orphans[db->orphan_count].connection.le, row.ptr + 32, 16);
        db->orphan_count++;
    }
    table_scan_end(&scan);
    return scan.err;
}

// ── what runs by itself ────────────────────────────────────────────────────────────────────────

// The row of an entry, copied into the session. False when it is gone: the schedule was cancelled.
static bool scheduled_row(Session *s, const ScheduleEntry *entry, CatalogTable **table) {
    *table = catalog_table(db_catalog(s->database->db), entry->table_id);
    if (!*table || !(*table)->table || !(*table)->schedule_id) return false;
    Buf key = {0};
    uint8_t id[8];
    store_u64(id, entry->row_id);
    key_append(&key, type_simple(TYPE_U64), id);
    Bytes row;
    bool found = buf_ok(&key) && table_get((*table)->table, NULL, buf_bytes(&key), &row) == OK;
    buf_deinit(&key);
    buf_clear(&s->call_args);
    if (found) buf_put_bytes(&s->call_args, row);
    return found && buf_ok(&s->call_args);
}

static void scheduled_row_deleted(Session *s, Err err, const LiveUpdate *own) {
    (void)s;
    (void)own;
    if (err != OK)
        log_error("the row of a schedule that ran could not be removed: %s", err_text(err));
}

// After the run, whatever came of it: a row for one time goes, an interval gets its next instant;
// unless the reducer itself gave the row a new schedule.
static void scheduled_follow_up(Session *s) {
    Database *db = s->database;
    ScheduleEntry entry = s->scheduled;
    CatalogTable *table;
    if (schedule_has(db->schedule, entry.table_id, entry.row_id) ||
        !scheduled_row(s, &entry, &table))
        return;
    if (schedule_row_is_interval(table, buf_bytes(&s->call_args))) {
        if (entry.interval == 0) return;
        const Io *io = db->loop->node->io;
        entry.due = schedule_following(&entry, io->clock_wall(io->world));
        if (schedule_put(db->schedule, &entry) != OK)
            log_error("out of memory: an interval of a scheduled table stops until the next start");
        return;
    }
    session_transaction_begin(s, STR("<schedule>"));
    Err err = table_delete_row(table->table, buf_bytes(&s->call_args));
    if (err == OK) {
        commit_start(s, false, scheduled_row_deleted);
    } else {
        db_rollback(db->db);
        scheduled_row_deleted(s, err, NULL);
    }
}

static bool step_scheduled(Session *s, HostCall *call) {
    Database *db = s->database;
    CatalogTable *table;
    if (!scheduled_row(s, &s->scheduled, &table)) return false;
    if (procedure_fire(db, &s->scheduled, table, buf_bytes(&s->call_args))) return false;
    const FunctionDef *f = moduledef_reducer(db->def, table->schedule_function);
    if (!f) {
        Str text = arena_printf(&db->turn_arena,
                                "scheduled table `" STR_FMT "`: no reducer `" STR_FMT "` to run",
                                STR_ARG(table->name),
                                STR_ARG(table->schedule_function));
        database_log_line(db, 0, NULL, text);
        scheduled_follow_up(s);
        return false;
    }
    s->identity = db->identity;
    s->connection = (ConnectionId){0};
    s->call_timestamp = MAX(db->now, s->scheduled.due);
    session_transaction_begin(s, f->name);
    session_call_begin(s, CALL_SCHEDULED, f, buf_bytes(&s->call_args), call);
    return true;
}

// A call that was scheduled outside of any transaction (§1.11): the entry names no row.
static bool step_immediate(Session *s, HostCall *call, bool *more) {
    Database *db = s->database;
    Buf name = {0};
    bool begun = false;
    *more = lanes_take_scheduled(db, &name, &s->call_args);
    const FunctionDef *f = *more ? moduledef_reducer(db->def, bytes_str(buf_bytes(&name))) : NULL;
    size_t len;
    if (f && bsatn_check(f->params, buf_bytes(&s->call_args), &len, NULL) == OK) {
        s->scheduled = (ScheduleEntry){0};
        s->identity = db->identity;
        s->connection = (ConnectionId){0};
        session_transaction_begin(s, f->name);
        session_call_begin(s, CALL_SCHEDULED, f, buf_bytes(&s->call_args), call);
        begun = true;
    } else if (*more) {
        Str text = arena_printf(&db->turn_arena,
                                "a call of `" STR_FMT
                                "` was scheduled: no such reducer takes these arguments",
                                STR_ARG(bytes_str(buf_bytes(&name))));
        database_log_line(db, 0, NULL, text);
    }
    buf_deinit(&name);
    return begun;
}

static void views_expired(Session *s, Err err, const LiveUpdate *own) {
    Database *db = s->database;
    (void)own;
    if (err != OK) log_error("results of views could not be forgotten: %s", err_text(err));
    // What is left over of many is due at once.
    if (err == OK && views_next_expiry(db->views) <= db->now) return;
    db->views_checked = db->now;
}

// Results of views that nobody has watched for a while. True: a transaction was begun.
static bool step_views(Session *s) {
    Database *db = s->database;
    if (db->now < db->views_checked + VIEWS_KEEP_US && !views_crowded(db->views)) return false;
    if (views_next_expiry(db->views) > db->now) {
        db->views_checked = db->now;
        return false;
    }
    session_transaction_begin(s, STR("<view>"));
    Err err = views_expire(db->views);
    if (err == OK) {
        commit_start(s, false, views_expired);
    } else {
        db_rollback(db->db);
        views_expired(s, err, NULL);
    }
    return true;
}

void lifecycle_orphan_again(Session *s) {
    Database *db = s->database;
    db->orphans[db->orphan_count].identity = s->identity;  // there is room: it was taken from there
    db->orphans[db->orphan_count].connection = s->connection;
    db->orphan_count++;
    session_ready(db->system);
}

bool lifecycle_step_system(Session *s, HostCall *call, bool *more) {
    Database *db = s->database;
    if (db->orphan_count) {
        db->orphan_count--;
        s->identity = db->orphans[db->orphan_count].identity;
        s->connection = db->orphans[db->orphan_count].connection;
        bool begun = lifecycle_step_disconnect(s, call, more);
        *more = true;
        return begun;
    }
    if (step_views(s)) {
        *more = true;
        return false;
    }
    *more = schedule_take_due(db->schedule, db->now, &s->scheduled);
    return *more ? step_scheduled(s, call) : step_immediate(s, call, more);
}

static void scheduled_committed(Session *s, Err err, const LiveUpdate *own) {
    (void)own;
    if (err != OK) log_error("a scheduled reducer could not commit: %s", err_text(err));
    scheduled_follow_up(s);
}

static void scheduled_done(Session *s, const HostOutcome *outcome) {
    if (outcome->status == HOST_OK) {
        s->database->counters.calls_ok++;
        commit_start(s, false, scheduled_committed);
        return;
    }
    db_rollback(s->database->db);
    session_failure_text(s, outcome);
    scheduled_follow_up(s);
}

void lifecycle_done(Session *s, SessionCall what, const HostOutcome *outcome) {
    switch (what) {
    case CALL_CONNECT: connect_done(s, outcome); return;
    case CALL_DISCONNECT: disconnect_done(s, outcome); return;
    case CALL_SCHEDULED: scheduled_done(s, outcome); return;
    case CALL_REDUCER:
    case CALL_NONE: break;
    }
    UNREACHABLE();
}
