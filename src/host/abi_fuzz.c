// abi_fuzz.c: sequences of host calls, read from the input, on the real head and on a model.
//
// PICTURE
//   input bytes ── op, arguments, op, … ──> abi_*() ── head.c ── store      what the module gets
//                                      └──> Model: arrays of rows           what it should get
//
//   The model is as simple as can be: a table is an array of rows, an iterator is the rows it has
//   still to show, a transaction is a copy of everything. It decodes rows and bounds by itself.
//   After every operation errnos, counts and generated columns are equal; an iterator shows each of
//   its rows once, in chunks of the right sizes; at the end every table is compared whole.
//
// The arguments come from small domains, so that keys meet, and are spoilt now and then: cut off,
// too long, of the wrong table, not UTF-8.
#include <stdio.h>
#include <stdlib.h>

#include "host/abi.h"
#include "txn/def_testing.h"

enum { ITEM, NOTE, TICK, TABLES };
enum { BY_ID, BY_V, BY_CODE, INDEXES };
enum { ITERS_MAX = 64, ROW_MAX = 1 << 18, OPS_MAX = 400 };

// ---- the model

typedef struct Row {
    uint8_t *bytes;
    size_t len;
} Row;
typedef struct Rows {
    Row *at;
    size_t count, cap;
} Rows;

typedef struct Model {
    Rows tables[TABLES], committed[TABLES];
    uint64_t next_id;  // of item's sequence; never rolled back
    bool open;         // a transaction
    Rows iters[ITERS_MAX];
    bool iter_open[ITERS_MAX];
    uint32_t timers_open;
} Model;

static void rows_add(Rows *rows, Bytes row) {
    if (rows->count == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 8;
        rows->at = realloc(rows->at, rows->cap * sizeof *rows->at);
    }
    Row *to = &rows->at[rows->count++];
    *to = (Row){malloc(row.len + 1), row.len};
    memcpy(to->bytes, row.ptr, row.len);
}
static void rows_remove(Rows *rows, size_t i) {
    free(rows->at[i].bytes);
    rows->at[i] = rows->at[--rows->count];
}
static void rows_clear(Rows *rows) {
    while (rows->count)
        rows_remove(rows, rows->count - 1);
    free(rows->at);
    *rows = (Rows){0};
}
static size_t rows_find(const Rows *rows, Bytes row) {  // its place, or the count
    size_t i = 0;
    while (i < rows->count && !bytes_eq(BYTES(rows->at[i].bytes, rows->at[i].len), row))
        i++;
    return i;
}
static void rows_copy(Rows *to, const Rows *from) {
    rows_clear(to);
    for (size_t i = 0; i < from->count; i++)
        rows_add(to, BYTES(from->at[i].bytes, from->at[i].len));
}

// The length of the valid row at the front of `in`; 0: there is none.
static size_t row_len(int table, Bytes in) {
    if (table == TICK) return in.len >= 9 ? 9 : 0;
    size_t before = table == ITEM ? 8 : 0, after = table == ITEM ? 8 : 4;
    if (in.len < before + 4) return 0;
    uint64_t text = load_u32(in.ptr + before);
    if (text > in.len - before - 4 || in.len - before - 4 - text < after) return 0;
    return utf8_valid(BYTES(in.ptr + before + 4, text)) ? before + 4 + text + after : 0;
}

// The key of item's row in an index, as a number: all three columns are numbers.
static uint64_t key_of(int index, Bytes row) {
    if (index == BY_ID) return load_u64(row.ptr);
    return load_u32(row.ptr + row.len - (index == BY_V ? 8 : 4));
}
static size_t key_len(int index) {
    return index == BY_ID ? 8 : 4;
}
static uint64_t spot_read(int index, Bytes at) {
    return index == BY_ID ? load_u64(at.ptr) : load_u32(at.ptr);
}

// Would `row` clash with another row than number `except` on a unique column?
static bool clashes(const Model *model, Bytes row, size_t except) {
    const Rows *items = &model->tables[ITEM];
    for (size_t i = 0; i < items->count; i++) {
        Bytes other = BYTES(items->at[i].bytes, items->at[i].len);
        if (i == except) continue;
        if (key_of(BY_ID, other) == key_of(BY_ID, row)) return true;
        if (key_of(BY_CODE, other) == key_of(BY_CODE, row)) return true;
    }
    return false;
}

