/* Hash table from name to id. Open addressing, linear probing, 16-byte slots, at most 3/4 full.
 *
 * Growing does not stop the world: the table of twice the size starts empty and every insertion moves a few
 * slots of the old one, which stays valid as it is and is asked after the new one until all are moved. A
 * removed entry leaves a dead slot, so that those behind it are still found, until the next growth. No lock
 * of its own: many readers or one writer. */
#ifndef CARAT_CATALOG_NAME_TABLE_H
#define CARAT_CATALOG_NAME_TABLE_H

#include "base/prefetch.h"
#include "catalog/name_arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct name_slot {
    uint64_t hash;
    uint32_t id; /* 0: empty, NAME_SLOT_DEAD: nobody's */
    uint32_t name;
};
_Static_assert(sizeof(struct name_slot) == 16, "four slots a cache line");

#define NAME_SLOT_DEAD UINT32_MAX

struct name_slots {
    struct name_slot *v; /* NULL: none */
    uint64_t mask;
};

struct name_table {
    struct name_slots now, old;
    uint64_t used;  /* distinct entries and dead slots */
    uint64_t dead;  /* in `now` */
    uint64_t moved; /* slots of `old` looked at so far */
};

void name_table_init(struct name_table *t);
void name_table_release(struct name_table *t);
uint64_t name_table_bytes(const struct name_table *t);

/* The entry of a name (which holds no NUL), or NULL. */
const struct name_slot *name_table_find(const struct name_table *t, const struct name_arena *names,
                                        const char *name, size_t len, uint64_t hash);
/* The name must not be there yet. */
void name_table_insert(struct name_table *t, uint64_t hash, uint32_t id, uint32_t name);
/* Takes the name's entry out, if there is one. */
void name_table_remove(struct name_table *t, const struct name_arena *names, const char *name, size_t len,
                       uint64_t hash);

PREFETCH_INLINE void name_table_prefetch(const struct name_table *t, uint64_t hash)
{
    __builtin_prefetch(&t->now.v[hash & t->now.mask]);
}
/* First entry with this hash, almost surely the right one; NULL if the newer table has none. */
static inline const struct name_slot *name_table_guess(const struct name_table *t, uint64_t hash)
{
    for (uint64_t i = hash & t->now.mask;; i = (i + 1) & t->now.mask) {
        const struct name_slot *s = &t->now.v[i];
        if (s->id == 0)
            return NULL;
        if (s->hash == hash)
            return s;
    }
}

#endif
