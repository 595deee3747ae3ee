#include "node/fair.h"

#include "base/mem.h"
#include "base/test.h"

#define US     1000
#define MS     1000000
#define SECOND 1000000000LL

static Identity named(uint32_t n) {
    Identity identity = {{0}};
    store_u32(identity.le, n);
    identity.le[31] = 0xc2;
    return identity;
}

// A party with one connection that always has something to do, each time for `cost_ns`.
typedef struct Client {
    FairEntry entry;
    int64_t cost_ns, used_ns;
    uint64_t calls;
    bool one_in_flight;
    int64_t asked_ns, waited_max_ns;
} Client;

typedef struct World {
    Fair fair;
    Client client[100];
    uint32_t count;
    int64_t now;
    int64_t turn_ns;
} World;

static void world_init(World *w, int64_t share_ns) {
    *w = (World){.turn_ns = 4 * MS};
    fair_init(&w->fair);
    w->fair.share_ns = share_ns;
}

static Client *client_add(World *w, uint32_t identity, int64_t cost_ns) {
    Client *c = &w->client[w->count++];
    Identity id = named(identity);
    EXPECT_OK(fair_join(&w->fair, &c->entry, &id, true));
    c->cost_ns = cost_ns;
    c->entry.party->since_ns = -SECOND;  // it has been here for a while
    fair_ready(&w->fair, &c->entry);
    return c;
}

static void turn(World *w) {
    int64_t began = w->now;
    FairEntry *entry;
    fair_turn_begin(&w->fair);
    while (w->now < began + w->turn_ns && (entry = fair_take(&w->fair, w->now))) {
        Client *c = CONTAINER_OF(entry, Client, entry);
        w->now += c->cost_ns;
        c->used_ns += c->cost_ns;
        c->calls++;
        c->waited_max_ns = MAX(c->waited_max_ns, w->now - c->asked_ns);
        c->asked_ns = w->now;
        if (!c->one_in_flight) fair_again(&w->fair, entry);
    }
    fair_turn_end(&w->fair, w->now);
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->client[i].one_in_flight) fair_ready(&w->fair, &w->client[i].entry);
    }
}

static void world_deinit(World *w) {
    for (uint32_t i = 0; i < w->count; i++)
        fair_leave(&w->fair, &w->client[i].entry, INT64_MAX);
    EXPECT_EQ(w->fair.party_count, w->fair.idle_count);
    fair_deinit(&w->fair);
}

TEST(bucket, lets_a_burst_pass_and_then_its_rate) {
    Bucket bucket = {0};
    BucketRule rule = {.rate = 10, .burst = 5};
    int64_t now = 100 * SECOND;
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(bucket_when(&bucket, rule, now), now);
        bucket_take(&bucket, rule, now);
    }
    for (int i = 1; i <= 20; i++) {
        EXPECT_EQ(bucket_when(&bucket, rule, now), now + i * SECOND / 10);
        bucket_take(&bucket, rule, now);
    }
    now += 20 * SECOND;  // full again, and not fuller
    for (int i = 0; i < 5; i++)
        bucket_take(&bucket, rule, now);
    EXPECT_EQ(bucket_when(&bucket, rule, now), now + SECOND / 10);
}

TEST(bucket, without_a_rate_holds_nobody_back) {
    Bucket bucket = {0};
    for (int i = 0; i < 1000; i++)
        bucket_take(&bucket, (BucketRule){0}, 7);
    EXPECT_EQ(bucket_when(&bucket, (BucketRule){0}, 7), 7);
}

TEST(fair, time_is_shared_whatever_a_call_costs) {
    World w;
    world_init(&w, 250 * US);
    Client *heavy = client_add(&w, 1, 1900 * US);
    for (uint32_t i = 0; i < 64; i++)
        client_add(&w, 2 + i, 20 * US);
    while (w.now < 20 * SECOND)
        turn(&w);
    int64_t least = INT64_MAX, most = 0;
    for (uint32_t i = 1; i < w.count; i++) {
        least = MIN(least, w.client[i].used_ns);
        most = MAX(most, w.client[i].used_ns);
    }
    EXPECT(most < least + least / 10);
    EXPECT(heavy->used_ns < most + most / 10);
    EXPECT(heavy->used_ns > least - least / 10);
    world_deinit(&w);
}

