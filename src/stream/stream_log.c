/* The embedded stream as a whole: opening, appending, closing. */
#include "stream/stream_log.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "stream/log_lane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_BYTES_MIN (64u << 10)
#define BUFFER_BYTES_MIN  (16u << 10)
#define CHUNK_BYTES_MIN   (16u << 10)
#define CHUNK_BYTES_MAX   (1u << 20)

void log_deadline(struct timespec *t, int timeout_ms)
{
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_sec += timeout_ms / 1000;
    t->tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t->tv_nsec >= 1000000000) {
        t->tv_sec++;
        t->tv_nsec -= 1000000000;
    }
}

void log_stream_fail(struct log_lane *l, const char *what, const struct err *why)
{
    struct stream_log *log = l->log;
    log_error("stream", "gave up after a failed write, nothing is acknowledged any more",
              "partition=%u step=%s error=\"%s\"", l->index, what, why->text);
    atomic_store(&log->failed, true);
    for (unsigned i = 0; i < log->base.lanes; i++) {
        struct log_lane *each = log->lanes[i];
        pthread_mutex_lock(&each->mu);
        pthread_cond_broadcast(&each->space);
        pthread_mutex_unlock(&each->mu);
    }
    if (l->m.failed)
        gauge_set(l->m.failed, 1);
}

static void waiters_push(struct log_waiters *w, const struct log_waiter *one)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 64;
        w->v = xrealloc(w->v, w->cap * sizeof *w->v);
    }
    w->v[w->n++] = *one;
}

/* Under mu. */
static bool has_room(const struct log_lane *l, size_t bytes)
{
    return l->buffered_bytes == 0 || l->buffered_bytes + bytes <= l->log->o.buffer_bytes;
}

/* Under mu. */
static int refuse(struct log_lane *l, size_t bytes, struct err *err)
{
    if (l->closing)
        return err_set(err, ERR_CLOSED, "the stream is closing");
    if (atomic_load(&l->log->failed))
        return err_set(err, ERR_FAILED, "the stream gave up after a failed write; see the log");
    if (l->no_space)
        return err_set(err, ERR_NO_SPACE, "the stream has no disk space for its next segment");
    if (has_room(l, bytes))
        return OK;
    if (l->m.busy)
        counter_add(l->m.busy, 1);
    return err_set(err, ERR_BUSY, "partition %u waits for the disk", l->index);
}

/* Under mu. */
static void count_accepted(struct log_lane *l, size_t size, size_t bytes, uint32_t points)
{
    l->buffered_bytes += bytes;
    l->stats.appended_records++;
    l->stats.appended_bytes += size;
    l->stats.appended_points += points;
    if (l->m.appended_points) {
        counter_add(l->m.appended_points, points);
        counter_add(l->m.appended_bytes, size);
        gauge_set(l->m.buffered_bytes, (int64_t)l->buffered_bytes);
    }
}

static int log_append(struct stream *s, unsigned partition, const void *payload, size_t size, uint32_t points,
                      stream_done_fn done, void *ctx, struct err *err)
{
    struct stream_log *log = stream_log_of(s);
    struct log_lane *l = log->lanes[partition];
    struct log_record rec = {
        .points = points, .size = (uint32_t)size, .payload_crc = crc32c(0, payload, size)};
    size_t bytes = log_record_bytes(size);
    int64_t now = clock_wall_ms(log->o.clock);
    pthread_mutex_lock(&l->mu);
    int rc = refuse(l, bytes, err);
    if (rc == OK) {
        rec.pos = atomic_fetch_add(&log->next_pos, 1);
        rec.appended_ms = l->last_ms = now > l->last_ms ? now : l->last_ms;
        uint8_t *p = log_tail_room(l, bytes, rec.pos, rec.appended_ms);
        log_record_encode(p, l->tail->segment_id, &rec, payload);
        waiters_push(
            &l->waiters,
            &(struct log_waiter){
                .done = done, .ctx = ctx, .pos = rec.pos, .points = points, .bytes = (uint32_t)bytes});
        l->last_pos = rec.pos;
        count_accepted(l, size, bytes, points);
        if (l->idle)
            pthread_cond_signal(&l->work);
    }
    pthread_mutex_unlock(&l->mu);
    return rc;
}

