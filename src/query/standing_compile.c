// standing_compile.c: the text of a subscription to a Standing: which dialect, what is refused, life.
//
// The grammar is the original's; where that says no and we are not strict, the text is read once more
// in the dialect of statements, of which joins of any shape and groups can stand.
#include "query/standing_private.h"

#include "base/mem.h"
#include "query/stats.h"

typedef struct Asked {
    const QueryCatalog *catalog;
    const QueryCaller *caller;
    bool strict;
    Arena *scratch;
    Diag *diag;
} Asked;

static const char no_index[] = "Subscriptions require indexes on join columns";

// ── the dialect ────────────────────────────────────────────────────────────────────────────────

static bool aggregates(const SqlSelect *select) {
    if (select->projection == QPROJECT_COUNT) return true;
    for (uint32_t i = 0; select->projection == QPROJECT_COLUMNS && i < select->item_count; i++) {
        if (select->items[i].function != SQL_PLAIN) return true;
    }
    return false;
}

// More than the subscription grammar has, and it can stand.
static bool can_stand(const SqlSelect *select) {
    bool ordered = select->order_count || select->has_limit || select->offset;
    if (ordered || (select->group_count && !aggregates(select))) return false;
    return select->projection == QPROJECT_ROW || aggregates(select);
}

static Err parse(const Asked *a, Str text, SqlSelect *select) {
    Err err = sql_parse_select(text, QUERY_SUBSCRIBE, a->scratch, select, a->diag);
    if (err != ERR_UNSUPPORTED || a->strict) return err;
    SqlSelect wider;
    Diag ignored;
    diag_clear(&ignored);
    Err again = sql_parse_select(text, QUERY_SQL, a->scratch, &wider, &ignored);
    if (again != OK || !can_stand(&wider)) return again == ERR_NOMEM ? again : err;
    *select = wider;
    return OK;
}

typedef struct RuleSearch {
    Arena *scratch;
    bool joins;
    Err err;
} RuleSearch;

static bool rule_joins(void *ctx, Str sql) {
    RuleSearch *search = ctx;
    SqlSelect rule;
    Diag ignored;
    Str copy = arena_str(search->scratch, sql);
    diag_clear(&ignored);
    Err err = copy.ptr ? sql_parse_select(copy, QUERY_SUBSCRIBE, search->scratch, &rule, &ignored)
                       : ERR_NOMEM;
    if (err == ERR_NOMEM) search->err = err;
    search->joins = err == OK && !sql_select_is_plain(&rule);
    return !search->joins && search->err == OK;
}

// Rows of one table that can be told by themselves.
static Err is_plain(const Asked *a, const SqlSelect *select, const CatalogTable *table, bool *out) {
    *out = sql_select_is_plain(select) && (a->strict || !aggregates(select));
    if (!*out || a->caller->is_owner || !a->catalog->each_rule) return OK;
    RuleSearch search = {.scratch = a->scratch};
    Err err = a->catalog->each_rule(a->catalog->ctx, table, rule_joins, &search);
    *out = !search.joins;
    return err == OK ? search.err : err;
}

// ── what cannot stand ──────────────────────────────────────────────────────────────────────────

static Err refuse_no_index(const Asked *a) {
    return diag_fail(a->diag, ERR_UNSUPPORTED, no_index);
}

// Is there an index that finds rows by this column, once those before it are fixed by the query?
static bool column_indexed(const StandingNode *node, uint16_t column) {
    const CatalogTable *table = node->leaf->table;
    if (!table->table) return false;
    if (table->primary_key == column) return true;
    for (uint32_t i = 0; i < table_index_count(table->table); i++) {
        StoreIndexInfo index = table_index_at(table->table, i);
        uint16_t at = 0;
        while (at < index.column_count && index.columns[at] != column &&
               place_equality(node->leaf, index.columns[at])) {
            at++;
        }
        if (at < index.column_count && index.columns[at] == column) return true;
    }
    return false;
}

