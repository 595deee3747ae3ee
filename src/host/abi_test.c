// Iterators, timers and log records, without an engine.
#include "host/abi.h"

#include "base/mem.h"
#include "base/test.h"
#include "host/fake_access.h"

typedef struct AbiFixture {
    Abi abi;
    HostEnv env;
    HostCall call;
    FakeTable tables[2];
    FakeAccess access;
    char log[256];
    HostLogRecord record;
    uint32_t begun, committed, aborted, requests, slept;
    AbiErrno begin_result, commit_result, http_result;
    uint64_t sleep_ns;  // how long each of the procedure's functions takes
} AbiFixture;

static void fixture_log(void *ctx, const HostLogRecord *record) {
    AbiFixture *f = ctx;
    f->record = *record;
    snprintf(f->log, sizeof f->log, STR_FMT, STR_ARG(record->message));
}

static AbiFixture *fixture_new(void) {
    AbiFixture *f = calloc(1, sizeof *f);
    f->tables[0] = (FakeTable){.name = "plain"};
    f->tables[1] = (FakeTable){.name = "keyed", .key_len = 4, .unique = true};
    fake_init(&f->access, f->tables, 2);
    f->env = (HostEnv){.ctx = f, .log = fixture_log};
    f->call = (HostCall){.name = STR("work"), .access = &f->access.base};
    abi_init(&f->abi, &f->env);
    abi_begin(&f->abi, &f->call);
    return f;
}

static void fixture_end(AbiFixture *f) {
    abi_deinit(&f->abi);
    fake_deinit(&f->access);
    free(f);
}

static void add_rows(AbiFixture *f, uint32_t count, size_t len) {
    uint8_t *row = malloc(len);
    for (uint32_t i = 0; i < count; i++) {
        memset(row, (int)(f->tables[0].row_count + 1), len);
        Buf generated = {0};
        EXPECT_EQ(abi_insert(&f->abi, 1, BYTES(row, len), &generated), ABI_OK);
        EXPECT_EQ(generated.len, 0);
    }
    free(row);
}

TEST(abi, an_iterator_never_splits_a_row_and_ends_with_data) {
    AbiFixture *f = fixture_new();
    add_rows(f, 70, 1000);  // two full chunks of 33 rows and one of 4
    uint8_t *out = malloc(100000);
    uint32_t iter = 0;
    size_t len = 0;
    bool exhausted = true;
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    EXPECT_EQ(iter, 1);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 1, &len, &exhausted), ABI_BUFFER_TOO_SMALL);
    EXPECT_EQ(len, 33000);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 32999, &len, &exhausted), ABI_BUFFER_TOO_SMALL);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 33000, &len, &exhausted), ABI_OK);
    EXPECT_EQ(len, 33000);
    EXPECT(!exhausted);
    EXPECT_EQ(out[0], 1);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 36999, &len, &exhausted), ABI_OK);
    EXPECT_EQ(len, 33000);
    EXPECT(!exhausted);
    EXPECT_EQ(out[0], 34);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 100000, &len, &exhausted), ABI_OK);
    EXPECT_EQ(len, 4000);
    EXPECT(exhausted);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 100000, &len, &exhausted), ABI_NO_SUCH_ITER);
    EXPECT_EQ(abi_iter_close(&f->abi, iter), ABI_NO_SUCH_ITER);
    free(out);
    fixture_end(f);
}

TEST(abi, a_row_larger_than_a_chunk_is_a_chunk_of_its_own) {
    AbiFixture *f = fixture_new();
    add_rows(f, 1, 100);
    add_rows(f, 1, 200000);
    add_rows(f, 1, 100);
    uint8_t *out = malloc(300000);
    uint32_t iter = 0;
    size_t len = 0;
    bool exhausted = false;
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 65536, &len, &exhausted), ABI_BUFFER_TOO_SMALL);
    EXPECT_EQ(len, 200100);  // the small row before it is in the same chunk
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 200100, &len, &exhausted), ABI_OK);
    EXPECT(!exhausted);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, out, 200100, &len, &exhausted), ABI_OK);
    EXPECT_EQ(len, 100);
    EXPECT(exhausted);
    free(out);
    fixture_end(f);
}

