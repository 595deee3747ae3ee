// host.c: what a short JavaScript call costs, by the time it is given.
//
//   host [--json]
//
// A module that does what the transfer of modules/transfer does (two rows found by key, changed and
// put back), over tables in memory, so that the engine and the host interface are all there is.
// Medians of batches; the server's own numbers are those of `make bench`.
#include <stdio.h>
#include <stdlib.h>

#include "host/abi.h"
#include "host/fake_access.h"

enum { ROWS = 16, HOST_CALLS = 6, CALLS = 1000, BATCHES = 400, WARM_UP = 200 };

static const char module[] =
    "import * as sys from \"spacetime:sys@2.0\";\n"
    "import { moduleHooks } from \"spacetime:sys@2.0\";\n"
    "const row = new ArrayBuffer(65536), view = new DataView(row);\n"
    "const key = new ArrayBuffer(65536), keyView = new DataView(key);\n"
    "function move(from, to, amount) {\n"
    "  keyView.setUint32(0, from, true);\n"
    "  let it = sys.datastore_index_scan_point_bsatn(1, key, 4);\n"
    "  if (sys.row_iter_bsatn_advance(it, row) !== -12) throw new Error('no such account');\n"
    "  view.setBigUint64(4, view.getBigUint64(4, true) - amount, true);\n"
    "  sys.datastore_update_bsatn(1, 1, row, 12);\n"
    "  keyView.setUint32(0, to, true);\n"
    "  it = sys.datastore_index_scan_point_bsatn(1, key, 4);\n"
    "  if (sys.row_iter_bsatn_advance(it, row) !== -12) throw new Error('no such account');\n"
    "  view.setBigUint64(4, view.getBigUint64(4, true) + amount, true);\n"
    "  sys.datastore_update_bsatn(1, 1, row, 12);\n"
    "}\n"
    "class SenderError extends Error {}\n"
    "const hooks = {\n"
    "  __describe_module__() { return new Uint8Array([2, 0, 0, 0, 0]); },\n"
    "  __get_error_constructor__() { return Error; },\n"
    "  __sender_error_class__: SenderError,\n"
    "  __call_reducer__(id, sender, conn, time, args) {\n"
    "    move(args.getUint32(0, true), args.getUint32(4, true), 1n); },\n"
    "  __call_view__() {}, __call_view_anon__() {}, __call_procedure__() {},\n"
    "};\n"
    "export default { [moduleHooks]() { return hooks; } };\n";

typedef struct Bench {
    FakeAccess access;
    FakeTable table;
    HostCall call;
    uint32_t left, failed;
    uint32_t accounts[2];
} Bench;

static bool next(void *ctx, HostCall *call) {
    Bench *bench = ctx;
    if (bench->left == 0) return false;
    bench->left--;
    bench->accounts[0] = bench->left % ROWS;
    bench->accounts[1] = (bench->left + 7) % ROWS;
    *call = bench->call;
    return true;
}
static void done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    (void)call;
    ((Bench *)ctx)->failed += outcome->status != HOST_OK;
}

static void fill(Bench *bench) {
    bench->table = (FakeTable){.name = "account", .key_len = 4, .unique = true};
    fake_init(&bench->access, &bench->table, 1);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t row[12] = {0};
        Buf generated = {0};
        store_u32(row, i);
        store_u64(row + 4, 1 << 30);
        (void)fake_ops.insert(&bench->access.base, 1, BYTES(row, sizeof row), &generated);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ns_a_call(Bench *bench, HostInstance *instance, int64_t budget_us) {
    static double batch_ns[BATCHES];
    bench->call = (HostCall){.kind = HOST_REDUCER,
                             .name = STR("transfer"),
                             .args = BYTES(bench->accounts, sizeof bench->accounts),
                             .access = &bench->access.base,
                             .budget_us = budget_us};
    for (int i = -WARM_UP; i < BATCHES; i++) {
        bench->left = CALLS;
        uint64_t begin = abi_monotonic_ns();
        host_run(instance, &(HostSource){.ctx = bench, .next = next, .done = done});
        if (i >= 0) batch_ns[i] = (double)(abi_monotonic_ns() - begin) / CALLS;
    }
    qsort(batch_ns, BATCHES, sizeof batch_ns[0], by_value);
    return batch_ns[BATCHES / 2];
}

typedef struct Figure {
    double ns;
    uint32_t failed;
} Figure;

static Figure figure_of(Bench *bench, HostProgram *program, int64_t budget_us) {
    HostEnv env = {0};
    HostInstance *instance = NULL;
    Diag diag;
    bench->failed = 0;
    if (host_instance_new(program, &env, &instance, &diag) != OK) {
        fprintf(stderr, "%s\n", diag.text);
        exit(1);
    }
    Figure figure = {.ns = ns_a_call(bench, instance, budget_us)};
    figure.failed = bench->failed;
    host_instance_free(&instance);
    return figure;
}

// For bench/run.mjs. With time enough that a call is not ended because another program had the core.
static void json_print(Bench *bench, HostProgram *program) {
    Figure figure = figure_of(bench, program, 10000000);
    if (figure.failed) {
        fprintf(stderr, "%u calls failed\n", figure.failed);
        exit(1);
    }
    printf(
        "[{\"name\": \"a reducer call with six host calls\", \"value\": %.0f, \"unit\": \"ns\"},\n"
        " {\"name\": \"host calls\", \"value\": %.0f, \"unit\": \"calls/s\"}]\n",
        figure.ns,
        HOST_CALLS * 1e9 / figure.ns);
}

static void table_print(Bench *bench, HostProgram *program) {
    static const int64_t budgets_us[] = {10000000, 2000, 10000000, 2000};
    printf("%12s %10s %8s\n", "budget, us", "ns a call", "failed");
    for (size_t i = 0; i < ARRAY_LEN(budgets_us); i++) {
        Figure figure = figure_of(bench, program, budgets_us[i]);
        printf("%12lld %10.0f %8u\n", (long long)budgets_us[i], figure.ns, figure.failed);
    }
}

int main(int argc, char **argv) {
    static Bench bench;
    static Diag diag;
    HostProgram *program = NULL;
    fill(&bench);
    if (host_program_load(HOST_JS, BYTES(module, sizeof module - 1), NULL, &program, &diag) != OK) {
        fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "--json") == 0)
        json_print(&bench, program);
    else
        table_print(&bench, program);
    host_program_free(&program);
    fake_deinit(&bench.access);
    return 0;
}
