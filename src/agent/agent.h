/* The agent: this machine's metrics, every minute, posted to a Mackerel API (ours or another).
 *
 * It has a thread of its own, on which curl's transfers run as well; a server that is slow or away never
 * delays the next collection. What cannot be posted waits in memory for up to six hours (schedule.h), and
 * what is lost after that is counted: carat_agent_points_lost_total{reason=...}. */
#ifndef CARAT_AGENT_AGENT_H
#define CARAT_AGENT_AGENT_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"

#include <stdbool.h>

struct agent;

struct agent_options {
    const char *url;      /* "http://127.0.0.1:8012": /api/v0/tsdb is appended; copied, as all text here */
    const char *api_key;  /* X-Api-Key; NULL: none */
    const char *host_id;  /* host_id.h finds a lasting one */
    bool direct;          /* ignore http_proxy and the like in the environment: for our own address */
    const char *proc_dir; /* NULL: "/proc" */
    struct clock *clock;  /* NULL: the system's */
    struct metrics *metrics;
};

/* ERR_INVALID names the setting (agent.url, agent.host_id, agent.api_key). */
int agent_new(const struct agent_options *o, struct agent **out, struct err *err) must_check;
int agent_start(struct agent *a, struct err *err) must_check;
/* Posts what is queued, a post a second, for at most timeout_ms; what is left then is counted as lost. */
void agent_stop(struct agent *a, int timeout_ms);
void agent_free(struct agent *a); /* stops it first, without waiting, if it runs */

/* One turn of the thread's loop, for tests that drive a clock themselves instead of agent_start: collects and
 * posts what is due and waits for at most max_wait_ms. False: stopped, and nothing is left to do. */
bool agent_turn(struct agent *a, int max_wait_ms);
/* What agent_stop asks of the loop, without waiting for it. */
void agent_ask_stop(struct agent *a, int timeout_ms);

#endif
