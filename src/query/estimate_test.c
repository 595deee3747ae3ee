// What is guessed from values, where row counts and rules of thumb would choose badly. Each statement is
// explained with statistics and without: what it really touched says which was right.
#include "base/mem.h"
#include "base/test.h"
#include "query/fake_testing.h"
#include "query/statement_private.h"
#include "query/stats.h"

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    QueryStats *stats;
    CatalogTable *item, *shop, *city;
} World;

static const QueryCaller owner = {.identity = {{1}}, .is_owner = true};

static void put(CatalogTable *table, const uint32_t *values, uint32_t count) {
    Buf row = {0};
    for (uint32_t i = 0; i < count; i++)
        buf_put_u32(&row, values[i]);
    EXPECT_OK(table_insert(table->table, buf_bytes(&row), NULL, NULL));
    buf_deinit(&row);
}
#define PUT(table, ...)                  \
    put((table),                         \
        (const uint32_t[]){__VA_ARGS__}, \
        sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

// item (id, state, shop, price), indexes on state and on shop and on (price, id); shop (id, city), index
// on city; city (id, land), none.
static World world_open(void) {
    const Type *number = type_simple(TYPE_U32);
    World w = {.fake = fake_new()};
    w.stats = w.fake->door.stats;
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w.store));
    store_begin(w.store);
    w.item = FAKE_TABLE(w.fake,
                        "item",
                        {"id", number, NULL},
                        {"state", number, NULL},
                        {"shop", number, NULL},
                        {"price", number, NULL});
    w.shop = FAKE_TABLE(w.fake, "shop", {"id", number, NULL}, {"city", number, NULL});
    w.city = FAKE_TABLE(w.fake, "city", {"id", number, NULL}, {"land", number, NULL});
    fake_store_table(w.item, w.store, 0, (const char *const[]){"1", "2", "30"}, 3);
    fake_store_table(w.shop, w.store, 0, (const char *const[]){"1"}, 1);
    fake_store_table(w.city, w.store, 0, NULL, 0);
    store_commit(w.store);
    return w;
}

static void world_close(World *w) {
    w->fake->door.stats = w->stats;
    store_close(&w->store);
    fake_free(&w->fake);
}

// 20000 items: nearly all in state 0, a few in each of 100 others; 2000 shops; a price each.
static void fill(World *w) {
    store_begin(w->store);
    for (uint32_t n = 0; n < 20000; n++)
        PUT(w->item, n, n % 50 ? 0 : 1 + n / 50 % 100, n * 7 % 2000, n);
    for (uint32_t n = 0; n < 2000; n++)
        PUT(w->shop, n, n % 4);
    for (uint32_t n = 0; n < 4; n++)
        PUT(w->city, n, n % 2);
    store_commit(w->store);
}

// What EXPLAIN ANALYZE says.
typedef struct Line {
    char plan[120];
    uint64_t estimate, touched, kept;
} Line;
typedef struct Lines {
    Line of[8];
    uint32_t count;
    uint64_t touched;
} Lines;

static uint64_t number_or_none(Reader *r) {
    return reader_u8(r) == 0 ? reader_u64(r) : UINT64_MAX;
}

static bool line_take(void *ctx, Bytes row) {
    Lines *lines = ctx;
    ASSERT(lines->count < ARRAY_LEN(lines->of));
    Line *line = &lines->of[lines->count++];
    Reader r = reader_of(row);
    Str plan = reader_str(&r);
    snprintf(line->plan, sizeof line->plan, STR_FMT, STR_ARG(plan));
    line->estimate = number_or_none(&r);
    line->touched = number_or_none(&r);
    line->kept = number_or_none(&r);
    EXPECT(reader_ok(&r));
    if (line->touched != UINT64_MAX) lines->touched += line->touched;
    return true;
}

