// since.c: commits folded into what is different, by table and key; the queries asked about that.
//
// ALWAYS TRUE
//   (1) The first operation on a key says whether a row was there before, the last whether one is now:
//       an insert never meets a row, everything else does.
//   (2) A FoldEntry's row borrows from the commits, its key from them or from the arena.
#include "live/since.h"

#include <stdlib.h>

#include "base/mem.h"
#include "txn/catalog.h"

// An answer of this size is not worth a look at whether the whole one were shorter.
#define SMALL_BYTES 4096

typedef struct FoldEntry {
    uint64_t hash;
    Bytes key;  // the clustering key; in a table without primary key the row
    bool was, is;
    Bytes row;  // when it is
} FoldEntry;

typedef struct Fold {
    FoldEntry *entries;
    uint32_t count, cap;
    uint32_t *slots;  // entry + 1
    uint32_t mask;
} Fold;

// The queries whose rows a client holds under one name.
typedef struct SinceGroup {
    Str name;
    const SinceQuery **queries;
    uint32_t count;
    const Query *query;  // any of them, if all are of one table; NULL: they cannot be followed
    bool is_whole;       // there is more than can be told row by row
    bool is_touched;     // something it is made of may be different
    bool is_guarded;
    uint64_t operations;
    Fold fold;
    SinceTable answer;
    Buf gone, rows;
} SinceGroup;

typedef struct Watch {  // sorted by table
    uint32_t table_id;
    SinceGroup *group;
    bool folds;  // the group's own table, of which all its queries are
} Watch;

struct Since {
    SinceOptions options;
    Arena arena;
    SinceQuery *queries;
    SinceGroup *groups;
    uint32_t count;
    Watch *watches;
    uint32_t watch_count, watch_cap;
    SinceTable *answers;
    uint64_t rows_left, bytes_left;  // 0: no limit
    Buf scratch;
};

// ── the queries ────────────────────────────────────────────────────────────────────────────────

static bool is_followed(const Standing *standing) {
    const Query *q = standing->query;
    return q && !standing->has_groups && !q->table->is_view && !q->has_limit &&
           q->projection == QPROJECT_ROW;
}

static SinceGroup *group_named(Since *since, Str name) {
    for (uint32_t i = 0; i < since->count; i++) {
        if (str_eq(since->groups[i].name, name)) return &since->groups[i];
    }
    SinceGroup *group = &since->groups[since->count++];
    group->name = name;
    return group;
}

static void group_join(SinceGroup *group, const SinceQuery *query) {
    bool follows = is_followed(query->standing) && (group->count == 0 || group->query);
    group->query = follows ? query->standing->query : NULL;
    group->is_guarded |= query->is_guarded;
    group->queries[group->count++] = query;
}

typedef struct WatchFor {
    Since *since;
    SinceGroup *group;
} WatchFor;

static Err watch_add(void *ctx, const Query *query) {
    const WatchFor *of = ctx;
    Since *since = of->since;
    // What a view is made of nobody knows here.
    if (query->table->is_view) of->group->is_touched = true;
    if (since->watch_count == since->watch_cap) {
        uint32_t cap = since->watch_cap * 2 + 16;
        Watch *watches = mem_realloc(since->watches, cap * sizeof *watches);
        if (!watches) return ERR_NOMEM;
        since->watches = watches;
        since->watch_cap = cap;
    }
    since->watches[since->watch_count++] =
        (Watch){query->table->table_id, of->group, of->group->query != NULL};
    return OK;
}

static int watch_order(const void *a, const void *b) {
    const Watch *x = a, *y = b;
    if (x->table_id != y->table_id) return x->table_id < y->table_id ? -1 : 1;
    return x->group < y->group ? -1 : x->group > y->group;
}

static Err watches_fill(Since *since) {
    Err err = OK;
    for (uint32_t g = 0; g < since->count; g++) {
        WatchFor of = {since, &since->groups[g]};
        for (uint32_t i = 0; i < of.group->count && err == OK; i++) {
            err = standing_each_query(of.group->queries[i]->standing, watch_add, &of);
        }
    }
    if (err != OK || since->watch_count == 0) return err;
    qsort(since->watches, since->watch_count, sizeof *since->watches, watch_order);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < since->watch_count; i++) {
        if (watch_order(&since->watches[i], &since->watches[kept - 1]) != 0)
            since->watches[kept++] = since->watches[i];
    }
    since->watch_count = kept;
    return OK;
}

