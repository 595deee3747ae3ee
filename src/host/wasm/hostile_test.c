// Modules that mean harm. Each gets its documented error, and the same process serves others on.
#include <pthread.h>

#include "base/mem.h"
#include "host/wasm/wasm_fixture.h"

// ThreadSanitizer keeps signals back until a library function is called, which a loop never does.
#if defined(__SANITIZE_THREAD__)
#define SIGNALS_ARRIVE 0
#else
#define SIGNALS_ARRIVE 1
#endif

// ---- addresses

static const struct {
    const char *import;
    const char *shape;  // a letter per argument: p address, n its length, o address of 4 bytes,
} imports[] = {
    // O of 8, H of 32, C of 16, l address of a length for the p before it, i number
    {"table_id_from_name", "pno"},
    {"index_id_from_name", "pno"},
    {"datastore_table_row_count", "iO"},
    {"datastore_table_scan_bsatn", "io"},
    {"datastore_index_scan_range_bsatn", "ipnipnpno"},
    {"datastore_btree_scan_bsatn", "ipnipnpno"},
    {"datastore_delete_by_index_scan_range_bsatn", "ipnipnpno"},
    {"datastore_delete_by_btree_scan_bsatn", "ipnipnpno"},
    {"datastore_delete_all_by_eq_bsatn", "ipno"},
    {"row_iter_bsatn_advance", "ipl"},
    {"datastore_insert_bsatn", "ipl"},
    {"datastore_update_bsatn", "iipl"},
    {"volatile_nonatomic_schedule_immediate", "pnpn"},
    {"bytes_source_read", "ipl"},
    {"bytes_sink_write", "ipl"},
    {"console_timer_start", "pn"},
    {"identity", "H"},
    {"bytes_source_remaining_length", "io"},
    {"get_jwt", "Co"},
    {"procedure_start_mut_tx", "O"},
    {"procedure_http_request", "pnpnO"},
    {"datastore_index_scan_point_bsatn", "ipno"},
    {"datastore_delete_by_index_scan_point_bsatn", "ipno"},
    {"datastore_clear", "iO"},
};

enum { HERE = ASK_DATA + 16 };  // a good address; ASK_DATA holds a good length

static void arguments_good(const char *shape, uint64_t *args) {
    for (int i = 0; shape[i]; i++) {
        args[i] = HERE;
        if (shape[i] == 'n') args[i] = 4;
        if (shape[i] == 'i') args[i] = 1;
        if (shape[i] == 'l') args[i] = ASK_DATA;
    }
}

static int width_of(char shape) {
    return shape == 'O' ? 8 : shape == 'H' ? 32 : shape == 'C' ? 16 : 4;
}

TEST(hostile, an_address_out_of_range_in_any_argument_of_any_import_is_a_trap) {
    Fixture f;
    ask_open(&f);
    Bytes data = BYTES("\4\0\0\0____________name", 20);
    for (size_t n = 0; n < ARRAY_LEN(imports); n++) {
        const char *shape = imports[n].shape;
        for (int at = 0; shape[at]; at++) {
            if (shape[at] == 'n' || shape[at] == 'i') continue;
            const uint32_t bad[] = {ASK_MEMORY,
                                    ASK_MEMORY - (uint32_t)width_of(shape[at]) + 1,
                                    0x80000000,
                                    UINT32_MAX,
                                    0};
            for (size_t b = 0; b < ARRAY_LEN(bad); b++) {
                uint64_t args[9] = {0};
                arguments_good(shape, args);
                args[at] = bad[b];
                ask_with(&f, imports[n].import, args, data);
                const char *want = bad[b] ? "out of bounds pointer passed to a spacetime function"
                                          : "null pointer passed to a spacetime function";
                if (f.status != HOST_FATAL || strcmp(f.message, want) != 0)
                    print_error("%s, argument %d = %x: %d %s\n",
                                imports[n].import,
                                at,
                                bad[b],
                                f.status,
                                f.message);
                EXPECT_EQ(f.status, HOST_FATAL);
                EXPECT_STR(f.message, want);
                EXPECT(!host_instance_ok(f.instance));
            }
        }
    }
    fixture_close(&f);
}

