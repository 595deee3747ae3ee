// client_test.c: the C client without a socket: bytes in, callbacks out. With a server: tests/e2e/client_c.test.mjs.
//
// It takes the client and generated code in as they are, so what is tested is what people compile.
#include "base/test.h"

static bool fault_on;
static size_t fault_at;  // this allocation from now on fails, and those behind it

static void *realloc_or_fail(void *memory, size_t bytes) {
    if (fault_on && fault_at-- == 0) {
        fault_at = 0;
        return NULL;
    }
    return realloc(memory, bytes);
}
#define LC_CLIENT_REALLOC realloc_or_fail

struct addrinfo;
static int getaddrinfo_or_wait(const char *host,
                               const char *port,
                               const struct addrinfo *hints,
                               struct addrinfo **found);
#define LC_CLIENT_GETADDRINFO getaddrinfo_or_wait
#include "lightcone_client.c"

#include "../../tests/golden/rich-c/rich.c"

// ── messages of a server ───────────────────────────────────────────────────────────────────────

// A table with a key, one without, one of events.
typedef struct Pair {
    uint32_t id;
    LcString name;
} Pair;
static const LcField pair_fields[] = {
    {"id", &lc_type_u32, offsetof(Pair, id), false},
    {"name", &lc_type_string, offsetof(Pair, name), false},
};
static const LcType pair_type = {.kind = LC_PRODUCT,
                                 .size = sizeof(Pair),
                                 .fields = pair_fields,
                                 .field_count = 2};

static void pair_row(LcAnyFunction to, LcClient *client, const void *row, void *context) {
    ((void (*)(LcClient *, const Pair *, void *))to)(client, row, context);
}
static void pair_update(LcAnyFunction to,
                        LcClient *client,
                        const void *old,
                        const void *row,
                        void *context) {
    ((void (*)(LcClient *, const Pair *, const Pair *, void *))to)(client, old, row, context);
}
typedef void (*PairRows)(LcClient *, const LcResult *, const Pair *const *, size_t, void *);
static void pair_rows(LcAnyFunction to,
                      LcClient *client,
                      const LcResult *result,
                      const void *const *rows,
                      size_t count,
                      void *context) {
    ((PairRows)to)(client, result, (const Pair *const *)rows, count, context);
}
static const uint16_t keyed_unique[] = {0};
static const LcTable keyed = {.name = "keyed",
                              .row = &pair_type,
                              .primary_key = 0,
                              .unique = keyed_unique,
                              .unique_count = 1,
                              .call_row = pair_row,
                              .call_update = pair_update,
                              .call_rows = pair_rows};
static const LcTable heap = {.name = "heap",
                             .row = &pair_type,
                             .primary_key = -1,
                             .call_row = pair_row,
                             .call_rows = pair_rows};
static const LcTable happened = {.name = "happened",
                                 .row = &pair_type,
                                 .primary_key = -1,
                                 .is_event = true,
                                 .call_row = pair_row,
                                 .call_rows = pair_rows};
static const LcTable *const tables[] = {&keyed, &heap, &happened};
static const LcModule module = {.tables = tables, .table_count = 3};

static void put_text_of(Out *out, const char *text) {
    out_sized(out, text, strlen(text));
}

// "1:a 2:b" as a BsatnRowList.
static void put_rows(Out *out, const char *rows) {
    Out data = {0}, offsets = {0};
    size_t count = 0;
    while (*rows) {
        unsigned id = 0;
        char name[16] = "";
        int len = 0;
        sscanf(rows, "%u:%n%15[a-z]%n", &id, &len, name, &len);
        rows += len;
        while (*rows == ' ')
            rows++;
        out_le(&offsets, data.len, 8);
        out_le(&data, id, 4);
        put_text_of(&data, name);
        count++;
    }
    out_le(out, 1, 1);
    out_le(out, count, 4);
    out_bytes(out, offsets.data, offsets.len);
    out_sized(out, data.data, data.len);
    out_free(&data);
    out_free(&offsets);
}

static void put_introduction(Out *out) {
    out_le(out, 0, 1);
    for (int i = 0; i < 6; i++)
        out_le(out, 0x0807060504030201, 8);
    put_text_of(out, "token");
}

static void put_applied(Out *out, uint32_t set, const char *table, const char *rows) {
    out_le(out, 1, 1);
    out_le(out, 1, 4);
    out_le(out, set, 4);
    out_le(out, 1, 4);
    put_text_of(out, table);
    put_rows(out, rows);
}

static void put_update(Out *out,
                       uint32_t set,
                       const char *table,
                       const char *inserts,
                       const char *deletes) {
    out_le(out, 1, 4);
    out_le(out, set, 4);
    out_le(out, 1, 4);
    put_text_of(out, table);
    out_le(out, 1, 4);
    out_le(out, deletes ? 0 : 1, 1);
    put_rows(out, inserts);
    if (deletes) put_rows(out, deletes);
}

// ── a client that writes down what it is told ──────────────────────────────────────────────────

typedef struct World {
    LcClient *client;
    char heard[4096];
    LcSubscription *subscription;
} World;

static void hear(World *world, const char *format, ...) {
    size_t len = strlen(world->heard);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->heard + len, sizeof world->heard - len, format, arguments);
    va_end(arguments);
}

static void expect_heard(World *world, const char *want) {
    EXPECT_STR(world->heard, want);
    world->heard[0] = 0;
}

