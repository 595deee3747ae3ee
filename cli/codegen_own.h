// codegen_own.h: what the generator for our own TypeScript package (sdk/typescript) is made of.
//
// PICTURE
//   ModuleDef ──> types.ts             every type as a TypeScript type and as a codec, spelled out
//            ├──> types/reducers.ts    what reducers take        (names only)
//            ├──> types/procedures.ts  what procedures take and give
//            └──> index.ts             tables, reducers, procedures, DbConnection
//
// A codec is plain code (`r => ({ id: r.u64(), name: r.string() })`), so rows are read by what the
// engine compiles best, nothing is put together at run time, and a page may forbid eval. All types are in one
// file, those of submodules with the submodule's name in front, so that they can name each other.
#pragma once
#include "cli/codegen_ts.h"

// Names in types.ts. They belong to the process's arena.
const char *own_type_name(const TypeNameDef *type);                     // Lib_Fruit
const char *own_row_name(const Codegen *gen, const TsTable *table);     // User, or UserRow
const char *own_params_name(const Codegen *gen, const FunctionDef *f);  // SetNameParams
const char *own_args_name(const Codegen *gen, const FunctionDef *f);    // AddArgs
const char *own_result_name(const Codegen *gen, const FunctionDef *f);  // AddResult

// A column or a parameter: as a member of an object, and behind a value.
const char *own_key(Str name);                        // playerId
const char *own_member(const char *value, Str name);  // v.playerId

void own_header(Buf *out);
void own_types_file(Buf *out, const TsModule *module);
void own_index_file(Buf *out, const TsModule *module);
