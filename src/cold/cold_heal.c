/* A damaged pack written again without its damage, once that is stored elsewhere. */
#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "cold/cold_impl.h"

#include <inttypes.h>
#include <stdlib.h>

struct healing {
    struct cold_damage *damage;
    size_t n, cap;
    struct cold_build *build;
};

static void note(void *ctx, const struct cold_damage *d)
{
    struct healing *h = ctx;
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 8;
        h->damage = xrealloc(h->damage, h->cap * sizeof *h->damage);
    }
    h->damage[h->n++] = *d;
}

static bool same_place(const struct cold_damage *a, const struct cold_damage *b)
{
    return a->in_page == b->in_page && a->series == b->series && a->last_series == b->last_series &&
           a->from_ms == b->from_ms && a->until_ms == b->until_ms;
}

/* On the second look there must be nothing that was not covered. */
static void see_again(void *ctx, const struct cold_damage *d)
{
    struct healing *h = ctx;
    bool known = false;
    for (size_t i = 0; i < h->n && !known; i++)
        known = same_place(&h->damage[i], d);
    if (!known)
        note(h, d);
}

static int keep(void *ctx, const struct part *p, struct err *err)
{
    struct healing *h = ctx;
    return cold_build_part(h->build, p, err);
}

static int rewrite(struct cold *c, struct cold_pack *p, struct healing *h, bool *healed, struct err *err)
{
    const struct cold_look look = {.ctx = h, .damage = see_again, .good = keep};
    const struct pack_info *packs;
    size_t n, known = h->n;
    h->build = cold_build_new(c, p->info.step_ms, &p, 1, NULL, NULL);
    int rc = cold_look_at(c, p, &look, err);
    if (rc == OK && h->n == known)
        rc = cold_build_finish(h->build, p->info.order, &packs, &n, err);
    KILL_POINT("cold.heal_written");
    bool done = rc == OK && h->n == known;
    if (done)
        rc = cold_switch(c, &p, 1, packs, n, err);
    KILL_POINT("cold.heal_switched");
    *healed = done && (rc == OK || rc == ERR_NOT_FOUND);
    cold_build_free(h->build, done && (rc == OK || rc == ERR_FAILED));
    return rc == ERR_NOT_FOUND ? OK : rc; /* a merge or expiry has taken it meanwhile */
}

static int heal(struct cold *c, struct cold_pack *p, cold_covered_fn covered, void *ctx, bool *healed,
                struct err *err)
{
    struct healing h = {0};
    const struct cold_look look = {.ctx = &h, .damage = note};
    int rc = cold_look_at(c, p, &look, err);
    *healed = rc == OK;
    for (size_t i = 0; i < h.n && *healed; i++) /* what was only out of reach is no damage */
        *healed = (!c->store->shared || h.damage[i].why.code == ERR_CORRUPT) && covered(ctx, &h.damage[i]);
    if (*healed && h.n) {
        rc = rewrite(c, p, &h, healed, err);
        if (rc == OK && *healed)
            log_info("cold", "damaged pack written again without what is stored elsewhere by now",
                     "pack=%016" PRIx64 " places=%zu", p->info.id, h.n);
    }
    free(h.damage);
    return rc;
}

int cold_heal(struct cold *c, uint64_t pack, cold_covered_fn covered, void *ctx, bool *healed,
              struct err *err)
{
    struct cold_snapshot *s = cold_snapshot_get(c);
    int rc = OK;
    *healed = true;
    for (size_t i = 0; i < s->n; i++)
        if (s->packs[i]->info.id == pack)
            rc = heal(c, s->packs[i], covered, ctx, healed, err);
    cold_snapshot_put(c, s);
    return rc;
}
