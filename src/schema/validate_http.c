// validate_http.c: HTTP handlers and the routes to them (module-abi §3.8, §3.10).
#include "schema/validate.h"

#define PATH_CHARACTERS "lowercase letters a-z, digits, `-`, `_`, `~` and `/`"

static void fill_handlers(Validator *v) {
    Str *handlers = v->def->http_handlers + v->first.handler;
    v->def->http_handler_count += v->raw->http_handler_count;
    for (uint32_t i = 0; i < v->raw->http_handler_count && !v->nomem; i++) {
        Str name = name_canonical(v, RAW_NAME_FUNCTION, v->raw->http_handlers[i]);
        bool added = true;
        if (nameset_add(&v->handlers, v->arena, name, &added) != OK) v->nomem = true;
        if (!added)
            invalid(v,
                    "HTTP handler name " STR_FMT " is used for multiple HTTP handlers",
                    STR_ARG(name));
        handlers[i] = name;
    }
}

static bool is_path(Str path) {
    if (path.len > 0 && path.ptr[0] != '/') return false;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_word && !memchr("-_~/", c, 4)) return false;
    }
    return true;
}

static bool overlaps(const HttpRouteDef *a, const HttpRouteDef *b) {
    if (!str_eq(a->path, b->path)) return false;
    return a->any_method || b->any_method || str_eq(a->method, b->method);
}

static void check_route(Validator *v, const HttpRouteDef *routes, uint32_t at) {
    const HttpRouteDef *route = &routes[at];
    if (!is_path(route->path)) {
        invalid(v,
                "HTTP route path `" STR_FMT "` is invalid; allowed characters are " PATH_CHARACTERS,
                STR_ARG(route->path));
    }
    for (uint32_t i = 0; i < at; i++) {
        if (!overlaps(&routes[i], route)) continue;
        Str method = route->any_method ? STR("ANY") : route->method;
        invalid(v,
                "HTTP route duplicates method " STR_FMT " for path " STR_FMT,
                STR_ARG(method),
                STR_ARG(route->path));
        return;
    }
}

static Str handler_by_source(Validator *v, Str source) {
    for (uint32_t i = 0; i < v->raw->http_handler_count; i++) {
        if (str_eq(v->raw->http_handlers[i], source))
            return v->def->http_handlers[v->first.handler + i];
    }
    invalid(v, "HTTP route refers to unknown HTTP handler `" STR_FMT "`", STR_ARG(source));
    return source;
}

void validate_http(Validator *v) {
    fill_handlers(v);
    if (v->scope->prefix.len > 0) return;  // routes of submodules count for nothing
    v->def->http_routes = VALIDATE_ARRAY(v, HttpRouteDef, v->raw->http_route_count);
    if (!v->def->http_routes || v->nomem) return;
    v->def->http_route_count = v->raw->http_route_count;
    for (uint32_t i = 0; i < v->raw->http_route_count && !v->nomem; i++) {
        const RawRoute *raw = &v->raw->http_routes[i];
        v->def->http_routes[i] = (HttpRouteDef){
            .handler = handler_by_source(v, raw->handler),
            .any_method = raw->any_method,
            .method = raw->method,
            .path = raw->path,
        };
        check_route(v, v->def->http_routes, i);
    }
}
