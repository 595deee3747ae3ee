// bundle.c: the text of an ES module becomes the text of a function.
//
// PICTURE
//   import * as sys from "spacetime:sys@2.0";    (function ($import, $using, $dispose) {
//   const x = …;                           ──>   "use strict"; const sys = $import("…");
//   export { x as default };                     const x = …;
//                                                return {__proto__: null, "default": x}; })
//
//   Edits are collected while the tokens are walked and applied in one pass; what is removed leaves
//   its line ends behind, so the lines of a stack trace are the lines of the module.
//
// ALWAYS TRUE
//   (1) Imports are bound first, as in a module, wherever they stand; exports are read last.
//   (2) Nothing but `spacetime:sys@2.0` and `@2.1` can be imported, and of those only what exists.
//
// DIFFERENT FROM A MODULE, and accepted: exports are not live after the module has run; a function
//           declared in the same block after a `using` is not visible before it.
// CALLERS   program.c. START AT  bundle_test.c.
#include "host/js/bundle.h"

#include <stdlib.h>

#include "base/mem.h"
#include "host/js/lex.h"

#define P_IMPORT  "$lc_import"
#define P_USING   "$lc_using"
#define P_DISPOSE "$lc_dispose"
#define P_DEFAULT "$lc_default"

enum { PATTERN_DEPTH_MAX = 64 };

typedef struct Edit {
    uint32_t at, remove;
    uint32_t text, text_len;  // in Bundle.texts
    int64_t order;            // among edits at one place
} Edit;

typedef struct Export {
    Str name, local;
} Export;

typedef struct Bundle {
    Tokens tokens;
    Diag *diag;
    Buf edits;    // Edit
    Buf texts;    // what edits insert
    Buf exports;  // Export
    Buf prologue;
    Buf epilogue;      // closes what `using` at the top level has opened
    int64_t sequence;  // of edits
} Bundle;

// ---- what can be imported (2)

static const char *const names_2_0[] = {
    "moduleHooks",
    "table_id_from_name",
    "index_id_from_name",
    "datastore_table_row_count",
    "datastore_table_scan_bsatn",
    "datastore_index_scan_range_bsatn",
    "row_iter_bsatn_advance",
    "row_iter_bsatn_close",
    "datastore_insert_bsatn",
    "datastore_update_bsatn",
    "datastore_delete_by_index_scan_range_bsatn",
    "datastore_delete_all_by_eq_bsatn",
    "volatile_nonatomic_schedule_immediate",
    "console_log",
    "console_timer_start",
    "console_timer_end",
    "identity",
    "get_jwt_payload",
    "procedure_http_request",
    "procedure_start_mut_tx",
    "procedure_commit_mut_tx",
    "procedure_abort_mut_tx",
    "datastore_index_scan_point_bsatn",
    "datastore_delete_by_index_scan_point_bsatn",
};
static const char *const names_2_1[] = {"datastore_clear"};

static Err fail_at(Bundle *b, uint32_t token, const char *what) {
    size_t at = token < b->tokens.count ? b->tokens.list[token].start : b->tokens.source.len;
    return diag_fail_at(b->diag, ERR_INVALID, at, "SyntaxError: %s", what);
}

static Str unquoted(const Bundle *b, uint32_t token) {
    Str text = token_text(&b->tokens, token);
    return (Str){text.ptr + 1, text.len - 2};
}

// "2.1" as two u16; false when it is anything else.
static bool version_parse(Str text, uint32_t out[2]) {
    size_t at = 0;
    for (int part = 0; part < 2; part++) {
        size_t start = at;
        out[part] = 0;
        for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++) {
            out[part] = out[part] * 10 + (uint32_t)(text.ptr[at] - '0');
            if (out[part] > UINT16_MAX) return false;
        }
        if (at == start) return false;
        if (part == 0 && (at >= text.len || text.ptr[at++] != '.')) return false;
    }
    return at == text.len;
}

