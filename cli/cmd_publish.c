// cmd_publish.c: `lightcone publish`: build, ask the server what would change, ask the person, send.
// Spec: cli-and-codegen §5, http-api-and-auth §8.1, §8.10.
#include <stdio.h>
#include <unistd.h>

#include "base/ids.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/module.h"
#include "cli/session.h"

typedef enum DeleteMode { DELETE_NEVER, DELETE_ON_CONFLICT, DELETE_ALWAYS } DeleteMode;

typedef struct PublishPlan {
    const Args *args;
    const char *name;    // NULL: a new database without a name
    const char *server;  // as given, for messages
    const char *base_url;
    const char *token;
    const char *module_path;  // to build, or NULL
    const char *file;         // to send, once known
    HostKind kind;
    const char *parent, *organization;
    const char *replicas;  // as given; NULL: not said
    bool anonymous;
    bool break_clients;
    DeleteMode delete_mode;
} PublishPlan;

static bool name_is_valid(const char *name) {
    bool after_dash = true;
    for (const char *at = name; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (!plain && (*at != '-' || after_dash)) return false;
        after_dash = *at == '-';
    }
    return *name && !after_dash;
}

// May we go on without asking about `what`? --yes alone means everything.
static bool agreed(const PublishPlan *plan, const char *what) {
    if (strcmp(what, "break-clients") == 0 && plan->break_clients) return true;
    if (!args_has(plan->args, "yes")) return false;
    const char *list = args_value(plan->args, "yes");
    if (!list) return true;
    while (*list) {
        size_t len = strcspn(list, ",");
        Str item = {list, len};
        if (str_eq(item, STR("all")) || str_eq(item, str_from(what))) return true;
        list += len + (list[len] == ',');
    }
    return false;
}

static bool ask(const PublishPlan *plan, const char *what, const char *question) {
    if (!agreed(plan, what)) return cli_confirm(question);
    printf("%s\nSkipping confirmation due to --yes\n", question);
    return true;
}

static DeleteMode delete_mode(const Args *args) {
    if (!args_has(args, "delete-data")) return DELETE_NEVER;
    const char *mode = args_value(args, "delete-data");
    if (!mode || strcmp(mode, "always") == 0) return DELETE_ALWAYS;
    if (strcmp(mode, "on-conflict") == 0) return DELETE_ON_CONFLICT;
    if (strcmp(mode, "never") == 0) return DELETE_NEVER;
    args_fail(args->command,
              "invalid value '%s' for '--delete-data': say always, on-conflict or never",
              mode);
}

static void name_split(PublishPlan *plan) {
    if (!plan->name) return;
    const char *slash = strchr(plan->name, '/');
    if (slash) {
        const char *parent = cli_copy((Str){plan->name, (size_t)(slash - plan->name)});
        if (!name_is_valid(parent)) cli_die("invalid parent database name `%s`", parent);
        if (plan->parent && strcmp(plan->parent, parent) != 0)
            cli_die("cannot specify both --parent and <parent>/<child>");
        plan->parent = parent;
        plan->name = slash + 1;
    }
    Identity identity;
    bool is_identity =
        strlen(plan->name) == IDENTITY_HEX_LEN && identity_parse(str_from(plan->name), &identity);
    if (!is_identity && !name_is_valid(plan->name))
        cli_die("invalid database name `%s`: use lower-case letters, digits and single dashes "
                "between them",
                plan->name);
}

static void destroy_ask(const PublishPlan *plan) {
    printf("This will DESTROY the current %s module, and ALL corresponding data.\n", plan->name);
    if (!ask(plan,
             "delete-data",
             cli_format("Are you sure you want to proceed? [deleting %s]", plan->name)))
        cli_die("Aborted.");
}

static void upgrade_ask(const PublishPlan *plan) {
    puts("This publish is a major version upgrade from 1.0 to 2.0.\n\n"
         "Clients that were generated for version 1.0 have to be generated again.\n\n"
         "WARNING: Once you publish you cannot revert back to version 1.0.\n");
    if (agreed(plan, "migrate")) return;
    char *answer = cli_ask("Please type 'upgrade' to accept this change: ");
    if (!answer || strcmp(answer, "upgrade") != 0)
        cli_die("Aborting because major version upgrade was not accepted.");
}

