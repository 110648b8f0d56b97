/* The cold tier in an object store: packs are objects, and so is each generation of the manifest.
 *
 *   PREFIX owner                            whose tier this is
 *   PREFIX manifest/<generation, 16 hex>    the newest counts; kept for keep_ms after it was replaced
 *   PREFIX pack/<id, 16 hex>
 *
 * Any number of processes may read; those that change it should be one at a time. Where the store knows
 * conditions, two are told apart (ERR_BUSY); where it does not, nothing can. See doc/s3.md. */
#ifndef CARAT_COLD_COLD_OBJECTS_H
#define CARAT_COLD_COLD_OBJECTS_H

#include "base/clock.h"
#include "base/fs.h"
#include "cold/cold.h"
#include "cold/object_store.h"

struct cold_objects_options {
    struct cold_options cold;
    struct object_store *objects; /* taken over in any case */
    const char *prefix;           /* "", or something that ends in a slash */
    const char *identity;         /* of this deployment: another's packs are not touched */
    /* Of objects no manifest names: how old before they are removed at a start. An addition must not take
     * longer than this. 0: 24 h; negative: none. */
    int64_t keep_ms;
    /* A replaced pack stays so long, for readers with an older manifest. 0: 10 minutes; negative: none. */
    int64_t linger_ms;
    struct clock *clock;
    /* Footers on the local disk; NULL: none. */
    const char *cache_dir;
    struct fs *fs;
    uint64_t disk_cache_bytes; /* 0: 256 MiB */
};

/* ERR_INVALID: it is another deployment's. ERR_UNSUPPORTED: written by a newer version. */
int cold_objects_open(const struct cold_objects_options *o, struct cold **out, struct err *err) must_check;

#endif
