#include "schema/def.h"

#include "base/mem.h"
#include "base/test.h"
#include "schema/def_text.h"
#include "schema/golden_chat.h"
#include "schema/raw.h"

static ModuleDef *golden_chat(void) {
    uint8_t raw[GOLDEN_CHAT_BYTES];
    EXPECT_EQ(sizeof golden_chat_hex - 1, 2 * GOLDEN_CHAT_BYTES);
    EXPECT(hex_read(str_from(golden_chat_hex), raw));
    ModuleDef *def = NULL;
    EXPECT_OK(moduledef_decode(BYTES(raw, sizeof raw), &def, NULL));
    return def;
}

#define EXPECT_NAME(str, text) EXPECT_STR(test_c_string(str), text)
static const char *test_c_string(Str str) {
    static char text[4][2048];
    static int turn;
    char *out = text[turn++ & 3];
    snprintf(out, sizeof text[0], STR_FMT, STR_ARG(str));
    return out;
}

// The reasons for refusing a definition.
static const char *refusal(const DefText *text, uint32_t version) {
    static Diag diag;
    ModuleDef *def = NULL;
    diag_clear(&diag);
    Err err = def_text_decode(text, version, &def, &diag);
    if (err == OK) moduledef_free(&def);
    EXPECT_ERR(err, ERR_INVALID);
    return diag.text;
}

static void expect_refused(const char *reasons, const DefText *text) {
    EXPECT_STR(refusal(text, 10), reasons);
}

// ── what is accepted ───────────────────────────────────────────────────────────────────────────

TEST(moduledef, reads_the_chat_examples_definition_as_documented) {
    ModuleDef *def = golden_chat();
    EXPECT_EQ(def->version, 10);
    EXPECT_EQ(def->case_policy, CASE_SNAKE);
    EXPECT_EQ(def->typespace.count, 7);
    EXPECT_EQ(def->type_count, 7);
    EXPECT_NAME(def->types[6].name, "SetName");

    EXPECT_EQ(def->table_count, 2);
    const TableDef *user = moduledef_table(def, STR("user"));
    EXPECT(user == &def->tables[0]);
    EXPECT_EQ(user->primary_key, 0);
    EXPECT(user->is_public);
    EXPECT(!user->is_event);
    EXPECT_EQ(user->column_count, 3);
    EXPECT_NAME(user->columns[2].name, "online");
    EXPECT_EQ(user->columns[0].type->special, SPECIAL_IDENTITY);
    EXPECT_EQ(user->columns[1].type->special, SPECIAL_OPTION);
    EXPECT_EQ(user->index_count, 1);
    EXPECT_NAME(user->indexes[0].name, "user_identity_idx_btree");
    EXPECT_NAME(user->indexes[0].source, "user_identity_idx_btree");
    EXPECT_NAME(user->indexes[0].accessor, "identity");
    EXPECT_EQ(user->indexes[0].column_count, 1);
    EXPECT_EQ(user->constraint_count, 1);
    EXPECT_NAME(user->constraints[0].name, "user_identity_key");
    EXPECT_NAME(def->tables[1].name, "message");
    EXPECT_EQ(def->tables[1].primary_key, -1);

    EXPECT_EQ(def->reducer_count, 5);
    const FunctionDef *connect = moduledef_reducer(def, STR("on_connect"));
    EXPECT(connect == &def->reducers[1]);
    EXPECT_NAME(connect->source, "onConnect");
    EXPECT(connect == moduledef_lifecycle(def, LIFECYCLE_CONNECT));
    EXPECT(connect->is_private);
    EXPECT(moduledef_reducer(def, STR("onConnect")) == NULL);
    const FunctionDef *send = moduledef_reducer(def, STR("send_message"));
    EXPECT_EQ(send->id, 3);
    EXPECT(!send->is_private);
    EXPECT_EQ(send->params->field_count, 1);
    EXPECT_NAME(send->params->fields[0].name, "text");
    EXPECT(moduledef_procedure(def, STR("send_message")) == NULL);
    moduledef_free(&def);
    EXPECT(def == NULL);
}

