// Every host function, with what it may and may not be given.
#include "host/js/js_fixture.h"

static JsFixture *fixture_new(void) {
    JsFixture *f = malloc(sizeof *f);
    fixture_init(f, MODULE_ASK);
    return f;
}
static void fixture_end(JsFixture *f) {
    fixture_deinit(f);
    free(f);
}

TEST(syscalls, the_modules_have_exactly_the_names_of_their_minor) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "Object.keys(sys).length"), "24");
    EXPECT_STR(
        ask(f,
            "Object.keys(sys).filter(k => k !== 'moduleHooks').every(k => typeof sys[k] === 'function')"),
        "true");
    EXPECT_STR(ask(f, "Object.keys(sys21).join()"), "datastore_clear");
    EXPECT_STR(ask(f, "sys.moduleHooks.toString()"), "Symbol(SpacetimeDB.moduleHooks.v2)");
    EXPECT_STR(ask(f, "Object.isFrozen(sys) && Object.getPrototypeOf(sys) === null"), "true");
    fixture_end(f);
}

TEST(syscalls, names_become_ids) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.table_id_from_name('keyed')"), "2");
    EXPECT_STR(ask(f, "sys.index_id_from_name('keyed_idx')"), "2");
    EXPECT_STR(ask(f, "tried(() => sys.table_id_from_name('none'))"), "errno 4: No such table");
    EXPECT_STR(ask(f, "tried(() => sys.index_id_from_name('none'))"), "errno 5: No such index");
    EXPECT_STR(ask(f, "tried(() => sys.table_id_from_name(5))"),
               "TypeError: Expected string, got number");
    EXPECT_STR(ask(f, "tried(() => sys.table_id_from_name())"),
               "TypeError: Expected string, got undefined");
    EXPECT_STR(ask(f, "tried(() => sys.table_id_from_name('\\ud800'))"), "errno 4: No such table");
    fixture_end(f);
}

TEST(syscalls, tables_of_the_server_are_read_only) {
    JsFixture *f = fixture_new();
    const char *no = "errno 19: ABI call can only be made while within a mutable transaction";
    f->env.first_writable_id = 2;
    host_instance_free(&f->instance);
    Diag diag = {0};
    EXPECT_OK(host_instance_new(f->program, &f->env, &f->instance, &diag));
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(1, new ArrayBuffer(8), 8))"), no);
    EXPECT_STR(ask(f, "tried(() => sys21.datastore_clear(1))"), no);
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(1))"), "0");
    EXPECT_STR(ask(f, "tried(() => sys21.datastore_clear(3))"), "0");
    fixture_end(f);
}

TEST(syscalls, numbers_must_be_integers_in_range) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count('1'))"),
               "TypeError: Expected u32, got string");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(1n))"),
               "TypeError: Expected u32, got bigint");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(1.5))"),
               "TypeError: Expected u32, got 1.5");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(NaN))"),
               "TypeError: Expected u32, got NaN");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(4294967296))"),
               "RangeError: Value overflowed `u32`");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(-1))"),
               "RangeError: Value underflowed `u32`");
    EXPECT_STR(ask(f, "tried(() => sys.console_log(256, ''))"),
               "RangeError: Value overflowed `u8`");
    EXPECT_STR(ask(f, "tried(() => sys.console_log(-1, ''))"),
               "RangeError: Value underflowed `u8`");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count(null))"),
               "TypeError: Expected u32, got null");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_row_count([1]))"),
               "TypeError: Expected u32, got array");
    fixture_end(f);
}

