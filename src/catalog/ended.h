/* Ids that have ended: their series were deleted. In memory those of which something is still stored, and
 * what the store must still be told. No lock of its own: the catalog's. */
#ifndef CARAT_CATALOG_ENDED_H
#define CARAT_CATALOG_ENDED_H

#include "catalog/catalog_store.h"

struct ended {
    struct catalog_ended *v; /* not erased yet, in the order in which they ended */
    size_t n, cap;
    struct catalog_ended *changes; /* for the store, in order */
    size_t nchanges, cap_changes;
};

void ended_release(struct ended *e);
/* The id must be new here. `stored`: the store knows it already. */
void ended_add(struct ended *e, const struct catalog_ended *one, bool stored);
/* Those of `ids` that are here leave; the store is to be told. */
void ended_erase(struct ended *e, const uint32_t *ids, size_t n);
/* Copies, malloc'ed; NULL if there are none. */
struct catalog_ended *ended_list(const struct ended *e, size_t *n);
struct catalog_ended *ended_changes(const struct ended *e, size_t *n);
/* The store has the first n of them. */
void ended_changes_kept(struct ended *e, size_t n);

#endif
