#include "txn/history.h"

#include "base/mem.h"

#define CHUNK_BYTES ((size_t)32 << 10)

// IDLE <-> CHECKING is the checking thread's, the rest the loop's: IDLE -> DOOMED at once, CHECKING
// -> ASKED, which the checking thread turns into DOOMED when it leaves the chunks.
enum { READER_IDLE, READER_CHECKING, READER_ASKED, READER_DOOMED };

struct HistoryChunk {
    _Atomic(HistoryChunk *) next;
    _Atomic size_t used;  // of `entries`
    size_t cap;
    uint64_t number;  // ascending along the list
    _Alignas(max_align_t) uint8_t entries[];
};

// In a chunk: this, then key, old row, new row, padded to 8 bytes.
typedef struct Entry {
    Table *table;  // NULL: all of a commit has been told
    uint32_t table_id;
    uint32_t key_len, old_len, new_len;  // NO_ROW: there was none. No key: it is a clear
} Entry;

#define NO_ROW UINT32_MAX

static size_t row_bytes(uint32_t len) {
    return len == NO_ROW ? 0 : len;
}

static size_t entry_bytes(size_t key_len, size_t old_len, size_t new_len) {
    return (sizeof(Entry) + key_len + old_len + new_len + 7) & ~(size_t)7;
}

static bool state_move(HistoryReader *reader, int from, int to) {
    // Release and acquire: what a reader did in its check is over before its chunks are freed.
    return atomic_compare_exchange_strong_explicit(&reader->state,
                                                   &from,
                                                   to,
                                                   memory_order_acq_rel,
                                                   memory_order_relaxed);
}

static bool is_doomed(const HistoryReader *reader) {
    return atomic_load_explicit(&reader->state, memory_order_acquire) == READER_DOOMED;
}

// ── chunks ─────────────────────────────────────────────────────────────────────────────────────

static bool chunk_push(History *history, size_t room) {
    size_t cap = MAX(room, CHUNK_BYTES);
    HistoryChunk *chunk = mem_alloc(sizeof *chunk + cap);
    if (!chunk) return false;
    atomic_init(&chunk->next, NULL);
    atomic_init(&chunk->used, 0);
    chunk->cap = cap;
    chunk->number = history->newest ? history->newest->number + 1 : 0;
    if (history->newest) {
        atomic_store_explicit(&history->newest->next, chunk, memory_order_release);
    } else {
        history->oldest = chunk;
    }
    history->newest = chunk;
    history->bytes += cap;
    return true;
}

static void chunks_free_before(History *history, uint64_t number) {
    while (history->oldest && history->oldest->number < number) {
        HistoryChunk *chunk = history->oldest;
        history->oldest = atomic_load_explicit(&chunk->next, memory_order_relaxed);
        history->bytes -= chunk->cap;
        mem_free(chunk);
    }
    if (!history->oldest) history->newest = NULL;
}

// (3)
static void chunks_prune(History *history) {
    const HistoryReader *reader = history->oldest_reader;
    while (reader && is_doomed(reader)) {
        reader = reader->newer;
    }
    if (reader) {
        chunks_free_before(history, reader->start.chunk->number);
    } else {
        chunks_free_before(history, UINT64_MAX);
    }
}

void history_deinit(History *history) {
    ASSERT(!history->newest_reader);
    chunks_free_before(history, UINT64_MAX);
}

// ── readers ────────────────────────────────────────────────────────────────────────────────────

Err history_open(History *history, HistoryReader *reader) {
    if (!history->newest && !chunk_push(history, 0)) return ERR_NOMEM;
    HistoryChunk *newest = history->newest;
    size_t used = atomic_load_explicit(&newest->used, memory_order_relaxed);
    reader->start = reader->checked = (HistoryPlace){newest, used};
    atomic_init(&reader->state, READER_IDLE);
    reader->newer = NULL;
    reader->older = history->newest_reader;
    if (reader->older) {
        reader->older->newer = reader;
    } else {
        history->oldest_reader = reader;
    }
    history->newest_reader = reader;
    return OK;
}

void history_close(History *history, HistoryReader *reader) {
    if (reader->newer) {
        reader->newer->older = reader->older;
    } else {
        history->newest_reader = reader->older;
    }
    if (reader->older) {
        reader->older->newer = reader->newer;
    } else {
        history->oldest_reader = reader->newer;
    }
    chunks_prune(history);
}

// ── appending ──────────────────────────────────────────────────────────────────────────────────

static bool change_counts(const TxnChange *change) {
    // Rows of event tables are nowhere once they are committed, results of views nobody's to read.
    return !change->is_event && !change->is_view;
}

static size_t change_bytes(const TxnChange *change) {
    return entry_bytes(change->key.len, change->old_row.len, change->new_row.len);
}

