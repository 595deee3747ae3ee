// binary.c: see binary.h. One pass over the sections, then what only the whole module can tell.
#include "host/wasm/binary.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/wasm/code.h"
#include "host/wasm/rt/guest.h"

enum {  // of sections
    SECTION_CUSTOM,
    SECTION_TYPE,
    SECTION_IMPORT,
    SECTION_FUNCTION,
    SECTION_TABLE,
    SECTION_MEMORY,
    SECTION_GLOBAL,
    SECTION_EXPORT,
    SECTION_START,
    SECTION_ELEMENT,
    SECTION_CODE,
    SECTION_DATA,
    SECTION_DATA_COUNT,
    SECTION_TAG,
};
enum { KIND_FUNCTION, KIND_TABLE, KIND_MEMORY, KIND_GLOBAL, KIND_TAG };  // of imports and exports
enum { ABI_MAJOR = 10, ABI_MINOR = 5 };

static const struct {
    const char *name, *kind, *signature;
} export_rules[WASM_EXPORTS] = {
    [WASM_INITIALIZE] = {"_initialize", "initialize", ">"},
    [WASM_SETUP] = {"__setup__", "setup", "i>i"},
    [WASM_DESCRIBE] = {"__describe_module__", "describe_module", "i>"},
    [WASM_REDUCER] = {"__call_reducer__", "call_reducer", "illlllllii>i"},
    [WASM_PROCEDURE] = {"__call_procedure__", "call_procedure", "illlllllii>i"},
    [WASM_VIEW] = {"__call_view__", "call_view", "illllii>i"},
    [WASM_VIEW_ANON] = {"__call_view_anon__", "call_view_anon", "iii>i"},
    [WASM_HTTP] = {"__call_http_handler__", "call_http_handler", "iliiii>i"},
};

static const struct {
    uint32_t minor;
    const char *name, *signature;
} import_rules[] = {
#define X(minor, name, result, params, args, signature) {minor, #name, signature},
    GUEST_IMPORTS(X)
#undef X
};

const char *wasm_export_name(WasmExport which) {
    return export_rules[which].name;
}

typedef struct Reading {
    WasmBinary *out;
    Arena *arena;
    Diag *diag;
    bool versioned;  // an import told the ABI's version
    uint32_t major, minor;
    bool memory_exported;
    uint8_t export_kind[WASM_EXPORTS];  // 1 + kind
} Reading;