// Check a specifier; *minor says which of the two modules it is.
static Err specifier_check(Bundle *b, uint32_t token, uint32_t *minor) {
    const Str prefix = STR("spacetime:sys@");
    if (!token_is_kind(&b->tokens, token, TOKEN_STRING))
        return fail_at(b, token, "an import without a module name");
    size_t at = b->tokens.list[token].start;
    Str name = unquoted(b, token);
    if (!str_starts(name, prefix))
        return diag_fail_at(b->diag,
                            ERR_INVALID,
                            at,
                            "TypeError: Could not find module \"" STR_FMT "\"",
                            STR_ARG(name));
    Str version = {name.ptr + prefix.len, name.len - prefix.len};
    uint32_t number[2];
    if (!version_parse(version, number))
        return diag_fail_at(b->diag,
                            ERR_INVALID,
                            at,
                            "TypeError: Invalid version in module spec \"" STR_FMT "\"",
                            STR_ARG(name));
    *minor = number[1];
    if (number[0] == 2 && number[1] <= 1) return OK;
    return diag_fail_at(b->diag,
                        ERR_INVALID,
                        at,
                        "TypeError: Could not import \"" STR_FMT "\", likely because this module "
                        "was built for a newer version of SpacetimeDB.\nIt requires sys module "
                        "v%u.%u, but that version is not supported by the database.",
                        STR_ARG(name),
                        number[0],
                        number[1]);
}

static Err imported_name_check(Bundle *b, uint32_t token, Str name, Str specifier, uint32_t minor) {
    const char *const *names = minor == 0 ? names_2_0 : names_2_1;
    size_t count = minor == 0 ? ARRAY_LEN(names_2_0) : ARRAY_LEN(names_2_1);
    for (size_t i = 0; i < count; i++)
        if (str_eq(name, str_from(names[i]))) return OK;
    return diag_fail_at(b->diag,
                        ERR_INVALID,
                        b->tokens.list[token].start,
                        "SyntaxError: The requested module '" STR_FMT
                        "' does not provide an export named '" STR_FMT "'",
                        STR_ARG(specifier),
                        STR_ARG(name));
}

// ---- edits

static void edit_add(Bundle *b, uint32_t at, uint32_t remove, Str text, int64_t order) {
    Edit edit = {.at = at,
                 .remove = remove,
                 .text = (uint32_t)b->texts.len,
                 .text_len = (uint32_t)text.len,
                 .order = order};
    buf_put_str(&b->texts, text);
    buf_put(&b->edits, &edit, sizeof edit);
}

static void replace(Bundle *b, uint32_t at, uint32_t end, Str text) {
    edit_add(b, at, end - at, text, b->sequence++);
}

// Remove the tokens first..last but not the ends of their lines.
static void blank(Bundle *b, uint32_t first, uint32_t last) {
    uint32_t at = b->tokens.list[first].start, end = b->tokens.list[last].end;
    for (uint32_t i = at; i < end; i++) {
        if (b->tokens.source.ptr[i] != '\n') continue;
        replace(b, at, i, STR_NONE);
        at = i + 1;
    }
    replace(b, at, end, STR(" "));
}

static void export_add(Bundle *b, Str name, Str local) {
    Export export = {.name = name, .local = local};
    buf_put(&b->exports, &export, sizeof export);
}

// ---- walking

// The token after the construct at `at`: one token, or a bracket with all that is in it.
static uint32_t skip(const Bundle *b, uint32_t at) {
    while (b->tokens.list[at].partner > at)
        at = b->tokens.list[at].partner;
    return at + 1;
}

static bool is_close(const Bundle *b, uint32_t at) {
    return b->tokens.list[at].partner < at;
}

// The token that ends the expression beginning at `at`: a comma or semicolon, a closing bracket,
// the first token of the next statement, or the end.
static uint32_t expression_end(const Bundle *b, uint32_t at) {
    uint32_t i = at;
    while (i < b->tokens.count) {
        if (is_close(b, i) || token_is(&b->tokens, i, ",") || token_is(&b->tokens, i, ";")) break;
        if (i > at && token_starts_statement(&b->tokens, i)) break;
        i = skip(b, i);
    }
    return i;
}

