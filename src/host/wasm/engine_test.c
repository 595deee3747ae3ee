// What a well-behaved module sees: life cycle, imports, answers. Spec: module-abi §1.
#include "host/wasm/wasm_fixture.h"

TEST(wasm, calls_a_reducer_with_its_arguments_and_tells_its_error) {
    Fixture f;
    fixture_open(&f,
                 WAT_HEAD WAT_TAIL WAT_REDUCER
                 "  (i32.store (i32.const 8) (i32.const 100))\n"
                 "  (if (i32.eqz (local.get $args)) (then (return (i32.const 0))))\n"
                 "  (drop (call $source (local.get $args) (i32.const 100) (i32.const 8)))\n"
                 "  (i64.store8 (i32.const 100) (local.get $s0))\n"
                 "  (call $say (local.get $err) (i32.const 100) (i32.load (i32.const 8)))\n"
                 "  (local.get $id)))");
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, BYTES_NONE), HOST_OK);
    f.call.sender.le[0] = 'A';
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, str_bytes(STR("xyz"))), HOST_OK);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, str_bytes(STR("xyz"))), HOST_USER_ERROR);
    EXPECT_STR(f.message, "Ayz");
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, str_bytes(STR("x\xff"))), HOST_USER_ERROR);
    EXPECT_STR(f.message, "A\xef\xbf\xbd");
    EXPECT(host_instance_ok(f.instance));
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 2, str_bytes(STR("x"))), HOST_FATAL);
    EXPECT_STR(f.message, "unknown return code");
    EXPECT(host_instance_ok(f.instance));
    fixture_close(&f);
}

TEST(wasm, starts_in_the_order_of_the_abi_and_describes_every_instance_once) {
    Fixture f;
    fixture_open(
        &f,
        WAT_HEAD
        "(import \"spacetime_10.0\" \"console_log\" (func $log\n"
        "  (param i32 i32 i32 i32 i32 i32 i32 i32)))\n" WAT_MEMORY WAT_SAY
        "(global $step (mut i32) (i32.const 0))\n"
        "(func $expect (param $n i32)\n"
        "  (if (i32.ne (global.get $step) (local.get $n)) (then unreachable))\n"
        "  (global.set $step (i32.add (local.get $n) (i32.const 1))))\n"
        "(func $start (call $expect (i32.const 0)))\n(start $start)\n"
        "(func (export \"_initialize\") (call $expect (i32.const 1)))\n"
        "(func (export \"__preinit__20_b\") (call $expect (i32.const 3)))\n"
        "(func (export \"__preinit__20_a\") (call $expect (i32.const 2)))\n"
        "(func (export \"__preinit__3\") (call $expect (i32.const 4)))\n"
        "(func (export \"__setup__\") (param i32) (result i32)\n"
        "  (call $expect (i32.const 5)) (i32.const 0))\n"
        "(data (i32.const 16) \"\\02\\00\\00\\00\\00described\")\n"
        "(func (export \"__describe_module__\") (param $s i32) (call $expect (i32.const 6))\n"
        "  (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)\n"
        "    (i32.const -1) (i32.const 21) (i32.const 9))\n"
        "  (call $say (local.get $s) (i32.const 16) (i32.const 5)))\n" WAT_REDUCER
        "  (call $expect (i32.const 7)) (i32.const 0)))");
    EXPECT_EQ(f.log_count, 1);
    EXPECT_STR(f.log_text, "described");
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_instance(&f);
    EXPECT_EQ(f.log_count, 2);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_close(&f);
}