TEST(abi, an_empty_scan_is_exhausted_at_once) {
    AbiFixture *f = fixture_new();
    uint32_t iter = 0;
    size_t len = 9;
    bool exhausted = false;
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    EXPECT_EQ(abi_iter_advance(&f->abi, iter, NULL, 0, &len, &exhausted), ABI_OK);
    EXPECT_EQ(len, 0);
    EXPECT(exhausted);
    fixture_end(f);
}

TEST(abi, handles_start_at_one_and_are_used_again) {
    AbiFixture *f = fixture_new();
    uint32_t a = 0, b = 0, c = 0;
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &a), ABI_OK);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &b), ABI_OK);
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
    EXPECT_EQ(abi_iter_close(&f->abi, a), ABI_OK);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &c), ABI_OK);
    EXPECT_EQ(c, 1);
    EXPECT_EQ(abi_iter_close(&f->abi, 0), ABI_NO_SUCH_ITER);
    EXPECT_EQ(abi_iter_close(&f->abi, 3), ABI_NO_SUCH_ITER);
    EXPECT_EQ(abi_iter_close(&f->abi, UINT32_MAX), ABI_NO_SUCH_ITER);
    abi_end(&f->abi);  // closes b and c
    abi_begin(&f->abi, &f->call);
    EXPECT_EQ(abi_iter_close(&f->abi, b), ABI_NO_SUCH_ITER);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &a), ABI_OK);
    EXPECT_EQ(a, 1);
    fixture_end(f);
}

TEST(abi, a_scan_that_fails_leaves_no_handle) {
    AbiFixture *f = fixture_new();
    uint32_t iter = 77;
    EXPECT_EQ(abi_scan_table(&f->abi, 9, &iter), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(abi_scan_point(&f->abi, 2, BYTES("abc", 3), &iter), ABI_BSATN_DECODE_ERROR);
    EXPECT_EQ(iter, 77);
    EXPECT_EQ(abi_iter_close(&f->abi, 1), ABI_NO_SUCH_ITER);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    EXPECT_EQ(iter, 1);
    fixture_end(f);
}

TEST(abi, an_iterator_shows_the_rows_as_they_were) {
    AbiFixture *f = fixture_new();
    add_rows(f, 2, 4);
    uint32_t iter = 0;
    uint64_t deleted = 0;
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    EXPECT_EQ(abi_clear(&f->abi, 1, &deleted), ABI_OK);
    Bytes rows;
    EXPECT(abi_iter_whole(&f->abi, iter, &rows));
    EXPECT_HEX(rows, "0101010102020202");
    fixture_end(f);
}

TEST(abi, a_prefix_longer_than_any_index_is_refused) {
    AbiFixture *f = fixture_new();
    uint32_t iter = 0, deleted = 0;
    AccessRange range = {.prefix_elems = 65536};
    EXPECT_EQ(abi_scan_range(&f->abi, 1, &range, &iter), ABI_BSATN_DECODE_ERROR);
    EXPECT_EQ(abi_delete_range(&f->abi, 1, &range, &deleted), ABI_BSATN_DECODE_ERROR);
    range.prefix_elems = 65535;
    EXPECT_EQ(abi_scan_range(&f->abi, 1, &range, &iter), ABI_OK);
    fixture_end(f);
}

TEST(abi, after_a_fatal_failure_nothing_works_until_the_next_call) {
    AbiFixture *f = fixture_new();
    uint64_t count = 0;
    f->access.fatal = true;
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_FATAL);
    f->access.fatal = false;
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_FATAL);
    abi_end(&f->abi);
    abi_begin(&f->abi, &f->call);
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_OK);
    fixture_end(f);
}

