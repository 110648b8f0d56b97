/* What several files of functions need. */
#include "query/functions.h"
#include "query/timespec.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

bool grid_normalize(struct query *q, struct list *l, struct grid *g)
{
    if (!l->n || q->failed)
        return false;
    *g = (struct grid){l->v[0]->start_s, l->v[0]->end_s, l->v[0]->step_s};
    for (size_t i = 0; i < l->n; i++) {
        const struct query_series *s = l->v[i];
        if (s->step_s <= 0 || g->step_s <= 0) {
            query_fail(q, ERR_INVALID, "%.100s has no step: its time range is too short", s->name);
            return false;
        }
        if (g->step_s != s->step_s) {
            int64_t factor = g->step_s / gcd(g->step_s, s->step_s);
            if (s->step_s > INT32_MAX / factor) {
                query_fail(q, ERR_INVALID, "%.100s has a step that does not go with the others", s->name);
                return false;
            }
            g->step_s = factor * s->step_s;
        }
        g->start_s = s->start_s < g->start_s ? s->start_s : g->start_s;
        g->end_s = s->end_s > g->end_s ? s->end_s : g->end_s;
    }
    for (size_t i = 0; i < l->n; i++)
        l->v[i]->values_per_point = g->step_s / l->v[i]->step_s;
    int64_t rest = (g->end_s - g->start_s) % g->step_s;
    g->end_s -= rest < 0 ? rest + g->step_s : rest; /* a window longer than the range begins after its end */
    return true;
}

bool rows_init(struct query *q, struct list *l, struct rows *r)
{
    r->list = l;
    r->k = l->n;
    r->n = 0;
    r->v = arena_alloc(q->arena, l->n * sizeof *r->v);
    r->len = arena_alloc(q->arena, l->n * sizeof *r->len);
    r->row = arena_alloc(q->arena, l->n * sizeof *r->row);
    for (size_t i = 0; i < l->n; i++) {
        r->v[i] = series_view(q, l->v[i], &r->len[i]);
        r->n = r->len[i] > r->n ? r->len[i] : r->n;
    }
    return !q->failed && !query_tick(q, r->k * r->n);
}

const double *rows_get(struct rows *r, size_t i)
{
    for (size_t k = 0; k < r->k; k++)
        r->row[k] = i < r->len[k] ? r->v[k][i] : column_missing();
    return r->row;
}

struct query_series *series_on_grid(struct call *c, const char *name, const struct grid *g, size_t n)
{
    struct query_series *s = series_new(c, name, g->start_s, g->end_s, g->step_s);
    return series_alloc(c->q, s, n) ? s : NULL;
}

const char *path_expressions(struct query *q, struct list *l)
{
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i]->name_json && !strcmp(l->v[i]->path_expression, l->v[i]->name))
            query_fail(q, ERR_INVALID, "a series named %.60s, which is no text, cannot be combined",
                       l->v[i]->name);
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = !strcmp(l->v[k]->path_expression, l->v[i]->path_expression);
        if (seen)
            continue;
        if (i)
            buf_putc(&b, ',');
        buf_puts(&b, l->v[i]->path_expression);
    }
    const char *out = query_printf(q, "%s", buf_str(&b));
    buf_release(&b);
    return out;
}

struct list *groups_get(struct query *q, struct groups *g, const char *key)
{
    for (size_t i = 0; i < g->n; i++)
        if (!strcmp(g->v[i].key, key))
            return g->v[i].list;
    return NULL;
}

struct list *groups_put(struct query *q, struct groups *g, const char *key)
{
    struct list *l = groups_get(q, g, key);
    if (l)
        return l;
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 8;
        struct group *v = arena_alloc(q->arena, cap * sizeof *v);
        if (g->n)
            memcpy(v, g->v, g->n * sizeof *v);
        g->v = v;
        g->cap = cap;
    }
    query_tick(q, g->n);
    l = list_new(q, 4);
    g->v[g->n++] = (struct group){key, l};
    return l;
}

/* The first path in a name such as "scale(a.b,2)"; NULL if there is none. */
static const char *first_path(struct call *c, const char *name)
{
    struct ast *a;
    struct err err = ERR_INIT;
    if (ast_parse(name, c->q->arena, &a, NULL, &err) < 0) {
        call_fail(c, "the name '%.100s' has no path in it", name);
        return NULL;
    }
    while (a->kind == AST_CALL || a->kind == AST_PIPE) {
        if (!a->nargs) {
            call_fail(c, "the name '%.100s' has no path in it", name);
            return NULL;
        }
        a = a->args[0];
    }
    return a->kind == AST_PATH ? a->text : NULL;
}

