#include "node/schedule.h"

#include "base/mem.h"

// A binary heap of entries ordered by `due`, and a hash table from (table, row) to the heap
// position, so that registering a row again replaces its entry.
typedef struct Slot {
    uint32_t position_1;  // heap position + 1; 0: free
} Slot;

struct Schedule {
    ScheduleEntry *heap;
    uint32_t count, cap;
    Slot *slots;  // open addressing, power of two, at most half full
    uint32_t slot_count;
};

Schedule *schedule_new(void) {
    return MEM_NEW(Schedule);
}

void schedule_free(Schedule **handle) {
    Schedule *s = *handle;
    if (!s) return;
    mem_free(s->heap);
    mem_free(s->slots);
    mem_free(s);
    *handle = NULL;
}

static uint32_t slot_home(const Schedule *s, uint32_t table_id, uint64_t row_id) {
    uint64_t h = (row_id + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)table_id * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 32) & (s->slot_count - 1);
}

static bool slot_holds(const Schedule *s, uint32_t slot, uint32_t table_id, uint64_t row_id) {
    const ScheduleEntry *entry = &s->heap[s->slots[slot].position_1 - 1];
    return entry->table_id == table_id && entry->row_id == row_id;
}

// The slot that holds the row, or the free one where it belongs.
static uint32_t slot_find(const Schedule *s, uint32_t table_id, uint64_t row_id) {
    uint32_t slot = slot_home(s, table_id, row_id);
    while (s->slots[slot].position_1 && !slot_holds(s, slot, table_id, row_id)) {
        slot = (slot + 1) & (s->slot_count - 1);
    }
    return slot;
}

static void place(Schedule *s, uint32_t position, const ScheduleEntry *entry, uint32_t slot) {
    s->heap[position] = *entry;
    s->slots[slot].position_1 = position + 1;
}

static void swap(Schedule *s, uint32_t a, uint32_t b) {
    uint32_t slot_a = slot_find(s, s->heap[a].table_id, s->heap[a].row_id);
    uint32_t slot_b = slot_find(s, s->heap[b].table_id, s->heap[b].row_id);
    ScheduleEntry entry_a = s->heap[a], entry_b = s->heap[b];
    place(s, a, &entry_b, slot_b);
    place(s, b, &entry_a, slot_a);
}

