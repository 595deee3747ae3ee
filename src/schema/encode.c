// encode.c: a definition written down again, in either version.
//
// Version 9 has no case conversion, so what it says is canonical names; in version 10 the names are
// those of the module's code where the definition came from one, and case conversion is off where it
// came from version 9, so that reading it gives the same names again.
#include "sats/bsatn.h"
#include "schema/shape.h"

// ── pieces ─────────────────────────────────────────────────────────────────────────────────────

static void put_str(Buf *out, Str text) {
    buf_put_lp(out, str_bytes(text));
}

static void put_option_str(Buf *out, Str text) {
    buf_put_u8(out, text.ptr ? 0 : 1);
    if (text.ptr) put_str(out, text);
}

static void put_columns(Buf *out, const uint16_t *columns, uint32_t count) {
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++)
        buf_put_u16(out, columns[i]);
}

static void put_option_i128(Buf *out, bool some, const Int128 *value) {
    buf_put_u8(out, some ? 0 : 1);
    if (some) buf_put(out, value->le, sizeof value->le);
}

// A ProductType: a product's elements without the tag, other types by reference.
static void put_product(Buf *out, const Type *product) {
    buf_put_u32(out, product->field_count);
    for (uint32_t i = 0; i < product->field_count; i++) {
        put_option_str(out, product->fields[i].name);
        type_encode_refs(out, product->fields[i].type);
    }
}

static void put_typespace(Buf *out, const Typespace *space) {
    buf_put_u32(out, space->count);
    for (uint32_t i = 0; i < space->count; i++)
        type_encode(out, space->types[i]);  // unresolved: references stay what they are
}

static void put_type_names(Buf *out, const ModuleDef *def, bool canonical) {
    buf_put_u32(out, def->type_count);
    for (uint32_t i = 0; i < def->type_count; i++) {
        const TypeNameDef *type = &def->types[i];
        buf_put_u32(out, type->scope_count);
        for (uint32_t k = 0; k < type->scope_count; k++)
            put_str(out, type->scope[k]);
        put_str(out, canonical ? type->name : type->source);
        buf_put_u32(out, type->ref);
        buf_put_u8(out, true);  // the order of the elements is theirs
    }
}

static void put_index(Buf *out, const IndexDef *index, Str name) {
    put_option_str(out, name);
    put_option_str(out, index->accessor);
    buf_put_u8(out, (uint8_t)index->algorithm);
    if (index->algorithm == INDEX_DIRECT)
        buf_put_u16(out, index->columns[0]);
    else
        put_columns(out, index->columns, index->column_count);
}

static void put_constraint(Buf *out, const ConstraintDef *constraint) {
    put_option_str(out, constraint->name);
    buf_put_u8(out, 0);  // Unique
    put_columns(out, constraint->columns, constraint->column_count);
}

static void put_sequence(Buf *out, const SequenceDef *sequence) {
    put_option_str(out, sequence->name);
    buf_put_u16(out, sequence->column);
    put_option_i128(out, sequence->has_start, &sequence->start);
    put_option_i128(out, sequence->has_min, &sequence->min);
    put_option_i128(out, sequence->has_max, &sequence->max);
    buf_put(out, sequence->increment.le, sizeof sequence->increment.le);
}

// What both versions' tables begin with.
static void put_table_parts(Buf *out, const TableDef *table, bool canonical) {
    put_str(out, canonical ? table->name : table->source);
    buf_put_u32(out, table->row_type_ref);
    buf_put_u32(out, table->primary_key >= 0 ? 1 : 0);
    if (table->primary_key >= 0) buf_put_u16(out, (uint16_t)table->primary_key);
    buf_put_u32(out, table->index_count);
    for (uint32_t i = 0; i < table->index_count; i++)
        put_index(out,
                  &table->indexes[i],
                  canonical ? table->indexes[i].name : table->indexes[i].source);
    buf_put_u32(out, table->constraint_count);
    for (uint32_t i = 0; i < table->constraint_count; i++)
        put_constraint(out, &table->constraints[i]);
    buf_put_u32(out, table->sequence_count);
    for (uint32_t i = 0; i < table->sequence_count; i++)
        put_sequence(out, &table->sequences[i]);
}

