// cmd_server.c: `lightcone server …`: the servers that cli.toml knows. Spec: cli-and-codegen §10.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/http.h"

static const char *word_at(const Args *args, int index, const char *what) {
    if (index >= args->word_count)
        args_fail(args->command,
                  "the following required arguments were not provided:\n  <%s>",
                  what);
    return args->words[index];
}

static size_t server_index(const char *name) {
    size_t index = config_server_find(name);
    if (index == SIZE_MAX)
        cli_die("No such saved server configuration: %s\n"
                "Add a new server configuration with:\n\tlightcone server add %s --url <url>",
                name,
                name);
    return index;
}

static const char *server_url(const CliServer *server) {
    return cli_format("%s://%s", server->protocol, server->host);
}

static bool is_default(const CliServer *server) {
    const char *name = config_get("default_server");
    return name && ((server->nickname && strcmp(server->nickname, name) == 0) ||
                    (server->host && strcmp(server->host, name) == 0));
}

// Four columns, the first to the right, without borders.
static int server_list(const Args *args) {
    (void)args;
    size_t count = config_server_count();
    int host_width = (int)strlen("HOSTNAME"), protocol_width = (int)strlen("PROTOCOL");
    for (size_t i = 0; i < count; i++) {
        CliServer server = config_server(i);
        if (server.host) host_width = MAX(host_width, (int)strlen(server.host));
    }
    printf(" %s  %-*s  %-*s  NICKNAME\n",
           "DEFAULT",
           host_width,
           "HOSTNAME",
           protocol_width,
           "PROTOCOL");
    for (size_t i = 0; i < count; i++) {
        CliServer server = config_server(i);
        printf(" %7s  %-*s  %-*s  %s\n",
               is_default(&server) ? "***" : "",
               host_width,
               server.host ? server.host : "",
               protocol_width,
               server.protocol ? server.protocol : "",
               server.nickname ? server.nickname : "");
    }
    return 0;
}

static const char *fingerprint_fetch(const char *url) {
    HttpReply reply;
    const char *why;
    HttpCall call = {.method = "GET",
                     .url = cli_format("%s/v1/identity/public-key", url),
                     .timeout_s = 10};
    if (!http_try(&call, &reply, &why) || !http_ok(&reply))
        cli_die("Unable to retrieve fingerprint for server: %s\n"
                "Is the server running?\n"
                "Add a server without retrieving its fingerprint with:\n"
                "\tlightcone server add <name> --url %s --no-fingerprint",
                url,
                url);
    return reply.body;
}

static int server_add(const Args *args) {
    const char *name = word_at(args, 1, "NAME");
    const char *url = args_value(args, "url");
    if (!url)
        args_fail(args->command,
                  "the following required arguments were not provided:\n  --url <URL>");
    CliServer server = config_split_url(url);
    if (!server.host || !server.host[0])
        cli_die("Invalid url: %s. It must begin with http:// or https://.", url);
    server.nickname = name;
    for (size_t i = 0; i < config_server_count(); i++) {
        CliServer known = config_server(i);
        if (known.nickname && strcmp(known.nickname, name) == 0)
            cli_die(
                "Server nickname %s already in use: %s\nGive another, or change this one with `lightcone server "
                "edit %s`.",
                name,
                server_url(&known),
                name);
        if (known.host && strcmp(known.host, server.host) == 0)
            cli_die("Server already configured for host: %s\nIts nickname is %s.",
                    server.host,
                    known.nickname ? known.nickname : "not set");
    }
    if (!args_has(args, "no-fingerprint")) {
        server.fingerprint = fingerprint_fetch(server_url(&server));
        printf("For server %s, got fingerprint:\n%s\n", name, server.fingerprint);
    }
    config_server_add(&server);
    if (args_has(args, "default") || !config_get("default_server"))
        config_set("default_server", name);
    config_save();
    printf("Host: %s\nProtocol: %s\n", server.host, server.protocol);
    return 0;
}

static int server_set_default(const Args *args) {
    const char *name = word_at(args, 1, "SERVER");
    server_index(name);
    config_set("default_server", name);
    config_save();
    return 0;
}

static int server_remove(const Args *args) {
    size_t index = server_index(word_at(args, 1, "SERVER"));
    CliServer server = config_server(index);
    if (is_default(&server)) config_set("default_server", NULL);
    config_server_remove(server_index(args->words[1]));
    config_save();
    return 0;
}

