// predicate.c: a typed predicate, normalised and laid out as a program (spec §4.3, normalisation).
//
// PICTURE
//   SqlNode[] ──negations pushed down──> Pred[] ──children sorted──> QueryTest[] + params + key
//
//   NOT (a = 1 AND 2 < b)   ->   OR( a <> $1, b <= $2 )   ->   0: a <> $1 ? accept : 1
//                                                              1: b <= $2 ? accept : reject
//
// ALWAYS TRUE
//   (1) A Pred holds no NOT; AND is never a direct child of AND, nor OR of OR; TRUE and FALSE are
//       never children.
//   (2) Two predicates that differ only in the values of their literals, in the order of the
//       operands of AND and OR, in the side of the constant, or in parentheses, have the same
//       template key and their params in corresponding slots. (Operands whose subtrees differ only
//       in values are put in order by those values, so equal queries have equal params too.)
//   (3) Nothing recurses: passes over nodes are loops, and the one walk keeps its own stack.
#include <stdlib.h>

#include "query/compile.h"
#include "sats/key.h"

typedef enum PredKind {  // in the order in which operands are evaluated: cheap ones first
    PRED_TRUE,
    PRED_FALSE,
    PRED_COMPARE,  // column op constant
    PRED_COLUMNS,  // column op column
    PRED_NONE,     // column has no value (QUERY_EQ) or has one (QUERY_NE)
    PRED_TRUTHS,   // predicate op predicate
    PRED_AND,
    PRED_OR,
} PredKind;

typedef struct Pred Pred;
struct Pred {
    PredKind kind;
    QueryOp op;
    uint16_t column, other_column;
    Bytes value;                // PRED_COMPARE
    Pred *left, *right;         // PRED_TRUTHS
    Pred *first, *last, *next;  // operands of AND, OR; the next operand of the same parent
    uint32_t count;             // of operands
    uint64_t shape;             // hash without values: commutative in operands of AND and OR
    uint64_t content;           // hash with values
    uint32_t param;             // PRED_COMPARE, once laid out
};

typedef struct Normal {
    Compiler *c;
    Pred *made;     // of each syntax node that is a predicate
    bool *negated;  // of each syntax node
} Normal;

static QueryOp op_negated(QueryOp op) {
    static const QueryOp negated[] = {QUERY_NE, QUERY_EQ, QUERY_GE, QUERY_GT, QUERY_LE, QUERY_LT};
    return negated[op];
}

static QueryOp op_flipped(QueryOp op) {  // a op b == b flipped a
    static const QueryOp flipped[] = {QUERY_EQ, QUERY_NE, QUERY_GT, QUERY_GE, QUERY_LT, QUERY_LE};
    return flipped[op];
}

static bool op_holds(QueryOp op, int order) {
    static const uint8_t holds[] = {// bits: less, equal, greater
                                    2,
                                    5,
                                    1,
                                    3,
                                    4,
                                    6};
    return holds[op] >> (order < 0 ? 0 : order == 0 ? 1 : 2) & 1;
}

// ── building, bottom up ────────────────────────────────────────────────────────────────────────

static bool is_constant(const SqlNode *node) {
    return node->kind == SQL_LITERAL || node->kind == SQL_BOOL || node->kind == SQL_SENDER;
}
static bool is_predicate(const SqlNode *node) {
    return !is_constant(node) && node->kind != SQL_COLUMN;
}
static bool is_list(const Pred *p) {
    return p->kind == PRED_AND || p->kind == PRED_OR;
}

static Pred truth(bool value) {
    return (Pred){.kind = value ? PRED_TRUE : PRED_FALSE};
}

static uint64_t hash_words(uint64_t a, uint64_t b) {
    uint64_t words[2] = {a, b};
    return bytes_hash(BYTES(words, sizeof words));
}

