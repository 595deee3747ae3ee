// link.c: the connection: its bytes out and in, how it comes about, how it is lost and tried again.
//
// PICTURE
//   WAITING ──> RESOLVING ──> CONNECTING ──> SECURING ──> UPGRADING ──> OPEN     client.h draws all of it
//      ^                       each address of the host in turn           │
//      └───────────── link_lost: calls under way are lost, rows stay ─────┘
//
//   Each state has a deadline. Waiting doubles from WAIT_FIRST_MS to WAIT_MOST_MS, shortened by chance.
#include "client.h"

// Bytes of ours towards the socket.
LC_PRIVATE void link_put(LcClient *client, const void *bytes, size_t len) {
#ifdef LC_CLIENT_TLS
    if (client->tls) {
        size_t written = 0;
        if (len > 0 && SSL_write_ex(client->tls, bytes, len, &written) != 1 && !client->out.error)
            client->out.error = LC_NO_MEMORY;
        tls_drain(client);
        return;
    }
#endif
    out_bytes(&client->out, bytes, len);
}

LC_PRIVATE bool link_take(LcClient *client, const uint8_t *bytes, size_t len) {
#ifdef LC_CLIENT_TLS
    if (client->tls) return tls_receive(client, bytes, len);
#endif
    out_bytes(&client->raw, bytes, len);
    return true;
}

LC_PRIVATE void link_close(LcClient *client) {
#ifdef LC_CLIENT_TLS
    SSL_free(client->tls);
    client->tls = NULL;
#endif
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    if (client->addresses) freeaddrinfo(client->addresses);
    client->addresses = client->address = NULL;
    out_free(&client->raw);
    out_free(&client->fragments);
    out_free(&client->out);
    client->in_message = client->has_more = client->close_sent = client->is_ready = false;
    client->asked_at = 0;
}

// This connection is over. `final`: there will be no other.
LC_PRIVATE void link_lost(LcClient *client, const char *why, bool final) {
    char text[WHY_BYTES];
    snprintf(text, sizeof text, "%s", *client->why ? client->why : why);
    client->why[0] = 0;
    link_close(client);
    batch_abandon(client);
    client->resume = 0;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        at->is_held |= at->is_applied;
        at->is_sent = at->is_applied = at->is_due = at->is_awaited = at->end_sent = false;
        at->is_resumed = false;
    }
    final = final || client->is_closing || client->options.once;
    int wait = -1;
    if (!final) {
        unsigned most = client->tries < 6 ? (unsigned)WAIT_FIRST_MS << client->tries : WAIT_MOST_MS;
        client->tries++;
        // Shortened by chance, so that a thousand clients do not come back together.
        wait = (int)(most / 2 + chance_next(client) % (most / 2 + 1));
    }
    if (final) lookup_abandon(&client->lookup);
    client->state = final ? LINK_ENDED : LINK_WAITING;
    client->deadline = final ? INT64_MAX : now_ms() + wait;
    requests_lose(client, final);
    if (client->options.on_disconnect)
        client->options.on_disconnect(client, text, wait, client->options.context);
}

LC_PRIVATE void link_failed(LcClient *client, LcError error) {
    const char *why = error == LC_MALFORMED ? "the server sent what is no message"
                      : error == LC_SYSTEM  ? strerror(errno)
                                            : lc_error_text(error);
    link_lost(client, why, false);
}

static void link_connected(LcClient *client) {
    freeaddrinfo(client->addresses);
    client->addresses = client->address = NULL;
    client->heard_at = now_ms();
    client->state = LINK_UPGRADING;
#ifdef LC_CLIENT_TLS
    if (client->is_tls) {
        client->state = LINK_SECURING;
        if (!tls_start(client) || !tls_receive(client, (const uint8_t *)"", 0)) {
            link_lost(client, "TLS could not begin", false);
            return;
        }
        return;
    }
#endif
    upgrade_send(client);
}

// Try the addresses of the host one after another.
static void link_try(LcClient *client) {
    int error = EHOSTUNREACH;
    for (; client->address; client->address = client->address->ai_next) {
        const struct addrinfo *address = client->address;
        int fd = socket(address->ai_family, SOCK_STREAM, 0), yes = 1;
        if (fd < 0) {
            error = errno;
            continue;
        }
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
#ifdef SO_NOSIGPIPE
        setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes);
#endif
        client->fd = fd;
        client->state = LINK_CONNECTING;
        if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
            link_connected(client);
            return;
        }
        if (errno == EINPROGRESS || errno == EINTR) return;
        error = errno;
        close(fd);
        client->fd = -1;
    }
    snprintf(client->why,
             sizeof client->why,
             "cannot connect to %s:%s: %s",
             client->host,
             client->port,
             strerror(error));
    link_lost(client, "", false);
}

static void link_resolved(LcClient *client, int error) {
    if (error) {
        client->addresses = NULL;
        snprintf(client->why,
                 sizeof client->why,
                 "cannot find %s: %s",
                 client->host,
                 gai_strerror(error));
        link_lost(client, "", false);
        return;
    }
    client->address = client->addresses;
    link_try(client);
}

LC_PRIVATE void link_resolving(LcClient *client) {
    int error = 0;
    if (lookup_take(&client->lookup, &error, &client->addresses)) link_resolved(client, error);
}

LC_PRIVATE void link_open(LcClient *client) {
    client->deadline = now_ms() + OPEN_MS;
    // What is an address already needs no thread.
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    if (getaddrinfo(client->host, client->port, &hints, &client->addresses) == 0) {
        link_resolved(client, 0);
        return;
    }
    client->addresses = NULL;
    if (!client->lookup) client->lookup = lookup_begin(client->host, client->port);
    if (client->lookup)
        client->state = LINK_RESOLVING;
    else
        link_failed(client, LC_SYSTEM);
}

LC_PRIVATE void link_connecting(LcClient *client) {
    struct pollfd ready = {.fd = client->fd, .events = POLLOUT};
    if (poll(&ready, 1, 0) <= 0) return;
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error == 0) {
        link_connected(client);
        return;
    }
    snprintf(client->why,
             sizeof client->why,
             "cannot connect to %s:%s: %s",
             client->host,
             client->port,
             strerror(error));
    close(client->fd);
    client->fd = -1;
    client->address = client->address->ai_next;
    if (client->address) {
        client->why[0] = 0;
        link_try(client);
    } else {
        link_lost(client, "", false);
    }
}

LC_PRIVATE bool link_write(LcClient *client) {
    size_t done = 0;
    while (done < client->out.len) {
        ssize_t sent =
            send(client->fd, client->out.data + done, client->out.len - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        // What the server said before it went is still to be read: reading will tell.
        if (sent < 0) {
            done = client->out.len;
            break;
        }
        done += (size_t)sent;
    }
    if (done > 0) out_drop(&client->out, done);
    if (client->out.len == 0 && client->out.cap > READ_BYTES * 4 && !client->out.error)
        out_free(&client->out);
    return !client->out.error;
}
