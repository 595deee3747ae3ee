// subscribe.c: clients, their query sets, and the rows a set begins and ends with.
//
// A set is registered all or nothing: it is filled beside the client's map and enters it last, with
// steps that cannot fail. Queries of one set are the same when their trimmed texts are (spec §7.5);
// two spellings of one query are two queries that happen to share a group, and their rows are
// delivered once for each, in the first answer, in updates and in the last one alike.
//
// Of a distinct client (live.h) a text is watched once, whichever sets hold it: its sets share Helds.
#include "base/mem.h"
#include "live/prepare.h"

// ── query texts ────────────────────────────────────────────────────────────────────────────────

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static Str trimmed(Str text) {
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

typedef struct Texts {  // of one request: expanded, each once
    Arena *arena;
    const QueryCaller *caller;
    Str *list;
    uint32_t count, cap;
    uint32_t most;
    LiveMap seen;  // hash -> 1 + position, as a pointer
    Err err;
} Texts;

static bool texts_has(const Texts *t, Str text, uint64_t hash) {
    uint32_t at = livemap_first(&t->seen, hash);
    void *item;
    while ((item = livemap_at(&t->seen, at)) && !str_eq(t->list[(uintptr_t)item - 1], text)) {
        at = livemap_next(&t->seen, hash, at);
    }
    return item != NULL;
}

static bool texts_grow(Texts *t) {
    if (t->count < t->cap) return true;
    uint32_t cap = t->cap ? t->cap * 2 : 8;
    Str *list = mem_realloc(t->list, cap * sizeof *list);
    if (!list) return false;
    t->list = list;
    t->cap = cap;
    return true;
}

static void texts_add(Texts *t, Str text) {
    uint64_t hash = bytes_hash(str_bytes(text));
    if (t->err != OK || texts_has(t, text, hash)) return;
    if (t->count == t->most) {
        t->err = ERR_LIMIT;
        return;
    }
    Str copy = arena_str(t->arena, text);
    if (!copy.ptr || !texts_grow(t) || !livemap_reserve(&t->seen)) {
        t->err = ERR_NOMEM;
        return;
    }
    t->list[t->count++] = copy;
    livemap_insert(&t->seen, hash, (void *)(uintptr_t)t->count);
}

static bool add_table(void *ctx, const CatalogTable *table) {
    Texts *t = ctx;
    bool readable = table->is_public || t->caller->is_owner;
    if (table->is_system || table->is_event || !readable) return true;
    Str text = arena_printf(t->arena, "SELECT * FROM " STR_FMT, STR_ARG(table->name));
    if (text.ptr)
        texts_add(t, text);
    else
        t->err = ERR_NOMEM;
    return t->err == OK;
}

static Err texts_fill(Texts *t, const QueryCatalog *catalog, const Str *queries, uint32_t count) {
    for (uint32_t i = 0; i < count && t->err == OK; i++) {
        Str text = trimmed(queries[i]);
        if (str_eq_nocase(text, STR("SELECT * FROM *")))
            catalog->each_table(catalog->ctx, add_table, t);
        else
            texts_add(t, text);
    }
    return t->err;
}

// ── the answer ─────────────────────────────────────────────────────────────────────────────────

void answer_forget(Live *live) {
    Standing **kept = (Standing **)(void *)live->answer_kept.ptr;
    for (size_t i = 0; i < live->answer_kept.len / sizeof *kept; i++)
        standing_free(&kept[i]);
    buf_clear(&live->answer_kept);
}

// Rows wait as offsets until the last query has run: the buffer may move before.
static void answer_begin(Live *live, uint64_t cost_max) {
    enum { KEEP_BYTES = 1 << 20 };
    answer_forget(live);
    if (live->answer_bytes.cap > KEEP_BYTES) buf_deinit(&live->answer_bytes);
    buf_clear(&live->answer_bytes);
    buf_clear(&live->answer_rows);
    enum {
        PREPARED_HERE = 1000
    };  // of what is handed out, so much may be counted or arranged here
    live->answer_cost_left = cost_max == LIVE_ELSEWHERE ? PREPARED_HERE : cost_max;
    live->answer_may_move = cost_max != UINT64_MAX;
    live->answer_elsewhere = cost_max == LIVE_ELSEWHERE;
    live->answer_prepare = NULL;
}

static bool add_row(void *ctx, Bytes row) {
    RowList *list = ctx;
    rowlist_add(list, row);
    return rowlist_ok(list);
}

static LiveRows answer_entry(const Standing *standing) {
    StandingRows rows = standing_rows(standing);
    return (LiveRows){.table_name = rows.name,
                      .table_id = rows.table_id,
                      .row_type = rows.row_type,
                      .hidden_columns = rows.hidden_columns};
}

static Err answer_absent(const LiveClient *client, LiveRows entry) {
    if (!client->is_distinct) return OK;
    Live *live = client->live;
    entry.is_absent = true;
    buf_put(&live->answer_rows, &entry, sizeof entry);
    return buf_ok(&live->answer_rows) ? OK : ERR_NOMEM;
}

static Err answer_put(Live *live, LiveRows entry, const RowList *list) {
    size_t at = live->answer_bytes.len;
    rowlist_encode(&live->answer_bytes, list);
    entry.rows.len = live->answer_bytes.len - at;
    buf_put(&live->answer_rows, &entry, sizeof entry);
    bool ok = rowlist_ok(list) && buf_ok(&live->answer_bytes) && buf_ok(&live->answer_rows);
    return ok ? OK : ERR_NOMEM;
}

static Err run_patiently(Live *live, const Standing *s, bool patient, RowList *list, Diag *diag) {
    const CatalogTable *table = s->query ? s->query->table : s->nodes[s->root].leaf->table;
    Store *store = table_store(table->table);
    store_set_patient(store, patient);
    Err err = standing_run(s, NULL, live->options.bag, add_row, list, diag);
    store_set_patient(store, true);
    return err;
}

// What a query yields now. A table without rows gives no entry, event tables among them.
static Err answer_add(const LiveClient *client, const Standing *s, Diag *diag) {
    Live *live = client->live;
    const CatalogTable *table = standing_table(s);
    if (table && (table->is_event || table_row_count(table->table, NULL) == 0))
        return answer_absent(client, answer_entry(s));
    uint64_t cost = standing_cost(s, live->answer_cost_left);
    if (cost > live->answer_cost_left) live->answer_elsewhere = true;
    if (live->answer_elsewhere) return OK;
    live->answer_cost_left -= cost;
    RowList list;
    rowlist_init(&list);
    Err err = run_patiently(live, s, !live->answer_may_move, &list, diag);
    if (err == ERR_AGAIN) {  // of pages that are not in memory: somebody else may wait for them
        live->answer_elsewhere = true;
        err = OK;
    } else if (err == OK || err == ERR_LIMIT) {
        err = answer_put(live, answer_entry(s), &list);
    }
    rowlist_deinit(&list);
    return err;
}

static Err add_group(void *ctx, Bytes row) {
    return add_row(ctx, row) ? OK : ERR_NOMEM;
}

static LiveRows group_entry(const Group *group) {
    LiveRows entry = answer_entry(group->template->standing);
    entry.table_name = group_name(group);
    return entry;
}

// Groups are kept, not counted anew.
static Err answer_add_groups(Live *live, const Group *group, LiveRows entry) {
    RowList list;
    rowlist_init(&list);
    Err err = tally_each(group_more(group)->tally, add_group, &list);
    if (err == OK) err = answer_put(live, entry, &list);
    rowlist_deinit(&list);
    return err;
}

static void answer_end(Live *live, LiveAnswer *out) {
    LiveRows *rows = (LiveRows *)(void *)live->answer_rows.ptr;
    uint32_t count = (uint32_t)(live->answer_rows.len / sizeof *rows);
    const uint8_t *at = live->answer_bytes.ptr;
    for (uint32_t i = 0; i < count; i++) {
        rows[i].rows.ptr = at;
        at += rows[i].rows.len;
    }
    out->rows = rows;
    out->count = count;
}

// ── sets ───────────────────────────────────────────────────────────────────────────────────────

static void sub_leave(Live *live, Sub *sub) {
    if (!sub->group) return;
    *sub->link = sub->next;
    if (sub->next) sub->next->link = sub->link;
    group_release(live, sub->group);
    sub->group = NULL;
}

static void sub_enter(Sub *sub, Group *group) {
    sub->group = group;
    sub->next = group->subs;
    sub->link = &group->subs;
    if (sub->next) sub->next->link = &sub->next;
    group->subs = sub;
}

static Bytes sub_own(const Sub *sub) {
    return BYTES((const uint8_t *)sub + sub->own_at, sub->own_len);
}

Str sub_text(const Sub *sub) {
    Buf *text = &sub->set->client->live->text;
    buf_clear(text);
    text_put(sub->shape, sub_own(sub), text);
    return buf_ok(text) ? bytes_str(buf_bytes(text)) : STR_NONE;
}

static uint64_t text_hash(const Sub *sub) {
    return bytes_hash(sub_own(sub)) ^ bytes_hash(BYTES(&sub->shape, sizeof sub->shape));
}

// Who watches the query of this Sub for its distinct client.
static Held *held_find(const Sub *sub) {
    const LiveMap *map = &sub->set->client->held;
    uint64_t hash = text_hash(sub);
    uint32_t at = livemap_first(map, hash);
    Held *held;
    while ((held = livemap_at(map, at)) &&
           !(held->sub.shape == sub->shape && bytes_eq(sub_own(&held->sub), sub_own(sub)))) {
        at = livemap_next(map, hash, at);
    }
    return held;
}

static Err held_new(LiveClient *client, const Sub *of, Group *group, Held **out) {
    Bytes own = sub_own(of);
    Held *held = mem_zalloc(sizeof *held + own.len);
    if (!held || !livemap_reserve(&client->held)) {
        mem_free(held);
        return ERR_NOMEM;
    }
    if (own.len) memcpy(held->own, own.ptr, own.len);
    held->sub.shape = text_again(of->shape);
    held->sub.own_at = offsetof(Held, own) - offsetof(Held, sub);
    held->sub.own_len = of->own_len;
    held->sub.set = &client->all;
    sub_enter(&held->sub, group);
    livemap_insert(&client->held, text_hash(&held->sub), held);
    *out = held;
    return OK;
}

static void held_take(Sub *sub, Held *held) {
    sub->held = held;
    held->holders++;
}

static void held_drop(LiveClient *client, Sub *sub) {
    Held *held = sub->held;
    sub->held = NULL;
    if (!held || --held->holders) return;
    livemap_remove(&client->held, text_hash(&held->sub), held);
    sub_leave(client->live, &held->sub);
    text_release(&client->live->shapes, &held->sub.shape);
    mem_free(held);
}

// Does another set of the client keep the query, so that this one neither brings nor takes its rows?
static bool is_held_elsewhere(const Sub *sub) {
    const QuerySet *set = sub->set;
    return set->client->is_distinct && set->id < LIVE_SET_WHOLE && sub->held->holders > 1;
}

void queryset_leave(QuerySet *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->client->is_distinct)
            held_drop(set->client, queryset_sub(set, i));
        else
            sub_leave(set->client->live, queryset_sub(set, i));
    }
}

