// template.h: whole projects to begin with, and the TypeScript package they use.
//
//   templates/NAME/…        one project each; template.json says what it is
//     template.json         {"place": where it stands in the list, "description": what it is}
//     _gitignore            becomes .gitignore: in this repository it would rule over the template itself
//     __NAME__ in a file    the project's name; __SERVER__: the server's; __SDK__: the package's file
//
// Both lie beside the program: in the source tree, or in share/lightcone where it is installed. The
// package is copied into the project as the one file that npm would get from a registry, so the project
// can be moved to another machine.
#pragma once
#include "cli/cli.h"

typedef struct Template {
    const char *name;
    const char *description;
    const char *directory;
    int place;  // in the list: 1 comes first
} Template;

// All of them, by their place in the list; *count is how many. Ends the process when the installation has none.
const Template *template_list(size_t *count);
// Ends the process with the list of those there are when `name` is none.
const Template *template_find(const char *name);

typedef struct TemplateValues {
    const char *name, *server, *sdk;
} TemplateValues;
// Copy it, saying each file.
void template_copy(const Template *from, const char *directory, const TemplateValues *values);

// Put the TypeScript package into the directory; gives its file's name. In a source tree it is built first.
const char *template_sdk_copy(const char *directory);

void template_file_made(const char *path);  // "✓ Created path"
