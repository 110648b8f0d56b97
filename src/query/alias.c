/* Functions that name and decorate series. */
#include "query/function_list.h"
#include "query/functions.h"
#include "query/pynum.h"
#include "query/regex.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value fn_alias(struct call *c)
{
    struct list *l = arg_list(c, 0);
    const struct value *name = &c->args[1];
    for (size_t i = 0; i < l->n; i++)
        name_by_value(c, l->v[i], name);
    return value_of_list(l);
}

struct value fn_alias_by_node(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++)
        series_rename(l->v[i], node_key(c, l->v[i], c->rest, c->nrest));
    return value_of_list(l);
}

/* What aliasSub and aliasQuery do: search in parameter 1, replacement in parameter 2. */
static const char *substituted(struct call *c, const struct regex *r, const char *name)
{
    const char *out = name;
    struct err err = ERR_INIT;
    if (regex_replace(r, name, arg_string(c, 2), c->q->arena, &out, &err) < 0)
        call_fail(c, "%.240s", err.text);
    return out;
}

static struct regex *search_pattern(struct call *c)
{
    struct regex *r = NULL;
    struct err err = ERR_INIT;
    if (regex_new(arg_string(c, 1), &r, &err) < 0)
        call_fail(c, "%.240s", err.text);
    return r;
}

struct value fn_alias_sub(struct call *c)
{
    struct list *l = arg_list(c, 0);
    struct regex *r = search_pattern(c);
    for (size_t i = 0; r && i < l->n && !query_tick(c->q, 100); i++)
        series_rename(l->v[i], substituted(c, r, l->v[i]->name));
    regex_free(r);
    return value_of_list(l);
}

/* The parts of one %-directive of Python's string formatting. */
struct directive {
    bool left, zero, plus, blank;
    int width, precision; /* -1: none */
    char letter;
};

static const char *read_directive(const char *p, struct directive *d)
{
    *d = (struct directive){.precision = -1};
    for (p++; *p && strchr("-+ #0", *p); p++) {
        d->left |= *p == '-';
        d->plus |= *p == '+';
        d->blank |= *p == ' ';
        d->zero |= *p == '0';
    }
    for (; isdigit((unsigned char)*p) && d->width < 1000; p++)
        d->width = d->width * 10 + *p - '0';
    if (*p == '.') {
        d->precision = 0;
        for (p++; isdigit((unsigned char)*p) && d->precision < 100; p++)
            d->precision = d->precision * 10 + *p - '0';
    }
    d->letter = *p;
    return *p ? p + 1 : p;
}

/* The number without sign and padding; false if the letter is none for numbers. */
static bool format_number(const struct directive *d, double v, char out[400])
{
    int precision = d->precision < 0 ? 6 : d->precision;
    switch (d->letter) {
    case 'd':
    case 'i':
    case 'u':
        snprintf(out, 400, "%.0f", trunc(v));
        return isfinite(v);
    case 'e':
        snprintf(out, 400, "%.*e", precision, v);
        return true;
    case 'f':
    case 'F':
        snprintf(out, 400, "%.*f", precision, v);
        return true;
    case 'g':
        snprintf(out, 400, "%.*g", precision, v);
        return true;
    case 's':
    case 'r':
        pynum_repr(v, out);
        if (d->precision >= 0 && d->precision < 400)
            out[d->precision] = '\0';
        return true;
    default:
        return false;
    }
}

static bool put_directive(struct buf *b, const struct directive *d, double v)
{
    char digits[400];
    bool text = d->letter == 's' || d->letter == 'r';
    if (!format_number(d, text ? v : fabs(v), digits))
        return false;
    const char *sign = text ? "" : signbit(v) ? "-" : d->plus ? "+" : d->blank ? " " : "";
    int pad = d->width - (int)(strlen(digits) + strlen(sign));
    bool zero = d->zero && !d->left && !text;
    for (int i = 0; i < pad && !d->left && !zero; i++)
        buf_putc(b, ' ');
    buf_puts(b, sign);
    for (int i = 0; i < pad && zero; i++)
        buf_putc(b, '0');
    buf_puts(b, digits);
    for (int i = 0; i < pad && d->left; i++)
        buf_putc(b, ' ');
    return true;
}

