/* Functions that make one series of several. */
#include "base/mem.h"
#include "query/columns.h"
#include "query/fetch.h"
#include "query/function_list.h"
#include "query/functions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- aggregates --- */

static const char *without_suffix(struct query *q, const char *func)
{
    size_t n = strlen(func);
    return n >= 6 && !strcmp(func + n - 6, "Series") ? arena_strndup(q->arena, func, n - 6) : func;
}

/* The tags all of them have with the same value. */
static struct query_tags *common_tags(struct query *q, struct list *l)
{
    struct query_tags *common = tags_new(q);
    const struct query_tags *first = l->v[0]->tags;
    for (size_t t = 0; t < first->n; t++) {
        bool shared = true;
        for (size_t i = 1; i < l->n && shared; i++) {
            const char *v = tags_get(l->v[i]->tags, first->v[t].name);
            shared = v && !strcmp(v, first->v[t].value);
        }
        if (shared)
            tags_set(q, common, first->v[t].name, first->v[t].value);
    }
    return common;
}

static void aggregate_rows(struct rows *r, agg_fn fn, double xff, double *out)
{
    for (size_t i = 0; i < r->n; i++) {
        const double *row = rows_get(r, i);
        bool enough = agg_enough(agg_present(row, r->k), (double)r->k, xff);
        out[i] = enough ? fn(row, r->k) : column_missing();
    }
}

static void add_loaded(void *ctx, const struct loaded *s, const double *values)
{
    columns_add(ctx, values, s->n);
}

/* Series that are not read yet, all on one grid, are not kept but added as they are read. */
static bool can_stream(const struct list *l, agg_fn fn)
{
    bool can = columns_can(fn);
    for (size_t i = 0; i < l->n && can; i++)
        can = l->v[i]->deferred && l->v[i]->values_per_point == 1 && l->v[i]->start_s == l->v[0]->start_s &&
              l->v[i]->n == l->v[0]->n;
    return can;
}

static bool aggregate_columns(struct query *q, struct list *l, struct rows *r, struct columns *c, double xff)
{
    c->count = query_scratch(q, c->n);
    if (!c->count)
        return false;
    columns_begin(c);
    if (!r->v)
        fetch_each(q, l, add_loaded, c);
    for (size_t k = 0; r->v && k < r->k; k++)
        columns_add(c, r->v[k], r->len[k]);
    columns_finish(c, l->n, xff);
    return !q->failed;
}

struct list *aggregate(struct call *c, struct list *l, const char *func, double xff)
{
    struct query *q = c->q;
    struct list *out = list_new(q, 1);
    struct grid g;
    struct rows r = {0};
    func = without_suffix(q, func);
    agg_fn fn = agg_find(func);
    if (!fn) {
        call_fail(c, "'%.60s' is no aggregation", func);
        return out;
    }
    if (!grid_normalize(q, l, &g))
        return out;
    if (can_stream(l, fn))
        r.n = l->v[0]->n;
    else if (!fetch_now(q, l) || !rows_init(q, l, &r))
        return out;
    const char *name = query_printf(q, "%sSeries(%s)", func, path_expressions(q, l));
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    if (!s)
        return out;
    struct columns columns = {.fn = fn, .n = r.n, .value = s->values};
    if (columns_can(fn) && !aggregate_columns(q, l, &r, &columns, xff))
        return out;
    if (!columns_can(fn))
        aggregate_rows(&r, fn, xff, s->values);
    bool integers = true;
    for (size_t i = 0; i < l->n; i++)
        integers = integers && l->v[i]->integers;
    s->integers = agg_makes_integers(fn, integers);
    s->x_files_factor = xff;
    s->tags = common_tags(q, l);
    if (!tags_get(s->tags, "name"))
        tags_set(q, s->tags, "name", name);
    tags_set(q, s->tags, "aggregatedBy", func);
    list_add(q, out, s);
    return out;
}

