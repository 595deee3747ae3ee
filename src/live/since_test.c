// Who was away and is told what since_end says holds what his queries return now. The commits are those
// of a random workload, written as the log has them; what clients hold is kept as an SDK does.
// `SEED=7 build/…/since_test` repeats a run.
#include "live/since.h"

#include <stdlib.h>

#include "base/test.h"
#include "live/world_testing.h"

enum { COMMITS_MAX = 64, QUERY_MAX = 6 };

static World w;
static Buf commits[COMMITS_MAX];  // each a commit's operations
static uint32_t commit_count;

static void forget_commits(void) {
    for (uint32_t i = 0; i < commit_count; i++) {
        buf_deinit(&commits[i]);
    }
    commit_count = 0;
}

static void put_op(Buf *out, CommitOpKind kind, uint32_t table_id, Bytes bytes) {
    buf_put_u8(out, (uint8_t)kind);
    buf_put_u32(out, table_id);
    buf_put_lp(out, bytes);
}

static void put_key(Buf *out, Bytes row) {  // of a user
    buf_clear(out);
    key_append(out, type_simple(TYPE_U64), row.ptr);
}

// As db_commit writes it: what goes first, then what comes.
static void write_commit(const Changes *c, bool cleared) {
    ASSERT(commit_count < COMMITS_MAX);
    Buf *out = &commits[commit_count++], key = {0};
    uint32_t notes = w.tables[NOTES]->table_id;
    if (cleared) put_op(out, COMMIT_TRUNCATE, notes, BYTES_NONE);
    for (size_t i = 0; i < c->count; i++) {
        const LiveChange *change = &c->list[i];
        bool keyed = table_primary_column(change->table) >= 0;
        if (!change->old_row.ptr || (cleared && change->table_id == notes)) continue;
        // Half of what could be a replacement is one, by a rule that nobody here need know.
        if (keyed && change->new_row.ptr && change->new_row.ptr[8] % 2) continue;
        if (keyed) put_key(&key, change->old_row);
        put_op(out,
               keyed ? COMMIT_DELETE : COMMIT_DELETE_ROW,
               change->table_id,
               keyed ? buf_bytes(&key) : change->old_row);
    }
    for (size_t i = 0; i < c->count; i++) {
        const LiveChange *change = &c->list[i];
        if (!change->new_row.ptr) continue;
        bool keyed = table_primary_column(change->table) >= 0;
        bool replaces = keyed && change->old_row.ptr && change->new_row.ptr[8] % 2;
        CommitOpKind kind = change->is_event ? COMMIT_EVENT
                            : replaces       ? COMMIT_REPLACE
                                             : COMMIT_INSERT;
        put_op(out, kind, change->table_id, change->new_row);
    }
    buf_deinit(&key);
}

static const char *const names[] = {"", "a", "ab", "b"};

static void random_commit(void) {
    Buf row = {0};
    world_begin(&w);
    bool cleared = world_random(&w, 40) == 0;
    uint64_t count = 1 + world_random(&w, 6), removed;
    if (cleared) EXPECT_OK(table_clear(w.tables[NOTES]->table, &removed));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = world_random(&w, 40);
        uint32_t x = (uint32_t)world_random(&w, 5), y = (uint32_t)world_random(&w, 5);
        switch (world_random(&w, 5)) {
        case 0:
        case 1: put_user(&w, id, x, names[world_random(&w, 4)], (uint8_t)y); break;
        case 2: {
            Buf key = {0};
            key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
            Err err = table_delete_key(w.tables[USERS]->table, buf_bytes(&key));
            EXPECT(err == OK || err == ERR_NOT_FOUND);
            buf_deinit(&key);
            break;
        }
        case 3: {
            Err err = table_insert(w.tables[NOTES]->table, note_row(&row, x, y, "n"), NULL, NULL);
            EXPECT(err == OK);
            break;
        }
        default: {
            Err err = table_delete_row(w.tables[NOTES]->table, note_row(&row, x, y, "n"));
            EXPECT(err == OK || err == ERR_NOT_FOUND);
        }
        }
    }
    changes_end(&w, &world_changes);
    write_commit(&world_changes, cleared);
    changes_free(&world_changes);
    buf_deinit(&row);
}

// ── a client ───────────────────────────────────────────────────────────────────────────────────

