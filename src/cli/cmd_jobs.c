/* carat jobs: the jobs of a running server. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/answer.h"
#include "cli/fetch.h"
#include "cli/job.h"
#include "cli/options.h"

#include <string.h>

static const char usage[] =
    "usage: carat jobs [--cancel ID] [--url URL]\n"
    "\n"
    "Lists the jobs of a running server, newest first: what runs, what waits and what has ended.\n"
    "\n"
    "      --cancel ID    end a job\n"
    "  -u, --url URL      the server (default " DEFAULT_URL ")\n";

enum { OPT_CANCEL = 2, OPT_URL };
static const struct option_spec specs[] = {
    {"cancel", 0, true, OPT_CANCEL},
    {"url", 'u', true, OPT_URL},
    {NULL, 0, false, 0},
};

static int read_options(const char **cancel, const char **url, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_URL)
            *url = value;
        if (id == OPT_CANCEL)
            *cancel = value;
    }
    if (*cancel && (!**cancel || strspn(*cancel, "0123456789") != strlen(*cancel)))
        return err_set(err, ERR_INVALID, "--cancel %.40s: expected the number of a job", *cancel);
    return OK;
}

static void print_job(FILE *to, const json_t *job)
{
    struct buf text = BUF_INIT;
    char time[32];
    const char *kind = json_string_value(json_object_get(job, "kind"));
    const char *message = json_string_value(json_object_get(job, "message"));
    answer_format_time(json_integer_value(json_object_get(job, "createdMs")) / 1000, time);
    job_describe(job, &text);
    fprintf(to, "%-4lld %s  %-8s %s%s%s\n", (long long)json_integer_value(json_object_get(job, "id")), time,
            kind ? kind : "?", buf_str(&text), message && *message ? ": " : "", message ? message : "");
    buf_release(&text);
}

static int print_answer(const struct cli_io *io, const struct fetched *got, struct err *err)
{
    json_t *root = json_loadb((const char *)got->body.data, got->body.len, 0, NULL);
    const json_t *jobs = json_object_get(root, "jobs");
    int rc = OK;
    if (json_is_array(jobs)) {
        for (size_t i = 0; i < json_array_size(jobs); i++)
            print_job(io->out, json_array_get(jobs, i));
        if (!json_array_size(jobs))
            fputs("no jobs\n", io->out);
    } else if (json_is_string(json_object_get(root, "kind"))) {
        print_job(io->out, root);
    } else {
        rc = err_set(err, ERR_INVALID, "the answer is no list of jobs: is this a carat server?");
    }
    json_decref(root);
    return rc;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    const char *server = DEFAULT_URL, *cancel = NULL;
    struct buf url = BUF_INIT;
    struct fetched got = {0, BUF_INIT, BUF_INIT};
    int code = CLI_USAGE, rc = read_options(&cancel, &server, argc, argv, &err);
    if (rc == OK) {
        code = CLI_FAILED;
        job_url(server, "/api/v1/jobs", &url);
        if (cancel)
            buf_printf(&url, "/%s", cancel);
        rc = fetch_send(cancel ? "DELETE" : "GET", buf_str(&url), NULL, &got, &err);
    }
    if (rc == OK)
        rc = print_answer(io, &got, &err);
    if (rc < 0)
        fprintf(io->err, "carat jobs: %s\n", err.text);
    fetched_release(&got);
    buf_release(&url);
    return rc < 0 ? code : CLI_GOOD;
}

const struct command command_jobs = {"jobs", "list or cancel the jobs of a running server", usage, run};
