// messages.c: what the server says, taken apart and applied.
//
// PICTURE
//   WebSocket message ──> compression byte, then messages back to back ──> message_apply: one function for each
//       rows ──> batches.c          answers to calls ──> their callback (requests.c)
//
//   A function reads its message to the end before it calls the program, because a callback may do anything,
//   ending the client included. It returns LC_OK, or why the connection must end.
//
// Spec: the WebSocket protocol v3.bsatn (docs/internals/protocols.md).
#include "client.h"

typedef struct RowList {
    size_t fixed;  // bytes of each row, or 0:
    In offsets;    // where each begins, 8 bytes each
    In data;
    size_t count;
} RowList;

static bool row_list_read(In *in, RowList *list) {
    *list = (RowList){0};
    uint64_t hint = in_le(in, 1);
    if (hint == 0) list->fixed = (size_t)in_le(in, 2);
    if (hint == 1) {
        size_t count = (size_t)in_le(in, 4);
        if (in->failed || count > in_left(in) / 8) return false;
        const uint8_t *at = in_bytes(in, count * 8);
        list->offsets = (In){.at = at, .end = at + count * 8};
        list->count = count;
    }
    list->data = in_sized(in);
    if (in->failed || hint > 1 || (hint == 0 && list->fixed == 0)) return false;
    size_t len = in_left(&list->data);
    if (hint == 0) list->count = len / list->fixed;
    return hint == 0 ? len % list->fixed == 0 : list->count > 0 || len == 0;
}

// The next row, from the first on; false: the offsets make no sense.
static bool row_list_next(RowList *list, const uint8_t *start, In *row) {
    size_t from = (size_t)(list->data.at - start), to = from + list->fixed,
           len = (size_t)(list->data.end - start);
    if (list->fixed == 0) {
        if (in_le(&list->offsets, 8) != from) return false;
        uint64_t next = in_left(&list->offsets) ? le_read(list->offsets.at, 8) : len;
        if (next < from || next > len) return false;
        to = (size_t)next;
    }
    *row = (In){.at = start + from, .end = start + to};
    list->data.at = start + to;
    return true;
}

// table NULL: nothing is done with them.
static LcError rows_apply(LcClient *client, Table *table, In *in, Change change) {
    RowList list;
    client->has_point = false;
    if (!row_list_read(in, &list)) return LC_MALFORMED;
    const uint8_t *start = list.data.at;
    for (size_t i = 0; table && i < list.count; i++) {
        In row;
        if (!row_list_next(&list, start, &row)) return LC_MALFORMED;
        LcError error = change == CHANGE_DELETE ? row_delete(client, table, row)
                                                : row_insert(client, table, row, change);
        if (error) return error;
    }
    return LC_OK;
}

static Table *table_read(LcClient *client, In *in) {
    In name = in_sized(in);
    Table *table = in->failed ? NULL : table_named(client, name.at, in_left(&name));
    if (!table && !in->failed) {
        char text[WHY_BYTES];
        snprintf(text,
                 sizeof text,
                 "the module of this program has no table `%.*s`; generate it again",
                 (int)(in_left(&name) < 100 ? in_left(&name) : 100),
                 (const char *)name.at);
        odd(client, text);
    }
    return table;
}

// QueryRows
static LcError query_rows_apply(LcClient *client, In *in, Change change) {
    size_t count = (size_t)in_le(in, 4);
    for (size_t i = 0; i < count && !in->failed; i++) {
        Table *table = table_read(client, in);
        LcError error = in->failed ? LC_MALFORMED : rows_apply(client, table, in, change);
        if (error) return error;
    }
    return in->failed ? LC_MALFORMED : LC_OK;
}

static LcError table_update_apply(LcClient *client, In *in, Change pass) {
    Table *table = pass == CHANGE_INSERT ? table_read(client, in) : NULL;
    if (pass == CHANGE_DELETE) {
        In name = in_sized(in);
        table = table_named(client, name.at, in_left(&name));
    }
    size_t count = (size_t)in_le(in, 4);
    for (size_t i = 0; i < count && !in->failed; i++) {
        uint64_t kind = in_le(in, 1);
        if (in->failed || kind > 1) return LC_MALFORMED;
        bool inserts = pass == CHANGE_INSERT;
        LcError error = rows_apply(client,
                                   inserts ? table : NULL,
                                   in,
                                   kind == 0 ? CHANGE_INSERT : CHANGE_EVENT);
        if (!error && kind == 0)
            error = rows_apply(client, inserts ? NULL : table, in, CHANGE_DELETE);
        if (error) return error;
    }
    return in->failed ? LC_MALFORMED : LC_OK;
}

