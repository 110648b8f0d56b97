#include "erase/eraser.h"

#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog_store.h"
#include "codec/part_mask.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS_DEFAULT 600000
#define RETRY_MS_MAX     86400000

struct eraser {
    struct eraser_options o;
    int64_t retry_ms, not_before_ms; /* after a failure; but what was deleted since is not kept waiting: */
    uint64_t tried_pos;
    _Atomic uint64_t series, ranges, packs, forgotten, slots_left, errors;
    struct {
        struct counter *series, *ranges, *packs, *slots_left, *errors;
    } metrics;
};

/* A tombstone that is being swept. */
struct range {
    struct tombstone t;
    int64_t whole_from_ms; /* as of the beginning: the same for warm and for cold */
    bool left;             /* not all of it could be reached */
};

/* What one round takes out. */
struct work {
    struct eraser *e;
    struct catalog_ended *ended; /* by id */
    size_t nended;
    bool *ended_left;     /* for each: not all of it could be reached */
    struct range *ranges; /* by series */
    size_t nranges;
    uint32_t steps[ERASER_STEPS_MAX];
    size_t nsteps;
    cold_wait_fn wait;
    void *wait_ctx;
};

static void count(_Atomic uint64_t *own, struct counter *shared, uint64_t n)
{
    atomic_fetch_add_explicit(own, n, memory_order_relaxed);
    if (shared)
        counter_add(shared, n);
}

static double unswept_gauge(void *ctx)
{
    struct eraser *e = ctx;
    return (double)(tombstones_count_unswept(catalog_tombstones(e->o.catalog)) +
                    catalog_count_ended(e->o.catalog));
}

static double tombstones_gauge(void *ctx)
{
    struct eraser *e = ctx;
    return (double)tombstones_count(catalog_tombstones(e->o.catalog));
}

static void set_gauges(struct eraser *e, double (*pending)(void *), double (*kept)(void *))
{
    metrics_gauge_fn(e->o.metrics, "carat_deletions_pending", NULL,
                     "Deleted series and ranges whose points are still in files, though never read.", "gauge",
                     pending, e);
    metrics_gauge_fn(e->o.metrics, "carat_tombstones", NULL,
                     "Deleted ranges that are remembered: until their points are out of the files and the "
                     "stream.",
                     "gauge", kept, e);
}

struct eraser *eraser_new(const struct eraser_options *o)
{
    assert(o->catalog && o->stream && o->writer && o->store && o->clock && o->steps);
    struct eraser *e = xcalloc(1, sizeof *e);
    struct metrics *m = o->metrics;
    e->o = *o;
    e->o.retry_ms = o->retry_ms ? o->retry_ms : RETRY_MS_DEFAULT;
    e->retry_ms = e->o.retry_ms;
    if (!m)
        return e;
    set_gauges(e, unswept_gauge, tombstones_gauge);
    e->metrics.series = metrics_counter(m, "carat_deletion_erased_series_total", NULL,
                                        "Deleted series taken out of all files.");
    e->metrics.ranges = metrics_counter(m, "carat_deletion_erased_ranges_total", NULL,
                                        "Deleted ranges of a series taken out of all files.");
    e->metrics.packs = metrics_counter(m, "carat_deletion_rewritten_packs_total", NULL,
                                       "Packs written again without what was deleted.");
    e->metrics.slots_left =
        metrics_counter(m, "carat_deletion_rollup_slots_left_total", NULL,
                        "Roll-up slots that keep deleted points: partly deleted, their base expired.");
    e->metrics.errors = metrics_counter(m, "carat_deletion_errors_total", NULL,
                                        "Rounds of the eraser that could not take out everything.");
    return e;
}

void eraser_free(struct eraser *e)
{
    if (e && e->o.metrics)
        set_gauges(e, NULL, NULL);
    free(e);
}

void eraser_get_stats(struct eraser *e, struct eraser_stats *out)
{
    *out = (struct eraser_stats){
        .series = atomic_load(&e->series),
        .ranges = atomic_load(&e->ranges),
        .packs = atomic_load(&e->packs),
        .forgotten = atomic_load(&e->forgotten),
        .slots_left = atomic_load(&e->slots_left),
        .errors = atomic_load(&e->errors),
    };
}

