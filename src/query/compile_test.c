// What compiles, what does not and in which words: spec sql-and-subscriptions §6.2, one table.
#include "base/mem.h"
#include "base/test.h"
#include "query/fake_testing.h"

static FakeCatalog *fake;
static const Identity caller_identity = {{1, 2, 3}};
static const QueryCaller owner = {.identity = {{1, 2, 3}}, .is_owner = true};
static const QueryCaller other = {.identity = {{1, 2, 3}}, .is_owner = false};

static const Type *simple(TypeKind kind) {
    return type_simple(kind);
}

static void open_fixtures(void) {
    fake = fake_new();
    Arena *a = &fake->arena;
    const Type *strings = type_array(a, simple(TYPE_STRING));
    const Type *unit = type_special(SPECIAL_UNIT);
    const Type *kind = type_sum(a, (TypeField[]){{STR("A"), unit}, {STR("B"), unit}}, 2);
    FAKE_TABLE(fake,
               "t",
               {"ts", type_special(SPECIAL_TIMESTAMP), NULL},
               {"i8", simple(TYPE_I8), NULL},
               {"u8", simple(TYPE_U8), NULL},
               {"i16", simple(TYPE_I16), NULL},
               {"u16", simple(TYPE_U16), NULL},
               {"i32", simple(TYPE_I32), NULL},
               {"u32", simple(TYPE_U32), NULL},
               {"i64", simple(TYPE_I64), NULL},
               {"u64", simple(TYPE_U64), NULL},
               {"int", simple(TYPE_U32), NULL},
               {"f32", simple(TYPE_F32), NULL},
               {"f64", simple(TYPE_F64), NULL},
               {"i128", simple(TYPE_I128), NULL},
               {"u128", simple(TYPE_U128), NULL},
               {"i256", simple(TYPE_I256), NULL},
               {"u256", simple(TYPE_U256), NULL},
               {"str", simple(TYPE_STRING), NULL},
               {"arr", strings, NULL});
    FAKE_TABLE(fake,
               "s",
               {"id", type_special(SPECIAL_IDENTITY), NULL},
               {"u32", simple(TYPE_U32), NULL},
               {"arr", strings, NULL},
               {"bytes", type_special(SPECIAL_BYTES), NULL});
    FAKE_TABLE(fake,
               "x",
               {"b", simple(TYPE_BOOL), NULL},
               {"cid", type_special(SPECIAL_CONNECTION_ID), NULL},
               {"uid", type_special(SPECIAL_UUID), NULL},
               {"td", type_special(SPECIAL_TIME_DURATION), NULL},
               {"opt", type_option(a, simple(TYPE_U32)), NULL},
               {"kind", kind, NULL},
               {"str", simple(TYPE_STRING), NULL},
               {"u", simple(TYPE_U32), NULL});
    FAKE_TABLE(fake, "ns.t", {"a", simple(TYPE_U32), NULL});
    FAKE_TABLE(fake,
               "user",
               {"identity", type_special(SPECIAL_IDENTITY), NULL},
               {"order", simple(TYPE_U32), NULL},
               {"x", simple(TYPE_U32), NULL});
    CatalogTable *named = FAKE_TABLE(fake,
                                     "canonical_table",
                                     {"id", simple(TYPE_U32), NULL},
                                     {"accessor_value1", simple(TYPE_U32), "accessor_value_1"});
    named->source = STR("accessor_table");
    FAKE_TABLE(fake, "secret", {"answer", simple(TYPE_U8), NULL})->is_public = false;
    FAKE_TABLE(fake, "p", {"id", simple(TYPE_U64), NULL}, {"signed_in", simple(TYPE_BOOL), NULL});
}

static Err compile_at(QueryDoor door, const QueryCaller *who, Str sql, Query **out, Diag *diag) {
    if (!fake) open_fixtures();
    diag_clear(diag);
    return query_compile(sql, door, &fake->door, who, out, diag);
}

static Query *compiled(QueryDoor door, const char *sql) {
    Query *query = NULL;
    Diag diag;
    Err err = compile_at(door, &owner, str_from(sql), &query, &diag);
    if (err != OK) print_error("%s\n  %s: %s\n", sql, err_name(err), diag.text);
    EXPECT_EQ(err, OK);
    return query;
}

static void accepts_at(QueryDoor door, const char *sql) {
    Query *query = compiled(door, sql);
    query_free(&query);
}

static void accepts(const char *sql) {
    accepts_at(QUERY_SQL, sql);
}

static void refuses_at(QueryDoor door, const char *sql, Err want, const char *text) {
    Query *query = NULL;
    Diag diag;
    Err err = compile_at(door, &owner, str_from(sql), &query, &diag);
    bool told = strstr(diag.text, text) != NULL;
    if (err != want || !told)
        print_error("%s\n  is       %s: %s\n  expected %s: %s\n",
                    sql,
                    err_name(err),
                    diag.text,
                    err_name(want),
                    text);
    query_free(&query);
    EXPECT(err == want && told);
}

static void refuses(const char *sql, Err want, const char *text) {
    refuses_at(QUERY_SQL, sql, want, text);
}

#define LITERAL    ERR_INVALID, "cannot be parsed as type"
#define UNRESOLVED ERR_INVALID, "Cannot resolve type for literal expression"
#define TYPE       ERR_INVALID, "Unexpected type: (expected)"
#define OP         ERR_INVALID, "Invalid binary operator"
#define NO_NAME    ERR_INVALID, "is not in scope"
#define NO_TABLE   ERR_INVALID, "no such table: `"
#define PARSE      ERR_INVALID, "sql parser error: "
#define EMPTY      ERR_INVALID, "Empty SQL query"
#define MULTI      ERR_INVALID, "Multiple SQL statements are not supported"
#define DUP        ERR_INVALID, "Duplicate name `"
#define NO_FROM    ERR_INVALID, "A FROM clause is required"
#define RETURNS    ERR_INVALID, "Subscriptions must return a table type"
#define UNSUP      ERR_UNSUPPORTED, "Unsupported: "
#define UNSUP_EXPR ERR_UNSUPPORTED, "Unsupported expression: "
#define UNSUP_LIT  ERR_UNSUPPORTED, "Unsupported literal expression: "
#define UNSUP_OP   ERR_UNSUPPORTED, "Unsupported binary operator: "

// ── literals ───────────────────────────────────────────────────────────────────────────────────

