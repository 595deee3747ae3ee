#include "node/fair.h"

#include <string.h>

#include "base/mem.h"

// Within a party, an entry goes behind the others after so many messages. Not after each: what a
// client gets in a turn leaves in one write, and with one message from everybody the writes cost a
// busy turn a third of its time.
#define BURST_MESSAGES 16
#define DEBT_SHARES    1000       // what is owed beyond is forgiven: nobody is kept out for seconds
#define CROWDED_NS     100000000  // somebody who was light so long ago is still about
#define TABLE_LEAST    64
#define IDLE_LEAST     64

// What somebody may use of a window and make nobody sparse: of sixty-four who take alike some have 3 ms, others 1.
#define CHANCE_NS (RECENT_WINDOW_NS / 50)
// … or light: a reducer that needs 2 ms every 50 ms is nobody's trouble.
#define BUSY_NS (RECENT_WINDOW_NS / 25)

// ── buckets ────────────────────────────────────────────────────────────────────────────────────

static int64_t token_ns(BucketRule rule) {
    return MAX(1000000000 / rule.rate, 1);
}

int64_t bucket_when(const Bucket *bucket, BucketRule rule, int64_t now_ns) {
    if (!rule.rate) return now_ns;
    return MAX(now_ns, bucket->full_ns - (MAX(rule.burst, 1) - 1) * token_ns(rule));
}

void bucket_take(Bucket *bucket, BucketRule rule, int64_t now_ns) {
    if (rule.rate) bucket->full_ns = MAX(bucket->full_ns, now_ns) + token_ns(rule);
}

// ── parties ────────────────────────────────────────────────────────────────────────────────────

void fair_init(Fair *fair) {
    *fair = (Fair){.idle_limit = IDLE_LEAST};
}

static FairParty **party_link(const Fair *fair, const Identity *identity) {
    uint64_t hash = load_u64(identity->le) * 0x9E3779B97F4A7C15u;
    FairParty **link = &fair->table[(hash >> 32) & (fair->table_size - 1)];
    while (*link && !identity_eq(&(*link)->identity, identity))
        link = &(*link)->same_hash;
    return link;
}

static bool table_grow(Fair *fair) {
    uint32_t old_size = fair->table_size;
    FairParty **old = fair->table;
    uint32_t size = old_size ? old_size * 2 : TABLE_LEAST;
    FairParty **table = mem_zalloc(size * sizeof *table);
    if (!table) return old != NULL;  // fuller than it should be, and right all the same
    fair->table = table;
    fair->table_size = size;
    for (uint32_t i = 0; i < old_size; i++) {
        for (FairParty *p = old[i], *next; p; p = next) {
            next = p->same_hash;
            p->same_hash = NULL;
            *party_link(fair, &p->identity) = p;
        }
    }
    mem_free(old);
    return true;
}

static void party_free(Fair *fair, FairParty *p) {
    FairParty **link = party_link(fair, &p->identity);
    *link = p->same_hash;
    if (fair->served == p) fair->served = NULL;
    if (fair->sparse.party == p) fair->sparse = (FairSeen){0};
    for (size_t i = 0; i < ARRAY_LEN(fair->light); i++) {
        if (fair->light[i].party == p) fair->light[i] = (FairSeen){0};
    }
    fair->party_count--;
    mem_free(p);
}

// (3) What it used is what it is judged by for two windows.
static bool may_forget(const FairParty *p, int64_t now_ns) {
    return !p->entries && p->bucket.full_ns <= now_ns && recent_is_over(&p->work, now_ns);
}

// Looking is put off until there are as many to look at as there were left over last time.
static void idle_sweep(Fair *fair, int64_t now_ns) {
    if (fair->idle_count < fair->idle_limit) return;
    for (uint32_t i = 0; i < fair->table_size; i++) {
        for (FairParty *p = fair->table[i], *next; p; p = next) {
            next = p->same_hash;
            if (!may_forget(p, now_ns)) continue;
            party_free(fair, p);
            fair->idle_count--;
        }
    }
    fair->idle_limit = MAX(2 * fair->idle_count, IDLE_LEAST);
}

