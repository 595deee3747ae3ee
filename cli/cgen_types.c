// cgen_types.c: from a type as C spells it to what the database knows, and constants of it.
//
// A type is made when it is first met and kept in the order of meeting, under its spelling: two uses
// of Array(Player) are one CType. A struct is read when it is met, so a type that contains itself
// through an array finds itself half read, which is all it needs.
#include <errno.h>
#include <stdlib.h>

#include "cli/cgen.h"

typedef struct Scalar {
    const char *name;
    TypeKind kind;  // when special is SPECIAL_NONE
    TypeSpecial special;
} Scalar;

static const Scalar scalars[] = {
    {"bool", TYPE_BOOL, SPECIAL_NONE},
    {"int8_t", TYPE_I8, SPECIAL_NONE},
    {"uint8_t", TYPE_U8, SPECIAL_NONE},
    {"int16_t", TYPE_I16, SPECIAL_NONE},
    {"uint16_t", TYPE_U16, SPECIAL_NONE},
    {"int32_t", TYPE_I32, SPECIAL_NONE},
    {"uint32_t", TYPE_U32, SPECIAL_NONE},
    {"int64_t", TYPE_I64, SPECIAL_NONE},
    {"uint64_t", TYPE_U64, SPECIAL_NONE},
    {"I128", TYPE_I128, SPECIAL_NONE},
    {"U128", TYPE_U128, SPECIAL_NONE},
    {"I256", TYPE_I256, SPECIAL_NONE},
    {"U256", TYPE_U256, SPECIAL_NONE},
    {"float", TYPE_F32, SPECIAL_NONE},
    {"double", TYPE_F64, SPECIAL_NONE},
    {"String", TYPE_STRING, SPECIAL_NONE},
    {"Bytes", TYPE_ARRAY, SPECIAL_BYTES},
    {"Identity", TYPE_PRODUCT, SPECIAL_IDENTITY},
    {"ConnectionId", TYPE_PRODUCT, SPECIAL_CONNECTION_ID},
    {"Timestamp", TYPE_PRODUCT, SPECIAL_TIMESTAMP},
    {"TimeDuration", TYPE_PRODUCT, SPECIAL_TIME_DURATION},
    {"Uuid", TYPE_PRODUCT, SPECIAL_UUID},
    {"ScheduleAt", TYPE_SUM, SPECIAL_SCHEDULE_AT},
};

// What C programmers write first, and what to write instead.
static const char *const hints[][2] = {
    {"int", "int32_t"},
    {"unsigned", "uint32_t"},
    {"long", "int64_t"},
    {"short", "int16_t"},
    {"char", "String for text, int8_t for a number"},
    {"size_t", "uint64_t"},
    {"__int128", "I128 or U128"},
    {"Option", "T * (NULL is none)"},
    {"union", "a struct of `enum {…} tag;` and `union {…};`"},
};

static CType *type_known(Cgen *gen, const char *spelling) {
    for (CType *type = gen->types; type; type = type->next)
        if (strcmp(type->spelling, spelling) == 0) return type;
    return NULL;
}

static CType *type_add(Cgen *gen, CTypeKind kind, const char *spelling, const char *codec) {
    CType *type = CGEN_NEW(CType);
    *type = (CType){.kind = kind, .spelling = spelling, .codec = codec, .ref = UINT32_MAX};
    *gen->types_end = type;
    gen->types_end = &type->next;
    return type;
}

CType *ctype_strip(CType *type) {
    while (type && type->kind == CTYPE_ALIAS)
        type = type->target;
    return type;
}

bool ctype_is(const CType *type, const char *spelling) {
    return type && strcmp(type->spelling, spelling) == 0;
}

bool ctype_by_value(const CType *type) {
    return type->kind == CTYPE_SCALAR || type->kind == CTYPE_ENUM;
}

// ── enums and sums ─────────────────────────────────────────────────────────────────────────────