static void queryset_free(QuerySet *set) {
    queryset_leave(set);
    for (uint32_t i = 0; i < set->count; i++)
        text_release(&set->client->live->shapes, &queryset_sub(set, i)->shape);
    mem_free(set);
}

// What went wrong with which query: the original's wrapping (spec §7.7).
static Err fail_query(Diag *diag, const Diag *cause, Err err, const Sub *sub) {
    Str text = sub_text(sub);
    return diag_fail(diag,
                     err,
                     "%.1400s, executing: `%.*s`",
                     cause->text,
                     (int)utf8_cut(text, 500),
                     text.ptr);
}

static Err sub_compile(const Sub *sub, Standing **out, Diag *diag) {
    Diag cause;
    diag_clear(&cause);
    const LiveClient *client = sub->set->client;
    const Live *live = client->live;
    Str text = sub_text(sub);
    if (!text.ptr) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    Err err = standing_compile(text,
                               live->options.strict_index,
                               live->catalog,
                               &client->caller,
                               out,
                               &cause);
    return err == OK ? OK : fail_query(diag, &cause, err, sub);
}

typedef struct ViewsCheck {
    Views *views;
    Diag *diag;
    bool again, busy;
} ViewsCheck;

// A result that is not there yet does not stop the others from being asked for.
static Err view_check(void *ctx, const Query *query) {
    ViewsCheck *check = ctx;
    if (!query->table->is_view) return OK;
    Err err = views_check(check->views, query, check->diag);
    check->again |= err == ERR_AGAIN;
    check->busy |= err == ERR_BUSY;
    return err == ERR_AGAIN || err == ERR_BUSY ? OK : err;
}

