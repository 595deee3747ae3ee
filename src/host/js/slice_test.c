// Calls that are ended from outside: a budget of a millisecond or two, and host_stop.
#include <pthread.h>
#include <time.h>

#include "host/js/js_fixture.h"

static JsFixture *fixture_new(const char *module) {
    JsFixture *f = malloc(sizeof *f);
    fixture_init(f, module);
    return f;
}
static void fixture_end(JsFixture *f) {
    fixture_deinit(f);
    free(f);
}

static HostStatus run_for(JsFixture *f, int64_t budget_us, const char *code) {
    f->call = (HostCall){.kind = HOST_REDUCER,
                         .id = 1,
                         .name = STR("slice"),
                         .args = str_bytes(str_from(code)),
                         .access = &f->access.base,
                         .budget_us = budget_us};
    fixture_run(f, 1);
    return f->status;
}

// What a loop may be hidden in. Each must end soon after its slice, and the instance with it.
static const char *const loops[] = {
    "for (;;) ;",
    "for (;;) try { for (;;) ; } catch {} finally { for (;;) ; }",
    "(function r() { try { r(); } finally { r(); } })()",
    "function* g() { for (;;) yield 1; } for (const x of g()) ;",
    "for (;;) sys.datastore_table_row_count(1)",
    "for (;;) try { sys.datastore_table_row_count(99) } catch {}",
    "new Proxy({}, { get() { for (;;) ; } }).x",
    "[1, 2].sort(() => { for (;;) ; })",
    "`${{ toString() { for (;;) ; } }}`",
    "+{ valueOf() { for (;;) ; } }",
    "+{ [Symbol.toPrimitive]() { for (;;) ; } }",
    "'x'.repeat(100000).replace(/x/g, () => { for (;;) ; })",
    "JSON.stringify({ toJSON() { for (;;) ; } })",
    "JSON.parse('[1]', () => { for (;;) ; })",
    "for (;;) eval('1')",
    "for (;;) new Function('return 1')()",
    "new (class { static { for (;;) ; } })",
    "Array.from({ length: 1e9 }, (x, i) => i)",
    "for (;;) Promise.resolve().then(() => {})",
    "Reflect.construct(class { constructor() { for (;;) ; } }, [])",
    "throw { toString() { for (;;) ; } }",
    "throw { get stack() { for (;;) ; } }",
    "throw Object.defineProperty(new Error('x'), 'stack', { get() { for (;;) ; } })",
    "throw Object.defineProperty(new SenderError('x'), 'message', { get() { for (;;) ; } })",
    "throw new Proxy({}, { getPrototypeOf() { for (;;) ; } })",
    "return { then() { for (;;) ; } }, (() => { for (;;) ; })()",
    "with_([1]); function with_(a) { for (const x of { [Symbol.iterator]: () => ({ next() { for (;;) ; } }) }) ; }",
};

TEST(slice, ends_every_kind_of_loop_soon_after_its_time) {
    JsFixture *f = fixture_new(MODULE_ASK);
    for (size_t i = 0; i < ARRAY_LEN(loops); i++) {
        uint64_t begin = abi_monotonic_ns();
        HostStatus status = run_for(f, 2000, loops[i]);
        uint64_t took_ms = (abi_monotonic_ns() - begin) / 1000000;
        if (status != HOST_DEADLINE) print_error("%s: %d %s\n", loops[i], status, f->message);
        EXPECT_EQ(status, HOST_DEADLINE);
        if (took_ms >= 500) print_error("%s: %d ms\n", loops[i], (int)took_ms);
        EXPECT(took_ms < 500);  // usually 3; the machine may be busy
        EXPECT(!host_instance_ok(f->instance));
        EXPECT_STR(ask(f, "6 * 7"), "42");
    }
    fixture_end(f);
}

// As the npm library makes its serializers: at first use, bit by bit, in objects that stay.
TEST(slice, what_it_cut_in_half_is_not_used_again) {
    JsFixture *f = fixture_new(MODULE_ASK "const lazy = { get() {\n"
                                          "  if (!this.parts) { this.parts = []; \n"
                                          "    this.parts.push(x => x + 1); }\n"
                                          "  return this.parts[0](41); } };\n"
                                          "globalThis.lazy = lazy;\n");
    EXPECT_EQ(run_for(f, 2000, "lazy.parts = []; for (;;) ;"), HOST_DEADLINE);
    EXPECT(!host_instance_ok(f->instance));
    uint32_t done = f->done_count;
    host_run(f->instance, &(HostSource){.ctx = f, .next = fixture_next, .done = fixture_done});
    EXPECT_EQ(f->done_count, done);
    EXPECT_STR(ask(f, "lazy.get()"), "42");
    fixture_end(f);
}