static Pred hashed(Pred p) {  // a list's hashes grow with its operands
    if (is_list(&p)) return p;
    p.shape = hash_words((uint64_t)p.kind << 8 | (uint64_t)p.op,
                         (uint64_t)p.column << 16 | p.other_column);
    p.content = p.shape;
    if (p.kind == PRED_COMPARE) p.content = hash_words(p.shape, bytes_hash(p.value));
    if (p.kind == PRED_TRUTHS) {
        p.shape = hash_words(p.shape, hash_words(p.left->shape, p.right->shape));
        p.content = hash_words(p.content, hash_words(p.left->content, p.right->content));
    }
    return p;
}

static Pred compare_constant(const Type *type, uint16_t column, QueryOp op, Bytes value) {
    static const uint8_t opposite[] = {1, 0};
    if (type->kind == TYPE_BOOL && op == QUERY_NE) {  // one spelling for what one bit can say
        op = QUERY_EQ;
        value = BYTES(&opposite[value.ptr[0]], 1);
    }
    return (Pred){.kind = PRED_COMPARE, .op = op, .column = column, .value = value};
}

static Pred compare_columns(uint16_t a, uint16_t b, QueryOp op) {
    if (a == b) return truth(op_holds(op, 0));
    if (a > b) return compare_columns(b, a, op_flipped(op));
    return (Pred){.kind = PRED_COLUMNS, .op = op, .column = a, .other_column = b};
}

// A syntax node of type Bool as a predicate. Nodes that are predicates were made before.
static Pred as_predicate(const Normal *n, uint32_t at) {
    static const uint8_t truths[] = {0, 1};
    const SqlNode *node = &n->c->nodes[at];
    bool wanted = !n->negated[at];
    if (node->kind == SQL_BOOL) return hashed(truth(node->value == wanted));
    if (node->kind != SQL_COLUMN) return n->made[at];
    const Typed *typed = &n->c->typed[at];
    return hashed(
        compare_constant(typed->type, typed->column, QUERY_EQ, BYTES(&truths[wanted], 1)));
}

// `predicate op TRUE` and the like: what it is worth for each value of the predicate. The negation
// pass turned the predicate over where only FALSE makes the comparison true.
typedef struct Folded {
    bool is_fold;
    uint32_t operand;
    bool if_true, if_false;
} Folded;

static Folded fold_of(const Normal *n, uint32_t at) {
    const SqlNode *nodes = n->c->nodes, *node = &nodes[at];
    QueryOp op = n->negated[at] ? op_negated(node->op) : node->op;
    const SqlNode *constant = &nodes[node->right];
    Folded fold = {.operand = node->left};
    if (nodes[node->left].kind == SQL_BOOL) {
        constant = &nodes[node->left];
        fold.operand = node->right;
        op = op_flipped(op);
    }
    fold.is_fold = constant->kind == SQL_BOOL && is_predicate(&nodes[fold.operand]);
    fold.if_true = op_holds(op, 1 - (int)constant->value);
    fold.if_false = op_holds(op, 0 - (int)constant->value);
    return fold;
}

static Err compare_truths(Normal *n, const SqlNode *node, QueryOp op, Pred *out) {
    Pred *sides = arena_array(n->c->scratch, Pred, 2);
    if (!sides) return ERR_NOMEM;
    sides[0] = as_predicate(n, node->left);
    sides[1] = as_predicate(n, node->right);
    *out = (Pred){.kind = PRED_TRUTHS, .op = op, .left = &sides[0], .right = &sides[1]};
    return OK;
}

