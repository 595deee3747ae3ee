// raw.h: a module definition as the module wrote it, before anything was checked.
//
// PICTURE
//   bytes ── decode_v9.c / decode_v10.c ──> RawModule ── validate.c … ──> ModuleDef
//
// One set of structures serves both versions: what a version lacks is empty. Text and byte strings
// borrow from the bytes that were decoded; arrays and types live in the arena given to the decoder.
// Private to this room.
#pragma once
#include "sats/bsatn.h"
#include "schema/def.h"

typedef struct RawColumns {
    const uint16_t *at;
    uint16_t count;
} RawColumns;

typedef struct RawIndex {
    Str name;      // V9 `name`, V10 `source_name`; ptr NULL when absent
    Str accessor;  // ptr NULL when absent
    IndexAlgorithm algorithm;
    RawColumns columns;
} RawIndex;

typedef struct RawConstraint {
    Str name;  // ptr NULL when absent
    RawColumns columns;
} RawConstraint;

typedef struct RawSequence {
    Str name;  // ptr NULL when absent
    uint16_t column;
    bool has_start, has_min, has_max;
    Int128 start, min, max, increment;
} RawSequence;

typedef struct RawSchedule {
    Str name;   // ptr NULL when absent
    Str table;  // source name
    uint16_t at_column;
    Str function;  // source name
} RawSchedule;

typedef struct RawDefault {
    Str table;
    uint16_t column;
    Bytes value;
} RawDefault;

typedef struct RawTable {
    Str name;
    uint32_t row_type_ref;
    RawColumns primary_key;
    RawIndex *indexes;
    uint32_t index_count;
    RawConstraint *constraints;
    uint32_t constraint_count;
    RawSequence *sequences;
    uint32_t sequence_count;
    RawDefault *defaults;  // V10; V9 has them among the misc exports
    uint32_t default_count;
    bool is_system, is_public, is_event;
} RawTable;

typedef struct RawFunction {  // a reducer or a procedure
    Str name;
    const Type *params;    // unresolved product
    const Type *returns;   // a procedure's; NULL for reducers
    const Type *ok, *err;  // a V10 reducer's; NULL in V9
    Lifecycle lifecycle;   // V9; V10 has a section for it
    bool is_private;
} RawFunction;

typedef struct RawView {
    Str name;
    uint32_t index;
    bool is_public, is_anonymous;
    const Type *params;
    const Type *returns;
} RawView;

typedef struct RawTypeName {
    Str *scope;
    uint32_t scope_count;
    Str name;
    uint32_t ref;
    bool custom_ordering;
} RawTypeName;

typedef struct RawLifecycle {
    Lifecycle which;
    Str function;
} RawLifecycle;

typedef enum RawNameKind {
    RAW_NAME_TABLE = 0,
    RAW_NAME_FUNCTION = 1,
    RAW_NAME_INDEX = 2
} RawNameKind;

typedef struct RawExplicitName {
    RawNameKind kind;
    Str source;
    Str canonical;
} RawExplicitName;

typedef struct RawRoute {
    Str handler;
    bool any_method;
    Str method;
    Str path;
} RawRoute;

typedef struct RawViewKey {
    Str view;
    Str *columns;
    uint32_t column_count;
} RawViewKey;

typedef struct RawModule RawModule;

typedef struct RawSubmodule {
    Str name;  // the namespace
    RawModule *module;
} RawSubmodule;

struct RawModule {
    uint32_t version;
    CasePolicy case_policy;
    Typespace typespace;
    RawTypeName *types;
    uint32_t type_count;
    RawTable *tables;
    uint32_t table_count;
    RawFunction *reducers;
    uint32_t reducer_count;
    RawFunction *procedures;
    uint32_t procedure_count;
    RawView *views;
    uint32_t view_count;
    RawSchedule *schedules;
    uint32_t schedule_count;
    RawLifecycle *lifecycles;  // V10 only
    uint32_t lifecycle_count;
    RawDefault *defaults;  // V9 only
    uint32_t default_count;
    Str *row_level_security;
    uint32_t row_level_security_count;
    RawExplicitName *explicit_names;
    uint32_t explicit_name_count;
    Str *http_handlers;
    uint32_t http_handler_count;
    RawRoute *http_routes;
    uint32_t http_route_count;
    RawViewKey *view_keys;
    uint32_t view_key_count;
    RawSubmodule *submodules;
    uint32_t submodule_count;
};

// A module and all modules inside it, depth first: the order in which functions are numbered. The
// references of each have become references into one typespace, which is theirs one after another.
typedef struct RawScope {
    const RawModule *module;
    Str path;    // "a.b", empty for the root
    Str prefix;  // "a.b.", empty for the root: what names begin with
    Str name;    // its own namespace: "b"
} RawScope;

typedef struct RawWhole {
    RawScope *scopes;
    uint32_t scope_count;
    Typespace typespace;
} RawWhole;

#define SUBMODULE_DEPTH_MAX 16
#define SUBMODULES_MAX      1000

// Lay a decoded module out (submodule.c). Changes the references of its submodules; once only.
MUST_USE Err raw_whole(RawModule *root, Arena *arena, RawWhole *out, Diag *diag);

// Decode the body behind the version tag. Malformed bytes and exhausted memory are reported by the
// decoder d (raw_decode.h); the module is incomplete then.
typedef struct Decoder Decoder;
void raw_decode_v9(Decoder *d, RawModule *out);
void raw_decode_v10(Decoder *d, RawModule *out);

// Decode a whole RawModuleDef. ERR_MALFORMED, ERR_UNSUPPORTED (another version), ERR_NOMEM.
MUST_USE Err raw_decode(Bytes raw, Arena *arena, RawModule *out, Diag *diag);

// Check everything and fill `def`, whose arena is set. ERR_INVALID with every reason, one a line.
MUST_USE Err raw_validate(const RawWhole *whole, ModuleDef *def, Diag *diag);