static void sift_up(Schedule *s, uint32_t at) {
    while (at > 0 && s->heap[at].due < s->heap[(at - 1) / 2].due) {
        swap(s, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void sift_down(Schedule *s, uint32_t at) {
    for (;;) {
        uint32_t least = at, left = 2 * at + 1, right = left + 1;
        if (left < s->count && s->heap[left].due < s->heap[least].due) least = left;
        if (right < s->count && s->heap[right].due < s->heap[least].due) least = right;
        if (least == at) return;
        swap(s, at, least);
        at = least;
    }
}

static bool grow(Schedule *s) {
    if (s->count < s->cap) return true;
    uint32_t cap = s->cap ? s->cap * 2 : 32;
    ScheduleEntry *heap = mem_realloc(s->heap, cap * sizeof *heap);
    if (!heap) return false;
    s->heap = heap;
    Slot *slots = mem_zalloc((size_t)cap * 2 * sizeof *slots);
    if (!slots) return false;
    mem_free(s->slots);
    s->slots = slots;
    s->slot_count = cap * 2;
    s->cap = cap;
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t slot = slot_home(s, heap[i].table_id, heap[i].row_id);
        while (slots[slot].position_1) {
            slot = (slot + 1) & (s->slot_count - 1);
        }
        slots[slot].position_1 = i + 1;
    }
    return true;
}

// Free a slot and move up those that were pushed past it, so that every probe still finds its row.
static void slot_free(Schedule *s, uint32_t hole) {
    uint32_t mask = s->slot_count - 1;
    s->slots[hole].position_1 = 0;
    for (uint32_t at = (hole + 1) & mask; s->slots[at].position_1; at = (at + 1) & mask) {
        const ScheduleEntry *entry = &s->heap[s->slots[at].position_1 - 1];
        uint32_t home = slot_home(s, entry->table_id, entry->row_id);
        bool reachable = hole <= at ? hole < home && home <= at : hole < home || home <= at;
        if (reachable) continue;
        s->slots[hole] = s->slots[at];
        s->slots[at].position_1 = 0;
        hole = at;
    }
}

static void remove_at(Schedule *s, uint32_t position) {
    uint32_t last = s->count - 1;
    if (position != last) swap(s, position, last);
    slot_free(s, slot_find(s, s->heap[last].table_id, s->heap[last].row_id));
    s->count--;
    if (position < s->count) {
        sift_down(s, position);
        sift_up(s, position);
    }
}

Err schedule_put(Schedule *s, const ScheduleEntry *entry) {
    schedule_remove(s, entry->table_id, entry->row_id);
    if (!grow(s)) return ERR_NOMEM;
    uint32_t slot = slot_find(s, entry->table_id, entry->row_id);
    place(s, s->count, entry, slot);
    s->count++;
    sift_up(s, s->count - 1);
    return OK;
}

bool schedule_has(const Schedule *s, uint32_t table_id, uint64_t row_id) {
    return s->count && s->slots[slot_find(s, table_id, row_id)].position_1;
}

void schedule_remove(Schedule *s, uint32_t table_id, uint64_t row_id) {
    if (s->count == 0) return;
    uint32_t slot = slot_find(s, table_id, row_id);
    if (s->slots[slot].position_1) remove_at(s, s->slots[slot].position_1 - 1);
}

uint64_t schedule_row_id(const CatalogTable *table, Bytes row) {
    return load_u64(row_column(table_layout(table->table), row, (uint32_t)table->primary_key).ptr);
}

bool schedule_row_is_interval(const CatalogTable *table, Bytes row) {
    return row_column(table_layout(table->table), row, table->schedule_at_column).ptr[0] == 0;
}

static Micros magnitude(int64_t v) {
    return v == INT64_MIN ? INT64_MAX : v < 0 ? -v : v;
}

Err schedule_row(Schedule *s, const CatalogTable *table, Bytes row, Micros now) {
    Bytes at = row_column(table_layout(table->table), row, table->schedule_at_column);
    int64_t micros = (int64_t)load_u64(at.ptr + 1);
    ScheduleEntry entry = {.table_id = table->table_id, .row_id = schedule_row_id(table, row)};
    if (at.ptr[0] == 0) {
        entry.interval = magnitude(micros);
        if (__builtin_add_overflow(now, entry.interval, &entry.due)) entry.due = INT64_MAX;
        if (entry.interval == 0)
            entry.interval = 1;  // back to back, but other calls get their turn
    } else {
        entry.due = micros;
    }
    return schedule_put(s, &entry);
}

Err schedule_rebuild(Schedule *s, const Catalog *catalog, Micros now) {
    s->count = 0;
    if (s->slots) memset(s->slots, 0, s->slot_count * sizeof *s->slots);
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < catalog_table_count(catalog); i++) {
        const CatalogTable *table = catalog_table_at(catalog, i);
        if (!table->schedule_id || !table->table) continue;
        TableScan scan;
        Bytes row;
        table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
        while (err == OK && table_scan_next(&scan, &row)) {
            err = schedule_row(s, table, row, now);
        }
        table_scan_end(&scan);
        if (err == OK) err = scan.err;
    }
    return err;
}

bool schedule_take_due(Schedule *s, Micros now, ScheduleEntry *out) {
    if (s->count == 0 || s->heap[0].due > now) return false;
    *out = s->heap[0];
    remove_at(s, 0);
    return true;
}

Micros schedule_next_due(const Schedule *s) {
    return s->count ? s->heap[0].due : INT64_MAX;
}

Micros schedule_following(const ScheduleEntry *entry, Micros now) {
    if (entry->due > now) return entry->due;
    Micros behind = now - entry->due, steps = behind / entry->interval + 1, next;
    if (__builtin_mul_overflow(steps, entry->interval, &next)) return INT64_MAX;
    return __builtin_add_overflow(entry->due, next, &next) ? INT64_MAX : next;
}
