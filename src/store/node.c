#include "store/node.h"

#include <stddef.h>

static NodeHeader *header_of(uint8_t *node) {
    return (NodeHeader *)node;
}
static NodeSlot *slots_of(uint8_t *node) {
    return (NodeSlot *)(node + NODE_HEADER_BYTES);
}

// The first four bytes as a number that orders as they do; missing ones count as zero.
static uint32_t head_of(const uint8_t *key, size_t len) {
    if (LIKELY(len >= 4)) return __builtin_bswap32(load_u32(key));
    uint32_t head = 0;
    for (size_t i = 0; i < len; i++) {
        head |= (uint32_t)key[i] << (24 - 8 * i);
    }
    return head;
}

void node_init(uint8_t *node) {
    NodeHeader *header = header_of(node);
    header->page.count = 0;
    header->cells_at = PAGE_BYTES;
    header->dead = 0;
    header->first = PAGE_NONE;
    header->low = header->high = 0;
    header->prefix_len = 0;
}

void node_set_child(uint8_t *node, unsigned child, PageNo no) {
    if (child == 0) {
        header_of(node)->first = no;
    } else {
        store_u32(node + slot_value_at(node_slots(node)[child - 1]), no);
    }
}

// ── looking at entries ──────────────────────────────────────────────────────────────────────────

NodeCell node_cell(const uint8_t *node, unsigned at) {
    NodeSlot slot = node_slots(node)[at];
    size_t len = slot.key & NODE_KEY_BYTES;
    const uint8_t *suffix = node + slot.at + 2;
    return (NodeCell){
        .prefix = node_prefix(node),
        .suffix = {suffix, len},
        .flags = slot.key & (NODE_KEY_LONG | NODE_VALUE_LONG),
        .key_ref = slot.key & NODE_KEY_LONG ? suffix + len : NULL,
        .value = {node + slot_value_at(slot), load_u16(node + slot.at)},
    };
}

Bytes node_value(const Pages *pages, const uint8_t *node, unsigned at) {
    NodeSlot slot = node_slots(node)[at];
    const uint8_t *value = node + slot_value_at(slot);
    if (UNLIKELY(slot.key & NODE_VALUE_LONG)) return run_read(pages, value);
    return (Bytes){value, load_u16(node + slot.at)};
}

uint8_t *node_value_stored(uint8_t *node, unsigned at, size_t *len) {
    NodeSlot slot = node_slots(node)[at];
    *len = load_u16(node + slot.at);
    return node + slot_value_at(slot);
}

Bytes node_key(const Pages *pages, const uint8_t *node, unsigned at, uint8_t *scratch) {
    NodeCell cell = node_cell(node, at);
    if (cell.key_ref) return run_read(pages, cell.key_ref);
    if (cell.prefix.len == 0) return cell.suffix;
    memcpy(scratch, cell.prefix.ptr, cell.prefix.len);
    if (cell.suffix.len) memcpy(scratch + cell.prefix.len, cell.suffix.ptr, cell.suffix.len);
    return (Bytes){scratch, cell.prefix.len + cell.suffix.len};
}

size_t node_live_bytes(const uint8_t *node) {
    const NodeHeader *header = node_header(node);
    return PAGE_BYTES - header->cells_at - header->dead + header->page.count * NODE_SLOT_BYTES;
}

// ── one cell ────────────────────────────────────────────────────────────────────────────────────

static size_t cell_key_len(const NodeCell *cell) {
    return cell->prefix.len + cell->suffix.len;
}

static size_t cell_bytes(const NodeCell *cell, size_t prefix_len) {
    size_t ref = cell->key_ref ? RUN_REF_BYTES : 0;
    return 2 + cell_key_len(cell) - prefix_len + ref + cell->value.len;
}

static size_t slot_cell_bytes(const uint8_t *node, NodeSlot slot) {
    return slot_value_at(slot) - slot.at + load_u16(node + slot.at);
}

// Copy a cell's key bytes [from, end) to `to`.
static uint8_t *cell_key_copy(const NodeCell *cell, size_t from, uint8_t *to) {
    if (from < cell->prefix.len) {
        size_t len = cell->prefix.len - from;
        memcpy(to, cell->prefix.ptr + from, len);
        to += len;
        from = cell->prefix.len;
    }
    size_t skip = from - cell->prefix.len, len = cell->suffix.len - skip;
    if (len) memcpy(to, cell->suffix.ptr + skip, len);
    return to + len;
}

