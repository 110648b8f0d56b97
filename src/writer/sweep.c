/* Taking what was deleted out of warm and of the roll-ups, beside a running writer. */
#include "writer/writer_impl.h"

#include "base/mem.h"
#include "codec/part_mask.h"

#include <stdlib.h>

#define CHUNK_WINDOWS 1024              /* read and replaced under one hold of the lock */
#define ROLLUP_MS     (30 * 86400000ll) /* at least, made again under one hold */

/* --- warm itself --- */

struct sweeping {
    struct writer *w;
    struct warm *store;
    const struct tombstone *t; /* NULL: all of the series goes */
    int64_t whole_from_ms;
    bool base_or_archive; /* of the step that is swept: its roll-ups are made again */
    struct flush_batch batch;
    struct buf block;
};

static void put_back(struct sweeping *s, const struct part *p)
{
    struct flush_batch *b = &s->batch;
    size_t at = b->blocks.len;
    buf_append(&b->blocks, p->data, p->size);
    flush_batch_reserve(b);
    b->in_blocks[b->n] = true;
    b->parts[b->n++] = (struct part){p->key, p->lo, (const uint8_t *)at, p->size};
}

static enum part_mask what_stays(struct sweeping *s, const struct part *p, struct part *out)
{
    if (!s->t)
        return PART_DEAD;
    enum part_mask what = part_mask(catalog_tombstones(s->w->o.catalog), p, &s->block, out);
    if (what == PART_LIVES && !s->base_or_archive)
        what = part_mask_rollup(s->t, s->whole_from_ms, p, &s->block, out);
    return what;
}

/* warm_part_fn. A part that is cut keeps its key and its run, and so replaces itself. */
static int sweep_part(void *ctx, const struct part *p)
{
    struct sweeping *s = ctx;
    struct part out;
    switch (what_stays(s, p, &out)) {
    case PART_CUT:
        put_back(s, &out);
        break;
    case PART_DEAD:
        merge_keys_add(&s->batch.remove, &p->key);
        break;
    case PART_LIVES:
        break;
    }
    return 0;
}

static void drop_damaged(void *ctx, const struct part_key *key, const char *why)
{
    struct sweeping *s = ctx;
    if (!s->t)
        merge_keys_add(&s->batch.remove, key);
}

/* What is damaged is never served; of a range it stays for the scrubber, with a whole series it goes. */
static int sweep_chunk(struct sweeping *s, uint32_t series, uint32_t step_ms, int64_t from_ms,
                       int64_t until_ms, struct err *err)
{
    struct writer *w = s->w;
    pthread_mutex_lock(&w->flush_mtx);
    flush_batch_clear(&s->batch);
    int rc = warm_check(s->store, series, step_ms, from_ms, until_ms, sweep_part, drop_damaged, s, err);
    if (rc == OK || rc == ERR_CORRUPT) {
        struct flush_batch *b = &s->batch;
        for (size_t i = 0; i < b->n; i++) {
            b->parts[i].data = flush_batch_data(b, i);
            b->in_blocks[i] = false;
        }
        rc = b->n + b->remove.n ? warm_put(s->store, b->parts, b->n, b->remove.v, b->remove.n, err) : OK;
    }
    pthread_mutex_unlock(&w->flush_mtx);
    return rc;
}

/* Warm that is behind says so at once and has caught up a moment later. True: again. */
static bool be_patient(struct writer *w, int *rc, struct err *err)
{
    if (*rc != ERR_BUSY)
        return false;
    if (!writer_sleep(w, 250))
        return true;
    *rc = err_set(err, ERR_CLOSED, "the writer is stopping");
    return false;
}

static int sweep_step(struct sweeping *s, uint32_t series, uint32_t step_ms, int64_t from_ms,
                      int64_t until_ms, struct err *err)
{
    int64_t chunk = CHUNK_WINDOWS * window_span_ms(step_ms);
    int rc = OK;
    for (int64_t at = window_start(from_ms, step_ms); at < until_ms && rc == OK; at += chunk) {
        int64_t end = until_ms - at < chunk ? until_ms : at + chunk;
        do
            rc = sweep_chunk(s, series, step_ms, at, end, err);
        while (be_patient(s->w, &rc, err));
        if (rc == OK && atomic_load(&s->w->stopping))
            rc = err_set(err, ERR_CLOSED, "the writer is stopping");
    }
    return rc;
}

