// Random tables, rules, queries and transactions: after every commit what each client holds equals what
// its query says if it is worked out from scratch by nested loops over all rows, and, for the SQL that
// both know, what SQLite says.
//
//   SEED=7 build/…/differential_test     repeats one run
//   SEEDS=1000 build/…/differential_test  runs that many
//
// Queries are made as structures, from which their text and their meaning are taken independently: the
// loops below know nothing of parsers, indexes or deltas.
#include "live/differential_testing.h"

// ── a world ────────────────────────────────────────────────────────────────────────────────────

static void lite_do(const World *w, const char *sql) {
    char *why = NULL;
    if (sqlite3_exec(w->lite, sql, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s: %s", sql, why);
}

static void random_rules(World *w, int table) {
    if (below(3)) return;
    w->rule_count[table] = 1 + (int)below(2);
    for (int r = 0; r < w->rule_count[table]; r++) {
        Rule *rule = &w->rules[table][r];
        Buf sql = {0};
        *rule = (Rule){.own = random_cond(0)};
        if (below(3) == 0) rule->own.kind = TO_SENDER;
        rule->joins = table < TABLES - 2 && below(2);
        if (!rule->joins) {
            buf_printf(&sql, "SELECT * FROM t%d WHERE ", table);
            put_cond(&sql, NULL, &rule->own, 0, false);
        } else {  // only of tables behind it, so that no rules go round in a circle
            Cond link = random_link(0, 1);
            rule->table = table + 1 + (int)below((uint32_t)(TABLES - 2 - table));
            rule->column = link.column;
            rule->column2 = link.column2;
            rule->other = random_cond(0);
            if (below(2)) rule->other.kind = TO_SENDER;
            buf_printf(&sql,
                       "SELECT r0.* FROM t%d r0 JOIN t%d r1 ON r0.%s = r1.%s WHERE ",
                       table,
                       rule->table,
                       column_names[link.column],
                       column_names[link.column2]);
            put_cond(&sql, "r", &rule->own, 0, false);
            buf_printf(&sql, " AND ");
            Cond other = rule->other;
            other.relation = 1;
            put_cond(&sql, "r", &other, 0, false);
        }
        buf_put_u8(&sql, 0);
        ASSERT(buf_ok(&sql));
        w->texts[w->text_count++] = (char *)sql.ptr;
        fake_rule(w->fake, w->tables[table], (char *)sql.ptr);
    }
}

static void rules_forget(World *w) {
    for (int i = 0; i < w->text_count; i++)
        mem_free(w->texts[i]);
    w->text_count = 0;
    w->fake->rule_count = 0;
    memset(w->rule_count, 0, sizeof w->rule_count);
}

static void world_open(World *w, bool rules) {
    static const char *const shapes[][3] = {{"1", "2", "5"},
                                            {"12", "0", "3"},
                                            {"u0", "51", "2"},
                                            {"21", "15", "30"}};
    static const char *const names[] = {"t0", "t1", "t2", "t3"};
    *w = (World){.fake = fake_new()};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w->store));
    EXPECT_EQ(sqlite3_open(":memory:", &w->lite), SQLITE_OK);
    w->has_events = below(3) == 0;
    const Type *u32 = type_simple(TYPE_U32);
    store_begin(w->store);
    for (int t = 0; t < TABLES; t++) {
        CatalogTable *table = FAKE_TABLE(w->fake,
                                         names[t],
                                         {"id", u32, NULL},
                                         {"a", u32, NULL},
                                         {"b", u32, NULL},
                                         {"s", type_simple(TYPE_STRING), NULL},
                                         {"f", type_simple(TYPE_F64), NULL},
                                         {"who", type_special(SPECIAL_IDENTITY), NULL});
        w->tables[t] = table;
        uint32_t shape = below(ARRAY_LEN(shapes));
        w->keyed[t] = shape == 2 || below(2);
        table->is_event = w->has_events && t == TABLES - 1;
        // Unique columns are keys here, or random rows would be refused for another reason.
        bool primary = w->keyed[t] && below(2);
        fake_store_table(table, w->store, primary ? 0 : -1, shapes[shape], below(4));
        char sql[200];
        snprintf(sql, sizeof sql, "CREATE TABLE t%d (id, a, b, s TEXT, f REAL, who)", t);
        lite_do(w, sql);
    }
    store_commit(w->store);
    for (int t = 0; rules && t < TABLES; t++)
        random_rules(w, t);
    EXPECT_OK(live_open(&w->fake->door, NULL, &w->live));
}