TEST(fair, an_identity_counts_once_however_many_connections_it_has) {
    World w;
    world_init(&w, 250 * US);
    Client *one = client_add(&w, 1, 10 * US);
    for (uint32_t i = 0; i < 90; i++)
        client_add(&w, 2, 10 * US);
    for (int i = 0; i < 3000; i++)
        turn(&w);
    int64_t many = 0;
    for (uint32_t i = 1; i < w.count; i++) {
        EXPECT(w.client[i].calls > 0);  // and its connections take turns among themselves
        many += w.client[i].used_ns;
    }
    EXPECT(one->used_ns > many - many / 10 && one->used_ns < many + many / 10);
    world_deinit(&w);
}

TEST(fair, who_takes_far_less_than_another_is_sparse_and_the_other_is_crowded) {
    World w;
    world_init(&w, 250 * US);
    Client *flood = client_add(&w, 1, 4 * US);
    Client *polite = client_add(&w, 2, 20 * US);
    polite->one_in_flight = true;
    for (int i = 0; i < 500; i++)
        turn(&w);
    EXPECT(polite->entry.was_sparse && !flood->entry.was_sparse);
    fair_turn_begin(&w.fair);
    EXPECT(fair_take(&w.fair, w.now) == &polite->entry);
    EXPECT(!fair_is_crowded(&w.fair, w.now));  // nobody else is sparse
    EXPECT(fair_take(&w.fair, w.now) == &flood->entry);
    EXPECT(fair_is_crowded(&w.fair, w.now));
    EXPECT(fair_sparse_within(&w.fair, 1 * MS, w.now + 1 * MS - 1));
    EXPECT(!fair_sparse_within(&w.fair, 1 * MS, w.now + 1 * MS));
    EXPECT(!fair_is_crowded(&w.fair, w.now + SECOND));  // he has gone
    fair_turn_end(&w.fair, w.now);
    world_deinit(&w);
}

TEST(fair, nobody_is_charged_for_time_in_which_the_machine_ran_somebody_else) {
    World w;
    world_init(&w, 250 * US);
    Client *unlucky = client_add(&w, 1, 20 * US);
    Client *other = client_add(&w, 2, 20 * US);
    fair_turn_begin(&w.fair);
    EXPECT(fair_take(&w.fair, w.now) == &unlucky->entry);
    w.now += 8 * MS + 20 * US;  // the loop was set aside in the middle of a short call
    fair_excuse(&w.fair, 8 * MS);
    fair_again(&w.fair, &unlucky->entry);
    EXPECT(fair_take(&w.fair, w.now) == &unlucky->entry);  // most of its share is left
    EXPECT_EQ(unlucky->entry.party->credit_ns, 230 * US);
    w.now += 8 * MS + 20 * US;  // the same, and nobody noticed
    fair_again(&w.fair, &unlucky->entry);
    EXPECT(fair_take(&w.fair, w.now) == &other->entry);
    EXPECT(unlucky->entry.party->credit_ns < -7 * MS);
    fair_excuse(&w.fair, SECOND);  // more than there was gives nobody anything
    fair_turn_end(&w.fair, w.now);
    EXPECT_EQ(other->entry.party->credit_ns, 250 * US);
    world_deinit(&w);
}

TEST(fair, who_sends_a_few_at_a_time_does_not_come_before_who_asks_for_little) {
    World w;
    world_init(&w, 250 * US);
    Client *trickle = client_add(&w, 1, 100 * US);
    trickle->one_in_flight = true;  // its queue is empty each time, so it is as fresh as anybody
    for (int i = 0; i < 100; i++) {
        turn(&w);
        w.now += 300 * US;
    }
    Client *polite = client_add(&w, 2, 10 * US);
    polite->one_in_flight = true;
    for (int i = 0; i < 20; i++) {
        EXPECT(trickle->entry.is_ready && polite->entry.is_ready);
        fair_turn_begin(&w.fair);
        EXPECT(fair_any_sparse_ready(&w.fair));
        EXPECT(fair_take(&w.fair, w.now) == &polite->entry);
        EXPECT(polite->entry.was_sparse && !fair_any_sparse_ready(&w.fair));
        w.now += polite->cost_ns;
        EXPECT(fair_take(&w.fair, w.now) == &trickle->entry);
        w.now += trickle->cost_ns;
        fair_turn_end(&w.fair, w.now);
        fair_ready(&w.fair, &trickle->entry);  // the first, and all the same …
        fair_ready(&w.fair, &polite->entry);
        w.now += 300 * US;
    }
    world_deinit(&w);
}

