// shape.c: the type of module definitions (module-abi §3.1–§3.3), as data.
//
// Whoever has it can check, measure and print a definition with the same code as any other value;
// json.c prints. A kind below SHAPES is a simple kind by its number, other names are entries of the
// table, and `|` wraps: ARRAY | STRING.
#include "schema/shape.h"

typedef enum ShapeName {
    UNIT = 32,
    ALGEBRAIC_TYPE,
    ELEMENT,
    FIELDS,
    VARIANTS,
    TYPESPACE,
    SCOPED_NAME_9,
    SCOPED_NAME_10,
    TYPE_NAME_9,
    TYPE_NAME_10,
    ALGORITHM,
    UNIQUE,
    CONSTRAINT_DATA,
    INDEX_9,
    INDEX_10,
    CONSTRAINT_9,
    CONSTRAINT_10,
    SEQUENCE_9,
    SEQUENCE_10,
    SCHEDULE_9,
    SCHEDULE_10,
    TABLE_TYPE,
    TABLE_ACCESS,
    TABLE_9,
    TABLE_10,
    DEFAULT_9,
    DEFAULT_10,
    LIFECYCLE,
    LIFECYCLE_REDUCER,
    VISIBILITY,
    REDUCER_9,
    REDUCER_10,
    PROCEDURE_9,
    PROCEDURE_10,
    VIEW_9,
    VIEW_10,
    EXPORT_9,
    RULE,
    CASE_POLICY,
    NAME_MAPPING,
    NAME_ENTRY,
    EXPLICIT_NAMES,
    HTTP_HANDLER,
    HTTP_METHOD,
    METHOD_OR_ANY,
    HTTP_ROUTE,
    VIEW_KEY,
    SUBMODULE,
    SECTION,
    MODULE_9,
    MODULE_10,
    SHAPES
} ShapeName;

enum {
    ARRAY = 1 << 8,
    OPTION = 1 << 9,
    STRING = TYPE_STRING,
    BOOL = TYPE_BOOL,
    U16 = TYPE_U16,
    U32 = TYPE_U32,
    I128 = TYPE_I128,
    BYTES = ARRAY | TYPE_U8,
    SHAPE_FIELDS_MAX = 20,
};

typedef struct Shape {
    bool is_sum;
    struct {
        const char *name;
        uint32_t type;
    } fields[SHAPE_FIELDS_MAX];
} Shape;

