/* What the hot tier on Redis stores: keys and the bytes of a window. Pure functions.
 *
 *   <prefix><step ms>:{<host part>}<rest>:<window ms>/<partition>   a window, a string of fixed size
 *   <prefix>w<step ms>:{<host part>}<rest>                          the windows a series has, a set of
 * integers
 *
 * The host part is the first levels of the path (or the value of the tag host), so that one host's series
 * share a hash slot; in it '{', '}' and '%' are written %7B, %7D, %25. It comes first in the name, except for
 * a tagged series, where the rest begins with ':' and is the whole name.
 *
 * A window, in 8-byte big-endian words (what BITFIELD calls i64 #0, #1, ...):
 *
 *   0  u16 0x4357 "CW" | u8 version 1 | u8 zero | u16 partition | u16 slots
 *   1  lo: first stream position applied to it
 *   2  hi: last stream position applied to it; 0 while it is being made
 *   3  one cell a slot: the double's bits XOR those of COLUMN_MISSING, so that all-zero means "no point" and
 *      every value there can be has another cell; +0.0 and -0.0 too
 */
#ifndef CARAT_HOT_HOT_REDIS_FORMAT_H
#define CARAT_HOT_HOT_REDIS_FORMAT_H

#include "base/buf.h"
#include "base/err.h"
#include "model/column.h"
#include "model/slots.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOT_REDIS_HEADER_WORDS 3
#define HOT_REDIS_HEADER_BYTES (8 * HOT_REDIS_HEADER_WORDS)
#define HOT_REDIS_VALUE_MAX    (HOT_REDIS_HEADER_BYTES + 8 * WINDOW_SLOTS_MAX)

static inline size_t hot_redis_value_bytes(uint32_t nslots)
{
    return HOT_REDIS_HEADER_BYTES + 8 * (size_t)nslots;
}

struct hot_redis_header {
    unsigned partition;
    uint32_t nslots;
    uint64_t lo, hi;
};

/* Word 0. */
uint64_t hot_redis_mark(unsigned partition, uint32_t nslots);
/* ERR_CORRUPT if these are not the first bytes of a window. */
int hot_redis_header_read(const uint8_t *bytes, size_t n, struct hot_redis_header *out,
                          struct err *err) must_check;
/* A whole window. ERR_CORRUPT if the size or the header is not that of one with `nslots` slots. */
int hot_redis_window_read(const uint8_t *bytes, size_t n, uint32_t nslots, struct hot_redis_header *header,
                          struct slots *out, struct err *err) must_check;

static inline uint64_t hot_redis_cell(double v)
{
    return f64_bits(v) ^ COLUMN_MISSING_BITS;
}

struct hot_redis_naming {
    const char *prefix;   /* no braces */
    unsigned host_levels; /* levels of a path that make the host part; 0: the whole name */
};
/* Appends "<step>:{<host part>}<rest>", which both keys have in the middle. */
void hot_redis_put_series(const struct hot_redis_naming *naming, uint32_t step_ms, const char *name,
                          size_t len, struct buf *out);
/* The keys; `series` is what the function above made. */
void hot_redis_put_window_key(const struct hot_redis_naming *naming, const char *series, size_t len,
                              int64_t window_ms, unsigned partition, struct buf *out);
void hot_redis_put_set_key(const struct hot_redis_naming *naming, const char *series, size_t len,
                           struct buf *out);

/* Members of a series' set. */
static inline int64_t hot_redis_member(int64_t window_ms, uint32_t step_ms, unsigned partition)
{
    return window_ms / window_span_ms(step_ms) * 256 + partition;
}
static inline int64_t hot_redis_member_window(int64_t member, uint32_t step_ms)
{
    return floor_to(member, 256) / 256 * window_span_ms(step_ms);
}
static inline unsigned hot_redis_member_partition(int64_t member)
{
    return (unsigned)(member - floor_to(member, 256));
}

struct hot_redis_key {
    uint32_t step_ms;
    int64_t window_ms;
    unsigned partition;
};
/* Reads the key of a window; the series' name is appended to `name`. False if it is none. */
bool hot_redis_key_read(const struct hot_redis_naming *naming, const char *key, size_t n,
                        struct hot_redis_key *out, struct buf *name);

#endif
