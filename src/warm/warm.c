#include "warm/warm.h"

#include "base/clock.h"
#include "model/window.h"
#include "warm/warm_impl.h"

#include <assert.h>
#include <string.h>

static double stored_bytes(void *ctx)
{
    struct warm_stats s;
    warm_get_stats(ctx, &s);
    return (double)s.stored_bytes;
}

static void stored_bytes_gauge(struct metrics *m, double (*fn)(void *), void *ctx)
{
    metrics_gauge_fn(m, "carat_warm_stored_bytes", NULL, "Size of the warm tier's files.", "gauge", fn, ctx);
}

void warm_init(struct warm *w, const struct warm_ops *ops, struct metrics *m)
{
    memset(w, 0, sizeof *w);
    w->ops = ops;
    pthread_mutex_init(&w->change, NULL);
    if (!m)
        return;
    struct warm_metrics *x = &w->metrics;
    x->registry = m;
    x->puts = metrics_counter(m, "carat_warm_puts_total", NULL, "Parts put into the warm tier.");
    x->put_bytes =
        metrics_counter(m, "carat_warm_put_bytes_total", NULL, "Bytes of blocks put into the warm tier.");
    x->read_parts = metrics_counter(m, "carat_warm_read_parts_total", NULL, "Parts read from the warm tier.");
    x->corrupt_parts =
        metrics_counter(m, "carat_warm_corrupt_parts_total", NULL,
                        "Damaged parts or blocks met while reading the warm tier; they are not served.");
    x->put_seconds = metrics_histogram(m, "carat_warm_put_seconds", NULL, "Time of one put of many parts.");
    x->sync_seconds =
        metrics_histogram(m, "carat_warm_sync_seconds", NULL, "Time of making earlier puts durable.");
    x->read_seconds =
        metrics_histogram(m, "carat_warm_read_seconds", NULL, "Time of reading one range of one series.");
    stored_bytes_gauge(m, stored_bytes, w);
}

void warm_clear(struct warm *w)
{
    if (w->metrics.registry)
        stored_bytes_gauge(w->metrics.registry, NULL, NULL);
    pthread_mutex_destroy(&w->change);
}

static void count(_Atomic uint64_t *own, struct counter *shared, uint64_t n)
{
    atomic_fetch_add_explicit(own, n, memory_order_relaxed);
    if (shared)
        counter_add(shared, n);
}

static void observe(struct histogram *h, int64_t start_us)
{
    if (h)
        histogram_observe_us(h, (uint64_t)(clock_mono_us(clock_system()) - start_us));
}

static int check_step(uint32_t step_ms, struct err *err)
{
    if (step_ms < STEP_MIN_MS || step_ms > STEP_MAX_MS)
        return err_set(err, ERR_INVALID, "warm tier: a step of %u ms is not between %d and %d", step_ms,
                       STEP_MIN_MS, STEP_MAX_MS);
    return OK;
}

static int check_key(const struct part_key *k, struct err *err)
{
    int rc = check_step(k->step_ms, err);
    if (rc < 0)
        return rc;
    if (k->window_ms < 0 || k->window_ms % window_span_ms(k->step_ms) != 0)
        return err_set(err, ERR_INVALID, "warm tier: no window of step %u ms starts at %lld ms", k->step_ms,
                       (long long)k->window_ms);
    return OK;
}

static int check_alive(struct warm *w, struct err *err)
{
    if (!atomic_load(&w->failed))
        return OK;
    return err_set(err, ERR_FAILED,
                   "warm tier gave up after a failed sync; nothing is lost from the stream, restart "
                   "once the cause is gone");
}

void warm_on_change(struct warm *w, warm_changed_fn fn, void *ctx)
{
    w->changed = fn;
    w->changed_ctx = ctx;
}

/* Also after a failure, which may have been half way. */
static void tell_change(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
                        size_t nremove)
{
    for (size_t i = 0; w->changed && i < n; i++)
        w->changed(w->changed_ctx, parts[i].key.series, parts[i].key.step_ms, 0);
    for (size_t i = 0; w->changed && i < nremove; i++)
        w->changed(w->changed_ctx, remove[i].series, remove[i].step_ms, 0);
}