static char *lower(Str text) {
    char *copy = cli_copy(text);
    for (char *at = copy; *at; at++)
        if (*at >= 'A' && *at <= 'Z') *at = (char)(*at - 'A' + 'a');
    return copy;
}

// "PlayerState" as the beginning of its constants: "PLAYER_STATE_".
static const char *constant_prefix(Str type) {
    Buf text = {0};
    for (size_t i = 0; i < type.len; i++) {
        char c = type.ptr[i], before = i ? type.ptr[i - 1] : 'A';
        bool upper = c >= 'A' && c <= 'Z';
        if (upper && !(before >= 'A' && before <= 'Z') && before != '_') buf_put_u8(&text, '_');
        buf_put_u8(&text, (uint8_t)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c));
    }
    buf_put_u8(&text, '_');
    return cli_buf_text(&text);
}

// `A, B, C` as variants; names are lower case, without the type's name when all begin with it.
static bool constants_read(Cgen *gen, Tokens body, Str type_name, CType *type) {
    Str prefix = str_from(constant_prefix(type_name));
    bool all_begin = true;
    Tokens rest = body, item;
    while (ctokens_item(&rest, &item))
        type->field_count++;
    type->fields = cgen_alloc(sizeof(CField) * (type->field_count + 1));
    CField *field = type->fields;
    for (rest = body; ctokens_item(&rest, &item); field++) {
        if (item.end - item.at != 1 || item.at->kind != TOKEN_WORD) {
            cgen_fail(gen,
                      item.at < item.end ? item.at : body.at,
                      "a constant here is a name only: its number in the database is its position");
            return false;
        }
        field->at = item.at;
        field->constant = field->member = item.at->text;
        all_begin =
            all_begin && str_starts(item.at->text, prefix) && item.at->text.len > prefix.len;
    }
    for (uint32_t i = 0; i < type->field_count; i++) {
        Str name = type->fields[i].constant;
        if (all_begin) name = (Str){name.ptr + prefix.len, name.len - prefix.len};
        type->fields[i].name = str_from(lower(name));
    }
    if (type->field_count == 0 || type->field_count > SUM_VARIANTS_MAX) {
        cgen_fail(gen, body.at, "1 to %d constants", SUM_VARIANTS_MAX);
        return false;
    }
    return true;
}

static CField *variant_find(CType *type, Str name) {
    for (uint32_t i = 0; i < type->field_count; i++)
        if (str_eq(type->fields[i].name, name)) return &type->fields[i];
    return NULL;
}

static bool payloads_read(Cgen *gen, Tokens in, CType *type) {
    while (in.at < in.end) {
        CType *payload = ctype_read(gen, &in, "a variant");
        if (!payload) return false;
        const Token *name = in.at;
        if (in.at == in.end || name->kind != TOKEN_WORD) {
            cgen_fail(gen, in.at - 1, "a name for this variant is missing");
            return false;
        }
        in.at++;
        CField *variant = variant_find(type, name->text);
        if (!variant) {
            cgen_fail(gen,
                      name,
                      "`" STR_FMT
                      "` has no constant in the tag's enum: each member of the union is "
                      "named as one of them, in lower case",
                      STR_ARG(name->text));
            return false;
        }
        variant->type = payload;
        variant->member = name->text;
        if (!ctokens_punct(&in, ';')) {
            cgen_fail(gen, name, "expected `;` behind `" STR_FMT "`", STR_ARG(name->text));
            return false;
        }
    }
    return true;
}

