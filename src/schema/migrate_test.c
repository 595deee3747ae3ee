#include "schema/migrate.h"

#include "base/mem.h"
#include "base/test.h"
#include "schema/def_text.h"

// Names of kinds in their order, for readable expectations.
static const char *const kind_names[] = {
    "RemoveIndex",
    "RemoveConstraint",
    "RemoveSequence",
    "RemoveSchedule",
    "RemoveView",
    "RemoveRls",
    "RemoveTable",
    "ChangeColumns",
    "ReschemaEventTable",
    "AddColumns",
    "ChangeIndexSourceName",
    "ChangeTableAccessor",
    "ChangeColumnAccessor",
    "AddTable",
    "AddIndex",
    "AddConstraint",
    "AddSequence",
    "AddSchedule",
    "AddView",
    "AddRls",
    "ChangeAccess",
    "ChangePrimaryKey",
    "UpdateView",
    "DisconnectAll",
};

static void put_plan(Buf *out, const MigratePlan *plan) {
    for (uint32_t i = 0; i < plan->step_count; i++) {
        const MigrateStep *step = &plan->steps[i];
        buf_printf(out, "%s%s", i ? ", " : "", kind_names[step->kind]);
        Str name = step->name.len ? step->name : step->table;
        if (name.len) buf_printf(out, " " STR_FMT, STR_ARG(name));
    }
    buf_put_u8(out, 0);
}

