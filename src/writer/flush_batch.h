/* What one put to warm will hold: parts and the keys they replace. */
#ifndef CARAT_WRITER_FLUSH_BATCH_H
#define CARAT_WRITER_FLUSH_BATCH_H

#include "writer/merge.h"

struct flush_batch {
    struct part *parts;
    bool *in_blocks; /* the part's data is an offset into `blocks` as long as that may move */
    size_t n, cap;
    struct buf blocks;
    struct merge_keys remove;
};
#define FLUSH_BATCH_INIT                                                                                     \
    {                                                                                                        \
        NULL, NULL, 0, 0, BUF_INIT,                                                                          \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }

/* Room for one more part; the caller fills both at index b->n and then counts it. */
void flush_batch_reserve(struct flush_batch *b);
static inline const uint8_t *flush_batch_data(const struct flush_batch *b, size_t i)
{
    return b->in_blocks[i] ? b->blocks.data + (uintptr_t)b->parts[i].data : b->parts[i].data;
}
/* Stores it all in one atomic step and empties it. */
int flush_batch_put(struct flush_batch *b, struct warm *warm, struct err *err) must_check;
void flush_batch_clear(struct flush_batch *b);
void flush_batch_release(struct flush_batch *b);

#endif