static void on_insert(LcClient *client, const Pair *row, void *context) {
    (void)client;
    hear(context, "+%u:%s ", row->id, row->name.ptr);
}
static void on_delete(LcClient *client, const Pair *row, void *context) {
    // What is told is true already.
    const Pair *found = lc_table_find(client, &keyed, 0, &row->id);
    EXPECT(!found || !lc_string_eq(found->name, row->name));
    hear(context, "-%u:%s ", row->id, row->name.ptr);
}
static void on_update(LcClient *client, const Pair *old, const Pair *row, void *context) {
    EXPECT(lc_table_find(client, &keyed, 0, &row->id) == row);
    hear(context, "%u:%s>%s ", row->id, old->name.ptr, row->name.ptr);
}
static void on_applied(LcClient *client, LcSubscription *subscription, void *context) {
    (void)client, (void)subscription;
    hear(context, "applied ");
}
static void on_end(LcClient *client,
                   LcSubscription *subscription,
                   const char *error,
                   void *context) {
    (void)client, (void)subscription;
    hear(context, "end(%s) ", error ? error : "");
}
static void on_done(LcClient *client, const LcResult *result, void *context) {
    (void)client;
    hear(context, "done(%d %.*s) ", (int)result->status, LC_ARG(result->message));
}
static void on_connect(LcClient *client, void *context) {
    hear(context, "hello(%s) ", lc_client_token(client));
}
static void on_disconnect(LcClient *client, const char *why, int retry_ms, void *context) {
    (void)client;
    hear(context, "lost(%s%s) ", why, retry_ms < 0 ? ", for good" : "");
}
static void on_error(LcClient *client, const char *text, void *context) {
    (void)client;
    hear(context, "odd(%s) ", text);
}

// As if the handshake had just succeeded.
static void link_up(LcClient *client) {
    client->state = LINK_OPEN;
    client->heard_at = now_ms();
    client->deadline = client->heard_at + OPEN_MS;
}

static LcError world_open(World *world) {
    *world = (World){0};
    LcOptions options = {.url = "http://localhost:1",
                         .database = "test",
                         .module = &module,
                         .on_connect = on_connect,
                         .on_disconnect = on_disconnect,
                         .on_error = on_error,
                         .context = world};
    LcListener listener = {(LcAnyFunction)on_insert,
                           (LcAnyFunction)on_delete,
                           (LcAnyFunction)on_update,
                           world};
    LcError error = lc_client_open(&options, &world->client);
    for (size_t i = 0; !error && i < module.table_count; i++)
        error = lc_table_listen(world->client, tables[i], &listener);
    LcSubscribe all = {.query = "SELECT * FROM keyed",
                       .on_applied = on_applied,
                       .on_end = on_end,
                       .context = world};
    if (!error) error = lc_subscribe(world->client, &all, &world->subscription);
    if (!error) link_up(world->client);
    return error;
}

// One message of the server; *message is empty afterwards. What it makes of an error, the link does.
static LcError deliver(World *world, Out *message) {
    Out whole = {0};
    out_le(&whole, 0, 1);
    out_bytes(&whole, message->data, message->len);
    LcError error =
        whole.error ? whole.error : messages_apply(world->client, whole.data, whole.len);
    if (error) link_failed(world->client, error);
    out_free(&whole);
    out_free(message);
    return error;
}

static void world_ready(World *world, const char *rows) {
    Out message = {0};
    EXPECT_EQ(world_open(world), LC_OK);
    put_introduction(&message);
    put_applied(&message, world->subscription->id, "keyed", rows);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    world->heard[0] = 0;
}

static LcError update(World *world, const char *table, const char *inserts, const char *deletes) {
    Out message = {0};
    out_le(&message, 4, 1);
    put_update(&message, world->subscription->id, table, inserts, deletes);
    return deliver(world, &message);
}

// ── values ─────────────────────────────────────────────────────────────────────────────────────

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

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

TEST(rows, of_a_subscription_are_told_when_all_are_there) {
    World world;
    Out message = {0};
    EXPECT_EQ(world_open(&world), LC_OK);
    put_introduction(&message);
    put_applied(&message, world.subscription->id, "keyed", "1:a 2:b");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) +1:a +2:b applied ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 2);
    EXPECT_STR(((const Pair *)lc_table_find(world.client, &keyed, 0, &(uint32_t){2}))->name.ptr,
               "b");
    EXPECT(lc_table_find(world.client, &keyed, 0, &(uint32_t){3}) == NULL);
    lc_client_free(&world.client);
}

TEST(rows, with_the_same_key_are_one_update) {
    World world;
    world_ready(&world, "1:a 2:b");
    EXPECT_EQ(update(&world, "keyed", "1:z 3:c", "2:b 1:a"), LC_OK);
    expect_heard(&world, "1:a>z +3:c -2:b ");
    EXPECT_EQ(update(&world, "keyed", "1:z", "1:z"), LC_OK);
    expect_heard(&world, "");
    lc_client_free(&world.client);
}

TEST(rows, without_a_key_are_never_updated) {
    World world;
    world_ready(&world, "");
    EXPECT_EQ(update(&world, "heap", "1:a 1:a 1:b", ""), LC_OK);
    expect_heard(&world, "+1:a +1:b ");
    EXPECT_EQ(update(&world, "heap", "1:c", "1:a 1:b"), LC_OK);
    expect_heard(&world, "+1:c -1:b ");
    EXPECT_EQ(lc_table_count(world.client, &heap), 2);
    lc_client_free(&world.client);
}