TEST(syscalls, insert_takes_exactly_the_row_and_writes_back_what_was_generated) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.datastore_insert_bsatn(1, buf, put(1, 2, 3, 4, 5))"), "0");
    EXPECT_HEX(buf_bytes(&f->tables[0].rows[0]), "0102030405");
    EXPECT_STR(
        ask(f, "sys.datastore_insert_bsatn(3, buf, put(0,0,0,0,0,0,0,0, 9)) + ' ' + hex(buf, 9)"),
        "8 010000000000000009");
    EXPECT_STR(
        ask(f, "sys.datastore_insert_bsatn(3, buf, put(7,0,0,0,0,0,0,0)) + ' ' + hex(buf, 8)"),
        "0 0700000000000000");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(9, buf, 0))"),
               "errno 4: No such table");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(2, buf, 3))"),
               "errno 3: Couldn't decode the BSATN to the expected type");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(1, buf, 65537))"),
               "RangeError: length argument was out of bounds for `ArrayBuffer`");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(1, u8, 1))"),
               "TypeError: Expected ArrayBuffer, got object");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(1, 'x', 1))"),
               "TypeError: Expected ArrayBuffer, got string");
    EXPECT_STR(
        ask(f,
            "tried(() => { const b = new ArrayBuffer(8); b.transfer(); return sys.datastore_insert_bsatn(1, b, 1); })"),
        "RangeError: length argument was out of bounds for `ArrayBuffer`");
    EXPECT_EQ(f->tables[0].row_count, 1);
    fixture_end(f);
}

TEST(syscalls, a_duplicate_is_the_modules_own_error_class) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.datastore_insert_bsatn(2, buf, put(1, 0, 0, 0))"), "0");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(2, buf, put(1, 0, 0, 0)))"),
               "errno 12: Value with given unique identifier already exists");
    fixture_end(f);
}

TEST(syscalls, rows_of_every_size_and_alignment_arrive_whole) {
    JsFixture *f = fixture_new();
    for (int odd = 0; odd < 2; odd++) {  // a buffer that is and one that is not a multiple of 4
        char code[512];
        snprintf(code,
                 sizeof code,
                 "(() => { const b = new ArrayBuffer(%d), v = new Uint8Array(b);"
                 "for (let i = 0; i < v.length; i++) v[i] = i * 7;"
                 "for (const n of [0, 1, 3, 4, 5, 511, 512, 513, 2000]) "
                 "sys.datastore_insert_bsatn(1, b, n); return 'ok' })()",
                 odd ? 2003 : 2000);
        EXPECT_STR(ask(f, code), "ok");
    }
    static const size_t lens[] = {0, 1, 3, 4, 5, 511, 512, 513, 2000};
    EXPECT_EQ(f->tables[0].row_count, 2 * ARRAY_LEN(lens));
    for (uint32_t r = 0; r < f->tables[0].row_count; r++) {
        EXPECT_EQ(f->tables[0].rows[r].len, lens[r % ARRAY_LEN(lens)]);
        for (size_t i = 0; i < f->tables[0].rows[r].len; i++)
            EXPECT_EQ(f->tables[0].rows[r].ptr[i], (uint8_t)(i * 7));
    }
    fixture_end(f);
}

TEST(syscalls, a_row_larger_than_every_buffer_of_ours_goes_both_ways) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { const b = new ArrayBuffer(3000000), v = new Uint8Array(b);"
            "for (let i = 0; i < v.length; i += 1000) v[i] = i / 1000;"
            "sys.datastore_insert_bsatn(1, b, v.length); v.fill(0);"
            "const it = sys.datastore_table_scan_bsatn(1);"
            "const small = tried(() => { try { sys.row_iter_bsatn_advance(it, buf) } catch (e) "
            "{ return Object.isSealed(e) + ' ' + e.__buffer_too_small__ } });"
            "const n = sys.row_iter_bsatn_advance(it, b); let sum = 0;"
            "for (let i = 0; i < v.length; i += 1000) sum += v[i] === (i / 1000 & 255);"
            "return `${small} ${n} ${sum}` })()"),
        "true 3000000 -3000000 3000");
    fixture_end(f);
}

