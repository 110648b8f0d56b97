/* The table of paths: which handler answers which method and path. Filled before the server starts, then
 * only read. */
#ifndef CARAT_HTTP_ROUTE_H
#define CARAT_HTTP_ROUTE_H

#include "base/buf.h"
#include "http/http.h"
#include "http/url.h"

struct route {
    struct route *next;
    char *method;
    char *text; /* the levels point into it */
    struct url_path pattern;
    uint32_t vars; /* bit 31 - i: level i is a ':' level; the smaller number is the more exact pattern */
    http_handler_fn fn;
    void *ctx;
};

struct route_table {
    struct route *first;
};

void route_add(struct route_table *t, const char *method, const char *pattern, http_handler_fn fn, void *ctx);
void route_table_release(struct route_table *t);

/* The route for this method and path; where several patterns match, the one whose first differing level is
 * literal. HEAD falls back to GET. NULL: `allow` has the methods the path is known for ("GET, HEAD, POST"),
 * empty if none. */
const struct route *route_find(const struct route_table *t, const char *method, const struct url_path *path,
                               struct buf *allow);

#endif
