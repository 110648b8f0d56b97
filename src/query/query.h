/* Queries: Graphite target expressions over the reader.
 *
 * query_run parses and evaluates targets for a time range and leaves series to be formatted. A query has
 * limits; the error names the one it hit. Nothing is shared between queries: any number at once. */
#ifndef CARAT_QUERY_QUERY_H
#define CARAT_QUERY_QUERY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "catalog/catalog.h"
#include "reader/reader.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct query_limits {
    size_t max_series; /* looked up in one query; 0: 100,000 */
    size_t max_points; /* fetched in one query; 0: 50 million */
    int64_t max_ms;    /* 0: 60 s */
};

struct query_env {
    struct catalog *catalog;
    struct reader *reader;
    struct query_limits limits;
};

/* Times are milliseconds. from_ms < until_ms. */
struct query_request {
    const char *const *targets;
    size_t ntargets;
    int64_t from_ms, until_ms, now_ms;
    size_t max_data_points; /* 0: all */
};

/* One line of the answer. values[i] is at start_ms + i * step_ms; missing slots are column_missing(). */
struct query_series {
    char *name;
    int64_t start_ms, step_ms;
    size_t n;
    double *values;
};

struct query_result {
    struct query_series *series; /* in answer order */
    size_t n;
    struct read_report report;
    struct arena arena; /* owns everything above */
};

/* ERR_INVALID: the expression is wrong; the text has the expression's part and a position.
 * ERR_LIMIT: names the limit. The result is empty then and needs no release. */
int query_run(const struct query_env *env, const struct query_request *q, struct query_result *out,
              struct err *err) must_check;
void query_result_release(struct query_result *r);

/* Graphite's time forms (https://graphite.readthedocs.io/en/latest/render_api.html#from-until): epoch
 * seconds, now, -1h, now-2d, 14:30_20261122, 20261122, midnight, noon, today, yesterday, ... in UTC. */
int query_parse_time(const char *text, int64_t now_ms, int64_t *out_ms, struct err *err) must_check;

/* [{"target":"...","datapoints":[[1.5,1763800000],[null,...]],"tags":{...}},...] as graphite-web writes it.
 * Numbers are the shortest decimals that read back to the same double. */
void query_format_json(const struct query_result *r, struct buf *out);

/* Shortest round-trip decimal of a finite double, without exponent where graphite-web's JSON has none;
 * returns the length (<= 32). */
size_t query_format_double(double v, char out[32]);

#endif