// The server says what publishing would do. Returns what to add to the publish URL.
static const char *migration_agree(const PublishPlan *plan, json_t *body) {
    json_t *automatic = json_object_get(body, "AutoMigrate");
    json_t *manual = json_object_get(body, "ManualMigrate");
    json_t *either = automatic ? automatic : manual;
    if (json_is_true(json_object_get(either, "major_version_upgrade"))) upgrade_ask(plan);
    if (manual) {
        const char *reason = json_text_at(manual, "reason");
        printf("%s\n", reason ? reason : "");
        if (plan->delete_mode == DELETE_NEVER) {
            puts("Aborting publish due to required manual migration.");
            cli_die(
                "Aborting because publishing would require manual migration or deletion of data "
                "and --delete-data was not specified.");
        }
        puts("Proceeding with database clear due to --delete-data=on-conflict.");
        destroy_ask(plan);
        return "&clear=true";
    }
    const char *text = json_text_at(automatic, "migrate_plan");
    const char *token = json_text_at(automatic, "token");
    if (!token) cli_die("The server's answer to the pre-publish check is not understood.");
    if (text && *text) puts(text);
    if (json_is_true(json_object_get(automatic, "break_clients")) &&
        !ask(plan,
             "break-clients",
             "The above changes will BREAK existing clients. Do you want to proceed?")) {
        puts("Aborting");
        cli_die("Publishing aborted by user");
    }
    return cli_format("&token=%s&policy=BreakClients", http_encode(token));
}

static const char *waiting_for(const PublishPlan *plan) {
    return plan->kind == HOST_WASM ? "Compiling on the server" : "The server tries the module";
}

static const char *changes_check(const PublishPlan *plan, Bytes program, const char *host_type) {
    if (!plan->name) return "";
    if (plan->delete_mode == DELETE_ALWAYS) {
        destroy_ask(plan);
        return "&clear=true";
    }
    puts("Checking for breaking changes...");
    const char *style = cli_wants_colour(STDOUT_FILENO) ? "AnsiColor" : "NoColor";
    HttpReply reply = http_send(&(HttpCall){
        .method = "POST",
        .url =
            cli_format("%s/v1/database/%s/pre_publish?pretty_print_style=%s&style=%s&host_type=%s",
                       plan->base_url,
                       http_encode(plan->name),
                       style,
                       style,
                       host_type),
        .token = plan->token,
        .body = program,
        .waiting = waiting_for(plan),
    });
    if (reply.status == 404) return "";  // a new database
    if (reply.status == 401 || reply.status == 403) http_expect_ok(&reply);
    if (!http_ok(&reply))
        cli_die("Pre-publish check failed with status %d %s: %s",
                reply.status,
                http_status_text(reply.status),
                reply.body);
    json_t *body = json_from(reply.body, NULL);
    return migration_agree(plan, body);
}

static NORETURN void permission_denied(const PublishPlan *plan) {
    if (plan->anonymous)
        cli_die("You need to be logged in as the owner of %s to publish to %s",
                plan->name,
                plan->name);
    const char *identity = session_token_identity(plan->token);
    cli_die("The database %s is not registered to the identity you provided.\n"
            "We suggest you push to either a domain owned by you, or a new domain like:\n"
            "\tlightcone publish %.12s\n",
            plan->name,
            identity ? identity : "my-database");
}

static int reply_report(const PublishPlan *plan, const HttpReply *reply) {
    json_t *body = json_from(reply->body, NULL);
    if (json_at(body, "PermissionDenied")) permission_denied(plan);
    if (reply->status == 400 || reply->status == 500)
        cli_die_cause(http_status_line(reply),
                      "The server did not take the module:\n%s",
                      reply->body);
    http_expect_json(reply);
    const char *identity = json_text_at(body, "Success.database_identity");
    const char *op = json_text_at(body, "Success.op");
    const char *domain = json_text_at(body, "Success.domain");
    if (!identity || !op) cli_die("The server's answer is not understood: %s", reply->body);
    const char *verb = strcmp(op, "created") == 0 ? "Created new" : "Updated";
    if (domain)
        printf("%s database with name: %s, identity: %s\n", verb, domain, identity);
    else
        printf("%s database with identity: %s\n", verb, identity);
    return 0;
}