TEST(sql, takes_signs_and_exponents_where_the_number_is_whole) {
    accepts("select * from t where i32 = -1");
    accepts("select * from t where u32 = +1");
    accepts("select * from t where u32 = 1e3");
    accepts("select * from t where u32 = 1E3");
    accepts("select * from t where u32 = 1300e-2");
    accepts("select * from t where u8 = 1.0");
    refuses("select * from t where u8 = -1", LITERAL);
    refuses("select * from t where u8 = 1e3", LITERAL);
    refuses("select * from t where u8 = 0.1", LITERAL);
    refuses("select * from t where u32 = 1e-3", LITERAL);
    refuses("select * from t where i32 = 1e-3", LITERAL);
    refuses("select * from t where u32 = 1.3", LITERAL);
    refuses("select * from t where u32 = 'str'", LITERAL);
    refuses("select * from t where u32 = ''", LITERAL);
}

TEST(sql, reads_floats_from_any_decimal) {
    accepts("select * from t where f32 = 1e3");
    accepts("select * from t where f32 = 1e-3");
    accepts("select * from t where f32 = 0.1");
    accepts("select * from t where f32 = .1");
    accepts("select * from t where f32 = 1e40");
    accepts("select * from t where f64 = 1e1000000000");
    accepts("select * from t where u256 = 1e40");
    refuses("select * from t where f32 = 'nan'", LITERAL);
    refuses("select * from t where f32 = 'inf'", LITERAL);
    refuses("select * from t where f64 = '0x1p3'", LITERAL);
}

TEST(sql, reads_timestamps_with_a_zone_only) {
    accepts("select * from t where ts = '2025-02-10T15:45:30Z'");
    accepts("select * from t where ts = '2025-02-10T15:45:30.123Z'");
    accepts("select * from t where ts = '2025-02-10T15:45:30.123456789Z'");
    accepts("select * from t where ts = '2025-02-10 15:45:30+02:00'");
    accepts("select * from t where ts = '2025-02-10 15:45:30.123+02:00'");
    refuses("select * from t where ts = '2025-02-10T15:45:30'", LITERAL);
    refuses("select * from t where ts = '2025-02-29T15:45:30Z'", LITERAL);
    refuses("select * from t where ts = '2025-13-01T15:45:30Z'", LITERAL);
    refuses("select * from t where ts = '2025-02-10T24:00:00Z'", LITERAL);
    refuses("select * from t where ts = 5", LITERAL);
}

TEST(sql, takes_127_for_every_number_column) {
    static const char *const columns[] = {"i8",
                                          "u8",
                                          "i16",
                                          "u16",
                                          "i32",
                                          "u32",
                                          "i64",
                                          "u64",
                                          "int",
                                          "f32",
                                          "f64",
                                          "i128",
                                          "u128",
                                          "i256",
                                          "u256"};
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "select * from t where %s = 127", columns[i]);
        accepts(sql);
    }
}

TEST(sql, knows_the_range_of_every_integer) {
    static const struct {
        const char *column;
        int bits;
        bool is_signed;
    } columns[] = {
        {"i8", 8, true},
        {"u8", 8, false},
        {"i16", 16, true},
        {"u16", 16, false},
        {"i32", 32, true},
        {"u32", 32, false},
        {"i64", 64, true},
        {"u64", 64, false},
        {"i128", 128, true},
        {"u128", 128, false},
        {"i256", 256, true},
        {"u256", 256, false},
    };
    // Powers of two and their neighbours by decimal arithmetic on text: the slow twin.
    for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
        char power[100] = "1";
        int bits = columns[c].bits - columns[c].is_signed;
        for (int b = 0; b < bits; b++) {
            int carry = 0;
            for (size_t i = strlen(power); i-- > 0;) {
                int digit = (power[i] - '0') * 2 + carry;
                power[i] = (char)('0' + digit % 10);
                carry = digit / 10;
            }
            if (carry) {
                memmove(power + 1, power, strlen(power) + 1);
                power[0] = '1';
            }
        }
        char below[100], above[100], sql[200];
        strcpy(below, power);
        below[strlen(below) - 1]--;  // a power of two ends in 2, 4, 6 or 8
        strcpy(above, power);
        above[strlen(above) - 1]++;
        snprintf(sql, sizeof sql, "select * from t where %s = %s", columns[c].column, below);
        accepts(sql);
        snprintf(sql, sizeof sql, "select * from t where %s = %s", columns[c].column, power);
        refuses(sql, LITERAL);
        snprintf(sql, sizeof sql, "select * from t where %s = -%s", columns[c].column, power);
        if (columns[c].is_signed)
            accepts(sql);
        else
            refuses(sql, LITERAL);
        snprintf(sql, sizeof sql, "select * from t where %s = -%s", columns[c].column, above);
        refuses(sql, LITERAL);
        snprintf(sql, sizeof sql, "select * from t where %s = -0", columns[c].column);
        accepts(sql);
    }
    refuses("select * from t where u256 = 1e78", LITERAL);
    refuses("select * from t where u256 = 1e1000000000", LITERAL);
}

TEST(sql, ignores_how_a_literal_was_written) {
    accepts("select * from t where u32 = '5'");
    accepts("select * from t where str = 5");
    accepts("select * from t where str = 0xAB");
    accepts("select * from t where u32 = 0x10");  // decimal 10: kept from the original
    refuses("select * from t where u32 = 0xFF", LITERAL);
}

TEST(sql, reads_bytes_and_ids_from_hex) {
    accepts("select * from s where bytes = 0xABCD or bytes = X'ABCD'");
    accepts("select * from s as r where r.bytes = 0xABCD or bytes = x'abcd'");
    refuses("select * from s where bytes = 0xABC", LITERAL);
    accepts("select * from s where bytes = 0x");
    accepts("select * from s where id = "
            "0x93dda09db9a56d8fa6c024d843e805d8262191db3b4ba84c5efcd1ad451fed4e");
    refuses("select * from s where id = "
            "0x93dda09db9a56d8fa6c024d843e805d8262191db3b4ba84c5efcd1ad451fed4",
            LITERAL);
    accepts("select * from x where cid = 0x000102030405060708090a0b0c0d0e0f");
    refuses("select * from x where cid = 0x000102030405060708090a0b0c0d0e", LITERAL);
    accepts("select * from x where uid = 0x01888d6e5c0070008000000000000001");
    accepts("select * from x where uid = '01888d6e-5c00-7000-8000-000000000001'");
    accepts("select * from x where uid = '{01888d6e-5c00-7000-8000-000000000001}'");
    accepts("select * from x where uid = 'urn:uuid:01888d6e-5c00-7000-8000-000000000001'");
    refuses("select * from x where uid = '01888d6e-5c007000-8000-000000000001-'", LITERAL);
}

