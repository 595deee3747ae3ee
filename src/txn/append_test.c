// Lists that transactions append to and read, and their histories checked for cycles: the method of
// Elle (Kingsbury and Alvaro, VLDB 2020), on a small scale.
//
// Every element is appended once in its life, so a list tells in which order the transactions that
// appended to it came, and a read tells which appends it saw:
//
//     ww  who appended x        -> who appended the element behind x
//     wr  who appended x        -> who read a list that ends in x
//     rw  who read up to x      -> who appended the element behind x
//     rt  who ended             -> who began after that
//
// A serializable history has no cycle of these. Every third list is one row that is rewritten whole,
// the others are a row for each element, read through an index: then a conflict is a phantom.
#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"
#include "txn/bulk_testing.h"
#include "txn/def_testing.h"
#include "txn/overlay.h"

enum { LISTS = 5, TXNS = 48, RUNNING = 5, OPS_MAX = 5, LIST_MAX = TXNS * OPS_MAX, ROW_LISTS = 3 };

typedef struct List {
    uint32_t elements[LIST_MAX];
    uint32_t count;
} List;

typedef struct Read {
    int key;
    List list;
} Read;

typedef struct Txn {
    Overlay *overlay;  // while it runs
    Read reads[OPS_MAX];
    int read_count, ops_left;
    int began, ended;
    bool committed;
} Txn;

typedef struct History {
    Sim *sim;
    Db *db;
    TestDef def;
    uint64_t random;
    Txn txns[TXNS];
    int writer[LIST_MAX + 1];  // of each element
    uint32_t elements;         // given out
    int now;
    bool edge[TXNS][TXNS];
    uint64_t committed, conflicts;
} History;

static const CommitInfo info = {.timestamp = 1, .name = {"test", 4}};

static uint64_t draw(History *h, uint64_t below) {
    h->random = h->random * 6364136223846793005u + 1442695040888963407u;
    return (h->random >> 33) % below;
}

// ── lists in rows ──────────────────────────────────────────────────────────────────────────────

static bool is_row_list(int key) {
    return key % ROW_LISTS == 0;
}

typedef struct Gather {
    const RowLayout *layout;
    bool row_list;
    List *list;
} Gather;

// One row that holds everything has it as digits in its name; a row for each has its place in code.
static bool gather(void *ctx, Bytes row) {
    Gather *g = ctx;
    if (g->row_list) {
        Bytes name = row_column(g->layout, row, 1);
        for (size_t at = 4; at + 4 <= name.len; at += 4) {
            char digits[5] = {0};
            memcpy(digits, name.ptr + at, 4);
            g->list->elements[g->list->count++] = (uint32_t)strtoul(digits, NULL, 10);
        }
        return true;
    }
    uint32_t place = load_u32(row_column(g->layout, row, 3).ptr) % 1000;
    g->list->elements[place] = (uint32_t)load_u64(row_column(g->layout, row, 0).ptr) - 1000;
    g->list->count++;
    return true;
}

static void list_read(History *h, Access *access, int key, List *out) {
    uint8_t bytes[8] = {(uint8_t)(key + 1)};
    Gather g = {table_layout(testdef_table(h->db, TEST_ITEM)->table), is_row_list(key), out};
    out->count = 0;
    uint32_t index =
        testdef_index(h->db, is_row_list(key) ? "item_id_idx_btree" : "item_v_idx_btree");
    EXPECT_EQ(access->ops->scan_point(access,
                                      index,
                                      BYTES(bytes, is_row_list(key) ? 8 : 4),
                                      (RowSink){gather, &g}),
              ABI_OK);
}

