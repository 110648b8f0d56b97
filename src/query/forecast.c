/* Holt-Winters forecasts: triple exponential smoothing as in RRDtool, trained on the time before the range.
 */
#include "query/function_list.h"
#include "query/functions.h"

#include <math.h>
#include <string.h>

static const double alpha = 0.1, beta = 0.0035, gamma_ = 0.1;

struct analysis {
    double *prediction, *deviation; /* one for each value */
};

/* The states of all points so far. */
struct states {
    double *intercept, *slope, *seasonal;
    int64_t season; /* points */
};

static double seasonal_at(const double *v, int64_t i)
{
    return i >= 0 ? v[i] : 0;
}

static void analyse(const struct query_series *s, struct states *st, struct analysis *a)
{
    double next = column_missing();
    for (size_t i = 0; i < s->n; i++) {
        double actual = s->values[i], predicted = next;
        if (column_is_missing(actual)) {
            st->intercept[i] = column_missing();
            st->slope[i] = st->seasonal[i] = a->deviation[i] = 0;
            a->prediction[i] = next;
            next = column_missing();
            continue;
        }
        double last_intercept = i ? st->intercept[i - 1] : actual, last_slope = i ? st->slope[i - 1] : 0;
        if (!i)
            predicted = actual;
        if (column_is_missing(last_intercept))
            last_intercept = actual;
        int64_t before = (int64_t)i - st->season;
        double season = seasonal_at(st->seasonal, before);
        double last_deviation = seasonal_at(a->deviation, before);
        double intercept = alpha * (actual - season) + (1 - alpha) * (last_intercept + last_slope);
        double slope = beta * (intercept - last_intercept) + (1 - beta) * last_slope;
        double next_season = before + 1 <= (int64_t)i - 1 ? seasonal_at(st->seasonal, before + 1) : 0;
        st->intercept[i] = intercept;
        st->slope[i] = slope;
        st->seasonal[i] = gamma_ * (actual - intercept) + (1 - gamma_) * season;
        next = intercept + slope + next_season;
        double error = fabs(actual - (column_is_missing(predicted) ? 0 : predicted));
        a->prediction[i] = predicted;
        a->deviation[i] = gamma_ * error + (1 - gamma_) * last_deviation;
    }
}

struct training {
    int64_t bootstrap_s, season_s;
};

static bool analyse_series(struct call *c, const struct query_series *s, const struct training *t,
                           struct analysis *a)
{
    struct query *q = c->q;
    struct states st;
    double *room = query_values(q, 5 * s->n);
    if (!room)
        return false;
    a->prediction = room;
    a->deviation = room + s->n;
    st.intercept = room + 2 * s->n;
    st.slope = room + 3 * s->n;
    st.seasonal = room + 4 * s->n;
    if (!has_step(c, s))
        return false;
    st.season = t->season_s / s->step_s;
    if (st.season < 1 && agg_present(s->values, s->n)) {
        call_fail(c, "the seasonality must be at least the series' step");
        return false;
    }
    analyse(s, &st, a);
    return true;
}

/* Evaluates the first argument from earlier on; the intervals are parameters i and i + 1. The second is only
 * looked at where there are series. */
static struct list *trained_list(struct call *c, size_t i, struct training *t)
{
    struct scope scope = *c->scope;
    *t = (struct training){arg_interval(c, i), 0};
    scope.start_s -= t->bootstrap_s;
    struct list *l = c->q->failed ? list_new(c->q, 0) : call_again(c, &scope);
    if (l->n)
        t->season_s = arg_interval(c, i + 1);
    return l;
}

/* A series of the values after the bootstrap. */
static struct query_series *after_bootstrap(struct call *c, const struct query_series *s, const char *name,
                                            const struct training *t, const double *v)
{
    struct query_series *n = series_copy(c, s, name);
    int64_t skip = t->bootstrap_s / s->step_s - (t->bootstrap_s % s->step_s < 0), all = (int64_t)s->n;
    skip = skip < -all ? 0 : skip < 0 ? skip + all : skip > all ? all : skip; /* from the end if negative */
    size_t from = (size_t)skip;
    n->start_s = s->start_s + t->bootstrap_s;
    n->consolidation = "average";
    if (!series_alloc(c->q, n, s->n - from))
        return NULL;
    if (n->n)
        memcpy(n->values, v + from, n->n * sizeof *v);
    return n;
}

