/* CODEC_DICTIONARY: few distinct values, as an agent's ratio of two small counts has.
 *
 *   u8      distinct values - 1
 *   u8      id of the format of the values (a plain one), varint its size, its bytes
 *   run     of m codes (intpack_put()); a code is a place in the list of values
 *
 * The more frequent a value, the smaller its code, so that rare values can be patches. */
#include "base/bytes.h"
#include "codec/codec_impl.h"
#include "codec/intpack.h"

#include <assert.h>
#include <string.h>

#define DISTINCT_MAX      256
#define TABLE_SLOTS       1024
#define TABLE_SLOTS_SMALL 64
/* If this many of the first values differ, it will not pay: give up early. */
#define LOOK          32
#define LOOK_DISTINCT 24
#define NO_VALUE      UINT16_MAX

_Static_assert(TABLE_SLOTS >= 4 * DISTINCT_MAX, "probes stay short");

/* Distinct values in the order of their first appearance. */
struct distinct {
    uint32_t n;
    uint16_t slot[TABLE_SLOTS]; /* hash table of places in value[] */
    double value[DISTINCT_MAX];
    uint16_t count[DISTINCT_MAX];
    uint16_t place[INTPACK_MAX]; /* of each value of the block */
};

static bool distinct_find(struct distinct *d, const double *value, uint32_t m, uint32_t limit)
{
    uint32_t slots = m <= TABLE_SLOTS_SMALL / 2 ? TABLE_SLOTS_SMALL : TABLE_SLOTS;
    memset(d->slot, 0xff, slots * sizeof *d->slot);
    d->n = 0;
    for (uint32_t i = 0; i < m; i++) {
        uint64_t bits = f64_bits(value[i]);
        uint32_t at = (uint32_t)((bits * 0x9e3779b97f4a7c15ull) >> 32) % slots;
        while (d->slot[at] != NO_VALUE && f64_bits(d->value[d->slot[at]]) != bits)
            at = (at + 1) % slots;
        if (d->slot[at] == NO_VALUE) {
            if (d->n == limit || (i < LOOK && d->n == LOOK_DISTINCT))
                return false;
            d->slot[at] = (uint16_t)d->n;
            d->count[d->n] = 0;
            d->value[d->n++] = value[i];
        }
        d->place[i] = d->slot[at];
        d->count[d->slot[at]]++;
    }
    return true;
}

/* Lists the values by falling count (a counting sort) and maps places to codes. */
static void rank(const struct distinct *d, double *sorted, uint16_t *code)
{
    uint16_t start[INTPACK_MAX + 2] = {0};
    for (uint32_t i = 0; i < d->n; i++)
        start[INTPACK_MAX - d->count[i] + 1]++;
    for (uint32_t c = 1; c < INTPACK_MAX + 2; c++)
        start[c] += start[c - 1];
    for (uint32_t i = 0; i < d->n; i++) {
        code[i] = start[INTPACK_MAX - d->count[i]]++;
        sorted[code[i]] = d->value[i];
    }
}

static bool dictionary_encode(const double *value, uint32_t m, struct buf *out)
{
    struct distinct d;
    double sorted[DISTINCT_MAX];
    uint16_t code[DISTINCT_MAX];
    int64_t codes[INTPACK_MAX];
    uint32_t limit = m / 2 < DISTINCT_MAX ? m / 2 : DISTINCT_MAX;
    if (m == 0 || m > INTPACK_MAX || !distinct_find(&d, value, m, limit))
        return false;
    rank(&d, sorted, code);
    for (uint32_t i = 0; i < m; i++)
        codes[i] = code[d.place[i]];

    size_t start = out->len;
    struct buf list = BUF_INIT;
    uint8_t head[2 + VARINT_MAX] = {(uint8_t)(d.n - 1), (uint8_t)codec_plain_encode(sorted, d.n, &list)};
    buf_append(out, head, 2 + put_varint(head + 2, list.len));
    buf_append(out, list.data, list.len);
    buf_release(&list);
    intpack_put(codes, m, out);
    if (out->len - start <= (size_t)m * 8)
        return true;
    out->len = start;
    return false;
}

static int get_list(struct span *s, double *list, uint32_t *n)
{
    uint64_t size;
    if (s->end - s->p < 2)
        return -1;
    *n = *s->p++ + 1u;
    unsigned format = *s->p++;
    if (get_varint(&s->p, s->end, &size) < 0 || size > (size_t)(s->end - s->p))
        return -1;
    s->p += size;
    return codec_plain_decode(format, s->p - size, size, *n, list);
}

static int dictionary_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    struct span s = {body, body + size};
    double list[DISTINCT_MAX];
    uint64_t code[INTPACK_MAX], too_large = 0;
    uint32_t n;
    if (m == 0 || m > INTPACK_MAX || get_list(&s, list, &n) < 0)
        return -1;
    if (intpack_get(&s, m, code) < 0 || s.p != s.end)
        return -1;
    for (uint32_t i = 0; i < m; i++)
        too_large |= code[i] >= n;
    for (uint32_t i = 0; i < m && !too_large; i++)
        value[i] = list[code[i]];
    return too_large ? -1 : 0;
}

const struct codec_ops codec_dictionary = {
    .name = "dictionary", .encode = dictionary_encode, .decode = dictionary_decode};