static Err make_compare(Normal *n, uint32_t at, Pred *out) {
    const SqlNode *nodes = n->c->nodes, *node = &nodes[at];
    const SqlNode *a = &nodes[node->left], *b = &nodes[node->right];
    const Typed *x = &n->c->typed[node->left], *y = &n->c->typed[node->right];
    QueryOp op = n->negated[at] ? op_negated(node->op) : node->op;
    Folded fold = fold_of(n, at);
    if (fold.is_fold) {
        *out = fold.if_true == fold.if_false ? truth(fold.if_true) : n->made[fold.operand];
        return OK;
    }
    if (is_predicate(a) || is_predicate(b)) return compare_truths(n, node, op, out);
    if (is_constant(a) && is_constant(b)) {
        *out = truth(op_holds(op, bsatn_cmp(x->type, x->value.ptr, y->value.ptr)));
    } else if (is_constant(b)) {
        *out = compare_constant(x->type, x->column, op, y->value);
    } else if (is_constant(a)) {
        *out = compare_constant(y->type, y->column, op_flipped(op), x->value);
    } else {
        *out = compare_columns(x->column, y->column, op);
    }
    return OK;
}

// Only an Option can be without a value.
static Pred make_is_null(const Normal *n, uint32_t at) {
    const Typed *typed = &n->c->typed[n->c->nodes[at].left];
    bool negated = n->negated[at];
    if (typed->type->special != SPECIAL_OPTION) return truth(negated);
    return (Pred){.kind = PRED_NONE, .op = negated ? QUERY_NE : QUERY_EQ, .column = typed->column};
}

static void list_join(Pred *list, const Pred *more) {
    if (more->count == 0) return;
    if (list->last)
        list->last->next = more->first;
    else
        list->first = more->first;
    list->last = more->last;
    list->count += more->count;
    list->shape += more->shape;
    list->content += more->content;
}

// Take `p` into the operands of `list`. An operand that decides the list alone replaces it.
static Err list_add(Normal *n, Pred *list, Pred p) {
    if (list->kind <= PRED_FALSE) return OK;  // decided before
    PredKind neutral = list->kind == PRED_AND ? PRED_TRUE : PRED_FALSE;
    if (p.kind == neutral) return OK;
    if (p.kind <= PRED_FALSE) {
        *list = p;
        return OK;
    }
    if (p.kind == list->kind) {
        list_join(list, &p);
        return OK;
    }
    Pred *kept = arena_new(n->c->scratch, Pred);
    if (!kept) return ERR_NOMEM;
    *kept = p;
    Pred one = {
        .first = kept,
        .last = kept,
        .count = 1,
        .shape = hash_words(p.shape, p.kind),
        .content = hash_words(p.content, p.kind),
    };
    list_join(list, &one);
    return OK;
}

// A list of none is its neutral truth, a list of one that one.
static void list_close(Pred *list) {
    if (is_list(list) && list->count == 0) *list = truth(list->kind == PRED_AND);
    if (is_list(list) && list->count == 1) {
        *list = *list->first;
        list->next = NULL;
    }
}

static Err make_list(Normal *n, uint32_t at, Pred *out) {
    const SqlNode *node = &n->c->nodes[at];
    *out = (Pred){.kind = (node->kind == SQL_AND) != n->negated[at] ? PRED_AND : PRED_OR};
    Err err = list_add(n, out, as_predicate(n, node->left));
    if (err == OK) err = list_add(n, out, as_predicate(n, node->right));
    if (err == OK) list_close(out);
    return err;
}

// Of a view's rows only those of one result are asked about, whatever the text asks.
static Err view_narrow(Normal *n, Pred *root) {
    const QueryViewKey *key = &n->c->query->view_key;
    if (!n->c->table->is_view) return OK;
    Bytes value = BYTES(key->hash, sizeof key->hash);
    Pred own = hashed(compare_constant(n->c->table->columns[0].type, 0, QUERY_EQ, value));
    Pred both = {.kind = PRED_AND};
    Err err = list_add(n, &both, own);
    if (err == OK) err = list_add(n, &both, *root);
    if (err != OK) return err;
    list_close(&both);
    *root = both;
    return OK;
}

static Err make(Normal *n, uint32_t at) {
    const SqlNode *node = &n->c->nodes[at];
    Pred p;
    Err err = OK;
    switch (node->kind) {
    case SQL_COMPARE: err = make_compare(n, at, &p); break;
    case SQL_AND:
    case SQL_OR: err = make_list(n, at, &p); break;
    case SQL_NOT: p = as_predicate(n, node->left); break;  // it was turned over
    case SQL_IS_NULL: p = make_is_null(n, at); break;
    default: return OK;
    }
    if (err == OK) n->made[at] = hashed(p);
    return err;
}

