/* Functions over a window that moves with the points: the window ends before the point itself, and the first
 * argument is evaluated again from one window earlier. */
#include "query/function_list.h"
#include "query/functions.h"
#include "query/pynum.h"

#include <string.h>

struct window {
    bool interval; /* given as text */
    int64_t seconds, points;
};

/* From parameter 1. The preview of a number of points is in the longest step. */
static struct window read_window(struct call *c, const struct list *l)
{
    struct window w = {.interval = c->args[1].kind == V_STRING};
    if (w.interval) {
        w.seconds = arg_interval(c, 1);
        w.seconds = w.seconds < 0 ? -w.seconds : w.seconds;
        return w;
    }
    int64_t step = 0;
    for (size_t i = 0; i < l->n; i++)
        step = l->v[i]->step_s > step ? l->v[i]->step_s : step;
    w.points = arg_int(c, 1);
    if (w.points > 1000000000 || w.points < -1000000000) {
        call_fail(c, "the window is too large");
        w.points = 0;
    }
    w.seconds = step * w.points;
    return w;
}

static struct list *preview(struct call *c, const struct window *w)
{
    struct scope scope = *c->scope;
    scope.start_s -= w->seconds;
    return call_again(c, &scope);
}

static const char *window_name(struct call *c, const char *func, const char *series, const struct window *w)
{
    const char *size = value_text(c->q, &c->args[1]);
    return w->interval ? query_printf(c->q, "%s(%s,\"%s\")", func, series, size)
                       : query_printf(c->q, "%s(%s,%s)", func, series, size);
}

/* Rings of rising or falling values for minima and maxima in O(1) per point. */
static void move_extreme(const double *v, size_t n, size_t window, bool min, double need, size_t *ring,
                         double *out)
{
    size_t head = 0, tail = 0, present = 0; /* ring[head..tail) are candidates, best first */
    for (size_t i = 0; i < n; i++) {
        if (i >= window) {
            bool enough = agg_enough(present, (double)window, need) && tail > head;
            out[i - window] = enough ? v[ring[head]] : column_missing();
            size_t leaving = i - window;
            present -= !column_is_missing(v[leaving]);
            if (head < tail && ring[head] == leaving)
                head++;
        }
        if (column_is_missing(v[i]))
            continue;
        present++;
        while (tail > head && (min ? v[i] < v[ring[tail - 1]] : v[i] > v[ring[tail - 1]]))
            tail--;
        ring[tail++] = i;
    }
}

static void move_each(struct query *q, const double *v, size_t n, size_t window, agg_fn fn, double need,
                      double *out)
{
    for (size_t i = window; i < n && !query_tick(q, window + 1); i++) {
        size_t present = agg_present(v + i - window, window);
        bool enough = agg_enough(present, (double)window, need);
        out[i - window] = enough ? fn(v + i - window, window) : column_missing();
    }
}

/* An average of the values that are there is an average of all: avg_zero and multiply see no missing ones. */
static double average_zero_present(const double *v, size_t n)
{
    return agg_average(v, n);
}
static double multiply_present(const double *v, size_t n)
{
    double product = 1;
    for (size_t i = 0; i < n; i++)
        product *= column_is_missing(v[i]) ? 1 : v[i];
    return product;
}

static agg_fn of_present(agg_fn fn)
{
    return fn == agg_average_zero ? average_zero_present : fn == agg_multiply ? multiply_present : fn;
}

/* A window of no points has no values, nor has one that begins after its end. */
static void move(struct query *q, const struct query_series *s, struct query_series *n, int64_t points,
                 agg_fn fn, double need)
{
    size_t window = points > 0 ? (size_t)points : 0;
    for (size_t i = 0; i < n->n; i++) /* also for what a failure leaves undone */
        n->values[i] = column_missing();
    if (!window)
        return;
    if (fn != agg_min && fn != agg_max) {
        move_each(q, s->values, s->n, window, of_present(fn), need, n->values);
        return;
    }
    _Static_assert(sizeof(size_t) <= sizeof(double), "indices fit into room made for values");
    double *ring = query_scratch(q, s->n);
    if (ring)
        move_extreme(s->values, s->n, window, fn == agg_min, need, (size_t *)(void *)ring, n->values);
}

