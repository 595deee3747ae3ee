// Random tables, rules, queries and transactions: after every commit what each client holds equals what
// its query says if it is worked out from scratch by nested loops over all rows, and, for the SQL that
// both know, what SQLite says.
//
//   SEED=7 build/…/differential_test     repeats one run
//   SEEDS=1000 build/…/differential_test  runs that many
//
// Queries are made as structures, from which their text and their meaning are taken independently: the
// loops below know nothing of parsers, indexes or deltas.
#include <sqlite3.h>

#include "base/mem.h"
#include "base/test.h"
#include "live/live.h"
#include "query/fake_testing.h"

enum {
    TABLES = 4,
    COLUMNS = 6,  // id, a, b, s, f, who
    ROWS_MAX = 24,
    RELATIONS = 4,
    CONDS = 4,
    ITEMS = 4,
    PEOPLE = 3,  // 0 is the owner
    QUERIES = 14,
    TEXT_MAX = 1600,
    LINE_MAX = 120,
    LINES_MAX = 3000,
    RULES_MAX = 3,
};
enum { COL_ID, COL_A, COL_B, COL_S, COL_F, COL_WHO };
static const char *const column_names[COLUMNS] = {"id", "a", "b", "s", "f", "who"};
static const char *const words[] = {"", "a", "b'c"};

static uint64_t seed;
static uint32_t below(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

// ── values and rows ────────────────────────────────────────────────────────────────────────────

typedef struct Value {
    enum { MISSING, INTEGER, REAL, WORD } kind;
    int64_t i;
    double f;
} Value;  // WORD: words[i]

typedef struct Row {
    Value v[COLUMNS];
} Row;

typedef struct Rows {
    Row rows[ROWS_MAX];
    uint32_t count;
} Rows;

static int order_of(Value x, Value y) {
    if (x.kind == WORD) return strcmp(words[x.i], words[y.i]);
    if (x.kind == REAL) return x.f < y.f ? -1 : x.f > y.f;
    return x.i < y.i ? -1 : x.i > y.i;
}

static bool row_eq(const Row *x, const Row *y) {
    for (int c = 0; c < COLUMNS; c++) {
        if (order_of(x->v[c], y->v[c]) != 0) return false;
    }
    return true;
}

static Value random_value(int column) {
    Value v = {.kind = INTEGER};
    switch (column) {
    case COL_ID: v.i = below(12); break;
    case COL_A: v.i = below(4); break;
    case COL_B: v.i = below(5); break;
    case COL_S: v = (Value){.kind = WORD, .i = below(ARRAY_LEN(words))}; break;
    case COL_F: v = (Value){.kind = REAL, .f = (double)below(8) / 4 - 1}; break;
    default: v.i = below(PEOPLE);
    }
    return v;
}

static Row random_row(void) {
    Row row;
    for (int c = 0; c < COLUMNS; c++)
        row.v[c] = random_value(c);
    return row;
}

static void value_encode(Buf *out, int column, Value v) {
    Identity who = {{(uint8_t)v.i}};
    if (column <= COL_B)
        buf_put_u32(out, (uint32_t)v.i);
    else if (column == COL_S)
        buf_put_lp(out, str_bytes(str_from(words[v.i])));
    else if (column == COL_F)
        buf_put(out, &v.f, 8);
    else
        buf_put(out, who.le, sizeof who.le);
}

static Bytes row_encode(Buf *out, const Row *row) {
    buf_clear(out);
    for (int c = 0; c < COLUMNS; c++)
        value_encode(out, c, row->v[c]);
    return buf_bytes(out);
}

static void value_print(Buf *out, Value v) {
    switch (v.kind) {
    case MISSING: buf_printf(out, "nothing"); break;
    case INTEGER: buf_printf(out, "%lld", (long long)v.i); break;
    case REAL: buf_printf(out, "%.17g", v.f == 0 ? 0 : v.f); break;
    case WORD: buf_printf(out, "%s", words[v.i]); break;
    }
    buf_put_u8(out, '|');
}

// ── what queries say ───────────────────────────────────────────────────────────────────────────

typedef struct Cond {
    enum { TO_VALUE, TO_COLUMN, EITHER_OF, IS_MISSING, IS_THERE, TO_SENDER } kind;
    int relation, column, op;
    Value value;
    int relation2, column2;  // TO_COLUMN; EITHER_OF: column2 op2 value2
    int op2;
    Value value2;
} Cond;
static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};

