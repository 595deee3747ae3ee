// watch.c: owners by table, by index, by key.
//
// PICTURE
//   Watch ── one block of nodes, a node for each read of its set, and the keys behind them
//     node of a point   in a hash chain, doubly linked: many may watch the same key, and each leaves
//                       in one step
//     node of a range   in a treap ordered by lower end; every node knows the greatest upper end
//                       below it, so a look for the ranges around a key skips what ends before it
//     node of a table   in a doubly linked list
//
// ALWAYS TRUE
//   (1) Linking and unlinking cannot fail: all memory was taken before.
//   (2) A table or index once watched keeps its (small) entry until watchers_free.
#include "txn/watch.h"

#include "base/mem.h"

typedef struct WatchNode WatchNode;
struct WatchNode {
    Watch *watch;
    WatchNode *next, **at;    // chain or list; *at is what points here
    WatchNode *left, *right;  // treap
    Bytes max_upper;          // of this node and all below; empty: to the end
    Bytes lower, upper;       // `lower` is a point's key
    uint64_t hash;            // of a point; of a range its priority
    uint32_t table_id, index_id;
    enum { NODE_TABLE, NODE_POINT, NODE_RANGE } kind;
};

struct Watch {
    void *owner;
    uint64_t told;  // the match that told this owner last
    WatchNode *nodes;
    size_t count;
};

typedef struct WatchedIndex {
    uint32_t index_id;
    WatchNode **buckets;
    size_t bucket_count, point_count;
    WatchNode *ranges;  // the treap's root
} WatchedIndex;

typedef struct WatchedTable {
    uint32_t table_id;
    WatchNode *whole;
    WatchedIndex *indexes;
    uint32_t index_count;
} WatchedTable;

struct Watchers {
    WatchedTable *tables;  // ascending id
    uint32_t table_count, table_cap;
    size_t watch_count;
    uint64_t matches;     // calls of watchers_match, for Watch.told
    uint64_t probes;      // nodes looked at by them
    uint64_t priorities;  // state of the treaps' random numbers
    Buf key, other_key;
};

Err watchers_new(Watchers **out) {
    Watchers *watchers = MEM_NEW(Watchers);
    if (!watchers) return ERR_NOMEM;
    watchers->priorities = 1;
    *out = watchers;
    return OK;
}

void watchers_free(Watchers **handle) {
    Watchers *watchers = *handle;
    *handle = NULL;
    if (!watchers) return;
    ASSERT(watchers->watch_count == 0);
    for (uint32_t t = 0; t < watchers->table_count; t++) {
        for (uint32_t i = 0; i < watchers->tables[t].index_count; i++) {
            mem_free(watchers->tables[t].indexes[i].buckets);
        }
        mem_free(watchers->tables[t].indexes);
    }
    mem_free(watchers->tables);
    buf_deinit(&watchers->key);
    buf_deinit(&watchers->other_key);
    mem_free(watchers);
}

uint64_t watchers_probes(const Watchers *watchers) {
    return watchers->probes;
}

// ── finding the place ──────────────────────────────────────────────────────────────────────────

static WatchedTable *watched_table(const Watchers *watchers, uint32_t table_id, uint32_t *at) {
    uint32_t low = 0, high = watchers->table_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (watchers->tables[middle].table_id < table_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (at) *at = low;
    bool found = low < watchers->table_count && watchers->tables[low].table_id == table_id;
    return found ? &watchers->tables[low] : NULL;
}

static WatchedIndex *watched_index(const WatchedTable *table, uint32_t index_id) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (table->indexes[i].index_id == index_id) return &table->indexes[i];
    }
    return NULL;
}

static WatchedTable *table_ensure(Watchers *watchers, uint32_t table_id) {
    uint32_t at;
    WatchedTable *there = watched_table(watchers, table_id, &at);
    if (there) return there;
    if (watchers->table_count == watchers->table_cap) {
        uint32_t cap = watchers->table_cap ? watchers->table_cap * 2 : 8;
        WatchedTable *tables = mem_realloc(watchers->tables, cap * sizeof *tables);
        if (!tables) return NULL;
        // Lists point back to where they begin.
        for (uint32_t i = 0; i < watchers->table_count; i++) {
            if (tables[i].whole) tables[i].whole->at = &tables[i].whole;
        }
        watchers->tables = tables;
        watchers->table_cap = cap;
    }
    for (uint32_t i = watchers->table_count; i > at; i--) {
        watchers->tables[i] = watchers->tables[i - 1];
        if (watchers->tables[i].whole) watchers->tables[i].whole->at = &watchers->tables[i].whole;
    }
    watchers->tables[at] = (WatchedTable){.table_id = table_id};
    watchers->table_count++;
    return &watchers->tables[at];
}

