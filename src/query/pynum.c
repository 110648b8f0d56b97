#include "query/pynum.h"

#include "base/shortest.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static size_t put_digits(char *out, uint64_t k)
{
    char tmp[24];
    size_t n = 0;
    do
        tmp[n++] = (char)('0' + k % 10);
    while (k /= 10);
    for (size_t i = 0; i < n; i++)
        out[i] = tmp[n - 1 - i];
    return n;
}

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

/* ddd.ddd, at least one digit on either side */
static char *put_fixed(char *p, const char *digits, size_t n, int exponent)
{
    size_t whole = exponent < 0 ? 0 : (size_t)exponent + 1;
    for (size_t i = 0; i < whole; i++)
        *p++ = i < n ? digits[i] : '0';
    if (!whole)
        *p++ = '0';
    *p++ = '.';
    for (int zeros = -exponent - 1; zeros > 0; zeros--)
        *p++ = '0';
    if (n <= whole) {
        *p++ = '0';
        return p;
    }
    memcpy(p, digits + whole, n - whole);
    return p + n - whole;
}

/* k / 10^e for the least e of 0 to 3. Below 10^15 both are exact, so that a quotient that gives v back is the
 * only decimal of its length that does: most measurements are found here, without the general way. */
static bool few_decimals(double v, uint64_t *decimal, int *exponent)
{
    static const double unit[] = {1, 10, 100, 1000};
    for (int e = 0; v < 1e11 && e < 4; e++) {
        uint64_t k = (uint64_t)(v * unit[e] + 0.5);
        if ((double)k / unit[e] != v)
            continue;
        *decimal = k;
        *exponent = -e;
        return true;
    }
    return false;
}

size_t pynum_repr(double v, char out[PYNUM_TEXT_MAX])
{
    if (!isfinite(v))
        return (size_t)snprintf(out, PYNUM_TEXT_MAX, "%s", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    char digits[24], *p = out;
    uint64_t decimal = 0;
    int exponent = 0;
    if (!few_decimals(fabs(v), &decimal, &exponent))
        shortest_decimal(fabs(v), &decimal, &exponent);
    size_t n = put_digits(digits, decimal);
    exponent += (int)n - 1; /* of the first digit now */
    if (signbit(v))
        *p++ = '-';
    bool scientific = exponent < -4 || exponent >= 16;
    p = scientific ? put_scientific(p, digits, n, exponent) : put_fixed(p, digits, n, exponent);
    *p = '\0';
    return (size_t)(p - out);
}

bool pynum_parse(const char *text, double *out)
{
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