typedef struct Item {
    enum { PLAIN, COUNT_ALL, COUNT, SUM, MIN, MAX, AVG } function;
    int relation, column;
} Item;

typedef struct Spec {
    int count;  // relations
    int table[RELATIONS];
    bool left[RELATIONS];
    Cond on[RELATIONS][CONDS];
    int on_count[RELATIONS];
    Cond where[CONDS];
    int where_count;
    int shown;
    bool grouped;
    Item items[ITEMS];  // the first group_count of them are GROUP BY
    int item_count, group_count;
} Spec;

typedef struct Rule {  // of a table: a row may be seen if …
    bool joins;
    Cond own;                    // of the row, relation 0
    int table, column, column2;  // there is a row of this table with row.column = its column2 …
    Cond other;                  // … for which this holds, relation 0
} Rule;

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    Live *live;
    sqlite3 *lite;
    CatalogTable *tables[TABLES];
    bool keyed[TABLES];
    Rows rows[TABLES];    // what is there
    Rows before[TABLES];  // the last commit
    Rows events;          // of the last commit
    bool has_events;      // the last table is one of events
    Rule rules[TABLES][RULES_MAX];
    int rule_count[TABLES];
    char *texts[TABLES * RULES_MAX];
    int text_count;
} World;

static bool op_holds(int op, int order) {
    switch (op) {
    case 0: return order == 0;
    case 1: return order != 0;
    case 2: return order < 0;
    case 3: return order <= 0;
    case 4: return order > 0;
    default: return order >= 0;
    }
}

// 1 yes, 0 no, -1 cannot be said.
static int compare(const Row *row, int column, int op, Value value) {
    return row ? op_holds(op, order_of(row->v[column], value)) : -1;
}

static bool holds(const Cond *c, const Row *const *rows, int who) {
    const Row *row = rows[c->relation];
    Value me = {.kind = INTEGER, .i = who};
    switch (c->kind) {
    case TO_VALUE: return compare(row, c->column, c->op, c->value) == 1;
    case TO_SENDER: return compare(row, COL_WHO, 0, me) == 1;
    case TO_COLUMN:
        return rows[c->relation2] &&
               compare(row, c->column, c->op, rows[c->relation2]->v[c->column2]) == 1;
    case EITHER_OF:
        return compare(row, c->column, c->op, c->value) == 1 ||
               compare(rows[c->relation2], c->column2, c->op2, c->value2) == 1;
    case IS_MISSING: return !row;
    case IS_THERE: return row != NULL;
    }
    return false;
}

static const Rows *rows_of(const World *w, int table) {
    return w->has_events && table == TABLES - 1 ? &w->events : &w->rows[table];
}

static bool is_visible(const World *w, int who, int table, const Row *row) {
    if (who == 0 || w->rule_count[table] == 0) return true;
    for (int r = 0; r < w->rule_count[table]; r++) {
        const Rule *rule = &w->rules[table][r];
        if (!holds(&rule->own, &row, who)) continue;
        if (!rule->joins) return true;
        const Rows *others = rows_of(w, rule->table);
        for (uint32_t i = 0; i < others->count; i++) {
            const Row *other = &others->rows[i];
            if (order_of(row->v[rule->column], other->v[rule->column2]) == 0 &&
                holds(&rule->other, &other, who) && is_visible(w, who, rule->table, other))
                return true;
        }
    }
    return false;
}

// ── from scratch ───────────────────────────────────────────────────────────────────────────────

typedef struct Lines {  // rows as text, sorted
    char list[LINES_MAX][LINE_MAX];
    uint32_t count;
} Lines;

