// The numbered cases of the specification, from tests/conformance/sql/cases.txt (README.md beside it
// says how it reads), against a real database: every case a fresh one, made from its fixture.
#include "base/mem.h"
#include "base/test.h"
#include "query/standing.h"
#include "query/statement.h"
#include "sats/json.h"
#include "sim/sim.h"

enum { LINES_MAX = 4096, PARTS_MAX = 64, ROWS_MAX = 4096 };

// ── the file ───────────────────────────────────────────────────────────────────────────────────

static Arena arena;  // of the file and everything a case makes
static Str lines[LINES_MAX];
static uint32_t line_count;

static void load(void) {
    if (line_count) return;
    FILE *file = fopen("tests/conformance/sql/cases.txt", "rb");
    Buf text = {0};
    char piece[65536];
    EXPECT(file != NULL);
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_put(&text, piece, n);
    fclose(file);
    Str all = arena_str(&arena, bytes_str(buf_bytes(&text)));
    buf_deinit(&text);
    for (size_t at = 0; at < all.len;) {
        size_t end = at;
        while (end < all.len && all.ptr[end] != '\n')
            end++;
        EXPECT(line_count < LINES_MAX);
        lines[line_count++] = (Str){all.ptr + at, end - at};
        at = end + 1;
    }
}

static bool take(Str *text, const char *word) {
    Str w = str_from(word);
    if (!str_starts(*text, w)) return false;
    text->ptr += w.len;
    text->len -= w.len;
    return true;
}

static Str take_word(Str *text) {
    while (text->len && *text->ptr == ' ')
        take(text, " ");
    Str word = {text->ptr, 0};
    while (word.len < text->len && word.ptr[word.len] != ' ')
        word.len++;
    text->ptr += word.len;
    text->len -= word.len;
    take(text, " ");
    return word;
}

static size_t find(Str text, const char *what) {
    Str w = str_from(what);
    for (size_t i = 0; i + w.len <= text.len; i++) {
        if (memcmp(text.ptr + i, w.ptr, w.len) == 0) return i;
    }
    return SIZE_MAX;
}

static Str replaced(Str text, const char *what, Str by) {
    size_t at;
    while ((at = find(text, what)) != SIZE_MAX) {
        size_t behind = at + strlen(what);
        text = arena_printf(&arena,
                            STR_FMT STR_FMT STR_FMT,
                            (int)at,
                            text.ptr,
                            STR_ARG(by),
                            (int)(text.len - behind),
                            text.ptr + behind);
    }
    return text;
}

static Identity identity_of(char letter) {
    Identity id;
    // Z is 0, I is 1 and the others their letter throughout: none is the owner.
    memset(id.le, letter == 'Z' || letter == 'I' ? 0 : letter, sizeof id.le);
    if (letter == 'I') id.le[0] = 1;
    return id;
}

static Str with_identities(Str text) {
    for (const char *letter = "ABCZI"; *letter; letter++) {
        char mark[4] = {'<', *letter, '>', 0}, hex[IDENTITY_HEX_LEN + 1];
        Identity id = identity_of(*letter);
        identity_hex(&id, hex);
        text = replaced(text, mark, str_from(hex));
    }
    return text;
}

// ── a fixture ──────────────────────────────────────────────────────────────────────────────────

typedef struct World {
    Sim *sim;
    Db *db;
    ModuleDef def;
    QueryCatalog catalog;
} World;

static const Type *type_of(Str name) {
    static const struct {
        const char *name;
        TypeSpecial special;
    } specials[] = {
        {"Identity", SPECIAL_IDENTITY},
        {"ConnectionId", SPECIAL_CONNECTION_ID},
        {"Timestamp", SPECIAL_TIMESTAMP},
        {"TimeDuration", SPECIAL_TIME_DURATION},
        {"Uuid", SPECIAL_UUID},
        {"Array<U8>", SPECIAL_BYTES},
    };
    for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
        if (str_eq(name, str_from(specials[i].name))) return type_special(specials[i].special);
    }
    for (int kind = TYPE_STRING; kind <= TYPE_F64; kind++) {
        if (str_eq(name, str_from(type_kind_name((TypeKind)kind))))
            return type_simple((TypeKind)kind);
    }
    if (str_eq(name, STR("Array<String>"))) return type_array(&arena, type_simple(TYPE_STRING));
    if (str_eq(name, STR("Option<U32>"))) return type_option(&arena, type_simple(TYPE_U32));
    EXPECT(str_eq(name, STR("A|B")));
    const Type *unit = type_special(SPECIAL_UNIT);
    return type_sum(&arena, (TypeField[]){{STR("A"), unit}, {STR("B"), unit}}, 2);
}

