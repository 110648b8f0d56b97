/* Functions that sort series into groups, join lists and pick members. */
#include "query/function_list.h"
#include "query/functions.h"

#include <stdlib.h>
#include <string.h>

struct value fn_group(struct call *c)
{
    return value_of_list(rest_lists(c));
}

struct value fn_unique(struct call *c)
{
    struct list *l = rest_lists(c), *out = list_new(c->q, l->n);
    struct groups seen = {NULL, 0, 0};
    for (size_t i = 0; i < l->n && !c->q->failed; i++) {
        if (groups_get(c->q, &seen, l->v[i]->name))
            continue;
        groups_put(c->q, &seen, l->v[i]->name);
        list_add(c->q, out, l->v[i]);
    }
    return value_of_list(out);
}

struct value fn_fallback_series(struct call *c)
{
    return arg_list(c, 0)->n ? c->args[0] : c->args[1];
}

static struct groups by_nodes(struct call *c, struct list *l, const struct value *nodes, size_t n)
{
    struct groups g = {NULL, 0, 0};
    for (size_t i = 0; i < l->n && !c->q->failed; i++)
        list_add(c->q, groups_put(c->q, &g, node_key(c, l->v[i], nodes, n)), l->v[i]);
    return g;
}

/* One series of a group, by a function of that name if there is one, else by an aggregation. */
static struct query_series *apply_callback(struct call *c, struct list *l, const struct value *callback)
{
    const struct function *fn = callback->kind == V_STRING ? function_find(callback->s) : NULL;
    struct list *out;
    if (fn)
        out = call_other(c, fn, &l, 1);
    else if (callback->kind == V_STRING)
        out = aggregate(c, l, callback->s, c->scope->x_files_factor);
    else
        out = call_fail(c, "the callback must be the name of a function or an aggregation").list;
    if (!out->n) {
        call_fail(c, "the callback '%.60s' gives no series", value_text(c->q, callback));
        return NULL;
    }
    return out->v[0];
}

static struct value callback_groups(struct call *c, const struct groups *g, const struct value *callback)
{
    struct list *out = list_new(c->q, g->n);
    for (size_t i = 0; i < g->n && !c->q->failed; i++) {
        struct query_series *s = apply_callback(c, g->v[i].list, callback);
        if (s)
            series_rename(s, g->v[i].key);
        list_add(c->q, out, s);
    }
    return value_of_list(out);
}

struct value fn_group_by_node(struct call *c)
{
    struct groups g = by_nodes(c, arg_list(c, 0), &c->args[1], 1);
    return callback_groups(c, &g, &c->args[2]);
}

struct value fn_group_by_nodes(struct call *c)
{
    struct groups g = by_nodes(c, arg_list(c, 0), c->rest, c->nrest);
    return callback_groups(c, &g, &c->args[1]);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool rest_has(const struct call *c, const char *text)
{
    for (size_t i = 0; i < c->nrest; i++)
        if (c->rest[i].kind == V_STRING && !strcmp(c->rest[i].s, text))
            return true;
    return false;
}

/* name;tag=value;... of a series for the tags asked for, sorted. */
static const char *tags_key(struct call *c, const struct query_series *s, const char *name)
{
    struct query *q = c->q;
    const char **parts = arena_alloc(q->arena, (c->nrest + 1) * sizeof *parts);
    size_t n = 0;
    for (size_t i = 0; i < c->nrest; i++) {
        if (c->rest[i].kind != V_STRING) {
            call_fail(c, "a tag must be a string, not %.60s", value_text(q, &c->rest[i]));
            return name;
        }
        if (!strcmp(c->rest[i].s, "name"))
            continue;
        const char *v = tags_get(s->tags, c->rest[i].s);
        parts[n++] = query_printf(q, "%s=%s", c->rest[i].s, v ? v : "");
    }
    qsort(parts, n, sizeof *parts, compare_texts);
    struct buf b = BUF_INIT;
    buf_puts(&b, name);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, ";%s", parts[i]);
    const char *key = query_printf(q, "%s", buf_str(&b));
    buf_release(&b);
    return key;
}

/* The name all of them have, else the callback's. */
static const char *group_name(struct call *c, struct list *l)
{
    const char *name = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const char *own = tags_get(l->v[i]->tags, "name");
        if (!own || (name && strcmp(name, own)))
            return arg_string(c, 1);
        name = own;
    }
    return name ? name : "";
}

