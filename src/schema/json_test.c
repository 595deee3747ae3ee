#include "base/mem.h"
#include "base/test.h"
#include "sats/bsatn.h"
#include "schema/def_text.h"
#include "schema/golden_chat.h"
#include "schema/shape.h"

static const char *json_of(const ModuleDef *def, uint32_t version, bool wrapper) {
    static char text[1 << 16];
    Buf out = {0};
    Diag diag;
    EXPECT_OK(moduledef_write_json(def, version, wrapper, &out, &diag));
    EXPECT(out.len < sizeof text);
    memcpy(text, out.ptr, out.len);
    text[out.len] = 0;
    buf_deinit(&out);
    return text;
}

static ModuleDef *golden_chat(void) {
    uint8_t raw[GOLDEN_CHAT_BYTES];
    EXPECT(hex_read(str_from(golden_chat_hex), raw));
    ModuleDef *def = NULL;
    EXPECT_OK(moduledef_decode(BYTES(raw, sizeof raw), &def, NULL));
    return def;
}

#define SPECIAL(name, kind)                                                                     \
    "{\"Product\":{\"elements\":[{\"name\":{\"some\":\"" name "\"},\"algebraic_type\":{\"" kind \
    "\":[]}}]}}"
#define EMPTY "{\"Product\":{\"elements\":[]}}"

TEST(schema_json, writes_the_chat_examples_definition) {
    ModuleDef *def = golden_chat();
    const char *json = json_of(def, 10, false);
    EXPECT(
        strstr(json,
               "{\"sections\":[{\"Typespace\":{\"types\":[{\"Product\":{\"elements\":[{\"name\":{"
               "\"some\":\"identity\"},\"algebraic_type\":" SPECIAL("__identity__", "U256") "},") ==
        json);
    EXPECT(strstr(json,
                  "{\"Types\":[{\"source_name\":{\"scope\":[],\"source_name\":\"User\"},\"ty\":0,"
                  "\"custom_ordering\":true},"));
    EXPECT(strstr(
        json,
        "{\"Tables\":[{\"source_name\":\"user\",\"product_type_ref\":0,\"primary_key\":[0],"
        "\"indexes\":[{\"source_name\":{\"some\":\"user_identity_idx_btree\"},"
        "\"accessor_name\":{\"some\":\"identity\"},\"algorithm\":{\"BTree\":[0]}}],"
        "\"constraints\":[{\"source_name\":{\"none\":[]},\"data\":{\"Unique\":{\"columns\":[0]}}}],"
        "\"sequences\":[],\"table_type\":{\"User\":[]},\"table_access\":{\"Public\":[]},"
        "\"default_values\":[],\"is_event\":false},"));
    EXPECT(strstr(json,
                  "{\"source_name\":\"onConnect\",\"params\":{\"elements\":[]},\"visibility\":{"
                  "\"ClientCallable\":[]},\"ok_return_type\":" EMPTY
                  ",\"err_return_type\":{\"String\":[]}}"));
    EXPECT(strstr(json,
                  "{\"ExplicitNames\":{\"entries\":[{\"Table\":{\"source_name\":\"user\","
                  "\"canonical_name\":\"user\"}},"));
    EXPECT(strstr(json, "{\"CaseConversionPolicy\":{\"SnakeCase\":[]}},{\"Submodules\":[]}]}"));
    moduledef_free(&def);
}

TEST(schema_json, converts_to_version_9_with_canonical_names) {
    ModuleDef *def = golden_chat();
    const char *json = json_of(def, 9, true);
    EXPECT(strstr(json, "{\"V9\":{\"typespace\":{\"types\":[") == json);
    EXPECT(
        strstr(json,
               "\"tables\":[{\"name\":\"user\",\"product_type_ref\":0,\"primary_key\":[0],"
               "\"indexes\":[{\"name\":{\"some\":\"user_identity_idx_btree\"},\"accessor_name\":{"
               "\"some\":\"identity\"},\"algorithm\":{\"BTree\":[0]}}],\"constraints\":[{\"name\":{"
               "\"some\":\"user_identity_key\"},\"data\":{\"Unique\":{\"columns\":[0]}}}],"
               "\"sequences\":[],\"schedule\":{\"none\":[]},\"table_type\":{\"User\":[]},"
               "\"table_access\":{\"Public\":[]}},"));
    EXPECT(strstr(json,
                  "{\"name\":\"on_connect\",\"params\":{\"elements\":[]},\"lifecycle\":{\"some\":{"
                  "\"OnConnect\":[]}}}"));
    EXPECT(strstr(json, "\"misc_exports\":[],\"row_level_security\":[]}}"));
    moduledef_free(&def);
}

