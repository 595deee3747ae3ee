// peers.h: the same table of accounts in Lightcone's store, in LMDB and in SQLite.
//
// An account is four numbers of 64 bits (id, balance, id * 3, id * 7), found by its id. Each engine is
// used as its own manual says it is fastest with one writer: LMDB with MDB_INTEGERKEY, a map that is
// written to, and one read transaction for many reads; SQLite with prepared statements, a WAL and a
// page cache that holds everything. Without `durable` nothing waits for a disk; with it, a commit
// waits for one.
#pragma once
#include <lmdb.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "bench/figures.h"
#include "store/store.h"
#include "txn/def_testing.h"

typedef struct Peer {
    const char *name;
    void (*open)(const char *dir, bool durable);  // an empty table; dir is empty
    void (*close)(void);
    void (*begin)(void);
    void (*commit)(void);
    void (*flush)(void);  // NULL: a commit is durable by itself, and cannot share that with others
    void (*insert)(uint64_t id, uint64_t balance);
    void (*update)(uint64_t id, uint64_t balance);
    void (*reads_begin)(void);  // around reads outside of a transaction
    void (*reads_end)(void);
    uint64_t (*read)(uint64_t id);  // the balance
    uint64_t (*scan)(void);         // the sum of all balances
    double (*file_bytes)(void);     // what the table takes on disk, once everything is there
} Peer;

static inline void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "store bench: %s\n", what);
    exit(1);
}

static inline void nothing(void) {}

static inline double bytes_of_file(const char *dir, const char *name) {
    char path[600];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return stat(path, &info) == 0 ? (double)info.st_size : 0;
}

enum { ACCOUNT_BYTES = 32 };

static inline Bytes account(uint8_t bytes[ACCOUNT_BYTES], uint64_t id, uint64_t balance) {
    store_u64(bytes, id);
    store_u64(bytes + 8, balance);
    store_u64(bytes + 16, id * 3);
    store_u64(bytes + 24, id * 7);
    return BYTES(bytes, ACCOUNT_BYTES);
}

// ── Lightcone's store, in memory ───────────────────────────────────────────────────────────────

enum { TABLE_ID = 1, PRIMARY = 10 };
static Store *lc_store;
static Table *lc_table;
static Arena lc_arena;
static bool lc_hashed;  // no primary key

static void lc_open(const char *dir, bool durable) {
    (void)dir;
    must(!durable, "the store alone is not durable");
    const Type *u64 = type_simple(TYPE_U64);
    TypeField fields[] = {{STR("id"), u64},
                          {STR("balance"), u64},
                          {STR("c"), u64},
                          {STR("d"), u64}};
    const Type *type = type_product(&lc_arena, fields, 4);
    static const uint16_t columns[] = {0};
    StoreIndexSpec index = {PRIMARY, columns, 1, true};
    StoreTableSpec spec = {TABLE_ID, type, lc_hashed ? -1 : 0, &index, !lc_hashed};
    must(store_open(&(StoreOptions){0}, &lc_store) == OK, "store_open");
    store_begin(lc_store);
    must(store_table_create(lc_store, &spec, &lc_table) == OK, "store_table_create");
    store_commit(lc_store);
}

static void lc_close(void) {
    store_close(&lc_store);
    arena_deinit(&lc_arena);
}

static void lc_begin(void) {
    store_begin(lc_store);
}

static void lc_commit(void) {
    store_commit(lc_store);
}

static void lc_insert(uint64_t id, uint64_t balance) {
    uint8_t row[ACCOUNT_BYTES];
    must(table_insert(lc_table, account(row, id, balance), NULL, NULL) == OK, "table_insert");
}

static void lc_update(uint64_t id, uint64_t balance) {
    uint8_t row[ACCOUNT_BYTES];
    Bytes bytes = account(row, id, balance);
    must(table_replace(lc_table, PRIMARY, bytes, NULL, NULL) == OK, "table_replace");
}

static uint64_t lc_read(uint64_t id) {
    uint8_t key[8];
    Bytes row;
    store_u64(key, __builtin_bswap64(id));
    must(table_find(lc_table, NULL, PRIMARY, BYTES(key, 8), &row) == OK, "table_find");
    return load_u64(row.ptr + 8);
}

static uint64_t lc_scan(void) {
    TableScan scan;
    Bytes row;
    uint64_t sum = 0;
    table_scan_begin(&scan, lc_table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        sum += load_u64(row.ptr + 8);
    }
    table_scan_end(&scan);
    return sum;
}

static double lc_file_bytes(void) {
    return (double)store_stats(lc_store).memory_bytes;  // pages are the same on disk
}

