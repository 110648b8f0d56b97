#include "query/agg.h"

#include "base/mem.h"
#include "model/column.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t agg_present(const double *v, size_t n)
{
    size_t c = 0;
    for (size_t i = 0; i < n; i++)
        c += !column_is_missing(v[i]);
    return c;
}

double agg_sum(const double *v, size_t n)
{
    double sum = 0;
    size_t c = 0;
    for (size_t i = 0; i < n; i++) {
        if (column_is_missing(v[i]))
            continue;
        sum += v[i];
        c++;
    }
    return c ? sum : column_missing();
}

double agg_average(const double *v, size_t n)
{
    double sum = 0;
    size_t c = 0;
    for (size_t i = 0; i < n; i++) {
        if (column_is_missing(v[i]))
            continue;
        sum += v[i];
        c++;
    }
    return c ? sum / (double)c : column_missing();
}

double agg_average_zero(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += column_is_missing(v[i]) ? 0 : v[i];
    return n ? sum / (double)n : column_missing();
}

double agg_min(const double *v, size_t n)
{
    double best = column_missing();
    for (size_t i = 0; i < n; i++)
        if (!column_is_missing(v[i]) && (column_is_missing(best) || v[i] < best))
            best = v[i];
    return best;
}

double agg_max(const double *v, size_t n)
{
    double best = column_missing();
    for (size_t i = 0; i < n; i++)
        if (!column_is_missing(v[i]) && (column_is_missing(best) || v[i] > best))
            best = v[i];
    return best;
}

static double agg_first(const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!column_is_missing(v[i]))
            return v[i];
    return column_missing();
}

double agg_last(const double *v, size_t n)
{
    while (n--)
        if (!column_is_missing(v[n]))
            return v[n];
    return column_missing();
}

double agg_count(const double *v, size_t n)
{
    return (double)agg_present(v, n);
}

double agg_multiply(const double *v, size_t n)
{
    double product = n ? v[0] : 1;
    for (size_t i = 0; i < n; i++) {
        if (column_is_missing(v[i]))
            return column_missing();
        if (i)
            product *= v[i];
    }
    return product;
}

double agg_diff(const double *v, size_t n)
{
    double diff = column_missing();
    for (size_t i = 0; i < n; i++) {
        if (column_is_missing(v[i]))
            continue;
        diff = column_is_missing(diff) ? 0 + v[i] : diff - v[i];
    }
    return diff;
}

double agg_stddev(const double *v, size_t n)
{
    double average = agg_average(v, n), sum = 0;
    size_t c = 0;
    if (column_is_missing(average))
        return average;
    for (size_t i = 0; i < n; i++) {
        if (column_is_missing(v[i]))
            continue;
        sum += (v[i] - average) * (v[i] - average);
        c++;
    }
    return sqrt(sum / (double)c);
}

double agg_range(const double *v, size_t n)
{
    double min = agg_min(v, n);
    return column_is_missing(min) ? min : agg_max(v, n) - min;
}

static size_t present(const double *v, size_t n, double *out)
{
    size_t c = 0;
    for (size_t i = 0; i < n; i++)
        if (!column_is_missing(v[i]))
            out[c++] = v[i];
    return c;
}

static double middle_of(double a, double b, double c)
{
    double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* The k-th smallest, in its place, with nothing larger before it and nothing smaller behind it: quickselect
 * (Hoare, Algorithm 65, 1961). Percentiles over some hundred series sort a row a slot; sorting all of it took
 * five times as long. */
static double nth(double *v, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        double pivot = middle_of(v[low], v[low + (high - low) / 2], v[high]);
        size_t i = low, j = high;
        for (;;) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i >= j)
                break;
            double x = v[i];
            v[i++] = v[j];
            v[j--] = x;
        }
        /* Up to j nothing is larger than the pivot; from j + 1 on nothing is smaller. */
        if (k <= j)
            high = j;
        else
            low = j + 1;
    }
    return v[k];
}

/* After nth: the smallest of those behind it. */
static double next_of(const double *v, size_t n, size_t k)
{
    double least = v[k + 1];
    for (size_t i = k + 2; i < n; i++)
        least = v[i] < least ? v[i] : least;
    return least;
}

double agg_median(const double *v, size_t n)
{
    double small[256], *s = n <= 256 ? small : xmalloc(n * sizeof *s);
    size_t c = present(v, n, s);
    double m = !c ? column_missing() : nth(s, c, (c - 1) / 2);
    if (c && c % 2 == 0)
        m = (m + next_of(s, c, (c - 1) / 2)) / 2;
    if (s != small)
        free(s);
    return m;
}

int agg_percentile(double *v, size_t n, double percent, int interpolate, double *out)
{
    size_t c = present(v, n, v);
    double count = (double)c;
    *out = column_missing();
    if (count == 0)
        return 0;
    double fractional = percent / 100.0 * (count + 1);
    double rank = trunc(fractional), fraction = fractional - rank;
    if (!interpolate)
        rank += ceil(fraction);
    double index = rank == 0 ? 0 : rank - 1 == count ? count - 1 : rank - 1;
    if (index < 0)
        index += count;
    if (!(index >= 0 && index < count))
        return -1;
    *out = nth(v, c, (size_t)index);
    if (interpolate && rank >= 0 && rank < count)
        *out += fraction * (nth(v, c, (size_t)rank) - *out);
    return 0;
}

static const struct {
    const char *name;
    agg_fn fn;
} table[] = {
    {"average", agg_average},   {"avg_zero", agg_average_zero},
    {"median", agg_median},     {"sum", agg_sum},
    {"min", agg_min},           {"max", agg_max},
    {"diff", agg_diff},         {"stddev", agg_stddev},
    {"count", agg_count},       {"range", agg_range},
    {"multiply", agg_multiply}, {"last", agg_last},
    {"rangeOf", agg_range},     {"avg", agg_average},
    {"total", agg_sum},         {"current", agg_last},
};

agg_fn agg_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (!strcmp(table[i].name, name))
            return table[i].fn;
    return NULL;
}

bool agg_makes_integers(agg_fn fn, bool of_integers)
{
    return fn == agg_count || (of_integers && (fn == agg_sum || fn == agg_min || fn == agg_max ||
                                               fn == agg_last || fn == agg_diff || fn == agg_first));
}

const char *const *agg_names(void)
{
    static const char *const names[] = {"average", "avg_zero", "median", "sum",     "min",      "max",
                                        "diff",    "stddev",   "count",  "range",   "multiply", "last",
                                        "rangeOf", "avg",      "total",  "current", NULL};
    return names;
}

agg_fn agg_consolidation(const char *name)
{
    static const char *const shared[] = {"sum", "average", "avg", "avg_zero", "max", "min", "last"};
    if (!strcmp(name, "first"))
        return agg_first;
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        if (!strcmp(name, shared[i]))
            return agg_find(name);
    return NULL;
}