// struct { enum {…} tag; union {…}; }. False when it is an ordinary struct.
static bool sum_read(Cgen *gen, Tokens body, CType *type, bool *ok) {
    Tokens in = body, constants, payloads;
    if (!ctokens_word(&in, "enum")) return false;
    if (in.at < in.end && in.at->kind == TOKEN_WORD) in.at++;
    if (!ctokens_group(&in, '{', '}', &constants)) return false;
    *ok = false;
    type->kind = CTYPE_SUM;
    const Token *tag = in.at;
    if (!ctokens_word(&in, "tag") || !ctokens_punct(&in, ';')) {
        cgen_fail(gen, tag, "the enum of a tagged union is its first member and is called `tag`");
        return true;
    }
    if (!constants_read(gen, constants, str_from(type->spelling), type)) return true;
    for (uint32_t i = 0; i < type->field_count; i++)
        type->fields[i].member = STR_NONE;
    if (in.at == in.end) {
        *ok = true;  // every variant is without content
        return true;
    }
    const Token *at = in.at;
    if (!ctokens_word(&in, "union") || !ctokens_group(&in, '{', '}', &payloads) ||
        !ctokens_punct(&in, ';') || in.at != in.end) {
        cgen_fail(gen, at, "behind the tag of a tagged union comes `union {…};` and nothing else");
        return true;
    }
    *ok = payloads_read(gen, payloads, type);
    return true;
}

// ── structs ────────────────────────────────────────────────────────────────────────────────────

static bool column_mark_read(Cgen *gen, Tokens *in, CField *field) {
    const Token *mark = in->at++;
    Tokens arguments = {0};
    bool has_arguments = ctokens_group(in, '(', ')', &arguments);
    if (ctoken_is(mark, "LC_DEFAULT") && has_arguments)
        field->default_value = arguments;
    else if (ctoken_is(mark, "LC_PRIMARY_KEY"))
        field->is_primary = field->is_unique = true;
    else if (ctoken_is(mark, "LC_UNIQUE"))
        field->is_unique = true;
    else if (ctoken_is(mark, "LC_INDEX"))
        field->is_indexed = true;
    else if (ctoken_is(mark, "LC_AUTO_INC"))
        field->is_auto_inc = true;
    else {
        cgen_fail(gen,
                  mark,
                  "`" STR_FMT "` is no mark of a column: those are LC_PRIMARY_KEY, LC_UNIQUE, "
                  "LC_INDEX, LC_AUTO_INC and LC_DEFAULT(value)",
                  STR_ARG(mark->text));
        return false;
    }
    return true;
}

static bool column_marks_read(Cgen *gen, Tokens *in, CField *field) {
    while (in->at < in->end && in->at->kind == TOKEN_WORD && str_starts(in->at->text, STR("LC_")))
        if (!column_mark_read(gen, in, field)) return false;
    return true;
}

static bool member_read(Cgen *gen, Tokens *in, CField *field) {
    if (in->at->kind == TOKEN_DIRECTIVE) {
        cgen_fail(gen, in->at, "no preprocessor lines in a struct that the database knows");
        return false;
    }
    if (!column_marks_read(gen, in, field)) return false;
    field->type = ctype_read(gen, in, "a member");
    if (!field->type) return false;
    if (in->at == in->end || in->at->kind != TOKEN_WORD) {
        cgen_fail(gen, in->at - 1, "expected the member's name");
        return false;
    }
    field->at = in->at++;
    field->name = field->member = field->at->text;
    if (!column_marks_read(gen, in, field)) return false;
    if (ctokens_punct(in, ';')) return true;
    const char *why = in->at < in->end && ctoken_is(in->at, "[")
                          ? "use Array(T): a C array has no length in the database"
                      : in->at < in->end && ctoken_is(in->at, ",")
                          ? "one member in a line: write a declaration for each"
                          : "expected `;`";
    cgen_fail(gen, field->at, "behind `" STR_FMT "`: %s", STR_ARG(field->name), why);
    return false;
}

static bool struct_read(Cgen *gen, Tokens body, CType *type) {
    uint32_t most = 0;
    for (const Token *at = body.at; at < body.end; at++)
        most += ctoken_is(at, ";");
    type->fields = cgen_alloc(sizeof(CField) * (most + 1));
    while (body.at < body.end) {
        if (!member_read(gen, &body, &type->fields[type->field_count])) return false;
        type->field_count++;
    }
    return true;
}

