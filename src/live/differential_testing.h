// differential_testing.h: random queries as structures, their text, and what they mean: nested loops over
// all rows that know nothing of parsers, indexes or deltas. For differential_test.c, whose data these are.
#pragma once
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
        item->function = COUNT_ALL + below(6);
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
