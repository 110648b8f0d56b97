#include "stream/stream_mem.h"

#include "base/mem.h"
#include "stream/stream_impl.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAYLOAD (4u << 20)

struct mem_record {
    uint64_t pos;
    int64_t appended_ms;
    size_t size;
    uint32_t points;
    stream_done_fn done;
    void *ctx;
    uint8_t *payload;
};

struct mem_lane {
    struct mem_record *v;
    size_t n, cap, synced_n;
    size_t buffered_bytes;
    uint64_t checkpoint;
    int64_t last_ms;
};

struct stream_mem {
    struct stream base;
    size_t buffer_bytes;
    struct clock *clock;
    pthread_t disk;
    bool disk_runs;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    /* shared, under mu */
    struct mem_lane *lanes;
    uint64_t next_pos;
    bool closing, closed;
    struct stream_stats stats;
};

struct mem_reader {
    struct stream_reader base;
    struct stream_mem *s;
    unsigned partition;
    size_t next;
};

static struct stream_mem *down(struct stream *s)
{
    return container_of(s, struct stream_mem, base);
}

static void deadline(struct timespec *t, int timeout_ms)
{
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_sec += timeout_ms / 1000;
    t->tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t->tv_nsec >= 1000000000) {
        t->tv_sec++;
        t->tv_nsec -= 1000000000;
    }
}

static bool has_room(const struct stream_mem *m, const struct mem_lane *l, size_t size)
{
    return l->buffered_bytes == 0 || l->buffered_bytes + size <= m->buffer_bytes;
}

static void lane_push(struct mem_lane *l, const struct mem_record *r)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = *r;
}

static int mem_append(struct stream *s, unsigned partition, const void *payload, size_t size, uint32_t points,
                      stream_done_fn done, void *ctx, struct err *err)
{
    struct stream_mem *m = down(s);
    struct mem_lane *l = &m->lanes[partition];
    int64_t now = clock_wall_ms(m->clock);
    int rc = OK;
    pthread_mutex_lock(&m->mu);
    if (m->closing) {
        rc = err_set(err, ERR_CLOSED, "the stream is closing");
    } else if (!has_room(m, l, size)) {
        rc = err_set(err, ERR_BUSY, "partition %u is full", partition);
    } else {
        l->last_ms = now > l->last_ms ? now : l->last_ms;
        struct mem_record r = {.pos = m->next_pos++,
                               .appended_ms = l->last_ms,
                               .size = size,
                               .points = points,
                               .done = done,
                               .ctx = ctx,
                               .payload = xmalloc(size)};
        memcpy(r.payload, payload, size);
        lane_push(l, &r);
        l->buffered_bytes += size;
        m->stats.appended_records++;
        m->stats.appended_bytes += size;
        m->stats.appended_points += points;
        m->stats.last_pos = r.pos;
        pthread_cond_broadcast(&m->changed);
    }
    pthread_mutex_unlock(&m->mu);
    return rc;
}

static int mem_wait_space(struct stream *s, unsigned partition, size_t size, int timeout_ms)
{
    struct stream_mem *m = down(s);
    struct timespec until;
    deadline(&until, timeout_ms);
    int rc = OK;
    pthread_mutex_lock(&m->mu);
    while (rc == OK && !m->closing && !has_room(m, &m->lanes[partition], size))
        if (pthread_cond_timedwait(&m->changed, &m->mu, &until) != 0)
            rc = ERR_TIMEOUT;
    pthread_mutex_unlock(&m->mu);
    return rc;
}

/* Under mu, which is given up around the callbacks: "syncs" what a lane holds. True if there was something.
 */
static bool sync_lane(struct stream_mem *m, struct mem_lane *l)
{
    size_t from = l->synced_n, to = l->n;
    if (from == to)
        return false;
    struct mem_record *group = xmalloc((to - from) * sizeof *group);
    memcpy(group, l->v + from, (to - from) * sizeof *group);
    l->synced_n = to;
    l->buffered_bytes = 0;
    m->stats.syncs++;
    m->stats.synced_records += to - from;
    for (size_t i = 0; i < to - from; i++)
        m->stats.synced_points += group[i].points;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->mu);
    for (size_t i = 0; i < to - from; i++)
        if (group[i].done)
            group[i].done(group[i].ctx, OK, group[i].pos);
    free(group);
    pthread_mutex_lock(&m->mu);
    return true;
}

static void *disk_main(void *ctx)
{
    struct stream_mem *m = ctx;
    pthread_mutex_lock(&m->mu);
    for (;;) {
        bool any = false;
        for (unsigned i = 0; i < m->base.partitions; i++)
            any |= sync_lane(m, &m->lanes[i]);
        if (!any && m->closing)
            break;
        if (!any)
            pthread_cond_wait(&m->changed, &m->mu);
    }
    m->closed = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->mu);
    return NULL;
}

static int mem_reader_next(struct stream_reader *base, struct stream_record *rec, int timeout_ms,
                           struct err *err)
{
    struct mem_reader *r = container_of(base, struct mem_reader, base);
    struct stream_mem *m = r->s;
    struct mem_lane *l = &m->lanes[r->partition];
    struct timespec until;
    deadline(&until, timeout_ms);
    int rc = OK;
    pthread_mutex_lock(&m->mu);
    while (rc == OK && r->next >= l->synced_n)
        if (m->closed)
            rc = err_set(err, ERR_CLOSED, "the stream is closed");
        else if (timeout_ms == 0 || pthread_cond_timedwait(&m->changed, &m->mu, &until) != 0)
            rc = 1;
    if (rc == OK) {
        const struct mem_record *from = &l->v[r->next++];
        *rec = (struct stream_record){
            .pos = from->pos, .appended_ms = from->appended_ms, .payload = from->payload, .size = from->size};
    }
    pthread_mutex_unlock(&m->mu);
    return rc;
}