/* --- what there is to do --- */

static int by_id(const void *a, const void *b)
{
    const struct catalog_ended *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void add_step(struct work *w, uint32_t step_ms)
{
    for (size_t i = 0; i < w->nsteps; i++)
        if (w->steps[i] == step_ms)
            return;
    if (step_ms && w->nsteps < ERASER_STEPS_MAX)
        w->steps[w->nsteps++] = step_ms;
}

static void find_work(struct eraser *e, struct work *w)
{
    size_t n;
    struct tombstone *all = tombstones_list(catalog_tombstones(e->o.catalog), 0, &n);
    w->ended = catalog_list_ended(e->o.catalog, &w->nended);
    w->ended_left = xcalloc(w->nended + 1, sizeof *w->ended_left);
    w->ranges = xmalloc((n + 1) * sizeof *w->ranges);
    if (w->nended)
        qsort(w->ended, w->nended, sizeof *w->ended, by_id);
    for (size_t i = 0; i < n; i++)
        if (!all[i].swept)
            w->ranges[w->nranges++] =
                (struct range){all[i], writer_base_whole_from(e->o.writer, all[i].series), false};
    free(all);
    if (!w->nended && !w->nranges)
        return;
    w->nsteps = e->o.steps(e->o.ctx, w->steps, ERASER_STEPS_MAX);
    for (size_t i = 0; i < w->nended; i++)
        add_step(w, w->ended[i].step_ms);
    for (size_t i = 0; i < w->nranges; i++)
        add_step(w, catalog_step_ms(e->o.catalog, w->ranges[i].t.series));
}

static void work_release(struct work *w)
{
    free(w->ended);
    free(w->ended_left);
    free(w->ranges);
}

/* --- warm and the roll-ups --- */

static int sweep_warm(struct work *w, struct err *err)
{
    const struct eraser_options *o = &w->e->o;
    int rc = OK;
    for (size_t i = 0; i < w->nended && rc == OK; i++)
        rc = writer_sweep_series(o->writer, o->store, w->ended[i].id, w->steps, w->nsteps, err);
    for (size_t i = 0; i < w->nranges && rc == OK; i++)
        rc = writer_sweep_range(o->writer, o->store, &w->ranges[i].t, w->ranges[i].whole_from_ms, w->steps,
                                w->nsteps, err);
    return rc;
}

/* Where the base is damaged its roll-ups stay, in cold too, until that is healed. */
static int sweep_rollups(struct work *w, uint64_t *left, struct err *err)
{
    int rc = OK;
    *left = 0;
    for (size_t i = 0; i < w->nranges && rc == OK; i++) {
        struct range *r = &w->ranges[i];
        bool damaged;
        rc = writer_sweep_rollups(w->e->o.writer, &r->t, r->whole_from_ms, left, &damaged, err);
        r->whole_from_ms = damaged ? INT64_MAX : r->whole_from_ms;
        r->left |= damaged;
    }
    return rc == OK ? warm_sync(w->e->o.store, err) : rc;
}

/* --- cold --- */

/* First range of the series or a later one. */
static size_t first_range(const struct work *w, uint32_t series)
{
    size_t lo = 0, hi = w->nranges;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->ranges[mid].t.series < series)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* A roll-up may be touched by several ranges: each is taken from what the one before has left. */
static enum part_mask filter_rollup(struct work *w, const struct part *p, struct buf *block, struct part *out)
{
    struct buf from = BUF_INIT;
    enum part_mask what = PART_LIVES;
    *out = *p;
    for (size_t i = first_range(w, p->key.series);
         i < w->nranges && w->ranges[i].t.series == p->key.series && what != PART_DEAD; i++) {
        struct part now = *out;
        if (what == PART_CUT) {
            buf_clear(&from);
            buf_append(&from, out->data, out->size);
            now.data = from.data;
        }
        struct part next;
        enum part_mask one =
            part_mask_rollup(&w->ranges[i].t, w->ranges[i].whole_from_ms, &now, block, &next);
        if (one != PART_LIVES) {
            what = one;
            *out = next;
        }
    }
    buf_release(&from);
    return what;
}

static enum part_mask filter(void *ctx, const struct part *p, struct buf *block, struct part *out)
{
    struct work *w = ctx;
    struct catalog_ended key = {.id = p->key.series};
    if (w->nended && bsearch(&key, w->ended, w->nended, sizeof key, by_id))
        return PART_DEAD;
    enum part_mask what = part_mask(catalog_tombstones(w->e->o.catalog), p, block, out);
    return what == PART_LIVES ? filter_rollup(w, p, block, out) : what;
}

static int by_series(const void *a, const void *b)
{
    const struct cold_span *x = a, *y = b;
    return (x->series > y->series) - (x->series < y->series);
}

static bool in_pack(const struct pack_info *p, uint32_t series, int64_t from_ms, int64_t until_ms)
{
    return series >= p->min_series && series <= p->max_series && from_ms < p->until_ms &&
           until_ms > p->from_ms;
}

/* A pack that is damaged stays as it is, and so does the memory of what should have left it. */
static void note_left(void *ctx, const struct pack_info *p)
{
    struct work *w = ctx;
    for (size_t i = 0; i < w->nended; i++)
        w->ended_left[i] |= in_pack(p, w->ended[i].id, 0, INT64_MAX);
    for (size_t i = 0; i < w->nranges; i++)
        w->ranges[i].left |=
            in_pack(p, w->ranges[i].t.series, w->ranges[i].t.from_ms, w->ranges[i].t.until_ms);
}

static struct cold_span *spans_of(const struct work *w)
{
    struct cold_span *v = xmalloc((w->nended + w->nranges + 1) * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < w->nended; i++)
        v[n++] = (struct cold_span){w->ended[i].id, 0, INT64_MAX};
    for (size_t i = 0; i < w->nranges; i++)
        v[n++] = (struct cold_span){w->ranges[i].t.series, w->ranges[i].t.from_ms, w->ranges[i].t.until_ms};
    qsort(v, n, sizeof *v, by_series);
    return v;
}

/* OK also if packs were left, with the first reason in *why. */
static int sweep_cold(struct work *w, struct err *why, struct err *err)
{
    struct eraser *e = w->e;
    if (!e->o.cold)
        return OK;
    struct cold_span *spans = spans_of(w);
    int rc = OK;
    for (size_t i = 0; i < w->nsteps && rc == OK; i++) {
        size_t rewritten;
        struct err one = ERR_INIT;
        struct cold_rewrite r = {.step_ms = w->steps[i],
                                 .spans = spans,
                                 .n = w->nended + w->nranges,
                                 .filter = filter,
                                 .left = note_left,
                                 .ctx = w,
                                 .wait = w->wait,
                                 .wait_ctx = w->wait_ctx};
        rc = cold_rewrite(e->o.cold, &r, &rewritten, &one);
        count(&e->packs, e->metrics.packs, rewritten);
        bool ended = rc == ERR_CLOSED || rc == ERR_FAILED || rc == ERR_BUSY;
        if (ended)
            *err = one;
        else if (rc < 0 && why->code == OK)
            *why = one;
        rc = ended ? rc : OK;
    }
    free(spans);
    return rc;
}

/* --- done --- */

/* True if something was left. */
static bool mark_done(struct work *w)
{
    struct eraser *e = w->e;
    uint32_t *ids = xmalloc((w->nended + 1) * sizeof *ids);
    struct tombstone *swept = xmalloc((w->nranges + 1) * sizeof *swept);
    size_t nids = 0, nswept = 0;
    for (size_t i = 0; i < w->nended; i++)
        if (!w->ended_left[i])
            ids[nids++] = w->ended[i].id;
    for (size_t i = 0; i < w->nranges; i++)
        if (!w->ranges[i].left)
            swept[nswept++] = w->ranges[i].t;
    catalog_erased(e->o.catalog, ids, nids);
    tombstones_set_swept(catalog_tombstones(e->o.catalog), swept, nswept);
    count(&e->series, e->metrics.series, nids);
    count(&e->ranges, e->metrics.ranges, nswept);
    if (nids + nswept)
        log_info("eraser", "deleted points are out of all files", "series=%zu ranges=%zu", nids, nswept);
    free(ids);
    free(swept);
    return nids < w->nended || nswept < w->nranges;
}

static int sweep(struct work *w, struct err *err)
{
    struct err left = ERR_INIT;
    uint64_t slots_left;
    int rc = sweep_warm(w, err);
    if (rc == OK)
        rc = sweep_rollups(w, &slots_left, err);
    if (rc == OK)
        rc = sweep_cold(w, &left, err);
    if (rc == OK)
        rc = sweep_rollups(w, &slots_left, err);
    if (rc != OK)
        return rc;
    count(&w->e->slots_left, w->e->metrics.slots_left, slots_left);
    if (mark_done(w) && !left.code)
        err_set(&left, ERR_CORRUPT, "points that roll-ups would be made again from are damaged");
    return left.code ? err_set(err, left.code, "%s", left.text) : OK;
}

/* The first position the stream still has; what is before it comes back no more. */
static uint64_t oldest_pos(const struct eraser_options *o)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i < o->lanes; i++) {
        struct stream_reader *reader;
        struct stream_record rec;
        struct err ignored;
        struct stream_start start = {.from = STREAM_OLDEST};
        if (stream_reader_open(o->stream, i, start, &reader, &ignored) != OK)
            return 0;
        int rc;
        while ((rc = stream_reader_next(reader, &rec, 0, &ignored)) == ERR_CORRUPT)
            ;
        stream_reader_close(reader);
        if (rc < 0)
            return 0;
        if (rc == OK && rec.pos < oldest)
            oldest = rec.pos;
    }
    return oldest;
}

