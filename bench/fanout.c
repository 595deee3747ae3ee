// fanout.c: what one update costs when ten thousand clients watch it, against writing the same bytes to
// ten thousand sockets and nothing else.
//
//   fanout --url HOST:PORT --database NAME [--protocol v3] [--connections 10000] [--updates 20]
//          [--rounds 3] [--pid SERVER] [--json]
//
// PICTURE
//   server     one call ──> transaction, log, sync ──> N sockets ─┐
//   bare       one word ──> a process that has N sockets: write() ┴─> this process: epoll, read, count
//
// Both sides are timed from the request to the last client's update, by the same reader, in turn. With
// --pid the processor time of the server and of the bare writer is taken too: the elapsed time of both
// has the reading of N sockets in it, which is the same.
#define _GNU_SOURCE  // memmem
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/ws.h"
#include "sats/bsatn.h"

#define IN_BYTES    4096
#define WINDOW      128  // connections being opened at a time
#define UPDATES_MAX 1000
#define ROUNDS_MAX  32
#define FRAME_BYTES 4096  // the largest update that the bare side repeats
#define PATIENCE_NS (60ll * 1000000000)

typedef struct Options {
    const char *url, *database, *protocol;
    uint32_t connections, updates, rounds;
    pid_t pid;
    bool json;
} Options;

typedef struct Client {
    int fd;
    bool upgraded;
    uint32_t messages;
    size_t in_len;
    uint8_t in[IN_BYTES];
} Client;

typedef struct Crowd {
    Client *clients;
    uint32_t count;
    uint32_t behind;  // clients that have fewer than `want` messages
    uint32_t want;
    int epoll;
    size_t frame_len;  // of the last message of the first client, with its head
    uint8_t frame[FRAME_BYTES];
} Crowd;

typedef struct Figures {
    double ms[ROUNDS_MAX];      // median of a round's updates
    double cpu_ms[ROUNDS_MAX];  // a round's processor time by its updates
} Figures;

