// files.h: whole small files, and a directory that ends with the work it was made for.
#pragma once
#include "base/bytes.h"

MUST_USE Err file_read_whole(const char *path, Buf *out);
MUST_USE Err file_write_whole(const char *directory, const char *name, Bytes content);
// Durable or not there at all: written beside, synced, renamed, the directory synced.
MUST_USE Err file_publish(const char *directory, const char *name, Bytes content);

// A new directory in `parent`, or in TMPDIR (or /tmp) when that is NULL, for this user only. `out` has
// room for PATH_MAX.
MUST_USE Err directory_temporary(const char *parent, char *out, size_t out_size);
void directory_remove(const char *path);  // with the files in it
