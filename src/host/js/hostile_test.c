// What a module may try against the server, and against itself: each ends as the ABI says, nothing
// takes the process down, and afterwards the same instance serves on.
#include <sys/resource.h>

#include "host/js/js_fixture.h"

static JsFixture *fixture_new(const char *module) {
    JsFixture *f = malloc(sizeof *f);
    fixture_init(f, module);
    return f;
}
static void fixture_end(JsFixture *f) {
    fixture_deinit(f);
    free(f);
}

typedef struct Attack {
    const char *code;
    HostStatus status;
    const char *message;  // that the outcome's begins with; NULL: any
} Attack;

// One instance takes them all, and answers in between.
static void expect_each(const Attack *attacks, size_t count) {
    JsFixture *f = fixture_new(MODULE_ASK);
    for (size_t i = 0; i < count; i++) {
        const Attack *attack = &attacks[i];
        f->call.budget_us = 0;
        HostStatus status = run_code(f, 1, attack->code);
        bool right = status == attack->status &&
                     (!attack->message ||
                      strncmp(f->message, attack->message, strlen(attack->message)) == 0);
        if (!right) print_error("%s\n  ended with %d: %s\n", attack->code, status, f->message);
        EXPECT(right);
        EXPECT(host_instance_ok(f->instance));
        EXPECT_STR(ask(f, "20 + 22"), "42");
    }
    fixture_end(f);
}
#define EXPECT_EACH(attacks) expect_each(attacks, ARRAY_LEN(attacks))

// ---- arguments that are code

TEST(hostile, arguments_are_never_converted) {
    JsFixture *f = fixture_new(MODULE_ASK);
    run_code(
        f,
        1,
        "globalThis.ran = 0;"
        "globalThis.evil = [{ valueOf() { ran++; return 1 } }, { toString() { ran++; return 'plain' } },"
        " { [Symbol.toPrimitive]() { ran++; return 1 } },"
        " new Proxy({}, { get() { ran++ }, getPrototypeOf() { ran++; return null }, has() { ran++ } }),"
        " new Proxy(new ArrayBuffer(8), { get() { ran++ } }), new Proxy(() => {}, {}),"
        " Object(1), Object('plain'), Object(1n), Symbol(), null, undefined, true, () => 1, [1], {}]");
    static const char *const functions[] = {
        "sys.table_id_from_name(x)",
        "sys.index_id_from_name(x)",
        "sys.datastore_table_row_count(x)",
        "sys.datastore_table_scan_bsatn(x)",
        "sys.datastore_index_scan_range_bsatn(1, x, 0, 0, 1, 1)",
        "sys.datastore_index_scan_range_bsatn(1, buf, x, 0, 1, 1)",
        "sys.datastore_index_scan_range_bsatn(1, buf, 0, x, 1, 1)",
        "sys.datastore_index_scan_range_bsatn(1, buf, 0, 0, x, 1)",
        "sys.datastore_index_scan_range_bsatn(1, buf, 0, 0, 1, x)",
        "sys.row_iter_bsatn_advance(x, buf)",
        "sys.row_iter_bsatn_advance(sys.datastore_table_scan_bsatn(1), x)",
        "sys.row_iter_bsatn_close(x)",
        "sys.datastore_insert_bsatn(x, buf, 4)",
        "sys.datastore_insert_bsatn(1, x, 4)",
        "sys.datastore_insert_bsatn(1, buf, x)",
        "sys.datastore_update_bsatn(1, x, buf, 4)",
        "sys.datastore_update_bsatn(1, 1, x, 4)",
        "sys.datastore_delete_by_index_scan_range_bsatn(x, buf, 0, 0, 1, 1)",
        "sys.datastore_delete_by_index_scan_point_bsatn(1, x, 4)",
        "sys.datastore_index_scan_point_bsatn(1, x, 4)",
        "sys.datastore_delete_all_by_eq_bsatn(1, x, 4)",
        "sys.volatile_nonatomic_schedule_immediate(x, new Uint8Array(1))",
        "sys.volatile_nonatomic_schedule_immediate('f', x)",
        "sys.console_log(x, 'm')",
        "sys.console_log(2, x)",
        "sys.console_timer_start(x)",
        "sys.console_timer_end(x)",
        "sys.get_jwt_payload(x)",
        "sys.procedure_http_request(x, '')",
        "sys.procedure_http_request(new Uint8Array(1), x)",
        "sys21.datastore_clear(x)",
    };
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        char code[512];
        snprintf(code,
                 sizeof code,
                 "evil.map(x => { try { %s; return 'done' } catch (e) { return e.name } })"
                 ".filter(n => n !== 'TypeError').join()",
                 functions[i]);
        const char *others = ask(f, code);
        if (*others) print_error("%s: %s\n", functions[i], others);
        EXPECT_STR(others, "");
    }
    EXPECT_STR(ask(f, "ran"), "0");
    EXPECT_EQ(f->log_count, 0);
    fixture_end(f);
}