static void list_append(History *h, Access *access, int key, uint32_t element) {
    static List list;
    Buf row = {0}, generated = {0}, text = {0};
    uint32_t table = testdef_table(h->db, TEST_ITEM)->table_id;
    list_read(h, access, key, &list);
    AbiErrno status;
    if (is_row_list(key)) {
        for (uint32_t i = 0; i < list.count; i++)
            buf_printf(&text, "%04u", list.elements[i]);
        buf_printf(&text, "%04u", element);
        buf_put_u8(&text, 0);
        testdef_item(&row, (uint64_t)key + 1, (char *)text.ptr, 900, (uint32_t)(90000 + key));
        status = list.count ? access->ops->update(access,
                                                  table,
                                                  testdef_index(h->db, "item_id_idx_btree"),
                                                  buf_bytes(&row),
                                                  &generated)
                            : access->ops->insert(access, table, buf_bytes(&row), &generated);
    } else {
        testdef_item(&row,
                     1000 + element,
                     "",
                     (uint32_t)key + 1,
                     (uint32_t)key * 1000 + list.count);
        status = access->ops->insert(access, table, buf_bytes(&row), &generated);
    }
    EXPECT_EQ(status, ABI_OK);
    buf_deinit(&row);
    buf_deinit(&generated);
    buf_deinit(&text);
}

// ── transactions ───────────────────────────────────────────────────────────────────────────────

static void op_run(History *h, Txn *txn, Access *access) {
    int key = (int)draw(h, LISTS);
    txn->ops_left--;
    if (draw(h, 2)) {
        h->writer[h->elements] = (int)(txn - h->txns);
        list_append(h, access, key, h->elements++);
    } else {
        Read *read = &txn->reads[txn->read_count++];
        read->key = key;
        list_read(h, access, key, &read->list);
    }
}

static void head_run(History *h, Txn *txn) {
    const WriteSet *writes;
    bool changed;
    db_begin(h->db, &info);
    while (txn->ops_left)
        op_run(h, txn, db_access(h->db));
    txn->committed = draw(h, 8) != 0;
    if (txn->committed) {
        EXPECT_OK(db_commit(h->db, &writes, &changed));
    } else {
        db_rollback(h->db);
    }
    txn->ended = h->now;
}

static void overlay_end(History *h, Txn *txn) {
    const WriteSet *writes;
    bool changed;
    Err err = draw(h, 2) ? overlay_validate(txn->overlay) : OK;
    if (err == OK) err = overlay_apply(txn->overlay, NULL);
    if (err == OK) {
        EXPECT_OK(db_commit(h->db, &writes, &changed));
        txn->committed = true;
    } else {
        EXPECT_ERR(err, ERR_CONFLICT);
        h->conflicts++;
    }
    overlay_free(&txn->overlay);
    db_checkpoint_tick(h->db);  // a turn ends
    txn->ended = h->now;
}

static void history_run(History *h) {
    OverlayEnv env = {.ctx = h->db, .prepare = bulk_here()};
    Txn *running[RUNNING] = {0};
    for (int next = 0, left = 0; next < TXNS || left > 0;) {
        Txn **slot = &running[draw(h, RUNNING)], *txn = *slot;
        h->now++;
        if (!txn && next < TXNS) {
            txn = &h->txns[next++];
            txn->began = h->now;
            txn->ops_left = 1 + (int)draw(h, OPS_MAX);
            if (draw(h, 3) == 0) {
                head_run(h, txn);
            } else {
                EXPECT_OK(overlay_new(h->db, &info, &env, &txn->overlay));
                *slot = txn;
                left++;
            }
        } else if (txn && txn->ops_left) {
            op_run(h, txn, overlay_access(txn->overlay));
            if (!txn->ops_left && draw(h, 2)) (void)!overlay_prepare(txn->overlay);
        } else if (txn) {
            overlay_end(h, txn);
            *slot = NULL;
            left--;
        }
    }
}

// ── the check ──────────────────────────────────────────────────────────────────────────────────

static void edge(History *h, int from, int to) {
    if (from != to) h->edge[from][to] = true;
}

static void fail_with(const char *what, uint64_t seed) {
    print_error("seed %llu: %s\n", (unsigned long long)seed, what);
    fail();
}

static void list_edges(History *h, const List *final, uint64_t seed) {
    for (uint32_t i = 0; i < final->count; i++) {
        int writer = h->writer[final->elements[i]];
        if (!h->txns[writer].committed) fail_with("an aborted append is there", seed);
        if (i > 0) edge(h, h->writer[final->elements[i - 1]], writer);
    }
}