static uint16_t column_of(const TableDef *table, Str name) {
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (str_eq(table->columns[i].name, name)) return i;
    }
    print_error("no column " STR_FMT "\n", STR_ARG(name));
    abort();
}

static void add_index(TableDef *table, Str names, bool unique) {
    uint16_t *columns = arena_array(&arena, uint16_t, PARTS_MAX), count = 0;
    while (names.len) {
        size_t comma = MIN(find(names, ","), names.len);
        columns[count++] = column_of(table, (Str){names.ptr, comma});
        names.ptr += MIN(comma + 1, names.len);
        names.len -= MIN(comma + 1, names.len);
    }
    Str name = arena_printf(&arena, STR_FMT "_%u_idx", STR_ARG(table->name), table->index_count);
    table->indexes[table->index_count++] =
        (IndexDef){.name = name, .source = name, .columns = columns, .column_count = count};
    if (!unique) return;
    name = arena_printf(&arena, STR_FMT "_key", STR_ARG(name));
    table->constraints[table->constraint_count++] =
        (ConstraintDef){.name = name, .columns = columns, .column_count = count};
}

static void add_columns(TableDef *table, Str text) {
    TypeField fields[PARTS_MAX];
    table->columns = arena_array(&arena, ColumnDef, PARTS_MAX);
    while (text.len) {
        Str name = take_word(&text), source = name;
        size_t comma = MIN(find(text, ","), text.len), equal = find(name, "=");
        if (equal != SIZE_MAX) {
            source = (Str){name.ptr + equal + 1, name.len - equal - 1};
            name.len = equal;
        }
        const Type *type = type_of((Str){text.ptr, comma});
        table->columns[table->column_count] =
            (ColumnDef){.name = name, .source = source, .type = type};
        fields[table->column_count++] = (TypeField){name, type};
        text.ptr += MIN(comma + 2, text.len);
        text.len -= MIN(comma + 2, text.len);
    }
    table->row_type = type_product(&arena, fields, table->column_count);
}

static void add_table(World *w, Str text) {
    TableDef *table = &w->def.tables[w->def.table_count++];
    size_t open = find(text, "("), close = find(text, ")");
    *table = (TableDef){.name = {text.ptr, open}, .primary_key = -1, .is_public = true};
    table->source = table->name;
    table->indexes = arena_array(&arena, IndexDef, PARTS_MAX);
    table->constraints = arena_array(&arena, ConstraintDef, PARTS_MAX);
    table->sequences = arena_array(&arena, SequenceDef, 1);
    add_columns(table, (Str){text.ptr + open + 1, close - open - 1});
    text = (Str){text.ptr + close + 1, text.len - close - 1};
    for (Str word = take_word(&text); word.len; word = take_word(&text)) {
        if (str_eq(word, STR("private"))) table->is_public = false;
        if (str_eq(word, STR("event"))) table->is_event = true;
        if (str_eq(word, STR("named"))) table->source = take_word(&text);
        if (str_eq(word, STR("index"))) add_index(table, take_word(&text), false);
        if (str_eq(word, STR("unique"))) add_index(table, take_word(&text), true);
        if (str_eq(word, STR("pk"))) {
            Str key = take_word(&text);
            table->primary_key = column_of(table, key);
            add_index(table, key, true);
        }
        if (str_eq(word, STR("autoinc"))) {
            Str name = arena_printf(&arena, STR_FMT "_seq", STR_ARG(table->name));
            table->sequences[table->sequence_count++] =
                (SequenceDef){.name = name,
                              .column = column_of(table, take_word(&text)),
                              .increment = {{1}}};
        }
    }
}

static const CatalogTable *table_by_name(void *ctx, Str name) {
    return catalog_table_by_name(db_catalog(((World *)ctx)->db), name);
}

static Err each_rule(void *ctx,
                     const CatalogTable *table,
                     bool (*each)(void *ectx, Str sql),
                     void *ectx) {
    return catalog_each_rule(db_catalog(((World *)ctx)->db), table->table_id, each, ectx);
}