static void tag_analysed(struct query *q, struct query_series *s)
{
    tags_set(q, s->tags, "holtWintersForecast", "1");
    tags_set(q, s->tags, "holtWintersDeviation", "1");
}

struct value fn_holt_winters_forecast(struct call *c)
{
    struct query *q = c->q;
    struct training t;
    struct list *l = trained_list(c, 1, &t), *out = list_new(q, l->n);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        struct analysis a;
        if (!analyse_series(c, s, &t, &a))
            break;
        tag_analysed(q, s);
        list_add(
            q, out,
            after_bootstrap(c, s, query_printf(q, "holtWintersForecast(%s)", s->name), &t, a.prediction));
    }
    return value_of_list(out);
}

/* Lower, then upper, for each series; delta is parameter 1, the training 2 and 3. */
static struct list *bands(struct call *c)
{
    struct query *q = c->q;
    struct training t;
    struct list *l = trained_list(c, 2, &t), *out = list_new(q, 2 * l->n);
    double delta = l->n ? arg_number(c, 1) : 0;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        struct analysis a;
        double *upper = query_values(q, s->n), *lower = query_values(q, s->n);
        if (!upper || !lower || !analyse_series(c, s, &t, &a))
            break;
        for (size_t k = 0; k < s->n; k++) {
            bool missing = column_is_missing(a.prediction[k]);
            upper[k] = missing ? column_missing() : a.prediction[k] + delta * a.deviation[k];
            lower[k] = missing ? column_missing() : a.prediction[k] - delta * a.deviation[k];
        }
        tag_analysed(q, s);
        tags_set(q, s->tags, "holtWintersConfidenceUpper", "1");
        tags_set(q, s->tags, "holtWintersConfidenceLower", "1");
        struct query_series *low =
            after_bootstrap(c, s, query_printf(q, "holtWintersConfidenceLower(%s)", s->name), &t, lower);
        struct query_series *high =
            after_bootstrap(c, s, query_printf(q, "holtWintersConfidenceUpper(%s)", s->name), &t, upper);
        if (!low || !high)
            break;
        low->path_expression = high->path_expression = s->path_expression;
        list_add(q, out, low);
        list_add(q, out, high);
    }
    return out;
}

struct value fn_holt_winters_confidence_bands(struct call *c)
{
    return value_of_list(bands(c));
}

struct value fn_holt_winters_confidence_area(struct call *c)
{
    struct query *q = c->q;
    struct list *l = bands(c);
    if (q->failed)
        return value_of_list(l);
    if (l->n != 2)
        return call_fail(c, "needs exactly one series, not %zu", l->n / 2);
    const char *name = query_printf(q, "holtWintersConfidenceArea(%s)", l->v[1]->path_expression);
    for (size_t i = 0; i < 2; i++) {
        l->v[i]->tags = l->v[1]->tags;
        series_retitle(l->v[i], name);
    }
    tags_set(q, l->v[1]->tags, "holtWintersConfidenceArea", "1");
    return value_of_list(l);
}

static const struct query_series *named(const struct list *l, const char *name)
{
    for (size_t i = l->n; i--;)
        if (!strcmp(l->v[i]->name, name))
            return l->v[i];
    return NULL;
}

static double aberration(double v, double low, double high)
{
    if (column_is_missing(v))
        return 0;
    if (!column_is_missing(high) && v > high)
        return v - high;
    return !column_is_missing(low) && v < low ? v - low : 0;
}

struct value fn_holt_winters_aberration(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *band = bands(c), *out = list_new(q, l->n);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        const struct query_series *low =
            named(band, query_printf(q, "holtWintersConfidenceLower(%s)", s->name));
        const struct query_series *high =
            named(band, query_printf(q, "holtWintersConfidenceUpper(%s)", s->name));
        if (!low || !high || low->n < s->n)
            return call_fail(c, "there is no forecast for %.100s", s->name);
        tags_set(q, s->tags, "holtWintersAberration", "1");
        struct query_series *n = series_copy(c, s, query_printf(q, "holtWintersAberration(%s)", s->name));
        n->consolidation = "average";
        if (!series_alloc(q, n, s->n))
            break;
        for (size_t k = 0; k < s->n; k++)
            n->values[k] = aberration(s->values[k], low->values[k], high->values[k]);
        list_add(q, out, n);
    }
    return value_of_list(out);
}
