// guest.h: what the server and a compiled module know of each other. Compiled into both sides.
//
// PICTURE
//   server                                     module.so (wasm2c's C, rt/guest.c around it)
//   GuestHost: functions it may call  ──────>  copied into the object once, when it is loaded
//   instantiate, reducer, view, …     <──────  GuestModule, its one visible symbol
//
// ALWAYS TRUE
//   (1) A module reaches the server through the functions of GuestHost only; what else it is linked
//       to are pure functions of the C library (memcpy, floor, …), which hold no locks: it can be
//       left at any instruction.
//   (2) Function pointers here are called through `void *`; both sides are compiled for one ABI.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define GUEST_VERSION 1  // of everything in rt/: objects of another one are compiled again
#define GUEST_SYMBOL  "lightcone_guest"

// wasm_rt_memory_t. `data` is the start of a reservation that no 32-bit address with a 32-bit
// offset can leave, so generated code checks nothing.
typedef struct GuestMemory {
    uint8_t *data;
    uint32_t pages, max_pages;
    uint32_t size;  // bytes; the last page of 4 GiB is never given out, so it fits
} GuestMemory;

typedef enum GuestTrap {
    GUEST_TRAP_NONE,
    GUEST_TRAP_OOB,
    GUEST_TRAP_INT_OVERFLOW,
    GUEST_TRAP_DIV_BY_ZERO,
    GUEST_TRAP_INVALID_CONVERSION,
    GUEST_TRAP_UNREACHABLE,
    GUEST_TRAP_CALL_INDIRECT,
    GUEST_TRAP_EXHAUSTION,
} GuestTrap;

// Every function that a module may import (spec: module-abi §1.5):
//   X(minor version that introduced it, name, result, parameters, arguments, signature)
// A signature is its parameters' types, '>', its results': i = i32, l = i64.
#define GUEST_P1     uint32_t a
#define GUEST_P2     GUEST_P1, uint32_t b
#define GUEST_P3     GUEST_P2, uint32_t c
#define GUEST_P4     GUEST_P3, uint32_t d
#define GUEST_P5     GUEST_P4, uint32_t e
#define GUEST_P8     GUEST_P5, uint32_t f, uint32_t g, uint32_t h
#define GUEST_P9     GUEST_P8, uint32_t i
#define GUEST_LONG   uint64_t a
#define GUEST_A1     a
#define GUEST_A2     a, b
#define GUEST_A3     a, b, c
#define GUEST_A4     a, b, c, d
#define GUEST_A5     a, b, c, d, e
#define GUEST_A8     a, b, c, d, e, f, g, h
#define GUEST_A9     a, b, c, d, e, f, g, h, i
#define GUEST_I(...) , __VA_ARGS__

// clang-format off
#define GUEST_IMPORTS(X)                                                                                              \
    X(0, table_id_from_name, uint32_t, GUEST_I(GUEST_P3), GUEST_I(GUEST_A3), "iii>i")                                 \
    X(0, index_id_from_name, uint32_t, GUEST_I(GUEST_P3), GUEST_I(GUEST_A3), "iii>i")                                 \
    X(0, datastore_table_row_count, uint32_t, GUEST_I(GUEST_P2), GUEST_I(GUEST_A2), "ii>i")                           \
    X(0, datastore_table_scan_bsatn, uint32_t, GUEST_I(GUEST_P2), GUEST_I(GUEST_A2), "ii>i")                          \
    X(0, datastore_index_scan_range_bsatn, uint32_t, GUEST_I(GUEST_P9), GUEST_I(GUEST_A9), "iiiiiiiii>i")             \
    X(0, datastore_btree_scan_bsatn, uint32_t, GUEST_I(GUEST_P9), GUEST_I(GUEST_A9), "iiiiiiiii>i")                   \
    X(0, datastore_delete_by_index_scan_range_bsatn, uint32_t, GUEST_I(GUEST_P9), GUEST_I(GUEST_A9), "iiiiiiiii>i")   \
    X(0, datastore_delete_by_btree_scan_bsatn, uint32_t, GUEST_I(GUEST_P9), GUEST_I(GUEST_A9), "iiiiiiiii>i")         \
    X(0, datastore_delete_all_by_eq_bsatn, uint32_t, GUEST_I(GUEST_P4), GUEST_I(GUEST_A4), "iiii>i")                  \
    X(0, row_iter_bsatn_advance, uint32_t, GUEST_I(GUEST_P3), GUEST_I(GUEST_A3), "iii>i")                             \
    X(0, row_iter_bsatn_close, uint32_t, GUEST_I(GUEST_P1), GUEST_I(GUEST_A1), "i>i")                                 \
    X(0, datastore_insert_bsatn, uint32_t, GUEST_I(GUEST_P3), GUEST_I(GUEST_A3), "iii>i")                             \
    X(0, datastore_update_bsatn, uint32_t, GUEST_I(GUEST_P4), GUEST_I(GUEST_A4), "iiii>i")                            \
    X(0, volatile_nonatomic_schedule_immediate, void, GUEST_I(GUEST_P4), GUEST_I(GUEST_A4), "iiii>")                  \
    X(0, bytes_source_read, uint32_t, GUEST_I(GUEST_P3), GUEST_I(GUEST_A3), "iii>i")                                  \
    X(0, bytes_sink_write, uint32_t, GUEST_I(GUEST_P3), GUEST_I(GUEST_A3), "iii>i")                                   \
    X(0, console_log, void, GUEST_I(GUEST_P8), GUEST_I(GUEST_A8), "iiiiiiii>")                                        \
    X(0, console_timer_start, uint32_t, GUEST_I(GUEST_P2), GUEST_I(GUEST_A2), "ii>i")                                 \
    X(0, console_timer_end, uint32_t, GUEST_I(GUEST_P1), GUEST_I(GUEST_A1), "i>i")                                    \
    X(0, identity, void, GUEST_I(GUEST_P1), GUEST_I(GUEST_A1), "i>")                                                  \
    X(1, bytes_source_remaining_length, uint32_t, GUEST_I(GUEST_P2), GUEST_I(GUEST_A2), "ii>i")                       \
    X(2, get_jwt, uint32_t, GUEST_I(GUEST_P2), GUEST_I(GUEST_A2), "ii>i")                                             \
    X(3, procedure_sleep_until, uint64_t, GUEST_I(GUEST_LONG), GUEST_I(GUEST_A1), "l>l")                              \
    X(3, procedure_start_mut_tx, uint32_t, GUEST_I(GUEST_P1), GUEST_I(GUEST_A1), "i>i")                               \
    X(3, procedure_commit_mut_tx, uint32_t, , , ">i")                                                                 \
    X(3, procedure_abort_mut_tx, uint32_t, , , ">i")                                                                  \
    X(3, procedure_http_request, uint32_t, GUEST_I(GUEST_P5), GUEST_I(GUEST_A5), "iiiii>i")                           \
    X(4, datastore_index_scan_point_bsatn, uint32_t, GUEST_I(GUEST_P4), GUEST_I(GUEST_A4), "iiii>i")                  \
    X(4, datastore_delete_by_index_scan_point_bsatn, uint32_t, GUEST_I(GUEST_P4), GUEST_I(GUEST_A4), "iiii>i")        \
    X(5, datastore_clear, uint32_t, GUEST_I(GUEST_P2), GUEST_I(GUEST_A2), "ii>i")
