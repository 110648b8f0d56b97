/* Three ways, the first that is sure to be exact:
 *
 *  1. up to 2^53 and a power of ten up to 22: both are doubles, one operation rounds once (Clinger 1990)
 *  2. up to 19 digits and a power of ten from -19 to 19: the quotient or product in 128-bit integers, rounded
 *     once; this is what %.17g and the shortest printing of most languages give
 *  3. strtod on a copy without a decimal point, so that the locale does not matter
 */
#include "ingest/decimal.h"

#include "base/bytes.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "way 1 needs operations that round to double at once");

/* An exponent beyond this is zero or infinity for any mantissa that fits into memory. */
#define EXPONENT_CLAMP 1000000000000
/* More digits than any halfway point between two doubles has; beyond them only "is it zero" matters. */
#define DIGITS_KEPT 780

static const double tens_f64[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t tens_u64[] = {1u,
                                    10u,
                                    100u,
                                    1000u,
                                    10000u,
                                    100000u,
                                    1000000u,
                                    10000000u,
                                    100000000u,
                                    1000000000u,
                                    10000000000u,
                                    100000000000u,
                                    1000000000000u,
                                    10000000000000u,
                                    100000000000000u,
                                    1000000000000000u,
                                    10000000000000000u,
                                    100000000000000000u,
                                    1000000000000000000u,
                                    10000000000000000000u};

/* The text of a number, taken apart: digits (with a point somewhere among them) times 10^exp10. */
struct decimal {
    const char *digits, *digits_end; /* first non-zero digit to the end; may contain the point */
    uint64_t mantissa;               /* exact if ndigits <= 19 */
    unsigned ndigits;                /* significant ones, saturated well above 19 */
    int64_t exp10;                   /* value = all digits as an integer * 10^exp10 */
    bool negative;
};

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* n / 10^k for n > 0 and 0 < k <= 19. Both are shifted until their top bit is set; then the quotient of
 * n * 2^63 has 63 or 64 bits, and with the remainder as a sticky bit the conversion rounds once. */
static double divide(uint64_t n, unsigned k)
{
    uint64_t d = tens_u64[k];
    int sn = __builtin_clzll(n), sd = __builtin_clzll(d);
    n <<= sn;
    d <<= sd;
    unsigned __int128 num = (unsigned __int128)n << 63;
    uint64_t q = (uint64_t)(num / d);
    q |= q * (unsigned __int128)d != num;
    uint64_t exponent = (uint64_t)(1023 - 63 - sn + sd);
    return (double)q * bits_f64(exponent << 52);
}

/* Over 19 digits or a large exponent. The digits go out without the point, and the exponent says the rest. */
static double by_strtod(const struct decimal *d)
{
    char text[DIGITS_KEPT + 32];
    size_t n = 0;
    int64_t exp10 = d->exp10;
    bool more = false;
    for (const char *p = d->digits; p < d->digits_end; p++) {
        if (*p == '.')
            continue;
        if (n < DIGITS_KEPT) {
            text[n++] = *p;
        } else {
            exp10++;
            more |= *p != '0';
        }
    }
    if (more) {
        text[n++] = '1';
        exp10--;
    }
    snprintf(text + n, sizeof text - n, "e%lld", (long long)exp10);
    return strtod(text, NULL);
}

static inline double magnitude(const struct decimal *d)
{
    if (__builtin_expect(d->ndigits <= 19, 1)) {
        uint64_t m = d->mantissa;
        if (m <= 1ull << 53 && d->exp10 >= -22 && d->exp10 <= 22)
            return d->exp10 < 0 ? (double)m / tens_f64[-d->exp10] : (double)m * tens_f64[d->exp10];
        if (m == 0)
            return 0;
        if (d->exp10 >= -19 && d->exp10 < 0)
            return divide(m, (unsigned)-d->exp10);
        if (d->exp10 >= 0 && d->exp10 <= 19)
            return (double)((unsigned __int128)m * tens_u64[d->exp10]);
    }
    return by_strtod(d);
}

/* The exponent after an 'e'; NULL if there is none. */
static const char *parse_exponent(const char *p, int64_t *exp10)
{
    bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    if (!is_digit(*p))
        return NULL;
    int64_t e = 0;
    for (; is_digit(*p); p++)
        if (e < EXPONENT_CLAMP)
            e = e * 10 + (*p - '0');
    *exp10 += negative ? -e : e;
    return p;
}

/* Counts again without leading zeros: they filled the first count, or the digits are many. */
static void recount(struct decimal *d)
{
    while (d->digits < d->digits_end && (*d->digits == '0' || *d->digits == '.'))
        d->digits++;
    d->mantissa = 0;
    d->ndigits = 0;
    for (const char *p = d->digits; p < d->digits_end && d->ndigits < 20; p++)
        if (*p != '.') {
            d->mantissa = d->mantissa * 10 + (uint64_t)(*p - '0');
            d->ndigits++;
        }
}

const char *decimal_parse(const char *p, double *out)
{
    struct decimal d;
    d.negative = *p == '-';
    p += *p == '-' || *p == '+';
    d.digits = p;
    d.exp10 = 0;
    uint64_t m = 0; /* wraps when there are many digits; then it is counted again */
    for (; is_digit(*p); p++)
        m = m * 10 + (uint64_t)(*p - '0');
    size_t count = (size_t)(p - d.digits);
    if (*p == '.') {
        const char *fraction = ++p;
        for (; is_digit(*p); p++)
            m = m * 10 + (uint64_t)(*p - '0');
        d.exp10 = -(int64_t)(p - fraction);
        count += (size_t)(p - fraction);
    }
    if (count == 0)
        return NULL;
    d.digits_end = p;
    d.mantissa = m;
    d.ndigits = count > 19 ? 20 : (unsigned)count;
    if (count > 19)
        recount(&d);
    if (__builtin_expect(*p == 'e' || *p == 'E', 0)) {
        p = parse_exponent(p + 1, &d.exp10);
        if (!p)
            return NULL;
    }
    double v = magnitude(&d);
    *out = d.negative ? -v : v;
    return p;
}
