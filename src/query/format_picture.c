/* PNG and SVG: the answer as a chart, with the arguments of Graphite's render API that make sense for it. */
#include "query/format_picture.h"
#include "base/mem.h"
#include "draw/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_true(const char *text)
{
    return text && strcmp(text, "false") != 0 && strcmp(text, "0") != 0 && strcmp(text, "False") != 0;
}

static int read_number(const struct api_request *r, const char *name, double least, double most, double *out,
                       struct err *err)
{
    const char *text = api_get(r, name);
    if (!text || !*text)
        return 0;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= least && v <= most))
        return err_set(err, ERR_INVALID, "argument '%s': expected a number from %g to %g, not '%.40s'", name,
                       least, most, text);
    *out = v;
    return 1;
}

static int read_color(const struct api_request *r, const char *name, struct color *out, struct err *err)
{
    const char *text = api_get(r, name);
    if (!text || !*text || color_parse(text, strlen(text), out) == 0)
        return OK;
    return err_set(err, ERR_INVALID,
                   "argument '%s': expected a colour's name or hexadecimal digits, not '%.40s'", name, text);
}

static int read_numbers(const struct api_request *r, struct chart_options *o, struct err *err)
{
    double width = o->width, height = o->height;
    int rc = read_number(r, "width", CHART_SIZE_MIN, CHART_SIZE_MAX, &width, err);
    if (rc >= 0)
        rc = read_number(r, "height", CHART_SIZE_MIN, CHART_SIZE_MAX, &height, err);
    if (rc >= 0)
        rc = read_number(r, "fontSize", 4, 100, &o->font_size, err);
    if (rc >= 0)
        rc = read_number(r, "lineWidth", 0.1, 50, &o->line_width, err);
    o->width = (unsigned)width;
    o->height = (unsigned)height;
    if (rc >= 0 && (rc = read_number(r, "yMin", -1e300, 1e300, &o->min, err)) > 0)
        o->has_min = true;
    if (rc >= 0 && (rc = read_number(r, "yMax", -1e300, 1e300, &o->max, err)) > 0)
        o->has_max = true;
    return rc < 0 ? rc : OK;
}

static const char *word(const struct api_request *r, const char *name)
{
    const char *text = api_get(r, name);
    return text ? text : "";
}

int picture_options(const struct api_request *r, struct chart_options *o, struct err *err)
{
    *o = chart_options_default();
    int rc = read_numbers(r, o, err);
    if (rc == OK)
        rc = read_color(r, "bgcolor", &o->background, err);
    if (rc == OK)
        rc = read_color(r, "fgcolor", &o->foreground, err);
    if (rc != OK)
        return rc;
    const char *area = word(r, "areaMode"), *line = word(r, "lineMode"), *hide = api_get(r, "hideLegend");
    o->area = !strcmp(area, "stacked") ? CHART_AREA_STACKED
              : !strcmp(area, "all")   ? CHART_AREA_ALL
              : !strcmp(area, "first") ? CHART_AREA_FIRST
                                       : CHART_AREA_NONE;
    o->line_mode = !strcmp(line, "staircase")   ? CHART_STAIRCASE
                   : !strcmp(line, "connected") ? CHART_CONNECTED
                                                : CHART_SLOPE;
    o->title = api_get(r, "title");
    o->left_title = api_get(r, "vtitle");
    o->binary = !strcmp(word(r, "yUnitSystem"), "binary");
    o->no_grid = is_true(api_get(r, "hideGrid"));
    o->no_axes = is_true(api_get(r, "hideAxes"));
    o->legend = !hide ? 0 : is_true(hide) ? -1 : 1;
    if (is_true(api_get(r, "graphOnly"))) {
        o->no_grid = o->no_axes = true;
        o->legend = -1;
        o->title = o->left_title = NULL;
    }
    return OK;
}

/* The i-th of a list with commas, if it is a colour. */
static bool listed_color(const char *list, size_t i, struct color *out)
{
    size_t n = 1, len;
    for (const char *p = list; *p; p++)
        n += *p == ',';
    const char *p = list;
    for (i %= n; i > 0; i--)
        p = strchr(p, ',') + 1;
    len = strcspn(p, ",");
    return color_parse(p, len, out) == 0;
}

static bool is_constant(const struct query_series *s)
{
    for (size_t i = 1; i < s->n; i++)
        if (!(s->values[i] == s->values[0]))
            return false;
    return s->n > 0 && s->path_expression && strstr(s->path_expression, "constantLine");
}

int picture_write(const struct query_result *r, const struct chart_options *o, const char *colors,
                  struct buf *out, struct err *err)
{
    struct chart_line *lines = xcalloc(r->n ? r->n : 1, sizeof *lines);
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct query_series *s = r->series[i];
        if (s->text)
            continue; /* words have no place on an axis */
        lines[n] = (struct chart_line){
            .name = s->name,
            .start_s = s->start_s,
            .step_s = s->step_s,
            .n = s->n,
            .values = s->values,
            .threshold = is_constant(s),
        };
        lines[n].has_color = colors && *colors && listed_color(colors, i, &lines[n].color);
        n++;
    }
    int rc = chart_paint(o, lines, n, out, err);
    free(lines);
    return rc;
}
