#include "auth/auth.h"

#include <sys/stat.h>

#include "auth/base64url.h"
#include "auth/jws.h"
#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"

static Sim *sim;
static Auth *auth;
static Arena arena;
static Diag diag;
static const Micros now = 1767225600000000;
static const int64_t now_seconds = 1767225600;

static Err open_auth(Auth **out) {
    AuthOptions options = {.io = sim_io(sim), .key_dir = "keys", .issuer = STR("localhost")};
    diag_clear(&diag);
    return auth_open(&options, out, &diag);
}

static void begin(void) {
    EXPECT_OK(sim_new(1, &sim));
    EXPECT_OK(open_auth(&auth));
}

static void finish(void) {
    auth_close(&auth);
    sim_free(&sim);
    arena_deinit(&arena);
}

// A token with any payload, signed with the server's own key.
static Str signed_token(Str payload) {
    AuthOptions options = {.io = sim_io(sim), .key_dir = "keys"};
    JwsKeys keys = {0};
    Str token;
    EXPECT_OK(jws_keys_open(&options, &keys, &diag));
    EXPECT_OK(jws_sign(&keys, payload, &arena, &token));
    jws_keys_close(&keys);
    return token;
}

static Err verify(Str token, AuthClaims *out) {
    diag_clear(&diag);
    return auth_verify(auth, token, now, &arena, out, &diag);
}

static void expect_refused(Str token, const char *text) {
    AuthClaims claims;
    EXPECT_ERR(verify(token, &claims), ERR_UNAUTHENTICATED);
    if (!strstr(diag.text, text)) print_error("got: %s\n", diag.text);
    EXPECT(strstr(diag.text, text) != NULL);
}

static void expect_claims_refused(const char *payload, const char *text) {
    expect_refused(signed_token(str_from(payload)), text);
}

static AuthClaims expect_accepted(Str payload) {
    AuthClaims claims;
    Err err = verify(signed_token(payload), &claims);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    return claims;
}

TEST(auth, accepts_what_it_minted) {
    begin();
    AuthClaims minted, seen;
    EXPECT_OK(auth_mint(auth, now, &arena, &minted, &diag));
    EXPECT_OK(verify(minted.token, &seen));
    EXPECT(identity_eq(&minted.identity, &seen.identity));
    EXPECT(str_eq(minted.payload, seen.payload));
    EXPECT(str_eq(minted.token, seen.token));
    EXPECT_EQ(seen.expires, INT64_MAX);
    AuthClaims other;
    EXPECT_OK(auth_mint(auth, now, &arena, &other, &diag));
    EXPECT(!identity_eq(&minted.identity, &other.identity));
    finish();
}

TEST(auth, mints_claims_in_the_specified_order) {
    begin();
    AuthClaims minted;
    EXPECT_OK(auth_mint(auth, now, &arena, &minted, &diag));
    char hex[IDENTITY_HEX_LEN + 1], subject[37];
    identity_hex(&minted.identity, hex);
    const char *sub = strstr(minted.payload.ptr, "\"sub\":\"");
    EXPECT(sub != NULL);
    memcpy(subject, sub + 7, 36);
    subject[36] = 0;
    EXPECT(subject[8] == '-' && subject[13] == '-' && subject[14] == '4' && subject[18] == '-');
    EXPECT(strchr("89ab", subject[19]) != NULL);
    Str expected = arena_printf(&arena,
                                "{\"hex_identity\":\"%s\",\"sub\":\"%s\",\"iss\":\"localhost\","
                                "\"aud\":[\"spacetimedb\"],\"iat\":1767225600,\"exp\":null}",
                                hex,
                                subject);
    EXPECT_STR(minted.payload.ptr, expected.ptr);
    EXPECT(str_starts(minted.token, STR("eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.")));
    Identity derived = identity_derive(STR("localhost"), str_from(subject));
    EXPECT(identity_eq(&derived, &minted.identity));
    finish();
}

