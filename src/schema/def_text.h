// def_text.h: module definitions for tests, written by hand as C literals. Tests only.
//
//   static const DefText chat = {
//       .types = {"User: (identity: Identity, name: Option<String>)"},
//       .tables = {{.name = "user", .row = 0, .primary_key = "0", .unique = {"0"},
//                   .indexes = {{.name = "user_identity_idx_btree", .columns = "0"}}}},
//       .reducers = {{.name = "set_name", .params = "(name: String)"}},
//   };
//   ModuleDef *def = def_text(&chat, 10);
//
// Types: U8 … F64, Bool, String, Identity, Timestamp, ScheduleAt, Option<T>, Array<T>, &3 (the third
// entry of .types), (a: T, b: T) products and [A: T | B] sums. An entry "Name: T" is declared under
// that name, "T" alone is not.
#pragma once
#include "base/test.h"
#include "schema/def.h"

enum { DEF_TEXT_MAX = 12, DEF_TEXT_VIEWS = 6 };

typedef struct DefTextIndex {
    const char *name;      // NULL ends the list; "-" is an index without a name
    const char *accessor;  // NULL: none
    IndexAlgorithm algorithm;
    const char *columns;  // "0,2"
} DefTextIndex;

typedef struct DefTextSequence {
    const char *name;     // NULL: generated
    const char *columns;  // one column; NULL ends the list
    int64_t start, min, max;
    bool has_start, has_min, has_max;
    int64_t increment;  // 0 means 1
} DefTextSequence;

typedef struct DefTextDefault {
    const char *column;  // NULL ends the list
    const char *hex;     // BSATN
} DefTextDefault;

typedef struct DefTextTable {
    const char *name;  // NULL ends the list
    uint32_t row;      // entry of .types
    const char *primary_key;
    const char *unique[DEF_TEXT_MAX];
    DefTextIndex indexes[DEF_TEXT_MAX];
    DefTextSequence sequences[4];
    DefTextDefault defaults[4];
    bool is_private, is_event, is_system;
    struct {
        const char *function;  // NULL: not scheduled
        uint16_t at_column;
    } schedule;
} DefTextTable;

typedef struct DefTextFunction {
    const char *name;     // NULL ends the list
    const char *params;   // NULL: "()"
    const char *returns;  // procedures; of a V10 reducer the ok type, NULL: "()"
    const char *error;    // of a V10 reducer, NULL: "String"
    bool is_private;
    int lifecycle;  // 1 + Lifecycle; 0: none
} DefTextFunction;

typedef struct DefTextView {
    const char *name;
    const char *returns;
    const char *params;
    uint32_t index;
    bool is_anonymous, is_private;
    const char *keys[3];
} DefTextView;

typedef struct DefText DefText;

typedef struct DefTextSubmodule {
    const char *name;
    const DefText *module;
} DefTextSubmodule;

struct DefText {
    const char *types[DEF_TEXT_MAX];
    DefTextTable tables[DEF_TEXT_MAX];
    DefTextFunction reducers[DEF_TEXT_MAX];
    DefTextFunction procedures[4];
    DefTextView views[DEF_TEXT_VIEWS];
    const char *row_level_security[4];
    const char *explicit_names[8];  // "table source canonical"
    const char *handlers[4];
    const char *routes[4];  // "handler GET /path", ANY for any
    bool keep_case;         // CASE_NONE
    bool sorted_types;      // custom_ordering false
    DefTextSubmodule submodules[4];
};

// ── types ──────────────────────────────────────────────────────────────────────────────────────

static inline bool def_text_eat(const char **at, const char *word) {
    while (**at == ' ' || **at == ',')
        ++*at;
    size_t len = strlen(word);
    if (strncmp(*at, word, len) != 0) return false;
    *at += len;
    return true;
}

static inline Str def_text_word(const char **at) {
    while (**at == ' ' || **at == ',')
        ++*at;
    const char *begin = *at;
    while (**at && !strchr(" ,:()[]<>|", **at))
        ++*at;
    return (Str){begin, (size_t)(*at - begin)};
}

static inline void def_text_type(Buf *out, const char **at);