TEST(wasm, gives_views_the_header_that_old_libraries_leave_out) {
    Fixture f;
    fixture_open(&f,
                 WAT_HEAD WAT_TAIL WAT_SILENT_REDUCER
                 "(func (export \"__call_view_anon__\") (param $id i32) (param $args i32)\n"
                 "  (param $out i32) (result i32)\n"
                 "  (i32.store (i32.const 8) (i32.const 100))\n"
                 "  (if (local.get $args) (then\n"
                 "    (drop (call $source (local.get $args) (i32.const 100) (i32.const 8)))\n"
                 "    (call $say (local.get $out) (i32.const 100) (i32.load (i32.const 8)))))\n"
                 "  (local.get $id)))");
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 0, BYTES("\1\0\0\0x", 5)), HOST_OK);
    EXPECT_HEX(buf_bytes(&f.returned), "000100000078");
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 2, BYTES("\0\1\0\0\0x", 6)), HOST_OK);
    EXPECT_HEX(buf_bytes(&f.returned), "000100000078");
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 2, BYTES("\1\1\0\0\0x", 6)), HOST_OK);
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 2, BYTES("\0", 1)), HOST_FATAL);
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 2, BYTES("\2\0", 2)), HOST_FATAL);
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 2, BYTES_NONE), HOST_FATAL);
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 1, BYTES("no", 2)), HOST_USER_ERROR);
    EXPECT_STR(f.message, "no");
    EXPECT_EQ(fixture_run(&f, HOST_VIEW_ANON, 7, BYTES_NONE), HOST_FATAL);
    EXPECT_STR(f.message, "unknown return code");
    EXPECT_EQ(fixture_run(&f, HOST_VIEW, 0, BYTES_NONE), HOST_FATAL);
    EXPECT_STR(f.message, "Module defines view it but does not export `__call_view__`");
    EXPECT(host_instance_ok(f.instance));
    fixture_close(&f);
}

TEST(wasm, answers_procedures_and_http_handlers) {
    Fixture f;
    fixture_open(
        &f,
        WAT_HEAD WAT_TAIL WAT_SILENT_REDUCER
        "(data (i32.const 40) \"headbody\")\n"
        "(func (export \"__call_procedure__\") (param $id i32) (param i64 i64 i64 i64)\n"
        "  (param i64 i64) (param $t i64) (param $args i32) (param $out i32) (result i32)\n"
        "  (i64.store (i32.const 64) (local.get $t))\n"
        "  (call $say (local.get $out) (i32.const 64) (i32.const 8)) (local.get $id))\n"
        "(func (export \"__call_http_handler__\") (param $id i32) (param i64) (param $req i32)\n"
        "  (param $body i32) (param $out i32) (param $bout i32) (result i32)\n"
        "  (i32.store (i32.const 8) (i32.const 2))\n"
        "  (drop (call $source (local.get $body) (i32.const 44) (i32.const 8)))\n"
        "  (call $say (local.get $out) (i32.const 40) (i32.const 4))\n"
        "  (call $say (local.get $bout) (i32.const 44) (i32.const 4)) (local.get $id)))");
    EXPECT_EQ(fixture_run(&f, HOST_PROCEDURE, 0, BYTES_NONE), HOST_OK);
    EXPECT_HEX(buf_bytes(&f.returned), "4d00000000000000");
    EXPECT_EQ(fixture_run(&f, HOST_PROCEDURE, 3, BYTES_NONE), HOST_FATAL);
    EXPECT_STR(
        f.message,
        "__call_procedure__ returned unexpected code 3. Procedures should return code 0 or trap.");
    f.call.body = str_bytes(STR("BO"));
    EXPECT_EQ(fixture_run(&f, HOST_HTTP, 0, str_bytes(STR("r"))), HOST_OK);
    EXPECT_BYTES(buf_bytes(&f.returned), str_bytes(STR("head")));
    EXPECT_BYTES(buf_bytes(&f.body), str_bytes(STR("BOdy")));
    EXPECT_EQ(fixture_run(&f, HOST_HTTP, 70000, BYTES_NONE), HOST_FATAL);
    EXPECT_STR(f.message,
               "__call_http_handler__ returned unexpected code 4464. "
               "HTTP handlers should return code 0 or trap.");
    fixture_close(&f);
}