TEST(auth, keeps_its_keys_between_starts) {
    begin();
    AuthClaims minted, seen;
    EXPECT_OK(auth_mint(auth, now, &arena, &minted, &diag));
    auth_close(&auth);
    sim_disk_reboot(sim, 3);
    EXPECT_OK(open_auth(&auth));
    EXPECT_OK(verify(minted.token, &seen));
    Bytes pem = auth_public_key_pem(auth);
    EXPECT(str_starts(bytes_str(pem), STR("-----BEGIN PUBLIC KEY-----\n")));
    Buf file = {0};
    EXPECT_OK(io_read_file(sim_io(sim), "keys/id_ecdsa.pub", 10000, &file));
    EXPECT_BYTES(pem, buf_bytes(&file));
    buf_clear(&file);
    EXPECT_OK(io_read_file(sim_io(sim), "keys/id_ecdsa", 10000, &file));
    EXPECT(str_starts(bytes_str(buf_bytes(&file)), STR("-----BEGIN PRIVATE KEY-----\n")));
    buf_deinit(&file);
    finish();
}

TEST(auth, takes_explicit_key_paths) {
    begin();
    AuthClaims minted, seen;
    EXPECT_OK(auth_mint(auth, now, &arena, &minted, &diag));
    auth_close(&auth);
    AuthOptions options = {
        .io = sim_io(sim),
        .private_path = "keys/id_ecdsa",
        .public_path = "keys/id_ecdsa.pub",
        .issuer = STR("localhost"),
    };
    EXPECT_OK(auth_open(&options, &auth, &diag));
    EXPECT_OK(verify(minted.token, &seen));
    finish();
}

