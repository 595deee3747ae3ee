// codegen_c_types.c: types of a module as structs, and as constants that describe them. See codegen_c.h.
//
// A struct must be complete before another contains it, so definitions come in the order of need; what
// is behind a pointer (options, elements of arrays, sides of results) needs only the name, and all names
// are declared first. A sum that contains itself has a pointer there.
#include <ctype.h>
#include <stdlib.h>

#include "cli/codegen_c.h"

// ---- names

const char *cc_unique(CGenerated *gen, const char *name) {
    for (const CNames *at = gen->taken; at; at = at->next)
        if (strcmp(at->name, name) == 0) return cc_unique(gen, cli_format("%s_", name));
    CNames *taken = arena_zalloc_array(cli_arena(), sizeof *taken, 1);
    if (!taken) cli_die("out of memory");
    *taken = (CNames){name, gen->taken};
    gen->taken = taken;
    return name;
}

const char *cc_upper(const char *name) {
    char *upper = cli_copy(str_from(name));
    for (char *at = upper; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return upper;
}

const char *cc_item(Str name) {
    char *item = cli_copy(name);
    for (char *at = item; *at; at++)
        if (*at == '.') *at = '_';
    return item;
}

const char *cc_pascal(const CGenerated *gen, const char *snake) {
    return cli_format("%s%s", gen->pascal, ts_pascal(str_from(snake)));
}

// Words of C and C++, macros that are everywhere, and what parameters of ours are called.
static const char *const reserved[] = {
    "alignas",   "alignof",  "and",      "asm",     "assert",    "auto",     "bool",
    "break",     "case",     "catch",    "char",    "class",     "client",   "const",
    "constexpr", "context",  "continue", "default", "delete",    "do",       "done",
    "double",    "else",     "enum",     "errno",   "explicit",  "export",   "extern",
    "false",     "float",    "for",      "friend",  "goto",      "if",       "inline",
    "int",       "linux",    "long",     "mutable", "namespace", "new",      "not",
    "nullptr",   "operator", "or",       "private", "protected", "public",   "register",
    "restrict",  "return",   "short",    "signed",  "sizeof",    "static",   "stderr",
    "stdin",     "stdout",   "struct",   "switch",  "template",  "this",     "thread_local",
    "throw",     "true",     "try",      "typedef", "typename",  "typeof",   "union",
    "unix",      "unsigned", "using",    "virtual", "void",      "volatile", "while",
    "xor",       "NULL",
};

const char *cc_member(Str name) {
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_eq(name, str_from(reserved[i]))) return cli_format("%s_", reserved[i]);
    const char *first = name.len > 0 && isdigit((unsigned char)name.ptr[0]) ? "_" : "";
    return cli_format("%s" STR_FMT, first, STR_ARG(name));
}

// ---- from a type to its node

typedef struct Simple {
    const char *name;      // in C
    const char *constant;  // lc_type_…
    const char *word;      // in names of arrays of it
} Simple;

