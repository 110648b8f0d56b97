/* carat cost: what a deployment on cloud services would cost a month. */
#include "cli/command.h"

#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"
#include "cli/fetch.h"
#include "cli/job.h"
#include "cli/options.h"
#include "cost/cost.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS     86400000.0
#define PRICES_MAX 65536

static const char usage[] =
    "usage: carat cost [--url URL] [--series N] [--step DURATION] [--keep DURATION] [--warm DURATION]\n"
    "                  [--window DURATION] [--reads N] [--read-span DURATION] [--bytes-per-point X]\n"
    "                  [--prices FILE] [--json]\n"
    "       carat cost --print-prices\n"
    "\n"
    "The monthly cost of a deployment on Kinesis, Redis, DynamoDB and S3, tier by tier, and the window "
    "length\n"
    "with the smallest bill. With --url the number of series and the bytes a point are those of a running\n"
    "server; options on the command line win.\n"
    "\n"
    "  -u, --url URL             take series and bytes a point from this server\n"
    "      --series N            series (default 1000000)\n"
    "      --step DURATION       time between two points (60s)\n"
    "      --keep DURATION       retention (460d)\n"
    "      --warm DURATION       of it in DynamoDB, the rest is in S3 (30d)\n"
    "      --window DURATION     points of one item; default: the best one\n"
    "      --reads N             series read a second (10)\n"
    "      --read-span DURATION  how far back such a read goes (1d)\n"
    "      --bytes-per-point X   of encoded blocks in both tiers (1.8 warm, 1.6 cold)\n"
    "      --prices FILE         prices of your own; --print-prices prints those built in\n"
    "      --json                as JSON\n";

enum {
    OPT_URL = 2,
    OPT_SERIES,
    OPT_STEP,
    OPT_KEEP,
    OPT_WARM,
    OPT_WINDOW,
    OPT_READS,
    OPT_SPAN,
    OPT_BYTES,
    OPT_PRICES,
    OPT_PRINT,
    OPT_JSON
};
static const struct option_spec specs[] = {
    {"url", 'u', true, OPT_URL},
    {"series", 0, true, OPT_SERIES},
    {"step", 0, true, OPT_STEP},
    {"keep", 0, true, OPT_KEEP},
    {"warm", 0, true, OPT_WARM},
    {"window", 0, true, OPT_WINDOW},
    {"reads", 0, true, OPT_READS},
    {"read-span", 0, true, OPT_SPAN},
    {"bytes-per-point", 0, true, OPT_BYTES},
    {"prices", 0, true, OPT_PRICES},
    {"print-prices", 0, false, OPT_PRINT},
    {"json", 0, false, OPT_JSON},
    {NULL, 0, false, 0},
};

struct cost_command {
    const char *url, *prices;
    bool print, json, window_given, series_given, bytes_given;
    double window_s;
    struct cost_load load;
    bool measured; /* bytes a point are the server's */
};

static int take_number(const char *name, const char *text, double least, double *out, struct err *err)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || v < least)
        return err_set(err, ERR_INVALID, "--%s %.40s: expected a number from %g", name, text, least);
    *out = v;
    return OK;
}

static int take_duration(const char *name, const char *text, double unit_ms, double *out, struct err *err)
{
    int64_t ms;
    if (config_parse_duration(text, &ms) || ms < 1000)
        return err_set(err, ERR_INVALID, "--%s %.40s: expected a duration such as 60s, 4h or 30d", name,
                       text);
    *out = (double)ms / unit_ms;
    return OK;
}

