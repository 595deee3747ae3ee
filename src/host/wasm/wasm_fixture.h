// wasm_fixture.h: for tests: modules written as wat text, one instance, one call at a time.
#pragma once
#include <unistd.h>

#include "base/test.h"
#include "host/fake_access.h"
#include "host/wasm/files.h"
#include "host/wasm/rt/guest.h"
#include "host/wasm/wasm.h"

enum { T_PLAIN = 1, T_KEYED = 2, T_AUTO = 3, FIXTURE_TABLES = 3 };

typedef struct Fixture {
    HostProgram *program;
    HostInstance *instance;
    HostEnv env;
    FakeTable tables[FIXTURE_TABLES];
    FakeAccess access;
    HostCall call;
    uint32_t calls_left;
    HostStatus status;
    uint32_t done_count;
    char message[1024];
    int64_t elapsed_us;
    Buf returned, body;
    uint32_t log_count;
    int log_level;
    char log_text[1024], log_target[64], log_file[64], frames[1024];
    uint32_t log_line;
    char scheduled[256];
    Diag diag;
} Fixture;

// The parts of nearly every module. The description is that of a module without anything.
#define WAT_HEAD                                                                                       \
    "(module\n"                                                                                        \
    "(import \"spacetime_10.0\" \"bytes_sink_write\" (func $sink (param i32 i32 i32) (result i32)))\n" \
    "(import \"spacetime_10.0\" \"bytes_source_read\" (func $source (param i32 i32 i32) (result i32)))\n"
#define WAT_DESCRIBE                                          \
    "(data (i32.const 16) \"\\02\\00\\00\\00\\00\")\n"        \
    "(func (export \"__describe_module__\") (param $s i32)\n" \
    "  (call $say (local.get $s) (i32.const 16) (i32.const 5)))\n"
#define WAT_SAY                                                    \
    "(func $say (param $s i32) (param $at i32) (param $len i32)\n" \
    "  (i32.store (i32.const 8) (local.get $len))\n"               \
    "  (drop (call $sink (local.get $s) (local.get $at) (i32.const 8))))\n"
#define WAT_MEMORY "(memory (export \"memory\") 2)\n"
#define WAT_REDUCER                                                                         \
    "(func (export \"__call_reducer__\") (param $id i32) (param $s0 i64) (param $s1 i64)\n" \
    "  (param $s2 i64) (param $s3 i64) (param $c0 i64) (param $c1 i64) (param $time i64)\n" \
    "  (param $args i32) (param $err i32) (result i32)\n"
#define WAT_TAIL           WAT_MEMORY WAT_SAY WAT_DESCRIBE
#define WAT_SILENT_REDUCER WAT_REDUCER "  (i32.const 0))\n"

// Assemble `wat` with wabt's own assembler. `options`: features to enable.
static void wat_program(const char *wat, const char *options, Buf *out) {
    char directory[256], command[1024], path[300];
    EXPECT_OK(directory_temporary(NULL, directory, sizeof directory));
    EXPECT_OK(file_write_whole(directory, "m.wat", str_bytes(str_from(wat))));
    snprintf(command,
             sizeof command,
             "wat2wasm --debug-names %s %s/m.wat -o %s/m.wasm",
             options,
             directory,
             directory);
    EXPECT_EQ(system(command), 0);
    snprintf(path, sizeof path, "%s/m.wasm", directory);
    EXPECT_OK(file_read_whole(path, out));
    directory_remove(directory);
}

static void fixture_log(void *ctx, const HostLogRecord *record) {
    Fixture *f = ctx;
    f->log_count++;
    f->log_level = record->level;
    f->log_line = record->line;
    snprintf(f->log_text, sizeof f->log_text, STR_FMT, STR_ARG(record->message));
    snprintf(f->log_target, sizeof f->log_target, STR_FMT, STR_ARG(record->target));
    snprintf(f->log_file, sizeof f->log_file, STR_FMT, STR_ARG(record->filename));
    f->frames[0] = 0;
    for (uint32_t i = 0; i < record->frame_count; i++) {
        size_t used = strlen(f->frames);
        snprintf(f->frames + used,
                 sizeof f->frames - used,
                 "%s" STR_FMT,
                 i ? " " : "",
                 STR_ARG(record->frames[i]));
    }
}

static Micros fixture_now(void *ctx) {
    (void)ctx;
    return 1700000000000000;
}

