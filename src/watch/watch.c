#include "watch/watch.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"
#include "watch/own_series.h"
#include "watch/process.h"
#include "watch/stages.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct watch {
    struct watch_options o;
    char *node;
    struct own_series *own;
    struct stages *stages;
    struct sink_session *session;
    struct sample_batch batch;
    struct probe *probe; /* NULL: none */

    struct counter *lost, *failures[PROBE_STEPS], *far_failures[PROBE_STEPS];
    struct histogram *probe_seconds;
    _Atomic double last_seconds;
    struct gauge *probe_ok, *far_ok;
    struct log_limit log_limit;

    pthread_mutex_t mtx;
    pthread_cond_t wake; /* stopping */
    bool stopping;
    pthread_t looker, prober;
    bool looking, probing;
};

/* True when it is to stop. */
static bool sleep_until(struct watch *w, int64_t mono_ms)
{
    struct timespec t = {.tv_sec = mono_ms / 1000, .tv_nsec = mono_ms % 1000 * 1000000};
    pthread_mutex_lock(&w->mtx);
    while (!w->stopping && !pthread_cond_timedwait(&w->wake, &w->mtx, &t))
        ;
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->mtx);
    return stopping;
}

static int64_t now_ms(void)
{
    return clock_mono_ms(clock_system());
}

/* The metrics. */

static void on_stored(void *ctx, const struct sink_result *r)
{
    struct watch *w = ctx;
    uint64_t lost = r->status == OK ? 0 : 1;
    if (lost)
        counter_add(w->lost, lost);
    if (lost && log_allowed(&w->log_limit, NULL))
        log_warn("watch", "own metrics not stored", "why=\"%s\"", r->err.text);
}

static void look(struct watch *w)
{
    stages_look(w->stages, NULL);
    sample_batch_clear(&w->batch);
    own_series_collect(w->own, clock_wall_ms(w->o.clock), clock_mono_ms(w->o.clock), &w->batch);
    sink_submit(w->session, &w->batch, SINK_REFUSE, false, on_stored, w);
}

static void *looker_main(void *ctx)
{
    struct watch *w = ctx;
    thread_name("carat-watch");
    for (int64_t next = now_ms(); !sleep_until(w, next); next += w->o.interval_ms) {
        look(w);
        if (now_ms() > next + w->o.interval_ms)
            next = now_ms(); /* the machine slept: no hurry to make up for it */
    }
    return NULL;
}

/* The probe. */

static void probe_once(struct watch *w)
{
    struct probe_result r;
    struct err err = ERR_INIT;
    int rc = probe_near(w->probe, &r, &err);
    if (rc == ERR_CLOSED)
        return;
    gauge_set(w->probe_ok, rc == OK);
    if (rc == OK) {
        histogram_observe_us(w->probe_seconds, (uint64_t)(r.read_seconds * 1e6));
        atomic_store(&w->last_seconds, r.read_seconds);
        return;
    }
    counter_add(w->failures[r.step], 1);
    log_warn("watch", "probe failed", "step=%s why=\"%s\"", probe_step_name(r.step), err.text);
}

static void look_far(struct watch *w)
{
    enum probe_step worst;
    struct err err = ERR_INIT;
    int rc = probe_far(w->probe, w->o.far_days, w->o.nfar, &worst, &err);
    if (rc == ERR_CLOSED)
        return;
    gauge_set(w->far_ok, rc == OK);
    if (rc != OK) {
        counter_add(w->far_failures[worst], 1);
        log_warn("watch", "known points cannot be read back", "step=%s why=\"%s\"", probe_step_name(worst),
                 err.text);
    }
}

static void *prober_main(void *ctx)
{
    struct watch *w = ctx;
    thread_name("carat-probe");
    int64_t far_at = now_ms() + w->o.probe_interval_ms;
    for (int64_t next = now_ms(); !sleep_until(w, next);) {
        probe_once(w);
        if (w->o.nfar && now_ms() >= far_at) {
            look_far(w);
            far_at = now_ms() + w->o.far_interval_ms;
        }
        next += w->o.probe_interval_ms;
        if (now_ms() > next)
            next = now_ms() + w->o.probe_interval_ms;
    }
    return NULL;
}

/* Start and stop. */

static double last_seconds(void *ctx)
{
    struct watch *w = ctx;
    return atomic_load(&w->last_seconds);
}

static void ask_metrics(struct watch *w)
{
    struct metrics *m = w->o.metrics;
    w->lost = metrics_counter(m, "carat_watch_lost_total", NULL,
                              "Looks at the server's own metrics that could not be stored.");
    w->probe_seconds = metrics_histogram(m, "carat_probe_seconds", NULL,
                                         "Time from posting a point until it was read back.");
    w->probe_ok = metrics_gauge(m, "carat_probe_ok", NULL, "1 if the last probe came through.");
    w->far_ok = metrics_gauge(m, "carat_probe_far_ok", NULL,
                              "1 if the known old points were read back at the last look.");
    metrics_gauge_fn(m, "carat_probe_last_seconds", NULL, "Time of the last probe that came through.",
                     "gauge", last_seconds, w);
    for (int i = PROBE_OK + 1; i < PROBE_STEPS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "step=\"%s\"", probe_step_name((enum probe_step)i));
        w->failures[i] =
            metrics_counter(m, "carat_probe_failures_total", labels, "Probes that failed, by step.");
        w->far_failures[i] = metrics_counter(m, "carat_probe_far_failures_total", labels,
                                             "Looks at known old points that failed, by step.");
    }
    gauge_set(w->probe_ok, 1); /* until shown otherwise: a start is no failure */
    gauge_set(w->far_ok, 1);
}

static void init_waiting(struct watch *w)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->mtx, NULL);
}

static int start_threads(struct watch *w, struct err *err)
{
    int rc = pthread_create(&w->looker, NULL, looker_main, w);
    w->looking = rc == 0;
    if (rc == 0 && w->probe) {
        rc = pthread_create(&w->prober, NULL, prober_main, w);
        w->probing = rc == 0;
    }
    return rc ? err_sys(err, ERR_FAILED, rc, "start the threads that watch the server") : OK;
}

int watch_start(const struct watch_options *o, struct watch **out, struct err *err)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->o = *o;
    w->o.node = w->node = xstrdup(o->node);
    w->o.probe.clock = o->clock;
    w->o.probe.node = w->node;
    init_waiting(w);
    ask_metrics(w);
    process_metrics_register(o->metrics);
    w->stages = stages_new(o->metrics);
    w->own = own_series_new(o->metrics, w->node);
    w->session = sink_session_new(o->sink, "watch");
    int rc = o->probe_interval_ms ? probe_new(&w->o.probe, &w->probe, err) : OK;
    if (rc == OK)
        rc = start_threads(w, err);
    *out = w; /* also after a failure: what was submitted refers to it */
    return rc;
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mtx);
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mtx);
    if (w->probe)
        probe_stop(w->probe);
    if (w->probing)
        pthread_join(w->prober, NULL);
    if (w->looking)
        pthread_join(w->looker, NULL);
    w->probing = w->looking = false;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    watch_stop(w);
    probe_free(w->probe);
    sink_session_free(w->session);
    own_series_free(w->own);
    stages_free(w->stages);
    sample_batch_release(&w->batch);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mtx);
    free(w->node);
    free(w);
}
