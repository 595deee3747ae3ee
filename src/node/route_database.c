// What may be asked about a database, apart from calls and publishing. Spec: http-api-and-auth §8.
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/routes.h"

static void put_identity_json(Buf *out, const char *key, const Identity *identity) {
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(identity, hex);
    const char *digits = hex;
    while (digits[0] == '0' && digits[1]) {
        digits++;  // a u256 in JSON has no leading zeros
    }
    buf_printf(out, "\"%s\":{\"__identity__\":\"0x%s\"}", key, digits);
}

// A hash as a little-endian u256: the digits come out reversed (§2.3).
static void put_hash_json(Buf *out, const uint8_t hash[32]) {
    uint8_t reversed[32];
    char hex[65] = {0};
    for (int i = 0; i < 32; i++) {
        reversed[i] = hash[31 - i];
    }
    hex_write(hex, BYTES(reversed, 32));
    const char *digits = hex;
    while (digits[0] == '0' && digits[1]) {
        digits++;
    }
    buf_printf(out, "\"0x%s\"", digits);
}

void route_info(Request *r) {
    Buf body = {0};
    buf_put_u8(&body, '{');
    put_identity_json(&body, "database_identity", &r->record.identity);
    buf_put_u8(&body, ',');
    put_identity_json(&body, "owner_identity", &r->record.owner);
    buf_printf(&body,
               ",\"host_type\":{\"%s\":[]},\"initial_program\":",
               r->record.host_kind == HOST_JS ? "Js" : "Wasm");
    put_hash_json(&body, r->record.initial_program);
    buf_put_u8(&body, '}');
    request_json(r, 200, &body);
    buf_deinit(&body);
}

void route_identity_of(Request *r) {
    if (!r->target_known) {
        request_text(r, 404, "`" STR_FMT "` not found", STR_ARG(r->target));
        return;
    }
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&r->database, hex);
    request_text(r, 200, "%s", hex);
}

void route_delete(Request *r) {
    if (!r->target_known) {
        request_text(r, 404, "`" STR_FMT "` not found", STR_ARG(r->target));
        return;
    }
    if (!r->record_known) {
        request_empty(r, 200);
        return;
    }
    if (!request_owner_only(r, "delete database")) return;
    if (r->record.locked) {
        request_text(r,
                     403,
                     "Database is locked and cannot be deleted. Run `spacetime unlock` first.");
        return;
    }
    // The record stays, so that the identity stays its owner's and no file is ever used again.
    ControlDatabase deleted = r->record;
    deleted.exists = false;
    deleted.generation++;
    Err err = control_put(r->node->control, &deleted);
    if (err != OK) {
        request_err(r, err, NULL);
        return;
    }
    for (Database **link = &r->loop->databases; *link; link = &(*link)->next) {
        if (*link != r->db) continue;
        *link = r->db->next;
        database_close(&r->db, "module exited", true);
        break;
    }
    database_files_sweep(r->node, &deleted);  // also of one that could not be opened
    node_unplace(r->node, &r->database);
    request_empty(r, 200);
}

#define NAMES_MAX 1000  // set at once; each is looked up

// ── names ──────────────────────────────────────────────────────────────────────────────────────

typedef struct NameJson {
    Buf body;
    bool any;
} NameJson;

static void name_json_add(void *ctx, Str name) {
    NameJson *list = ctx;
    buf_printf(&list->body, "%s\"" STR_FMT "\"", list->any ? "," : "", STR_ARG(name));
    list->any = true;
}

void route_names_get(Request *r) {
    NameJson list = {0};
    buf_put_str(&list.body, STR("{\"names\":["));
    control_names(r->node->control, &r->database, name_json_add, &list);
    buf_put_str(&list.body, STR("]}"));
    request_json(r, 200, &list.body);
    buf_deinit(&list.body);
}

static void answer_json(Request *r, int status, const char *fmt, Str name) {
    Buf body = {0};
    buf_printf(&body, fmt, STR_ARG(name));
    request_json(r, status, &body);
    buf_deinit(&body);
}

