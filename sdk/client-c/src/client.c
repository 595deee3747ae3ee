// client.c: the client's life, and one turn of its loop.
//
// PICTURE
//   lc_client_open ──> lc_client_step, again and again ──> lc_client_close ──> steps ──> lc_client_free
//
//   A step: timers, then the connection's next state, then input, then closing, then output. It never waits;
//   what it waits for is told by lc_client_fd, _events and _timeout_ms, and lc_client_poll is the four together.
#include "client.h"

LC_PRIVATE int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// xorshift64*: masks keep proxies from mistaking our bytes, they are no secret.
LC_PRIVATE uint32_t chance_next(LcClient *client) {
    client->chance ^= client->chance >> 12;
    client->chance ^= client->chance << 25;
    client->chance ^= client->chance >> 27;
    return (uint32_t)((client->chance * 0x2545f4914f6cdd1d) >> 32);
}

LC_PRIVATE void odd(LcClient *client, const char *text) {
    if (client->options.on_error) client->options.on_error(client, text, client->options.context);
}

LC_PRIVATE bool is_over(const LcClient *client) {
    return client->is_closing || client->state == LINK_ENDED;
}

// What has come, taken apart as far as the state allows.
static void input_apply(LcClient *client, bool at_end) {
#ifdef LC_CLIENT_TLS
    if (client->state == LINK_SECURING && SSL_is_init_finished(client->tls)) {
        client->state = LINK_UPGRADING;
        upgrade_send(client);
    }
#endif
    if (client->state == LINK_UPGRADING && client->raw.len > 0) upgrade_read(client, at_end);
    if (client->state != LINK_OPEN) return;
    LcError error = frames_apply(client);
    if (error && client->state == LINK_OPEN) {
        link_write(client);  // the answer to a Close
        link_failed(client, error);
    }
}

static void input_read(LcClient *client) {
    static const char gone[] = "the connection was closed";
    uint8_t *block = LC_CLIENT_REALLOC(NULL, READ_BYTES);
    if (!block) {
        link_failed(client, LC_NO_MEMORY);
        return;
    }
    client->has_more = true;
    for (int i = 0; i < STEP_READS_MAX && client->fd >= 0 && client->has_more; i++) {
        ssize_t got = recv(client->fd, block, READ_BYTES, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            client->has_more = false;
            break;
        }
        if (got > 0) {
            client->heard_at = now_ms();
            client->asked_at = 0;
            if (link_take(client, block, (size_t)got)) {
                input_apply(client, false);
                continue;
            }
        }
        int error = got < 0 ? errno : 0;
        input_apply(client, true);
        if (client->fd >= 0) link_lost(client, error ? strerror(error) : gone, false);
    }
    free(block);
}

static void timers_step(LcClient *client, int64_t now) {
    if (now >= client->deadline && client->state == LINK_WAITING) {
        link_open(client);
    } else if (now >= client->deadline && client->state != LINK_ENDED) {
        const char *why = client->is_closing ? "closed"
                          : client->state == LINK_RESOLVING
                              ? "looking up the server's name takes too long"
                              : "the server does not answer";
        link_lost(client, why, false);
    } else if (client->is_ready && !client->close_sent) {
        if (client->asked_at == 0 && now - client->heard_at >= QUIET_MS) {
            client->asked_at = now;
            frame_send(client, OP_PING, NULL, 0);
        } else if (client->asked_at != 0 && now - client->asked_at >= ANSWER_MS) {
            link_lost(client, "the server has fallen silent", false);
        }
    }
}

static void closing_step(LcClient *client) {
    if (!client->is_closing || client->state == LINK_ENDED) return;
    if (client->state != LINK_OPEN || !client->is_ready) {
        link_lost(client, "closed", true);
    } else if (!client->close_sent) {
        static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};
        frame_send(client, OP_CLOSE, normal, sizeof normal);
        client->close_sent = true;
        client->deadline = now_ms() + CLOSE_MS;
    }
}

