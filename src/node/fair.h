// fair.h: whose turn it is. DESIGN §3 "Fairness is defined".
//
// PICTURE
//   Fair (of a database)
//     sparse ─> party                    a party is an identity, however many connections it has, or an
//     fresh  ─> party ─> party             address whose HTTP requests name none (each gets a new one):
//     rest   ─> party ─> party ─> …        entry ─> entry ─> …   its sessions with something to do
//     parked    a heap of entries by the time at which they may go on
//
//   Time is what is shared, because one call may take a thousand times as long as another. In each
//   round a party may use up its share; what it takes beyond is a debt that later rounds pay
//   (deficit round-robin, with the cost known afterwards). A turn of the loop ends when everybody
//   who has something to do has used up a share, so that sockets are looked at again.
//
//   Who begins to want something and owes nothing is `fresh` and comes first, in alternation with
//   the rest: a polite client does not queue behind those that always have something to do (as in
//   fq_codel, RFC 8290), and identities made for one call each cannot starve the others.
//
//   Who is fresh and takes much less time than the one who takes most (recent.h) is `sparse`, and comes before the
//   fresh, in alternation with all others: one who sends his calls a few at a time is fresh each time, and
//   uses up a share nevertheless. While one of them waits, who is not sparse goes on a message at a time, not a share.
//   The turn wants to know: he gets his answer as soon as the disk allows it. Where all take alike nobody is sparse, and
//   batches may be large.
//
//   Nobody is sparse who was served first less than a window ago; those count as one when it is asked who takes
//   most. Else a crowd that comes and goes, each a name of its own, would hide that it takes all there is.
//
//   A share is of the loop's time. What workers do for a party is its work as well: who has much less work
//   done than the one who has most is `light`, and beside him the calls of the others should not be long
//   (fair_is_crowded). Without the workers' time a party whose long calls were sent to them would soon seem to take
//   nothing, and they would come back to the loop, until it had taken enough there to be sent away again.
//
// ALWAYS TRUE
//   (1) A party is in a ring exactly while it has an entry that is ready.
//   (2) No time is wasted: when all who want something are in debt, rounds pass at once.
//   (3) A party is forgotten when nobody is of it any more, its bucket is full, and it was not worked for in this
//       window and the one before: until then a client that comes back finds all of that as he left it. Over HTTP
//       each request is such a coming and going.
//
// Memory and time are the caller's: nothing here reads a clock, so tests tell the time.
//
// CALLERS   session.c, lane.c.      START AT  fair_test.c.
#pragma once
#include "base/bytes.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/recent.h"

// ── a token bucket ─────────────────────────────────────────────────────────────────────────────

// `rate` a second, `burst` at once. A bucket is one number (the generic cell rate algorithm): the
// moment at which it is full again.
typedef struct Bucket {
    int64_t full_ns;
} Bucket;

typedef struct BucketRule {
    int64_t rate;   // tokens a second; 0: no limit
    int64_t burst;  // at least 1
} BucketRule;

// When a token taken now can be had: `now_ns` or later.
int64_t bucket_when(const Bucket *bucket, BucketRule rule, int64_t now_ns);
// Take the token of that moment. Those who come later get later ones, so each waits once.
void bucket_take(Bucket *bucket, BucketRule rule, int64_t now_ns);

// ── parties ────────────────────────────────────────────────────────────────────────────────────

#define FAIR_LANES 3

typedef struct FairEntry FairEntry;
typedef struct FairParty FairParty;

struct FairEntry {  // inside of a session
    FairEntry *next;
    FairParty *party;
    bool is_client;  // somebody outside waits for it
    bool is_ready;
    uint32_t burst;   // messages taken up since it was last behind the others of its party
    uint32_t parked;  // place in the heap and 1; 0: not there
    int64_t due_ns;   // until when it is parked
    bool may_pass;    // its token was taken while it was parked
    bool was_sparse;  // its party was, when the entry was taken last
};

struct FairParty {
    Identity identity;
    FairParty *next;  // in a ring
    FairParty *same_hash;
    FairEntry *first, *last;  // ready
    uint32_t entries, clients;
    bool is_ready;
    bool is_fresh;      // while it is ready: in that ring
    int64_t credit_ns;  // left of its share; below 0: a debt
    uint64_t round;     // up to which it was given its shares
    int64_t since_ns;   // when it was served first; 0: it was not
    Recent use;         // of the loop
    Recent work;        // of the loop and of workers
    Bucket bucket;
    uint32_t lane_active[FAIR_LANES], lane_queued[FAIR_LANES];  // lane.c
};