// Elements up to `close`: "a: T" is named, "T" is not; in sums "A" alone has the unit type.
static inline void def_text_fields(Buf *out, const char **at, char close, bool is_sum) {
    Buf body = {0};
    uint32_t count = 0;
    for (;;) {
        while (**at == ' ' || **at == ',' || **at == '|')
            ++*at;
        if (**at == close) break;
        ASSERT(**at);
        const char *again = *at;
        Str name = def_text_word(at);
        bool has_type = def_text_eat(at, ":");
        if (!has_type && !is_sum) *at = again;
        buf_put_u8(&body, has_type || is_sum ? 0 : 1);
        if (has_type || is_sum) buf_put_lp(&body, str_bytes(name));
        if (has_type || !is_sum)
            def_text_type(&body, at);
        else
            buf_put(&body, "\x02\0\0\0", 5);  // unit
        count++;
    }
    ++*at;
    buf_put_u32(out, count);
    buf_put_bytes(out, buf_bytes(&body));
    buf_deinit(&body);
}

static inline void def_text_special(Buf *out, const char *field, uint8_t kind) {
    buf_put_u8(out, TYPE_PRODUCT);
    buf_put_u32(out, 1);
    buf_put_u8(out, 0);
    buf_put_lp(out, str_bytes(str_from(field)));
    buf_put_u8(out, kind);
}

static inline void def_text_type(Buf *out, const char **at) {
    static const char *const simple[] = {"String",
                                         "Bool",
                                         "I8",
                                         "U8",
                                         "I16",
                                         "U16",
                                         "I32",
                                         "U32",
                                         "I64",
                                         "U64",
                                         "I128",
                                         "U128",
                                         "I256",
                                         "U256",
                                         "F32",
                                         "F64"};
    if (def_text_eat(at, "(")) {
        buf_put_u8(out, TYPE_PRODUCT);
        def_text_fields(out, at, ')', false);
    } else if (def_text_eat(at, "[")) {
        buf_put_u8(out, TYPE_SUM);
        def_text_fields(out, at, ']', true);
    } else if (def_text_eat(at, "Array<")) {
        buf_put_u8(out, TYPE_ARRAY);
        def_text_type(out, at);
        ASSERT(def_text_eat(at, ">"));
    } else if (def_text_eat(at, "Option<")) {
        buf_put(out, "\x01\x02\0\0\0\0\x04\0\0\0some", 14);
        def_text_type(out, at);
        buf_put(out, "\0\x04\0\0\0none\x02\0\0\0\0", 14);
        ASSERT(def_text_eat(at, ">"));
    } else if (def_text_eat(at, "&")) {
        buf_put_u8(out, TYPE_REF);
        buf_put_u32(out, (uint32_t)strtoul(*at, (char **)at, 10));
    } else if (def_text_eat(at, "Identity")) {
        def_text_special(out, "__identity__", TYPE_U256);
    } else if (def_text_eat(at, "Timestamp")) {
        def_text_special(out, "__timestamp_micros_since_unix_epoch__", TYPE_I64);
    } else if (def_text_eat(at, "ScheduleAt")) {
        buf_put(out, "\x01\x02\0\0\0\0\x08\0\0\0Interval", 18);
        def_text_special(out, "__time_duration_micros__", TYPE_I64);
        buf_put(out, "\0\x04\0\0\0Time", 9);
        def_text_special(out, "__timestamp_micros_since_unix_epoch__", TYPE_I64);
    } else {
        Str word = def_text_word(at);
        for (size_t i = 0; i < ARRAY_LEN(simple); i++) {
            if (str_eq(word, str_from(simple[i]))) {
                buf_put_u8(out, (uint8_t)(TYPE_STRING + i));
                return;
            }
        }
        UNREACHABLE();  // a type that this file does not know
    }
}

// The type of "T" or of "Name: T"; *name is empty when there is none.
static inline void def_text_entry(Buf *out, const char *text, Str *name) {
    const char *at = text;
    *name = (Str){text, 0};
    if (!strchr("([&", *at)) {
        Str word = def_text_word(&at);
        if (def_text_eat(&at, ":"))
            *name = word;
        else
            at = text;
    }
    def_text_type(out, &at);
}

static inline void def_text_params(Buf *out, const char *text) {
    const char *at = text ? text : "()";
    Buf type = {0};
    def_text_type(&type, &at);
    buf_put(out, type.ptr + 1, type.len - 1);  // a ProductType has no tag
    buf_deinit(&type);
}

static inline void def_text_one(Buf *out, const char *text) {
    const char *at = text;
    def_text_type(out, &at);
}

// ── pieces ─────────────────────────────────────────────────────────────────────────────────────

static inline void def_text_str(Buf *out, const char *text) {
    buf_put_lp(out, str_bytes(str_from(text)));
}

static inline void def_text_option(Buf *out, const char *text) {
    buf_put_u8(out, text ? 0 : 1);
    if (text) def_text_str(out, text);
}

