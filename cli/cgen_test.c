#include "cli/cgen.h"

#include "base/test.h"
#include "schema/def.h"

// What the generator makes of one source file.
typedef struct Made {
    Cgen gen;
    CgenSource source;
    Buf definition, header, code;
    ModuleDef *def;
    bool ok;
} Made;

static void make(Made *made, const char *text) {
    *made = (Made){.source = {"src/m.c", str_from(text)}};
    made->ok =
        cgen_read(&made->gen, &made->source, 1) && cgen_definition(&made->gen, &made->definition);
    if (!made->ok) return;
    cgen_header(&made->gen, &made->header);
    cgen_code(&made->gen, buf_bytes(&made->definition), &made->code);
    buf_put_u8(&made->header, 0);
    buf_put_u8(&made->code, 0);
    EXPECT_OK(moduledef_decode(buf_bytes(&made->definition), &made->def, NULL));
}

static void unmake(Made *made) {
    buf_deinit(&made->gen.errors);
    buf_deinit(&made->definition);
    buf_deinit(&made->header);
    buf_deinit(&made->code);
    moduledef_free(&made->def);
}

static void expect_errors(const char *text, const char *errors) {
    Made made;
    make(&made, text);
    EXPECT(!made.ok);
    buf_put_u8(&made.gen.errors, 0);
    EXPECT_STR((char *)made.gen.errors.ptr, errors);
    unmake(&made);
}

static void expect_in(const char *text, const char *in_header) {
    Made made;
    make(&made, text);
    if (!made.ok) print_error("%.*s", (int)made.gen.errors.len, (char *)made.gen.errors.ptr);
    EXPECT(made.ok);
    if (!strstr((char *)made.header.ptr, in_header))
        print_error("not found: %s\nin:\n%s", in_header, (char *)made.header.ptr);
    EXPECT(strstr((char *)made.header.ptr, in_header) != NULL);
    unmake(&made);
}

#define REDUCER "LC_REDUCER Error go(Ctx *ctx) { return OK; }\n"

static const char chat[] = "#include \"lightcone.h\"\n"
                           "LC_TABLE(user, PUBLIC)\n"
                           "typedef struct User {\n"
                           "    Identity identity LC_PRIMARY_KEY; /* who */\n"
                           "    String *name;  // NULL: none\n"
                           "    bool online LC_DEFAULT(true);\n"
                           "} User;\n"
                           "static int helper(int a) { if (a) { return \"}\"[0]; } return 1; }\n"
                           "LC_REDUCER\n"
                           "Error set_name(Ctx *ctx, String name) { return OK; }\n"
                           "LC_CONNECT Error hello(Ctx *ctx) { return OK; }\n";

TEST(cgen, tables_and_reducers_reach_the_definition) {
    Made made;
    make(&made, chat);
    EXPECT(made.ok);
    const ModuleDef *def = made.def;
    EXPECT_EQ(def->table_count, 1);
    const TableDef *user = moduledef_table(def, STR("user"));
    EXPECT(user && user->is_public && !user->is_event);
    EXPECT_EQ(user->primary_key, 0);
    EXPECT_EQ(user->column_count, 3);
    EXPECT_EQ(user->columns[0].type->special, SPECIAL_IDENTITY);
    EXPECT_EQ(user->columns[1].type->special, SPECIAL_OPTION);
    EXPECT(user->columns[2].has_default);
    EXPECT(str_eq(user->indexes[0].source, STR("user_identity_idx_btree")));
    EXPECT_EQ(def->reducer_count, 2);
    EXPECT(str_eq(def->reducers[0].name, STR("set_name")));
    EXPECT_EQ(def->reducers[0].params->field_count, 1);
    EXPECT_EQ(def->reducers[1].lifecycle, LIFECYCLE_CONNECT);
    unmake(&made);
}

TEST(cgen, the_same_source_gives_the_same_bytes) {
    Made a, b;
    make(&a, chat);
    make(&b, chat);
    EXPECT_BYTES(buf_bytes(&a.code), buf_bytes(&b.code));
    EXPECT_BYTES(buf_bytes(&a.header), buf_bytes(&b.header));
    unmake(&a);
    unmake(&b);
}

