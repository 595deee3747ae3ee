// tls.h: the encrypted form of a connection. Only net/ includes this; net.h has what others need.
#pragma once
#include "net/net.h"

typedef struct Tls Tls;  // of one connection

MUST_USE Err tls_new(NetTls *context, Tls **out);
void tls_free(Tls **tls);

// As Io.net_read and Io.net_write, with plaintext. One read of the socket at most; ERR_AGAIN also
// while the handshake goes on. ERR_INVALID: what the peer sends is not TLS, or not acceptable, and
// tls_why says what is wrong with it.
MUST_USE Err tls_read(Tls *tls, const Io *io, int socket, void *into, size_t room, size_t *got);
// Takes what it encrypts, though that may leave later: see tls_unsent. No parts: only send.
MUST_USE Err
tls_write(Tls *tls, const Io *io, int socket, const struct iovec *parts, int count, size_t *wrote);
// Say that no more follows, so that the peer can tell this end from one that was forged. Best effort.
void tls_goodbye(Tls *tls, const Io *io, int socket);

bool tls_is_open(const Tls *tls);   // the handshake is done
bool tls_is_plain(const Tls *tls);  // the peer's first byte cannot be TLS's: somebody typed http://
bool tls_unread(const Tls *tls);    // arrived already: no event of the socket will tell
bool tls_unsent(const Tls *tls);    // encrypted, but not gone
const char *tls_why(const Tls *tls);  // static