static int line_order(const void *a, const void *b) {
    return strcmp(a, b);
}

static void line_add(Lines *lines, const Buf *text) {
    ASSERT(lines->count < LINES_MAX && text->len < LINE_MAX);
    memset(lines->list[lines->count], 0, LINE_MAX);
    memcpy(lines->list[lines->count++], text->ptr, text->len);
}

static void lines_sort(Lines *lines, bool once) {
    qsort(lines->list, lines->count, LINE_MAX, line_order);
    uint32_t kept = 0;
    for (uint32_t i = 0; once && i < lines->count; i++) {
        if (i > 0 && strcmp(lines->list[i], lines->list[kept - 1]) == 0) continue;
        memmove(lines->list[kept++], lines->list[i], LINE_MAX);
    }
    if (once) lines->count = kept;
}

typedef struct Combination {
    const Row *rows[RELATIONS];
} Combination;

typedef struct Scratch {
    const World *w;
    const Spec *spec;
    int who;
    Combination list[LINES_MAX * 4];
    uint32_t count;
} Scratch;

static bool all_hold(const Cond *conds, int count, const Row *const *rows, int who) {
    for (int i = 0; i < count; i++) {
        if (!holds(&conds[i], rows, who)) return false;
    }
    return true;
}

static void combine(Scratch *s, int at, Combination *so_far) {
    const Spec *spec = s->spec;
    if (at == spec->count) {
        if (!all_hold(spec->where, spec->where_count, so_far->rows, s->who)) return;
        ASSERT(s->count < ARRAY_LEN(s->list));
        s->list[s->count++] = *so_far;
        return;
    }
    const Rows *rows = rows_of(s->w, spec->table[at]);
    bool found = false;
    for (uint32_t i = 0; i < rows->count; i++) {
        so_far->rows[at] = &rows->rows[i];
        if (!is_visible(s->w, s->who, spec->table[at], &rows->rows[i])) continue;
        if (!all_hold(spec->on[at], spec->on_count[at], so_far->rows, s->who)) continue;
        found = true;
        combine(s, at + 1, so_far);
    }
    so_far->rows[at] = NULL;
    if (spec->left[at] && !found) combine(s, at + 1, so_far);
}

static Value item_of(const Scratch *s, const uint32_t *members, uint32_t count, const Item *item) {
    Value v = {.kind = MISSING}, best = v;
    int64_t n = 0, sum = 0;
    double real = 0;
    for (uint32_t i = 0; i < count; i++) {
        const Row *row = s->list[members[i]].rows[item->relation];
        if (!row) continue;
        v = row->v[item->column];
        if (item->function == PLAIN) return v;
        if (n++ == 0 || (item->function == MIN ? order_of(v, best) < 0 : order_of(v, best) > 0))
            best = v;
        sum += v.i;
        real += v.f;
    }
    switch (item->function) {
    case PLAIN: return (Value){.kind = MISSING};
    case COUNT_ALL: return (Value){.kind = INTEGER, .i = count};
    case COUNT: return (Value){.kind = INTEGER, .i = n};
    case MIN:
    case MAX: return best;
    case SUM:
        if (n == 0) return (Value){.kind = MISSING};
        return item->column == COL_F ? (Value){.kind = REAL, .f = real}
                                     : (Value){.kind = INTEGER, .i = sum};
    case AVG:
        if (n == 0) return (Value){.kind = MISSING};
        return (Value){.kind = REAL, .f = (item->column == COL_F ? real : (double)sum) / (double)n};
    }
    return v;
}

static bool same_group(const Scratch *s, uint32_t x, uint32_t y) {
    for (int g = 0; g < s->spec->group_count; g++) {
        const Item *item = &s->spec->items[g];
        const Row *a = s->list[x].rows[item->relation], *b = s->list[y].rows[item->relation];
        if (!a != !b || (a && order_of(a->v[item->column], b->v[item->column]) != 0)) return false;
    }
    return true;
}

