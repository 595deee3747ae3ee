// Workers and a loop, for thread sanitizer as much as for the result: the loop commits on the head
// all the time while workers read their overlays, validate them, and hand them over.
//
// The data is a set of accounts whose sum never changes. Every transaction also takes an id from a
// sequence, and whoever committed leaves exactly one row by it.
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"
#include "txn/def_testing.h"
#include "txn/overlay.h"

enum { ACCOUNTS = 24, START = 100, WORKERS = 3, TRANSFERS = 150 };

typedef enum Want { WANT_NEW, WANT_RESERVE, WANT_RUN, WANT_FINISH, WANT_FREE } Want;

typedef struct Request {
    struct Request *next;
    Want want;
    Overlay *overlay;
    uint32_t table_id, sequence_id, count;
    Int128 first;
    Err (*run)(void *arg);
    void *arg;
    Err err;
    bool done;
    struct World *world;
} Request;

typedef struct World {
    Sim *sim;
    Db *db;
    TestDef def;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    Request *requests;
    uint32_t item, timer, by_id;  // ids, the same as long as it lives
    atomic_int working, seeds;
    uint64_t committed, conflicts, head_commits;  // the loop's
    atomic_int wrong_sums;
} World;

static const CommitInfo info = {.timestamp = 1, .name = {"test", 4}};

// ── a transfer, wherever it runs ───────────────────────────────────────────────────────────────

static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

typedef struct Sum {
    const RowLayout *layout;
    int64_t v;
    uint32_t rows;
} Sum;

static bool add_row(void *ctx, Bytes row) {
    Sum *sum = ctx;
    sum->v += (int32_t)load_u32(row_column(sum->layout, row, 2).ptr);  // may be in debt
    sum->rows++;
    return true;
}

static Sum account(World *w, Access *access, uint64_t id) {
    uint8_t key[8];
    store_u64(key, id);
    Sum sum = {.layout = table_layout(catalog_table(db_catalog(w->db), w->item)->table)};
    AbiErrno status =
        access->ops->scan_point(access, w->by_id, BYTES(key, 8), (RowSink){add_row, &sum});
    ASSERT(status == ABI_OK && sum.rows == 1);
    return sum;
}

static void sum_check(World *w, Access *access) {
    Sum sum = {.layout = table_layout(catalog_table(db_catalog(w->db), w->item)->table)};
    ASSERT(access->ops->scan_table(access, w->item, (RowSink){add_row, &sum}) == ABI_OK);
    if (sum.v != ACCOUNTS * START || sum.rows != ACCOUNTS) atomic_fetch_add(&w->wrong_sums, 1);
}

static void account_set(World *w, Access *access, uint64_t id, int64_t v) {
    Buf row = {0}, generated = {0};
    testdef_item(&row, id, "somebody", (uint32_t)v, (uint32_t)id);
    ASSERT(access->ops->update(access, w->item, w->by_id, buf_bytes(&row), &generated) == ABI_OK);
    buf_deinit(&row);
    buf_deinit(&generated);
}

static void timer_put(World *w, Access *access) {
    Buf row = {0}, generated = {0};
    buf_put_u64(&row, 0);
    buf_put_u8(&row, 0);
    buf_put_u64(&row, 1);
    ASSERT(access->ops->insert(access, w->timer, buf_bytes(&row), &generated) == ABI_OK);
    buf_deinit(&row);
    buf_deinit(&generated);
}

static void transfer(World *w, Access *access, uint64_t *random) {
    uint64_t from = 1 + draw(random, ACCOUNTS), to = 1 + draw(random, ACCOUNTS);
    account_set(w, access, from, account(w, access, from).v - 1);
    account_set(w, access, to, account(w, access, to).v + 1);
    timer_put(w, access);
}

// ── workers ────────────────────────────────────────────────────────────────────────────────────