int warm_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
             size_t nremove, struct err *err)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = check_key(&parts[i].key, err);
        if (rc < 0)
            return rc;
        bytes += parts[i].size;
    }
    for (size_t i = 0; i < nremove; i++) {
        int rc = check_key(&remove[i], err);
        if (rc < 0)
            return rc;
    }
    int rc = check_alive(w, err);
    if (rc < 0 || n + nremove == 0)
        return rc;
    int64_t start = clock_mono_us(clock_system());
    pthread_mutex_lock(&w->change);
    rc = w->ops->put(w, parts, n, remove, nremove, err);
    pthread_mutex_unlock(&w->change);
    tell_change(w, parts, n, remove, nremove);
    if (rc < 0)
        return rc;
    observe(w->metrics.put_seconds, start);
    count(&w->puts, w->metrics.puts, n);
    count(&w->removes, NULL, nremove);
    if (w->metrics.put_bytes)
        counter_add(w->metrics.put_bytes, bytes);
    return OK;
}

/* Start of the first window that does not start before ts; far enough for any ts. */
static int64_t first_window_from(int64_t ts, int64_t span)
{
    if (ts <= 0)
        return 0;
    return ts > INT64_MAX - span ? INT64_MAX / span * span : (ts - 1) / span * span + span;
}

int warm_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
              int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    int rc = check_step(step_ms, err);
    if (rc < 0)
        return rc;
    int64_t span = window_span_ms(step_ms);
    int64_t from = first_window_from(from_window_ms, span), until = first_window_from(until_window_ms, span);
    if (from >= until)
        return OK;
    int64_t start = clock_mono_us(clock_system());
    rc = w->ops->read(w, series, step_ms, from, until, fn, ctx, err);
    observe(w->metrics.read_seconds, start);
    count(&w->reads, NULL, 1);
    return rc;
}

struct checking {
    warm_part_fn fn;
    warm_damage_fn damaged;
    void *ctx;
};

/* Its address tells warm_deliver that ctx is a struct checking: backends pass both through as they are. */
static int check_part(void *ctx, const struct part *p)
{
    struct checking *c = ctx;
    return c->fn(c->ctx, p);
}

warm_damage_fn warm_checking(warm_part_fn fn, void *ctx, void **damaged_ctx)
{
    struct checking *c = ctx;
    if (fn != check_part)
        return NULL;
    *damaged_ctx = c->ctx;
    return c->damaged;
}

int warm_check(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
               int64_t until_window_ms, warm_part_fn fn, warm_damage_fn damaged, void *ctx, struct err *err)
{
    struct checking c = {fn, damaged, ctx};
    return warm_read(w, series, step_ms, from_window_ms, until_window_ms, check_part, &c, err);
}

struct telling {
    warm_part_fn fn;
    void *ctx;
    unsigned *tiers, from;
};

/* As check_part: its address tells a tier made of others who asks. */
static int tell_part(void *ctx, const struct part *p)
{
    struct telling *t = ctx;
    *t->tiers |= t->from;
    return t->fn(t->ctx, p);
}

unsigned *warm_telling(warm_part_fn fn, void *ctx)
{
    struct telling *t = ctx;
    return fn == tell_part ? &t->from : NULL;
}

int warm_read_told(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                   int64_t until_window_ms, warm_part_fn fn, void *ctx, unsigned *tiers, struct err *err)
{
    struct telling t = {fn, ctx, tiers, WARM_FROM_WARM};
    return warm_read(w, series, step_ms, from_window_ms, until_window_ms, tell_part, &t, err);
}

int warm_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
              warm_part_fn fn, void *ctx, struct err *err)
{
    int rc = check_step(step_ms, err);
    if (rc < 0)
        return rc;
    int64_t span = window_span_ms(step_ms);
    int64_t from = first_window_from(from_window_ms, span), until = first_window_from(until_window_ms, span);
    return from < until ? w->ops->scan(w, step_ms, from, until, fn, ctx, err) : OK;
}

