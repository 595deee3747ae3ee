#include "node/node.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/mend.h"
#include "node/node_private.h"
#include "node/oidc.h"
#include "os/background.h"

#define LOOPS_MAX_DEFAULT              64
#define DEADLINE_US_DEFAULT            10000000
#define SLICE_US_DEFAULT               2000
#define COLD_SLICE_US_DEFAULT          50000
#define MAKERS                         2
#define EXCLUSIVE_US_DEFAULT           1000000
#define PROCEDURE_US_DEFAULT           60000000
#define PROCEDURE_EXCLUSIVE_US_DEFAULT 250000
#define RESPONSE_BYTES_DEFAULT         (64u << 20)
#define WAITING_MAX                    512  // procedures asleep, of all databases

Micros node_now(const Node *node) {
    return node->io->clock_wall(node->io->world);
}

// ── places: which loop has which database ──────────────────────────────────────────────────────

// A database gets a loop of its own while there are loops to be had, so that a module that does not
// return delays nobody else; after that the loop with the fewest.
static NodeLoop *loop_choose(Node *node) {
    NodeLoop *least = NULL;
    for (uint32_t i = 1; i < node->loop_count; i++) {
        if (!least || node->loops[i]->database_count < least->database_count)
            least = node->loops[i];
    }
    if (least && (least->database_count == 0 || node->loop_count > node->options.loops_max))
        return least;
    NodeLoop **loops = mem_realloc(node->loops, (node->loop_count + 1) * sizeof(NodeLoop *));
    if (!loops) return least;
    node->loops = loops;
    NodeLoop *loop = MEM_NEW(NodeLoop);
    if (!loop) return least;
    NetHandler handler = routes_handler(loop);
    Diag diag = {0};
    if (loop_init(loop, node, node->loop_count, &handler, &diag) != OK ||
        loop_start(loop, &diag) != OK) {
        log_warn("no further loop: %s", diag.text);
        loop_deinit(loop);
        mem_free(loop);
        return least;
    }
    node->loops[node->loop_count++] = loop;
    return loop;
}

static struct NodePlace *place_find(const Node *node, const Identity *identity) {
    for (uint32_t i = 0; i < node->place_count; i++) {
        if (identity_eq(&node->places[i].identity, identity)) return &node->places[i];
    }
    return NULL;
}

static struct NodePlace *place_make(Node *node, const Identity *identity) {
    if (node->place_count == node->place_cap) {
        uint32_t cap = node->place_cap ? node->place_cap * 2 : 16;
        struct NodePlace *grown = mem_realloc(node->places, cap * sizeof *grown);
        if (!grown) return NULL;
        node->places = grown;
        node->place_cap = cap;
    }
    NodeLoop *loop = loop_choose(node);
    if (!loop) return NULL;
    loop->database_count++;
    struct NodePlace *place = &node->places[node->place_count++];
    *place = (struct NodePlace){.identity = *identity, .loop = loop};
    return place;
}

NodeLoop *node_place(Node *node, const Identity *identity) {
    pthread_mutex_lock(&node->mutex);
    struct NodePlace *place = place_find(node, identity);
    if (!place && !node->is_stopping) place = place_make(node, identity);
    if (place) place->holds++;
    NodeLoop *loop = place ? place->loop : NULL;
    pthread_mutex_unlock(&node->mutex);
    return loop;
}

void node_unplace(Node *node, const Identity *identity) {
    pthread_mutex_lock(&node->mutex);
    struct NodePlace *place = place_find(node, identity);
    ASSERT(place && place->holds);
    if (--place->holds == 0) {
        place->loop->database_count--;
        *place = node->places[--node->place_count];
    }
    pthread_mutex_unlock(&node->mutex);
}

NodeLoop *node_find_place(Node *node, const Identity *identity) {
    pthread_mutex_lock(&node->mutex);
    const struct NodePlace *place = place_find(node, identity);
    NodeLoop *loop = place ? place->loop : NULL;
    pthread_mutex_unlock(&node->mutex);
    return loop;
}

