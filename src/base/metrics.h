/* Counters, gauges and latency histograms, rendered as Prometheus text (version 0.0.4).
 *
 * A module asks for its metrics once, keeps the pointers and updates them from any
 * thread without a lock. Asking again for the same name and labels gives the same
 * object. Names start with carat_ and end in a unit (_total, _bytes, _seconds).
 * `labels` is the inside of the braces (`reason="bad_name"`) or NULL; `help` is one
 * sentence, kept by reference. Metrics live as long as their registry. */
#ifndef CARAT_BASE_METRICS_H
#define CARAT_BASE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct metrics;

struct counter {
    _Alignas(64) _Atomic uint64_t value; /* a cache line each: neighbours are hot in other threads */
};
struct gauge {
    _Atomic int64_t value;
};

/* Bucket i counts observations of at most 2^i microseconds; the last one takes the rest. */
#define HISTOGRAM_BUCKETS 32
struct histogram {
    _Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
};

struct metrics *metrics_new(void);
void metrics_free(struct metrics *);

struct counter *metrics_counter(struct metrics *, const char *name, const char *labels, const char *help);
struct gauge *metrics_gauge(struct metrics *, const char *name, const char *labels, const char *help);
/* A gauge asked for its value at each rendering; `fn` is called under the registry's
 * lock and must not call back into it. type is "gauge" or "counter". */
void metrics_gauge_fn(struct metrics *, const char *name, const char *labels, const char *help,
                      const char *type, double (*fn)(void *ctx), void *ctx);
struct histogram *metrics_histogram(struct metrics *, const char *name, const char *labels, const char *help);

static inline void counter_add(struct counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}
static inline uint64_t counter_get(struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}
static inline void gauge_set(struct gauge *g, int64_t v)
{
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}
static inline void gauge_add(struct gauge *g, int64_t v)
{
    atomic_fetch_add_explicit(&g->value, v, memory_order_relaxed);
}
static inline void histogram_observe_us(struct histogram *h, uint64_t us)
{
    unsigned i = us <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(us - 1);
    if (i >= HISTOGRAM_BUCKETS)
        i = HISTOGRAM_BUCKETS - 1;
    atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

/* Calls fn for every number a rendering would show, e.g. to store them as series. */
typedef void (*metrics_visit_fn)(void *ctx, const char *name, const char *labels, double value);
void metrics_visit(struct metrics *, metrics_visit_fn fn, void *ctx);

/* A metric as it is, for those who keep its history. Exactly one of the last two is meant: `histogram` if it
 * is not NULL, else `value`. */
struct metric_view {
    const char *name, *labels; /* "" if there are none */
    bool grows;                /* a counter: only its increase says something */
    double value;
    struct histogram *histogram;
};
/* Every metric, by name, then labels; under the registry's lock, as a metrics_gauge_fn. */
typedef void (*metrics_each_fn)(void *ctx, const struct metric_view *v);
void metrics_each(struct metrics *, metrics_each_fn fn, void *ctx);

void metrics_render(struct metrics *, struct buf *out);

#endif
