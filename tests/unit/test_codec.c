#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/codec_impl.h"
#include "model/slots.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "unit/test_codec_data.h"

#define WORDS_MAX SLOTS_WORDS(CODEC_SLOTS_MAX)

static uint64_t seed;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}
static uint32_t below(uint32_t n)
{
    return (uint32_t)((rnd() >> 32) * n >> 32);
}

/* A block under test; one for the whole program, it is large. */
static struct block {
    uint32_t n;
    uint64_t present[WORDS_MAX];
    double value[CODEC_SLOTS_MAX];
} given, got;

/* `data` is copied to memory of its exact size, so that a sanitizer sees an over-read. */
static int decode_exact(const uint8_t *data, size_t size, uint32_t n, struct block *b)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    struct err err = ERR_INIT;
    int rc = codec_decode(copy, size, n, b->present, b->value, &err);
    if (rc < 0)
        assert_true(rc == ERR_CORRUPT && err.code == ERR_CORRUPT && err.text[0]);
    free(copy);
    return rc;
}

static void check_decodes_to(const uint8_t *data, size_t size, const struct block *want)
{
    uint64_t untouched = 0x7ff8dead0000beef;
    memset(got.present, 0xa5, sizeof got.present);
    for (uint32_t i = 0; i <= want->n && i < CODEC_SLOTS_MAX; i++)
        got.value[i] = bits_f64(untouched);
    assert_int_equal(decode_exact(data, size, want->n, &got), OK);
    assert_memory_equal(got.present, want->present, SLOTS_WORDS(want->n) * 8);
    for (uint32_t i = 0; i < want->n; i++)
        if (f64_bits(got.value[i]) != (slot_get(want->present, i) ? f64_bits(want->value[i]) : untouched))
            fail_msg("slot %u of %u: %016llx, not %016llx", i, want->n,
                     (unsigned long long)f64_bits(got.value[i]),
                     (unsigned long long)f64_bits(want->value[i]));
    if (want->n < CODEC_SLOTS_MAX)
        assert_true(f64_bits(got.value[want->n]) == untouched);
}

/* A body that a format writes must come back without the help of codec_encode's self-check. */
static void check_formats_alone(const double *value, uint32_t m)
{
    struct buf out = BUF_INIT;
    static double back[CODEC_SLOTS_MAX];
    for (unsigned f = 1; f < CODEC_FORMATS_MAX; f++) {
        const struct codec_ops *ops = codec_format_ops(f);
        buf_clear(&out);
        buf_reserve(&out, 1);
        if (!ops || !ops->encode(value, m, &out)) {
            assert_int_equal(out.len, 0);
            continue;
        }
        assert_true(out.len <= m * 8);
        if (ops->decode(out.data, out.len, m, back) != 0)
            fail_msg("%s does not read what it wrote of %u values", ops->name, m);
        for (uint32_t i = 0; i < m; i++)
            if (f64_bits(back[i]) != f64_bits(value[i]))
                fail_msg("%s: value %u of %u: %016llx, not %016llx", ops->name, i, m,
                         (unsigned long long)f64_bits(back[i]), (unsigned long long)f64_bits(value[i]));
    }
    buf_release(&out);
}

/* Encodes with every format and the default; returns the default's size. */
static size_t check_block(const struct block *b)
{
    struct codec_in in = {b->n, b->present, b->value};
    struct buf out = BUF_INIT;
    check_formats_alone(b->value, b->n);
    size_t best = 0, raw = 0;
    for (unsigned f = CODEC_INVALID; f < CODEC_FORMATS_MAX; f++) {
        struct err err = ERR_INIT;
        buf_clear(&out);
        buf_puts(&out, "kept");
        if (f == CODEC_INVALID)
            codec_encode(&in, &out);
        else if (!codec_format_name(f) || codec_encode_as(f, &in, &out, &err) < 0) {
            assert_true(f != CODEC_RAW && out.len == 4);
            continue;
        }
        assert_memory_equal(out.data, "kept", 4);
        check_decodes_to(out.data + 4, out.len - 4, b);
        if (f == CODEC_INVALID)
            best = out.len - 4;
        else if (f == CODEC_RAW)
            raw = out.len - 4;
    }
    assert_true(best <= raw);
    buf_release(&out);
    return best;
}

static void all_present(struct block *b, uint32_t n)
{
    b->n = n;
    memset(b->present, 0, sizeof b->present);
    for (uint32_t i = 0; i < n; i++)
        slot_set(b->present, i);
}

