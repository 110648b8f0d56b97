#include "cold/cold.h"

#include "base/clock.h"
#include "base/killpoint.h"
#include "base/mem.h"
#include "cold/cold_impl.h"
#include "model/window.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PACK_BYTES_DEFAULT  (64u << 20)
#define CACHE_BYTES_DEFAULT (32u << 20)
#define REFRESH_TRIES       3

void cold_count(_Atomic uint64_t *own, struct counter *shared, uint64_t n)
{
    atomic_fetch_add_explicit(own, n, memory_order_relaxed);
    if (shared)
        counter_add(shared, n);
}

bool cold_damaged(struct cold *c, const struct err *why, struct err *first)
{
    bool damage = !c->store->shared || why->code == ERR_CORRUPT || why->code == ERR_UNSUPPORTED;
    uint32_t held_back;
    if (damage)
        cold_count(&c->corrupt_parts, c->metrics.corrupt_parts, 1);
    else
        cold_count(&c->unreachable, c->metrics.unreachable, 1);
    if (log_allowed(&c->corrupt_log, &held_back))
        log_error("cold", damage ? "data skipped" : "data out of reach", "why=\"%s\" suppressed=%u",
                  why->text, held_back);
    if (first && first->code == OK)
        *first = *why;
    return damage;
}

/* --- metrics --- */

static double stored_bytes(void *ctx)
{
    struct cold_stats s;
    cold_get_stats(ctx, &s);
    return (double)s.bytes;
}
static double stored_packs(void *ctx)
{
    struct cold_stats s;
    cold_get_stats(ctx, &s);
    return (double)s.packs;
}
static double stored_points(void *ctx)
{
    struct cold_stats s;
    cold_get_stats(ctx, &s);
    return (double)s.points;
}

static void gauges(struct metrics *m, struct cold *c)
{
    metrics_gauge_fn(m, "carat_cold_stored_bytes", NULL, "Size of the cold tier's packs.", "gauge",
                     c ? stored_bytes : NULL, c);
    metrics_gauge_fn(m, "carat_cold_packs", NULL, "Packs in the cold tier.", "gauge", c ? stored_packs : NULL,
                     c);
    metrics_gauge_fn(m, "carat_cold_points", NULL, "Points in the cold tier's packs, roll-ups not counted.",
                     "gauge", c ? stored_points : NULL, c);
}

static void register_metrics(struct cold *c, struct metrics *m)
{
    struct cold_metrics *x = &c->metrics;
    x->registry = m;
    x->added_parts =
        metrics_counter(m, "carat_cold_added_parts_total", NULL, "Parts put into the cold tier.");
    x->added_bytes =
        metrics_counter(m, "carat_cold_added_bytes_total", NULL, "Bytes of packs put into the cold tier.");
    x->read_parts = metrics_counter(m, "carat_cold_read_parts_total", NULL, "Parts read from the cold tier.");
    x->corrupt_parts =
        metrics_counter(m, "carat_cold_corrupt_parts_total", NULL,
                        "Packs, pages and runs of parts that could not be read; they are not served.");
    x->unreachable =
        metrics_counter(m, "carat_cold_unreachable_total", NULL,
                        "Packs and pages that could not be read because the store did not answer.");
    x->compactions =
        metrics_counter(m, "carat_cold_compactions_total", NULL, "Merges of small packs into larger ones.");
    x->compacted_bytes = metrics_counter(m, "carat_cold_compacted_bytes_total", NULL,
                                         "Bytes of packs written by merging smaller ones.");
    x->expired_packs =
        metrics_counter(m, "carat_cold_expired_packs_total", NULL, "Packs dropped because of their age.");
    x->orphans = metrics_counter(m, "carat_cold_orphans_removed_total", NULL,
                                 "Files of interrupted additions removed at a start.");
    x->read_seconds = metrics_histogram(m, "carat_cold_read_seconds", NULL,
                                        "Time of reading one range of one series that is in a pack.");
    x->add_seconds = metrics_histogram(m, "carat_cold_add_seconds", NULL,
                                       "Time of finishing, reading back and switching to new packs.");
    gauges(m, c);
}