TEST(hostile, buffers_may_be_detached_resized_shared_or_someone_elses) {
    JsFixture *f = fixture_new(MODULE_ASK);
    EXPECT_STR(
        ask(f,
            "(() => { const b = new ArrayBuffer(64); sys.datastore_insert_bsatn(1, b, 8); b.transfer();"
            "return tried(() => sys.datastore_insert_bsatn(1, b, 8)) })()"),
        "RangeError: length argument was out of bounds for `ArrayBuffer`");
    EXPECT_STR(
        ask(f,
            "(() => { const b = new ArrayBuffer(64); const it = sys.datastore_table_scan_bsatn(1);"
            "b.transfer(); try { return sys.row_iter_bsatn_advance(it, b) }"
            "catch (e) { return `${e.name ?? e.__buffer_too_small__}` } })()"),
        "RangeError");
    EXPECT_STR(ask(f,  // cut off between two calls, then larger than ever
                   "(() => { const b = new ArrayBuffer(64, { maxByteLength: 200000 });"
                   "sys.datastore_insert_bsatn(1, b, 64); b.resize(5);"
                   "const e = tried(() => sys.datastore_insert_bsatn(1, b, 64)); b.resize(200000);"
                   "sys.datastore_insert_bsatn(1, b, 200000); b.resize(3);"
                   "const n = sys.datastore_insert_bsatn(1, b, 3); return e + '|' + n })()"),
               "RangeError: length argument was out of bounds for `ArrayBuffer`|0");
    EXPECT_STR(ask(f, "typeof SharedArrayBuffer + typeof Atomics + typeof WebAssembly"),
               "undefinedundefinedundefined");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(1, new Uint8Array(8), 8))"),
               "TypeError: Expected ArrayBuffer, got object");
    EXPECT_STR(ask(f, "tried(() => sys.datastore_insert_bsatn(1, new DataView(buf), 8))"),
               "TypeError: Expected ArrayBuffer, got object");
    EXPECT_STR(
        ask(f,  // lengths whose sum does not fit 32 bits
            "tried(() => sys.datastore_index_scan_range_bsatn(1, buf, 4294967295, 1, 4294967295, 2))"),
        "RangeError: length argument was out of bounds for `ArrayBuffer`");
    fixture_end(f);
}