static void expect_param(const char *sql, const char *hex) {
    Query *query = compiled(QUERY_SQL, sql);
    EXPECT_EQ(query->param_count, 1);
    EXPECT_HEX(query->values[0], hex);
    query_free(&query);
}

TEST(sql, encodes_literals_as_the_column_s_bytes) {
    expect_param("select * from t where i8 = -2", "fe");
    expect_param("select * from t where u16 = 4660", "3412");
    expect_param("select * from t where i128 = -2", "feffffffffffffffffffffffffffffff");
    expect_param("select * from t where i256 = -2",
                 "feffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff");
    expect_param("select * from t where u128 = 5233100606242806050955395731361295",
                 "0f0e0d0c0b0a09080706050403020100");
    expect_param("select * from t where u32 = 0x10", "0a000000");
    expect_param("select * from t where u64 = 12.5e1", "7d00000000000000");
    expect_param("select * from t where f32 = 1.5", "0000c03f");
    expect_param("select * from t where f32 = 1e40", "0000807f");
    expect_param("select * from t where f64 = -1e999", "000000000000f0ff");
    expect_param("select * from t where f64 = -0.0", "0000000000000000");
    expect_param("select * from t where str = 'it''s'", "0400000069742773");
    expect_param("select * from t where str = 0xAB", "020000004142");
    expect_param("select * from t where str = -5", "020000002d35");
    expect_param("select * from s where bytes = 0x0102ff", "030000000102ff");
    expect_param("select * from s where bytes = 0x", "00000000");
    expect_param("select * from s where id = 0xc20035600353a2e93544d898c6ed0eac323e200c0468300f2295"
                 "8f8b472a265d",
                 "5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2");
    expect_param("select * from x where cid = 0x000102030405060708090a0b0c0d0e0f",
                 "0f0e0d0c0b0a09080706050403020100");
    expect_param("select * from x where uid = '01888d6e-5c00-7000-8000-000000000001'",
                 "01000000000000800070005c6e8d8801");
    expect_param("select * from t where ts = '1970-01-01T00:00:01Z'", "40420f0000000000");
    expect_param("select * from t where ts = '1969-12-31T23:59:59.9999999Z'", "ffffffffffffffff");
    expect_param("select * from t where ts = '1970-01-01 02:00:00+02:00'", "0000000000000000");
    expect_param("select * from t where ts = '2024-02-29T12:34:56.789012Z'", "1466aa7c84120600");
    expect_param("select * from x where b", "01");
    expect_param("select * from x where not b", "00");
    expect_param("select * from x where b <> TRUE", "00");
}

// ── types ──────────────────────────────────────────────────────────────────────────────────────

TEST(sql, gives_sender_the_type_it_meets) {
    expect_param("select * from s where id = :sender",
                 "0102030000000000000000000000000000000000000000000000000000000000");
    expect_param("select * from s where bytes = :sender",
                 "200000000000000000000000000000000000000000000000000000000000000000030201");
    refuses("select * from t where arr = :sender", TYPE);
    refuses("select * from t where u32 = :sender", TYPE);
    Query *query = compiled(QUERY_SQL, "select * from s where u32 = 1");
    EXPECT(!query->mentions_sender);
    query_free(&query);
    query = compiled(QUERY_SQL, "select * from s where :sender = id");
    EXPECT(query->mentions_sender);
    EXPECT_BYTES(query->values[0], BYTES(caller_identity.le, 32));
    query_free(&query);
}

TEST(sql, types_constants_only_against_what_has_a_type) {
    accepts("select * from t where true");
    accepts("select * from t where true = true");
    accepts("select * from t where :sender = :sender");
    refuses("select * from t where 1 = 1", UNRESOLVED);
    refuses("select * from t where 'a' = 'a'", UNRESOLVED);
    refuses("select * from t where true = 5", UNRESOLVED);
    accepts("select * from t where 5 < u32");
    accepts("select * from t where (((u32 = 5)))");
    refuses("select * from t where 5", LITERAL);
    refuses("select * from t where 'x'", LITERAL);
    refuses("select * from t where :sender", TYPE);
}

TEST(sql, widens_nothing) {
    refuses("select * from t where i32 = i64", TYPE);
    refuses("select * from t where u32", TYPE);
    refuses("select * from t where u32 and true", TYPE);
    refuses("select * from t where not u32", TYPE);
    accepts("select * from t where u32 = int");
    accepts("select * from x where b");
    accepts("select * from x where b = true");
    accepts("select * from x where b and not b");
    accepts("select * from x where (u = 1) = b");
    accepts("select * from t where u32 = 1 = true");
    refuses("select * from t where u32 = 1 = 1", LITERAL);
    refuses("select * from x where b = 1", LITERAL);
    refuses("select * from x where b = 'true'", LITERAL);
}

TEST(sql, refuses_to_compare_what_has_no_order) {
    refuses("select * from x where td = 5", LITERAL);
    refuses("select * from x where opt = 5", LITERAL);
    refuses("select * from x where kind = 'A'", LITERAL);
    refuses("select * from x where td = td", OP);
    refuses("select * from x where opt = opt",
            ERR_INVALID,
            "Invalid binary operator `=` for type `(some: U32 | none: ())`");
    refuses("select * from t where arr = arr",
            ERR_INVALID,
            "Invalid binary operator `=` for type `Array<String>`");
    refuses("select * from t where u8 = -1",
            ERR_INVALID,
            "The literal expression `-1` cannot be parsed as type `U8`");
    refuses("select * from t where u32 = (u8 = 1)",
            ERR_INVALID,
            "Unexpected type: (expected) U32 != Bool (inferred)");
}

// ── grammar ────────────────────────────────────────────────────────────────────────────────────