// clang-format off
static const Shape shapes[SHAPES] = {
    [UNIT] = {0},
    [ALGEBRAIC_TYPE] = {true, {
        {"Ref", U32}, {"Sum", VARIANTS}, {"Product", FIELDS}, {"Array", ALGEBRAIC_TYPE},
        {"String", UNIT}, {"Bool", UNIT}, {"I8", UNIT}, {"U8", UNIT}, {"I16", UNIT}, {"U16", UNIT},
        {"I32", UNIT}, {"U32", UNIT}, {"I64", UNIT}, {"U64", UNIT}, {"I128", UNIT}, {"U128", UNIT},
        {"I256", UNIT}, {"U256", UNIT}, {"F32", UNIT}, {"F64", UNIT}}},
    [ELEMENT] = {false, {{"name", OPTION | STRING}, {"algebraic_type", ALGEBRAIC_TYPE}}},
    [FIELDS] = {false, {{"elements", ARRAY | ELEMENT}}},
    [VARIANTS] = {false, {{"variants", ARRAY | ELEMENT}}},
    [TYPESPACE] = {false, {{"types", ARRAY | ALGEBRAIC_TYPE}}},
    [SCOPED_NAME_9] = {false, {{"scope", ARRAY | STRING}, {"name", STRING}}},
    [SCOPED_NAME_10] = {false, {{"scope", ARRAY | STRING}, {"source_name", STRING}}},
    [TYPE_NAME_9] = {false, {
        {"name", SCOPED_NAME_9}, {"ty", U32}, {"custom_ordering", BOOL}}},
    [TYPE_NAME_10] = {false, {
        {"source_name", SCOPED_NAME_10}, {"ty", U32}, {"custom_ordering", BOOL}}},
    [ALGORITHM] = {true, {{"BTree", ARRAY | U16}, {"Hash", ARRAY | U16}, {"Direct", U16}}},
    [UNIQUE] = {false, {{"columns", ARRAY | U16}}},
    [CONSTRAINT_DATA] = {true, {{"Unique", UNIQUE}}},
    [INDEX_9] = {false, {
        {"name", OPTION | STRING}, {"accessor_name", OPTION | STRING}, {"algorithm", ALGORITHM}}},
    [INDEX_10] = {false, {
        {"source_name", OPTION | STRING}, {"accessor_name", OPTION | STRING},
        {"algorithm", ALGORITHM}}},
    [CONSTRAINT_9] = {false, {{"name", OPTION | STRING}, {"data", CONSTRAINT_DATA}}},
    [CONSTRAINT_10] = {false, {{"source_name", OPTION | STRING}, {"data", CONSTRAINT_DATA}}},
    [SEQUENCE_9] = {false, {
        {"name", OPTION | STRING}, {"column", U16}, {"start", OPTION | I128},
        {"min_value", OPTION | I128}, {"max_value", OPTION | I128}, {"increment", I128}}},
    [SEQUENCE_10] = {false, {
        {"source_name", OPTION | STRING}, {"column", U16}, {"start", OPTION | I128},
        {"min_value", OPTION | I128}, {"max_value", OPTION | I128}, {"increment", I128}}},
    [SCHEDULE_9] = {false, {
        {"name", OPTION | STRING}, {"reducer_name", STRING}, {"scheduled_at_column", U16}}},
    [SCHEDULE_10] = {false, {
        {"source_name", OPTION | STRING}, {"table_name", STRING}, {"schedule_at_col", U16},
        {"function_name", STRING}}},
    [TABLE_TYPE] = {true, {{"System", UNIT}, {"User", UNIT}}},
    [TABLE_ACCESS] = {true, {{"Public", UNIT}, {"Private", UNIT}}},
    [TABLE_9] = {false, {
        {"name", STRING}, {"product_type_ref", U32}, {"primary_key", ARRAY | U16},
        {"indexes", ARRAY | INDEX_9}, {"constraints", ARRAY | CONSTRAINT_9},
        {"sequences", ARRAY | SEQUENCE_9}, {"schedule", OPTION | SCHEDULE_9},
        {"table_type", TABLE_TYPE}, {"table_access", TABLE_ACCESS}}},
    [TABLE_10] = {false, {
        {"source_name", STRING}, {"product_type_ref", U32}, {"primary_key", ARRAY | U16},
        {"indexes", ARRAY | INDEX_10}, {"constraints", ARRAY | CONSTRAINT_10},
        {"sequences", ARRAY | SEQUENCE_10}, {"table_type", TABLE_TYPE},
        {"table_access", TABLE_ACCESS}, {"default_values", ARRAY | DEFAULT_10},
        {"is_event", BOOL}}},
    [DEFAULT_9] = {false, {{"table", STRING}, {"col_id", U16}, {"value", BYTES}}},
    [DEFAULT_10] = {false, {{"col_id", U16}, {"value", BYTES}}},
    [LIFECYCLE] = {true, {{"Init", UNIT}, {"OnConnect", UNIT}, {"OnDisconnect", UNIT}}},
    [LIFECYCLE_REDUCER] = {false, {{"lifecycle_spec", LIFECYCLE}, {"function_name", STRING}}},
    [VISIBILITY] = {true, {{"Private", UNIT}, {"ClientCallable", UNIT}}},
    [REDUCER_9] = {false, {{"name", STRING}, {"params", FIELDS}, {"lifecycle", OPTION | LIFECYCLE}}},
    [REDUCER_10] = {false, {
        {"source_name", STRING}, {"params", FIELDS}, {"visibility", VISIBILITY},
        {"ok_return_type", ALGEBRAIC_TYPE}, {"err_return_type", ALGEBRAIC_TYPE}}},
    [PROCEDURE_9] = {false, {{"name", STRING}, {"params", FIELDS}, {"return_type", ALGEBRAIC_TYPE}}},
    [PROCEDURE_10] = {false, {
        {"source_name", STRING}, {"params", FIELDS}, {"return_type", ALGEBRAIC_TYPE},
        {"visibility", VISIBILITY}}},
    [VIEW_9] = {false, {
        {"name", STRING}, {"index", U32}, {"is_public", BOOL}, {"is_anonymous", BOOL},
        {"params", FIELDS}, {"return_type", ALGEBRAIC_TYPE}}},
    [VIEW_10] = {false, {
        {"source_name", STRING}, {"index", U32}, {"is_public", BOOL}, {"is_anonymous", BOOL},
        {"params", FIELDS}, {"return_type", ALGEBRAIC_TYPE}}},
    [EXPORT_9] = {true, {
        {"ColumnDefaultValue", DEFAULT_9}, {"Procedure", PROCEDURE_9}, {"View", VIEW_9}}},
    [RULE] = {false, {{"sql", STRING}}},
    [CASE_POLICY] = {true, {{"None", UNIT}, {"SnakeCase", UNIT}}},
    [NAME_MAPPING] = {false, {{"source_name", STRING}, {"canonical_name", STRING}}},
    [NAME_ENTRY] = {true, {
        {"Table", NAME_MAPPING}, {"Function", NAME_MAPPING}, {"Index", NAME_MAPPING}}},
    [EXPLICIT_NAMES] = {false, {{"entries", ARRAY | NAME_ENTRY}}},
    [HTTP_HANDLER] = {false, {{"source_name", STRING}}},
    [HTTP_METHOD] = {true, {
        {"Get", UNIT}, {"Head", UNIT}, {"Post", UNIT}, {"Put", UNIT}, {"Delete", UNIT},
        {"Connect", UNIT}, {"Options", UNIT}, {"Trace", UNIT}, {"Patch", UNIT},
        {"Extension", STRING}}},
    [METHOD_OR_ANY] = {true, {{"Any", UNIT}, {"Method", HTTP_METHOD}}},
    [HTTP_ROUTE] = {false, {
        {"handler_function", STRING}, {"method", METHOD_OR_ANY}, {"path", STRING}}},
    [VIEW_KEY] = {false, {{"view_source_name", STRING}, {"columns", ARRAY | STRING}}},
    [SUBMODULE] = {false, {{"namespace", STRING}, {"module", MODULE_10}}},
    [SECTION] = {true, {
        {"Typespace", TYPESPACE}, {"Types", ARRAY | TYPE_NAME_10}, {"Tables", ARRAY | TABLE_10},
        {"Reducers", ARRAY | REDUCER_10}, {"Procedures", ARRAY | PROCEDURE_10},
        {"Views", ARRAY | VIEW_10}, {"Schedules", ARRAY | SCHEDULE_10},
        {"LifeCycleReducers", ARRAY | LIFECYCLE_REDUCER}, {"RowLevelSecurity", ARRAY | RULE},
        {"CaseConversionPolicy", CASE_POLICY}, {"ExplicitNames", EXPLICIT_NAMES},
        {"HttpHandlers", ARRAY | HTTP_HANDLER}, {"HttpRoutes", ARRAY | HTTP_ROUTE},
        {"ViewPrimaryKeys", ARRAY | VIEW_KEY}, {"Submodules", ARRAY | SUBMODULE}}},
    [MODULE_9] = {false, {
        {"typespace", TYPESPACE}, {"tables", ARRAY | TABLE_9}, {"reducers", ARRAY | REDUCER_9},
        {"types", ARRAY | TYPE_NAME_9}, {"misc_exports", ARRAY | EXPORT_9},
        {"row_level_security", ARRAY | RULE}}},
    [MODULE_10] = {false, {{"sections", ARRAY | SECTION}}},
};
// clang-format on