// Write a cell that begins with the node's prefix and fits the free gap; returns its slot.
static NodeSlot cell_write(uint8_t *node, const NodeCell *cell, size_t prefix_len) {
    size_t bytes = cell_bytes(cell, prefix_len);
    NodeHeader *header = header_of(node);
    header->cells_at = (uint16_t)(header->cells_at - bytes);
    uint8_t *to = node + header->cells_at;
    store_u16(to, (uint16_t)cell->value.len);
    uint8_t *key_end = cell_key_copy(cell, prefix_len, to + 2);
    size_t len = (size_t)(key_end - to - 2);
    uint32_t head = head_of(to + 2, len);
    if (cell->key_ref) {
        memcpy(key_end, cell->key_ref, RUN_REF_BYTES);
        key_end += RUN_REF_BYTES;
    }
    if (cell->value.len) memcpy(key_end, cell->value.ptr, cell->value.len);
    return (NodeSlot){head, header->cells_at, (uint16_t)(len | cell->flags)};
}

static bool cell_has_prefix(const NodeCell *cell, Bytes prefix) {
    if (cell->suffix.len < prefix.len) return false;
    return prefix.len == 0 || memcmp(cell->suffix.ptr, prefix.ptr, prefix.len) == 0;
}

static size_t gap_bytes(const uint8_t *node) {
    return node_header(node)->cells_at - NODE_HEADER_BYTES -
           (size_t)node_count(node) * NODE_SLOT_BYTES;
}

// ── building ────────────────────────────────────────────────────────────────────────────────────

// The node that has entry *at, which becomes its number there; NULL for the extra one.
static const uint8_t *entry_source(const NodeEntries *entries, unsigned *at) {
    if (entries->extra) {
        if (*at == entries->extra_at) return NULL;
        *at -= *at > entries->extra_at;
    }
    unsigned count = node_count(entries->node);
    if (*at < count) return entries->node;
    *at -= count;
    return entries->more;
}

NodeCell node_entry(const NodeEntries *entries, unsigned at) {
    const uint8_t *source = entry_source(entries, &at);
    return source ? node_cell(source, at) : *entries->extra;
}

size_t node_entry_bytes(const NodeEntries *entries, unsigned at) {
    const uint8_t *source = entry_source(entries, &at);
    if (source) return NODE_SLOT_BYTES + slot_cell_bytes(source, node_slots(source)[at]);
    Bytes prefix = node_prefix(entries->node);
    bool shares = cell_has_prefix(entries->extra, prefix);
    return NODE_SLOT_BYTES + cell_bytes(entries->extra, shares ? prefix.len : 0);
}

static Bytes cell_key(const NodeCell *cell, uint8_t scratch[NODE_KEY_MAX]) {
    uint8_t *end = cell_key_copy(cell, 0, scratch);
    return (Bytes){scratch, (size_t)(end - scratch)};
}

static size_t common_prefix(Bytes a, Bytes b) {
    size_t n = MIN(a.len, b.len), i = 0;
    while (i < n && a.ptr[i] == b.ptr[i]) {
        i++;
    }
    return i;
}

// Keys ascend, so what the first and the last share is shared by all between them.
static void prefix_set(uint8_t *node, const NodeCell *first, const NodeCell *last) {
    uint8_t low[NODE_KEY_MAX], high[NODE_KEY_MAX];
    Bytes key = cell_key(first, low);
    size_t len = MIN(common_prefix(key, cell_key(last, high)), (size_t)NODE_PREFIX_MAX);
    memcpy(header_of(node)->prefix, key.ptr, len);
    header_of(node)->prefix_len = (uint16_t)len;
}

// Copy a cell as it stands in a node with the same prefix.
static NodeSlot cell_transfer(uint8_t *node, const uint8_t *source, NodeSlot slot, size_t bytes) {
    NodeHeader *header = header_of(node);
    header->cells_at = (uint16_t)(header->cells_at - bytes);
    memcpy(node + header->cells_at, source + slot.at, bytes);
    return (NodeSlot){slot.head, header->cells_at, slot.key};
}

static bool build_append(uint8_t *node, const NodeEntries *entries, unsigned from, unsigned to) {
    size_t prefix_len = node_prefix(node).len;
    NodeSlot *slots = slots_of(node);
    NodeHeader *header = header_of(node);
    for (unsigned at = from; at < to; at++) {
        unsigned there = at;
        const uint8_t *source = entry_source(entries, &there);
        if (LIKELY(source && node_prefix(source).len == prefix_len)) {
            NodeSlot slot = node_slots(source)[there];
            size_t bytes = slot_cell_bytes(source, slot);
            if (bytes + NODE_SLOT_BYTES > gap_bytes(node)) return false;
            slots[header->page.count++] = cell_transfer(node, source, slot, bytes);
        } else {
            NodeCell cell = source ? node_cell(source, there) : *entries->extra;
            if (cell_bytes(&cell, prefix_len) + NODE_SLOT_BYTES > gap_bytes(node)) return false;
            NodeSlot slot = cell_write(node, &cell, prefix_len);
            slots[header->page.count++] = slot;
        }
    }
    return true;
}

