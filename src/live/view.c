// view.c: which results there are, which are current, and what becomes of them when a transaction
// ends. Their rows are view_rows.c's.
//
//             views_check             views_returned, commit
//   (none) ──────────────> STALE ───────────────────────────> CURRENT ──┐
//                            ▲ │ views_failed, commit                    │ its reads changed and
//              views_check   │ ▼ (somebody had asked)                    │ nobody watches
//              tells why ── FAILED                                       │
//                            ▲───────────────────────────────────────────┘ STALE
//
//   STALE, CURRENT ── views_defer, commit ──> LATE ── views_late_begin, commit ──> CURRENT, or LATE
//   again where its reads have changed in the meantime
//
// Nothing of this happens before the commit: a transaction that is rolled back leaves every result
// as it was, save that one may be STALE that need not be.
#include "live/view_private.h"

// An engine interprets before it compiles.
#define COLD_RUNS      4
#define LATE_TRIES_MAX 8

// ── finding results ────────────────────────────────────────────────────────────────────────────

static uint64_t view_hash(uint32_t table_id, const QueryViewKey *key) {
    return load_u64(key->hash) ^ bytes_hash(BYTES(&table_id, sizeof table_id));
}

static View *view_find(const Views *views, uint32_t table_id, const QueryViewKey *key) {
    uint64_t hash = view_hash(table_id, key);
    uint32_t at = livemap_first(&views->map, hash);
    View *view;
    while ((view = livemap_at(&views->map, at)) &&
           !(view->table_id == table_id && memcmp(&view->key, key, sizeof *key) == 0)) {
        at = livemap_next(&views->map, hash, at);
    }
    return view;
}

const CatalogTable *view_table(const View *view) {
    const CatalogTable *table = catalog_table(db_catalog(view->views->db), view->table_id);
    return table && table->is_view ? table : NULL;
}

static const ViewDef *view_def(const Views *views, const CatalogTable *table) {
    for (uint32_t i = 0; table && views->def && i < views->def->view_count; i++) {
        if (str_eq(views->def->views[i].name, table->name)) return &views->def->views[i];
    }
    return NULL;
}

// NULL: nothing is known.
static ViewHistory *view_history(const View *view) {
    const ViewDef *def = view_def(view->views, view_table(view));
    return def && view->views->history ? &view->views->history[def - view->views->def->views]
                                       : NULL;
}

static View *view_obtain(Views *views,
                         uint32_t table_id,
                         const QueryViewKey *key,
                         const Identity *caller) {
    View *view = view_find(views, table_id, key);
    if (view) return view;
    if (!livemap_reserve(&views->map) || !(view = MEM_NEW(View))) return NULL;
    view->views = views;
    view->table_id = table_id;
    view->key = *key;
    view->sender = *caller;
    const ViewHistory *history = view_history(view);
    view->slow = history && history->slow;
    view->next = views->all;
    view->link = &views->all;
    if (view->next) view->next->link = &view->next;
    views->all = view;
    livemap_insert(&views->map, view_hash(table_id, key), view);
    views->idle_count++;
    return view;
}

static void late_add(View *view) {
    Views *views = view->views;
    if (view->late_queued || view->late_running) return;
    view->late_queued = true;
    view->next_late = NULL;
    *views->late_end = view;
    views->late_end = &view->next_late;
}

static void late_remove(Views *views, View *view) {
    View **link = &views->late;
    while (*link != view) {
        link = &(*link)->next_late;
    }
    *link = view->next_late;
    if (views->late_end == &view->next_late) views->late_end = link;
    view->late_queued = false;
}

static void watch_drop(Views *views, Watch **watch) {
    if (!*watch) return;
    watch_remove(views->watchers, watch);
    views->watch_count--;
}

