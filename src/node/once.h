// once.h: calls that happen once, however often a client asks. docs/internals/protocols-ext.md, CallOnce.
#pragma once
#include "node/session.h"

// At the beginning of a try of the session's call, in its transaction. OK: it is new, and the transaction
// now remembers it. ERR_EXISTS: it has happened; *when is its timestamp, and the try must be undone.
// A call without a number: OK.
MUST_USE Err once_begin(Session *session, Access *access, Micros *when);
// Tell the client of a repeat what it was told, or should have been, the first time. No transaction is open.
void once_answer(Session *session, Micros when);
// The beginning of a reducer's call on the head: its transaction, and what is above. False: there is
// nothing to call, and its client was told why.
bool once_call_begin(Session *session, const FunctionDef *function, Bytes args, HostCall *call);
// In an open transaction on the head: forget some of what nobody will repeat any more. Rarely does anything.
void once_sweep(Database *database);