static Lines explained(World *w, const char *sql, bool with_stats) {
    Statement *statement = NULL;
    Diag diag;
    Lines lines = {0};
    char text[512];
    snprintf(text, sizeof text, "EXPLAIN ANALYZE %s", sql);
    w->fake->door.stats = with_stats ? w->stats : NULL;
    diag_clear(&diag);
    Err err =
        statement_compile(str_from(text), QUERY_SQL, &w->fake->door, &owner, &statement, &diag);
    if (err != OK) fail_msg("%s: %s", sql, diag.text);
    EXPECT_OK(statement_run(statement, NULL, line_take, &lines, &diag));
    statement_free(&statement);
    return lines;
}

static void expect_about(uint64_t guess, uint64_t truth) {
    if (guess > truth * 2 + 2 || truth > guess * 2 + 2)
        fail_msg("guessed %llu, and it is %llu",
                 (unsigned long long)guess,
                 (unsigned long long)truth);
}

// ── one table ──────────────────────────────────────────────────────────────────────────────────

TEST(estimate, of_two_indexes_the_one_that_finds_fewer_rows) {
    World w = world_open();
    fill(&w);
    const char *sql = "SELECT id FROM item WHERE state = 0 AND shop = 5";
    Lines thumb = explained(&w, sql, false), known = explained(&w, sql, true);
    EXPECT(strstr(thumb.of[0].plan, "by (state =)") != NULL);
    EXPECT(strstr(known.of[0].plan, "by (shop =)") != NULL);
    EXPECT_EQ(thumb.touched, 19600);
    EXPECT_EQ(known.touched, 10);
    EXPECT_EQ(thumb.of[0].kept, known.of[0].kept);
    // The other way round where the other value is the rare one.
    Lines rare = explained(&w, "SELECT id FROM item WHERE state = 9 AND shop < 1990", true);
    EXPECT(strstr(rare.of[0].plan, "by (state =)") != NULL);
    EXPECT_EQ(rare.touched, 4);
    world_close(&w);
}

TEST(estimate, a_narrow_range_comes_before_a_common_value) {
    World w = world_open();
    fill(&w);
    const char *sql = "SELECT id FROM item WHERE state = 0 AND price >= 700 AND price < 720";
    Lines thumb = explained(&w, sql, false), known = explained(&w, sql, true);
    EXPECT_EQ(thumb.touched, 19600);
    EXPECT_EQ(known.touched, 20);
    EXPECT_EQ(thumb.of[0].kept, known.of[0].kept);
    world_close(&w);
}

TEST(estimate, writes_look_where_selects_do) {
    World w = world_open();
    fill(&w);
    Lines known = explained(&w, "DELETE FROM item WHERE state = 0 AND shop = 5", true);
    EXPECT_EQ(known.of[0].touched, 10);
    EXPECT_EQ(table_row_count(w.item->table, NULL), 20000);
    world_close(&w);
}

TEST(estimate, skewed_values_ranges_and_conditions_are_about_right) {
    World w = world_open();
    fill(&w);
    static const char *const wheres[] = {
        "state = 0",
        "state = 7",
        "state = 7777",
        "shop = 8",
        "price < 10000",
        "price >= 19900",
        "price >= 5000 AND price < 5100",
        "id < 15000",
        "state = 0 AND price < 10",
        "state <> 0",
        "id < 10000 AND NOT state = 0",
        "shop IN (1, 2, 3) OR price < 10000",
        "price < 0",
    };
    for (uint32_t i = 0; i < ARRAY_LEN(wheres); i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "SELECT id FROM item WHERE %s", wheres[i]);
        Lines known = explained(&w, sql, true);
        uint64_t guess = known.of[0].estimate, truth = known.of[0].kept;
        // A condition on a sample is as sure as the sample is large.
        uint64_t unsure = strstr(known.of[0].plan, "filter") ? known.touched / 10 : 0;
        if (guess > truth * 2 + 2 + unsure || truth > guess * 2 + 2 + unsure)
            fail_msg("%s: guessed %llu, and it is %llu",
                     wheres[i],
                     (unsigned long long)guess,
                     (unsigned long long)truth);
    }
    world_close(&w);
}

