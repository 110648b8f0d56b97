#include "http/api_admin.h"

#include "http/cardinality.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CARDINALITY_MS       2000
#define CARDINALITY_PREFIXES 1000000

static void reply_err(struct http_request *r, const struct err *err)
{
    switch (err->code) {
    case ERR_INVALID:
        http_reply_error(r, 400, "%s", err->text);
        break;
    case ERR_NOT_FOUND:
        http_reply_error(r, 404, "%s", err->text);
        break;
    case ERR_BUSY:
        http_reply_header(r, "Retry-After", "60");
        http_reply_error(r, 429, "%s", err->text);
        break;
    default:
        http_reply_header(r, "Retry-After", "60");
        http_reply_error(r, 503, "%s", err->text);
    }
}

static void reply_job(const struct api_admin *a, struct http_request *r, unsigned status, uint64_t id)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    if (a->job_show(a->jobs, id, &b, &err) == OK)
        http_reply(r, status, "application/json", &b);
    else
        reply_err(r, &err);
}

/* A page in a browser can post forms and text to any server it can reach, but JSON only where it is allowed
 * to. */
static bool is_json(const struct http_request *r)
{
    static const char json[] = "application/json";
    const char *type = http_header(r, "Content-Type");
    size_t n = strlen(json);
    return type && !strncasecmp(type, json, n) && (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static void post_job(void *ctx, struct http_request *r)
{
    const struct api_admin *a = ctx;
    struct err err = ERR_INIT;
    uint64_t id;
    size_t n;
    const uint8_t *body = http_body(r, &n);
    if (!is_json(r))
        http_reply_error(r, 415, "Content-Type: application/json is expected");
    else if (a->job_start(a->jobs, (const char *)body, n, &id, &err) == OK)
        reply_job(a, r, 202, id);
    else
        reply_err(r, &err);
}

static void get_jobs(void *ctx, struct http_request *r)
{
    const struct api_admin *a = ctx;
    struct buf b = BUF_INIT;
    a->job_list(a->jobs, &b);
    http_reply(r, 200, "application/json", &b);
}

/* 0 is no job. */
static uint64_t parse_id(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long id = strtoull(text, &end, 10);
    return *text < '0' || *text > '9' || *end || errno ? 0 : id;
}

static void get_job(void *ctx, struct http_request *r)
{
    reply_job(ctx, r, 200, parse_id(http_path_var(r, 0)));
}

static void delete_job(void *ctx, struct http_request *r)
{
    const struct api_admin *a = ctx;
    struct err err = ERR_INIT;
    uint64_t id = parse_id(http_path_var(r, 0));
    if (a->job_cancel(a->jobs, id, &err) == OK)
        reply_job(a, r, 200, id);
    else
        reply_err(r, &err);
}

/* The argument as a number of 1..max; 0 if it is none. */
static unsigned number_arg(const struct http_request *r, const char *name, unsigned by_default, unsigned max)
{
    const char *text = http_arg(r, name);
    uint64_t n = text ? parse_id(text) : by_default;
    return n <= max ? (unsigned)n : 0;
}

static void get_topology(void *ctx, struct http_request *r)
{
    const struct api_admin *a = ctx;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    if (a->topology(a->topology_ctx, &b, &err) == OK) {
        http_reply(r, 200, "application/json", &b);
        return;
    }
    buf_release(&b);
    reply_err(r, &err);
}

static void get_cardinality(void *ctx, struct http_request *r)
{
    const struct api_admin *a = ctx;
    struct buf b = BUF_INIT;
    struct cardinality_options o = {.depth = number_arg(r, "depth", 2, CARDINALITY_DEPTH_MAX),
                                    .top = number_arg(r, "top", 20, CARDINALITY_TOP_MAX),
                                    .max_ms = CARDINALITY_MS,
                                    .max_prefixes = CARDINALITY_PREFIXES};
    if (!o.depth || !o.top) {
        http_reply_error(r, 400, "depth is a number from 1 to %d, top one from 1 to %d",
                         CARDINALITY_DEPTH_MAX, CARDINALITY_TOP_MAX);
        return;
    }
    cardinality_json(a->catalog, a->clock, &o, &b);
    http_reply(r, 200, "application/json", &b);
}

static void get_retention(void *ctx, struct http_request *r)
{
    const struct api_admin *a = ctx;
    struct buf b = BUF_INIT;
    a->retention(a->retention_ctx, &b);
    http_reply(r, 200, "application/json", &b);
}

void api_admin_routes(const struct api_admin *a, struct http_server *s)
{
    void *ctx = (void *)(uintptr_t)a;
    http_server_route(s, "POST", "/api/v1/jobs", post_job, ctx);
    http_server_route(s, "GET", "/api/v1/jobs", get_jobs, ctx);
    http_server_route(s, "GET", "/api/v1/jobs/:id", get_job, ctx);
    http_server_route(s, "DELETE", "/api/v1/jobs/:id", delete_job, ctx);
    if (a->topology)
        http_server_route(s, "GET", "/api/v1/topology", get_topology, ctx);
    http_server_route(s, "GET", "/api/v1/cardinality", get_cardinality, ctx);
    if (a->retention)
        http_server_route(s, "GET", "/api/v1/retention", get_retention, ctx);
}