bool aggregate_streams(function_fn fn)
{
    static const function_fn streams[] = {fn_sum_series,  fn_average_series, fn_min_series, fn_max_series,
                                          fn_diff_series, fn_count_series,   fn_aggregate};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        if (streams[i] == fn)
            return true;
    return false;
}

static double xff_or(struct call *c, size_t i)
{
    return arg_given(c, i) ? arg_number(c, i) : c->scope->x_files_factor;
}

struct value fn_aggregate(struct call *c)
{
    const char *func = arg_string(c, 1);
    struct list *none = list_new(c->q, 0);
    if (!arg_true(c, 0)) /* a wrong aggregation is wrong all the same */
        return value_of_list(aggregate(c, none, func, 0));
    return value_of_list(aggregate(c, arg_list(c, 0), func, xff_or(c, 2)));
}

static struct value aggregate_all(struct call *c, const char *func)
{
    return value_of_list(aggregate(c, rest_lists(c), func, c->scope->x_files_factor));
}

struct value fn_sum_series(struct call *c)
{
    return aggregate_all(c, "sum");
}
struct value fn_average_series(struct call *c)
{
    return aggregate_all(c, "average");
}
struct value fn_min_series(struct call *c)
{
    return aggregate_all(c, "min");
}
struct value fn_max_series(struct call *c)
{
    return aggregate_all(c, "max");
}
struct value fn_diff_series(struct call *c)
{
    return aggregate_all(c, "diff");
}
struct value fn_stddev_series(struct call *c)
{
    return aggregate_all(c, "stddev");
}
struct value fn_range_of_series(struct call *c)
{
    return aggregate_all(c, "rangeOf");
}

struct value fn_multiply_series(struct call *c)
{
    if (c->nrest == 1 && c->rest[0].kind == V_LIST && c->rest[0].list->n == 1)
        return c->rest[0];
    return aggregate_all(c, "multiply");
}

struct value fn_count_series(struct call *c)
{
    struct query *q = c->q;
    struct grid g;
    struct rows r;
    if (!c->nrest) {
        struct query_series *s = constant_line(c, "0", 0);
        if (s) {
            s->path_expression = "countSeries()";
            s->integers = true;
        }
        return value_of_series(q, s);
    }
    struct list *l = rest_lists(c);
    if (!grid_normalize(q, l, &g) || !fetch_now(q, l) || !rows_init(q, l, &r))
        return value_of_list(list_new(q, 0));
    const char *name = query_printf(q, "countSeries(%s)", path_expressions(q, l));
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    for (size_t i = 0; s && i < r.n; i++)
        s->values[i] = (double)r.k;
    if (s)
        s->integers = true;
    return value_of_series(q, s);
}

struct value fn_pow_series(struct call *c)
{
    struct query *q = c->q;
    struct grid g;
    struct rows r;
    struct list *l = rest_lists(c);
    if (!grid_normalize(q, l, &g) || !rows_init(q, l, &r))
        return value_of_list(list_new(q, 0));
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&names, "%s%s", i ? "," : "", l->v[i]->name);
    struct query_series *s = series_on_grid(c, query_printf(q, "powSeries(%s)", buf_str(&names)), &g, r.n);
    buf_release(&names);
    for (size_t i = 0; s && i < r.n; i++) {
        const double *row = rows_get(&r, i);
        double p = row[0];
        for (size_t k = 1; k < r.k; k++)
            p = safe_power(p, row[k]);
        s->values[i] = p;
    }
    return value_of_series(q, s);
}

struct value fn_percentile_of_series(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    double percent = arg_number(c, 1);
    bool interpolate = arg_true(c, 2);
    struct grid g;
    struct rows r;
    if (percent <= 0)
        return call_fail(c, "the percentile must be greater than 0");
    if (!grid_normalize(q, l, &g) || !rows_init(q, l, &r))
        return value_of_list(list_new(q, 0));
    const char *name = query_printf(q, "percentileOfSeries(%s,%g)", l->v[0]->path_expression, percent);
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    for (size_t i = 0; s && i < r.n; i++) {
        rows_get(&r, i);
        if (agg_percentile(r.row, r.k, percent, interpolate, &s->values[i]) < 0)
            return call_fail(c, "the percentile must be at most 100");
    }
    return value_of_series(q, s);
}