static void view_free(View *view) {
    Views *views = view->views;
    ASSERT(!view->uses && !view->queued && !view->touched);
    if (view->late_queued) late_remove(views, view);
    watch_drop(views, &view->watch);
    views->idle_count--;
    livemap_remove(&views->map, view_hash(view->table_id, &view->key), view);
    *view->link = view->next;
    if (view->next) view->next->link = view->link;
    mem_free(view->reason);
    mem_free(view);
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

Err views_open(Db *db, const QueryCatalog *catalog, Views **out) {
    Views *views = MEM_NEW(Views);
    if (!views) return ERR_NOMEM;
    views->db = db;
    views->catalog = catalog;
    views->queue_end = &views->queue;
    views->late_end = &views->late;
    views->since = UINT64_MAX;
    Err err = watchers_new(&views->watchers);
    if (err != OK) {
        mem_free(views);
        return err;
    }
    *out = views;
    return OK;
}

static void run_end(Views *views) {
    if (views->reader) reader_free(&views->reader);
    if (views->reads) readset_free(&views->reads);
    views->running = NULL;
    views->running_def = NULL;
}

void views_close(Views **handle) {
    Views *views = *handle;
    if (!views) return;
    *handle = NULL;
    run_end(views);
    views_rolled_back(views);
    while (views->all) {
        view_free(views->all);
    }
    watchers_free(&views->watchers);
    livemap_deinit(&views->map);
    writeset_deinit(&views->writes);
    mem_free(views->hit);
    mem_free(views->history);
    buf_deinit(&views->rows);
    mem_free(views);
}

void views_define(Views *views, const ModuleDef *def) {
    mem_free(views->history);
    views->history = mem_zalloc(MAX(def->view_count, 1u) * sizeof *views->history);
    views->def = def;
}

void views_set_now(Views *views, Micros now) {
    views->now = now;
}

ViewsStats views_stats(const Views *views) {
    ViewsStats stats = views->stats;
    stats.results = views->map.count;
    for (const View *view = views->all; view; view = view->next) {
        stats.watched += view->uses != NULL;
    }
    return stats;
}

// ── who watches ────────────────────────────────────────────────────────────────────────────────

Err view_watch(Views *views,
               uint32_t table_id,
               const QueryViewKey *key,
               const Identity *caller,
               Group *group) {
    ViewUse *use = MEM_NEW(ViewUse);
    View *view = use ? view_obtain(views, table_id, key, caller) : NULL;
    if (!view) {
        mem_free(use);
        return ERR_NOMEM;
    }
    if (!view->uses) views->idle_count--;
    GroupMore *more = group_more(group);
    *use = (ViewUse){view, group, view->uses, &view->uses, more->views};
    if (use->next) use->next->link = &use->next;
    view->uses = use;
    more->views = use;
    return OK;
}

void view_unwatch(GroupMore *more) {
    while (more->views) {
        ViewUse *use = more->views;
        View *view = use->view;
        more->views = use->more;
        *use->link = use->next;
        if (use->next) use->next->link = use->link;
        mem_free(use);
        view->used = view->views->now;
        if (!view->uses) view->views->idle_count++;
    }
}

// ── the list ───────────────────────────────────────────────────────────────────────────────────

static void queue_add(Views *views, View *view) {
    if (view->queued) return;
    view->queued = true;
    view->next_queued = NULL;
    *views->queue_end = view;
    views->queue_end = &view->next_queued;
}

static View *queue_take(Views *views) {
    View *view = views->queue;
    if (!view) return NULL;
    views->queue = view->next_queued;
    if (!views->queue) views->queue_end = &views->queue;
    view->queued = false;
    return view;
}

bool views_waiting(const Views *views) {
    return views->queue != NULL;
}

void views_since(Views *views, uint64_t version) {
    views->since = version;
}

// It is told once to who asked first, or to all who waited.
static Err failed_before(View *view, Diag *diag) {
    if (!view->failed_late) view->state = VIEW_STALE;
    return diag_fail(diag, ERR_MODULE, "%s", view->reason ? view->reason : err_text(ERR_NOMEM));
}

Err views_check(Views *views, const Query *query, Diag *diag) {
    if (!query->table->is_view) return OK;
    View *view = view_obtain(views, query->table->table_id, &query->view_key, &query->view_caller);
    if (!view) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    view->used = views->now;
    bool waited = views->since != UINT64_MAX;
    if (view->state == VIEW_CURRENT) return OK;
    if (view->state == VIEW_FAILED && (waited || !view->failed_late))
        return failed_before(view, diag);
    if (view->state == VIEW_LATE && waited && view->as_of >= views->since) return OK;
    if (view->slow || view->state == VIEW_LATE) {
        view->state = VIEW_LATE;
        late_add(view);
        return ERR_BUSY;
    }
    queue_add(views, view);
    return ERR_AGAIN;
}

static void touch(Views *views, View *view) {
    if (view->touched) return;
    view->touched = true;
    view->next_touched = views->touched;
    views->touched = view;
}

static void defer(Views *views, View *view) {
    touch(views, view);
    view->deferred = true;
}

static void take_hit(void *ctx, void *owner) {
    Views *views = ctx;
    // There is room for all of them: each has one registration before a transaction's runs.
    ASSERT(views->hit_count < views->hit_cap);
    views->hit[views->hit_count++] = owner;
}

static Err hit_reserve(Views *views) {
    views->hit_count = 0;
    if (views->watch_count <= views->hit_cap) return OK;
    View **hit = mem_realloc(views->hit, views->watch_count * sizeof *hit);
    if (!hit) return ERR_NOMEM;
    views->hit = hit;
    views->hit_cap = views->watch_count;
    return OK;
}

// What was prepared beside the loop is not among the store's changes.
static Err match_bulk(Views *views) {
    const TxnChange *changes;
    uint32_t at = 0;
    size_t count;
    Err err = OK;
    while (err == OK && (changes = db_bulk_changes(views->db, &at, &count))) {
        if (watchers_want(views->watchers, changes->table_id))
            err = watchers_match_more(views->watchers, changes, count, take_hit, views);
    }
    return err;
}

Err views_find_stale(Views *views) {
    if (views->watch_count == 0) return OK;
    Err err = hit_reserve(views);
    if (err == OK)
        err = writeset_collect(&views->writes, db_store(views->db), db_catalog(views->db));
    if (err == OK)
        err = watchers_match(views->watchers,
                             views->writes.changes,
                             views->writes.count,
                             take_hit,
                             views);
    if (err == OK) err = match_bulk(views);
    for (uint32_t i = 0; err == OK && i < views->hit_count; i++) {
        View *view = views->hit[i];
        if (view->uses && view->slow) {
            defer(views, view);
        } else if (view->uses) {
            queue_add(views, view);
        } else {
            // Nobody would hear of it: whoever asks next has it computed.
            watch_drop(views, &view->watch);
            view->state = VIEW_STALE;
        }
    }
    return err;
}

void views_all_stale(Views *views) {
    for (View *view = views->all; view; view = view->next) {
        if (view->uses) {
            // One that the migration removed stays as it is, in case that is undone.
            if (view_table(view)) queue_add(views, view);
        } else {
            watch_drop(views, &view->watch);
            view->state = VIEW_STALE;
        }
    }
}

// ── running one ────────────────────────────────────────────────────────────────────────────────

static Err run_begin(Views *views, View *view) {
    views->running = view;
    views->running_def = view_def(views, view_table(view));
    touch(views, view);
    view->failed = view->deferred = view->stays_late = false;
    view->as_of_new = 0;
    watch_drop(views, &view->watch_new);
    if (!views->running_def) return ERR_NOT_FOUND;
    Err err = readset_new(&views->reads);
    return err == OK ? reader_new(views->db, NULL, views->reads, &views->reader) : err;
}

bool views_next(Views *views, ViewRun *out) {
    ASSERT(!views->running);
    for (View *view; (view = queue_take(views));) {
        Err err = run_begin(views, view);
        if (err == OK) {
            views->stats.runs++;
            ViewHistory *history = view_history(view);
            bool is_cold = history && history->runs < COLD_RUNS;
            if (is_cold) history->runs++;
            *out = (ViewRun){.def = views->running_def,
                             .is_cold = is_cold,
                             .is_alone = view->alone,
                             .sender = view->sender,
                             .access = reader_access(views->reader)};
            return true;
        }
        views_failed(views, str_from(err == ERR_NOT_FOUND ? "no such view" : err_text(err)));
    }
    return false;
}

Err views_returned(Views *views, Bytes returned, Diag *diag) {
    View *view = views->running;
    const CatalogTable *table = view_table(view);
    Err err = view_rows_take(views, table, returned, diag);
    if (err == OK) err = watch_add(views->watchers, views->reads, view, &view->watch_new);
    if (err == OK) views->watch_count++;
    if (err == OK) err = view_rows_store(views, table, diag);
    if (err == OK) {
        run_end(views);
        return OK;
    }
    watch_drop(views, &view->watch_new);
    return err == ERR_NOMEM ? diag_fail(diag, err, "%s", err_text(err)) : err;
}

void views_defer(Views *views) {
    View *view = views->running;
    views_set_slow(view, true);
    defer(views, view);
    run_end(views);
}

void views_failed(Views *views, Str reason) {
    View *view = views->running;
    const CatalogTable *table = view_table(view);
    uint64_t deleted;
    views->stats.failures++;
    view->failed = true;
    mem_free(view->reason);
    view->reason = mem_alloc(reason.len + 1);
    if (view->reason) {
        memcpy(view->reason, reason.ptr, reason.len);
        view->reason[reason.len] = 0;
    }
    // Rows that stay for want of memory mean nothing and are read by nobody (1).
    if (table) (void)!view_rows_delete(views, table, &view->key, &deleted);
    run_end(views);
}

void views_fail_waiting(Views *views, Str reason) {
    for (View *view; (view = queue_take(views));) {
        views->running = view;
        touch(views, view);
        views_failed(views, reason);
    }
}

// ── the end of the transaction ─────────────────────────────────────────────────────────────────

static View *touched_take(Views *views) {
    View *view = views->touched;
    if (!view) return NULL;
    views->touched = view->next_touched;
    view->touched = false;
    return view;
}

void views_committed(Views *views, ViewsEnded ended, void *ctx) {
    ASSERT(!views->running && !views->queue);
    for (View *view; (view = touched_take(views));) {
        watch_drop(views, &view->watch);
        view->watch = view->watch_new;
        view->watch_new = NULL;
        if (view->deferred) {
            views->stats.late++;
            view->state = VIEW_LATE;
            late_add(view);
        } else if (!view->failed && view->stays_late) {
            watch_drop(views, &view->watch);
            view->as_of = view->as_of_new;
            view->state = VIEW_LATE;
            late_add(view);
        } else if (!view->failed) {
            view->state = VIEW_CURRENT;
        } else if (view->uses) {
            view->state = VIEW_STALE;
            ended(ctx, view, view->reason ? view->reason : err_text(ERR_NOMEM));
        } else {
            view->state = VIEW_FAILED;
            view->failed_late = view->as_of_new != 0;
        }
        view->deferred = view->stays_late = view->alone = false;
    }
}

void views_rolled_back(Views *views) {
    run_end(views);
    while (queue_take(views)) {
    }
    for (View *view; (view = touched_take(views));) {
        watch_drop(views, &view->watch_new);
        view->failed = view->deferred = view->stays_late = view->alone = false;
    }
}

// ── late results ───────────────────────────────────────────────────────────────────────────────

bool views_next_late(Views *views, ViewLate *out) {
    for (View *view; (view = views->late);) {
        late_remove(views, view);
        if (view->state != VIEW_LATE) continue;  // a new version of the module has computed it
        const ViewDef *def = view_def(views, view_table(view));
        if (!def) {  // a new version of the module has no such view
            view->state = VIEW_STALE;
            continue;
        }
        view->late_running = true;
        views->stats.runs++;
        *out = (ViewLate){.view = view, .def = def, .sender = view->sender};
        return true;
    }
    return false;
}

void views_late_again(View *view) {
    view->late_running = false;
    if (view->state == VIEW_LATE) late_add(view);
}

bool views_late_is_hopeless(View *view) {
    return ++view->late_tries >= LATE_TRIES_MAX;
}

void views_late_alone(View *view) {
    ASSERT(view->late_running);
    view->late_running = false;
    view->late_tries = 0;
    if (view->state != VIEW_LATE) return;
    view->alone = true;
    queue_add(view->views, view);
}

Err views_late_begin(View *view, const ReadSet *reads, uint64_t version, bool fresh) {
    Views *views = view->views;
    ASSERT(!views->running && view->late_running);
    view->late_running = false;
    view->late_tries = 0;
    views->running = view;
    views->running_def = view_def(views, view_table(view));
    touch(views, view);
    view->failed = view->deferred = false;
    view->stays_late = !fresh;
    view->as_of_new = version;
    return views->running_def ? readset_copy(reads, &views->reads) : ERR_NOT_FOUND;
}

void views_set_slow(View *view, bool slow) {
    ViewHistory *history = view_history(view);
    view->slow = slow;
    if (history) history->slow = slow;
}

// ── results nobody watches ─────────────────────────────────────────────────────────────────────

static bool is_idle(const View *view) {
    return !view->uses && !view->queued && !view->touched && view->state != VIEW_LATE &&
           !view->late_running;
}

bool views_any(const Views *views) {
    return views->all != NULL;
}

bool views_crowded(const Views *views) {
    return views->idle_count > VIEWS_KEEP_MAX;
}

Micros views_next_expiry(const Views *views) {
    Micros next = INT64_MAX, keep = views_crowded(views) ? 0 : VIEWS_KEEP_US;
    for (const View *view = views->all; view; view = view->next) {
        if (is_idle(view)) next = MIN(next, view->used + keep);
    }
    return next;
}

Err views_expire(Views *views) {
    enum { ROWS = 4096 };
    uint64_t total = 0;
    Micros keep = views_crowded(views) ? 0 : VIEWS_KEEP_US;
    for (View *view = views->all, *next; view && total < ROWS; view = next) {
        next = view->next;
        if (!is_idle(view) || view->used + keep > views->now) continue;
        const CatalogTable *table = view_table(view);
        uint64_t deleted = 0;
        // Should the transaction be rolled back, its rows are there again and mean nothing.
        Err err = table ? view_rows_delete(views, table, &view->key, &deleted) : OK;
        if (err != OK) return err;
        total += deleted + 1;
        views->stats.expired++;
        view_free(view);
    }
    return OK;
}