// Give the row its generated column; *generated tells whether it had to be.
static bool model_generate(Model *model, int table, uint8_t *row) {
    if (table != ITEM || load_u64(row) != 0) return false;
    store_u64(row, model->next_id++);
    return true;
}

static AbiErrno model_insert(Model *model, int table, Bytes bytes, bool *generated) {
    *generated = false;
    if (!model->open) return ABI_NOT_IN_TRANSACTION;
    if (table < 0) return ABI_NO_SUCH_TABLE;
    Bytes row = BYTES(bytes.ptr, row_len(table, bytes));
    if (row.len == 0) return ABI_BSATN_DECODE_ERROR;
    uint8_t *copy = malloc(row.len);
    memcpy(copy, row.ptr, row.len);
    *generated = model_generate(model, table, copy);
    row.ptr = copy;
    AbiErrno result = ABI_OK;
    Rows *rows = &model->tables[table];
    if (rows_find(rows, row) < rows->count)
        result = ABI_OK;  // a table is a set
    else if (table == ITEM && clashes(model, row, SIZE_MAX))
        result = ABI_UNIQUE_ALREADY_EXISTS;
    else
        rows_add(rows, row);
    free(copy);
    return result;
}

static AbiErrno model_update(Model *model, int table, int index, Bytes bytes, bool *generated) {
    *generated = false;
    if (!model->open) return ABI_NOT_IN_TRANSACTION;
    if (table < 0) return ABI_NO_SUCH_TABLE;
    if (index < 0 || table != ITEM) return ABI_NO_SUCH_INDEX;
    if (index == BY_V) return ABI_INDEX_NOT_UNIQUE;
    Bytes row = BYTES(bytes.ptr, row_len(table, bytes));
    if (row.len == 0) return ABI_BSATN_DECODE_ERROR;
    uint8_t *copy = malloc(row.len);
    memcpy(copy, row.ptr, row.len);
    *generated = model_generate(model, table, copy);
    row.ptr = copy;
    Rows *rows = &model->tables[ITEM];
    size_t old = 0;
    while (old < rows->count &&
           key_of(index, BYTES(rows->at[old].bytes, rows->at[old].len)) != key_of(index, row))
        old++;
    AbiErrno result = ABI_OK;
    if (old == rows->count) {
        result = ABI_NO_SUCH_ROW;
    } else if (clashes(model, row, old)) {
        result = ABI_UNIQUE_ALREADY_EXISTS;
    } else {
        rows_remove(rows, old);
        rows_add(rows, row);
    }
    free(copy);
    return result;
}

typedef struct Span {  // keys from low to high, both inside; empty when low > high
    uint64_t low, high;
    bool empty;
} Span;

static AbiErrno model_point(const Model *model, int index, Bytes point, Span *out) {
    if (!model->open) return ABI_NOT_IN_TRANSACTION;
    if (index < 0) return ABI_NO_SUCH_INDEX;
    if (point.len != key_len(index)) return ABI_BSATN_DECODE_ERROR;
    *out = (Span){spot_read(index, point), spot_read(index, point), false};
    return ABI_OK;
}

// A BSATN Bound of one number. False: it is not one.
static bool bound_read(int index, Bytes bound, int *kind, uint64_t *value) {
    if (bound.len == 0 || bound.ptr[0] > 2) return false;
    *kind = bound.ptr[0];
    size_t want = *kind == 2 ? 1 : 1 + key_len(index);
    if (bound.len != want) return false;
    *value = *kind == 2 ? 0 : spot_read(index, BYTES(bound.ptr + 1, want - 1));
    return true;
}

static AbiErrno model_range(const Model *model, int index, const AccessRange *range, Span *out) {
    int low, high;
    uint64_t from, to;
    if (!model->open) return ABI_NOT_IN_TRANSACTION;
    if (range->prefix_elems > UINT16_MAX) return ABI_BSATN_DECODE_ERROR;
    if (index < 0) return ABI_NO_SUCH_INDEX;
    if (range->prefix_elems) return ABI_BSATN_DECODE_ERROR;  // indexes of one column
    if (!bound_read(index, range->lower, &low, &from)) return ABI_BSATN_DECODE_ERROR;
    if (!bound_read(index, range->upper, &high, &to)) return ABI_BSATN_DECODE_ERROR;
    *out = (Span){low == 2 ? 0 : from, high == 2 ? UINT64_MAX : to, false};
    if (low == 1) out->empty |= out->low++ == UINT64_MAX;
    if (high == 1) out->empty |= out->high-- == 0;
    return ABI_OK;
}

