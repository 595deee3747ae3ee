// client_env.h: .env.local, where a client finds which database it is for. Spec: cli-and-codegen §15.
//
//   VITE_LIGHTCONE_DB_NAME=my-app-4x0ab      the same for each prefix that some tool lets a page see
//   VITE_LIGHTCONE_HOST=http://127.0.0.1:3000
//
// A client on the package `spacetimedb` has SPACETIMEDB in place of LIGHTCONE. Other lines stay.
#pragma once
#include "cli/cli.h"

// For the client whose package.json lies in the directory; false: there is none, or nothing changed.
bool client_env_update(const char *directory, const char *database, const char *base_url);
// The same as "NAME=value" for a child, with a NULL at the end.
const char *const *client_env_list(const char *directory,
                                   const char *database,
                                   const char *base_url);
// Does the package.json in the directory name this package? False when there is none.
bool client_depends_on(const char *directory, const char *package);