static const DefText game = {
    .types = {"PlayerRow: (playerId: U64, displayName: String, state: &1, at: ScheduleAt)",
              "PlayerV2State: [NotReady | ReadyAt: Timestamp]",
              "HTTPThing: (a1: Option<U8>)"},
    .tables = {{.name = "playerTable1",
                .row = 0,
                .primary_key = "0",
                .unique = {"0", "1"},
                .indexes = {{.name = "playerTable1_playerId_idx_btree", .columns = "0"},
                            {.name = "byName",
                             .accessor = "byName",
                             .algorithm = INDEX_HASH,
                             .columns = "1"},
                            {.name = "explicitOne", .columns = "2,1"}},
                .sequences = {{.columns = "0"}},
                .schedule = {"tickPlayer", 3}}},
    .reducers = {{.name = "tickPlayer", .params = "(row: &0)"},
                 {.name = "startUp", .lifecycle = 1 + LIFECYCLE_INIT},
                 {.name = "addOne", .params = "(howMany: U32)"}},
    .procedures = {{.name = "askHTTP", .returns = "Array<&1>"}},
    .views =
        {{.name = "allPlayers", .returns = "Array<&0>", .index = 0, .keys = {"playerId"}},
         {.name = "readyPlayers", .returns = "(__query__: &0)", .index = 0, .is_anonymous = true}},
    .explicit_names = {"index explicitOne my_index", "function addOne Add"},
    .handlers = {"onHook"},
    .routes = {"onHook POST /hook", "onHook GET /hook"},
};

TEST(moduledef, gives_canonical_names_and_keeps_the_source_names) {
    ModuleDef *def = def_text(&game, 10);
    const TableDef *table = moduledef_table(def, STR("player_table_1"));
    EXPECT_NAME(table->source, "playerTable1");
    EXPECT_NAME(table->columns[0].name, "player_id");
    EXPECT_NAME(table->columns[0].source, "playerId");
    EXPECT_NAME(table->row_type->fields[1].name, "display_name");
    EXPECT_NAME(table->columns[2].type->fields[1].name, "readyAt");
    EXPECT_NAME(table->columns[3].type->fields[0].name, "Interval");
    EXPECT_NAME(def->typespace.types[0]->fields[0].name, "playerId");
    EXPECT_NAME(table->indexes[0].name, "player_table_1_player_id_idx_btree");
    EXPECT_NAME(table->indexes[0].source, "playerTable1_playerId_idx_btree");
    EXPECT_NAME(table->indexes[1].name, "player_table_1_display_name_idx_hash");
    EXPECT_NAME(table->indexes[1].source, "byName");
    EXPECT_NAME(table->indexes[2].name, "my_index");
    EXPECT_NAME(table->constraints[1].name, "player_table_1_display_name_key");
    EXPECT_NAME(table->sequences[0].name, "player_table_1_player_id_seq");
    EXPECT_NAME(table->schedule->name, "player_table_1_sched");
    EXPECT_NAME(table->schedule->function, "tick_player");
    EXPECT_EQ(table->schedule->at_column, 3);
    EXPECT_EQ(table->schedule->id_column, 0);
    EXPECT_NAME(def->types[0].name, "PlayerRow");
    EXPECT_NAME(def->types[1].name, "PlayerV2State");
    EXPECT_NAME(def->types[2].name, "HttpThing");
    EXPECT_NAME(def->types[2].source, "HTTPThing");
    EXPECT_NAME(def->reducers[2].name, "Add");
    EXPECT_NAME(def->reducers[2].params->fields[0].name, "how_many");
    EXPECT(moduledef_procedure(def, STR("ask_http")) != NULL);
    EXPECT_NAME(def->http_routes[0].handler, "on_hook");
    EXPECT_NAME(def->http_routes[0].method, "POST");
    moduledef_free(&def);
}

TEST(moduledef, makes_lifecycle_and_scheduled_functions_private_in_version_10_only) {
    ModuleDef *def = def_text(&game, 10);
    EXPECT(moduledef_reducer(def, STR("tick_player"))->is_private);
    EXPECT(moduledef_lifecycle(def, LIFECYCLE_INIT)->is_private);
    EXPECT(!moduledef_reducer(def, STR("Add"))->is_private);
    moduledef_free(&def);
    def = def_text(&game, 9);
    EXPECT(!moduledef_reducer(def, STR("tickPlayer"))->is_private);
    EXPECT(!moduledef_lifecycle(def, LIFECYCLE_INIT)->is_private);
    moduledef_free(&def);
}

