// backup.h: `GET /v1/database/NAME/backup`: a consistent copy of a running database, streamed to its
// owner: a checkpoint begun for it, as store_image_* reads it.
//
// PICTURE
//   request ── waits for a checkpoint ── image ── thread: read, check ── a few pieces ── loop: send
//
// The loop begins, sends and ends; a thread reads the file. Both wait for the slower: at most
// a few pieces are in memory, whoever downloads.
#pragma once
#include "node/database.h"

void backups_tick(Database *db);  // after each turn
void backups_end(Database *db);   // the database closes: streams are broken off
