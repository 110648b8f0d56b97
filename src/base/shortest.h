/* The shortest decimal that reads back to a double.
 *
 * Schubfach: R. Giulietti, "The Schubfach way to render doubles" (2020/2022). Of all decimals of least length
 * in the rounding interval of v it gives the one closest to v: what Python's repr and JSON printers write. */
#ifndef CARAT_BASE_SHORTEST_H
#define CARAT_BASE_SHORTEST_H

#include <stddef.h>
#include <stdint.h>

/* v must be finite and > 0. Sets v == *digits * 10^*exponent after rounding; *digits has no trailing zero and
 * at most 17 digits. Any thread. */
void shortest_decimal(double v, uint64_t *digits, int *exponent);

#endif
