/* The command line: finds the command and runs it. */
#ifndef CARAT_CLI_CLI_H
#define CARAT_CLI_CLI_H

#include "cli/command.h"

/* argv as main got it. Returns the exit code: 0 good, 1 failed, 2 wrong usage. */
int cli_main(const struct cli_io *io, int argc, char **argv);

#endif