/* Python's `format % v`; fails unless it has exactly one place for the number. */
static const char *format_value(struct call *c, const char *format, double v)
{
    struct buf b = BUF_INIT;
    int used = 0;
    bool ok = true;
    for (const char *p = format; *p && ok;) {
        struct directive d;
        if (*p != '%') {
            buf_putc(&b, *p++);
            continue;
        }
        p = read_directive(p, &d);
        if (d.letter == '%') {
            buf_putc(&b, '%');
            continue;
        }
        used++;
        ok = put_directive(&b, &d, v);
    }
    const char *out = query_printf(c->q, "%s", buf_str(&b));
    buf_release(&b);
    if (!ok || used != 1)
        call_fail(c, "the name '%.80s' needs exactly one place for a number, such as %%g", format);
    return out;
}

struct value fn_alias_query(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    struct regex *r = search_pattern(c);
    for (size_t i = 0; r && i < l->n && !q->failed; i++) {
        const char *target = substituted(c, r, l->v[i]->name);
        struct scope scope = *c->scope;
        struct list *found = q->failed ? list_new(q, 0) : eval_text(c, &scope, target);
        double last = found->n ? agg_last(found->v[0]->values, found->v[0]->n) : column_missing();
        if (!found->n)
            call_fail(c, "no series found for '%.100s'", target);
        else if (column_is_missing(last))
            call_fail(c, "%.100s has no last value", found->v[0]->name);
        else
            series_rename(l->v[i], format_value(c, arg_string(c, 3), last));
    }
    regex_free(r);
    return value_of_list(l);
}

/* --- parts of names --- */

/* Levels [from, to) of a dotted text as a Python slice; to == 0: to the end. */
static const char *slice_levels(struct query *q, const char *text, int64_t from, int64_t to)
{
    int64_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == '.';
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from;
    to = to == 0 ? n : to < 0 ? to + n : to;
    struct buf b = BUF_INIT;
    int64_t level = 0;
    for (const char *p = text;; level++) {
        size_t len = strcspn(p, ".");
        if (level >= from && level < to) {
            if (level > from)
                buf_putc(&b, '.');
            buf_append(&b, p, len);
        }
        p += len;
        if (!*p++)
            break;
    }
    const char *out = arena_strndup(q->arena, b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return out;
}

/* The path inside the innermost function of a name, sliced, up to the first comma. */
static const char *inner_path(struct query *q, const char *name, int64_t from, int64_t to)
{
    const char *open = strrchr(name, '('), *close = strchr(name, ')');
    const char *start = open ? open + 1 : name;
    size_t len = close ? (close > start ? (size_t)(close - start) : 0) : strlen(start);
    char *path = (char *)slice_levels(q, arena_strndup(q->arena, start, len), from, to);
    path[strcspn(path, ",")] = '\0';
    return path;
}

static struct value substring(struct call *c, int64_t from, int64_t to)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n; i++)
        series_rename(l->v[i], inner_path(c->q, l->v[i]->name, from, to));
    return value_of_list(l);
}

struct value fn_substr(struct call *c)
{
    return substring(c, arg_int(c, 1), arg_int(c, 2));
}
struct value fn_alias_by_metric(struct call *c)
{
    return substring(c, -1, 0);
}

/* --- values in names --- */

/* A number scaled to k, M, ... or Ki, Mi, ...; *prefix gets which. */
static double scale_unit(double v, bool binary, const char **prefix)
{
    static const char *const names[2][5] = {{"P", "T", "G", "M", "k"}, {"Pi", "Ti", "Gi", "Mi", "Ki"}};
    double base = binary ? 1024.0 : 1000.0, size = base * base * base * base * base, out = v;
    *prefix = "";
    for (int i = 0; i < 5; i++, size /= base) {
        if (fabs(v) < size)
            continue;
        *prefix = names[binary][i];
        out = v / size;
        break;
    }
    return out - floor(out) < 0.00000000001 && v > 1 ? floor(out) : out;
}