// A wave is 20 ms of calls, and then 60 in which their answers are read. While nobody else wants anything no rounds pass:
// of fifty short calls one finds that the share is used up, which costs nothing then.
TEST(fair, who_asks_for_little_beside_a_flood_in_waves_is_sparse_all_the_time) {
    World w;
    world_init(&w, 250 * US);
    Client *flood = client_add(&w, 1, 20 * US);
    Client *polite = client_add(&w, 2, 5 * US);
    polite->one_in_flight = true;
    for (int wave = 0; wave < 20; wave++) {
        int64_t calls_until = w.now + 20 * MS, ends = w.now + 80 * MS;
        int asked = 0, sparse = 0;
        for (; w.now < ends; w.now += 250 * US) {
            fair_ready(&w.fair, &polite->entry);
            if (w.now < calls_until) fair_ready(&w.fair, &flood->entry);
            fair_turn_begin(&w.fair);
            for (FairEntry *entry; (entry = fair_take(&w.fair, w.now));) {
                Client *client = CONTAINER_OF(entry, Client, entry);
                w.now += client->cost_ns;
                if (client == polite) {
                    asked++;
                    sparse += entry->was_sparse;
                } else if (++client->calls % 10) {
                    fair_ready(&w.fair, entry);
                }
            }
            fair_turn_end(&w.fair, w.now);
        }
        if (wave > 2) EXPECT(sparse >= asked - asked / 40);
    }
    world_deinit(&w);
}

// As the slow lane does it: where it is crowded, a call of 1.7 ms costs the loop 30 µs and a worker the rest.
TEST(fair, whose_long_calls_workers_run_is_not_taken_for_one_who_asks_for_little) {
    World w;
    world_init(&w, 250 * US);
    Client *heavy = client_add(&w, 1, 1700 * US);
    Client *polite = client_add(&w, 2, 20 * US);
    uint64_t on_loop = 0;
    int64_t worker_until = 0;
    while (w.now < SECOND) {
        fair_turn_begin(&w.fair);
        for (FairEntry *entry; (entry = fair_take(&w.fair, w.now));) {
            heavy->calls += entry == &heavy->entry;
            bool away = entry == &heavy->entry && fair_is_crowded(&w.fair, w.now);
            w.now += away ? 30 * US : CONTAINER_OF(entry, Client, entry)->cost_ns;
            if (away) worker_until = w.now + heavy->cost_ns;
            if (entry == &heavy->entry) on_loop += !away;
        }
        fair_turn_end(&w.fair, w.now);
        w.now += 200 * US;
        fair_ready(&w.fair, &polite->entry);
        if (w.now < worker_until) continue;
        if (worker_until) fair_worked(&w.fair, &heavy->entry, heavy->cost_ns, w.now);
        worker_until = 0;
        fair_ready(&w.fair, &heavy->entry);
    }
    EXPECT(heavy->calls > 400);
    EXPECT(on_loop < 10);  // until it was known that he takes much
    world_deinit(&w);
}

TEST(fair, many_who_ask_for_little_do_not_starve_the_one_who_asks_for_much) {
    World w;
    world_init(&w, 250 * US);
    Client *greedy = client_add(&w, 1, 100 * US);
    for (int i = 0; i < 50; i++)
        turn(&w);
    for (uint32_t i = 0; i < 50; i++)
        client_add(&w, 2 + i, 1 * US)->one_in_flight = true;
    turn(&w);
    uint64_t before = greedy->calls, turns = 20;
    w.turn_ns = 200 * US;  // all of them alone would take a fourth
    for (uint64_t i = 0; i < turns; i++)
        turn(&w);
    EXPECT(greedy->calls >= before + turns);
    world_deinit(&w);
}