TEST(imports, find_tables_and_count_rows) {
    Fixture f;
    ask_open(&f);
    EXPECT_EQ(ask(&f, "table_id_from_name", str_bytes(STR("keyed")), ASK_DATA, 5, 2048), HOST_OK);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), T_KEYED);
    ask(&f, "table_id_from_name", str_bytes(STR("nobody")), ASK_DATA, 6, 2056);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(load_u32(ask_memory(&f, 2056)), 0);  // only on success
    ask(&f, "index_id_from_name", str_bytes(STR("auto")), ASK_DATA, 4, 2048);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), T_AUTO);
    ask(&f, "datastore_table_row_count", BYTES_NONE, 9, 2048);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_TABLE);
    f.call.access = NULL;
    ask(&f, "datastore_table_row_count", BYTES_NONE, T_PLAIN, 2048);
    EXPECT_EQ(ask_result(&f), ABI_NOT_IN_TRANSACTION);
    fixture_close(&f);
}

TEST(imports, insert_update_and_delete_write_back_what_the_abi_says) {
    Fixture f;
    ask_open(&f);
    uint8_t row[20] = {16, 0, 0, 0};  // its length, then the row: a zero key and 8 bytes more
    ask(&f, "datastore_insert_bsatn", BYTES(row, 20), T_AUTO, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u32(ask_memory(&f, ASK_DATA)), 8);
    EXPECT_EQ(load_u64(ask_memory(&f, ASK_DATA + 4)), 1);
    ask(&f, "datastore_insert_bsatn", BYTES(row, 20), T_KEYED, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u32(ask_memory(&f, ASK_DATA)), 0);  // nothing was generated
    ask(&f, "datastore_insert_bsatn", BYTES(row, 20), T_KEYED, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_UNIQUE_ALREADY_EXISTS);
    EXPECT_EQ(load_u32(ask_memory(&f, ASK_DATA)), 16);
    row[12] = 'x';
    ask(&f, "datastore_update_bsatn", BYTES(row, 20), T_KEYED, T_KEYED, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(f.tables[T_KEYED - 1].rows[0].ptr[8], 'x');
    ask(&f, "datastore_update_bsatn", BYTES(row, 20), T_KEYED, T_PLAIN, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_INDEX);
    ask(&f,
        "datastore_delete_by_index_scan_point_bsatn",
        BYTES("\0\0\0\0", 4),
        T_KEYED,
        ASK_DATA,
        4,
        2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), 1);
    ask(&f, "datastore_delete_all_by_eq_bsatn", BYTES("\7\0\0\0", 4), T_KEYED, ASK_DATA, 4, 2048);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), 7);
    ask(&f, "datastore_clear", BYTES_NONE, T_AUTO, 2048);
    EXPECT_EQ(load_u64(ask_memory(&f, 2048)), 1);
    fixture_close(&f);
}