static inline void def_text_columns(Buf *out, const char *text) {
    size_t at = out->len;
    uint32_t count = 0;
    buf_put_u32(out, 0);
    while (text && *text) {
        char *end;
        buf_put_u16(out, (uint16_t)strtoul(text, &end, 10));
        text = *end == ',' ? end + 1 : end;
        count++;
    }
    store_u32(out->ptr + at, count);
}

static inline void def_text_option_i128(Buf *out, bool some, int64_t value) {
    buf_put_u8(out, some ? 0 : 1);
    if (!some) return;
    __int128 wide = value;
    buf_put(out, &wide, sizeof wide);
}

static inline void def_text_parts(Buf *out, const DefTextTable *t) {
    uint32_t n = 0;
    while (n < DEF_TEXT_MAX && t->indexes[n].name)
        n++;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        def_text_option(out, strcmp(t->indexes[i].name, "-") ? t->indexes[i].name : NULL);
        def_text_option(out, t->indexes[i].accessor);
        buf_put_u8(out, (uint8_t)t->indexes[i].algorithm);
        if (t->indexes[i].algorithm == INDEX_DIRECT)
            buf_put_u16(out, (uint16_t)atoi(t->indexes[i].columns));
        else
            def_text_columns(out, t->indexes[i].columns);
    }
    for (n = 0; n < DEF_TEXT_MAX && t->unique[n];)
        n++;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_put(out, "\1\0", 2);  // no name, Unique
        def_text_columns(out, t->unique[i]);
    }
    for (n = 0; n < 4 && t->sequences[n].columns;)
        n++;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const DefTextSequence *s = &t->sequences[i];
        def_text_option(out, s->name);
        buf_put_u16(out, (uint16_t)atoi(s->columns));
        def_text_option_i128(out, s->has_start, s->start);
        def_text_option_i128(out, s->has_min, s->min);
        def_text_option_i128(out, s->has_max, s->max);
        __int128 increment = s->increment ? s->increment : 1;
        buf_put(out, &increment, sizeof increment);
    }
}

static inline void def_text_value(Buf *out, const char *hex) {
    size_t len = strlen(hex) / 2;
    buf_put_u32(out, (uint32_t)len);
    ASSERT(hex_read(str_from(hex), buf_extend(out, len)));
}

static inline uint32_t def_text_table_count(const DefText *text) {
    uint32_t n = 0;
    while (n < DEF_TEXT_MAX && text->tables[n].name)
        n++;
    return n;
}

static inline void def_text_typespace(Buf *out, const DefText *text) {
    uint32_t n = 0;
    while (n < DEF_TEXT_MAX && text->types[n])
        n++;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        Str name;
        def_text_entry(out, text->types[i], &name);
    }
}

static inline void def_text_type_names(Buf *out, const DefText *text) {
    size_t at = out->len;
    uint32_t count = 0;
    Buf ignored = {0};
    buf_put_u32(out, 0);
    for (uint32_t i = 0; i < DEF_TEXT_MAX && text->types[i]; i++) {
        Str name;
        def_text_entry(&ignored, text->types[i], &name);
        if (name.len == 0) continue;
        buf_put_u32(out, 0);  // no scope
        buf_put_lp(out, str_bytes(name));
        buf_put_u32(out, i);
        buf_put_u8(out, !text->sorted_types);
        count++;
    }
    store_u32(out->ptr + at, count);
    buf_deinit(&ignored);
}

static inline void def_text_view(Buf *out, const DefTextView *view) {
    def_text_str(out, view->name);
    buf_put_u32(out, view->index);
    buf_put_u8(out, !view->is_private);
    buf_put_u8(out, view->is_anonymous);
    def_text_params(out, view->params);
    def_text_one(out, view->returns);
}

// ── version 9 ──────────────────────────────────────────────────────────────────────────────────

static inline void def_text_exports9(Buf *out, const DefText *text) {
    size_t at = out->len;
    uint32_t count = 0;
    buf_put_u32(out, 0);
    for (uint32_t i = 0; i < def_text_table_count(text); i++) {
        for (uint32_t k = 0; k < 4 && text->tables[i].defaults[k].column; k++, count++) {
            buf_put_u8(out, 0);
            def_text_str(out, text->tables[i].name);
            buf_put_u16(out, (uint16_t)atoi(text->tables[i].defaults[k].column));
            def_text_value(out, text->tables[i].defaults[k].hex);
        }
    }
    for (uint32_t i = 0; i < 4 && text->procedures[i].name; i++, count++) {
        buf_put_u8(out, 1);
        def_text_str(out, text->procedures[i].name);
        def_text_params(out, text->procedures[i].params);
        def_text_one(out, text->procedures[i].returns ? text->procedures[i].returns : "()");
    }
    for (uint32_t i = 0; i < DEF_TEXT_VIEWS && text->views[i].name; i++, count++) {
        buf_put_u8(out, 2);
        def_text_view(out, &text->views[i]);
    }
    store_u32(out->ptr + at, count);
}

