#include "writer/writer_impl.h"

#include "base/killpoint.h"
#include "base/mem.h"
#include "base/thread_name.h"
#include "model/batch.h"
#include "writer/positions.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CATALOG_EVERY_MS 1000
/* Of the last flush: how many series at a time, and how long it goes on before it is judged. */
#define LAST_FLUSH_SERIES  1024
#define LAST_FLUSH_SURE_MS 1000

bool writer_sleep(struct writer *w, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->mtx);
    while (!atomic_load(&w->stopping) && pthread_cond_timedwait(&w->wake, &w->mtx, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&w->mtx);
    return atomic_load(&w->stopping);
}

/* The positions are read before the flush: definitions up to there are in the catalog, and then in its store.
 */
static int keep_catalog(struct writer *w, struct err *err)
{
    uint64_t pos[POSITIONS_MAX];
    for (unsigned i = 0; i < w->o.lanes; i++)
        pos[i] = atomic_load(&w->lanes[i].applied);
    int rc = catalog_flush(w->o.catalog, err);
    return rc == OK ? positions_write(w->o.fs, w->o.state_path, pos, w->o.lanes, err) : rc;
}

int writer_flushed(struct writer *w, unsigned lane, uint64_t *pos, struct err *err)
{
    uint64_t applied = atomic_load(&w->lanes[lane].applied), lo;
    int rc = hot_oldest(w->o.hot, lane, &lo, err);
    /* A window made during the look holds only what came after `applied` was read. */
    *pos = rc == OK && lo - 1 < applied ? lo - 1 : applied;
    return rc;
}

/* In this order: what has left hot, warm on disk, names on disk, and only then the stream may forget. */
int writer_checkpoint(struct writer *w, struct err *err)
{
    uint64_t pos[POSITIONS_MAX];
    int64_t start = clock_mono_us(w->o.clock);
    int rc = OK;
    uint64_t term[POSITIONS_MAX] = {0};
    for (unsigned i = 0; i < w->o.lanes && rc == OK; i++)
        if ((term[i] = lane_term(&w->lanes[i])))
            rc = writer_flushed(w, i, &pos[i], err);
    KILL_POINT("checkpoint.begun");
    if (rc == OK)
        rc = warm_sync(w->o.warm, err);
    KILL_POINT("checkpoint.warm_synced");
    if (rc == OK)
        rc = keep_catalog(w, err);
    KILL_POINT("checkpoint.catalog_flushed");
    /* A lane that was given up meanwhile: hot has forgotten it, so what was computed means nothing. */
    for (unsigned i = 0; i < w->o.lanes && rc == OK; i++)
        if (term[i] && lane_term(&w->lanes[i]) == term[i] && lane_owned(&w->lanes[i]))
            rc = stream_checkpoint(w->o.stream, i, pos[i], err);
    KILL_POINT("checkpoint.done");
    histogram_observe_us(w->checkpoint_seconds, (uint64_t)(clock_mono_us(w->o.clock) - start));
    return rc;
}

static void *keeper_main(void *arg)
{
    struct writer *w = arg;
    int64_t last = clock_mono_ms(w->o.clock);
    thread_name("carat-keep");
    while (!writer_sleep(w, CATALOG_EVERY_MS)) {
        struct err err = ERR_INIT;
        bool due = clock_mono_ms(w->o.clock) - last >= w->o.checkpoint_ms;
        if (due)
            last = clock_mono_ms(w->o.clock);
        if ((due ? writer_checkpoint(w, &err) : keep_catalog(w, &err)) != OK &&
            log_allowed(&w->flush_log, NULL))
            log_error("writer", "checkpoint failed, the stream is kept longer", "why=\"%s\"", err.text);
    }
    return NULL;
}

static uint64_t lane_behind(struct lane *l)
{
    if (!lane_held(l))
        return 0;
    uint64_t applied = atomic_load_explicit(&l->applied, memory_order_acquire);
    uint64_t synced = stream_synced_pos(l->writer->o.stream, l->number);
    return synced > applied ? synced - applied : 0;
}

static double lag_records(void *lane)
{
    return (double)lane_behind(lane);
}

/* Age of the newest applied record while there are durable ones after it. */
static int64_t lag_ms(struct lane *l)
{
    int64_t applied_ms = atomic_load_explicit(&l->applied_ms, memory_order_relaxed);
    int64_t age_ms = clock_wall_ms(l->writer->o.clock) - applied_ms;
    return lane_behind(l) && applied_ms && age_ms > 0 ? age_ms : 0;
}