static const uint64_t special[] = {
    0,
    0x8000000000000000, /* zeros */
    0x7ff0000000000000,
    0xfff0000000000000, /* infinities */
    0x7ff8000000000000,
    0xfff8000000000000, /* NaN */
    0x7ff8dead0000beef,
    0x7ff0000000000001,
    0xffffffffffffffff,
    0x7ff4000000000000,
    0x0000000000000001,
    0x8000000000000001,
    0x000fffffffffffff,
    0x0010000000000000,
    0x7fefffffffffffff,
    0xffefffffffffffff,
    0x3ff0000000000000,
    0xbff0000000000000,
    0x3fb999999999999a,
    0x4340000000000000,
    0x433fffffffffffff,
    0xc340000000000000,
    0x43e0000000000000,
    0xc3e0000000000000,
    0x43dfffffffffffff,
    0x43f0000000000000,
};

enum shape {
    SHAPE_CONSTANT,
    SHAPE_LINE,
    SHAPE_COUNTER,
    SHAPE_DECIMAL,
    SHAPE_SIXTIETH,
    SHAPE_PAGES,
    SHAPE_FEW,
    SHAPE_FLOAT,
    SHAPE_DOUBLE,
    SHAPE_EXTREMES,
    SHAPE_ANY_BITS,
    SHAPES
};

static double shape_value(enum shape s, uint32_t i, double param, double before)
{
    switch (s) {
    case SHAPE_CONSTANT:
        return param;
    case SHAPE_LINE:
        return param + 60.0 * i;
    case SHAPE_COUNTER:
        return floor(before) + below(1000);
    case SHAPE_DECIMAL:
        return (below(10000)) / 100.0;
    case SHAPE_SIXTIETH:
        return (1000 + below(5000)) / 60.0;
    case SHAPE_PAGES:
        return 4096.0 * (100000 + below(500));
    case SHAPE_FEW:
        return 1.0 / (3 + below(5));
    case SHAPE_FLOAT:
        return (float)(below(100000) / 7.0f);
    case SHAPE_DOUBLE:
        return (double)(rnd() >> 11) * 0x1p-53 * param;
    case SHAPE_EXTREMES:
        return i % 2 ? 1.7976931348623157e308 : -1.7976931348623157e308;
    default:
        return bits_f64(rnd());
    }
}

static double pick_param(void)
{
    static const double params[] = {0,    1,    -1,          0.1,     44.83,
                                    1e-9, 1e15, 25276502016, 1.0 / 3, 9007199254740993.0};
    return params[below(ARRAY_LEN(params))];
}

static void fill_shape(struct block *b, uint32_t n, enum shape s)
{
    all_present(b, n);
    double param = pick_param(), before = param;
    for (uint32_t i = 0; i < n; i++)
        before = b->value[i] = shape_value(s, i, param, before);
}

/* What the real world does to a well-shaped block: other bits nearby, specials, missing points. */
static void disturb(struct block *b)
{
    uint32_t kind = below(6), times = 1 + below(1 + b->n / 4);
    for (uint32_t t = 0; kind && t < times; t++) {
        uint32_t i = below(b->n);
        switch (kind) {
        case 1:
            b->value[i] = bits_f64(special[below(ARRAY_LEN(special))]);
            break;
        case 2:
            b->value[i] = bits_f64(f64_bits(b->value[i]) + below(9) - 4);
            break;
        case 3:
            b->present[i / 64] &= ~(1ull << i % 64);
            break;
        case 4:
            b->value[i] = -b->value[i];
            break;
        default:
            b->value[i] = bits_f64(rnd());
        }
    }
}

static void reverse(struct block *b)
{
    static struct block r;
    memset(r.present, 0, sizeof r.present);
    r.n = b->n;
    for (uint32_t i = 0; i < b->n; i++) {
        r.value[b->n - 1 - i] = b->value[i];
        if (slot_get(b->present, i))
            slot_set(r.present, b->n - 1 - i);
    }
    *b = r;
}

static void random_blocks_come_back(void **state)
{
    for (int round = 0; round < 3000; round++) {
        uint32_t n = round < 366 ? (uint32_t)round + 1 : 1 + below(366);
        fill_shape(&given, n, below(SHAPES));
        for (uint32_t times = below(3); times; times--)
            disturb(&given);
        check_block(&given);
        if (round % 4 == 0) {
            reverse(&given);
            check_block(&given);
        }
    }
}

static void long_blocks_come_back(void **state)
{
    static const uint32_t sizes[] = {511, 512, 513, 1000, 1440, 4095, 8191, 16383, 16384};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
        for (int s = 0; s < SHAPES; s++) {
            fill_shape(&given, sizes[k], (enum shape)s);
            disturb(&given);
            check_block(&given);
        }
}