TEST(moduledef, keeps_every_name_of_version_9) {
    ModuleDef *def = def_text(&game, 9);
    EXPECT_EQ(def->version, 9);
    const TableDef *table = moduledef_table(def, STR("playerTable1"));
    EXPECT_NAME(table->columns[0].name, "playerId");
    EXPECT_NAME(table->indexes[1].name, "byName");
    EXPECT_NAME(table->constraints[0].name, "playerTable1_playerId_key");
    EXPECT_NAME(table->schedule->name, "playerTable1_sched");
    EXPECT_NAME(table->schedule->function, "tickPlayer");
    EXPECT_EQ(def->procedure_count, 1);
    EXPECT_EQ(def->view_count, 2);
    EXPECT_NAME(def->types[2].name, "HTTPThing");
    moduledef_free(&def);
}

TEST(moduledef, finds_the_key_of_a_view) {
    ModuleDef *def = def_text(&game, 10);
    EXPECT_NAME(def->views[0].name, "all_players");
    EXPECT_EQ(def->views[0].primary_key, 0);
    EXPECT(!def->views[0].is_query);
    EXPECT(def->views[1].is_query);
    EXPECT(def->views[1].is_anonymous);
    EXPECT_EQ(def->views[1].primary_key, 0);  // the table's
    EXPECT(def->views[1].row_type == def->tables[0].row_type);
    moduledef_free(&def);
}

TEST(moduledef, keeps_default_values) {
    static const DefText text = {
        .types = {"T: (a: U32, b: Option<U8>)"},
        .tables = {{.name = "t", .defaults = {{"0", "2a000000"}, {"1", "01"}}}},
    };
    for (uint32_t version = 9; version <= 10; version++) {
        ModuleDef *def = def_text(&text, version);
        EXPECT(def->tables[0].columns[0].has_default);
        EXPECT_HEX(def->tables[0].columns[0].default_value, "2a000000");
        EXPECT_HEX(def->tables[0].columns[1].default_value, "01");
        moduledef_free(&def);
    }
}

// ── what is refused, each row of §3.8 ──────────────────────────────────────────────────────────

#define ONE_COLUMN .types = {"T: (a: U64, b: String, at: ScheduleAt)"}

TEST(moduledef, refuses_names_that_clash) {
    expect_refused("name `t` is used for multiple entities\n"
                   "Name r is used for multiple reducers, procedures and/or views\n"
                   "Name r is used for multiple reducers, procedures and/or views",
                   &(DefText){ONE_COLUMN,
                              .tables = {{.name = "t"}, {.name = "T"}},
                              .reducers = {{.name = "r"}, {.name = "R"}},
                              .procedures = {{.name = "r"}}});
    expect_refused("name `T` is used for multiple types",
                   &(DefText){.types = {"T: (a: U64)", "t: (b: U8)"}});
    expect_refused("HTTP handler name h is used for multiple HTTP handlers",
                   &(DefText){.handlers = {"h", "H"}});
    // A source name is a name too: modules look tables up by it.
    expect_refused("name `Tab` is used for multiple entities",
                   &(DefText){ONE_COLUMN,
                              .tables = {{.name = "Tab"}, {.name = "other"}},
                              .explicit_names = {"table other Tab"}});
    expect_refused(
        "table `t` has multiple columns named `foo_bar`",
        &(DefText){.types = {"T: (fooBar: U8, foo_bar: U8)"}, .tables = {{.name = "t"}}});
}

TEST(moduledef, refuses_what_is_not_an_identifier) {
    expect_refused("module contains invalid identifier: Empty identifiers are forbidden.",
                   &(DefText){.reducers = {{.name = "_"}}});
    EXPECT(strstr(refusal(&(DefText){.reducers = {{.name = "1a"}}, .keep_case = true}, 10),
                  "module contains invalid identifier: Identifier `1a`'s starting character '1' is "
                  "neither an underscore ('_') nor a Unicode XID_start character"));
    EXPECT(strstr(refusal(&(DefText){.types = {"(a$b: U8)"}}, 10),
                  "Identifier `a$b` contains a character '$' that is not an XID_continue"));
}

