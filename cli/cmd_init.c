// cmd_init.c: `lightcone init`: a directory that runs as it is. Spec: cli-and-codegen §14.
//
//   NAME/lightcone.json         where the module lies, which server, how the client is run
//   NAME/lightcone.local.json   the database's name: yours, not for the repository
//   NAME/.env.local             the same for the client, with the server's URL
//   NAME/spacetimedb/           the module, in C or TypeScript
//   NAME/…                      the client, when a template has one
#include <dirent.h>
#include <stdio.h>

#include "cli/build_c.h"
#include "cli/client_env.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/names.h"
#include "cli/template.h"

typedef struct TemplateFile {
    const char *path;  // in the module's directory
    const char *text;
} TemplateFile;

typedef struct Language {
    const char *names[3];
    const TemplateFile *files;  // ends with a zeroed entry
    const char *next;           // what to do before publishing
} Language;

// ── C ──────────────────────────────────────────────────────────────────────────────────────────

static const char c_module[] =
    "// module.c: the whole server side of the application: its tables, and the functions that change "
    "them.\n"
    "#include \"lightcone.h\"\n"
    "\n"
    "LC_TABLE(person, PUBLIC)\n"
    "typedef struct Person {\n"
    "    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;\n"
    "    String name LC_INDEX;\n"
    "} Person;\n"
    "\n"
    "// Called once, when the database is made.\n"
    "LC_INIT\n"
    "Error init(Ctx *ctx) {\n"
    "    return OK;\n"
    "}\n"
    "\n"
    "LC_REDUCER\n"
    "Error add(Ctx *ctx, String name) {\n"
    "    if (name.len == 0) return lc_error(\"A person has a name\");\n"
    "    return person_insert(&(Person){.name = name});\n"
    "}\n"
    "\n"
    "LC_REDUCER\n"
    "Error say_hello(Ctx *ctx) {\n"
    "    for (PersonScan each = person_scan(); person_next(&each);)\n"
    "        lc_log_info(\"Hello, %s!\", each.row->name.ptr);\n"
    "    lc_log_info(\"Hello, World!\");\n"
    "    return OK;\n"
    "}\n";

static const TemplateFile c_files[] = {
    {"src/module.c", c_module},
    {".gitignore", "build/\ncompile_flags.txt\n"},
    {0},
};

// For clangd, so that an editor finds lightcone.h and the accessors. Of this machine only.
static const char *c_compile_flags(void) {
    return cli_format(
        "--target=wasm32\n-std=gnu17\n-ffreestanding\n-Wall\n-Wextra\n-Wno-unused-parameter\n-I%s\n-Ibuild/gen\n",
        build_c_sdk());
}

// ── TypeScript ─────────────────────────────────────────────────────────────────────────────────

static const char typescript_module[] =
    "import { schema, SenderError, t, table } from 'lightcone/server';\n"
    "\n"
    "const person = table(\n"
    "  { name: 'person', public: true },\n"
    "  { id: t.u64().primaryKey().autoInc(), name: t.string().index('btree') }\n"
    ");\n"
    "\n"
    "const db = schema({ person });\n"
    "export default db;\n"
    "\n"
    "// Called once, when the database is made.\n"
    "export const init = db.init(() => {});\n"
    "\n"
    "export const add = db.reducer({ name: t.string() }, (ctx, { name }) => {\n"
    "  if (!name) throw new SenderError('A person has a name');\n"
    "  ctx.db.person.insert({ id: 0n, name });\n"
    "});\n"
    "\n"
    "export const say_hello = db.reducer(ctx => {\n"
    "  for (const person of ctx.db.person.iter()) console.info(`Hello, ${person.name}!`);\n"
    "  console.info('Hello, World!');\n"
    "});\n";

static const TemplateFile typescript_files[] = {
    {"src/index.ts", typescript_module},
    {"tsconfig.json",
     "{\n"
     "  \"compilerOptions\": {\n"
     "    \"target\": \"ESNext\",\n"
     "    \"module\": \"ESNext\",\n"
     "    \"moduleResolution\": \"bundler\",\n"
     "    \"lib\": [\"ES2021\", \"dom\"],\n"
     "    \"isolatedModules\": true,\n"
     "    \"noEmit\": true,\n"
     "    \"strict\": true,\n"
     "    \"skipLibCheck\": true\n"
     "  },\n"
     "  \"include\": [\"src\"]\n"
     "}\n"},
    {".gitignore", "node_modules\ndist\n"},
    {0},
};

static const char *typescript_package(const char *sdk) {
    return cli_format(
        "{\n"
        "  \"name\": \"module\",\n"
        "  \"private\": true,\n"
        "  \"type\": \"module\",\n"
        "  \"dependencies\": { \"lightcone\": \"file:./%s\" },\n"
        "  \"devDependencies\": { \"esbuild\": \"0.28.2\", \"typescript\": \"5.9.3\" }\n"
        "}\n",
        sdk);
}

static const Language languages[] = {
    {{"c", NULL, NULL}, c_files, NULL},
    {{"typescript", "ts", NULL}, typescript_files, "(cd spacetimedb && npm install)"},
};

static const Language *language_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        for (size_t k = 0; k < ARRAY_LEN(languages[i].names) && languages[i].names[k]; k++)
            if (strcmp(languages[i].names[k], name) == 0) return &languages[i];
    cli_die(
        "There is no module in the language '%s' to begin with. Say --lang c or --lang typescript.",
        name);
}

// ── the directory ──────────────────────────────────────────────────────────────────────────────

