// ids.h: the names of things, each a type of its own so that the compiler tells them apart.
//
// Identity and ConnectionId are kept as their BSATN bytes: the number little-endian. Text shows
// the most significant byte first (spec: websocket-and-data-model §4).
#pragma once
#include "base/bytes.h"

typedef struct Identity {
    uint8_t le[32];
} Identity;

typedef struct ConnectionId {
    uint8_t le[16];
} ConnectionId;

typedef struct {
    uint64_t v;
} TxOffset;  // a place in a database's commit log: the order of history, dense from 0

typedef int64_t Micros;  // microseconds since the Unix epoch, or a span of them; may be negative

#define IDENTITY_HEX_LEN   64
#define CONNECTION_HEX_LEN 32

static inline bool identity_eq(const Identity *a, const Identity *b) {
    return memcmp(a->le, b->le, sizeof a->le) == 0;
}
static inline bool connection_id_eq(const ConnectionId *a, const ConnectionId *b) {
    return memcmp(a->le, b->le, sizeof a->le) == 0;
}
bool connection_id_is_zero(const ConnectionId *id);  // all zero means "none"

void identity_hex(const Identity *id, char out[IDENTITY_HEX_LEN + 1]);             // terminated
void connection_id_hex(const ConnectionId *id, char out[CONNECTION_HEX_LEN + 1]);  // terminated
bool identity_parse(Str text, Identity *out);           // optional 0x, then exactly 64 digits
bool connection_id_parse(Str text, ConnectionId *out);  // exactly 32 digits

// The identity of a token's issuer and subject: BLAKE3 of "iss|sub", with prefix and checksum.
Identity identity_derive(Str issuer, Str subject);
