#define _GNU_SOURCE  // nftw, memmem
// node_testing.c: the engine, the server and the clients of node_testing.h.
#include "node/node_testing.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"
#include "host/host.h"
#include "schema/def_text.h"

// ── an engine ──────────────────────────────────────────────────────────────────────────────────

struct HostProgram {
    ModuleDef *def;
};

struct HostInstance {
    HostEnv env;
    atomic_bool stop;
    bool torn;  // a call was stopped in it
    // Of the running call.
    const HostCall *call;
    int64_t end_ns;  // 0: never
    HostStatus status;
    Buf returned, text;
};

#define MAKING_US 20000  // an instance, as in JavaScript

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// True: the call has to end.
static bool must_end(HostInstance *h) {
    if (atomic_load(&h->stop)) h->status = HOST_STOPPED;
    if (h->end_ns && now_ns() >= h->end_ns) h->status = HOST_DEADLINE;
    return h->status != HOST_OK;
}

static void spin(HostInstance *h, int64_t micros) {
    for (int64_t end = now_ns() + micros * 1000; now_ns() < end && !must_end(h);) {
    }
}

static bool ok(HostInstance *h, AbiErrno result) {
    if (result != ABI_OK && h->status == HOST_OK) {
        h->status = HOST_FATAL;
        buf_printf(&h->text, "errno %d", (int)result);
    }
    return h->status == HOST_OK;
}

typedef struct Found {
    bool any;
    uint64_t value;
} Found;

static bool find_row(void *ctx, Bytes row) {
    Found *found = ctx;
    found->any = true;
    found->value = load_u64(row.ptr + 4);
    return true;
}

// counter[id] += 1, with a pause between the look and the leap.
static void add_one(HostInstance *h, Access *access, uint32_t id, int64_t pause_us) {
    uint32_t table, index;
    uint8_t key[4], row[12];
    Found found = {0};
    Buf generated = {0};
    store_u32(key, id);
    if (!ok(h, access->ops->table_id(access, STR("counter"), &table))) return;
    if (!ok(h, access->ops->index_id(access, STR("counter_id_idx_btree"), &index))) return;
    if (!ok(h, access->ops->scan_point(access, index, BYTES(key, 4), (RowSink){find_row, &found})))
        return;
    spin(h, pause_us);
    if (h->status != HOST_OK) return;
    store_u32(row, id);
    store_u64(row + 4, found.value + 1);
    ok(h,
       found.any ? access->ops->update(access, table, index, BYTES(row, 12), &generated)
                 : access->ops->insert(access, table, BYTES(row, 12), &generated));
    buf_deinit(&generated);
}

static void say(HostInstance *h, Str message) {
    HostLogRecord record = {.level = 2, .function = h->call->name, .message = message};
    h->env.log(h->env.ctx, &record);
}

atomic_uint idle_alone;

static void deposit(HostInstance *h, uint32_t id, int64_t pause_us) {
    const HostCall *call = h->call;
    AbiErrno result = ABI_HOST_CALL_FAILURE;
    for (int tries = 0; tries < 2 && result == ABI_HOST_CALL_FAILURE; tries++) {
        Access *access;
        Micros at;
        if (!ok(h, call->procedure->tx_begin(call->procedure_ctx, &access, &at))) return;
        if (tries && sched_getscheduler(0) == SCHED_IDLE) atomic_fetch_add(&idle_alone, 1);
        add_one(h, access, id, pause_us);
        if (h->status != HOST_OK) {
            call->procedure->tx_abort(call->procedure_ctx);
            return;
        }
        result = call->procedure->tx_commit(call->procedure_ctx);
    }
    ok(h, result);
}

static void fill(HostInstance *h, Access *access, uint32_t count) {
    for (uint32_t id = 0; id < count && h->status == HOST_OK; id++) {
        add_one(h, access, id, 0);
    }
}

static void clear(HostInstance *h, Access *access) {
    uint32_t table;
    uint64_t deleted;
    if (ok(h, access->ops->table_id(access, STR("counter"), &table)))
        (void)ok(h, access->ops->clear(access, table, &deleted));
}