static const Simple *simple_of(const Type *type) {
    static const Simple specials[] = {
        [SPECIAL_UNIT] = {"LcUnit", "lc_type_unit", "Unit"},
        [SPECIAL_BYTES] = {"LcBytes", "lc_type_bytes", "Bytes"},
        [SPECIAL_IDENTITY] = {"LcIdentity", "lc_type_identity", "Identity"},
        [SPECIAL_CONNECTION_ID] = {"LcConnectionId", "lc_type_connection_id", "ConnectionId"},
        [SPECIAL_TIMESTAMP] = {"LcTimestamp", "lc_type_timestamp", "Timestamp"},
        [SPECIAL_TIME_DURATION] = {"LcTimeDuration", "lc_type_time_duration", "TimeDuration"},
        [SPECIAL_UUID] = {"LcUuid", "lc_type_uuid", "Uuid"},
        [SPECIAL_SCHEDULE_AT] = {"LcScheduleAt", "lc_type_schedule_at", "ScheduleAt"},
        [SPECIAL_RESULT] = {0},
    };
    static const Simple kinds[] = {
        [TYPE_STRING] = {"LcString", "lc_type_string", "String"},
        [TYPE_BOOL] = {"bool", "lc_type_bool", "Bool"},
        [TYPE_I8] = {"int8_t", "lc_type_i8", "I8"},
        [TYPE_U8] = {"uint8_t", "lc_type_u8", "U8"},
        [TYPE_I16] = {"int16_t", "lc_type_i16", "I16"},
        [TYPE_U16] = {"uint16_t", "lc_type_u16", "U16"},
        [TYPE_I32] = {"int32_t", "lc_type_i32", "I32"},
        [TYPE_U32] = {"uint32_t", "lc_type_u32", "U32"},
        [TYPE_I64] = {"int64_t", "lc_type_i64", "I64"},
        [TYPE_U64] = {"uint64_t", "lc_type_u64", "U64"},
        [TYPE_I128] = {"LcI128", "lc_type_i128", "I128"},
        [TYPE_U128] = {"LcU128", "lc_type_u128", "U128"},
        [TYPE_I256] = {"LcI256", "lc_type_i256", "I256"},
        [TYPE_U256] = {"LcU256", "lc_type_u256", "U256"},
        [TYPE_F32] = {"float", "lc_type_f32", "F32"},
        [TYPE_F64] = {"double", "lc_type_f64", "F64"},
    };
    static const Simple never = {"LcNever", "lc_type_never", "Never"};
    if (specials[type->special].name) return &specials[type->special];
    if (kinds[type->kind].name) return &kinds[type->kind];
    return type->kind == TYPE_SUM && type->field_count == 0 ? &never : NULL;
}

static CNode *node_known(const CGenerated *gen, const char *key) {
    for (CNode *node = gen->nodes; node; node = node->next)
        if (strcmp(node->key, key) == 0) return node;
    return NULL;
}

static CNode *node_add(CGenerated *gen,
                       CNodeKind kind,
                       const Type *type,
                       const char *key,
                       const char *name) {
    CNode *node = arena_zalloc_array(cli_arena(), sizeof *node, 1);
    if (!node) cli_die("out of memory");
    bool has_name = kind != CNODE_OPTION;
    const char *unique = has_name ? cc_unique(gen, name) : name;
    const char *snake = ts_snake(str_from(has_name ? unique : key));
    *node = (CNode){.kind = kind,
                    .type = type,
                    .key = key,
                    .name = unique,
                    .constant = cc_unique(gen, cli_format("%s_type", snake)),
                    .is_public = kind == CNODE_STRUCT || kind == CNODE_ENUM || kind == CNODE_SUM};
    *gen->nodes_end = node;
    gen->nodes_end = &node->next;
    return node;
}

static const char *pointer_to(const char *name) {
    bool is_pointer = name[strlen(name) - 1] == '*';
    return is_pointer ? cli_format("%sconst *", name) : cli_format("const %s *", name);
}

// What a type is called inside other names: StringArray, UserOption.
static const char *word_of(CGenerated *gen, const Type *type);

static CNode *node_of(CGenerated *gen, const Type *type) {
    const char *word = word_of(gen, type);
    const char *key = cli_format("%s%s", gen->pascal, word);
    CNode *node = node_known(gen, key);
    if (node) return node;
    if (type->special == SPECIAL_OPTION)
        return node_add(gen,
                        CNODE_OPTION,
                        type,
                        key,
                        pointer_to(cc_type(gen, type->fields[0].type)));
    if (type->special == SPECIAL_RESULT) return node_add(gen, CNODE_RESULT, type, key, key);
    if (type->kind == TYPE_ARRAY) return node_add(gen, CNODE_ARRAY, type, key, key);
    if (type->kind == TYPE_PRODUCT) return node_add(gen, CNODE_STRUCT, type, key, key);
    return node_add(gen, type_is_plain_enum(type) ? CNODE_ENUM : CNODE_SUM, type, key, key);
}

