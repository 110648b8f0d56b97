/* The catalog: names to ids and back, and the index that answers globs.
 *
 * Everything is held in memory; a store (catalog_store.h) keeps it across restarts. A new series is
 * durable with the points that introduced it: every batch carries its definition until a batch that
 * carries it is known to be durable in the stream (catalog_defs_durable). The stream is trimmed only
 * after catalog_flush, so a name is always in the store, in the stream, or in both.
 *
 * Ids are dense, start at 1 and are never reused. A deleted series' id has ended: its name is free, and may
 * get another id. Thread-safe throughout.
 *
 * With a store that several processes share (catalog_store.h: assign, since) the store hands out the ids, so
 * a new series is durable there before its first point is sent on, and no batch carries its definition. What
 * other processes add is taken over by catalog_follow. While the store is away, known series go on. */
#ifndef CARAT_CATALOG_CATALOG_H
#define CARAT_CATALOG_CATALOG_H

#include "base/err.h"
#include "base/metrics.h"
#include "model/sample.h"
#include "model/tombstones.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct catalog_store;

/* Tells the step of a new series by its name (the retention rules): STEP_MIN_MS..STEP_MAX_MS. Any thread; no
 * lock is held. */
typedef uint32_t (*catalog_step_fn)(void *ctx, const char *name, size_t name_len);

/* Told of every new name once, under the catalog's lock: short, and without calling the catalog. `known`: it
 * exists already (from the store or the stream) and the answer does not matter; else false refuses it. */
typedef bool (*catalog_admit_fn)(void *ctx, const char *name, size_t name_len, bool known);
/* Told of every name that was admitted or known and is no more, likewise. */
typedef void (*catalog_leave_fn)(void *ctx, const char *name, size_t name_len);

struct catalog_options {
    struct catalog_store *store; /* NULL: nothing is kept; else taken over, also if opening fails */
    uint32_t max_series;         /* 0: 100 million */
    catalog_step_fn step;        /* NULL: 60 s */
    void *step_ctx;
    catalog_admit_fn admit;  /* NULL: all */
    catalog_leave_fn leave;  /* may be NULL */
    void *admit_ctx;         /* of both */
    struct metrics *metrics; /* may be NULL */
};

/* Loads everything from the store. */
int catalog_open(const struct catalog_options *o, struct catalog **out, struct err *err) must_check;
void catalog_free(struct catalog *c); /* no implied flush */

struct catalog_entry {
    uint32_t id; /* 0: none */
    uint32_t step_ms;
    bool define;     /* put the definition into the batch that carries this point */
    bool over_quota; /* id is 0 because catalog_options.admit refused it */
    bool away;       /* id is 0 because the shared store could not be asked: try again */
};

/* Finds or creates the series of n samples; out[i].id is 0 where the series limit refused it.
 * Made for batches: slots are prefetched, new names are inserted under one lock. */
void catalog_resolve(struct catalog *c, const struct sample *samples, size_t n, struct catalog_entry *out);

/* The definitions of these ids are durable in the stream; later batches need not carry them. */
void catalog_defs_durable(struct catalog *c, const uint32_t *ids, size_t n);

/* Takes over a definition read from the stream, so durable there. OK also if it is known already (then its
 * step and `define` stay as they are) or has ended (then it stays so); ERR_CORRUPT if the id belongs to
 * another name, the name to another id, or the definition cannot be one. */
int catalog_define(struct catalog *c, uint32_t id, uint32_t step_ms, const char *name, size_t name_len,
                   struct err *err) must_check;
/* Takes over what other processes added to a shared store; nothing to do with any other. Any thread. */
int catalog_follow(struct catalog *c, struct err *err) must_check;
/* Ids up to and including this one are in use somewhere: do not hand them out again. */
void catalog_reserve(struct catalog *c, uint32_t id);

/* Exact name (canonical) to entry; id 0 if unknown. */
struct catalog_entry catalog_lookup(struct catalog *c, const char *name, size_t name_len);

/* Step of an id; 0 if unknown or ended. Cheap: the writer asks for every point. */
uint32_t catalog_step_ms(struct catalog *c, uint32_t id);
/* The name of an id, also of one that has ended in this process, NUL-terminated, valid for the catalog's
 * life; NULL if unknown. */
const char *catalog_name(struct catalog *c, uint32_t id, size_t *len);

/* One node of the path tree that matched a pattern. */
struct catalog_node {
    const char *path; /* NUL-terminated, valid during the call */
    size_t path_len;
    uint32_t id; /* series with exactly this path, 0 if it is only a branch */
    bool branch; /* has children */
};
typedef int (*catalog_node_fn)(void *ctx, const struct catalog_node *node);

/* Nodes that match a Graphite glob, in path order (byte order, level by level). Per level:
 * * any run of bytes, ? one, [a-z0] a set ([!a] its complement), {a,b*} alternatives; a level that is **
 * matches any number of levels, at least one. Tagged series are not in this tree. ERR_INVALID says where the
 * pattern is wrong (unclosed [ or {). ERR_LIMIT: more than `limit` nodes (0: no limit), or ** in a pattern of
 * more than 63 levels. On an error fn has not been called. A non-zero fn result stops and is returned. fn may
 * call the catalog: no lock is held. */
int catalog_find(struct catalog *c, const char *pattern, size_t len, size_t limit, catalog_node_fn fn,
                 void *ctx, struct err *err) must_check;

/* Every series, by id; for index.json and tests. The name is NUL-terminated. */
typedef int (*catalog_series_fn)(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t name_len);
int catalog_each(struct catalog *c, catalog_series_fn fn, void *ctx);

/* Series with tags, by id. */
int catalog_each_tagged(struct catalog *c, catalog_series_fn fn, void *ctx);

uint32_t catalog_count(struct catalog *c);
uint32_t catalog_max_id(struct catalog *c);
uint64_t catalog_memory_bytes(struct catalog *c);

/* --- deletion (doc/deletion.md) --- */

struct catalog_ended; /* catalog_store.h */

/* The series are deleted: their ids end, at once for every other call here, and their names are free. `pos`
 * is the deletion's place in the stream, where it must be durable. An id that is not known yet ends, too. The
 * same again changes nothing. */
void catalog_end(struct catalog *c, const uint32_t *ids, size_t n, uint64_t pos);
/* False: the store can keep none (a shared one), so nothing may be deleted. */
bool catalog_keeps_deletions(struct catalog *c);
bool catalog_has_ended(struct catalog *c, uint32_t id);
/* Those of which something may be stored yet, in the order in which they ended; malloc'ed, NULL if none. */
struct catalog_ended *catalog_list_ended(struct catalog *c, size_t *n);
size_t catalog_count_ended(struct catalog *c);
/* Nothing of them is stored any more: what the store knows of them goes with the next flush. */
void catalog_erased(struct catalog *c, const uint32_t *ids, size_t n);
/* Of ranges of series that live; kept in the store by catalog_flush. */
struct tombstones *catalog_tombstones(struct catalog *c);

/* Writes new definitions (a shared store is followed instead), ended ids and tombstones to the store; durable
 * on return. After a failure those that were not written wait for the next call. Also puts new names into the
 * path tree, so that finds need not. One caller at a time; everything else goes on meanwhile. */
int catalog_flush(struct catalog *c, struct err *err) must_check;

/* Writes what the store holds now (at least what the last flush had) to a new file, see catalog_store.h. Any
 * thread, everything else goes on. ERR_UNSUPPORTED: there is no store, or not one in a file. */
int catalog_copy(struct catalog *c, const char *path, struct err *err) must_check;

#endif
