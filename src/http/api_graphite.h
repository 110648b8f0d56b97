/* Graphite's read API over HTTP: /render, /metrics/find, /metrics/expand, /metrics/index.json, /tags...,
 * /functions (doc/graphite.md). Queries run on threads of their own, so that a long one does not hold up the
 * doors; those that wait are bounded, one more is answered 503 with Retry-After.
 *
 * An answer that could not see everything is a 503, or with partial=1 a 200 with the header
 * "X-Carat-Incomplete: <why>". */
#ifndef CARAT_HTTP_API_GRAPHITE_H
#define CARAT_HTTP_API_GRAPHITE_H

#include "base/clock.h"
#include "base/metrics.h"
#include "http/http.h"
#include "http/readiness.h"
#include "query/query.h"

struct api_graphite;

struct api_graphite_options {
    struct query_source *source; /* borrowed, as all below */
    struct query_limits limits;
    unsigned threads;     /* 0: 2 */
    unsigned helpers;     /* more, which read for queries over many series beside their own threads */
    unsigned max_waiting; /* 0: 256 */
    struct clock *clock;
    struct metrics *metrics;
    struct readiness readiness;
};

int api_graphite_new(const struct api_graphite_options *o, struct api_graphite **out,
                     struct err *err) must_check;
/* Before http_server_start. */
void api_graphite_routes(struct api_graphite *a, struct http_server *s);
/* Before http_server_stop: answers what waits with 503 and lets finish what runs; later requests get 503,
 * too. */
void api_graphite_stop(struct api_graphite *a);
/* After the server stopped. */
void api_graphite_free(struct api_graphite *a);

#endif
