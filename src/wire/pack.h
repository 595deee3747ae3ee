// pack.h: a message made smaller for its way to a client that said it can unpack it.
//
// Packing costs 5 to 20 ns a byte, which saves time on lines slower than a gigabit and is far more than a
// loop has: only what is made on another thread anyhow, many rows at once, is packed.
// Formats: gzip is RFC 1952, brotli RFC 7932; the tag before a message says which
// (spec websocket-and-data-model §5.6).
#pragma once
#include "base/bytes.h"

typedef enum WirePacking {
    WIRE_PLAIN = 0,  // the values are the tags on the wire
    WIRE_BROTLI = 1,
    WIRE_GZIP = 2,
} WirePacking;

#define WIRE_PACK_MIN 1024  // bytes; what is not longer stays plain

// Append the message to `out`, packed if that makes it smaller. Returns how it was appended: plain also
// where there was no memory to pack it (`out` is failed where there was none for the plain one).
WirePacking wire_pack(Buf *out, Bytes message, WirePacking how);
