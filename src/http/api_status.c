#include "http/api_status.h"

#include <string.h>

static void reply_text(struct http_request *r, const char *type, const char *text)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, text);
    http_reply(r, 200, type, &b);
}

static void healthz(void *ctx, struct http_request *r)
{
    reply_text(r, "application/json", "{\"status\":\"ok\"}");
}

static void version(void *ctx, struct http_request *r)
{
    reply_text(r, "application/json", "{\"version\":\"" CARAT_VERSION "\"}");
}

static void readyz(void *ctx, struct http_request *r)
{
    const struct api_status *a = ctx;
    struct readiness_wait wait[READINESS_WAITS_MAX];
    struct buf b = BUF_INIT;
    size_t n = readiness_waiting(&a->readiness, wait, READINESS_WAITS_MAX);
    if (n == 0) {
        reply_text(r, "application/json", "{\"status\":\"ready\"}");
        return;
    }
    buf_puts(&b, "{\"status\":\"catching up\",\"waiting_for\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(&b, ',');
        buf_json_string(&b, wait[i].text, strlen(wait[i].text));
    }
    buf_puts(&b, "]}");
    http_reply(r, 503, "application/json", &b);
}

static void metrics_page(void *ctx, struct http_request *r)
{
    const struct api_status *a = ctx;
    struct buf b = BUF_INIT;
    metrics_render(a->metrics, &b);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

void api_status_routes(const struct api_status *a, struct http_server *s)
{
    void *ctx = (void *)(uintptr_t)a;
    http_server_route(s, "GET", "/healthz", healthz, ctx);
    http_server_route(s, "GET", "/readyz", readyz, ctx);
    http_server_route(s, "GET", "/metrics", metrics_page, ctx);
    http_server_route(s, "GET", "/version", version, ctx);
}