static void forget(struct eraser *e)
{
    struct tombstones *t = catalog_tombstones(e->o.catalog);
    size_t n, kept = 0;
    struct tombstone *all = tombstones_list(t, 0, &n);
    uint64_t oldest = n ? oldest_pos(&e->o) : 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].swept && all[i].pos < oldest)
            all[kept++] = all[i];
    if (kept && tombstones_remove(t, all, kept))
        count(&e->forgotten, NULL, kept);
    free(all);
}

static uint64_t newest_pos(const struct work *w)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < w->nended; i++)
        newest = w->ended[i].pos > newest ? w->ended[i].pos : newest;
    for (size_t i = 0; i < w->nranges; i++)
        newest = w->ranges[i].t.pos > newest ? w->ranges[i].t.pos : newest;
    return newest;
}

static void plan_retry(struct eraser *e, int rc, uint64_t newest, int64_t now_ms)
{
    if (rc == OK || rc == ERR_CLOSED) {
        e->retry_ms = e->o.retry_ms;
        e->not_before_ms = 0;
        return;
    }
    e->tried_pos = newest;
    e->not_before_ms = now_ms + e->retry_ms;
    e->retry_ms = e->retry_ms < RETRY_MS_MAX / 2 ? 2 * e->retry_ms : RETRY_MS_MAX;
    count(&e->errors, e->metrics.errors, 1);
}

int eraser_round(struct eraser *e, cold_wait_fn wait, void *wait_ctx, struct err *err)
{
    struct err ignored = ERR_INIT;
    int64_t now = clock_mono_ms(e->o.clock);
    int rc = OK;
    if (!writer_caught_up(e->o.writer, &ignored))
        return OK;
    struct work w = {.e = e, .wait = wait, .wait_ctx = wait_ctx};
    find_work(e, &w);
    uint64_t newest = newest_pos(&w);
    bool waiting = e->not_before_ms && now < e->not_before_ms && newest <= e->tried_pos;
    if (newest && !waiting) {
        rc = sweep(&w, err ? err : &ignored);
        plan_retry(e, rc, newest, now);
    }
    work_release(&w);
    forget(e);
    return rc;
}