static void fatal(const char *what, const char *why) {
    fprintf(stderr, "fanout: %s: %s\n", what, why);
    exit(1);
}

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Processor time of a process so far, in milliseconds; 0 when it is nobody.
static double cpu_ms(pid_t pid) {
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    if (!pid) return 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file)) fatal(path, "cannot be read");
    fclose(file);
    const char *behind = strrchr(line, ')');  // the name may hold anything
    if (!behind || sscanf(behind + 1,
                          " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                          &user,
                          &system) != 2)
        fatal(path, "is not as expected");
    return 1000.0 * (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

// ── a client ───────────────────────────────────────────────────────────────────────────────────

static int dial(const char *url) {
    char host[64];
    snprintf(host, sizeof host, "%s", url);
    char *colon = strrchr(host, ':');
    if (!colon) fatal(url, "should be ADDRESS:PORT");
    *colon = 0;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) fatal(url, "is no address");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fatal(url, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void send_all(int fd, const void *bytes, size_t len) {
    if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) fatal("send", strerror(errno));
}

// A client's frame; its mask is zero, so that the payload is as it is.
static void send_frame(int fd, WsOpcode opcode, Bytes payload) {
    uint8_t frame[512] = {(uint8_t)(0x80 | opcode)};
    size_t at = 2;
    if (payload.len > sizeof frame - 8) fatal("frame", "too long");
    frame[1] = (uint8_t)(0x80 | (payload.len < 126 ? payload.len : 126));
    if (payload.len >= 126) {
        frame[at++] = (uint8_t)(payload.len >> 8);
        frame[at++] = (uint8_t)payload.len;
    }
    at += 4;
    if (payload.len) memcpy(frame + at, payload.ptr, payload.len);
    send_all(fd, frame, at + payload.len);
}

static void send_buf(int fd, Buf *message) {
    if (!buf_ok(message)) fatal("message", "out of memory");
    send_frame(fd, WS_BINARY, buf_bytes(message));
    buf_deinit(message);
}

static void upgrade_ask(const Options *options, int fd) {
    Buf text = {0};
    buf_printf(&text,
               "GET /v1/database/%s/subscribe?compression=None HTTP/1.1\r\nHost: %s\r\n"
               "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: bGlnaHRjb25lIGJlbmNobQ==\r\n"
               "Sec-WebSocket-Protocol: %s.bsatn.spacetimedb\r\n\r\n",
               options->database,
               options->url,
               options->protocol);
    send_all(fd, text.ptr, text.len);
    buf_deinit(&text);
}

static void message_in(Crowd *crowd, Client *client, const uint8_t *frame, size_t len) {
    if (++client->messages == crowd->want) crowd->behind--;
    if (client != crowd->clients || len > sizeof crowd->frame) return;
    memcpy(crowd->frame, frame, len);
    crowd->frame_len = len;
}

// The frame at the front of bytes. 0: it is not whole.
static size_t frame_len(const uint8_t *bytes, size_t have, size_t *head) {
    if (have < 2) return 0;
    size_t len = bytes[1] & 127;
    *head = 2;
    if (len == 126) {
        if (have < 4) return 0;
        len = (size_t)bytes[2] << 8 | bytes[3];
        *head = 4;
    }
    if (len == 127 || *head + len > IN_BYTES) fatal("frame", "larger than this program expects");
    return have < *head + len ? 0 : *head + len;
}

static size_t upgrade_take(Client *client) {
    uint8_t *end = memmem(client->in, client->in_len, "\r\n\r\n", 4);
    if (!end) return 0;
    if (!memmem(client->in, client->in_len, " 101 ", 5)) fatal("upgrade", (char *)client->in);
    client->upgraded = true;
    return (size_t)(end + 4 - client->in);
}

static void client_take(Crowd *crowd, Client *client) {
    size_t at = client->upgraded ? 0 : upgrade_take(client), head, len;
    while (client->upgraded && (len = frame_len(client->in + at, client->in_len - at, &head))) {
        const uint8_t *frame = client->in + at;
        WsOpcode opcode = (WsOpcode)(frame[0] & 15);
        if (opcode == WS_PING) send_frame(client->fd, WS_PONG, BYTES(frame + head, len - head));
        if (opcode == WS_CLOSE) fatal("closed", "by the server");
        if (opcode == WS_BINARY) message_in(crowd, client, frame, len);
        at += len;
    }
    client->in_len -= at;
    if (client->in_len) memmove(client->in, client->in + at, client->in_len);
}

static void client_read(Crowd *crowd, Client *client) {
    ssize_t got = read(client->fd, client->in + client->in_len, IN_BYTES - client->in_len);
    if (got == 0) fatal("read", "the server hung up");
    if (got < 0 && errno != EAGAIN) fatal("read", strerror(errno));
    if (got <= 0) return;
    client->in_len += (size_t)got;
    client_take(crowd, client);
}

// ── the crowd ──────────────────────────────────────────────────────────────────────────────────

static void crowd_await(Crowd *crowd) {
    struct epoll_event events[1024];
    int64_t end = clock_ns() + PATIENCE_NS;
    while (crowd->behind) {
        int count = epoll_wait(crowd->epoll, events, 1024, 1000);
        for (int i = 0; i < count; i++)
            client_read(crowd, events[i].data.ptr);
        if (clock_ns() > end) fatal("wait", "some clients heard nothing");
    }
}

// Until the first `count` clients have one message more than they were last waited for.
static void crowd_expect(Crowd *crowd, uint32_t count, uint32_t messages) {
    crowd->want = messages;
    crowd->behind = 0;
    for (uint32_t i = 0; i < count; i++)
        crowd->behind += crowd->clients[i].messages < messages;
}

static void client_open(Crowd *crowd, Client *client, int fd) {
    int one = 1;
    *client = (Client){.fd = fd};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (ioctl(fd, FIONBIO, &one) != 0 || epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fatal("socket", strerror(errno));
}

static void crowd_init(Crowd *crowd, uint32_t count) {
    *crowd = (Crowd){.count = count};
    crowd->clients = mem_zalloc(count * sizeof *crowd->clients);
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!crowd->clients || crowd->epoll < 0) fatal("crowd", "out of memory");
}

static void crowd_end(Crowd *crowd) {
    for (uint32_t i = 0; i < crowd->count; i++)
        close(crowd->clients[i].fd);
    close(crowd->epoll);
    mem_free(crowd->clients);
}

static void subscribe(int fd) {
    Buf m = {0};
    buf_put_u8(&m, 0);
    buf_put_u32(&m, 1);
    buf_put_u32(&m, 1);
    buf_put_u32(&m, 1);
    buf_put_lp(&m, str_bytes(STR("SELECT * FROM account WHERE id = 1")));
    send_buf(fd, &m);
}

static void call(int fd) {
    Buf m = {0}, args = {0};
    buf_put_u32(&args, 1);
    buf_put_u32(&args, 2);
    buf_put_u32(&args, 1);
    buf_put_u8(&m, 3);
    buf_put_u32(&m, 2);
    buf_put_u8(&m, 0);
    buf_put_lp(&m, str_bytes(STR("transfer")));
    buf_put_lp(&m, buf_bytes(&args));
    buf_deinit(&args);
    send_buf(fd, &m);
}

// ── the two sides ──────────────────────────────────────────────────────────────────────────────

static int double_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, uint32_t count) {
    qsort(values, count, sizeof *values, double_order);
    return values[count / 2];
}