TEST(sql, names_expressions_it_does_not_know) {
    refuses("select * from t where u32 is true", ERR_UNSUPPORTED, "expression: u32 is true");
    refuses("select * from t where u32 in (select u32 from s)", UNSUP_EXPR);
    refuses("select * from t where (u32 = 1) in (true)", UNSUP_EXPR);
    refuses("select * from t where 5 is null", UNSUP_EXPR);
    refuses("select * from t where u32 in ()", PARSE);
    refuses("select * from t where u32 between 1", PARSE);
    refuses("select * from t where u32 in (1, 'x')", LITERAL);
    refuses("select * from t where arr in (1)", LITERAL);
    refuses("select * from t where 1 in (1)", ERR_INVALID, "Cannot resolve type");
    refuses("select * from t where str like 'a%'", UNSUP_EXPR);
    refuses("select * from t where u32 + 1 = 2", ERR_UNSUPPORTED, "Unsupported binary operator: +");
    refuses("select * from t where str || 'a' = 'b'", UNSUP_OP);
    refuses("select * from t where u32::u8 = 1", UNSUP_EXPR);
    refuses("select * from t where exists (select 1)", UNSUP_EXPR);
    refuses("select * from t where u32 = (select 1)", UNSUP_EXPR);
    refuses("select * from t where f(u32) = 1", UNSUP_EXPR);
    refuses("select * from t where (u32, i32) = 1", UNSUP_EXPR);
    refuses("select * from t where case when true then 1 end = 1", UNSUP_EXPR);
    refuses("select * from t where u32 = -(1)", UNSUP_EXPR);
    refuses("select * from t where i32 = - -1", UNSUP_EXPR);
    refuses("select * from t where u32 = null", ERR_UNSUPPORTED, "literal expression: null");
    refuses("select * from t where str = B'1010'", UNSUP_LIT);
    refuses("select * from t where str = E'a'", UNSUP_LIT);
    refuses("select * from t where str = N'a'", UNSUP_LIT);
    refuses("select * from t where str = $$a$$", UNSUP_LIT);
    refuses("select * from t where u32 = ?", UNSUP_LIT);
    refuses("select * from t where u32 = $1", UNSUP_LIT);
    refuses("select * from t where u32 = @a", UNSUP_LIT);
    refuses("select * from t where u32 = :other", UNSUP_LIT);
    refuses("select * from s where id = :SENDER", UNSUP_LIT);
}

TEST(sql, accepts_not_in_all_builders_forms) {
    accepts("select * from t where not (u32 = 1)");
    accepts("SELECT * FROM \"t\" WHERE (NOT (\"t\".\"u32\" = 10))");
    accepts("SELECT * FROM \"t\" WHERE NOT (\"t\".\"u32\" = 10)");
    accepts("SELECT * FROM \"t\" WHERE ((\"t\".\"u32\" = 10) AND (NOT (\"t\".\"i8\" > 18)))");
    accepts("select * from t where not u32 = 1 and i8 = 2");
    accepts("select * from t where not not true");
}

TEST(sql, accepts_what_query_builders_emit_in_subscriptions) {
    accepts_at(QUERY_SUBSCRIBE,
               "SELECT * FROM \"p\" WHERE ((\"p\".\"id\" = 10) AND (\"p\".\"signed_in\" = TRUE))");
    accepts_at(QUERY_SUBSCRIBE,
               "SELECT * FROM \"p\" WHERE (\"p\".\"id\" = 1) AND (\"p\".\"id\" <> 2)");
    accepts_at(QUERY_SUBSCRIBE, "SELECT * FROM \"p\" WHERE (TRUE = TRUE)");
    accepts_at(QUERY_SUBSCRIBE, "SELECT * FROM \"p\" WHERE (FALSE = TRUE)");
    accepts_at(QUERY_SUBSCRIBE, "SELECT * FROM \"p\" WHERE TRUE");
    accepts_at(QUERY_SUBSCRIBE, "SELECT * FROM \"p\" WHERE NOT (\"p\".\"id\" = 1)");
    accepts_at(QUERY_SUBSCRIBE, "SELECT \"p\".* FROM \"p\"");
}

TEST(sql, finds_names_where_they_are) {
    refuses("select * from r", NO_TABLE);
    refuses("select * from t where t.a = 1", ERR_INVALID, "`a` is not in scope");
    refuses("select * from t as r where r.a = 1", NO_NAME);
    refuses("select * from t as r where t.u32 = 5", ERR_INVALID, "`t` is not in scope");
    refuses("SELECT * FROM T", NO_TABLE);
    refuses("select * from t where U32 = 1", NO_NAME);
    refuses("select r.* from t", NO_NAME);
    accepts("select r.* from t r where r.u32 = 5 and u32 = 5");
    accepts("select * from 't' where u32 = 1");
    // Conformance case 34.
    accepts("select * from ns.t where ns.t.a = 1");
    accepts("select * from \"ns\".\"t\" where \"ns\".t.a = 1");
    accepts("select * from \"ns.t\" where ns.t.a = 1");
    accepts("SELECT ns.t.* FROM \"ns\".\"t\"");
    accepts("select accessor_value_1 from accessor_table where accessor_value1 = 1");
    accepts("SELECT * FROM \"user\" WHERE \"user\".\"order\" = 1");
    accepts("select * from user where order = 1");
    refuses("select * from user where user.x = 1", UNSUP_EXPR);
}

TEST(sql, hides_private_tables_from_strangers) {
    Query *query = NULL;
    Diag diag;
    EXPECT_ERR(compile_at(QUERY_SQL, &other, STR("select * from secret"), &query, &diag),
               ERR_INVALID);
    EXPECT_STR(diag.text,
               "no such table: `secret`. If the table exists, it may be marked private.");
    EXPECT_ERR(
        compile_at(QUERY_SUBSCRIBE, &other, STR("select * from secret where false"), &query, &diag),
        ERR_INVALID);
    accepts("select * from secret");
}

TEST(sql, reads_keywords_in_any_case_comments_and_blanks) {
    accepts("sElEcT * fRoM \"t\" WHERE (\"t\".\"u32\" = 10)");
    accepts("select * from t -- c");
    accepts("/* a /* b */ */ select * from t;");
    accepts("\n\tselect\xc2\xa0* from t;;");
    accepts(";select * from t");
    accepts(
        "select * from t where u32==1 and i8<>2 and i8!=3 and i8<4 and i8<=5 and i8>6 or i8>=7");
    accepts("select * from t where u32=1L and str='a--b'");
    refuses("select * from t /* a /* b */", PARSE);
    refuses("select * from t where str = 'a", PARSE);
    refuses("select * from \"t", PARSE);
}

TEST(sql, refuses_what_is_no_statement) {
    refuses("", EMPTY);
    refuses(" ", EMPTY);
    refuses(";", EMPTY);
    refuses("-- nothing", EMPTY);
    refuses("select 1", NO_FROM);
    refuses("select from t", PARSE);
    refuses("select a from where b = 1", PARSE);
    refuses("select u32 from t where", PARSE);
    refuses("select * from t where (u32 = 1", PARSE);
    refuses("select * from t where u32 = 1)", PARSE);
    refuses("select * from t where u32 =", PARSE);
    refuses("select * from t where u32 = 1 u32", PARSE);
    refuses("select * from", PARSE);
    refuses("select * from *", PARSE);
    refuses("selec * from t", PARSE);
    refuses("select * from t where \xff = 1", PARSE);
    refuses("select * from t; select * from s", MULTI);
    accepts("select * from t;");
}

