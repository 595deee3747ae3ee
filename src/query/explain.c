// explain.c: EXPLAIN: what a statement would do, step by step in the order of doing; EXPLAIN ANALYZE
// does it and says what each step touched. Others than the owner get it of tables without row-level security
// only: it would tell them about rows and rules that are kept from them.
//
//   plan                                                   estimate   touched   kept
//   scan `note` as `n` by (owner =)                              10         7      7
//   look up `user` by unique (id)                                10         7      7
//   group by 1 column                                                               3
//   sort by n descending                                                            3
//
// EXPLAIN SUBSCRIBE is explain_standing.c's.
#include "query/statement_private.h"

typedef struct Explain {
    const Statement *statement;
    QuerySink sink;
    void *ctx;
    Buf text, row;
    Err err;
} Explain;

enum { COLUMNS_PLAIN = 2, COLUMNS_ANALYZE = 4 };

Err explain_columns(Statement *s) {
    const Type *number = type_option(&s->arena, type_simple(TYPE_U64));
    s->columns = arena_array(&s->arena, StatementColumn, COLUMNS_ANALYZE);
    if (!number || !s->columns) return ERR_NOMEM;
    s->column_count = s->analyze ? COLUMNS_ANALYZE : COLUMNS_PLAIN;
    s->columns[0] = (StatementColumn){STR("plan"), type_simple(TYPE_STRING)};
    s->columns[1] = (StatementColumn){STR("estimate"), number};
    s->columns[2] = (StatementColumn){STR("touched"), number};
    s->columns[3] = (StatementColumn){STR("kept"), number};
    return OK;
}

static void put_number(Buf *row, const uint64_t *number) {
    buf_put_u8(row, number ? 0 : 1);
    if (number) buf_put_u64(row, *number);
}

// The line that is in e->text.
static void line(Explain *e,
                 const uint64_t *estimate,
                 const uint64_t *touched,
                 const uint64_t *kept) {
    if (e->err != OK) return;
    buf_clear(&e->row);
    buf_put_lp(&e->row, buf_bytes(&e->text));
    put_number(&e->row, estimate);
    if (e->statement->analyze) put_number(&e->row, touched);
    if (e->statement->analyze) put_number(&e->row, kept);
    if (!buf_ok(&e->text) || !buf_ok(&e->row))
        e->err = ERR_NOMEM;
    else if (!e->sink(e->ctx, buf_bytes(&e->row)))
        e->err = ERR_LIMIT;
    buf_clear(&e->text);
}

// ── words ──────────────────────────────────────────────────────────────────────────────────────

static void put_table(Buf *out, const CatalogTable *table, Str alias) {
    buf_printf(out, "`" STR_FMT "`", STR_ARG(table->name));
    if (alias.ptr && !str_eq(alias, table->name))
        buf_printf(out, " as `" STR_FMT "`", STR_ARG(alias));
}

static Str column_name(const CatalogTable *table, uint16_t column) {
    return table->columns[column].name;
}

static void put_place(Buf *out, const Query *q) {
    uint16_t primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
    QueryPath access = place_choose(q, &primary);
    uint32_t used = access.equal + access.ranged;
    if (used > 0) buf_put_str(out, STR(" by ("));
    for (uint32_t i = 0; i < used; i++) {
        Str name = column_name(q->table, access.columns[i]);
        bool equal = i < access.equal;
        buf_printf(out,
                   "%s" STR_FMT "%s",
                   i ? ", " : "",
                   STR_ARG(name),
                   equal ? " =" : " in a range");
    }
    if (used > 0) buf_put_u8(out, ')');
    if (q->test_count > used) buf_put_str(out, STR(", filter"));
}

static void put_keys(Buf *out, const CatalogTable *table, const JoinStep *step) {
    for (uint32_t i = 0; i < step->key_count; i++)
        buf_printf(out,
                   "%s" STR_FMT,
                   i ? ", " : " (",
                   STR_ARG(column_name(table, step->keys[i].column)));
    buf_put_u8(out, ')');
}

static void put_step(Buf *out, const Join *join, const JoinStep *step) {
    const PlanLeaf *leaf = &join->leaves[step->relation];
    const CatalogTable *table = leaf->query->table;
    static const char *const words[] = {
        [STEP_GIVEN] = "given ",
        [STEP_SCAN] = "scan ",
        [STEP_LOOKUP] = "look up ",
        [STEP_HASH] = "hash ",
    };
    buf_put_str(out, str_from(words[step->access]));
    put_table(out, table, leaf->alias);
    if (step->access == STEP_SCAN) put_place(out, leaf->query);
    if (step->access == STEP_LOOKUP)
        buf_put_str(out, step->is_unique ? STR(" by unique") : STR(" by index"));
    if (step->access == STEP_HASH) buf_put_str(out, STR(" on"));
    if (step->key_count > 0) put_keys(out, table, step);
    if (step->access == STEP_LOOKUP && leaf->query->test_count > 0)
        buf_put_str(out, STR(", filter"));
    if (step->access == STEP_HASH) put_place(out, leaf->query);
    if (step->on || step->filter) buf_put_str(out, STR(", condition"));
    if (step->left) buf_put_str(out, STR(", or nothing"));
}

