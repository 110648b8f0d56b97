#include "base/killpoint.h"
#include "writer/writer_impl.h"

#include "model/batch.h"
#include "model/window.h"

/* Definitions first: the points of the same record need them. */
static int take_definitions(struct catalog *c, const struct batch *b, struct err *err)
{
    const uint8_t *pos = b->defs;
    struct batch_def def;
    while (batch_next_def(b, &pos, &def) == 0) {
        int rc = catalog_define(c, def.ref, def.step_ms, def.name, def.name_len, err);
        if (rc != OK)
            return rc;
    }
    return OK;
}

static void tell_orphans(struct lane *l, const struct stream_record *rec, size_t orphans)
{
    counter_add(l->writer->orphaned_points, orphans);
    if (orphans && log_allowed(&l->orphan_log, NULL))
        log_error("writer", "points of unknown series: their definition was lost to damage",
                  "lane=%u pos=%llu points=%zu", l->number, (unsigned long long)rec->pos, orphans);
}

/* Dead on arrival: a deletion is known at once, and the stream before it may be applied again. */
static bool is_dead(struct tombstones *t, const struct hot_point *p, uint64_t pos)
{
    return pos < tombstones_newest_pos(t) &&
           tombstones_hit(t, p->series, floor_to(p->ts_ms, p->step_ms), pos);
}

int lane_apply(struct lane *l, const struct stream_record *rec, struct err *err)
{
    struct writer *w = l->writer;
    struct batch b;
    if (deletion_is_record(rec->payload, rec->size))
        return lane_apply_deletion(l, rec, err);
    int rc = batch_open(&b, rec->payload, rec->size, err);
    if (rc == OK && b.flags & BATCH_LOCAL_REFS)
        rc = err_set(err, ERR_UNSUPPORTED, "batch with its own references on an embedded stream");
    if (rc == OK)
        rc = take_definitions(w->o.catalog, &b, err);
    if (rc != OK)
        return rc;
    struct tombstones *t = catalog_tombstones(w->o.catalog);
    size_t n = 0, orphans = 0;
    bool followed = false;
    for (uint32_t i = 0; i < b.npoints; i++) {
        uint32_t id = batch_ref(&b, i);
        int64_t ts_ms = batch_ts_ms(&b, i);
        uint32_t step_ms = writer_step_at(w, id, ts_ms);
        if (!step_ms && !followed) { /* with a shared catalog another process may have made it just now */
            rc = catalog_follow(w->o.catalog, err);
            if (rc != OK)
                return rc;
            followed = true;
            step_ms = writer_step_at(w, id, ts_ms);
        }
        l->points[n] = (struct hot_point){id, step_ms, ts_ms, batch_value(&b, i)};
        if (step_ms)
            n += !is_dead(t, &l->points[n], rec->pos);
        else
            orphans += !catalog_has_ended(w->o.catalog, id);
    }
    counter_add(w->dead_points, b.npoints - n - orphans);
    tell_orphans(l, rec, orphans);
    KILL_POINT("writer.defined");
    rc = hot_apply(w->o.hot, l->number, rec->pos, l->points, n, err);
    if (rc != OK)
        return rc;
    counter_add(w->applied_points, n);
    int64_t age = clock_wall_ms(w->o.clock) - b.received_ms;
    histogram_observe_us(w->readable_seconds, age > 0 ? (uint64_t)age * 1000 : 0);
    return OK;
}