TEST(moduledef, refuses_bad_row_types) {
    expect_refused("table `t` has unnamed column `1`, which is forbidden.",
                   &(DefText){.types = {"T: (a: U8, U8)"}, .tables = {{.name = "t"}}});
    expect_refused("Table t has invalid product_type_ref 1\nTable u has invalid product_type_ref 7",
                   &(DefText){.types = {"T: (a: U8)", "E: [A | B]"},
                              .tables = {{.name = "t", .row = 1}, {.name = "u", .row = 7}}});
    expect_refused("table `t` has 0 columns; it must have 1 to 4096",
                   &(DefText){.types = {"T: ()"}, .tables = {{.name = "t"}}});
    expect_refused(
        "table `t` column `next` has a type that contains itself and cannot be stored",
        &(DefText){.types = {"T: (a: U8, next: Option<&0>)"}, .tables = {{.name = "t"}}});
    expect_refused(
        "error at table `t` column `a`: internal codegen error: the type (x: U8) must be "
        "declared and referred to by name",
        &(DefText){.types = {"(a: (x: U8))"}, .tables = {{.name = "t"}}});
    expect_refused("Table name is reserved for system use: st_mine",
                   &(DefText){ONE_COLUMN, .tables = {{.name = "st_mine"}}});
    expect_refused("type `T` is not annotated with a custom ordering, but uses one: (b: U8, a: U8)",
                   &(DefText){.types = {"T: (b: U8, a: U8)"}, .sorted_types = true});
}

TEST(moduledef, refuses_types_that_double_with_every_reference) {
    static const DefText text = {
        .types = {"A: (a: U64, b: U64, c: U64, d: U64, e: U64, f: U64, g: U64, h: U64)",
                  "B: (a: &0, b: &0, c: &0, d: &0, e: &0, f: &0, g: &0, h: &0)",
                  "C: (a: &1, b: &1, c: &1, d: &1, e: &1, f: &1, g: &1, h: &1)",
                  "D: (a: &2, b: &2, c: &2, d: &2, e: &2, f: &2, g: &2, h: &2)",
                  "E: (a: &3, b: &3, c: &3, d: &3, e: &3, f: &3, g: &3, h: &3)",
                  "F: (a: &4, b: &4, c: &4, d: &4, e: &4, f: &4, g: &4, h: &4)",
                  "T: (x: &5)"},
        .tables = {{.name = "t", .row = 6}},
    };
    expect_refused(
        "table `t` column `x` has a type that is nested too deep or too large and cannot "
        "be stored",
        &text);
}

