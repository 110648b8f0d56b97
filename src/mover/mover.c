#include "mover/mover.h"

#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"
#include "model/window.h"
#include "warm/warm_key.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_MS              86400000ll
#define AFTER_MS_DEFAULT    (30 * DAY_MS)
#define INTERVAL_MS_DEFAULT 600000
#define SLICE_BYTES_DEFAULT (32u << 20)
#define COMPACT_LEAST       8
#define REMOVE_PARTS        512
#define BUSY_TRIES          40
#define BUSY_WAIT_MS        250
#define PAUSE_BYTES         (256u << 10) /* a pause is not worth making for less */

/* The parts as they were copied; data is an offset into `bytes` until they are removed. */
struct slice {
    struct part *parts;
    size_t n, cap;
    struct buf bytes;
    struct cold_add *add; /* NULL: none is open */
};

struct mover {
    struct mover_options o;
    pthread_t thread;
    bool started;
    pthread_mutex_t round; /* held during one */
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    bool stopping; /* under mtx */
    struct log_limit error_log;
    /* owned by whoever runs the round */
    uint32_t step_ms;
    struct slice slice;
    uint64_t unpaused; /* bytes since the last pause */
    struct err failure;
    _Atomic uint64_t rounds, errors, moved_parts, moved_bytes, moved_slices, removed_parts, merged_packs;
    struct {
        struct counter *rounds, *errors, *moved_parts, *moved_bytes, *removed_parts, *merged_packs;
        struct gauge *busy;
    } metrics;
};

static void count(_Atomic uint64_t *own, struct counter *shared, uint64_t n)
{
    atomic_fetch_add_explicit(own, n, memory_order_relaxed);
    if (shared)
        counter_add(shared, n);
}

static void register_metrics(struct mover *m, struct metrics *r)
{
    m->metrics.rounds = metrics_counter(r, "carat_mover_rounds_total", NULL, "Rounds over all steps.");
    m->metrics.errors =
        metrics_counter(r, "carat_mover_errors_total", NULL, "Moves, merges and expiries that failed.");
    m->metrics.moved_parts =
        metrics_counter(r, "carat_mover_moved_parts_total", NULL, "Parts copied from warm to cold.");
    m->metrics.moved_bytes = metrics_counter(r, "carat_mover_moved_bytes_total", NULL,
                                             "Bytes of blocks copied from warm to cold.");
    m->metrics.removed_parts = metrics_counter(
        r, "carat_mover_removed_parts_total", NULL,
        "Parts removed from warm after they were in cold; those that changed meanwhile stay.");
    m->metrics.merged_packs =
        metrics_counter(r, "carat_mover_merged_packs_total", NULL, "Packs that went into a larger one.");
    m->metrics.busy = metrics_gauge(r, "carat_mover_busy", NULL, "1 during a round of the mover.");
}

struct mover *mover_new(const struct mover_options *o)
{
    assert(o->warm && o->cold && o->clock && o->steps);
    struct mover *m = xcalloc(1, sizeof *m);
    m->o = *o;
    m->o.after_ms = o->after_ms ? o->after_ms : AFTER_MS_DEFAULT;
    m->o.interval_ms = o->interval_ms ? o->interval_ms : INTERVAL_MS_DEFAULT;
    m->o.slice_bytes = o->slice_bytes ? o->slice_bytes : SLICE_BYTES_DEFAULT;
    m->o.compact_least = o->compact_least ? o->compact_least : COMPACT_LEAST;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->mtx, NULL);
    pthread_mutex_init(&m->round, NULL);
    if (o->metrics)
        register_metrics(m, o->metrics);
    return m;
}

/* --- pauses --- */

/* Sleeps; true if it is time to stop. */
static bool pause_ms(struct mover *m, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&m->mtx);
    int rc = 0;
    while (!m->stopping && ms > 0 && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&m->wake, &m->mtx, &until);
    bool stop = m->stopping;
    pthread_mutex_unlock(&m->mtx);
    return stop;
}

/* After so many bytes of work; true if it is time to stop. */
static bool pause_for(struct mover *m, uint64_t bytes)
{
    m->unpaused += bytes;
    if (!m->o.bytes_per_s || m->unpaused < PAUSE_BYTES)
        return pause_ms(m, 0);
    int64_t ms = (int64_t)(m->unpaused * 1000 / m->o.bytes_per_s);
    m->unpaused = 0;
    return pause_ms(m, ms);
}

static int pause_merge(void *ctx, uint64_t bytes)
{
    return pause_for(ctx, bytes);
}

/* --- one slice --- */

static void slice_clear(struct slice *s)
{
    if (s->add)
        cold_add_abort(s->add);
    s->add = NULL;
    s->n = 0;
    buf_clear(&s->bytes);
}

static void slice_note(struct slice *s, const struct part *p)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->parts = xrealloc(s->parts, s->cap * sizeof *s->parts);
    }
    s->parts[s->n] = *p;
    s->parts[s->n++].data = (const uint8_t *)(uintptr_t)s->bytes.len;
    buf_append(&s->bytes, p->data, p->size);
}

