// What is refused before anything is compiled, and what wasm2c is given. Spec: module-abi §1.2, §1.14.
#define _GNU_SOURCE  // memmem
#include "host/wasm/binary.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/test.h"
#include "host/wasm/code.h"
#include "host/wasm/files.h"

static Diag diag;

static void assemble(const char *wat, Buf *out) {
    char directory[256], command[1024], path[300];
    EXPECT_OK(directory_temporary(NULL, directory, sizeof directory));
    EXPECT_OK(file_write_whole(directory, "m.wat", str_bytes(str_from(wat))));
    snprintf(command,
             sizeof command,
             "wat2wasm --enable-all --debug-names --no-check %s/m.wat -o %s/m.wasm",
             directory,
             directory);
    EXPECT_EQ(system(command), 0);
    snprintf(path, sizeof path, "%s/m.wasm", directory);
    EXPECT_OK(file_read_whole(path, out));
    directory_remove(directory);
}

static Err read_wat(const char *wat) {
    Buf program = {0};
    Arena arena = {0};
    WasmBinary binary;
    diag_clear(&diag);
    assemble(wat, &program);
    Err err = wasm_binary_read(buf_bytes(&program), &arena, &binary, &diag);
    arena_deinit(&arena);
    buf_deinit(&program);
    return err;
}

static void refused(const char *wat, const char *why) {
    EXPECT_ERR(read_wat(wat), ERR_INVALID);
    EXPECT_STR(diag.text, why);
}

static void lacks(const char *wat, const char *feature) {
    char want[256];
    snprintf(want,
             sizeof want,
             "the module uses a WebAssembly feature that this server does not have: %s",
             feature);
    EXPECT_ERR(read_wat(wat), ERR_UNSUPPORTED);
    EXPECT_STR(diag.text, want);
}

#define IMPORT   "(import \"spacetime_10.0\" \"identity\" (func $identity (param i32)))"
#define MEMORY   "(memory (export \"memory\") 1)"
#define DESCRIBE "(func (export \"__describe_module__\") (param i32))"
#define REDUCER                                                                           \
    "(func (export \"__call_reducer__\") (param i32 i64 i64 i64 i64 i64 i64 i64 i32 i32)" \
    " (result i32) (i32.const 0))"
#define ALL IMPORT MEMORY DESCRIBE REDUCER

TEST(binary, versions_of_the_abi_are_checked_first) {
    EXPECT_OK(read_wat("(module" ALL ")"));
    EXPECT_OK(read_wat(
        "(module (import \"spacetime_10.5\" \"datastore_clear\" (func (param i32 i32) (result i32)))" ALL
        ")"));
    refused("(module (import \"spacetime_10.6\" \"x\" (func)))",
            "abi version 10.6 is not supported (host implements 10.5)");
    refused("(module (import \"spacetime_9.0\" \"x\" (func)))",
            "abi version 9.0 is not supported (host implements 10.5)");
    refused(
        "(module (import \"spacetime_9.0\" \"x\" (func)) (import \"spacetime_10.0\" \"x\" (func)))",
        "module cannot depend on both major version 9 and major version 10");
    static const char *const malformed[] =
        {"", "x", "10", "10.", ".1", "10.0.0", "10.65536", "-1.0", "10.0 "};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        char wat[256], why[256];
        snprintf(wat, sizeof wat, "(module (import \"spacetime_%s\" \"x\" (func)))", malformed[i]);
        snprintf(why,
                 sizeof why,
                 "import module \"spacetime_%s\" has malformed version string",
                 malformed[i]);
        refused(wat, why);
    }
    static const char none[] =
        "unable to determine ABI of module (may be on an spacetime version < 0.8)";
    refused("(module)", none);
    refused("(module (import \"env\" \"x\" (func)))", none);
    refused("(module (import \"spacetime_10.0\" \"x\" (memory 1)))", none);  // only functions count
}

TEST(binary, imports_exist_only_under_the_minor_that_introduced_them) {
    refused(
        "(module (import \"spacetime_10.1\" \"table_id_from_name\" (func (param i32 i32 i32) (result i32)))" ALL
        ")",
        "unknown import: `spacetime_10.1::table_id_from_name` has not been defined");
    refused("(module (import \"spacetime_010.0\" \"identity\" (func (param i32)))" MEMORY DESCRIBE
                REDUCER ")",
            "unknown import: `spacetime_010.0::identity` has not been defined");
    refused("(module (import \"env\" \"malloc\" (func (param i32)))" ALL ")",
            "unknown import: `env::malloc` has not been defined");
    refused("(module (import \"env\" \"memory\" (memory 1))" IMPORT ")",
            "unknown import: `env::memory` has not been defined");
    refused(
        "(module (import \"spacetime_10.0\" \"identity\" (func (param i64) (result f32 f64)))" MEMORY
            DESCRIBE REDUCER ")",
        "bad import signature for \"identity\"; expected (func (param i32)) got "
        "(func (param i64) (result f32 f64))");
}

