// cgen_def.c: the module's definition as __describe_module__ gives it: BSATN of RawModuleDef, V10.
// Spec: module-abi §3.3. Case conversion is off: names in the database are those in the source.
//
// It is decoded again with the server's own validation, so that what a server would refuse at publish
// is refused at build.
#include "cli/cgen.h"
#include "schema/def.h"

enum {
    RAW_MODULE_V10 = 2,
    SECTION_TYPESPACE = 0,
    SECTION_TYPES = 1,
    SECTION_TABLES = 2,
    SECTION_REDUCERS = 3,
    SECTION_PROCEDURES = 4,
    SECTION_VIEWS = 5,
    SECTION_SCHEDULES = 6,
    SECTION_LIFECYCLE = 7,
    SECTION_ROW_FILTERS = 8,
    SECTION_CASE_POLICY = 9,
    SECTION_HTTP_HANDLERS = 11,
    SECTION_HTTP_ROUTES = 12,
    SECTION_VIEW_KEYS = 13,
};

static void put_str(Buf *out, Str text) {
    buf_put_lp(out, str_bytes(text));
}
static void put_some_str(Buf *out, Str text) {
    buf_put_u8(out, 0);
    put_str(out, text);
}
static void put_none(Buf *out) {
    buf_put_u8(out, 1);
}

// An array whose length is known when it has been written.
static size_t count_begin(Buf *out) {
    buf_put_u32(out, 0);
    return out->len - 4;
}
static void count_end(Buf *out, size_t at, uint32_t count) {
    if (buf_ok(out)) memcpy(out->ptr + at, &count, sizeof count);  // little-endian like BSATN
}

// ── types ──────────────────────────────────────────────────────────────────────────────────────

static void space_fill(Cgen *gen) {
    uint32_t count = 0;
    for (CType *type = gen->types; type; type = type->next)
        count++;
    gen->space = cgen_alloc(sizeof(CType *) * (count + 1));
    for (CType *type = gen->types; type; type = type->next) {
        bool named =
            type->kind == CTYPE_STRUCT || type->kind == CTYPE_SUM || type->kind == CTYPE_ENUM;
        if (!named) continue;
        type->ref = gen->space_count;
        gen->space[gen->space_count++] = type;
    }
}

static void put_fields(Buf *out, const CField *fields, uint32_t count) {
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        put_some_str(out, fields[i].name);
        if (fields[i].type)
            ctype_encode(out, fields[i].type);
        else
            type_encode(out, type_special(SPECIAL_UNIT));
    }
}

static void put_typespace(const Cgen *gen, Buf *out) {
    buf_put_u8(out, SECTION_TYPESPACE);
    buf_put_u32(out, gen->space_count);
    for (uint32_t i = 0; i < gen->space_count; i++) {
        const CType *type = gen->space[i];
        buf_put_u8(out, type->kind == CTYPE_STRUCT ? TYPE_PRODUCT : TYPE_SUM);
        put_fields(out, type->fields, type->field_count);
    }
    buf_put_u8(out, SECTION_TYPES);
    buf_put_u32(out, gen->space_count);
    for (uint32_t i = 0; i < gen->space_count; i++) {
        buf_put_u32(out, 0);  // no scope
        put_str(out, str_from(gen->space[i]->spelling));
        buf_put_u32(out, i);
        buf_put_u8(out, true);  // the order of the members is the author's
    }
}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static void put_columns(Buf *out, const CIndex *index) {
    buf_put_u32(out, index->column_count);
    for (uint32_t i = 0; i < index->column_count; i++)
        buf_put_u16(out, (uint16_t)index->columns[i]);
}

static void put_indexes(Buf *out, const CTable *table) {
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (const CIndex *index = table->indexes; index; index = index->next, count++) {
        put_some_str(out, str_from(index->source_name));
        put_some_str(out, str_from(index->columns_name));
        buf_put_u8(out, (uint8_t)index->kind);
        if (index->kind == CINDEX_DIRECT)
            buf_put_u16(out, (uint16_t)index->columns[0]);
        else
            put_columns(out, index);
    }
    count_end(out, at, count);
}