TEST(sql, tells_where_parsing_stopped) {
    refuses("select *\nfrom t where u32 = ,",
            ERR_INVALID,
            "sql parser error: Expected an expression:, found: , at Line: 2, Column 20");
    refuses("select * from t where u32 =",
            ERR_INVALID,
            "Expected an expression:, found: EOF at Line: 1, Column 28");
}

TEST(sql, names_clauses_it_does_not_support) {
    refuses("select t.*, u32 from t", ERR_UNSUPPORTED, "Mixed wildcard projections");
    refuses("select u32, t.* from t", ERR_UNSUPPORTED, "Mixed wildcard projections");
    refuses("select *, u32 from t", ERR_UNSUPPORTED, "Mixed wildcard projections");
    refuses("select distinct u32 from t", UNSUP);
    refuses("select * from t order by u32",
            ERR_UNSUPPORTED,
            "Unsupported: select * from t order by u32");
    refuses("select * from t group by u32", UNSUP);
    refuses("select * from t having true", UNSUP);
    refuses("select * from t offset 1", UNSUP);
    refuses("select * from t union select * from t", UNSUP);
    refuses("with a as (select * from t) select * from a", UNSUP);
    refuses("select * from (select * from t)", ERR_UNSUPPORTED, "Unsupported FROM expression: ");
    refuses("select * from f(1)", ERR_UNSUPPORTED, "Unsupported FROM expression: ");
    refuses("select 1 from t", ERR_UNSUPPORTED, "Unsupported projection expression: 1");
    refuses("select (u32) from t", ERR_UNSUPPORTED, "Unsupported projection expression: (u32)");
    refuses("select u32 + 1 from t", ERR_UNSUPPORTED, "Unsupported projection expression: u32 + 1");
}

TEST(sql, of_subscriptions_is_a_plain_query_of_one_table) {
    refuses("insert into t (u32) values (1)", ERR_UNSUPPORTED, "Unsupported: Non-SELECT queries");
    refuses("select t.* from t join s on t.u32 = s.u32", ERR_UNSUPPORTED, "Unsupported: JOIN");
    refuses("select * from t, s", ERR_UNSUPPORTED, "Implicit joins are not supported");
    refuses("select t.* from t natural join s", ERR_UNSUPPORTED, "Non-inner joins");
    refuses("select sum(u32) as s from t", ERR_UNSUPPORTED, "Unsupported: select sum(u32)");
    refuses("explain select * from t", ERR_UNSUPPORTED, "Unsupported: Non-SELECT queries");
}

TEST(sql, counts_with_a_name_only) {
    refuses("select count(*) from t",
            ERR_UNSUPPORTED,
            "Aggregate expressions must have column aliases");
    refuses("select sum(u32) from t",
            ERR_UNSUPPORTED,
            "Aggregate expressions must have column aliases");
    refuses("select median(u32) as s from t",
            ERR_UNSUPPORTED,
            "Unsupported aggregate function: median(u32)");
    refuses("select sum(*) as s from t", ERR_UNSUPPORTED, "Unsupported aggregate function: sum(*)");
    refuses("select count(u32 + 1) as n from t", ERR_UNSUPPORTED, "Unsupported aggregate function");
    Query *query = compiled(QUERY_SQL, "select CoUnT(*) n from t");
    EXPECT_EQ(query->projection, QPROJECT_COUNT);
    EXPECT(str_eq(query->column_names[0], STR("n")));
    query_free(&query);
}

TEST(sql, names_the_columns_of_the_answer_as_written) {
    Query *query = compiled(QUERY_SQL, "select accessor_value_1, id as n from accessor_table");
    EXPECT_EQ(query->projection, QPROJECT_COLUMNS);
    EXPECT_EQ(query->projected_count, 2);
    EXPECT_EQ(query->projected[0], 1);
    EXPECT(str_eq(query->column_names[0], STR("accessor_value_1")));
    EXPECT(str_eq(query->column_names[1], STR("n")));
    query_free(&query);
    query = compiled(QUERY_SQL, "select * from accessor_table");
    EXPECT(str_eq(query->column_names[1], STR("accessor_value1")));
    query_free(&query);
    refuses("select u32, u32 from t", DUP);
    refuses("select u32 as a, i32 as a from t", DUP);
    refuses("select nothing from t", NO_NAME);
}

TEST(sql, takes_an_unsigned_whole_number_as_limit) {
    refuses("select * from t limit '5'", UNSUP);
    refuses("select * from t limit b", UNSUP);
    refuses("select * from t limit -1", UNSUP);
    refuses("select * from t limit 1.5", LITERAL);
    accepts("select * from t limit all");
    Query *query = compiled(QUERY_SQL, "select * from t where u32 = 1 limit 1e2;");
    EXPECT(query->has_limit);
    EXPECT_EQ(query->limit, 100);
    query_free(&query);
}

TEST(sql, restricts_subscriptions_to_whole_rows) {
    for (QueryDoor door = QUERY_ONE_OFF; door <= QUERY_SUBSCRIBE; door++) {
        refuses_at(door, "select u32 from t", RETURNS);
        refuses_at(door, "select count(*) as n from t", RETURNS);
        refuses_at(door, "select * from t limit 5", ERR_UNSUPPORTED, "Unsupported");
        refuses_at(door, "delete from t", ERR_UNSUPPORTED, "Unsupported: Non-SELECT queries");
        refuses_at(door, "select * from t order by u32", ERR_UNSUPPORTED, "Unsupported SELECT: ");
        refuses_at(door, "", EMPTY);
        accepts_at(door, "select t.* from t where u32 = 1");
    }
}

// ── limits ─────────────────────────────────────────────────────────────────────────────────────

static void repeat(Buf *out, const char *text, size_t times) {
    for (size_t i = 0; i < times; i++) {
        buf_put_str(out, str_from(text));
    }
}

static Err compile_buf(Buf *sql, Diag *diag) {
    Query *query = NULL;
    buf_put_u8(sql, 0);
    Err err = compile_at(QUERY_SQL, &owner, (Str){(char *)sql->ptr, sql->len - 1}, &query, diag);
    query_free(&query);
    buf_deinit(sql);
    return err;
}

