/* Functions that change values one by one, in place. */
#include "query/function_list.h"
#include "query/functions.h"
#include "query/pynum.h"

#include <math.h>
#include <string.h>

typedef double (*map_fn)(double v, double k);

static double magnitude(double v, double k)
{
    return fabs(v);
}

/* Applies fn to the values that are there. */
static void map_values(struct query *q, struct query_series *s, map_fn fn, double k)
{
    query_tick(q, s->n);
    s->integers = s->integers && fn == magnitude;
    for (size_t i = 0; i < s->n; i++)
        if (!column_is_missing(s->values[i]))
            s->values[i] = fn(s->values[i], k);
}

/* name(series) with a tag of the function's name. */
static struct value map_plain(struct call *c, map_fn fn, double k, const char *tag_value)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        if (tag_value)
            tags_set(c->q, l->v[i]->tags, c->fn->name, tag_value);
        series_retitle(l->v[i], query_printf(c->q, "%s(%s)", c->fn->name, l->v[i]->name));
        map_values(c->q, l->v[i], fn, k);
    }
    return value_of_list(l);
}

/* name(series,k) with k as %g, and as the tag's value as it was given. */
static struct value map_constant(struct call *c, map_fn fn)
{
    struct list *l = arg_list(c, 0);
    double k = arg_number(c, 1);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        tags_set(c->q, l->v[i]->tags, c->fn->name, value_text(c->q, &c->args[1]));
        series_retitle(l->v[i], query_printf(c->q, "%s(%s,%g)", c->fn->name, l->v[i]->name, k));
        map_values(c->q, l->v[i], fn, k);
    }
    return value_of_list(l);
}

static double times(double v, double k)
{
    return v * k;
}
static double plus(double v, double k)
{
    return v + k;
}
static double exponential(double v, double k)
{
    return exp(v);
}
static double sigmoid(double v, double k)
{
    return 1 / (1 + exp(-v));
}
static double logit(double v, double k)
{
    double odds = v / (1 - v);
    return v == 1 || odds <= 0 ? column_missing() : log(odds);
}

struct value fn_scale(struct call *c)
{
    return map_constant(c, times);
}
struct value fn_offset(struct call *c)
{
    return map_constant(c, plus);
}
struct value fn_pow(struct call *c)
{
    return map_constant(c, safe_power);
}
struct value fn_square_root(struct call *c)
{
    return map_plain(c, safe_power, 0.5, "1");
}
struct value fn_invert(struct call *c)
{
    return map_plain(c, safe_power, -1, "1");
}
struct value fn_absolute(struct call *c)
{
    return map_plain(c, magnitude, 0, "1");
}
struct value fn_logit(struct call *c)
{
    return map_plain(c, logit, 0, "logit");
}

/* Python's exp raises where the result is too large. */
static bool overflows(struct call *c, double sign)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->v[i]->n; k++)
            if (!column_is_missing(l->v[i]->values[k]) && isfinite(l->v[i]->values[k]) &&
                isinf(exp(sign * l->v[i]->values[k])))
                return true;
    return false;
}

struct value fn_exp(struct call *c)
{
    if (overflows(c, 1))
        return call_fail(c, "a value is too large");
    return map_plain(c, exponential, 0, "e");
}

struct value fn_sigmoid(struct call *c)
{
    if (overflows(c, -1))
        return call_fail(c, "a value is too small");
    return map_plain(c, sigmoid, 0, "sigmoid");
}

struct value fn_add(struct call *c)
{
    struct list *l = arg_list(c, 0);
    double k = arg_number(c, 1);
    if (!isfinite(k))
        return call_fail(c, "the constant must be finite");
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        tags_set(c->q, l->v[i]->tags, "add", value_text(c->q, &c->args[1]));
        series_retitle(l->v[i], query_printf(c->q, "add(%s,%.0f)", l->v[i]->name, trunc(k) + 0.0));
        map_values(c->q, l->v[i], plus, k);
    }
    return value_of_list(l);
}

static double scale_rounded(double v, double factor)
{
    return pynum_round(v * factor, 6);
}

struct value fn_scale_to_seconds(struct call *c)
{
    struct list *l = arg_list(c, 0);
    double seconds = arg_number(c, 1);
    if (!isfinite(seconds))
        return call_fail(c, "the seconds must be finite");
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        tags_set(c->q, s->tags, "scaleToSeconds", value_text(c->q, &c->args[1]));
        series_retitle(s, query_printf(c->q, "scaleToSeconds(%s,%.0f)", s->name, trunc(seconds) + 0.0));
        map_values(c->q, s, scale_rounded, seconds / (double)s->step_s);
    }
    return value_of_list(l);
}