static WatchedIndex *index_ensure(WatchedTable *table, uint32_t index_id) {
    WatchedIndex *there = watched_index(table, index_id);
    if (there) return there;
    WatchedIndex *indexes =
        mem_realloc(table->indexes, (table->index_count + 1) * sizeof *table->indexes);
    if (!indexes) return NULL;
    table->indexes = indexes;
    indexes[table->index_count] = (WatchedIndex){.index_id = index_id};
    return &indexes[table->index_count++];
}

// ── points ─────────────────────────────────────────────────────────────────────────────────────

static void list_push(WatchNode **list, WatchNode *node) {
    node->next = *list;
    node->at = list;
    if (node->next) node->next->at = &node->next;
    *list = node;
}

static void list_remove(WatchNode *node) {
    *node->at = node->next;
    if (node->next) node->next->at = node->at;
}

// Room for one more point. Growing may fail once there are buckets: chains get longer, no more.
static bool buckets_ensure(WatchedIndex *index) {
    if (index->point_count < index->bucket_count) return true;
    size_t count = index->bucket_count ? index->bucket_count * 2 : 16;
    WatchNode **buckets = mem_zalloc(count * sizeof *buckets);
    if (!buckets) return index->bucket_count > 0;
    for (size_t i = 0; i < index->bucket_count; i++) {
        while (index->buckets[i]) {
            WatchNode *node = index->buckets[i];
            list_remove(node);
            list_push(&buckets[node->hash & (count - 1)], node);
        }
    }
    mem_free(index->buckets);
    index->buckets = buckets;
    index->bucket_count = count;
    return true;
}

// ── ranges ─────────────────────────────────────────────────────────────────────────────────────

static Bytes greater_upper(Bytes a, Bytes b) {
    if (a.len == 0 || b.len == 0) return BYTES_NONE;
    return bytes_cmp(a, b) >= 0 ? a : b;
}

static void range_sum(WatchNode *node) {
    node->max_upper = node->upper;
    if (node->left) node->max_upper = greater_upper(node->max_upper, node->left->max_upper);
    if (node->right) node->max_upper = greater_upper(node->max_upper, node->right->max_upper);
}

// Ranges with equal lower ends are told apart by their addresses, so that each is found again.
static bool range_before(const WatchNode *a, const WatchNode *b) {
    int order = bytes_cmp(a->lower, b->lower);
    return order ? order < 0 : (uintptr_t)a < (uintptr_t)b;
}

static void treap_split(WatchNode *tree, const WatchNode *by, WatchNode **left, WatchNode **right) {
    if (!tree) {
        *left = *right = NULL;
    } else if (range_before(tree, by)) {
        *left = tree;
        treap_split(tree->right, by, &tree->right, right);
        range_sum(tree);
    } else {
        *right = tree;
        treap_split(tree->left, by, left, &tree->left);
        range_sum(tree);
    }
}

static WatchNode *treap_join(WatchNode *left, WatchNode *right) {
    if (!left || !right) return left ? left : right;
    if (left->hash > right->hash) {
        left->right = treap_join(left->right, right);
        range_sum(left);
        return left;
    }
    right->left = treap_join(left, right->left);
    range_sum(right);
    return right;
}

static void treap_insert(WatchNode **tree, WatchNode *node) {
    if (*tree && (*tree)->hash >= node->hash) {
        treap_insert(range_before(node, *tree) ? &(*tree)->left : &(*tree)->right, node);
        range_sum(*tree);
        return;
    }
    treap_split(*tree, node, &node->left, &node->right);
    range_sum(node);
    *tree = node;
}

static void treap_remove(WatchNode **tree, WatchNode *node) {
    if (*tree == node) {
        *tree = treap_join(node->left, node->right);
        return;
    }
    treap_remove(range_before(node, *tree) ? &(*tree)->left : &(*tree)->right, node);
    range_sum(*tree);
}

// ── registering ────────────────────────────────────────────────────────────────────────────────

typedef struct Measure {
    Watchers *watchers;
    size_t nodes, key_bytes;
    bool failed;
} Measure;

static bool measure_one(void *ctx, uint32_t table_id, const ReadRange *range) {
    Measure *measure = ctx;
    WatchedTable *table = table_ensure(measure->watchers, table_id);
    measure->nodes++;
    if (!table) measure->failed = true;
    if (!table || !range) return !measure->failed;
    measure->key_bytes += range->lower.len + (range->is_point ? 0 : range->upper.len);
    WatchedIndex *index = index_ensure(table, range->index_id);
    measure->failed = !index || (range->is_point && !buckets_ensure(index));
    return !measure->failed;
}