void route_names_add(Request *r) {
    const char *why;
    Str name = bytes_str(r->http->body);
    if (!control_name_ok(name, &why)) {
        request_text(r, 400, "Error parsing `" STR_FMT "`: %s", STR_ARG(name), why);
        return;
    }
    Err err = control_add_name(r->node->control, name, &r->database, &r->caller.identity);
    if (err == ERR_DENIED) {
        answer_json(r, 401, "{\"PermissionDenied\":{\"domain\":\"" STR_FMT "\"}}", name);
    } else if (err == ERR_EXISTS) {
        request_text(r, 500, "record with the name " STR_FMT " already exists", STR_ARG(name));
    } else if (err != OK) {
        request_err(r, err, NULL);
    } else {
        char hex[IDENTITY_HEX_LEN + 1];
        Buf body = {0};
        identity_hex(&r->database, hex);
        buf_printf(&body,
                   "{\"Success\":{\"domain\":\"" STR_FMT "\",\"database_identity\":\"%s\"}}",
                   STR_ARG(name),
                   hex);
        request_json(r, 200, &body);
        buf_deinit(&body);
    }
}

typedef struct NameHeld {
    Str name;
    bool found;
} NameHeld;

static void name_held(void *ctx, Str name) {
    NameHeld *held = ctx;
    held->found |= str_eq(held->name, name);
}

// The names of the body, each checked; false when it was answered.
static bool names_read(Request *r, Str **names, uint32_t *count) {
    json_error_t error;
    json_t *list = json_loadb((const char *)r->http->body.ptr, r->http->body.len, 0, &error);
    if (!list || !json_is_array(list)) {
        json_decref(list);
        request_text(
            r,
            list ? 422 : 400,
            list
                ? "Failed to deserialize the JSON body into the target type: expected an array of names"
                : "Failed to parse the request body as JSON: %s",
            error.text);
        return false;
    }
    if (json_array_size(list) > NAMES_MAX) {
        json_decref(list);
        request_text(r, 400, "a database has at most %d names", NAMES_MAX);
        return false;
    }
    *count = (uint32_t)json_array_size(list);
    *names = arena_array(r->arena, Str, *count + 1);
    bool ok = *names != NULL;
    for (uint32_t i = 0; ok && i < *count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        const char *why = "names are strings";
        (*names)[i] = arena_str(r->arena, str_from(text ? text : ""));
        ok = text && (*names)[i].ptr && control_name_ok((*names)[i], &why);
        if (!ok) {
            request_text(r, 400, "Error parsing `%s`: %s", text ? text : "", why);
            break;
        }
        NameHeld held = {.name = (*names)[i]};
        control_names(r->node->control, &r->database, name_held, &held);
        if (held.found) {
            answer_json(r,
                        400,
                        "{\"OtherError\":\"Cannot rename to " STR_FMT
                        " because it already is in use.\"}",
                        held.name);
            ok = false;
        }
    }
    json_decref(list);
    return ok;
}

void route_names_set(Request *r) {
    Str *names;
    uint32_t count;
    if (!request_is_owner(r)) {
        char hex[IDENTITY_HEX_LEN + 1];
        identity_hex(&r->database, hex);
        answer_json(r, 401, "{\"NotYourDatabase\":{\"database\":\"" STR_FMT "\"}}", str_from(hex));
        return;
    }
    if (!names_read(r, &names, &count)) return;
    Err err = control_set_names(r->node->control, &r->database, names, count, &r->caller.identity);
    Str first = count ? names[0] : STR("");
    if (err == ERR_DENIED) {
        answer_json(r, 401, "{\"PermissionDenied\":{\"domain\":\"" STR_FMT "\"}}", first);
    } else if (err == ERR_EXISTS) {
        answer_json(r,
                    400,
                    "{\"OtherError\":\"Cannot rename to " STR_FMT
                    " because it already is in use.\"}",
                    first);
    } else if (err != OK) {
        request_err(r, err, NULL);
    } else {
        Buf body = {0};
        buf_put_str(&body, STR("\"Success\""));
        request_json(r, 200, &body);
        buf_deinit(&body);
    }
}

// ── schema, lock, time ─────────────────────────────────────────────────────────────────────────

