/* carat retention: what a change of the retention rules means for stored data, and making it so. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/answer.h"
#include "cli/fetch.h"
#include "cli/job.h"
#include "cli/options.h"
#include "model/aggregation.h"
#include "model/retention.h"

#include <stdbool.h>
#include <string.h>

static const char usage[] =
    "usage: carat retention check [--json] [--url URL]\n"
    "       carat retention check [--schemas FILE] [--aggregation FILE]\n"
    "       carat retention apply [--url URL]\n"
    "\n"
    "A running server takes new storage-schemas.conf and storage-aggregation.conf over on SIGHUP: new "
    "series\n"
    "follow them, and nothing is read for longer than they say. What is stored stays as it was until "
    "`apply`.\n"
    "\n"
    "check  has the server read its files as they are now, without putting them in force, and prints for "
    "each\n"
    "       rule what applying them would change: archives that are added or dropped, what would be "
    "deleted,\n"
    "       steps that change. With FILEs it only says whether they are right, and asks no server.\n"
    "apply  puts the files in force and brings stored data to them, beside normal work: added archives are\n"
    "       built from finer data, what no rule keeps any more is deleted. It shows how far it is; "
    "interrupting\n"
    "       this command does not end it, and a restart of the server goes on with it.\n"
    "\n"
    "      --json               print what check found as JSON (doc/jobs.md)\n"
    "      --schemas FILE       a storage-schemas.conf to check\n"
    "      --aggregation FILE   a storage-aggregation.conf to check\n"
    "  -u, --url URL            the server (default " DEFAULT_URL ")\n";

enum { OPT_JSON = 2, OPT_SCHEMAS, OPT_AGGREGATION, OPT_URL };
static const struct option_spec specs[] = {
    {"json", 0, false, OPT_JSON},
    {"schemas", 0, true, OPT_SCHEMAS},
    {"aggregation", 0, true, OPT_AGGREGATION},
    {"url", 'u', true, OPT_URL},
    {NULL, 0, false, 0},
};

struct retention_command {
    const char *what, *url, *schemas, *aggregation;
    bool json;
};

static int take_option(struct retention_command *c, int id, const char *value, struct err *err)
{
    switch (id) {
    case OPTIONS_OPERAND:
        if (c->what || (strcmp(value, "check") && strcmp(value, "apply")))
            return err_set(err, ERR_INVALID, "%.100s: expected one of check and apply", value);
        c->what = value;
        break;
    case OPT_JSON:
        c->json = true;
        break;
    case OPT_SCHEMAS:
        c->schemas = value;
        break;
    case OPT_AGGREGATION:
        c->aggregation = value;
        break;
    default:
        c->url = value;
    }
    return OK;
}

static int read_options(struct retention_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    int rc = OK;
    for (int id; rc == OK && (id = options_next(&o, &value, err)) != OPTIONS_END;)
        rc = id < 0 && id != OPTIONS_OPERAND ? id : take_option(c, id, value, err);
    if (rc != OK)
        return rc;
    if (!c->what)
        return err_set(err, ERR_INVALID, "expected one of check and apply");
    if (!strcmp(c->what, "apply") && (c->schemas || c->aggregation || c->json))
        return err_set(err, ERR_INVALID,
                       "apply takes the files that the server is configured with, and no --json");
    return OK;
}

/* --- files --- */

static int check_files(const struct cli_io *io, const struct retention_command *c)
{
    struct retention_rules *retention = NULL;
    struct aggregation_rules *aggregation = NULL;
    struct err err = ERR_INIT;
    int rc = c->schemas ? retention_load(c->schemas, &retention, &err) : OK;
    if (rc == OK && c->aggregation)
        rc = aggregation_rules_load(c->aggregation, &aggregation, &err);
    if (rc == OK)
        fputs("carat retention: the rules are right\n", io->out);
    else
        fprintf(io->err, "carat retention: %s\n", err.text);
    if (retention)
        retention_free(retention);
    if (aggregation)
        aggregation_rules_free(aggregation);
    return rc == OK ? CLI_GOOD : CLI_FAILED;
}

/* --- what a check found --- */

