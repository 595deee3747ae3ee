// route_mcp.c: databases as tools of language models: the Model Context Protocol, JSON-RPC 2.0 over POST.
// Spec: http-api-and-auth §12; modelcontextprotocol.io, 2025-06-18.
//
// PICTURE
//   POST /v1/database/NAME/mcp   tools: ping, get_schema, sql, call
//   POST /v1/mcp                 the same with a `database` argument, and list_databases
//
//   sql and call are the HTTP API's own: a session carries them out with the caller's rights, and what
//   it would have answered becomes the text of a tool's result (mcp_wrap, when it leaves).
//
// A tool that fails is a result with isError; only a request that is no such request is an error.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/routes.h"
#include "node/session.h"
#include "node/version.h"
#include "sats/json.h"

#define PROTOCOL_VERSION "2025-06-18"

enum { RPC_INVALID_REQUEST = -32600, RPC_NO_METHOD = -32601, RPC_BAD_PARAMS = -32602 };

typedef struct Rpc {
    Request *r;
    json_t *json;    // the message
    Str id;          // as JSON
    bool is_scoped;  // to the database in the path
} Rpc;

// ── answers ────────────────────────────────────────────────────────────────────────────────────

static void envelope_begin(Buf *out, Str id) {
    buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":" STR_FMT ",", STR_ARG(id));
}

static void rpc_result(Rpc *rpc, Str result) {
    Buf out = {0};
    envelope_begin(&out, rpc->id);
    buf_printf(&out, "\"result\":" STR_FMT "}", STR_ARG(result));
    request_json(rpc->r, 200, &out);
    buf_deinit(&out);
}

static void rpc_error(Rpc *rpc, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void rpc_error(Rpc *rpc, int code, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    Buf out = {0};
    envelope_begin(&out, rpc->id);
    buf_printf(&out, "\"error\":{\"code\":%d,\"message\":", code);
    json_write_string(&out, str_from(text));
    buf_put_str(&out, STR("}}"));
    request_json(rpc->r, 200, &out);
    buf_deinit(&out);
}

void mcp_wrap(Buf *out, Str id, int status, Bytes body) {
    Str text = body.len ? bytes_str(body) : STR("Done");
    envelope_begin(out, id);
    buf_put_str(out, STR("\"result\":{\"content\":[{\"type\":\"text\",\"text\":"));
    json_write_string(out, text);
    buf_printf(out, "}],\"isError\":%s}}", status == 200 ? "false" : "true");
}

static void tool_result(Rpc *rpc, bool ok, Str text) {
    Buf out = {0};
    mcp_wrap(&out, rpc->id, ok ? 200 : 400, str_bytes(text));
    request_json(rpc->r, 200, &out);
    buf_deinit(&out);
}

// ── tools ──────────────────────────────────────────────────────────────────────────────────────

typedef struct Tool {
    const char *name, *description;
    const char *properties;  // JSON, without the braces
    const char *required;    // JSON, likewise
    bool of_database;
} Tool;

static const Tool tools[] = {
    {"list_databases", "The databases that you own on this server", "", "", false},
    {"ping", "Is the database there?", "", "", true},
    {"get_schema",
     "What the database's module declares: tables, types, reducers and procedures, as JSON",
     "",
     "",
     true},
    {"sql",
     "Carry out one SQL statement; rows come as JSON arrays beside the schema of their columns. Only "
     "the owner may write",
     "\"query\":{\"type\":\"string\"}",
     "\"query\"",
     true},
    {"call",
     "Call a reducer or a procedure. A reducer is one transaction: it happens whole or not at all",
     "\"name\":{\"type\":\"string\"},\"args\":{\"type\":[\"array\",\"object\"],\"description\":\"in "
     "order, or by parameter\"}",
     "\"name\"",
     true},
};

static void put_tool(Buf *out, const Tool *tool, bool is_scoped) {
    bool asks_database = tool->of_database && !is_scoped;
    static const char database[] =
        "\"database\":{\"type\":\"string\",\"description\":\"its name, or its identity\"}";
    buf_printf(out, "{\"name\":\"%s\",\"description\":\"%s\",", tool->name, tool->description);
    buf_printf(
        out,
        "\"inputSchema\":{\"type\":\"object\",\"properties\":{%s%s%s},\"required\":[%s%s%s]}}",
        asks_database ? database : "",
        asks_database && tool->properties[0] ? "," : "",
        tool->properties,
        asks_database ? "\"database\"" : "",
        asks_database && tool->required[0] ? "," : "",
        tool->required);
}

static void tools_list(Rpc *rpc) {
    Buf out = {0};
    bool any = false;
    buf_put_str(&out, STR("{\"tools\":["));
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        if (rpc->is_scoped && !tools[i].of_database) continue;
        if (any) buf_put_u8(&out, ',');
        put_tool(&out, &tools[i], rpc->is_scoped);
        any = true;
    }
    buf_put_str(&out, STR("]}"));
    rpc_result(rpc, bytes_str(buf_bytes(&out)));
    buf_deinit(&out);
}

typedef struct Owned {
    const Identity *owner;
    Buf text;
} Owned;

static void owned_add(void *ctx, const ControlDatabase *database) {
    Owned *owned = ctx;
    if (!database->exists || !identity_eq(&database->owner, owned->owner)) return;
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&database->identity, hex);
    buf_printf(&owned->text, "%s\"%s\"", owned->text.len > 1 ? "," : "", hex);
}

