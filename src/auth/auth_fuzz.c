// Token text as an attacker sends it; and, after an odd first byte, claims as somebody holding the
// key could have signed them. What is accepted must have the identity it names, and survive being
// issued again.
#include "auth/auth.h"
#include "auth/jws.h"
#include "sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Sim *sim;
static Auth *auth;
static JwsKeys keys;
static const Micros now = 1767225600000000;

static void setup(void) {
    Diag diag;
    ASSERT(sim_new(1, &sim) == OK);
    AuthOptions options = {.io = sim_io(sim), .key_dir = "keys", .issuer = STR("localhost")};
    ASSERT(auth_open(&options, &auth, &diag) == OK);
    ASSERT(jws_keys_open(&options, &keys, &diag) == OK);
}

static void accepted(const AuthClaims *claims, Arena *arena) {
    Diag diag;
    Str token;
    AuthClaims again;
    ASSERT(auth_reissue(auth, claims, now, arena, &token, &diag) == OK);
    ASSERT(auth_verify(auth, token, now, arena, &again, &diag) == OK);
    ASSERT(identity_eq(&again.identity, &claims->identity));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!auth) setup();
    if (size < 1) return 0;
    Arena arena = {0};
    Diag diag;
    AuthClaims claims;
    Str token = {(const char *)data + 1, size - 1};
    bool is_signed = data[0] & 1;
    if (is_signed) ASSERT(jws_sign(&keys, token, &arena, &token) == OK);
    Err err = auth_verify(auth, token, now, &arena, &claims, &diag);
    ASSERT(err == OK || err == ERR_UNAUTHENTICATED);
    ASSERT(is_signed || err != OK);  // the key is new in every run
    if (err == OK) accepted(&claims, &arena);
    arena_deinit(&arena);
    return 0;
}
