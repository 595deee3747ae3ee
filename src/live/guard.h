// guard.h: groups by what they ask of one row's columns, so that a row finds those that it may concern.
// Inside this room only.
//
// PICTURE
//   SELECT * FROM t WHERE zone = 5 AND level > 3          guard of {zone}, ranges of level
//     row ──keys of the equality columns──hash──> chain of entries      no range: all of these
//                                             └─> treap of ranges       those whose range has the row's
//
//   WHERE id IN (1, 2, 3) OR owner = 7        four *ways*: a group has an entry for each
//
// ALWAYS TRUE
//   (1) A chain or treap holds what has one hash, not one key: two keys may share it. Who is found is
//       tested by the caller, so that costs a test and no more, and no key need be kept.
//   (2) A group whose predicate holds for a row is found by the row; perhaps through several ways.
//   (3) An entry lies in its group's memory.
#pragma once
#include "live/map.h"
#include "live/ranges.h"
#include "query/query.h"

typedef struct WatchEntry WatchEntry;
struct WatchEntry {
    WatchEntry *next, **link;  // link NULL: the first of a chain whose head is in a map
    uint32_t hash;
    uint32_t at;  // bytes from the beginning of its group
};

static inline Group *entry_group(WatchEntry *entry) {
    return (Group *)(void *)((uint8_t *)entry - entry->at);
}

void chain_push(WatchEntry **head, WatchEntry *entry);
void chain_remove(WatchEntry *entry);  // of a chain whose head is no map's

enum { GUARD_COLUMNS_MAX = 16 };  // more equalities than that are left to the test of the row

typedef struct GuardShape {
    uint32_t column_count;
    uint16_t columns[GUARD_COLUMNS_MAX];  // fixed by equality, ascending
    bool has_range;
    uint16_t range_column;
} GuardShape;

typedef struct Guard Guard;
struct Guard {
    Guard *next;
    LiveMap chains;  // hash -> first WatchEntry, or root RangeNode
    uint32_t entry_count;
    GuardShape shape;
};

// How to narrow to the rows of which all these conjuncts hold. False: not at all.
bool guard_shape(const QueryConjunct *conjuncts, uint32_t count, GuardShape *out);
// The guard of that shape in the list, made if need be. NULL: out of memory.
Guard *guard_obtain(Guard **list, const GuardShape *shape);
void guards_tidy(Guard **list);  // those without entries go

// One way of a template to be found by a row.
typedef struct GuardWay {
    Guard *guard;
    const QueryConjunct *conjuncts;
    uint32_t count;
    uint32_t params_at;  // added to their parameters
} GuardWay;

// Memory of the way's entry for a group with these keys of its parameters; a multiple of 8.
size_t way_bytes(const GuardWay *way, const Bytes *keys);
size_t way_bytes_made(const GuardWay *way, const void *entry);  // of one that was
// Make the entry, `at` bytes behind the group's beginning. ERR_NOMEM; `scratch` is used for a moment.
MUST_USE Err way_make(const GuardWay *way,
                      Group *group,
                      uint32_t at,
                      const Bytes *keys,
                      uint32_t priority,
                      Buf *scratch);
// ERR_NOMEM: it is not in.
MUST_USE Err way_enter(const GuardWay *way, void *entry);
void way_leave(const GuardWay *way, void *entry);
// Of a way without a range: the chain in which entries with this hash stand, and the hash by itself.
WatchEntry *way_chain(const GuardWay *way, uint32_t hash);
MUST_USE Err way_hash(const GuardWay *way, const Bytes *keys, Buf *scratch, uint32_t *out);

// What a guard asks of a row; it points into `room`.
typedef struct GuardKey {
    uint32_t hash;
    Bytes range;
} GuardKey;
MUST_USE Err
guard_key(const Guard *guard, const RowLayout *layout, Bytes row, Buf *room, GuardKey *out);
// Call `each` for the groups that are found by a key, each entry once, until it answers an error; but not
// for those that `before` (may be NULL) finds, too. *seen counts nodes of ranges.
typedef Err (*GuardEach)(void *ctx, Group *group);
MUST_USE Err guard_each(const Guard *guard,
                        const GuardKey *key,
                        const GuardKey *before,
                        GuardEach each,
                        void *ctx,
                        uint64_t *seen);