TEST(slice, is_not_charged_to_the_next_call) {
    JsFixture *f = fixture_new(MODULE_ASK);
    // Calls that end about when their time is over: now before, now after. Whatever happens to
    // one, the call after it has all the time it needs.
    uint32_t late = 0;
    for (int i = 0; i < 150; i++) {
        char code[128];
        snprintf(code,
                 sizeof code,
                 "const end = Date.now() + %d; while (Date.now() < end) ;",
                 1 + i % 3);
        HostStatus status = run_for(f, 2000, code);
        EXPECT(status == HOST_OK || status == HOST_DEADLINE);
        late += status == HOST_DEADLINE;
        EXPECT_EQ(run_for(f, 0, "let s = 0; for (let i = 0; i < 20000; i++) s += i"), HOST_OK);
    }
    EXPECT(late > 0);
    fixture_end(f);
}

TEST(slice, calls_that_end_in_time_are_never_ended) {
    JsFixture *f = fixture_new(MODULE_ASK);
    f->call = (HostCall){.kind = HOST_REDUCER,
                         .id = 1,
                         .name = STR("quick"),
                         .args = str_bytes(STR("sys.datastore_table_row_count(1)")),
                         .access = &f->access.base,
                         .budget_us = 2000000};
    fixture_run(f, 20000);
    EXPECT_EQ(f->status_count[HOST_OK], 20000);
    fixture_end(f);
}

TEST(slice, time_that_a_procedure_waits_does_not_count) {
    JsFixture *f = fixture_new(
        MODULE_ASK
        "views[0] = () => { sys.procedure_start_mut_tx(); sys.procedure_commit_mut_tx();\n"
        "  sys.procedure_http_request(new Uint8Array(1), ''); return new Uint8Array(2); };\n"
        "views[1] = () => { sys.procedure_start_mut_tx(); for (;;) ; };\n");
    // A second, which it does not need but may be made to wait for by others on this machine; it waits for longer.
    f->wait_ns = 1100000000;
    f->call = (HostCall){.kind = HOST_PROCEDURE,
                         .name = STR("waits"),
                         .procedure = &fixture_procedure,
                         .procedure_ctx = f,
                         .budget_us = 1000000};
    fixture_run(f, 1);
    EXPECT_STR(f->message, "");
    EXPECT_EQ(f->status, HOST_OK);
    EXPECT_EQ(f->returned.len, 2);
    f->call.id = 1;
    f->call.budget_us = 30000;
    fixture_run(f, 1);
    EXPECT_EQ(f->status, HOST_DEADLINE);
    EXPECT_EQ(f->aborted, 1);
    EXPECT_STR(f->log_text, "aborting dangling anonymous transaction in procedure waits");
    fixture_end(f);
}

// ---- host_stop

static void *stop_soon(void *ctx) {
    struct timespec pause = {.tv_nsec = 20000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    host_stop(((JsFixture *)ctx)->instance);
    return NULL;
}

TEST(stop, ends_the_running_call_from_another_thread) {
    JsFixture *f = fixture_new(MODULE_ASK);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, stop_soon, f), 0);
        uint64_t begin = abi_monotonic_ns();
        EXPECT_EQ(run_for(f, i == 0 ? 0 : 10000000, loops[i]), HOST_STOPPED);
        EXPECT_STR(f->message, "the call was stopped");
        EXPECT(abi_monotonic_ns() - begin < 600000000);
        pthread_join(thread, NULL);
        EXPECT_EQ(f->log_count, 0);  // nobody's fault
        EXPECT_STR(ask(f, "1 + 2"), "3");
    }
    fixture_end(f);
}

TEST(stop, while_a_procedure_waits_ends_it_when_it_comes_back) {
    JsFixture *f = fixture_new(
        MODULE_ASK
        "views[0] = () => { globalThis.after = 0; sys.procedure_http_request(new Uint8Array(1), '');\n"
        "  for (;;) after = 1; };\n");
    pthread_t thread;
    f->wait_ns = 60000000;
    f->call = (HostCall){.kind = HOST_PROCEDURE,
                         .name = STR("waits"),
                         .procedure = &fixture_procedure,
                         .procedure_ctx = f};
    EXPECT_EQ(pthread_create(&thread, NULL, stop_soon, f), 0);
    fixture_run(f, 1);
    pthread_join(thread, NULL);
    EXPECT_EQ(f->status, HOST_STOPPED);
    EXPECT_STR(ask(f, "1 + 1"), "2");
    fixture_end(f);
}

TEST(stop, between_calls_ends_the_next_one) {
    JsFixture *f = fixture_new(MODULE_ASK);
    host_stop(f->instance);
    EXPECT_EQ(run_for(f, 10000000, "for (;;) ;"), HOST_STOPPED);
    EXPECT_EQ(run_for(f, 10000000, "1"), HOST_OK);
    fixture_end(f);
}

TEST_MAIN()
