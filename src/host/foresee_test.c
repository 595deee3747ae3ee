// What a reducer looks up is learnt from its calls, used, and forgotten when it does not hold.
#include "host/foresee.h"

#include "base/test.h"

// An Access that only writes down what it was told to expect.
typedef struct Told {
    Access access;
    bool of_no_use;
    uint32_t count, index[16];
    uint8_t key[16][FORESEE_KEY_MAX];
    size_t len[16];
} Told;

static bool told_foresee(Access *access, uint32_t index, Bytes point) {
    Told *told = CONTAINER_OF(access, Told, access);
    EXPECT(told->count < ARRAY_LEN(told->index) && point.len <= FORESEE_KEY_MAX);
    told->index[told->count] = index;
    told->len[told->count] = point.len;
    memcpy(told->key[told->count++], point.ptr, point.len);
    return !told->of_no_use;
}

static const AccessOps told_ops = {.foresee = told_foresee};

typedef struct Caller {
    Foresee foresee;
    Told told;
    uint8_t args[12];
    HostCall call;
} Caller;

static void caller_begin(Caller *c, uint32_t from, uint32_t to, uint32_t amount) {
    store_u32(c->args, from);
    store_u32(c->args + 4, to);
    store_u32(c->args + 8, amount);
    c->told.access.ops = &told_ops;
    c->told.count = 0;
    c->call.kind = HOST_REDUCER;
    c->call.args = BYTES(c->args, sizeof c->args);
    c->call.access = &c->told.access;
    foresee_begin(&c->foresee, &c->call);
}

static void caller_sees(Caller *c, uint32_t index, uint32_t key) {
    uint8_t point[4];
    store_u32(point, key);
    foresee_saw(&c->foresee, index, BYTES(point, 4));
}

// transfer(from, to, amount) looks both up in index 5.
static void transfer(Caller *c, uint32_t from, uint32_t to, uint32_t amount) {
    caller_begin(c, from, to, amount);
    caller_sees(c, 5, from);
    caller_sees(c, 5, to);
    foresee_end(&c->foresee);
}

static void caller_trained(Caller *c) {
    *c = (Caller){.call.id = 3};
    for (uint32_t i = 1; i <= 4; i++)
        transfer(c, 1000 + i, 2000 + i, 3000 + i);
}

TEST(foresee, keys_that_stand_in_the_arguments_are_told_before_they_are_looked_up) {
    Caller c = {0};
    for (uint32_t i = 1; i <= 3; i++) {
        transfer(&c, 1000 + i, 2000 + i, 3000 + i);
        EXPECT_EQ(c.told.count, 0);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        transfer(&c, 7 * i, 9 * i + 1, i);
        EXPECT_EQ(c.told.count, 2);
        EXPECT_EQ(c.told.index[0], 5);
        EXPECT_EQ(c.told.len[0], 4);
        EXPECT_EQ(load_u32(c.told.key[0]), 7 * i);
        EXPECT_EQ(load_u32(c.told.key[1]), 9 * i + 1);
    }
    foresee_deinit(&c.foresee);
}

TEST(foresee, what_stood_there_by_chance_is_forgotten) {
    Caller c = {0};
    for (uint32_t i = 1; i <= 4; i++)
        transfer(&c,
                 1000 + i,
                 2000 + i,
                 i == 1 ? 1001 : 3000 + i);  // the amount is an account's id once
    transfer(&c, 1, 2, 3);
    EXPECT_EQ(c.told.count, 2);
    EXPECT_EQ(load_u32(c.told.key[0]), 1);
    EXPECT_EQ(load_u32(c.told.key[1]), 2);
    foresee_deinit(&c.foresee);
}

TEST(foresee, rules_that_do_not_hold_any_more_are_forgotten) {
    Caller c;
    caller_trained(&c);
    unsigned told = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        caller_begin(&c, i, i + 1, 1);  // looks nothing up
        foresee_end(&c.foresee);
        told += c.told.count;
    }
    EXPECT(told > 0 && told < 2 * 200);
    EXPECT_EQ(c.told.count, 0);
    transfer(&c, 1, 2, 3);
    EXPECT_EQ(c.told.count, 0);
    foresee_deinit(&c.foresee);
}

TEST(foresee, one_reducer_says_nothing_of_another) {
    Caller c;
    caller_trained(&c);
    c.call.id = 4;
    transfer(&c, 1, 2, 3);
    EXPECT_EQ(c.told.count, 0);
    c.call.id = 3;
    transfer(&c, 1, 2, 3);
    EXPECT_EQ(c.told.count, 2);
    foresee_deinit(&c.foresee);
}

TEST(foresee, where_it_is_of_no_use_it_is_not_tried_at_every_call) {
    Caller c;
    caller_trained(&c);
    c.told.of_no_use = true;
    unsigned told = 0;
    for (uint32_t i = 0; i < 640; i++) {
        transfer(&c, i, i + 1, 3);
        told += c.told.count;
    }
    EXPECT(told >= 2 && told <= 2 * 12);
    c.told.of_no_use = false;  // the table has grown
    for (uint32_t i = 0; i < 128; i++)
        transfer(&c, i, i + 1, 3);
    EXPECT_EQ(c.told.count, 2);
    foresee_deinit(&c.foresee);
}

TEST(foresee, the_callers_identity_is_a_key_too) {
    Caller c = {0};
    for (int i = 0; i < 10; i++) {
        memset(c.call.sender.le, i + 1, sizeof c.call.sender.le);
        caller_begin(&c, 1, 2, 3);
        foresee_saw(&c.foresee, 9, BYTES(c.call.sender.le, sizeof c.call.sender.le));
        foresee_end(&c.foresee);
        if (i < 3) continue;
        EXPECT_EQ(c.told.count, 1);
        EXPECT_EQ(c.told.index[0], 9);
        EXPECT_EQ(c.told.len[0], 32);
        EXPECT_EQ(c.told.key[0][31], i + 1);
    }
    foresee_deinit(&c.foresee);
}

TEST(foresee, arguments_too_short_for_a_rule_are_not_read_beyond_their_end) {
    Caller c;
    caller_trained(&c);
    caller_begin(&c, 1, 2, 3);
    foresee_end(&c.foresee);
    uint8_t *few = malloc(6);
    EXPECT(few);
    memset(few, 1, 6);
    c.told.count = 0;
    c.call.args = BYTES(few, 6);
    foresee_begin(&c.foresee, &c.call);
    EXPECT_EQ(c.told.count, 1);
    foresee_end(&c.foresee);
    c.told.count = 0;
    c.call.args = BYTES_NONE;
    foresee_begin(&c.foresee, &c.call);
    EXPECT_EQ(c.told.count, 0);
    foresee_end(&c.foresee);
    free(few);
    foresee_deinit(&c.foresee);
}

TEST(foresee, views_and_calls_without_data_have_no_rules) {
    Caller c;
    caller_trained(&c);
    c.told.count = 0;
    c.call.kind = HOST_VIEW;
    foresee_begin(&c.foresee, &c.call);
    EXPECT_EQ(c.told.count, 0);
    c.call.kind = HOST_REDUCER;
    c.call.access = NULL;
    foresee_begin(&c.foresee, &c.call);
    EXPECT_EQ(c.told.count, 0);
    foresee_deinit(&c.foresee);
}

TEST_MAIN()