static bool is_system(const struct value *v)
{
    return v->kind == V_STRING && (!strcmp(v->s, "si") || !strcmp(v->s, "binary"));
}

static const char *legend_plain(struct query *q, const struct query_series *s, agg_fn fn, const char *type)
{
    struct value v = {.kind = V_STRING, .s = "(?)"};
    if (fn) {
        struct query_series like = {.integers = agg_makes_integers(fn, s->integers)};
        v = value_of_number(&like, fn(s->values, s->n));
    }
    return query_printf(q, "%s (%s: %s)", s->name, type, value_text(q, &v));
}

static const char *legend_units(struct query *q, const struct query_series *s, agg_fn fn, const char *type,
                                bool binary)
{
    const char *text = "(?)", *prefix;
    if (fn) {
        double d = fn(s->values, s->n);
        text = "None";
        if (!column_is_missing(d)) {
            double scaled = scale_unit(d, binary, &prefix);
            text = query_printf(q, "%.2f%s", scaled, prefix);
        }
    }
    return query_printf(q, "%-20s%-5s%-10s", s->name, type, text);
}

struct value fn_legend_value(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    if (!c->nrest)
        return call_fail(c, "expects at least one of average, total, min, max, current, ...");
    bool system = is_system(&c->rest[c->nrest - 1]);
    bool binary = system && !strcmp(c->rest[c->nrest - 1].s, "binary");
    for (size_t t = 0; t < c->nrest - system; t++) {
        const char *type = value_text(q, &c->rest[t]);
        agg_fn fn = c->rest[t].kind == V_STRING ? agg_find(type) : NULL;
        for (size_t i = 0; i < l->n && !q->failed; i++)
            series_rename(l->v[i], system ? legend_units(q, l->v[i], fn, type, binary)
                                          : legend_plain(q, l->v[i], fn, type));
    }
    return value_of_list(l);
}

/* How cactiStyle writes numbers. */
struct cacti {
    bool system, binary;
    const char *units; /* NULL: none */
};

static const char *cacti_number(struct query *q, const struct cacti *f, double v)
{
    const char *prefix = "";
    double scaled = f->system ? scale_unit(v, f->binary, &prefix) : v;
    if (f->system && f->units)
        return query_printf(q, "%.2f %s%s", scaled, prefix, f->units);
    return f->units ? query_printf(q, "%.2f %s", scaled, f->units)
                    : query_printf(q, "%.2f%s", scaled, prefix);
}

/* Characters, not bytes, as Python counts. */
static size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static size_t cacti_width(struct query *q, const struct cacti *f, const struct list *l, agg_fn fn)
{
    size_t width = 0;
    for (size_t i = 0; i < l->n; i++) {
        double v = fn(l->v[i]->values, l->v[i]->n);
        v = column_is_missing(v) || v == 0 ? 3 : trunc(v) + 0.0; /* no -0 */
        size_t n = text_width(cacti_number(q, f, v));
        width = n > width ? n : width;
    }
    return width + 3;
}

static const char *padded(struct query *q, const char *text, size_t width)
{
    size_t n = text_width(text);
    return query_printf(q, "%s%*s", text, (int)(n < width ? width - n : 0), "");
}

static const char *cacti_text(struct query *q, const struct cacti *f, double v, size_t width)
{
    return padded(q, column_is_missing(v) ? "nan" : cacti_number(q, f, v), width);
}