TEST(auth, keeps_the_private_key_from_other_users) {
    char dir[64] = "/tmp/lightcone-auth-XXXXXX", path[IO_PATH_MAX];
    EXPECT(mkdtemp(dir) != NULL);
    AuthOptions options = {.io = io_real(), .key_dir = dir, .issuer = STR("localhost")};
    EXPECT_OK(auth_open(&options, &auth, &diag));
    auth_close(&auth);
    struct stat st;
    EXPECT_OK(path_join(path, dir, "id_ecdsa"));
    EXPECT_EQ(stat(path, &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600);
    remove(path);
    EXPECT_OK(path_join(path, dir, "id_ecdsa.pub"));
    EXPECT_EQ(stat(path, &st), 0);
    EXPECT_EQ(st.st_mode & 0044, 0044);
    remove(path);
    remove(dir);
}

TEST(auth, does_not_start_with_half_a_key_pair) {
    begin();
    const Io *io = sim_io(sim);
    Auth *other = NULL;
    EXPECT_OK(io->file_rename(io->world, "keys/id_ecdsa.pub", "keys/aside"));
    EXPECT_ERR(open_auth(&other), ERR_INVALID);
    EXPECT(strstr(diag.text, "Unable to read public key for JWT token verification") != NULL);
    EXPECT_OK(io->file_rename(io->world, "keys/aside", "keys/id_ecdsa.pub"));
    EXPECT_OK(io->file_rename(io->world, "keys/id_ecdsa", "keys/aside"));
    EXPECT_ERR(open_auth(&other), ERR_INVALID);
    EXPECT(strstr(diag.text, "Unable to read private key for JWT token signing") != NULL);
    finish();
}

TEST(auth, does_not_start_with_keys_that_do_not_fit) {
    begin();
    const Io *io = sim_io(sim);
    Auth *other = NULL;
    EXPECT_OK(io_replace_file(io, "keys/id_ecdsa", BYTES("garbage", 7), true));
    EXPECT_ERR(open_auth(&other), ERR_INVALID);
    AuthOptions options = {.io = io, .key_dir = "others", .issuer = STR("localhost")};
    EXPECT_OK(auth_open(&options, &other, &diag));
    auth_close(&other);
    EXPECT_OK(io->file_rename(io->world, "others/id_ecdsa", "keys/id_ecdsa"));
    EXPECT_ERR(open_auth(&other), ERR_INVALID);
    EXPECT(strstr(diag.text, "do not belong together") != NULL);
    finish();
}

TEST(auth, refuses_a_token_changed_anywhere) {
    begin();
    AuthClaims minted, seen;
    EXPECT_OK(auth_mint(auth, now, &arena, &minted, &diag));
    char token[1024];
    EXPECT(minted.token.len <= sizeof token);
    memcpy(token, minted.token.ptr, minted.token.len);
    size_t accepted = 0;
    for (size_t i = 0; i < minted.token.len; i++) {
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        accepted += verify((Str){token, minted.token.len}, &seen) == OK;
        EXPECT(str_starts(str_from(diag.text), STR("Invalid token: ")));
        token[i] = kept;
    }
    EXPECT_EQ(accepted, 0);
    for (size_t len = 0; len < minted.token.len; len++) {
        EXPECT_ERR(verify((Str){token, len}, &seen), ERR_UNAUTHENTICATED);
    }
    EXPECT_OK(verify((Str){token, minted.token.len}, &seen));
    finish();
}

TEST(auth, refuses_another_servers_token) {
    begin();
    AuthOptions options = {.io = sim_io(sim), .key_dir = "others", .issuer = STR("localhost")};
    Auth *other = NULL;
    AuthClaims minted;
    EXPECT_OK(auth_open(&options, &other, &diag));
    EXPECT_OK(auth_mint(other, now, &arena, &minted, &diag));
    expect_refused(minted.token, "Invalid token: InvalidSignature");
    auth_close(&other);
    options.issuer = STR("https://elsewhere.example");
    EXPECT_OK(auth_open(&options, &other, &diag));
    EXPECT_OK(auth_mint(other, now, &arena, &minted, &diag));
    expect_refused(minted.token, "issuer https://elsewhere.example");
    auth_close(&other);
    finish();
}

static Str token_of(const char *header, const char *payload, const char *signature) {
    Buf text = {0};
    base64url_append(&text, str_bytes(str_from(header)));
    buf_put_u8(&text, '.');
    base64url_append(&text, str_bytes(str_from(payload)));
    buf_put_u8(&text, '.');
    buf_put_str(&text, str_from(signature));
    Str token = arena_str(&arena, bytes_str(buf_bytes(&text)));
    buf_deinit(&text);
    return token;
}

TEST(auth, refuses_every_other_algorithm) {
    begin();
    const char *payload = "{\"iss\":\"localhost\",\"sub\":\"alice\",\"iat\":1}";
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
        "{\"alg\":7}",
        "{\"typ\":\"JWT\"}",
        "[\"ES256\"]",
    };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        expect_refused(token_of(headers[i], payload, ""), "Invalid token: InvalidAlgorithm");
    }
    expect_refused(token_of("{\"alg\":\"ES256\"}", payload, ""), "InvalidSignature");
    expect_refused(token_of("{\"alg\":\"RS256\"}", "{\"iss\":\"https://x\",\"sub\":\"a\"}", ""),
                   "issuer https://x");
    finish();
}

TEST(auth, refuses_garbage_in_words) {
    begin();
    expect_refused(STR(""), "Invalid token: InvalidToken");
    expect_refused(STR("abc"), "Invalid token: InvalidToken");
    expect_refused(STR("a.b"), "Invalid token: InvalidToken");
    expect_refused(STR("a.b.c.d"), "Invalid token: InvalidToken");
    expect_refused(STR("..."), "Invalid token: InvalidToken");
    expect_refused(STR(".."), "Invalid token: JSON error");
    expect_refused(STR("!!.e30.x"), "Invalid token: Base64 error");
    expect_refused(STR("e30.!!.x"), "Invalid token: Base64 error");
    expect_refused(STR("eA.e30.x"), "Invalid token: JSON error");  // the header is `x`
    finish();
}

