#include "wire/pg.h"

#include <stdarg.h>

#include "base/mem.h"
#include "base/test.h"
#include "sats/bsatn.h"
#include "sats/value_gen_testing.h"

// ── messages in ────────────────────────────────────────────────────────────────────────────────

// A message of parts: "s" a text with its zero, "2" and "4" numbers, "v" a value with its length (NULL:
// NULL). Borrowed until the next one.
static Bytes built(char name, const char *parts, ...) {
    static Buf body, out;
    va_list args;
    buf_clear(&body);
    buf_clear(&out);
    va_start(args, parts);
    for (const char *p = parts; *p; p++) {
        const char *text = *p == 's' || *p == 'v' ? va_arg(args, const char *) : NULL;
        uint32_t number = *p == 's' || *p == 'v' ? 0 : va_arg(args, uint32_t);
        if (*p == 'v') number = text ? (uint32_t)strlen(text) : UINT32_MAX;
        for (int shift = *p == '2' ? 8 : 24; *p != 's' && shift >= 0; shift -= 8)
            buf_put_u8(&body, (uint8_t)(number >> shift));
        if (text) buf_put(&body, text, strlen(text) + (*p == 's'));
    }
    va_end(args);
    if (name) buf_put_u8(&out, (uint8_t)name);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_put_u8(&out, (uint8_t)((body.len + 4) >> shift));
    buf_put_bytes(&out, buf_bytes(&body));
    return buf_bytes(&out);
}

static PgMessage taken(Arena *arena, Bytes message) {
    PgMessage m;
    Diag diag;
    EXPECT_OK(pg_message_read(message, arena, &m, &diag));
    return m;
}

static void expect_str(Str got, const char *want) {
    EXPECT(str_eq(got, str_from(want)));
}

TEST(pg, a_message_is_whole_when_its_length_says_so) {
    bool malformed;
    EXPECT_EQ(pg_message_len(BYTES("Q\0\0\0\6", 5), true, 100, &malformed), 7);
    EXPECT_EQ(pg_message_len(BYTES("Q\0\0\0", 4), true, 100, &malformed), 0);
    EXPECT(!malformed);
    EXPECT_EQ(pg_message_len(BYTES("\0\0\0\10", 4), false, 100, &malformed), 8);
    EXPECT_EQ(pg_message_len(BYTES("Q\0\0\0\3", 5), true, 100, &malformed), 0);
    EXPECT(malformed);
    EXPECT_EQ(pg_message_len(BYTES("Q\0\0\0e", 5), true, 100, &malformed), 0);
    EXPECT(malformed);
    EXPECT_EQ(pg_message_len(BYTES("Q\377\377\377\377", 5), true, 100, &malformed), 0);
    EXPECT(malformed);
}

TEST(pg, the_first_message_names_a_database_or_asks_for_encryption_or_cancels) {
    PgFirst first;
    Diag diag;
    Bytes startup = built(0, "4sssss", 0x30000u, "user", "a", "database", "shop", "");
    EXPECT_OK(pg_first_read(startup, &first, &diag));
    EXPECT_EQ(first.kind, PG_FIRST_STARTUP);
    expect_str(first.user, "a");
    expect_str(first.database, "shop");
    EXPECT_OK(pg_first_read(built(0, "4", 80877103u), &first, &diag));
    EXPECT_EQ(first.kind, PG_FIRST_SSL);
    EXPECT_OK(pg_first_read(built(0, "4", 80877104u), &first, &diag));
    EXPECT_EQ(first.kind, PG_FIRST_GSS);
    EXPECT_OK(pg_first_read(built(0, "444", 80877102u, 7u, 9u), &first, &diag));
    EXPECT_EQ(first.kind, PG_FIRST_CANCEL);
    EXPECT_EQ(first.pid, 7);
    EXPECT_EQ(first.secret, 9);
}

TEST(pg, a_first_message_that_is_cut_or_of_another_version_is_refused) {
    PgFirst first;
    Diag diag;
    EXPECT_ERR(pg_first_read(built(0, "4s", 0x20000u, ""), &first, &diag), ERR_UNSUPPORTED);
    EXPECT_ERR(pg_first_read(built(0, "4s", 0x30000u, "user"), &first, &diag), ERR_MALFORMED);
    EXPECT_ERR(pg_first_read(built(0, "4ss", 0x30000u, "user", "a"), &first, &diag), ERR_MALFORMED);
    EXPECT_ERR(pg_first_read(built(0, "4sss", 0x30000u, "", "a", ""), &first, &diag),
               ERR_MALFORMED);
    EXPECT_ERR(pg_first_read(built(0, ""), &first, &diag), ERR_MALFORMED);
    EXPECT_ERR(pg_first_read(built(0, "44", 80877102u, 7u), &first, &diag), ERR_MALFORMED);
}

