// build_c.h: a C module's directory into one wasm file.
//
//   src/*.c, src/*.h ── cgen.h ──> build/gen/module.gen.{h,c} ── clang, wasm-ld ──> build/module.wasm
//
// A directory is a C module when it has src/*.c and no file that says otherwise (package.json,
// Cargo.toml, CMakeLists.txt). There is nothing to configure. The same sources give the same bytes,
// so publishing unchanged code changes nothing.
#pragma once
#include "cli/cli.h"

bool build_c_detect(const char *directory);
// Write build/gen only: enough for an editor, and for a module that another compiler builds.
void build_c_accessors(const char *directory);
// The path of the wasm file. Ends the process when it fails, after the compiler has said why.
const char *build_c(const char *directory, bool debug);
// Where lightcone.h lies; ends the process when it is nowhere.
const char *build_c_sdk(void);
