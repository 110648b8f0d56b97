/* What an operator does with a running server (doc/jobs.md, doc/limits.md):
 *   POST   /api/v1/jobs       {"kind":"replay",...}: 202 and the job
 *   GET    /api/v1/jobs       {"jobs":[...]}, newest first
 *   GET    /api/v1/jobs/:id   the job
 *   DELETE /api/v1/jobs/:id   cancels it: 200 and the job
 *   GET    /api/v1/retention  whether stored data follows the retention rules in force
 *   GET    /api/v1/topology   all processes of the deployment (doc/roles.md)
 *   GET    /api/v1/cardinality?depth=2&top=20 */
#ifndef CARAT_HTTP_API_ADMIN_H
#define CARAT_HTTP_API_ADMIN_H

#include "base/clock.h"
#include "catalog/catalog.h"
#include "http/http.h"

struct api_admin {
    struct catalog *catalog; /* borrowed, as all here */
    struct clock *clock;
    /* What is done with jobs; texts are JSON. ERR_INVALID: 400, ERR_NOT_FOUND: 404, ERR_BUSY: 429, else 503.
     */
    int (*job_start)(void *ctx, const char *body, size_t n, uint64_t *id, struct err *err);
    int (*job_show)(void *ctx, uint64_t id, struct buf *json, struct err *err);
    int (*job_cancel)(void *ctx, uint64_t id, struct err *err);
    void (*job_list)(void *ctx, struct buf *json);
    void *jobs;
    void (*retention)(void *ctx, struct buf *json); /* NULL: there is no such page */
    void *retention_ctx;
    int (*topology)(void *ctx, struct buf *json, struct err *err); /* NULL: there is no such page */
    void *topology_ctx;
};

/* `a` is borrowed for the server's life. Before http_server_start. */
void api_admin_routes(const struct api_admin *a, struct http_server *s);

#endif