static void world_close(World *w) {
    live_close(&w->live);
    store_close(&w->store);
    sqlite3_close(w->lite);
    rules_forget(w);
    fake_free(&w->fake);
}

// ── clients ────────────────────────────────────────────────────────────────────────────────────

typedef struct Held {
    bool live;
    Spec spec;
    char text[TEXT_MAX];
    Lines rows;
    uint64_t events_in;
} Held;

typedef struct Client {
    LiveClient *client;
    int who;
    Held held[QUERIES];
} Client;

static void line_remove(Lines *lines, const Buf *text, const char *sql) {
    for (uint32_t i = 0; i < lines->count; i++) {
        if (strlen(lines->list[i]) != text->len ||
            memcmp(lines->list[i], text->ptr, text->len) != 0)
            continue;
        memmove(lines->list[i], lines->list[--lines->count], LINE_MAX);
        return;
    }
    fail_msg("a row was deleted that was never sent: %.*s of %s",
             (int)text->len,
             (char *)text->ptr,
             sql);
}

static Value value_decode(Reader *r, int column) {
    Value v = {.kind = INTEGER};
    if (column <= COL_B) {
        v.i = reader_u32(r);
    } else if (column == COL_S) {
        Bytes s = reader_lp(r);
        v.kind = WORD;
        while (!bytes_eq(s, str_bytes(str_from(words[v.i])))) {
            v.i++;
        }
    } else if (column == COL_F) {
        v.kind = REAL;
        memcpy(&v.f, reader_take(r, 8).ptr, 8);
    } else {
        v.i = reader_take(r, 32).ptr[0];
    }
    return v;
}

static Value item_decode(Reader *r, const Spec *spec, const Item *item) {
    bool nullable = spec->left[item->relation];
    bool wraps = item->function == PLAIN
                     ? nullable
                     : item->function >= SUM && (nullable || spec->group_count == 0);
    if (wraps && reader_u8(r) == 1) return (Value){.kind = MISSING};
    Value v = {.kind = INTEGER};
    switch (item->function) {
    case COUNT_ALL:
    case COUNT: v.i = (int64_t)reader_u64(r); return v;
    case SUM:
        if (item->column != COL_F) {
            v.i = (int64_t)reader_u64(r);
            return v;
        }
        // fallthrough
    case AVG:
        v.kind = REAL;
        memcpy(&v.f, reader_take(r, 8).ptr, 8);
        return v;
    default: return value_decode(r, item->column);
    }
}

static void row_print(const Spec *spec, Bytes row, Buf *text) {
    Reader r = reader_of(row);
    buf_clear(text);
    if (spec->grouped) {
        for (int i = 0; i < spec->item_count; i++)
            value_print(text, item_decode(&r, spec, &spec->items[i]));
    } else {
        for (int c = 0; c < COLUMNS; c++)
            value_print(text, value_decode(&r, c));
    }
    ASSERT(reader_ok(&r) && r.in.len == 0);
}

static void rows_take(Held *h, Bytes list, bool add) {
    Reader r = reader_of(list);
    uint8_t hint = reader_u8(&r);
    uint32_t each = hint == 0 ? reader_u16(&r) : 0;
    uint32_t count = hint == 1 ? reader_u32(&r) : 0;
    Bytes offsets = hint == 1 ? reader_take(&r, (size_t)count * 8) : BYTES_NONE;
    Bytes rows = reader_lp(&r);
    ASSERT(reader_ok(&r) && r.in.len == 0);
    if (hint == 0) count = (uint32_t)rows.len / each;
    Buf text = {0};
    for (uint32_t i = 0; i < count; i++) {
        size_t at = hint == 0 ? (size_t)i * each : load_u64(offsets.ptr + i * 8);
        size_t end = hint == 0 ? at + each : rows.len;
        if (hint == 1 && i + 1 < count) end = load_u64(offsets.ptr + (i + 1) * 8);
        row_print(&h->spec, (Bytes){rows.ptr + at, end - at}, &text);
        if (add)
            line_add(&h->rows, &text);
        else
            line_remove(&h->rows, &text, h->text);
    }
    buf_deinit(&text);
}

