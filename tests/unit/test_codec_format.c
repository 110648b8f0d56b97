/* Blocks as they were once written, byte by byte: they must be readable for ever. A new way of encoding adds
 * a block here and changes none. For a block yet without its bytes the failure shows what is written today.
 */
#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "model/slots.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOTS_LIMIT 600

struct block {
    uint32_t n;
    uint64_t present[SLOTS_WORDS(SLOTS_LIMIT)];
    double value[SLOTS_LIMIT];
};

static void block_init(struct block *b, uint32_t n)
{
    memset(b, 0, sizeof *b);
    b->n = n;
    for (uint32_t i = 0; i < n; i++)
        slot_set(b->present, i);
}

/* Small numbers without a pattern, the same for ever. */
static uint32_t scrambled(uint32_t i)
{
    return (i * i * 2654435761u + i * 40503u) >> 20;
}

static void fill_raw(struct block *b)
{
    static const double v[] = {1, 0.1, -0.0};
    block_init(b, 3);
    memcpy(b->value, v, sizeof v);
}
static void fill_none(struct block *b)
{
    block_init(b, 240);
    memset(b->present, 0, sizeof b->present);
}
static void fill_xor(struct block *b)
{
    static const double v[] = {1.5, 1.5, 2.25, 0.1, 0.3333, 0.3333, 1e300, -7, 0.1, 0.11, 0.12};
    block_init(b, ARRAY_LEN(v));
    memcpy(b->value, v, sizeof v);
}
static void fill_zeros(struct block *b)
{
    block_init(b, 240);
}
static void fill_constant(struct block *b)
{
    block_init(b, 240);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = 25276502016;
}
static void fill_scaled_constant(struct block *b)
{
    block_init(b, 240);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = 44.83;
}
static void fill_decimals(struct block *b)
{
    block_init(b, 16);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = (scrambled(i) % 1000 - 300.0) / 100;
}
static void fill_counter_with_reset(struct block *b)
{
    block_init(b, 30);
    double level = 1e6;
    for (uint32_t i = 0; i < b->n; i++)
        level = b->value[i] = i == 20 ? 17 : level + 1000 + scrambled(i) % 32;
}
static void fill_accelerating(struct block *b)
{
    block_init(b, 30);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = 500 + 7.0 * i + 50.0 * i * i + scrambled(i) % 2;
}
static void fill_near_decimals(struct block *b)
{
    block_init(b, 24);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = bits_f64(f64_bits((44000 + scrambled(i) % 1000) / 1000.0) + (i % 3) * (i % 2) - i % 2);
}
static void fill_rates_with_specials(struct block *b)
{
    block_init(b, 40);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = scrambled(i) % 600 / 60.0;
    b->value[3] = bits_f64(0x7ff8dead0000beef);
    b->value[17] = -INFINITY;
    b->value[31] = -0.0;
}
static void fill_pages(struct block *b)
{
    block_init(b, 20);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = 4096.0 * (100000 + scrambled(i) % 200) + 512;
}
static void fill_floats(struct block *b)
{
    block_init(b, 16);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = (float)(1e-30 * sqrt(2.0 + scrambled(i)));
}
static void fill_few(struct block *b)
{
    static const double v[] = {0.5772156649015329, 2.718281828459045, 3.141592653589793};
    block_init(b, 60);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = v[scrambled(i) % 7 / 3];
}
static void fill_percents(struct block *b)
{
    block_init(b, 30);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = 100.0 * (1000 + scrambled(i) % 500) / (5990 + scrambled(i + 100) % 16);
    b->value[4] = 0;
    b->value[9] = -1e-310;
}
static void fill_long(struct block *b)
{
    block_init(b, 600);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = i < 300 ? 12.25 : i < 500 ? 10 * i : i % 2;
}
static void fill_repeating(struct block *b)
{
    block_init(b, 600);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = scrambled(i % 256) % 16;
}
static void fill_span(struct block *b)
{
    block_init(b, 240);
    memset(b->present, 0, sizeof b->present);
    for (uint32_t i = 130; i < 200; i++) {
        slot_set(b->present, i);
        b->value[i] = 5;
    }
}
static void fill_runs(struct block *b)
{
    block_init(b, 240);
    for (uint32_t i = 0; i < b->n; i++)
        b->value[i] = 5;
    for (uint32_t i = 50; i < 60; i++)
        b->present[0] &= ~(1ull << i);
    b->present[3] &= ~(1ull << 40);
}
static void fill_bitmap(struct block *b)
{
    block_init(b, 40);
    for (uint32_t i = 0; i < b->n; i++) {
        b->value[i] = 5;
        if (scrambled(i) % 2)
            b->present[0] &= ~(1ull << i);
    }
}

