/* The warm tier with the cold tier below it, behind warm's own interface, for the reader and the writer.
 *
 * Puts, removals and syncs go to warm. A read gives both tiers' parts in one (window, hi) order, of equal
 * keys warm's last: it may be newer. It looks into warm before cold, because the mover goes the other way:
 * what leaves warm is in cold by then. A removal does not reach what cold holds; by the rule of model/part.h
 * the older part there changes nothing. Expiry does both. A check
 * tells the keys of warm's damaged parts; damage in cold has none and is told with ERR_CORRUPT alone. A scan
 * gives what warm itself holds. */
#ifndef CARAT_COLD_WARM_TIERED_H
#define CARAT_COLD_WARM_TIERED_H

#include "cold/cold.h"
#include "warm/warm.h"

/* Both are borrowed and must outlive it; the mover works on them. */
struct warm *warm_tiered_new(struct warm *warm, struct cold *cold);

/* The same, and what was read of up to 64 windows is kept for the next such read (warm/part_cache.h), in at
 * most cache_bytes. Only where all changes to both tiers are made in this process and, in warm, by way of
 * `warm`, which can have one such tier. `m`, for the cache, may be NULL. */
struct warm *warm_tiered_cached_new(struct warm *warm, struct cold *cold, size_t cache_bytes,
                                    struct metrics *m);

#endif
