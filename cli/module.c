#include "cli/module.h"

#include "cli/build_c.h"

HostKind module_kind(const char *path) {
    size_t len = strlen(path);
    return len > 5 && strcmp(path + len - 5, ".wasm") == 0 ? HOST_WASM : HOST_JS;
}

const ModuleDef *module_definition(const char *path, HostKind kind) {
    size_t len = 0;
    const char *text = cli_file_read(path, &len);
    if (!text)
        cli_die(
            "Could not read %s: there is no such file. `lightcone build` makes one of a module's source.",
            path);
    static HostProgram *program;  // one a process; kept so that its definition stays
    static const HostLoadOptions options = {.describe_only = true};
    Diag diag = {0};
    Err err = host_program_load(kind, BYTES(text, len), &options, &program, &diag);
    if (err != OK) {
        if (!diag.text[0]) diag_fail(&diag, err, "%s", err_text(err));
        cli_die_cause(diag.text, "%s is not a module that can run here", path);
    }
    return host_program_def(program);
}

static bool holds_module(const char *directory) {
    static const char *const signs[] = {"package.json", "Cargo.toml", "CMakeLists.txt"};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (cli_file_exists(cli_join(directory, signs[i]))) return true;
    return build_c_detect(directory);
}

const char *module_directory(const char *given) {
    if (given) {
        if (!cli_dir_exists(given))
            cli_die("Fatal Error: path %s does not exist. It has to be the module's directory.",
                    given);
        return given;
    }
    static const char *const places[] = {"spacetimedb", "lightcone", "."};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (holds_module(places[i])) return places[i];
    cli_die(
        "Could not find a SpacetimeDB module in spacetimedb/ or the current directory. Use "
        "--module-path to specify the module location, or make a project with `lightcone init`.");
}
