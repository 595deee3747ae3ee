// cgen_table.c: the typed accessors of one table, as prototypes and as code.
//
// For each index and each number of its leading columns there is a function, named after the columns:
//
//     unique (a)      find_by_a  update_by_a  delete_by_a            range_by_a  delete_range_by_a
//     index (a, b)    filter_by_a    delete_by_a                     range_by_a  …
//                     filter_by_a_b  delete_by_a_b                   range_by_a_b: a equal, b between
//     hash (a)        filter_by_a    delete_by_a
//
// Two indexes that would give the same function give it once.
#include "cli/cgen.h"

typedef struct Writer {
    const CTable *table;
    const char *name;  // of the table
    const char *row;   // its C type
    bool is_code;      // else prototypes
    Buf *out;
} Writer;

// ── names ──────────────────────────────────────────────────────────────────────────────────────

static const CField *column(const Writer *w, const CIndex *index, uint32_t i) {
    return &w->table->row->fields[index->columns[i]];
}

static const char *names_joined(const Writer *w, const CIndex *index, uint32_t count) {
    const char *all = "";
    for (uint32_t i = 0; i < count; i++)
        all = cli_format("%s%s" STR_FMT, all, i ? "_" : "", STR_ARG(column(w, index, i)->name));
    return all;
}

static const char *equal_params(const Writer *w, const CIndex *index, uint32_t count) {
    const char *all = "";
    for (uint32_t i = 0; i < count; i++) {
        const CField *field = column(w, index, i);
        all = cli_format("%s%s%s",
                         all,
                         i ? ", " : "",
                         ctype_declare(field->type, cli_copy(field->name)));
    }
    return all;
}

static const char *range_params(const Writer *w, const CIndex *index, uint32_t equal) {
    const CType *type = column(w, index, equal)->type;
    return cli_format("%s%sBound lower_bound, %s, Bound upper_bound, %s",
                      equal_params(w, index, equal),
                      equal ? ", " : "",
                      ctype_declare(type, "lower"),
                      ctype_declare(type, "upper"));
}

static bool same_leading(const CIndex *a, const CIndex *b, uint32_t count) {
    return a->column_count >= count && b->column_count >= count &&
           memcmp(a->columns, b->columns, count * sizeof a->columns[0]) == 0;
}

// Does this index give the functions for equality of its first `count` columns?
static bool gives_equal(const Writer *w, const CIndex *index, uint32_t count) {
    bool earlier = true;
    for (const CIndex *other = w->table->indexes; other; other = other->next) {
        if (other == index) {
            earlier = false;
            continue;
        }
        if (!same_leading(other, index, count)) continue;
        bool whole = other->column_count == count;
        bool other_unique = whole && other->is_unique;
        bool unique = index->column_count == count && index->is_unique;
        if (other_unique && (!unique || earlier)) return false;
        if (!unique && earlier && (whole || other->kind == CINDEX_BTREE)) return false;
    }
    return true;
}

static bool gives_range(const Writer *w, const CIndex *index, uint32_t count) {
    if (index->kind == CINDEX_HASH) return false;
    for (const CIndex *other = w->table->indexes; other != index; other = other->next)
        if (other->kind != CINDEX_HASH && same_leading(other, index, count)) return false;
    return true;
}

// ── bodies ─────────────────────────────────────────────────────────────────────────────────────

static void put_value(const Writer *w, const CType *type, const char *writer, const char *value) {
    CType *plain = ctype_strip((CType *)type);
    const char *library = plain->kind == CTYPE_SCALAR ? "lc_" : "";
    const char *address = ctype_by_value(plain) ? "" : "&";
    buf_printf(w->out, "%sput_%s(&%s, %s%s);\n", library, plain->codec, writer, address, value);
}

static void put_key(const Writer *w, const CIndex *index, uint32_t count, const char *writer) {
    buf_printf(w->out, "    LcWriter %s = lc_writer(0);\n", writer);
    for (uint32_t i = 0; i < count; i++) {
        const CField *field = column(w, index, i);
        buf_printf(w->out, "    ");
        put_value(w, field->type, writer, cli_copy(field->name));
    }
}

static void put_bounds(const Writer *w, const CType *type) {
    buf_printf(w->out, "    LcWriter lc_lower = lc_writer(1), lc_upper = lc_writer(2);\n");
    buf_printf(w->out, "    if (lc_put_bound(&lc_lower, lower_bound, true)) ");
    put_value(w, type, "lc_lower", "lower");
    buf_printf(w->out, "    if (lc_put_bound(&lc_upper, upper_bound, false)) ");
    put_value(w, type, "lc_upper", "upper");
}

static void put_row_read(const Writer *w, const char *where) {
    buf_printf(w->out,
               "    %s = LC_NEW(%s);\n    get_%s(&lc_in, %s);\n",
               where,
               w->row,
               w->row,
               where);
}

