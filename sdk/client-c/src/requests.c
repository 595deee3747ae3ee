// requests.c: what the program asks: subscriptions, and calls of reducers, procedures and queries.
//
// PICTURE
//   asked ──> waits while there is no connection ──> sent ──> answered
//                                                     └─ the connection breaks: a subscription is sent again,
//                                                        a call is LC_CALL_LOST, as it may have happened
//
//   Subscriptions last, so they keep their message; a request's is freed when it is sent.
//   awaited: how many subscriptions the large batch of a (re)connect still waits for; batch_end shows it when
//   that is 0.
//
// NOT HERE what answers look like: messages.c.
#include "client.h"

LC_PRIVATE LcSubscription *subscription_find(const LcClient *client, uint32_t id) {
    LcSubscription *at = client->subscriptions;
    while (at && at->id != id)
        at = at->next;
    return at;
}

LC_PRIVATE void subscription_free(LcSubscription *subscription) {
    out_free(&subscription->message);
    free(subscription);
}

LC_PRIVATE void subscription_end(LcClient *client,
                                 LcSubscription *subscription,
                                 const char *error) {
    LcSubscription **at = &client->subscriptions;
    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    if (subscription->is_awaited) client->awaited--;
    // What it held stays for now, and no Resume would take it away.
    if (subscription->is_applied || subscription->is_held) client->has_point = false;
    LcSubscribe *options = &subscription->options;
    if (options->on_end) options->on_end(client, subscription, error, options->context);
    subscription_free(subscription);
}

static void subscriptions_tell(LcClient *client) {
    for (LcSubscription *at = client->subscriptions; at && !is_over(client);) {
        if (!at->is_due) {
            at = at->next;
            continue;
        }
        at->is_due = false;
        if (at->options.on_applied && !at->is_ending)
            at->options.on_applied(client, at, at->options.context);
        at = client->subscriptions;
    }
}

// A batch is whole: show it, unless it belongs to the large one.
LC_PRIVATE void batch_end(LcClient *client) {
    if (client->is_stale && client->awaited > 0) return;
    bool whole = client->is_stale;
    client->is_stale = false;
    batch_commit(client, whole);
    subscriptions_tell(client);
}

// Ids are never 0 and, in four thousand million requests, never used twice.
static uint32_t id_next(LcClient *client) {
    if (++client->ids == 0) client->ids = 1;
    return client->ids;
}

// What waits for the server, once it is there: subscriptions first, then calls in their order.
LC_PRIVATE void requests_send(LcClient *client) {
    if (!client->is_ready || client->close_sent) return;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        bool begins = !at->is_sent && !at->is_ending;
        bool ends = at->is_sent && at->is_ending && !at->end_sent;
        if (!begins && !ends) continue;
        uint8_t head[10] = {0};
        uint32_t request = id_next(client);
        for (int i = 0; i < 4; i++) {
            head[1 + i] = (uint8_t)(request >> (8 * i));
            head[5 + i] = (uint8_t)(at->id >> (8 * i));
        }
        if (begins) {
            Out message = {0};
            out_bytes(&message, head, 9);
            out_bytes(&message, at->message.data, at->message.len);
            if (message.error)
                client->out.error = message.error;
            else
                frame_send(client, 2, message.data, message.len);
            out_free(&message);
            at->is_sent = true;
        } else {
            head[0] = 1;
            head[9] = 1;  // send the rows that go
            frame_send(client, 2, head, sizeof head);
            at->end_sent = true;
        }
    }
    for (Request *request = client->requests; request; request = request->next) {
        if (request->is_sent) continue;
        frame_send(client, 2, request->message.data, request->message.len);
        out_free(&request->message);
        request->is_sent = true;
    }
}

// May what is here be resumed? All of it or nothing: how often a row is held is counted together.
static bool may_resume(const LcClient *client) {
    if (!client->speaks_ours || !client->has_point || !client->subscriptions) return false;
    for (const LcSubscription *at = client->subscriptions; at; at = at->next)
        if (!at->is_held || at->is_ending) return false;
    return true;
}

LcError resume_send(LcClient *client) {
    Out message = {0};
    size_t count = 0;
    if (!may_resume(client)) {
        client->has_point = false;
        return LC_OK;
    }
    client->resume = id_next(client);
    for (const LcSubscription *at = client->subscriptions; at; at = at->next)
        count++;
    out_le(&message, 6, 1);
    out_le(&message, client->resume, 4);
    out_bytes(&message, client->point, POINT_BYTES);
    out_le(&message, count, 4);
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        out_le(&message, at->id, 4);
        out_bytes(&message, at->message.data, at->message.len);
        at->is_sent = at->is_resumed = true;
    }
    LcError error = message.error;
    if (!error) frame_send(client, 2, message.data, message.len);
    out_free(&message);
    return error;
}

// Those that ended before the server heard of them.
LC_PRIVATE void subscriptions_sweep(LcClient *client) {
    LcSubscription *at = client->subscriptions;
    while (at) {
        if (at->is_ending && !at->is_sent) {
            subscription_end(client, at, NULL);
            at = client->subscriptions;
        } else {
            at = at->next;
        }
    }
}

LC_PRIVATE bool has_sweep(const LcClient *client) {
    for (const LcSubscription *at = client->subscriptions; at; at = at->next)
        if (at->is_ending && !at->is_sent) return true;
    return false;
}