TEST(estimate, empty_tables_have_no_rows_to_offer) {
    World w = world_open();
    Lines none = explained(&w, "SELECT id FROM item WHERE state = 0 AND shop = 5", true);
    EXPECT_EQ(none.of[0].estimate, 0);
    EXPECT_EQ(none.touched, 0);
    none = explained(
        &w,
        "SELECT item.id FROM item JOIN shop ON item.shop = shop.id WHERE shop.city = 3 AND "
        "item.state = 1",
        true);
    EXPECT_EQ(none.touched, 0);
    world_close(&w);
}

// ── joins ──────────────────────────────────────────────────────────────────────────────────────

// By a rule of thumb the items in a state are ten and a range of shops is a quarter of them; in truth
// nearly all items are in that state, and the shops are three.
TEST(estimate, a_join_begins_where_few_rows_are) {
    World w = world_open();
    fill(&w);
    const char *sql = "SELECT item.id FROM item JOIN shop ON item.shop = shop.id "
                      "WHERE item.state = 0 AND shop.id < 3";
    Lines thumb = explained(&w, sql, false), known = explained(&w, sql, true);
    EXPECT(strstr(thumb.of[0].plan, "`item`") != NULL);
    EXPECT_EQ(thumb.touched, 2 * 19600);
    EXPECT(strstr(known.of[0].plan, "`shop`") != NULL);
    EXPECT_EQ(known.of[0].touched, 3);
    EXPECT_EQ(known.of[1].touched, 30);
    EXPECT_EQ(thumb.of[1].kept, known.of[1].kept);
    world_close(&w);
}

// The index that leads from a shop to its items finds ten; the one on state, which is there as well,
// 19600 for each.
TEST(estimate, a_link_takes_the_index_that_finds_fewer) {
    World w = world_open();
    fill(&w);
    const char *sql = "SELECT item.id FROM city JOIN item ON item.state = city.land AND "
                      "item.shop = city.id WHERE city.id = 0";
    Lines thumb = explained(&w, sql, false), known = explained(&w, sql, true);
    EXPECT_EQ(thumb.touched, 19601);
    EXPECT_EQ(known.touched, 11);
    EXPECT_EQ(thumb.of[1].kept, known.of[1].kept);
    world_close(&w);
}

TEST(estimate, how_many_rows_a_join_has_is_about_right) {
    World w = world_open();
    fill(&w);
    static const char *const joins[] = {
        "SELECT item.id FROM shop JOIN item ON item.shop = shop.id WHERE shop.id < 300",
        "SELECT item.id FROM shop JOIN item ON item.shop = shop.id WHERE item.price < 500",
        "SELECT shop.id FROM city JOIN shop ON shop.city = city.id",
        "SELECT shop.id FROM city JOIN shop ON shop.city = city.id WHERE city.land = 1",
        "SELECT a.id FROM item a JOIN item b ON a.price = b.price WHERE a.shop = 7",
    };
    for (uint32_t i = 0; i < ARRAY_LEN(joins); i++) {
        Lines known = explained(&w, joins[i], true);
        expect_about(known.of[known.count - 1].estimate, known.of[known.count - 1].kept);
    }
    world_close(&w);
}

// ── what is remembered ─────────────────────────────────────────────────────────────────────────

static uint64_t distinct(World *w, CatalogTable *table, uint16_t column) {
    uint64_t out = 0;
    stats_begin(w->stats);
    EXPECT(stats_column_distinct(w->stats, table->table, column, &out));
    return out;
}

static uint32_t looks_left(World *w) {
    uint32_t looks = STATS_LOOKS;
    while (looks > 0 && !stats_spend(w->stats, looks))
        looks--;
    return looks;
}