// ---- imports

// One `a`, `a as b` or `"a" as b` of a list; *at moves behind it.
static Err clause_read(Bundle *b, uint32_t *at, Str *first, Str *second) {
    const Tokens *tokens = &b->tokens;
    Str *sides[] = {first, second};
    for (int side = 0; side < 2; side++) {
        bool quoted = token_is_kind(tokens, *at, TOKEN_STRING);
        if (!quoted && !token_is_kind(tokens, *at, TOKEN_NAME))
            return fail_at(b, *at, "a name was expected");
        *sides[side] = quoted ? unquoted(b, *at) : token_text(tokens, *at);
        (*at)++;
        if (side == 0) *second = *first;
        if (!token_is(tokens, *at, "as")) break;
        if (side == 0) (*at)++;
    }
    if (token_is(tokens, *at, ",")) {
        (*at)++;
        return OK;
    }
    return token_is(tokens, *at, "}") ? OK : fail_at(b, *at, "a comma was expected");
}

static Err import_list(Bundle *b, uint32_t open, Str specifier, uint32_t minor) {
    uint32_t close = b->tokens.list[open].partner, at = open + 1;
    Err err = OK;
    while (at < close) {
        uint32_t token = at;
        Str name, local;
        if ((err = clause_read(b, &at, &name, &local)) != OK) return err;
        if ((err = imported_name_check(b, token, name, specifier, minor)) != OK) return err;
        buf_printf(&b->prologue,
                   "const " STR_FMT "=" P_IMPORT "(\"" STR_FMT "\")." STR_FMT ";",
                   STR_ARG(local),
                   STR_ARG(specifier),
                   STR_ARG(name));
    }
    return OK;
}

// Behind the specifier: an optional `with {…}` and semicolon belong to the declaration.
static uint32_t declaration_end(const Bundle *b, uint32_t specifier) {
    uint32_t last = specifier;
    if (token_is(&b->tokens, last + 1, "with") && token_is(&b->tokens, last + 2, "{"))
        last = b->tokens.list[last + 2].partner;
    return token_is(&b->tokens, last + 1, ";") ? last + 1 : last;
}

static Err import_declaration(Bundle *b, uint32_t first, uint32_t *next) {
    const Tokens *tokens = &b->tokens;
    uint32_t at = first + 1, names = 0, star = 0, fallback = 0, minor;
    if (token_is_kind(tokens, at, TOKEN_NAME)) {
        fallback = at++;
        if (token_is(tokens, at, ",")) at++;
    }
    if (token_is(tokens, at, "*") && token_is(tokens, at + 1, "as")) {
        star = at + 2;
        at += 3;
    } else if (token_is(tokens, at, "{")) {
        names = at;
        at = tokens->list[at].partner + 1;
    }
    if (fallback || star || names) {
        if (!token_is(tokens, at, "from")) return fail_at(b, at, "`from` was expected");
        at++;
    }
    Err err = specifier_check(b, at, &minor);
    if (err != OK) return err;
    Str specifier = unquoted(b, at);
    if (fallback) return imported_name_check(b, fallback, STR("default"), specifier, minor);
    if (star)
        buf_printf(&b->prologue,
                   "const " STR_FMT "=" P_IMPORT "(\"" STR_FMT "\");",
                   STR_ARG(token_text(tokens, star)),
                   STR_ARG(specifier));
    if (names && (err = import_list(b, names, specifier, minor)) != OK) return err;
    uint32_t last = declaration_end(b, at);
    blank(b, first, last);
    *next = last + 1;
    return OK;
}

// ---- exports