Err fair_join(Fair *fair, FairEntry *entry, const Identity *identity, bool is_client) {
    if (fair->party_count >= fair->table_size && !table_grow(fair)) return ERR_NOMEM;
    FairParty **link = party_link(fair, identity);
    if (!*link) {
        FairParty *fresh = MEM_NEW(FairParty);
        if (!fresh) return ERR_NOMEM;
        fresh->identity = *identity;
        fresh->credit_ns = fair->share_ns;
        fresh->round = fair->round;
        *link = fresh;
        fair->party_count++;
    } else if ((*link)->entries == 0) {
        fair->idle_count--;
    }
    FairParty *p = *link;
    p->entries++;
    if (is_client && p->clients++ == 0) fair->client_parties++;
    *entry = (FairEntry){.party = p, .is_client = is_client};
    return OK;
}

static void ring_remove(FairRing *ring, const FairParty *party) {
    FairParty **link = &ring->first, *before = NULL;
    while (*link && *link != party) {
        before = *link;
        link = &before->next;
    }
    if (!*link) return;
    *link = party->next;
    if (ring->last == party) ring->last = before;
}

static void entry_unready(Fair *fair, FairEntry *entry) {
    FairParty *p = entry->party;
    FairEntry **link = &p->first, *before = NULL;
    if (!entry->is_ready) return;
    while (*link != entry) {
        before = *link;
        link = &before->next;
    }
    *link = entry->next;
    if (p->last == entry) p->last = before;
    entry->is_ready = false;
    if (p->first) return;
    for (size_t i = 0; i < ARRAY_LEN(fair->rings); i++)
        ring_remove(&fair->rings[i], p);
    p->is_ready = false;
}

void fair_leave(Fair *fair, FairEntry *entry, int64_t now_ns) {
    FairParty *p = entry->party;
    if (!p) return;
    fair_unpark(fair, entry);
    entry_unready(fair, entry);
    entry->party = NULL;
    if (entry->is_client && --p->clients == 0) fair->client_parties--;
    if (--p->entries) return;
    if (may_forget(p, now_ns)) {
        party_free(fair, p);
    } else {
        fair->idle_count++;
        idle_sweep(fair, now_ns);
    }
}

void fair_deinit(Fair *fair) {
    for (uint32_t i = 0; i < fair->table_size; i++) {
        while (fair->table[i]) {
            ASSERT(fair->table[i]->entries == 0);
            party_free(fair, fair->table[i]);
        }
    }
    mem_free(fair->table);
    mem_free(fair->heap);
    *fair = (Fair){0};
}

// ── rings ──────────────────────────────────────────────────────────────────────────────────────

static void ring_add(FairRing *ring, FairParty *p) {
    p->next = NULL;
    if (ring->last) {
        ring->last->next = p;
    } else {
        ring->first = p;
    }
    ring->last = p;
}

static FairParty *ring_take(FairRing *ring) {
    FairParty *p = ring->first;
    ring->first = p->next;
    if (!ring->first) ring->last = NULL;
    return p;
}

static bool is_new(const FairParty *p, int64_t now_ns) {
    return !p->since_ns || now_ns - p->since_ns < RECENT_WINDOW_NS;
}

static bool uses_little(Fair *fair, FairParty *p, int64_t now_ns) {
    if (is_new(p, now_ns)) return false;
    return recent_is_little(&p->use, &fair->most_use, CHANCE_NS, now_ns);
}

// Pay the shares of the rounds that passed. A share cannot be saved up.
static void party_pay(const Fair *fair, FairParty *p) {
    uint64_t rounds = fair->round - p->round;
    p->round = fair->round;
    if (rounds == 0) return;
    int64_t missing = fair->share_ns - p->credit_ns;
    bool all = missing <= 0 || rounds > (uint64_t)(missing / MAX(fair->share_ns, 1));
    p->credit_ns = all ? fair->share_ns : p->credit_ns + (int64_t)rounds * fair->share_ns;
}

