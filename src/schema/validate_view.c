// validate_view.c: views, the rows they return and the keys of those rows (module-abi §3.8).
#include "schema/validate.h"

// ── what a view returns ────────────────────────────────────────────────────────────────────────

// The reference to the row type: of Option<Ref>, Array<Ref>, or {__query__: Ref}. -1 if it is none.
static int64_t row_ref(const Type *returns, bool *is_query) {
    const Type *row = NULL;
    *is_query = false;
    if (returns->kind == TYPE_ARRAY) row = returns->element;
    if (returns->special == SPECIAL_OPTION) row = returns->fields[0].type;
    if (returns->kind == TYPE_PRODUCT && returns->field_count == 1 &&
        str_eq(returns->fields[0].name, STR("__query__"))) {
        row = returns->fields[0].type;
        *is_query = true;
    }
    return row && row->kind == TYPE_REF ? (int64_t)row->ref : -1;
}

static void check_columns(Validator *v, const ViewDef *view) {
    const Type *row = product_at(&v->renamed, view->row_type_ref);
    NameSet names = {0};
    for (uint32_t i = 0; i < row->field_count && !v->nomem; i++) {
        const TypeField *field = &row->fields[i];
        bool is_new = true;
        if (!field->name.ptr) {
            invalid(v,
                    "table `" STR_FMT "` has unnamed column `%u`, which is forbidden.",
                    STR_ARG(view->name),
                    i);
        } else if (nameset_add(&names, v->arena, field->name, &is_new) != OK) {
            v->nomem = true;
        } else if (!is_new) {
            invalid(v,
                    "table `" STR_FMT "` has multiple columns named `" STR_FMT "`",
                    STR_ARG(view->name),
                    STR_ARG(field->name));
        }
        Str column = field->name.ptr ? field->name : STR("");
        type_check_usable(v,
                          field->type,
                          validate_printf(v,
                                          "view `" STR_FMT "` column `" STR_FMT "`",
                                          STR_ARG(view->name),
                                          STR_ARG(column)));
        type_check_storable(v, field->type, view->name, column);
    }
}

static void fill_row_type(Validator *v, const RawView *raw, ViewDef *view) {
    int64_t ref = row_ref(raw->returns, &view->is_query);
    if (ref < 0) {
        invalid(v,
                "View " STR_FMT " has invalid return type " STR_FMT,
                STR_ARG(view->name),
                STR_ARG(type_text(v, raw->returns)));
        return;
    }
    view->row_type_ref = (uint32_t)ref;
    const Type *row = product_at(&v->renamed, view->row_type_ref);
    if (!row || row->field_count == 0 || row->field_count > TABLE_COLUMNS_MAX) {
        invalid(v,
                "View " STR_FMT " has invalid product_type_ref %u",
                STR_ARG(view->name),
                view->row_type_ref);
        return;
    }
    view->row_type = v->def->resolved[view->row_type_ref];
    view->returns = type_canonical(v, raw->returns);
    check_columns(v, view);
}

static void fill_view(Validator *v, const RawView *raw, ViewDef *view) {
    view->source = name_full(v, raw->name);
    view->submodule = v->scope->path;
    view->name = name_canonical(v, RAW_NAME_FUNCTION, raw->name);
    // Each module numbers its own; together the numbers go on, each kind by itself.
    view->index = raw->index + (raw->is_anonymous ? v->first.anonymous_view : v->first.sender_view);
    view->is_public = raw->is_public;
    view->is_anonymous = raw->is_anonymous;
    view->primary_key = -1;
    entity_claim_both(v, view->name, view->source);
    function_claim(v, view->name);
    for (uint32_t i = 0; i < raw->params->field_count; i++) {
        Str location = validate_printf(v, "view `" STR_FMT "` argument %u", STR_ARG(view->name), i);
        type_check_usable(v, raw->params->fields[i].type, location);
        type_check_storable(v, raw->params->fields[i].type, view->name, location);
    }
    view->params = type_canonical(v, raw->params);
    fill_row_type(v, raw, view);
}

// ── primary keys ───────────────────────────────────────────────────────────────────────────────

static ViewDef *view_by_source(const Validator *v, Str source) {
    for (uint32_t i = v->first.view; i < v->def->view_count; i++) {
        if (str_eq(name_local(v, v->def->views[i].source), source)) return &v->def->views[i];
    }
    return NULL;
}

static void bind_key_column(Validator *v, const RawViewKey *raw, ViewDef *view) {
    const Type *row = product_at(&v->whole->typespace, view->row_type_ref);
    for (uint32_t i = 0; view->row_type && i < row->field_count; i++) {
        if (str_eq(row->fields[i].name, raw->columns[0])) view->primary_key = (int32_t)i;
    }
    if (view->primary_key >= 0) return;
    invalid(v,
            "Primary key column " STR_FMT " for view " STR_FMT " not found",
            STR_ARG(raw->columns[0]),
            STR_ARG(raw->view));
}

static Str names_text(Validator *v, const RawViewKey *raw) {
    Str text = STR("");
    for (uint32_t i = 0; i < raw->column_count && i < 8; i++)
        text = validate_printf(v,
                               STR_FMT "%s" STR_FMT,
                               STR_ARG(text),
                               i ? ", " : "",
                               STR_ARG(raw->columns[i]));
    return text;
}

static void fill_key(Validator *v, const RawViewKey *raw, bool *has_key) {
    ViewDef *view = view_by_source(v, raw->view);
    if (!view) {
        invalid(v,
                "View " STR_FMT " referenced by primary key definition not found",
                STR_ARG(raw->view));
        return;
    }
    bool *mark = &has_key[view - v->def->views - v->first.view];
    if (*mark)
        invalid(v, "View " STR_FMT " has multiple primary key definitions", STR_ARG(raw->view));
    *mark = true;
    if (raw->column_count > 1) {
        invalid(v,
                "View " STR_FMT " has multiple primary key columns: [" STR_FMT "]",
                STR_ARG(raw->view),
                STR_ARG(names_text(v, raw)));
    } else if (raw->column_count == 1) {
        bind_key_column(v, raw, view);
    }
}

// A query view returns rows of tables; it has their key if they agree on one.
static void inherit_key(const Validator *v, ViewDef *view) {
    int32_t key = -1;
    for (uint32_t i = v->first.table; i < v->def->table_count; i++) {
        const TableDef *table = &v->def->tables[i];
        if (table->row_type_ref != view->row_type_ref) continue;
        if (table->primary_key < 0 || (key >= 0 && key != table->primary_key)) return;
        key = table->primary_key;
    }
    view->primary_key = key;
}

void validate_views(Validator *v) {
    uint32_t count = v->raw->view_count;
    ViewDef *views = v->def->views + v->first.view;
    bool *has_key = VALIDATE_ARRAY(v, bool, count);
    if (!has_key) return;
    v->def->view_count += count;
    for (uint32_t i = 0; i < count && !v->nomem; i++)
        fill_view(v, &v->raw->views[i], &views[i]);
    for (uint32_t i = 0; i < v->raw->view_key_count && !v->nomem; i++)
        fill_key(v, &v->raw->view_keys[i], has_key);
    for (uint32_t i = 0; i < count; i++) {
        if (views[i].is_query && !has_key[i]) inherit_key(v, &views[i]);
    }
}
