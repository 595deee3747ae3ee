// sequence.c: auto-increment. Spec: module-abi §5.10.
//
// A sequence hands out values from memory (`next`) and reserves them on disk in blocks of 4096:
// st_sequence.allocated is written by the transaction that crosses into a new block. After a
// restart the sequence goes on behind `allocated`, so a value that anybody ever saw is not given
// out again; up to 4095 are skipped. A rollback does not give values back. If it undoes the write of
// `allocated`, the memory's copy follows, and the next draw writes it anew.
#include "txn/sequence.h"

#include "base/mem.h"
#include "txn/head.h"
#include "txn/overlay.h"

#define SEQUENCE_BLOCK 4096

static bool is_zero(Bytes value) {
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i]) return false;
    }
    return true;
}

bool sequences_wanted(const CatalogTable *table, Bytes row) {
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        if (is_zero(row_column(table_layout(table->table), row, table->sequences[i].column)))
            return true;
    }
    return false;
}

__int128 sequence_step(const CatalogSequence *sequence, __int128 value) {
    __int128 by = int128_get(&sequence->increment), out;
    __int128 min = int128_get(&sequence->min), max = int128_get(&sequence->max);
    if (__builtin_add_overflow(value, by, &out)) return by > 0 ? min : max;
    if (out > max) return min;
    if (out < min) return max;
    return out;
}

static bool draw_remember(Db *db, const CatalogTable *table, const CatalogSequence *sequence) {
    if (db->drawn_count == db->drawn_cap) {
        uint32_t cap = db->drawn_cap ? db->drawn_cap * 2 : 8;
        SequenceDraw *grown = mem_realloc(db->drawn, cap * sizeof *grown);
        if (!grown) return false;
        db->drawn = grown;
        db->drawn_cap = cap;
    }
    db->drawn[db->drawn_count++] = (SequenceDraw){
        .table_id = table->table_id,
        .sequence_id = sequence->sequence_id,
        .allocated_before = sequence->allocated,
    };
    return true;
}

// Whether everything up to `value` is reserved on disk.
static bool is_covered(const CatalogSequence *sequence, __int128 value) {
    __int128 allocated = int128_get(&sequence->allocated);
    return int128_get(&sequence->increment) > 0 ? value <= allocated : value >= allocated;
}

// Reserve a block on disk that begins at `value`, in the open transaction.
static Err block_cover(Db *db, CatalogTable *table, CatalogSequence *sequence, __int128 value) {
    __int128 by = int128_get(&sequence->increment), last;
    __int128 min = int128_get(&sequence->min), max = int128_get(&sequence->max);
    Int128 before = sequence->allocated;
    if (!draw_remember(db, table, sequence)) return ERR_NOMEM;
    if (__builtin_add_overflow(value, by * (SEQUENCE_BLOCK - 1), &last)) last = by > 0 ? max : min;
    sequence->allocated = int128_from(last > max ? max : last < min ? min : last);
    Err err = catalog_sequence_store(db->catalog, table, sequence);
    if (err != OK) {
        sequence->allocated = before;
        db->drawn_count--;
    }
    return err;
}

static __int128 sequence_take(CatalogSequence *sequence) {
    __int128 value = int128_get(&sequence->next), next = sequence_step(sequence, value);
    // Going round begins a new lap: nothing of it is reserved yet.
    if (sequence_wraps(sequence, value, next)) {
        __int128 before;
        bool none = __builtin_sub_overflow(next, int128_get(&sequence->increment), &before);
        sequence->allocated = int128_from(none ? next : before);
    }
    sequence->next = int128_from(next);
    return value;
}

AbiErrno head_sequence_draw(void *ctx,
                            CatalogTable *table,
                            CatalogSequence *sequence,
                            __int128 *out) {
    Db *db = ctx;
    __int128 value = int128_get(&sequence->next);
    if (!is_covered(sequence, value) && block_cover(db, table, sequence, value) != OK)
        return ABI_FATAL;
    *out = sequence_take(sequence);
    return ABI_OK;
}

AbiErrno sequences_fill(CatalogTable *table,
                        SequenceSource source,
                        uint8_t *row,
                        size_t row_len,
                        Buf *generated) {
    const RowLayout *layout = table_layout(table->table);
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        CatalogSequence *sequence = &table->sequences[i];
        Bytes column = row_column(layout, BYTES(row, row_len), sequence->column);
        if (!is_zero(column)) continue;
        __int128 value;
        AbiErrno status = source.draw(source.ctx, table, sequence, &value);
        if (status != ABI_OK) return status;
        uint8_t *at = row + (column.ptr - row);
        uint8_t wide[32];
        memset(wide, value < 0 ? 0xff : 0, sizeof wide);
        memcpy(wide, &value, sizeof value);
        memcpy(at, wide, column.len);
        buf_put(generated, at, column.len);
    }
    return ABI_OK;
}

// ── blocks for overlays ────────────────────────────────────────────────────────────────────────

CatalogSequence *head_sequence(Db *db, uint32_t table_id, uint32_t sequence_id) {
    CatalogTable *table = catalog_table(db->catalog, table_id);
    for (uint32_t i = 0; table && i < table->sequence_count; i++) {
        if (table->sequences[i].sequence_id == sequence_id) return &table->sequences[i];
    }
    return NULL;
}

// Nothing is written: whoever commits values of the block sees to it that they are covered
// (head_sequence_cover), and values that are never committed may be handed out again after a crash.
Err db_sequence_reserve(Db *db,
                        uint32_t table_id,
                        uint32_t sequence_id,
                        uint32_t count,
                        Int128 *first) {
    CatalogSequence *sequence = head_sequence(db, table_id, sequence_id);
    if (!sequence) return ERR_NOT_FOUND;
    *first = sequence->next;
    for (uint32_t i = 0; i < count; i++) {
        sequence_take(sequence);
    }
    return OK;
}

// Values up to `last` are about to be committed. If the sequence has gone round since they were
// reserved, it is the new lap that must be on disk: a restart then goes on in that one.
Err head_sequence_cover(Db *db, CatalogTable *table, CatalogSequence *sequence, __int128 last) {
    __int128 next = int128_get(&sequence->next);
    bool same_lap = int128_get(&sequence->increment) > 0 ? last < next : last > next;
    __int128 value = same_lap ? last : next;
    return is_covered(sequence, value) ? OK : block_cover(db, table, sequence, value);
}

// `left` values from `from` on, the end of a reserved block, were not used: take them back if nobody
// drew behind them.
void head_sequence_give_back(CatalogSequence *sequence, __int128 from, uint32_t left) {
    __int128 end = from;
    for (uint32_t i = 0; i < left; i++) {
        __int128 next = sequence_step(sequence, end);
        if (sequence_wraps(sequence, end, next)) return;
        end = next;
    }
    if (int128_get(&sequence->next) == end) sequence->next = int128_from(from);
}

void head_sequences_restore(Db *db) {
    while (db->drawn_count) {
        const SequenceDraw *draw = &db->drawn[--db->drawn_count];
        CatalogSequence *sequence = head_sequence(db, draw->table_id, draw->sequence_id);
        if (sequence) sequence->allocated = draw->allocated_before;
    }
}
