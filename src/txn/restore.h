// restore.h: a database's files from a backup, and from the log that was kept, to a point in time.
//
// A backup is a page file with one checkpoint in it (store_image_*). Restoring puts it into place and
// begins a log at its offset; with the log of the database it came from, the commits since are
// copied over, up to the one wanted.
#pragma once
#include "txn/db.h"

typedef struct DbRestore {
    const Io *io;
    const char *image;      // the backup
    const char *log_from;   // directory of a log with the commits since; NULL: none are wanted
    TxOffset until;         // the first commit that is not wanted; UINT64_MAX: all there are
    Micros until_time;      // nor any after this moment; INT64_MAX: all there are
    const char *log_to;     // made; there must be no log in it
    const char *page_file;  // made; must not exist
} DbRestore;

typedef struct DbRestored {
    TxOffset from, end;  // the backup's offset, and the log's now
    Micros time;         // of the last commit copied, or of the backup
} DbRestored;

//   ERR_INVALID  `until` lies before the backup
//   ERR_EXISTS   there is a database already
//   ERR_CORRUPT  the backup or the log is damaged, or the log does not reach back to the backup
// After an error, files that were made may stay; without the page file they are no database.
MUST_USE Err db_restore(const DbRestore *restore, DbRestored *out, Diag *diag);