typedef struct Totals {
    uint64_t subscribed, refused, heard, compared, asked_lite, rows, joins, grouped, dropped, rules;
} Totals;

static void lite_line(sqlite3_stmt *s, const Spec *spec, Buf *text) {
    buf_clear(text);
    for (int c = 0; c < sqlite3_column_count(s); c++) {
        switch (sqlite3_column_type(s, c)) {
        case SQLITE_INTEGER:
            buf_printf(text, "%lld|", (long long)sqlite3_column_int64(s, c));
            break;
        case SQLITE_FLOAT: {
            double f = sqlite3_column_double(s, c);
            buf_printf(text, "%.17g|", f == 0 ? 0 : f);
            break;
        }
        case SQLITE_TEXT: buf_printf(text, "%s|", (const char *)sqlite3_column_text(s, c)); break;
        default: buf_printf(text, "nothing|");
        }
    }
    (void)spec;
}

static void expect_lines(const Held *h, Lines *want, Lines *got, const char *who_says) {
    bool same = want->count == got->count;
    for (uint32_t i = 0; same && i < want->count; i++)
        same = strcmp(want->list[i], got->list[i]) == 0;
    if (same) return;
    print_error("%s\n%s:\n", h->text, who_says);
    for (uint32_t i = 0; i < want->count; i++)
        print_error("  %s\n", want->list[i]);
    print_error("is held:\n");
    for (uint32_t i = 0; i < got->count; i++)
        print_error("  %s\n", got->list[i]);
    fail();
}

static void compare_lite(const World *w, const Client *c, Held *h, Lines *held, Totals *t) {
    static Lines lines;
    char sql[TEXT_MAX];
    sqlite3_stmt *s;
    Buf text = {0};
    spec_print(&h->spec, c->who, true, sql);
    if (sqlite3_prepare_v2(w->lite, sql, -1, &s, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(w->lite));
    lines.count = 0;
    while (sqlite3_step(s) == SQLITE_ROW) {
        lite_line(s, &h->spec, &text);
        line_add(&lines, &text);
    }
    sqlite3_finalize(s);
    buf_deinit(&text);
    lines_sort(&lines, false);
    expect_lines(h, &lines, held, "SQLite says");
    t->asked_lite++;
}

static bool has_events(const World *w, const Spec *spec) {
    for (int r = 0; r < spec->count; r++) {
        if (w->has_events && spec->table[r] == TABLES - 1) return true;
    }
    return false;
}

static bool has_rules(const World *w) {
    for (int t = 0; t < TABLES; t++) {
        if (w->rule_count[t] > 0) return true;
    }
    return false;
}

static void expect_held(const World *w, const Client *c, Held *h, Totals *t) {
    static Lines want;
    from_scratch(w, &h->spec, c->who, &want);
    lines_sort(&h->rows, false);
    expect_lines(h, &want, &h->rows, "from scratch it is");
    t->compared++;
    t->rows += want.count;
    if (!has_rules(w) && !has_events(w, &h->spec) && below(4) == 0)
        compare_lite(w, c, h, &h->rows, t);
    if (has_events(w, &h->spec)) h->rows.count = 0;  // they were there for their commit
}

static void subscribe(World *w, Client *c, uint32_t at, Totals *t) {
    static const char *const expected[] = {"require indexes", "cannot be used as the lookup"};
    Held *h = &c->held[at];
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    diag_clear(&diag);
    h->spec = random_spec(w);
    h->rows.count = 0;
    spec_print(&h->spec, c->who, false, h->text);
    Str text = str_from(h->text);
    Err err = live_subscribe(c->client, at, &text, 1, &rows, &count, &diag);
    if (err != OK) {
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(expected); i++)
            known |= strstr(diag.text, expected[i]) != NULL;
        if (!known) print_error("%s\n%s\n", h->text, diag.text);
        EXPECT(known);
        t->refused++;
        return;
    }
    h->live = true;
    t->subscribed++;
    t->joins += h->spec.count > 1;
    t->grouped += h->spec.grouped;
    for (uint32_t i = 0; i < count; i++)
        rows_take(h, rows[i].rows, true);
    Rows events = w->events;
    w->events.count = 0;
    expect_held(w, c, h, t);
    w->events = events;
}