static const struct stored {
    const char *name;
    enum codec_format format;
    void (*fill)(struct block *b);
    const char *hex;
} all_stored[] = {
    {"raw", CODEC_RAW, fill_raw, "01000000000000f03f9a9999999999b93f0000000000000080"},
    {"raw, no points", CODEC_RAW, fill_none, "21"},
    {"xor", CODEC_XOR, fill_xor,
     "02000000000000f83f04a7ffa76666666666e6eedf99b74fe3806a6663d46bc037d4c38a07c95907"
     "80c843bee2ab666666666666e9ff9a2db6d8628b2d23851452482105"},
    {"constant zero", CODEC_CONSTANT, fill_zeros, "03"},
    {"constant", CODEC_CONSTANT, fill_constant, "0342178a6340"},
    {"scaled, constant", CODEC_SCALED, fill_scaled_constant, "0402008646"},
    {"scaled, plain", CODEC_SCALED, fill_decimals, "04020ad704004c58fa4b7f3a5d81280ee533d23253088d223b"},
    {"scaled, delta with patches", CODEC_SCALED, fill_counter_with_reset,
     "044045d0987ad00f0113d7f203a3fd6bbbf2798fa910c38a109bdd7217815f00"},
    {"scaled, second differences", CODEC_SCALED, fill_accelerating, "048003e80774c40191426c913249d21282d802"},
    {"scaled, with corrections", CODEC_SCALED, fill_near_decimals,
     "04038a02c0af0508288aa2aa004c58fa4b7f3a5d81280ee533d23253088d223b78eb473e716b27e4"
     "e0d4"},
    {"scaled, with exceptions", CODEC_SCALED, fill_rates_with_specials,
     "040d8a080003030d0defbe0000addef87f000000000000f0ff0000000000000080000c52482127b8"
     "509a8cd6e533d232e38980223b2081c418711345e7e03ebefd070f6e9735925556278612025e7eb1"
     "85c01e"},
    {"scaled, with a factor", CODEC_SCALED, fill_pages,
     "0400880180208004c09a0c00838567272e15a246315b0353229824586ac434"},
    {"scaled, bit patterns", CODEC_SCALED, fill_floats,
     "043f9a01808080800200c4e0abde3900000028ea661a4699e73c7ea33883b3da07d2495fcbe3b5e1"
     "913a398c62caec564ac0eae783aa6e92bcfa31cf299f93e0d2be6d"},
    {"dictionary", CODEC_DICTIONARY, fill_few,
     "0502021819b66ffc8c78e23fc285efdd191e9fffad383da8ef784f06020004264460420424446042"
     "04a6645841"},
    {"fraction", CODEC_FRACTION, fill_percents,
     "060801092be6708b6812008004cc5dc33c69419d355928b3f90cca347a6b1200a086f14a46fc223f"
     "7f0000203748ed187a7118f00100c0841f7b750ca7612408af19b478301ee223068624cc8d1c1992"
     "b8870c19ef839898f1c706461e18797cd7d1f606"},
    {"chunks", CODEC_CHUNKS, fill_long,
     "07080303402880042e8dc0010f006200000e2a00c6010000000000000000000000deba018dba01bf"
     "b802f8b7020f100f100f100f100f10040e000100aaaaaaaaaaaaaaaaaaaaaa"},
    {"zstd", CODEC_ZSTD, fill_repeating,
     "0828b52ffd603e009d040044080804830100040030fd67ad9e3ba3c8a8449bbe7e085f511f89ceb0"
     "5dc5eaca66cdd1a03b717432bce1e380f81d0d99f104d36eb5b776ff2516c33c6141ed355928b3f9"
     "0cca347a6b1881b696329aae7d085f52109ad0c17ee71cfc99f004e37fb5c886004638e55e836300"
     "688b5be63d300e88beb06dd60beb88e0c887014748f66f942f0300386c24080923de1d2b9c01"},
    {"a span is present", CODEC_CONSTANT, fill_span, "438201454014"},
    {"runs are present", CODEC_CONSTANT, fill_runs, "630100310aab0101064014"},
    {"a bitmap of presence", CODEC_CONSTANT, fill_bitmap, "83a1e14f0d784014"},
};

