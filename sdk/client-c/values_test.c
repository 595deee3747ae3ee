// values_test.c: values of C and of generated types as bytes, and back.
#include "client_testing.h"

#include "../../tests/golden/rich-c/rich.c"

static void expect_encoded(const LcType *type, const void *value, const char *hex) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    EXPECT_EQ(lc_encode(type, value, &bytes, &len), LC_OK);
    EXPECT_HEX(BYTES(bytes, len), hex);
    void *copy = NULL;
    EXPECT_EQ(lc_decode(type, bytes, len, &copy), LC_OK);
    uint8_t *again = NULL;
    size_t again_len = 0;
    EXPECT_EQ(lc_encode(type, copy, &again, &again_len), LC_OK);
    EXPECT_BYTES(BYTES(again, again_len), BYTES(bytes, len));
    free(again);
    free(copy);
    free(bytes);
}

TEST(values, are_the_bytes_of_the_specification) {
    LcString text = lc_string("h\xc3\xa9llo");
    expect_encoded(&lc_type_string, &text, "0600000068c3a96c6c6f");
    expect_encoded(&lc_type_bytes, &(LcBytes){(const uint8_t *)"\1\2\xff", 3}, "030000000102ff");
    expect_encoded(&lc_type_bool, &(bool){true}, "01");
    expect_encoded(&lc_type_i32, &(int32_t){-2}, "feffffff");
    expect_encoded(&lc_type_u64, &(uint64_t){0x0102030405060708}, "0807060504030201");
    expect_encoded(&lc_type_f32, &(float){1.5f}, "0000c03f");
    expect_encoded(&lc_type_f64, &(double){-0.0}, "0000000000000080");
    expect_encoded(&lc_type_i128,
                   &(LcI128){{UINT64_MAX - 1, UINT64_MAX}},
                   "feffffffffffffffffffffffffffffff");
    expect_encoded(&lc_type_time_duration, &(LcTimeDuration){-1}, "ffffffffffffffff");
    LcIdentity identity;
    EXPECT(lc_identity_from_hex("c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d",
                                &identity));
    expect_encoded(&lc_type_identity,
                   &identity,
                   "5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2");
    LcScheduleAt at = {.tag = LC_SCHEDULE_INTERVAL, .interval = {5000000}};
    expect_encoded(&lc_type_schedule_at, &at, "00404b4c0000000000");
    at = (LcScheduleAt){.tag = LC_SCHEDULE_TIME, .time = {1000000}};
    expect_encoded(&lc_type_schedule_at, &at, "0140420f0000000000");
    expect_encoded(&rich_shape_type, &(RichShape){.tag = RICH_SHAPE_NOTHING}, "02");
    expect_encoded(&rich_mood_type, &(RichMood){RICH_MOOD_SAD}, "01");
}

static const RichShape some_shapes[] = {{.tag = RICH_SHAPE_CIRCLE, .circle = 2.5},
                                        {.tag = RICH_SHAPE_NOTHING},
                                        {.tag = RICH_SHAPE_RECT, .rect = {1, 2}}};
static const RichMood sad = RICH_MOOD_SAD;
static const RichLoggedOutPlayer player = {.player_id = 7,
                                           .level = 3,
                                           .shapes = {some_shapes, 3},
                                           .mood = &sad,
                                           .avatar = {(const uint8_t *)"png", 3},
                                           .at = {.tag = LC_SCHEDULE_TIME, .time = {5}}};

TEST(values, of_generated_types_come_back_as_they_went) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    void *out = NULL;
    EXPECT_EQ(lc_encode(&rich_logged_out_player_type, &player, &bytes, &len), LC_OK);
    EXPECT_EQ(lc_decode(&rich_logged_out_player_type, bytes, len, &out), LC_OK);
    const RichLoggedOutPlayer *copy = out;
    EXPECT_EQ(copy->player_id, 7);
    EXPECT_EQ(copy->shapes.len, 3);
    EXPECT_EQ(copy->shapes.items[2].tag, RICH_SHAPE_RECT);
    EXPECT(copy->shapes.items[0].circle == 2.5 && copy->shapes.items[2].rect.y == 2);
    EXPECT_EQ(*copy->mood, RICH_MOOD_SAD);
    EXPECT(memcmp(copy->avatar.ptr, "png", 4) == 0);
    EXPECT_EQ(copy->at.time.micros, 5);
    free(out);
    free(bytes);
}