TEST(imports, tables_of_the_server_are_read_only) {
    Fixture f;
    ask_open(&f);
    uint8_t row[20] = {16, 0, 0, 0};
    f.env.first_writable_id = T_AUTO;
    fixture_instance(&f);
    ask(&f, "datastore_insert_bsatn", BYTES(row, 20), T_KEYED, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_TRANSACTION_IS_READ_ONLY);
    ask(&f, "datastore_clear", BYTES_NONE, T_PLAIN, 2048);
    EXPECT_EQ(ask_result(&f), ABI_TRANSACTION_IS_READ_ONLY);
    ask(&f, "datastore_table_row_count", BYTES_NONE, T_KEYED, 2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    ask(&f, "datastore_insert_bsatn", BYTES(row, 20), T_AUTO, ASK_DATA + 4, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    fixture_close(&f);
}

TEST(imports, range_scans_hand_over_prefix_and_bounds) {
    Fixture f;
    ask_open(&f);
    Bytes data = BYTES("ppll\2u", 6);
    ask(&f,
        "datastore_index_scan_range_bsatn",
        data,
        T_PLAIN,
        ASK_DATA,
        2,
        1,
        ASK_DATA + 2,
        2,
        ASK_DATA + 4,
        2,
        2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_BYTES(f.access.range.prefix, str_bytes(STR("pp")));
    EXPECT_BYTES(f.access.range.lower, str_bytes(STR("ll")));
    EXPECT_BYTES(f.access.range.upper, str_bytes(STR("\2u")));
    EXPECT_EQ(f.access.range.prefix_elems, 1);
    // Without prefix columns its address is not looked at.
    ask(&f,
        "datastore_btree_scan_bsatn",
        data,
        T_PLAIN,
        0xffffffff,
        9,
        0,
        ASK_DATA + 2,
        2,
        ASK_DATA + 4,
        2,
        2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(f.access.range.prefix.len, 0);
    ask(&f,
        "datastore_index_scan_range_bsatn",
        data,
        T_PLAIN,
        ASK_DATA,
        2,
        65536,
        ASK_DATA,
        2,
        ASK_DATA,
        2,
        2048);
    EXPECT_EQ(f.status, HOST_FATAL);
    EXPECT_STR(f.message, "ABI violation, a `ColId` must be a `u16`");
    ask(&f,
        "datastore_delete_by_btree_scan_bsatn",
        data,
        T_PLAIN,
        0,
        0,
        0,
        ASK_DATA,
        2,
        ASK_DATA,
        2,
        2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    ask(&f,
        "datastore_delete_by_index_scan_range_bsatn",
        data,
        9,
        0,
        0,
        0,
        ASK_DATA,
        2,
        ASK_DATA,
        2,
        2048);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_INDEX);
    fixture_close(&f);
}

TEST(imports, iterators_end_with_minus_one_and_may_bring_data_with_it) {
    Fixture f;
    fixture_open(
        &f,
        WAT_HEAD
        "(import \"spacetime_10.0\" \"datastore_table_scan_bsatn\" (func $scan (param i32 i32) (result i32)))\n"
        "(import \"spacetime_10.0\" \"row_iter_bsatn_advance\" (func $next (param i32 i32 i32) (result i32)))\n"
        "(import \"spacetime_10.0\" \"row_iter_bsatn_close\" (func $close (param i32) (result i32)))\n" WAT_TAIL
            WAT_REDUCER "  (if (call $scan (i32.const 1) (i32.const 64)) (then unreachable))\n"
        "  (if (i32.ne (i32.load (i32.const 64)) (i32.const 1)) (then unreachable))\n"
        // one byte of room: the size that is needed
        "  (i32.store (i32.const 68) (i32.const 1))\n"
        "  (if (i32.ne (call $next (i32.const 1) (i32.const 100) (i32.const 68)) (i32.const 11)) (then unreachable))\n"
        "  (if (i32.ne (i32.load (i32.const 68)) (i32.const 6)) (then unreachable))\n"
        // exactly that: everything, and the end
        "  (if (i32.ne (call $next (i32.const 1) (i32.const 100) (i32.const 68)) (i32.const -1)) (then unreachable))\n"
        "  (if (i32.ne (i32.load (i32.const 68)) (i32.const 6)) (then unreachable))\n"
        "  (if (i32.ne (i32.load16_u (i32.const 104)) (i32.const 0x6665)) (then unreachable))\n"
        "  (if (i32.ne (call $next (i32.const 1) (i32.const 100) (i32.const 68)) (i32.const 6)) (then unreachable))\n"
        "  (if (i32.ne (call $close (i32.const 1)) (i32.const 6)) (then unreachable))\n"
        "  (i32.const 0)))");
    Buf generated = {0};
    EXPECT_EQ(
        f.access.base.ops->insert(&f.access.base, T_PLAIN, str_bytes(STR("abcdef")), &generated),
        ABI_OK);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_close(&f);
}

TEST(imports, sources_and_sinks_know_their_handles) {
    Fixture f;
    ask_open(&f);
    store_u32(f.env.database.le, 0);
    ask(&f, "bytes_source_read", BYTES("\5\0\0\0", 4), 0, 2048, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_BYTES);
    ask(&f,
        "bytes_source_read",
        BYTES("\5\0\0\0", 4),
        1,
        2048,
        ASK_DATA);  // the arguments: read to the end
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_BYTES);
    ask(&f, "bytes_source_remaining_length", BYTES("\5\0\0\0", 4), 1, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_BYTES);
    EXPECT_EQ(load_u32(ask_memory(&f, ASK_DATA)), 5);
    ask(&f, "bytes_sink_write", BYTES("\5\0\0\0", 4), 7, ASK_DATA, ASK_DATA);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_BYTES);
    f.access.jwt = str_bytes(STR("{\"sub\":1}"));
    ask(&f, "get_jwt", BYTES("0123456789abcdef", 16), ASK_DATA, 2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), 2);
    EXPECT_EQ(f.access.jwt_asked.le[15], 'f');
    f.access.jwt = BYTES_NONE;
    ask(&f, "get_jwt", BYTES("\1\2\3\4", 4), ASK_DATA, 2048);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), 0);
    fixture_close(&f);
}