// TransactionUpdate, in two passes: a row that leaves one query and enters another is inserted before it
// is deleted, so no count falls below what it was.
static LcError transaction_apply(LcClient *client, In *in) {
    In start = *in;
    for (int pass = CHANGE_INSERT; pass <= CHANGE_DELETE; pass++) {
        *in = start;
        size_t sets = (size_t)in_le(in, 4);
        for (size_t s = 0; s < sets && !in->failed; s++) {
            in_le(in, 4);
            size_t tables = (size_t)in_le(in, 4);
            for (size_t t = 0; t < tables && !in->failed; t++) {
                LcError error = table_update_apply(client, in, (Change)pass);
                if (error) return error;
            }
        }
    }
    return in->failed ? LC_MALFORMED : LC_OK;
}

// ── what became of the rows meanwhile: Resumed ─────────────────────────────────────────────────

enum { SINCE_ROWS, SINCE_KEYS, SINCE_WHOLE };

static LcError keys_apply(LcClient *client, Table *table, In *in) {
    RowList list;
    if (!row_list_read(in, &list)) return LC_MALFORMED;
    const uint8_t *start = list.data.at;
    client->has_point = false;
    for (size_t i = 0; table && i < list.count; i++) {
        In row;
        if (!row_list_next(&list, start, &row)) return LC_MALFORMED;
        LcError error = key_forget(client, table, row);
        if (error) return error;
    }
    return LC_OK;
}

static LcError table_since_apply(LcClient *client, In *in) {
    Table *table = table_read(client, in);
    uint64_t kind = in_le(in, 1);
    if (in->failed || kind > SINCE_WHOLE) return LC_MALFORMED;
    if (kind == SINCE_WHOLE && table) table_forget(client, table);
    LcError error = kind == SINCE_KEYS ? keys_apply(client, table, in)
                                       : rows_apply(client, table, in, CHANGE_DELETE);
    return error ? error : rows_apply(client, table, in, CHANGE_INSERT);
}

static LcError since_apply(LcClient *client, In *in) {
    size_t count = (size_t)in_le(in, 4);
    LcError error = LC_OK;
    rows_restore(client);
    for (size_t i = 0; !error && i < count && !in->failed; i++)
        error = table_since_apply(client, in);
    return in->failed ? LC_MALFORMED : error;
}

static LcError initial_connection(LcClient *client, In *in) {
    const uint8_t *identity = in_bytes(in, 32);
    const uint8_t *connection = in_bytes(in, 16);
    In token = in_sized(in);
    if (in->failed || client->is_ready) return LC_MALFORMED;
    for (size_t i = 0; i < 32; i++)
        client->identity.bytes[i] = identity[31 - i];
    for (size_t i = 0; i < 16; i++)
        client->connection_id.bytes[i] = connection[15 - i];
    if (!client->token) {
        client->token = mem_new(in_left(&token) + 1);
        if (!client->token) return LC_NO_MEMORY;
        memcpy(client->token, token.at, in_left(&token));
    }
    client->is_ready = true;
    client->tries = 0;
    client->deadline = INT64_MAX;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        at->is_awaited = !at->is_ending;
        client->awaited += at->is_awaited;
    }
    LcError error = resume_send(client);
    if (error) return error;
    requests_send(client);
    if (client->options.on_connect) client->options.on_connect(client, client->options.context);
    batch_end(client);
    return LC_OK;
}

static LcError subscribe_applied(LcClient *client, In *in) {
    in_le(in, 4);
    LcSubscription *subscription = subscription_find(client, (uint32_t)in_le(in, 4));
    if (in->failed || !subscription || subscription->is_applied) return LC_MALFORMED;
    LcError error = query_rows_apply(client, in, CHANGE_INSERT);
    if (error) return error;
    subscription->is_applied = subscription->is_due = true;
    if (subscription->is_awaited) client->awaited--;
    subscription->is_awaited = false;
    batch_end(client);
    return LC_OK;
}

