// decode_v9.c: the definition that 1.x module libraries write: one product (module-abi §3.2).
#include "schema/raw_decode.h"

enum { EXPORT_DEFAULT = 0, EXPORT_PROCEDURE = 1, EXPORT_VIEW = 2, EXPORT_KINDS };

// V9 keeps a table's schedule inside the table; here it joins the list that V10 has as a section.
static void decode_schedule(Decoder *d, RawModule *out, const RawTable *table) {
    if (!decode_is_some(d)) return;
    RawSchedule *schedule = &out->schedules[out->schedule_count++];
    schedule->name = decode_option_str(d);
    schedule->table = table->name;
    schedule->function = decode_str(d);
    schedule->at_column = reader_u16(&d->in);
}

static void decode_table(Decoder *d, RawModule *out, RawTable *table) {
    table->name = decode_str(d);
    table->row_type_ref = reader_u32(&d->in);
    table->primary_key = decode_columns(d);
    table->indexes = decode_indexes(d, &table->index_count);
    table->constraints = decode_constraints(d, &table->constraint_count);
    table->sequences = decode_sequences(d, &table->sequence_count);
    decode_schedule(d, out, table);
    table->is_system = decode_tag(d, 2, "TableType") == 0;
    table->is_public = decode_tag(d, 2, "TableAccess") == 0;
}

static void decode_tables(Decoder *d, RawModule *out) {
    out->tables = DECODE_ARRAY(d, RawTable, &out->table_count, 27);
    out->schedules = decode_alloc(d, sizeof *out->schedules, out->table_count);
    for (uint32_t i = 0; i < out->table_count && decoder_ok(d); i++)
        decode_table(d, out, &out->tables[i]);
}

static void decode_reducers(Decoder *d, RawModule *out) {
    out->reducers = DECODE_ARRAY(d, RawFunction, &out->reducer_count, 9);
    for (uint32_t i = 0; i < out->reducer_count && decoder_ok(d); i++) {
        RawFunction *reducer = &out->reducers[i];
        reducer->name = decode_str(d);
        reducer->params = decode_product(d);
        reducer->lifecycle = LIFECYCLE_NONE;
        if (decode_is_some(d)) reducer->lifecycle = (Lifecycle)decode_tag(d, 3, "Lifecycle");
    }
}

static void decode_default(Decoder *d, RawModule *out) {
    RawDefault *value = &out->defaults[out->default_count++];
    value->table = decode_str(d);
    value->column = reader_u16(&d->in);
    value->value = reader_lp(&d->in);
}

static void decode_procedure(Decoder *d, RawModule *out) {
    RawFunction *procedure = &out->procedures[out->procedure_count++];
    procedure->name = decode_str(d);
    procedure->params = decode_product(d);
    procedure->returns = decode_type(d);
    procedure->lifecycle = LIFECYCLE_NONE;
}

// The exports are of three kinds in one list; each kind gets room for all of them.
static void decode_exports(Decoder *d, RawModule *out) {
    uint32_t count = decode_count(d, 11);
    out->defaults = decode_alloc(d, sizeof *out->defaults, count);
    out->procedures = decode_alloc(d, sizeof *out->procedures, count);
    out->views = decode_alloc(d, sizeof *out->views, count);
    for (uint32_t i = 0; i < count && decoder_ok(d); i++) {
        switch (decode_tag(d, EXPORT_KINDS, "RawMiscModuleExport")) {
        case EXPORT_DEFAULT: decode_default(d, out); break;
        case EXPORT_PROCEDURE: decode_procedure(d, out); break;
        case EXPORT_VIEW: out->views[out->view_count++] = decode_view(d); break;
        default: UNREACHABLE();  // decode_tag checked
        }
    }
}

void raw_decode_v9(Decoder *d, RawModule *out) {
    out->version = 9;
    out->case_policy = CASE_NONE;
    out->typespace = decode_typespace(d);
    decode_tables(d, out);
    decode_reducers(d, out);
    out->types = decode_type_names(d, &out->type_count);
    decode_exports(d, out);
    out->row_level_security = decode_strs(d, &out->row_level_security_count);
}
