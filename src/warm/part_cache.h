/* Parts as they were read, kept for the next read of the same windows.
 *
 * An entry is the whole answer to one read: of a series and step, the parts of some windows, in order. It is
 * right as long as nothing of the series has changed below, so whoever changes something says so
 * (part_cache_forget) when the change can be read, and not before. A read that began before the change may
 * still bring what was there: it has a ticket from its beginning, with which its answer is not taken then.
 * For changes that cannot be told by series there is a number, `below`: entries of another one are not found.
 *
 * Bounded in bytes; what was not used for longest goes. Any thread. */
#ifndef CARAT_WARM_PART_CACHE_H
#define CARAT_WARM_PART_CACHE_H

#include "base/metrics.h"
#include "model/part.h"
#include "warm/warm.h"

/* --- a list of parts: filled by one, then shared and not changed any more --- */

struct part_list;

struct part_list *part_list_new(void); /* one reference */
/* Copies it. `from` is a WARM_FROM_ bit. */
void part_list_add(struct part_list *l, const struct part *p, unsigned from);
/* After the last one: gives back what is not needed. */
void part_list_seal(struct part_list *l);
size_t part_list_n(const struct part_list *l);
const struct part *part_list_at(const struct part_list *l, size_t i, unsigned *from);
void part_list_unref(struct part_list *l);

/* --- the cache --- */

struct part_cache;

struct part_cache_key {
    uint32_t series, step_ms;
    int64_t from_window_ms, until_window_ms;
};

struct part_cache *part_cache_new(size_t bytes, struct metrics *m); /* m may be NULL */
void part_cache_free(struct part_cache *c);

/* A reference to what was kept; NULL: nothing. Then *ticket is what part_cache_add asks for. */
struct part_list *part_cache_find(struct part_cache *c, const struct part_cache_key *key, uint64_t below,
                                  uint64_t *ticket);
/* Keeps a list, with a reference of its own, unless it may be out of date or is large. */
void part_cache_add(struct part_cache *c, const struct part_cache_key *key, uint64_t below, uint64_t ticket,
                    struct part_list *l);
/* All that is kept of a series' step. */
void part_cache_forget(struct part_cache *c, uint32_t series, uint32_t step_ms);
/* All of a step with a window that begins before before_ms. */
void part_cache_forget_before(struct part_cache *c, uint32_t step_ms, int64_t before_ms);

struct part_cache_stats {
    uint64_t hits, misses, evicted, bytes, entries;
};
void part_cache_get_stats(struct part_cache *c, struct part_cache_stats *out);

#endif
