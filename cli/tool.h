// tool.h: the programs that building needs and that are not ours: tsc, esbuild, clang.
#pragma once
#include "cli/cli.h"

// Run a program in a directory with our streams (its stdout goes to our stderr: ours is for
// results). Gives its exit code, 127 when it cannot be started.
int tool_run(const char *directory, char *const *words);
// Is there a program of this name on the PATH?
bool tool_exists(const char *name);
// The same, with each line that it prints handed over (without its end) instead of printed.
int tool_run_lines(const char *directory,
                   char *const *words,
                   void (*on_line)(void *ctx, char *line),
                   void *ctx);
