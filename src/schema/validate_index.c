// validate_index.c: what hangs on columns: indexes, unique constraints, sequences (module-abi §3.7,
// §3.8).
#include "schema/validate.h"

// {table}_{column}_{column}{suffix}
static Str derived_name(Validator *v,
                        const TableDef *table,
                        RawColumns columns,
                        const char *suffix) {
    Buf text = {0};
    buf_put_str(&text, table->name);
    for (uint32_t i = 0; i < columns.count; i++) {
        char scratch[16];
        buf_put_u8(&text, '_');
        buf_put_str(&text, column_text(table, columns.at[i], scratch));
    }
    buf_put_str(&text, str_from(suffix));
    Str name = buf_ok(&text) ? arena_str(v->arena, bytes_str(buf_bytes(&text))) : STR_NONE;
    buf_deinit(&text);
    if (name.ptr) return name;
    v->nomem = true;
    return STR("");
}

// Copies the columns of a definition, or reports why they cannot be and gives none.
static uint16_t *checked_columns(Validator *v, const TableDef *table, RawColumns raw, Str name) {
    bool ok = true;
    if (raw.count == 0) {
        invalid(v, "def `" STR_FMT "` has no columns", STR_ARG(name));
        return NULL;
    }
    bool *seen = VALIDATE_ARRAY(v, bool, table->column_count);
    uint16_t *columns = VALIDATE_ARRAY(v, uint16_t, raw.count);
    if (!seen || !columns) return NULL;
    bool repeated = false;
    for (uint32_t i = 0; i < raw.count; i++) {
        columns[i] = raw.at[i];
        if (raw.at[i] >= table->column_count) {
            invalid(v,
                    "column `%u` referenced by def " STR_FMT " not found in table `" STR_FMT "`",
                    raw.at[i],
                    STR_ARG(name),
                    STR_ARG(table->name));
            ok = false;
            continue;
        }
        repeated = repeated || seen[raw.at[i]];
        seen[raw.at[i]] = true;
    }
    if (repeated) {
        invalid(v,
                "def `" STR_FMT "` has duplicate columns: " STR_FMT,
                STR_ARG(name),
                STR_ARG(columns_text(v, raw.at, raw.count)));
    }
    return ok && !repeated ? columns : NULL;
}

// ── indexes ────────────────────────────────────────────────────────────────────────────────────

static const char *index_suffix(IndexAlgorithm algorithm) {
    switch (algorithm) {
    case INDEX_BTREE: return "_idx_btree";
    case INDEX_HASH: return "_idx_hash";
    case INDEX_DIRECT: return "_idx_direct";
    }
    UNREACHABLE();
}

static void name_index(Validator *v, const TableDef *table, const RawIndex *raw, IndexDef *index) {
    Str derived = derived_name(v, table, raw->columns, index_suffix(raw->algorithm));
    index->accessor = raw->accessor;
    if (v->raw->version == 9) {
        index->name = raw->name.ptr ? raw->name : derived;
        index->source = index->name;
        entity_claim(v, index->name);
        return;
    }
    if (!raw->name.ptr) {
        invalid(v,
                "index `" STR_FMT "` on table `" STR_FMT "` has no source name",
                STR_ARG(derived),
                STR_ARG(table->name));
    }
    Str given = raw->name.ptr ? name_explicit(v, RAW_NAME_INDEX, raw->name) : STR_NONE;
    index->name = given.ptr ? name_full(v, given) : derived;
    index->source = raw->name.ptr ? name_full(v, raw->name) : derived;
    entity_claim_both(v, index->name, index->source);
}

// A direct index is an array with a slot for each value.
static bool is_direct_type(const Type *type) {
    switch (type->kind) {
    case TYPE_U8:
    case TYPE_U16:
    case TYPE_U32:
    case TYPE_U64: return true;
    default: return type_is_plain_enum(type);
    }
}

static void check_direct(Validator *v, const TableDef *table, const IndexDef *index) {
    const ColumnDef *column = &table->columns[index->columns[0]];
    if (is_direct_type(column->type)) return;
    invalid(v,
            "Direct index does not support type `" STR_FMT "` in column `" STR_FMT
            "` in index `" STR_FMT "`",
            STR_ARG(type_text(v, column->type)),
            STR_ARG(column->name),
            STR_ARG(index->name));
}

void validate_indexes(Validator *v, const RawTable *raw, TableDef *table) {
    table->indexes = VALIDATE_ARRAY(v, IndexDef, raw->index_count);
    for (uint32_t i = 0; table->indexes && i < raw->index_count && !v->nomem; i++) {
        IndexDef *index = &table->indexes[table->index_count++];
        index->algorithm = raw->indexes[i].algorithm;
        name_index(v, table, &raw->indexes[i], index);
        index->columns = checked_columns(v, table, raw->indexes[i].columns, index->name);
        if (!index->columns) continue;
        index->column_count = raw->indexes[i].columns.count;
        if (index->algorithm == INDEX_DIRECT) check_direct(v, table, index);
    }
}

