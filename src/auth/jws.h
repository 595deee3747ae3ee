// jws.h: inside src/auth only. Signed text: ES256 in JWS compact form, and the keys for it.
#pragma once
#include <openssl/evp.h>

#include "auth/auth.h"

typedef struct JwsKeys {
    EVP_PKEY *private_key;
    EVP_PKEY *public_key;
    // Set up once and copied for each use: that spares OpenSSL's search for algorithms.
    EVP_MD_CTX *signer;
    EVP_MD_CTX *verifier;
    Buf public_pem;
} JwsKeys;

// keys.c
MUST_USE Err jws_keys_open(const AuthOptions *options, JwsKeys *out, Diag *diag);
void jws_keys_close(JwsKeys *keys);  // harmless on a zeroed one

// jws.c. Everything returned is in `arena`.
MUST_USE Err jws_sign(const JwsKeys *keys, Str payload, Arena *arena, Str *token);

typedef enum JwsVerdict {
    JWS_VALID,
    JWS_NOT_A_TOKEN,    // not three parts of base64url, or a header that is not JSON
    JWS_ALGORITHM,      // not ES256
    JWS_BAD_SIGNATURE,  // of another key, or of another text
} JwsVerdict;
// A token of somebody else, taken apart. Everything is in the arena or borrows from the token.
typedef enum JwsAlgorithm { JWS_OTHER, JWS_ES256, JWS_RS256 } JwsAlgorithm;
typedef struct JwsToken {
    JwsAlgorithm algorithm;
    Str kid;  // ptr NULL: it names none
    Str payload;
    Str signed_text;
    Bytes signature;
} JwsToken;
// ERR_UNAUTHENTICATED with the words of §3.4: it is not a token.
MUST_USE Err jws_token_read(Str token, Arena *arena, JwsToken *out, Diag *diag);
// Is this the kind of key that the token's algorithm is for?
bool jws_fits(const JwsToken *token, const EVP_PKEY *key);
MUST_USE Err jws_token_verify(const JwsToken *token, EVP_PKEY *key, bool *valid);

// *payload (a C string too) is set whenever it could be decoded, and may be believed only when JWS_VALID.
MUST_USE Err jws_verify(const JwsKeys *keys,
                        Str token,
                        Arena *arena,
                        Str *payload,
                        JwsVerdict *verdict,
                        Diag *diag);
