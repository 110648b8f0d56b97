/* carat rebuild: has a running server make its roll-ups again. */
#include "cli/command.h"
#include "cli/job.h"
#include "cli/job_span.h"

static const char usage[] =
    "usage: carat rebuild [--from TIME] [--to TIME] [--series GLOB] [--url URL]\n"
    "\n"
    "Has a running server make its coarse archives again from the finest one, beside normal work: after the\n"
    "retention rules gained an archive, or when roll-ups are in doubt. Nothing that is right changes. Shows "
    "how\n"
    "far it is and ends with the job. Interrupting this command does not end the job; `carat jobs --cancel "
    "ID`\n"
    "does.\n"
    "\n"
    "      --from TIME      seconds since 1970, 2026-11-22T10:00:00Z or -90d (default: everything there is)\n"
    "      --to TIME        slots before this time only\n"
    "      --series GLOB    only these series, such as 'servers.*.cpu.*'\n"
    "  -u, --url URL        the server (default " DEFAULT_URL ")\n";

static int run(const struct cli_io *io, int argc, char **argv)
{
    return job_span_run(io, "rebuild", false, argc, argv);
}

const struct command command_rebuild = {"rebuild", "make roll-ups again from the finest archive", usage, run};
