/* Explicit little- and big-endian access, and LEB128 varints. Everything stored or
 * sent goes through these: no struct is ever dumped. Unaligned addresses are fine. */
#ifndef CARAT_BASE_BYTES_H
#define CARAT_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "column fast paths copy little-endian memory as it is; port base/bytes.h and model/batch.c first"
#endif

static inline uint16_t get_u16le(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t get_u32le(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t get_u64le(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static inline void put_u16le(void *p, uint16_t v)
{
    memcpy(p, &v, 2);
}
static inline void put_u32le(void *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static inline void put_u64le(void *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
static inline double get_f64le(const void *p)
{
    double v;
    memcpy(&v, p, 8);
    return v;
}
static inline void put_f64le(void *p, double v)
{
    memcpy(p, &v, 8);
}

static inline uint32_t get_u32be(const void *p)
{
    return __builtin_bswap32(get_u32le(p));
}
static inline uint64_t get_u64be(const void *p)
{
    return __builtin_bswap64(get_u64le(p));
}
static inline void put_u32be(void *p, uint32_t v)
{
    put_u32le(p, __builtin_bswap32(v));
}
static inline void put_u64be(void *p, uint64_t v)
{
    put_u64le(p, __builtin_bswap64(v));
}

#define VARINT_MAX 10

/* Writes 1..VARINT_MAX bytes, returns how many. */
static inline size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

/* Reads at *p, not past end, and moves *p on. 0 on success, -1 if the bytes end
 * early or the value does not fit in 64 bits (then *p is unchanged). */
static inline int get_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
    uint64_t r = 0;
    const uint8_t *q = *p;
    for (unsigned shift = 0; q < end && shift < 64; shift += 7) {
        uint8_t b = *q++;
        if (shift == 63 && b > 1)
            return -1;
        r |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *p = q;
            *v = r;
            return 0;
        }
    }
    return -1;
}

static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}
static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint64_t f64_bits(double v)
{
    uint64_t b;
    memcpy(&b, &v, 8);
    return b;
}
static inline double bits_f64(uint64_t b)
{
    double v;
    memcpy(&v, &b, 8);
    return v;
}

#endif