static CType *defined_read(Cgen *gen, const Decl *decl, const Token *use) {
    Str name = use->text;
    const char *spelling = cli_copy(name);
    if (decl->kind == DECL_ALIAS) {
        CType *alias = type_add(gen, CTYPE_ALIAS, spelling, spelling);
        alias->decl = decl;
        Tokens in = {decl->all.at + 1, decl->typedef_name};
        alias->target = ctype_read(gen, &in, "a typedef");
        alias->is_parsed = alias->target != NULL;
        if (alias->target && in.at != in.end)
            cgen_fail(gen, use, "`%s` is a typedef that the database cannot follow", spelling);
        return alias->target ? alias : NULL;
    }
    bool one_name =
        decl->name && (!decl->typedef_name || str_eq(decl->name->text, decl->typedef_name->text));
    if (!one_name) {
        cgen_fail(gen,
                  decl->all.at,
                  "the tag of `%s` and its typedef need the same name: typedef %s %s {…} %s;",
                  spelling,
                  decl->kind == DECL_ENUM ? "enum" : "struct",
                  spelling,
                  spelling);
        return NULL;
    }
    CTypeKind kind = decl->kind == DECL_ENUM ? CTYPE_ENUM : CTYPE_STRUCT;
    CType *type = type_add(gen, kind, spelling, spelling);
    type->decl = decl;
    type->is_parsing = true;
    bool ok = true;
    if (kind == CTYPE_ENUM)
        ok = constants_read(gen, decl->body, name, type);
    else if (!sum_read(gen, decl->body, type, &ok))
        ok = struct_read(gen, decl->body, type);
    type->is_parsing = false;
    type->is_parsed = ok;
    return ok ? type : NULL;
}

// ── a use of a type ────────────────────────────────────────────────────────────────────────────

static CType *generic_read(Cgen *gen,
                           const Token *at,
                           CTypeKind kind,
                           Tokens arguments,
                           const char *name) {
    Tokens first, second = {0};
    bool two = kind == CTYPE_RESULT;
    bool right = ctokens_item(&arguments, &first) && (!two || ctokens_item(&arguments, &second)) &&
                 arguments.at == arguments.end;
    if (!right) {
        cgen_fail(gen, at, two ? "Result(T, E) has two types" : "%s(T) has one type", name);
        return NULL;
    }
    CType *target = ctype_read(gen, &first, name);
    CType *error = two ? ctype_read(gen, &second, name) : NULL;
    if (!target || (two && !error)) return NULL;
    if (target->kind == CTYPE_OPTION || (error && error->kind == CTYPE_OPTION)) {
        cgen_fail(gen,
                  at,
                  "an option inside %s needs a name: typedef %sMaybe; %s(Maybe)",
                  name,
                  target->kind == CTYPE_OPTION ? target->spelling : error->spelling,
                  name);
        return NULL;
    }
    if (first.at != first.end || second.at != second.end) {
        cgen_fail(gen, at, "%s(…) of what is not one type", name);
        return NULL;
    }
    const char *spelling = two ? cli_format("Result(%s, %s)", target->spelling, error->spelling)
                               : cli_format("%s(%s)", name, target->spelling);
    CType *known = type_known(gen, spelling);
    if (known) return known;
    // Under the alias's name, because the C type is another one.
    const char *codec = two ? cli_format("Result_%s_%s", target->codec, error->codec)
                            : cli_format("%s_%s", name, target->codec);
    CType *type = type_add(gen, kind, spelling, codec);
    type->target = target;
    type->error = error;
    type->is_parsed = true;
    return type;
}

