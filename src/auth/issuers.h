// issuers.h: inside src/auth only. Foreign issuers of tokens and the keys they publish.
// OpenID Connect Discovery 1.0, RFC 7517 (JWK), RFC 7518 (RS256, ES256); spec http-api-and-auth §3.4.
#pragma once
#include "auth/jws.h"

typedef struct Issuers Issuers;

MUST_USE Err issuers_open(const AuthIssuers *allowed, Issuers **out, Diag *diag);
void issuers_close(Issuers **issuers);

bool issuers_allow(const Issuers *issuers, Str issuer);
// May it be reached in the clear, and on addresses that are not public? Those that are named may.
bool issuers_trust(const Issuers *issuers, Str issuer);

// Is the signature that issuer's? ERR_AGAIN: its keys must be fetched first. *renew: they should be
// fetched again, but nobody has to wait for that. ERR_UNAUTHENTICATED with a reason.
MUST_USE Err issuers_verify(Issuers *issuers,
                            Str issuer,
                            const JwsToken *token,
                            Micros now,
                            bool *renew,
                            Diag *diag);
// What was fetched, or `why` it was not.
MUST_USE Err issuers_learn(Issuers *issuers, Str issuer, Str jwks, Micros now, Diag *diag);
void issuers_failed(Issuers *issuers, Str issuer, const char *why, Micros now);