TEST(hostile, a_giant_length_is_a_trap_and_no_length_at_all_is_nothing) {
    Fixture f;
    ask_open(&f);
    for (size_t n = 0; n < ARRAY_LEN(imports); n++) {
        const char *shape = imports[n].shape;
        for (int at = 0; shape[at]; at++) {
            if (shape[at] != 'n' && shape[at] != 'l') continue;
            const uint32_t lengths[] = {ASK_MEMORY - HERE + 1, 0x7fffffff, 0x80000000, UINT32_MAX};
            for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
                uint64_t args[9] = {0};
                uint8_t data[20] = "\4\0\0\0____________name";
                arguments_good(shape, args);
                if (shape[at] == 'l') store_u32(data, lengths[l]);
                if (shape[at] == 'n') args[at] = lengths[l];
                ask_with(&f, imports[n].import, args, BYTES(data, 20));
                EXPECT_EQ(f.status, HOST_FATAL);
                EXPECT_STR(f.message, "out of bounds pointer passed to a spacetime function");
            }
        }
    }
    ask(&f, "table_id_from_name", BYTES_NONE, 0, 0, 2048);
    EXPECT_EQ(f.status, HOST_OK);
    ask(&f, "table_id_from_name", BYTES("\xff", 1), ASK_DATA, 1, 2048);
    EXPECT_STR(f.message, "invalid utf8 passed to a spacetime function");
    fixture_close(&f);
}

TEST(hostile, wild_handles_are_errnos) {
    Fixture f;
    ask_open(&f);
    const uint64_t handles[] = {0, 2, 3, 77, 0x7fffffff, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(handles); i++) {
        Bytes data = BYTES("\4\0\0\0", 4);
        ask(&f, "row_iter_bsatn_advance", data, handles[i], HERE, ASK_DATA);
        EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_ITER);
        ask(&f, "row_iter_bsatn_close", data, handles[i]);
        EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_ITER);
        ask(&f, "bytes_source_read", data, handles[i], HERE, ASK_DATA);
        EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_BYTES);
        ask(&f, "bytes_sink_write", data, handles[i], HERE, ASK_DATA);
        EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_BYTES);
        ask(&f, "console_timer_end", data, handles[i]);
        EXPECT_EQ(ask_result(&f), ABI_NO_SUCH_CONSOLE_TIMER);
    }
    fixture_close(&f);
}

TEST(hostile, a_server_that_failed_ends_the_call_whatever_the_module_does_then) {
    Fixture f;
    ask_open(&f);
    f.access.fatal = true;
    ask(&f, "datastore_table_row_count", BYTES_NONE, T_PLAIN, 2048);
    EXPECT_EQ(f.status, HOST_FATAL);
    EXPECT(strstr(f.message, "runtime error calling datastore_table_row_count: ") == f.message);
    fixture_close(&f);
}

// ---- traps, stacks, memory

