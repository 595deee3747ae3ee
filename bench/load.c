// load.c: many clients in one thread, as cheap as a client can be, that check what they were told.
//
//   load --url 127.0.0.1:3000 --database bench --scenario insert|transfer
//        [--connections 64] [--in-flight 40] [--seconds 10] [--warmup 1] [--protocol v2|v3]
//        [--zipf 1.5] [--accounts 100000] [--token JWT] [--json] [--no-verify]
//   load --url … --database … --call REDUCER --argument 7      a reducer that takes one u32
//
// PICTURE
//   64 WebSockets, each with at most in-flight calls unanswered; for every answer another call.
//   What one read brings is answered by one write: v2 a frame a call, v3 all of them in one.
//
// WHAT IS CHECKED
//   insert    as many rows more as calls were acknowledged
//   transfer  every account holds what it held before, plus acknowledged credits, minus debits
//   Calls are all awaited before that, so a call without an answer is itself a failure.
//
//
// WHO WAITS
//   Both ends share this machine's cores, and what a client waits for a core itself is no fault of the server.
//   So it is prompt (os/thread.h), as the server's loop is: it gets no more of the machine, but at once. What it
//   waited all the same is reported: `client_waited`.
//
// Frames must be masked; ours use the key 0, which costs the server the same and us nothing.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/draw.h"
#include "bench/histogram.h"
#include "bench/verify.h"
#include "os/thread.h"

#define TEXT_BYTES    100
#define AMOUNT        1
#define BATCH_CALLS   256  // at most, in one v3 message
#define IN_BYTES      (64 * 1024)
#define CALL_BYTES    160  // at most, of either scenario, with its frame
#define DRAIN_SECONDS 20

typedef enum Scenario { INSERT, TRANSFER, CALL } Scenario;

typedef struct Options {
    const char *url, *database, *token, *reducer;
    Scenario scenario;
    uint32_t argument;
    uint32_t connections, in_flight, accounts;
    double seconds, warmup, zipf;
    bool v3, json, verify;
} Options;

typedef struct Call {  // what is in flight, by request id
    int64_t sent_ns;
    uint32_t from, to;
} Call;

typedef struct Client {
    int fd;
    bool greeted;  // InitialConnection has come
    bool wants_write;
    uint32_t next_request, outstanding;
    Call *calls;  // a ring of `ring` calls
    uint8_t in[IN_BYTES];
    size_t in_len;
    uint8_t *out;
    size_t out_len, out_sent;
} Client;

typedef struct Load {
    Options options;
    int epoll;
    Client **clients;
    uint32_t ring;  // a power of two, at least in_flight
    uint32_t greeted;
    Draw draw;
    int64_t now_ns, measure_from_ns, measure_to_ns;
    int64_t waited_ns;  // for a core, in what was measured
    bool stopping;
    uint64_t outstanding, acknowledged, refused, measured;
    uint64_t text_number;
    int64_t *moved;  // by account: acknowledged credits minus debits
    Histogram latency;
    char first_error[200];
} Load;

