// cmd_mcp.c: `lightcone mcp`: a server's Model Context Protocol over stdin and stdout, for programs that
// start their tools instead of asking them over HTTP. Spec: cli-and-codegen §10.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/session.h"

static void bridge(const char *url, const char *token, const char *line, size_t len) {
    const HttpCall call = {.method = "POST",
                           .url = url,
                           .token = token,
                           .content_type = "application/json",
                           .body = BYTES(line, len)};
    HttpReply reply;
    const char *why = NULL;
    if (!http_try(&call, &reply, &why)) {
        fprintf(stderr, "%s: %s\n", url, why);
    } else if (reply.status == 200) {
        puts(reply.body);
        fflush(stdout);
    } else if (reply.status != 202) {
        fprintf(stderr, "%s: %s\n", http_status_line(&reply), reply.body);
    }
}

static int mcp_run(const Args *args) {
    const char *database = args->word_count ? args->words[0] : getenv("SPACETIMEDB_DB_NAME");
    const char *base = config_server_url(args_value(args, "server"));
    const char *token = args_has(args, "anonymous") ? NULL : config_get("spacetimedb_token");
    if (args->word_count > 1)
        args_fail(args->command, "unexpected argument '%s' found", args->words[1]);
    const char *url = database ? cli_format("%s/v1/database/%s/mcp", base, http_encode(database))
                               : cli_format("%s/v1/mcp", base);
    fprintf(stderr, "Serving MCP over stdio, bridging to %s\n", url);
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) > 0) {
        while (len > 0 && strchr("\r\n", line[len - 1]))
            len--;
        if (len > 0) bridge(url, token, line, (size_t)len);
    }
    free(line);
    return 0;
}

static const ArgSpec specs[] = {
    SPEC_ANON,
    SPEC_SERVER,
    ARG_SPECS_END,
};
const CliCommand command_mcp = {
    .name = "mcp",
    .usage = "[OPTIONS] [DATABASE]",
    .summary = "Offer databases as tools to a language model",
    .about =
        "Speaks the Model Context Protocol over stdin and stdout. Without a database: all of the\n"
        "server's. The same is at POST /v1/mcp and /v1/database/NAME/mcp of the server.\n"
        "\n"
        "Example, in a program's configuration:\n"
        "  {\"command\": \"lightcone\", \"args\": [\"mcp\", \"my-db\"]}\n",
    .specs = specs,
    .run = mcp_run,
    .unstable = true,
};