static void special_values_come_back(void **state)
{
    for (size_t a = 0; a < ARRAY_LEN(special); a++)
        for (size_t b = 0; b < ARRAY_LEN(special); b++) {
            all_present(&given, 20);
            for (uint32_t i = 0; i < 20; i++)
                given.value[i] = bits_f64(special[i % 3 ? a : b]);
            check_block(&given);
            for (uint32_t i = 0; i < 20; i++)
                given.value[i] = i % 7 ? 12.5 + i : bits_f64(special[i % 2 ? a : b]);
            check_block(&given);
        }
}

static void presence_of_every_kind_comes_back(void **state)
{
    static const uint32_t sizes[] = {1, 2, 16, 63, 64, 65, 240, 366, 16384};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
        for (uint32_t kind = 0; kind < 8; kind++) {
            uint32_t n = sizes[k], from = below(n), to = from + below(n - from), every = 2 + below(70);
            fill_shape(&given, n, SHAPE_DECIMAL);
            memset(given.present, 0, sizeof given.present);
            for (uint32_t i = 0; i < n; i++)
                if (kind == 0 || (kind == 2 && i == from) || (kind == 3 && i >= from && i <= to) ||
                    (kind == 4 && (i < from || i > to)) || (kind == 5 && i % every) ||
                    (kind == 6 && i % every == 0) || (kind == 7 && below(2)))
                    slot_set(given.present, i);
            check_block(&given);
        }
}

/* The format chosen for a block of one shape, and how many bytes it may take. */
static void check_choice(enum codec_format want, size_t bytes_max)
{
    struct buf out = BUF_INIT;
    codec_encode(&(struct codec_in){given.n, given.present, given.value}, &out);
    if (out.data[0] % CODEC_FORMATS_MAX != (unsigned)want || out.len > bytes_max)
        fail_msg("%s in %zu bytes, not %s in %zu", codec_format_name(out.data[0] % CODEC_FORMATS_MAX),
                 out.len, codec_format_name(want), bytes_max);
    check_decodes_to(out.data, out.len, &given);
    buf_release(&out);
}

#define BITS(n, bits) (((n) * (size_t)(bits) + 7) / 8)

static void check_choices_of_size(uint32_t n)
{
    all_present(&given, n);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 0;
    check_choice(CODEC_CONSTANT, 1);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 25276502016;
    check_choice(CODEC_CONSTANT, 6);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 44.83;
    check_choice(CODEC_SCALED, 5);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 1763800000 + 60.0 * i;
    check_choice(CODEC_SCALED, 11);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 5e9 + 1000.0 * i + below(32);
    check_choice(CODEC_SCALED, BITS(n, 7) + 11);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = below(4096) / 100.0;
    check_choice(CODEC_SCALED, BITS(n, 12) + 8);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = (12000 + below(4096)) / 60.0;
    check_choice(CODEC_SCALED, BITS(n, 12) + 8);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = bits_f64(f64_bits((44000 + below(1024)) / 1000.0) + below(3) - 1);
    check_choice(CODEC_SCALED, BITS(n, 10 + 1 + 1) + 8);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 4096.0 * (100000 + below(512));
    check_choice(CODEC_SCALED, BITS(n, 9) + 10);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = (float)(1e-20 * (1 + below(1 << 23) * 0x1p-23));
    check_choice(CODEC_SCALED, BITS(n, 23) + 20);
    for (uint32_t i = 0; i < n; i++)
        given.value[i] = 100.0 * (1 + below(4095)) / (5990 + below(16));
    check_choice(CODEC_FRACTION, BITS(n, 20) + 8);
}

static void each_shape_gets_its_format(void **state)
{
    static const uint32_t sizes[] = {16, 60, 240};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
        check_choices_of_size(sizes[k]);
    all_present(&given, 240);
    for (uint32_t i = 0; i < 240; i++)
        given.value[i] = sqrt(2 + below(5));
    given.value[7] = 0.7853981633974483;
    check_choice(CODEC_DICTIONARY, BITS(240, 3) + 6 * 9 + 10);
    for (uint32_t i = 0; i < 240; i++)
        given.value[i] = (1 + (double)(rnd() >> 11) * 0x1p-53);
    check_choice(CODEC_SCALED, BITS(240, 53) + 20);
    for (uint32_t i = 0; i < 240; i++)
        given.value[i] = bits_f64(rnd());
    check_choice(CODEC_RAW, 240 * 8 + 1);
    given.n = 240;
    memset(given.present, 0, sizeof given.present);
    check_choice(CODEC_RAW, 1);
    all_present(&given, 1440);
    for (uint32_t i = 0; i < 1440; i++)
        given.value[i] = below(4096) / 100.0;
    check_choice(CODEC_CHUNKS, BITS(1440, 12) + 6 * 12);
    for (uint32_t i = 256; i < 1440; i++)
        given.value[i] = given.value[i - 256];
    check_choice(CODEC_ZSTD, BITS(256 + 1440 % 256, 12) + 60);
}

