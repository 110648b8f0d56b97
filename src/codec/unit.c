#include "codec/unit.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Indexed by id. Those of 60 are rates an agent made of counters, k a minute; their factors (15, 30, 300) are
 * not needed: the scaled format takes out common factors of k. Powers of two are exact, for KiB, MiB and GiB.
 */
static const double denominators[] = {
    1,   1e1, 1e2, 1e3, 1e4, 1e5,   1e6,   1e7,   1e8,  1e9,     1e10,       1e11, 1e12, 60,
    6e2, 6e3, 6e4, 6e5, 6e6, 3.6e3, 3.6e4, 3.6e5, 1024, 1048576, 1073741824, 1e13, 1e14, 1e15,
};
_Static_assert(ARRAY_LEN(denominators) == 28, "unit.h and doc/codec.md say 0..27");

/* The order of trial: a smaller denominator gives smaller numbers. */
static const uint8_t trial[] = {0,  1, 13, 2,  14, 3, 22, 19, 15, 4,  20, 16, 5,  21,
                                17, 6, 23, 18, 7,  8, 9,  24, 10, 11, 12, 25, 26, 27};
_Static_assert(ARRAY_LEN(trial) == ARRAY_LEN(denominators), "every unit is tried");

#define SAMPLES 8
/* Beyond it nearly any double is within FIXES_ULPS_MAX of a multiple, and nothing would be won. A few values
 * alone prove less: one of 2^12 doubles is a multiple with k around 2^38. */
#define K_MAX     0x1p48
#define K_MAX_FEW 0x1p38
/* x + ROUNDER, if |x| < 2^51, has the nearest integer to x in its low bits: plain IEEE, and it vectorises. */
#define ROUNDER 0x1.8p52

bool unit_known(unsigned unit)
{
    return unit < ARRAY_LEN(denominators) || unit == UNIT_BITS;
}

/* Doubles that say something: zeros are whole in every unit, infinities in none. */
static uint32_t pick_samples(const double *x, uint32_t m, double *sample)
{
    uint32_t picked = 0;
    for (uint32_t s = 0; s < SAMPLES; s++) {
        uint32_t from = s * m / SAMPLES, to = (s + 1) * m / SAMPLES;
        for (uint32_t i = from; i < to; i++)
            if (x[i] != 0 && fabs(x[i]) < INFINITY) {
                sample[picked++] = x[i];
                break;
            }
    }
    return picked;
}

static bool is_multiple(double x, double den, double k_max)
{
    double t = x * den, k = (t + ROUNDER) - ROUNDER;
    /* Reject nearly all without the division: a right k leaves t within some ulps of it. */
    if (!(fabs(t - k) <= fabs(k) * 0x1p-49) || !(fabs(k) < k_max))
        return false;
    uint64_t ulps = f64_bits(x) - f64_bits(k / den) + FIXES_ULPS_MAX;
    return ulps <= 2 * FIXES_ULPS_MAX;
}

static bool is_whole(double x)
{
    return fabs(x) < 0x1p63 && (double)(int64_t)x == x;
}

unsigned unit_guess(const double *x, uint32_t m, unsigned *next)
{
    double sample[SAMPLES];
    uint32_t n = pick_samples(x, m, sample), enough = n < 4 ? n : n - 1;
    double k_max = n < 4 ? K_MAX_FEW : K_MAX;
    while (*next < ARRAY_LEN(trial)) {
        unsigned t = (*next)++;
        double den = denominators[trial[t]];
        uint32_t good = 0;
        for (uint32_t i = 0; i < n; i++) {
            good += t == 0 ? is_whole(sample[i]) : is_multiple(sample[i], den, k_max);
            if (i + 1 - good > n - enough)
                break;
        }
        if (good >= enough)
            return trial[t];
    }
    return UNIT_BITS;
}

static int64_t ordered(uint64_t bits)
{
    return (int64_t)(bits ^ ((uint64_t)((int64_t)bits >> 63) >> 1));
}

static void measure_bits(const double *x, uint32_t m, struct measured *out)
{
    for (uint32_t i = 0; i < m; i++)
        out->k[i] = ordered(f64_bits(x[i]));
}

/* Sets k and the distance in ulps from k / den to x, modulo 2^64. */
static void measure_whole(const double *x, uint32_t m, int64_t *k, uint64_t *ulps)
{
    for (uint32_t i = 0; i < m; i++) {
        k[i] = x[i] >= -0x1p63 && x[i] < 0x1p63 ? (int64_t)x[i] : 0;
        /* No corrections here: a neighbour of a whole number is an exception. */
        ulps[i] = f64_bits(x[i]) == f64_bits((double)k[i]) ? 0 : ~0ull >> 1;
    }
}

static void measure_multiples(double den, const double *x, uint32_t m, int64_t *k, uint64_t *ulps)
{
    for (uint32_t i = 0; i < m; i++) {
        double rounded = x[i] * den + ROUNDER, whole = rounded - ROUNDER;
        k[i] = (int64_t)(f64_bits(rounded) - f64_bits(ROUNDER));
        ulps[i] = f64_bits(x[i]) - f64_bits(whole / den);
    }
    for (uint32_t i = 0; i < m; i++)
        if (!(fabs(x[i]) * den < K_MAX)) /* then k may not be what `whole` is */
            ulps[i] = ~0ull >> 1;
}

static void sort_out(struct measured *out, const uint64_t *ulps, uint32_t m)
{
    int64_t good = 0;
    bool any_good = false;
    for (uint32_t i = 0; i < m; i++) {
        if (!fixes_add(&out->fixes, i, ulps[i])) {
            out->k[i] = good;
            continue;
        }
        for (uint32_t before = 0; before < i && !any_good; before++)
            out->k[before] = out->k[i];
        any_good = true;
        good = out->k[i];
    }
}

void unit_measure(unsigned unit, const double *x, uint32_t m, struct measured *out)
{
    uint64_t ulps[UNIT_VALUES], any = 0;
    assert(m <= UNIT_VALUES && unit_known(unit));
    out->unit = unit;
    fixes_init(&out->fixes);
    if (unit == UNIT_BITS) {
        measure_bits(x, m, out);
        return;
    }
    if (unit == UNIT_WHOLE)
        measure_whole(x, m, out->k, ulps);
    else
        measure_multiples(denominators[unit], x, m, out->k, ulps);
    for (uint32_t i = 0; i < m; i++)
        any |= ulps[i];
    if (any)
        sort_out(out, ulps, m);
}

void unit_restore(unsigned unit, const uint64_t *k, uint32_t m, double *x)
{
    if (unit == UNIT_BITS) {
        for (uint32_t i = 0; i < m; i++)
            x[i] = bits_f64((uint64_t)ordered(k[i]));
        return;
    }
    for (uint32_t i = 0; i < m; i++)
        x[i] = (double)(int64_t)k[i];
    double den = denominators[unit];
    if (unit != UNIT_WHOLE)
        for (uint32_t i = 0; i < m; i++)
            x[i] /= den;
}
