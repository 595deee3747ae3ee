// code.c: walks over instructions, to name the features a module needs.
//
// Types and nesting are wasm2c's business: here an instruction is an opcode and the length of its
// immediates. The numbers are those of the WebAssembly specification, 2.0, §5.4, and of the finished
// proposals after it.
#include "host/wasm/code.h"

Err wasm_malformed(Diag *diag) {
    return diag_fail(diag, ERR_INVALID, "the module is not a well-formed WebAssembly binary");
}

Err wasm_feature(Diag *diag, const char *feature) {
    return diag_fail(diag,
                     ERR_UNSUPPORTED,
                     "the module uses a WebAssembly feature that this server does not have: %s",
                     feature);
}

#define THREADS    "threads (atomic instructions, shared memory)"
#define SIMD       "SIMD (128-bit vectors)"
#define TAIL_CALLS "tail calls"
#define EXCEPTIONS "exception handling"
#define REFERENCES "typed function references and garbage collection"
#define MEMORIES   "more than one memory"

Err wasm_value_type(WasmReader *r, char *out, Diag *diag) {
    switch (wasm_u8(r)) {
    case 0x7f: *out = 'i'; return OK;
    case 0x7e: *out = 'l'; return OK;
    case 0x7d: *out = 'f'; return OK;
    case 0x7c: *out = 'd'; return OK;
    case 0x70: *out = 'r'; return OK;
    case 0x6f: *out = 'e'; return OK;
    case 0x7b: return wasm_feature(diag, SIMD);
    case 0x69: return wasm_feature(diag, EXCEPTIONS);
    case 0x63:
    case 0x64:
    case 0x6a:
    case 0x6b:
    case 0x6c:
    case 0x6d:
    case 0x6e: return wasm_feature(diag, REFERENCES);
    default: return wasm_malformed(diag);
    }
}

// 0xfc: conversions that saturate, bulk memory, tables.
static Err bulk_skip(WasmReader *r, Diag *diag) {
    uint32_t code = wasm_u32(r);
    static const uint8_t indexes[] = {
        [8] = 2,   // memory.init
        [9] = 1,   // data.drop
        [10] = 2,  // memory.copy
        [11] = 1,  // memory.fill
        [12] = 2,  // table.init
        [13] = 1,  // elem.drop
        [14] = 2,  // table.copy
        [15] = 1,  // table.grow
        [16] = 1,  // table.size
        [17] = 1,  // table.fill
    };
    if (code >= ARRAY_LEN(indexes)) return wasm_feature(diag, "an unknown 0xfc instruction");
    for (int i = 0; i < indexes[code]; i++)
        wasm_u32(r);
    return OK;
}

static Err memory_skip(WasmReader *r, Diag *diag) {
    if (wasm_u32(r) & 0x40) return wasm_feature(diag, MEMORIES);
    wasm_u32(r);
    return OK;
}

static void targets_skip(WasmReader *r) {  // of br_table
    for (uint32_t left = wasm_count(r); left > 0 && !r->failed; left--)
        wasm_u32(r);
    wasm_u32(r);
}

static Err types_skip(WasmReader *r, Diag *diag) {  // of select
    char type;
    Err err = OK;
    for (uint32_t left = wasm_count(r); left > 0 && err == OK; left--)
        err = wasm_value_type(r, &type, diag);
    return err;
}

// Opcodes with a meaning of their own; the dense ranges of the rest are in instruction_skip.
static Err special_skip(uint8_t code, WasmReader *r, Diag *diag) {
    switch (code) {
    case 0x06:  // try
    case 0x07:  // catch
    case 0x08:  // throw
    case 0x09:  // rethrow
    case 0x0a:  // throw_ref
    case 0x18:  // delegate
    case 0x19:  // catch_all
    case 0x1f: return wasm_feature(diag, EXCEPTIONS);
    case 0x12:
    case 0x13: return wasm_feature(diag, TAIL_CALLS);
    case 0x14:
    case 0x15:
    case 0xd3:
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xfb: return wasm_feature(diag, REFERENCES);
    case 0xfd: return wasm_feature(diag, SIMD);
    case 0xfe: return wasm_feature(diag, THREADS);
    case 0xfc: return bulk_skip(r, diag);
    case 0x0e: targets_skip(r); return OK;
    case 0x1c: return types_skip(r, diag);
    case 0x43: wasm_bytes(r, 4); return OK;
    case 0x44: wasm_bytes(r, 8); return OK;
    default: return wasm_malformed(diag);
    }
}

static Err instruction_skip(uint8_t code, WasmReader *r, Diag *diag) {
    switch (code) {
    case 0x02 ... 0x04: wasm_leb(r, 33); return OK;  // block, loop, if
    case 0x0c ... 0x0d:                              // br, br_if
    case 0x10:                                       // call
    case 0x20 ... 0x26:                              // variables and tables
    case 0xd2: wasm_u32(r); return OK;               // ref.func
    case 0x11:                                       // call_indirect
        wasm_u32(r);
        wasm_u32(r);
        return OK;
    case 0x28 ... 0x3e: return memory_skip(r, diag);  // loads and stores
    case 0x3f ... 0x40:                               // memory.size, memory.grow
        return wasm_u8(r) == 0 ? OK : wasm_feature(diag, MEMORIES);
    case 0x41:
    case 0xd0: wasm_leb(r, 33); return OK;  // i32.const, ref.null
    case 0x42: wasm_leb(r, 64); return OK;
    case 0x00 ... 0x01:  // unreachable, nop
    case 0x05:           // else
    case 0x0b:           // end
    case 0x0f:           // return
    case 0x1a ... 0x1b:  // drop, select
    case 0x45 ... 0xc4:  // everything numeric
    case 0xd1: return OK;
    default: return special_skip(code, r, diag);
    }
}

Err wasm_constant_skip(WasmReader *r, Diag *diag) {
    Err err = OK;
    while (wasm_left(r)) {
        uint8_t code = wasm_u8(r);
        if (code == 0x0b) return r->failed ? wasm_malformed(diag) : OK;
        if (code >= 0x6a && code <= 0x7e)
            return wasm_feature(diag, "extended constant expressions");
        if ((err = instruction_skip(code, r, diag)) != OK) return err;
    }
    return wasm_malformed(diag);
}

static Err locals_skip(WasmReader *r, Diag *diag) {
    uint64_t total = 0;
    Err err = OK;
    char type;
    for (uint32_t groups = wasm_count(r); groups > 0; groups--) {
        total += wasm_u32(r);
        if ((err = wasm_value_type(r, &type, diag)) != OK) return err;
    }
    if (total > WASM_LOCALS)
        return diag_fail(diag,
                         ERR_INVALID,
                         "a function has more than %d local variables",
                         WASM_LOCALS);
    return OK;
}

Err wasm_code_check(WasmReader *section, const WasmBinary *binary, Diag *diag) {
    Err err = OK;
    uint32_t bodies = wasm_count(section);
    if (bodies != binary->func_count - binary->import_count) return wasm_malformed(diag);
    for (; bodies > 0; bodies--) {
        WasmReader body = wasm_reader(wasm_vector(section));
        if (section->failed) return wasm_malformed(diag);
        if ((err = locals_skip(&body, diag)) != OK) return err;
        while (wasm_left(&body))
            if ((err = instruction_skip(wasm_u8(&body), &body, diag)) != OK) return err;
        if (body.failed) return wasm_malformed(diag);
    }
    return OK;
}
