/* Functions that put points into wider buckets. */
#include "query/civil.h"
#include "query/function_list.h"
#include "query/functions.h"
#include "query/timespec.h"

#include <math.h>
#include <string.h>

struct buckets {
    int64_t start_s, end_s, interval_s;
    agg_fn fn;
};

/* Aggregates the points of each bucket into n->values; the end of the last bucket. As graphite-web, a bucket
 * is cut from the run of points that begins at the last point not after its start. */
static int64_t fill_buckets(struct call *c, const struct query_series *s, struct query_series *n,
                            const struct buckets *b)
{
    if (!has_step(c, s))
        return b->start_s;
    double points = (double)b->interval_s / (double)s->step_s;
    int64_t span = b->end_s - b->start_s;
    size_t count = span > 0 ? (size_t)((span + b->interval_s - 1) / b->interval_s) : 0;
    int64_t in_range = s->end_s > s->start_s ? (s->end_s - s->start_s + s->step_s - 1) / s->step_s : 0;
    size_t total = (size_t)in_range < s->n ? (size_t)in_range : s->n, i = 0;
    if (!series_alloc(c->q, n, count))
        return b->start_s;
    int64_t at = b->start_s;
    for (size_t k = 0; k < count; k++, at += b->interval_s) {
        size_t first = i, present = 0;
        for (; i < total && s->start_s + (int64_t)i * s->step_s < at + b->interval_s; i++) {
            int64_t t = s->start_s + (int64_t)i * s->step_s;
            if (t <= at)
                first = i;
            present += t >= at && !column_is_missing(s->values[i]);
        }
        bool enough = agg_enough(present, points, s->x_files_factor);
        n->values[k] = enough ? b->fn(s->values + first, i - first) : column_missing();
    }
    n->integers = agg_makes_integers(b->fn, s->integers);
    return at;
}

/* Rounds down, and up to a multiple of a negative interval, as Python's modulo has it. */
static int64_t floor_to_interval(int64_t t, int64_t interval)
{
    int64_t rest = t % interval;
    return t - rest - ((rest < 0) != (interval < 0) && rest ? interval : 0);
}

/* An interval that does not go forwards reaches the end of no range: graphite-web then never ends. */
static bool positive(struct call *c, const struct list *l, int64_t interval)
{
    if (interval <= 0 && l->n)
        call_fail(c, "the interval must be positive");
    return interval > 0;
}

struct value fn_summarize(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct buckets b = {.interval_s = arg_interval(c, 1)};
    bool align_to_from = arg_true(c, 3);
    if (!l->n || (b.interval_s >= 0 && !positive(c, l, b.interval_s)))
        return value_of_list(out);
    b.fn = arg_aggregation(c, 2);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        b.start_s = align_to_from ? s->start_s : floor_to_interval(s->start_s, b.interval_s);
        b.end_s = align_to_from ? s->end_s : floor_to_interval(s->end_s, b.interval_s) + b.interval_s;
        if (b.start_s < b.end_s && !positive(c, l, b.interval_s))
            break;
        tags_set(q, s->tags, "summarize", arg_string(c, 1));
        tags_set(q, s->tags, "summarizeFunction", arg_string(c, 2));
        struct query_series *n =
            series_copy(c, s,
                        query_printf(q, "summarize(%s, \"%s\", \"%s\"%s)", s->name, arg_string(c, 1),
                                     arg_string(c, 2), align_to_from ? ", true" : ""));
        int64_t end = fill_buckets(c, s, n, &b);
        n->start_s = b.start_s;
        n->end_s = align_to_from ? end : b.end_s;
        n->step_s = b.interval_s;
        list_add(q, out, n);
    }
    return value_of_list(out);
}

/* The moment a unit began, in the scope's zone, for the units from seconds (0) to years. */
static int64_t unit_start(struct scope *scope, int64_t t, int unit, int weekday)
{
    struct civil d = civil_from_seconds(t + query_zone_offset(scope->zone, t));
    int64_t offset = query_zone_offset(scope->zone, t);
    int64_t day = civil_to_days(d.year, d.month, d.day) * 86400;
    int64_t wall = day;
    if (unit == UNIT_YEARS)
        wall = civil_to_days(d.year, 1, 1) * 86400;
    else if (unit == UNIT_MONTHS)
        wall = civil_to_days(d.year, d.month, 1) * 86400;
    else if (unit == UNIT_WEEKS)
        wall = day - 86400 * (((d.weekday ? d.weekday : 7) - weekday + 7) % 7);
    else if (unit == UNIT_HOURS)
        wall = day + d.hour * 3600;
    else if (unit == UNIT_MINUTES)
        wall = day + d.hour * 3600 + d.minute * 60;
    else if (unit == UNIT_SECONDS)
        wall = day + d.hour * 3600 + d.minute * 60 + d.second;
    return wall - offset; /* with the offset of t, as Python's replaced datetime keeps it */
}

