// start_args.h: what `lightcone start` was told to do.
#pragma once
#include "node/node.h"

#define START_ISSUERS_MAX 16

typedef struct StartArgs {
    NodeOptions node;  // borrows from argv and from what follows
    char host[256], pg_host[256];
    Str issuers[START_ISSUERS_MAX];
    bool help;
    Diag diag;
} StartArgs;

extern const char start_usage[];

// Into *args, which has the defaults. 0, or an exit code after the reason was printed. After --help nothing more
// is read.
int start_args_read(int argc, char **argv, StartArgs *args);