// Parents stand behind their children, so going down the array goes down the tree.
static void push_negations_down(Normal *n) {
    const SqlNode *nodes = n->c->nodes;
    for (uint32_t at = n->c->node_count; at-- > 0;) {
        const SqlNode *node = &nodes[at];
        if (node->kind == SQL_NOT) n->negated[node->left] = !n->negated[at];
        if (node->kind == SQL_AND || node->kind == SQL_OR) {
            n->negated[node->left] = n->negated[at];
            n->negated[node->right] = n->negated[at];
        }
        if (node->kind == SQL_COMPARE) {
            Folded fold = fold_of(n, at);
            if (fold.is_fold && fold.if_false) n->negated[fold.operand] = true;
        }
    }
}

// ── laying out, top down ───────────────────────────────────────────────────────────────────────

// One step of the walk. Tests are laid out from the last to the first, so that both targets of a
// jump exist when it is written; operands are visited from the last to the first accordingly.
typedef struct Frame {
    Pred *pred;
    Pred **operands;  // of a list, in canonical order
    uint32_t left;    // operands still to lay out; for PRED_TRUTHS the next step
    uint32_t if_true, if_false;
    uint32_t entry;  // of what follows in a list
    uint32_t depth;  // of remembered bits
} Frame;

typedef struct Layout {
    Compiler *c;
    Buf tests;   // QueryTest, last first
    Buf params;  // Pred *, in the order of the slots
    Buf key;
    Buf frames;  // Frame
} Layout;

static int order_words(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}

// Canonical order (2): what does not depend on values first.
static int pred_order(const void *a, const void *b) {
    const Pred *x = *(Pred *const *)a, *y = *(Pred *const *)b;
    int c = order_words(x->kind, y->kind);
    if (c == 0) c = order_words(x->column, y->column);
    if (c == 0) c = order_words(x->op, y->op);
    if (c == 0) c = order_words(x->other_column, y->other_column);
    if (c == 0) c = order_words(x->shape, y->shape);
    if (c == 0 && x->kind == PRED_COMPARE) c = bytes_cmp(x->value, y->value);
    if (c == 0) c = order_words(x->content, y->content);
    return c;
}

static bool is_duplicate(const Pred *a, const Pred *b) {  // of leaves; neighbours in the order
    if (a->kind != b->kind || a->op != b->op || a->column != b->column) return false;
    if (a->kind == PRED_COMPARE) return bytes_eq(a->value, b->value);
    return a->kind <= PRED_NONE && a->other_column == b->other_column;
}

static Err frame_push(Layout *l, Pred *pred, uint32_t if_true, uint32_t if_false, uint32_t depth) {
    Frame frame = {.pred = pred, .if_true = if_true, .if_false = if_false, .depth = depth};
    if (depth > 64)
        return diag_fail(l->c->diag,
                         ERR_TOO_LARGE,
                         "Recursion limit exceeded, `sql-parser::parse_expr`");
    buf_put(&l->frames, &frame, sizeof frame);
    return buf_ok(&l->frames) ? OK : ERR_NOMEM;
}

static Frame *frame_top(Layout *l) {
    return (Frame *)(void *)(l->frames.ptr + l->frames.len - sizeof(Frame));
}

static uint32_t test_add(Layout *l, QueryTest test) {
    buf_put(&l->tests, &test, sizeof test);
    return (uint32_t)(l->tests.len / sizeof test) - 1;
}

static void key_add(Layout *l, const Pred *p) {
    buf_put_u8(&l->key, (uint8_t)p->kind);
    buf_put_u8(&l->key, (uint8_t)p->op);
    buf_put_u16(&l->key, p->column);
    buf_put_u16(&l->key, p->other_column);
    buf_put_u32(&l->key, p->count);
}

