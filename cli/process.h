// process.h: programs that `lightcone dev` runs beside itself, and how they end with it.
//
// Each is the leader of a process group, because what is started by npm starts others: ending the group
// ends them all. Should we be killed without a chance to do so, the kernel ends at least the leader.
// Only who may ask the person something shares our group, which is the one that owns the terminal.
#pragma once
#include <sys/types.h>

#include "cli/cli.h"

typedef struct ProcessPlan {
    const char *const *words;  // the program and its arguments, NULL at the end
    const char *directory;     // NULL: ours
    const char *const *env;    // "NAME=value" besides our own; NULL at the end, or no list
    const char *output;        // a file that both outputs go to; NULL: ours
    bool asks;                 // may read from the terminal
} ProcessPlan;

// Its pid. Ends the process when no process can be made; a program that is not there exits with 127.
pid_t process_start(const ProcessPlan *plan);
// Ask all of them to end, wait, and insist after `patience_ms`. Zeros in the list are passed over.
void processes_end(const pid_t *pids, size_t count, int patience_ms);