struct value fn_group_by_tags(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct groups g = {NULL, 0, 0};
    if (!c->nrest)
        return call_fail(c, "expects at least one tag");
    const char *name = rest_has(c, "name") ? NULL : group_name(c, l);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        const char *own = name ? name : tags_get(l->v[i]->tags, "name");
        list_add(q, groups_put(q, &g, tags_key(c, l->v[i], own ? own : "")), l->v[i]);
    }
    for (size_t i = 0; i < g.n && !q->failed; i++) {
        struct query_series *s = apply_callback(c, g.v[i].list, &c->args[1]);
        if (!s)
            break;
        series_retitle(s, g.v[i].key);
        s->tags = tags_parse_strict(q, g.v[i].key);
        if (!s->tags)
            return call_fail(c, "'%.100s' has an empty tag: not all series have all of the tags", g.v[i].key);
        list_add(q, out, s);
    }
    return value_of_list(out);
}

/* --- levels left out of names --- */

static bool is_left_out(const struct call *c, int64_t level)
{
    for (size_t i = 0; i < c->nrest; i++) {
        const struct value *v = &c->rest[i];
        if (((v->kind == V_INT || v->kind == V_BOOL) && v->i == level) ||
            (v->kind == V_FLOAT && v->d == (double)level))
            return true;
    }
    return false;
}

static const char *name_without_levels(struct call *c, const char *name)
{
    struct buf b = BUF_INIT;
    bool any = false;
    int64_t level = 0;
    for (const char *p = name;; p++, level++) {
        size_t n = strcspn(p, ".");
        if (!is_left_out(c, level)) {
            if (any)
                buf_putc(&b, '.');
            buf_append(&b, p, n);
            any = true;
        }
        p += n;
        if (!*p)
            break;
    }
    const char *out = query_printf(c->q, "%s", buf_str(&b));
    buf_release(&b);
    return out;
}

static struct value with_wildcards(struct call *c, const char *func)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    struct groups g = {NULL, 0, 0};
    for (size_t i = 0; i < l->n && !q->failed; i++)
        list_add(q, groups_put(q, &g, name_without_levels(c, l->v[i]->name)), l->v[i]);
    for (size_t i = 0; i < g.n && !q->failed; i++) {
        struct list *one = aggregate(c, g.v[i].list, func, c->scope->x_files_factor);
        if (one->n)
            series_rename(one->v[0], g.v[i].key);
        list_add(q, out, one->n ? one->v[0] : NULL);
    }
    return value_of_list(out);
}

struct value fn_aggregate_with_wildcards(struct call *c)
{
    return with_wildcards(c, arg_string(c, 1));
}
struct value fn_sum_series_with_wildcards(struct call *c)
{
    return with_wildcards(c, "sum");
}
struct value fn_average_series_with_wildcards(struct call *c)
{
    return with_wildcards(c, "average");
}
struct value fn_multiply_series_with_wildcards(struct call *c)
{
    return with_wildcards(c, "multiply");
}

/* --- map and reduce --- */

struct value fn_map_series(struct call *c)
{
    struct groups g = by_nodes(c, arg_list(c, 0), c->rest, c->nrest);
    struct value v = {.kind = V_LISTS, .nlists = g.n};
    v.lists = arena_alloc(c->q->arena, g.n * sizeof *v.lists);
    for (size_t i = 0; i < g.n; i++)
        v.lists[i] = g.v[i].list;
    return v;
}

/* Offset of a level in a name, and its length; false if there is none. */
static bool find_level(const char *name, int64_t level, size_t *at, size_t *len)
{
    int64_t levels = 1;
    for (const char *p = name; *p; p++)
        levels += *p == '.';
    if (level < 0)
        level += levels;
    if (level < 0 || level >= levels)
        return false;
    const char *p = name;
    while (level--)
        p = strchr(p, '.') + 1;
    *at = (size_t)(p - name);
    *len = strcspn(p, ".");
    return true;
}

struct reduction {
    const char *key;
    struct list **by_matcher; /* one for each matcher, NULL until found */
};