static uint32_t lay_leaf(Layout *l, const Frame *f) {
    Pred *p = f->pred;
    static const QueryTestKind kinds[] = {
        [PRED_COMPARE] = QTEST_COMPARE,
        [PRED_COLUMNS] = QTEST_COLUMNS,
        [PRED_NONE] = QTEST_NONE,
    };
    QueryTest test = {
        .kind = kinds[p->kind],
        .op = p->op,
        .column = p->column,
        .other_column = p->other_column,
        .if_true = f->if_true,
        .if_false = f->if_false,
    };
    if (p->kind == PRED_COMPARE) {
        test.param = p->param = (uint32_t)(l->params.len / sizeof p);
        buf_put(&l->params, &p, sizeof p);
    }
    return test_add(l, test);
}

static Err list_open(Layout *l, Frame *f) {
    f->operands = arena_array(l->c->scratch, Pred *, f->pred->count);
    if (!f->operands) return ERR_NOMEM;
    uint32_t n = 0;
    for (Pred *p = f->pred->first; n < f->pred->count; p = p->next) {
        f->operands[n++] = p;
    }
    qsort(f->operands, n, sizeof *f->operands, pred_order);
    uint32_t unique = 1;
    for (uint32_t i = 1; i < n; i++) {
        if (!is_duplicate(f->operands[unique - 1], f->operands[i]))
            f->operands[unique++] = f->operands[i];
    }
    f->left = f->pred->count = unique;
    for (uint32_t i = 0; i < unique; i++) {  // the list itself, too: conjuncts_take reads it
        f->operands[i]->next = i + 1 < unique ? f->operands[i + 1] : NULL;
    }
    f->pred->first = f->operands[0];
    f->entry = f->pred->kind == PRED_AND ? f->if_true : f->if_false;
    return OK;
}

// Go on with a list: lay out the operand before those that stand already, or be done.
static Err list_step(Layout *l, Frame *f, bool returned, uint32_t *result, bool *done) {
    if (returned) f->entry = *result;
    *done = f->left == 0;
    *result = f->entry;
    if (*done) return OK;
    Pred *operand = f->operands[--f->left];
    bool is_and = f->pred->kind == PRED_AND;
    return frame_push(l,
                      operand,
                      is_and ? f->entry : f->if_true,
                      is_and ? f->if_false : f->entry,
                      f->depth);
}

// left, PUSH its truth, right, POP and compare: the right side first, as everything here.
static Err truths_step(Layout *l, Frame *f, uint32_t *result, bool *done) {
    Pred *p = f->pred;
    QueryTest test = {.op = p->op};
    *done = false;
    switch (f->left++) {
    case 0: {
        test.kind = QTEST_POP;
        test.if_true = f->if_true;
        test.if_false = f->if_false;
        uint32_t pop_false = test_add(l, test);
        test.bit = true;
        uint32_t pop_true = test_add(l, test);
        return frame_push(l, p->right, pop_true, pop_false, f->depth + 1);
    }
    case 1: {
        test.kind = QTEST_PUSH;
        test.if_true = test.if_false = *result;
        uint32_t push_false = test_add(l, test);
        test.bit = true;
        uint32_t push_true = test_add(l, test);
        return frame_push(l, p->left, push_true, push_false, f->depth);
    }
    default: *done = true; return OK;
    }
}

static Err step(Layout *l, bool *returned, uint32_t *result) {
    Frame *f = frame_top(l);  // gone once a frame is pushed
    const Pred *pred = f->pred;
    bool begun = *returned, done = true;
    Err err = OK;
    switch (pred->kind) {
    case PRED_TRUE: *result = f->if_true; break;
    case PRED_FALSE: *result = f->if_false; break;
    case PRED_COMPARE:
    case PRED_COLUMNS:
    case PRED_NONE: *result = lay_leaf(l, f); break;
    case PRED_TRUTHS: err = truths_step(l, f, result, &done); break;
    case PRED_AND:
    case PRED_OR:
        if (!begun && (err = list_open(l, f)) != OK) return err;
        err = list_step(l, f, begun, result, &done);
        break;
    }
    if (!begun) key_add(l, pred);
    if (done) l->frames.len -= sizeof(Frame);
    *returned = done;
    return err;
}

