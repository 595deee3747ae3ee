// schema_json.h: a database's definition as the server tells it, enough of it for `call` and
// `describe`. Spec: http-api-and-auth §8.6, module-abi §3.
#pragma once
#include "cli/session.h"

typedef struct DbSchema DbSchema;

typedef struct SchemaFunction {
    const DbSchema *module;  // that declares it: the root's or a submodule's, for its types
    const char *name;        // canonical: what is called, "lib.add_fruit" in a submodule
    const char *source;      // as written in the module
    json_t *params;          // array of elements {name, algebraic_type}
    json_t *declaration;
    bool is_procedure;
    bool is_lifecycle;
} SchemaFunction;

struct DbSchema {
    json_t *definition;  // V10 {"sections": …} or V9
    const char *text;    // the body it came from
    bool is_v10;
    json_t *types;              // the typespace's array, for Ref
    const char *prefix;         // "lib.deep." of a submodule; "" of the root
    SchemaFunction *functions;  // of the root: all, submodules' included
    size_t function_count;
    size_t function_cap;
    bool snake_case;
};

DbSchema *schema_fetch(const CliTarget *target);
const DbSchema *schema_submodule(const DbSchema *module, json_t *item);  // of its Submodules
json_t *schema_section(const DbSchema *schema, const char *name);        // "Tables"; V9: "tables"
const char *schema_canonical(const DbSchema *schema, const char *kind, const char *source);
const SchemaFunction *schema_function(const DbSchema *schema, const char *name, bool procedure);
// "add(name: String, age: u8)"
const char *schema_signature(const SchemaFunction *function);
// The kind of a parameter's type after following Ref: "String", "Product" …
const char *schema_kind(const DbSchema *schema, json_t *type);
bool schema_is_identity(const DbSchema *schema, json_t *type);