LcError lc_subscribe(LcClient *client, const LcSubscribe *subscribe, LcSubscription **out) {
    if (is_over(client)) return LC_CLOSED;
    const char *const *queries = subscribe->query ? &subscribe->query : subscribe->queries;
    size_t count = subscribe->query ? 1 : subscribe->query_count;
    LcSubscription *subscription = mem_new(sizeof *subscription);
    if (!subscription) return LC_NO_MEMORY;
    subscription->options = *subscribe;
    subscription->id = id_next(client);
    out_le(&subscription->message, count, 4);
    for (size_t i = 0; i < count; i++)
        out_sized(&subscription->message, queries[i], strlen(queries[i]));
    LcError error = subscription->message.error;
    if (!error && subscription->message.len > REQUEST_BYTES_MAX - 9) error = LC_BAD_ARGUMENT;
    if (error) {
        subscription_free(subscription);
        return error;
    }
    // Asked while the large batch is open it belongs to it, so that its rows are not shown alone.
    subscription->is_awaited = client->is_ready && client->is_stale;
    client->awaited += subscription->is_awaited;
    LcSubscription **at = &client->subscriptions;
    while (*at)
        at = &(*at)->next;
    *at = subscription;
    if (out) *out = subscription;
    requests_send(client);
    return LC_OK;
}

LcError lc_unsubscribe(LcClient *client, LcSubscription *subscription) {
    if (is_over(client)) return LC_CLOSED;
    subscription->is_ending = true;
    requests_send(client);
    return LC_OK;
}

LC_PRIVATE void request_free(Request *request) {
    out_free(&request->message);
    free(request);
}

LC_PRIVATE Request *request_take(LcClient *client, uint32_t id, RequestKind kind) {
    for (Request **at = &client->requests; *at; at = &(*at)->next) {
        Request *request = *at;
        if (request->id != id || request->kind != kind) continue;
        *at = request->next;
        if (!*at) client->requests_end = at;
        client->request_count--;
        return request;
    }
    return NULL;
}

LC_PRIVATE void request_answer(LcClient *client,
                               Request *request,
                               const LcResult *result,
                               const void *value) {
    if (request->kind == REQUEST_REDUCER && request->reducer_done)
        request->reducer_done(client, result, request->context);
    if (request->kind == REQUEST_PROCEDURE && request->done)
        request->call(request->done, client, result, value, request->context);
    if (request->kind == REQUEST_QUERY && request->done)
        request->table->call_rows(request->done, client, result, NULL, 0, request->context);
    request_free(request);
}

// `all`: also those that nobody has heard of.
LC_PRIVATE void requests_lose(LcClient *client, bool all) {
    Request *lost = NULL, **lost_end = &lost;
    for (Request **at = &client->requests; *at;) {
        Request *request = *at;
        if (!request->is_sent && !all) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        client->request_count--;
        request->next = NULL;
        *lost_end = request;
        lost_end = &request->next;
    }
    client->requests_end = &client->requests;
    while (*client->requests_end)
        client->requests_end = &(*client->requests_end)->next;
    LcResult result = {.status = LC_CALL_LOST, .message = lc_string("the connection was lost")};
    for (Request *next; lost; lost = next) {
        next = lost->next;
        request_answer(client, lost, &result, NULL);
    }
}

static LcError request_add(LcClient *client, Request *request) {
    LcError error = request->message.error;
    if (!error && request->message.len > REQUEST_BYTES_MAX) error = LC_BAD_ARGUMENT;
    if (!error && is_over(client)) error = LC_CLOSED;
    if (error) {
        request_free(request);
        return error;
    }
    *client->requests_end = request;
    client->requests_end = &request->next;
    client->request_count++;
    requests_send(client);
    return LC_OK;
}

// A request whose message begins with its tag and its id.
static Request *request_new(LcClient *client, RequestKind kind, uint8_t tag) {
    Request *request = mem_new(sizeof *request);
    if (!request) return NULL;
    request->kind = kind;
    request->id = id_next(client);
    out_le(&request->message, tag, 1);
    out_le(&request->message, request->id, 4);
    return request;
}

static Request *call_new(LcClient *client,
                         RequestKind kind,
                         const char *name,
                         const LcType *type,
                         const void *values) {
    Request *request = request_new(client, kind, kind == REQUEST_REDUCER ? 3 : 4);
    if (!request) return NULL;
    Out *out = &request->message;
    out_le(out, 0, 1);
    out_sized(out, name, strlen(name));
    size_t at = out->len;
    out_le(out, 0, 4);
    value_write(out, type, values, 0);
    size_t len = out->error ? 0 : out->len - at - 4;
    for (size_t i = 0; i < 4 && !out->error; i++)
        out->data[at + i] = (uint8_t)(len >> (8 * i));
    return request;
}

LcError lc_call_reducer(LcClient *client,
                        const char *name,
                        const LcType *type,
                        const void *arguments,
                        LcDone done,
                        void *context) {
    Request *request = call_new(client, REQUEST_REDUCER, name, type, arguments);
    if (!request) return LC_NO_MEMORY;
    request->reducer_done = done;
    request->context = context;
    return request_add(client, request);
}

LcError lc_call_procedure(LcClient *client,
                          const char *name,
                          const LcType *type,
                          const void *arguments,
                          const LcType *returns,
                          LcCallValue call,
                          LcAnyFunction done,
                          void *context) {
    Request *request = call_new(client, REQUEST_PROCEDURE, name, type, arguments);
    if (!request) return LC_NO_MEMORY;
    request->returns = returns;
    request->call = call;
    request->done = done;
    request->context = context;
    return request_add(client, request);
}

LcError lc_table_query(LcClient *client,
                       const LcTable *table,
                       const char *sql,
                       LcAnyFunction done,
                       void *context) {
    Request *request = request_new(client, REQUEST_QUERY, 2);
    if (!request) return LC_NO_MEMORY;
    out_sized(&request->message, sql, strlen(sql));
    request->table = table;
    request->done = done;
    request->context = context;
    return request_add(client, request);
}

size_t lc_client_pending(const LcClient *client) {
    return client->request_count;
}
