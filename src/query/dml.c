// dml.c: what INSERT, UPDATE, DELETE, SET and SHOW mean (spec §1.10, §1.11): names, types, the rights of
// the caller; values become BSATN. Carrying it out is dml_run.c's.
//
// Row-level security does not bind whoever may write.
//
// Of the system tables only st_var may be written: what the others say is the schema's, and comes
// about by publishing.
#include "base/mem.h"
#include "query/statement_private.h"

// ── values ─────────────────────────────────────────────────────────────────────────────────────

static bool takes_text(const Type *type) {
    return type->kind == TYPE_STRING || type->special == SPECIAL_TIMESTAMP ||
           type->special == SPECIAL_UUID;
}

Err write_value(const Type *type, const SqlValue *value, Buf *out, Diag *diag) {
    if (value->kind == SQL_PARAM) return sql_param(value->param, type, value->text, out, diag);
    if (value->from_driver && type->special == SPECIAL_OPTION) {
        buf_put_u8(out, 0);
        type = type->fields[0].type;
    }
    if (value->kind == SQL_TRUTH) {
        if (type->kind != TYPE_BOOL) return compile_fail_type(diag, type, type_simple(TYPE_BOOL));
        buf_put_u8(out, value->truth);
        return OK;
    }
    if (value->kind == SQL_TEXT && !takes_text(type))
        return compile_fail_type(diag, type, type_simple(TYPE_STRING));
    return sql_literal(type, value->text, out) ? OK : compile_fail_literal(diag, value->text, type);
}

typedef struct WriteCompiler {
    Statement *s;
    const SqlStatement *syntax;
    const QueryCatalog *catalog;
    const QueryCaller *caller;
    Arena *scratch;
    Diag *diag;
} WriteCompiler;

static int cut(Str text) {
    return (int)utf8_cut(text, 200);
}

// Accessor or canonical name. UINT32_MAX: there is none.
static uint32_t find_column(const CatalogTable *table, Str name) {
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = compile_first_column(table); i < table->column_count; i++) {
            const CatalogColumn *column = &table->columns[i];
            if (str_eq(pass == 0 ? column->source : column->name, name)) return i;
        }
    }
    return UINT32_MAX;
}

static Err fail_field(const WriteCompiler *w, Str name) {
    Str table = w->syntax->write.table;
    return diag_fail(w->diag,
                     ERR_INVALID,
                     "`%.*s` does not have a field `%.*s`",
                     cut(table),
                     table.ptr,
                     cut(name),
                     name.ptr);
}

static Err fail_duplicate(const WriteCompiler *w, Str name) {
    return diag_fail(w->diag, ERR_INVALID, "Duplicate name `%.*s`", cut(name), name.ptr);
}

// ── who may ────────────────────────────────────────────────────────────────────────────────────

static Err find_table(WriteCompiler *w) {
    Err err = compile_table(w->catalog, w->caller, w->syntax->write.table, &w->s->table, w->diag);
    if (err != OK) return err;
    Str name = w->syntax->write.table;
    if (w->s->table->is_view)
        return diag_fail(w->diag,
                         ERR_INVALID,
                         "`%.*s` is a view; DML on views is not supported",
                         cut(name),
                         name.ptr);
    return OK;
}

static Err check_may_write(const WriteCompiler *w) {
    const CatalogTable *table = w->s->table;
    if (!w->caller->is_owner) {
        char hex[IDENTITY_HEX_LEN + 1];
        identity_hex(&w->caller->identity, hex);
        return diag_fail(w->diag,
                         ERR_DENIED,
                         "Caller %s is not authorized to run SQL DML statements",
                         hex);
    }
    if (!table->is_system || table->table_id == ST_VAR) return OK;
    return diag_fail(w->diag,
                     ERR_DENIED,
                     "`%.*s` describes the schema: it changes by publishing only",
                     cut(table->name),
                     table->name.ptr);
}

// ── INSERT ─────────────────────────────────────────────────────────────────────────────────────