static void fixture_schedule(void *ctx, Str function, Bytes args) {
    Fixture *f = ctx;
    snprintf(f->scheduled, sizeof f->scheduled, STR_FMT "(%zu bytes)", STR_ARG(function), args.len);
}

static inline bool fixture_next(void *ctx, HostCall *call) {
    Fixture *f = ctx;
    if (!f->calls_left) return false;
    f->calls_left--;
    *call = f->call;
    return true;
}

static inline void fixture_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    Fixture *f = ctx;
    (void)call;
    f->done_count++;
    f->status = outcome->status;
    f->elapsed_us = outcome->elapsed_us;
    snprintf(f->message, sizeof f->message, STR_FMT, STR_ARG(outcome->message));
    buf_clear(&f->returned);
    buf_clear(&f->body);
    buf_put_bytes(&f->returned, outcome->returned);
    buf_put_bytes(&f->body, outcome->body);
}

// Load without keeping; `f->diag` says why it was refused.
static Err fixture_load(Fixture *f, const char *wat) {
    static const HostLoadOptions quick = {.describe_only = true};
    Buf program = {0};
    wat_program(wat, "--enable-all", &program);
    Err err = host_program_load(HOST_WASM, buf_bytes(&program), &quick, &f->program, &f->diag);
    buf_deinit(&program);
    return err;
}

static void fixture_init(Fixture *f) {
    *f = (Fixture){0};
    static const char *const names[] = {"plain", "keyed", "auto"};
    for (int i = 0; i < FIXTURE_TABLES; i++)
        f->tables[i].name = names[i];
    f->tables[T_PLAIN - 1].key_len = 4;
    f->tables[T_KEYED - 1].key_len = 4;
    f->tables[T_KEYED - 1].unique = true;
    f->tables[T_AUTO - 1].key_len = 8;
    f->tables[T_AUTO - 1].autoinc = true;
    fake_init(&f->access, f->tables, FIXTURE_TABLES);
    f->env = (HostEnv){.ctx = f,
                       .log = fixture_log,
                       .now = fixture_now,
                       .schedule_now = fixture_schedule};
    for (int i = 0; i < 32; i++)
        f->env.database.le[i] = (uint8_t)(i + 1);
    f->call = (HostCall){.name = STR("it"), .access = &f->access.base, .timestamp = 77};
}

static inline void fixture_instance(Fixture *f) {
    host_instance_free(&f->instance);
    EXPECT_OK(host_instance_new(f->program, &f->env, &f->instance, &f->diag));
}

static inline void fixture_open(Fixture *f, const char *wat) {
    fixture_init(f);
    Err err = fixture_load(f, wat);
    if (err != OK) print_error("%s\n", f->diag.text);
    EXPECT_OK(err);
    fixture_instance(f);
}

static void fixture_close(Fixture *f) {
    host_instance_free(&f->instance);
    host_program_free(&f->program);
    fake_deinit(&f->access);
    buf_deinit(&f->returned);
    buf_deinit(&f->body);
}

// Run f->call once, as function `id` with `args`; the instance is replaced if the last call broke it.
static inline HostStatus fixture_run(Fixture *f, HostCallKind kind, uint32_t id, Bytes args) {
    if (!host_instance_ok(f->instance)) fixture_instance(f);
    f->call.kind = kind;
    f->call.id = id;
    f->call.args = args;
    f->calls_left = 1;
    uint32_t before = f->done_count;
    HostSource source = {.ctx = f, .next = fixture_next, .done = fixture_done};
    host_run(f->instance, &source);
    EXPECT_EQ(f->done_count, before + 1);
    return f->status;
}

// ---- a module that calls any import with any arguments

enum {
    ASK_ARGS = 1024,     // where the arguments are in its memory: nine words of 8 bytes …
    ASK_DATA = 1096,     // … and what the test put behind them
    ASK_WINDOW = 65536,  // of memory comes back, from ASK_ARGS on
    ASK_MEMORY = 3 << 16,
};

