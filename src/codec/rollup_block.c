#include "codec/rollup_block.h"

#include "base/bytes.h"
#include "codec/codec.h"

#define SAME_AS_MAX 8 /* field sizes are stored above this */
_Static_assert(ROLLUP_FIELDS <= SAME_AS_MAX, "a reference is told from a size");
_Static_assert(ROLLUP_BLOCK_TAG % CODEC_FORMATS_MAX == 0 && CODEC_INVALID == 0, "the tag is no block format");

/* The values of the present slots, side by side. */
struct packed {
    uint32_t m;
    double field[ROLLUP_FIELDS][WINDOW_SLOTS_MAX];
};

static void pack(const struct rollup *r, struct packed *p)
{
    p->m = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        if (!slot_get(r->present, i))
            continue;
        for (unsigned f = 0; f < ROLLUP_FIELDS; f++)
            p->field[f][p->m] = r->field[f][i];
        p->m++;
    }
}

static void all_present(uint64_t *present, uint32_t m)
{
    for (uint32_t i = 0; i < m; i++)
        slot_set(present, i);
}

/* An earlier field with the same bits, or -1. */
static int same_field(const struct packed *p, unsigned field)
{
    for (unsigned f = 0; f < field; f++)
        if (memcmp(p->field[f], p->field[field], p->m * sizeof(double)) == 0)
            return (int)f;
    return -1;
}

static void put_field(const struct codec_in *in, struct buf *scratch, struct buf *out)
{
    buf_clear(scratch);
    codec_encode(in, scratch);
    uint8_t *q = buf_reserve(out, VARINT_MAX + scratch->len);
    size_t n = put_varint(q, scratch->len + SAME_AS_MAX);
    memcpy(q + n, scratch->data, scratch->len);
    out->len += n + scratch->len;
}

void rollup_block_encode(const struct rollup *r, struct buf *out)
{
    struct packed p;
    struct buf scratch = BUF_INIT;
    uint64_t all[SLOTS_WORDS(WINDOW_SLOTS_MAX)] = {0};
    pack(r, &p);
    all_present(all, p.m);
    buf_putc(out, ROLLUP_BLOCK_TAG);
    put_field(&(struct codec_in){r->n, r->present, r->field[ROLLUP_COUNT]}, &scratch, out);
    for (unsigned f = ROLLUP_COUNT + 1; f < ROLLUP_FIELDS && p.m; f++) {
        int same = same_field(&p, f);
        if (same >= 0)
            buf_putc(out, (char)same);
        else
            put_field(&(struct codec_in){p.m, all, p.field[f]}, &scratch, out);
    }
    buf_release(&scratch);
}

static void spread(const double *packed, struct rollup *out, unsigned field)
{
    for (uint32_t w = 0; w < SLOTS_WORDS(out->n); w++)
        for (uint64_t bits = out->present[w]; bits; bits &= bits - 1)
            out->field[field][w * 64 + (uint32_t)__builtin_ctzll(bits)] = *packed++;
}

/* Field f of m values; -1 if malformed. */
static int get_field(const uint8_t **p, const uint8_t *end, unsigned f, uint32_t m, struct rollup *out)
{
    uint64_t k, present[SLOTS_WORDS(WINDOW_SLOTS_MAX)];
    double packed[WINDOW_SLOTS_MAX];
    if (get_varint(p, end, &k) < 0)
        return -1;
    if (k < SAME_AS_MAX) {
        if (k >= f)
            return -1;
        memcpy(out->field[f], out->field[k], sizeof out->field[f]);
        return 0;
    }
    k -= SAME_AS_MAX;
    if (k > (uint64_t)(end - *p))
        return -1;
    const uint8_t *data = *p;
    *p += k;
    if (f == ROLLUP_COUNT)
        return codec_decode(data, (size_t)k, out->n, out->present, out->field[f], NULL);
    if (codec_decode(data, (size_t)k, m, present, packed, NULL) < 0 || slots_count(present, m) != m)
        return -1;
    spread(packed, out, f);
    return 0;
}

/* What no roll-up has: a slot of no points. */
static bool counts_are_right(const struct rollup *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (slot_get(r->present, i) && !(r->field[ROLLUP_COUNT][i] >= 1))
            return false;
    return true;
}

int rollup_block_decode(const uint8_t *data, size_t size, uint32_t n, struct rollup *out, struct err *err)
{
    const uint8_t *p = data + 1, *end = data + size;
    if (size == 0 || data[0] != ROLLUP_BLOCK_TAG)
        return err_set(err, ERR_CORRUPT, "a roll-up's block does not begin with its tag");
    rollup_init(out, n);
    memset(out->field, 0, sizeof out->field);
    uint32_t m = 1;
    for (unsigned f = 0; f < ROLLUP_FIELDS && m; f++) {
        if (get_field(&p, end, f, m, out) < 0)
            return err_set(err, ERR_CORRUPT,
                           "field %u of a roll-up's block of %u slots, %zu bytes is malformed", f, n, size);
        if (f == ROLLUP_COUNT)
            m = (uint32_t)slots_count(out->present, n);
    }
    if (p != end || !counts_are_right(out))
        return err_set(err, ERR_CORRUPT, "a roll-up's block of %u slots, %zu bytes %s", n, size,
                       p != end ? "has bytes too many" : "counts no points in a slot");
    return OK;
}