static int log_wait_space(struct stream *s, unsigned partition, size_t size, int timeout_ms)
{
    struct log_lane *l = stream_log_of(s)->lanes[partition];
    struct timespec until;
    log_deadline(&until, timeout_ms);
    int rc = OK;
    pthread_mutex_lock(&l->mu);
    for (;;) {
        if (atomic_load(&l->log->failed)) {
            rc = ERR_FAILED;
            break;
        }
        if (l->closing || (!l->no_space && has_room(l, log_record_bytes(size))))
            break;
        if (pthread_cond_timedwait(&l->space, &l->mu, &until) != 0) {
            rc = ERR_TIMEOUT;
            break;
        }
    }
    pthread_mutex_unlock(&l->mu);
    return rc;
}

static uint64_t log_synced_pos(struct stream *s, unsigned lane)
{
    struct log_lane *l = stream_log_of(s)->lanes[lane];
    pthread_mutex_lock(&l->mu);
    uint64_t pos = l->synced_pos;
    pthread_mutex_unlock(&l->mu);
    return pos;
}

static void add_lane_stats(struct log_lane *l, struct stream_stats *out)
{
    pthread_mutex_lock(&l->mu);
    const struct stream_stats *in = &l->stats;
    out->appended_records += in->appended_records;
    out->appended_bytes += in->appended_bytes;
    out->appended_points += in->appended_points;
    out->synced_records += in->synced_records;
    out->synced_points += in->synced_points;
    out->syncs += in->syncs;
    out->buffered_bytes += l->buffered_bytes;
    for (size_t i = 0; i < l->segments_n; i++)
        out->stored_bytes += l->segments[i].file_bytes;
    out->quarantined_records += in->quarantined_records;
    out->quarantined_bytes += in->quarantined_bytes;
    out->torn_bytes += in->torn_bytes;
    if (out->last_pos < l->last_pos)
        out->last_pos = l->last_pos;
    pthread_mutex_unlock(&l->mu);
}

static void log_get_stats(struct stream *s, struct stream_stats *out)
{
    struct stream_log *log = stream_log_of(s);
    *out = (struct stream_stats){.failed = atomic_load(&log->failed)};
    for (unsigned i = 0; i < s->lanes; i++)
        add_lane_stats(log->lanes[i], out);
}

static void lane_set_closing(struct log_lane *l)
{
    pthread_mutex_lock(&l->mu);
    l->closing = true;
    pthread_cond_signal(&l->work);
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->mu);
}

static void lane_finish(struct log_lane *l)
{
    if (l->thread_runs)
        pthread_join(l->thread, NULL);
    l->thread_runs = false;
    pthread_mutex_lock(&l->mu);
    l->closed = true;
    pthread_cond_broadcast(&l->readable);
    pthread_mutex_unlock(&l->mu);
}

static void log_close(struct stream *s)
{
    struct stream_log *log = stream_log_of(s);
    for (unsigned i = 0; i < s->lanes; i++)
        lane_set_closing(log->lanes[i]);
    for (unsigned i = 0; i < s->lanes; i++)
        lane_finish(log->lanes[i]);
}

static void lane_free(struct log_lane *l)
{
    log_tail_free(l);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->space);
    pthread_cond_destroy(&l->readable);
    pthread_mutex_destroy(&l->mu);
    pthread_mutex_destroy(&l->checkpoint_mu);
    free(l->waiters.v);
    free(l->taken.v);
    free(l->segments);
    free(l->damage);
    free(l->dir);
    free(l);
}

static void log_free(struct stream *s)
{
    struct stream_log *log = stream_log_of(s);
    log_close(s);
    for (unsigned i = 0; i < s->lanes; i++)
        lane_free(log->lanes[i]);
    free((char *)log->o.dir);
    free(log);
}

