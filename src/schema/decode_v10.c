// decode_v10.c: the definition that 2.x module libraries write: a list of sections (module-abi §3.3).
//
// Every section is optional. Of two of a kind the first counts, but both are read: nothing in the
// encoding says how long a section is.
#include "schema/raw_decode.h"

typedef enum Section {
    SECTION_TYPESPACE = 0,
    SECTION_TYPES = 1,
    SECTION_TABLES = 2,
    SECTION_REDUCERS = 3,
    SECTION_PROCEDURES = 4,
    SECTION_VIEWS = 5,
    SECTION_SCHEDULES = 6,
    SECTION_LIFECYCLES = 7,
    SECTION_ROW_LEVEL_SECURITY = 8,
    SECTION_CASE_POLICY = 9,
    SECTION_EXPLICIT_NAMES = 10,
    SECTION_HTTP_HANDLERS = 11,
    SECTION_HTTP_ROUTES = 12,
    SECTION_VIEW_KEYS = 13,
    SECTION_SUBMODULES = 14,
    SECTION_KINDS
} Section;

enum { METHOD_EXTENSION = 9, METHOD_KINDS = 10 };
static const char *const method_names[METHOD_KINDS] =
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", ""};

static void decode_defaults(Decoder *d, RawTable *table) {
    table->defaults = DECODE_ARRAY(d, RawDefault, &table->default_count, 6);
    for (uint32_t i = 0; i < table->default_count && decoder_ok(d); i++) {
        table->defaults[i].table = table->name;
        table->defaults[i].column = reader_u16(&d->in);
        table->defaults[i].value = reader_lp(&d->in);
    }
}

static void decode_tables(Decoder *d, RawModule *out) {
    out->tables = DECODE_ARRAY(d, RawTable, &out->table_count, 31);
    for (uint32_t i = 0; i < out->table_count && decoder_ok(d); i++) {
        RawTable *table = &out->tables[i];
        table->name = decode_str(d);
        table->row_type_ref = reader_u32(&d->in);
        table->primary_key = decode_columns(d);
        table->indexes = decode_indexes(d, &table->index_count);
        table->constraints = decode_constraints(d, &table->constraint_count);
        table->sequences = decode_sequences(d, &table->sequence_count);
        table->is_system = decode_tag(d, 2, "TableType") == 0;
        table->is_public = decode_tag(d, 2, "TableAccess") == 0;
        decode_defaults(d, table);
        table->is_event = decode_bool(d);
    }
}

static bool decode_is_private(Decoder *d) {
    return decode_tag(d, 2, "FunctionVisibility") == 0;
}

static void decode_reducers(Decoder *d, RawModule *out) {
    out->reducers = DECODE_ARRAY(d, RawFunction, &out->reducer_count, 11);
    for (uint32_t i = 0; i < out->reducer_count && decoder_ok(d); i++) {
        RawFunction *reducer = &out->reducers[i];
        reducer->name = decode_str(d);
        reducer->params = decode_product(d);
        reducer->is_private = decode_is_private(d);
        reducer->ok = decode_type(d);
        reducer->err = decode_type(d);
        reducer->lifecycle = LIFECYCLE_NONE;
    }
}

static void decode_procedures(Decoder *d, RawModule *out) {
    out->procedures = DECODE_ARRAY(d, RawFunction, &out->procedure_count, 10);
    for (uint32_t i = 0; i < out->procedure_count && decoder_ok(d); i++) {
        RawFunction *procedure = &out->procedures[i];
        procedure->name = decode_str(d);
        procedure->params = decode_product(d);
        procedure->returns = decode_type(d);
        procedure->is_private = decode_is_private(d);
        procedure->lifecycle = LIFECYCLE_NONE;
    }
}

static void decode_views(Decoder *d, RawModule *out) {
    out->views = DECODE_ARRAY(d, RawView, &out->view_count, 15);
    for (uint32_t i = 0; i < out->view_count && decoder_ok(d); i++)
        out->views[i] = decode_view(d);
}

static void decode_schedules(Decoder *d, RawModule *out) {
    out->schedules = DECODE_ARRAY(d, RawSchedule, &out->schedule_count, 11);
    for (uint32_t i = 0; i < out->schedule_count && decoder_ok(d); i++) {
        RawSchedule *schedule = &out->schedules[i];
        schedule->name = decode_option_str(d);
        schedule->table = decode_str(d);
        schedule->at_column = reader_u16(&d->in);
        schedule->function = decode_str(d);
    }
}

static void decode_lifecycles(Decoder *d, RawModule *out) {
    out->lifecycles = DECODE_ARRAY(d, RawLifecycle, &out->lifecycle_count, 5);
    for (uint32_t i = 0; i < out->lifecycle_count && decoder_ok(d); i++) {
        out->lifecycles[i].which = (Lifecycle)decode_tag(d, 3, "Lifecycle");
        out->lifecycles[i].function = decode_str(d);
    }
}