static inline void ask_wat(Buf *wat) {
    uint32_t count = 0;
    buf_put_str(wat, STR("(module\n"));
#define X(minor, name, result, params, args, signature)                                       \
    {                                                                                         \
        buf_printf(wat, "(import \"spacetime_10.%d\" \"%s\" (func $%s", minor, #name, #name); \
        const char *s = signature;                                                            \
        for (; *s != '>'; s++)                                                                \
            buf_printf(wat, " (param %s)", *s == 'i' ? "i32" : "i64");                        \
        if (*++s) buf_printf(wat, " (result %s)", *s == 'i' ? "i32" : "i64");                 \
        buf_printf(wat, "))\n");                                                              \
        count++;                                                                              \
    }
    GUEST_IMPORTS(X)
#undef X
    buf_put_str(
        wat,
        STR("(memory (export \"memory\") 3 3)\n"
            "(func $say (param $s i32) (param $at i32) (param $len i32)\n"
            "  (i32.store (i32.const 8) (local.get $len))\n"
            "  (drop (call $bytes_sink_write (local.get $s) (local.get $at) (i32.const 8))))\n" WAT_DESCRIBE
                WAT_SILENT_REDUCER "(func $speak"));
    buf_put_str(wat, STR(" (param $id i32) (result i64)\n"));
    for (uint32_t i = 0; i < count; i++)
        buf_put_str(wat, STR("(block "));
    buf_put_str(wat, STR("(br_table"));
    for (uint32_t i = 0; i < count; i++)
        buf_printf(wat, " %u", i);
    buf_put_str(wat, STR(" (local.get $id))"));
#define X(minor, name, result, params, args, signature)                                  \
    {                                                                                    \
        const char *s = signature;                                                       \
        const char *end = strchr(s, '>') + 1;                                            \
        buf_printf(wat,                                                                  \
                   ")\n(return (%s (call $%s",                                           \
                   *end == 'i' ? "i64.extend_i32_u"                                      \
                   : *end      ? "i64.add (i64.const 0)"                                 \
                               : "block (result i64)",                                        \
                   #name);                                                               \
        for (int at = ASK_ARGS; *s != '>'; s++, at += 8)                                 \
            buf_printf(wat, " (%s.load (i32.const %d))", *s == 'i' ? "i32" : "i64", at); \
        buf_printf(wat, "%s))", *end ? ")" : ") (i64.const 0)");                         \
    }
    GUEST_IMPORTS(X)
#undef X
    buf_put_str(
        wat,
        STR(" (unreachable))\n"
            "(func (export \"__call_procedure__\") (param $id i32) (param i64 i64 i64 i64)\n"
            "  (param i64 i64 i64) (param $args i32) (param $out i32) (result i32)\n"
            "  (i32.store (i32.const 8) (i32.const 65536))\n"
            "  (drop (call $bytes_source_read (local.get $args) (i32.const 1024) (i32.const 8)))\n"
            "  (i64.store (i32.const 32) (call $speak (local.get $id)))\n"
            "  (call $say (local.get $out) (i32.const 32) (i32.const 8))\n"
            "  (call $say (local.get $out) (i32.const 1024) (i32.const 65536))\n"
            "  (i32.const 0)))\n"));
    buf_put_u8(wat, 0);
}

static inline uint32_t ask_id(const char *import) {
    static const char *const names[] = {
#define X(minor, name, result, params, args, signature) #name,
        GUEST_IMPORTS(X)
#undef X
    };
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], import) == 0) return i;
    abort();
}

static inline void ask_open(Fixture *f) {
    Buf wat = {0};
    ask_wat(&wat);
    fixture_open(f, (const char *)wat.ptr);
    buf_deinit(&wat);
}

// Call `import` with up to nine arguments, `data` at ASK_DATA.
static inline HostStatus ask_with(Fixture *f,
                                  const char *import,
                                  const uint64_t args[9],
                                  Bytes data) {
    Buf bytes = {0};
    for (int i = 0; i < 9; i++)
        buf_put_u64(&bytes, args[i]);
    buf_put_bytes(&bytes, data);
    HostStatus status = fixture_run(f, HOST_PROCEDURE, ask_id(import), buf_bytes(&bytes));
    buf_deinit(&bytes);
    return status;
}
#define ask(f, import, data, ...) ask_with(f, import, (uint64_t[9]){__VA_ARGS__}, data)

static inline int64_t ask_result(const Fixture *f) {
    EXPECT_EQ(f->status, HOST_OK);
    return (int64_t)load_u64(f->returned.ptr);
}
// What is in the module's memory at `at`, after the call.
static inline const uint8_t *ask_memory(const Fixture *f, uint32_t at) {
    return f->returned.ptr + 8 + at - ASK_ARGS;
}
