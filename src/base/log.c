#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 4096 };

// One write(2) for a line: the kernel keeps it in one piece beside other threads and processes.
// What cannot be written is lost; there is nobody left to tell.
static void write_to_stderr(void *ctx, Str line) {
    (void)ctx;
    ssize_t wrote = write(STDERR_FILENO, line.ptr, line.len);
    (void)wrote;
}

static _Atomic LogLevel current_level = LOG_INFO;
static void (*writer)(void *ctx, Str line) = write_to_stderr;
static void *writer_ctx;

void log_set_level(LogLevel most_detailed) {
    atomic_store_explicit(&current_level, most_detailed, memory_order_relaxed);
}

bool log_enabled(LogLevel level) {
    return level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_set_writer(void (*write)(void *ctx, Str line), void *ctx) {
    writer = write ? write : write_to_stderr;
    writer_ctx = ctx;
}

static const char *const level_words[] = {"ERROR", "WARN", "INFO", "DEBUG"};

bool log_level_parse(Str text, LogLevel *out) {
    for (size_t i = 0; i < ARRAY_LEN(level_words); i++) {
        if (!str_eq_nocase(text, str_from(level_words[i]))) continue;
        *out = (LogLevel)i;
        return true;
    }
    return false;
}

// Days since the epoch to a civil date, after Howard Hinnant's "chrono-Compatible Low-Level Date
// Algorithms": eras of 400 years, years that begin in March so that the leap day comes last.
static void civil_date(int64_t days, int *year, int *month, int *day) {
    days += 719468;  // from 0000-03-01
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

void rfc3339_write(Micros time, char out[RFC3339_LEN + 1]) {
    const Micros first = -62135596800000000, last = 253402300799999999;
    const int64_t day_us = 86400000000;
    time = MIN(MAX(time, first), last);
    int64_t days = time / day_us, rest = time % day_us;
    if (rest < 0) {
        days--;
        rest += day_us;
    }
    int year, month, day;
    civil_date(days, &year, &month, &day);
    int64_t seconds = rest / 1000000;
    char text[96];
    snprintf(text,
             sizeof text,
             "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
             year,
             month,
             day,
             (int)(seconds / 3600),
             (int)(seconds / 60 % 60),
             (int)(seconds % 60),
             (int)(rest % 1000000));
    memcpy(out, text, RFC3339_LEN);
    out[RFC3339_LEN] = 0;
}

// The system clock is read here and not through Io: a line belongs to the operator's time even
// where a simulated server believes in another.
static Micros now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (Micros)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void log_line(LogLevel level, const char *fmt, va_list args) {
    if (!log_enabled(level)) return;
    char line[LINE_BYTES_MAX + 2];  // 2: so that the first byte cut off can be looked at
    rfc3339_write(now(), line);
    size_t len = RFC3339_LEN;
    len += (size_t)snprintf(line + len, sizeof line - len, " %s ", level_words[level]);
    int need = vsnprintf(line + len, sizeof line - len, fmt, args);
    if (need < 0) return;
    len += utf8_cut((Str){line + len, (size_t)need}, LINE_BYTES_MAX - 1 - len);
    line[len++] = '\n';
    writer(writer_ctx, (Str){line, len});
}

#define LOG_FUNCTION(name, level)     \
    void name(const char *fmt, ...) { \
        va_list args;                 \
        va_start(args, fmt);          \
        log_line((level), fmt, args); \
        va_end(args);                 \
    }
LOG_FUNCTION(log_error, LOG_ERROR)
LOG_FUNCTION(log_warn, LOG_WARN)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_debug, LOG_DEBUG)