static const DefText rich = {
    .types = {"PlayerRow: (playerId: U64, displayName: String, state: &1, at: ScheduleAt)",
              "PlayerState: [NotReady | ReadyAt: Timestamp]"},
    .tables = {{.name = "playerTable",
                .row = 0,
                .primary_key = "0",
                .unique = {"0"},
                .indexes = {{.name = "byId", .columns = "0"},
                            {.name = "d", .algorithm = INDEX_DIRECT, .columns = "0"}},
                .sequences =
                    {{.columns = "0", .has_start = true, .start = -5, .has_min = true, .min = -9}},
                .defaults = {{"1", "0100000078"}},
                .is_private = true,
                .schedule = {"tickPlayer", 3}}},
    .reducers = {{.name = "tickPlayer", .params = "(row: &0)"},
                 {.name = "start", .lifecycle = 1 + LIFECYCLE_INIT}},
    .procedures = {{.name = "ask", .params = "(a: Array<&1>)", .returns = "Option<&1>"}},
    .views = {{.name = "allPlayers", .returns = "Array<&0>", .is_anonymous = true}},
    .row_level_security = {"SELECT * FROM player_table"},
};

static void expect_same_tables(const ModuleDef *a, const ModuleDef *b) {
    EXPECT_EQ(a->table_count, b->table_count);
    for (uint32_t i = 0; i < a->table_count; i++) {
        const TableDef *x = &a->tables[i], *y = &b->tables[i];
        EXPECT(str_eq(x->name, y->name));
        EXPECT(type_eq(x->row_type, y->row_type));
        EXPECT_EQ(x->primary_key, y->primary_key);
        EXPECT_EQ(x->is_public, y->is_public);
        EXPECT_EQ(x->index_count, y->index_count);
        for (uint32_t k = 0; k < x->index_count; k++)
            EXPECT(str_eq(x->indexes[k].name, y->indexes[k].name));
        EXPECT_EQ(x->sequence_count, y->sequence_count);
        EXPECT(str_eq(x->sequences[0].name, y->sequences[0].name));
        EXPECT_EQ(memcmp(&x->sequences[0].start, &y->sequences[0].start, 16), 0);
        EXPECT(str_eq(x->schedule->function, y->schedule->function));
        EXPECT_BYTES(x->columns[1].default_value, y->columns[1].default_value);
    }
    EXPECT_EQ(a->reducers[1].lifecycle, b->reducers[1].lifecycle);
    EXPECT(type_eq(a->procedures[0].params, b->procedures[0].params));
    EXPECT(type_eq(a->procedures[0].returns, b->procedures[0].returns));
    EXPECT(str_eq(a->views[0].name, b->views[0].name));
    EXPECT(type_eq(a->views[0].returns, b->views[0].returns));
    EXPECT(str_eq(a->row_level_security[0], b->row_level_security[0]));
}

// Read a definition, write it as the other version, read that: the same database.
static void expect_conversion(uint32_t from, uint32_t to) {
    ModuleDef *def = def_text(&rich, from), *again = NULL;
    Diag diag;
    Buf raw = {0};
    buf_put_u8(&raw, to == 9 ? 1 : 2);
    definition_encode(&raw, def, to);
    Err err = moduledef_decode(buf_bytes(&raw), &again, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    EXPECT_EQ(again->version, to);
    expect_same_tables(def, again);
    buf_deinit(&raw);
    moduledef_free(&def);
    moduledef_free(&again);
}

TEST(schema_json, converts_between_versions_without_losing_a_name) {
    expect_conversion(10, 9);
    expect_conversion(9, 10);
    expect_conversion(9, 9);
    expect_conversion(10, 10);
}

TEST(schema_json, knows_the_shape_of_every_definition) {
    for (uint32_t version = 9; version <= 10; version++) {
        ModuleDef *def = def_text(&rich, version);
        Arena arena = {0};
        size_t len;
        Bytes body = {def->raw.ptr + 1, def->raw.len - 1};
        EXPECT_OK(bsatn_check(definition_shape(&arena, version), body, &len, NULL));
        EXPECT_EQ(len, body.len);
        arena_deinit(&arena);
        moduledef_free(&def);
    }
}

TEST(schema_json, refuses_other_versions) {
    ModuleDef *def = golden_chat();
    Buf out = {0};
    Diag diag;
    EXPECT_ERR(moduledef_write_json(def, 8, false, &out, &diag), ERR_UNSUPPORTED);
    moduledef_free(&def);
    buf_deinit(&out);
}

TEST(schema_json, survives_every_failing_allocation) {
    ModuleDef *def = def_text(&rich, 10);
    Err err = ERR_NOMEM;
    for (int64_t n = 0; err != OK; n++) {
        Buf out = {0};
        mem_fault_arm(n);
        err = moduledef_write_json(def, 9, true, &out, NULL);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(err == OK || (hit && err == ERR_NOMEM));
        buf_deinit(&out);
    }
    moduledef_free(&def);
}

TEST_MAIN()
