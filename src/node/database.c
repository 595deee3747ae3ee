#include "node/database_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/keccak.h"
#include "base/log.h"
#include "base/mem.h"
#include "log/tail.h"
#include "node/backup.h"
#include "node/commit.h"
#include "node/lane.h"
#include "node/pg.h"
#include "node/session_private.h"

// ── its log ────────────────────────────────────────────────────────────────────────────────────

void database_log_record(Database *db, int level, Str function, Str message, Micros ts) {
    HostLogRecord record = {
        .level = level,
        .ts = ts,
        .target = STR(MODULELOG_SENTINEL),
        .filename = STR(MODULELOG_SENTINEL),
        .function = function,
        .message = message,
        .line = UINT32_MAX,
    };
    modulelog_add(db->log, &record);
}

void database_log_line(Database *db, int level, const char *function, Str message) {
    Str name = function ? str_from(function) : STR(MODULELOG_SENTINEL);
    database_log_record(db, level, name, message, node_now(db->loop->node));
}

void database_catalog_line(void *ctx, Str line) {
    database_log_line(ctx, 2, NULL, line);
}

// ── names for queries ──────────────────────────────────────────────────────────────────────────

static const CatalogTable *query_table(void *ctx, Str name) {
    const Database *db = ctx;
    return catalog_table_by_name(db_catalog(db->db), name);
}

static void query_each_table(void *ctx,
                             bool (*each)(void *ectx, const CatalogTable *table),
                             void *ectx) {
    const Catalog *catalog = db_catalog(((const Database *)ctx)->db);
    for (uint32_t i = 0; i < catalog_table_count(catalog); i++) {
        const CatalogTable *table = catalog_table_at(catalog, i);
        if (!table->is_system && !each(ectx, table)) return;
    }
}

static Err query_each_rule(void *ctx,
                           const CatalogTable *table,
                           bool (*each)(void *ectx, Str sql),
                           void *ectx) {
    const Database *db = ctx;
    return catalog_each_rule(db_catalog(db->db), table->table_id, each, ectx);
}

// The variable `row_limit` of st_var, which is a number or some other kind of value.
static bool query_row_limit(void *ctx, uint64_t *out) {
    const Database *db = ctx;
    const CatalogTable *vars = catalog_table(db_catalog(db->db), ST_VAR);
    TableScan scan;
    Bytes row;
    bool found = false;
    if (!vars || table_row_count(vars->table, NULL) == 0) return false;
    table_scan_begin(&scan, vars->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (!found && table_scan_next(&scan, &row)) {
        const RowLayout *layout = table_layout(vars->table);
        Reader name = reader_of(row_column(layout, row, 0));
        Bytes value = row_column(layout, row, 1);
        const Type *type = vars->columns[1].type->fields[value.ptr[0]].type;
        found = str_eq(reader_str(&name), STR("row_limit")) && type->kind == TYPE_U64;
        if (found) *out = load_u64(value.ptr + 1);
    }
    table_scan_end(&scan);
    return found;
}

Err database_rules_check(const Database *db, const ModuleDef *def, Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < def->row_level_security_count; i++)
        err = query_check_rule(def->row_level_security[i], &db->query_catalog, diag);
    return err;
}

static void schema_noticed(Database *db) {
    const Catalog *catalog = db_catalog(db->db);
    db->query_catalog.schema_version = catalog_schema_version(catalog);
    db->has_schedules = false;
    for (uint32_t i = 0; i < catalog_table_count(catalog); i++) {
        db->has_schedules |= catalog_table_at(catalog, i)->schedule_id != 0;
    }
}

// ── after a change of the schema ───────────────────────────────────────────────────────────────

void database_disconnect_all(Database *db, const char *why) {
    for (Session *s = db->sessions; s; s = s->next) {
        bool stays_open = s->kind == SESSION_WS || s->kind == SESSION_PG;
        if (stays_open && s->state != SESSION_ENDED) session_close(s, 1001, why);
    }
}

void database_queries_renew(Database *db) {
    schema_noticed(db);
    if (live_schema_changed(db->live, session_subscription_dropped, db) != OK) {
        database_disconnect_all(db, "the server is out of memory");
    }
}

// ── opening ────────────────────────────────────────────────────────────────────────────────────

// On another thread.
static void log_landed(void *ctx) {
    net_wake(((Database *)ctx)->loop->net);
}

static void loop_wake(void *ctx) {
    net_wake(ctx);
}

static bool is_told_of_rows(void *ctx, uint32_t table_id) {
    return live_can_tell(((const Database *)ctx)->live, table_id);
}

