// wasm.c: what the wasm engine itself costs: calls, host calls, instances, compiling.
//
//   wasm [--json] [--compile BYTES]     0: leave compiling out (it takes half a minute for 1 MB)
//
// Calls are measured over an Access whose functions return at once, so a figure is the engine's own
// share: what is on top of the storage work (and 5 ns of this program's source and data). A figure of
// calls has everything in it: "with four host calls" is the empty call and four of them. What a locked
// instruction and a look at the clock cost here tells how fast the machine is in this minute: a timed
// call (of HTTP, of the slow lane) looks twice, any other makes do without both.
// Modules are written as wat and assembled by wabt.
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/abi.h"
#include "host/wasm/files.h"

enum { ROUNDS = 9, CALLS = 200000, INSTANCES = 2000, KEPT = 200 };

typedef struct Figure {
    const char *name, *unit;
    double value;
} Figure;

static Figure figures[16];
static int figure_count;

static void record(const char *name, double value, const char *unit) {
    figures[figure_count++] = (Figure){name, unit, value};
}

static void must(Err err, const Diag *diag) {
    if (err == OK) return;
    fprintf(stderr, "wasm bench: %s: %s\n", err_name(err), diag ? diag->text : "");
    exit(1);
}

// Time of this thread: what others do on the machine meanwhile is not part of it.
static uint64_t used_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

// ---- data that answers at once

static const uint8_t row[32];

static AbiErrno instant_scan(Access *access, uint32_t index, Bytes point, RowSink sink) {
    (void)access, (void)index, (void)point;
    return sink.row(sink.ctx, BYTES(row, sizeof row)) ? ABI_OK : ABI_FATAL;
}
static AbiErrno instant_update(Access *access,
                               uint32_t table,
                               uint32_t index,
                               Bytes bytes,
                               Buf *out) {
    (void)access, (void)table, (void)index, (void)bytes, (void)out;
    return ABI_OK;
}
static const AccessOps instant_ops = {.scan_point = instant_scan, .update = instant_update};
static Access instant = {.ops = &instant_ops};

// ---- modules

// Of four host calls: scan, advance, update, update. Of one: an update.
static const char calls_wat[] =
    "(module\n"
    "(import \"spacetime_10.0\" \"bytes_sink_write\" (func $sink (param i32 i32 i32) (result i32)))\n"
    "(import \"spacetime_10.4\" \"datastore_index_scan_point_bsatn\"\n"
    "  (func $scan (param i32 i32 i32 i32) (result i32)))\n"
    "(import \"spacetime_10.0\" \"row_iter_bsatn_advance\" (func $next (param i32 i32 i32) (result i32)))\n"
    "(import \"spacetime_10.0\" \"datastore_update_bsatn\" (func $update (param i32 i32 i32 i32) (result i32)))\n"
    "(memory (export \"memory\") 17)\n"
    "(data (i32.const 16) \"\\02\\00\\00\\00\\00\")\n"
    "(func (export \"__describe_module__\") (param $s i32)\n"
    "  (i32.store (i32.const 8) (i32.const 5))\n"
    "  (drop (call $sink (local.get $s) (i32.const 16) (i32.const 8))))\n"
    "(func (export \"__call_reducer__\") (param $id i32) (param i64 i64 i64 i64 i64 i64 i64)\n"
    "  (param $args i32) (param $err i32) (result i32)\n"
    "  (if (i32.eqz (local.get $id)) (then (return (i32.const 0))))\n"
    "  (if (i32.eq (local.get $id) (i32.const 1)) (then\n"
    "    (i32.store (i32.const 64) (i32.const 32))\n"
    "    (return (call $update (i32.const 1) (i32.const 1) (i32.const 1024) (i32.const 64)))))\n"
    "  (i32.store (i32.const 64) (i32.const 65536))\n"
    "  (drop (call $scan (i32.const 1) (i32.const 128) (i32.const 8) (i32.const 68)))\n"
    "  (drop (call $next (i32.load (i32.const 68)) (i32.const 1024) (i32.const 64)))\n"
    "  (i32.store (i32.const 64) (i32.const 32))\n"
    "  (drop (call $update (i32.const 1) (i32.const 1) (i32.const 1024) (i32.const 64)))\n"
    "  (i32.store (i32.const 64) (i32.const 32))\n"
    "  (drop (call $update (i32.const 1) (i32.const 1) (i32.const 1024) (i32.const 64)))\n"
    "  (i32.const 0)))\n";