static void unsubscribe(Client *c, uint32_t at) {
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Held *h = &c->held[at];
    bool want = below(2);
    EXPECT_OK(live_unsubscribe(c->client, at, want, &rows, &count, &diag));
    for (uint32_t i = 0; want && i < count; i++)
        rows_take(h, rows[i].rows, false);
    if (want) EXPECT_EQ(h->rows.count, 0);
    h->live = false;
}

// ── commits ────────────────────────────────────────────────────────────────────────────────────

static int find_row(const World *w, int table, const Row *row) {
    for (uint32_t i = 0; i < w->rows[table].count; i++) {
        const Row *other = &w->rows[table].rows[i];
        if (w->keyed[table] ? other->v[0].i == row->v[0].i : row_eq(other, row)) return (int)i;
    }
    return -1;
}

// Rows of the world follow; rows of the store are made to agree at the end.
static void random_change(World *w) {
    int table = (int)below(w->has_events ? TABLES - 1 : TABLES);
    Rows *rows = &w->rows[table];
    Row row = random_row();
    if (rows->count > 0 && below(3) == 0) {  // a row that is there, a bit different
        row = rows->rows[below(rows->count)];
        int column = (int)below(COLUMNS);
        row.v[column] = random_value(column);
    }
    int at = find_row(w, table, &row);
    uint32_t what = below(5);
    if (at >= 0 && what < 2)
        rows->rows[at] = rows->rows[--rows->count];
    else if (at >= 0)
        rows->rows[at] = row;
    else if (rows->count < ROWS_MAX / 2 || (what == 4 && rows->count < ROWS_MAX))
        rows->rows[rows->count++] = row;
    else if (rows->count > 0)
        rows->rows[below(rows->count)] = rows->rows[rows->count - 1], rows->count--;
}

typedef struct Step {
    LiveChange list[TABLES * ROWS_MAX * 2];
    size_t count;
    Arena arena;
} Step;

static Bytes copy_row(Step *step, const Row *row) {
    Buf buf = {0};
    Bytes copy = arena_bytes(&step->arena, row_encode(&buf, row));
    buf_deinit(&buf);
    ASSERT(copy.ptr);
    return copy;
}

static Bytes key_of(Step *step, const Table *table, Bytes row) {
    Buf buf = {0};
    table_row_key(table, row, &buf);
    Bytes copy = arena_bytes(&step->arena, buf_bytes(&buf));
    buf_deinit(&buf);
    return copy;
}

static const Row *same_key(const World *w, int table, const Rows *rows, const Row *row) {
    bool primary = w->tables[table]->primary_key >= 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        if (primary ? rows->rows[i].v[0].i == row->v[0].i : row_eq(&rows->rows[i], row))
            return &rows->rows[i];
    }
    return NULL;
}

static void lite_row(const World *w, int table, const Row *row, bool add) {
    Buf sql = {0};
    buf_printf(&sql, add ? "INSERT INTO t%d VALUES (" : "DELETE FROM t%d WHERE ", table);
    for (int c = 0; c < COLUMNS; c++) {
        if (c > 0) buf_printf(&sql, add ? ", " : " AND ");
        if (!add) buf_printf(&sql, "%s = ", column_names[c]);
        put_value(&sql, c, row->v[c], true);
    }
    buf_printf(&sql, add ? ")" : "");
    buf_put_u8(&sql, 0);
    lite_do(w, (char *)sql.ptr);
    buf_deinit(&sql);
}