static void put_constraints(Buf *out, const CTable *table) {
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (const CIndex *index = table->indexes; index; index = index->next) {
        if (!index->is_unique) continue;
        put_none(out);
        buf_put_u8(out, 0);  // unique
        put_columns(out, index);
        count++;
    }
    count_end(out, at, count);
}

static void put_sequences(Buf *out, const CTable *table) {
    static const uint8_t one[16] = {1};
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->row->field_count; i++) {
        if (!table->row->fields[i].is_auto_inc) continue;
        put_none(out);
        buf_put_u16(out, (uint16_t)i);
        put_none(out);  // start, least and greatest are the server's
        put_none(out);
        put_none(out);
        buf_put(out, one, sizeof one);
        count++;
    }
    count_end(out, at, count);
}

static void put_defaults(Cgen *gen, Buf *out, const CTable *table) {
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->row->field_count; i++) {
        const CField *field = &table->row->fields[i];
        Buf value = {0};
        if (!field->default_value.at) continue;
        if (ctype_encode_constant(gen, field->type, field->default_value, &value)) {
            buf_put_u16(out, (uint16_t)i);
            buf_put_lp(out, buf_bytes(&value));
            count++;
        }
        buf_deinit(&value);
    }
    count_end(out, at, count);
}

static void put_tables(Cgen *gen, Buf *out) {
    buf_put_u8(out, SECTION_TABLES);
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (const CTable *table = gen->tables; table; table = table->next, count++) {
        put_str(out, table->name);
        buf_put_u32(out, table->row->ref);
        buf_put_u32(out, table->primary_key >= 0);
        if (table->primary_key >= 0) buf_put_u16(out, (uint16_t)table->primary_key);
        put_indexes(out, table);
        put_constraints(out, table);
        put_sequences(out, table);
        buf_put_u8(out, 1);  // a user's table
        buf_put_u8(out, table->is_public ? 0 : 1);
        put_defaults(gen, out, table);
        buf_put_u8(out, table->is_event);
    }
    count_end(out, at, count);
}

// ── functions ──────────────────────────────────────────────────────────────────────────────────

static void put_reducer(Buf *out, const CFunction *function) {
    put_str(out, function->name);
    put_fields(out, function->params, function->param_count);
    buf_put_u8(out, function->is_private ? 0 : 1);
    type_encode(out, type_special(SPECIAL_UNIT));
    type_encode(out, type_simple(TYPE_STRING));
}

static void put_procedure(Buf *out, const CFunction *function) {
    put_str(out, function->name);
    put_fields(out, function->params, function->param_count);
    ctype_encode(out, function->returns);
    buf_put_u8(out, function->is_private ? 0 : 1);
}

static void put_view(Buf *out, const CFunction *function) {
    put_str(out, function->name);
    buf_put_u32(out, function->id);
    buf_put_u8(out, !function->is_private);
    buf_put_u8(out, function->kind == CFUNCTION_VIEW_ANON);
    buf_put_u32(out, 0);  // no parameters
    ctype_encode(out, function->returns);
}

static void put_view_key(Buf *out, const CFunction *function) {
    put_str(out, function->name);
    buf_put_u32(out, 1);
    put_str(out, function->key);
}

static void put_lifecycle(Buf *out, const CFunction *function) {
    buf_put_u8(out, (uint8_t)function->lifecycle);
    put_str(out, function->name);
}

static void put_handler(Buf *out, const CFunction *function) {
    put_str(out, function->name);
}