static CType *scalar_find(Cgen *gen, Str name) {
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        if (!str_eq(name, str_from(scalars[i].name))) continue;
        CType *type = type_add(gen, CTYPE_SCALAR, scalars[i].name, scalars[i].name);
        type->algebraic = scalars[i].special == SPECIAL_NONE ? type_simple(scalars[i].kind)
                                                             : type_special(scalars[i].special);
        type->is_parsed = true;
        return type;
    }
    if (!str_eq(name, STR("void"))) return NULL;
    CType *type = type_add(gen, CTYPE_VOID, "void", "void");
    type->is_parsed = true;
    return type;
}

static void unknown_report(Cgen *gen, const Token *at, const char *what) {
    for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
        if (!ctoken_is(at, hints[i][0])) continue;
        cgen_fail(gen, at, "%s cannot be `%s`: write %s", what, hints[i][0], hints[i][1]);
        return;
    }
    cgen_fail(gen, at, "`" STR_FMT "` is not a type that %s can have", STR_ARG(at->text), what);
}

static CType *base_read(Cgen *gen, Tokens *in, const char *what) {
    while (ctokens_word(in, "const") || ctokens_word(in, "struct") ||
           (in->end - in->at > 1 && !ctoken_is(in->at + 1, "{") && ctokens_word(in, "enum")))
        continue;
    if (in->at == in->end || in->at->kind != TOKEN_WORD) {
        cgen_fail(gen, in->at == in->end ? in->at - 1 : in->at, "expected the type of %s", what);
        return NULL;
    }
    const Token *at = in->at++;
    Tokens arguments;
    if (ctoken_is(at, "Array") && ctokens_group(in, '(', ')', &arguments))
        return generic_read(gen, at, CTYPE_ARRAY, arguments, "Array");
    if (ctoken_is(at, "Result") && ctokens_group(in, '(', ')', &arguments))
        return generic_read(gen, at, CTYPE_RESULT, arguments, "Result");
    if (ctoken_is(at, "Query") && ctokens_group(in, '(', ')', &arguments))
        return generic_read(gen, at, CTYPE_QUERY, arguments, "Query");
    CType *type = type_known(gen, cli_copy(at->text));
    if (!type) type = scalar_find(gen, at->text);
    if (type) {
        if (type->is_parsed || type->is_parsing) return type;
        return NULL;  // it was reported when it was first met
    }
    const Decl *decl = cgen_find_decl(gen, at->text);
    if (decl) return defined_read(gen, decl, at);
    unknown_report(gen, at, what);
    return NULL;
}

CType *ctype_read(Cgen *gen, Tokens *in, const char *what) {
    CType *base = base_read(gen, in, what);
    if (!base || !ctokens_punct(in, '*')) return base;
    if (in->at < in->end && ctoken_is(in->at, "*")) {
        cgen_fail(gen, in->at, "one * makes an option; two mean nothing here");
        return NULL;
    }
    const char *spelling = cli_format("%s *", base->spelling);
    CType *known = type_known(gen, spelling);
    if (known) return known;
    CType *type = type_add(gen, CTYPE_OPTION, spelling, cli_format("option_%s", base->codec));
    type->target = base;
    type->is_parsed = true;
    return type;
}

const char *ctype_declare(const CType *type, const char *name) {
    size_t len = strlen(type->spelling);
    return cli_format("%s%s%s", type->spelling, type->spelling[len - 1] == '*' ? "" : " ", name);
}

// ── encodings ──────────────────────────────────────────────────────────────────────────────────

static void put_name(Buf *out, const char *name) {
    buf_put_u8(out, 0);  // some
    buf_put_lp(out, str_bytes(str_from(name)));
}

static void put_unit(Buf *out) {
    buf_put_u8(out, TYPE_PRODUCT);
    buf_put_u32(out, 0);
}

