// bench/live.c: what subscriptions cost a commit, and what they take.
//
//   live [--json] [rows]      1 M rows in the largest table
//
// One commit of one row with 1, 1,000, 100,000 and 1,000,000 subscriptions with a parameter of their own,
// of which one matches (promise P5: at most 1.2 times from first to last): of one table, and of a join
// whose parameter is asked of the other table. The same up to 100,000 for less simple predicates, with
// what was looked at for each commit: groups tested and ranges compared, which no noise changes. Joins of
// two and three tables for each changed row, with a hub beside it. The first rows of a large table.
//
// Bytes a subscription, each kind in a process of its own that has done nothing before: what the allocator
// gave out for it, and by how much the process grew.
//
// A figure is the median of rounds; what a commit costs is the time of live_commit alone, because the
// store's part is the same for all.
#include <getopt.h>
#include <mimalloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/figures.h"
#include "live/live.h"
#include "query/fake_testing.h"

enum { ROUNDS = 9, COMMITS = 2000, HUB = 100000 };

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "live bench: %s\n", what);
    exit(1);
}

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    Live *live;
    CatalogTable *item, *owner, *region;
} World;

// item(id, owner, n) -> owner(id, who, region) -> region(id, name)
static void world_open(World *w) {
    const Type *u64 = type_simple(TYPE_U64);
    w->fake = fake_new();
    must(store_open(&(StoreOptions){0}, &w->store) == OK, "store");
    w->item =
        FAKE_TABLE(w->fake, "item", {"id", u64, NULL}, {"owner", u64, NULL}, {"n", u64, NULL});
    w->owner =
        FAKE_TABLE(w->fake, "owner", {"id", u64, NULL}, {"who", u64, NULL}, {"region", u64, NULL});
    w->region = FAKE_TABLE(w->fake, "region", {"id", u64, NULL}, {"name", u64, NULL});
    store_begin(w->store);
    fake_store_table(w->item, w->store, 0, (const char *const[]){"1"}, 1);
    fake_store_table(w->owner, w->store, 0, (const char *const[]){"1", "2"}, 2);
    fake_store_table(w->region, w->store, 0, (const char *const[]){"1"}, 1);
    store_commit(w->store);
    must(live_open(&w->fake->door, NULL, &w->live) == OK, "live");
}

static void world_close(World *w) {
    live_close(&w->live);
    store_close(&w->store);
    fake_free(&w->fake);
}

static Bytes row_of(uint64_t into[3], uint64_t a, uint64_t b, uint64_t c) {
    into[0] = a;
    into[1] = b;
    into[2] = c;
    return BYTES(into, 24);
}

static void fill(World *w, const CatalogTable *table, uint64_t count, uint64_t per) {
    uint64_t row[3];
    for (uint64_t i = 0; i < count;) {
        store_begin(w->store);
        for (uint64_t n = 0; n < 10000 && i < count; n++, i++) {
            Bytes bytes = row_of(row, i, i / per, i % 10);
            if (table == w->region) bytes.len = 16;
            must(table_insert(table->table, bytes, NULL, NULL) == OK, "insert");
        }
        store_commit(w->store);
    }
}

// Give one row of a table another third column, and tell everybody. The time of telling, in ns.
static double change(World *w,
                     const CatalogTable *table,
                     uint64_t id,
                     uint64_t link,
                     uint64_t n,
                     size_t *heard) {
    uint64_t old[3], new[3];
    const LiveUpdate *updates;
    LiveChange c = {.table = table->table, .table_id = table->table_id};
    uint32_t index = table_index_at(table->table, 0).index_id;
    Buf key = {0};
    c.old_row = row_of(old, id, link, n);
    c.new_row = row_of(new, id, link, n + 1);
    key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
    c.key = buf_bytes(&key);
    store_begin(w->store);
    must(table_replace(table->table, index, c.new_row, NULL, NULL) == OK, "replace");
    store_commit(w->store);
    double began = now_ns();
    must(live_commit(w->live, &c, 1, &updates, heard) == OK, "commit");
    double took = now_ns() - began;
    store_begin(w->store);
    must(table_replace(table->table, index, c.old_row, NULL, NULL) == OK, "replace");
    store_commit(w->store);
    buf_deinit(&key);
    return took;
}

static LiveClient *client_of(World *w) {
    LiveClient *client;
    QueryCaller caller = {.is_owner = true};
    must(live_client_open(w->live, w, &caller, &client) == OK, "client");
    return client;
}

static void subscribe(LiveClient *client, uint32_t set, const char *text) {
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Str sql = str_from(text);
    if (live_subscribe(client, set, &sql, 1, &rows, &count, &diag) == OK) return;
    fprintf(stderr, "%s\n", diag.text);
    exit(1);
}

