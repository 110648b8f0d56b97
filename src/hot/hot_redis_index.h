/* The windows this process has written to Redis and not yet released: for each what it last saw acknowledged.
 * Tells what is due without asking Redis, and what must be there. Locking is the caller's. */
#ifndef CARAT_HOT_HOT_REDIS_INDEX_H
#define CARAT_HOT_HOT_REDIS_INDEX_H

#include <stddef.h>
#include <stdint.h>

enum hot_redis_state {
    HOT_REDIS_NEW,     /* nothing of it is acknowledged, and what is under its key was not looked at */
    HOT_REDIS_JUNK,    /* nothing of it is acknowledged, and what is under its key is worthless */
    HOT_REDIS_HELD,    /* Redis acknowledged positions lo..hi */
    HOT_REDIS_LEAVING, /* held, in warm too, and its deletion may have been carried out */
};

struct hot_redis_win {
    struct hot_redis_win *next; /* the series' next older window */
    int64_t start_ms;
    uint64_t lo, hi;
    uint64_t version; /* another one after every change */
    uint32_t series, step_ms;
    uint64_t call; /* the apply that used `op` last */
    uint32_t op;
    uint16_t slot; /* of its key */
    uint8_t state; /* enum hot_redis_state */
};

struct hot_redis_slab;

struct hot_redis_index {
    struct hot_redis_win ***pages; /* list heads by series, newest first */
    uint32_t npages;               /* pages from here on are NULL */
    uint32_t pages_cap;
    struct hot_redis_win *free_wins;
    struct hot_redis_slab *slabs;
    uint64_t series, windows, bytes;
};

void hot_redis_index_init(struct hot_redis_index *x);
void hot_redis_index_release(struct hot_redis_index *x); /* leaves an empty one */

/* The newest window of a series, NULL if there is none. */
struct hot_redis_win *hot_redis_index_head(const struct hot_redis_index *x, uint32_t series);
struct hot_redis_win *hot_redis_index_find(const struct hot_redis_index *x, uint32_t series, uint32_t step_ms,
                                           int64_t start_ms);
/* Adds one that is not there: state NEW, all else zero. Its address stays until it is removed. */
struct hot_redis_win *hot_redis_index_add(struct hot_redis_index *x, uint32_t series, uint32_t step_ms,
                                          int64_t start_ms);
void hot_redis_index_remove(struct hot_redis_index *x, struct hot_redis_win *w);

/* The first series at or after `from` that has windows; UINT32_MAX if there is none. */
uint32_t hot_redis_index_next(const struct hot_redis_index *x, uint32_t from);

#endif