void cold_get_stats(struct cold *c, struct cold_stats *out)
{
    *out = (struct cold_stats){
        .added_parts = atomic_load_explicit(&c->added_parts, memory_order_relaxed),
        .added_bytes = atomic_load_explicit(&c->added_bytes, memory_order_relaxed),
        .reads = atomic_load_explicit(&c->reads, memory_order_relaxed),
        .read_parts = atomic_load_explicit(&c->read_parts, memory_order_relaxed),
        .corrupt_parts = atomic_load_explicit(&c->corrupt_parts, memory_order_relaxed),
        .unreachable = atomic_load_explicit(&c->unreachable, memory_order_relaxed),
        .compactions = atomic_load_explicit(&c->compactions, memory_order_relaxed),
        .compacted_bytes = atomic_load_explicit(&c->compacted_bytes, memory_order_relaxed),
        .expired_packs = atomic_load_explicit(&c->expired_packs, memory_order_relaxed),
        .orphans_removed = atomic_load_explicit(&c->orphans_removed, memory_order_relaxed),
    };
    pthread_mutex_lock(&c->mtx);
    out->generation = c->generation;
    out->packs = c->now->n;
    for (size_t i = 0; i < c->now->n; i++) {
        out->bytes += c->now->packs[i]->info.bytes;
        out->parts += c->now->packs[i]->info.parts;
        out->points += c->now->packs[i]->info.points;
    }
    out->cached_footers = c->cached_footers;
    out->cached_bytes = c->cached_bytes;
    pthread_mutex_unlock(&c->mtx);
}

/* --- open --- */

struct orphans {
    const struct manifest *m;
    bool shared;
    uint64_t *ids;
    size_t n;
};

static int note_orphan(void *ctx, uint64_t id)
{
    struct orphans *o = ctx;
    /* A newer manifest may name it, if this is not the newest after all. */
    if (o->shared && id >= o->m->next_id)
        return 0;
    for (size_t i = 0; i < o->m->n; i++)
        if (o->m->packs[i].id == id)
            return 0;
    o->ids = xrealloc(o->ids, (o->n + 1) * sizeof *o->ids);
    o->ids[o->n++] = id;
    return 0;
}

static int remove_orphans(struct cold *c, const struct manifest *m, struct err *err)
{
    struct orphans o = {m, c->store->shared, NULL, 0};
    int rc = c->store->ops->list(c->store, true, note_orphan, &o, err);
    const struct cold_store_ops *ops = c->store->ops;
    for (size_t i = 0; i < o.n && rc == OK; i++) {
        rc = (ops->remove_orphan ? ops->remove_orphan : ops->remove)(c->store, o.ids[i], err);
        KILL_POINT("cold.orphan_removed");
        if (o.ids[i] >= c->next_id)
            c->next_id = o.ids[i] + 1;
    }
    if (rc == OK && o.n) {
        cold_count(&c->orphans_removed, c->metrics.orphans, o.n);
        log_info("cold", "packs of an interrupted addition removed", "packs=%zu", o.n);
    }
    free(o.ids);
    return rc;
}

int cold_load(struct cold *c, struct manifest *m, struct err *err)
{
    struct buf bytes = BUF_INIT;
    *m = (struct manifest){0};
    int rc = c->store->ops->load_manifest(c->store, &bytes, err);
    if (rc == OK)
        rc = manifest_decode(bytes.data, bytes.len, m, err);
    else if (rc == ERR_NOT_FOUND)
        rc = OK;
    buf_release(&bytes);
    return rc;
}

bool cold_still_named(struct cold *c, uint64_t id)
{
    struct manifest m = {0};
    bool named = cold_load(c, &m, NULL) < 0;
    for (size_t i = 0; i < m.n; i++)
        named |= m.packs[i].id == id;
    manifest_release(&m);
    return named;
}

