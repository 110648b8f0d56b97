/* JSON, CSV, raw, dygraph and rickshaw. */
#include "base/digits.h"
#include "base/mem.h"
#include "query/agg.h"
#include "query/civil.h"
#include "query/format.h"
#include "query/pynum.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_number(struct buf *b, double v)
{
    uint8_t *p = buf_reserve(b, PYNUM_TEXT_MAX);
    b->len += pynum_repr(v, (char *)p);
}

/* How values that JSON has no word for are written. */
struct words {
    const char *missing, *nan, *inf, *minus_inf;
};

static void put_value(struct buf *b, double v, const struct words *w)
{
    if (column_is_missing(v))
        buf_puts(b, w->missing);
    else if (isnan(v))
        buf_puts(b, w->nan);
    else if (isinf(v))
        buf_puts(b, v > 0 ? w->inf : w->minus_inf);
    else
        put_number(b, v);
}

static void put_int(struct buf *b, int64_t v)
{
    char *p = (char *)buf_reserve(b, 1 + DIGITS_MAX), *end = p;
    if (v < 0)
        *end++ = '-';
    end = digits_put(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    b->len += (size_t)(end - p);
}

static void put_name(struct buf *b, const struct query_series *s)
{
    if (s->name_json)
        buf_puts(b, s->name_json);
    else
        buf_json_string(b, s->name, strlen(s->name));
}

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

/* The consolidated values of a series, one by one. */
struct points {
    const struct query_series *s;
    agg_fn fn;
    bool zero;
    size_t n, i;
};

static int points_init(struct points *p, const struct query_series *s, struct err *err)
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

static double points_next(struct points *p)
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

/* As csv.writer of Python in its excel dialect. */
static void put_csv(struct buf *b, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        buf_puts(b, s);
        return;
    }
    buf_putc(b, '"');
    for (; *s; s++) {
        if (*s == '"')
            buf_putc(b, '"');
        buf_putc(b, *s);
    }
    buf_putc(b, '"');
}

static const struct words python_words = {"None", "nan", "inf", "-inf"};

static int format_csv(struct query_result *r, const struct format_options *o, struct buf *out,
                      struct err *err)
{
    static const struct words words = {"", "nan", "inf", "-inf"};
    for (size_t i = 0; i < r->n; i++) {
        const struct query_series *s = r->series[i];
        struct points p;
        int rc = points_init(&p, s, err);
        if (rc < 0)
            return rc;
        while (p.i < p.n) {
            int64_t at = s->start_s + (int64_t)p.i * s->step_s;
            struct civil t = civil_from_seconds(at + query_zone_offset(o->zone, at));
            put_csv(out, s->name);
            buf_printf(out, ",%04d-%02d-%02d %02d:%02d:%02d,", t.year, t.month, t.day, t.hour, t.minute,
                       t.second);
            put_value(out, points_next(&p), &words);
            buf_puts(out, "\r\n");
        }
    }
    return OK;
}

static int format_raw(struct query_result *r, const struct format_options *o, struct buf *out,
                      struct err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct query_series *s = r->series[i];
        struct points p;
        int rc = points_init(&p, s, err);
        if (rc < 0)
            return rc;
        buf_printf(out, "%s,%lld,%lld,%lld|", s->name, (long long)s->start_s, (long long)s->end_s,
                   (long long)s->step_s);
        while (p.i < p.n) {
            if (p.i)
                buf_putc(out, ',');
            put_value(out, points_next(&p), &python_words);
        }
        buf_putc(out, '\n');
    }
    return OK;
}

static size_t range_points(const struct query_series *s)
{
    return s->step_s > 0 && s->end_s > s->start_s
               ? (size_t)((s->end_s - s->start_s + s->step_s - 1) / s->step_s)
               : 0;
}

/* Rows of the first series' times; all series must have as many points. */
static int format_dygraph(struct query_result *r, const struct format_options *o, struct buf *out,
                          struct err *err)
{
    static const struct words words = {"null", "null", "Infinity", "-Infinity"};
    if (!r->n) {
        buf_puts(out, "{}");
        return OK;
    }
    const struct query_series *first = r->series[0];
    size_t rows = range_points(first);
    buf_puts(out, "{\"labels\" : [\"Time\"");
    for (size_t i = 0; i < r->n; i++) {
        if (r->series[i]->n != rows)
            return err_set(err, ERR_INVALID,
                           "the series have different numbers of points, which dygraph cannot show");
        buf_puts(out, ", ");
        put_name(out, r->series[i]);
    }
    buf_puts(out, "], \"data\" : [");
    for (size_t k = 0; k < rows; k++) {
        buf_puts(out, k ? ", [" : "[");
        put_int(out, first->start_s + (int64_t)k * first->step_s);
        buf_puts(out, "000");
        for (size_t i = 0; i < r->n; i++) {
            buf_puts(out, ", ");
            put_value(out, r->series[i]->values[k], &words);
        }
        buf_putc(out, ']');
    }
    buf_puts(out, "]}");
    return OK;
}

static int format_rickshaw(struct query_result *r, const struct format_options *o, struct buf *out,
                           struct err *err)
{
    static const struct words words = {"null", "NaN", "Infinity", "-Infinity"};
    buf_putc(out, '[');
    for (size_t i = 0; i < r->n; i++) {
        const struct query_series *s = r->series[i];
        size_t n = range_points(s) < s->n ? range_points(s) : s->n;
        buf_puts(out, i ? ", {\"target\": " : "{\"target\": ");
        put_name(out, s);
        buf_puts(out, ", \"datapoints\": [");
        for (size_t k = 0; k < n; k++) {
            buf_printf(out, "%s{\"x\": %lld, \"y\": ", k ? ", " : "",
                       (long long)(s->start_s + (int64_t)k * s->step_s));
            put_value(out, s->values[k], &words);
            buf_putc(out, '}');
        }
        buf_puts(out, "]}");
    }
    buf_putc(out, ']');
    return OK;
}

const struct format *format_find(const char *name)
{
    static const struct format table[] = {
        {"json", "application/json", format_json, true},
        {"csv", "text/csv", format_csv, false},
        {"raw", "text/plain", format_raw, false},
        {"dygraph", "application/json", format_dygraph, true},
        {"rickshaw", "application/json", format_rickshaw, true},
        {"pickle", "application/pickle", format_pickle, false},
        {"msgpack", "application/x-msgpack", format_msgpack, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
