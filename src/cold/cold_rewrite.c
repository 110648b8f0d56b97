/* Packs again, without what was deleted. */
#include "base/mem.h"
#include "cold/cold_impl.h"

#include <stdlib.h>

#define TRIES 8

struct rewriting {
    struct cold *c;
    const struct cold_rewrite *r;
    struct buf block;
};

/* First span of the series or a later one. */
static size_t first_span(const struct cold_rewrite *r, uint32_t series)
{
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->spans[mid].series < series)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool has_span(const struct cold_rewrite *r, uint32_t series)
{
    size_t i = first_span(r, series);
    return i < r->n && r->spans[i].series == series;
}

/* --- is there anything to go? --- */

/* 1: there is. What is damaged is nobody's: it is not read, and so need not go. What is only out of reach is
 * told. */
static int span_has_some(struct rewriting *w, struct cold_pack *p, const struct cold_span *s, struct err *err)
{
    int64_t span = window_span_ms(p->info.step_ms), from = s->from_ms < 0 ? 0 : floor_to(s->from_ms, span);
    struct cold_range range = {p->info.step_ms, s->series, s->series, from, s->until_ms};
    struct cold_merge *m = cold_merge_new(w->c, &p, 1, &range);
    struct part part, out;
    int rc = OK;
    while (rc == OK && cold_merge_next(m, &part))
        rc = w->r->filter(w->r->ctx, &part, &w->block, &out) != PART_LIVES;
    const struct err *damage = cold_merge_damage(m);
    if (rc == OK && damage->code && damage->code != ERR_CORRUPT && damage->code != ERR_NOT_FOUND)
        rc = err_set(err, damage->code, "%s", damage->text);
    cold_merge_free(m);
    return rc;
}

static int pack_has_some(struct rewriting *w, struct cold_pack *p, struct err *err)
{
    const struct cold_rewrite *r = w->r;
    int rc = OK;
    for (size_t i = first_span(r, p->info.min_series);
         i < r->n && r->spans[i].series <= p->info.max_series && rc == OK; i++)
        if (r->spans[i].from_ms < p->info.until_ms && r->spans[i].until_ms > p->info.from_ms)
            rc = span_has_some(w, p, &r->spans[i], err);
    return rc;
}

/* --- one pack --- */

static int copy_parts(struct rewriting *w, struct cold_build *b, struct cold_pack *p, struct err *err)
{
    struct cold_range all = {p->info.step_ms, 0, UINT32_MAX, 0, INT64_MAX};
    struct cold_merge *m = cold_merge_new(w->c, &p, 1, &all);
    struct part part, out;
    int rc = OK;
    while (rc == OK && cold_merge_next(m, &part)) {
        enum part_mask what = PART_LIVES;
        if (has_span(w->r, part.key.series))
            what = w->r->filter(w->r->ctx, &part, &w->block, &out);
        if (what != PART_DEAD)
            rc = cold_build_part(b, what == PART_CUT ? &out : &part, err);
    }
    const struct err *damage = cold_merge_damage(m);
    if (rc == OK && damage->code)
        rc = err_set(err, damage->code, "cold tier: deleted points stay in a pack, though unread: %s",
                     damage->text);
    cold_merge_free(m);
    return rc;
}

static int rewrite_pack(struct rewriting *w, struct cold_pack *p, struct err *err)
{
    const struct pack_info *packs;
    size_t n;
    struct cold_build *b = cold_build_new(w->c, p->info.step_ms, &p, 1, w->r->wait, w->r->wait_ctx);
    int rc = copy_parts(w, b, p, err);
    if (rc == OK)
        rc = cold_build_finish(b, p->info.order, &packs, &n, err);
    if (rc == OK)
        rc = cold_switch(w->c, &p, 1, packs, n, err);
    cold_build_free(b, rc == OK || rc == ERR_FAILED);
    return rc;
}

/* --- all of them --- */

static struct cold_pack *find_pack(const struct cold_snapshot *s, uint64_t id)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->packs[i]->info.id == id)
            return s->packs[i];
    return NULL;
}

/* Under a snapshot of its own, so that what was replaced can go before the next is written. 1: the pack has
 * gone meanwhile, expired or healed; what it held may be in another. */
static int look_at(struct rewriting *w, uint64_t id, size_t *rewritten, struct err *err)
{
    struct cold_snapshot *s = cold_snapshot_get(w->c);
    struct cold_pack *p = find_pack(s, id);
    int rc = p ? pack_has_some(w, p, err) : OK;
    if (rc == 1) {
        rc = rewrite_pack(w, p, err);
        *rewritten += rc == OK;
    }
    bool gone = !p || rc == ERR_NOT_FOUND;
    if (rc < 0 && !gone && w->r->left)
        w->r->left(w->r->ctx, &p->info);
    cold_snapshot_put(w->c, s);
    return gone ? 1 : rc;
}

static uint64_t *list_ids(struct cold *c, uint32_t step_ms, size_t *n)
{
    struct cold_snapshot *s = cold_snapshot_get(c);
    uint64_t *ids = xmalloc((s->n + 1) * sizeof *ids);
    *n = 0;
    for (size_t i = cold_snapshot_step(s, step_ms); i < s->n && s->packs[i]->info.step_ms == step_ms; i++)
        ids[(*n)++] = s->packs[i]->info.id;
    cold_snapshot_put(c, s);
    return ids;
}

static bool is_final(int rc)
{
    return rc == ERR_CLOSED || rc == ERR_FAILED || rc == ERR_BUSY;
}

/* *again: a pack has gone meanwhile. The first failure, or the one that ended it. */
static int look_at_all(struct rewriting *w, size_t *rewritten, bool *again, struct err *err)
{
    struct err first = ERR_INIT;
    size_t n;
    int rc = OK;
    uint64_t *ids = list_ids(w->c, w->r->step_ms, &n);
    *again = false;
    for (size_t i = 0; i < n && !is_final(rc); i++) {
        struct err why = ERR_INIT;
        rc = look_at(w, ids[i], rewritten, &why);
        *again |= rc > 0;
        if (rc < 0 && (first.code == OK || is_final(rc)))
            first = why;
    }
    free(ids);
    return first.code ? err_set(err, first.code, "%s", first.text) : OK;
}

int cold_rewrite(struct cold *c, const struct cold_rewrite *r, size_t *rewritten, struct err *err)
{
    struct rewriting w = {.c = c, .r = r};
    bool again = true;
    int rc = OK;
    *rewritten = 0;
    for (unsigned i = 0; again && i < TRIES && !is_final(rc); i++)
        rc = look_at_all(&w, rewritten, &again, err);
    buf_release(&w.block);
    return again && !is_final(rc) ? err_set(err, ERR_BUSY, "cold tier: packs change all the time") : rc;
}
