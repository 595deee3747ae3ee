// cmd_login.c: `lightcone login`, `logout`, and `identity` for `login show`. Spec: cli-and-codegen §3.
//
// There is no account to log in to on the web: a server gives out identities itself, and one token
// is kept for all servers.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/session.h"

static int show(const Args *args) {
    const char *token = config_get("spacetimedb_token");
    if (!token) {
        puts("You are not logged in. Run `lightcone login` to log in.");
        return 0;
    }
    const char *identity = session_token_identity(token);
    if (!identity)
        cli_die("The saved token is not readable. Run `lightcone login` to get a new one.");
    printf("You are logged in as %s\n", identity);
    if (args_has(args, "token")) printf("Your auth token (don't share this!) is %s\n", token);
    return 0;
}

static int identity_run(const Args *args) {
    if (args->word_count > 0 && strcmp(args->words[0], "show") != 0)
        args_fail(args->command, "unexpected argument '%s' found", args->words[0]);
    return show(args);
}

static int token_store(const char *token) {
    config_set("spacetimedb_token", token);
    config_save();
    const char *identity = session_token_identity(token);
    if (identity)
        printf("Logged in with identity %s\n", identity);
    else
        puts("Token saved.");
    return 0;
}

static int login_run(const Args *args) {
    if (args->word_count > 0)
        args_fail(args->command, "unexpected argument '%s' found", args->words[0]);
    const char *token = args_value(args, "token");
    const char *server = args_value(args, "server-issued-login");
    if (token && server)
        args_fail(args->command, "'--token' cannot be used with '--server-issued-login'");
    if (token) return token_store(token);
    if (!server) server = args_value(args, "server");
    session_login(config_server_url(server), stdout);
    return 0;
}

static int logout_run(const Args *args) {
    (void)args;
    const char *token = config_get("spacetimedb_token");
    if (!token) {
        puts("You are not logged in.");
        return 0;
    }
    const char *identity = session_token_identity(token);
    config_set("spacetimedb_token", NULL);
    config_set("web_session_token", NULL);
    config_save();
    if (identity)
        printf("Logged out (identity %s).\n", identity);
    else
        puts("Logged out.");
    return 0;
}

static const ArgSpec login_specs[] = {
    {"token", NULL, 0, ARG_VALUE, "TOKEN", "Keep this token"},
    {"server-issued-login", NULL, 0, ARG_VALUE, "URL|NAME", "Ask this server for a new identity"},
    SPEC_SERVER,
    ARG_SPECS_END,
};
static const ArgSpec show_specs[] = {
    {"token", NULL, 0, ARG_FLAG, NULL, "Print the token too"},
    ARG_SPECS_END,
};

const CliCommand command_login = {
    .name = "login",
    .usage = "[OPTIONS] | show [--token]",
    .summary = "Get an identity from a server, or keep a token",
    .about = "Without options the default server gives out a new identity.\n\n"
             "Examples:\n"
             "  lightcone login\n"
             "  lightcone login --server-issued-login http://127.0.0.1:3000\n"
             "  lightcone login show\n",
    .specs = login_specs,
    .run = login_run,
};
const CliCommand command_identity = {
    .name = "identity",
    .usage = "[show] [--token]",
    .summary = "Show who you are (the same as `login show`)",
    .about = "Example:\n  lightcone identity\n",
    .specs = show_specs,
    .run = identity_run,
};
const CliCommand command_logout = {
    .name = "logout",
    .usage = "",
    .summary = "Forget the saved token",
    .about = "Example:\n  lightcone logout\n",
    .run = logout_run,
};
