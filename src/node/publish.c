// publish.c: after a commit: schedules and subscribers.
//
// Each distinct delta was encoded once by live/. What goes to a client is a TransactionUpdate made
// of those bytes. Clients in a row that watch the same queries under the same set numbers get the
// same bytes: one finished frame that all of them share. Only where v3 has something to pack it with,
// what was said to the client in this turn already, a small one is copied into its outbox instead.
// Each protocol shares for itself: what v2 and v3 hear is one message, what v1 hears is another, and
// v1.json has its own rows, made once a delta. What a huge transaction has to say was encoded beside the
// loop (tell.h): it is left out of the message and stands between pieces of it.
#include "node/session_private.h"

#define SHARE_BYTES_MIN 512

static void schedules_notice(Database *db, const WriteSet *writes) {
    for (size_t i = 0; i < writes->count; i++) {
        const TxnChange *change = &writes->changes[i];
        const CatalogTable *table = catalog_table(db_catalog(db->db), change->table_id);
        if (!table || !table->schedule_id) continue;
        if (change->new_row.ptr) {
            // A failure to remember is a failure to run: said where the operator looks.
            if (schedule_row(db->schedule, table, change->new_row, db->now) != OK) {
                database_log_line(db,
                                  0,
                                  NULL,
                                  STR("out of memory: a scheduled row was not registered"));
            }
        } else {
            schedule_remove(db->schedule, table->table_id, schedule_row_id(table, change->old_row));
        }
    }
}

typedef struct Shared {
    const LiveUpdate *of;  // whose message is encoded in `message`
    Buf message;
    Buf gaps;         // in it
    OutMessage made;  // when first wanted
} Shared;

// Messages differ by codec and, under v1, by whether they name the call.
typedef struct Telling {
    Database *db;
    WireCall cause;
    bool names_calls;  // the module is so old that its v1 clients expect it
    Shared shared[WIRE_V3 + 1][2];
} Telling;

static bool is_full(const Telling *t, const Session *s) {
    return t->names_calls && wire_is_v1(s->protocol) && !s->v1.is_light;
}

static Shared *shared_of(Telling *t, const Session *s) {
    WireProtocol like = s->protocol == WIRE_V3 ? WIRE_V2 : s->protocol;
    return &t->shared[like][is_full(t, s)];
}

static void telling_deinit(Telling *t) {
    for (int p = 0; p <= WIRE_V3; p++) {
        for (int full = 0; full < 2; full++) {
            Shared *shared = &t->shared[p][full];
            outmessage_release(&shared->made);
            buf_deinit(&shared->message);
            buf_deinit(&shared->gaps);
        }
    }
}

static bool same_deltas(const LiveUpdate *a, const LiveUpdate *b) {
    if (!a || a->set_count != b->set_count) return false;
    for (uint32_t i = 0; i < a->set_count; i++) {
        if (a->sets[i].query_set != b->sets[i].query_set || a->sets[i].delta != b->sets[i].delta)
            return false;
    }
    return true;
}

static bool encode(Telling *t, Shared *shared, const Session *s, const LiveUpdate *update) {
    uint32_t count;
    if (same_deltas(shared->of, update)) return true;
    outmessage_release(&shared->made);
    buf_clear(&shared->message);
    buf_clear(&shared->gaps);
    const WireTableUpdate *updates =
        session_wire_updates(t->db, s->codec, update, &shared->gaps, &count);
    if (!updates) return false;
    s->codec->update(&shared->message, &t->cause, is_full(t, s), updates, count);
    shared->of = buf_ok(&shared->message) ? update : NULL;
    return shared->of != NULL;
}

static bool put(Shared *shared, Session *s) {
    bool inline_it = s->protocol == WIRE_V3 && shared->message.len < SHARE_BYTES_MIN &&
                     shared->gaps.len == 0 &&
                     (!outbox_is_empty(&s->out) || s->speaks_ours);  // whom Progress follows
    s->progress_due = true;
    if (inline_it) {
        buf_put_bytes(outbox_begin(&s->out), buf_bytes(&shared->message));
        outbox_end(&s->out);
        return true;
    }
    if (!shared->made.count &&
        !outmessage_make(buf_bytes(&shared->message), &shared->gaps, s->protocol, &shared->made))
        return false;
    outbox_put_shared(&s->out, &shared->made);
    return true;
}

static void all_stale(Database *db) {
    for (Session *s = db->sessions; s; s = s->next) {
        if (s->live)
            session_close(s, 1011, "the server could not read or keep an update, and missed it");
    }
}

// What may wait behind an answer that is still being made: as much as a client may leave unread.
static size_t held_max(const Database *db) {
    return (size_t)db->settings.unread_bytes_max;
}

// Whether the rows of a cleared table, or one that changed in bulk, have to be told one by one.
static bool wants_rows(const Database *db, const WriteSet *writes) {
    for (size_t i = 0; i < writes->count; i++) {
        const TxnChange *change = &writes->changes[i];
        if (!change->is_clear && !change->is_bulk) continue;
        const CatalogTable *table = catalog_table(db_catalog(db->db), change->table_id);
        if (live_wants_rows(db->live, change->table_id)) return true;
        if (table && table->schedule_id) return true;
    }
    return false;
}

void database_publish(Database *db, const WriteSet *writes, Session *by, const LiveUpdate **own) {
    db->counters.commits++;
    if (db->tell) tell_use(db->tell, db);
    db->delta_json.list = NULL;
    db->delta_json.count = 0;
    if (wants_rows(db, writes) && db_commit_rows(db->db, &writes) != OK) {
        live_missed(db->live);
        all_stale(db);
        return;
    }
    if (db->has_schedules) schedules_notice(db, writes);
    const LiveUpdate *updates;
    size_t count;
    if (live_commit(db->live, writes->changes, writes->count, &updates, &count) != OK) {
        all_stale(db);
        return;
    }
    live_commit_ended(db->live, session_subscription_dropped, db);
    if (count == 0) return;
    Telling t = {.db = db, .names_calls = db->def->version < 10};
    if (db->v1_count) t.cause = session_cause(db, by);
    for (size_t i = 0; i < count; i++) {
        Session *s = updates[i].owner;
        if (own && s == by) {
            *own = &updates[i];
            continue;
        }
        if (s->closing) continue;  // its stream has ended
        Shared *shared = shared_of(&t, s);
        if (!encode(&t, shared, s, &updates[i]) || !put(shared, s)) s->out.failed = true;
        session_dirty(s);
        if (s->out.held && outbox_bytes(&s->out) > held_max(db))
            session_close(s, 1008, "too much happened while the rows it asked for were read");
    }
    telling_deinit(&t);
}