static double minus(double v, double k)
{
    return v - k;
}

struct value fn_offset_to_zero(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        double min = agg_min(s->values, s->n);
        struct value tag = value_of_number(s, min);
        tags_set(c->q, s->tags, "offsetToZero", value_text(c->q, &tag));
        series_retitle(s, query_printf(c->q, "offsetToZero(%s)", s->name));
        bool integers = s->integers;
        map_values(c->q, s, minus, min);
        s->integers = integers;
    }
    return value_of_list(l);
}

static double round_to(double v, double digits)
{
    return pynum_round(v, (int)digits);
}

struct value fn_round(struct call *c)
{
    struct list *l = arg_list(c, 0);
    int64_t given = arg_given(c, 1) ? arg_index(c, 1) : 0, digits = given;
    digits = digits < -400 ? -400 : digits > 400 ? 400 : digits;
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        tags_set(c->q, s->tags, "round", query_printf(c->q, "%lld", (long long)given));
        series_retitle(s, arg_given(c, 1) ? query_printf(c->q, "round(%s,%g)", s->name, (double)given)
                                          : query_printf(c->q, "round(%s)", s->name));
        map_values(c->q, s, round_to, (double)digits);
    }
    return value_of_list(l);
}

static double min_max(double v, double k)
{
    return v;
}

struct value fn_min_max(struct call *c)
{
    struct value out = map_plain(c, min_max, 0, NULL);
    for (size_t i = 0; i < out.list->n; i++) {
        struct query_series *s = out.list->v[i];
        double min = agg_min(s->values, s->n), max = agg_max(s->values, s->n);
        for (size_t k = 0; k < s->n; k++)
            if (!column_is_missing(s->values[k]))
                s->values[k] = max == min ? 0 : (s->values[k] - min) / (max - min);
    }
    return out;
}

struct value fn_log(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    double base = arg_number(c, 1);
    const char *text = value_text(q, &c->args[1]);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i], *n;
        tags_set(q, s->tags, "log", text);
        n = series_copy(c, s, query_printf(q, "log(%s, %s)", s->name, text));
        if (!series_alloc(q, n, s->n))
            break;
        for (size_t k = 0; k < s->n; k++) {
            n->values[k] = column_missing();
            if (column_is_missing(s->values[k]) || s->values[k] <= 0)
                continue;
            if (base <= 0 || base == 1)
                return call_fail(c, "the base must be positive and not 1");
            n->values[k] = log(s->values[k]) / log(base);
        }
        list_add(q, out, n);
    }
    return value_of_list(out);
}

/* --- missing values --- */

struct value fn_keep_last_value(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        series_retitle(s, query_printf(c->q, "keepLastValue(%s)", s->name));
        double last = column_missing();
        size_t gap = 0;
        for (size_t k = 0; k <= s->n; k++) {
            if (k < s->n && column_is_missing(s->values[k])) {
                gap++;
                continue;
            }
            if (gap && (double)gap <= arg_number(c, 1) && !column_is_missing(last))
                for (size_t j = k - gap; j < k; j++)
                    s->values[j] = last;
            gap = 0;
            last = k < s->n ? s->values[k] : last;
        }
    }
    return value_of_list(l);
}

struct value fn_interpolate(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        double *v = s->values;
        series_retitle(s, query_printf(c->q, "interpolate(%s)", s->name));
        size_t gap = 0;
        for (size_t k = 1; k < s->n; k++) {
            if (column_is_missing(v[k])) {
                gap++;
                continue;
            }
            double before = v[k - gap - 1];
            if (gap && !column_is_missing(before) && (double)gap <= arg_number(c, 1))
                for (size_t j = k - gap; j < k; j++)
                    v[j] = before + (double)(j - (k - gap - 1)) * (v[k] - before) / (double)(gap + 1);
            gap = 0;
        }
    }
    return value_of_list(l);
}

struct value fn_is_non_null(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        tags_set(c->q, s->tags, "isNonNull", "1");
        series_retitle(s, query_printf(c->q, "isNonNull(%s)", s->name));
        for (size_t k = 0; k < s->n; k++)
            s->values[k] = s->text || !column_is_missing(s->values[k]);
        s->text = NULL;
        s->integers = true;
    }
    return value_of_list(l);
}

struct value fn_changed(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        series_retitle(s, query_printf(c->q, "changed(%s)", s->name));
        double previous = column_missing();
        for (size_t k = 0; k < s->n; k++) {
            double v = s->values[k];
            bool first = column_is_missing(previous), differs = !column_is_missing(v) && previous != v;
            s->values[k] = !first && differs;
            if (first || differs)
                previous = v;
        }
        s->integers = true;
    }
    return value_of_list(l);
}

