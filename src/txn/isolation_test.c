// The anomalies of the literature, each as two to four sessions in every interleaving. START AT
// "lost update"; what is checked is told in isolation_testing.h.
#include "txn/isolation_testing.h"

#include "base/test.h"
#include "sim/sim.h"
#include "txn/def_testing.h"

static void check(const Scenario *scenario, bool conflicts) {
    Sim *sim;
    Db *db;
    TestDef def;
    uint64_t torn;
    EXPECT_OK(sim_new(1, &sim));
    testdef_init(&def);
    DbOptions options = {.io = sim_io(sim), .dir = "db", .in_memory = true};
    EXPECT_OK(db_open(&options, &db, &torn, NULL));
    EXPECT_OK(testdef_create(db, &def));
    IsolationCount count = isolation_run(db, scenario);
    EXPECT((count.conflicts > 0) == conflicts);  // the scenario does meet what it is about
    EXPECT(count.conflicts < count.runs);
    EXPECT_EQ(store_stats(db_store(db)).snapshots_live, 0);
    db_close(&db);
    testdef_deinit(&def);
    sim_free(&sim);
}

static void two_accounts(Session *s) {
    item_put(s, 1, 50, 1);
    item_put(s, 2, 50, 2);
}

static void read_1(Session *s) {
    saw(s, item_get(s, 1));
}
static void read_2(Session *s) {
    saw(s, item_get(s, 2));
}

// ── one row ────────────────────────────────────────────────────────────────────────────────────

static void add_10_to_1(Session *s) {
    saw(s, item_set(s, 1, (uint32_t)s->seen[0] + 10));
}

TEST(isolation, lost_update) {
    check(&(Scenario){.name = "lost update",
                      .setup = two_accounts,
                      .sessions = {{{read_1, add_10_to_1}}, {{read_1, add_10_to_1}}},
                      .session_count = 2},
          true);
}

static void delete_1(Session *s) {
    saw(s, item_delete(s, 1));
}
static void set_1_blindly(Session *s) {
    saw(s, item_set(s, 1, 99));
}
static void count_items(Session *s) {
    saw(s, (int64_t)rows_of(s, TEST_ITEM));
}

TEST(isolation, update_and_delete_of_one_row) {
    check(&(Scenario){.name = "update and delete",
                      .setup = two_accounts,
                      .sessions = {{{set_1_blindly, read_2}}, {{delete_1, count_items}}},
                      .session_count = 2},
          true);
}

static void set_2_blindly(Session *s) {
    saw(s, item_set(s, 2, 98));
}

TEST(isolation, dirty_write_of_two_rows_in_opposite_order) {
    check(&(Scenario){.name = "dirty write",
                      .setup = two_accounts,
                      .sessions = {{{set_1_blindly, set_2_blindly}},
                                   {{set_2_blindly, set_1_blindly, read_1}}},
                      .session_count = 2},
          true);
}

// ── write skew ─────────────────────────────────────────────────────────────────────────────────

static void empty_1_if_both_full(Session *s) {
    if (s->seen[0] + s->seen[1] >= 100) saw(s, item_set(s, 1, 0));
}
static void empty_2_if_both_full(Session *s) {
    if (s->seen[0] + s->seen[1] >= 100) saw(s, item_set(s, 2, 0));
}

TEST(isolation, write_skew) {
    check(&(Scenario){.name = "write skew",
                      .setup = two_accounts,
                      .sessions = {{{read_1, read_2, empty_1_if_both_full}},
                                   {{read_1, read_2, empty_2_if_both_full}}},
                      .session_count = 2},
          true);
}

static void read_absent_50(Session *s) {
    saw(s, item_get(s, 50));
}
static void read_absent_51(Session *s) {
    saw(s, item_get(s, 51));
}
static void put_50(Session *s) {
    if (s->seen[0] < 0) saw(s, item_put(s, 50, 1, 50));
}
static void put_51(Session *s) {
    if (s->seen[0] < 0) saw(s, item_put(s, 51, 1, 51));
}

