// similar.h: what a person may have meant. Spec: cli-and-codegen §6.1 ("Similar").
#pragma once
#include "cli/cli.h"

// Optimal string alignment: insertions, deletions, replacements, swaps of neighbours.
size_t similar_distance(const char *a, const char *b);
// The name most like `word`, or NULL when none is near enough.
const char *similar_find(const char *word, const char *const *names, size_t count);
// Order names by distance from `word`; equal ones keep their order.
void similar_sort(const char *word, const char **names, size_t count);