static bool in_span(const Span *span, int index, const Row *row) {
    uint64_t key = key_of(index, BYTES(row->bytes, row->len));
    return !span->empty && key >= span->low && key <= span->high;
}

static uint32_t model_delete(Model *model, int index, const Span *span) {
    Rows *rows = &model->tables[ITEM];
    uint32_t deleted = 0;
    for (size_t i = rows->count; i-- > 0;) {
        if (!in_span(span, index, &rows->at[i])) continue;
        rows_remove(rows, i);
        deleted++;
    }
    return deleted;
}

// Rows before one that is not valid are gone when the error is told.
static AbiErrno model_delete_eq(Model *model, int table, Bytes relation, uint32_t *deleted) {
    if (!model->open) return ABI_NOT_IN_TRANSACTION;
    if (table < 0) return ABI_NO_SUCH_TABLE;
    if (relation.len < 4) return ABI_BSATN_DECODE_ERROR;
    uint32_t count = load_u32(relation.ptr);
    Bytes rest = BYTES(relation.ptr + 4, relation.len - 4);
    *deleted = 0;
    Bytes all = rest;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = row_len(table, all);
        if (len == 0) return ABI_BSATN_DECODE_ERROR;
        all = BYTES(all.ptr + len, all.len - len);
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t len = row_len(table, rest);
        size_t at = rows_find(&model->tables[table], BYTES(rest.ptr, len));
        if (at < model->tables[table].count) {
            rows_remove(&model->tables[table], at);
            ++*deleted;
        }
        rest = BYTES(rest.ptr + len, rest.len - len);
    }
    return ABI_OK;
}

static void model_end_tx(Model *model, bool commit) {
    rows_clear(&model->tables[TICK]);  // an event table keeps nothing
    for (int t = 0; t < TABLES; t++)
        if (commit)
            rows_copy(&model->committed[t], &model->tables[t]);
        else
            rows_copy(&model->tables[t], &model->committed[t]);
    model->open = false;
}

// ---- both sides

typedef struct Fuzz {
    const uint8_t *at, *end;
    Db *db;
    Abi abi;
    HostEnv env;
    HostCall call;
    uint32_t table_ids[TABLES], index_ids[INDEXES];
    Model model;
    uint32_t logged, logged_wanted;
    Buf arg, out;
} Fuzz;

static uint8_t take(Fuzz *fuzz) {
    return fuzz->at < fuzz->end ? *fuzz->at++ : 0;
}

static void count_log(void *ctx, const HostLogRecord *record) {
    Fuzz *fuzz = ctx;
    fuzz->logged += record->message.ptr != NULL;
}

static void db_open_tx(Fuzz *fuzz) {
    db_begin(fuzz->db, &(CommitInfo){.timestamp = 1, .name = STR("fuzz")});
    fuzz->model.open = true;
}
static AbiErrno op_begin(void *ctx, Access **access, Micros *timestamp) {
    Fuzz *fuzz = ctx;
    db_open_tx(fuzz);
    *access = db_access(fuzz->db);
    *timestamp = 1;
    return ABI_OK;
}
static AbiErrno op_commit(void *ctx) {
    Fuzz *fuzz = ctx;
    const WriteSet *set;
    bool changed;
    Err err = db_commit(fuzz->db, &set, &changed);
    ASSERT(err == OK);
    model_end_tx(&fuzz->model, true);
    return ABI_OK;
}
static void op_abort(void *ctx) {
    Fuzz *fuzz = ctx;
    db_rollback(fuzz->db);
    model_end_tx(&fuzz->model, false);
}
static AbiErrno op_http(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    (void)ctx;
    buf_put_bytes(response, request);
    buf_put_bytes(body_out, body);
    return ABI_OK;
}
static Micros op_sleep(void *ctx, Micros wake) {
    (void)ctx;
    return wake;
}
static const HostProcedureOps procedure_ops = {op_begin, op_commit, op_abort, op_http, op_sleep};

// ---- arguments

