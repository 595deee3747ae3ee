// build.c: a TypeScript module's directory into one JavaScript file. Spec: cli-and-codegen §13.
//
//   src/index.ts ── tsc --noEmit (types) ── esbuild (one file) ── checks on its imports ──> dist/bundle.js
//
// Both tools are the project's own where it has them. The bundle depends on nothing but the source,
// so publishing unchanged code changes nothing.
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/build_c.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/module.h"
#include "cli/tool.h"

static const char *in_node_modules(const char *directory, const char *tool) {
    // npm puts tools of a workspace in a parent's node_modules, so look upwards too.
    char *resolved = realpath(directory, NULL);
    char *at = cli_copy(str_from(resolved ? resolved : directory));
    free(resolved);
    for (;; at = dirname(at)) {
        const char *path = cli_format("%s/node_modules/.bin/%s", at, tool);
        if (access(path, X_OK) == 0) return path;
        if (strcmp(at, "/") == 0 || strcmp(at, ".") == 0) return NULL;
    }
}

static const char *esbuild_find(const char *directory) {
    const char *path = in_node_modules(directory, "esbuild");
    if (path) return path;
    const char *beside = dirname(cli_copy(str_from(cli_globals()->exe)));
    const char *places[] = {
        cli_format("%s/tools/node_modules/.bin/esbuild", beside),
        cli_format("%s/../tools/node_modules/.bin/esbuild", beside),
        cli_format("%s/../lib/lightcone/node_modules/.bin/esbuild", beside),
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (access(places[i], X_OK) == 0) return places[i];
    return "esbuild";
}

// tsc says `src/index.ts(3,14): error` when it is not on a terminal. Everybody else says
// `src/index.ts:3:14: error`, and from where the person is.
static void types_line(void *ctx, char *line) {
    const char *directory = ctx;
    char *open = strchr(line, '('), *close = open ? strstr(open, "): ") : NULL;
    int row, column;
    if (!close || sscanf(open, "(%d,%d)", &row, &column) != 2) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    *open = 0;
    const char *path = strcmp(directory, ".") == 0 ? line : cli_join(directory, line);
    fprintf(stderr, "%s:%d:%d: %s\n", path, row, column, close + 3);
}

// Where tsc would look for one. Without, it prints its own help and fails.
static bool has_tsconfig(const char *directory) {
    char *real = realpath(directory, NULL);
    char *at = cli_copy(str_from(real ? real : directory));
    free(real);
    for (;; at = dirname(at)) {
        if (cli_file_exists(cli_join(at, "tsconfig.json"))) return true;
        if (strcmp(at, "/") == 0 || strcmp(at, ".") == 0) return false;
    }
}

static void types_check(const char *directory) {
    const char *tsc = in_node_modules(directory, "tsc");
    if (!tsc) {
        fprintf(stderr,
                "tsc not found in node_modules. Types are not checked; to check them: npm install "
                "--save-dev typescript\n");
        return;
    }
    if (!has_tsconfig(directory)) {
        fprintf(
            stderr,
            "There is no tsconfig.json in %s or above it. Types are not checked; to check them: npx "
            "tsc --init\n",
            directory);
        return;
    }
    bool is_terminal = isatty(STDERR_FILENO) != 0;
    char *words[] = {(char *)tsc,
                     (char *)"--noEmit",
                     is_terminal ? (char *)"--pretty" : NULL,
                     NULL};
    int code = is_terminal ? tool_run(directory, words)
                           : tool_run_lines(directory, words, types_line, (void *)directory);
    if (code != 0) exit(code);
}

static void bundle_make(const char *directory, const char *metafile, bool debug) {
    static char *const fixed[] = {
        (char *)"src/index.ts",
        (char *)"--bundle",
        (char *)"--format=esm",
        (char *)"--platform=neutral",
        (char *)"--target=es2022",
        (char *)"--conditions=production,import,default",
        (char *)"--main-fields=module,main",
        (char *)"--resolve-extensions=.ts,.tsx,.mjs,.js,.cjs,.json",
        (char *)"--external:spacetime:*",
        (char *)"--sourcemap=inline",
        (char *)"--legal-comments=none",
        (char *)"--outfile=dist/bundle.js",
        (char *)"--log-level=warning",
        (char *)"--allow-overwrite",
    };
    char *words[ARRAY_LEN(fixed) + 6];
    size_t count = 0;
    words[count++] = (char *)esbuild_find(directory);
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        words[count++] = fixed[i];
    words[count++] =
        cli_format("--define:process.env.NODE_ENV=\"%s\"", debug ? "development" : "production");
    words[count++] = cli_format("--metafile=%s", metafile);
    if (cli_file_exists(cli_join(directory, "tsconfig.json")))
        words[count++] = cli_format("--tsconfig=tsconfig.json");
    words[count] = NULL;
    int code = tool_run(directory, words);
    if (code == 127)
        cli_die("Could not find esbuild, which bundles TypeScript modules. Install it in the "
                "module's directory: npm install --save-dev esbuild");
    if (code != 0)
        cli_die("The module could not be bundled. You may have forgotten to install dependencies "
                "with your package manager.");
}

typedef struct SysImports {
    bool any;
    int major;
    bool differ;
} SysImports;

static SysImports sys_imports(json_t *output) {
    SysImports found = {0};
    size_t i;
    json_t *import;
    json_array_foreach(json_object_get(output, "imports"), i, import) {
        const char *path = json_text_at(import, "path");
        int major, minor;
        if (!path || sscanf(path, "spacetime:sys@%d.%d", &major, &minor) != 2) continue;
        if (found.any && found.major != major) found.differ = true;
        found.any = true;
        found.major = major;
    }
    return found;
}

static bool exports_default(json_t *output) {
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(output, "exports"), i, name) {
        if (json_is_string(name) && strcmp(json_string_value(name), "default") == 0) return true;
    }
    return false;
}

