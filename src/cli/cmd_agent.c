/* carat agent: posts this machine's metrics to a server, in the foreground. */
#include "cli/command.h"

#include "agent/agent.h"
#include "agent/host_id.h"
#include "cli/options.h"

#include <signal.h>
#include <stdlib.h>

#define STOP_MS 8000
#define ONCE_MS 20000 /* a server that does not answer is given up after this */
#define TURN_MS 200

static const char usage[] =
    "usage: carat agent --url URL [--host-id ID] [--once]\n"
    "\n"
    "Collects this machine's metrics every minute and posts them to a Carat or Mackerel server, until\n"
    "SIGTERM or SIGINT. What cannot be posted waits in memory for up to six hours.\n"
    "\n"
    "  -u, --url URL       the server, for example http://127.0.0.1:8012\n"
    "      --host-id ID    name of this machine in the server; without it derived from /etc/machine-id\n"
    "      --once          post the next full minute and exit: 0 if the server took it\n"
    "\n"
    "CARAT_API_KEY in the environment is sent as X-Api-Key.\n";

enum { OPT_URL = 2, OPT_HOST_ID, OPT_ONCE };
static const struct option_spec specs[] = {
    {"url", 'u', true, OPT_URL},
    {"host-id", 0, true, OPT_HOST_ID},
    {"once", 0, false, OPT_ONCE},
    {NULL, 0, false, 0},
};

struct agent_command {
    struct agent_options options;
    char host_id[HOST_ID_MAX + 1];
    bool once;
};

static int read_options(struct agent_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_URL)
            c->options.url = value;
        if (id == OPT_HOST_ID)
            c->options.host_id = value;
        c->once |= id == OPT_ONCE;
    }
    return c->options.url ? OK : err_set(err, ERR_INVALID, "--url is missing");
}

static int find_host_id(struct agent_command *c, struct err *err)
{
    if (c->options.host_id)
        return OK;
    c->options.host_id = c->host_id;
    int rc = host_id_get(fs_posix(), NULL, "/etc/machine-id", c->host_id, err);
    return rc == OK ? OK : err_prefix(err, "--host-id is not given and cannot be derived");
}

static int run_on(struct agent *a, struct err *err)
{
    sigset_t set;
    int sig;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int rc = agent_start(a, err);
    if (rc != OK)
        return rc;
    sigwait(&set, &sig);
    agent_stop(a, STOP_MS);
    return OK;
}

static int run_once(struct agent *a, struct metrics *m, const char *url, struct err *err)
{
    struct gauge *queued = metrics_gauge(m, "carat_agent_queue_length", NULL, "");
    struct counter *delivered = metrics_counter(m, "carat_agent_points_total", NULL, "");
    while (atomic_load(&queued->value) == 0 && counter_get(delivered) == 0)
        agent_turn(a, TURN_MS);
    agent_ask_stop(a, ONCE_MS);
    while (agent_turn(a, TURN_MS))
        continue;
    return counter_get(delivered)
               ? OK
               : err_set(err, ERR_IO, "%.300s did not take the points; is it running?", url);
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct agent_command c = {.options = {.api_key = getenv("CARAT_API_KEY"), .metrics = metrics_new()}};
    struct agent *a = NULL;
    struct err err = ERR_INIT;
    int rc = read_options(&c, argc, argv, &err);
    if (rc == OK)
        rc = find_host_id(&c, &err);
    if (rc == OK)
        rc = agent_new(&c.options, &a, &err);
    int code = rc == ERR_INVALID ? CLI_USAGE : CLI_FAILED;
    if (rc == OK)
        rc = c.once ? run_once(a, c.options.metrics, c.options.url, &err) : run_on(a, &err);
    if (rc < 0)
        fprintf(io->err, "carat agent: %s\n", err.text);
    if (a)
        agent_free(a);
    metrics_free(c.options.metrics);
    return rc < 0 ? code : CLI_GOOD;
}

const struct command command_agent = {"agent", "post this machine's metrics to a server", usage, run};
