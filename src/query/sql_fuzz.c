// Random text as SQL: it never crashes, a refusal says why, and what compiles runs, by index as by
// scan, and matches what it yields. The first byte chooses the door. The same text as a statement runs
// on the head as on a snapshot after it was detached, and as a rule with or without joins.
#include "query/fake_testing.h"
#include "query/statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FakeCatalog *fake;
static Store *store;

static void fill(CatalogTable *table) {
    for (uint32_t i = 0; i < 20; i++) {
        Buf row = {0};
        double f = (double)i - 10;
        buf_put_u64(&row, i % 7);
        buf_put_u32(&row, i);
        buf_put_lp(&row, BYTES("abcdefghijklmnopqrst", i));
        buf_put_u8(&row, i % 2);
        buf_put(&row, &f, 8);
        for (int b = 0; b < 32; b++) {
            buf_put_u8(&row, (uint8_t)(i * b));
        }
        buf_put_u64(&row, i * 1000000ull);
        buf_put_lp(&row, BYTES("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24", i));
        Err err = table_insert(table->table, buf_bytes(&row), NULL, NULL);
        ASSERT(err == OK && buf_ok(&row));
        buf_deinit(&row);
    }
}

static void open_world(void) {
    fake = fake_new();
    CatalogTable *table = FAKE_TABLE(fake,
                                     "t",
                                     {"a", type_simple(TYPE_U64), NULL},
                                     {"b", type_simple(TYPE_U32), "bee"},
                                     {"s", type_simple(TYPE_STRING), NULL},
                                     {"x", type_simple(TYPE_BOOL), NULL},
                                     {"f", type_simple(TYPE_F64), NULL},
                                     {"id", type_special(SPECIAL_IDENTITY), NULL},
                                     {"ts", type_special(SPECIAL_TIMESTAMP), NULL},
                                     {"y", type_special(SPECIAL_BYTES), NULL});
    Err err = store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &store);
    ASSERT(err == OK);
    store_begin(store);
    fake_store_table(table, store, 1, (const char *const[]){"02", "4", "32"}, 3);
    fill(table);
    table = FAKE_TABLE(fake,
                       "u",
                       {"a", type_simple(TYPE_U64), NULL},
                       {"o", type_option(&fake->arena, type_simple(TYPE_U32)), NULL});
    fake_store_table(table, store, 0, (const char *const[]){"1"}, 1);
    for (uint64_t i = 0; i < 8; i++) {
        Buf row = {0};
        buf_put_u64(&row, i);
        buf_put_u8(&row, i % 2);
        if (i % 2 == 0) buf_put_u32(&row, (uint32_t)i);
        err = table_insert(table->table, buf_bytes(&row), NULL, NULL);
        ASSERT(err == OK && buf_ok(&row));
        buf_deinit(&row);
    }
    store_commit(store);
}

typedef struct Sum {
    uint64_t count, hashes;
} Sum;

static bool sum_row(void *ctx, Bytes row) {
    Sum *sum = ctx;
    sum->count++;
    sum->hashes += bytes_hash(row) | 1;
    return true;
}

// On the head, then detached on a snapshot: the same rows, whatever becomes of the order.
static void run_twice(Statement *statement, Diag *diag) {
    enum { COST_MAX = 20000 };
    Sum head = {0}, later = {0};
    Snapshot *snapshot = NULL;
    uint32_t count;
    if (statement_writes(statement)) return;
    if (statement_cost(statement, COST_MAX) > COST_MAX) return;
    statement_columns(statement, &count);
    Err err = statement_run(statement, NULL, sum_row, &head, diag);
    ASSERT(err == OK || (err == ERR_INVALID && diag->text[0]));
    Buf out = {0};
    Err written = statement_write_json(statement, NULL, NULL, 1, &out, diag);
    ASSERT(written == err);
    buf_deinit(&out);
    bool taken = store_snapshot(store, &snapshot) == OK && statement_detach(statement) == OK;
    ASSERT(taken);
    Err again = statement_run(statement, snapshot, sum_row, &later, diag);
    snapshot_release(&snapshot);
    ASSERT(again == err);
    ASSERT(err != OK || (head.count == later.count && head.hashes == later.hashes));
}

// `from_driver`: with literals as drivers of PostgreSQL write them, and two parameters.
static void as_statement(Str text, QueryDoor door, bool is_owner, bool from_driver) {
    StatementParam values[2] = {{.known = true, .text = STR("3")}, {.known = true}};
    StatementParams params = {.items = values, .max = 2, .from_driver = true};
    const QueryCaller caller = {.is_owner = is_owner};
    Statement *statement = NULL;
    Diag diag;
    diag_clear(&diag);
    if (statement_compile_with(text,
                               door,
                               &fake->door,
                               &caller,
                               from_driver ? &params : NULL,
                               &statement,
                               &diag) != OK) {
        ASSERT(diag.text[0] != 0 && statement == NULL);
        return;
    }
    run_twice(statement, &diag);
    statement_free(&statement);
}

static bool check_row(void *ctx, Bytes row) {
    const Query *query = ctx;
    if (query->projection != QPROJECT_COUNT) ASSERT(query_matches(query, row));
    return true;
}

// The text as a rule of the table: what a stranger gets then is what the rule and his query allow.
static void as_rule(Str text) {
    const QueryCaller stranger = {.is_owner = false};
    char rule[1024];
    if (text.len >= sizeof rule || memchr(text.ptr, 0, text.len)) return;
    memcpy(rule, text.ptr, text.len);
    rule[text.len] = 0;
    Query *query = NULL;
    Diag diag;
    diag_clear(&diag);
    fake->rule_count = 0;
    fake_rule(fake, fake->tables[0], rule);
    Str all = STR("select * from t where b > 3");
    if (query_compile(all, QUERY_SUBSCRIBE, &fake->door, &stranger, &query, &diag) == OK) {
        Err err = query_run(query, NULL, check_row, query);
        ASSERT(err == OK);
    } else {
        ASSERT(diag.text[0] != 0 && query == NULL);
    }
    query_free(&query);
    as_statement(STR("select count(*) as n from t"), QUERY_SQL, false, false);
    as_statement(STR("select u.* from u join t on u.a = t.a"), QUERY_ONE_OFF, false, false);
    fake->rule_count = 0;
    Err err = query_check_rule(text, &fake->door, &diag);
    ASSERT(err == OK || err == ERR_INVALID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!fake) open_world();
    if (size == 0) return 0;
    const QueryCaller caller = {.is_owner = true};
    QueryDoor door = data[0] % 3;
    Query *query = NULL;
    Diag diag;
    diag_clear(&diag);
    Str text = {(const char *)data + 1, size - 1};
    as_rule(text);
    as_statement(text, door == QUERY_ONE_OFF ? QUERY_ONE_OFF : QUERY_SQL, true, false);
    as_statement(text, QUERY_SQL, true, true);
    if (query_compile(text, door, &fake->door, &caller, &query, &diag) != OK) {
        ASSERT(diag.text[0] != 0 && query == NULL);
        return 0;
    }
    Err err = query_run(query, NULL, check_row, query);
    ASSERT(err == OK);
    query_free(&query);
    return 0;
}
