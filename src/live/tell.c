#include "live/tell.h"

enum { STOP_ROWS = 512, STOP_TESTS = 1 << 15 };  // between two looks whether to stop

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static bool has_groups(const LiveTable *table) {
    return table && (table->guards || table->residual || table->broadcast);
}

bool live_can_tell(const Live *live, uint32_t table_id) {
    return has_groups(live_table(live, table_id));
}

Err live_tell_begin(Live *live,
                    const uint32_t *table_ids,
                    uint32_t count,
                    const LiveTellEnv *env,
                    LiveTell **out) {
    if (live->tell) return ERR_BUSY;
    LiveTell *tell = MEM_NEW(LiveTell);
    if (!tell) return ERR_NOMEM;
    tell->tables = arena_array(&tell->arena, ToldTable, count);
    if (!tell->tables) {
        arena_deinit(&tell->arena);
        mem_free(tell);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        const LiveTable *table = live_table(live, table_ids[i]);
        tell->tables[i] =
            (ToldTable){.table_id = table_ids[i], .table = has_groups(table) ? table : NULL};
    }
    tell->table_count = count;
    tell->env = *env;
    tell->live = live;
    pthread_mutex_init(&tell->mutex, NULL);
    atomic_init(&tell->stop, false);
    live->tell = tell;
    *out = tell;
    return OK;
}

// The groups that nobody watches any more go now.
static void let_go(Live *live, LiveTell *tell) {
    live->tell = NULL;
    tell->live = NULL;
    for (uint32_t i = 0; i < tell->left.size; i++) {
        Group *group = livemap_slot(&tell->left, i);
        if (group) group_release(live, group);
    }
    livemap_deinit(&tell->left);
}

void tell_abandon(Live *live) {
    LiveTell *tell = live->tell;
    if (!tell) return;
    atomic_store_explicit(&tell->stop, true, memory_order_relaxed);
    pthread_mutex_lock(&tell->mutex);
    tell->is_ready = tell->is_used = false;
    pthread_mutex_unlock(&tell->mutex);
    let_go(live, tell);
}

void live_tell_end(LiveTell *tell) {
    if (tell->live) let_go(tell->live, tell);
}

static void told_deinit(Told *told) {
    rowlist_deinit(&told->inserts);
    rowlist_deinit(&told->deletes);
    buf_deinit(&told->own);
}

void live_tell_free(LiveTell **handle) {
    LiveTell *tell = *handle;
    *handle = NULL;
    if (!tell) return;
    ASSERT(!tell->live);
    for (uint32_t i = 0; i < tell->table_count; i++) {
        for (Told *told = tell->tables[i].first; told; told = told->next)
            told_deinit(told);
    }
    stab_deinit(&tell->stab);
    livemap_deinit(&tell->found);
    buf_deinit(&tell->encoded);
    pthread_mutex_destroy(&tell->mutex);
    arena_deinit(&tell->arena);
    mem_free(tell);
}

// ── what the loop may not change meanwhile ─────────────────────────────────────────────────────

static ToldTable *table_in(const LiveTell *tell, uint32_t table_id) {
    for (uint32_t i = 0; i < tell->table_count; i++) {
        if (tell->tables[i].table_id == table_id) return &tell->tables[i];
    }
    return NULL;
}

bool tell_holds(const Live *live, uint32_t table_id) {
    return live->tell && table_in(live->tell, table_id);
}

static uint64_t group_hash(const Group *group) {
    return (uint64_t)(uintptr_t)group * UINT64_C(0x9e3779b97f4a7c15);
}

bool tell_keeps(Live *live, Group *group) {
    const LiveTable *table = group->template->table;
    if (!table || !tell_holds(live, table->table_id)) return false;
    LiveMap *left = &live->tell->left;
    uint64_t hash = group_hash(group);
    for (uint32_t at = livemap_first(left, hash); at != LIVEMAP_END;
         at = livemap_next(left, hash, at)) {
        if (livemap_at(left, at) == group) return true;  // somebody had come back to it
    }
    if (!livemap_reserve(left)) {
        tell_abandon(live);
        return false;
    }
    livemap_insert(left, hash, group);
    return true;
}

// ── on the worker's thread ─────────────────────────────────────────────────────────────────────

static Told *told_find(const LiveTell *tell, const Group *group, uint64_t hash) {
    Told *told;
    uint32_t at = livemap_first(&tell->found, hash);
    while ((told = livemap_at(&tell->found, at)) && told->group != group) {
        at = livemap_next(&tell->found, hash, at);
    }
    return told;
}

static Told *told_of(LiveTell *tell, Group *group) {
    if (tell->recent && tell->recent->group == group) return tell->recent;
    uint64_t hash = group_hash(group);
    Told *told = told_find(tell, group, hash);
    if (!told) {
        if (!livemap_reserve(&tell->found) || !(told = arena_new(&tell->arena, Told))) return NULL;
        told->group = group;
        rowlist_init(&told->inserts);
        rowlist_init(&told->deletes);
        livemap_insert(&tell->found, hash, told);
        ToldTable *table = tell->at;
        *(table->last ? &table->last->next : &table->first) = told;
        table->last = told;
    }
    tell->recent = told;
    return told;
}

static Err row_add(LiveTell *tell, RowList *list, const Group *group, Bytes row) {
    rowlist_add(list, query_shown(group->template->query, row));
    tell->rows++;
    return rowlist_ok(list) ? OK : ERR_NOMEM;
}

