// What a client holds of a view equals the view run now: after every commit, for everybody.
// `SEED=7 build/…/view_test` repeats a run.
//
// The functions of the "module" are C below, over the same Access that real ones get. What they
// return to a subscriber is compared with what they say when run on the head with nobody watching.
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/test.h"
#include "live/world_testing.h"
#include "schema/def_text.h"
#include "sim/sim.h"
#include "txn/lookout.h"
#include "txn/reader.h"

static const DefText module_text = {
    .types = {"Account: (id: U64, owner: Identity, level: U32)",
              "Mine: (id: U64, level: U32)",
              "Note: (x: U32, y: U32)",
              "Count: (n: U64)"},
    .tables = {{.name = "account",
                .row = 0,
                .primary_key = "0",
                .unique = {"0"},
                .indexes = {{.name = "account_id", .columns = "0"},
                            {.name = "account_owner", .columns = "1"},
                            {.name = "account_level", .columns = "2"}}},
               {.name = "note", .row = 2}},
    .views = {{.name = "mine", .returns = "Array<&1>", .index = 0, .keys = {"id"}},
              {.name = "high", .returns = "Array<&0>", .index = 0, .is_anonymous = true},
              {.name = "first", .returns = "Option<&0>", .index = 1},
              {.name = "built", .returns = "(__query__: &0)", .index = 2},
              {.name = "noted", .returns = "(__query__: &0)", .index = 3}},
};

enum { PEOPLE = 4, IDS = 12, LEVELS = 10, CURSED = 77 };

// ── the world ──────────────────────────────────────────────────────────────────────────────────

typedef struct ViewWorld {
    Sim *sim;
    Db *db;
    ModuleDef *def;
    QueryCatalog door;
    Views *views;
    Live *live;
    uint64_t seed;
    bool wrong;  // `high` returns garbage
} ViewWorld;

static uint64_t rnd(ViewWorld *w, uint64_t below) {
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (w->seed >> 33) % below;
}

static const CatalogTable *door_table(void *ctx, Str name) {
    return catalog_table_by_name(db_catalog(ctx), name);
}

static void door_each(void *ctx, bool (*each)(void *ectx, const CatalogTable *table), void *ectx) {
    const Catalog *catalog = db_catalog(ctx);
    for (uint32_t i = 0; i < catalog_table_count(catalog); i++) {
        const CatalogTable *table = catalog_table_at(catalog, i);
        if (!table->is_system && !each(ectx, table)) return;
    }
}

static void world_init(ViewWorld *w) {
    *w = (ViewWorld){0};
    uint64_t torn;
    Diag diag;
    EXPECT_OK(sim_new(1, &w->sim));
    DbOptions options = {.io = sim_io(w->sim), .dir = "db", .in_memory = true};
    EXPECT_OK(db_open(&options, &w->db, &torn, &diag));
    w->def = def_text(&module_text, 10);
    CatalogModule module = {.program_kind = 1, .program = BYTES("program", 7)};
    const WriteSet *writes;
    bool changed;
    db_begin(w->db, &(CommitInfo){.name = STR("<publish>")});
    EXPECT_OK(catalog_create(db_catalog(w->db), w->def, &module, NULL, NULL, &diag));
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    w->door = (QueryCatalog){.ctx = w->db, .table_by_name = door_table, .each_table = door_each};
    w->door.schema_version = catalog_schema_version(db_catalog(w->db));
    EXPECT_OK(views_open(w->db, &w->door, &w->views));
    EXPECT_OK(live_open(&w->door, w->views, &w->live));
    views_define(w->views, w->def);
    views_set_now(w->views, 1);
}

static void world_deinit(ViewWorld *w) {
    live_close(&w->live);
    views_close(&w->views);
    db_close(&w->db);
    moduledef_free(&w->def);
    sim_free(&w->sim);
}

static Identity person(uint8_t who) {
    return (Identity){.le = {who}};
}

// ── the module ─────────────────────────────────────────────────────────────────────────────────

typedef struct Found {
    Buf rows;
    uint32_t count;
    bool mine;    // id and level only
    bool cursed;  // an account of level CURSED was among them
    bool fatal;   // out of memory
} Found;

static bool found_row(void *ctx, Bytes row) {
    Found *found = ctx;
    found->count++;
    found->cursed |= load_u32(row.ptr + 40) == CURSED;
    if (found->mine) {
        buf_put(&found->rows, row.ptr, 8);
        buf_put(&found->rows, row.ptr + 40, 4);
    } else {
        buf_put_bytes(&found->rows, row);
    }
    return buf_ok(&found->rows);
}