static const char *word_of(CGenerated *gen, const Type *type) {
    const Simple *simple = simple_of(type);
    if (simple) return simple->word;
    if (type->special == SPECIAL_OPTION)
        return cli_format("%sOption", word_of(gen, type->fields[0].type));
    if (type->special == SPECIAL_RESULT)
        return cli_format("%sOr%s",
                          word_of(gen, type->fields[0].type),
                          word_of(gen, type->fields[1].type));
    if (type->kind == TYPE_ARRAY) return cli_format("%sArray", word_of(gen, type->element));
    const TypeNameDef *named = ts_named(gen->module->gen, type);
    if (named)
        return cli_format("%s%s",
                          ts_pascal(str_from(cc_item(named->submodule))),
                          ts_type_name(named));
    for (const CNode *node = gen->nodes; node; node = node->next)
        if (node->type == type) return node->key + strlen(gen->pascal);
    cli_die("A type of the module is neither simple nor declared; clients cannot name it.");
}

const char *cc_type(CGenerated *gen, const Type *type) {
    const Simple *simple = simple_of(type);
    return simple ? simple->name : node_of(gen, type)->name;
}

const char *cc_constant(CGenerated *gen, const Type *type) {
    const Simple *simple = simple_of(type);
    return cli_format("&%s", simple ? simple->constant : node_of(gen, type)->constant);
}

void cc_type_named(CGenerated *gen, const Type *type, const char *name) {
    if (!node_known(gen, name)) node_add(gen, CNODE_STRUCT, type, name, name);
}

// ---- the header

// "const LcString *name", "bool online"
static const char *declared(const char *type, const char *name) {
    return cli_format(type[strlen(type) - 1] == '*' ? "%s%s" : "%s %s", type, name);
}

void cc_members(CGenerated *gen, Buf *out, const Type *type) {
    if (type->field_count == 0) buf_put_str(out, STR("    uint8_t unused;\n"));
    for (uint32_t i = 0; i < type->field_count; i++)
        buf_printf(out,
                   "    %s;\n",
                   declared(cc_type(gen, type->fields[i].type), cc_member(type->fields[i].name)));
}

static const char *variant_constant(const CNode *node, uint32_t i) {
    return cc_upper(
        cli_format("%s_%s", ts_snake(str_from(node->name)), ts_snake(node->type->fields[i].name)));
}

static const char *variant_member(const CNode *node, uint32_t i) {
    const char *name = ts_snake(node->type->fields[i].name);
    return strcmp(name, "tag") == 0 ? "tag_" : cc_member(str_from(name));
}

static bool is_unit(const Type *type) {
    return type->special == SPECIAL_UNIT;
}

static void enum_constants(Buf *out, const CNode *node, const char *indent) {
    for (uint32_t i = 0; i < node->type->field_count; i++)
        buf_printf(out, "%s%s,\n", indent, variant_constant(node, i));
}

// Is `wanted` part of a value of `type` itself, not behind a pointer?
static bool contains(const Type *type, const Type *wanted, unsigned depth) {
    bool is_pointer = type->special == SPECIAL_OPTION || type->special == SPECIAL_RESULT;
    if (type == wanted) return true;
    if (is_pointer || (type->kind != TYPE_PRODUCT && type->kind != TYPE_SUM) ||
        depth > TYPE_DEPTH_MAX)
        return false;
    for (uint32_t i = 0; i < type->field_count; i++)
        if (contains(type->fields[i].type, wanted, depth + 1)) return true;
    return false;
}

static bool is_boxed(const CNode *sum, uint32_t variant) {
    return contains(sum->type->fields[variant].type, sum->type, 0);
}

static void sum_members(CGenerated *gen, const CNode *node) {
    Buf *out = &gen->header;
    buf_put_str(out, STR("    enum {\n"));
    enum_constants(out, node, "        ");
    buf_put_str(out, STR("    } tag;\n    union {\n"));
    for (uint32_t i = 0; i < node->type->field_count; i++) {
        const Type *type = node->type->fields[i].type;
        if (is_unit(type)) continue;
        const char *name = cc_type(gen, type);
        if (is_boxed(node, i)) name = pointer_to(name);
        buf_printf(out, "        %s;\n", declared(name, variant_member(node, i)));
    }
    buf_put_str(out, STR("    };\n"));
}