static void fatal(const char *what, const char *why) {
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static void *must(void *ptr) {
    if (!ptr) fatal("memory", "out of memory");
    return ptr;
}

static int64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// What this thread has waited for a core since it began.
static int64_t core_wait_ns(void) {
    unsigned long long ran = 0, waited = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (!file) return 0;
    bool ok = fscanf(file, "%llu %llu", &ran, &waited) == 2;
    fclose(file);
    return ok ? (int64_t)waited : 0;
}

// Calls (spec: websocket-and-data-model §6.1)

static uint8_t *put_u32(uint8_t *at, uint32_t value) {
    store_u32(at, value);
    return at + 4;
}

static uint8_t *put_name(uint8_t *at, const char *name) {
    size_t len = strlen(name);
    memcpy(put_u32(at, (uint32_t)len), name, len);
    return at + 4 + len;
}

static uint8_t *put_insert(Load *load, uint8_t *at) {
    at = put_name(at, "insert");
    at = put_u32(at, 4 + TEXT_BYTES);
    at = put_u32(at, TEXT_BYTES);
    uint64_t number = load->text_number++;
    for (int i = 10; i-- > 0; number /= 10)  // no two rows alike
        at[i] = (uint8_t)('0' + number % 10);
    memset(at + 10, '.', TEXT_BYTES - 10);
    return at + TEXT_BYTES;
}

static uint8_t *put_transfer(Load *load, Call *call, uint8_t *at) {
    call->from = draw_next(&load->draw);
    do
        call->to = draw_next(&load->draw);
    while (call->to == call->from);
    at = put_name(at, "transfer");
    at = put_u32(at, 12);
    at = put_u32(at, call->from);
    at = put_u32(at, call->to);
    return put_u32(at, AMOUNT);
}

static uint8_t *put_named(const Load *load, uint8_t *at) {
    at = put_name(at, load->options.reducer);
    at = put_u32(at, 4);
    return put_u32(at, load->options.argument);
}

static uint8_t *put_call(Load *load, Client *client, uint8_t *at) {
    uint32_t request = client->next_request++;
    Call *call = &client->calls[request & (load->ring - 1)];
    call->sent_ns = load->now_ns;
    *at++ = 3;
    at = put_u32(at, request);
    *at++ = 0;
    client->outstanding++;
    load->outstanding++;
    switch (load->options.scenario) {
    case INSERT: return put_insert(load, at);
    case TRANSFER: return put_transfer(load, call, at);
    case CALL: return put_named(load, at);
    }
    UNREACHABLE();
}

// A masked frame's head takes 6, 8 or 14 bytes; we leave room for 8 and never need more.
static uint8_t *frame_end(uint8_t *head, uint8_t *end, uint8_t first) {
    size_t len = (size_t)(end - head) - 8;
    head[0] = first;
    if (len < 126) {
        memmove(head + 6, head + 8, len);
        head[1] = (uint8_t)(0x80 | len);
        memset(head + 2, 0, 4);
        return end - 2;
    }
    head[1] = 0x80 | 126;
    head[2] = (uint8_t)(len >> 8);
    head[3] = (uint8_t)len;
    memset(head + 4, 0, 4);
    return end;
}

static void client_fill(Load *load, Client *client) {
    if (load->stopping || !client->greeted) return;
    uint8_t *at = client->out + client->out_len;
    while (client->outstanding < load->options.in_flight) {
        uint8_t *head = at;
        at += 8;
        uint32_t calls = 0, most = load->options.v3 ? BATCH_CALLS : 1;
        while (calls++ < most && client->outstanding < load->options.in_flight)
            at = put_call(load, client, at);
        at = frame_end(head, at, 0x82);
    }
    client->out_len = (size_t)(at - client->out);
}

static void client_watch(Load *load, Client *client, bool write, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = client};
    client->wants_write = write;
    if (epoll_ctl(load->epoll, operation, client->fd, &event) != 0) fatal("epoll", strerror(errno));
}

