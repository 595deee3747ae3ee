#include "cli/similar.h"

#include <stdlib.h>

size_t similar_distance(const char *a, const char *b) {
    size_t an = strlen(a), bn = strlen(b), width = bn + 1;
    size_t *cost = arena_array(cli_arena(), size_t, (an + 1) * width);
    if (!cost) cli_die("out of memory");
    for (size_t i = 0; i <= an; i++) {
        for (size_t j = 0; j <= bn; j++) {
            size_t *here = &cost[i * width + j];
            if (i == 0 || j == 0) {
                *here = i + j;
                continue;
            }
            bool same = a[i - 1] == b[j - 1];
            size_t replace = cost[(i - 1) * width + j - 1] + !same;
            size_t remove = cost[(i - 1) * width + j] + 1;
            size_t insert = cost[i * width + j - 1] + 1;
            *here = MIN(replace, MIN(remove, insert));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) *here = MIN(*here, cost[(i - 2) * width + j - 2] + 1);
        }
    }
    return cost[an * width + bn];
}

static int word_compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// "b_a" and "a_b" are the same words in another order.
static const char *words_sorted(const char *name) {
    char *words[64];
    size_t count = 0;
    char *rest = cli_copy(str_from(name));
    for (char *word = strsep(&rest, "_"); word && count < ARRAY_LEN(words);
         word = strsep(&rest, "_"))
        words[count++] = word;
    qsort(words, count, sizeof *words, word_compare);
    const char *all = "";
    for (size_t i = 0; i < count; i++)
        all = cli_format("%s_%s", all, words[i]);
    return all;
}

const char *similar_find(const char *word, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(str_from(word), str_from(names[i]))) return names[i];
    const char *best = NULL;
    size_t best_distance = MAX(strlen(word), 3) / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = similar_distance(word, names[i]);
        if (distance >= best_distance) continue;
        best = names[i];
        best_distance = distance;
    }
    if (best) return best;
    for (size_t i = 0; i < count; i++)
        if (strcmp(words_sorted(word), words_sorted(names[i])) == 0) return names[i];
    return NULL;
}

void similar_sort(const char *word, const char **names, size_t count) {
    for (size_t i = 1; i < count; i++) {  // insertion keeps equal ones in order; lists are short
        const char *name = names[i];
        size_t distance = similar_distance(word, name);
        size_t at = i;
        for (; at > 0 && similar_distance(word, names[at - 1]) > distance; at--)
            names[at] = names[at - 1];
        names[at] = name;
    }
}