// One more, with a name of its own, is let in, is worked for and goes.
static void visit(World *w, uint32_t identity, int64_t cost_ns) {
    FairEntry entry;
    Identity id = named(identity);
    EXPECT_OK(fair_join(&w->fair, &entry, &id, true));
    fair_ready(&w->fair, &entry);
    fair_turn_begin(&w->fair);
    EXPECT(fair_take(&w->fair, w->now) == &entry);
    w->now += cost_ns;
    fair_turn_end(&w->fair, w->now);
    fair_leave(&w->fair, &entry, w->now);
}

TEST(fair, who_comes_and_goes_is_still_who_he_was) {
    World w;
    world_init(&w, 250 * US);
    w.now = SECOND;
    for (int i = 0; i < 10; i++)
        visit(&w, 1, MS);
    FairEntry entry;
    Identity id = named(1);
    EXPECT_OK(fair_join(&w.fair, &entry, &id, true));
    EXPECT(entry.party->credit_ns < 0 && entry.party->use.here == 10 * MS);
    fair_leave(&w.fair, &entry, w.now);
    EXPECT_EQ(w.fair.party_count, 1);
    w.now += 2 * RECENT_WINDOW_NS;
    EXPECT_OK(fair_join(&w.fair, &entry, &id, true));
    fair_leave(&w.fair, &entry, w.now);
    EXPECT_EQ(w.fair.party_count, 0);
    for (uint32_t i = 0; i < 5000; i++) {  // who comes once is not kept for long
        visit(&w, i, 10 * US);
        w.now += MS;
    }
    EXPECT(w.fair.party_count < 1000);
    world_deinit(&w);
}

TEST(fair, a_crowd_that_comes_and_goes_is_one_who_takes_much) {
    World w;
    world_init(&w, 250 * US);
    w.now = SECOND;
    for (uint32_t i = 0; i < 200; i++)
        visit(&w, 1000 + i, 100 * US);
    Client *polite = client_add(&w, 1, 5 * US);
    fair_turn_begin(&w.fair);
    EXPECT(fair_take(&w.fair, w.now) == &polite->entry);
    EXPECT(polite->entry.was_sparse);
    fair_turn_end(&w.fair, w.now);
    FairEntry late;
    Identity id = named(2);
    EXPECT_OK(fair_join(&w.fair, &late, &id, true));  // and nobody of it is sparse
    fair_ready(&w.fair, &late);
    fair_turn_begin(&w.fair);
    EXPECT(fair_take(&w.fair, w.now) == &late);
    EXPECT(!late.was_sparse);
    fair_turn_end(&w.fair, w.now);
    fair_leave(&w.fair, &late, w.now);
    world_deinit(&w);
}

TEST(fair, who_takes_much_goes_on_a_message_at_a_time_while_many_who_ask_for_little_wait) {
    World w;
    world_init(&w, 250 * US);
    Client *greedy = client_add(&w, 1, 2 * US);
    for (int i = 0; i < 50; i++)
        turn(&w);
    for (uint32_t i = 0; i < 16; i++)
        client_add(&w, 2 + i, 5 * US)->one_in_flight = true;
    int little = 0, in_a_row = 0;
    fair_turn_begin(&w.fair);
    while (fair_any_sparse_ready(&w.fair)) {
        FairEntry *entry = fair_take(&w.fair, w.now);
        EXPECT(entry);
        Client *client = CONTAINER_OF(entry, Client, entry);
        w.now += client->cost_ns;
        little += client != greedy;
        in_a_row = client == greedy ? in_a_row + 1 : 0;
        EXPECT(in_a_row <= 1);
        if (client == greedy) fair_again(&w.fair, entry);
    }
    EXPECT_EQ(little, 16);
    for (int i = 0; i < 20; i++) {  // and with the rest of his share when all have been served
        EXPECT(fair_take(&w.fair, w.now) == &greedy->entry);
        fair_again(&w.fair, &greedy->entry);
    }
    fair_turn_end(&w.fair, w.now);
    world_deinit(&w);
}