static bool fingerprint_compare(const CliServer *server, const char *name, const char *now) {
    if (!server->fingerprint) {
        printf("No saved fingerprint for server %s. New fingerprint:\n%s\n", name, now);
        return false;
    }
    if (strcmp(server->fingerprint, now) == 0) {
        printf("Fingerprint is unchanged for server %s:\n%s\n", name, now);
        return true;
    }
    printf("Fingerprint has changed for server %s.\nWas:\n%s\nNew:\n%s\n",
           name,
           server->fingerprint,
           now);
    return false;
}

static int server_fingerprint(const Args *args) {
    const char *name = word_at(args, 1, "SERVER");
    size_t index = server_index(name);
    CliServer server = config_server(index);
    const char *now = fingerprint_fetch(server_url(&server));
    if (fingerprint_compare(&server, name, now)) return 0;
    if (args_has(args, "yes"))
        puts("Skipping confirmation due to --yes");
    else if (!cli_confirm("Continue?"))
        cli_die("Aborted");
    config_server_set(index, "ecdsa_public_key", now);
    config_save();
    return 0;
}

static int server_ping(const Args *args) {
    const char *url = config_server_url(args->word_count > 1 ? args->words[1] : NULL);
    HttpReply reply = http_send(
        &(HttpCall){.method = "GET", .url = cli_format("%s/v1/ping", url), .timeout_s = 10});
    if (http_ok(&reply))
        printf("Server is online: %s\n", url);
    else if (reply.status == 404)
        printf("Server returned 404 (Not Found): %s\n", url);
    else
        printf("Server could not be reached (%d %s): %s\n",
               reply.status,
               http_status_text(reply.status),
               url);
    return 0;
}

static int server_edit(const Args *args) {
    const char *name = word_at(args, 1, "SERVER");
    size_t index = server_index(name);
    CliServer old = config_server(index);
    const char *nickname = args_value(args, "new-name");
    const char *url = args_value(args, "url");
    CliServer to = url ? config_split_url(url) : old;
    if (!nickname && !url) args_fail(args->command, "say what to change: --new-name or --url");
    if (!to.host || !to.host[0])
        cli_die("Invalid url: %s. It must begin with http:// or https://.", url);
    if (nickname) printf("Changing nickname from %s to %s\n", old.nickname, nickname);
    if (url && strcmp(old.host, to.host) != 0)
        printf("Changing host from %s to %s\n", old.host, to.host);
    if (url && strcmp(old.protocol, to.protocol) != 0)
        printf("Changing protocol from %s to %s\n", old.protocol, to.protocol);
    if (args_has(args, "yes"))
        puts("Skipping confirmation due to --yes");
    else if (!cli_confirm("Continue?"))
        cli_die("Aborted");
    if (nickname && is_default(&old)) config_set("default_server", nickname);
    index = server_index(name);
    if (nickname) config_server_set(index, "nickname", nickname);
    config_server_set(index, "host", to.host);
    config_server_set(index, "protocol", to.protocol);
    config_save();
    return 0;
}

static int server_run(const Args *args) {
    static const struct {
        const char *name;
        int (*run)(const Args *args);
        int words_max;
    } actions[] = {
        {"list", server_list, 1},
        {"add", server_add, 2},
        {"set-default", server_set_default, 2},
        {"remove", server_remove, 2},
        {"fingerprint", server_fingerprint, 2},
        {"ping", server_ping, 2},
        {"edit", server_edit, 2},
    };
    const char *name = word_at(args, 0, "SUBCOMMAND");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].name, name) != 0) continue;
        if (args->word_count > actions[i].words_max)
            args_fail(args->command,
                      "unexpected argument '%s' found",
                      args->words[actions[i].words_max]);
        return actions[i].run(args);
    }
    args_fail(args->command, "unrecognized subcommand '%s'", name);
}

static const ArgSpec specs[] = {
    {"url", NULL, 0, ARG_VALUE, "URL", "add, edit: where the server is"},
    {"default", NULL, 'd', ARG_FLAG, NULL, "add: make it the default server"},
    {"no-fingerprint", NULL, 0, ARG_FLAG, NULL, "add: do not ask the server for its public key"},
    {"new-name", NULL, 0, ARG_VALUE, "NAME", "edit: another nickname"},
    SPEC_YES,
    ARG_SPECS_END,
};
const CliCommand command_server = {
    .name = "server",
    .usage = "<list|add|set-default|remove|edit|fingerprint|ping> [OPTIONS] [SERVER]",
    .summary = "Manage the servers this command knows",
    .about = "Examples:\n"
             "  lightcone server list\n"
             "  lightcone server add staging --url https://db.example.com --default\n"
             "  lightcone server ping staging\n",
    .specs = specs,
    .run = server_run,
    .unstable = true,
};
