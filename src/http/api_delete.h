/* Deletion over HTTP (doc/deletion.md):
 *   POST /api/v1/delete   {"series":"servers.web-1.**","from":...,"to":...,"dryRun":...}: 200 and what was
 * done POST /tags/delSeries  path=NAME&path=NAME: 200 and true, as graphite-web Both answer when the deletion
 * is on stable storage. That takes longer than a handler may: requests wait in a bounded queue for a thread
 * of their own; one more is answered 503 with Retry-After. */
#ifndef CARAT_HTTP_API_DELETE_H
#define CARAT_HTTP_API_DELETE_H

#include "http/http.h"

struct api_delete;

struct api_delete_options {
    /* ERR_INVALID: 400, ERR_NOT_FOUND: 404, ERR_BUSY: 429, ERR_UNSUPPORTED: 501, else 503. */
    int (*request)(void *ctx, const char *body, size_t n, struct buf *json, struct err *err);
    int (*names)(void *ctx, const char *const *names, size_t n, struct err *err);
    void *ctx;
};

int api_delete_new(const struct api_delete_options *o, struct api_delete **out, struct err *err) must_check;
/* Before http_server_start. */
void api_delete_routes(struct api_delete *a, struct http_server *s);
/* Before http_server_stop: what waits is answered 503, and so is what comes later. */
void api_delete_stop(struct api_delete *a);
void api_delete_free(struct api_delete *a); /* stops it; NULL is fine */

#endif
