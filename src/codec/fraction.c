/* CODEC_FRACTION: 100 * a / b or a / b, with b much the same everywhere: what an agent makes of two counters,
 * such as a share of CPU time. Such values use all bits of a double but hold two small numbers.
 *
 *   u8    PERCENT | fixes_head()
 *   [fixes]
 *   run   of m denominators b, run of m numerators a (intpack_put()), signed
 *
 * x = (100 or 1) * a / b, made bit-exact by fixes (fixes.h). */
#include "base/bytes.h"
#include "codec/codec_impl.h"
#include "codec/fixes.h"
#include "codec/intpack.h"

#include <math.h>
#include <string.h>

#define PERCENT 0x01
_Static_assert((PERCENT & FIXES_HEAD_MASK) == 0, "they share a byte");

#define B_MAX 0x1p21 /* of 2^42 fractions this small, few doubles are within some ulps of one by chance */
#define A_MAX 0x1p31
#define TERMS_MAX                                                                                            \
    32 /* of a continued fraction; B_MAX is reached in 30 at most, as Fibonacci numbers grow                 \
        */
#define SAMPLES 8

struct fraction {
    double a, b;
};

/* x less what the fraction says, in ulps modulo 2^64. */
static uint64_t ulps_off(double x, double scale, struct fraction f)
{
    return f64_bits(x) - f64_bits(scale * f.a / f.b);
}

/* The simplest fraction within FIXES_ULPS_MAX of x / scale: the first convergent of the continued fraction
 * that is so close. */
static bool find_fraction(double x, double scale, struct fraction *f)
{
    struct fraction before = {0, 1}, now = {1, 0};
    double rest = fabs(x) / scale;
    for (int t = 0; t < TERMS_MAX && rest < A_MAX; t++) {
        double term = (double)(int64_t)rest;
        struct fraction next = {term * now.a + before.a, term * now.b + before.b};
        if (!(next.b <= B_MAX) || !(next.a <= A_MAX))
            return false;
        if (fabs(fabs(x) * next.b - scale * next.a) <= scale * next.a * 0x1p-49) {
            *f = (struct fraction){copysign(next.a, x), next.b};
            return ulps_off(x, scale, *f) + FIXES_ULPS_MAX <= 2 * FIXES_ULPS_MAX;
        }
        before = now;
        now = next;
        rest = 1 / (rest - term);
    }
    return false;
}

/* Looks at some values that are not whole: 100, 1, or 0 if they are no fractions. A ratio a / b is 100 * a /
 * (100 * b) too, so that 1 need be tried only where 100 was found. */
static double guess_scale(const double *value, uint32_t m)
{
    double percent_digits = 0, ratio_digits = 0;
    uint32_t tried = 0, found = 0;
    for (uint32_t i = 0; i < m && tried < SAMPLES; i += 1 + m / (4 * SAMPLES)) {
        struct fraction percent, ratio;
        if (!(fabs(value[i]) < A_MAX) || value[i] == (double)(int64_t)value[i])
            continue;
        tried++;
        if (find_fraction(value[i], 100, &percent) && find_fraction(value[i], 1, &ratio)) {
            found++;
            percent_digits += log2(fabs(percent.a) * percent.b);
            ratio_digits += log2(fabs(ratio.a) * ratio.b);
        }
        if (found + 1 < tried)
            return 0;
    }
    return found == 0 ? 0 : ratio_digits < percent_digits ? 1 : 100;
}

/* The median of the larger denominators: the smaller are fractions that could be reduced. */
static int64_t common_denominator(const int64_t *b, uint32_t m)
{
    int64_t large[INTPACK_MAX], max = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < m; i++)
        max = b[i] > max ? b[i] : max;
    for (uint32_t i = 0; i < m; i++)
        if (b[i] > max / 2)
            large[n++] = b[i];
    return n ? intpack_centre(large, n) : 1;
}

/* Fractions in lowest terms; 0 / 0 stands for "any denominator will do". */
static void find_all(const double *value, uint32_t m, double scale, int64_t *a, int64_t *b,
                     struct fixes *fixes)
{
    fixes_init(fixes);
    for (uint32_t i = 0; i < m; i++) {
        struct fraction f = {0, 0};
        a[i] = b[i] = 0;
        if (f64_bits(value[i]) == 0)
            continue;
        if (value[i] == 0 || !find_fraction(value[i], scale, &f)) { /* -0.0 or no fraction */
            fixes_add(fixes, i, ~0ull >> 1);
            continue;
        }
        fixes_add(fixes, i, ulps_off(value[i], scale, f));
        a[i] = (int64_t)f.a;
        b[i] = (int64_t)f.b;
    }
}

static bool fraction_encode(const double *value, uint32_t m, struct buf *out)
{
    int64_t a[INTPACK_MAX], b[INTPACK_MAX];
    struct fixes fixes;
    double scale = m && m <= INTPACK_MAX ? guess_scale(value, m) : 0;
    if (scale == 0)
        return false;
    find_all(value, m, scale, a, b, &fixes);
    if (fixes.exceptions > m / 4)
        return false;
    int64_t common = common_denominator(b, m);
    for (uint32_t i = 0; i < m; i++) {
        int64_t times = b[i] ? (common + b[i] / 2) / b[i] : 1;
        times = times ? times : 1;
        a[i] *= times;
        b[i] = b[i] ? b[i] * times : common;
    }
    size_t start = out->len;
    *buf_reserve(out, 1) = (uint8_t)((scale == 100 ? PERCENT : 0) | fixes_head(&fixes, m));
    out->len++;
    fixes_put(&fixes, value, m, out);
    intpack_put(b, m, out);
    intpack_put(a, m, out);
    if (out->len - start <= (size_t)m * 8)
        return true;
    out->len = start;
    return false;
}

static int fraction_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    struct span s = {body, body + size};
    uint64_t a[INTPACK_MAX], b[INTPACK_MAX];
    struct fixes_read fixes;
    if (m == 0 || m > INTPACK_MAX || s.p == s.end || *s.p & ~(PERCENT | FIXES_HEAD_MASK))
        return -1;
    unsigned head = *s.p++;
    if (fixes_get(&s, m, head, &fixes) < 0 || intpack_get(&s, m, b) < 0 || intpack_get(&s, m, a) < 0 ||
        s.p != s.end)
        return -1;
    double scale = head & PERCENT ? 100 : 1;
    for (uint32_t i = 0; i < m; i++)
        value[i] = scale * (double)(int64_t)a[i] / (double)(int64_t)b[i];
    fixes_apply(&fixes, value);
    return 0;
}

const struct codec_ops codec_fraction = {
    .name = "fraction", .encode = fraction_encode, .decode = fraction_decode};