static void put_table_flags(Buf *out, const TableDef *table) {
    buf_put_u8(out, table->is_system ? 0 : 1);
    buf_put_u8(out, table->is_public ? 0 : 1);
}

static void put_view(Buf *out, const ViewDef *view, Str name) {
    put_str(out, name);
    buf_put_u32(out, view->index);
    buf_put_u8(out, view->is_public);
    buf_put_u8(out, view->is_anonymous);
    put_product(out, view->params);
    type_encode_refs(out, view->returns);
}

static void put_strs(Buf *out, const Str *strs, uint32_t count) {
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++)
        put_str(out, strs[i]);
}

static uint32_t default_count(const TableDef *table) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->column_count; i++)
        count += table->columns[i].has_default;
    return count;
}

// ── version 9 ──────────────────────────────────────────────────────────────────────────────────

static void put_table_9(Buf *out, const TableDef *table) {
    put_table_parts(out, table, true);
    buf_put_u8(out, table->schedule ? 0 : 1);
    if (table->schedule) {
        put_option_str(out, table->schedule->name);
        put_str(out, table->schedule->function);
        buf_put_u16(out, table->schedule->at_column);
    }
    put_table_flags(out, table);
}

static void put_defaults_9(Buf *out, const TableDef *table) {
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (!table->columns[i].has_default) continue;
        buf_put_u8(out, 0);  // ColumnDefaultValue
        put_str(out, table->name);
        buf_put_u16(out, i);
        buf_put_lp(out, table->columns[i].default_value);
    }
}

static void put_exports_9(Buf *out, const ModuleDef *def) {
    uint32_t count = def->procedure_count + def->view_count;
    for (uint32_t i = 0; i < def->table_count; i++)
        count += default_count(&def->tables[i]);
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < def->table_count; i++)
        put_defaults_9(out, &def->tables[i]);
    for (uint32_t i = 0; i < def->procedure_count; i++) {
        buf_put_u8(out, 1);  // Procedure
        put_str(out, def->procedures[i].name);
        put_product(out, def->procedures[i].params);
        type_encode_refs(out, def->procedures[i].returns);
    }
    for (uint32_t i = 0; i < def->view_count; i++) {
        buf_put_u8(out, 2);  // View
        put_view(out, &def->views[i], def->views[i].name);
    }
}

static void encode_9(Buf *out, const ModuleDef *def) {
    put_typespace(out, &def->canonical);
    buf_put_u32(out, def->table_count);
    for (uint32_t i = 0; i < def->table_count; i++)
        put_table_9(out, &def->tables[i]);
    buf_put_u32(out, def->reducer_count);
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        const FunctionDef *reducer = &def->reducers[i];
        put_str(out, reducer->name);
        put_product(out, reducer->params);
        buf_put_u8(out, reducer->lifecycle == LIFECYCLE_NONE ? 1 : 0);
        if (reducer->lifecycle != LIFECYCLE_NONE) buf_put_u8(out, (uint8_t)reducer->lifecycle);
    }
    put_type_names(out, def, true);
    put_exports_9(out, def);
    put_strs(out, def->row_level_security, def->row_level_security_count);
}

// ── version 10, of a definition that came as version 9 ─────────────────────────────────────────

static void put_tables_10(Buf *out, const ModuleDef *def) {
    buf_put_u32(out, def->table_count);
    for (uint32_t i = 0; i < def->table_count; i++) {
        const TableDef *table = &def->tables[i];
        put_table_parts(out, table, false);
        put_table_flags(out, table);
        buf_put_u32(out, default_count(table));
        for (uint16_t k = 0; k < table->column_count; k++) {
            if (!table->columns[k].has_default) continue;
            buf_put_u16(out, k);
            buf_put_lp(out, table->columns[k].default_value);
        }
        buf_put_u8(out, table->is_event);
    }
}

