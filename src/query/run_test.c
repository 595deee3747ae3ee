// Rows and answers, over the real store: spec sql-and-subscriptions §6.3, one table.
#include "base/mem.h"
#include "base/test.h"
#include "query/fake_testing.h"
#include "query/statement.h"

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    QueryCaller caller;
} World;

static const Type *simple(TypeKind kind) {
    return type_simple(kind);
}

static World world_open(void) {
    World w = {.fake = fake_new(), .caller = {.is_owner = true}};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w.store));
    store_begin(w.store);
    return w;
}

static void world_close(World *w) {
    store_close(&w->store);
    fake_free(&w->fake);
}

static void add_row(CatalogTable *table, Buf *row) {
    EXPECT(buf_ok(row));
    EXPECT_OK(table_insert(table->table, buf_bytes(row), NULL, NULL));
    buf_deinit(row);
}

static Query *compiled(World *w, const char *sql) {
    Query *query = NULL;
    Diag diag;
    Err err = query_compile(str_from(sql), QUERY_SQL, &w->fake->door, &w->caller, &query, &diag);
    if (err != OK) print_error("%s\n  %s\n", sql, diag.text);
    EXPECT_EQ(err, OK);
    return query;
}

static Statement *stated(World *w, const char *sql) {
    Statement *statement = NULL;
    Diag diag;
    Err err =
        statement_compile(str_from(sql), QUERY_SQL, &w->fake->door, &w->caller, &statement, &diag);
    if (err != OK) print_error("%s\n  %s\n", sql, diag.text);
    EXPECT_EQ(err, OK);
    return statement;
}

static void expect_answer(World *w, const char *sql, const char *json) {
    Statement *statement = stated(w, sql);
    Buf out = {0};
    Diag diag;
    EXPECT_OK(statement_write_json(statement, NULL, NULL, 7, &out, &diag));
    buf_put_u8(&out, 0);
    // The rows are what differs; schema and stats have a test of their own.
    const char *rows = strstr((const char *)out.ptr, "\"rows\":");
    const char *end = strstr((const char *)out.ptr, ",\"total_duration_micros\":7,");
    EXPECT(rows && end);
    if (strlen(json) != (size_t)(end - rows - 7) || memcmp(rows + 7, json, strlen(json)) != 0)
        print_error("%s\n  is       %.*s\n  expected %s\n",
                    sql,
                    (int)(end - rows - 7),
                    rows + 7,
                    json);
    EXPECT(strlen(json) == (size_t)(end - rows - 7) && memcmp(rows + 7, json, strlen(json)) == 0);
    buf_deinit(&out);
    statement_free(&statement);
}

static CatalogTable *inventory(World *w) {
    CatalogTable *table = FAKE_TABLE(w->fake,
                                     "inventory",
                                     {"inventory_id", simple(TYPE_U64), NULL},
                                     {"name", simple(TYPE_STRING), NULL});
    fake_store_table(table, w->store, 0, NULL, 0);
    for (uint64_t i = 1; i <= 5; i++) {
        Buf row = {0};
        char name[10];
        snprintf(name, sizeof name, "health%u", (unsigned)i);
        buf_put_u64(&row, i);
        buf_put_lp(&row, str_bytes(str_from(name)));
        add_row(table, &row);
    }
    return table;
}

TEST(run, answers_with_schema_rows_and_stats) {
    World w = world_open();
    inventory(&w);
    Statement *statement =
        stated(&w, "select name as \"n\"\"x\", inventory_id from inventory limit 1");
    Buf out = {0};
    Diag diag;
    EXPECT_OK(statement_write_json(statement, NULL, NULL, 123, &out, &diag));
    buf_put_u8(&out, 0);
    EXPECT_STR((char *)out.ptr,
               "{\"schema\":{\"elements\":["
               "{\"name\":{\"some\":\"n\\\"x\"},\"algebraic_type\":{\"String\":[]}},"
               "{\"name\":{\"some\":\"inventory_id\"},\"algebraic_type\":{\"U64\":[]}}]},"
               "\"rows\":[[\"health1\",1]],\"total_duration_micros\":123,"
               "\"stats\":{\"rows_inserted\":0,\"rows_deleted\":0,\"rows_updated\":0}}");
    buf_deinit(&out);
    statement_free(&statement);
    world_close(&w);
}