static Type *ref_to(Arena *arena, uint32_t entry) {
    Type *ref = arena_new(arena, Type);
    if (!ref) return NULL;
    *ref = (Type){.kind = TYPE_REF,
                  .ref = entry,
                  .fixed_size = TYPE_SIZE_VARIES,
                  .source_ref = TYPE_NO_REF};
    return ref;
}

static const Type *field_type(Arena *arena, uint32_t code) {
    uint32_t name = code & (ARRAY - 1);
    const Type *type = name < UNIT ? type_simple((TypeKind)name) : ref_to(arena, name);
    if (type && code & ARRAY) type = type_array(arena, type);
    if (type && code & OPTION) type = type_option(arena, type);
    return type;
}

static const Type *shape_type(Arena *arena, const Shape *shape) {
    TypeField fields[SHAPE_FIELDS_MAX];
    uint32_t count = 0;
    while (count < SHAPE_FIELDS_MAX && shape->fields[count].name) {
        fields[count].name = str_from(shape->fields[count].name);
        fields[count].type = field_type(arena, shape->fields[count].type);
        if (!fields[count].type) return NULL;
        count++;
    }
    return shape->is_sum ? type_sum(arena, fields, count) : type_product(arena, fields, count);
}

const Type *definition_shape(Arena *arena, uint32_t version) {
    const Type **types = arena_array(arena, const Type *, SHAPES);
    if (!types) return NULL;
    for (uint32_t i = 0; i < SHAPES; i++) {
        types[i] = i < UNIT ? type_special(SPECIAL_UNIT) : shape_type(arena, &shapes[i]);
        if (!types[i]) return NULL;
    }
    Typespace space = {.types = types, .count = SHAPES};
    const Type **resolved = NULL;
    Diag diag;
    Err err = typespace_resolve(&space, arena, &resolved, &diag);
    ASSERT(err == OK || err == ERR_NOMEM);  // the table above refers to its own entries only
    return err == OK ? resolved[version == 9 ? MODULE_9 : MODULE_10] : NULL;
}