/* A few points that do not fit must not spoil the block. */
static void odd_points_cost_little(void **state)
{
    all_present(&given, 240);
    for (uint32_t i = 0; i < 240; i++)
        given.value[i] = below(4096) / 100.0;
    given.value[0] = NAN;
    given.value[100] = -INFINITY;
    given.value[239] = 1.0 / 3;
    check_choice(CODEC_SCALED, BITS(240, 12) + 6 + 2 + 3 * 10);
    given.value[50] = 1e9;
    given.value[60] = -1e9;
    check_choice(CODEC_SCALED, BITS(240, 13) + 6 + 2 + 3 * 10 + 2 + 2 * 7);
    for (uint32_t i = 0; i < 240; i++)
        given.value[i] = (i < 120 ? 7e8 : 0) + 1000.0 * i + below(16);
    check_choice(CODEC_SCALED, BITS(240, 6) + 11 + 8);
}

static size_t check_recording(const struct recording *r, uint32_t slots, bool every_format)
{
    struct buf out = BUF_INIT;
    size_t bytes = 0;
    for (size_t s = 0; s < r->n; s++)
        for (size_t at = 0; at < r->series[s].n; at += given.n) {
            size_t left = r->series[s].n - at;
            all_present(&given, left < slots ? (uint32_t)left : slots);
            memcpy(given.value, r->series[s].value + at, given.n * sizeof *given.value);
            buf_clear(&out);
            codec_encode(&(struct codec_in){given.n, given.present, given.value}, &out);
            check_decodes_to(out.data, out.len, &given);
            bytes += out.len;
            if (every_format) {
                reverse(&given);
                check_block(&given);
            }
        }
    buf_release(&out);
    return bytes;
}

static void recorded_series_come_back_small(void **state)
{
    static const struct {
        const char *file;
        size_t bytes_max; /* in blocks of 240; today's size and some */
    } files[] = {{"host.txt.gz", 31500}, {"nab.txt", 230000}};
    for (size_t f = 0; f < ARRAY_LEN(files); f++) {
        struct recording *r = recording_load(files[f].file);
        if (!r) {
            print_message("# no %s: set CARAT_TEST_DATA to the directory that has it\n", files[f].file);
            continue;
        }
        assert_true(r->n > 10);
        size_t bytes = check_recording(r, 240, true);
        print_message("# %s: %zu bytes\n", files[f].file, bytes);
        assert_true(bytes <= files[f].bytes_max);
        check_recording(r, 16, false);
        check_recording(r, 60, false);
        recording_free(r);
    }
}

/* An inner slot missing, so that every part of a block is there. */
static void truncated_blocks_are_refused(void **state)
{
    for (int round = 0; round < 200; round++) {
        struct buf out = BUF_INIT;
        fill_shape(&given, 16 + below(100), below(SHAPES));
        disturb(&given);
        given.present[0] &= ~2ull;
        for (unsigned f = 1; f < CODEC_FORMATS_MAX; f++) {
            struct err err = ERR_INIT;
            buf_clear(&out);
            if (!codec_format_name(f) ||
                codec_encode_as(f, &(struct codec_in){given.n, given.present, given.value}, &out, &err) < 0)
                continue;
            for (size_t size = 0; size < out.len; size++)
                /* Only a constant is one with fewer bytes too: another. */
                assert_true(decode_exact(out.data, size, given.n, &got) == ERR_CORRUPT ||
                            f == CODEC_CONSTANT);
            buf_putc(&out, 0);
            assert_int_equal(decode_exact(out.data, out.len, given.n, &got), ERR_CORRUPT);
        }
        buf_release(&out);
    }
}

