/* The commands of `carat`: one const struct each, listed in cli.c. */
#ifndef CARAT_CLI_COMMAND_H
#define CARAT_CLI_COMMAND_H

#include <stdio.h>

enum cli_exit { CLI_GOOD = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Where a command writes; borrowed. */
struct cli_io {
    FILE *out, *err;
};

struct command {
    const char *name;
    const char *summary; /* one line in the list */
    const char *usage;   /* all of `carat help NAME` */
    /* argv[0] is the command's name. Returns an enum cli_exit. */
    int (*run)(const struct cli_io *io, int argc, char **argv);
};

extern const struct command command_serve, command_agent, command_query, command_backup, command_restore,
    command_replay, command_verify, command_cardinality, command_jobs, command_cold, command_rebuild,
    command_probe, command_cost, command_delete, command_retention, command_topology;

#endif
