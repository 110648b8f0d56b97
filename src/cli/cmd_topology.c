/* carat topology: the processes of a deployment, who writes which partition, and whether all is well. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/fetch.h"
#include "cli/job.h"
#include "cli/options.h"

#include <stdbool.h>
#include <string.h>

static const char usage[] =
    "usage: carat topology [--json] [--url URL]\n"
    "\n"
    "Prints what a deployment consists of, as one of its servers sees it: every process with its roles\n"
    "and whether each tier answers it, and every partition of the stream with its writer and lag. Ends\n"
    "with what is wrong; the exit code is 1 if anything is.\n"
    "\n"
    "      --json       the server's answer as it is (GET /api/v1/topology)\n"
    "  -u, --url URL    the server (default " DEFAULT_URL ")\n";

enum { OPT_JSON = 2, OPT_URL };
static const struct option_spec specs[] = {
    {"json", 0, false, OPT_JSON},
    {"url", 'u', true, OPT_URL},
    {NULL, 0, false, 0},
};

struct topology_command {
    const char *url;
    bool json;
};

static int read_options(struct topology_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_URL)
            c->url = value;
        else
            c->json = true;
    }
    return OK;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_tiers(FILE *out, const json_t *process)
{
    const char *tier;
    json_t *t;
    json_object_foreach(json_object_get(process, "tiers"), tier, t) fprintf(
        out, "  %s %s%s", tier, text_of(t, "backend"), strcmp(text_of(t, "state"), "ok") ? " (!)" : "");
}

static void print_processes(FILE *out, const json_t *list)
{
    size_t i;
    const json_t *p;
    fprintf(out, "%zu process%s\n", json_array_size(list), json_array_size(list) == 1 ? "" : "es");
    json_array_foreach(list, i, p)
    {
        fprintf(out, "  %-28s %-28s %s, %.0f s ago, on %s\n   ", text_of(p, "url"), text_of(p, "roles"),
                json_is_true(json_object_get(p, "alive")) ? text_of(p, "state") : "silent",
                number_of(p, "seen_s"), text_of(p, "node"));
        print_tiers(out, p);
        fputc('\n', out);
    }
}

static void print_partitions(FILE *out, const json_t *list)
{
    size_t i;
    const json_t *p;
    fprintf(out, "\n%zu partition%s\n", json_array_size(list), json_array_size(list) == 1 ? "" : "s");
    json_array_foreach(list, i, p)
    {
        fprintf(out, "  %2.0f  %-28s", number_of(p, "partition"),
                json_is_true(json_object_get(p, "held")) ? text_of(p, "url") : "no writer");
        if (json_object_get(p, "epoch"))
            fprintf(out, "  epoch %.0f", number_of(p, "epoch"));
        if (json_object_get(p, "lag_records"))
            fprintf(out, "  behind by %.0f records, %.1f s", number_of(p, "lag_records"),
                    number_of(p, "lag_s"));
        fputc('\n', out);
    }
}

/* *problems counts them. */
static int print_answer(const struct cli_io *io, const struct fetched *got, size_t *problems, struct err *err)
{
    json_t *root = json_loadb((const char *)got->body.data, got->body.len, 0, NULL);
    const json_t *processes = json_object_get(root, "processes"), *wrong = json_object_get(root, "problems");
    if (!json_is_array(processes) || !json_is_array(wrong)) {
        json_decref(root);
        return err_set(err, ERR_INVALID, "the answer is not what /api/v1/topology gives");
    }
    print_processes(io->out, processes);
    print_partitions(io->out, json_object_get(root, "partitions"));
    *problems = json_array_size(wrong);
    fprintf(io->out, *problems ? "\nwrong:\n" : "\nall is well\n");
    for (size_t i = 0; i < *problems; i++)
        fprintf(io->out, "  %s\n", json_string_value(json_array_get(wrong, i)));
    json_decref(root);
    return OK;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct topology_command c = {DEFAULT_URL, false};
    struct buf url = BUF_INIT;
    struct fetched got = {0, BUF_INIT, BUF_INIT};
    size_t problems = 0;
    int code = CLI_USAGE, rc = read_options(&c, argc, argv, &err);
    if (rc == OK) {
        code = CLI_FAILED;
        job_url(c.url, "/api/v1/topology", &url);
        rc = fetch_get(buf_str(&url), &got, &err);
    }
    if (rc == OK && c.json)
        fprintf(io->out, "%s\n", buf_str(&got.body));
    else if (rc == OK)
        rc = print_answer(io, &got, &problems, &err);
    if (rc < 0)
        fprintf(io->err, "carat topology: %s\n", err.text);
    fetched_release(&got);
    buf_release(&url);
    return rc < 0 ? code : problems ? CLI_FAILED : CLI_GOOD;
}

const struct command command_topology = {"topology", "the processes of a deployment, and what is wrong",
                                         usage, run};
