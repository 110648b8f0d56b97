/* A set of catalog ids: which definitions a batch has already. One owner. */
#ifndef CARAT_INGEST_ID_SET_H
#define CARAT_INGEST_ID_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct id_set {
    uint32_t *slot; /* open addressing, 0 is empty */
    size_t n, cap;  /* cap is 0 or a power of two */
};

/* True if `id` (not 0) was not in it yet. */
bool id_set_add(struct id_set *s, uint32_t id);
void id_set_clear(struct id_set *s);
void id_set_release(struct id_set *s);

#endif