static void remote_ask(const PublishPlan *plan) {
    CliServer server = config_split_url(plan->base_url);
    const char *host = server.host ? server.host : plan->base_url;
    size_t len = strcspn(host, ":");
    bool local =
        str_eq((Str){host, len}, STR("localhost")) || str_eq((Str){host, len}, STR("127.0.0.1"));
    if (local) return;
    printf("You are about to publish to a non-local server: %s\n", host);
    if (!ask(plan, "remote", "Are you sure you want to proceed?"))
        cli_die("Publish aborted by user.");
}

static int publish_one(PublishPlan *plan) {
    name_split(plan);
    const char *base = plan->base_url = config_server_url(plan->server);
    if (plan->module_path) {
        plan->file = module_build(plan->module_path, false);
        plan->kind = module_kind(plan->file);
    } else
        printf("(%s) Skipping build. Instead we are publishing %s\n",
               plan->kind == HOST_WASM ? "WASM" : "JS",
               plan->file);
    size_t len = 0;
    const char *program = cli_file_read(plan->file, &len);
    if (!program)
        cli_die(
            "Could not read %s: there is no such file. Say --module-path DIR to build a module and publish it.",
            plan->file);
    remote_ask(plan);
    const char *label = plan->server ? plan->server : config_get("default_server");
    printf("Uploading to %s => %s\n", label ? label : base, base);
    plan->token = plan->anonymous ? NULL : session_token(base);
    const char *host_type = plan->kind == HOST_WASM ? "Wasm" : "Js";
    const char *changes = changes_check(plan, BYTES(program, len), host_type);
    puts("Publishing module...");
    fflush(stdout);
    HttpReply reply = http_send(&(HttpCall){
        .method = plan->name ? "PUT" : "POST",
        .url = cli_format("%s/v1/database%s%s?host_type=%s%s%s%s%s%s%s%s",
                          base,
                          plan->name ? "/" : "",
                          plan->name ? http_encode(plan->name) : "",
                          host_type,
                          changes,
                          plan->parent ? "&parent=" : "",
                          plan->parent ? http_encode(plan->parent) : "",
                          plan->organization ? "&org=" : "",
                          plan->organization ? http_encode(plan->organization) : "",
                          plan->replicas ? "&num_replicas=" : "",
                          plan->replicas ? http_encode(plan->replicas) : ""),
        .token = plan->token,
        .body = BYTES(program, len),
        .waiting = waiting_for(plan),
    });
    return reply_report(plan, &reply);
}

static void source_choose(PublishPlan *plan, const Project *project, json_t *target) {
    const Args *args = plan->args;
    const char *wasm = args_value(args, "bin-path");
    const char *js = args_value(args, "js-path");
    const char *directory = args_value(args, "module-path");
    if ((wasm != NULL) + (js != NULL) + (directory != NULL) > 1)
        args_fail(args->command, "use only one of --module-path, --bin-path and --js-path");
    if (!wasm && !js && !directory && target) {
        wasm = project_path(project, target, "wasm-file");
        if (!wasm) wasm = project_path(project, target, "bin-path");
        js = project_path(project, target, "js-file");
        if (!js) js = project_path(project, target, "js-path");
        directory = wasm || js ? NULL : project_path(project, target, "module-path");
    }
    plan->kind = wasm ? HOST_WASM : HOST_JS;
    plan->file = wasm ? wasm : js;
    if (!plan->file) plan->module_path = module_directory(directory);
}