static void tool_list_databases(Rpc *rpc) {
    Owned owned = {.owner = &rpc->r->caller.identity};
    buf_put_u8(&owned.text, '[');
    control_databases(rpc->r->node->control, owned_add, &owned);
    buf_put_u8(&owned.text, ']');
    tool_result(rpc, buf_ok(&owned.text), bytes_str(buf_bytes(&owned.text)));
    buf_deinit(&owned.text);
}

static void tool_schema(Rpc *rpc) {
    Buf body = {0};
    Diag diag = {0};
    Err err = moduledef_write_json(rpc->r->db->def, 9, false, &body, &diag);
    tool_result(rpc, err == OK, err == OK ? bytes_str(buf_bytes(&body)) : str_from(diag.text));
    buf_deinit(&body);
}

static Str text_of(const json_t *value) {
    return (Str){json_string_value(value), json_string_length(value)};
}

static void tool_sql(Rpc *rpc, const json_t *arguments) {
    Str query = text_of(json_object_get(arguments, "query"));
    if (!query.ptr) {
        rpc_error(rpc, RPC_BAD_PARAMS, "sql needs the argument `query`, a text");
        return;
    }
    request_session(rpc->r, HTTP_SQL, STR_NONE, query, rpc->id);
}

static void tool_call(Rpc *rpc, const json_t *arguments) {
    Str name = text_of(json_object_get(arguments, "name"));
    const json_t *args = json_object_get(arguments, "args");
    if (!name.ptr) {
        rpc_error(rpc, RPC_BAD_PARAMS, "call needs the argument `name`, a text");
        return;
    }
    char *text = args ? json_dumps(args, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    request_session(rpc->r, HTTP_CALL, name, text ? str_from(text) : STR("[]"), rpc->id);
    free(text);
}

static void tool_run(Rpc *rpc, const Tool *tool, const json_t *arguments) {
    Request *r = rpc->r;
    if (strcmp(tool->name, "list_databases") == 0) {
        tool_list_databases(rpc);
        return;
    }
    if (!rpc->is_scoped) {
        Str name = text_of(json_object_get(arguments, "database"));
        if (!name.ptr) {
            rpc_error(rpc, RPC_BAD_PARAMS, "%s needs the argument `database`, a text", tool->name);
            return;
        }
        Diag diag = {0};
        Err err = request_database(r, name, &diag);
        if (err == ERR_AGAIN) return;  // the request goes on where that database lives
        if (err != OK) {
            tool_result(rpc, false, str_from(diag.text));
            return;
        }
    }
    if (strcmp(tool->name, "ping") == 0) tool_result(rpc, true, STR("pong"));
    if (strcmp(tool->name, "get_schema") == 0) tool_schema(rpc);
    if (strcmp(tool->name, "sql") == 0) tool_sql(rpc, arguments);
    if (strcmp(tool->name, "call") == 0) tool_call(rpc, arguments);
}

static void tools_call(Rpc *rpc, const json_t *params) {
    const char *name = json_string_value(json_object_get(params, "name"));
    for (size_t i = 0; name && i < ARRAY_LEN(tools); i++) {
        if (strcmp(tools[i].name, name) != 0 || (rpc->is_scoped && !tools[i].of_database)) continue;
        tool_run(rpc, &tools[i], json_object_get(params, "arguments"));
        return;
    }
    rpc_error(rpc, RPC_BAD_PARAMS, "there is no tool `%.100s`", name ? name : "");
}

// ── messages ───────────────────────────────────────────────────────────────────────────────────

static void dispatch(Rpc *rpc) {
    const char *method = json_string_value(json_object_get(rpc->json, "method"));
    const json_t *params = json_object_get(rpc->json, "params");
    if (!method) {
        rpc_error(rpc, RPC_INVALID_REQUEST, "invalid request: missing method");
    } else if (strcmp(method, "initialize") == 0) {
        rpc_result(
            rpc,
            STR("{\"protocolVersion\":\"" PROTOCOL_VERSION
                "\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"lightcone\","
                "\"version\":\"" LIGHTCONE_VERSION
                "\"},\"instructions\":\"Databases with tables, SQL, and functions that change "
                "them. Look at get_schema before you ask or call.\"}"));
    } else if (strcmp(method, "ping") == 0) {
        rpc_result(rpc, STR("{}"));
    } else if (strcmp(method, "tools/list") == 0) {
        tools_list(rpc);
    } else if (strcmp(method, "tools/call") == 0) {
        tools_call(rpc, params);
    } else {
        rpc_error(rpc, RPC_NO_METHOD, "method not found: %.100s", method);
    }
}

static bool id_take(Rpc *rpc) {
    char *text = json_dumps(json_object_get(rpc->json, "id"), JSON_COMPACT | JSON_ENCODE_ANY);
    rpc->id = text ? arena_str(rpc->r->arena, str_from(text)) : STR_NONE;
    free(text);
    return rpc->id.ptr != NULL;
}

void route_mcp(Request *r) {
    json_error_t error;
    if (!request_is_json(r)) return;
    Bytes body = r->http->body;
    Rpc rpc = {.r = r, .is_scoped = r->db != NULL};
    rpc.json = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    if (!rpc.json) {
        request_text(r, 400, "Failed to parse the request body as JSON: %s", error.text);
    } else if (!json_is_object(rpc.json)) {
        request_text(
            r,
            422,
            "Failed to deserialize the JSON body into the target type: one JSON-RPC message, "
            "an object, is expected");
    } else if (!json_object_get(rpc.json, "id")) {
        request_empty(r, 202);  // a notification
    } else if (!id_take(&rpc)) {
        request_err(r, ERR_NOMEM, NULL);
    } else {
        dispatch(&rpc);
    }
    json_decref(rpc.json);
}