static Err no_memory(Diag *diag) {
    return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

// ---- texts

// "illl>i" as (func (param i32 i64 i64 i64) (result i32)).
static void signature_print(Str signature, Buf *out) {
    const char *open = " (param";
    buf_put_str(out, STR("(func"));
    for (size_t i = 0; i < signature.len; i++) {
        if (signature.ptr[i] == '>') {
            if (i) buf_put_u8(out, ')');
            open = " (result";
            if (i + 1 < signature.len) buf_put_str(out, str_from(open));
            continue;
        }
        if (i == 0) buf_put_str(out, str_from(open));
        switch (signature.ptr[i]) {
        case 'i': buf_put_str(out, STR(" i32")); break;
        case 'l': buf_put_str(out, STR(" i64")); break;
        case 'f': buf_put_str(out, STR(" f32")); break;
        case 'd': buf_put_str(out, STR(" f64")); break;
        case 'r': buf_put_str(out, STR(" funcref")); break;
        default: buf_put_str(out, STR(" externref")); break;
        }
    }
    if (signature.ptr[signature.len - 1] != '>') buf_put_u8(out, ')');
    buf_put_u8(out, ')');
}

static Err wrong_signature(Diag *diag, const char *kind, Str name, const char *expected, Str got) {
    Buf text = {0};
    buf_printf(&text, "bad %s signature for \"" STR_FMT "\"; expected ", kind, STR_ARG(name));
    signature_print(str_from(expected), &text);
    buf_put_str(&text, STR(" got "));
    signature_print(got, &text);
    diag_fail(diag, ERR_INVALID, STR_FMT, STR_ARG(bytes_str(buf_bytes(&text))));
    buf_deinit(&text);
    return ERR_INVALID;
}

static Err not_a_function(Diag *diag, const char *kind, Str name, const char *expected) {
    Buf text = {0};
    signature_print(str_from(expected), &text);
    diag_fail(diag,
              ERR_INVALID,
              "expected \"" STR_FMT "\" export to be a %s with signature " STR_FMT
              ", but it wasn't a function at all",
              STR_ARG(name),
              kind,
              STR_ARG(bytes_str(buf_bytes(&text))));
    buf_deinit(&text);
    return ERR_INVALID;
}

// ---- types

static Err values_read(Reading *g, WasmReader *r, char **at) {
    for (uint32_t left = wasm_count(r); left > 0; left--) {
        Err err = wasm_value_type(r, *at, g->diag);
        if (err != OK) return err;
        (*at)++;
    }
    return r->failed ? wasm_malformed(g->diag) : OK;
}

static Err type_read(Reading *g, WasmReader *r, Str *out) {
    Err err = OK;
    uint8_t form = wasm_u8(r);
    if (form >= 0x4d && form <= 0x5f)  // struct, array, sub, rec
        return wasm_feature(g->diag, "typed function references and garbage collection");
    if (form != 0x60) return wasm_malformed(g->diag);
    // A type's text is never longer than its bytes: two counts of one at least against one '>'.
    char *text = arena_alloc(g->arena, wasm_left(r) < 2048 ? wasm_left(r) + 1 : 2049), *at = text;
    if (!text) return no_memory(g->diag);
    WasmReader ahead = *r;
    uint32_t params = wasm_count(&ahead);
    wasm_bytes(&ahead, params);
    uint32_t results = wasm_count(&ahead);
    if (params > 1000 || results > 1000)
        return diag_fail(g->diag,
                         ERR_INVALID,
                         "a function has more than 1000 parameters or results");
    if ((err = values_read(g, r, &at)) != OK) return err;
    *at++ = '>';
    if ((err = values_read(g, r, &at)) != OK) return err;
    *out = (Str){text, (size_t)(at - text)};
    return OK;
}

static Err types_read(Reading *g, WasmReader *r) {
    WasmBinary *out = g->out;
    uint32_t count = wasm_count(r);
    if (count > WASM_TYPES_MAX)
        return diag_fail(g->diag, ERR_INVALID, "the module has more than %d types", WASM_TYPES_MAX);
    out->types = arena_array(g->arena, Str, MAX(count, 1));
    if (!out->types) return no_memory(g->diag);
    for (out->type_count = 0; out->type_count < count; out->type_count++) {
        Err err = type_read(g, r, &out->types[out->type_count]);
        if (err != OK) return err;
    }
    return OK;
}

// ---- imports

// "10.4" as two numbers; nothing else may be there.
static bool version_read(Str text, uint32_t *major, uint32_t *minor) {
    uint32_t *numbers[] = {major, minor};
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        size_t start = at;
        uint32_t value = 0;
        for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++) {
            value = value * 10 + (uint32_t)(text.ptr[at] - '0');
            if (value > UINT16_MAX) return false;
        }
        if (at == start) return false;
        if (i == 0 && (at == text.len || text.ptr[at++] != '.')) return false;
        *numbers[i] = value;
    }
    return at == text.len;
}

static Err version_note(Reading *g, Str module) {
    uint32_t major, minor;
    size_t prefix = STR("spacetime_").len;
    if (!str_starts(module, STR("spacetime_"))) return OK;
    if (!version_read((Str){module.ptr + prefix, module.len - prefix}, &major, &minor))
        return diag_fail(g->diag,
                         ERR_INVALID,
                         "import module \"" STR_FMT "\" has malformed version string",
                         STR_ARG(module));
    if (g->versioned && g->major != major)
        return diag_fail(g->diag,
                         ERR_INVALID,
                         "module cannot depend on both major version %u and major version %u",
                         g->major,
                         major);
    g->minor = g->versioned ? MAX(g->minor, minor) : minor;
    g->major = major;
    g->versioned = true;
    return OK;
}

