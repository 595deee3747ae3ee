// commit.c: what one commit means to whom.
//
// PICTURE
//   changed rows ──guards, residual, broadcast──> groups ──> Pending: rows gained, rows lost
//   a million of them, worked out beside the loop (tell.h) ──> Pending, encoded already
//   Pending ──encoded once──> LiveDelta ──subs──> LiveUpdate of each client that is concerned
//
// A row that left and one that came are tested against the query as it stands, so a change enters,
// leaves or stays: it stays as a delete and an insert in one message. Nothing here depends on how
// many clients watch something else.
#include <stdlib.h>

#include "live/join.h"
#include "live/prepare.h"
#include "live/tell.h"

// ── rows to groups ─────────────────────────────────────────────────────────────────────────────

static Pending *pending_add(Live *live, Group *group, bool is_event) {
    if (live->pending_count == live->pending_cap) {
        uint32_t cap = live->pending_cap ? live->pending_cap * 2 : 16;
        Pending *more = mem_realloc(live->pending, cap * sizeof *more);
        if (!more) return NULL;
        live->pending = more;
        for (uint32_t i = live->pending_cap; i < cap; i++) {
            more[i] = (Pending){0};
            rowlist_init(&more[i].inserts);
            rowlist_init(&more[i].deletes);
        }
        live->pending_cap = cap;
    }
    group->pending = live->pending_count;
    Pending *p = &live->pending[live->pending_count++];
    p->group = group;
    p->is_event = is_event;
    p->last = NULL;
    p->told = NULL;
    rowlist_clear(&p->inserts);
    rowlist_clear(&p->deletes);
    return p;
}

// What the group says may be of an earlier commit.
static Pending *pending_find(const Live *live, const Group *group) {
    bool is = group->pending < live->pending_count && live->pending[group->pending].group == group;
    return is ? &live->pending[group->pending] : NULL;
}

static Pending *pending_of(Live *live, Group *group) {
    Pending *p = pending_find(live, group);
    return p ? p : pending_add(live, group, standing_is_event(group->template->standing));
}

static Err list_add(Live *live, RowList *list, Bytes shown, uint64_t copies) {
    for (uint64_t i = 0; i < copies && rowlist_ok(list); i++)
        rowlist_add(list, shown);
    live->stats.rows_encoded += copies;
    return rowlist_ok(list) ? OK : ERR_NOMEM;
}

Err group_gain(Live *live, Group *group, Bytes shown, uint64_t copies) {
    Pending *p = pending_of(live, group);
    return p ? list_add(live, &p->inserts, shown, copies) : ERR_NOMEM;
}

Err group_lose(Live *live, Group *group, Bytes shown, uint64_t copies) {
    Pending *p = pending_of(live, group);
    return p ? list_add(live, &p->deletes, shown, copies) : ERR_NOMEM;
}

static Err group_take(void *ctx, Group *group, const LiveChange *change, bool old, bool new) {
    Live *live = ctx;
    const Query *query = group->template->query;
    Pending *p = pending_of(live, group);
    if (!p) return ERR_NOMEM;
    if (p->last == change) return OK;  // it was found before, in another way
    p->last = change;
    Err err = OK;
    if (old) err = list_add(live, &p->deletes, query_shown(query, change->old_row), 1);
    if (new &&err == OK) err = list_add(live, &p->inserts, query_shown(query, change->new_row), 1);
    return err;
}

Err group_fail(Live *live, Group *group, const char *why) {
    Str text = str_from(why);
    GroupMore *more = group_more(group);
    more->failure = mem_zalloc(text.len + 1);
    buf_put(&live->failed, &group, sizeof(Group *));
    if (!more->failure || !buf_ok(&live->failed)) return ERR_NOMEM;
    memcpy(more->failure, text.ptr, text.len);
    return OK;
}

// What was worked out beside the loop (tell.h).
static Err take_told(Live *live, const ToldTable *table) {
    for (const Told *told = table->first; told; told = told->next) {
        Pending *p = pending_add(live, told->group, false);
        if (!p) return ERR_NOMEM;
        p->told = &told->delta;
    }
    return OK;
}

