// auth.h: who is calling. ES256 tokens, keys made at first start. Spec: http-api-and-auth §3.
#pragma once
#include "base/arena.h"
#include "base/ids.h"
#include "os/io.h"

typedef struct Auth Auth;  // immutable after opening: usable from any thread

typedef struct AuthOptions {
    const Io *io;
    const char *key_dir;       // id_ecdsa, id_ecdsa.pub; made when both are missing
    const char *private_path;  // both or none, instead of key_dir
    const char *public_path;
    Str issuer;  // "localhost"
} AuthOptions;
MUST_USE Err auth_open(const AuthOptions *options, Auth **out, Diag *diag);
void auth_close(Auth **auth);

typedef struct AuthClaims {
    Identity identity;
    Str payload;     // the token's claims as JSON text, as presented
    Str token;       // the token itself
    Micros expires;  // INT64_MAX: never
} AuthClaims;

// Check a token. Text is in `arena`. ERR_UNAUTHENTICATED with §3.4's words in diag.
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
Bytes auth_public_key_pem(const Auth *auth);  // lives as long as auth
// A fresh database identity: issuer and a random subject.
Identity auth_new_identity(const Auth *auth);
