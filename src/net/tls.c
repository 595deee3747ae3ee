// tls.c: TLS between a socket and a connection, by OpenSSL.
//
// PICTURE
//   socket ─net_read─> received ─┐            ┌─> sealed ─net_write─> socket
//                                BIO  SSL  BIO
//   conn.c <───plaintext────SSL_read  SSL_write <────frames──── out.c
//
//   OpenSSL never sees the socket: it reads from `received` and writes to `sealed`, two buffers, so
//   that all I/O stays in Io (and in the simulation), and in net_read and net_flush as without TLS.
//
// ALWAYS TRUE
//   (1) One read of the socket a call, at most READ_BYTES; at most SEAL_BYTES are sealed and not
//       sent. So neither a flood nor a slow reader makes a connection's buffers grow.
//   (2) Small frames share a record: what one net_flush sends costs 22 bytes for each 16 KiB of it.
//   (3) An idle connection holds neither buffer, and OpenSSL holds none for it.
//
// CALLERS   conn.c, out.c, loop.c
// NOT HERE  certificates of clients. Tokens say who somebody is.
#define _GNU_SOURCE  // strerrordesc_np
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"

#define READ_BYTES   ((size_t)32 * 1024)
#define RECORD_BYTES ((size_t)16 * 1024)  // the protocol's largest
#define SEAL_BYTES   (4 * RECORD_BYTES)
#define HANDSHAKE    0x16  // the type of the first record of every connection

struct NetTls {
    pthread_mutex_t lock;  // of `context`, which a reload replaces
    SSL_CTX *context;
    BIO_METHOD *buffers;
    char cert_path[IO_PATH_MAX], key_path[IO_PATH_MAX];
};

struct Tls {
    SSL *ssl;
    Buf received;
    size_t received_at;
    Buf sealed;
    size_t sealed_at;
    bool began, plain, broken;
    const char *why;
};

// ── the two buffers as a BIO ───────────────────────────────────────────────────────────────────

static int buffers_read(BIO *bio, char *into, size_t room, size_t *got) {
    Tls *tls = BIO_get_data(bio);
    size_t have = tls->received.len - tls->received_at;
    BIO_clear_retry_flags(bio);
    *got = MIN(room, have);
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(into, tls->received.ptr + tls->received_at, *got);
    tls->received_at += *got;
    return 1;
}

static int buffers_write(BIO *bio, const char *from, size_t len, size_t *wrote) {
    Tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_put(&tls->sealed, from, len);
    *wrote = len;
    return buf_ok(&tls->sealed);
}

static long buffers_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *buffers_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "buffers");
    if (!method) return NULL;
    BIO_meth_set_read_ex(method, buffers_read);
    BIO_meth_set_write_ex(method, buffers_write);
    BIO_meth_set_ctrl(method, buffers_ctrl);
    return method;
}

// ── the server's certificate ───────────────────────────────────────────────────────────────────

static const char *library_reason(void) {
    unsigned long first = ERR_peek_error();  // the cause; what follows only says where it led
    const char *reason = ERR_SYSTEM_ERROR(first) ? strerrordesc_np((int)ERR_GET_REASON(first))
                                                 : ERR_reason_error_string(first);
    ERR_clear_error();
    return reason ? reason : "unknown reason";
}

