// cmd_init.c: `lightcone init`: a directory that builds and publishes as it is. Spec: cli-and-codegen §14.
//
//   NAME/lightcone.json         where the module lies, which server
//   NAME/lightcone.local.json   the database's name: yours, not for the repository
//   NAME/spacetimedb/           the module, in C or TypeScript
#define _GNU_SOURCE  // getentropy
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/build_c.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/json.h"

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
    "import { schema, SenderError, t, table } from 'spacetimedb/server';\n"
    "\n"
    "const person = table(\n"
    "  { name: 'person', public: true },\n"
    "  { id: t.u64().primaryKey().autoInc(), name: t.string().index('btree') }\n"
    ");\n"
    "\n"
    "const spacetimedb = schema({ person });\n"
    "export default spacetimedb;\n"
    "\n"
    "// Called once, when the database is made.\n"
    "export const init = spacetimedb.init(() => {});\n"
    "\n"
    "export const add = spacetimedb.reducer({ name: t.string() }, (ctx, { name }) => {\n"
    "  if (!name) throw new SenderError('A person has a name');\n"
    "  ctx.db.person.insert({ id: 0n, name });\n"
    "});\n"
    "\n"
    "export const say_hello = spacetimedb.reducer(ctx => {\n"
    "  for (const person of ctx.db.person.iter()) console.info(`Hello, ${person.name}!`);\n"
    "  console.info('Hello, World!');\n"
    "});\n";

static const TemplateFile typescript_files[] = {
    {"src/index.ts", typescript_module},
    {"package.json",
     "{\n"
     "  \"name\": \"spacetime-module\",\n"
     "  \"private\": true,\n"
     "  \"type\": \"module\",\n"
     "  \"dependencies\": { \"spacetimedb\": \"2.10.*\" },\n"
     "  \"devDependencies\": { \"esbuild\": \"0.28.*\", \"typescript\": \"5.9.*\" }\n"
     "}\n"},
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

static const Language languages[] = {
    {{"c", NULL, NULL}, c_files, NULL},
    {{"typescript", "ts", NULL}, typescript_files, "(cd spacetimedb && npm install)"},
};

static const Language *language_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        for (size_t k = 0; k < ARRAY_LEN(languages[i].names) && languages[i].names[k]; k++)
            if (strcmp(languages[i].names[k], name) == 0) return &languages[i];
    cli_die("There is no template for the language '%s'. There are: c, typescript.", name);
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

// "My Game 2" as a directory and a database: "my-game-2".
static const char *kebab(const char *name) {
    Buf text = {0};
    for (const char *at = name; *at; at++) {
        bool plain = isalnum((unsigned char)*at) != 0;
        bool camel = at > name && isupper((unsigned char)*at) && islower((unsigned char)at[-1]);
        bool dash = text.len > 0 && text.ptr[text.len - 1] != '-';
        if (dash && (!plain || camel)) buf_put_u8(&text, '-');
        if (plain) buf_put_u8(&text, (uint8_t)tolower((unsigned char)*at));
    }
    while (text.len > 0 && text.ptr[text.len - 1] == '-')
        text.len--;
    if (text.len == 0) cli_die("'%s' has no letter to make a project's name of.", name);
    return cli_buf_text(&text);
}

static const char *random_letters(void) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t bytes[5];
    char text[sizeof bytes + 1] = {0};
    if (getentropy(bytes, sizeof bytes) != 0) cli_die("The system gives no random bytes.");
    for (size_t i = 0; i < sizeof bytes; i++)
        text[i] = letters[bytes[i] % (sizeof letters - 1)];
    return cli_copy(str_from(text));
}

static void file_make(const char *directory, const char *path, const char *text) {
    cli_file_write(cli_join(directory, path), str_bytes(str_from(text)));
    printf("✓ Created %s\n", path);
}

static void module_make(const char *directory, const Language *language) {
    for (const TemplateFile *file = language->files; file->path; file++)
        file_make(directory, cli_format("spacetimedb/%s", file->path), file->text);
    if (language->files == c_files)
        file_make(directory, "spacetimedb/compile_flags.txt", c_compile_flags());
}

static void project_files_make(const char *directory, const char *name) {
    const char *server = config_get("default_server");
    file_make(directory,
              "lightcone.json",
              cli_format("{\n  \"server\": \"%s\",\n  \"module-path\": \"./spacetimedb\"\n}\n",
                         server ? server : "local"));
    file_make(directory,
              "lightcone.local.json",
              cli_format("{\n  \"database\": \"%s-%s\"\n}\n", name, random_letters()));
}

static const char *name_ask(const Args *args) {
    if (args->word_count > 0) return args->words[0];
    if (args_has(args, "non-interactive"))
        cli_die("PROJECT_NAME is required in non-interactive mode");
    const char *answer = cli_ask("Project name: ");
    if (!answer || !*answer) cli_die("A project needs a name.");
    return answer;
}

static const char *language_ask(const Args *args) {
    const char *given = args_value(args, "lang");
    if (given) return given;
    if (args_has(args, "non-interactive"))
        cli_die("Either --template or --lang must be provided in non-interactive mode");
    const char *answer = cli_ask("Language of the module, c or typescript [typescript]: ");
    if (!answer) cli_die("Aborted.");
    return *answer ? answer : "typescript";
}

static int init_run(const Args *args) {
    if (args->word_count > 1)
        args_fail(args->command, "unexpected argument '%s' found", args->words[1]);
    const char *name = kebab(name_ask(args));
    const Language *language = language_find(language_ask(args));
    const char *directory = args_value(args, "project-path");
    if (!directory) directory = name;
    if (!is_empty(directory))
        cli_die("Cannot create new SpacetimeDB project in non-empty directory: %s", directory);
    module_make(directory, language);
    project_files_make(directory, name);
    printf("Project initialized successfully!\n\nNext:\n  cd %s\n", directory);
    if (language->next) printf("  %s\n", language->next);
    printf("  lightcone start &          # when no server runs yet\n  lightcone publish\n");
    return 0;
}

static const ArgSpec specs[] = {
    {"lang", NULL, 0, ARG_VALUE, "c|typescript", "The language of the module"},
    {"project-path", NULL, 0, ARG_VALUE, "DIR", "Where to make it (./NAME)"},
    {"non-interactive", NULL, 0, ARG_FLAG, NULL, "Ask nothing; what is missing is an error"},
    {"server-only", NULL, 0, ARG_FLAG, NULL, NULL},
    {"local", NULL, 0, ARG_FLAG, NULL, NULL},
    ARG_SPECS_END,
};
const CliCommand command_init = {
    .name = "init",
    .usage = "[OPTIONS] [NAME]",
    .summary = "Make a new project that builds and publishes",
    .about = "Example:\n  lightcone init --lang c my-game && cd my-game && lightcone publish\n",
    .specs = specs,
    .run = init_run,
};
