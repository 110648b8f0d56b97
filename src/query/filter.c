/* Functions that choose and order series. */
#include "query/function_list.h"
#include "query/functions.h"
#include "query/regex.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- by an aggregate of the values --- */

enum comparison { EQUAL, NOT_EQUAL, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL };

static int comparison_of(const char *word)
{
    static const char *const words[] = {"=", "!=", ">", ">=", "<", "<="};
    for (int i = 0; i < 6; i++)
        if (!strcmp(word, words[i]))
            return i;
    return -1;
}

/* A missing value is less than everything and equal to nothing. */
static bool compares(double v, enum comparison how, double with)
{
    bool missing = column_is_missing(v);
    switch (how) {
    case EQUAL:
        return !missing && v == with;
    case NOT_EQUAL:
        return missing || v != with;
    case GREATER:
        return !missing && v > with;
    case GREATER_EQUAL:
        return !missing && v >= with;
    case LESS:
        return missing || v < with;
    case LESS_EQUAL:
        return missing || v <= with;
    }
    return false;
}

/* The threshold is the i-th parameter. */
static struct value filter(struct call *c, agg_fn fn, enum comparison how, size_t i_with)
{
    if (!arg_true(c, 0))
        return value_of_list(list_new(c->q, 0));
    double with = arg_number(c, i_with);
    struct list *l = arg_list(c, 0), *out = list_new(c->q, l->n);
    for (size_t i = 0; i < l->n && !query_tick(c->q, l->v[i]->n); i++)
        if (compares(fn(l->v[i]->values, l->v[i]->n), how, with))
            list_add(c->q, out, l->v[i]);
    return value_of_list(out);
}

struct value fn_filter_series(struct call *c)
{
    agg_fn fn = arg_aggregation(c, 1);
    int how = comparison_of(arg_string(c, 2));
    if (how < 0) {
        arg_fail(c, 2, "one of = != > >= < <=");
        return value_of_list(list_new(c->q, 0));
    }
    return filter(c, fn, (enum comparison)how, 3);
}
struct value fn_maximum_above(struct call *c)
{
    return filter(c, agg_max, GREATER, 1);
}
struct value fn_minimum_above(struct call *c)
{
    return filter(c, agg_min, GREATER, 1);
}
struct value fn_maximum_below(struct call *c)
{
    return filter(c, agg_max, LESS_EQUAL, 1);
}
struct value fn_minimum_below(struct call *c)
{
    return filter(c, agg_min, LESS_EQUAL, 1);
}
struct value fn_current_above(struct call *c)
{
    return filter(c, agg_last, GREATER, 1);
}
struct value fn_current_below(struct call *c)
{
    return filter(c, agg_last, LESS_EQUAL, 1);
}
struct value fn_average_above(struct call *c)
{
    return filter(c, agg_average, GREATER, 1);
}
struct value fn_average_below(struct call *c)
{
    return filter(c, agg_average, LESS_EQUAL, 1);
}

/* --- order --- */

struct keyed {
    double key;
    const char *text; /* instead of the key, if not NULL */
    size_t at;        /* keeps the order of equals, also backwards, as Python's sort does */
    struct query_series *s;
};

static int rising(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int by = x->text ? strcmp(x->text, y->text) : x->key < y->key ? -1 : x->key > y->key;
    return by ? by : x->at < y->at ? -1 : 1;
}

static int falling(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int by = x->text ? strcmp(y->text, x->text) : y->key < x->key ? -1 : y->key > x->key;
    return by ? by : x->at < y->at ? -1 : 1;
}

static struct keyed *keyed_list(struct query *q, const struct list *l, agg_fn fn)
{
    struct keyed *k = arena_alloc(q->arena, l->n * sizeof *k);
    for (size_t i = 0; i < l->n; i++) {
        double v = fn ? fn(l->v[i]->values, l->v[i]->n) : 0;
        k[i] = (struct keyed){column_is_missing(v) ? -INFINITY : v, NULL, i, l->v[i]};
        query_tick(q, l->v[i]->n);
    }
    return k;
}

static struct value sorted(struct query *q, struct keyed *k, size_t n, bool reverse)
{
    struct list *out = list_new(q, n);
    qsort(k, n, sizeof *k, reverse ? falling : rising);
    for (size_t i = 0; i < n; i++)
        list_add(q, out, k[i].s);
    return value_of_list(out);
}

static struct value sort_by(struct call *c, agg_fn fn, bool reverse)
{
    struct list *l = arg_list(c, 0);
    return sorted(c->q, keyed_list(c->q, l, fn), l->n, reverse);
}