// Of each column: which value of a tuple is its own.
static Err map_columns(WriteCompiler *w, uint32_t **out) {
    const SqlWrite *write = &w->syntax->write;
    const CatalogTable *table = w->s->table;
    uint32_t *map = arena_array(w->scratch, uint32_t, table->column_count);
    if (!map) return ERR_NOMEM;
    for (uint32_t i = 0; i < table->column_count; i++)
        map[i] = UINT32_MAX;
    for (uint32_t i = 0; i < write->name_count; i++) {
        uint32_t column = find_column(table, write->names[i]);
        if (column == UINT32_MAX)
            return diag_fail(w->diag,
                             ERR_INVALID,
                             "`%.*s` is not in scope",
                             cut(write->names[i]),
                             write->names[i].ptr);
        if (map[column] != UINT32_MAX) return fail_duplicate(w, write->names[i]);
        map[column] = i;
    }
    *out = map;
    return OK;
}

static Err check_counts(const WriteCompiler *w, uint32_t columns) {
    const SqlWrite *write = &w->syntax->write;
    if (write->name_count != columns)
        return diag_fail(w->diag,
                         ERR_INVALID,
                         "The number of fields (%u) in the INSERT does not match the number of "
                         "columns (%u) of the table `%.*s`",
                         write->name_count,
                         columns,
                         cut(write->table),
                         write->table.ptr);
    for (uint32_t i = 0; i < write->tuple_count; i++) {
        if (write->tuples[i] == columns) continue;
        return diag_fail(w->diag,
                         ERR_INVALID,
                         "Inserting a row with %u values into `%.*s` which has %u fields",
                         write->tuples[i],
                         cut(write->table),
                         write->table.ptr,
                         columns);
    }
    return OK;
}

static Err row_encode(WriteCompiler *w, const SqlValue *values, const uint32_t *map, Bytes *out) {
    const CatalogTable *table = w->s->table;
    Buf row = {0};
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < table->column_count; i++)
        err = write_value(table->columns[i].type, &values[map[i]], &row, w->diag);
    if (err == OK) *out = arena_bytes(&w->s->arena, buf_bytes(&row));
    if (err == OK && (!buf_ok(&row) || !out->ptr)) err = ERR_NOMEM;
    buf_deinit(&row);
    return err;
}

static Err compile_insert(WriteCompiler *w) {
    const SqlWrite *write = &w->syntax->write;
    uint32_t *map = NULL;
    Err err = find_table(w);
    if (err == OK) err = check_counts(w, w->s->table->column_count);
    if (err == OK) err = map_columns(w, &map);
    if (err != OK) return err;
    w->s->rows = arena_array(&w->s->arena, Bytes, write->tuple_count);
    if (!w->s->rows) return ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < write->tuple_count; i++) {
        const SqlValue *values = write->values + (size_t)i * w->s->table->column_count;
        err = row_encode(w, values, map, &w->s->rows[w->s->row_count++]);
    }
    return err == OK ? check_may_write(w) : err;
}

// ── UPDATE and DELETE ──────────────────────────────────────────────────────────────────────────

static Err compile_where(WriteCompiler *w) {
    const SqlSelect *select = &w->syntax->select;
    RowsQuery what = {
        .door = QUERY_SQL,
        .table = w->s->table,
        .alias = select->alias,
        .nodes = select->nodes,
        .node_count = select->node_count,
        .caller = w->caller,
    };
    Err err = compile_rows(&what, &w->s->query, w->diag);
    return err == OK ? estimate_settle(w->s->query, w->catalog->stats) : err;
}

static Err assign(WriteCompiler *w, Str name, const SqlValue *value) {
    const CatalogTable *table = w->s->table;
    uint32_t column = find_column(table, name);
    if (column == UINT32_MAX) return fail_field(w, name);
    if (w->s->assigned[column].ptr) return fail_duplicate(w, name);
    Buf encoded = {0};
    Err err = write_value(table->columns[column].type, value, &encoded, w->diag);
    if (err == OK) w->s->assigned[column] = arena_bytes(&w->s->arena, buf_bytes(&encoded));
    if (err == OK && (!buf_ok(&encoded) || !w->s->assigned[column].ptr)) err = ERR_NOMEM;
    buf_deinit(&encoded);
    return err;
}

