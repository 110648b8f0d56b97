/* Answers as text: a table and CSV. */
#include "cli/answer.h"

#include "base/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GAP 2 /* spaces between columns */

void answer_format_time(int64_t time_s, char out[32])
{
    time_t t = (time_t)time_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

/* The shortest decimal that reads back to the same double; "" for no point. */
static size_t format_value(double v, char out[32])
{
    int n = 0;
    out[0] = '\0';
    if (isnan(v))
        return 0;
    for (int digits = 6; digits <= 17; digits++) {
        n = snprintf(out, 32, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            break;
    }
    return (size_t)n;
}

/* Columns a terminal needs: UTF-8 continuation bytes take none. */
static size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

static void put_right(struct buf *out, const char *s, size_t width)
{
    for (size_t n = text_width(s); n < width; n++)
        buf_putc(out, ' ');
    buf_puts(out, s);
}

static size_t column_width(const struct answer_series *s)
{
    size_t width = text_width(s->name);
    char text[32];
    for (size_t i = 0; i < s->n; i++) {
        size_t n = format_value(s->value[i], text);
        width = n > width ? n : width;
    }
    return width;
}

/* The earliest time that a cursor of the columns [from, until) has not passed; false at the end. */
static bool next_time(const struct answer *a, const size_t *at, size_t from, size_t until, int64_t *time_s)
{
    bool found = false;
    for (size_t c = from; c < until; c++) {
        const struct answer_series *s = &a->series[c];
        if (at[c] < s->n && (!found || s->time_s[at[c]] < *time_s)) {
            *time_s = s->time_s[at[c]];
            found = true;
        }
    }
    return found;
}

/* Writes the row of one time and moves the cursors on. */
static void put_row(const struct answer *a, size_t *at, const size_t *width, size_t from, size_t until,
                    int64_t time_s, struct buf *out)
{
    size_t start = out->len;
    bool any = false;
    char text[32];
    answer_format_time(time_s, text);
    buf_puts(out, text);
    for (size_t c = from; c < until; c++) {
        const struct answer_series *s = &a->series[c];
        text[0] = '\0';
        while (at[c] < s->n && s->time_s[at[c]] == time_s) /* of a time given twice the last counts */
            any |= format_value(s->value[at[c]++], text) > 0;
        put_right(out, text, width[c] + GAP);
    }
    buf_putc(out, '\n');
    if (!any)
        out->len = start;
}

static void put_table(const struct answer *a, size_t *at, const size_t *width, size_t from, size_t until,
                      struct buf *out)
{
    buf_printf(out, "%-19s", "time (UTC)");
    for (size_t c = from; c < until; c++)
        put_right(out, a->series[c].name, width[c] + GAP);
    buf_putc(out, '\n');
    for (int64_t t = 0; next_time(a, at, from, until, &t);)
        put_row(a, at, width, from, until, t, out);
}

void answer_format_table(const struct answer *a, size_t width, struct buf *out)
{
    size_t *at = xcalloc(a->n, sizeof *at), *widths = xcalloc(a->n, sizeof *widths);
    for (size_t c = 0; c < a->n; c++)
        widths[c] = column_width(&a->series[c]);
    for (size_t from = 0, until; from < a->n; from = until) {
        size_t used = 19 + GAP + widths[from];
        for (until = from + 1; until < a->n && used + GAP + widths[until] <= width; until++)
            used += GAP + widths[until];
        if (from)
            buf_putc(out, '\n');
        put_table(a, at, widths, from, until, out);
    }
    free(at);
    free(widths);
}

/* RFC 4180: quotes around a field that holds a comma, a quote or a line break. */
static void put_csv_field(struct buf *out, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        buf_puts(out, s);
        return;
    }
    buf_putc(out, '"');
    for (; *s; s++) {
        if (*s == '"')
            buf_putc(out, '"');
        buf_putc(out, *s);
    }
    buf_putc(out, '"');
}

void answer_format_csv(const struct answer *a, struct buf *out)
{
    char time_text[32], value[32];
    for (size_t c = 0; c < a->n; c++)
        for (size_t i = 0; i < a->series[c].n; i++) {
            put_csv_field(out, a->series[c].name);
            answer_format_time(a->series[c].time_s[i], time_text);
            format_value(a->series[c].value[i], value);
            buf_printf(out, ",%s,%s\n", time_text, value);
        }
}