static double resident_bytes(void) {
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    must(f && fscanf(f, "%lu %lu", &pages, &resident) == 2, "/proc/self/statm");
    fclose(f);
    return (double)resident * 4096;
}

static bool add_area(const mi_heap_t *heap,
                     const mi_heap_area_t *area,
                     void *block,
                     size_t block_bytes,
                     void *sum) {
    (void)heap;
    (void)block;
    (void)block_bytes;
    *(double *)sum += (double)area->used * (double)area->block_size;
    return true;
}

// Blocks that are in use, at the size that they were rounded up to.
static double allocated_bytes(void) {
    double sum = 0;
    must(mi_heap_visit_blocks(mi_heap_get_default(), false, add_area, &sum), "the heap");
    return sum;
}

// ── one of many ────────────────────────────────────────────────────────────────────────────────

static double commit_cost(World *w,
                          const CatalogTable *table,
                          uint64_t id,
                          uint64_t link,
                          size_t want) {
    double rounds[ROUNDS];
    size_t heard = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double total = 0;
        for (int i = 0; i < COMMITS; i++)
            total += change(w, table, id, link, id % 10, &heard);
        rounds[r] = total / COMMITS;
    }
    must(heard == want, "another number of clients heard of it");
    return median(rounds, ROUNDS);
}

// `form` may name %1$u, which is the number of the subscription, %2$u, 7 more, and %3$u, far more. The row
// with id 7 and link 0 matches that of number 0 alone.
static double subscribe_many(World *w, const char *form, size_t count) {
    enum { PER_CLIENT = 4096 };
    LiveClient *client = NULL;
    char text[300];
    double began = now_ns();
    for (size_t i = 0; i < count; i++) {
        unsigned n = (unsigned)i;
        if (i % PER_CLIENT == 0) client = client_of(w);
        snprintf(text, sizeof text, form, n, n + 7, n + 1000000000);
        subscribe(client, (uint32_t)(i % PER_CLIENT), text);
    }
    return (now_ns() - began) / (double)count;
}

static void world_fill(World *w) {
    world_open(w);
    fill(w, w->region, 10, 1);
    fill(w, w->owner, 1000, 100);
    fill(w, w->item, 10000, 10);
}

static uint64_t looked_at(const World *w) {
    LiveStats stats = live_stats(w->live);
    return stats.groups_tested + stats.ranges_seen;
}

static void one_of_many(const char *name, const char *form, size_t largest) {
    double first = 0;
    for (size_t count = 1; count <= largest; count *= count == 1      ? 1000
                                                      : count == 1000 ? 100
                                                                      : 10) {
        World w;
        world_fill(&w);
        double took = subscribe_many(&w, form, count);
        uint64_t before = looked_at(&w);
        double cost = commit_cost(&w, w.item, 7, 0, 1);
        double seen = (double)(looked_at(&w) - before) / (ROUNDS * COMMITS);
        if (count == 1) first = cost;
        figure(cost, "ns", "%s: a commit, one of %zu matches", name, count);
        figure(seen, "", "%s: looked at for it", name);
        if (count > 1 && count * 10 > largest) {
            figure(cost / first, "x", "%s: of %zu / of one", name, count);
            figure(took / 1000, "us", "%s: to subscribe", name);
        }
        world_close(&w);
    }
}

