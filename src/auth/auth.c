// auth.c: tokens, from the outside in: signature, then claims, then the identity they name.
//
// ALWAYS TRUE
//   (1) Nothing of a token is believed before its signature: the payload is looked into earlier
//       only for the issuer whose keys the signature is to be checked with.
//   (2) Our own key comes first, whatever the issuer: a token that we signed again for a person with a
//       foreign identity keeps that issuer (§3.5).
//   (3) Only the keys of foreign issuers change after auth_open, under a lock of their own.
#include "auth/auth.h"

#include <stdio.h>

#include "auth/claims.h"
#include "auth/issuers.h"
#include "auth/jws.h"
#include "base/mem.h"

struct Auth {
    const Io *io;
    JwsKeys keys;
    Issuers *issuers;
    Buf issuer;
    Buf issuer_json;  // with quotes
};

enum { UUID_TEXT_LEN = 36, ISSUER_BYTES_MAX = 128, REISSUED_LIFE_US = 60 * 1000000 };

Err auth_open(const AuthOptions *options, Auth **out, Diag *diag) {
    Auth *auth = MEM_NEW(Auth);
    if (!auth) return diag_fail(diag, ERR_NOMEM, "cannot open the keys: %s", err_text(ERR_NOMEM));
    auth->io = options->io;
    buf_put_str(&auth->issuer, options->issuer);
    Err err = buf_ok(&auth->issuer) ? claims_quote(options->issuer, &auth->issuer_json) : ERR_NOMEM;
    if (err != OK) {
        diag_fail(diag, err, "cannot use the issuer's name: %s", err_text(err));
    } else {
        err = jws_keys_open(options, &auth->keys, diag);
    }
    if (err == OK) err = issuers_open(&options->issuers, &auth->issuers, diag);
    if (err != OK) {
        auth_close(&auth);
        return err;
    }
    *out = auth;
    return OK;
}

void auth_close(Auth **auth) {
    if (!*auth) return;
    jws_keys_close(&(*auth)->keys);
    issuers_close(&(*auth)->issuers);
    buf_deinit(&(*auth)->issuer);
    buf_deinit(&(*auth)->issuer_json);
    mem_free(*auth);
    *auth = NULL;
}

// Not signed by us. diag says so, which is the answer for a token that claims to be ours.
static Err foreign_verify(const Auth *auth,
                          Str token,
                          Str payload,
                          Micros now,
                          Arena *arena,
                          AuthClaims *out,
                          Diag *diag) {
    Str issuer = claims_peek_issuer(payload, arena);
    if (!issuer.ptr || issuer.len == 0 || str_eq(issuer, bytes_str(buf_bytes(&auth->issuer))))
        return ERR_UNAUTHENTICATED;
    if (issuer.len > ISSUER_BYTES_MAX || !issuers_allow(auth->issuers, issuer))
        return diag_fail(diag,
                         ERR_UNAUTHENTICATED,
                         "Invalid token: this server does not accept tokens of the issuer " STR_FMT,
                         (int)utf8_cut(issuer, ISSUER_BYTES_MAX),
                         issuer.ptr);
    JwsToken parts;
    Err err = jws_token_read(token, arena, &parts, diag);
    if (err != OK) return err;
    out->issuer = issuer;
    return issuers_verify(auth->issuers, issuer, &parts, now, &out->renew, diag);
}

Err auth_verify(const Auth *auth,
                Str token,
                Micros now,
                Arena *arena,
                AuthClaims *out,
                Diag *diag) {
    JwsVerdict verdict;
    AuthClaims claims = {0};
    Str payload;
    Err err = jws_verify(&auth->keys, token, arena, &payload, &verdict, diag);
    if (err != OK) return diag_fail(diag, err, "%s", err_text(err));
    if (verdict == JWS_NOT_A_TOKEN) return ERR_UNAUTHENTICATED;
    if (verdict != JWS_VALID) {
        err = foreign_verify(auth, token, payload, now, arena, &claims, diag);
        if (err == ERR_AGAIN) *out = claims;  // who the issuer is
        if (err != OK) return err;
    }
    if ((err = claims_check(payload, now, &claims, diag)) != OK) return err;
    claims.payload = payload;
    claims.token = arena_str(arena, token);
    if (!claims.token.ptr) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *out = claims;
    return OK;
}

// A random UUID, version 4, as text.
static void uuid_write(const Io *io, char out[UUID_TEXT_LEN + 1]) {
    uint8_t b[16];
    io->random_bytes(io->world, b, sizeof b);
    b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    static const uint8_t group_bytes[] = {4, 2, 2, 2, 6};
    const uint8_t *from = b;
    for (size_t i = 0; i < ARRAY_LEN(group_bytes); i++) {
        if (i > 0) *out++ = '-';
        hex_write(out, (Bytes){from, group_bytes[i]});
        from += group_bytes[i];
        out += 2 * group_bytes[i];
    }
    *out = 0;
}

static Identity identity_new(const Auth *auth, char subject[UUID_TEXT_LEN + 1]) {
    uuid_write(auth->io, subject);
    return identity_derive(bytes_str(buf_bytes(&auth->issuer)), str_from(subject));
}

static Err sign(const Auth *auth, Buf *payload, Arena *arena, Str *token, Diag *diag) {
    Err err = buf_ok(payload) ? OK : ERR_NOMEM;
    if (err == OK) err = jws_sign(&auth->keys, bytes_str(buf_bytes(payload)), arena, token);
    return err == OK ? OK : diag_fail(diag, err, "cannot sign a token: %s", err_text(err));
}

Err auth_mint(const Auth *auth, Micros now, Arena *arena, AuthClaims *out, Diag *diag) {
    char subject[UUID_TEXT_LEN + 1];
    Buf payload = {0};
    AuthClaims claims = {.identity = identity_new(auth, subject), .expires = INT64_MAX};
    Str issuer_json = bytes_str(buf_bytes(&auth->issuer_json));
    claims_write_new(&claims.identity, subject, issuer_json, now, &payload);
    Err err = sign(auth, &payload, arena, &claims.token, diag);
    if (err == OK) {
        claims.payload = arena_str(arena, bytes_str(buf_bytes(&payload)));
        if (!claims.payload.ptr) err = diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    buf_deinit(&payload);
    if (err == OK) *out = claims;
    return err;
}

Err auth_reissue(const Auth *auth,
                 const AuthClaims *claims,
                 Micros now,
                 Arena *arena,
                 Str *token,
                 Diag *diag) {
    Buf payload = {0};
    Err err = claims_reissue(claims->payload, now, REISSUED_LIFE_US, &payload, diag);
    if (err == OK) err = sign(auth, &payload, arena, token, diag);
    buf_deinit(&payload);
    return err;
}

Err auth_issuer_learn(const Auth *auth, Str issuer, Str jwks, Micros now, Diag *diag) {
    return issuers_learn(auth->issuers, issuer, jwks, now, diag);
}

void auth_issuer_failed(const Auth *auth, Str issuer, const char *why, Micros now) {
    issuers_failed(auth->issuers, issuer, why, now);
}

bool auth_issuer_trusted(const Auth *auth, Str issuer) {
    return issuers_trust(auth->issuers, issuer);
}

Bytes auth_public_key_pem(const Auth *auth) {
    return buf_bytes(&auth->keys.public_pem);
}

Identity auth_new_identity(const Auth *auth) {
    char subject[UUID_TEXT_LEN + 1];
    return identity_new(auth, subject);
}
