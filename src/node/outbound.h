// outbound.h: HTTP requests that modules make of the world. Spec: module-abi §1.12.
#pragma once
#include "net/net.h"
#include "txn/access.h"

struct sockaddr;

typedef enum OutboundAccess {
    OUTBOUND_PUBLIC,  // addresses of the public internet only
    OUTBOUND_ALL,     // also this machine and its own networks
    OUTBOUND_OFF,
} OutboundAccess;

typedef struct OutboundLimits {
    OutboundAccess access;
    size_t response_max;           // bytes of a response's body
    bool https_only;               // redirects too
    bool (*cancelled)(void *ctx);  // asked about once a second
    void *ctx;
} OutboundLimits;

// Make one request and wait for its answer; any thread. Results as HostProcedureOps.http.
AbiErrno outbound_request(const OutboundLimits *limits,
                          Bytes request,
                          Bytes body,
                          Buf *response,
                          Buf *body_out);
// Is this an address that anybody may be sent to? False for private networks, this machine, links,
// multicast, documentation, tunnels into any of them, and families other than IPv4 and IPv6.
bool outbound_address_public(const struct sockaddr *address);