static void malformed_blocks_are_refused(void **state)
{
    static const struct {
        const char *what;
        uint32_t n;
        uint8_t size, block[24];
    } bad[] = {
        {"raw: too few", 2, 9, {1}},
        {"presence: unknown kind", 1, 9, {1 | 5 << 5}},
        {"presence: a run past the end", 8, 3, {3 | 2 << 5, 4, 4}},
        {"presence: runs that touch", 8, 6, {3 | 3 << 5, 0, 1, 0, 0, 0}},
        {"presence: more runs than slots", 8, 6, {3 | 3 << 5, 0xff, 0xff, 0xff, 0x7f, 0}},
        {"presence: bits past n", 4, 2, {3 | 4 << 5, 0x11}},
        {"constant: none of no values", 4, 1, {3 | 1 << 5}},
        {"constant: a zero byte at the end", 4, 3, {3, 0x3f, 0}},
        {"constant: nine bytes", 4, 10, {3, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
        {"xor: longer than a double", 2, 18, {2, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 0x07}},
        {"scaled: mode 3", 4, 4, {4, 3 << 6, 0, 0}},
        {"scaled: second differences of one", 1, 6, {4, 2 << 6, 0, 0, 0, 0}},
        {"scaled: width 57", 1, 12, {4, 0, 57, 0}},
        {"scaled: extras of none", 4, 5, {4, 0, 0x80, 0, 0}},
        {"scaled: unknown extras", 4, 5, {4, 0, 0x80, 0x10, 0}},
        {"scaled: factor 1", 4, 7, {4, 0, 0x80, 1, 1, 0, 0}},
        {"scaled: origin not below the factor", 4, 7, {4, 0, 0x80, 1, 5, 5, 0}},
        {"scaled: bits after the offsets", 1, 5, {4, 0, 1, 0, 2}},
        {"scaled: patches of none", 4, 5, {4, 0, 0x40, 0, 0}},
        {"scaled: more patches than values", 4, 11, {4, 0, 0x40, 0, 5, 0x1f, 2, 2, 2, 2, 2}},
        {"scaled: fewer bits than patches", 4, 8, {4, 0, 0x40, 0, 2, 0x01, 2, 2}},
        {"scaled: a patch past the end", 16, 7, {4, 0, 0x40, 0, 1, 16, 2}},
        {"scaled: an exception cut", 16, 14, {4, 0, 0x80, 8, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7}},
        {"dictionary: a code past the list", 2, 7, {5, 0, 3, 0, 1, 0, 2}},
        {"dictionary: in a dictionary", 1, 11, {5, 0, 5, 5, 0, 3, 0, 0, 0, 0, 0}},
        {"fraction: unknown bits", 1, 6, {6, 0x10, 0, 2, 0, 2}},
        {"chunks: of 8", 8, 4, {7, 3, 3, 0}},
        {"chunks: of 1024", 8, 4, {7, 10, 3, 0}},
        {"chunks: in chunks", 8, 7, {7, 4, 7, 3, 4, 3, 0}},
        {"chunks: size past the end", 8, 4, {7, 4, 3, 1}},
        {"zstd: no frame", 8, 4, {8, 4, 3, 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (decode_exact(bad[i].block, bad[i].size, bad[i].n, &got) != ERR_CORRUPT)
            fail_msg("accepted: %s", bad[i].what);
    assert_int_equal(decode_exact(bad[0].block, 0, 1, &got), ERR_CORRUPT);
}

static void unknown_formats_are_refused(void **state)
{
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    fill_shape(&given, 16, SHAPE_DECIMAL);
    for (unsigned f = 0; f < CODEC_FORMATS_MAX; f++) {
        uint8_t block[9] = {(uint8_t)f};
        if (codec_format_name(f))
            continue;
        assert_int_equal(decode_exact(block, sizeof block, 1, &got), ERR_CORRUPT);
        assert_int_equal(codec_encode_as(f, &(struct codec_in){16, given.present, given.value}, &out, &err),
                         ERR_UNSUPPORTED);
    }
    assert_null(codec_format_name(CODEC_FORMATS_MAX));
    assert_string_equal(codec_format_name(CODEC_RAW), "raw");
    assert_string_equal(codec_format_name(CODEC_XOR), "xor");
    assert_int_equal(out.len, 0);
    buf_release(&out);
}

int main(void)
{
    const char *fixed = getenv("CARAT_TEST_SEED");
    seed = fixed ? strtoull(fixed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u | 1;
    print_message("# CARAT_TEST_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_blocks_come_back),
        cmocka_unit_test(long_blocks_come_back),
        cmocka_unit_test(special_values_come_back),
        cmocka_unit_test(presence_of_every_kind_comes_back),
        cmocka_unit_test(each_shape_gets_its_format),
        cmocka_unit_test(odd_points_cost_little),
        cmocka_unit_test(recorded_series_come_back_small),
        cmocka_unit_test(truncated_blocks_are_refused),
        cmocka_unit_test(malformed_blocks_are_refused),
        cmocka_unit_test(unknown_formats_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
