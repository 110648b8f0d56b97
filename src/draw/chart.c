#include "draw/chart.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "draw/ticks.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN       10.0
#define LEGEND_LINES 10 /* more are not shown unless asked for */
#define GRID_ALPHA   0.18
#define AREA_ALPHA   0.35
#define TEXT_MAX     512

/* A picture under way. */
struct chart {
    const struct chart_options *o;
    const struct chart_line *lines;
    size_t n;
    cairo_t *cr;
    double left, top, right, bottom; /* of the plot */
    double lo, hi;
    struct ticks values, times;
    double **stacked; /* values as drawn, of each line; NULL where they are the line's own */
};

struct chart_options chart_options_default(void)
{
    return (struct chart_options){
        .width = 330,
        .height = 250,
        .background = {1, 1, 1, 1},
        .foreground = {0.15, 0.15, 0.18, 1},
        .font_size = 10,
        .line_width = 1.2,
    };
}

static void set_color(cairo_t *cr, struct color c, double alpha)
{
    cairo_set_source_rgba(cr, c.r, c.g, c.b, c.a * alpha);
}

/* cairo refuses text that is not UTF-8 and SVG has no control bytes: both become '?'. Long text is cut. */
static const char *clean(const char *text, char out[TEXT_MAX])
{
    size_t n = strlen(text), at = 0;
    for (size_t i = 0; i < n && at + 4 < TEXT_MAX;) {
        size_t len = utf8_len((const uint8_t *)text + i, n - i);
        if (len == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            out[at++] = '?';
            i++;
            continue;
        }
        memcpy(out + at, text + i, len);
        at += len;
        i += len;
    }
    out[at] = '\0';
    return out;
}

static double text_width(cairo_t *cr, const char *text)
{
    char shown[TEXT_MAX];
    cairo_text_extents_t e;
    cairo_text_extents(cr, clean(text, shown), &e);
    return e.x_advance;
}

static void show_text(cairo_t *cr, const char *text)
{
    char shown[TEXT_MAX];
    cairo_show_text(cr, clean(text, shown));
}

/* --- values --- */

/* Each line on top of those before it; a missing value adds nothing, and stays missing. */
static void stack(struct chart *c)
{
    c->stacked = xcalloc(c->n ? c->n : 1, sizeof *c->stacked);
    for (size_t i = 0; c->o->area == CHART_AREA_STACKED && i < c->n; i++) {
        const struct chart_line *l = &c->lines[i], *below = i ? &c->lines[i - 1] : NULL;
        bool same = below && below->start_s == l->start_s && below->step_s == l->step_s && below->n == l->n;
        if (l->threshold || (i && !same))
            continue;
        double *v = c->stacked[i] = xmalloc((l->n ? l->n : 1) * sizeof *v);
        for (size_t k = 0; k < l->n; k++) {
            double base =
                same && c->stacked[i - 1] && !isnan(c->stacked[i - 1][k]) ? c->stacked[i - 1][k] : 0;
            v[k] = isnan(l->values[k]) ? (same ? base : NAN) : base + l->values[k];
        }
    }
}

static const double *drawn(const struct chart *c, size_t i)
{
    return c->stacked[i] ? c->stacked[i] : c->lines[i].values;
}

static void find_range(struct chart *c)
{
    bool any = false;
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->lines[i].n; k++) {
            double v = drawn(c, i)[k];
            if (!isfinite(v) || fabs(v) > 1e300)
                continue;
            c->lo = !any || v < c->lo ? v : c->lo;
            c->hi = !any || v > c->hi ? v : c->hi;
            any = true;
        }
    if (any && c->o->area != CHART_AREA_NONE && c->lo > 0)
        c->lo = 0; /* an area stands on the ground */
    if (c->o->has_min)
        c->lo = c->o->min;
    if (c->o->has_max)
        c->hi = c->o->max;
    if (!any && !c->o->has_max)
        c->hi = c->lo + 1;
    if (c->hi < c->lo)
        c->hi = c->lo;
}

