// route_publish.c: publish, reset and pre-publish. Spec: http-api-and-auth §8.1, §8.10, §8.11, §9.
//
// PICTURE
//   request's loop          a thread of the job's own          the database's loop
//   ──────────────          ─────────────────────────          ───────────────────
//   check, copy the body ─> load and describe the program,
//                           try `init` in memory         ────> create, update or plan
//   answer  <────────────────────────────────────────────────  (its tables change in one
//                                                               durable transaction)
//
// The module is compiled and tried beside the loops: the old version serves on until the new one is
// ready. A job outlives its connection; only the answer is dropped when the asker leaves.
#include <stdio.h>

#include "base/keccak.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/routes.h"
#include "os/background.h"
#include "sats/json.h"

static const char locked_text[] =
    "Database is locked and cannot be reset with --delete-data. Run `spacetime unlock` first.";

#define JOBS_MAX 4  // at once; more are refused, each costs a thread and an engine

typedef enum JobKind { JOB_CREATE, JOB_UPDATE, JOB_RESET, JOB_PLAN } JobKind;

typedef struct PublishJob {
    ConnOwner owner;
    LoopTask task;  // posted to the database's loop, then to the asker's
    Node *node;
    NodeLoop *home, *database_loop;
    NetConn *conn;  // NULL: the asker left
    JobKind kind;
    HostKind host_kind;
    Buf bytes;  // the program
    HostProgram *program;
    ControlDatabase record;
    Identity caller;
    Arena arena;
    Str token_text, domain;  // domain.ptr NULL: none was given
    bool break_clients, has_token, colour;
    uint8_t token[32];
    int status;
    Str content_type;
    Buf body;
} PublishJob;

// False: enough are running, or the server is stopping.
static bool job_slot_take(Node *node) {
    pthread_mutex_lock(&node->mutex);
    bool free = !node->is_stopping && node->jobs < JOBS_MAX;
    if (free) node->jobs++;
    pthread_mutex_unlock(&node->mutex);
    return free;
}

static void job_slot_give(Node *node) {
    pthread_mutex_lock(&node->mutex);
    if (--node->jobs == 0) pthread_cond_signal(&node->idle);
    pthread_mutex_unlock(&node->mutex);
}

static void job_free(PublishJob *job) {
    Node *node = job->node;
    if (job->database_loop) node_unplace(node, &job->record.identity);
    host_program_free(&job->program);
    buf_deinit(&job->bytes);
    buf_deinit(&job->body);
    arena_deinit(&job->arena);
    mem_free(job);
    job_slot_give(node);
}

static void job_conn_closed(void *self) {
    ((PublishJob *)self)->conn = NULL;
}

// ── answers ────────────────────────────────────────────────────────────────────────────────────

static void job_text(PublishJob *job, int status, const char *before, const char *text) {
    job->status = status;
    job->content_type = STR("text/plain; charset=utf-8");
    buf_clear(&job->body);
    buf_printf(&job->body, "%s%s", before, text);
}

static void job_success(PublishJob *job, const char *op) {
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&job->record.identity, hex);
    job->status = 200;
    job->content_type = STR("application/json");
    buf_put_str(&job->body, STR("{\"Success\":{\"domain\":"));
    if (job->domain.ptr) {
        buf_printf(&job->body, "\"" STR_FMT "\"", STR_ARG(job->domain));
    } else {
        buf_put_str(&job->body, STR("null"));
    }
    buf_printf(&job->body, ",\"database_identity\":\"%s\",\"op\":\"%s\"}}", hex, op);
}

static void answer_run(LoopTask *task, NodeLoop *loop) {
    PublishJob *job = CONTAINER_OF(task, PublishJob, task);
    (void)loop;
    if (job->conn) {
        NetConn *conn = job->conn;
        net_conn_set_data(conn, NULL);
        routes_respond_as(conn,
                          &job->caller,
                          job->token_text,
                          job->status,
                          NULL,
                          0,
                          job->content_type,
                          buf_bytes(&job->body));
    }
    job_free(job);
}