typedef struct FairRing {
    FairParty *first, *last;
} FairRing;

typedef enum FairRingKind { FAIR_SPARSE, FAIR_FRESH, FAIR_REST, FAIR_RINGS } FairRingKind;

// A party that was served, and when it was last.
typedef struct FairSeen {
    const FairParty *party;
    int64_t at_ns;
} FairSeen;

typedef struct FairStats {
    uint64_t parties;    // known now
    uint64_t parked;     // entries waiting now
    uint64_t held_back;  // times that a turn ended because all had used up their share
    uint64_t in_debt;    // times that a party had to let rounds pass
} FairStats;

typedef struct Fair {
    int64_t share_ns;     // of a party, a round
    BucketRule identity;  // of a party's bucket
    FairRing rings[FAIR_RINGS];
    bool rest_next, others_next;  // whose turn it is where rings alternate
    uint64_t round;
    FairParty *served;  // by the last fair_take, since `served_since_ns`
    int64_t served_since_ns;
    bool served_sparse;
    FairSeen sparse;             // the last that was
    FairSeen light[2];           // the last two that were, the latest first
    Recent most_use, most_work;  // of the party that has most
    Recent new_use;              // of all who are new, together
    bool any_served;             // in this turn
    bool may_begin_round;        // in this turn
    FairParty **table;
    uint32_t table_size, party_count, idle_count, idle_limit;
    uint32_t client_parties;
    FairEntry **heap;
    uint32_t heap_count, heap_cap;
    FairStats stats;
} Fair;

void fair_init(Fair *fair);
void fair_deinit(Fair *fair);  // no entry is joined any more

// An entry belongs to a party from fair_join to fair_leave. ERR_NOMEM.
MUST_USE Err fair_join(Fair *fair, FairEntry *entry, const Identity *identity, bool is_client);
void fair_leave(Fair *fair, FairEntry *entry, int64_t now_ns);

void fair_ready(Fair *fair, FairEntry *entry);  // it has something to do; harmless when it is known
bool fair_any_ready(const Fair *fair);
bool fair_any_sparse_ready(const Fair *fair);
void fair_clear_ready(Fair *fair);  // nobody has anything to do any more

void fair_turn_begin(Fair *fair);
void fair_turn_end(Fair *fair, int64_t now_ns);
// Who goes next; it is not ready any more. The time from here to the next fair_take or
// fair_turn_end is its party's cost. NULL: nobody has anything to do, or the turn should end.
FairEntry *fair_take(Fair *fair, int64_t now_ns);
// Is somebody light about, other than who is being served?
bool fair_is_crowded(const Fair *fair, int64_t now_ns);
bool fair_sparse_within(const Fair *fair, int64_t within_ns, int64_t now_ns);  // was anybody?
// Of the time since the last fair_take, so much was nobody's: the machine ran somebody else.
void fair_excuse(Fair *fair, int64_t ns);
// Of the loop's time outside of turns, so much was spent for the entry's party: it was let in.
void fair_used(Fair *fair, const FairEntry *entry, int64_t ns, int64_t now_ns);
// A worker spent so much time for the entry's party.
void fair_worked(Fair *fair, const FairEntry *entry, int64_t ns, int64_t now_ns);
// The entry that was taken has more to do: it keeps its place for a burst of messages.
void fair_again(Fair *fair, FairEntry *entry);

// ── parking ────────────────────────────────────────────────────────────────────────────────────

MUST_USE Err fair_park(Fair *fair, FairEntry *entry, int64_t due_ns);
void fair_unpark(Fair *fair, FairEntry *entry);  // harmless when it is not parked
void fair_wake(Fair *fair, int64_t now_ns);      // those that are due are ready
int64_t fair_next_due_ns(const Fair *fair);      // INT64_MAX: nobody is parked

typedef enum FairVerdict { FAIR_PASS, FAIR_WAIT, FAIR_REFUSE } FairVerdict;
// May this entry make a call now? `also` is a second bucket that the call draws on, or NULL.
// FAIR_WAIT: it was parked, and passes when it asks again afterwards. FAIR_REFUSE: it would have to
// wait longer than `wait_max_ns`; nothing was taken, *wait_ns says how long.
FairVerdict fair_admit(Fair *fair,
                       FairEntry *entry,
                       Bucket *also,
                       BucketRule also_rule,
                       int64_t wait_max_ns,
                       int64_t now_ns,
                       int64_t *wait_ns);
