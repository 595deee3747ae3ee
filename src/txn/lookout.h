// lookout.h: reading on a snapshot beside the loop, for somebody who must know afterwards whether what
// was read is still so: views that take long.
//
// An overlay without writes (overlay.h) would do the reading; it has no use for the question, because
// a call that only read is right at its snapshot. A view's result is kept, so it has.
#pragma once
#include "txn/reader.h"

typedef struct Lookout Lookout;

// On the loop's thread, between transactions. The catalog must not change while it is alive.
MUST_USE Err lookout_new(Db *db, Lookout **out);
void lookout_free(Lookout **lookout);
Access *lookout_access(Lookout *lookout);  // on one worker's thread; refuses writes

// On the loop's thread, when the worker is done with it.
const ReadSet *lookout_reads(const Lookout *lookout);
uint64_t lookout_version(const Lookout *lookout);  // of the data it sees (snapshot_version)
// OK: nothing of what it read has changed since. ERR_CONFLICT: something has, or nobody knows.
MUST_USE Err lookout_fresh(Lookout *lookout);