static bool is_empty(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return true;
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
    closedir(dir);
    return empty;
}

static void file_make(const char *directory, const char *path, const char *text) {
    cli_file_write(cli_join(directory, path), str_bytes(str_from(text)));
    template_file_made(path);
}

static void module_make(const char *directory, const Language *language) {
    for (const TemplateFile *file = language->files; file->path; file++)
        file_make(directory, cli_format("spacetimedb/%s", file->path), file->text);
    if (language->files != typescript_files) return;
    const char *module = cli_join(directory, "spacetimedb");
    file_make(module, "package.json", typescript_package(template_sdk_copy(module)));
}

static const char *server_default(void) {
    const char *server = config_get("default_server");
    return server ? server : "local";
}

// What only this machine has: the database's name, where clients find it, where lightcone.h lies.
static void local_files_make(const char *directory, const char *name) {
    const char *database = cli_format("%s-%s", name, names_random());
    file_make(directory,
              "lightcone.local.json",
              cli_format("{\n  \"database\": \"%s\"\n}\n", database));
    if (client_env_update(directory, database, config_server_url(NULL)))
        template_file_made(".env.local");
    if (build_c_detect(cli_join(directory, "spacetimedb")))
        file_make(directory, "spacetimedb/compile_flags.txt", c_compile_flags());
}

static void from_language(const char *directory, const Language *language) {
    module_make(directory, language);
    file_make(directory,
              "lightcone.json",
              cli_format("{\n  \"server\": \"%s\",\n  \"module-path\": \"./spacetimedb\"\n}\n",
                         server_default()));
}

static void from_template(const char *directory, const char *name, const Template *template) {
    puts("Initializing project from template...");
    template_copy(template,
                  directory,
                  &(TemplateValues){.name = name,
                                    .server = server_default(),
                                    .sdk = template_sdk_copy(directory)});
}

static void templates_print(FILE *out) {
    size_t count;
    const Template *list = template_list(&count);
    fputs("Available templates:\n", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %-12s %s\n", list[i].name, list[i].description);
}

static const char *name_ask(const Args *args) {
    if (args->word_count > 0) return args->words[0];
    if (args_has(args, "non-interactive"))
        cli_die(
            "PROJECT_NAME is required in non-interactive mode: lightcone init --template basic-ts my-app");
    const char *answer = cli_ask("Project name: ");
    if (!answer || !*answer)
        cli_die("A project needs a name: lightcone init --template basic-ts my-app");
    return answer;
}

static const char *template_ask(const Args *args) {
    if (args_has(args, "non-interactive"))
        cli_die("Either --template or --lang must be provided in non-interactive mode. "
                "`lightcone init --template` lists the templates.");
    templates_print(stdout);
    const char *answer = cli_ask("Template [basic-ts]: ");
    if (!answer)
        cli_die(
            "A project needs a template or a language: say --template NAME, or --lang c or typescript.");
    return *answer ? answer : "basic-ts";
}

static int init_run(const Args *args) {
    const char *template_name = args_value(args, "template");
    const char *language_name = args_value(args, "lang");
    if (args->word_count > 1)
        args_fail(args->command, "unexpected argument '%s' found", args->words[1]);
    if (args_has(args, "template") && language_name)
        args_fail(args->command, "use only one of --template and --lang");
    if (args_has(args, "template") && !template_name) {
        templates_print(stdout);
        return 0;
    }
    // What is wrong with the words is said before anything is asked.
    const Language *language = language_name ? language_find(language_name) : NULL;
    const Template *template = template_name ? template_find(template_name) : NULL;
    const char *name = names_kebab(name_ask(args));
    if (!template && !language) template = template_find(template_ask(args));
    const char *directory = args_value(args, "project-path");
    if (!directory) directory = name;
    if (!is_empty(directory))
        cli_die("Cannot create new Lightcone project in non-empty directory: %s\n"
                "Choose another name, or say where with --project-path.",
                directory);
    if (language)
        from_language(directory, language);
    else
        from_template(directory, name, template);
    local_files_make(directory, name);
    printf("Project initialized successfully!\n\nNext:\n  cd %s\n", directory);
    if (!language)
        puts("  npm install\n  lightcone dev");
    else
        printf("%s  lightcone dev                # or once: lightcone start & lightcone publish\n",
               language->next ? cli_format("  %s\n", language->next) : "");
    return 0;
}

static const ArgSpec specs[] = {
    {"template", NULL, 't', ARG_MAYBE_VALUE, "NAME", "Begin with this; without a name: list them"},
    {"lang", NULL, 0, ARG_VALUE, "c|typescript", "A module in this language and nothing else"},
    {"project-path", NULL, 0, ARG_VALUE, "DIR", "Where to make it (./NAME)"},
    {"non-interactive", NULL, 0, ARG_FLAG, NULL, "Ask nothing; what is missing is an error"},
    {"server-only", NULL, 0, ARG_FLAG, NULL, NULL},
    {"local", NULL, 0, ARG_FLAG, NULL, NULL},
    ARG_SPECS_END,
};
const CliCommand command_init = {
    .name = "init",
    .usage = "[OPTIONS] [NAME]",
    .summary = "Make a new project that runs with `lightcone dev`",
    .about =
        "Examples:\n"
        "  lightcone init --template chat-react my-chat && cd my-chat && npm install && lightcone dev\n"
        "  lightcone init --template\n"
        "  lightcone init --lang c my-game && cd my-game && lightcone dev\n",
    .specs = specs,
    .run = init_run,
};
