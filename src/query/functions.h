/* Helpers shared by the files of functions. */
#ifndef CARAT_QUERY_FUNCTIONS_H
#define CARAT_QUERY_FUNCTIONS_H

#include "query/agg.h"
#include "query/eval.h"

/* Several series on one grid, slot by slot. */
struct rows {
    struct list *list;
    size_t k, n; /* series, slots of the longest */
    const double **v;
    size_t *len;
    double *row; /* k values */
};
/* Brings series to a common step (the least common multiple) by setting values_per_point; false if there are
 * none. The range is from the earliest start to the latest end. */
struct grid {
    int64_t start_s, end_s, step_s;
};
bool grid_normalize(struct query *q, struct list *l, struct grid *g);
/* Views of the series as they are now; false after a failure. */
bool rows_init(struct query *q, struct list *l, struct rows *r);
/* Slot i of all into r->row; missing beyond a series' end. */
const double *rows_get(struct rows *r, size_t i);

/* A new series from a grid; NULL after a failure. n values to be filled in. */
struct query_series *series_on_grid(struct call *c, const char *name, const struct grid *g, size_t n);

/* The aggregate of a list as "<func>Series(<paths>)": one series or none. */
struct list *aggregate(struct call *c, struct list *l, const char *func, double x_files_factor);
/* Whether a function hands all its series to aggregate(), so that they need not be read before. */
bool aggregate_streams(function_fn fn);
/* The path expressions of a list, without repeats. */
const char *path_expressions(struct query *q, struct list *l);

/* Groups of a list by a key, in the order the keys first appear. */
struct group {
    const char *key;
    struct list *list;
};
struct groups {
    struct group *v;
    size_t n, cap;
};
struct list *groups_get(struct query *q, struct groups *g, const char *key); /* NULL if there is none */
struct list *groups_put(struct query *q, struct groups *g, const char *key); /* makes it if there is none */
/* The levels and tags of a series joined with dots, as aliasByNode gives them. */
const char *node_key(struct call *c, const struct query_series *s, const struct value *nodes, size_t n);

/* Whether the series has a step, which all that have values from the stores have; a constantLine over less
 * than two seconds has none. Fails the query if not. */
bool has_step(struct call *c, const struct query_series *s);

/* A value of a series, as names and tags show it. */
struct value value_of_number(const struct query_series *s, double v);
/* Names a series by a value: JSON shows a number as a number and none as null. */
void name_by_value(struct call *c, struct query_series *s, const struct value *v);
/* A list of one. */
struct value value_of_series(struct query *q, struct query_series *s);
/* a / b with missing for nothing and for b = 0; times 100 for percents. */
double safe_divide(double a, double b);
double safe_multiply(double a, double b);
double safe_power(double a, double b);

/* What C's mktime makes of a local time in a process that keeps UTC, which is where graphite-web uses it: the
 * wall clock's seconds, an hour less in daylight saving time. */
int64_t mktime_seconds(const struct scope *scope, int64_t utc_s);
/* An interval in parameter i; fails the query if it is none. */
int64_t arg_interval(struct call *c, size_t i);
agg_fn arg_aggregation(struct call *c, size_t i);
/* A list of constants over the range of the scope, as constantLine makes. */
struct query_series *constant_line(struct call *c, const char *name, double value);

#endif
