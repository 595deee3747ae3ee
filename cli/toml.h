// toml.h: the part of TOML that cli.toml uses, read and written back without losing a comment.
//
// A document is its lines, in order: comments and unknown keys pass through untouched. Values
// are text: basic strings, literal strings, multi-line basic strings; anything else (numbers,
// arrays) is kept and never looked at.
#pragma once
#include "base/arena.h"

typedef enum TomlKind {
    TOML_OTHER,  // blank, comment, or what we do not interpret
    TOML_PAIR,   // key = "value"
    TOML_TABLE,  // [name]
    TOML_ITEM,   // [[name]]
} TomlKind;

typedef struct TomlLine {
    TomlKind kind;
    Str raw;   // as it stands in the file, without the last newline; may span lines
    Str name;  // the key or the table's name
    Str value;
} TomlLine;

typedef struct TomlDoc {
    Arena *arena;  // borrowed; owns all text
    TomlLine *lines;
    size_t count, cap;
} TomlDoc;

// A section is the index of its header line; TOML_ROOT is what stands before the first header.
#define TOML_ROOT SIZE_MAX
#define TOML_NONE (SIZE_MAX - 1)

MUST_USE Err toml_parse(Arena *arena, Str text, TomlDoc *out, Diag *diag);
MUST_USE Err toml_write(const TomlDoc *doc, Buf *out);

Str toml_get(const TomlDoc *doc, size_t section, Str key);  // ptr NULL when absent
MUST_USE Err toml_set(TomlDoc *doc, size_t section, Str key, Str value);
void toml_remove(TomlDoc *doc, size_t section, Str key);

// The items [[name]], in order: pass TOML_NONE first. TOML_NONE: no more.
size_t toml_next_item(const TomlDoc *doc, Str name, size_t after);
MUST_USE Err toml_add_item(TomlDoc *doc, Str name, size_t *section);
void toml_remove_item(TomlDoc *doc, size_t section);