static Err version_check(const Reading *g) {
    if (!g->versioned)
        return diag_fail(
            g->diag,
            ERR_INVALID,
            "unable to determine ABI of module (may be on an spacetime version < 0.8)");
    if (g->major != ABI_MAJOR || g->minor > ABI_MINOR)
        return diag_fail(g->diag,
                         ERR_INVALID,
                         "abi version %u.%u is not supported (host implements %d.%d)",
                         g->major,
                         g->minor,
                         ABI_MAJOR,
                         ABI_MINOR);
    return OK;
}

static Err unknown_import(Diag *diag, Str module, Str name) {
    return diag_fail(diag,
                     ERR_INVALID,
                     "unknown import: `" STR_FMT "::" STR_FMT "` has not been defined",
                     STR_ARG(module),
                     STR_ARG(name));
}

static Err import_check(Reading *g, Str module, Str name, uint32_t type) {
    uint32_t major = 0, minor = 0;
    size_t prefix = STR("spacetime_").len;
    if (!str_starts(module, STR("spacetime_")) ||
        !version_read((Str){module.ptr + prefix, module.len - prefix}, &major, &minor))
        return unknown_import(g->diag, module, name);
    // "010.0" is the same version but another name, which wasm2c would know nothing of.
    char exact[32];
    snprintf(exact, sizeof exact, "spacetime_%u.%u", major, minor);
    if (!str_eq(module, str_from(exact))) return unknown_import(g->diag, module, name);
    for (size_t i = 0; i < ARRAY_LEN(import_rules); i++) {
        if (import_rules[i].minor != minor || !str_eq(name, str_from(import_rules[i].name)))
            continue;
        g->out->minors |= 1u << minor;
        Str expected = str_from(import_rules[i].signature);
        if (str_eq(g->out->types[type], expected)) return OK;
        return wrong_signature(g->diag, "import", name, expected.ptr, g->out->types[type]);
    }
    return unknown_import(g->diag, module, name);
}

typedef struct Import {
    Str module, name;
    uint8_t kind;
    uint32_t type;
} Import;

static Str name_read(WasmReader *r) {  // messages quote it
    Bytes name = wasm_vector(r);
    if (!utf8_valid(name)) r->failed = true;
    return bytes_str(name);
}

static Err limits_skip(Reading *g, WasmReader *r, uint64_t *initial);

static Err import_read(Reading *g, WasmReader *r, Import *out) {
    char type;
    Err err = OK;
    uint64_t initial;
    out->module = name_read(r);
    out->name = name_read(r);
    out->kind = wasm_u8(r);
    switch (out->kind) {
    case KIND_FUNCTION: out->type = wasm_u32(r); break;
    case KIND_TABLE:
        err = wasm_value_type(r, &type, g->diag);
        if (err == OK) err = limits_skip(g, r, &initial);
        break;
    case KIND_MEMORY: err = limits_skip(g, r, &initial); break;
    case KIND_GLOBAL:
        err = wasm_value_type(r, &type, g->diag);
        wasm_u8(r);
        break;
    case KIND_TAG: return wasm_feature(g->diag, "exception handling");
    default: return wasm_malformed(g->diag);
    }
    if (err != OK) return err;
    bool known = out->kind != KIND_FUNCTION || out->type < g->out->type_count;
    return r->failed || !known ? wasm_malformed(g->diag) : OK;
}

// Versions come first: a module for another ABI is told so, not that its functions are missing.
static Err imports_read(Reading *g, WasmReader *r) {
    Err err = OK;
    uint32_t count = wasm_count(r);
    Import *imports = arena_array(g->arena, Import, MAX(count, 1));
    g->out->func_types = arena_array(g->arena, uint32_t, MAX(count, 1));
    if (!imports || !g->out->func_types) return no_memory(g->diag);
    for (uint32_t i = 0; i < count; i++) {
        if ((err = import_read(g, r, &imports[i])) != OK) return err;
        if (imports[i].kind == KIND_FUNCTION && (err = version_note(g, imports[i].module)) != OK)
            return err;
    }
    if ((err = version_check(g)) != OK) return err;
    for (uint32_t i = 0; i < count; i++) {
        const Import *import = &imports[i];
        if (import->kind != KIND_FUNCTION)
            return unknown_import(g->diag, import->module, import->name);
        if ((err = import_check(g, import->module, import->name, import->type)) != OK) return err;
        g->out->func_types[g->out->import_count++] = import->type;
    }
    g->out->func_count = g->out->import_count;
    return OK;
}