static const Peer lightcone = {
    .name = "Lightcone",
    .open = lc_open,
    .close = lc_close,
    .begin = lc_begin,
    .commit = lc_commit,
    .flush = nothing,
    .insert = lc_insert,
    .update = lc_update,
    .reads_begin = nothing,
    .reads_end = nothing,
    .read = lc_read,
    .scan = lc_scan,
    .file_bytes = lc_file_bytes,
};

// ── a database of Lightcone, with its log: rows of `timer` (id, at), 17 bytes ──────────────────

static Db *db;
static TestDef db_def;

static void db_make(const char *dir, bool durable) {
    char log_dir[600], page_file[600];
    Diag diag = {0};
    must(durable, "a database is durable");
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    snprintf(page_file, sizeof page_file, "%s/pages", dir);
    DbOptions options = {.io = io_real(), .dir = log_dir, .page_file = page_file};
    must(db_open(&options, &db, NULL, &diag) == OK, diag.text);
    testdef_init(&db_def);
    must(testdef_create(db, &db_def) == OK, "testdef_create");
}

static void db_end(void) {
    db_close(&db);
    testdef_deinit(&db_def);
}

static void db_start(void) {
    db_begin(db, &(CommitInfo){.timestamp = 1, .name = STR("bench")});
}

static void db_finish(void) {
    const WriteSet *writes;
    bool changed;
    must(db_commit(db, &writes, &changed) == OK, "db_commit");
}

static void db_sync(void) {
    must(db_flush(db, NULL) == OK, "db_flush");
    db_checkpoint_tick(db);
}

static Bytes timer_row(uint8_t row[17], uint64_t id, uint64_t at) {
    store_u64(row, id);
    row[8] = 1;
    store_u64(row + 9, at);
    return BYTES(row, 17);
}

static void db_insert(uint64_t id, uint64_t balance) {
    uint8_t row[17];
    Table *table = testdef_table(db, TEST_TIMER)->table;
    must(table_insert(table, timer_row(row, id, balance), NULL, NULL) == OK, "table_insert");
}

static void db_update(uint64_t id, uint64_t balance) {
    uint8_t row[17];
    Table *table = testdef_table(db, TEST_TIMER)->table;
    Bytes bytes = timer_row(row, id, balance);
    must(table_replace(table, TABLE_ROWS, bytes, NULL, NULL) == OK, "table_replace");
}

static const Peer lightcone_db = {
    .name = "Lightcone",
    .open = db_make,
    .close = db_end,
    .begin = db_start,
    .commit = db_finish,
    .flush = db_sync,
    .insert = db_insert,
    .update = db_update,
};

// ── LMDB ───────────────────────────────────────────────────────────────────────────────────────

static MDB_env *lm_env;
static MDB_dbi lm_dbi;
static MDB_txn *lm_txn;
static char lm_dir[512];

static void lm_begin_as(unsigned flags) {
    must(mdb_txn_begin(lm_env, NULL, flags, &lm_txn) == 0, "mdb_txn_begin");
}

static void lm_begin(void) {
    lm_begin_as(0);
}

static void lm_commit(void) {
    must(mdb_txn_commit(lm_txn) == 0, "mdb_txn_commit");
    lm_txn = NULL;
}

static void lm_open(const char *dir, bool durable) {
    snprintf(lm_dir, sizeof lm_dir, "%s", dir);
    unsigned flags = durable ? 0 : MDB_NOSYNC | MDB_WRITEMAP;
    must(mdb_env_create(&lm_env) == 0, "mdb_env_create");
    must(mdb_env_set_mapsize(lm_env, (size_t)16 << 30) == 0, "mdb_env_set_mapsize");
    must(mdb_env_open(lm_env, dir, flags, 0644) == 0, "mdb_env_open");
    lm_begin();
    must(mdb_dbi_open(lm_txn, NULL, MDB_INTEGERKEY | MDB_CREATE, &lm_dbi) == 0, "mdb_dbi_open");
    lm_commit();
}

static void lm_close(void) {
    mdb_env_close(lm_env);
}

static void lm_put(uint64_t id, uint64_t balance) {
    uint64_t value[3] = {balance, id * 3, id * 7};
    MDB_val key = {sizeof id, &id}, data = {sizeof value, value};
    must(mdb_put(lm_txn, lm_dbi, &key, &data, 0) == 0, "mdb_put");
}

static void lm_reads_begin(void) {
    lm_begin_as(MDB_RDONLY);
}

static void lm_reads_end(void) {
    mdb_txn_abort(lm_txn);
}

static uint64_t lm_read(uint64_t id) {
    MDB_val key = {sizeof id, &id}, data;
    must(mdb_get(lm_txn, lm_dbi, &key, &data) == 0, "mdb_get");
    return load_u64(data.mv_data);
}

