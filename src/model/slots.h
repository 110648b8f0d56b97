/* A run of slots: values with a presence bit each. The shape in which a window's
 * points are merged, encoded and read. The value of an absent slot means nothing. */
#ifndef CARAT_MODEL_SLOTS_H
#define CARAT_MODEL_SLOTS_H

#include "model/window.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SLOTS_WORDS(n) (((n) + 63) / 64)

static inline bool slot_get(const uint64_t *present, size_t i)
{
    return present[i / 64] >> (i % 64) & 1;
}
static inline void slot_set(uint64_t *present, size_t i)
{
    present[i / 64] |= 1ull << (i % 64);
}
static inline size_t slots_count(const uint64_t *present, size_t n)
{
    size_t c = 0;
    for (size_t w = 0; w < SLOTS_WORDS(n); w++)
        c += (size_t)__builtin_popcountll(present[w]);
    return c;
}

/* One window on the stack. Bits at and after n are zero. */
struct slots {
    uint32_t n;
    uint64_t present[SLOTS_WORDS(WINDOW_SLOTS_MAX)];
    double value[WINDOW_SLOTS_MAX];
};
static inline void slots_init(struct slots *s, uint32_t n)
{
    s->n = n;
    memset(s->present, 0, sizeof s->present);
}

#endif
