// cmd_database.c: list, delete, lock, unlock and rename databases. Spec: cli-and-codegen §6.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/session.h"
#include "cli/table_print.h"

static HttpReply target_send(const CliTarget *target, const char *method, const char *after) {
    return http_send(&(HttpCall){
        .method = method,
        .url = target_url(target, after),
        .token = target->token,
        .timeout_s = 60,
    });
}

static void tree_print(json_t *node, int depth) {
    json_t *root = json_object_get(node, "root");
    const char *identity = json_text_at(root ? root : node, "database_identity");
    printf("%*s- %s\n", depth * 2, "", identity ? identity : "?");
    size_t i;
    json_t *child;
    json_array_foreach(json_object_get(node, "children"), i, child) tree_print(child, depth + 1);
}

static bool confirmed(const Args *args, const char *question) {
    if (!args_has(args, "yes")) return cli_confirm(question);
    puts("Skipping confirmation due to --yes");
    return true;
}

// 428: the database has children; the server names them and gives a token for the second try.
static int delete_with_children(const Args *args, const CliTarget *target, const HttpReply *reply) {
    json_t *body = json_from(reply->body, NULL);
    const char *token = json_text_at(body, "confirmation_token");
    if (!token) http_expect_ok(reply);
    printf("WARNING: Deleting the database %s will also delete its children!\n", target->identity);
    tree_print(json_object_get(body, "database_tree"), 0);
    if (!confirmed(args, "Do you want to proceed deleting above databases?")) {
        puts("Aborting");
        return 0;
    }
    HttpReply second = target_send(target, "DELETE", cli_format("?token=%s", http_encode(token)));
    http_expect_ok(&second);
    return 0;
}

static int delete_run(const Args *args) {
    DbArg db = session_database(args, DB_ARG_ONE, NULL);
    const char *question = cli_format(
        "Are you sure you want to delete database %s (%s)? This action cannot be undone.",
        db.target.name,
        db.target.identity);
    if (!confirmed(args, question)) {
        puts("Aborting");
        return 0;
    }
    HttpReply reply = target_send(&db.target, "DELETE", "");
    if (reply.status == 428) return delete_with_children(args, &db.target, &reply);
    http_expect_ok(&reply);
    return 0;
}

static int lock_run(const Args *args) {
    bool lock = args->command == &command_lock;
    DbArg db = session_database(args, DB_ARG_ONE, NULL);
    HttpReply reply = target_send(&db.target, "POST", lock ? "/lock" : "/unlock");
    http_expect_ok(&reply);
    printf("Database %s is now %s\n",
           db.target.identity,
           lock ? "locked. It cannot be deleted until unlocked." : "unlocked.");
    return 0;
}

static int rename_run(const Args *args) {
    const char *name = args_value(args, "to");
    if (!name)
        args_fail(args->command,
                  "the following required arguments were not provided:\n  --to <NEW>");
    DbArg db = session_database(args, DB_ARG_ONE, NULL);
    json_t *names = json_pack("[s]", name);
    HttpReply reply = http_send(&(HttpCall){
        .method = "PUT",
        .url = target_url(&db.target, "/names"),
        .token = db.target.token,
        .content_type = "application/json",
        .body = str_bytes(str_from(json_dumps(names, JSON_COMPACT))),
        .timeout_s = 60,
    });
    json_t *body = json_from(reply.body, NULL);
    if (json_text_at(body, "PermissionDenied.domain"))
        cli_die("Permission denied for domain: %s", name);
    if (json_at(body, "PermissionDeniedOnAny")) cli_die("Permission denied for domain: %s", name);
    if (json_at(body, "NotYourDatabase"))
        cli_die("You cannot rename %s because it is owned by another identity.", db.target.name);
    if (reply.status == 404) cli_die("Database %s not found", db.target.name);
    if (json_text_at(body, "OtherError")) cli_die("%s", json_text_at(body, "OtherError"));
    http_expect_ok(&reply);
    printf("Name set to %s for identity %s.\n", name, db.target.identity);
    return 0;
}