static Err export_list(Bundle *b, uint32_t first, uint32_t *next) {
    const Tokens *tokens = &b->tokens;
    uint32_t open = first + 1, close = tokens->list[open].partner, at = open + 1, minor = 0;
    Str specifier = STR_NONE;
    uint32_t last = close;
    Err err = OK;
    if (token_is(tokens, close + 1, "from")) {
        if ((err = specifier_check(b, close + 2, &minor)) != OK) return err;
        specifier = unquoted(b, close + 2);
        last = close + 2;
    }
    for (uint32_t n = 0; at < close; n++) {
        uint32_t token = at;
        Str local, name;
        if ((err = clause_read(b, &at, &local, &name)) != OK) return err;
        if (!specifier.ptr) {
            if (token_is_kind(tokens, token, TOKEN_STRING))
                return fail_at(b, token, "a local name was expected");
            export_add(b, name, local);
            continue;
        }
        if ((err = imported_name_check(b, token, local, specifier, minor)) != OK) return err;
        return fail_at(b, token, "a module cannot export what the server provides");
    }
    last = declaration_end(b, last);
    blank(b, first, last);
    *next = last + 1;
    return OK;
}

// The `}` of the function or class whose keyword is at `at`.
static uint32_t body_end(const Bundle *b, uint32_t at) {
    while (at < b->tokens.count && !token_is(&b->tokens, at, "{"))
        at = skip(b, at);
    return at < b->tokens.count ? b->tokens.list[at].partner : b->tokens.count - 1;
}

// The token of the name of `function name`, `async function* name`, `class name`; 0: it has none.
static uint32_t declared_name(const Bundle *b, uint32_t at) {
    const Tokens *tokens = &b->tokens;
    bool async = token_is(tokens, at, "async") && token_is(tokens, at + 1, "function");
    at += async;
    if (!token_is(tokens, at, "function") && !token_is(tokens, at, "class")) return 0;
    bool class_ = token_is(tokens, at, "class");
    at++;
    if (token_is(tokens, at, "*")) at++;
    bool named =
        token_is_kind(tokens, at, TOKEN_NAME) && !(class_ && token_is(tokens, at, "extends"));
    return named ? at : 0;
}

static bool is_declaration(const Bundle *b, uint32_t at) {
    const Tokens *tokens = &b->tokens;
    if (token_is(tokens, at, "async")) at++;
    return token_is(tokens, at, "function") || token_is(tokens, at, "class");
}

static void export_default(Bundle *b, uint32_t first, uint32_t *next) {
    uint32_t value = first + 2, name = declared_name(b, value);
    if (name) {
        blank(b, first, first + 1);
        export_add(b, STR("default"), token_text(&b->tokens, name));
    } else {
        const Token *list = b->tokens.list;
        replace(b, list[first].start, list[first + 1].end, STR("const " P_DEFAULT "="));
        export_add(b, STR("default"), STR(P_DEFAULT));
        if (is_declaration(b, value)) {
            uint32_t end = list[body_end(b, value)].end;
            replace(b, end, end, STR(";"));
        }
    }
    *next = value;
}

// Every name that a pattern binds: `a`, `{a, b: c = 1, ...d}`, `[a, [b]]`.
static Err export_pattern(Bundle *b, uint32_t at, int depth) {
    const Tokens *tokens = &b->tokens;
    if (token_is_kind(tokens, at, TOKEN_NAME)) {
        export_add(b, token_text(tokens, at), token_text(tokens, at));
        return OK;
    }
    bool object = token_is(tokens, at, "{");
    if (depth == PATTERN_DEPTH_MAX || (!object && !token_is(tokens, at, "[")))
        return fail_at(b, at, "a pattern of names was expected");
    uint32_t close = tokens->list[at].partner;
    for (uint32_t i = at + 1; i < close;) {
        uint32_t target = token_is(tokens, i, "...") ? i + 1 : i;
        uint32_t after = skip(b, target);
        if (object && token_is(tokens, after, ":")) target = after + 1;
        bool hole = token_is(tokens, target, ",");
        Err err = hole ? OK : export_pattern(b, target, depth + 1);
        if (err != OK) return err;
        for (i = target; i < close && !token_is(tokens, i, ",");)
            i = skip(b, i);
        i++;
    }
    return OK;
}

