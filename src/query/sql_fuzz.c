// Random text as SQL: it never crashes, a refusal says why, and what compiles runs, by index as by
// scan, and matches what it yields. The first byte chooses the door.
#include "query/fake_testing.h"

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
    store_commit(store);
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
    if (query_compile(text, door, &fake->door, &caller, &query, &diag) != OK) {
        ASSERT(diag.text[0] != 0 && query == NULL);
        return 0;
    }
    Err err = query_run(query, NULL, check_row, query);
    ASSERT(err == OK);
    query_free(&query);
    return 0;
}
