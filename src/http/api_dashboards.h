/* The dashboards of the pages (doc/ui.md):
 *   GET    /api/v1/dashboards       {"dashboards":[{"id","title","panels"},...]}
 *   GET    /api/v1/dashboards/:id   the dashboard, with an ETag
 *   PUT    /api/v1/dashboards/:id   makes or replaces it: 204. With If-Match: 412 if it changed meanwhile;
 * with If-None-Match: * 412 if it is there DELETE /api/v1/dashboards/:id   204 */
#ifndef CARAT_HTTP_API_DASHBOARDS_H
#define CARAT_HTTP_API_DASHBOARDS_H

#include "http/dashboards.h"
#include "http/http.h"

/* `d` is borrowed for the server's life. Before http_server_start. */
void api_dashboards_routes(struct dashboards *d, struct http_server *s);

#endif
