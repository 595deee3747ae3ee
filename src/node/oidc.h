// oidc.h: fetching the keys of foreign issuers, and requests that wait for them.
// OpenID Connect Discovery 1.0 §4; spec http-api-and-auth §3.4.
#pragma once
#include "node/loop.h"

typedef struct Oidc Oidc;

MUST_USE Err oidc_open(Node *node, Oidc **out);
void oidc_close(Oidc **oidc);  // after the workers have ended and all loops' tasks have run

// Fetch the keys of an issuer; `conn`, whose request is not answered, waits for the outcome and then
// its request arrives again (net_request_again). NULL: nobody waits. One fetch at a time an issuer.
// On the thread of `loop`, conn's. ERR_BUSY: too many are being fetched, or wait.
MUST_USE Err oidc_fetch(Oidc *oidc, Str issuer, NodeLoop *loop, NetConn *conn);
