// module.h: modules as the CLI meets them: a directory to build, a file to publish or to look into.
// Spec: cli-and-codegen §12, §13.
#pragma once
#include "cli/cli.h"
#include "host/host.h"

// By the file's name: .wasm, or JavaScript.
HostKind module_kind(const char *path);
// Load the file in this process and give its definition; ends the process with the reason when it
// is not a valid module. Lives as long as the process.
const ModuleDef *module_definition(const char *path, HostKind kind);

// The module's directory: `given`, else ./spacetimedb or ./lightcone when it holds a module, else
// the working directory. Ends the process when there is none.
const char *module_directory(const char *given);
// Build the module in a directory, TypeScript or C; the path of the bundle or of the wasm file.
// Ends the process when it fails: with the tool's exit code when the source is wrong, else 1.
const char *module_build(const char *directory, bool debug);