TEST(run, limits_rows_and_counts_them_all) {
    World w = world_open();
    inventory(&w);
    expect_answer(&w, "select * from inventory limit 2", "[[1,\"health1\"],[2,\"health2\"]]");
    expect_answer(&w, "select * from inventory limit 0", "[]");
    expect_answer(&w, "select count(*) as n from inventory", "[[5]]");
    expect_answer(&w, "select count(*) as n from inventory limit 2", "[[5]]");
    expect_answer(&w, "select count(*) as n from inventory limit 0", "[]");
    expect_answer(&w,
                  "select count(*) as n from inventory where inventory_id = 4 or inventory_id = 5",
                  "[[2]]");
    expect_answer(&w, "select count(*) as n from inventory where false", "[[0]]");
    expect_answer(&w,
                  "select * from inventory where (inventory_id = 1 or inventory_id = 2 and (true))",
                  "[[1,\"health1\"],[2,\"health2\"]]");
    expect_answer(&w,
                  "select inventory.inventory_id from inventory where inventory.inventory_id = 1",
                  "[[1]]");
    expect_answer(&w, "select * from inventory where inventory_id = 1 and inventory_id = 2", "[]");
    expect_answer(&w,
                  "select name from inventory where name > 'health3'",
                  "[[\"health4\"],[\"health5\"]]");
    expect_answer(&w, "select name from inventory where false", "[]");
    world_close(&w);
}

TEST(run, uses_a_compound_index_in_any_order_of_conjuncts) {
    World w = world_open();
    CatalogTable *table = FAKE_TABLE(w.fake,
                                     "t",
                                     {"a", simple(TYPE_U64), NULL},
                                     {"b", simple(TYPE_U64), NULL},
                                     {"c", simple(TYPE_U64), NULL});
    fake_store_table(table, w.store, -1, (const char *const[]){"12"}, 1);
    uint64_t rows[][3] = {{0, 1, 2}, {1, 2, 1}, {2, 2, 2}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Buf row = {0};
        buf_put(&row, rows[i], sizeof rows[i]);
        add_row(table, &row);
    }
    expect_answer(&w, "select * from t where c = 1 and b = 2", "[[1,2,1]]");
    expect_answer(&w, "select * from t where b = 2 and c > 1", "[[2,2,2]]");
    expect_answer(&w, "select * from t where b = 2 and c <= 1", "[[1,2,1]]");
    world_close(&w);
}

TEST(run, finds_nothing_in_an_empty_range) {
    World w = world_open();
    CatalogTable *table =
        FAKE_TABLE(w.fake, "t", {"x", simple(TYPE_U64), NULL}, {"a", simple(TYPE_U8), NULL});
    fake_store_table(table, w.store, -1, (const char *const[]){"0"}, 1);
    for (uint64_t i = 0; i < 1000; i++) {
        Buf row = {0};
        buf_put_u64(&row, i);
        buf_put_u8(&row, (uint8_t)i);
        add_row(table, &row);
    }
    expect_answer(&w, "select * from t where x > 5 and x < 5", "[]");
    expect_answer(&w, "select * from t where x >= 5 and x < 4", "[]");
    expect_answer(&w, "select * from t where x > 5 and x <= 4", "[]");
    expect_answer(&w, "select x from t where x > 5 and x <= 7", "[[6],[7]]");
    expect_answer(&w, "select x from t where x > 18446744073709551615", "[]");
    expect_answer(&w, "select count(*) as n from t where x <= 18446744073709551615", "[[1000]]");
    expect_answer(&w, "select count(*) as n from t where a > 255", "[[0]]");
    world_close(&w);
}

TEST(run, treats_floats_alike_by_index_and_by_scan) {
    for (int indexed = 0; indexed < 2; indexed++) {
        World w = world_open();
        CatalogTable *table =
            FAKE_TABLE(w.fake, "t", {"id", simple(TYPE_U64), NULL}, {"f", simple(TYPE_F64), NULL});
        fake_store_table(table, w.store, 0, (const char *const[]){"1"}, (uint32_t)indexed);
        double values[] = {-0.0, 0.0, __builtin_nan(""), __builtin_inf()};
        for (uint64_t i = 0; i < ARRAY_LEN(values); i++) {
            Buf row = {0};
            buf_put_u64(&row, i + 1);
            buf_put(&row, &values[i], 8);
            add_row(table, &row);
        }
        expect_answer(&w, "select id from t where f = 0.0", "[[1],[2]]");
        expect_answer(&w, "select count(*) as n from t where f >= 1e308", "[[2]]");
        expect_answer(&w, "select id from t where f < 0", "[]");
        expect_answer(&w, "select id from t where f > 1e999", "[[3]]");
        world_close(&w);
    }
}