// Relations of the largest query that comes of putting a rule in the place of each table it is about.
static uint32_t fragment_size(const Standing *s, const StandingBlock *block) {
    uint32_t size = 0;
    for (uint32_t i = 0; i < block->count; i++) {
        const StandingNode *node = &s->nodes[block->first + i];
        uint32_t most = 1;
        for (uint32_t r = 0; r < node->rule_count; r++)
            most = MAX(most, fragment_size(s, &s->blocks[node->rules[r]]));
        size += most;
    }
    return size;
}

// The original's words: one side is probed, and that one needs the index (spec §3.2).
static Err check_strict(const Asked *a, const Standing *s, const SqlSelect *select) {
    for (uint32_t r = 1; r < select->relation_count; r++) {
        if (select->relations[r].on_count == 0) return refuse_no_index(a);
    }
    uint32_t size = fragment_size(s, s->blocks);
    if (size > 2)
        return diag_fail(a->diag,
                         ERR_UNSUPPORTED,
                         "Invalid number of tables in subscription: %u",
                         size);
    for (uint32_t b = 0; b < s->block_count; b++) {
        const StandingBlock *block = &s->blocks[b];
        if (block->count < 2) continue;
        const StandingNode *child = &s->nodes[block->steps[1].node];
        if (child->up != STANDING_LINK) return refuse_no_index(a);
        uint16_t own = child->links[0].column, other = child->links[0].parent_column;
        bool child_right = block->steps[1].node > block->steps[0].node;
        const StandingNode *left = &s->nodes[block->first], *right = left + 1;
        bool probes_left = right->leaf->test_count > 0 && left->leaf->test_count == 0;
        bool probes_child = child_right != probes_left;
        const StandingNode *probed = probes_child ? child : &s->nodes[block->steps[0].node];
        if (!column_indexed(probed, probes_child ? own : other)) return refuse_no_index(a);
    }
    return OK;
}

// Where one row cannot be followed to its partners by equal values, a change would look at all rows of
// a table; unless what is asked of the others is only whether there is one.
static Err check_followed(const Asked *a, const Standing *s) {
    for (uint32_t n = 0; n < s->node_count; n++) {
        const StandingNode *node = &s->nodes[n];
        if (node->up != STANDING_CROSS) continue;
        const uint16_t primary =
            node->leaf->table->primary_key < 0 ? 0 : (uint16_t)node->leaf->table->primary_key;
        bool all = node->leaf->entry == QUERY_ACCEPT || node->leaf->entry == QUERY_REJECT;
        bool found = all || place_choose(node->leaf, &primary).equal > 0;
        if (!node->separable || node->rule_count > 0 || !found || s->has_groups)
            return refuse_no_index(a);
    }
    return OK;
}

static Err check_events(const Asked *a, const Standing *s) {
    for (uint32_t n = 0; n < s->node_count; n++) {
        const StandingNode *node = &s->nodes[n];
        bool returned = node->up == STANDING_ROOT || node->up == STANDING_SAME;
        if (!node->leaf->table->is_event || (returned && !s->has_groups)) continue;
        return diag_fail(a->diag,
                         ERR_UNSUPPORTED,
                         "Event tables cannot be used as the lookup table in subscription joins");
    }
    return OK;
}

static Err check(const Asked *a, const Standing *s, const SqlSelect *select) {
    Err err = a->strict ? check_strict(a, s, select) : check_followed(a, s);
    if (err == OK) err = check_events(a, s);
    if (err == OK && s->node_count > STANDING_NODES_MAX)
        err = diag_fail(a->diag,
                        ERR_UNSUPPORTED,
                        "Invalid number of tables in subscription: %u",
                        s->node_count);
    return err;
}

// ── joins ──────────────────────────────────────────────────────────────────────────────────────

static PlanBuilder builder_of(const Asked *a, Standing *s) {
    return (PlanBuilder){
        .catalog = a->catalog,
        .caller = a->caller,
        .door = s->has_groups ? QUERY_SQL : QUERY_SUBSCRIBE,
        .arena = &s->arena,
        .scratch = a->scratch,
        .diag = a->diag,
    };
}