// Everything but the module: files, tables, subscriptions.
static void live_spread(Database *db, bool bag) {
    const Settings *set = &db->settings;
    live_set_options(db->live,
                     &(LiveOptions){
                         .strict_index = set->strict_index,
                         .bag = bag,
                         .arrangement_quota = (size_t)set->subscription_memory_max,
                     });
}

static Err database_new(const DatabaseOpen *open, Database **out, Diag *diag) {
    Node *node = open->loop->node;
    char path[IO_PATH_MAX], pages[IO_PATH_MAX];
    uint64_t torn = 0;
    Err err = OK;
    Database *db = MEM_NEW(Database);
    if (!db) return ERR_NOMEM;
    db->loop = open->loop;
    db->identity = open->identity;
    db->owner = open->owner;
    db->generation = open->generation;
    db->read_only = open->read_only;
    if (open->why) snprintf(db->read_only_why, sizeof db->read_only_why, "%s", open->why);
    bool no_files = node->options.in_memory || open->read_only != OK;
    fair_init(&db->fair);
    database_settings_load(db);
    if ((err = database_dir(node, &open->identity, open->generation, db->dir)) != OK) goto done;

    if ((err = path_join(path, db->dir, "module_logs")) != OK) goto done;
    if ((err = modulelog_open(node->io, path, no_files, &db->log, diag)) != OK) goto done;
    modulelog_limit(db->log, (uint64_t)db->settings.module_log_max);
    if ((err = path_join(path, db->dir, "log")) != OK) goto done;
    if ((err = path_join(pages, db->dir, "pages")) != OK) goto done;
    DbOptions options = {.io = node->io,
                         .dir = path,
                         .page_file = pages,
                         .in_memory = node->options.in_memory,
                         .memory_max = (size_t)db->settings.memory_max,
                         .checkpoint_bytes = node->options.checkpoint_bytes,
                         .checkpoint_rate = node->options.checkpoint_rate,
                         .log_keep = node->options.log_keep,
                         .checkpoint_wake = loop_wake,
                         .checkpoint_wake_ctx = open->loop->net,
                         .read_only = open->read_only,
                         .end = open->end,
                         .flush_wake = log_landed,
                         .flush_wake_ctx = db};
    if ((err = db_open(&options, &db->db, &torn, diag)) != OK) goto done;
    if (torn)
        log_info("%s: cut %llu bytes of an unfinished write off the end of the log",
                 path,
                 (unsigned long long)torn);

    db->query_catalog = (QueryCatalog){.ctx = db,
                                       .table_by_name = query_table,
                                       .each_table = query_each_table,
                                       .each_rule = query_each_rule,
                                       .row_limit = query_row_limit,
                                       .stats = query_stats_new()};
    if (!db->query_catalog.stats) {
        err = ERR_NOMEM;
        goto done;
    }
    schema_noticed(db);
    if ((err = views_open(db->db, &db->query_catalog, &db->views)) != OK) goto done;
    if ((err = live_open(&db->query_catalog, db->views, &db->live)) != OK) goto done;
    live_spread(db, db->settings.subscription_bag);
    db_set_aside(db->db, is_told_of_rows, db);
    db->schedule = schedule_new();
    db->system = session_new(db,
                             &(SessionOptions){.kind = SESSION_SYSTEM,
                                               .identity = db->identity,
                                               .token = STR(""),
                                               .claims = STR("")});
    if (!db->schedule || !db->system) {
        err = ERR_NOMEM;
        goto done;
    }
    db->system->state = SESSION_LIVE;
    if (node->workers && (err = lanes_new(db, &db->lanes)) != OK) goto done;
    *out = db;
    db = NULL;
done:
    database_close(&db, NULL, false);
    return err;
}

void database_module_set(Database *db, LaneModule **module, ModuleInstance *instance) {
    instance_free(&db->instance);
    db->program = lanes_module_set(db->lanes, module);
    db->instance = instance;
    db->def = host_program_def(db->program);
    views_define(db->views, db->def);
}

// Clients of the process before are seen off, then schedules start (module-abi §5.4, §5.8).
static Err database_wake(Database *db) {
    Err err = lifecycle_collect_orphans(db);
    if (err == OK)
        err = schedule_rebuild(db->schedule, db_catalog(db->db), node_now(db->loop->node));
    if (err == OK) session_ready(db->system);
    return err;
}

