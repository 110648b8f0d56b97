#include "base/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* On the stack of the thread that runs it. */
struct job {
    struct job *next;
    void (*fn)(void *ctx);
    void *ctx;
    unsigned wanted, running; /* helpers it would still take, helpers it has */
};

struct pool {
    pthread_t *threads;
    unsigned n;
    /* shared, under mtx */
    pthread_mutex_t mtx;
    pthread_cond_t work, done;
    struct job *jobs; /* those that want helpers */
    bool stopping;
};

static void unlink_job(struct pool *p, struct job *j)
{
    struct job **at = &p->jobs;
    while (*at && *at != j)
        at = &(*at)->next;
    if (*at)
        *at = j->next;
}

static void *help(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->mtx);
    for (;;) {
        while (!p->jobs && !p->stopping)
            pthread_cond_wait(&p->work, &p->mtx);
        struct job *j = p->jobs;
        if (!j)
            break;
        j->running++;
        if (--j->wanted == 0)
            unlink_job(p, j);
        pthread_mutex_unlock(&p->mtx);
        j->fn(j->ctx);
        pthread_mutex_lock(&p->mtx);
        if (--j->running == 0)
            pthread_cond_broadcast(&p->done);
    }
    pthread_mutex_unlock(&p->mtx);
    return NULL;
}

void pool_run(struct pool *p, unsigned most, void (*fn)(void *ctx), void *ctx)
{
    if (!p || !p->n || !most) {
        fn(ctx);
        return;
    }
    struct job j = {.fn = fn, .ctx = ctx, .wanted = most < p->n ? most : p->n};
    pthread_mutex_lock(&p->mtx);
    j.next = p->jobs;
    p->jobs = &j;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mtx);
    fn(ctx);
    pthread_mutex_lock(&p->mtx);
    unlink_job(p, &j);
    while (j.running)
        pthread_cond_wait(&p->done, &p->mtx);
    pthread_mutex_unlock(&p->mtx);
}

int pool_new(unsigned helpers, const char *thread_name, struct pool **out, struct err *err)
{
    struct pool *p = xcalloc(1, sizeof *p);
    pthread_mutex_init(&p->mtx, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->threads = xcalloc(helpers ? helpers : 1, sizeof *p->threads);
    for (; p->n < helpers; p->n++) {
        int errnum = pthread_create(&p->threads[p->n], NULL, help, p);
        if (errnum) {
            pool_free(p);
            return err_sys(err, ERR_FAILED, errnum, "cannot start a helper thread");
        }
        pthread_setname_np(p->threads[p->n], thread_name);
    }
    *out = p;
    return OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mtx);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mtx);
    for (unsigned i = 0; i < p->n; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->mtx);
    free(p->threads);
    free(p);
}
