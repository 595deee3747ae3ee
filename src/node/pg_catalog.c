// pg_catalog.c: what psql's \d, \dt, \dv, \di, \l, \dn and \du ask, and what drivers ask about types.
//
// There is no pg_catalog: its tables would describe a server that this is not. The questions that psql 9.2
// and later ask for these commands are recognised by what they name, and answered from our catalog; the
// columns of a list are those that the question names ("Schema", "Name", …). Any other question about
// pg_catalog is refused with a sentence that says where the schema is described.
#include <stdio.h>

#include "node/pg_private.h"

typedef struct Ask {
    Session *s;
    Str text;
    PgAnswer *a;
} Ask;

static bool may_see(const Session *s, const CatalogTable *table) {
    return table->is_public || s->is_owner;
}

// ── patterns ───────────────────────────────────────────────────────────────────────────────────

// What is quoted behind `before`; false when that is not there.
static bool quoted_behind(Str text, const char *before, Str *out) {
    size_t len = strlen(before);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (memcmp(text.ptr + i, before, len) != 0) continue;
        const char *from = text.ptr + i + len;
        const char *end = memchr(from, '\'', (size_t)(text.ptr + text.len - from));
        if (!end) return false;
        *out = (Str){from, (size_t)(end - from)};
        return true;
    }
    return false;
}

// psql turns `ta*` into ^(ta.*)$: letters, dots and dot-stars are all that is understood here.
static bool matches(Str pattern, Str name) {
    size_t p = 0, n = 0, star = SIZE_MAX, back = 0;
    for (;;) {
        bool escaped = p + 1 < pattern.len && pattern.ptr[p] == '\\';
        bool any = !escaped && p < pattern.len && pattern.ptr[p] == '.';
        if (any && p + 1 < pattern.len && pattern.ptr[p + 1] == '*') {
            star = p += 2;
            back = n;
            continue;
        }
        size_t at = p + escaped;
        if (n < name.len && at < pattern.len && (any || pattern.ptr[at] == name.ptr[n])) {
            p = at + 1;
            n++;
            continue;
        }
        if (n == name.len && p == pattern.len) return true;
        if (star == SIZE_MAX || back == name.len) return false;
        p = star;
        n = ++back;
    }
}

static bool name_wanted(Str text, Str name) {
    Str pattern;
    if (!quoted_behind(text, "relname OPERATOR(pg_catalog.~) '", &pattern)) return true;
    if (str_starts(pattern, STR("^("))) pattern = (Str){pattern.ptr + 2, pattern.len - 2};
    if (pattern.len >= 2 && memcmp(pattern.ptr + pattern.len - 2, ")$", 2) == 0) pattern.len -= 2;
    return matches(pattern, name);
}

// ── columns by their names in the question ─────────────────────────────────────────────────────

#define NAMES_MAX 32

typedef struct Names {
    Str name[NAMES_MAX];
    uint32_t count;
} Names;

// The aliases in quotes between SELECT and its FROM.
static void names_read(Str text, Names *names) {
    int depth = 0;
    names->count = 0;
    for (size_t i = 0; i + 4 < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\'') {
            const char *end = memchr(text.ptr + i + 1, '\'', text.len - i - 1);
            if (!end) return;
            i = (size_t)(end - text.ptr);
        }
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (depth == 0 && str_eq((Str){text.ptr + i, 5}, STR("FROM "))) return;
        if (depth != 0 || !str_eq_nocase((Str){text.ptr + i, 4}, STR("as \""))) continue;
        const char *from = text.ptr + i + 4;
        const char *end = memchr(from, '"', (size_t)(text.ptr + text.len - from));
        if (!end || names->count == NAMES_MAX) return;
        names->name[names->count++] = (Str){from, (size_t)(end - from)};
        i = (size_t)(end - text.ptr);
    }
}

static void columns_named(PgAnswer *a, const Names *names) {
    char name[64];
    for (uint32_t i = 0; i < names->count; i++) {
        snprintf(name,
                 sizeof name,
                 "%.*s",
                 (int)MIN(names->name[i].len, (size_t)63),
                 names->name[i].ptr);
        pg_answer_column(a, name, PG_TEXT);
    }
}

