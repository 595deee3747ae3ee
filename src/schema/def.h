// def.h: what a module declares, decoded, validated and with canonical names.
//
// PICTURE
//   bytes from __describe_module__  ── moduledef_decode ──>  ModuleDef
//     (BSATN RawModuleDef V9 or V10)      refused with every reason, one a line
//
//   A ModuleDef owns one arena with everything in it, holds resolved types (type.h) and never
//   changes. Names: `name` is canonical (what SQL, clients and the wire use), `source` is the
//   spelling in the module's code, which the module looks tables and indexes up by (§3.6).
//
//   A module may hold modules, each under a namespace. Here everything is one list: what submodule
//   `lib` declares is called `lib.name`, its types stand behind the root's in the typespace, and its
//   functions are numbered behind the root's.
//
// Spec: module-abi §3 (all of it), §4 for ids, §6 for migrations (migrate.h).
#pragma once
#include "sats/type.h"

typedef enum IndexAlgorithm { INDEX_BTREE = 0, INDEX_HASH = 1, INDEX_DIRECT = 2 } IndexAlgorithm;
typedef enum Lifecycle {
    LIFECYCLE_NONE = -1,
    LIFECYCLE_INIT = 0,
    LIFECYCLE_CONNECT = 1,
    LIFECYCLE_DISCONNECT = 2
} Lifecycle;
typedef enum CasePolicy { CASE_NONE = 0, CASE_SNAKE = 1 } CasePolicy;

typedef struct Int128 {
    uint8_t le[16];  // two's complement, little-endian, as BSATN
} Int128;

typedef struct ColumnDef {
    Str name;
    Str source;
    const Type *type;
    bool has_default;
    Bytes default_value;  // BSATN of type
} ColumnDef;

typedef struct IndexDef {
    Str name;      // canonical, unique in the database
    Str source;    // what the module looks it up by; equals name in V9
    Str accessor;  // ptr NULL when the index has none (client code skips it)
    IndexAlgorithm algorithm;
    uint16_t *columns;
    uint16_t column_count;
} IndexDef;

typedef struct ConstraintDef {  // always a unique constraint
    Str name;
    uint16_t *columns;
    uint16_t column_count;
} ConstraintDef;

typedef struct SequenceDef {
    Str name;
    uint16_t column;
    bool has_start, has_min, has_max;
    Int128 start, min, max, increment;
} SequenceDef;

typedef struct ScheduleDef {
    Str name;
    uint16_t at_column;  // of type ScheduleAt
    uint16_t id_column;  // the u64 primary key
    Str function;        // canonical name of the reducer or procedure
    bool is_procedure;
} ScheduleDef;

typedef struct TableDef {
    Str name;
    Str source;
    Str submodule;          // "a.b": the path in front of both names; empty in the root module
    uint32_t row_type_ref;  // typespace entry
    const Type *row_type;   // resolved product; field names are canonical column names
    ColumnDef *columns;
    uint16_t column_count;
    int32_t primary_key;  // column, or -1
    IndexDef *indexes;
    uint32_t index_count;
    ConstraintDef *constraints;
    uint32_t constraint_count;
    SequenceDef *sequences;
    uint32_t sequence_count;
    ScheduleDef *schedule;  // NULL: not a scheduled table
    bool is_public;
    bool is_event;
    bool is_system;  // the module claims so; it has no effect
} TableDef;

typedef struct FunctionDef {  // a reducer or a procedure
    Str name;
    Str source;
    Str submodule;
    uint32_t id;          // what the module is called with: position among all of its kind
    const Type *params;   // resolved product
    const Type *returns;  // procedures; NULL for reducers
    Lifecycle lifecycle;
    bool is_private;  // callable by the database's owner only
} FunctionDef;

typedef struct ViewDef {
    Str name;
    Str source;
    Str submodule;
    uint32_t index;
    bool is_public, is_anonymous, is_query;
    const Type *params;
    const Type *returns;
    const Type *row_type;
    uint32_t row_type_ref;
    int32_t primary_key;
} ViewDef;

typedef struct TypeNameDef {
    Str *scope;
    uint32_t scope_count;
    Str name;  // canonical (PascalCase under CASE_SNAKE), without its submodule
    Str source;
    Str submodule;
    uint32_t ref;
} TypeNameDef;

typedef struct HttpRouteDef {
    Str handler;
    bool any_method;
    Str method;  // "GET" …
    Str path;
} HttpRouteDef;

typedef struct ModuleDef {
    Arena *arena;
    uint32_t version;  // 9 or 10
    CasePolicy case_policy;
    Typespace typespace;    // as declared, source spelling
    Typespace canonical;    // the same in canonical spelling, references unresolved
    const Type **resolved;  // of each entry, canonical spelling
    TypeNameDef *types;
    uint32_t type_count;
    TableDef *tables;
    uint32_t table_count;  // declaration order
    FunctionDef *reducers;
    uint32_t reducer_count;  // declaration order
    FunctionDef *procedures;
    uint32_t procedure_count;
    ViewDef *views;
    uint32_t view_count;
    Str *row_level_security;
    uint32_t row_level_security_count;
    Str *http_handlers;
    uint32_t http_handler_count;
    HttpRouteDef *http_routes;
    uint32_t http_route_count;
    Bytes raw;  // the bytes it was decoded from, for GET …/schema and describe
} ModuleDef;

// Decode and validate. On refusal diag holds every reason, one a line (§3.8).
MUST_USE Err moduledef_decode(Bytes raw, ModuleDef **out, Diag *diag);
void moduledef_free(ModuleDef **def);

const TableDef *moduledef_table(const ModuleDef *def, Str name);       // canonical name or NULL
const FunctionDef *moduledef_reducer(const ModuleDef *def, Str name);  // canonical name or NULL
const FunctionDef *moduledef_procedure(const ModuleDef *def, Str name);
const FunctionDef *moduledef_lifecycle(const ModuleDef *def, Lifecycle which);

// Raw definition as JSON for GET …/schema?version= (V9 and V10 from either), spec http §8.6, and
// for extract-schema with the {"V10":…} wrapper.
MUST_USE Err
moduledef_write_json(const ModuleDef *def, uint32_t version, bool wrapper, Buf *out, Diag *diag);

// Case conversion (§3.5), exported for the code generator.
typedef enum CaseStyle { CASE_STYLE_SNAKE, CASE_STYLE_CAMEL, CASE_STYLE_PASCAL } CaseStyle;
Str case_convert(Arena *arena, Str name, CaseStyle style);