TEST(pg, parse_names_a_statement_and_the_types_of_parameters) {
    Arena arena = {0};
    PgMessage m = taken(&arena, built('P', "ss244", "q1", "select $1", 2u, 23u, 25u));
    expect_str(m.statement, "q1");
    expect_str(m.text, "select $1");
    EXPECT_EQ(m.type_count, 2);
    EXPECT_EQ(m.types[0], PG_INT4);
    EXPECT_EQ(m.types[1], PG_TEXT);
    arena_deinit(&arena);
}

static Bytes bind_message(void) {
    return built('B', "ss2222vv22", "p", "s", 2u, 1u, 0u, 2u, "\1\2", NULL, 1u, 1u);
}

TEST(pg, bind_brings_values_and_formats) {
    Arena arena = {0};
    PgMessage m = taken(&arena, bind_message());
    expect_str(m.portal, "p");
    expect_str(m.statement, "s");
    EXPECT_EQ(m.value_count, 2);
    EXPECT_HEX(m.values[0].bytes, "0102");
    EXPECT(m.values[1].bytes.ptr == NULL);
    EXPECT_EQ(pg_format_at(m.formats, m.format_count, 0), 1);
    EXPECT_EQ(pg_format_at(m.formats, m.format_count, 1), 0);
    EXPECT_EQ(pg_format_at(m.result_formats, m.result_format_count, 9), 1);
    EXPECT_EQ(pg_format_at(NULL, 0, 3), 0);
    arena_deinit(&arena);
}

TEST(pg, other_messages_name_their_target) {
    Arena arena = {0};
    PgMessage m = taken(&arena, built('D', "s", "Sq1"));
    EXPECT_EQ(m.kind, 'S');
    expect_str(m.statement, "q1");
    m = taken(&arena, built('C', "s", "Pc"));
    EXPECT_EQ(m.kind, 'P');
    expect_str(m.portal, "c");
    m = taken(&arena, built('E', "s4", "c", 42u));
    expect_str(m.portal, "c");
    EXPECT_EQ(m.rows_max, 42);
    m = taken(&arena, built('Q', "s", "select 1"));
    expect_str(m.text, "select 1");
    EXPECT_EQ(taken(&arena, built('S', "")).name, 'S');
    arena_deinit(&arena);
}

// Bytes behind the message are not its own: copies of exact size let the sanitizer watch.
TEST(pg, a_message_that_is_cut_anywhere_is_refused) {
    Bytes whole = bind_message();
    for (size_t len = 5; len < whole.len; len++) {
        uint8_t *cut = malloc(len);
        Arena arena = {0};
        PgMessage m;
        Diag diag;
        memcpy(cut, whole.ptr, len);
        EXPECT_ERR(pg_message_read(BYTES(cut, len), &arena, &m, &diag), ERR_MALFORMED);
        arena_deinit(&arena);
        free(cut);
    }
}

TEST(pg, counts_are_not_believed_and_the_unknown_is_named) {
    Arena arena = {0};
    PgMessage m;
    Diag diag;
    EXPECT_ERR(pg_message_read(built('P', "ss2", "", "", 0xffffu), &arena, &m, &diag),
               ERR_MALFORMED);
    EXPECT_ERR(pg_message_read(built('B', "ss2", "", "", 0xffffu), &arena, &m, &diag),
               ERR_MALFORMED);
    EXPECT_ERR(pg_message_read(built('B', "ss224", "", "", 0u, 1u, 0x7fffffffu), &arena, &m, &diag),
               ERR_MALFORMED);
    EXPECT_ERR(pg_message_read(built('B', "ss222", "", "", 1u, 2u, 0u), &arena, &m, &diag),
               ERR_MALFORMED);  // there is no format 2
    EXPECT_ERR(pg_message_read(built('D', "s", "Xq"), &arena, &m, &diag), ERR_MALFORMED);
    EXPECT_ERR(pg_message_read(built('S', "2", 0u), &arena, &m, &diag), ERR_MALFORMED);
    EXPECT_ERR(pg_message_read(built('F', ""), &arena, &m, &diag), ERR_UNSUPPORTED);
    arena_deinit(&arena);
}

// ── messages out ───────────────────────────────────────────────────────────────────────────────

static void expect_out(Buf *out, const char *hex) {
    EXPECT(buf_ok(out));
    EXPECT_HEX(buf_bytes(out), hex);
    buf_clear(out);
}