TEST(cgen, names_stay_as_they_are_written) {
    Made made;
    make(&made, "LC_TABLE(level2) typedef struct HTTPThing2 { uint8_t a1B2; } HTTPThing2;\n");
    EXPECT(made.ok);
    EXPECT(str_eq(made.def->tables[0].name, STR("level2")));
    EXPECT(str_eq(made.def->tables[0].columns[0].name, STR("a1B2")));
    EXPECT(str_eq(made.def->types[0].name, STR("HTTPThing2")));
    unmake(&made);
}

TEST(cgen, every_index_has_its_accessors) {
    static const char text[] = "LC_TABLE(pair, INDEX(a, b), UNIQUE(b, a), HASH(c))\n"
                               "typedef struct Pair { uint32_t a; String b; int64_t c; } Pair;\n";
    expect_in(text, "PairScan pair_filter_by_a(uint32_t a);");
    expect_in(text, "PairScan pair_filter_by_a_b(uint32_t a, String b);");
    expect_in(text, "Pair *pair_find_by_b_a(String b, uint32_t a);");
    expect_in(text, "LC_MUST_USE Error pair_update_by_b_a(Pair *row);");
    expect_in(text, "bool pair_delete_by_b_a(String b, uint32_t a);");
    expect_in(text, "uint32_t pair_delete_by_c(int64_t c);");
    expect_in(text,
              "PairScan pair_range_by_a_b(uint32_t a, Bound lower_bound, String lower, Bound "
              "upper_bound, String upper);");
}

TEST(cgen, an_accessor_is_given_once) {
    Made made;
    make(
        &made,
        "LC_TABLE(t, INDEX(a), INDEX(a, b), UNIQUE(a)) typedef struct T { uint32_t a; uint32_t b; } "
        "T;\n");
    EXPECT(made.ok);
    const char *header = (char *)made.header.ptr;
    EXPECT(strstr(header, "t_find_by_a(") != NULL);
    EXPECT(strstr(header, "t_filter_by_a(") == NULL);
    EXPECT(strstr(strstr(header, "t_delete_by_a(") + 1, "t_delete_by_a(") == NULL);
    EXPECT(strstr(strstr(header, "t_range_by_a(") + 1, "t_range_by_a(") == NULL);
    unmake(&made);
}

TEST(cgen, a_tagged_union_is_a_sum) {
    Made made;
    make(&made,
         "typedef struct Shape { enum { SHAPE_ROUND, SHAPE_BIG_BOX, SHAPE_NOTHING } tag;\n"
         "  union { double round; Array(uint8_t) big_box; }; } Shape;\n"
         "LC_TABLE(t) typedef struct T { Shape s; Color c LC_DEFAULT(GREEN); } T;\n"
         "enum Color { RED, GREEN };\n");
    EXPECT(made.ok);
    const Type *shape = made.def->tables[0].columns[0].type;
    EXPECT_EQ(shape->kind, TYPE_SUM);
    EXPECT_EQ(shape->field_count, 3);
    EXPECT(str_eq(shape->fields[1].name, STR("big_box")));
    EXPECT(type_is_unit(shape->fields[2].type));
    EXPECT(type_is_plain_enum(made.def->tables[0].columns[1].type));
    EXPECT_HEX(made.def->tables[0].columns[1].default_value, "01");
    unmake(&made);
}

TEST(cgen, typedefs_are_followed) {
    Made made;
    make(&made,
         "typedef uint64_t PlayerId;\ntypedef String *MaybeName;\n"
         "LC_TABLE(t) typedef struct T { PlayerId id LC_PRIMARY_KEY LC_AUTO_INC;\n"
         "  Array(MaybeName) names; Result(PlayerId, String) r; Array(Array(String)) grid; } T;\n");
    EXPECT(made.ok);
    const TableDef *table = &made.def->tables[0];
    EXPECT_EQ(table->columns[0].type->kind, TYPE_U64);
    EXPECT_EQ(table->sequence_count, 1);
    EXPECT_EQ(table->columns[1].type->element->special, SPECIAL_OPTION);
    EXPECT_EQ(table->columns[2].type->special, SPECIAL_RESULT);
    EXPECT_EQ(table->columns[3].type->element->element->kind, TYPE_STRING);
    unmake(&made);
}