struct value fn_cacti_style(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0);
    if (!l->n)
        return value_of_list(l);
    struct cacti f = {arg_true(c, 1), false, arg_true(c, 2) ? value_text(q, &c->args[2]) : NULL};
    if (f.system && !is_system(&c->args[1]))
        return call_fail(c, "parameter 'system' expects 'si' or 'binary', not %.60s",
                         value_text(q, &c->args[1]));
    f.binary = f.system && !strcmp(c->args[1].s, "binary");
    size_t name_width = 0, last = cacti_width(q, &f, l, agg_last), max = cacti_width(q, &f, l, agg_max),
           min = cacti_width(q, &f, l, agg_min);
    for (size_t i = 0; i < l->n; i++)
        name_width = text_width(l->v[i]->name) > name_width ? text_width(l->v[i]->name) : name_width;
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        series_rename(s, query_printf(q, "%s Current:%s Max:%s Min:%s ", padded(q, s->name, name_width),
                                      cacti_text(q, &f, agg_last(s->values, s->n), last),
                                      cacti_text(q, &f, agg_max(s->values, s->n), max),
                                      cacti_text(q, &f, agg_min(s->values, s->n), min)));
    }
    return value_of_list(l);
}

/* --- how graphs draw them: only the traces in names and tags --- */

struct value fn_unchanged(struct call *c)
{
    return value_of_list(arg_list(c, 0));
}

static struct value decorated(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        tags_set(c->q, l->v[i]->tags, c->fn->name, "1");
        series_rename(l->v[i], query_printf(c->q, "%s(%s)", c->fn->name, l->v[i]->name));
    }
    return value_of_list(l);
}

struct value fn_second_y_axis(struct call *c)
{
    return decorated(c);
}
struct value fn_draw_as_infinite(struct call *c)
{
    return decorated(c);
}

struct value fn_dashed(struct call *c)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        tags_set(c->q, l->v[i]->tags, "dashed", value_text(c->q, &c->args[1]));
        series_rename(l->v[i], query_printf(c->q, "dashed(%s, %g)", l->v[i]->name, arg_number(c, 1)));
    }
    return value_of_list(l);
}

struct value fn_area_between(struct call *c)
{
    struct list *l = arg_list(c, 0);
    if (l->n != 2)
        return call_fail(c, "needs exactly 2 series, not %zu", l->n);
    tags_set(c->q, l->v[1]->tags, "areaBetween", "1");
    l->v[0]->tags = l->v[1]->tags;
    const char *name = query_printf(c->q, "areaBetween(%s)", l->v[1]->path_expression);
    series_rename(l->v[0], name);
    series_rename(l->v[1], name);
    return value_of_list(l);
}

/* --- how values are put together later --- */

static struct value consolidate_by(struct call *c, const char *func)
{
    struct list *l = arg_list(c, 0);
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        struct query_series *s = l->v[i];
        s->consolidation = func;
        tags_set(c->q, s->tags, "consolidateBy", func);
        series_retitle(s, query_printf(c->q, "consolidateBy(%s,\"%s\")", s->name, func));
    }
    return value_of_list(l);
}

struct value fn_consolidate_by(struct call *c)
{
    return consolidate_by(c, value_text(c->q, &c->args[1]));
}
struct value fn_cumulative(struct call *c)
{
    return consolidate_by(c, "sum");
}

static bool is_number(const struct value *v)
{
    return v->kind == V_FLOAT || v->kind == V_INT || v->kind == V_BOOL;
}

struct value fn_set_x_files_factor(struct call *c)
{
    struct list *l = arg_list(c, 0);
    if (!l->n && !is_number(&c->args[1]))
        return value_of_list(l);
    double factor = arg_given(c, 1) ? arg_number(c, 1) : 0;
    c->scope->x_files_factor = factor;
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        l->v[i]->x_files_factor = factor;
        tags_set(c->q, l->v[i]->tags, "xFilesFactor", value_text(c->q, &c->args[1]));
    }
    return value_of_list(l);
}

/* Only reached where seriesByTag is used as a callback. */
struct value fn_series_by_tag(struct call *c)
{
    return call_fail(c, "cannot be used here");
}