void route_schema(Request *r) {
    Str version;
    if (!request_query(r, "version", &version)) {
        request_text(r, 400, "Failed to deserialize query string: missing field `version`");
        return;
    }
    bool nine = str_eq(version, STR("9"));
    if (!nine && !str_eq(version, STR("10"))) {
        request_text(r,
                     400,
                     "Failed to deserialize query string: version: unknown variant `" STR_FMT
                     "`, expected `9` or `10`",
                     STR_ARG(version));
        return;
    }
    Buf body = {0};
    Diag diag = {0};
    Err err = moduledef_write_json(r->db->def, nine ? 9 : 10, false, &body, &diag);
    if (err == OK) {
        request_json(r, 200, &body);
    } else {
        request_err(r, err, &diag);
    }
    buf_deinit(&body);
}

static void lock_set(Request *r, bool locked) {
    if (!request_owner_only(r, "delete database")) return;
    r->record.locked = locked;
    Err err = control_put(r->node->control, &r->record);
    if (err == OK) {
        request_empty(r, 200);
    } else {
        request_err(r, err, NULL);
    }
}

void route_lock(Request *r) {
    lock_set(r, true);
}

void route_unlock(Request *r) {
    lock_set(r, false);
}

void route_timestamp(Request *r) {
    Buf body = {0};
    buf_printf(&body,
               "{\"__timestamp_micros_since_unix_epoch__\":%lld}",
               (long long)node_now(r->node));
    request_json(r, 200, &body);
    buf_deinit(&body);
}

// ── logs ───────────────────────────────────────────────────────────────────────────────────────

typedef struct LogStream {
    ConnOwner owner;
    NetConn *conn;
    LogFollower *follower;
} LogStream;

static bool log_stream_each(void *ctx, Bytes lines) {
    LogStream *stream = ctx;
    return http_stream_send(stream->conn, lines);
}

static void log_stream_ended(void *ctx) {
    LogStream *stream = ctx;
    net_conn_set_data(stream->conn, NULL);
    http_stream_end(stream->conn);
    mem_free(stream);
}

static void log_stream_closed(void *self) {
    LogStream *stream = self;
    modulelog_unfollow(&stream->follower);
    mem_free(stream);
}

static bool lines_wanted(Request *r, bool follow, uint32_t *lines) {
    Str text;
    *lines = follow ? 0 : UINT32_MAX;
    if (!request_query(r, "num_lines", &text)) return true;
    uint64_t value = 0;
    bool ok = text.len > 0;
    for (size_t i = 0; ok && i < text.len; i++) {
        ok = text.ptr[i] >= '0' && text.ptr[i] <= '9' &&
             (value = value * 10 + (uint64_t)(text.ptr[i] - '0')) <= UINT32_MAX;
    }
    if (!ok) {
        request_text(r, 400, "Failed to deserialize query string: num_lines: invalid number");
        return false;
    }
    *lines = follow ? (uint32_t)MIN(value, 2500u) : (uint32_t)value;
    return true;
}

void route_logs(Request *r) {
    bool follow;
    uint32_t lines;
    if (!request_owner_only(r, "view module logs")) return;
    if (!request_query_bool(r, "follow", false, &follow) || !lines_wanted(r, follow, &lines))
        return;
    Buf history = {0};
    LogStream *stream = follow ? MEM_NEW(LogStream) : NULL;
    Err err = follow && !stream ? ERR_NOMEM : modulelog_tail(r->db->log, lines, &history);
    if (err != OK) {
        request_text(r, 503, "Logs are temporarily not available");
        mem_free(stream);
        buf_deinit(&history);
        return;
    }
    const HttpHeader cache = {STR("cache-control"), STR("no-cache")};
    if (!follow) {
        routes_respond_as(r->conn,
                          &r->caller.identity,
                          r->caller.token,
                          200,
                          &cache,
                          1,
                          STR("application/x-ndjson"),
                          buf_bytes(&history));
        buf_deinit(&history);
        return;
    }
    http_stream_begin(r->conn, 200, &cache, 1, STR("application/x-ndjson"));
    if (history.len) http_stream_send(r->conn, buf_bytes(&history));
    buf_deinit(&history);
    *stream = (LogStream){.owner = {.conn_closed = log_stream_closed}, .conn = r->conn};
    stream->follower = modulelog_follow(r->db->log, log_stream_each, log_stream_ended, stream);
    if (!stream->follower) {
        http_stream_end(r->conn);
        mem_free(stream);
        return;
    }
    net_conn_set_data(r->conn, stream);
}
