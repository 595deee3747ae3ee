#include "auth/claims.h"

#include <jansson.h>
#include <stdlib.h>

enum { NAME_BYTES_MAX = 128, LEEWAY_SECONDS = 60, MICROS_PER_SECOND = 1000000 };

static Err refuse(Diag *diag, const char *what) {
    return diag_fail(diag, ERR_UNAUTHENTICATED, "Invalid token: %s", what);
}

static Err claims_load(Str payload, json_t **out, Diag *diag) {
    json_error_t error;
    *out = json_loadb(payload.ptr, payload.len, JSON_REJECT_DUPLICATES, &error);
    if (*out && json_is_object(*out)) return OK;
    if (!*out && json_error_code(&error) == json_error_out_of_memory) {
        return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    bool loaded = *out != NULL;
    json_decref(*out);
    *out = NULL;
    return diag_fail(diag,
                     ERR_UNAUTHENTICATED,
                     "Invalid token: JSON error: %s",
                     loaded ? "the claims are not an object" : error.text);
}

static Str text_of(const json_t *value) {
    return (Str){json_string_value(value), json_string_length(value)};
}

// iss or sub: there, text, 1 to 128 bytes.
static Err name_check(const json_t *claims,
                      const char *key,
                      const char *word,
                      Str *out,
                      Diag *diag) {
    const json_t *value = json_object_get(claims, key);
    if (!value || json_is_null(value)) {
        return diag_fail(diag,
                         ERR_UNAUTHENTICATED,
                         "Invalid token: Missing required claim: %s",
                         key);
    }
    if (!json_is_string(value)) {
        return diag_fail(diag,
                         ERR_UNAUTHENTICATED,
                         "Invalid token: JSON error: `%s` is not a string",
                         key);
    }
    *out = text_of(value);
    if (out->len == 0) return diag_fail(diag, ERR_UNAUTHENTICATED, "%s empty", word);
    if (out->len <= NAME_BYTES_MAX) return OK;
    return diag_fail(diag, ERR_UNAUTHENTICATED, "%s too long: " STR_FMT, word, STR_ARG(*out));
}

static Err audience_check(const json_t *claims, Diag *diag) {
    const json_t *aud = json_object_get(claims, "aud");
    bool ok = !aud || json_is_null(aud) || json_is_string(aud) || json_is_array(aud);
    for (size_t i = 0; i < json_array_size(aud); i++) {
        ok = ok && json_is_string(json_array_get(aud, i));
    }
    return ok ? OK : refuse(diag, "JSON error: `aud` is neither a string nor a list of strings");
}

static int64_t seconds_of(Micros now) {
    return now / MICROS_PER_SECOND - (now % MICROS_PER_SECOND < 0);
}

static Err times_check(const json_t *claims, Micros now, Micros *expires, Diag *diag) {
    const json_t *exp = json_object_get(claims, "exp"), *iat = json_object_get(claims, "iat");
    *expires = INT64_MAX;
    if (exp && !json_is_null(exp)) {
        if (!json_is_integer(exp)) return refuse(diag, "JSON error: `exp` is not an integer");
        int64_t seconds = json_integer_value(exp);
        // Not `seconds + leeway < now`: that sum may overflow.
        if (seconds < seconds_of(now) - LEEWAY_SECONDS) return refuse(diag, "ExpiredSignature");
        if (__builtin_mul_overflow(seconds, (int64_t)MICROS_PER_SECOND, expires)) {
            *expires = INT64_MAX;
        }
    }
    if (!iat) return refuse(diag, "JSON error: missing field `iat`");
    return json_is_integer(iat) ? OK : refuse(diag, "JSON error: `iat` is not an integer");
}

static Err identity_check(const json_t *claims, const Identity *computed, Diag *diag) {
    const json_t *value = json_object_get(claims, "hex_identity");
    if (!value || json_is_null(value)) return OK;
    Identity claimed;
    if (!json_is_string(value) || !identity_parse(text_of(value), &claimed)) {
        return refuse(diag, "JSON error: `hex_identity` is not an identity");
    }
    if (identity_eq(&claimed, computed)) return OK;
    char claimed_hex[IDENTITY_HEX_LEN + 1], computed_hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&claimed, claimed_hex);
    identity_hex(computed, computed_hex);
    return diag_fail(diag,
                     ERR_UNAUTHENTICATED,
                     "Identity mismatch: token identity Identity(%s) does not match computed "
                     "identity Identity(%s)",
                     claimed_hex,
                     computed_hex);
}

