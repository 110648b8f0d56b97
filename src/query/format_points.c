#include "query/format_points.h"

#include "base/digits.h"
#include "model/column.h"

#include <string.h>

int points_init(struct points *p, const struct query_series *s, struct err *err)
{
    int64_t run = s->values_per_point;
    *p = (struct points){s, agg_consolidation(s->consolidation), !strcmp(s->consolidation, "avg_zero"), s->n,
                         0};
    if (run > 1 && !p->fn)
        return err_set(err, ERR_INVALID, "'%.60s' is no consolidation function", s->consolidation);
    if (run > 1)
        p->n = (s->n + (size_t)run - 1) / (size_t)run;
    return OK;
}

/* Values of a coarse archive put together by what they were made of. */
static double join_counted(const struct query_series *s, agg_fn fn, size_t at, size_t n, size_t run)
{
    double sum = 0, count = 0;
    for (size_t i = at; i < at + n; i++) {
        sum += s->sums[i];
        count += s->counts[i];
    }
    if (!agg_enough((size_t)count, (double)run * s->points_per_value, s->x_files_factor))
        return column_missing();
    return fn == agg_average ? sum / count : fn(s->values + at, n);
}

double points_next(struct points *p)
{
    const struct query_series *s = p->s;
    size_t run = (size_t)s->values_per_point, at = p->i++;
    if (s->counts && p->fn)
        return join_counted(s, p->fn, at * run, s->n - at * run < run ? s->n - at * run : run, run);
    if (run <= 1)
        return s->values[at];
    const double *v = s->values + at * run;
    size_t n = s->n - at * run < run ? s->n - at * run : run;
    if (!agg_enough(agg_present(v, n), (double)run, s->x_files_factor))
        return column_missing();
    return p->zero ? agg_average_zero(v, n) : p->fn(v, n);
}

void put_name(struct buf *b, const struct query_series *s)
{
    if (s->name_json)
        buf_puts(b, s->name_json);
    else
        buf_json_string(b, s->name, strlen(s->name));
}

void put_int(struct buf *b, int64_t v)
{
    char *p = (char *)buf_reserve(b, 1 + DIGITS_MAX), *end = p;
    if (v < 0)
        *end++ = '-';
    end = digits_put(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    b->len += (size_t)(end - p);
}