static Err export_variables(Bundle *b, uint32_t keyword) {
    for (uint32_t at = keyword + 1;;) {
        Err err = export_pattern(b, at, 0);
        if (err != OK) return err;
        uint32_t after = skip(b, at);
        uint32_t end = after < b->tokens.count && token_starts_statement(&b->tokens, after)
                           ? after
                           : expression_end(b, after);
        if (!token_is(&b->tokens, end, ",")) return OK;
        at = end + 1;
    }
}

static Err export_declaration(Bundle *b, uint32_t first, uint32_t *next) {
    const Tokens *tokens = &b->tokens;
    uint32_t at = first + 1;
    *next = at;
    if (token_is(tokens, at, "{")) return export_list(b, first, next);
    if (token_is(tokens, at, "default") && at + 1 < tokens->count) {
        export_default(b, first, next);
        return OK;
    }
    if (token_is(tokens, at, "*")) return fail_at(b, at, "`export *` has nothing to export");
    uint32_t name = declared_name(b, at);
    bool variables =
        token_is(tokens, at, "const") || token_is(tokens, at, "let") || token_is(tokens, at, "var");
    if (!name && !variables) return fail_at(b, at, "an export without a name");
    blank(b, first, first);
    if (name) export_add(b, token_text(tokens, name), token_text(tokens, name));
    return variables ? export_variables(b, at) : OK;
}

// ---- `using`

// `using a = …`, where a declaration may stand.
static bool is_using(const Bundle *b, uint32_t at) {
    const Tokens *tokens = &b->tokens;
    if (!token_is_word(tokens, at, "using") || !token_is_kind(tokens, at + 1, TOKEN_NAME) ||
        tokens->list[at + 1].newline || !token_is(tokens, at + 2, "="))
        return false;
    bool first = at == 0 || token_is(tokens, at - 1, ";") || token_is(tokens, at - 1, "{") ||
                 token_is(tokens, at - 1, "}");
    return first || token_starts_statement(tokens, at);
}

// using x = e;   ──>   const x = $using(e); try { … the rest of the block … } finally { … }
static Err using_lower(Bundle *b, uint32_t at, uint32_t block_close) {
    const Token *list = b->tokens.list;
    replace(b, list[at].start, list[at].end, STR("const"));
    for (uint32_t name = at + 1;;) {
        bool named = token_is_kind(&b->tokens, name, TOKEN_NAME);
        if (!named || !token_is(&b->tokens, name + 1, "="))
            return fail_at(b, name, "`using` declares a name with a value");
        uint32_t end = expression_end(b, name + 2);
        if (end == name + 2) return fail_at(b, end, "an expression was expected");
        bool more = token_is(&b->tokens, end, ",");
        replace(b, list[name + 1].end, list[name + 1].end, STR(P_USING "("));
        replace(b, list[end - 1].end, list[end - 1].end, STR(");try{"));
        if (more) replace(b, list[end].start, list[end].end, STR("const"));
        if (!more && token_is(&b->tokens, end, ";"))
            replace(b, list[end].start, list[end].end, STR_NONE);
        Buf close = {0};
        buf_printf(&close,
                   "}finally{" P_DISPOSE "(" STR_FMT ")}",
                   STR_ARG(token_text(&b->tokens, name)));
        b->texts.failed |= close.failed;
        // The last declared is the first to close.
        if (block_close < b->tokens.count) {
            edit_add(b, list[block_close].start, 0, bytes_str(buf_bytes(&close)), -b->sequence++);
        } else {
            buf_put_bytes(&close, buf_bytes(&b->epilogue));
            buf_clear(&b->epilogue);
            buf_put_bytes(&b->epilogue, buf_bytes(&close));
        }
        buf_deinit(&close);
        if (!more) return OK;
        name = end + 1;
    }
}