/* Whether any of the reference series has a value in a slot. */
static bool reference_has(const struct rows *r, size_t slot)
{
    for (size_t k = 0; k < r->k; k++)
        if (slot < r->len[k] && !column_is_missing(r->v[k][slot]))
            return true;
    return false;
}

/* Where the reference is longer than the series, graphite-web keeps the end of the longer list: so does this.
 */
static void fill_missing(struct query *q, struct query_series *s, double with, const struct rows *reference)
{
    size_t skip = reference && reference->n > s->n ? reference->n - s->n : 0;
    double *out = query_values(q, s->n);
    for (size_t k = 0; out && k < s->n; k++) {
        size_t at = k + skip;
        double v = at < s->n ? s->values[at] : column_missing();
        bool fill = column_is_missing(v) && (!reference || reference_has(reference, at));
        out[k] = fill ? with : v;
    }
    if (out)
        s->values = out;
}

struct value fn_transform_null(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    double with = arg_number(c, 1);
    struct rows reference;
    bool has_reference = arg_true(c, 2);
    if (has_reference && !rows_init(q, arg_list(c, 2), &reference))
        return value_of_list(l);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        tags_set(q, s->tags, "transformNull", value_text(q, &c->args[1]));
        if (has_reference)
            tags_set(q, s->tags, "referenceSeries", "1");
        series_retitle(s, query_printf(q, "transformNull(%s,%g%s)", s->name, with,
                                       has_reference ? ",referenceSeries" : ""));
        fill_missing(q, s, with, has_reference && reference.n ? &reference : NULL);
    }
    return value_of_list(l);
}

/* --- values taken out --- */

static struct value remove_values(struct call *c, bool above)
{
    struct list *l = arg_list(c, 0);
    double limit = arg_number(c, 1);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        series_retitle(s, query_printf(c->q, "%s(%s, %g)", c->fn->name, s->name, limit));
        for (size_t k = 0; k < s->n; k++)
            if (above ? s->values[k] > limit : s->values[k] < limit)
                s->values[k] = column_missing();
    }
    return value_of_list(l);
}

struct value fn_remove_above_value(struct call *c)
{
    return remove_values(c, true);
}
struct value fn_remove_below_value(struct call *c)
{
    return remove_values(c, false);
}

/* The percentile of a series' values; missing if it has none. false: it is out of range. */
static bool percentile_of(struct query *q, const struct query_series *s, double percent, double *out)
{
    double *sorted = query_scratch(q, s->n);
    *out = column_missing();
    if (!sorted)
        return true;
    if (s->n)
        memcpy(sorted, s->values, s->n * sizeof *sorted);
    return agg_percentile(sorted, s->n, percent, 0, out) == 0;
}

/* A percentile that is out of range removes nothing, as in graphite-web. */
static struct value remove_percentile(struct call *c, bool above)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    double percent = arg_number(c, 1), limit;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        series_retitle(s, query_printf(q, "%s(%s, %g)", c->fn->name, s->name, percent));
        if (percent == 0)
            return call_fail(c, "the percentile must not be 0");
        if (!percentile_of(q, s, percent, &limit) || column_is_missing(limit))
            continue;
        tags_set(q, s->tags, "nPercentile", value_text(q, &c->args[1]));
        if (s->end_s - s->start_s < s->step_s)
            continue;
        for (size_t k = 0; k < s->n; k++)
            if (above ? s->values[k] > limit : s->values[k] < limit)
                s->values[k] = column_missing();
    }
    return value_of_list(l);
}

struct value fn_remove_above_percentile(struct call *c)
{
    return remove_percentile(c, true);
}
struct value fn_remove_below_percentile(struct call *c)
{
    return remove_percentile(c, false);
}

struct value fn_n_percentile(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    if (!arg_true(c, 1))
        return call_fail(c, "the percentile must be greater than 0");
    double percent = l->n ? arg_number(c, 1) : 0;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        double p;
        if (!percentile_of(q, s, percent, &p))
            return call_fail(c, "the percentile must be at most 100");
        if (column_is_missing(p))
            continue;
        tags_set(q, s->tags, "nPercentile", value_text(q, &c->args[1]));
        struct query_series *n = series_copy(c, s, query_printf(q, "nPercentile(%s, %g)", s->name, percent));
        int64_t points = s->step_s > 0 && s->end_s > s->start_s ? (s->end_s - s->start_s) / s->step_s : 0;
        if (!series_alloc(q, n, (size_t)points))
            break;
        for (size_t k = 0; k < n->n; k++)
            n->values[k] = p;
        list_add(q, out, n);
    }
    return value_of_list(out);
}