Err database_open(const DatabaseOpen *open, Database **out, Diag *diag) {
    Database *db = NULL;
    HostProgram *program = NULL;
    ModuleInstance *instance = NULL;
    LaneModule *lane_module = NULL;
    CatalogModule module;
    Err err = OK;
    if ((err = database_new(open, &db, diag)) != OK) goto done;
    if ((err = catalog_module(db_catalog(db->db), &module)) != OK) {
        if (err == ERR_NOT_FOUND)
            err = diag_fail(diag,
                            ERR_CORRUPT,
                            "its log has no module: the first publish never became durable");
        goto done;
    }
    HostLoadOptions load = {.cache_dir = node_cache_dir(open->loop->node)};
    err = host_program_load((HostKind)module.program_kind, module.program, &load, &program, diag);
    if (err != OK) goto done;
    if ((err = lanes_module_new(db->lanes, &program, &lane_module)) != OK) goto done;
    if ((err = instance_new(db, lane_module, lanes_program(lane_module), &instance, diag)) != OK)
        goto done;
    database_module_set(db, &lane_module, instance);
    if (open->read_only == OK && (err = database_wake(db)) != OK) goto done;
    *out = db;
    db = NULL;
done:
    host_program_free(&program);
    lanes_module_free(&lane_module);
    database_close(&db, NULL, false);
    return err;
}

// ── init ───────────────────────────────────────────────────────────────────────────────────────

typedef struct InitRun {
    Database *db;
    const FunctionDef *function;
    bool taken;
    Err err;
    Diag *diag;
} InitRun;

static bool init_next(void *ctx, HostCall *call) {
    InitRun *run = ctx;
    if (run->taken) return false;
    run->taken = true;
    *call = (HostCall){
        .kind = HOST_REDUCER,
        .id = run->function->id,
        .name = run->function->name,
        .sender = run->db->owner,
        .timestamp = run->db->now,
        .access = db_access(run->db->db),
        .budget_us = run->db->settings.deadline,
    };
    return true;
}

static void init_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    InitRun *run = ctx;
    (void)call;
    if (outcome->status == HOST_OK) {
        run->err = OK;
        return;
    }
    const char *how = outcome->status == HOST_USER_ERROR ? "returned an error"
                      : outcome->status == HOST_DEADLINE ? "ran longer than its deadline"
                                                         : "failed";
    run->err = diag_fail(run->diag,
                         ERR_MODULE,
                         "the `init` reducer %s: " STR_FMT,
                         how,
                         STR_ARG(outcome->message));
}

// Tables, st_module and `init` in one transaction (module-abi §5.3). Nothing remains on failure.
static Err database_fill(Database *db, Bytes program_bytes, HostKind kind, Diag *diag) {
    CatalogModule module = {.database = db->identity,
                            .owner = db->owner,
                            .program_kind = (uint8_t)kind,
                            .program = program_bytes};
    keccak256(program_bytes, module.program_hash);
    db->now = node_now(db->loop->node);
    CommitInfo info = {.timestamp = db->now, .caller = db->owner, .name = STR("<publish>")};
    db_begin(db->db, &info);
    Err err = catalog_create(db_catalog(db->db), db->def, &module, database_catalog_line, db, diag);
    if (err == OK) err = database_rules_check(db, db->def, diag);
    InitRun run = {.db = db,
                   .function = moduledef_lifecycle(db->def, LIFECYCLE_INIT),
                   .err = OK,
                   .diag = diag};
    if (err == OK && run.function) {
        database_log_line(db, 2, NULL, STR("Invoking `init` reducer"));
        host_run(db->instance->host,
                 &(HostSource){.ctx = &run, .next = init_next, .done = init_done});
        err = run.err;
    }
    if (err != OK) {
        db_rollback(db->db);
        return err;
    }
    const WriteSet *writes;
    bool changed;
    if ((err = db_commit(db->db, &writes, &changed)) != OK) return err;
    if ((err = db_flush(db->db, diag)) != OK) return err;
    database_queries_renew(db);
    database_log_line(db, 2, NULL, STR("Database initialized"));
    modulelog_flush(db->log);
    return OK;
}

Err database_create(const DatabaseOpen *open,
                    HostProgram **program,
                    Bytes program_bytes,
                    HostKind kind,
                    Database **out,
                    Diag *diag) {
    Database *db = NULL;
    ModuleInstance *instance = NULL;
    LaneModule *module = NULL;
    Err err = database_new(open, &db, diag);
    if (err == OK) err = lanes_module_new(db->lanes, program, &module);
    if (err == OK) err = instance_new(db, module, lanes_program(module), &instance, diag);
    if (err == OK) {
        database_module_set(db, &module, instance);
        err = database_fill(db, program_bytes, kind, diag);
    }
    if (err == OK) err = database_wake(db);
    if (err == OK) {
        *out = db;
        return OK;
    }
    host_program_free(program);
    lanes_module_free(&module);
    database_close(&db, NULL, true);
    return err;
}

