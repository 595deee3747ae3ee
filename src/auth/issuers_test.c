// issuers_test.c: keys of foreign issuers, made here, and what tokens do with them.
#include "auth/issuers.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "auth/base64url.h"
#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"

#define SECOND ((Micros)1000000)

#define ISSUER STR("https://login.example.com/")
static const Micros now = 1767225600000000;
static Sim *sim;
static Auth *auth;
static Arena arena;
static Diag diag;
static EVP_PKEY *rsa, *ec, *other;

static void begin_with(AuthIssuers issuers) {
    EXPECT_OK(sim_new(1, &sim));
    AuthOptions options = {.io = sim_io(sim),
                           .key_dir = "keys",
                           .issuer = STR("localhost"),
                           .issuers = issuers};
    EXPECT_OK(auth_open(&options, &auth, &diag));
    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    other = EVP_EC_gen("P-256");
    EXPECT(rsa && ec && other);
}

static void begin(void) {
    begin_with((AuthIssuers){.any = true});
}

static void finish(void) {
    auth_close(&auth);
    sim_free(&sim);
    arena_deinit(&arena);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(other);
}

// ── key sets and tokens ────────────────────────────────────────────────────────────────────────

static void put_number(Buf *out,
                       const EVP_PKEY *key,
                       const char *param,
                       const char *member,
                       int width) {
    BIGNUM *number = NULL;
    uint8_t bytes[512];
    EXPECT_EQ(EVP_PKEY_get_bn_param(key, param, &number), 1);
    int len = width ? width : BN_num_bytes(number);
    EXPECT_EQ(BN_bn2binpad(number, bytes, len), len);
    BN_free(number);
    buf_printf(out, ",\"%s\":\"", member);
    base64url_append(out, BYTES(bytes, (size_t)len));
    buf_put_str(out, STR("\""));
}

static void put_key(Buf *out, const EVP_PKEY *key, const char *kid, const char *extra) {
    bool is_rsa = EVP_PKEY_is_a(key, "RSA");
    buf_printf(out, "%s{\"kty\":\"%s\"%s", out->len ? "," : "", is_rsa ? "RSA" : "EC", extra);
    if (kid) buf_printf(out, ",\"kid\":\"%s\"", kid);
    if (is_rsa) {
        put_number(out, key, OSSL_PKEY_PARAM_RSA_N, "n", 0);
        put_number(out, key, OSSL_PKEY_PARAM_RSA_E, "e", 0);
    } else {
        buf_put_str(out, STR(",\"crv\":\"P-256\""));
        put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, "x", 32);
        put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", 32);
    }
    buf_put_str(out, STR("}"));
}

static Str key_set(const Buf *keys) {
    return arena_printf(&arena,
                        "{\"keys\":[" STR_FMT "]}",
                        (int)keys->len,
                        (const char *)keys->ptr);
}

// rsa as "r1" and ec as "e1".
static Str both_keys(void) {
    Buf keys = {0};
    put_key(&keys, rsa, "r1", ",\"use\":\"sig\"");
    put_key(&keys, ec, "e1", "");
    Str set = key_set(&keys);
    buf_deinit(&keys);
    return set;
}

static void learn(Str set, Micros at) {
    EXPECT_OK(auth_issuer_learn(auth, ISSUER, set, at, &diag));
}

static Str token_of(EVP_PKEY *key, const char *header, const char *payload) {
    Buf text = {0};
    uint8_t signature[512];
    size_t len = sizeof signature;
    base64url_append(&text, BYTES(header, strlen(header)));
    buf_put_u8(&text, '.');
    base64url_append(&text, BYTES(payload, strlen(payload)));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EXPECT_EQ(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    EXPECT_EQ(EVP_DigestSign(ctx, signature, &len, text.ptr, text.len), 1);
    EVP_MD_CTX_free(ctx);
    if (EVP_PKEY_is_a(key, "EC")) {
        const uint8_t *der = signature;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
        BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + 32, 32);
        ECDSA_SIG_free(pair);
        len = 64;
    }
    buf_put_u8(&text, '.');
    base64url_append(&text, BYTES(signature, len));
    Str token = arena_str(&arena, bytes_str(buf_bytes(&text)));
    buf_deinit(&text);
    return token;
}

