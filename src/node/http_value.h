// http_value.h: HTTP requests and responses as values that modules and the server hand each other.
// Spec: module-abi §1.12.
//
//   Request   method, headers, timeout: Option<TimeDuration>, uri, version
//   Response  headers, version, code
#pragma once
#include "net/net.h"
#include "sats/bsatn.h"

enum { HTTP_VERSION_0_9, HTTP_VERSION_1_0, HTTP_VERSION_1_1, HTTP_VERSION_2, HTTP_VERSION_3 };

typedef struct HttpValue {
    Str method;  // of a request: "GET" …
    Str uri;
    bool has_timeout;
    Micros timeout;
    uint16_t code;    // of a response
    uint8_t version;  // HTTP_VERSION_…
    HttpHeader *headers;
    uint32_t header_count;
} HttpValue;

void http_value_put_request(Buf *out, const HttpValue *request);
void http_value_put_response(Buf *out, const HttpValue *response);
// Texts borrow from `in`, the list of headers is the arena's. ERR_MALFORMED, ERR_NOMEM.
MUST_USE Err http_value_get_request(Bytes in, Arena *arena, HttpValue *out);
MUST_USE Err http_value_get_response(Bytes in, Arena *arena, HttpValue *out);
// Could these stand in a message's head? A name is a token; a value has no control characters.
bool http_value_name_ok(Str name);
bool http_value_text_ok(Str value);