// The columns that the host numbered, in their order (§1.9).
static void put_generated(const Writer *w) {
    for (uint32_t i = 0; i < w->table->row->field_count; i++) {
        const CField *field = &w->table->row->fields[i];
        if (!field->is_auto_inc) continue;
        buf_printf(w->out,
                   "    if (row->" STR_FMT " == 0) row->" STR_FMT " = lc_get_%s(&lc_in);\n",
                   STR_ARG(field->member),
                   STR_ARG(field->member),
                   ctype_strip(field->type)->codec);
    }
}

// Prototypes end with `;`, code goes on with a body.
static bool opens(const Writer *w) {
    buf_printf(w->out, w->is_code ? " {\n" : ";\n");
    return w->is_code;
}
static void closes(const Writer *w) {
    buf_printf(w->out, "}\n");
}
static void note(const Writer *w, const char *text) {
    if (!w->is_code) buf_printf(w->out, "// %s\n", text);
}

// ── the functions ──────────────────────────────────────────────────────────────────────────────

static const char *index_variable(const CIndex *index) {
    return cli_format("index_%s", index->source_name);
}

static void emit_find(const Writer *w, const CIndex *index) {
    uint32_t count = index->column_count;
    const char *names = names_joined(w, index, count);
    const char *params = equal_params(w, index, count);
    buf_printf(w->out, "%s *%s_find_by_%s(%s)", w->row, w->name, names, params);
    if (!opens(w)) return;
    put_key(w, index, count, "lc_key");
    buf_printf(w->out,
               "    LcReader lc_in;\n    if (!lc_index_find(&%s, &lc_key, &lc_in)) return NULL;\n",
               index_variable(index));
    buf_printf(w->out, "    %s *lc_row;\n", w->row);
    put_row_read(w, "lc_row");
    buf_printf(w->out, "    return lc_row;\n");
    closes(w);
}

static void emit_update(const Writer *w, const CIndex *index) {
    const char *names = names_joined(w, index, index->column_count);
    buf_printf(w->out, "LC_MUST_USE Error %s_update_by_%s(%s *row)", w->name, names, w->row);
    if (!opens(w)) return;
    buf_printf(
        w->out,
        "    LcWriter lc_out = lc_writer(0);\n    LcReader lc_in;\n    put_%s(&lc_out, row);\n"
        "    TRY(lc_table_update(&table_%s, &%s, &lc_out, &lc_in));\n",
        w->row,
        w->name,
        index_variable(index));
    put_generated(w);
    buf_printf(w->out, "    return OK;\n");
    closes(w);
}

static void emit_filter(const Writer *w, const CIndex *index, uint32_t count) {
    const char *names = names_joined(w, index, count);
    const char *params = equal_params(w, index, count);
    buf_printf(w->out, "%sScan %s_filter_by_%s(%s)", w->row, w->name, names, params);
    if (!opens(w)) return;
    put_key(w, index, count, "lc_key");
    if (count == index->column_count)
        buf_printf(w->out,
                   "    return (%sScan){.scan = lc_index_scan(&%s, &lc_key)};\n",
                   w->row,
                   index_variable(index));
    else
        buf_printf(w->out,
                   "    LcWriter lc_any = lc_writer(1);\n    lc_put_bound(&lc_any, LC_ANY, true);\n"
                   "    return (%sScan){.scan = lc_index_scan_range(&%s, &lc_key, %u, &lc_any, "
                   "&lc_any)};\n",
                   w->row,
                   index_variable(index),
                   count);
    closes(w);
}

static void emit_delete(const Writer *w, const CIndex *index, uint32_t count) {
    bool whole = count == index->column_count;
    const char *names = names_joined(w, index, count);
    const char *params = equal_params(w, index, count);
    const char *returns = whole && index->is_unique ? "bool" : "uint32_t";
    buf_printf(w->out, "%s %s_delete_by_%s(%s)", returns, w->name, names, params);
    if (!opens(w)) return;
    put_key(w, index, count, "lc_key");
    if (whole)
        buf_printf(w->out,
                   "    return lc_index_delete(&%s, &lc_key)%s;\n",
                   index_variable(index),
                   index->is_unique ? " > 0" : "");
    else
        buf_printf(w->out,
                   "    LcWriter lc_any = lc_writer(1);\n    lc_put_bound(&lc_any, LC_ANY, true);\n"
                   "    return lc_index_delete_range(&%s, &lc_key, %u, &lc_any, &lc_any);\n",
                   index_variable(index),
                   count);
    closes(w);
}

static void emit_range(const Writer *w, const CIndex *index, uint32_t equal, bool deletes) {
    const char *names = names_joined(w, index, equal + 1);
    const char *params = range_params(w, index, equal);
    const char *returns = deletes ? "uint32_t" : cli_format("%sScan", w->row);
    const char *verb = deletes ? "delete_range" : "range";
    buf_printf(w->out, "%s %s_%s_by_%s(%s)", returns, w->name, verb, names, params);
    if (!opens(w)) return;
    put_key(w, index, equal, "lc_prefix");
    put_bounds(w, column(w, index, equal)->type);
    const char *call = cli_format("lc_index_%s(&%s, &lc_prefix, %u, &lc_lower, &lc_upper)",
                                  deletes ? "delete_range" : "scan_range",
                                  index_variable(index),
                                  equal);
    if (deletes)
        buf_printf(w->out, "    return %s;\n", call);
    else
        buf_printf(w->out, "    return (%sScan){.scan = %s};\n", w->row, call);
    closes(w);
}