void fair_ready(Fair *fair, FairEntry *entry) {
    FairParty *p = entry->party;
    if (entry->is_ready) return;
    entry->is_ready = true;
    entry->next = NULL;
    if (p->last) {
        p->last->next = entry;
    } else {
        p->first = entry;
    }
    p->last = entry;
    if (p->is_ready || fair->served == p) return;  // one that is served goes back in fair_take
    p->is_ready = true;
    party_pay(fair, p);
    p->is_fresh = p->credit_ns > 0;
    bool sparse = p->is_fresh && uses_little(fair, p, fair->served_since_ns);
    ring_add(&fair->rings[sparse ? FAIR_SPARSE : p->is_fresh ? FAIR_FRESH : FAIR_REST], p);
}

bool fair_any_sparse_ready(const Fair *fair) {
    return fair->rings[FAIR_SPARSE].first != NULL;
}

bool fair_any_ready(const Fair *fair) {
    for (size_t i = 0; i < ARRAY_LEN(fair->rings); i++) {
        if (fair->rings[i].first) return true;
    }
    return fair->served && fair->served->first;
}

static void ring_clear(FairRing *ring) {
    while (ring->first) {
        FairParty *p = ring_take(ring);
        p->is_ready = false;
        for (FairEntry *e = p->first; e; e = e->next)
            e->is_ready = false;
        p->first = p->last = NULL;
    }
}

void fair_clear_ready(Fair *fair) {
    FairParty *p = fair->served;
    if (p && p->first && !p->is_ready) {
        p->is_ready = true;
        p->is_fresh = false;
        ring_add(&fair->rings[FAIR_REST], p);
    }
    for (size_t i = 0; i < ARRAY_LEN(fair->rings); i++)
        ring_clear(&fair->rings[i]);
}

void fair_again(Fair *fair, FairEntry *entry) {
    FairParty *p = entry->party;
    if (entry->is_ready || ++entry->burst >= BURST_MESSAGES) {
        entry->burst = 0;
        fair_ready(fair, entry);
        return;
    }
    entry->is_ready = true;
    entry->next = p->first;
    p->first = entry;
    if (!p->last) p->last = entry;
    ASSERT(fair->served == p);
}

// ── whose turn ─────────────────────────────────────────────────────────────────────────────────

static void charge_party(Fair *fair, FairParty *p, int64_t cost, int64_t now_ns) {
    if (!p->since_ns) p->since_ns = now_ns;
    recent_charge(&p->use, &fair->most_use, cost, now_ns);
    if (is_new(p, now_ns)) recent_charge(&fair->new_use, &fair->most_use, cost, now_ns);
    recent_charge(&p->work, &fair->most_work, cost, now_ns);
    int64_t credit = p->credit_ns - cost;
    p->credit_ns = MAX(credit, -DEBT_SHARES * fair->share_ns);
}

static void charge(Fair *fair, int64_t now_ns) {
    if (fair->served)
        charge_party(fair, fair->served, MAX(now_ns - fair->served_since_ns, 0), now_ns);
    fair->served_since_ns = now_ns;
}

void fair_used(Fair *fair, const FairEntry *entry, int64_t ns, int64_t now_ns) {
    charge_party(fair, entry->party, MAX(ns, 0), now_ns);
}

void fair_excuse(Fair *fair, int64_t ns) {
    fair->served_since_ns += ns;
}

void fair_worked(Fair *fair, const FairEntry *entry, int64_t ns, int64_t now_ns) {
    if (entry->party) recent_charge(&entry->party->work, &fair->most_work, ns, now_ns);
}

// The party that was served last goes back, if it has more to do. What is left of its share is not
// lost to it because the turn ends.
static void served_back(Fair *fair) {
    FairParty *p = fair->served;
    fair->served = NULL;
    if (!p || !p->first) return;
    p->is_ready = true;
    p->is_fresh = false;
    FairRing *rest = &fair->rings[FAIR_REST];
    if (p->credit_ns > 0 && rest->first) {
        p->next = rest->first;
        rest->first = p;
    } else {
        ring_add(rest, p);
    }
}

void fair_turn_begin(Fair *fair) {
    // Not `rest_next`: turns may be so short that only the first of their fresh ones is served.
    fair->any_served = fair->others_next = false;
    fair->may_begin_round = true;
}

void fair_turn_end(Fair *fair, int64_t now_ns) {
    charge(fair, now_ns);
    served_back(fair);
    // Nobody waits for his next share, so everybody may have it. Else who asks for little at a time would owe more
    // and more where nobody else owes anything.
    if (!fair->rings[FAIR_REST].first) fair->round++;
}