static PublishPlan plan_make(const Args *args, const Project *project, json_t *target) {
    PublishPlan plan = {
        .args = args,
        .name = args->word_count > 0 ? args->words[0] : NULL,
        .server = args_value(args, "server"),
        .parent = args_value(args, "parent"),
        .organization = args_value(args, "organization"),
        .replicas = args_value(args, "num-replicas"),
        .anonymous = args_has(args, "anonymous"),
        .break_clients = args_has(args, "break-clients"),
        .delete_mode = delete_mode(args),
    };
    if (target) {
        bool single = project->target_count == 1;
        if (!plan.name || !single) plan.name = project_text(target, "database");
        if (!plan.server) plan.server = project_text(target, "server");
        if (!plan.parent) plan.parent = project_text(target, "parent");
        if (!plan.organization) plan.organization = project_text(target, "organization");
        if (!plan.replicas) plan.replicas = project_text(target, "num-replicas");
        plan.anonymous = plan.anonymous || project_flag(target, "anon-identity") ||
                         project_flag(target, "anonymous");
        plan.break_clients = plan.break_clients || project_flag(target, "break-clients");
    }
    source_choose(&plan, project, target);
    return plan;
}

static void target_announce(const PublishPlan *plan) {
    if (plan->module_path)
        printf("Publishing module %s to database '%s'\n", plan->module_path, plan->name);
    else
        printf("Publishing precompiled module to database '%s'\n", plan->name);
}

static int publish_run(const Args *args) {
    if (args->word_count > 1)
        args_fail(args->command, "unexpected argument '%s' found", args->words[1]);
    if (args_value(args, "num-replicas"))
        fputs("WARNING: --num-replicas is for clusters; a single server keeps one copy.\n", stderr);
    const Project *project = project_load(args_has(args, "no-config"), args_value(args, "env"));
    const char *name = args->word_count > 0 ? args->words[0] : NULL;
    for (int i = 0; i < project->path_count; i++)
        printf("Using configuration from %s\n", project->paths[i]);
    if (project->target_count == 0) {
        PublishPlan plan = plan_make(args, project, NULL);
        return publish_one(&plan);
    }
    int published = 0;
    for (int i = 0; i < project->target_count; i++) {
        json_t *target = project->targets[i];
        bool wanted = !name || project->target_count == 1 || project_matches(target, name);
        if (!wanted) continue;
        project_check_publish_keys(target);
        PublishPlan plan = plan_make(args, project, target);
        target_announce(&plan);
        publish_one(&plan);
        published++;
    }
    if (published == 0)
        cli_die("No database target matches '%s'. Available databases: %s",
                name,
                project_databases(project));
    return 0;
}

static const ArgSpec specs[] = {
    {"module-path", "project-path", 'p', ARG_VALUE, "DIR", "Build and publish the module in DIR"},
    {"js-path", NULL, 'j', ARG_VALUE, "FILE", "Publish this JavaScript bundle, build nothing"},
    {"bin-path", NULL, 'b', ARG_VALUE, "FILE", "Publish this wasm file, build nothing"},
    {"delete-data",
     "clear-database",
     'c',
     ARG_OPTIONAL_VALUE,
     "always|on-conflict|never",
     "Delete the database's data first"},
    {"break-clients", NULL, 0, ARG_FLAG, NULL, "Agree to changes that break clients"},
    {"yes",
     NULL,
     'y',
     ARG_OPTIONAL_VALUE,
     "LIST",
     "Do not ask: all, remote, migrate, break-clients, skip-login, delete-data"},
    {"parent", NULL, 0, ARG_VALUE, "NAME", NULL},
    {"organization", "org", 0, ARG_VALUE, "NAME", NULL},
    {"num-replicas", NULL, 0, ARG_VALUE, "N", NULL},
    {"build-options", "build-opts", 0, ARG_VALUE, "WORDS", NULL},
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_NO_CONFIG,
    SPEC_ENV,
    ARG_SPECS_END,
};
const CliCommand command_publish = {
    .name = "publish",
    .usage = "[OPTIONS] [NAME]",
    .summary = "Create a database from a module, or update its module",
    .about =
        "Examples:\n"
        "  lightcone publish my-db                          build ./spacetimedb, ./lightcone or .\n"
        "  lightcone publish my-db --js-path dist/bundle.js\n"
        "  lightcone publish my-db --delete-data --yes      start over with no data\n",
    .specs = specs,
    .run = publish_run,
};