#define CLAIMS \
    "{\"iss\":\"https://login.example.com/\",\"sub\":\"ada\",\"iat\":1767225600,\"aud\":\"x\"}"
#define RS256 "{\"alg\":\"RS256\",\"kid\":\"r1\"}"
#define ES256 "{\"alg\":\"ES256\",\"kid\":\"e1\"}"

static Err verify_at(Str token, Micros at, AuthClaims *claims) {
    diag_clear(&diag);
    return auth_verify(auth, token, at, &arena, claims, &diag);
}

static void expect_refused(Str token, const char *why) {
    AuthClaims claims;
    EXPECT_ERR(verify_at(token, now, &claims), ERR_UNAUTHENTICATED);
    if (!strstr(diag.text, why)) print_error("got: %s\n", diag.text);
    EXPECT(strstr(diag.text, why) != NULL);
}

TEST(issuers, a_token_waits_for_keys_and_then_names_the_identity_of_issuer_and_subject) {
    begin();
    AuthClaims claims = {0};
    Str token = token_of(rsa, RS256, CLAIMS);
    EXPECT_ERR(verify_at(token, now, &claims), ERR_AGAIN);
    EXPECT(str_eq(claims.issuer, ISSUER));
    learn(both_keys(), now);
    EXPECT_OK(verify_at(token, now, &claims));
    Identity expected = identity_derive(ISSUER, STR("ada"));
    EXPECT(identity_eq(&claims.identity, &expected));
    EXPECT(!claims.renew);
    EXPECT_OK(verify_at(token_of(ec, ES256, CLAIMS), now, &claims));
    EXPECT(identity_eq(&claims.identity, &expected));
    finish();
}

TEST(issuers, a_token_without_a_key_id_is_tried_with_every_key_that_fits) {
    begin();
    AuthClaims claims;
    learn(both_keys(), now);
    EXPECT_OK(verify_at(token_of(ec, "{\"alg\":\"ES256\"}", CLAIMS), now, &claims));
    EXPECT_OK(verify_at(token_of(rsa, "{\"alg\":\"RS256\"}", CLAIMS), now, &claims));
    expect_refused(token_of(other, "{\"alg\":\"ES256\"}", CLAIMS), "InvalidSignature");
    finish();
}

