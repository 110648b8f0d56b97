/* Making coarse archives again beside a running writer. */
#include "base/killpoint.h"
#include "writer/writer_impl.h"

/* Older slots may lack points of the base. The parts that are only kept for the border
 * (retention_warm_keep_ms) are not counted on. */
static int64_t whole_from(struct writer *w, uint32_t series, uint32_t step_ms)
{
    const struct retention *r = w->o.archives ? w->o.archives(w->o.archives_ctx, series) : NULL;
    struct retention own;
    if (!r || !step_ms)
        return INT64_MAX;
    retention_of_step(r, step_ms, &own);
    int64_t from = clock_wall_ms(w->o.clock) - own.archives[0].keep_ms;
    return ceil_to(from < 0 ? 0 : from, own.archives[own.narchives - 1].step_ms);
}

int64_t writer_base_whole_from(struct writer *w, uint32_t series)
{
    return whole_from(w, series, catalog_step_ms(w->o.catalog, series));
}

static int rebuild_series(struct writer *w, uint32_t series, int64_t from_ms, int64_t until_ms,
                          struct err *err)
{
    uint32_t step_ms = catalog_step_ms(w->o.catalog, series);
    if (!step_ms)
        return OK; /* an id that was given to no name */
    int64_t whole = whole_from(w, series, step_ms), end = clock_wall_ms(w->o.clock) + WRITER_FUTURE_MS;
    from_ms = from_ms > whole ? from_ms : whole;
    until_ms = until_ms < end ? until_ms : end;
    pthread_mutex_lock(&w->flush_mtx);
    flush_batch_clear(&w->batch);
    int rc = from_ms < until_ms
                 ? rollup_rebuild(&w->rollups, &w->batch, series, step_ms, from_ms, until_ms, whole, err)
                 : OK;
    KILL_POINT("rebuild.made");
    if (rc == OK)
        rc = flush_batch_put(&w->batch, w->o.warm, err);
    KILL_POINT("rebuild.put");
    bool damaged = rc == OK && from_ms < until_ms && w->rollups.base_damaged;
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
    if (!w->o.archives)
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
