/* CODEC_RAW: m little-endian doubles. Holds anything. */
#include "base/bytes.h"
#include "codec/codec_impl.h"

#include <string.h>

static bool raw_encode(const double *value, uint32_t m, struct buf *out)
{
    buf_append(out, value, (size_t)m * 8); /* bytes.h allows little-endian machines only */
    return true;
}

static int raw_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    if (size != (size_t)m * 8)
        return -1;
    if (m)
        memcpy(value, body, size);
    return 0;
}

const struct codec_ops codec_raw = {.name = "raw", .encode = raw_encode, .decode = raw_decode};
