#include "codec/fixes.h"

#include "base/bytes.h"
#include "codec/bits.h"

#include <string.h>

_Static_assert(2 * FIXES_ULPS_MAX == 1 << FIXES_ULP_MASK, "ulp corrections but 0 fill the largest width");

void fixes_init(struct fixes *f)
{
    memset(f->corrected, 0, sizeof f->corrected);
    memset(f->except, 0, sizeof f->except);
    f->corrections = f->exceptions = 0;
}

static unsigned ulp_width(const struct fixes *f, uint32_t m)
{
    uint64_t widest = 0;
    for (uint32_t i = 0; i < m; i++)
        if (f->corrected[i / 64] >> (i % 64) & 1)
            widest |= zigzag(f->ulps[i]) - 1;
    return widest ? bits_length(widest) : 1;
}

unsigned fixes_head(const struct fixes *f, uint32_t m)
{
    return (f->corrections ? ulp_width(f, m) << FIXES_ULP_SHIFT : 0) | (f->exceptions ? FIXES_EXCEPTIONS : 0);
}

static void put_corrections(const struct fixes *f, uint32_t m, struct buf *out)
{
    unsigned width = ulp_width(f, m);
    positions_put(f->corrected, m, out);
    uint8_t *start = buf_reserve(out, ((size_t)f->corrections * width + 7) / 8 + 8);
    struct bits_out b = {.p = start};
    for (uint32_t i = 0; i < m; i++)
        if (f->corrected[i / 64] >> (i % 64) & 1)
            bits_put(&b, zigzag(f->ulps[i]) - 1, width);
    out->len += (size_t)(bits_finish(&b) - start);
}

void fixes_put(const struct fixes *f, const double *value, uint32_t m, struct buf *out)
{
    if (f->corrections)
        put_corrections(f, m, out);
    if (!f->exceptions)
        return;
    positions_put(f->except, m, out);
    for (uint32_t i = 0; i < m; i++)
        if (f->except[i / 64] >> (i % 64) & 1)
            buf_append(out, &value[i], 8);
}

static int get_corrections(struct span *s, uint32_t m, unsigned width, struct fixes_read *f)
{
    if (positions_get(s, m, f->corrected, &f->corrections) < 0)
        return -1;
    struct bits_in b = {.data = s->p, .size = ((size_t)f->corrections * width + 7) / 8};
    if (b.size > (size_t)(s->end - s->p))
        return -1;
    for (uint32_t i = 0; i < f->corrections; i++)
        f->ulps[i] = (int8_t)unzigzag(bits_get(&b, width) + 1);
    s->p += b.size;
    return bits_ended(&b) ? 0 : -1;
}

int fixes_get(struct span *s, uint32_t m, unsigned head, struct fixes_read *f)
{
    unsigned width = head >> FIXES_ULP_SHIFT & FIXES_ULP_MASK;
    f->corrections = f->exceptions = 0;
    if (width && get_corrections(s, m, width, f) < 0)
        return -1;
    if (!(head & FIXES_EXCEPTIONS))
        return 0;
    if (positions_get(s, m, f->except, &f->exceptions) < 0 || (size_t)(s->end - s->p) / 8 < f->exceptions)
        return -1;
    f->values = s->p;
    s->p += (size_t)f->exceptions * 8;
    return 0;
}

void fixes_apply(const struct fixes_read *f, double *value)
{
    for (uint32_t i = 0; i < f->corrections; i++) {
        double *v = &value[f->corrected[i]];
        *v = bits_f64(f64_bits(*v) + (uint64_t)(int64_t)f->ulps[i]);
    }
    for (uint32_t i = 0; i < f->exceptions; i++)
        value[f->except[i]] = get_f64le(f->values + (size_t)i * 8);
}