TEST(abi, without_a_transaction_everything_says_so) {
    AbiFixture *f = fixture_new();
    abi_end(&f->abi);
    f->call.access = NULL;
    abi_begin(&f->abi, &f->call);
    uint32_t id = 0;
    uint64_t count = 0;
    Bytes jwt;
    EXPECT_EQ(abi_table_id(&f->abi, STR("plain"), &id), ABI_NOT_IN_TRANSACTION);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &id), ABI_NOT_IN_TRANSACTION);
    EXPECT_EQ(abi_clear(&f->abi, 1, &count), ABI_NOT_IN_TRANSACTION);
    EXPECT_EQ(abi_jwt(&f->abi, &f->call.connection, &jwt), ABI_NOT_IN_TRANSACTION);
    fixture_end(f);
}

TEST(abi, memory_that_runs_out_ends_the_call_and_nothing_else) {
    AbiFixture *f = fixture_new();
    add_rows(f, 40, 2000);
    for (int64_t n = 0;; n++) {
        EXPECT(n < 100);
        uint32_t iter = 0, timer = 0;
        Abi abi;
        abi_init(&abi, &f->env);
        abi_begin(&abi, &f->call);
        mem_fault_arm(n);
        AbiErrno scanned = abi_scan_table(&abi, 1, &iter);
        AbiErrno started = abi_timer_start(&abi, STR("t"), &timer);
        mem_fault_arm(-1);
        EXPECT(scanned == ABI_OK || scanned == ABI_FATAL);
        EXPECT(started == ABI_OK || started == ABI_FATAL);
        Bytes rows;
        if (scanned == ABI_FATAL) EXPECT(!abi_iter_whole(&abi, 1, &rows));
        abi_end(&abi);
        abi_deinit(&abi);
        if (scanned == ABI_OK && started == ABI_OK) break;
    }
    fixture_end(f);
}

TEST(abi, timers_are_handles_too) {
    AbiFixture *f = fixture_new();
    uint32_t a = 0, b = 0;
    EXPECT_EQ(abi_timer_start(&f->abi, STR("load"), &a), ABI_OK);
    EXPECT_EQ(abi_timer_start(&f->abi, STR("save"), &b), ABI_OK);
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
    EXPECT_EQ(abi_timer_end(&f->abi, a), ABI_OK);
    EXPECT(strncmp(f->log, "Timing span \"load\": ", 20) == 0);
    EXPECT_EQ(f->record.level, 2);
    EXPECT_EQ(f->record.line, UINT32_MAX);
    EXPECT(str_eq(f->record.function, STR("work")));
    EXPECT_EQ(abi_timer_end(&f->abi, a), ABI_NO_SUCH_CONSOLE_TIMER);
    EXPECT_EQ(abi_timer_end(&f->abi, 0), ABI_NO_SUCH_CONSOLE_TIMER);
    EXPECT_EQ(abi_timer_end(&f->abi, 99), ABI_NO_SUCH_CONSOLE_TIMER);
    abi_end(&f->abi);
    abi_begin(&f->abi, &f->call);
    EXPECT_EQ(abi_timer_end(&f->abi, b), ABI_NO_SUCH_CONSOLE_TIMER);
    fixture_end(f);
}

TEST(abi, spans_are_written_like_rust_writes_them) {
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0ns"},
        {917, "917ns"},
        {1000, "1µs"},
        {1500, "1.5µs"},
        {999999, "999.999µs"},
        {1234000, "1.234ms"},
        {1000001, "1.000001ms"},
        {2500000000, "2.5s"},
        {61000000001, "61.000000001s"},
        {60000000000, "60s"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[32];
        abi_duration_text(cases[i].ns, text);
        EXPECT_STR(text, cases[i].text);
    }
}

// ---- procedures