static void expect_plan_versions(const DefText *from,
                                 uint32_t from_version,
                                 const DefText *to,
                                 const char *want) {
    ModuleDef *old_def = def_text(from, from_version), *new_def = def_text(to, 10);
    MigratePlan *plan = NULL;
    Diag diag;
    diag_clear(&diag);
    Err err = migrate_plan(old_def, new_def, &plan, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    Buf got = {0};
    put_plan(&got, plan);
    EXPECT_STR((char *)got.ptr, want);
    EXPECT_EQ(plan->breaks_clients, strstr(want, "DisconnectAll") != NULL);
    EXPECT_EQ(plan->major_version_upgrade, from_version == 9);
    buf_deinit(&got);
    migrate_plan_free(&plan);
    moduledef_free(&old_def);
    moduledef_free(&new_def);
}

static void expect_plan(const DefText *from, const DefText *to, const char *want) {
    expect_plan_versions(from, 10, to, want);
}

static void expect_refused(const DefText *from, const DefText *to, const char *reasons) {
    ModuleDef *old_def = def_text(from, 10), *new_def = def_text(to, 10);
    MigratePlan *plan = NULL;
    Diag diag;
    EXPECT_ERR(migrate_plan(old_def, new_def, &plan, &diag), ERR_INVALID);
    EXPECT(plan != NULL);
    Buf want = {0};
    buf_printf(&want, "Errors occurred:\n%s", reasons);
    buf_put_u8(&want, 0);
    EXPECT_STR(diag.text, (char *)want.ptr);
    buf_deinit(&want);
    migrate_plan_free(&plan);
    moduledef_free(&old_def);
    moduledef_free(&new_def);
}

// A table `t` with the row (a: U64, b: String) and whatever else is said.
#define ROW(text, ...) (&(DefText){.types = {text}, .tables = {{.name = "t", __VA_ARGS__}}})
#define AB             "Row: (a: U64, b: String)"
#define PLAIN          ROW(AB, .is_private = false)
#define KEY(n)         .primary_key = n, .unique = {n}, .indexes = {{.name = "i", .columns = n}}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

TEST(migrate, does_nothing_when_nothing_changed) {
    expect_plan(PLAIN, PLAIN, "");
}

TEST(migrate, adds_and_removes_tables) {
    static const DefText two = {.types = {AB}, .tables = {{.name = "t"}, {.name = "a"}}};
    expect_plan(PLAIN, &two, "AddTable a");
    expect_plan(&two, PLAIN, "RemoveTable a, DisconnectAll");
}

TEST(migrate, takes_a_renamed_table_for_one_removed_and_one_added) {
    static const DefText renamed = {.types = {AB}, .tables = {{.name = "u"}}};
    expect_plan(PLAIN, &renamed, "RemoveTable t, AddTable u, DisconnectAll");
}

TEST(migrate, changes_access_and_primary_key_without_disconnecting) {
    expect_plan(PLAIN, ROW(AB, .is_private = true), "ChangeAccess t");
    expect_plan(ROW(AB, .unique = {"0"}, .indexes = {{.name = "i", .columns = "0"}}),
                ROW(AB, KEY("0")),
                "ChangePrimaryKey t");
}

TEST(migrate, refuses_other_flags) {
    expect_refused(PLAIN,
                   ROW(AB, .is_event = true),
                   "Changing the event flag of table t requires a manual migration");
    expect_refused(
        PLAIN,
        ROW(AB, .is_system = true),
        "Changing the table type of table t from User to System requires a manual migration");
}

// ── columns ────────────────────────────────────────────────────────────────────────────────────

TEST(migrate, appends_columns_with_defaults_and_disconnects) {
    expect_plan(PLAIN,
                ROW("Row: (a: U64, b: String, c: U8)", .defaults = {{"2", "07"}}),
                "AddColumns t, DisconnectAll");
}

TEST(migrate, says_why_columns_cannot_come_go_or_move) {
    expect_refused(PLAIN,
                   ROW("Row: (a: U64, b: String, c: U8)", .is_private = false),
                   "Adding a column c to table t requires a default value annotation");
    expect_refused(PLAIN,
                   ROW("Row: (a: U64)", .is_private = false),
                   "Removing a column b from table t requires a manual migration");
    expect_refused(PLAIN,
                   ROW("Row: (b: String, a: U64)", .is_private = false),
                   "Reordering table t requires a manual migration");
    expect_refused(PLAIN,
                   ROW("Row: (c: U8, a: U64, b: String)", .defaults = {{"0", "07"}}),
                   "Reordering table t requires a manual migration");
}

TEST(migrate, collects_every_reason) {
    expect_refused(PLAIN,
                   ROW("Row: (a: U32, c: U8)", .is_private = true),
                   "Changing the type of column a in table t from U64 to U32 requires a manual "
                   "migration\n\n"
                   "Removing a column b from table t requires a manual migration\n\n"
                   "Adding a column c to table t requires a default value annotation");
}

TEST(migrate, lets_an_event_table_become_anything) {
    expect_plan(ROW(AB, .is_event = true),
                ROW("Row: (x: Bool)", .is_event = true),
                "ReschemaEventTable t, DisconnectAll");
}

// ── column types (§6.3) ────────────────────────────────────────────────────────────────────────

#define TYPES(row, other) \
    (&(DefText){.types = {"Row: (c: " row ")", other}, .tables = {{.name = "t"}}})
#define INNER(row, a, b) \
    (&(DefText){.types = {"Row: (c: " row ")", a, b}, .tables = {{.name = "t"}}})

TEST(migrate, appends_variants_that_take_no_more_room) {
    expect_plan(TYPES("&1", "E: [A | B]"), TYPES("&1", "E: [A | B | C]"), "ChangeColumns t");
    expect_plan(TYPES("&1", "E: [A: U32 | B]"),
                TYPES("&1", "E: [A: U32 | B | C: F32]"),
                "ChangeColumns t");
    expect_plan(TYPES("Array<&1>", "E: [A | B]"),
                TYPES("Array<&1>", "E: [A | B | C]"),
                "ChangeColumns t");
    expect_plan(INNER("&1", "P: (e: &2)", "E: [A]"),
                INNER("&1", "P: (e: &2)", "E: [A | B]"),
                "ChangeColumns t");
}

#define CHANGING "Changing the type of column c in table t from "
#define WITHIN   "Changing a type within column c in table t from "
#define MANUAL   " requires a manual migration"

TEST(migrate, refuses_other_types) {
    expect_refused(TYPES("U8", "X: U8"), TYPES("I8", "X: U8"), CHANGING "U8 to I8" MANUAL);
    expect_refused(TYPES("Array<U8>", "X: U8"),
                   TYPES("Array<I8>", "X: U8"),
                   WITHIN "U8 to I8" MANUAL);
    expect_refused(TYPES("Option<U8>", "X: U8"),
                   TYPES("U8", "X: U8"),
                   CHANGING "(some: U8 | none: ()) to U8" MANUAL);
}

TEST(migrate, refuses_fewer_or_renamed_variants) {
    expect_refused(TYPES("&1", "E: [A | B]"),
                   TYPES("&1", "E: [A]"),
                   CHANGING "(a: () | b: ()) to (a: ()), with fewer variants," MANUAL);
    expect_refused(TYPES("Array<&1>", "E: [A | B]"),
                   TYPES("Array<&1>", "E: [A]"),
                   WITHIN "(a: () | b: ()) to (a: ()), with fewer variants," MANUAL);
    expect_refused(TYPES("Array<&1>", "E: [A | B]"),
                   TYPES("Array<&1>", "E: [A | C]"),
                   CHANGING "(a: () | b: ()) to (a: () | c: ()), with a renamed variant," MANUAL);
}

TEST(migrate, refuses_variants_that_change_size_or_alignment) {
    expect_refused(INNER("&1", "E: [A: U8]", "P: (x: U8, y: U8)"),
                   INNER("&1", "E: [A: U8 | B: &2]", "P: (x: U8, y: U8)"),
                   CHANGING "(a: U8) to (a: U8 | b: (x: U8, y: U8))," MANUAL
                            ", due to size mismatch");
    expect_refused(TYPES("Array<&1>", "E: [A: U8]"),
                   TYPES("Array<&1>", "E: [A: U8 | B: U32]"),
                   WITHIN "(a: U8) to (a: U8 | b: U32)," MANUAL ", due to size mismatch\n\n" WITHIN
                          "(a: U8) to (a: U8 | b: U32)," MANUAL ", due to alignment mismatch");
}

TEST(migrate, refuses_other_fields) {
    expect_refused(TYPES("&1", "P: (x: U8)"),
                   TYPES("&1", "P: (x: U8, y: U8)"),
                   CHANGING "(x: U8) to (x: U8, y: U8), with fewer fields," MANUAL);
    expect_refused(TYPES("Array<&1>", "P: (x: U8)"),
                   TYPES("Array<&1>", "P: (z: U8)"),
                   CHANGING "(x: U8) to (z: U8), with a renamed field," MANUAL);
}

// ── accessors ──────────────────────────────────────────────────────────────────────────────────

TEST(migrate, changes_source_names) {
    static const DefText before = {
        .types = {"Row: (userId: U64)"},
        .tables = {{.name = "myTable", .indexes = {{.name = "one", .columns = "0"}}}}};
    static const DefText after = {
        .types = {"Row: (user_id: U64)"},
        .tables = {{.name = "my_table", .indexes = {{.name = "two", .columns = "0"}}}}};
    expect_plan(&before,
                &after,
                "ChangeIndexSourceName my_table_user_id_idx_btree, ChangeTableAccessor my_table, "
                "ChangeColumnAccessor my_table");
}

TEST(migrate, refuses_another_accessor_of_an_index) {
    expect_refused(ROW(AB, .indexes = {{.name = "i", .accessor = "byA", .columns = "0"}}),
                   ROW(AB, .indexes = {{.name = "i", .columns = "0"}}),
                   "Changing the accessor name on index t_a_idx_btree from Some(\"byA\") to None "
                   "requires a manual migration");
}

// ── indexes, constraints, sequences, schedules ─────────────────────────────────────────────────

TEST(migrate, adds_removes_and_replaces_indexes) {
    expect_plan(PLAIN,
                ROW(AB, .indexes = {{.name = "i", .columns = "0"}}),
                "AddIndex t_a_idx_btree");
    expect_plan(ROW(AB, .indexes = {{.name = "i", .columns = "0"}}),
                PLAIN,
                "RemoveIndex t_a_idx_btree");
    DefText one = *ROW(AB, .indexes = {{.name = "i", .columns = "0"}});
    DefText other = *ROW(AB, .indexes = {{.name = "i", .columns = "1"}});
    one.explicit_names[0] = other.explicit_names[0] = "index i same";
    expect_plan(&one, &other, "RemoveIndex same, AddIndex same");
}

TEST(migrate, adds_and_removes_constraints) {
    expect_plan(ROW(AB, .indexes = {{.name = "i", .columns = "0"}}),
                ROW(AB, .unique = {"0"}, .indexes = {{.name = "i", .columns = "0"}}),
                "AddConstraint t_a_key");
    expect_plan(ROW(AB, .unique = {"0"}, .indexes = {{.name = "i", .columns = "0"}}),
                ROW(AB, .indexes = {{.name = "i", .columns = "0"}}),
                "RemoveConstraint t_a_key");
}

TEST(migrate, refuses_a_constraint_of_the_same_name_over_other_columns) {
    // t_a_b_key over (a, b), and over the one column a_b.
    static const DefText two = {
        .types = {"Row: (a: U64, b: U64, a_b: U64)"},
        .tables = {{.name = "t", .unique = {"0,1"}, .indexes = {{.name = "i", .columns = "0,1"}}}}};
    static const DefText one = {
        .types = {"Row: (a: U64, b: U64, a_b: U64)"},
        .tables = {{.name = "t", .unique = {"2"}, .indexes = {{.name = "i", .columns = "2"}}}}};
    expect_refused(&two,
                   &one,
                   "Changing a unique constraint t_a_b_key requires a manual migration");
}

TEST(migrate, adds_removes_and_replaces_sequences) {
    expect_plan(PLAIN, ROW(AB, .sequences = {{.columns = "0"}}), "AddSequence t_a_seq");
    expect_plan(ROW(AB, .sequences = {{.columns = "0"}}), PLAIN, "RemoveSequence t_a_seq");
    expect_plan(ROW(AB, .sequences = {{.columns = "0"}}),
                ROW(AB, .sequences = {{.columns = "0", .increment = 2}}),
                "RemoveSequence t_a_seq, AddSequence t_a_seq");
}

TEST(migrate, plans_schedules_although_they_fail_later) {
#define TIMER(...)                                                \
    (&(DefText){.types = {"Row: (a: U64, at: ScheduleAt)"},       \
                .tables = {{.name = "t", KEY("0"), __VA_ARGS__}}, \
                .reducers = {{.name = "tick", .params = "(row: &0)"}}})
    expect_plan(TIMER(.is_private = false), TIMER(.schedule = {"tick", 1}), "AddSchedule t_sched");
    expect_plan(TIMER(.schedule = {"tick", 1}),
                TIMER(.is_private = false),
                "RemoveSchedule t_sched");
}

// ── views, rules, what is free ─────────────────────────────────────────────────────────────────

#define VIEW(...)                                 \
    (&(DefText){.types = {AB, "Other: (a: U64)"}, \
                .tables = {{.name = "t"}},        \
                .views = {{__VA_ARGS__}}})

TEST(migrate, updates_replaces_adds_and_removes_views) {
    expect_plan(PLAIN, VIEW(.name = "v", .returns = "Array<&0>"), "AddView v");
    expect_plan(VIEW(.name = "v", .returns = "Array<&0>"), PLAIN, "RemoveView v, DisconnectAll");
    expect_plan(VIEW(.name = "v", .returns = "Array<&0>"),
                VIEW(.name = "v", .returns = "Option<&0>"),
                "UpdateView v");
    expect_plan(VIEW(.name = "v", .returns = "Array<&0>"),
                VIEW(.name = "v", .returns = "Array<&1>"),
                "RemoveView v, AddView v, DisconnectAll");
    expect_plan(VIEW(.name = "v", .returns = "Array<&0>"),
                VIEW(.name = "v", .returns = "Array<&0>", .is_anonymous = true),
                "RemoveView v, AddView v, DisconnectAll");
    expect_plan(VIEW(.name = "v", .returns = "Array<&0>"),
                VIEW(.name = "v", .returns = "Array<&0>", .is_private = true),
                "ChangeAccess v, UpdateView v");
}

TEST(migrate, replaces_rules_and_disconnects_when_their_set_changes) {
    DefText with = *PLAIN, other = *PLAIN;
    with.row_level_security[0] = "SELECT * FROM t";
    other.row_level_security[0] = "SELECT t.* FROM t";
    expect_plan(PLAIN, &with, "AddRls SELECT * FROM t, DisconnectAll");
    expect_plan(&with, PLAIN, "RemoveRls SELECT * FROM t, DisconnectAll");
    expect_plan(&with, &with, "RemoveRls SELECT * FROM t, AddRls SELECT * FROM t");
    expect_plan(&with,
                &other,
                "RemoveRls SELECT * FROM t, AddRls SELECT t.* FROM t, DisconnectAll");
}

TEST(migrate, is_free_to_change_functions) {
    DefText with = *PLAIN;
    with.reducers[0] = (DefTextFunction){.name = "init", .lifecycle = 1};
    with.procedures[0] = (DefTextFunction){.name = "p"};
    with.handlers[0] = "h";
    with.routes[0] = "h GET /x";
    expect_plan(PLAIN, &with, "");
    expect_plan(&with, PLAIN, "");
}

TEST(migrate, reports_the_step_from_version_9) {
    expect_plan_versions(PLAIN, 9, PLAIN, "");
}

TEST(migrate, orders_steps_by_kind_and_then_by_name) {
    static const DefText more = {
        .types = {AB},
        .tables = {{.name = "z"},
                   {.name = "t",
                    .indexes = {{.name = "i2", .columns = "1"}, {.name = "i1", .columns = "0"}}},
                   {.name = "b"}}};
    expect_plan(PLAIN,
                &more,
                "AddTable b, AddTable z, AddIndex t_a_idx_btree, AddIndex t_b_idx_btree");
}

TEST(migrate, treats_what_submodules_declare_like_everything_else) {
    static const DefText lib = {.types = {AB}, .tables = {{.name = "a"}, {.name = "t"}}};
    static const DefText changed = {.types = {"Row: (a: U64, b: String, c: U8)"},
                                    .tables = {{.name = "t", .defaults = {{"2", "07"}}}}};
    DefText with = *PLAIN, other = *PLAIN;
    with.submodules[0] = (DefTextSubmodule){"lib", &lib};
    other.submodules[0] = (DefTextSubmodule){"lib", &changed};
    expect_plan(&with, &with, "");
    // The root's come first, although "lib.a" is before "t".
    expect_plan(&(DefText){.types = {AB}}, &with, "AddTable t, AddTable lib.a, AddTable lib.t");
    expect_plan(&with, &other, "RemoveTable lib.a, AddColumns lib.t, DisconnectAll");
}

// ── how it reads ───────────────────────────────────────────────────────────────────────────────

TEST(migrate, prints_a_plan_for_a_person) {
    static const DefText after = {
        .types = {"Row: (a: U64, b: String, c: U32)", "Users: (id: U32)"},
        .tables = {{.name = "t", .is_private = true, .defaults = {{"2", "00000000"}}},
                   {.name = "users", .row = 1, KEY("0"), .sequences = {{.columns = "0"}}}}};
    ModuleDef *old_def = def_text(PLAIN, 10), *new_def = def_text(&after, 10);
    MigratePlan *plan = NULL;
    EXPECT_OK(migrate_plan(old_def, new_def, &plan, NULL));
    Buf text = {0};
    migrate_plan_print(plan, false, &text);
    buf_put_u8(&text, 0);
#define LINE20 "━━━━━━━━━━━━━━━━━━━━"
    EXPECT_STR((char *)text.ptr,
               LINE20 LINE20 LINE20
               "\nDatabase Migration Plan\n" LINE20 LINE20 LINE20 "\n\n"
               "▸ Created column in table t\n"
               "    + c: U32 (default: 0)\n"
               "▸ Created user table: users (public)\n"
               "    Columns:\n"
               "        • id: U32\n"
               "    Unique constraints:\n"
               "        • users_id_key on [id]\n"
               "    Indexes:\n"
               "        • users_id_idx_btree on [id]\n"
               "    Auto-increment constraints:\n"
               "        • users_id_seq on id\n"
               "\n"
               "▸ Changed access for table t (public → private)\n"
               "!!! Warning: All clients will be disconnected due to breaking schema changes\n");
    Buf coloured = {0};
    migrate_plan_print(plan, true, &coloured);
    EXPECT(memchr(coloured.ptr, 0x1b, coloured.len) != NULL);
    buf_deinit(&coloured);
    buf_deinit(&text);
    migrate_plan_free(&plan);
    moduledef_free(&old_def);
    moduledef_free(&new_def);
}

TEST(migrate, survives_every_failing_allocation) {
    static const DefText after = {.types = {AB}, .tables = {{.name = "x"}, {.name = "y"}}};
    ModuleDef *old_def = def_text(PLAIN, 10), *new_def = def_text(&after, 10);
    Err err = ERR_NOMEM;
    for (int64_t n = 0; err != OK; n++) {
        MigratePlan *plan = NULL;
        mem_fault_arm(n);
        err = migrate_plan(old_def, new_def, &plan, NULL);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(err == OK || (hit && err == ERR_NOMEM && !plan));
        migrate_plan_free(&plan);
    }
    moduledef_free(&old_def);
    moduledef_free(&new_def);
}

TEST_MAIN()