static void read_edges(History *h, int reader, const Read *read, const List *final, uint64_t seed) {
    const List *saw = &read->list;
    if (saw->count > final->count ||
        memcmp(saw->elements, final->elements, saw->count * sizeof *saw->elements) != 0) {
        fail_with("a read is no prefix of the list as it became", seed);
    }
    if (saw->count) edge(h, h->writer[saw->elements[saw->count - 1]], reader);
    if (saw->count < final->count) edge(h, reader, h->writer[final->elements[saw->count]]);
}

static void time_edges(History *h) {
    for (int a = 0; a < TXNS; a++) {
        for (int b = 0; b < TXNS; b++) {
            if (h->txns[a].committed && h->txns[b].committed && h->txns[a].ended < h->txns[b].began)
                edge(h, a, b);
        }
    }
}

// 0 not seen, 1 on the path, 2 done.
static bool has_cycle(const History *h, int at, uint8_t *colour) {
    colour[at] = 1;
    for (int to = 0; to < TXNS; to++) {
        if (!h->edge[at][to]) continue;
        if (colour[to] == 1 || (colour[to] == 0 && has_cycle(h, to, colour))) return true;
    }
    colour[at] = 2;
    return false;
}

static void history_check_all(History *h, uint64_t seed) {
    static List finals[LISTS];
    uint8_t colour[TXNS] = {0};
    db_begin(h->db, &info);
    for (int key = 0; key < LISTS; key++) {
        list_read(h, db_access(h->db), key, &finals[key]);
        list_edges(h, &finals[key], seed);
    }
    db_rollback(h->db);
    for (int t = 0; t < TXNS; t++) {
        if (!h->txns[t].committed) continue;
        h->committed++;
        for (int r = 0; r < h->txns[t].read_count; r++) {
            const Read *read = &h->txns[t].reads[r];
            read_edges(h, t, read, &finals[read->key], seed);
        }
    }
    time_edges(h);
    for (int t = 0; t < TXNS; t++) {
        if (colour[t] == 0 && has_cycle(h, t, colour)) fail_with("the history has a cycle", seed);
    }
}

static void reset(History *h) {
    const WriteSet *writes;
    bool changed;
    uint64_t deleted;
    Access *access = db_access(h->db);
    db_begin(h->db, &info);
    EXPECT_EQ(access->ops->clear(access, testdef_table(h->db, TEST_ITEM)->table_id, &deleted),
              ABI_OK);
    EXPECT_OK(db_commit(h->db, &writes, &changed));
    memset(h->txns, 0, sizeof h->txns);
    memset(h->edge, 0, sizeof h->edge);
    h->elements = 0;
}

TEST(append, histories_of_overlays_and_head_transactions_have_no_cycle) {
    const char *text = getenv("SEED");
    uint64_t first = text ? strtoull(text, NULL, 10) : 1, last = text ? first : 2000;
    uint64_t torn;
    History *h = MEM_NEW(History);
    EXPECT_OK(sim_new(1, &h->sim));
    testdef_init(&h->def);
    DbOptions options = {.io = sim_io(h->sim), .dir = "db", .in_memory = true};
    EXPECT_OK(db_open(&options, &h->db, &torn, NULL));
    EXPECT_OK(testdef_create(h->db, &h->def));
    for (uint64_t seed = first; seed <= last; seed++) {
        h->random = seed;
        reset(h);
        history_run(h);
        history_check_all(h, seed);
    }
    // The mix is worth something only if both happen often.
    EXPECT(text || (h->conflicts > (last - first) * 4 && h->committed > (last - first) * 16));
    db_close(&h->db);
    testdef_deinit(&h->def);
    sim_free(&h->sim);
    mem_free(h);
}

TEST(append, the_check_knows_a_cycle_from_a_long_way_round) {
    History *h = MEM_NEW(History);
    uint8_t colour[TXNS] = {0};
    for (int t = 0; t + 1 < TXNS; t++) {
        edge(h, t, t + 1);
        edge(h, 0, t + 1);
    }
    EXPECT(!has_cycle(h, 0, colour));
    edge(h, TXNS - 1, TXNS / 2);
    memset(colour, 0, sizeof colour);
    EXPECT(has_cycle(h, 0, colour));
    mem_free(h);
}

TEST_MAIN()
