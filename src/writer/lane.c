#include "base/killpoint.h"
#include "writer/writer_impl.h"

#include "base/thread_name.h"

#define READ_TIMEOUT_MS 200
#define OWNED_POLL_MS   200

static void note_minute(struct lane *l, const struct stream_record *rec)
{
    int64_t minute = rec->appended_ms / 60000;
    size_t i = (size_t)minute % MINUTES;
    if (atomic_load_explicit(&l->minutes[i].minute, memory_order_relaxed) == minute)
        return;
    atomic_store(&l->minutes[i].pos, rec->pos);
    atomic_store(&l->minutes[i].minute, minute);
}

uint64_t lane_pos_at(struct lane *l, int64_t wall_ms)
{
    uint64_t best = 0;
    for (size_t i = 0; i < MINUTES; i++) {
        int64_t minute = atomic_load(&l->minutes[i].minute);
        uint64_t pos = atomic_load(&l->minutes[i].pos);
        if (minute && minute * 60000 <= wall_ms && pos > best)
            best = pos;
    }
    return best;
}

/* Waits before a next try. False: there is none, the writer is stopping or has no thread to wait in. */
static bool try_again(struct writer *w, int64_t ms)
{
    return w->threaded && !writer_sleep(w, ms);
}

/* Hot is over its hard bound because warm does not take windows: let the stream hold the rest. */
static void wait_for_room(struct lane *l)
{
    struct writer *w = l->writer;
    if (!w->threaded || atomic_load_explicit(&w->hot_bytes, memory_order_relaxed) <= 2 * w->o.hot_max_bytes)
        return;
    counter_add(w->apply_waits, 1);
    while (atomic_load(&w->hot_bytes) > 2 * w->o.hot_max_bytes && lane_owned(l) && !writer_sleep(w, 100))
        ;
}

/* A part claims that every point of its run was applied, and of two parts the one that ends later wins. A run
 * across a damaged stretch would claim points it never saw, and bring back values they had replaced, so all
 * windows end where the stretch begins. */
static int end_runs(struct lane *l, struct err *err)
{
    int rc;
    while ((rc = flush_all(l, err)) != OK) {
        counter_add(l->writer->flush_errors, 1);
        if (log_allowed(&l->corrupt_log, NULL))
            log_error("writer", "windows before a damaged stretch not flushed, trying again",
                      "lane=%u why=\"%s\"", l->number, err->text);
        if (!lane_owned(l) || !try_again(l->writer, 500))
            break;
    }
    return rc;
}

/* Applies until it sticks: hot may be away for a while, and a skipped record would be a lost one. 1: hot lost
 * some of what it was given before (go_back). Other failures: it is not applied, and this is the end. */
static int apply_record(struct lane *l, const struct stream_record *rec, struct err *err)
{
    struct writer *w = l->writer;
    int rc;
    do {
        int64_t start = clock_mono_us(w->o.clock);
        rc = lane_apply(l, rec, err);
        histogram_observe_us(w->apply_seconds, (uint64_t)(clock_mono_us(w->o.clock) - start));
        if (rc == OK || rc == 1)
            return rc;
        if (log_allowed(&l->corrupt_log, NULL))
            log_error("writer", "record not applied", "lane=%u pos=%llu status=%s why=\"%s\"", l->number,
                      (unsigned long long)rec->pos, status_name(rc), err->text);
        if (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED) {
            counter_add(w->corrupt_records, 1);
            return end_runs(l, err);
        }
    } while (lane_owned(l) && try_again(w, 500));
    return rc;
}

static int lane_open(struct lane *l, struct err *err)
{
    struct stream_start start = {.from = STREAM_POSITION, .from_pos = atomic_load(&l->applied)};
    return stream_reader_open(l->writer->o.stream, l->number, start, &l->reader, err);
}

int lane_begin(struct lane *l, struct err *err)
{
    int rc = hot_begin(l->writer->o.hot, l->number, atomic_load(&l->applied), err);
    return rc == OK ? lane_open(l, err) : rc;
}

static void lane_close(struct lane *l)
{
    if (l->reader)
        stream_reader_close(l->reader);
    l->reader = NULL;
}

/* Hot asks for records again: l->applied becomes where to begin. Reads are said to be incomplete until they
 * are applied, and the checkpoint stays before them (hot_oldest counts them as held). */