static Err views_check_all(const Sub *sub, const Standing *standing, Diag *diag) {
    Diag cause;
    diag_clear(&cause);
    ViewsCheck check = {.views = sub->set->client->live->views, .diag = &cause};
    Err err = standing_each_query(standing, view_check, &check);
    if (err != OK) return fail_query(diag, &cause, err, sub);
    return check.again ? ERR_AGAIN : check.busy ? ERR_BUSY : OK;
}

// Who subscribes is held to the row limit; who did so before it was set goes on.
static Err limit_check(const Sub *sub, const Standing *standing, Diag *diag) {
    Diag cause;
    diag_clear(&cause);
    const LiveClient *client = sub->set->client;
    Err err = standing_check_limit(client->live->catalog, &client->caller, standing, &cause);
    return err == OK ? OK : fail_query(diag, &cause, err, sub);
}

static Err event_check(const Sub *sub, const Standing *standing, Diag *diag) {
    if (!standing_is_event(standing) || !sub->set->client->is_distinct) return OK;
    return diag_fail(
        diag,
        ERR_INVALID,
        "Subscribing to event tables requires WebSocket v2. Please upgrade your client "
        "SDK and regenerate your module bindings.");
}

static Err group_enter(Sub *sub, Group *group) {
    LiveClient *client = sub->set->client;
    if (!client->is_distinct) {
        sub_enter(sub, group);
        return OK;
    }
    Held *held;
    Err err = held_new(client, sub, group, &held);
    if (err == OK)
        held_take(sub, held);
    else
        group_release(client->live, group);
    return err;
}