static void take_time(const AbiFixture *f) {
    uint64_t end = abi_monotonic_ns() + f->sleep_ns;
    while (abi_monotonic_ns() < end) {
    }
}
static AbiErrno op_begin(void *ctx, Access **access, Micros *timestamp) {
    AbiFixture *f = ctx;
    take_time(f);
    if (f->begin_result != ABI_OK) return f->begin_result;
    f->begun++;
    *access = &f->access.base;
    *timestamp = 77;
    return ABI_OK;
}
static AbiErrno op_commit(void *ctx) {
    AbiFixture *f = ctx;
    take_time(f);
    f->committed++;
    return f->commit_result;
}
static void op_abort(void *ctx) {
    ((AbiFixture *)ctx)->aborted++;
}
static AbiErrno op_http(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    AbiFixture *f = ctx;
    take_time(f);
    f->requests++;
    buf_put_bytes(response, request);
    buf_put_bytes(body_out, body);
    return f->http_result;
}
static Micros op_sleep(void *ctx, Micros wake) {
    AbiFixture *f = ctx;
    take_time(f);
    f->slept++;
    return wake + 1;
}
static const HostProcedureOps procedure_ops = {.tx_begin = op_begin,
                                               .tx_commit = op_commit,
                                               .tx_abort = op_abort,
                                               .http = op_http,
                                               .sleep_until = op_sleep};

static AbiFixture *procedure_new(void) {
    AbiFixture *f = fixture_new();
    abi_end(&f->abi);
    f->call = (HostCall){.kind = HOST_PROCEDURE,
                         .name = STR("fetch"),
                         .procedure = &procedure_ops,
                         .procedure_ctx = f};
    abi_begin(&f->abi, &f->call);
    return f;
}

TEST(abi_procedure, has_data_only_between_begin_and_the_end_of_its_transaction) {
    AbiFixture *f = procedure_new();
    uint64_t count = 9;
    Micros at = 0;
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_NOT_IN_TRANSACTION);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    EXPECT_EQ(abi_tx_abort(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    EXPECT_EQ(at, 77);
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_OK);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_WOULD_BLOCK_TRANSACTION);
    EXPECT_EQ(f->begun, 1);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_OK);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_NOT_IN_TRANSACTION);
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    EXPECT_EQ(abi_tx_abort(&f->abi), ABI_OK);
    EXPECT_EQ(abi_tx_abort(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    abi_end(&f->abi);
    EXPECT_EQ(f->begun, 2);
    EXPECT_EQ(f->committed, 1);
    EXPECT_EQ(f->aborted, 1);
    EXPECT_STR(f->log, "");
    fixture_end(f);
}

TEST(abi_procedure, a_transaction_left_open_is_aborted_and_logged) {
    AbiFixture *f = procedure_new();
    Micros at = 0;
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    abi_end(&f->abi);
    EXPECT_EQ(f->aborted, 1);
    EXPECT_STR(f->log, "aborting dangling anonymous transaction in procedure fetch");
    EXPECT_EQ(f->record.level, 0);
    EXPECT(str_eq(f->record.function, STR("fetch")));
    EXPECT(str_eq(f->record.target, STR("__spacetimedb__")));
    EXPECT(str_eq(f->record.filename, STR("__spacetimedb__")));
    abi_begin(&f->abi, &f->call);  // and the next call starts without one
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    fixture_end(f);
}

TEST(abi_procedure, a_commit_that_conflicts_leaves_no_transaction_and_may_be_tried_again) {
    AbiFixture *f = procedure_new();
    Micros at = 0;
    f->commit_result = ABI_HOST_CALL_FAILURE;
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_HOST_CALL_FAILURE);
    f->commit_result = ABI_OK;
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_OK);
    abi_end(&f->abi);
    EXPECT_EQ(f->aborted, 0);
    fixture_end(f);
}

