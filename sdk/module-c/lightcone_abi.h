// lightcone_abi.h: the host's functions as they are. Authors rarely need them: lightcone.h and the
// generated accessors are built on them.
//
// Each function is imported from the minor version that introduced it, and only the used ones are in
// the module, so a module asks no more of a server than it needs. Functions that return an LcErrno
// write their results only when they return LC_ERRNO_OK. Numbers through pointers are little-endian.
// In a native build (tests) the same names are ordinary functions that the test provides.
#pragma once
#include <stdint.h>

typedef uint32_t LcErrno;
enum {
    LC_ERRNO_OK = 0,
    LC_ERRNO_HOST_CALL_FAILURE = 1,
    LC_ERRNO_NOT_IN_TRANSACTION = 2,
    LC_ERRNO_BSATN_DECODE_ERROR = 3,
    LC_ERRNO_NO_SUCH_TABLE = 4,
    LC_ERRNO_NO_SUCH_INDEX = 5,
    LC_ERRNO_NO_SUCH_ITER = 6,
    LC_ERRNO_NO_SUCH_CONSOLE_TIMER = 7,
    LC_ERRNO_NO_SUCH_BYTES = 8,
    LC_ERRNO_NO_SPACE = 9,
    LC_ERRNO_WRONG_INDEX_ALGO = 10,
    LC_ERRNO_BUFFER_TOO_SMALL = 11,
    LC_ERRNO_UNIQUE_ALREADY_EXISTS = 12,
    LC_ERRNO_SCHEDULE_AT_DELAY_TOO_LONG = 13,
    LC_ERRNO_INDEX_NOT_UNIQUE = 14,
    LC_ERRNO_NO_SUCH_ROW = 15,
    LC_ERRNO_AUTO_INC_OVERFLOW = 16,
    LC_ERRNO_WOULD_BLOCK_TRANSACTION = 17,
    LC_ERRNO_TRANSACTION_NOT_ANONYMOUS = 18,
    LC_ERRNO_TRANSACTION_IS_READ_ONLY = 19,
    LC_ERRNO_TRANSACTION_IS_MUT = 20,
    LC_ERRNO_HTTP_ERROR = 21,
};