static int start(struct cold *c, uint64_t first_id, struct err *err)
{
    struct manifest m;
    int rc = cold_load(c, &m, err);
    if (rc == OK) {
        c->generation = m.generation;
        c->next_id = m.next_id > first_id ? m.next_id : first_id;
        for (size_t i = 0; i < m.n; i++)
            c->next_order = m.packs[i].order >= c->next_order ? m.packs[i].order + 1 : c->next_order;
        c->now = cold_snapshot_new(m.packs, m.n);
        if (!c->o.read_only)
            rc = remove_orphans(c, &m, err);
    }
    manifest_release(&m);
    return rc;
}

int cold_open(struct cold_store *store, const struct cold_options *o, uint64_t first_id, struct cold **out,
              struct err *err)
{
    struct cold *c = xcalloc(1, sizeof *c);
    c->store = store;
    c->o = *o;
    c->o.pack_bytes = o->pack_bytes ? o->pack_bytes : PACK_BYTES_DEFAULT;
    c->o.cache_bytes = o->cache_bytes ? o->cache_bytes : CACHE_BYTES_DEFAULT;
    pthread_mutex_init(&c->switching, NULL);
    pthread_mutex_init(&c->mtx, NULL);
    int rc = start(c, first_id, err);
    if (rc < 0) {
        cold_free(c);
        return rc;
    }
    if (o->metrics) {
        register_metrics(c, o->metrics);
        counter_add(c->metrics.orphans, c->orphans_removed);
    }
    *out = c;
    return OK;
}

void cold_free(struct cold *c)
{
    if (!c)
        return;
    if (c->metrics.registry)
        gauges(c->metrics.registry, NULL);
    if (c->now)
        cold_snapshot_put(c, c->now);
    c->store->ops->free(c->store);
    pthread_mutex_destroy(&c->switching);
    pthread_mutex_destroy(&c->mtx);
    free(c);
}

/* --- reading --- */

uint64_t cold_changes(struct cold *c)
{
    return atomic_load(&c->changes);
}

static void range_clamp(struct cold_range *r)
{
    r->from_ms = r->from_ms < 0 ? 0 : r->from_ms;
}

static bool overlaps(const struct pack_info *p, const struct cold_range *r)
{
    return p->step_ms == r->step_ms && p->from_ms < r->until_ms && p->until_ms > r->from_ms &&
           p->min_series <= r->max_series && p->max_series >= r->min_series;
}

/* Delivers the parts of a range of these packs. */
static int deliver(struct cold *c, struct cold_pack *const *packs, size_t n, const struct cold_range *r,
                   warm_part_fn fn, void *ctx, struct err *err)
{
    struct cold_merge *m = cold_merge_new(c, packs, n, r);
    struct part p;
    uint64_t parts = 0;
    int rc = 0;
    while (rc == 0 && cold_merge_next(m, &p)) {
        parts++;
        rc = fn(ctx, &p);
    }
    const struct err *damage = cold_merge_damage(m);
    if (rc == 0 && damage->code)
        rc = err_set(err, damage->code, "cold tier: %s", damage->text);
    cold_merge_free(m);
    cold_count(&c->read_parts, c->metrics.read_parts, parts);
    return rc;
}

/* The packs of a snapshot that may hold some of a range; to be freed. */
static struct cold_pack **choose(const struct cold_snapshot *s, const struct cold_range *r, size_t *n)
{
    struct cold_pack **packs = NULL;
    size_t cap = 0;
    *n = 0;
    for (size_t i = cold_snapshot_step(s, r->step_ms); i < s->n && s->packs[i]->info.step_ms == r->step_ms;
         i++) {
        if (s->packs[i]->info.from_ms >= r->until_ms)
            break;
        if (!overlaps(&s->packs[i]->info, r))
            continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : 16;
            packs = xrealloc(packs, cap * sizeof(struct cold_pack *));
        }
        packs[(*n)++] = s->packs[i];
    }
    return packs;
}

