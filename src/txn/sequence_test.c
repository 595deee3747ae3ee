// Auto-increment with every kind of bounds: what is handed out, in which order, and what a restart
// skips (module-abi §5.10). Rollback and blocks on disk: db_test.c.
#include "base/test.h"
#include "schema/def_text.h"
#include "sim/sim.h"
#include "txn/db.h"

typedef struct World {
    Sim *sim;
    Db *db;
    ModuleDef *def;
} World;

static void world_open(World *w) {
    uint64_t torn;
    Diag diag = {0};
    DbOptions options = {.io = sim_io(w->sim), .dir = "db"};
    EXPECT_OK(db_open(&options, &w->db, &torn, &diag));
}

static void world_restart(World *w) {
    EXPECT_OK(db_flush(w->db, NULL));
    db_close(&w->db);
    world_open(w);
}

// A database with the table `t (n: <type>, text: String)` whose first column has the sequence.
static void world_begin(World *w, const char *type, DefTextSequence sequence) {
    char row[64];
    snprintf(row, sizeof row, "Row: (n: %s, text: String)", type);
    DefText text = {.types = {row}, .tables = {{.name = "t"}}};
    sequence.columns = "0";
    text.tables[0].sequences[0] = sequence;
    CatalogModule module = {.program_kind = 1, .program = BYTES("x", 1)};
    Diag diag = {0};
    const WriteSet *writes;
    bool changed;
    *w = (World){.def = def_text(&text, 10)};
    EXPECT_OK(sim_new(1, &w->sim));
    world_open(w);
    db_begin(w->db, &(CommitInfo){.timestamp = 1, .name = STR("create")});
    EXPECT_OK(catalog_create(db_catalog(w->db), w->def, &module, NULL, NULL, &diag));
    EXPECT_OK(db_commit(w->db, &writes, &changed));
}

static void world_end(World *w) {
    db_close(&w->db);
    moduledef_free(&w->def);
    sim_free(&w->sim);
}

// Insert a row with `given` in `bytes` bytes; what was generated, sign-extended, or `given`.
static int64_t put(World *w, int64_t given, size_t bytes) {
    static uint32_t turn;
    char text[16];
    Buf row = {0}, generated = {0};
    const WriteSet *writes;
    bool changed;
    uint8_t wide[32];
    memset(wide, given < 0 ? 0xff : 0, sizeof wide);
    memcpy(wide, &given, sizeof given);
    buf_put(&row, wide, bytes);
    snprintf(text, sizeof text, "%u", turn++);  // rows are a set: each is another
    buf_put_lp(&row, str_bytes(str_from(text)));
    uint32_t table = catalog_table_by_name(db_catalog(w->db), STR("t"))->table_id;
    db_begin(w->db, &(CommitInfo){.timestamp = 1, .name = STR("put")});
    Access *access = db_access(w->db);
    EXPECT_EQ(access->ops->insert(access, table, buf_bytes(&row), &generated), ABI_OK);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    EXPECT_EQ(generated.len, given == 0 ? bytes : 0);
    int64_t out = given;
    if (generated.len) {
        out = (generated.ptr[bytes - 1] & 0x80) ? -1 : 0;
        memcpy(&out, generated.ptr, MIN(bytes, sizeof out));
    }
    buf_deinit(&row);
    buf_deinit(&generated);
    return out;
}

static void expect_values(const char *type, size_t bytes, DefTextSequence s, const char *want) {
    World w;
    char got[128] = "";
    world_begin(&w, type, s);
    for (int i = 0; i < 7; i++) {
        size_t len = strlen(got);
        snprintf(got + len, sizeof got - len, "%s%lld", i ? " " : "", (long long)put(&w, 0, bytes));
    }
    EXPECT_STR(got, want);
    world_end(&w);
}

#define BOUNDS(from, low, high, by)                                                 \
    (DefTextSequence) {                                                             \
        .start = from, .min = low, .max = high, .has_start = true, .has_min = true, \
        .has_max = true, .increment = by                                            \
    }

TEST(sequence, counts_from_one_when_nothing_is_said) {
    expect_values("I64", 8, (DefTextSequence){0}, "1 2 3 4 5 6 7");
}

TEST(sequence, goes_round_at_its_bounds_in_both_directions) {
    expect_values("I64", 8, BOUNDS(1, 1, 3, 1), "1 2 3 1 2 3 1");
    expect_values("I64", 8, BOUNDS(2, 1, 3, 1), "2 3 1 2 3 1 2");
    expect_values("I64", 8, BOUNDS(3, 1, 3, -1), "3 2 1 3 2 1 3");
    expect_values("I64", 8, BOUNDS(1, 1, 6, 2), "1 3 5 1 3 5 1");
    expect_values("I64", 8, BOUNDS(-5, -7, -5, -1), "-5 -6 -7 -5 -6 -7 -5");
}

TEST(sequence, hands_out_what_it_has_also_when_that_is_zero) {
    expect_values("I32", 4, BOUNDS(-1, -1, 1, 1), "-1 0 1 -1 0 1 -1");
}

TEST(sequence, cuts_a_value_to_the_columns_width) {
    expect_values("U8", 1, BOUNDS(254, 1, 1000, 1), "-2 -1 0 1 2 3 4");
    expect_values("I8", 1, BOUNDS(126, 1, 1000, 1), "126 127 -128 -127 -126 -125 -124");
    expect_values("U16", 2, BOUNDS(65535, 1, 100000, 1), "-1 0 1 2 3 4 5");
}

TEST(sequence, is_not_moved_by_values_that_are_given) {
    World w;
    world_begin(&w, "I64", (DefTextSequence){0});
    EXPECT_EQ(put(&w, 0, 8), 1);
    EXPECT_EQ(put(&w, 3, 8), 3);
    EXPECT_EQ(put(&w, -40, 8), -40);
    EXPECT_EQ(put(&w, 0, 8), 2);
    EXPECT_EQ(put(&w, 0, 8), 3);  // no unique constraint here minds
    world_end(&w);
}

TEST(sequence, skips_at_most_a_block_at_a_restart_and_repeats_nothing) {
    World w;
    world_begin(&w, "I64", (DefTextSequence){0});
    int64_t last = 0;
    for (int i = 0; i < 4; i++) {
        int64_t value = put(&w, 0, 8);
        EXPECT(value > last && value <= last + 4096);
        EXPECT_EQ(put(&w, 0, 8), value + 1);
        last = value + 1;
        world_restart(&w);
    }
    world_end(&w);
    world_begin(&w, "I64", BOUNDS(-1, -100000, -1, -1));
    last = 0;
    for (int i = 0; i < 4; i++) {
        int64_t value = put(&w, 0, 8);
        EXPECT(value < last && value >= last - 4096);
        last = value;
        world_restart(&w);
    }
    world_end(&w);
}

TEST(sequence, fills_columns_wider_than_itself_with_its_sign) {
    expect_values("I256", 32, BOUNDS(-2, -2, 5, 1), "-2 -1 0 1 2 3 4");
}

TEST_MAIN()
