/* A line chart as PNG or SVG, for places where a page cannot go: chat, mail. Drawn with cairo. */
#ifndef CARAT_DRAW_CHART_H
#define CARAT_DRAW_CHART_H

#include "base/buf.h"
#include "base/err.h"
#include "draw/color.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHART_SIZE_MIN 32
#define CHART_SIZE_MAX 4096

enum chart_area { CHART_AREA_NONE, CHART_AREA_FIRST, CHART_AREA_ALL, CHART_AREA_STACKED };
enum chart_line_mode { CHART_SLOPE, CHART_STAIRCASE, CHART_CONNECTED };

/* Values at start_s + i * step_s; NaN is no point. Borrowed. */
struct chart_line {
    const char *name;
    int64_t start_s, step_s;
    size_t n;
    const double *values;
    bool has_color;
    struct color color;
    bool threshold; /* a level that is constant: drawn dashed */
};

struct chart_options {
    bool svg;
    unsigned width, height; /* CHART_SIZE_MIN..CHART_SIZE_MAX pixels */
    int64_t from_s, until_s;
    int64_t offset_s;               /* local time ahead of UTC, for the labels */
    const char *title, *left_title; /* may be NULL */
    struct color background, foreground;
    double font_size, line_width;
    bool has_min, has_max;
    double min, max;
    enum chart_area area;
    enum chart_line_mode line_mode;
    bool binary; /* 1 Ki is 1,024 */
    bool no_grid, no_axes;
    int legend; /* 1 show, -1 hide, 0: up to ten lines are shown */
};
/* Graphite's size, on a white ground. */
struct chart_options chart_options_default(void);

/* Appends the picture. ERR_LIMIT: the size is out of bounds; ERR_FAILED: cairo gave up. Any thread. */
int chart_paint(const struct chart_options *o, const struct chart_line *lines, size_t n, struct buf *out,
                struct err *err) must_check;

#endif