static int take_table(Fuzz *fuzz, uint32_t *id) {  // its number, negative: no such table
    uint8_t pick = take(fuzz) % 8;
    int table = pick < 4 ? ITEM : pick < 6 ? NOTE : pick < 7 ? TICK : -1;
    *id = table >= 0 ? fuzz->table_ids[table] : 100000u + take(fuzz);
    return table;
}
static int take_index(Fuzz *fuzz, uint32_t *id) {
    int index = take(fuzz) % 4 - (take(fuzz) % 16 == 15 ? 4 : 0);
    if (index == INDEXES) index = BY_ID;
    *id = index >= 0 ? fuzz->index_ids[index] : 100000u + take(fuzz);
    return MAX(index, -1);
}

static void put_text(Fuzz *fuzz, Buf *out) {
    uint8_t how = take(fuzz);
    size_t len = how % 4;
    if (how >= 0xf0) len = 2000 + (size_t)(how & 15) * 4000;  // around a chunk's size, and beyond
    buf_put_u32(out, (uint32_t)len);
    uint8_t *text = buf_extend(out, len);
    ASSERT(len == 0 || text);
    if (len) memset(text, how == 0xff ? 0xff : 'a' + how / 64, len);
}
static void put_row(Fuzz *fuzz, int table, Buf *out) {
    switch (table) {
    case NOTE:
        put_text(fuzz, out);
        buf_put_u32(out, take(fuzz) % 4);
        break;
    case TICK:
        buf_put_u8(out, take(fuzz) % 2);
        buf_put_u64(out, take(fuzz) % 4);
        break;
    default:
        buf_put_u64(out, take(fuzz) % 16);
        put_text(fuzz, out);
        buf_put_u32(out, take(fuzz) % 8);
        buf_put_u32(out, take(fuzz) % 16);
        break;
    }
}
static Bytes spoil(Fuzz *fuzz, Buf *arg) {
    uint8_t how = take(fuzz);
    if (how >= 0xe8 && how < 0xf4) arg->len -= MIN(arg->len, (size_t)(how & 7) + 1);
    if (how >= 0xf4) buf_put_u8(arg, how);
    return buf_bytes(arg);
}
static void put_key(Fuzz *fuzz, int index, Buf *out) {
    uint64_t key = take(fuzz);
    key = key == 255 ? UINT64_MAX : key == 254 ? UINT32_MAX : key % 16;
    buf_put(out, &key, key_len(MAX(index, 0)));
}
static void put_bound(Fuzz *fuzz, int index, Buf *out) {
    uint8_t kind = take(fuzz);
    kind = kind >= 0xf8 ? kind : kind % 3;
    buf_put_u8(out, kind);
    if (kind != 2) put_key(fuzz, index, out);
}

// ---- operations

static void do_names(Fuzz *fuzz) {
    static const char *const names[] = {"item", "note", "tick", "items", "", "item_v_idx_btree"};
    Str name = str_from(names[take(fuzz) % ARRAY_LEN(names)]);
    uint32_t id = 0;
    AbiErrno wanted = ABI_NO_SUCH_TABLE;
    for (int t = 0; t < TABLES; t++)
        if (str_eq(name, str_from(names[t]))) wanted = ABI_OK;
    if (!fuzz->model.open) wanted = ABI_NOT_IN_TRANSACTION;
    ASSERT(abi_table_id(&fuzz->abi, name, &id) == wanted);
    AbiErrno index_wanted = str_eq(name, str_from(names[5])) ? ABI_OK : ABI_NO_SUCH_INDEX;
    if (!fuzz->model.open) index_wanted = ABI_NOT_IN_TRANSACTION;
    ASSERT(abi_index_id(&fuzz->abi, name, &id) == index_wanted);
    ASSERT(index_wanted != ABI_OK || id == fuzz->index_ids[BY_V]);
}

static void do_count(Fuzz *fuzz) {
    uint32_t id;
    uint64_t count = 0;
    int table = take_table(fuzz, &id);
    AbiErrno wanted = !fuzz->model.open ? ABI_NOT_IN_TRANSACTION
                      : table < 0       ? ABI_NO_SUCH_TABLE
                                        : ABI_OK;
    ASSERT(abi_row_count(&fuzz->abi, id, &count) == wanted);
    ASSERT(wanted != ABI_OK || count == fuzz->model.tables[table].count);
}