TEST(isolation, write_skew_on_rows_that_are_not_there) {
    check(&(Scenario){.name = "skew on absent rows",
                      .setup = two_accounts,
                      .sessions = {{{read_absent_50, put_51}}, {{read_absent_51, put_50}}},
                      .session_count = 2},
          true);
}

// ── phantoms ───────────────────────────────────────────────────────────────────────────────────

static void count_range(Session *s) {
    saw(s, items_between(s, 5, 10));
}
static void count_value(Session *s) {
    saw(s, items_with(s, 7));
}
static void put_7_if_none(Session *s) {
    if (s->seen[0] == 0) saw(s, item_put(s, 70, 7, 70));
}
static void put_other_7_if_none(Session *s) {
    if (s->seen[0] == 0) saw(s, item_put(s, 71, 7, 71));
}

TEST(isolation, phantom_in_a_range) {
    check(&(Scenario){.name = "phantom in a range",
                      .setup = two_accounts,
                      .sessions = {{{count_range, put_7_if_none}},
                                   {{count_range, put_other_7_if_none}}},
                      .session_count = 2},
          true);
}

TEST(isolation, phantom_under_a_key_of_an_index) {
    check(&(Scenario){.name = "phantom under a key",
                      .setup = two_accounts,
                      .sessions = {{{count_value, put_7_if_none, count_value}},
                                   {{count_range, put_other_7_if_none, count_value}}},
                      .session_count = 2},
          true);
}

static void move_1_into_range(Session *s) {
    saw(s, item_set(s, 1, 7));
}

TEST(isolation, phantom_by_an_update_that_moves_a_row_into_the_range) {
    check(&(Scenario){.name = "phantom by update",
                      .setup = two_accounts,
                      .sessions = {{{count_range, count_range, put_other_7_if_none}},
                                   {{move_1_into_range}}},
                      .session_count = 2},
          true);
}

static void count_notes(Session *s) {
    saw(s, (int64_t)rows_of(s, TEST_NOTE));
}
static void scan_notes(Session *s) {
    saw(s, scan_of(s, TEST_NOTE));
}
static void put_note_a(Session *s) {
    if (s->seen[0] < 2) saw(s, note_put(s, "a", 1));
}
static void put_note_b(Session *s) {
    if (s->seen[0] < 2) saw(s, note_put(s, "b", 2));
}
static void one_note(Session *s) {
    note_put(s, "first", 0);
}

TEST(isolation, phantom_under_a_row_count) {
    check(&(Scenario){.name = "phantom under a count",
                      .setup = one_note,
                      .sessions = {{{count_notes, put_note_a}}, {{count_notes, put_note_b}}},
                      .session_count = 2},
          true);
}

TEST(isolation, phantom_under_a_table_scan) {
    check(&(Scenario){.name = "phantom under a scan",
                      .setup = one_note,
                      .sessions = {{{scan_notes, put_note_a, scan_notes}},
                                   {{scan_notes, put_note_b}}},
                      .session_count = 2},
          true);
}

static void clear_notes(Session *s) {
    saw(s, (int64_t)clear_of(s, TEST_NOTE));
}
static void note_c(Session *s) {
    saw(s, note_put(s, "c", 3));
}

TEST(isolation, clearing_a_table_beside_an_insert) {
    check(&(Scenario){.name = "clear and insert",
                      .setup = one_note,
                      .sessions = {{{clear_notes, note_c}}, {{note_c, count_notes}}},
                      .session_count = 2},
          true);
}

// ── unique keys and sets ───────────────────────────────────────────────────────────────────────

static void put_10_code_5(Session *s) {
    saw(s, item_put(s, 10, 1, 5));
}
static void put_11_code_5(Session *s) {
    saw(s, item_put(s, 11, 1, 5));
}
static void who_has_5(Session *s) {
    saw(s, item_with_code(s, 5));
}

TEST(isolation, race_for_a_unique_key) {
    check(&(Scenario){.name = "race for a unique key",
                      .setup = two_accounts,
                      .sessions = {{{put_10_code_5, who_has_5}}, {{put_11_code_5, who_has_5}}},
                      .session_count = 2},
          true);
}

