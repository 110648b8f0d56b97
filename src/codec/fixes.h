/* What a model of the values (a unit, a fraction) leaves over: corrections of some ulps, and exceptions,
 * values stored as they are. With them a model need not fit every value to be bit-exact.
 *
 * Stored: [positions, then a correction's zigzag - 1 for each in a fixed width, lowest bit first, to a whole
 * byte | if there are corrections], [positions, then 8 bytes for each | if there are exceptions]. Whether
 * there are is for the format's header to say: fixes_head() fits it in four bits. */
#ifndef CARAT_CODEC_FIXES_H
#define CARAT_CODEC_FIXES_H

#include "codec/intpack.h"

#include <stdbool.h>
#include <stdint.h>

#define FIXES_ULPS_MAX 4 /* corrections are -4..4 */

/* Bits of a format's header: */
#define FIXES_ULP_SHIFT  1
#define FIXES_ULP_MASK   0x03 /* width of a correction, 0 = there are none */
#define FIXES_EXCEPTIONS 0x08
#define FIXES_HEAD_MASK  (FIXES_ULP_MASK << FIXES_ULP_SHIFT | FIXES_EXCEPTIONS)

struct fixes {
    int8_t ulps[INTPACK_MAX]; /* of corrected positions only */
    uint64_t corrected[INTPACK_WORDS], except[INTPACK_WORDS];
    uint32_t corrections, exceptions;
};

void fixes_init(struct fixes *f);
/* Notes that value i is `ulps` (modulo 2^64) above what the model says; false if that makes it an exception.
 */
static inline bool fixes_add(struct fixes *f, uint32_t i, uint64_t ulps)
{
    if (ulps == 0)
        return true;
    if (ulps + FIXES_ULPS_MAX > 2 * FIXES_ULPS_MAX) {
        f->except[i / 64] |= 1ull << (i % 64);
        f->exceptions++;
        return false;
    }
    f->ulps[i] = (int8_t)ulps;
    f->corrected[i / 64] |= 1ull << (i % 64);
    f->corrections++;
    return true;
}
unsigned fixes_head(const struct fixes *f, uint32_t m);
void fixes_put(const struct fixes *f, const double *value, uint32_t m, struct buf *out);

/* The same as read, to be applied after the model has filled in the values. */
struct fixes_read {
    uint32_t corrections, exceptions;
    uint16_t corrected[INTPACK_MAX], except[INTPACK_MAX];
    int8_t ulps[INTPACK_MAX];
    const uint8_t *values; /* of the exceptions */
};
int fixes_get(struct span *s, uint32_t m, unsigned head, struct fixes_read *f);
void fixes_apply(const struct fixes_read *f, double *value);

#endif