// A reducer for each way to fail; 0 does well.
static const char traps[] = WAT_HEAD WAT_MEMORY
    "(table 4 funcref)\n(elem (i32.const 0) $well $other)\n"
    "(type $plain (func (result i32)))\n"
    "(func $well (result i32) (i32.const 0))\n"
    "(func $other (param i64) (result i32) (i32.const 0))\n"
    "(func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))\n"
    "(func $even (param i32) (result i32) (i32.add (call_indirect (type $plain) (i32.const 0)) (call $odd (local.get 0))))\n"
    "(func $odd (param i32) (result i32) (i32.add (call $even (local.get 0)) (i32.const 1)))\n" WAT_SAY
        WAT_DESCRIBE WAT_REDUCER
    "  (block (block (block (block (block (block (block (block (block (block (block (block (block (block (block (block\n"
    "  (br_table 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get $id)))\n"
    "  (return (i32.const 0)))\n"
    "  (return (unreachable)))\n"
    "  (return (i32.load (i32.const 131072))))\n"
    "  (return (i32.load offset=4294967295 (i32.const -1))))\n"
    "  (i64.store (i32.const -1) (i64.const 1)) (return (i32.const 0)))\n"
    "  (return (i32.div_s (local.get $id) (i32.const 0))))\n"
    "  (return (i32.div_s (i32.const 0x80000000) (i32.sub (i32.const 5) (local.get $id)))))\n"
    "  (return (i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0)))))\n"
    "  (return (i32.trunc_f64_s (f64.const 1e30))))\n"
    "  (return (call_indirect (type $plain) (i32.const 1))))\n"
    "  (return (call_indirect (type $plain) (i32.const 2))))\n"
    "  (return (call_indirect (type $plain) (i32.const 1000000000))))\n"
    "  (return (call $deep (i32.const 0))))\n"
    "  (return (call $even (i32.const 0))))\n"
    "  (memory.fill (i32.const 131000) (i32.const 1) (i32.const 100)) (return (i32.const 0)))\n"
    "  (table.get 0 (i32.const 4)) drop (return (i32.const 0))))";

static const char *const trap_messages[] = {
    "",
    "wasm trap: wasm `unreachable` instruction executed",
    "wasm trap: out of bounds memory access",
    "wasm trap: out of bounds memory access",
    "wasm trap: out of bounds memory access",
    "wasm trap: integer divide by zero",
    "wasm trap: integer overflow",
    "wasm trap: invalid conversion to integer",
    "wasm trap: integer overflow",
    "wasm trap: indirect call to no function of that type",
    "wasm trap: indirect call to no function of that type",
    "wasm trap: indirect call to no function of that type",
    "wasm trap: call stack exhausted",
    "wasm trap: call stack exhausted",
    "wasm trap: out of bounds memory access",
    "wasm trap: out of bounds memory access",
};

static void traps_run(Fixture *f) {
    for (uint32_t id = 0; id < ARRAY_LEN(trap_messages); id++) {
        EXPECT_EQ(fixture_run(f, HOST_REDUCER, id, BYTES_NONE), id ? HOST_FATAL : HOST_OK);
        EXPECT_STR(f->message, trap_messages[id]);
        EXPECT_EQ(host_instance_ok(f->instance), id == 0);
        EXPECT_EQ(fixture_run(f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    }
}

TEST(hostile, every_trap_has_its_name_and_the_next_call_runs) {
    Fixture f;
    fixture_open(&f, traps);
    traps_run(&f);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, BYTES_NONE), HOST_FATAL);
    EXPECT_EQ(f.log_level, 101);  // and is in the log, with the functions it was in
    EXPECT_STR(f.log_text, f.message);
    fixture_close(&f);
}

static void *traps_in_thread(void *fixture) {
    traps_run(fixture);
    return NULL;
}

TEST(hostile, traps_in_two_threads_at_once_do_not_meet) {
    static Fixture f[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        fixture_open(&f[i], traps);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, traps_in_thread, &f[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        fixture_close(&f[i]);
}

TEST(hostile, memory_grows_to_the_limit_and_is_empty_in_the_next_instance) {
    Fixture f;
    fixture_init(&f);
    EXPECT_OK(fixture_load(
        &f,
        WAT_HEAD WAT_TAIL WAT_REDUCER
        // dirty? then grow as far as it goes, write to the end
        "  (if (i32.load (i32.const 131000)) (then unreachable))\n"
        "  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 7)) (i32.const -1))))\n"
        "  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))\n"
        "  (if (i32.ne (memory.grow (i32.const -1)) (i32.const -1)) (then unreachable))\n"
        "  (i32.store (i32.const 131000) (i32.const 1))\n"
        "  (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 1))\n"
        "  (if (local.get $id) (then (return (i32.load (i32.mul (memory.size) (i32.const 65536))))))\n"
        "  (if (i32.ne (memory.size) (i32.const 1024)) (then unreachable))\n"
        "  (i32.const 0)))"));
    f.env.memory_max = 64 << 20;
    fixture_instance(&f);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
        fixture_instance(&f);
        EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, BYTES_NONE), HOST_FATAL);
        EXPECT_STR(f.message, "wasm trap: out of bounds memory access");
    }
    host_instance_free(&f.instance);
    f.env.memory_max = 65536;
    EXPECT_ERR(host_instance_new(f.program, &f.env, &f.instance, &f.diag), ERR_INVALID);
    EXPECT_STR(f.diag.text,
               "the module needs 131072 bytes of memory, but its limit is 65536 bytes");
    fixture_close(&f);
}

