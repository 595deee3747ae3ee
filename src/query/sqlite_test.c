// Random tables, random queries, and SQLite beside us: for the SQL that both know, the same rows.
//
// Values that both hold exactly, and nothing that SQLite would bend into another type. Option columns are
// its NULLs, which is also what a LEFT JOIN that finds nothing gives.
#include <sqlite3.h>

#include "base/mem.h"
#include "base/test.h"
#include "query/fake_testing.h"
#include "query/statement.h"

enum { TABLES = 3, ROUNDS = 200, QUERIES = 40, ROWS = 14, TEXT_MAX = 4096, OUT_MAX = 8 };

static uint64_t seed;
static uint32_t below(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    sqlite3 *lite;
} World;

static const char *const words[] = {"", "a", "ab", "b", "B", "c'd"};

// ── the same rows on both sides ────────────────────────────────────────────────────────────────

static void lite_do(World *w, const char *sql) {
    char *why = NULL;
    if (sqlite3_exec(w->lite, sql, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s: %s", sql, why);
}

static void add_row(World *w, int which, uint32_t id) {
    char sql[512], option[32] = "NULL";
    int a = (int)below(5) - 2, b = (int)below(4), o = (int)below(3);
    double f = (double)below(6) / 2 - 1;
    const char *s = words[below(ARRAY_LEN(words))];
    bool c = below(2), has = below(3) > 0;
    Buf row = {0};
    buf_put_u32(&row, id);
    buf_put_u32(&row, (uint32_t)a);
    buf_put_u32(&row, (uint32_t)b);
    buf_put_lp(&row, str_bytes(str_from(s)));
    buf_put(&row, &f, 8);
    buf_put_u8(&row, c);
    buf_put_u8(&row, !has);
    if (has) buf_put_u32(&row, (uint32_t)o);
    EXPECT_OK(table_insert(w->fake->tables[which]->table, buf_bytes(&row), NULL, NULL));
    buf_deinit(&row);
    if (has) snprintf(option, sizeof option, "%d", o);
    char *text = sqlite3_mprintf("%Q", s);
    snprintf(sql,
             sizeof sql,
             "INSERT INTO t%d VALUES (%u, %d, %d, %s, %f, %d, %s)",
             which,
             id,
             a,
             b,
             text,
             f,
             c,
             option);
    sqlite3_free(text);
    lite_do(w, sql);
}

static void make_table(World *w, int which) {
    static const char *const shapes[][3] = {{"1", "21", "34"},
                                            {"12", "3", "4"},
                                            {"4", "21", "5"},
                                            {"2", "1", "32"}};
    static const char *const names[] = {"t0", "t1", "t2"};
    char sql[256];
    CatalogTable *table =
        FAKE_TABLE(w->fake,
                   names[which],
                   {"id", type_simple(TYPE_U32), NULL},
                   {"a", type_simple(TYPE_I32), NULL},
                   {"b", type_simple(TYPE_I32), NULL},
                   {"s", type_simple(TYPE_STRING), NULL},
                   {"f", type_simple(TYPE_F64), NULL},
                   {"c", type_simple(TYPE_BOOL), NULL},
                   {"o", type_option(&w->fake->arena, type_simple(TYPE_I32)), NULL});
    fake_store_table(table, w->store, below(2) ? 0 : -1, shapes[below(4)], below(4));
    snprintf(sql, sizeof sql, "CREATE TABLE t%d (id, a, b, s, f, c, o)", which);
    lite_do(w, sql);
    uint32_t rows = below(6) == 0 ? 0 : below(ROWS);
    for (uint32_t i = 0; i < rows; i++)
        add_row(w, which, i);
}

static void world_open(World *w) {
    *w = (World){.fake = fake_new()};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w->store));
    EXPECT(sqlite3_open(":memory:", &w->lite) == SQLITE_OK);
    store_begin(w->store);
    for (int i = 0; i < TABLES; i++)
        make_table(w, i);
}

static void world_close(World *w) {
    sqlite3_close(w->lite);
    store_close(&w->store);
    fake_free(&w->fake);
}

