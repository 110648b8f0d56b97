/* Block codecs: a window's slots to bytes and back, bit for bit.
 *
 * A block is: u8 format id and presence kind | presence | body (doc/codec.md). The body's layout
 * belongs to the format; ids are on disk and are never reused. codec_encode() picks the smallest format for
 * the block and checks that it decodes to the same bits. Blocks carry no checksum: the container has one. The
 * number of slots is not in the block: the container's step tells it. */
#ifndef CARAT_CODEC_CODEC_H
#define CARAT_CODEC_CODEC_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum codec_format {
    CODEC_INVALID = 0,
    CODEC_RAW = 1,        /* presence bits and raw doubles */
    CODEC_XOR = 2,        /* Gorilla-style XOR of neighbours */
    CODEC_CONSTANT = 3,   /* one value */
    CODEC_SCALED = 4,     /* whole numbers of a unit, or their differences */
    CODEC_DICTIONARY = 5, /* few distinct values */
    CODEC_FRACTION = 6,   /* quotients of two small numbers */
    CODEC_CHUNKS = 7,     /* a long block as short ones */
    CODEC_ZSTD = 8,       /* the same, compressed */
    CODEC_FORMATS_MAX = 32
};

#define CODEC_SLOTS_MAX 16384

/* Presence (SLOTS_WORDS(n) words, bits past n zero) and values; absent values are ignored. */
struct codec_in {
    uint32_t n; /* 1..CODEC_SLOTS_MAX slots */
    const uint64_t *present;
    const double *value;
};

/* Appends one block. Cannot fail: CODEC_RAW takes anything. Any thread. */
void codec_encode(const struct codec_in *in, struct buf *out);

/* The same in a named format; ERR_UNSUPPORTED if that format cannot hold this block. For tests and benches.
 */
int codec_encode_as(enum codec_format format, const struct codec_in *in, struct buf *out,
                    struct err *err) must_check;

/* Decodes a block of n slots into caller's arrays (SLOTS_WORDS(n) words, n doubles); values of
 * absent slots are left alone; after a failure both arrays hold anything. Never reads past data+size or
 * writes past n, whatever the bytes are; ERR_CORRUPT if they are no block of n slots (trailing bytes
 * included). */
int codec_decode(const uint8_t *data, size_t size, uint32_t n, uint64_t *present, double *value,
                 struct err *err) must_check;

/* "raw", "xor", ...; NULL for an unknown id. */
const char *codec_format_name(unsigned format);

#endif
