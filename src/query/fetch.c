#include "query/fetch.h"

#include "query/find.h"
#include "query/tagdb.h"

#include <stdlib.h>
#include <string.h>

/* What a path names in a time range. */
struct fetched {
    struct fetched *next;
    int64_t start_s, end_s;
    struct thinning thinning;
    const char *path;
    bool found;      /* v is filled in */
    bool valued;     /* and has values */
    unsigned wanted; /* how often it was announced and not used yet */
    size_t target;   /* the last that used it */
    struct loaded *v;
    size_t n, cap;
};

static bool thinning_equal(const struct thinning *a, const struct thinning *b)
{
    return a->max_points == b->max_points && (!a->max_points || a->consolidation == b->consolidation);
}

static struct fetched *find_fetched(struct query *q, const struct scope *scope, const char *path)
{
    for (struct fetched *f = q->fetched; f; f = f->next)
        if (f->start_s == scope->start_s && f->end_s == scope->end_s &&
            thinning_equal(&f->thinning, &scope->thinning) && !strcmp(f->path, path))
            return f;
    return NULL;
}

void fetch_announce(struct query *q, const struct scope *scope, const char *path)
{
    struct fetched *f = find_fetched(q, scope, path);
    if (f) {
        f->wanted++;
        return;
    }
    f = arena_alloc(q->arena, sizeof *f);
    memset(f, 0, sizeof *f);
    f->wanted = 1;
    f->start_s = scope->start_s;
    f->end_s = scope->end_s;
    f->thinning = scope->thinning;
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
        query_fail(q, ERR_LIMIT, "the query finds more than %zu series (limit query.max_series)",
                   q->limits.max_series);
        return ERR_LIMIT;
    }
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 8;
        struct loaded *v = arena_alloc(q->arena, cap * sizeof *v);
        if (f->n)
            memcpy(v, f->v, f->n * sizeof *v);
        f->v = v;
        f->cap = cap;
    }
    f->v[f->n++] = (struct loaded){.name = arena_strndup(q->arena, name, len), .id = id, .of = f};
    return 0;
}

static int on_tagged(void *ctx, uint32_t id, const char *name, size_t len)
{
    return add_found(ctx, id, name, len);
}

static int by_name(const void *a, const void *b)
{
    const struct loaded *x = a, *y = b;
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

/* The series, without values yet. */
static void find_series(struct query *q, const struct scope *scope, struct fetched *f)
{
    f->found = true;
    find_names(q, f);
    if (scope->start_s > scope->end_s && (f->n || strncmp(f->path, "seriesByTag(", 12)))
        query_fail(q, ERR_INVALID, "the time range to read for '%.100s' begins after its end", f->path);
    size_t n = 0;
    for (size_t i = 0; i < f->n && !q->failed; i++)
        if (load_grid(q, scope, &f->v[i]))
            f->v[n++] = f->v[i];
    f->n = n;
}

static void read_series(struct query *q, struct fetched *f)
{
    f->valued = true;
    load_values(q, f->v, f->n);
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].values)
            f->v[n++] = f->v[i];
    f->n = n;
}

/* Adds it to what the target that is being evaluated has read, once. */
static void note_reads(struct query *q, struct fetched *f)
{
    if (!q->reads || f->target == q->target)
        return;
    f->target = q->target;
    for (size_t i = 0; i < f->n; i++)
        load_add_reads(q, q->reads, &f->v[i]);
}

static struct query_series *new_series(struct call *c, struct loaded *from)
{
    struct query_series *s = series_new(c, from->name, from->start_s, from->end_s, from->step_s);
    s->path_expression = from->of->path;
    s->n = from->n;
    s->sums = from->sums;
    s->counts = from->counts;
    s->points_per_value = from->points_per_value;
    s->reads = from->reads;
    return s;
}

/* Functions change their series in place. Whoever is the last to want what was read gets it, all others
 * copies; should another come after all, it is read again. */
struct list *fetch_path(struct call *c, const char *path)
{
    struct query *q = c->q;
    struct fetched *f = find_fetched(q, c->scope, path);
    if (!f)
        return list_new(q, 0);
    if (!f->found)
        find_series(q, c->scope, f);
    if (!f->valued)
        read_series(q, f);
    bool last = f->wanted <= 1;
    f->wanted -= f->wanted > 0;
    note_reads(q, f);
    struct list *l = list_new(q, f->n);
    for (size_t i = 0; i < f->n && !q->failed; i++) {
        struct query_series *s = new_series(c, &f->v[i]);
        s->values = last ? f->v[i].values : query_values(q, s->n);
        if (!last && s->values)
            memcpy(s->values, f->v[i].values, s->n * sizeof *s->values);
        list_add(q, l, s);
    }
    f->valued = !last;
    return l;
}

struct list *fetch_deferred(struct call *c, const char *path)
{
    struct query *q = c->q;
    struct fetched *f = find_fetched(q, c->scope, path);
    if (!f)
        return list_new(q, 0);
    if (!f->found)
        find_series(q, c->scope, f);
    if (f->wanted > 1 || f->valued)
        return fetch_path(c, path);
    f->wanted = 0;
    struct list *l = list_new(q, f->n);
    for (size_t i = 0; i < f->n && !q->failed; i++) {
        struct query_series *s = new_series(c, &f->v[i]);
        s->deferred = &f->v[i];
        list_add(q, l, s);
    }
    return l;
}

/* Adds what a list was read from to what the target has read, unless the target had it before. */
static void note_list(struct query *q, const struct list *l)
{
    for (size_t i = 0; q->reads && i < l->n; i++)
        if (l->v[i]->deferred && l->v[i]->deferred->of->target != q->target)
            load_add_reads(q, q->reads, l->v[i]->deferred);
    for (size_t i = 0; q->reads && i < l->n; i++)
        if (l->v[i]->deferred)
            l->v[i]->deferred->of->target = q->target;
}

bool fetch_now(struct query *q, struct list *l)
{
    struct loaded *v = arena_alloc(q->arena, (l->n + 1) * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i]->deferred)
            v[n++] = *l->v[i]->deferred;
    load_values(q, v, n);
    for (size_t i = 0, k = 0; i < l->n && !q->failed; i++) {
        struct query_series *s = l->v[i];
        if (!s->deferred)
            continue;
        s->deferred->reads = s->reads = v[k].reads;
        s->values = v[k].values;
        s->n = s->values ? s->n : 0; /* it has just been deleted */
        k++;
    }
    note_list(q, l);
    for (size_t i = 0; i < l->n; i++)
        l->v[i]->deferred = NULL;
    return !q->failed;
}

void fetch_each(struct query *q, const struct list *l, load_fn fn, void *ctx)
{
    struct loaded **v = arena_alloc(q->arena, (l->n + 1) * sizeof *v);
    for (size_t i = 0; i < l->n; i++)
        v[i] = l->v[i]->deferred;
    load_each(q, v, l->n, fn, ctx);
    note_list(q, l);
}
