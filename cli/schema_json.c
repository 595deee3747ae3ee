#include "cli/schema_json.h"

#include "schema/def.h"

json_t *schema_section(const DbSchema *schema, const char *name) {
    if (!schema->is_v10) return json_object_get(schema->definition, name);
    size_t i;
    json_t *section;
    json_array_foreach(json_object_get(schema->definition, "sections"), i, section) {
        json_t *content = json_object_get(section, name);
        if (content) return content;
    }
    return NULL;
}

static const char *snake(const char *name) {
    Str text = case_convert(cli_arena(), str_from(name), CASE_STYLE_SNAKE);
    return text.ptr ? cli_copy(text) : name;
}

const char *schema_canonical(const DbSchema *schema, const char *kind, const char *source) {
    if (!schema->is_v10) return source;
    size_t i;
    json_t *entry;
    json_array_foreach(json_at(schema_section(schema, "ExplicitNames"), "entries"), i, entry) {
        json_t *names = json_object_get(entry, kind);
        const char *is = json_text_at(names, "source_name");
        const char *canonical = json_text_at(names, "canonical_name");
        if (is && canonical && strcmp(is, source) == 0) return canonical;
    }
    return schema->snake_case ? snake(source) : source;
}

static bool is_lifecycle(const DbSchema *schema, json_t *declaration, const char *source) {
    if (!schema->is_v10) return json_at(declaration, "lifecycle.some") != NULL;
    size_t i;
    json_t *entry;
    json_array_foreach(schema_section(schema, "LifeCycleReducers"), i, entry) {
        const char *is = json_text_at(entry, "function_name");
        if (is && strcmp(is, source) == 0) return true;
    }
    return false;
}

static SchemaFunction *function_slot(DbSchema *root) {
    if (root->function_count == root->function_cap) {
        size_t cap = root->function_cap ? 2 * root->function_cap : 64;
        SchemaFunction *more = arena_array(cli_arena(), SchemaFunction, cap);
        if (!more) cli_die("out of memory");
        if (root->function_count)
            memcpy(more, root->functions, root->function_count * sizeof *more);
        root->functions = more;
        root->function_cap = cap;
    }
    return &root->functions[root->function_count++];
}

static void function_add(DbSchema *root,
                         const DbSchema *module,
                         json_t *declaration,
                         bool procedure) {
    const char *source = json_text_at(declaration, module->is_v10 ? "source_name" : "name");
    if (!source) return;
    const char *canonical = schema_canonical(module, "Function", source);
    *function_slot(root) = (SchemaFunction){
        .module = module,
        .name = cli_format("%s%s", module->prefix, canonical),
        .source = cli_format("%s%s", module->prefix, source),
        .params = json_at(declaration, "params.elements"),
        .declaration = declaration,
        .is_procedure = procedure,
        .is_lifecycle = !procedure && is_lifecycle(module, declaration, source),
    };
}

static void module_open(DbSchema *module) {
    module->snake_case = !json_at(schema_section(module, "CaseConversionPolicy"), "None");
    module->types =
        json_at(schema_section(module, module->is_v10 ? "Typespace" : "typespace"), "types");
}

const DbSchema *schema_submodule(const DbSchema *module, json_t *item) {
    DbSchema *inner = arena_new(cli_arena(), DbSchema);
    const char *name = json_text_at(item, "namespace");
    if (!inner || !name) cli_die("The server's schema is not understood.");
    inner->is_v10 = true;
    inner->definition = json_object_get(item, "module");
    inner->prefix = cli_format("%s%s.", module->prefix, name);
    module_open(inner);
    return inner;
}

// The JSON was read, so its nesting is bounded.
static void functions_collect(DbSchema *root, const DbSchema *module) {
    json_t *reducers = schema_section(module, module->is_v10 ? "Reducers" : "reducers");
    json_t *others = schema_section(module, module->is_v10 ? "Procedures" : "misc_exports");
    size_t i;
    json_t *item;
    json_array_foreach(reducers, i, item) function_add(root, module, item, false);
    json_array_foreach(others, i, item) {
        if (!module->is_v10) item = json_object_get(item, "Procedure");
        if (item) function_add(root, module, item, true);
    }
    if (!module->is_v10) return;
    json_array_foreach(schema_section(module, "Submodules"), i, item)
        functions_collect(root, schema_submodule(module, item));
}

static HttpReply version_fetch(const CliTarget *target, int version) {
    return http_send(&(HttpCall){
        .method = "GET",
        .url = target_url(target, cli_format("/schema?version=%d", version)),
        .token = target->token,
        .timeout_s = 60,
    });
}

DbSchema *schema_fetch(const CliTarget *target) {
    DbSchema *schema = arena_new(cli_arena(), DbSchema);
    if (!schema) cli_die("out of memory");
    schema->is_v10 = true;
    schema->prefix = "";
    HttpReply reply = version_fetch(target, 10);
    if (reply.status >= 400 && reply.status < 500) {
        HttpReply older = version_fetch(target, 9);
        if (http_ok(&older)) {
            reply = older;
            schema->is_v10 = false;
        }
    }
    http_expect_json(&reply);
    const char *why = NULL;
    schema->text = reply.body;
    schema->definition = json_from(reply.body, &why);
    if (!schema->definition) cli_die("The server's schema is not JSON: %s", why);
    module_open(schema);
    functions_collect(schema, schema);
    return schema;
}

