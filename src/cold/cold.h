/* The cold tier: parts of old windows in immutable packs, each holding many series of one step and one span
 * of time. A manifest names the packs that count and is switched atomically; see doc/cold.md.
 *
 * Reads run at any time, beside additions, merges and expiry. Those that change the manifest may be called
 * from any thread, too, but only one cold_compact at a time. */
#ifndef CARAT_COLD_COLD_H
#define CARAT_COLD_COLD_H

#include "base/err.h"
#include "base/metrics.h"
#include "codec/part_mask.h"
#include "model/part.h"
#include "warm/warm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cold;
struct pack_info;

struct cold_options {
    struct metrics *metrics;       /* may be NULL; must outlive the tier */
    uint64_t pack_bytes;           /* a pack is closed when it is this large; 0: 64 MiB */
    size_t cache_bytes;            /* footers kept in memory; 0: 32 MiB */
    struct tombstones *tombstones; /* what is deleted is not written again; may be NULL; borrowed */
    bool read_only;                /* nothing is removed or written: safe beside a running server */
};

struct cold_stats {
    uint64_t generation; /* of the manifest */
    uint64_t packs, bytes, parts, points;
    uint64_t added_parts, added_bytes, reads, read_parts, corrupt_parts, unreachable;
    uint64_t compactions, compacted_bytes, expired_packs, orphans_removed;
    uint64_t cached_footers, cached_bytes;
};
void cold_get_stats(struct cold *c, struct cold_stats *out);
void cold_free(struct cold *c);

/* --- adding ---
 * Parts go into new packs, which count when cold_add_commit has returned OK and not before. */
struct cold_add;
int cold_add_begin(struct cold *c, uint32_t step_ms, struct cold_add **out, struct err *err) must_check;
/* By ascending (series, window, hi); of equal keys the newer last. Parts of one window become one by the rule
 * of model/part.h, unless another pack may hold more of it; blocks that are none of the codec's (roll-ups)
 * stay as they are. Copies what it needs. After a failure only cold_add_abort. */
int cold_add_part(struct cold_add *a, const struct part *p, struct err *err) must_check;
/* Stores the packs, reads all of them back, compares, then switches the manifest. Frees `a` in any case.
 * After a failure nothing of it is there, but for ERR_FAILED: the switch itself failed half way, either state
 * may be found at the next start, and nothing is changed any more until then (of a shared store: until its
 * manifest could be read again). ERR_BUSY: another process has changed the tier meanwhile, add it again. */
int cold_add_commit(struct cold_add *a, struct err *err) must_check;
void cold_add_abort(struct cold_add *a);

/* --- reading --- */

/* As warm_read: every part of the series whose window start is in [from_window_ms, until_window_ms), in
 * (window, hi) order, of equal keys the newest last. What is damaged or cannot be reached is skipped, counted
 * and told (the first status) after everything else was delivered. */
int cold_read(struct cold *c, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
              int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err) must_check;

/* Of a store that other processes change, too: takes over the newest manifest. Of others: nothing to do. */
int cold_refresh(struct cold *c, struct err *err) must_check;

/* Another number after each switch to other packs: what was read in between, from one call of this to the
 * next with the same result, is what another read would bring. */
uint64_t cold_changes(struct cold *c);

/* --- keeping house --- */

/* Drops the packs of a step that hold nothing after before_ms. */
int cold_expire(struct cold *c, uint32_t step_ms, int64_t before_ms, struct err *err) must_check;

/* Merges small packs of a step that lie in one span of COLD_SPAN_GROUPS groups into larger ones: one span a
 * call, the oldest that has at least `least` of them (2 or more). *merged: how many went; 0 when there is no
 * work left. `wait` (may be NULL) is called with each run of bytes that was written, and may sleep; non-zero
 * gives up with ERR_CLOSED. */
