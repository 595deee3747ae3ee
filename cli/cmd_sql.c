// cmd_sql.c: `lightcone sql`: a query's rows as a table on stdout. Spec: cli-and-codegen §7.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/prompt.h"
#include "cli/satn.h"
#include "cli/session.h"
#include "cli/table_print.h"

static const char *column_name(json_t *element, size_t index) {
    const char *name = json_text_at(element, "name.some");
    return name ? name : cli_format("column %zu", index);
}

static void result_print(Buf *out, json_t *result) {
    json_t *elements = json_at(result, "schema.elements");
    json_t *rows = json_object_get(result, "rows");
    size_t columns = json_array_size(elements);
    if (columns == 0) {
        buf_put_u8(out, '\n');
        return;
    }
    size_t row_count = json_array_size(rows);
    const char **cells = arena_array(cli_arena(), const char *, columns *(row_count + 1));
    if (!cells) cli_die("out of memory");
    for (size_t c = 0; c < columns; c++)
        cells[c] = column_name(json_array_get(elements, c), c);
    for (size_t i = 0; i < columns * row_count; i++) {
        Buf cell = {0};
        json_t *element = json_array_get(elements, i % columns);
        json_t *row = json_array_get(rows, i / columns);
        satn_write(&cell,
                   json_object_get(element, "algebraic_type"),
                   json_array_get(row, i % columns));
        cells[columns + i] = cli_buf_text(&cell);
    }
    table_print(out, cells, columns, row_count);
}

static const char *duration_text(double seconds) {
    if (seconds >= 1) return cli_format("%.2fs", seconds);
    if (seconds >= 1e-3) return cli_format("%.2fms", seconds * 1e3);
    return cli_format("%.2fµs", seconds * 1e6);
}

static long count_at(json_t *result, const char *path) {
    const char *text = json_text_at(result, path);
    return text ? atol(text) : 0;
}

// "(1 row) [inserted: 1, server: 1.00ms]", as the interactive form ends an answer.
static void result_note(json_t *result) {
    size_t rows = json_array_size(json_object_get(result, "rows"));
    printf("(%zu row%s) [", rows, rows == 1 ? "" : "s");
    static const char *const counters[] = {"inserted", "deleted", "updated"};
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        long count = count_at(result, cli_format("stats.rows_%s", counters[i]));
        if (count) printf("%s: %ld, ", counters[i], count);
    }
    printf("server: %s]\n", duration_text((double)count_at(result, "total_duration_micros") / 1e6));
}

static void answer_print(const char *body, bool notes) {
    const char *why = NULL;
    json_t *results = json_from(json_quote_numbers(body), &why);
    if (!json_is_array(results)) cli_die("The server's answer is not a list of results: %s", body);
    size_t i;
    json_t *result;
    json_array_foreach(results, i, result) {
        Buf out = {0};
        if (i) buf_put_u8(&out, '\n');
        result_print(&out, result);
        fputs(cli_buf_text(&out), stdout);
        if (notes) result_note(result);
    }
}

static HttpReply query_send(const CliTarget *target, const char *query, const char *confirmed) {
    const char *after = confirmed ? cli_format("/sql?confirmed=%s", confirmed) : "/sql";
    return http_send(&(HttpCall){
        .method = "POST",
        .url = target_url(target, after),
        .token = target->token,
        .content_type = "text/plain",
        .body = str_bytes(str_from(query)),
    });
}

static double seconds_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const char interactive_help[] =
    "Write one statement a line:\n"
    "  SELECT … FROM t [JOIN u ON …] [WHERE …] [GROUP BY …] [ORDER BY …] [LIMIT n] [OFFSET n]\n"
    "  INSERT INTO t (…) VALUES (…), …    UPDATE t SET … [WHERE …]    DELETE FROM t [WHERE …]\n"
    "  EXPLAIN [ANALYZE] SELECT …         SET row_limit = n           SHOW row_limit\n"
    "  SELECT table_name FROM st_table WHERE table_type = 'user'      the tables there are\n"
    ".help shows this, .clear clears the screen, .exit or Ctrl-D leaves.\n";

// False: that was not a statement but a word for the prompt.
static bool is_statement(const char *line) {
    if (strcmp(line, ".help") == 0) {
        fputs(interactive_help, stdout);
    } else if (strcmp(line, ".clear") == 0) {
        fputs("\033[2J\033[H", stdout);
    } else {
        return line[0] != 0;
    }
    return false;
}