static Err stab_all(Live *live, const LiveChange *changes, size_t count) {
    const LiveTable *table = NULL;
    Stab *stab = live->matching;
    Err err = OK;
    stab->take = group_take;
    stab->ctx = live;
    for (size_t i = 0; i < count && err == OK; i++) {
        const LiveChange *change = &changes[i];
        if (i == 0 || change->table_id != changes[i - 1].table_id) {
            const ToldTable *told = tell_of(live, change->table_id);
            table = told ? NULL : live_table(live, change->table_id);
            if (told) err = take_told(live, told);
        }
        ASSERT(!table || (!change->is_clear && !change->is_bulk));
        if (table) err = stab_change(stab, table, change);
    }
    live->stats.groups_tested += stab->tested;
    live->stats.ranges_seen += stab->seen;
    stab->tested = stab->seen = 0;
    tell_used(live);
    return err;
}

// ── groups to deltas ───────────────────────────────────────────────────────────────────────────

static void pending_encode(Live *live, Pending *p) {
    p->inserts_at = live->encoded.len;
    rowlist_encode(&live->encoded, &p->inserts);
    p->deletes_at = live->encoded.len;
    if (!p->is_event) rowlist_encode(&live->encoded, &p->deletes);
    StandingRows rows = standing_rows(p->group->template->standing);
    p->delta = (LiveDelta){
        .table_name = group_name(p->group),
        .table_id = rows.table_id,
        .row_type = rows.row_type,
        .hidden_columns = rows.hidden_columns,
        .is_event = p->is_event,
        .inserts = {NULL, p->deletes_at - p->inserts_at},
        .deletes = {NULL, live->encoded.len - p->deletes_at},
    };
}

static Err encode_all(Live *live) {
    for (uint32_t i = 0; i < live->pending_count; i++) {
        Pending *p = &live->pending[i];
        if (p->told)
            p->delta = *p->told;
        else
            pending_encode(live, p);
        p->delta.id = i;
    }
    if (!buf_ok(&live->encoded)) return ERR_NOMEM;
    for (uint32_t i = 0; i < live->pending_count; i++) {  // it moves no more
        Pending *p = &live->pending[i];
        if (p->told) continue;
        p->delta.inserts.ptr = live->encoded.ptr + p->inserts_at;
        p->delta.deletes.ptr = p->is_event ? NULL : live->encoded.ptr + p->deletes_at;
    }
    return OK;
}

// ── deltas to clients ──────────────────────────────────────────────────────────────────────────

// With this commit, because one of its queries cannot be kept current. Of a distinct client all end.
static bool set_ends(const Live *live, const QuerySet *set) {
    size_t failed = live->failed.len / sizeof(Group *);
    for (size_t i = 0; i < failed; i++) {
        const Group *group = ((Group *const *)(const void *)live->failed.ptr)[i];
        for (const Sub *sub = group->subs; sub; sub = sub->next) {
            if (sub->set == set) return true;
        }
    }
    return false;
}

// How many deltas each client gets, and which clients get any.
static size_t count_subs(Live *live) {
    size_t total = 0;
    for (uint32_t i = 0; i < live->pending_count; i++) {
        for (const Sub *sub = live->pending[i].group->subs; sub; sub = sub->next) {
            LiveClient *client = sub->set->client;
            if (set_ends(live, sub->set)) continue;
            total++;
            if (client->touched_in != live->stats.commits) {
                client->touched_in = live->stats.commits;
                client->update = live->touched_count++;
                client->delta_count = 0;
            }
            client->delta_count++;
        }
    }
    return total;
}

static int set_delta_order(const void *a, const void *b) {
    const LiveSetDelta *x = a, *y = b;
    if (x->query_set != y->query_set) return x->query_set < y->query_set ? -1 : 1;
    int c = bytes_cmp(str_bytes(x->delta->table_name), str_bytes(y->delta->table_name));
    if (c != 0) return c;
    return x->delta->id < y->delta->id ? -1 : x->delta->id > y->delta->id;
}

