/* Whole numbers as decimal digits, two at a time. */
#ifndef CARAT_BASE_DIGITS_H
#define CARAT_BASE_DIGITS_H

#include "base/bytes.h"

#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 20

/* "00" to "99"; no NUL. */
static inline const char *digits_pair(uint32_t i)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";
    return pairs + 2 * i;
}

static inline unsigned digits_count(uint64_t v)
{
    unsigned n = 1;
    for (; v >= 10000; v /= 10000)
        n += 4;
    return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

/* Writes the digits of v, at most DIGITS_MAX; returns their end. */
static inline char *digits_put(char *p, uint64_t v)
{
    char *end = p + digits_count(v), *at = end;
    for (; v >= 100; v /= 100)
        memcpy(at -= 2, digits_pair((uint32_t)(v % 100)), 2);
    if (v >= 10)
        memcpy(at - 2, digits_pair((uint32_t)v), 2);
    else
        at[-1] = (char)('0' + v);
    return end;
}

/* Eight digits of v < 10^8, zeros in front: all of them at once, in the bytes of one word. */
static inline void digits_put8(char *p, uint32_t v)
{
    uint64_t halves = v / 10000 | (uint64_t)(v % 10000) << 32;
    uint64_t hundreds = (halves * 10486 >> 20) & 0x7f0000007full;
    uint64_t pairs = hundreds | (halves - 100 * hundreds) << 16;
    uint64_t tens = (pairs * 103 >> 10) & 0x000f000f000f000full;
    put_u64le((uint8_t *)p, (tens | (pairs - 10 * tens) << 8) + 0x3030303030303030ull);
}

#endif