typedef struct Held {
    char texts[QUERY_MAX][TEXT];
    uint32_t count;
    QueryCaller caller;
    Bag rows;
} Held;

static uint32_t table_at(Str name) {
    for (uint32_t i = 0; i < TABLES; i++) {
        if (str_eq(w.tables[i]->name, name)) return i;
    }
    UNREACHABLE();
}

static Standing *compiled(const Held *held, uint32_t i) {
    Standing *standing;
    Diag diag = {0};
    Err err = standing_compile(str_from(held->texts[i]),
                               false,
                               &w.fake->door,
                               &held->caller,
                               &standing,
                               &diag);
    if (err != OK) print_error("%s: %s\n", held->texts[i], diag.text);
    EXPECT_OK(err);
    return standing;
}

typedef struct Into {
    Bag *bag;
    uint32_t table;
} Into;

static bool into(void *ctx, Bytes row) {
    const Into *to = ctx;
    return bag_add(to->bag, to->table, row, 1);
}

static void rows_now(const Held *held, Bag *out) {
    for (uint32_t i = 0; i < held->count; i++) {
        Standing *standing = compiled(held, i);
        Into to = {out, table_at(standing_rows(standing).name)};
        Diag diag = {0};
        EXPECT_OK(standing_run(standing, NULL, false, into, &to, &diag));
        standing_free(&standing);
    }
}

static void random_query(char out[TEXT]) {
    unsigned a = (unsigned)world_random(&w, 5), b = (unsigned)world_random(&w, 40);
    switch (world_random(&w, 10)) {
    case 0: strcpy(out, "SELECT * FROM users"); break;
    case 1: snprintf(out, TEXT, "SELECT * FROM users WHERE room = %u", a); break;
    case 2: snprintf(out, TEXT, "SELECT * FROM users WHERE id < %u", b); break;
    case 3: snprintf(out, TEXT, "SELECT * FROM users WHERE owner = :sender"); break;
    case 4: snprintf(out, TEXT, "SELECT * FROM users WHERE id = %u OR name = 'ab'", b); break;
    case 5: strcpy(out, "SELECT * FROM notes"); break;
    case 6: snprintf(out, TEXT, "SELECT * FROM notes WHERE x = %u", a); break;
    case 7: snprintf(out, TEXT, "SELECT * FROM notes WHERE x < y"); break;
    case 8:
        snprintf(out, TEXT, "SELECT users.* FROM users JOIN notes ON users.room = notes.x");
        break;
    default: snprintf(out, TEXT, "SELECT * FROM notes WHERE y <> %u", a);
    }
}

static void random_queries(Held *held) {
    memset(held->caller.identity.le, 0, sizeof held->caller.identity.le);
    held->caller.identity.le[0] = (uint8_t)world_random(&w, 5);
    held->count = 1 + (uint32_t)world_random(&w, QUERY_MAX);
    for (uint32_t i = 0; i < held->count; i++) {
        random_query(held->texts[i]);
    }
}

// Forget everything of the table, or what has one of these keys.
static void forget(Bag *bag, uint32_t table, const Bytes *key) {
    for (size_t i = 0; i < bag->count;) {
        const BagEntry *entry = &bag->entries[i];
        bool is =
            entry->table == table && (!key || memcmp(entry->row.ptr, key->ptr, key->len) == 0);
        if (is)
            EXPECT(bag_add(bag, table, entry->row, -entry->count));
        else
            i++;
    }
}

static void forget_keys(Bag *bag, uint32_t table, Bytes list) {
    Bag keys = {0};
    EXPECT(rows_apply(&keys, 0, list, 1));
    for (size_t i = 0; i < keys.count; i++) {
        EXPECT_EQ(keys.entries[i].count, 1);
        Bytes id = {keys.entries[i].row.ptr, 8};
        forget(bag, table, &id);
    }
    bag_clear(&keys);
}

static uint64_t kinds[SINCE_WHOLE + 1];

static void apply(Bag *bag, const SinceTable *told) {
    uint32_t table = table_at(told->name);
    kinds[told->kind]++;
    switch (told->kind) {
    case SINCE_ROWS: EXPECT(rows_apply(bag, table, told->gone, -1)); break;
    case SINCE_KEYS: forget_keys(bag, table, told->gone); break;
    case SINCE_WHOLE: forget(bag, table, NULL); break;
    }
    EXPECT(rows_apply(bag, table, told->rows, 1));
}