static double x_of(const struct chart *c, double t)
{
    return c->left +
           (t - (double)c->o->from_s) / (double)(c->o->until_s - c->o->from_s) * (c->right - c->left);
}

static double y_of(const struct chart *c, double v)
{
    double y = c->bottom - (v - c->lo) / (c->hi - c->lo) * (c->bottom - c->top);
    return fmin(fmax(y, c->top - 1e4), c->bottom + 1e4);
}

/* --- layout --- */

static bool has_legend(const struct chart *c)
{
    return c->o->legend > 0 || (c->o->legend == 0 && c->n <= LEGEND_LINES && c->n > 0);
}

static struct color color_of(const struct chart *c, size_t i)
{
    return c->lines[i].has_color ? c->lines[i].color : color_of_line(i);
}

/* Lays the names out from the bottom; draws them if asked. Returns the height they take. */
static double legend(struct chart *c, bool draw)
{
    double line = c->o->font_size * 1.5, x = MARGIN, rows = 1, room = c->o->width - MARGIN;
    double box = c->o->font_size * 0.8, y0 = c->o->height - MARGIN;
    if (!has_legend(c))
        return 0;
    double total = draw ? legend(c, false) : 0;
    for (size_t i = 0; i < c->n; i++) {
        double w = box + 4 + text_width(c->cr, c->lines[i].name) + 12;
        if (x > MARGIN && x + w > room) {
            x = MARGIN;
            rows++;
        }
        if (draw) {
            double y = y0 - total + rows * line;
            set_color(c->cr, color_of(c, i), 1);
            cairo_rectangle(c->cr, x, y - box, box, box);
            cairo_fill(c->cr);
            set_color(c->cr, c->o->foreground, 1);
            cairo_move_to(c->cr, x + box + 4, y);
            show_text(c->cr, c->lines[i].name);
        }
        x += w;
    }
    return fmin(rows * line + 4, c->o->height / 2.0);
}

static void lay_out(struct chart *c)
{
    double font = c->o->font_size;
    c->top = MARGIN + (c->o->title ? font * 1.8 : font / 2);
    c->bottom = c->o->height - MARGIN - legend(c, false) - (c->o->no_axes ? 0 : font * 1.6);
    c->right = c->o->width - MARGIN;
    c->left = MARGIN;
    if (c->bottom < c->top + 8) /* a tiny picture has no room for words */
        c->bottom = c->o->height - 2;
    double lo = c->lo, hi = c->hi;
    ticks_values(&lo, &hi, (size_t)((c->bottom - c->top) / (font * 3)) + 1, c->o->binary, &c->values);
    c->lo = c->o->has_min && c->o->min < c->hi ? c->o->min : lo;
    c->hi = c->o->has_max && c->o->max > c->lo ? c->o->max : hi;
    double widest = 0;
    for (size_t i = 0; !c->o->no_axes && i < c->values.n; i++)
        widest = fmax(widest, text_width(c->cr, c->values.label[i]));
    c->left += widest + (widest > 0 ? 6 : 0) + (c->o->left_title ? font * 1.5 : 0);
    if (c->left > c->right - 8)
        c->left = 2;
    ticks_times(c->o->from_s, c->o->until_s, c->o->offset_s, (size_t)((c->right - c->left) / (font * 6)) + 1,
                &c->times);
}

/* --- drawing --- */

static void grid_line(struct chart *c, double x0, double y0, double x1, double y1)
{
    cairo_move_to(c->cr, round(x0) + 0.5, round(y0) + 0.5);
    cairo_line_to(c->cr, round(x1) + 0.5, round(y1) + 0.5);
}

