/* For implementers of the warm tier. The wrappers in warm.c check what callers pass, count and
 * time; a backend stores and finds. */
#ifndef CARAT_WARM_WARM_IMPL_H
#define CARAT_WARM_WARM_IMPL_H

#include "base/log.h"
#include "base/metrics.h"
#include "warm/warm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* put and remove_if are called under one lock. Windows given to put, remove_if and expire are non-negative
 * and aligned to the span of a valid step; from_window_ms and until_window_ms are clamped to that grid, from
 * < until. */
struct warm_ops {
    const char *name;
    int (*put)(struct warm *, const struct part *, size_t n, const struct part_key *remove, size_t nremove,
               struct err *);
    int (*read)(struct warm *, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                int64_t until_window_ms, warm_part_fn, void *ctx, struct err *);
    int (*scan)(struct warm *, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                warm_part_fn, void *ctx, struct err *);
    int (*remove_if)(struct warm *, const struct part *, size_t n, size_t *removed, struct err *);
    int (*expire)(struct warm *, uint32_t step_ms, int64_t before_ms, struct err *);
    int (*sync)(struct warm *, struct err *);
    void (*get_stats)(struct warm *, struct warm_stats *); /* fills what it knows over the counts here */
    void (*free)(struct warm *);
    int (*snapshot)(struct warm *, const char *dir, struct err *); /* may be NULL */
};

/* Registered metrics, all NULL without a registry. */
struct warm_metrics {
    struct metrics *registry;
    struct counter *puts, *put_bytes, *read_parts, *corrupt_parts;
    struct histogram *put_seconds, *sync_seconds, *read_seconds;
};

struct warm {
    const struct warm_ops *ops;
    struct warm_metrics metrics;
    struct log_limit corrupt_log;
    warm_changed_fn changed; /* may be NULL */
    void *changed_ctx;
    pthread_mutex_t change; /* one put or remove_if at a time */
    _Atomic bool failed;    /* a sync failed: nothing is written any more */
    _Atomic uint64_t puts, removes, reads, read_parts, corrupt_parts;
};

/* `m` may be NULL; it must outlive the tier. warm_clear is its counterpart. */
void warm_init(struct warm *w, const struct warm_ops *ops, struct metrics *m);
/* Takes the tier's gauges out of the registry and its lock away; a backend calls it in free. */
void warm_clear(struct warm *w);

/* Checks stored bytes (model/part.h) and hands them to fn, whose result is returned. Damage is counted,
 * logged at a limited rate and written to *damage if it is the first; then the result is 0. */
int warm_deliver(struct warm *w, const struct part_key *key, const uint8_t *bytes, size_t n, warm_part_fn fn,
                 void *ctx, struct err *damage);
/* Damage that is not one part's: a block of the store, a key that is none. */
void warm_damaged(struct warm *w, struct err *damage, const char *text);

/* For a tier made of others: if this read is a warm_check, whom to tell of damage, with *damaged_ctx; else
 * NULL. */
warm_damage_fn warm_checking(warm_part_fn fn, void *ctx, void **damaged_ctx);

/* For such a tier, too: where a warm_read_told wants the WARM_FROM_ bit of the parts that follow; NULL for
 * other reads. */
unsigned *warm_telling(warm_part_fn fn, void *ctx);

/* Whether these stored bytes are exactly this part. */
bool warm_is(const struct part *p, const uint8_t *bytes, size_t n);

/* Of two stored values of one key, whether `b`, put later, takes the place of `a`: see warm_put. */
bool warm_replaces(const struct part_key *key, const uint8_t *a, size_t na, const uint8_t *b, size_t nb);

#endif