void ctype_encode(Buf *out, const CType *type) {
    switch (type->kind) {
    case CTYPE_SCALAR: type_encode(out, type->algebraic); return;
    case CTYPE_STRUCT:
    case CTYPE_SUM:
    case CTYPE_ENUM:
        buf_put_u8(out, TYPE_REF);
        buf_put_u32(out, type->ref);
        return;
    case CTYPE_ALIAS: ctype_encode(out, type->target); return;
    case CTYPE_OPTION:
        buf_put_u8(out, TYPE_SUM);
        buf_put_u32(out, 2);
        put_name(out, "some");
        ctype_encode(out, type->target);
        put_name(out, "none");
        put_unit(out);
        return;
    case CTYPE_ARRAY:
        buf_put_u8(out, TYPE_ARRAY);
        ctype_encode(out, type->target);
        return;
    case CTYPE_RESULT:
        buf_put_u8(out, TYPE_SUM);
        buf_put_u32(out, 2);
        put_name(out, "ok");
        ctype_encode(out, type->target);
        put_name(out, "err");
        ctype_encode(out, type->error);
        return;
    case CTYPE_QUERY:
        buf_put_u8(out, TYPE_PRODUCT);
        buf_put_u32(out, 1);
        put_name(out, "__query__");
        ctype_encode(out, type->target);
        return;
    case CTYPE_VOID: put_unit(out); return;
    }
}

uint32_t ctype_bytes_min(const CType *type) {
    switch (type->kind) {
    case CTYPE_SCALAR:
        if (type->algebraic->fixed_size != TYPE_SIZE_VARIES) return type->algebraic->fixed_size;
        return 4;  // a length
    case CTYPE_ALIAS: return ctype_bytes_min(type->target);
    case CTYPE_ARRAY:
    case CTYPE_QUERY: return 4;
    case CTYPE_STRUCT: {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < type->field_count; i++)
            sum += ctype_bytes_min(type->fields[i].type);
        return sum;
    }
    case CTYPE_VOID: return 0;
    case CTYPE_SUM:
    case CTYPE_ENUM:
    case CTYPE_OPTION:
    case CTYPE_RESULT: break;
    }
    return 1;  // a tag
}

// ── constants ──────────────────────────────────────────────────────────────────────────────────

static bool constant_bad(Cgen *gen, const CType *type, Tokens value) {
    cgen_fail(gen,
              value.at,
              "this is no constant of type %s that LC_DEFAULT can read",
              type->spelling);
    return false;
}

static bool integer_read(Tokens value, bool *negative, uint64_t *size) {
    *negative = ctokens_punct(&value, '-');
    if (value.end - value.at != 1 || value.at->kind != TOKEN_NUMBER) return false;
    char *end, *text = cli_copy(value.at->text);
    errno = 0;
    *size = strtoull(text, &end, 0);
    while (*end == 'u' || *end == 'U' || *end == 'l' || *end == 'L')
        end++;
    return errno == 0 && *end == 0 && end != text;
}

static bool integer_fits(TypeKind kind, uint32_t bytes, bool negative, uint64_t size) {
    bool is_signed = kind == TYPE_I8 || kind == TYPE_I16 || kind == TYPE_I32 || kind == TYPE_I64 ||
                     kind == TYPE_I128 || kind == TYPE_I256;
    if (negative && !is_signed) return size == 0;
    if (bytes > 8) return !negative || size <= (uint64_t)INT64_MAX + 1;
    uint64_t most = UINT64_MAX >> (64 - 8 * bytes + (is_signed ? 1u : 0u));
    return size <= most + (negative ? 1u : 0u);
}

static bool integer_put(Cgen *gen, CType *type, TypeKind kind, Tokens value, Buf *out) {
    bool negative;
    uint64_t size;
    if (!integer_read(value, &negative, &size)) return constant_bad(gen, type, value);
    uint32_t bytes = type->algebraic->fixed_size;
    if (!integer_fits(kind, bytes, negative, size)) {
        cgen_fail(gen, value.at, "%s cannot hold this number", type->spelling);
        return false;
    }
    uint64_t low = negative ? 0 - size : size;
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t byte = negative && size ? 0xff : 0;
        if (i < 8) byte = (uint8_t)(low >> (8 * i));
        buf_put_u8(out, byte);
    }
    return true;
}

