// mend.h: a database whose log cannot be written.
//
//      writes ──── a write or a sync of the log fails ───> failed
//        ^                                                   │ at the end of the turn
//        │ the disk takes files again, asked               v
//        └──── every second, later every half minute ──── read-only: opened again to be looked at
//
// After a failed write or sync the head may hold commits that are not on the disk and perhaps never
// will be. Nobody may see them: every client is told why and disconnected, as by a restart, and the
// tables are made again from the checkpoint and the log, up to what was durable. That state is served:
// queries, subscriptions, views. Reducers and publishes are refused with "read-only because …". The
// reducer that lets clients in runs, and what it wrote is undone. When writing works again the
// database is opened as at a start, and clients connect again.
#pragma once
#include "node/database.h"

// On the loop's thread, after the database's turn: what is due of the above. May free the database and
// put another in its place.
void mend_after_turn(NodeLoop *loop, Database *database);
// Open, or if nothing can be written, open to be looked at.
MUST_USE Err mend_open(const DatabaseOpen *open, Database **out, Diag *diag);
