// lightcone.h: write a Lightcone module in C.
//
//     LC_TABLE(player, PUBLIC)
//     typedef struct Player {
//         Identity identity LC_PRIMARY_KEY;
//         String *name;                       // an option: NULL is none
//         int32_t level LC_INDEX;
//     } Player;
//
//     LC_REDUCER
//     Error level_up(Ctx *ctx) {
//         Player *me = player_find_by_identity(ctx->sender);
//         if (!me) return lc_error("You are not in the game");
//         me->level++;
//         return player_update_by_identity(me);
//     }
//
// The structs and functions are plain C. The words in capitals are marks: to the compiler they are
// nothing, and `lightcone build` reads them and writes the accessors (player_find_by_identity, …).
//
// MEMORY    Everything that a row, an argument or lc_format points to lives until the call into the
//           module ends, and is then gone. Nothing is freed one by one. Static variables stay as long
//           as the instance does, but are not part of the database: do not keep data in them.
// ERRORS    A function that can be refused returns an Error: OK (NULL) or a sentence for the caller.
//           Returning one from a reducer undoes everything the call has done.
// NO LIBC   A module is freestanding. memcpy and friends are here, and so is a small printf.
//
// The manual is docs/modules-c.md.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __wasm__
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *at, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
#else
#include <string.h>
#endif

// ── marks ──────────────────────────────────────────────────────────────────────────────────────

// clang-format off

// Before a struct: its rows are a table. Then any of
//   PUBLIC                 everybody may read it, not only the module and the owner
//   EVENT                  rows are sent to subscribers and not kept
//   SCHEDULED(function)    each row is a call of that reducer or procedure, at the row's time
//   UNIQUE(a, b)           no two rows have the same (a, b)
//   INDEX(a, b)            find rows by a, by a and b, and by ranges of them
//   HASH(a), DIRECT(a)     an index of another kind; a hash has no ranges
#define LC_TABLE(name, ...)

// After a column.
#define LC_PRIMARY_KEY         // unique, and what a row is known by
#define LC_UNIQUE              // no two rows with the same value
#define LC_INDEX               // filter and ranges by it
#define LC_AUTO_INC            // insert 0, get the next number
#define LC_DEFAULT(value)      // what existing rows get when the column is new: a constant

// Before a function.
#define LC_REDUCER             // Error name(Ctx *ctx, …)
#define LC_INIT                // Error name(Ctx *ctx): once, when the database is made
#define LC_CONNECT             // Error name(Ctx *ctx): a client connects; an error turns it away
#define LC_DISCONNECT          // Error name(Ctx *ctx)
#define LC_VIEW                // Array(Row), Row * or Query(Row) name(ViewCtx * or AnonymousViewCtx *)
#define LC_VIEW_KEY(column)    // …of a view: the column that a row is known by
#define LC_PROCEDURE           // any type name(ProcedureCtx *ctx, …)
#define LC_HTTP(method, path)  // HttpResponse name(ProcedureCtx *ctx, const HttpRequest *request)
#define LC_PRIVATE             // …only the database's owner may call it

// Anywhere, with a semicolon: rows that others than the owner may see, as SQL.
#define LC_ROW_FILTER(sql) _Static_assert(1, "")

// clang-format on

// ── types ──────────────────────────────────────────────────────────────────────────────────────
// Columns and parameters may be: bool, int8_t … int64_t, uint8_t … uint64_t, I128, U128, I256, U256,
// float, double; the types below; Array(T); Result(T, E); T * (an option); enums; structs of all
// these; and tagged unions, which are written as
//     typedef struct Shape { enum { CIRCLE, NOTHING } tag; union { double circle; }; } Shape;

typedef __int128 I128;
typedef unsigned __int128 U128;
typedef struct U256 {
    uint64_t word[4];  // the least significant first
} U256;
typedef struct I256 {
    uint64_t word[4];  // two's complement
} I256;

typedef struct String {
    const char *ptr;  // UTF-8. What comes from the host has a 0 after it; a slice has not
    size_t len;       // bytes
} String;
typedef struct Bytes {
    const uint8_t *ptr;
    size_t len;
} Bytes;

typedef struct Identity {
    U256 value;
} Identity;
typedef struct ConnectionId {
    U128 value;
} ConnectionId;
typedef struct Uuid {
    U128 value;
} Uuid;
typedef struct Timestamp {
    int64_t micros;  // since 1970
} Timestamp;
typedef struct TimeDuration {
    int64_t micros;
} TimeDuration;
typedef struct ScheduleAt {
    enum { SCHEDULE_INTERVAL, SCHEDULE_TIME } tag;
    union {
        TimeDuration interval;
        Timestamp time;
    };
} ScheduleAt;