TEST(sql, takes_fifty_thousand_bytes_and_not_one_more) {
    Diag diag;
    Buf sql = {0};
    repeat(&sql, "select * from t", 1);
    repeat(&sql, " ", QUERY_TEXT_MAX - sql.len);
    EXPECT_EQ(sql.len, QUERY_TEXT_MAX);
    EXPECT_OK(compile_buf(&sql, &diag));
    repeat(&sql, "select * from t", 1);
    repeat(&sql, " ", QUERY_TEXT_MAX + 1 - sql.len);
    EXPECT_ERR(compile_buf(&sql, &diag), ERR_TOO_LARGE);
    EXPECT(strstr(diag.text, "SQL query exceeds maximum allowed length") != NULL);
}

TEST(sql, nests_as_deep_as_the_text_is_long) {
    Diag diag;
    Buf sql = {0};
    repeat(&sql, "select * from t where ", 1);
    repeat(&sql, "(", 24000);
    repeat(&sql, "u32=1", 1);
    repeat(&sql, ")", 24000);
    EXPECT_OK(compile_buf(&sql, &diag));
    repeat(&sql, "select * from t where ", 1);
    repeat(&sql, "not ", 12000);
    repeat(&sql, "u32=1", 1);
    EXPECT_OK(compile_buf(&sql, &diag));
    repeat(&sql, "select * from t where ", 1);
    repeat(&sql, "(u32=1 and(i8=2 or", 2000);
    repeat(&sql, " true", 1);
    repeat(&sql, "))", 2000);
    EXPECT_OK(compile_buf(&sql, &diag));
    repeat(&sql, "select * from t where u32=1", 1);
    repeat(&sql, "=(u32<5)", 5000);  // left-associative: one bit to remember
    EXPECT_OK(compile_buf(&sql, &diag));
    repeat(&sql, "select * from t where ", 1);
    repeat(&sql, "(u32=1)=(", 70);
    repeat(&sql, "u32=1", 1);
    repeat(&sql, ")", 70);
    EXPECT_ERR(compile_buf(&sql, &diag), ERR_TOO_LARGE);
    EXPECT(strstr(diag.text, "Recursion limit exceeded") != NULL);
}

TEST(sql, compiles_1522_alternatives) {
    Diag diag;
    Buf sql = {0};
    repeat(&sql, "select * from t where u32 = 0", 1);
    for (int i = 1; i < 1522; i++) {
        buf_printf(&sql, " or u32 = %d", i);
    }
    EXPECT_OK(compile_buf(&sql, &diag));
}

TEST(sql, survives_each_allocation_failing) {
    const char *sql = "select * from t where (u32 = 5 or str = 'a''b') and not (i8 < 3 = (u8 > 1)) "
                      "and ts > '1970-01-01T00:00:01Z' and f32 = 1.5";
    Query *query = NULL;
    Diag diag;
    for (int64_t n = 0;; n++) {
        if (!fake) open_fixtures();
        mem_fault_arm(n);
        Err err = compile_at(QUERY_SQL, &owner, str_from(sql), &query, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        if (!hit) break;
        EXPECT(query == NULL);
    }
    query_free(&query);
    // And in the words of an error.
    for (int64_t n = 0;; n++) {
        mem_fault_arm(n);
        Err err =
            compile_at(QUERY_SQL, &owner, STR("select * from t where u32 = i8"), &query, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : ERR_INVALID);
        if (!hit) break;
    }
}

// ── normal form ────────────────────────────────────────────────────────────────────────────────

static void expect_same(const char *a, const char *b, bool same_template, bool same_params) {
    Query *x = compiled(QUERY_SUBSCRIBE, a), *y = compiled(QUERY_SUBSCRIBE, b);
    bool template = bytes_eq(x->template_key, y->template_key);
    bool params = x->param_count == y->param_count;
    for (uint32_t i = 0; params && i < x->param_count; i++) {
        params = bytes_eq(x->values[i], y->values[i]);
    }
    if (template != same_template || params != same_params) print_error("%s\n%s\n", a, b);
    query_free(&x);
    query_free(&y);
    EXPECT_EQ(template, same_template);
    EXPECT_EQ(params, same_params);
}

TEST(sql, shares_a_template_between_queries_that_differ_in_literals) {
    expect_same("select * from t where u32 = 1", "select * from t where u32 = 2", true, false);
    expect_same("select * from t where u32 = 1", "select * from t where 1 = u32", true, true);
    expect_same("select * from t where u32 < 1", "SELECT t.* FROM t WHERE (1 > t.u32)", true, true);
    expect_same("select * from t where u32 = 1 and i8 = 2",
                "select * from t where i8 = 2 and (u32 = 1 and true)",
                true,
                true);
    expect_same("select * from t where u32 = 1 or u32 = 2",
                "select * from t where u32 = 2 or u32 = 1 or u32 = 2",
                true,
                true);
    expect_same("select * from t where not (u32 = 1 or i8 < 2)",
                "select * from t where i8 >= 2 and u32 <> 1",
                true,
                true);
    expect_same("select * from x where b", "select * from x where b = true", true, true);
    expect_same("select * from x where not b", "select * from x where false = b", true, true);
    expect_same("select * from t where (u32 = 1) = false",
                "select * from t where not (u32 = 1)",
                true,
                true);
    expect_same("select * from t where (u32 = 1 or i8 = 2) <> true",
                "select * from t where u32 <> 1 and i8 <> 2",
                true,
                true);
    expect_same("select * from t", "select * from t where true or u32 = 1", true, true);
    expect_same("select * from t where false", "select * from t where u32 <> u32", true, true);
    expect_same("select * from t where (u32 = 1 and i8 = 2) or (u32 = 3 and i8 = 4)",
                "select * from t where (i8 = 4 and u32 = 3) or (i8 = 2 and u32 = 1)",
                true,
                true);
    expect_same("select * from s where id = :sender",
                "select * from s where id = "
                "0x0000000000000000000000000000000000000000000000000000000000030201",
                true,
                true);
    expect_same("select * from t where u32 = 1", "select * from t where int = 1", false, true);
    expect_same("select * from t where u32 = 1", "select * from t where u32 < 1", false, true);
    expect_same("select * from t where u32 = 1", "select * from s where u32 = 1", false, true);
    expect_same("select * from t where u32 = int", "select * from t where int = u32", true, true);
}

// ── matching, against a slow twin ──────────────────────────────────────────────────────────────

// Random predicates as text, and what they are worth for a row: evaluated while they are written.
typedef struct Twin {
    uint64_t seed;
    Buf sql;
    uint32_t u;
    int8_t i;
    bool b;
    char str[8];
    double f;
} Twin;

static uint64_t twin_random(Twin *t, uint64_t below) {
    t->seed = t->seed * 6364136223846793005u + 1442695040888963407u;
    return (t->seed >> 33) % below;
}

static bool holds(int op, int order) {
    return op == 0   ? order == 0
           : op == 1 ? order != 0
           : op == 2 ? order < 0
           : op == 3 ? order <= 0
           : op == 4 ? order > 0
                     : order >= 0;
}

static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};