static void job_finish(PublishJob *job) {
    job->task.run = answer_run;
    loop_post(job->home, &job->task);
}

// ── on the database's loop ─────────────────────────────────────────────────────────────────────

static Database *open_database(NodeLoop *loop, const PublishJob *job) {
    return loop_database(loop, &job->record.identity);
}

// A fresh database of a generation of its own takes the place of whatever is open. The record names
// the generation: until it is stored the old files are the database, from then on the new ones are.
static Err database_install(PublishJob *job, NodeLoop *loop, Diag *diag) {
    Database *fresh = NULL, *old = open_database(loop, job);
    ControlDatabase record = job->record;
    bool replaces = record.exists;
    uint8_t hash[32];
    keccak256(buf_bytes(&job->bytes), hash);
    if (replaces) record.generation++;
    database_files_remove(job->node, &record.identity, record.generation);  // of a try that died
    DatabaseOpen open = {.loop = loop,
                         .identity = record.identity,
                         .owner = record.owner,
                         .generation = record.generation};
    Err err =
        database_create(&open, &job->program, buf_bytes(&job->bytes), job->host_kind, &fresh, diag);
    if (err != OK) return err;
    record.exists = true;
    record.host_kind = (uint8_t)job->host_kind;
    memcpy(record.initial_program, hash, sizeof hash);
    if ((err = control_put(job->node->control, &record)) != OK) {
        // A record that could not be synced may be on the disk all the same: both sets of files stay.
        database_close(&fresh, NULL, false);
        return err;
    }
    job->record = record;
    if (!replaces) (void)node_place(job->node, &record.identity);  // held by the record from now on
    for (Database **link = &loop->databases; old && *link; link = &(*link)->next) {
        if (*link != old) continue;
        *link = old->next;
        database_close(&old, "module exited", true);
        break;
    }
    fresh->next = loop->databases;
    loop->databases = fresh;
    database_files_sweep(job->node, &record);  // also of one that could not be opened
    return OK;
}

static void run_create(PublishJob *job, NodeLoop *loop) {
    Diag diag = {0};
    bool reset = job->kind == JOB_RESET;
    Err err = database_install(job, loop, &diag);
    if (err == OK) {
        job_success(job, reset ? "updated" : "created");
    } else {
        job_text(job, err == ERR_NOMEM ? 503 : 500, "", diag.text[0] ? diag.text : err_text(err));
    }
}

static void run_update(PublishJob *job, NodeLoop *loop) {
    Diag diag = {0};
    Database *db = open_database(loop, job);
    if (!db) {
        job_text(job, 404, "", "No such database.");
        return;
    }
    Err err = database_update(db,
                              &job->program,
                              buf_bytes(&job->bytes),
                              job->host_kind,
                              job->break_clients,
                              job->has_token ? job->token : NULL,
                              &diag);
    const char *why = diag.text[0] ? diag.text : err_text(err);
    if (err == OK) {
        job_success(job, "updated");
    } else if (err == ERR_CONFLICT) {
        job_text(job, 400, "Database update rejected: ", why);
    } else if (err == ERR_INVALID || err == ERR_UNIQUE) {
        job_text(job, 400, "Failed to create or update the database: ", why);
    } else {
        job_text(job, err_http_status(err), "", why);
    }
}

static void put_token_json(Buf *out, const uint8_t token[32]) {
    uint8_t reversed[32];
    char hex[65] = {0};
    for (int i = 0; i < 32; i++) {
        reversed[i] = token[31 - i];
    }
    hex_write(hex, BYTES(reversed, 32));
    const char *digits = hex;
    while (digits[0] == '0' && digits[1]) {
        digits++;
    }
    buf_printf(out, "\"0x%s\"", digits);
}