/* Whether another process has replaced and removed one of these. */
static bool some_gone(struct cold *c, struct cold_pack *const *packs, size_t n)
{
    bool gone = false;
    for (size_t i = 0; i < n && !gone; i++) {
        struct pack *open;
        int rc = cold_pack_acquire(c, packs[i], &open, NULL);
        if (rc == OK)
            cold_pack_release(c, packs[i]);
        gone = rc == ERR_NOT_FOUND;
    }
    return gone;
}

/* The packs of a range, and the snapshot that holds them. Of a shared store a manifest may be older than what
 * the store still has: then the newest is taken. */
static struct cold_pack **find_packs(struct cold *c, const struct cold_range *r, size_t *n,
                                     struct cold_snapshot **s)
{
    *s = cold_snapshot_get(c);
    struct cold_pack **packs = choose(*s, r, n);
    for (int i = 0; i < REFRESH_TRIES && c->store->shared && some_gone(c, packs, *n); i++) {
        if (cold_refresh(c, NULL) < 0)
            break; /* the read tells what is missing */
        free(packs);
        cold_snapshot_put(c, *s);
        *s = cold_snapshot_get(c);
        packs = choose(*s, r, n);
    }
    return packs;
}

int cold_read(struct cold *c, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
              int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    if (step_ms < STEP_MIN_MS || step_ms > STEP_MAX_MS)
        return err_set(err, ERR_INVALID, "cold tier: a step of %u ms is not between %d and %d", step_ms,
                       STEP_MIN_MS, STEP_MAX_MS);
    struct cold_range r = {step_ms, series, series, from_window_ms, until_window_ms};
    range_clamp(&r);
    cold_count(&c->reads, NULL, 1);
    struct cold_snapshot *s;
    size_t n;
    struct cold_pack **packs = find_packs(c, &r, &n, &s);
    int rc = OK;
    if (n) {
        int64_t begin = clock_mono_us(clock_system());
        rc = deliver(c, packs, n, &r, fn, ctx, err);
        if (c->metrics.read_seconds)
            histogram_observe_us(c->metrics.read_seconds, (uint64_t)(clock_mono_us(clock_system()) - begin));
    }
    free(packs);
    cold_snapshot_put(c, s);
    return rc;
}

int cold_read_pack(struct cold *c, uint64_t id, warm_part_fn fn, void *ctx, struct err *err)
{
    struct cold_snapshot *s = cold_snapshot_get(c);
    int rc = err_set(err, ERR_NOT_FOUND, "cold tier: there is no pack %016" PRIx64, id);
    for (size_t i = 0; i < s->n; i++)
        if (s->packs[i]->info.id == id) {
            struct cold_range all = {s->packs[i]->info.step_ms, 0, UINT32_MAX, 0, INT64_MAX};
            rc = deliver(c, &s->packs[i], 1, &all, fn, ctx, err);
        }
    cold_snapshot_put(c, s);
    return rc;
}

int cold_list(struct cold *c, cold_pack_fn fn, void *ctx)
{
    struct cold_snapshot *s = cold_snapshot_get(c);
    int rc = 0;
    for (size_t i = 0; i < s->n && rc == 0; i++)
        rc = fn(ctx, &s->packs[i]->info);
    cold_snapshot_put(c, s);
    return rc;
}

/* --- expiry --- */

int cold_expire(struct cold *c, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    struct cold_snapshot *s = cold_snapshot_get(c);
    struct cold_pack **gone = xcalloc(s->n ? s->n : 1, sizeof(struct cold_pack *));
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->packs[i]->info.step_ms == step_ms && s->packs[i]->info.until_ms <= before_ms)
            gone[n++] = s->packs[i];
    int rc = n ? cold_switch(c, gone, n, NULL, 0, err) : OK;
    if (rc == ERR_NOT_FOUND)
        rc = OK; /* a merge has taken one meanwhile: the next call finds what it became */
    else if (rc == OK)
        cold_count(&c->expired_packs, c->metrics.expired_packs, n);
    free(gone);
    cold_snapshot_put(c, s);
    return rc;
}
