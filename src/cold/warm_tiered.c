#include "cold/warm_tiered.h"

#include "base/mem.h"
#include "model/window.h"
#include "warm/part_cache.h"
#include "warm/warm_impl.h"

#include <assert.h>
#include <stdlib.h>

#define COPY_BYTES (1u << 20) /* of warm's parts held while cold is read; one window more at most */

/* Longer reads are not kept: they would push out much and are seldom asked twice. */
#define CACHED_WINDOWS 64

struct tiered {
    struct warm base;
    struct warm *warm;
    struct cold *cold;
    struct part_cache *cache; /* NULL: none */
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

static int read_both(struct tiered *t, struct both *b, uint32_t series, uint32_t step_ms,
                     int64_t from_window_ms, int64_t until_window_ms, struct err *err)
{
    struct err first = ERR_INIT;
    int rc = 0;
    while (rc == 0 && from_window_ms < until_window_ms)
        rc = read_stretch(t, b, series, step_ms, &from_window_ms, until_window_ms, &first);
    free(b->copies);
    buf_release(&b->blocks);
    return rc == 0 && first.code ? err_set(err, first.code, "%s", first.text) : rc;
}

/* --- reading by way of the cache --- */

struct collecting {
    struct part_list *list;
    unsigned from; /* of the next */
};

static int collect(void *ctx, const struct part *p)
{
    struct collecting *c = ctx;
    part_list_add(c->list, p, c->from);
    return 0;
}

static int hand_out(const struct part_list *l, warm_part_fn fn, void *ctx)
{
    unsigned from, *told = warm_telling(fn, ctx);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < part_list_n(l); i++) {
        const struct part *p = part_list_at(l, i, &from);
        if (told)
            *told = from;
        rc = fn(ctx, p);
    }
    return rc;
}

/* What was asked for is read whole, kept, and handed out from there. A read with a failure is not kept. */
static int read_cached(struct tiered *t, const struct part_cache_key *k, warm_part_fn fn, void *ctx,
                       struct err *err)
{
    uint64_t below = cold_changes(t->cold), ticket;
    struct part_list *l = part_cache_find(t->cache, k, below, &ticket);
    int rc = OK;
    if (!l) {
        struct collecting c = {part_list_new(), WARM_FROM_WARM};
        struct both b = {.fn = collect, .ctx = &c, .from = &c.from};
        l = c.list;
        rc = read_both(t, &b, k->series, k->step_ms, k->from_window_ms, k->until_window_ms, err);
        part_list_seal(l);
        if (rc == OK)
            part_cache_add(t->cache, k, below, ticket, l);
    }
    int stopped = hand_out(l, fn, ctx);
    part_list_unref(l);
    return stopped ? stopped : rc;
}

static int tiered_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                       int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    struct tiered *t = tiered_of(w);
    struct both b = {.fn = fn, .ctx = ctx};
    b.damaged = warm_checking(fn, ctx, &b.damaged_ctx);
    b.from = warm_telling(fn, ctx);
    bool keep = t->cache && !b.damaged &&
                (until_window_ms - from_window_ms) / window_span_ms(step_ms) <= CACHED_WINDOWS;
    struct part_cache_key key = {series, step_ms, from_window_ms, until_window_ms};
    return keep ? read_cached(t, &key, fn, ctx, err)
                : read_both(t, &b, series, step_ms, from_window_ms, until_window_ms, err);
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
    struct tiered *t = tiered_of(w);
    if (t->cache)
        warm_on_change(t->warm, NULL, NULL);
    part_cache_free(t->cache);
    warm_clear(w);
    free(t);
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

static void forget(void *ctx, uint32_t series, uint32_t step_ms, int64_t before_ms)
{
    if (series)
        part_cache_forget(ctx, series, step_ms);
    else
        part_cache_forget_before(ctx, step_ms, before_ms);
}

struct warm *warm_tiered_new(struct warm *warm, struct cold *cold)
{
    struct tiered *t = xcalloc(1, sizeof *t);
    warm_init(&t->base, &tiered_ops, NULL);
    t->warm = warm;
    t->cold = cold;
    return &t->base;
}

struct warm *warm_tiered_cached_new(struct warm *warm, struct cold *cold, size_t cache_bytes,
                                    struct metrics *m)
{
    struct warm *w = warm_tiered_new(warm, cold);
    struct tiered *t = tiered_of(w);
    t->cache = part_cache_new(cache_bytes, m);
    warm_on_change(warm, forget, t->cache);
    return w;
}