static int64_t best_credit(const Fair *fair) {
    int64_t best = INT64_MIN;
    for (const FairParty *p = fair->rings[FAIR_REST].first; p; p = p->next)
        best = MAX(best, p->credit_ns);
    return best;
}

// (2) All of `rest` is in debt: let as many rounds pass as the one that owes least needs.
static void rounds_pass(Fair *fair) {
    int64_t owed = 1 - best_credit(fair);
    fair->round += (uint64_t)(owed / MAX(fair->share_ns, 1)) + 1;
}

static FairParty *ring_next(Fair *fair, FairRingKind kind) {
    FairParty *p = ring_take(&fair->rings[kind]);
    party_pay(fair, p);
    return p;
}

// One that may be served of those who are not sparse, fresh ones and the rest in alternation; those seen
// on the way go to the end. NULL: nobody is left.
static FairParty *other_next(Fair *fair) {
    FairRing *fresh = &fair->rings[FAIR_FRESH], *rest = &fair->rings[FAIR_REST];
    bool of_rest = fair->rest_next ? rest->first != NULL : !fresh->first;
    fair->rest_next = !of_rest;
    if (!of_rest) return ring_next(fair, FAIR_FRESH);
    for (FairParty *p; (p = rest->first);) {
        if (p->round == fair->round && p->credit_ns <= 0) {  // the ring was gone around
            if (!fair->may_begin_round) break;
            fair->may_begin_round = false;
            fair->round++;
        }
        p = ring_next(fair, FAIR_REST);
        if (p->credit_ns > 0) return p;
        fair->stats.in_debt++;
        ring_add(rest, p);
    }
    return fresh->first ? ring_next(fair, FAIR_FRESH) : NULL;
}

static FairParty *party_next(Fair *fair) {
    bool others =
        fair->others_next && (fair->rings[FAIR_FRESH].first || fair->rings[FAIR_REST].first);
    bool sparse = fair_any_sparse_ready(fair);
    fair->others_next = sparse && !others;
    if (sparse && !others) return ring_next(fair, FAIR_SPARSE);
    FairParty *p = other_next(fair);
    return !p && sparse ? ring_next(fair, FAIR_SPARSE) : p;
}

// What there is to know of a party that is about to be served. True: it is sparse.
static bool look_at(Fair *fair, FairParty *p, int64_t now_ns) {
    FairSeen seen = {p, now_ns};
    if (!p->clients) return false;
    if (recent_is_little(&p->work, &fair->most_work, BUSY_NS, now_ns)) {
        if (fair->light[0].party != p) fair->light[1] = fair->light[0];
        fair->light[0] = seen;
    }
    if (!p->is_fresh || !uses_little(fair, p, now_ns)) return false;
    fair->sparse = seen;
    return true;
}

static bool seen_within(const FairSeen *seen, int64_t within_ns, int64_t now_ns) {
    return seen->party && now_ns - seen->at_ns < within_ns;
}

bool fair_is_crowded(const Fair *fair, int64_t now_ns) {
    bool self = fair->light[0].party == fair->served;
    return seen_within(&fair->light[self], CROWDED_NS, now_ns);
}

bool fair_sparse_within(const Fair *fair, int64_t within_ns, int64_t now_ns) {
    return seen_within(&fair->sparse, within_ns, now_ns);
}

static FairEntry *entry_take(FairParty *p) {
    FairEntry *entry = p->first;
    p->first = entry->next;
    if (!p->first) p->last = NULL;
    entry->is_ready = false;
    return entry;
}

// Its share is not used up. While somebody sparse waits, one who is not goes on a message at a time.
static bool served_goes_on(const Fair *fair) {
    const FairParty *p = fair->served;
    if (!p || !p->first || p->credit_ns <= 0) return false;
    return fair->served_sparse || !fair_any_sparse_ready(fair);
}

