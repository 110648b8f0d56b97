/* Functions that look at other times, or make series of time itself. */
#include "query/function_list.h"
#include "query/functions.h"
#include "query/pynum.h"
#include "query/timespec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An interval in parameter i that counts backwards unless it has a sign; *text as it goes into names. */
static int64_t backward_interval(struct call *c, size_t i, const char **text)
{
    const char *given = arg_string(c, i);
    *text = given;
    if (*given >= '0' && *given <= '9')
        *text = query_printf(c->q, "-%s", given);
    int64_t s = 0;
    struct err err = ERR_INIT;
    if (!*given)
        arg_fail(c, i, "an interval such as '1d'");
    else if (query_parse_interval(*text, &s, &err) < 0)
        call_fail(c, "%.200s", err.text);
    return s;
}

/* graphite-web aligns by the daylight saving time of the server, which keeps UTC: nothing to align. */
struct value fn_time_shift(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    const char *text;
    int64_t delta = backward_interval(c, 1, &text);
    bool reset_end = arg_true(c, 2);
    struct scope scope = *c->scope;
    if (!l->n || q->failed)
        return value_of_list(out);
    scope.start_s += delta;
    scope.end_s += delta;
    struct list *shifted = call_again(c, &scope);
    for (size_t i = 0; i < shifted->n && !q->failed; i++) {
        struct query_series *s = shifted->v[i];
        tags_set(q, s->tags, "timeShift", text);
        series_rename(s, query_printf(q, "timeShift(%s, \"%s\")", s->name, text));
        s->end_s = reset_end ? l->v[0]->end_s : s->end_s - s->start_s + l->v[0]->start_s;
        s->start_s = l->v[0]->start_s;
        list_add(q, out, s);
    }
    return value_of_list(out);
}

struct value fn_time_stack(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    const char *unit;
    int64_t delta = backward_interval(c, 1, &unit), from = arg_int(c, 2), to = arg_int(c, 3);
    if (!l->n || q->failed)
        return value_of_list(out);
    if (to - from > 10000 || from < -1000000 || to > 1000000 || llabs(delta) > 86400ll * 365 * 1000)
        return call_fail(c, "the stack is too high");
    for (int64_t shift = from; shift < to && !q->failed; shift++) {
        struct scope scope = *c->scope;
        scope.start_s += delta * shift;
        scope.end_s += delta * shift;
        struct list *shifted = call_again(c, &scope);
        for (size_t i = 0; i < shifted->n; i++) {
            struct query_series *s = shifted->v[i];
            const char *count = query_printf(q, "%lld", (long long)shift);
            tags_set(q, s->tags, "timeShiftUnit", unit);
            tags_set(q, s->tags, "timeShift", count);
            series_retitle(s, query_printf(q, "timeShift(%s, %s, %s)", s->name, unit, count));
            s->start_s = l->v[0]->start_s;
            s->end_s = l->v[0]->end_s;
            list_add(q, out, s);
        }
    }
    return value_of_list(out);
}

/* A time in parameter i, as graphite-web reads it: in UTC and relative to the real now. */
static int64_t arg_time(struct call *c, size_t i, const struct query_zone *zone)
{
    int64_t t = 0;
    struct err err = ERR_INIT;
    const struct query_request *r = c->q->request;
    if (c->args[i].kind != V_STRING)
        arg_fail(c, i, "a time as a string, such as '-1h' or '12:00_20261120'");
    else if (query_parse_time(c->args[i].s, zone, r->clock_s ? r->clock_s : r->now_s, &t, &err) < 0)
        call_fail(c, "%.200s", err.text);
    return t;
}

struct value fn_time_slice(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    int64_t start = arg_time(c, 1, NULL), end = arg_time(c, 2, NULL);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        const char *from = query_printf(q, "%lld", (long long)start),
                   *to = query_printf(q, "%lld", (long long)end);
        tags_set(q, s->tags, "timeSliceStart", from);
        tags_set(q, s->tags, "timeSliceEnd", to);
        series_rename(s, query_printf(q, "timeSlice(%s, %s, %s)", s->name, from, to));
        int64_t at = mktime_seconds(c->scope, c->scope->start_s);
        for (size_t k = 0; k < s->n; k++, at += s->step_s)
            if (at < start || at > end)
                s->values[k] = column_missing();
    }
    return value_of_list(l);
}

