#include "codec/intpack.h"

#include "base/bytes.h"
#include "codec/bits.h"

#include <assert.h>
#include <string.h>

_Static_assert(INTPACK_WIDTH_MAX == BITS_GET_MAX, "offsets are read with one load each");
_Static_assert(INTPACK_MAX <= UINT16_MAX, "positions are handed out as uint16_t");

#define LENGTHS 64 /* bit lengths 0..63; 64 counts as 63, both are beyond INTPACK_WIDTH_MAX */
_Static_assert(INTPACK_WIDTH_MAX < LENGTHS - 1, "no width needs the two told apart");

/* How many integers need how many bits: the lengths that occur, the longest first. */
struct lengths {
    unsigned n;
    uint8_t length[LENGTHS];
    uint16_t count[LENGTHS];
};

/* The offsets a histogram was made of, which tell the base for a width. */
enum family { FROM_MIN, FROM_MAX, AROUND_CENTRE };

static uint64_t offset_of(enum family f, int64_t v, int64_t ref)
{
    switch (f) {
    case FROM_MIN:
        return (uint64_t)v - (uint64_t)ref;
    case FROM_MAX:
        return (uint64_t)ref - (uint64_t)v;
    default:
        return zigzag((int64_t)((uint64_t)v - (uint64_t)ref));
    }
}

static uint64_t base_of(enum family f, int64_t ref, unsigned width)
{
    switch (f) {
    case FROM_MIN:
        return (uint64_t)ref;
    case FROM_MAX:
        return (uint64_t)ref - bits_mask(width);
    default:
        return (uint64_t)ref - (width ? 1ull << (width - 1) : 0);
    }
}

static inline unsigned bin_of(uint64_t v)
{
    unsigned length = 63 - (unsigned)__builtin_clzll(v | 1) + (v != 0);
    return length < LENGTHS ? length : LENGTHS - 1;
}

static inline void lengths_fill(struct lengths *l, enum family f, const int64_t *v, uint32_t n, int64_t ref)
{
    /* Two histograms: neighbours often fall in the same bin and would wait for each other's store. */
    uint16_t odd[LENGTHS] = {0}, even[LENGTHS] = {0};
    uint64_t seen = 0;
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) {
        unsigned a = bin_of(offset_of(f, v[i], ref)), b = bin_of(offset_of(f, v[i + 1], ref));
        even[a]++;
        odd[b]++;
        seen |= 1ull << a | 1ull << b;
    }
    if (i < n) {
        unsigned a = bin_of(offset_of(f, v[i], ref));
        even[a]++;
        seen |= 1ull << a;
    }
    l->n = 0;
    for (; seen; l->n++) {
        unsigned k = 63 - (unsigned)__builtin_clzll(seen);
        seen ^= 1ull << k;
        l->length[l->n] = (uint8_t)k;
        l->count[l->n] = (uint16_t)(even[k] + odd[k]);
    }
}

static uint32_t positions_size(uint32_t count, uint32_t n)
{
    return count * 8 >= n ? (n + 7) / 8 : count;
}

/* Tries widths from the widest down; patches cost a position and a varint of what is above the width. */
static void lengths_choose(const struct lengths *l, enum family f, uint32_t n, int64_t ref,
                           struct packing *best)
{
    uint32_t patched = 0;
    for (unsigned i = 0; i < l->n && patched <= n / 2; patched += l->count[i++]) {
        unsigned w = l->length[i];
        if (w > INTPACK_WIDTH_MAX)
            continue;
        size_t size = ((size_t)n * w + 7) / 8;
        if (patched)
            size += 2 + positions_size(patched, n);
        for (unsigned k = 0; k < i; k++)
            size += (size_t)l->count[k] * ((l->length[k] - w + 7) / 7);
        if (size < best->size)
            *best =
                (struct packing){.base = base_of(f, ref, w), .width = w, .patches = patched, .size = size};
    }
}

static void try_family(enum family f, const int64_t *v, uint32_t n, int64_t ref, struct packing *best)
{
    struct lengths l;
    lengths_fill(&l, f, v, n, ref);
    lengths_choose(&l, f, n, ref, best);
}

/* The centre is a guess: moves the base to the lowest value that needs no patch, which may make the width
 * less. */
static void settle(const int64_t *v, uint32_t n, struct packing *p)
{
    uint64_t mask = bits_mask(p->width), low = mask, high = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t u = (uint64_t)v[i] - p->base;
        low = u <= mask && u < low ? u : low;
        high = u <= mask && u > high ? u : high;
    }
    p->base += low;
    p->width = bits_length(high - low);
    mask = bits_mask(p->width);
    p->patches = 0;
    for (uint32_t i = 0; i < n; i++)
        p->patches += (uint64_t)v[i] - p->base > mask;
}

