// auth.h: who is calling. ES256 tokens of our own, keys made at first start; and tokens of foreign
// issuers by OpenID Connect (issuers.h). Spec: http-api-and-auth §3.
#pragma once
#include "base/arena.h"
#include "base/ids.h"
#include "os/io.h"

typedef struct Auth Auth;  // usable from any thread

// Whose tokens are accepted besides our own.
typedef struct AuthIssuers {
    bool any;          // every issuer that can be reached by https
    const Str *named;  // these; they may be reached in the clear and on private addresses too
    uint32_t count;
} AuthIssuers;

typedef struct AuthOptions {
    const Io *io;
    const char *key_dir;       // id_ecdsa, id_ecdsa.pub; made when both are missing
    const char *private_path;  // both or none, instead of key_dir
    const char *public_path;
    Str issuer;  // "localhost"
    AuthIssuers issuers;
} AuthOptions;
MUST_USE Err auth_open(const AuthOptions *options, Auth **out, Diag *diag);
void auth_close(Auth **auth);

typedef struct AuthClaims {
    Identity identity;
    Str payload;     // the token's claims as JSON text, as presented
    Str token;       // the token itself
    Micros expires;  // INT64_MAX: never
    Str issuer;      // of a foreign token; ptr NULL: it is one of ours
    bool renew;      // its issuer's keys should be fetched again; nobody has to wait for that
} AuthClaims;

// Check a token. Text is in `arena`. ERR_UNAUTHENTICATED with §3.4's words in diag. ERR_AGAIN: the
// keys of out->issuer have to be fetched first (auth_issuer_…); then ask again.
MUST_USE Err
auth_verify(const Auth *auth, Str token, Micros now, Arena *arena, AuthClaims *out, Diag *diag);
// A brand-new identity and its token (never expires).
MUST_USE Err auth_mint(const Auth *auth, Micros now, Arena *arena, AuthClaims *out, Diag *diag);
// The same claims, re-signed, expiring in 60 s (§3.5).
MUST_USE Err auth_reissue(const Auth *auth,
                          const AuthClaims *claims,
                          Micros now,
                          Arena *arena,
                          Str *token,
                          Diag *diag);
// The outcome of fetching an issuer's keys: its JSON Web Key Set (ERR_INVALID: it is none, and diag says
// why), or the reason why there is none.
MUST_USE Err auth_issuer_learn(const Auth *auth, Str issuer, Str jwks, Micros now, Diag *diag);
void auth_issuer_failed(const Auth *auth, Str issuer, const char *why, Micros now);
// It was named when the server was started: it may be anywhere, and need not speak https.
bool auth_issuer_trusted(const Auth *auth, Str issuer);
Bytes auth_public_key_pem(const Auth *auth);  // lives as long as auth
// A fresh database identity: issuer and a random subject.
Identity auth_new_identity(const Auth *auth);
