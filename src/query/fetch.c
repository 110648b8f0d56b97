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
    double *values, *sums, *counts; /* in the arena; as in query_series */
    double points_per_value;
    const struct query_reads *reads; /* NULL if not asked for */
};

struct fetched {
    struct fetched *next;
    int64_t start_s, end_s;
    struct thinning thinning;
    const char *path;
    bool loaded;
    size_t target; /* the last that used it */
    struct fetched_series *v;
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
    if (find_fetched(q, scope, path))
        return;
    if (scope->start_s > scope->end_s)
        query_fail(q, ERR_INVALID, "the time range to read for '%.100s' begins after its end", path);
    struct fetched *f = arena_alloc(q->arena, sizeof *f);
    memset(f, 0, sizeof *f);
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

/* The usual case, both on one grid: one copy of values that belong to the column's slots. */
static bool place_whole(const struct fetched_series *s, const struct column *c, const double *from,
                        double *into)
{
    int64_t offset = c->start_ms / 1000 - s->start_s;
    if (c->step_ms != s->step_s * 1000 || offset % s->step_s)
        return false;
    int64_t at = offset / s->step_s, skip = at < 0 ? -at : 0;
    if (skip >= (int64_t)c->n || at >= (int64_t)s->n)
        return true;
    size_t to = at < 0 ? 0 : (size_t)at, n = c->n - (size_t)skip;
    memcpy(into + to, from + skip, (n < s->n - to ? n : s->n - to) * sizeof *into);
    return true;
}

/* Puts a column's values on the grid of s; of several in one slot (steps under a second) the last stays. */
static void place(struct fetched_series *s, const struct column *c)
{
    if (place_whole(s, c, c->values, s->values))
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

/* What a coarse archive's values were made of. A grid of another step has plain values. */
static void place_sums(struct query *q, struct fetched_series *s, const struct column *c,
                       const struct read_sums *sums)
{
    if (c->step_ms != s->step_s * 1000)
        return;
    double *sum = query_values(q, s->n), *count = query_values(q, s->n);
    if (!sum || !count)
        return;
    for (size_t i = 0; i < s->n; i++)
        sum[i] = count[i] = 0;
    if (place_whole(s, c, sums->sum, sum) && place_whole(s, c, sums->count, count)) {
        s->sums = sum;
        s->counts = count;
        s->points_per_value = sums->points;
    }
}

/* --- telling what was read --- */

static int by_time(const void *a, const void *b)
{
    const struct query_read *x = a, *y = b;
    if (x->from_s != y->from_s)
        return x->from_s < y->from_s ? -1 : 1;
    return x->step_ms < y->step_ms ? -1 : x->step_ms > y->step_ms;
}

static void add_read(struct query *q, struct query_reads *r, const struct query_read *one)
{
    for (size_t i = 0; i < r->n; i++) {
        struct query_read *old = &r->v[i];
        if (old->step_ms != one->step_ms)
            continue;
        old->from_s = one->from_s < old->from_s ? one->from_s : old->from_s;
        old->until_s = one->until_s > old->until_s ? one->until_s : old->until_s;
        old->tiers |= one->tiers;
        old->series += one->series;
        qsort(r->v, r->n, sizeof *r->v, by_time);
        return;
    }
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 4;
        struct query_read *v = arena_alloc(q->arena, r->cap * sizeof *v);
        if (r->n)
            memcpy(v, r->v, r->n * sizeof *v);
        r->v = v;
    }
    r->v[r->n++] = *one;
    qsort(r->v, r->n, sizeof *r->v, by_time);
}

static const struct query_reads *reads_of(struct query *q, const struct fetched_series *s,
                                          const struct read_spans *spans)
{
    struct query_reads *r = arena_alloc(q->arena, sizeof *r);
    *r = (struct query_reads){0};
    for (size_t i = 0; i < spans->n; i++) {
        const struct read_span *from = &spans->span[i];
        struct query_read one = {from->from_ms / 1000, from->until_ms / 1000, from->step_ms, from->tiers, 1};
        one.from_s = one.from_s > s->start_s ? one.from_s : s->start_s;
        one.until_s = one.until_s < s->end_s ? one.until_s : s->end_s;
        if (one.from_s < one.until_s)
            add_read(q, r, &one);
    }
    return r;
}

/* Adds it to what the target that is being evaluated has read, once. */
static void note_reads(struct query *q, struct fetched *f)
{
    if (!q->reads || f->target == q->target)
        return;
    f->target = q->target;
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; f->v[i].reads && k < f->v[i].reads->n; k++)
            add_read(q, q->reads, &f->v[i].reads->v[k]);
}

