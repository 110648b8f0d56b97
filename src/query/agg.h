/* Many values to one. Missing values do not count; of nothing but missing ones the result is missing. Sums
 * run from left to right, so that the digits come out as graphite-web's. */
#ifndef CARAT_QUERY_AGG_H
#define CARAT_QUERY_AGG_H

#include <stdbool.h>
#include <stddef.h>

typedef double (*agg_fn)(const double *v, size_t n);

double agg_sum(const double *v, size_t n);
double agg_average(const double *v, size_t n);
double agg_average_zero(const double *v, size_t n); /* missing as 0 */
double agg_min(const double *v, size_t n);
double agg_max(const double *v, size_t n);
double agg_last(const double *v, size_t n);
double agg_count(const double *v, size_t n); /* never missing */
double agg_multiply(const double *v, size_t n);
double agg_diff(const double *v, size_t n);
double agg_stddev(const double *v, size_t n);
double agg_range(const double *v, size_t n);
double agg_median(const double *v, size_t n); /* allocates for n > 256 */

/* "average", "avg", "sum", "total", "last", "current", ...; NULL if there is none of that name. */
agg_fn agg_find(const char *name);
/* Names for agg_find, NULL-terminated. */
const char *const *agg_names(void);
/* Whether the result is a whole number to Python, given whether all values are. */
bool agg_makes_integers(agg_fn fn, bool of_integers);
/* What consolidateBy takes: sum, average, avg, avg_zero, min, max, first, last. */
agg_fn agg_consolidation(const char *name);

size_t agg_present(const double *v, size_t n);
/* Whether `present` of `total` values suffice. */
static inline int agg_enough(size_t present, double total, double x_files_factor)
{
    return present && total != 0 && (double)present / total >= x_files_factor;
}

/* graphite-web's percentile of values that may be missing; changes the order of `v`. A percentile below 0
 * counts from the end, as an index of Python does. -1 if it is out of range, else 0. */
int agg_percentile(double *v, size_t n, double percent, int interpolate, double *out);

#endif
