/* carat delete: deletes series, or their points in a range of time, in a running server. */
#include "cli/command.h"
#include "cli/job.h"
#include "cli/options.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: carat delete SERIES... [--from TIME] [--to TIME] [--dry-run] [--yes] [--url URL]\n"
    "\n"
    "Deletes series, or with --from or --to only their points of that time, from every tier and every\n"
    "roll-up of a running server. SERIES is a name or a glob such as 'servers.web-1.**'; a name with tags "
    "is\n"
    "taken as it is. Shows first how many series and points that is, and asks.\n"
    "\n"
    "When it says done, the deletion is on stable storage and nothing of it is read any more; files are\n"
    "rewritten in the background (carat_deletions_pending). A backup made before has it still. What is sent\n"
    "afterwards is stored as ever, also with the times and names that were deleted.\n"
    "\n"
    "      --from TIME    seconds since 1970, 2026-11-22T10:00:00Z or -90min (default: everything before "
    "--to)\n"
    "      --to TIME      points before this time only (default: everything from --from on)\n"
    "  -n, --dry-run      only show what it would delete\n"
    "  -y, --yes          do not ask\n"
    "  -u, --url URL      the server (default " DEFAULT_URL ")\n";

enum { OPT_FROM = 2, OPT_TO, OPT_DRY, OPT_YES, OPT_URL };
static const struct option_spec specs[] = {
    {"from", 0, true, OPT_FROM},  {"to", 0, true, OPT_TO},     {"dry-run", 'n', false, OPT_DRY},
    {"yes", 'y', false, OPT_YES}, {"url", 'u', true, OPT_URL}, {NULL, 0, false, 0},
};

struct delete_command {
    json_t *request, *series;
    const char *url;
    bool dry, yes;
};

static int take_option(struct delete_command *c, int id, const char *value, struct err *err)
{
    int bad = 0;
    switch (id) {
    case OPTIONS_OPERAND:
        bad = json_array_append_new(c->series, json_string(value));
        break;
    case OPT_FROM:
        bad = json_object_set_new(c->request, "from", json_string(value));
        break;
    case OPT_TO:
        bad = json_object_set_new(c->request, "to", json_string(value));
        break;
    case OPT_DRY:
        c->dry = true;
        break;
    case OPT_YES:
        c->yes = true;
        break;
    default:
        c->url = value;
    }
    return bad ? err_set(err, ERR_INVALID, "an argument is not UTF-8") : OK;
}

static int read_options(struct delete_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        int rc = id < 0 ? id : take_option(c, id, value, err);
        if (rc < 0)
            return rc;
    }
    if (!json_array_size(c->series))
        return err_set(err, ERR_INVALID, "no series is named; `carat help delete` explains");
    if (!c->dry && !c->yes && !isatty(STDIN_FILENO))
        return err_set(err, ERR_INVALID, "there is nobody to ask: --yes deletes, --dry-run only shows");
    return OK;
}

/* Some names, and what is not exact. */
static void show_result(const struct cli_io *io, const json_t *job)
{
    const json_t *result = json_object_get(job, "result"), *names = json_object_get(result, "names");
    long long series = (long long)json_integer_value(json_object_get(result, "series"));
    const json_t *exact = json_object_get(result, "exactFrom");
    for (size_t i = 0; i < json_array_size(names); i++)
        fprintf(io->out, "  %s\n", json_string_value(json_array_get(names, i)));
    if (series > (long long)json_array_size(names) && json_array_size(names))
        fprintf(io->out, "  and %lld more\n", series - (long long)json_array_size(names));
    if (exact)
        fprintf(io->out,
                "Before %lld (seconds since 1970) only roll-ups are kept: their slots at the border of the\n"
                "range stay as they are.\n",
                (long long)json_integer_value(exact));
}

static bool confirmed(const struct cli_io *io)
{
    char line[16];
    fprintf(io->out, "Delete? This cannot be undone. [y/N] ");
    fflush(io->out);
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int send(const struct cli_io *io, const struct delete_command *c, bool dry)
{
    json_t *job = NULL;
    json_object_set_new(c->request, "dryRun", json_boolean(dry));
    int code = job_follow(io, "delete", c->url, c->request, &job);
    if (code == CLI_GOOD && (dry || c->yes))
        show_result(io, job);
    json_decref(job);
    return code;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct delete_command c = {
        .request = json_pack("{s:s}", "kind", "delete"), .series = json_array(), .url = DEFAULT_URL};
    int code = CLI_USAGE;
    json_object_set(c.request, "series", c.series);
    if (read_options(&c, argc, argv, &err) != OK) {
        fprintf(io->err, "carat delete: %s\n", err.text);
    } else {
        code = c.dry || !c.yes ? send(io, &c, true) : CLI_GOOD;
        if (code == CLI_GOOD && !c.dry && (c.yes || confirmed(io)))
            code = send(io, &c, false);
    }
    json_decref(c.series);
    json_decref(c.request);
    return code;
}

const struct command command_delete = {"delete", "delete series, or their points in a range", usage, run};
