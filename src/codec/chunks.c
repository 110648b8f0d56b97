/* CODEC_CHUNKS: a long block as short ones, each in the format and width that suits it.
 *
 *   u8  log2 of the values of a chunk (4..9); the last may have fewer
 *   for each chunk: u8 format id (any but this one and zstd), varint size, body */
#include "base/bytes.h"
#include "codec/codec_impl.h"
#include "codec/intpack.h"

#define LOG_MIN   4
#define LOG_MAX   9
#define LOG_TODAY 8 /* 128 pays in headers, 512 in widths */

_Static_assert(1 << LOG_MAX == INTPACK_MAX, "a chunk can be of any format");

static void put_chunk(const double *value, uint32_t n, struct buf *chunk, struct buf *out)
{
    buf_clear(chunk);
    enum codec_format format = codec_short_encode(value, n, chunk);
    uint8_t *start = buf_reserve(out, 1 + VARINT_MAX);
    *start = (uint8_t)format;
    out->len += 1 + put_varint(start + 1, chunk->len);
    buf_append(out, chunk->data, chunk->len);
}

static bool chunks_encode(const double *value, uint32_t m, struct buf *out)
{
    size_t start = out->len;
    struct buf chunk = BUF_INIT;
    *buf_reserve(out, 1) = LOG_TODAY;
    out->len++;
    for (uint32_t at = 0, n; at < m; at += n) {
        n = m - at < 1u << LOG_TODAY ? m - at : 1u << LOG_TODAY;
        put_chunk(value + at, n, &chunk, out);
    }
    buf_release(&chunk);
    if (m && out->len - start <= (size_t)m * 8)
        return true;
    out->len = start;
    return false;
}

static int chunks_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    const uint8_t *p = body, *end = body + size;
    if (m == 0 || p == end || *p < LOG_MIN || *p > LOG_MAX)
        return -1;
    uint32_t length = 1u << *p++;
    for (uint32_t at = 0; at < m; at += length) {
        uint64_t bytes;
        if (p == end)
            return -1;
        unsigned format = *p++;
        if (get_varint(&p, end, &bytes) < 0 || bytes > (size_t)(end - p) ||
            codec_short_decode(format, p, bytes, m - at < length ? m - at : length, value + at) < 0)
            return -1;
        p += bytes;
    }
    return p == end ? 0 : -1;
}

const struct codec_ops codec_chunks = {.name = "chunks", .encode = chunks_encode, .decode = chunks_decode};
