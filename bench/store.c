// bench/store.c: what one row costs in a table of a million, on the head.
//
// Run it as `build/release/bench/store [rows [only]]`; `only` is a word of the lines wanted, for a
// profiler. Each line is the median of several rounds. Point
// reads and updates go to random rows; a transfer is two reads, two updates and a commit.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "store/store.h"

enum { ROUNDS = 9, TABLE_ID = 1, PRIMARY = 10 };

static uint64_t rows = 1000000;
static const char *only = "";

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t random_state = 42;
static uint64_t random_below(uint64_t limit) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % limit;
}

static void must(Err err) {
    if (err == OK) return;
    fprintf(stderr, "store bench: %s\n", err_name(err));
    exit(1);
}

// A row of 32 bytes: id u64, balance i64, two more u64.
typedef struct Account {
    uint8_t bytes[32];
} Account;

static Bytes account(Account *account, uint64_t id, uint64_t balance) {
    store_u64(account->bytes, id);
    store_u64(account->bytes + 8, balance);
    store_u64(account->bytes + 16, id * 3);
    store_u64(account->bytes + 24, id * 7);
    return BYTES(account->bytes, sizeof account->bytes);
}

static Bytes key_of(uint64_t id, uint8_t out[8]) {
    store_u64(out, __builtin_bswap64(id));
    return BYTES(out, 8);
}

static Table *table_make(Store *store, Arena *arena, bool primary) {
    const Type *u64 = type_simple(TYPE_U64);
    TypeField fields[] = {{STR("id"), u64},
                          {STR("balance"), u64},
                          {STR("c"), u64},
                          {STR("d"), u64}};
    const Type *type = type_product(arena, fields, 4);
    static const uint16_t columns[] = {0};
    StoreIndexSpec index = {PRIMARY, columns, 1, true};
    StoreTableSpec spec = {TABLE_ID, type, primary ? 0 : -1, &index, primary};
    Table *table;
    must(type ? OK : ERR_NOMEM);
    store_begin(store);
    must(store_table_create(store, &spec, &table));
    store_commit(store);
    return table;
}

static void fill(Store *store, Table *table, bool scattered) {
    Account room;
    for (uint64_t i = 0; i < rows;) {
        store_begin(store);
        for (int n = 0; n < 1000 && i < rows; n++, i++) {
            uint64_t id = scattered ? i * 0x9e3779b97f4a7c15u : i;
            must(table_insert(table, account(&room, id, 1000), NULL, NULL));
        }
        store_commit(store);
    }
}

static volatile uint64_t sink;

static void read_rows(Store *store, Table *table, uint64_t count) {
    (void)store;
    uint8_t key[8];
    Bytes row;
    for (uint64_t i = 0; i < count; i++) {
        must(table_find(table, NULL, PRIMARY, key_of(random_below(rows), key), &row));
        sink += row.ptr[8];
    }
}

static void update_rows(Store *store, Table *table, uint64_t count) {
    Account room;
    for (uint64_t i = 0; i < count; i++) {
        store_begin(store);
        must(table_replace(table, PRIMARY, account(&room, random_below(rows), i), NULL, NULL));
        store_commit(store);
    }
}

static void transfer(Store *store, Table *table, uint64_t count) {
    Account room;
    uint8_t key[8];
    Bytes row;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t ids[2] = {random_below(rows), random_below(rows)};
        store_begin(store);
        for (int side = 0; side < 2; side++) {
            must(table_find(table, NULL, PRIMARY, key_of(ids[side], key), &row));
            uint64_t balance = load_u64(row.ptr + 8) + (side ? 1u : UINT64_MAX);
            account(&room, ids[side], balance);
            must(table_replace(table, PRIMARY, BYTES(room.bytes, 32), NULL, NULL));
        }
        store_commit(store);
    }
}

static void scan_rows(Store *store, Table *table, uint64_t count) {
    (void)store, (void)count;
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        sink += row.ptr[8];
    }
    table_scan_end(&scan);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *what,
                    void (*run)(Store *, Table *, uint64_t),
                    Store *store,
                    Table *table,
                    uint64_t count) {
    double ns[ROUNDS];
    if (!strstr(what, only)) return;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        run(store, table, count);
        ns[round] = (now_ns() - start) / (double)count;
    }
    qsort(ns, ROUNDS, sizeof ns[0], compare);
    printf("%-34s %8.1f ns\n", what, ns[ROUNDS / 2]);
}

typedef enum FillKind { FILL_ASCENDING, FILL_SCATTERED, FILL_HASHED } FillKind;

static Table *measure_fill(const char *what, FillKind kind, Store **store, Arena *arena) {
    must(store_open(&(StoreOptions){0}, store));
    Table *table = table_make(*store, arena, kind != FILL_HASHED);
    double start = now_ns();
    fill(*store, table, kind == FILL_SCATTERED);
    double ns = (now_ns() - start) / (double)rows;
    double bytes = (double)store_stats(*store).memory_bytes / (double)rows;
    printf("%-34s %8.1f ns  %6.1f bytes a row of 32\n", what, ns, bytes);
    return table;
}

int main(int argc, char **argv) {
    if (argc > 1) rows = strtoull(argv[1], NULL, 10);
    if (argc > 2) only = argv[2];
    Arena arena = {0};
    Store *store;
    printf("%llu rows\n", (unsigned long long)rows);
    if (!*only) {
        measure_fill("insert, scattered keys", FILL_SCATTERED, &store, &arena);
        store_close(&store);
        measure_fill("insert, no primary key", FILL_HASHED, &store, &arena);
        store_close(&store);
    }
    Table *table = measure_fill("insert, ascending keys", FILL_ASCENDING, &store, &arena);
    uint64_t some = rows / 4 + 1;
    measure("point read", read_rows, store, table, some);
    measure("update and commit", update_rows, store, table, some);
    measure("transfer (2 reads, 2 updates)", transfer, store, table, some);
    measure("scan, a row", scan_rows, store, table, rows);
    Snapshot *snapshot;
    must(store_snapshot(store, &snapshot));
    measure("update beside a snapshot", update_rows, store, table, some);
    snapshot_release(&snapshot);
    store_close(&store);
    arena_deinit(&arena);
    return 0;
}