// ── opening what was there before ──────────────────────────────────────────────────────────────

typedef struct OpenTask {
    LoopTask task;
    DatabaseOpen open;
    struct OpenAll *all;
} OpenTask;

// Hundreds of modules that load at once on two cores are all late, and all have what they need for it in memory at
// once. So as many are opened at a time as there are cores, and the first of them serve soon.
typedef struct OpenAll {
    Node *node;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t waiting;  // to be open
    uint32_t opening, opening_max;
    bool no_memory;
} OpenAll;

static void open_begin(OpenAll *all) {
    pthread_mutex_lock(&all->mutex);
    while (all->opening == all->opening_max)
        pthread_cond_wait(&all->changed, &all->mutex);
    all->opening++;
    pthread_mutex_unlock(&all->mutex);
}

static void open_end(OpenAll *all) {
    pthread_mutex_lock(&all->mutex);
    all->opening--;
    all->waiting--;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->mutex);
}

static void open_task_run(LoopTask *task, NodeLoop *loop) {
    OpenTask *self = CONTAINER_OF(task, OpenTask, task);
    OpenAll *all = self->all;
    Diag diag = {0};
    Database *db = NULL;
    open_begin(all);
    Err err = mend_open(&self->open, &db, &diag);
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&self->open.identity, hex);
    if (err == OK) {
        db->next = loop->databases;
        loop->databases = db;
    } else {
        // The server serves the others; this one answers with the reason until it is mended.
        log_error("database %s cannot be opened: %s",
                  hex,
                  diag.text[0] ? diag.text : err_text(err));
    }
    mem_free(self);
    open_end(all);
}

static void open_one(void *ctx, const ControlDatabase *database) {
    OpenAll *all = ctx;
    database_files_sweep(all->node, database);
    if (!database->exists) return;
    NodeLoop *loop = node_place(all->node, &database->identity);
    OpenTask *task = loop ? MEM_NEW(OpenTask) : NULL;
    if (!task) {
        all->no_memory = true;
        return;
    }
    task->task.run = open_task_run;
    task->all = all;
    task->open = (DatabaseOpen){.loop = loop,
                                .identity = database->identity,
                                .owner = database->owner,
                                .generation = database->generation};
    pthread_mutex_lock(&all->mutex);
    all->waiting++;
    pthread_mutex_unlock(&all->mutex);
    loop_post(loop, &task->task);
}

static Err databases_open(Node *node) {
    OpenAll all = {.node = node, .opening_max = thread_cores()};
    pthread_mutex_init(&all.mutex, NULL);
    pthread_cond_init(&all.changed, NULL);
    control_databases(node->control, open_one, &all);
    pthread_mutex_lock(&all.mutex);
    while (all.waiting) {
        pthread_cond_wait(&all.changed, &all.mutex);
    }
    pthread_mutex_unlock(&all.mutex);
    pthread_cond_destroy(&all.changed);
    pthread_mutex_destroy(&all.mutex);
    return all.no_memory ? ERR_NOMEM : OK;
}

// ── start and stop ─────────────────────────────────────────────────────────────────────────────

// One server per data directory: the lock ends with the process, the text names the holder.
static Err data_dir_lock(Node *node, Diag *diag) {
    char path[IO_PATH_MAX], text[32] = {0};
    const Io *io = node->io;
    Err err = io->dir_make(io->world, node->data_dir);
    if (err != OK)
        return diag_fail(diag,
                         err,
                         "cannot make the data directory %s: %s",
                         node->data_dir,
                         io_last_error_text());
    if ((err = path_join(path, node->data_dir, "lightcone.pid")) != OK) return err;
    if ((err = io->file_open(io->world, path, IO_READ | IO_WRITE | IO_CREATE, &node->lock)) != OK) {
        return diag_fail(diag, err, "cannot open %s: %s", path, io_last_error_text());
    }
    if (io->file_lock(io->world, node->lock) != OK) {
        size_t got = 0;
        (void)!io->file_read(io->world, node->lock, 0, text, sizeof text - 1, &got);
        return diag_fail(diag,
                         ERR_BUSY,
                         "cannot take lock on database; %s already exists (owned by pid %s)",
                         path,
                         text);
    }
    int len = snprintf(text, sizeof text, "%ld", (long)getpid());
    err = io->file_truncate(io->world, node->lock, 0);
    if (err == OK) err = io->file_write(io->world, node->lock, 0, text, (size_t)len);
    if (err == OK) return OK;
    return diag_fail(diag,
                     err,
                     "cannot write %s: %s: is the disk of the data directory full, or may the "
                     "server not write there?",
                     path,
                     io_last_error_text());
}

