#include "node/control.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "schema/migrate.h"

// The tables are declared like a module's, in C, and live in an ordinary Db.
enum { TABLE_DATABASE, TABLE_NAME, TABLE_SETTING, TABLE_COUNT };
#define TABLES_FIRST 2  // those that the first version had
enum {
    DB_IDENTITY,
    DB_OWNER,
    DB_KIND,
    DB_PROGRAM,
    DB_LOCKED,
    DB_EXISTS,
    DB_GENERATION,
    DB_COLUMNS
};
enum { SETTING_DATABASE, SETTING_TEXT, SETTING_COLUMNS };
enum { NAME_NAME, NAME_OWNER, NAME_DATABASE, NAME_POSITION, NAME_COLUMNS };

typedef struct NameRow {
    Str name;
    Identity owner, database;
    uint64_t position;  // order in which names were given; 0: owned, but names nothing now
} NameRow;

struct Control {
    pthread_mutex_t mutex;
    Arena arena;
    ModuleDef def;
    Db *db;
    uint32_t table_ids[TABLE_COUNT];
};

static const Type *u256(void) {
    return type_simple(TYPE_U256);
}

static bool table_declare(Control *c,
                          TableDef *table,
                          const char *name,
                          const TypeField *fields,
                          uint16_t count) {
    *table = (TableDef){.name = str_from(name),
                        .source = str_from(name),
                        .column_count = count,
                        .primary_key = 0,
                        .row_type_ref = 0};
    table->row_type = type_product(&c->arena, fields, count);
    table->columns = arena_array(&c->arena, ColumnDef, count);
    table->indexes = arena_new(&c->arena, IndexDef);
    table->constraints = arena_new(&c->arena, ConstraintDef);
    uint16_t *key = arena_array(&c->arena, uint16_t, 1);
    if (!table->row_type || !table->columns || !table->indexes || !table->constraints || !key)
        return false;
    for (uint16_t i = 0; i < count; i++) {
        table->columns[i] =
            (ColumnDef){.name = fields[i].name, .source = fields[i].name, .type = fields[i].type};
    }
    Str index_name =
        arena_printf(&c->arena, "%s_" STR_FMT "_idx_btree", name, STR_ARG(fields[0].name));
    Str key_name = arena_printf(&c->arena, "%s_" STR_FMT "_key", name, STR_ARG(fields[0].name));
    if (!index_name.ptr || !key_name.ptr) return false;
    *table->indexes = (IndexDef){.name = index_name,
                                 .source = index_name,
                                 .algorithm = INDEX_BTREE,
                                 .columns = key,
                                 .column_count = 1};
    *table->constraints = (ConstraintDef){.name = key_name, .columns = key, .column_count = 1};
    table->index_count = table->constraint_count = 1;
    return true;
}

static bool tables_declare(Control *c) {
    const TypeField database[DB_COLUMNS] = {
        [DB_IDENTITY] = {STR("identity"), u256()},
        [DB_OWNER] = {STR("owner"), u256()},
        [DB_KIND] = {STR("host_kind"), type_simple(TYPE_U8)},
        [DB_PROGRAM] = {STR("initial_program"), u256()},
        [DB_LOCKED] = {STR("locked"), type_simple(TYPE_BOOL)},
        [DB_EXISTS] = {STR("exists"), type_simple(TYPE_BOOL)},
        [DB_GENERATION] = {STR("generation"), type_simple(TYPE_U64)},
    };
    const TypeField name[NAME_COLUMNS] = {
        [NAME_NAME] = {STR("name"), type_simple(TYPE_STRING)},
        [NAME_OWNER] = {STR("owner"), u256()},
        [NAME_DATABASE] = {STR("database"), u256()},
        [NAME_POSITION] = {STR("position"), type_simple(TYPE_U64)},
    };
    const TypeField setting[SETTING_COLUMNS] = {
        [SETTING_DATABASE] = {STR("database"), u256()},
        [SETTING_TEXT] = {STR("text"), type_simple(TYPE_STRING)},
    };
    c->def.arena = &c->arena;
    c->def.version = 10;
    c->def.tables = arena_array(&c->arena, TableDef, TABLE_COUNT);
    c->def.table_count = TABLE_COUNT;
    if (!c->def.tables) return false;
    return table_declare(c, &c->def.tables[TABLE_DATABASE], "database", database, DB_COLUMNS) &&
           table_declare(c, &c->def.tables[TABLE_NAME], "name", name, NAME_COLUMNS) &&
           table_declare(c, &c->def.tables[TABLE_SETTING], "setting", setting, SETTING_COLUMNS);
}

