// static.c: the files of --static DIR, served at /. For an application's own page: the browser finds
// it where it finds its database.
#include "node/routes.h"

#define STATIC_BYTES_MAX (64u << 20)

typedef struct MimeType {
    const char *ending, *type;
} MimeType;

// clang-format off
static const MimeType mime_types[] = {
    {".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},   {".json", "application/json"},
    {".map", "application/json"},          {".svg", "image/svg+xml"},
    {".png", "image/png"},                 {".ico", "image/x-icon"},
    {".webp", "image/webp"},               {".woff2", "font/woff2"},
    {".wasm", "application/wasm"},         {".txt", "text/plain; charset=utf-8"},
};
// clang-format on

static Str mime_of(Str path) {
    for (size_t i = 0; i < ARRAY_LEN(mime_types); i++) {
        Str ending = str_from(mime_types[i].ending);
        if (path.len >= ending.len &&
            str_eq((Str){path.ptr + path.len - ending.len, ending.len}, ending))
            return str_from(mime_types[i].type);
    }
    return STR("application/octet-stream");
}

// Only plain downward paths: no segment begins with a dot, nothing is hidden in an escape or a zero.
static bool path_is_plain(Str path) {
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '\0' || path.ptr[i] == '\\') return false;
        if (path.ptr[i] == '.' && (i == 0 || path.ptr[i - 1] == '/')) return false;
    }
    return true;
}

static bool file_answer(Request *r, Str path) {
    char name[IO_PATH_MAX];
    Str relative = {path.ptr + 1, path.len - 1};
    Str text = arena_str(r->arena, relative);
    if (!text.ptr || path_join(name, r->node->options.static_dir, text.ptr) != OK) return false;
    Buf content = {0};
    bool found = io_read_file(r->node->io, name, STATIC_BYTES_MAX, &content) == OK;
    if (found) {
        const HttpHeader cache = {STR("cache-control"), STR("no-cache")};
        http_respond(r->conn, 200, &cache, 1, mime_of(path), buf_bytes(&content));
    }
    buf_deinit(&content);
    return found;
}

void route_static(Request *r) {
    Str path;
    bool wanted = r->node->options.static_dir &&
                  (str_eq(r->http->method, STR("GET")) || str_eq(r->http->method, STR("HEAD")));
    wanted = wanted && !str_starts(r->http->path, STR("/v1/")) &&
             http_percent_decode(r->http->path, r->arena, &path) == OK;
    if (wanted && path.len && path.ptr[0] == '/' && path_is_plain(path)) {
        if (path.ptr[path.len - 1] == '/')
            path = arena_printf(r->arena, STR_FMT "index.html", STR_ARG(path));
        if (path.ptr && file_answer(r, path)) return;
    }
    http_respond(r->conn, 404, NULL, 0, STR_NONE, BYTES_NONE);
}
