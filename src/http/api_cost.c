#include "http/api_cost.h"

#include "base/config.h"
#include "base/mem.h"
#include "cost/cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000.0

static void take_metric(void *ctx, const struct metric_view *v)
{
    struct cost_measured *m = ctx;
    const struct {
        const char *name;
        double *to;
    } wanted[] = {{"carat_catalog_series", &m->series},
                  {"carat_points_flushed_total", &m->flushed_points},
                  {"carat_warm_put_bytes_total", &m->warm_put_bytes},
                  {"carat_cold_points", &m->cold_points},
                  {"carat_cold_stored_bytes", &m->cold_stored_bytes}};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!v->histogram && !strcmp(v->name, wanted[i].name))
            *wanted[i].to += v->value;
}

static int take_number(const struct http_request *r, const char *name, double least, double *out,
                       struct err *err)
{
    const char *text = http_arg(r, name);
    char *end;
    if (!text || !*text)
        return OK;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || v < least)
        return err_set(err, ERR_INVALID, "%s=%.40s: expected a number from %g", name, text, least);
    *out = v;
    return OK;
}

static int take_duration(const struct http_request *r, const char *name, double unit_ms, double *out,
                         struct err *err)
{
    const char *text = http_arg(r, name);
    int64_t ms;
    if (!text || !*text)
        return OK;
    if (config_parse_duration(text, &ms) || ms < 1000)
        return err_set(err, ERR_INVALID, "%s=%.40s: expected a duration such as 60s, 4h or 30d", name, text);
    *out = (double)ms / unit_ms;
    return OK;
}

static int take_load(const struct http_request *r, struct cost_load *l, double *window_s, struct err *err)
{
    int rc = take_number(r, "series", 1, &l->series, err);
    if (rc == OK)
        rc = take_duration(r, "step", 1000, &l->step_s, err);
    if (rc == OK)
        rc = take_duration(r, "keep", DAY_MS, &l->keep_days, err);
    if (rc == OK)
        rc = take_duration(r, "warm", DAY_MS, &l->warm_days, err);
    if (rc == OK)
        rc = take_number(r, "reads", 0, &l->reads_per_s, err);
    if (rc == OK)
        rc = take_duration(r, "window", 1000, window_s, err);
    l->warm_days = fmin(l->warm_days, l->keep_days);
    return rc;
}

static void get_cost(void *ctx, struct http_request *r)
{
    struct cost_load l = cost_load_default();
    struct cost_measured m = {0};
    struct err err = ERR_INIT;
    struct prices p;
    struct cost cost;
    double window_s = 0;
    metrics_each(ctx, take_metric, &m);
    bool measured = cost_measure(&m, &l);
    if (take_load(r, &l, &window_s, &err) != OK) {
        http_reply_error(r, 400, "%s", err.text);
        return;
    }
    if (prices_parse(prices_default_text, "the built-in prices", &p, &err) != OK) {
        http_reply_error(r, 500, "%s", err.text);
        return;
    }
    if (window_s > 0) {
        l.window_points = fmax(floor(window_s / l.step_s), 1);
        cost_of(&l, &p, &cost);
    } else {
        cost_best_window(&l, &p, &l.window_points, &cost);
    }
    struct buf b = BUF_INIT;
    cost_json(&l, measured, &p, &cost, &b);
    http_reply_header(r, "Cache-Control", "no-store");
    http_reply(r, 200, "application/json", &b);
}

void api_cost_routes(struct metrics *metrics, struct http_server *s)
{
    http_server_route(s, "GET", "/api/v1/cost", get_cost, metrics);
}
