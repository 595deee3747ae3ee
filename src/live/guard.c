#include "live/guard.h"

#include "base/mem.h"
#include "sats/key.h"

// ── chains ─────────────────────────────────────────────────────────────────────────────────────

void chain_push(WatchEntry **head, WatchEntry *entry) {
    entry->next = *head;
    entry->link = head;
    if (entry->next) entry->next->link = &entry->next;
    *head = entry;
}

void chain_remove(WatchEntry *entry) {
    *entry->link = entry->next;
    if (entry->next) entry->next->link = entry->link;
}

// ── shapes ─────────────────────────────────────────────────────────────────────────────────────

// The column whose range narrows most, as far as the conjuncts say: one with both ends before others.
// Conjuncts are by column, then operator.
static void range_choose(const QueryConjunct *conjuncts, uint32_t count, GuardShape *shape) {
    for (uint32_t i = 0; i < count; i++) {
        const QueryConjunct *c = &conjuncts[i], *last = i > 0 ? c - 1 : c;
        if (c->op == QUERY_EQ) continue;
        bool both = last->column == c->column && last->op != QUERY_EQ &&
                    (last->op <= QUERY_LE) != (c->op <= QUERY_LE);
        if (shape->has_range && !both) continue;
        shape->range_column = c->column;
        shape->has_range = true;
        if (both) return;
    }
}

bool guard_shape(const QueryConjunct *conjuncts, uint32_t count, GuardShape *out) {
    *out = (GuardShape){0};
    for (uint32_t i = 0; i < count && out->column_count < GUARD_COLUMNS_MAX; i++) {
        const QueryConjunct *c = &conjuncts[i];
        bool again = out->column_count > 0 && out->columns[out->column_count - 1] == c->column;
        if (c->op == QUERY_EQ && !again) out->columns[out->column_count++] = c->column;
    }
    range_choose(conjuncts, count, out);
    return out->column_count > 0 || out->has_range;
}

static bool shape_eq(const GuardShape *a, const GuardShape *b) {
    return a->column_count == b->column_count && a->has_range == b->has_range &&
           a->range_column == b->range_column &&
           memcmp(a->columns, b->columns, a->column_count * sizeof *a->columns) == 0;
}

Guard *guard_obtain(Guard **list, const GuardShape *shape) {
    for (Guard *guard = *list; guard; guard = guard->next) {
        if (shape_eq(&guard->shape, shape)) return guard;
    }
    Guard *guard = MEM_NEW(Guard);
    if (!guard) return NULL;
    guard->shape = *shape;
    guard->next = *list;
    *list = guard;
    return guard;
}

void guards_tidy(Guard **list) {
    while (*list) {
        Guard *guard = *list;
        if (guard->entry_count > 0) {
            list = &guard->next;
            continue;
        }
        *list = guard->next;
        livemap_deinit(&guard->chains);
        mem_free(guard);
    }
}

// ── ways ───────────────────────────────────────────────────────────────────────────────────────

// The key that fixes a column: of the first equality on it.
static Bytes equality_key(const GuardWay *way, const Bytes *keys, uint16_t column) {
    for (uint32_t i = 0; i < way->count; i++) {
        const QueryConjunct *c = &way->conjuncts[i];
        if (c->op == QUERY_EQ && c->column == column) return keys[way->params_at + c->param];
    }
    UNREACHABLE();
}

typedef struct Ends {
    Bytes lower, upper;
} Ends;

// The tightest that the conjuncts set.
static Ends range_ends(const GuardWay *way, const Bytes *keys) {
    Ends ends = {BYTES_NONE, BYTES_NONE};
    for (uint32_t i = 0; i < way->count; i++) {
        const QueryConjunct *c = &way->conjuncts[i];
        if (c->column != way->guard->shape.range_column || c->op == QUERY_EQ) continue;
        Bytes key = keys[way->params_at + c->param];
        bool lower = c->op == QUERY_GT || c->op == QUERY_GE;
        Bytes *end = lower ? &ends.lower : &ends.upper;
        if (!end->ptr || (lower ? bytes_cmp(key, *end) > 0 : bytes_cmp(key, *end) < 0)) *end = key;
    }
    return ends;
}

static size_t rounded(size_t bytes) {
    return (bytes + 7) / 8 * 8;
}

size_t way_bytes(const GuardWay *way, const Bytes *keys) {
    if (!way->guard->shape.has_range) return sizeof(WatchEntry);
    Ends ends = range_ends(way, keys);
    return rounded(range_bytes(ends.lower, ends.upper));
}

size_t way_bytes_made(const GuardWay *way, const void *entry) {
    if (!way->guard->shape.has_range) return sizeof(WatchEntry);
    return rounded(range_bytes(range_lower(entry), range_upper(entry)));
}