// Array(T) is a struct { T *items; size_t len; size_t cap; }, Result(T, E) a struct { T *ok; E *err; }
// of which one is set, Query(T) a struct { String sql; }. The build declares those that are used.
#define Array(T)     LC_PASTE(Array_, T)
#define Result(T, E) LC_PASTE3(Result_, T, E)
#define Query(T)     LC_PASTE(Query_, T)

#define LC_PASTE(a, b)        LC_PASTE_(a, b)
#define LC_PASTE_(a, b)       a##b
#define LC_PASTE3(a, b, c)    LC_PASTE3_(a, b, c)
#define LC_PASTE3_(a, b, c)   a##b##_##c
#define LC_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define LC_NORETURN           __attribute__((noreturn))
#define LC_MUST_USE           __attribute__((warn_unused_result))

// ── errors ─────────────────────────────────────────────────────────────────────────────────────

typedef struct ErrorText {
    uint32_t code;  // the host's number, or 0
    String message;
} ErrorText;
typedef ErrorText *Error;
#define OK ((Error)0)
#define TRY(...)                               \
    do {                                       \
        Error lc_try_error = __VA_ARGS__;      \
        if (lc_try_error) return lc_try_error; \
    } while (0)
Error lc_error(const char *format, ...) LC_PRINTF(1, 2);

// For what must never happen: logged with file and line, and the call ends as a crash does.
#define lc_panic(...) lc_panic_at(__FILE__, __LINE__, __VA_ARGS__)
LC_NORETURN void lc_panic_at(const char *file, uint32_t line, const char *format, ...)
    LC_PRINTF(3, 4);

// ── contexts ───────────────────────────────────────────────────────────────────────────────────

typedef struct Ctx {
    Identity sender;                 // who calls; the server has checked it
    const ConnectionId *connection;  // NULL: called by a schedule, or by the server
    Timestamp timestamp;
    uint64_t random[2];  // lc_random's
} Ctx;
typedef struct ViewCtx {
    Identity sender;
    Error error;  // set it to lc_error(…) and return anything: the view fails
} ViewCtx;
typedef struct AnonymousViewCtx {
    Error error;
} AnonymousViewCtx;
typedef struct ProcedureCtx {
    Identity sender;  // zero in HTTP handlers
    const ConnectionId *connection;
    Timestamp timestamp;  // when it was called
    uint64_t random[2];
} ProcedureCtx;

Identity lc_database_identity(void);
String lc_jwt(const Ctx *ctx);  // the claims of the caller's token, as JSON; empty: none

// Chance that depends on the call only: the same call run twice draws the same.
#define lc_random(ctx)              lc_random_next((ctx)->random)
#define lc_random_below(ctx, below) lc_random_next_below((ctx)->random, below)
uint64_t lc_random_next(uint64_t state[2]);
uint64_t lc_random_next_below(uint64_t state[2], uint64_t below);  // 0 … below - 1; below > 0

// ── procedures ─────────────────────────────────────────────────────────────────────────────────
// Outside lc_transaction a procedure has no data; inside it cannot wait.

// Run body as a transaction of its own and commit it; an Error from body undoes it and is returned.
// When others changed what it read, body runs a second time: it must not keep results of the first.
LC_MUST_USE Error lc_transaction(ProcedureCtx *ctx,
                                 Error (*body)(Ctx *ctx, void *argument),
                                 void *argument);
Timestamp lc_sleep_until(ProcedureCtx *ctx, Timestamp wake);  // returns the time then
Timestamp lc_sleep(ProcedureCtx *ctx, TimeDuration duration);

typedef enum HttpMethod {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_CONNECT,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_PATCH,
    HTTP_OTHER,
} HttpMethod;
typedef struct HttpHeader {
    String name, value;
} HttpHeader;
typedef struct HttpRequest {
    HttpMethod method;
    String other_method;  // of HTTP_OTHER
    String uri;
    const HttpHeader *headers;
    size_t header_count;
    TimeDuration timeout;  // 0: the server's
    Bytes body;
} HttpRequest;
typedef struct HttpResponse {
    uint16_t status;
    const HttpHeader *headers;
    size_t header_count;
    Bytes body;
} HttpResponse;
// An Error is about the way there; any answer is OK, whatever its status.
LC_MUST_USE Error lc_http(ProcedureCtx *ctx, const HttpRequest *request, HttpResponse *response);
// The value of a header, whatever its case; ptr NULL: there is none.
String lc_http_header(const HttpHeader *headers, size_t count, const char *name);

// ── log ────────────────────────────────────────────────────────────────────────────────────────
// %d %u %x %c %s %f %p with flags, width, precision, h hh l ll z. %s takes a C string, and the ptr of
// a String that came from the host; any String prints with "%.*s", LC_ARG(string).

