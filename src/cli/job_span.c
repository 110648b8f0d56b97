#include "cli/job_span.h"

#include "base/err.h"
#include "cli/command.h"
#include "cli/job.h"
#include "cli/options.h"

enum { OPT_FROM = 2, OPT_TO, OPT_SERIES, OPT_URL };
static const struct option_spec specs[] = {
    {"from", 0, true, OPT_FROM}, {"to", 0, true, OPT_TO}, {"series", 0, true, OPT_SERIES},
    {"url", 'u', true, OPT_URL}, {NULL, 0, false, 0},
};

static int read_options(json_t *request, const char **url, bool from_required, int argc, char **argv,
                        struct err *err)
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
    if (from_required && !json_object_get(request, "from"))
        return err_set(err, ERR_INVALID, "--from is missing");
    return OK;
}

int job_span_run(const struct cli_io *io, const char *kind, bool from_required, int argc, char **argv)
{
    struct err err = ERR_INIT;
    const char *url = DEFAULT_URL;
    json_t *request = json_pack("{s:s}", "kind", kind), *job = NULL;
    int code = CLI_USAGE;
    if (read_options(request, &url, from_required, argc, argv, &err) == OK)
        code = job_follow(io, kind, url, request, &job);
    else
        fprintf(io->err, "carat %s: %s\n", kind, err.text);
    json_decref(job);
    json_decref(request);
    return code;
}
