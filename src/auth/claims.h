// claims.h: inside src/auth only. What a token says, as JSON.
#pragma once
#include "auth/auth.h"

// Check the claims of a payload whose signature was valid (spec §3.4, "claim rules"). Fills
// identity and expires. ERR_UNAUTHENTICATED with the words of the table there, or ERR_NOMEM.
MUST_USE Err claims_check(Str payload, Micros now, AuthClaims *out, Diag *diag);

// The issuer that a payload names, believed or not; STR_NONE when it names none. In `arena`.
Str claims_peek_issuer(Str payload, Arena *arena);

// The same claims, issued now and expiring after `life`, in §3.3's order: text in *out.
MUST_USE Err claims_reissue(Str payload, Micros now, Micros life, Buf *out, Diag *diag);

// The claims of a new identity that never expire. `issuer_json` is a JSON string, with its quotes.
void claims_write_new(const Identity *identity,
                      const char *subject,
                      Str issuer_json,
                      Micros now,
                      Buf *out);

// Text as a JSON string with its quotes.
MUST_USE Err claims_quote(Str text, Buf *out);