// A module that takes over what the prelude builds on gets control in the middle of a host
// function, and calls others from there. It may harm itself.
TEST(hostile, host_functions_called_from_within_host_functions) {
    static const char *const takeovers[] = {
        // The lengths of views are read while arguments are copied.
        "const T = Object.getPrototypeOf(Uint8Array.prototype);"
        "const real = Object.getOwnPropertyDescriptor(T, 'length').get; let deep = 0;"
        "Object.defineProperty(T, 'length', { get() { if (deep++ < 3) work(); return LIE } })",
        "const T = Object.getPrototypeOf(Uint8Array.prototype);"
        "const real = Object.getOwnPropertyDescriptor(T, 'length').get; let deep = 0;"
        "Object.defineProperty(T, 'length', { get() { if (deep++ < 3) work(); return Reflect.apply(real, this, []) } })",
        // Bare operations are f.call(…).
        "const real = Function.prototype.call; let deep = 0;"
        "Function.prototype.call = function (...a) { if (deep++ < 3) work(); return Reflect.apply(this, a[0], a.slice(1)) }",
        "let deep = 0; Function.prototype.call = function () { if (deep++ < 3) work(); return 4294967295 }",
        "let deep = 0; Function.prototype.call = function () { if (deep++ < 3) work(); return {} }",
        // Species and constructors.
        "class Mine extends Uint8Array { static get [Symbol.species]() { work(); return Mine } }"
        "Uint8Array.prototype.constructor = Mine; ArrayBuffer.prototype.constructor = Mine",
        "Object.defineProperty(Object.prototype, 'constructor', { get() { return work } })",
        // Iteration, defaults, descriptors.
        "Array.prototype[Symbol.iterator] = function () { work(); return { next() { return { done: true } } } }",
        "for (const n of ['get', 'set', 'value', 'done', 'length', 'stack', 'message', 'then', 'writable'])"
        " try { Object.defineProperty(Object.prototype, n, { get() { return undefined }, set() {}, configurable: true }) } catch {}",
        "Error.stackTraceLimit = 0; Error.prototype.toString = () => { throw 1 }; Error.prototype.name = { toString() { throw 1 } }",
        "String.prototype.charCodeAt = () => NaN; String.prototype.toLowerCase = null; Array.isArray = null; ArrayBuffer.isView = null",
        "BigInt.asUintN = null; Number = null; globalThis.Uint32Array = null; delete globalThis.BigUint64Array",
    };
    for (size_t i = 0; i < ARRAY_LEN(takeovers); i++) {
        JsFixture *f = fixture_new(
            MODULE_ASK
            "const LIE = 1e9, row = new ArrayBuffer(1024);\n"
            "const quietly = f => { try { f() } catch {} };\n"
            "globalThis.LIE = LIE;\n"
            "globalThis.work = () => {\n"
            "  quietly(() => sys.datastore_insert_bsatn(1, row, 700));\n"
            "  quietly(() => sys.datastore_insert_bsatn(3, row, 16));\n"
            "  let it; quietly(() => { it = sys.datastore_table_scan_bsatn(1) });\n"
            "  quietly(() => sys.row_iter_bsatn_advance(it, row));\n"
            "  quietly(() => sys.row_iter_bsatn_advance(it, new ArrayBuffer(70000)));\n"
            "  quietly(() => sys.table_id_from_name('plain'));\n"
            "  quietly(() => sys.get_jwt_payload(7n));\n"
            "  quietly(() => sys.console_log(2, 'x'));\n"
            "  quietly(() => new TextEncoder().encode('\\u1234'.repeat(300)));\n"
            "  quietly(() => new TextDecoder().decode(new Uint8Array(300)));\n"
            "  quietly(() => sys.volatile_nonatomic_schedule_immediate('f', new Uint8Array(300)));\n"
            "  quietly(() => sys.row_iter_bsatn_close(it));\n"
            "};\n");
        run_code(f, 1, takeovers[i]);
        for (int round = 0; round < 3; round++)
            run_code(f, 1, "work(); work()");
        run_code(f, 1, "throw new SenderError('x')");
        // Whatever it has done to itself, the instance ends loops and calls.
        f->call.id = 2;
        f->call.budget_us = 5000;
        fixture_run(f, 1);
        EXPECT_EQ(f->status, HOST_DEADLINE);
        EXPECT(!host_instance_ok(f->instance));
        EXPECT_EQ(f->done_count, 6);
        fixture_end(f);
    }
}

// ---- what is thrown