TEST(hostile, a_frame_larger_than_the_stack_is_an_overflow) {
    Fixture f;
    Buf wat = {0};
    // 50,000 locals that all live across a call: at -O0 a frame of 400 kB, several of which are too many.
    buf_put_str(&wat, STR(WAT_HEAD WAT_TAIL "(func $big (param $n i64) (result i64)\n"));
    for (int i = 0; i < 40000; i++)
        buf_put_str(&wat, STR("(local i64)"));
    buf_put_str(
        &wat,
        STR("\n(local.set 39999 (local.get $n))\n(i64.add (call $big (i64.add (local.get $n) (i64.const 1))) (local.get 39999)))\n"));
    buf_put_str(&wat, STR(WAT_REDUCER "(i32.wrap_i64 (call $big (i64.const 1)))))"));
    buf_put_u8(&wat, 0);
    fixture_open(&f, (const char *)wat.ptr);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_FATAL);
    EXPECT_STR(f.message, "wasm trap: call stack exhausted");
    buf_deinit(&wat);
    fixture_close(&f);
}

TEST(hostile, tables_are_limited) {
    Fixture f;
    fixture_open(
        &f,
        WAT_HEAD WAT_TAIL
        "(table $t 1 funcref)\n" WAT_REDUCER
        "  (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1))))\n"
        "  (if (i32.gt_u (table.size $t) (i32.const 3000000)) (then unreachable))\n"
        "  (if (i32.lt_u (table.size $t) (i32.const 1000000)) (then unreachable))\n"
        "  (i32.const 0)))");
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_close(&f);
    fixture_init(&f);
    EXPECT_ERR(
        fixture_load(&f, WAT_HEAD WAT_TAIL "(table 4000000000 funcref)\n" WAT_SILENT_REDUCER ")"),
        ERR_INVALID);
    fixture_close(&f);
}

// ---- time

static const char loops[] =
    WAT_HEAD WAT_TAIL WAT_REDUCER "  (if (local.get $id) (then (loop $for (br $for))))\n"
                                  "  (i32.const 0)))";

TEST(hostile, an_endless_loop_ends_at_its_deadline) {
    if (!SIGNALS_ARRIVE) return;
    Fixture f;
    fixture_open(&f, loops);
    for (int i = 0; i < 20; i++) {
        f.call.budget_us = 2000;
        EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, BYTES_NONE), HOST_DEADLINE);
        EXPECT_STR(f.message, "the call ran longer than it may");
        EXPECT(f.elapsed_us >= 2000 && f.elapsed_us < 1000000);
        EXPECT(!host_instance_ok(f.instance));
        f.call.budget_us = 0;
        EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    }
    fixture_close(&f);
}

TEST(hostile, a_loop_of_imports_ends_at_its_deadline_between_them) {
    if (!SIGNALS_ARRIVE) return;
    Fixture f;
    fixture_open(
        &f,
        WAT_HEAD WAT_TAIL WAT_REDUCER
        "  (loop $for (drop (call $source (i32.const 9) (i32.const 100) (i32.const 100))) (br $for))\n"
        "  (i32.const 0)))");
    f.call.budget_us = 2000;
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, BYTES_NONE), HOST_DEADLINE);
    fixture_close(&f);
}

static void *stop_later(void *instance) {
    usleep(5000);
    host_stop(instance);
    return NULL;
}

