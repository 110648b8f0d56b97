/* A stored part without its dead slots (model/tombstones.h). */
#ifndef CARAT_CODEC_PART_MASK_H
#define CARAT_CODEC_PART_MASK_H

#include "base/buf.h"
#include "model/tombstones.h"

enum part_mask {
    PART_LIVES, /* nothing of it is dead: *out is *p */
    PART_CUT,   /* *out has a new block, in `block` */
    PART_DEAD,  /* nothing of it lives: *out means nothing */
};

/* `t` may be NULL. Key and lo stay as they are. Blocks that are not the codec's (roll-ups) live, and so do
 * those that cannot be decoded: whoever reads them will tell. `block` is cleared before it is written. */
enum part_mask part_mask(struct tombstones *t, const struct part *p, struct buf *block, struct part *out);

/* The same for a roll-up, without the slots that one tombstone takes (tombstone_takes), whatever its hi. All
 * other blocks live. */
enum part_mask part_mask_rollup(const struct tombstone *v, int64_t whole_from_ms, const struct part *p,
                                struct buf *block, struct part *out);

#endif
