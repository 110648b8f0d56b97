#include "server/scrub.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define FIRST_MAX_MS 3600000

struct scrub {
    struct scrub_options o;
    struct counter *rounds, *damaged, *repaired;
    pthread_t thread;
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    _Atomic bool stopping;
};

bool scrub_stopping(struct scrub *s)
{
    return atomic_load(&s->stopping);
}

static void run_round(struct scrub *s)
{
    struct verify_result r;
    struct err err = ERR_INIT;
    int rc = s->o.round(s, s->o.ctx, &r, &err);
    counter_add(s->rounds, rc == OK);
    counter_add(s->damaged, r.damaged);
    counter_add(s->repaired, r.repaired);
    if (rc != OK && !scrub_stopping(s))
        log_warn("scrub", "round not finished", "why=\"%s\"", err.text);
    else if (rc == OK && r.damaged > r.repaired)
        log_error("scrub", "round finished: something is damaged", "damaged=%llu repaired=%llu bytes=%llu",
                  (unsigned long long)r.damaged, (unsigned long long)r.repaired, (unsigned long long)r.bytes);
    else if (rc == OK)
        log_info("scrub", "round finished", "damaged=%llu repaired=%llu bytes=%llu",
                 (unsigned long long)r.damaged, (unsigned long long)r.repaired, (unsigned long long)r.bytes);
    verify_result_release(&r);
}

static void sleep_until(struct scrub *s, int64_t mono_ms)
{
    struct timespec until = {mono_ms / 1000, mono_ms % 1000 * 1000000};
    pthread_mutex_lock(&s->mtx);
    while (!scrub_stopping(s) && pthread_cond_timedwait(&s->wake, &s->mtx, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&s->mtx);
}

static void *scrub_main(void *arg)
{
    struct scrub *s = arg;
    int64_t first = s->o.interval_ms / 10;
    int64_t next = clock_mono_ms(clock_system()) + (first < FIRST_MAX_MS ? first : FIRST_MAX_MS);
    thread_name("carat-scrub");
    for (;;) {
        sleep_until(s, next);
        if (scrub_stopping(s))
            return NULL;
        next = clock_mono_ms(clock_system()) + s->o.interval_ms;
        run_round(s);
    }
}

static void release(struct scrub *s)
{
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mtx);
    free(s);
}

int scrub_start(const struct scrub_options *o, struct scrub **out, struct err *err)
{
    struct scrub *s = xcalloc(1, sizeof *s);
    s->o = *o;
    s->rounds =
        metrics_counter(o->metrics, "carat_scrub_rounds_total", NULL, "Finished rounds of the scrub.");
    s->damaged =
        metrics_counter(o->metrics, "carat_scrub_damaged_total", NULL, "Damaged items the scrub found.");
    s->repaired = metrics_counter(o->metrics, "carat_scrub_repaired_total", NULL,
                                  "Damaged windows the scrub made again from the stream.");
    pthread_mutex_init(&s->mtx, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&s->thread, NULL, scrub_main, s);
    if (rc) {
        release(s);
        return err_sys(err, ERR_FAILED, rc, "start the scrub");
    }
    *out = s;
    return OK;
}

void scrub_stop(struct scrub *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mtx);
    atomic_store(&s->stopping, true);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mtx);
    pthread_join(s->thread, NULL);
    release(s);
}