TEST(hostile, an_endless_loop_ends_when_it_is_stopped) {
    if (!SIGNALS_ARRIVE) return;
    Fixture f;
    pthread_t thread;
    fixture_open(&f, loops);
    EXPECT_EQ(pthread_create(&thread, NULL, stop_later, f.instance), 0);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 1, BYTES_NONE), HOST_STOPPED);
    pthread_join(thread, NULL);
    fixture_instance(&f);
    host_stop(f.instance);
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_STOPPED);  // the next one
    EXPECT(host_instance_ok(f.instance));
    EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_close(&f);
}

TEST(hostile, calls_that_end_in_time_are_never_ended_by_anothers_signal) {
    if (!SIGNALS_ARRIVE) return;
    Fixture f;
    // A loop of about as long as its budget: some end by themselves just when they are fired at.
    fixture_open(&f,
                 WAT_HEAD WAT_TAIL WAT_REDUCER
                 "  (local $i i32)\n"
                 "  (loop $for (local.set $i (i32.add (local.get $i) (i32.const 1)))\n"
                 "    (br_if $for (i32.lt_u (local.get $i) (local.get $id))))\n"
                 "  (i32.const 0)))");
    for (int i = 0; i < 100; i++) {
        f.call.budget_us = 1000;
        fixture_run(&f, HOST_REDUCER, 400000, BYTES_NONE);
        f.call.budget_us = 0;
        EXPECT_EQ(fixture_run(&f, HOST_REDUCER, 10000, BYTES_NONE), HOST_OK);
    }
    fixture_close(&f);
}

// ---- anything at all

static uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Numbers that mean something somewhere more often than chance would have them.
static uint64_t random_argument(uint64_t *state) {
    static const uint32_t likely[] =
        {0, 1, 2, 3, 4, 8, ASK_DATA, HERE, 2048, ASK_MEMORY - 4, ASK_MEMORY, UINT32_MAX};
    uint64_t z = random_next(state);
    return z & 3 ? likely[(z >> 8) % ARRAY_LEN(likely)] : z >> 32;
}

TEST(hostile, any_import_with_any_arguments_answers_or_traps) {
    static const char *const names[] = {
#define X(minor, name, result, params, args, signature) #name,
        GUEST_IMPORTS(X)
#undef X
    };
    Fixture f;
    uint64_t seed = 20240607;
    print_message("seed %llu\n", (unsigned long long)seed);
    ask_open(&f);
    f.env.log = NULL;
    fixture_instance(&f);
    for (int i = 0; i < 20000; i++) {
        uint64_t args[9];
        uint8_t data[24];
        for (int a = 0; a < 9; a++)
            args[a] = random_argument(&seed);
        for (int d = 0; d < 24; d += 8)
            store_u64(data + d, random_argument(&seed));
        ask_with(&f, names[random_next(&seed) % ARRAY_LEN(names)], args, BYTES(data, sizeof data));
        EXPECT(f.status == HOST_OK || f.status == HOST_FATAL);
        EXPECT_EQ(f.status == HOST_FATAL, f.message[0] != 0);
    }
    fixture_close(&f);
}

TEST(hostile, an_allocation_that_fails_anywhere_is_an_error_and_no_more) {
    Fixture f;
    ask_open(&f);
    for (int64_t n = 0;; n++) {
        host_instance_free(&f.instance);
        mem_fault_arm(n);
        Err err = host_instance_new(f.program, &f.env, &f.instance, &f.diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(err == OK || hit);
        if (err == OK && !hit) break;
        EXPECT(err == OK || f.instance == NULL);
    }
    uint8_t row[20] = {16, 0, 0, 0};
    for (int64_t n = 0;; n++) {
        fixture_instance(&f);
        mem_fault_arm(n);
        ask(&f, "datastore_insert_bsatn", BYTES(row, 20), T_AUTO, ASK_DATA + 4, ASK_DATA);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(f.status == HOST_OK || hit);
        if (!hit) break;
    }
    fixture_close(&f);
}

TEST_MAIN()
