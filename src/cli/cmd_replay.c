/* carat replay: has a running server go over its stream again. */
#include "cli/command.h"
#include "cli/job.h"
#include "cli/job_span.h"

static const char usage[] =
    "usage: carat replay --from TIME [--to TIME] [--series GLOB] [--url URL]\n"
    "\n"
    "Has a running server read its stream again, beside normal work, compare it with what is stored and "
    "make\n"
    "again what is damaged or missing. What is right is left as it is. Shows how far it is and ends with "
    "the\n"
    "job: 0 if all is well, 1 if something stays damaged. Interrupting this command does not end the job;\n"
    "`carat jobs --cancel ID` does.\n"
    "\n"
    "      --from TIME      seconds since 1970, 2026-11-22T10:00:00Z, -90min, oldest, or pos:N (required)\n"
    "      --to TIME        leave out what arrived later (default: everything there is)\n"
    "      --series GLOB    only these series, such as 'servers.*.cpu.*'\n"
    "  -u, --url URL        the server (default " DEFAULT_URL ")\n";

static int run(const struct cli_io *io, int argc, char **argv)
{
    return job_span_run(io, "replay", true, argc, argv);
}

const struct command command_replay = {"replay", "compare what is stored with the stream, and mend it", usage,
                                       run};