static double lag_seconds(void *lane)
{
    return (double)lag_ms(lane) / 1e3;
}

bool writer_lag(struct writer *w, unsigned lane, uint64_t *records, int64_t *age_ms)
{
    struct lane *l = &w->lanes[lane];
    *records = lane_behind(l);
    *age_ms = lag_ms(l);
    return lane_held(l);
}

static void register_lag(struct lane *l)
{
    char labels[32];
    snprintf(labels, sizeof labels, "partition=\"%u\"", l->number);
    metrics_gauge_fn(l->writer->o.metrics, "carat_writer_lag_records", labels,
                     "Durable records of a partition that are not applied yet.", "gauge", lag_records, l);
    metrics_gauge_fn(l->writer->o.metrics, "carat_writer_lag_seconds", labels,
                     "Age of the newest applied record of a partition while there are later ones.", "gauge",
                     lag_seconds, l);
}

static double partitions_held(void *writer)
{
    struct writer *w = writer;
    unsigned n = 0;
    for (unsigned i = 0; i < w->o.lanes; i++)
        n += lane_held(&w->lanes[i]);
    return n;
}

static void register_metrics(struct writer *w)
{
    struct metrics *m = w->o.metrics;
    metrics_gauge_fn(m, "carat_writer_partitions", NULL, "Partitions this writer applies.", "gauge",
                     partitions_held, w);
    w->applied_points =
        metrics_counter(m, "carat_points_applied_total", NULL, "Points applied to hot: readable.");
    w->orphaned_points = metrics_counter(m, "carat_points_orphaned_total", NULL,
                                         "Points whose series definition was lost to damage in the stream.");
    w->dead_points = metrics_counter(m, "carat_points_deleted_total", NULL,
                                     "Points not applied because a deletion after them is known already.");
    w->corrupt_records = metrics_counter(m, "carat_writer_corrupt_records_total", NULL,
                                         "Damaged stretches or records of the stream that were skipped.");
    w->sealed_windows = metrics_counter(m, "carat_windows_sealed_total", NULL, "Windows encoded for warm.");
    w->sealed_points =
        metrics_counter(m, "carat_points_sealed_total", NULL, "Points in windows encoded for warm.");
    w->flushed_windows = metrics_counter(m, "carat_windows_flushed_total", NULL, "Windows stored in warm.");
    w->flushed_points =
        metrics_counter(m, "carat_points_flushed_total", NULL, "Points in windows stored in warm.");
    w->flush_errors = metrics_counter(m, "carat_writer_flush_errors_total", NULL,
                                      "Failed attempts to move windows to warm; they are tried again.");
    w->apply_waits = metrics_counter(m, "carat_writer_hot_full_total", NULL,
                                     "Times applying stopped because hot was over its bound.");
    w->again = metrics_counter(m, "carat_writer_again_total", NULL,
                               "Times a lane went back in the stream because hot had lost points.");
    w->apply_seconds =
        metrics_histogram(m, "carat_writer_apply_seconds", NULL, "Time to apply one record to hot.");
    w->readable_seconds = metrics_histogram(m, "carat_readable_seconds", NULL,
                                            "Time from receipt of a batch until it can be read.");
    w->flush_seconds =
        metrics_histogram(m, "carat_writer_flush_seconds", NULL, "Time to store one slice of windows.");
    w->rollup_seconds = metrics_histogram(m, "carat_rollup_seconds", NULL,
                                          "Time to make the coarse archives' share of a batch of windows.");
    w->checkpoint_seconds =
        metrics_histogram(m, "carat_writer_checkpoint_seconds", NULL, "Time of one checkpoint.");
}

static int start_threads(struct writer *w, struct err *err)
{
    int rc = 0;
    w->threaded = true;
    for (unsigned i = 0; i < w->o.lanes && rc == 0; i++) {
        rc = pthread_create(&w->lanes[i].thread, NULL, lane_main, &w->lanes[i]);
        w->lanes[i].running = rc == 0;
    }
    if (rc == 0)
        rc = pthread_create(&w->flusher, NULL, flusher_main, w);
    if (rc == 0)
        rc = pthread_create(&w->keeper, NULL, keeper_main, w);
    assert(rc == 0 || !w->threads_running);
    w->threads_running = rc == 0;
    return rc ? err_sys(err, ERR_FAILED, rc, "start writer threads") : OK;
}

