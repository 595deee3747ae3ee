// route_server.c: what concerns the server as a whole, and what it does not do. Spec: http-api-and-auth
// §5, §7.
#include "node/routes.h"
#include "sats/json.h"

// The document lies beside this file; node_test.c compares it with the table in routes.c.
__asm__(".section .rodata\n"
        ".globl openapi_text, openapi_text_end\n"
        "openapi_text: .incbin \"src/node/openapi.json\"\n"
        "openapi_text_end: .byte 0\n"
        ".previous\n");
extern const char openapi_text[];
extern const char openapi_text_end[];

Bytes routes_openapi(void) {
    return BYTES(openapi_text, (size_t)(openapi_text_end - openapi_text));
}

void route_openapi(Request *r) {
    http_respond(r->conn, 200, NULL, 0, STR("application/json"), routes_openapi());
}

// One server, which is asked under the address that Prometheus knows already.
void route_prometheus_targets(Request *r) {
    Str host = http_header(r->http, STR("host"));
    Buf body = {0};
    buf_put_str(&body, STR("[{\"targets\":["));
    if (host.ptr) json_write_string(&body, host);
    buf_put_str(&body, STR("],\"labels\":{}}]"));
    request_json(r, 200, &body);
    buf_deinit(&body);
}

// Nothing is metered here, so every balance is zero and stays so.
void route_energy_get(Request *r) {
    Identity identity;
    if (!request_identity_param(r, &identity)) return;
    Buf body = {0};
    buf_put_str(&body, STR("{\"balance\":\"0\"}"));
    request_json(r, 200, &body);
    buf_deinit(&body);
}

void route_energy_add(Request *r) {
    Identity identity;
    if (request_identity_param(r, &identity))
        request_text(r, 400, "This server meters no energy, so there is nothing to add to");
}

void route_energy_set(Request *r) {
    Identity identity;
    if (request_identity_param(r, &identity)) request_empty(r, 401);
}

void route_internal(Request *r) {
    request_text(r, 501, "This server has no heap profiler and no task dump: use perf and gdb");
}
