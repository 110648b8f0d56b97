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

/* k / 10^e for e <= 6. With k < 10^15 both are exact doubles and a quotient that gives v back is the only
 * decimal of that length that does. 0 if v is none. */
static size_t short_decimal(double v, char *out)
{
    static const double pow10[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    double a = fabs(v);
    if (!(a < 1e15) || (a != 0 && a < 1e-4))
        return 0;
    for (int e = 0; e <= 6; e++) {
        double k = rint(a * pow10[e]);
        if (k >= 1e15)
            return 0;
        if (k / pow10[e] != a)
            continue;
        char *p = out;
        if (signbit(v))
            *p++ = '-';
        uint64_t n = (uint64_t)k, unit = (uint64_t)pow10[e];
        p += put_digits(p, n / unit);
        *p++ = '.';
        if (e == 0)
            *p++ = '0';
        for (uint64_t rest = n % unit; unit > 1; rest %= unit) {
            unit /= 10;
            *p++ = (char)('0' + rest / unit);
        }
        *p = '\0';
        return (size_t)(p - out);
    }
    return 0;
}

/* The shortest digits and the exponent of the first of them. v > 0. */
static int shortest_digits(double v, char digits[20], size_t *n)
{
    uint64_t d;
    int exponent;
    shortest_decimal(v, &d, &exponent);
    *n = put_digits(digits, d);
    return exponent + (int)*n - 1;
}

size_t pynum_repr(double v, char out[PYNUM_TEXT_MAX])
{
    if (!isfinite(v)) {
        return (size_t)snprintf(out, PYNUM_TEXT_MAX, "%s", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    }
    size_t len = short_decimal(v, out);
    if (len)
        return len;
    char digits[20];
    size_t n;
    int exponent = shortest_digits(fabs(v), digits, &n);
    char *p = out, *end = out + PYNUM_TEXT_MAX;
    if (v < 0)
        *p++ = '-';
    if (exponent < -4 || exponent >= 16) {
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, n - 1);
            p += n - 1;
        }
        p += snprintf(p, (size_t)(end - p), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        p += snprintf(p, (size_t)(end - p), "0.%.*s%.*s", -exponent - 1, "0000", (int)n, digits);
    } else {
        for (int i = 0; i <= exponent; i++)
            *p++ = (size_t)i < n ? digits[i] : '0';
        *p++ = '.';
        if (n <= (size_t)exponent + 1)
            *p++ = '0';
        for (size_t i = (size_t)exponent + 1; i < n; i++)
            *p++ = digits[i];
    }
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