/* --- pairs --- */

static struct list *pair_of(struct query *q, struct query_series *a, struct query_series *b)
{
    struct list *l = list_new(q, 2);
    list_add(q, l, a);
    list_add(q, l, b);
    return l;
}

static struct value pairwise(struct call *c, const char *func, double xff)
{
    struct query *q = c->q;
    struct list *first = arg_list(c, 0), *second = arg_list(c, 1), *out = list_new(q, first->n);
    for (size_t i = 0; i < first->n && !q->failed; i++) {
        struct list *one = aggregate(c, pair_of(q, first->v[i], second->v[i]), func, xff);
        if (!one->n)
            continue;
        const char *prefix = without_suffix(q, func);
        series_rename(one->v[0],
                      query_printf(q, "%sSeries(%s,%s)", prefix, first->v[i]->name, second->v[i]->name));
        list_add(q, out, one->v[0]);
    }
    return value_of_list(out);
}

/* Whether both lists have members, as many in one as in the other; fails if they have not as many. */
static bool have_pairs(struct call *c)
{
    size_t a = arg_list(c, 0)->n, b = arg_list(c, 1)->n;
    if (a != b)
        call_fail(c, "both lists must have the same number of series, not %zu and %zu", a, b);
    return a && a == b;
}

struct value fn_aggregate_series_lists(struct call *c)
{
    if (!have_pairs(c))
        return value_of_list(list_new(c->q, 0));
    return pairwise(c, arg_string(c, 2), xff_or(c, 3));
}

static struct value pairs_by(struct call *c, const char *func)
{
    if (!have_pairs(c))
        return value_of_list(list_new(c->q, 0));
    return pairwise(c, func, c->scope->x_files_factor);
}

struct value fn_sum_series_lists(struct call *c)
{
    return pairs_by(c, "sum");
}
struct value fn_diff_series_lists(struct call *c)
{
    return pairs_by(c, "diff");
}
struct value fn_multiply_series_lists(struct call *c)
{
    return pairs_by(c, "multiply");
}

/* a / b * scale on their common grid. */
static struct query_series *divide(struct call *c, struct query_series *a, struct query_series *b,
                                   const char *name, double scale)
{
    struct query *q = c->q;
    struct list *l = pair_of(q, a, b);
    struct grid g;
    struct rows r;
    if (!grid_normalize(q, l, &g) || !rows_init(q, l, &r))
        return NULL;
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    for (size_t i = 0; s && i < r.n; i++) {
        const double *row = rows_get(&r, i);
        s->values[i] = safe_divide(row[0], row[1]);
        if (scale != 1)
            s->values[i] = safe_multiply(s->values[i], scale);
    }
    return s;
}

static struct query_series *quotient(struct call *c, struct query_series *a, struct query_series *b)
{
    return divide(c, a, b, query_printf(c->q, "divideSeries(%s,%s)", a->name, b->name), 1);
}

struct value fn_divide_series_lists(struct call *c)
{
    struct list *a = arg_list(c, 0), *b = arg_list(c, 1), *out = list_new(c->q, a->n);
    if (!have_pairs(c))
        return value_of_list(out);
    for (size_t i = 0; i < a->n && !c->q->failed; i++)
        list_add(c->q, out, quotient(c, a->v[i], b->v[i]));
    return value_of_list(out);
}

struct value fn_divide_series(struct call *c)
{
    struct list *a = arg_list(c, 0), *b = arg_list(c, 1), *out = list_new(c->q, a->n);
    if (b->n > 1)
        return call_fail(c, "the divisor must be exactly one series, not %zu", b->n);
    for (size_t i = 0; i < a->n && !c->q->failed; i++) {
        if (b->n) {
            list_add(c->q, out, quotient(c, a->v[i], b->v[0]));
            continue;
        }
        series_retitle(a->v[i], query_printf(c->q, "divideSeries(%s,MISSING)", a->v[i]->name));
        for (size_t k = 0; k < a->v[i]->n; k++)
            a->v[i]->values[k] = column_missing();
        list_add(c->q, out, a->v[i]);
    }
    return value_of_list(out);
}

