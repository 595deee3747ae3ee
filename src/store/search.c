#include "store/search.h"

// The four bytes behind the first `from` as a number, zero-padded. What is short there is read together
// with the bytes before it.
static uint32_t head_behind(Bytes key, size_t from) {
    size_t len = key.len - from;
    if (LIKELY(len >= 4)) return __builtin_bswap32(load_u32(key.ptr + from));
    if (len == 0) return 0;
    if (LIKELY(key.len >= 4)) {
        return __builtin_bswap32(load_u32(key.ptr + key.len - 4)) << (32 - 8 * len);
    }
    uint32_t head = 0;
    for (size_t i = 0; i < len; i++) {
        head |= (uint32_t)key.ptr[from + i] << (24 - 8 * i);
    }
    return head;
}

uint64_t search_short_first(Bytes key) {
    uint64_t first = 0;
    for (size_t i = 0; i < key.len; i++) {
        first |= (uint64_t)key.ptr[i] << (56 - 8 * i);
    }
    return first;
}

int search_prefix(const NodeHeader *header, Bytes key, uint32_t *head) {
    size_t len = header->prefix_len;
    int c = memcmp(key.ptr, header->prefix, MIN(key.len, len));
    if (c != 0) return c;
    if (key.len < len) return -1;
    *head = head_behind(key, len);
    return 0;
}

// ── heads ───────────────────────────────────────────────────────────────────────────────────────

// First slot whose head is >= head, by halving.
static unsigned heads_halve(const NodeSlot *slots, unsigned count, uint32_t head) {
    const NodeSlot *base = slots;
    while (count > 1) {
        unsigned half = count / 2;
        base = base[half - 1].head < head ? base + half : base;
        count -= half;
    }
    return (unsigned)(base - slots) + (count == 1 && base->head < head);
}

unsigned search_few(const uint8_t *node, uint32_t head) {
    return heads_halve(node_slots(node), node_count(node), head);
}

// Heads of numbers and hashes are spread evenly, so the answer is close to where it was guessed, where
// halving would touch a cold cache line at each of its first steps. The steps double: unevenly spread heads
// cost a few steps more and no worse.
unsigned search_from(const uint8_t *node, unsigned from, uint32_t head) {
    const NodeSlot *slots = node_slots(node);
    unsigned count = node_count(node);
    unsigned low, high, step = SEARCH_WINDOW / 2;  // the answer is in [low, high]
    if (slots[from].head < head) {
        low = from + 1;
        high = count;
        while (high - low > step && slots[low + step].head < head) {
            low += step + 1;
            step *= 2;
        }
        high = MIN(high, low + step);
    } else {
        low = 0;
        high = from;
        while (high - low > step && slots[high - step].head >= head) {
            high -= step;
            step *= 2;
        }
        low = high - low > step ? high - step : low;
    }
    return low + heads_halve(slots + low, high - low, head);
}

// ── whole keys ──────────────────────────────────────────────────────────────────────────────────

// Compare `rest` (of `key`, after the prefix) with entry `slot`, whose head is equal.
static int cmp_entry(const Pages *pages,
                     const uint8_t *node,
                     NodeSlot slot,
                     Bytes rest,
                     Bytes key) {
    size_t have = slot.key & NODE_KEY_BYTES;
    // Equal heads of short keys: the padding zeros are zeros of the longer one, so it is greater.
    if (have <= 4 && rest.len <= 4 && !(slot.key & NODE_KEY_LONG)) {
        return rest.len < have ? -1 : rest.len > have;
    }
    const uint8_t *suffix = node + slot.at + 2;
    int c = memcmp(rest.ptr, suffix, MIN(rest.len, have));
    if (c != 0) return c;
    if (rest.len < have) return -1;
    if (LIKELY(!(slot.key & NODE_KEY_LONG))) return rest.len > have;
    return bytes_cmp(key, run_read(pages, suffix + have));
}

unsigned search_equal_heads(const Pages *pages,
                            const uint8_t *node,
                            unsigned low,
                            Bytes key,
                            bool *equal) {
    const NodeSlot *slots = node_slots(node);
    size_t prefix = node_header(node)->prefix_len;
    Bytes rest = {key.ptr + prefix, key.len - prefix};
    uint32_t head = slots[low].head;
    int c = cmp_entry(pages, node, slots[low], rest, key);
    if (LIKELY(c <= 0)) {
        *equal = c == 0;
        return low;
    }
    // Several entries share the head: search among them by the whole key.
    unsigned count = node_count(node);
    low++;
    unsigned high =
        low + (head == UINT32_MAX ? count - low : heads_halve(slots + low, count - low, head + 1));
    while (low < high) {
        unsigned middle = (low + high) / 2;
        c = cmp_entry(pages, node, slots[middle], rest, key);
        if (c == 0) {
            *equal = true;
            return middle;
        }
        if (c < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

// ── what leaves look like ───────────────────────────────────────────────────────────────────────

void search_relearn(LeafShape *shape, const uint8_t *leaf, bool right) {
    const NodeHeader *header = node_header(leaf);
    if (right) {
        shape->trust = (uint16_t)MIN(shape->trust + 1, SEARCH_TRUST_MAX);
    } else if (shape->trust) {
        shape->trust--;
    }
    if (header->prefix_len > 7 || header->high <= header->low) return;
    float entries = (float)(header->page.count - 1), heads = (float)(header->high - header->low);
    if (!right) shape->density = entries / (heads * search_unit(header->prefix_len));
    shape->cell_bytes = (float)(PAGE_BYTES - header->cells_at) / (float)header->page.count +
                        (float)header->prefix_len;
}

unsigned node_search(const Pages *pages, const uint8_t *node, Bytes key, bool *equal) {
    SearchKey search = search_key(key);
    return search_node(pages, node, &search, equal);
}

unsigned node_child_for(const Pages *pages, const uint8_t *node, Bytes key) {
    bool equal;
    unsigned at = node_search(pages, node, key, &equal);
    return at + equal;
}
