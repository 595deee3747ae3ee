// handshake.c: the HTTP request that turns a connection into a WebSocket, and what is answered to it.
//
// Only a server that knows RFC 6455 (the hash of our key) and the protocol will do. One that refuses says why in
// the body; refusals that will not change by trying again end the client.
#include "client.h"

static void base64(const uint8_t *bytes, size_t len, char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t part = (uint32_t)bytes[i] << 16;
        if (i + 1 < len) part |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < len) part |= bytes[i + 2];
        *text++ = digits[part >> 18];
        *text++ = digits[part >> 12 & 63];
        *text++ = i + 1 < len ? digits[part >> 6 & 63] : '=';
        *text++ = i + 2 < len ? digits[part & 63] : '=';
    }
    *text = 0;
}

static uint32_t rotate32(uint32_t x, int by) {
    return x << by | x >> (32 - by);
}

// SHA-1 of fewer than 120 bytes: what RFC 6455 asks for, and nothing that is secret.
static void sha1(const char *text, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t len = strlen(text), blocks = (len + 8) / 64 + 1;
    uint8_t bytes[128] = {0};
    memcpy(bytes, text, len);
    bytes[len] = 0x80;
    for (size_t i = 0; i < 8; i++)
        bytes[blocks * 64 - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    for (size_t b = 0; b < blocks; b++) {
        uint32_t w[80], v[5];
        for (size_t i = 0; i < 16; i++) {
            const uint8_t *at = bytes + b * 64 + i * 4;
            w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        }
        for (size_t i = 16; i < 80; i++)
            w[i] = rotate32(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        memcpy(v, h, sizeof v);
        for (size_t i = 0; i < 80; i++) {
            uint32_t mix = i < 20   ? ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5a827999
                           : i < 40 ? (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1
                           : i < 60 ? ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8f1bbcdc
                                    : (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6;
            uint32_t next = rotate32(v[0], 5) + mix + v[4] + w[i];
            v[4] = v[3], v[3] = v[2], v[2] = rotate32(v[1], 30), v[1] = v[0], v[0] = next;
        }
        for (size_t i = 0; i < 5; i++)
            h[i] += v[i];
    }
    for (size_t i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void accept_of(const char *key, char accept[29]) {
    char text[64];
    uint8_t digest[20];
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, digest);
    base64(digest, sizeof digest, accept);
}

static void put_text(LcClient *client, const char *text) {
    link_put(client, text, strlen(text));
}

LC_PRIVATE void upgrade_send(LcClient *client) {
    uint8_t random[16];
    char key[25];
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)chance_next(client);
    base64(random, sizeof random, key);
    accept_of(key, client->accept);
    bool is_v6 = strchr(client->host, ':') != NULL;
    put_text(client, "GET ");
    put_text(client, client->path);
    put_text(client, " HTTP/1.1\r\nHost: ");
    put_text(client, is_v6 ? "[" : "");
    put_text(client, client->host);
    put_text(client, is_v6 ? "]:" : ":");
    put_text(client, client->port);
    put_text(
        client,
        "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    put_text(client, key);
    put_text(client,
             "\r\nSec-WebSocket-Protocol: v1.bsatn.lightcone, v3.bsatn.spacetimedb, "
             "v2.bsatn.spacetimedb\r\n");
    if (client->token) {
        put_text(client, "Authorization: Bearer ");
        put_text(client, client->token);
        put_text(client, "\r\n");
    }
    put_text(client, "\r\n");
}

static bool text_eq_any_case(const char *a, const char *b, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i])) return false;
    return true;
}

// The value of a header, trimmed; len 0: there is none. `head` ends with an empty line.
static LcString header_find(const char *head, size_t len, const char *name) {
    size_t name_len = strlen(name);
    for (const char *at = memchr(head, '\n', len); at;
         at = memchr(at, '\n', (size_t)(head + len - at))) {
        at++;
        size_t left = (size_t)(head + len - at);
        if (left <= name_len || at[name_len] != ':' || !text_eq_any_case(at, name, name_len))
            continue;
        const char *from = at + name_len + 1, *end = memchr(from, '\r', left - name_len - 1);
        while (end && from < end && (*from == ' ' || *from == '\t'))
            from++;
        while (end && end > from && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        return end ? (LcString){from, (size_t)(end - from)} : (LcString){0};
    }
    return (LcString){0};
}

static size_t head_len(const Out *raw) {
    for (size_t i = 3; i < raw->len; i++)
        if (memcmp(raw->data + i - 3, "\r\n\r\n", 4) == 0) return i + 1;
    return 0;
}

// Anything but 101. The body says why, in a sentence.
static void upgrade_refused(LcClient *client, int status, const char *body, size_t len) {
    while (len > 0 && (unsigned char)body[len - 1] <= ' ')
        len--;
    if (len > 0 && is_utf8((const uint8_t *)body, len))
        snprintf(client->why,
                 sizeof client->why,
                 "the server refused (%d): %.*s",
                 status,
                 (int)(len < 200 ? len : 200),
                 body);
    else
        snprintf(client->why, sizeof client->why, "the server refused with status %d", status);
    // Neither will it in a minute. Other codes are of servers that are busy or starting.
    link_lost(client, "", status == 400 || status == 401 || status == 403 || status == 404);
}

// at_end: the server has said all it will say.
LC_PRIVATE void upgrade_read(LcClient *client, bool at_end) {
    const char *head = (const char *)client->raw.data;
    size_t len = head_len(&client->raw);
    if (len == 0) {
        if (client->raw.len > HEAD_BYTES_MAX) link_failed(client, LC_MALFORMED);
        return;
    }
    bool is_http = len > 12 && memcmp(head, "HTTP/1.", 7) == 0 && head[8] == ' ';
    int status = 0;
    for (size_t i = 9; is_http && i < 12 && isdigit((unsigned char)head[i]); i++)
        status = status * 10 + (head[i] - '0');
    LcString accept = header_find(head, len, "sec-websocket-accept");
    LcString protocol = header_find(head, len, "sec-websocket-protocol");
    client->speaks_ours = lc_string_eq(protocol, lc_string("v1.bsatn.lightcone"));
    if (status == 101 && lc_string_eq(accept, lc_string(client->accept)) &&
        (client->speaks_ours || lc_string_eq(protocol, lc_string("v3.bsatn.spacetimedb")) ||
         lc_string_eq(protocol, lc_string("v2.bsatn.spacetimedb")))) {
        client->state = LINK_OPEN;  // the deadline stays until the server has introduced itself
        out_drop(&client->raw, len);
        return;
    }
    if (status == 101 || status < 100) {
        link_failed(client, LC_MALFORMED);
        return;
    }
    LcString said = header_find(head, len, "content-length");
    size_t body = 0;
    for (size_t i = 0; i < said.len && body < HEAD_BYTES_MAX; i++)
        body = body * 10 + (size_t)(said.ptr[i] & 15);
    size_t here = client->raw.len - len;
    if (here < body && here < 200 && !at_end) return;
    upgrade_refused(client, status, head + len, here < body ? here : body);
}