/* --- asPercent --- */

/* A sum without an xFilesFactor. */
static struct query_series *total_of(struct call *c, struct list *l)
{
    struct query *q = c->q;
    struct grid g;
    struct rows r;
    if (l->n == 1)
        return l->v[0];
    if (!grid_normalize(q, l, &g) || !rows_init(q, l, &r))
        return NULL;
    const char *name = query_printf(q, "sumSeries(%s)", path_expressions(q, l));
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    for (size_t i = 0; s && i < r.n; i++)
        s->values[i] = agg_sum(rows_get(&r, i), r.k);
    return s;
}

/* Nothing but missing values, for what has no counterpart; on the grid of whatever was computed before it. */
static struct query_series *percent_missing(struct call *c, const struct query_series *like, const char *name,
                                            const struct grid *g)
{
    size_t n;
    series_view(c->q, like, &n);
    struct query_series *s = series_on_grid(c, name, g, n);
    for (size_t i = 0; s && i < n; i++)
        s->values[i] = column_missing();
    return s;
}

static struct groups group_by_nodes(struct call *c, struct list *l)
{
    struct groups g = {NULL, 0, 0};
    for (size_t i = 0; i < l->n && !c->q->failed; i++)
        list_add(c->q, groups_put(c->q, &g, node_key(c, l->v[i], c->rest, c->nrest)), l->v[i]);
    return g;
}

static struct value percent_by_nodes(struct call *c, struct list *l)
{
    struct query *q = c->q;
    struct list *out = list_new(q, l->n);
    if (arg_given(c, 1) && c->args[1].kind != V_LIST)
        return call_fail(c, "with nodes the total must be none or series");
    struct groups parts = group_by_nodes(c, l);
    struct groups totals = arg_given(c, 1) ? group_by_nodes(c, c->args[1].list) : parts;
    struct query_series **total = arena_alloc(q->arena, (totals.n + 1) * sizeof *total);
    struct grid g = {l->v[0]->start_s, l->v[0]->end_s, l->v[0]->step_s};
    for (size_t i = 0; i < totals.n && !q->failed; i++) {
        if (!(total[i] = total_of(c, totals.v[i].list)))
            return value_of_list(out);
        if (totals.v[i].list->n > 1)
            g = (struct grid){total[i]->start_s, total[i]->end_s, total[i]->step_s};
    }
    for (size_t i = 0; i < parts.n && !q->failed; i++) {
        size_t t = 0;
        while (t < totals.n && strcmp(totals.v[t].key, parts.v[i].key))
            t++;
        for (size_t k = 0; k < parts.v[i].list->n; k++) {
            struct query_series *a = parts.v[i].list->v[k];
            const char *name =
                query_printf(q, "asPercent(%s,%s)", a->name, t < totals.n ? total[t]->name : "MISSING");
            struct query_series *s =
                t < totals.n ? divide(c, a, total[t], name, 100.0) : percent_missing(c, a, name, &g);
            if (s && t < totals.n)
                g = (struct grid){s->start_s, s->end_s, s->step_s};
            list_add(q, out, s);
        }
    }
    for (size_t t = 0; t < totals.n && !q->failed; t++)
        if (!groups_get(q, &parts, totals.v[t].key))
            list_add(
                q, out,
                percent_missing(c, total[t], query_printf(q, "asPercent(MISSING,%s)", total[t]->name), &g));
    return value_of_list(out);
}

static struct list *sorted_by_name(struct query *q, const struct list *l)
{
    struct list *s = list_new(q, l->n);
    for (size_t i = 0; i < l->n; i++) { /* insertion keeps equal names in order */
        size_t at = i;
        for (; at && strcmp(l->v[i]->name, s->v[at - 1]->name) < 0; at--)
            s->v[at] = s->v[at - 1];
        s->v[at] = l->v[i];
        s->n++;
        query_tick(q, i - at);
    }
    return s;
}

