/* Which of a block's slots hold a point: a kind in the block's first byte and 0 or more bytes. */
#ifndef CARAT_CODEC_PRESENCE_H
#define CARAT_CODEC_PRESENCE_H

#include "base/buf.h"

#include <stdint.h>

/* Kinds are on disk: never reused. Numbers in the bytes are varints. */
enum presence_kind {
    PRESENCE_ALL = 0,  /* nothing follows */
    PRESENCE_NONE = 1, /* nothing follows */
    PRESENCE_SPAN = 2, /* absent slots before, present slots - 1; the rest is absent */
    PRESENCE_RUNS = 3, /* runs - 2, then per run: absent slots before (only the first may be 0), slots - 1 */
    PRESENCE_BITMAP = 4, /* ceil(n / 8) bytes, slot 0 in the lowest bit; bits past n are zero */
};

/* Appends the smallest form (bits past n must be zero); returns its kind, the number of points in *count. */
enum presence_kind presence_encode(const uint64_t *present, uint32_t n, struct buf *out, uint32_t *count);

/* Reads at *p, not past end, and moves *p on. Writes SLOTS_WORDS(n) words; -1 if the bytes are malformed. */
int presence_decode(unsigned kind, const uint8_t **p, const uint8_t *end, uint32_t n, uint64_t *present,
                    uint32_t *count);

#endif
