#include "base/ids.h"

#include "base/blake3.h"

// Numbers are kept little-endian and shown most significant byte first.
static void reversed_hex(const uint8_t *le, size_t len, char *out) {
    uint8_t be[32];
    for (size_t i = 0; i < len; i++) {
        be[i] = le[len - 1 - i];
    }
    hex_write(out, BYTES(be, len));
    out[2 * len] = 0;
}

static bool reversed_parse(Str text, uint8_t *le, size_t len) {
    uint8_t be[32];
    if (text.len != 2 * len || !hex_read(text, be)) return false;
    for (size_t i = 0; i < len; i++) {
        le[i] = be[len - 1 - i];
    }
    return true;
}

bool connection_id_is_zero(const ConnectionId *id) {
    return (load_u64(id->le) | load_u64(id->le + 8)) == 0;
}

void identity_hex(const Identity *id, char out[IDENTITY_HEX_LEN + 1]) {
    reversed_hex(id->le, sizeof id->le, out);
}

void connection_id_hex(const ConnectionId *id, char out[CONNECTION_HEX_LEN + 1]) {
    reversed_hex(id->le, sizeof id->le, out);
}

bool identity_parse(Str text, Identity *out) {
    if (str_starts(text, STR("0x"))) text = (Str){text.ptr + 2, text.len - 2};
    return reversed_parse(text, out->le, sizeof out->le);
}

bool connection_id_parse(Str text, ConnectionId *out) {
    return reversed_parse(text, out->le, sizeof out->le);
}

//   most significant first:   c2 00 │ checksum:4 │ hash:26
//   hash      the first 26 bytes of BLAKE3(issuer "|" subject)
//   checksum  the first 4 bytes of BLAKE3(c2 00 hash)
Identity identity_derive(Str issuer, Str subject) {
    enum { HASH_BYTES = 26, CHECKSUM_BYTES = 4 };
    uint8_t digest[BLAKE3_LEN];
    Blake3 hash;
    blake3_init(&hash);
    blake3_add(&hash, str_bytes(issuer));
    blake3_add(&hash, BYTES("|", 1));
    blake3_add(&hash, str_bytes(subject));
    blake3_end(&hash, digest);

    uint8_t checked[2 + HASH_BYTES] = {0xc2, 0x00};
    memcpy(checked + 2, digest, HASH_BYTES);
    blake3(BYTES(checked, sizeof checked), digest);

    uint8_t be[32] = {0xc2, 0x00};
    memcpy(be + 2, digest, CHECKSUM_BYTES);
    memcpy(be + 2 + CHECKSUM_BYTES, checked + 2, HASH_BYTES);
    Identity id;
    for (size_t i = 0; i < sizeof be; i++) {
        id.le[i] = be[sizeof be - 1 - i];
    }
    return id;
}
