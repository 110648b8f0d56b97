/* CSV, raw, dygraph and rickshaw. */
#include "base/mem.h"
#include "query/civil.h"
#include "query/format.h"
#include "query/format_points.h"
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
            if ((rc = format_check(out, o, err)) < 0)
                return rc;
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
        if ((rc = format_check(out, o, err)) < 0)
            return rc;
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
        int rc = format_check(out, o, err);
        if (rc < 0)
            return rc;
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
        int rc = format_check(out, o, err);
        if (rc < 0)
            return rc;
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