TEST(auth, checks_the_claims) {
    begin();
    expect_claims_refused("{\"iss\":\"i\",\"iat\":1}", "Missing required claim: sub");
    expect_claims_refused("{\"sub\":\"s\",\"iat\":1}", "Missing required claim: iss");
    expect_claims_refused("{\"sub\":null,\"iss\":\"i\",\"iat\":1}", "Missing required claim: sub");
    expect_claims_refused("{\"sub\":5,\"iss\":\"i\",\"iat\":1}", "JSON error");
    expect_claims_refused("{\"sub\":\"\",\"iss\":\"i\",\"iat\":1}", "Subject empty");
    expect_claims_refused("{\"sub\":\"s\",\"iss\":\"\",\"iat\":1}", "Issuer empty");
    expect_claims_refused("{\"sub\":\"s\",\"iss\":\"i\"}", "missing field `iat`");
    expect_claims_refused("{\"sub\":\"s\",\"iss\":\"i\",\"iat\":1.5}", "`iat` is not an integer");
    expect_claims_refused("{\"sub\":\"s\",\"iss\":\"i\",\"iat\":1,\"exp\":1e99}", "`exp`");
    expect_claims_refused("{\"sub\":\"s\",\"iss\":\"i\",\"iat\":1,\"aud\":[1]}", "`aud`");
    expect_claims_refused("{\"sub\":\"s\",\"iss\":\"i\",\"iat\":1,\"aud\":{}}", "`aud`");
    expect_claims_refused("{\"sub\":\"s\",\"sub\":\"t\",\"iss\":\"i\",\"iat\":1}", "JSON error");
    expect_claims_refused("[]", "JSON error");
    expect_claims_refused("{", "JSON error");
    expect_claims_refused("", "JSON error");
    finish();
}

TEST(auth, limits_issuer_and_subject_to_128_bytes) {
    begin();
    char name[130];
    memset(name, 'x', sizeof name);
    expect_accepted(arena_printf(&arena, "{\"sub\":\"%.128s\",\"iss\":\"i\",\"iat\":1}", name));
    expect_accepted(arena_printf(&arena, "{\"sub\":\"s\",\"iss\":\"%.128s\",\"iat\":1}", name));
    expect_claims_refused(
        arena_printf(&arena, "{\"sub\":\"%.129s\",\"iss\":\"i\",\"iat\":1}", name).ptr,
        "Subject too long: xxx");
    expect_claims_refused(
        arena_printf(&arena, "{\"sub\":\"s\",\"iss\":\"%.129s\",\"iat\":1}", name).ptr,
        "Issuer too long: xxx");
    finish();
}

static const char *with_exp(int64_t exp) {
    return arena_printf(&arena,
                        "{\"sub\":\"s\",\"iss\":\"i\",\"iat\":1,\"exp\":%lld}",
                        (long long)exp)
        .ptr;
}

TEST(auth, lets_a_token_expire_with_a_minute_of_grace) {
    begin();
    AuthClaims claims = expect_accepted(str_from(with_exp(now_seconds + 5)));
    EXPECT_EQ(claims.expires, (now_seconds + 5) * 1000000);
    expect_accepted(str_from(with_exp(now_seconds - 60)));
    expect_claims_refused(with_exp(now_seconds - 61), "Invalid token: ExpiredSignature");
    expect_claims_refused(with_exp(INT64_MIN), "Invalid token: ExpiredSignature");
    EXPECT_EQ(expect_accepted(str_from(with_exp(INT64_MAX))).expires, INT64_MAX);
    claims = expect_accepted(STR("{\"sub\":\"s\",\"iss\":\"i\",\"iat\":1,\"exp\":null}"));
    EXPECT_EQ(claims.expires, INT64_MAX);
    finish();
}

TEST(auth, derives_the_identity_and_compares_it_with_the_claim) {
    begin();
    static const char hex[] = "c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d";
    Identity alice;
    EXPECT(identity_parse(str_from(hex), &alice));
    AuthClaims claims = expect_accepted(STR("{\"sub\":\"alice\",\"iss\":\"localhost\",\"iat\":1}"));
    EXPECT(identity_eq(&claims.identity, &alice));
    Str payload =
        arena_printf(&arena,
                     "{\"hex_identity\":\"%s\",\"sub\":\"alice\",\"iss\":\"localhost\",\"iat\":1}",
                     hex);
    claims = expect_accepted(payload);
    EXPECT(str_eq(claims.payload, payload));
    payload =
        arena_printf(&arena,
                     "{\"hex_identity\":\"%s\",\"sub\":\"bob\",\"iss\":\"localhost\",\"iat\":1}",
                     hex);
    expect_claims_refused(payload.ptr, "Identity mismatch: token identity Identity(c200356");
    expect_claims_refused("{\"hex_identity\":\"x\",\"sub\":\"b\",\"iss\":\"i\",\"iat\":1}",
                          "JSON error");
    finish();
}

