/* Memory freed all at once: for the names and scratch of one batch or one query.
 * One owner, not thread-safe. Addresses stay put until reset or release. */
#ifndef CARAT_BASE_ARENA_H
#define CARAT_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *head;
    size_t used;        /* bytes handed out since the last reset */
    size_t chunk_bytes; /* 0 means 64 KiB */
};

#define ARENA_INIT                                                                                           \
    {                                                                                                        \
        NULL, 0, 0                                                                                           \
    }

/* n bytes aligned to 16; never NULL. */
void *arena_alloc(struct arena *a, size_t n);
/* A copy of n bytes with a NUL after them. */
char *arena_strndup(struct arena *a, const char *s, size_t n);
/* Forgets everything but keeps one chunk for reuse. */
void arena_reset(struct arena *a);
void arena_release(struct arena *a);

#endif
