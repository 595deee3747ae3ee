// reader.h: bytes of a wasm binary, read one after another without ever leaving them.
#pragma once
#include "base/bytes.h"

typedef struct WasmReader {
    const uint8_t *at, *end;
    bool failed;  // something was cut off or out of range; reads answer 0 from here on
} WasmReader;

static inline WasmReader wasm_reader(Bytes bytes) {
    static const uint8_t nothing;
    const uint8_t *at = bytes.ptr ? bytes.ptr : &nothing;
    return (WasmReader){.at = at, .end = at + bytes.len};
}
static inline size_t wasm_left(const WasmReader *r) {
    return r->failed ? 0 : (size_t)(r->end - r->at);
}
static inline uint8_t wasm_u8(WasmReader *r) {
    if (wasm_left(r)) return *r->at++;
    r->failed = true;
    return 0;
}
// LEB128 of at most `bits`; signed ones are only skipped over, so their value does not matter.
static inline uint64_t wasm_leb(WasmReader *r, unsigned bits) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        uint8_t byte = wasm_u8(r);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return r->failed ? 0 : value;
    }
    r->failed = true;
    return 0;
}
static inline uint32_t wasm_u32(WasmReader *r) {
    uint64_t value = wasm_leb(r, 32);
    if (value <= UINT32_MAX) return (uint32_t)value;
    r->failed = true;
    return 0;
}
static inline Bytes wasm_bytes(WasmReader *r, size_t len) {
    if (len > wasm_left(r)) {
        r->failed = true;
        return BYTES_NONE;
    }
    Bytes bytes = {r->at, len};
    r->at += len;
    return bytes;
}
static inline Bytes wasm_vector(WasmReader *r) {  // of bytes
    return wasm_bytes(r, wasm_u32(r));
}
// The number of elements of a vector, each of which takes a byte at least.
static inline uint32_t wasm_count(WasmReader *r) {
    uint32_t count = wasm_u32(r);
    if (count <= wasm_left(r)) return count;
    r->failed = true;
    return 0;
}