Err way_hash(const GuardWay *way, const Bytes *keys, Buf *scratch, uint32_t *out) {
    const GuardShape *shape = &way->guard->shape;
    buf_clear(scratch);
    for (uint32_t i = 0; i < shape->column_count; i++) {
        buf_put_bytes(scratch, equality_key(way, keys, shape->columns[i]));
    }
    *out = livemap_fold(bytes_hash(buf_bytes(scratch)));
    return buf_ok(scratch) ? OK : ERR_NOMEM;
}

Err way_make(const GuardWay *way,
             Group *group,
             uint32_t at,
             const Bytes *keys,
             uint32_t priority,
             Buf *scratch) {
    void *room = (uint8_t *)group + at;
    uint32_t hash;
    Err err = way_hash(way, keys, scratch, &hash);
    if (err != OK) return err;
    if (way->guard->shape.has_range) {
        Ends ends = range_ends(way, keys);
        range_init(room, group, ends.lower, ends.upper, priority);
        ((RangeNode *)room)->hash = hash;
    } else {
        *(WatchEntry *)room = (WatchEntry){.hash = hash, .at = at};
    }
    return OK;
}

WatchEntry *way_chain(const GuardWay *way, uint32_t hash) {
    const LiveMap *chains = &way->guard->chains;
    return livemap_at(chains, livemap_first(chains, hash));
}

static void range_enter(LiveMap *chains, RangeNode *node) {
    uint32_t at = livemap_first(chains, node->hash);
    RangeNode *root = livemap_at(chains, at);
    ranges_add(&root, node);
    if (at == LIVEMAP_END)
        livemap_insert(chains, node->hash, root);
    else
        livemap_replace(chains, at, root);
}

static void range_leave(LiveMap *chains, RangeNode *node) {
    uint32_t at = livemap_first(chains, node->hash);
    RangeNode *before = livemap_at(chains, at), *root = before;
    ranges_remove(&root, node);
    if (root)
        livemap_replace(chains, at, root);
    else
        livemap_remove(chains, node->hash, before);
}

// A chain's head lives in a map slot, which moves; so the first entry of a chain has link NULL and the
// map is told when the head changes.
static void entry_enter(LiveMap *chains, WatchEntry *entry) {
    WatchEntry *first = livemap_at(chains, livemap_first(chains, entry->hash));
    if (first)
        chain_push(&first->next, entry);  // behind the first, so the head stays
    else
        livemap_insert(chains, entry->hash, entry);
}

static void entry_leave(LiveMap *chains, WatchEntry *entry) {
    if (entry->link) {
        chain_remove(entry);
    } else if (entry->next) {
        entry->next->link = NULL;
        livemap_replace(chains, livemap_first(chains, entry->hash), entry->next);
    } else {
        livemap_remove(chains, entry->hash, entry);
    }
}

Err way_enter(const GuardWay *way, void *entry) {
    Guard *guard = way->guard;
    if (!livemap_reserve(&guard->chains)) return ERR_NOMEM;
    if (guard->shape.has_range)
        range_enter(&guard->chains, entry);
    else
        entry_enter(&guard->chains, entry);
    guard->entry_count++;
    return OK;
}

void way_leave(const GuardWay *way, void *entry) {
    Guard *guard = way->guard;
    guard->entry_count--;
    if (guard->shape.has_range)
        range_leave(&guard->chains, entry);
    else
        entry_leave(&guard->chains, entry);
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

Err guard_key(const Guard *guard, const RowLayout *layout, Bytes row, Buf *room, GuardKey *out) {
    const GuardShape *shape = &guard->shape;
    buf_clear(room);
    key_append_columns(room, layout, row, shape->columns, shape->column_count);
    size_t len = room->len;
    if (shape->has_range) key_append_columns(room, layout, row, &shape->range_column, 1);
    if (!buf_ok(room)) return ERR_NOMEM;
    out->hash = livemap_fold(bytes_hash(BYTES(room->ptr, len)));
    out->range = (Bytes){room->ptr + len, room->len - len};
    return OK;
}

typedef struct RangeFind {
    GuardEach each;
    void *ctx;
    Bytes before;  // who has this, too, is not to be called; ptr NULL: none
} RangeFind;

static Err range_found(void *ctx, Group *group, const RangeNode *node) {
    const RangeFind *find = ctx;
    if (find->before.ptr && range_has(node, find->before)) return OK;
    return find->each(find->ctx, group);
}

Err guard_each(const Guard *guard,
               const GuardKey *key,
               const GuardKey *before,
               GuardEach each,
               void *ctx,
               uint64_t *seen) {
    void *item = livemap_at(&guard->chains, livemap_first(&guard->chains, key->hash));
    bool same = before && before->hash == key->hash;
    if (guard->shape.has_range) {
        RangeFind find = {each, ctx, same ? before->range : BYTES_NONE};
        return ranges_each(item, key->range, range_found, &find, seen);
    }
    Err err = OK;
    for (WatchEntry *entry = same ? NULL : item; entry && err == OK; entry = entry->next) {
        err = each(ctx, entry_group(entry));
    }
    return err;
}