static void draw_axes(struct chart *c)
{
    cairo_set_line_width(c->cr, 1);
    for (size_t i = 0; i < c->values.n; i++) {
        double y = y_of(c, c->values.at[i]);
        if (y < c->top - 1 || y > c->bottom + 1)
            continue;
        if (!c->o->no_grid)
            grid_line(c, c->left, y, c->right, y);
        set_color(c->cr, c->o->foreground, GRID_ALPHA);
        cairo_stroke(c->cr);
        if (c->o->no_axes)
            continue;
        set_color(c->cr, c->o->foreground, 1);
        cairo_move_to(c->cr, c->left - 6 - text_width(c->cr, c->values.label[i]), y + c->o->font_size * 0.35);
        show_text(c->cr, c->values.label[i]);
    }
    for (size_t i = 0; i < c->times.n; i++) {
        double x = x_of(c, c->times.at[i]), w = text_width(c->cr, c->times.label[i]);
        if (!c->o->no_grid)
            grid_line(c, x, c->top, x, c->bottom);
        set_color(c->cr, c->o->foreground, GRID_ALPHA);
        cairo_stroke(c->cr);
        if (c->o->no_axes || x + w / 2 > c->right + MARGIN || x - w / 2 < 0)
            continue;
        set_color(c->cr, c->o->foreground, 1);
        cairo_move_to(c->cr, x - w / 2, c->bottom + c->o->font_size * 1.3);
        show_text(c->cr, c->times.label[i]);
    }
}

static void draw_titles(struct chart *c)
{
    set_color(c->cr, c->o->foreground, 1);
    if (c->o->title) {
        cairo_move_to(c->cr, fmax((c->o->width - text_width(c->cr, c->o->title)) / 2, 0),
                      MARGIN + c->o->font_size);
        show_text(c->cr, c->o->title);
    }
    if (c->o->left_title) {
        cairo_save(c->cr);
        cairo_move_to(c->cr, MARGIN + c->o->font_size,
                      (c->top + c->bottom + text_width(c->cr, c->o->left_title)) / 2);
        cairo_rotate(c->cr, -1.5707963267948966);
        show_text(c->cr, c->o->left_title);
        cairo_restore(c->cr);
    }
}

/* The path of the values from `from` on, up to the next gap; returns where it ended. Several values a pixel
 * make one column from their least to their greatest, so that a million of them cost what the picture can
 * show. */
static size_t trace(struct chart *c, const struct chart_line *l, const double *v, size_t from)
{
    bool open = false, connect = c->o->line_mode == CHART_CONNECTED;
    size_t i = from;
    double last_y = 0;
    while (i < l->n && (connect || !isnan(v[i]))) {
        if (isnan(v[i])) {
            i++;
            continue;
        }
        double x = x_of(c, (double)(l->start_s + (int64_t)i * l->step_s)), first = v[i], least = v[i],
               most = v[i];
        double final = v[i];
        for (i++;
             i < l->n && !isnan(v[i]) && x_of(c, (double)(l->start_s + (int64_t)i * l->step_s)) < x + 0.5;
             i++) {
            least = fmin(least, v[i]);
            most = fmax(most, v[i]);
            final = v[i];
        }
        if (!open)
            cairo_move_to(c->cr, x, y_of(c, first));
        else if (c->o->line_mode == CHART_STAIRCASE)
            cairo_line_to(c->cr, x, last_y);
        open = true;
        cairo_line_to(c->cr, x, y_of(c, first));
        if (least != most) {
            cairo_line_to(c->cr, x, y_of(c, least));
            cairo_line_to(c->cr, x, y_of(c, most));
            cairo_line_to(c->cr, x, y_of(c, final));
        }
        last_y = y_of(c, final);
    }
    return i;
}

static bool is_filled(const struct chart *c, size_t i)
{
    return !c->lines[i].threshold && (c->o->area == CHART_AREA_ALL || c->o->area == CHART_AREA_STACKED ||
                                      (c->o->area == CHART_AREA_FIRST && i == 0));
}