static Err fail_obtain(const Sub *sub, Err err, Diag *cause, Diag *diag) {
    if (err == ERR_LIMIT && !cause->text[0])
        diag_fail(cause, err, "Subscriptions require indexes on join columns");
    if (!cause->text[0]) return diag_fail(diag, err, "%s", err_text(err));
    return fail_query(diag, cause, err, sub);
}

// Of a query that is watched already.
static Err sub_answer(const Sub *sub, const Group *group, Diag *diag) {
    const LiveClient *client = sub->set->client;
    Live *live = client->live;
    Standing *standing;
    Diag cause;
    diag_clear(&cause);
    Err err = sub_compile(sub, &standing, diag);
    if (err != OK) return err;
    if (!standing->has_groups) {
        err = answer_add(client, standing, &cause);
        standing_free(&standing);
        return err == OK ? OK : fail_obtain(sub, err, &cause, diag);
    }
    // The group may go with this set, and its template: the answer has its own of what rows are called.
    buf_put(&live->answer_kept, &standing, sizeof(Standing *));
    if (buf_ok(&live->answer_kept)) {
        err = answer_add_groups(live, group, answer_entry(standing));
    } else {
        standing_free(&standing);
        err = ERR_NOMEM;
    }
    return err == OK ? OK : fail_obtain(sub, err, &cause, diag);
}

// A query that the client has already. Answered only where the set is answered whole.
static Err held_join(Sub *sub, Held *held, bool answers, Diag *diag) {
    const LiveClient *client = sub->set->client;
    held_take(sub, held);
    if (!answers) return OK;
    if (is_held_elsewhere(sub)) return answer_absent(client, group_entry(held->sub.group));
    return sub_answer(sub, held->sub.group, diag);
}

static Err sub_check(const Sub *sub, const Standing *standing, bool answers, Diag *diag) {
    Err err = event_check(sub, standing, diag);
    if (err == OK && answers) err = limit_check(sub, standing, diag);
    if (err == OK && answers) err = views_check_all(sub, standing, diag);
    return err;
}

// What must be prepared for the query needs one of its own, for another thread.
static Err sub_prepare(const Sub *sub, Diag *diag) {
    LivePrepare *p = sub->set->client->live->answer_prepare;
    if (!p || !p->group || p->standing) return ERR_BUSY;
    Standing *standing;
    Err err = sub_compile(sub, &standing, diag);
    if (err == OK && (err = prepare_with(p, &standing)) != OK)
        diag_fail(diag, err, "%s", err_text(err));
    return err == OK ? ERR_BUSY : err;
}