TEST(hostile, thrown_things_are_told_from_sender_errors) {
    static const Attack attacks[] = {
        {"throw new SenderError('mine')", HOST_USER_ERROR, "mine"},
        {"throw Object.create(SenderError.prototype)", HOST_USER_ERROR, ""},
        {"throw new (class extends SenderError {})('sub')", HOST_USER_ERROR, "sub"},
        {"throw new Proxy(new SenderError('inner'), {})", HOST_USER_ERROR, "inner"},
        {"throw Object.assign(new SenderError('x'), { message: { toString: () => 'object' } })",
         HOST_USER_ERROR,
         "object"},
        {"throw Object.assign(new SenderError('x'), { message: Symbol('s') })",
         HOST_USER_ERROR,
         "Symbol(s)"},
        {"throw Object.defineProperty(new SenderError('x'), 'message', { get() { throw 1 } })",
         HOST_FATAL,
         "an exception whose text cannot be read"},
        {"throw { message: 'looks like one', name: 'SenderError', constructor: SenderError }",
         HOST_FATAL,
         "[object Object]"},
        {"class SenderError2 extends Error {}; Object.defineProperty(SenderError2, 'name', { value: 'SenderError' });"
         "throw new SenderError2('fake')",
         HOST_FATAL,
         "Error: fake"},
        {"throw new Proxy({}, { getPrototypeOf() { throw 1 } })",
         HOST_FATAL,
         "an exception whose text cannot be read"},
        {"throw new Proxy(new Error('x'), { get(t, k) { if (k === 'stack') throw 1; return Reflect.get(t, k) } })",
         HOST_FATAL,
         "Error: x"},
        {"throw new Proxy({}, { get() { throw new Error('again') } })",
         HOST_FATAL,
         "an exception whose text cannot be read"},
        {"const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy",
         HOST_FATAL,
         "an exception whose text cannot be read"},
        {"throw { toString() { return {} }, valueOf() { return {} } }",
         HOST_FATAL,
         "an exception whose text cannot be read"},
        {"throw { toString() { throw this } }",
         HOST_FATAL,
         "an exception whose text cannot be read"},
        {"throw undefined", HOST_FATAL, "undefined"},
        {"throw null", HOST_FATAL, "null"},
        {"throw Symbol('s')", HOST_FATAL, "Symbol(s)"},
        {"throw 5n", HOST_FATAL, "5"},
        {"throw globalThis", HOST_FATAL, "[object"},
        {"throw { stack: 'f@spacetimedb_module:1:1\\n'.repeat(100000), toString: () => 'long stack' }",
         HOST_FATAL,
         "long stack"},
        {"throw Object.assign(new Error('liar'), { stack: 'x@spacetimedb_module:99999999999:1\\n@@@:::\\n\\0' })",
         HOST_FATAL,
         "Error: liar"},
        {"const e = new Error('cause'); e.cause = e; throw e", HOST_FATAL, "Error: cause"},
        {"throw new AggregateError([1, 2], 'many')", HOST_FATAL, "AggregateError: many"},
        {"throw 'x'.repeat(3000000)", HOST_FATAL, "xxxx"},
        {"throw { toString() { sys.datastore_insert_bsatn(1, new ArrayBuffer(4), 4); return 'wrote' } }",
         HOST_FATAL,
         "wrote"},
    };
    EXPECT_EACH(attacks);
}

// ---- too much of everything

TEST(hostile, bombs_are_exceptions) {
    static const Attack attacks[] = {
        {"let s = 'x'; for (;;) s += s", HOST_FATAL, "RangeError"},
        {"'x'.repeat(2 ** 32)", HOST_FATAL, "RangeError"},
        {"2n ** 100000000n", HOST_FATAL, "RangeError"},
        {"let n = 2n; for (;;) n *= n", HOST_FATAL, "RangeError"},
        {"new ArrayBuffer(2 ** 40)", HOST_FATAL, "RangeError"},
        {"new Array(-1)", HOST_FATAL, "RangeError"},
        {"String.fromCharCode.apply(null, new Array(1e7))", HOST_FATAL, "RangeError"},
        {"[].concat(...new Array(1000000).fill([1]))", HOST_FATAL, "RangeError"},
        {"(function f() { f() })()", HOST_FATAL, "RangeError"},
        {"const o = {}; let p = o; for (let i = 0; i < 10000; i++) p = p.x = {}; JSON.stringify(o)",
         HOST_OK,
         NULL},
        {"JSON.parse('['.repeat(1000000))", HOST_FATAL, NULL},
        {"new Function('('.repeat(100000))", HOST_FATAL, NULL},
        {"new RegExp('('.repeat(100000))", HOST_FATAL, NULL},
        {"const p = new Proxy({}, {}); Object.setPrototypeOf(p, p); p.x", HOST_FATAL, NULL},
        {"sys.table_id_from_name('t'.repeat(50000000))", HOST_FATAL, NULL},
        {"for (let i = 0; i < 1000; i++) Promise.reject(i)", HOST_OK, NULL},
        {"for (let i = 0; i < 100000; i++) Promise.resolve(i).then(() => { throw 1 })",
         HOST_OK,
         NULL},
        {"for (let i = 0; i < 5000; i++) sys.datastore_table_scan_bsatn(1)", HOST_OK, NULL},
        {"for (let i = 0; i < 5000; i++) sys.console_timer_start('t' + i)", HOST_OK, NULL},
        {"for (const x of { *[Symbol.iterator]() { try { yield 1 } finally { throw 5 } } }) break",
         HOST_FATAL,
         "5"},
        {"return 0", HOST_FATAL, "TypeError: Reducer returned a value other than `undefined`"},
        {"return Promise.resolve()", HOST_FATAL, "TypeError: Reducer returned a value other"},
        {"return null", HOST_FATAL, "TypeError: Reducer returned a value other"},
    };
    EXPECT_EACH(attacks);
}

