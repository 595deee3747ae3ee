// update.c: a database gets a new version of its module.
//
//   plan from the old schema to the new ─> instance ─> one transaction: rows, catalog, views ─> clients
//                  │ refused: nothing has happened          │ failed: rolled back, the old version runs on
#include <stdio.h>

#include "base/keccak.h"
#include "base/log.h"
#include "node/commit.h"
#include "node/database_private.h"
#include "node/session_private.h"

static void update_adopt(Database *db,
                         LaneModule **module,
                         ModuleInstance *instance,
                         const WriteSet *writes,
                         bool breaks) {
    database_module_set(db, module, instance);
    database_queries_renew(db);
    // Who has to go because rows have another shape now must not be sent any of them.
    if (breaks) database_disconnect_all(db, "module exited");
    database_publish(db, writes, NULL, NULL);
    if (schedule_rebuild(db->schedule, db_catalog(db->db), db->now) != OK)
        log_error("out of memory: schedules stop until the next start");
    session_ready(db->system);
}

static Err update_refused(Database *db, Err err, const Diag *diag) {
    Buf line = {0};
    buf_printf(&line, "Database update failed: %s", diag->text[0] ? diag->text : err_text(err));
    database_log_line(db, 1, NULL, bytes_str(buf_bytes(&line)));
    buf_deinit(&line);
    modulelog_flush(db->log);
    return err;
}

void database_migration_token(const Identity *identity,
                              const uint8_t old_hash[32],
                              const uint8_t new_hash[32],
                              uint8_t out[32]) {
    char text[3 * 64 + 1];
    identity_hex(identity, text);
    hex_write(text + 64, BYTES(old_hash, 32));
    hex_write(text + 128, BYTES(new_hash, 32));
    keccak256(BYTES(text, 192), out);
}

// A new version of the module, from its program to its commit.
typedef struct Update {
    Database *db;
    HostProgram *program;
    const ModuleDef *def;  // of the program
    Bytes bytes;
    uint8_t hash[32];      // of them
    CatalogModule module;  // what the catalog says of the old version
    MigratePlan *plan;
    LaneModule *lane_module;
    ModuleInstance *instance;
} Update;

// ERR_CONFLICT: no plan leads there; ERR_INVALID: it may not be followed.
static Err update_plan(Update *u, bool break_clients, const uint8_t *token, Diag *diag) {
    Database *db = u->db;
    Err err = migrate_plan(db->def, u->def, &u->plan, diag);
    if (err != OK) {
        if (err == ERR_INVALID) err = ERR_CONFLICT;
        update_refused(db, err, diag);
        return err;
    }
    uint8_t expected[32];
    database_migration_token(&db->identity, u->module.program_hash, u->hash, expected);
    if (break_clients && (!token || memcmp(token, expected, sizeof expected) != 0))
        return diag_fail(diag,
                         ERR_INVALID,
                         "Token provided is invalid or does not match expected hash");
    if (u->plan->breaks_clients && !break_clients)
        return diag_fail(
            diag,
            ERR_INVALID,
            "Migration plan contains a client-breaking change which is disallowed under current policy");
    return OK;
}

// The rows and what is computed from them become those of the new version, or stay.
static Err update_commit(Update *u, HostKind kind, const WriteSet **writes, Diag *diag) {
    Database *db = u->db;
    bool changed;
    db->now = node_now(db->loop->node);
    db_begin(db->db,
             &(CommitInfo){.timestamp = db->now, .caller = db->owner, .name = STR("<publish>")});
    u->module.program_kind = (uint8_t)kind;
    memcpy(u->module.program_hash, u->hash, sizeof u->hash);
    u->module.program = u->bytes;
    Catalog *catalog = db_catalog(db->db);
    Err err =
        catalog_migrate(catalog, u->plan, u->def, &u->module, database_catalog_line, db, diag);
    if (err == OK) err = database_rules_check(db, u->def, diag);
    if (err == OK) {
        // What clients watch is computed by the new functions, or there is no new version.
        views_define(db->views, u->def);
        err = commit_views_renewed(db, u->instance->host, diag);
    }
    if (err == OK)
        err = db_commit(db->db, writes, &changed);
    else
        db_rollback(db->db);
    commit_views_ended(db, err == OK);
    return err;
}

static void update_tell(Database *db, const uint8_t hash[32]) {
    Buf line = {0};
    buf_put_str(&line, STR("Updated program to "));
    hex_append(&line, BYTES(hash, 32));
    database_log_line(db, 2, NULL, bytes_str(buf_bytes(&line)));
    buf_deinit(&line);
    database_log_line(db, 2, NULL, STR("Database updated"));
    modulelog_flush(db->log);
}

static Err update_run(Update *u, HostKind kind, Diag *diag) {
    Database *db = u->db;
    const WriteSet *writes;
    lanes_interrupt(db, "a new version of the module was published");
    Err err = update_commit(u, kind, &writes, diag);
    if (err != OK) {
        views_define(db->views, db->def);
        database_queries_renew(db);  // memory was rebuilt from the rows
        update_refused(db, err, diag);
        viewlane_launch(db);
        return err;
    }
    update_adopt(db, &u->lane_module, u->instance, writes, u->plan->breaks_clients);
    u->instance = NULL;
    viewlane_launch(db);
    migrate_plan_free(&u->plan);  // borrows from the definitions
    if ((err = db_flush(db->db, diag)) != OK) {
        database_fail(db, diag);
        return err;
    }
    update_tell(db, u->hash);
    return OK;
}

Err database_update(Database *db,
                    HostProgram **program,
                    Bytes program_bytes,
                    HostKind kind,
                    bool break_clients,
                    const uint8_t *token,
                    Diag *diag) {
    Update u = {.db = db, .program = *program, .bytes = program_bytes};
    *program = NULL;
    u.def = host_program_def(u.program);
    Err err = db->failed            ? diag_fail(diag, ERR_IO, "%s", db->failure)
              : db->read_only != OK ? diag_fail(diag, db->read_only, "%s", db->read_only_why)
                                    : catalog_module(db_catalog(db->db), &u.module);
    keccak256(program_bytes, u.hash);
    bool is_there = err == OK && memcmp(u.module.program_hash, u.hash, sizeof u.hash) == 0;
    if (err != OK || is_there) goto done;
    if ((err = update_plan(&u, break_clients, token, diag)) != OK) goto done;
    if ((err = lanes_module_new(db->lanes, &u.program, &u.lane_module)) != OK) goto done;
    HostProgram *shared = lanes_program(u.lane_module);
    if ((err = instance_new(db, u.lane_module, shared, &u.instance, diag)) != OK) goto done;
    err = update_run(&u, kind, diag);
done:
    migrate_plan_free(&u.plan);
    instance_free(&u.instance);
    host_program_free(&u.program);
    lanes_module_free(&u.lane_module);
    return err;
}