static void guess_set(uint8_t *node) {
    header_of(node)->low = slots_of(node)[0].head;
    header_of(node)->high = slots_of(node)[node_count(node) - 1].head;
}

bool node_build(uint8_t *node, const NodeEntries *entries, unsigned from, unsigned to) {
    PageNo first = node_header(node)->first;
    node_init(node);
    header_of(node)->first = first;
    if (from == to) return true;
    NodeCell low = node_entry(entries, from), high = node_entry(entries, to - 1);
    prefix_set(node, &low, &high);
    if (build_append(node, entries, from, to)) {
        guess_set(node);
        return true;
    }
    node_init(node);
    header_of(node)->first = first;
    return false;
}

// Rebuild a node in place from a copy of itself with `extra` among its entries (or none): squeezes
// out dead bytes and sets the prefix anew.
static bool node_rebuild(uint8_t *node, const NodeCell *extra, unsigned extra_at) {
    alignas(8) uint8_t old[PAGE_BYTES];
    memcpy(old, node, PAGE_BYTES);
    NodeEntries entries = {
        .node = old,
        .extra = extra,
        .extra_at = extra_at,
        .count = node_count(old) + (extra != NULL),
    };
    if (node_build(node, &entries, 0, entries.count)) return true;
    memcpy(node, old, PAGE_BYTES);
    return false;
}

bool node_absorb(uint8_t *node, const uint8_t *more) {
    alignas(8) uint8_t old[PAGE_BYTES];
    memcpy(old, node, PAGE_BYTES);
    NodeEntries entries = {.node = old, .more = more, .count = node_count(old) + node_count(more)};
    if (node_build(node, &entries, 0, entries.count)) return true;
    memcpy(node, old, PAGE_BYTES);
    return false;
}

// ── changing ────────────────────────────────────────────────────────────────────────────────────

// Remember whether entries keep arriving side by side: a split then cuts where they arrive.
static void leaf_note_insert(NodeHeader *header, unsigned at) {
    bool beside = at == header->last + 1u || at == header->last;
    header->streak = beside ? (uint16_t)MIN(header->streak + 1, UINT16_MAX) : 0;
    header->last = (uint16_t)at;
}

bool node_insert(uint8_t *node, unsigned at, const NodeCell *cell) {
    NodeHeader *header = header_of(node);
    Bytes prefix = node_prefix(node);
    DEBUG_ASSERT(cell->prefix.len == 0);
    // The first entry is all prefix, as after a split; those that do not share it shorten it. A node
    // that began without one would have the same head in every slot.
    if (UNLIKELY(header->page.count == 0 || !cell_has_prefix(cell, prefix) ||
                 cell_bytes(cell, prefix.len) + NODE_SLOT_BYTES > gap_bytes(node))) {
        uint16_t last = header->last, streak = header->streak;
        if (!node_rebuild(node, cell, at)) return false;
        if (header->page.kind == PAGE_LEAF) {
            header->last = last;
            header->streak = streak;
            leaf_note_insert(header, at);
        }
        return true;
    }
    NodeSlot slot = cell_write(node, cell, prefix.len);
    NodeSlot *slots = slots_of(node);
    memmove(slots + at + 1, slots + at, (header->page.count - at) * sizeof(NodeSlot));
    slots[at] = slot;
    if (at == header->page.count++) header->high = slot.head;
    if (at == 0) header->low = slot.head;
    if (header->page.kind == PAGE_LEAF) leaf_note_insert(header, at);
    return true;
}

void node_remove(uint8_t *node, unsigned at) {
    NodeHeader *header = header_of(node);
    NodeSlot *slots = slots_of(node);
    size_t bytes = slot_cell_bytes(node, slots[at]);
    if (slots[at].at == header->cells_at) {
        header->cells_at = (uint16_t)(header->cells_at + bytes);
    } else {
        header->dead = (uint16_t)(header->dead + bytes);
    }
    header->page.count--;
    memmove(slots + at, slots + at + 1, (header->page.count - at) * sizeof(NodeSlot));
}

