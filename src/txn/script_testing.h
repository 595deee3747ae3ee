// script_testing.h: calls of the module ABI made from a string of bytes, for comparing one Access
// with another. The same bytes on the same data must leave the same record.
#pragma once
#include "txn/db.h"

typedef struct Script {
    const uint8_t *at, *end;  // zeros follow the end
    bool no_sequences;        // never leave an id to the sequence
} Script;

static inline bool script_done(const Script *script) {
    return script->at == script->end;
}
// Make one call on the tables of def_testing.h and append what it answered: its errno, rows in
// order, generated columns, counts. False when the answer was ABI_FATAL.
bool script_step(Script *script, const Db *db, Access *access, Buf *record);
// All rows of every table in order, but for st_sequence: how far ahead values are reserved on disk
// depends on the path, not on the result.
void script_dump(const Db *db, Buf *out);