static bool row_limit(void *ctx, uint64_t *out) {
    const CatalogTable *vars = catalog_table(db_catalog(((World *)ctx)->db), ST_VAR);
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, vars->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    bool found = table_scan_next(&scan, &row);
    if (found) *out = load_u64(row.ptr + row.len - 8);
    table_scan_end(&scan);
    return found;
}

static void begin(World *w) {
    db_begin(w->db, &(CommitInfo){.timestamp = 1, .name = STR("test")});
}
static void commit(World *w) {
    const WriteSet *writes;
    bool changed;
    EXPECT_OK(db_commit(w->db, &writes, &changed));
}

static void publish(World *w) {
    uint64_t torn;
    Diag diag = {0};
    DbOptions options = {.io = sim_io(w->sim), .dir = "db", .in_memory = true};
    EXPECT_OK(db_open(&options, &w->db, &torn, &diag));
    CatalogModule module = {.program_kind = 1, .program = BYTES("program", 7)};
    begin(w);
    Err err = catalog_create(db_catalog(w->db), &w->def, &module, NULL, NULL, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    commit(w);
    w->catalog = (QueryCatalog){
        .ctx = w,
        .table_by_name = table_by_name,
        .schema_version = 1,
        .each_rule = each_rule,
        .row_limit = row_limit,
    };
}

static void put_row(World *w, Str table_name, Str json) {
    const CatalogTable *table = table_by_name(w, table_name);
    Buf row = {0};
    Diag diag;
    bool inserted;
    EXPECT(table != NULL);
    json = with_identities(json);
    if (json_read(table->row_type, json, &row, &diag) != OK)
        fail_msg(STR_FMT ": %s", STR_ARG(json), diag.text);
    EXPECT_OK(db_row_insert(w->db, table, buf_bytes(&row), &inserted, &diag));
    buf_deinit(&row);
}

static void put_bsatn(World *w, Str table_name, Str hex) {
    uint8_t row[256];
    bool inserted;
    Diag diag;
    EXPECT(hex.len <= 2 * sizeof row && hex_read(hex, row));
    const CatalogTable *table = table_by_name(w, table_name);
    EXPECT_OK(db_row_insert(w->db, table, BYTES(row, hex.len / 2), &inserted, &diag));
}

static void put_range(World *w, Str text) {
    Str table = take_word(&text);
    int count = atoi(take_word(&text).ptr);
    for (int i = 0; i < count; i++)
        put_row(w, table, arena_printf(&arena, "[%d]", i));
}

static uint32_t fixture_find(Str name) {
    for (uint32_t i = 0; i < line_count; i++) {
        Str line = lines[i];
        if (take(&line, "fixture ") && str_eq(line, name)) return i + 1;
    }
    print_error("no fixture " STR_FMT "\n", STR_ARG(name));
    abort();
}

static bool is_head(Str line) {
    return str_starts(line, STR("fixture ")) || str_starts(line, STR("case "));
}

static void world_open(World *w, Str fixture) {
    uint32_t first = fixture_find(fixture);
    EXPECT_OK(sim_new(1, &w->sim));
    w->def = (ModuleDef){.arena = &arena, .version = 10};
    w->def.tables = arena_array(&arena, TableDef, PARTS_MAX);
    w->def.row_level_security = arena_array(&arena, Str, PARTS_MAX);
    for (uint32_t i = first; i < line_count && !is_head(lines[i]); i++) {
        Str line = lines[i];
        if (take(&line, "table ")) add_table(w, line);
        if (take(&line, "rule "))
            w->def.row_level_security[w->def.row_level_security_count++] = line;
    }
    publish(w);
    begin(w);
    for (uint32_t i = first; i < line_count && !is_head(lines[i]); i++) {
        Str line = lines[i];
        if (take(&line, "range ")) put_range(w, line);
        bool json = take(&line, "row ");
        if (!json && !take(&line, "bsatn ")) continue;
        Str table = take_word(&line);
        if (json)
            put_row(w, table, line);
        else
            put_bsatn(w, table, line);
    }
    commit(w);
}

static void world_close(World *w) {
    db_close(&w->db);
    sim_free(&w->sim);
}

// ── one statement ──────────────────────────────────────────────────────────────────────────────

typedef struct Answer {
    Err err;
    Diag diag;
    Buf json;  // the whole of HTTP's answer, or an array of rows
} Answer;

static bool add_row(void *ctx, Bytes row) {
    buf_put_lp(ctx, row);
    return true;
}

// Whole rows of one table, as the doors without HTTP give them.
static void rows_json(Answer *a, const Buf *rows, const CatalogTable *table) {
    buf_put_str(&a->json, STR("\"rows\":["));
    for (size_t at = 0; at < rows->len;) {
        uint32_t len = load_u32(rows->ptr + at);
        if (at) buf_put_u8(&a->json, ',');
        json_write(&a->json, table->row_type, rows->ptr + at + 4, JSON_UNTYPED);
        at += 4 + len;
    }
    buf_put_str(&a->json, STR("],\"total_duration_micros\""));
}

static void ask_subscription(World *w, const QueryCaller *caller, Str text, Answer *a) {
    Standing *query = NULL;
    Buf rows = {0};
    a->err = standing_compile(text, true, &w->catalog, caller, &query, &a->diag);
    if (a->err == OK) a->err = standing_check_limit(&w->catalog, caller, query, &a->diag);
    if (a->err == OK) a->err = standing_run(query, NULL, false, add_row, &rows, &a->diag);
    if (a->err == OK) rows_json(a, &rows, standing_table(query));
    standing_free(&query);
    buf_deinit(&rows);
}

static void ask_write(World *w, const Statement *statement, Answer *a) {
    StatementStats stats;
    begin(w);
    a->err = statement_execute(statement, w->db, &stats, &a->diag);
    if (a->err == OK) a->err = statement_write_json(statement, NULL, &stats, 1, &a->json, &a->diag);
    if (a->err == OK)
        commit(w);
    else
        db_rollback(w->db);
}

static void ask(World *w, char door, const QueryCaller *caller, Str text, Answer *a) {
    *a = (Answer){0};
    if (door == 'S') {
        ask_subscription(w, caller, text, a);
        return;
    }
    Statement *statement = NULL;
    QueryDoor where = door == 'O' ? QUERY_ONE_OFF : QUERY_SQL;
    a->err = statement_compile(text, where, &w->catalog, caller, &statement, &a->diag);
    if (a->err == OK && statement_writes(statement))
        ask_write(w, statement, a);
    else if (a->err == OK)
        a->err = statement_write_json(statement, NULL, NULL, 1, &a->json, &a->diag);
    statement_free(&statement);
}

// ── what must come of it ───────────────────────────────────────────────────────────────────────

static const struct {
    const char *name, *texts[6];
} classes[] = {
    {"PARSE", {"sql parser error: ", "Unsupported expression"}},
    {"EMPTY", {"Empty SQL query"}},
    {"MULTI", {"Multiple SQL statements are not supported"}},
    {"UNSUP", {"Unsupported: ", "Unsupported SELECT: "}},
    {"UNSUP_EXPR",
     {"Unsupported expression: ",
      "Unsupported binary operator: ",
      "Unsupported literal expression: "}},
    {"JOIN_TYPE", {"Non-inner joins are not supported"}},
    {"IMPLICIT_JOIN", {"Implicit joins are not supported"}},
    {"NO_FROM", {"A FROM clause is required"}},
    {"UNQUALIFIED", {"Names must be qualified when using joins"}},
    {"PROJ",
     {"Unsupported projection expression: ",
      "Mixed wildcard projections are not supported",
      "SELECT * is not supported for joins"}},
    {"AGG", {"Aggregate expressions must have column aliases", "Unsupported aggregate function: "}},
    {"DML_SHAPE",
     {"Unsupported INSERT",
      "Unsupported table expression in ",
      "Multi-table DELETE is not supported",
      "Unsupported column/variable assignment expression: ",
      "Unsupported: "}},
    {"NO_TABLE", {"no such table: `"}},
    {"NO_NAME", {"` is not in scope", "` does not have a field `"}},
    {"NO_COLUMN", {"is not in the select list"}},
    {"LITERAL", {"The literal expression `", "Cannot resolve type for literal expression"}},
    {"TYPE", {"Unexpected type: (expected) "}},
    {"OP", {"Invalid binary operator `"}},
    {"DUP", {"Duplicate name `"}},
    {"RETURN_TYPE", {"Column projections are not supported in subscriptions"}},
    {"INS", {"The number of fields (", "Inserting a row with "}},
    {"DML_AUTH", {" is not authorized to run "}},
    {"VAR", {" is not a valid system variable"}},
    {"LENGTH", {"SQL query exceeds maximum allowed length: "}},
    {"NO_INDEX", {"Subscriptions require indexes on join columns"}},
    {"EVENT_LOOKUP", {"Event tables cannot be used as the lookup table"}},
    {"ROW_LIMIT", {"Estimated cardinality ("}},
    {"RLS_CYCLE", {"Discovered cyclic dependency when resolving RLS rules"}},
    {"UNIQUE", {"Unique constraint violation '"}},
    {"GROUP", {"must appear in the GROUP BY clause"}},
    {"AGG_TYPE", {"Invalid aggregate function `"}},
};

static bool is_class(const Answer *a, Str name) {
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (!str_eq(name, str_from(classes[i].name))) continue;
        for (size_t t = 0; t < ARRAY_LEN(classes[i].texts) && classes[i].texts[t]; t++) {
            if (strstr(a->diag.text, classes[i].texts[t])) return true;
        }
        return false;
    }
    print_error("no class " STR_FMT "\n", STR_ARG(name));
    abort();
}

