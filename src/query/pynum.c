#include "query/pynum.h"

#include "base/digits.h"
#include "base/shortest.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* d.ddde+XX */
static char *put_scientific(char *p, const char *digits, size_t n, int exponent)
{
    *p++ = digits[0];
    if (n > 1) {
        *p++ = '.';
        memcpy(p, digits + 1, n - 1);
        p += n - 1;
    }
    return p + snprintf(p, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

/* A number has at most 17 digits; copies of two words are cheaper than ones of just the right length. */
static inline void copy_digits(char *to, const char *from)
{
    memcpy(to, from, 8);
    memcpy(to + 8, from + 8, 8);
    to[16] = from[16];
}

/* ddd.ddd, at least one digit on either side */
static char *put_fixed(char *p, const char *digits, size_t n, int exponent)
{
    if (exponent >= 0 && (size_t)exponent + 1 < n) {
        size_t whole = (size_t)exponent + 1;
        copy_digits(p, digits);
        p[whole] = '.';
        copy_digits(p + whole + 1, digits + whole);
        return p + n + 1;
    }
    if (exponent < 0) {
        memcpy(p, "0.000", 5);
        copy_digits(p + 1 - exponent, digits);
        return p + 1 - exponent + n;
    }
    memcpy(p, digits, n);
    memset(p + n, '0', (size_t)exponent + 1 - n);
    p += exponent + 1;
    memcpy(p, ".0", 2);
    return p + 2;
}

/* Any number, by its shortest decimal. */
static char *put_shortest(char *p, double v)
{
    uint64_t decimal;
    int exponent;
    shortest_decimal(v, &decimal, &exponent);
    char text[2 * 17] = ""; /* the digits at the end of the first half; what is copied beyond is not used */
    uint64_t high = decimal / 100000000;
    text[0] = (char)('0' + high / 100000000);
    digits_put8(text + 1, (uint32_t)(high % 100000000));
    digits_put8(text + 9, (uint32_t)(decimal % 100000000));
    size_t n = digits_count(decimal);
    const char *digits = text + 17 - n;
    exponent += (int)n - 1; /* of the first digit now */
    bool scientific = exponent < -4 || exponent >= 16;
    return scientific ? put_scientific(p, digits, n, exponent) : put_fixed(p, digits, n, exponent);
}

/* k / 1000, with as few decimals as there are but one. */
static char *put_thousandths(char *p, uint64_t k)
{
    uint64_t whole = k / 1000;
    uint32_t rest = (uint32_t)(k - whole * 1000);
    p = digits_put(p, whole);
    *p++ = '.';
    memcpy(p + 1, digits_pair(rest % 100), 2);
    *p = (char)('0' + rest / 100);
    return p + (rest % 10 ? 3 : rest % 100 ? 2 : 1);
}

char *pynum_put(char *p, double v)
{
    if (signbit(v))
        *p++ = '-';
    v = fabs(v);
    /* Most measurements have at most three decimals. Below 10^15 a whole number of thousandths is exact, and
     * of two decimals of so few digits never both read back to v: if this one does, it is the shortest. */
    if (v < 1e11) {
        uint64_t k = (uint64_t)(v * 1000 + 0.5);
        if ((double)k / 1000 == v)
            return put_thousandths(p, k);
    }
    return put_shortest(p, v);
}

size_t pynum_repr(double v, char out[PYNUM_TEXT_MAX])
{
    if (!isfinite(v))
        return (size_t)snprintf(out, PYNUM_TEXT_MAX, "%s", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    char *end = pynum_put(out, v);
    *end = '\0';
    return (size_t)(end - out);
}

const char *pynum_without_underscores(const char *text, char out[PYNUM_TEXT_MAX])
{
    size_t n = 0;
    if (!strchr(text, '_'))
        return text;
    for (const char *p = text; *p; p++) {
        if (*p == '_' && p > text && isdigit((unsigned char)p[-1]) && isdigit((unsigned char)p[1]))
            continue;
        if (n == PYNUM_TEXT_MAX - 1)
            return text;
        out[n++] = *p;
    }
    out[n] = '\0';
    return out;
}

bool pynum_parse(const char *text, double *out)
{
    char plain[PYNUM_TEXT_MAX];
    text = pynum_without_underscores(text, plain);
    while (isspace((unsigned char)*text))
        text++;
    const char *p = text + (*text == '-' || *text == '+');
    bool word = !strncasecmp(p, "inf", 3) || !strncasecmp(p, "nan", 3);
    if (!word && !isdigit((unsigned char)*p) && *p != '.')
        return false;
    if (p[0] == '0' && (p[1] | 32) == 'x')
        return false;
    char *end;
    *out = strtod(text, &end);
    if (end == text || strchr(text, '('))
        return false;
    while (isspace((unsigned char)*end))
        end++;
    return !*end;
}

double pynum_round(double v, int digits)
{
    if (!isfinite(v) || digits > 323)
        return v;
    if (digits < -309)
        return v * 0.0;
    if (digits >= 0) {
        /* printf rounds the exact binary value, halves to even, as Python does */
        char text[700];
        double scale = digits <= 15 ? v * exp10(digits) : 0;
        if (digits <= 15 && fabs(scale) < 1e9) {
            double r = rint(scale);
            if (fabs(fabs(scale - r) - 0.5) > 1e-6) /* far from a tie: division is exact enough */
                return r / exp10(digits);
        }
        snprintf(text, sizeof text, "%.*f", digits, v);
        return strtod(text, NULL);
    }
    double unit = exp10(-digits);
    double q = v / unit, r = round(q);
    if (fabs(q - r) == 0.5)
        r = 2.0 * round(q / 2.0);
    return r * unit;
}
