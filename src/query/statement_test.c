// Statements where memory, rights and schemas are against them. What they answer is conformance_test.c's
// and sqlite_test.c's.
#include "query/statement.h"

#include "base/mem.h"
#include "base/test.h"
#include "query/fake_testing.h"
#include "query/statement_private.h"

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    CatalogTable *t, *u;
} World;

static const QueryCaller owner = {.identity = {{1}}, .is_owner = true};
static const QueryCaller other = {.identity = {{2}}};

static void add(CatalogTable *table, uint64_t a, uint32_t b, const char *s) {
    Buf row = {0};
    buf_put_u64(&row, a);
    buf_put_u32(&row, b);
    buf_put_lp(&row, str_bytes(str_from(s)));
    EXPECT_OK(table_insert(table->table, buf_bytes(&row), NULL, NULL));
    buf_deinit(&row);
}

static World world_open(uint32_t rows) {
    static const char *const words[] = {"x", "y", "zz"};
    World w = {.fake = fake_new()};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w.store));
    store_begin(w.store);
    for (int i = 0; i < 2; i++) {
        CatalogTable *table = FAKE_TABLE(w.fake,
                                         i ? "u" : "t",
                                         {"a", type_simple(TYPE_U64), NULL},
                                         {"b", type_simple(TYPE_U32), NULL},
                                         {"s", type_simple(TYPE_STRING), NULL});
        fake_store_table(table, w.store, 0, (const char *const[]){"1"}, (uint32_t)i);
        *(i ? &w.u : &w.t) = table;
        for (uint32_t n = 0; n < rows; n++)
            add(table, n, n % 5, words[n % 3]);
    }
    store_commit(w.store);
    return w;
}

static void world_close(World *w) {
    store_close(&w->store);
    fake_free(&w->fake);
}

static Err compiled(World *w,
                    const QueryCaller *who,
                    const char *sql,
                    Statement **out,
                    Diag *diag) {
    diag_clear(diag);
    return statement_compile(str_from(sql), QUERY_SQL, &w->fake->door, who, out, diag);
}

static bool count_row(void *ctx, Bytes row) {
    (void)row;
    ++*(uint64_t *)ctx;
    return true;
}

static uint64_t rows_of(World *w, const QueryCaller *who, const char *sql) {
    Statement *statement = NULL;
    Diag diag;
    uint64_t rows = 0;
    Err err = compiled(w, who, sql, &statement, &diag);
    if (err != OK) fail_msg("%s: %s", sql, diag.text);
    EXPECT_OK(statement_run(statement, NULL, count_row, &rows, &diag));
    statement_free(&statement);
    return rows;
}

static const char *const forms[] = {
    "select t.a, u.s as word from t join u on t.b = u.b where t.a > 3 and u.s = 'x'",
    "select t.a, u.a as other from t left join u on t.s = u.s and t.b < u.b where u.a is null or t.b > 1",
    "select s, count(*) as n, max(a) as top, avg(b) as mean from t group by s order by n desc, s limit 2",
    "select t.* from t join u on t.a = u.a order by t.s desc limit 3 offset 1",
    "explain analyze select t.a from t join u on t.s = u.s order by t.b",
    "select a from t where b in (1, 2)",
};

TEST(statement, survives_each_allocation_failing) {
    World w = world_open(12);
    fake_rule(w.fake, w.u, "select * from u where u.b = 1");
    fake_rule(w.fake, w.u, "select u.* from u join t on u.s = t.s where t.b = 3");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const QueryCaller *who = strstr(forms[i], "explain") ? &owner : &other;
        Err err = ERR_NOMEM;
        for (int64_t n = 0; err != OK; n++) {
            Statement *statement = NULL;
            Buf out = {0};
            Diag diag;
            mem_fault_arm(n);
            err = compiled(&w, who, forms[i], &statement, &diag);
            if (err == OK) err = statement_write_json(statement, NULL, NULL, 1, &out, &diag);
            if (err == OK) err = statement_detach(statement);
            mem_fault_arm(-1);
            EXPECT(err == OK || err == ERR_NOMEM);
            statement_free(&statement);
            buf_deinit(&out);
        }
    }
    world_close(&w);
}