/* Least squares of the values over their index; false if they are too few. */
static bool regress(const struct query_series *s, double *factor, double *offset)
{
    double n = 0, sum_i = 0, sum_v = 0, sum_ii = 0, sum_iv = 0;
    for (size_t k = 0; k < s->n; k++) {
        if (column_is_missing(s->values[k]))
            continue;
        double i = (double)k;
        n++;
        sum_i += i;
        sum_v += s->values[k];
        sum_ii += i * i;
        sum_iv += i * s->values[k];
    }
    double denominator = n * sum_ii - sum_i * sum_i;
    if (denominator == 0)
        return false;
    *factor = (n * sum_iv - sum_i * sum_v) / denominator / (double)s->step_s;
    *offset = (sum_ii * sum_v - sum_iv * sum_i) / denominator - *factor * (double)s->start_s;
    return true;
}

struct value fn_linear_regression(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct scope scope = *c->scope;
    bool has_start = arg_given(c, 1), has_end = arg_given(c, 2);
    if (has_start)
        scope.start_s = arg_time(c, 1, NULL);
    if (has_end)
        scope.end_s = arg_time(c, 2, NULL);
    if (q->failed)
        return value_of_list(out);
    struct list *source = call_again(c, &scope);
    int64_t from = has_start ? scope.start_s : mktime_seconds(&scope, scope.start_s);
    int64_t to = has_end ? scope.end_s : mktime_seconds(&scope, scope.end_s);
    for (size_t i = 0; i < l->n && i < source->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        double factor, offset;
        const char *range = query_printf(q, "%lld, %lld", (long long)from, (long long)to);
        tags_set(q, s->tags, "linearRegressions", range);
        struct query_series *n =
            series_copy(c, s, query_printf(q, "linearRegression(%s, %s)", s->name, range));
        n->consolidation = "average";
        if (!regress(source->v[i], &factor, &offset) || !series_alloc(q, n, s->n))
            continue;
        for (size_t k = 0; k < n->n; k++)
            n->values[k] = offset + (double)(s->start_s + (int64_t)k * s->step_s) * factor;
        list_add(q, out, n);
    }
    return value_of_list(out);
}

/* --- series of nothing stored --- */

struct value fn_constant_line(struct call *c)
{
    const struct value *v = &c->args[0];
    const char *text = value_text(c->q, v);
    double number = v->kind == V_STRING || v->kind == V_NONE ? column_missing() : arg_number(c, 0);
    struct query_series *s = constant_line(c, text, number);
    if (s && v->kind == V_STRING)
        s->text = v->s;
    return value_of_series(c->q, s);
}

struct value fn_threshold(struct call *c)
{
    struct value line = fn_constant_line(c);
    if (line.list->n && arg_true(c, 1))
        name_by_value(c, line.list->v[0], &c->args[1]);
    return line;
}

struct value fn_vertical_line(struct call *c)
{
    struct query *q = c->q;
    int64_t at = mktime_seconds(c->scope, arg_time(c, 0, c->scope->zone));
    if (q->failed)
        return value_of_list(list_new(q, 0));
    if (at < mktime_seconds(c->scope, c->scope->start_s) || at > mktime_seconds(c->scope, c->scope->end_s))
        return call_fail(c, "the time %lld is outside of the range shown", (long long)at);
    const char *label = value_text(q, &c->args[1]);
    struct query_series *s = series_new(c, label, at, at, 1);
    name_by_value(c, s, &c->args[1]);
    if (!series_alloc(q, s, 2))
        return value_of_list(list_new(q, 0));
    s->values[0] = s->values[1] = 1;
    return value_of_series(q, s);
}

struct value fn_aggregate_line(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    agg_fn fn = arg_aggregation(c, 1);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i], *line;
        double v = fn(s->values, s->n);
        const char *name = column_is_missing(v) ? query_printf(q, "aggregateLine(%s, None)", s->name)
                                                : query_printf(q, "aggregateLine(%s, %g)", s->name, v);
        if (arg_true(c, 2)) {
            line = series_copy(c, s, name);
            if (!series_alloc(q, line, s->n))
                break;
            for (size_t k = 0; k < line->n; k++)
                line->values[k] = v;
        } else {
            struct query_series like = {.integers = agg_makes_integers(fn, s->integers)};
            struct value text = value_of_number(&like, v);
            line = constant_line(c, value_text(q, &text), v);
            if (line)
                series_retitle(line, name);
        }
        list_add(q, out, line);
    }
    return value_of_list(out);
}

