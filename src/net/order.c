// order.c: who is read first, and how much of one at a time.
//
// PICTURE
//   ready, events ─┬─ prompt ──> all of them
//                  ├─ light ───> who used least first, until the dear ones among them took too long
//                  │             … and that is all, unless the others waited in the last turn
//                  ├─ little ──> HTTP, light but for others of its address: as the light ones
//                  └─ others ──> all; in a hasty turn as many as can be in NET_HASTY_NS, who was read longest ago first
//
//   Reading is work, and not little: frames are unmasked, tokens made and verified, requests answered on the
//   spot. What a database does for its clients its own loop shares out (node/fair.h); a flood of pings, or of
//   requests that no database is asked for, is seen here only. So the time that reading takes is charged to
//   the connection, and who uses much less than the greediest (recent.h) is *light*: it is read and written
//   first, and while it is about turns are hasty. Where all take alike nobody is light. Nobody is who came less
//   than a window ago, and those count as one among the greedy: else a flood of connections would hide what it is.
//
//   Of connections that flood together some have much less than the greediest, for a while. So the light ones
//   that are dear wait as well, behind those that ask for less.
//
//   HTTP has many connections for one who asks, and one connection for many: what they take together is charged to
//   the address that they are from. A thousand and some accounts have room for all addresses, so two of them may be
//   taken for one, by a hash that nobody can foretell (stochastic fairness queueing, McKenney 1990). Behind a proxy all
//   have one address, so those of its connections that use little come before the rest of them.
//
//   One go of a connection ends when its time is over: what it has read and not handed up waits for its next.
//
// ALWAYS TRUE
//   (1) In one of two turns at least one of those that are not first goes on, of the ready ones and of the events.
//   (2) Handlers end connections, others than their own too; such a one is not ready any more, and its events are
//       harmless. Its memory stays until the turn is over.
#include "net/conn.h"

#include <stdlib.h>

#include "base/blake3.h"

// Who uses no more makes nobody light: of many who ask alike some have had three times as much as others.
#define CHANCE_NS (RECENT_WINDOW_NS / 50)
// … among the connections of HTTP.
#define CHANCE_HTTP_NS (CHANCE_NS / 4)
// Of the light ones: a go is dear for what it takes beyond, and so much of that is too much.
#define CHEAP_NS 10000
#define DEAR_NS  NET_HASTY_NS
// A light one that was read so long ago is still about.
#define LIGHT_WITHIN_NS RECENT_WINDOW_NS

bool order_is_hasty(const NetLoop *loop) {
    return loop->is_hasty || loop->looked_ns < loop->light_until_ns;
}

bool order_go_is_over(const NetLoop *loop) {
    return loop_clock_ns(loop) >= loop->go_until_ns;
}

static bool is_new(const NetConn *conn, int64_t now_ns) {
    return now_ns - conn->adopted_ns < RECENT_WINDOW_NS;
}

void order_address(NetConn *conn) {
    Blake3 hash;
    uint8_t out[BLAKE3_LEN];
    blake3_init(&hash);
    blake3_add(&hash, BYTES(&conn->loop->address_salt, sizeof conn->loop->address_salt));
    blake3_add(&hash, str_bytes(net_conn_address(conn)));
    blake3_end(&hash, out);
    conn->address = load_u16(out) % NET_ADDRESSES;
}

static bool is_http(const NetConn *conn) {
    return !conn->tag.is_pg && conn->state != CONN_WS && conn->state != CONN_WS_CLOSING;
}

static Recent *use_of(NetConn *conn) {
    return is_http(conn) ? &conn->loop->address_use[conn->address] : &conn->use;
}

typedef enum Rank { RANK_PROMPT, RANK_LIGHT, RANK_LITTLE, RANK_OTHER } Rank;

static Rank rank_of(NetLoop *loop, NetConn *conn) {
    int64_t now_ns = loop->looked_ns;
    if (conn->is_prompt) return RANK_PROMPT;
    if (is_new(conn, now_ns)) return RANK_OTHER;
    if (recent_is_little(use_of(conn), &loop->most_use, CHANCE_NS, now_ns)) return RANK_LIGHT;
    bool little =
        is_http(conn) && recent_is_little(&conn->use, &loop->most_http_use, CHANCE_HTTP_NS, now_ns);
    return little ? RANK_LITTLE : RANK_OTHER;
}

static void go_begin(NetLoop *loop, NetTag *tag) {
    tag->went_ns = loop->looked_ns;
    loop->go_until_ns = loop->looked_ns + (order_is_hasty(loop) ? NET_HASTY_NS / 2 : NET_GO_NS);
}

// `use` is whose the go was when it began.
static void go_end(NetLoop *loop, NetConn *conn, Recent *use) {
    int64_t now_ns = loop_clock_ns(loop);
    int64_t took_ns = now_ns - loop->looked_ns;
    recent_charge(use, &loop->most_use, took_ns, now_ns);
    if (use != &conn->use) recent_charge(&conn->use, &loop->most_http_use, took_ns, now_ns);
    if (is_new(conn, now_ns)) recent_charge(&loop->new_use, &loop->most_use, took_ns, now_ns);
    loop->looked_ns = now_ns;
}

static void ready_go(NetLoop *loop, NetConn *conn) {
    link_take_out(&conn->in_ready);
    Recent *use = use_of(conn);
    go_begin(loop, &conn->tag);
    conn_run(conn);
    if (!conn->move_to && conn_has_unread(conn)) conn_readable(conn);
    go_end(loop, conn, use);
}

static void event_go(NetLoop *loop, const IoEvent *event) {
    NetTag *tag = event->tag;
    go_begin(loop, tag);
    if (tag->is_listener) {
        accept_some(loop, event->tag);
        loop->looked_ns = loop_clock_ns(loop);
        return;
    }
    NetConn *conn = event->tag;
    Recent *use = use_of(conn);
    event_run(event);
    go_end(loop, conn, use);
}