LcError lc_client_step(LcClient *client) {
    if (client->in_step) return LC_BUSY;
    client->in_step = true;
    timers_step(client, now_ms());
    if (client->state == LINK_RESOLVING) link_resolving(client);
    if (client->state == LINK_CONNECTING) link_connecting(client);
    if (client->fd >= 0 && client->state != LINK_CONNECTING) input_read(client);
    closing_step(client);
    subscriptions_sweep(client);
    if (client->fd >= 0 && client->state != LINK_CONNECTING && !link_write(client))
        link_failed(client, LC_NO_MEMORY);
    client->in_step = false;
    return client->state == LINK_ENDED ? LC_CLOSED : LC_OK;
}

int lc_client_fd(const LcClient *client) {
    return client->state == LINK_RESOLVING ? lookup_fd(client->lookup) : client->fd;
}

short lc_client_events(const LcClient *client) {
    if (client->state == LINK_RESOLVING) return POLLIN;
    if (client->fd < 0) return 0;
    if (client->state == LINK_CONNECTING) return POLLOUT;
    return (short)(POLLIN | (client->out.len > 0 ? POLLOUT : 0));
}

int lc_client_timeout_ms(const LcClient *client) {
    bool must_close = client->is_closing && !client->close_sent;
    if (client->state == LINK_ENDED || client->has_more || must_close || has_sweep(client))
        return 0;
    int64_t due = client->deadline;
    if (client->is_ready && !client->close_sent) {
        int64_t quiet =
            client->asked_at ? client->asked_at + ANSWER_MS : client->heard_at + QUIET_MS;
        if (quiet < due) due = quiet;
    }
    if (due == INT64_MAX) return -1;
    int64_t left = due - now_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

LcError lc_client_poll(LcClient *client, int timeout_ms) {
    if (client->in_step) return LC_BUSY;
    int most = lc_client_timeout_ms(client);
    if (timeout_ms < 0 || (most >= 0 && most < timeout_ms)) timeout_ms = most;
    struct pollfd wait = {.fd = lc_client_fd(client), .events = lc_client_events(client)};
    if (poll(&wait, 1, timeout_ms) < 0 && errno != EINTR) return LC_SYSTEM;
    return lc_client_step(client);
}

bool lc_client_is_connected(const LcClient *client) {
    return client->is_ready;
}
LcIdentity lc_client_identity(const LcClient *client) {
    return client->identity;
}
LcConnectionId lc_client_connection_id(const LcClient *client) {
    return client->connection_id;
}
const char *lc_client_token(const LcClient *client) {
    return client->token;
}

void lc_client_close(LcClient *client) {
    client->is_closing = true;
}

// "https://[::1]:3000/base/" and a database as host, port and path.
static LcError address_read(LcClient *client, const char *url, const char *database) {
    static const struct {
        const char *scheme, *port;
        bool is_tls;
    } schemes[] = {{"http://", "80", false},
                   {"ws://", "80", false},
                   {"https://", "443", true},
                   {"wss://", "443", true}};
    const char *at = NULL, *port = NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes && !at; i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncmp(url, schemes[i].scheme, len) != 0) continue;
        at = url + len;
        port = schemes[i].port;
        client->is_tls = schemes[i].is_tls;
    }
    if (!at) return LC_BAD_ARGUMENT;
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ') return LC_BAD_ARGUMENT;
    bool in_brackets = *at == '[';
    const char *host = at + in_brackets;
    size_t host_len = strcspn(host, in_brackets ? "]" : ":/");
    at = host + host_len;
    if (host_len == 0 || (in_brackets && *at++ != ']')) return LC_BAD_ARGUMENT;
    size_t port_len = strlen(port);
    if (*at == ':') {
        port = at + 1;
        port_len = strspn(port, "0123456789");
        at = port + port_len;
    }
    if (port_len == 0 || port_len > 5 || (*at && *at != '/')) return LC_BAD_ARGUMENT;
    size_t base_len = strlen(at);
    while (base_len > 0 && at[base_len - 1] == '/')
        base_len--;
    size_t path_max = base_len + 3 * strlen(database) + 100;
    client->host = mem_new(host_len + 1);
    client->port = mem_new(port_len + 1);
    client->path = mem_new(path_max);
    if (!client->host || !client->port || !client->path) return LC_NO_MEMORY;
    memcpy(client->host, host, host_len);
    memcpy(client->port, port, port_len);
    int len = snprintf(client->path, path_max, "%.*s/v1/database/", (int)base_len, at);
    char *end = client->path + len;
    for (const char *c = database; *c; c++) {
        bool is_plain = isalnum((unsigned char)*c) || strchr("-._~", *c);
        end += snprintf(end, 4, is_plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    snprintf(end,
             60,
             "/subscribe?compression=None%s",
             client->options.unconfirmed ? "&confirmed=false" : "");
    return LC_OK;
}

static LcError tables_new(LcClient *client, const LcModule *module) {
    client->tables = mem_new((module->table_count + 1) * sizeof *client->tables);
    if (!client->tables) return LC_NO_MEMORY;
    for (size_t i = 0; i < module->table_count; i++)
        client->tables[i].info = module->tables[i];
    return LC_OK;
}

static LcError client_prepare(LcClient *client, const LcOptions *options) {
    LcError error = tables_new(client, options->module);
    if (!error) error = address_read(client, options->url, options->database);
    if (error) return error;
    for (const char *c = options->token; c && *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~')
            return LC_BAD_ARGUMENT;  // it becomes a header
    if (options->token && *options->token && !(client->token = text_copy(options->token)))
        return LC_NO_MEMORY;
    if (getentropy(client->seed, sizeof client->seed) != 0) return LC_SYSTEM;
    if (getentropy(&client->chance, sizeof client->chance) != 0) return LC_SYSTEM;
    client->chance |= 1;
#ifdef LC_CLIENT_TLS
    if (client->is_tls && !tls_prepare(client)) return LC_BAD_ARGUMENT;
#else
    if (client->is_tls) return LC_BAD_ARGUMENT;
#endif
    return LC_OK;
}

LcError lc_client_open(const LcOptions *options, LcClient **out) {
    *out = NULL;
    if (!options->url || !options->database || !*options->database || !options->module)
        return LC_BAD_ARGUMENT;
    LcClient *client = mem_new(sizeof *client);
    if (!client) return LC_NO_MEMORY;
    client->options = *options;
    if (!options->message_bytes_max) client->options.message_bytes_max = MESSAGE_BYTES_DEFAULT;
    client->fd = -1;
    client->is_stale = true;
    client->requests_end = &client->requests;
    LcError error = client_prepare(client, options);
    if (error) {
        lc_client_free(&client);
        return error;
    }
    *out = client;
    return LC_OK;
}

static void table_free(Table *table) {
    for (Row *row = table->first, *next; row; row = next) {
        next = row->next;
        free(row);
    }
    free(table->slots);
    free(table->listeners);
}

void lc_client_free(LcClient **handle) {
    LcClient *client = *handle;
    if (!client) return;
    if (client
            ->in_step) {  // out of a callback: the step that is under way would go on in freed memory
        client->is_closing = true;
        return;
    }
    *handle = NULL;
    client->in_step = client->is_closing = true;  // callbacks of lost calls begin nothing new
    requests_lose(client, true);
    if (client->tables) batch_abandon(client);
    link_close(client);
    lookup_abandon(&client->lookup);
    for (LcSubscription *at = client->subscriptions, *next; at; at = next) {
        next = at->next;
        subscription_free(at);
    }
    for (size_t i = 0; client->tables && i < client->options.module->table_count; i++)
        table_free(&client->tables[i]);
    free(client->tables);
    free(client->host);
    free(client->port);
    free(client->path);
    free(client->token);
#ifdef LC_CLIENT_TLS
    SSL_CTX_free(client->tls_context);
#endif
    free(client);
}
