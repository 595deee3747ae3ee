// catalog_system.c: the system tables as data. See catalog_system.h.
#include "txn/catalog_system.h"

typedef enum SystemType {
    S_END,  // no more columns
    S_BOOL,
    S_U8,
    S_U16,
    S_U32,
    S_U64,
    S_U128,
    S_U256,
    S_I64,
    S_I128,
    S_STRING,
    S_BYTES,
    S_OPTION_COLUMNS,
    S_OPTION_U32,
    S_INDEX_ALGORITHM,
    S_CONSTRAINT_DATA,
    S_VALUE,
} SystemType;

typedef struct SystemTable {
    const char *name;
    bool is_private;
    int8_t primary_key;
    struct {
        const char *name;
        SystemType type;
    } columns[SYSTEM_COLUMNS_MAX + 1];
} SystemTable;

// clang-format off
static const SystemTable system_tables[SYSTEM_TABLES + 1] = {
    [ST_TABLE] = {"st_table", false, 0, {
        {"table_id", S_U32}, {"table_name", S_STRING}, {"table_type", S_STRING},
        {"table_access", S_STRING}, {"table_primary_key", S_OPTION_COLUMNS}}},
    [ST_COLUMN] = {"st_column", false, -1, {
        {"table_id", S_U32}, {"col_pos", S_U16}, {"col_name", S_STRING}, {"col_type", S_BYTES}}},
    [ST_SEQUENCE] = {"st_sequence", false, 0, {
        {"sequence_id", S_U32}, {"sequence_name", S_STRING}, {"table_id", S_U32},
        {"col_pos", S_U16}, {"increment", S_I128}, {"start", S_I128}, {"min_value", S_I128},
        {"max_value", S_I128}, {"allocated", S_I128}}},
    [ST_INDEX] = {"st_index", false, 0, {
        {"index_id", S_U32}, {"table_id", S_U32}, {"index_name", S_STRING},
        {"index_algorithm", S_INDEX_ALGORITHM}}},
    [ST_CONSTRAINT] = {"st_constraint", false, 0, {
        {"constraint_id", S_U32}, {"constraint_name", S_STRING}, {"table_id", S_U32},
        {"constraint_data", S_CONSTRAINT_DATA}}},
    [ST_MODULE] = {"st_module", false, -1, {
        {"database_identity", S_U256}, {"owner_identity", S_U256}, {"program_kind", S_U8},
        {"program_hash", S_U256}, {"program_bytes", S_BYTES}, {"module_version", S_STRING}}},
    [ST_CLIENT] = {"st_client", false, -1, {
        {"identity", S_U256}, {"connection_id", S_U128}}},
    [ST_VAR] = {"st_var", false, 0, {
        {"name", S_STRING}, {"value", S_VALUE}}},
    [ST_SCHEDULED] = {"st_scheduled", false, 0, {
        {"schedule_id", S_U32}, {"table_id", S_U32}, {"reducer_name", S_STRING},
        {"schedule_name", S_STRING}, {"at_column", S_U16}}},
    [ST_ROW_LEVEL_SECURITY] = {"st_row_level_security", false, 1, {
        {"table_id", S_U32}, {"sql", S_STRING}}},
    [ST_CONNECTION_CREDENTIALS] = {"st_connection_credentials", true, 0, {
        {"connection_id", S_U128}, {"jwt_payload", S_STRING}}},
    [ST_VIEW] = {"st_view", false, 0, {
        {"view_id", S_U32}, {"view_name", S_STRING}, {"table_id", S_OPTION_U32},
        {"is_public", S_BOOL}, {"is_anonymous", S_BOOL}}},
    [ST_VIEW_PARAM] = {"st_view_param", false, -1, {
        {"view_id", S_U32}, {"param_pos", S_U16}, {"param_name", S_STRING},
        {"param_type", S_BYTES}}},
    [ST_VIEW_COLUMN] = {"st_view_column", false, -1, {
        {"view_id", S_U32}, {"col_pos", S_U16}, {"col_name", S_STRING}, {"col_type", S_BYTES}}},
    [ST_VIEW_SUB] = {"st_view_sub", false, -1, {
        {"view_id", S_U32}, {"arg_id", S_U64}, {"identity", S_U256}, {"num_subscribers", S_U64},
        {"has_subscribers", S_BOOL}, {"last_called", S_I64}}},
    [ST_VIEW_ARG] = {"st_view_arg", false, 0, {
        {"id", S_U64}, {"bytes", S_BYTES}}},
    [ST_EVENT_TABLE] = {"st_event_table", false, 0, {
        {"table_id", S_U32}}},
    [ST_TABLE_ACCESSOR] = {"st_table_accessor", false, -1, {
        {"table_name", S_STRING}, {"accessor_name", S_STRING}}},
    [ST_INDEX_ACCESSOR] = {"st_index_accessor", false, -1, {
        {"index_name", S_STRING}, {"accessor_name", S_STRING}}},
    [ST_COLUMN_ACCESSOR] = {"st_column_accessor", false, -1, {
        {"table_name", S_STRING}, {"col_name", S_STRING}, {"accessor_name", S_STRING}}},
    [ST_CALL_ONCE] = {"st_call_once", true, -1, {
        {"identity", S_U256}, {"session", S_U128}, {"number", S_U64}, {"timestamp", S_I64}}},
};

