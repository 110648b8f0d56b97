/* What operators and their tools ask a server about itself (doc/http.md):
 *   GET /healthz   200 {"status":"ok"} as long as the process answers at all
 *   GET /readyz    200 {"status":"ready"}, or 503 {"status":"catching up","waiting_for":["...",...]}
 *   GET /metrics   all metrics as Prometheus text, version 0.0.4
 *   GET /version   200 1.1.8, the Graphite whose API this is; Carat's own in the header X-Carat-Version
 *   GET /api/v1/status   all of that in one piece of JSON, for the pages: {"version","time_ms","ready",
 *                        "waiting_for":[...],"facts":{...},"metrics":{...}} */
#ifndef CARAT_HTTP_API_STATUS_H
#define CARAT_HTTP_API_STATUS_H

#include "base/clock.h"
#include "base/metrics.h"
#include "http/http.h"
#include "http/readiness.h"

#define API_STATUS_FACTS_MAX 16

/* What does not change while the server runs: its name, its roles, the backends of its tiers. */
struct api_status_fact {
    const char *name, *value; /* borrowed */
};

struct api_status {
    struct metrics *metrics;
    struct clock *clock;
    struct readiness readiness;
    struct api_status_fact fact[API_STATUS_FACTS_MAX];
    size_t nfacts;
};

/* `a` is borrowed for the server's life. Before http_server_start. */
void api_status_routes(const struct api_status *a, struct http_server *s);

#endif