typedef enum LogLevel {
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG,
    LOG_TRACE,
    LOG_PANIC = 101
} LogLevel;
#define lc_log_error(...) lc_log_at(LOG_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define lc_log_warn(...)  lc_log_at(LOG_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define lc_log_info(...)  lc_log_at(LOG_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define lc_log_debug(...) lc_log_at(LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__)
#define lc_log_trace(...) lc_log_at(LOG_TRACE, __FILE__, __LINE__, __VA_ARGS__)
void lc_log_at(LogLevel level, const char *file, uint32_t line, const char *format, ...)
    LC_PRINTF(4, 5);
uint32_t lc_timer_start(const char *name);
void lc_timer_end(uint32_t timer);  // logs how long it was

// ── memory and text, until the call ends ───────────────────────────────────────────────────────

void *lc_alloc(size_t bytes);  // zeroed; a module without memory ends the call
#define LC_NEW(T)          ((T *)lc_alloc(sizeof(T)))
#define LC_NEW_ARRAY(T, n) ((T *)lc_alloc_array(sizeof(T), n))
void *lc_alloc_array(size_t each, size_t count);
// A copy of a value: `.name = lc_some(name)` is how an option, or a side of a result, gets one.
#define lc_some(...)                                                                           \
    ({                                                                                         \
        __typeof__(__VA_ARGS__) lc_value = (__VA_ARGS__);                                      \
        (__typeof__(lc_value) *)memcpy(lc_alloc(sizeof lc_value), &lc_value, sizeof lc_value); \
    })
// In a loop over very many rows: mark behind t_next(), reset at the end of the body, and what the body
// has allocated is forgotten.
size_t lc_memory_mark(void);
void lc_memory_reset(size_t mark);

// Append to an Array(T); its items may move.
#define lc_push(array, ...)                                                                  \
    ((array)->items =                                                                        \
         lc_array_grow((array)->items, (array)->len, &(array)->cap, sizeof *(array)->items), \
     (array)->items[(array)->len++] = (__VA_ARGS__))
void *lc_array_grow(void *items, size_t len, size_t *cap, size_t item_bytes);

#define LC_STR(literal) ((String){"" literal, sizeof(literal) - 1})
#define LC_ARG(string)  (int)(string).len, (string).ptr
String lc_format(const char *format, ...) LC_PRINTF(1, 2);
String lc_vformat(const char *format, va_list arguments);
String lc_string(const char *c_string);  // the same bytes, not a copy
bool lc_string_eq(String a, String b);
int lc_string_cmp(String a, String b);  // by bytes
bool lc_string_starts(String text, String prefix);
bool lc_string_ends(String text, String suffix);
String lc_string_slice(String text, size_t from, size_t to);  // bytes; kept inside the text
String lc_string_trim(String text);                           // no white space at its ends
size_t lc_string_find(String text, String part);              // SIZE_MAX: not there
size_t lc_string_chars(String text);                          // code points

// ── values ─────────────────────────────────────────────────────────────────────────────────────

bool lc_identity_eq(Identity a, Identity b);
bool lc_identity_is_zero(Identity identity);
String lc_identity_hex(Identity identity);
String lc_connection_hex(ConnectionId connection);

static inline TimeDuration lc_seconds(int64_t seconds) {
    return (TimeDuration){seconds * 1000000};
}
static inline TimeDuration lc_millis(int64_t millis) {
    return (TimeDuration){millis * 1000};
}
static inline Timestamp lc_after(Timestamp time, TimeDuration duration) {
    return (Timestamp){time.micros + duration.micros};
}
static inline TimeDuration lc_between(Timestamp from, Timestamp to) {
    return (TimeDuration){to.micros - from.micros};
}
static inline ScheduleAt lc_every(TimeDuration interval) {
    return (ScheduleAt){.tag = SCHEDULE_INTERVAL, .interval = interval};
}
static inline ScheduleAt lc_at(Timestamp time) {
    return (ScheduleAt){.tag = SCHEDULE_TIME, .time = time};
}

// Where a range begins or ends: player_range_by_level(LC_FROM, 10, LC_BEFORE, 20). With LC_ANY the
// value is not looked at.
typedef enum Bound {
    LC_FROM,    // begins there, included
    LC_AFTER,   // begins behind it
    LC_TO,      // ends there, included
    LC_BEFORE,  // ends ahead of it
    LC_ANY,     // no bound
} Bound;

// A run of rows: for (PlayerScan each = player_scan(); player_next(&each);) use(each.row);
// It shows the rows that there were when it began, so what it meets may be updated and deleted.
typedef struct LcScan {
    const uint8_t *at, *end;  // rows that have come and were not read yet
    uint32_t iter;
    bool more;  // the host has further rows
} LcScan;

#if __has_include("module.gen.h")
#include "module.gen.h"  // made by `lightcone build` from this module's marks
#endif
