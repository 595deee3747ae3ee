// standing_private.h: inside of standing.h, shared by its files.
//
//   standing_compile.c   text to a Standing: the dialect, what is refused, life
//   standing.c           joins to nodes, steps and parameters; conditions
//   standing_mark.c      what is known of the tree: who concerns whom
#pragma once
#include "query/plan.h"
#include "query/standing.h"

// Fill in nodes, blocks and parameters from a join of which the root is given. The join's arena is the
// standing's, and the queries in it are freed by standing_free.
MUST_USE Err standing_take(Standing *s, const Join *join);
MUST_USE Err standing_take_steps(Standing *s, StandingBlock *block, const Join *join);
const PlanExpr *standing_expr(const StandingExpr *expr);
// explain_standing.c: a line is in `text` when `line` is called, which clears it.
typedef void (*ExplainLine)(void *ctx);
void explain_standing(const Standing *s, Buf *text, ExplainLine line, void *ctx);
// used, separable, silent of every node.
void standing_mark(Standing *s);