static Err ask(World *w, Request *request, Want want) {
    request->want = want;
    request->done = false;
    pthread_mutex_lock(&w->lock);
    request->next = w->requests;
    w->requests = request;
    while (!request->done)
        pthread_cond_wait(&w->answered, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return request->err;
}

static Err ask_reserve(void *ctx,
                       uint32_t table_id,
                       uint32_t sequence_id,
                       uint32_t count,
                       Int128 *first) {
    Request *mine = ctx;
    Request request = {.world = mine->world,
                       .table_id = table_id,
                       .sequence_id = sequence_id,
                       .count = count};
    Err err = ask(mine->world, &request, WANT_RESERVE);
    *first = request.first;
    return err;
}

static Err ask_run(void *ctx, Err (*run)(void *arg), void *arg) {
    Request *mine = ctx;
    Request request = {.world = mine->world, .run = run, .arg = arg};
    return ask(mine->world, &request, WANT_RUN);
}

static bool never_stopped(void *ctx) {
    (void)ctx;
    return false;
}

static void *worker_run(void *ctx) {
    World *w = ctx;
    Request request = {.world = w};
    uint64_t random = (uint64_t)atomic_fetch_add(&w->seeds, 1);
    for (int done = 0; done < TRANSFERS;) {
        ASSERT(ask(w, &request, WANT_NEW) == OK);
        Access *access = overlay_access(request.overlay);
        if (draw(&random, 4) == 0) sum_check(w, access);  // such a one reads everything
        transfer(w, access, &random);
        if (draw(&random, 3) == 0) sum_check(w, access);  // with its own writes
        Err err = OK;
        for (uint64_t n = draw(&random, 3); n > 0 && err == OK; n--)
            err = overlay_validate(request.overlay);
        if (err == OK && draw(&random, 2)) err = overlay_prepare(request.overlay);
        if (err == OK) err = ask(w, &request, WANT_FINISH);
        ASSERT(err == OK || err == ERR_CONFLICT);
        done += err == OK || draw(&random, 4) == 0;  // a few give up
        ASSERT(ask(w, &request, WANT_FREE) == OK);
    }
    atomic_fetch_sub(&w->working, 1);
    return NULL;
}

// ── the loop ───────────────────────────────────────────────────────────────────────────────────

static Err serve(World *w, Request *request) {
    const WriteSet *writes;
    bool changed;
    OverlayEnv env = {.ctx = request,
                      .reserve = ask_reserve,
                      .prepare = {request, ask_run, never_stopped, 1}};
    Err err;
    switch (request->want) {
    case WANT_NEW: return overlay_new(w->db, &info, &env, &request->overlay);
    case WANT_RESERVE:
        return db_sequence_reserve(w->db,
                                   request->table_id,
                                   request->sequence_id,
                                   request->count,
                                   &request->first);
    case WANT_FINISH:
        err = overlay_apply(request->overlay, NULL);
        if (err == OK) err = db_commit(w->db, &writes, &changed);
        w->committed += err == OK;
        w->conflicts += err == ERR_CONFLICT;
        db_checkpoint_tick(w->db);  // a turn ends
        return err;
    case WANT_RUN: return request->run(request->arg);
    case WANT_FREE: overlay_free(&request->overlay); return OK;
    }
    return ERR_INVALID;
}

static void head_turn(World *w, uint64_t *random) {
    const WriteSet *writes;
    bool changed;
    db_begin(w->db, &info);
    transfer(w, db_access(w->db), random);
    if (draw(random, 5) == 0) {
        db_rollback(w->db);
        return;
    }
    ASSERT(db_commit(w->db, &writes, &changed) == OK);
    w->head_commits++;
}

static void loop_run(World *w) {
    uint64_t random = 7, served = 0;
    while (atomic_load(&w->working)) {
        pthread_mutex_lock(&w->lock);
        Request *requests = w->requests;
        w->requests = NULL;
        pthread_mutex_unlock(&w->lock);
        for (Request *request = requests, *next; request; request = next) {
            next = request->next;
            served++;
            request->err = serve(w, request);
            pthread_mutex_lock(&w->lock);
            request->done = true;
            pthread_cond_broadcast(&w->answered);
            pthread_mutex_unlock(&w->lock);
        }
        // Not so many that no worker ever gets through.
        if (w->head_commits < 4 * served && draw(&random, 4) == 0) head_turn(w, &random);
    }
}

static void run(size_t history_max) {
    World *w = MEM_NEW(World);
    uint64_t torn, timers;
    pthread_t threads[WORKERS];
    EXPECT_OK(sim_new(1, &w->sim));
    testdef_init(&w->def);
    DbOptions options = {.io = sim_io(w->sim),
                         .dir = "db",
                         .in_memory = true,
                         .history_max = history_max};
    EXPECT_OK(db_open(&options, &w->db, &torn, NULL));
    EXPECT_OK(testdef_create(w->db, &w->def));
    w->item = testdef_table(w->db, TEST_ITEM)->table_id;
    w->timer = testdef_table(w->db, TEST_TIMER)->table_id;
    w->by_id = testdef_index(w->db, "item_id_idx_btree");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->answered, NULL);
    const WriteSet *writes;
    bool changed;
    Buf row = {0}, generated = {0};
    Access *head = db_access(w->db);
    db_begin(w->db, &info);
    for (uint32_t i = 1; i <= ACCOUNTS; i++) {
        buf_clear(&row);
        testdef_item(&row, i, "somebody", START, i);
        EXPECT_EQ(head->ops->insert(head, w->item, buf_bytes(&row), &generated), ABI_OK);
    }
    EXPECT_OK(db_commit(w->db, &writes, &changed));

    atomic_store(&w->working, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        EXPECT_EQ(pthread_create(&threads[i], NULL, worker_run, w), 0);
    loop_run(w);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);

    db_begin(w->db, &info);
    sum_check(w, head);
    EXPECT_EQ(head->ops->row_count(head, w->timer, &timers), ABI_OK);
    db_rollback(w->db);
    EXPECT_EQ(atomic_load(&w->wrong_sums), 0);
    EXPECT_EQ(timers, w->committed + w->head_commits);
    EXPECT(w->committed > TRANSFERS / 4);
    EXPECT_EQ(store_stats(db_store(w->db)).snapshots_live, 0);
    Diag diag = {0};
    EXPECT_OK(store_check(db_store(w->db), &diag));
    buf_deinit(&row);
    buf_deinit(&generated);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->answered);
    db_close(&w->db);
    testdef_deinit(&w->def);
    sim_free(&w->sim);
    mem_free(w);
}

TEST(threads, workers_and_the_loop_keep_the_sum_and_lose_no_commit) {
    run(0);
}

TEST(threads, so_do_they_when_history_is_short) {
    run(40 << 10);
}

TEST_MAIN()