Err since_new(const SinceQuery *queries, uint32_t count, const SinceOptions *options, Since **out) {
    Since *since = MEM_NEW(Since);
    Err err = since ? OK : ERR_NOMEM;
    if (err != OK) return err;
    since->options = *options;
    since->rows_left = options->rows_max;
    since->bytes_left = options->bytes_max;
    since->queries = arena_array(&since->arena, SinceQuery, count + 1);
    since->groups = arena_array(&since->arena, SinceGroup, count + 1);
    since->answers = arena_array(&since->arena, SinceTable, count + 1);
    if (!since->queries || !since->groups || !since->answers) err = ERR_NOMEM;
    for (uint32_t i = 0; i < count && err == OK; i++) {
        since->queries[i] = queries[i];
        SinceGroup *group = group_named(since, standing_rows(queries[i].standing).name);
        if (!group->queries)
            group->queries = arena_array(&since->arena, const SinceQuery *, count - i);
        if (!group->queries)
            err = ERR_NOMEM;
        else
            group_join(group, &since->queries[i]);
    }
    if (err == OK) err = watches_fill(since);
    if (err == OK)
        *out = since;
    else
        since_free(&since);
    return err;
}

static void fold_free(Fold *fold) {
    mem_free(fold->entries);
    mem_free(fold->slots);
    *fold = (Fold){0};
}

void since_free(Since **handle) {
    Since *since = *handle;
    *handle = NULL;
    if (!since) return;
    for (uint32_t i = 0; i < since->count; i++) {
        fold_free(&since->groups[i].fold);
        buf_deinit(&since->groups[i].gone);
        buf_deinit(&since->groups[i].rows);
    }
    buf_deinit(&since->scratch);
    mem_free(since->watches);
    arena_deinit(&since->arena);
    mem_free(since);
}

// ── folding ────────────────────────────────────────────────────────────────────────────────────

static bool fold_grow(Fold *fold) {
    uint32_t cap = fold->cap ? fold->cap * 2 : 64;
    FoldEntry *entries = mem_realloc(fold->entries, cap * sizeof *entries);
    if (!entries) return false;
    fold->entries = entries;
    uint32_t *slots = mem_zalloc((size_t)cap * 2 * sizeof *slots);
    if (!slots) return false;
    mem_free(fold->slots);
    fold->slots = slots;
    fold->cap = cap;
    fold->mask = cap * 2 - 1;
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t at = (uint32_t)entries[i].hash & fold->mask;
        while (slots[at]) {
            at = (at + 1) & fold->mask;
        }
        slots[at] = i + 1;
    }
    return true;
}

// The entry of a key; *is_new: nothing is in it yet, and its key is the caller's bytes. NULL: no memory.
static FoldEntry *fold_entry(Fold *fold, Bytes key, bool *is_new) {
    uint64_t hash = bytes_hash(key);
    *is_new = false;
    if (fold->count == fold->cap && !fold_grow(fold)) return NULL;
    uint32_t at = (uint32_t)hash & fold->mask;
    for (; fold->slots[at]; at = (at + 1) & fold->mask) {
        FoldEntry *entry = &fold->entries[fold->slots[at] - 1];
        if (entry->hash == hash && bytes_eq(entry->key, key)) return entry;
    }
    *is_new = true;
    fold->slots[at] = ++fold->count;
    FoldEntry *entry = &fold->entries[fold->count - 1];
    *entry = (FoldEntry){.hash = hash, .key = key};
    return entry;
}

static void group_give_up(SinceGroup *group) {
    group->is_whole = true;
    fold_free(&group->fold);
}

static bool has_row(const CommitOp *op) {
    return op->kind == COMMIT_INSERT || op->kind == COMMIT_REPLACE;
}

static Err group_fold(Since *since, SinceGroup *group, const CommitOp *op) {
    const CatalogTable *table = group->query->table;
    bool is_keyed = table->primary_key >= 0, made = false, is_new;
    Bytes key = op->bytes;
    if (op->kind == COMMIT_TRUNCATE || ++group->operations > since->options.operations_max) {
        group_give_up(group);
        return OK;
    }
    if (is_keyed && op->kind != COMMIT_DELETE) {
        uint16_t primary = (uint16_t)table->primary_key;
        buf_clear(&since->scratch);
        key_append_columns(&since->scratch, group->query->layout, op->bytes, &primary, 1);
        if (!buf_ok(&since->scratch)) return ERR_NOMEM;
        key = buf_bytes(&since->scratch);
        made = true;
    }
    FoldEntry *entry = fold_entry(&group->fold, key, &is_new);
    if (!entry) return ERR_NOMEM;
    if (is_new) {
        entry->was = op->kind != COMMIT_INSERT;  // (1)
        if (made) entry->key = arena_bytes(&since->arena, key);
        if (made && !entry->key.ptr) return ERR_NOMEM;
    }
    entry->is = has_row(op);
    entry->row = entry->is ? op->bytes : BYTES_NONE;
    return OK;
}