static void decode_explicit_names(Decoder *d, RawModule *out) {
    out->explicit_names = DECODE_ARRAY(d, RawExplicitName, &out->explicit_name_count, 9);
    for (uint32_t i = 0; i < out->explicit_name_count && decoder_ok(d); i++) {
        RawExplicitName *name = &out->explicit_names[i];
        name->kind = (RawNameKind)decode_tag(d, 3, "ExplicitNameEntry");
        name->source = decode_str(d);
        name->canonical = decode_str(d);
    }
}

static Str decode_method(Decoder *d) {
    uint8_t method = decode_tag(d, METHOD_KINDS, "Method");
    if (method == METHOD_EXTENSION) return decode_str(d);
    return str_from(method_names[method]);
}

static void decode_routes(Decoder *d, RawModule *out) {
    out->http_routes = DECODE_ARRAY(d, RawRoute, &out->http_route_count, 9);
    for (uint32_t i = 0; i < out->http_route_count && decoder_ok(d); i++) {
        RawRoute *route = &out->http_routes[i];
        route->handler = decode_str(d);
        route->any_method = decode_tag(d, 2, "MethodOrAny") == 0;
        if (!route->any_method) route->method = decode_method(d);
        route->path = decode_str(d);
    }
}

static void decode_view_keys(Decoder *d, RawModule *out) {
    out->view_keys = DECODE_ARRAY(d, RawViewKey, &out->view_key_count, 8);
    for (uint32_t i = 0; i < out->view_key_count && decoder_ok(d); i++) {
        out->view_keys[i].view = decode_str(d);
        out->view_keys[i].columns = decode_strs(d, &out->view_keys[i].column_count);
    }
}

static void decode_module(Decoder *d, RawModule *out);

// A submodule is a whole definition.
static void decode_submodules(Decoder *d, RawModule *out) {
    if (++d->submodule_depth > SUBMODULE_DEPTH_MAX)
        decoder_fail(d, ERR_LIMIT, "submodules are nested too deep");
    out->submodules = DECODE_ARRAY(d, RawSubmodule, &out->submodule_count, 8);
    for (uint32_t i = 0; i < out->submodule_count && decoder_ok(d); i++) {
        out->submodules[i].name = decode_str(d);
        out->submodules[i].module = decode_alloc(d, sizeof(RawModule), 1);
        if (decoder_ok(d)) decode_module(d, out->submodules[i].module);
    }
    d->submodule_depth--;
}

static void decode_section(Decoder *d, Section section, RawModule *out) {
    switch (section) {
    case SECTION_TYPESPACE: out->typespace = decode_typespace(d); return;
    case SECTION_TYPES: out->types = decode_type_names(d, &out->type_count); return;
    case SECTION_TABLES: decode_tables(d, out); return;
    case SECTION_REDUCERS: decode_reducers(d, out); return;
    case SECTION_PROCEDURES: decode_procedures(d, out); return;
    case SECTION_VIEWS: decode_views(d, out); return;
    case SECTION_SCHEDULES: decode_schedules(d, out); return;
    case SECTION_LIFECYCLES: decode_lifecycles(d, out); return;
    case SECTION_ROW_LEVEL_SECURITY:
        out->row_level_security = decode_strs(d, &out->row_level_security_count);
        return;
    case SECTION_CASE_POLICY:
        out->case_policy = (CasePolicy)decode_tag(d, 2, "CaseConversionPolicy");
        return;
    case SECTION_EXPLICIT_NAMES: decode_explicit_names(d, out); return;
    case SECTION_HTTP_HANDLERS:
        out->http_handlers = decode_strs(d, &out->http_handler_count);
        return;
    case SECTION_HTTP_ROUTES: decode_routes(d, out); return;
    case SECTION_VIEW_KEYS: decode_view_keys(d, out); return;
    case SECTION_SUBMODULES: decode_submodules(d, out); return;
    case SECTION_KINDS: break;
    }
    UNREACHABLE();  // decode_tag checked
}

static void decode_module(Decoder *d, RawModule *out) {
    out->version = 10;
    out->case_policy = CASE_SNAKE;  // when no section says otherwise
    uint32_t seen = 0;
    uint32_t count = decode_count(d, 2);
    for (uint32_t i = 0; i < count && decoder_ok(d); i++) {
        Section section = (Section)decode_tag(d, SECTION_KINDS, "RawModuleDefV10Section");
        if (!decoder_ok(d)) return;
        RawModule ignored = {0};
        decode_section(d, section, seen & (1u << section) ? &ignored : out);
        seen |= 1u << section;
    }
}

void raw_decode_v10(Decoder *d, RawModule *out) {
    decode_module(d, out);
}
