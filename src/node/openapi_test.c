// openapi_test.c: the document that describes the HTTP API says what routes.c does, no more and no less.
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#include "base/test.h"
#include "node/routes.h"

static json_t *document(void) {
    json_error_t error;
    Bytes text = routes_openapi();
    json_t *json = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!json) print_error("openapi.json:%d: %s\n", error.line, error.text);
    EXPECT(json != NULL);
    return json;
}

// A path of the document as routes.c writes it: "{x}" is ":", and "{path}" all that follows.
static void path_as_route(const char *path, char out[256]) {
    size_t len = 0;
    while (*path) {
        if (*path != '{') {
            out[len++] = *path++;
            continue;
        }
        bool rest = strncmp(path, "{path}", 6) == 0;
        path = strchr(path, '}') + 1;
        len += (size_t)snprintf(out + len, 256 - len, "%s", rest ? "**" : ":");
    }
    out[len] = 0;
}

static bool is_method(const char *key) {
    static const char *const methods[] = {"get", "post", "put", "delete", "patch"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(key, methods[i]) == 0) return true;
    return false;
}

static bool methods_equal(const char *route, const char *described) {
    return strcmp(route, "*") == 0 || strcasecmp(route, described) == 0;
}

static bool is_described(json_t *paths, const char *method, const char *route) {
    const char *path;
    json_t *item;
    json_object_foreach(paths, path, item) {
        char as_route[256];
        const char *key;
        json_t *operation;
        path_as_route(path, as_route);
        if (strcmp(as_route, route) != 0) continue;
        json_object_foreach(item, key, operation) if (is_method(key) &&
                                                      methods_equal(method, key)) return true;
    }
    return false;
}

static bool is_routed(const char *route, const char *described) {
    const char *method, *path;
    for (uint32_t i = 0; routes_at(i, &method, &path); i++)
        if (strcmp(path, route) == 0 && methods_equal(method, described)) return true;
    return false;
}

TEST(openapi, every_route_is_described) {
    json_t *json = document();
    const char *method, *path;
    for (uint32_t i = 0; routes_at(i, &method, &path); i++) {
        if (strncmp(path, "/v1/", 4) != 0) continue;  // /internal is not for clients
        bool found = is_described(json_object_get(json, "paths"), method, path);
        if (!found) print_error("openapi.json says nothing of %s %s\n", method, path);
        EXPECT(found);
    }
    json_decref(json);
}

TEST(openapi, nothing_is_described_that_is_not_there) {
    json_t *json = document();
    const char *path, *key;
    json_t *item, *operation;
    json_object_foreach(json_object_get(json, "paths"), path, item) {
        char as_route[256];
        path_as_route(path, as_route);
        json_object_foreach(item, key, operation) {
            bool found = !is_method(key) || is_routed(as_route, key);
            if (!found) print_error("there is no %s %s\n", key, path);
            EXPECT(found);
        }
    }
    json_decref(json);
}

static void expect_reference(json_t *root, const char *reference) {
    json_t *at = root;
    char part[128];
    EXPECT(strncmp(reference, "#/", 2) == 0);
    for (const char *from = reference + 2; *from;) {
        size_t len = strcspn(from, "/");
        snprintf(part, sizeof part, "%.*s", (int)len, from);
        at = json_object_get(at, part);
        from += len + (from[len] == '/');
    }
    if (!at) print_error("%s leads nowhere\n", reference);
    EXPECT(at != NULL);
}

static void references_follow(json_t *root, json_t *value) {
    const char *key;
    json_t *member;
    size_t i;
    json_object_foreach(value, key, member) {
        if (strcmp(key, "$ref") == 0) expect_reference(root, json_string_value(member));
        references_follow(root, member);
    }
    json_array_foreach(value, i, member) references_follow(root, member);
}

TEST(openapi, references_lead_somewhere) {
    json_t *json = document();
    references_follow(json, json);
    json_decref(json);
}

TEST_MAIN()