static void metrics_begin(struct log_lane *l, struct metrics *m)
{
    char labels[32];
    snprintf(labels, sizeof labels, "partition=\"%u\"", l->index);
    l->m = (struct log_metrics){
        .appended_points = metrics_counter(m, "carat_stream_appended_points_total", labels,
                                           "Points taken by the stream, durable or not yet."),
        .appended_bytes = metrics_counter(m, "carat_stream_appended_bytes_total", labels,
                                          "Payload bytes taken by the stream, durable or not yet."),
        .synced_points = metrics_counter(m, "carat_stream_synced_points_total", labels,
                                         "Points of this process that are durable in the stream."),
        .syncs = metrics_counter(m, "carat_stream_syncs_total", labels, "Groups of records made durable."),
        .busy = metrics_counter(m, "carat_stream_busy_total", labels,
                                "Appends refused because the buffer was full."),
        .quarantined_bytes = metrics_counter(m, "carat_stream_quarantined_bytes_total", labels,
                                             "Bytes of damaged records that readers skipped."),
        .buffered_bytes = metrics_gauge(m, "carat_stream_buffered_bytes", labels,
                                        "Bytes taken by the stream and not yet durable."),
        .failed = metrics_gauge(m, "carat_stream_failed", labels,
                                "1 after a failed write or sync: nothing is acknowledged any more."),
        .sync_seconds =
            metrics_histogram(m, "carat_stream_sync_seconds", labels, "Time of one sync of the log."),
    };
}

static struct log_lane *lane_new(struct stream_log *log, unsigned index)
{
    struct log_lane *l = xmalloc(sizeof *l);
    *l = (struct log_lane){.log = log, .index = index, .retired = index >= log->base.partitions};
    char dir[LOG_PATH_MAX];
    snprintf(dir, sizeof dir, "%s/p%02u", log->o.dir, index);
    l->dir = xstrdup(dir);
    l->last_ms = INT64_MIN;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->work, &attr);
    pthread_cond_init(&l->space, &attr);
    pthread_cond_init(&l->readable, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&l->mu, NULL);
    pthread_mutex_init(&l->checkpoint_mu, NULL);
    if (log->o.metrics)
        metrics_begin(l, log->o.metrics);
    return l;
}

static int find_lane(void *ctx, const char *name)
{
    unsigned *lanes = ctx, index;
    int used = 0;
    if (strlen(name) == 3 && sscanf(name, "p%2u%n", &index, &used) == 1 && used == 3 &&
        index < LOG_LANES_MAX && index >= *lanes)
        *lanes = index + 1;
    return 0;
}

/* The stream's own directory must not vanish either. */
static int sync_parent(struct stream_log *log, struct err *err)
{
    const char *slash = strrchr(log->o.dir, '/');
    if (slash == log->o.dir)
        return fs_sync_dir(log->o.fs, "/", err);
    char *parent = slash ? xstrndup(log->o.dir, (size_t)(slash - log->o.dir)) : xstrdup(".");
    int rc = fs_sync_dir(log->o.fs, parent, err);
    free(parent);
    return rc;
}

/* Finds and recovers the lanes; what was made is in log->base.lanes also when it fails. */
static int open_lanes(struct stream_log *log, struct err *err)
{
    struct fs *fs = log->o.fs;
    unsigned lanes = log->base.partitions;
    int rc = fs_mkdir(fs, log->o.dir, err);
    if (rc == OK)
        rc = sync_parent(log, err);
    if (rc == OK)
        rc = fs_list(fs, log->o.dir, find_lane, &lanes, err);
    for (unsigned i = 0; rc == OK && i < lanes; i++) {
        struct log_lane *l = log->lanes[i] = lane_new(log, i);
        log->base.lanes = i + 1;
        rc = fs_mkdir(fs, l->dir, err);
        if (rc == OK)
            rc = log_lane_recover(l, err);
        if (rc == OK)
            rc = log_checkpoint_load(l, err);
    }
    return rc < 0 ? rc : fs_sync_dir(fs, log->o.dir, err);
}