// ── against a slow twin ────────────────────────────────────────────────────────────────────────

static uint64_t seed;
static uint64_t random_below(uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

static const char *const words[] = {"", "a", "ab", "b", "a\xc3\xa9"};

static void random_condition(Buf *sql) {
    static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">=", "=", "="};
    const char *op = ops[random_below(ARRAY_LEN(ops))];
    switch (random_below(5)) {
    case 0: buf_printf(sql, "id %s %d", op, (int)random_below(40)); break;
    case 1: buf_printf(sql, "a %s %d", op, (int)random_below(6) - 3); break;
    case 2: buf_printf(sql, "s %s '%s'", op, words[random_below(ARRAY_LEN(words))]); break;
    case 3: buf_printf(sql, "b %s %s", op, random_below(2) ? "true" : "false"); break;
    default: buf_printf(sql, "f %s %d.5", op, (int)random_below(4) - 2); break;
    }
}

static void random_query(Buf *sql) {
    buf_clear(sql);
    buf_printf(sql, "select * from t where ");
    for (uint64_t left = random_below(4);; left--) {
        random_condition(sql);
        if (left == 0) break;
        buf_printf(sql, random_below(5) == 0 ? " or " : " and ");
    }
    buf_put_u8(sql, 0);
}

typedef struct Seen {
    uint64_t count, sum;  // of hashes: bags of rows are equal when these are
} Seen;

static bool see(void *ctx, Bytes row) {
    Seen *seen = ctx;
    seen->count++;
    seen->sum += bytes_hash(row) | 1;
    return true;
}

static Seen scan_all(const Query *query, const Snapshot *snapshot) {
    Seen seen = {0};
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, query->table->table, snapshot, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        if (query_matches(query, row)) see(&seen, row);
    }
    table_scan_end(&scan);
    return seen;
}

static CatalogTable *random_table(World *w) {
    static const char *const shapes[][3] = {{"1", "21", "34"},
                                            {"132", "u0", "4"},
                                            {"u01", "3", "2"},
                                            {"4", "43", "1"}};
    CatalogTable *table = FAKE_TABLE(w->fake,
                                     "t",
                                     {"id", simple(TYPE_U32), NULL},
                                     {"a", simple(TYPE_I16), NULL},
                                     {"s", simple(TYPE_STRING), NULL},
                                     {"b", simple(TYPE_BOOL), NULL},
                                     {"f", simple(TYPE_F32), NULL});
    fake_store_table(table,
                     w->store,
                     (int32_t)random_below(2) - 1,
                     shapes[random_below(4)],
                     (uint32_t)random_below(4));
    for (int i = 0; i < 60; i++) {
        Buf row = {0};
        float f = (float)random_below(4) - 1.5f;
        buf_put_u32(&row, (uint32_t)random_below(40));
        buf_put_u16(&row, (uint16_t)((int)random_below(6) - 3));
        buf_put_lp(&row, str_bytes(str_from(words[random_below(ARRAY_LEN(words))])));
        buf_put_u8(&row, (uint8_t)random_below(2));
        buf_put(&row, &f, 4);
        Err err = table_insert(table->table, buf_bytes(&row), NULL, NULL);
        EXPECT(err == OK || err == ERR_UNIQUE);
        buf_deinit(&row);
    }
    return table;
}