static size_t from_hex(const char *hex, uint8_t *to)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1], 0};
        to[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return n;
}

static void show_todays_bytes(const struct stored *s, const struct block *b)
{
    struct buf out = BUF_INIT, hex = BUF_INIT;
    struct err err = ERR_INIT;
    if (codec_encode_as(s->format, &(struct codec_in){b->n, b->present, b->value}, &out, &err) < 0)
        buf_puts(&hex, err.text);
    for (size_t i = 0; i < out.len; i++)
        buf_printf(&hex, "%02x", out.data[i]);
    print_message("# %s: today %s\n", s->name, buf_str(&hex));
    buf_release(&out);
    buf_release(&hex);
}

static void old_blocks_are_readable(void **state)
{
    unsigned bad = 0;
    for (size_t k = 0; k < ARRAY_LEN(all_stored); k++) {
        const struct stored *s = &all_stored[k];
        struct block want, got;
        uint8_t bytes[4096];
        struct err err = ERR_INIT;
        s->fill(&want);
        got = want;
        memset(got.value, 0, sizeof got.value);
        size_t size = from_hex(s->hex, bytes);
        bool same = size && bytes[0] % CODEC_FORMATS_MAX == (unsigned)s->format &&
                    codec_decode(bytes, size, want.n, got.present, got.value, &err) == OK &&
                    !memcmp(got.present, want.present, SLOTS_WORDS(want.n) * 8);
        for (uint32_t i = 0; same && i < want.n; i++)
            same = !slot_get(want.present, i) || f64_bits(got.value[i]) == f64_bits(want.value[i]);
        if (!same) {
            bad++;
            print_message("# %s: not readable: %s\n", s->name, err.text);
            show_todays_bytes(s, &want);
        }
    }
    assert_int_equal(bad, 0);
}

/* The table of units in doc/codec.md: seven of each. */
static void units_stay_what_they_are(void **state)
{
    static const struct {
        uint8_t id;
        double denominator;
    } units[] = {{0, 1},     {1, 1e1},   {2, 1e2},      {3, 1e3},      {4, 1e4},   {5, 1e5},   {6, 1e6},
                 {7, 1e7},   {8, 1e8},   {9, 1e9},      {10, 1e10},    {11, 1e11}, {12, 1e12}, {13, 6e1},
                 {14, 6e2},  {15, 6e3},  {16, 6e4},     {17, 6e5},     {18, 6e6},  {19, 3600}, {20, 36000},
                 {21, 36e4}, {22, 1024}, {23, 1 << 20}, {24, 1 << 30}, {25, 1e13}, {26, 1e14}, {27, 1e15}};
    uint64_t present;
    double value;
    struct err err = ERR_INIT;
    for (unsigned id = 0, at = 0; id < 64; id++) {
        const uint8_t block[] = {CODEC_SCALED, (uint8_t)id, 0, 14}; /* width 0, base zigzag(7) */
        int rc = codec_decode(block, sizeof block, 1, &present, &value, &err);
        if (at < ARRAY_LEN(units) && units[at].id == id) {
            assert_int_equal(rc, OK);
            assert_true(value == 7 / units[at++].denominator);
        } else if (id == 63) {
            assert_int_equal(rc, OK);
            assert_true(f64_bits(value) == 7);
        } else {
            assert_int_equal(rc, ERR_CORRUPT);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_blocks_are_readable),
        cmocka_unit_test(units_stay_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