static void begin(Control *c, const char *what) {
    db_begin(c->db, &(CommitInfo){.name = str_from(what)});
}

static Err commit(Control *c, Err err) {
    const WriteSet *writes;
    bool changed;
    if (err != OK) {
        db_rollback(c->db);
        return err;
    }
    if ((err = db_commit(c->db, &writes, &changed)) != OK) return err;
    return db_flush(c->db, NULL);
}

static Err tables_create(Control *c, Diag *diag) {
    begin(c, "<control>");
    CatalogModule module = {0};
    return commit(c, catalog_create(db_catalog(c->db), &c->def, &module, NULL, NULL, diag));
}

// One that an earlier version made lacks the tables that were added since.
static Err tables_add(Control *c, Diag *diag) {
    MigratePlan *plan = NULL;
    CatalogModule module = {0};
    ModuleDef old = c->def;
    old.table_count = TABLES_FIRST;
    if (catalog_table_by_name(db_catalog(c->db), c->def.tables[TABLE_COUNT - 1].name)) return OK;
    Err err = migrate_plan(&old, &c->def, &plan, diag);
    if (err != OK) return err;
    begin(c, "<control>");
    Catalog *catalog = db_catalog(c->db);
    err = commit(c, catalog_migrate(catalog, plan, &c->def, &module, NULL, NULL, diag));
    migrate_plan_free(&plan);
    return err;
}

Err control_open(const Io *io, const char *dir, bool in_memory, Control **out, Diag *diag) {
    Err err = OK;
    uint64_t torn;
    Control *c = MEM_NEW(Control);
    if (!c) return ERR_NOMEM;
    pthread_mutex_init(&c->mutex, NULL);
    if (!tables_declare(c)) {
        err = ERR_NOMEM;
        goto done;
    }
    DbOptions options = {.io = io, .dir = dir, .in_memory = in_memory};
    if ((err = db_open(&options, &c->db, &torn, diag)) != OK) goto done;
    CatalogModule module;
    if (catalog_module(db_catalog(c->db), &module) == ERR_NOT_FOUND) {
        if ((err = tables_create(c, diag)) != OK) goto done;
    } else if ((err = tables_add(c, diag)) != OK) {
        goto done;
    }
    for (int i = 0; i < TABLE_COUNT; i++) {
        const CatalogTable *table = catalog_table_by_name(db_catalog(c->db), c->def.tables[i].name);
        if (!table) {
            err = diag_fail(diag,
                            ERR_CORRUPT,
                            "the control database in %s lacks the table `" STR_FMT "`",
                            dir,
                            STR_ARG(c->def.tables[i].name));
            goto done;
        }
        c->table_ids[i] = table->table_id;
    }
    *out = c;
    c = NULL;
done:
    control_close(&c);
    return err;
}

void control_close(Control **handle) {
    Control *c = *handle;
    if (!c) return;
    *handle = NULL;
    db_close(&c->db);
    arena_deinit(&c->arena);
    pthread_mutex_destroy(&c->mutex);
    mem_free(c);
}

static Table *table_of(const Control *c, int which) {
    return catalog_table(db_catalog(c->db), c->table_ids[which])->table;
}

static Bytes column(const Table *table, Bytes row, uint32_t i) {
    return row_column(table_layout(table), row, i);
}