static void scanned(Found *found, AbiErrno status) {
    EXPECT(status == ABI_OK || status == ABI_FATAL);
    found->fatal |= status == ABI_FATAL;
}

static uint32_t index_named(Access *access, const char *name) {
    uint32_t id = 0;
    EXPECT_EQ(access->ops->index_id(access, str_from(name), &id), ABI_OK);
    return id;
}

static void scan_high(Access *access, Found *found) {
    static const uint8_t lower[] = {0, 5, 0, 0, 0}, upper[] = {2};  // included 5, unbounded
    AccessRange range = {.lower = BYTES(lower, 5), .upper = BYTES(upper, 1)};
    RowSink sink = {found_row, found};
    uint32_t index = index_named(access, "account_level");
    scanned(found, access->ops->scan_range(access, index, &range, sink));
}

static void scan_point(Access *access, const char *index, Bytes key, Found *found) {
    RowSink sink = {found_row, found};
    scanned(found, access->ops->scan_point(access, index_named(access, index), key, sink));
}

// Runs a view. False: it failed. *out is its result with the header.
static bool module_run(const ViewWorld *w, const ViewRun *run, Buf *out) {
    Found found = {0};
    const Identity *sender = &run->sender;
    uint64_t id = sender->le[0];
    if (str_eq(run->def->name, STR("built")) || str_eq(run->def->name, STR("noted"))) {
        char hex[IDENTITY_HEX_LEN + 1];
        Buf sql = {0};
        identity_hex(sender, hex);
        if (str_eq(run->def->name, STR("built")))
            buf_printf(&sql, "SELECT * FROM account WHERE owner = 0x%s AND level < 8", hex);
        else
            buf_printf(&sql,
                       "SELECT a.* FROM note n JOIN account a ON n.x = a.level "
                       "WHERE a.owner = 0x%s AND n.y < 2",
                       hex);
        buf_put_u8(out, 1);
        buf_put_lp(out, buf_bytes(&sql));
        buf_deinit(&sql);
        return true;
    }
    found.mine = str_eq(run->def->name, STR("mine"));
    if (found.mine)
        scan_point(run->access, "account_owner", BYTES(sender->le, 32), &found);
    else if (run->def->is_anonymous)
        scan_high(run->access, &found);
    else
        scan_point(run->access, "account_id", BYTES(&id, 8), &found);
    buf_put_u8(out, w->wrong && run->def->is_anonymous ? 7 : 0);
    buf_put_u32(out, found.count);
    buf_put_bytes(out, buf_bytes(&found.rows));
    buf_deinit(&found.rows);
    return !found.cursed && !found.fatal;
}

static void run_views(ViewWorld *w) {
    ViewRun run;
    Buf out = {0};
    Diag diag;
    while (views_next(w->views, &run)) {
        buf_clear(&out);
        if (!module_run(w, &run, &out))
            views_failed(w->views, STR("cursed"));
        else if (views_returned(w->views, buf_bytes(&out), &diag) != OK)
            views_failed(w->views, str_from(diag.text));
    }
    buf_deinit(&out);
}

// ── clients ────────────────────────────────────────────────────────────────────────────────────

enum { VIEW_SETS = 3 };

typedef struct Watcher {
    LiveClient *client;
    QueryCaller caller;
    struct {
        bool live;
        int text;
        Bag rows;
    } sets[VIEW_SETS];
    uint64_t heard, ended;
    char reason[200];
} Watcher;

// What is asked, of which view, and the filter in C.
static const struct {
    const char *sql, *view;
    uint32_t level_min;
} texts[] = {
    {"SELECT * FROM mine", "mine", 0},
    {"SELECT * FROM mine WHERE level >= 4", "mine", 4},
    {"SELECT * FROM high", "high", 0},
    {"SELECT * FROM high WHERE level >= 7", "high", 7},
    {"SELECT * FROM first", "first", 0},
    {"SELECT * FROM built WHERE level >= 2", "built", 2},
    {"SELECT * FROM noted", "noted", 0},
    {"SELECT a.* FROM mine m JOIN account a ON m.id = a.id WHERE m.level >= 3", "own", 3},
    {"SELECT a.* FROM account a LEFT JOIN mine m ON a.id = m.id WHERE m.id IS NULL", "others", 0},
    {"SELECT h.* FROM high h JOIN mine m ON h.id = m.id", "own", 5},
};

static void watcher_open(ViewWorld *w, Watcher *x, uint8_t who) {
    *x = (Watcher){.caller.identity = person(who)};
    EXPECT_OK(live_client_open(w->live, x, &x->caller, &x->client));
}