// ---- functions, tables, memories, globals

static Err functions_read(Reading *g, WasmReader *r) {
    WasmBinary *out = g->out;
    uint32_t count = wasm_count(r);
    uint32_t *types = arena_array(g->arena, uint32_t, (size_t)out->import_count + count + 1);
    if (!types) return no_memory(g->diag);
    if (out->import_count) memcpy(types, out->func_types, out->import_count * sizeof *types);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t type = wasm_u32(r);
        if (r->failed || type >= out->type_count) return wasm_malformed(g->diag);
        types[out->import_count + i] = type;
    }
    out->func_types = types;
    out->func_count = out->import_count + count;
    return OK;
}

static Err limits_skip(Reading *g, WasmReader *r, uint64_t *initial) {
    uint8_t flags = wasm_u8(r);
    if (flags & 2) return wasm_feature(g->diag, "threads (atomic instructions, shared memory)");
    if (flags & 4) return wasm_feature(g->diag, "64-bit memory");
    if (flags > 1) return wasm_feature(g->diag, "custom page sizes");
    *initial = wasm_u32(r);
    if (flags & 1) wasm_u32(r);
    return r->failed ? wasm_malformed(g->diag) : OK;
}

static Err tables_read(Reading *g, WasmReader *r) {
    char type;
    uint64_t initial;
    Err err = OK;
    for (uint32_t left = wasm_count(r); left > 0; left--) {
        if ((err = wasm_value_type(r, &type, g->diag)) != OK) return err;
        if ((err = limits_skip(g, r, &initial)) != OK) return err;
    }
    return OK;
}

static Err memories_read(Reading *g, WasmReader *r) {
    g->out->memories = wasm_count(r);
    if (g->out->memories > 1) return wasm_feature(g->diag, "more than one memory");
    return g->out->memories ? limits_skip(g, r, &g->out->memory_pages) : OK;
}

static Err globals_read(Reading *g, WasmReader *r) {
    char type;
    Err err = OK;
    for (uint32_t left = wasm_count(r); left > 0; left--) {
        if ((err = wasm_value_type(r, &type, g->diag)) != OK) return err;
        wasm_u8(r);  // mutable?
        if ((err = wasm_constant_skip(r, g->diag)) != OK) return err;
    }
    return OK;
}

// ---- exports

static Err export_function(Reading *g,
                           Str name,
                           const char *kind,
                           const char *signature,
                           uint8_t what,
                           uint32_t index,
                           uint32_t *out) {
    Str shown = name;
    size_t prefix = sizeof WASM_PREINIT - 1;
    if (str_starts(name, STR(WASM_PREINIT))) shown = (Str){name.ptr + prefix, name.len - prefix};
    if (what != KIND_FUNCTION) return not_a_function(g->diag, kind, shown, signature);
    if (index >= g->out->func_count) return wasm_malformed(g->diag);
    Str got = g->out->types[g->out->func_types[index]];
    if (!str_eq(got, str_from(signature)))
        return wrong_signature(g->diag, kind, shown, signature, got);
    if (index < g->out->import_count) return wasm_feature(g->diag, "an export that is an import");
    *out = index;
    return OK;
}

static int preinit_order(const void *a, const void *b) {
    const WasmPreinit *x = a, *y = b;
    return bytes_cmp(str_bytes(x->name), str_bytes(y->name));
}

static Err export_read(Reading *g, Str name, uint8_t what, uint32_t index) {
    WasmBinary *out = g->out;
    if (what == KIND_MEMORY && str_eq(name, STR("memory")))
        g->memory_exported = index < out->memories;
    if (str_starts(name, STR(WASM_PREINIT))) {
        WasmPreinit *preinit = &out->preinits[out->preinit_count++];
        preinit->name = name;
        return export_function(g, name, "preinit", ">", what, index, &preinit->func);
    }
    for (int i = 0; i < WASM_EXPORTS; i++)
        if (str_eq(name, str_from(export_rules[i].name)))
            return export_function(g,
                                   name,
                                   export_rules[i].kind,
                                   export_rules[i].signature,
                                   what,
                                   index,
                                   &out->exports[i]);
    return OK;
}

