#include "http/api_status.h"

#include <math.h>
#include <string.h>

/* Whose API it is that Carat answers (doc/graphite.md). */
#define GRAPHITE_VERSION "1.1.8"

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

/* Grafana asks this of its Graphite servers, and offers what that version has. */
static void version(void *ctx, struct http_request *r)
{
    http_reply_header(r, "X-Carat-Version", CARAT_VERSION);
    reply_text(r, "text/plain", GRAPHITE_VERSION);
}

/* How many things are waited for; they are appended as an array of strings. */
static size_t put_waits(const struct api_status *a, struct buf *b)
{
    struct readiness_wait wait[READINESS_WAITS_MAX];
    size_t n = readiness_waiting(&a->readiness, wait, READINESS_WAITS_MAX);
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(b, ',');
        buf_json_string(b, wait[i].text, strlen(wait[i].text));
    }
    buf_putc(b, ']');
    return n;
}

static void readyz(void *ctx, struct http_request *r)
{
    const struct api_status *a = ctx;
    struct buf b = BUF_INIT;
    buf_puts(&b, "{\"status\":\"catching up\",\"waiting_for\":");
    if (put_waits(a, &b) == 0) {
        buf_release(&b);
        reply_text(r, "application/json", "{\"status\":\"ready\"}");
        return;
    }
    buf_putc(&b, '}');
    http_reply(r, 503, "application/json", &b);
}

static void metrics_page(void *ctx, struct http_request *r)
{
    const struct api_status *a = ctx;
    struct buf b = BUF_INIT;
    metrics_render(a->metrics, &b);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

struct put_metric {
    struct buf *out;
    bool any;
};

/* "carat_x{door=\"udp\"}":12, a histogram as {"count":3,"sum":0.25} with the sum in seconds. */
static void put_metric(void *ctx, const struct metric_view *v)
{
    struct put_metric *p = ctx;
    if (!v->histogram && !isfinite(v->value))
        return;
    buf_puts(p->out, p->any ? ",\"" : "\"");
    p->any = true;
    buf_json_escaped(p->out, v->name, strlen(v->name));
    if (*v->labels) {
        buf_putc(p->out, '{');
        buf_json_escaped(p->out, v->labels, strlen(v->labels));
        buf_putc(p->out, '}');
    }
    buf_puts(p->out, "\":");
    if (!v->histogram) {
        buf_printf(p->out, "%.15g", v->value);
        return;
    }
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += atomic_load_explicit(&v->histogram->bucket[i], memory_order_relaxed);
    uint64_t sum_us = atomic_load_explicit(&v->histogram->sum_us, memory_order_relaxed);
    buf_printf(p->out, "{\"count\":%llu,\"sum\":%.15g}", (unsigned long long)count, (double)sum_us / 1e6);
}

static void status(void *ctx, struct http_request *r)
{
    const struct api_status *a = ctx;
    struct buf b = BUF_INIT;
    struct put_metric p = {&b, false};
    buf_printf(&b, "{\"version\":\"" CARAT_VERSION "\",\"time_ms\":%lld,\"waiting_for\":",
               (long long)clock_wall_ms(a->clock));
    bool ready = put_waits(a, &b) == 0;
    buf_printf(&b, ",\"ready\":%s,\"facts\":{", ready ? "true" : "false");
    for (size_t i = 0; i < a->nfacts; i++) {
        if (i)
            buf_putc(&b, ',');
        buf_json_string(&b, a->fact[i].name, strlen(a->fact[i].name));
        buf_putc(&b, ':');
        buf_json_string(&b, a->fact[i].value, strlen(a->fact[i].value));
    }
    buf_puts(&b, "},\"metrics\":{");
    metrics_each(a->metrics, put_metric, &p);
    buf_puts(&b, "}}");
    http_reply_header(r, "Cache-Control", "no-store");
    http_reply(r, 200, "application/json", &b);
}

void api_status_routes(const struct api_status *a, struct http_server *s)
{
    void *ctx = (void *)(uintptr_t)a;
    http_server_route(s, "GET", "/healthz", healthz, ctx);
    http_server_route(s, "GET", "/readyz", readyz, ctx);
    http_server_route(s, "GET", "/metrics", metrics_page, ctx);
    http_server_route(s, "GET", "/version", version, ctx);
    http_server_route(s, "GET", "/api/v1/status", status, ctx);
}