// What a bundle must import and export to be a module; read from esbuild's account of it.
static void bundle_check(const char *metafile) {
    const char *why = NULL;
    char *text = cli_file_read(metafile, NULL);
    json_t *meta = text ? json_from(text, &why) : NULL;
    json_t *outputs = json_object_get(meta, "outputs");
    json_t *output = json_object_iter_value(json_object_iter(outputs));
    if (!output)
        cli_die("esbuild wrote no account of the bundle%s%s", why ? ": " : "", why ? why : "");
    SysImports imports = sys_imports(output);
    if (imports.differ)
        cli_die("The module pulls in 2 different versions of the `spacetimedb/server` package");
    if (!imports.any)
        cli_die(
            "Your module doesn't import `lightcone/server` or `spacetimedb/server` at all - this is "
            "likely a mistake, as your module will not be able to interface with the "
            "SpacetimeDB host.");
    if (imports.major == 2 && !exports_default(output))
        cli_die("It seems like you haven't exported your schema. You must `export default "
                "schema(...);`");
}

static void language_check(const char *directory) {
    if (cli_file_exists(cli_join(directory, "package.json"))) return;
    if (cli_file_exists(cli_join(directory, "Cargo.toml")))
        cli_die("Rust modules are not built here yet. Build it with cargo for the target "
                "wasm32-unknown-unknown and publish the file with --bin-path.");
    if (cli_file_exists(cli_join(directory, "CMakeLists.txt")))
        cli_die(
            "C++ modules are not built here yet. Build it and publish the file with --bin-path.");
    cli_die(
        "Could not detect the language of the module. Are you in a SpacetimeDB project "
        "directory?\nA module in TypeScript has package.json and src/index.ts, one in C has src/*.c.");
}

static char metafile_path[] = "/tmp/lightcone-build-XXXXXX";

static void metafile_remove(void) {
    unlink(metafile_path);
}

// A file for what esbuild says about a bundle; gone when the command ends, however it ends.
static const char *metafile_make(void) {
    static bool is_made;
    if (is_made) return metafile_path;
    int fd = mkstemp(metafile_path);
    if (fd < 0) cli_die_cause(strerror(errno), "Could not make a temporary file");
    close(fd);
    atexit(metafile_remove);
    is_made = true;
    return metafile_path;
}

const char *module_build(const char *directory, bool debug) {
    if (build_c_detect(directory)) return build_c(directory, debug);
    language_check(directory);
    if (!cli_file_exists(cli_join(directory, "src/index.ts")))
        cli_die(
            "There is no src/index.ts in %s. A TypeScript module starts there; --module-path says where the module is.",
            strcmp(directory, ".") == 0 ? "this directory" : directory);
    types_check(directory);
    const char *metafile = metafile_make();
    bundle_make(directory, metafile, debug);
    bundle_check(metafile);
    return strcmp(directory, ".") == 0 ? "dist/bundle.js"
                                       : cli_format("%s/dist/bundle.js", directory);
}

static int build_run(const Args *args) {
    if (args->word_count > 0)
        args_fail(args->command, "unexpected argument '%s' found", args->words[0]);
    const char *directory = module_directory(args_value(args, "module-path"));
    if (args_has(args, "accessors") && build_c_detect(directory))
        build_c_accessors(directory);
    else
        module_build(directory, args_has(args, "debug"));
    puts("Build finished successfully.");
    return 0;
}

static const ArgSpec specs[] = {
    {"module-path",
     "project-path",
     'p',
     ARG_VALUE,
     "DIR",
     "The module (./spacetimedb, ./lightcone, or .)"},
    {"debug",
     NULL,
     'd',
     ARG_FLAG,
     NULL,
     "Build for development: NODE_ENV says so; C is compiled for a debugger"},
    {"accessors", NULL, 0, ARG_FLAG, NULL, "Of a C module: write build/gen and compile nothing"},
    {"lint-dir", NULL, 0, ARG_VALUE, "DIR", NULL},
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
const CliCommand command_build = {
    .name = "build",
    .usage = "[OPTIONS]",
    .summary = "Build the module in a directory",
    .about =
        "TypeScript (package.json): checks types with the project's tsc and writes dist/bundle.js with\n"
        "esbuild. C (src/*.c): writes build/module.wasm with clang and lld.\n\n"
        "Example:\n  lightcone build -p ./spacetimedb\n",
    .specs = specs,
    .run = build_run,
};