TEST(moduledef, refuses_bad_indexes_and_constraints) {
    expect_refused(
        "column `9` referenced by def t_col_9_idx_btree not found in table `t`",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t", .indexes = {{.name = "i", .columns = "9"}}}}});
    expect_refused(
        "def `t_a_a_idx_btree` has duplicate columns: [0, 0]",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t", .indexes = {{.name = "i", .columns = "0,0"}}}}});
    expect_refused(
        "Direct index does not support type `String` in column `b` in index "
        "`t_b_idx_direct`",
        &(DefText){
            ONE_COLUMN,
            .tables = {{.name = "t",
                        .indexes = {{.name = "i", .algorithm = INDEX_DIRECT, .columns = "1"}}}}});
    expect_refused(
        "index `t_a_idx_btree` on table `t` has no source name",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t", .indexes = {{.name = "-", .columns = "0"}}}}});
    expect_refused("No index found to support unique constraint `t_a_b_key` for columns `[0, 1]`",
                   &(DefText){ONE_COLUMN,
                              .tables = {{.name = "t",
                                          .unique = {"0,1"},
                                          .indexes = {{.name = "i", .columns = "0"}}}}});
}

TEST(moduledef, lets_a_constraint_use_an_index_in_another_column_order) {
    ModuleDef *def =
        def_text(&(DefText){ONE_COLUMN,
                            .tables = {{.name = "t",
                                        .unique = {"0,1"},
                                        .indexes = {{.name = "i", .columns = "1,0"}}}}},
                 10);
    moduledef_free(&def);
}

TEST(moduledef, refuses_bad_primary_keys) {
    expect_refused("table `t` has multiple primary key annotations",
                   &(DefText){ONE_COLUMN, .tables = {{.name = "t", .primary_key = "0,1"}}});
    expect_refused("table `t` column `a` is primary key but has no unique constraint",
                   &(DefText){ONE_COLUMN, .tables = {{.name = "t", .primary_key = "0"}}});
    expect_refused("column `8` referenced by def t not found in table `t`",
                   &(DefText){ONE_COLUMN, .tables = {{.name = "t", .primary_key = "8"}}});
}

TEST(moduledef, refuses_bad_sequences) {
    expect_refused(
        "invalid sequence column type: table `t` column `b` with type `String` in "
        "sequence `t_b_seq`",
        &(DefText){ONE_COLUMN, .tables = {{.name = "t", .sequences = {{.columns = "1"}}}}});
    expect_refused(
        "Attempt to define table `t` column `a` with more than 1 auto_inc sequence",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t",
                               .sequences = {{.columns = "0"}, {.name = "s2", .columns = "0"}}}}});
    expect_refused(
        "invalid sequence range information: expected min_value <= start <= max_value in "
        "sequence `t_a_seq`",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t",
                               .sequences = {{.columns = "0",
                                              .has_start = true,
                                              .start = 5,
                                              .has_min = true,
                                              .min = 6}}}}});
    expect_refused(
        "column `4` referenced by def t_col_4_seq not found in table `t`",
        &(DefText){ONE_COLUMN, .tables = {{.name = "t", .sequences = {{.columns = "4"}}}}});
}

TEST(moduledef, refuses_bad_schedules) {
#define KEYED .primary_key = "0", .unique = {"0"}, .indexes = { {.name = "i", .columns = "0"} }
    static const DefTextFunction tick = {.name = "tick", .params = "(row: &0)"};
    expect_refused(
        "A scheduled table must have columns `scheduled_id: u64` and `scheduled_at: "
        "ScheduledAt`, but table `t` has columns (a: U64, b: String, at: (Interval: "
        "(__time_duration_micros__: I64) | Time: (__timestamp_micros_since_unix_epoch__: "
        "I64)))",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t", KEYED, .schedule = {"tick", 1}}},
                   .reducers = {tick}});
    expect_refused(
        "Schedule t_sched refers to a scheduled reducer or procedure tock that does not "
        "exist",
        &(DefText){ONE_COLUMN, .tables = {{.name = "t", KEYED, .schedule = {"tock", 2}}}});
    expect_refused("Scheduled reducer tick expected to have type (&0), but has type (x: U8)",
                   &(DefText){ONE_COLUMN,
                              .tables = {{.name = "t", KEYED, .schedule = {"tick", 2}}},
                              .reducers = {{.name = "tick", .params = "(x: U8)"}}});
}

TEST(moduledef, refuses_bad_lifecycle_reducers) {
    expect_refused(
        "Multiple reducers defined for lifecycle event Init",
        &(DefText){.reducers = {{.name = "a", .lifecycle = 1}, {.name = "b", .lifecycle = 1}}});
    expect_refused("reducer a has invalid return type: found Result<U8, String>",
                   &(DefText){.reducers = {{.name = "a", .returns = "U8"}}});
}

TEST(moduledef, refuses_bad_default_values) {
    expect_refused("Failed to deserialize default value for table t column 0: data too short for "
                   "u64: Expected 8, given 1",
                   &(DefText){ONE_COLUMN, .tables = {{.name = "t", .defaults = {{"0", "01"}}}}});
    expect_refused("Multiple default values for table t column 0",
                   &(DefText){ONE_COLUMN,
                              .tables = {{.name = "t",
                                          .defaults = {{"0", "0100000000000000"},
                                                       {"0", "0100000000000000"}}}}});
    expect_refused(
        "Failed to deserialize default value for table t column 0: 1 bytes are left over",
        &(DefText){ONE_COLUMN,
                   .tables = {{.name = "t", .defaults = {{"0", "010000000000000000"}}}}});
}

