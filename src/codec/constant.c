/* CODEC_CONSTANT: one value for all points: its bit pattern's highest bytes, highest first, without the zero
 * bytes at the end: 0.0 is nothing at all, 1.0 is 3f f0. */
#include "base/bytes.h"
#include "codec/codec_impl.h"

#include <string.h>

static bool all_equal(const double *value, uint32_t m)
{
    uint64_t first = f64_bits(value[0]), other = 0;
    for (uint32_t i = 1; i < m; i++)
        other |= f64_bits(value[i]) ^ first;
    return !other;
}

static bool constant_encode(const double *value, uint32_t m, struct buf *out)
{
    uint8_t bytes[8];
    size_t size = 8;
    if (m == 0 || f64_bits(value[0]) != f64_bits(value[m - 1]) || !all_equal(value, m))
        return false;
    put_u64be(bytes, f64_bits(value[0]));
    while (size && !bytes[size - 1])
        size--;
    buf_append(out, bytes, size);
    return true;
}

static int constant_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    uint8_t bytes[8] = {0};
    if (m == 0 || size > 8 || (size && !body[size - 1]))
        return -1;
    memcpy(bytes, body, size);
    double v = bits_f64(get_u64be(bytes));
    for (uint32_t i = 0; i < m; i++)
        value[i] = v;
    return 0;
}

const struct codec_ops codec_constant = {
    .name = "constant", .encode = constant_encode, .decode = constant_decode};