TEST(abi_procedure, after_a_fatal_failure_its_transaction_cannot_be_committed) {
    AbiFixture *f = procedure_new();
    Micros at = 0;
    uint64_t count = 0;
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    f->access.fatal = true;
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_FATAL);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_FATAL);
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_FATAL);
    abi_end(&f->abi);
    EXPECT_EQ(f->committed, 0);
    EXPECT_EQ(f->aborted, 1);
    abi_begin(&f->abi, &f->call);
    f->commit_result = ABI_FATAL;
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_FATAL);
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_FATAL);
    fixture_end(f);
}

TEST(abi_procedure, waits_with_no_transaction_open_and_its_waiting_is_counted) {
    AbiFixture *f = procedure_new();
    Buf response = {0}, body = {0};
    Micros at = 0;
    const char *why = NULL;
    f->sleep_ns = 200000;
    EXPECT_EQ(abi_http(&f->abi, BYTES("ask", 3), BYTES("with", 4), &response, &body), ABI_OK);
    EXPECT_BYTES(buf_bytes(&response), BYTES("ask", 3));
    EXPECT_BYTES(buf_bytes(&body), BYTES("with", 4));
    EXPECT(abi_sleep_until(&f->abi, 41, &at, &why));
    EXPECT_EQ(at, 42);
    EXPECT(f->abi.waited_ns >= 2 * f->sleep_ns);
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_OK);
    EXPECT_EQ(abi_http(&f->abi, BYTES_NONE, BYTES_NONE, &response, &body),
              ABI_WOULD_BLOCK_TRANSACTION);
    EXPECT(!abi_sleep_until(&f->abi, 41, &at, &why));
    EXPECT_STR(why, "Attempted async or blocking op while holding open a transaction");
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_OK);
    EXPECT(f->abi.waited_ns >= 4 * f->sleep_ns);
    f->http_result = ABI_HTTP_ERROR;
    EXPECT_EQ(abi_http(&f->abi, BYTES_NONE, BYTES_NONE, &response, &body), ABI_HTTP_ERROR);
    EXPECT_EQ(f->requests, 2);
    EXPECT_EQ(f->slept, 1);
    abi_end(&f->abi);
    abi_begin(&f->abi, &f->call);
    EXPECT_EQ(f->abi.waited_ns, 0);
    buf_deinit(&response);
    buf_deinit(&body);
    fixture_end(f);
}

TEST(abi_procedure, a_server_without_requests_says_so) {
    AbiFixture *f = procedure_new();
    HostProcedureOps offline = procedure_ops;
    offline.http = NULL;
    f->call.procedure = &offline;
    abi_end(&f->abi);
    abi_begin(&f->abi, &f->call);
    Buf response = {0}, body = {0};
    EXPECT_EQ(abi_http(&f->abi, BYTES_NONE, BYTES_NONE, &response, &body), ABI_HTTP_ERROR);
    EXPECT(
        str_eq(bytes_str(buf_bytes(&response)), STR("module outbound HTTP requests are disabled")));
    buf_deinit(&response);
    fixture_end(f);
}