static void client_write(Load *load, Client *client) {
    while (client->out_sent < client->out_len) {
        ssize_t n = send(client->fd,
                         client->out + client->out_sent,
                         client->out_len - client->out_sent,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fatal("send", strerror(errno));
        client->out_sent += (size_t)n;
    }
    bool left = client->out_sent < client->out_len;
    if (!left) client->out_len = client->out_sent = 0;
    if (left != client->wants_write) client_watch(load, client, left, EPOLL_CTL_MOD);
}

// Send what may be sent. A pong may be waiting already; calls go behind it.
static void client_go(Load *load, Client *client) {
    bool was_stuck = client->wants_write;
    if (!was_stuck) client_fill(load, client);
    client_write(load, client);
    if (!was_stuck || client->wants_write) return;
    client_fill(load, client);
    client_write(load, client);
}

// Answers (§6.2)

static const uint8_t *need(const uint8_t *at, const uint8_t *end, size_t len) {
    if ((size_t)(end - at) < len) fatal("answer", "cut short");
    return at;
}

static const uint8_t *skip_lp(const uint8_t *at, const uint8_t *end) {
    size_t len = load_u32(need(at, end, 4));
    return need(at + 4, end, len) + len;
}

static void answered(Load *load, Client *client, uint32_t request, bool ok) {
    // Answers keep the order of their calls, so an id further back than the ring is a wrong one.
    if (!client->outstanding || client->next_request - request - 1 >= load->ring)
        fatal("answer", "to a call that was not made");
    Call *call = &client->calls[request & (load->ring - 1)];
    if (load->now_ns >= load->measure_from_ns && load->now_ns < load->measure_to_ns) {
        load->measured++;
        histogram_add(&load->latency, (uint64_t)(load->now_ns - call->sent_ns));
    }
    client->outstanding--;
    load->outstanding--;
    load->acknowledged += ok;
    load->refused += !ok;
    if (!ok || load->options.scenario != TRANSFER) return;
    load->moved[call->from] -= AMOUNT;
    load->moved[call->to] += AMOUNT;
}

static const uint8_t *take_result(Load *load,
                                  Client *client,
                                  const uint8_t *at,
                                  const uint8_t *end) {
    need(at, end, 4 + 8 + 1);
    uint32_t request = load_u32(at);
    uint8_t outcome = at[12];
    const uint8_t *text = at += 13;
    if (outcome == 0) {
        at = skip_lp(at, end);
        if (load_u32(need(at, end, 4)) != 0) fatal("answer", "an update nobody subscribed to");
        at += 4;
    } else if (outcome == 2 || outcome == 3) {
        at = skip_lp(at, end);
        if (!load->first_error[0])
            snprintf(load->first_error,
                     sizeof load->first_error,
                     "%.*s",
                     (int)(at - text - 4),
                     text + 4);
    } else if (outcome != 1) {
        fatal("answer", "unknown outcome");
    }
    answered(load, client, request, outcome <= 1);
    return at;
}

static void take_message(Load *load, Client *client, const uint8_t *at, const uint8_t *end) {
    if (*need(at, end, 2) != 0) fatal("answer", "compressed, which was not asked for");
    at++;
    while (at < end) {
        uint8_t kind = *at++;
        if (kind == 6) {
            at = take_result(load, client, at, end);
        } else if (kind == 0) {
            at = skip_lp(need(at, end, 48) + 48, end);
            load->greeted += !client->greeted;
            client->greeted = true;
        } else {
            fatal("answer", "neither a greeting nor a result");
        }
    }
}

// Take one frame; returns its length, 0 when it is not complete.
static size_t take_frame(Load *load, Client *client, const uint8_t *at, size_t len) {
    if (len < 2) return 0;
    size_t head = 2, payload = at[1] & 0x7f;
    if (payload == 126) head = 4;
    if (payload == 127) head = 10;
    if (len < head) return 0;
    if (head > 2) payload = 0;
    for (size_t i = 2; i < head; i++)
        payload = payload << 8 | at[i];
    if (len < head + payload) return 0;
    const uint8_t *body = at + head;
    if (at[0] == 0x82) take_message(load, client, body, body + payload);
    if (at[0] == 0x88) {
        fprintf(stderr, "load: %.*s\n", payload > 2 ? (int)payload - 2 : 0, body + 2);
        fatal("recv", "the server closes");
    }
    if (at[0] == 0x89) {
        uint8_t *pong = client->out + client->out_len;
        memcpy(pong + 8, body, payload);
        client->out_len = (size_t)(frame_end(pong, pong + 8 + payload, 0x8a) - client->out);
    }
    return head + payload;
}

static void client_read(Client *client) {
    ssize_t n = recv(client->fd, client->in + client->in_len, IN_BYTES - client->in_len, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) fatal("recv", n ? strerror(errno) : "the server hung up");
    client->in_len += (size_t)n;
}

static void client_take(Load *load, Client *client) {
    size_t done = 0, used;
    while ((used = take_frame(load, client, client->in + done, client->in_len - done)))
        done += used;
    client->in_len -= done;
    if (client->in_len == IN_BYTES) fatal("answer", "too large");
    if (done && client->in_len) memmove(client->in, client->in + done, client->in_len);
}

// Connecting

static int dial(const char *url) {
    char host[256];
    snprintf(host, sizeof host, "%s", url);
    char *colon = strrchr(host, ':');
    if (!colon) fatal(url, "should be HOST:PORT");
    *colon = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0) fatal(url, "no such host");
    int fd = socket(list->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) != 0) fatal(url, strerror(errno));
    freeaddrinfo(list);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void upgrade_ask(const Options *options, int fd) {
    Buf text = {0};
    buf_printf(&text,
               "GET /v1/database/%s/subscribe?compression=None HTTP/1.1\r\nHost: %s\r\n"
               "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: bGlnaHRjb25lIGJlbmNobQ==\r\n"
               "Sec-WebSocket-Protocol: %s.bsatn.spacetimedb\r\n",
               options->database,
               options->url,
               options->v3 ? "v3" : "v2");
    if (options->token) buf_printf(&text, "Authorization: Bearer %s\r\n", options->token);
    buf_put_str(&text, STR("\r\n"));
    if (!buf_ok(&text) || send(fd, text.ptr, text.len, MSG_NOSIGNAL) != (ssize_t)text.len)
        fatal("upgrade", "could not be sent");
    buf_deinit(&text);
}

