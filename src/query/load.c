#include "query/load.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* --- which slots --- */

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

/* As whisper reads: from the slot after start to the slot of end, at least one, none of the future. */
bool load_grid(struct query *q, const struct scope *scope, struct loaded *s)
{
    int64_t end = scope->end_s < scope->now_s ? scope->end_s : scope->now_s;
    if (scope->start_s > scope->now_s || scope->start_s > end)
        return false;
    /* The same start for the grid and for the values: it decides which archive answers. */
    struct read_range *range = &s->range;
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

/* Where the first of the grid's slots is in a column on the same grid that has all of them; -1 if it is not
 * such a column. */
static int64_t offset_in(const struct loaded *s, const struct column *c)
{
    int64_t skip_ms = s->start_s * 1000 - c->start_ms;
    if (c->step_ms != s->step_s * 1000 || skip_ms < 0 || skip_ms % c->step_ms)
        return -1;
    int64_t skip = skip_ms / c->step_ms;
    return skip + (int64_t)s->n <= (int64_t)c->n ? skip : -1;
}

/* Puts a column's values on any grid; of several in one slot (steps under a second) the last stays. */
static void place(const struct loaded *s, const struct column *c, const double *from, double *into)
{
    for (size_t i = 0; i < s->n; i++)
        into[i] = column_missing();
    for (size_t i = 0; i < c->n; i++) {
        int64_t at = c->start_ms + (int64_t)i * c->step_ms;
        if (at < s->start_s * 1000 || column_is_missing(from[i]))
            continue;
        size_t slot = (size_t)((at / 1000 - s->start_s) / s->step_s);
        if (slot < s->n)
            into[slot] = from[i];
    }
}

/* --- reading by several threads --- */

/* Series that one thread takes at a time: their values stay in its cache. */
#define BATCH 8
/* For less than this helpers are not woken: that takes about as long as reading ten series of a day. */
#define WORTH_HELP 32768

struct load {
    struct query *q;
    struct loaded *const *v;
    size_t n;
    load_fn fn; /* NULL: values are kept */
    void *ctx;
    _Atomic size_t next; /* batch to be taken */
    _Atomic bool stop;
    /* shared, under mtx */
    pthread_mutex_t mtx;
    pthread_cond_t turned;
    size_t turn; /* batch whose values go to fn next */
    struct err err;
    const char *failed; /* the series */
    struct read_report report;
    struct read_sums *sums; /* of each series; NULL: there are none */
};

static void fail(struct load *l, const struct loaded *s, const struct err *err)
{
    pthread_mutex_lock(&l->mtx);
    if (!l->failed) {
        l->failed = s->name;
        l->err = *err;
    }
    pthread_mutex_unlock(&l->mtx);
    atomic_store(&l->stop, true);
}

/* The same grid: the usual case, values are where they were decoded to. */
static double *settle(const struct loaded *s, struct column *c, double *room)
{
    int64_t offset = offset_in(s, c);
    if (offset >= 0 && c->values == room)
        return room + offset;
    double *aside = c->values;
    if (aside == room && c->n) {
        aside = xmalloc(c->n * sizeof *aside);
        memcpy(aside, room, c->n * sizeof *aside);
    }
    place(s, c, aside, room);
    if (aside != room)
        free(aside);
    return room;
}

/* Beside values that were settled, their sums; a grid of another step has plain values. */
static void keep_sums(struct load *l, size_t i, const struct column *c, struct read_sums *sums)
{
    const struct loaded *s = l->v[i];
    int64_t offset = offset_in(s, c);
    if (!sums->count || !l->sums || offset < 0) {
        free(sums->sum);
        free(sums->count);
        return;
    }
    memmove(sums->sum, sums->sum + offset, s->n * sizeof *sums->sum);
    memmove(sums->count, sums->count + offset, s->n * sizeof *sums->count);
    l->sums[i] = *sums;
}

/* What one series needs while it is read. */
static size_t room_of(const struct loaded *s)
{
    return s->n + 4;
}

/* Reads one series into `room`; where its s->n values are. NULL: there is no such series any more. */
static double *read_one(struct load *l, size_t i, double *room, struct read_report *report)
{
    struct loaded *s = l->v[i];
    struct query_source *src = l->q->env->source;
    struct read_range range = s->range;
    struct column c = {.n = 0};
    struct read_spans own, *spans = s->spans ? s->spans : &own;
    struct read_sums sums = {0};
    struct err err = ERR_INIT;
    range.room = range.max_slots <= room_of(s) ? room : NULL; /* steps under a second take more */
    int rc = src->ops->fetch(src, s->id, &range, &c, spans, &sums, report, &err);
    if (rc < 0) {
        if (rc != ERR_NOT_FOUND)
            fail(l, s, &err);
        return NULL;
    }
    keep_sums(l, i, &c, &sums);
    return settle(s, &c, room);
}

static size_t batch_end(const struct load *l, size_t first)
{
    return l->n - first < BATCH ? l->n : first + BATCH;
}

static bool late(struct load *l)
{
    if (clock_mono_us(clock_system()) > l->q->deadline_us || query_cancelled(l->q))
        atomic_store(&l->stop, true);
    return atomic_load(&l->stop);
}

static void read_kept(struct load *l, size_t first, struct read_report *report)
{
    for (size_t i = first; i < batch_end(l, first) && !atomic_load(&l->stop); i++)
        l->v[i]->values = read_one(l, i, l->v[i]->values, report);
}

/* Hands the values of a batch on when all batches before it have been. */
static void read_in_turn(struct load *l, size_t first, double *room, struct read_report *report)
{
    const double *values[BATCH];
    size_t end = batch_end(l, first);
    for (size_t i = first; i < end && !atomic_load(&l->stop); i++, room += room_of(l->v[i - 1]))
        values[i - first] = read_one(l, i, room, report);
    pthread_mutex_lock(&l->mtx);
    while (l->turn != first)
        pthread_cond_wait(&l->turned, &l->mtx);
    pthread_mutex_unlock(&l->mtx);
    for (size_t i = first; i < end && !atomic_load(&l->stop); i++)
        if (values[i - first])
            l->fn(l->ctx, l->v[i], values[i - first]);
    pthread_mutex_lock(&l->mtx);
    l->turn = first + BATCH;
    pthread_cond_broadcast(&l->turned);
    pthread_mutex_unlock(&l->mtx);
}

/* What each thread does. A batch that was taken is always given its turn, so that none waits for ever. */
static void work(void *ctx)
{
    struct load *l = ctx;
    struct read_report report = {0};
    double *room = NULL;
    size_t most = 0;
    for (size_t i = 0; l->fn && i < l->n; i++)
        most = room_of(l->v[i]) > most ? room_of(l->v[i]) : most;
    if (l->fn)
        room = xmalloc(BATCH * most * sizeof *room);
    for (size_t first; !late(l) && (first = atomic_fetch_add(&l->next, BATCH)) < l->n;) {
        if (l->fn)
            read_in_turn(l, first, room, &report);
        else
            read_kept(l, first, &report);
    }
    free(room);
    pthread_mutex_lock(&l->mtx);
    l->report.tiers |= report.tiers;
    if (report.incomplete && !l->report.incomplete) {
        l->report.incomplete = true;
        l->report.why = report.why;
    }
    pthread_mutex_unlock(&l->mtx);
}

static void merge_report(struct query *q, const struct read_report *r)
{
    q->report->tiers |= r->tiers;
    if (!r->incomplete || q->report->incomplete)
        return;
    q->report->incomplete = true;
    q->report->why = r->why;
}

static void run(struct load *l)
{
    struct query *q = l->q;
    size_t points = 0;
    for (size_t i = 0; i < l->n; i++)
        points += l->v[i]->n;
    pthread_mutex_init(&l->mtx, NULL);
    pthread_cond_init(&l->turned, NULL);
    pool_run(points < WORTH_HELP ? NULL : q->env->helpers, (unsigned)(l->n / BATCH), work, l);
    pthread_cond_destroy(&l->turned);
    pthread_mutex_destroy(&l->mtx);
    merge_report(q, &l->report);
    if (l->failed)
        query_fail(q, l->err.code, "reading %.100s: %.300s", l->failed, l->err.text);
    query_tick(q, atomic_load(&l->stop) ? SIZE_MAX / 2 : points + 1000 * l->n);
}

/* --- what was read --- */

static int by_time(const void *a, const void *b)
{
    const struct query_read *x = a, *y = b;
    if (x->from_s != y->from_s)
        return x->from_s < y->from_s ? -1 : 1;
    return x->step_ms < y->step_ms ? -1 : x->step_ms > y->step_ms;
}

static void add_read(struct query *q, struct query_reads *r, const struct query_read *one)
{
    size_t i = 0;
    while (i < r->n && r->v[i].step_ms != one->step_ms)
        i++;
    if (i == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 4;
        struct query_read *v = arena_alloc(q->arena, r->cap * sizeof *v);
        if (r->n)
            memcpy(v, r->v, r->n * sizeof *v);
        r->v = v;
    }
    struct query_read *to = &r->v[i];
    if (i == r->n) {
        *to = *one;
        r->n++;
    } else {
        to->from_s = one->from_s < to->from_s ? one->from_s : to->from_s;
        to->until_s = one->until_s > to->until_s ? one->until_s : to->until_s;
        to->tiers |= one->tiers;
        to->series += one->series;
    }
    qsort(r->v, r->n, sizeof *r->v, by_time);
}

void load_add_reads(struct query *q, struct query_reads *r, const struct loaded *s)
{
    for (size_t i = 0; s->reads && i < s->reads->n; i++)
        add_read(q, r, &s->reads->v[i]);
}

static void note_reads(struct query *q, struct loaded *s)
{
    struct query_reads *r = arena_alloc(q->arena, sizeof *r);
    *r = (struct query_reads){0};
    for (size_t i = 0; i < s->spans->n; i++) {
        const struct read_span *from = &s->spans->span[i];
        struct query_read one = {from->from_ms / 1000, from->until_ms / 1000, from->step_ms, from->tiers, 1};
        one.from_s = one.from_s > s->start_s ? one.from_s : s->start_s;
        one.until_s = one.until_s < s->end_s ? one.until_s : s->end_s;
        if (one.from_s < one.until_s)
            add_read(q, r, &one);
    }
    s->reads = r;
}

static void prepare_spans(struct query *q, struct loaded *s)
{
    if (!q->request->meta)
        return;
    s->spans = arena_alloc(q->arena, sizeof *s->spans);
    s->spans->n = 0;
}

/* --- both ways --- */

static void adopt_sums(struct query *q, struct loaded *s, struct read_sums *sums)
{
    double *sum = sums->count ? query_values(q, s->n) : NULL;
    double *count = sum ? query_values(q, s->n) : NULL;
    if (count) {
        memcpy(sum, sums->sum, s->n * sizeof *sum);
        memcpy(count, sums->count, s->n * sizeof *count);
        s->sums = sum;
        s->counts = count;
        s->points_per_value = sums->points;
    }
    free(sums->sum);
    free(sums->count);
}

void load_values(struct query *q, struct loaded *v, size_t n)
{
    struct loaded **each = arena_alloc(q->arena, (n + 1) * sizeof *each);
    struct load l = {.q = q, .v = each, .n = n};
    for (size_t i = 0; i < n; i++) {
        each[i] = &v[i];
        v[i].values = query_room(q, v[i].n, room_of(&v[i]) - v[i].n);
        prepare_spans(q, &v[i]);
    }
    if (q->failed)
        return;
    l.sums = xcalloc(n + 1, sizeof *l.sums);
    run(&l);
    for (size_t i = 0; i < n; i++) {
        adopt_sums(q, &v[i], &l.sums[i]);
        if (v[i].spans)
            note_reads(q, &v[i]);
    }
    free(l.sums);
}

void load_each(struct query *q, struct loaded *const *v, size_t n, load_fn fn, void *ctx)
{
    struct load l = {.q = q, .v = v, .n = n, .fn = fn, .ctx = ctx};
    for (size_t i = 0; i < n; i++) {
        query_count(q, v[i]->n);
        prepare_spans(q, v[i]);
    }
    if (q->failed)
        return;
    run(&l);
    for (size_t i = 0; i < n; i++)
        if (v[i]->spans)
            note_reads(q, v[i]);
}