TEST(pg, messages_have_their_lengths) {
    Buf out = {0};
    pg_put_auth_password(&out);
    expect_out(&out, "520000000800000003");
    pg_put_ready(&out, PG_IDLE);
    expect_out(&out, "5a0000000549");
    pg_put_complete(&out, STR("SELECT 2"));
    expect_out(&out, "430000000d53454c454354203200");
    pg_put_columns(&out, &(PgColumn){.name = STR("id"), .oid = PG_INT4, .format = 1}, 1);
    expect_out(&out,
               "540000001b000169640000000000000000000017"
               "0004ffffffff0001");
    size_t row = pg_row_begin(&out, 1);
    pg_put_text_value(&out, STR("ab"));
    pg_row_end(&out, row);
    expect_out(&out, "440000000c0001000000026162");
    pg_put_error(
        &out,
        &(PgError){.severity = "ERROR", .state = "42601", .message = STR("no"), .position = 7});
    expect_out(&out,
               "4500000021"
               "534552524f5200"
               "564552524f5200"
               "43343236303100"
               "4d6e6f00"
               "503700"
               "00");
    buf_deinit(&out);
}

TEST(pg, a_client_that_asks_for_newer_things_is_told_that_they_are_not_there) {
    Buf out = {0};
    pg_put_version(&out, &(PgFirst){.minor = 0});
    EXPECT_EQ(out.len, 0);
    pg_put_version(&out, &(PgFirst){.minor = 2});
    expect_out(&out, "760000000c0003000000000000");
    buf_deinit(&out);
}

TEST(pg, a_text_ends_where_it_would_end_for_the_client) {
    Buf out = {0};
    pg_put_parameter(&out, STR("a"), STR("b\0c"));
    expect_out(&out, "530000000861006200");
    buf_deinit(&out);
}

