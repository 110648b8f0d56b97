/* carat probe: does what is posted come out again, seen from here? */
#include "cli/command.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/options.h"
#include "watch/probe.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_URL "http://127.0.0.1:8012"
#define FAR_MAX     16
#define FAR_WAIT_S  1 /* what was posted just now is looked for after this long */

static const char usage[] =
    "usage: carat probe [--once] [--every SECONDS] [--timeout SECONDS] [--node NAME] [--far DAYS]... [--url "
    "URL]\n"
    "\n"
    "Posts a point nobody else has through the public API of a Carat server and asks for it until it is "
    "there.\n"
    "Prints the time that took. With --once it exits 0 then, or says at which step it failed and exits 1:\n"
    "  post     the server was not reached or did not acknowledge the point\n"
    "  read     the question for the point was not answered\n"
    "  missing  the point was acknowledged and cannot be read in time\n"
    "  wrong    a known old point has another value\n"
    "\n"
    "      --once             one probe; without it one after the other until interrupted\n"
    "      --every SECONDS    time between two (default 10)\n"
    "      --timeout SECONDS  a point that cannot be read after so long is missing (default 30)\n"
    "      --node NAME        series service.carat.probe.NAME (default: cli)\n"
    "      --far DAYS         also read the known point of so many days ago; posts it if there is none yet\n"
    "  -u, --url URL          the server (default " DEFAULT_URL ")\n"
    "\n"
    "CARAT_API_KEY in the environment is sent as X-Api-Key.\n"
    "example: carat probe --once --url http://metrics.example:8012\n";

enum { OPT_ONCE = 2, OPT_EVERY, OPT_TIMEOUT, OPT_NODE, OPT_FAR, OPT_URL };
static const struct option_spec specs[] = {
    {"once", 0, false, OPT_ONCE}, {"every", 0, true, OPT_EVERY}, {"timeout", 0, true, OPT_TIMEOUT},
    {"node", 0, true, OPT_NODE},  {"far", 0, true, OPT_FAR},     {"url", 'u', true, OPT_URL},
    {NULL, 0, false, 0},
};

struct probe_command {
    struct probe_options probe;
    bool once;
    uint64_t every_s;
    unsigned far[FAR_MAX];
    size_t nfar;
};

static int take_option(struct probe_command *c, int id, const char *value, struct err *err)
{
    uint64_t n;
    int rc = OK;
    switch (id) {
    case OPT_ONCE:
        c->once = true;
        return OK;
    case OPT_EVERY:
        return options_count("every", value, 1, 86400, &c->every_s, err);
    case OPT_TIMEOUT:
        rc = options_count("timeout", value, 1, 3600, &n, err);
        c->probe.timeout_ms = rc == OK ? (int64_t)n * 1000 : 0;
        return rc;
    case OPT_NODE:
        c->probe.node = value;
        return OK;
    case OPT_FAR:
        rc = options_count("far", value, 0, 36500, &n, err);
        if (rc == OK && c->nfar == FAR_MAX)
            rc = err_set(err, ERR_INVALID, "--far: at most %d of them", FAR_MAX);
        if (rc == OK)
            c->far[c->nfar++] = (unsigned)n;
        return rc;
    case OPT_URL:
        c->probe.url = value;
        return OK;
    default:
        return err_set(err, ERR_INVALID, "unexpected argument %.100s", value);
    }
}

static int parse(struct probe_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {.specs = specs, .argc = argc, .argv = argv, .at = 1};
    const char *value;
    int id;
    while ((id = options_next(&o, &value, err)) > 0) {
        int rc = take_option(c, id, value, err);
        if (rc != OK)
            return rc;
    }
    return id;
}

/* A first look may post the points; only the second tells whether they can be read. */
static int look_far(struct probe *p, const struct probe_command *c, enum probe_step *step, struct err *err)
{
    int rc = probe_far(p, c->far, c->nfar, step, err);
    if (rc == OK && c->once) {
        nanosleep(&(struct timespec){FAR_WAIT_S, 0}, NULL);
        rc = probe_far(p, c->far, c->nfar, step, err);
    }
    return rc;
}

static int probe_once(const struct cli_io *io, struct probe *p, const struct probe_command *c)
{
    struct probe_result r;
    struct err err = ERR_INIT;
    enum probe_step step = PROBE_OK;
    int rc = probe_near(p, &r, &err);
    if (rc == OK)
        fprintf(io->out, "ok: acknowledged after %.1f ms, read back after %.1f ms\n", r.ack_seconds * 1e3,
                r.read_seconds * 1e3);
    else
        step = r.step;
    if (rc == OK && c->nfar) {
        rc = look_far(p, c, &step, &err);
        if (rc == OK)
            fprintf(io->out, "ok: %zu known points are there\n", c->nfar);
    }
    if (rc != OK)
        fprintf(io->err, "carat probe: failed at step %s: %s\n", probe_step_name(step), err.text);
    fflush(io->out);
    return rc == OK ? CLI_GOOD : CLI_FAILED;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct probe_command c = {
        .probe = {.url = DEFAULT_URL,
                  .api_key = getenv("CARAT_API_KEY"),
                  .node = "cli",
                  .timeout_ms = 30000,
                  .clock = clock_system()},
        .every_s = 10,
    };
    struct err err = ERR_INIT;
    struct probe *p;
    if (parse(&c, argc, argv, &err) != OK || probe_new(&c.probe, &p, &err) != OK) {
        fprintf(io->err, "carat probe: %s\n", err.text);
        return CLI_USAGE;
    }
    int exit_code = probe_once(io, p, &c);
    while (!c.once) {
        nanosleep(&(struct timespec){(time_t)c.every_s, 0}, NULL);
        exit_code = probe_once(io, p, &c);
    }
    probe_free(p);
    return exit_code;
}

const struct command command_probe = {"probe", "post a point and read it back, with the time that takes",
                                      usage, run};
