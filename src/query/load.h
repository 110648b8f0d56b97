/* Values of the series of a path, read by several threads where there is much to read. */
#ifndef CARAT_QUERY_LOAD_H
#define CARAT_QUERY_LOAD_H

#include "query/eval.h"

/* One series of a path. */
struct loaded {
    const char *name;
    uint32_t id;
    int64_t start_s, end_s, step_s;
    size_t n;
    struct read_range range; /* what to ask the source for */
    struct fetched *of;
    double *values, *sums, *counts; /* in the arena, as in query_series */
    double points_per_value;
    const struct query_reads *reads; /* NULL if not asked for */
    struct read_spans *spans;        /* the same, while reading */
};

/* Sets the grid. False: there is no such series, or nothing of it in the scope's time. */
bool load_grid(struct query *q, const struct scope *scope, struct loaded *s);
/* Reads the values of all of them. */
void load_values(struct query *q, struct loaded *v, size_t n);

/* Called for one series after the other, in their order, from any thread; `values` are s->n, gone after it.
 */
typedef void (*load_fn)(void *ctx, const struct loaded *s, const double *values);
/* Reads the values of all of them without keeping them. */
void load_each(struct query *q, struct loaded *const *v, size_t n, load_fn fn, void *ctx);

/* Adds what a series was read from to `r`. */
void load_add_reads(struct query *q, struct query_reads *r, const struct loaded *s);

#endif