TEST(binary, required_exports_are_there_with_their_types) {
    refused("(module" IMPORT DESCRIBE REDUCER ")",
            "there should be a memory export called \"memory\" but it does not exist");
    refused("(module" IMPORT "(memory 1)" DESCRIBE REDUCER ")",
            "there should be a memory export called \"memory\" but it does not exist");
    refused("(module" IMPORT MEMORY DESCRIBE ")",
            "there should be a function called \"__call_reducer__\" but it does not exist");
    refused("(module" IMPORT MEMORY REDUCER ")",
            "there should be a function called \"__describe_module__\" but it does not exist");
    refused(
        "(module" IMPORT MEMORY REDUCER "(func (export \"__describe_module__\")))",
        "bad describe_module signature for \"__describe_module__\"; expected (func (param i32)) got (func)");
    refused(
        "(module" ALL "(func (export \"__setup__\") (param i32)))",
        "bad setup signature for \"__setup__\"; expected (func (param i32) (result i32)) got (func (param i32))");
    refused("(module" ALL "(func (export \"__preinit__20_x\") (result i32) (i32.const 1)))",
            "bad preinit signature for \"20_x\"; expected (func) got (func (result i32))");
    refused(
        "(module" ALL "(global (export \"__setup__\") i32 (i32.const 1)))",
        "expected \"__setup__\" export to be a setup with signature (func (param i32) (result i32)), "
        "but it wasn't a function at all");
    refused(
        "(module" IMPORT MEMORY DESCRIBE "(func (export \"__call_reducer__\")))",
        "bad call_reducer signature for \"__call_reducer__\"; expected (func (param i32 i64 i64 i64 i64 "
        "i64 i64 i64 i32 i32) (result i32)) got (func)");
}

TEST(binary, features_that_the_engine_lacks_are_named) {
    lacks("(module" IMPORT "(memory (export \"memory\") 1 1 shared)" DESCRIBE REDUCER ")",
          "threads (atomic instructions, shared memory)");
    lacks("(module" ALL "(func (drop (i32.atomic.load (i32.const 0)))))",
          "threads (atomic instructions, shared memory)");
    lacks("(module" IMPORT "(memory (export \"memory\") i64 1)" DESCRIBE REDUCER ")",
          "64-bit memory");
    lacks("(module" ALL "(memory 1))", "more than one memory");
    lacks("(module" ALL "(func (drop (i8x16.splat (i32.const 1)))))", "SIMD (128-bit vectors)");
    lacks("(module" ALL "(func (local v128)))", "SIMD (128-bit vectors)");
    lacks("(module" ALL "(func $f (return_call $f)))", "tail calls");
    lacks("(module" ALL "(func (try (do))))", "exception handling");
    lacks("(module" ALL "(tag (param i32)))", "exception handling");
    lacks("(module" ALL "(global i32 (i32.add (i32.const 1) (i32.const 2))))",
          "extended constant expressions");
    lacks("(module" IMPORT "(export \"__describe_module__\" (func $identity))" MEMORY REDUCER ")",
          "an export that is an import");
}

// Every prefix of a module, and every byte of it changed, is read or refused, never misread.
TEST(binary, damaged_modules_are_refused_or_read) {
    Buf program = {0};
    WasmBinary binary;
    assemble(
        "(module" ALL
        "(table 2 funcref) (elem (i32.const 0) $f) (data \"xyz\") (global (mut i64) (i64.const 4))\n"
        "(func $f (param i32) (result i64) (local f32 i32)\n"
        "  (block (br_table 0 0 (local.get 0))) (i64.const 1) (memory.fill (i32.const 1) (i32.const 1) (i32.const 1))))",
        &program);
    for (size_t len = 0; len < program.len; len++) {
        Arena arena = {0};
        uint8_t *exact = malloc(len ? len : 1);  // so that AddressSanitizer sees its end
        memcpy(exact, program.ptr, len);
        (void)!wasm_binary_read(BYTES(exact, len), &arena, &binary, &diag);
        free(exact);
        arena_deinit(&arena);
    }
    for (size_t at = 8; at < program.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            Arena arena = {0};
            Buf rewritten = {0};
            program.ptr[at] ^= (uint8_t)(1 << bit);
            if (wasm_binary_read(buf_bytes(&program), &arena, &binary, &diag) == OK)
                wasm_binary_rewrite(&binary, &rewritten);
            program.ptr[at] ^= (uint8_t)(1 << bit);
            buf_deinit(&rewritten);
            arena_deinit(&arena);
        }
    buf_deinit(&program);
}

TEST(binary, rewriting_leaves_no_text_of_a_strangers) {
    Buf program = {0}, rewritten = {0};
    Arena arena = {0};
    WasmBinary binary, again;
    assemble("(module" ALL "(func $evil (export \"*/ int evil; /*\") (param i32))\n"
             "(func $two (export \"__preinit__b_evil\") (export \"__preinit__a_evil\")))",
             &program);
    EXPECT(memmem(program.ptr, program.len, "evil", 4) != NULL);
    EXPECT_OK(wasm_binary_read(buf_bytes(&program), &arena, &binary, &diag));
    EXPECT_EQ(binary.preinit_count, 2);
    EXPECT(str_eq(binary.preinits[0].name, STR("__preinit__a_evil")));
    EXPECT(str_eq(wasm_function_names(binary.names, binary.func_count, &arena)[3], STR("evil")));
    wasm_binary_rewrite(&binary, &rewritten);
    EXPECT(memmem(rewritten.ptr, rewritten.len, "evil", 4) == NULL);
    EXPECT(memmem(rewritten.ptr, rewritten.len, "__", 2) == NULL);
    // It is still a module: ours is missing from it now, and nothing else.
    EXPECT_ERR(wasm_binary_read(buf_bytes(&rewritten), &arena, &again, &diag), ERR_INVALID);
    EXPECT_STR(diag.text,
               "there should be a function called \"__describe_module__\" but it does not exist");
    EXPECT_EQ(again.func_count, binary.func_count);
    arena_deinit(&arena);
    buf_deinit(&rewritten);
    buf_deinit(&program);
}

TEST_MAIN()