static Err walk(Layout *l, Pred *root, uint32_t *entry) {
    bool returned = false;
    Err err = frame_push(l, root, QUERY_ACCEPT, QUERY_REJECT, 0);
    while (err == OK && l->frames.len > 0) {
        err = step(l, &returned, entry);
    }
    return err;
}

static uint32_t placed(uint32_t target, uint32_t count) {
    return target >= QUERY_REJECT ? target : count - 1 - target;
}

static Err tests_copy(const Layout *l, uint32_t entry) {
    Query *q = l->c->query;
    const QueryTest *last_first = (const QueryTest *)(const void *)l->tests.ptr;
    uint32_t count = (uint32_t)(l->tests.len / sizeof(QueryTest));
    q->tests = arena_array(&q->arena, QueryTest, count);
    if (!q->tests) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        QueryTest *test = &q->tests[count - 1 - i];
        *test = last_first[i];
        test->if_true = placed(test->if_true, count);
        test->if_false = placed(test->if_false, count);
    }
    q->test_count = count;
    q->entry = placed(entry, count);
    return OK;
}

static Err param_copy(Query *q, uint32_t slot, const Pred *pred, Buf *key) {
    buf_clear(key);
    key_append(key, q->table->columns[pred->column].type, pred->value.ptr);
    q->values[slot] = arena_bytes(&q->arena, pred->value);
    q->keys[slot] = arena_bytes(&q->arena, buf_bytes(key));
    q->value_types[slot] = q->table->columns[pred->column].type;
    return buf_ok(key) && q->values[slot].ptr && q->keys[slot].ptr ? OK : ERR_NOMEM;
}

static Err params_copy(const Layout *l) {
    Query *q = l->c->query;
    Pred *const *preds = (Pred *const *)(const void *)l->params.ptr;
    uint32_t count = (uint32_t)(l->params.len / sizeof(Pred *));
    q->values = arena_array(&q->arena, Bytes, count);
    q->keys = arena_array(&q->arena, Bytes, count);
    q->value_types = arena_array(&q->arena, const Type *, count);
    if (!q->values || !q->keys || !q->value_types) return ERR_NOMEM;
    Err err = OK;
    Buf key = {0};
    for (uint32_t i = 0; err == OK && i < count; i++) {
        err = param_copy(q, i, preds[i], &key);
    }
    buf_deinit(&key);
    q->param_count = count;
    return err;
}

static const Pred *operands(const Pred *p, PredKind kind, uint32_t *count) {
    *count = p->kind == kind ? p->count : 1;
    return p->kind == kind ? p->first : p;
}

static bool is_conjunct(const Pred *p) {
    return p->kind == PRED_COMPARE && p->op != QUERY_NE;
}

static void conjuncts_take(const Pred *p, QueryConjunct *list, uint32_t *taken) {
    uint32_t count;
    p = operands(p, PRED_AND, &count);
    for (uint32_t i = 0; i < count; i++, p = p->next) {
        if (is_conjunct(p)) list[(*taken)++] = (QueryConjunct){p->column, p->op, p->param};
    }
}

// What must hold for every row: the root itself, or the operands of a root AND.
static Err conjuncts_copy(const Layout *l, const Pred *root) {
    Query *q = l->c->query;
    q->conjuncts = arena_array(&q->arena, QueryConjunct, root->kind == PRED_AND ? root->count : 1);
    if (!q->conjuncts) return ERR_NOMEM;
    conjuncts_take(root, q->conjuncts, &q->conjunct_count);
    return OK;
}

