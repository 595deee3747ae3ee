// issuers.c: what is known of foreign issuers.
//
// PICTURE   the life of an issuer's keys
//
//   nothing ──ERR_AGAIN──> the node fetches ──issuers_learn──> keys
//      ^                        └──issuers_failed──> a reason, believed for FAILURE_LIFE
//      │                                              5 min: still used, but asked to be renewed
//      └───────────────────── 2 h: forgotten ─────────┘
//
//   A token that names a key which is not there may be of a new one: the keys are fetched again,
//   at most once in ROTATION_PAUSE.
//
// ALWAYS TRUE
//   (1) Which algorithm is used follows from the kind of the key, never from the token alone: a token
//       that says HS256, none, or the algorithm of another kind of key is refused.
//   (2) At most ISSUERS_MAX issuers are remembered; the one that was not asked for longest leaves. So
//       tokens with invented issuers cost a bounded memory.
//   (3) `lock` guards all of it. No signature is computed under it.
//
// NOT HERE  the network: node/oidc.c.
#include "auth/issuers.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdio.h>

#include "auth/base64url.h"
#include "base/mem.h"

#define ISSUERS_MAX    256
#define KEYS_MAX       64  // of one issuer
#define KID_BYTES_MAX  256
#define RSA_BITS_MIN   2048
#define RSA_BITS_MAX   8192  // more would make a stranger's signature expensive for us
#define SECOND         ((Micros)1000000)
#define FRESH_LIFE     (300 * SECOND)
#define KEYS_LIFE      (7200 * SECOND)
#define FAILURE_LIFE   (10 * SECOND)
#define ROTATION_PAUSE (30 * SECOND)

typedef struct IssuerKey {
    char kid[KID_BYTES_MAX + 1];
    EVP_PKEY *key;
} IssuerKey;

typedef struct Issuer Issuer;
struct Issuer {
    Issuer *next;
    Buf name;
    IssuerKey *keys;
    uint32_t key_count;
    Micros fetched_at;  // the keys; 0: never
    Micros failed_at;   // the last fetch, if that was later; 0: it was not
    Micros asked_at;    // to be renewed
    Micros used_at;
    char why[256];
};

struct Issuers {
    bool any;
    Str *named;  // in `arena`
    uint32_t named_count;
    Arena arena;
    pthread_mutex_t lock;
    Issuer *first;
    uint32_t count;
};

// ── which are allowed ──────────────────────────────────────────────────────────────────────────

static Str without_slash(Str issuer) {
    while (issuer.len && issuer.ptr[issuer.len - 1] == '/')
        issuer.len--;
    return issuer;
}

Err issuers_open(const AuthIssuers *allowed, Issuers **out, Diag *diag) {
    Issuers *issuers = MEM_NEW(Issuers);
    if (!issuers) return ERR_NOMEM;
    pthread_mutex_init(&issuers->lock, NULL);
    issuers->any = allowed->any;
    issuers->named = arena_array(&issuers->arena, Str, allowed->count + 1);
    Err err = issuers->named ? OK : ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < allowed->count; i++) {
        Str name = allowed->named[i];
        if (!str_starts(name, STR("https://")) && !str_starts(name, STR("http://"))) {
            err = diag_fail(diag,
                            ERR_INVALID,
                            "an issuer is an address that begins with https://, not `" STR_FMT "`",
                            STR_ARG(name));
            break;
        }
        Str kept = arena_str(&issuers->arena, without_slash(name));
        if (!kept.ptr) err = ERR_NOMEM;
        issuers->named[issuers->named_count++] = kept;
    }
    if (err != OK) {
        issuers_close(&issuers);
        return err;
    }
    *out = issuers;
    return OK;
}

static void keys_free(Issuer *issuer) {
    for (uint32_t i = 0; i < issuer->key_count; i++)
        EVP_PKEY_free(issuer->keys[i].key);
    mem_free(issuer->keys);
    issuer->keys = NULL;
    issuer->key_count = 0;
}

static void issuer_free(Issuer *issuer) {
    keys_free(issuer);
    buf_deinit(&issuer->name);
    mem_free(issuer);
}

void issuers_close(Issuers **issuers_ptr) {
    Issuers *issuers = *issuers_ptr;
    if (!issuers) return;
    *issuers_ptr = NULL;
    while (issuers->first) {
        Issuer *gone = issuers->first;
        issuers->first = gone->next;
        issuer_free(gone);
    }
    arena_deinit(&issuers->arena);
    pthread_mutex_destroy(&issuers->lock);
    mem_free(issuers);
}

bool issuers_trust(const Issuers *issuers, Str issuer) {
    for (uint32_t i = 0; i < issuers->named_count; i++)
        if (str_eq(issuers->named[i], without_slash(issuer))) return true;
    return false;
}

