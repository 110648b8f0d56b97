#include "query/fetch.h"

#include "query/find.h"
#include "query/tagdb.h"

#include <stdlib.h>
#include <string.h>

/* One series of an answer, kept to be copied from: functions change their series in place. */
struct fetched_series {
    const char *name;
    uint32_t id;
    int64_t start_s, end_s, step_s;
    size_t n;
    double *values; /* in the arena */
};

struct fetched {
    struct fetched *next;
    int64_t start_s, end_s;
    const char *path;
    bool loaded;
    struct fetched_series *v;
    size_t n, cap;
};

static struct fetched *find_fetched(struct query *q, const struct scope *scope, const char *path)
{
    for (struct fetched *f = q->fetched; f; f = f->next)
        if (f->start_s == scope->start_s && f->end_s == scope->end_s && !strcmp(f->path, path))
            return f;
    return NULL;
}

void fetch_announce(struct query *q, const struct scope *scope, const char *path)
{
    if (find_fetched(q, scope, path))
        return;
    if (scope->start_s > scope->end_s)
        query_fail(q, ERR_INVALID, "the time range to read for '%.100s' begins after its end", path);
    struct fetched *f = arena_alloc(q->arena, sizeof *f);
    memset(f, 0, sizeof *f);
    f->start_s = scope->start_s;
    f->end_s = scope->end_s;
    f->path = arena_strndup(q->arena, path, strlen(path));
    f->next = q->fetched;
    q->fetched = f;
}

struct found {
    struct query *q;
    struct fetched *f;
};

static int add_found(struct found *w, uint32_t id, const char *name, size_t len)
{
    struct query *q = w->q;
    struct fetched *f = w->f;
    if (++q->series_found > q->limits.max_series) {
        query_fail(q, ERR_LIMIT, "the query finds more than %zu series (limit max_series)",
                   q->limits.max_series);
        return ERR_LIMIT;
    }
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 8;
        struct fetched_series *v = arena_alloc(q->arena, cap * sizeof *v);
        if (f->n)
            memcpy(v, f->v, f->n * sizeof *v);
        f->v = v;
        f->cap = cap;
    }
    f->v[f->n++] = (struct fetched_series){.name = arena_strndup(q->arena, name, len), .id = id};
    return 0;
}

static int on_tagged(void *ctx, uint32_t id, const char *name, size_t len)
{
    return add_found(ctx, id, name, len);
}

