// sequence.c: auto-increment. Spec: module-abi §5.10.
//
// A sequence hands out values from memory (`next`) and reserves them on disk in blocks of 4096:
// st_sequence.allocated is written by the transaction that crosses into a new block. After a
// restart the sequence goes on behind `allocated`, so a value that anybody ever saw is not given
// out again; up to 4095 are skipped. A rollback does not give values back. If it undoes the write of
// `allocated`, the memory's copy follows, and the next draw writes it anew.
#include "base/mem.h"
#include "txn/head.h"

#define SEQUENCE_BLOCK 4096

static __int128 int128_get(const Int128 *v) {
    __int128 out;
    memcpy(&out, v->le, sizeof out);
    return out;
}

static Int128 int128_from(__int128 v) {
    Int128 out;
    memcpy(out.le, &v, sizeof v);
    return out;
}

static bool is_zero(Bytes value) {
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i]) return false;
    }
    return true;
}

bool head_sequences_wanted(const CatalogTable *table, Bytes row) {
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        if (is_zero(row_column(table_layout(table->table), row, table->sequences[i].column)))
            return true;
    }
    return false;
}

// base + by, going round from max to min (and back for a negative step).
static __int128 step_wrapped(__int128 base, __int128 by, __int128 min, __int128 max) {
    __int128 out;
    if (__builtin_add_overflow(base, by, &out)) return by > 0 ? min : max;
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

static AbiErrno sequence_draw(Db *db,
                              CatalogTable *table,
                              CatalogSequence *sequence,
                              __int128 *out) {
    __int128 value = int128_get(&sequence->next), by = int128_get(&sequence->increment);
    __int128 min = int128_get(&sequence->min), max = int128_get(&sequence->max);
    __int128 allocated = int128_get(&sequence->allocated);
    bool covered = by > 0 ? value <= allocated : value >= allocated;
    if (!covered) {
        if (!draw_remember(db, table, sequence)) return ABI_FATAL;
        __int128 last;
        if (__builtin_add_overflow(value, by * (SEQUENCE_BLOCK - 1), &last))
            last = by > 0 ? max : min;
        sequence->allocated = int128_from(last > max ? max : last < min ? min : last);
        if (catalog_sequence_store(db->catalog, table, sequence) != OK) {
            sequence->allocated = int128_from(allocated);
            db->drawn_count--;
            return ABI_FATAL;
        }
    }
    __int128 next = step_wrapped(value, by, min, max);
    // Going round begins a new lap: nothing of it is reserved yet.
    if (by > 0 ? next < value : next > value) {
        __int128 before;
        sequence->allocated =
            int128_from(__builtin_sub_overflow(next, by, &before) ? next : before);
    }
    sequence->next = int128_from(next);
    *out = value;
    return ABI_OK;
}

AbiErrno head_sequences_fill(Db *db,
                             CatalogTable *table,
                             uint8_t *row,
                             size_t row_len,
                             Buf *generated) {
    const RowLayout *layout = table_layout(table->table);
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        CatalogSequence *sequence = &table->sequences[i];
        Bytes column = row_column(layout, BYTES(row, row_len), sequence->column);
        if (!is_zero(column)) continue;
        __int128 value;
        AbiErrno status = sequence_draw(db, table, sequence, &value);
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

void head_sequences_restore(Db *db) {
    while (db->drawn_count) {
        const SequenceDraw *draw = &db->drawn[--db->drawn_count];
        CatalogTable *table = catalog_table(db->catalog, draw->table_id);
        for (uint32_t i = 0; table && i < table->sequence_count; i++) {
            if (table->sequences[i].sequence_id == draw->sequence_id) {
                table->sequences[i].allocated = draw->allocated_before;
            }
        }
    }
}
