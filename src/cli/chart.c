#include "cli/chart.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DOTS_X      2 /* braille dots in a cell */
#define DOTS_Y      4
#define LABEL_BYTES 24

struct chart {
    size_t columns, rows; /* plot area in cells */
    double low, high;     /* values at the lower and upper edge */
    int64_t from_s, until_s;
    uint8_t *dots;   /* a braille pattern a cell, row by row from the top */
    uint16_t *owner; /* series + 1 that drew there last; 0: none */
};

/* 1, 2 or 5 times a power of ten, so that at most `steps` of it cover `span`. */
static double nice_step(double span, size_t steps)
{
    double rough = span / (double)steps, power = pow(10, floor(log10(rough))), lead = rough / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* Finds the range of values and times; false if there is no point. */
static bool find_range(const struct answer *a, struct chart *c)
{
    bool any = false;
    c->low = INFINITY;
    c->high = -INFINITY;
    c->from_s = INT64_MAX;
    c->until_s = INT64_MIN;
    for (size_t s = 0; s < a->n; s++)
        for (size_t i = 0; i < a->series[s].n; i++) {
            double v = a->series[s].value[i];
            int64_t t = a->series[s].time_s[i];
            c->from_s = t < c->from_s ? t : c->from_s;
            c->until_s = t > c->until_s ? t : c->until_s;
            if (!isfinite(v))
                continue;
            any = true;
            c->low = fmin(c->low, v);
            c->high = fmax(c->high, v);
        }
    return any;
}

/* Widens the range to whole steps; a flat line gets room above and below. */
static double widen_range(struct chart *c)
{
    double span = c->high - c->low;
    if (!isfinite(span)) /* from end to end of the doubles: steps of half the range will do */
        span = c->high / 2 - c->low / 2;
    if (span == 0) {
        double room = c->low == 0 ? 1 : fabs(c->low) / 10;
        c->low -= room;
        c->high += room;
        span = 2 * room;
    }
    double step = nice_step(span, c->rows > 8 ? c->rows / 4 : 2);
    c->low = fmax(floor(c->low / step) * step, -DBL_MAX);
    c->high = fmin(ceil(c->high / step) * step, DBL_MAX);
    return step;
}

static size_t clamp_dot(double at, size_t n)
{
    return at <= 0 ? 0 : at >= (double)(n - 1) ? n - 1 : (size_t)lround(at);
}

static size_t dot_x(const struct chart *c, int64_t time_s)
{
    size_t n = c->columns * DOTS_X;
    double span = (double)(c->until_s - c->from_s);
    return span > 0 ? clamp_dot((double)(time_s - c->from_s) / span * (double)(n - 1), n) : n / 2;
}

static size_t dot_y(const struct chart *c, double v)
{
    size_t n = c->rows * DOTS_Y;
    double part = (v / 2 - c->low / 2) / (c->high / 2 - c->low / 2);
    return n - 1 - clamp_dot(part * (double)(n - 1), n);
}

static void set_dot(struct chart *c, size_t x, size_t y, size_t series)
{
    /* Unicode numbers the dots of a cell 1 2 3 7 down the left side and 4 5 6 8 down the right. */
    static const uint8_t bit[DOTS_Y][DOTS_X] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    size_t cell = y / DOTS_Y * c->columns + x / DOTS_X;
    c->dots[cell] |= bit[y % DOTS_Y][x % DOTS_X];
    c->owner[cell] = (uint16_t)(series % UINT16_MAX + 1);
}

static void draw_line(struct chart *c, size_t x0, size_t y0, size_t x1, size_t y1, size_t series)
{
    double dx = (double)x1 - (double)x0, dy = (double)y1 - (double)y0;
    size_t n = (size_t)fmax(fabs(dx), fabs(dy));
    for (size_t i = 0; i <= n; i++) {
        double f = n ? (double)i / (double)n : 0;
        set_dot(c, (size_t)lround((double)x0 + f * dx), (size_t)lround((double)y0 + f * dy), series);
    }
}

/* Neighbouring points are joined; a missing one breaks the line. */
static void draw_series(struct chart *c, const struct answer_series *s, size_t series)
{
    bool joined = false;
    size_t x0 = 0, y0 = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->value[i])) {
            joined = false;
            continue;
        }
        size_t x = dot_x(c, s->time_s[i]), y = dot_y(c, s->value[i]);
        draw_line(c, joined ? x0 : x, joined ? y0 : y, x, y, series);
        x0 = x;
        y0 = y;
        joined = true;
    }
}