static Err join_of(const Asked *a,
                   Standing *s,
                   const SqlSelect *select,
                   uint32_t given,
                   bool links_only,
                   Join **out) {
    PlanBuilder b = builder_of(a, s);
    b.select = select;
    b.links_only = links_only;
    *out = arena_new(&s->arena, Join);
    return *out ? join_build(&b, given, *out) : ERR_NOMEM;
}

// Inner joins alone: a changed row's combinations can be had from wherever it stands.
static bool is_multilinear(const Standing *s, const SqlSelect *select) {
    for (uint32_t r = 0; r < select->relation_count; r++) {
        if (select->relations[r].join == SQL_JOIN_LEFT || s->nodes[r].rule_count > 0) return false;
    }
    return true;
}

static Err take_beginnings(const Asked *a, Standing *s, const SqlSelect *select) {
    uint32_t count = select->relation_count;
    if (!s->has_groups || !is_multilinear(s, select)) return OK;
    StandingBlock *from = arena_array(&s->arena, StandingBlock, count);
    if (!from) return ERR_NOMEM;
    Err err = OK;
    for (uint32_t r = 0; err == OK && r < count; r++) {
        Join *join;
        from[r] = s->blocks[0];
        err = join_of(a, s, select, r, true, &join);
        if (err == OK) err = standing_take_steps(s, &from[r], join);
        if (join) join_deinit(join);
    }
    if (err == OK) s->from = from;
    return err;
}

static Err refuse_returned(const Asked *a) {
    return diag_fail(a->diag,
                     ERR_UNSUPPORTED,
                     "Unsupported: subscriptions to rows of a table behind LEFT JOIN");
}

static Err take_row_type(Standing *s) {
    uint32_t count = s->plan->output_count;
    TypeField *fields = arena_array(&s->arena, TypeField, count);
    if (!fields) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        fields[i] = (TypeField){s->plan->outputs[i].name, s->plan->outputs[i].type};
    s->row_type = type_product(&s->arena, fields, count);
    return s->row_type ? OK : ERR_NOMEM;
}

static Err compile_joins(const Asked *a, SqlSelect *select, Standing *s) {
    if (select->projection == QPROJECT_COUNT) select->projection = QPROJECT_COLUMNS;
    s->has_groups = !a->strict && aggregates(select);
    PlanBuilder b = builder_of(a, s);
    b.stats = a->catalog->stats;  // of the plan alone, which finds the rows that are there already
    stats_begin(b.stats);
    Err err = plan_new(&b, select, &s->plan);
    if (err != OK) return err;
    if (!s->has_groups && !s->plan->whole_row) return refuse_returned(a);
    if (s->has_groups && (err = take_row_type(s)) != OK) return err;
    err = join_of(a, s, select, s->has_groups ? 0 : s->plan->shown, false, &s->join);
    if (err == OK) err = standing_take(s, s->join);
    if (err == OK) err = check(a, s, select);
    return err == OK ? take_beginnings(a, s, select) : err;
}

static bool has_sender(const SqlNode *nodes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].kind == SQL_SENDER) return true;
    }
    return false;
}