static Err node_open(Node *node, Diag *diag) {
    char path[IO_PATH_MAX];
    const NodeOptions *o = &node->options;
    Err err = OK;
    if (!o->in_memory && (err = data_dir_lock(node, diag)) != OK) return err;
    if ((err = path_join(node->cache_dir, node->data_dir, "cache")) != OK) return err;
    if (!o->in_memory) host_cache_clean(node->cache_dir);
    if ((err = path_join(path, node->data_dir, "keys")) != OK) return err;
    AuthOptions auth = {
        .io = node->io,
        .key_dir = o->key_dir ? o->key_dir : path,
        .private_path = o->private_key_path,
        .public_path = o->public_key_path,
        .issuer = STR("localhost"),
        .issuers = o->issuers,
    };
    if ((err = auth_open(&auth, &node->auth, diag)) != OK) return err;
    if (o->tls_cert && (err = net_tls_open(o->tls_cert, o->tls_key, &node->tls, diag)) != OK)
        return err;
    if ((err = path_join(path, node->data_dir, "control")) != OK) return err;
    if ((err = control_open(node->io, path, o->in_memory, &node->control, diag)) != OK) return err;

    WorkerOptions slow = {.waiting_max = WAITING_MAX, .role = THREAD_BACKGROUND};
    // An engine that collects garbage stops all threads that ever were in it: the loop waits for this one.
    WorkerOptions urgent = {.threads = MAKERS, .role = THREAD_PROMPT, .name = "maker"};
    if ((err = worker_pool_new(&slow, &node->workers)) != OK) return err;
    if ((err = worker_pool_new(&urgent, &node->makers)) != OK) return err;
    if ((err = oidc_open(node, &node->oidc)) != OK) return err;
    node->pulse = pulse_new();
    background_start();
    host_begin();
    node->loops = mem_zalloc(sizeof(NodeLoop *));
    NodeLoop *front = node->loops ? MEM_NEW(NodeLoop) : NULL;
    if (!front) return ERR_NOMEM;
    node->loops[node->loop_count++] = front;
    NetHandler handler = routes_handler(front);
    if ((err = loop_init(front, node, 0, &handler, diag)) != OK) return err;
    if ((err = databases_open(node)) != OK) return err;
    // What is in use was used just now.
    if ((err = net_listen(front->net, o->host, o->port, node->tls, &node->port, diag)) != OK)
        return err;
    const char *pg_host = o->pg_host ? o->pg_host : o->host;
    if (o->pg)
        err = net_listen_pg(front->net, pg_host, o->pg_port, node->tls, &node->pg_port, diag);
    if (err != OK) return err;
    return loop_start(front, diag);
}

static void options_fill(NodeOptions *o) {
    if (!o->loops_max) o->loops_max = LOOPS_MAX_DEFAULT;
    if (!o->deadline) o->deadline = DEADLINE_US_DEFAULT;
    if (!o->slice) o->slice = SLICE_US_DEFAULT;
    if (o->slice == SLICE_OFF) o->slice = 0;
    if (!o->cold_slice) o->cold_slice = COLD_SLICE_US_DEFAULT;
    if (!o->exclusive) o->exclusive = EXCLUSIVE_US_DEFAULT;
    if (!o->procedure_deadline) o->procedure_deadline = PROCEDURE_US_DEFAULT;
    if (!o->procedure_exclusive) o->procedure_exclusive = PROCEDURE_EXCLUSIVE_US_DEFAULT;
    if (!o->outbound_response_max) o->outbound_response_max = RESPONSE_BYTES_DEFAULT;
}