static void written(Fuzz *fuzz, AbiErrno result, AbiErrno wanted, bool generated) {
    ASSERT(result == wanted);
    if (wanted != ABI_OK) return;
    ASSERT(fuzz->out.len == (generated ? 8 : 0));
    ASSERT(!generated || load_u64(fuzz->out.ptr) == fuzz->model.next_id - 1);
}
static void do_insert(Fuzz *fuzz) {
    uint32_t id;
    bool generated;
    int table = take_table(fuzz, &id);
    put_row(fuzz, table, &fuzz->arg);
    Bytes row = spoil(fuzz, &fuzz->arg);
    AbiErrno wanted = model_insert(&fuzz->model, table, row, &generated);
    written(fuzz, abi_insert(&fuzz->abi, id, row, &fuzz->out), wanted, generated);
}
static void do_update(Fuzz *fuzz) {
    uint32_t id, index_id;
    bool generated;
    int table = take_table(fuzz, &id), index = take_index(fuzz, &index_id);
    put_row(fuzz, table, &fuzz->arg);
    Bytes row = spoil(fuzz, &fuzz->arg);
    AbiErrno wanted = model_update(&fuzz->model, table, index, row, &generated);
    written(fuzz, abi_update(&fuzz->abi, id, index_id, row, &fuzz->out), wanted, generated);
}

// A scan was started: remember what its iterator has to show.
static Rows *opened(Fuzz *fuzz, AbiErrno result, AbiErrno wanted, uint32_t handle) {
    ASSERT(result == wanted);
    if (wanted != ABI_OK) return NULL;
    ASSERT(handle >= 1 && handle <= ITERS_MAX && !fuzz->model.iter_open[handle - 1]);
    for (uint32_t below = 0; below + 1 < handle; below++)  // handles are used again
        ASSERT(fuzz->model.iter_open[below] || handle <= fuzz->abi.iter_count);
    fuzz->model.iter_open[handle - 1] = true;
    return &fuzz->model.iters[handle - 1];
}
static bool may_open(const Fuzz *fuzz) {
    int open = 0;
    for (int i = 0; i < ITERS_MAX; i++)
        open += fuzz->model.iter_open[i];
    return open < ITERS_MAX / 2;
}
static void do_scan_table(Fuzz *fuzz) {
    uint32_t id, handle = 0;
    int table = take_table(fuzz, &id);
    AbiErrno wanted = !fuzz->model.open ? ABI_NOT_IN_TRANSACTION
                      : table < 0       ? ABI_NO_SUCH_TABLE
                                        : ABI_OK;
    if (!may_open(fuzz)) return;
    Rows *rows = opened(fuzz, abi_scan_table(&fuzz->abi, id, &handle), wanted, handle);
    if (rows) rows_copy(rows, &fuzz->model.tables[table]);
}
static void show_span(Fuzz *fuzz, Rows *rows, int index, const Span *span) {
    const Rows *items = &fuzz->model.tables[ITEM];
    for (size_t i = 0; rows && i < items->count; i++)
        if (in_span(span, index, &items->at[i]))
            rows_add(rows, BYTES(items->at[i].bytes, items->at[i].len));
}
static void do_point(Fuzz *fuzz, bool delete) {
    uint32_t id, handle = 0;
    int index = take_index(fuzz, &id);
    put_key(fuzz, index, &fuzz->arg);
    Bytes point = spoil(fuzz, &fuzz->arg);
    Span span = {0};
    AbiErrno wanted = model_point(&fuzz->model, index, point, &span);
    if (delete) {
        ASSERT(abi_delete_point(&fuzz->abi, id, point, &handle) == wanted);
        ASSERT(wanted != ABI_OK || handle == model_delete(&fuzz->model, index, &span));
        return;
    }
    if (!may_open(fuzz)) return;
    AbiErrno result = abi_scan_point(&fuzz->abi, id, point, &handle);
    show_span(fuzz, opened(fuzz, result, wanted, handle), index, &span);
}
static void do_range(Fuzz *fuzz, bool delete) {
    uint32_t id, handle = 0;
    int index = take_index(fuzz, &id);
    put_bound(fuzz, index, &fuzz->arg);
    size_t lower = spoil(fuzz, &fuzz->arg).len;
    Buf second = {0};
    put_bound(fuzz, index, &second);
    AccessRange range = {.lower = BYTES(fuzz->arg.ptr, lower), .upper = spoil(fuzz, &second)};
    uint8_t odd = take(fuzz);
    if (odd >= 0xf0) range.prefix_elems = odd == 0xff ? UINT32_MAX : odd & 7;
    if (odd >= 0xf8) range.prefix = range.lower;
    Span span = {0};
    AbiErrno wanted = model_range(&fuzz->model, index, &range, &span);
    if (delete) {
        ASSERT(abi_delete_range(&fuzz->abi, id, &range, &handle) == wanted);
        ASSERT(wanted != ABI_OK || handle == model_delete(&fuzz->model, index, &span));
    } else if (may_open(fuzz)) {
        AbiErrno result = abi_scan_range(&fuzz->abi, id, &range, &handle);
        show_span(fuzz, opened(fuzz, result, wanted, handle), index, &span);
    }
    buf_deinit(&second);
}
static void do_delete_eq(Fuzz *fuzz) {
    uint32_t id, deleted = 0, wanted_deleted = 0;
    int table = take_table(fuzz, &id);
    uint32_t count = take(fuzz) % 4;
    buf_put_u32(&fuzz->arg, count);
    for (uint32_t i = 0; i < count; i++)
        put_row(fuzz, table, &fuzz->arg);
    Bytes relation = spoil(fuzz, &fuzz->arg);
    AbiErrno wanted = model_delete_eq(&fuzz->model, table, relation, &wanted_deleted);
    ASSERT(abi_delete_all_by_eq(&fuzz->abi, id, relation, &deleted) == wanted);
    ASSERT(wanted != ABI_OK || deleted == wanted_deleted);
}
static void do_clear(Fuzz *fuzz) {
    uint32_t id;
    uint64_t deleted = 0;
    int table = take_table(fuzz, &id);
    AbiErrno wanted = !fuzz->model.open ? ABI_NOT_IN_TRANSACTION
                      : table < 0       ? ABI_NO_SUCH_TABLE
                                        : ABI_OK;
    ASSERT(abi_clear(&fuzz->abi, id, &deleted) == wanted);
    if (wanted != ABI_OK) return;
    ASSERT(deleted == fuzz->model.tables[table].count);
    rows_clear(&fuzz->model.tables[table]);
}