/* The n-th level of a path without tags, from the end if negative; NULL if there is none. */
static const char *path_level(struct query *q, const char *path, int64_t n)
{
    size_t len = strcspn(path, ";");
    int64_t levels = 1;
    for (size_t i = 0; i < len; i++)
        levels += path[i] == '.';
    if (n < 0)
        n += levels;
    if (n < 0 || n >= levels)
        return NULL;
    const char *p = path;
    while (n--)
        p = memchr(p, '.', (size_t)(path + len - p)) + 1;
    const char *end = memchr(p, '.', (size_t)(path + len - p));
    return arena_strndup(q->arena, p, (size_t)((end ? end : path + len) - p));
}

static const char *node_or_tag(struct call *c, const struct query_series *s, const char *path,
                               const struct value *node)
{
    if (node->kind == V_INT || node->kind == V_BOOL) {
        const char *level = path_level(c->q, path, node->i);
        if (level)
            return level;
    } else if (node->kind != V_STRING && !(node->kind == V_FLOAT && node->d != floor(node->d))) {
        call_fail(c, "a node is the number of a path level or a tag, not %.60s", value_text(c->q, node));
        return "";
    }
    const char *tag = tags_get(s->tags, value_text(c->q, node));
    return tag ? tag : "";
}

const char *node_key(struct call *c, const struct query_series *s, const struct value *nodes, size_t n)
{
    size_t len = strlen(s->name);
    if (!len) {
        call_fail(c, "a series has an empty name");
        return "";
    }
    const char *path = s->name[len - 1] == ')' ? first_path(c, s->name) : NULL;
    if (!path)
        path = s->name;
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(&b, '.');
        buf_puts(&b, node_or_tag(c, s, path, &nodes[i]));
    }
    const char *key = query_printf(c->q, "%s", buf_str(&b));
    buf_release(&b);
    return key;
}

struct value value_of_number(const struct query_series *s, double v)
{
    if (column_is_missing(v))
        return value_none();
    if (s->integers && fabs(v) < 9e15)
        return (struct value){.kind = V_INT, .i = (int64_t)v};
    return (struct value){.kind = V_FLOAT, .d = v};
}

void name_by_value(struct call *c, struct query_series *s, const struct value *v)
{
    if (v->kind == V_LIST || v->kind == V_LISTS)
        call_fail(c, "a series cannot be named by series");
    series_rename(s, value_text(c->q, v));
    if (v->kind == V_NONE)
        s->name_json = "null";
    else if (v->kind == V_BOOL)
        s->name_json = v->i ? "true" : "false";
    else if (v->kind == V_FLOAT && !isfinite(v->d))
        s->name_json = isnan(v->d) ? "null" : v->d > 0 ? "1e9999" : "-1e9999";
    else if (v->kind != V_STRING)
        s->name_json = s->name;
}

struct value value_of_series(struct query *q, struct query_series *s)
{
    struct list *l = list_new(q, 1);
    list_add(q, l, s);
    return value_of_list(l);
}

double safe_divide(double a, double b)
{
    return column_is_missing(a) || column_is_missing(b) || b == 0 ? column_missing() : a / b;
}

double safe_multiply(double a, double b)
{
    return column_is_missing(a) || column_is_missing(b) ? column_missing() : a * b;
}

/* Missing also where Python's math.pow raises: no real result, or too large a one. */
double safe_power(double a, double b)
{
    if (column_is_missing(a) || column_is_missing(b))
        return column_missing();
    double r = pow(a, b);
    if ((isnan(r) && !isnan(a) && !isnan(b)) || (isinf(r) && isfinite(a) && isfinite(b)))
        return column_missing();
    return r;
}

bool has_step(struct call *c, const struct query_series *s)
{
    if (s->step_s <= 0)
        call_fail(c, "%.100s has no step: its time range is too short", s->name);
    return s->step_s > 0;
}

int64_t mktime_seconds(const struct scope *scope, int64_t utc_s)
{
    return utc_s + query_zone_offset(scope->zone, utc_s) - (query_zone_dst(scope->zone, utc_s) ? 3600 : 0);
}

int64_t arg_interval(struct call *c, size_t i)
{
    int64_t s = 0;
    struct err err = ERR_INIT;
    if (c->args[i].kind != V_STRING)
        arg_fail(c, i, "an interval such as '10min'");
    else if (query_parse_interval(c->args[i].s, &s, &err) < 0)
        call_fail(c, "%.200s", err.text);
    return s;
}

agg_fn arg_aggregation(struct call *c, size_t i)
{
    agg_fn fn = c->args[i].kind == V_STRING ? agg_find(c->args[i].s) : NULL;
    if (!fn)
        arg_fail(c, i, "average, median, sum, min, max, diff, stddev, count, range, multiply or last");
    return fn ? fn : agg_sum;
}

struct query_series *constant_line(struct call *c, const char *name, double value)
{
    const struct scope *at = c->scope;
    struct query_series *s = series_new(c, name, at->start_s, at->end_s, (at->end_s - at->start_s) / 2);
    s->path_expression = query_printf(c->q, "constantLine(%s)", name);
    if (!series_alloc(c->q, s, 3))
        return NULL;
    for (size_t i = 0; i < 3; i++)
        s->values[i] = value;
    return s;
}
