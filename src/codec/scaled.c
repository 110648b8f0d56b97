/* CODEC_SCALED: whole numbers of a unit (unit.h), as they are or as first or second differences, in
 * fixed width with patches (intpack.h), made bit-exact by fixes (fixes.h).
 *
 *   u8       unit (6 bits) | mode << 6
 *   u8       width (6 bits, 0..56) | HAS_PATCHES | HAS_EXTRAS
 *   [u8      HAS_FACTOR | fixes_head()                                if HAS_EXTRAS; not zero]
 *   [varint  factor >= 2; varint origin < factor                      if HAS_FACTOR]
 *   zigzag   first                                                    if mode >= 1
 *   zigzag   first difference                                         if mode = 2
 *   zigzag   base
 *   [patches                                                          if HAS_PATCHES]
 *   [fixes                                                            if fixes_head() says so]
 *   offsets  of m - mode integers s
 *
 * y = s; or y[0] = first, y[i] = y[i-1] + s[i-1]; or the same once more. k = origin + factor * y.
 * x = k / unit. */
#include "codec/bits.h"
#include "codec/codec_impl.h"
#include "codec/intpack.h"
#include "codec/unit.h"

#include <assert.h>
#include <string.h>

enum mode { MODE_PLAIN, MODE_DELTA, MODE_DELTA2, MODES };

#define UNIT_MASK    0x3f
#define MODE_SHIFT   6
#define WIDTH_MASK   0x3f
#define HAS_PATCHES  0x40
#define HAS_EXTRAS   0x80
#define HAS_FACTOR   0x01
#define EXTRAS_KNOWN (HAS_FACTOR | FIXES_HEAD_MASK)

#define HEADER_MAX (3 + 5 * VARINT_MAX)

_Static_assert(UNITS_MAX - 1 == UNIT_MASK && INTPACK_WIDTH_MAX <= WIDTH_MASK, "both have 6 bits");
_Static_assert((HAS_FACTOR & FIXES_HEAD_MASK) == 0, "the extras share a byte");