// Which table's rows an iterator shows can be told from any of them only; so ask each.
static size_t shown_len(const Rows *rows, Bytes in, size_t *at) {
    for (*at = 0; *at < rows->count; ++*at) {
        const Row *row = &rows->at[*at];
        if (row->len <= in.len && memcmp(row->bytes, in.ptr, row->len) == 0) return row->len;
    }
    return 0;
}
// Every row in `out` is one of those the iterator had still to show. Tells of the last one.
static size_t shown(Rows *rows, Bytes out) {
    size_t last = 0, at;
    while (out.len) {
        last = shown_len(rows, out, &at);
        ASSERT(last > 0);
        rows_remove(rows, at);
        out = BYTES(out.ptr + last, out.len - last);
    }
    return last;
}
static void do_advance(Fuzz *fuzz) {
    static uint8_t out[ROW_MAX * 4];
    uint32_t handle = take(fuzz) % 12;
    size_t room = (size_t)take(fuzz) * (take(fuzz) % 2 ? 997 : 5), len = 0;
    bool exhausted = false, known = handle && fuzz->model.iter_open[handle - 1];
    size_t fitting = abi_iter_fitting(&fuzz->abi, handle, room);
    AbiErrno result = abi_iter_advance(&fuzz->abi, handle, out, room, &len, &exhausted);
    if (!known) {
        ASSERT(result == ABI_NO_SUCH_ITER && fitting == 0);
        return;
    }
    Rows *rows = &fuzz->model.iters[handle - 1];
    if (result == ABI_BUFFER_TOO_SMALL) {
        size_t chunk = len;
        ASSERT(fitting == 0 && chunk > room && chunk < sizeof out && rows->count > 0);
        if (take(fuzz) % 2) return;
        // The buffer that was asked for takes one chunk: all of it but the last row is small.
        ASSERT(abi_iter_advance(&fuzz->abi, handle, out, chunk, &len, &exhausted) == ABI_OK);
        ASSERT(len == chunk);
        size_t last = shown(rows, BYTES(out, len));
        ASSERT(len - last <= ABI_CHUNK_BYTES);
        ASSERT(len > ABI_CHUNK_BYTES || exhausted);
    } else {
        ASSERT(result == ABI_OK && len == fitting && len <= room);
        ASSERT(len > 0 || exhausted);
        shown(rows, BYTES(out, len));
    }
    ASSERT(exhausted == (rows->count == 0));
    if (exhausted) fuzz->model.iter_open[handle - 1] = false;
}
static void do_close(Fuzz *fuzz) {
    uint32_t handle = take(fuzz) % 12;
    if (take(fuzz) >= 0xf0) handle |= 0x80000000u;
    bool known = handle && handle <= ITERS_MAX && fuzz->model.iter_open[handle - 1];
    ASSERT(abi_iter_close(&fuzz->abi, handle) == (known ? ABI_OK : ABI_NO_SUCH_ITER));
    if (!known) return;
    rows_clear(&fuzz->model.iters[handle - 1]);
    fuzz->model.iter_open[handle - 1] = false;
}

