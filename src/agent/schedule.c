#include "agent/schedule.h"

#include "base/mem.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

struct post_batch *post_batch_new(void)
{
    return xcalloc(1, sizeof(struct post_batch));
}

void post_batch_free(struct post_batch *b)
{
    buf_release(&b->json);
    free(b);
}

unsigned schedule_jitter_s(const char *host_id)
{
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)host_id, strlen(host_id), digest);
    return digest[SHA_DIGEST_LENGTH - 1] % 60;
}

void schedule_init(struct schedule *s, unsigned jitter_s, int64_t mono_ms)
{
    memset(s, 0, sizeof *s);
    s->jitter_s = jitter_s;
    s->start_mono_ms = mono_ms + jitter_s / 2 * 1000;
}

static struct post_batch *pop(struct schedule *s)
{
    struct post_batch *b = s->queue[s->head];
    s->head = (s->head + 1) % SCHEDULE_QUEUE_MAX;
    s->n--;
    return b;
}

static void push(struct schedule *s, struct post_batch *b)
{
    assert(s->n < SCHEDULE_QUEUE_MAX);
    s->queue[(s->head + s->n++) % SCHEDULE_QUEUE_MAX] = b;
}

static void free_taken(struct schedule *s)
{
    while (s->ntaken)
        post_batch_free(s->taken[--s->ntaken]);
}

void schedule_release(struct schedule *s)
{
    free_taken(s);
    while (s->n)
        post_batch_free(pop(s));
}

bool schedule_push(struct schedule *s, struct post_batch *b)
{
    if (s->n + s->ntaken >= SCHEDULE_QUEUE_MAX)
        return false;
    push(s, b);
    return true;
}

void schedule_stop(struct schedule *s, int64_t mono_ms)
{
    s->state = SCHEDULE_STOPPING;
    s->start_mono_ms = mono_ms;
    s->post_at_mono_ms = mono_ms;
}

static int64_t delay_ms(const struct schedule *s, int64_t wall_ms)
{
    int64_t into_minute = wall_ms % 60000;
    switch (s->state) {
    case SCHEDULE_FIRST:
        return 0;
    case SCHEDULE_BACKLOG:
        return SCHEDULE_BACKLOG_MS;
    case SCHEDULE_ERROR:
        return SCHEDULE_ERROR_MS;
    case SCHEDULE_NORMAL:
    case SCHEDULE_STOPPING: /* take() sees to it */
        break;
    }
    return s->jitter_s * 1000 > into_minute ? s->jitter_s * 1000 - into_minute : 0;
}

static void take(struct schedule *s, int64_t wall_ms, int64_t mono_ms)
{
    while (s->n && s->ntaken < SCHEDULE_MERGE_MAX)
        s->taken[s->ntaken++] = pop(s);
    s->retried = false;
    if (s->state == SCHEDULE_STOPPING) {
        int64_t at = s->post_at_mono_ms; /* of the post before, or the moment of schedule_stop */
        s->post_at_mono_ms = at > mono_ms ? at : mono_ms;
        return;
    }
    s->post_at_mono_ms = mono_ms + delay_ms(s, wall_ms);
    s->state = s->n ? SCHEDULE_BACKLOG : SCHEDULE_NORMAL;
}

enum schedule_step schedule_next(struct schedule *s, int64_t wall_ms, int64_t mono_ms, int64_t *until_mono_ms)
{
    assert(!s->in_flight);
    *until_mono_ms = INT64_MAX;
    if (!s->ntaken && !s->n)
        return s->state == SCHEDULE_STOPPING ? SCHEDULE_FINISHED : SCHEDULE_WAIT;
    if (mono_ms < s->start_mono_ms) {
        *until_mono_ms = s->start_mono_ms;
        return SCHEDULE_WAIT;
    }
    if (!s->ntaken)
        take(s, wall_ms, mono_ms);
    if (mono_ms < s->post_at_mono_ms) {
        *until_mono_ms = s->post_at_mono_ms;
        return SCHEDULE_WAIT;
    }
    s->in_flight = true;
    s->post_at_mono_ms = mono_ms + SCHEDULE_STOPPING_MS; /* the next one, should we be stopping */
    return SCHEDULE_POST;
}

void schedule_posted(struct schedule *s)
{
    assert(s->in_flight);
    s->in_flight = false;
    free_taken(s);
}

bool schedule_failed(struct schedule *s, bool network_error, int64_t took_ms, size_t *lost_points)
{
    assert(s->in_flight);
    *lost_points = 0;
    if (network_error && took_ms < SCHEDULE_QUICK_RETRY_MS && !s->retried) {
        s->retried = true;
        return true;
    }
    s->in_flight = false;
    if (s->state != SCHEDULE_STOPPING)
        s->state = SCHEDULE_ERROR;
    for (size_t i = 0; i < s->ntaken; i++) {
        struct post_batch *b = s->taken[i];
        if (++b->failures < SCHEDULE_FAILURES_MAX) {
            push(s, b);
            continue;
        }
        *lost_points += b->points;
        post_batch_free(b);
    }
    s->ntaken = 0;
    return false;
}

size_t schedule_length(const struct schedule *s)
{
    return s->n + s->ntaken;
}

size_t schedule_points(const struct schedule *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->queue[(s->head + i) % SCHEDULE_QUEUE_MAX]->points;
    for (size_t i = 0; i < s->ntaken; i++)
        n += s->taken[i]->points;
    return n;
}