TEST(statement, says_when_it_needs_too_much_memory) {
    World w = world_open(2000);
    static const char *const hungry[] = {
        "select t.a, u.a as other from t join u on t.s = u.s limit 1",
        "select a, count(*) as n from t group by a",
        "select a, s from t order by s",
    };
    for (size_t i = 0; i < ARRAY_LEN(hungry); i++) {
        Statement *statement = NULL;
        Diag diag;
        uint64_t rows = 0;
        EXPECT_OK(compiled(&w, &owner, hungry[i], &statement, &diag));
        statement->plan->memory_max = 20000;
        EXPECT_ERR(statement_run(statement, NULL, count_row, &rows, &diag), ERR_INVALID);
        EXPECT(str_starts(str_from(diag.text), STR("The query needs more than ")));
        statement_free(&statement);
    }
    EXPECT_EQ(rows_of(&w, &owner, "select a, s from t order by s limit 7"), 7);
    world_close(&w);
}

TEST(statement, keeps_no_more_rows_than_a_limit_can_ask_for) {
    World w = world_open(20000);
    Statement *statement = NULL;
    Diag diag;
    uint64_t rows = 0;
    EXPECT_OK(
        compiled(&w, &owner, "select a from t order by s, a desc limit 5", &statement, &diag));
    statement->plan->memory_max = 200000;  // of 20,000 rows it would be more than a million
    EXPECT_OK(statement_run(statement, NULL, count_row, &rows, &diag));
    EXPECT_EQ(rows, 5);
    statement_free(&statement);
    world_close(&w);
}

TEST(statement, ends_when_it_is_told_to_stop_or_says_too_much) {
    World w = world_open(2000);
    static const char *const long_ones[] = {
        "select t.a, u.a as other from t join u on t.s = u.s",
        "select t.a, u.a as other from t cross join u",
        "select count(*) as n from t join u where t.a > u.a",
        "select a from t where b > 0",
    };
    for (size_t i = 0; i < ARRAY_LEN(long_ones); i++) {
        Statement *statement = NULL;
        Diag diag;
        uint64_t rows = 0;
        atomic_bool stop = true;
        EXPECT_OK(compiled(&w, &owner, long_ones[i], &statement, &diag));
        statement_limit(statement, &stop, 0, 0);
        EXPECT_ERR(statement_run(statement, NULL, count_row, &rows, &diag), ERR_CLOSED);
        if (i != 2) {
            statement_limit(statement, NULL, 10, 0);
            EXPECT_ERR(statement_run(statement, NULL, count_row, &rows, &diag), ERR_TOO_LARGE);
        }
        statement_free(&statement);
    }
    world_close(&w);
}

TEST(statement, that_should_be_short_ends_when_it_is_not) {
    World w = world_open(2000);
    static const char *const joins[] = {
        "select t.a, u.a as other from t join u on t.s = u.s",
        "select t.a, u.a as other from t cross join u",
        "select count(*) as n from t join u where t.a > u.a",
    };
    for (size_t i = 0; i < ARRAY_LEN(joins); i++) {
        Statement *statement = NULL;
        Diag diag;
        uint64_t some = 0, all = 0;
        EXPECT_OK(compiled(&w, &owner, joins[i], &statement, &diag));
        statement_limit_tries(statement, 500);
        EXPECT_ERR(statement_run(statement, NULL, count_row, &some, &diag), ERR_AGAIN);
        EXPECT(some <= 500 + TABLE_BREATHE_ROWS);
        statement_limit(statement, NULL, 0, 0);
        EXPECT_OK(statement_run(statement, NULL, count_row, &all, &diag));
        EXPECT(all > some || i == 2);
        statement_limit_tries(statement, UINT64_MAX);
        some = 0;
        EXPECT_OK(statement_run(statement, NULL, count_row, &some, &diag));
        EXPECT_EQ(some, all);
        statement_free(&statement);
    }
    world_close(&w);
}

// What a stranger gets through any form of query is what the rules leave.
TEST(statement, never_shows_a_row_that_the_rules_hide) {
    World w = world_open(30);
    fake_rule(w.fake, w.t, "select * from t where t.a < 4");
    fake_rule(w.fake, w.t, "select t.* from t join u on t.a = u.a where u.b = 4");
    // 0 to 3, and 4, 9, 14, 19, 24, 29.
    EXPECT_EQ(rows_of(&w, &other, "select * from t"), 10);
    EXPECT_EQ(rows_of(&w, &owner, "select * from t"), 30);
    EXPECT_EQ(rows_of(&w, &other, "select * from t where b = 4"), 6);
    EXPECT_EQ(rows_of(&w, &other, "select * from t where a = 5"), 0);
    EXPECT_EQ(rows_of(&w, &other, "select u.a from u join t on u.a = t.a"), 10);
    EXPECT_EQ(rows_of(&w, &other, "select t.a from u join t on u.b = t.b where u.a = 4"), 6);
    EXPECT_EQ(rows_of(&w, &other, "select u.a from u left join t on u.a = t.a where t.a is null"),
              20);
    EXPECT_EQ(rows_of(&w, &other, "select a from t group by a"), 10);
    EXPECT_EQ(rows_of(&w, &other, "select x.a from t x join t y on x.a = y.a"), 10);
    EXPECT_EQ(rows_of(&w, &other, "select a from t order by a limit 100 offset 8"), 2);
    Statement *statement = NULL;
    Diag diag;
    EXPECT_ERR(compiled(&w, &other, "explain select * from t", &statement, &diag), ERR_DENIED);
    EXPECT_ERR(compiled(&w, &other, "delete from t where a = 5", &statement, &diag), ERR_DENIED);
    EXPECT_ERR(
        compiled(&w, &other, "explain select u.a from u join t on u.a = t.a", &statement, &diag),
        ERR_DENIED);
    // Nothing is hidden here.
    EXPECT_OK(compiled(&w, &other, "explain analyze select * from u", &statement, &diag));
    statement_free(&statement);
    world_close(&w);
}

