// args.h: a command line against a table of options.
//
// `-x`, `-xvalue`, `-x value`, `--long`, `--long value`, `--long=value`; `--` ends options. Flags
// may repeat and the last value wins unless the option collects. Mistakes are answered with the
// usage and exit code 2.
#pragma once
#include "base/base.h"

typedef enum ArgKind {
    ARG_FLAG,            // --yes
    ARG_VALUE,           // --server URL
    ARG_OPTIONAL_VALUE,  // --yes or --yes=LIST: a value only with `=`
    ARG_MAYBE_VALUE,     // --template or --template NAME: the next word, unless it is an option
    ARG_END,
} ArgKind;

typedef struct ArgSpec {
    const char *name;   // "server", without dashes
    const char *alias;  // another long name, or NULL
    char letter;        // 's', or 0
    ArgKind kind;
    const char *value;  // how help calls the value: "URL"
    const char *help;   // NULL hides the option
} ArgSpec;

enum { ARGS_OPTIONS_MAX = 24, ARGS_WORDS_MAX = 256 };

typedef struct Args {
    const struct CliCommand *command;
    const ArgSpec *specs;
    bool given[ARGS_OPTIONS_MAX];
    const char *value[ARGS_OPTIONS_MAX];  // of repeated optional values: joined by commas
    const char *words[ARGS_WORDS_MAX];    // what is not an option, in order
    int word_count;
    bool help;
} Args;

#define ARG_SPECS_END \
    { NULL, NULL, 0, ARG_END, NULL, NULL }

// Ends the process with 2 when the words do not fit the table.
void args_parse(Args *args, const struct CliCommand *command, int argc, char **argv);
bool args_has(const Args *args, const char *name);
const char *args_value(const Args *args, const char *name);  // NULL: not given, or without value
// True or false of `--name true|false`; `missing` when absent. Ends the process otherwise.
bool args_bool(const Args *args, const char *name, bool missing);

// Say what is wrong, how the command is used, and end the process with 2.
_Noreturn void args_fail(const struct CliCommand *command, const char *fmt, ...) PRINTF_LIKE(2, 3);
void args_print_options(const ArgSpec *specs);
