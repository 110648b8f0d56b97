#include "catalog/name_arena.h"

#include "catalog/big.h"

#include <string.h>

#define CHUNK_BYTES ((size_t)NAME_CHUNK_UNITS * NAME_UNIT)

uint32_t name_arena_add(struct name_arena *a, const char *name, size_t len)
{
    uint32_t units = (uint32_t)(len / NAME_UNIT + 1);
    if (a->chunks == 0 || NAME_CHUNK_UNITS - a->used < units) {
        if (a->chunks == NAME_CHUNKS)
            return NAME_REF_FULL;
        a->chunk[a->chunks++] = big_alloc(CHUNK_BYTES);
        a->used = 0;
    }
    char *p = a->chunk[a->chunks - 1] + (size_t)a->used * NAME_UNIT;
    memcpy(p, name, len);
    p[len] = '\0';
    uint32_t ref = (a->chunks - 1) * NAME_CHUNK_UNITS + a->used;
    a->used += units;
    return ref;
}

void name_arena_release(struct name_arena *a)
{
    for (uint32_t i = 0; i < a->chunks; i++)
        big_free(a->chunk[i], CHUNK_BYTES);
    a->chunks = 0;
}

uint64_t name_arena_bytes(const struct name_arena *a)
{
    /* The rest of the last chunk is not touched yet, and so not resident. */
    return sizeof *a + (a->chunks ? ((uint64_t)(a->chunks - 1) * NAME_CHUNK_UNITS + a->used) * NAME_UNIT : 0);
}