TEST(values, that_end_early_or_late_are_malformed) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    void *out = NULL;
    EXPECT_EQ(lc_encode(&rich_logged_out_player_type, &player, &bytes, &len), LC_OK);
    for (size_t part = 0; part < len; part++) {
        uint8_t *exact = malloc(part + 1);  // so that a sanitizer sees a byte too many
        memcpy(exact, bytes, part);
        EXPECT_EQ(lc_decode(&rich_logged_out_player_type, exact, part, &out), LC_MALFORMED);
        free(exact);
    }
    bytes = realloc(bytes, len + 1);
    bytes[len] = 0;
    EXPECT_EQ(lc_decode(&rich_logged_out_player_type, bytes, len + 1, &out), LC_MALFORMED);
    free(bytes);
}

TEST(values, with_wrong_bytes_are_malformed) {
    void *out = NULL;
    EXPECT_EQ(lc_decode(&lc_type_bool, "\2", 1, &out), LC_MALFORMED);
    EXPECT_EQ(lc_decode(&rich_shape_type, "\3", 1, &out), LC_MALFORMED);
    EXPECT_EQ(lc_decode(&lc_type_never, "\0", 1, &out), LC_MALFORMED);
    EXPECT_EQ(lc_decode(&lc_type_string, "\xff\xff\xff\xff", 4, &out), LC_MALFORMED);
    static const char *const broken[] = {"\xc0\xaf",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "\x80",
                                         "\xe2\x82"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        uint8_t bytes[12] = {(uint8_t)strlen(broken[i])};
        memcpy(bytes + 4, broken[i], bytes[0]);
        EXPECT_EQ(lc_decode(&lc_type_string, bytes, 4u + bytes[0], &out), LC_MALFORMED);
    }
    LcType units = {.kind = LC_ARRAY, .size = sizeof(AnyArray), .element = &lc_type_unit};
    EXPECT_EQ(lc_decode(&units, "\xff\xff\xff\xff", 4, &out), LC_MALFORMED);
}

TEST(values, that_c_cannot_mean_are_refused) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    EXPECT_EQ(lc_encode(&rich_mood_type, &(int){2}, &bytes, &len), LC_BAD_ARGUMENT);
    EXPECT_EQ(lc_encode(&lc_type_string, &(LcString){NULL, 3}, &bytes, &len), LC_BAD_ARGUMENT);
    EXPECT_EQ(lc_encode(&lc_type_never, &(int){0}, &bytes, &len), LC_BAD_ARGUMENT);
}

typedef struct List List;
struct List {
    enum { NIL, CONS } tag;
    union {
        const List *cons;
    };
};
static const LcType list_type;
static const LcField list_fields[] = {
    {"nil", NULL, 0, false},
    {"cons", &list_type, offsetof(List, cons), true},
};
static const LcType list_type = {.kind = LC_SUM,
                                 .size = sizeof(List),
                                 .fields = list_fields,
                                 .field_count = 2};

TEST(values, that_contain_themselves_end_somewhere) {
    uint8_t bytes[1000];
    void *out = NULL;
    memset(bytes, 1, sizeof bytes);
    bytes[100] = 0;
    EXPECT_EQ(lc_decode(&list_type, bytes, 101, &out), LC_OK);
    int depth = 0;
    for (const List *at = out; at->tag == CONS; at = at->cons)
        depth++;
    EXPECT_EQ(depth, 100);
    free(out);
    EXPECT_EQ(lc_decode(&list_type, bytes + 101, sizeof bytes - 101, &out), LC_MALFORMED);
    List loop = {.tag = CONS};
    loop.cons = &loop;
    uint8_t *encoded;
    size_t len;
    EXPECT_EQ(lc_encode(&list_type, &loop, &encoded, &len), LC_BAD_ARGUMENT);
}

TEST_MAIN()
