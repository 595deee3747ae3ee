// explain_standing.c: EXPLAIN SUBSCRIBE: what a changed row of each table costs a subscription.
//
//   plan
//   rows of `player`, each once
//   a row of `player` changes: `zone` by index (id), subscribers by (owner)
//   a row of `zone` changes: subscribers by (owner), unless another row has its (id): `player` by index (zone)
//
// The same for everybody who subscribes with other constants. "kept in memory" is a column without an
// index, for which the server keeps one of its own.
#include "query/standing_private.h"

typedef struct Lines {
    const Standing *s;
    Buf *text;
    ExplainLine line;
    void *ctx;
} Lines;

static void put_name(const Lines *l, uint32_t n) {
    const CatalogTable *table = l->s->nodes[n].leaf->table;
    buf_printf(l->text, "`" STR_FMT "`", STR_ARG(table->name));
    if (l->s->nodes[n].block != 0) return;
    Str alias = l->s->plan->join.leaves[n].alias;
    if (!str_eq(alias, table->name)) buf_printf(l->text, " as `" STR_FMT "`", STR_ARG(alias));
}

static void put_columns(const Lines *l,
                        const CatalogTable *table,
                        const uint16_t *columns,
                        uint32_t count) {
    buf_put_str(l->text, STR("("));
    for (uint32_t i = 0; i < count; i++)
        buf_printf(l->text, "%s" STR_FMT, i ? ", " : "", STR_ARG(table->columns[columns[i]].name));
    buf_put_str(l->text, STR(")"));
}

// The columns that a query fixes by equality, each once.
static uint32_t fixed_columns(const Query *q, uint16_t *out, uint32_t most) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->conjunct_count && count < most; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->op != QUERY_EQ || (count > 0 && out[count - 1] == c->column)) continue;
        out[count++] = c->column;
    }
    return count;
}

static bool put_subscribers(const Lines *l, const Query *q) {
    uint16_t columns[16];
    uint32_t count = fixed_columns(q, columns, ARRAY_LEN(columns));
    if (count == 0) return false;
    buf_put_str(l->text, STR("subscribers by "));
    put_columns(l, q->table, columns, count);
    return true;
}

static bool begins_with_one_of(const CatalogTable *table, const uint16_t *columns, uint32_t count) {
    for (uint32_t c = 0; c < count; c++) {
        if (table->primary_key == columns[c]) return true;
        for (uint32_t i = 0; i < table_index_count(table->table); i++) {
            if (table_index_at(table->table, i).columns[0] == columns[c]) return true;
        }
    }
    return false;
}

// Rows of `n` whose link columns are known; `down`: from its parent, else those of the parent.
static void put_way(const Lines *l, uint32_t n, bool down) {
    const StandingNode *node = &l->s->nodes[n];
    uint32_t to = down ? n : node->parent;
    const CatalogTable *table = l->s->nodes[to].leaf->table;
    uint16_t columns[16];
    uint32_t count = 0;
    for (; count < node->link_count && count < ARRAY_LEN(columns); count++)
        columns[count] = down ? node->links[count].column : node->links[count].parent_column;
    put_name(l, to);
    if (node->up == STANDING_CROSS) {
        buf_put_str(l->text, down ? STR(", any row") : STR(", all rows"));
        return;
    }
    bool indexed = begins_with_one_of(table, columns, count);
    buf_put_str(l->text, indexed ? STR(" by index ") : STR(" by a table kept in memory "));
    put_columns(l, table, columns, count);
}

static void put_climb(const Lines *l, uint32_t n) {
    const Standing *s = l->s;
    if (s->nodes[n].silent && !s->has_groups) {
        buf_put_str(l->text, STR("nobody is concerned"));
        return;
    }
    bool known = false;
    for (bool first = true; n != s->root; n = s->nodes[n].parent, first = false) {
        const StandingNode *node = &s->nodes[n];
        if (!first) buf_put_str(l->text, STR(", "));
        if (!known && (known = put_subscribers(l, node->leaf))) buf_put_str(l->text, STR(", "));
        if (node->up == STANDING_SAME) {
            buf_put_str(l->text, STR("which is "));
            put_name(l, node->parent);
            continue;
        }
        if (node->separable && !s->has_groups)
            buf_put_str(l->text, STR("unless another row has the same link: "));
        put_way(l, n, false);
    }
    if (known) return;
    buf_put_str(l->text, STR(", "));
    if (!put_subscribers(l, s->nodes[s->root].leaf)) buf_put_str(l->text, STR("each subscriber"));
}

static void put_partners(const Lines *l) {
    const Standing *s = l->s;
    bool any = false;
    for (uint32_t n = 0; n < s->node_count; n++) {
        if (s->nodes[n].up != STANDING_LINK && s->nodes[n].up != STANDING_CROSS) continue;
        if (any) buf_put_str(l->text, STR(", "));
        put_way(l, n, true);
        any = true;
    }
    for (uint32_t n = 0; n < s->node_count; n++) {
        if (any) buf_put_str(l->text, STR(", "));
        if (put_subscribers(l, s->nodes[n].leaf)) return;
        if (any) l->text->len -= 2;
    }
    buf_put_str(l->text, any ? STR(", each subscriber") : STR("each subscriber"));
}

static void plain_lines(const Lines *l) {
    const Query *q = l->s->query;
    buf_printf(l->text, "rows of `" STR_FMT "`", STR_ARG(q->table->name));
    l->line(l->ctx);
    buf_printf(l->text, "a row of `" STR_FMT "` changes: ", STR_ARG(q->table->name));
    if (!put_subscribers(l, q))
        buf_put_str(l->text,
                    q->entry == QUERY_ACCEPT ? STR("all subscribers") : STR("each subscriber"));
    l->line(l->ctx);
}

void explain_standing(const Standing *s, Buf *text, ExplainLine line, void *ctx) {
    Lines l = {s, text, line, ctx};
    if (s->query) {
        plain_lines(&l);
        return;
    }
    if (s->has_groups) {
        buf_put_str(text, STR("groups, kept in memory"));
    } else {
        buf_put_str(text, STR("rows of "));
        put_name(&l, s->root);
        buf_put_str(text, STR(", each once"));
    }
    line(ctx);
    for (uint32_t n = 0; n < s->node_count; n++) {
        if (s->nodes[n].up == STANDING_SAME) continue;
        buf_put_str(text, STR("a row of "));
        put_name(&l, n);
        buf_put_str(text, STR(" changes: "));
        if (n == s->root)
            put_partners(&l);
        else
            put_climb(&l, n);
        line(ctx);
    }
}
