// library.c: what module libraries cost a call, side by side and without a server.
//
//   library [--json] OURS.js NPM.js
//
// Both are modules/library: on our module library, and on npm's. For each of its reducers they take turns, each
// in an instance of its own, over tables in memory that cost next to nothing: processor time of the thread,
// medians of batches, and the ratio within a turn. Twice: alone, where the instances have run nothing else, and
// mixed, where they go on with what the compiler has learnt of all reducers. Three times all of it, because what
// the compiler makes of the same program differs from instance to instance.
#include <stdio.h>
#include <stdlib.h>

#include "bench/figures.h"
#include "host/abi.h"
#include "host/fake_access.h"

enum { ROWS = 16, CALLS = 1000, WARM_UP = 250, TURNS = 40, TRIALS = 3, SAMPLES = TURNS * TRIALS };

static const char *const reducers[] = {"nothing but arguments",
                                       "two rows found",
                                       "transfer",
                                       "insert and delete",
                                       "iterate 16 rows",
                                       "wide row found and updated",
                                       "filter by index",
                                       "sender and time into a row"};
enum { REDUCERS = ARRAY_LEN(reducers) };

typedef struct Bundle {
    HostProgram *program;
    HostInstance *instance;
    FakeAccess access;
    FakeTable tables[2];
} Bundle;

enum { OURS, NPM, BUNDLES };
static Bundle bundles[BUNDLES];

// Of one reducer, turn by turn.
typedef struct Samples {
    double ns[BUNDLES][SAMPLES];
    double ratio[SAMPLES];
} Samples;
static Samples alone[REDUCERS], mixed[REDUCERS];

typedef struct Calls {
    HostCall call;
    uint32_t left;
    uint32_t args[3];
} Calls;

static bool next(void *ctx, HostCall *call) {
    Calls *calls = ctx;
    if (calls->left == 0) return false;
    calls->left--;
    calls->args[0] = calls->left % ROWS;
    calls->args[1] = (calls->left + 7) % ROWS;
    calls->args[2] = 1;
    *call = calls->call;
    return true;
}

static void done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    (void)ctx;
    if (outcome->status == HOST_OK) return;
    fprintf(stderr, "reducer %u: " STR_FMT "\n", call->id, STR_ARG(outcome->message));
    exit(1);
}

static void insert(Bundle *bundle, uint32_t table, Buf *row) {
    Buf generated = {0};
    (void)fake_ops.insert(&bundle->access.base, table, buf_bytes(row), &generated);
    buf_deinit(row);
}

static void fill(Bundle *bundle) {
    bundle->tables[0] = (FakeTable){.name = "account", .key_len = 4, .unique = true};
    bundle->tables[1] = (FakeTable){.name = "person", .key_len = 4, .unique = true};
    fake_init(&bundle->access, bundle->tables, 2);
    for (uint32_t i = 0; i < ROWS; i++) {
        Buf account = {0}, person = {0};
        uint8_t who[32] = {(uint8_t)i};
        buf_put_u32(&account, i);
        buf_put_u64(&account, (uint64_t)1 << 30);
        insert(bundle, 1, &account);
        buf_put_u32(&person, i);
        buf_put_u32(&person, 9);
        buf_put_bytes(&person, str_bytes(STR("Alice Ash")));
        buf_put_u32(&person, i);
        buf_put_u8(&person, 40);
        buf_put_bytes(&person, BYTES(who, sizeof who));
        buf_put_u64(&person, 1700000000000000);
        insert(bundle, 2, &person);
    }
}

static double thread_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static double batch_ns(Bundle *bundle, uint32_t reducer) {
    Calls calls = {.left = CALLS};
    calls.call = (HostCall){.kind = HOST_REDUCER,
                            .id = reducer,
                            .name = STR("reducer"),
                            .sender.le = {7},
                            .timestamp = 1700000000000000,
                            .args = BYTES(calls.args, sizeof calls.args),
                            .access = &bundle->access.base};
    double begin = thread_ns();
    host_run(bundle->instance, &(HostSource){.ctx = &calls, .next = next, .done = done});
    return (thread_ns() - begin) / CALLS;
}

static void warm_up(uint32_t reducer) {
    for (int i = 0; i < WARM_UP; i++)
        for (int b = 0; b < BUNDLES; b++)
            batch_ns(&bundles[b], reducer);
}

static void take_turns(uint32_t reducer, int trial, Samples *into) {
    for (int i = 0; i < TURNS; i++) {
        int at = trial * TURNS + i;
        for (int b = 0; b < BUNDLES; b++) {
            int who = i % 2 ? NPM - b : b;  // nobody is always the first
            into->ns[who][at] = batch_ns(&bundles[who], reducer);
        }
        into->ratio[at] = into->ns[OURS][at] / into->ns[NPM][at];
    }
}

static void instances_make(void) {
    for (int b = 0; b < BUNDLES; b++) {
        static Diag diag;
        host_instance_free(&bundles[b].instance);
        HostEnv env = {0};
        if (host_instance_new(bundles[b].program, &env, &bundles[b].instance, &diag) == OK)
            continue;
        fprintf(stderr, "%s\n", diag.text);
        exit(1);
    }
}

static void measure(int trial) {
    for (uint32_t reducer = 0; reducer < REDUCERS; reducer++) {
        instances_make();
        warm_up(reducer);
        take_turns(reducer, trial, &alone[reducer]);
    }
    instances_make();
    for (uint32_t reducer = 0; reducer < REDUCERS; reducer++)
        warm_up(reducer);
    for (uint32_t reducer = 0; reducer < REDUCERS; reducer++)
        take_turns(reducer, trial, &mixed[reducer]);
}

static void show(const char *how, Samples *samples) {
    for (uint32_t i = 0; i < REDUCERS; i++) {
        figure(median(samples[i].ns[OURS], SAMPLES), "ns", "%s, %s", reducers[i], how);
        figure(median(samples[i].ns[NPM], SAMPLES), "ns", "%s, %s: npm's", reducers[i], how);
        figure(median(samples[i].ratio, SAMPLES), "ratio", "%s, %s: ours / npm", reducers[i], how);
    }
}

static void load(Bundle *bundle, const char *path) {
    static Diag diag;
    Buf code = {0};
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    for (uint8_t *room; (room = buf_extend(&code, 65536)) != NULL;) {
        size_t got = fread(room, 1, 65536, file);
        code.len -= 65536 - got;
        if (got == 0) break;
    }
    fclose(file);
    if (host_program_load(HOST_JS, buf_bytes(&code), NULL, &bundle->program, &diag) != OK) {
        fprintf(stderr, "%s\n", diag.text);
        exit(1);
    }
    buf_deinit(&code);
}

int main(int argc, char **argv) {
    figures_json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (argc != 3 + figures_json) {
        fprintf(stderr, "library [--json] OURS.js NPM.js\n");
        return 2;
    }
    for (int b = 0; b < BUNDLES; b++) {
        fill(&bundles[b]);
        load(&bundles[b], argv[argc - BUNDLES + b]);
    }
    for (int trial = 0; trial < TRIALS; trial++)
        measure(trial);
    show("alone", alone);
    show("mixed", mixed);
    figures_end();
    for (int b = 0; b < BUNDLES; b++) {
        host_instance_free(&bundles[b].instance);
        host_program_free(&bundles[b].program);
        fake_deinit(&bundles[b].access);
    }
    return 0;
}