#ifdef __wasm__
#define LC_IMPORT(minor, name) \
    __attribute__((import_module("spacetime_10." #minor), import_name(#name))) extern
#else
#define LC_IMPORT(minor, name) extern
#endif

// ── 10.0: tables ───────────────────────────────────────────────────────────────────────────────
LC_IMPORT(0, table_id_from_name)
LcErrno lc_abi_table_id_from_name(const void *name, uint32_t name_len, uint32_t *out);
LC_IMPORT(0, index_id_from_name)
LcErrno lc_abi_index_id_from_name(const void *name, uint32_t name_len, uint32_t *out);
LC_IMPORT(0, datastore_table_row_count)
LcErrno lc_abi_datastore_table_row_count(uint32_t table, uint64_t *out);
LC_IMPORT(0, datastore_table_scan_bsatn)
LcErrno lc_abi_datastore_table_scan_bsatn(uint32_t table, uint32_t *iter);
// prefix: the first prefix_elems columns, concatenated. from, to: a bound of the column after them:
// 0 and a value (included), 1 and a value (excluded), or 2 (unbounded).
LC_IMPORT(0, datastore_index_scan_range_bsatn)
LcErrno lc_abi_datastore_index_scan_range_bsatn(uint32_t index,
                                                const void *prefix,
                                                uint32_t prefix_len,
                                                uint32_t prefix_elems,
                                                const void *from,
                                                uint32_t from_len,
                                                const void *to,
                                                uint32_t to_len,
                                                uint32_t *iter);
LC_IMPORT(0, datastore_delete_by_index_scan_range_bsatn)
LcErrno lc_abi_datastore_delete_by_index_scan_range_bsatn(uint32_t index,
                                                          const void *prefix,
                                                          uint32_t prefix_len,
                                                          uint32_t prefix_elems,
                                                          const void *from,
                                                          uint32_t from_len,
                                                          const void *to,
                                                          uint32_t to_len,
                                                          uint32_t *deleted);
// rows: an array of whole rows. Every row equal to one of them goes.
LC_IMPORT(0, datastore_delete_all_by_eq_bsatn)
LcErrno lc_abi_datastore_delete_all_by_eq_bsatn(uint32_t table,
                                                const void *rows,
                                                uint32_t rows_len,
                                                uint32_t *deleted);
// The generated columns (auto-increment ones that were 0) come back in row[0..*row_len].
LC_IMPORT(0, datastore_insert_bsatn)
LcErrno lc_abi_datastore_insert_bsatn(uint32_t table, void *row, uint32_t *row_len);
LC_IMPORT(0, datastore_update_bsatn)
LcErrno lc_abi_datastore_update_bsatn(uint32_t table, uint32_t index, void *row, uint32_t *row_len);
// Copies whole rows. 0: more remain; -1: that was all, the handle is gone (rows may have come);
// LC_ERRNO_NO_SUCH_ITER; LC_ERRNO_BUFFER_TOO_SMALL: *len says what is needed.
LC_IMPORT(0, row_iter_bsatn_advance)
int32_t lc_abi_row_iter_bsatn_advance(uint32_t iter, void *out, uint32_t *len);
LC_IMPORT(0, row_iter_bsatn_close) LcErrno lc_abi_row_iter_bsatn_close(uint32_t iter);

// ── 10.0: everything else ──────────────────────────────────────────────────────────────────────
LC_IMPORT(0, volatile_nonatomic_schedule_immediate)
void lc_abi_volatile_nonatomic_schedule_immediate(const void *name,
                                                  uint32_t name_len,
                                                  const void *args,
                                                  uint32_t args_len);
// 0: more remains; -1: that was all, the source is gone; LC_ERRNO_NO_SUCH_BYTES.
LC_IMPORT(0, bytes_source_read)
int32_t lc_abi_bytes_source_read(uint32_t source, void *out, uint32_t *len);
LC_IMPORT(0, bytes_sink_write)
LcErrno lc_abi_bytes_sink_write(uint32_t sink, const void *bytes, uint32_t *len);
LC_IMPORT(0, console_log)
void lc_abi_console_log(uint32_t level,
                        const void *target,
                        uint32_t target_len,
                        const void *filename,
                        uint32_t filename_len,
                        uint32_t line,
                        const void *message,
                        uint32_t message_len);
LC_IMPORT(0, console_timer_start)
uint32_t lc_abi_console_timer_start(const void *name, uint32_t name_len);
LC_IMPORT(0, console_timer_end) LcErrno lc_abi_console_timer_end(uint32_t timer);
LC_IMPORT(0, identity) void lc_abi_identity(void *out_32_bytes);

// ── 10.1 … 10.5 ────────────────────────────────────────────────────────────────────────────────
LC_IMPORT(1, bytes_source_remaining_length)
int32_t lc_abi_bytes_source_remaining_length(uint32_t source, uint32_t *out);

LC_IMPORT(2, get_jwt) LcErrno lc_abi_get_jwt(const void *connection_16_bytes, uint32_t *source);

LC_IMPORT(3, procedure_sleep_until) int64_t lc_abi_procedure_sleep_until(int64_t wake_at);
LC_IMPORT(3, procedure_start_mut_tx) LcErrno lc_abi_procedure_start_mut_tx(uint64_t *micros);
LC_IMPORT(3, procedure_commit_mut_tx) LcErrno lc_abi_procedure_commit_mut_tx(void);
LC_IMPORT(3, procedure_abort_mut_tx) LcErrno lc_abi_procedure_abort_mut_tx(void);
// out[0]: the response (or, with LC_ERRNO_HTTP_ERROR, the reason, a string); out[1]: its body.
LC_IMPORT(3, procedure_http_request)
LcErrno lc_abi_procedure_http_request(const void *request,
                                      uint32_t request_len,
                                      const void *body,
                                      uint32_t body_len,
                                      uint32_t out[2]);

// key: the index's columns, concatenated.
LC_IMPORT(4, datastore_index_scan_point_bsatn)
LcErrno lc_abi_datastore_index_scan_point_bsatn(uint32_t index,
                                                const void *key,
                                                uint32_t key_len,
                                                uint32_t *iter);
LC_IMPORT(4, datastore_delete_by_index_scan_point_bsatn)
LcErrno lc_abi_datastore_delete_by_index_scan_point_bsatn(uint32_t index,
                                                          const void *key,
                                                          uint32_t key_len,
                                                          uint32_t *deleted);

LC_IMPORT(5, datastore_clear) LcErrno lc_abi_datastore_clear(uint32_t table, uint64_t *deleted);

// ── the other direction: what the host calls (lightcone.c) ─────────────────────────────────────
// An identity is four words and a connection two, the least significant first. Reducers return 0, or 1
// with a message in error_sink; views 2; procedures and handlers 0.

#ifdef __wasm__
#define LC_EXPORT(name) __attribute__((export_name(#name)))
#else
#define LC_EXPORT(name)
#endif

LC_EXPORT(__describe_module__)
void lc_describe_module(uint32_t sink);
LC_EXPORT(__call_reducer__)
int32_t lc_call_reducer(uint32_t id,
                        uint64_t s0,
                        uint64_t s1,
                        uint64_t s2,
                        uint64_t s3,
                        uint64_t c0,
                        uint64_t c1,
                        int64_t timestamp,
                        uint32_t args,
                        uint32_t error_sink);
LC_EXPORT(__call_view__)
int32_t lc_call_view(uint32_t id,
                     uint64_t s0,
                     uint64_t s1,
                     uint64_t s2,
                     uint64_t s3,
                     uint32_t args,
                     uint32_t sink);
LC_EXPORT(__call_view_anon__)
int32_t lc_call_view_anon(uint32_t id, uint32_t args, uint32_t sink);
LC_EXPORT(__call_procedure__)
int32_t lc_call_procedure(uint32_t id,
                          uint64_t s0,
                          uint64_t s1,
                          uint64_t s2,
                          uint64_t s3,
                          uint64_t c0,
                          uint64_t c1,
                          int64_t timestamp,
                          uint32_t args,
                          uint32_t sink);
LC_EXPORT(__call_http_handler__)
int32_t lc_call_http_handler(uint32_t id,
                             int64_t timestamp,
                             uint32_t request_source,
                             uint32_t body_source,
                             uint32_t response_sink,
                             uint32_t body_sink);
