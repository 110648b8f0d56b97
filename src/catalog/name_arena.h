/* Names, append-only: each is NUL-terminated and never moves, and a 32-bit reference finds it again. One
 * writer at a time; a reader needs only that its reference was published to it. */
#ifndef CARAT_CATALOG_NAME_ARENA_H
#define CARAT_CATALOG_NAME_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* References count units of 4 bytes: 16 GB of names. */
#define NAME_UNIT        4u
#define NAME_CHUNK_UNITS (1u << 20)
#define NAME_CHUNKS      4096u
#define NAME_REF_FULL    UINT32_MAX

struct name_arena {
    char *chunk[NAME_CHUNKS];
    uint32_t chunks;
    uint32_t used; /* units in the last chunk */
};

/* NAME_REF_FULL when there is no room left. */
uint32_t name_arena_add(struct name_arena *a, const char *name, size_t len);
void name_arena_release(struct name_arena *a);
uint64_t name_arena_bytes(const struct name_arena *a);

static inline const char *name_at(const struct name_arena *a, uint32_t ref)
{
    return a->chunk[ref / NAME_CHUNK_UNITS] + (size_t)(ref % NAME_CHUNK_UNITS) * NAME_UNIT;
}

#endif
