// fetch.h: a call that met a page on the disk waits for it, and begins again.
//
// PICTURE
//   loop     call ─ a page is not at hand: undone ─┐       ┌─ the session is ready, calls again
//   fetcher  (the store's)                         └─ reads ┘
//
// A short reducer reads a few pages, and its second try finds them. One that meets many is no short
// reducer: after MISSES_MAX tries it goes on in the slow lane (slow.c), where it may wait itself.
//
// ALWAYS TRUE
//   (1) Its session takes up nothing else meanwhile, so what the client asked behind it comes after it.
//   (2) Nothing of a try that missed a page can be seen. The next has the same sender, timestamp and
//       arguments.
#pragma once
#include "node/session.h"

// The call is undone by the caller. False: it cannot be done this way.
bool fetch_begin(Session *session, const FunctionDef *reducer, Bytes args);
void fetch_cancel(Session *session);  // the session is about to be freed
void fetch_interrupt(
    Session *session);  // the module is about to change: it begins again after that