static int remove_some(struct mover *m, const struct part *parts, size_t n, struct err *err)
{
    size_t removed;
    int rc = warm_remove_if(m->o.warm, parts, n, &removed, err);
    for (int i = 0; rc == ERR_BUSY && i < BUSY_TRIES && !pause_ms(m, BUSY_WAIT_MS); i++)
        rc = warm_remove_if(m->o.warm, parts, n, &removed, err);
    KILL_POINT("move.removed");
    count(&m->removed_parts, m->metrics.removed_parts, removed);
    return rc;
}

static int remove_copied(struct mover *m, struct err *err)
{
    struct slice *s = &m->slice;
    int rc = OK;
    for (size_t i = 0; i < s->n; i++)
        s->parts[i].data = s->bytes.data + (uintptr_t)s->parts[i].data;
    for (size_t i = 0; i < s->n && rc == OK; i += REMOVE_PARTS)
        rc = remove_some(m, s->parts + i, s->n - i < REMOVE_PARTS ? s->n - i : REMOVE_PARTS, err);
    return rc;
}

/* Copy, verify, then release. Leaves the slice empty. */
static int move_slice(struct mover *m, struct err *err)
{
    struct slice *s = &m->slice;
    if (!s->n)
        return OK;
    KILL_POINT("move.copied");
    int rc = cold_add_commit(s->add, err);
    KILL_POINT("move.committed");
    s->add = NULL;
    if (rc == OK) {
        count(&m->moved_parts, m->metrics.moved_parts, s->n);
        count(&m->moved_bytes, m->metrics.moved_bytes, s->bytes.len);
        count(&m->moved_slices, NULL, 1);
        rc = remove_copied(m, err);
    }
    slice_clear(s);
    return rc;
}

/* --- one group --- */

/* A warm_part_fn. Slices end between series, so that a window's parts stay together. */
static int take_part(void *ctx, const struct part *p)
{
    struct mover *m = ctx;
    struct slice *s = &m->slice;
    int rc = OK;
    if (s->bytes.len >= m->o.slice_bytes && s->parts[s->n - 1].key.series != p->key.series) {
        uint64_t bytes = s->bytes.len;
        rc = move_slice(m, &m->failure);
        if (rc == OK && pause_for(m, bytes))
            rc = err_set(&m->failure, ERR_CLOSED, "mover: stopped");
    }
    if (rc == OK && !s->add)
        rc = cold_add_begin(m->o.cold, m->step_ms, &s->add, &m->failure);
    if (rc == OK)
        rc = cold_add_part(s->add, p, &m->failure);
    if (rc == OK)
        slice_note(s, p);
    return rc;
}

static int move_group(struct mover *m, int64_t group_ms, struct err *err)
{
    m->failure = (struct err)ERR_INIT;
    struct err why = ERR_INIT;
    int rc =
        warm_scan(m->o.warm, m->step_ms, group_ms, group_ms + warm_group_ms(m->step_ms), take_part, m, &why);
    if (m->failure.code == OK) { /* what is damaged in warm stays there; the rest goes */
        uint64_t bytes = m->slice.bytes.len;
        int moved = move_slice(m, &m->failure);
        if (moved == OK && pause_for(m, bytes))
            moved = err_set(&m->failure, ERR_CLOSED, "mover: stopped");
        if (moved == OK && rc < 0)
            m->failure = why;
    }
    slice_clear(&m->slice);
    return m->failure.code ? err_set(err, m->failure.code, "%s", m->failure.text) : OK;
}

static int first_window(void *ctx, const struct part *p)
{
    *(int64_t *)ctx = p->key.window_ms;
    return 1;
}

/* Start of the oldest group from *group_ms on, and before until_ms, that has something in warm. 0, or 1 if
 * there is none. */
static int find_group(struct mover *m, int64_t *group_ms, int64_t until_ms, struct err *err)
{
    int64_t window;
    int rc = warm_scan(m->o.warm, m->step_ms, *group_ms, until_ms, first_window, &window, err);
    if (rc <= 0)
        return rc < 0 && rc != ERR_CORRUPT ? rc : 1;
    *group_ms = floor_to(window, warm_group_ms(m->step_ms));
    return 0;
}

/* --- one step --- */

static void note(struct mover *m, struct err *first, int rc, const struct err *why, const char *what)
{
    if (rc >= 0 || rc == ERR_CLOSED) /* told to stop */
        return;
    count(&m->errors, m->metrics.errors, 1);
    if (log_allowed(&m->error_log, NULL))
        log_error("mover", what, "step_ms=%u status=%s why=\"%s\"", m->step_ms, status_name(rc), why->text);
    if (first->code == OK)
        *first = *why;
}

