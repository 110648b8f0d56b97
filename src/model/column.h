/* What a read gives back for one series: values on a grid. */
#ifndef CARAT_MODEL_COLUMN_H
#define CARAT_MODEL_COLUMN_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A slot without a point is this one NaN; other NaNs are values. Arithmetic on it
 * gives a NaN, so pipelines need not test every operand. */
#define COLUMN_MISSING_BITS 0x7ff8ca7a7ca7a700ull
static inline double column_missing(void)
{
    return bits_f64(COLUMN_MISSING_BITS);
}
static inline bool column_is_missing(double v)
{
    return f64_bits(v) == COLUMN_MISSING_BITS;
}

/* Slot i is at start_ms + i * step_ms. `values` is owned by whoever made the column. */
struct column {
    uint32_t series;
    int64_t start_ms, step_ms;
    size_t n;
    double *values;
};

#endif
