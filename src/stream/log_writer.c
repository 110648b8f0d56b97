/* The commit thread of a lane.
 *
 *   fill --take--> write --datasync--> publish --> tell --> take ...
 *
 * Nothing waits on purpose: while one group is being synced the next one gathers. */
#include "stream/log_lane.h"

#include "base/killpoint.h"
#include "base/log.h"
#include "base/thread_name.h"

#include <assert.h>
#include <stdlib.h>

#define SPACE_RETRY_MS 100

/* Calls the waiters up to and including `pos`, in order. No lock is held. */
static void tell(struct log_lane *l, uint64_t pos, int status)
{
    for (; l->told < l->taken.n && l->taken.v[l->told].pos <= pos; l->told++) {
        struct log_waiter *w = &l->taken.v[l->told];
        if (w->done)
            w->done(w->ctx, status, w->pos);
    }
}

/* Under mu: takes the waiters up to `pos` off the books. */
static void count_durable(struct log_lane *l, uint64_t pos)
{
    uint64_t points = 0;
    for (size_t i = l->told; i < l->taken.n && l->taken.v[i].pos <= pos; i++) {
        points += l->taken.v[i].points;
        l->buffered_bytes -= l->taken.v[i].bytes;
        l->stats.synced_records++;
    }
    l->stats.synced_points += points;
    l->stats.syncs++;
    if (l->m.syncs) {
        counter_add(l->m.syncs, 1);
        counter_add(l->m.synced_points, points);
        gauge_set(l->m.buffered_bytes, (int64_t)l->buffered_bytes);
    }
}

static int sync_and_publish(struct log_lane *l, struct log_chunk *first, struct log_chunk *last,
                            struct err *err)
{
    int64_t began = clock_mono_us(l->log->o.clock);
    KILL_POINT("stream.written");
    int rc = fs_datasync(l->file, err);
    if (rc < 0)
        return rc;
    KILL_POINT("stream.synced");
    if (l->m.sync_seconds)
        histogram_observe_us(l->m.sync_seconds, (uint64_t)(clock_mono_us(l->log->o.clock) - began));
    uint64_t pos = last->take_pos;
    pthread_mutex_lock(&l->mu);
    assert(l->segments_n > 0);
    l->segments[l->segments_n - 1].end = l->file_end;
    count_durable(l, pos);
    log_tail_publish(l, first, last);
    pthread_cond_broadcast(&l->readable);
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->mu);
    tell(l, pos, OK);
    return OK;
}

/* Ends the segment being written. */
static int seal(struct log_lane *l, struct err *err)
{
    if (!l->file)
        return OK;
    int rc = log_segment_seal(l->file, l->file_end, err);
    fs_close(l->file);
    l->file = NULL;
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&l->mu);
    l->segments[l->segments_n - 1].file_bytes = l->file_end;
    pthread_mutex_unlock(&l->mu);
    return OK;
}

/* Begins the segment that `c` starts. *no_space: it failed before anything was changed. */
static int roll(struct log_lane *l, const struct log_chunk *c, bool *no_space, struct err *err)
{
    int rc = l->spare ? OK : log_spare_create(l, &l->spare, err);
    *no_space = rc == ERR_NO_SPACE;
    if (rc < 0)
        return rc;
    rc = seal(l, err);
    if (rc < 0)
        return rc;
    KILL_POINT("stream.sealed");
    const struct log_header h = {.lane = l->index,
                                 .id = c->segment_id,
                                 .first_pos = c->first_pos,
                                 .allocated_bytes = l->log->o.segment_bytes,
                                 .first_ms = c->first_ms};
    rc = log_spare_promote(l, l->spare, &h, err);
    if (rc < 0)
        return rc;
    l->file = l->spare;
    l->spare = NULL;
    l->prepared = false;
    l->file_end = LOG_HEADER_BYTES;
    const struct log_segment s = {.first_pos = h.first_pos,
                                  .id = h.id,
                                  .end = LOG_HEADER_BYTES,
                                  .file_bytes = h.allocated_bytes,
                                  .first_ms = h.first_ms};
    pthread_mutex_lock(&l->mu);
    log_lane_add_segment(l, &s);
    pthread_mutex_unlock(&l->mu);
    KILL_POINT("stream.rolled");
    return OK;
}

/* Writes and syncs the chunks of a group; one that crosses into a new segment is synced in two steps, so that
 * unsynced bytes are never in more than one segment. *no_space: the rest of the group was not written. */
