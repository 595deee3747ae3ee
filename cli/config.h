// config.h: cli.toml, the servers it names and the one token it keeps. Spec: cli-and-codegen §2.
#pragma once
#include "cli/cli.h"

typedef struct CliServer {
    const char *nickname;     // NULL when it has none
    const char *host;         // "127.0.0.1:3000"
    const char *protocol;     // "http"
    const char *fingerprint;  // the server's public key as PEM, or NULL
} CliServer;

const char *config_path(void);            // where cli.toml is
const char *config_directory(void);       // where keys and cli.toml are
const char *config_data_directory(void);  // under --root-dir, else the user's

// Read once; a missing file means one server, `local`, at http://127.0.0.1:3000.
const char *config_get(const char *key);              // NULL when absent
void config_set(const char *key, const char *value);  // NULL removes it
size_t config_server_count(void);
CliServer config_server(size_t index);
size_t config_server_find(const char *name_or_host);  // SIZE_MAX: none
void config_server_add(const CliServer *server);
void config_server_set(size_t index, const char *key, const char *value);
void config_server_remove(size_t index);
// Write the file back and say so on stderr. Its permissions keep the token private.
void config_save(void);

// The base URL, without a slash at its end, for `--server ARG`; NULL means the default server.
// Ends the process with advice when there is no such server.
const char *config_server_url(const char *server);
// Split a URL. NULL without a scheme.
CliServer config_split_url(const char *url);
