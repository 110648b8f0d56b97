/* The mover: old windows from warm to cold, merging of cold's small packs, and expiry of both.
 *
 * What it does in a round, for each step in use: expire; then for each group of windows (warm_key.h) that
 * ended `after_ms` ago and still has something in warm: copy it into packs, merging the parts of each window,
 * have the packs read back and the manifest switched (cold_add_commit), and only then remove from warm what
 * is still exactly as it was copied. Stopped at any point nothing is lost, and nothing counts double: the
 * rule of model/part.h. See doc/cold.md. */
#ifndef CARAT_MOVER_MOVER_H
#define CARAT_MOVER_MOVER_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "cold/cold.h"
#include "warm/warm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOVER_STEPS_MAX 64

struct mover;

struct mover_options {
    struct warm *warm; /* warm itself, not the composite; all borrowed */
    struct cold *cold;
    struct clock *clock;
    struct metrics *metrics; /* may be NULL */
    /* The steps in use, up to `cap` of them; how many. Called from the mover's thread. */
    size_t (*steps)(void *ctx, uint32_t *steps_ms, size_t cap);
    /* How long data of this step is kept; 0 or less, or no function: for ever. */
    int64_t (*keep_ms)(void *ctx, uint32_t step_ms);
    /* Called in the mover's thread before each round, for work on packs that must not go on beside it; `wait`
     * as in cold_compact. NULL: nothing. */
    void (*before_round)(void *ctx, cold_wait_fn wait, void *wait_ctx);
    void *ctx;
    int64_t after_ms;     /* 0: 30 days */
    int64_t interval_ms;  /* from the end of a round to the next; 0: 10 minutes */
    uint64_t bytes_per_s; /* of parts moved, and of packs written by merging; 0: unbounded */
    size_t slice_bytes;   /* parts copied before they are committed, held in memory; 0: 32 MiB */
    size_t compact_least; /* small packs of a span that are worth merging; 0: 8 */
};

struct mover_stats {
    uint64_t rounds, errors;
    uint64_t moved_parts, moved_bytes, moved_slices; /* copied to cold */
    uint64_t removed_parts; /* and so removed from warm; the others changed meanwhile */
    uint64_t merged_packs;
};

struct mover *mover_new(const struct mover_options *o);
/* Begins with a round. */
int mover_start(struct mover *m, struct err *err) must_check;
/* Waits for the thread; a move under way is given up. Safe if it was never started. */
void mover_stop(struct mover *m);
void mover_free(struct mover *m); /* after mover_stop */

/* For whoever works on packs beside the mover: true if no round is under way; then none begins until
 * mover_release, by the same thread. */
bool mover_try_hold(struct mover *m);
void mover_release(struct mover *m);

/* One round in this thread, for a mover that was not started. The first failure; the rest was tried. */
int mover_round(struct mover *m, struct err *err) must_check;
void mover_get_stats(struct mover *m, struct mover_stats *out);

#endif