static void run_plan(PublishJob *job, NodeLoop *loop) {
    Diag diag = {0};
    MigratePlan *plan = NULL;
    CatalogModule module;
    uint8_t hash[32], token[32];
    Database *db = open_database(loop, job);
    if (!db || catalog_module(db_catalog(db->db), &module) != OK) {
        job_text(job, 404, "", "No such database.");
        return;
    }
    const ModuleDef *next = host_program_def(job->program);
    bool major = db->def->version < 10 && next->version >= 10;
    job->status = 200;
    job->content_type = STR("application/json");
    Err err = migrate_plan(db->def, next, &plan, &diag);
    if (err == OK) {
        Buf text = {0};
        migrate_plan_print(plan, job->colour, &text);
        keccak256(buf_bytes(&job->bytes), hash);
        database_migration_token(&db->identity, module.program_hash, hash, token);
        buf_put_str(&job->body, STR("{\"AutoMigrate\":{\"migrate_plan\":"));
        json_write_string(&job->body, bytes_str(buf_bytes(&text)));
        buf_printf(&job->body,
                   ",\"break_clients\":%s,\"token\":",
                   plan->breaks_clients ? "true" : "false");
        put_token_json(&job->body, token);
        buf_printf(&job->body, ",\"major_version_upgrade\":%s}}", major ? "true" : "false");
        buf_deinit(&text);
    } else if (err == ERR_INVALID) {
        buf_put_str(&job->body, STR("{\"ManualMigrate\":{\"reason\":"));
        json_write_string(&job->body, str_from(diag.text));
        buf_printf(&job->body, ",\"major_version_upgrade\":%s}}", major ? "true" : "false");
    } else {
        job_text(job, err_http_status(err), "", err_text(err));
    }
    migrate_plan_free(&plan);
}

// The world may have changed while the module was tried: the database may have been published,
// reset, locked or deleted by others. What the record says now decides. False: it was answered.
static bool job_renew(PublishJob *job) {
    Control *control = job->node->control;
    ControlDatabase record;
    bool known = control_find(control, &job->record.identity, &record) == OK;
    if (known) job->record = record;
    job->record.exists = known && record.exists;
    if (!job->record.exists) {
        if (job->kind != JOB_CREATE) {
            job_text(job, 404, "", "No such database.");
            return false;
        }
        job->record.owner = job->caller;
        Err err = control_may_create(control, &job->record.identity, &job->caller);
        if (err != OK) job_text(job, err_http_status(err), "", err_text(err));
        return err == OK;
    }
    if (!identity_eq(&job->record.owner, &job->caller)) {
        job_text(job, 403, "", "the database was published by somebody else in the meantime");
        return false;
    }
    if (job->kind == JOB_RESET && job->record.locked) {
        job_text(job, 403, "", locked_text);
        return false;
    }
    return true;
}

static void apply_run(LoopTask *task, NodeLoop *loop) {
    PublishJob *job = CONTAINER_OF(task, PublishJob, task);
    if (job_renew(job)) {
        switch (job->kind) {
        case JOB_CREATE:
            // Two first publishes at once: the later one finds the database there and updates it.
            if (job->record.exists) {
                run_update(job, loop);
            } else {
                run_create(job, loop);
            }
            break;
        case JOB_RESET: run_create(job, loop); break;
        case JOB_UPDATE: run_update(job, loop); break;
        case JOB_PLAN: run_plan(job, loop); break;
        }
    }
    job_finish(job);
}

// ── on the job's own thread ────────────────────────────────────────────────────────────────────

static void *job_main(void *arg) {
    PublishJob *job = arg;
    Diag diag = {0};
    thread_become("publish", THREAD_BACKGROUND);
    background_begin();
    Bytes program = buf_bytes(&job->bytes);
    HostLoadOptions load = {.cache_dir = node_cache_dir(job->node)};
    Err err = host_program_load(job->host_kind, program, &load, &job->program, &diag);
    if (err == OK && (job->kind == JOB_CREATE || job->kind == JOB_RESET)) {
        err = database_try_init(job->node,
                                job->program,
                                program,
                                job->host_kind,
                                &job->record.identity,
                                &job->record.owner,
                                &diag);
    }
    if (err != OK) {
        job_text(job, err == ERR_NOMEM ? 503 : 500, "", diag.text[0] ? diag.text : err_text(err));
        job_finish(job);
        return NULL;
    }
    job->task.run = apply_run;
    loop_post(job->database_loop, &job->task);
    return NULL;
}