// ---- the whole

// What no module may contain, wherever it stands.
static Err word_check(Bundle *b, uint32_t at) {
    const Tokens *tokens = &b->tokens;
    if (!token_is_word(tokens, at, "import")) return OK;
    size_t start = tokens->list[at].start;
    if (token_is(tokens, at + 1, ".") && token_is(tokens, at + 2, "meta"))
        return diag_fail_at(b->diag,
                            ERR_INVALID,
                            start,
                            "SyntaxError: `import.meta` is not available in modules");
    if (!token_is(tokens, at + 1, "(")) return OK;
    bool method = token_is(tokens, tokens->list[at + 1].partner + 1, "{");
    if (method) return OK;  // { import() { … } }
    return diag_fail_at(b->diag,
                        ERR_INVALID,
                        start,
                        "SyntaxError: `import()` is not available in modules");
}

// `await` that is not inside a function, as far as brackets tell: the engine refuses the others.
static Err await_check(Bundle *b, uint32_t at) {
    bool async_before = false;
    for (uint32_t i = at; i > 0 && !token_is(&b->tokens, i, ";"); i--)
        async_before |= token_is_word(&b->tokens, i - 1, "async");
    if (async_before) return OK;
    return diag_fail_at(b->diag,
                        ERR_INVALID,
                        b->tokens.list[at].start,
                        "TypeError: module has top-level await and is pending");
}

static Err top_level(Bundle *b) {
    const Tokens *tokens = &b->tokens;
    Err err = OK;
    for (uint32_t at = 0; at < tokens->count;) {
        uint32_t next = skip(b, at);
        if (token_is_word(tokens, at, "import") && !token_is(tokens, at + 1, "(") &&
            !token_is(tokens, at + 1, "."))
            err = import_declaration(b, at, &next);
        else if (token_is_word(tokens, at, "export"))
            err = export_declaration(b, at, &next);
        else if (token_is_word(tokens, at, "await"))
            err = await_check(b, at);
        else if (token_is_word(tokens, at, "return"))
            err = fail_at(b, at, "`return` outside of a function");
        if (err != OK) return err;
        at = next;
    }
    return OK;
}

// Every token, with the block it is in.
static Err everywhere(Bundle *b) {
    const Tokens *tokens = &b->tokens;
    Buf blocks = {0};  // u32 each: the closing tokens of the brackets around this place
    Err err = OK;
    for (uint32_t at = 0; at < tokens->count && err == OK; at++) {
        if (is_close(b, at)) blocks.len -= sizeof(uint32_t);
        if (tokens->list[at].partner > at) buf_put_u32(&blocks, tokens->list[at].partner);
        if (!buf_ok(&blocks)) {
            err = ERR_NOMEM;
            break;
        }
        uint32_t close =
            blocks.len ? load_u32(blocks.ptr + blocks.len - sizeof(uint32_t)) : tokens->count;
        if (is_using(b, at)) err = using_lower(b, at, close);
        if (err == OK) err = word_check(b, at);
    }
    buf_deinit(&blocks);
    return err;
}

// In a script `<!--` is a comment; in a module it is four operators.
static void split_html_comments(Bundle *b) {
    for (uint32_t at = 0; at < b->tokens.count; at++) {
        uint32_t start = b->tokens.list[at].start;
        Str rest = {b->tokens.source.ptr + start, b->tokens.source.len - start};
        bool opens = token_is(&b->tokens, at, "<") && str_starts(rest, STR("<!--"));
        bool closes = token_is(&b->tokens, at, "--") && str_starts(rest, STR("-->"));
        if (opens) replace(b, start + 1, start + 1, STR(" "));
        if (closes) replace(b, start + 2, start + 2, STR(" "));
    }
}

