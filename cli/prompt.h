// prompt.h: lines from a person, with editing and a history that stays; or from a pipe, without.
#pragma once
#include "cli/cli.h"

typedef struct Prompt {
    const char *text;     // what stands before the line
    const char *history;  // file; NULL: nothing is kept
    bool is_person;       // stdin and stdout are a terminal
} Prompt;

// `name` is what the history file is called, in the directory of cli.toml.
Prompt prompt_open(const char *text, const char *name);
// The next line without its end, kept as long as the process; NULL at the end of input.
char *prompt_read(const Prompt *prompt);
void prompt_close(const Prompt *prompt);  // writes the history, which only its owner may read
