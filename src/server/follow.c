#include "server/follow.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct follower {
    struct catalog *catalog;
    struct log_limit log_limit;
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    bool stopping;
    pthread_t thread;
};

/* True when stopping. */
static bool wait_a_second(struct follower *f)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&f->mtx);
    while (!f->stopping && pthread_cond_timedwait(&f->wake, &f->mtx, &until) != ETIMEDOUT)
        ;
    bool stopping = f->stopping;
    pthread_mutex_unlock(&f->mtx);
    return stopping;
}

static void *follower_main(void *ctx)
{
    struct follower *f = ctx;
    thread_name("carat-follow");
    while (!wait_a_second(f)) {
        struct err err = ERR_INIT;
        if (catalog_flush(f->catalog, &err) != OK && log_allowed(&f->log_limit, NULL))
            log_warn("catalog", "cannot follow, going on with what is known", "why=\"%s\"", err.text);
    }
    return NULL;
}

int follower_start(struct catalog *c, struct follower **out, struct err *err)
{
    struct follower *f = xcalloc(1, sizeof *f);
    pthread_condattr_t attr;
    f->catalog = c;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&f->mtx, NULL);
    int rc = pthread_create(&f->thread, NULL, follower_main, f);
    if (rc) {
        free(f);
        return err_sys(err, ERR_FAILED, rc, "start the thread that follows the catalog");
    }
    *out = f;
    return OK;
}

void follower_stop(struct follower *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->mtx);
    f->stopping = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->mtx);
    pthread_join(f->thread, NULL);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->mtx);
    free(f);
}