// Does this way of an OR say more of a column than that it lies in a range, or more than nothing?
static bool narrows(const Pred *way, bool by_equality) {
    uint32_t count;
    const Pred *p = operands(way, PRED_AND, &count);
    for (uint32_t i = 0; i < count; i++, p = p->next) {
        if (is_conjunct(p) && (p->op == QUERY_EQ || !by_equality)) return true;
    }
    return false;
}

// An OR that must hold, all of whose ways narrow; where the rest does so, too, by equality.
static const Pred *or_find(const Query *q, const Pred *root) {
    uint32_t count;
    const Pred *p = operands(root, PRED_AND, &count);
    for (uint32_t i = 0; i < count; i++, p = p->next) {
        if (p->kind != PRED_OR || p->count > QUERY_BRANCHES_MAX) continue;
        uint32_t ways;
        const Pred *way = operands(p, PRED_OR, &ways);
        while (ways > 0 && narrows(way, q->conjunct_count > 0)) {
            ways--;
            way = way->next;
        }
        if (ways == 0) return p;
    }
    return NULL;
}

static int conjunct_order(const void *a, const void *b) {
    const QueryConjunct *x = a, *y = b;
    int c = order_words(x->column, y->column);
    if (c == 0) c = order_words(x->op, y->op);
    return c ? c : order_words(x->param, y->param);
}

static Err branches_copy(const Layout *l, const Pred *root) {
    Query *q = l->c->query;
    const Pred *either = or_find(q, root);
    if (!either) return OK;
    q->branches = arena_array(&q->arena, QueryBranch, either->count);
    if (!q->branches) return ERR_NOMEM;
    for (const Pred *way = either->first; way; way = way->next) {
        QueryBranch *branch = &q->branches[q->branch_count++];
        uint32_t most = q->conjunct_count + (way->kind == PRED_AND ? way->count : 1);
        branch->conjuncts = arena_array(&q->arena, QueryConjunct, most);
        if (!branch->conjuncts) return ERR_NOMEM;
        conjuncts_take(root, branch->conjuncts, &branch->conjunct_count);
        conjuncts_take(way, branch->conjuncts, &branch->conjunct_count);
        qsort(branch->conjuncts, branch->conjunct_count, sizeof *branch->conjuncts, conjunct_order);
    }
    return OK;
}

static Err lay_out(Layout *l, Pred *root) {
    Err err = OK;
    uint32_t entry = QUERY_ACCEPT;
    Query *q = l->c->query;
    buf_put_u32(&l->key, q->table->table_id);
    if ((err = walk(l, root, &entry)) != OK) return err;
    if (!buf_ok(&l->tests) || !buf_ok(&l->params) || !buf_ok(&l->key)) return ERR_NOMEM;
    if ((err = tests_copy(l, entry)) != OK) return err;
    if ((err = params_copy(l)) != OK) return err;
    if ((err = conjuncts_copy(l, root)) != OK) return err;
    if ((err = branches_copy(l, root)) != OK) return err;
    q->template_key = arena_bytes(&q->arena, buf_bytes(&l->key));
    return q->template_key.ptr ? OK : ERR_NOMEM;
}

Err compile_predicate(Compiler *c) {
    uint32_t count = c->node_count;
    Normal n = {
        .c = c,
        .made = arena_array(c->scratch, Pred, count),
        .negated = arena_array(c->scratch, bool, count),
    };
    if (!n.made || !n.negated) return ERR_NOMEM;
    push_negations_down(&n);
    for (uint32_t at = 0; at < count; at++) {
        Err err = make(&n, at);
        if (err != OK) return err;
    }
    Pred root = count ? as_predicate(&n, count - 1) : truth(true);
    Layout layout = {.c = c};
    Err err = view_narrow(&n, &root);
    if (err == OK) err = lay_out(&layout, &root);
    buf_deinit(&layout.tests);
    buf_deinit(&layout.params);
    buf_deinit(&layout.key);
    buf_deinit(&layout.frames);
    return err;
}
