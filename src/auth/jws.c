// jws.c: JWS compact form. Our own tokens are ES256; those of foreign issuers may be RS256 too.
//
//   base64url(header) . base64url(payload) . base64url(r ‖ s)
//   └──────────────── signed ────────────┘               32 + 32 bytes
//
// OpenSSL speaks DER for (r, s), the token speaks two plain numbers.
#include "auth/jws.h"

#include <jansson.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>

#include "auth/base64url.h"

enum { SCALAR_BYTES = 32, SIGNATURE_BYTES = 2 * SCALAR_BYTES, DER_BYTES_MAX = 80 };

// {"typ":"JWT","alg":"ES256"}
#define OUR_HEADER "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9"

static bool der_to_raw(const uint8_t *der, size_t len, uint8_t raw[SIGNATURE_BYTES]) {
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    if (!pair) return false;
    bool ok =
        BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, SCALAR_BYTES) == SCALAR_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + SCALAR_BYTES, SCALAR_BYTES) == SCALAR_BYTES;
    ECDSA_SIG_free(pair);
    return ok;
}

// The length of the DER, or 0.
static size_t raw_to_der(const uint8_t raw[SIGNATURE_BYTES], uint8_t der[DER_BYTES_MAX]) {
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, SCALAR_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(raw + SCALAR_BYTES, SCALAR_BYTES, NULL);
    int len = 0;
    if (pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL;  // the pair's now
        len = i2d_ECDSA_SIG(pair, &der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return len > 0 && len <= DER_BYTES_MAX ? (size_t)len : 0;
}

static Err text_sign(const JwsKeys *keys, Bytes text, uint8_t raw[SIGNATURE_BYTES]) {
    uint8_t der[DER_BYTES_MAX];
    size_t len = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_MD_CTX_copy_ex(ctx, keys->signer) == 1 &&
              EVP_DigestSign(ctx, der, &len, text.ptr, text.len) == 1 && der_to_raw(der, len, raw);
    EVP_MD_CTX_free(ctx);
    return ok ? OK : ERR_NOMEM;  // with a checked key nothing else can be missing
}

static Err text_verify(const JwsKeys *keys,
                       Bytes text,
                       const uint8_t raw[SIGNATURE_BYTES],
                       bool *valid) {
    uint8_t der[DER_BYTES_MAX];
    size_t len = raw_to_der(raw, der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    Err err = len && ctx && EVP_MD_CTX_copy_ex(ctx, keys->verifier) == 1 ? OK : ERR_NOMEM;
    if (err == OK) *valid = EVP_DigestVerify(ctx, der, len, text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();  // a bad signature is no error of this thread's next TLS call
    return err;
}

Err jws_sign(const JwsKeys *keys, Str payload, Arena *arena, Str *token) {
    Buf text = {0};
    uint8_t signature[SIGNATURE_BYTES];
    buf_put_str(&text, STR(OUR_HEADER));
    buf_put_u8(&text, '.');
    base64url_append(&text, str_bytes(payload));
    Err err = buf_ok(&text) ? text_sign(keys, buf_bytes(&text), signature) : ERR_NOMEM;
    if (err == OK) {
        buf_put_u8(&text, '.');
        base64url_append(&text, BYTES(signature, sizeof signature));
        *token = arena_str(arena, bytes_str(buf_bytes(&text)));
        if (!buf_ok(&text) || !token->ptr) err = ERR_NOMEM;
    }
    buf_deinit(&text);
    return err;
}

typedef struct JwsParts {
    Str header;
    Str payload;
    Str signature;
    Str signed_text;
} JwsParts;

static bool parts_split(Str token, JwsParts *out) {
    const char *end = token.ptr + token.len;
    const char *first = token.len ? memchr(token.ptr, '.', token.len) : NULL;
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1))) return false;
    *out = (JwsParts){
        .header = {token.ptr, (size_t)(first - token.ptr)},
        .payload = {first + 1, (size_t)(second - first - 1)},
        .signature = {second + 1, (size_t)(end - second - 1)},
        .signed_text = {token.ptr, (size_t)(second - token.ptr)},
    };
    return true;
}

static Err part_decode(Str part, Arena *arena, Str *out, bool *ok) {
    uint8_t *bytes = arena_alloc(arena, base64url_decoded_max(part.len) + 1);
    if (!bytes) return ERR_NOMEM;
    *out = (Str){(char *)bytes, 0};
    *ok = base64url_decode(part, bytes, &out->len);
    bytes[out->len] = 0;
    return OK;
}

// Our own header is recognised by its spelling; any other is read.
static Err header_judge(Str header, Arena *arena, JwsVerdict *verdict, Diag *diag) {
    if (str_eq(header, STR(OUR_HEADER))) return OK;
    Str text;
    bool ok;
    Err err = part_decode(header, arena, &text, &ok);
    if (err != OK) return err;
    *verdict = JWS_NOT_A_TOKEN;
    if (!ok) {
        diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: Base64 error: in the header");
        return OK;
    }
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: JSON error: %s", error.text);
        return OK;
    }
    const char *alg = json_string_value(json_object_get(json, "alg"));
    if (alg && strcmp(alg, "ES256") == 0) {
        *verdict = JWS_VALID;
    } else {
        *verdict = JWS_ALGORITHM;
        diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: InvalidAlgorithm");
    }
    json_decref(json);
    return OK;
}

