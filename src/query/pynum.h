/* Numbers as text, as Python writes them: names, tags and JSON of graphite-web show them. */
#ifndef CARAT_QUERY_PYNUM_H
#define CARAT_QUERY_PYNUM_H

#include <stdbool.h>
#include <stddef.h>

/* The shortest decimal that reads back to the same double, always with a point or an exponent: "5.0",
 * "0.1", "1e+16", "1e-05", "inf", "nan". Returns the length; NUL-terminated. */
enum { PYNUM_TEXT_MAX = 40 };
size_t pynum_repr(double v, char out[PYNUM_TEXT_MAX]);

/* The same for a finite v, without the NUL; returns the end. `p` has room for PYNUM_TEXT_MAX bytes. */
char *pynum_put(char *p, double v);

/* A decimal number with nothing around it but blanks: digits with point and exponent, inf, infinity, nan. */
bool pynum_parse(const char *text, double *out);

/* The text without the underscores between digits, which Python allows in a number; `text` itself if it has
 * none. */
const char *pynum_without_underscores(const char *text, char out[PYNUM_TEXT_MAX]);

/* v rounded to `digits` decimals (may be negative), halves of the exact binary value to even. */
double pynum_round(double v, int digits);

#endif
