/* carat rebuild: has a running server make its roll-ups again. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/job.h"
#include "cli/options.h"

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

enum { OPT_FROM = 2, OPT_TO, OPT_SERIES, OPT_URL };
static const struct option_spec specs[] = {
    {"from", 0, true, OPT_FROM}, {"to", 0, true, OPT_TO}, {"series", 0, true, OPT_SERIES},
    {"url", 'u', true, OPT_URL}, {NULL, 0, false, 0},
};

static int read_options(json_t *request, const char **url, int argc, char **argv, struct err *err)
{
    static const char *const keys[] = {[OPT_FROM] = "from", [OPT_TO] = "to", [OPT_SERIES] = "series"};
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_URL)
            *url = value;
        else if (json_object_set_new(request, keys[id], json_string(value)) < 0)
            return err_set(err, ERR_INVALID, "--%s is not UTF-8", keys[id]);
    }
    return OK;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    const char *url = DEFAULT_URL;
    json_t *request = json_pack("{s:s}", "kind", "rebuild"), *job = NULL;
    int code = CLI_USAGE;
    if (read_options(request, &url, argc, argv, &err) == OK)
        code = job_follow(io, "rebuild", url, request, &job);
    else
        fprintf(io->err, "carat rebuild: %s\n", err.text);
    json_decref(job);
    json_decref(request);
    return code;
}

const struct command command_rebuild = {"rebuild", "make roll-ups again from the finest archive", usage, run};
