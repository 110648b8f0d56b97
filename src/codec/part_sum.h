/* The parts of one window laid over each other, by the rule of model/part.h, into one. */
#ifndef CARAT_CODEC_PART_SUM_H
#define CARAT_CODEC_PART_SUM_H

#include "base/buf.h"
#include "model/part.h"

struct part_sum {
    struct slots slots;
    struct part_key key; /* its hi is the largest so far */
    uint64_t lo;         /* the smallest so far */
    uint32_t parts;
};
void part_sum_init(struct part_sum *s, const struct part_key *window);
/* By ascending hi; of equal hi the newer last. Fails if the block cannot be decoded, and then nothing of it
 * is laid. */
int part_sum_add(struct part_sum *s, const struct part *p, struct err *err) must_check;
/* Appends the block of them all to `out`; at least one must have been added. */
void part_sum_encode(const struct part_sum *s, struct buf *out);

/* Blocks whose first byte names no format are not the codec's (roll-ups): they are kept as they are. */
static inline bool block_is_codecs(const struct part *p)
{
    return p->size && (p->data[0] & 0x1f);
}

#endif
