/* Mackerel's API v0, as far as points go (doc/mackerel.md has shapes, statuses and what is left out):
 *   POST /api/v0/tsdb                          GET /api/v0/hosts/:id/metrics        ?name&from&to
 *   POST /api/v0/services/:service/tsdb        GET /api/v0/services/:service/metrics
 *   GET  /api/v0/tsdb/latest ?hostId&name      GET /api/v0/hosts/:id/metric-names
 *                                              GET /api/v0/services/:service/metric-names
 *
 * A post is all or nothing and is answered 200 only after its points are on stable storage. A read that
 * could not see everything is answered 503 with the reason: these clients look at the status and nothing
 * else, so a partial answer would pass for a whole one. */
#ifndef CARAT_HTTP_API_MACKEREL_H
#define CARAT_HTTP_API_MACKEREL_H

#include "base/clock.h"
#include "catalog/catalog.h"
#include "http/http.h"
#include "http/readiness.h"
#include "ingest/sink.h"
#include "reader/reader.h"

struct api_mackerel;

struct api_mackerel_options {
    struct sink *sink; /* borrowed, as all below */
    struct catalog *catalog;
    struct reader *reader;
    struct clock *clock;
    struct readiness readiness;
};

struct api_mackerel *api_mackerel_new(const struct api_mackerel_options *o);
/* Before http_server_start. */
void api_mackerel_routes(struct api_mackerel *a, struct http_server *s);
/* After the server stopped and before the sink is freed. */
void api_mackerel_free(struct api_mackerel *a);

#endif