static bool twin_leaf(Twin *t) {
    int op = (int)twin_random(t, 6);
    int64_t n = (int64_t)twin_random(t, 4);
    const char *const words[] = {"", "a", "ab", "b"};
    switch (twin_random(t, 9)) {
    case 0: buf_printf(&t->sql, "u %s %d", ops[op], (int)n); return holds(op, (int)t->u - (int)n);
    case 1: buf_printf(&t->sql, "%d %s u", (int)n, ops[op]); return holds(op, (int)n - (int)t->u);
    case 2:
        buf_printf(&t->sql, "i %s %d", ops[op], (int)n - 2);
        return holds(op, t->i - (int)n + 2);
    case 3:
        buf_printf(&t->sql, "str %s '%s'", ops[op], words[n]);
        return holds(op, strcmp(t->str, words[n]));
    case 4: buf_printf(&t->sql, "b"); return t->b;
    case 5: buf_printf(&t->sql, "b %s TRUE", ops[op]); return holds(op, (int)t->b - 1);
    case 6: buf_printf(&t->sql, "u %s w", ops[op]); return holds(op, (int)t->u - 2);
    case 7: {
        double x = (double)n - 1.5;
        buf_printf(&t->sql, "f %s %.1f", ops[op], x);
        return holds(op, t->f < x ? -1 : t->f > x);
    }
    default: buf_printf(&t->sql, n & 1 ? "TRUE" : "FALSE"); return n & 1;
    }
}

static bool twin_predicate(Twin *t, int depth) {
    if (depth == 0) return twin_leaf(t);
    bool a, b;
    switch (twin_random(t, 6)) {
    case 0: {
        buf_printf(&t->sql, "NOT (");
        a = twin_predicate(t, depth - 1);
        buf_printf(&t->sql, ")");
        return !a;
    }
    case 1:
    case 2: {
        bool is_and = twin_random(t, 2);
        buf_printf(&t->sql, "(");
        a = twin_predicate(t, depth - 1);
        buf_printf(&t->sql, is_and ? ") AND (" : ") OR (");
        b = twin_predicate(t, depth - 1);
        buf_printf(&t->sql, ")");
        return is_and ? a && b : a || b;
    }
    case 3: {
        int op = (int)twin_random(t, 6);
        buf_printf(&t->sql, "(");
        a = twin_predicate(t, depth - 1);
        buf_printf(&t->sql, ") %s (", ops[op]);
        b = twin_predicate(t, depth - 1);
        buf_printf(&t->sql, ")");
        return holds(op, (int)a - (int)b);
    }
    case 4: {
        a = twin_leaf(t);
        buf_printf(&t->sql, " AND ");
        b = twin_leaf(t);
        buf_printf(&t->sql, " OR ");
        bool c = twin_leaf(t);
        return (a && b) || c;
    }
    default: return twin_leaf(t);
    }
}

static void twin_row(Twin *t, Buf *row) {
    const char *const words[] = {"", "a", "ab", "b"};
    t->u = (uint32_t)twin_random(t, 4);
    t->i = (int8_t)((int)twin_random(t, 4) - 2);
    t->b = twin_random(t, 2);
    t->f = (double)twin_random(t, 4) - 1.5;
    strcpy(t->str, words[twin_random(t, 4)]);
    buf_clear(row);
    buf_put_u32(row, t->u);
    buf_put_u8(row, (uint8_t)t->i);
    buf_put_lp(row, str_bytes(str_from(t->str)));
    buf_put_u8(row, t->b);
    buf_put(row, &t->f, 8);
    buf_put_u32(row, 2);
}

TEST(sql, matches_exactly_the_rows_a_slow_evaluation_does) {
    if (!fake) open_fixtures();
    FAKE_TABLE(fake,
               "m",
               {"u", simple(TYPE_U32), NULL},
               {"i", simple(TYPE_I8), NULL},
               {"str", simple(TYPE_STRING), NULL},
               {"b", simple(TYPE_BOOL), NULL},
               {"f", simple(TYPE_F64), NULL},
               {"w", simple(TYPE_U32), NULL});
    Twin twin = {.seed = 20261122};
    print_message("seed %llu\n", (unsigned long long)twin.seed);
    Buf row = {0};
    size_t matched = 0, rounds = 30000;
    for (size_t round = 0; round < rounds; round++) {
        twin_row(&twin, &row);
        buf_clear(&twin.sql);
        buf_printf(&twin.sql, "select * from m where ");
        bool want = twin_predicate(&twin, 1 + (int)twin_random(&twin, 4));
        buf_put_u8(&twin.sql, 0);
        Query *query = compiled(QUERY_SUBSCRIBE, (const char *)twin.sql.ptr);
        bool got = query_matches(query, buf_bytes(&row));
        if (got != want) print_error("round %zu: %s\n", round, (const char *)twin.sql.ptr);
        EXPECT_EQ(got, want);
        matched += got;
        query_free(&query);
    }
    EXPECT(matched > rounds / 4 && matched < rounds * 3 / 4);
    buf_deinit(&row);
    buf_deinit(&twin.sql);
}

TEST(sql, orders_floats_with_nan_last_and_one_zero) {
    if (!fake) open_fixtures();
    FAKE_TABLE(fake, "fl", {"f", simple(TYPE_F64), NULL});
    static const struct {
        const char *sql;
        bool minus_zero, zero, nan, infinity;
    } cases[] = {
        {"select * from fl where f = 0.0", true, true, false, false},
        {"select * from fl where f >= 1e308", false, false, true, true},
        {"select * from fl where f > 1e999", false, false, true, false},
        {"select * from fl where f = f", true, true, true, true},
    };
    double minus_zero = -0.0, zero = 0.0, nan = __builtin_nan(""), infinity = __builtin_inf();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Query *q = compiled(QUERY_SQL, cases[i].sql);
        EXPECT_EQ(query_matches(q, BYTES(&minus_zero, 8)), cases[i].minus_zero);
        EXPECT_EQ(query_matches(q, BYTES(&zero, 8)), cases[i].zero);
        EXPECT_EQ(query_matches(q, BYTES(&nan, 8)), cases[i].nan);
        EXPECT_EQ(query_matches(q, BYTES(&infinity, 8)), cases[i].infinity);
        query_free(&q);
    }
}

// ── row-level security ─────────────────────────────────────────────────────────────────────────

