// pack_test.c: what is packed unpacks to the same, by the libraries' own decoders; what cannot become
// smaller stays as it is.
#include "wire/pack.h"

#include <brotli/decode.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/mem.h"
#include "base/test.h"

static bool unpack(Bytes in, WirePacking how, uint8_t *out, size_t *len) {
    if (how == WIRE_BROTLI)
        return BrotliDecoderDecompress(in.len, in.ptr, len, out) == BROTLI_DECODER_RESULT_SUCCESS;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr,
                  .avail_in = (uInt)in.len,
                  .next_out = out,
                  .avail_out = (uInt)*len};
    if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK) return false;
    bool whole = inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0;
    *len = z.total_out;
    (void)inflateEnd(&z);
    return whole;
}

// Rows as a table of notes has them: counted ids, few words, lengths of four bytes.
static void rows_write(Buf *out, size_t len, unsigned seed) {
    static const char *words[] = {"alpha", "omega", "a longer word", "x"};
    buf_clear(out);
    for (uint64_t id = 1; out->len < len; id++) {
        buf_put_u64(out, id);
        buf_put_lp(out, str_bytes(str_from(words[(seed = seed * 1103515245u + 12345u) >> 16 & 3])));
    }
    out->len = len;
}

static void noise_write(Buf *out, size_t len, unsigned seed) {
    buf_clear(out);
    while (out->len < len) {
        buf_put_u8(out, (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16));
    }
}

TEST(pack, every_length_comes_back_as_it_was) {
    Buf message = {0}, packed = {0};
    uint8_t *back = mem_alloc(1 << 20);
    for (size_t len = 0; len <= 300000; len = len < 1030 ? len + 103 : len * 3 / 2) {
        for (int how = WIRE_PLAIN; how <= WIRE_GZIP; how++) {
            rows_write(&message, len, (unsigned)len);
            buf_clear(&packed);
            buf_put_u8(&packed, 0xEE);  // what stood there before stays
            WirePacking got = wire_pack(&packed, buf_bytes(&message), (WirePacking)how);
            EXPECT(buf_ok(&packed));
            EXPECT_EQ(got, len > WIRE_PACK_MIN ? how : WIRE_PLAIN);
            EXPECT_EQ(packed.ptr[0], 0xEE);
            Bytes body = BYTES(packed.ptr + 1, packed.len - 1);
            if (got == WIRE_PLAIN) {
                EXPECT_BYTES(body, buf_bytes(&message));
                continue;
            }
            size_t room = 1 << 20;
            EXPECT(body.len < message.len);
            EXPECT(unpack(body, got, back, &room));
            EXPECT_BYTES(BYTES(back, room), buf_bytes(&message));
        }
    }
    mem_free(back);
    buf_deinit(&message);
    buf_deinit(&packed);
}

TEST(pack, what_would_grow_stays_plain) {
    Buf message = {0}, packed = {0};
    noise_write(&message, 100000, 7);
    EXPECT_EQ(wire_pack(&packed, buf_bytes(&message), WIRE_GZIP), WIRE_PLAIN);
    EXPECT_BYTES(buf_bytes(&packed), buf_bytes(&message));
    buf_clear(&packed);
    EXPECT_EQ(wire_pack(&packed, buf_bytes(&message), WIRE_BROTLI), WIRE_PLAIN);
    EXPECT_BYTES(buf_bytes(&packed), buf_bytes(&message));
    buf_deinit(&message);
    buf_deinit(&packed);
}

TEST(pack, without_memory_the_buffer_fails_and_nothing_else) {
    Buf message = {0};
    rows_write(&message, 5000, 3);
    Buf packed = {0};
    mem_fault_arm(0);
    EXPECT_EQ(wire_pack(&packed, buf_bytes(&message), WIRE_GZIP), WIRE_PLAIN);
    mem_fault_arm(-1);
    EXPECT(!buf_ok(&packed));
    buf_deinit(&packed);
    buf_deinit(&message);
}

TEST_MAIN()