// ── queries ────────────────────────────────────────────────────────────────────────────────────

typedef struct Maker {
    Buf sql;
    uint32_t relations;
    uint32_t tables[4];
} Maker;

static void put(Maker *m, const char *text) {
    buf_put_str(&m->sql, str_from(text));
}

static void put_column(Maker *m, const char *name) {
    buf_printf(&m->sql, "r%u.%s", below(m->relations), name);
}

static void put_leaf(Maker *m) {
    static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">=", "=", "="};
    static const char *const numbers[] = {"id", "a", "b"};
    const char *op = ops[below(ARRAY_LEN(ops))];
    switch (below(12)) {
    case 0:
        put_column(m, "s");
        buf_printf(&m->sql, " %s ", op);
        put_column(m, "s");
        return;
    case 1:
        put_column(m, "s");
        buf_printf(&m->sql, " %s 'a'", op);
        return;
    case 2:
        put_column(m, "f");
        buf_printf(&m->sql, " %s %d.5", op, (int)below(3) - 1);
        return;
    case 3: put_column(m, "c"); return;
    case 4:
        put_column(m, "o");
        put(m, below(2) ? " IS NULL" : " IS NOT NULL");
        return;
    case 5:
        put_column(m, "id");
        put(m, below(2) ? " IS NULL" : " IS NOT NULL");
        return;
    case 6:
        put_column(m, "a");
        put(m, below(2) ? " IN (1, -1, 2)" : " NOT IN (0, 1)");
        return;
    case 7:
        put_column(m, "b");
        put(m, below(2) ? " BETWEEN 1 AND 2" : " NOT BETWEEN 2 AND 3");
        return;
    case 8:
        put_column(m, "a");
        buf_printf(&m->sql, " %s ", op);
        put_column(m, "b");
        return;
    case 9:
        put_column(m, "id");
        put(m, " = ");
        put_column(m, "id");
        return;
    default: put_column(m, numbers[below(3)]); buf_printf(&m->sql, " %s %u", op, below(5));
    }
}

static void put_predicate(Maker *m, uint32_t depth) {
    uint32_t form = depth == 0 ? 0 : below(7);
    if (form <= 2) {
        put_leaf(m);
        return;
    }
    put(m, form == 5 ? "NOT (" : "(");
    put_predicate(m, depth - 1);
    put(m, form == 3 ? ") OR (" : form == 6 && below(3) == 0 ? ") = (" : ") AND (");
    put_predicate(m, depth - 1);
    put(m, ")");
}

static void put_from(Maker *m) {
    uint32_t most = 1 + below(3);
    for (m->relations = 0; m->relations < most;) {
        bool left = below(3) == 0;
        uint32_t r = m->relations++;
        if (r > 0) put(m, left ? " LEFT JOIN " : " JOIN ");
        buf_printf(&m->sql, "t%u AS r%u", below(TABLES), r);
        if (r == 0 || (!left && below(5) == 0)) continue;
        static const char *const keys[] = {"id", "a", "b", "s", "f"};
        const char *key = keys[below(5)];
        buf_printf(&m->sql, " ON r%u.%s = r%u.%s", below(r), key, r, key);
        if (below(3) == 0) {
            put(m, " AND ");
            put_predicate(m, 1);
        }
    }
}

static void put_orders(Maker *m, uint32_t outputs) {
    put(m, " ORDER BY ");
    for (uint32_t i = 0; i < outputs; i++) {
        buf_printf(&m->sql, "%s%u%s", i ? ", " : "", i + 1, below(2) ? " DESC" : "");
        put(m, below(2) ? " NULLS FIRST" : " NULLS LAST");
    }
    if (below(2)) buf_printf(&m->sql, " LIMIT %u OFFSET %u", below(8), below(4));
}

