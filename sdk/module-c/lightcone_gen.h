// lightcone_gen.h: what module.gen.c is made of. Not for authors.
//
// PICTURE
//   host ── bytes ──> LcReader ── lc_get_T ──> C values        args, rows, generated columns
//   C values ── lc_put_T ──> LcWriter ── bytes ──> host        rows, keys, results
//
// The bytes are BSATN: little-endian, no padding. What the host hands over has been checked by it;
// running out of bytes is a bug and panics.
#pragma once
#include "lightcone.h"
#include "lightcone_abi.h"

typedef struct LcReader {
    const uint8_t *at, *end;
} LcReader;

typedef struct LcWriter {
    uint8_t *ptr;
    size_t len, cap;
} LcWriter;

typedef struct LcTable {
    const char *name;
    uint32_t id;  // 0: not asked for yet
} LcTable;
typedef struct LcIndex {
    const char *name;
    uint32_t id;
} LcIndex;

LC_NORETURN void lc_reader_ended(void);
static inline const uint8_t *lc_take(LcReader *in, size_t len) {
    const uint8_t *at = in->at;
    if ((size_t)(in->end - at) < len) lc_reader_ended();
    in->at += len;
    return at;
}

void lc_writer_grow(LcWriter *out, size_t more);
static inline uint8_t *lc_room(LcWriter *out, size_t len) {
    if (out->cap - out->len < len) lc_writer_grow(out, len);
    uint8_t *at = out->ptr + out->len;
    out->len += len;
    return at;
}

#define LC_CODEC(T, name)                                       \
    static inline void lc_put_##name(LcWriter *out, T v) {      \
        __builtin_memcpy(lc_room(out, sizeof v), &v, sizeof v); \
    }                                                           \
    static inline T lc_get_##name(LcReader *in) {               \
        T v;                                                    \
        __builtin_memcpy(&v, lc_take(in, sizeof v), sizeof v);  \
        return v;                                               \
    }
LC_CODEC(int8_t, int8_t)
LC_CODEC(uint8_t, uint8_t)
LC_CODEC(int16_t, int16_t)
LC_CODEC(uint16_t, uint16_t)
LC_CODEC(int32_t, int32_t)
LC_CODEC(uint32_t, uint32_t)
LC_CODEC(int64_t, int64_t)
LC_CODEC(uint64_t, uint64_t)
LC_CODEC(float, float)
LC_CODEC(double, double)
LC_CODEC(I128, I128)
LC_CODEC(U128, U128)
LC_CODEC(I256, I256)
LC_CODEC(U256, U256)
LC_CODEC(Identity, Identity)
LC_CODEC(ConnectionId, ConnectionId)
LC_CODEC(Uuid, Uuid)
LC_CODEC(Timestamp, Timestamp)
LC_CODEC(TimeDuration, TimeDuration)
_Static_assert(sizeof(Identity) == 32 && sizeof(ConnectionId) == 16, "copied as they are");

static inline void lc_put_bool(LcWriter *out, bool v) {
    lc_put_uint8_t(out, v);
}
static inline bool lc_get_bool(LcReader *in) {
    return lc_get_uint8_t(in) != 0;
}
static inline void lc_put_ScheduleAt(LcWriter *out, ScheduleAt v) {
    lc_put_uint8_t(out, (uint8_t)v.tag);
    lc_put_int64_t(out, v.tag == SCHEDULE_TIME ? v.time.micros : v.interval.micros);
}
static inline ScheduleAt lc_get_ScheduleAt(LcReader *in) {
    bool is_time = lc_get_uint8_t(in) != 0;
    int64_t micros = lc_get_int64_t(in);
    return is_time ? lc_at((Timestamp){micros}) : lc_every((TimeDuration){micros});
}
// Text and bytes are copied out of the reader's buffer; text gets a 0 after it.
String lc_get_String(LcReader *in);
void lc_put_String(LcWriter *out, String v);
Bytes lc_get_Bytes(LcReader *in);
void lc_put_Bytes(LcWriter *out, Bytes v);
uint32_t lc_get_count(LcReader *in, size_t item_bytes_min);  // of an array
uint8_t lc_get_tag(LcReader *in, uint32_t variants);         // of a sum; panics when out of range
LC_NORETURN void lc_bad_tag(const char *type, uint32_t tag);

// A writer over a shared buffer: until the next lc_writer() of the same number (0 … 3).
LcWriter lc_writer(int which);

// ── data ───────────────────────────────────────────────────────────────────────────────────────
// What only a mistake of the program can cause (no transaction is open) panics.

uint64_t lc_table_count(LcTable *table);
uint64_t lc_table_clear(LcTable *table);
LcScan lc_table_scan(LcTable *table);
// `row` is written; *generated reads the generated columns.
Error lc_table_insert(LcTable *table, LcWriter *row, LcReader *generated);
Error lc_table_update(LcTable *table, LcIndex *index, LcWriter *row, LcReader *generated);
bool lc_table_delete(LcTable *table, LcWriter *relation);

bool lc_index_find(LcIndex *index,
                   const LcWriter *key,
                   LcReader *row);  // *row: until the next host call
LcScan lc_index_scan(LcIndex *index, const LcWriter *key);
uint32_t lc_index_delete(LcIndex *index, const LcWriter *key);
// from and to are bounds as the ABI has them; lc_put_bound begins one.
LcScan lc_index_scan_range(LcIndex *index,
                           const LcWriter *prefix,
                           uint32_t prefix_columns,
                           const LcWriter *from,
                           const LcWriter *to);
uint32_t lc_index_delete_range(LcIndex *index,
                               const LcWriter *prefix,
                               uint32_t prefix_columns,
                               const LcWriter *from,
                               const LcWriter *to);
bool lc_put_bound(LcWriter *out, Bound bound, bool is_lower);  // true: the value follows
bool lc_scan_row(LcScan *scan, LcReader *row);  // false: no more rows. After it: lc_scan_read
static inline void lc_scan_read(LcScan *scan, const LcReader *row) {
    scan->at = row->at;
}

// ── what module.gen.c provides ─────────────────────────────────────────────────────────────────

extern const uint8_t lc_module_definition[];
extern const uint32_t lc_module_definition_bytes;
Error lc_module_reducer(uint32_t id, Ctx *ctx, LcReader *args);
void lc_module_view(uint32_t id, ViewCtx *ctx, LcWriter *out);
void lc_module_view_anon(uint32_t id, AnonymousViewCtx *ctx, LcWriter *out);
void lc_module_procedure(uint32_t id, ProcedureCtx *ctx, LcReader *args, LcWriter *out);
HttpResponse lc_module_http(uint32_t id, ProcedureCtx *ctx, const HttpRequest *request);