static void draw_line(struct chart *c, size_t i)
{
    static const double dashes[] = {6, 4};
    const struct chart_line *l = &c->lines[i];
    const double *v = drawn(c, i);
    bool fill = is_filled(c, i);
    for (size_t k = 0; k < l->n;) {
        if (isnan(v[k])) {
            k++;
            continue;
        }
        double x0 = x_of(c, (double)(l->start_s + (int64_t)k * l->step_s));
        k = trace(c, l, v, k);
        set_color(c->cr, color_of(c, i), fill ? AREA_ALPHA : 1);
        if (fill) {
            cairo_path_t *line = cairo_copy_path(c->cr);
            double x1 = x_of(c, (double)(l->start_s + (int64_t)(k - 1) * l->step_s));
            cairo_line_to(c->cr, x1, y_of(c, fmax(c->lo, 0)));
            cairo_line_to(c->cr, x0, y_of(c, fmax(c->lo, 0)));
            cairo_close_path(c->cr);
            cairo_fill(c->cr);
            cairo_append_path(c->cr, line);
            cairo_path_destroy(line);
            set_color(c->cr, color_of(c, i), 1);
        }
        cairo_set_dash(c->cr, dashes, l->threshold ? 2 : 0, 0);
        cairo_set_line_width(c->cr, c->o->line_width);
        cairo_stroke(c->cr);
    }
    cairo_set_dash(c->cr, NULL, 0, 0);
}

static void draw_no_data(struct chart *c)
{
    const char *text = "no data";
    set_color(c->cr, c->o->foreground, 0.6);
    cairo_move_to(c->cr, (c->left + c->right - text_width(c->cr, text)) / 2, (c->top + c->bottom) / 2);
    show_text(c->cr, text);
}

static void draw_all(struct chart *c)
{
    set_color(c->cr, c->o->background, 1);
    cairo_paint(c->cr);
    cairo_select_font_face(c->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c->cr, c->o->font_size);
    stack(c);
    find_range(c);
    lay_out(c);
    draw_axes(c);
    cairo_save(c->cr);
    cairo_rectangle(c->cr, c->left, c->top - 1, c->right - c->left, c->bottom - c->top + 2);
    cairo_clip(c->cr);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    for (size_t i = c->n; i-- > 0;) /* the first one on top, and under it what stands on it */
        draw_line(c, i);
    cairo_restore(c->cr);
    if (c->n == 0)
        draw_no_data(c);
    draw_titles(c);
    legend(c, true);
    for (size_t i = 0; i < c->n; i++)
        free(c->stacked[i]);
    free(c->stacked);
}

static cairo_status_t append(void *ctx, const unsigned char *data, unsigned n)
{
    buf_append(ctx, data, n);
    return CAIRO_STATUS_SUCCESS;
}

int chart_paint(const struct chart_options *o, const struct chart_line *lines, size_t n, struct buf *out,
                struct err *err)
{
    if (o->width < CHART_SIZE_MIN || o->width > CHART_SIZE_MAX || o->height < CHART_SIZE_MIN ||
        o->height > CHART_SIZE_MAX)
        return err_set(err, ERR_LIMIT, "a picture of %u x %u pixels: width and height must be %d to %d",
                       o->width, o->height, CHART_SIZE_MIN, CHART_SIZE_MAX);
    size_t before = out->len;
    cairo_surface_t *s = o->svg
                             ? cairo_svg_surface_create_for_stream(append, out, o->width, o->height)
                             : cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)o->width, (int)o->height);
    struct chart c = {.o = o, .lines = lines, .n = n, .cr = cairo_create(s)};
    draw_all(&c);
    cairo_status_t status = cairo_status(c.cr);
    cairo_destroy(c.cr);
    if (status == CAIRO_STATUS_SUCCESS && !o->svg)
        status = cairo_surface_write_to_png_stream(s, append, out);
    cairo_surface_finish(s);
    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_status(s);
    cairo_surface_destroy(s);
    if (status == CAIRO_STATUS_SUCCESS)
        return OK;
    out->len = before;
    return err_set(err, ERR_FAILED, "the picture could not be drawn: %s", cairo_status_to_string(status));
}
