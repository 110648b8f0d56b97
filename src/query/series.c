/* Series, lists and tags in a query's arena. */
#include "base/mem.h"
#include "query/agg.h"
#include "query/eval.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct list *list_new(struct query *q, size_t cap)
{
    struct list *l = arena_alloc(q->arena, sizeof *l);
    l->n = 0;
    l->cap = cap;
    l->v = cap ? arena_alloc(q->arena, cap * sizeof *l->v) : NULL;
    return l;
}

void list_add(struct query *q, struct list *l, struct query_series *s)
{
    if (!s)
        return;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct query_series **v = arena_alloc(q->arena, cap * sizeof *v);
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = s;
}

struct query_tags *tags_new(struct query *q)
{
    struct query_tags *t = arena_alloc(q->arena, sizeof *t);
    memset(t, 0, sizeof *t);
    return t;
}

void tags_set(struct query *q, struct query_tags *t, const char *name, const char *value)
{
    for (size_t i = 0; i < t->n; i++) {
        if (!strcmp(t->v[i].name, name)) {
            t->v[i].value = value;
            return;
        }
    }
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 4;
        struct query_tag *v = arena_alloc(q->arena, cap * sizeof *v);
        if (t->n)
            memcpy(v, t->v, t->n * sizeof *v);
        t->v = v;
        t->cap = cap;
    }
    t->v[t->n++] = (struct query_tag){name, value};
}

const char *tags_get(const struct query_tags *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->v[i].name, name))
            return t->v[i].value;
    return NULL;
}

void tags_remove(struct query_tags *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->v[i].name, name))
            continue;
        memmove(t->v + i, t->v + i + 1, (t->n - i - 1) * sizeof *t->v);
        t->n--;
        return;
    }
}

struct query_tags *tags_parse_strict(struct query *q, const char *name)
{
    struct query_tags *t = tags_new(q);
    const char *semicolon = strchr(name, ';');
    size_t path_len = semicolon ? (size_t)(semicolon - name) : strlen(name);
    const char *path = arena_strndup(q->arena, name, path_len);
    while (semicolon) {
        const char *tag = semicolon + 1;
        semicolon = strchr(tag, ';');
        size_t len = semicolon ? (size_t)(semicolon - tag) : strlen(tag);
        const char *equal = memchr(tag, '=', len);
        if (!equal || equal == tag || equal + 1 == tag + len || equal[1] == '~')
            return NULL;
        char *key = arena_strndup(q->arena, tag, (size_t)(equal - tag));
        if (strpbrk(key, "!^"))
            return NULL;
        tags_set(q, t, key, arena_strndup(q->arena, equal + 1, (size_t)(tag + len - equal - 1)));
    }
    while (*path == '~')
        path++;
    if (!*path)
        return NULL;
    tags_set(q, t, "name", path);
    return t;
}

/* letters(...): the name of something computed, which has no tags in it. */
static bool looks_computed(const char *name)
{
    const char *p = name;
    while (isalpha((unsigned char)*p))
        p++;
    size_t n = strlen(p);
    return p > name && *p == '(' && n >= 3 && p[n - 1] == ')';
}

struct query_tags *tags_parse(struct query *q, const char *name)
{
    struct query_tags *t = looks_computed(name) ? NULL : tags_parse_strict(q, name);
    if (!t) {
        t = tags_new(q);
        tags_set(q, t, "name", name);
    }
    return t;
}

struct query_series *series_new(struct call *c, const char *name, int64_t start_s, int64_t end_s,
                                int64_t step_s)
{
    struct query_series *s = arena_alloc(c->q->arena, sizeof *s);
    memset(s, 0, sizeof *s);
    s->name = s->path_expression = name;
    s->start_s = start_s;
    s->end_s = end_s;
    s->step_s = step_s;
    s->consolidation = "average";
    s->values_per_point = 1;
    s->x_files_factor = c->scope->x_files_factor;
    s->tags = tags_parse(c->q, name);
    return s;
}

struct query_series *series_copy(struct call *c, const struct query_series *s, const char *name)
{
    struct query_series *n = arena_alloc(c->q->arena, sizeof *n);
    *n = *s;
    n->values_per_point = 1;
    series_retitle(n, name);
    return n;
}

bool series_alloc(struct query *q, struct query_series *s, size_t n)
{
    s->values = query_values(q, n);
    s->n = s->values ? n : 0;
    s->text = NULL;
    s->integers = false;
    return s->values;
}

void series_rename(struct query_series *s, const char *name)
{
    s->name = name;
    s->name_json = NULL;
}

void series_retitle(struct query_series *s, const char *name)
{
    series_rename(s, name);
    s->path_expression = name;
}

int series_compare_names(const void *a, const void *b)
{
    const struct query_series *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* One consolidated value; `n` of the run, which is short at the end. */
static double consolidate(agg_fn fn, bool zero, const struct query_series *s, const double *v, size_t n)
{
    size_t present = 0;
    for (size_t i = 0; i < n; i++)
        present += !column_is_missing(v[i]);
    if (!present || (double)present / (double)s->values_per_point < s->x_files_factor)
        return column_missing();
    return zero ? agg_average_zero(v, n) : fn(v, n);
}

const double *series_view(struct query *q, const struct query_series *s, size_t *n)
{
    *n = s->n;
    if (s->values_per_point <= 1)
        return s->values;
    size_t run = (size_t)s->values_per_point;
    agg_fn fn = agg_consolidation(s->consolidation);
    if (!fn) {
        query_fail(
            q, ERR_INVALID,
            "'%.60s' is no consolidation function: expected average, sum, min, max, first, last or avg_zero",
            s->consolidation);
        *n = 0;
        return s->values;
    }
    bool zero = !strcmp(s->consolidation, "avg_zero");
    *n = (s->n + run - 1) / run;
    double *out = query_values(q, *n);
    if (!out) {
        *n = 0;
        return s->values;
    }
    for (size_t i = 0; i < *n; i++)
        out[i] = consolidate(fn, zero, s, s->values + i * run, s->n - i * run < run ? s->n - i * run : run);
    return out;
}