// A change of these says nothing about what tables look like or who may see what.
static bool is_everyday(uint32_t table_id) {
    switch (table_id) {
    case ST_SEQUENCE:
    case ST_CLIENT:
    case ST_CONNECTION_CREDENTIALS:
    case ST_VIEW_SUB:
    case ST_VIEW_ARG:
    case ST_CALL_ONCE: return true;
    default: return table_id >= CATALOG_FIRST_USER_ID;
    }
}

static const Watch *watch_first(const Since *since, uint32_t table_id) {
    uint32_t low = 0, high = since->watch_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (since->watches[middle].table_id < table_id)
            low = middle + 1;
        else
            high = middle;
    }
    return &since->watches[low];
}

Err since_commit(void *ctx, const Commit *commit, Diag *diag) {
    Since *since = ctx;
    const Watch *end = since->watches + since->watch_count;
    Bytes ops = commit->ops;
    CommitOp op;
    Err err = OK;
    if (since->options.stop && atomic_load_explicit(since->options.stop, memory_order_relaxed))
        return ERR_CLOSED;
    while (err == OK && commit_next_op(&ops, &op)) {
        if (!is_everyday(op.table_id))
            return diag_fail(diag, ERR_UNSUPPORTED, "the database has another schema since then");
        if (op.kind == COMMIT_EVENT || since->watch_count == 0) continue;
        for (const Watch *w = watch_first(since, op.table_id);
             w < end && w->table_id == op.table_id && err == OK;
             w++) {
            w->group->is_touched = true;
            if (w->folds && !w->group->is_whole) err = group_fold(since, w->group, &op);
        }
    }
    if (err == ERR_NOMEM) diag_fail(diag, err, "%s", err_text(err));
    return err;
}

// ── answering ──────────────────────────────────────────────────────────────────────────────────

typedef struct Lists {
    RowList gone, rows;
} Lists;

static void row_list(const SinceGroup *group, Bytes row, RowList *to) {
    for (uint32_t i = 0; i < group->count; i++) {
        const Query *q = group->queries[i]->standing->query;
        if (query_matches(q, row)) rowlist_add(to, query_shown(q, row));
    }
}

// Some row with this clustering key. False: there is none to be found.
static bool key_row(Buf *out, const CatalogTable *table, Bytes key) {
    const Type *type = table->row_type;
    buf_clear(out);
    for (uint32_t i = 0; i < type->field_count; i++) {
        const Type *column = type->fields[i].type;
        bool ok = i == (uint32_t)table->primary_key ? key_read(out, column, key)
                                                    : bsatn_put_least(out, column);
        if (!ok) return false;
    }
    return out->len > 0;  // a list cannot hold what takes no bytes
}

// False: it has to be told whole.
static bool keyed_lists(Since *since, const SinceGroup *group, Lists *lists) {
    for (uint32_t i = 0; i < group->fold.count; i++) {
        const FoldEntry *entry = &group->fold.entries[i];
        if (entry->is) row_list(group, entry->row, &lists->rows);
        if (!entry->was) continue;
        if (group->is_guarded) return false;
        if (!key_row(&since->scratch, group->query->table, entry->key)) return false;
        rowlist_add(&lists->gone, buf_bytes(&since->scratch));
    }
    return buf_ok(&since->scratch);
}

static void rows_lists(const SinceGroup *group, Lists *lists) {
    for (uint32_t i = 0; i < group->fold.count; i++) {
        const FoldEntry *entry = &group->fold.entries[i];
        if (entry->was != entry->is)
            row_list(group, entry->key, entry->is ? &lists->rows : &lists->gone);
    }
}

static Err lists_encode(SinceGroup *group, const Lists *lists) {
    rowlist_encode(&group->gone, &lists->gone);
    rowlist_encode(&group->rows, &lists->rows);
    if (!rowlist_ok(&lists->gone) || !rowlist_ok(&lists->rows)) return ERR_NOMEM;
    return buf_ok(&group->gone) && buf_ok(&group->rows) ? OK : ERR_NOMEM;
}

// ERR_AGAIN: it has to be told whole. A kind of answer with two empty lists is none.
static Err changes_list(Since *since, SinceGroup *group, bool *any) {
    bool is_keyed = group->query->table->primary_key >= 0, told = true;
    Lists lists;
    rowlist_init(&lists.gone);
    rowlist_init(&lists.rows);
    if (is_keyed)
        told = keyed_lists(since, group, &lists);
    else
        rows_lists(group, &lists);
    *any = lists.gone.count > 0 || lists.rows.count > 0;
    group->answer.kind = is_keyed ? SINCE_KEYS : SINCE_ROWS;
    Err err = told ? lists_encode(group, &lists) : ERR_AGAIN;
    if (!buf_ok(&since->scratch)) err = ERR_NOMEM;
    rowlist_deinit(&lists.gone);
    rowlist_deinit(&lists.rows);
    return err;
}