static void watcher_close(Watcher *x) {
    live_client_close(&x->client);
    for (uint32_t i = 0; i < VIEW_SETS; i++) {
        bag_clear(&x->sets[i].rows);
    }
}

static void watcher_dropped(void *ctx, void *owner, uint32_t set, const char *reason) {
    Watcher *x = owner;
    (void)ctx;
    EXPECT(x->sets[set].live);
    x->sets[set].live = false;
    bag_clear(&x->sets[set].rows);
    x->ended++;
    snprintf(x->reason, sizeof x->reason, "%s", reason);
}

static void view_over(void *ctx, View *view, const char *reason) {
    ViewWorld *w = ctx;
    live_view_ended(w->live, view, reason, watcher_dropped, w);
}

static void tx_begin(ViewWorld *w) {
    db_begin(w->db, &(CommitInfo){.timestamp = 1, .name = STR("test")});
}

// The whole of a commit, as node/commit.c does it.
static void tx_commit(ViewWorld *w) {
    const WriteSet *writes;
    bool changed;
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(views_find_stale(w->views));
    run_views(w);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    views_committed(w->views, view_over, w);
    EXPECT_OK(live_commit(w->live, writes->changes, writes->count, &updates, &count));
    for (size_t i = 0; i < count; i++) {
        Watcher *x = updates[i].owner;
        x->heard++;
        for (uint32_t k = 0; k < updates[i].set_count; k++) {
            const LiveSetDelta *set = &updates[i].sets[k];
            Bag *rows = &x->sets[set->query_set].rows;
            EXPECT(x->sets[set->query_set].live);
            EXPECT(rows_apply(rows, 0, set->delta->inserts, 1));
            EXPECT(rows_apply(rows, 0, set->delta->deletes, -1));
        }
    }
}

static Err watcher_subscribe(ViewWorld *w, Watcher *x, uint32_t set, int text, Diag *diag) {
    Str sql = str_from(texts[text].sql);
    const LiveRows *rows;
    uint32_t count;
    diag_clear(diag);
    Err err = live_subscribe(x->client, set, &sql, 1, &rows, &count, diag);
    if (err == ERR_AGAIN) {
        tx_begin(w);
        tx_commit(w);
        err = live_subscribe(x->client, set, &sql, 1, &rows, &count, diag);
        EXPECT(err != ERR_AGAIN);
    }
    if (err != OK) return err;
    x->sets[set].live = true;
    x->sets[set].text = text;
    for (uint32_t i = 0; i < count; i++) {
        EXPECT(rows_apply(&x->sets[set].rows, 0, rows[i].rows, 1));
    }
    return OK;
}

// ── what it should be ──────────────────────────────────────────────────────────────────────────

static bool is_noted(ViewWorld *w, uint32_t level) {
    const CatalogTable *note = catalog_table_by_name(db_catalog(w->db), STR("note"));
    TableScan scan;
    Bytes row;
    bool found = false;
    table_scan_begin(&scan, note->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row))
        found |= load_u32(row.ptr) == level && load_u32(row.ptr + 4) < 2;
    table_scan_end(&scan);
    return found;
}

// Every account, read without help of any index: what the views say in words.
static bool expected_row(ViewWorld *w,
                         const char *view,
                         const Identity *who,
                         Bytes row,
                         uint32_t level_min) {
    uint32_t level = load_u32(row.ptr + 40);
    bool own = memcmp(row.ptr + 8, who->le, 32) == 0;
    if (level < level_min) return false;
    if (strcmp(view, "mine") == 0 || strcmp(view, "own") == 0) return own;
    if (strcmp(view, "others") == 0) return !own;
    if (strcmp(view, "high") == 0) return level >= 5;
    if (strcmp(view, "first") == 0) return load_u64(row.ptr) == who->le[0];
    if (strcmp(view, "noted") == 0) return own && is_noted(w, level);
    return own && level < 8;
}

static void expect_set(ViewWorld *w, Watcher *x, uint32_t set) {
    const CatalogTable *account = catalog_table_by_name(db_catalog(w->db), STR("account"));
    const char *view = texts[x->sets[set].text].view;
    TableScan scan;
    Bytes row;
    size_t count = 0;
    table_scan_begin(&scan, account->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        if (!expected_row(w, view, &x->caller.identity, row, texts[x->sets[set].text].level_min))
            continue;
        uint8_t mine[12];
        memcpy(mine, row.ptr, 8);
        memcpy(mine + 8, row.ptr + 40, 4);
        if (strcmp(view, "mine") == 0) row = BYTES(mine, 12);
        bool held = false;
        for (size_t i = 0; i < x->sets[set].rows.count; i++) {
            held |= bytes_eq(x->sets[set].rows.entries[i].row, row);
        }
        EXPECT(held);
        count++;
    }
    table_scan_end(&scan);
    EXPECT_EQ(x->sets[set].rows.count, count);
}

