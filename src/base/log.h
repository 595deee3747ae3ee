// log.h: what the server tells its operator, a line at a time.
//
//   2026-11-22T04:57:23.123456Z INFO listening on 127.0.0.1:3000
//
// Not the commit log (src/log) and not a module's own log (src/host): those are data.
#pragma once
#include "base/ids.h"

typedef enum LogLevel { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } LogLevel;

// From any thread. One call is one line in one piece; lines over 4 KiB are cut. `fmt` has no
// newline at its end.
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);  // somebody must do something
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);   // it went on, and should not stay so
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);   // starts, stops, publishes
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);  // for whoever is looking for something

void log_set_level(LogLevel most_detailed);  // LOG_INFO at first
bool log_enabled(LogLevel level);
bool log_level_parse(Str text, LogLevel *out);  // "error", "warn", "info", "debug"; any case

// Where lines go: stderr at first, and again after NULL. `line` ends with its newline and is
// borrowed for the call. Set before there are threads.
void log_set_writer(void (*write)(void *ctx, Str line), void *ctx);

// "2026-11-22T04:57:23.123456Z". Years 0001 to 9999; anything outside is shown at that limit.
#define RFC3339_LEN 27
void rfc3339_write(Micros time, char out[RFC3339_LEN + 1]);