static LcError unsubscribe_applied(LcClient *client, In *in) {
    in_le(in, 4);
    uint32_t id = (uint32_t)in_le(in, 4);
    uint64_t tag = in_le(in, 1);
    LcSubscription *subscription = subscription_find(client, id);
    if (in->failed || tag > 1 || !subscription || !subscription->end_sent) return LC_MALFORMED;
    LcError error = tag == 0 ? query_rows_apply(client, in, CHANGE_DELETE) : LC_OK;
    if (error) return error;
    batch_end(client);
    subscription = subscription_find(client, id);
    if (subscription) subscription_end(client, subscription, NULL);
    return LC_OK;
}

static LcError subscription_error(LcClient *client, In *in) {
    uint64_t tag = in_le(in, 1);
    if (tag == 0) in_le(in, 4);
    LcSubscription *subscription = subscription_find(client, (uint32_t)in_le(in, 4));
    In text = in_sized(in);
    if (in->failed || tag > 1) return LC_MALFORMED;
    if (!subscription) return LC_OK;
    char *copy = mem_new(in_left(&text) + 1);
    if (!copy) return LC_NO_MEMORY;
    memcpy(copy, text.at, in_left(&text));
    bool was_applied = subscription->is_applied;
    subscription_end(client, subscription, copy);
    free(copy);
    if (!was_applied) {
        batch_end(client);
        return LC_OK;
    }
    // It broke later: which of the rows were its own, nobody says. Begin again without it.
    snprintf(client->why, sizeof client->why, "a subscription broke");
    return LC_CLOSED;
}

static LcError resumed(LcClient *client, In *in) {
    uint32_t id = (uint32_t)in_le(in, 4);
    uint64_t tag = in_le(in, 1);
    if (in->failed || tag > 1 || !client->resume || id != client->resume) return LC_MALFORMED;
    client->resume = 0;
    bool is_refused = tag == 1;
    LcError error = LC_OK;
    if (is_refused)
        in_sized(in);
    else
        error = since_apply(client, in);
    if (error || in->failed) return error ? error : LC_MALFORMED;
    if (is_refused) client->has_point = false;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        if (!at->is_resumed) continue;
        at->is_resumed = false;
        if (is_refused) {  // ask for all of it
            at->is_sent = at->is_held = false;
            continue;
        }
        at->is_applied = at->is_due = true;
        if (at->is_awaited) client->awaited--;
        at->is_awaited = false;
    }
    if (is_refused) requests_send(client);
    batch_end(client);
    return LC_OK;
}

static LcError progress(LcClient *client, In *in) {
    const uint8_t *point = in_bytes(in, POINT_BYTES);
    if (in->failed) return LC_MALFORMED;
    if (client->is_stale) return LC_OK;  // it is about rows that are not shown yet
    memcpy(client->point, point, POINT_BYTES);
    client->has_point = true;
    return LC_OK;
}

static LcError reducer_result(LcClient *client, In *in) {
    uint32_t id = (uint32_t)in_le(in, 4);
    LcResult result = {.timestamp = {(int64_t)in_le(in, 8)}};
    uint64_t outcome = in_le(in, 1);
    In text = {0};
    if (in->failed || outcome > 3) return LC_MALFORMED;
    if (outcome == 0) {
        in_sized(in);
        LcError error = transaction_apply(client, in);
        if (error) return error;
    } else if (outcome == 2) {
        In bytes = in_sized(in);
        text = in_sized(&bytes);
        if (bytes.failed) return LC_MALFORMED;
    } else if (outcome == 3) {
        text = in_sized(in);
    }
    Request *request = in->failed ? NULL : request_take(client, id, REQUEST_REDUCER);
    if (!request) return LC_MALFORMED;
    result.status = outcome == 2 ? LC_CALL_REFUSED : outcome == 3 ? LC_CALL_FAILED : LC_CALL_OK;
    result.message = (LcString){(const char *)text.at, in_left(&text)};
    if (outcome == 0) batch_end(client);
    request_answer(client, request, &result, NULL);
    return LC_OK;
}