// ── parameters ─────────────────────────────────────────────────────────────────────────────────

static Err with_params(World *w, const char *text, StatementParams *params, Statement **out) {
    Diag diag;
    return statement_compile_with(str_from(text),
                                  QUERY_SQL,
                                  &w->fake->door,
                                  &owner,
                                  params,
                                  out,
                                  &diag);
}

TEST(statement, parameters_have_the_types_of_what_they_meet) {
    World w = world_open(12);
    StatementParam items[4] = {0};
    StatementParams params = {.items = items, .max = 4};
    Statement *statement = NULL;
    static const char text[] =
        "select t.a from t join u on t.a = u.a where t.s = $2 and u.b in ($1, $3) limit $4";
    EXPECT_OK(with_params(&w, text, &params, &statement));
    statement_free(&statement);
    EXPECT_EQ(params.count, 4);
    EXPECT_EQ(items[0].type->kind, items[2].type->kind);
    EXPECT_EQ(items[1].type->kind, TYPE_STRING);
    EXPECT_EQ(items[3].type->kind, TYPE_U64);
    world_close(&w);
}

TEST(statement, a_parameter_counts_like_the_literal_in_its_place) {
    World w = world_open(30);
    StatementParam items[2] = {{.known = true, .text = STR("4")},
                               {.known = true, .text = STR("17")}};
    StatementParams params = {.items = items, .max = 2};
    Statement *statement = NULL;
    Diag diag;
    uint64_t rows = 0;
    EXPECT_OK(with_params(&w, "select a from t where a between $1 and $2", &params, &statement));
    EXPECT_OK(statement_run(statement, NULL, count_row, &rows, &diag));
    EXPECT_EQ(rows, rows_of(&w, &owner, "select a from t where a between 4 and 17"));
    statement_free(&statement);
    items[0].text = STR("four");
    EXPECT_ERR(with_params(&w, "select a from t where a = $1", &params, &statement), ERR_INVALID);
    items[0].text = STR_NONE;
    EXPECT_ERR(with_params(&w, "select a from t where a = $1", &params, &statement), ERR_INVALID);
    EXPECT_ERR(with_params(&w, "select a from t where a = $3", &params, &statement),
               ERR_UNSUPPORTED);
    EXPECT_ERR(with_params(&w, "select a from t where $1 = $2", &params, &statement), ERR_INVALID);
    EXPECT_ERR(with_params(&w, "select a from t where a = $1", NULL, &statement), ERR_UNSUPPORTED);
    world_close(&w);
}

