/* Bit streams, lowest bit of each byte first. */
#ifndef CARAT_CODEC_BITS_H
#define CARAT_CODEC_BITS_H

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>

#define BITS_GET_MAX                                                                                         \
    56 /* most bits bits_get() returns: 8 bytes loaded less up to 7 bits of shift, whole bytes */

static inline uint64_t bits_mask(unsigned n)
{
    return n >= 64 ? ~0ull : (1ull << n) - 1;
}
/* Bits needed to write v: 0 for 0. */
static inline unsigned bits_length(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* The caller has room for 8 bytes more than the bits put. */
struct bits_out {
    uint8_t *p;
    uint64_t acc;
    unsigned fill; /* bits in acc: 0..7 between calls */
};

/* n <= BITS_GET_MAX, v < 2^n. */
static inline void bits_put(struct bits_out *b, uint64_t v, unsigned n)
{
    b->acc |= v << b->fill;
    b->fill += n;
    put_u64le(b->p, b->acc);
    b->p += b->fill / 8;
    b->acc >>= b->fill & ~7u;
    b->fill %= 8;
}
static inline void bits_put_wide(struct bits_out *b, uint64_t v, unsigned n)
{
    if (n > 32) {
        bits_put(b, v & 0xffffffff, 32);
        v >>= 32;
        n -= 32;
    }
    bits_put(b, v, n);
}
/* Returns the end of the bytes; the unused bits of the last one are zero. */
static inline uint8_t *bits_finish(struct bits_out *b)
{
    return b->p + (b->fill ? 1 : 0);
}

/* Reading past the end gives zeros; check bits_ended() after the last read. */
struct bits_in {
    const uint8_t *data;
    size_t size, at; /* bytes; bits */
};

static inline uint64_t bits_load_tail(const struct bits_in *b, size_t byte)
{
    uint8_t tail[8] = {0};
    if (byte < b->size)
        memcpy(tail, b->data + byte, b->size - byte);
    return get_u64le(tail);
}
static inline uint64_t bits_get(struct bits_in *b, unsigned n)
{
    size_t byte = b->at / 8;
    uint64_t v = byte + 8 <= b->size ? get_u64le(b->data + byte) : bits_load_tail(b, byte);
    v = v >> (b->at % 8) & bits_mask(n);
    b->at += n;
    return v;
}
static inline uint64_t bits_get_wide(struct bits_in *b, unsigned n)
{
    if (n <= BITS_GET_MAX)
        return bits_get(b, n);
    uint64_t low = bits_get(b, 32);
    return low | bits_get(b, n - 32) << 32;
}
/* All bytes were needed, none was missing, and the bits left over in the last are zero. */
static inline int bits_ended(const struct bits_in *b)
{
    if ((b->at + 7) / 8 != b->size)
        return 0;
    return b->at % 8 == 0 || b->data[b->size - 1] >> (b->at % 8) == 0;
}

#endif