TEST(fair, where_all_take_alike_nobody_is_sparse) {
    World w;
    world_init(&w, 250 * US);
    for (uint32_t i = 0; i < 8; i++)
        client_add(&w, 1 + i, 10 * US)->one_in_flight = i % 2;
    for (uint32_t i = 0; i < 8; i++)
        w.client[i].cost_ns = w.client[i].one_in_flight ? 250 * US : 10 * US;
    for (int i = 0; i < 500; i++) {
        turn(&w);
        for (uint32_t k = 0; k < 8 && i > 20; k++)
            EXPECT(!w.client[k].entry.was_sparse);
    }
    world_deinit(&w);
}

TEST(fair, a_polite_client_waits_no_longer_than_a_share_behind_a_flood) {
    World w;
    world_init(&w, 250 * US);
    client_add(&w, 1, 4 * US);
    Client *polite = client_add(&w, 2, 20 * US);
    polite->one_in_flight = true;
    turn(&w);  // in the first, a flood uses what it had left and a share of the next round
    polite->waited_max_ns = 0;
    for (int i = 0; i < 1000; i++)
        turn(&w);
    EXPECT(polite->calls >= 999);
    EXPECT(polite->waited_max_ns <= 250 * US + 3 * 20 * US);
    EXPECT(w.fair.stats.held_back > 900);
    world_deinit(&w);
}

TEST(fair, one_that_is_alone_gets_the_whole_turn) {
    World w;
    world_init(&w, 250 * US);
    Client *c = client_add(&w, 1, 10 * US);
    turn(&w);
    EXPECT_EQ(c->calls, 400);
    EXPECT_EQ(w.fair.stats.held_back, 0);
    world_deinit(&w);
}

TEST(fair, no_time_is_lost_when_all_are_in_debt) {
    World w;
    world_init(&w, 250 * US);
    for (uint32_t i = 0; i < 3; i++)
        client_add(&w, i, 1900 * US);
    for (int i = 0; i < 300; i++) {
        int64_t before = w.now;
        turn(&w);
        EXPECT(w.now > before);
    }
    for (uint32_t i = 0; i < 3; i++)
        EXPECT(w.client[i].calls >= w.client[0].calls - 1 &&
               w.client[i].calls <= w.client[0].calls + 1);
    world_deinit(&w);
}

TEST(fair, newcomers_without_end_do_not_starve_who_was_there) {
    World w;
    world_init(&w, 250 * US);
    Client *old = client_add(&w, 1, 50 * US);
    for (int i = 0; i < 500; i++)
        turn(&w);
    uint64_t before = old->calls;
    for (uint32_t round = 0; round < 100; round++) {
        FairEntry visitor[40];
        for (uint32_t i = 0; i < ARRAY_LEN(visitor); i++) {
            Identity id = named(1000 + round * 40 + i);
            EXPECT_OK(fair_join(&w.fair, &visitor[i], &id, true));
            fair_ready(&w.fair, &visitor[i]);
        }
        int64_t end = w.now + 1 * MS;
        fair_turn_begin(&w.fair);
        for (FairEntry *entry; w.now < end && (entry = fair_take(&w.fair, w.now));) {
            w.now += 50 * US;
            if (entry == &old->entry) {
                old->calls++;
                fair_again(&w.fair, entry);
            }
        }
        fair_turn_end(&w.fair, w.now);
        for (uint32_t i = 0; i < ARRAY_LEN(visitor); i++)
            fair_leave(&w.fair, &visitor[i], w.now);
    }
    EXPECT(old->calls >= before + 300);
    world_deinit(&w);
}

TEST(fair, what_it_takes_to_let_newcomers_in_is_theirs) {
    for (int let_in = 0; let_in < 2; let_in++) {
        World w;
        world_init(&w, 250 * US);
        Client *old = client_add(&w, 1, 20 * US);
        old->one_in_flight = true;
        bool was_sparse = false;
        // Every millisecond one call and one visit, 20 µs each.
        for (uint32_t round = 0; round < 300; round++) {
            FairEntry visitor;
            Identity id = named(1000 + round);
            EXPECT_OK(fair_join(&w.fair, &visitor, &id, true));
            if (let_in) fair_used(&w.fair, &visitor, 100 * US, w.now);
            fair_ready(&w.fair, &visitor);
            fair_turn_begin(&w.fair);
            for (FairEntry *entry; (entry = fair_take(&w.fair, w.now));) {
                if (entry == &old->entry) was_sparse = entry->was_sparse;
                w.now += 20 * US;
            }
            fair_turn_end(&w.fair, w.now);
            fair_leave(&w.fair, &visitor, w.now);
            w.now += 960 * US;
            fair_ready(&w.fair, &old->entry);
        }
        EXPECT_EQ(was_sparse, let_in);
        world_deinit(&w);
    }
}