TEST(syscalls, update_wants_a_unique_index_of_the_table) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.datastore_insert_bsatn(2, buf, put(1, 0, 0, 0, 5))"), "0");
    EXPECT_STR(ask(f, "sys.datastore_update_bsatn(2, 2, buf, put(1, 0, 0, 0, 6))"), "0");
    EXPECT_HEX(buf_bytes(&f->tables[1].rows[0]), "0100000006");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_update_bsatn(2, 2, buf, put(9, 0, 0, 0)))"),
               "errno 15: The row was not found, e.g., in an update call");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_update_bsatn(1, 1, buf, put(9, 0, 0, 0)))"),
               "errno 14: The index was not unique");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_update_bsatn(2, 1, buf, put(9, 0, 0, 0)))"),
               "errno 5: No such index");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_update_bsatn(2, 2, buf, 70000))"),
               "RangeError: length argument was out of bounds for `ArrayBuffer`");
    fixture_end(f);
}

TEST(syscalls, an_iterator_ends_with_its_last_rows) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { for (let i = 1; i < 4; i++) sys.datastore_insert_bsatn(2, buf, put(i, 0, 0, 0));"
            "const it = sys.datastore_table_scan_bsatn(2);"
            "const n = sys.row_iter_bsatn_advance(it, buf);"
            "return [it, n, hex(buf, 12), tried(() => sys.row_iter_bsatn_advance(it, buf)),"
            "tried(() => sys.row_iter_bsatn_close(it))].join('|') })()"),
        "1|-12|010000000200000003000000|errno 6: The provided row iterator is not valid|"
        "errno 6: The provided row iterator is not valid");
    EXPECT_STR(ask(f, "sys.row_iter_bsatn_advance(sys.datastore_table_scan_bsatn(1), buf)"), "0");
    EXPECT_STR(ask(f, "tried(() => sys.row_iter_bsatn_advance(0, buf))"),
               "errno 6: The provided row iterator is not valid");
    EXPECT_STR(ask(f, "tried(() => sys.row_iter_bsatn_advance(77, buf))"),
               "errno 6: The provided row iterator is not valid");
    EXPECT_STR(ask(f, "tried(() => sys.row_iter_bsatn_close(1))"),
               "errno 6: The provided row iterator is not valid");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_table_scan_bsatn(99))"), "errno 4: No such table");
    fixture_end(f);
}

TEST(syscalls, a_buffer_too_small_says_how_much_and_changes_nothing) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { sys.datastore_insert_bsatn(2, buf, put(1, 2, 3, 4, 5));"
            "const it = sys.datastore_table_scan_bsatn(2), b = new ArrayBuffer(1);"
            "const small = () => { try { sys.row_iter_bsatn_advance(it, b); } catch (e) {"
            "return Object.keys(e) + e.__buffer_too_small__ + Object.isSealed(e) + (e instanceof Error) } };"
            "const exact = new ArrayBuffer(5);"
            "return [small(), small(), sys.row_iter_bsatn_advance(it, exact), hex(exact, 5)].join() })()"),
        "__buffer_too_small__5truefalse,__buffer_too_small__5truefalse,-5,0102030405");
    fixture_end(f);
}

TEST(syscalls, iterators_open_side_by_side_keep_their_own_rows) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { sys.datastore_insert_bsatn(2, buf, put(1, 0, 0, 0));"
            "sys.datastore_insert_bsatn(2, buf, put(2, 0, 0, 0));"
            "put(1, 0, 0, 0); const a = sys.datastore_index_scan_point_bsatn(2, buf, 4);"
            "put(2, 0, 0, 0); const b = sys.datastore_index_scan_point_bsatn(2, buf, 4);"
            "const c = sys.datastore_table_scan_bsatn(2);"
            "const out = [a, b, c]; for (const it of [b, a, c]) { const n = sys.row_iter_bsatn_advance(it, buf); out.push(n, hex(buf, -n)); }"
            "const again = sys.datastore_table_scan_bsatn(2); out.push(again, tried(() => sys.row_iter_bsatn_advance(a, buf) === undefined));"
            "return out.join() })()"),
        "1,2,3,-4,02000000,-4,01000000,-8,0100000002000000,3,"
        "errno 6: The provided row iterator is not valid");
    fixture_end(f);
}

