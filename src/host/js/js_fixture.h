// js_fixture.h: for tests: one module, one instance, one call at a time.
//
// The module's first reducer runs the JavaScript text it is given as arguments and throws the
// result as a SenderError, so a test is one line:  EXPECT_STR(ask(&f, "1 + 1"), "2").
#pragma once
#include "base/test.h"
#include "host/abi.h"
#include "host/fake_access.h"

enum { FIXTURE_TABLES = 3, FIXTURE_LOGS = 64 };
enum { T_PLAIN = 1, T_KEYED = 2, T_AUTO = 3 };

// The library leaks 26 bytes with each VM that had a watchdog.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libjavascriptcoregtk";
}

typedef struct JsFixture {
    HostProgram *program;
    HostInstance *instance;
    HostEnv env;
    FakeTable tables[FIXTURE_TABLES];
    FakeAccess access;
    HostCall call;
    uint32_t calls_left;
    HostStatus status;
    uint32_t done_count;
    uint32_t status_count[5];
    char message[1024];
    Buf returned, body;
    HostLogRecord log;  // the last; texts are in log_text
    char log_text[1024];
    char log_file[64];
    char frames[1024];  // of the last panic, joined with spaces
    uint32_t log_count;
    Str scheduled;
    char scheduled_text[256];
    bool no_access;
    uint32_t begun, committed, aborted;  // transactions of procedures
    uint32_t conflicts;                  // how many commits from now on fail
    AbiErrno http_result;
    const char *http_text;  // instead of the echo
    uint64_t wait_ns;       // how long waiting takes
} JsFixture;

#define MODULE_HEAD                                                            \
    "import * as sys from \"spacetime:sys@2.0\";\n"                            \
    "import { moduleHooks } from \"spacetime:sys@2.0\";\n"                     \
    "import * as sys21 from \"spacetime:sys@2.1\";\n"                          \
    "class HostError extends Error {}\n"                                       \
    "class SenderError extends Error {}\n"                                     \
    "const classes = [];\n"                                                    \
    "for (let i = 0; i < 32; i++) classes[i] = class extends HostError {\n"    \
    "  get errno() { return i; } };\n"                                         \
    "const hooks = {\n"                                                        \
    "  __describe_module__() { return new Uint8Array([2, 0, 0, 0, 0]); },\n"   \
    "  __get_error_constructor__(n) { return classes[n]; },\n"                 \
    "  __sender_error_class__: SenderError,\n"                                 \
    "  __call_reducer__(id, sender, conn, time, args) {\n"                     \
    "    return reducers[id](sender, conn, time, args, this); },\n"            \
    "  __call_view__(id, sender, args) { return views[id](sender, args); },\n" \
    "  __call_view_anon__(id, args) { return views[id](args); },\n"            \
    "  __call_procedure__(id, sender, conn, time, args) {\n"                   \
    "    return views[id](sender, conn, time, args); },\n"                     \
    "  __call_http_handler__(id, time, request, body) {\n"                     \
    "    return views[id](time, request, body); },\n"                          \
    "};\n"                                                                     \
    "const views = [];\n"                                                      \
    "export default { [moduleHooks](ns) { return hooks; } };\n"

#define MODULE_ASK                                                                                       \
    MODULE_HEAD                                                                                          \
    "const buf = new ArrayBuffer(65536), u8 = new Uint8Array(buf);\n"                                    \
    "const put = (...bytes) => { u8.set(bytes); return bytes.length; };\n"                               \
    "const hex = (b, n) => Array.from(new Uint8Array(b, 0, n),\n"                                        \
    "  x => x.toString(16).padStart(2, '0')).join('');\n"                                                \
    "const tried = f => { try { return f(); } catch (e) {\n"                                             \
    "  return e instanceof HostError ? `errno ${e.errno}: ${e.message}` : String(e); } };\n"             \
    "const library = (level, text) => sys.console_log(level, text);\n"                                   \
    "function speak(level, text) { library(level, text); }\n"                                            \
    "const reducers = [\n"                                                                               \
    "  (sender, conn, time, args) => {\n"                                                                \
    "    const code = new TextDecoder().decode(args);\n"                                                 \
    "    const f = new Function('sys', 'sys21', 'buf', 'u8', 'put', 'hex', 'tried', 'hooks', 'speak',\n" \
    "      'sender', 'conn', 'time', 'args', 'SenderError', 'views', 'return ' + code);\n"               \
    "    throw new SenderError(String(f(sys, sys21, buf, u8, put, hex, tried, hooks, speak,\n"           \
    "      sender, conn, time, args, SenderError, views))); },\n"                                        \
    "  (sender, conn, time, args) => {\n"                                                                \
    "    const code = new TextDecoder().decode(args);\n"                                                 \
    "    return new Function('sys', 'sys21', 'hooks', 'SenderError', 'args', 'views', code)(\n"          \
    "      sys, sys21, hooks, SenderError, args, views); },\n"                                           \
    "  () => { for (;;) ; },\n"                                                                          \
    "];\n"

static void fixture_log(void *ctx, const HostLogRecord *record) {
    JsFixture *f = ctx;
    f->log = *record;
    f->log_count++;
    snprintf(f->log_text, sizeof f->log_text, STR_FMT, STR_ARG(record->message));
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
    JsFixture *f = ctx;
    snprintf(f->scheduled_text,
             sizeof f->scheduled_text,
             STR_FMT "(%zu bytes)",
             STR_ARG(function),
             args.len);
}

