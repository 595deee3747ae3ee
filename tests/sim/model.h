// model.h: what the database should hold and answer, kept in arrays and searched from one end to the
// other.
//
// A transaction is remembered as the operations it asked for and the answers it got. Whether those
// answers are right is asked by doing the operations again on a State: that of the snapshot, for
// everything an overlay saw, and that of the head at its commit, for everything that committed.
#pragma once
#include "base/bytes.h"

enum { ITEMS_MAX = 512, NOTES_MAX = 64, TIMERS_MAX = 512, DRAWN_MAX = 1024 };

typedef struct Item {
    uint64_t id;
    uint32_t v, code;
    uint32_t name;  // stands for a text, model_name
} Item;

typedef struct Note {
    uint32_t text, n;
} Note;

typedef struct State {
    Item items[ITEMS_MAX];  // by id
    Note notes[NOTES_MAX];  // in no order
    uint64_t timers[TIMERS_MAX];
    uint64_t drawn
        [DRAWN_MAX];  // what the sequences gave out to rows, item's and timer's (its top bit set)
    uint32_t item_count, note_count, timer_count, drawn_count;
} State;

typedef enum OpKind {
    OP_GET,       // item by id (a)
    OP_CODE,      // item by code (a)
    OP_RANGE,     // items with v in a to b
    OP_SCAN,      // all items
    OP_COUNT,     // of items
    OP_PUT,       // insert `item`; id 0: the sequence's
    OP_SET,       // update by id
    OP_DELETE,    // by id (a)
    OP_DELETE_V,  // items with v in a to b
    OP_CLEAR,     // all items
    OP_NOTE_PUT,  // the note (a, b)
    OP_NOTE_DELETE,
    OP_NOTE_SCAN,
    OP_TIMER_PUT,  // with an id of the sequence
    OP_TIMER_SCAN,
    OP_KINDS,
} OpKind;

typedef struct Answer {
    uint64_t status;     // AbiErrno
    uint64_t count;      // rows found or deleted
    uint64_t digest;     // of the rows, in order where the operation has one
    uint64_t generated;  // by a sequence
} Answer;

typedef struct Op {
    OpKind kind;
    uint32_t a, b;
    Item item;
    Answer answer;
} Op;

static inline uint64_t model_mix(uint64_t digest, uint64_t value) {
    digest = (digest ^ value) * 0x9e3779b97f4a7c15u;
    return digest ^ digest >> 29;
}
static inline uint64_t model_mix_item(uint64_t digest, const Item *item) {
    digest = model_mix(digest, item->id);
    return model_mix(digest, (uint64_t)item->v << 40 ^ (uint64_t)item->code << 20 ^ item->name);
}
static inline uint64_t model_of_note(Note note) {
    return model_mix(note.text + 1, note.n);
}

// The text that a name stands for: its number and then filler; some fill several pages. Appended.
void model_name(uint32_t name, Buf *out);
bool model_name_read(Bytes text, uint32_t *name);  // false: no such text was ever written

void model_copy(State *to, const State *from);
// What it should have been answered here. A value of a sequence cannot be foretold: it is taken from
// op->answer, and *why says what is wrong with it if anything is.
Answer model_do(State *state, const Op *op, const char **why);
const char *model_op_name(OpKind kind);
