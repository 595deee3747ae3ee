// Modules that mean harm before their first call: they are refused, and the process serves on.
#define _GNU_SOURCE  // threads on cores
#include "host/wasm/wasm_fixture.h"
#include "os/sched_testing.h"
#include "os/thread.h"

// ThreadSanitizer keeps signals back until a library function is called, which a loop never does.
#if defined(__SANITIZE_THREAD__)
#define SIGNALS_ARRIVE 0
#else
#define SIGNALS_ARRIVE 1
#endif

static void refused(const char *wat, const char *why) {
    Fixture f;
    fixture_init(&f);
    EXPECT_ERR(fixture_load(&f, wat), ERR_INVALID);
    EXPECT_STR(f.diag.text, why);
    fixture_close(&f);
}

#define LOOP "(loop $for (br $for))"
#define REST WAT_MEMORY WAT_SAY WAT_SILENT_REDUCER

TEST(hostile, endless_loops_before_the_first_call_end) {
    if (!SIGNALS_ARRIVE) return;
    static const char why[] = "the module took longer than 0 s of processor time to load";
    wasm_load_ms = 50;
    refused(WAT_HEAD REST WAT_DESCRIBE "(func $start " LOOP ")(start $start))", why);
    refused(WAT_HEAD REST WAT_DESCRIBE "(func (export \"_initialize\") " LOOP "))", why);
    refused(WAT_HEAD REST WAT_DESCRIBE "(func (export \"__preinit__1\") " LOOP "))", why);
    refused(WAT_HEAD REST WAT_DESCRIBE "(func (export \"__setup__\") (param i32) (result i32) " LOOP
                                       " (i32.const 0)))",
            why);
    refused(WAT_HEAD REST "(func (export \"__describe_module__\") (param i32) " LOOP "))", why);
    wasm_load_ms = 10000;
}

// 40 million steps, of which each needs the one before.
#define SLOW_START                                                                                     \
    "(func $start (local $i i32) (local $x i64) (loop $for"                                            \
    " (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1)))" \
    " (local.set $i (i32.add (local.get $i) (i32.const 1)))"                                           \
    " (br_if $for (i32.lt_u (local.get $i) (i32.const 40000000))))"                                    \
    " (i64.store (i32.const 8) (local.get $x)))(start $start))"

TEST(hostile, time_to_load_is_what_the_module_uses_not_what_the_clock_says) {
    if (!SIGNALS_ARRIVE) return;
    Fixture f;
    fixture_init(&f);
    EXPECT_OK(fixture_load(&f, WAT_HEAD REST WAT_DESCRIBE SLOW_START));
    int64_t used_ns = thread_cpu_ns();
    fixture_instance(&f);
    used_ns = thread_cpu_ns() - used_ns;
    host_instance_free(&f.instance);

    wasm_load_ms = (int)(used_ns * 3 / 1000000) + 1;
    Crowd crowd;
    crowd_begin(&crowd, 6);
    uint64_t clock_ns = abi_monotonic_ns();
    fixture_instance(&f);
    clock_ns = abi_monotonic_ns() - clock_ns;
    crowd_end(&crowd);
    EXPECT(clock_ns > (uint64_t)wasm_load_ms * 1000000);
    wasm_load_ms = 10000;
    fixture_close(&f);
}

TEST(hostile, traps_before_the_first_call_say_where) {
    refused(WAT_HEAD REST WAT_DESCRIBE "(func $start unreachable)(start $start))",
            "wasm trap while calling \"start\": wasm `unreachable` instruction executed");
    refused(WAT_HEAD REST WAT_DESCRIBE "(func (export \"_initialize\") unreachable))",
            "wasm trap while calling \"_initialize\": wasm `unreachable` instruction executed");
    refused(WAT_HEAD REST WAT_DESCRIBE "(func (export \"__preinit__1\") unreachable))",
            "wasm trap while calling \"__preinit__1\": wasm `unreachable` instruction executed");
    refused(WAT_HEAD REST WAT_DESCRIBE
            "(func (export \"__setup__\") (param $err i32) (result i32)\n"
            "  (call $say (local.get $err) (i32.const 16) (i32.const 0)) (i32.const 1)))",
            "setup function returned an error: ");
    refused(WAT_HEAD REST "(func (export \"__describe_module__\") (param i32) unreachable))",
            "error getting module description: wasm `unreachable` instruction executed");
    refused(WAT_HEAD REST WAT_DESCRIBE "(data (i32.const 131070) \"four\"))",
            "wasm trap while calling \"start\": out of bounds memory access");
}

TEST(hostile, a_description_that_lies_is_refused) {
    Fixture f;
    static const char *const lies[] = {
        "",                                          // nothing
        "\\02\\ff\\ff\\ff\\ff",                      // four billion sections
        "\\07\\00\\00\\00\\00",                      // no such version
        "\\02\\01\\00\\00\\00\\02\\ff\\ff\\ff\\7f",  // tables that are not there
        "\\02\\01\\00\\00",                          // cut off
    };
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        char wat[2048];
        size_t len = strlen(lies[i]) / 3;
        snprintf(wat,
                 sizeof wat,
                 WAT_HEAD REST "(data (i32.const 16) \"%s\")\n"
                               "(func (export \"__describe_module__\") (param $s i32)\n"
                               "  (call $say (local.get $s) (i32.const 16) (i32.const %zu))))",
                 lies[i],
                 len);
        fixture_init(&f);
        EXPECT_ERR(fixture_load(&f, wat), ERR_INVALID);
        EXPECT(f.diag.text[0]);
        fixture_close(&f);
    }
}

TEST(hostile, a_description_without_end_runs_into_the_sinks_limit) {
    Fixture f;
    fixture_init(&f);
    Err err = fixture_load(
        &f,
        WAT_HEAD REST "(func (export \"__describe_module__\") (param $s i32)\n"
                      "  (i32.store (i32.const 8) (i32.const 131000))\n"
                      "  (loop $for (br_if $for\n"
                      "    (i32.eqz (call $sink (local.get $s) (i32.const 16) (i32.const 8)))))))");
    EXPECT(err == ERR_INVALID || err == ERR_UNSUPPORTED);
    EXPECT(f.diag.text[0]);
    fixture_close(&f);
}

TEST_MAIN()