static void upgrade_await(Client *client) {
    uint8_t *end;
    while (!(end = memmem(client->in, client->in_len, "\r\n\r\n", 4)))
        client_read(client);
    if (!memmem(client->in, client->in_len, " 101 ", 5)) {
        fprintf(stderr, "%.*s\n", (int)client->in_len, (char *)client->in);
        fatal("upgrade", "refused");
    }
    size_t head = (size_t)(end + 4 - client->in);
    client->in_len -= head;
    memmove(client->in, client->in + head, client->in_len);
}

static void connect_all(Load *load) {
    const Options *options = &load->options;
    load->clients = must(mem_zalloc(options->connections * sizeof *load->clients));
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < options->connections; i++) {
        Client *client = load->clients[i] = must(mem_zalloc(sizeof *client));
        client->calls = must(mem_zalloc(load->ring * sizeof *client->calls));
        client->out = must(mem_alloc((size_t)options->in_flight * CALL_BYTES + 4096));
        client->fd = dial(options->url);
        upgrade_ask(options, client->fd);
        upgrade_await(client);
        int one = 1;
        if (ioctl(client->fd, FIONBIO, &one) != 0) fatal("socket", strerror(errno));
        client_watch(load, client, false, EPOLL_CTL_ADD);
        client_take(load, client);
    }
}

// Running

static void poll_once(Load *load, int timeout_ms) {
    struct epoll_event events[256];
    int count = epoll_wait(load->epoll, events, 256, timeout_ms);
    if (count < 0 && errno != EINTR) fatal("epoll", strerror(errno));
    for (int i = 0; i < count; i++) {
        Client *client = events[i].data.ptr;
        load->now_ns = clock_ns();
        if (events[i].events & ~(uint32_t)EPOLLOUT) client_read(client);
        client_take(load, client);
        client_go(load, client);
    }
    load->now_ns = clock_ns();
}

static void run(Load *load) {
    const Options *options = &load->options;
    load->measure_from_ns = load->measure_to_ns = INT64_MAX;
    int64_t patience = clock_ns() + (int64_t)DRAIN_SECONDS * 1000000000;
    while (load->greeted < options->connections) {
        poll_once(load, 100);
        if (load->now_ns > patience) fatal("connecting", "not everybody was greeted");
    }
    load->measure_from_ns = load->now_ns + (int64_t)(options->warmup * 1e9);
    load->measure_to_ns = load->measure_from_ns + (int64_t)(options->seconds * 1e9);
    for (uint32_t i = 0; i < options->connections; i++) {
        load->now_ns = clock_ns();
        client_go(load, load->clients[i]);
    }
    while (load->now_ns < load->measure_from_ns)
        poll_once(load, 10);
    load->waited_ns = core_wait_ns();
    while (load->now_ns < load->measure_to_ns)
        poll_once(load, 10);
    load->waited_ns = core_wait_ns() - load->waited_ns;
    load->stopping = true;
    patience = load->now_ns + (int64_t)DRAIN_SECONDS * 1000000000;
    while (load->outstanding && load->now_ns < patience)
        poll_once(load, 10);
}