static bool mentions_sender(const SqlSelect *select) {
    if (has_sender(select->nodes, select->node_count)) return true;
    for (uint32_t r = 0; r < select->relation_count; r++) {
        if (has_sender(select->relations[r].on, select->relations[r].on_count)) return true;
    }
    return false;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

static Err compile(const Asked *a, Str text, Standing *s) {
    SqlSelect select;
    RowsQuery what = {.door = QUERY_SUBSCRIBE, .caller = a->caller, .rules = a->catalog};
    bool plain;
    Err err = compile_check_text(text, a->diag);
    if (err == OK) err = parse(a, text, &select);
    if (err == OK) err = compile_table(a->catalog, a->caller, select.table, &what.table, a->diag);
    if (err == OK) err = is_plain(a, &select, what.table, &plain);
    if (err != OK) return err;
    s->mentions_sender = mentions_sender(&select);
    if (plain) return compile_select(&select, &what, &s->query, a->diag);
    s->text = arena_str(&s->arena, text);
    return s->text.ptr ? compile_joins(a, &select, s) : ERR_NOMEM;
}

Err standing_compile(Str text,
                     bool strict,
                     const QueryCatalog *catalog,
                     const QueryCaller *caller,
                     Standing **out,
                     Diag *diag) {
    Arena scratch = {0};
    Standing *s = MEM_NEW(Standing);
    if (!s) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    Asked asked = {catalog, caller, strict, &scratch, diag};
    Err err = compile(&asked, text, s);
    if (err == ERR_NOMEM) diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    arena_deinit(&scratch);
    if (err == OK)
        *out = s;
    else
        standing_free(&s);
    return err;
}

void standing_free(Standing **standing) {
    Standing *s = *standing;
    if (!s) return;
    query_free(&s->query);
    plan_free(&s->plan);
    if (s->join) join_deinit(s->join);
    arena_deinit(&s->arena);
    mem_free(s);
    *standing = NULL;
}

// ── what it is, and its first rows ─────────────────────────────────────────────────────────────

const CatalogTable *standing_table(const Standing *s) {
    if (s->query) return s->query->table;
    return s->has_groups ? NULL : s->plan->join.leaves[s->plan->shown].query->table;
}

StandingRows standing_rows(const Standing *s) {
    const CatalogTable *table = standing_table(s);
    if (!table) return (StandingRows){.name = s->text, .row_type = s->row_type};
    return (StandingRows){table->name, table->table_id, table->is_view ? 1 : 0, table->row_type};
}

bool standing_is_event(const Standing *s) {
    const CatalogTable *table = standing_table(s);
    return table && table->is_event;
}

Err standing_each_query(const Standing *s, Err (*each)(void *ctx, const Query *query), void *ctx) {
    if (s->query) return each(ctx, s->query);
    Err err = OK;
    for (uint32_t n = 0; err == OK && n < s->node_count; n++)
        err = each(ctx, s->nodes[n].leaf);
    return err;
}

Err standing_check_limit(const QueryCatalog *catalog,
                         const QueryCaller *caller,
                         const Standing *s,
                         Diag *diag) {
    if (s->query) return query_check_limit(catalog, caller, s->query, diag);
    return limit_check_plan(catalog, caller, s->plan, diag);
}

uint64_t standing_cost(const Standing *s, uint64_t most) {
    return s->query ? query_cost(s->query, most) : plan_cost(s->plan, most);
}

Err standing_detach(Standing *s) {
    if (s->query) return query_detach(s->query);
    Err err = plan_detach(s->plan);
    return err == OK && s->has_groups ? take_row_type(s) : err;
}

void standing_limit(Standing *s, const atomic_bool *stop, uint64_t rows, uint64_t bytes) {
    if (s->query) {
        s->query->stop = stop;
        s->query->rows_max = rows;
        s->query->bytes_max = bytes;
    } else {
        s->plan->stop = stop;
        s->plan->rows_max = rows;
        s->plan->bytes_max = bytes;
    }
}

typedef struct Shown {
    const Query *query;
    QuerySink sink;
    void *ctx;
} Shown;

static bool show(void *ctx, Bytes row) {
    const Shown *shown = ctx;
    return shown->sink(shown->ctx, query_shown(shown->query, row));
}

Err standing_run(const Standing *s,
                 const Snapshot *snapshot,
                 bool bag,
                 QuerySink sink,
                 void *ctx,
                 Diag *diag) {
    Shown shown = {s->query, sink, ctx};
    if (s->query) return query_run(s->query, snapshot, show, &shown);
    s->plan->distinct = !bag && !s->has_groups;
    return plan_run(s->plan, snapshot, sink, ctx, NULL, diag);
}
