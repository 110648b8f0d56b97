#include "codec/presence.h"

#include "base/bytes.h"
#include "model/slots.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define VARINT_SLOTS_MAX 3 /* a varint of a slot number: CODEC_SLOTS_MAX < 2^21 */

/* First slot at or after `from` whose presence is `want`, or n. */
static uint32_t next_slot(const uint64_t *present, uint32_t n, uint32_t from, bool want)
{
    while (from < n) {
        uint64_t w = (want ? present[from / 64] : ~present[from / 64]) >> (from % 64);
        if (w) {
            from += (uint32_t)__builtin_ctzll(w);
            return from < n ? from : n;
        }
        from = (from / 64 + 1) * 64;
    }
    return n;
}

static uint32_t runs_count(const uint64_t *present, uint32_t n)
{
    uint32_t runs = 0;
    uint64_t before = 0;
    for (size_t w = 0; w < SLOTS_WORDS(n); w++) {
        runs += (uint32_t)__builtin_popcountll(present[w] & ~(present[w] << 1 | before));
        before = present[w] >> 63;
    }
    return runs;
}

static uint8_t *put_runs(uint8_t *p, const uint64_t *present, uint32_t n)
{
    uint32_t end = 0;
    for (uint32_t from; (from = next_slot(present, n, end, true)) < n;) {
        p += put_varint(p, from - end);
        end = next_slot(present, n, from, false);
        p += put_varint(p, end - from - 1);
    }
    return p;
}

enum presence_kind presence_encode(const uint64_t *present, uint32_t n, struct buf *out, uint32_t *count)
{
    assert(n % 64 == 0 || present[n / 64] >> (n % 64) == 0);
    *count = (uint32_t)slots_count(present, n);
    if (*count == n)
        return PRESENCE_ALL;
    if (*count == 0)
        return PRESENCE_NONE;
    uint32_t runs = runs_count(present, n), bitmap_bytes = (n + 7) / 8;
    uint8_t *start = buf_reserve(out, bitmap_bytes + (size_t)VARINT_SLOTS_MAX * (1 + 2 * runs));
    if (runs == 1) {
        out->len += (size_t)(put_runs(start, present, n) - start);
        return PRESENCE_SPAN;
    }
    if (1 + 2 * runs < bitmap_bytes) {
        uint8_t *p = put_runs(start + put_varint(start, runs - 2), present, n);
        if (p - start < (ptrdiff_t)bitmap_bytes) {
            out->len += (size_t)(p - start);
            return PRESENCE_RUNS;
        }
    }
    memcpy(start, present, bitmap_bytes); /* bytes.h allows little-endian machines only */
    out->len += bitmap_bytes;
    return PRESENCE_BITMAP;
}

static void set_slots(uint64_t *present, uint32_t from, uint32_t end)
{
    for (uint32_t at = from; at < end;) {
        uint32_t bit = at % 64, len = end - at < 64 - bit ? end - at : 64 - bit;
        present[at / 64] |= (len == 64 ? ~0ull : (1ull << len) - 1) << bit;
        at += len;
    }
}

static int get_runs(uint64_t runs, const uint8_t **p, const uint8_t *end, uint32_t n, uint64_t *present,
                    uint32_t *count)
{
    uint32_t at = 0;
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t gap, more;
        if (get_varint(p, end, &gap) < 0 || get_varint(p, end, &more) < 0)
            return -1;
        if ((i && !gap) || gap >= n - at || more >= n - at - gap)
            return -1;
        at += (uint32_t)gap;
        set_slots(present, at, at + (uint32_t)more + 1);
        at += (uint32_t)more + 1;
        *count += (uint32_t)more + 1;
    }
    return 0;
}

int presence_decode(unsigned kind, const uint8_t **p, const uint8_t *end, uint32_t n, uint64_t *present,
                    uint32_t *count)
{
    uint64_t runs;
    memset(present, 0, SLOTS_WORDS(n) * sizeof *present);
    *count = 0;
    switch (kind) {
    case PRESENCE_ALL:
        set_slots(present, 0, n);
        *count = n;
        return 0;
    case PRESENCE_NONE:
        return 0;
    case PRESENCE_SPAN:
        return get_runs(1, p, end, n, present, count);
    case PRESENCE_RUNS:
        if (get_varint(p, end, &runs) < 0 || runs >= n)
            return -1;
        return get_runs(runs + 2, p, end, n, present, count);
    case PRESENCE_BITMAP:
        if ((size_t)(end - *p) < (n + 7) / 8)
            return -1;
        memcpy(present, *p, (n + 7) / 8);
        *p += (n + 7) / 8;
        *count = (uint32_t)slots_count(present, n);
        return n % 64 && present[n / 64] >> (n % 64) ? -1 : 0;
    default:
        return -1;
    }
}
