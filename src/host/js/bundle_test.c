// What becomes of a module's text. That the engine agrees is tested in instance_test.c.
#include "host/js/bundle.h"

#include "base/mem.h"
#include "base/test.h"

#define HEAD "(function($lc_import,$lc_using,$lc_dispose){\"use strict\";"

static void expect_script(const char *source, const char *prologue, const char *rest) {
    Buf script = {0}, want = {0};
    Diag *diag = malloc(sizeof *diag);
    diag_clear(diag);
    Err err = bundle_rewrite(str_from(source), &script, diag);
    if (err != OK) print_error("%s\n  %s\n", source, diag->text);
    EXPECT_OK(err);
    buf_printf(&want, HEAD "%s%s", prologue, rest);
    buf_put_u8(&want, 0);
    buf_put_u8(&script, 0);
    EXPECT_STR((char *)script.ptr, (char *)want.ptr);
    buf_deinit(&script);
    buf_deinit(&want);
    free(diag);
}

static void expect_refused(const char *source, size_t at, const char *text) {
    Buf script = {0};
    Diag *diag = malloc(sizeof *diag);
    diag_clear(diag);
    EXPECT_ERR(bundle_rewrite(str_from(source), &script, diag), ERR_INVALID);
    EXPECT_STR(diag->text, text);
    EXPECT_EQ(diag->at, at);
    buf_deinit(&script);
    free(diag);
}

#define SYS  "$lc_import(\"spacetime:sys@2.0\")"
#define SYS1 "$lc_import(\"spacetime:sys@2.1\")"
#define NONE "\nreturn{__proto__:null};})"

TEST(bundle, imports_are_bound_first_wherever_they_stand) {
    expect_script("import * as a from \"spacetime:sys@2.0\";\nf();",
                  "const a=" SYS ";",
                  " \nf();" NONE);
    expect_script("f()\nimport {identity as me, console_log} from 'spacetime:sys@2.0'",
                  "const me=" SYS ".identity;const console_log=" SYS ".console_log;",
                  "f()\n " NONE);
    expect_script("import {\n  datastore_clear,\n} from \"spacetime:sys@2.1\";x",
                  "const datastore_clear=" SYS1 ".datastore_clear;",
                  "\n\n x" NONE);
    expect_script("import \"spacetime:sys@2.0\";x", "", " x" NONE);
    expect_script("import/* a */*as b from'spacetime:sys@2.0'", "const b=" SYS ";", " " NONE);
    expect_script("import {} from \"spacetime:sys@2.0\" with { type: 'x' };x", "", " x" NONE);
}

TEST(bundle, a_list_of_exports_becomes_an_object_in_code_unit_order) {
    expect_script("const x=1,y=2;\nexport { y as default, x };",
                  "",
                  "const x=1,y=2;\n \nreturn{__proto__:null,[\"default\"]:y,[\"x\"]:x};})");
    expect_script("export {\n  b,\n  a as \"odd name\",\n  Z\n};\n",
                  "",
                  "\n\n\n\n \n\nreturn{__proto__:null,[\"Z\"]:Z,[\"b\"]:b,[\"odd name\"]:a};})");
    // U+1F600 is D83D DE00 and sorts before U+FF21, though its UTF-8 sorts after
    expect_script("export { a as '\xef\xbc\xa1', b as '\xf0\x9f\x98\x80' }",
                  "",
                  " \nreturn{__proto__:null,[\"\xf0\x9f\x98\x80\"]:b,[\"\xef\xbc\xa1\"]:a};})");
}

TEST(bundle, exported_declarations_keep_their_declaration) {
    expect_script("export const a = 1, b = [2, 3], { c, d: e = 5, ...f } = g, [h,, [i]] = j;",
                  "",
                  "  const a = 1, b = [2, 3], { c, d: e = 5, ...f } = g, [h,, [i]] = j;\n"
                  "return{__proto__:null,[\"a\"]:a,[\"b\"]:b,[\"c\"]:c,[\"e\"]:e,[\"f\"]:f,"
                  "[\"h\"]:h,[\"i\"]:i};})");
    expect_script("export let a\nexport var b = () => {\n}\nexport const c = 1\nd()",
                  "",
                  "  let a\n  var b = () => {\n}\n  const c = 1\nd()\n"
                  "return{__proto__:null,[\"a\"]:a,[\"b\"]:b,[\"c\"]:c};})");
    expect_script("export function f() {} export class C {} export async function* g() {}",
                  "",
                  "  function f() {}   class C {}   async function* g() {}\n"
                  "return{__proto__:null,[\"C\"]:C,[\"f\"]:f,[\"g\"]:g};})");
}

