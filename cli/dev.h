// dev.h: what `lightcone dev` is made of: what to do (cmd_dev.c finds out) and the doing (dev.c).
#pragma once
#include "cli/project.h"

enum { DEV_DATABASES_MAX = 64 };

typedef struct DevPlan {
    const char *directory;  // the project's; children run in it
    const char *databases[DEV_DATABASES_MAX];
    int database_count;
    const char *watched[DEV_DATABASES_MAX];  // the modules' directories
    int watched_count;
    const char
        *module;  // the directory of the one module; NULL: there are several, or one is a file
    const char *server;  // as the project or --server names it; NULL: the default
    const char *base_url;
    const char *client;       // how the front end is started; NULL: there is none
    const char *env;          // which project files are read
    const char *delete_data;  // never or on-conflict
    bool yes;
    bool publish, generate;
    bool has_targets;           // generate has entries in the project file
    bool client_in_typescript;  // so it gets .env.local and bindings
} DevPlan;

// Runs until Ctrl-C. Gives the exit code.
int dev_run_plan(const DevPlan *plan);
