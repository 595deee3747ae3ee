#include "cli/template.h"

#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/json.h"
#include "cli/tool.h"

enum { TEMPLATES_MAX = 32 };

static const char *beside(const char *relative) {
    return cli_format("%s/%s", dirname(cli_copy(str_from(cli_globals()->exe))), relative);
}

// ── which there are ────────────────────────────────────────────────────────────────────────────

static const char *templates_directory(void) {
    const char *places[] = {
        beside("../templates"),                  // build/lightcone
        beside("../../templates"),               // build/release/lightcone
        beside("../share/lightcone/templates"),  // installed
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (cli_file_exists(cli_join(places[i], "basic-ts/template.json"))) return places[i];
    cli_die(
        "The templates are not where they belong beside %s: looked in ../templates and "
        "../share/lightcone/templates. Install Lightcone again, or say --lang c or --lang typescript "
        "for a module alone.",
        cli_globals()->exe);
}

// The one to begin with first; those that say no place come last.
static int by_place(const void *a, const void *b) {
    const Template *x = a, *y = b;
    return x->place != y->place ? (x->place > y->place) - (x->place < y->place)
                                : strcmp(x->name, y->name);
}

const Template *template_list(size_t *count) {
    static Template list[TEMPLATES_MAX];
    const char *root = templates_directory();
    *count = 0;
    DIR *dir = opendir(root);
    if (!dir) return list;
    for (const struct dirent *entry; (entry = readdir(dir)) && *count < TEMPLATES_MAX;) {
        const char *directory = cli_join(root, entry->d_name);
        const char *text = cli_file_read(cli_join(directory, "template.json"), NULL);
        json_t *about = text ? json_from(text, NULL) : NULL;
        const char *description = json_text_at(about, "description");
        json_t *place = json_object_get(about, "place");
        if (description)
            list[(*count)++] = (Template){
                .name = cli_copy(str_from(entry->d_name)),
                .description = description,
                .directory = directory,
                .place = json_is_integer(place) ? (int)json_integer_value(place) : INT_MAX,
            };
    }
    closedir(dir);
    qsort(list, *count, sizeof *list, by_place);
    return list;
}

const Template *template_find(const char *name) {
    size_t count;
    const Template *list = template_list(&count);
    const char *names = "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, name) == 0) return &list[i];
        names = cli_format("%s%s%s", names, i ? ", " : "", list[i].name);
    }
    cli_die("There is no template '%s'. There are: %s.", name, names);
}

// ── copying ────────────────────────────────────────────────────────────────────────────────────

void template_file_made(const char *path) {
    printf("✓ Created %s\n", path);
}

static void text_fill(Buf *out, const char *text, const TemplateValues *values) {
    const struct {
        const char *mark, *value;
    } marks[] = {{"__NAME__", values->name},
                 {"__SERVER__", values->server},
                 {"__SDK__", values->sdk}};
    while (*text) {
        size_t plain = strcspn(text, "_");
        buf_put(out, text, plain);
        text += plain;
        size_t skip = 0;
        for (size_t i = 0; i < ARRAY_LEN(marks) && !skip; i++) {
            if (strncmp(text, marks[i].mark, strlen(marks[i].mark)) != 0) continue;
            buf_put_str(out, str_from(marks[i].value));
            skip = strlen(marks[i].mark);
        }
        if (!skip && *text) {
            buf_put_u8(out, (uint8_t)*text);
            skip = 1;
        }
        text += skip;
    }
    if (!buf_ok(out)) cli_die("out of memory");
}

// What a developer's own trial of the template has left in it belongs to them.
static bool is_ours(const char *name) {
    static const char *const left[] = {"template.json",
                                       "node_modules",
                                       "dist",
                                       "build",
                                       "module_bindings"};
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        if (strcmp(name, left[i]) == 0) return false;
    return name[0] != '.';
}

static void tree_copy(const char *from,
                      const char *to,
                      const char *under,
                      const TemplateValues *values) {
    struct dirent **entries;
    const char *directory = *under ? cli_join(from, under) : from;
    int count = scandir(directory, &entries, NULL, alphasort);
    if (count < 0) cli_die("Could not read %s.", directory);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!is_ours(name)) continue;
        const char *made = strcmp(name, "_gitignore") == 0 ? ".gitignore" : name;
        const char *relative = *under ? cli_format("%s/%s", under, made) : cli_copy(str_from(made));
        const char *path = cli_join(directory, name);
        if (cli_dir_exists(path)) {
            tree_copy(from, to, relative, values);
            continue;
        }
        Buf text = {0};
        const char *source = cli_file_read(path, NULL);
        if (!source)
            cli_die("The template's file %s cannot be read. Install Lightcone again.", path);
        text_fill(&text, source, values);
        cli_file_write(cli_join(to, relative), buf_bytes(&text));
        buf_deinit(&text);
        template_file_made(relative);
    }
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

void template_copy(const Template *from, const char *directory, const TemplateValues *values) {
    tree_copy(from->directory, directory, "", values);
}

// ── the package ────────────────────────────────────────────────────────────────────────────────

// In a source tree the package is made when it is wanted.
static const char *sdk_pack(const char *directory) {
    const char *pack = cli_join(directory, "pack");
    if (!cli_file_exists(pack)) return NULL;
    char *words[] = {(char *)pack, NULL};
    if (tool_run(directory, words) != 0)
        cli_die(
            "The TypeScript package could not be built in %s. `tools/deps` installs what that needs.",
            directory);
    return cli_join(directory, "../../build/share");
}

static const char *sdk_in(const char *directory, const char **name) {
    DIR *dir = opendir(directory);
    if (!dir) return NULL;
    *name = NULL;
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (strncmp(entry->d_name, "lightcone-", 10) == 0 && strstr(entry->d_name, ".tgz"))
            *name = cli_copy(str_from(entry->d_name));
    closedir(dir);
    return *name ? cli_join(directory, *name) : NULL;
}

const char *template_sdk_copy(const char *directory) {
    const char *places[] = {
        sdk_pack(beside("../sdk/typescript")),
        sdk_pack(beside("../../sdk/typescript")),
        beside("../share/lightcone"),
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *name, *path = places[i] ? sdk_in(places[i], &name) : NULL;
        if (!path) continue;
        size_t len = 0;
        const char *content = cli_file_read(path, &len);
        if (!content) continue;
        cli_file_write(cli_join(directory, name), BYTES(content, len));
        template_file_made(name);
        return name;
    }
    cli_die(
        "The TypeScript package is not where it belongs beside %s: looked for lightcone-*.tgz in "
        "../share/lightcone. Install Lightcone again.",
        cli_globals()->exe);
}
