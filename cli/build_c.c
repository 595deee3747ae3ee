#include "cli/build_c.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cgen.h"
#include "cli/tool.h"

#define SOURCES_MAX 256

typedef struct Sources {
    CgenSource files[SOURCES_MAX];
    uint32_t count;
} Sources;

static bool ends_with(const char *name, const char *suffix) {
    size_t len = strlen(name), tail = strlen(suffix);
    return len > tail && strcmp(name + len - tail, suffix) == 0;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const CgenSource *)a)->path, ((const CgenSource *)b)->path);
}

// The names in src/, sorted: what a directory lists first must not decide anything.
static void sources_list(const char *directory, Sources *sources) {
    DIR *dir = opendir(cli_join(directory, "src"));
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (name[0] == '.' || (!ends_with(name, ".c") && !ends_with(name, ".h"))) continue;
        if (sources->count == SOURCES_MAX) cli_die("More than %d files in src.", SOURCES_MAX);
        sources->files[sources->count++].path = cli_format("src/%s", name);
    }
    closedir(dir);
    qsort(sources->files, sources->count, sizeof(CgenSource), by_path);
}

bool build_c_detect(const char *directory) {
    static const char *const others[] = {"package.json", "Cargo.toml", "CMakeLists.txt"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (cli_file_exists(cli_join(directory, others[i]))) return false;
    Sources sources = {0};
    sources_list(directory, &sources);
    for (uint32_t i = 0; i < sources.count; i++)
        if (ends_with(sources.files[i].path, ".c")) return true;
    return false;
}

const char *build_c_sdk(void) {
    const char *beside = dirname(cli_copy(str_from(cli_globals()->exe)));
    const char *places[] = {
        cli_format("%s/../sdk/module-c", beside),              // build/lightcone
        cli_format("%s/../../sdk/module-c", beside),           // build/release/lightcone
        cli_format("%s/../share/lightcone/module-c", beside),  // installed
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (!cli_file_exists(cli_join(places[i], "lightcone.h"))) continue;
        char *resolved = realpath(places[i], NULL);
        if (!resolved) cli_die_cause(strerror(errno), "Could not read %s", places[i]);
        const char *copy = cli_copy(str_from(resolved));
        free(resolved);
        return copy;
    }
    cli_die("lightcone.h is not where it belongs beside %s: looked in ../sdk/module-c and "
            "../share/lightcone/module-c.",
            cli_globals()->exe);
}

// ── the generated part ─────────────────────────────────────────────────────────────────────────

// Left alone when it is the same, so that editors and make see no change.
static void file_update(const char *path, Buf *content) {
    if (!buf_ok(content)) cli_die("out of memory");
    size_t len = 0;
    const char *old = cli_file_read(path, &len);
    if (!old || !bytes_eq(BYTES(old, len), buf_bytes(content)))
        cli_file_write(path, buf_bytes(content));
    buf_deinit(content);
}

static void generate(const char *directory, Sources *sources) {
    for (uint32_t i = 0; i < sources->count; i++) {
        CgenSource *file = &sources->files[i];
        const char *path = cli_join(directory, file->path);
        file->text.ptr = cli_file_read(path, &file->text.len);
        if (!file->text.ptr) cli_die("Could not read %s: there is no such file.", path);
    }
    Cgen gen;
    Buf definition = {0}, header = {0}, code = {0};
    bool ok = cgen_read(&gen, sources->files, sources->count) && cgen_definition(&gen, &definition);
    if (!ok) {
        fputs(cli_buf_text(&gen.errors), stderr);
        cli_die("The module's declarations could not be read.");
    }
    cgen_header(&gen, &header);
    cgen_code(&gen, buf_bytes(&definition), &code);
    file_update(cli_join(directory, "build/gen/module.gen.h"), &header);
    file_update(cli_join(directory, "build/gen/module.gen.c"), &code);
    buf_deinit(&definition);
}

// ── the compiler ───────────────────────────────────────────────────────────────────────────────

static void tools_check(void) {
    const char *missing = !tool_exists("clang")     ? "clang"
                          : !tool_exists("wasm-ld") ? "wasm-ld"
                                                    : NULL;
    if (missing)
        cli_die(
            "C modules are compiled by clang and linked by wasm-ld (lld), and %s is not installed. "
            "On Debian: sudo apt-get install clang lld",
            missing);
}

typedef struct Words {
    char *list[SOURCES_MAX + 64];
    size_t count;
} Words;

static void add(Words *words, const char *word) {
    if (words->count + 1 == ARRAY_LEN(words->list)) cli_die("Too many files in src.");
    words->list[words->count++] = cli_copy(str_from(word));
}

static void compile(const char *directory, const Sources *sources, bool debug) {
    static const char *const fixed[] = {
        "clang",
        "--target=wasm32",
        "-std=gnu17",
        "-ffreestanding",
        "-nostdlib",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",  // a reducer has a ctx whether it looks at it or not
        // Mistakes that C lets pass for the sake of programs older than its prototypes.
        "-Werror=implicit-function-declaration",
        "-Werror=incompatible-pointer-types",
        "-Werror=int-conversion",
        "-Werror=return-type",
        "-Ibuild/gen",
        "-Isrc",
        "-Wl,--no-entry",
        "-Wl,--stack-first",  // so that an overflow traps and does not write over data
        "-Wl,-z,stack-size=262144",
        "-obuild/module.wasm",
        "build/gen/module.gen.c",
    };
    static const char *const library[] = {"lightcone.c", "lightcone_text.c", "lightcone_rt.c"};
    const char *sdk = build_c_sdk();
    Words words = {0};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        add(&words, fixed[i]);
    add(&words, debug ? "-O1" : "-O2");
    add(&words, debug ? "-g" : "-flto");
    add(&words, cli_format("-I%s", sdk));
    // Panics of the library name its files, wherever it is installed.
    add(&words, cli_format("-ffile-prefix-map=%s=lightcone", sdk));
    for (size_t i = 0; i < ARRAY_LEN(library); i++)
        add(&words, cli_join(sdk, library[i]));
    for (uint32_t i = 0; i < sources->count; i++)
        if (ends_with(sources->files[i].path, ".c")) add(&words, sources->files[i].path);
    words.list[words.count] = NULL;
    int code = tool_run(directory, words.list);
    if (code != 0) exit(code);
}

void build_c_accessors(const char *directory) {
    Sources sources = {0};
    sources_list(directory, &sources);
    generate(directory, &sources);
}

const char *build_c(const char *directory, bool debug) {
    Sources sources = {0};
    sources_list(directory, &sources);
    tools_check();
    generate(directory, &sources);
    compile(directory, &sources, debug);
    return strcmp(directory, ".") == 0 ? "build/module.wasm"
                                       : cli_format("%s/build/module.wasm", directory);
}