// What the command line says, in the places where databases look.
static void defaults_fill(Settings *s, const NodeOptions *o) {
    settings_standard(s);
    s->slice = o->slice;
    s->deadline = o->deadline;
    s->exclusive = o->exclusive;
    s->procedure_deadline = o->procedure_deadline;
    s->procedure_exclusive = o->procedure_exclusive;
    s->view_failure_aborts = o->view_failure_aborts;
    s->memory_max = (int64_t)o->memory_max;
    for (uint32_t i = 0; i < setting_count; i++) {
        const SettingRule *rule = &setting_rules[i];
        if (setting_is_own(&o->settings, rule)) setting_unset(s, rule, &o->settings);
    }
}

Err node_start(const NodeOptions *options, Node **out, Diag *diag) {
    Node *node = MEM_NEW(Node);
    if (!node) return ERR_NOMEM;
    node->options = *options;
    options_fill(&node->options);
    defaults_fill(&node->defaults, &node->options);
    node->io = options->io;
    node->started = node_now(node);
    pthread_mutex_init(&node->mutex, NULL);
    pthread_cond_init(&node->idle, NULL);
    Err err = path_join(node->data_dir, options->data_dir, "");
    if (err == OK) err = node_open(node, diag);
    if (err != OK) {
        node_stop(&node);
        return err;
    }
    *out = node;
    return OK;
}

uint16_t node_port(const Node *node) {
    return node->port;
}

uint16_t node_pg_port(const Node *node) {
    return node->pg_port;
}

Err node_reload(Node *node, Diag *diag) {
    return node->tls ? net_tls_reload(node->tls, diag) : OK;
}

// No job begins any more; those in flight come to their end, while the loops they need still run.
// Each is bounded: by the time a module may take to load, and by the deadline of `init`.
static void jobs_end(Node *node) {
    pthread_mutex_lock(&node->mutex);
    node->is_stopping = true;
    while (node->jobs) {
        pthread_cond_wait(&node->idle, &node->mutex);
    }
    pthread_mutex_unlock(&node->mutex);
}

void node_stop(Node **handle) {
    Node *node = *handle;
    if (!node) return;
    *handle = NULL;
    jobs_end(node);
    // The front loop first: nobody new comes in while the databases close.
    for (uint32_t i = 0; i < node->loop_count; i++) {
        loop_stop(node->loops[i]);
    }
    // Their databases are closed: what still runs on workers was told to end and has nobody to tell.
    // They use the pool to their last step, so the node keeps it until they are gone.
    WorkerPool *workers = node->workers, *makers = node->makers;
    worker_pool_free(&makers);
    worker_pool_free(&workers);
    pulse_free(&node->pulse);
    node->workers = node->makers = NULL;
    // Loops that went on posted tasks to some that had stopped, and those may post again.
    for (bool any = true; any;) {
        any = false;
        for (uint32_t i = 0; i < node->loop_count; i++) {
            any |= loop_tasks_run(node->loops[i]);
        }
    }
    for (uint32_t i = 0; i < node->loop_count; i++) {
        loop_deinit(node->loops[i]);
        mem_free(node->loops[i]);
    }
    oidc_close(&node->oidc);
    mem_free(node->loops);
    mem_free(node->places);
    if (node->control) control_close(&node->control);
    if (node->auth) auth_close(&node->auth);
    net_tls_free(&node->tls);
    if (node->lock) node->io->file_close(node->io->world, &node->lock);
    pthread_cond_destroy(&node->idle);
    pthread_mutex_destroy(&node->mutex);
    mem_free(node);
}