// Rows of `doc (id U32, by U32, open Bool)` that the caller gets, as a text of their ids.
static const char *visible(const QueryCaller *who, QueryDoor door, const char *sql) {
    static const uint8_t rows[][9] = {{1, 0, 0, 0, 7, 0, 0, 0, 0},
                                      {2, 0, 0, 0, 7, 0, 0, 0, 1},
                                      {3, 0, 0, 0, 8, 0, 0, 0, 0},
                                      {4, 0, 0, 0, 8, 0, 0, 0, 1}};
    static char ids[8];
    Query *query = NULL;
    Diag diag;
    size_t len = 0;
    EXPECT_OK(compile_at(door, who, str_from(sql), &query, &diag));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (query_matches(query, BYTES(rows[i], 9))) ids[len++] = (char)('0' + rows[i][0]);
    }
    ids[len] = 0;
    query_free(&query);
    return ids;
}

static CatalogTable *open_docs(const char *name) {
    if (!fake) open_fixtures();
    return FAKE_TABLE(fake,
                      name,
                      {"id", simple(TYPE_U32), NULL},
                      {"by", simple(TYPE_U32), NULL},
                      {"open", simple(TYPE_BOOL), "isOpen"});
}

TEST(rls, leaves_rows_that_any_rule_allows_and_the_query_asks_for) {
    const CatalogTable *doc = open_docs("doc");
    EXPECT_STR(visible(&other, QUERY_SUBSCRIBE, "select * from doc"), "1234");
    fake_rule(fake, doc, "SELECT * FROM doc WHERE doc.by = 7");
    EXPECT_STR(visible(&other, QUERY_SUBSCRIBE, "select * from doc"), "12");
    EXPECT_STR(visible(&owner, QUERY_SUBSCRIBE, "select * from doc"), "1234");
    fake_rule(fake, doc, "select x.* from doc x where x.isOpen = true and id > 2");
    EXPECT_STR(visible(&other, QUERY_SUBSCRIBE, "select * from doc"), "124");
    EXPECT_STR(visible(&other, QUERY_SQL, "select id from doc y where y.id > 1 limit 9"), "24");
    EXPECT_STR(visible(&other, QUERY_ONE_OFF, "select * from doc where id = 3 or id = 4"), "4");
    EXPECT_STR(visible(&other, QUERY_SQL, "select count(*) as n from doc where not (id = 1)"),
               "24");
    fake_rule(fake, doc, "select * from doc");
    EXPECT_STR(visible(&other, QUERY_SUBSCRIBE, "select * from doc"), "1234");
}

TEST(rls, knows_who_asks) {
    if (!fake) open_fixtures();
    const CatalogTable *mine =
        FAKE_TABLE(fake, "mine", {"id", type_special(SPECIAL_IDENTITY), NULL});
    fake_rule(fake, mine, "select * from mine where id = :sender");
    Query *query = NULL;
    Diag diag;
    EXPECT_OK(compile_at(QUERY_SUBSCRIBE, &other, STR("select * from mine"), &query, &diag));
    EXPECT(query->mentions_sender);
    Identity stranger = caller_identity;
    EXPECT(query_matches(query, BYTES(stranger.le, 32)));
    stranger.le[0] ^= 1;
    EXPECT(!query_matches(query, BYTES(stranger.le, 32)));
    query_free(&query);
}

TEST(rls, fails_rather_than_show_too_much) {
    const CatalogTable *doc = open_docs("joined");
    fake_rule(fake, doc, "select joined.* from joined join s on joined.id = s.u32");
    Query *query = NULL;
    Diag diag;
    EXPECT_ERR(compile_at(QUERY_SQL, &other, STR("select * from joined"), &query, &diag),
               ERR_UNSUPPORTED);
    EXPECT_STR(
        diag.text,
        "Row-level security rule `select joined.* from joined join s on joined.id = s.u32` "
        "of table `joined` cannot be applied: Unsupported: JOIN: select joined.* from joined "
        "join s on joined.id = s.u32");
    EXPECT_STR(visible(&owner, QUERY_SQL, "select * from joined"), "1234");
    const CatalogTable *stray = open_docs("stray");
    fake_rule(fake, stray, "select * from stray where doc.id = 1");
    EXPECT_ERR(compile_at(QUERY_SQL, &other, STR("select * from stray"), &query, &diag),
               ERR_INVALID);
}

TEST(rls, is_checked_when_the_schema_is_made) {
    if (!fake) open_fixtures();
    Diag diag;
    EXPECT_OK(query_check_rule(STR("select * from t where u32 = 1"), &fake->door, &diag));
    EXPECT_OK(
        query_check_rule(STR("select t.* from t join s on t.u32 = s.u32"), &fake->door, &diag));
    static const struct {
        const char *rule, *why;
    } bad[] = {
        {"select * from t where nope = 1", "`nope` is not in scope"},
        {"select * from secret",
         "no such table: `secret`. If the table exists, it may be marked private."},
        {"select u32 from t",
         "Column projections are not supported in subscriptions; Subscriptions must return a table "
         "type"},
        {"delete from t where 'join' = 'join'", "Unsupported: Non-SELECT queries"},
        {"select t.* from t join s on t.u32 = s.id",
         "Unexpected type: (expected) U32 != (__identity__: U256) (inferred)"},
        {"select nope.* from t join s on t.u32 = s.u32", "`nope` is not in scope"},
        {"select secret.* from secret join s on secret.answer = s.u32",
         "no such table: `secret`. If the table exists, it may be marked private."},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char want[512];
        snprintf(want,
                 sizeof want,
                 "Row-level security invalid: `%s`, query: `%s`",
                 bad[i].why,
                 bad[i].rule);
        EXPECT_ERR(query_check_rule(str_from(bad[i].rule), &fake->door, &diag), ERR_INVALID);
        EXPECT_STR(diag.text, want);
    }
}

TEST(rls, survives_each_allocation_failing) {
    const CatalogTable *doc = open_docs("fragile");
    fake_rule(fake, doc, "select * from fragile where by = 7");
    fake_rule(fake, doc, "select * from fragile where open = true");
    Err err = ERR_NOMEM;
    for (int64_t n = 0; err != OK; n++) {
        Query *query = NULL;
        Diag diag;
        mem_fault_arm(n);
        err =
            compile_at(QUERY_SQL, &other, STR("select * from fragile where id > 1"), &query, &diag);
        mem_fault_arm(-1);
        EXPECT(err == OK || err == ERR_NOMEM);
        query_free(&query);
    }
}

TEST(zz, fixtures_end) {
    fake_free(&fake);
    EXPECT(fake == NULL);
}

TEST_MAIN()
