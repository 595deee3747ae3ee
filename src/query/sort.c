// sort.c: answer rows in order.
//
// A row's key is bytes: its terms' memcomparable keys one behind another, inverted where the order is
// descending, each behind a byte that says whether there is a value at all. So sorting is memcmp,
// and rows that compare equal stay in the order in which they came. With LIMIT no more is kept than
// twice what can be asked for.
#include <stdlib.h>

#include "base/mem.h"
#include "query/plan.h"
#include "sats/key.h"

typedef struct SortRow {
    uint64_t serial;
    uint32_t key_len, row_len;
    uint8_t bytes[];  // key, row
} SortRow;

struct Sorter {
    const Plan *plan;
    PlanMemory *memory;
    SortRow **rows;
    uint64_t count, cap, serial;
    uint64_t wanted;  // with LIMIT: the first so many; UINT64_MAX: all
    Buf key;
};

enum { PRUNE_MIN = 1024 };

Err sorter_new(const Plan *plan, PlanMemory *memory, Sorter **out) {
    Sorter *sorter = MEM_NEW(Sorter);
    if (!sorter) return ERR_NOMEM;
    sorter->plan = plan;
    sorter->memory = memory;
    sorter->wanted = UINT64_MAX;
    if (plan->has_limit && plan->limit <= UINT64_MAX - plan->offset)
        sorter->wanted = plan->limit + plan->offset;
    *out = sorter;
    return OK;
}

void sorter_free(Sorter **out) {
    Sorter *sorter = *out;
    if (!sorter) return;
    for (uint64_t i = 0; i < sorter->count; i++)
        mem_free(sorter->rows[i]);
    mem_free(sorter->rows);
    buf_deinit(&sorter->key);
    mem_free(sorter);
    *out = NULL;
}

uint64_t sorter_count(const Sorter *sorter) {
    return sorter->count;
}
Bytes sorter_row(const Sorter *sorter, uint64_t at) {
    const SortRow *row = sorter->rows[at];
    return BYTES(row->bytes + row->key_len, row->row_len);
}

// ── keys ───────────────────────────────────────────────────────────────────────────────────────

static void term_put(Buf *key, const PlanOrder *order, Bytes value) {
    const Type *type = order->type;
    bool is_option = type->special == SPECIAL_OPTION;
    bool none = !value.ptr || (is_option && value.ptr[0] == 1);
    buf_put_u8(key, !none ? 1 : order->nulls_first ? 0 : 2);
    if (none) return;
    size_t begin = key->len;
    if (is_option)
        key_append(key, type->fields[0].type, value.ptr + 1);
    else
        key_append(key, type, value.ptr);
    for (size_t i = begin; order->descending && buf_ok(key) && i < key->len; i++)
        key->ptr[i] = (uint8_t)~key->ptr[i];
}

static Bytes output_value(const Plan *plan, uint32_t output, Bytes row) {
    const uint8_t *at = row.ptr;
    for (uint32_t i = 0; i < output; i++)
        at += bsatn_len(plan->outputs[i].type, at);
    return BYTES(at, bsatn_len(plan->outputs[output].type, at));
}

static Err key_make(Sorter *sorter, const JoinRun *run, Bytes row) {
    buf_clear(&sorter->key);
    for (uint32_t i = 0; i < sorter->plan->order_count; i++) {
        const PlanOrder *order = &sorter->plan->orders[i];
        Bytes value = order->of_output ? output_value(sorter->plan, order->output, row)
                                       : join_run_value(run, order->column);
        term_put(&sorter->key, order, value);
    }
    return buf_ok(&sorter->key) ? OK : ERR_NOMEM;
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

static int row_order(const void *a, const void *b) {
    const SortRow *x = *(SortRow *const *)a, *y = *(SortRow *const *)b;
    int c = bytes_cmp(BYTES(x->bytes, x->key_len), BYTES(y->bytes, y->key_len));
    return c != 0 ? c : x->serial < y->serial ? -1 : 1;
}

static size_t row_bytes(const SortRow *row) {
    return sizeof *row + row->key_len + row->row_len + sizeof(SortRow *);
}

void sorter_sort(Sorter *sorter) {
    if (sorter->count > 1) qsort(sorter->rows, sorter->count, sizeof(SortRow *), row_order);
    while (sorter->count > sorter->wanted) {
        SortRow *row = sorter->rows[--sorter->count];
        sorter->memory->used -= row_bytes(row);
        mem_free(row);
    }
}

static Err reserve(Sorter *sorter) {
    if (sorter->wanted < UINT64_MAX / 2 && sorter->count >= 2 * sorter->wanted + PRUNE_MIN)
        sorter_sort(sorter);
    if (sorter->count < sorter->cap) return OK;
    uint64_t cap = sorter->cap ? 2 * sorter->cap : 64;
    SortRow **rows = mem_realloc(sorter->rows, cap * sizeof(SortRow *));
    if (!rows) return ERR_NOMEM;
    sorter->rows = rows;
    sorter->cap = cap;
    return OK;
}

Err sorter_add(Sorter *sorter, const JoinRun *run, Bytes row) {
    Err err = key_make(sorter, run, row);
    if (err == OK) err = reserve(sorter);
    if (err != OK) return err;
    SortRow *made = mem_alloc(sizeof *made + sorter->key.len + row.len);
    if (!made) return ERR_NOMEM;
    *made = (SortRow){sorter->serial++, (uint32_t)sorter->key.len, (uint32_t)row.len};
    if (sorter->key.len) memcpy(made->bytes, sorter->key.ptr, sorter->key.len);
    if (row.len) memcpy(made->bytes + sorter->key.len, row.ptr, row.len);
    sorter->rows[sorter->count++] = made;
    return plan_memory_take(sorter->memory, row_bytes(made));
}