static void expect_all_current(ViewWorld *w, Watcher *watchers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t set = 0; set < VIEW_SETS; set++) {
            if (watchers[i].sets[set].live) expect_set(w, &watchers[i], set);
        }
    }
}

// ── transactions ───────────────────────────────────────────────────────────────────────────────

static uint32_t table_named(Access *access, const char *name) {
    uint32_t id = 0;
    EXPECT_EQ(access->ops->table_id(access, str_from(name), &id), ABI_OK);
    return id;
}

static void put_account(ViewWorld *w, uint64_t id, uint8_t owner, uint32_t level) {
    Access *access = db_access(w->db);
    Buf row = {0}, generated = {0};
    uint32_t deleted;
    Identity who = person(owner);
    access->ops->delete_point(access, index_named(access, "account_id"), BYTES(&id, 8), &deleted);
    buf_put_u64(&row, id);
    buf_put(&row, who.le, 32);
    buf_put_u32(&row, level);
    EXPECT_EQ(
        access->ops->insert(access, table_named(access, "account"), buf_bytes(&row), &generated),
        ABI_OK);
    buf_deinit(&row);
    buf_deinit(&generated);
}

static void drop_account(ViewWorld *w, uint64_t id) {
    Access *access = db_access(w->db);
    uint32_t deleted;
    EXPECT_EQ(access->ops->delete_point(access,
                                        index_named(access, "account_id"),
                                        BYTES(&id, 8),
                                        &deleted),
              ABI_OK);
}

static Bytes note_bytes(Buf *row, uint32_t x, uint32_t y) {
    buf_put_u32(row, x);
    buf_put_u32(row, y);
    return buf_bytes(row);
}

static void change_note(ViewWorld *w, uint32_t x, uint32_t y, bool put) {
    const CatalogTable *note = catalog_table_by_name(db_catalog(w->db), STR("note"));
    Buf row = {0};
    Err err = put ? table_insert(note->table, note_bytes(&row, x, y), NULL, NULL)
                  : table_delete_row(note->table, note_bytes(&row, x, y));
    EXPECT(err == OK || err == ERR_NOT_FOUND);
    buf_deinit(&row);
}

static void random_changes(ViewWorld *w, bool cursed) {
    uint64_t count = 1 + rnd(w, 4);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = rnd(w, IDS);
        if (rnd(w, 3) == 0)
            drop_account(w, id);
        else
            put_account(w, id, (uint8_t)rnd(w, PEOPLE), (uint32_t)rnd(w, LEVELS));
    }
    if (rnd(w, 2)) change_note(w, (uint32_t)rnd(w, LEVELS), (uint32_t)rnd(w, 4), rnd(w, 2));
    if (cursed) put_account(w, rnd(w, IDS), (uint8_t)rnd(w, PEOPLE), CURSED);
}

// ── the property ───────────────────────────────────────────────────────────────────────────────

static void random_watching(ViewWorld *w, Watcher *x) {
    uint32_t set = (uint32_t)rnd(w, VIEW_SETS);
    Diag diag;
    if (!x->sets[set].live) {
        Err err = watcher_subscribe(w, x, set, (int)rnd(w, ARRAY_LEN(texts)), &diag);
        if (err == OK) return;
        EXPECT_EQ(err, ERR_MODULE);  // somebody's account is cursed
        EXPECT(strstr(diag.text, "cursed") != NULL);
        return;
    }
    const LiveRows *rows;
    uint32_t count;
    bool want = rnd(w, 2);
    EXPECT_OK(live_unsubscribe(x->client, set, want, &rows, &count, &diag));
    for (uint32_t i = 0; want && i < count; i++) {
        EXPECT(rows_apply(&x->sets[set].rows, 0, rows[i].rows, -1));
        EXPECT_EQ(x->sets[set].rows.count, 0);
    }
    bag_clear(&x->sets[set].rows);
    x->sets[set].live = false;
}