/* 1500 -> "1.5k": labels stay short; `step` tells how many digits are worth showing. */
static void value_label(double v, double step, char out[LABEL_BYTES])
{
    static const struct {
        double factor;
        const char *name;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}};
    double size = fabs(v);
    if (size < step / 2)
        v = size = 0;
    if (size >= 1e15 || (step < 1e-3 && size < 1)) {
        snprintf(out, LABEL_BYTES, "%.4g", v);
        return;
    }
    size_t u = 0;
    while (u < ARRAY_LEN(units) - 1 && size < units[u].factor)
        u++;
    double shown = step / units[u].factor;
    int decimals = shown < 1 ? (int)fmin(6, ceil(-log10(shown) - 1e-9)) : 0;
    snprintf(out, LABEL_BYTES, "%.*f%s", decimals, v / units[u].factor, units[u].name);
}

static char series_letter(size_t series)
{
    return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[series % 52];
}

static void put_colour(struct buf *out, size_t series)
{
    static const unsigned char codes[] = {36, 33, 35, 32, 31, 34, 96, 93, 95, 92, 91, 94};
    buf_printf(out, "\x1b[%um", codes[series % sizeof codes]);
}

static void put_braille(struct buf *out, uint8_t dots)
{
    const uint8_t utf8[3] = {0xe2, (uint8_t)(0xa0 | dots >> 6), (uint8_t)(0x80 | (dots & 0x3f))};
    buf_append(out, utf8, sizeof utf8);
}

static void put_cells(const struct chart *c, size_t row, bool letters, bool colour, struct buf *out)
{
    size_t last = c->columns;
    while (last && !c->owner[row * c->columns + last - 1]) /* no blanks at the end of a line */
        last--;
    for (size_t x = 0; x < last; x++) {
        size_t cell = row * c->columns + x;
        if (!c->owner[cell]) {
            buf_putc(out, ' ');
        } else if (letters) {
            buf_putc(out, series_letter(c->owner[cell] - 1u));
        } else {
            if (colour)
                put_colour(out, c->owner[cell] - 1u);
            put_braille(out, c->dots[cell]);
            if (colour)
                buf_puts(out, "\x1b[0m");
        }
    }
    buf_putc(out, '\n');
}

/* The label of the tick whose dot falls into this row, or "". */
static void row_label(const struct chart *c, double step, size_t row, char out[LABEL_BYTES])
{
    out[0] = '\0';
    size_t ticks = (size_t)lround((c->high / 2 - c->low / 2) / (step / 2));
    for (size_t i = 0; i <= ticks; i++) {
        double v = c->low + (double)i * step;
        if (dot_y(c, v) / DOTS_Y == row)
            value_label(v, step, out);
    }
}

static const char *time_format(int64_t span_s)
{
    return span_s <= 600           ? "%H:%M:%S"
           : span_s <= 2 * 86400   ? "%H:%M"
           : span_s <= 400 * 86400 ? "%m-%d"
                                   : "%Y-%m";
}

/* A round number of seconds, so that at most `n` of it cover `span_s`. */
static int64_t time_step(int64_t span_s, size_t n)
{
    static const int64_t steps[] = {1,     2,     5,      10,     15,      30,     60,    120,
                                    300,   600,   900,    1800,   3600,    7200,   10800, 21600,
                                    43200, 86400, 172800, 604800, 1209600, 2592000};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (span_s / steps[i] <= (int64_t)n)
            return steps[i];
    return (span_s / (int64_t)n / 86400 + 1) * 86400;
}