typedef struct Sum {
    uint64_t total, pace_us;
} Sum;

static bool sum_row(void *ctx, Bytes row) {
    Sum *sum = ctx;
    uint64_t value = load_u64(row.ptr + 4);
    if (load_u32(row.ptr) == PACE)
        sum->pace_us = value * 1000;
    else
        sum->total += value;
    return true;
}

static void run_view(HostInstance *h) {
    Access *access = h->call->access;
    uint32_t table;
    Sum sum = {0};
    if (!ok(h, access->ops->table_id(access, STR("counter"), &table))) return;
    if (!ok(h, access->ops->scan_table(access, table, (RowSink){sum_row, &sum}))) return;
    spin(h, (int64_t)sum.pace_us);
    buf_put_u8(&h->returned, 0);
    buf_put_u32(&h->returned, 1);
    buf_put_u64(&h->returned, sum.total);
}

static void run_reducer(HostInstance *h, Str name, Bytes args) {
    Access *access = h->call->access;
    if (str_eq(name, STR("fill"))) fill(h, access, load_u32(args.ptr));
    if (str_eq(name, STR("clear"))) clear(h, access);
    if (str_eq(name, STR("add"))) add_one(h, access, load_u32(args.ptr), 0);
    if (str_eq(name, STR("slow_add"))) {
        say(h, STR("slow"));
        add_one(h, access, load_u32(args.ptr), load_u32(args.ptr + 4));
    }
    if (str_eq(name, STR("for_ever"))) spin(h, INT64_MAX / 4000);
    if (str_eq(name, STR("later"))) h->env.schedule_now(h->env.ctx, STR("add"), args);
}

static void run_procedure(HostInstance *h, Str name, Bytes args) {
    const HostCall *call = h->call;
    if (str_eq(name, STR("deposit"))) deposit(h, load_u32(args.ptr), load_u32(args.ptr + 4));
    if (str_eq(name, STR("nap"))) {
        say(h, STR("good night"));
        call->procedure->sleep_until(call->procedure_ctx,
                                     h->env.now(h->env.ctx) + (Micros)load_u32(args.ptr) * 1000);
        must_end(h);
    }
}

static void run_handler(HostInstance *h) {
    buf_put_u32(&h->returned, 0);  // no headers, HTTP/1.1, 200
    buf_put_u8(&h->returned, 2);
    buf_put_u16(&h->returned, 200);
    deposit(h, 77, 0);
}

static void run_one(HostInstance *h, const HostCall *call, const HostSource *source) {
    int64_t began = now_ns();
    h->call = call;
    h->end_ns = call->budget_us ? began + call->budget_us * 1000 : 0;
    h->status = HOST_OK;
    buf_clear(&h->returned);
    buf_clear(&h->text);
    if (!must_end(h)) {
        if (call->kind == HOST_REDUCER) run_reducer(h, call->name, call->args);
        if (call->kind == HOST_PROCEDURE) run_procedure(h, call->name, call->args);
        if (call->kind == HOST_HTTP) run_handler(h);
        if (call->kind == HOST_VIEW_ANON) run_view(h);
    }
    if (h->status == HOST_STOPPED) atomic_store(&h->stop, false);
    h->torn |= h->status == HOST_STOPPED || h->status == HOST_DEADLINE;
    HostOutcome outcome = {.status = h->status,
                           .message = bytes_str(buf_bytes(&h->text)),
                           .returned = buf_bytes(&h->returned),
                           .body = BYTES("hello", 5),
                           .elapsed_us = (now_ns() - began) / 1000};
    source->done(source->ctx, call, &outcome);
}

Err host_program_load(HostKind kind,
                      Bytes program,
                      const HostLoadOptions *options,
                      HostProgram **out,
                      Diag *diag) {
    (void)kind, (void)options;
    HostProgram *p = MEM_NEW(HostProgram);
    if (!p) return ERR_NOMEM;
    Err err = moduledef_decode(program, &p->def, diag);
    if (err != OK) mem_free(p);
    if (err == OK) *out = p;
    return err;
}

