#include "cli/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/toml.h"

static const char default_text[] = "default_server = \"local\"\n\n"
                                   "[[server_configs]]\n"
                                   "nickname = \"local\"\n"
                                   "host = \"127.0.0.1:3000\"\n"
                                   "protocol = \"http\"\n";
static const Str servers = STR("server_configs");

static const char *user_directory(const char *variable, const char *under_home) {
    const char *base = getenv(variable);
    if (base && base[0] == '/') return cli_join(base, "lightcone");
    const char *home = getenv("HOME");
    return cli_format("%s/%s/lightcone", home ? home : ".", under_home);
}

const char *config_directory(void) {
    const char *root = cli_globals()->root_dir;
    return root ? cli_join(root, "config") : user_directory("XDG_CONFIG_HOME", ".config");
}

const char *config_data_directory(void) {
    const char *root = cli_globals()->root_dir;
    return cli_join(root ? root : user_directory("XDG_DATA_HOME", ".local/share"), "data");
}

const char *config_path(void) {
    const char *given = cli_globals()->config_path;
    return given ? given : cli_join(config_directory(), "cli.toml");
}

static TomlDoc *config_doc(void) {
    static TomlDoc doc;
    if (doc.arena) return &doc;
    size_t len = 0;
    const char *text = cli_file_read(config_path(), &len);
    Diag diag = {0};
    Str content = text ? (Str){text, len} : str_from(default_text);
    if (toml_parse(cli_arena(), content, &doc, &diag) != OK) {
        size_t line = 1;
        for (size_t i = 0; i < diag.at && i < content.len; i++)
            line += content.ptr[i] == '\n';
        cli_die("Failed to parse config file %s: line %zu: %s", config_path(), line, diag.text);
    }
    return &doc;
}

static const char *text_of(Str value) {
    return value.ptr ? cli_copy(value) : NULL;
}

static void memory_check(Err err) {
    if (err != OK) cli_die("%s", err_text(err));
}

const char *config_get(const char *key) {
    return text_of(toml_get(config_doc(), TOML_ROOT, str_from(key)));
}

void config_set(const char *key, const char *value) {
    if (value)
        memory_check(toml_set(config_doc(), TOML_ROOT, str_from(key), str_from(value)));
    else
        toml_remove(config_doc(), TOML_ROOT, str_from(key));
}

static size_t server_section(size_t index) {
    size_t section = toml_next_item(config_doc(), servers, TOML_NONE);
    while (section != TOML_NONE && index-- > 0)
        section = toml_next_item(config_doc(), servers, section);
    return section;
}

size_t config_server_count(void) {
    size_t count = 0;
    while (server_section(count) != TOML_NONE)
        count++;
    return count;
}

CliServer config_server(size_t index) {
    const TomlDoc *doc = config_doc();
    size_t section = server_section(index);
    return (CliServer){
        .nickname = text_of(toml_get(doc, section, STR("nickname"))),
        .host = text_of(toml_get(doc, section, STR("host"))),
        .protocol = text_of(toml_get(doc, section, STR("protocol"))),
        .fingerprint = text_of(toml_get(doc, section, STR("ecdsa_public_key"))),
    };
}

// A nickname first, then a host.
size_t config_server_find(const char *name_or_host) {
    size_t count = config_server_count();
    for (int by_host = 0; by_host < 2; by_host++) {
        for (size_t i = 0; i < count; i++) {
            CliServer server = config_server(i);
            const char *is = by_host ? server.host : server.nickname;
            if (is && strcmp(is, name_or_host) == 0) return i;
        }
    }
    return SIZE_MAX;
}

void config_server_set(size_t index, const char *key, const char *value) {
    memory_check(toml_set(config_doc(), server_section(index), str_from(key), str_from(value)));
}

void config_server_add(const CliServer *server) {
    size_t section;
    memory_check(toml_add_item(config_doc(), servers, &section));
    size_t index = config_server_count() - 1;
    if (server->nickname) config_server_set(index, "nickname", server->nickname);
    config_server_set(index, "host", server->host);
    config_server_set(index, "protocol", server->protocol);
    if (server->fingerprint) config_server_set(index, "ecdsa_public_key", server->fingerprint);
}

void config_server_remove(size_t index) {
    toml_remove_item(config_doc(), server_section(index));
}

void config_save(void) {
    Buf out = {0};
    memory_check(toml_write(config_doc(), &out));
    mode_t before = umask(0077);  // the file holds a token
    cli_file_write(config_path(), buf_bytes(&out));
    umask(before);
    buf_deinit(&out);
    fprintf(stderr, "Saving config to %s.\n", config_path());
}

CliServer config_split_url(const char *url) {
    const char *scheme_end = strstr(url, "://");
    if (!scheme_end) return (CliServer){0};
    const char *host = scheme_end + 3;
    return (CliServer){
        .protocol = cli_copy((Str){url, (size_t)(scheme_end - url)}),
        .host = cli_copy((Str){host, strcspn(host, "/")}),
    };
}

static const char *without_slashes(const char *url) {
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    return cli_copy((Str){url, len});
}

const char *config_server_url(const char *server) {
    if (server && strstr(server, "://")) return without_slashes(server);
    const char *name = server ? server : config_get("default_server");
    if (!name)
        cli_die("No default server configuration.\n"
                "Set an existing server as the default with:\n"
                "\tlightcone server set-default <server>\n"
                "Or add a new server which will become the default:\n"
                "\tlightcone server add <name> --url <url> --default");
    size_t index = config_server_find(name);
    if (index == SIZE_MAX)
        cli_die("No such saved server configuration: %s\n"
                "Add a new server configuration with:\n"
                "\tlightcone server add %s --url <url>",
                name,
                name);
    CliServer found = config_server(index);
    return cli_format("%s://%s",
                      found.protocol ? found.protocol : "http",
                      found.host ? found.host : "");
}
