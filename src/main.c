// main.c: one program, two roles. `lightcone start` is the server (node/start.c), everything else a
// command that talks to one (cli/).
#include "cli/cli.h"

int main(int argc, char **argv) {
    return cli_main(argc, argv);
}