typedef struct Away {
    SinceQuery queries[QUERY_MAX];
    Snapshot *snapshot;
    Since *since;
    const SinceTable *told;
    uint32_t told_count;
    Diag diag;
} Away;

static Err away_end(Away *away, const Held *held, const SinceOptions *options, bool guarded) {
    *away = (Away){0};
    for (uint32_t i = 0; i < held->count; i++) {
        Standing *standing = compiled(held, i);
        bool is_users = strstr(held->texts[i], "FROM users") != NULL;
        away->queries[i] = (SinceQuery){standing, guarded && is_users};
        EXPECT_OK(standing_detach(standing));
    }
    EXPECT_OK(store_snapshot(w.store, &away->snapshot));
    Err err = since_new(away->queries, held->count, options, &away->since);
    for (uint32_t i = 0; i < commit_count && err == OK; i++) {
        Commit commit = {.ops = buf_bytes(&commits[i])};
        err = since_commit(away->since, &commit, &away->diag);
    }
    if (err == OK)
        err = since_end(away->since, away->snapshot, &away->told, &away->told_count, &away->diag);
    return err;
}

static void away_free(Away *away, const Held *held) {
    since_free(&away->since);
    for (uint32_t i = 0; i < held->count; i++) {
        standing_free(&away->queries[i].standing);
    }
    snapshot_release(&away->snapshot);
}

static void run(uint64_t seed, bool guarded) {
    static Held held;
    w = world_open();
    w.seed = seed;
    if (guarded) fake_rule(w.fake, w.tables[USERS], "SELECT * FROM users WHERE room <> 3");
    for (int round = 0; round < 300; round++) {
        random_queries(&held);
        rows_now(&held, &held.rows);
        uint64_t count = world_random(&w, 8) ? world_random(&w, 6) : world_random(&w, COMMITS_MAX);
        for (uint64_t i = 0; i < count; i++) {
            random_commit();
        }
        Away away;
        SinceOptions options = {.operations_max = world_random(&w, 5) ? 1000 : world_random(&w, 9)};
        EXPECT_OK(away_end(&away, &held, &options, guarded));
        for (uint32_t i = 0; i < away.told_count; i++) {
            apply(&held.rows, &away.told[i]);
        }
        if (count == 0) EXPECT_EQ(away.told_count, 0);
        Bag now = {0};
        rows_now(&held, &now);
        bool same = bag_eq(&now, &held.rows);
        for (uint32_t i = 0; !same && i < held.count; i++) {
            print_error("%s\n", held.texts[i]);
        }
        EXPECT(same);
        away_free(&away, &held);
        bag_clear(&now);
        bag_clear(&held.rows);
        forget_commits();
    }
    world_close(&w);
}

TEST(since, who_does_what_it_says_holds_what_the_queries_return) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 6; i++) {
        run(seed + i, i % 3 == 2);
    }
    EXPECT(kinds[SINCE_ROWS] > 100 && kinds[SINCE_KEYS] > 100 && kinds[SINCE_WHOLE] > 100);
}

static Held holds(const char *text) {
    Held held = {.count = 1};
    strcpy(held.texts[0], text);
    return held;
}

static const SinceOptions plain = {.operations_max = 100000};

TEST(since, what_came_and_went_is_not_told) {
    w = world_open();
    Held held = holds("SELECT * FROM users");
    for (int i = 0; i < 2; i++) {
        world_begin(&w);
        if (i == 0)
            put_user(&w, 7, 1, "a", 1);
        else
            remove_user(&w, 7);
        changes_end(&w, &world_changes);
        write_commit(&world_changes, false);
        changes_free(&world_changes);
    }
    Away away;
    EXPECT_OK(away_end(&away, &held, &plain, false));
    EXPECT_EQ(away.told_count, 0);
    away_free(&away, &held);
    forget_commits();
    world_close(&w);
}