TEST(moduledef, refuses_bad_views) {  // case 130
    expect_refused("name `t` is used for multiple entities",
                   &(DefText){ONE_COLUMN,
                              .tables = {{.name = "t"}},
                              .views = {{.name = "t", .returns = "Array<&0>"}}});
    expect_refused("View v has invalid return type U8",
                   &(DefText){.views = {{.name = "v", .returns = "U8"}}});
    expect_refused(
        "View v has invalid product_type_ref 0",
        &(DefText){.types = {"E: [A | B]"}, .views = {{.name = "v", .returns = "Array<&0>"}}});
    expect_refused(
        "View v has multiple primary key columns: [a, b]",
        &(DefText){ONE_COLUMN,
                   .views = {{.name = "v", .returns = "Option<&0>", .keys = {"a", "b"}}}});
    expect_refused(
        "Primary key column z for view v not found",
        &(DefText){ONE_COLUMN, .views = {{.name = "v", .returns = "Option<&0>", .keys = {"z"}}}});
}

TEST(moduledef, refuses_bad_routes) {
    expect_refused(
        "HTTP route path `hook` is invalid; allowed characters are lowercase letters a-z, "
        "digits, `-`, `_`, `~` and `/`",
        &(DefText){.handlers = {"h"}, .routes = {"h GET hook"}});
    expect_refused("HTTP route duplicates method GET for path /a",
                   &(DefText){.handlers = {"h"}, .routes = {"h ANY /a", "h GET /a"}});
    expect_refused("HTTP route refers to unknown HTTP handler `g`",
                   &(DefText){.handlers = {"h"}, .routes = {"g GET /a"}});
}

// ── submodules ─────────────────────────────────────────────────────────────────────────────────

static const DefText deep = {
    .types = {"Row: (itsKey: U64)"},
    .tables = {{.name = "Leaf", .unique = {"0"}, .indexes = {{.name = "L", .columns = "0"}}}},
    .reducers = {{.name = "growLeaf", .params = "(row: &0)"}},
    .keep_case = true,
};
static const DefText lib = {
    .types = {"Fruit: (id: U64, at: ScheduleAt, kind: &1)", "Kind: [Apple | bigPear]"},
    .tables = {{.name = "FruitBasket",
                .primary_key = "0",
                .unique = {"0"},
                .sequences = {{.columns = "0"}},
                .indexes = {{.name = "FruitBasket_id_idx_btree", .columns = "0"},
                            {.name = "second", .columns = "2"}},
                .schedule = {"pickFruit", 1}}},
    .reducers = {{.name = "addFruit", .params = "(kind: &1)"},
                 {.name = "pickFruit", .params = "(row: &0)"}},
    .procedures = {{.name = "countFruit", .returns = "U32"}},
    .views = {{.name = "AllFruit", .returns = "Array<&0>", .index = 0, .keys = {"id"}}},
    .explicit_names = {"index second by_kind", "table FruitBasket basket"},
    .handlers = {"hook"},
    .routes = {"hook GET /lib"},
    .row_level_security = {"SELECT * FROM basket"},
    .submodules = {{"deep", &deep}},
};
static const DefText with_lib = {
    .types = {"Row: (a: U64)"},
    .tables = {{.name = "t"}},
    .reducers = {{.name = "init", .lifecycle = 1}, {.name = "go"}},
    .views = {{.name = "v", .returns = "Array<&0>", .index = 0},
              {.name = "w", .returns = "Array<&0>", .index = 0, .is_anonymous = true}},
    .handlers = {"root"},
    .routes = {"root GET /a"},
    .submodules = {{"lib", &lib}, {"other", &deep}},
};