// Checking

typedef struct Before {
    uint64_t rows;
    int64_t *balances;
} Before;

static SqlServer sql_server(const Options *options) {
    return (SqlServer){options->url, options->database, options->token};
}

static bool before_read(const Load *load, Before *before) {
    const Options *options = &load->options;
    SqlServer server = sql_server(options);
    if (options->scenario == INSERT) return sql_count(&server, "message", &before->rows);
    before->balances = must(mem_zalloc(options->accounts * sizeof(int64_t)));
    return sql_balances(&server, before->balances, options->accounts);
}

static bool insert_check(const Load *load, const Before *before) {
    SqlServer server = sql_server(&load->options);
    uint64_t rows = 0;
    if (!sql_count(&server, "message", &rows)) return false;
    uint64_t more = rows - before->rows;
    if (more == load->acknowledged) return true;
    fprintf(stderr,
            "load: %llu calls acknowledged, %llu rows more\n",
            (unsigned long long)load->acknowledged,
            (unsigned long long)more);
    return false;
}

static bool transfer_check(const Load *load, const Before *before) {
    const Options *options = &load->options;
    SqlServer server = sql_server(options);
    int64_t *after = must(mem_zalloc(options->accounts * sizeof *after));
    bool ok = sql_balances(&server, after, options->accounts);
    uint32_t wrong = 0, example = 0;
    int64_t sum = 0;
    for (uint32_t i = 0; ok && i < options->accounts; i++) {
        sum += after[i] - before->balances[i];
        if (after[i] == before->balances[i] + load->moved[i]) continue;
        if (wrong++ == 0) example = i;
    }
    if (wrong)
        fprintf(stderr,
                "load: %u accounts are wrong; %u holds %lld, should be %lld\n",
                wrong,
                example,
                (long long)after[example],
                (long long)(before->balances[example] + load->moved[example]));
    if (sum) fprintf(stderr, "load: the sum of balances changed by %lld\n", (long long)sum);
    mem_free(after);
    return ok && !wrong && !sum;
}

static bool check(const Load *load, const Before *before) {
    if (load->outstanding) {
        fprintf(stderr,
                "load: %llu calls were never answered\n",
                (unsigned long long)load->outstanding);
        return false;
    }
    return load->options.scenario == INSERT ? insert_check(load, before)
                                            : transfer_check(load, before);
}

// Reporting

typedef struct Figure {
    const char *name;
    double value;
    const char *unit;
} Figure;

static void report(const Load *load, bool verified) {
    const Histogram *latency = &load->latency;
    const Figure figures[] = {
        {"throughput", (double)load->measured / load->options.seconds, "calls/s"},
        {"latency_p50", (double)histogram_at(latency, 0.5) / 1000, "us"},
        {"latency_p90", (double)histogram_at(latency, 0.9) / 1000, "us"},
        {"latency_p99", (double)histogram_at(latency, 0.99) / 1000, "us"},
        {"latency_p999", (double)histogram_at(latency, 0.999) / 1000, "us"},
        {"latency_max", (double)latency->max / 1000, "us"},
        {"acknowledged", (double)load->acknowledged, "calls"},
        {"refused", (double)load->refused, "calls"},
        {"client_waited", (double)load->waited_ns / load->options.seconds / 1e7, "%"},
    };
    const char *scenario = load->options.scenario == INSERT ? "insert"
                           : load->options.scenario == CALL ? "call"
                           : load->options.zipf > 0         ? "transfer-zipf"
                                                            : "transfer";
    bool json = load->options.json;
    if (json) printf("[");
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        const char *format = json ? "%s{\"scenario\":\"%s\",\"name\":\"%s\",\"value\":%.1f,"
                                    "\"unit\":\"%s\"}"
                                  : "%s%-14s %-14s %14.1f %s\n";
        printf(format,
               json && i ? "," : "",
               scenario,
               figures[i].name,
               figures[i].value,
               figures[i].unit);
    }
    if (json) printf("]\n");
    if (load->first_error[0]) fprintf(stderr, "load: first refusal: %s\n", load->first_error);
    if (!json && load->options.verify) printf("%-14s %s\n", "verified", verified ? "yes" : "NO");
}