TEST(rows, that_two_queries_bring_stay_until_both_are_gone) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a 2:b");
    LcSubscription *second;
    LcSubscribe more = {.query = "SELECT * FROM keyed WHERE id = 1",
                        .on_end = on_end,
                        .context = &world};
    EXPECT_EQ(lc_subscribe(world.client, &more, &second), LC_OK);
    put_applied(&message, second->id, "keyed", "1:a");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "");
    EXPECT_EQ(lc_unsubscribe(world.client, world.subscription), LC_OK);
    out_le(&message, 2, 1);
    out_le(&message, 9, 4);
    out_le(&message, world.subscription->id, 4);
    out_le(&message, 0, 1);
    out_le(&message, 1, 4);
    put_text_of(&message, "keyed");
    put_rows(&message, "1:a 2:b");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "-2:b end() ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 1);
    lc_client_free(&world.client);
}

TEST(rows, of_events_are_told_and_not_kept) {
    World world;
    world_ready(&world, "");
    EXPECT_EQ(update(&world, "happened", "1:a 1:a", NULL), LC_OK);
    expect_heard(&world, "+1:a +1:a ");
    EXPECT_EQ(lc_table_count(world.client, &happened), 0);
    EXPECT(lc_table_next(world.client, &happened, NULL) == NULL);
    lc_client_free(&world.client);
}

TEST(rows, of_unknown_tables_are_odd_and_no_more) {
    World world;
    world_ready(&world, "");
    EXPECT_EQ(update(&world, "new", "1:a", ""), LC_OK);
    expect_heard(&world, "odd(the module of this program has no table `new`; generate it again) ");
    lc_client_free(&world.client);
}

TEST(rows, that_never_came_cannot_go) {
    World world;
    world_ready(&world, "1:a");
    EXPECT_EQ(update(&world, "keyed", "2:b", "1:x"), LC_MALFORMED);
    expect_heard(&world, "lost(the server sent what is no message) ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 1);  // nothing of a broken transaction is shown
    lc_client_free(&world.client);
}

TEST(rows, after_a_reconnect_are_told_as_one_change) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a 2:b 3:c");
    EXPECT_EQ(update(&world, "heap", "1:h", ""), LC_OK);
    world.heard[0] = 0;
    link_lost(world.client, "gone", false);
    expect_heard(&world, "lost(gone) ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 3);
    link_up(world.client);
    LcSubscription *second;
    EXPECT_EQ(lc_subscribe(world.client, &(LcSubscribe){.query = "SELECT * FROM heap"}, &second),
              LC_OK);
    put_introduction(&message);
    put_applied(&message, world.subscription->id, "keyed", "2:b 3:z 4:d");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) ");
    EXPECT_EQ(update(&world, "keyed", "5:e", "4:d"), LC_OK);
    expect_heard(&world, "");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 3);  // still what was there
    put_applied(&message, second->id, "heap", "1:h");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "3:c>z +5:e -1:a applied ");
    EXPECT_EQ(lc_table_count(world.client, &heap), 1);
    lc_client_free(&world.client);
}

// ── resuming ──

static void put_progress(Out *out, uint8_t place) {
    out_le(out, 9, 1);
    for (int i = 0; i < POINT_BYTES; i++)
        out_le(out, place, 1);
}

// The head of an answer that says what became of so many tables; then put_since for each.
static void put_resumed(Out *out, uint32_t request, size_t count) {
    out_le(out, 8, 1);
    out_le(out, request, 4);
    out_le(out, 0, 1);
    out_le(out, count, 4);
}

static void put_since(Out *out, const char *table, int kind, const char *gone, const char *rows) {
    put_text_of(out, table);
    out_le(out, (uint64_t)kind, 1);
    put_rows(out, gone);
    put_rows(out, rows);
}

// Connected, with rows as of a place; then the connection was lost and is there again.
static void world_back(World *world, const char *rows) {
    Out message = {0};
    EXPECT_EQ(world_open(world), LC_OK);
    world->client->speaks_ours = true;
    put_introduction(&message);
    put_applied(&message, world->subscription->id, "keyed", rows);
    put_progress(&message, 7);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    EXPECT_EQ(update(world, "heap", "1:h 2:h", ""), LC_OK);
    EXPECT(!world->client->has_point);  // the rows are later than the place
    put_progress(&message, 8);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    link_lost(world->client, "gone", false);
    link_up(world->client);
    world->heard[0] = 0;
    put_introduction(&message);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    expect_heard(world, "hello(token) ");
}

// What the client has asked, without the masks of its frames.
static void asked_of(LcClient *client, Out *asked) {
    const Out *out = &client->out;
    for (size_t at = 0; at < out->len;) {
        size_t len = out->data[at + 1] & 127, head = 2;
        if (len == 126) {
            len = (size_t)out->data[at + 2] << 8 | out->data[at + 3];
            head = 4;
        }
        const uint8_t *mask = out->data + at + head;
        for (size_t i = 0; i < len; i++)
            out_le(asked, mask[4 + i] ^ mask[i & 3], 1);
        at += head + 4 + len;
    }
}

static void expect_asked(World *world, const uint8_t *want, size_t len) {
    Out asked = {0};
    asked_of(world->client, &asked);
    EXPECT_BYTES(BYTES(asked.data, asked.len), BYTES(want, len));
    out_free(&asked);
    out_drop(&world->client->out, world->client->out.len);
}