bool issuers_allow(const Issuers *issuers, Str issuer) {
    if (issuers_trust(issuers, issuer)) return true;
    return issuers->any && str_starts(issuer, STR("https://"));
}

// ── the table ──────────────────────────────────────────────────────────────────────────────────

static Issuer *find(Issuers *issuers, Str name) {
    for (Issuer *i = issuers->first; i; i = i->next)
        if (str_eq(bytes_str(buf_bytes(&i->name)), name)) return i;
    return NULL;
}

static void forget_oldest(Issuers *issuers) {
    Issuer **oldest = &issuers->first;
    for (Issuer **at = &issuers->first; *at; at = &(*at)->next)
        if ((*at)->used_at < (*oldest)->used_at) oldest = at;
    Issuer *gone = *oldest;
    *oldest = gone->next;
    issuer_free(gone);
    issuers->count--;
}

static Issuer *find_or_add(Issuers *issuers, Str name, Micros now) {
    Issuer *issuer = find(issuers, name);
    if (issuer) return issuer;
    issuer = MEM_NEW(Issuer);
    if (!issuer) return NULL;
    buf_put_str(&issuer->name, name);
    if (!buf_ok(&issuer->name)) {
        issuer_free(issuer);
        return NULL;
    }
    if (issuers->count == ISSUERS_MAX) forget_oldest(issuers);
    issuer->used_at = now;
    issuer->next = issuers->first;
    issuers->first = issuer;
    issuers->count++;
    return issuer;
}

// ── keys: JSON Web Keys as OpenSSL's ───────────────────────────────────────────────────────────

typedef struct Number {
    uint8_t bytes[RSA_BITS_MAX / 8 + 8];
    size_t len;
} Number;

static bool number_read(const json_t *jwk, const char *member, Number *out) {
    const char *text = json_string_value(json_object_get(jwk, member));
    if (!text) return false;
    Str encoded = str_from(text);
    if (base64url_decoded_max(encoded.len) > sizeof out->bytes) return false;
    return base64url_decode(encoded, out->bytes, &out->len) && out->len > 0;
}

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *builder) {
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    bool ok = params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return ok ? key : NULL;
}

