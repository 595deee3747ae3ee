// compile.c: runs wasm2c, cuts what it wrote into parts, and runs a C compiler on each.
//
// PICTURE   everything in a temporary directory of its own
//   module.wasm ──wasm2c──> module.c, module.h ──split──> parts.h, part0.c … ──cc──> part0.o … ──cc──> module.so
//                                                         with rt/ beside them       side by side
//
// SAFETY  The compilers read what a stranger sent, as bytes and as C generated from it. They run as
//         children with limits (child.h); names and texts of the stranger's are gone before wasm2c
//         sees the module (binary.h), so the C has none but wasm2c's own words and numbers in it.
#include "host/wasm/compile.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/blake3.h"
#include "base/mem.h"
#include "host/wasm/child.h"
#include "host/wasm/files.h"
#include "host/wasm/rt/guest.h"
#include "host/wasm/split.h"

enum {
    PARTS_MAX = 8,
    PART_BYTES = 256 << 10,  // of C: less is not worth another compiler
    ARGS_MAX = 48,
    TOLD_BYTES = 1200,  // of what a tool complained of
};

// Global: an optimised build may compile what refers to a name in another unit than the name itself.
#define EMBED(name, file)                                                                    \
    __asm__(".section .rodata\n.globl " #name ", " #name "_end\n" #name                      \
            ": .incbin \"src/host/wasm/rt/" file "\"\n" #name "_end: .byte 0\n.previous\n"); \
    extern const char name[], name##_end[]

EMBED(guest_header_text, "guest.h");
EMBED(guest_rt_text, "wasm-rt.h");
EMBED(guest_source_text, "guest.c");

#define EMBEDDED(name) BYTES(name, name##_end - name)

// Why each: frames larger than a page are probed page by page, so that none can jump over the end of
// a stack; wasm's arithmetic wraps, its floats are not contracted and its NaNs not folded.
static const char *const flags[] = {"-std=gnu11",
                                    "-w",
                                    "-fPIC",
                                    "-DNDEBUG",
                                    "-fvisibility=hidden",
                                    "-fstack-clash-protection",
                                    "-fno-strict-aliasing",
                                    "-fwrapv",
                                    "-ffp-contract=off",
                                    "-frounding-math",
                                    "-fno-math-errno",
#if defined(__x86_64__)
                                    "-march=x86-64-v2",
                                    "-fcf-protection=none",
#endif
                                    NULL};
static const char flag_good[] = "-O1", flag_quick[] = "-O0";

typedef struct Work {
    char directory[PATH_MAX];
    ChildLimits limits;
    Diag *diag;
} Work;

// ---- tools

static Err tool_missing(Diag *diag, const char *tool) {
    const char *package = strcmp(tool, "wasm2c") == 0 ? "wabt" : "gcc";
    return diag_fail(
        diag,
        ERR_UNSUPPORTED,
        "this server cannot compile WebAssembly: `%s` is not installed (Debian package %s)",
        tool,
        package);
}

static Err tool_start(Work *work, const char *const *argv, const char *log, Child *child) {
    Err err = child_start(argv, work->directory, log, &work->limits, child);
    if (err == ERR_NOT_FOUND) return tool_missing(work->diag, argv[0]);
    if (err != OK) return diag_fail(work->diag, err, "`%s` could not be started", argv[0]);
    return OK;
}

// `said`: "wasm2c refused the module", followed by the tool's own words.
static Err tool_wait(Work *work, const Child *child, const char *log, const char *said) {
    char how[128], path[PATH_MAX + 32];
    Err err = child_wait(child, &work->limits, how, sizeof how);
    if (err == OK) return OK;
    if (err != ERR_MODULE) return diag_fail(work->diag, err, "%s", err_text(err));
    Buf words = {0};
    snprintf(path, sizeof path, "%s/%s", work->directory, log);
    if (file_read_whole(path, &words) != OK) buf_clear(&words);
    Str shown = bytes_str(buf_bytes(&words));
    if (shown.len > TOLD_BYTES) shown.len = utf8_cut(shown, TOLD_BYTES);
    while (shown.len && shown.ptr[shown.len - 1] == '\n')
        shown.len--;
    if (!utf8_valid(str_bytes(shown))) shown.len = 0;
    diag_fail(work->diag, ERR_INVALID, "%s: %s\n" STR_FMT, said, how, STR_ARG(shown));
    buf_deinit(&words);
    return ERR_INVALID;
}

static Err tool_run(Work *work, const char *const *argv, const char *log, const char *said) {
    Child child;
    Err err = tool_start(work, argv, log, &child);
    return err == OK ? tool_wait(work, &child, log, said) : err;
}

// ---- identity

static pthread_mutex_t identity_mutex = PTHREAD_MUTEX_INITIALIZER;
static char identity_text[2 * BLAKE3_LEN];
static bool identity_known;

static Err version_add(Work *work, const char *tool, Blake3 *hash) {
    char path[PATH_MAX + 32];
    Buf version = {0};
    const char *argv[] = {tool, "--version", NULL};
    snprintf(path, sizeof path, "%s/%s.log", work->directory, tool);
    Err err = tool_run(work, argv, strrchr(path, '/') + 1, "it does not tell its version");
    if (err == OK) err = file_read_whole(path, &version);
    blake3_add(hash, buf_bytes(&version));
    buf_deinit(&version);
    return err;
}

static Err identity_make(Diag *diag) {
    Work work = {.limits = {.cpu_s = 10, .memory_bytes = (size_t)4 << 30, .file_bytes = 1 << 20},
                 .diag = diag};
    Err err = directory_temporary(NULL, work.directory, sizeof work.directory);
    if (err != OK)
        return diag_fail(diag, err, "no temporary directory could be made: %s", err_text(err));
    Blake3 hash;
    uint8_t digest[BLAKE3_LEN];
    blake3_init(&hash);
    blake3_add(&hash, EMBEDDED(guest_header_text));
    blake3_add(&hash, EMBEDDED(guest_rt_text));
    blake3_add(&hash, EMBEDDED(guest_source_text));
    blake3_add(&hash, str_bytes(str_from(flag_good)));
    for (size_t i = 0; flags[i]; i++)
        blake3_add(&hash, str_bytes(str_from(flags[i])));
    if (err == OK) err = version_add(&work, "wasm2c", &hash);
    if (err == OK) err = version_add(&work, "cc", &hash);
    blake3_end(&hash, digest);
    hex_write(identity_text, BYTES(digest, BLAKE3_LEN));
    directory_remove(work.directory);
    return err;
}

Err wasm_compile_identity(Str *out, Diag *diag) {
    Err err = OK;
    pthread_mutex_lock(&identity_mutex);
    if (!identity_known) err = identity_make(diag);
    if (err == OK) identity_known = true;
    pthread_mutex_unlock(&identity_mutex);
    *out = (Str){identity_text, 16};
    return err;
}

// ---- from wasm to C

static Err translate(Work *work, const WasmBinary *binary) {
    Buf module = {0};
    wasm_binary_rewrite(binary, &module);
    Err err = buf_ok(&module) ? file_write_whole(work->directory, "module.wasm", buf_bytes(&module))
                              : ERR_NOMEM;
    buf_deinit(&module);
    if (err != OK) return diag_fail(work->diag, err, "%s", err_text(err));
    const char *argv[] = {"wasm2c", "module.wasm", "-n", "M", "-o", "module.c", NULL};
    return tool_run(work, argv, "wasm2c.log", "wasm2c refused the module");
}

// What rt/guest.c must know of this module.
static void glue_write(const WasmBinary *binary, Buf *out) {
    static const char *const members[] = {
        [WASM_INITIALIZE] = "initialize",
        [WASM_SETUP] = "setup",
        [WASM_DESCRIBE] = "describe",
        [WASM_REDUCER] = "reducer",
        [WASM_PROCEDURE] = "procedure",
        [WASM_VIEW] = "view",
        [WASM_VIEW_ANON] = "view_anon",
        [WASM_HTTP] = "http",
    };
    size_t type_bytes = 0;
    for (uint32_t i = 0; i < binary->type_count; i++)
        type_bytes += binary->types[i].len;
    buf_printf(out,
               "\n#define GUEST_TYPES %u\n#define GUEST_TYPE_BYTES %zu\n",
               binary->type_count,
               type_bytes);
    buf_put_str(out, STR("#define GUEST_IMPORT_MODULES"));
    for (uint32_t minors = binary->minors; minors; minors &= minors - 1)
        buf_put_str(out, STR(", host"));
    buf_put_str(out, STR("\n#define GUEST_PREINITS"));
    for (uint32_t i = 0; i < binary->preinit_count; i++)
        buf_printf(out, " (void (*)(void *))Z_MZ_e%u,", binary->preinits[i].func);
    buf_put_str(out, STR("\n#define GUEST_EXPORTS"));
    for (int i = 0; i < WASM_EXPORTS; i++)
        if (binary->exports[i] != WASM_NO_FUNC)
            buf_printf(out, " .%s = (void *)Z_MZ_e%u,", members[i], binary->exports[i]);
    buf_put_str(out, STR("\n#include \"guest.c\"\n"));
}

static Err file_add(Work *work, const char *name, Bytes content) {
    Err err = file_write_whole(work->directory, name, content);
    return err == OK ? OK : diag_fail(work->diag, err, "%s", err_text(err));
}

static Err parts_write(Work *work, const WasmBinary *binary, uint32_t *part_count) {
    Buf generated = {0}, header = {0}, parts[PARTS_MAX] = {0};
    char path[PATH_MAX + 32], name[32];
    snprintf(path, sizeof path, "%s/module.c", work->directory);
    Err err = file_read_whole(path, &generated);
    if (err != OK) err = diag_fail(work->diag, err, "%s", err_text(err));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = MIN(generated.len / PART_BYTES + 1, (size_t)MAX(cores, 1));
    *part_count = (uint32_t)MIN(wanted, PARTS_MAX);
    for (uint32_t i = 0; i < *part_count; i++)
        buf_put_str(&parts[i], STR("#include \"parts.h\"\n"));
    if (err == OK) err = wasm_split(buf_bytes(&generated), &header, parts, *part_count, work->diag);
    glue_write(binary, &parts[0]);
    if (err == OK && !buf_ok(&parts[0]))
        err = diag_fail(work->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    if (err == OK) err = file_add(work, "parts.h", buf_bytes(&header));
    for (uint32_t i = 0; i < *part_count && err == OK; i++) {
        snprintf(name, sizeof name, "part%u.c", i);
        err = file_add(work, name, buf_bytes(&parts[i]));
    }
    if (err == OK) err = file_add(work, "guest.h", EMBEDDED(guest_header_text));
    if (err == OK) err = file_add(work, "wasm-rt.h", EMBEDDED(guest_rt_text));
    if (err == OK) err = file_add(work, "guest.c", EMBEDDED(guest_source_text));
    for (uint32_t i = 0; i < PARTS_MAX; i++)
        buf_deinit(&parts[i]);
    buf_deinit(&header);
    buf_deinit(&generated);
    return err;
}

// ---- from C to machine code

static const char said_by_compiler[] = "the C compiler did not compile the module";

static Err part_start(Work *work, uint32_t part, bool quick, Child *child) {
    char source[32], object[32], log[32];
    const char *argv[ARGS_MAX] =
        {"cc", "-c", quick ? flag_quick : flag_good, "-I.", "-o", object, source};
    size_t count = 7;
    for (size_t i = 0; flags[i]; i++)
        argv[count++] = flags[i];
    snprintf(source, sizeof source, "part%u.c", part);
    snprintf(object, sizeof object, "part%u.o", part);
    snprintf(log, sizeof log, "part%u.log", part);
    return tool_start(work, argv, log, child);
}

// Every part is waited for, even when one could not be started or failed.
static Err parts_compile(Work *work, uint32_t part_count, bool quick) {
    Child children[PARTS_MAX];
    char log[32];
    Err err = OK;
    uint32_t started = 0;
    while (started < part_count &&
           (err = part_start(work, started, quick, &children[started])) == OK)
        started++;
    for (uint32_t i = 0; i < started; i++) {
        snprintf(log, sizeof log, "part%u.log", i);
        Err failed = tool_wait(work, &children[i], log, said_by_compiler);
        if (err == OK) err = failed;
    }
    return err;
}

static Err parts_link(Work *work, uint32_t part_count) {
    char objects[PARTS_MAX][32];
    const char *argv[ARGS_MAX] = {"cc",
                                  "-shared",
                                  "-o",
                                  "module.so",
                                  "-Wl,-z,defs,-z,now,-z,relro"};
    size_t count = 5;
    for (uint32_t i = 0; i < part_count; i++) {
        snprintf(objects[i], sizeof objects[i], "part%u.o", i);
        argv[count++] = objects[i];
    }
    argv[count] = "-lm";
    return tool_run(work, argv, "link.log", said_by_compiler);
}

// Time and memory to compile grow with the module; a hostile one gets no more than a large one.
static ChildLimits limits_for(size_t program_bytes) {
    uint32_t megabytes = (uint32_t)(program_bytes >> 20) + 1;
    return (ChildLimits){.cpu_s = 60 + 60 * MIN(megabytes, 60),
                         .memory_bytes = ((size_t)2 << 30) + ((size_t)MIN(megabytes, 60) << 28),
                         .file_bytes = (size_t)1 << 30};
}

Err wasm_compile(const WasmBinary *binary, bool quick, const char *place, Buf *object, Diag *diag) {
    Work work = {.limits = limits_for(binary->program.len), .diag = diag};
    char path[PATH_MAX + 32];
    uint32_t part_count = 0;
    Err err = directory_temporary(place, work.directory, sizeof work.directory);
    if (err != OK)
        return diag_fail(diag, err, "no temporary directory could be made: %s", err_text(err));
    if ((err = translate(&work, binary)) != OK) goto done;
    if ((err = parts_write(&work, binary, &part_count)) != OK) goto done;
    if ((err = parts_compile(&work, part_count, quick)) != OK) goto done;
    if ((err = parts_link(&work, part_count)) != OK) goto done;
    snprintf(path, sizeof path, "%s/module.so", work.directory);
    if ((err = file_read_whole(path, object)) != OK) diag_fail(diag, err, "%s", err_text(err));
done:
    directory_remove(work.directory);
    return err;
}