static bool float_put(Cgen *gen, CType *type, Tokens value, Buf *out) {
    Tokens in = value;
    bool negative = ctokens_punct(&in, '-');
    if (in.end - in.at != 1 || in.at->kind != TOKEN_NUMBER) return constant_bad(gen, type, value);
    char *end;
    double number = strtod(cli_copy(in.at->text), &end);
    if (*end == 'f' || *end == 'F') end++;
    if (*end) return constant_bad(gen, type, value);
    if (negative) number = -number;
    if (type->algebraic->kind == TYPE_F32) {
        float single = (float)number;
        buf_put(out, &single, sizeof single);
    } else {
        buf_put(out, &number, sizeof number);
    }
    return true;
}

static bool text_put(Cgen *gen, CType *type, Tokens value, Buf *out) {
    Str text = {"", 0};
    Tokens in = value, inside;
    bool is_empty = ctokens_group(&in, '{', '}', &inside) && inside.at == inside.end;
    // LC_STR("…") is how the code spells the same text.
    if (!is_empty && ctokens_word(&in, "LC_STR") && ctokens_group(&in, '(', ')', &inside))
        value = inside;
    if (!is_empty && (value.end - value.at != 1 || !ctokens_string(value.at, &text)))
        return constant_bad(gen, type, value);
    buf_put_lp(out, str_bytes(text));
    return true;
}

static bool scalar_put(Cgen *gen, CType *type, Tokens value, Buf *out) {
    const Type *algebraic = type->algebraic;
    bool single = value.end - value.at == 1;
    if (algebraic->kind == TYPE_BOOL) {
        bool is_true = single && ctoken_is(value.at, "true");
        if (!is_true && !(single && ctoken_is(value.at, "false")))
            return constant_bad(gen, type, value);
        buf_put_u8(out, is_true);
        return true;
    }
    if (algebraic->kind == TYPE_STRING || algebraic->special == SPECIAL_BYTES)
        return text_put(gen, type, value, out);
    if (algebraic->kind == TYPE_F32 || algebraic->kind == TYPE_F64)
        return float_put(gen, type, value, out);
    if (algebraic->kind == TYPE_SUM) return constant_bad(gen, type, value);
    // Of Timestamp and the like: the one number inside.
    TypeKind kind =
        algebraic->kind == TYPE_PRODUCT ? algebraic->fields[0].type->kind : algebraic->kind;
    return integer_put(gen, type, kind, value, out);
}

bool ctype_encode_constant(Cgen *gen, CType *type, Tokens value, Buf *out) {
    type = ctype_strip(type);
    bool single = value.end - value.at == 1;
    Tokens in = value, inside;
    switch (type->kind) {
    case CTYPE_SCALAR: return scalar_put(gen, type, value, out);
    case CTYPE_ENUM:
        for (uint32_t i = 0; single && i < type->field_count; i++) {
            if (!str_eq(type->fields[i].constant, value.at->text)) continue;
            buf_put_u8(out, (uint8_t)i);
            return true;
        }
        return constant_bad(gen, type, value);
    case CTYPE_OPTION:
        if (single && ctoken_is(value.at, "NULL")) {
            buf_put_u8(out, 1);
            return true;
        }
        buf_put_u8(out, 0);
        return ctype_encode_constant(gen, type->target, value, out);
    case CTYPE_ARRAY:
        if (!ctokens_group(&in, '{', '}', &inside) || inside.at != inside.end)
            return constant_bad(gen, type, value);
        buf_put_u32(out, 0);
        return true;
    case CTYPE_STRUCT:
    case CTYPE_SUM:
    case CTYPE_ALIAS:
    case CTYPE_RESULT:
    case CTYPE_QUERY:
    case CTYPE_VOID: break;
    }
    return constant_bad(gen, type, value);
}