TEST(bundle, a_default_is_whatever_stands_there) {
    expect_script(
        "export default schema({a: 1});",
        "",
        "const $lc_default= schema({a: 1});\nreturn{__proto__:null,[\"default\"]:$lc_default};})");
    expect_script("export default function () {}\n(1)",
                  "",
                  "const $lc_default= function () {};\n(1)\n"
                  "return{__proto__:null,[\"default\"]:$lc_default};})");
    expect_script("export default class extends f({}) { a() {} }",
                  "",
                  "const $lc_default= class extends f({}) { a() {} };\n"
                  "return{__proto__:null,[\"default\"]:$lc_default};})");
    expect_script("export default function f() {}",
                  "",
                  "  function f() {}\nreturn{__proto__:null,[\"default\"]:f};})");
    expect_script("export default {a}",
                  "",
                  "const $lc_default= {a}\nreturn{__proto__:null,[\"default\"]:$lc_default};})");
}

TEST(bundle, words_in_strings_comments_templates_and_regexes_are_left_alone) {
    static const char *const sources[] = {
        "'import x from \"y\"'",
        "\"export { a }\"",
        "/* import x from 'y' */ // export {a}",
        "`import ${ `export ${ {a: 1}.a } }` + '}' } from`",
        "x = /import [/'\"`] \\/ from/g.test(y)",
        "a = b / c; d = /'/.test(e) / 2",
        "if (x) /'/.exec(y)",
        "x = {a: 1} / 2 / '3'",
        "function f() {} /'/.exec(y)",
        "x.import(1); x?.export; y = { import() { return 1 }, export: 2, using: 3 }",
        "a++ / 2 / '3'",
        "switch (x) { case 1: { } /'/; default: { } /'/ }",
        "x = y ? {a: 1} / 2 : '/'",
        "label: { } /'/",
        "for (const x of /'/.y) ;",
        "return_ / 2 / '3'; x.return / 2 / '3'",
        "1..a / 2 / '3'; 0xe+1 / '3'",
        "x = `a` / 2 / '3'; x = `${a}` / 2 / '3'",
        "x = () => {} \n/'/.y",
        "class A { static #x = 1; get #y() { return #x in this } }",
        "using\n(x); using.y = using; using = 3; const { using: z } = w",
        "x = await_ + yield_",
        "'line \\\n continues'",
        "'line \\\r\n continues'",
        "\\u{61}bc = 1",
        "x = typeof /'/ + void /\"/",
        "const f = async () => await g()",
    };
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        Buf want = {0};
        buf_printf(&want, "%s" NONE, sources[i]);
        buf_put_u8(&want, 0);
        expect_script(sources[i], "", (char *)want.ptr);
        buf_deinit(&want);
    }
}

TEST(bundle, source_maps_and_hashbangs_are_dropped) {
    expect_script("x;\n//# sourceMappingURL=data:application/json;base64,AAAA\n",
                  "",
                  "x;\n\n" NONE);
    expect_script("'//# sourceMappingURL=no'", "", "'//# sourceMappingURL=no'" NONE);
    expect_script("#!/usr/bin/env node\nx", "", "\nx" NONE);
}

TEST(bundle, script_comments_do_not_appear_where_a_module_has_operators) {
    expect_script("a<!--b", "", "a< !--b" NONE);
    expect_script("a\n-->b", "", "a\n-- >b" NONE);
}

TEST(bundle, using_becomes_try_and_finally) {
    expect_script("{ using a = f(); g(a); }",
                  "",
                  "{ const a =$lc_using( f());try{ g(a); }finally{$lc_dispose(a)}}" NONE);
    expect_script("function* f() { using a = b, c = d(1, 2); for (;;) { using e = g\n h() } }",
                  "",
                  "function* f() { const a =$lc_using( b);try{const c =$lc_using( d(1, 2));try{ "
                  "for (;;) { const e =$lc_using( g);try{\n h() }finally{$lc_dispose(e)}} "
                  "}finally{$lc_dispose(c)}}finally{$lc_dispose(a)}}" NONE);
    expect_script("using a = b; f(); export { f as default }",
                  "",
                  "const a =$lc_using( b);try{ f();  \nreturn{__proto__:null,[\"default\"]:f};"
                  "}finally{$lc_dispose(a)}})");
}

TEST(bundle, using_without_a_value_is_refused) {
    expect_refused("{ using a = ; }", 12, "SyntaxError: an expression was expected");
    expect_refused("{ using a = b, c }", 15, "SyntaxError: `using` declares a name with a value");
    expect_refused("using a = b,", 12, "SyntaxError: `using` declares a name with a value");
    expect_refused("using a =", 9, "SyntaxError: an expression was expected");
}