static Err take(void *ctx, Group *group, const LiveChange *change, bool old, bool new) {
    LiveTell *tell = ctx;
    Told *told = told_of(tell, group);
    if (!told) return ERR_NOMEM;
    if (told->last == tell->looked) return OK;
    told->last = tell->looked;
    Err err = OK;
    if (old) err = row_add(tell, &told->deletes, group, change->old_row);
    if (new &&err == OK) err = row_add(tell, &told->inserts, group, change->new_row);
    return err;
}

bool live_tell_is_stopped(const LiveTell *tell) {
    return atomic_load_explicit(&tell->stop, memory_order_relaxed) ||
           (tell->env.is_stopped && tell->env.is_stopped(tell->env.ctx));
}

static Err row_stab(LiveTell *tell, const LiveChange *change) {
    if (tell->looked++ % STOP_ROWS == 0 || tell->stab.tested >= tell->stop_at) {
        if (live_tell_is_stopped(tell)) return ERR_CLOSED;
        tell->stop_at = tell->stab.tested + STOP_TESTS;
    }
    return stab_change(&tell->stab, tell->at->table, change);
}

// In the order in which the loop would find them in the trees that were set aside.
static Err emptied_stab(LiveTell *tell, const LiveChange *emptied, const Snapshot *before) {
    LiveChange gone = {.table = emptied->table, .table_id = emptied->table_id};
    TableScan scan;
    Err err = OK;
    table_scan_begin(&scan, emptied->table, before, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    for (uint64_t rows = 1; err == OK && table_scan_next(&scan, &gone.old_row); rows++) {
        err = row_stab(tell, &gone);
        if (rows % TABLE_BREATHE_ROWS == 0) snapshot_breathe(before);
    }
    if (err == OK) err = scan.err;
    table_scan_end(&scan);
    store_guard_lower();
    return err;
}

static Err rows_stab(LiveTell *tell,
                     const LiveChange *changes,
                     size_t count,
                     const Snapshot *before) {
    Err err = OK;
    for (size_t i = 0; err == OK && i < count; i++) {
        const LiveChange *change = &changes[i];
        if (i == 0 || change->table_id != changes[i - 1].table_id)
            tell->at = table_in(tell, change->table_id);
        if (!tell->at || !tell->at->table) continue;
        err = change->is_clear ? emptied_stab(tell, change, before) : row_stab(tell, change);
    }
    return err;
}

// Its lists one behind the other; where they are in memory is found out when they move no more.
static Err told_encode(LiveTell *tell, Told *told) {
    size_t large = told->inserts.rows.len + told->deletes.rows.len;
    bool is_large = large >= LIVE_TELL_LARGE;
    Buf *out = is_large ? &told->own : &tell->encoded;
    StandingRows rows = standing_rows(told->group->template->standing);
    told->at = out->len;
    rowlist_encode(out, &told->inserts);
    told->deletes_at = out->len;
    rowlist_deinit(&told->inserts);
    rowlist_encode(out, &told->deletes);
    rowlist_deinit(&told->deletes);
    if (!buf_ok(out)) return ERR_NOMEM;
    told->delta = (LiveDelta){
        .table_name = group_name(told->group),
        .table_id = rows.table_id,
        .row_type = rows.row_type,
        .hidden_columns = rows.hidden_columns,
        .inserts = {NULL, told->deletes_at - told->at},
        .deletes = {NULL, out->len - told->deletes_at},
    };
    if (!is_large) return OK;
    told->delta.inserts.ptr = out->ptr + told->at;
    told->delta.deletes.ptr = out->ptr + told->deletes_at;
    if (!tell->env.keep) return OK;
    Err err = tell->env.keep(tell->env.ctx, &told->delta);
    buf_deinit(&told->own);
    return err;
}

static Err encode(LiveTell *tell) {
    Err err = OK;
    for (uint32_t i = 0; i < tell->table_count; i++) {
        for (Told *told = tell->tables[i].first; told && err == OK; told = told->next) {
            err = live_tell_is_stopped(tell) ? ERR_CLOSED : told_encode(tell, told);
        }
    }
    if (err != OK) return err;
    for (uint32_t i = 0; i < tell->table_count; i++) {
        for (Told *told = tell->tables[i].first; told; told = told->next) {
            if (told->delta.inserts.ptr) continue;
            told->delta.inserts.ptr = tell->encoded.ptr + told->at;
            told->delta.deletes.ptr = tell->encoded.ptr + told->deletes_at;
        }
    }
    return OK;
}

Err live_tell_run(LiveTell *tell, const LiveChange *changes, size_t count, const Snapshot *before) {
    pthread_mutex_lock(&tell->mutex);
    tell->stab.take = take;
    tell->stab.ctx = tell;
    Err err = rows_stab(tell, changes, count, before);
    if (err == OK) err = encode(tell);
    tell->is_ready = err == OK;
    livemap_deinit(&tell->found);
    pthread_mutex_unlock(&tell->mutex);
    return err;
}

// ── the commit ─────────────────────────────────────────────────────────────────────────────────

bool live_tell_use(LiveTell *tell) {
    if (!tell->live || !tell->is_ready) return false;
    LiveStats *stats = &tell->live->stats;
    tell->is_used = true;
    stats->groups_tested += tell->stab.tested;
    stats->ranges_seen += tell->stab.seen;
    stats->rows_encoded += tell->rows;
    return true;
}

const ToldTable *tell_of(const Live *live, uint32_t table_id) {
    return live->tell && live->tell->is_used ? table_in(live->tell, table_id) : NULL;
}

void tell_used(Live *live) {
    if (live->tell) live->tell->is_used = false;
}