TEST(imports, console_records_have_what_was_given) {
    Fixture f;
    ask_open(&f);
    Bytes data = BYTES("targfile.rsme\xffssage", 18);
    ask(&f, "console_log", data, 1, ASK_DATA, 4, ASK_DATA + 4, 7, 12, ASK_DATA + 11, 7);
    EXPECT_EQ(f.status, HOST_OK);
    EXPECT_EQ(f.log_level, 1);
    EXPECT_STR(f.log_target, "targ");
    EXPECT_STR(f.log_file, "file.rs");
    EXPECT_EQ(f.log_line, 12);
    EXPECT_STR(f.log_text, "me\xef\xbf\xbdssag");
    ask(&f, "console_log", data, 99, 0, 4, 0, 7, 0xffffffff, ASK_DATA, 4);
    EXPECT_EQ(f.log_level, 3);
    EXPECT_STR(f.log_target, "");
    EXPECT_EQ(f.log_line, UINT32_MAX);
    uint32_t logged = f.log_count;
    ask(&f, "console_log", data, 2, 0, 0, 0, 0, 1, 0xfffffff0, 400);  // a bad message: silence
    EXPECT_EQ(f.status, HOST_OK);
    EXPECT_EQ(f.log_count, logged);
    ask(&f, "console_log", data, 101, 0, 0, ASK_DATA + 4, 7, 3, ASK_DATA, 4);
    EXPECT_EQ(f.log_level, 101);
    EXPECT(strstr(f.frames, "speak") != NULL);
    EXPECT(strstr(f.frames, "__call_procedure__") != NULL || strlen(f.frames) > 6);
    ask(&f, "console_timer_start", BYTES("span", 4), ASK_DATA, 4);
    EXPECT_EQ(ask_result(&f), 1);
    ask(&f, "console_timer_end", BYTES_NONE, 1);
    EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_CONSOLE_TIMER);  // it ended with its call
    fixture_close(&f);
}

TEST(imports, tell_the_database_and_schedule) {
    Fixture f;
    ask_open(&f);
    ask(&f, "identity", BYTES_NONE, 2048);
    EXPECT_EQ(memcmp(ask_memory(&f, 2048), f.env.database.le, 32), 0);
    ask(&f,
        "volatile_nonatomic_schedule_immediate",
        BYTES("tickargs", 8),
        ASK_DATA,
        4,
        ASK_DATA + 4,
        4);
    EXPECT_STR(f.scheduled, "tick(4 bytes)");
    fixture_close(&f);
}