static uint8_t *put(uint8_t *at, Bytes bytes) {
    if (bytes.len) memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

static bool change_append(History *history, const TxnChange *change) {
    size_t bytes = change_bytes(change);
    HistoryChunk *chunk = history->newest;
    size_t used = chunk ? atomic_load_explicit(&chunk->used, memory_order_relaxed) : 0;
    if (!chunk || chunk->cap - used < bytes) {
        if (!chunk_push(history, bytes)) return false;
        chunk = history->newest;
        used = 0;
    }
    Entry *entry = (Entry *)(void *)(chunk->entries + used);
    *entry = (Entry){
        .table = change->table,
        .table_id = change->table_id,
        .key_len = change->is_clear ? NO_ROW : (uint32_t)change->key.len,
        .old_len = change->old_row.ptr ? (uint32_t)change->old_row.len : NO_ROW,
        .new_len = change->new_row.ptr ? (uint32_t)change->new_row.len : NO_ROW,
    };
    put(put(put((uint8_t *)(entry + 1), change->key), change->old_row), change->new_row);
    atomic_store_explicit(&chunk->used, used + bytes, memory_order_release);
    return true;
}

// Make room for so many more bytes at the cost of the readers that hold the oldest chunks. One that
// is checking just now is about to end and may pass: the bound gives way for that long.
static void room_make(History *history, size_t more) {
    HistoryReader *reader = history->oldest_reader;
    while (reader && history->bytes + more > history->bytes_max) {
        if (state_move(reader, READER_IDLE, READER_DOOMED)) history->doomed++;
        if (!is_doomed(reader)) return;
        chunks_prune(history);
        reader = reader->newer;
    }
}

// Who cannot be told everything may not pass at all.
static void doom_all(History *history) {
    for (HistoryReader *reader = history->oldest_reader; reader; reader = reader->newer) {
        bool doomed = state_move(reader, READER_IDLE, READER_DOOMED) ||
                      state_move(reader, READER_CHECKING, READER_ASKED) ||
                      state_move(reader, READER_IDLE, READER_DOOMED);  // it just stopped checking
        history->doomed += doomed;
    }
    chunks_prune(history);
}

bool history_put(History *history, const TxnChange *change) {
    return !change_counts(change) || change_append(history, change);
}

bool history_put_end(History *history) {
    return change_append(history, &(TxnChange){0});
}

static void chunks_link(History *history, History *from) {
    uint64_t number = history->newest ? history->newest->number + 1 : 0;
    for (HistoryChunk *chunk = from->oldest; chunk;) {
        chunk->number = number++;
        chunk = atomic_load_explicit(&chunk->next, memory_order_relaxed);
    }
    if (history->newest) {
        atomic_store_explicit(&history->newest->next, from->oldest, memory_order_release);
    } else {
        history->oldest = from->oldest;
    }
    history->newest = from->newest;
    history->bytes += from->bytes;
    from->oldest = from->newest = NULL;
    from->bytes = 0;
}

void history_splice(History *history, History *from) {
    if (!from->newest || !history_wanted(history)) return;
    if (history->bytes + from->bytes > history->bytes_max) room_make(history, from->bytes);
    if (history->bytes + from->bytes <= history->bytes_max * 2) {
        chunks_link(history, from);
    } else {
        doom_all(history);
    }
}

void history_append(History *history, const WriteSet *writes) {
    size_t more = 0;
    for (size_t i = 0; i < writes->count; i++) {
        if (change_counts(&writes->changes[i])) more += change_bytes(&writes->changes[i]);
    }
    if (more == 0) return;
    if (UNLIKELY(history->bytes + more > history->bytes_max)) room_make(history, more);
    bool told = history->bytes + more <= history->bytes_max * 2;
    for (size_t i = 0; told && i < writes->count; i++) {
        if (change_counts(&writes->changes[i])) told = change_append(history, &writes->changes[i]);
    }
    if (told) told = history_put_end(history);
    if (UNLIKELY(!told)) doom_all(history);
}

// ── checking ───────────────────────────────────────────────────────────────────────────────────

static Bytes take(const uint8_t **at, uint32_t len) {
    if (len == NO_ROW) return BYTES_NONE;
    Bytes bytes = BYTES(*at, len);
    *at += len;
    return bytes;
}

static size_t entry_read(const uint8_t *at, TxnChange *out) {
    const Entry *entry = (const Entry *)(const void *)at;
    const uint8_t *bytes = (const uint8_t *)(entry + 1);
    *out = (TxnChange){.table = entry->table,
                       .table_id = entry->table_id,
                       .is_clear = entry->key_len == NO_ROW};
    out->key = take(&bytes, entry->key_len);
    out->old_row = take(&bytes, entry->old_len);
    out->new_row = take(&bytes, entry->new_len);
    return entry_bytes(row_bytes(entry->key_len),
                       row_bytes(entry->old_len),
                       row_bytes(entry->new_len));
}

static bool places_hit(HistoryPlace *place, HistoryHit hit, const void *ctx) {
    for (;;) {
        // `next` first: if there is one, `used` is final.
        HistoryChunk *next = atomic_load_explicit(&place->chunk->next, memory_order_acquire);
        size_t used = atomic_load_explicit(&place->chunk->used, memory_order_acquire);
        while (place->at < used) {
            TxnChange change;
            place->at += entry_read(place->chunk->entries + place->at, &change);
            if (hit(ctx, &change)) return true;
        }
        if (!next) return false;
        *place = (HistoryPlace){next, 0};
    }
}

Err history_check(HistoryReader *reader, bool again, HistoryHit hit, const void *ctx) {
    if (!state_move(reader, READER_IDLE, READER_CHECKING)) return ERR_CONFLICT;
    HistoryPlace place = again ? reader->start : reader->checked;
    bool stale = places_hit(&place, hit, ctx);
    if (!stale) reader->checked = place;
    if (state_move(reader, READER_CHECKING, READER_IDLE)) return stale ? ERR_CONFLICT : OK;
    atomic_store_explicit(&reader->state, READER_DOOMED, memory_order_release);
    return ERR_CONFLICT;
}
