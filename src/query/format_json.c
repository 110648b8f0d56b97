/* JSON of /render. */
#include "base/digits.h"
#include "query/format.h"
#include "query/format_points.h"
#include "query/pynum.h"

#include <math.h>
#include <string.h>

static void put_tags(struct buf *b, const struct query_tags *t)
{
    buf_putc(b, '{');
    for (size_t i = 0; i < t->n; i++) {
        if (i)
            buf_puts(b, ", ");
        buf_json_string(b, t->v[i].name, strlen(t->v[i].name));
        buf_puts(b, ": ");
        buf_json_string(b, t->v[i].value, strlen(t->v[i].value));
    }
    buf_putc(b, '}');
}

static int64_t mod_floor(int64_t a, int64_t b)
{
    int64_t rest = a % b;
    return rest < 0 ? rest + b : rest;
}

/* Sets values_per_point so that the whole answer's range has at most max_points, and moves the start so that
 * the groups of points stay the same while the range moves on. graphite-web drops a value less than it moves
 * the start, so that each group begins one value before its time, and a whole group where the start needs no
 * moving. With values of a minute that is its habit, with those of a coarse archive it would be hours: there
 * groups begin at their time. */
static int thin_out(struct query_series *s, int64_t range_s, int64_t max_points, struct err *err)
{
    if (max_points == 1) {
        s->values_per_point = (int64_t)s->n;
        return OK;
    }
    if (s->step_s <= 0)
        return err_set(err, ERR_INVALID, "%.100s has no step", s->name);
    double points = (double)range_s / (double)s->step_s;
    if ((double)max_points >= points)
        return OK;
    if (max_points == 0)
        return err_set(err, ERR_INVALID, "maxDataPoints must not be 0");
    int64_t run = (int64_t)ceil(points / (double)max_points), width = run * s->step_s;
    int64_t nudge = width + mod_floor(s->start_s, s->step_s) - mod_floor(s->start_s, width);
    if (s->counts)
        nudge %= width;
    s->start_s += nudge;
    int64_t lose = nudge / s->step_s - !s->counts;
    size_t drop = lose < 0 ? 0 : (size_t)lose;
    if (drop > s->n)
        return err_set(err, ERR_INVALID, "%.100s is too short for maxDataPoints", s->name);
    s->values += drop;
    s->sums += s->sums ? drop : 0;
    s->counts += s->counts ? drop : 0;
    s->n -= drop;
    s->values_per_point = run;
    return OK;
}

static bool is_null(double v)
{
    return isnan(v); /* the missing value is one, too */
}

static bool has_points(const struct query_series *s, struct points p)
{
    int64_t width = s->step_s * s->values_per_point, at = s->start_s;
    for (; p.i < p.n && at <= s->end_s; at += width)
        if (!is_null(points_next(&p)))
            return true;
    return false;
}

/* Times of a series as text: all but the last four digits stay the same for hours. */
struct time_text {
    int64_t front;
    unsigned n;
    char digits[16];
};

static char *write_time(char *p, int64_t at, struct time_text *t)
{
    if (at < 10000 || at >= 1000000000000) {
        if (at < 0)
            *p++ = '-';
        return digits_put(p, at < 0 ? 0 - (uint64_t)at : (uint64_t)at);
    }
    int64_t front = at / 10000;
    uint32_t rest = (uint32_t)(at - front * 10000);
    if (front != t->front) {
        t->front = front;
        t->n = (unsigned)(digits_put(t->digits, (uint64_t)front) - t->digits);
    }
    memcpy(p, t->digits, 8);
    p += t->n;
    memcpy(p, digits_pair(rest / 100), 2);
    memcpy(p + 2, digits_pair(rest % 100), 2);
    return p + 4;
}

/* ", [value, time]" */
#define POINT_TEXT_MAX (PYNUM_TEXT_MAX + 32)
/* Points for which room is made at once: most of an answer is made of these. */
#define POINTS_AT_ONCE 128

static char *write_value(char *p, double v)
{
    if (isfinite(v))
        return pynum_put(p, v);
    const char *word = isnan(v) ? "null" : v > 0 ? "1e9999" : "-1e9999";
    size_t n = strlen(word);
    memcpy(p, word, n);
    return p + n;
}

