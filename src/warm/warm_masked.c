#include "warm/warm_masked.h"

#include "base/mem.h"
#include "codec/part_mask.h"
#include "warm/warm_impl.h"

#include <assert.h>
#include <stdlib.h>

struct masked {
    struct warm base;
    struct warm *inner;
    struct tombstones *tombstones;
};

static struct masked *masked_of(struct warm *w);

/* --- reading --- */

struct masking {
    struct tombstones *tombstones;
    struct buf block;
    warm_part_fn fn;
    void *ctx;
    warm_damage_fn damaged; /* NULL: nobody wants to know */
    void *damaged_ctx;
    unsigned *from; /* NULL: nobody wants to know */
    unsigned tier;  /* that the next part comes from */
};

static int pass(void *ctx, const struct part *p)
{
    struct masking *m = ctx;
    struct part lives;
    unsigned tier = m->tier;
    m->tier = 0;
    if (part_mask(m->tombstones, p, &m->block, &lives) == PART_DEAD)
        return 0;
    if (m->from)
        *m->from = tier;
    return m->fn(m->ctx, &lives);
}

static void tell_damage(void *ctx, const struct part_key *key, const char *why)
{
    struct masking *m = ctx;
    m->damaged(m->damaged_ctx, key, why);
}

static int masked_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                       int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    struct masked *k = masked_of(w);
    struct masking m = {.tombstones = k->tombstones, .fn = fn, .ctx = ctx};
    int rc;
    m.damaged = warm_checking(fn, ctx, &m.damaged_ctx);
    m.from = warm_telling(fn, ctx);
    if (m.damaged)
        rc = warm_check(k->inner, series, step_ms, from_window_ms, until_window_ms, pass, tell_damage, &m,
                        err);
    else if (m.from)
        rc = warm_read_told(k->inner, series, step_ms, from_window_ms, until_window_ms, pass, &m, &m.tier,
                            err);
    else
        rc = warm_read(k->inner, series, step_ms, from_window_ms, until_window_ms, pass, &m, err);
    buf_release(&m.block);
    return rc;
}

static int masked_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                       warm_part_fn fn, void *ctx, struct err *err)
{
    struct masked *k = masked_of(w);
    struct masking m = {.tombstones = k->tombstones, .fn = fn, .ctx = ctx};
    int rc = warm_scan(k->inner, step_ms, from_window_ms, until_window_ms, pass, &m, err);
    buf_release(&m.block);
    return rc;
}

/* --- writing --- */

/* What lives of the parts, and the bytes of those that were cut. */
struct living {
    struct part *parts;
    size_t n;
    struct buf *cut;
    size_t ncut;
};

static void keep_living(struct tombstones *t, const struct part *parts, size_t n, struct living *out)
{
    out->parts = xmalloc((n + 1) * sizeof *out->parts);
    out->cut = xcalloc(n + 1, sizeof *out->cut);
    for (size_t i = 0; i < n; i++) {
        enum part_mask what = part_mask(t, &parts[i], &out->cut[out->ncut], &out->parts[out->n]);
        out->n += what != PART_DEAD;
        out->ncut += what == PART_CUT;
    }
}

static void living_release(struct living *l)
{
    for (size_t i = 0; i < l->ncut; i++)
        buf_release(&l->cut[i]);
    free(l->cut);
    free(l->parts);
}

static int masked_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
                      size_t nremove, struct err *err)
{
    struct masked *k = masked_of(w);
    bool touched = false;
    for (size_t i = 0; i < n && !touched; i++)
        touched = tombstones_touch(k->tombstones, &parts[i].key);
    if (!touched)
        return warm_put(k->inner, parts, n, remove, nremove, err);
    struct living l = {0};
    keep_living(k->tombstones, parts, n, &l);
    int rc = warm_put(k->inner, l.parts, l.n, remove, nremove, err);
    living_release(&l);
    return rc;
}

static int masked_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed,
                            struct err *err)
{
    return warm_remove_if(masked_of(w)->inner, parts, n, removed, err);
}

/* --- the rest --- */

static int masked_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    return warm_expire(masked_of(w)->inner, step_ms, before_ms, err);
}

static int masked_sync(struct warm *w, struct err *err)
{
    return warm_sync(masked_of(w)->inner, err);
}

static void masked_get_stats(struct warm *w, struct warm_stats *out)
{
    warm_get_stats(masked_of(w)->inner, out);
}

/* No snapshot: it would have the dead slots, without what says so. */
static void masked_free(struct warm *w)
{
    warm_clear(w);
    free(masked_of(w));
}

static const struct warm_ops masked_ops = {
    .name = "masked",
    .put = masked_put,
    .read = masked_read,
    .scan = masked_scan,
    .remove_if = masked_remove_if,
    .expire = masked_expire,
    .sync = masked_sync,
    .get_stats = masked_get_stats,
    .free = masked_free,
};

static struct masked *masked_of(struct warm *w)
{
    assert(w->ops == &masked_ops);
    return container_of(w, struct masked, base);
}

struct warm *warm_masked_new(struct warm *inner, struct tombstones *t)
{
    struct masked *k = xcalloc(1, sizeof *k);
    warm_init(&k->base, &masked_ops, NULL);
    k->inner = inner;
    k->tombstones = t;
    return &k->base;
}
