/* For implementers of the cold tier's storage: named immutable objects and one manifest. */
#ifndef CARAT_COLD_COLD_IMPL_H
#define CARAT_COLD_COLD_IMPL_H

#include "base/buf.h"
#include "base/log.h"
#include "cold/cold.h"
#include "cold/manifest.h"
#include "cold/pack_reader.h"
#include "cold/pack_writer.h"

#include <pthread.h>
#include <stdatomic.h>

/* An object that is being written (append, finish) or read. */
struct cold_object;
struct cold_store;
typedef int (*cold_name_fn)(void *ctx, uint64_t id);

/* Packs are known by their id. Any thread; one object is written by one thread and read by any. */
struct cold_store_ops {
    const char *name;
    int (*create)(struct cold_store *, uint64_t id, struct cold_object **out, struct err *);
    int (*append)(struct cold_object *, const void *p, size_t n, struct err *);
    /* Durable when it returns OK, its name too. */
    int (*finish)(struct cold_object *, struct err *);
    int (*open)(struct cold_store *, uint64_t id, struct cold_object **out, uint64_t *size, struct err *);
    /* All n bytes, or ERR_CORRUPT if the object ends before. */
    int (*read)(struct cold_object *, void *p, size_t n, uint64_t off, struct err *);
    void (*close)(struct cold_object *);
    int (*remove)(struct cold_store *, uint64_t id, struct err *);        /* at once, or later */
    int (*remove_orphan)(struct cold_store *, uint64_t id, struct err *); /* at a start; NULL: as remove */
    /* Calls fn for every pack there is; removes what an interrupted write left if `clean`. */
    int (*list)(struct cold_store *, bool clean, cold_name_fn fn, void *ctx, struct err *);
    int (*load_manifest)(struct cold_store *, struct buf *out, struct err *); /* ERR_NOT_FOUND: none yet */
    /* All or nothing. *unknown: it failed at a point after which either may be found. ERR_LOCKED (of a shared
     * store): another process has stored one since load_manifest, this one is not stored. */
    int (*store_manifest)(struct cold_store *, uint64_t generation, const void *p, size_t n, bool *unknown,
                          struct err *);
    void (*free)(struct cold_store *);
};
struct cold_store {
    const struct cold_store_ops *ops;
    /* Far away, and other processes may change it: no answer is no damage, a pack may be gone, the manifest
     * is read again where that helps (cold_refresh). */
    bool shared;
    bool skip_unknown; /* a manifest whose fate is unknown may still be stored later: its generation is left
                          out */
};
struct cold_object {
    struct cold_store *store;
    size_t suffix; /* the last bytes that hold the footer, if the store knows; else 0 */
};

/* A pack of the manifest. */
struct cold_pack {
    struct pack_info info; /* never changes */
    /* under cold.mtx */
    unsigned refs;     /* snapshots that hold it */
    bool damaged;      /* something of it could not be read: it is not merged with others */
    bool dropped;      /* no longer in the manifest: goes with the last reference */
    struct pack *open; /* cached; NULL: not */
    unsigned users;    /* of `open` */
    uint64_t used_at;
};

/* The packs of one generation, by (step, from, id). */
struct cold_snapshot {
    unsigned refs; /* under cold.mtx */
    size_t n;
    struct cold_pack *packs[];
};

struct cold_metrics {
    struct metrics *registry;
    struct counter *added_parts, *added_bytes, *read_parts, *corrupt_parts, *unreachable, *compactions,
        *compacted_bytes, *expired_packs, *orphans;
    struct histogram *read_seconds, *add_seconds;
};

struct cold {
    struct cold_store *store; /* owned */
    struct cold_options o;
    struct cold_metrics metrics;
    struct log_limit corrupt_log;
    pthread_mutex_t switching; /* one change of the manifest at a time; taken before mtx */
    pthread_mutex_t mtx;
    /* under mtx */
    struct cold_snapshot *now;
    uint64_t generation, next_id, next_order, clock;
    uint64_t cached_footers, cached_bytes;
    bool failed; /* a switch ended half way */
    _Atomic uint64_t added_parts, added_bytes, reads, read_parts, corrupt_parts, unreachable;
    _Atomic uint64_t changes; /* of `now`, counted after it */
    _Atomic uint64_t compactions, compacted_bytes, expired_packs, orphans_removed;
};

