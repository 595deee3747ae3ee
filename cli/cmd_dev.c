// cmd_dev.c: `lightcone dev`: find out which project this is and what it needs. Spec: cli-and-codegen §15.
// The doing is dev.c.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/client_env.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/dev.h"
#include "cli/module.h"
#include "cli/names.h"
#include "cli/tool.h"

static const char *working_directory(void) {
    char cwd[PATH_MAX];
    if (!getcwd(cwd, sizeof cwd))
        cli_die_cause(strerror(errno), "Could not find the current directory");
    return cli_copy(str_from(cwd));
}

static void directory_enter(const char *path) {
    if (chdir(path) != 0) cli_die_cause(strerror(errno), "Could not enter %s", path);
}

// Paths that people read are shown from where they are.
static const char *shown_path(const char *path, const char *from) {
    size_t len = strlen(from);
    if (strncmp(path, from, len) != 0 || path[len] != '/') return path;
    path += len + 1;
    return strncmp(path, "./", 2) == 0 ? path + 2 : path;
}

// ── which database ─────────────────────────────────────────────────────────────────────────────

// A project that has no database yet gets one, which it remembers.
static const char *database_make(const char *directory, const char *server, bool has_project) {
    const char *slash = strrchr(directory, '/');
    const char *name =
        cli_format("%s-%s", names_kebab(slash && slash[1] ? slash + 1 : "app"), names_random());
    if (!has_project) {
        const char *text = cli_format("{\n  \"server\": \"%s\"\n}\n", server ? server : "local");
        cli_file_write(cli_join(directory, "lightcone.json"), str_bytes(str_from(text)));
    }
    const char *local = cli_join(directory, "lightcone.local.json");
    if (cli_file_exists(local))
        cli_die("Neither lightcone.json nor lightcone.local.json names a database. Add one to "
                "lightcone.local.json: { \"database\": \"%s\" }",
                name);
    cli_file_write(local, str_bytes(str_from(cli_format("{\n  \"database\": \"%s\"\n}\n", name))));
    printf("The database is called %s from now on: lightcone.local.json says so.\n", name);
    return name;
}

static void databases_choose(DevPlan *plan, const Args *args, const Project *project) {
    const char *given = args->word_count > 0 ? args->words[0] : NULL;
    for (int i = 0; i < project->target_count; i++) {
        json_t *target = project->targets[i];
        if (given && project->target_count > 1 && !project_matches(target, given)) continue;
        plan->databases[plan->database_count++] = project_text(target, "database");
        const char *server = project_text(target, "server");
        if (!plan->server) plan->server = server;
    }
    if (given && project->target_count > 1 && plan->database_count == 0)
        cli_die("No database target matches '%s'. Available databases: %s",
                given,
                project_databases(project));
    if (project->target_count > 1) return;
    plan->database_count = 1;
    if (given) plan->databases[0] = given;
    if (!plan->databases[0])
        plan->databases[0] = database_make(plan->directory, plan->server, project->path != NULL);
}

// ── which module ───────────────────────────────────────────────────────────────────────────────

static void watched_add(DevPlan *plan, const char *directory) {
    for (int i = 0; i < plan->watched_count; i++)
        if (strcmp(plan->watched[i], directory) == 0) return;
    if (plan->watched_count < DEV_DATABASES_MAX) plan->watched[plan->watched_count++] = directory;
}

static const char *target_source_file(const Project *project, json_t *target) {
    static const char *const keys[] = {"wasm-file", "bin-path", "js-file", "js-path"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *path = project_path(project, target, keys[i]);
        if (path) return path;
    }
    return NULL;
}