TEST(hostile, long_texts_are_not_kept) {
    JsFixture *f = fixture_new(MODULE_ASK);
    struct rusage before, after;
    run_code(f, 1, "sys.console_log(2, '\\u1234'.repeat(1000000))");
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(run_code(f, 1, "sys.console_log(2, '\\u1234'.repeat(1000000))"), HOST_OK);
        host_idle(f->instance);
    }
    getrusage(RUSAGE_SELF, &after);
    EXPECT(after.ru_maxrss - before.ru_maxrss < 100000);  // KiB; twenty of them are 100 MB
    fixture_end(f);
}

TEST(hostile, recursion_into_host_functions_ends_in_an_exception) {
    static const Attack attacks[] = {
        {"(function f() { sys.datastore_table_row_count(1); f(); sys.datastore_table_row_count(1) })()",
         HOST_FATAL,
         "RangeError"},
        {"let n = 0; (function f() { try { f() } catch (e) { if (n++ < 20) sys.console_log(2, String(e)); throw e } })()",
         HOST_FATAL,
         NULL},
        {"(function f() { sys.datastore_table_scan_bsatn(1); f() })()", HOST_FATAL, "RangeError"},
        {"(function f() { new TextEncoder().encode('\\u1234'.repeat(300)); f() })()",
         HOST_FATAL,
         "RangeError"},
        {"const g = () => sys.row_iter_bsatn_advance(999, buf); const buf = new ArrayBuffer(8);"
         "let n = 0; (function f() { if (n++ % 100 === 0) try { g() } catch {} f() })()",
         HOST_FATAL,
         "RangeError"},
    };
    EXPECT_EACH(attacks);
}

// ---- hooks that do not do what they are for

TEST(hostile, error_classes_that_are_something_else) {
    static const char *const constructors[] = {
        "null",
        "5",
        "() => 1",
        "class { constructor() { throw 7 } }",
        "class { constructor() { return Object('other') } }",
        "class { constructor() { sys.table_id_from_name('nobody') } }",  // fails again, and again
        "function () { for (;;) ; }",
        "new Proxy(class {}, { construct() { throw 8 } })",
    };
    for (size_t i = 0; i < ARRAY_LEN(constructors); i++) {
        char module[8192];
        snprintf(module,
                 sizeof module,
                 MODULE_HEAD
                 "hooks.__get_error_constructor__ = n => (%s);\n"
                 "const reducers = [() => { sys.table_id_from_name('nobody') }, () => {}];\n",
                 constructors[i]);
        JsFixture *f = fixture_new(module);
        f->call = (HostCall){.kind = HOST_REDUCER, .access = &f->access.base, .budget_us = 100000};
        fixture_run(f, 1);
        EXPECT(f->status == HOST_FATAL || f->status == HOST_DEADLINE);
        f->call.id = 1;
        f->call.budget_us = 5000000;
        fixture_run(f, 1);
        EXPECT_EQ(f->status, HOST_OK);
        fixture_end(f);
    }
}