void host_program_free(HostProgram **program) {
    if (!*program) return;
    moduledef_free(&(*program)->def);
    mem_free(*program);
    *program = NULL;
}

const ModuleDef *host_program_def(const HostProgram *program) {
    return program->def;
}

Err host_instance_new(HostProgram *program, const HostEnv *env, HostInstance **out, Diag *diag) {
    (void)program, (void)diag;
    HostInstance *h = MEM_NEW(HostInstance);
    if (!h) return ERR_NOMEM;
    usleep(MAKING_US);
    h->env = *env;
    *out = h;
    return OK;
}

void host_instance_free(HostInstance **instance) {
    if (!*instance) return;
    buf_deinit(&(*instance)->returned);
    buf_deinit(&(*instance)->text);
    mem_free(*instance);
    *instance = NULL;
}

bool host_instance_ok(const HostInstance *instance) {
    return !instance->torn;
}

bool host_instances_are_cheap(const HostProgram *program) {
    (void)program;
    return false;
}

void host_run(HostInstance *instance, const HostSource *source) {
    HostCall call;
    while (!instance->torn && source->next(source->ctx, &call)) {
        run_one(instance, &call, source);
    }
}

void host_idle(HostInstance *instance) {
    (void)instance;
}

void host_begin(void) {}

void host_cache_clean(const char *cache_dir) {
    (void)cache_dir;
}

void host_stop(HostInstance *instance) {
    atomic_store(&instance->stop, true);
}

// ── a server ───────────────────────────────────────────────────────────────────────────────────

static const DefText module = {
    .types = {"Counter: (id: U32, value: U64)", "Total: (n: U64)"},
    .tables = {{.name = "counter",
                .row = 0,
                .primary_key = "0",
                .unique = {"0"},
                .indexes = {{.name = "counter_id_idx_btree", .columns = "0"}}}},
    .reducers = {{.name = "add", .params = "(id: U32)"},
                 {.name = "slow_add", .params = "(id: U32, us: U32)"},
                 {.name = "for_ever"},
                 {.name = "later", .params = "(id: U32)"},
                 {.name = "fill", .params = "(count: U32)"},
                 {.name = "clear"}},
    .views = {{.name = "total", .returns = "Array<&1>", .is_anonymous = true}},
    .procedures = {{.name = "deposit", .params = "(id: U32, us: U32)"},
                   {.name = "nap", .params = "(ms: U32)"}},
    .handlers = {"hello"},
    .routes = {"hello GET /hello"},
};

static char token[2048];  // of the owner, for one world

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void world_start_again(World *world) {
    Diag diag = {0};
    NodeOptions options = {.io = world->io ? world->io : io_real(),
                           .data_dir = world->dir,
                           .host = "127.0.0.1",
                           .in_memory = world->io == NULL,
                           .deadline = 3000000,
                           .slice = 1000,
                           .cold_slice = 1000,
                           .procedure_exclusive = 1000000};
    Err err = node_start(&options, &world->node, &diag);
    if (err != OK) fail_msg("%s", diag.text);
    world->port = node_port(world->node);
}

void world_start(World *world) {
    token[0] = 0;
    snprintf(world->dir, sizeof world->dir, "/tmp/lightcone-node-XXXXXX");
    EXPECT(mkdtemp(world->dir) != NULL);
    world_start_again(world);
}