static bool job_thread_start(PublishJob *job) {
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 16u << 20);
    bool started = pthread_create(&thread, &attr, job_main, job) == 0;
    pthread_attr_destroy(&attr);
    return started;
}

// "0x" and the digits of a little-endian u256 without leading zeros (§2.3).
static bool token_parse(Str text, uint8_t out[32]) {
    char padded[64];
    uint8_t big[32];
    if (!str_starts(text, STR("0x")) || text.len < 3 || text.len > 66) return false;
    memset(padded, '0', sizeof padded);
    memcpy(padded + 64 - (text.len - 2), text.ptr + 2, text.len - 2);
    if (!hex_read((Str){padded, 64}, big)) return false;
    for (int i = 0; i < 32; i++) {
        out[i] = big[31 - i];
    }
    return true;
}

static void job_start(Request *r, JobKind kind, const ControlDatabase *record, HostKind host_kind) {
    if (!job_slot_take(r->node)) {
        request_text(r,
                     503,
                     "too many modules are being published, or the server stops; try again");
        return;
    }
    PublishJob *job = MEM_NEW(PublishJob);
    if (!job) {
        job_slot_give(r->node);
        request_err(r, ERR_NOMEM, NULL);
        return;
    }
    Str text;
    job->owner.conn_closed = job_conn_closed;
    job->node = r->node;
    job->home = r->loop;
    job->database_loop = node_place(r->node, &record->identity);
    job->kind = kind;
    job->host_kind = host_kind;
    job->record = *record;
    job->caller = r->caller.identity;
    job->token_text = arena_str(&job->arena, r->caller.token);
    if (r->target_is_name) job->domain = arena_str(&job->arena, r->target);
    job->break_clients = request_query(r, "policy", &text) && str_eq(text, STR("BreakClients"));
    bool plain = request_query(r, "style", &text) || request_query(r, "pretty_print_style", &text);
    job->colour = !(plain && str_eq(text, STR("NoColor")));
    if (request_query(r, "token", &text)) job->has_token = token_parse(text, job->token);
    buf_put_bytes(&job->bytes, r->http->body);
    if (!job->database_loop || !job->token_text.ptr || !buf_ok(&job->bytes)) {
        job_free(job);
        request_err(r, ERR_NOMEM, NULL);
        return;
    }
    job->conn = r->conn;
    net_conn_set_data(r->conn, job);
    if (!job_thread_start(job)) {
        net_conn_set_data(r->conn, NULL);
        job_free(job);
        request_text(r, 503, "the server cannot start another thread");
    }
}

// ── the routes ─────────────────────────────────────────────────────────────────────────────────

static bool host_kind_of(Request *r, HostKind absent, HostKind *out) {
    Str text;
    *out = absent;
    if (!request_query(r, "host_type", &text)) return true;
    if (str_eq(text, STR("Wasm"))) {
        *out = HOST_WASM;
    } else if (str_eq(text, STR("Js"))) {
        *out = HOST_JS;
    } else {
        request_text(r,
                     400,
                     "Failed to deserialize query string: host_type: unknown variant `" STR_FMT
                     "`, expected `Wasm` or `Js`",
                     STR_ARG(text));
        return false;
    }
    return true;
}

static bool policy_ok(Request *r) {
    Str policy, token;
    if (!request_query(r, "policy", &policy) || str_eq(policy, STR("Compatible"))) return true;
    if (!str_eq(policy, STR("BreakClients"))) {
        request_text(r,
                     400,
                     "Failed to deserialize query string: policy: unknown variant `" STR_FMT
                     "`, expected `Compatible` or `BreakClients`",
                     STR_ARG(policy));
        return false;
    }
    if (request_query(r, "token", &token)) return true;
    request_text(r,
                 400,
                 "Migration policy is set to `BreakClients`, but no migration token was provided.");
    return false;
}