TEST(resuming, names_the_place_and_all_subscriptions) {
    World world;
    Out want = {0};
    world_back(&world, "1:a");
    out_le(&want, 6, 1);
    out_le(&want, world.client->resume, 4);
    for (int i = 0; i < POINT_BYTES; i++)
        out_le(&want, 8, 1);
    out_le(&want, 1, 4);
    out_le(&want, world.subscription->id, 4);
    out_le(&want, 1, 4);
    put_text_of(&want, "SELECT * FROM keyed");
    expect_asked(&world, want.data, want.len);
    out_free(&want);
    lc_client_free(&world.client);
}

TEST(resuming, tells_what_changed_and_nothing_else) {
    World world;
    Out message = {0};
    world_back(&world, "1:a 2:b 3:c 4:d");
    put_resumed(&message, world.client->resume, 2);
    put_since(&message, "keyed", SINCE_KEYS, "1: 2: 3: 9:", "1:a 3:z 5:e");
    put_since(&message, "heap", SINCE_ROWS, "2:h", "3:h");
    put_progress(&message, 9);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "-2:b 3:c>z +5:e -2:h +3:h applied ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 4);
    EXPECT_EQ(lc_table_count(world.client, &heap), 2);
    EXPECT(world.client->has_point && world.client->point[0] == 9);
    // Each row is held once again, as before.
    EXPECT_EQ(update(&world, "keyed", "", "1:a 4:d"), LC_OK);
    expect_heard(&world, "-1:a -4:d ");
    EXPECT_EQ(update(&world, "keyed", "", "1:a"), LC_MALFORMED);
    lc_client_free(&world.client);
}

TEST(resuming, replaces_a_table_that_is_told_whole) {
    World world;
    Out message = {0};
    world_back(&world, "1:a 2:b");
    put_resumed(&message, world.client->resume, 1);
    put_since(&message, "keyed", SINCE_WHOLE, "", "2:b 1:x");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "1:a>x applied ");
    EXPECT_EQ(lc_table_count(world.client, &heap), 2);
    lc_client_free(&world.client);
}

TEST(resuming, asks_for_everything_when_the_server_cannot) {
    World world;
    Out message = {0}, want = {0};
    world_back(&world, "1:a");
    out_drop(&world.client->out, world.client->out.len);
    out_le(&message, 8, 1);
    out_le(&message, world.client->resume, 4);
    out_le(&message, 1, 1);
    put_text_of(&message, "no");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "");
    out_le(&want, 0, 1);
    out_le(&want, world.client->ids, 4);
    out_le(&want, world.subscription->id, 4);
    out_le(&want, 1, 4);
    put_text_of(&want, "SELECT * FROM keyed");
    expect_asked(&world, want.data, want.len);
    put_progress(&message, 9);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    EXPECT(!world.client->has_point);  // what is shown is still the old
    put_applied(&message, world.subscription->id, "keyed", "1:b");
    put_progress(&message, 9);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "1:a>b -1:h -2:h applied ");
    EXPECT(world.client->has_point);
    out_free(&want);
    lc_client_free(&world.client);
}

TEST(resuming, is_of_all_that_is_here_or_of_nothing) {
    static const char *const what[] = {"an end", "a begin", "another server", "rows behind it"};
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        World world;
        Out message = {0};
        world_back(&world, "1:a");
        put_resumed(&message, world.client->resume, 0);
        EXPECT_EQ(deliver(&world, &message), LC_OK);
        EXPECT(world.client->has_point);
        LcSubscribe heap_too = {.query = "SELECT * FROM heap"};
        if (i == 3) EXPECT_EQ(update(&world, "keyed", "2:b", ""), LC_OK);
        link_lost(world.client, "gone", false);
        if (i == 0) EXPECT_EQ(lc_unsubscribe(world.client, world.subscription), LC_OK);
        if (i == 0) subscriptions_sweep(world.client);
        if (i < 2) EXPECT_EQ(lc_subscribe(world.client, &heap_too, NULL), LC_OK);
        if (i == 2) world.client->speaks_ours = false;
        link_up(world.client);
        put_introduction(&message);
        EXPECT_EQ(deliver(&world, &message), LC_OK);
        EXPECT_EQ(world.client->resume, 0);
        EXPECT(!world.client->has_point);
        lc_client_free(&world.client);
    }
}

TEST(resuming, believes_no_answer_that_nobody_asked_for) {
    World world;
    Out message = {0};
    world_back(&world, "1:a");
    put_resumed(&message, world.client->resume + 1, 0);
    EXPECT_EQ(deliver(&world, &message), LC_MALFORMED);
    EXPECT_EQ(lc_table_count(world.client, &keyed), 1);
    lc_client_free(&world.client);
    world_back(&world, "1:a");
    put_resumed(&message, world.client->resume, 1);
    put_since(&message, "heap", SINCE_KEYS, "1:", "");  // which has none
    EXPECT_EQ(deliver(&world, &message), LC_MALFORMED);
    lc_client_free(&world.client);
}