/* The last series of a name before the level, for each matcher of the level. */
static void reduce_add(struct call *c, struct query_series *s, struct reduction *r, size_t *n)
{
    struct query *q = c->q;
    size_t at, len;
    if (!find_level(s->name, arg_index(c, 2), &at, &len)) {
        call_fail(c, "'%.100s' has no such level", s->name);
        return;
    }
    const char *node = arena_strndup(q->arena, s->name + at, len);
    size_t m = 0;
    while (m < c->nrest && !(c->rest[m].kind == V_STRING && !strcmp(c->rest[m].s, node)))
        m++;
    if (m == c->nrest)
        return;
    const char *key = query_printf(q, "%.*s.reduce.%s", (int)(at ? at - 1 : 0), s->name, arg_string(c, 1));
    size_t i = 0;
    while (i < *n && strcmp(r[i].key, key))
        i++;
    if (i == *n) {
        r[i].key = key;
        r[i].by_matcher = arena_alloc(q->arena, c->nrest * sizeof *r[i].by_matcher);
        memset(r[i].by_matcher, 0, c->nrest * sizeof *r[i].by_matcher);
        ++*n;
    }
    r[i].by_matcher[m] = value_of_series(q, s).list;
}

struct value fn_reduce_series(struct call *c)
{
    struct query *q = c->q;
    struct list *out = list_new(q, 4);
    const struct value *lists = &c->args[0];
    if (lists->kind != V_LISTS) {
        if (arg_true(c, 0))
            arg_fail(c, 0, NULL);
        return value_of_list(out);
    }
    size_t max = 0, n = 0;
    for (size_t i = 0; i < lists->nlists; i++)
        max += lists->lists[i]->n;
    struct reduction *r = arena_alloc(q->arena, max * sizeof *r);
    for (size_t i = 0; i < lists->nlists; i++)
        for (size_t k = 0; k < lists->lists[i]->n && !q->failed; k++)
            reduce_add(c, lists->lists[i]->v[k], r, &n);
    const struct function *fn = function_find(arg_string(c, 1));
    if (n && !fn)
        return call_fail(c, "there is no function '%.60s'", arg_string(c, 1));
    for (size_t i = 0; i < n && !q->failed; i++) {
        for (size_t m = 0; m < c->nrest; m++)
            if (!r[i].by_matcher[m])
                return call_fail(c, "'%.100s' has no series for '%.60s'", r[i].key, c->rest[m].s);
        struct list *one = call_other(c, fn, r[i].by_matcher, c->nrest);
        if (!one->n)
            return call_fail(c, "'%.60s' gives no series", fn->name);
        series_rename(one->v[0], r[i].key);
        list_add(q, out, one->v[0]);
    }
    return value_of_list(out);
}

/* --- applyByNode --- */

static const char *replace_percent(struct query *q, const char *text, const char *with)
{
    struct buf b = BUF_INIT;
    for (const char *p = text; *p; p++) {
        if (*p == '%')
            buf_puts(&b, with);
        else
            buf_putc(&b, *p);
    }
    const char *out = query_printf(q, "%s", buf_str(&b));
    buf_release(&b);
    return out;
}

/* The first `levels` levels of a name; all but the last -levels if negative. */
static const char *prefix_of(struct query *q, const char *name, int64_t levels)
{
    int64_t all = 1;
    for (const char *p = name; *p; p++)
        all += *p == '.';
    if (levels < 0)
        levels += all;
    if (levels <= 0)
        return "";
    const char *p = name;
    for (; *p; p++)
        if (*p == '.' && --levels == 0)
            break;
    return arena_strndup(q->arena, name, (size_t)(p - name));
}

struct value fn_apply_by_node(struct call *c)
{
    struct query *q = c->q;
    struct list *l = arg_list(c, 0), *out = list_new(q, l->n);
    int64_t levels = arg_index(c, 1) + 1;
    const char *template = arg_string(c, 2);
    const char **prefixes = arena_alloc(q->arena, l->n * sizeof *prefixes);
    struct scope scope = *c->scope;
    for (size_t i = 0; i < l->n; i++)
        prefixes[i] = prefix_of(q, l->v[i]->name, levels);
    qsort(prefixes, l->n, sizeof *prefixes, compare_texts);
    for (size_t i = 0; i < l->n && !q->failed; i++) {
        if (i && !strcmp(prefixes[i], prefixes[i - 1]))
            continue;
        struct list *some = eval_text(c, &scope, replace_percent(q, template, prefixes[i]));
        for (size_t k = 0; k < some->n; k++) {
            struct query_series *s = some->v[k];
            if (arg_true(c, 3))
                series_rename(s, replace_percent(q, arg_string(c, 3), prefixes[i]));
            s->path_expression = prefixes[i];
            s->start_s = l->v[l->n - 1]->start_s;
            s->end_s = l->v[l->n - 1]->end_s;
            list_add(q, out, s);
        }
    }
    return value_of_list(out);
}
