#include "ingest/id_set.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A cleared set keeps at most this many slots. */
#define KEPT_SLOTS 4096

static uint32_t *find(const struct id_set *s, uint32_t id)
{
    size_t mask = s->cap - 1;
    size_t i = (id * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (s->slot[i] && s->slot[i] != id)
        i = (i + 1) & mask;
    return &s->slot[i];
}

static void grow(struct id_set *s)
{
    struct id_set old = *s;
    s->cap = old.cap ? old.cap * 2 : 64;
    s->slot = xcalloc(s->cap, sizeof *s->slot);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slot[i])
            *find(s, old.slot[i]) = old.slot[i];
    free(old.slot);
}

bool id_set_add(struct id_set *s, uint32_t id)
{
    assert(id);
    if (2 * (s->n + 1) > s->cap)
        grow(s);
    uint32_t *at = find(s, id);
    if (*at)
        return false;
    *at = id;
    s->n++;
    return true;
}

void id_set_clear(struct id_set *s)
{
    if (s->cap > KEPT_SLOTS)
        id_set_release(s);
    else if (s->n)
        memset(s->slot, 0, s->cap * sizeof *s->slot);
    s->n = 0;
}

void id_set_release(struct id_set *s)
{
    free(s->slot);
    *s = (struct id_set){NULL, 0, 0};
}