static void property_run(uint64_t seed, uint32_t commits) {
    enum { WATCHERS = 6 };
    static Watcher watchers[WATCHERS];
    ViewWorld w;
    world_init(&w);
    w.seed = seed;
    uint64_t heard = 0, ended = 0;
    for (uint32_t i = 0; i < WATCHERS; i++) {
        watcher_open(&w, &watchers[i], (uint8_t)(i % PEOPLE));
    }
    for (uint32_t n = 0; n < commits; n++) {
        Watcher *x = &watchers[rnd(&w, WATCHERS)];
        if (rnd(&w, 3) == 0) random_watching(&w, x);
        if (rnd(&w, 60) == 0) {
            heard += x->heard;
            ended += x->ended;
            watcher_close(x);
            watcher_open(&w, x, (uint8_t)rnd(&w, PEOPLE));
        }
        tx_begin(&w);
        random_changes(&w, rnd(&w, 40) == 0);
        if (rnd(&w, 10) == 0) {
            // A transaction that is undone, with or without its views having been run.
            EXPECT_OK(views_find_stale(w.views));
            if (rnd(&w, 2)) run_views(&w);
            db_rollback(w.db);
            views_rolled_back(w.views);
        } else {
            tx_commit(&w);
        }
        if (rnd(&w, 50) == 0) {
            views_set_now(w.views, (int64_t)(n + 2) * VIEWS_KEEP_US);
            tx_begin(&w);
            EXPECT_OK(views_expire(w.views));
            tx_commit(&w);
        }
        expect_all_current(&w, watchers, WATCHERS);
    }
    for (uint32_t i = 0; i < WATCHERS; i++) {
        heard += watchers[i].heard;
        ended += watchers[i].ended;
        watcher_close(&watchers[i]);
    }
    ViewsStats stats = views_stats(w.views);
    EXPECT(heard > commits / 4 && ended > 0 && stats.expired > 0);
    EXPECT_EQ(stats.watched, 0);
    world_deinit(&w);
}

TEST(views, what_clients_hold_equals_the_view_run_now_after_every_commit) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 5; i++) {
        property_run(seed + i, 1500);
    }
}

// ── one by one ─────────────────────────────────────────────────────────────────────────────────

static void commit_account(ViewWorld *w, uint64_t id, uint8_t owner, uint32_t level) {
    tx_begin(w);
    put_account(w, id, owner, level);
    tx_commit(w);
}

static void expect_subscribed(ViewWorld *w, Watcher *x, uint32_t set, int text) {
    Diag diag;
    EXPECT_OK(watcher_subscribe(w, x, set, text, &diag));
}

TEST(views, run_for_those_whose_reads_changed_and_for_nobody_else) {
    ViewWorld w;
    Watcher ann, bob;
    world_init(&w);
    watcher_open(&w, &ann, 1);
    watcher_open(&w, &bob, 2);
    expect_subscribed(&w, &ann, 0, 0);  // mine
    expect_subscribed(&w, &bob, 0, 0);
    EXPECT_EQ(views_stats(w.views).runs, 2);
    commit_account(&w, 10, 1, 3);
    EXPECT_EQ(views_stats(w.views).runs, 3);
    EXPECT_EQ(ann.heard, 1);
    EXPECT_EQ(bob.heard, 0);
    commit_account(&w, 11, 3, 3);  // nobody's who is here
    EXPECT_EQ(views_stats(w.views).runs, 3);
    commit_account(&w, 10, 2, 3);  // from one to the other
    EXPECT_EQ(views_stats(w.views).runs, 5);
    EXPECT_EQ(ann.sets[0].rows.count, 0);
    EXPECT_EQ(bob.sets[0].rows.count, 1);
    watcher_close(&ann);
    watcher_close(&bob);
    world_deinit(&w);
}

TEST(views, say_nothing_when_the_result_is_the_same) {
    ViewWorld w;
    Watcher ann;
    world_init(&w);
    watcher_open(&w, &ann, 1);
    expect_subscribed(&w, &ann, 0, 4);  // first: the account with id 1
    commit_account(&w, 1, 2, 3);
    EXPECT_EQ(ann.heard, 1);
    tx_begin(&w);
    drop_account(&w, 1);
    put_account(&w, 1, 2, 3);
    put_account(&w, 2, 2, 3);
    tx_commit(&w);
    EXPECT_EQ(ann.heard, 1);
    watcher_close(&ann);
    world_deinit(&w);
}

TEST(views, of_an_anonymous_kind_are_computed_once_for_all) {
    ViewWorld w;
    Watcher watchers[3];
    world_init(&w);
    for (uint8_t i = 0; i < 3; i++) {
        watcher_open(&w, &watchers[i], i);
        expect_subscribed(&w, &watchers[i], 0, 2);  // high
    }
    EXPECT_EQ(views_stats(w.views).runs, 1);
    commit_account(&w, 1, 2, 9);
    EXPECT_EQ(views_stats(w.views).runs, 2);
    commit_account(&w, 2, 2, 1);  // below what it reads
    EXPECT_EQ(views_stats(w.views).runs, 2);
    for (uint8_t i = 0; i < 3; i++) {
        EXPECT_EQ(watchers[i].heard, 1);
        watcher_close(&watchers[i]);
    }
    world_deinit(&w);
}

