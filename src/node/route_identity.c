// Identities, tokens, and what concerns no database. Spec: http-api-and-auth §5, §6.
#include <stdio.h>

#include "node/routes.h"
#include "node/version.h"
#include "sats/json.h"

void route_ping(Request *r) {
    request_empty(r, 200);
}

void route_health(Request *r) {
    Buf body = {0};
    buf_printf(
        &body,
        "{\"package_name\":\"lightcone\",\"version\":\"%s\",\"nodes\":[0],\"schedulable\":true}",
        LIGHTCONE_COMPATIBLE_VERSION);
    request_json(r, 200, &body);
    buf_deinit(&body);
}

void route_identity_new(Request *r) {
    AuthClaims claims;
    Diag diag = {0};
    Err err = auth_mint(r->node->auth, node_now(r->node), r->arena, &claims, &diag);
    if (err != OK) {
        request_err(r, err, &diag);
        return;
    }
    char hex[IDENTITY_HEX_LEN + 1];
    Buf body = {0};
    identity_hex(&claims.identity, hex);
    buf_printf(&body,
               "{\"identity\":\"%s\",\"token\":\"" STR_FMT "\"}",
               hex,
               STR_ARG(claims.token));
    request_json(r, 200, &body);
    buf_deinit(&body);
}

void route_public_key(Request *r) {
    http_respond(r->conn,
                 200,
                 NULL,
                 0,
                 STR("application/pem-certificate-chain"),
                 auth_public_key_pem(r->node->auth));
}

void route_websocket_token(Request *r) {
    Str token;
    Diag diag = {0};
    Err err = auth_reissue(r->node->auth, &r->caller, node_now(r->node), r->arena, &token, &diag);
    if (err != OK) {
        request_err(r, err, &diag);
        return;
    }
    Buf body = {0};
    buf_printf(&body, "{\"token\":\"" STR_FMT "\"}", STR_ARG(token));
    request_json(r, 200, &body);
    buf_deinit(&body);
}

// Exactly 64 digits here: no 0x (§6).
bool request_identity_param(Request *r, Identity *out) {
    if (r->params[0].len == IDENTITY_HEX_LEN && identity_parse(r->params[0], out)) return true;
    request_text(r, 400, "Invalid URL: an identity is 64 hexadecimal digits");
    return false;
}

void route_verify(Request *r) {
    Identity identity;
    if (!request_identity_param(r, &identity)) return;
    request_empty(r, identity_eq(&identity, &r->caller.identity) ? 204 : 400);
}

typedef struct OwnedList {
    const Identity *owner;
    Buf body;
    bool any;
} OwnedList;

static void owned_add(void *ctx, const ControlDatabase *database) {
    OwnedList *list = ctx;
    if (!database->exists || !identity_eq(&database->owner, list->owner)) return;
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&database->identity, hex);
    buf_printf(&list->body, "%s\"%s\"", list->any ? "," : "", hex);
    list->any = true;
}

void route_identity_databases(Request *r) {
    Identity identity;
    if (!request_identity_param(r, &identity)) return;
    OwnedList list = {.owner = &identity};
    buf_put_str(&list.body, STR("{\"identities\":["));
    control_databases(r->node->control, owned_add, &list);
    buf_put_str(&list.body, STR("]}"));
    request_json(r, 200, &list.body);
    buf_deinit(&list.body);
}
