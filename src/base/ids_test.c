#include "base/ids.h"

#include "base/blake3.h"
#include "base/test.h"

static void expect_derived(Str issuer, Str subject, const char *hex) {
    char text[IDENTITY_HEX_LEN + 1];
    Identity id = identity_derive(issuer, subject);
    identity_hex(&id, text);
    EXPECT_STR(text, hex);
}

TEST(identity, is_derived_as_the_specification_checks_it) {
    expect_derived(STR("localhost"),
                   STR("alice"),
                   "c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d");
}

TEST(identity, carries_a_checksum_like_published_ones) {
    Identity id;
    EXPECT(identity_parse(STR("c200d2c69b4524292b91822afac8ab016c15968ac993c28711f68c6bc40b89d5"),
                          &id));
    uint8_t checked[28], digest[BLAKE3_LEN];
    checked[0] = id.le[31];
    checked[1] = id.le[30];
    for (int i = 0; i < 26; i++) {
        checked[2 + i] = id.le[25 - i];
    }
    blake3(BYTES(checked, sizeof checked), digest);
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ(digest[i], id.le[29 - i]);
    }
}

TEST(identity, parses_what_it_prints_in_either_case_with_or_without_0x) {
    Identity id = identity_derive(STR("iss"), STR("sub")), again;
    char text[2 + IDENTITY_HEX_LEN + 1] = "0x";
    identity_hex(&id, text + 2);
    EXPECT(identity_parse(str_from(text), &again) && identity_eq(&id, &again));
    EXPECT(identity_parse(str_from(text + 2), &again) && identity_eq(&id, &again));
    for (char *c = text + 2; *c; c++) {
        if (*c >= 'a') *c = (char)(*c - 32);
    }
    EXPECT(identity_parse(str_from(text), &again) && identity_eq(&id, &again));
}

TEST(identity, refuses_other_lengths_and_other_characters) {
    Identity id;
    char text[] = "c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d0";
    EXPECT(!identity_parse((Str){text, 65}, &id));
    EXPECT(!identity_parse((Str){text, 63}, &id));
    EXPECT(!identity_parse((Str){text, 62}, &id));
    EXPECT(!identity_parse(STR_NONE, &id));
    EXPECT(!identity_parse(STR("0x"), &id));
    text[10] = 'g';
    EXPECT(!identity_parse((Str){text, 64}, &id));
}

TEST(connection_id, shows_the_most_significant_byte_first) {
    ConnectionId id = {{1}}, again;
    char text[CONNECTION_HEX_LEN + 1];
    connection_id_hex(&id, text);
    EXPECT_STR(text, "00000000000000000000000000000001");
    EXPECT(connection_id_parse(str_from(text), &again) && connection_id_eq(&id, &again));
    EXPECT(!connection_id_parse(STR("0x00000000000000000000000000000001"), &again));
    EXPECT(!connection_id_parse(STR("01"), &again));
}

TEST(connection_id, is_zero_only_when_every_byte_is) {
    ConnectionId id = {{0}};
    EXPECT(connection_id_is_zero(&id));
    for (int i = 0; i < 16; i++) {
        id.le[i] = 0x80;
        EXPECT(!connection_id_is_zero(&id));
        id.le[i] = 0;
    }
}

TEST_MAIN()
