/* CODEC_ZSTD: one zstd frame (RFC 8878, without a dictionary) whose content is the body of a chunks block.
 *
 * For the long blocks of the cold tier: what repeats from chunk to chunk, such as headers and quiet hours, is
 * taken out again. The content is at most as large as the raw values, so bytes from outside cannot ask for
 * more. */
#include <zstd.h>

#include "codec/codec_impl.h"

#include "base/mem.h"

#include <stdlib.h>

#define LEVEL 3
/* Below this gain the time to read it is worth more. */
#define GAIN_MIN(size) ((size) / 32 + 8)

static bool zstd_encode(const double *value, uint32_t m, struct buf *out)
{
    struct buf chunks = BUF_INIT;
    bool good = false;
    if (codec_chunks.encode(value, m, &chunks)) {
        size_t room = ZSTD_compressBound(chunks.len);
        size_t size = ZSTD_compress(buf_reserve(out, room), room, chunks.data, chunks.len, LEVEL);
        good = !ZSTD_isError(size) && size + GAIN_MIN(chunks.len) <= chunks.len;
        out->len += good ? size : 0;
    }
    buf_release(&chunks);
    return good;
}

static int zstd_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    if (m == 0 || ZSTD_findFrameCompressedSize(body, size) != size)
        return -1;
    size_t room = (size_t)m * sizeof *value;
    uint8_t *chunks = xmalloc(room);
    size_t got = ZSTD_decompress(chunks, room, body, size);
    int rc = ZSTD_isError(got) ? -1 : codec_chunks.decode(chunks, got, m, value);
    free(chunks);
    return rc;
}

const struct codec_ops codec_zstd = {.name = "zstd", .encode = zstd_encode, .decode = zstd_decode};