static struct value percent_of_each(struct call *c, struct list *l, struct list *totals)
{
    struct query *q = c->q;
    struct list *a = sorted_by_name(q, l), *b = sorted_by_name(q, totals), *out = list_new(q, l->n);
    for (size_t i = 0; i < a->n && !q->failed; i++) {
        const char *name = query_printf(q, "asPercent(%s,%s)", a->v[i]->name, b->v[i]->name);
        list_add(q, out, divide(c, a->v[i], b->v[i], name, 100.0));
    }
    return value_of_list(out);
}

/* Each series of its own grid against the same totals, slot by slot; the longer of both gives the length. */
static struct value percent_of_values(struct call *c, struct list *l, const double *total, size_t ntotal,
                                      const char *text)
{
    struct query *q = c->q;
    struct list *out = list_new(q, l->n);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        const struct query_series *a = l->v[i];
        size_t n;
        const double *v = series_view(q, a, &n);
        size_t longest = n > ntotal ? n : ntotal;
        const char *of = *text ? text : a->path_expression;
        struct grid g = {a->start_s, a->end_s, a->step_s};
        struct query_series *s =
            series_on_grid(c, query_printf(q, "asPercent(%s,%s)", a->name, of), &g, longest);
        for (size_t k = 0; s && k < longest; k++) {
            double part = k < n ? v[k] : column_missing(), whole = k < ntotal ? total[k] : column_missing();
            s->values[k] = safe_multiply(safe_divide(part, whole), 100.0);
        }
        list_add(q, out, s);
    }
    return value_of_list(out);
}

static struct value percent_of_sum(struct call *c, struct list *l)
{
    struct query *q = c->q;
    struct rows r;
    double *total;
    if (!rows_init(q, l, &r) || !(total = query_values(q, r.n)))
        return value_of_list(list_new(q, 0));
    for (size_t i = 0; i < r.n; i++)
        total[i] = agg_sum(rows_get(&r, i), r.k);
    return percent_of_values(c, l, total, r.n, query_printf(q, "sumSeries(%s)", path_expressions(q, l)));
}

static struct value percent_of_one(struct call *c, struct list *l, struct query_series *total)
{
    struct query *q = c->q;
    struct list *all = list_new(q, l->n + 1);
    struct grid g;
    size_t n;
    for (size_t i = 0; i < l->n; i++)
        list_add(q, all, l->v[i]);
    list_add(q, all, total);
    if (!grid_normalize(q, all, &g))
        return value_of_list(list_new(q, 0));
    const double *v = series_view(q, total, &n);
    return percent_of_values(c, l, v, n, total->name);
}

static struct value percent_of_number(struct call *c, struct list *l)
{
    size_t n = l->v[0]->n;
    double number = arg_number(c, 1), *total = query_values(c->q, n);
    if (c->q->failed)
        return value_of_list(list_new(c->q, 0));
    for (size_t i = 0; i < n; i++)
        total[i] = number;
    return percent_of_values(c, l, total, n, value_text(c->q, &c->args[1]));
}

struct value fn_as_percent(struct call *c)
{
    if (!arg_true(c, 0))
        return value_of_list(list_new(c->q, 0));
    struct list *l = arg_list(c, 0);
    struct grid g;
    if (!grid_normalize(c->q, l, &g))
        return value_of_list(list_new(c->q, 0));
    if (c->nrest)
        return percent_by_nodes(c, l);
    if (!arg_given(c, 1))
        return percent_of_sum(c, l);
    if (c->args[1].kind != V_LIST)
        return percent_of_number(c, l);
    struct list *totals = c->args[1].list;
    if (totals->n != 1 && totals->n != l->n)
        return call_fail(
            c, "the total must be a number, one series or as many series as the first argument has, not %zu",
            totals->n);
    if (totals->n == l->n)
        return percent_of_each(c, l, totals);
    return percent_of_one(c, l, totals->v[0]);
}

