#include "cli/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

_Noreturn void args_fail(const CliCommand *command, const char *fmt, ...) {
    va_list list;
    va_start(list, fmt);
    fputs("error: ", stderr);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fprintf(stderr,
            "\n\nUsage: lightcone %s %s\n\nFor more information, try '--help'.\n",
            command->name,
            command->usage);
    exit(2);
}

static int spec_find(const ArgSpec *specs, const char *name, size_t len, char letter) {
    for (int i = 0; specs && specs[i].kind != ARG_END; i++) {
        if (letter != 0) {
            if (specs[i].letter == letter) return i;
            continue;
        }
        const char *names[] = {specs[i].name, specs[i].alias};
        for (size_t n = 0; n < ARRAY_LEN(names); n++)
            if (names[n] && strlen(names[n]) == len && memcmp(names[n], name, len) == 0) return i;
    }
    return -1;
}

// A word that begins with a dash but is a number is a value: `lightcone call db add -5`.
static bool is_option(const char *word) {
    return word[0] == '-' && word[1] != 0 && !(word[1] >= '0' && word[1] <= '9');
}

static void option_set(Args *args, int index, const char *value) {
    bool collects = args->specs[index].kind == ARG_OPTIONAL_VALUE;
    args->given[index] = true;
    if (collects && args->value[index] && value)
        value = cli_format("%s,%s", args->value[index], value);
    if (value) args->value[index] = value;
}

static bool takes_next_word(const ArgSpec *spec, int left, char **argv) {
    if (spec->kind == ARG_MAYBE_VALUE) return left > 1 && !is_option(argv[1]);
    return spec->kind == ARG_VALUE;
}

// `--name`, `--name=value` or `--name value`. Returns how many words it used.
static int long_option(Args *args, int left, char **argv) {
    const char *text = argv[0] + 2;
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : strlen(text);
    if (len == 4 && memcmp(text, "help", 4) == 0) {
        args->help = true;
        return 1;
    }
    int index = spec_find(args->specs, text, len, 0);
    if (index < 0 && equals && cli_global_set((Str){text, len}, equals + 1)) return 1;
    if (index < 0 && left >= 2 && cli_global_set((Str){text, len}, argv[1])) return 2;
    if (index < 0) args_fail(args->command, "unexpected argument '%s' found", argv[0]);
    const ArgSpec *spec = &args->specs[index];
    if (spec->kind == ARG_FLAG && equals)
        args_fail(args->command, "unexpected value for '--%s' found", spec->name);
    if (equals || !takes_next_word(spec, left, argv)) {
        option_set(args, index, equals ? equals + 1 : NULL);
        return 1;
    }
    if (left < 2)
        args_fail(args->command, "a value is required for '--%s <%s>'", spec->name, spec->value);
    option_set(args, index, argv[1]);
    return 2;
}

// `-f`, `-n 5`, `-n5`, `-c=always`, or several flags in one word. Returns how many words it used.
static int short_options(Args *args, int left, char **argv) {
    for (const char *at = argv[0] + 1; *at; at++) {
        if (*at == 'h' && spec_find(args->specs, NULL, 0, 'h') < 0) {
            args->help = true;
            continue;
        }
        int index = spec_find(args->specs, NULL, 0, *at);
        if (index < 0) args_fail(args->command, "unexpected argument '-%c' found", *at);
        const ArgSpec *spec = &args->specs[index];
        if (spec->kind == ARG_FLAG || (spec->kind == ARG_OPTIONAL_VALUE && at[1] != '=')) {
            option_set(args, index, NULL);
            continue;
        }
        if (at[1] != 0) {
            option_set(args, index, at + 1 + (at[1] == '='));
            return 1;
        }
        if (!takes_next_word(spec, left, argv)) {
            option_set(args, index, NULL);
            return 1;
        }
        if (left < 2)
            args_fail(args->command, "a value is required for '-%c <%s>'", *at, spec->value);
        option_set(args, index, argv[1]);
        return 2;
    }
    return 1;
}

void args_parse(Args *args, const CliCommand *command, int argc, char **argv) {
    *args = (Args){.command = command, .specs = command->specs};
    for (int i = 0; i < argc;) {
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc && args->word_count < ARGS_WORDS_MAX; i++)
                args->words[args->word_count++] = argv[i];
            break;
        }
        if (is_option(argv[i])) {
            bool is_long = argv[i][1] == '-';
            i += is_long ? long_option(args, argc - i, argv + i)
                         : short_options(args, argc - i, argv + i);
            continue;
        }
        if (args->word_count == ARGS_WORDS_MAX) args_fail(command, "too many arguments");
        args->words[args->word_count++] = argv[i++];
    }
}

static int option_index(const Args *args, const char *name) {
    int index = spec_find(args->specs, name, strlen(name), 0);
    ASSERT(index >= 0 && index < ARGS_OPTIONS_MAX);
    return index;
}

bool args_has(const Args *args, const char *name) {
    return args->given[option_index(args, name)];
}

const char *args_value(const Args *args, const char *name) {
    return args->value[option_index(args, name)];
}

bool args_bool(const Args *args, const char *name, bool missing) {
    const char *value = args_value(args, name);
    if (!value) return missing;
    if (strcmp(value, "true") == 0) return true;
    if (strcmp(value, "false") == 0) return false;
    args_fail(args->command, "invalid value '%s' for '--%s': say true or false", value, name);
}

void args_print_options(const ArgSpec *specs) {
    for (int i = 0; specs && specs[i].kind != ARG_END; i++) {
        if (!specs[i].help) continue;
        char left[64] = "";
        char letter[8] = "    ";
        if (specs[i].letter) snprintf(letter, sizeof letter, "-%c, ", specs[i].letter);
        const char *open = specs[i].kind == ARG_OPTIONAL_VALUE ? "[="
                           : specs[i].kind == ARG_MAYBE_VALUE  ? " ["
                                                               : " <";
        const char *close = *open == '[' || open[1] == '[' ? "]" : ">";
        bool plain = specs[i].kind == ARG_FLAG;
        snprintf(left,
                 sizeof left,
                 "%s--%s%s%s%s",
                 letter,
                 specs[i].name,
                 plain ? "" : open,
                 plain ? "" : specs[i].value,
                 plain ? "" : close);
        printf("  %-32s %s\n", left, specs[i].help);
    }
    printf("  %-32s %s\n", "-h, --help", "Print this help");
}