static void modules_choose(DevPlan *plan, const Args *args, const Project *project) {
    const char *given = args_value(args, "module-path");
    if (given && project->target_count > 1)
        args_fail(args->command,
                  "--module-path is for a project with one database; this one has several: %s",
                  project_databases(project));
    bool alone = project->target_count <= 1;
    json_t *only = project->target_count == 1 ? project->targets[0] : project->root;
    const char *file = alone && !given ? target_source_file(project, only) : NULL;
    if (alone && !file) {
        const char *directory = given ? given : project_path(project, only, "module-path");
        plan->module = shown_path(module_directory(directory), plan->directory);
        watched_add(plan, plan->module);
        return;
    }
    for (int i = 0; i < project->target_count; i++) {
        const char *path = target_source_file(project, project->targets[i]);
        const char *slash = path ? strrchr(path, '/') : NULL;
        const char *directory = slash ? cli_copy((Str){path, (size_t)(slash - path)})
                                      : project_path(project, project->targets[i], "module-path");
        watched_add(plan, shown_path(module_directory(directory), plan->directory));
    }
}

// ── which front end ────────────────────────────────────────────────────────────────────────────

static const char *client_detect(void) {
    const char *text = cli_file_read("package.json", NULL);
    json_t *package = text ? json_from(text, NULL) : NULL;
    if (!json_text_at(package, "scripts.dev")) return NULL;
    static const struct {
        const char *lock, *command;
    } managers[] = {
        {"pnpm-lock.yaml", "pnpm run dev"},
        {"yarn.lock", "yarn dev"},
        {"bun.lock", "bun run dev"},
        {"bun.lockb", "bun run dev"},
    };
    for (size_t i = 0; i < ARRAY_LEN(managers); i++)
        if (cli_file_exists(managers[i].lock)) return managers[i].command;
    return "npm run dev";
}

static void client_choose(DevPlan *plan, const Args *args, const Project *project) {
    plan->client_in_typescript = cli_file_exists("package.json");
    if (args_has(args, "server-only")) return;
    plan->client = args_value(args, "run");
    if (!plan->client) plan->client = json_text_at(project->root, "dev.run");
    if (!plan->client) plan->client = client_detect();
}

static void packages_check(const DevPlan *plan) {
    const char *const places[] = {".", plan->module};
    for (size_t i = 0; i < ARRAY_LEN(places) && places[i]; i++) {
        bool wanted = client_depends_on(places[i], "lightcone") ||
                      client_depends_on(places[i], "spacetimedb");
        bool there = cli_dir_exists(cli_join(places[i], "node_modules")) ||
                     (i > 0 && cli_dir_exists("node_modules"));
        if (wanted && !there)
            cli_die("The packages in %s are not installed. Install them with:\n\t%snpm install",
                    cli_format("%s/package.json",
                               strcmp(places[i], ".") == 0 ? plan->directory : places[i]),
                    i > 0 ? cli_format("cd %s && ", places[i]) : "");
    }
}

// ── Node ───────────────────────────────────────────────────────────────────────────────────────

static void version_line(void *version, char *line) {
    int *parts = version;
    if (parts[0] == 0) (void)!sscanf(line, "v%d.%d", &parts[0], &parts[1]);
}

// A package.json that wants a newer Node (">=20.9") than there is: its tools would end in a stack trace.
static void node_check(const DevPlan *plan) {
    const char *text = plan->client ? cli_file_read("package.json", NULL) : NULL;
    const char *wanted = json_text_at(text ? json_from(text, NULL) : NULL, "engines.node");
    int least[2] = {0}, here[2] = {0};
    if (!wanted || sscanf(wanted, ">=%d.%d", &least[0], &least[1]) < 1) return;
    char *words[] = {(char *)"node", (char *)"--version", NULL};
    if (tool_run_lines(".", words, version_line, here) != 0)
        cli_die(
            "The client of this project needs Node.js %d.%d or newer, and there is no `node` on the PATH.",
            least[0],
            least[1]);
    if (here[0] > least[0] || (here[0] == least[0] && here[1] >= least[1])) return;
    cli_die(
        "The client of this project needs Node.js %d.%d or newer (engines in %s), and `node` is %d.%d. "
        "Install a newer one (nodejs.org), or run everything but the client: lightcone dev --server-only",
        least[0],
        least[1],
        cli_join(plan->directory, "package.json"),
        here[0],
        here[1]);
}

