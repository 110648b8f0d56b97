/* Which packs there are: snapshots of the manifest, the switch to the next one, and the open footers. */
#include "cold/cold_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_MAX 256 /* files */

/* --- snapshots --- */

static int by_place(const void *a, const void *b)
{
    const struct pack_info *x = &(*(struct cold_pack *const *)a)->info;
    const struct pack_info *y = &(*(struct cold_pack *const *)b)->info;
    if (x->step_ms != y->step_ms)
        return x->step_ms < y->step_ms ? -1 : 1;
    if (x->from_ms != y->from_ms)
        return x->from_ms < y->from_ms ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static struct cold_pack *pack_new(const struct pack_info *info)
{
    struct cold_pack *p = xcalloc(1, sizeof *p);
    p->info = *info;
    return p;
}

static struct cold_snapshot *snapshot_alloc(size_t n)
{
    struct cold_snapshot *s = xcalloc(1, sizeof *s + n * sizeof s->packs[0]);
    s->refs = 1;
    return s;
}

/* Its packs get their reference. */
static void snapshot_seal(struct cold_snapshot *s)
{
    if (s->n > 1)
        qsort(s->packs, s->n, sizeof s->packs[0], by_place);
    for (size_t i = 0; i < s->n; i++)
        s->packs[i]->refs++;
}

struct cold_snapshot *cold_snapshot_new(const struct pack_info *packs, size_t n)
{
    struct cold_snapshot *s = snapshot_alloc(n);
    for (size_t i = 0; i < n; i++)
        s->packs[s->n++] = pack_new(&packs[i]);
    snapshot_seal(s);
    return s;
}

struct cold_snapshot *cold_snapshot_get(struct cold *c)
{
    pthread_mutex_lock(&c->mtx);
    struct cold_snapshot *s = c->now;
    s->refs++;
    pthread_mutex_unlock(&c->mtx);
    return s;
}

size_t cold_snapshot_step(const struct cold_snapshot *s, uint32_t step_ms)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->packs[mid]->info.step_ms < step_ms)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void object_free(struct pack *p)
{
    struct cold_object *o = p->source.ctx;
    o->store->ops->close(o);
    pack_release(p);
    free(p);
}

/* Under mtx: takes the open footer out of the cache. */
static struct pack *take_open(struct cold *c, struct cold_pack *p)
{
    struct pack *open = p->open;
    assert(!p->users);
    if (open) {
        c->cached_footers--;
        c->cached_bytes -= pack_memory(open);
    }
    p->open = NULL;
    return open;
}

/* The last snapshot that held it is gone. */
static void pack_end(struct cold *c, struct cold_pack *p, struct pack *open)
{
    struct err err = ERR_INIT;
    if (open)
        object_free(open);
    if (p->dropped && c->store->ops->remove(c->store, p->info.id, &err) < 0)
        log_warn("cold", "replaced pack not removed; the next start does", "pack=%016" PRIx64 " why=\"%s\"",
                 p->info.id, err.text);
    free(p);
}

void cold_snapshot_put(struct cold *c, struct cold_snapshot *s)
{
    size_t ended = 0;
    struct pack **open = NULL;
    pthread_mutex_lock(&c->mtx);
    bool last = --s->refs == 0;
    if (last) {
        open = xcalloc(s->n ? s->n : 1, sizeof(struct pack *));
        for (size_t i = 0; i < s->n; i++)
            if (--s->packs[i]->refs == 0) {
                open[ended] = take_open(c, s->packs[i]);
                s->packs[ended++] = s->packs[i];
            }
    }
    pthread_mutex_unlock(&c->mtx);
    if (!last)
        return;
    for (size_t i = 0; i < ended; i++)
        pack_end(c, s->packs[i], open[i]);
    free(open);
    free(s);
}

/* --- the switch --- */

/* The packs of a manifest; those that are known already as they are, with what is open of them. */
static struct cold_snapshot *snapshot_of(struct cold *c, const struct manifest *m)
{
    struct cold_snapshot *s = snapshot_alloc(m->n);
    for (size_t i = 0; i < m->n; i++) {
        struct cold_pack *known = NULL;
        for (size_t j = 0; j < c->now->n && !known; j++)
            known = c->now->packs[j]->info.id == m->packs[i].id ? c->now->packs[j] : NULL;
        s->packs[s->n++] = known ? known : pack_new(&m->packs[i]);
    }
    return s;
}

static void take_over(struct cold *c, const struct manifest *m)
{
    struct cold_snapshot *s = snapshot_of(c, m);
    pthread_mutex_lock(&c->mtx);
    struct cold_snapshot *old = c->now;
    snapshot_seal(s);
    c->now = s;
    atomic_fetch_add(&c->changes, 1);
    c->generation = m->generation;
    c->next_id = m->next_id > c->next_id ? m->next_id : c->next_id;
    for (size_t i = 0; i < m->n; i++)
        c->next_order = m->packs[i].order >= c->next_order ? m->packs[i].order + 1 : c->next_order;
    pthread_mutex_unlock(&c->mtx);
    cold_snapshot_put(c, old);
}