static Err exports_read(Reading *g, WasmReader *r) {
    Err err = OK;
    uint32_t count = wasm_count(r);
    g->out->preinits = arena_array(g->arena, WasmPreinit, MAX(count, 1));
    if (!g->out->preinits) return no_memory(g->diag);
    for (uint32_t i = 0; i < count; i++) {
        Str name = name_read(r);
        uint8_t what = wasm_u8(r);
        uint32_t index = wasm_u32(r);
        if (r->failed) return wasm_malformed(g->diag);
        if ((err = export_read(g, name, what, index)) != OK) return err;
    }
    if (g->out->preinit_count)
        qsort(g->out->preinits, g->out->preinit_count, sizeof *g->out->preinits, preinit_order);
    return OK;
}

static Err missing_check(const Reading *g) {
    if (!g->memory_exported)
        return diag_fail(g->diag,
                         ERR_INVALID,
                         "there should be a memory export called \"memory\" but it does not exist");
    static const WasmExport required[] = {WASM_DESCRIBE, WASM_REDUCER};
    for (size_t i = 0; i < ARRAY_LEN(required); i++)
        if (g->out->exports[required[i]] == WASM_NO_FUNC)
            return diag_fail(g->diag,
                             ERR_INVALID,
                             "there should be a function called \"%s\" but it does not exist",
                             wasm_export_name(required[i]));
    return OK;
}

// ---- the whole

static void custom_read(Reading *g, Bytes content) {
    WasmReader r = wasm_reader(content);
    Str name = bytes_str(wasm_vector(&r));
    if (!r.failed && str_eq(name, STR("name"))) g->out->names = BYTES(r.at, wasm_left(&r));
}

static Err section_read(Reading *g, uint8_t id, Bytes content) {
    WasmReader r = wasm_reader(content);
    switch (id) {
    case SECTION_CUSTOM: custom_read(g, content); return OK;
    case SECTION_TYPE: return types_read(g, &r);
    case SECTION_IMPORT: return imports_read(g, &r);
    case SECTION_FUNCTION: return functions_read(g, &r);
    case SECTION_TABLE: return tables_read(g, &r);
    case SECTION_MEMORY: return memories_read(g, &r);
    case SECTION_GLOBAL: return globals_read(g, &r);
    case SECTION_EXPORT: return exports_read(g, &r);
    case SECTION_START: g->out->starts = true; return OK;
    case SECTION_ELEMENT: return OK;
    case SECTION_CODE: return wasm_code_check(&r, g->out, g->diag);
    case SECTION_DATA:
    case SECTION_DATA_COUNT: return OK;
    case SECTION_TAG: return wasm_feature(g->diag, "exception handling");
    default: return wasm_malformed(g->diag);
    }
}

// Where a section stands among the others: ids are in order but for two latecomers.
static int section_rank(uint8_t id) {
    static const uint8_t order[] = {SECTION_TYPE,
                                    SECTION_IMPORT,
                                    SECTION_FUNCTION,
                                    SECTION_TABLE,
                                    SECTION_MEMORY,
                                    SECTION_TAG,
                                    SECTION_GLOBAL,
                                    SECTION_EXPORT,
                                    SECTION_START,
                                    SECTION_ELEMENT,
                                    SECTION_DATA_COUNT,
                                    SECTION_CODE,
                                    SECTION_DATA};
    for (int i = 0; i < (int)ARRAY_LEN(order); i++)
        if (order[i] == id) return i;
    return -1;
}

static bool header_skip(WasmReader *r) {
    Bytes header = wasm_bytes(r, 8);
    return !r->failed && memcmp(header.ptr, "\0asm\1\0\0\0", 8) == 0;
}

static Err sections_read(Reading *g, WasmReader *r) {
    int last = -1;
    Err err = OK;
    if (!header_skip(r)) return wasm_malformed(g->diag);
    while (wasm_left(r)) {
        uint8_t id = wasm_u8(r);
        Bytes content = wasm_vector(r);
        if (r->failed) return wasm_malformed(g->diag);
        if (id != SECTION_CUSTOM) {
            if (section_rank(id) <= last) return wasm_malformed(g->diag);
            last = section_rank(id);
        }
        if ((err = section_read(g, id, content)) != OK) return err;
    }
    return OK;
}

