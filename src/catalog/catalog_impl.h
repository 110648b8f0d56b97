/* What the files of the catalog share.
 *
 * Locks, in the order in which they are taken:
 *
 *   tree_lock   the path tree: shared by catalog_find, exclusive while new names are put into it
 *   lock        the name table, the arenas' ends and the lists of new ids: shared to look names up
 *
 * Entries and names are read without a lock (entries.h). A new series enters the table at once but the tree
 * only when the next catalog_find or catalog_flush comes by (`unindexed`): so resolving never waits for a
 * query, however long that takes. Nothing is held while a callback or the store runs. */
#ifndef CARAT_CATALOG_CATALOG_IMPL_H
#define CARAT_CATALOG_CATALOG_IMPL_H

#include "catalog/catalog.h"

#include "catalog/ended.h"
#include "catalog/entries.h"
#include "catalog/name_arena.h"
#include "catalog/name_table.h"
#include "catalog/path_tree.h"

#include <pthread.h>

struct id_list {
    uint32_t *v;
    size_t n, cap;
};

struct catalog {
    struct catalog_store *store;
    uint32_t max_series;
    catalog_step_fn step;
    void *step_ctx;
    catalog_admit_fn admit;
    catalog_leave_fn leave;
    void *admit_ctx;
    struct tombstones *tombstones;
    struct gauge *series_gauge, *bytes_gauge, *pending_gauge;

    struct entries entries;
    _Atomic uint32_t count, max_id;

    pthread_rwlock_t lock;
    struct name_table table;
    struct name_arena names;
    struct id_list pending;   /* not yet in the store; empty if there is none */
    struct id_list unindexed; /* not yet in the tree */
    uint32_t followed;        /* every row of a shared store up to this id is here */
    struct id_list unlinked;  /* ended, perhaps still in the tree */
    struct ended ended;

    pthread_rwlock_t tree_lock;
    struct path_tree tree;
};

/* Under the exclusive lock. */
void id_list_push(struct id_list *l, uint32_t id);
/* All of a list, which is empty then. */
struct id_list catalog_take_list(struct catalog *c, struct id_list *l);

static inline void catalog_lock_shared(struct catalog *c)
{
    pthread_rwlock_rdlock(&c->lock);
}
static inline void catalog_lock_exclusive(struct catalog *c)
{
    pthread_rwlock_wrlock(&c->lock);
}
static inline void catalog_unlock(struct catalog *c)
{
    pthread_rwlock_unlock(&c->lock);
}

/* catalog_find.c: brings the path tree up to the table. */
void catalog_index_new(struct catalog *c);

#endif
