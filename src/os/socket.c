// socket.c: non-blocking TCP sockets, over IPv4 and IPv6. A socket's name is its file descriptor.
#define _GNU_SOURCE  // what Linux has beyond POSIX
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/linux.h"

static void option_set(int socket, int level, int option, int value) {
    (void)setsockopt(socket, level, option, &value, sizeof value);  // wishes, not needs
}

static uint16_t bound_port(int socket) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(socket, (struct sockaddr *)&address, &len) != 0) return 0;
    in_port_t port = address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                   : ((struct sockaddr_in *)&address)->sin_port;
    return ntohs(port);
}

static Err listen_at(const struct addrinfo *at, const char *host, int *out) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return linux_error("socket", host);
    option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);  // a restart need not wait for old connections
    if (at->ai_family == AF_INET6) option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        Err err = linux_error("listen", host);
        close(fd);
        return err;
    }
    *out = fd;
    return OK;
}

Err linux_net_listen(void *world, const char *host, uint16_t *port, int *out) {
    (void)world;
    char service[8];
    snprintf(service, sizeof service, "%u", *port);
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(host[0] ? host : NULL, service, &hints, &list);
    if (failed) {
        if (failed != EAI_SYSTEM) errno = EADDRNOTAVAIL;
        return linux_error("resolve", host);
    }
    Err err = ERR_IO;
    for (struct addrinfo *at = list; at && err != OK; at = at->ai_next) {
        err = listen_at(at, host, out);
    }
    freeaddrinfo(list);
    if (err == OK) *port = bound_port(*out);
    return err;
}

static void peer_text(const struct sockaddr_storage *address, char *out, size_t size) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        // An IPv4 caller of a socket that serves both is shown as what it is.
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        const void *bytes = mapped ? &in6->sin6_addr.s6_addr[12] : &in6->sin6_addr.s6_addr[0];
        inet_ntop(mapped ? AF_INET : AF_INET6, bytes, text, sizeof text);
        snprintf(out, size, mapped ? "%s:%u" : "[%s]:%u", text, ntohs(in6->sin6_port));
        return;
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    snprintf(out, size, "%s:%u", text, ntohs(in->sin_port));
}

// Errors that belong to the one connection that was waiting, already gone: the next may be fine.
static bool accept_may_retry(int code) {
    switch (code) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT: return true;
    default: return false;
    }
}

Err linux_net_accept(void *world, int listener, int *out, char *peer, size_t peer_size) {
    (void)world;
    struct sockaddr_storage address;
    for (;;) {
        socklen_t len = sizeof address;
        int fd = accept4(listener, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            option_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);  // we write whole turns: never wait
            // A peer that vanished without a word is noticed after about two minutes, where no
            // protocol of ours asks for signs of life.
            option_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
            option_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
            option_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
            option_set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
            if (peer) peer_text(&address, peer, peer_size);
            *out = fd;
            return OK;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return ERR_AGAIN;
        if (!accept_may_retry(errno)) return linux_error("accept", "");
    }
}

Err linux_net_read(void *world, int socket, void *into, size_t len, size_t *got) {
    (void)world;
    for (;;) {
        ssize_t n = recv(socket, into, len, 0);
        if (n >= 0) {
            *got = (size_t)n;
            return OK;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return ERR_AGAIN;
        if (errno != EINTR) return linux_error("recv", "");
    }
}

Err linux_net_write(void *world, int socket, const struct iovec *parts, int count, size_t *wrote) {
    (void)world;
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)parts,  // sendmsg does not write to it
        .msg_iovlen = (size_t)MIN(count, IOV_MAX),
    };
    for (;;) {
        ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (n >= 0) {
            *wrote = (size_t)n;
            return OK;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return ERR_AGAIN;
        if (errno != EINTR) return linux_error("sendmsg", "");
    }
}

void linux_net_finish(void *world, int socket) {
    (void)world;
    shutdown(socket, SHUT_WR);  // a peer that is gone already needs no telling
}

void linux_net_close(void *world, int socket) {
    (void)world;
    close(socket);
}
