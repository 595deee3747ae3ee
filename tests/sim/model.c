#include "tests/sim/model.h"

#include <stdio.h>
#include <stdlib.h>

#include "txn/access.h"

#define TIMER_DRAWN ((uint64_t)1 << 63)

// ── names ──────────────────────────────────────────────────────────────────────────────────────

static size_t filler_of(uint32_t name) {
    if (name % 41 == 0) return 9000 + name % 20000;
    if (name % 7 == 0) return name % 2500;
    return name % 40;
}

void model_name(uint32_t name, Buf *out) {
    buf_printf(out, "%u ", name);
    size_t filler = filler_of(name);
    uint8_t *p = buf_extend(out, filler);
    ASSERT(p);
    memset(p, 'a' + (int)(name % 26), filler);
}

bool model_name_read(Bytes text, uint32_t *name) {
    char digits[12] = {0};
    memcpy(digits, text.ptr, MIN(text.len, sizeof digits - 1));
    *name = (uint32_t)strtoul(digits, NULL, 10);
    Buf expected = {0};
    model_name(*name, &expected);
    bool same = bytes_eq(buf_bytes(&expected), text);
    buf_deinit(&expected);
    return same;
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

void model_copy(State *to, const State *from) {
    memcpy(to->items, from->items, from->item_count * sizeof *from->items);
    memcpy(to->notes, from->notes, from->note_count * sizeof *from->notes);
    memcpy(to->timers, from->timers, from->timer_count * sizeof *from->timers);
    memcpy(to->drawn, from->drawn, from->drawn_count * sizeof *from->drawn);
    to->item_count = from->item_count;
    to->note_count = from->note_count;
    to->timer_count = from->timer_count;
    to->drawn_count = from->drawn_count;
}

static Item *by_id(State *state, uint64_t id) {
    for (uint32_t i = 0; i < state->item_count; i++) {
        if (state->items[i].id == id) return &state->items[i];
    }
    return NULL;
}

static Item *by_code(State *state, uint32_t code) {
    for (uint32_t i = 0; i < state->item_count; i++) {
        if (state->items[i].code == code) return &state->items[i];
    }
    return NULL;
}

static bool is_same(const Item *a, const Item *b) {
    return a->id == b->id && a->v == b->v && a->code == b->code && a->name == b->name;
}

static void remove_at(State *state, uint32_t i) {
    state->item_count--;
    memmove(&state->items[i], &state->items[i + 1], (state->item_count - i) * sizeof(Item));
}

static void add(State *state, const Item *item) {
    ASSERT(state->item_count < ITEMS_MAX);
    uint32_t i = state->item_count++;
    for (; i > 0 && state->items[i - 1].id > item->id; i--)
        state->items[i] = state->items[i - 1];
    state->items[i] = *item;
}

static void draw(State *state, uint64_t value, const char **why) {
    for (uint32_t i = 0; i < state->drawn_count; i++) {
        if (state->drawn[i] == value) *why = "the sequence gave out a value for the second time";
    }
    if ((value & ~TIMER_DRAWN) == 0) *why = "the sequence gave out zero";
    ASSERT(state->drawn_count < DRAWN_MAX);
    state->drawn[state->drawn_count++] = value;
}

// ── operations ─────────────────────────────────────────────────────────────────────────────────

// By v and then by id, as the index has them.
static Answer range(const State *state, uint32_t low, uint32_t high) {
    Answer answer = {0};
    for (uint32_t v = low; v <= high; v++) {
        for (uint32_t i = 0; i < state->item_count; i++) {
            if (state->items[i].v != v) continue;
            answer.count++;
            answer.digest = model_mix_item(answer.digest, &state->items[i]);
        }
    }
    return answer;
}

static Answer one(const Item *item) {
    if (!item) return (Answer){0};
    return (Answer){.count = 1, .digest = model_mix_item(0, item)};
}

static Answer put(State *state, const Op *op, const char **why) {
    Item item = op->item;
    Answer answer = {0};
    const Item *there = item.id ? by_id(state, item.id) : NULL;
    if (there && is_same(there, &item)) return answer;  // tables are sets
    if (there || by_code(state, item.code)) {
        answer.status = ABI_UNIQUE_ALREADY_EXISTS;
        return answer;
    }
    if (item.id == 0) {
        item.id = answer.generated = op->answer.generated;
        draw(state, item.id, why);
    }
    if (by_id(state, item.id)) {
        *why = "the sequence gave out the id of a row that is there";
        return answer;
    }
    add(state, &item);
    return answer;
}

static Answer set(State *state, const Item *item) {
    Item *there = by_id(state, item->id), *holder = by_code(state, item->code);
    if (!there) return (Answer){.status = ABI_NO_SUCH_ROW};
    if (holder && holder != there) return (Answer){.status = ABI_UNIQUE_ALREADY_EXISTS};
    *there = *item;
    return (Answer){0};
}

static Answer delete_where(State *state, const Op *op) {
    Answer answer = {0};
    for (uint32_t i = state->item_count; i-- > 0;) {
        const Item *item = &state->items[i];
        bool hit = op->kind == OP_CLEAR    ? true
                   : op->kind == OP_DELETE ? item->id == op->a
                                           : item->v >= op->a && item->v <= op->b;
        if (!hit) continue;
        remove_at(state, i);
        answer.count++;
    }
    return answer;
}

static Answer note(State *state, const Op *op) {
    uint32_t at = 0;
    while (at < state->note_count &&
           (state->notes[at].text != op->a || state->notes[at].n != op->b))
        at++;
    bool there = at < state->note_count;
    if (op->kind == OP_NOTE_DELETE) {
        if (there) state->notes[at] = state->notes[--state->note_count];
        return (Answer){.count = there};
    }
    ASSERT(there || state->note_count < NOTES_MAX);
    if (!there) state->notes[state->note_count++] = (Note){op->a, op->b};
    return (Answer){0};
}

static Answer scan(const State *state, OpKind kind) {
    Answer answer = {0};
    if (kind == OP_SCAN) {
        answer.count = state->item_count;
        for (uint32_t i = 0; i < state->item_count; i++)
            answer.digest = model_mix_item(answer.digest, &state->items[i]);
    } else if (kind == OP_NOTE_SCAN) {  // by hash: a sum, whatever the order
        answer.count = state->note_count;
        for (uint32_t i = 0; i < state->note_count; i++)
            answer.digest += model_of_note(state->notes[i]);
    } else {
        answer.count = state->timer_count;
        for (uint32_t i = 0; i < state->timer_count; i++)
            answer.digest += model_mix(1, state->timers[i]);
    }
    return answer;
}

Answer model_do(State *state, const Op *op, const char **why) {
    switch (op->kind) {
    case OP_GET: return one(by_id(state, op->a));
    case OP_CODE: return one(by_code(state, op->a));
    case OP_RANGE: return range(state, op->a, op->b);
    case OP_COUNT: return (Answer){.count = state->item_count};
    case OP_PUT: return put(state, op, why);
    case OP_SET: return set(state, &op->item);
    case OP_DELETE:
    case OP_DELETE_V:
    case OP_CLEAR: return delete_where(state, op);
    case OP_NOTE_PUT:
    case OP_NOTE_DELETE: return note(state, op);
    case OP_TIMER_PUT:
        draw(state, op->answer.generated | TIMER_DRAWN, why);
        ASSERT(state->timer_count < TIMERS_MAX);
        state->timers[state->timer_count++] = op->answer.generated;
        return (Answer){.generated = op->answer.generated};
    default: return scan(state, op->kind);
    }
}

const char *model_op_name(OpKind kind) {
    static const char *const names[OP_KINDS] = {
        "get",
        "by code",
        "range",
        "scan",
        "count",
        "put",
        "set",
        "delete",
        "delete by v",
        "clear",
        "note put",
        "note delete",
        "note scan",
        "timer put",
        "timer scan",
    };
    return names[kind];
}