static Err sub_join(Sub *sub, bool answers, Diag *diag) {
    LiveClient *client = sub->set->client;
    Live *live = client->live;
    Standing *standing;
    Group *group;
    Diag cause;
    diag_clear(&cause);
    Held *held = client->is_distinct ? held_find(sub) : NULL;
    if (held) return held_join(sub, held, answers, diag);
    Err err = sub_compile(sub, &standing, diag);
    if (err != OK) return err;
    if ((err = sub_check(sub, standing, answers, diag)) != OK) {
        standing_free(&standing);
        return err;
    }
    bool has_groups = standing->has_groups;
    if (answers && !has_groups && (err = answer_add(client, standing, &cause)) != OK)
        standing_free(&standing);
    else
        err = group_obtain(live, &standing, &group, &cause);
    if (err == OK) err = group_enter(sub, group);
    if (err == OK && answers && has_groups)
        err = answer_add_groups(live, group, group_entry(group));
    if (err == ERR_BUSY) return sub_prepare(sub, diag);
    return err == OK ? OK : fail_obtain(sub, err, &cause, diag);
}

void live_queries_free(Standing ***handle, uint32_t count) {
    Standing **queries = *handle;
    *handle = NULL;
    for (uint32_t i = 0; queries && i < count; i++) {
        standing_free(&queries[i]);
    }
    mem_free(queries);
}

// The queries of the answer, for somebody who reads elsewhere. Each is compiled once more: the one
// that matches commits may be another client's, with other parameters.
static Err answer_elsewhere(const QuerySet *set, LiveAnswer *out, Diag *diag) {
    Err err = OK;
    Standing **queries = mem_zalloc(MAX(set->count, 1u) * sizeof *queries);
    uint32_t count = 0;
    if (!queries) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    for (uint32_t i = 0; i < set->count && err == OK; i++) {
        if (is_held_elsewhere(queryset_sub(set, i))) continue;
        if ((err = sub_compile(queryset_sub(set, i), &queries[count], diag)) != OK) break;
        if (standing_is_event(queries[count])) {
            standing_free(&queries[count]);
            continue;
        }
        err = standing_detach(queries[count++]);
        if (err != OK) diag_fail(diag, err, "%s", err_text(err));
    }
    if (err != OK) {
        live_queries_free(&queries, count);
        return err;
    }
    out->queries = queries;
    out->query_count = count;
    out->bag = set->client->live->options.bag;
    return OK;
}

// What is not there yet, a view's result or what is prepared, does not stop the others from asking for
// theirs.
Err queryset_join(QuerySet *set, bool answers, Diag *diag) {
    Err err = OK;
    bool again = false, busy = false;
    for (uint32_t i = 0; i < set->count && err == OK; i++) {
        err = sub_join(queryset_sub(set, i), answers, diag);
        if (err != ERR_AGAIN && err != ERR_BUSY) continue;
        again |= err == ERR_AGAIN;
        busy |= err == ERR_BUSY;
        err = OK;
    }
    if (err == OK && (again || busy)) err = again ? ERR_AGAIN : ERR_BUSY;
    if (err != OK) queryset_leave(set);
    return err;
}

static Err fail_limit(Diag *diag, const char *what, unsigned most) {
    return diag_fail(diag, ERR_LIMIT, "Too many %s: a client may have at most %u", what, most);
}

// The texts cut, before it is known how much of them is their own.
typedef struct Cuts {
    TextShape **shapes;
    uint32_t *ends;  // of each one's own bytes
    uint32_t count;
    Buf own;
} Cuts;

static Err cuts_make(Live *live, const Texts *texts, Cuts *cuts) {
    cuts->shapes = mem_zalloc((texts->count + 1) * sizeof *cuts->shapes);
    cuts->ends = mem_zalloc((texts->count + 1) * sizeof *cuts->ends);
    Err err = cuts->shapes && cuts->ends ? OK : ERR_NOMEM;
    for (; err == OK && cuts->count < texts->count; cuts->count++) {
        uint32_t at = cuts->count;
        err = text_cut(&live->shapes, texts->list[at], &cuts->shapes[at], &cuts->own);
        cuts->ends[at] = (uint32_t)cuts->own.len;
    }
    return err;
}

static void cuts_free(Live *live, Cuts *cuts) {
    for (uint32_t i = 0; i < cuts->count; i++)
        text_release(&live->shapes, &cuts->shapes[i]);
    mem_free(cuts->shapes);
    mem_free(cuts->ends);
    buf_deinit(&cuts->own);
}