static long long number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* 90 -> "90s", 3600 -> "1h" */
static void put_span(FILE *to, long long s)
{
    static const struct {
        long long s;
        const char *unit;
    } units[] = {{31536000, "y"}, {86400, "d"}, {3600, "h"}, {60, "m"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (s >= units[i].s && s % units[i].s == 0) {
            fprintf(to, "%lld%s", s / units[i].s, units[i].unit);
            return;
        }
    fprintf(to, "%llds", s);
}

static void put_time(FILE *to, long long s)
{
    char time[32];
    answer_format_time(s, time);
    fputs(time, to);
}

static void print_archives(FILE *to, const char *word, const json_t *archives)
{
    fprintf(to, "    %-5s", word);
    for (size_t i = 0; i < json_array_size(archives); i++) {
        const json_t *a = json_array_get(archives, i);
        fputs(i ? ", " : " ", to);
        put_span(to, number(a, "step"));
        fputc(':', to);
        put_span(to, number(a, "keep"));
        if (json_object_get(a, "from")) {
            fputs(" from ", to);
            put_time(to, number(a, "from"));
        }
    }
    fputc('\n', to);
}

static void print_going(FILE *to, const json_t *c)
{
    if (!json_object_get(c, "windows"))
        return;
    fprintf(to, "; deletes %lld windows, %lld bytes", number(c, "windows"), number(c, "bytes"));
    if (json_object_get(c, "from")) {
        fputs(", ", to);
        put_time(to, number(c, "from"));
        fputs(" to ", to);
        put_time(to, number(c, "until"));
    }
}

static void print_change(FILE *to, const json_t *c)
{
    const char *what = text(c, "what");
    fputs("    - ", to);
    put_span(to, number(c, "step"));
    if (!strcmp(what, "added")) {
        fputs(": archive added, built from finer data", to);
        if (json_object_get(c, "since")) {
            fputs(" since ", to);
            put_time(to, number(c, "since"));
        }
    } else if (!strcmp(what, "step")) {
        fputs(": the step of new points, in place of ", to);
        put_span(to, number(c, "wasStep"));
        fputs(", from ", to);
        put_time(to, number(c, "since"));
        fputs(" on if applied now", to);
    } else if (!strcmp(what, "rolledUp")) {
        fputs(": points are rolled up to the new step", to);
    } else if (!strcmp(what, "dropped")) {
        fputs(": archive dropped", to);
    } else {
        fprintf(to, ": kept %s, ", what);
        put_span(to, number(c, "keep"));
        fputs(" in place of ", to);
        put_span(to, number(c, "wasKeep"));
    }
    print_going(to, c);
    fputc('\n', to);
}

static void print_aggregation(FILE *to, const json_t *was, const json_t *is)
{
    if (is)
        fprintf(to,
                "    - aggregation: %s, xFilesFactor %g in place of %s, %g; takes effect on all stored data "
                "at once\n",
                text(is, "method"), json_number_value(json_object_get(is, "xFilesFactor")),
                text(was, "method"), json_number_value(json_object_get(was, "xFilesFactor")));
}

static void print_group(FILE *to, const json_t *g)
{
    const json_t *changes = json_object_get(g, "changes"), *stays = json_object_get(g, "stepStays");
    const json_t *example = json_array_get(json_object_get(g, "examples"), 0);
    fprintf(to, "[%s] %lld series, such as %s\n", text(g, "rule"), number(g, "series"),
            json_string_value(example) ? json_string_value(example) : "?");
    print_archives(to, "now", json_object_get(g, "now"));
    print_archives(to, "then", json_object_get(g, "then"));
    for (size_t i = 0; i < json_array_size(changes); i++)
        print_change(to, json_array_get(changes, i));
    if (stays) {
        fputs("    - ", to);
        put_span(to, number(stays, "step"));
        fputs(": stays the step, though the rule says ", to);
        put_span(to, number(stays, "wanted"));
        fprintf(to, ": %s\n", text(stays, "why"));
    }
    print_aggregation(to, json_object_get(g, "aggregation"), json_object_get(g, "newAggregation"));
}

static void print_check(FILE *to, const json_t *result)
{
    const json_t *groups = json_object_get(result, "groups");
    for (size_t i = 0; i < json_array_size(groups); i++)
        print_group(to, json_array_get(groups, i));
    if (number(result, "notShown"))
        fprintf(to, "and %lld series more\n", number(result, "notShown"));
}

/* Before anything is asked for: another job may be running for hours. */
static void print_unfinished(const struct cli_io *io, const char *server)
{
    struct fetched got;
    struct buf url = BUF_INIT;
    struct err ignored;
    job_url(server, "/api/v1/retention", &url);
    json_t *root = NULL;
    if (fetch_get(buf_str(&url), &got, &ignored) == OK)
        root = json_loadb((const char *)got.body.data, got.body.len, 0, NULL);
    if (json_is_true(json_object_get(root, "unfinished")))
        fprintf(io->err,
                "carat retention: rules are being applied to stored data and not finished yet (%s); `carat "
                "jobs` shows "
                "how far it is\n",
                text(root, "state"));
    json_decref(root);
    fetched_release(&got);
    buf_release(&url);
}

static int follow(const struct cli_io *io, const struct retention_command *c)
{
    bool check = !strcmp(c->what, "check");
    struct cli_io quiet = {c->json ? io->err : io->out, io->err};
    json_t *job = NULL, *request = json_pack("{s:s}", "kind", check ? "retention-check" : "retention-apply");
    if (check)
        print_unfinished(io, c->url);
    int code = job_follow(&quiet, "retention", c->url, request, &job);
    const json_t *result = json_object_get(job, "result");
    if (code == CLI_GOOD && check && c->json) {
        json_dumpf(result, io->out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        fputc('\n', io->out);
    } else if (code == CLI_GOOD && check) {
        print_check(io->out, result);
    }
    json_decref(job);
    json_decref(request);
    return code;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct retention_command c = {.url = DEFAULT_URL};
    if (read_options(&c, argc, argv, &err) != OK) {
        fprintf(io->err, "carat retention: %s\n", err.text);
        return CLI_USAGE;
    }
    return c.schemas || c.aggregation ? check_files(io, &c) : follow(io, &c);
}

const struct command command_retention = {"retention", "what changed retention rules mean for stored data",
                                          usage, run};
