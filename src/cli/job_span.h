/* Commands that start a job over a span of time: --from, --to, --series and --url. */
#ifndef CARAT_CLI_JOB_SPAN_H
#define CARAT_CLI_JOB_SPAN_H

#include "cli/cli.h"

#include <stdbool.h>

/* Starts the job `kind` with what the command line asks for and follows it to its end. An enum cli_exit. */
int job_span_run(const struct cli_io *io, const char *kind, bool from_required, int argc, char **argv);

#endif
