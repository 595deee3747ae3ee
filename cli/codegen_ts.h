// codegen_ts.h: what the TypeScript generator's files share.
#pragma once
#include "cli/codegen.h"

// Names in the three spellings.
const char *ts_snake(Str name);
const char *ts_camel(Str name);
const char *ts_pascal(Str name);
const char *ts_type_name(const TypeNameDef *type);  // scope and name in one: NamespaceTestC

// What a submodule's items are called: "lib.addFruit" is the item addFruit of "lib"; it is generated
// into the directory "lib/" and imported as Lib_AddFruit. All three are empty for the root.
Str ts_local(Str full, Str submodule);
const char *ts_directory(Str submodule);
const char *ts_prefix(Str submodule);
const char *ts_function_name(const FunctionDef *function);  // Lib_AddFruit
const char *ts_function_file(const FunctionDef *function);  // lib/add_fruit

// A table or a view as clients see it.
typedef struct TsTable {
    Str name;
    Str accessor;  // without the submodule's name
    Str submodule;
    const Type *row;
    int32_t primary_key;
    const TableDef *table;  // NULL for a view
} TsTable;

// Lists of what is visible, in the order they are printed.
typedef struct TsModule {
    const Codegen *gen;
    TsTable *tables;  // tables by canonical name, then views likewise
    size_t table_count;
    bool has_submodules;           // what they declare stands behind the root's in each list
    const FunctionDef **reducers;  // that have a file
    size_t reducer_count;
    const FunctionDef **procedures;  // sorted
    size_t procedure_count;
    const TypeNameDef **types;  // sorted by scope and name, without those that reducers shadow
    size_t type_count;
    const TypeNameDef **all_types;  // with them
    size_t all_type_count;
} TsModule;
TsModule ts_module(const Codegen *gen);
bool ts_in_index(const FunctionDef *reducer);

// "  playerId: __t.u64().name(\"player_id\"),\n" and friends. `row`: add .name() where the
// canonical name is not the key. primary_key: -1 for none.
void ts_fields(Buf *out, const Codegen *gen, const Type *product, bool row, int32_t primary_key);
void ts_variants(Buf *out, const Codegen *gen, const Type *sum);
// The name by which the npm library and ours have a type that no module declares, or NULL when it is
// made of other types.
const char *ts_simple_name(const Type *type);
void ts_type(Buf *out, const Codegen *gen, const Type *type);
// The name of the declared type that this is, or NULL.
const TypeNameDef *ts_named(const Codegen *gen, const Type *type);

void ts_header(Buf *out);
void ts_index_file(Buf *out, const TsModule *module);