void packing_choose(const int64_t *v, uint32_t n, int64_t centre, unsigned typical, struct packing *p)
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    *p = (struct packing){.size = n ? SIZE_MAX : 0};
    for (uint32_t i = 0; i < n; i++) {
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
    }
    if (n)
        try_family(FROM_MIN, v, n, min, p);
    /* Values far below the others make all offsets from the minimum wide: look from the other sides. */
    if (p->size && p->width >= typical) {
        try_family(AROUND_CENTRE, v, n, centre, p);
        if (p->patches)
            try_family(FROM_MAX, v, n, max, p);
        if (p->patches)
            settle(v, n, p);
    }
}

static inline int64_t median3(int64_t a, int64_t b, int64_t c)
{
    int64_t low = a < b ? a : b, high = a < b ? b : a;
    high = high < c ? high : c;
    return low > high ? low : high;
}

static int64_t median9(const int64_t *v, size_t s)
{
    return median3(median3(v[0], v[s], v[2 * s]), median3(v[3 * s], v[4 * s], v[5 * s]),
                   median3(v[6 * s], v[7 * s], v[8 * s]));
}

int64_t intpack_centre(const int64_t *v, uint32_t n)
{
    /* Medians of three of medians of three: near enough, and no branch to mispredict. */
    if (n < 9)
        return n < 3 ? (n ? v[0] : 0) : median3(v[0], v[n / 2], v[n - 1]);
    uint32_t s = n / 27;
    if (!s)
        return median9(v, n / 9);
    return median3(median9(v, s), median9(v + 9 * s, s), median9(v + 18 * s, s));
}

void positions_put(const uint64_t *set, uint32_t n, struct buf *out)
{
    uint32_t words = (n + 63) / 64, count = 0, next = 0;
    for (uint32_t w = 0; w < words; w++)
        count += (uint32_t)__builtin_popcountll(set[w]);
    uint8_t *start = buf_reserve(out, VARINT_MAX + 2 * (size_t)count + (n + 7) / 8), *p = start;
    p += put_varint(p, count);
    if (count * 8 >= n) {
        memcpy(p, set, (n + 7) / 8); /* bytes.h allows little-endian machines only */
        p += (n + 7) / 8;
    } else {
        for (uint32_t w = 0; w < words; w++)
            for (uint64_t bits = set[w]; bits; bits &= bits - 1) {
                uint32_t at = w * 64 + (uint32_t)__builtin_ctzll(bits);
                p += put_varint(p, at - next);
                next = at + 1;
            }
    }
    out->len += (size_t)(p - start);
}

static int positions_get_bitmap(struct span *s, uint32_t n, uint16_t *at, uint32_t count)
{
    uint64_t set[INTPACK_WORDS] = {0};
    uint32_t found = 0;
    if ((size_t)(s->end - s->p) < (n + 7) / 8)
        return -1;
    memcpy(set, s->p, (n + 7) / 8);
    s->p += (n + 7) / 8;
    if (n % 64 && set[n / 64] >> (n % 64))
        return -1;
    for (uint32_t w = 0; w < INTPACK_WORDS; w++)
        for (uint64_t bits = set[w]; bits && found < n; bits &= bits - 1)
            at[found++] = (uint16_t)(w * 64 + (uint32_t)__builtin_ctzll(bits));
    return found == count ? 0 : -1;
}

int positions_get(struct span *s, uint32_t n, uint16_t *at, uint32_t *count)
{
    uint64_t c, skip;
    assert(n <= INTPACK_MAX);
    if (get_varint(&s->p, s->end, &c) < 0 || c == 0 || c > n)
        return -1;
    *count = (uint32_t)c;
    if (c * 8 >= n)
        return positions_get_bitmap(s, n, at, *count);
    uint32_t next = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (get_varint(&s->p, s->end, &skip) < 0 || skip >= n - next)
            return -1;
        at[i] = (uint16_t)(next + skip);
        next += (uint32_t)skip + 1;
    }
    return 0;
}

static int64_t patch_of(const struct packing *p, int64_t v)
{
    return (int64_t)((uint64_t)v - p->base) >> p->width;
}