// Promise P5 beyond the simplest queries.
static void one_of_many_others(void) {
    static const struct {
        const char *name, *form;
        size_t largest;
    } kinds[] = {
        {"a range beside an equality", "SELECT * FROM item WHERE owner = 0 AND id >= %2$u", 100000},
        {"IN", "SELECT * FROM item WHERE id IN (%2$u, %3$u)", 100000},
        {"OR", "SELECT * FROM item WHERE id = %2$u OR (n = %3$u AND owner < 5)", 100000},
        {"a join by a range",
         "SELECT item.* FROM item JOIN owner ON item.owner = owner.id WHERE owner.who >= %1$u",
         100000},
        {"a join by IN",
         "SELECT item.* FROM item JOIN owner ON item.owner = owner.id "
         "WHERE owner.who IN (%1$u, %3$u) AND owner.id < 1",
         100000},
        // These are linear: nothing says which columns' values matter.
        {"nothing to go by", "SELECT * FROM item WHERE (id < %2$u) <> (owner < 5)", 1000},
        {"a join, nothing to go by",
         "SELECT item.* FROM item JOIN owner ON item.owner = owner.id "
         "WHERE (owner.who < %1$u) = (owner.id < 0) AND (item.id < %2$u) <> (item.n < 50)",
         1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        one_of_many(kinds[i].name, kinds[i].form, kinds[i].largest);
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

typedef struct Taken {
    double allocated, resident;  // bytes a subscription
} Taken;

static Taken memory_taken(const char *form, size_t count) {
    World w;
    world_fill(&w);
    Taken before = {allocated_bytes(), resident_bytes()};
    (void)subscribe_many(&w, form, count);
    mi_collect(true);
    Taken taken = {(allocated_bytes() - before.allocated) / (double)count,
                   (resident_bytes() - before.resident) / (double)count};
    world_close(&w);
    return taken;
}

static void memory(const char *name, const char *form, size_t count) {
    int ends[2];
    Taken taken;
    fflush(stdout);
    must(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        taken = memory_taken(form, count);
        _exit(write(ends[1], &taken, sizeof taken) == sizeof taken ? 0 : 1);
    }
    must(read(ends[0], &taken, sizeof taken) == sizeof taken, "a child that measures memory");
    must(waitpid(child, NULL, 0) == child, "waitpid");
    close(ends[0]);
    close(ends[1]);
    figure(taken.allocated, "bytes", "%s: of %zu, each takes of the heap", name, count);
    figure(taken.resident, "bytes", "%s: of %zu, each makes the process larger by", name, count);
}

// ── a changed row of a join ────────────────────────────────────────────────────────────────────

static void joins(void) {
    static const struct {
        const char *name, *text;
    } queries[] = {
        {"two tables",
         "SELECT item.* FROM item JOIN owner ON item.owner = owner.id WHERE owner.who = 0"},
        {"three tables",
         "SELECT item.* FROM item JOIN owner ON item.owner = owner.id JOIN region ON owner.region = region.id WHERE region.name = 0"},
        {"two tables, groups",
         "SELECT owner.who, COUNT(*) AS n, SUM(item.n) AS total FROM item JOIN owner ON item.owner = owner.id GROUP BY owner.who"},
    };
    for (size_t q = 0; q < ARRAY_LEN(queries); q++) {
        World w;
        world_open(&w);
        fill(&w, w.region, 10, 1);
        fill(&w, w.owner, 1000, 100);
        fill(&w, w.item, 100000, 100);
        subscribe(client_of(&w), 1, queries[q].text);
        figure(commit_cost(&w, w.item, 7, 0, 1),
               "ns",
               "a join of %s: a changed row",
               queries[q].name);
        world_close(&w);
    }
}

// Rows with one partner among 100,000: what changes among the partners changes nothing for them.
static void hub(void) {
    World w;
    world_open(&w);
    fill(&w, w.region, 10, 1);
    fill(&w, w.owner, 10, 1);
    fill(&w, w.item, HUB, HUB / 2);
    subscribe(client_of(&w),
              1,
              "SELECT owner.* FROM owner JOIN item ON owner.id = item.owner WHERE item.n < 100");
    figure(commit_cost(&w, w.item, 7, 0, 0),
           "ns",
           "a hub of %d partners: one of them changes",
           HUB / 2);
    world_close(&w);
}

// ── first rows ─────────────────────────────────────────────────────────────────────────────────

static void first_rows(uint64_t count) {
    World w;
    double rounds[ROUNDS];
    world_open(&w);
    fill(&w, w.item, count, 10);
    for (int r = 0; r < ROUNDS; r++) {
        const LiveRows *rows;
        uint32_t answers;
        Diag diag;
        Str sql = STR("SELECT * FROM item");
        LiveClient *client = client_of(&w);
        double began = now_ns();
        must(live_subscribe(client, 1, &sql, 1, &rows, &answers, &diag) == OK, "subscribe");
        rounds[r] = (double)rows[0].rows.len / ((now_ns() - began) / 1e9) / 1e6;
        live_client_close(&client);
    }
    figure(median(rounds, ROUNDS),
           "MB/s",
           "the first rows of a table of %llu",
           (unsigned long long)count);
    world_close(&w);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o != 'j') return 2;
        figures_json = true;
    }
    uint64_t rows = optind < argc ? strtoull(argv[optind], NULL, 10) : 1000000;
    static const struct {
        const char *name, *form;
    } kinds[] = {
        {"WHERE id =", "SELECT * FROM item WHERE owner = %1$u"},
        {"a range", "SELECT * FROM item WHERE owner >= %1$u AND owner <= %1$u AND n < 100"},
        {"a join",
         "SELECT item.* FROM item JOIN owner ON item.owner = owner.id WHERE owner.who = %1$u AND owner.id < 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)  // before this process is large itself
        memory(kinds[i].name, kinds[i].form, rows);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        one_of_many(kinds[i].name, kinds[i].form, rows);
    one_of_many_others();
    joins();
    hub();
    first_rows(rows);
    figures_end();
    return 0;
}
