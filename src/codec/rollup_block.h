/* The block of a coarse archive's window (model/rollup.h) as bytes:
 *
 *   u8 tag (0x40) | field count | field sum | field min | field max | field last
 *   field: varint k
 *          k < 8:   the same values as the earlier field k
 *          else:    k - 8 bytes, a block of codec.h
 *
 * The block of count has the window's n slots and so carries the presence. The others hold the values of the
 * m present slots only, as blocks of m slots, all present; with m = 0 they are not there. The tag's low bits
 * are no block format, so neither kind is ever taken for the other. Like blocks, these carry no checksum. */
#ifndef CARAT_CODEC_ROLLUP_BLOCK_H
#define CARAT_CODEC_ROLLUP_BLOCK_H

#include "base/buf.h"
#include "base/err.h"
#include "model/rollup.h"

#define ROLLUP_BLOCK_TAG 0x40

/* Appends one block. Any thread. */
void rollup_block_encode(const struct rollup *r, struct buf *out);
/* Reads exactly one block of n slots. ERR_CORRUPT: `out` holds anything. */
int rollup_block_decode(const uint8_t *data, size_t size, uint32_t n, struct rollup *out,
                        struct err *err) must_check;

#endif