static bool take_row(void *ctx, Bytes row) {
    RowList *list = ctx;
    rowlist_add(list, row);
    return rowlist_ok(list);
}

// All rows of the group into the list, as long as they keep to the limits (0: none).
static Err whole_run(const Since *since,
                     const SinceGroup *group,
                     const Snapshot *snapshot,
                     uint64_t rows_max,
                     uint64_t bytes_max,
                     RowList *list,
                     Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; i < group->count && err == OK; i++) {
        Standing *standing = group->queries[i]->standing;
        const CatalogTable *table = standing_table(standing);
        if (table && table_row_count(table->table, snapshot) == 0) continue;
        // What is exactly used up must not read as "no limit".
        uint64_t rows = rows_max ? MAX(rows_max - MIN(rows_max, list->count), 1u) : 0;
        uint64_t bytes = bytes_max ? MAX(bytes_max - MIN(bytes_max, list->rows.len), 1u) : 0;
        standing_limit(standing, since->options.stop, rows, bytes);
        err = standing_run(standing, snapshot, since->options.bag, take_row, list, diag);
    }
    if (err == ERR_LIMIT) err = ERR_NOMEM;  // the list took no more
    return err;
}

static Err whole_take(SinceGroup *group, const RowList *list) {
    Lists lists = {.rows = *list};
    rowlist_init(&lists.gone);
    buf_clear(&group->gone);
    buf_clear(&group->rows);
    group->answer.kind = SINCE_WHOLE;
    return lists_encode(group, &lists);
}

static Err whole_list(Since *since, SinceGroup *group, const Snapshot *snapshot, Diag *diag) {
    RowList list;
    rowlist_init(&list);
    Err err = whole_run(since, group, snapshot, since->rows_left, since->bytes_left, &list, diag);
    if (err == OK) err = whole_take(group, &list);
    if (since->rows_left && err == OK) since->rows_left = MAX(since->rows_left - list.count, 1u);
    if (since->bytes_left && err == OK)
        since->bytes_left = MAX(since->bytes_left - MIN(since->bytes_left, list.rows.len), 1u);
    rowlist_deinit(&list);
    return err;
}

// Where much has changed, all of it may be less to say: of a few rows by an index in a busy table.
static Err shorter_list(Since *since, SinceGroup *group, const Snapshot *snapshot, Diag *diag) {
    uint64_t bytes = group->gone.len + group->rows.len;
    if (bytes <= SMALL_BYTES) return OK;
    RowList list;
    rowlist_init(&list);
    Err err = whole_run(since, group, snapshot, 0, bytes, &list, diag);
    if (err == OK && list.rows.len + list.offsets.len < bytes) err = whole_take(group, &list);
    if (err == ERR_TOO_LARGE) {
        diag_clear(diag);
        err = OK;
    }
    rowlist_deinit(&list);
    return err;
}

static Err group_answer(Since *since,
                        SinceGroup *group,
                        const Snapshot *snapshot,
                        bool *any,
                        Diag *diag) {
    Err err = ERR_AGAIN;
    *any = group->is_touched;
    if (!*any) return OK;
    if (group->query && !group->is_whole) err = changes_list(since, group, any);
    if (err == OK && *any) return shorter_list(since, group, snapshot, diag);
    if (err != ERR_AGAIN) return err;
    *any = true;
    return whole_list(since, group, snapshot, diag);
}

Err since_end(Since *since,
              const Snapshot *snapshot,
              const SinceTable **out,
              uint32_t *count,
              Diag *diag) {
    Err err = OK;
    *count = 0;
    *out = since->answers;
    for (uint32_t i = 0; i < since->count && err == OK; i++) {
        SinceGroup *group = &since->groups[i];
        bool any = false;
        buf_clear(&group->gone);
        buf_clear(&group->rows);
        err = group_answer(since, group, snapshot, &any, diag);
        if (err != OK || !any) continue;
        group->answer.name = group->name;
        group->answer.gone = buf_bytes(&group->gone);
        group->answer.rows = buf_bytes(&group->rows);
        since->answers[(*count)++] = group->answer;
    }
    if (err != OK && !diag->text[0]) diag_fail(diag, err, "%s", err_text(err));
    return err;
}
