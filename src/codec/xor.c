/* CODEC_XOR: each value's XOR with the one before, after Gorilla (VLDB 2015) with Chimp's control bits
 * (VLDB 2022), which suit true doubles: few of them share trailing zeros.
 *
 *   64 bits: the first value, then per value 2 bits of control and
 *     0  nothing: the same value
 *     1  3 bits leading-zeros class, 6 bits length - 1, the bits between the zeros on both sides
 *     2  64 - L bits, L = leading zeros of the last control 1 or 3 (0 before the first)
 *     3  3 bits leading-zeros class L, 64 - L bits
 */
#include "codec/bits.h"
#include "codec/codec_impl.h"

enum { XOR_SAME, XOR_MIDDLE, XOR_TAIL, XOR_NEW_TAIL };

#define VALUE_BITS_MAX (2 + 3 + 64)
#define TRAILING_MIN   7 /* below it, control 1 costs more than the zeros it saves */

static const uint8_t leading_zeros[8] = {0, 8, 12, 16, 18, 20, 22, 24};

/* Largest class with at most lz leading zeros. */
static unsigned leading_class(unsigned lz)
{
    unsigned c = 0;
    while (c < 7 && leading_zeros[c + 1] <= lz)
        c++;
    return c;
}

static bool xor_encode(const double *value, uint32_t m, struct buf *out)
{
    if (m == 0)
        return true;
    uint8_t *start = buf_reserve(out, 8 + ((size_t)m * VALUE_BITS_MAX + 7) / 8 + 8);
    struct bits_out b = {.p = start};
    uint64_t before = f64_bits(value[0]);
    unsigned last = 0;
    bits_put_wide(&b, before, 64);
    for (uint32_t i = 1; i < m; i++) {
        uint64_t now = f64_bits(value[i]), x = now ^ before;
        before = now;
        if (!x) {
            bits_put(&b, XOR_SAME, 2);
            continue;
        }
        unsigned class = leading_class((unsigned)__builtin_clzll(x));
        unsigned lead = leading_zeros[class], trail = (unsigned)__builtin_ctzll(x);
        if (trail >= TRAILING_MIN) {
            unsigned len = 64 - lead - trail;
            bits_put(&b, XOR_MIDDLE | class << 2 | (len - 1) << 5, 11);
            bits_put_wide(&b, x >> trail, len);
            last = lead;
        } else if (lead == last) {
            bits_put(&b, XOR_TAIL, 2);
            bits_put_wide(&b, x, 64 - lead);
        } else {
            bits_put(&b, XOR_NEW_TAIL | class << 2, 5);
            bits_put_wide(&b, x, 64 - lead);
            last = lead;
        }
    }
    size_t size = (size_t)(bits_finish(&b) - start);
    if (size > (size_t)m * 8)
        return false;
    out->len += size;
    return true;
}

/* One XOR; -1 if the length does not fit. */
static int xor_next(struct bits_in *b, unsigned *last, uint64_t *x)
{
    switch (bits_get(b, 2)) {
    case XOR_SAME:
        *x = 0;
        return 0;
    case XOR_MIDDLE: {
        unsigned lead = *last = leading_zeros[bits_get(b, 3)], len = (unsigned)bits_get(b, 6) + 1;
        if (lead + len > 64)
            return -1;
        *x = bits_get_wide(b, len) << (64 - lead - len);
        return 0;
    }
    case XOR_NEW_TAIL:
        *last = leading_zeros[bits_get(b, 3)];
        break;
    default:
        break;
    }
    *x = bits_get_wide(b, 64 - *last);
    return 0;
}

static int xor_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    if (m == 0)
        return size ? -1 : 0;
    struct bits_in b = {.data = body, .size = size};
    uint64_t now = bits_get_wide(&b, 64);
    unsigned last = 0;
    value[0] = bits_f64(now);
    for (uint32_t i = 1; i < m; i++) {
        uint64_t x;
        if (xor_next(&b, &last, &x) < 0)
            return -1;
        now ^= x;
        value[i] = bits_f64(now);
    }
    return bits_ended(&b) ? 0 : -1;
}

const struct codec_ops codec_xor = {.name = "xor", .encode = xor_encode, .decode = xor_decode};