// ── a plan ─────────────────────────────────────────────────────────────────────────────────────

static void put_order(Buf *out, const Plan *plan, const PlanOrder *order) {
    Str name;
    if (order->of_output)
        name = plan->outputs[order->output].name;
    else
        name = column_name(plan->join.leaves[order->column.relation].query->table,
                           order->column.column);
    buf_printf(out, STR_FMT "%s", STR_ARG(name), order->descending ? " descending" : "");
}

static void lines_behind_join(Explain *e, const Plan *plan, const PlanStats *stats) {
    if (plan->has_groups) {
        buf_printf(&e->text,
                   "group by %u column%s",
                   plan->group_count,
                   plan->group_count == 1 ? "" : "s");
        line(e, NULL, NULL, &stats->groups);
    }
    if (plan->order_count) {
        buf_put_str(&e->text, STR("sort by "));
        for (uint32_t i = 0; i < plan->order_count; i++) {
            if (i > 0) buf_put_str(&e->text, STR(", "));
            put_order(&e->text, plan, &plan->orders[i]);
        }
        line(e, NULL, NULL, &stats->sorted);
    }
}

static void line_limit(Explain *e, bool has_limit, uint64_t limit, uint64_t offset) {
    if (!has_limit && offset == 0) return;
    if (has_limit) buf_printf(&e->text, "limit %llu", (unsigned long long)limit);
    if (offset)
        buf_printf(&e->text, "%soffset %llu", has_limit ? " " : "", (unsigned long long)offset);
    line(e, NULL, NULL, NULL);
}

static bool ignore_row(void *ctx, Bytes row) {
    (void)ctx;
    (void)row;
    return true;
}

static void plan_lines(Explain *e, const Snapshot *snapshot, Diag *diag) {
    const Plan *plan = e->statement->plan;
    Arena scratch = {0};
    PlanStats stats = {.steps = arena_array(&scratch, StepStats, plan->join.count)};
    if (!stats.steps) e->err = ERR_NOMEM;
    if (e->err == OK && e->statement->analyze)
        e->err = plan_run(plan, snapshot, ignore_row, NULL, &stats, diag);
    for (uint32_t i = 0; e->err == OK && i < plan->join.count; i++) {
        const JoinStep *step = &plan->join.steps[i];
        put_step(&e->text, &plan->join, step);
        line(e, &step->estimate, &stats.steps[i].touched, &stats.steps[i].kept);
    }
    lines_behind_join(e, plan, &stats);
    line_limit(e, plan->has_limit, plan->limit, plan->offset);
    arena_deinit(&scratch);
}

// ── one table ──────────────────────────────────────────────────────────────────────────────────

static Err query_count(const Query *q, const Snapshot *snapshot, StepStats *stats) {
    RowsCursor cursor = {0};
    Bytes row;
    bool limited = q->has_limit && q->projection != QPROJECT_COUNT;
    if (limited && q->limit == 0) return OK;
    rows_begin(&cursor, q, snapshot);
    while (rows_next(&cursor, &row)) {
        if (++stats->kept == q->limit && limited) break;
    }
    stats->touched = cursor.touched;
    rows_end(&cursor);
    return cursor.err;
}

static void query_lines(Explain *e, const Snapshot *snapshot) {
    const Statement *s = e->statement;
    const Query *q = s->query;
    StepStats stats = {0};
    if (s->analyze) e->err = query_count(q, snapshot, &stats);
    bool all = q->projection == QPROJECT_COUNT && q->entry == QUERY_ACCEPT && !q->table->is_view;
    buf_put_str(&e->text, all ? STR("row count of ") : STR("scan "));
    put_table(&e->text, q->table, STR_NONE);
    put_place(&e->text, q);
    line(e, &s->estimate, &stats.touched, &stats.kept);
    line_limit(e, q->has_limit, q->limit, 0);
}

static void write_line(Explain *e) {
    static const char *const words[] =
        {[SQL_INSERT] = "insert into ", [SQL_UPDATE] = "update ", [SQL_DELETE] = "delete from "};
    const Statement *s = e->statement;
    uint64_t rows = s->row_count;
    buf_put_str(&e->text, str_from(words[s->verb]));
    put_table(&e->text, s->table, STR_NONE);
    line(e, s->verb == SQL_INSERT ? &rows : NULL, NULL, NULL);
}

static void bare_line(void *ctx) {
    line(ctx, NULL, NULL, NULL);
}

Err explain_run(const Statement *s,
                const Snapshot *snapshot,
                QuerySink sink,
                void *ctx,
                Diag *diag) {
    Explain e = {.statement = s, .sink = sink, .ctx = ctx};
    if (s->standing) explain_standing(s->standing, &e.text, bare_line, &e);
    if (s->plan) plan_lines(&e, snapshot, diag);
    if (s->query) query_lines(&e, snapshot);
    if (s->verb != SQL_SELECT) write_line(&e);
    buf_deinit(&e.text);
    buf_deinit(&e.row);
    return e.err;
}
