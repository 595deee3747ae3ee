// figures.h: what one benchmark program measured, as lines for people or as JSON for run.mjs.
//
// A figure is shown as soon as it is known; with figures_json it is kept, and figures_end() prints
// all of them as [{"name", "value", "unit"}].
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct Figure {
    char name[96];
    double value;
    const char *unit;
} Figure;

enum { FIGURES_MAX = 160 };
static Figure figures[FIGURES_MAX];
static int figure_count;
static bool figures_json;

__attribute__((format(printf, 3, 4))) static inline void figure(double value,
                                                                const char *unit,
                                                                const char *name,
                                                                ...) {
    if (figure_count == FIGURES_MAX) abort();
    Figure *f = &figures[figure_count++];
    va_list args;
    va_start(args, name);
    vsnprintf(f->name, sizeof f->name, name, args);
    va_end(args);
    f->value = value;
    f->unit = unit;
    if (figures_json) return;
    printf("%-64s %12.2f %s\n", f->name, f->value, f->unit);
    fflush(stdout);
}

static inline void figures_end(void) {
    if (!figures_json) return;
    for (int i = 0; i < figure_count; i++) {
        printf("%s{\"name\": \"%s\", \"value\": %.4f, \"unit\": \"%s\"}%s",
               i ? " " : "[",
               figures[i].name,
               figures[i].value,
               figures[i].unit,
               i + 1 < figure_count ? ",\n" : "]\n");
    }
}

static inline double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Sorts.
static inline double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}
