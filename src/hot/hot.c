#include "hot/hot_impl.h"

#include <assert.h>
#include <stdlib.h>

int hot_begin(struct hot *h, unsigned partition, uint64_t checkpoint, struct err *err)
{
    return h->ops->begin ? h->ops->begin(h, partition, checkpoint, err) : OK;
}

void hot_leave(struct hot *h, unsigned partition)
{
    if (h->ops->leave)
        h->ops->leave(h, partition);
}

bool hot_lost(struct hot *h, unsigned partition)
{
    return h->ops->lost && h->ops->lost(h, partition);
}

int hot_again(struct hot *h, unsigned partition, uint64_t checkpoint, uint64_t *from, struct err *err)
{
    *from = UINT64_MAX;
    return h->ops->again ? h->ops->again(h, partition, checkpoint, from, err) : OK;
}

int hot_apply(struct hot *h, unsigned partition, uint64_t pos, const struct hot_point *points, size_t n,
              struct err *err)
{
    return n ? h->ops->apply(h, partition, pos, points, n, err) : OK;
}

int hot_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
             hot_window_fn fn, void *ctx, struct err *err)
{
    return from_ms < until_ms ? h->ops->read(h, series, step_ms, from_ms, until_ms, fn, ctx, err) : OK;
}

int hot_take(struct hot *h, unsigned partition, const struct hot_due *due, uint32_t *cursor, size_t budget,
             struct hot_taken *out, struct err *err)
{
    assert(budget > 0);
    out->n = 0;
    buf_clear(&out->blocks);
    return h->ops->take(h, partition, due, cursor, budget, out, err);
}

int hot_release(struct hot *h, unsigned partition, const struct hot_taken *t, size_t *released,
                struct err *err)
{
    size_t n = 0;
    int rc = t->n ? h->ops->release(h, partition, t, &n, err) : OK;
    if (released)
        *released = n;
    return rc;
}

int hot_erase(struct hot *h, unsigned partition, uint32_t series, int64_t from_ms, int64_t until_ms,
              struct err *err)
{
    if (!h->ops->erase)
        return err_set(err, ERR_UNSUPPORTED, "a hot tier of kind %s cannot take points out", h->ops->name);
    return from_ms < until_ms ? h->ops->erase(h, partition, series, from_ms, until_ms, err) : OK;
}

bool hot_can_erase(const struct hot *h)
{
    return h->ops->erase;
}

int hot_oldest(struct hot *h, unsigned partition, uint64_t *lo, struct err *err)
{
    return h->ops->oldest(h, partition, lo, err);
}

void hot_get_stats(struct hot *h, struct hot_stats *out)
{
    h->ops->get_stats(h, out);
}

void hot_free(struct hot *h)
{
    if (h)
        h->ops->free(h);
}

void hot_taken_release(struct hot_taken *t)
{
    free(t->parts);
    free(t->tokens);
    buf_release(&t->blocks);
    *t = (struct hot_taken)HOT_TAKEN_INIT;
}