// The last client is the one that calls; it watches nothing.
static void server_round(const Options *options, Crowd *crowd, Figures *figures, uint32_t round) {
    uint32_t watchers = options->connections;
    double took[UPDATES_MAX];
    crowd_init(crowd, watchers + 1);
    for (uint32_t i = 0; i <= watchers; i++) {
        client_open(crowd, &crowd->clients[i], dial(options->url));
        upgrade_ask(options, crowd->clients[i].fd);
        if ((i + 1) % WINDOW && i < watchers) continue;
        crowd_expect(crowd, i + 1, 1);
        crowd_await(crowd);
    }
    for (uint32_t i = 0; i < watchers; i++)
        subscribe(crowd->clients[i].fd);
    crowd_expect(crowd, watchers, 2);
    crowd_await(crowd);
    double before = cpu_ms(options->pid);
    for (uint32_t n = 0; n < options->updates; n++) {
        int64_t began = clock_ns();
        crowd_expect(crowd, watchers, 3 + n);
        call(crowd->clients[watchers].fd);
        crowd_await(crowd);
        took[n] = (double)(clock_ns() - began) / 1e6;
    }
    figures->cpu_ms[round] = (cpu_ms(options->pid) - before) / options->updates;
    figures->ms[round] = median(took, options->updates);
}

// Accept, and for each word that arrives on `ask` write `len` bytes to every socket.
static void bare_process(int listener, int ask, uint32_t count, const uint8_t *frame, size_t len) {
    int *sockets = mem_alloc(count * sizeof *sockets), one = 1;
    if (!sockets) _exit(1);
    for (uint32_t i = 0; i < count; i++) {
        sockets[i] = accept(listener, NULL, NULL);
        if (sockets[i] < 0) _exit(1);
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    char word;
    while (read(ask, &word, 1) == 1) {
        for (uint32_t i = 0; i < count; i++) {
            if (write(sockets[i], frame, len) != (ssize_t)len) _exit(1);
        }
    }
    _exit(0);
}

static void bare_round(const Options *options,
                       const Crowd *like,
                       Figures *figures,
                       uint32_t round) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ask[2];
    double took[UPDATES_MAX];
    char url[64];
    Crowd crowd;
    if (bind(listener, (struct sockaddr *)&at, at_len) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &at_len) != 0 || pipe(ask) != 0)
        fatal("bare", strerror(errno));
    pid_t pid = fork();
    if (pid < 0) fatal("fork", strerror(errno));
    if (pid == 0) {
        close(ask[1]);
        bare_process(listener, ask[0], options->connections, like->frame, like->frame_len);
    }
    close(ask[0]);
    close(listener);
    snprintf(url, sizeof url, "127.0.0.1:%u", ntohs(at.sin_port));
    crowd_init(&crowd, options->connections);
    for (uint32_t i = 0; i < options->connections; i++) {
        client_open(&crowd, &crowd.clients[i], dial(url));
        crowd.clients[i].upgraded = true;
    }
    double before = cpu_ms(pid);
    for (uint32_t n = 0; n < options->updates; n++) {
        int64_t began = clock_ns();
        crowd_expect(&crowd, options->connections, 1 + n);
        if (write(ask[1], "!", 1) != 1) fatal("bare", strerror(errno));
        crowd_await(&crowd);
        took[n] = (double)(clock_ns() - began) / 1e6;
    }
    figures->cpu_ms[round] = (cpu_ms(pid) - before) / options->updates;
    figures->ms[round] = median(took, options->updates);
    close(ask[1]);
    crowd_end(&crowd);
    waitpid(pid, NULL, 0);
}

