// cli.h: the `lightcone` command. The same binary is the server: `lightcone start` becomes it.
//
// PICTURE
//   argv ── args.h ──> a command of the table in cli.c ──> http.h ──> a server's HTTP API
//                          │                └ session.h: which server, which token, which database
//                          ├ build.h      a module's directory → dist/bundle.js
//                          ├ codegen.h    a module's definition → TypeScript files
//                          ├ template.h   templates/ → a new project
//                          └ dev.h        all of it again whenever a file changes
//
// A command is one process that does one thing: what it allocates is never freed one by one but
// lives in one arena until the process ends, and what goes wrong ends the process with a sentence
// (cli_die). Results go to stdout, everything said about them to stderr, so that scripts can use
// the output; exit codes are 0 done, 1 failed, 2 wrong usage.
//
// Spec: cli-and-codegen. Not here: the server (src/node), running modules (src/host).
#pragma once
#include "base/arena.h"
#include "cli/args.h"

// The version of the protocols and of the generated code we speak, and our own.
#define CLI_COMPAT_VERSION "2.8.3"
#define CLI_VERSION        "0.1.0"

int cli_main(int argc, char **argv);  // the exit code

typedef struct CliCommand {
    const char *name;
    const char *usage;     // after the name: "[OPTIONS] <name>"
    const char *summary;   // one line, for the list of commands
    const char *about;     // more, and examples; shown by --help
    const ArgSpec *specs;  // ends with a zeroed entry; NULL: none
    int (*run)(const Args *args);
    bool unstable;  // say so on stderr, as scripts written for the original expect
    bool hidden;
} CliCommand;

// What was given before or after the command's name.
typedef struct CliGlobals {
    const char *config_path;  // NULL: the default
    const char *root_dir;     // NULL: the user's directories
    const char *exe;          // the running binary's path
} CliGlobals;
const CliGlobals *cli_globals(void);
// True when `name` ("--root-dir") is one of them; `value` is kept.
bool cli_global_set(Str name, const char *value);

// Memory that lives until the process ends. These do not return without memory.
Arena *cli_arena(void);
char *cli_format(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *cli_copy(Str text);
char *cli_buf_text(Buf *buf);  // terminates the buffer and gives its text; buf must not be freed

// Print "Error: …" (and "Caused by:") on stderr and end the process with 1.
NORETURN void cli_die(const char *fmt, ...) PRINTF_LIKE(1, 2);
NORETURN void cli_die_cause(const char *cause, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Ask on stdout and read a line. The end of input means no.
bool cli_confirm(const char *question);
char *cli_ask(const char *question);  // the line without its end; NULL at the end of input

bool cli_wants_colour(int fd);  // a terminal, and NO_COLOR is not set

// Whole files. file_read gives NULL when there is none and dies of anything else.
char *cli_file_read(const char *path, size_t *len);
void cli_file_write(const char *path, Bytes content);  // atomically, making directories
bool cli_file_exists(const char *path);
bool cli_dir_exists(const char *path);
const char *cli_join(const char *dir, const char *name);  // name when it is absolute
