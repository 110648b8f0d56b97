/* Queries: Graphite target expressions over a source of series.
 *
 * query_run parses and evaluates targets for a time range and leaves series to be formatted (format.h). The
 * language, the functions and their oddities are those of graphite-web 1.1.8. A query has limits; the error
 * names the one it hit. Nothing is shared between queries: any number at once, each on one thread. */
#ifndef CARAT_QUERY_QUERY_H
#define CARAT_QUERY_QUERY_H

#include "base/arena.h"
#include "base/err.h"
#include "model/column.h"
#include "query/source.h"
#include "query/zone.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUERY_MAX_BYTES ((size_t)1 << 30)
struct query_limits {
    size_t max_series; /* looked up in one query; 0: 100,000 */
    size_t max_points; /* fetched and computed in one query; 0: 50 million */
    int64_t max_ms;    /* 0: 60 s */
    size_t max_bytes;  /* memory of one query and of its answer; 0: QUERY_MAX_BYTES */
    /* Where max_points of a request allows it, series of more points than this in the time range are read
     * from coarse archives; 0: never. */
    size_t coarse_from;
};

struct pool;
struct spare;

struct query_env {
    struct query_source *source; /* borrowed */
    struct query_limits limits;
    struct pool *helpers; /* borrowed; read beside the query's own thread; may be NULL */
    struct spare *spare;  /* borrowed; for the text of answers; may be NULL */
    /* Whether nobody waits for the answer any more; once true it stays so. Cheap, any thread; may be NULL. */
    bool (*cancelled)(void *ctx);
    void *cancel_ctx;
};

/* A value for $name in template(); overrides the template's own. */
struct query_variable {
    const char *name, *value;
};

/* Times are seconds since the epoch. from_s <= until_s. */
struct query_request {
    const char *const *targets;
    size_t ntargets;
    int64_t from_s, until_s;
    int64_t now_s;   /* nothing after it is read; what relative times of the request are relative to */
    int64_t clock_s; /* what relative times in targets are relative to; 0: now_s */
    const struct query_zone *zone; /* NULL: UTC */
    double x_files_factor;
    const struct query_variable *variables;
    size_t nvariables;
    /* The answer will be put together to so many points a series (format.h); 0: it will not. */
    int64_t max_points;
    bool meta; /* fill in `reads` of the series */
};

struct query_tag {
    const char *name, *value;
};
/* Names are unique; order of first setting. Several series may share one. */
struct query_tags {
    struct query_tag *v;
    size_t n, cap;
};

/* Where values came from: one entry for each step. */
struct query_read {
    int64_t from_s, until_s; /* the time that was read, of all series together */
    uint32_t step_ms;        /* of the archive */
    unsigned tiers;          /* READ_... */
    size_t series;
};
struct query_reads {
    struct query_read *v; /* by time, then step */
    size_t n, cap;
};

/* One line of an answer. values[i] is at start_s + i * step_s; missing slots are column_missing(). end_s is
 * what graphite-web calls the series' end: mostly start + n * step, but some functions leave it as it was. */
struct query_series {
    const char *name;
    const char *name_json;       /* alias(x, 5) names a series 5, not "5": the bare JSON literal, else NULL */
    const char *path_expression; /* what aggregates are named by */
    const char *consolidation;   /* "average", "sum", ... as given by the user: may be no such thing */
    const char *text;            /* constantLine("x") has the text as every value, else NULL */
    int64_t start_s, end_s, step_s;
    bool integers;            /* values are Python ints there: names show 1, not 1.0 */
    int64_t values_per_point; /* the consolidation in force; 1: none */
    double x_files_factor;
    struct query_tags *tags;
    size_t n;
    double *values;
    /* Values from a coarse archive: how many points each was made of and, where the consolidation is average,
     * their sum. NULL: a value is a point. */
    const double *sums, *counts;
    double points_per_value;         /* how many there could be */
    const struct query_reads *reads; /* what its target has read; NULL if not asked for */
    struct loaded *deferred;         /* not read yet (fetch.h); NULL in an answer */
};

struct query_result {
    struct query_series **series; /* in answer order */
    size_t n;
    struct read_report report;
    struct arena arena; /* owns everything above */
};

/* ERR_INVALID: the expression or an argument is wrong; the text shows the part with a caret under it.
 * ERR_LIMIT: names the limit. ERR_CLOSED: cancelled. Other codes: the source failed. After an error `out` is
 * empty and needs no release. */
int query_run(const struct query_env *env, const struct query_request *q, struct query_result *out,
              struct err *err) must_check;
void query_result_release(struct query_result *r);

/* The shortest decimal that reads back to the same finite double, without ".0" at the end; returns the length
 * (< 32, NUL-terminated). */
size_t query_format_double(double v, char out[32]);

#endif
