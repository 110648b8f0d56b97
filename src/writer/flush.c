/* Moving closed windows from hot to warm: copy, store, then release what did not change meanwhile. */
#include "base/killpoint.h"
#include "writer/writer_impl.h"

#include "base/thread_name.h"

#define TICK_MS   100
#define BUDGET    20000 /* series looked at in one tick: a million in 5 s */
#define PUT_PARTS 256   /* base parts; the coarse ones they change come on top */

/* A series that was deleted since it was taken from hot is not stored again: the sweep may have been there.
 */
static int merge_all(struct writer *w, const struct part *fresh, size_t n, struct err *err)
{
    struct flush_batch *b = &w->batch;
    for (size_t i = 0; i < n; i++) {
        if (catalog_has_ended(w->o.catalog, fresh[i].key.series))
            continue;
        flush_batch_reserve(b);
        int rc = merge_with_stored(w->o.warm, &fresh[i], &b->parts[b->n], &b->in_blocks[b->n], &b->blocks,
                                   &b->remove, err);
        if (rc != OK)
            return rc;
        b->n++;
    }
    return OK;
}

static int add_rollups(struct writer *w, struct err *err)
{
    if (!w->o.archives && !w->o.layouts)
        return OK;
    int64_t start = clock_mono_us(w->o.clock);
    int rc = rollup_add_parts(&w->rollups, &w->batch, err);
    histogram_observe_us(w->rollup_seconds, (uint64_t)(clock_mono_us(w->o.clock) - start));
    return rc;
}

/* Under flush_mtx from the first look into warm to the put: what was merged with must not change in between.
 */
static int put_some(struct lane *l, const struct part *fresh, size_t n, struct err *err)
{
    struct writer *w = l->writer;
    pthread_mutex_lock(&w->flush_mtx);
    flush_batch_clear(&w->batch);
    int rc = merge_all(w, fresh, n, err);
    KILL_POINT("flush.merged");
    if (rc == OK)
        rc = add_rollups(w, err);
    KILL_POINT("flush.rolled_up");
    if (rc == OK && !lane_owned(l))
        rc = err_set(err, ERR_LOCKED, "the partition is another writer's by now");
    if (rc == OK)
        rc = flush_batch_put(&w->batch, w->o.warm, err);
    KILL_POINT("flush.put");
    pthread_mutex_unlock(&w->flush_mtx);
    return rc;
}

int writer_put(struct writer *w, const struct part *p, const struct part_key *remove, size_t nremove,
               struct err *err)
{
    struct flush_batch *b = &w->batch;
    flush_batch_clear(b);
    flush_batch_reserve(b);
    b->in_blocks[0] = false;
    b->parts[b->n++] = *p;
    for (size_t i = 0; i < nremove; i++)
        merge_keys_add(&b->remove, &remove[i]);
    int rc = add_rollups(w, err);
    return rc == OK ? flush_batch_put(b, w->o.warm, err) : rc;
}

static int put_all(struct lane *l, const struct hot_taken *t, struct err *err)
{
    int rc = OK;
    for (size_t from = 0; from < t->n && rc == OK; from += PUT_PARTS) {
        size_t n = t->n - from < PUT_PARTS ? t->n - from : PUT_PARTS;
        rc = put_some(l, t->parts + from, n, err);
    }
    return rc;
}

int flush_slice(struct lane *l, const struct hot_due *due, uint32_t *at, size_t budget, struct hot_taken *t,
                size_t *moved, struct err *err)
{
    struct writer *w = l->writer;
    uint32_t cursor = *at;
    *moved = 0;
    int rc = hot_take(w->o.hot, l->number, due, &cursor, budget, t, err);
    if (rc != OK)
        return rc;
    uint64_t points = 0;
    for (size_t i = 0; i < t->n; i++)
        points += t->tokens[i].points;
    counter_add(w->sealed_windows, t->n);
    counter_add(w->sealed_points, points);
    if (t->n) {
        int64_t start = clock_mono_us(w->o.clock);
        KILL_POINT("flush.sealed");
        rc = put_all(l, t, err);
        if (rc == OK)
            rc = hot_release(w->o.hot, l->number, t, NULL, err);
        KILL_POINT("flush.released");
        histogram_observe_us(w->flush_seconds, (uint64_t)(clock_mono_us(w->o.clock) - start));
    }
    if (rc != OK)
        return rc; /* the cursor stays: the same windows are tried again */
    counter_add(w->flushed_windows, t->n);
    counter_add(w->flushed_points, points);
    *at = cursor;
    *moved = t->n;
    return OK;
}

/* A new round over the lane's series begins when the last one is over and round_ms have passed. */
static bool round_begins(struct lane *l, int64_t now_mono_ms)
{
    if (l->cursor != 0)
        return true;
    if (l->round_started && now_mono_ms - l->round_started_ms < l->writer->o.round_ms)
        return false;
    l->round_started = true;
    l->round_started_ms = now_mono_ms;
    l->settled = l->round_pos;
    l->round_pos = atomic_load(&l->applied);
    return true;
}

static int flush_lane(struct lane *l, bool pressure, struct hot_taken *t, struct err *err)
{
    struct writer *w = l->writer;
    int64_t now = clock_wall_ms(w->o.clock);
    if (!round_begins(l, clock_mono_ms(w->o.clock)) && !pressure)
        return OK;
    struct hot_due due = {
        .closed_before_ms = now - w->o.flush_delay_ms,
        .jitter_permille = w->o.jitter_permille,
        .settled_before = l->settled,
        .unflushed_before = lane_pos_at(l, now - w->o.max_unflushed_ms),
        .all = pressure,
    };
    size_t moved;
    return flush_slice(l, &due, &l->cursor, BUDGET, t, &moved, err);
}

int flush_lanes(struct writer *w, struct err *err)
{
    struct hot_stats stats;
    hot_get_stats(w->o.hot, &stats);
    atomic_store(&w->hot_bytes, stats.held_bytes);
    int rc = OK;
    for (unsigned i = 0; i < w->o.lanes; i++) {
        struct err why = ERR_INIT;
        if (!lane_held(&w->lanes[i]) || !lane_owned(&w->lanes[i]))
            continue;
        bool all = stats.held_bytes > w->o.hot_max_bytes || atomic_load(&w->flush_all);
        int one = flush_lane(&w->lanes[i], all, &w->taken, &why);
        if (one == OK)
            continue;
        counter_add(w->flush_errors, 1);
        if (log_allowed(&w->flush_log, NULL))
            log_error("writer", "windows not flushed, trying again", "lane=%u status=%s why=\"%s\"", i,
                      status_name(one), why.text);
        rc = rc == OK ? err_set(err, one, "%s", why.text) : rc;
    }
    return rc;
}

void *flusher_main(void *arg)
{
    struct writer *w = arg;
    int64_t backoff_ms = 0;
    thread_name("carat-flush");
    while (!writer_sleep(w, backoff_ms ? backoff_ms : TICK_MS)) {
        int rc = flush_lanes(w, NULL);
        backoff_ms = rc == OK ? 0 : backoff_ms ? (backoff_ms < 8000 ? backoff_ms * 2 : 10000) : 250;
    }
    return NULL;
}

int flush_all(struct lane *l, struct err *err)
{
    struct hot_due due = {.all = true};
    struct hot_taken taken = HOT_TAKEN_INIT;
    uint32_t cursor = 0;
    size_t moved;
    int rc;
    do
        rc = flush_slice(l, &due, &cursor, BUDGET, &taken, &moved, err);
    while (rc == OK && cursor != 0);
    hot_taken_release(&taken);
    return rc;
}