static LcError procedure_result(LcClient *client, In *in) {
    uint64_t status = in_le(in, 1);
    In content = in_sized(in);
    LcResult result = {.timestamp = {(int64_t)in_le(in, 8)}};
    in_le(in, 8);
    Request *request = NULL;
    uint32_t id = (uint32_t)in_le(in, 4);
    if (!in->failed && status <= 1) request = request_take(client, id, REQUEST_PROCEDURE);
    if (!request) return LC_MALFORMED;
    void *value = NULL;
    if (status == 1) {
        result.status = LC_CALL_FAILED;
        result.message = (LcString){(const char *)content.at, in_left(&content)};
    } else {
        LcError error = value_new(request->returns, content, &value);
        if (error) {
            result.status = LC_CALL_FAILED;
            result.message = lc_string(lc_error_text(error));
        }
    }
    request_answer(client, request, &result, value);
    free(value);
    return LC_OK;
}

// Rows of an answer are no part of the tables: each is a Row that is linked nowhere.
static LcError query_rows_read(LcClient *client,
                               Table *table,
                               In *in,
                               const void ***rows,
                               size_t *count) {
    RowList list;
    In name = {0};
    if (in_le(in, 4) != 1) return LC_MALFORMED;
    name = in_sized(in);
    if (in->failed || !row_list_read(in, &list)) return LC_MALFORMED;
    if (table_named(client, name.at, in_left(&name)) != table) return LC_BAD_ARGUMENT;
    *rows = mem_new((list.count + 1) * sizeof **rows);
    if (!*rows) return LC_NO_MEMORY;
    const uint8_t *start = list.data.at;
    while (*count < list.count) {
        In row;
        if (!row_list_next(&list, start, &row)) return LC_MALFORMED;
        Row *made;
        LcError error = row_new(client->seed, table, row, &made);
        if (error) return error;
        (*rows)[(*count)++] = made->value;
    }
    return LC_OK;
}

static LcError query_result(LcClient *client, In *in) {
    uint32_t id = (uint32_t)in_le(in, 4);
    uint64_t tag = in_le(in, 1);
    Request *request = NULL;
    if (!in->failed && tag <= 1) request = request_take(client, id, REQUEST_QUERY);
    if (!request) return LC_MALFORMED;
    LcResult result = {0};
    const void **rows = NULL;
    size_t count = 0;
    LcError error = LC_OK;
    if (tag == 0) {
        error = query_rows_read(client, table_of(client, request->table), in, &rows, &count);
    } else {
        In text = in_sized(in);
        result.status = LC_CALL_FAILED;
        result.message = (LcString){(const char *)text.at, in_left(&text)};
        if (in->failed) error = LC_MALFORMED;
    }
    if (error) {
        result.status = LC_CALL_FAILED;
        result.message = lc_string(error == LC_BAD_ARGUMENT ? "these are rows of another table"
                                                            : lc_error_text(error));
    }
    if (request->done)
        request->table
            ->call_rows(request->done, client, &result, rows, error ? 0 : count, request->context);
    for (size_t i = 0; i < count; i++)
        free(row_of(rows[i]));
    free(rows);
    request_free(request);
    return error == LC_BAD_ARGUMENT ? LC_OK : error;
}

static LcError message_apply(LcClient *client, In *in) {
    uint64_t tag = in_le(in, 1);
    LcError error;
    if (in->failed || (!client->is_ready && tag != 0)) return LC_MALFORMED;
    switch (tag) {
    case 0: return initial_connection(client, in);
    case 1: return subscribe_applied(client, in);
    case 2: return unsubscribe_applied(client, in);
    case 3: return subscription_error(client, in);
    case 4:
        error = transaction_apply(client, in);
        if (!error) batch_end(client);
        return error;
    case 5: return query_result(client, in);
    case 6: return reducer_result(client, in);
    case 7: return procedure_result(client, in);
    case 8: return client->speaks_ours ? resumed(client, in) : LC_MALFORMED;
    case 9: return client->speaks_ours ? progress(client, in) : LC_MALFORMED;
    default: return LC_MALFORMED;
    }
}

// One WebSocket message: how it is compressed, which it is not, and messages back to back.
LC_PRIVATE LcError messages_apply(LcClient *client, const uint8_t *bytes, size_t len) {
    In in = {.at = bytes, .end = bytes + len};
    if (in_le(&in, 1) != 0 || in_left(&in) == 0) return LC_MALFORMED;
    while (in_left(&in) > 0 && !is_over(client)) {
        LcError error = message_apply(client, &in);
        if (error) return error;
    }
    return LC_OK;
}