static void group_lines(const Scratch *s, Lines *out) {
    static uint32_t members[LINES_MAX * 4];
    static bool taken[LINES_MAX * 4];
    memset(taken, 0, sizeof taken);
    uint32_t first = 0;
    do {
        uint32_t count = 0;
        while (first < s->count && taken[first]) {
            first++;
        }
        if (first == s->count && (s->spec->group_count > 0 || s->count > 0)) break;
        for (uint32_t i = first; i < s->count; i++) {
            if (taken[i] || !same_group(s, first, i)) continue;
            taken[i] = true;
            members[count++] = i;
        }
        Buf text = {0};
        for (int i = 0; i < s->spec->item_count; i++)
            value_print(&text, item_of(s, members, count, &s->spec->items[i]));
        line_add(out, &text);
        buf_deinit(&text);
    } while (first < s->count);
}

static void from_scratch(const World *w, const Spec *spec, int who, Lines *out) {
    static Scratch s;
    s.w = w;
    s.spec = spec;
    s.who = who;
    s.count = 0;
    out->count = 0;
    Combination none = {0};
    combine(&s, 0, &none);
    if (spec->grouped) {
        group_lines(&s, out);
    } else {
        for (uint32_t i = 0; i < s.count; i++) {
            Buf text = {0};
            for (int c = 0; c < COLUMNS; c++)
                value_print(&text, s.list[i].rows[spec->shown]->v[c]);
            line_add(out, &text);
            buf_deinit(&text);
            if (out->count > LINES_MAX / 2) lines_sort(out, true);
        }
    }
    lines_sort(out, !spec->grouped);
}

// ── queries as text ────────────────────────────────────────────────────────────────────────────

static void put_value(Buf *sql, int column, Value v, bool lite) {
    if (v.kind == WORD)
        buf_printf(sql, "%s", v.i == 0 ? "''" : v.i == 1 ? "'a'" : "'b''c'");
    else if (v.kind == REAL)
        buf_printf(sql, "%.2f", v.f);
    else if (column == COL_WHO && !lite)
        buf_printf(sql, "0x%064llx", (long long)v.i);
    else
        buf_printf(sql, "%lld", (long long)v.i);
}

// `alias` is printed before relation numbers; NULL: no qualifiers.
static void put_column(Buf *sql, const char *alias, int relation, int column) {
    if (alias) buf_printf(sql, "%s%d.", alias, relation);
    buf_printf(sql, "%s", column_names[column]);
}

static void put_cond(Buf *sql, const char *alias, const Cond *c, int who, bool lite) {
    if (c->kind == EITHER_OF) buf_put_u8(sql, '(');
    put_column(sql, alias, c->relation, c->kind == TO_SENDER ? COL_WHO : c->column);
    switch (c->kind) {
    case TO_VALUE:
    case EITHER_OF:
        buf_printf(sql, " %s ", ops[c->op]);
        put_value(sql, c->column, c->value, lite);
        break;
    case TO_COLUMN:
        buf_printf(sql, " %s ", ops[c->op]);
        put_column(sql, alias, c->relation2, c->column2);
        break;
    case IS_MISSING: buf_printf(sql, " IS NULL"); break;
    case IS_THERE: buf_printf(sql, " IS NOT NULL"); break;
    case TO_SENDER:
        if (lite)
            buf_printf(sql, " = %d", who);
        else
            buf_printf(sql, " = :sender");
        break;
    }
    if (c->kind != EITHER_OF) return;
    buf_printf(sql, " OR ");
    put_column(sql, alias, c->relation2, c->column2);
    buf_printf(sql, " %s ", ops[c->op2]);
    put_value(sql, c->column2, c->value2, lite);
    buf_put_u8(sql, ')');
}

static void put_conds(Buf *sql, const char *alias, const Cond *c, int count, int who, bool lite) {
    for (int i = 0; i < count; i++) {
        if (i > 0) buf_printf(sql, " AND ");
        put_cond(sql, alias, &c[i], who, lite);
    }
}