static Str payload_of(Str token) {
    AuthClaims claims;
    EXPECT_OK(verify(token, &claims));
    return claims.payload;
}

TEST(auth, reissues_the_same_claims_for_a_minute) {
    begin();
    AuthClaims claims = expect_accepted(
        STR("{\"iss\":\"i\",\"role\":\"admin\",\"aud\":\"x\",\"sub\":\"s\",\"iat\":1,\"exp\":null,"
            "\"big\":9007199254740993}"));
    Str token;
    EXPECT_OK(auth_reissue(auth, &claims, now, &arena, &token, &diag));
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&claims.identity, hex);
    Str expected = arena_printf(&arena,
                                "{\"hex_identity\":\"%s\",\"sub\":\"s\",\"iss\":\"i\","
                                "\"aud\":[\"x\"],\"iat\":1767225600,\"exp\":1767225660,"
                                "\"role\":\"admin\",\"big\":9007199254740993}",
                                hex);
    EXPECT_STR(payload_of(token).ptr, expected.ptr);
    AuthClaims again;
    EXPECT_OK(verify(token, &again));
    EXPECT(identity_eq(&again.identity, &claims.identity));
    EXPECT_EQ(again.expires, (now_seconds + 60) * 1000000);
    EXPECT_ERR(auth_verify(auth, token, now + 121000000, &arena, &again, &diag),
               ERR_UNAUTHENTICATED);
    finish();
}

TEST(auth, makes_database_identities_of_its_issuer) {
    begin();
    Identity first = auth_new_identity(auth), second = auth_new_identity(auth);
    EXPECT(!identity_eq(&first, &second));
    EXPECT_EQ(first.le[31], 0xc2);
    EXPECT_EQ(first.le[30], 0x00);
    finish();
}

TEST(auth, says_so_when_any_allocation_fails) {
    begin();
    AuthClaims minted, seen;
    Str token;
    EXPECT_OK(auth_mint(auth, now, &arena, &minted, &diag));
    for (int64_t nth = 0;; nth++) {
        Arena small = {0};
        Auth *other = NULL;
        mem_fault_arm(nth);
        Err err = open_auth(&other);
        if (err == OK) err = auth_mint(auth, now, &small, &seen, &diag);
        if (err == OK) err = auth_verify(auth, minted.token, now, &small, &seen, &diag);
        if (err == OK) err = auth_reissue(auth, &seen, now, &small, &token, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        auth_close(&other);
        arena_deinit(&small);
        EXPECT_ERR(err, hit ? ERR_NOMEM : OK);
        if (!hit) {
            EXPECT(nth > 5);
            break;
        }
    }
    finish();
}

// Keys that were written once must be readable after a power loss at any moment; before that,
// another pair is made or the half-made one is reported.
TEST(auth, survives_a_power_cut_while_keys_are_made) {
    for (uint64_t seed = 0; seed < 5; seed++) {
        for (SimOp op = SIM_WRITE; op <= SIM_SYNC; op++) {
            bool cut = true;
            for (uint64_t nth = 0; cut; nth++) {
                EXPECT_OK(sim_new(seed, &sim));
                sim_disk_cut_at(sim, op, nth);
                bool made = open_auth(&auth) == OK;
                cut = sim_disk_is_off(sim);
                auth_close(&auth);
                sim_disk_reboot(sim, seed + nth);
                Err err = open_auth(&auth);
                EXPECT(err == OK || (err == ERR_INVALID && !made));
                finish();
            }
        }
    }
}

TEST_MAIN()