static int take_option(struct cost_command *c, int id, const char *value, struct err *err)
{
    struct cost_load *l = &c->load;
    int rc;
    switch (id) {
    case OPT_URL:
        c->url = value;
        return OK;
    case OPT_SERIES:
        c->series_given = true;
        return take_number("series", value, 1, &l->series, err);
    case OPT_STEP:
        return take_duration("step", value, 1000, &l->step_s, err);
    case OPT_KEEP:
        return take_duration("keep", value, DAY_MS, &l->keep_days, err);
    case OPT_WARM:
        return take_duration("warm", value, DAY_MS, &l->warm_days, err);
    case OPT_WINDOW:
        c->window_given = true;
        return take_duration("window", value, 1000, &c->window_s, err);
    case OPT_READS:
        return take_number("reads", value, 0, &l->reads_per_s, err);
    case OPT_SPAN:
        return take_duration("read-span", value, DAY_MS, &l->read_days, err);
    case OPT_BYTES:
        c->bytes_given = true;
        rc = take_number("bytes-per-point", value, 0.001, &l->warm_bytes_point, err);
        l->cold_bytes_point = l->warm_bytes_point;
        return rc;
    case OPT_PRICES:
        c->prices = value;
        return OK;
    case OPT_PRINT:
        c->print = true;
        return OK;
    case OPT_JSON:
        c->json = true;
        return OK;
    default:
        return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
    }
}

static int parse(struct cost_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    int id;
    while ((id = options_next(&o, &value, err)) > 0) {
        int rc = take_option(c, id, value, err);
        if (rc != OK)
            return rc;
    }
    if (id == OPTIONS_END && c->load.warm_days > c->load.keep_days)
        c->load.warm_days = c->load.keep_days;
    return id;
}

/* A metric of a /metrics page, summed over its labels; 0 if it is not there. */
static double metric(const char *page, const char *name)
{
    double sum = 0;
    size_t len = strlen(name);
    for (const char *line = page; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *space = strncmp(line, name, len) == 0 && (line[len] == ' ' || line[len] == '{')
                                ? strchr(line, ' ')
                                : NULL;
        sum += space ? strtod(space, NULL) : 0;
    }
    return sum;
}

static int measure(struct cost_command *c, struct err *err)
{
    struct buf url = BUF_INIT;
    struct fetched got = {0, BUF_INIT, BUF_INIT};
    job_url(c->url, "/metrics", &url);
    int rc = fetch_get(buf_str(&url), &got, err);
    if (rc == OK) {
        const char *page = buf_str(&got.body);
        const struct cost_measured m = {
            .series = c->series_given ? 0 : metric(page, "carat_catalog_series"),
            .flushed_points = c->bytes_given ? 0 : metric(page, "carat_points_flushed_total"),
            .warm_put_bytes = metric(page, "carat_warm_put_bytes_total"),
            .cold_points = c->bytes_given ? 0 : metric(page, "carat_cold_points"),
            .cold_stored_bytes = metric(page, "carat_cold_stored_bytes"),
        };
        c->measured = cost_measure(&m, &c->load);
    }
    fetched_release(&got);
    buf_release(&url);
    return rc;
}

static int read_prices(const struct cost_command *c, struct prices *out, struct err *err)
{
    static char text[PRICES_MAX];
    if (!c->prices)
        return prices_parse(prices_default_text, "the built-in prices", out, err);
    FILE *f = fopen(c->prices, "re");
    if (!f)
        return err_sys(err, ERR_IO, errno, "read %s", c->prices);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return prices_parse(text, c->prices, out, err);
}

/* 1234567 as "1.2 M" and so on. */
static const char *human(double v, const char *unit, char out[32])
{
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P"};
    size_t i = 0;
    for (; v >= 999.95 && i < 5; i++)
        v /= 1000;
    snprintf(out, 32, v < 10 && i ? "%.1f %s%s" : "%.0f %s%s", v, prefix[i], unit);
    return out;
}