TEST(hostile, sender_error_classes_that_are_something_else) {
    static const char *const classes[] = {
        "{ [Symbol.hasInstance]: () => true }",
        "Object.assign(() => {}, { prototype: 5 })",
        "new Proxy(class {}, { get() { throw 9 } })",
        "new Proxy(class {}, { get() { for (;;) ; } })",
        "(() => {}).bind()",
    };
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        char module[8192];
        snprintf(module,
                 sizeof module,
                 MODULE_HEAD "hooks.__sender_error_class__ = %s;\n"
                             "const reducers = [() => { throw new Error('x') }, () => {}];\n",
                 classes[i]);
        JsFixture *f = malloc(sizeof *f);
        Diag diag;
        Err err = fixture_load(f, str_from(module), &diag);
        if (err == OK) {
            f->call =
                (HostCall){.kind = HOST_REDUCER, .access = &f->access.base, .budget_us = 100000};
            fixture_run(f, 1);
            EXPECT(f->status == HOST_FATAL || f->status == HOST_DEADLINE);
            f->call.id = 1;
            f->call.budget_us = 5000000;
            fixture_run(f, 1);
            EXPECT_EQ(f->status, HOST_OK);
        } else {
            EXPECT_ERR(err, ERR_INVALID);
        }
        fixture_end(f);
    }
}

TEST(hostile, results_that_are_something_else) {
    static const char *const results[] = {
        "undefined",
        "null",
        "5",
        "'text'",
        "[]",
        "{}",
        "new Uint16Array(4)",
        "new ArrayBuffer(8)",
        "new DataView(new ArrayBuffer(8))",
        "{ data: new Uint16Array(8) }",
        "{ data: [0, 0, 0, 0, 0] }",
        "{ get data() { throw 1 } }",
        "{ get data() { for (;;) ; } }",
        "{ data: new Uint8Array(0) }",
        "{ data: new Proxy(new Uint8Array(8), {}) }",
        "Promise.resolve(new Uint8Array(8))",
        "new Proxy([], { get() { for (;;) ; } })",
        "new Proxy([1, 2], { get() { throw 2 } })",
        "[new Uint8Array(1), { length: 1, 0: 1 }]",
        "Object.create(Uint8Array.prototype)",
    };
    char module[8192];
    size_t len = (size_t)snprintf(module, sizeof module, MODULE_HEAD "const reducers = [];\n");
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        len += (size_t)snprintf(module + len,
                                sizeof module - len,
                                "views[%zu] = () => (%s);\n",
                                i,
                                results[i]);
    snprintf(module + len, sizeof module - len, "views[100] = () => new Uint8Array(9);\n");
    JsFixture *f = fixture_new(module);
    static const HostCallKind kinds[] = {HOST_VIEW, HOST_VIEW_ANON, HOST_PROCEDURE, HOST_HTTP};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (uint32_t i = 0; i < ARRAY_LEN(results); i++) {
            f->call = (HostCall){.kind = kinds[k],
                                 .id = i,
                                 .name = STR("liar"),
                                 .procedure = &fixture_procedure,
                                 .procedure_ctx = f,
                                 .budget_us = 20000};
            fixture_run(f, 1);
            if (f->status != HOST_FATAL && f->status != HOST_DEADLINE)
                print_error("%s as %d: %d\n", results[i], kinds[k], f->status);
            EXPECT(f->status == HOST_FATAL || f->status == HOST_DEADLINE);
            EXPECT_EQ(f->returned.len + f->body.len, 0);
        }
        f->call.id = 100;
        f->call.budget_us = 5000000;
        fixture_run(f, 1);
        EXPECT_EQ(f->status, kinds[k] == HOST_HTTP ? HOST_FATAL : HOST_OK);
    }
    fixture_end(f);
}

