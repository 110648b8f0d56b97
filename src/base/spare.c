#include "base/spare.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define SPARE_MAX 128

struct spare {
    size_t max_bytes;
    pthread_mutex_t mtx;
    /* under mtx */
    struct buf v[SPARE_MAX];
    size_t n, bytes;
};

struct spare *spare_new(size_t max_bytes)
{
    struct spare *s = xcalloc(1, sizeof *s);
    s->max_bytes = max_bytes;
    pthread_mutex_init(&s->mtx, NULL);
    return s;
}

void spare_free(struct spare *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        buf_release(&s->v[i]);
    pthread_mutex_destroy(&s->mtx);
    free(s);
}

struct buf spare_take(struct spare *s)
{
    struct buf b = BUF_INIT;
    if (!s)
        return b;
    pthread_mutex_lock(&s->mtx);
    if (s->n) {
        b = s->v[--s->n];
        s->bytes -= b.cap;
    }
    pthread_mutex_unlock(&s->mtx);
    return b;
}

void spare_give(struct spare *s, struct buf *b)
{
    buf_clear(b);
    if (s) {
        pthread_mutex_lock(&s->mtx);
        if (s->n < SPARE_MAX && b->cap <= s->max_bytes - s->bytes) {
            s->v[s->n++] = *b;
            s->bytes += b->cap;
            *b = (struct buf)BUF_INIT;
        }
        pthread_mutex_unlock(&s->mtx);
    }
    buf_release(b);
}