int writer_open(const struct writer_options *o, struct writer **out, struct err *err)
{
    assert(o->lanes > 0 && o->lanes <= POSITIONS_MAX);
    struct writer *w = xcalloc(1, sizeof *w);
    w->o = *o;
    w->o.state_path = xstrdup(o->state_path);
    pthread_mutex_init(&w->mtx, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->flush_mtx, NULL);
    register_metrics(w);
    rollup_maker_init(&w->rollups, o->warm, o->metrics);
    w->rollups.archives = o->archives;
    w->rollups.layouts = o->layouts;
    w->rollups.archives_ctx = o->archives_ctx;
    w->lanes = xcalloc(o->lanes, sizeof *w->lanes);
    uint64_t from[POSITIONS_MAX];
    struct err ignored;
    if (positions_read(o->fs, o->state_path, from, o->lanes, &ignored) == ERR_CORRUPT)
        log_warn("writer", "position hint ignored", "why=\"%s\"", ignored.text);
    for (unsigned i = 0; i < o->lanes; i++) {
        struct lane *l = &w->lanes[i];
        l->writer = w;
        l->number = i;
        l->points = xmalloc(BATCH_MAX_POINTS * sizeof *l->points);
        l->target = o->owns ? 0 : stream_synced_pos(o->stream, i);
        atomic_init(&l->held, !o->owns);
        uint64_t checkpoint_pos = stream_checkpoint_get(o->stream, i);
        atomic_store(&l->applied, checkpoint_pos);
        if (from[i] < checkpoint_pos)
            from[i] = checkpoint_pos;
        register_lag(l);
    }
    int rc = o->owns ? OK : scan_definitions(w, from, err); /* many writers: the catalog is shared, too */
    if (rc != OK) {
        writer_free(w);
        return rc;
    }
    *out = w;
    return OK;
}

int writer_start(const struct writer_options *o, struct writer **out, struct err *err)
{
    struct writer *w;
    int rc = writer_open(o, &w, err);
    if (rc != OK)
        return rc;
    rc = start_threads(w, err);
    if (rc != OK) {
        writer_free(w);
        return rc;
    }
    *out = w;
    return OK;
}

int writer_apply(struct writer *w, struct err *err)
{
    assert(!w->threaded);
    int rc = OK;
    for (unsigned i = 0; i < w->o.lanes && rc >= 0; i++) {
        struct lane *l = &w->lanes[i];
        rc = l->reader ? OK : lane_begin(l, err);
        while (rc == OK)
            rc = lane_step(l, 0, err);
    }
    return rc < 0 ? rc : OK;
}

int writer_flush(struct writer *w, struct err *err)
{
    assert(!w->threaded);
    bool more = true;
    int rc = OK;
    while (rc == OK && more) {
        rc = flush_lanes(w, err);
        more = false;
        for (unsigned i = 0; i < w->o.lanes; i++)
            more |= w->lanes[i].cursor != 0;
    }
    return rc;
}

bool writer_caught_up(struct writer *w, struct err *why)
{
    uint64_t behind = 0;
    for (unsigned i = 0; i < w->o.lanes; i++) {
        uint64_t applied = atomic_load_explicit(&w->lanes[i].applied, memory_order_acquire);
        uint64_t target = atomic_load(&w->lanes[i].target);
        if (!lane_held(&w->lanes[i]))
            continue;
        behind += applied < target ? target - applied : 0;
    }
    if (behind)
        err_set(why, ERR_BUSY, "catching up: %llu records of the stream are not applied yet",
                (unsigned long long)behind);
    return !behind;
}

uint64_t writer_applied(struct writer *w, unsigned lane)
{
    return atomic_load_explicit(&w->lanes[lane].applied, memory_order_acquire);
}

void writer_quiesce(struct writer *w)
{
    pthread_mutex_lock(&w->flush_mtx);
    pthread_mutex_unlock(&w->flush_mtx);
}

static bool flushed_to(struct writer *w, const uint64_t *upto)
{
    struct err ignored;
    uint64_t pos;
    for (unsigned i = 0; i < w->o.lanes; i++)
        if (lane_held(&w->lanes[i]) && (writer_flushed(w, i, &pos, &ignored) != OK || pos < upto[i]))
            return false;
    return true;
}

