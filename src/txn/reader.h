// reader.h: an Access that only reads, on the head or on a snapshot, and may write down what it read.
//
// For views and for queries of modules that may not write. Its changing functions answer
// ABI_TRANSACTION_IS_READ_ONLY.
#pragma once
#include "txn/db.h"
#include "txn/readset.h"

typedef struct DbReader DbReader;  // `Reader` is the cursor of sats/bsatn.h

// `snapshot` NULL: the head, with the open transaction's own changes; use it on the loop's thread
// only. `reads` may be NULL; it must outlive the reader. A scan or row count is recorded as the
// whole table, a range scan as its range, a point (or a range that is one) as its key.
MUST_USE Err reader_new(Db *db, const Snapshot *snapshot, ReadSet *reads, DbReader **out);
void reader_free(DbReader **reader);
Access *reader_access(DbReader *reader);
