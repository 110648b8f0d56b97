/* What is known of a series, by id. Pages never move, so a reader needs no lock: `step_ms` is stored last and
 * with release, and 0 means that there is no such series yet, or no more (`ended`). One writer at a time. */
#ifndef CARAT_CATALOG_ENTRIES_H
#define CARAT_CATALOG_ENTRIES_H

#include "base/mem.h"
#include "base/prefetch.h"
#include "catalog/big.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define ENTRY_PAGE_BITS 18
#define ENTRY_PAGE      (1u << ENTRY_PAGE_BITS)
#define ENTRY_PAGES     (1u << (32 - ENTRY_PAGE_BITS))

struct entry {
    _Atomic uint32_t step_ms;
    uint32_t name; /* in the name arena */
    uint16_t name_len;
    uint8_t tagged; /* bool */
    _Atomic uint8_t state;
};
enum entry_state { ENTRY_KNOWN, ENTRY_DEFINE, ENTRY_ENDED };
_Static_assert(sizeof(struct entry) == 12, "the budget per series counts on it");

struct entries {
    struct entry *_Atomic *pages; /* ENTRY_PAGES of them */
};

static inline void entries_init(struct entries *e)
{
    e->pages = xcalloc(ENTRY_PAGES, sizeof *e->pages);
}

static inline void entries_release(struct entries *e)
{
    for (uint32_t i = 0; i < ENTRY_PAGES; i++)
        big_free(atomic_load_explicit(&e->pages[i], memory_order_relaxed), ENTRY_PAGE * sizeof(struct entry));
    free(e->pages);
}

/* Room for an id, for the writer to fill; zero if it is new. */
static inline struct entry *entries_room(struct entries *e, uint32_t id)
{
    struct entry *page = atomic_load_explicit(&e->pages[id >> ENTRY_PAGE_BITS], memory_order_relaxed);
    if (!page) {
        page = big_alloc(ENTRY_PAGE * sizeof *page);
        atomic_store_explicit(&e->pages[id >> ENTRY_PAGE_BITS], page, memory_order_release);
    }
    return &page[id & (ENTRY_PAGE - 1)];
}

/* The entry of an id, or NULL. */
static inline struct entry *entries_get(const struct entries *e, uint32_t id)
{
    struct entry *page = atomic_load_explicit(&e->pages[id >> ENTRY_PAGE_BITS], memory_order_acquire);
    if (!page)
        return NULL;
    struct entry *x = &page[id & (ENTRY_PAGE - 1)];
    return atomic_load_explicit(&x->step_ms, memory_order_acquire) ? x : NULL;
}

/* The same also for an id that has ended. */
static inline struct entry *entries_get_any(const struct entries *e, uint32_t id)
{
    struct entry *page = atomic_load_explicit(&e->pages[id >> ENTRY_PAGE_BITS], memory_order_acquire);
    if (!page)
        return NULL;
    struct entry *x = &page[id & (ENTRY_PAGE - 1)];
    bool there = atomic_load_explicit(&x->step_ms, memory_order_acquire) ||
                 atomic_load_explicit(&x->state, memory_order_acquire) == ENTRY_ENDED;
    return there ? x : NULL;
}

PREFETCH_INLINE void entries_prefetch(const struct entries *e, uint32_t id)
{
    struct entry *page = atomic_load_explicit(&e->pages[id >> ENTRY_PAGE_BITS], memory_order_acquire);
    if (page)
        __builtin_prefetch(&page[id & (ENTRY_PAGE - 1)]);
}

#endif