/* How a block's integers will be stored. */
struct plan {
    int64_t y[UNIT_VALUES];
    int64_t stream[UNIT_VALUES]; /* of y: m - mode integers */
    enum mode mode;
    uint64_t factor, origin;
    int64_t first, first_delta;
    struct packing packing;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static uint64_t any_different(const int64_t *k, uint32_t m)
{
    uint64_t any = 0;
    for (uint32_t i = 1; i < m; i++)
        any |= (uint64_t)k[i] ^ (uint64_t)k[0];
    return any;
}

/* Of all distances between the k: only powers of two for bit patterns, which floats stored as doubles have.
 */
static uint64_t common_factor(const struct measured *x, uint32_t m)
{
    uint64_t any = any_different(x->k, m), g = 0;
    if (!any)
        return 1;
    uint64_t two = any & -any;
    if (x->unit == UNIT_BITS)
        return two;
    for (uint32_t i = 1; i < m && g != two; i++) {
        int64_t d = (int64_t)((uint64_t)x->k[i] - (uint64_t)x->k[i - 1]);
        uint64_t size = d < 0 ? 0 - (uint64_t)d : (uint64_t)d;
        if (size)
            g = gcd(size, g);
    }
    return g ? g : 1;
}

#define FACTOR_MAX (1ll << 62) /* of the factor and the k: no difference of two overflows */

/* Divides the k by what they have in common, if that saves more than it costs. */
static void take_factor(struct plan *p, const struct measured *x, uint32_t m)
{
    int64_t *y = p->y;
    uint64_t f = common_factor(x, m);
    p->factor = 1;
    p->origin = 0;
    memcpy(y, x->k, m * sizeof *y);
    if (f < 2 || f > FACTOR_MAX || (size_t)m * (bits_length(f) - 1) < 8 * 4)
        return;
    for (uint32_t i = 0; i < m; i++)
        if (y[i] > FACTOR_MAX || y[i] < -FACTOR_MAX)
            return;
    int64_t r = y[0] % (int64_t)f;
    p->factor = f;
    p->origin = (uint64_t)(r < 0 ? r + (int64_t)f : r);
    for (uint32_t i = 0; i < m; i++)
        y[i] = (y[i] - (int64_t)p->origin) / (int64_t)f;
}

#define FIRST_BYTES 2  /* what storing a first value or difference takes, about */
#define LOOKS       64 /* at most this many values tell the mode */

/* Length of the zigzag distance plus one, without a branch for zero. */
static inline unsigned cost(uint64_t v, uint64_t centre)
{
    return 64 - (unsigned)__builtin_clzll(zigzag((int64_t)(v - centre)) << 1 | 1);
}

/* Bits all values would need in each mode, from a look at some. */
static void mode_costs(const int64_t *y, uint32_t m, uint64_t costs[MODES], int64_t centre[MODES])
{
    int64_t step[27];
    uint32_t picks = m - 1 < 27 ? m - 1 : 27, stride = 1 + m / LOOKS, looks = 0;
    for (uint32_t i = 0; i < picks; i++) {
        uint32_t at = i * (m - 1) / picks;
        step[i] = (int64_t)((uint64_t)y[at + 1] - (uint64_t)y[at]);
    }
    centre[MODE_PLAIN] = intpack_centre(y, m);
    centre[MODE_DELTA] = intpack_centre(step, picks);
    centre[MODE_DELTA2] = 0;
    uint64_t plain = 0, delta = 0, delta2 = 0;
    for (uint32_t i = 2; i < m; i += stride, looks++) {
        uint64_t a = (uint64_t)y[i], b = (uint64_t)y[i - 1], c = (uint64_t)y[i - 2];
        plain += cost(a, (uint64_t)centre[MODE_PLAIN]);
        delta += cost(a - b, (uint64_t)centre[MODE_DELTA]);
        delta2 += cost(a - b - b + c, 0);
    }
    unsigned first = cost((uint64_t)y[0], 0);
    costs[MODE_PLAIN] = plain * m / looks;
    costs[MODE_DELTA] = delta * m / looks + first;
    costs[MODE_DELTA2] = delta2 * m / looks + first + cost((uint64_t)step[0], 0);
}

static void make_stream(const int64_t *y, uint32_t m, enum mode mode, int64_t *stream)
{
    if (mode == MODE_PLAIN)
        memcpy(stream, y, m * sizeof *y);
    for (uint32_t i = 0; mode == MODE_DELTA && i + 1 < m; i++)
        stream[i] = (int64_t)((uint64_t)y[i + 1] - (uint64_t)y[i]);
    for (uint32_t i = 0; mode == MODE_DELTA2 && i + 2 < m; i++)
        stream[i] = (int64_t)((uint64_t)y[i + 2] - 2 * (uint64_t)y[i + 1] + (uint64_t)y[i]);
}

/* The look tells apart what differs much; modes within a bit a value of each other are tried in full. */
static void choose_mode(struct plan *p, uint32_t m)
{
    uint64_t costs[MODES] = {0}, least = UINT64_MAX;
    int64_t centre[MODES] = {p->y[0]};
    enum mode in_stream = MODE_PLAIN;
    if (!any_different(p->y, m)) {
        p->packing = (struct packing){.base = (uint64_t)p->y[0]};
        make_stream(p->y, m, p->mode = MODE_PLAIN, p->stream);
        return;
    }
    if (m > MODES)
        mode_costs(p->y, m, costs, centre);
    for (unsigned mode = MODE_PLAIN; mode < MODES && (mode == 0 || m > MODES); mode++)
        least = costs[mode] < least ? costs[mode] : least;
    p->packing.size = SIZE_MAX;
    for (unsigned mode = MODE_PLAIN; mode < MODES && (mode == 0 || m > MODES); mode++) {
        struct packing packing;
        if (costs[mode] > least + m)
            continue;
        make_stream(p->y, m, in_stream = mode, p->stream);
        packing_choose(p->stream, m - mode, centre[mode], (unsigned)(costs[mode] / m), &packing);
        if (packing.size == SIZE_MAX || packing.size + mode * FIRST_BYTES >= p->packing.size)
            continue;
        p->mode = mode;
        p->packing = packing;
        p->packing.size += mode * FIRST_BYTES;
    }
    if (p->packing.size != SIZE_MAX && p->mode != in_stream)
        make_stream(p->y, m, p->mode, p->stream);
    p->first = p->y[0];
    p->first_delta = (int64_t)((uint64_t)p->y[m > 1] - (uint64_t)p->y[0]);
}

static void put_header(const struct plan *p, const struct measured *x, uint32_t m, struct buf *out)
{
    uint8_t *start = buf_reserve(out, HEADER_MAX), *to = start;
    unsigned extras = (p->factor > 1 ? HAS_FACTOR : 0) | fixes_head(&x->fixes, m);
    *to++ = (uint8_t)(x->unit | (unsigned)p->mode << MODE_SHIFT);
    *to++ = (uint8_t)(p->packing.width | (p->packing.patches ? HAS_PATCHES : 0) | (extras ? HAS_EXTRAS : 0));
    if (extras)
        *to++ = (uint8_t)extras;
    if (p->factor > 1) {
        to += put_varint(to, p->factor);
        to += put_varint(to, p->origin);
    }
    if (p->mode >= MODE_DELTA)
        to += put_varint(to, zigzag(p->first));
    if (p->mode >= MODE_DELTA2)
        to += put_varint(to, zigzag(p->first_delta));
    to += put_varint(to, zigzag((int64_t)p->packing.base));
    out->len += (size_t)(to - start);
}

static bool put_measured(const struct measured *x, const double *value, uint32_t m, struct buf *out)
{
    struct plan p;
    size_t start = out->len;
    take_factor(&p, x, m);
    choose_mode(&p, m);
    if (p.packing.size == SIZE_MAX)
        return false;
    put_header(&p, x, m, out);
    packing_put_patches(&p.packing, p.stream, m - p.mode, out);
    fixes_put(&x->fixes, value, m, out);
    packing_put_offsets(&p.packing, p.stream, m - p.mode, out);
    if (out->len - start <= (size_t)m * 8)
        return true;
    out->len = start;
    return false;
}

#define GUESSES 3

/* The sample may have been in a unit by chance: where many values are not, asks for another. */
static void measure_in_best_unit(const double *value, uint32_t m, struct measured *x)
{
    unsigned next = 0, best = UNIT_BITS;
    uint32_t least = m / 2 + 1;
    for (int guess = 0; guess < GUESSES; guess++) {
        unsigned unit = unit_guess(value, m, &next);
        if (unit == UNIT_BITS)
            break;
        unit_measure(unit, value, m, x);
        if (x->fixes.exceptions <= m / 8)
            return;
        if (x->fixes.exceptions < least) {
            least = x->fixes.exceptions;
            best = unit;
        }
    }
    unit_measure(best, value, m, x);
}

static bool scaled_encode(const double *value, uint32_t m, struct buf *out)
{
    struct measured x;
    if (m == 0 || m > UNIT_VALUES)
        return false;
    measure_in_best_unit(value, m, &x);
    if (put_measured(&x, value, m, out))
        return true;
    if (x.unit == UNIT_BITS)
        return false;
    unit_measure(UNIT_BITS, value, m, &x);
    return put_measured(&x, value, m, out);
}

bool codec_scaled_is_poor(const uint8_t *body)
{
    return (body[0] & UNIT_MASK) == UNIT_BITS || (body[1] & HAS_EXTRAS && body[2] & FIXES_EXCEPTIONS);
}

struct header {
    unsigned unit, mode, width, fixes;
    bool patches;
    uint64_t factor, origin, first, first_delta, base;
};

static int get_zigzag(struct span *s, uint64_t *v)
{
    if (get_varint(&s->p, s->end, v) < 0)
        return -1;
    *v = (uint64_t)unzigzag(*v);
    return 0;
}

static int get_header(struct span *s, uint32_t m, struct header *h)
{
    if (s->end - s->p < 2)
        return -1;
    uint8_t a = *s->p++, b = *s->p++, extras = 0;
    if (b & HAS_EXTRAS) {
        if (s->p == s->end || *s->p == 0 || *s->p & ~EXTRAS_KNOWN)
            return -1;
        extras = *s->p++;
    }
    *h = (struct header){.unit = a & UNIT_MASK,
                         .mode = a >> MODE_SHIFT,
                         .width = b & WIDTH_MASK,
                         .patches = b & HAS_PATCHES,
                         .fixes = extras,
                         .factor = 1};
    if (!unit_known(h->unit) || h->mode >= MODES || h->mode >= m || h->width > INTPACK_WIDTH_MAX)
        return -1;
    if (extras & HAS_FACTOR &&
        (get_varint(&s->p, s->end, &h->factor) < 0 || get_varint(&s->p, s->end, &h->origin) < 0 ||
         h->factor < 2 || h->origin >= h->factor))
        return -1;
    if (h->mode >= MODE_DELTA && get_zigzag(s, &h->first) < 0)
        return -1;
    if (h->mode >= MODE_DELTA2 && get_zigzag(s, &h->first_delta) < 0)
        return -1;
    return get_zigzag(s, &h->base);
}

/* Turns offsets, which start at k + mode, into k, in place. */
static void integrate(const struct header *h, uint32_t m, uint64_t *k)
{
    uint64_t y = h->first, d = h->first_delta, base = h->base;
    switch (h->mode) {
    case MODE_PLAIN:
        for (uint32_t i = 0; i < m; i++)
            k[i] += base;
        break;
    case MODE_DELTA:
        k[0] = y;
        for (uint32_t i = 1; i < m; i++)
            k[i] = y += k[i] + base;
        break;
    default:
        k[0] = y;
        k[1] = y += d;
        for (uint32_t i = 2; i < m; i++) {
            d += k[i] + base;
            k[i] = y += d;
        }
    }
    if (h->factor != 1)
        for (uint32_t i = 0; i < m; i++)
            k[i] = h->origin + h->factor * k[i];
}

static int scaled_decode(const uint8_t *body, size_t size, uint32_t m, double *value)
{
    struct span s = {body, body + size};
    struct header h;
    struct fixes_read f;
    struct patches patches;
    uint64_t k[UNIT_VALUES];
    patches.n = 0;
    if (m == 0 || m > UNIT_VALUES || get_header(&s, m, &h) < 0)
        return -1;
    if (h.patches && patches_get(&s, h.width, m - h.mode, &patches) < 0)
        return -1;
    if (fixes_get(&s, m, h.fixes, &f) < 0)
        return -1;
    if (intpack_get_offsets(&s, h.width, m - h.mode, &patches, k + h.mode) < 0 || s.p != s.end)
        return -1;
    integrate(&h, m, k);
    unit_restore(h.unit, k, m, value);
    fixes_apply(&f, value);
    return 0;
}

const struct codec_ops codec_scaled = {.name = "scaled", .encode = scaled_encode, .decode = scaled_decode};