// 64 clients with 40 calls of 10 µs each, asked for together and again up to 40 ms after the last was answered: in a
// window some have twice as much as others.
TEST(fair, of_many_who_want_alike_hardly_anybody_is_sparse) {
    World w;
    uint32_t taken = 0, sparse = 0;
    uint32_t state = 1;
    int64_t asks_ns[64] = {0};
    uint32_t left[64] = {0};
    world_init(&w, 250 * US);
    for (uint32_t i = 0; i < ARRAY_LEN(asks_ns); i++)
        client_add(&w, i, 10 * US);
    fair_clear_ready(&w.fair);
    while (w.now < 5 * SECOND) {
        for (uint32_t i = 0; i < w.count; i++) {
            if (left[i] || asks_ns[i] > w.now) continue;
            left[i] = 40;
            fair_ready(&w.fair, &w.client[i].entry);
        }
        fair_turn_begin(&w.fair);
        for (FairEntry *entry; (entry = fair_take(&w.fair, w.now));) {
            uint32_t i = (uint32_t)(CONTAINER_OF(entry, Client, entry) - w.client);
            taken++;
            sparse += entry->was_sparse;
            w.now += 10 * US;
            if (--left[i]) {
                fair_again(&w.fair, entry);
                continue;
            }
            state = state * 1664525 + 1013904223;
            asks_ns[i] = w.now + state % (40 * MS);
        }
        fair_turn_end(&w.fair, w.now);
        w.now += 200 * US;  // the sync
    }
    EXPECT(taken > 100000);
    EXPECT(sparse < taken / 50);
    world_deinit(&w);
}

TEST(fair, one_who_asks_for_little_does_not_come_to_owe_where_nobody_does) {
    World w;
    world_init(&w, 250 * US);
    Client *c = client_add(&w, 1, 20 * US);
    c->one_in_flight = true;
    for (int i = 0; i < 100; i++) {
        EXPECT(c->entry.party->is_fresh);
        turn(&w);
    }
    world_deinit(&w);
}

TEST(fair, turns_of_a_single_call_each_are_for_those_in_debt_too) {
    World w;
    world_init(&w, 250 * US);
    w.turn_ns = 1;
    Client *owes = client_add(&w, 1, 300 * US);
    for (uint32_t i = 0; i < 10; i++)
        client_add(&w, 2 + i, 20 * US)->one_in_flight = true;
    for (int i = 0; i < 100; i++)
        turn(&w);
    EXPECT(owes->calls > 3);
    world_deinit(&w);
}

TEST(fair, over_the_rate_calls_wait_each_once_and_in_order) {
    World w;
    world_init(&w, 250 * US);
    w.fair.identity = (BucketRule){.rate = 100, .burst = 2};
    Client *c[5];
    int64_t wait;
    for (uint32_t i = 0; i < 5; i++)
        c[i] = client_add(&w, 1, 0);  // one identity
    for (uint32_t i = 0; i < 5; i++) {
        FairVerdict verdict =
            fair_admit(&w.fair, &c[i]->entry, NULL, (BucketRule){0}, SECOND, w.now, &wait);
        EXPECT_EQ(verdict, i < 2 ? FAIR_PASS : FAIR_WAIT);
        EXPECT_EQ(wait, i < 2 ? 0 : (int64_t)(i - 1) * 10 * MS);
    }
    fair_clear_ready(&w.fair);
    EXPECT_EQ(fair_next_due_ns(&w.fair), 10 * MS);
    fair_wake(&w.fair, 10 * MS - 1);
    EXPECT(!fair_any_ready(&w.fair));
    fair_wake(&w.fair, 10 * MS);
    EXPECT(c[2]->entry.is_ready && !c[3]->entry.is_ready);
    EXPECT_EQ(fair_admit(&w.fair, &c[2]->entry, NULL, (BucketRule){0}, SECOND, 10 * MS, &wait),
              FAIR_PASS);
    fair_unpark(&w.fair, &c[3]->entry);
    EXPECT_EQ(fair_next_due_ns(&w.fair), 30 * MS);
    world_deinit(&w);
}