TEST(syscalls, an_iterator_does_not_see_later_changes) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f,
                   "(() => { sys.datastore_insert_bsatn(2, buf, put(1, 0, 0, 0));"
                   "const it = sys.datastore_table_scan_bsatn(2);"
                   "sys.datastore_insert_bsatn(2, buf, put(2, 0, 0, 0)); sys21.datastore_clear(2);"
                   "return sys.row_iter_bsatn_advance(it, buf) + hex(buf, 4) })()"),
               "-401000000");
    fixture_end(f);
}

TEST(syscalls, a_long_scan_comes_in_chunks_that_fit) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { for (let i = 0; i < 100; i++) { u8.fill(i, 0, 1000); sys.datastore_insert_bsatn(1, buf, 1000); }"
            "const out = [];"
            "for (const size of [65536, 33000, 200000]) { const b = new ArrayBuffer(size); const it = sys.datastore_table_scan_bsatn(1);"
            "for (let n = 1; n > 0;) { n = sys.row_iter_bsatn_advance(it, b); out.push(n); } }"
            "return out.join() })()"),
        // a chunk is closed by the row that takes it beyond 32 KiB: 33 rows
        "33000,33000,-34000,33000,33000,33000,-1000,-100000");
    fixture_end(f);
}

TEST(syscalls, iterators_left_open_are_closed_when_the_call_ends) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f, "[sys.datastore_table_scan_bsatn(1), sys.datastore_table_scan_bsatn(1)].join()"),
        "1,2");
    EXPECT_STR(ask(f, "tried(() => sys.row_iter_bsatn_advance(2, buf))"),
               "errno 6: The provided row iterator is not valid");
    EXPECT_STR(
        ask(f, "[sys.datastore_table_scan_bsatn(1), sys.datastore_table_scan_bsatn(1)].join()"),
        "1,2");
    fixture_end(f);
}

TEST(syscalls, a_range_is_prefix_and_bounds_one_after_another) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f, "sys.datastore_index_scan_range_bsatn(2, buf, put(1, 2, 3, 4, 5, 6) - 4, 1, 3, 1)"),
        "1");
    EXPECT_HEX(f->access.range.prefix, "0102");
    EXPECT_HEX(f->access.range.lower, "030405");
    EXPECT_HEX(f->access.range.upper, "06");
    EXPECT_EQ(f->access.range.prefix_elems, 1);
    // no upper bound given: it is the lower one
    EXPECT_STR(ask(f, "sys.datastore_index_scan_range_bsatn(2, buf, 0, 0, put(0, 9), 0)"), "1");
    EXPECT_HEX(f->access.range.upper, "0009");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_index_scan_range_bsatn(2, buf, 4, 0, 1, 1))"),
               "errno 3: Couldn't decode the BSATN to the expected type");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_index_scan_range_bsatn(2, buf, 4, 70000, 1, 1))"),
               "errno 3: Couldn't decode the BSATN to the expected type");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_index_scan_range_bsatn(2, buf, 65536, 1, 1, 1))"),
               "RangeError: length argument was out of bounds for `ArrayBuffer`");
    EXPECT_STR(
        ask(f,
            "tried(() => sys.datastore_index_scan_range_bsatn(2, buf, 4294967295, 1, 4294967295, 4294967295))"),
        "RangeError: length argument was out of bounds for `ArrayBuffer`");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_index_scan_range_bsatn(9, buf, 0, 0, 1, 1))"),
               "errno 5: No such index");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_index_scan_range_bsatn(2, buf, 0, 0, 1))"),
               "TypeError: Expected u32, got undefined");
    fixture_end(f);
}

