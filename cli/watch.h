// watch.h: which files of a directory tree change, by inotify.
//
// What builds write and what editors keep for themselves is not looked at: otherwise each build would
// be a reason for the next one.
#pragma once
#include "cli/cli.h"

typedef struct Watch Watch;

// Watches every directory below each of them. Ends the process when the system lets us watch no more.
Watch *watch_open(const char *const *directories, size_t count);
void watch_close(Watch *watch);
int watch_fd(const Watch *watch);  // readable when something happened
// Take in what happened. The path of a file that changed, or NULL when nothing that matters did;
// valid until the next call.
const char *watch_read(Watch *watch);
// Is a file or directory of this name worth looking at?
bool watch_wants(const char *name);
