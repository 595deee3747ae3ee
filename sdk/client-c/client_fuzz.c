// client_fuzz.c: whatever a server sends, the C client neither crashes nor shows half a transaction.
//
// An input is a byte that says how the stream is cut, then the stream of frames behind the handshake. What
// is sent by the client never reaches anybody; two calls, a query and two subscriptions wait for answers.
#include "lightcone_client.c"

#include "../../tests/golden/rich-c/rich.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t shown;

static void count_row(const RichLoggedOutPlayer *row) {
    for (size_t i = 0; i < row->shapes.len; i++)
        shown += row->shapes.items[i].tag == RICH_SHAPE_NOTHING;
    shown += row->avatar.len > 0 && row->avatar.ptr[row->avatar.len] == 0;
    shown += row->mood && *row->mood == RICH_MOOD_SAD;
}
static void on_row(LcClient *client, const RichLoggedOutPlayer *row, void *context) {
    (void)client, (void)context;
    count_row(row);
}
static void on_change(LcClient *client,
                      const RichLoggedOutPlayer *old,
                      const RichLoggedOutPlayer *row,
                      void *context) {
    (void)context;
    count_row(old);
    // A server that lies may have two rows with one key.
    const RichLoggedOutPlayer *found =
        rich_logged_out_player_find_by_player_id(client, row->player_id);
    if (old->player_id != row->player_id || !found || found->player_id != row->player_id) abort();
}
static void on_rows(LcClient *client,
                    const LcResult *result,
                    const RichLoggedOutPlayer *const *rows,
                    size_t count,
                    void *context) {
    (void)client, (void)result, (void)context;
    for (size_t i = 0; i < count; i++)
        count_row(rows[i]);
}
static void on_place(LcClient *client,
                     const LcResult *result,
                     const RichPosition *value,
                     void *context) {
    (void)client, (void)context;
    shown += value ? value->x > 0 : result->message.len > 0;
}
static void on_done(LcClient *client, const LcResult *result, void *context) {
    (void)client, (void)context;
    shown += result->message.len > 0 && result->message.ptr[result->message.len - 1] == 'x';
}

// What the tables say of themselves agrees with what is in them.
static void check(const LcClient *client) {
    size_t count = 0;
    for (const RichLoggedOutPlayer *row = rich_logged_out_player_first(client); row;
         row = rich_logged_out_player_next(client, row), count++)
        if (!rich_logged_out_player_find_by_player_id(client, row->player_id)) abort();
    if (count != rich_logged_out_player_count(client)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    LcClient *client;
    LcOptions options = {.url = "http://localhost",
                         .database = "x",
                         .module = &rich_module,
                         .message_bytes_max = 1 << 20};
    if (lc_client_open(&options, &client)) return 0;
    RichLoggedOutPlayerListener listener = {.on_insert = on_row,
                                            .on_delete = on_row,
                                            .on_update = on_change};
    RichEveryoneListener view = {.on_insert = on_row};
    LcSubscribe subscribe = {.query = "SELECT * FROM logged_out_player"};
    LcSubscription *first;
    client->seed[0] = client->seed[1] = 0;
    if (rich_logged_out_player_listen(client, listener) || rich_everyone_listen(client, view) ||
        lc_subscribe(client, &subscribe, &first) || lc_subscribe(client, &subscribe, NULL) ||
        rich_call_do_nothing(client, on_done, NULL) ||
        rich_call_locate(client, 1, on_place, NULL) ||
        rich_logged_out_player_query(client, "x", on_rows, NULL))
        abort();
    if (data[0] & 0x80) lc_unsubscribe(client, first);
    client->speaks_ours = true;
    client->has_point = data[0] & 1;  // it was connected before, and resumes
    for (LcSubscription *at = client->subscriptions; at; at = at->next)
        at->is_held = client->has_point;
    client->state = LINK_OPEN;
    size_t step = 1 + (data[0] & 0x7f) * 16u;
    LcError error = LC_OK;
    for (size_t at = 1; at < size && !error; at += step) {
        out_bytes(&client->raw, data + at, step < size - at ? step : size - at);
        error = frames_apply(client);
        check(client);
    }
    if (error) link_failed(client, error);
    check(client);
    lc_client_free(&client);
    return 0;
}