static double number(const char *text, double min, double max) {
    char *end;
    double value = strtod(text, &end);
    if (*end || value < min || value > max) fatal(text, "is not a number that makes sense here");
    return value;
}

static Options options_read(int argc, char **argv) {
    static const struct option names[] = {
        {"url", 1, NULL, 'u'},
        {"database", 1, NULL, 'd'},
        {"connections", 1, NULL, 'c'},
        {"in-flight", 1, NULL, 'f'},
        {"seconds", 1, NULL, 's'},
        {"scenario", 1, NULL, 'S'},
        {"zipf", 1, NULL, 'z'},
        {"accounts", 1, NULL, 'a'},
        {"warmup", 1, NULL, 'w'},
        {"protocol", 1, NULL, 'p'},
        {"call", 1, NULL, 'C'},
        {"argument", 1, NULL, 'A'},
        {"token", 1, NULL, 't'},
        {"json", 0, NULL, 'j'},
        {"no-verify", 0, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    Options o = {.url = "127.0.0.1:3000",
                 .database = "bench",
                 .connections = 64,
                 .in_flight = 40,
                 .accounts = 100000,
                 .seconds = 10,
                 .warmup = 1,
                 .verify = true};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'u': o.url = optarg; break;
        case 'd': o.database = optarg; break;
        case 't': o.token = optarg; break;
        case 'c': o.connections = (uint32_t)number(optarg, 1, 20000); break;
        case 'f': o.in_flight = (uint32_t)number(optarg, 1, 16000); break;
        case 'a': o.accounts = (uint32_t)number(optarg, 2, 1e8); break;
        case 's': o.seconds = number(optarg, 0.1, 86400); break;
        case 'w': o.warmup = number(optarg, 0, 3600); break;
        case 'z': o.zipf = number(optarg, 0, 10); break;
        case 'C':
            if (strlen(optarg) > CALL_BYTES / 2) fatal(optarg, "is too long a name");
            o.reducer = optarg;
            o.scenario = CALL;
            o.verify = false;
            break;
        case 'A': o.argument = (uint32_t)number(optarg, 0, UINT32_MAX); break;
        case 'j': o.json = true; break;
        case 'n': o.verify = false; break;
        case 'S':
            if (strcmp(optarg, "insert") && strcmp(optarg, "transfer"))
                fatal(optarg, "no such scenario");
            o.scenario = strcmp(optarg, "transfer") ? INSERT : TRANSFER;
            break;
        case 'p':
            if (strcmp(optarg, "v2") && strcmp(optarg, "v3")) fatal(optarg, "no such protocol");
            o.v3 = optarg[1] == '3';
            break;
        default: exit(2);
        }
    }
    return o;
}

int main(int argc, char **argv) {
    static Load load;  // its histogram is large
    load.options = options_read(argc, argv);
    thread_become("load", THREAD_PROMPT);
    const Options *options = &load.options;
    load.ring = 1;
    while (load.ring < options->in_flight)
        load.ring *= 2;
    load.now_ns = clock_ns();
    load.text_number = (uint64_t)load.now_ns / 1000 % 10000000000;
    load.moved = must(mem_zalloc(options->accounts * sizeof *load.moved));
    if (!draw_init(&load.draw, (uint64_t)load.now_ns, options->accounts, options->zipf))
        fatal("memory", "out of memory");

    Before before = {0};
    if (options->verify && !before_read(&load, &before)) fatal("verify", "cannot read the tables");
    connect_all(&load);
    run(&load);
    bool verified = options->verify && check(&load, &before);
    report(&load, verified);

    for (uint32_t i = 0; i < options->connections; i++) {
        close(load.clients[i]->fd);
        mem_free(load.clients[i]->calls);
        mem_free(load.clients[i]->out);
        mem_free(load.clients[i]);
    }
    mem_free(load.clients);
    mem_free(load.moved);
    mem_free(before.balances);
    draw_deinit(&load.draw);
    return options->verify && !verified;
}
