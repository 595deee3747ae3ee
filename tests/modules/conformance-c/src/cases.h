// cases.h: a case is a function that says what it observes, line by line.
#pragma once
#include "lightcone_abi.h"
#include "tables.h"

typedef struct Case {
    Ctx *ctx;                 // of a reducer's case
    ProcedureCtx *procedure;  // of a procedure's
    String name;
    Array(String) lines;
} Case;

typedef void (*CaseFunction)(Case *it);
typedef struct CaseEntry {
    const char *name;
    CaseFunction run;
} CaseEntry;

extern const CaseEntry type_cases[], data_cases[], scan_cases[], other_cases[], procedure_cases[];
const CaseEntry *case_find(const CaseEntry *entries, String name);

void say(Case *it, const char *format, ...) LC_PRINTF(2, 3);
void say_errno(Case *it, const char *what, LcErrno err);  // "what: ok", "what: errno 4"

// Bytes that a case hands to the host, or has got from it.
typedef struct Blob {
    uint8_t *ptr;
    uint32_t len;
} Blob;
Blob blob(size_t room);
void put(Blob *out, const void *bytes, size_t len);
void put_u8(Blob *out, uint8_t value);
void put_u32(Blob *out, uint32_t value);
void put_i64(Blob *out, int64_t value);
void put_text(Blob *out, const char *text);
const char *hex(const uint8_t *bytes, size_t len);

#define NO_SUCH 4000000000u
#define YEAR    ((TimeDuration){31536000000000})

uint32_t table_of(const char *name);  // ids; a name that is missing panics
uint32_t index_of(const char *name);
Blob pair_row(uint32_t a, const char *b, int64_t c);
void pair_fill(void);  // pair, filled
LcErrno insert_raw(const char *table, Blob *row);
// Everything a scan finds, as one blob; 0 or an errno.
LcErrno drain(uint32_t iter, Blob *rows);