static void do_transaction(Fuzz *fuzz) {
    bool procedure = fuzz->call.procedure, open = fuzz->model.open;
    Micros at;
    switch (take(fuzz) % 3) {
    case 0:
        ASSERT(abi_tx_begin(&fuzz->abi, &at) ==
               (procedure && !open ? ABI_OK : ABI_WOULD_BLOCK_TRANSACTION));
        break;
    case 1:
        ASSERT(abi_tx_commit(&fuzz->abi) ==
               (procedure && open ? ABI_OK : ABI_TRANSACTION_NOT_ANONYMOUS));
        break;
    case 2:
        ASSERT(abi_tx_abort(&fuzz->abi) ==
               (procedure && open ? ABI_OK : ABI_TRANSACTION_NOT_ANONYMOUS));
        break;
    }
}
static void do_wait(Fuzz *fuzz) {
    bool allowed = fuzz->call.procedure && !fuzz->model.open;
    Micros now = 0;
    const char *why;
    Buf body = {0};
    ASSERT(abi_sleep_until(&fuzz->abi, 7, &now, &why) == allowed && (allowed || why));
    ASSERT(abi_may_block(&fuzz->abi) == (fuzz->call.procedure != NULL));
    ASSERT(abi_http(&fuzz->abi, BYTES("r", 1), BYTES("bo", 2), &fuzz->out, &body) ==
           (allowed ? ABI_OK : ABI_WOULD_BLOCK_TRANSACTION));
    ASSERT(fuzz->out.len == (allowed ? 1 : 0) && body.len == (allowed ? 2 : 0));
    buf_deinit(&body);
}
static void do_console(Fuzz *fuzz) {
    uint8_t what = take(fuzz);
    uint32_t timer = 0;
    if (what % 3 == 0) {
        abi_log(&fuzz->abi, what, STR_NONE, STR("f"), what, STR("m"));
        fuzz->logged_wanted++;
    } else if (what % 3 == 1) {
        ASSERT(abi_timer_start(&fuzz->abi, STR("t"), &timer) == ABI_OK && timer >= 1);
        fuzz->model.timers_open++;
    } else if (abi_timer_end(&fuzz->abi, what / 3) == ABI_OK) {
        ASSERT(what / 3 >= 1 && fuzz->model.timers_open > 0);
        fuzz->model.timers_open--;
        fuzz->logged_wanted++;
    }
    ASSERT(fuzz->logged == fuzz->logged_wanted);
}

// ---- calls

static void call_begin(Fuzz *fuzz, bool procedure) {
    fuzz->call = (HostCall){.kind = procedure ? HOST_PROCEDURE : HOST_REDUCER, .name = STR("f")};
    if (procedure) {
        fuzz->call.procedure = &procedure_ops;
        fuzz->call.procedure_ctx = fuzz;
    } else {
        db_open_tx(fuzz);
        fuzz->call.access = db_access(fuzz->db);
    }
    abi_begin(&fuzz->abi, &fuzz->call);
}
static void call_end(Fuzz *fuzz, bool commit) {
    bool dangling = fuzz->call.procedure && fuzz->model.open;
    ASSERT(!fuzz->abi.fatal);
    abi_end(&fuzz->abi);
    fuzz->logged_wanted += dangling;
    ASSERT(fuzz->logged == fuzz->logged_wanted);
    ASSERT(!fuzz->call.procedure || !fuzz->model.open);
    if (!fuzz->call.procedure && commit) (void)op_commit(fuzz);
    if (!fuzz->call.procedure && !commit) op_abort(fuzz);
    for (int i = 0; i < ITERS_MAX; i++) {
        rows_clear(&fuzz->model.iters[i]);
        fuzz->model.iter_open[i] = false;
    }
    fuzz->model.timers_open = 0;
}
static void do_call(Fuzz *fuzz) {
    uint8_t how = take(fuzz);
    call_end(fuzz, how & 1);
    call_begin(fuzz, how & 2);
}