Err wasm_binary_read(Bytes program, Arena *arena, WasmBinary *out, Diag *diag) {
    Reading g = {.out = out, .arena = arena, .diag = diag};
    WasmReader r = wasm_reader(program);
    Err err = OK;
    *out = (WasmBinary){.program = program};
    for (int i = 0; i < WASM_EXPORTS; i++)
        out->exports[i] = WASM_NO_FUNC;
    if ((err = sections_read(&g, &r)) != OK) return err;
    if ((err = version_check(&g)) != OK) return err;  // a module without an import section
    return missing_check(&g);
}

// ---- rewriting

static void put_leb(Buf *out, uint64_t value) {
    do {
        uint8_t byte = value & 0x7f;
        value >>= 7;
        buf_put_u8(out, byte | (value ? 0x80 : 0));
    } while (value);
}

static void put_section(Buf *out, uint8_t id, Bytes content) {
    buf_put_u8(out, id);
    put_leb(out, content.len);
    buf_put_bytes(out, content);
}

static void put_export(Buf *out, uint32_t func) {
    char name[16];
    int len = snprintf(name, sizeof name, "e%u", func);
    put_leb(out, (uint64_t)len);
    buf_put(out, name, (size_t)len);
    buf_put_u8(out, KIND_FUNCTION);
    put_leb(out, func);
}

static int func_order(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

// Every exported function once: one function may have several of our names.
static void exports_rewrite(const WasmBinary *binary, Buf *out) {
    Buf funcs = {0}, section = {0};
    for (int i = 0; i < WASM_EXPORTS; i++)
        if (binary->exports[i] != WASM_NO_FUNC) buf_put_u32(&funcs, binary->exports[i]);
    for (uint32_t i = 0; i < binary->preinit_count; i++)
        buf_put_u32(&funcs, binary->preinits[i].func);
    size_t count = funcs.len / sizeof(uint32_t), distinct = 0;
    if (count) qsort(funcs.ptr, count, sizeof(uint32_t), func_order);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || load_u32(funcs.ptr + i * 4) != load_u32(funcs.ptr + (i - 1) * 4)) distinct++;
    put_leb(&section, distinct + 1);
    buf_put_str(&section, STR("\x06memory\x02"));
    put_leb(&section, 0);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || load_u32(funcs.ptr + i * 4) != load_u32(funcs.ptr + (i - 1) * 4))
            put_export(&section, load_u32(funcs.ptr + i * 4));
    put_section(out, SECTION_EXPORT, buf_bytes(&section));
    if (!buf_ok(&funcs) || !buf_ok(&section)) out->failed = true;
    buf_deinit(&funcs);
    buf_deinit(&section);
}

void wasm_binary_rewrite(const WasmBinary *binary, Buf *out) {
    WasmReader r = wasm_reader(binary->program);
    header_skip(&r);
    buf_put_bytes(out, BYTES(binary->program.ptr, 8));
    while (wasm_left(&r)) {
        uint8_t id = wasm_u8(&r);
        Bytes content = wasm_vector(&r);
        if (id == SECTION_EXPORT)
            exports_rewrite(binary, out);
        else if (id != SECTION_CUSTOM)
            put_section(out, id, content);
    }
}

Str *wasm_function_names(Bytes names, uint32_t func_count, Arena *arena) {
    Str *out = arena_array(arena, Str, MAX(func_count, 1));
    WasmReader r = wasm_reader(names);
    while (out && wasm_left(&r)) {
        uint8_t id = wasm_u8(&r);
        WasmReader sub = wasm_reader(wasm_vector(&r));
        if (r.failed || id != 1) continue;  // 1: functions
        for (uint32_t left = wasm_count(&sub); left > 0; left--) {
            uint32_t func = wasm_u32(&sub);
            Str name = bytes_str(wasm_vector(&sub));
            if (sub.failed) break;
            if (func < func_count) out[func] = name;
        }
    }
    return out;
}
