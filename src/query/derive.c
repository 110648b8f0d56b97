/* Functions whose values depend on the values before. */
#include "query/function_list.h"
#include "query/functions.h"
#include "query/pynum.h"

#include <math.h>
#include <string.h>

/* A copy named "function(series)" with a tag and room for as many values; NULL after a failure. */
static struct query_series *derived(struct call *c, struct query_series *s, const char *name)
{
    tags_set(c->q, s->tags, c->fn->name, "1");
    struct query_series *n =
        series_copy(c, s, name ? name : query_printf(c->q, "%s(%s)", c->fn->name, s->name));
    return series_alloc(c->q, n, s->n) ? n : NULL;
}

struct value fn_derivative(struct call *c)
{
    struct list *l = arg_list(c, 0), *out = list_new(c->q, l->n);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i], *n = derived(c, s, NULL);
        double previous = column_missing();
        for (size_t k = 0; n && k < s->n; k++) {
            double v = s->values[k];
            bool both = !column_is_missing(previous) && !column_is_missing(v);
            n->values[k] = both ? v - previous : column_missing();
            previous = v;
        }
        if (n)
            n->integers = s->integers;
        list_add(c->q, out, n);
    }
    return value_of_list(out);
}

/* The bounds of a counter that wraps. */
struct bounds {
    bool has_max, has_min;
    double max, min;
};

/* A counter's increase since *previous, missing where it cannot be told. */
static double increase(double v, double *previous, const struct bounds *b)
{
    double before = *previous;
    bool outside = (b->has_max && v > b->max) || (b->has_min && v < b->min);
    *previous = outside ? column_missing() : v;
    if (outside || column_is_missing(before) || column_is_missing(v))
        return column_missing();
    if (v >= before)
        return v - before;
    if (b->has_max)
        return b->max + 1 + v - before - (b->has_min ? b->min : 0);
    return b->has_min ? v - b->min : column_missing();
}

static struct value increases(struct call *c, bool per_second)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct bounds b = {arg_given(c, 1), arg_given(c, 2), 0, 0};
    b.max = b.has_max ? arg_number(c, 1) : 0;
    b.min = b.has_min ? arg_number(c, 2) : 0;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i], *n = derived(c, s, NULL);
        double previous = column_missing();
        for (size_t k = 0; n && k < s->n; k++) {
            n->values[k] = increase(s->values[k], &previous, &b);
            if (per_second && !column_is_missing(n->values[k]))
                n->values[k] = pynum_round(n->values[k] / (double)s->step_s, 6);
        }
        list_add(q, out, n);
    }
    return value_of_list(out);
}

struct value fn_non_negative_derivative(struct call *c)
{
    return increases(c, false);
}
struct value fn_per_second(struct call *c)
{
    return increases(c, true);
}

struct value fn_integral(struct call *c)
{
    struct list *l = arg_list(c, 0), *out = list_new(c->q, l->n);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i], *n = derived(c, s, NULL);
        double sum = 0;
        for (size_t k = 0; n && k < s->n; k++) {
            bool missing = column_is_missing(s->values[k]);
            sum += missing ? 0 : s->values[k];
            n->values[k] = missing ? column_missing() : sum;
        }
        list_add(c->q, out, n);
    }
    return value_of_list(out);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

struct value fn_integral_by_interval(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    int64_t interval = arg_interval(c, 1), from = mktime_seconds(c->scope, c->scope->start_s);
    interval = interval < 0 ? -interval : interval;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        if (!interval && s->n)
            return call_fail(c, "the interval must not be 0");
        const char *name = query_printf(q, "integralByInterval(%s,'%s')", s->name, arg_string(c, 1));
        tags_set(q, s->tags, "integralByInterval", arg_string(c, 1));
        struct query_series *n = series_copy(c, s, name);
        double sum = 0;
        if (!series_alloc(q, n, s->n))
            break;
        int64_t at = s->start_s - from;
        for (size_t k = 0; k < s->n; k++, at += s->step_s) {
            if (floor_div(at, interval) != floor_div(at - s->step_s, interval))
                sum = 0;
            sum += column_is_missing(s->values[k]) ? 0 : s->values[k];
            n->values[k] = sum;
        }
        list_add(q, out, n);
    }
    return value_of_list(out);
}