Err database_try_init(const Node *node,
                      HostProgram *program,
                      Bytes program_bytes,
                      HostKind kind,
                      const Identity *identity,
                      const Identity *owner,
                      Diag *diag) {
    // A loop and a node that exist for this trial only: in memory, no sockets, no thread.
    Node trial = {.io = node->io, .options = node->options, .defaults = node->defaults};
    trial.options.in_memory = true;
    NodeLoop loop = {.node = &trial};
    DatabaseOpen open = {.loop = &loop, .identity = *identity, .owner = *owner};
    Database *db = NULL;
    ModuleInstance *instance = NULL;
    Err err = database_new(&open, &db, diag);
    if (err == OK) err = instance_new(db, NULL, program, &instance, diag);
    if (err == OK) {
        db->instance = instance;
        db->def = host_program_def(program);
        err = database_fill(db, program_bytes, kind, diag);
    }
    database_close(&db, NULL, false);
    return err;
}

// ── closing ────────────────────────────────────────────────────────────────────────────────────

void database_close(Database **handle, const char *why, bool remove_files) {
    Database *db = *handle;
    if (!db) return;
    *handle = NULL;
    if (why) database_disconnect_all(db, why);
    lanes_interrupt(db, "the database stopped");
    // What is committed becomes durable before anybody is told good-bye.
    Diag diag = {0};
    bool writes = db->db && db->read_only == OK;
    if (writes && !db->failed && db_flush(db->db, &diag) != OK) database_fail(db, &diag);
    session_deliver_sealed(db);
    session_deliver(db, false);
    session_deliver(db, true);
    while (db->sessions) {
        Session *s = db->sessions;
        if (s->conn) {
            net_conn_set_data(s->conn, NULL);
            if (s->kind == SESSION_HTTP)
                http_respond(s->conn,
                             503,
                             NULL,
                             0,
                             STR("text/plain; charset=utf-8"),
                             str_bytes(STR("the database is stopping")));
        }
        session_free(&s);
    }
    log_tail_release(&db->tail);
    instance_free(&db->instance);
    lanes_free(&db->lanes);  // and with them the program
    tell_over(&db->tell, db);
    if (db->live) live_close(&db->live);
    if (db->views) views_close(&db->views);
    query_stats_free(&db->query_catalog.stats);
    if (db->schedule) schedule_free(&db->schedule);
    if (db->log) modulelog_close(&db->log);
    backups_end(db);
    bool sound = writes && !db->failed && !db_in_transaction(db->db);
    if (sound && !remove_files && db_checkpoint_now(db->db, &diag) != OK) {
        log_warn("%s: the next start replays the log: %s", db->dir, diag.text);
    }
    if (db->db) db_close(&db->db);
    if (remove_files) database_files_remove(db->loop->node, &db->identity, db->generation);
    fair_deinit(&db->fair);
    mem_free(db->orphans);
    arena_deinit(&db->turn_arena);
    mem_free(db);
}

// ── settings ───────────────────────────────────────────────────────────────────────────────────

// From settings to the parts that keep a copy.
static void settings_spread(Database *db) {
    const Settings *set = &db->settings;
    if (db->live) live_spread(db, live_options(db->live).bag);  // else at its opening
    db->fair.share_ns = set->share * 1000;
    if (db->log) modulelog_limit(db->log, (uint64_t)set->module_log_max);  // else at its opening
    db->fair.identity = (BucketRule){.rate = set->identity_rate, .burst = set->identity_burst};
}

void database_settings_load(Database *db) {
    const Node *node = db->loop->node;
    Buf text = {0};
    db->settings = node->defaults;
    db->settings.own = 0;
    // A trial has no control database: its program is tried by the server's own rules.
    if (node->control && control_settings(node->control, &db->identity, &text) != OK)
        log_warn("%s: its settings cannot be read; the server's hold", db->dir);
    settings_read(&db->settings, bytes_str(buf_bytes(&text)));
    buf_deinit(&text);
    settings_spread(db);
}