const SchemaFunction *schema_function(const DbSchema *schema, const char *name, bool procedure) {
    for (int by_source = 0; by_source < 2; by_source++) {
        for (size_t i = 0; i < schema->function_count; i++) {
            const SchemaFunction *function = &schema->functions[i];
            const char *is = by_source ? function->source : function->name;
            if (function->is_procedure == procedure && strcmp(is, name) == 0) return function;
        }
    }
    return NULL;
}

static json_t *type_follow(const DbSchema *schema, json_t *type) {
    for (int depth = 0; depth < TYPE_DEPTH_MAX; depth++) {
        json_t *ref = json_object_get(type, "Ref");
        if (!json_is_integer(ref)) return type;
        type = json_array_get(schema->types, (size_t)json_integer_value(ref));
    }
    return type;
}

const char *schema_kind(const DbSchema *schema, json_t *type) {
    const char *kind = json_object_iter_key(json_object_iter(type_follow(schema, type)));
    return kind ? kind : "?";
}

static const char *only_field(json_t *type) {
    json_t *elements = json_at(type, "Product.elements");
    return json_array_size(elements) == 1 ? json_text_at(json_array_get(elements, 0), "name.some")
                                          : NULL;
}

bool schema_is_identity(const DbSchema *schema, json_t *type) {
    const char *field = only_field(type_follow(schema, type));
    return field && strcmp(field, "__identity__") == 0;
}

static void type_print_json(const DbSchema *schema, Buf *out, json_t *type, int depth);

static void elements_print(const DbSchema *schema, Buf *out, json_t *elements, int depth) {
    size_t i;
    json_t *element;
    json_array_foreach(elements, i, element) {
        const char *name = json_text_at(element, "name.some");
        if (name && schema->snake_case && schema->is_v10) name = snake(name);
        buf_printf(out, "%s%s: ", i ? ", " : "", name ? name : "_");
        type_print_json(schema, out, json_object_get(element, "algebraic_type"), depth + 1);
    }
}

static const char *special_name(json_t *type) {
    static const char *const names[][2] = {
        {"__identity__", "Identity"},
        {"__connection_id__", "ConnectionId"},
        {"__timestamp_micros_since_unix_epoch__", "Timestamp"},
        {"__time_duration_micros__", "TimeDuration"},
        {"__uuid__", "Uuid"},
    };
    const char *field = only_field(type);
    for (size_t i = 0; field && i < ARRAY_LEN(names); i++)
        if (strcmp(field, names[i][0]) == 0) return names[i][1];
    return NULL;
}

static json_t *variant_type(json_t *variants, size_t index, const char *name) {
    json_t *variant = json_array_get(variants, index);
    const char *is = json_text_at(variant, "name.some");
    return is && strcmp(is, name) == 0 ? json_object_get(variant, "algebraic_type") : NULL;
}

static void sum_print(const DbSchema *schema, Buf *out, json_t *variants, int depth) {
    json_t *some = variant_type(variants, 0, "some");
    bool two = json_array_size(variants) == 2;
    if (two && some && variant_type(variants, 1, "none")) {
        buf_put_str(out, STR("Option<"));
        type_print_json(schema, out, some, depth + 1);
        buf_put_u8(out, '>');
    } else if (two && variant_type(variants, 0, "Interval") && variant_type(variants, 1, "Time")) {
        buf_put_str(out, STR("ScheduleAt"));
    } else {
        buf_put_str(out, STR("enum { "));
        elements_print(schema, out, variants, depth);
        buf_put_str(out, STR(" }"));
    }
}

static void type_print_json(const DbSchema *schema, Buf *out, json_t *type, int depth) {
    type = type_follow(schema, type);
    const char *kind = schema_kind(schema, type);
    if (depth > TYPE_DEPTH_MAX) {
        buf_put_str(out, STR("…"));
    } else if (special_name(type)) {
        buf_put_str(out, str_from(special_name(type)));
    } else if (strcmp(kind, "Product") == 0) {
        json_t *elements = json_at(type, "Product.elements");
        bool empty = json_array_size(elements) == 0;
        buf_put_str(out, empty ? STR("{") : STR("{ "));
        elements_print(schema, out, elements, depth);
        buf_put_str(out, empty ? STR("}") : STR(" }"));
    } else if (strcmp(kind, "Sum") == 0) {
        sum_print(schema, out, json_at(type, "Sum.variants"), depth);
    } else if (strcmp(kind, "Array") == 0) {
        buf_put_str(out, STR("Vec<"));
        type_print_json(schema, out, json_object_get(type, "Array"), depth + 1);
        buf_put_u8(out, '>');
    } else if (strcmp(kind, "String") == 0) {
        buf_put_str(out, STR("String"));
    } else {
        for (const char *at = kind; *at; at++)  // "U8" is written u8
            buf_put_u8(out, (uint8_t)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at));
    }
}

const char *schema_signature(const SchemaFunction *function) {
    Buf out = {0};
    buf_printf(&out, "%s(", function->name);
    elements_print(function->module, &out, function->params, 0);
    buf_put_u8(&out, ')');
    return cli_buf_text(&out);
}