int warm_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed, struct err *err)
{
    *removed = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = check_key(&parts[i].key, err);
        if (rc < 0)
            return rc;
    }
    int rc = check_alive(w, err);
    if (rc < 0 || n == 0)
        return rc;
    pthread_mutex_lock(&w->change);
    rc = w->ops->remove_if(w, parts, n, removed, err);
    pthread_mutex_unlock(&w->change);
    tell_change(w, parts, n, NULL, 0);
    if (rc < 0)
        *removed = 0;
    count(&w->removes, NULL, *removed);
    return rc;
}

int warm_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    int rc = check_step(step_ms, err);
    if (rc == OK)
        rc = check_alive(w, err);
    if (rc < 0 || before_ms <= 0)
        return rc;
    rc = w->ops->expire(w, step_ms, before_ms, err);
    if (w->changed)
        w->changed(w->changed_ctx, 0, step_ms, before_ms);
    return rc;
}

int warm_sync(struct warm *w, struct err *err)
{
    int rc = check_alive(w, err);
    if (rc < 0)
        return rc;
    int64_t start = clock_mono_us(clock_system());
    rc = w->ops->sync(w, err);
    observe(w->metrics.sync_seconds, start);
    if (rc < 0)
        atomic_store(&w->failed, true);
    return rc;
}

int warm_snapshot(struct warm *w, const char *dir, struct err *err)
{
    if (!w->ops->snapshot)
        return err_set(err, ERR_UNSUPPORTED, "a warm tier of kind %s has no snapshots", w->ops->name);
    int rc = check_alive(w, err);
    return rc < 0 ? rc : w->ops->snapshot(w, dir, err);
}

void warm_get_stats(struct warm *w, struct warm_stats *out)
{
    *out = (struct warm_stats){
        .puts = atomic_load_explicit(&w->puts, memory_order_relaxed),
        .removes = atomic_load_explicit(&w->removes, memory_order_relaxed),
        .reads = atomic_load_explicit(&w->reads, memory_order_relaxed),
        .read_parts = atomic_load_explicit(&w->read_parts, memory_order_relaxed),
        .corrupt_parts = atomic_load_explicit(&w->corrupt_parts, memory_order_relaxed),
    };
    w->ops->get_stats(w, out);
}

void warm_free(struct warm *w)
{
    if (w)
        w->ops->free(w);
}

void warm_damaged(struct warm *w, struct err *damage, const char *text)
{
    count(&w->corrupt_parts, w->metrics.corrupt_parts, 1);
    uint32_t held_back;
    if (log_allowed(&w->corrupt_log, &held_back))
        log_error("warm", "damaged data skipped", "why=\"%s\" suppressed=%u", text, held_back);
    if (damage->code == OK)
        err_set(damage, ERR_CORRUPT, "warm tier: %s", text);
}

int warm_deliver(struct warm *w, const struct part_key *key, const uint8_t *bytes, size_t n, warm_part_fn fn,
                 void *ctx, struct err *damage)
{
    struct part p;
    struct err why = ERR_INIT;
    if (part_decode(key, bytes, n, &p, &why) < 0) {
        warm_damaged(w, damage, why.text);
        if (fn == check_part) {
            struct checking *c = ctx;
            c->damaged(c->ctx, key, why.text);
        }
        return 0;
    }
    count(&w->read_parts, w->metrics.read_parts, 1);
    return fn(ctx, &p);
}

bool warm_replaces(const struct part_key *key, const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
    struct part old, new;
    if (part_decode(key, b, nb, &new, NULL) < 0)
        return false;
    return part_decode(key, a, na, &old, NULL) < 0 || new.lo <= old.lo;
}

bool warm_is(const struct part *p, const uint8_t *bytes, size_t n)
{
    struct part stored;
    return part_decode(&p->key, bytes, n, &stored, NULL) == OK && stored.lo == p->lo &&
           stored.size == p->size && !memcmp(stored.data, p->data, p->size);
}