// clang-format on

// The server's side. A trap does not return. Imports get the instance's `host` pointer.
typedef struct GuestHost {
    void (*trap)(uint32_t code) __attribute__((noreturn));
    void (*memory_new)(GuestMemory *memory, uint32_t pages, uint32_t max_pages);
    uint32_t (*memory_grow)(GuestMemory *memory, uint32_t pages);  // UINT32_MAX: no
    // Zeroed room for a table of that many bytes, `old_bytes` of which are copied from `old` (which
    // is gone then). NULL: the instance's limit is reached; `old` stays.
    void *(*table_resize)(void *old, size_t old_bytes, size_t bytes);
#define X(minor, name, result, params, args, signature) result (*name)(void *host params);
    GUEST_IMPORTS(X)
#undef X
} GuestHost;

// The module's side. NULL: the module has no such export.
typedef struct GuestModule {
    uint32_t version;       // GUEST_VERSION
    size_t instance_bytes;  // `guest` below: zeroed room of that size, with a header before it
    void (*load)(const GuestHost *host);
    void (*instantiate)(void *guest, void *host);  // may trap
    GuestMemory *(*memory)(void *guest);
    void (*initialize)(void *guest);
    uint32_t preinit_count;
    void (*const *preinits)(void *guest);
    uint32_t (*setup)(void *guest, uint32_t sink);
    void (*describe)(void *guest, uint32_t sink);
    uint32_t (*reducer)(void *guest,
                        uint32_t id,
                        uint64_t sender0,
                        uint64_t sender1,
                        uint64_t sender2,
                        uint64_t sender3,
                        uint64_t conn0,
                        uint64_t conn1,
                        uint64_t timestamp,
                        uint32_t args,
                        uint32_t sink);
    uint32_t (*procedure)(void *guest,
                          uint32_t id,
                          uint64_t sender0,
                          uint64_t sender1,
                          uint64_t sender2,
                          uint64_t sender3,
                          uint64_t conn0,
                          uint64_t conn1,
                          uint64_t timestamp,
                          uint32_t args,
                          uint32_t sink);
    uint32_t (*view)(void *guest,
                     uint32_t id,
                     uint64_t sender0,
                     uint64_t sender1,
                     uint64_t sender2,
                     uint64_t sender3,
                     uint32_t args,
                     uint32_t sink);
    uint32_t (*view_anon)(void *guest, uint32_t id, uint32_t args, uint32_t sink);
    uint32_t (*http)(void *guest,
                     uint32_t id,
                     uint64_t timestamp,
                     uint32_t request,
                     uint32_t body,
                     uint32_t sink,
                     uint32_t body_sink);
} GuestModule;

// Stands before the guest's own structure. Every function compares its stack pointer with it.
typedef struct GuestHeader {
    uintptr_t stack_low;
    uintptr_t reserved;  // keeps what follows aligned to 16 bytes
} GuestHeader;