static int expire(struct mover *m, int64_t now_ms, struct err *err)
{
    int64_t keep = m->o.keep_ms ? m->o.keep_ms(m->o.ctx, m->step_ms) : 0;
    if (keep <= 0)
        return OK;
    KILL_POINT("expire.begun");
    int rc = warm_expire(m->o.warm, m->step_ms, now_ms - keep, err);
    if (rc < 0)
        return rc;
    KILL_POINT("expire.warm_done");
    rc = cold_expire(m->o.cold, m->step_ms, now_ms - keep, err);
    KILL_POINT("expire.cold_done");
    return rc;
}

static int move_step(struct mover *m, int64_t now_ms, struct err *err)
{
    size_t none;
    int rc = warm_remove_if(m->o.warm, NULL, 0, &none,
                            err); /* what cannot leave warm is not copied again and again */
    int64_t group = warm_group_ms(m->step_ms), until = floor_to(now_ms - m->o.after_ms, group), at = 0;
    struct err first = ERR_INIT;
    while (rc == OK && (rc = find_group(m, &at, until, err)) == 0) {
        struct err why = ERR_INIT;
        int one = move_group(m, at, &why);
        if (one < 0 && one != ERR_CORRUPT)
            return err_set(err, one, "%s", why.text);
        if (one < 0 && first.code == OK)
            first = why;
        at += group;
    }
    if (rc < 0)
        return rc;
    return first.code ? err_set(err, first.code, "%s", first.text) : OK;
}

static int compact(struct mover *m, struct err *err)
{
    size_t merged = 1;
    int rc = OK;
    while (rc == OK && merged) {
        rc = cold_compact(m->o.cold, m->step_ms, m->o.compact_least, pause_merge, m, &merged, err);
        count(&m->merged_packs, m->metrics.merged_packs, merged);
    }
    return rc;
}

static void step_round(struct mover *m, struct err *first)
{
    int64_t now = clock_wall_ms(m->o.clock);
    struct err why = ERR_INIT;
    note(m, first, expire(m, now, &why), &why, "expiry failed");
    note(m, first, move_step(m, now, &why), &why, "not moved to cold, trying again");
    if (!pause_ms(m, 0))
        note(m, first, compact(m, &why), &why, "packs not merged");
}

bool mover_try_hold(struct mover *m)
{
    return pthread_mutex_trylock(&m->round) == 0;
}

void mover_release(struct mover *m)
{
    pthread_mutex_unlock(&m->round);
}

static int round_of(struct mover *m, struct err *err)
{
    uint32_t steps[MOVER_STEPS_MAX];
    struct err first = ERR_INIT;
    size_t n = m->o.steps(m->o.ctx, steps, MOVER_STEPS_MAX);
    if (m->metrics.busy)
        gauge_set(m->metrics.busy, 1);
    if (m->o.before_round)
        m->o.before_round(m->o.ctx, pause_merge, m);
    for (size_t i = 0; i < n && !pause_ms(m, 0); i++) {
        m->step_ms = steps[i];
        step_round(m, &first);
    }
    if (m->metrics.busy)
        gauge_set(m->metrics.busy, 0);
    count(&m->rounds, m->metrics.rounds, 1);
    return first.code ? err_set(err, first.code, "%s", first.text) : OK;
}

int mover_round(struct mover *m, struct err *err)
{
    pthread_mutex_lock(&m->round);
    int rc = round_of(m, err);
    pthread_mutex_unlock(&m->round);
    return rc;
}

/* --- the thread --- */

static void *mover_main(void *arg)
{
    struct mover *m = arg;
    thread_name("carat-mover");
    thread_background();
    do
        (void)!mover_round(m, NULL); /* counted and logged there */
    while (!pause_ms(m, m->o.interval_ms));
    return NULL;
}

int mover_start(struct mover *m, struct err *err)
{
    assert(!m->started);
    int e = pthread_create(&m->thread, NULL, mover_main, m);
    if (e)
        return err_sys(err, ERR_IO, e, "cannot start the mover's thread");
    m->started = true;
    return OK;
}

void mover_stop(struct mover *m)
{
    pthread_mutex_lock(&m->mtx);
    m->stopping = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->mtx);
    if (m->started)
        pthread_join(m->thread, NULL);
    m->started = false;
}

void mover_free(struct mover *m)
{
    if (!m)
        return;
    assert(!m->started);
    slice_clear(&m->slice);
    free(m->slice.parts);
    buf_release(&m->slice.bytes);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->mtx);
    pthread_mutex_destroy(&m->round);
    free(m);
}

void mover_get_stats(struct mover *m, struct mover_stats *out)
{
    *out = (struct mover_stats){
        .rounds = atomic_load_explicit(&m->rounds, memory_order_relaxed),
        .errors = atomic_load_explicit(&m->errors, memory_order_relaxed),
        .moved_parts = atomic_load_explicit(&m->moved_parts, memory_order_relaxed),
        .moved_bytes = atomic_load_explicit(&m->moved_bytes, memory_order_relaxed),
        .moved_slices = atomic_load_explicit(&m->moved_slices, memory_order_relaxed),
        .removed_parts = atomic_load_explicit(&m->removed_parts, memory_order_relaxed),
        .merged_packs = atomic_load_explicit(&m->merged_packs, memory_order_relaxed),
    };
}