static void columns(PgAnswer *a, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        pg_answer_column(a, names[i], PG_TEXT);
}

static Str caller_hex(const Ask *q, const Identity *identity) {
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(identity, hex);
    return arena_str(q->a->arena, str_from(hex));
}

// ── lists ──────────────────────────────────────────────────────────────────────────────────────

static bool kind_wanted(Str text, char kind) {
    char quoted[4] = {'\'', kind, '\'', 0};
    Str from = text;
    for (size_t i = 0; i + 12 < text.len; i++) {
        if (memcmp(text.ptr + i, "relkind IN (", 12) != 0) continue;
        from = (Str){text.ptr + i, text.len - i};
        const char *end = memchr(from.ptr + 12, ')', from.len - 12);
        if (end) from.len = (size_t)(end - from.ptr);
        return pg_text_has(from, quoted);
    }
    return kind != 'i';
}

static Str schema_of(const CatalogTable *table) {
    return table->is_system ? STR("pg_catalog") : STR("public");
}

typedef struct Relation {
    const CatalogTable *table;
    const CatalogIndex *index;  // NULL: the table itself
} Relation;

static Str relation_cell(const Ask *q, const Relation *r, Str column) {
    const CatalogTable *table = r->table;
    Database *db = q->s->database;
    if (str_eq(column, STR("Schema"))) return schema_of(table);
    if (str_eq(column, STR("Name"))) return r->index ? r->index->name : table->name;
    if (str_eq(column, STR("Type")))
        return r->index ? STR("index") : table->is_view ? STR("view") : STR("table");
    if (str_eq(column, STR("Owner"))) return caller_hex(q, &db->owner);
    if (str_eq(column, STR("Table"))) return table->name;
    if (str_eq(column, STR("Persistence"))) return STR("permanent");
    if (str_eq(column, STR("Access method"))) return r->index ? STR("btree") : STR("heap");
    if (str_eq(column, STR("Size")) && !r->index)
        return arena_printf(q->a->arena,
                            "%llu kB",
                            (unsigned long long)(table_data_bytes(table->table) + 1023) / 1024);
    return STR("");
}

static void relation_row(const Ask *q, const Names *names, const Relation *r) {
    for (uint32_t i = 0; i < names->count; i++)
        pg_answer_cell(q->a, relation_cell(q, r, names->name[i]));
    pg_answer_row(q->a);
}

static void list_relations(const Ask *q) {
    const Catalog *catalog = db_catalog(q->s->database->db);
    bool no_system = pg_text_has(q->text, "nspname <> 'pg_catalog'");
    Names names;
    names_read(q->text, &names);
    columns_named(q->a, &names);
    for (uint32_t t = 0; t < catalog_table_count(catalog); t++) {
        const CatalogTable *table = catalog_table_at(catalog, t);
        Relation r = {.table = table};
        if (!may_see(q->s, table) || (table->is_system && no_system)) continue;
        if (kind_wanted(q->text, table->is_view ? 'v' : 'r') && name_wanted(q->text, table->name))
            relation_row(q, &names, &r);
        for (uint32_t i = 0; i < table->index_count && kind_wanted(q->text, 'i'); i++) {
            r.index = &table->indexes[i];
            if (name_wanted(q->text, r.index->name)) relation_row(q, &names, &r);
        }
    }
}

// One row of a list that has one.
static void list_one(const Ask *q, Str (*cell)(const Ask *q, Str column)) {
    Names names;
    names_read(q->text, &names);
    columns_named(q->a, &names);
    for (uint32_t i = 0; i < names.count; i++)
        pg_answer_cell(q->a, cell(q, names.name[i]));
    pg_answer_row(q->a);
}