static EVP_PKEY *rsa_key(const json_t *jwk) {
    Number n, e;
    if (!number_read(jwk, "n", &n) || !number_read(jwk, "e", &e) || e.len > 8) return NULL;
    BIGNUM *modulus = BN_bin2bn(n.bytes, (int)n.len, NULL);
    BIGNUM *exponent = BN_bin2bn(e.bytes, (int)e.len, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (modulus && exponent && builder && BN_num_bits(modulus) >= RSA_BITS_MIN &&
        BN_num_bits(modulus) <= RSA_BITS_MAX &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = key_from("RSA", builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *p256_key(const json_t *jwk) {
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    Number x, y;
    if (!curve || strcmp(curve, "P-256") != 0) return NULL;
    if (!number_read(jwk, "x", &x) || !number_read(jwk, "y", &y)) return NULL;
    if (x.len != 32 || y.len != 32) return NULL;
    uint8_t point[65] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x.bytes, 32);
    memcpy(point + 33, y.bytes, 32);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (builder &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
            1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) ==
            1)
        key = key_from("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

// NULL: not a key that signs tokens in a way we know. Such keys are passed over, as RFC 7517 §5 says.
static EVP_PKEY *key_read(const json_t *jwk) {
    const char *type = json_string_value(json_object_get(jwk, "kty"));
    const char *use = json_string_value(json_object_get(jwk, "use"));
    if (!type || (use && strcmp(use, "sig") != 0)) return NULL;
    EVP_PKEY *key = strcmp(type, "RSA") == 0  ? rsa_key(jwk)
                    : strcmp(type, "EC") == 0 ? p256_key(jwk)
                                              : NULL;
    ERR_clear_error();
    return key;
}

static void keys_read(const json_t *list, Issuer *into) {
    size_t at;
    json_t *jwk;
    json_array_foreach((json_t *)(uintptr_t)list, at, jwk) {
        const char *kid = json_string_value(json_object_get(jwk, "kid"));
        if (!kid || strlen(kid) > KID_BYTES_MAX || into->key_count == KEYS_MAX) continue;
        EVP_PKEY *key = key_read(jwk);
        if (!key) continue;
        IssuerKey *slot = &into->keys[into->key_count++];
        slot->key = key;
        snprintf(slot->kid, sizeof slot->kid, "%s", kid);
    }
}

Err issuers_learn(Issuers *issuers, Str issuer, Str jwks, Micros now, Diag *diag) {
    json_error_t error;
    json_t *json = json_loadb(jwks.ptr, jwks.len, 0, &error);
    const json_t *list = json_object_get(json, "keys");
    Issuer fresh = {.keys = mem_zalloc(KEYS_MAX * sizeof(IssuerKey))};
    Err err = fresh.keys ? OK : ERR_NOMEM;
    if (err == OK && !json_is_array(list))
        err = diag_fail(diag, ERR_INVALID, "its keys are not a JSON Web Key Set");
    if (err == OK) {
        keys_read(list, &fresh);
        if (fresh.key_count == 0)
            err = diag_fail(diag, ERR_INVALID, "it has no RSA or P-256 key with a key ID");
    }
    json_decref(json);
    pthread_mutex_lock(&issuers->lock);
    Issuer *known = err == OK ? find_or_add(issuers, issuer, now) : NULL;
    if (known) {
        keys_free(known);
        known->keys = fresh.keys;
        known->key_count = fresh.key_count;
        known->fetched_at = known->asked_at = now;
        known->failed_at = 0;
    }
    pthread_mutex_unlock(&issuers->lock);
    if (known) return OK;
    keys_free(&fresh);
    return err == OK ? ERR_NOMEM : err;
}

void issuers_failed(Issuers *issuers, Str issuer, const char *why, Micros now) {
    pthread_mutex_lock(&issuers->lock);
    Issuer *known = find_or_add(issuers, issuer, now);
    if (known) {
        known->failed_at = now;
        snprintf(known->why, sizeof known->why, "%s", why);
    }
    pthread_mutex_unlock(&issuers->lock);
}

// ── a token ────────────────────────────────────────────────────────────────────────────────────

typedef struct Candidates {  // keys that were looked up, each with a reference of ours
    EVP_PKEY *keys[KEYS_MAX];
    uint32_t count;
} Candidates;

static Err refuse_unreachable(const Issuer *known, Str issuer, Diag *diag) {
    return diag_fail(diag,
                     ERR_UNAUTHENTICATED,
                     "Error fetching public key for issuer " STR_FMT ": %s",
                     STR_ARG(issuer),
                     known->why);
}

static Err candidates_take(Issuer *known, const JwsToken *token, Candidates *out) {
    for (uint32_t i = 0; i < known->key_count; i++) {
        if (token->kid.ptr && !str_eq(str_from(known->keys[i].kid), token->kid)) continue;
        if (EVP_PKEY_up_ref(known->keys[i].key) != 1) return ERR_NOMEM;
        out->keys[out->count++] = known->keys[i].key;
    }
    return OK;
}

static Err look_up(Issuers *issuers,
                   Str issuer,
                   const JwsToken *token,
                   Micros now,
                   bool *renew,
                   Candidates *out,
                   Diag *diag) {
    Issuer *known = find(issuers, issuer);
    if (known) known->used_at = now;
    bool failed = known && known->failed_at && now < known->failed_at + FAILURE_LIFE;
    if (!known || !known->fetched_at || now >= known->fetched_at + KEYS_LIFE)
        return failed ? refuse_unreachable(known, issuer, diag) : ERR_AGAIN;
    *renew = now >= known->fetched_at + FRESH_LIFE && now >= known->asked_at + ROTATION_PAUSE;
    if (*renew) known->asked_at = now;
    Err err = candidates_take(known, token, out);
    if (err != OK || out->count) return err;
    if (!failed && now >= known->asked_at + ROTATION_PAUSE) {
        known->asked_at = now;
        return ERR_AGAIN;
    }
    return diag_fail(diag, ERR_UNAUTHENTICATED, "Specified key ID not found in JWKs");
}

Err issuers_verify(Issuers *issuers,
                   Str issuer,
                   const JwsToken *token,
                   Micros now,
                   bool *renew,
                   Diag *diag) {
    Candidates candidates = {.count = 0};
    *renew = false;
    pthread_mutex_lock(&issuers->lock);
    Err err = look_up(issuers, issuer, token, now, renew, &candidates, diag);
    pthread_mutex_unlock(&issuers->lock);
    bool valid = false, fits = false;
    for (uint32_t i = 0; i < candidates.count; i++) {
        bool kind = jws_fits(token, candidates.keys[i]);
        fits |= kind;
        if (err == OK && !valid && kind) err = jws_token_verify(token, candidates.keys[i], &valid);
        EVP_PKEY_free(candidates.keys[i]);
    }
    if (err != OK || valid) return err;
    return diag_fail(diag,
                     ERR_UNAUTHENTICATED,
                     "Invalid token: %s",
                     fits ? "InvalidSignature" : "InvalidAlgorithm");
}