/* Takes `store` over, in any case. The first new id is at least first_id. */
int cold_open(struct cold_store *store, const struct cold_options *o, uint64_t first_id, struct cold **out,
              struct err *err) must_check;

/* cold_set.c: which packs there are */
struct cold_snapshot *cold_snapshot_new(const struct pack_info *packs, size_t n);
/* Index of the first pack of a step. */
size_t cold_snapshot_step(const struct cold_snapshot *s, uint32_t step_ms);
struct cold_snapshot *cold_snapshot_get(struct cold *c);
void cold_snapshot_put(struct cold *c, struct cold_snapshot *s);
/* Replaces `gone` (which may be empty) by packs made of `added`. ERR_NOT_FOUND: one of `gone` has gone
 * already. */
int cold_switch(struct cold *c, struct cold_pack *const *gone, size_t ngone, const struct pack_info *added,
                size_t nadded, struct err *err) must_check;
/* An id of its own for a new pack, and the place in the order of what is added now. */
int cold_next_id(struct cold *c, uint64_t *id, struct err *err) must_check;
uint64_t cold_next_order(struct cold *c);
/* The pack's footer and file, to be given back. The snapshot it is from must be held. */
int cold_pack_acquire(struct cold *c, struct cold_pack *p, struct pack **out, struct err *err) must_check;
void cold_pack_release(struct cold *c, struct cold_pack *p);

void cold_count(_Atomic uint64_t *own, struct counter *shared, uint64_t n);
/* Counts and logs, and keeps the first in *first (may be NULL). False: it is no damage, only out of reach. */
bool cold_damaged(struct cold *c, const struct err *why, struct err *first);
/* The manifest as it is stored now; none yet: an empty one. Release it in any case. */
int cold_load(struct cold *c, struct manifest *m, struct err *err) must_check;

/* cold_verify.c: goes over a pack and tells what is wrong with it; the parts that are good go to `good` (may
 * be NULL). ERR_CLOSED: `read` said so; else what `good` failed with. */
struct cold_look {
    void *ctx;
    void (*damage)(void *ctx, const struct cold_damage *d);
    int (*read)(void *ctx, uint64_t bytes, uint64_t parts); /* may be NULL */
    int (*good)(void *ctx, const struct part *p, struct err *err);
};
int cold_look_at(struct cold *c, struct cold_pack *p, const struct cold_look *look,
                 struct err *err) must_check;

/* Whether the manifest as it is stored now names a pack; true if that cannot be read. */
bool cold_still_named(struct cold *c, uint64_t id);

/* cold_add.c: packs of one addition or merge; `order` as in pack_info. Not yet in the manifest. */
struct cold_build;
/* The packs will take the place of `replaced` (which may be empty; borrowed). */
struct cold_build *cold_build_new(struct cold *c, uint32_t step_ms, struct cold_pack *const *replaced,
                                  size_t nreplaced, cold_wait_fn wait, void *ctx);
int cold_build_part(struct cold_build *b, const struct part *p, struct err *err) must_check;
/* Finishes and reads back. *packs is the build's. */
int cold_build_finish(struct cold_build *b, uint64_t order, const struct pack_info **packs, size_t *n,
                      struct err *err) must_check;
/* Removes the packs, unless they have been switched to. */
void cold_build_free(struct cold_build *b, bool keep);

/* cold_merge.c: the parts of several packs as one sequence by (series, window, hi, order) */
struct cold_merge;
/* Of series min..max and windows that start in [from_ms, until_ms). `packs` by from_ms; they stay the
 * caller's. If it is one series a pack is opened only when its turn comes. */
struct cold_range {
    uint32_t step_ms, min_series, max_series;
    int64_t from_ms, until_ms;
};
struct cold_merge *cold_merge_new(struct cold *c, struct cold_pack *const *packs, size_t n,
                                  const struct cold_range *r);
/* 1: *out is valid until the next call. 0: the end. Damage is counted and remembered. */
int cold_merge_next(struct cold_merge *m, struct part *out);
const struct err *cold_merge_damage(const struct cold_merge *m); /* code OK: none */
void cold_merge_free(struct cold_merge *m);

#endif
