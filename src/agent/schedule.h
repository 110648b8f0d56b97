/* When to post what: the sending behaviour of mackerel-agent as a pure object, driven by time and events.
 *
 *            push                     take one or two, wait                    posted
 *   minute --------> queue (360) -----------------------------> in flight -----------------> freed by the
 * caller ^                                            | failed
 *                      +---------- at the back ---------------------+--------> dropped after 60 failures
 *
 * How long it waits between taking and posting depends on what came before:
 *   the first post              not at all (after the initial wait of half the jitter)
 *   nothing else was queued     until `jitter_s` past the minute, not at all if that is over
 *   more was queued             30 s: a backlog drains at up to four minutes of points a minute
 *   the last post failed        60 s
 *   stopping                    1 s, the first post of it at once
 *
 * Failed batches go to the back, so batches do not leave in the order of time. The queue refuses the newest
 * when it is full, keeping room for the batches in flight.
 *
 * One thread. Times: mono_ms for waits, wall_ms only to find the second of the minute. */
#ifndef CARAT_AGENT_SCHEDULE_H
#define CARAT_AGENT_SCHEDULE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_QUEUE_MAX      360 /* minutes: six hours */
#define SCHEDULE_MERGE_MAX      2
#define SCHEDULE_BACKLOG_MS     30000
#define SCHEDULE_ERROR_MS       60000
#define SCHEDULE_STOPPING_MS    1000
#define SCHEDULE_FAILURES_MAX   60
#define SCHEDULE_QUICK_RETRY_MS 25000

/* One minute's points. */
struct post_batch {
    struct buf json; /* the elements of the array, without its brackets */
    size_t points;
    unsigned failures;
};
struct post_batch *post_batch_new(void);
void post_batch_free(struct post_batch *b);

enum schedule_state { SCHEDULE_FIRST, SCHEDULE_NORMAL, SCHEDULE_BACKLOG, SCHEDULE_ERROR, SCHEDULE_STOPPING };

struct schedule {
    unsigned jitter_s;
    enum schedule_state state;
    int64_t start_mono_ms; /* no post before */
    size_t head, n;
    struct post_batch *queue[SCHEDULE_QUEUE_MAX];
    size_t ntaken;
    struct post_batch *taken[SCHEDULE_MERGE_MAX];
    int64_t post_at_mono_ms; /* for what is taken */
    bool in_flight, retried;
};

/* The second of the minute at which this host posts: last byte of SHA-1(host id) mod 60. */
unsigned schedule_jitter_s(const char *host_id);

void schedule_init(struct schedule *s, unsigned jitter_s, int64_t mono_ms);
void schedule_release(struct schedule *s); /* frees what is still in it */

/* Takes the batch; false if the queue is full: it stays the caller's, and is lost. */
bool schedule_push(struct schedule *s, struct post_batch *b);
/* From now on everything is posted as soon as possible. */
void schedule_stop(struct schedule *s, int64_t mono_ms);

enum schedule_step {
    SCHEDULE_WAIT,    /* nothing to do before *until_mono_ms (INT64_MAX: before an event) */
    SCHEDULE_POST,    /* post s->taken[0..ntaken) as one and tell how it went */
    SCHEDULE_FINISHED /* stopping, and nothing is left */
};
/* Not while a post is in flight. */
enum schedule_step schedule_next(struct schedule *s, int64_t wall_ms, int64_t mono_ms,
                                 int64_t *until_mono_ms);

/* The post succeeded: s->taken is empty afterwards; the batches are freed. */
void schedule_posted(struct schedule *s);
/* It failed. True: post s->taken again at once (a network error that came quickly, for the first time).
 * Else the batches are queued again; *lost_points gets the points of those that failed too often. */
bool schedule_failed(struct schedule *s, bool network_error, int64_t took_ms, size_t *lost_points);

/* Batches queued or in flight, and their points. */
size_t schedule_length(const struct schedule *s);
size_t schedule_points(const struct schedule *s);

#endif