// The elements of a JSON array's inside, `between` apart.
static uint32_t split(Str text, char between, Str *out) {
    uint32_t count = 0, depth = 0;
    bool quoted = false;
    size_t begins = 0;
    for (size_t i = 0; i <= text.len; i++) {
        char c = i < text.len ? text.ptr[i] : between;
        if (c == '"' && (i == 0 || text.ptr[i - 1] != '\\')) quoted = !quoted;
        if (!quoted && c == '[') depth++;
        if (!quoted && c == ']') depth--;
        if (quoted || depth || c != between) continue;
        EXPECT(count < ROWS_MAX);
        if (i > begins) out[count++] = (Str){text.ptr + begins, i - begins};
        begins = i + 1;
    }
    return count;
}

static Str between(const Buf *json, const char *open, const char *close) {
    Str text = bytes_str(buf_bytes(json));
    size_t at = find(text, open);
    EXPECT(at != SIZE_MAX);
    text.ptr += at + strlen(open);
    text.len -= at + strlen(open);
    EXPECT(find(text, close) != SIZE_MAX);
    return (Str){text.ptr, find(text, close)};
}

static uint32_t answer_rows(const Answer *a, Str *out) {
    return split(between(&a->json, "\"rows\":[", "],\"total_duration_micros\""), ',', out);
}