/* --- weightedAverage --- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct path expressions, sorted. */
static const char *sorted_expressions(struct query *q, struct list *l)
{
    const char **v = arena_alloc(q->arena, l->n * sizeof *v);
    for (size_t i = 0; i < l->n; i++)
        v[i] = l->v[i]->path_expression;
    qsort(v, l->n, sizeof *v, compare_texts);
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        if (!i || strcmp(v[i], v[i - 1]))
            buf_printf(&b, "%s%s", i ? "," : "", v[i]);
    const char *out = query_printf(q, "%s", buf_str(&b));
    buf_release(&b);
    return out;
}

static struct query_series *product(struct call *c, struct query_series *a, struct query_series *weight)
{
    struct rows r;
    if (!rows_init(c->q, pair_of(c->q, a, weight), &r))
        return NULL;
    struct grid g = {a->start_s, a->end_s, a->step_s};
    const char *name = query_printf(c->q, "product(%s,%s)", weight->name, a->name);
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    for (size_t i = 0; s && i < r.n; i++) {
        const double *row = rows_get(&r, i);
        s->values[i] = safe_multiply(row[0], row[1]);
    }
    return s;
}

static struct list *weighted_products(struct call *c, struct list *values, struct list *weights)
{
    struct query *q = c->q;
    struct groups by_value = {NULL, 0, 0}, by_weight = {NULL, 0, 0}, keys = {NULL, 0, 0};
    struct list *out = list_new(q, values->n);
    for (size_t i = 0; i < values->n && !q->failed; i++) {
        const char *a = node_key(c, values->v[i], c->rest, c->nrest);
        const char *b = node_key(c, weights->v[i], c->rest, c->nrest);
        list_add(q, groups_put(q, &by_value, a), values->v[i]);
        list_add(q, groups_put(q, &by_weight, b), weights->v[i]);
        groups_put(q, &keys, a);
        groups_put(q, &keys, b);
    }
    for (size_t i = 0; i < keys.n && !q->failed; i++) {
        struct list *a = groups_get(q, &by_value, keys.v[i].key),
                    *b = groups_get(q, &by_weight, keys.v[i].key);
        if (a && b) /* the last of each counts */
            list_add(q, out, product(c, a->v[a->n - 1], b->v[b->n - 1]));
    }
    return out;
}

struct value fn_weighted_average(struct call *c)
{
    struct query *q = c->q;
    struct list *values = arg_list(c, 0), *weights = arg_list(c, 1), *none = list_new(q, 0);
    if (values->n != weights->n)
        return call_fail(c, "there must be as many values as weights, not %zu and %zu", values->n,
                         weights->n);
    struct list *products = weighted_products(c, values, weights);
    if (!products->n || q->failed)
        return value_of_list(none);
    struct list *sum = aggregate(c, products, "sum", c->scope->x_files_factor);
    struct list *weight = aggregate(c, weights, "sum", c->scope->x_files_factor);
    struct rows r;
    if (!sum->n || !weight->n || !rows_init(q, pair_of(q, sum->v[0], weight->v[0]), &r))
        return value_of_list(none);
    struct buf nodes = BUF_INIT;
    for (size_t i = 0; i < c->nrest; i++)
        buf_printf(&nodes, "%s%s", i ? "," : "", value_text(q, &c->rest[i]));
    const char *name = query_printf(q, "weightedAverage(%s, %s, %s)", sorted_expressions(q, values),
                                    sorted_expressions(q, weights), buf_str(&nodes));
    buf_release(&nodes);
    struct grid g = {sum->v[0]->start_s, sum->v[0]->end_s, sum->v[0]->step_s};
    struct query_series *s = series_on_grid(c, name, &g, r.n);
    for (size_t i = 0; s && i < r.n; i++) {
        const double *row = rows_get(&r, i);
        s->values[i] = safe_divide(row[0], row[1]);
    }
    return value_of_series(q, s);
}