// Of a table with rules, keys of rows that the client may never have seen must not be told.
TEST(since, keys_of_hidden_rows_stay_hidden) {
    w = world_open();
    fake_rule(w.fake, w.tables[USERS], "SELECT * FROM users WHERE owner = :sender");
    Held held = holds("SELECT * FROM users");
    held.caller.identity.le[0] = 1;
    world_begin(&w);
    put_user(&w, 5, 1, "mine", 1);
    put_user(&w, 9, 1, "another's", 2);
    changes_end(&w, &world_changes);
    changes_free(&world_changes);
    world_begin(&w);
    remove_user(&w, 9);
    changes_end(&w, &world_changes);
    write_commit(&world_changes, false);
    changes_free(&world_changes);
    Away away;
    EXPECT_OK(away_end(&away, &held, &plain, true));
    EXPECT_EQ(away.told_count, 1);
    EXPECT_EQ(away.told[0].kind, SINCE_WHOLE);
    Bag told = {0};
    EXPECT(rows_apply(&told, USERS, away.told[0].gone, 1));
    EXPECT_EQ(told.count, 0);
    EXPECT(rows_apply(&told, USERS, away.told[0].rows, 1));
    EXPECT_EQ(told.count, 1);
    bag_clear(&told);
    away_free(&away, &held);
    forget_commits();
    world_close(&w);
}

// Much happened in the table, little of it concerns the query: its rows are shorter than the keys.
TEST(since, says_all_where_that_is_less) {
    w = world_open();
    Held held = holds("SELECT * FROM users WHERE id = 3");
    world_begin(&w);
    for (uint64_t id = 0; id < 1500; id++) {
        put_user(&w, id, 1, "a", 1);
    }
    changes_end(&w, &world_changes);
    changes_free(&world_changes);
    world_begin(&w);
    for (uint64_t id = 0; id < 1500; id++) {
        put_user(&w, id, 2, "a", 1);
    }
    changes_end(&w, &world_changes);
    write_commit(&world_changes, false);
    changes_free(&world_changes);
    Away away;
    EXPECT_OK(away_end(&away, &held, &plain, false));
    EXPECT_EQ(away.told_count, 1);
    EXPECT_EQ(away.told[0].kind, SINCE_WHOLE);
    EXPECT(away.told[0].rows.len < 200);
    away_free(&away, &held);
    forget_commits();
    world_close(&w);
}

TEST(since, another_schema_has_no_answer) {
    w = world_open();
    Held held = holds("SELECT * FROM users");
    static const uint32_t refused[] = {1, 2, 6, 10, 12}, everyday[] = {3, 7, 11, 21, 5000};
    for (uint32_t i = 0; i < ARRAY_LEN(refused) + ARRAY_LEN(everyday); i++) {
        bool is_refused = i < ARRAY_LEN(refused);
        uint32_t table = is_refused ? refused[i] : everyday[i - ARRAY_LEN(refused)];
        put_op(&commits[commit_count++], COMMIT_INSERT, table, BYTES("x", 1));
        Away away;
        Err err = away_end(&away, &held, &plain, false);
        EXPECT_EQ(err, is_refused ? ERR_UNSUPPORTED : OK);
        if (err != OK) EXPECT(strstr(away.diag.text, "another schema") != NULL);
        away_free(&away, &held);
        forget_commits();
    }
    world_close(&w);
}

TEST(since, keeps_to_the_limits_of_whole_answers) {
    w = world_open();
    Held held = holds("SELECT users.* FROM users JOIN notes ON users.room = notes.x");
    world_begin(&w);
    put_note(&w, 1, 1);
    for (uint64_t id = 0; id < 100; id++) {
        put_user(&w, id, 1, "a", 1);
    }
    changes_end(&w, &world_changes);
    write_commit(&world_changes, false);
    changes_free(&world_changes);
    Away away;
    SinceOptions options = {.operations_max = 1000, .rows_max = 100};
    EXPECT_OK(away_end(&away, &held, &options, false));
    away_free(&away, &held);
    options.rows_max = 99;
    EXPECT_ERR(away_end(&away, &held, &options, false), ERR_TOO_LARGE);
    away_free(&away, &held);
    options = (SinceOptions){.operations_max = 1000, .bytes_max = 100};
    EXPECT_ERR(away_end(&away, &held, &options, false), ERR_TOO_LARGE);
    away_free(&away, &held);
    atomic_bool stop = true;
    options = (SinceOptions){.operations_max = 1000, .stop = &stop};
    EXPECT_ERR(away_end(&away, &held, &options, false), ERR_CLOSED);
    away_free(&away, &held);
    forget_commits();
    world_close(&w);
}

TEST_MAIN()
