#include "codec/codec.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec_impl.h"
#include "codec/intpack.h"
#include "codec/presence.h"
#include "model/slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A block's first byte: format id in the low bits, presence kind above. */
#define ID_BITS 5
_Static_assert(CODEC_FORMATS_MAX == 1 << ID_BITS, "the id is stored in ID_BITS bits");
_Static_assert(PRESENCE_BITMAP < 1 << (8 - ID_BITS), "the presence kind is stored in the other bits");

static const struct codec_ops *const formats[CODEC_FORMATS_MAX] = {
    [CODEC_RAW] = &codec_raw,
    [CODEC_XOR] = &codec_xor,
    [CODEC_CONSTANT] = &codec_constant,
    [CODEC_SCALED] = &codec_scaled,
    [CODEC_DICTIONARY] = &codec_dictionary,
    [CODEC_FRACTION] = &codec_fraction,
    [CODEC_CHUNKS] = &codec_chunks,
    [CODEC_ZSTD] = &codec_zstd,
};

/* Longer blocks are cut into chunks. */
#define SHORT_VALUES 512
_Static_assert(SHORT_VALUES == INTPACK_MAX, "short blocks can be of any format");

/* m values, on the stack when they are a window's. */
struct values {
    double small[SHORT_VALUES];
    double *value;
};
_Static_assert(WINDOW_SLOTS_MAX <= SHORT_VALUES, "a window's values need no allocation");

static double *values_init(struct values *v, uint32_t m)
{
    v->value = m <= ARRAY_LEN(v->small) ? v->small : xmalloc((size_t)m * sizeof *v->value);
    return v->value;
}

static void values_release(struct values *v)
{
    if (v->value != v->small)
        free(v->value);
}

/* Both walk the present slots in order. */
static void gather(const struct codec_in *in, double *to)
{
    for (uint32_t w = 0; w < SLOTS_WORDS(in->n); w++)
        for (uint64_t bits = in->present[w]; bits; bits &= bits - 1)
            *to++ = in->value[w * 64 + (uint32_t)__builtin_ctzll(bits)];
}

static void scatter(const uint64_t *present, uint32_t n, const double *from, double *value)
{
    for (uint32_t w = 0; w < SLOTS_WORDS(n); w++)
        for (uint64_t bits = present[w]; bits; bits &= bits - 1)
            value[w * 64 + (uint32_t)__builtin_ctzll(bits)] = *from++;
}

/* decode(encode(x)) == x, bit for bit? It guards stored data against a fault in a format. */
static bool body_is_right(const struct codec_ops *f, const uint8_t *body, size_t size, const double *value,
                          uint32_t m)
{
    struct values back;
    double *got = values_init(&back, m);
    bool right = f->decode(body, size, m, got) == 0 && (!m || !memcmp(got, value, (size_t)m * sizeof *got));
    values_release(&back);
    return right;
}

static bool encode_checked(enum codec_format id, const double *value, uint32_t m, struct buf *out)
{
    size_t start = out->len;
    if (!formats[id]->encode(value, m, out))
        return false;
    if (id == CODEC_RAW || body_is_right(formats[id], out->data + start, out->len - start, value, m))
        return true;
    out->len = start;
    return false;
}

/* Encodes in one more format after the `best` body, which begins at `start`, and keeps the smaller of the
 * two. */
static enum codec_format try_format(enum codec_format id, enum codec_format best, size_t start,
                                    const double *value, uint32_t m, struct buf *out)
{
    size_t end = out->len;
    if (!formats[id]->encode(value, m, out))
        return best;
    size_t size = out->len - end;
    out->len = end;
    if ((best != CODEC_INVALID && size >= end - start) ||
        !body_is_right(formats[id], out->data + end, size, value, m))
        return best;
    if (size)
        memmove(out->data + start, out->data + end, size);
    out->len = start + size;
    return id;
}

/* Of m values, how many bits a value above which another format is worth its trial. */
static bool larger_than(size_t size, uint32_t m, unsigned bits)
{
    return size * 8 > (size_t)m * bits;
}
#define CONSTANT_BYTES_GOOD 4 /* no scaled block is smaller */
#define TRY_DICTIONARY_BITS 12
#define TRY_FRACTION_BITS   40
#define TRY_XOR_BITS        40

enum codec_format codec_plain_encode(const double *value, uint32_t m, struct buf *out)
{
    if (m == 0)
        return CODEC_RAW;
    buf_reserve(out, 8); /* a body of no bytes has an address too */
    size_t start = out->len;
    enum codec_format best = try_format(CODEC_CONSTANT, CODEC_INVALID, start, value, m, out);
    if (best == CODEC_CONSTANT && out->len - start <= CONSTANT_BYTES_GOOD)
        return best;
    best = try_format(CODEC_SCALED, best, start, value, m, out);
    if (best == CODEC_INVALID || larger_than(out->len - start, m, TRY_FRACTION_BITS))
        best = try_format(CODEC_FRACTION, best, start, value, m, out);
    if (best == CODEC_INVALID || larger_than(out->len - start, m, TRY_XOR_BITS))
        best = try_format(CODEC_XOR, best, start, value, m, out);
    if (best == CODEC_INVALID || out->len - start > (size_t)m * 8)
        best = try_format(CODEC_RAW, CODEC_INVALID, start, value, m, out);
    return best;
}