FairEntry *fair_take(Fair *fair, int64_t now_ns) {
    charge(fair, now_ns);
    if (!served_goes_on(fair)) {
        served_back(fair);
        if (!fair_any_ready(fair)) return NULL;
        FairParty *p = party_next(fair);
        if (!p) {
            // With nobody else there, looking at the sockets more often would gain nobody anything.
            if (fair->any_served && fair->client_parties > 1) {
                fair->stats.held_back++;
                return NULL;
            }
            rounds_pass(fair);
            fair->rest_next = true;
            p = party_next(fair);
        }
        p->is_ready = false;
        fair->served = p;
        fair->served_sparse = look_at(fair, p, now_ns);
    }
    fair->any_served = true;
    FairEntry *entry = entry_take(fair->served);
    entry->was_sparse = fair->served_sparse;
    return entry;
}

// ── parking ────────────────────────────────────────────────────────────────────────────────────

static void heap_put(Fair *fair, uint32_t at, FairEntry *entry) {
    fair->heap[at] = entry;
    entry->parked = at + 1;
}

static void heap_up(Fair *fair, uint32_t at) {
    FairEntry *entry = fair->heap[at];
    for (; at && fair->heap[(at - 1) / 2]->due_ns > entry->due_ns; at = (at - 1) / 2)
        heap_put(fair, at, fair->heap[(at - 1) / 2]);
    heap_put(fair, at, entry);
}

static void heap_down(Fair *fair, uint32_t at) {
    FairEntry *entry = fair->heap[at];
    for (uint32_t child; (child = 2 * at + 1) < fair->heap_count; at = child) {
        if (child + 1 < fair->heap_count &&
            fair->heap[child + 1]->due_ns < fair->heap[child]->due_ns)
            child++;
        if (fair->heap[child]->due_ns >= entry->due_ns) break;
        heap_put(fair, at, fair->heap[child]);
    }
    heap_put(fair, at, entry);
}

Err fair_park(Fair *fair, FairEntry *entry, int64_t due_ns) {
    ASSERT(!entry->parked);
    if (fair->heap_count == fair->heap_cap) {
        uint32_t cap = fair->heap_cap ? fair->heap_cap * 2 : 16;
        FairEntry **grown = mem_realloc(fair->heap, cap * sizeof(FairEntry *));
        if (!grown) return ERR_NOMEM;
        fair->heap = grown;
        fair->heap_cap = cap;
    }
    entry->due_ns = due_ns;
    fair->heap[fair->heap_count] = entry;
    heap_up(fair, fair->heap_count++);
    return OK;
}

void fair_unpark(Fair *fair, FairEntry *entry) {
    if (!entry->parked) return;
    uint32_t at = entry->parked - 1;
    entry->parked = 0;
    FairEntry *last = fair->heap[--fair->heap_count];
    if (last == entry) return;
    heap_put(fair, at, last);
    heap_down(fair, at);
    heap_up(fair, last->parked - 1);
}

void fair_wake(Fair *fair, int64_t now_ns) {
    while (fair->heap_count && fair->heap[0]->due_ns <= now_ns) {
        FairEntry *entry = fair->heap[0];
        fair_unpark(fair, entry);
        fair_ready(fair, entry);
    }
}

int64_t fair_next_due_ns(const Fair *fair) {
    return fair->heap_count ? fair->heap[0]->due_ns : INT64_MAX;
}

FairVerdict fair_admit(Fair *fair,
                       FairEntry *entry,
                       Bucket *also,
                       BucketRule also_rule,
                       int64_t wait_max_ns,
                       int64_t now_ns,
                       int64_t *wait_ns) {
    if (entry->may_pass) {
        entry->may_pass = false;
        return FAIR_PASS;
    }
    Bucket *mine = &entry->party->bucket;
    int64_t when = bucket_when(mine, fair->identity, now_ns);
    if (also) when = MAX(when, bucket_when(also, also_rule, now_ns));
    *wait_ns = when - now_ns;
    if (*wait_ns > wait_max_ns) return FAIR_REFUSE;
    if (*wait_ns && fair_park(fair, entry, when) != OK) return FAIR_REFUSE;
    bucket_take(mine, fair->identity, now_ns);
    if (also) bucket_take(also, also_rule, now_ns);
    entry->may_pass = *wait_ns > 0;
    return *wait_ns ? FAIR_WAIT : FAIR_PASS;
}