TEST(resuming, survives_every_allocation_that_fails) {
    for (size_t at = 0;; at++) {
        World world;
        Out message = {0};
        world_back(&world, "1:a 2:b");
        put_resumed(&message, world.client->resume, 2);
        put_since(&message, "keyed", SINCE_KEYS, "1:", "1:c 3:d");
        put_since(&message, "heap", SINCE_WHOLE, "", "5:h");
        fault_on = true;
        fault_at = at;
        LcError error = deliver(&world, &message);
        fault_on = false;
        EXPECT(error == LC_OK || error == LC_NO_MEMORY);
        if (error) {  // nothing of it is shown
            EXPECT_EQ(lc_table_count(world.client, &keyed), 2);
            EXPECT_EQ(lc_table_count(world.client, &heap), 2);
        }
        lc_client_free(&world.client);
        out_free(&message);
        if (!error) break;
    }
}

// A twin that is slow and obvious: per row how many copies there are.
TEST(rows, are_those_of_a_slow_twin) {
    enum { IDS = 12, NAMES = 3 };
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    World world;
    world_ready(&world, "");
    int copies[IDS][NAMES] = {0};
    for (int round = 0; round < 3000; round++) {
        char inserts[256] = "", deletes[256] = "";
        for (int i = rand() % 6; i > 0; i--) {
            int id = rand() % IDS, name = rand() % NAMES;
            bool removes = copies[id][name] > 0 && rand() % 2;
            char *list = removes ? deletes : inserts;
            snprintf(list + strlen(list), 16, "%d:%c ", id, 'a' + name);
            copies[id][name] += removes ? -1 : 1;
        }
        EXPECT_EQ(update(&world, "heap", inserts, deletes), LC_OK);
        world.heard[0] = 0;
        size_t want = 0, seen = 0;
        for (int id = 0; id < IDS; id++)
            for (int name = 0; name < NAMES; name++)
                want += copies[id][name] > 0;
        for (const Pair *row = lc_table_next(world.client, &heap, NULL); row;
             row = lc_table_next(world.client, &heap, row), seen++)
            EXPECT(copies[row->id][row->name.ptr[0] - 'a'] > 0);
        EXPECT_EQ(seen, want);
        EXPECT_EQ(lc_table_count(world.client, &heap), want);
    }
    lc_client_free(&world.client);
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

static uint32_t call(World *world, const char *name) {
    EXPECT_EQ(lc_call_reducer(world->client, name, &lc_type_unit, NULL, on_done, world), LC_OK);
    return world->client->ids;
}

static void put_result(Out *out, uint32_t id, uint8_t outcome) {
    out_le(out, 6, 1);
    out_le(out, id, 4);
    out_le(out, 5, 8);
    out_le(out, outcome, 1);
}

TEST(calls, are_answered_after_the_rows_they_changed) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a");
    uint32_t first = call(&world, "one"), second = call(&world, "two"),
             third = call(&world, "three");
    EXPECT_EQ(lc_client_pending(world.client), 3);
    put_result(&message, first, 0);
    out_le(&message, 0, 4);
    put_update(&message, world.subscription->id, "keyed", "1:b", "1:a");
    put_result(&message, second, 2);
    out_le(&message, 6, 4);
    put_text_of(&message, "no");
    put_result(&message, third, 3);
    put_text_of(&message, "trap");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "1:a>b done(0 ) done(1 no) done(2 trap) ");
    EXPECT_EQ(lc_client_pending(world.client), 0);
    lc_client_free(&world.client);
}

TEST(calls, under_way_are_lost_with_the_connection_and_others_wait_for_the_next) {
    World world;
    Out message = {0};
    world_ready(&world, "");
    call(&world, "sent");
    link_lost(world.client, "gone", false);
    expect_heard(&world, "done(3 the connection was lost) lost(gone) ");
    uint32_t id = call(&world, "waits");
    EXPECT_EQ(world.client->out.len, 0);
    link_up(world.client);
    put_introduction(&message);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    EXPECT(world.client->out.len > 0);
    put_result(&message, id, 1);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) done(0 ) ");
    call(&world, "late");
    lc_client_free(&world.client);
    expect_heard(&world, "done(3 the connection was lost) ");
}

static void on_rows(LcClient *client,
                    const LcResult *result,
                    const Pair *const *rows,
                    size_t count,
                    void *context) {
    (void)client;
    hear(context, "rows(%d", (int)result->status);
    for (size_t i = 0; i < count; i++)
        hear(context, " %u:%s", rows[i]->id, rows[i]->name.ptr);
    hear(context, ") ");
}

TEST(calls, of_queries_get_rows_that_are_in_no_table) {
    World world;
    Out message = {0};
    world_ready(&world, "");
    EXPECT_EQ(
        lc_table_query(world.client, &keyed, "SELECT * FROM keyed", (LcAnyFunction)on_rows, &world),
        LC_OK);
    out_le(&message, 5, 1);
    out_le(&message, world.client->ids, 4);
    out_le(&message, 0, 1);
    out_le(&message, 1, 4);
    put_text_of(&message, "keyed");
    put_rows(&message, "8:h 9:i");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    EXPECT_EQ(lc_table_query(world.client, &keyed, "SELECT", (LcAnyFunction)on_rows, &world),
              LC_OK);
    out_le(&message, 5, 1);
    out_le(&message, world.client->ids, 4);
    out_le(&message, 1, 1);
    put_text_of(&message, "bad");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "rows(0 8:h 9:i) rows(2) ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 0);
    lc_client_free(&world.client);
}

static void on_locate(LcClient *client,
                      const LcResult *result,
                      const RichPosition *value,
                      void *context) {
    (void)client;
    hear(context, "located(%d %g) ", (int)result->status, value ? (double)value->y : -1.0);
}

