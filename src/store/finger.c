// finger.c: where the head's rows were found lately, so that changing one does not search again.
//
//   find a ──> tree_seek ──> finger 0: a, path        replace a ──> finger 0: no search
//   find b ──> tree_seek ──> finger 1: b, path        replace b ──> finger 1
//
//   foresee c ──> tree_approach ──> finger 2: c, path to above the leaf; its lines are on their way
//   find c    ──> tree_arrive   ──> finger 2: c, path
//
// A reducer nearly always looks at a row before it changes it. A finger is void once another row of its
// table has moved (table_moves): any change may have moved entries or copied pages, except of a row that
// was overwritten in its place.
#include "store/inside.h"

// Its last 8 bytes, or all of a shorter one: for keys of one length no others have the same.
static inline uint64_t tail_of(Bytes key) {
    if (LIKELY(key.len >= 8)) return load_u64(key.ptr + key.len - 8);
    if (LIKELY(key.len >= 4))
        return (uint64_t)load_u32(key.ptr) << 32 | load_u32(key.ptr + key.len - 4);
    uint64_t tail = 0;
    if (key.len) memcpy(&tail, key.ptr, key.len);
    return tail;
}

static bool rows_seek(const Table *table, Bytes key, TreePath *path) {
    Store *store = table->store;
    LeafShape *shape = &store->shapes[table->slot % SHAPES];
    return tree_seek_like(&store->pages, &table->state.rows, key, shape, path);
}

void finger_foresee(const Table *table, Bytes key) {
    Store *store = table->store;
    const LeafShape *shape = &store->shapes[table->slot % SHAPES];
    Finger *finger = &store->fingers[store->finger_next++ % FINGERS];
    finger->table = NULL;
    finger->ahead = table;
    finger->moves = table_moves(table);
    finger->key_len = key.len;
    finger->key_tail = tail_of(key);
    if (key.len > 8) memcpy(finger->ahead_key, key.ptr, key.len);
    tree_approach(&store->pages, &table->state.rows, key, shape, &finger->path, &finger->foresight);
}

// The finger that was foreseen to be needed for this key, if the tree is still what it was then.
static Finger *finger_ahead(const Table *table, Bytes key, uint64_t tail) {
    for (int i = 0; i < FINGERS; i++) {
        Finger *finger = &table->store->fingers[i];
        if (finger->ahead != table || finger->key_tail != tail || finger->key_len != key.len)
            continue;
        if (key.len > 8 && memcmp(finger->ahead_key, key.ptr, key.len) != 0) continue;
        finger->ahead = NULL;
        return finger->moves == table_moves(table) ? finger : NULL;
    }
    return NULL;
}

static bool finger_put(const Table *table, Bytes key, uint64_t tail, Finger **out) {
    Store *store = table->store;
    Finger *finger = finger_ahead(table, key, tail);
    if (finger) {
        *out = finger;
        return tree_arrive(&store->pages,
                           &table->state.rows,
                           key,
                           &store->shapes[table->slot % SHAPES],
                           &finger->path,
                           &finger->foresight);
    }
    finger = *out = &store->fingers[store->finger_next++ % FINGERS];
    finger->table = finger->ahead = NULL;
    return rows_seek(table, key, &finger->path);
}

bool finger_find(const Table *table, Bytes key, Bytes *row) {
    Store *store = table->store;
    uint64_t tail = tail_of(key);
    Finger *finger;
    if (!finger_put(table, key, tail, &finger)) return false;
    *row = tree_value(&store->pages, &table->state.rows, &finger->path);
    finger->table = table;
    finger->moves = table_moves(table);
    finger->key_len = key.len;
    finger->key_tail = tail;
    return true;
}

static inline bool is_of(const Finger *finger, const Table *table, Bytes key, uint64_t tail) {
    return finger->table == table && finger->key_tail == tail && finger->key_len == key.len &&
           finger->moves == table_moves(table);
}

// Whether all of the path is in memory, where our guard keeps it.
static bool path_is_here(const Pages *pages, const Tree *tree, const TreePath *path) {
    if (LIKELY(!pages->paged)) return true;
    for (uint32_t level = 0; level < tree->height; level++) {
        if (!page_is_here(pages, path->page[level])) return false;
    }
    return true;
}

// The tail of a longer key may be another's.
static inline bool leads_to(const Pages *pages, const Tree *tree, const TreePath *path, Bytes key) {
    if (LIKELY(key.len <= 8)) return true;
    uint8_t scratch[NODE_KEY_MAX];
    uint32_t leaf = tree->height - 1;
    Bytes there = node_key(pages, page_read(pages, path->page[leaf]), path->at[leaf], scratch);
    return bytes_eq(there, key);
}

bool finger_seek(const Table *table, Bytes key, TreePath *path) {
    const Pages *pages = &table->store->pages;
    const Tree *rows = &table->state.rows;
    uint64_t tail = tail_of(key);
    for (int i = 0; i < FINGERS; i++) {
        const Finger *finger = &table->store->fingers[i];
        if (!is_of(finger, table, key, tail)) continue;
        if (!path_is_here(pages, rows, &finger->path)) break;
        if (!leads_to(pages, rows, &finger->path, key)) continue;
        *path = finger->path;
        return true;
    }
    return rows_seek(table, key, path);
}

uint8_t *finger_overwritable(const Table *table, Bytes key, size_t len) {
    const Pages *pages = &table->store->pages;
    const Tree *rows = &table->state.rows;
    uint64_t tail = tail_of(key);
    if (UNLIKELY(pages->paged)) return NULL;  // who writes there has more to do
    for (int i = 0; i < FINGERS; i++) {
        const Finger *finger = &table->store->fingers[i];
        if (!is_of(finger, table, key, tail)) continue;
        if (!leads_to(pages, rows, &finger->path, key)) continue;
        PageNo leaf = finger->path.page[rows->height - 1];
        if (page_is_frozen(pages, leaf)) return NULL;
        uint8_t *node = page_at(pages, leaf);
        NodeSlot slot = node_slots(node)[finger->path.at[rows->height - 1]];
        bool fits = !(slot.key & NODE_VALUE_LONG) && load_u16(node + slot.at) == len;
        return fits ? node + slot_value_at(slot) : NULL;
    }
    return NULL;
}

// Another table may come to stand where this one did.
void fingers_forget(const Table *table) {
    for (int i = 0; i < FINGERS; i++) {
        Finger *finger = &table->store->fingers[i];
        if (finger->table == table) finger->table = NULL;
        if (finger->ahead == table) finger->ahead = NULL;
    }
}