static bool fixture_next(void *ctx, HostCall *call) {
    JsFixture *f = ctx;
    if (f->calls_left == 0) return false;
    f->calls_left--;
    *call = f->call;
    return true;
}

static void fixture_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    JsFixture *f = ctx;
    (void)call;
    f->done_count++;
    f->status = outcome->status;
    f->status_count[outcome->status]++;
    snprintf(f->message, sizeof f->message, STR_FMT, STR_ARG(outcome->message));
    buf_clear(&f->returned);
    buf_put_bytes(&f->returned, outcome->returned);
    buf_clear(&f->body);
    buf_put_bytes(&f->body, outcome->body);
}

static inline Err fixture_load(JsFixture *f, Str module, Diag *diag) {
    *f = (JsFixture){
        .env = {.log = fixture_log, .now = fixture_now, .schedule_now = fixture_schedule}};
    f->env.ctx = f;
    for (int i = 0; i < 32; i++)
        f->env.database.le[i] = (uint8_t)i;
    f->tables[0] = (FakeTable){.name = "plain"};
    f->tables[1] = (FakeTable){.name = "keyed", .key_len = 4, .unique = true};
    f->tables[2] = (FakeTable){.name = "auto", .autoinc = true};
    fake_init(&f->access, f->tables, FIXTURE_TABLES);
    diag_clear(diag);
    Err err = host_program_load(HOST_JS, str_bytes(module), NULL, &f->program, diag);
    if (err == OK) err = host_instance_new(f->program, &f->env, &f->instance, diag);
    return err;
}

static inline void fixture_init(JsFixture *f, const char *module) {
    Diag *diag = malloc(sizeof *diag);
    Err err = fixture_load(f, str_from(module), diag);
    if (err != OK) print_error("%s\n", diag->text);
    free(diag);
    EXPECT_OK(err);
}

static inline void fixture_deinit(JsFixture *f) {
    host_instance_free(&f->instance);
    host_program_free(&f->program);
    fake_deinit(&f->access);
    buf_deinit(&f->returned);
    buf_deinit(&f->body);
}

// What everybody has to do who owns an instance.
static inline void fixture_renew(JsFixture *f) {
    if (host_instance_ok(f->instance)) return;
    Diag diag = {0};
    host_instance_free(&f->instance);
    EXPECT_OK(host_instance_new(f->program, &f->env, &f->instance, &diag));
}

static inline void fixture_run(JsFixture *f, uint32_t times) {
    f->calls_left = times;
    fixture_renew(f);
    host_run(f->instance, &(HostSource){.ctx = f, .next = fixture_next, .done = fixture_done});
}

static void fixture_wait(const JsFixture *f) {
    for (uint64_t end = abi_monotonic_ns() + f->wait_ns; abi_monotonic_ns() < end;) {
    }
}
static AbiErrno fixture_tx_begin(void *ctx, Access **access, Micros *timestamp) {
    JsFixture *f = ctx;
    fixture_wait(f);
    f->begun++;
    *access = &f->access.base;
    *timestamp = 1700000000000001;
    return ABI_OK;
}
static AbiErrno fixture_tx_commit(void *ctx) {
    JsFixture *f = ctx;
    fixture_wait(f);
    if (f->conflicts) {
        f->conflicts--;
        return ABI_HOST_CALL_FAILURE;
    }
    f->committed++;
    return ABI_OK;
}
static void fixture_tx_abort(void *ctx) {
    ((JsFixture *)ctx)->aborted++;
}
// Answers with the request and its body, unless the test wants something else.
static AbiErrno fixture_http(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    JsFixture *f = ctx;
    fixture_wait(f);
    if (f->http_text)
        buf_put_str(response, str_from(f->http_text));
    else
        buf_put_bytes(response, request);
    buf_put_bytes(body_out, body);
    return f->http_result;
}
static Micros fixture_sleep(void *ctx, Micros wake) {
    fixture_wait(ctx);
    return wake;
}
static const HostProcedureOps fixture_procedure = {.tx_begin = fixture_tx_begin,
                                                   .tx_commit = fixture_tx_commit,
                                                   .tx_abort = fixture_tx_abort,
                                                   .http = fixture_http,
                                                   .sleep_until = fixture_sleep};

// Run `code` as the given reducer; the outcome is in f.
static inline HostStatus run_code(JsFixture *f, uint32_t reducer, const char *code) {
    f->call = (HostCall){.kind = HOST_REDUCER,
                         .id = reducer,
                         .name = STR("asked"),
                         .timestamp = 1234567,
                         .args = str_bytes(str_from(code)),
                         .access = f->no_access ? NULL : &f->access.base,
                         .budget_us = 5000000};
    f->call.sender.le[0] = 1;
    fixture_run(f, 1);
    return f->status;
}

// The value of an expression, as text.
static inline const char *ask(JsFixture *f, const char *expression) {
    HostStatus status = run_code(f, 0, expression);
    if (status != HOST_USER_ERROR)
        print_error("%s\n  ended with %d: %s\n", expression, status, f->message);
    EXPECT_EQ(status, HOST_USER_ERROR);
    return f->message;
}
