// names.h: names for projects and their databases.
#pragma once
#include "cli/cli.h"

// "My Game 2" as a directory and a database: "my-game-2". Ends the process when nothing is left of it.
const char *names_kebab(const char *name);
// Five letters and digits, so that two people's databases of one project do not meet: "4x0ab".
const char *names_random(void);