/* Python's sort takes nothing but a whole number for it. */
static bool arg_reverse(struct call *c, size_t i)
{
    if (c->args[i].kind != V_BOOL && c->args[i].kind != V_INT)
        arg_fail(c, i, "true or false");
    return arg_true(c, i);
}

struct value fn_sort_by(struct call *c)
{
    return sort_by(c, arg_aggregation(c, 1), arg_reverse(c, 2));
}
struct value fn_sort_by_total(struct call *c)
{
    return sort_by(c, agg_sum, true);
}
struct value fn_sort_by_maxima(struct call *c)
{
    return sort_by(c, agg_max, true);
}

struct value fn_sort_by_minima(struct call *c)
{
    struct list *l = arg_list(c, 0), *above = list_new(c->q, l->n);
    for (size_t i = 0; i < l->n; i++)
        if (agg_max(l->v[i]->values, l->v[i]->n) > 0)
            list_add(c->q, above, l->v[i]);
    return sorted(c->q, keyed_list(c->q, above, agg_min), above->n, false);
}

/* Numbers padded to ten digits, so that 9 sorts before 10. */
static const char *natural_key(struct query *q, const char *name)
{
    struct buf b = BUF_INIT;
    for (const char *p = name; *p;) {
        size_t n = strspn(p, "0123456789");
        if (!n) {
            buf_putc(&b, *p++);
            continue;
        }
        const char *digits = p;
        p += n;
        while (n > 1 && *digits == '0') {
            digits++;
            n--;
        }
        for (size_t pad = n; pad < 10; pad++)
            buf_putc(&b, '0');
        buf_append(&b, digits, n);
    }
    const char *key = arena_strndup(q->arena, b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return key;
}

struct value fn_sort_by_name(struct call *c)
{
    struct list *l = arg_list(c, 0);
    struct keyed *k = keyed_list(c->q, l, NULL);
    for (size_t i = 0; i < l->n; i++)
        k[i].text = arg_true(c, 1) ? natural_key(c->q, l->v[i]->name) : l->v[i]->name;
    return sorted(c->q, k, l->n, arg_reverse(c, 2));
}

/* --- the first n, as Python slices: all but the last -n if negative --- */

static struct value first(struct call *c, struct list *l, int64_t n)
{
    int64_t all = (int64_t)l->n;
    n = n < 0 ? (n + all < 0 ? 0 : n + all) : n > all ? all : n;
    struct list *out = list_new(c->q, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        list_add(c->q, out, l->v[i]);
    return value_of_list(out);
}

/* none: all of them */
static int64_t arg_count(struct call *c, size_t i)
{
    return arg_given(c, i) ? arg_index(c, i) : INT64_MAX;
}

struct value fn_limit(struct call *c)
{
    return first(c, arg_list(c, 0), arg_count(c, 1));
}

static struct value ranked(struct call *c, agg_fn fn, bool highest)
{
    return first(c, sort_by(c, fn, highest).list, arg_int(c, 1));
}

struct value fn_highest(struct call *c)
{
    return ranked(c, arg_aggregation(c, 2), true);
}
struct value fn_lowest(struct call *c)
{
    return ranked(c, arg_aggregation(c, 2), false);
}
struct value fn_highest_current(struct call *c)
{
    return ranked(c, agg_last, true);
}
struct value fn_highest_max(struct call *c)
{
    return ranked(c, agg_max, true);
}
struct value fn_highest_average(struct call *c)
{
    return ranked(c, agg_average, true);
}
struct value fn_lowest_current(struct call *c)
{
    return ranked(c, agg_last, false);
}
struct value fn_lowest_average(struct call *c)
{
    return ranked(c, agg_average, false);
}

static double variance(const double *v, size_t n)
{
    double mean = agg_average(v, n), sum = 0;
    if (column_is_missing(mean))
        return mean;
    for (size_t i = 0; i < n; i++)
        if (!column_is_missing(v[i]))
            sum += (v[i] - mean) * (v[i] - mean);
    return sum / agg_count(v, n);
}

struct value fn_most_deviant(struct call *c)
{
    struct list *l = arg_list(c, 0), *some = list_new(c->q, l->n);
    for (size_t i = 0; i < l->n; i++)
        if (agg_present(l->v[i]->values, l->v[i]->n))
            list_add(c->q, some, l->v[i]);
    struct list *order = sorted(c->q, keyed_list(c->q, some, variance), some->n, true).list;
    return first(c, order, arg_count(c, 1));
}

/* --- by name --- */

static struct value by_pattern(struct call *c, bool keep)
{
    struct list *l = arg_list(c, 0), *out = list_new(c->q, l->n);
    struct regex *r;
    struct err err = ERR_INIT;
    if (regex_new(arg_string(c, 1), &r, &err) < 0)
        return call_fail(c, "%.240s", err.text);
    for (size_t i = 0; i < l->n && !query_tick(c->q, 100); i++)
        if (regex_search(r, l->v[i]->name) == keep)
            list_add(c->q, out, l->v[i]);
    regex_free(r);
    return value_of_list(out);
}

struct value fn_grep(struct call *c)
{
    return by_pattern(c, true);
}
struct value fn_exclude(struct call *c)
{
    return by_pattern(c, false);
}

/* --- by their values --- */

struct value fn_remove_empty_series(struct call *c)
{
    struct list *l = arg_list(c, 0), *out = list_new(c->q, l->n);
    double need = arg_given(c, 1) ? arg_number(c, 1) : 0;
    for (size_t i = 0; i < l->n && !query_tick(c->q, l->v[i]->n); i++) {
        const struct query_series *s = l->v[i];
        if (agg_enough(agg_present(s->values, s->n), (double)s->n, need))
            list_add(c->q, out, l->v[i]);
    }
    return value_of_list(out);
}

/* From the percentile of the other side of 50, if below. */
static double upper_percent(double n)
{
    return n < 50 ? 100 - n : n;
}

struct value fn_average_outside_percentile(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    double percent = upper_percent(arg_number(c, 1)), low, high;
    double *averages = query_scratch(q, 2 * l->n), *sorted = averages + l->n;
    if (!averages)
        return value_of_list(out);
    for (size_t i = 0; i < l->n; i++)
        averages[i] = sorted[i] = agg_average(l->v[i]->values, l->v[i]->n);
    if (agg_percentile(sorted, l->n, 100 - percent, 0, &low) < 0 ||
        agg_percentile(sorted, l->n, percent, 0, &high) < 0)
        return call_fail(c, "the percentile must be at most 100");
    for (size_t i = 0; i < l->n; i++) /* one without values is neither inside nor outside */
        if (!column_is_missing(averages[i]) && !(low < averages[i] && averages[i] < high))
            list_add(q, out, l->v[i]);
    return value_of_list(out);
}

struct value fn_remove_between_percentile(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    double percent = upper_percent(arg_number(c, 1)), low, high;
    struct rows r;
    if (!l->n || !rows_init(q, l, &r))
        return value_of_list(out);
    bool *outside = arena_alloc(q->arena, l->n * sizeof *outside);
    memset(outside, 0, l->n * sizeof *outside);
    for (size_t i = 0; i < r.n; i++) {
        if (agg_percentile((double *)rows_get(&r, i), r.k, 100 - percent, 0, &low) < 0 ||
            agg_percentile((double *)rows_get(&r, i), r.k, percent, 0, &high) < 0)
            return call_fail(c, "the percentile must be at most 100");
        for (size_t k = 0; k < r.k; k++) {
            double v = i < r.len[k] ? r.v[k][i] : column_missing();
            outside[k] = outside[k] || (!column_is_missing(v) && !(low < v && v < high));
        }
    }
    for (size_t k = 0; k < l->n; k++)
        if (outside[k])
            list_add(q, out, l->v[k]);
    return value_of_list(out);
}

struct value fn_use_series_above(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *none = list_new(q, 0);
    double limit = arg_number(c, 1);
    struct regex *r;
    struct err err = ERR_INIT;
    if (regex_new(arg_string(c, 2), &r, &err) < 0)
        return call_fail(c, "%.240s", err.text);
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        const struct query_series *s = l->v[i];
        const char *name = "";
        if (regex_replace(r, s->name, arg_string(c, 3), q->arena, &name, &err) < 0)
            call_fail(c, "%.240s", err.text);
        double max = agg_max(s->values, s->n);
        if (!column_is_missing(max) && max > limit)
            buf_printf(&names, "%s%s", names.len ? "," : "group(", name);
    }
    regex_free(r);
    struct list *out = none;
    struct scope scope = *c->scope;
    if (names.len && !q->failed) {
        buf_putc(&names, ')');
        out = eval_text(c, &scope, buf_str(&names));
    }
    buf_release(&names);
    struct list *some = list_new(q, out->n);
    for (size_t i = 0; i < out->n; i++)
        if (out->v[i]->n)
            list_add(q, some, out->v[i]);
    return value_of_list(some);
}