static inline void def_text_write9(Buf *out, const DefText *text) {
    uint32_t n = def_text_table_count(text);
    def_text_typespace(out, text);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const DefTextTable *t = &text->tables[i];
        def_text_str(out, t->name);
        buf_put_u32(out, t->row);
        def_text_columns(out, t->primary_key);
        def_text_parts(out, t);
        buf_put_u8(out, t->schedule.function ? 0 : 1);
        if (t->schedule.function) {
            buf_put_u8(out, 1);
            def_text_str(out, t->schedule.function);
            buf_put_u16(out, t->schedule.at_column);
        }
        buf_put_u8(out, t->is_system ? 0 : 1);
        buf_put_u8(out, t->is_private);
    }
    for (n = 0; n < DEF_TEXT_MAX && text->reducers[n].name;)
        n++;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        def_text_str(out, text->reducers[i].name);
        def_text_params(out, text->reducers[i].params);
        buf_put_u8(out, text->reducers[i].lifecycle ? 0 : 1);
        if (text->reducers[i].lifecycle)
            buf_put_u8(out, (uint8_t)(text->reducers[i].lifecycle - 1));
    }
    def_text_type_names(out, text);
    def_text_exports9(out, text);
    for (n = 0; n < 4 && text->row_level_security[n];)
        n++;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        def_text_str(out, text->row_level_security[i]);
}

// ── version 10 ─────────────────────────────────────────────────────────────────────────────────

static inline void def_text_tables10(Buf *out, const DefText *text) {
    uint32_t n = def_text_table_count(text);
    buf_put_u8(out, 2);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const DefTextTable *t = &text->tables[i];
        def_text_str(out, t->name);
        buf_put_u32(out, t->row);
        def_text_columns(out, t->primary_key);
        def_text_parts(out, t);
        buf_put_u8(out, t->is_system ? 0 : 1);
        buf_put_u8(out, t->is_private);
        uint32_t defaults = 0;
        while (defaults < 4 && t->defaults[defaults].column)
            defaults++;
        buf_put_u32(out, defaults);
        for (uint32_t k = 0; k < defaults; k++) {
            buf_put_u16(out, (uint16_t)atoi(t->defaults[k].column));
            def_text_value(out, t->defaults[k].hex);
        }
        buf_put_u8(out, t->is_event);
    }
}

static inline void def_text_functions10(Buf *out, const DefText *text) {
    uint32_t n = 0;
    while (n < DEF_TEXT_MAX && text->reducers[n].name)
        n++;
    buf_put_u8(out, 3);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const DefTextFunction *f = &text->reducers[i];
        def_text_str(out, f->name);
        def_text_params(out, f->params);
        buf_put_u8(out, !f->is_private);
        def_text_one(out, f->returns ? f->returns : "()");
        def_text_one(out, f->error ? f->error : "String");
    }
    for (n = 0; n < 4 && text->procedures[n].name;)
        n++;
    buf_put_u8(out, 4);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const DefTextFunction *f = &text->procedures[i];
        def_text_str(out, f->name);
        def_text_params(out, f->params);
        def_text_one(out, f->returns ? f->returns : "()");
        buf_put_u8(out, !f->is_private);
    }
}

static inline void def_text_views10(Buf *out, const DefText *text) {
    uint32_t n = 0, keys = 0;
    while (n < DEF_TEXT_VIEWS && text->views[n].name)
        keys += text->views[n++].keys[0] != NULL;
    buf_put_u8(out, 5);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        def_text_view(out, &text->views[i]);
    buf_put_u8(out, 13);
    buf_put_u32(out, keys);
    for (uint32_t i = 0; i < n; i++) {
        const DefTextView *view = &text->views[i];
        if (!view->keys[0]) continue;
        def_text_str(out, view->name);
        buf_put_u32(out, view->keys[1] ? 2 : 1);
        for (uint32_t k = 0; k < 2 && view->keys[k]; k++)
            def_text_str(out, view->keys[k]);
    }
}