TEST(abi_procedure, a_reducer_has_one_transaction_and_cannot_wait) {
    AbiFixture *f = fixture_new();
    Buf response = {0}, body = {0};
    Micros at = 0;
    const char *why = NULL;
    EXPECT(!abi_may_block(&f->abi));
    EXPECT_EQ(abi_tx_begin(&f->abi, &at), ABI_WOULD_BLOCK_TRANSACTION);
    EXPECT_EQ(abi_tx_commit(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    EXPECT_EQ(abi_tx_abort(&f->abi), ABI_TRANSACTION_NOT_ANONYMOUS);
    EXPECT_EQ(abi_http(&f->abi, BYTES_NONE, BYTES_NONE, &response, &body),
              ABI_WOULD_BLOCK_TRANSACTION);
    EXPECT(!abi_sleep_until(&f->abi, 41, &at, &why));
    EXPECT_STR(why, "procedure_sleep_until is only available in async instances");
    fixture_end(f);
}

// Table 1 is the server's, table 2 the module's.
TEST(abi, what_is_the_servers_own_can_only_be_read) {
    AbiFixture *f = fixture_new();
    Buf generated = {0};
    uint32_t iter, deleted = 7;
    uint64_t count;
    add_rows(f, 3, 8);
    f->env.first_writable_id = 2;
    AbiErrno no = ABI_TRANSACTION_IS_READ_ONLY;
    Bytes row = BYTES("12345678", 8), relation = BYTES("\1\0\0\0"
                                                       "12345678",
                                                       12);
    AccessRange range = {0};
    EXPECT_EQ(abi_insert(&f->abi, 1, row, &generated), no);
    EXPECT_EQ(abi_update(&f->abi, 1, 1, row, &generated), no);
    EXPECT_EQ(abi_delete_point(&f->abi, 1, row, &deleted), no);
    EXPECT_EQ(abi_delete_range(&f->abi, 1, &range, &deleted), no);
    EXPECT_EQ(abi_delete_all_by_eq(&f->abi, 1, relation, &deleted), no);
    EXPECT_EQ(abi_clear(&f->abi, 1, &count), no);
    EXPECT_EQ(f->tables[0].row_count, 3);
    EXPECT_EQ(abi_row_count(&f->abi, 1, &count), ABI_OK);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    EXPECT_EQ(abi_insert(&f->abi, 0, row, &generated), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(abi_clear(&f->abi, 0, &count), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(abi_insert(&f->abi, 2, row, &generated), ABI_OK);
    EXPECT_EQ(abi_clear(&f->abi, 2, &count), ABI_OK);
    fixture_end(f);
}

TEST(abi, open_iterators_of_a_call_have_a_limit_together) {
    AbiFixture *f = fixture_new();
    uint32_t iter;
    add_rows(f, 10, 100000);
    f->env.memory_max = 4 << 20;
    for (int i = 0; i < 4; i++)
        EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    for (int i = 0; i < 50; i++) {  // closed ones do not count
        EXPECT_EQ(abi_iter_close(&f->abi, iter), ABI_OK);
        EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    }
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_FATAL);
    EXPECT(strstr(f->log, "open iterators of this call hold more than 4194304 bytes") != NULL);
    abi_end(&f->abi);
    EXPECT_EQ(f->abi.iter_bytes, 0);
    EXPECT(f->abi.iter_kept <= 8 << 20);
    abi_begin(&f->abi, &f->call);
    EXPECT_EQ(abi_scan_table(&f->abi, 1, &iter), ABI_OK);
    // Empty ones cost something as well.
    AbiErrno result = ABI_OK;
    int opened = 0;
    for (; result == ABI_OK && opened < 100000; opened++)
        result = abi_scan_table(&f->abi, 2, &iter);
    EXPECT_EQ(result, ABI_FATAL);
    EXPECT(opened > 10000);
    fixture_end(f);
}

TEST(abi, levels_that_do_not_exist_are_debug) {
    AbiFixture *f = fixture_new();
    static const uint8_t levels[] = {0, 1, 2, 3, 4, 5, 100, 101, 102, 255};
    static const int shown[] = {0, 1, 2, 3, 4, 3, 3, 101, 3, 3};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        abi_log(&f->abi, levels[i], STR_NONE, STR_NONE, UINT32_MAX, STR("x"));
        EXPECT_EQ(f->record.level, shown[i]);
    }
    fixture_end(f);
}

TEST(abi, every_errno_has_its_sentence) {
    EXPECT_STR(abi_errno_text(ABI_NO_SUCH_TABLE), "No such table");
    EXPECT_STR(abi_errno_text(ABI_UNIQUE_ALREADY_EXISTS),
               "Value with given unique identifier already exists");
    for (int e = 1; e <= 21; e++)
        EXPECT(strcmp(abi_errno_text((AbiErrno)e), "unknown error") != 0);
    EXPECT_STR(abi_errno_text((AbiErrno)22), "unknown error");
}

TEST_MAIN()