void packing_put_patches(const struct packing *p, const int64_t *v, uint32_t n, struct buf *out)
{
    uint64_t set[INTPACK_WORDS] = {0};
    uint32_t patches = 0;
    if (!p->patches)
        return;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t patched = patch_of(p, v[i]) != 0;
        patches += (uint32_t)patched;
        set[i / 64] |= patched << (i % 64);
    }
    assert(patches == p->patches); /* the header says whether there are any */
    positions_put(set, n, out);
    uint8_t *start = buf_reserve(out, (size_t)patches * VARINT_MAX), *to = start;
    for (uint32_t w = 0; w < INTPACK_WORDS; w++)
        for (uint64_t bits = set[w]; bits; bits &= bits - 1)
            to += put_varint(to, zigzag(patch_of(p, v[w * 64 + (uint32_t)__builtin_ctzll(bits)])));
    out->len += (size_t)(to - start);
}

void packing_put_offsets(const struct packing *p, const int64_t *v, uint32_t n, struct buf *out)
{
    if (!p->width)
        return;
    uint64_t mask = bits_mask(p->width);
    uint8_t *start = buf_reserve(out, ((size_t)n * p->width + 7) / 8 + 8);
    struct bits_out b = {.p = start};
    for (uint32_t i = 0; i < n; i++)
        bits_put(&b, ((uint64_t)v[i] - p->base) & mask, p->width);
    out->len += (size_t)(bits_finish(&b) - start);
}

int patches_get(struct span *s, unsigned width, uint32_t n, struct patches *out)
{
    if (positions_get(s, n, out->at, &out->n) < 0)
        return -1;
    for (uint32_t i = 0; i < out->n; i++) {
        uint64_t high;
        if (get_varint(&s->p, s->end, &high) < 0)
            return -1;
        out->add[i] = (uint64_t)unzigzag(high) << width;
    }
    return 0;
}

/* How many of n offsets can be loaded 8 bytes at a time without reading past the end. */
static uint32_t loadable(size_t size, unsigned width, uint32_t n)
{
    if (size < 8)
        return 0;
    size_t safe = ((size - 8) * 8 + 7) / width + 1;
    return safe < n ? (uint32_t)safe : n;
}

int intpack_get_offsets(struct span *s, unsigned width, uint32_t n, const struct patches *patches,
                        uint64_t *v)
{
    size_t bits = (size_t)n * width, size = (bits + 7) / 8;
    if (width > INTPACK_WIDTH_MAX || size > (size_t)(s->end - s->p))
        return -1;
    if (bits % 8 && s->p[size - 1] >> (bits % 8))
        return -1;
    if (!width) {
        memset(v, 0, n * sizeof *v);
    } else {
        uint64_t mask = bits_mask(width);
        const uint8_t *p = s->p;
        uint32_t safe = loadable((size_t)(s->end - p), width, n);
        for (uint32_t i = 0, at = 0; i < safe; i++, at += width)
            v[i] = get_u64le(p + at / 8) >> (at % 8) & mask;
        struct bits_in tail = {.data = p, .size = size, .at = (size_t)safe * width};
        for (uint32_t i = safe; i < n; i++)
            v[i] = bits_get(&tail, width);
    }
    for (uint32_t i = 0; i < patches->n; i++)
        v[patches->at[i]] += patches->add[i];
    s->p += size;
    return 0;
}

void intpack_put(const int64_t *v, uint32_t n, struct buf *out)
{
    struct packing p;
    packing_choose(v, n, intpack_centre(v, n), 0, &p);
    uint8_t *start = buf_reserve(out, 1 + VARINT_MAX), *to = start;
    *to++ = (uint8_t)(p.width | (p.patches ? INTPACK_HAS_PATCHES : 0));
    to += put_varint(to, zigzag((int64_t)p.base));
    out->len += (size_t)(to - start);
    packing_put_patches(&p, v, n, out);
    packing_put_offsets(&p, v, n, out);
}

int intpack_get(struct span *s, uint32_t n, uint64_t *v)
{
    uint64_t base;
    struct patches patches;
    patches.n = 0;
    if (s->p == s->end || *s->p & ~(INTPACK_WIDTH_MASK | INTPACK_HAS_PATCHES))
        return -1;
    unsigned head = *s->p++, width = head & INTPACK_WIDTH_MASK;
    if (width > INTPACK_WIDTH_MAX || get_varint(&s->p, s->end, &base) < 0)
        return -1;
    if (head & INTPACK_HAS_PATCHES && patches_get(s, width, n, &patches) < 0)
        return -1;
    if (intpack_get_offsets(s, width, n, &patches, v) < 0)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        v[i] += (uint64_t)unzigzag(base);
    return 0;
}