static Err compile_update(WriteCompiler *w) {
    const SqlWrite *write = &w->syntax->write;
    Err err = find_table(w);
    if (err != OK) return err;
    w->s->assigned = arena_array(&w->s->arena, Bytes, w->s->table->column_count);
    if (!w->s->assigned) return ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < write->name_count; i++)
        err = assign(w, write->names[i], &write->values[i]);
    if (err == OK) err = compile_where(w);
    return err == OK ? check_may_write(w) : err;
}

static Err compile_delete(WriteCompiler *w) {
    Err err = find_table(w);
    if (err == OK) err = compile_where(w);
    return err == OK ? check_may_write(w) : err;
}

// ── SET and SHOW ───────────────────────────────────────────────────────────────────────────────

static Err check_variable(const WriteCompiler *w) {
    Str name = w->syntax->write.names[0];
    if (str_eq(name, STR("row_limit"))) return OK;
    return diag_fail(w->diag,
                     ERR_INVALID,
                     "%.*s is not a valid system variable",
                     cut(name),
                     name.ptr);
}

static Err compile_variable(WriteCompiler *w) {
    SqlStatement *syntax = arena_new(w->scratch, SqlStatement);
    if (!syntax) return ERR_NOMEM;
    *syntax = *w->syntax;
    syntax->write.table = STR("st_var");
    w->syntax = syntax;
    return find_table(w);
}

// The U64 among the types that a variable may have.
static bool find_u64(const Type *value, uint8_t *tag) {
    for (uint32_t i = 0; value->kind == TYPE_SUM && i < value->field_count; i++) {
        *tag = (uint8_t)i;
        if (value->fields[i].type->kind == TYPE_U64) return true;
    }
    return false;
}

static Err compile_set(WriteCompiler *w) {
    const SqlValue *value = &w->syntax->write.values[0];
    const Type *u64 = type_simple(TYPE_U64);
    uint8_t tag;
    Err err = check_variable(w);
    if (err != OK) return err;
    if (value->kind == SQL_HEX_NUMBER)
        return compile_fail_type(w->diag, u64, type_special(SPECIAL_BYTES));
    Buf row = {0};
    buf_put_lp(&row, str_bytes(w->syntax->write.names[0]));
    if ((err = compile_variable(w)) != OK) goto done;
    if (!find_u64(w->s->table->columns[1].type, &tag)) {
        err = diag_fail(w->diag, ERR_UNSUPPORTED, "Unsupported: SET of a number");
        goto done;
    }
    buf_put_u8(&row, tag);
    if ((err = write_value(u64, value, &row, w->diag)) != OK) goto done;
    w->s->rows = arena_array(&w->s->arena, Bytes, 1);
    if (w->s->rows) w->s->rows[w->s->row_count++] = arena_bytes(&w->s->arena, buf_bytes(&row));
    if (!buf_ok(&row) || !w->s->rows || !w->s->rows[0].ptr)
        err = ERR_NOMEM;
    else
        err = check_may_write(w);
done:
    buf_deinit(&row);
    return err;
}

static Err compile_show(WriteCompiler *w) {
    Err err = check_variable(w);
    if (err != OK) return err;
    return query_compile(STR("SELECT value FROM st_var WHERE name = 'row_limit'"),
                         QUERY_SQL,
                         w->catalog,
                         w->caller,
                         &w->s->query,
                         w->diag);
}

Err write_compile(Statement *s,
                  const SqlStatement *syntax,
                  const QueryCatalog *catalog,
                  const QueryCaller *caller,
                  Arena *scratch,
                  Diag *diag) {
    WriteCompiler w = {s, syntax, catalog, caller, scratch, diag};
    switch (syntax->verb) {
    case SQL_INSERT: return compile_insert(&w);
    case SQL_UPDATE: return compile_update(&w);
    case SQL_DELETE: return compile_delete(&w);
    case SQL_SET: return compile_set(&w);
    case SQL_SHOW: return compile_show(&w);
    case SQL_SELECT: break;
    }
    UNREACHABLE();
}