static void holder_of_5(Session *s) {
    item_put(s, 9, 1, 5);
}
static void delete_9(Session *s) {
    saw(s, item_delete(s, 9));
}

TEST(isolation, a_unique_key_changes_hands) {
    check(&(Scenario){.name = "a unique key changes hands",
                      .setup = holder_of_5,
                      .sessions = {{{delete_9, put_10_code_5}}, {{put_11_code_5, note_c}}},
                      .session_count = 2},
          true);
}

static void delete_note_c(Session *s) {
    saw(s, note_delete(s, "c", 3));
}

TEST(isolation, the_same_row_put_into_a_set_by_both) {
    check(&(Scenario){.name = "the same row twice",
                      .setup = one_note,
                      .sessions = {{{note_c, delete_note_c, note_c}}, {{note_c, delete_note_c}}},
                      .session_count = 2},
          true);
}

static void put_generated(Session *s) {
    timer_put(s);
}
static void nothing(Session *s) {
    (void)s;
}

TEST(isolation, race_for_values_of_a_sequence) {
    // Never the same value twice: then nobody is in anybody's way, and every row is there.
    check(
        &(Scenario){
            .name = "sequence",
            .setup = nothing,
            .sessions = {{{put_generated, put_generated}}, {{put_generated}}, {{put_generated}}},
            .session_count = 3,
            .ids_differ = true},
        false);
}

// ── three and four ─────────────────────────────────────────────────────────────────────────────

static void savings(Session *s) {
    item_put(s, 1, 100, 1);
    item_put(s, 2, 100, 2);
}
static void deposit_20_to_2(Session *s) {
    saw(s, item_set(s, 2, (uint32_t)item_get(s, 2) + 20));
}
static void read_both(Session *s) {
    read_1(s);
    read_2(s);
}
// A penalty when the two together fall below 200.
static void withdraw_10_from_1(Session *s) {
    int64_t rest = s->seen[0] + s->seen[1] - 10;
    saw(s, item_set(s, 1, (uint32_t)(s->seen[0] - (rest < 200 ? 11 : 10))));
}

TEST(isolation, read_only_anomaly) {
    check(&(Scenario){.name = "read-only anomaly",
                      .setup = savings,
                      .sessions = {{{deposit_20_to_2}},
                                   {{read_both, withdraw_10_from_1}},
                                   {{read_1, read_2}}},
                      .session_count = 3},
          true);
}

static void set_1_to_1(Session *s) {
    item_set(s, 1, 1);
}
static void set_2_to_1(Session *s) {
    item_set(s, 2, 1);
}

TEST(isolation, long_fork) {
    // Readers may be old but not of two minds: nobody gives way, and one order explains both.
    check(
        &(Scenario){.name = "long fork",
                    .setup = savings,
                    .sessions = {{{set_1_to_1}}, {{set_2_to_1}}, {{read_both}}, {{read_2, read_1}}},
                    .session_count = 4},
        false);
}

static void three_accounts(Session *s) {
    two_accounts(s);
    item_put(s, 3, 50, 3);
}
static void move_1_to_2(Session *s) {
    saw(s, item_set(s, 1, (uint32_t)item_get(s, 1) - 10));
    saw(s, item_set(s, 2, (uint32_t)item_get(s, 2) + 10));
}
static void move_2_to_3(Session *s) {
    saw(s, item_set(s, 2, (uint32_t)item_get(s, 2) - 10));
    saw(s, item_set(s, 3, (uint32_t)item_get(s, 3) + 10));
}
static void note_the_sum(Session *s) {
    saw(s, note_put(s, "sum", (uint32_t)(item_get(s, 1) + item_get(s, 2) + item_get(s, 3))));
}

TEST(isolation, transfers_and_a_sum_that_is_written_down) {
    check(&(Scenario){.name = "transfers and a sum",
                      .setup = three_accounts,
                      .sessions = {{{move_1_to_2}}, {{move_2_to_3}}, {{read_1, note_the_sum}}},
                      .session_count = 3},
          true);
}

TEST_MAIN()
