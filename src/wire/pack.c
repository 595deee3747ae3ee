// pack.c: zlib and brotli, each in one step, into room for one byte less than the message has: what
// does not fit there would not have become smaller.
//
// The fastest levels (gzip 1, brotli 1), as the original has it: rows in BSATN have zeros and names to
// save, and those any level finds.
#include "wire/pack.h"

#include <brotli/encode.h>
#include <zlib.h>

#define GZIP_LEVEL     1
#define GZIP_WINDOW    (MAX_WBITS + 16)  // 16: with the header of gzip
#define GZIP_MEMORY    8                 // zlib's own default
#define BROTLI_QUALITY 1

// 0: it did not become smaller, or there was no memory.
static size_t gzip(Bytes in, uint8_t *out, size_t room) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr,
                  .avail_in = (uInt)in.len,
                  .next_out = out,
                  .avail_out = (uInt)room};
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return 0;
    size_t len = deflate(&z, Z_FINISH) == Z_STREAM_END ? z.total_out : 0;
    (void)deflateEnd(&z);
    return len;
}

static size_t brotli(Bytes in, uint8_t *out, size_t room) {
    size_t len = room;
    return BrotliEncoderCompress(BROTLI_QUALITY,
                                 BROTLI_DEFAULT_WINDOW,
                                 BROTLI_DEFAULT_MODE,
                                 in.len,
                                 in.ptr,
                                 &len,
                                 out)
               ? len
               : 0;
}

WirePacking wire_pack(Buf *out, Bytes message, WirePacking how) {
    size_t at = out->len;
    bool fits = message.len > WIRE_PACK_MIN && message.len <= UINT32_MAX;  // zlib counts in 32 bits
    if (how != WIRE_PLAIN && fits && buf_reserve(out, message.len)) {
        uint8_t *to = out->ptr + at;
        size_t room = message.len - 1;
        size_t len = how == WIRE_GZIP ? gzip(message, to, room) : brotli(message, to, room);
        if (len) {
            out->len = at + len;
            return how;
        }
    }
    buf_put_bytes(out, message);
    return WIRE_PLAIN;
}