typedef double (*at_fn)(struct call *c, int64_t wall_s, double k);

/* A value for each step of the range, computed from the wall-clock time. */
static struct value of_time(struct call *c, int64_t step, at_fn fn, double k, bool wall_range)
{
    struct query *q = c->q;
    const struct scope *at = c->scope;
    if (step <= 0)
        return call_fail(c, "the step must be positive");
    int64_t count = (at->end_s - at->start_s + step - 1) / step;
    int64_t start = wall_range ? mktime_seconds(at, at->start_s) : at->start_s;
    int64_t end = wall_range ? mktime_seconds(at, at->end_s) : at->end_s;
    struct query_series *s = series_new(c, value_text(q, &c->args[0]), start, end, step);
    if (c->args[0].kind != V_STRING)
        name_by_value(c, s, &c->args[0]);
    if (!series_alloc(q, s, (size_t)count))
        return value_of_list(list_new(q, 0));
    int64_t first = mktime_seconds(at, at->start_s);
    for (size_t i = 0; i < s->n; i++)
        s->values[i] = fn(c, first + (int64_t)i * step, k);
    return value_of_series(q, s);
}

static double time_at(struct call *c, int64_t wall_s, double k)
{
    return (double)wall_s;
}

static double sine_at(struct call *c, int64_t wall_s, double k)
{
    return sin((double)wall_s) * k;
}

/* A xorshift step: where a walk goes need not be secret, only vary. */
static double walk_at(struct call *c, int64_t wall_s, double k)
{
    struct query *q = c->q;
    double before = c->args[0].d;
    q->random ^= q->random << 13;
    q->random ^= q->random >> 7;
    q->random ^= q->random << 17;
    c->args[0].d += (double)(q->random >> 11) / 9007199254740992.0 - 0.5;
    return before;
}

struct value fn_time(struct call *c)
{
    return of_time(c, arg_index(c, 1), time_at, 0, true);
}

struct value fn_sin(struct call *c)
{
    return of_time(c, arg_index(c, 2), sine_at, arg_number(c, 1), false);
}

struct value fn_random_walk(struct call *c)
{
    c->args[0].d = 0; /* where the walk stands; the name is in .s or .i */
    return of_time(c, arg_index(c, 1), walk_at, 0, false);
}

struct value fn_identity(struct call *c)
{
    struct query *q = c->q;
    const struct scope *at = c->scope;
    int64_t count = (at->end_s - at->start_s + 59) / 60;
    const char *name = value_text(q, &c->args[0]);
    struct query_series *s = series_new(c, name, at->start_s, at->end_s, 60);
    if (c->args[0].kind != V_STRING)
        name_by_value(c, s, &c->args[0]);
    s->path_expression = query_printf(q, "identity(\"%s\")", name);
    if (!series_alloc(q, s, (size_t)count))
        return value_of_list(list_new(q, 0));
    for (size_t i = 0; i < s->n; i++)
        s->values[i] = (double)(at->start_s + 60 * (int64_t)i);
    s->integers = true;
    return value_of_series(q, s);
}

/* There are no events to show: a series without values. */
struct value fn_events(struct call *c)
{
    struct query *q = c->q;
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < c->nrest; i++) {
        if (c->rest[i].kind != V_STRING)
            call_fail(c, "a tag must be a string, not %.60s", value_text(q, &c->rest[i]));
        buf_printf(&b, "%s%s", i ? "\", \"" : "", value_text(q, &c->rest[i]));
    }
    const char *name = query_printf(q, "events(\"%s\")", buf_str(&b));
    buf_release(&b);
    struct query_series *s = series_new(c, name, c->scope->start_s, c->scope->end_s, 1);
    s->consolidation = "sum";
    if (!series_alloc(q, s, (size_t)(c->scope->end_s - c->scope->start_s)))
        return value_of_list(list_new(q, 0));
    for (size_t i = 0; i < s->n; i++)
        s->values[i] = column_missing();
    return value_of_series(q, s);
}