// The net difference of two states of a table, carried out in the store and in SQLite.
static void table_commit(World *w, Step *step, int t) {
    Table *table = w->tables[t]->table;
    const Rows *old = &w->before[t], *new = &w->rows[t];
    size_t first = step->count;
    for (uint32_t i = 0; i < old->count; i++) {
        const Row *row = &old->rows[i], *now = same_key(w, t, new, row);
        if (now && row_eq(now, row)) continue;
        LiveChange change = {.table = table, .table_id = w->tables[t]->table_id};
        change.old_row = copy_row(step, row);
        change.key = key_of(step, table, change.old_row);
        if (now) change.new_row = copy_row(step, now);
        EXPECT_OK(table_delete_row(table, change.old_row));
        lite_row(w, t, row, false);
        step->list[step->count++] = change;
    }
    for (uint32_t i = 0; i < new->count; i++) {
        const Row *row = &new->rows[i], *was = same_key(w, t, old, row);
        if (was && row_eq(was, row)) continue;
        Bytes bytes = copy_row(step, row);
        EXPECT_OK(table_insert(table, bytes, NULL, NULL));
        lite_row(w, t, row, true);
        if (was) continue;
        LiveChange change = {.table = table, .table_id = w->tables[t]->table_id, .new_row = bytes};
        change.key = key_of(step, table, bytes);
        step->list[step->count++] = change;
    }
    for (size_t i = step->count; i > first + 1; i--) {  // no order is promised
        size_t j = first + below((uint32_t)(i - first));
        LiveChange swap = step->list[i - 1];
        step->list[i - 1] = step->list[j];
        step->list[j] = swap;
    }
}

static void events_commit(World *w, Step *step) {
    w->events.count = below(3);
    for (uint32_t i = 0; i < w->events.count; i++) {
        w->events.rows[i] = random_row();
        w->events.rows[i].v[0].i = i;
        Bytes bytes = copy_row(step, &w->events.rows[i]);
        step->list[step->count++] = (LiveChange){.table = w->tables[TABLES - 1]->table,
                                                 .table_id = w->tables[TABLES - 1]->table_id,
                                                 .is_event = true,
                                                 .key = bytes,
                                                 .new_row = bytes};
    }
}

static void deliver(World *w, const Step *step, Totals *t) {
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(live_commit(w->live, step->list, step->count, &updates, &count));
    for (size_t i = 0; i < count; i++) {
        Client *c = updates[i].owner;
        t->heard++;
        for (int pass = 1; pass >= 0; pass--) {
            for (uint32_t s = 0; s < updates[i].set_count; s++) {
                const LiveSetDelta *set = &updates[i].sets[s];
                Held *h = &c->held[set->query_set];
                ASSERT(h->live && set->delta->is_event == has_events(w, &h->spec));
                if (pass || !set->delta->is_event)
                    rows_take(h, pass ? set->delta->inserts : set->delta->deletes, pass);
            }
        }
    }
}

static void random_commit(World *w, Totals *t) {
    static Step step;
    step.count = 0;
    arena_reset(&step.arena);
    memcpy(w->before, w->rows, sizeof w->rows);
    uint32_t changes = below(12) == 0 ? 40 : below(5);
    for (uint32_t i = 0; i < changes; i++)
        random_change(w);
    store_begin(w->store);
    for (int i = 0; i < TABLES; i++)
        table_commit(w, &step, i);
    store_commit(w->store);
    if (w->has_events) events_commit(w, &step);
    deliver(w, &step, t);
    if (step.arena.used_bytes > 1 << 20) arena_deinit(&step.arena);
}

// ── runs ───────────────────────────────────────────────────────────────────────────────────────

// Without an index there may be no way to follow a change; nothing else ends a set.
static void dropped(void *ctx, void *owner, uint32_t set, const char *why) {
    Totals *t = ctx;
    Client *c = owner;
    if (!strstr(why, "require indexes")) fail_msg("set %u was dropped: %s", set, why);
    c->held[set].live = false;
    t->dropped++;
}