static int http_1_1(SSL *ssl,
                    const unsigned char **out,
                    unsigned char *out_len,
                    const unsigned char *offered,
                    unsigned int offered_len,
                    void *ctx) {
    (void)ssl;
    (void)ctx;
    static const unsigned char known[] = "\x08http/1.1";
    unsigned char *chosen;
    int found =
        SSL_select_next_proto(&chosen, out_len, known, sizeof known - 1, offered, offered_len);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static Err context_make(const char *cert, const char *key, SSL_CTX **out, Diag *diag) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return ERR_NOMEM;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(context, http_1_1, NULL);
    Err err = OK;
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        err = diag_fail(diag,
                        ERR_INVALID,
                        "cannot use the certificate %s: %s",
                        cert,
                        library_reason());
    // Also looks whether it is the certificate's.
    if (err == OK && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        err = diag_fail(diag,
                        ERR_INVALID,
                        "cannot use the private key %s with the certificate %s: %s",
                        key,
                        cert,
                        library_reason());
    if (err == OK) {
        *out = context;
    } else {
        SSL_CTX_free(context);
    }
    return err;
}

static Err path_copy(char *into, const char *path, Diag *diag) {
    int len = snprintf(into, IO_PATH_MAX, "%s", path);
    if (len < IO_PATH_MAX) return OK;
    return diag_fail(diag, ERR_LIMIT, "a path of more than %d bytes", IO_PATH_MAX - 1);
}

Err net_tls_open(const char *cert_path, const char *key_path, NetTls **out, Diag *diag) {
    NetTls *tls = MEM_NEW(NetTls);
    if (!tls) return ERR_NOMEM;
    pthread_mutex_init(&tls->lock, NULL);
    tls->buffers = buffers_method();
    Err err = tls->buffers ? OK : ERR_NOMEM;
    if (err == OK) err = path_copy(tls->cert_path, cert_path, diag);
    if (err == OK) err = path_copy(tls->key_path, key_path, diag);
    if (err == OK) err = context_make(cert_path, key_path, &tls->context, diag);
    if (err != OK) {
        net_tls_free(&tls);
        return err;
    }
    *out = tls;
    return OK;
}

Err net_tls_reload(NetTls *tls, Diag *diag) {
    SSL_CTX *fresh;
    Err err = context_make(tls->cert_path, tls->key_path, &fresh, diag);
    if (err != OK) return err;
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->context;
    tls->context = fresh;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);  // lives on while connections use it
    return OK;
}

void net_tls_free(NetTls **tls_ptr) {
    NetTls *tls = *tls_ptr;
    if (!tls) return;
    *tls_ptr = NULL;
    SSL_CTX_free(tls->context);
    BIO_meth_free(tls->buffers);
    pthread_mutex_destroy(&tls->lock);
    mem_free(tls);
}

// ── a connection ───────────────────────────────────────────────────────────────────────────────

static SSL *session_new(NetTls *context) {
    pthread_mutex_lock(&context->lock);
    SSL *ssl = SSL_new(context->context);
    pthread_mutex_unlock(&context->lock);
    return ssl;
}

