// cmd_start.c: `lightcone start`, `version` and `extract-schema`. Spec: cli-and-codegen §10, §16.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/module.h"
#include "node/node.h"

enum { START_WORDS_MAX = 64 };

// Where data lives and where to listen unless the words that follow say otherwise: the last flag
// wins.
int start_run(int argc, char **argv) {
    char *words[START_WORDS_MAX + 8];
    int count = 0;
    words[count++] = argv[0];
    words[count++] = cli_format("--data-dir");
    words[count++] = cli_copy(str_from(config_data_directory()));
    if (cli_globals()->root_dir) {
        words[count++] = cli_format("--jwt-key-dir");
        words[count++] = cli_copy(str_from(config_directory()));
    }
    const char *listen = config_get("listen_addr");
    if (listen) {
        words[count++] = cli_format("--listen-addr");
        words[count++] = cli_copy(str_from(listen));
    }
    if (argc > START_WORDS_MAX) cli_die("too many arguments");
    for (int i = 1; i < argc; i++)
        words[count++] = argv[i];
    words[count] = NULL;
    return node_start_command(count, words);
}

static int version_run(const Args *args) {
    if (args->word_count > 0 && strcmp(args->words[0], "list") == 0) {
        printf("%s (current)\n", CLI_VERSION);
        return 0;
    }
    if (args->word_count > 0)
        cli_die("This is a single-version installation: `version %s` is not supported.",
                args->words[0]);
    printf("lightcone %s\nPath: %s\nSpeaks SpacetimeDB %s\n",
           CLI_VERSION,
           cli_globals()->exe,
           CLI_COMPAT_VERSION);
    return 0;
}

static int extract_run(const Args *args) {
    if (args->word_count != 1)
        args_fail(args->command, "the following required arguments were not provided:\n  <FILE>");
    const char *path = args->words[0];
    HostKind kind = module_kind(path);
    const char *type = args_value(args, "host-type");
    if (type && strcmp(type, "wasm") != 0 && strcmp(type, "js") != 0)
        args_fail(args->command, "invalid value '%s' for '--host-type': say wasm or js", type);
    if (type) kind = strcmp(type, "wasm") == 0 ? HOST_WASM : HOST_JS;
    const ModuleDef *def = module_definition(path, kind);
    Buf out = {0};
    Diag diag = {0};
    if (moduledef_write_json(def, def->version, true, &out, &diag) != OK) cli_die("%s", diag.text);
    puts(cli_buf_text(&out));
    return 0;
}

static const ArgSpec extract_specs[] = {
    {"host-type", NULL, 0, ARG_VALUE, "wasm|js", "What the file is (from its name)"},
    ARG_SPECS_END,
};

const CliCommand command_start = {
    .name = "start",
    .usage = "[OPTIONS]",
    .summary = "Run the server",
};
const CliCommand command_version = {
    .name = "version",
    .usage = "[list]",
    .summary = "Print the version and where the program is",
    .about = "Example:\n  lightcone version\n",
    .run = version_run,
};
const CliCommand command_extract = {
    .name = "extract-schema",
    .usage = "[OPTIONS] <FILE>",
    .summary = "Print what a compiled module declares, as JSON",
    .about = "Example:\n  lightcone extract-schema dist/bundle.js\n",
    .specs = extract_specs,
    .run = extract_run,
    .hidden = true,
};