static int go_back(struct lane *l, struct err *err)
{
    struct writer *w = l->writer;
    uint64_t from, applied = atomic_load(&l->applied);
    int rc = hot_again(w->o.hot, l->number, stream_checkpoint_get(w->o.stream, l->number), &from, err);
    if (rc == OK && from < applied) {
        if (atomic_load(&l->target) < applied)
            atomic_store(&l->target, applied);
        atomic_store(&l->applied, from);
        counter_add(w->again, 1);
        log_warn("writer", "hot lost points, they are applied again from the stream",
                 "lane=%u from=%llu applied=%llu", l->number, (unsigned long long)from,
                 (unsigned long long)applied);
    }
    if (rc == OK)
        lane_close(l); /* opened again where l->applied is now */
    return rc;
}

/* The record that was read is not dealt with: should this writer go on after all, it reads it again. */
static int not_done(struct lane *l, int rc)
{
    if (rc != OK && l->writer->threaded)
        lane_close(l);
    return rc;
}

int lane_step(struct lane *l, int timeout_ms, struct err *err)
{
    struct writer *w = l->writer;
    struct stream_record rec;
    int rc = hot_lost(w->o.hot, l->number) ? go_back(l, err) : OK;
    if (rc == OK && !l->reader)
        rc = lane_open(l, err);
    if (rc != OK)
        return rc;
    rc = stream_reader_next(l->reader, &rec, timeout_ms, err);
    if (rc == ERR_CORRUPT) {
        counter_add(w->corrupt_records, 1);
        return not_done(l, end_runs(l, err));
    }
    if (rc > 0) /* all that is durable has been read; what was missing to the target was damaged */
        atomic_store(&l->target, 0);
    if (rc != OK)
        return rc;
    wait_for_room(l);
    if (!lane_owned(l))
        return not_done(l, 1); /* the next owner does it */
    rc = apply_record(l, &rec, err);
    if (rc == 1)
        return go_back(l, err);
    if (rc != OK)
        return not_done(l, rc); /* it stays after the checkpoint and is applied by who has the lane next */
    KILL_POINT("writer.applied");
    note_minute(l, &rec);
    atomic_store_explicit(&l->applied_ms, rec.appended_ms, memory_order_relaxed);
    atomic_store_explicit(&l->applied, rec.pos, memory_order_release);
    return OK;
}

static bool stopping(struct lane *l)
{
    return atomic_load_explicit(&l->writer->stopping, memory_order_relaxed);
}

/* Waits until the lane is this writer's, then begins where the stream's checkpoint is. False: stopping. */
static bool take_lane(struct lane *l)
{
    struct writer *w = l->writer;
    struct err err = ERR_INIT;
    uint64_t epoch = 0;
    while (w->o.owns && !(epoch = w->o.owns(w->o.owns_ctx, l->number)))
        if (writer_sleep(w, OWNED_POLL_MS))
            return false;
    atomic_store(&l->epoch, epoch);
    if (w->o.owns) {
        atomic_store(&l->applied, stream_checkpoint_get(w->o.stream, l->number));
        atomic_store(&l->target, stream_synced_pos(w->o.stream, l->number));
        log_info("writer", "partition taken over", "lane=%u pos=%llu", l->number,
                 (unsigned long long)atomic_load(&l->applied));
    }
    while (lane_owned(l) && lane_begin(l, &err) != OK) {
        log_error("writer", "cannot begin with a partition", "lane=%u why=\"%s\"", l->number, err.text);
        if (writer_sleep(w, 1000))
            return false;
    }
    atomic_fetch_add(&l->terms, 1);
    atomic_store(&l->held, true);
    return true;
}

static void leave_lane(struct lane *l)
{
    atomic_store(&l->held, false);
    lane_close(l);
    hot_leave(l->writer->o.hot, l->number);
    atomic_store(&l->target, 0);
    log_info("writer", "partition given up", "lane=%u", l->number);
}

void *lane_main(void *arg)
{
    struct lane *l = arg;
    struct err err = ERR_INIT;
    int rc = OK;
    thread_name("carat-lane");
    while (rc != ERR_CLOSED && take_lane(l)) {
        while (!stopping(l) && lane_owned(l) && (rc = lane_step(l, READ_TIMEOUT_MS, &err)) != ERR_CLOSED) {
            if (rc >= 0 || stopping(l))
                continue;
            if (log_allowed(&l->corrupt_log, NULL))
                log_error("writer", "cannot read the stream", "lane=%u why=\"%s\"", l->number, err.text);
            (void)writer_sleep(l->writer, 1000);
        }
        if (stopping(l))
            break;
        if (rc != ERR_CLOSED)
            leave_lane(l);
    }
    atomic_store(&l->done, true);
    return NULL;
}