TEST(imports, of_procedures_are_refused_elsewhere) {
    Fixture f;
    ask_open(&f);
    ask(&f, "procedure_start_mut_tx", BYTES_NONE, 2048);
    EXPECT_EQ(ask_result(&f), ABI_WOULD_BLOCK_TRANSACTION);
    ask(&f, "procedure_commit_mut_tx", BYTES_NONE, 0);
    EXPECT_EQ(ask_result(&f), ABI_TRANSACTION_NOT_ANONYMOUS);
    ask(&f, "procedure_abort_mut_tx", BYTES_NONE, 0);
    EXPECT_EQ(ask_result(&f), ABI_TRANSACTION_NOT_ANONYMOUS);
    EXPECT_EQ(ask(&f, "procedure_sleep_until", BYTES_NONE, 1), HOST_FATAL);
    EXPECT_STR(f.message, "procedure_sleep_until is only available in async instances");
    EXPECT_EQ(ask(&f, "procedure_http_request", BYTES("q", 1), ASK_DATA, 1, ASK_DATA, 1, 2048),
              HOST_FATAL);
    EXPECT_STR(f.message, "procedure_http_request is only available in async instances");
    fixture_close(&f);
}

// ---- what procedures may do

static Micros slow_sleep(void *ctx, Micros wake) {
    (void)ctx;
    usleep((useconds_t)wake);
    return wake;
}
static AbiErrno tx_begin(void *ctx, Access **access, Micros *timestamp) {
    *access = ctx;
    *timestamp = 4242;
    return ABI_OK;
}
static AbiErrno tx_commit(void *ctx) {
    (void)ctx;
    return ABI_HOST_CALL_FAILURE;
}
static void tx_abort(void *ctx) {
    (void)ctx;
}
static AbiErrno http(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    (void)ctx;
    buf_put_bytes(response, request);
    buf_put_bytes(body_out, body);
    return request.ptr[0] == 'b' ? ABI_HTTP_ERROR : ABI_OK;
}
static const HostProcedureOps ops = {.tx_begin = tx_begin,
                                     .tx_commit = tx_commit,
                                     .tx_abort = tx_abort,
                                     .http = http,
                                     .sleep_until = slow_sleep};

TEST(procedures, use_transactions_requests_and_sleep_that_is_not_counted) {
    Fixture f;
    ask_open(&f);
    f.call.access = NULL;
    f.call.procedure = &ops;
    f.call.procedure_ctx = &f.access.base;
    ask(&f, "procedure_start_mut_tx", BYTES_NONE, 2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u64(ask_memory(&f, 2048)), 4242);
    // A second, which it does not need but may be made to wait for by others on this machine; it sleeps for longer.
    f.call.budget_us = 1000000;
    ask(&f, "procedure_sleep_until", BYTES_NONE, 1100000);
    EXPECT_EQ(ask_result(&f), 1100000);
    ask(&f, "procedure_http_request", BYTES("asksent", 7), ASK_DATA, 3, ASK_DATA + 3, 4, 2048);
    EXPECT_EQ(ask_result(&f), ABI_OK);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), 2);
    EXPECT_EQ(load_u32(ask_memory(&f, 2052)), 3);
    ask(&f, "procedure_http_request", BYTES("asksent", 7), ASK_DATA, 3, 0, 0, 2048);
    EXPECT_EQ(load_u32(ask_memory(&f, 2052)), 0);
    ask(&f, "procedure_http_request", BYTES("bad", 3), ASK_DATA, 3, 0, 0, 2048);
    EXPECT_EQ(ask_result(&f), ABI_HTTP_ERROR);
    EXPECT_EQ(load_u32(ask_memory(&f, 2048)), 2);
    fixture_close(&f);
}

TEST(wasm, runs_many_calls_in_one_entry) {
    Fixture f;
    fixture_open(&f, WAT_HEAD WAT_TAIL WAT_SILENT_REDUCER ")");
    f.calls_left = 1000;
    HostSource source = {.ctx = &f, .next = fixture_next, .done = fixture_done};
    host_run(f.instance, &source);
    EXPECT_EQ(f.done_count, 1000);
    EXPECT_EQ(f.status, HOST_OK);
    fixture_close(&f);
}

TEST_MAIN()