TEST(issuers, what_is_not_signed_by_the_named_key_in_its_own_way_is_refused) {
    begin();
    learn(both_keys(), now);
    expect_refused(token_of(other, ES256, CLAIMS), "InvalidSignature");
    expect_refused(token_of(ec, "{\"alg\":\"ES256\",\"kid\":\"r1\"}", CLAIMS), "InvalidAlgorithm");
    expect_refused(token_of(rsa, "{\"alg\":\"HS256\",\"kid\":\"r1\"}", CLAIMS), "InvalidAlgorithm");
    expect_refused(token_of(rsa, "{\"alg\":\"none\",\"kid\":\"r1\"}", CLAIMS), "InvalidAlgorithm");
    expect_refused(token_of(rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[\"b64\"]}", CLAIMS),
                   "InvalidToken");
    Str token = token_of(rsa, RS256, CLAIMS);
    char *changed = (char *)(uintptr_t)token.ptr;
    changed[token.len - 5] = changed[token.len - 5] == 'A' ? 'B' : 'A';
    expect_refused(token, "InvalidSignature");
    // Without a signature at all.
    Str bare =
        arena_printf(&arena, STR_FMT, (int)(strrchr(token.ptr, '.') - token.ptr + 1), token.ptr);
    expect_refused(bare, "InvalidSignature");
    finish();
}

TEST(issuers, claims_are_checked_as_those_of_our_own_tokens) {
    begin();
    learn(both_keys(), now);
    const char *head = "{\"iss\":\"https://login.example.com/\"";
    Str no_subject = arena_printf(&arena, "%s,\"iat\":1}", head);
    Str no_time = arena_printf(&arena, "%s,\"sub\":\"a\"}", head);
    Str expired = arena_printf(&arena, "%s,\"sub\":\"a\",\"iat\":1,\"exp\":1767225000}", head);
    expect_refused(token_of(rsa, RS256, no_subject.ptr), "Missing required claim: sub");
    expect_refused(token_of(rsa, RS256, no_time.ptr), "missing field `iat`");
    expect_refused(token_of(rsa, RS256, expired.ptr), "ExpiredSignature");
    finish();
}

TEST(issuers, an_unknown_key_id_asks_for_the_keys_again_but_not_at_every_token) {
    begin();
    AuthClaims claims;
    Str token = token_of(other, "{\"alg\":\"ES256\",\"kid\":\"e2\"}", CLAIMS);
    learn(both_keys(), now);
    expect_refused(token, "Specified key ID not found in JWKs");
    EXPECT_ERR(verify_at(token, now + 31 * SECOND, &claims), ERR_AGAIN);
    learn(both_keys(), now + 31 * SECOND);
    EXPECT_ERR(verify_at(token, now + 32 * SECOND, &claims), ERR_UNAUTHENTICATED);
    Buf keys = {0};
    put_key(&keys, other, "e2", "");
    EXPECT_ERR(verify_at(token, now + 62 * SECOND, &claims), ERR_AGAIN);
    learn(key_set(&keys), now + 62 * SECOND);
    EXPECT_OK(verify_at(token, now + 62 * SECOND, &claims));
    // The old keys went with the set that they were in.
    EXPECT_ERR(verify_at(token_of(ec, ES256, CLAIMS), now + 62 * SECOND, &claims),
               ERR_UNAUTHENTICATED);
    buf_deinit(&keys);
    finish();
}

TEST(issuers, keys_are_renewed_after_minutes_and_forgotten_after_hours) {
    begin();
    AuthClaims claims;
    Str token = token_of(rsa, RS256, CLAIMS);
    learn(both_keys(), now);
    EXPECT_OK(verify_at(token, now + 299 * SECOND, &claims));
    EXPECT(!claims.renew);
    EXPECT_OK(verify_at(token, now + 301 * SECOND, &claims));
    EXPECT(claims.renew);
    EXPECT_OK(verify_at(token, now + 302 * SECOND, &claims));
    EXPECT(!claims.renew);  // one was asked already
    auth_issuer_failed(auth, ISSUER, "it is away", now + 303 * SECOND);
    EXPECT_OK(verify_at(token, now + 304 * SECOND, &claims));
    EXPECT_OK(verify_at(token, now + 7199 * SECOND, &claims));
    EXPECT(claims.renew);
    EXPECT_ERR(verify_at(token, now + 7200 * SECOND, &claims), ERR_AGAIN);
    finish();
}

TEST(issuers, a_failed_fetch_is_remembered_for_seconds) {
    begin();
    AuthClaims claims;
    Str token = token_of(rsa, RS256, CLAIMS);
    auth_issuer_failed(auth, ISSUER, "it is away", now);
    expect_refused(token,
                   "Error fetching public key for issuer https://login.example.com/: it is away");
    EXPECT_ERR(verify_at(token, now + 10 * SECOND, &claims), ERR_AGAIN);
    finish();
}

TEST(issuers, which_are_accepted_is_the_administrators_choice) {
    Str named[] = {STR("https://login.example.com"), STR("http://10.0.0.1:8080/realm")};
    begin_with((AuthIssuers){.named = named, .count = 2});
    AuthClaims claims;
    EXPECT_ERR(verify_at(token_of(rsa, RS256, CLAIMS), now, &claims), ERR_AGAIN);
    EXPECT(auth_issuer_trusted(auth, STR("http://10.0.0.1:8080/realm/")));
    EXPECT(!auth_issuer_trusted(auth, STR("http://10.0.0.1:8080/")));
    expect_refused(
        token_of(rsa, RS256, "{\"iss\":\"https://evil.example\",\"sub\":\"a\",\"iat\":1}"),
        "does not accept tokens of the issuer https://evil.example");
    finish();
    begin_with((AuthIssuers){0});
    expect_refused(token_of(rsa, RS256, CLAIMS), "does not accept tokens");
    finish();
    begin();
    expect_refused(
        token_of(rsa, RS256, "{\"iss\":\"http://evil.example\",\"sub\":\"a\",\"iat\":1}"),
        "does not accept tokens");
    EXPECT(!auth_issuer_trusted(auth, ISSUER));
    finish();
}

TEST(issuers, key_sets_that_hold_nothing_usable_are_refused_and_odd_keys_passed_over) {
    begin();
    Str bad[] = {
        STR(""),
        STR("[]"),
        STR("{\"keys\":{}}"),
        STR("{\"keys\":[]}"),
        STR("{\"keys\":[1,null,{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}]}"),
        STR("{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}"),
        STR("{\"keys\":[{\"kty\":\"EC\",\"kid\":\"a\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_ERR(auth_issuer_learn(auth, ISSUER, bad[i], now, &diag), ERR_INVALID);
    Buf keys = {0};
    AuthClaims claims;
    put_key(&keys, other, "enc", ",\"use\":\"enc\"");
    put_key(&keys, rsa, NULL, "");
    put_key(&keys, ec, "e1", "");
    learn(key_set(&keys), now);
    EXPECT_OK(verify_at(token_of(ec, ES256, CLAIMS), now, &claims));
    EXPECT_ERR(verify_at(token_of(rsa, RS256, CLAIMS), now, &claims), ERR_UNAUTHENTICATED);
    EXPECT_ERR(
        verify_at(token_of(other, "{\"alg\":\"ES256\",\"kid\":\"enc\"}", CLAIMS), now, &claims),
        ERR_UNAUTHENTICATED);
    buf_deinit(&keys);
    finish();
}

TEST(issuers, invented_issuers_cost_a_bounded_memory) {
    begin();
    AuthClaims claims;
    learn(both_keys(), now);
    Str token = token_of(rsa, RS256, CLAIMS);
    for (int i = 0; i < 600; i++) {
        Str name = arena_printf(&arena, "https://%d.example", i);
        auth_issuer_failed(auth, name, "nobody", now + i * SECOND / 100);
        EXPECT_OK(verify_at(token, now + i * SECOND / 100, &claims));  // who is used stays
    }
    finish();
}

TEST(issuers, a_token_signed_again_by_us_keeps_its_foreign_issuer) {
    begin();
    AuthClaims claims, again;
    Str token;
    learn(both_keys(), now);
    EXPECT_OK(verify_at(token_of(rsa, RS256, CLAIMS), now, &claims));
    EXPECT_OK(auth_reissue(auth, &claims, now, &arena, &token, &diag));
    auth_issuer_failed(auth, ISSUER, "it is away", now + 7300 * SECOND);
    EXPECT_OK(verify_at(token, now + 50 * SECOND, &again));
    EXPECT(identity_eq(&claims.identity, &again.identity));
    EXPECT(again.issuer.ptr == NULL);
    EXPECT_ERR(verify_at(token, now + 130 * SECOND, &again), ERR_UNAUTHENTICATED);
    finish();
}

TEST(issuers, every_allocation_may_fail) {
    begin();
    Str set = both_keys(), token = token_of(rsa, RS256, CLAIMS);
    for (int64_t n = 0;; n++) {
        Auth *fresh = NULL;
        AuthClaims claims;
        Arena scratch = {0};
        AuthOptions options = {.io = sim_io(sim),
                               .key_dir = "keys",
                               .issuer = STR("localhost"),
                               .issuers = {.any = true}};
        mem_fault_arm(n);
        Err err = auth_open(&options, &fresh, &diag);
        if (err == OK) err = auth_issuer_learn(fresh, ISSUER, set, now, &diag);
        if (err == OK) err = auth_verify(fresh, token, now, &scratch, &claims, &diag);
        mem_fault_arm(-1);
        if (fresh) auth_close(&fresh);
        arena_deinit(&scratch);
        if (err == OK) break;
        EXPECT(n < 1000);
    }
    finish();
}

TEST_MAIN()