static void put_items(Buf *sql, const Spec *spec, const char *alias) {
    static const char *const names[] = {"", "", "COUNT", "SUM", "MIN", "MAX", "AVG"};
    for (int i = 0; i < spec->item_count; i++) {
        const Item *item = &spec->items[i];
        if (i > 0) buf_printf(sql, ", ");
        if (item->function == COUNT_ALL) {
            buf_printf(sql, "COUNT(*)");
        } else {
            if (item->function != PLAIN) buf_printf(sql, "%s(", names[item->function]);
            put_column(sql, alias, item->relation, item->column);
            if (item->function != PLAIN) buf_printf(sql, ")");
        }
        buf_printf(sql, " AS i%d", i);
    }
}

static void spec_print(const Spec *spec, int who, bool lite, char out[TEXT_MAX]) {
    Buf sql = {0};
    const char *alias = spec->count > 1 ? "r" : NULL;
    buf_printf(&sql, lite && !spec->grouped ? "SELECT DISTINCT " : "SELECT ");
    if (spec->grouped)
        put_items(&sql, spec, alias);
    else if (spec->count > 1)
        buf_printf(&sql, "r%d.*", spec->shown);
    else
        buf_printf(&sql, "*");
    for (int r = 0; r < spec->count; r++) {
        buf_printf(&sql, r == 0 ? " FROM" : spec->left[r] ? " LEFT JOIN" : " JOIN");
        buf_printf(&sql, " t%d", spec->table[r]);
        if (alias) buf_printf(&sql, " AS r%d", r);
        if (r > 0 && spec->on_count[r] > 0) {
            buf_printf(&sql, " ON ");
            put_conds(&sql, alias, spec->on[r], spec->on_count[r], who, lite);
        }
    }
    if (spec->where_count > 0) buf_printf(&sql, " WHERE ");
    put_conds(&sql, alias, spec->where, spec->where_count, who, lite);
    for (int g = 0; g < spec->group_count; g++) {
        buf_printf(&sql, g == 0 ? " GROUP BY " : ", ");
        put_column(&sql, alias, spec->items[g].relation, spec->items[g].column);
    }
    ASSERT(buf_ok(&sql) && sql.len < TEXT_MAX);
    memcpy(out, sql.ptr, sql.len);
    out[sql.len] = 0;
    buf_deinit(&sql);
}

// ── random queries ─────────────────────────────────────────────────────────────────────────────

static Cond random_cond(int relation) {
    Cond c = {.kind = TO_VALUE, .relation = relation, .column = (int)below(COLUMNS)};
    c.op = below(2) ? 0 : (int)below(6);
    c.value = random_value(c.column);
    if (below(6) == 0) c.kind = TO_SENDER;
    return c;
}

static Cond random_link(int relation, int other) {
    static const int columns[] = {COL_ID, COL_A, COL_B, COL_WHO, COL_S};
    int kind = (int)below(12);
    int column = kind < 8 ? columns[below(3)] : columns[below(5)];
    bool number = column <= COL_B;
    Cond c = {.kind = TO_COLUMN, .relation = relation, .column = column, .relation2 = other};
    c.column2 = number ? columns[below(3)] : column;
    return c;
}

static void random_where(Spec *spec) {
    spec->where_count = (int)below(3);
    for (int i = 0; i < spec->where_count; i++) {
        int r = (int)below((uint32_t)spec->count);
        Cond *c = &spec->where[i];
        *c = random_cond(r);
        if (spec->left[r] && below(3) == 0) {
            c->kind = below(2) ? IS_MISSING : IS_THERE;
        } else if (below(5) == 0) {
            Cond d = random_cond((int)below((uint32_t)spec->count));
            if (c->kind != TO_VALUE || d.kind != TO_VALUE) continue;
            c->kind = EITHER_OF;
            c->relation2 = d.relation;
            c->column2 = d.column;
            c->op2 = d.op;
            c->value2 = d.value;
        } else if (spec->count > 1 && below(6) == 0) {
            int o = (int)below((uint32_t)spec->count);
            if (o == r) continue;
            *c = random_link(r, o);
            c->op = (int)below(6);
        }
    }
}

