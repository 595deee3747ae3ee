// err.h: what can go wrong in the world, in one table.
//
// What the world does (disk, network, a module, a conflict) returns an Err. What a person must
// read (SQL, schema, configuration) also fills a Diag with text and position. What only our own
// mistake could cause is an ASSERT (base.h).
#pragma once
#include "base/base.h"

//        name             HTTP  sentence
#define ERR_MAP(X)                                               \
    X(NOMEM, 503, "out of memory")                               \
    X(IO, 500, "an input or output operation failed")            \
    X(DISK_FULL, 507, "the disk is full")                        \
    X(CORRUPT, 500, "stored data does not match its checksum")   \
    X(MALFORMED, 400, "the bytes are not a valid encoding")      \
    X(INVALID, 400, "the request is not valid")                  \
    X(UNSUPPORTED, 400, "the feature is not supported")          \
    X(TOO_LARGE, 413, "a size limit was exceeded")               \
    X(LIMIT, 429, "a configured limit was reached")              \
    X(NOT_FOUND, 404, "no such thing")                           \
    X(EXISTS, 409, "it exists already")                          \
    X(UNIQUE, 409, "a value that must be unique exists already") \
    X(CONFLICT, 409, "another transaction committed first")      \
    X(UNAUTHENTICATED, 401, "the token is missing or not valid") \
    X(DENIED, 403, "the caller is not allowed to do that")       \
    X(DEADLINE, 504, "the deadline passed")                      \
    X(BUSY, 503, "too many requests are waiting")                \
    X(CLOSED, 503, "it is closed or shutting down")              \
    X(AGAIN, 503, "nothing to do right now")                     \
    X(FENCED, 503, "another server leads this database now")     \
    X(MODULE, 530, "the module failed")

typedef enum Err {
    OK = 0,
#define X(name, status, text) ERR_##name,
    ERR_MAP(X)
#undef X
} Err;

const char *err_name(Err err);  // "ERR_NOMEM"; static storage
const char *err_text(Err err);  // the sentence; static storage
int err_http_status(Err err);   // 200 for OK

// An explanation for a person. `at` is a byte offset into whatever was being read, or
// DIAG_NOWHERE. The text is cut, never overflown, and always terminated.
#define DIAG_NOWHERE  SIZE_MAX
#define DIAG_TEXT_MAX 2048
typedef struct Diag {
    size_t at;
    char text[DIAG_TEXT_MAX];
} Diag;

// Each sets *diag (which may be NULL) and returns err, so that a refusal is one line:
//   return diag_fail(diag, ERR_INVALID, "no such table: `%s`", name);
Err diag_fail(Diag *diag, Err err, const char *fmt, ...) PRINTF_LIKE(3, 4);
Err diag_fail_at(Diag *diag, Err err, size_t at, const char *fmt, ...) PRINTF_LIKE(4, 5);
void diag_clear(Diag *diag);