void node_shrink_value(uint8_t *node, unsigned at, Bytes value) {
    NodeSlot slot = node_slots(node)[at];
    size_t had = load_u16(node + slot.at);
    DEBUG_ASSERT(value.len <= had && !(slot.key & NODE_VALUE_LONG));
    if (value.len) memcpy(node + slot_value_at(slot), value.ptr, value.len);
    if (LIKELY(had == value.len)) return;
    store_u16(node + slot.at, (uint16_t)value.len);
    header_of(node)->dead = (uint16_t)(header_of(node)->dead + had - value.len);
}

// ── checking ────────────────────────────────────────────────────────────────────────────────────

static Err entry_check(const uint8_t *node, unsigned at, Diag *diag) {
    NodeSlot slot = node_slots(node)[at];
    PageNo no = node_header(node)->page.number;
    size_t len = slot.key & NODE_KEY_BYTES;
    if (slot.at < node_header(node)->cells_at || slot_value_at(slot) > PAGE_BYTES ||
        slot.at + slot_cell_bytes(node, slot) > PAGE_BYTES) {
        return diag_fail(diag, ERR_CORRUPT, "page %u: entry %u is outside of the page", no, at);
    }
    if (slot.head != head_of(node + slot.at + 2, len)) {
        return diag_fail(diag, ERR_CORRUPT, "page %u: entry %u has a wrong head", no, at);
    }
    return OK;
}

static bool ref_is_sane(const uint8_t *ref, PageNo end) {
    PageNo no = load_u32(ref);
    return no != PAGE_NONE && no < end && load_u32(ref + 4) <= RUN_BYTES_MAX;
}

static bool entry_is_sane(const uint8_t *node, NodeSlot slot, PageNo end) {
    size_t key = slot.key & NODE_KEY_BYTES, ref = slot.key & NODE_KEY_LONG ? RUN_REF_BYTES : 0;
    size_t value_at = (size_t)slot.at + 2 + key + ref;
    if (slot.at < node_header(node)->cells_at || value_at > PAGE_BYTES) return false;
    size_t value = load_u16(node + slot.at);
    if (value > PAGE_BYTES - value_at) return false;
    if (ref && (key > NODE_KEY_HEAD || !ref_is_sane(node + value_at - ref, end))) return false;
    if (node_header(node)->prefix_len + key > NODE_KEY_MAX) return false;
    if (slot.key & NODE_VALUE_LONG) {
        return value == RUN_REF_BYTES && ref_is_sane(node + value_at, end);
    }
    if (node_is_leaf(node)) return true;
    PageNo child = value == 4 ? load_u32(node + value_at) : PAGE_NONE;
    return child != PAGE_NONE && child < end;
}

bool node_is_sane(const uint8_t *node, PageNo end) {
    const NodeHeader *header = node_header(node);
    size_t slots_end = NODE_HEADER_BYTES + (size_t)header->page.count * NODE_SLOT_BYTES;
    if (header->cells_at < slots_end || header->cells_at > PAGE_BYTES) return false;
    if (header->prefix_len > NODE_PREFIX_MAX || header->page.level >= TREE_LEVELS_MAX) return false;
    if (node_is_leaf(node) != (header->page.level == 0)) return false;
    if (!node_is_leaf(node) && (header->first == PAGE_NONE || header->first >= end)) return false;
    for (unsigned at = 0; at < header->page.count; at++) {
        if (!entry_is_sane(node, node_slots(node)[at], end)) return false;
    }
    return true;
}

Err node_check(const Pages *pages, const uint8_t *node, Diag *diag) {
    const NodeHeader *header = node_header(node);
    PageNo no = header->page.number;
    unsigned count = header->page.count;
    size_t slots_end = NODE_HEADER_BYTES + count * NODE_SLOT_BYTES, live = 0;
    if (header->cells_at < slots_end || header->cells_at > PAGE_BYTES) {
        return diag_fail(diag, ERR_CORRUPT, "page %u: slots and cells overlap", no);
    }
    uint8_t scratch[2][NODE_KEY_MAX];
    Bytes previous = BYTES_NONE;
    for (unsigned at = 0; at < count; at++) {
        Err err = entry_check(node, at, diag);
        if (err != OK) return err;
        live += slot_cell_bytes(node, node_slots(node)[at]);
        Bytes key = node_key(pages, node, at, scratch[at & 1]);
        if (at && bytes_cmp(previous, key) >= 0) {
            return diag_fail(diag, ERR_CORRUPT, "page %u: entry %u is out of order", no, at);
        }
        previous = key;
    }
    size_t total = header->cells_at + live + header->dead;
    if (total != PAGE_BYTES) {
        return diag_fail(diag, ERR_CORRUPT, "page %u: %zu of its bytes accounted for", no, total);
    }
    return OK;
}