static void node_define(CGenerated *gen, CNode *node);

static void define_inside(CGenerated *gen, const CNode *node) {
    for (uint32_t i = 0; i < node->type->field_count; i++) {
        const Type *type = node->type->fields[i].type;
        if (simple_of(type) || (node->kind == CNODE_SUM && is_boxed(node, i))) continue;
        node_define(gen, node_of(gen, type));
    }
}

static void node_define(CGenerated *gen, CNode *node) {
    Buf *out = &gen->header;
    if (node->kind == CNODE_ENUM || node->kind == CNODE_OPTION || node->visited == 2) return;
    if (node->visited == 1) cli_die("The type %s contains itself: it has no values.", node->name);
    node->visited = 1;
    if (node->kind == CNODE_STRUCT || node->kind == CNODE_SUM) define_inside(gen, node);
    node->visited = 2;
    buf_printf(out, "struct %s {\n", node->name);
    if (node->kind == CNODE_STRUCT) cc_members(gen, out, node->type);
    if (node->kind == CNODE_SUM) sum_members(gen, node);
    if (node->kind == CNODE_ARRAY)
        buf_printf(out,
                   "    %sitems;\n    size_t len;\n",
                   pointer_to(cc_type(gen, node->type->element)));
    if (node->kind == CNODE_RESULT)
        buf_printf(out,
                   "    %sok;  // one of them is set\n    %serr;\n",
                   pointer_to(cc_type(gen, node->type->fields[0].type)),
                   pointer_to(cc_type(gen, node->type->fields[1].type)));
    buf_put_str(out, STR("};\n\n"));
}

// Makes the nodes for everything inside the nodes that there are.
static void nodes_complete(CGenerated *gen) {
    for (const CNode *node = gen->nodes; node; node = node->next) {
        if (node->kind == CNODE_ARRAY) cc_type(gen, node->type->element);
        bool has_fields = node->type->kind == TYPE_PRODUCT || node->type->kind == TYPE_SUM;
        for (uint32_t i = 0; has_fields && i < node->type->field_count; i++)
            cc_type(gen, node->type->fields[i].type);
    }
}

void cc_types_header(CGenerated *gen) {
    Buf *out = &gen->header;
    nodes_complete(gen);
    for (const CNode *node = gen->nodes; node; node = node->next) {
        if (node->kind != CNODE_ENUM) continue;
        buf_printf(out, "typedef enum %s {\n", node->name);
        enum_constants(out, node, "    ");
        buf_printf(out, "} %s;\n\n", node->name);
    }
    bool any = false;
    for (const CNode *node = gen->nodes; node; node = node->next) {
        if (node->kind == CNODE_ENUM || node->kind == CNODE_OPTION) continue;
        buf_printf(out, "typedef struct %s %s;\n", node->name, node->name);
        any = true;
    }
    if (any) buf_put_u8(out, '\n');
    for (CNode *node = gen->nodes; node; node = node->next)
        node_define(gen, node);
    buf_put_str(out, STR("// For lc_encode and lc_decode.\n"));
    for (const CNode *node = gen->nodes; node; node = node->next)
        if (node->is_public) buf_printf(out, "extern const LcType %s;\n", node->constant);
    buf_put_u8(out, '\n');
}

// ---- the source

static void fields_begin(Buf *out, const char *constant) {
    buf_printf(out, "static const LcField %s_fields[] = {\n", constant);
}

static void field_line(CGenerated *gen,
                       const char *struct_name,
                       Str name,
                       const Type *type,
                       const char *member,
                       bool boxed) {
    buf_printf(&gen->source,
               "    {\"" STR_FMT "\", %s, offsetof(%s, %s), %s},\n",
               STR_ARG(name),
               cc_constant(gen, type),
               struct_name,
               member,
               boxed ? "true" : "false");
}