/* Under `switching`. */
static int refresh(struct cold *c, struct err *err)
{
    struct manifest m;
    int rc = cold_load(c, &m, err);
    if (rc == OK && m.generation > c->generation) /* written under `switching` only */
        take_over(c, &m);
    manifest_release(&m);
    return rc;
}

int cold_refresh(struct cold *c, struct err *err)
{
    if (!c->store->shared)
        return OK;
    pthread_mutex_lock(&c->switching);
    int rc = refresh(c, err);
    pthread_mutex_unlock(&c->switching);
    return rc;
}

/* Under `switching`. After a switch that ended half way the store is asked how it ended. */
static void revive(struct cold *c)
{
    uint64_t before = c->generation;
    if (!c->store->shared || !c->failed || refresh(c, NULL) < 0)
        return;
    pthread_mutex_lock(&c->mtx);
    if (c->generation == before && c->store->skip_unknown)
        c->generation++; /* that of the failed switch */
    c->failed = false;
    pthread_mutex_unlock(&c->mtx);
    log_info("cold", "manifest read again after a failed switch", "generation=%" PRIu64, c->generation);
}

static int check_alive(struct cold *c, struct err *err)
{
    if (c->o.read_only)
        return err_set(err, ERR_UNSUPPORTED, "cold tier: it is open for reading only");
    pthread_mutex_lock(&c->mtx);
    bool failed = c->failed;
    pthread_mutex_unlock(&c->mtx);
    return failed ? err_set(err, ERR_FAILED,
                            "cold tier gave up changing after its manifest was not stored safely; "
                            "nothing is lost, restart once the cause is gone")
                  : OK;
}

int cold_next_id(struct cold *c, uint64_t *id, struct err *err)
{
    pthread_mutex_lock(&c->switching);
    revive(c);
    pthread_mutex_unlock(&c->switching);
    int rc = check_alive(c, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->mtx);
    *id = c->next_id++;
    pthread_mutex_unlock(&c->mtx);
    return OK;
}

uint64_t cold_next_order(struct cold *c)
{
    pthread_mutex_lock(&c->mtx);
    uint64_t order = c->next_order++;
    pthread_mutex_unlock(&c->mtx);
    return order;
}

static bool is_in(struct cold_pack *const *set, size_t n, const struct cold_pack *p)
{
    for (size_t i = 0; i < n; i++)
        if (set[i] == p)
            return true;
    return false;
}

/* Under `switching`. NULL: one of `gone` is not there. */
static struct cold_snapshot *next_snapshot(struct cold *c, struct cold_pack *const *gone, size_t ngone,
                                           const struct pack_info *added, size_t nadded)
{
    struct cold_snapshot *now = c->now, *s = snapshot_alloc(now->n + nadded);
    for (size_t i = 0; i < now->n; i++)
        if (!is_in(gone, ngone, now->packs[i]))
            s->packs[s->n++] = now->packs[i];
    if (s->n + ngone != now->n) {
        free(s);
        return NULL;
    }
    for (size_t i = 0; i < nadded; i++)
        s->packs[s->n++] = pack_new(&added[i]);
    return s;
}

static int store_manifest(struct cold *c, const struct cold_snapshot *s, bool *unknown, struct err *err)
{
    struct manifest m = {.n = s->n, .packs = xcalloc(s->n ? s->n : 1, sizeof *m.packs)};
    pthread_mutex_lock(&c->mtx);
    m.generation = c->generation + 1;
    m.next_id = c->next_id;
    pthread_mutex_unlock(&c->mtx);
    for (size_t i = 0; i < s->n; i++)
        m.packs[i] = s->packs[i]->info;
    struct buf bytes = BUF_INIT;
    manifest_encode(&m, &bytes);
    int rc = c->store->ops->store_manifest(c->store, m.generation, bytes.data, bytes.len, unknown, err);
    buf_release(&bytes);
    manifest_release(&m);
    return rc;
}

/* The new packs of a snapshot that does not come to count. */
static void snapshot_discard(struct cold_snapshot *s, size_t nadded)
{
    for (size_t i = s->n - nadded; i < s->n; i++)
        free(s->packs[i]);
    free(s);
}

static void switch_to(struct cold *c, struct cold_snapshot *s, struct cold_pack *const *gone, size_t ngone)
{
    pthread_mutex_lock(&c->mtx);
    struct cold_snapshot *old = c->now;
    snapshot_seal(s);
    c->now = s;
    atomic_fetch_add(&c->changes, 1);
    c->generation++;
    for (size_t i = 0; i < ngone; i++)
        gone[i]->dropped = true;
    pthread_mutex_unlock(&c->mtx);
    cold_snapshot_put(c, old);
}