static Err fan_out(Live *live, const LiveUpdate **out, size_t *out_count) {
    size_t total = count_subs(live);
    LiveUpdate *updates = arena_array(&live->commit, LiveUpdate, live->touched_count);
    LiveSetDelta *deltas = arena_array(&live->commit, LiveSetDelta, total);
    if (!updates || !deltas) return ERR_NOMEM;
    for (uint32_t i = 0; i < live->pending_count; i++) {
        const Pending *p = &live->pending[i];
        for (const Sub *sub = p->group->subs; sub; sub = sub->next) {
            const LiveClient *client = sub->set->client;
            if (set_ends(live, sub->set)) continue;
            LiveUpdate *update = &updates[client->update];
            if (!update->sets) {  // its share of the array, taken at first sight
                update->owner = client->owner;
                update->sets = deltas;
                deltas += client->delta_count;
            }
            LiveSetDelta *next = (LiveSetDelta *)&update->sets[update->set_count++];
            *next = (LiveSetDelta){(uint32_t)sub->set->id, &p->delta};
        }
    }
    for (uint32_t i = 0; i < live->touched_count; i++) {
        LiveSetDelta *sets = (LiveSetDelta *)updates[i].sets;
        if (updates[i].set_count > 1)
            qsort(sets, updates[i].set_count, sizeof *sets, set_delta_order);
    }
    *out = updates;
    *out_count = live->touched_count;
    return OK;
}

// ── the whole ──────────────────────────────────────────────────────────────────────────────────

// Forget the last commit; memory that only a huge one needed goes back.
static void commit_begin(Live *live) {
    enum { KEEP_BYTES = 1 << 20, KEEP_PENDING = 4096 };
    for (uint32_t i = 0; i < live->pending_count; i++) {
        Pending *p = &live->pending[i];
        if (p->inserts.rows.cap > KEEP_BYTES) rowlist_deinit(&p->inserts);
        if (p->deletes.rows.cap > KEEP_BYTES) rowlist_deinit(&p->deletes);
    }
    if (live->pending_cap > KEEP_PENDING) pending_free(live);
    if (live->encoded.cap > KEEP_BYTES) buf_deinit(&live->encoded);
    buf_clear(&live->encoded);
    if (live->commit.used_bytes > KEEP_BYTES) arena_deinit(&live->commit);
    arena_reset(&live->commit);
    live->pending_count = 0;
    live->touched_count = 0;
    live->stats.commits++;
}

void pending_free(Live *live) {
    for (uint32_t i = 0; i < live->pending_cap; i++) {
        rowlist_deinit(&live->pending[i].inserts);
        rowlist_deinit(&live->pending[i].deletes);
    }
    mem_free(live->pending);
    live->pending = NULL;
    live->pending_count = live->pending_cap = 0;
}

// Whoever watches a join has missed something after an error, and is about to be closed.
static Err join_all(Live *live, const LiveChange *changes, size_t count) {
    live->tallied = NULL;
    if (live->is_behind) return ERR_NOMEM;
    Err err = delta_begin(&live->delta, changes, count);
    if (err == OK) err = join_arrange(live, changes, count);
    if (err == OK) err = join_commit(live);
    if (err != OK) live_missed(live);
    return err;
}

void live_missed(Live *live) {
    prepare_abandon_all(live);
    live->is_behind = live->join_count > 0;
}

bool live_watches(const Live *live, uint32_t table_id) {
    return live_table(live, table_id) != NULL;
}

bool live_wants_rows(const Live *live, uint32_t table_id) {
    const LiveTable *table = live_table(live, table_id);
    return table && (!tell_of(live, table_id) || table->joins || table->arrangements);
}

// Nobody listens, and the last commit left nothing that is to be forgotten.
static bool is_idle(const Live *live) {
    return live->templates.count == 0 && !live->prepares && live->pending_count == 0;
}

Err live_commit(Live *live,
                const LiveChange *changes,
                size_t count,
                const LiveUpdate **out,
                size_t *out_count) {
    ASSERT(live->schema_version == live->catalog->schema_version);
    *out = NULL;
    *out_count = 0;
    if (is_idle(live)) {
        live->stats.commits++;
        return OK;
    }
    commit_begin(live);
    ASSERT(live->failed.len == 0);  // live_commit_ended was not called
    Err err = OK;
    bool joins = live->join_count > 0 || live->prepares;
    if (joins && (err = join_all(live, changes, count)) != OK) return err;
    if ((err = stab_all(live, changes, count)) != OK) return err;
    live->stats.groups_hit += live->pending_count;
    if (live->pending_count == 0) return OK;
    if ((err = encode_all(live)) != OK) return err;
    return fan_out(live, out, out_count);
}
