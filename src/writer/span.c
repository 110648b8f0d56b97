#include "writer/replay_impl.h"

#include "model/batch.h"
#include "model/deletion.h"
#include "model/window.h"

#include <assert.h>

int span_open(struct span *s, const struct replay_options *o, struct stream_start from, int64_t to_ms,
              struct err *err)
{
    assert(o->lanes <= POSITIONS_MAX);
    *s = (struct span){.o = o, .to_ms = to_ms, .last = -1};
    int64_t now = clock_wall_ms(o->clock);
    s->end_ms = to_ms && to_ms < now ? to_ms : now;
    for (unsigned i = 0; i < o->lanes; i++) {
        s->end[i] = o->applied(o->ctx, i);
        int rc = stream_reader_open(o->stream, i, from, &s->reader[i], err);
        if (rc != OK) {
            span_close(s);
            return rc;
        }
    }
    return OK;
}

void span_close(struct span *s)
{
    for (unsigned i = 0; i < s->o->lanes; i++)
        stream_reader_close(s->reader[i]);
}

/* Holds the lane's next record or marks its end. */
static int fill(struct span *s, unsigned lane, struct err *err)
{
    struct stream_record *rec = &s->rec[lane];
    int rc = stream_reader_next(s->reader[lane], rec, 0, err);
    if (rc < 0 && rc != ERR_CLOSED)
        return rc;
    if (rc != OK || rec->pos > s->end[lane] || (s->to_ms && rec->appended_ms > s->to_ms))
        s->ended[lane] = true;
    else
        s->held[lane] = true;
    return OK;
}

int span_next(struct span *s, const struct stream_record **rec, struct err *err)
{
    int best = -1;
    if (s->last >= 0)
        s->held[s->last] = false;
    s->last = -1;
    for (unsigned i = 0; i < s->o->lanes; i++) {
        int rc = s->held[i] || s->ended[i] ? OK : fill(s, i, err);
        if (rc != OK)
            return rc;
        if (s->held[i] && (best < 0 || s->rec[i].pos < s->rec[best].pos))
            best = (int)i;
    }
    if (best < 0)
        return 1;
    s->last = best;
    s->at_ms = s->rec[best].appended_ms;
    if (!s->first_ms)
        s->first_ms = s->at_ms;
    *rec = &s->rec[best];
    return OK;
}

uint64_t span_done(const struct span *s)
{
    return s->at_ms > s->first_ms ? (uint64_t)(s->at_ms - s->first_ms) / 1000 : 0;
}

uint64_t span_total(const struct span *s)
{
    return s->end_ms > s->first_ms && s->first_ms ? (uint64_t)(s->end_ms - s->first_ms) / 1000 + 1 : 1;
}

int replay_apply(const struct replay_options *o, struct hot *hot, const struct stream_record *rec,
                 wanted_fn wanted, void *ctx, struct hot_point *scratch, size_t *applied, struct err *err)
{
    struct batch b;
    struct tombstones *t = catalog_tombstones(o->catalog);
    *applied = 0;
    if (deletion_is_record(rec->payload, rec->size)) /* the tombstones know it */
        return OK;
    int rc = batch_open(&b, rec->payload, rec->size, err);
    if (rc == OK && b.flags & BATCH_LOCAL_REFS)
        rc = err_set(err, ERR_UNSUPPORTED, "batch with its own references on an embedded stream");
    if (rc != OK)
        return rc;
    size_t n = 0;
    for (uint32_t i = 0; i < b.npoints; i++) {
        uint32_t id = batch_ref(&b, i);
        int64_t ts = batch_ts_ms(&b, i);
        uint32_t step_ms = o->step_at ? o->step_at(o->ctx, id, ts) : catalog_step_ms(o->catalog, id);
        if (step_ms && wanted(ctx, id, step_ms, ts) &&
            !tombstones_hit(t, id, floor_to(ts, step_ms), rec->pos))
            scratch[n++] = (struct hot_point){id, step_ms, ts, batch_value(&b, i)};
    }
    *applied = n;
    return n ? hot_apply(hot, 0, rec->pos, scratch, n, err) : OK;
}