/* A switch ended half way. */
static int give_up(struct cold *c, struct err *err)
{
    pthread_mutex_lock(&c->mtx);
    c->failed = true;
    pthread_mutex_unlock(&c->mtx);
    log_error("cold",
              c->store->shared ? "manifest perhaps not stored; no changes until it can be read again"
                               : "manifest not stored safely; giving up changes until a restart",
              "why=\"%s\"", err ? err->text : "");
    return err ? (err->code = ERR_FAILED) : ERR_FAILED;
}

int cold_switch(struct cold *c, struct cold_pack *const *gone, size_t ngone, const struct pack_info *added,
                size_t nadded, struct err *err)
{
    bool unknown = false;
    pthread_mutex_lock(&c->switching);
    revive(c);
    int rc = check_alive(c, err);
    struct cold_snapshot *s = rc == OK ? next_snapshot(c, gone, ngone, added, nadded) : NULL;
    if (rc == OK && !s)
        rc = err_set(err, ERR_NOT_FOUND, "cold tier: a pack to be replaced has gone");
    if (rc == OK) {
        rc = store_manifest(c, s, &unknown, err);
        if (rc == OK)
            switch_to(c, s, gone, ngone);
        else
            snapshot_discard(s, nadded);
    }
    if (rc < 0 && unknown) {
        rc = give_up(c, err);
    } else if (rc == ERR_LOCKED) {
        struct err why = ERR_INIT;
        if (refresh(c, &why) < 0)
            log_warn("cold", "manifest of another process not read", "why=\"%s\"", why.text);
        rc = err_set(err, ERR_BUSY, "cold tier: another process has changed it meanwhile");
    }
    pthread_mutex_unlock(&c->switching);
    return rc;
}

/* --- open packs --- */

static int source_read(void *ctx, void *p, size_t n, uint64_t off, struct err *err)
{
    struct cold_object *o = ctx;
    return o->store->ops->read(o, p, n, off, err);
}

static bool footer_fits(const struct pack *p, const struct pack_info *info)
{
    int64_t span = window_span_ms(p->footer.step_ms);
    return p->source.size == info->bytes && p->footer.step_ms == info->step_ms &&
           p->footer.parts == info->parts && p->footer.min_series == info->min_series &&
           p->footer.max_series == info->max_series && (int64_t)p->footer.first * span == info->from_ms;
}

static int open_pack(struct cold *c, const struct pack_info *info, struct pack **out, struct err *err)
{
    struct cold_object *o = NULL;
    struct pack *p = xcalloc(1, sizeof *p);
    struct pack_source source = {NULL, source_read, 0, 0};
    int rc = c->store->ops->open(c->store, info->id, &o, &source.size, err);
    if (rc == OK) {
        source.ctx = o;
        source.suffix = o->suffix;
        rc = pack_open(&source, p, err);
        if (rc == OK && !footer_fits(p, info)) {
            rc = err_set(err, ERR_CORRUPT, "it is not the pack that the manifest names");
            pack_release(p);
        }
        if (rc < 0)
            c->store->ops->close(o);
    }
    if (rc < 0) {
        free(p);
        if (err)
            err_prefix(err, "pack %016" PRIx64, info->id);
        return rc;
    }
    *out = p;
    return OK;
}

/* Under mtx: the least recently used footer nobody uses, taken out, if there are too many. */
static struct pack *evict(struct cold *c)
{
    if (c->cached_bytes <= c->o.cache_bytes && c->cached_footers <= OPEN_MAX)
        return NULL;
    struct cold_pack *oldest = NULL;
    for (size_t i = 0; i < c->now->n; i++) {
        struct cold_pack *p = c->now->packs[i];
        if (p->open && !p->users && (!oldest || p->used_at < oldest->used_at))
            oldest = p;
    }
    return oldest ? take_open(c, oldest) : NULL;
}

int cold_pack_acquire(struct cold *c, struct cold_pack *p, struct pack **out, struct err *err)
{
    pthread_mutex_lock(&c->mtx);
    bool open = p->open != NULL;
    p->users += open;
    p->used_at = ++c->clock;
    *out = p->open;
    pthread_mutex_unlock(&c->mtx);
    if (open)
        return OK;
    struct pack *mine = NULL, *other = NULL;
    int rc = open_pack(c, &p->info, &mine, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->mtx);
    if (p->open) {
        other = mine;
    } else {
        p->open = mine;
        c->cached_footers++;
        c->cached_bytes += pack_memory(mine);
    }
    p->users++;
    *out = p->open;
    struct pack *old = evict(c);
    pthread_mutex_unlock(&c->mtx);
    if (other)
        object_free(other);
    if (old)
        object_free(old);
    return OK;
}

void cold_pack_release(struct cold *c, struct cold_pack *p)
{
    pthread_mutex_lock(&c->mtx);
    assert(p->users);
    p->users--;
    struct pack *old = evict(c);
    pthread_mutex_unlock(&c->mtx);
    if (old)
        object_free(old);
}
