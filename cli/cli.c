#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli/commands.h"

// In the order of the help.
static const CliCommand *const commands[] = {
    &command_start,    &command_init,   &command_dev,    &command_publish,  &command_build,
    &command_generate, &command_call,   &command_sql,    &command_logs,     &command_describe,
    &command_list,     &command_delete, &command_rename, &command_settings, &command_lock,
    &command_unlock,   &command_server, &command_login,  &command_logout,   &command_identity,
    &command_extract,  &command_check,  &command_backup, &command_restore,  &command_mcp,
    &command_version,
};

static const CliCommand *command_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static void print_usage(FILE *out) {
    fputs("Lightcone: a database that your application lives inside.\n\n"
          "Usage: lightcone <command> [options]\n\nCommands:\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (!commands[i]->hidden)
            fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs(
        "\nOptions:\n"
        "  --config-path FILE   use this cli.toml\n"
        "  --root-dir DIR       keep configuration and data under DIR\n"
        "  -V, --version        print the version\n"
        "  -h, --help           print this help; `lightcone <command> --help` says more\n"
        "\nStart here:\n"
        "  lightcone init --template          projects to begin with\n"
        "  lightcone dev                      build, publish and run what is in this directory, and again when it changes\n"
        "  lightcone start                    run a server on 127.0.0.1:3000\n"
        "  lightcone publish my-db            build the module in this directory and publish it\n"
        "  lightcone sql my-db \"SELECT * FROM user\"\n",
        out);
}

static void print_command_help(const CliCommand *command) {
    printf("%s\n\nUsage: lightcone %s %s\n\n", command->summary, command->name, command->usage);
    puts("Options:");
    args_print_options(command->specs);
    if (command->about) printf("\n%s", command->about);
}

// Options before the command's name. Returns the index of the first word that is not one.
static int globals_parse(int argc, char **argv) {
    int i = 1;
    while (i < argc && strncmp(argv[i], "--", 2) == 0) {
        const char *text = argv[i] + 2;
        size_t len = strcspn(text, "=");
        bool joined = text[len] == '=';
        if (!joined && i + 1 == argc) break;
        if (!cli_global_set((Str){text, len}, joined ? text + len + 1 : argv[i + 1])) break;
        i += joined ? 1 : 2;
    }
    return i;
}

// jansson's memory lives as long as everything else here, so freeing it would be work for nothing.
static void *json_arena_alloc(size_t bytes) {
    void *at = arena_alloc(cli_arena(), bytes);
    if (!at) cli_die("out of memory");
    return at;
}
static void json_arena_free(void *at) {
    (void)at;
}

static int command_run(const CliCommand *command, int argc, char **argv) {
    static Args args;
    json_set_alloc_funcs(json_arena_alloc, json_arena_free);
    // `login show` is spelled as two words, but has its own options.
    if (command == &command_login && argc > 0 && strcmp(argv[0], "show") == 0)
        command = &command_identity;
    args_parse(&args, command, argc, argv);
    if (args.help) {
        print_command_help(command);
        return 0;
    }
    if (command->unstable)
        fputs("WARNING: This command is UNSTABLE and subject to breaking changes.\n\n", stderr);
    return command->run(&args);
}

// Commands that SpacetimeDB once had.
static const char *instead_of(const char *name) {
    if (strcmp(name, "energy") == 0)
        return "Energy is not metered here: every balance is zero, and no call is refused for it.\n\n";
    if (strcmp(name, "dns") == 0) return "`lightcone rename` gives a database another name.\n\n";
    return "";
}

int cli_main(int argc, char **argv) {
    int at = globals_parse(argc, argv);
    const char *name = at < argc ? argv[at] : NULL;
    if (!name) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(name, "help") == 0 && at + 1 < argc) {
        const CliCommand *about = command_find(argv[at + 1]);
        if (about) {
            print_command_help(about);
            return 0;
        }
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        printf("lightcone %s (speaks SpacetimeDB %s)\n", CLI_VERSION, CLI_COMPAT_VERSION);
        return 0;
    }
    if (strcmp(name, "start") == 0) return start_run(argc - at, argv + at);
    if (name[0] == '-') {
        bool unfinished = strcmp(name, "--config-path") == 0 || strcmp(name, "--root-dir") == 0;
        fprintf(stderr,
                unfinished ? "error: a value is required for '%s'\n"
                           : "error: unexpected argument '%s' found\n",
                name);
        fputs(
            "\nUsage: lightcone [OPTIONS] <command> [options]\n\nFor more information, try '--help'.\n",
            stderr);
        return 2;
    }
    const CliCommand *command = command_find(name);
    if (!command) {
        fprintf(stderr,
                "error: unrecognized subcommand '%s'\n\n%sUsage: lightcone <command> [options]\n\n"
                "For more information, try '--help'.\n",
                name,
                instead_of(name));
        return 2;
    }
    return command_run(command, argc - at - 1, argv + at + 1);
}