TEST(syscalls, deletes_say_how_many) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { for (let i = 1; i < 6; i++) sys.datastore_insert_bsatn(2, buf, put(i, 0, 0, 0));"
            "return [sys.datastore_delete_by_index_scan_point_bsatn(2, buf, put(3, 0, 0, 0)),"
            "sys.datastore_delete_by_index_scan_point_bsatn(2, buf, put(3, 0, 0, 0)),"
            "sys.datastore_table_row_count(2),"
            "sys.datastore_delete_all_by_eq_bsatn(2, buf, put(2, 0, 0, 0)),"
            "sys.datastore_delete_by_index_scan_range_bsatn(2, buf, 0, 0, put(2), 0),"
            "typeof sys21.datastore_clear(2), sys21.datastore_clear(2)].join() })()"),
        "1,0,4,2,4,bigint,0");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_delete_all_by_eq_bsatn(2, buf, 3))"),
               "errno 3: Couldn't decode the BSATN to the expected type");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_delete_all_by_eq_bsatn(2, buf, 65537))"),
               "RangeError: length argument was out of bounds for `ArrayBuffer`");
    EXPECT_STR(ask(f, "tried(() => sys21.datastore_clear(9))"), "errno 4: No such table");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_delete_by_index_scan_point_bsatn(9, buf, 0))"),
               "errno 5: No such index");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_index_scan_point_bsatn(2, buf, 3))"),
               "errno 3: Couldn't decode the BSATN to the expected type");
    fixture_end(f);
}

TEST(syscalls, without_a_transaction_data_is_out_of_reach) {
    JsFixture *f = fixture_new();
    f->no_access = true;
    static const char *const expressions[] = {
        "sys.table_id_from_name('plain')",
        "sys.index_id_from_name('plain')",
        "sys.datastore_table_row_count(1)",
        "sys.datastore_table_scan_bsatn(1)",
        "sys.datastore_insert_bsatn(1, buf, 0)",
        "sys.datastore_update_bsatn(1, 1, buf, 0)",
        "sys.datastore_index_scan_point_bsatn(1, buf, 0)",
        "sys.datastore_index_scan_range_bsatn(1, buf, 0, 0, 1, 1)",
        "sys.datastore_delete_by_index_scan_point_bsatn(1, buf, 0)",
        "sys.datastore_delete_by_index_scan_range_bsatn(1, buf, 0, 0, 1, 1)",
        "sys.datastore_delete_all_by_eq_bsatn(1, buf, 4)",
        "sys.get_jwt_payload(0n)",
        "sys21.datastore_clear(1)",
    };
    for (size_t i = 0; i < ARRAY_LEN(expressions); i++) {
        char code[256];
        snprintf(code, sizeof code, "tried(() => %s)", expressions[i]);
        EXPECT_STR(ask(f, code), "errno 2: ABI call can only be made while in a transaction");
    }
    EXPECT_STR(ask(f, "tried(() => sys.procedure_start_mut_tx())"),
               "errno 17: Attempted async or blocking op while holding open a transaction");
    EXPECT_STR(ask(f, "tried(() => sys.procedure_commit_mut_tx())"),
               "errno 18: Not in an anonymous transaction. Called by a reducer?");
    EXPECT_STR(ask(f, "tried(() => sys.procedure_http_request(u8, ''))"),
               "errno 17: Attempted async or blocking op while holding open a transaction");
    fixture_end(f);
}

TEST(syscalls, a_reducer_has_no_transactions_of_its_own) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "tried(() => sys.procedure_start_mut_tx())"),
               "errno 17: Attempted async or blocking op while holding open a transaction");
    EXPECT_STR(ask(f, "tried(() => sys.procedure_abort_mut_tx())"),
               "errno 18: Not in an anonymous transaction. Called by a reducer?");
    EXPECT_STR(ask(f, "tried(() => sys.procedure_http_request(u8, u8))"),
               "errno 17: Attempted async or blocking op while holding open a transaction");
    EXPECT_STR(ask(f, "tried(() => sys.procedure_http_request('', ''))"),
               "TypeError: Expected Uint8Array, got string");
    EXPECT_STR(ask(f, "tried(() => sys.procedure_http_request(u8, 5))"),
               "TypeError: Expected Uint8Array or string, got number");
    fixture_end(f);
}

TEST(syscalls, identities_and_times_are_bigints) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.identity().toString(16).padStart(64, '0')"),
               "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100");
    EXPECT_STR(ask(f, "[sender, conn, time, typeof time].join()"), "1,0,1234567,bigint");
    fixture_end(f);
}