// ── the whole ──────────────────────────────────────────────────────────────────────────────────

static const char usage[] =
    "usage: fanout --url ADDRESS:PORT --database NAME [--protocol v3] [--connections 10000]\n"
    "              [--updates 20] [--rounds 3] [--pid SERVER] [--json]\n";

static Options options_read(int argc, char **argv) {
    static const struct option names[] = {{"url", 1, NULL, 'u'},
                                          {"database", 1, NULL, 'd'},
                                          {"protocol", 1, NULL, 'p'},
                                          {"connections", 1, NULL, 'c'},
                                          {"updates", 1, NULL, 'n'},
                                          {"rounds", 1, NULL, 'r'},
                                          {"pid", 1, NULL, 'i'},
                                          {"json", 0, NULL, 'j'},
                                          {0}};
    Options o = {.protocol = "v3", .connections = 10000, .updates = 20, .rounds = 3};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'u': o.url = optarg; break;
        case 'd': o.database = optarg; break;
        case 'p': o.protocol = optarg; break;
        case 'c': o.connections = (uint32_t)atoi(optarg); break;
        case 'n': o.updates = (uint32_t)atoi(optarg); break;
        case 'r': o.rounds = (uint32_t)atoi(optarg); break;
        case 'i': o.pid = (pid_t)atoi(optarg); break;
        case 'j': o.json = true; break;
        default: fatal("options", usage);
        }
    }
    if (!o.url || !o.database || !o.connections || !o.updates || o.updates > UPDATES_MAX ||
        !o.rounds || o.rounds > ROUNDS_MAX)
        fatal("options", usage);
    return o;
}

static void figure(const Options *o, const char *name, double value, const char *unit, bool last) {
    if (o->json)
        printf("{\"name\":\"%s\",\"value\":%.4f,\"unit\":\"%s\"}%s",
               name,
               value,
               unit,
               last ? "]\n" : ",");
    else
        printf("%-34s %10.3f %s\n", name, value, unit);
}

int main(int argc, char **argv) {
    Options options = options_read(argc, argv);
    Figures server = {0}, bare = {0};
    double ratio[ROUNDS_MAX], cpu_ratio[ROUNDS_MAX];
    uint32_t rounds = options.rounds;
    signal(SIGPIPE, SIG_IGN);
    for (uint32_t round = 0; round < rounds; round++) {
        Crowd crowd;
        server_round(&options, &crowd, &server, round);
        crowd_end(&crowd);
        bare_round(&options, &crowd, &bare, round);
        ratio[round] = server.ms[round] / bare.ms[round];
        cpu_ratio[round] = bare.cpu_ms[round] > 0 ? server.cpu_ms[round] / bare.cpu_ms[round] : 0;
    }
    if (options.json) printf("[");
    figure(&options, "one update to all", median(server.ms, rounds), "ms", false);
    figure(&options, "as many bare writes", median(bare.ms, rounds), "ms", false);
    figure(&options, "ratio", median(ratio, rounds), "ratio", !options.pid);
    if (options.pid) {
        figure(&options, "processor time", median(server.cpu_ms, rounds), "ms", false);
        figure(&options, "processor time, bare", median(bare.cpu_ms, rounds), "ms", false);
        figure(&options, "processor time, ratio", median(cpu_ratio, rounds), "ratio", true);
    }
    return 0;
}