static bool replicas_ok(Request *r) {
    Str text;
    if (!request_query(r, "num_replicas", &text)) return true;
    uint64_t n = 0;
    bool number = text.len > 0 && text.len < 10;
    for (size_t i = 0; number && i < text.len; i++) {
        number = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        n = n * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    if (number && n <= 255) return true;
    request_text(r,
                 400,
                 number ? "Replication factor " STR_FMT " out of bounds"
                        : "Failed to deserialize query string: num_replicas: `" STR_FMT
                          "` is not a number",
                 STR_ARG(text));
    return false;
}

// A database that does not exist yet: its name is bound first, so that a failed first publish can be
// mended under the same identity (§9.2).
static bool record_make(Request *r, ControlDatabase *record) {
    *record = (ControlDatabase){.owner = r->caller.identity};
    Err err = OK;
    if (r->target_known) {
        record->identity = r->database;
        err = control_may_create(r->node->control, &r->database, &r->caller.identity);
    } else {
        record->identity = auth_new_identity(r->node->auth);
        if (r->target_is_name)
            err = control_add_name(r->node->control,
                                   r->target,
                                   &record->identity,
                                   &r->caller.identity);
    }
    if (err == ERR_DENIED && r->target_is_name) {
        Buf body = {0};
        buf_printf(&body, "{\"PermissionDenied\":{\"name\":\"" STR_FMT "\"}}", STR_ARG(r->target));
        request_json(r, 401, &body);
        buf_deinit(&body);
    } else if (err == ERR_DENIED) {
        (void)request_owner_only(r, "update database");
    } else if (err != OK) {
        request_err(r, err, NULL);
    }
    return err == OK;
}

// A body was sent and thrown away, because when its head came this caller had no business here
// (routes.c). Meanwhile he has: nothing must be done with the emptiness that is left.
static bool body_is_here(Request *r) {
    Str length = http_header(r->http, STR("content-length"));
    bool sent = http_header(r->http, STR("transfer-encoding")).ptr ||
                (length.ptr && !str_eq(length, STR("0")));
    if (r->http->body.len > 0 || !sent) return true;
    request_text(r, 503, "the database came to be while the module was on its way; send it again");
    return false;
}

void route_publish(Request *r) {
    bool clear;
    HostKind kind;
    ControlDatabase record;
    if (!request_query_bool(r, "clear", false, &clear) || !host_kind_of(r, HOST_WASM, &kind) ||
        !policy_ok(r) || !replicas_ok(r))
        return;
    if (clear && r->param_count == 0) {
        request_text(r, 400, "Clear database requires database name or identity");
        return;
    }
    if (!r->record_known) {
        if (!r->target_known && !body_is_here(r)) return;
        if (record_make(r, &record) && body_is_here(r)) job_start(r, JOB_CREATE, &record, kind);
        return;
    }
    if (!request_owner_only(r, clear ? "reset database" : "update database") || !body_is_here(r))
        return;
    if (clear && r->record.locked) {
        request_text(r, 403, "%s", locked_text);
        return;
    }
    if (!clear && !r->db) {
        request_text(r,
                     503,
                     "error starting database: it could not be opened; the server's log says why");
        return;
    }
    job_start(r, clear ? JOB_RESET : JOB_UPDATE, &r->record, kind);
}

void route_pre_publish(Request *r) {
    HostKind kind;
    if (!request_owner_only(r, "update database") || !host_kind_of(r, HOST_WASM, &kind) ||
        !body_is_here(r))
        return;
    job_start(r, JOB_PLAN, &r->record, kind);
}

void route_reset(Request *r) {
    HostKind kind;
    CatalogModule module;
    if (!request_owner_only(r, "reset database") || !body_is_here(r)) return;
    if (r->record.locked) {
        request_text(r, 403, "%s", locked_text);
        return;
    }
    if (catalog_module(db_catalog(r->db->db), &module) != OK) {
        request_text(r, 404, "No such database.");
        return;
    }
    HttpRequest again = *r->http;
    HostKind stored = (HostKind)module.program_kind;
    bool keep = again.body.len == 0;  // §8.11, the sane reading: no body keeps the program
    if (!host_kind_of(r, keep ? stored : HOST_WASM, &kind)) return;
    if (keep) again.body = module.program;
    r->http = &again;
    job_start(r, JOB_RESET, &r->record, keep ? stored : kind);
}
