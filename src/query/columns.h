/* Aggregates slot by slot, one series after the other: the same operations in the same order as by rows, but
 * along memory. */
#ifndef CARAT_QUERY_COLUMNS_H
#define CARAT_QUERY_COLUMNS_H

#include "query/agg.h"

#include <stdbool.h>
#include <stddef.h>

/* Of n slots. */
struct columns {
    agg_fn fn;
    size_t n;
    double *value, *count; /* of the values that are present */
};

/* Whether an aggregation can be made column by column: sum, average, min, max, count, diff. */
bool columns_can(agg_fn fn);
/* Before the first column. */
void columns_begin(struct columns *c);
/* Adds a column of n <= c->n values; what it does not reach is missing. */
void columns_add(struct columns *c, const double *v, size_t n);
/* After the last of k columns: value[] is the answer, missing where too few were present (agg_enough). */
void columns_finish(struct columns *c, size_t k, double x_files_factor);

#endif