// One block, of which there may be a million.
static QuerySet *queryset_of(LiveClient *client, uint64_t id, Cuts *cuts) {
    size_t bytes = sizeof(QuerySet) + cuts->count * sizeof(Sub);
    QuerySet *set = mem_zalloc(bytes + cuts->own.len);
    if (!set) return NULL;
    uint8_t *own = (uint8_t *)set + bytes;
    if (cuts->own.len) memcpy(own, cuts->own.ptr, cuts->own.len);
    set->client = client;
    set->id = id;
    set->count = cuts->count;
    for (uint32_t i = 0; i < set->count; i++) {
        Sub *sub = queryset_sub(set, i);
        uint32_t from = i > 0 ? cuts->ends[i - 1] : 0;
        sub->set = set;
        sub->shape = cuts->shapes[i];
        sub->own_at = (uint32_t)(own + from - (uint8_t *)sub);
        sub->own_len = cuts->ends[i] - from;
        cuts->shapes[i] = NULL;  // the set's
    }
    return set;
}

// The set with its texts; no Sub has joined a group yet.
static Err queryset_new(LiveClient *client,
                        uint64_t id,
                        const Str *queries,
                        uint32_t count,
                        QuerySet **out,
                        Diag *diag) {
    Arena arena = {.block_bytes = 256};  // most sets are one short query
    Cuts cuts = {0};
    Texts texts = {
        .arena = &arena,
        .caller = &client->caller,
        .most = LIVE_QUERIES_MAX - client->query_count,
    };
    Err err = texts_fill(&texts, client->live->catalog, queries, count);
    if (err == OK) err = cuts_make(client->live, &texts, &cuts);
    if (err == OK && !(*out = queryset_of(client, id, &cuts))) err = ERR_NOMEM;
    cuts_free(client->live, &cuts);
    mem_free(texts.list);
    livemap_deinit(&texts.seen);
    arena_deinit(&arena);
    return err == ERR_LIMIT ? fail_limit(diag, "queries", LIVE_QUERIES_MAX) : err;
}

// ── clients ────────────────────────────────────────────────────────────────────────────────────

static uint64_t set_hash(uint64_t id) {
    return bytes_hash(BYTES(&id, sizeof id));
}

QuerySet *client_set(const LiveClient *client, uint64_t id) {
    uint64_t hash = set_hash(id);
    uint32_t at = livemap_first(&client->sets, hash);
    QuerySet *set;
    while ((set = livemap_at(&client->sets, at)) && set->id != id) {
        at = livemap_next(&client->sets, hash, at);
    }
    return set;
}

static void client_add_set(LiveClient *client, QuerySet *set) {  // after livemap_reserve
    livemap_insert(&client->sets, set_hash(set->id), set);
    client->query_count += set->count;
    client->live->stats.query_sets++;
}

void client_remove_set(LiveClient *client, QuerySet *set) {
    livemap_remove(&client->sets, set_hash(set->id), set);
    client->query_count -= set->count;
    client->live->stats.query_sets--;
    queryset_free(set);
}

void client_remove_all(LiveClient *client) {
    for (uint32_t i = 0; client->sets.count;) {
        QuerySet *set = livemap_slot(&client->sets, i);
        if (set)
            client_remove_set(client, set);  // another one may have moved into its place
        else
            i = (i + 1) % client->sets.size;
    }
}

void live_client_distinct(LiveClient *client) {
    ASSERT(client->sets.count == 0);
    client->is_distinct = true;
    client->all.client = client;
}

Err live_client_open(Live *live, void *owner, const QueryCaller *caller, LiveClient **out) {
    LiveClient *client = MEM_NEW(LiveClient);
    if (!client) return ERR_NOMEM;
    client->live = live;
    client->owner = owner;
    client->caller = *caller;
    client->next = live->clients;
    client->link = &live->clients;
    if (client->next) client->next->link = &client->next;
    live->clients = client;
    live->stats.clients++;
    *out = client;
    return OK;
}

void live_client_close(LiveClient **client) {
    LiveClient *c = *client;
    if (!c) return;
    for (uint32_t i = 0; i < c->sets.size; i++) {
        QuerySet *set = livemap_slot(&c->sets, i);
        if (set) queryset_free(set);
    }
    c->live->stats.query_sets -= c->sets.count;
    c->live->stats.clients--;
    livemap_deinit(&c->sets);
    livemap_deinit(&c->held);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    mem_free(c);
    *client = NULL;
}

// ── subscribe, unsubscribe ─────────────────────────────────────────────────────────────────────

