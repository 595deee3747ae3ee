// cmd_logs.c: `lightcone logs`: the server's JSON lines as lines for people. Spec: cli-and-codegen §8.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/satn.h"
#include "cli/session.h"

// From the least to the most important.
static const char *const level_names[] = {"trace", "debug", "info", "warn", "error", "panic"};

typedef struct LogPrinter {
    Buf line;   // what has come of the next line so far
    int level;  // the least to show
    bool exact, json, colour;
    const char *prefix;  // of each line
} LogPrinter;

static int level_index(const char *name) {
    for (int i = 0; name && i < (int)ARRAY_LEN(level_names); i++)
        if (str_eq_nocase(str_from(name), str_from(level_names[i]))) return i;
    return -1;
}

static const char *level_colour(int level) {
    static const char *const colours[] =
        {"\033[2m", "\033[36m", "\033[32m", "\033[33m", "\033[31m", "\033[1;31m"};
    return level >= 0 ? colours[level] : "";
}

// Following may last for weeks, so nothing here may come from the process's arena.
static const char *text_of(json_t *record, const char *key) {
    return json_string_value(json_object_get(record, key));
}

static const char *shown(json_t *record, const char *key) {
    const char *text = text_of(record, key);
    return text && strcmp(text, "__spacetimedb__") != 0 ? text : NULL;
}

static void time_print(Buf *out, int64_t micros) {
    int digits = micros % 1000000 == 0 ? 0 : micros % 1000 == 0 ? 3 : 6;
    satn_write_time(out, micros, digits);
    buf_put_u8(out, 'Z');
}

static void record_print(const LogPrinter *printer, json_t *record, int level) {
    Buf out = {0};
    const char *name = text_of(record, "level");
    char upper[16] = "";
    for (size_t i = 0; name && name[i] && i + 1 < sizeof upper; i++)
        upper[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i]);
    buf_printf(&out, "%s", printer->prefix);
    time_print(&out, json_integer_value(json_object_get(record, "ts")));
    const char *on = printer->colour ? level_colour(level) : "";
    buf_printf(&out, " %s%5s%s: ", on, upper, *on ? "\033[0m" : "");
    const char *function = shown(record, "function");
    const char *filename = shown(record, "filename");
    json_t *line = json_object_get(record, "line_number");
    if (function) buf_printf(&out, "%s", function);
    if (filename) buf_printf(&out, "%s%s", function ? " " : "", filename);
    if (filename && json_is_integer(line))
        buf_printf(&out, ":%lld", (long long)json_integer_value(line));
    if (function || filename) buf_put_str(&out, STR(": "));
    const char *message = text_of(record, "message");
    buf_printf(&out, "%s\n", message ? message : "");
    size_t i;
    json_t *frame;
    json_array_foreach(json_object_get(record, "trace"), i, frame) {
        const char *module = text_of(frame, "module_name");
        const char *in = text_of(frame, "func_name");
        buf_printf(&out, "    in %s :: %s\n", module ? module : "?", in ? in : "?");
    }
    fwrite(out.ptr, 1, out.len, stdout);
    buf_deinit(&out);
}

static void line_print(LogPrinter *printer) {
    buf_put_u8(&printer->line, 0);
    if (!buf_ok(&printer->line)) cli_die("out of memory");
    const char *text = (const char *)printer->line.ptr;
    json_t *record = text[0] ? json_loads(text, 0, NULL) : NULL;
    int level = level_index(text_of(record, "level"));
    bool wanted = printer->exact ? level == printer->level : level >= printer->level;
    if (record && wanted) {
        if (printer->json)
            puts(text);
        else
            record_print(printer, record, level);
        fflush(stdout);
    } else if (!record && text[0]) {
        puts(text);  // not ours to hide
    }
    json_decref(record);
    buf_clear(&printer->line);
}

static void on_piece(void *ctx, Bytes piece) {
    LogPrinter *printer = ctx;
    for (size_t i = 0; i < piece.len; i++) {
        if (piece.ptr[i] == '\n')
            line_print(printer);
        else
            buf_put_u8(&printer->line, piece.ptr[i]);
    }
}

static const char *logs_query(const Args *args) {
    const char *lines = args_value(args, "num-lines");
    bool follow = args_has(args, "follow");
    if (lines && (!*lines || lines[strspn(lines, "0123456789")] != 0))
        args_fail(args->command, "invalid value '%s' for '--num-lines': say a number", lines);
    if (!lines && follow) lines = "10";
    return cli_format("/logs?follow=%s%s%s",
                      follow ? "true" : "false",
                      lines ? "&num_lines=" : "",
                      lines ? lines : "");
}

static int logs_run(const Args *args) {
    const char *format = args_value(args, "format");
    if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
        args_fail(args->command, "invalid value '%s' for '--format': say text or json", format);
    LogPrinter printer = {.json = format && format[0] == 'j',
                          .exact = args_has(args, "level-exact")};
    const char *level = args_value(args, "level");
    printer.level = level ? level_index(level) : 0;
    if (printer.level < 0)
        args_fail(args->command,
                  "invalid value '%s' for '--level': say trace, debug, info, warn, error or panic",
                  level);
    if (printer.exact && !level) args_fail(args->command, "'--level-exact' needs '--level'");
    printer.prefix = args_value(args, "prefix") ? args_value(args, "prefix") : "";
    printer.colour = cli_wants_colour(STDOUT_FILENO);
    const char *query = logs_query(args);
    json_set_alloc_funcs(malloc, free);
    DbArg db = session_database(args, DB_ARG_ONE, NULL);
    HttpReply reply = http_send(&(HttpCall){
        .method = "GET",
        .url = target_url(&db.target, query),
        .token = db.target.token,
        .on_piece = on_piece,
        .ctx = &printer,
    });
    http_expect_ok(&reply);
    if (printer.line.len > 0) line_print(&printer);
    buf_deinit(&printer.line);
    return 0;
}

static const ArgSpec specs[] = {
    {"prefix", NULL, 0, ARG_VALUE, "TEXT", NULL},
    {"num-lines", NULL, 'n', ARG_VALUE, "N", "Only the last N lines"},
    {"follow", NULL, 'f', ARG_FLAG, NULL, "Go on printing lines as they are written"},
    {"format", NULL, 0, ARG_VALUE, "text|json", "Lines for people, or the server's JSON"},
    {"level",
     NULL,
     'l',
     ARG_VALUE,
     "LEVEL",
     "This level and above: trace debug info warn error panic"},
    {"level-exact", NULL, 0, ARG_FLAG, NULL, "Only that level"},
    SPEC_YES,
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
const CliCommand command_logs = {
    .name = "logs",
    .usage = "[OPTIONS] [DATABASE]",
    .summary = "Print a database's log",
    .about = "Examples:\n"
             "  lightcone logs my-db -n 20\n"
             "  lightcone logs my-db -f -l warn\n",
    .specs = specs,
    .run = logs_run,
};