static Err signature_judge(const JwsKeys *keys,
                           const JwsParts *parts,
                           JwsVerdict *verdict,
                           Diag *diag) {
    uint8_t raw[128];
    size_t len = 0;
    bool valid = false;
    bool sized = parts->signature.len <= 100 && base64url_decode(parts->signature, raw, &len) &&
                 len == SIGNATURE_BYTES;
    if (sized) {
        Err err = text_verify(keys, str_bytes(parts->signed_text), raw, &valid);
        if (err != OK) return err;
    }
    if (!valid) {
        *verdict = JWS_BAD_SIGNATURE;
        diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: InvalidSignature");
    }
    return OK;
}

Err jws_verify(const JwsKeys *keys,
               Str token,
               Arena *arena,
               Str *payload,
               JwsVerdict *verdict,
               Diag *diag) {
    JwsParts parts;
    bool decoded = false;
    *payload = STR_NONE;
    *verdict = JWS_NOT_A_TOKEN;
    if (!parts_split(token, &parts)) {
        diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: InvalidToken");
        return OK;
    }
    Str text;
    Err err = part_decode(parts.payload, arena, &text, &decoded);
    if (err != OK) return err;
    if (!decoded) {
        diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: Base64 error: in the payload");
        return OK;
    }
    *payload = text;
    *verdict = JWS_VALID;
    err = header_judge(parts.header, arena, verdict, diag);
    if (err != OK || *verdict != JWS_VALID) return err;
    return signature_judge(keys, &parts, verdict, diag);
}

// ── tokens of others ───────────────────────────────────────────────────────────────────────────

static JwsAlgorithm algorithm_named(const char *name) {
    if (name && strcmp(name, "ES256") == 0) return JWS_ES256;
    if (name && strcmp(name, "RS256") == 0) return JWS_RS256;
    return JWS_OTHER;
}

static Err token_header_read(Str text, Arena *arena, JwsToken *out, Diag *diag) {
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: JSON error: %s", error.text);
    out->algorithm = algorithm_named(json_string_value(json_object_get(json, "alg")));
    const char *kid = json_string_value(json_object_get(json, "kid"));
    if (kid) out->kid = arena_str(arena, str_from(kid));
    // What is critical to the issuer and unknown to us must not be passed over (RFC 7515 §4.1.11).
    bool critical = json_object_get(json, "crit") != NULL;
    json_decref(json);
    if (critical) return diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: InvalidToken");
    return kid && !out->kid.ptr ? ERR_NOMEM : OK;
}

Err jws_token_read(Str token, Arena *arena, JwsToken *out, Diag *diag) {
    JwsParts parts;
    *out = (JwsToken){.kid = STR_NONE};
    if (!parts_split(token, &parts))
        return diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: InvalidToken");
    Str header, signature;
    bool header_ok, payload_ok, signature_ok;
    Err err = part_decode(parts.header, arena, &header, &header_ok);
    if (err == OK) err = part_decode(parts.payload, arena, &out->payload, &payload_ok);
    if (err == OK) err = part_decode(parts.signature, arena, &signature, &signature_ok);
    if (err != OK) return err;
    if (!header_ok || !payload_ok || !signature_ok)
        return diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: Base64 error: in the token");
    out->signature = str_bytes(signature);
    out->signed_text = parts.signed_text;
    return token_header_read(header, arena, out, diag);
}

bool jws_fits(const JwsToken *token, const EVP_PKEY *key) {
    switch (token->algorithm) {
    case JWS_ES256: return EVP_PKEY_is_a(key, "EC");
    case JWS_RS256: return EVP_PKEY_is_a(key, "RSA");
    case JWS_OTHER: return false;
    }
    UNREACHABLE();
}

Err jws_token_verify(const JwsToken *token, EVP_PKEY *key, bool *valid) {
    uint8_t der[DER_BYTES_MAX];
    Bytes signature = token->signature;
    *valid = false;
    if (token->algorithm == JWS_ES256) {
        if (signature.len != SIGNATURE_BYTES) return OK;
        signature = BYTES(der, raw_to_der(signature.ptr, der));
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ready = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1;
    Str text = token->signed_text;
    if (ready)
        *valid = EVP_DigestVerify(ctx,
                                  signature.ptr,
                                  signature.len,
                                  (const uint8_t *)text.ptr,
                                  text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ready ? OK : ERR_NOMEM;
}