static void print_text(const struct cli_io *io, const struct cost_command *c, const struct prices *p,
                       const struct cost *cost)
{
    char a[32], b[32];
    const struct cost_load *l = &c->load;
    fprintf(io->out,
            "%s series every %.0f s, kept %.0f d (%.0f d warm); %.2f B a point warm, %.2f cold (%s)\n",
            human(l->series, "", a), l->step_s, l->keep_days, l->warm_days, l->warm_bytes_point,
            l->cold_bytes_point, c->measured ? "measured" : "assumed");
    fprintf(io->out, "prices of %s in %s: check them; windows of %.0f points (%s)\n\n", p->date, p->currency,
            l->window_points, c->window_given ? "as asked" : "the cheapest");
    fprintf(io->out, "  %-18s %10s  %s\n", "tier", "a month", "what for");
    fprintf(io->out, "  %-18s %10.2f  %.0f shards, %s units of 25 KB\n", "stream (Kinesis)", cost->stream,
            cost->shards, human(cost->put_units_month, "", a));
    fprintf(io->out, "  %-18s %10.2f  %s in %.0f copies\n", "hot (Redis)", cost->hot,
            human(cost->hot_bytes, "B", a), l->replicas);
    fprintf(io->out,
            "  %-18s %10.2f  writes %.2f (%s units, %.0f points each), storage %.2f (%s), reads %.2f\n",
            "warm (DynamoDB)", cost->warm_writes + cost->warm_storage + cost->warm_reads, cost->warm_writes,
            human(cost->write_units_month, "", a), cost->points_month / cost->write_units_month,
            cost->warm_storage, human(cost->warm_bytes, "B", b), cost->warm_reads);
    fprintf(io->out, "  %-18s %10.2f  storage %.2f (%s), requests %.2f\n", "cold (S3)",
            cost->cold_storage + cost->cold_requests, cost->cold_storage, human(cost->cold_bytes, "B", a),
            cost->cold_requests);
    fprintf(io->out, "  %-18s %10.2f\n\n", "all", cost->total);
    fprintf(io->out, "on one machine instead: %.2f for its disk\n", cost->embedded_disk);
}

static void print_windows(const struct cli_io *io, const struct cost_command *c, const struct prices *p)
{
    fprintf(io->out, "\n  %8s %12s %10s %10s %10s\n", "window", "points/item", "hot", "warm", "all");
    for (const double *h = cost_windows_h; *h; h++) {
        struct cost_load l = c->load;
        struct cost cost;
        l.window_points = *h * 3600 / l.step_s;
        if (l.window_points < 1)
            continue;
        cost_of(&l, p, &cost);
        fprintf(io->out, "  %6.0f h %12.0f %10.2f %10.2f %10.2f%s\n", *h, l.window_points, cost.hot,
                cost.warm_writes + cost.warm_storage + cost.warm_reads, cost.total,
                l.window_points == c->load.window_points ? "  <" : "");
    }
}

static int answer(const struct cli_io *io, struct cost_command *c, struct err *err)
{
    struct prices p;
    struct cost cost;
    int rc = read_prices(c, &p, err);
    if (rc == OK && c->url)
        rc = measure(c, err);
    if (rc != OK)
        return rc;
    if (c->window_given) {
        c->load.window_points = fmax(floor(c->window_s / c->load.step_s), 1);
        cost_of(&c->load, &p, &cost);
    } else {
        cost_best_window(&c->load, &p, &c->load.window_points, &cost);
    }
    if (c->json) {
        struct buf b = BUF_INIT;
        cost_json(&c->load, c->measured, &p, &cost, &b);
        fprintf(io->out, "%s\n", buf_str(&b));
        buf_release(&b);
        return OK;
    }
    print_text(io, c, &p, &cost);
    print_windows(io, c, &p);
    return OK;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct cost_command c = {.load = cost_load_default()};
    struct err err = ERR_INIT;
    if (parse(&c, argc, argv, &err) != OK) {
        fprintf(io->err, "carat cost: %s\n", err.text);
        return CLI_USAGE;
    }
    if (c.print) {
        fputs(prices_default_text, io->out);
        return CLI_GOOD;
    }
    if (answer(io, &c, &err) != OK) {
        fprintf(io->err, "carat cost: %s\n", err.text);
        return CLI_FAILED;
    }
    return CLI_GOOD;
}

const struct command command_cost = {"cost", "what a deployment on cloud services costs a month", usage, run};