static void put_points(struct buf *b, const struct query_series *s, struct points *p, int64_t width,
                       bool no_nulls)
{
    struct time_text text = {.front = -1};
    int64_t at = s->start_s;
    bool any = false;
    while (p->i < p->n && at <= s->end_s) {
        char *start = (char *)buf_reserve(b, POINTS_AT_ONCE * POINT_TEXT_MAX), *to = start;
        for (int i = 0; i < POINTS_AT_ONCE && p->i < p->n && at <= s->end_s; i++, at += width) {
            double v = points_next(p);
            if (no_nulls && is_null(v))
                continue;
            if (any) {
                *to++ = ',';
                *to++ = ' ';
            }
            any = true;
            *to++ = '[';
            to = write_value(to, v);
            *to++ = ',';
            *to++ = ' ';
            to = write_time(to, at, &text);
            *to++ = ']';
        }
        b->len += (size_t)(to - start);
    }
}

/* constantLine("x"): the text in place of values. */
static void put_text_points(struct buf *b, const struct query_series *s, struct points *p, int64_t width,
                            bool no_nulls)
{
    bool any = false;
    for (int64_t at = s->start_s; p->i < p->n && at <= s->end_s; at += width) {
        if (is_null(points_next(p)) && no_nulls)
            continue;
        buf_puts(b, any ? ", [" : "[");
        any = true;
        buf_json_string(b, s->text, strlen(s->text));
        buf_puts(b, ", ");
        put_int(b, at);
        buf_putc(b, ']');
    }
}

/* {"spans": [{"from": 1763800020, "until": 1763900000, "step": 60, "tiers": ["hot", "warm"], "series": 1}]}
 */
static void put_meta(struct buf *b, const struct query_series *s)
{
    buf_puts(b, "{\"spans\": [");
    for (size_t i = 0; s->reads && i < s->reads->n; i++) {
        const struct query_read *r = &s->reads->v[i];
        buf_printf(b, "%s{\"from\": %lld, \"until\": %lld, \"step\": %.10g, \"tiers\": [", i ? ", " : "",
                   (long long)r->from_s, (long long)r->until_s, (double)r->step_ms / 1000);
        bool any = false;
        for (unsigned tier = 1; tier <= READ_COLD; tier <<= 1) {
            if (!(r->tiers & tier))
                continue;
            buf_printf(b, "%s\"%s\"", any ? ", " : "", read_tier_name(tier));
            any = true;
        }
        buf_printf(b, "], \"series\": %zu}", r->series);
    }
    buf_puts(b, "]}");
}

static int put_series(struct buf *b, const struct query_series *s, const struct format_options *o,
                      bool *first, struct err *err)
{
    struct points p;
    int rc = points_init(&p, s, err);
    int64_t width = s->step_s * s->values_per_point;
    if (rc < 0)
        return rc;
    if (width <= 0)
        return err_set(err, ERR_INVALID, "%.100s has no step: its time range is too short", s->name);
    if (o->no_null_points && !has_points(s, p))
        return OK;
    buf_puts(b, *first ? "{\"target\": " : ", {\"target\": ");
    *first = false;
    put_name(b, s);
    buf_puts(b, ", \"tags\": ");
    put_tags(b, s->tags);
    if (o->meta) {
        buf_puts(b, ", \"meta\": ");
        put_meta(b, s);
    }
    buf_puts(b, ", \"datapoints\": [");
    if (s->text)
        put_text_points(b, s, &p, width, o->no_null_points);
    else
        put_points(b, s, &p, width, o->no_null_points);
    buf_puts(b, "]}");
    return OK;
}

int format_json(struct query_result *r, const struct format_options *o, struct buf *out, struct err *err)
{
    int64_t start = INT64_MAX, end = INT64_MIN;
    bool any = false, first = true;
    for (size_t i = 0; i < r->n; i++) {
        start = r->series[i]->start_s < start ? r->series[i]->start_s : start;
        end = r->series[i]->end_s > end ? r->series[i]->end_s : end;
        any = any || r->series[i]->n;
    }
    buf_putc(out, '[');
    for (size_t i = 0; any && i < r->n; i++) { /* nothing but empty series is an empty answer */
        struct query_series *s = r->series[i];
        int rc = o->has_max_points ? thin_out(s, end - start, o->max_points, err) : OK;
        if (rc == OK)
            rc = put_series(out, s, o, &first, err);
        if (rc < 0)
            return rc;
    }
    buf_putc(out, ']');
    return OK;
}