static Str database_cell(const Ask *q, Str column) {
    if (str_eq(column, STR("Name"))) return str_from(q->s->pg->database);
    if (str_eq(column, STR("Owner"))) return caller_hex(q, &q->s->database->owner);
    if (str_eq(column, STR("Encoding"))) return STR("UTF8");
    if (str_eq(column, STR("Collate")) || str_eq(column, STR("Ctype"))) return STR("C");
    if (str_eq(column, STR("Locale Provider"))) return STR("libc");
    return STR("");
}

static Str schema_cell(const Ask *q, Str column) {
    if (str_eq(column, STR("Name"))) return STR("public");
    if (str_eq(column, STR("Owner"))) return caller_hex(q, &q->s->database->owner);
    return STR("");
}

static void list_roles(const Ask *q) {
    static const char *const names[] = {"rolname",
                                        "rolsuper",
                                        "rolinherit",
                                        "rolcreaterole",
                                        "rolcreatedb",
                                        "rolcanlogin",
                                        "rolconnlimit",
                                        "rolvaliduntil",
                                        "memberof",
                                        "rolreplication",
                                        "rolbypassrls"};
    Str owner = q->s->is_owner ? STR("t") : STR("f"), no = STR("f");
    Str cells[] = {caller_hex(q, &q->s->identity),
                   owner,
                   no,
                   no,
                   no,
                   STR("t"),
                   STR("-1"),
                   STR_NONE,
                   STR("{}"),
                   no,
                   owner};
    columns(q->a, names, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        pg_answer_cell(q->a, cells[i]);
    pg_answer_row(q->a);
}

// Names that psql completes: those that begin like what stands before the cursor.
static void list_completions(const Ask *q) {
    const Catalog *catalog = db_catalog(q->s->database->db);
    Str prefix = STR("");
    if (quoted_behind(q->text, "LIKE '", &prefix) && prefix.len) prefix.len--;
    pg_answer_column(q->a, "name", PG_TEXT);
    for (uint32_t t = 0; t < catalog_table_count(catalog); t++) {
        const CatalogTable *table = catalog_table_at(catalog, t);
        if (!may_see(q->s, table) || !str_starts(table->name, prefix)) continue;
        pg_answer_cell(q->a, table->name);
        pg_answer_row(q->a);
    }
}

// ── one table ──────────────────────────────────────────────────────────────────────────────────

static Str number(const Ask *q, uint32_t n) {
    return arena_printf(q->a->arena, "%u", n);
}

static void find_table(const Ask *q) {
    static const char *const names[] = {"oid", "nspname", "relname"};
    const Catalog *catalog = db_catalog(q->s->database->db);
    columns(q->a, names, ARRAY_LEN(names));
    for (uint32_t t = 0; t < catalog_table_count(catalog); t++) {
        const CatalogTable *table = catalog_table_at(catalog, t);
        if (!may_see(q->s, table) || !name_wanted(q->text, table->name)) continue;
        if (!pg_text_has(q->text, "relname OPERATOR") && table->is_system) continue;
        pg_answer_cell(q->a, number(q, table->table_id));
        pg_answer_cell(q->a, schema_of(table));
        pg_answer_cell(q->a, table->name);
        pg_answer_row(q->a);
    }
}

// The table that the question names by its number.
static const CatalogTable *table_asked(const Ask *q, const char *before) {
    Str digits;
    unsigned id;
    if (!quoted_behind(q->text, before, &digits) || sscanf(digits.ptr, "%u", &id) != 1) return NULL;
    const CatalogTable *table = catalog_table(db_catalog(q->s->database->db), id);
    return table && may_see(q->s, table) ? table : NULL;
}

static void describe_table(const Ask *q) {
    static const char *const names[] = {"relchecks",
                                        "relkind",
                                        "relhasindex",
                                        "relhasrules",
                                        "relhastriggers",
                                        "relrowsecurity",
                                        "relforcerowsecurity",
                                        "relhasoids",
                                        "relispartition",
                                        "?column?",
                                        "reltablespace",
                                        "reloftype",
                                        "relpersistence",
                                        "relreplident",
                                        "amname"};
    const CatalogTable *table = table_asked(q, "c.oid = '");
    columns(q->a, names, ARRAY_LEN(names));
    if (!table) return;
    Str no = STR("f"), indexed = table->index_count ? STR("t") : STR("f");
    Str cells[] = {STR("0"),
                   table->is_view ? STR("v") : STR("r"),
                   indexed,
                   no,
                   no,
                   no,
                   no,
                   no,
                   no,
                   STR(""),
                   STR("0"),
                   STR(""),
                   STR("p"),
                   STR("d"),
                   STR("heap")};
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        pg_answer_cell(q->a, cells[i]);
    pg_answer_row(q->a);
}

static Str type_name(const Ask *q, const Type *type) {
    uint32_t oid = pg_type_oid(type);
    return arena_printf(q->a->arena, "%s%s", pg_oid_sql_name(oid), pg_oid_element(oid) ? "[]" : "");
}

static bool is_auto_inc(const CatalogTable *table, uint32_t column) {
    for (uint32_t i = 0; i < table->sequence_count; i++)
        if (table->sequences[i].column == column) return true;
    return false;
}

static void describe_columns(const Ask *q) {
    static const char *const names[] = {"attname",
                                        "format_type",
                                        "pg_get_expr",
                                        "attnotnull",
                                        "attcollation",
                                        "attidentity",
                                        "attgenerated"};
    static const char *const more[] = {"attstorage",
                                       "attcompression",
                                       "attstattarget",
                                       "col_description"};
    const CatalogTable *table = table_asked(q, "a.attrelid = '");
    columns(q->a, names, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        if (pg_text_has(q->text, more[i])) pg_answer_column(q->a, more[i], PG_TEXT);
    for (uint32_t c = table && table->is_view ? 1 : 0; table && c < table->column_count; c++) {
        const CatalogColumn *column = &table->columns[c];
        bool optional = column->type->special == SPECIAL_OPTION;
        pg_answer_cell(q->a, column->name);
        pg_answer_cell(q->a, type_name(q, column->type));
        pg_answer_cell(q->a, is_auto_inc(table, c) ? STR("auto_inc") : STR_NONE);
        pg_answer_cell(q->a, optional ? STR("f") : STR("t"));
        pg_answer_cell(q->a, STR_NONE);
        pg_answer_cell(q->a, STR(""));
        pg_answer_cell(q->a, STR(""));
        for (size_t i = 0; i < ARRAY_LEN(more); i++)
            if (pg_text_has(q->text, more[i])) pg_answer_cell(q->a, i == 0 ? STR("p") : STR_NONE);
        pg_answer_row(q->a);
    }
}

static Str index_definition(const Ask *q, const CatalogTable *table, const CatalogIndex *index) {
    Buf text = {0};
    buf_printf(&text,
               "CREATE INDEX " STR_FMT " ON " STR_FMT " USING btree (",
               STR_ARG(index->name),
               STR_ARG(table->name));
    for (uint16_t i = 0; i < index->column_count; i++)
        buf_printf(&text,
                   "%s" STR_FMT,
                   i ? ", " : "",
                   STR_ARG(table->columns[index->columns[i]].name));
    buf_put_u8(&text, ')');
    Str out = arena_str(q->a->arena, bytes_str(buf_bytes(&text)));
    if (!buf_ok(&text)) q->a->cells.failed = true;
    buf_deinit(&text);
    return out;
}

static bool is_primary(const CatalogTable *table, const CatalogIndex *index) {
    return index->unique && index->column_count == 1 && table->primary_key >= 0 &&
           index->columns[0] == (uint16_t)table->primary_key;
}

static void describe_indexes(const Ask *q) {
    static const char *const names[] = {"relname",
                                        "indisprimary",
                                        "indisunique",
                                        "indisclustered",
                                        "indisvalid",
                                        "pg_get_indexdef",
                                        "pg_get_constraintdef",
                                        "contype",
                                        "condeferrable",
                                        "condeferred",
                                        "indisreplident",
                                        "reltablespace"};
    const CatalogTable *table = table_asked(q, "c.oid = '");
    columns(q->a, names, ARRAY_LEN(names));
    for (uint32_t i = 0; table && i < table->index_count; i++) {
        const CatalogIndex *index = &table->indexes[i];
        bool primary = is_primary(table, index);
        Str no = STR("f"), yes = STR("t");
        Str cells[] = {index->name,
                       primary ? yes : no,
                       index->unique ? yes : no,
                       no,
                       yes,
                       index_definition(q, table, index),
                       STR_NONE,
                       primary         ? STR("p")
                       : index->unique ? STR("u")
                                       : STR_NONE,
                       no,
                       no,
                       no,
                       STR("0")};
        for (size_t c = 0; c < ARRAY_LEN(cells); c++)
            pg_answer_cell(q->a, cells[c]);
        pg_answer_row(q->a);
    }
}

// ── drivers ────────────────────────────────────────────────────────────────────────────────────

static void list_array_types(const Ask *q) {
    pg_answer_column(q->a, "oid", PG_OID);
    pg_answer_column(q->a, "typarray", PG_OID);
    uint32_t oid, array;
    for (uint32_t i = 0; (oid = pg_oid_at(i, &array)) != 0; i++) {
        pg_answer_cell(q->a, number(q, oid));
        pg_answer_cell(q->a, number(q, array));
        pg_answer_row(q->a);
    }
}

// ── which question is it ───────────────────────────────────────────────────────────────────────

static void nothing(const Ask *q) {
    pg_answer_column(q->a, "nothing", PG_TEXT);
}

static void list_databases(const Ask *q) {
    list_one(q, database_cell);
}
static void list_schemas(const Ask *q) {
    list_one(q, schema_cell);
}

typedef struct Question {
    const char *words, *also;  // both in the text; `also` may be NULL
    void (*answer)(const Ask *q);
} Question;

// The first that fits. psql asks about much that a table here never has: nothing is the true answer.
static const Question questions[] = {
    {"SELECT c.oid, n.nspname, c.relname", NULL, find_table},
    {"SELECT c.relchecks, c.relkind", NULL, describe_table},
    {"pg_catalog.pg_attribute a", "a.attrelid = '", describe_columns},
    {"pg_catalog.pg_index i", "i.indisprimary, i.indisunique", describe_indexes},
    {"SELECT b.oid, b.typarray", NULL, list_array_types},
    {"pg_catalog.pg_policy", NULL, nothing},
    {"pg_catalog.pg_statistic_ext", NULL, nothing},
    {"pg_catalog.pg_publication", NULL, nothing},
    {"pg_catalog.pg_inherits", NULL, nothing},
    {"pg_catalog.pg_constraint", NULL, nothing},
    {"pg_catalog.pg_trigger", NULL, nothing},
    {"pg_catalog.pg_rewrite", NULL, nothing},
    {"pg_catalog.pg_get_viewdef", NULL, nothing},
    {"FROM pg_catalog.pg_database d", "as \"Name\"", list_databases},
    {"FROM pg_catalog.pg_namespace n", "as \"Name\"", list_schemas},
    {"FROM pg_catalog.pg_roles r", "r.rolname", list_roles},
    {"FROM pg_catalog.pg_class c", "as \"Type\"", list_relations},
    {"FROM pg_catalog.pg_class c", "c.relname) LIKE '", list_completions},
};

bool pg_catalog_say(Session *s, Str text, PgAnswer *a, Err *err, Diag *diag) {
    Ask q = {s, text, a};
    for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
        const Question *question = &questions[i];
        if (!pg_text_has(text, question->words)) continue;
        if (question->also && !pg_text_has(text, question->also)) continue;
        question->answer(&q);
        return true;
    }
    if (!pg_text_has(text, "FROM pg_catalog.") && !pg_text_has(text, "FROM pg_")) return false;
    *err = diag_fail(diag,
                     ERR_UNSUPPORTED,
                     "pg_catalog is answered for psql's \\d, \\dt, \\dv, \\di, \\l, \\dn and \\du "
                     "only; st_table, st_column and st_index describe the schema");
    return true;
}