typedef struct Fill {
    Watchers *watchers;
    Watch *watch;
    WatchNode *node;
    uint8_t *keys;
} Fill;

static Bytes fill_key(Fill *fill, Bytes key) {
    Bytes kept = BYTES(fill->keys, key.len);
    if (key.len) memcpy(fill->keys, key.ptr, key.len);
    fill->keys += key.len;
    return kept;
}

static bool fill_one(void *ctx, uint32_t table_id, const ReadRange *range) {
    Fill *fill = ctx;
    WatchNode *node = fill->node++;
    *node = (WatchNode){.watch = fill->watch, .table_id = table_id, .kind = NODE_TABLE};
    if (!range) return true;
    node->index_id = range->index_id;
    node->lower = fill_key(fill, range->lower);
    if (range->is_point) {
        node->kind = NODE_POINT;
        node->hash = bytes_hash(node->lower);
    } else {
        node->kind = NODE_RANGE;
        node->upper = fill_key(fill, range->upper);
        fill->watchers->priorities =
            fill->watchers->priorities * 6364136223846793005u + 1442695040888963407u;
        node->hash = fill->watchers->priorities >> 16;
    }
    return true;
}

// Make the nodes of a set, and sure that linking them cannot fail.
static Err nodes_make(Watchers *watchers,
                      const ReadSet *set,
                      Watch *watch,
                      WatchNode **nodes,
                      size_t *count) {
    Measure measure = {.watchers = watchers};
    readset_each(set, measure_one, &measure);
    if (measure.failed) return ERR_NOMEM;
    WatchNode *made = mem_alloc(measure.nodes * sizeof *made + measure.key_bytes);
    if (!made) return ERR_NOMEM;
    Fill fill = {.watchers = watchers,
                 .watch = watch,
                 .node = made,
                 .keys = (uint8_t *)(made + measure.nodes)};
    readset_each(set, fill_one, &fill);
    *nodes = made;
    *count = (size_t)(fill.node - made);
    return OK;
}

static void node_link(Watchers *watchers, WatchNode *node) {
    WatchedTable *table = watched_table(watchers, node->table_id, NULL);
    if (node->kind == NODE_TABLE) {
        list_push(&table->whole, node);
        return;
    }
    WatchedIndex *index = watched_index(table, node->index_id);
    if (node->kind == NODE_RANGE) {
        treap_insert(&index->ranges, node);
        return;
    }
    (void)buckets_ensure(index);  // better chains if there is memory
    list_push(&index->buckets[node->hash & (index->bucket_count - 1)], node);
    index->point_count++;
}

static void node_unlink(Watchers *watchers, WatchNode *node) {
    if (node->kind == NODE_TABLE) {
        list_remove(node);
        return;
    }
    WatchedIndex *index =
        watched_index(watched_table(watchers, node->table_id, NULL), node->index_id);
    if (node->kind == NODE_RANGE) {
        treap_remove(&index->ranges, node);
    } else {
        list_remove(node);
        index->point_count--;
    }
}

static void nodes_link(Watchers *watchers, Watch *watch) {
    for (size_t i = 0; i < watch->count; i++) {
        node_link(watchers, &watch->nodes[i]);
    }
}

static void nodes_unlink(Watchers *watchers, Watch *watch) {
    for (size_t i = 0; i < watch->count; i++) {
        node_unlink(watchers, &watch->nodes[i]);
    }
}

Err watch_add(Watchers *watchers, const ReadSet *set, void *owner, Watch **out) {
    Watch *watch = MEM_NEW(Watch);
    if (!watch) return ERR_NOMEM;
    watch->owner = owner;
    Err err = nodes_make(watchers, set, watch, &watch->nodes, &watch->count);
    if (err != OK) {
        mem_free(watch);
        return err;
    }
    nodes_link(watchers, watch);
    watchers->watch_count++;
    *out = watch;
    return OK;
}

void watch_remove(Watchers *watchers, Watch **handle) {
    Watch *watch = *handle;
    *handle = NULL;
    if (!watch) return;
    nodes_unlink(watchers, watch);
    watchers->watch_count--;
    mem_free(watch->nodes);
    mem_free(watch);
}

Err watch_replace(Watchers *watchers, Watch *watch, const ReadSet *set) {
    WatchNode *nodes;
    size_t count;
    Err err = nodes_make(watchers, set, watch, &nodes, &count);
    if (err != OK) return err;
    nodes_unlink(watchers, watch);
    mem_free(watch->nodes);
    watch->nodes = nodes;
    watch->count = count;
    nodes_link(watchers, watch);
    return OK;
}