static NetConn *ready_front(NetLink *list) {
    return CONTAINER_OF(list->next, NetConn, in_ready);
}

// ── those who are first ────────────────────────────────────────────────────────────────────────

typedef struct First {
    NetConn *conn;
    const IoEvent *event;  // NULL: it is ready
    Rank rank;
    int64_t used;
    uint32_t order;
} First;

typedef struct Firsts {
    uint32_t count, next;
    First all[2 * NET_EVENTS_MAX];
} Firsts;

static int first_compare(const void *a, const void *b) {
    const First *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->used != y->used) return x->used < y->used ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static bool first_add(NetLoop *loop, Firsts *firsts, NetConn *conn, const IoEvent *event) {
    Rank rank = rank_of(loop, conn);
    conn->is_light = rank == RANK_LIGHT;
    if (rank == RANK_OTHER) return false;
    if (rank != RANK_PROMPT) loop->light_until_ns = loop->looked_ns + LIGHT_WITHIN_NS;
    Recent *use = rank == RANK_LITTLE ? &conn->use : use_of(conn);
    int64_t used = rank == RANK_PROMPT ? 0 : recent_used(use, loop->looked_ns);
    firsts->all[firsts->count] = (First){conn, event, rank, used, firsts->count};
    firsts->count++;
    return true;
}

// Those of a list that are first, as far as there is room.
static void first_ready(NetLoop *loop, NetLink *from, NetLink *to, Firsts *firsts) {
    for (NetLink *link = from->next, *next; link != from && firsts->count < NET_EVENTS_MAX;
         link = next) {
        NetConn *conn = CONTAINER_OF(link, NetConn, in_ready);
        next = link->next;
        if (!first_add(loop, firsts, conn, NULL)) continue;
        link_take_out(link);
        link_append(to, link);
    }
}

// Those that are left, up to `last`. True: somebody was read.
static bool first_go(NetLoop *loop, Firsts *firsts, Rank last) {
    int64_t dear_ns = 0;
    bool any = false;
    for (; firsts->next < firsts->count; firsts->next++) {
        const First *first = &firsts->all[firsts->next];
        if (first->rank > last) break;
        if (first->rank != RANK_PROMPT && dear_ns >= DEAR_NS) continue;
        int64_t began_ns = loop->looked_ns;
        any = true;
        if (first->event) {
            event_go(loop, first->event);
        } else if (!link_is_alone(&first->conn->in_ready)) {  // (2)
            ready_go(loop, first->conn);
        }
        dear_ns += MAX(loop->looked_ns - began_ns - CHEAP_NS, 0);
    }
    return any;
}

// ── the others ─────────────────────────────────────────────────────────────────────────────────

// What is left stays before what became ready meanwhile.
static void ready_back(NetLoop *loop, NetLink *left) {
    link_splice(left, &loop->ready);
    link_splice(&loop->ready, left);
}

// Of those that are left, the one that was read longest ago.
static uint32_t longest_ago(const NetLoop *loop, const bool *is_done, uint32_t count) {
    uint32_t found = 0;
    int64_t found_ns = INT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        int64_t went_ns = ((const NetTag *)loop->events[i].tag)->went_ns;
        if (is_done[i] || went_ns >= found_ns) continue;
        found = i;
        found_ns = went_ns;
    }
    return found;
}

// An event that is left out is reported again, as the poller is level-triggered, and in what order is the poller's
// affair: whoever is always in front must not be always first.
static void others_go(NetLoop *loop, NetLink *ready, const bool *is_done, uint32_t count) {
    int64_t began_ns = loop->looked_ns;
    bool hasty = order_is_hasty(loop);
    while (!link_is_alone(ready)) {
        ready_go(loop, ready_front(ready));
        if (hasty && loop->looked_ns >= began_ns + NET_HASTY_NS / 2) break;
    }
    ready_back(loop, ready);
    uint32_t from = hasty ? longest_ago(loop, is_done, count) : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (from + i) % count;
        if (is_done[at]) continue;
        event_go(loop, &loop->events[at]);
        if (hasty && loop->looked_ns >= began_ns + NET_HASTY_NS) break;
    }
}

static bool is_crowded(NetLoop *loop) {
    return loop->is_hasty || recent_used(&loop->most_use, loop->looked_ns) > CHANCE_NS;
}

// What becomes ready meanwhile waits for the next turn: nobody starves.
void order_run(NetLoop *loop, int events) {
    bool is_done[NET_EVENTS_MAX] = {0};
    Firsts firsts;
    firsts.count = firsts.next = 0;
    NetLink first, others;
    link_init(&first);
    link_init(&others);
    link_splice(&others, &loop->ready);
    loop->looked_ns = loop_clock_ns(loop);
    if (is_crowded(loop)) {
        first_ready(loop, &others, &first, &firsts);
        for (int i = 0; i < events; i++) {
            NetTag *tag = loop->events[i].tag;
            if (tag->is_listener) continue;
            is_done[i] = first_add(loop, &firsts, (NetConn *)tag, &loop->events[i]);
        }
        qsort(firsts.all, firsts.count, sizeof *firsts.all, first_compare);
        bool any = first_go(loop, &firsts, RANK_LIGHT);
        loop->others_wait = any && !loop->others_wait;
        if (!loop->others_wait) (void)first_go(loop, &firsts, RANK_LITTLE);
        ready_back(loop, &first);
        if (loop->others_wait) {
            ready_back(loop, &others);
            return;
        }
    }
    others_go(loop, &others, is_done, (uint32_t)events);
}