static const char *capitalized(struct query *q, const char *word)
{
    char *out = arena_strndup(q->arena, word, strlen(word));
    for (char *p = out; *p; p++)
        *p = (char)(p == out ? (*p >= 'a' && *p <= 'z' ? *p - 32 : *p)
                             : (*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
    return out;
}

static struct value moving(struct call *c, const char *func, size_t xff_param)
{
    struct query *q = c->q;
    if (!arg_true(c, 0))
        return value_of_list(list_new(q, 0));
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct window w = read_window(c, l);
    agg_fn fn = agg_find(func);
    if (!fn)
        return call_fail(c, "'%.60s' is no aggregation", func);
    struct list *longer = preview(c, &w);
    const char *tag = query_printf(q, "moving%s", capitalized(q, func));
    for (size_t i = 0; i < longer->n && !q->failed; i++) {
        struct query_series *s = longer->v[i];
        int64_t points = w.interval && s->step_s > 0 ? w.seconds / s->step_s : w.points;
        tags_set(q, s->tags, tag, value_text(q, &c->args[1]));
        struct query_series *n = series_copy(c, s, window_name(c, tag, s->name, &w));
        n->start_s = s->start_s + w.seconds;
        double need = arg_given(c, xff_param) ? arg_number(c, xff_param) : s->x_files_factor;
        int64_t count = (int64_t)s->n - points;
        if (series_alloc(q, n, count > 0 ? (size_t)count : 0) && n->n)
            move(q, s, n, points, fn, need);
        n->integers = agg_makes_integers(fn, s->integers);
        list_add(q, out, n);
    }
    return value_of_list(out);
}

struct value fn_moving_window(struct call *c)
{
    return moving(c, arg_string(c, 2), 3);
}
struct value fn_moving_average(struct call *c)
{
    return moving(c, "average", 2);
}
struct value fn_moving_median(struct call *c)
{
    return moving(c, "median", 2);
}
struct value fn_moving_sum(struct call *c)
{
    return moving(c, "sum", 2);
}
struct value fn_moving_min(struct call *c)
{
    return moving(c, "min", 2);
}
struct value fn_moving_max(struct call *c)
{
    return moving(c, "max", 2);
}

/* From `from` on, which counts from the end if negative, after an average of all points before it. */
static bool smooth(const struct query_series *s, int64_t from, double constant, double *out)
{
    int64_t n = (int64_t)s->n, first = from < 0 ? from + n : from > n ? n : from;
    double ema = agg_average(s->values, first > 0 ? (size_t)first : 0);
    if (column_is_missing(ema))
        ema = 0;
    *out++ = pynum_round(ema, 6);
    for (int64_t k = from; k < n; k++) {
        if (k + n < 0)
            return false;
        double v = s->values[k < 0 ? k + n : k];
        if (column_is_missing(v)) {
            *out++ = column_missing();
            continue;
        }
        ema = constant * v + (1 - constant) * ema;
        *out++ = pynum_round(ema, 6);
    }
    return true;
}

struct value fn_exponential_moving_average(struct call *c)
{
    struct query *q = c->q;
    if (!arg_true(c, 0))
        return value_of_list(list_new(q, 0));
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct window w = read_window(c, l);
    int64_t span = w.interval ? w.seconds : w.points;
    if (span == -1)
        return call_fail(c, "the window must not be -1");
    struct list *longer = preview(c, &w);
    for (size_t i = 0; i < longer->n && !q->failed; i++) {
        struct query_series *s = longer->v[i];
        int64_t from = w.interval && s->step_s > 0 ? w.seconds / s->step_s : w.points;
        int64_t count = (int64_t)s->n - from;
        tags_set(q, s->tags, c->fn->name, value_text(q, &c->args[1]));
        struct query_series *n = series_copy(c, s, window_name(c, c->fn->name, s->name, &w));
        n->start_s = s->start_s + w.seconds;
        if (series_alloc(q, n, 1 + (count > 0 ? (size_t)count : 0)) &&
            !smooth(s, from, 2.0 / (double)(span + 1), n->values))
            return call_fail(c, "the window is too large");
        list_add(q, out, n);
    }
    return value_of_list(out);
}