static int edit_order(const void *a, const void *b) {
    const Edit *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

// UTF-16 code-unit order of UTF-8 texts: what needs a surrogate pair sorts before U+E000.
static int name_order(const void *a, const void *b) {
    Str x = ((const Export *)a)->name, y = ((const Export *)b)->name;
    for (size_t i = 0; i < x.len && i < y.len; i++) {
        uint8_t p = (uint8_t)x.ptr[i], q = (uint8_t)y.ptr[i];
        if (p == q) continue;
        bool flip = (p >= 0xf0) != (q >= 0xf0) && p >= 0xee && q >= 0xee;
        return (p < q) != flip ? -1 : 1;
    }
    return x.len < y.len ? -1 : x.len > y.len;
}

static void edits_apply(Bundle *b, Buf *out) {
    size_t count = b->edits.len / sizeof(Edit);
    Edit *edits = (Edit *)(void *)b->edits.ptr;
    if (count) qsort(edits, count, sizeof *edits, edit_order);
    Str source = b->tokens.source;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const Edit *edit = &edits[i];
        if (edit->at > at) buf_put(out, source.ptr + at, edit->at - at);
        if (edit->text_len) buf_put(out, b->texts.ptr + edit->text, edit->text_len);
        at = MAX(at, (size_t)edit->at + edit->remove);
    }
    if (source.len > at) buf_put(out, source.ptr + at, source.len - at);
}

static Err exports_write(Bundle *b, Buf *out) {
    size_t count = b->exports.len / sizeof(Export);
    Export *exports = (Export *)(void *)b->exports.ptr;
    if (count) qsort(exports, count, sizeof *exports, name_order);
    buf_put_str(out, STR("\nreturn{__proto__:null"));
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && str_eq(exports[i].name, exports[i - 1].name))
            return diag_fail(b->diag,
                             ERR_INVALID,
                             "SyntaxError: Duplicate export of '" STR_FMT "'",
                             STR_ARG(exports[i].name));
        buf_printf(out,
                   ",[\"" STR_FMT "\"]:" STR_FMT,
                   STR_ARG(exports[i].name),
                   STR_ARG(exports[i].local));
    }
    buf_put_str(out, STR("};"));
    return OK;
}

static Err script_write(Bundle *b, Buf *script) {
    bool complete = buf_ok(&b->edits) && buf_ok(&b->texts) && buf_ok(&b->exports) &&
                    buf_ok(&b->prologue) && buf_ok(&b->epilogue);
    if (!complete) return ERR_NOMEM;
    buf_put_str(script, STR("(function(" P_IMPORT "," P_USING "," P_DISPOSE "){\"use strict\";"));
    buf_put_bytes(script, buf_bytes(&b->prologue));
    edits_apply(b, script);
    Err err = exports_write(b, script);
    buf_put_bytes(script, buf_bytes(&b->epilogue));
    buf_put_str(script, STR("})"));
    return err == OK && !buf_ok(script) ? ERR_NOMEM : err;
}

Err bundle_rewrite(Str source, Buf *script, Diag *diag) {
    Bundle b = {.diag = diag};
    Err err = OK;
    if ((err = tokens_read(source, &b.tokens, diag)) != OK) goto done;
    if (str_starts(source, STR("#!"))) {
        const char *newline = memchr(source.ptr, '\n', source.len);
        replace(&b,
                0,
                (uint32_t)(newline ? newline - source.ptr : (ptrdiff_t)source.len),
                STR_NONE);
    }
    if (b.tokens.map_end) replace(&b, b.tokens.map_start, b.tokens.map_end, STR_NONE);
    split_html_comments(&b);
    if ((err = top_level(&b)) != OK) goto done;
    if ((err = everywhere(&b)) != OK) goto done;
    err = script_write(&b, script);
done:
    if (err == ERR_NOMEM) diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    tokens_deinit(&b.tokens);
    buf_deinit(&b.edits);
    buf_deinit(&b.texts);
    buf_deinit(&b.exports);
    buf_deinit(&b.prologue);
    buf_deinit(&b.epilogue);
    return err;
}