TEST(bundle, only_the_host_can_be_imported) {
    expect_refused("import x from \"lodash\";", 14, "TypeError: Could not find module \"lodash\"");
    expect_refused("import * as x from \"spacetime:http@1.0\";",
                   19,
                   "TypeError: Could not find module \"spacetime:http@1.0\"");
    expect_refused("import * as x from \"spacetime:sys@two\";",
                   19,
                   "TypeError: Invalid version in module spec \"spacetime:sys@two\"");
    expect_refused("import * as x from \"spacetime:sys@2.0.1\";",
                   19,
                   "TypeError: Invalid version in module spec \"spacetime:sys@2.0.1\"");
    expect_refused("import * as x from \"spacetime:sys@2.70000\";",
                   19,
                   "TypeError: Invalid version in module spec \"spacetime:sys@2.70000\"");
    expect_refused(
        "import * as x from \"spacetime:sys@2.9\";",
        19,
        "TypeError: Could not import \"spacetime:sys@2.9\", likely because this module was built for a "
        "newer version of SpacetimeDB.\nIt requires sys module v2.9, but that version is not supported "
        "by the database.");
    expect_refused(
        "x;\nimport {datastore_clear} from \"spacetime:sys@2.0\"",
        11,
        "SyntaxError: The requested module 'spacetime:sys@2.0' does not provide an export named "
        "'datastore_clear'");
    expect_refused(
        "import sys from \"spacetime:sys@2.0\"",
        7,
        "SyntaxError: The requested module 'spacetime:sys@2.0' does not provide an export named 'default'");
}

TEST(bundle, what_a_module_may_not_say) {
    expect_refused("f(() => import('x'))",
                   8,
                   "SyntaxError: `import()` is not available in modules");
    expect_refused("f(import.meta.url)",
                   2,
                   "SyntaxError: `import.meta` is not available in modules");
    expect_refused("const x = await y;",
                   10,
                   "TypeError: module has top-level await and is pending");
    expect_refused("for await (const x of y) ;",
                   4,
                   "TypeError: module has top-level await and is pending");
    expect_refused("return 1", 0, "SyntaxError: `return` outside of a function");
    expect_refused("export * from \"spacetime:sys@2.0\"",
                   7,
                   "SyntaxError: `export *` has nothing to export");
    expect_refused("export { identity } from \"spacetime:sys@2.0\"",
                   9,
                   "SyntaxError: a module cannot export what the server provides");
    expect_refused("export { 'a' as b }", 9, "SyntaxError: a local name was expected");
    expect_refused("export { a, b as a }", SIZE_MAX, "SyntaxError: Duplicate export of 'a'");
    expect_refused("export 5", 7, "SyntaxError: an export without a name");
    expect_refused("import { a b } from 'spacetime:sys@2.0'",
                   11,
                   "SyntaxError: a comma was expected");
}

TEST(bundle, unfinished_texts_are_refused_where_they_begin) {
    expect_refused("x = 'abc", 4, "SyntaxError: a string does not end");
    expect_refused("x = 'a\nb'", 4, "SyntaxError: a string does not end");
    expect_refused("x = `a${b}", 9, "SyntaxError: a template does not end");
    expect_refused("x = `a${b", 4, "SyntaxError: a bracket is not closed");
    expect_refused("x = /a", 4, "SyntaxError: a regular expression does not end");
    expect_refused("x /* y", 2, "SyntaxError: a comment does not end");
    expect_refused("f(", 1, "SyntaxError: a bracket is not closed");
    expect_refused("f(]", 2, "SyntaxError: brackets do not match");
    expect_refused("}", 0, "SyntaxError: a bracket closes that was not opened");
    expect_refused("import", 6, "SyntaxError: an import without a module name");
    expect_refused("export", 6, "SyntaxError: an export without a name");
}

TEST(bundle, memory_that_runs_out_is_an_error) {
    const char *source =
        "import * as a from 'spacetime:sys@2.0';export const b = 1; { using c = a; }";
    for (int64_t n = 0;; n++) {
        EXPECT(n < 100);
        Buf script = {0};
        Diag diag;
        mem_fault_arm(n);
        Err err = bundle_rewrite(str_from(source), &script, &diag);
        mem_fault_arm(-1);
        buf_deinit(&script);
        if (err == OK) break;
        EXPECT_ERR(err, ERR_NOMEM);
    }
}

TEST_MAIN()