static void assemble(Bytes wat, Buf *out) {
    char directory[256], command[1024], path[300];
    must(directory_temporary(NULL, directory, sizeof directory), NULL);
    must(file_write_whole(directory, "m.wat", wat), NULL);
    snprintf(command, sizeof command, "wat2wasm %s/m.wat -o %s/m.wasm", directory, directory);
    if (system(command) != 0) exit(1);
    snprintf(path, sizeof path, "%s/m.wasm", directory);
    must(file_read_whole(path, out), NULL);
    directory_remove(directory);
}

// Functions as compilers write them: locals, loops, branches, memory, calls to one another.
static void large_wat(size_t bytes, Buf *out) {
    uint32_t seed = 1;
    size_t functions = bytes / 190;  // a function's size as wasm
    buf_put(out, calls_wat, strrchr(calls_wat, ')') - calls_wat);
    buf_put_str(out, STR("(global $sp (mut i32) (i32.const 65536))\n"));
    for (size_t i = 0; i < functions; i++) {
        seed = seed * 1664525 + 1013904223;
        buf_printf(
            out,
            "(func $f%zu (param $a i32) (param $b i32) (result i32) (local $i i32) (local $s i64)\n"
            "  (global.set $sp (i32.sub (global.get $sp) (i32.const %u)))\n"
            "  (loop $l\n"
            "    (local.set $s (i64.add (i64.rotl (local.get $s) (i64.const %u))\n"
            "      (i64.load32_u offset=%u (i32.add (local.get $a) (i32.shl (local.get $i) (i32.const 2))))))\n"
            "    (if (i32.lt_u (i32.load8_u offset=%u (local.get $b)) (local.get $i))\n"
            "      (then (i64.store offset=%u (local.get $b) (local.get $s)))\n"
            "      (else (i32.store16 offset=%u (local.get $a) (i32.xor (local.get $i) (local.get $b)))))\n"
            "    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))\n"
            "      (i32.and (local.get $b) (i32.const %u)))))\n",
            i,
            16 + seed % 7 * 16,
            seed >> 8 & 31,
            seed >> 4 & 1023,
            seed >> 6 & 511,
            seed >> 9 & 255,
            seed >> 11 & 1023,
            seed >> 13 & 127);
        buf_printf(
            out,
            "  (block $x (block $y (block $z (br_table $x $y $z (i32.and (local.get $a) (i32.const 3))))\n"
            "    (local.set $a (i32.mul (local.get $a) (i32.const %u))))\n"
            "    (i32.store offset=%u (local.get $b) (i32.load offset=%u (local.get $a))))\n"
            "  (global.set $sp (i32.add (global.get $sp) (i32.const %u)))\n",
            seed,
            seed >> 3 & 4095,
            seed >> 5 & 4095,
            16 + seed % 7 * 16);
        if (i > 4)
            buf_printf(
                out,
                "  (if (local.get $i) (then (local.set $a (call $f%zu (local.get $b) (call $f%zu (local.get $i) (local.get $a))))))\n",
                seed % i,
                i - 1);
        buf_put_str(out, STR("  (i32.add (local.get $a) (i32.wrap_i64 (local.get $s))))\n"));
    }
    buf_printf(out, "(export \"__preinit__keep\" (func $keep))\n");
    buf_printf(
        out,
        "(func $keep (if (i32.load (i32.const 0)) (then (drop (call $f%zu (i32.const 1) (i32.const 2))))))\n)",
        functions - 1);
}

// ---- calls

typedef struct Batch {
    HostCall call;
    uint32_t left;
    bool failed;
} Batch;

static bool batch_next(void *ctx, HostCall *call) {
    Batch *batch = ctx;
    if (batch->left == 0) return false;
    batch->left--;
    *call = batch->call;
    return true;
}
static void batch_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    (void)call;
    if (outcome->status != HOST_OK) ((Batch *)ctx)->failed = true;
}

static void measure_calls(HostInstance *instance, uint32_t id, bool is_timed, const char *name) {
    double ns[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        Batch batch = {
            .call = {.id = id, .access = &instant, .budget_us = 2000000, .is_timed = is_timed},
            .left = CALLS};
        HostSource source = {.ctx = &batch, .next = batch_next, .done = batch_done};
        uint64_t start = used_ns();
        host_run(instance, &source);
        ns[round] = (double)(used_ns() - start) / CALLS;
        if (batch.failed) exit(1);
    }
    record(name, median(ns, ROUNDS), "ns");
}

