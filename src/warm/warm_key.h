/* How the warm tier's keys look in an ordered key-value store, big-endian so that byte order is
 * number order:
 *
 *   u32 step_ms | u32 group | u32 series | u16 window's index in its group | u64 hi      22 bytes
 *
 * A group is 32 consecutive windows. Everything of one step and group lies together, so
 * expiry drops whole key ranges; within a group a series' windows lie together, so a long
 * read is one seek a group. See doc/warm.md. */
#ifndef CARAT_WARM_WARM_KEY_H
#define CARAT_WARM_WARM_KEY_H

#include "base/bytes.h"
#include "model/part.h"
#include "model/window.h"

#define WARM_KEY_BYTES     22
#define WARM_GROUP_BYTES   8  /* step and group: the prefix that expiry works on */
#define WARM_WINDOW_BYTES  14 /* all but hi: one window of one series */
#define WARM_GROUP_WINDOWS 32

static inline int64_t warm_group_ms(uint32_t step_ms)
{
    return WARM_GROUP_WINDOWS * window_span_ms(step_ms);
}

/* Windows from here on have no key: groups are u32, and times int64. */
static inline int64_t warm_window_limit_ms(uint32_t step_ms)
{
    int64_t group = warm_group_ms(step_ms);
    return group > INT64_MAX >> 32 ? INT64_MAX / group * group : group << 32;
}

static inline void warm_group_put(uint8_t out[WARM_GROUP_BYTES], uint32_t step_ms, uint32_t group)
{
    put_u32be(out, step_ms);
    put_u32be(out + 4, group);
}

static inline void warm_key_put(uint8_t out[WARM_KEY_BYTES], const struct part_key *k)
{
    int64_t span = window_span_ms(k->step_ms), n = k->window_ms / span;
    warm_group_put(out, k->step_ms, (uint32_t)(n / WARM_GROUP_WINDOWS));
    put_u32be(out + 8, k->series);
    out[12] = 0;
    out[13] = (uint8_t)(n % WARM_GROUP_WINDOWS);
    put_u64be(out + 14, k->hi);
}

/* 0, or -1 if these bytes are no key. */
static inline int warm_key_get(const uint8_t *p, size_t n, struct part_key *out)
{
    if (n != WARM_KEY_BYTES || p[12] != 0 || p[13] >= WARM_GROUP_WINDOWS)
        return -1;
    out->step_ms = get_u32be(p);
    if (out->step_ms < STEP_MIN_MS || out->step_ms > STEP_MAX_MS)
        return -1;
    out->series = get_u32be(p + 8);
    out->window_ms = ((int64_t)get_u32be(p + 4) * WARM_GROUP_WINDOWS + p[13]) * window_span_ms(out->step_ms);
    out->hi = get_u64be(p + 14);
    return 0;
}

#endif