// An index of a table goes, or one comes: nobody is to notice.
static void change_schema(World *w, Totals *t) {
    Table *table = w->tables[below(TABLES)]->table;
    uint32_t own = table_id(table) * 10, count = table_index_count(table);
    StoreIndexInfo gone;
    store_begin(w->store);
    if (!table_index(table, own + 5, &gone) && below(2)) {
        uint16_t columns[] = {(uint16_t)below(COLUMNS), (uint16_t)below(COLUMNS)};
        StoreIndexSpec spec = {own + 5, columns, (uint16_t)(columns[0] == columns[1] ? 1 : 2), 0};
        EXPECT_OK(store_index_create(w->store, table, &spec));
    } else if (count > 0) {
        gone = table_index_at(table, below(count));
        if (gone.index_id != own + 9) EXPECT_OK(store_index_drop(w->store, table, gone.index_id));
    }
    store_commit(w->store);
    w->fake->door.schema_version++;
    EXPECT_OK(live_schema_changed(w->live, dropped, t));
}

static void clients_open(const World *w, Client *clients) {
    for (int i = 0; i < PEOPLE; i++) {
        memset(&clients[i], 0, sizeof clients[i]);
        clients[i].who = i;
        QueryCaller caller = {.identity.le[0] = (uint8_t)i, .is_owner = i == 0};
        EXPECT_OK(live_client_open(w->live, &clients[i], &caller, &clients[i].client));
    }
}

static void clients_close(const World *w, Client *clients) {
    for (int i = 0; i < PEOPLE; i++)
        live_client_close(&clients[i].client);
    LiveStats stats = live_stats(w->live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.state_bytes == 0);
}

// Other rules disconnect everybody, who come again and hold what those allow.
static void change_rules(World *w, Client *clients, Totals *t) {
    clients_close(w, clients);
    rules_forget(w);
    for (int table = 0; table < TABLES; table++)
        random_rules(w, table);
    w->fake->door.schema_version++;
    EXPECT_OK(live_schema_changed(w->live, dropped, t));
    clients_open(w, clients);
    t->rules++;
}

static void run(uint64_t from, uint32_t commits, Totals *t) {
    static World w;
    static Client clients[PEOPLE];
    seed = from;
    bool rules = below(2);
    world_open(&w, rules);
    clients_open(&w, clients);
    for (uint32_t n = 0; n < commits; n++) {
        for (int k = 0; k < 3; k++) {
            Client *c = &clients[below(PEOPLE)];
            uint32_t at = below(QUERIES);
            if (!c->held[at].live)
                subscribe(&w, c, at, t);
            else if (below(8) == 0)
                unsubscribe(c, at);
        }
        if (below(20) == 0) change_schema(&w, t);
        if (rules && below(25) == 0) change_rules(&w, clients, t);
        random_commit(&w, t);
        for (int i = 0; i < PEOPLE; i++) {
            for (uint32_t q = 0; q < QUERIES; q++) {
                if (clients[i].held[q].live) expect_held(&w, &clients[i], &clients[i].held[q], t);
            }
        }
    }
    clients_close(&w, clients);
    world_close(&w);
}

// Conformance case 113.
TEST(differential, what_clients_hold_is_what_their_queries_say_from_scratch) {
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 20261122, count = one ? 1 : 12;
    if (many) count = strtoull(many, NULL, 10);
    Totals t = {0};
    for (uint64_t i = 0; i < count; i++) {
        print_message("seed %llu\n", (unsigned long long)(first + i));
        run(first + i, 50, &t);
    }
    print_message("%llu times other rules, %llu sets lost their index\n",
                  (unsigned long long)t.rules,
                  (unsigned long long)t.dropped);
    print_message(
        "%llu subscriptions (%llu joins, %llu with groups), %llu refused; %llu answers of %llu "
        "rows compared, %llu with SQLite; %llu messages\n",
        (unsigned long long)t.subscribed,
        (unsigned long long)t.joins,
        (unsigned long long)t.grouped,
        (unsigned long long)t.refused,
        (unsigned long long)t.compared,
        (unsigned long long)t.rows,
        (unsigned long long)t.asked_lite,
        (unsigned long long)t.heard);
    if (one) return;
    EXPECT(t.subscribed > 10 * t.refused / 2 && t.joins > count * 10 && t.grouped > count * 5);
    EXPECT(t.rows > t.compared && t.asked_lite > count && t.heard > count * 10);
    EXPECT(t.rules > 0 && t.dropped < t.subscribed / 20);
}

TEST_MAIN()