static void mem_reader_close(struct stream_reader *base)
{
    free(container_of(base, struct mem_reader, base));
}

static bool before_start(const struct mem_record *r, const struct stream_start *start)
{
    switch (start->from) {
    case STREAM_OLDEST:
        return false;
    case STREAM_POSITION:
        return r->pos <= start->from_pos;
    case STREAM_TIME:
        return r->appended_ms < start->from_ms;
    case STREAM_LATEST:
        return true;
    }
    return false;
}

static int mem_reader_open(struct stream *s, unsigned partition, struct stream_start start,
                           struct stream_reader **out, struct err *err)
{
    static const struct stream_reader_ops ops = {mem_reader_next, mem_reader_close};
    struct stream_mem *m = down(s);
    struct mem_reader *r = xmalloc(sizeof *r);
    *r = (struct mem_reader){.base = {&ops}, .s = m, .partition = partition};
    pthread_mutex_lock(&m->mu);
    const struct mem_lane *l = &m->lanes[partition];
    while (r->next < l->n && before_start(&l->v[r->next], &start))
        r->next++;
    pthread_mutex_unlock(&m->mu);
    *out = &r->base;
    return OK;
}

static uint64_t mem_synced_pos(struct stream *s, unsigned partition)
{
    struct stream_mem *m = down(s);
    pthread_mutex_lock(&m->mu);
    const struct mem_lane *l = &m->lanes[partition];
    uint64_t pos = l->synced_n ? l->v[l->synced_n - 1].pos : 0;
    pthread_mutex_unlock(&m->mu);
    return pos;
}

static int mem_checkpoint(struct stream *s, unsigned partition, uint64_t pos, struct err *err)
{
    struct stream_mem *m = down(s);
    int rc = OK;
    pthread_mutex_lock(&m->mu);
    if (pos >= m->next_pos)
        rc = err_set(err, ERR_INVALID, "checkpoint %llu of partition %u lies in the future",
                     (unsigned long long)pos, partition);
    else if (pos > m->lanes[partition].checkpoint)
        m->lanes[partition].checkpoint = pos;
    pthread_mutex_unlock(&m->mu);
    return rc;
}

static uint64_t mem_checkpoint_get(struct stream *s, unsigned partition)
{
    struct stream_mem *m = down(s);
    pthread_mutex_lock(&m->mu);
    uint64_t pos = m->lanes[partition].checkpoint;
    pthread_mutex_unlock(&m->mu);
    return pos;
}

static void mem_get_stats(struct stream *s, struct stream_stats *out)
{
    struct stream_mem *m = down(s);
    pthread_mutex_lock(&m->mu);
    *out = m->stats;
    for (unsigned i = 0; i < s->partitions; i++)
        out->buffered_bytes += m->lanes[i].buffered_bytes;
    out->stored_bytes = m->stats.appended_bytes;
    pthread_mutex_unlock(&m->mu);
}

static void mem_close(struct stream *s)
{
    struct stream_mem *m = down(s);
    pthread_mutex_lock(&m->mu);
    m->closing = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->mu);
    if (m->disk_runs)
        pthread_join(m->disk, NULL);
    m->disk_runs = false;
}

static void mem_free(struct stream *s)
{
    struct stream_mem *m = down(s);
    mem_close(s);
    for (unsigned i = 0; i < s->partitions; i++) {
        for (size_t k = 0; k < m->lanes[i].n; k++)
            free(m->lanes[i].v[k].payload);
        free(m->lanes[i].v);
    }
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->mu);
    free(m->lanes);
    free(m);
}

struct stream *stream_mem_new(unsigned partitions, size_t buffer_bytes, struct clock *clock)
{
    static const struct stream_ops ops = {.name = "mem",
                                          .append = mem_append,
                                          .wait_space = mem_wait_space,
                                          .reader_open = mem_reader_open,
                                          .synced_pos = mem_synced_pos,
                                          .checkpoint = mem_checkpoint,
                                          .checkpoint_get = mem_checkpoint_get,
                                          .get_stats = mem_get_stats,
                                          .close = mem_close,
                                          .free = mem_free};
    assert(partitions > 0);
    struct stream_mem *m = xcalloc(1, sizeof *m);
    m->base = (struct stream){
        .ops = &ops, .partitions = partitions, .lanes = partitions, .max_payload = MAX_PAYLOAD};
    if (buffer_bytes / 4 < MAX_PAYLOAD)
        m->base.max_payload = buffer_bytes / 4 ? buffer_bytes / 4 : 1;
    m->buffer_bytes = buffer_bytes;
    m->clock = clock;
    m->lanes = xcalloc(partitions, sizeof *m->lanes);
    m->next_pos = 1;
    for (unsigned i = 0; i < partitions; i++)
        m->lanes[i].last_ms = INT64_MIN;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->mu, NULL);
    int rc = pthread_create(&m->disk, NULL, disk_main, m);
    assert(rc == 0);
    m->disk_runs = true;
    return &m->base;
}