static uint64_t lm_scan(void) {
    MDB_cursor *cursor;
    MDB_val key, data;
    uint64_t sum = 0;
    lm_reads_begin();
    must(mdb_cursor_open(lm_txn, lm_dbi, &cursor) == 0, "mdb_cursor_open");
    while (mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == 0) {
        sum += load_u64(data.mv_data);
    }
    mdb_cursor_close(cursor);
    lm_reads_end();
    return sum;
}

static double lm_file_bytes(void) {
    MDB_stat stat;
    lm_reads_begin();
    must(mdb_stat(lm_txn, lm_dbi, &stat) == 0, "mdb_stat");
    lm_reads_end();
    size_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    return (double)(pages * stat.ms_psize);
}

static const Peer lmdb = {
    .name = "LMDB",
    .open = lm_open,
    .close = lm_close,
    .begin = lm_begin,
    .commit = lm_commit,
    .insert = lm_put,
    .update = lm_put,
    .reads_begin = lm_reads_begin,
    .reads_end = lm_reads_end,
    .read = lm_read,
    .scan = lm_scan,
    .file_bytes = lm_file_bytes,
};

// ── SQLite ─────────────────────────────────────────────────────────────────────────────────────

static sqlite3 *sq;
static sqlite3_stmt *sq_insert_row, *sq_update_row, *sq_read_row, *sq_scan_rows;
static char sq_dir[512];

static void sq_run(const char *sql) {
    must(sqlite3_exec(sq, sql, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(sq));
}

static sqlite3_stmt *sq_prepare(const char *sql) {
    sqlite3_stmt *statement;
    bool ok = sqlite3_prepare_v3(sq, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) == 0;
    must(ok, sqlite3_errmsg(sq));
    return statement;
}

static void sq_open(const char *dir, bool durable) {
    char path[600];
    snprintf(sq_dir, sizeof sq_dir, "%s", dir);
    snprintf(path, sizeof path, "%s/accounts.db", dir);
    must(sqlite3_open(path, &sq) == SQLITE_OK, "sqlite3_open");
    sq_run("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA cache_size = -4000000;"
           "PRAGMA locking_mode = EXCLUSIVE");
    sq_run(durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF");
    sq_run("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, c INTEGER, d INTEGER)");
    sq_insert_row = sq_prepare("INSERT INTO account VALUES (?1, ?2, ?1 * 3, ?1 * 7)");
    sq_update_row = sq_prepare("UPDATE account SET balance = ?2 WHERE id = ?1");
    sq_read_row = sq_prepare("SELECT balance FROM account WHERE id = ?1");
    sq_scan_rows = sq_prepare("SELECT balance FROM account");
}

static void sq_close(void) {
    sqlite3_stmt *all[] = {sq_insert_row, sq_update_row, sq_read_row, sq_scan_rows};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        sqlite3_finalize(all[i]);
    }
    sqlite3_close(sq);
}

static void sq_begin(void) {
    sq_run("BEGIN");
}

static void sq_commit(void) {
    sq_run("COMMIT");
}

static void sq_change(sqlite3_stmt *statement, uint64_t id, uint64_t balance) {
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)id);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)balance);
    must(sqlite3_step(statement) == SQLITE_DONE, sqlite3_errmsg(sq));
    sqlite3_reset(statement);
}

static void sq_insert(uint64_t id, uint64_t balance) {
    sq_change(sq_insert_row, id, balance);
}

static void sq_update(uint64_t id, uint64_t balance) {
    sq_change(sq_update_row, id, balance);
}

static uint64_t sq_read(uint64_t id) {
    sqlite3_bind_int64(sq_read_row, 1, (sqlite3_int64)id);
    must(sqlite3_step(sq_read_row) == SQLITE_ROW, sqlite3_errmsg(sq));
    uint64_t balance = (uint64_t)sqlite3_column_int64(sq_read_row, 0);
    sqlite3_reset(sq_read_row);
    return balance;
}

static uint64_t sq_scan(void) {
    uint64_t sum = 0;
    while (sqlite3_step(sq_scan_rows) == SQLITE_ROW) {
        sum += (uint64_t)sqlite3_column_int64(sq_scan_rows, 0);
    }
    sqlite3_reset(sq_scan_rows);
    return sum;
}

static double sq_file_bytes(void) {
    sq_run("PRAGMA wal_checkpoint(TRUNCATE)");
    return bytes_of_file(sq_dir, "accounts.db");
}

static const Peer sqlite = {
    .name = "SQLite",
    .open = sq_open,
    .close = sq_close,
    .begin = sq_begin,
    .commit = sq_commit,
    .insert = sq_insert,
    .update = sq_update,
    .reads_begin = sq_begin,
    .reads_end = sq_commit,
    .read = sq_read,
    .scan = sq_scan,
    .file_bytes = sq_file_bytes,
};
