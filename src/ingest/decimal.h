/* Decimal text to double, bit for bit what strtod() gives in the C locale, whatever the locale is. */
#ifndef CARAT_INGEST_DECIMAL_H
#define CARAT_INGEST_DECIMAL_H

/* Parses [+-] digits [. digits] [e [+-] digits], with a digit on at least one side of the point, at p.
 * The text must be followed by a byte that cannot be part of it (a blank, a newline, a NUL): no end is
 * checked. Returns the first byte after the number and sets *out, an infinity where it is too large for a
 * double; NULL if there is no number at p. No hex, no nan, no inf, no digit groups. */
const char *decimal_parse(const char *p, double *out);

#endif