static Err subscribe(LiveClient *client, QuerySet *set, LiveAnswer *out, Diag *diag) {
    if (!livemap_reserve(&client->sets))
        return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    Live *live = client->live;
    Err err = queryset_join(set, true, diag);
    out->prepare = live->answer_prepare;
    live->answer_prepare = NULL;
    if (err != ERR_BUSY) live_prepare_release(&out->prepare);
    if (err == OK && live->answer_elsewhere) err = answer_elsewhere(set, out, diag);
    if (err == OK) client_add_set(client, set);
    return err;
}

Err live_subscribe_within(LiveClient *client,
                          uint64_t query_set,
                          const Str *queries,
                          uint32_t count,
                          uint64_t cost_max,
                          LiveAnswer *out,
                          Diag *diag) {
    Live *live = client->live;
    ASSERT(live->schema_version == live->catalog->schema_version);
    *out = (LiveAnswer){0};
    if (client_set(client, query_set))
        return diag_fail(diag,
                         ERR_EXISTS,
                         "Subscription with id %u already exists for client",
                         (unsigned)query_set);
    if (client->sets.count >= LIVE_SETS_MAX) return fail_limit(diag, "query sets", LIVE_SETS_MAX);
    answer_begin(live, cost_max);
    QuerySet *set = NULL;
    Err err = queryset_new(client, query_set, queries, count, &set, diag);
    if (err == ERR_NOMEM) return diag_fail(diag, err, "%s", err_text(err));
    if (err != OK) return err;
    if ((err = subscribe(client, set, out, diag)) != OK) {
        queryset_free(set);
        return err;
    }
    if (!out->queries) answer_end(live, out);
    return OK;
}

Err live_subscribe(LiveClient *client,
                   uint64_t query_set,
                   const Str *queries,
                   uint32_t count,
                   const LiveRows **out,
                   uint32_t *out_count,
                   Diag *diag) {
    LiveAnswer answer;
    Err err = live_subscribe_within(client, query_set, queries, count, UINT64_MAX, &answer, diag);
    *out = answer.rows;
    *out_count = answer.count;
    return err;
}

// The rows that the set's queries yield now, with the multiplicity of the first answer.
static Err set_answer(const QuerySet *set, LiveAnswer *out, Diag *diag) {
    Live *live = set->client->live;
    Err err = OK;
    for (uint32_t i = 0; i < set->count && err == OK && !live->answer_elsewhere; i++) {
        const Sub *sub = queryset_sub(set, i);
        const Group *group = set->client->is_distinct ? sub->held->sub.group : sub->group;
        if (!is_held_elsewhere(sub)) {
            err = sub_answer(sub, group, diag);
        } else if ((err = answer_absent(set->client, group_entry(group))) != OK) {
            diag_fail(diag, err, "%s", err_text(err));
        }
    }
    if (err != OK) return err;
    return live->answer_elsewhere ? answer_elsewhere(set, out, diag) : OK;
}

Err live_unsubscribe_within(LiveClient *client,
                            uint64_t query_set,
                            bool want_rows,
                            uint64_t cost_max,
                            LiveAnswer *out,
                            Diag *diag) {
    Live *live = client->live;
    ASSERT(live->schema_version == live->catalog->schema_version);
    *out = (LiveAnswer){0};
    QuerySet *set = client_set(client, query_set);
    if (!set) {
        char who[IDENTITY_HEX_LEN + 1];
        identity_hex(&client->caller.identity, who);
        if (client->sets.count == 0)
            return diag_fail(diag, ERR_NOT_FOUND, "Client not found: %s", who);
        return diag_fail(diag, ERR_NOT_FOUND, "Subscription not found: %u", (unsigned)query_set);
    }
    answer_begin(live, cost_max);
    Err err = want_rows ? set_answer(set, out, diag) : OK;
    if (err != OK) return err;
    client_remove_set(client, set);
    if (!out->queries) answer_end(live, out);
    return OK;
}

Err live_unsubscribe(LiveClient *client,
                     uint64_t query_set,
                     bool want_rows,
                     const LiveRows **out,
                     uint32_t *out_count,
                     Diag *diag) {
    LiveAnswer answer;
    Err err = live_unsubscribe_within(client, query_set, want_rows, UINT64_MAX, &answer, diag);
    *out = answer.rows;
    *out_count = answer.count;
    return err;
}