int writer_flush_all(struct writer *w, bool (*stop)(void *ctx), void *ctx, struct err *err)
{
    uint64_t upto[POSITIONS_MAX];
    int rc = OK;
    assert(w->threaded);
    for (unsigned i = 0; i < w->o.lanes; i++)
        upto[i] = stream_synced_pos(w->o.stream, i);
    atomic_store(&w->flush_all, true);
    while (rc == OK && !flushed_to(w, upto))
        if (writer_sleep(w, 50) || (stop && stop(ctx)))
            rc = err_set(err, ERR_CLOSED, "stopped before all windows were moved to warm");
    atomic_store(&w->flush_all, false);
    return rc;
}

pthread_mutex_t *writer_store_lock(struct writer *w)
{
    return &w->flush_mtx;
}

static void stop_threads(struct writer *w)
{
    pthread_mutex_lock(&w->mtx);
    atomic_store(&w->stopping, true);
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mtx);
    for (unsigned i = 0; i < w->o.lanes; i++)
        if (w->lanes[i].running) {
            pthread_join(w->lanes[i].thread, NULL);
            w->lanes[i].running = false;
        }
    if (w->threads_running) {
        pthread_join(w->flusher, NULL);
        pthread_join(w->keeper, NULL);
    }
    w->threads_running = false;
    for (unsigned i = 0; i < w->o.lanes; i++) {
        if (w->lanes[i].reader)
            stream_reader_close(w->lanes[i].reader);
        w->lanes[i].reader = NULL;
    }
}

/* The last flush. */
struct last_flush {
    struct hot_taken taken;
    int64_t began_ms, deadline_ms;
    uint64_t moved;
};

/* All windows or none: the checkpoint stays before the oldest that is left, so whatever else was stored, the
 * next start applies nearly the same stretch of the stream again. So it ends as soon as it is plain that the
 * time will not do. */
static bool time_will_do(struct writer *w, const struct last_flush *f)
{
    struct hot_stats left;
    int64_t now = clock_wall_ms(w->o.clock), took = now - f->began_ms;
    if (now >= f->deadline_ms)
        return false;
    if (took < LAST_FLUSH_SURE_MS || !f->moved)
        return true;
    hot_get_stats(w->o.hot, &left);
    return left.windows * (uint64_t)took / f->moved <= (uint64_t)(f->deadline_ms - now);
}

static bool flush_everything(struct writer *w, struct lane *l, struct last_flush *f)
{
    struct hot_due due = {.all = true};
    struct err err = ERR_INIT;
    size_t moved;
    l->cursor = 0;
    do {
        if (!time_will_do(w, f)) {
            log_info("writer", "windows left to the stream: there is no time to flush them all",
                     "flushed=%llu", (unsigned long long)f->moved);
            return false;
        }
        if (flush_slice(l, &due, &l->cursor, LAST_FLUSH_SERIES, &f->taken, &moved, &err) != OK) {
            log_error("writer", "windows not flushed at the end, the stream still has them", "why=\"%s\"",
                      err.text);
            return false;
        }
        f->moved += moved;
    } while (l->cursor != 0);
    return true;
}

void writer_stop(struct writer *w, int64_t deadline_ms)
{
    for (unsigned i = 0; i < w->o.lanes; i++)
        while (w->lanes[i].running && !atomic_load(&w->lanes[i].done) &&
               clock_wall_ms(w->o.clock) < deadline_ms && !writer_sleep(w, 5))
            ;
    stop_threads(w);
    struct last_flush f = {HOT_TAKEN_INIT, clock_wall_ms(w->o.clock), deadline_ms, 0};
    bool all = !w->o.owns;
    for (unsigned i = 0; i < w->o.lanes && all; i++)
        all = flush_everything(w, &w->lanes[i], &f);
    hot_taken_release(&f.taken);
    struct err err = ERR_INIT;
    if (writer_checkpoint(w, &err) != OK)
        log_error("writer", "last checkpoint failed", "why=\"%s\"", err.text);
    log_info("writer", "stopped", "flushed_all=%s", all ? "true" : "false");
}

void writer_free(struct writer *w)
{
    if (!w)
        return;
    stop_threads(w);
    for (unsigned i = 0; i < w->o.lanes; i++)
        free(w->lanes[i].points);
    hot_taken_release(&w->taken);
    free(w->lanes);
    free((char *)w->o.state_path);
    flush_batch_release(&w->batch);
    rollup_maker_release(&w->rollups);
    pthread_mutex_destroy(&w->flush_mtx);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mtx);
    free(w);
}
