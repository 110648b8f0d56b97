/* GET /api/v1/cost?series&step&keep&warm&reads&window: what this server's data would cost a month as a
 * distributed deployment, with the built-in prices; JSON as `carat cost --json` (doc/cost.md). Series and
 * bytes a point are the server's own; what is not given otherwise is assumed as `carat cost` does. */
#ifndef CARAT_HTTP_API_COST_H
#define CARAT_HTTP_API_COST_H

#include "base/metrics.h"
#include "http/http.h"

/* `metrics` is borrowed for the server's life. Before http_server_start. */
void api_cost_routes(struct metrics *metrics, struct http_server *s);

#endif