/* --- reading --- */

/* Decides which archive answers; the step of its grid. */
static int64_t choose_step(struct query *q, const struct scope *scope, uint32_t id, struct read_range *range)
{
    struct query_source *src = q->env->source;
    int64_t step_ms = src->ops->step_ms(src, id, range), range_ms = range->until_ms - range->from_ms;
    if (!scope->thinning.max_points || !step_ms)
        return step_ms;
    range->max_step_ms = step_ms;
    range->consolidation = scope->thinning.consolidation;
    if ((uint64_t)(range_ms / step_ms) > q->limits.coarse_from &&
        range_ms / scope->thinning.max_points > step_ms)
        range->max_step_ms = range_ms / scope->thinning.max_points;
    return src->ops->step_ms(src, id, range);
}

/* As whisper reads: from the slot after start to the slot of end, at least one, none of the future. False: no
 * such series in this range. */
static bool set_grid(struct query *q, const struct scope *scope, struct fetched_series *s,
                     struct read_range *range)
{
    int64_t end = scope->end_s < scope->now_s ? scope->end_s : scope->now_s;
    if (scope->start_s > scope->now_s || scope->start_s > end)
        return false;
    /* The same start for the grid and for the values: it decides which archive answers. */
    *range = (struct read_range){
        .from_ms = scope->start_s * 1000, .until_ms = end * 1000 + 1, .now_ms = scope->now_s * 1000};
    int64_t step_ms = choose_step(q, scope, s->id, range);
    if (!step_ms)
        return false;
    int64_t step = step_ms < 1000 ? 1 : step_ms / 1000;
    s->step_s = step;
    s->start_s = scope->start_s / step * step + step;
    s->end_s = end / step * step + step;
    if (s->end_s == s->start_s)
        s->end_s += step;
    s->n = (size_t)((s->end_s - s->start_s) / step);
    range->until_ms = s->end_s * 1000;
    range->max_slots = s->n * (size_t)(step_ms < 1000 ? 1000 / step_ms + 1 : 1) + 4;
    return true;
}

static bool load_values(struct query *q, const struct scope *scope, struct fetched_series *s)
{
    struct query_source *src = q->env->source;
    struct read_range range;
    if (!set_grid(q, scope, s, &range))
        return false;
    s->values = query_values(q, s->n);
    if (!s->values)
        return false;
    for (size_t i = 0; i < s->n; i++)
        s->values[i] = column_missing();
    struct column c = {.n = 0};
    struct read_spans spans;
    struct read_sums sums = {0};
    struct err err = ERR_INIT;
    int rc = src->ops->fetch(src, s->id, &range, &c, &spans, &sums, q->report, &err);
    if (rc < 0) {
        if (rc != ERR_NOT_FOUND)
            query_fail(q, rc, "reading %.100s: %.300s", s->name, err.text);
        return false;
    }
    place(s, &c);
    if (sums.count)
        place_sums(q, s, &c, &sums);
    if (q->request->meta)
        s->reads = reads_of(q, s, &spans);
    free(c.values);
    free(sums.sum);
    free(sums.count);
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
    if (f)
        note_reads(q, f);
    struct list *l = list_new(q, f ? f->n : 0);
    for (size_t i = 0; f && i < f->n && !q->failed; i++) {
        const struct fetched_series *from = &f->v[i];
        struct query_series *s = series_new(c, from->name, from->start_s, from->end_s, from->step_s);
        s->path_expression = f->path;
        if (series_alloc(q, s, from->n))
            memcpy(s->values, from->values, from->n * sizeof *s->values);
        s->sums = from->sums;
        s->counts = from->counts;
        s->points_per_value = from->points_per_value;
        s->reads = from->reads;
        list_add(q, l, s);
    }
    return l;
}