static bool is_reducer(const CFunction *f) {
    return f->kind == CFUNCTION_REDUCER;
}
static bool is_procedure(const CFunction *f) {
    return f->kind == CFUNCTION_PROCEDURE;
}
static bool is_view(const CFunction *f) {
    return f->kind == CFUNCTION_VIEW || f->kind == CFUNCTION_VIEW_ANON;
}
static bool is_keyed_view(const CFunction *f) {
    return is_view(f) && f->key.ptr;
}
static bool is_lifecycle(const CFunction *f) {
    return f->lifecycle >= 0;
}
static bool is_handler(const CFunction *f) {
    return f->kind == CFUNCTION_HTTP;
}

static void put_functions(const Cgen *gen,
                          Buf *out,
                          uint8_t section,
                          bool (*wanted)(const CFunction *),
                          void (*put)(Buf *, const CFunction *)) {
    buf_put_u8(out, section);
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (const CFunction *function = gen->functions; function; function = function->next) {
        if (!wanted(function)) continue;
        put(out, function);
        count++;
    }
    count_end(out, at, count);
}

static void put_routes(const Cgen *gen, Buf *out) {
    buf_put_u8(out, SECTION_HTTP_ROUTES);
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (const CFunction *function = gen->functions; function; function = function->next) {
        for (const CRoute *route = function->routes; route; route = route->next, count++) {
            put_str(out, function->name);
            buf_put_u8(out, route->method < 0 ? 0 : 1);
            if (route->method >= 0) buf_put_u8(out, (uint8_t)route->method);
            put_str(out, route->path);
        }
    }
    count_end(out, at, count);
}

static void put_schedules(const Cgen *gen, Buf *out) {
    buf_put_u8(out, SECTION_SCHEDULES);
    size_t at = count_begin(out);
    uint32_t count = 0;
    for (const CTable *table = gen->tables; table; table = table->next) {
        if (!table->scheduled) continue;
        put_none(out);
        put_str(out, table->name);
        buf_put_u16(out, (uint16_t)table->schedule_column);
        put_str(out, table->scheduled->text);
        count++;
    }
    count_end(out, at, count);
}

static void put_row_filters(const Cgen *gen, Buf *out) {
    buf_put_u8(out, SECTION_ROW_FILTERS);
    buf_put_u32(out, gen->row_filter_count);
    for (uint32_t i = 0; i < gen->row_filter_count; i++)
        put_str(out, gen->row_filters[i]);
}

static void put_sections(Cgen *gen, Buf *out) {
    buf_put_u8(out, RAW_MODULE_V10);
    buf_put_u32(out, 13);
    put_typespace(gen, out);  // two sections
    put_tables(gen, out);
    put_functions(gen, out, SECTION_REDUCERS, is_reducer, put_reducer);
    put_functions(gen, out, SECTION_PROCEDURES, is_procedure, put_procedure);
    put_functions(gen, out, SECTION_VIEWS, is_view, put_view);
    put_functions(gen, out, SECTION_VIEW_KEYS, is_keyed_view, put_view_key);
    put_schedules(gen, out);
    put_functions(gen, out, SECTION_LIFECYCLE, is_lifecycle, put_lifecycle);
    put_functions(gen, out, SECTION_HTTP_HANDLERS, is_handler, put_handler);
    put_routes(gen, out);
    put_row_filters(gen, out);
    buf_put_u8(out, SECTION_CASE_POLICY);
    buf_put_u8(out, CASE_NONE);
}

bool cgen_definition(Cgen *gen, Buf *out) {
    if (!gen->space) space_fill(gen);
    put_sections(gen, out);
    if (!buf_ok(out)) cli_die("out of memory");
    if (gen->error_count > 0) return false;
    ModuleDef *def = NULL;
    Diag diag = {0};
    Err err = moduledef_decode(buf_bytes(out), &def, &diag);
    moduledef_free(&def);
    if (err == OK) return true;
    buf_printf(&gen->errors, "error: this is no valid module:\n%s\n", diag.text);
    gen->error_count++;
    return false;
}