TEST(submodule, has_its_items_under_its_namespace) {
    ModuleDef *def = def_text(&with_lib, 10);
    EXPECT_EQ(def->table_count, 4);
    const TableDef *basket = moduledef_table(def, STR("lib.basket"));
    EXPECT(basket != NULL);
    EXPECT_NAME(basket->source, "lib.FruitBasket");
    EXPECT_NAME(basket->submodule, "lib");
    EXPECT_NAME(basket->indexes[0].name, "lib.basket_id_idx_btree");
    EXPECT_NAME(basket->indexes[0].source, "lib.FruitBasket_id_idx_btree");
    EXPECT_NAME(basket->indexes[1].name, "lib.by_kind");
    EXPECT_NAME(basket->constraints[0].name, "lib.basket_id_key");
    EXPECT_NAME(basket->sequences[0].name, "lib.basket_id_seq");
    EXPECT_NAME(basket->schedule->name, "lib.basket_sched");
    EXPECT_NAME(basket->schedule->function, "lib.pick_fruit");
    EXPECT_NAME(basket->columns[2].name, "kind");
    EXPECT_NAME(basket->columns[2].type->fields[1].name, "bigPear");
    EXPECT(moduledef_table(def, STR("lib.deep.Leaf")) != NULL);
    EXPECT(moduledef_table(def, STR("other.Leaf")) != NULL);
    // Each module has a case policy of its own.
    EXPECT_NAME(moduledef_table(def, STR("other.Leaf"))->columns[0].name, "itsKey");
    EXPECT(moduledef_reducer(def, STR("lib.pick_fruit"))->is_private);
    EXPECT_EQ(def->row_level_security_count, 1);
    EXPECT_EQ(def->http_route_count, 1);  // the root's
    EXPECT_EQ(def->http_handler_count, 2);
    EXPECT_NAME(def->http_handlers[1], "lib.hook");
    moduledef_free(&def);
}

TEST(submodule, is_numbered_depth_first) {
    ModuleDef *def = def_text(&with_lib, 10);
    static const char *const reducers[] =
        {"init", "go", "lib.add_fruit", "lib.pick_fruit", "lib.deep.growLeaf", "other.growLeaf"};
    EXPECT_EQ(def->reducer_count, ARRAY_LEN(reducers));
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        EXPECT_NAME(def->reducers[i].name, reducers[i]);
        EXPECT_EQ(def->reducers[i].id, i);
    }
    EXPECT_EQ(def->procedures[0].id, 0);
    EXPECT_NAME(def->views[2].name, "lib.all_fruit");
    EXPECT_EQ(def->views[2].index, 1);  // behind the root's one sender view
    EXPECT_EQ(def->views[2].primary_key, 0);
    // References of a submodule are to its own types.
    EXPECT_EQ(def->typespace.count, 5);
    EXPECT_EQ(moduledef_table(def, STR("lib.basket"))->row_type_ref, 1);
    EXPECT_EQ(moduledef_table(def, STR("other.Leaf"))->row_type_ref, 4);
    EXPECT_NAME(def->types[2].submodule, "lib");
    EXPECT_EQ(def->types[2].ref, 2);
    moduledef_free(&def);
}

TEST(submodule, is_written_in_both_versions) {
    ModuleDef *def = def_text(&with_lib, 10);
    Diag diag;
    diag_clear(&diag);
    for (uint32_t version = 9; version <= 10; version++) {
        Buf json = {0};
        EXPECT_OK(moduledef_write_json(def, version, false, &json, &diag));
        buf_put_u8(&json, 0);
        const char *want =
            version == 9 ? "\"name\":\"lib.basket\"" : "\"namespace\":\"lib\",\"module\":{";
        EXPECT(strstr((char *)json.ptr, want) != NULL);
        buf_deinit(&json);
    }
    moduledef_free(&def);
}

TEST(submodule, is_refused_with_the_reason) {
    static const DefText nothing = {.keep_case = false};
    static const DefText bad = {.types = {"Row: (a: U64)"},
                                .tables = {{.name = "t"}},
                                .reducers = {{.name = "start", .lifecycle = 1}}};
    static const DefText nowhere = {.types = {"Row: (a: U64)"},
                                    .reducers = {{.name = "r", .params = "(a: &1)"}}};
    expect_refused("lifecycle event Init is not permitted in submodule under namespace `n`; "
                   "lifecycle reducers may only be declared in the root module",
                   &(DefText){.submodules = {{"n", &bad}}});
    expect_refused(
        "submodule namespace `a123456789b123456789c123456789d123456789e123456789f123456789g123` is "
        "64 bytes, which exceeds the 63-byte limit",
        &(DefText){
            .submodules = {
                {"a123456789b123456789c123456789d123456789e123456789f123456789g123", &deep}}});
    expect_refused("name `n` is used for multiple entities",
                   &(DefText){.submodules = {{"n", &nothing}, {"n", &nothing}}});
    expect_refused("module contains invalid identifier: Empty identifiers are forbidden.",
                   &(DefText){.submodules = {{"", &nothing}}});
    // A reference that leaves its module finds nothing, although there are types behind it.
    ModuleDef *def = NULL;
    Diag diag;
    EXPECT_ERR(
        def_text_decode(&(DefText){.submodules = {{"n", &nowhere}, {"m", &deep}}}, 10, &def, &diag),
        ERR_INVALID);
}

