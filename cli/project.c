#include "cli/project.h"

#include <fnmatch.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const base_names[] = {"lightcone", "spacetime"};

static json_t *layer_read(Project *project, const char *path) {
    char *text = cli_file_read(path, NULL);
    if (!text) return NULL;
    json5_blank(text);
    const char *why = NULL;
    json_t *value = json_from(text, &why);
    if (value && !json_is_object(value)) why = "it is not an object";
    if (!json_is_object(value))
        cli_die(
            "Failed to parse config file %s: %s. It is JSON with comments; --no-config ignores it.",
            path,
            why);
    project->paths[project->path_count++] = path;
    return value;
}

static void layer_apply(json_t *root, json_t *layer) {
    json_t *children = json_object_get(root, "children");
    json_t *new_children = json_object_get(layer, "children");
    if (json_is_array(children) && json_is_array(new_children)) {
        for (size_t i = 0; i < json_array_size(new_children); i++) {
            json_t *old = json_array_get(children, i);
            json_t *child = json_array_get(new_children, i);
            if (json_is_object(old) && json_is_object(child))
                json_object_update(old, child);
            else
                json_array_append(children, child);
        }
        json_object_del(layer, "children");
    }
    json_object_update(root, layer);
}

static bool is_source_key(const char *key) {
    static const char *const keys[] = {"module-path",
                                       "module_path",
                                       "bin-path",
                                       "bin_path",
                                       "js-path",
                                       "js_path",
                                       "wasm-file",
                                       "wasm_file",
                                       "js-file",
                                       "js_file"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static bool has_source(json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) if (is_source_key(key)) return true;
    return false;
}

static json_t *child_inherit(json_t *parent, json_t *child) {
    json_t *whole = json_object();
    bool own_source = has_source(child);
    const char *key;
    json_t *value;
    json_object_foreach(parent, key, value) {
        bool stays = strcmp(key, "dev") == 0 || strcmp(key, "generate") == 0 ||
                     strcmp(key, "children") == 0 || (own_source && is_source_key(key));
        if (!stays) json_object_set(whole, key, value);
    }
    json_object_update(whole, child);
    return whole;
}

static void targets_collect(Project *project, json_t *object) {
    if (json_is_string(json_object_get(object, "database")) &&
        project->target_count < (int)ARRAY_LEN(project->targets))
        project->targets[project->target_count++] = object;
    size_t i;
    json_t *child;
    json_array_foreach(json_object_get(object, "children"), i, child) {
        if (json_is_object(child)) targets_collect(project, child_inherit(object, child));
    }
}

static void project_read(Project *project,
                         const char *directory,
                         const char *name,
                         const char *env) {
    const char *stem = cli_format("%s/%s", directory, name);
    const char *paths[] = {
        cli_format("%s.json", stem),
        cli_format("%s.local.json", stem),
        env ? cli_format("%s.%s.json", stem, env) : NULL,
        env ? cli_format("%s.%s.local.json", stem, env) : NULL,
    };
    project->path = paths[0];
    project->directory = directory;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        json_t *layer = paths[i] ? layer_read(project, paths[i]) : NULL;
        if (!layer) continue;
        if (!project->root) project->root = json_object();
        layer_apply(project->root, layer);
    }
    targets_collect(project, project->root);
}

const Project *project_load(bool ignore, const char *env) {
    static Project project;
    static bool loaded;
    if (ignore || loaded) return &project;
    loaded = true;
    char *cwd = getcwd(NULL, 0);
    char *directory = cli_copy(str_from(cwd ? cwd : "."));
    free(cwd);
    for (;; directory = dirname(directory)) {
        for (size_t i = 0; i < ARRAY_LEN(base_names); i++) {
            if (!cli_file_exists(cli_format("%s/%s.json", directory, base_names[i]))) continue;
            project_read(&project, directory, base_names[i], env);
            return &project;
        }
        if (strcmp(directory, "/") == 0 || strcmp(directory, ".") == 0) return &project;
    }
}

static json_t *value_of(json_t *object, const char *kebab_key) {
    json_t *value = json_object_get(object, kebab_key);
    if (value) return value;
    char *snake = cli_copy(str_from(kebab_key));
    for (char *at = snake; *at; at++)
        if (*at == '-') *at = '_';
    return json_object_get(object, snake);
}

const char *project_text(json_t *object, const char *kebab_key) {
    return json_string_value(value_of(object, kebab_key));
}

bool project_flag(json_t *object, const char *kebab_key) {
    return json_is_true(value_of(object, kebab_key));
}

const char *project_path(const Project *project, json_t *object, const char *key) {
    const char *path = project_text(object, key);
    if (path && strncmp(path, "./", 2) == 0 && path[2]) path += 2;
    return path ? cli_join(project->directory, path) : NULL;
}

const char *project_databases(const Project *project) {
    const char *all = "";
    for (int i = 0; i < project->target_count; i++)
        all =
            cli_format("%s%s%s", all, i ? ", " : "", project_text(project->targets[i], "database"));
    return all;
}

bool project_matches(json_t *target, const char *glob) {
    return fnmatch(glob, project_text(target, "database"), 0) == 0;
}

void project_check_publish_keys(json_t *target) {
    static const char known[] =
        "database, server, module-path, build-options, wasm-file, js-file, bin-path, js-path, "
        "num-replicas, break-clients, anon-identity, anonymous, parent, organization, native-aot, "
        "dotnet-version";
    static const char *const passed_over[] = {"dev", "generate", "children", "$schema"};
    const char *key;
    json_t *value;
    json_object_foreach(target, key, value) {
        char *kebab = cli_copy(str_from(key));
        for (char *at = kebab; *at; at++)
            if (*at == '_') *at = '-';
        bool ok = false;
        for (size_t i = 0; i < ARRAY_LEN(passed_over); i++)
            ok = ok || strcmp(kebab, passed_over[i]) == 0;
        const char *found = ok ? NULL : strstr(known, kebab);
        for (; found && !ok; found = strstr(found + 1, kebab)) {
            const char *end = found + strlen(kebab);
            ok = (found == known || found[-1] == ' ') && (*end == ',' || *end == 0);
        }
        if (!ok)
            cli_die("Config key '%s' is not supported in the config file. Available keys: %s",
                    key,
                    known);
    }
}
