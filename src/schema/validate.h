// validate.h: the state of one validation, and the pieces it is made of. Private to this room.
//
// PICTURE
//   RawModule ──┬─ validate_types.c     typespace with canonical names, resolved; type names
//               ├─ validate_table.c     columns, primary key, defaults
//               │    └ validate_index.c indexes, unique constraints, sequences
//               ├─ validate_function.c  reducers, procedures, lifecycles, schedules
//               ├─ validate_view.c      views and their keys
//               └─ validate_http.c      handlers and routes                     ──> ModuleDef
//
// Everything wrong is collected: a check that fails reports and goes on, so that an author sees all
// reasons at once. Running out of memory is the exception: it is remembered in `nomem`, everything
// after it does as little as possible, and the result is thrown away.
#pragma once
#include "schema/names.h"
#include "schema/raw.h"

enum {
    MODULE_ITEMS_MAX = 20000,   // tables, functions, … of one kind
    TABLE_COLUMNS_MAX = 4096,   // columns of one table
    COLUMN_TYPE_NODES = 65536,  // size of a column's type with references written out
};

typedef struct TypeMeasure {
    uint32_t nodes;   // with references written out; 0: not measured yet
    uint32_t height;  // levels of nesting
    bool is_open;     // being measured: meeting it again is a cycle
} TypeMeasure;

// Where a kind of things begins in the definition for the module that is being checked: what was
// declared by modules before it comes first.
typedef struct ScopeFirst {
    uint32_t type, table, reducer, procedure, view, handler;
    uint32_t sender_view, anonymous_view;  // numbers of views (ViewDef.index)
} ScopeFirst;

typedef struct Validator {
    const RawWhole *whole;
    const RawScope *scope;  // the module being checked: the root, then each submodule
    const RawModule *raw;   // its declarations
    ScopeFirst first;
    ModuleDef *def;
    Arena *arena;  // the definition's
    Buf errors;    // one a line
    uint32_t error_count;
    bool nomem;

    Typespace renamed;      // the typespace in canonical spelling, unresolved
    bool *declared;         // of each typespace entry: has it a name?
    TypeMeasure *measures;  // of each typespace entry

    NameSet entities;   // tables, views, indexes, constraints, sequences, schedules
    NameSet functions;  // reducers, procedures, views
    NameSet handlers;
    NameSet type_names;
    NameSet namespaces;
} Validator;

// ── reporting ──────────────────────────────────────────────────────────────────────────────────
void invalid(Validator *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
void *validate_alloc(Validator *v, size_t each, size_t count);  // zeroed; NULL sets v->nomem
#define VALIDATE_ARRAY(v, type, count) ((type *)validate_alloc((v), sizeof(type), (count)))
Str validate_printf(Validator *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
Str type_text(Validator *v, const Type *type);  // as errors spell it

// ── names ──────────────────────────────────────────────────────────────────────────────────────
Str name_canonical(Validator *v, RawNameKind kind, Str source);       // explicit, else converted
Str name_full(Validator *v, Str name);                                // behind the namespace
Str name_local(const Validator *v, Str full);                         // the reverse
Str name_convert(Validator *v, Str source, CaseStyle style);          // by the module's policy
Str name_explicit(const Validator *v, RawNameKind kind, Str source);  // ptr NULL: none
void name_check(Validator *v, Str name);                              // is it an identifier?
void entity_claim(Validator *v, Str name);
void entity_claim_both(Validator *v, Str canonical, Str source);
void function_claim(Validator *v, Str name);

// ── types ──────────────────────────────────────────────────────────────────────────────────────
MUST_USE Err validate_typespace(Validator *v, Diag *diag);
void validate_type_names(Validator *v);
// Canonical spelling and references resolved. NULL after a report.
const Type *type_canonical(Validator *v, const Type *type);
// The product at a typespace entry, through aliases, in the spelling of `space`; NULL if it is none.
const Type *product_at(const Typespace *space, uint32_t ref);
// Whether client code can be generated for a value of this type; reports when not.
void type_check_usable(Validator *v, const Type *type, Str location);
// Whether values of this type can be stored: not recursive, and of bounded size; reports when not.
void type_check_storable(Validator *v, const Type *type, Str table, Str column);

// ── parts ──────────────────────────────────────────────────────────────────────────────────────
void validate_tables(Validator *v);
TableDef *table_by_source(const Validator *v, Str source);  // NULL
void validate_indexes(Validator *v, const RawTable *raw, TableDef *table);
void validate_constraints(Validator *v, const RawTable *raw, TableDef *table);
void validate_sequences(Validator *v, const RawTable *raw, TableDef *table);
Str column_text(const TableDef *table, uint16_t column, char scratch[16]);  // name or col_N
Str columns_text(Validator *v, const uint16_t *columns, uint32_t count);    // [0, 1]
void validate_functions(Validator *v);
void validate_lifecycles(Validator *v);
void validate_schedules(Validator *v);
void validate_views(Validator *v);
void validate_http(Validator *v);
