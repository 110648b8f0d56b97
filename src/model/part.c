#include "model/part.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <assert.h>

#define PART_VERSION 1

static uint32_t part_crc(const struct part_key *key, const uint8_t *bytes, size_t n)
{
    uint8_t k[24];
    put_u32le(k, key->series);
    put_u32le(k + 4, key->step_ms);
    put_u64le(k + 8, (uint64_t)key->window_ms);
    put_u64le(k + 16, key->hi);
    return crc32c(crc32c(0, k, sizeof k), bytes, n);
}

void part_encode(const struct part *p, struct buf *out)
{
    assert(p->lo <= p->key.hi);
    size_t start = out->len;
    uint8_t *q = buf_reserve(out, 1 + 2 * VARINT_MAX + p->size + 4);
    size_t n = 0;
    q[n++] = PART_VERSION;
    n += put_varint(q + n, p->key.hi - p->lo);
    n += put_varint(q + n, p->size);
    memcpy(q + n, p->data, p->size);
    n += p->size;
    put_u32le(q + n, part_crc(&p->key, out->data + start, n));
    out->len += n + 4;
}

int part_decode(const struct part_key *key, const uint8_t *bytes, size_t n, struct part *out, struct err *err)
{
    const char *what = "shorter than a part's header";
    uint64_t back, size;
    if (n < 4 + 3)
        goto corrupt;
    const uint8_t *p = bytes + 1, *end = bytes + n - 4;
    what = "checksum mismatch";
    if (get_u32le(end) != part_crc(key, bytes, n - 4))
        goto corrupt;
    if (bytes[0] != PART_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "part of series %u has version %u, this program reads %u",
                       key->series, bytes[0], PART_VERSION);
    what = "malformed header";
    if (get_varint(&p, end, &back) < 0 || get_varint(&p, end, &size) < 0 || back > key->hi ||
        size != (uint64_t)(end - p))
        goto corrupt;
    *out = (struct part){.key = *key, .lo = key->hi - back, .data = p, .size = (size_t)size};
    return OK;
corrupt:
    return err_set(err, ERR_CORRUPT, "part of series %u, step %u ms, window %lld, position %llu: %s",
                   key->series, key->step_ms, (long long)key->window_ms, (unsigned long long)key->hi, what);
}

void slots_overlay(struct slots *into, const struct slots *newer)
{
    assert(into->n == newer->n);
    for (uint32_t w = 0; w < SLOTS_WORDS(into->n); w++) {
        uint64_t bits = newer->present[w];
        into->present[w] |= bits;
        for (; bits; bits &= bits - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
            into->value[i] = newer->value[i];
        }
    }
}