static void sweeping_release(struct sweeping *s)
{
    flush_batch_release(&s->batch);
    buf_release(&s->block);
}

int writer_sweep_series(struct writer *w, struct warm *store, uint32_t series, const uint32_t *steps,
                        size_t nsteps, struct err *err)
{
    struct sweeping s = {.w = w, .store = store, .batch = FLUSH_BATCH_INIT};
    int64_t until = clock_wall_ms(w->o.clock) + WRITER_FUTURE_MS;
    int rc = OK;
    for (size_t i = 0; i < nsteps && rc == OK; i++)
        rc = sweep_step(&s, series, steps[i], 0, until, err);
    sweeping_release(&s);
    return rc;
}

/* Points, or roll-ups that somebody makes. */
static bool is_archive(struct writer *w, uint32_t series, uint32_t base_step_ms, uint32_t step_ms)
{
    struct layout l;
    const struct layout *next;
    if (!writer_layout(w, series, base_step_ms, &l, &next))
        return step_ms == base_step_ms;
    bool is = layout_find(&l, step_ms) || (next && layout_find(next, step_ms));
    for (size_t e = 0; e < l.neras; e++)
        is |= l.era[e].step_ms == step_ms;
    return is;
}

static void clamp_range(struct writer *w, const struct tombstone *t, int64_t *from_ms, int64_t *until_ms)
{
    int64_t end = clock_wall_ms(w->o.clock) + WRITER_FUTURE_MS;
    *from_ms = t->from_ms < 0 ? 0 : t->from_ms;
    *until_ms = t->until_ms < end ? t->until_ms : end;
}

int writer_sweep_range(struct writer *w, struct warm *store, const struct tombstone *t, int64_t whole_from_ms,
                       const uint32_t *steps, size_t nsteps, struct err *err)
{
    struct sweeping s = {
        .w = w, .store = store, .t = t, .whole_from_ms = whole_from_ms, .batch = FLUSH_BATCH_INIT};
    uint32_t base = catalog_step_ms(w->o.catalog, t->series);
    int64_t from, until;
    int rc = OK;
    clamp_range(w, t, &from, &until);
    for (size_t i = 0; i < nsteps && rc == OK && base; i++) {
        s.base_or_archive = is_archive(w, t->series, base, steps[i]);
        rc = sweep_step(&s, t->series, steps[i], from, until, err);
    }
    sweeping_release(&s);
    return rc;
}

/* --- roll-ups --- */

static int sweep_some(struct writer *w, const struct tombstone *t, uint32_t base, int64_t from_ms,
                      int64_t until_ms, int64_t whole_from_ms, uint64_t *left, bool *damaged, struct err *err)
{
    uint64_t here = 0;
    pthread_mutex_lock(&w->flush_mtx);
    flush_batch_clear(&w->batch);
    w->rollups.now_ms = 0; /* whole_from_ms says it */
    int rc = rollup_erase(&w->rollups, &w->batch, t, base, from_ms, until_ms, whole_from_ms, &here, err);
    if (rc == OK)
        rc = flush_batch_put(&w->batch, w->o.warm, err);
    *damaged |= w->rollups.base_damaged;
    pthread_mutex_unlock(&w->flush_mtx);
    *left += rc == OK ? here : 0;
    return rc;
}

int writer_sweep_rollups(struct writer *w, const struct tombstone *t, int64_t whole_from_ms, uint64_t *left,
                         bool *damaged, struct err *err)
{
    *damaged = false;
    uint32_t base = catalog_step_ms(w->o.catalog, t->series);
    struct layout l;
    const struct layout *next;
    int64_t from, until;
    int rc = OK;
    if (!base || !writer_layout(w, t->series, base, &l, &next))
        return OK;
    clamp_range(w, t, &from, &until);
    int64_t coarsest = layout_coarsest_ms(&l), chunk = ceil_to(ROLLUP_MS, coarsest);
    for (int64_t at = floor_to(from, coarsest); at < until && rc == OK; at += chunk) {
        do
            rc = sweep_some(w, t, base, at, at + chunk, whole_from_ms, left, damaged, err);
        while (be_patient(w, &rc, err));
        if (rc == OK && atomic_load(&w->stopping))
            rc = err_set(err, ERR_CLOSED, "the writer is stopping");
    }
    return rc;
}