int codec_plain_decode(unsigned format, const uint8_t *body, size_t size, uint32_t m, double *value)
{
    switch (format) {
    case CODEC_RAW:
    case CODEC_XOR:
    case CODEC_CONSTANT:
    case CODEC_SCALED:
    case CODEC_FRACTION:
        return formats[format]->decode(body, size, m, value);
    default:
        return -1;
    }
}

enum codec_format codec_short_encode(const double *value, uint32_t m, struct buf *out)
{
    size_t start = out->len;
    enum codec_format best = codec_plain_encode(value, m, out);
    bool poor = best == CODEC_SCALED && codec_scaled_is_poor(out->data + start);
    if (poor || larger_than(out->len - start, m, TRY_DICTIONARY_BITS))
        best = try_format(CODEC_DICTIONARY, best, start, value, m, out);
    return best;
}

int codec_short_decode(unsigned format, const uint8_t *body, size_t size, uint32_t m, double *value)
{
    return format == CODEC_DICTIONARY ? codec_dictionary.decode(body, size, m, value)
                                      : codec_plain_decode(format, body, size, m, value);
}

static enum codec_format encode_best(const double *value, uint32_t m, struct buf *out)
{
    if (m <= SHORT_VALUES)
        return codec_short_encode(value, m, out);
    size_t start = out->len;
    enum codec_format best = try_format(CODEC_CONSTANT, CODEC_INVALID, start, value, m, out);
    if (best == CODEC_INVALID)
        best = try_format(CODEC_CHUNKS, best, start, value, m, out);
    if (best == CODEC_CHUNKS)
        best = try_format(CODEC_ZSTD, best, start, value, m, out);
    return best == CODEC_INVALID ? try_format(CODEC_RAW, best, start, value, m, out) : best;
}

/* `want` or, if CODEC_INVALID, the best; false if `want` cannot hold the block. */
static bool encode_block(enum codec_format want, const struct codec_in *in, struct buf *out)
{
    assert(in->n >= 1 && in->n <= CODEC_SLOTS_MAX);
    size_t start = out->len;
    uint32_t m;
    buf_putc(out, 0);
    enum presence_kind kind = presence_encode(in->present, in->n, out, &m);
    struct values packed = {.value = packed.small};
    const double *value = in->value;
    if (kind != PRESENCE_ALL) {
        value = values_init(&packed, m);
        gather(in, packed.value);
    }
    enum codec_format id = want;
    if (want == CODEC_INVALID)
        id = encode_best(value, m, out);
    else if (!encode_checked(want, value, m, out))
        id = CODEC_INVALID;
    values_release(&packed);
    if (id == CODEC_INVALID) {
        out->len = start;
        return false;
    }
    out->data[start] = (uint8_t)(id | (unsigned)kind << ID_BITS);
    return true;
}

void codec_encode(const struct codec_in *in, struct buf *out)
{
    encode_block(CODEC_INVALID, in, out);
}

int codec_encode_as(enum codec_format format, const struct codec_in *in, struct buf *out, struct err *err)
{
    if (!codec_format_name(format))
        return err_set(err, ERR_UNSUPPORTED, "no block format %d", (int)format);
    if (!encode_block(format, in, out))
        return err_set(err, ERR_UNSUPPORTED, "block format %s cannot hold this block of %u slots",
                       formats[format]->name, in->n);
    return OK;
}

int codec_decode(const uint8_t *data, size_t size, uint32_t n, uint64_t *present, double *value,
                 struct err *err)
{
    assert(n >= 1 && n <= CODEC_SLOTS_MAX);
    if (size == 0)
        return err_set(err, ERR_CORRUPT, "a block of no bytes");
    const uint8_t *p = data + 1, *end = data + size;
    const struct codec_ops *f = formats[data[0] % CODEC_FORMATS_MAX];
    if (!f)
        return err_set(err, ERR_CORRUPT, "unknown block format %u", data[0] % CODEC_FORMATS_MAX);
    uint32_t m;
    if (presence_decode(data[0] >> ID_BITS, &p, end, n, present, &m) < 0)
        return err_set(err, ERR_CORRUPT, "the presence of a block of %u slots is malformed", n);
    int bad;
    if (m == n) {
        bad = f->decode(p, (size_t)(end - p), m, value);
    } else {
        struct values packed;
        double *to = values_init(&packed, m);
        bad = f->decode(p, (size_t)(end - p), m, to);
        if (!bad)
            scatter(present, n, to, value);
        values_release(&packed);
    }
    return bad ? err_set(err, ERR_CORRUPT, "a block of %u slots, format %s, %zu bytes is malformed", n,
                         f->name, size)
               : OK;
}

const struct codec_ops *codec_format_ops(unsigned format)
{
    return format < CODEC_FORMATS_MAX ? formats[format] : NULL;
}

const char *codec_format_name(unsigned format)
{
    const struct codec_ops *f = codec_format_ops(format);
    return f ? f->name : NULL;
}