TEST(calls, of_procedures_give_a_value) {
    World world;
    Out message = {0};
    world_ready(&world, "");
    EXPECT_EQ(rich_call_locate(world.client, 5, on_locate, &world), LC_OK);
    out_le(&message, 7, 1);
    out_le(&message, 0, 1);
    out_sized(&message, "\0\0\x80\x3f\0\0\0\x40", 8);
    out_le(&message, 0, 8);
    out_le(&message, 0, 8);
    out_le(&message, world.client->ids, 4);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "located(0 2) ");
    lc_client_free(&world.client);
}

TEST(calls, with_an_argument_that_is_too_large_are_refused) {
    World world;
    world_ready(&world, "");
    uint8_t *large = calloc(1, REQUEST_BYTES_MAX);
    RichMoodArray none = {0};
    LcError error = rich_call_add_player(world.client,
                                         1,
                                         (RichPosition){0},
                                         none,
                                         (LcBytes){large, REQUEST_BYTES_MAX},
                                         on_done,
                                         &world);
    EXPECT_EQ(error, LC_BAD_ARGUMENT);
    EXPECT_EQ(lc_client_pending(world.client), 0);
    expect_heard(&world, "");
    free(large);
    lc_client_free(&world.client);
}

TEST(subscriptions, that_are_refused_end) {
    World world;
    Out message = {0};
    EXPECT_EQ(world_open(&world), LC_OK);
    put_introduction(&message);
    out_le(&message, 3, 1);
    out_le(&message, 0, 1);
    out_le(&message, 1, 4);
    out_le(&message, world.subscription->id, 4);
    put_text_of(&message, "no such table");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) end(no such table) ");
    EXPECT(!world.client->is_stale);
    lc_client_free(&world.client);
}

TEST(subscriptions, that_break_later_begin_again_without_it) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a");
    out_le(&message, 3, 1);
    out_le(&message, 1, 1);
    out_le(&message, world.subscription->id, 4);
    put_text_of(&message, "broken");
    EXPECT_EQ(deliver(&world, &message), LC_CLOSED);
    expect_heard(&world, "end(broken) lost(a subscription broke) ");
    link_up(world.client);
    put_introduction(&message);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) -1:a ");
    lc_client_free(&world.client);
}

// ── frames and the handshake ───────────────────────────────────────────────────────────────────

static void put_frame(Out *out, uint8_t first, const void *bytes, size_t len) {
    out_le(out, first, 1);
    out_le(out, len < 126 ? len : 126, 1);
    if (len >= 126) out_le(out, (len & 0xff) << 8 | len >> 8, 2);
    out_bytes(out, bytes, len);
}

static LcError receive(World *world, const uint8_t *bytes, size_t len) {
    out_bytes(&world->client->raw, bytes, len);
    return frames_apply(world->client);
}

TEST(frames, are_the_same_however_they_are_cut) {
    Out body = {0}, stream = {0};
    World world;
    EXPECT_EQ(world_open(&world), LC_OK);
    uint32_t id = world.subscription->id;
    lc_client_free(&world.client);
    out_le(&body, 0, 1);
    put_introduction(&body);
    put_applied(&body, id, "keyed", "1:a 2:b 3:c 4:d 5:e 6:f 7:g");
    put_frame(&stream, 0x02, body.data, 10);
    put_frame(&stream, 0x89, "ping", 4);
    put_frame(&stream, 0x00, body.data + 10, 5);
    put_frame(&stream, 0x80, body.data + 15, body.len - 15);
    for (size_t step = 1; step <= stream.len; step = step * 2 + 1) {
        EXPECT_EQ(world_open(&world), LC_OK);
        EXPECT_EQ(world.client->ids, id);
        for (size_t at = 0; at < stream.len; at += step)
            EXPECT_EQ(
                receive(&world, stream.data + at, step < stream.len - at ? step : stream.len - at),
                LC_OK);
        EXPECT_EQ(world.client->raw.len, 0);
        expect_heard(&world, "hello(token) +1:a +2:b +3:c +4:d +5:e +6:f +7:g applied ");
        // The pong came first, masked.
        const uint8_t *out = world.client->out.data;
        EXPECT_EQ(out[0], 0x8a);
        EXPECT_EQ(out[1], 0x84);
        EXPECT_EQ((char)(out[6] ^ out[2]), 'p');
        EXPECT_EQ((char)(out[9] ^ out[5]), 'g');
        lc_client_free(&world.client);
    }
    out_free(&body);
    out_free(&stream);
}

TEST(frames, that_no_server_may_send_end_the_connection) {
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x82\x81....x", 7},                              // masked
        {"\xc2\x01\x00", 3},                               // an extension's bit
        {"\x81\x01x", 3},                                  // text
        {"\x83\x00", 2},                                   // an opcode that does not exist
        {"\x09\x00", 2},                                   // a ping in pieces
        {"\x89\x7e\x00\x7e", 4},                           // a ping of 126 bytes
        {"\x80\x01\x00", 3},                               // the rest of nothing
        {"\x02\x01\x00\x82\x01\x00", 6},                   // a message within a message
        {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10},  // more than there is
        {"\x82\x00", 2},                                   // an empty message
        {"\x82\x02\x02\x00", 4},                           // compressed
        {"\x82\x02\x00\x09", 4},                           // a message that does not exist
        {"\x82\x02\x00\x04", 4},                           // rows before the introduction
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        World world;
        EXPECT_EQ(world_open(&world), LC_OK);
        LcError error = receive(&world, (const uint8_t *)bad[i].bytes, bad[i].len);
        if (error != LC_MALFORMED) fail_msg("case %zu: %s", i, lc_error_text(error));
        lc_client_free(&world.client);
    }
}