static void database_read(const Table *table, Bytes row, ControlDatabase *out) {
    memcpy(out->identity.le, column(table, row, DB_IDENTITY).ptr, 32);
    memcpy(out->owner.le, column(table, row, DB_OWNER).ptr, 32);
    out->host_kind = column(table, row, DB_KIND).ptr[0];
    memcpy(out->initial_program, column(table, row, DB_PROGRAM).ptr, 32);
    out->locked = column(table, row, DB_LOCKED).ptr[0];
    out->exists = column(table, row, DB_EXISTS).ptr[0];
    out->generation = load_u64(column(table, row, DB_GENERATION).ptr);
}

static void name_read(const Table *table, Bytes row, NameRow *out) {
    Bytes name = column(table, row, NAME_NAME);
    out->name = (Str){(const char *)name.ptr + 4, name.len - 4};
    memcpy(out->owner.le, column(table, row, NAME_OWNER).ptr, 32);
    memcpy(out->database.le, column(table, row, NAME_DATABASE).ptr, 32);
    out->position = load_u64(column(table, row, NAME_POSITION).ptr);
}

static Err get(const Table *table, const Type *key_type, const uint8_t *key_value, Bytes *row) {
    Buf key = {0};
    key_append(&key, key_type, key_value);
    Err err = buf_ok(&key) ? table_get(table, NULL, buf_bytes(&key), row) : ERR_NOMEM;
    buf_deinit(&key);
    return err;
}

static Err name_get(const Control *c, Str name, NameRow *out) {
    Buf bsatn = {0};
    Bytes row;
    buf_put_lp(&bsatn, str_bytes(name));
    Err err = buf_ok(&bsatn)
                  ? get(table_of(c, TABLE_NAME), type_simple(TYPE_STRING), bsatn.ptr, &row)
                  : ERR_NOMEM;
    buf_deinit(&bsatn);
    if (err == OK) name_read(table_of(c, TABLE_NAME), row, out);
    return err;
}

// Insert the row, or replace the one with its primary key.
static Err put(const Control *c, int which, const Buf *row) {
    if (!buf_ok(row)) return ERR_NOMEM;
    Table *table = table_of(c, which);
    StoreIndexInfo primary = table_index_at(table, 0);
    Err err = table_replace(table, primary.index_id, buf_bytes(row), &(bool){false}, NULL);
    return err == ERR_NOT_FOUND ? table_insert(table, buf_bytes(row), NULL, NULL) : err;
}

static Err name_put(const Control *c, const NameRow *name) {
    Buf row = {0};
    buf_put_lp(&row, str_bytes(name->name));
    buf_put(&row, name->owner.le, 32);
    buf_put(&row, name->database.le, 32);
    buf_put_u64(&row, name->position);
    Err err = put(c, TABLE_NAME, &row);
    buf_deinit(&row);
    return err;
}

Err control_find(Control *c, const Identity *identity, ControlDatabase *out) {
    Bytes row;
    pthread_mutex_lock(&c->mutex);
    Err err = get(table_of(c, TABLE_DATABASE), u256(), identity->le, &row);
    if (err == OK) database_read(table_of(c, TABLE_DATABASE), row, out);
    pthread_mutex_unlock(&c->mutex);
    return err;
}

Err control_resolve(Control *c, Str name, Identity *out) {
    NameRow row;
    pthread_mutex_lock(&c->mutex);
    Err err = name_get(c, name, &row);
    if (err == OK && row.position == 0) err = ERR_NOT_FOUND;
    if (err == OK) *out = row.database;
    pthread_mutex_unlock(&c->mutex);
    return err;
}

static Err setting_put(const Control *c, const Identity *identity, Str text) {
    Buf row = {0};
    buf_put(&row, identity->le, 32);
    buf_put_lp(&row, str_bytes(text));
    Err err = put(c, TABLE_SETTING, &row);
    buf_deinit(&row);
    return err;
}

Err control_settings_put(Control *c, const Identity *identity, Str text) {
    pthread_mutex_lock(&c->mutex);
    begin(c, "<settings>");
    Err err = commit(c, setting_put(c, identity, text));
    pthread_mutex_unlock(&c->mutex);
    return err;
}