TEST(estimate, is_gathered_once_and_again_after_a_fifth_has_changed) {
    World w = world_open();
    fill(&w);
    expect_about(distinct(&w, w.shop, 1), 4);
    EXPECT(looks_left(&w) < STATS_LOOKS);
    store_begin(w.store);
    for (uint32_t n = 0; n < 300; n++)
        PUT(w.shop, 2000 + n, 100 + n);
    store_commit(w.store);
    expect_about(distinct(&w, w.shop, 1), 4);  // as it was: that was less than a fifth
    EXPECT_EQ(looks_left(&w), STATS_LOOKS);
    store_begin(w.store);
    for (uint32_t n = 300; n < 8000; n++)
        PUT(w.shop, 2000 + n, 100 + n);
    store_commit(w.store);
    expect_about(distinct(&w, w.shop, 1), 8004);
    // And when nearly all of it has gone.
    store_begin(w.store);
    for (uint32_t n = 0; n < 9900; n++) {
        Buf key = {0};
        uint8_t id[4];
        store_u32(id, n);
        key_append(&key, type_simple(TYPE_U32), id);
        EXPECT_OK(table_delete_key(w.shop->table, buf_bytes(&key)));
        buf_deinit(&key);
    }
    store_commit(w.store);
    expect_about(distinct(&w, w.shop, 1), 100);
    uint64_t gone;
    expect_about(distinct(&w, w.item, 2), 2000);
    store_begin(w.store);
    EXPECT_OK(table_clear(w.item->table, &gone));
    PUT(w.item, 1, 1, 1, 1);
    store_commit(w.store);
    EXPECT_EQ(distinct(&w, w.item, 2), 1);
    world_close(&w);
}

TEST(estimate, counts_values_with_and_without_an_index) {
    World w = world_open();
    fill(&w);
    EXPECT_EQ(distinct(&w, w.item, 0), 20000);  // unique
    expect_about(distinct(&w, w.item, 2), 2000);
    expect_about(distinct(&w, w.item, 3), 20000);  // in front of an index of two columns
    EXPECT_EQ(distinct(&w, w.city, 1), 2);         // no index
    uint64_t states =
        distinct(&w, w.item, 1);  // most are one value: a sample meets few of the rest
    EXPECT(states >= 1 && states < 2000);
    world_close(&w);
}

TEST(estimate, one_statement_may_look_only_so_often) {
    World w = world_open();
    fill(&w);
    uint64_t out;
    stats_begin(w.stats);
    EXPECT(stats_spend(w.stats, STATS_LOOKS));
    EXPECT(!stats_column_distinct(w.stats, w.shop->table, 1, &out));
    stats_begin(w.stats);
    EXPECT(stats_column_distinct(w.stats, w.shop->table, 1, &out));
    world_close(&w);
}

// Whatever memory is refused, what is answered is right, or nothing is. It may also do without what it
// would have liked to remember.
TEST(estimate, survives_each_allocation_failing) {
    World w = world_open();
    fill(&w);
    const char *sql = "SELECT item.id FROM item JOIN shop ON item.shop = shop.id "
                      "WHERE item.state = 3 AND item.price > 900 AND shop.city = 1";
    Lines truth = explained(&w, sql, false);
    bool hit = true;
    for (int64_t n = 0; hit; n++) {
        char text[512];
        Statement *statement = NULL;
        Lines lines = {0};
        Diag diag;
        w.fake->door.stats = query_stats_new();
        snprintf(text, sizeof text, "EXPLAIN ANALYZE %s", sql);
        diag_clear(&diag);
        mem_fault_arm(n);
        Err err =
            statement_compile(str_from(text), QUERY_SQL, &w.fake->door, &owner, &statement, &diag);
        if (err == OK) err = statement_run(statement, NULL, line_take, &lines, &diag);
        hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (err == OK)
            EXPECT_EQ(lines.of[1].kept, truth.of[1].kept);
        else
            EXPECT_ERR(err, ERR_NOMEM);
        statement_free(&statement);
        query_stats_free(&w.fake->door.stats);
    }
    world_close(&w);
}

TEST_MAIN()