TEST(run, yields_the_rows_of_a_full_scan_whatever_the_indexes) {
    seed = 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    Buf sql = {0};
    uint64_t found = 0;
    for (int round = 0; round < 60; round++) {
        World w = world_open();
        CatalogTable *table = random_table(&w);
        Snapshot *snapshot = NULL;
        store_commit(w.store);
        EXPECT_OK(store_snapshot(w.store, &snapshot));
        store_begin(w.store);
        uint64_t deleted;
        if (round % 4 == 0) EXPECT_OK(table_clear(table->table, &deleted));
        for (int i = 0; i < 100; i++) {
            random_query(&sql);
            Query *query = compiled(&w, (const char *)sql.ptr);
            const Snapshot *at = i % 2 ? snapshot : NULL;
            Seen want = scan_all(query, at), got = {0};
            EXPECT_OK(query_run(query, at, see, &got));
            if (got.count != want.count) print_error("round %d: %s\n", round, (char *)sql.ptr);
            EXPECT_EQ(got.count, want.count);
            EXPECT_EQ(got.sum, want.sum);
            found += got.count;
            // Without the catalog, on the snapshot, it says the same.
            want = scan_all(query, snapshot);
            EXPECT_OK(query_detach(query));
            got = (Seen){0};
            EXPECT_OK(query_run(query, snapshot, see, &got));
            EXPECT_EQ(got.count, want.count);
            EXPECT_EQ(got.sum, want.sum);
            query_free(&query);
        }
        store_commit(w.store);
        snapshot_release(&snapshot);
        world_close(&w);
    }
    EXPECT(found > 1000);
    buf_deinit(&sql);
}

static bool stop(void *ctx, Bytes row) {
    (void)row;
    return --*(int *)ctx > 0;
}

TEST(run, stops_when_the_sink_says_so) {
    World w = world_open();
    inventory(&w);
    Query *query = compiled(&w, "select * from inventory");
    int left = 2;
    EXPECT_ERR(query_run(query, NULL, stop, &left), ERR_LIMIT);
    EXPECT_EQ(left, 0);
    query_free(&query);
    world_close(&w);
}

static uint64_t cost(World *w, const char *sql, uint64_t most) {
    Query *query = compiled(w, sql);
    uint64_t result = query_cost(query, most);
    query_free(&query);
    return result;
}

TEST(run, knows_what_a_query_would_cost) {
    World w = world_open();
    inventory(&w);
    EXPECT_EQ(cost(&w, "select * from inventory", 100), 5);
    EXPECT_EQ(cost(&w, "select * from inventory", 3), 4);
    EXPECT_EQ(cost(&w, "select * from inventory limit 2", 3), 2);
    EXPECT_EQ(cost(&w, "select * from inventory where name = 'x' limit 2", 3), 4);
    EXPECT_EQ(cost(&w, "select * from inventory where inventory_id = 2", 3), 1);
    EXPECT_EQ(cost(&w, "select * from inventory where inventory_id > 3", 3), 2);
    EXPECT_EQ(cost(&w, "select count(*) as n from inventory", 3), 0);
    world_close(&w);
}

TEST(run, ends_with_an_answer_that_is_too_large) {
    World w = world_open();
    inventory(&w);
    Query *query = compiled(&w, "select * from inventory");
    int many = 100;
    query->rows_max = 5;
    EXPECT_OK(query_run(query, NULL, stop, &many));
    query->rows_max = 4;
    EXPECT_ERR(query_run(query, NULL, stop, &many), ERR_TOO_LARGE);
    query->rows_max = 0;
    query->bytes_max = 5 * 19;  // u64, and u32 with seven letters
    EXPECT_OK(query_run(query, NULL, stop, &many));
    query->bytes_max--;
    EXPECT_ERR(query_run(query, NULL, stop, &many), ERR_TOO_LARGE);
    Buf out = {0};
    Diag diag;
    Statement *statement = stated(&w, "select * from inventory");
    statement_limit(statement, NULL, 0, 5 * 19);
    EXPECT_ERR(statement_write_json(statement, NULL, NULL, 7, &out, &diag),
               ERR_TOO_LARGE);  // of text
    buf_deinit(&out);
    statement_free(&statement);
    query_free(&query);
    world_close(&w);
}

TEST(run, survives_each_allocation_failing) {
    World w = world_open();
    inventory(&w);
    Statement *statement =
        stated(&w, "select * from inventory where inventory_id > 1 and name < 'i'");
    for (int64_t n = 0;; n++) {
        Buf out = {0};
        Diag diag;
        mem_fault_arm(n);
        Err err = statement_write_json(statement, NULL, NULL, 7, &out, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        buf_deinit(&out);
        if (!hit) break;
    }
    statement_free(&statement);
    world_close(&w);
}

TEST_MAIN()