#define COLD_SPAN_GROUPS 8
typedef int (*cold_wait_fn)(void *ctx, uint64_t bytes);
int cold_compact(struct cold *c, uint32_t step_ms, size_t least, cold_wait_fn wait, void *ctx, size_t *merged,
                 struct err *err) must_check;

/* Takes what was deleted out of the packs. */
struct cold_span {
    uint32_t series;
    int64_t from_ms, until_ms; /* windows that start in it */
};
struct cold_rewrite {
    uint32_t step_ms;
    const struct cold_span *spans; /* by series; all that the filter may have something against */
    size_t n;
    /* Says of a part what is to stay of it, as part_mask does. */
    enum part_mask (*filter)(void *ctx, const struct part *p, struct buf *block, struct part *out);
    void (*left)(void *ctx, const struct pack_info *p); /* told of each pack that is left; may be NULL */
    void *ctx;
    cold_wait_fn wait; /* as in cold_compact; with wait_ctx */
    void *wait_ctx;
};
/* Writes each pack with something to go again, without it, in its old place of the order, and switches to it;
 * the others are only looked at. *rewritten counts them. A pack that is damaged, or that cannot be read, is
 * left as it is: after the others were done the first such reason is returned. ERR_CLOSED, ERR_FAILED,
 * ERR_BUSY: not all were looked at. One cold_rewrite or cold_compact at a time. */
int cold_rewrite(struct cold *c, const struct cold_rewrite *r, size_t *rewritten, struct err *err) must_check;

/* --- looking inside --- */

struct pack_info {
    uint64_t id;
    uint64_t order; /* of two packs with parts of one key the one with the larger order is newer */
    uint32_t step_ms;
    uint32_t min_series, max_series;
    int64_t from_ms, until_ms; /* from the first window's start to the last one's end */
    uint64_t bytes, parts;
    uint64_t points;      /* in the blocks of the codec */
    uint64_t block_bytes; /* of those and the others, without keys */
};
/* Of the packs as they are now, by (step, from, id); non-zero stops and is returned. */
typedef int (*cold_pack_fn)(void *ctx, const struct pack_info *p);
int cold_list(struct cold *c, cold_pack_fn fn, void *ctx);

/* Every part of one pack, by (series, window, hi). ERR_NOT_FOUND: no such pack. Else as cold_read. */
int cold_read_pack(struct cold *c, uint64_t id, warm_part_fn fn, void *ctx, struct err *err) must_check;

/* Something that is wrong. What it hit is of these series and begins in this time; it may be all of the pack.
 */
struct cold_damage {
    uint64_t pack;
    uint32_t step_ms;
    bool in_page; /* then `series` and `window_ms` tell where it begins */
    bool one_run; /* then every window of `series` from from_ms to until_ms may be hit, and nothing else */
    uint32_t series, last_series;
    int64_t window_ms;
    int64_t from_ms, until_ms;
    struct err why;
};
struct cold_verify_ctx {
    void *ctx;
    void (*pack)(void *ctx, const struct pack_info *p);     /* before each pack; may be NULL */
    void (*damage)(void *ctx, const struct cold_damage *d); /* may be NULL */
    /* After each page, with what was read since the last call; may sleep. Non-zero gives up with ERR_CLOSED.
     * May be NULL. */
    int (*read)(void *ctx, uint64_t bytes, uint64_t parts);
};
/* Reads everything, checks every checksum and decodes every block that is the codec's or a roll-up. OK, or
 * ERR_CORRUPT after all of it was told. */
int cold_verify(struct cold *c, const struct cold_verify_ctx *v, struct err *err) must_check;

/* Writes a pack again without what cannot be read of it. `covered` is asked about each damaged place; unless
 * it says of each that all of it is stored elsewhere by now, nothing is changed. *healed: the damage is gone;
 * true also if there is none or no such pack any more. */
typedef bool (*cold_covered_fn)(void *ctx, const struct cold_damage *d);
int cold_heal(struct cold *c, uint64_t pack, cold_covered_fn covered, void *ctx, bool *healed,
              struct err *err) must_check;

#endif
