/* Small packs into larger ones, and the parts of one window into one. */
#include "base/killpoint.h"
#include "base/mem.h"
#include "cold/cold_impl.h"
#include "warm/warm_key.h"

#include <stdlib.h>

#define SOURCES_MAX 64
/* A pack of this share of pack_bytes is large enough to be left alone. */
#define SMALL_SHARE 4

struct set {
    struct cold_pack **v;
    size_t n;
};

static bool has(const struct set *s, const struct cold_pack *p)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i] == p)
            return true;
    return false;
}

static int64_t span_of(const struct cold_pack *p)
{
    return p->info.from_ms / (COLD_SPAN_GROUPS * warm_group_ms(p->info.step_ms));
}

static bool is_damaged(struct cold *c, struct cold_pack *p)
{
    pthread_mutex_lock(&c->mtx);
    bool damaged = p->damaged;
    pthread_mutex_unlock(&c->mtx);
    return damaged;
}

static bool is_small(struct cold *c, struct cold_pack *p)
{
    return p->info.bytes < c->o.pack_bytes / SMALL_SHARE && !is_damaged(c, p);
}

static int by_order(const void *a, const void *b)
{
    const struct cold_pack *x = *(struct cold_pack *const *)a, *y = *(struct cold_pack *const *)b;
    return x->info.order < y->info.order ? -1 : x->info.order > y->info.order;
}

/* The small packs of the oldest span that has enough of them; of very many the oldest additions. Packs lie in
 * the snapshot by time, so those of a span lie together. */
static void choose_small(struct cold *c, const struct cold_snapshot *s, uint32_t step_ms, size_t least,
                         struct set *out)
{
    size_t i = cold_snapshot_step(s, step_ms);
    while (i < s->n && s->packs[i]->info.step_ms == step_ms) {
        int64_t span = span_of(s->packs[i]);
        out->n = 0;
        for (; i < s->n && s->packs[i]->info.step_ms == step_ms && span_of(s->packs[i]) == span; i++)
            if (is_small(c, s->packs[i]))
                out->v[out->n++] = s->packs[i];
        if (out->n >= least)
            break;
        out->n = 0;
    }
    if (out->n > SOURCES_MAX) {
        qsort(out->v, out->n, sizeof(struct cold_pack *), by_order);
        out->n = SOURCES_MAX;
    }
}

static bool overlap(const struct pack_info *a, const struct pack_info *b)
{
    return a->step_ms == b->step_ms && a->from_ms < b->until_ms && b->from_ms < a->until_ms &&
           a->min_series <= b->max_series && b->min_series <= a->max_series;
}

static bool must_join(const struct set *in, const struct cold_pack *p, uint64_t oldest)
{
    for (size_t i = 0; i < in->n; i++)
        if (p->info.order > oldest && overlap(&p->info, &in->v[i]->info))
            return true;
    return false;
}

/* What is merged takes the place of its newest source in the order. So everything newer than its oldest that
 * may hold the same keys has to go in, too. */
static void close_over_order(const struct cold_snapshot *s, struct set *in)
{
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < in->n; i++)
        oldest = in->v[i]->info.order < oldest ? in->v[i]->info.order : oldest;
    for (size_t before = 0; before != in->n;) {
        before = in->n;
        for (size_t i = 0; i < s->n; i++)
            if (!has(in, s->packs[i]) && must_join(in, s->packs[i], oldest))
                in->v[in->n++] = s->packs[i];
    }
}

static int merge_into(struct cold *c, struct cold_build *b, const struct set *in, uint32_t step_ms,
                      struct err *err)
{
    struct cold_range all = {step_ms, 0, UINT32_MAX, 0, INT64_MAX};
    struct cold_merge *m = cold_merge_new(c, in->v, in->n, &all);
    struct part p;
    int rc = OK;
    while (rc == OK && cold_merge_next(m, &p))
        rc = cold_build_part(b, &p, err);
    const struct err *damage = cold_merge_damage(m);
    /* What is damaged stays where it is, for whoever may still save it. */
    if (rc == OK && damage->code)
        rc = err_set(err, damage->code, "cold tier: not merged: %s", damage->text);
    cold_merge_free(m);
    return rc;
}

static int replace(struct cold *c, struct cold_build *b, const struct set *in, struct err *err)
{
    const struct pack_info *packs;
    size_t n;
    uint64_t order = 0, bytes = 0;
    for (size_t i = 0; i < in->n; i++)
        order = in->v[i]->info.order > order ? in->v[i]->info.order : order;
    KILL_POINT("cold.compact_merged");
    int rc = cold_build_finish(b, order, &packs, &n, err);
    for (size_t i = 0; i < n; i++)
        bytes += packs[i].bytes;
    if (rc == OK)
        rc = cold_switch(c, in->v, in->n, packs, n, err);
    KILL_POINT("cold.compact_switched");
    if (rc == OK) {
        cold_count(&c->compactions, c->metrics.compactions, 1);
        cold_count(&c->compacted_bytes, c->metrics.compacted_bytes, bytes);
    }
    return rc;
}

static int compact(struct cold *c, const struct set *in, uint32_t step_ms, cold_wait_fn wait, void *ctx,
                   struct err *err)
{
    struct cold_build *b = cold_build_new(c, step_ms, in->v, in->n, wait, ctx);
    int rc = merge_into(c, b, in, step_ms, err);
    if (rc == OK)
        rc = replace(c, b, in, err);
    cold_build_free(b, rc == OK || rc == ERR_FAILED);
    return rc;
}

int cold_compact(struct cold *c, uint32_t step_ms, size_t least, cold_wait_fn wait, void *ctx, size_t *merged,
                 struct err *err)
{
    *merged = 0;
    struct cold_snapshot *s = cold_snapshot_get(c);
    struct set in = {xcalloc(s->n ? s->n : 1, sizeof(struct cold_pack *)), 0};
    choose_small(c, s, step_ms, least < 2 ? 2 : least, &in);
    int rc = OK;
    if (in.n) {
        close_over_order(s, &in);
        rc = compact(c, &in, step_ms, wait, ctx, err);
        *merged = rc == OK ? in.n : 0;
    }
    if (rc == ERR_NOT_FOUND)
        rc = OK; /* expiry took one of them meanwhile */
    free(in.v);
    cold_snapshot_put(c, s);
    return rc;
}