// ── matching ───────────────────────────────────────────────────────────────────────────────────

typedef struct Match {
    Watchers *watchers;
    void (*each)(void *ctx, void *owner);
    void *ctx;
} Match;

static void tell(Match *match, const WatchNode *node) {
    if (node->watch->told == match->watchers->matches) return;
    node->watch->told = match->watchers->matches;
    match->each(match->ctx, node->watch->owner);
}

static void match_list(Match *match, const WatchNode *list) {
    for (; list; list = list->next) {
        match->watchers->probes++;
        tell(match, list);
    }
}

static void match_points(Match *match, const WatchedIndex *index, Bytes key) {
    if (index->point_count == 0) return;
    uint64_t hash = bytes_hash(key);
    const WatchNode *node = index->buckets[hash & (index->bucket_count - 1)];
    for (; node; node = node->next) {
        match->watchers->probes++;
        if (node->hash == hash && bytes_eq(node->lower, key)) tell(match, node);
    }
}

static void match_ranges(Match *match, const WatchNode *node, Bytes key) {
    while (node && (node->max_upper.len == 0 || bytes_cmp(key, node->max_upper) < 0)) {
        match->watchers->probes++;
        match_ranges(match, node->left, key);
        if (bytes_cmp(node->lower, key) > 0) return;  // and so do all to the right
        if (node->upper.len == 0 || bytes_cmp(key, node->upper) < 0) tell(match, node);
        node = node->right;
    }
}

static void match_key(Match *match, const WatchedIndex *index, Bytes key) {
    match_points(match, index, key);
    match_ranges(match, index->ranges, key);
}

static void match_all_ranges(Match *match, const WatchNode *node) {
    for (; node; node = node->right) {
        match->watchers->probes++;
        tell(match, node);
        match_all_ranges(match, node->left);
    }
}

// The index is gone, and nobody can tell what its watchers would see now; or all rows are.
static void match_everyone(Match *match, const WatchedIndex *index) {
    for (size_t i = 0; i < index->bucket_count; i++) {
        match_list(match, index->buckets[i]);
    }
    match_all_ranges(match, index->ranges);
}

static Bytes key_of(Buf *key, const TxnChange *change, const StoreIndexInfo *index, Bytes row) {
    buf_clear(key);
    if (row.ptr)
        key_append_columns(key,
                           table_layout(change->table),
                           row,
                           index->columns,
                           index->column_count);
    return buf_bytes(key);
}

static Err match_index(Match *match, const WatchedIndex *watched, const TxnChange *change) {
    Watchers *watchers = match->watchers;
    StoreIndexInfo index;
    if (watched->point_count == 0 && !watched->ranges) return OK;
    if (change->is_clear) {
        match_everyone(match, watched);
        return OK;
    }
    if (watched->index_id == TABLE_ROWS) {
        match_key(match, watched, table_key_stem(change->table, change->key));
        return OK;
    }
    if (!table_index(change->table, watched->index_id, &index)) {
        match_everyone(match, watched);
        return OK;
    }
    Bytes before = key_of(&watchers->key, change, &index, change->old_row);
    Bytes after = key_of(&watchers->other_key, change, &index, change->new_row);
    if (!buf_ok(&watchers->key) || !buf_ok(&watchers->other_key)) return ERR_NOMEM;
    if (change->old_row.ptr) match_key(match, watched, before);
    bool same = change->old_row.ptr && bytes_eq(before, after);
    if (change->new_row.ptr && !same) match_key(match, watched, after);
    return OK;
}

Err watchers_match(Watchers *watchers,
                   const TxnChange *changes,
                   size_t count,
                   void (*each)(void *ctx, void *owner),
                   void *ctx) {
    watchers->matches++;
    return watchers_match_more(watchers, changes, count, each, ctx);
}

bool watchers_want(Watchers *watchers, uint32_t table_id) {
    return watched_table(watchers, table_id, NULL) != NULL;
}

Err watchers_match_more(Watchers *watchers,
                        const TxnChange *changes,
                        size_t count,
                        void (*each)(void *ctx, void *owner),
                        void *ctx) {
    Match match = {.watchers = watchers, .each = each, .ctx = ctx};
    const WatchedTable *table = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || changes[i].table_id != changes[i - 1].table_id) {
            table = watched_table(watchers, changes[i].table_id, NULL);
            if (table) match_list(&match, table->whole);
        }
        if (!table) continue;
        for (uint32_t k = 0; k < table->index_count; k++) {
            Err err = match_index(&match, &table->indexes[k], &changes[i]);
            if (err != OK) return err;
        }
    }
    return OK;
}