// ── unique constraints ─────────────────────────────────────────────────────────────────────────

// Both are free of repetitions, so equal counts and one inclusion are enough.
static bool same_set(const ConstraintDef *constraint, const IndexDef *index) {
    if (constraint->column_count != index->column_count) return false;
    for (uint32_t i = 0; i < constraint->column_count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < index->column_count && !found; k++)
            found = constraint->columns[i] == index->columns[k];
        if (!found) return false;
    }
    return true;
}

static void check_has_index(Validator *v, const TableDef *table, const ConstraintDef *constraint) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (same_set(constraint, &table->indexes[i])) return;
    }
    invalid(v,
            "No index found to support unique constraint `" STR_FMT "` for columns `" STR_FMT "`",
            STR_ARG(constraint->name),
            STR_ARG(columns_text(v, constraint->columns, constraint->column_count)));
}

void validate_constraints(Validator *v, const RawTable *raw, TableDef *table) {
    table->constraints = VALIDATE_ARRAY(v, ConstraintDef, raw->constraint_count);
    for (uint32_t i = 0; table->constraints && i < raw->constraint_count && !v->nomem; i++) {
        const RawConstraint *from = &raw->constraints[i];
        ConstraintDef *constraint = &table->constraints[table->constraint_count++];
        bool is_given = v->raw->version == 9 && from->name.ptr;
        constraint->name = is_given ? from->name : derived_name(v, table, from->columns, "_key");
        entity_claim(v, constraint->name);
        constraint->columns = checked_columns(v, table, from->columns, constraint->name);
        if (!constraint->columns) continue;
        constraint->column_count = from->columns.count;
        check_has_index(v, table, constraint);
    }
}

// ── sequences ──────────────────────────────────────────────────────────────────────────────────

static bool is_integer(const Type *type) {
    return type->kind >= TYPE_I8 && type->kind <= TYPE_U256;
}

static int i128_cmp(const Int128 *a, const Int128 *b) {
    __int128 x, y;
    memcpy(&x, a->le, sizeof x);
    memcpy(&y, b->le, sizeof y);
    return x < y ? -1 : x > y;
}

static void check_range(Validator *v, const RawSequence *raw, Str name) {
    bool ok = true;
    if (raw->has_min && raw->has_start) ok = ok && i128_cmp(&raw->min, &raw->start) <= 0;
    if (raw->has_start && raw->has_max) ok = ok && i128_cmp(&raw->start, &raw->max) <= 0;
    if (raw->has_min && raw->has_max) ok = ok && i128_cmp(&raw->min, &raw->max) <= 0;
    if (ok) return;
    invalid(v,
            "invalid sequence range information: expected min_value <= start <= max_value in "
            "sequence `" STR_FMT "`",
            STR_ARG(name));
}

static void check_sequence_column(Validator *v,
                                  const TableDef *table,
                                  const SequenceDef *sequence,
                                  bool *used) {
    if (sequence->column >= table->column_count) {
        invalid(v,
                "column `%u` referenced by def " STR_FMT " not found in table `" STR_FMT "`",
                sequence->column,
                STR_ARG(sequence->name),
                STR_ARG(table->name));
        return;
    }
    const ColumnDef *column = &table->columns[sequence->column];
    if (!is_integer(column->type)) {
        invalid(v,
                "invalid sequence column type: table `" STR_FMT "` column `" STR_FMT
                "` with type `" STR_FMT "` in sequence `" STR_FMT "`",
                STR_ARG(table->name),
                STR_ARG(column->name),
                STR_ARG(type_text(v, column->type)),
                STR_ARG(sequence->name));
    }
    if (used[sequence->column]) {
        invalid(v,
                "Attempt to define table `" STR_FMT "` column `" STR_FMT
                "` with more than 1 auto_inc sequence",
                STR_ARG(table->name),
                STR_ARG(column->name));
    }
    used[sequence->column] = true;
}

void validate_sequences(Validator *v, const RawTable *raw, TableDef *table) {
    table->sequences = VALIDATE_ARRAY(v, SequenceDef, raw->sequence_count);
    bool *used = VALIDATE_ARRAY(v, bool, table->column_count);
    if (!table->sequences || !used) return;
    for (uint32_t i = 0; i < raw->sequence_count && !v->nomem; i++) {
        const RawSequence *from = &raw->sequences[i];
        RawColumns column = {.at = &from->column, .count = 1};
        Str name =
            from->name.ptr ? name_full(v, from->name) : derived_name(v, table, column, "_seq");
        table->sequences[table->sequence_count++] = (SequenceDef){
            .name = name,
            .column = from->column,
            .has_start = from->has_start,
            .has_min = from->has_min,
            .has_max = from->has_max,
            .start = from->start,
            .min = from->min,
            .max = from->max,
            .increment = from->increment,
        };
        entity_claim(v, name);
        check_sequence_column(v, table, &table->sequences[i], used);
        check_range(v, from, name);
    }
}
