/* carat replay: has a running server go over its stream again. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/job.h"
#include "cli/options.h"

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
    return json_object_get(request, "from") ? OK : err_set(err, ERR_INVALID, "--from is missing");
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    const char *url = DEFAULT_URL;
    json_t *request = json_pack("{s:s}", "kind", "replay"), *job = NULL;
    int code = CLI_USAGE;
    if (read_options(request, &url, argc, argv, &err) == OK)
        code = job_follow(io, "replay", url, request, &job);
    else
        fprintf(io->err, "carat replay: %s\n", err.text);
    json_decref(job);
    json_decref(request);
    return code;
}

const struct command command_replay = {"replay", "compare what is stored with the stream, and mend it", usage,
                                       run};