Err tls_new(NetTls *context, Tls **out) {
    Tls *tls = MEM_NEW(Tls);
    if (!tls) return ERR_NOMEM;
    tls->ssl = session_new(context);
    BIO *bio = tls->ssl ? BIO_new(context->buffers) : NULL;
    if (!bio) {
        tls_free(&tls);
        return ERR_NOMEM;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    *out = tls;
    return OK;
}

void tls_free(Tls **tls_ptr) {
    Tls *tls = *tls_ptr;
    if (!tls) return;
    *tls_ptr = NULL;
    SSL_free(tls->ssl);
    buf_deinit(&tls->received);
    buf_deinit(&tls->sealed);
    mem_free(tls);
}

bool tls_is_open(const Tls *tls) {
    return SSL_is_init_finished(tls->ssl);
}
bool tls_is_plain(const Tls *tls) {
    return tls->plain;
}
bool tls_unread(const Tls *tls) {
    return !tls->broken && (tls->received_at < tls->received.len || SSL_pending(tls->ssl) > 0);
}
bool tls_unsent(const Tls *tls) {
    return tls->sealed_at < tls->sealed.len;
}
const char *tls_why(const Tls *tls) {
    return tls->why ? tls->why : "TLS failed";
}

static Err refuse(Tls *tls, const char *why) {
    tls->broken = true;
    tls->why = why;
    return ERR_INVALID;
}

// One read of the socket into `received`, of which OpenSSL has had all. OK and nothing new: the peer
// has ended.
static Err receive(Tls *tls, const Io *io, int socket, size_t *got) {
    buf_clear(&tls->received);
    tls->received_at = 0;
    if (!buf_reserve(&tls->received, READ_BYTES)) return ERR_NOMEM;
    Err err = io->net_read(io->world, socket, tls->received.ptr, READ_BYTES, got);
    if (err == OK) tls->received.len = *got;
    if (err == OK && *got && !tls->began) {
        tls->began = true;
        tls->plain = tls->received.ptr[0] != HANDSHAKE;
        if (tls->plain) return refuse(tls, "this port speaks TLS: say https:// or wss://");
    }
    return err;
}

static Err read_all(Tls *tls, const Io *io, int socket, uint8_t *into, size_t room, size_t *got) {
    bool read_socket = false;
    while (*got < room) {
        size_t more = 0;
        ERR_clear_error();
        if (SSL_read_ex(tls->ssl, into + *got, room - *got, &more) == 1) {
            *got += more;
            continue;
        }
        int why = SSL_get_error(tls->ssl, 0);
        if (why == SSL_ERROR_ZERO_RETURN) return OK;  // said goodbye
        if (why != SSL_ERROR_WANT_READ) return refuse(tls, library_reason());
        if (read_socket) return *got ? OK : ERR_AGAIN;
        read_socket = true;
        size_t arrived = 0;
        Err err = receive(tls, io, socket, &arrived);
        if (err == ERR_AGAIN && *got) return OK;
        if (err != OK || arrived == 0) return err;
    }
    return OK;
}

Err tls_read(Tls *tls, const Io *io, int socket, void *into, size_t room, size_t *got) {
    *got = 0;
    if (tls->broken) return ERR_INVALID;
    Err err = read_all(tls, io, socket, into, room, got);
    if (tls->received_at == tls->received.len) buf_deinit(&tls->received);
    if (tls->received.len == 0) tls->received_at = 0;
    if (!buf_ok(&tls->sealed)) return ERR_NOMEM;
    return err;
}

// What is sealed leaves. ERR_AGAIN: not all of it.
static Err sealed_send(Tls *tls, const Io *io, int socket) {
    while (tls_unsent(tls)) {
        struct iovec part = {tls->sealed.ptr + tls->sealed_at, tls->sealed.len - tls->sealed_at};
        size_t wrote = 0;
        Err err = io->net_write(io->world, socket, &part, 1, &wrote);
        if (err == OK && wrote == 0) err = ERR_AGAIN;
        if (err != OK) return err;
        tls->sealed_at += wrote;
    }
    buf_deinit(&tls->sealed);
    tls->sealed_at = 0;
    return OK;
}

typedef struct Parts {
    const struct iovec *parts;
    int count, at;
    size_t skip;  // of parts[at]
} Parts;

// The next bytes, at most a record of them, gathered if they lie apart.
static Bytes parts_next(Parts *from, uint8_t *record) {
    size_t len = 0;
    while (from->at < from->count && len < RECORD_BYTES) {
        const struct iovec *part = &from->parts[from->at];
        size_t take = MIN(part->iov_len - from->skip, RECORD_BYTES - len);
        memcpy(record + len, (const uint8_t *)part->iov_base + from->skip, take);
        len += take;
        from->skip += take;
        if (from->skip == part->iov_len) {
            from->at++;
            from->skip = 0;
        }
    }
    return BYTES(record, len);
}

static Err seal(Tls *tls, const struct iovec *parts, int count, size_t *taken) {
    Parts from = {.parts = parts, .count = count};
    uint8_t record[RECORD_BYTES];
    while (tls->sealed.len < SEAL_BYTES) {
        Bytes next = parts_next(&from, record);
        if (next.len == 0) break;
        size_t wrote = 0;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, next.ptr, next.len, &wrote) != 1)
            return buf_ok(&tls->sealed) ? refuse(tls, library_reason()) : ERR_NOMEM;
        *taken += wrote;
    }
    return OK;
}

Err tls_write(Tls *tls,
              const Io *io,
              int socket,
              const struct iovec *parts,
              int count,
              size_t *wrote) {
    *wrote = 0;
    Err err = sealed_send(tls, io, socket);
    if (err != OK || count == 0) return err;
    if (tls->broken) return ERR_INVALID;
    if (!tls_is_open(tls)) return ERR_AGAIN;
    err = seal(tls, parts, count, wrote);
    if (err == OK) err = sealed_send(tls, io, socket);
    // What was taken is ours to send, now or later.
    return err == ERR_AGAIN ? OK : err;
}

void tls_goodbye(Tls *tls, const Io *io, int socket) {
    ERR_clear_error();
    if (!tls->broken && !tls_unsent(tls) && tls_is_open(tls)) (void)SSL_shutdown(tls->ssl);
    // Also the alert that says why a handshake failed.
    Err err = sealed_send(tls, io, socket);
    if (err != OK) tls->broken = true;  // the socket is closed at once
}