static void put_functions_10(Buf *out, const ModuleDef *def) {
    buf_put_u8(out, 3);  // Reducers
    buf_put_u32(out, def->reducer_count);
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        put_str(out, def->reducers[i].source);
        put_product(out, def->reducers[i].params);
        buf_put_u8(out, !def->reducers[i].is_private);
        type_encode(out, type_special(SPECIAL_UNIT));
        type_encode(out, type_simple(TYPE_STRING));
    }
    buf_put_u8(out, 4);  // Procedures
    buf_put_u32(out, def->procedure_count);
    for (uint32_t i = 0; i < def->procedure_count; i++) {
        put_str(out, def->procedures[i].source);
        put_product(out, def->procedures[i].params);
        type_encode_refs(out, def->procedures[i].returns);
        buf_put_u8(out, !def->procedures[i].is_private);
    }
    buf_put_u8(out, 5);  // Views
    buf_put_u32(out, def->view_count);
    for (uint32_t i = 0; i < def->view_count; i++)
        put_view(out, &def->views[i], def->views[i].source);
}

static void put_schedules_10(Buf *out, const ModuleDef *def) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < def->table_count; i++)
        count += def->tables[i].schedule != NULL;
    buf_put_u8(out, 6);  // Schedules
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < def->table_count; i++) {
        const TableDef *table = &def->tables[i];
        if (!table->schedule) continue;
        put_option_str(out, table->schedule->name);
        put_str(out, table->source);
        buf_put_u16(out, table->schedule->at_column);
        put_str(out, table->schedule->function);  // its source name too: nothing is converted
    }
}

static void put_lifecycles_10(Buf *out, const ModuleDef *def) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < def->reducer_count; i++)
        count += def->reducers[i].lifecycle != LIFECYCLE_NONE;
    buf_put_u8(out, 7);  // LifeCycleReducers
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        if (def->reducers[i].lifecycle == LIFECYCLE_NONE) continue;
        buf_put_u8(out, (uint8_t)def->reducers[i].lifecycle);
        put_str(out, def->reducers[i].source);
    }
}

// Version 10 makes up the names of indexes unless it is told them.
static void put_index_names_10(Buf *out, const ModuleDef *def) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < def->table_count; i++)
        count += def->tables[i].index_count;
    buf_put_u8(out, 10);  // ExplicitNames
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < def->table_count; i++) {
        for (uint32_t k = 0; k < def->tables[i].index_count; k++) {
            const IndexDef *index = &def->tables[i].indexes[k];
            buf_put_u8(out, 2);  // Index
            put_str(out, index->source);
            put_str(out, index->name);
        }
    }
}

static void encode_10(Buf *out, const ModuleDef *def) {
    buf_put_u32(out, 11);
    buf_put_u8(out, 0);  // Typespace
    put_typespace(out, &def->typespace);
    buf_put_u8(out, 1);  // Types
    put_type_names(out, def, false);
    buf_put_u8(out, 2);  // Tables
    put_tables_10(out, def);
    put_functions_10(out, def);
    put_schedules_10(out, def);
    put_lifecycles_10(out, def);
    buf_put_u8(out, 8);  // RowLevelSecurity
    put_strs(out, def->row_level_security, def->row_level_security_count);
    buf_put_u8(out, 9);  // CaseConversionPolicy
    buf_put_u8(out, CASE_NONE);
    put_index_names_10(out, def);
}

void definition_encode(Buf *out, const ModuleDef *def, uint32_t version) {
    if (version == def->version)
        buf_put(out, def->raw.ptr + 1, def->raw.len - 1);
    else if (version == 9)
        encode_9(out, def);
    else
        encode_10(out, def);
}
