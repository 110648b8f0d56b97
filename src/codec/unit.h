/* Units: the denominators in which real metrics are whole numbers.
 *
 * x = k / unit + ulps: the quotient is correctly rounded on every IEEE machine, the ulps are added to its
 * bit pattern. So what is stored is bit-exact, also for the 44.833999999999996 that averaging leaves where
 * 44.834 was meant. */
#ifndef CARAT_CODEC_UNIT_H
#define CARAT_CODEC_UNIT_H

#include "codec/fixes.h"

#include <stdbool.h>
#include <stdint.h>

/* Ids are on disk. 1..27 are denominators (unit.c); the others are: */
#define UNIT_WHOLE 0  /* x = k */
#define UNIT_BITS  63 /* k = the bit pattern, mapped so that its order is that of the doubles */
#define UNITS_MAX  64

#define UNIT_VALUES INTPACK_MAX

/* m values in a unit. At exceptions k repeats its neighbour. */
struct measured {
    unsigned unit;
    int64_t k[UNIT_VALUES];
    struct fixes fixes;
};

bool unit_known(unsigned unit);

/* A unit in which most of some sample of the values are whole; UNIT_BITS if none is. *next is 0 at first; a
 * further call with it looks among the units after that. */
unsigned unit_guess(const double *x, uint32_t m, unsigned *next);
void unit_measure(unsigned unit, const double *x, uint32_t m, struct measured *out);
/* The way back, without corrections and exceptions. k may be any bits. */
void unit_restore(unsigned unit, const uint64_t *k, uint32_t m, double *x);

#endif