TEST(statement, literals_of_drivers_may_carry_a_cast_and_be_null) {
    World w = world_open(30);
    StatementParam items[1] = {{.known = true, .text = STR("4")}};
    StatementParams params = {.items = items, .max = 1, .from_driver = true};
    Statement *statement = NULL;
    static const char *const known[] = {
        "select a from t where a between '4'::int8 and 17",
        "select a from t where s = 'x'::varchar or a = $1::integer",
        "insert into t (a, b, s) values ('1000'::bigint, 1, 'x'::text)",
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        EXPECT_OK(with_params(&w, known[i], &params, &statement));
        statement_free(&statement);
        params.from_driver = false;
        EXPECT(with_params(&w, known[i], &params, &statement) != OK);
        params.from_driver = true;
    }
    static const struct {
        const char *text;
        Err err;
    } wrong[] = {
        {"select a from t where a = 'four'::int8", ERR_INVALID},
        {"select a from t where a = NULL", ERR_INVALID},
        {"select a from t where a = 'x'::nonsense", ERR_UNSUPPORTED},
        {"select a from t where a = 'x'::", ERR_UNSUPPORTED},
        {"select a from t where a::text = 'x'", ERR_UNSUPPORTED},
        {"insert into t (a, b, s) values (NULL, 1, 'x')", ERR_INVALID},
        {"insert into t (a, b, s) values (1, 2, 'x'::)", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        EXPECT_ERR(with_params(&w, wrong[i].text, &params, &statement), wrong[i].err);
    world_close(&w);
}

TEST(statement, a_text_is_cut_where_the_lexer_sees_its_ends) {
    Str rest = STR(" ;; select ';' ; -- ;\n update t set s = $$;$$ /* ; */;;  ");
    Str first;
    EXPECT(statement_split(&rest, &first));
    EXPECT(str_eq(first, STR("select ';' ")));
    EXPECT(statement_split(&rest, &first));
    EXPECT(str_eq(first, STR("update t set s = $$;$$ /* ; */")));
    EXPECT(!statement_split(&rest, &first));
    // What cannot be cut comes whole, so that its error is told.
    rest = STR("select 'open; select 2");
    EXPECT(statement_split(&rest, &first));
    EXPECT(str_eq(first, STR("select 'open; select 2")));
    EXPECT(!statement_split(&rest, &first));
}

TEST(statement, runs_two_hundred_relations_without_recursion) {
    World w = world_open(6);
    Buf sql = {0};
    buf_printf(&sql, "select t0.a from t t0");
    for (int i = 1; i < 200; i++)
        buf_printf(&sql, " join t t%d on t%d.a = t%d.a", i, i - 1, i);
    buf_put_u8(&sql, 0);
    EXPECT_EQ(rows_of(&w, &owner, (const char *)sql.ptr), 6);
    buf_deinit(&sql);
    world_close(&w);
}

static bool stop_at_once(void *ctx, Bytes row) {
    (void)ctx;
    (void)row;
    return false;
}

TEST(statement, stops_when_the_sink_says_so) {
    World w = world_open(6);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        Statement *statement = NULL;
        Diag diag;
        EXPECT_OK(compiled(&w, &owner, forms[i], &statement, &diag));
        EXPECT_ERR(statement_run(statement, NULL, stop_at_once, NULL, &diag), ERR_LIMIT);
        statement_free(&statement);
    }
    world_close(&w);
}

TEST(statement, explains_what_a_change_costs_a_subscription) {
    FakeCatalog *fake = fake_new();
    Store *store;
    Statement *statement;
    Diag diag;
    diag_clear(&diag);
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &store));
    const Type *u32 = type_simple(TYPE_U32);
    CatalogTable *p = FAKE_TABLE(fake, "p", {"id", u32, NULL}, {"z", u32, NULL}, {"w", u32, NULL});
    CatalogTable *z = FAKE_TABLE(fake, "z", {"id", u32, NULL}, {"who", u32, NULL});
    store_begin(store);
    fake_store_table(p, store, 0, (const char *const[]){"1"}, 1);
    fake_store_table(z, store, 0, NULL, 0);
    store_commit(store);
    EXPECT_OK(statement_compile(
        STR("EXPLAIN SUBSCRIBE SELECT p.* FROM p JOIN z ON p.z = z.id WHERE z.who = 5;"),
        QUERY_SQL,
        &fake->door,
        &owner,
        &statement,
        &diag));
    Buf json = {0};
    EXPECT_OK(statement_write_json(statement, NULL, NULL, 1, &json, &diag));
    buf_put_u8(&json, 0);
    const char *text = (const char *)json.ptr;
    EXPECT(strstr(text, "rows of `p`, each once"));
    EXPECT(strstr(text, "a row of `p` changes: `z` by index (id), subscribers by (who)"));
    EXPECT(strstr(text,
                  "a row of `z` changes: subscribers by (who), unless another row has the same "
                  "link: `p` by index (z)"));
    statement_free(&statement);
    EXPECT_ERR(statement_compile(STR("EXPLAIN SUBSCRIBE SELECT p.* FROM p JOIN z ON p.z < z.id"),
                                 QUERY_SQL,
                                 &fake->door,
                                 &owner,
                                 &statement,
                                 &diag),
               ERR_UNSUPPORTED);
    EXPECT(strstr(diag.text, "require indexes"));
    fake_rule(fake, p, "SELECT p.* FROM p JOIN z ON p.z = z.id WHERE z.who = 1");
    EXPECT_ERR(statement_compile(STR("EXPLAIN SUBSCRIBE SELECT * FROM p"),
                                 QUERY_SQL,
                                 &fake->door,
                                 &other,
                                 &statement,
                                 &diag),
               ERR_DENIED);
    buf_deinit(&json);
    store_close(&store);
    fake_free(&fake);
}

TEST_MAIN()
