#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local const char *current_operation;

void base_operation(const char *what) {
    current_operation = what;
}

void base_assert_failed(const char *cond, const char *file, int line) {
    fprintf(stderr,
            "lightcone: %s:%d: assertion failed: %s%s%s\n",
            file,
            line,
            cond,
            current_operation ? " while " : "",
            current_operation ? current_operation : "");
    fflush(stderr);
    abort();
}

const char *err_name(Err err) {
    switch (err) {
    case OK: return "OK";
#define X(name, status, text) \
    case ERR_##name: return "ERR_" #name;
        ERR_MAP(X)
#undef X
    }
    UNREACHABLE();
}

const char *err_text(Err err) {
    switch (err) {
    case OK: return "no error";
#define X(name, status, text) \
    case ERR_##name: return text;
        ERR_MAP(X)
#undef X
    }
    UNREACHABLE();
}

int err_http_status(Err err) {
    switch (err) {
    case OK: return 200;
#define X(name, status, text) \
    case ERR_##name: return status;
        ERR_MAP(X)
#undef X
    }
    UNREACHABLE();
}

static Err diag_vfail(Diag *diag, Err err, size_t at, const char *fmt, va_list args) {
    if (diag) {
        diag->at = at;
        vsnprintf(diag->text, sizeof diag->text, fmt, args);
    }
    return err;
}

Err diag_fail(Diag *diag, Err err, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    diag_vfail(diag, err, DIAG_NOWHERE, fmt, args);
    va_end(args);
    return err;
}

Err diag_fail_at(Diag *diag, Err err, size_t at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    diag_vfail(diag, err, at, fmt, args);
    va_end(args);
    return err;
}

void diag_clear(Diag *diag) {
    if (!diag) return;
    diag->at = DIAG_NOWHERE;
    diag->text[0] = 0;
}