void world_end(World *world) {
    node_stop(&world->node);
    nftw(world->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// ── clients ────────────────────────────────────────────────────────────────────────────────────

void client_connect(Client *c, uint16_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->len = 0;
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(c->socket, (struct sockaddr *)&in, sizeof in), 0);
}

bool client_send(Client *c, Bytes bytes) {
    while (bytes.len) {
        ssize_t sent = send(c->socket, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes.ptr += sent;
        bytes.len -= (size_t)sent;
    }
    return true;
}

bool client_more(Client *c) {
    EXPECT(c->len < sizeof c->in);
    ssize_t got = recv(c->socket, c->in + c->len, sizeof c->in - c->len, 0);
    if (got <= 0) return false;
    c->len += (size_t)got;
    return true;
}

void client_drop(Client *c, size_t bytes) {
    c->len -= bytes;
    memmove(c->in, c->in + bytes, c->len);
}

int http(uint16_t port, const char *head, Bytes sent, Buf *body) {
    Client *c = MEM_NEW(Client);
    Buf request = {0};
    client_connect(c, port);
    buf_printf(&request,
               "%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
               "content-type: application/json\r\ncontent-length: %zu\r\n\r\n",
               head,
               sent.len);
    buf_put_bytes(&request, sent);
    EXPECT(client_send(c, buf_bytes(&request)));
    while (client_more(c)) {
    }
    int status = atoi((const char *)c->in + 9);
    const char *end = memmem(c->in, c->len, "\r\n\r\n", 4);
    if (body && end) {
        buf_clear(body);
        buf_put(body, end + 4, c->len - (size_t)((const uint8_t *)end + 4 - c->in));
    }
    close(c->socket);
    buf_deinit(&request);
    mem_free(c);
    return status;
}

void ws_open(Client *c, uint16_t port) {
    static const char head[] =
        "GET /v1/database/d/subscribe HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "sec-websocket-protocol: v2.bsatn.spacetimedb\r\n\r\n";
    client_connect(c, port);
    EXPECT(client_send(c, BYTES(head, sizeof head - 1)));
    const char *end;
    while (!(end = memmem(c->in, c->len, "\r\n\r\n", 4)))
        EXPECT(client_more(c));
    EXPECT(memcmp(c->in, "HTTP/1.1 101", 12) == 0);
    client_drop(c, (size_t)((const uint8_t *)end + 4 - c->in));
}

// One frame; *len bytes behind a head of *head. False: the connection is over.
static bool frame_next(Client *c, size_t *head, size_t *len) {
    for (;;) {
        *head = 2;
        *len = c->len >= 2 ? c->in[1] & 127u : 0;
        size_t more = *len == 126 ? 2 : *len == 127 ? 8 : 0;
        *head += more;
        if (more) *len = 0;
        if (c->len >= *head) {
            for (size_t i = 0; i < more; i++)
                *len = *len << 8 | c->in[2 + i];
            if (c->len >= *head + *len && c->len >= 2) return true;
        }
        EXPECT(*head + *len <= sizeof c->in);
        if (!client_more(c)) return false;
    }
}

bool ws_next(Client *c, Buf *message) {
    size_t head, len;
    buf_clear(message);
    while (frame_next(c, &head, &len)) {
        uint8_t opcode = c->in[0] & 15, is_last = c->in[0] & 0x80;
        size_t tag = opcode == 2;  // of compression
        if (opcode <= 2) buf_put(message, c->in + head + tag, len - tag);
        client_drop(c, head + len);
        if (opcode <= 2 && is_last) return true;
        if (opcode == 8) return false;
    }
    return false;
}

bool ws_call(Client *c, uint8_t kind, uint32_t request, const char *name, int n, ...) {
    Buf m = {0}, frame = {0};
    va_list words;
    buf_put_u8(&m, kind);
    buf_put_u32(&m, request);
    buf_put_u8(&m, 0);
    buf_put_lp(&m, str_bytes(str_from(name)));
    buf_put_u32(&m, (uint32_t)n * 4);
    va_start(words, n);
    for (int i = 0; i < n; i++)
        buf_put_u32(&m, va_arg(words, uint32_t));
    va_end(words);
    uint8_t head[6] = {0x82, (uint8_t)(0x80 | m.len)};  // masked with the key 0
    EXPECT(m.len < 126);
    buf_put(&frame, head, sizeof head);
    buf_put_bytes(&frame, buf_bytes(&m));
    bool sent = client_send(c, buf_bytes(&frame));
    buf_deinit(&m);
    buf_deinit(&frame);
    return sent;
}

int ws_result(Client *c) {
    Buf m = {0};
    int result = -1;
    while (result < 0 && ws_next(c, &m)) {
        if (m.ptr[0] == MESSAGE_REDUCER) result = m.ptr[13] == 0;
        if (m.ptr[0] == MESSAGE_PROCEDURE) result = m.ptr[1] == 0;
    }
    buf_deinit(&m);
    return result;
}

uint64_t counter(const World *world, uint32_t id) {
    char sql[64];
    Buf body = {0};
    snprintf(sql, sizeof sql, "SELECT value FROM counter WHERE id = %u", id);
    EXPECT_EQ(http(world->port, "POST /v1/database/d/sql", str_bytes(str_from(sql)), &body), 200);
    buf_put_u8(&body, 0);
    const char *rows = strstr((const char *)body.ptr, "\"rows\":[[");
    uint64_t value = rows ? strtoull(rows + 9, NULL, 10) : 0;
    buf_deinit(&body);
    return value;
}

int sql(const World *world, const char *text) {
    char head[4096];
    snprintf(head, sizeof head, "POST /v1/database/d/sql?token=%s", token);
    return http(world->port, head, str_bytes(str_from(text)), NULL);
}

// ── many clients ───────────────────────────────────────────────────────────────────────────────

atomic_bool workers_stop;

static void *worker_main(void *arg) {
    Worker *w = arg;
    Client *c = MEM_NEW(Client);
    ws_open(c, w->world->port);
    for (uint32_t i = 0; i < w->count && !atomic_load(&workers_stop); i++) {
        bool one = strcmp(w->name, "add") == 0 || strcmp(w->name, "nap") == 0;
        if (!ws_call(c, w->kind, i, w->name, one ? 1 : 2, w->id, w->us)) break;
        int result = ws_result(c);
        if (result < 0) break;
        w->succeeded += result > 0;
    }
    close(c->socket);
    mem_free(c);
    return NULL;
}

void workers_start(Worker *workers, size_t count, const World *world) {
    for (size_t i = 0; i < count; i++) {
        workers[i].world = world;
        EXPECT_EQ(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
}

void workers_join(Worker *workers, size_t count) {
    for (size_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
}

// Each version has one table more than the one before.
static Bytes program(uint32_t version) {
    static ModuleDef *defs[VERSIONS];
    static char names[VERSIONS][16], types[VERSIONS][32];
    if (!defs[version]) {
        DefText text = module;
        for (uint32_t i = 1; i <= version; i++) {
            snprintf(names[i], sizeof names[i], "other_%c", 'a' + (int)i);
            snprintf(types[i], sizeof types[i], "Other%c: (id: U32)", 'A' + (int)i);
            text.types[i + 1] = types[i];
            text.tables[i] = (DefTextTable){.name = names[i], .row = i + 1};
        }
        defs[version] = def_text(&text, 10);
    }
    return defs[version]->raw;
}

int publish(const World *world, uint32_t version) {
    char head[4096];
    if (!token[0]) {
        Buf body = {0};
        EXPECT_EQ(http(world->port, "POST /v1/identity", BYTES_NONE, &body), 200);
        buf_put_u8(&body, 0);
        const char *at = strstr((const char *)body.ptr, "\"token\":\"") + 9;
        snprintf(token, sizeof token, "%.*s", (int)strcspn(at, "\""), at);
        buf_deinit(&body);
    }
    snprintf(head, sizeof head, "PUT /v1/database/d?host_type=Js&token=%s", token);
    return http(world->port, head, program(version), NULL);
}

uint64_t metric(const World *world, const char *name) {
    Buf body = {0};
    EXPECT_EQ(http(world->port, "GET /v1/metrics", BYTES_NONE, &body), 200);
    buf_put_u8(&body, 0);
    char line[128];
    snprintf(line, sizeof line, "\n%s{", name);
    const char *at = strstr((const char *)body.ptr, line);
    at = at ? strstr(at, "} ") : NULL;
    uint64_t value = at ? strtoull(at + 2, NULL, 10) : UINT64_MAX;
    buf_deinit(&body);
    return value;
}