static int order(const void *a, const void *b) {
    return bytes_cmp(str_bytes(*(const Str *)a), str_bytes(*(const Str *)b));
}

typedef struct Expected {
    Str what;  // "ok", "=", "1.", "count", "names", "stats", "!"
    Str more;
} Expected;

static bool rows_are(const Answer *a, Str *want, uint32_t want_count, bool ordered) {
    static Str got[ROWS_MAX];
    uint32_t count = answer_rows(a, got);
    if (count != want_count) return false;
    if (!ordered && count) {
        qsort(got, count, sizeof *got, order);
        qsort(want, count, sizeof *want, order);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!str_eq(got[i], with_identities(want[i]))) return false;
    }
    return true;
}

static bool names_are(const Answer *a, Str want) {
    Buf names = {0};
    Str rest = between(&a->json, "\"elements\":[", "]},\"rows\"");
    for (size_t at; (at = find(rest, "{\"name\":{\"some\":\"")) != SIZE_MAX;) {
        rest.ptr += at + 17;
        rest.len -= at + 17;
        if (names.len) buf_put_u8(&names, ' ');
        buf_put(&names, rest.ptr, find(rest, "\""));
    }
    bool same = str_eq(bytes_str(buf_bytes(&names)), want);
    buf_deinit(&names);
    return same;
}

static bool stats_are(const Answer *a, Str want) {
    Str inserted = take_word(&want), deleted = take_word(&want), updated = take_word(&want);
    Str text = arena_printf(&arena,
                            "{\"rows_inserted\":" STR_FMT ",\"rows_deleted\":" STR_FMT
                            ",\"rows_updated\":" STR_FMT "}",
                            STR_ARG(inserted),
                            STR_ARG(deleted),
                            STR_ARG(updated));
    return find(bytes_str(buf_bytes(&a->json)), text.ptr) != SIZE_MAX;
}

