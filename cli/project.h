// project.h: the project file, lightcone.json or spacetime.json. Spec: cli-and-codegen §11.
//
// Found by walking up from the working directory. Layers, later ones win by top-level key:
// X.json < X.local.json < X.ENV.json < X.ENV.local.json; children inherit from the top.
#pragma once
#include "cli/json.h"

typedef struct Project {
    const char *path;       // of the first file; NULL: there is no project
    const char *directory;  // relative paths in it start here
    const char *paths[4];   // every file that was read
    int path_count;
    json_t *root;
    json_t *targets[64];  // objects with a `database`, parents first
    int target_count;
} Project;

// Read once. With ignore, or when there is none, the project is empty.
const Project *project_load(bool ignore, const char *env);
const char *project_text(json_t *object, const char *kebab_key);  // also its snake_case spelling
bool project_flag(json_t *object, const char *kebab_key);
const char *project_path(const Project *project, json_t *object, const char *key);  // made absolute
const char *project_databases(const Project *project);                              // "a, b"
bool project_matches(json_t *target, const char *glob);
// Refuse keys of a target that publish does not know.
void project_check_publish_keys(json_t *target);