static int by_name(const void *a, const void *b)
{
    const struct fetched_series *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The string arguments of a seriesByTag(...) text. */
static void find_tagged(struct query *q, struct found *w, const char *text)
{
    struct ast *call;
    if (ast_parse(text, q->arena, &call, NULL, q->err) < 0) {
        q->failed = true;
        return;
    }
    const char **exprs = arena_alloc(q->arena, (call->nargs + 1) * sizeof *exprs);
    size_t n = 0;
    for (size_t i = 0; i < call->nargs; i++)
        if (call->args[i]->kind == AST_STRING)
            exprs[n++] = call->args[i]->text;
    struct err err = ERR_INIT;
    int rc = tagdb_find(q->env->source, exprs, n, q->arena, on_tagged, w, &err);
    if (rc < 0 && !q->failed)
        query_fail(q, rc, "%s", err.text);
}

static void find_names(struct query *q, struct fetched *f)
{
    struct found w = {q, f};
    struct query_source *src = q->env->source;
    struct err err = ERR_INIT;
    if (!strncmp(f->path, "seriesByTag(", 12)) {
        find_tagged(q, &w, f->path);
    } else if (strchr(f->path, ';')) {
        uint32_t id = src->ops->lookup(src, f->path, strlen(f->path));
        if (id)
            add_found(&w, id, f->path, strlen(f->path));
    } else {
        struct found_nodes nodes = {.arena = q->arena, .limit = 10 * q->limits.max_series};
        int rc = find_nodes(src, f->path, &nodes, &err);
        if (rc < 0)
            query_fail(q, rc, "%s", err.text);
        for (size_t i = 0; i < nodes.n && !q->failed; i++)
            if (nodes.v[i].id)
                add_found(&w, nodes.v[i].id, nodes.v[i].path, strlen(nodes.v[i].path));
    }
    if (!f->n)
        return;
    qsort(f->v, f->n, sizeof *f->v, by_name);
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        if (!n || f->v[i].id != f->v[n - 1].id)
            f->v[n++] = f->v[i];
    f->n = n;
}

/* The usual case, both on one grid: one copy. False: it is not. */
static bool place_whole(struct fetched_series *s, const struct column *c)
{
    int64_t offset = c->start_ms / 1000 - s->start_s;
    if (c->step_ms != s->step_s * 1000 || offset % s->step_s)
        return false;
    int64_t at = offset / s->step_s, skip = at < 0 ? -at : 0;
    if (skip >= (int64_t)c->n || at >= (int64_t)s->n)
        return true;
    size_t to = at < 0 ? 0 : (size_t)at, n = c->n - (size_t)skip;
    memcpy(s->values + to, c->values + skip, (n < s->n - to ? n : s->n - to) * sizeof *s->values);
    return true;
}

/* Puts a column's values on the grid of s; of several in one slot (steps under a second) the last stays. */
static void place(struct fetched_series *s, const struct column *c)
{
    if (place_whole(s, c))
        return;
    for (size_t i = 0; i < c->n; i++) {
        int64_t at = c->start_ms + (int64_t)i * c->step_ms;
        if (at < s->start_s * 1000 || column_is_missing(c->values[i]))
            continue;
        size_t slot = (size_t)((at / 1000 - s->start_s) / s->step_s);
        if (slot < s->n)
            s->values[slot] = c->values[i];
    }
}

/* As whisper reads: from the slot after start to the slot of end, at least one, none of the future. False: no
 * such series in this range. */
static bool load_values(struct query *q, const struct scope *scope, struct fetched_series *s)
{
    struct query_source *src = q->env->source;
    int64_t end = scope->end_s < scope->now_s ? scope->end_s : scope->now_s;
    if (scope->start_s > scope->now_s || scope->start_s > end)
        return false;
    /* The same start for the grid and for the values: it decides which archive answers. */
    struct read_range range = {
        .from_ms = scope->start_s * 1000, .until_ms = end * 1000 + 1, .now_ms = scope->now_s * 1000};
    int64_t step_ms = src->ops->step_ms(src, s->id, &range);
    if (!step_ms)
        return false;
    int64_t step = step_ms < 1000 ? 1 : step_ms / 1000;
    s->step_s = step;
    s->start_s = scope->start_s / step * step + step;
    s->end_s = end / step * step + step;
    if (s->end_s == s->start_s)
        s->end_s += step;
    s->n = (size_t)((s->end_s - s->start_s) / step);
    s->values = query_values(q, s->n);
    if (!s->values)
        return false;
    for (size_t i = 0; i < s->n; i++)
        s->values[i] = column_missing();
    struct column c = {.n = 0};
    struct err err = ERR_INIT;
    range.until_ms = s->end_s * 1000;
    range.max_slots = s->n * (size_t)(step_ms < 1000 ? 1000 / step_ms + 1 : 1) + 4;
    int rc = src->ops->fetch(src, s->id, &range, &c, q->report, &err);
    if (rc < 0) {
        if (rc != ERR_NOT_FOUND)
            query_fail(q, rc, "reading %.100s: %.300s", s->name, err.text);
        return false;
    }
    place(s, &c);
    free(c.values);
    return true;
}

static void load(struct query *q, const struct scope *scope, struct fetched *f)
{
    f->loaded = true;
    find_names(q, f);
    size_t n = 0;
    for (size_t i = 0; i < f->n && !q->failed; i++) {
        struct fetched_series s = f->v[i];
        if (query_tick(q, 1000) || !load_values(q, scope, &s))
            continue;
        f->v[n++] = s;
    }
    f->n = n;
}

struct list *fetch_path(struct call *c, const char *path)
{
    struct query *q = c->q;
    struct fetched *f = find_fetched(q, c->scope, path);
    if (f && !f->loaded)
        load(q, c->scope, f);
    struct list *l = list_new(q, f ? f->n : 0);
    for (size_t i = 0; f && i < f->n && !q->failed; i++) {
        const struct fetched_series *from = &f->v[i];
        struct query_series *s = series_new(c, from->name, from->start_s, from->end_s, from->step_s);
        s->path_expression = f->path;
        if (series_alloc(q, s, from->n))
            memcpy(s->values, from->values, from->n * sizeof *s->values);
        list_add(q, l, s);
    }
    return l;
}