static void type_line(Buf *out,
                      const char *constant,
                      bool is_public,
                      const char *kind,
                      const char *size,
                      const char *more) {
    buf_printf(out,
               "%sconst LcType %s = {.kind = %s, .size = sizeof(%s)%s};\n",
               is_public ? "" : "static ",
               constant,
               kind,
               size,
               more);
}

static const char *with_fields(const char *constant, uint32_t count) {
    return cli_format(", .fields = %s_fields, .field_count = %u", constant, count);
}

void cc_product_constants(CGenerated *gen,
                          const char *struct_name,
                          const char *constant,
                          const Type *type,
                          bool is_public) {
    Buf *out = &gen->source;
    if (type->field_count > 0) {
        fields_begin(out, constant);
        for (uint32_t i = 0; i < type->field_count; i++) {
            const TypeField *field = &type->fields[i];
            field_line(gen, struct_name, field->name, field->type, cc_member(field->name), false);
        }
        buf_put_str(out, STR("};\n"));
    }
    const char *more = type->field_count > 0 ? with_fields(constant, type->field_count) : "";
    type_line(out, constant, is_public, "LC_PRODUCT", struct_name, more);
}

static void sum_constants(CGenerated *gen, const CNode *node) {
    Buf *out = &gen->source;
    fields_begin(out, node->constant);
    for (uint32_t i = 0; i < node->type->field_count; i++) {
        const TypeField *variant = &node->type->fields[i];
        if (is_unit(variant->type))
            buf_printf(out, "    {\"" STR_FMT "\", NULL, 0, false},\n", STR_ARG(variant->name));
        else
            field_line(gen,
                       node->name,
                       variant->name,
                       variant->type,
                       variant_member(node, i),
                       is_boxed(node, i));
    }
    buf_put_str(out, STR("};\n"));
    type_line(out,
              node->constant,
              true,
              "LC_SUM",
              node->name,
              with_fields(node->constant, node->type->field_count));
}

static void result_constants(CGenerated *gen, const CNode *node) {
    fields_begin(&gen->source, node->constant);
    field_line(gen, node->name, STR("ok"), node->type->fields[0].type, "ok", true);
    field_line(gen, node->name, STR("err"), node->type->fields[1].type, "err", true);
    buf_put_str(&gen->source, STR("};\n"));
    type_line(&gen->source,
              node->constant,
              false,
              "LC_RESULT",
              node->name,
              with_fields(node->constant, 2));
}

static void node_constants(CGenerated *gen, const CNode *node) {
    Buf *out = &gen->source;
    switch (node->kind) {
    case CNODE_STRUCT:
        cc_product_constants(gen, node->name, node->constant, node->type, true);
        break;
    case CNODE_SUM: sum_constants(gen, node); break;
    case CNODE_RESULT: result_constants(gen, node); break;
    case CNODE_ENUM:
        type_line(out,
                  node->constant,
                  true,
                  "LC_ENUM",
                  node->name,
                  cli_format(", .field_count = %u", node->type->field_count));
        break;
    case CNODE_ARRAY:
        type_line(out,
                  node->constant,
                  false,
                  "LC_ARRAY",
                  node->name,
                  cli_format(", .element = %s", cc_constant(gen, node->type->element)));
        break;
    case CNODE_OPTION:
        type_line(out,
                  node->constant,
                  false,
                  "LC_OPTION",
                  "void *",
                  cli_format(", .element = %s", cc_constant(gen, node->type->fields[0].type)));
        break;
    }
    buf_put_u8(out, '\n');
}

void cc_types_source(CGenerated *gen) {
    bool any = false;
    for (const CNode *node = gen->nodes; node; node = node->next) {
        if (!node->is_public) buf_printf(&gen->source, "static const LcType %s;\n", node->constant);
        any |= !node->is_public;
    }
    if (any) buf_put_u8(&gen->source, '\n');
    for (const CNode *node = gen->nodes; node; node = node->next)
        node_constants(gen, node);
}