TEST(syscalls, a_token_is_found_by_its_connection) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.get_jwt_payload(5n).length"), "0");
    f->access.jwt = BYTES("{\"sub\":\"me\"}", 12);
    EXPECT_STR(
        ask(f,
            "new TextDecoder().decode(sys.get_jwt_payload(0x0102030405060708090a0b0c0d0e0f10n))"),
        "{\"sub\":\"me\"}");
    EXPECT_HEX(BYTES(f->access.jwt_asked.le, 16), "100f0e0d0c0b0a090807060504030201");
    EXPECT_STR(ask(f, "tried(() => sys.get_jwt_payload(1n << 128n))"),
               "RangeError: Value overflowed `u128`");
    EXPECT_STR(ask(f, "tried(() => sys.get_jwt_payload(-1n))"),
               "RangeError: Value underflowed `u128`");
    EXPECT_STR(ask(f, "tried(() => sys.get_jwt_payload(1))"),
               "TypeError: Expected bigint, got number");
    fixture_end(f);
}

// The line of the module on which `speak` is.
static uint32_t speak_line(void) {
    uint32_t line = 1;
    static const char module[] = MODULE_ASK;
    const char *end = strstr(module, "function speak");
    for (const char *c = module; c < end; c++)
        line += *c == '\n';
    return line;
}

TEST(syscalls, log_lines_carry_function_and_place) {
    JsFixture *f = fixture_new();
    // two frames between the host function and the line that is meant: library and user
    EXPECT_STR(ask(f, "speak(1, 'warm \\u00e9\\ud800')"), "undefined");
    EXPECT_EQ(f->log.level, 1);
    EXPECT_STR(f->log_text, "warm \xc3\xa9\xef\xbf\xbd");
    EXPECT_EQ(f->log.ts, 1700000000000000);
    EXPECT_EQ(f->log.frame_count, 0);
    EXPECT_STR(f->log_file, "spacetimedb_module");
    EXPECT_EQ(f->log.line, speak_line());
    EXPECT_STR(ask(f, "sys.console_log(77, 'odd')"), "undefined");
    EXPECT_EQ(f->log.level, 3);  // unknown levels are debug
    EXPECT_STR(ask(f, "sys.console_log(101, 'panic')"), "undefined");
    EXPECT_EQ(f->log.level, 101);
    EXPECT_STR(ask(f, "tried(() => sys.console_log(1, 5))"),
               "TypeError: Expected string, got number");
    EXPECT_EQ(f->log_count, 3);
    fixture_end(f);
}

TEST(syscalls, timers_log_when_they_end) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "(() => { const a = sys.console_timer_start('a'), b = sys.console_timer_start('b');"
            "sys.console_timer_end(a); return [a, b, tried(() => sys.console_timer_end(a))] })()"),
        "1,2,errno 7: The provided console timer does not exist");
    EXPECT(strncmp(f->log_text, "Timing span \"a\": ", 17) == 0);
    EXPECT_EQ(f->log.level, 2);
    EXPECT(f->log.filename.ptr == NULL);
    EXPECT_STR(ask(f, "tried(() => sys.console_timer_end(2))"),
               "errno 7: The provided console timer does not exist");
    fixture_end(f);
}

TEST(syscalls, schedules_go_out_at_once) {
    JsFixture *f = fixture_new();
    EXPECT_STR(ask(f, "sys.volatile_nonatomic_schedule_immediate('later', new Uint8Array(5))"),
               "undefined");
    EXPECT_STR(f->scheduled_text, "later(5 bytes)");
    EXPECT_STR(ask(f, "tried(() => sys.volatile_nonatomic_schedule_immediate('later', buf))"),
               "TypeError: Expected Uint8Array, got object");
    fixture_end(f);
}

TEST(syscalls, what_the_server_cannot_do_ends_the_call_even_if_it_is_caught) {
    JsFixture *f = fixture_new();
    f->access.fatal = true;
    EXPECT_EQ(run_code(f, 1, "try { sys.datastore_table_row_count(1) } catch {}"), HOST_FATAL);
    EXPECT_STR(f->message, "The server could not carry out the call");
    f->access.fatal = false;
    EXPECT_STR(ask(f, "sys.datastore_table_row_count(1)"), "0");
    fixture_end(f);
}