struct value fn_delay(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    int64_t steps = arg_index(c, 1);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        tags_set(q, s->tags, "delay", value_text(q, &c->args[1]));
        struct query_series *n =
            series_copy(c, s, query_printf(q, "delay(%s,%lld)", s->name, (long long)steps));
        size_t by = (size_t)(steps < 0 ? -(steps + 1) + 1 : steps);
        by = by > s->n ? s->n : by;
        if (!series_alloc(q, n, steps ? s->n : 0)) /* a delay of 0 leaves nothing, as in graphite-web */
            break;
        for (size_t k = 0; k < n->n; k++) {
            bool inside = steps < 0 ? k + by < s->n : k >= by;
            n->values[k] = !inside ? column_missing() : steps < 0 ? s->values[k + by] : s->values[k - by];
        }
        n->integers = s->integers;
        list_add(q, out, n);
    }
    return value_of_list(out);
}

static struct stack *find_stack(struct stack **all, const char *name)
{
    for (struct stack *s = *all; s; s = s->next)
        if (!strcmp(s->name, name))
            return s;
    return NULL;
}

static struct stack *open_stack(struct call *c, const char *name)
{
    struct query *q = c->q;
    if (!c->scope->stacks) {
        c->scope->stacks = arena_alloc(q->arena, sizeof *c->scope->stacks);
        *c->scope->stacks = NULL;
    }
    struct stack *s = find_stack(c->scope->stacks, name);
    if (s)
        return s;
    s = arena_alloc(q->arena, sizeof *s);
    *s = (struct stack){.name = name, .next = *c->scope->stacks};
    *c->scope->stacks = s;
    return s;
}

static bool grow_stack(struct query *q, struct stack *s, size_t n)
{
    if (n <= s->n)
        return true;
    double *total = query_values(q, n);
    if (!total)
        return false;
    if (s->n)
        memcpy(total, s->total, s->n * sizeof *total);
    memset(total + s->n, 0, (n - s->n) * sizeof *total);
    s->total = total;
    s->n = n;
    return true;
}

struct value fn_stacked(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    const char *name = value_text(q, &c->args[1]);
    bool unnamed = !strcmp(name, "__DEFAULT__");
    struct stack *stack = open_stack(c, name);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        if (unnamed)
            tags_set(q, s->tags, "stacked", name);
        struct query_series *n =
            series_copy(c, s, unnamed ? query_printf(q, "stacked(%s)", s->name) : s->name);
        if (!grow_stack(q, stack, s->n) || !series_alloc(q, n, s->n))
            break;
        for (size_t k = 0; k < s->n; k++) {
            bool missing = column_is_missing(s->values[k]);
            stack->total[k] += missing ? 0 : s->values[k];
            n->values[k] = missing ? column_missing() : stack->total[k];
        }
        list_add(q, out, n);
    }
    return value_of_list(out);
}

/* Python's v ** 2 is the C library's pow, which may differ from v * v in the last digit. */
static double square(double v)
{
    volatile double two = 2.0;
    return pow(v, two);
}

/* What stdev keeps while it goes over a series. */
struct running {
    double sum, squares;
    int64_t present;
};

static void running_add(struct running *r, double v, int sign)
{
    if (column_is_missing(v))
        return;
    r->sum += sign * v;
    r->squares += sign * square(v);
    r->present += sign;
}

static double running_deviation(const struct running *r)
{
    double variance = (double)r->present * r->squares - square(r->sum);
    return variance < 0 ? column_missing() : sqrt(variance) / (double)r->present;
}

struct value fn_stdev(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    int64_t points = arg_index(c, 1);
    double tolerance = arg_number(c, 2);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        if (points < 0 && s->n)
            return call_fail(c, "the number of points must not be negative");
        tags_set(q, s->tags, "stdev", value_text(q, &c->args[1]));
        struct query_series *n =
            series_copy(c, s, query_printf(q, "stdev(%s,%lld)", s->name, (long long)points));
        if (!series_alloc(q, n, s->n))
            break;
        struct running r = {0, 0, 0};
        for (size_t k = 0; k < s->n; k++) {
            if ((int64_t)k >= points)
                running_add(&r, s->values[k - (size_t)points], -1);
            running_add(&r, s->values[k], 1);
            bool enough = r.present > 0 && (double)r.present / (double)points >= tolerance;
            n->values[k] = enough ? running_deviation(&r) : column_missing();
        }
        list_add(q, out, n);
    }
    return value_of_list(out);
}