// ── all together ───────────────────────────────────────────────────────────────────────────────

static const char *delete_mode(const Args *args) {
    // Rows are deleted only when somebody says so, to a question or beforehand.
    if (!args_has(args, "delete-data"))
        return isatty(STDIN_FILENO) && !args_has(args, "yes") ? "on-conflict" : "never";
    const char *mode = args_value(args, "delete-data");
    if (!mode) return "always";
    if (strcmp(mode, "always") == 0 || strcmp(mode, "on-conflict") == 0 ||
        strcmp(mode, "never") == 0)
        return mode;
    args_fail(args->command,
              "invalid value '%s' for '--delete-data': say always, on-conflict or never",
              mode);
}

static void remote_ask(const DevPlan *plan) {
    CliServer server = config_split_url(plan->base_url);
    const char *host = server.host ? server.host : plan->base_url;
    Str name = {host, strcspn(host, ":")};
    if (str_eq(name, STR("localhost")) || str_eq(name, STR("127.0.0.1")) || plan->yes) return;
    printf("Each change will be published to a non-local server: %s\n", host);
    if (!cli_confirm("Are you sure you want to proceed?")) cli_die("Aborted.");
}

static int dev_run(const Args *args) {
    static DevPlan plan;
    if (args->word_count > 1)
        args_fail(args->command, "unexpected argument '%s' found", args->words[1]);
    if (args_value(args, "project-path")) directory_enter(args_value(args, "project-path"));
    plan.env = args_value(args, "env") ? args_value(args, "env") : "dev";
    const Project *project = project_load(args_has(args, "no-config"), plan.env);
    if (project->directory) directory_enter(project->directory);
    plan.directory = working_directory();
    plan.delete_data = delete_mode(args);
    plan.yes = args_has(args, "yes");
    plan.publish = !args_has(args, "skip-publish");
    plan.generate = !args_has(args, "skip-generate");
    plan.server = args_value(args, "server");
    plan.has_targets = json_array_size(json_object_get(project->root, "generate")) > 0;
    client_choose(&plan, args, project);
    bool has_several = project->target_count > 1;
    if (has_several) databases_choose(&plan, args, project);
    modules_choose(&plan, args, project);
    node_check(&plan);
    packages_check(&plan);
    if (!has_several) databases_choose(&plan, args, project);  // may make one: last
    plan.base_url = config_server_url(plan.server);
    remote_ask(&plan);
    return dev_run_plan(&plan);
}

static const ArgSpec specs[] = {
    {"project-path", NULL, 0, ARG_VALUE, "DIR", "The project (the one this directory is in)"},
    {"module-path", NULL, 'p', ARG_VALUE, "DIR", "Its module (./spacetimedb, ./lightcone, or .)"},
    {"run", NULL, 0, ARG_VALUE, "COMMAND", "How the front end is started (npm run dev)"},
    {"server-only", NULL, 0, ARG_FLAG, NULL, "Start no front end"},
    {"delete-data",
     "clear-database",
     'c',
     ARG_OPTIONAL_VALUE,
     "WHEN",
     "Begin without data: on-conflict (when rows would not fit), always"},
    {"skip-publish", NULL, 0, ARG_FLAG, NULL, "Build and generate only"},
    {"skip-generate", NULL, 0, ARG_FLAG, NULL, "Write no bindings"},
    SPEC_SERVER,
    SPEC_YES,
    SPEC_ENV,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
const CliCommand command_dev = {
    .name = "dev",
    .usage = "[OPTIONS] [DATABASE]",
    .summary = "Build, publish and run the project in this directory, again whenever it changes",
    .about =
        "Starts a server when none answers, publishes with the data kept, writes the bindings, starts\n"
        "the front end and shows the module's log. A module that does not build leaves the version\n"
        "before it running.\n\n"
        "Example:\n  lightcone init --template chat-react my-chat && cd my-chat && npm install && lightcone dev\n",
    .specs = specs,
    .run = dev_run,
};