TEST(views, that_fail_end_their_subscriptions_and_leave_the_transaction_alone) {
    ViewWorld w;
    Watcher ann, bob;
    Diag diag;
    world_init(&w);
    watcher_open(&w, &ann, 1);
    watcher_open(&w, &bob, 2);
    expect_subscribed(&w, &ann, 0, 0);
    expect_subscribed(&w, &bob, 0, 0);
    commit_account(&w, 1, 1, 2);
    commit_account(&w, 3, 1, CURSED);
    EXPECT_EQ(ann.ended, 1);
    EXPECT(strcmp(ann.reason, "cursed") == 0);
    EXPECT_EQ(ann.heard, 1);  // of the end it is told by the end alone
    EXPECT_EQ(bob.ended, 0);
    // Nothing is left of it, and asking again fails until the cause is gone.
    EXPECT_EQ(table_row_count(catalog_table_by_name(db_catalog(w.db), STR("mine"))->table, NULL),
              0);
    EXPECT_ERR(watcher_subscribe(&w, &ann, 0, 0, &diag), ERR_MODULE);
    EXPECT(strstr(diag.text, "cursed, executing: `SELECT * FROM mine`") != NULL);
    commit_account(&w, 3, 1, 4);
    expect_subscribed(&w, &ann, 0, 0);
    EXPECT_EQ(ann.sets[0].rows.count, 2);
    watcher_close(&ann);
    watcher_close(&bob);
    world_deinit(&w);
}

TEST(views, that_return_what_they_did_not_declare_fail) {
    ViewWorld w;
    Watcher ann;
    Diag diag;
    world_init(&w);
    w.wrong = true;
    watcher_open(&w, &ann, 1);
    EXPECT_ERR(watcher_subscribe(&w, &ann, 0, 2, &diag), ERR_MODULE);
    EXPECT(strstr(diag.text, "view `high` returned something that is not a view's result") != NULL);
    w.wrong = false;
    expect_subscribed(&w, &ann, 0, 2);
    watcher_close(&ann);
    world_deinit(&w);
}

static const char *refusal(ViewWorld *w, ViewRun *run, Bytes returned, Diag *diag) {
    (void)run;
    diag_clear(diag);
    EXPECT(views_returned(w->views, returned, diag) != OK);
    return diag->text;
}

// A run of the view that returns a query, so that any result can be tried on it.
TEST(views, refuse_results_by_name) {  // 128
    ViewWorld w;
    world_init(&w);
    QueryCaller caller = {.identity = person(1)};
    Query *query;
    ViewRun run;
    Diag diag;
    EXPECT_OK(query_compile(STR("SELECT * FROM mine"), QUERY_SQL, &w.door, &caller, &query, &diag));
    EXPECT_ERR(views_check(w.views, query, &diag), ERR_AGAIN);
    tx_begin(&w);
    EXPECT(views_next(w.views, &run));
    static const struct {
        const char *sql, *why;
    } queries[] = {
        {"SELECT * FROM nowhere", "does not compile: no such table: `nowhere`"},
        {"SELECT * FROM account", "returned a query whose rows are not what it declares"},
        {"SELECT * FROM high", "view definition cannot read from other views"},
        {"SELECT * FROM account WHERE owner = :sender", ":sender"},
        {"SELECT a.* FROM account a JOIN note n ON a.level = n.x", "not what it declares"},
        {"SELECT a.* FROM account a JOIN high h ON a.id = h.id", "cannot read from other views"},
        {"SELECT a.* FROM account a JOIN note n ON a.level = n.x WHERE a.owner = :sender",
         ":sender"},
        {"SELECT COUNT(*) AS n FROM account", "not what it declares"},
    };
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        Buf out = {0};
        buf_put_u8(&out, 1);
        buf_put_lp(&out, str_bytes(str_from(queries[i].sql)));
        const char *said = refusal(&w, &run, buf_bytes(&out), &diag);
        if (!strstr(said, queries[i].why)) print_error("%s\n", said);
        EXPECT(strstr(said, queries[i].why) != NULL);
        buf_deinit(&out);
    }
    static const struct {
        const char *hex, *why;
    } results[] = {
        {"", "not a view's result"},
        {"00", "returned no rows, not even none"},
        {"0001000000", "a row that is not what it declares"},
        {"000100000001", "a row that is not what it declares"},
        {"000000000001", "more than its rows"},
        {"0002000000"
         "0100000000000000"
         "01000000"
         "0100000000000000"
         "02000000",
         "two rows with the same primary key"},
        {"02", "not a view's result"},
        {"0100000000ff", "not a view's result"},
    };
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        Buf out = {0};
        size_t len = strlen(results[i].hex) / 2;
        EXPECT(hex_read(str_from(results[i].hex), buf_extend(&out, len)));
        const char *said = refusal(&w, &run, buf_bytes(&out), &diag);
        if (!strstr(said, results[i].why)) print_error("%s\n", said);
        EXPECT(strstr(said, results[i].why) != NULL);
        buf_deinit(&out);
    }
    // And what is right: the same row twice is one row, no text is no row.
    static const uint8_t twice[] = {0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0,
                                    0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    EXPECT_OK(views_returned(w.views, BYTES(twice, sizeof twice), &diag));
    EXPECT_EQ(table_row_count(query->table->table, NULL), 1);
    db_rollback(w.db);
    views_rolled_back(w.views);
    EXPECT_EQ(table_row_count(query->table->table, NULL), 0);
    query_free(&query);
    world_deinit(&w);
}