static bool fulfils(const Answer *a, const Expected *want, uint32_t count) {
    static Str rows[ROWS_MAX];
    uint32_t row_count = 0;
    bool ordered = false, asks_rows = false;
    for (uint32_t i = 0; i < count; i++) {
        Str what = want[i].what, more = want[i].more;
        if (str_eq(what, STR("!"))) return a->err != OK && is_class(a, more);
        if (a->err != OK) return false;
        if (str_eq(what, STR("="))) row_count += split(more, ' ', rows + row_count);
        if (str_eq(what, STR("1."))) rows[row_count++] = more;
        ordered = ordered || str_eq(what, STR("1."));
        asks_rows = asks_rows || ordered || str_eq(what, STR("="));
        static Str all[ROWS_MAX];
        if (str_eq(what, STR("count")) && answer_rows(a, all) != (uint32_t)atoi(more.ptr))
            return false;
        if (str_eq(what, STR("names")) && !names_are(a, more)) return false;
        if (str_eq(what, STR("stats")) && !stats_are(a, more)) return false;
    }
    return !asks_rows || rows_are(a, rows, row_count, ordered);
}

// ── cases ──────────────────────────────────────────────────────────────────────────────────────

typedef struct Totals {
    uint32_t statements, failed, later, elsewhere, later_cases;
} Totals;

static Str generated(Str text) {
    Buf sql = {0};
    if (str_eq(text, STR("@1522-ors")) || str_eq(text, STR("@1601-ors"))) {
        buf_printf(&sql, "select * from T where a = 1");
        for (int i = 1; i < (text.ptr[2] == '5' ? 1522 : 1601); i++)
            buf_printf(&sql, " or a = %d", i % 200);
    } else if (str_eq(text, STR("@50001-bytes"))) {
        buf_printf(&sql, "select * from T -- ");
        while (sql.len < 50001)
            buf_put_u8(&sql, 'x');
    } else if (str_eq(text, STR("@200-joins"))) {
        buf_printf(&sql, "select a0.* from T a0");
        for (int i = 1; i < 200; i++)
            buf_printf(&sql, " join T a%d on a%d.a = a%d.a", i, i, i - 1);
    } else {
        return with_identities(text);
    }
    Str out = arena_str(&arena, bytes_str(buf_bytes(&sql)));
    buf_deinit(&sql);
    return out;
}

// `doors` is like "Q", "O(A)" or "later S".
static void check(World *w,
                  Str id,
                  Str door,
                  Str text,
                  const Expected *want,
                  uint32_t n,
                  Totals *t) {
    bool later = take(&door, "later ");
    QueryCaller caller = {.is_owner = door.len < 4};
    caller.identity = identity_of(door.len < 4 ? 'o' : door.ptr[2]);
    if (take(&text, "@as-other ")) caller.is_owner = false;
    Answer a;
    ask(w, door.ptr[0], &caller, generated(text), &a);
    bool good = fulfils(&a, want, n);
    t->statements++;
    if (later && !good) t->later++;
    if (later == good) {
        t->failed++;
        print_error("case " STR_FMT ", " STR_FMT ": %.*s\n  %s%s\n  is %s %.*s\n",
                    STR_ARG(id),
                    STR_ARG(door),
                    (int)MIN(text.len, (size_t)300),
                    text.ptr,
                    later ? "now works: take `later` away; " : "expected ",
                    n ? arena_printf(&arena,
                                     STR_FMT " " STR_FMT,
                                     STR_ARG(want[0].what),
                                     STR_ARG(want[0].more))
                            .ptr
                      : "",
                    a.diag.text,
                    (int)MIN(a.json.len, (size_t)2000),
                    a.json.ptr ? (const char *)a.json.ptr : "");
    }
    buf_deinit(&a.json);
}

static bool is_expectation(Str line) {
    take(&line, "beyond ");
    return str_eq(line, STR("ok")) || str_starts(line, STR("! ")) || str_starts(line, STR("=")) ||
           str_starts(line, STR("1. ")) || str_starts(line, STR("count ")) ||
           str_starts(line, STR("names ")) || str_starts(line, STR("stats ")) ||
           str_starts(line, STR("ok "));
}

static Expected expected(Str line) {
    take(&line, "beyond ");
    Expected e = {.what = take_word(&line)};
    e.more = line;
    return e;
}