Err claims_check(Str payload, Micros now, AuthClaims *out, Diag *diag) {
    json_t *claims = NULL;
    Str issuer, subject;
    Err err = claims_load(payload, &claims, diag);
    if (err != OK) return err;
    if ((err = name_check(claims, "iss", "Issuer", &issuer, diag)) != OK) goto done;
    if ((err = name_check(claims, "sub", "Subject", &subject, diag)) != OK) goto done;
    if ((err = times_check(claims, now, &out->expires, diag)) != OK) goto done;
    if ((err = audience_check(claims, diag)) != OK) goto done;
    out->identity = identity_derive(issuer, subject);
    err = identity_check(claims, &out->identity, diag);
done:
    json_decref(claims);
    return err;
}

Str claims_peek_issuer(Str payload, Arena *arena) {
    json_t *claims = NULL;
    Str issuer = STR_NONE;
    if (claims_load(payload, &claims, NULL) == OK) {
        issuer = text_of(json_object_get(claims, "iss"));
        if (issuer.ptr) issuer = arena_str(arena, issuer);
    }
    json_decref(claims);
    return issuer;
}

// `aud` becomes a list whatever it was, as in the tokens that we make ourselves.
static json_t *audience_list(const json_t *claims) {
    json_t *aud = json_object_get(claims, "aud");
    if (json_is_array(aud)) return json_incref(aud);
    json_t *list = json_array();
    if (list && json_is_string(aud) && json_array_append(list, aud) != 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

// The registered claims first, in §3.3's order, then the others as they came. NULL: no memory.
static json_t *claims_renewed(json_t *old, const char *identity_text, Micros now, Micros life) {
    json_t *claims = json_object();
    int failed = 0;
    failed |=
        json_object_set_new(claims, "hex_identity", json_stringn(identity_text, IDENTITY_HEX_LEN));
    failed |= json_object_set(claims, "sub", json_object_get(old, "sub"));
    failed |= json_object_set(claims, "iss", json_object_get(old, "iss"));
    failed |= json_object_set_new(claims, "aud", audience_list(old));
    failed |= json_object_set_new(claims, "iat", json_integer(seconds_of(now)));
    failed |= json_object_set_new(claims, "exp", json_integer(seconds_of(now + life)));
    failed |= json_object_update_missing(claims, old);
    if (!failed) return claims;
    json_decref(claims);
    return NULL;
}

static Err json_put(const json_t *json, Buf *out) {
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) return ERR_NOMEM;
    buf_put_str(out, str_from(text));
    free(text);
    return buf_ok(out) ? OK : ERR_NOMEM;
}

Err claims_reissue(Str payload, Micros now, Micros life, Buf *out, Diag *diag) {
    json_t *old = NULL, *renewed = NULL;
    Str issuer, subject;
    Err err = claims_load(payload, &old, diag);
    if (err != OK) return err;
    if ((err = name_check(old, "iss", "Issuer", &issuer, diag)) != OK) goto done;
    if ((err = name_check(old, "sub", "Subject", &subject, diag)) != OK) goto done;
    char hex[IDENTITY_HEX_LEN + 1];
    Identity identity = identity_derive(issuer, subject);
    identity_hex(&identity, hex);
    renewed = claims_renewed(old, hex, now, life);
    err = renewed ? json_put(renewed, out) : ERR_NOMEM;
done:
    json_decref(old);
    json_decref(renewed);
    return err;
}

// Written by hand: this runs for every anonymous request.
void claims_write_new(const Identity *identity,
                      const char *subject,
                      Str issuer_json,
                      Micros now,
                      Buf *out) {
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(identity, hex);
    buf_printf(out,
               "{\"hex_identity\":\"%s\",\"sub\":\"%s\",\"iss\":" STR_FMT
               ",\"aud\":[\"spacetimedb\"],\"iat\":%lld,\"exp\":null}",
               hex,
               subject,
               STR_ARG(issuer_json),
               (long long)seconds_of(now));
}

Err claims_quote(Str text, Buf *out) {
    json_t *json = json_stringn(text.ptr, text.len);
    if (!json) return utf8_valid(str_bytes(text)) ? ERR_NOMEM : ERR_INVALID;
    Err err = json_put(json, out);
    json_decref(json);
    return err;
}
