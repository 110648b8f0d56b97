/* A stream that does what a test tells it: what appends answer, and when what was taken counts as durable.
 * It keeps all payloads. */
#ifndef CARAT_TESTS_GATE_STREAM_H
#define CARAT_TESTS_GATE_STREAM_H

#include "base/mem.h"
#include "stream/stream_impl.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GATE_RECORDS_MAX 4096

struct gate_record {
    unsigned partition;
    uint8_t *payload;
    size_t size;
    stream_done_fn done;
    void *ctx;
};

struct gate_stream {
    struct stream base;
    pthread_mutex_t mtx;
    /* shared, under mtx */
    size_t room;   /* appends taken before it says ERR_BUSY */
    uint64_t full; /* bit k: partition k says so, whatever the room */
    int answer;    /* what appends answer while there is room */
    bool instant;  /* durable before the append returns */
    size_t n, told;
    unsigned waits;
    struct gate_record record[GATE_RECORDS_MAX];
};

static bool gate_full(const struct gate_stream *g, unsigned partition)
{
    return g->room == 0 || g->n == GATE_RECORDS_MAX || g->full >> partition & 1;
}

static int gate_append(struct stream *s, unsigned partition, const void *payload, size_t size,
                       uint32_t points, stream_done_fn done, void *ctx, struct err *err)
{
    struct gate_stream *g = (struct gate_stream *)s;
    pthread_mutex_lock(&g->mtx);
    int rc = g->answer ? g->answer : gate_full(g, partition) ? ERR_BUSY : OK;
    bool instant = g->instant;
    if (rc == OK) {
        assert(size <= s->max_payload);
        struct gate_record *r = &g->record[g->n++];
        *r = (struct gate_record){partition, xmalloc(size), size, done, ctx};
        memcpy(r->payload, payload, size);
        g->room--;
        g->told += instant;
    }
    pthread_mutex_unlock(&g->mtx);
    if (rc == OK && instant && done)
        done(ctx, OK, g->n);
    return rc;
}

static int gate_wait_space(struct stream *s, unsigned partition, size_t size, int timeout_ms)
{
    struct gate_stream *g = (struct gate_stream *)s;
    pthread_mutex_lock(&g->mtx);
    bool room = !gate_full(g, partition);
    g->waits += timeout_ms > 0;
    pthread_mutex_unlock(&g->mtx);
    if (!room && timeout_ms > 0)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return room ? OK : ERR_TIMEOUT;
}

/* Tells the next n appends. */
static inline void gate_tell(struct gate_stream *g, size_t n, int status)
{
    for (; n > 0; n--) {
        pthread_mutex_lock(&g->mtx);
        assert(g->told < g->n);
        struct gate_record *r = &g->record[g->told++];
        pthread_mutex_unlock(&g->mtx);
        if (r->done)
            r->done(r->ctx, status, g->told);
    }
}

static inline struct gate_stream *gate_new(unsigned partitions, size_t max_payload)
{
    static const struct stream_ops ops = {
        .name = "gate", .append = gate_append, .wait_space = gate_wait_space};
    struct gate_stream *g = xcalloc(1, sizeof *g);
    g->base = (struct stream){&ops, partitions, partitions, max_payload};
    g->room = GATE_RECORDS_MAX;
    pthread_mutex_init(&g->mtx, NULL);
    return g;
}

static inline void gate_free(struct gate_stream *g)
{
    assert(g->told == g->n);
    for (size_t i = 0; i < g->n; i++)
        free(g->record[i].payload);
    pthread_mutex_destroy(&g->mtx);
    free(g);
}

#endif