// Between turns: no call is in the instance that may be replaced here.
void database_settings_apply(Database *db, const Settings *settings) {
    Settings old = db->settings;
    db->settings = *settings;
    settings_spread(db);
    lanes_settings_changed(db);
    // What may be subscribed no longer is not kept up because somebody was early.
    if (old.strict_index != settings->strict_index) database_queries_renew(db);
    for (Session *s = db->sessions; s; s = s->next)
        session_limit(s);
    if (old.memory_max != settings->memory_max)
        db->memory_max_waits = !store_memory_max(db_store(db->db), (size_t)settings->memory_max);
    if (old.heap_max == settings->heap_max) return;
    Diag diag = {0};
    ModuleInstance *fresh = NULL;
    if (instance_new(db, lanes_module(db), db->program, &fresh, &diag) == OK) {
        instance_free(&db->instance);
        db->instance = fresh;
    } else {
        log_error("%s: the module goes on with its former heap limit: %s", db->dir, diag.text);
    }
}

// ── trouble ─────────────────────────────────────────────────────────────────────────────────────

void database_fail(Database *db, const Diag *diag) {
    if (db->failed) return;
    db->failed = true;
    snprintf(db->failure,
             sizeof db->failure,
             "the database stopped: its log cannot be written: %.180s",
             diag->text);
    log_error("%s: %s", db->dir, db->failure);
    // What was computed is not on the disk: nobody may hear of it. Every client ends here.
    fair_clear_ready(&db->fair);
    for (Session *s = db->sessions; s; s = s->next) {
        if (s->kind == SESSION_SYSTEM) continue;
        read_cancel(s);
        park_leave(s);
        outbox_deinit(&s->out);
        outbox_deinit(&s->sealed);
        if (s->kind == SESSION_PG) pg_forget(s);
        if (s->kind == SESSION_WS || s->kind == SESSION_PG) session_close(s, 1011, db->failure);
        if (s->kind == SESSION_HTTP) {
            session_http_answer(s, 503, db->failure);
            s->http.has_duration = false;
        }
        s->state = SESSION_ENDED;
        session_dirty(s);
    }
    fair_clear_ready(&db->fair);
}

// How long the calls of a database wait for an instance that no worker has begun to make, and for one
// that is being made, before the loop makes one itself; and when it tries again if that failed.
#define MEND_QUEUED_NS INT64_C(50000000)
#define MEND_MAKING_NS INT64_C(2000000000)
#define MEND_AGAIN_NS  INT64_C(1000000000)

// Is it worth waiting for the one in the making?
static bool mend_may_wait(Database *db, int64_t now_ns) {
    ReserveState state = reserve_state(lanes_module(db));
    if (state != RESERVE_QUEUED && state != RESERVE_MAKING) return false;
    db->mend_wake_ns =
        db->mend_began_ns + (state == RESERVE_QUEUED ? MEND_QUEUED_NS : MEND_MAKING_NS);
    return now_ns < db->mend_wake_ns;
}

static bool mend_inline(Database *db, bool reserves, int64_t now_ns) {
    Diag diag = {0};
    Err err = instance_new(db, lanes_module(db), db->program, &db->instance, &diag);
    db->mend_failed = err != OK;
    db->counters.instances_inline += reserves;
    if (err == OK) return true;
    log_error("%s: the module cannot be started again: %s", db->dir, diag.text);
    db->mend_wake_ns = now_ns + MEND_AGAIN_NS;
    return false;
}

static bool mend(Database *db, bool now, int64_t now_ns) {
    LaneModule *module = lanes_module(db);
    bool reserves = module && !host_instances_are_cheap(db->program);
    if (db->instance) {
        db->mend_began_ns = now_ns;
        db->mend_failed = false;
        if (reserves) {
            reserve_bury(&db->instance, db->loop);
        } else {
            instance_free(&db->instance);
        }
    }
    if (db->mend_failed && !now && now_ns < db->mend_wake_ns) return false;
    if (reserves) {
        db->instance = reserve_take(module, db);
        reserve_want(module, db->loop);
        if (db->instance) db->instances_made++;
        if (db->instance) return true;
        if (!now && mend_may_wait(db, now_ns)) return false;
    }
    return mend_inline(db, reserves, now_ns);
}

bool database_mend(Database *db, bool now) {
    if (LIKELY(db->instance && host_instance_ok(db->instance->host))) return true;
    const Io *io = db->loop->node->io;
    if (!mend(db, now, io->clock_monotonic_ns(io->world))) return false;
    db->counters.instance_wait_ns +=
        (uint64_t)(io->clock_monotonic_ns(io->world) - db->mend_began_ns);
    return true;
}