// "ok X", "! CLASS X", "count N X", "= X => rows": the expectation, and X for the template's $.
static void check_with(World *w, Str id, Str doors, Str template, Str line, Totals *t) {
    Expected e = expected(line);
    Str x = e.more;
    if (!str_eq(e.what, STR("ok")) && !str_eq(e.what, STR("="))) e.more = take_word(&x);
    if (str_eq(e.what, STR("="))) {
        size_t arrow = find(x, " =>");
        EXPECT(arrow != SIZE_MAX);
        e.more = (Str){x.ptr + arrow + 3, x.len - arrow - 3};
        x.len = arrow;
    }
    Str before = {0}, as_other = STR("@as-other ");
    if (str_starts(x, as_other)) {
        before = as_other;
        x.ptr += as_other.len;
        x.len -= as_other.len;
    }
    size_t at = find(template, "$");
    EXPECT(at != SIZE_MAX);
    Str text = arena_printf(&arena,
                            "%.*s%.*s" STR_FMT "%.*s",
                            (int)before.len,
                            before.len ? before.ptr : "",
                            (int)at,
                            template.ptr,
                            STR_ARG(x),
                            (int)(template.len - at - 1),
                            template.ptr + at + 1);
    while (doors.len) {
        size_t comma = MIN(find(doors, ","), doors.len);
        check(w, id, (Str){doors.ptr, comma}, text, &e, 1, t);
        doors.ptr += MIN(comma + 1, doors.len);
        doors.len -= MIN(comma + 1, doors.len);
    }
}

// Door, then the statement.
static bool statement_line(Str line, Str *door, Str *text) {
    Str rest = line;
    take(&rest, "later ");
    Str word = take_word(&rest);
    if (word.len == 0 || !strchr("QOS", word.ptr[0])) return false;
    if (word.len != 1 && !(word.len == 4 && word.ptr[1] == '(')) return false;
    *door = (Str){line.ptr, (size_t)(word.ptr + word.len - line.ptr)};
    *text = rest;
    return true;
}

static void with_line(Str line, Str *doors, Str *template) {
    bool later = false;
    Str rest = line;
    *doors = (Str){line.ptr, 0};
    do {
        Str word = take_word(&rest);
        later = word.len > 5 && memcmp(word.ptr + word.len - 5, "later", 5) == 0;
        doors->len = (size_t)(word.ptr + word.len - line.ptr);
    } while (later);
    *template = rest;
}

static void run_case(uint32_t at, Totals *t) {
    Str head = lines[at], id, fixture, doors = {0}, template = {0};
    take(&head, "case ");
    id = take_word(&head);
    fixture = take_word(&head);
    World w = {0};
    if (fixture.len) world_open(&w, fixture);
    for (uint32_t i = at + 1; i < line_count && !is_head(lines[i]);) {
        Str line = lines[i++], door, text;
        Expected want[PARTS_MAX];
        uint32_t n = 0;
        if (str_starts(line, STR("elsewhere:"))) {
            t->elsewhere++;
        } else if (str_starts(line, STR("later:"))) {
            t->later_cases++;
        } else if (take(&line, "with ")) {
            with_line(line, &doors, &template);
        } else if (statement_line(line, &door, &text)) {
            doors = STR_NONE;
            while (i < line_count && is_expectation(lines[i]))
                want[n++] = expected(lines[i++]);
            EXPECT(n > 0);
            check(&w, id, door, text, want, n, t);
        } else if (is_expectation(line)) {
            EXPECT(doors.len > 0);
            check_with(&w, id, doors, template, line, t);
        } else if (line.len && line.ptr[0] != '#') {
            fail_msg("case " STR_FMT ": what is `" STR_FMT "`?", STR_ARG(id), STR_ARG(line));
        }
    }
    if (fixture.len) world_close(&w);
}

TEST(conformance, every_case_does_what_the_specification_says) {
    Totals t = {0};
    uint32_t cases = 0;
    load();
    for (uint32_t i = 0; i < line_count; i++) {
        if (!str_starts(lines[i], STR("case "))) continue;
        run_case(i, &t);
        cases++;
    }
    print_message(
        "%u cases: %u statements, %u failed, %u later; %u cases kept elsewhere, %u later\n",
        cases,
        t.statements,
        t.failed,
        t.later,
        t.elsewhere,
        t.later_cases);
    arena_deinit(&arena);
    EXPECT(cases > 140 && t.statements > 400);
    EXPECT_EQ(t.failed, 0);
}

TEST_MAIN()