TEST(cgen, defaults_are_encoded_as_their_column) {
    Made made;
    make(
        &made,
        "LC_TABLE(t) typedef struct T { int16_t a LC_DEFAULT(-2); U128 b LC_DEFAULT(0x10);\n"
        "  String c LC_DEFAULT(\"a\\n\"); float d LC_DEFAULT(1.5f); String *e LC_DEFAULT(NULL);\n"
        "  uint32_t *f LC_DEFAULT(7); Array(bool) g LC_DEFAULT({}); Timestamp h LC_DEFAULT(5); I256 i "
        "LC_DEFAULT(-1); } T;\n");
    EXPECT(made.ok);
    const ColumnDef *column = made.def->tables[0].columns;
    EXPECT_HEX(column[0].default_value, "feff");
    EXPECT_HEX(column[1].default_value, "10000000000000000000000000000000");
    EXPECT_HEX(column[2].default_value, "02000000610a");
    EXPECT_HEX(column[3].default_value, "0000c03f");
    EXPECT_HEX(column[4].default_value, "01");
    EXPECT_HEX(column[5].default_value, "0007000000");
    EXPECT_HEX(column[6].default_value, "00000000");
    EXPECT_HEX(column[7].default_value, "0500000000000000");
    EXPECT_HEX(column[8].default_value,
               "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff");
    unmake(&made);
}

TEST(cgen, views_procedures_handlers_and_schedules) {
    Made made;
    make(
        &made,
        "LC_TABLE(tick, SCHEDULED(run)) typedef struct Tick { uint64_t id LC_PRIMARY_KEY LC_AUTO_INC; "
        "ScheduleAt at; } Tick;\n"
        "LC_REDUCER Error run(Ctx *ctx, Tick row) { return OK; }\n"
        "LC_VIEW Array(Tick) all(AnonymousViewCtx *ctx) { return x; }\n"
        "LC_VIEW LC_VIEW_KEY(id) Tick *mine(ViewCtx *ctx);\n"
        "LC_VIEW Query(Tick) asked(ViewCtx *ctx) { return x; }\n"
        "LC_PROCEDURE Array(String) words(ProcedureCtx *ctx, uint32_t n) { return x; }\n"
        "LC_PROCEDURE LC_PRIVATE void nothing(ProcedureCtx *ctx) {}\n"
        "LC_HTTP(GET, \"/a\") LC_HTTP(ANY, \"/b\")\n"
        "HttpResponse page(ProcedureCtx *ctx, const HttpRequest *request) { return x; }\n"
        "LC_ROW_FILTER(\"SELECT * FROM tick\");\n");
    if (!made.ok) print_error("%.*s", (int)made.gen.errors.len, (char *)made.gen.errors.ptr);
    EXPECT(made.ok);
    const ModuleDef *def = made.def;
    EXPECT(def->tables[0].schedule != NULL);
    EXPECT_EQ(def->view_count, 3);
    EXPECT(def->views[0].is_anonymous && !def->views[1].is_anonymous);
    EXPECT_EQ(def->views[1].index, 0);
    EXPECT_EQ(def->views[1].primary_key, 0);
    EXPECT(def->views[2].is_query && def->views[2].index == 1);
    EXPECT_EQ(def->procedure_count, 2);
    EXPECT(def->procedures[1].is_private);
    EXPECT_EQ(def->http_route_count, 2);
    EXPECT_EQ(def->row_level_security_count, 1);
    unmake(&made);
}

