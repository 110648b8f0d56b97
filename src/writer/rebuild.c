/* Making coarse archives again, and ones that were added to a layout, beside a running writer. */
#include "base/killpoint.h"
#include "writer/writer_impl.h"

bool writer_layout(struct writer *w, uint32_t series, uint32_t step_ms, struct layout *out,
                   const struct layout **next)
{
    const struct layout *now = NULL;
    const struct retention *r = NULL;
    *next = NULL;
    if (w->o.layouts) {
        if (!w->o.layouts(w->o.archives_ctx, series, &now, next))
            return false;
        *out = *now;
        return true;
    }
    if (w->o.archives)
        r = w->o.archives(w->o.archives_ctx, series);
    if (r)
        layout_make(r, step_ms, out);
    return r != NULL;
}

int64_t writer_base_whole_from(struct writer *w, uint32_t series)
{
    struct layout l;
    const struct layout *next;
    uint32_t step_ms = catalog_step_ms(w->o.catalog, series);
    if (!step_ms || !writer_layout(w, series, step_ms, &l, &next))
        return INT64_MAX;
    int64_t from = layout_base_whole_ms(&l, clock_wall_ms(w->o.clock));
    return ceil_to(from < 0 ? 0 : from, layout_coarsest_ms(&l));
}

/* Older slots than the points are kept for may lack some. What is only kept for the border
 * (layout_store_keep_ms) is not counted on. */
static int rebuild_series(struct writer *w, uint32_t series, int64_t from_ms, int64_t until_ms,
                          struct err *err)
{
    struct layout l;
    const struct layout *next;
    uint32_t step_ms = catalog_step_ms(w->o.catalog, series);
    if (!step_ms || !writer_layout(w, series, step_ms, &l, &next))
        return OK; /* an id that was given to no name */
    int64_t now = clock_wall_ms(w->o.clock);
    until_ms = until_ms < now + WRITER_FUTURE_MS ? until_ms : now + WRITER_FUTURE_MS;
    pthread_mutex_lock(&w->flush_mtx);
    flush_batch_clear(&w->batch);
    w->rollups.now_ms = now;
    int rc = rollup_rebuild(&w->rollups, &w->batch, series, step_ms, from_ms, until_ms, LAYOUT_EVER, err);
    KILL_POINT("rebuild.made");
    if (rc == OK)
        rc = flush_batch_put(&w->batch, w->o.warm, err);
    KILL_POINT("rebuild.put");
    bool damaged = rc == OK && w->rollups.base_damaged;
    pthread_mutex_unlock(&w->flush_mtx);
    return damaged ? err_set(err, ERR_CORRUPT,
                             "some points of series %u are damaged; its roll-ups that had them stay", series)
                   : rc;
}

/* Warm that is behind says so at once and has caught up a moment later. */
static int rebuild_patiently(struct writer *w, uint32_t series, int64_t from_ms, int64_t until_ms,
                             struct err *err)
{
    int rc;
    while ((rc = rebuild_series(w, series, from_ms, until_ms, err)) == ERR_BUSY)
        if (writer_sleep(w, 250))
            return err_set(err, ERR_CLOSED, "the writer is stopping");
    return rc;
}

int writer_rebuild(struct writer *w, uint32_t series, int64_t from_ms, int64_t until_ms,
                   rebuild_progress_fn progress, void *ctx, struct err *err)
{
    if (!w->o.archives && !w->o.layouts)
        return err_set(err, ERR_UNSUPPORTED, "no coarse archives are kept here");
    if (series && !catalog_step_ms(w->o.catalog, series))
        return err_set(err, ERR_NOT_FOUND, "there is no series %u", series);
    uint32_t first = series ? series : 1, last = series ? series : catalog_max_id(w->o.catalog);
    struct err damage = ERR_INIT;
    int rc = OK;
    for (uint32_t id = first; id <= last && rc == OK; id++) {
        if (atomic_load(&w->stopping))
            return err_set(err, ERR_CLOSED, "the writer is stopping");
        struct err why = ERR_INIT;
        rc = rebuild_patiently(w, id, from_ms, until_ms, &why);
        if (rc == ERR_CORRUPT) { /* the others can still be made */
            damage = damage.code ? damage : why;
            rc = OK;
        } else if (rc != OK) {
            return err_set(err, rc, "%s", why.text);
        }
        if (progress)
            rc = progress(ctx, id - first + 1, last - first + 1);
    }
    return rc == OK && damage.code ? err_set(err, damage.code, "%s", damage.text) : rc;
}

/* --- archives that are added --- */

static int join_range(struct writer *w, uint32_t series, uint32_t finer_ms, uint32_t step_ms, int64_t from_ms,
                      int64_t until_ms, struct err *err)
{
    pthread_mutex_lock(&w->flush_mtx);
    flush_batch_clear(&w->batch);
    int rc = rollup_join(&w->rollups, &w->batch, series, finer_ms, step_ms, from_ms, until_ms, err);
    if (rc == OK)
        rc = flush_batch_put(&w->batch, w->o.warm, err);
    pthread_mutex_unlock(&w->flush_mtx);
    return rc;
}

/* Where the points of an era are gone a coarser slot is joined from the slots of finer archives, the finest
 * that reaches back far enough. */
static int join_era(struct writer *w, uint32_t series, const struct layout *l, size_t era, uint32_t step_ms,
                    struct err *err)
{
    int64_t now = clock_wall_ms(w->o.clock), from = layout_era_from(l, era),
            until = layout_era_whole_ms(l, era, now), end = layout_era_until(l, era);
    int rc = OK;
    from = from > 0 ? from : 0;
    until = ceil_to(until < end                    ? until
                    : end < now + WRITER_FUTURE_MS ? end
                                                   : now + WRITER_FUTURE_MS,
                    step_ms);
    for (size_t i = 0; i < l->narchives && l->archive[i].step_ms < step_ms && rc == OK; i++) {
        const struct layout_archive *a = &l->archive[i];
        int64_t whole = layout_archive_whole_ms(a, now);
        whole = floor_to(whole > from ? whole : from, step_ms);
        if (a->step_ms <= l->era[era].step_ms || step_ms % a->step_ms || whole >= until)
            continue;
        rc = join_range(w, series, a->step_ms, step_ms, whole, until, err);
        until = whole;
    }
    return rc;
}

static int build_series(struct writer *w, uint32_t series, struct err *err)
{
    struct layout l;
    const struct layout *next;
    uint32_t step_ms = catalog_step_ms(w->o.catalog, series);
    if (!step_ms || !writer_layout(w, series, step_ms, &l, &next) || !next)
        return OK;
    int rc = OK;
    bool added = false;
    for (size_t k = 0; k < next->narchives && rc == OK; k++) {
        uint32_t step = next->archive[k].step_ms;
        if (layout_find(&l, step))
            continue;
        added = true;
        for (size_t e = 0; e < l.neras && rc == OK; e++)
            if (l.era[e].step_ms < step)
                rc = join_era(w, series, &l, e, step, err);
    }
    return rc == OK && added ? rebuild_series(w, series, 0, LAYOUT_NEVER, err) : rc;
}

int writer_build(struct writer *w, uint32_t series, struct err *err)
{
    int rc;
    while ((rc = build_series(w, series, err)) == ERR_BUSY)
        if (writer_sleep(w, 250))
            return err_set(err, ERR_CLOSED, "the writer is stopping");
    return rc;
}