/* Lanes of an earlier partition count with nothing left in them are not shown. Their directories stay: the
 * checkpoint in them still says which positions were given. */
static void hide_empty_lanes(struct stream_log *log)
{
    struct stream *s = &log->base;
    while (s->lanes > s->partitions && log->lanes[s->lanes - 1]->segments_n == 0)
        lane_free(log->lanes[--s->lanes]);
}

static uint64_t first_position(const struct stream_log *log)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < log->base.lanes; i++) {
        const struct log_lane *l = log->lanes[i];
        seen = l->last_pos > seen ? l->last_pos : seen;
        seen = l->checkpoint > seen ? l->checkpoint : seen;
    }
    return seen ? seen + LOG_POS_LEAP : 1;
}

static int start_threads(struct stream_log *log, struct err *err)
{
    for (unsigned i = 0; i < log->base.partitions; i++) {
        struct log_lane *l = log->lanes[i];
        int rc = pthread_create(&l->thread, NULL, log_writer_main, l);
        if (rc)
            return err_sys(err, ERR_IO, rc, "start the commit thread of partition %u", i);
        l->thread_runs = true;
    }
    return OK;
}

static size_t clamp(size_t v, size_t low, size_t high)
{
    return v < low ? low : v > high ? high : v;
}

static struct stream_log *log_new(const struct stream_log_options *o)
{
    static const struct stream_ops ops = {.name = "log",
                                          .append = log_append,
                                          .wait_space = log_wait_space,
                                          .reader_open = log_reader_open,
                                          .synced_pos = log_synced_pos,
                                          .checkpoint = log_checkpoint_set,
                                          .checkpoint_get = log_checkpoint_get,
                                          .hold = log_hold,
                                          .release = log_release,
                                          .files = log_copy_files,
                                          .get_stats = log_get_stats,
                                          .close = log_close,
                                          .free = log_free};
    struct stream_log *log = xcalloc(1, sizeof *log);
    log->o = *o;
    log->o.dir = xstrdup(o->dir);
    size_t segment = o->segment_bytes ? o->segment_bytes : 64u << 20;
    log->o.segment_bytes = log_block_up(segment < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : segment);
    log->o.buffer_bytes = o->buffer_bytes ? clamp(o->buffer_bytes, BUFFER_BYTES_MIN, SIZE_MAX) : 32u << 20;
    log->o.tail_bytes = o->tail_bytes ? o->tail_bytes : 32u << 20;
    log->o.keep_ms = o->keep_ms ? o->keep_ms : 24ll * 3600 * 1000;
    log->chunk_bytes = log_block_up(clamp(log->o.tail_bytes / 8, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX));
    size_t largest = log->o.buffer_bytes < log->o.segment_bytes ? log->o.buffer_bytes : log->o.segment_bytes;
    log->base = (struct stream){
        .ops = &ops, .partitions = o->partitions, .max_payload = clamp(largest / 4, 1, LOG_MAX_PAYLOAD)};
    return log;
}

int stream_log_open(const struct stream_log_options *o, struct stream **out, struct err *err)
{
    assert(o->dir && o->fs && o->clock);
    if (o->partitions < 1 || o->partitions > LOG_LANES_MAX)
        return err_set(err, ERR_INVALID, "the stream takes 1 to %d partitions, not %u", LOG_LANES_MAX,
                       o->partitions);
    struct stream_log *log = log_new(o);
    int rc = open_lanes(log, err);
    if (rc == OK) {
        atomic_store(&log->next_pos, first_position(log));
        hide_empty_lanes(log);
        rc = start_threads(log, err);
    }
    if (rc < 0) {
        log_free(&log->base);
        return rc;
    }
    *out = &log->base;
    return OK;
}

unsigned stream_log_lanes(struct stream *s)
{
    return s->lanes;
}