static const char *names_of(const char *base, const char *token, const char *identity) {
    HttpReply reply = http_send(&(HttpCall){
        .method = "GET",
        .url = cli_format("%s/v1/database/%s/names", base, identity),
        .token = token,
        .timeout_s = 30,
    });
    if (!http_ok(&reply)) return "";
    const char *all = "";
    size_t i;
    json_t *name;
    json_array_foreach(json_at(json_from(reply.body, NULL), "names"), i, name) {
        if (json_is_string(name))
            all = cli_format("%s%s%s", all, i ? ", " : "", json_string_value(name));
    }
    return all;
}

static int list_run(const Args *args) {
    const char *base = config_server_url(args_value(args, "server"));
    const char *token = session_token(base);
    const char *me = session_token_identity(token);
    if (!me) cli_die("The saved token is not readable. Run `lightcone login` to get a new one.");
    HttpReply reply = http_send(&(HttpCall){
        .method = "GET",
        .url = cli_format("%s/v1/identity/%s/databases", base, me),
        .token = token,
        .timeout_s = 30,
    });
    http_expect_json(&reply);
    json_t *identities = json_at(json_from(reply.body, NULL), "identities");
    size_t count = json_array_size(identities);
    if (count == 0) {
        printf("No databases found for %s.\n", me);
        return 0;
    }
    const char **cells = arena_array(cli_arena(), const char *, 2 * (count + 1));
    if (!cells) cli_die("out of memory");
    cells[0] = "Database Name(s)";
    cells[1] = "Identity";
    for (size_t i = 0; i < count; i++) {
        const char *identity = json_string_value(json_array_get(identities, i));
        cells[2 + 2 * i + 1] = identity ? identity : "?";
        cells[2 + 2 * i] = identity ? names_of(base, token, identity) : "";
    }
    Buf out = {0};
    table_print(&out, cells, 2, count);
    printf("Associated databases for user %s:\n\n%s", me, cli_buf_text(&out));
    return 0;
}

static const ArgSpec database_specs[] = {
    SPEC_YES,
    SPEC_SERVER,
    SPEC_ANON,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
static const ArgSpec rename_specs[] = {
    {"to", NULL, 0, ARG_VALUE, "NEW", "The new name"},
    SPEC_SERVER,
    SPEC_ANON,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
static const ArgSpec list_specs[] = {SPEC_SERVER, SPEC_YES, ARG_SPECS_END};

const CliCommand command_delete = {
    .name = "delete",
    .usage = "[OPTIONS] [DATABASE]",
    .summary = "Delete a database with all its data",
    .about = "Example:\n  lightcone delete my-db --yes\n",
    .specs = database_specs,
    .run = delete_run,
};
const CliCommand command_lock = {
    .name = "lock",
    .usage = "[OPTIONS] [DATABASE]",
    .summary = "Protect a database from being deleted",
    .about = "Example:\n  lightcone lock my-db\n",
    .specs = database_specs,
    .run = lock_run,
};
const CliCommand command_unlock = {
    .name = "unlock",
    .usage = "[OPTIONS] [DATABASE]",
    .summary = "Allow a locked database to be deleted again",
    .about = "Example:\n  lightcone unlock my-db\n",
    .specs = database_specs,
    .run = lock_run,
};
const CliCommand command_rename = {
    .name = "rename",
    .usage = "[OPTIONS] --to <NEW> <DATABASE>",
    .summary = "Give a database another name",
    .about = "Example:\n  lightcone rename my-db --to our-db\n",
    .specs = rename_specs,
    .run = rename_run,
};
const CliCommand command_list = {
    .name = "list",
    .usage = "[OPTIONS]",
    .summary = "List your databases",
    .about = "Example:\n  lightcone list --server local\n",
    .specs = list_specs,
    .run = list_run,
    .unstable = true,
};