Err control_settings(Control *c, const Identity *identity, Buf *text) {
    Bytes row;
    pthread_mutex_lock(&c->mutex);
    Table *table = table_of(c, TABLE_SETTING);
    Err err = get(table, u256(), identity->le, &row);
    if (err == OK) {
        Bytes stored = column(table, row, SETTING_TEXT);
        buf_put_bytes(text, BYTES(stored.ptr + 4, stored.len - 4));
        if (!buf_ok(text)) err = ERR_NOMEM;
    }
    pthread_mutex_unlock(&c->mutex);
    return err == ERR_NOT_FOUND ? OK : err;
}

Err control_put(Control *c, const ControlDatabase *d) {
    Buf row = {0};
    buf_put(&row, d->identity.le, 32);
    buf_put(&row, d->owner.le, 32);
    buf_put_u8(&row, d->host_kind);
    buf_put(&row, d->initial_program, 32);
    buf_put_u8(&row, d->locked);
    buf_put_u8(&row, d->exists);
    buf_put_u64(&row, d->generation);
    pthread_mutex_lock(&c->mutex);
    begin(c, "<database>");
    Err err = put(c, TABLE_DATABASE, &row);
    if (err == OK && !d->exists) err = setting_put(c, &d->identity, STR(""));
    err = commit(c, err);
    pthread_mutex_unlock(&c->mutex);
    buf_deinit(&row);
    return err;
}

// ── names ──────────────────────────────────────────────────────────────────────────────────────

typedef struct NameList {
    Arena arena;
    NameRow *rows;
    size_t count;
} NameList;