static bool compare_row(void *ctx, Bytes row) {
    Rows *rows = ctx;
    size_t at = rows_find(rows, row);
    ASSERT(at < rows->count);
    rows_remove(rows, at);
    return true;
}
static void compare(Fuzz *fuzz) {
    db_open_tx(fuzz);
    Access *access = db_access(fuzz->db);
    for (int t = 0; t < TABLES; t++) {
        Rows *rows = &fuzz->model.tables[t];
        AbiErrno result =
            access->ops->scan_table(access, fuzz->table_ids[t], (RowSink){compare_row, rows});
        ASSERT(result == ABI_OK && rows->count == 0);
    }
    op_abort(fuzz);
}

static void step(Fuzz *fuzz) {
    buf_clear(&fuzz->arg);
    buf_clear(&fuzz->out);
    switch (take(fuzz) % 32) {
    default: do_insert(fuzz); break;
    case 10:
    case 11:
    case 12: do_update(fuzz); break;
    case 13:
    case 14: do_scan_table(fuzz); break;
    case 15: do_point(fuzz, false); break;
    case 16: do_range(fuzz, false); break;
    case 17: do_point(fuzz, true); break;
    case 18: do_range(fuzz, true); break;
    case 19: do_delete_eq(fuzz); break;
    case 20: do_clear(fuzz); break;
    case 21:
    case 22:
    case 23: do_advance(fuzz); break;
    case 24: do_close(fuzz); break;
    case 25: do_count(fuzz); break;
    case 26: do_names(fuzz); break;
    case 27: do_transaction(fuzz); break;
    case 28: do_wait(fuzz); break;
    case 29: do_console(fuzz); break;
    case 30:
    case 31: do_call(fuzz); break;
    }
}

// One database serves all inputs, emptied before each: making one takes milliseconds. Only the
// sequence goes on, so that generated ids also cross its blocks.
static Db *shared_db(void) {
    static Db *db;
    static TestDef def;
    if (db) return db;
    uint64_t torn;
    testdef_init(&def);
    Err err = db_open(&(DbOptions){.in_memory = true}, &db, &torn, NULL);
    ASSERT(err == OK);
    err = testdef_create(db, &def);
    ASSERT(err == OK);
    return db;
}
static void tables_empty(Fuzz *fuzz) {
    uint64_t deleted;
    db_open_tx(fuzz);
    Access *access = db_access(fuzz->db);
    for (int t = 0; t < TABLES; t++)
        ASSERT(access->ops->clear(access, fuzz->table_ids[t], &deleted) == ABI_OK);
    (void)op_commit(fuzz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const tables[] = {"item", "note", "tick"};
    static const char *const indexes[] = {"item_id_idx_btree",
                                          "item_v_idx_btree",
                                          "item_code_idx_btree"};
    Fuzz *fuzz = calloc(1, sizeof *fuzz);
    *fuzz = (Fuzz){.at = data, .end = data + size};
    fuzz->db = shared_db();
    for (int t = 0; t < TABLES; t++)
        fuzz->table_ids[t] =
            catalog_table_by_name(db_catalog(fuzz->db), str_from(tables[t]))->table_id;
    for (int i = 0; i < INDEXES; i++)
        fuzz->index_ids[i] = testdef_index(fuzz->db, indexes[i]);
    CatalogTable *item = catalog_table(db_catalog(fuzz->db), fuzz->table_ids[ITEM]);
    memcpy(&fuzz->model.next_id, &item->sequences[0].next, sizeof fuzz->model.next_id);
    tables_empty(fuzz);
    fuzz->env = (HostEnv){.ctx = fuzz, .log = count_log};
    abi_init(&fuzz->abi, &fuzz->env);
    call_begin(fuzz, false);
    for (int op = 0; op < OPS_MAX && fuzz->at < fuzz->end; op++)
        step(fuzz);
    call_end(fuzz, true);
    compare(fuzz);
    for (int t = 0; t < TABLES; t++) {
        rows_clear(&fuzz->model.tables[t]);
        rows_clear(&fuzz->model.committed[t]);
    }
    abi_deinit(&fuzz->abi);
    buf_deinit(&fuzz->arg);
    buf_deinit(&fuzz->out);
    free(fuzz);
    return 0;
}
