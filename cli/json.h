// json.h: the CLI's few words over jansson: reading with comments allowed, and paths into a value.
#pragma once
#include <jansson.h>

#include "cli/cli.h"

// A project file's JSON5: comments and trailing commas become blanks, so positions stay right.
void json5_blank(char *text);

// NULL and a reason when it does not parse.
json_t *json_from(const char *text, const char **why);
// The value at `path` of nested object keys, e.g. "Success.database_identity"; NULL when absent.
json_t *json_at(json_t *value, const char *path);
const char *json_text_at(json_t *value, const char *path);  // a string, or NULL

// Put every number in quotes, so that 128-bit integers survive a reader that has none. What a
// number was is known from its type. The result lives as long as the process.
char *json_quote_numbers(const char *text);