static void answer_line(const CliTarget *target,
                        const char *line,
                        const char *confirmed,
                        bool as_json) {
    double began = seconds_now();
    HttpReply reply = query_send(target, line, confirmed);
    if (!http_ok(&reply)) {
        fprintf(stderr, "Error: %s\n", reply.len ? reply.body : http_status_line(&reply));
        return;
    }
    if (as_json) {
        puts(reply.body);
    } else {
        answer_print(reply.body, true);
        printf("Roundtrip time: %s\n", duration_text(seconds_now() - began));
    }
    fflush(stdout);
}

static int interactive(const CliTarget *target, const char *confirmed, bool as_json) {
    Prompt prompt = prompt_open(cli_format("%s> ", target->name), "sql_history");
    if (prompt.is_person)
        printf("Connected to %s. Write SQL; `.help` tells more, `.exit` leaves.\n", target->name);
    for (;;) {
        char *line = prompt_read(&prompt);
        if (!line && prompt.is_person) putchar('\n');
        if (!line || strcmp(line, ".exit") == 0) break;
        if (is_statement(line)) answer_line(target, line, confirmed, as_json);
    }
    prompt_close(&prompt);
    return 0;
}

// The project file named the database, so what was meant for one has become the statement's first word.
static NORETURN void taken_for_statement(const DbArg *db, const HttpReply *reply) {
    const char *file = strrchr(db->config, '/');
    cli_die_cause(http_status_line(reply),
                  "%s\n%s names the database `%s`, so `%s` was taken for the beginning of the "
                  "statement. For another database: lightcone sql --no-config %s \"%s\"",
                  reply->body,
                  file ? file + 1 : db->config,
                  db->target.name,
                  db->rest[0],
                  db->rest[0],
                  db->rest[1]);
}

static int sql_run(const Args *args) {
    bool ask = args_has(args, "interactive");
    const char *format = args_value(args, "format");
    if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
        args_fail(args->command, "invalid value '%s' for '--format': say text or json", format);
    bool as_json = args_has(args, "json") || (format && strcmp(format, "json") == 0);
    args_bool(args, "confirmed", true);  // refuses what is neither true nor false
    const char *confirmed = args_value(args, "confirmed");
    DbArg db = session_database(args, ask ? DB_ARG_ONE : DB_ARG_REST_ANY, "query");
    if (ask) return interactive(&db.target, confirmed, as_json);
    const char *query = "";
    for (int i = 0; i < db.rest_count; i++)
        query = cli_format("%s%s%s", query, i ? " " : "", db.rest[i]);
    HttpReply reply = query_send(&db.target, query, confirmed);
    if (reply.status == 400 && db.config && db.rest_count > 1) taken_for_statement(&db, &reply);
    http_expect_json(&reply);
    if (as_json)
        puts(reply.body);
    else
        answer_print(reply.body, false);
    return 0;
}

static const ArgSpec specs[] = {
    {"interactive", NULL, 'i', ARG_FLAG, NULL, "Ask for queries one after another"},
    {"format", NULL, 0, ARG_VALUE, "text|json", "A table, or the server's JSON"},
    {"json", NULL, 0, ARG_FLAG, NULL, "The same as --format json"},
    {"confirmed", NULL, 0, ARG_VALUE, "true|false", "Wait until what is read is on disk (true)"},
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
const CliCommand command_sql = {
    .name = "sql",
    .usage = "[OPTIONS] [DATABASE] <QUERY>",
    .summary = "Run a SQL statement",
    .about = "Examples:\n"
             "  lightcone sql my-db \"SELECT * FROM user WHERE online = true\"\n"
             "  lightcone sql my-db \"SELECT u.name, COUNT(*) AS n FROM user u\n"
             "      JOIN message m ON m.sender = u.id GROUP BY u.name ORDER BY n DESC\"\n"
             "  lightcone sql my-db \"UPDATE user SET online = false WHERE id = 7\"\n"
             "  lightcone sql my-db --json \"EXPLAIN ANALYZE SELECT * FROM message\"\n"
             "  lightcone sql my-db --interactive\n",
    .specs = specs,
    .run = sql_run,
    .unstable = true,
};
