// client_testing.h: the C client without a socket, for its tests: what a server would say, and a program that
// writes down what it is told. Test only; included once, with the client itself.
//
// It takes the client in as it is, so what is tested is what people compile.
#pragma once
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
#include "lightcone_client.c"

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

static inline void pair_row(LcAnyFunction to, LcClient *client, const void *row, void *context) {
    ((void (*)(LcClient *, const Pair *, void *))to)(client, row, context);
}
static inline void pair_update(LcAnyFunction to,
                               LcClient *client,
                               const void *old,
                               const void *row,
                               void *context) {
    ((void (*)(LcClient *, const Pair *, const Pair *, void *))to)(client, old, row, context);
}
typedef void (*PairRows)(LcClient *, const LcResult *, const Pair *const *, size_t, void *);
static inline void pair_rows(LcAnyFunction to,
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

static inline void put_text_of(Out *out, const char *text) {
    out_sized(out, text, strlen(text));
}

// "1:a 2:b" as a BsatnRowList.
static inline void put_rows(Out *out, const char *rows) {
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

static inline void put_introduction(Out *out) {
    out_le(out, 0, 1);
    for (int i = 0; i < 6; i++)
        out_le(out, 0x0807060504030201, 8);
    put_text_of(out, "token");
}

static inline void put_applied(Out *out, uint32_t set, const char *table, const char *rows) {
    out_le(out, 1, 1);
    out_le(out, 1, 4);
    out_le(out, set, 4);
    out_le(out, 1, 4);
    put_text_of(out, table);
    put_rows(out, rows);
}

static inline void put_update(Out *out,
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

static inline void hear(World *world, const char *format, ...) {
    size_t len = strlen(world->heard);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->heard + len, sizeof world->heard - len, format, arguments);
    va_end(arguments);
}

static inline void expect_heard(World *world, const char *want) {
    EXPECT_STR(world->heard, want);
    world->heard[0] = 0;
}

static inline void on_insert(LcClient *client, const Pair *row, void *context) {
    (void)client;
    hear(context, "+%u:%s ", row->id, row->name.ptr);
}
static inline void on_delete(LcClient *client, const Pair *row, void *context) {
    // What is told is true already.
    const Pair *found = lc_table_find(client, &keyed, 0, &row->id);
    EXPECT(!found || !lc_string_eq(found->name, row->name));
    hear(context, "-%u:%s ", row->id, row->name.ptr);
}
static inline void on_update(LcClient *client, const Pair *old, const Pair *row, void *context) {
    EXPECT(lc_table_find(client, &keyed, 0, &row->id) == row);
    hear(context, "%u:%s>%s ", row->id, old->name.ptr, row->name.ptr);
}
static inline void on_applied(LcClient *client, LcSubscription *subscription, void *context) {
    (void)client, (void)subscription;
    hear(context, "applied ");
}
static inline void on_end(LcClient *client,
                          LcSubscription *subscription,
                          const char *error,
                          void *context) {
    (void)client, (void)subscription;
    hear(context, "end(%s) ", error ? error : "");
}
static inline void on_done(LcClient *client, const LcResult *result, void *context) {
    (void)client;
    hear(context, "done(%d %.*s) ", (int)result->status, LC_ARG(result->message));
}
static inline void on_connect(LcClient *client, void *context) {
    hear(context, "hello(%s) ", lc_client_token(client));
}
static inline void on_disconnect(LcClient *client, const char *why, int retry_ms, void *context) {
    (void)client;
    hear(context, "lost(%s%s) ", why, retry_ms < 0 ? ", for good" : "");
}
static inline void on_error(LcClient *client, const char *text, void *context) {
    (void)client;
    hear(context, "odd(%s) ", text);
}

// As if the handshake had just succeeded.
static inline void link_up(LcClient *client) {
    client->state = LINK_OPEN;
    client->heard_at = now_ms();
    client->deadline = client->heard_at + OPEN_MS;
}

static inline LcError world_open(World *world) {
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
static inline LcError deliver(World *world, Out *message) {
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

static inline void world_ready(World *world, const char *rows) {
    Out message = {0};
    EXPECT_EQ(world_open(world), LC_OK);
    put_introduction(&message);
    put_applied(&message, world->subscription->id, "keyed", rows);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    world->heard[0] = 0;
}

static inline LcError update(World *world,
                             const char *table,
                             const char *inserts,
                             const char *deletes) {
    Out message = {0};
    out_le(&message, 4, 1);
    put_update(&message, world->subscription->id, table, inserts, deletes);
    return deliver(world, &message);
}