static void random_items(Spec *spec) {
    spec->grouped = true;
    spec->group_count = (int)below(3);
    spec->item_count = spec->group_count + 1 + (int)below(2);
    for (int i = 0; i < spec->item_count; i++) {
        Item *item = &spec->items[i];
        item->relation = (int)below((uint32_t)spec->count);
        item->column = (int)below(COLUMNS);
        if (i < spec->group_count) continue;
        item->function = COUNT_ALL + (int)below(6);
        if (item->function == SUM || item->function == AVG) item->column = below(2) ? COL_F : COL_B;
    }
}

static Spec random_spec(const World *w) {
    Spec spec = {.count = 1 + (int)(below(3) ? below(3) : below(4))};
    uint32_t tables = w->has_events ? TABLES - 1 : TABLES;
    for (int r = 0; r < spec.count; r++) {
        spec.table[r] = (int)below(tables);
        if (r == 0) continue;
        spec.left[r] = below(4) == 0;
        spec.on[r][spec.on_count[r]++] = random_link(r, (int)below((uint32_t)r));
        if (below(5) == 0) spec.on[r][spec.on_count[r]++] = random_link(r, (int)below((uint32_t)r));
        if (below(5) == 0) spec.on[r][spec.on_count[r]++] = random_cond(r);
        if (below(25) == 0) spec.on_count[r] = spec.left[r] ? 1 : 0;
    }
    random_where(&spec);
    do {
        spec.shown = (int)below((uint32_t)spec.count);
    } while (spec.left[spec.shown]);
    if (w->has_events && below(4) == 0)
        spec.table[spec.shown] = TABLES - 1;
    else if (below(3) == 0)
        random_items(&spec);
    return spec;
}

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
    fake_free(&w->fake);
    for (int i = 0; i < w->text_count; i++)
        mem_free(w->texts[i]);
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
    uint64_t subscribed, refused, heard, compared, asked_lite, rows, joins, grouped;
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

static void dropped(void *ctx, void *owner, uint32_t set, const char *why) {
    (void)ctx;
    (void)owner;
    fail_msg("set %u was dropped: %s", set, why);
}

static void run(uint64_t from, uint32_t commits, Totals *t) {
    static World w;
    static Client clients[PEOPLE];
    seed = from;
    world_open(&w, below(2));
    for (int i = 0; i < PEOPLE; i++) {
        memset(&clients[i], 0, sizeof clients[i]);
        clients[i].who = i;
        QueryCaller caller = {.identity.le[0] = (uint8_t)i, .is_owner = i == 0};
        EXPECT_OK(live_client_open(w.live, &clients[i], &caller, &clients[i].client));
    }
    for (uint32_t n = 0; n < commits; n++) {
        for (int k = 0; k < 3; k++) {
            Client *c = &clients[below(PEOPLE)];
            uint32_t at = below(QUERIES);
            if (!c->held[at].live)
                subscribe(&w, c, at, t);
            else if (below(8) == 0)
                unsubscribe(c, at);
        }
        if (below(60) == 0) {
            w.fake->door.schema_version++;
            EXPECT_OK(live_schema_changed(w.live, dropped, NULL));
        }
        random_commit(&w, t);
        for (int i = 0; i < PEOPLE; i++) {
            for (uint32_t q = 0; q < QUERIES; q++) {
                if (clients[i].held[q].live) expect_held(&w, &clients[i], &clients[i].held[q], t);
            }
        }
    }
    for (int i = 0; i < PEOPLE; i++)
        live_client_close(&clients[i].client);
    LiveStats stats = live_stats(w.live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.state_bytes == 0);
    world_close(&w);
}

TEST(differential, what_clients_hold_is_what_their_queries_say_from_scratch) {
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 20261122, count = one ? 1 : 12;
    if (many) count = strtoull(many, NULL, 10);
    Totals t = {0};
    for (uint64_t i = 0; i < count; i++) {
        print_message("seed %llu\n", (unsigned long long)(first + i));
        run(first + i, 50, &t);
    }
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
}

TEST_MAIN()