static inline void def_text_hooks10(Buf *out, const DefText *text) {
    uint32_t scheduled = 0, hooks = 0;
    for (uint32_t i = 0; i < def_text_table_count(text); i++)
        scheduled += text->tables[i].schedule.function != NULL;
    buf_put_u8(out, 6);
    buf_put_u32(out, scheduled);
    for (uint32_t i = 0; i < def_text_table_count(text); i++) {
        if (!text->tables[i].schedule.function) continue;
        buf_put_u8(out, 1);
        def_text_str(out, text->tables[i].name);
        buf_put_u16(out, text->tables[i].schedule.at_column);
        def_text_str(out, text->tables[i].schedule.function);
    }
    for (uint32_t i = 0; i < DEF_TEXT_MAX && text->reducers[i].name; i++)
        hooks += text->reducers[i].lifecycle != 0;
    buf_put_u8(out, 7);
    buf_put_u32(out, hooks);
    for (uint32_t i = 0; i < DEF_TEXT_MAX && text->reducers[i].name; i++) {
        if (!text->reducers[i].lifecycle) continue;
        buf_put_u8(out, (uint8_t)(text->reducers[i].lifecycle - 1));
        def_text_str(out, text->reducers[i].name);
    }
}

static inline void def_text_names10(Buf *out, const DefText *text) {
    uint32_t n = 0;
    while (n < 8 && text->explicit_names[n])
        n++;
    buf_put_u8(out, 10);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const char *at = text->explicit_names[i];
        Str kind = def_text_word(&at);
        Str source = def_text_word(&at);
        Str canonical = def_text_word(&at);
        buf_put_u8(out, str_eq(kind, STR("table")) ? 0 : str_eq(kind, STR("function")) ? 1 : 2);
        buf_put_lp(out, str_bytes(source));
        buf_put_lp(out, str_bytes(canonical));
    }
}

static inline void def_text_http10(Buf *out, const DefText *text) {
    uint32_t n = 0;
    while (n < 4 && text->handlers[n])
        n++;
    buf_put_u8(out, 11);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        def_text_str(out, text->handlers[i]);
    for (n = 0; n < 4 && text->routes[n];)
        n++;
    buf_put_u8(out, 12);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        const char *at = text->routes[i];
        Str handler = def_text_word(&at);
        Str method = def_text_word(&at);
        buf_put_lp(out, str_bytes(handler));
        if (str_eq(method, STR("ANY")))
            buf_put_u8(out, 0);
        else if (str_eq(method, STR("GET")))
            buf_put(out, "\1\0", 2);
        else if (str_eq(method, STR("POST")))
            buf_put(out, "\1\2", 2);
        else {
            buf_put(out, "\1\11", 2);
            buf_put_lp(out, str_bytes(method));
        }
        def_text_str(out, at + (*at == ' '));
    }
}

static inline void def_text_write10(Buf *out, const DefText *text);

static inline void def_text_submodules10(Buf *out, const DefText *text) {
    uint32_t n = 0;
    while (n < 4 && text->submodules[n].name)
        n++;
    buf_put_u8(out, 14);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        def_text_str(out, text->submodules[i].name);
        def_text_write10(out, text->submodules[i].module);
    }
}

static inline void def_text_write10(Buf *out, const DefText *text) {
    uint32_t n = 0;
    buf_put_u32(out, 15u);
    buf_put_u8(out, 0);
    def_text_typespace(out, text);
    buf_put_u8(out, 1);
    def_text_type_names(out, text);
    def_text_tables10(out, text);
    def_text_functions10(out, text);
    def_text_views10(out, text);
    def_text_hooks10(out, text);
    for (n = 0; n < 4 && text->row_level_security[n];)
        n++;
    buf_put_u8(out, 8);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        def_text_str(out, text->row_level_security[i]);
    buf_put_u8(out, 9);
    buf_put_u8(out, !text->keep_case);
    def_text_names10(out, text);
    def_text_http10(out, text);
    def_text_submodules10(out, text);
}

// ── using it ───────────────────────────────────────────────────────────────────────────────────

// The BSATN RawModuleDef.
static inline void def_text_write(Buf *out, const DefText *text, uint32_t version) {
    buf_put_u8(out, version == 9 ? 1 : 2);
    if (version == 9)
        def_text_write9(out, text);
    else
        def_text_write10(out, text);
}

static inline Err def_text_decode(const DefText *text,
                                  uint32_t version,
                                  ModuleDef **out,
                                  Diag *diag) {
    Buf raw = {0};
    def_text_write(&raw, text, version);
    ASSERT(buf_ok(&raw));
    Err err = moduledef_decode(buf_bytes(&raw), out, diag);
    buf_deinit(&raw);
    return err;
}

// A definition that is valid, or the test ends with the reasons.
static inline ModuleDef *def_text(const DefText *text, uint32_t version) {
    ModuleDef *def = NULL;
    Diag diag;
    diag_clear(&diag);
    Err err = def_text_decode(text, version, &def, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    return def;
}
