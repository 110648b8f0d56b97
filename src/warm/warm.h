/* The warm tier: parts by (series, step, window, hi) in a key-value store.
 *
 * Puts are idempotent: the same key again is the same part. A part is readable when put
 * returns and durable when a later sync returns; until then the stream still has it. */
#ifndef CARAT_WARM_WARM_H
#define CARAT_WARM_WARM_H

#include "base/err.h"
#include "model/part.h"

#include <stddef.h>
#include <stdint.h>

struct warm;

/* Called in (window, hi) order; the part is valid during the call; non-zero stops and is returned. */
typedef int (*warm_part_fn)(void *ctx, const struct part *p);

struct warm_stats {
    uint64_t puts, removes, reads, read_parts, corrupt_parts; /* removes: by warm_remove_if, too */
    uint64_t stored_bytes;
};

/* All parts or none, in one atomic step, after the removal of `remove` (which may be empty): a key in both
 * stays. Of two parts with the same key the one with the smaller lo stays: a replay that starts inside a
 * part's run makes a part that ends at the same position and holds less. ERR_INVALID: no such step or window
 * (negative ones included). ERR_BUSY: throttled, try again later. One or more writer threads.
 *
 * A backend over a network may need several steps: then a read meanwhile, or after an error, may see new
 * parts beside those they replace (which reads the same), and the same put again completes it. */
int warm_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
             size_t nremove, struct err *err) must_check;

/* Every part of the series whose window start is in [from_window_ms, until_window_ms). A damaged part is
 * skipped, counted and reported (ERR_CORRUPT after the others were delivered). Any thread. */
int warm_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
              int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err) must_check;

/* Where parts came from, for a tier made of others. */
#define WARM_FROM_WARM 1u
#define WARM_FROM_COLD 2u

/* The same, and *tiers gets the bits of the tiers that parts came from. */
int warm_read_told(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                   int64_t until_window_ms, warm_part_fn fn, void *ctx, unsigned *tiers,
                   struct err *err) must_check;

/* Told of a damaged part: the key it was found under and what is wrong. */
typedef void (*warm_damage_fn)(void *ctx, const struct part_key *key, const char *why);

/* The same, and each damaged part whose key could be read is told to `damaged` with the same ctx, for those
 * who look for damage and mend it. */
int warm_check(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
               int64_t until_window_ms, warm_part_fn fn, warm_damage_fn damaged, void *ctx,
               struct err *err) must_check;

/* Drops all windows of a step that end at or before `before_ms`. May leave some longer, never takes younger
 * ones. */
int warm_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err) must_check;

/* Every part of a step whose window start is in [from_window_ms, until_window_ms), for whoever moves or
 * rebuilds: group of windows by group (warm_key.h), within a group by (series, window, hi). Damage as in
 * warm_read. fn is called without any lock and may call everything else here; what is put or removed
 * meanwhile is seen or not. Memory is bounded, except in warm_mem (one group). Any thread. */
int warm_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
              warm_part_fn fn, void *ctx, struct err *err) must_check;

/* Removes each of these parts if what is stored under its key is still exactly it (lo and bytes), without
 * a put between the look and the removal. *removed counts them. ERR_BUSY: nothing was removed. */
int warm_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed,
                   struct err *err) must_check;

/* Told of what has changed, after it has: a step of a series; or, series 0, of a step all before before_ms.
 * Called on the thread that changes. One who listens, set before anything is changed. */
typedef void (*warm_changed_fn)(void *ctx, uint32_t series, uint32_t step_ms, int64_t before_ms);
void warm_on_change(struct warm *w, warm_changed_fn fn, void *ctx);

/* Everything put before is durable when it returns OK. A failure is sticky: ERR_FAILED from then on. */
int warm_sync(struct warm *w, struct err *err) must_check;

/* Makes `dir` (which must not exist; its parent must) a tier with everything put before the call and perhaps
 * some put meanwhile, as a backend of the same kind opens it. Its files are never changed afterwards, and
 * share their blocks with this tier's where the file system can. Any thread, puts go on. ERR_UNSUPPORTED:
 * this backend has no files. After a failure `dir` may be there in part. */
int warm_snapshot(struct warm *w, const char *dir, struct err *err) must_check;

void warm_get_stats(struct warm *w, struct warm_stats *out);
void warm_free(struct warm *w); /* no implied sync */

#endif