static void emit_index(const Writer *w, const CIndex *index) {
    for (uint32_t count = 1; count <= index->column_count; count++) {
        bool whole = count == index->column_count;
        bool prefix_works = index->kind == CINDEX_BTREE;
        if ((whole || prefix_works) && gives_equal(w, index, count)) {
            if (whole && index->is_unique) {
                emit_find(w, index);
                emit_update(w, index);
            } else {
                emit_filter(w, index, count);
            }
            emit_delete(w, index, count);
        }
        if (!gives_range(w, index, count)) continue;
        emit_range(w, index, count - 1, false);
        emit_range(w, index, count - 1, true);
    }
}

static void emit_insert(const Writer *w) {
    note(w, "Adds a row; numbered columns that were 0 have their number afterwards.");
    buf_printf(w->out, "LC_MUST_USE Error %s_insert(%s *row)", w->name, w->row);
    if (!opens(w)) return;
    buf_printf(
        w->out,
        "    LcWriter lc_out = lc_writer(0);\n    LcReader lc_in;\n    put_%s(&lc_out, row);\n"
        "    TRY(lc_table_insert(&table_%s, &lc_out, &lc_in));\n",
        w->row,
        w->name);
    put_generated(w);
    buf_printf(w->out, "    return OK;\n");
    closes(w);
}

static void emit_delete_row(const Writer *w) {
    note(w, "Deletes the row equal to this one in every column; false: there is none.");
    buf_printf(w->out, "bool %s_delete(const %s *row)", w->name, w->row);
    if (!opens(w)) return;
    buf_printf(w->out,
               "    LcWriter lc_out = lc_writer(0);\n    lc_put_uint32_t(&lc_out, 1);\n"
               "    put_%s(&lc_out, row);\n    return lc_table_delete(&table_%s, &lc_out);\n",
               w->row,
               w->name);
    closes(w);
}

static void emit_whole(const Writer *w) {
    buf_printf(w->out, "uint64_t %s_count(void)", w->name);
    if (opens(w)) {
        buf_printf(w->out, "    return lc_table_count(&table_%s);\n", w->name);
        closes(w);
    }
    buf_printf(w->out, "uint64_t %s_clear(void)", w->name);
    if (opens(w)) {
        buf_printf(w->out, "    return lc_table_clear(&table_%s);\n", w->name);
        closes(w);
    }
    note(w,
         cli_format("for (%sScan each = %s_scan(); %s_next(&each);) …each.row…",
                    w->row,
                    w->name,
                    w->name));
    buf_printf(w->out, "%sScan %s_scan(void)", w->row, w->name);
    if (opens(w)) {
        buf_printf(w->out,
                   "    return (%sScan){.scan = lc_table_scan(&table_%s)};\n",
                   w->row,
                   w->name);
        closes(w);
    }
    buf_printf(w->out, "bool %s_next(%sScan *scan)", w->name, w->row);
    if (!opens(w)) return;
    buf_printf(w->out,
               "    LcReader lc_in;\n    scan->row = NULL;\n"
               "    if (!lc_scan_row(&scan->scan, &lc_in)) return false;\n");
    put_row_read(w, "scan->row");
    buf_printf(w->out, "    lc_scan_read(&scan->scan, &lc_in);\n    return true;\n");
    closes(w);
}

static void emit_table(const Writer *w) {
    emit_insert(w);
    emit_delete_row(w);
    emit_whole(w);
    for (const CIndex *index = w->table->indexes; index; index = index->next)
        emit_index(w, index);
}

// ── for the rest of the generator ──────────────────────────────────────────────────────────────

static Writer writer(const CTable *table, bool is_code, Buf *out) {
    return (Writer){.table = table,
                    .name = cli_copy(table->name),
                    .row = table->row->spelling,
                    .is_code = is_code,
                    .out = out};
}

void cgen_table_prototypes(const CTable *table, Buf *out) {
    Writer w = writer(table, false, out);
    buf_printf(out, "\n// ── %s\n", w.name);
    // Tables may share their rows' type, and then share its scan. C has no harmless second struct.
    buf_printf(
        out,
        "#ifndef LC_SCAN_OF_%s\n#define LC_SCAN_OF_%s\ntypedef struct %sScan {\n    LcScan scan;\n"
        "    %s *row;\n} %sScan;\n#endif\n",
        w.row,
        w.row,
        w.row,
        w.row,
        w.row);
    emit_table(&w);
}

void cgen_table_code(const CTable *table, Buf *out) {
    Writer w = writer(table, true, out);
    buf_printf(out,
               "\n// ── %s\n\nstatic LcTable table_%s = {.name = \"%s\"};\n",
               w.name,
               w.name,
               w.name);
    for (const CIndex *index = table->indexes; index; index = index->next)
        buf_printf(out,
                   "static LcIndex %s = {.name = \"%s\"};\n",
                   index_variable(index),
                   index->source_name);
    emit_table(&w);
}
