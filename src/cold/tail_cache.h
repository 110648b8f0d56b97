/* Footers of packs that are far away, on the local disk: what every read begins with. Anything in it may be
 * lost or damaged at any time; it is then fetched again. Bounded; the least recently used go. Any thread. */
#ifndef CARAT_COLD_TAIL_CACHE_H
#define CARAT_COLD_TAIL_CACHE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"

#include <stdbool.h>
#include <stdint.h>

struct tail_cache;

struct tail_cache_options {
    struct fs *fs;
    const char *dir;    /* made if it is missing; its parent must exist */
    uint64_t max_bytes; /* 0: 256 MiB */
};
/* Takes over what is there. */
int tail_cache_open(const struct tail_cache_options *o, struct tail_cache **out, struct err *err) must_check;
void tail_cache_free(struct tail_cache *c);

/* The last bytes of a pack, and how long the pack is. False: not here. */
bool tail_cache_get(struct tail_cache *c, uint64_t id, struct buf *tail, uint64_t *pack_bytes);
/* A failure is only logged. */
void tail_cache_put(struct tail_cache *c, uint64_t id, const void *tail, size_t n, uint64_t pack_bytes);
void tail_cache_drop(struct tail_cache *c, uint64_t id);
uint64_t tail_cache_bytes(struct tail_cache *c);

#endif