TEST(hostile, modules_that_fail_while_they_load) {
    static const struct {
        const char *change, *text;
    } cases[] = {
        {"hooks.__describe_module__ = () => { throw new Error('no') };", "Error: no"},
        {"hooks.__describe_module__ = () => 'RawModuleDef';", "TypeError: Expected Uint8Array"},
        {"hooks.__describe_module__ = () => new Uint8Array(0);", NULL},
        {"hooks.__describe_module__ = () => new Uint8Array([2, 255, 255, 255, 255]);", NULL},
        {"hooks.__describe_module__ = () => new Uint8Array(5000000);", NULL},
        {"hooks.__describe_module__ = new Proxy(() => {}, { apply() { throw { toString() { throw 1 } } } });",
         "an exception whose text cannot be read"},
        {"(function f() { f() })();", "RangeError"},
        {"throw new Proxy({}, { get() { throw 1 } });", "an exception whose text cannot be read"},
        {"throw new (class extends Error { get stack() { throw 1 } })('stackless');",
         "Error: stackless"},
        {"Object.defineProperty(hooks, '__call_reducer__', { get() { throw new Error('get') } });",
         "Error: get"},
        {"sys.datastore_clear;", NULL},
        {"sys.table_id_from_name('x');",
         "Error: cannot call this function during module initialization"},
        {"sys.procedure_http_request(new Uint8Array(1), '');",
         "Error: cannot call this function during module initialization"},
        {"sys.procedure_start_mut_tx();",
         "Error: cannot call this function during module initialization"},
        {"globalThis.later = []; for (let i = 0; i < 1000; i++) Promise.resolve().then(() => { throw 1 });",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char module[8192];
        snprintf(module, sizeof module, MODULE_HEAD "const reducers = [];\n%s\n", cases[i].change);
        JsFixture *f = malloc(sizeof *f);
        Diag diag;
        Err err = fixture_load(f, str_from(module), &diag);
        if (cases[i].text) {
            EXPECT_ERR(err, ERR_INVALID);
            if (strncmp(diag.text, cases[i].text, strlen(cases[i].text)) != 0)
                print_error("%s: %s\n", cases[i].change, diag.text);
            EXPECT(strncmp(diag.text, cases[i].text, strlen(cases[i].text)) == 0);
        } else {
            EXPECT(err == OK || err == ERR_INVALID || err == ERR_UNSUPPORTED);
        }
        fixture_end(f);
    }
}

// ---- one call and the next

TEST(hostile, nothing_of_a_call_is_left_in_the_next_ones_buffers) {
    JsFixture *f = fixture_new(MODULE_ASK);
    run_code(f, 1, "sys.datastore_insert_bsatn(1, new Uint8Array(3000).fill(7).buffer, 3000)");
    // Rows, texts and tokens are copied to their length and no further.
    EXPECT_STR(
        ask(f,
            "(() => { const b = new ArrayBuffer(8000); const it = sys.datastore_table_scan_bsatn(2);"
            "sys.row_iter_bsatn_advance(it, b); return new Uint8Array(b).some(x => x) })()"),
        "false");
    EXPECT_STR(ask(f, "sys.get_jwt_payload(1n).buffer.byteLength"), "0");
    EXPECT_STR(ask(f, "new TextEncoder().encode('\\u1234').buffer.byteLength"), "3");
    // An iterator, timer or transaction of the last call is unknown to the next.
    run_code(
        f,
        1,
        "globalThis.it = sys.datastore_table_scan_bsatn(1); globalThis.t = sys.console_timer_start('x')");
    EXPECT_STR(ask(f, "tried(() => sys.row_iter_bsatn_advance(it, buf))"),
               "errno 6: The provided row iterator is not valid");
    EXPECT_STR(ask(f, "tried(() => sys.console_timer_end(t))"),
               "errno 7: The provided console timer does not exist");
    fixture_end(f);
}

TEST(hostile, what_the_server_cannot_do_runs_no_code_of_the_module_any_more) {
    JsFixture *f = fixture_new(MODULE_ASK);
    f->access.fatal = true;
    EXPECT_EQ(
        run_code(
            f,
            1,
            "const after = () => sys.volatile_nonatomic_schedule_immediate('f', new Uint8Array(1));"
            "try { sys.datastore_table_row_count(1) } catch { after() } finally { after() } after()"),
        HOST_FATAL);
    f->access.fatal = false;
    EXPECT_STR(f->scheduled_text, "");
    EXPECT(!host_instance_ok(f->instance));
    EXPECT_STR(ask(f, "1 + 1"), "2");
    fixture_end(f);
}

TEST_MAIN()
