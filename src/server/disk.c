#include "server/disk.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct disk_watch {
    struct disk_watch_options o;
    struct gauge *free_bytes, *stopped_gauge;
    struct log_limit failed_log;
    _Atomic bool stopped; /* no points are taken */
    _Atomic uint64_t last_free;
    pthread_t thread;
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    bool ending; /* under mtx */
};

static void set_stopped(struct disk_watch *w, bool stopped, uint64_t free_bytes)
{
    if (stopped == atomic_exchange(&w->stopped, stopped))
        return;
    gauge_set(w->stopped_gauge, stopped);
    if (stopped)
        log_error("disk", "nearly full: no points are taken until space is freed",
                  "path=%s free_bytes=%llu disk.min_free=%llu", w->o.path, (unsigned long long)free_bytes,
                  (unsigned long long)w->o.min_free_bytes);
    else
        log_info("disk", "space again: points are taken", "path=%s free_bytes=%llu", w->o.path,
                 (unsigned long long)free_bytes);
}

void disk_watch_look(struct disk_watch *w)
{
    struct err err = ERR_INIT;
    uint64_t n, min = w->o.min_free_bytes;
    if (fs_free_bytes(w->o.fs, w->o.path, &n, &err) < 0) {
        if (log_allowed(&w->failed_log, NULL))
            log_warn("disk", "cannot tell how much space is free", "why=\"%s\"", err.text);
        return;
    }
    gauge_set(w->free_bytes, n > INT64_MAX ? INT64_MAX : (int64_t)n);
    atomic_store(&w->last_free, n);
    if (n < min)
        set_stopped(w, true, n);
    else if (n >= min && n - min >= min / 4)
        set_stopped(w, false, n);
}

int disk_accepting(void *watch, struct err *why)
{
    struct disk_watch *w = watch;
    if (!atomic_load_explicit(&w->stopped, memory_order_relaxed))
        return OK;
    return err_set(why, ERR_NO_SPACE,
                   "the server's disk is nearly full (%llu bytes are free, disk.min_free is %llu): no points "
                   "are taken, send them again later",
                   (unsigned long long)atomic_load(&w->last_free), (unsigned long long)w->o.min_free_bytes);
}

static void *watch_main(void *arg)
{
    struct disk_watch *w = arg;
    thread_name("carat-disk");
    pthread_mutex_lock(&w->mtx);
    while (!w->ending) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        if (pthread_cond_timedwait(&w->wake, &w->mtx, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&w->mtx);
        disk_watch_look(w);
        pthread_mutex_lock(&w->mtx);
    }
    pthread_mutex_unlock(&w->mtx);
    return NULL;
}

static void release(struct disk_watch *w)
{
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mtx);
    free((char *)w->o.path);
    free(w);
}

int disk_watch_start(const struct disk_watch_options *o, struct disk_watch **out, struct err *err)
{
    struct disk_watch *w = xcalloc(1, sizeof *w);
    w->o = *o;
    w->o.path = xstrdup(o->path);
    w->free_bytes = metrics_gauge(o->metrics, "carat_disk_free_bytes", NULL, "Space free in data.dir.");
    w->stopped_gauge = metrics_gauge(o->metrics, "carat_ingest_stopped", NULL,
                                     "1 while no points are taken because the disk is nearly full.");
    pthread_mutex_init(&w->mtx, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    disk_watch_look(w);
    int rc = pthread_create(&w->thread, NULL, watch_main, w);
    if (rc) {
        release(w);
        return err_sys(err, ERR_FAILED, rc, "start the disk watcher");
    }
    *out = w;
    return OK;
}

void disk_watch_stop(struct disk_watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mtx);
    w->ending = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mtx);
    pthread_join(w->thread, NULL);
    release(w);
}