TEST(fair, whoever_would_wait_too_long_is_refused_and_takes_nothing) {
    World w;
    world_init(&w, 250 * US);
    Client *c = client_add(&w, 1, 0);
    Bucket reducer = {0};
    BucketRule rule = {.rate = 1, .burst = 1};
    int64_t wait;
    EXPECT_EQ(fair_admit(&w.fair, &c->entry, &reducer, rule, 0, SECOND, &wait), FAIR_PASS);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(fair_admit(&w.fair, &c->entry, &reducer, rule, 0, SECOND, &wait), FAIR_REFUSE);
        EXPECT_EQ(wait, SECOND);
    }
    EXPECT_EQ(fair_admit(&w.fair, &c->entry, &reducer, rule, 0, 2 * SECOND, &wait), FAIR_PASS);
    world_deinit(&w);
}

TEST(fair, coming_back_does_not_fill_the_bucket) {
    Fair fair;
    FairEntry entry;
    Identity me = named(1);
    int64_t wait;
    fair_init(&fair);
    fair.share_ns = MS;
    fair.identity = (BucketRule){.rate = 10, .burst = 1};
    for (int i = 0; i < 3; i++) {
        EXPECT_OK(fair_join(&fair, &entry, &me, true));
        EXPECT_EQ(fair_admit(&fair, &entry, NULL, (BucketRule){0}, 0, SECOND, &wait),
                  i == 0 ? FAIR_PASS : FAIR_REFUSE);
        fair_leave(&fair, &entry, SECOND);
    }
    EXPECT_EQ(fair.party_count, 1);
    for (uint32_t i = 2; i < 10000; i++) {  // those whose bucket is full are forgotten
        Identity other = named(i);
        int64_t now = SECOND + (int64_t)i * MS;
        EXPECT_OK(fair_join(&fair, &entry, &other, true));
        EXPECT_EQ(fair_admit(&fair, &entry, NULL, (BucketRule){0}, 0, now, &wait), FAIR_PASS);
        fair_leave(&fair, &entry, now);
    }
    EXPECT(fair.party_count < 500);
    fair_deinit(&fair);
}

// The heap against a slow twin.
TEST(fair, the_parked_come_back_in_the_order_in_which_they_are_due) {
    Fair fair;
    enum { COUNT = 300 };
    static FairEntry entry[COUNT];
    uint64_t seed = 42;
    fair_init(&fair);
    fair.share_ns = MS;
    for (uint32_t i = 0; i < COUNT; i++) {
        Identity id = named(i);
        EXPECT_OK(fair_join(&fair, &entry[i], &id, true));
    }
    for (int round = 0; round < 5000; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        FairEntry *e = &entry[(seed >> 33) % COUNT];
        if (e->parked) {
            fair_unpark(&fair, e);
        } else {
            EXPECT_OK(fair_park(&fair, e, (int64_t)(seed >> 50)));
        }
        int64_t least = INT64_MAX;
        for (uint32_t i = 0; i < COUNT; i++) {
            if (entry[i].parked) least = MIN(least, entry[i].due_ns);
        }
        EXPECT_EQ(fair_next_due_ns(&fair), least);
    }
    for (uint32_t i = 0; i < COUNT; i++)
        fair_leave(&fair, &entry[i], 0);
    EXPECT_EQ(fair.heap_count, 0);
    fair_deinit(&fair);
}

TEST(fair, no_memory_is_told_and_leaves_it_as_it_was) {
    Fair fair;
    FairEntry entry = {0};
    Identity me = named(1);
    fair_init(&fair);
    for (int64_t countdown = 0;; countdown++) {
        mem_fault_arm(countdown);
        Err err = fair_join(&fair, &entry, &me, true);
        if (err == OK) err = fair_park(&fair, &entry, 5);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        if (entry.party) fair_leave(&fair, &entry, 0);
        EXPECT_EQ(fair.party_count, 0);
        entry = (FairEntry){0};
        if (!hit) break;
    }
    fair_deinit(&fair);
}

TEST_MAIN()