TEST(views, cannot_write_and_do_not_see_results) {
    ViewWorld w;
    world_init(&w);
    DbReader *reader;
    uint32_t id;
    uint64_t deleted;
    EXPECT_OK(reader_new(w.db, NULL, NULL, &reader));
    Access *access = reader_access(reader);
    EXPECT_EQ(access->ops->table_id(access, STR("mine"), &id), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(access->ops->index_id(access, STR("mine_arg_hash_idx_btree"), &id),
              ABI_NO_SUCH_INDEX);
    id = catalog_table_by_name(db_catalog(w.db), STR("mine"))->table_id;
    EXPECT_EQ(access->ops->row_count(access, id, &deleted), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(access->ops->clear(access, table_named(access, "note"), &deleted),
              ABI_TRANSACTION_IS_READ_ONLY);
    reader_free(&reader);
    world_deinit(&w);
}

// A commit whose views take too long.
static void commit_deferred(ViewWorld *w, uint64_t id, uint8_t owner, uint32_t level) {
    ViewRun run;
    const WriteSet *writes;
    bool changed;
    const LiveUpdate *updates;
    size_t count;
    tx_begin(w);
    put_account(w, id, owner, level);
    EXPECT_OK(views_find_stale(w->views));
    while (views_next(w->views, &run)) {
        views_defer(w->views);
    }
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    views_committed(w->views, view_over, w);
    EXPECT_OK(live_commit(w->live, writes->changes, writes->count, &updates, &count));
    EXPECT_EQ(count, 0);
}

// Run what is late on what it sees now, and let something happen before its result is committed.
static void late_run(ViewWorld *w, uint64_t then_id) {
    ViewLate late;
    Lookout *lookout;
    Buf out = {0};
    Diag diag;
    EXPECT(views_next_late(w->views, &late));
    EXPECT_OK(lookout_new(w->db, &lookout));
    ViewRun run = {.def = late.def, .sender = late.sender, .access = lookout_access(lookout)};
    EXPECT(module_run(w, &run, &out));
    if (then_id) commit_account(w, then_id, 2, 9);
    tx_begin(w);
    EXPECT_OK(views_late_begin(late.view,
                               lookout_reads(lookout),
                               lookout_version(lookout),
                               lookout_fresh(lookout) == OK));
    EXPECT_OK(views_returned(w->views, buf_bytes(&out), &diag));
    tx_commit(w);
    lookout_free(&lookout);
    buf_deinit(&out);
}

TEST(views, that_take_long_follow_their_commits) {
    ViewWorld w;
    Watcher ann, bob;
    ViewLate none;
    Diag diag;
    world_init(&w);
    watcher_open(&w, &ann, 1);
    watcher_open(&w, &bob, 2);
    expect_subscribed(&w, &ann, 0, 2);  // high
    commit_deferred(&w, 1, 2, 9);
    EXPECT_EQ(ann.sets[0].rows.count, 0);
    // Who comes now waits for it; nothing of it is run within the next commits.
    Str sql = str_from(texts[2].sql);
    const LiveRows *rows;
    uint32_t count;
    EXPECT_ERR(live_subscribe(bob.client, 0, &sql, 1, &rows, &count, &diag), ERR_BUSY);
    uint64_t asked = store_stats(db_store(w.db)).version;
    late_run(&w, 2);  // stale as it ends: shown, and run again
    EXPECT_EQ(ann.heard, 1);
    EXPECT_EQ(ann.sets[0].rows.count, 1);
    EXPECT_ERR(live_subscribe(bob.client, 0, &sql, 1, &rows, &count, &diag), ERR_BUSY);
    views_since(w.views, asked);  // it is no older than his question
    EXPECT_OK(live_subscribe(bob.client, 0, &sql, 1, &rows, &count, &diag));
    bob.sets[0].live = true;
    EXPECT(rows_apply(&bob.sets[0].rows, 0, rows[0].rows, 1));
    views_since(w.views, UINT64_MAX);
    late_run(&w, 0);
    EXPECT_EQ(ann.sets[0].rows.count, 2);
    EXPECT_EQ(bob.sets[0].rows.count, 2);
    EXPECT(!views_next_late(w.views, &none));  // it is current
    // It begins beside the loop from now on, until it was quick.
    commit_account(&w, 3, 2, 9);
    EXPECT_EQ(ann.heard, 2);
    late_run(&w, 0);
    EXPECT_EQ(ann.sets[0].rows.count, 3);
    watcher_close(&ann);
    watcher_close(&bob);
    world_deinit(&w);
}

TEST(views, nobody_watches_are_forgotten_after_a_while) {
    ViewWorld w;
    Watcher ann;
    world_init(&w);
    const CatalogTable *mine = catalog_table_by_name(db_catalog(w.db), STR("mine"));
    commit_account(&w, 1, 1, 2);
    watcher_open(&w, &ann, 1);
    expect_subscribed(&w, &ann, 0, 0);
    EXPECT_EQ(views_next_expiry(w.views), INT64_MAX);
    views_set_now(w.views, 1000);
    watcher_close(&ann);
    EXPECT_EQ(views_next_expiry(w.views), 1000 + VIEWS_KEEP_US);
    // Nobody is told of a change, so nothing is run for it, and who asks then gets it fresh.
    uint64_t runs = views_stats(w.views).runs;
    commit_account(&w, 2, 1, 2);
    EXPECT_EQ(views_stats(w.views).runs, runs);
    watcher_open(&w, &ann, 1);
    expect_subscribed(&w, &ann, 0, 0);
    EXPECT_EQ(ann.sets[0].rows.count, 2);
    watcher_close(&ann);
    views_set_now(w.views, 1000 + VIEWS_KEEP_US);
    tx_begin(&w);
    EXPECT_OK(views_expire(w.views));
    tx_commit(&w);
    EXPECT_EQ(table_row_count(mine->table, NULL), 0);
    EXPECT(!views_any(w.views));
    world_deinit(&w);
}

TEST(views, of_a_crowd_that_asked_once_do_not_pile_up) {
    ViewWorld w;
    world_init(&w);
    QueryCaller caller = {0};
    Diag diag;
    for (uint32_t i = 0; i <= VIEWS_KEEP_MAX; i++) {
        Query *query;
        EXPECT(!views_crowded(w.views));
        store_u32(caller.identity.le, i);
        EXPECT_OK(
            query_compile(STR("SELECT * FROM mine"), QUERY_SQL, &w.door, &caller, &query, &diag));
        EXPECT_ERR(views_check(w.views, query, &diag), ERR_AGAIN);
        query_free(&query);
        if (i % 1000 != 0) continue;
        tx_begin(&w);
        tx_commit(&w);
    }
    EXPECT(views_crowded(w.views));
    tx_begin(&w);
    EXPECT_OK(views_expire(w.views));
    tx_commit(&w);
    EXPECT(!views_crowded(w.views));
    world_deinit(&w);
}

TEST(views, without_memory_for_them_change_nothing) {
    for (int64_t n = 0;; n++) {
        ViewWorld w;
        Watcher ann;
        world_init(&w);
        watcher_open(&w, &ann, 1);
        expect_subscribed(&w, &ann, 0, 0);
        commit_account(&w, 1, 1, 2);
        tx_begin(&w);
        put_account(&w, 2, 1, 2);
        ViewRun run;
        Buf out = {0};
        Diag diag;
        mem_fault_arm(n);
        Err err = views_find_stale(w.views);
        bool ran = err == OK && views_next(w.views, &run);
        if (ran && !module_run(&w, &run, &out)) err = ERR_NOMEM;
        if (ran && (!buf_ok(&out) || (err = views_returned(w.views, buf_bytes(&out), &diag)) != OK))
            views_failed(w.views, STR("out of memory"));
        bool done = !mem_fault_hit();
        mem_fault_arm(-1);
        db_rollback(w.db);
        views_rolled_back(w.views);
        // As if it had never been: the next change is noticed, and alone.
        commit_account(&w, 3, 1, 2);
        EXPECT_EQ(ann.ended, 0);
        EXPECT_EQ(ann.sets[0].rows.count, 2);
        buf_deinit(&out);
        watcher_close(&ann);
        world_deinit(&w);
        if (done) break;
    }
}

TEST_MAIN()