// In the order of their ids, from 1.
const SystemKey system_indexes[SYSTEM_INDEXES] = {
    {ST_TABLE, 1, {0}},                  {ST_TABLE, 1, {1}},
    {ST_COLUMN, 2, {0, 1}},              {ST_SEQUENCE, 1, {0}},
    {ST_INDEX, 1, {0}},                  {ST_CONSTRAINT, 1, {0}},
    {ST_CLIENT, 2, {0, 1}},              {ST_VAR, 1, {0}},
    {ST_SCHEDULED, 1, {0}},              {ST_SCHEDULED, 1, {1}},
    {ST_ROW_LEVEL_SECURITY, 1, {0}},     {ST_ROW_LEVEL_SECURITY, 1, {1}},
    {ST_CONNECTION_CREDENTIALS, 1, {0}}, {ST_VIEW, 1, {0}},
    {ST_VIEW, 1, {1}},                   {ST_VIEW_PARAM, 2, {0, 1}},
    {ST_VIEW_COLUMN, 2, {0, 1}},         {ST_VIEW_SUB, 1, {2}},
    {ST_VIEW_SUB, 1, {4}},               {ST_VIEW_SUB, 3, {0, 1, 2}},
    {ST_VIEW_ARG, 1, {0}},               {ST_VIEW_ARG, 1, {1}},
    {ST_EVENT_TABLE, 1, {0}},            {ST_TABLE_ACCESSOR, 1, {0}},
    {ST_TABLE_ACCESSOR, 1, {1}},         {ST_INDEX_ACCESSOR, 1, {0}},
    {ST_INDEX_ACCESSOR, 1, {1}},         {ST_COLUMN_ACCESSOR, 2, {0, 1}},
    {ST_COLUMN_ACCESSOR, 2, {0, 2}},     {ST_CALL_ONCE, 3, {0, 1, 2}},
    {ST_CALL_ONCE, 1, {3}},
};
const SystemKey system_constraints[SYSTEM_CONSTRAINTS] = {
    {ST_TABLE, 1, {0}},              {ST_TABLE, 1, {1}},
    {ST_COLUMN, 2, {0, 1}},          {ST_SEQUENCE, 1, {0}},
    {ST_INDEX, 1, {0}},              {ST_CONSTRAINT, 1, {0}},
    {ST_CLIENT, 2, {0, 1}},          {ST_VAR, 1, {0}},
    {ST_SCHEDULED, 1, {0}},          {ST_SCHEDULED, 1, {1}},
    {ST_ROW_LEVEL_SECURITY, 1, {1}}, {ST_CONNECTION_CREDENTIALS, 1, {0}},
    {ST_VIEW, 1, {0}},               {ST_VIEW, 1, {1}},
    {ST_VIEW_PARAM, 2, {0, 1}},      {ST_VIEW_COLUMN, 2, {0, 1}},
    {ST_VIEW_ARG, 1, {0}},           {ST_VIEW_ARG, 1, {1}},
    {ST_EVENT_TABLE, 1, {0}},        {ST_TABLE_ACCESSOR, 1, {0}},
    {ST_TABLE_ACCESSOR, 1, {1}},     {ST_INDEX_ACCESSOR, 1, {0}},
    {ST_INDEX_ACCESSOR, 1, {1}},     {ST_COLUMN_ACCESSOR, 2, {0, 1}},
    {ST_COLUMN_ACCESSOR, 2, {0, 2}}, {ST_CALL_ONCE, 3, {0, 1, 2}},
};
const SystemKey system_sequences[SYSTEM_SEQUENCES] = {
    {ST_TABLE, 1, {0}},    {ST_INDEX, 1, {0}}, {ST_CONSTRAINT, 1, {0}}, {ST_SCHEDULED, 1, {0}},
    {ST_SEQUENCE, 1, {0}}, {ST_VIEW, 1, {0}},  {ST_VIEW_ARG, 1, {0}},
};
// clang-format on

Str system_table_name(uint32_t table_id) {
    return str_from(system_tables[table_id].name);
}

bool system_table_is_public(uint32_t table_id) {
    return !system_tables[table_id].is_private;
}

int32_t system_table_primary_key(uint32_t table_id) {
    return system_tables[table_id].primary_key;
}

// ── types ──────────────────────────────────────────────────────────────────────────────────────

static const Type *columns_type(Arena *arena) {
    return type_array(arena, type_simple(TYPE_U16));
}