// The FROM is made first, since the items name its relations.
static void make_query(Maker *m, Buf *out) {
    static const char *const columns[] = {"id", "a", "b", "s", "f", "o"};
    static const char *const calls[] = {"COUNT(*)",
                                        "COUNT(%s.o)",
                                        "SUM(%s.a)",
                                        "MIN(%s.s)",
                                        "MAX(%s.f)",
                                        "AVG(%s.b)",
                                        "SUM(%s.f)",
                                        "MAX(%s.id)"};
    Maker items = {0};
    bool groups = below(3) == 0;
    uint32_t keys = groups ? below(3) : 1 + below(4), outputs = keys;
    buf_clear(&m->sql);
    put_from(m);
    items.relations = m->relations;
    put(&items, "SELECT ");
    Buf by = {0};
    for (uint32_t i = 0; i < keys; i++) {
        uint32_t r = below(m->relations);
        const char *name = columns[below(groups ? 4 : 6)];
        buf_printf(&items.sql, "%sr%u.%s AS k%u", i ? ", " : "", r, name, i);
        buf_printf(&by, "%sr%u.%s", i ? ", " : " GROUP BY ", r, name);
    }
    for (uint32_t i = groups ? 1 + below(3) : 0; i > 0; i--, outputs++) {
        char relation[16], call[32];
        snprintf(relation, sizeof relation, "r%u", below(m->relations));
        snprintf(call, sizeof call, calls[below(ARRAY_LEN(calls))], relation);
        buf_printf(&items.sql, "%s%s AS n%u", outputs ? ", " : "", call, i);
    }
    if (below(4)) {
        put(m, " WHERE ");
        put_predicate(m, 3);
    }
    if (groups) buf_put_bytes(&m->sql, buf_bytes(&by));
    if (below(2)) put_orders(m, outputs);
    buf_clear(out);
    buf_put_bytes(out, buf_bytes(&items.sql));
    put(&items, " FROM ");
    buf_clear(out);
    buf_put_bytes(out, buf_bytes(&items.sql));
    buf_put_bytes(out, buf_bytes(&m->sql));
    buf_put_u8(out, 0);
    buf_deinit(&items.sql);
    buf_deinit(&by);
}

// ── answers as lines of text ───────────────────────────────────────────────────────────────────

static void put_float(Buf *out, double v) {
    buf_printf(out, "%.9g|", v == 0 ? 0.0 : v);
}

static const uint8_t *put_value(Buf *out, const Type *type, const uint8_t *at) {
    size_t len = bsatn_len(type, at);
    double wide;
    if (type->special == SPECIAL_OPTION) {
        if (at[0] == 1)
            buf_put_str(out, STR("null|"));
        else
            put_value(out, type->fields[0].type, at + 1);
        return at + len;
    }
    switch (type->kind) {
    case TYPE_U32: buf_printf(out, "%u|", load_u32(at)); break;
    case TYPE_I32: buf_printf(out, "%d|", (int)load_u32(at)); break;
    case TYPE_U64:
    case TYPE_I64: buf_printf(out, "%lld|", (long long)load_u64(at)); break;
    case TYPE_STRING: buf_printf(out, "'%.*s'|", (int)load_u32(at), (const char *)at + 4); break;
    case TYPE_F64:
        memcpy(&wide, at, sizeof wide);
        put_float(out, wide);
        break;
    default: fail_msg("a type that was not expected");
    }
    return at + len;
}

typedef struct Lines {
    Statement *statement;
    Buf text;
    Buf ends;  // uint32_t each
} Lines;

static void line_end(Lines *lines) {
    buf_put_u32(&lines->ends, (uint32_t)lines->text.len);
}

static bool take_row(void *ctx, Bytes row) {
    Lines *lines = ctx;
    uint32_t count;
    const StatementColumn *columns = statement_columns(lines->statement, &count);
    const uint8_t *at = row.ptr;
    for (uint32_t i = 0; i < count; i++)
        at = put_value(&lines->text, columns[i].type, at);
    EXPECT(at == row.ptr + row.len);
    line_end(lines);
    return true;
}

