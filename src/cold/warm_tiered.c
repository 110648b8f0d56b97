#include "cold/warm_tiered.h"

#include "base/mem.h"
#include "warm/warm_impl.h"

#include <assert.h>
#include <stdlib.h>

#define COPY_BYTES (1u << 20) /* of warm's parts held while cold is read; one window more at most */

struct tiered {
    struct warm base;
    struct warm *warm;
    struct cold *cold;
};

static struct tiered *tiered_of(struct warm *w);

/* --- reading: some of warm's windows are copied, then cold's of the same time laid between --- */

struct copy {
    struct part part; /* data is not set */
    size_t at;
};

struct both {
    struct copy *copies;
    size_t n, cap, next;
    struct buf blocks;
    int64_t stopped_ms; /* warm's window at which the copying stopped */
    warm_part_fn fn;
    void *ctx;
    warm_damage_fn damaged; /* NULL: nobody wants to know */
    void *damaged_ctx;
    unsigned *from; /* NULL: nobody wants to know */
    int result;     /* what fn stopped with; 0: it did not */
};

static int copy_part(void *ctx, const struct part *p)
{
    struct both *b = ctx;
    if (b->blocks.len >= COPY_BYTES && b->copies[b->n - 1].part.key.window_ms != p->key.window_ms) {
        b->stopped_ms = p->key.window_ms;
        return 1;
    }
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 16;
        b->copies = xrealloc(b->copies, b->cap * sizeof *b->copies);
    }
    b->copies[b->n++] = (struct copy){*p, b->blocks.len};
    buf_append(&b->blocks, p->data, p->size);
    return 0;
}

static void tell_damage(void *ctx, const struct part_key *key, const char *why)
{
    struct both *b = ctx;
    b->damaged(b->damaged_ctx, key, why);
}

static int deliver(struct both *b, const struct part *p, unsigned from)
{
    if (b->from)
        *b->from = from;
    b->result = b->fn(b->ctx, p);
    return b->result;
}

/* Delivers the copies that come before `key`; all of them for NULL. */
static int deliver_before(struct both *b, const struct part_key *key)
{
    int rc = 0;
    for (; rc == 0 && b->next < b->n; b->next++) {
        struct part p = b->copies[b->next].part;
        if (key &&
            (p.key.window_ms > key->window_ms || (p.key.window_ms == key->window_ms && p.key.hi >= key->hi)))
            return 0;
        p.data = b->blocks.data + b->copies[b->next].at;
        rc = deliver(b, &p, WARM_FROM_WARM);
    }
    return rc;
}

static int cold_part(void *ctx, const struct part *p)
{
    struct both *b = ctx;
    int rc = deliver_before(b, &p->key);
    return rc ? rc : deliver(b, p, WARM_FROM_COLD);
}

/* A tier that fails does not keep the other from being read; its first reason is told at the end. */
static void note(struct err *first, int rc, const struct err *why)
{
    if (rc < 0 && first->code == OK)
        *first = *why;
}

/* One stretch from from_ms on; the next begins at the result in *from_ms. */
static int read_stretch(struct tiered *t, struct both *b, uint32_t series, uint32_t step_ms, int64_t *from_ms,
                        int64_t until_ms, struct err *first)
{
    struct err why = ERR_INIT;
    b->n = b->next = 0;
    buf_clear(&b->blocks);
    int rc = b->damaged
                 ? warm_check(t->warm, series, step_ms, *from_ms, until_ms, copy_part, tell_damage, b, &why)
                 : warm_read(t->warm, series, step_ms, *from_ms, until_ms, copy_part, b, &why);
    note(first, rc, &why);
    int64_t end = rc > 0 ? b->stopped_ms : until_ms;
    rc = cold_read(t->cold, series, step_ms, *from_ms, end, cold_part, b, &why);
    if (b->result)
        return b->result;
    note(first, rc, &why);
    *from_ms = end;
    return deliver_before(b, NULL);
}

static int tiered_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                       int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    struct both b = {.fn = fn, .ctx = ctx};
    b.damaged = warm_checking(fn, ctx, &b.damaged_ctx);
    b.from = warm_telling(fn, ctx);
    struct err first = ERR_INIT;
    int rc = 0;
    while (rc == 0 && from_window_ms < until_window_ms)
        rc = read_stretch(tiered_of(w), &b, series, step_ms, &from_window_ms, until_window_ms, &first);
    free(b.copies);
    buf_release(&b.blocks);
    return rc == 0 && first.code ? err_set(err, first.code, "%s", first.text) : rc;
}

/* --- the rest --- */

static int tiered_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
                      size_t nremove, struct err *err)
{
    return warm_put(tiered_of(w)->warm, parts, n, remove, nremove, err);
}

static int tiered_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                       warm_part_fn fn, void *ctx, struct err *err)
{
    return warm_scan(tiered_of(w)->warm, step_ms, from_window_ms, until_window_ms, fn, ctx, err);
}

static int tiered_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed,
                            struct err *err)
{
    return warm_remove_if(tiered_of(w)->warm, parts, n, removed, err);
}

static int tiered_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    int rc = warm_expire(tiered_of(w)->warm, step_ms, before_ms, err);
    int cold = cold_expire(tiered_of(w)->cold, step_ms, before_ms, rc == OK ? err : NULL);
    return rc == OK ? cold : rc;
}

static int tiered_sync(struct warm *w, struct err *err)
{
    return warm_sync(tiered_of(w)->warm, err);
}

static void tiered_get_stats(struct warm *w, struct warm_stats *out)
{
    warm_get_stats(tiered_of(w)->warm, out);
}

static void tiered_free(struct warm *w)
{
    warm_clear(w);
    free(tiered_of(w));
}

/* No snapshot: one of warm alone would leave out what is in cold. */
static const struct warm_ops tiered_ops = {
    .name = "tiered",
    .put = tiered_put,
    .read = tiered_read,
    .scan = tiered_scan,
    .remove_if = tiered_remove_if,
    .expire = tiered_expire,
    .sync = tiered_sync,
    .get_stats = tiered_get_stats,
    .free = tiered_free,
};

static struct tiered *tiered_of(struct warm *w)
{
    assert(w->ops == &tiered_ops);
    return container_of(w, struct tiered, base);
}

struct warm *warm_tiered_new(struct warm *warm, struct cold *cold)
{
    struct tiered *t = xcalloc(1, sizeof *t);
    warm_init(&t->base, &tiered_ops, NULL);
    t->warm = warm;
    t->cold = cold;
    return &t->base;
}