TEST(pg, errors_are_told_apart_by_their_states) {
    const struct {
        Err err;
        const char *text, *state;
    } cases[] = {
        {ERR_INVALID, "sql parser error: Expected x", "42601"},
        {ERR_INVALID, "no such table: `a`", "42P01"},
        {ERR_INVALID, "`x` is not in scope", "42703"},
        {ERR_DENIED, "Caller 00 is not authorized to run SQL DML statements", "42501"},
        {ERR_UNIQUE, "Unique constraint violation 'a'", "23505"},
        {ERR_UNSUPPORTED, "Unsupported: x", "0A000"},
        {ERR_CONFLICT, "another transaction committed first", "40001"},
        {ERR_NOMEM, "out of memory", "53200"},
        {ERR_INVALID, "something else", "42000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        EXPECT_STR(pg_state(cases[i].err, str_from(cases[i].text)), cases[i].state);
}

// ── values ─────────────────────────────────────────────────────────────────────────────────────

static void expect_forms(const Type *type,
                         const char *value,
                         const char *text,
                         const char *binary) {
    uint8_t bytes[64];
    Buf out = {0};
    EXPECT(strlen(value) <= 2 * sizeof bytes && hex_read(str_from(value), bytes));
    pg_put_value(&out, type, bytes, 0);
    expect_str((Str){(const char *)out.ptr + 4, out.len - 4}, text);
    buf_clear(&out);
    pg_put_value(&out, type, bytes, 1);
    EXPECT_HEX(BYTES(out.ptr + 4, out.len - 4), binary);
    buf_deinit(&out);
}

TEST(pg, numbers_have_the_next_wider_type_that_holds_them) {
    expect_forms(type_simple(TYPE_BOOL), "01", "t", "01");
    expect_forms(type_simple(TYPE_I8), "f8", "-8", "fff8");
    expect_forms(type_simple(TYPE_U8), "ff", "255", "00ff");
    expect_forms(type_simple(TYPE_U16), "ffff", "65535", "0000ffff");
    expect_forms(type_simple(TYPE_U32), "ffffffff", "4294967295", "00000000ffffffff");
    expect_forms(type_simple(TYPE_I64), "feffffffffffffff", "-2", "fffffffffffffffe");
    expect_forms(type_simple(TYPE_U64), "0000000000000000", "0", "0000000000000000");
    expect_forms(type_simple(TYPE_U64), "1027000000000000", "10000", "000200010000000000010000");
    expect_forms(type_simple(TYPE_I128),
                 "85d8ffffffffffffffffffffffffffff",
                 "-10107",
                 "00020001400000000001006b");
    EXPECT_EQ(pg_type_oid(type_simple(TYPE_U8)), PG_INT2);
    EXPECT_EQ(pg_type_oid(type_simple(TYPE_U16)), PG_INT4);
    EXPECT_EQ(pg_type_oid(type_simple(TYPE_U32)), PG_INT8);
    EXPECT_EQ(pg_type_oid(type_simple(TYPE_U64)), PG_NUMERIC);
}

TEST(pg, the_widest_numbers_are_exact) {
    static const char most[] =
        "57896044618658097711785492504343953926634992332820282019728792003956564819967";
    Buf out = {0};
    uint8_t bytes[32];
    memset(bytes, 0xff, sizeof bytes);
    bytes[31] = 0x7f;
    pg_put_value(&out, type_simple(TYPE_I256), bytes, 0);
    expect_str((Str){(const char *)out.ptr + 4, out.len - 4}, most);
    buf_deinit(&out);
}

TEST(pg, moments_and_ids_look_as_in_postgresql) {
    const Type *moment = type_special(SPECIAL_TIMESTAMP),
               *span = type_special(SPECIAL_TIME_DURATION);
    expect_forms(moment, "0000000000000000", "1970-01-01 00:00:00+00", "fffca2fec4c82000");
    expect_forms(moment, "ffffffffffffffff", "1969-12-31 23:59:59.999999+00", "fffca2fec4c81fff");
    expect_forms(span, "80841e0000000000", "00:00:02", "00000000001e84800000000000000000");
    expect_forms(span, "c0bdf0ffffffffff", "-00:00:01", "fffffffffff0bdc00000000000000000");
    expect_forms(type_special(SPECIAL_UUID),
                 "efcdab8967452301efcdab8967452301",
                 "01234567-89ab-cdef-0123-456789abcdef",
                 "0123456789abcdef0123456789abcdef");
    expect_forms(type_special(SPECIAL_CONNECTION_ID),
                 "0102030405060708090a0b0c0d0e0f10",
                 "\\x100f0e0d0c0b0a090807060504030201",
                 "100f0e0d0c0b0a090807060504030201");
    expect_forms(type_special(SPECIAL_BYTES), "020000000aff", "\\x0aff", "0aff");
}

TEST(pg, years_before_the_first_are_before_christ) {
    Buf out = {0};
    pg_put_moment(&out, INT64_C(-62135596800000001), false);
    expect_str(bytes_str(buf_bytes(&out)), "0001-12-31 23:59:59.999999+00 BC");
    buf_clear(&out);
    pg_put_moment(&out, INT64_C(1735689600500000), true);
    expect_str(bytes_str(buf_bytes(&out)), "2025-01-01T00:00:00.5+00:00");
    buf_deinit(&out);
}

TEST(pg, an_option_is_null_or_what_is_in_it) {
    Arena arena = {0};
    const Type *option = type_option(&arena, type_simple(TYPE_U8));
    Buf out = {0};
    pg_put_value(&out, option, (const uint8_t *)"\1", 0);
    expect_out(&out, "ffffffff");
    pg_put_value(&out, option, (const uint8_t *)"\0\7", 0);
    expect_out(&out, "0000000137");
    EXPECT_EQ(pg_type_oid(option), PG_INT2);
    buf_deinit(&out);
    arena_deinit(&arena);
}

TEST(pg, arrays_quote_what_could_be_mistaken) {
    Arena arena = {0};
    const Type *texts = type_array(&arena, type_simple(TYPE_STRING));
    expect_forms(texts, "00000000", "{}", "000000000000000000000413");
    expect_forms(texts,
                 "020000000000000004000000"
                 "6e756c6c",
                 "{\"\",\"null\"}",
                 "0000000100000000000004130000000200000001"
                 "00000000"
                 "00000004"
                 "6e756c6c");
    expect_forms(texts,
                 "010000000300000061225c",
                 "{\"a\\\"\\\\\"}",
                 "0000000100000000000004130000000100000001"
                 "00000003"
                 "61225c");
    EXPECT_EQ(pg_type_oid(texts), 1015);
    EXPECT_EQ(pg_oid_element(1015), PG_VARCHAR);
    arena_deinit(&arena);
}

TEST(pg, what_has_no_better_form_is_json) {
    Arena arena = {0};
    const Type *sum = type_sum(&arena,
                               (TypeField[]){{STR("a"), type_simple(TYPE_U256)},
                                             {STR("b"), type_special(SPECIAL_IDENTITY)}},
                               2);
    const Type *row =
        type_product(&arena,
                     (TypeField[]){{STR("x"), type_simple(TYPE_F64)},
                                   {STR_NONE, type_option(&arena, type_simple(TYPE_U8))},
                                   {STR("s"), sum}},
                     3);
    Buf value = {0}, out = {0};
    double nan = __builtin_nan("");
    buf_put(&value, &nan, sizeof nan);
    buf_put(&value, "\0\5\0\7", 4);
    buf_put(&value, (uint8_t[31]){0}, 31);
    EXPECT_EQ(pg_type_oid(row), PG_JSON);
    pg_put_value(&out, row, value.ptr, 0);
    expect_str((Str){(const char *)out.ptr + 4, out.len - 4},
               "{\"x\": null, \"col_1\": {\"some\": 5}, \"s\": {\"a\": 7}}");
    buf_deinit(&value);
    buf_deinit(&out);
    arena_deinit(&arena);
}

// ── parameters ─────────────────────────────────────────────────────────────────────────────────

// What we send in binary we understand when it comes back, and it says the same as the text.
TEST(pg, a_binary_parameter_is_the_text_of_the_same_value) {
    static const TypeKind kinds[] = {TYPE_BOOL,
                                     TYPE_I8,
                                     TYPE_U16,
                                     TYPE_I32,
                                     TYPE_U32,
                                     TYPE_I64,
                                     TYPE_U64,
                                     TYPE_I128,
                                     TYPE_U256,
                                     TYPE_I256,
                                     TYPE_STRING};
    uint64_t seed = 20260822;
    ValueGen gen = value_gen(seed);
    for (int round = 0; round < 3000; round++) {
        const Type *type = type_simple(kinds[value_gen_below(&gen, ARRAY_LEN(kinds))]);
        Arena arena = {0};
        Buf value = {0}, text = {0}, binary = {0};
        Str back;
        Diag diag;
        value_gen_value(&gen, type, &value);
        pg_put_value(&text, type, value.ptr, 0);
        pg_put_value(&binary, type, value.ptr, 1);
        EXPECT_OK(pg_param_text(pg_type_oid(type),
                                BYTES(binary.ptr + 4, binary.len - 4),
                                &arena,
                                &back,
                                &diag));
        Str want = {(const char *)text.ptr + 4, text.len - 4};
        if (type->kind == TYPE_BOOL) want = str_eq(want, STR("t")) ? STR("true") : STR("false");
        EXPECT(str_eq(back, want));
        buf_deinit(&value);
        buf_deinit(&text);
        buf_deinit(&binary);
        arena_deinit(&arena);
    }
}

TEST(pg, a_date_in_binary_is_its_midnight) {
    Arena arena = {0};
    Str text;
    Diag diag;
    EXPECT_OK(pg_param_text(PG_DATE, BYTES("\0\0\045\031", 4), &arena, &text, &diag));
    EXPECT(str_eq(text, STR("2026-01-01T00:00:00+00:00")));
    EXPECT_ERR(pg_param_text(PG_DATE, BYTES("\177\377\377\377", 4), &arena, &text, &diag),
               ERR_MALFORMED);
    arena_deinit(&arena);
}

TEST(pg, binary_parameters_of_the_wrong_size_are_refused) {
    Arena arena = {0};
    Str text;
    Diag diag;
    EXPECT_ERR(pg_param_text(PG_INT4, BYTES("\0\0", 2), &arena, &text, &diag), ERR_MALFORMED);
    EXPECT_ERR(pg_param_text(PG_NUMERIC, BYTES("\0\1\0\0\0\0", 6), &arena, &text, &diag),
               ERR_MALFORMED);
    EXPECT_ERR(pg_param_text(4711, BYTES("", 0), &arena, &text, &diag), ERR_UNSUPPORTED);
    EXPECT_OK(
        pg_param_text(PG_NUMERIC, BYTES("\0\1\377\377\0\0\0\1\23\210", 10), &arena, &text, &diag));
    expect_str(text, "0.5000");
    arena_deinit(&arena);
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

TEST(pg, running_out_of_memory_is_noticed_wherever_it_happens) {
    for (int64_t n = 0;; n++) {
        Arena arena = {0};
        PgMessage m;
        Diag diag;
        Buf out = {0};
        Str text;
        Bytes message = bind_message();
        mem_fault_arm(n);
        Err err = pg_message_read(message, &arena, &m, &diag);
        if (err == OK)
            err = pg_param_text(PG_INT8, BYTES("\0\0\0\0\0\0\0\1", 8), &arena, &text, &diag);
        pg_put_value(&out, type_simple(TYPE_U256), (uint8_t[32]){1}, 1);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(hit ? err == ERR_NOMEM || !buf_ok(&out) : err == OK && buf_ok(&out));
        buf_deinit(&out);
        arena_deinit(&arena);
        if (!hit) break;
    }
}

TEST_MAIN()