static const Type *columns_product(Arena *arena) {
    TypeField field = {STR("columns"), columns_type(arena)};
    return field.type ? type_product(arena, &field, 1) : NULL;
}

static const Type *index_algorithm_type(Arena *arena) {
    TypeField column = {STR("column"), type_simple(TYPE_U16)};
    TypeField variants[] = {
        {STR("Unused"), type_simple(TYPE_U128)},
        {STR("BTree"), columns_product(arena)},
        {STR("Direct"), type_product(arena, &column, 1)},
        {STR("Hash"), columns_product(arena)},
    };
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        if (!variants[i].type) return NULL;
    }
    return type_sum(arena, variants, ARRAY_LEN(variants));
}

static const Type *constraint_data_type(Arena *arena) {
    TypeField variants[] = {
        {STR("Unused"), type_simple(TYPE_U128)},
        {STR("Unique"), columns_product(arena)},
    };
    return variants[1].type ? type_sum(arena, variants, ARRAY_LEN(variants)) : NULL;
}

static const Type *value_type(Arena *arena) {
    TypeField variants[] = {
        {STR("Bool"), type_simple(TYPE_BOOL)},
        {STR("I8"), type_simple(TYPE_I8)},
        {STR("U8"), type_simple(TYPE_U8)},
        {STR("I16"), type_simple(TYPE_I16)},
        {STR("U16"), type_simple(TYPE_U16)},
        {STR("I32"), type_simple(TYPE_I32)},
        {STR("U32"), type_simple(TYPE_U32)},
        {STR("I64"), type_simple(TYPE_I64)},
        {STR("U64"), type_simple(TYPE_U64)},
        {STR("I128"), type_simple(TYPE_I128)},
        {STR("U128"), type_simple(TYPE_U128)},
        {STR("F32"), type_simple(TYPE_F32)},
        {STR("F64"), type_simple(TYPE_F64)},
        {STR("String"), type_simple(TYPE_STRING)},
    };
    return type_sum(arena, variants, ARRAY_LEN(variants));
}

static const Type *option_columns_type(Arena *arena) {
    const Type *columns = columns_type(arena);
    return columns ? type_option(arena, columns) : NULL;
}

static const Type *system_type(Arena *arena, SystemType type) {
    switch (type) {
    case S_BOOL: return type_simple(TYPE_BOOL);
    case S_U8: return type_simple(TYPE_U8);
    case S_U16: return type_simple(TYPE_U16);
    case S_U32: return type_simple(TYPE_U32);
    case S_U64: return type_simple(TYPE_U64);
    case S_U128: return type_simple(TYPE_U128);
    case S_U256: return type_simple(TYPE_U256);
    case S_I64: return type_simple(TYPE_I64);
    case S_I128: return type_simple(TYPE_I128);
    case S_STRING: return type_simple(TYPE_STRING);
    case S_BYTES: return type_special(SPECIAL_BYTES);
    case S_OPTION_COLUMNS: return option_columns_type(arena);
    case S_OPTION_U32: return type_option(arena, type_simple(TYPE_U32));
    case S_INDEX_ALGORITHM: return index_algorithm_type(arena);
    case S_CONSTRAINT_DATA: return constraint_data_type(arena);
    case S_VALUE: return value_type(arena);
    case S_END: break;
    }
    UNREACHABLE();
}

const Type *system_table_row_type(Arena *arena, uint32_t table_id) {
    const SystemTable *table = &system_tables[table_id];
    TypeField fields[SYSTEM_COLUMNS_MAX];
    uint32_t count = 0;
    while (table->columns[count].type != S_END) {
        fields[count].name = str_from(table->columns[count].name);
        fields[count].type = system_type(arena, table->columns[count].type);
        if (!fields[count].type) return NULL;
        count++;
    }
    return type_product(arena, fields, count);
}

// ── keys ───────────────────────────────────────────────────────────────────────────────────────

bool system_index_is_unique(uint32_t index_id) {
    const SystemKey *index = &system_indexes[index_id - 1];
    for (size_t i = 0; i < SYSTEM_CONSTRAINTS; i++) {
        if (memcmp(index, &system_constraints[i], sizeof *index) == 0) return true;
    }
    return false;
}

Str system_key_name(Arena *arena, const SystemKey *key, const Type *row_type, const char *suffix) {
    Buf text = {0};
    buf_put_str(&text, system_table_name(key->table_id));
    for (uint32_t i = 0; i < key->column_count; i++) {
        buf_put_u8(&text, '_');
        buf_put_str(&text, row_type->fields[key->columns[i]].name);
    }
    buf_put_str(&text, str_from(suffix));
    Str name = buf_ok(&text) ? arena_str(arena, bytes_str(buf_bytes(&text))) : STR_NONE;
    buf_deinit(&text);
    return name;
}