// What the machine asks for the two things a call avoids.
static void measure_machine(void) {
    static _Atomic uint64_t word;
    double clock_ns[ROUNDS], locked_ns[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = used_ns();
        for (int i = 0; i < CALLS; i++)
            (void)abi_monotonic_ns();
        uint64_t middle = used_ns();
        for (int i = 0; i < CALLS; i++)
            atomic_store(&word, (uint64_t)i);
        locked_ns[round] = (double)(used_ns() - middle) / CALLS;
        clock_ns[round] = (double)(middle - start) / CALLS;
    }
    record("machine: a look at the clock", median(clock_ns, ROUNDS), "ns");
    record("machine: a locked instruction", median(locked_ns, ROUNDS), "ns");
}

// ---- instances

static double resident_kib(void) {
    char line[256];
    double kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "VmRSS:", 6) == 0) kib = strtod(line + 6, NULL);
    if (status) fclose(status);
    return kib;
}

static void measure_instances(HostProgram *program,
                              const char *time_name,
                              const char *memory_name) {
    static HostInstance *kept[KEPT];
    HostEnv env = {0};
    Diag diag;
    double us[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = used_ns();
        for (int i = 0; i < INSTANCES; i++) {
            HostInstance *instance = NULL;
            must(host_instance_new(program, &env, &instance, &diag), &diag);
            host_instance_free(&instance);
        }
        us[round] = (double)(used_ns() - start) / INSTANCES / 1000;
    }
    record(time_name, median(us, ROUNDS), "us");
    double before = resident_kib();
    for (int i = 0; i < KEPT; i++)
        must(host_instance_new(program, &env, &kept[i], &diag), &diag);
    record(memory_name, (resident_kib() - before) / KEPT, "KiB");
    for (int i = 0; i < KEPT; i++)
        host_instance_free(&kept[i]);
}

static HostProgram *load(Bytes wat, bool describe_only, double *seconds, size_t *bytes) {
    Buf module = {0};
    Diag diag;
    HostProgram *program = NULL;
    HostLoadOptions options = {.describe_only = describe_only};
    assemble(wat, &module);
    uint64_t start = abi_monotonic_ns();
    must(host_program_load(HOST_WASM, buf_bytes(&module), &options, &program, &diag), &diag);
    *seconds = (double)(abi_monotonic_ns() - start) / 1e9;
    *bytes = module.len;
    buf_deinit(&module);
    return program;
}

static void measure_compiling(size_t wanted) {
    Buf wat = {0};
    double seconds;
    size_t bytes;
    large_wat(wanted, &wat);
    HostProgram *program = load(buf_bytes(&wat), false, &seconds, &bytes);
    record("size of a large module", (double)bytes / 1024, "KiB");
    record("compiling it", seconds, "s");
    measure_instances(program, "an instance of it", "memory of an instance of it");
    host_program_free(&program);
    program = load(buf_bytes(&wat), true, &seconds, &bytes);
    record("compiling it for its description only", seconds, "s");
    host_program_free(&program);
    buf_deinit(&wat);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"compile", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    size_t compile_bytes = 1 << 20, bytes;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'j') json = true;
        if (option == 'c') compile_bytes = strtoul(optarg, NULL, 10);
        if (option == '?') return 2;
    }
    double seconds;
    Diag diag;
    HostEnv env = {0};
    HostInstance *instance = NULL;
    HostProgram *program = load(BYTES(calls_wat, sizeof calls_wat - 1), false, &seconds, &bytes);
    must(host_instance_new(program, &env, &instance, &diag), &diag);
    measure_machine();
    measure_calls(instance, 0, false, "an empty reducer call");
    measure_calls(instance, 0, true, "an empty reducer call, timed");
    measure_calls(instance, 1, false, "a reducer call with one host call");
    measure_calls(instance, 2, false, "a reducer call with four host calls");
    host_instance_free(&instance);
    record("compiling a small module", seconds, "s");
    measure_instances(program, "an instance, made and freed", "memory of an instance");
    host_program_free(&program);
    if (compile_bytes) measure_compiling(compile_bytes);
    for (int i = 0; i < figure_count; i++)
        if (json)
            printf("%s{\"name\": \"%s\", \"value\": %.4f, \"unit\": \"%s\"}%s",
                   i ? " " : "[",
                   figures[i].name,
                   figures[i].value,
                   figures[i].unit,
                   i + 1 < figure_count ? ",\n" : "]\n");
        else
            printf("%-40s %10.2f %s\n", figures[i].name, figures[i].value, figures[i].unit);
    return 0;
}