/* Labels at round times, at most one every 12 columns, each centred under its point as far as there is
 * room. */
static void put_time_axis(const struct chart *c, size_t indent, struct buf *out)
{
    char line[CHART_WIDTH_MAX + LABEL_BYTES];
    size_t used = 0;
    memset(line, ' ', sizeof line);
    int64_t span = c->until_s - c->from_s, step = time_step(span, c->columns / 12);
    for (int64_t at_s = (c->from_s + step - 1) / step * step; at_s <= c->until_s; at_s += step) {
        time_t t = (time_t)at_s;
        struct tm tm;
        char text[LABEL_BYTES];
        gmtime_r(&t, &tm);
        size_t len = strftime(text, sizeof text, time_format(span), &tm);
        size_t x = dot_x(c, at_s) / DOTS_X, at = x > len / 2 ? x - len / 2 : 0;
        at = at + len > c->columns ? c->columns - len : at;
        if (used && at < used + 1)
            continue;
        memcpy(line + at, text, len);
        used = at + len;
    }
    buf_printf(out, "%*s%.*s\n", (int)indent, "", (int)used, line);
}

static void put_legend(const struct answer *a, const struct chart *c, bool letters, bool colour,
                       struct buf *out)
{
    char from[32], until[32];
    answer_format_time(c->from_s, from);
    answer_format_time(c->until_s, until);
    buf_printf(out, "%s to %s UTC\n", from, until);
    for (size_t i = 0; i < a->n; i++) {
        if (letters)
            buf_printf(out, "%c  %s\n", series_letter(i), a->series[i].name);
        else if (colour) {
            put_colour(out, i);
            buf_printf(out, "\xe2\x94\x81\x1b[0m  %s\n", a->series[i].name);
        } else
            buf_printf(out, "   %s\n", a->series[i].name);
    }
}

static void put_plot(const struct answer *a, const struct chart *c, const char *labels, size_t label_width,
                     const struct chart_style *style, struct buf *out)
{
    bool letters = a->n > 1 && !style->colour;
    for (size_t row = 0; row < c->rows; row++) {
        const char *label = labels + row * LABEL_BYTES;
        buf_printf(out, "%*s %s", (int)label_width, label, *label ? "\xe2\x94\xa4" : "\xe2\x94\x82");
        put_cells(c, row, letters, style->colour, out);
    }
    buf_printf(out, "%*s \xe2\x94\x94", (int)label_width, "");
    for (size_t x = 0; x < c->columns; x++)
        buf_puts(out, "\xe2\x94\x80");
    buf_putc(out, '\n');
    put_time_axis(c, label_width + 2, out);
    put_legend(a, c, letters, style->colour, out);
}

void chart_draw(const struct answer *a, const struct chart_style *style, struct buf *out)
{
    struct chart c = {.rows = style->height < 4 ? 4 : style->height};
    size_t width = style->width < CHART_WIDTH_MIN   ? CHART_WIDTH_MIN
                   : style->width > CHART_WIDTH_MAX ? CHART_WIDTH_MAX
                                                    : style->width;
    if (!find_range(a, &c)) {
        buf_puts(out, "no points\n");
        return;
    }
    double step = widen_range(&c);
    char *labels = xcalloc(c.rows, LABEL_BYTES);
    size_t label_width = 0;
    for (size_t row = 0; row < c.rows; row++) {
        row_label(&c, step, row, labels + row * LABEL_BYTES);
        size_t n = strlen(labels + row * LABEL_BYTES);
        label_width = n > label_width ? n : label_width;
    }
    c.columns = width - label_width - 2;
    c.dots = xcalloc(c.rows * c.columns, sizeof *c.dots);
    c.owner = xcalloc(c.rows * c.columns, sizeof *c.owner);
    for (size_t s = 0; s < a->n; s++)
        draw_series(&c, &a->series[s], s);
    put_plot(a, &c, labels, label_width, style, out);
    free(labels);
    free(c.dots);
    free(c.owner);
}