static void ours(World *w, const char *sql, Lines *lines, const Snapshot *snapshot, bool detached) {
    QueryCaller owner = {.is_owner = true};
    Diag diag;
    diag_clear(&diag);
    Err err = statement_compile(str_from(sql),
                                QUERY_SQL,
                                &w->fake->door,
                                &owner,
                                &lines->statement,
                                &diag);
    if (err != OK) fail_msg("%s\n  %s", sql, diag.text);
    if (detached) EXPECT_OK(statement_detach(lines->statement));
    err = statement_run(lines->statement, snapshot, take_row, lines, &diag);
    if (err != OK) fail_msg("%s\n  %s", sql, diag.text);
    statement_free(&lines->statement);
}

static void theirs(World *w, const char *sql, Lines *lines) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(w->lite, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s\n  %s", sql, sqlite3_errmsg(w->lite));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            switch (sqlite3_column_type(statement, i)) {
            case SQLITE_INTEGER:
                buf_printf(&lines->text, "%lld|", (long long)sqlite3_column_int64(statement, i));
                break;
            case SQLITE_FLOAT: put_float(&lines->text, sqlite3_column_double(statement, i)); break;
            case SQLITE_NULL: buf_put_str(&lines->text, STR("null|")); break;
            default:
                buf_printf(&lines->text, "'%s'|", (const char *)sqlite3_column_text(statement, i));
            }
        }
        line_end(lines);
    }
    sqlite3_finalize(statement);
}

static int order(const void *a, const void *b) {
    return bytes_cmp(*(const Bytes *)a, *(const Bytes *)b);
}

static uint32_t split(const Lines *lines, Bytes *out, bool sort) {
    uint32_t count = (uint32_t)(lines->ends.len / 4), begin = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = load_u32(lines->ends.ptr + (size_t)i * 4);
        out[i] = BYTES(lines->text.ptr + begin, end - begin);
        begin = end;
    }
    if (sort && count) qsort(out, count, sizeof *out, order);
    return count;
}

static void lines_free(Lines *lines) {
    buf_deinit(&lines->text);
    buf_deinit(&lines->ends);
}

static uint32_t compare(World *w, const char *sql, const Snapshot *snapshot, bool detached) {
    enum { MOST = 20000 };
    static Bytes a[MOST], b[MOST];
    Lines mine = {0}, lite = {0};
    bool ordered = strstr(sql, "ORDER BY") != NULL;
    ours(w, sql, &mine, snapshot, detached);
    theirs(w, sql, &lite);
    EXPECT(mine.ends.len / 4 < MOST && lite.ends.len / 4 < MOST);
    uint32_t x = split(&mine, a, !ordered), y = split(&lite, b, !ordered);
    for (uint32_t i = 0; i < x && i < y; i++) {
        if (bytes_eq(a[i], b[i])) continue;
        fail_msg("%s\n  row %u is %.*s, SQLite says %.*s",
                 sql,
                 i,
                 (int)a[i].len,
                 (const char *)a[i].ptr,
                 (int)b[i].len,
                 (const char *)b[i].ptr);
    }
    if (x != y) fail_msg("%s\n  %u rows, SQLite says %u", sql, x, y);
    lines_free(&mine);
    lines_free(&lite);
    return x;
}

TEST(sqlite, and_we_give_the_same_rows) {
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    Maker maker = {0};
    Buf sql = {0};
    uint64_t found = 0;
    for (int round = 0; round < ROUNDS; round++) {
        World w;
        Snapshot *snapshot = NULL;
        world_open(&w);
        store_commit(w.store);
        EXPECT_OK(store_snapshot(w.store, &snapshot));
        store_begin(w.store);
        for (int i = 0; i < QUERIES; i++) {
            make_query(&maker, &sql);
            found += compare(&w, (const char *)sql.ptr, i % 3 ? NULL : snapshot, i % 3 == 0);
        }
        store_commit(w.store);
        snapshot_release(&snapshot);
        world_close(&w);
    }
    print_message("%llu rows\n", (unsigned long long)found);
    EXPECT(found > 20000);
    buf_deinit(&sql);
    buf_deinit(&maker.sql);
}

TEST_MAIN()