TEST(cgen, mistakes_are_named_with_their_line) {
    expect_errors(
        "int main(void) { return 0; }\n",
        "src/m.c:1: error: nothing here is marked LC_TABLE or LC_REDUCER: this is no module\n");
    expect_errors("LC_TABLE(t)\ntypedef struct T {\n    int a;\n} T;\n",
                  "src/m.c:3: error: a member cannot be `int`: write int32_t\n");
    expect_errors(
        "LC_TABLE(t) typedef struct T {\n char *a;\n} T;\n",
        "src/m.c:2: error: a member cannot be `char`: write String for text, int8_t for a "
        "number\n");
    expect_errors("LC_TABLE(t) typedef struct T {\n uint8_t a[4];\n} T;\n",
                  "src/m.c:2: error: behind `a`: use Array(T): a C array has no length in the "
                  "database\n");
    expect_errors("LC_TABLE(t) typedef struct T {\n Missing m;\n} T;\n",
                  "src/m.c:2: error: `Missing` is not a type that a member can have\n");
    expect_errors(
        "LC_TABLE(t) typedef struct {\n uint8_t a;\n} T;\n",
        "src/m.c:1: error: the tag of `T` and its typedef need the same name: typedef struct "
        "T {…} T;\n");
    expect_errors("LC_TABLE(t) typedef struct T {\n#ifdef X\n uint8_t a;\n#endif\n} T;\n",
                  "src/m.c:2: error: no preprocessor lines in a struct that the database knows\n");
    expect_errors("LC_TABLE(t) typedef struct T { Array(String *) a; } T;\n",
                  "src/m.c:1: error: an option inside Array needs a name: typedef String *Maybe; "
                  "Array(Maybe)\n");
}

TEST(cgen, wrong_marks_are_named_with_what_there_is) {
    expect_errors("LC_TABLE(t, INDEX(b)) typedef struct T { uint8_t a; } T;\n",
                  "src/m.c:1: error: `T` has no column `b`\n");
    expect_errors(
        "LC_TABLE(t)\ntypedef struct T { String a LC_AUTO_INC; } T;\n",
        "src/m.c:2: error: LC_AUTO_INC numbers rows: the column must be an integer of at most "
        "128 bits\n");
    expect_errors("LC_TABLE(t)\ntypedef struct T { uint8_t a LC_DEFAULT(256); } T;\n",
                  "src/m.c:2: error: uint8_t cannot hold this number\n");
    expect_errors("\nLC_REDUCER\nint go(Ctx *ctx) { return 0; }\n",
                  "src/m.c:3: error: a function marked LC_REDUCER is: Error name(Ctx *ctx, …)\n");
    expect_errors("LC_REDUCER static Error go(Ctx *ctx) { return 0; }\n",
                  "src/m.c:1: error: `go` is called from outside: it cannot be static\n");
    expect_errors(
        "LC_TABLE(t, SCHEDULED(go)) typedef struct T { uint64_t id LC_PRIMARY_KEY; ScheduleAt "
        "at; } T;\n" REDUCER,
        "src/m.c:1: error: SCHEDULED(go) wants a reducer or procedure of that name with the "
        "row as its parameter: Error go(Ctx *ctx, T row)\n");
    expect_errors(REDUCER "LC_REDUCER Error go(Ctx *ctx) { return OK; }\n",
                  "src/m.c:2: error: there is another `go`\n");
    expect_errors("LC_TABEL(t) typedef struct T { uint8_t a; } T;\n" REDUCER,
                  "src/m.c:1: error: `LC_TABEL` is no mark of a declaration: those are LC_TABLE, "
                  "LC_REDUCER, LC_VIEW, LC_VIEW_KEY, LC_PROCEDURE, LC_HTTP, LC_INIT, LC_CONNECT, "
                  "LC_DISCONNECT, LC_PRIVATE and LC_ROW_FILTER\n");
}

TEST(cgen, all_mistakes_are_told_at_once) {
    expect_errors("LC_TABLE(t, PUBLICK) typedef struct T { uint8_t a; } T;\n"
                  "LC_REDUCER Error go(Ctx *ctx, long x) { return OK; }\n",
                  "src/m.c:1: error: `PUBLICK` is no option of a table: those are PUBLIC, EVENT, "
                  "SCHEDULED(function), UNIQUE(columns), INDEX(columns), HASH(columns) and "
                  "DIRECT(column)\n"
                  "src/m.c:2: error: a parameter cannot be `long`: write int64_t\n");
}

TEST(cgen, what_the_server_would_refuse_is_refused_here) {
    Made made;
    make(&made, "LC_TABLE(st_mine) typedef struct T { uint8_t a; } T;\n");
    EXPECT(!made.ok);
    buf_put_u8(&made.gen.errors, 0);
    EXPECT(strstr((char *)made.gen.errors.ptr, "reserved") != NULL);
    unmake(&made);
}

TEST_MAIN()