TEST(frames, of_a_close_are_answered_and_give_the_reason) {
    World world;
    EXPECT_EQ(world_open(&world), LC_OK);
    LcError error = receive(&world, (const uint8_t *)"\x88\x0f\x03\xe9module exited", 17);
    EXPECT_EQ(error, LC_CLOSED);
    EXPECT_EQ(world.client->out.data[0], 0x88);
    link_failed(world.client, error);
    expect_heard(&world, "lost(the server closed: module exited) ");
    lc_client_free(&world.client);
}

TEST(handshake, answers_are_those_of_the_rfc) {
    char accept[29];
    accept_of("dGhlIHNhbXBsZSBub25jZQ==", accept);
    EXPECT_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void answered(World *world, const char *head) {
    EXPECT_EQ(world_open(world), LC_OK);
    world->client->state = LINK_UPGRADING;
    memcpy(world->client->accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 29);
    out_bytes(&world->client->raw, head, strlen(head));
    input_apply(world->client, true);
}

TEST(handshake, only_a_server_that_knows_the_key_and_the_protocol_will_do) {
    World world;
    answered(
        &world,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-accept:  "
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\nSec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n\r\n\x89");
    EXPECT_EQ(world.client->state, LINK_OPEN);
    EXPECT_EQ(world.client->raw.len, 1);
    lc_client_free(&world.client);
#define TO_V3 "Sec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n\r\n"
    static const char *const bad[] = {
        ("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: AAAPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" TO_V3),
        "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 \r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        answered(&world, bad[i]);
        expect_heard(&world, "lost(the server sent what is no message) ");
        lc_client_free(&world.client);
    }
    answered(&world, "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno `x`\n and more");
    expect_heard(&world, "lost(the server refused (404): no `x`, for good) ");
    lc_client_free(&world.client);
    answered(&world, "HTTP/1.1 503 Busy\r\n\r\n");
    expect_heard(&world, "lost(the server refused with status 503) ");
    lc_client_free(&world.client);
}

TEST(addresses, are_read_or_refused) {
    static const struct {
        const char *url, *database, *host, *port, *path;
    } good[] = {
        {"http://localhost:3000",
         "chat",
         "localhost",
         "3000",
         "/v1/database/chat/subscribe?compression=None"},
        {"ws://[::1]:80/base/",
         "a b",
         "::1",
         "80",
         "/base/v1/database/a%20b/subscribe?compression=None"},
        {"http://h", "x/..", "h", "80", "/v1/database/x%2F../subscribe?compression=None"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        LcClient *client;
        LcOptions options = {.url = good[i].url, .database = good[i].database, .module = &module};
        EXPECT_EQ(lc_client_open(&options, &client), LC_OK);
        EXPECT_STR(client->host, good[i].host);
        EXPECT_STR(client->port, good[i].port);
        EXPECT_STR(client->path, good[i].path);
        lc_client_free(&client);
    }
    static const char *const bad[] = {"localhost:3000",
                                      "ftp://x",
                                      "http://",
                                      "http://[::1",
                                      "http://x:",
                                      "http://x:1x",
                                      "http://x:123456",
                                      "http://x/\r\nEvil: 1",
                                      "http://:80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        LcClient *client;
        LcOptions options = {.url = bad[i], .database = "x", .module = &module};
        EXPECT_EQ(lc_client_open(&options, &client), LC_BAD_ARGUMENT);
        EXPECT(client == NULL);
    }
}

TEST(backoff, grows_and_a_refusal_ends_it) {
    World world;
    EXPECT_EQ(world_open(&world), LC_OK);
    int64_t last = 0;
    for (int i = 0; i < 20; i++) {
        link_lost(world.client, "x", false);
        int64_t wait = world.client->deadline - now_ms();
        EXPECT(wait <= WAIT_MOST_MS &&
               wait >= (i < 6 ? (WAIT_FIRST_MS << i) / 2 : WAIT_MOST_MS / 2) - 50);
        EXPECT(i == 0 || i > 6 || wait >= last / 2);
        last = wait;
    }
    link_lost(world.client, "x", true);
    EXPECT_EQ(lc_client_step(world.client), LC_CLOSED);
    EXPECT_EQ(lc_call_reducer(world.client, "x", &lc_type_unit, NULL, NULL, NULL), LC_CLOSED);
    lc_client_free(&world.client);
}

// ── names ──────────────────────────────────────────────────────────────────────────────────────

// Names ending in .test: `here` is this machine, others do not exist. While the gate is shut nothing is answered.
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_is_shut;
static int lookups_begun, lookups_under_way;

static int getaddrinfo_or_wait(const char *host,
                               const char *port,
                               const struct addrinfo *hints,
                               struct addrinfo **found) {
    pthread_mutex_lock(&gate);
    lookups_begun++;
    lookups_under_way++;
    while (gate_is_shut)
        pthread_cond_wait(&gate_moved, &gate);
    lookups_under_way--;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate);
    if (strcmp(host, "here.test") == 0) return getaddrinfo("127.0.0.1", port, hints, found);
    return EAI_NONAME;
}

static void gate_set(bool is_shut) {
    pthread_mutex_lock(&gate);
    gate_is_shut = is_shut;
    pthread_cond_broadcast(&gate_moved);
    while (!is_shut && lookups_under_way > 0)
        pthread_cond_wait(&gate_moved, &gate);
    pthread_mutex_unlock(&gate);
}

static void world_at(World *world, const char *url) {
    *world = (World){0};
    LcOptions options = {.url = url,
                         .database = "test",
                         .module = &module,
                         .on_disconnect = on_disconnect,
                         .context = world};
    EXPECT_EQ(lc_client_open(&options, &world->client), LC_OK);
}

// Poll until the client is no longer in this state.
static void poll_out_of(World *world, LinkState state) {
    for (int i = 0; i < 100 && world->client->state == state; i++)
        EXPECT_EQ(lc_client_poll(world->client, 100), LC_OK);
    EXPECT(world->client->state != state);
}

TEST(names, that_are_never_found_hold_up_nobody) {
    World world;
    int64_t began = now_ms();
    lookups_begun = 0;
    gate_set(true);
    world_at(&world, "http://nowhere.test");
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    EXPECT_EQ(world.client->state, LINK_RESOLVING);
    EXPECT(lc_client_fd(world.client) >= 0);
    EXPECT_EQ(lc_client_events(world.client), POLLIN);
    int left = lc_client_timeout_ms(world.client);
    EXPECT(left > 0 && left <= OPEN_MS);
    EXPECT_EQ(lc_client_poll(world.client, 20), LC_OK);  // nothing to be seen at the descriptor
    // The next try waits for the same look-up.
    world.client->deadline = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    expect_heard(&world, "lost(looking up the server's name takes too long) ");
    EXPECT_EQ(lc_client_fd(world.client), -1);
    world.client->deadline = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    EXPECT_EQ(world.client->state, LINK_RESOLVING);
    // Neither closing nor freeing waits.
    lc_client_close(world.client);
    EXPECT_EQ(lc_client_step(world.client), LC_CLOSED);
    expect_heard(&world, "lost(closed, for good) ");
    lc_client_free(&world.client);
    world_at(&world, "http://nowhere.test");
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    lc_client_free(&world.client);
    EXPECT(now_ms() - began < 2000);
    gate_set(false);
    EXPECT(lookups_begun <= 2);
}

TEST(names, that_do_not_exist_are_said) {
    World world;
    world_at(&world, "http://nowhere.test");
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    poll_out_of(&world, LINK_RESOLVING);
    EXPECT_EQ(world.client->state, LINK_WAITING);
    char want[200];
    snprintf(want, sizeof want, "lost(cannot find nowhere.test: %s) ", gai_strerror(EAI_NONAME));
    expect_heard(&world, want);
    lc_client_free(&world.client);
}

TEST(names, that_are_found_late_serve_the_next_try) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    char url[64];
    snprintf(url, sizeof url, "http://here.test:%d", ntohs(address.sin_port));
    World world;
    gate_set(true);
    world_at(&world, url);
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    world.client->deadline = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    EXPECT_EQ(world.client->state, LINK_WAITING);
    gate_set(false);
    poll_out_of(&world, LINK_WAITING);
    poll_out_of(&world, LINK_RESOLVING);
    poll_out_of(&world, LINK_CONNECTING);
    EXPECT_EQ(world.client->state, LINK_UPGRADING);
    EXPECT(world.client->lookup == NULL);
    lc_client_free(&world.client);
    close(listener);
}

TEST(names, need_memory_and_no_more_is_lost_without) {
    World world;
    world_at(&world, "http://here.test");
    fault_on = true;
    fault_at = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    fault_on = false;
    EXPECT_EQ(world.client->state, LINK_WAITING);
    EXPECT(strncmp(world.heard, "lost(", 5) == 0);
    lc_client_free(&world.client);
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

// A life of a client in which the n-th allocation and all behind it fail, for every n until it is enough.
static LcError life(World *world) {
    LcError error = world_open(world);
    Out message = {0};
    if (error) return error;
    put_introduction(&message);
    put_applied(&message, world->subscription->id, "keyed", "1:a 2:b 3:c");
    error = message.error ? out_free(&message), message.error : deliver(world, &message);
    if (!error)
        error = update(world,
                       "keyed",
                       "1:z 4:d 5:e 6:f 7:g 8:h 9:i 10:j 11:k 12:l 13:m 14:n 15:o 16:p 17:q",
                       "2:b 1:a");
    if (!error) error = lc_call_reducer(world->client, "x", &lc_type_unit, NULL, on_done, world);
    if (!error) error = lc_table_query(world->client, &keyed, "x", (LcAnyFunction)on_rows, world);
    return error ? error : world->client->out.error;
}

TEST(memory, that_ends_anywhere_is_an_error_and_nothing_leaks) {
    for (size_t n = 0;; n++) {
        World world;
        fault_on = true;
        fault_at = n;
        LcError error = life(&world);
        fault_on = false;
        size_t count = world.client ? lc_table_count(world.client, &keyed) : 0;
        EXPECT(count == 0 || count == 3 || count == 16);  // whole transactions
        lc_client_free(&world.client);
        if (error == LC_OK) {
            EXPECT(n > 20 && count == 16);
            break;
        }
        EXPECT(error == LC_NO_MEMORY || error == LC_CLOSED || error == LC_MALFORMED);
    }
}

TEST_MAIN()
