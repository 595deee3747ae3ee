// child.h: another program, kept on a short leash: the translator and the compiler.
#pragma once
#include <sys/types.h>

#include "base/bytes.h"

typedef struct ChildLimits {
    uint32_t cpu_s;
    size_t memory_bytes;  // address space
    size_t file_bytes;    // of any one file it writes
} ChildLimits;

// Start `argv` (argv[0] is looked up in PATH) in `directory`, with its output going to the file
// `log` there, nothing else open, a bare environment and a low priority. It is killed when the
// thread that started it ends, and with it what it has started itself: a compiler is a driver of
// others. *child is then to be waited for with child_wait.
//   ERR_NOT_FOUND  no such program
typedef struct Child {
    pid_t pid;
    int tty;  // our end of its terminal; -1: it has none
} Child;
MUST_USE Err child_start(const char *const *argv,
                         const char *directory,
                         const char *log,
                         const ChildLimits *limits,
                         Child *child);

// ERR_MODULE: it failed; `how` says "exited with 1", "ran out of its 60 s of time", …
MUST_USE Err child_wait(const Child *child, const ChildLimits *limits, char *how, size_t how_size);
