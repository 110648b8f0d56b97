#include "http/api_dashboards.h"

#include <stdio.h>
#include <string.h>

static void reply_err(struct http_request *r, const struct err *err)
{
    unsigned status = err->code == ERR_INVALID     ? 400
                      : err->code == ERR_NOT_FOUND ? 404
                      : err->code == ERR_LOCKED    ? 412
                      : err->code == ERR_LIMIT     ? 409
                                                   : 500;
    http_reply_error(r, status, "%s", err->text);
}

static void reply_tag(struct http_request *r, const char *tag)
{
    char quoted[DASHBOARD_TAG_SIZE + 2];
    snprintf(quoted, sizeof quoted, "\"%s\"", tag);
    http_reply_header(r, "ETag", quoted);
    http_reply_header(r, "Cache-Control", "no-cache");
}

static void list(void *ctx, struct http_request *r)
{
    struct buf b = BUF_INIT;
    dashboards_list(ctx, &b);
    http_reply_header(r, "Cache-Control", "no-cache");
    http_reply(r, 200, "application/json", &b);
}

static void get(void *ctx, struct http_request *r)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    char tag[DASHBOARD_TAG_SIZE];
    if (dashboards_get(ctx, http_path_var(r, 0), &b, tag, &err) != OK) {
        reply_err(r, &err);
        return;
    }
    reply_tag(r, tag);
    http_reply(r, 200, "application/json", &b);
}

/* The tag that the client expects, into `out`; NULL: it expects nothing. */
static const char *expected_tag(const struct http_request *r, char out[DASHBOARD_TAG_SIZE])
{
    const char *match = http_header(r, "If-Match"), *none = http_header(r, "If-None-Match");
    if (match)
        snprintf(out, DASHBOARD_TAG_SIZE, "%.*s", (int)strcspn(match + (*match == '"'), "\""),
                 match + (*match == '"'));
    else if (none && !strcmp(none, "*"))
        *out = '\0';
    else
        return NULL;
    return out;
}

static void put(void *ctx, struct http_request *r)
{
    struct err err = ERR_INIT;
    char tag[DASHBOARD_TAG_SIZE], expected[DASHBOARD_TAG_SIZE];
    size_t n;
    const char *body = (const char *)http_body(r, &n);
    if (dashboards_put(ctx, http_path_var(r, 0), body, n, expected_tag(r, expected), tag, &err) != OK) {
        reply_err(r, &err);
        return;
    }
    reply_tag(r, tag);
    http_reply(r, 204, NULL, NULL);
}

static void remove_it(void *ctx, struct http_request *r)
{
    struct err err = ERR_INIT;
    if (dashboards_delete(ctx, http_path_var(r, 0), &err) == OK)
        http_reply(r, 204, NULL, NULL);
    else
        reply_err(r, &err);
}

void api_dashboards_routes(struct dashboards *d, struct http_server *s)
{
    http_server_route(s, "GET", "/api/v1/dashboards", list, d);
    http_server_route(s, "GET", "/api/v1/dashboards/:id", get, d);
    http_server_route(s, "PUT", "/api/v1/dashboards/:id", put, d);
    http_server_route(s, "DELETE", "/api/v1/dashboards/:id", remove_it, d);
}