TEST(submodule, may_not_be_nested_without_end) {
    DefText levels[SUBMODULE_DEPTH_MAX + 1];
    memset(levels, 0, sizeof levels);
    for (int i = 0; i < SUBMODULE_DEPTH_MAX; i++)
        levels[i].submodules[0] = (DefTextSubmodule){"n", &levels[i + 1]};
    ModuleDef *def = def_text(&levels[1], 10);
    moduledef_free(&def);
    DefText more = {.submodules = {{"n", &levels[0]}}};
    Diag diag;
    EXPECT_ERR(def_text_decode(&more, 10, &def, &diag), ERR_LIMIT);
}

TEST(moduledef, refuses_references_to_nowhere) {
    ModuleDef *def = NULL;
    Diag diag;
    EXPECT_ERR(def_text_decode(&(DefText){.types = {"(a: &5)"}}, 10, &def, &diag), ERR_INVALID);
    EXPECT_ERR(def_text_decode(&(DefText){.reducers = {{.name = "r", .params = "(a: &5)"}}},
                               10,
                               &def,
                               &diag),
               ERR_INVALID);
}

// ── malformed bytes, exhausted memory ──────────────────────────────────────────────────────────

TEST(moduledef, refuses_every_prefix_of_a_definition) {
    Buf raw = {0};
    def_text_write(&raw, &game, 10);
    for (size_t len = 0; len < raw.len; len++) {
        ModuleDef *def = NULL;
        Diag diag;
        Err err = moduledef_decode(BYTES(raw.ptr, len), &def, &diag);
        EXPECT_ERR(err, ERR_MALFORMED);
        EXPECT(def == NULL);
    }
    buf_deinit(&raw);
}

TEST(moduledef, refuses_other_versions) {
    ModuleDef *def = NULL;
    EXPECT_ERR(moduledef_decode(BYTES("\0\0\0\0", 4), &def, NULL), ERR_UNSUPPORTED);
    EXPECT_ERR(moduledef_decode(BYTES("\3\0\0\0", 4), &def, NULL), ERR_MALFORMED);
    EXPECT_ERR(moduledef_decode(BYTES("\2\1\0\0\0\17", 6), &def, NULL), ERR_MALFORMED);
}

TEST(submodule, survives_every_failing_allocation) {
    Buf raw = {0};
    def_text_write(&raw, &with_lib, 10);
    Err err = ERR_NOMEM;
    for (int64_t n = 0; err != OK; n++) {
        ModuleDef *def = NULL;
        mem_fault_arm(n);
        err = moduledef_decode(buf_bytes(&raw), &def, NULL);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (err == OK)
            moduledef_free(&def);
        else
            EXPECT(hit && err == ERR_NOMEM);
    }
    buf_deinit(&raw);
}

TEST(moduledef, survives_every_failing_allocation) {
    Buf raw9 = {0}, raw10 = {0};
    def_text_write(&raw9, &game, 9);
    def_text_write(&raw10, &game, 10);
    for (int version = 9; version <= 10; version++) {
        Err err = ERR_NOMEM;
        for (int64_t n = 0; err != OK; n++) {
            ModuleDef *def = NULL;
            mem_fault_arm(n);
            err = moduledef_decode(buf_bytes(version == 9 ? &raw9 : &raw10), &def, NULL);
            bool hit = mem_fault_hit();
            mem_fault_arm(-1);
            if (err == OK)
                moduledef_free(&def);
            else
                EXPECT(hit && err == ERR_NOMEM);
        }
    }
    buf_deinit(&raw9);
    buf_deinit(&raw10);
}

TEST_MAIN()