static int commit(struct log_lane *l, struct log_chunk *first, struct log_chunk *last, bool *no_space,
                  struct err *err)
{
    struct log_chunk *unsynced = first, *prev = NULL;
    int rc = OK;
    *no_space = false;
    for (struct log_chunk *c = first;; c = c->next) {
        if (c->starts_segment && c->take_from == 0) {
            if (prev && (rc = sync_and_publish(l, unsynced, prev, err)) < 0)
                return rc;
            unsynced = c;
            rc = roll(l, c, no_space, err);
            if (rc < 0)
                return rc;
        }
        assert(c->file_off + c->take_from == l->file_end);
        rc = fs_pwrite(l->file, c->data + c->take_from, c->take_to - c->take_from, l->file_end, err);
        if (rc < 0)
            return rc;
        l->file_end += c->take_to - c->take_from;
        if (c == last)
            break;
        prev = c;
    }
    return sync_and_publish(l, unsynced, last, err);
}

/* Everyone who waits is told; nothing that is not durable is kept. */
static void give_up_waiting(struct log_lane *l, int status)
{
    pthread_mutex_lock(&l->mu);
    struct log_waiters rest = l->waiters;
    l->waiters = (struct log_waiters){NULL, 0, 0};
    log_tail_drop_dirty(l);
    l->buffered_bytes = 0;
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->mu);
    tell(l, UINT64_MAX, status);
    free(l->taken.v);
    l->taken = rest;
    l->told = 0;
    tell(l, UINT64_MAX, status);
    l->taken.n = l->told = 0;
}

static void out_of_space(struct log_lane *l, const struct err *why)
{
    log_warn("stream", "the next segment cannot be made, appends are refused until it can",
             "partition=%u error=\"%s\"", l->index, why->text);
    pthread_mutex_lock(&l->mu);
    l->no_space = true;
    pthread_mutex_unlock(&l->mu);
    give_up_waiting(l, ERR_NO_SPACE);
}

static void retry_space(struct log_lane *l)
{
    struct err err = ERR_INIT;
    if (!l->spare && log_spare_create(l, &l->spare, &err) < 0)
        return;
    log_info("stream", "the next segment is ready, appends are taken again", "partition=%u", l->index);
    pthread_mutex_lock(&l->mu);
    l->no_space = false;
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->mu);
}

/* The next segment is made ready when half of this one is full. Trouble shows when it is needed. */
static void prepare_next(struct log_lane *l)
{
    if (l->prepared || l->file_end <= l->log->o.segment_bytes / 2)
        return;
    l->prepared = true;
    if (!l->spare)
        (void)!log_spare_create(l, &l->spare, NULL);
}

/* Waits for a group and takes it. NULL when there is none: closing, or time to look for space again. */
static struct log_chunk *take(struct log_lane *l, struct log_chunk **last, bool *closing, bool *no_space)
{
    struct timespec until;
    log_deadline(&until, SPACE_RETRY_MS);
    pthread_mutex_lock(&l->mu);
    l->idle = true;
    while (!l->first_dirty && !l->closing)
        if (!l->no_space)
            pthread_cond_wait(&l->work, &l->mu);
        else if (pthread_cond_timedwait(&l->work, &l->mu, &until) != 0)
            break;
    l->idle = false;
    struct log_chunk *first = log_tail_take(l, last);
    struct log_waiters swap = l->taken;
    l->taken = l->waiters;
    l->waiters = swap;
    l->waiters.n = 0;
    *closing = l->closing;
    *no_space = l->no_space;
    pthread_mutex_unlock(&l->mu);
    l->told = 0;
    return first;
}

static void run(struct log_lane *l)
{
    for (;;) {
        struct err err = ERR_INIT;
        bool closing, no_space;
        struct log_chunk *last, *first = take(l, &last, &closing, &no_space);
        if (!first && closing)
            break;
        if (!first && no_space)
            retry_space(l);
        if (!first)
            continue;
        int rc = commit(l, first, last, &no_space, &err);
        if (rc == OK) {
            prepare_next(l);
        } else if (no_space) {
            out_of_space(l, &err);
        } else {
            log_stream_fail(l, "write", &err);
            give_up_waiting(l, ERR_FAILED);
            return;
        }
    }
    struct err err = ERR_INIT;
    if (seal(l, &err) < 0)
        log_stream_fail(l, "seal", &err);
}

void *log_writer_main(void *lane)
{
    struct log_lane *l = lane;
    thread_name("carat-sync");
    run(l);
    if (l->file)
        fs_close(l->file);
    if (l->spare) {
        char path[LOG_PATH_MAX];
        log_lane_path(l, LOG_SPARE_NAME, path);
        fs_close(l->spare);
        (void)!fs_unlink(l->log->o.fs, path, NULL);
    }
    l->file = l->spare = NULL;
    return NULL;
}