TEST(globals, text_goes_to_bytes_and_back) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f, "hex(new TextEncoder().encode('a\\u00e9\\u20ac\\ud83d\\ude00\\ud800').buffer, 13)"),
        "61c3a9e282acf09f9880efbfbd");
    EXPECT_STR(ask(f, "new TextEncoder().encode().length + new TextEncoder().encoding"), "0utf-8");
    EXPECT_STR(ask(f, "new TextEncoder().encode('x'.repeat(100000) + '\\u00e9').length"), "100002");
    EXPECT_STR(ask(f, "new TextEncoder().encode(12) + ''"), "49,50");
    EXPECT_STR(
        ask(f,
            "new TextDecoder().decode(new Uint8Array([0x61, 0xff, 0x62, 0xe2, 0x82])).split('').map(c => c.charCodeAt(0).toString(16)).join()"),
        "61,fffd,62,fffd");
    EXPECT_STR(
        ask(f,
            "tried(() => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])))"),
        "TypeError: The encoded data was not valid utf-8");
    EXPECT_STR(ask(f, "tried(() => new TextDecoder('latin1'))"),
               "RangeError: The encoding \"latin1\" is not supported");
    EXPECT_STR(ask(f, "new TextDecoder(' UTF8 ').encoding"), "utf-8");
    EXPECT_STR(ask(f, "tried(() => new TextDecoder('utf-8', { ignoreBOM: true }))"),
               "TypeError: ignoreBOM is not supported");
    EXPECT_STR(ask(f, "tried(() => new TextDecoder().decode(u8, { stream: true }))"),
               "TypeError: stream is not supported");
    EXPECT_STR(ask(f, "tried(() => new TextDecoder().decode('x'))"),
               "TypeError: Expected ArrayBuffer or view, got string");
    EXPECT_STR(
        ask(f,
            "(() => { u8.set([65, 66, 67, 68]); return [new TextDecoder().decode(new DataView(buf, 1, 2)),"
            "new TextDecoder().decode(new Uint16Array(buf, 2, 1)), new TextDecoder().decode(buf.slice(0, 4)),"
            "new TextDecoder().decode()] })()"),
        "BC,CD,ABCD,");
    EXPECT_STR(
        ask(f, "new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 65, 0, 66])).length"),
        "3");
    EXPECT_STR(
        ask(f,
            "[40, 5000].map(n => new TextDecoder().decode(new TextEncoder().encode('\\u00e9'.repeat(n))) === '\\u00e9'.repeat(n))"),
        "true,true");
    EXPECT_STR(
        ask(f,
            "[new TextDecoder().fatal, new TextDecoder('utf8', {fatal: 1}).fatal, new TextDecoder().ignoreBOM]"),
        "false,true,false");
    fixture_end(f);
}

TEST(globals, chance_is_not_to_be_had) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f, "tried(() => Math.random)"),
        "TypeError: Math.random is not available in SpacetimeDB modules. Use ctx.random instead.");
    EXPECT_STR(ask(f, "typeof Date.now()"), "number");
    fixture_end(f);
}

TEST(globals, what_reaches_outside_is_gone_and_what_is_expected_is_there) {
    JsFixture *f = fixture_new();
    EXPECT_STR(
        ask(f,
            "['console', 'WebAssembly', 'SharedArrayBuffer', 'Atomics', 'fetch', 'setTimeout', 'require', 'process'].map(n => typeof globalThis[n]).join()"),
        "undefined,undefined,undefined,undefined,undefined,undefined,undefined,undefined");
    EXPECT_STR(
        ask(f,
            "[typeof Symbol.dispose, typeof Set.prototype.isSubsetOf, typeof [].values().map, typeof Object.groupBy, typeof Array.prototype.findLast, typeof ArrayBuffer.prototype.transfer]"),
        "symbol,function,function,function,function,function");
    fixture_end(f);
}

TEST_MAIN()
