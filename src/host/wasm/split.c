// split.c: see split.h.
//
// PICTURE   of what wasm2c writes, top to bottom
//   #include, macros, inline helpers                           header, once more in every part
//   static bool s_module_initialized …                         first part
//   static u32 func_types[7];                                  defined in the first, declared in the header
//   static void init_func_types(void) { … }                    first part
//   static u32 w2c_f5(Z_M_instance_t*, u32);                   header, no longer static
//   static const u8 data_segment_data_w2c_d0[] = { … };        as func_types
//   static void init_memories(…) { … }                         first part
//   static u32 w2c_f5(Z_M_instance_t* instance, …) { … }       the part with the least so far
//   wasm_rt_memory_t* Z_MZ_memory(…) { … }                     first part, to the end
//
// A top-level item begins in column 0 with a word and ends with a line that begins with `}` or ends
// with `;`. Names are numbers (binary.h), so no text in the file can look like something else.
#define _GNU_SOURCE  // memmem
#include "host/wasm/split.h"

typedef struct Lines {
    Str text;
    size_t at;
} Lines;

static bool line_next(Lines *lines, Str *out) {
    if (lines->at >= lines->text.len) return false;
    const char *start = lines->text.ptr + lines->at;
    const char *end = memchr(start, '\n', lines->text.len - lines->at);
    size_t len = end ? (size_t)(end - start) + 1 : lines->text.len - lines->at;
    *out = (Str){start, len};
    lines->at += len;
    return true;
}

// The item that begins with `first`: up to its closing brace or semicolon.
static Str item_rest(Lines *lines, Str first) {
    Str line = first;
    bool body = false;
    for (;;) {
        Str bare = line;
        while (bare.len && (bare.ptr[bare.len - 1] == '\n' || bare.ptr[bare.len - 1] == ' '))
            bare.len--;
        if (bare.len && bare.ptr[bare.len - 1] == '{') body = true;
        bool last =
            body ? bare.len && bare.ptr[0] == '}' : bare.len && bare.ptr[bare.len - 1] == ';';
        if (last || !line_next(lines, &line)) break;
    }
    return (Str){first.ptr, (size_t)(lines->text.ptr + lines->at - first.ptr)};
}

static bool contains(Str text, const char *word) {
    return memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

static Str without_static(Str item) {
    size_t skip = STR("static ").len;
    return (Str){item.ptr + skip, item.len - skip};
}

// `static T x[] = {…};` and `static T x[7];`: declared for everybody, defined in the first part.
static void array_share(Str item, Str line, Buf *header, Buf *first) {
    Str declaration = without_static(line);
    const char *end = memchr(declaration.ptr, ']', declaration.len);
    if (end) declaration.len = (size_t)(end - declaration.ptr) + 1;
    buf_put_str(header, STR("extern "));
    buf_put_str(header, declaration);
    buf_put_str(header, STR(";\n"));
    buf_put_str(first, without_static(item));
}

static Buf *smallest(Buf *parts, uint32_t part_count) {
    Buf *out = &parts[0];
    for (uint32_t i = 1; i < part_count; i++)
        if (parts[i].len < out->len) out = &parts[i];
    return out;
}

static void item_place(Str item, Str line, Buf *header, Buf *parts, uint32_t part_count) {
    bool array = memchr(line.ptr, '[', line.len) && !memchr(line.ptr, '(', line.len);
    bool function = contains(line, "w2c_") && memchr(line.ptr, '(', line.len);
    bool definition = item.ptr[item.len - 2] == '}';
    if (!str_starts(line, STR("static ")))
        buf_put_str(&parts[0], item);
    else if (array)
        array_share(item, line, header, &parts[0]);
    else if (!function)
        buf_put_str(&parts[0], item);
    else
        buf_put_str(definition ? smallest(parts, part_count) : header, without_static(item));
}

Err wasm_split(Bytes generated, Buf *header, Buf *parts, uint32_t part_count, Diag *diag) {
    static const char boundary[] = "static bool s_module_initialized = false;\n";
    const char *start = memmem(generated.ptr, generated.len, boundary, strlen(boundary));
    if (!start)
        return diag_fail(diag,
                         ERR_UNSUPPORTED,
                         "this wasm2c writes other C than the one of wabt 1.0.32");
    size_t head = (size_t)(start - (const char *)generated.ptr);
    buf_put(header, generated.ptr, head);
    buf_put_str(header, STR("#undef FUNC_PROLOGUE\n#define FUNC_PROLOGUE GUEST_PROLOGUE\n"));
    Lines lines = {.text = bytes_str(generated), .at = head};
    Str line;
    while (line_next(&lines, &line)) {
        bool item = line.ptr[0] != '\n' && line.ptr[0] != '/' && line.ptr[0] != ' ';
        if (item) item_place(item_rest(&lines, line), line, header, parts, part_count);
    }
    bool ok = buf_ok(header);
    for (uint32_t i = 0; i < part_count; i++)
        ok &= buf_ok(&parts[i]);
    return ok ? OK : diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}