static int by_position(const void *a, const void *b) {
    const NameRow *x = a, *y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

// Names of one database in order; *last is the highest position of all names. Copies.
static Err names_list(const Control *c, const Identity *database, NameList *out, uint64_t *last) {
    *out = (NameList){0};
    *last = 0;
    Table *table = table_of(c, TABLE_NAME);
    out->rows = arena_array(&out->arena, NameRow, table_row_count(table, NULL) + 1);
    if (!out->rows) return ERR_NOMEM;
    TableScan scan;
    Bytes row;
    Err err = OK;
    table_scan_begin(&scan, table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (err == OK && table_scan_next(&scan, &row)) {
        NameRow name;
        name_read(table, row, &name);
        *last = MAX(*last, name.position);
        if (name.position == 0 || !identity_eq(&name.database, database)) continue;
        name.name = arena_str(&out->arena, name.name);
        if (!name.name.ptr) err = ERR_NOMEM;
        out->rows[out->count++] = name;
    }
    table_scan_end(&scan);
    qsort(out->rows, out->count, sizeof *out->rows, by_position);
    return err;
}

void control_names(Control *c, const Identity *database, ControlEachName each, void *ctx) {
    NameList list;
    uint64_t last;
    pthread_mutex_lock(&c->mutex);
    Err err = names_list(c, database, &list, &last);
    pthread_mutex_unlock(&c->mutex);
    for (size_t i = 0; err == OK && i < list.count; i++) {
        each(ctx, list.rows[i].name);
    }
    arena_deinit(&list.arena);
}

// Who may create a database under an identity that has none: whoever owned the one that was deleted,
// or who owns the first of the names that stand for it.
static Err create_check(const Control *c, const Identity *database, const Identity *caller) {
    NameList list = {0};
    uint64_t last;
    Bytes row;
    Err err = get(table_of(c, TABLE_DATABASE), u256(), database->le, &row);
    if (err == OK) {
        ControlDatabase record;
        database_read(table_of(c, TABLE_DATABASE), row, &record);
        return identity_eq(&record.owner, caller) ? OK : ERR_DENIED;
    }
    if (err != ERR_NOT_FOUND) return err;
    err = names_list(c, database, &list, &last);
    if (err == OK && list.count && !identity_eq(&list.rows[0].owner, caller)) err = ERR_DENIED;
    arena_deinit(&list.arena);
    return err;
}

Err control_may_create(Control *c, const Identity *database, const Identity *caller) {
    pthread_mutex_lock(&c->mutex);
    Err err = create_check(c, database, caller);
    pthread_mutex_unlock(&c->mutex);
    return err;
}

// May `caller` let `name` stand for a database? ERR_EXISTS when it stands for another than `mine`.
static Err name_check(const Control *c, Str name, const Identity *caller, const Identity *mine) {
    NameRow row;
    Err err = name_get(c, name, &row);
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK) return err;
    if (!identity_eq(&row.owner, caller)) return ERR_DENIED;
    if (row.position != 0 && !(mine && identity_eq(&row.database, mine))) return ERR_EXISTS;
    return OK;
}

Err control_add_name(Control *c, Str name, const Identity *database, const Identity *caller) {
    NameList list = {0};
    uint64_t last;
    pthread_mutex_lock(&c->mutex);
    Err err = name_check(c, name, caller, NULL);
    if (err == OK) err = names_list(c, database, &list, &last);
    if (err == OK) {
        begin(c, "<name>");
        NameRow row = {.name = name, .owner = *caller, .database = *database, .position = last + 1};
        err = commit(c, name_put(c, &row));
    }
    pthread_mutex_unlock(&c->mutex);
    arena_deinit(&list.arena);
    return err;
}

static Err names_replace(Control *c,
                         const NameList *old,
                         uint64_t last,
                         const Identity *database,
                         const Str *names,
                         uint32_t count,
                         const Identity *caller) {
    for (size_t i = 0; i < old->count; i++) {
        NameRow row = old->rows[i];
        row.position = 0;
        Err err = name_put(c, &row);
        if (err != OK) return err;
    }
    for (uint32_t i = 0; i < count; i++) {
        NameRow row = {.name = names[i],
                       .owner = *caller,
                       .database = *database,
                       .position = last + 1 + i};
        Err err = name_put(c, &row);
        if (err != OK) return err;
    }
    return OK;
}

Err control_set_names(Control *c,
                      const Identity *database,
                      const Str *names,
                      uint32_t count,
                      const Identity *caller) {
    NameList old = {0};
    uint64_t last;
    Err err = OK;
    pthread_mutex_lock(&c->mutex);
    for (uint32_t i = 0; err == OK && i < count; i++) {
        err = name_check(c, names[i], caller, database);
    }
    if (err == OK) err = names_list(c, database, &old, &last);
    if (err == OK) {
        begin(c, "<names>");
        err = commit(c, names_replace(c, &old, last, database, names, count, caller));
    }
    pthread_mutex_unlock(&c->mutex);
    arena_deinit(&old.arena);
    return err;
}

void control_databases(Control *c, ControlEachDatabase each, void *ctx) {
    Buf copies = {0};
    TableScan scan;
    Bytes row;
    pthread_mutex_lock(&c->mutex);
    Table *table = table_of(c, TABLE_DATABASE);
    table_scan_begin(&scan, table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        ControlDatabase database;
        database_read(table, row, &database);
        buf_put(&copies, &database, sizeof database);
    }
    table_scan_end(&scan);
    pthread_mutex_unlock(&c->mutex);
    for (size_t at = 0; buf_ok(&copies) && at < copies.len; at += sizeof(ControlDatabase)) {
        ControlDatabase database;
        memcpy(&database, copies.ptr + at, sizeof database);
        each(ctx, &database);
    }
    buf_deinit(&copies);
}

bool control_name_ok(Str name, const char **why) {
    Identity ignored;
    *why = NULL;
    if (name.len == 0) *why = "database names cannot be empty";
    if (identity_parse(name, &ignored)) *why = "database names cannot be identities";
    for (size_t i = 0; i < name.len && !*why; i++) {
        char ch = name.ptr[i];
        bool hyphen = ch == '-';
        bool bad_hyphen = hyphen && (i == 0 || i + 1 == name.len || name.ptr[i - 1] == '-');
        if (bad_hyphen) *why = "invalid hyphen in database name";
        if (!hyphen && !(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9'))
            *why = "invalid characters in database name";
    }
    return *why == NULL;
}
