#include "base/shortest.h"

#include "base/bytes.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>

/* g(k) = ceil(10^k * 2^(127 - floor(log2 10^k))), 128 bits with the top bit set, for every k a double can ask
 * for. Made once from exact integers rather than typed in: 617 values nobody could proofread. */
#define K_MIN (-292)
#define K_MAX 324
static struct pow10 {
    uint64_t hi, lo;
} table[K_MAX - K_MIN + 1];

#define LIMBS 24 /* 1536 bits: 10^324 has 1077, and 2^1535 / 10^292 still has 565 */
struct big {
    uint64_t limb[LIMBS]; /* least significant first */
};

static void times_10(struct big *b)
{
    unsigned __int128 carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (unsigned __int128)b->limb[i] * 10;
        b->limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
    assert(carry == 0);
}

static void over_10(struct big *b)
{
    unsigned __int128 rest = 0;
    for (int i = LIMBS - 1; i >= 0; i--) {
        rest = rest << 64 | b->limb[i];
        b->limb[i] = (uint64_t)(rest / 10);
        rest %= 10;
    }
}

static uint64_t bits_from(const struct big *b, int bit) /* 64 bits starting at `bit`, which may be negative */
{
    uint64_t v = 0;
    for (int i = 0; i < 64; i++)
        if (bit + i >= 0)
            v |= (b->limb[(bit + i) / 64] >> ((bit + i) % 64) & 1) << i;
    return v;
}

/* The top 128 bits, rounded up if anything is below them or if the number itself was cut (`inexact`). */
static struct pow10 top_bits(const struct big *b, int inexact)
{
    int limb = LIMBS - 1;
    while (b->limb[limb] == 0)
        limb--;
    int top = limb * 64 + 63 - __builtin_clzll(b->limb[limb]);
    struct pow10 g = {bits_from(b, top - 63), bits_from(b, top - 127)};
    for (int bit = top - 128; bit >= 0 && !inexact; bit--)
        inexact = (int)(b->limb[bit / 64] >> (bit % 64) & 1);
    if (inexact && ++g.lo == 0)
        g.hi++;
    return g;
}

static void make_table(void)
{
    struct big b = {{1}};
    for (int k = 0; k <= K_MAX; k++) {
        table[k - K_MIN] = top_bits(&b, 0);
        if (k < K_MAX)
            times_10(&b);
    }
    b = (struct big){{0}};
    b.limb[LIMBS - 1] = 1ull << 63;
    for (int k = -1; k >= K_MIN; k--) {
        over_10(&b); /* floor of a floor is the floor of the whole quotient, never exact for a power of two */
        table[k - K_MIN] = top_bits(&b, 1);
    }
}

/* floor(x * log10(2)), floor(log2(10^e)): exact over the range in use (section 9 of the paper). */
static int floor_log10_pow2(int x)
{
    return (x * 1262611) >> 22;
}
static int floor_log10_three_quarters_pow2(int x)
{
    return (x * 1262611 - 524031) >> 22;
}
static int floor_log2_pow10(int e)
{
    return (e * 1741647) >> 19;
}

/* g * cp / 2^128 with a sticky last bit. */
static uint64_t round_to_odd(struct pow10 g, uint64_t cp)
{
    unsigned __int128 x = (unsigned __int128)g.lo * cp;
    unsigned __int128 y = (unsigned __int128)g.hi * cp + (uint64_t)(x >> 64);
    return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

/* v = c * 2^q; *irregular when the gap below v is half of the one above. */
static uint64_t take_apart(double v, int *q, int *irregular)
{
    uint64_t bits = f64_bits(v), fraction = bits & ((1ull << 52) - 1);
    int e = (int)(bits >> 52 & 0x7ff);
    *irregular = fraction == 0 && e > 1;
    *q = (e ? e : 1) - 1075;
    return e ? fraction | 1ull << 52 : fraction;
}

static uint64_t schubfach(uint64_t c, int q, int irregular, int *exponent)
{
    int odd = (int)(c & 1);
    int k = irregular ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    int h = q + floor_log2_pow10(-k) + 1;
    struct pow10 g = table[-k - K_MIN];
    uint64_t lower = round_to_odd(g, (4 * c - 2 + (uint64_t)irregular) << h) + (uint64_t)odd;
    uint64_t middle = round_to_odd(g, (4 * c) << h);
    uint64_t upper = round_to_odd(g, (4 * c + 2) << h) - (uint64_t)odd;
    uint64_t s = middle / 4;
    if (s >= 10) { /* one digit less, if exactly one such decimal is inside */
        uint64_t sp = s / 10;
        int down = lower <= 40 * sp, up = 40 * sp + 40 <= upper;
        if (down != up) {
            *exponent = k + 1;
            return sp + (uint64_t)up;
        }
    }
    *exponent = k;
    int down = lower <= 4 * s, up = 4 * s + 4 <= upper;
    if (down != up)
        return s + (uint64_t)up;
    uint64_t half = 4 * s + 2;
    return s + (middle > half || (middle == half && (s & 1)));
}

void shortest_decimal(double v, uint64_t *digits, int *exponent)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    assert(isfinite(v) && v > 0);
    pthread_once(&once, make_table);
    int q, irregular;
    uint64_t c = take_apart(v, &q, &irregular);
    uint64_t d;
    if (q <= 0 && q > -53 && (c & ((1ull << -q) - 1)) == 0) {
        d = c >> -q; /* a whole number below 2^53 */
        *exponent = 0;
    } else {
        d = schubfach(c, q, irregular, exponent);
    }
    while (d % 10 == 0) {
        d /= 10;
        ++*exponent;
    }
    *digits = d;
}