/* "weeks3" begins on Wednesday. */
static int week_begin(const char *text)
{
    char last = text[strlen(text) - 1];
    return last >= '0' && last <= '9' ? last - '0' : 1;
}

static struct list *aligned_list(struct call *c, struct list *l)
{
    const struct value *to = &c->args[3];
    if (to->kind == V_NONE || to->kind == V_BOOL)
        return l;
    const char *text = arg_string(c, 3);
    int unit = query_unit_of(text);
    if (unit < 0) {
        arg_fail(c, 3, "seconds, minutes, hours, days, weeks, months or years");
        return l;
    }
    struct scope scope = *c->scope;
    scope.start_s = unit_start(&scope, scope.start_s, unit, week_begin(text));
    return call_again(c, &scope);
}

struct value fn_smart_summarize(struct call *c)
{
    struct query *q = c->q;
    struct list *l = aligned_list(c, arg_list(c, 0)), *out = list_new(q, l->n);
    struct buckets b = {.interval_s = arg_interval(c, 1)};
    if (!l->n || !positive(c, l, b.interval_s))
        return value_of_list(out);
    b.fn = arg_aggregation(c, 2);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        b.start_s = s->start_s;
        b.end_s = s->end_s;
        tags_set(q, s->tags, "smartSummarize", arg_string(c, 1));
        tags_set(q, s->tags, "smartSummarizeFunction", arg_string(c, 2));
        struct query_series *n = series_copy(c, s,
                                             query_printf(q, "smartSummarize(%s, \"%s\", \"%s\")", s->name,
                                                          arg_string(c, 1), arg_string(c, 2)));
        n->end_s = fill_buckets(c, s, n, &b);
        n->step_s = b.interval_s;
        list_add(q, out, n);
    }
    return value_of_list(out);
}

/* --- hitcount --- */

static struct list *hitcount_aligned(struct call *c, int64_t interval)
{
    struct scope scope = *c->scope;
    int unit = interval >= 86400 ? UNIT_DAYS : interval >= 3600 ? UNIT_HOURS : UNIT_MINUTES;
    if (interval >= 60)
        scope.start_s = unit_start(&scope, scope.start_s, unit, 1);
    struct list *l = call_again(c, &scope);
    for (size_t i = 0; i < l->n; i++) {
        struct query_series *s = l->v[i];
        int64_t whole = floor_to_interval(s->end_s - s->start_s, interval);
        s->end_s = s->start_s + whole + interval;
    }
    return l;
}

static void add_hits(double *bucket, double hits)
{
    *bucket = column_is_missing(*bucket) ? 0 + hits : *bucket + hits;
}

/* Spreads value * step over the buckets of a point by the seconds it covers of each. */
static void spread(double *buckets, int64_t count, int64_t interval, int64_t from, int64_t step, double v)
{
    int64_t to = from + step;
    int64_t first = floor_to_interval(from, interval) / interval, in_first = from - first * interval;
    int64_t last = floor_to_interval(to, interval) / interval, in_last = to - last * interval;
    if (last >= count) {
        last = count - 1;
        in_last = interval;
    }
    if (first == last) {
        if (first >= 0)
            add_hits(&buckets[first], v * (double)(in_last - in_first));
        return;
    }
    if (first >= 0)
        add_hits(&buckets[first], v * (double)(interval - in_first));
    for (int64_t k = first + 1; k < last; k++)
        if (k >= 0)
            add_hits(&buckets[k], v * (double)interval);
    if (in_last > 0 && last >= 0)
        add_hits(&buckets[last], v * (double)in_last);
}

struct value fn_hitcount(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    int64_t interval = arg_interval(c, 1);
    bool align = arg_true(c, 2);
    if (align && interval > 0)
        l = hitcount_aligned(c, interval);
    if (!positive(c, l, interval))
        return value_of_list(out);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        int64_t span = s->end_s - s->start_s, count = span > 0 ? (span + interval - 1) / interval : 0;
        int64_t start = s->end_s - count * interval;
        tags_set(q, s->tags, "hitcount", arg_string(c, 1));
        struct query_series *n = series_copy(
            c, s,
            query_printf(q, "hitcount(%s, \"%s\"%s)", s->name, arg_string(c, 1), align ? ", true" : ""));
        if (!series_alloc(q, n, (size_t)count))
            break;
        for (size_t k = 0; k < n->n; k++)
            n->values[k] = column_missing();
        for (size_t k = 0; count && k < s->n; k++)
            if (!column_is_missing(s->values[k]))
                spread(n->values, count, interval, s->start_s + (int64_t)k * s->step_s - start, s->step_s,
                       s->values[k]);
        n->integers = s->integers;
        n->start_s = start;
        n->step_s = interval;
        list_add(q, out, n);
    }
    return value_of_list(out);
}
