// route_handler.c: requests that the module answers itself. Spec: module-abi §3.10, http-api-and-auth
// §10.
//
// No token is asked for and none is made: who is asking is the handler's business.
#include "node/http_value.h"
#include "node/lane.h"
#include "node/routes.h"

// What stands after ".../route" in the path, percent-decoded: "", "/" or "/rest".
static bool handler_path(Request *r, Str *out) {
    Str path = r->http->path;
    for (int slashes = 0; path.len && slashes < 5; path.ptr++, path.len--) {
        if (path.ptr[0] == '/' && ++slashes == 5) break;
    }
    return http_percent_decode(path, r->arena, out) == OK;
}

static const HttpRouteDef *route_match(const ModuleDef *def, Str method, Str path) {
    for (uint32_t i = 0; i < def->http_route_count; i++) {
        const HttpRouteDef *route = &def->http_routes[i];
        if (str_eq(route->path, path) && (route->any_method || str_eq(route->method, method)))
            return route;
    }
    return NULL;
}

static bool handler_id(const ModuleDef *def, Str name, uint32_t *out) {
    for (uint32_t i = 0; i < def->http_handler_count; i++) {
        if (!str_eq(def->http_handlers[i], name)) continue;
        *out = i;
        return true;
    }
    return false;
}

static Str first_item(Str list) {
    const char *comma = list.len ? memchr(list.ptr, ',', list.len) : NULL;
    if (comma) list.len = (size_t)(comma - list.ptr);
    while (list.len && list.ptr[0] == ' ') {
        list.ptr++;
        list.len--;
    }
    while (list.len && list.ptr[list.len - 1] == ' ') {
        list.len--;
    }
    return list;
}

// The URI as the client wrote it, which proxies in front of us tell in X-Forwarded-*.
static Str external_uri(Request *r) {
    Str proto = first_item(http_header(r->http, STR("x-forwarded-proto")));
    Str host = first_item(http_header(r->http, STR("x-forwarded-host")));
    if (!proto.len) proto = STR("http");
    if (!host.len) host = http_header(r->http, STR("host"));
    const char *mark = r->http->query.len ? "?" : "";
    return arena_printf(r->arena,
                        STR_FMT "://" STR_FMT STR_FMT "%s" STR_FMT,
                        STR_ARG(proto),
                        STR_ARG(host),
                        STR_ARG(r->http->path),
                        mark,
                        STR_ARG(r->http->query));
}

void route_handler(Request *r) {
    const ModuleDef *def = r->db->def;
    Str path;
    uint32_t id;
    if (!handler_path(r, &path)) {
        request_text(r, 400, "Invalid URL: malformed percent-encoding");
        return;
    }
    const HttpRouteDef *route = route_match(def, r->http->method, path);
    if (!route || !handler_id(def, route->handler, &id)) {
        request_text(r, 404, "Database has not registered a handler for this route");
        return;
    }
    HttpHeader *headers = arena_array(r->arena, HttpHeader, r->http->header_count + 1);
    HttpValue value = {.method = r->http->method,
                       .uri = external_uri(r),
                       .version = r->http->is_http_1_0 ? HTTP_VERSION_1_0 : HTTP_VERSION_1_1,
                       .headers = headers,
                       .header_count = r->http->header_count};
    Buf request = {0};
    if (headers) memcpy(headers, r->http->headers, value.header_count * sizeof *headers);
    if (headers && value.uri.ptr) http_value_put_request(&request, &value);
    if (!headers || !value.uri.ptr || !buf_ok(&request)) {
        request_err(r, ERR_NOMEM, NULL);
    } else {
        procedure_serve(r->db, id, route->handler, buf_bytes(&request), r->http->body, r->conn);
    }
    buf_deinit(&request);
}
