#include "cli/client_env.h"

#include "cli/json.h"

static const char *const prefixes[] =
    {"", "VITE_", "NEXT_PUBLIC_", "REACT_APP_", "EXPO_PUBLIC_", "PUBLIC_"};

static json_t *package_read(const char *directory) {
    const char *text = cli_file_read(cli_join(directory, "package.json"), NULL);
    return text ? json_from(text, NULL) : NULL;
}

bool client_depends_on(const char *directory, const char *package) {
    static const char *const kinds[] = {"dependencies", "devDependencies", "peerDependencies"};
    json_t *json = package_read(directory);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (json_object_get(json_object_get(json, kinds[i]), package)) return true;
    return false;
}

static const char *stem(const char *directory) {
    return client_depends_on(directory, "spacetimedb") ? "SPACETIMEDB" : "LIGHTCONE";
}

// The line of this name replaced, or one more at the end.
static const char *line_set(const char *text, const char *name, const char *value) {
    Buf out = {0};
    size_t len = strlen(name);
    bool found = false;
    while (*text) {
        size_t line = strcspn(text, "\n");
        bool ours = line > len && strncmp(text, name, len) == 0 && text[len] == '=';
        if (ours)
            buf_printf(&out, "%s=%s\n", name, value);
        else
            buf_printf(&out, "%.*s\n", (int)line, text);
        found = found || ours;
        text += line + (text[line] == '\n');
    }
    if (!found) buf_printf(&out, "%s=%s\n", name, value);
    return cli_buf_text(&out);
}

bool client_env_update(const char *directory, const char *database, const char *base_url) {
    if (!package_read(directory)) return false;
    const char *path = cli_join(directory, ".env.local");
    const char *before = cli_file_read(path, NULL);
    const char *text = before ? before : "";
    const char *what = stem(directory);
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        text = line_set(text, cli_format("%s%s_DB_NAME", prefixes[i], what), database);
        text = line_set(text, cli_format("%s%s_HOST", prefixes[i], what), base_url);
    }
    if (before && strcmp(before, text) == 0) return false;
    cli_file_write(path, str_bytes(str_from(text)));
    return true;
}

const char *const *client_env_list(const char *directory,
                                   const char *database,
                                   const char *base_url) {
    static const char *list[3];
    const char *what = stem(directory);
    list[0] = cli_format("%s_DB_NAME=%s", what, database);
    list[1] = cli_format("%s_HOST=%s", what, base_url);
    return list;
}
