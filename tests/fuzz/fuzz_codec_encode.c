/* Any doubles through every format: u16 slots | u8 how the values are made | bytes they are made of, used
 * again from the start when they run out. */
#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "model/slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS_LIMIT 560 /* some blocks are cut into chunks */

static double make_value(unsigned how, const uint8_t *bytes, size_t size, uint32_t i, double before)
{
    static const double units[] = {1, 10, 100, 60, 1000, 6000, 1024, 1e9};
    uint8_t b[8];
    for (unsigned k = 0; k < 8; k++)
        b[k] = bytes[((size_t)i * (how & 8 ? 8 : 1) + k) % size];
    double unit = units[how & 7];
    switch (how >> 4) {
    case 0:
        return get_f64le(b);
    case 1:
        return b[0] / unit;
    case 2:
        return (int16_t)get_u16le(b) / unit;
    case 3:
        return before + (int8_t)b[0] / unit;
    case 4:
        return bits_f64(f64_bits(get_u16le(b) / unit) + (b[2] & 3));
    case 5:
        return b[0] < 250 ? get_u32le(b) / unit : get_f64le(b);
    case 6:
        return 100.0 * b[0] / (unit * 100 + b[1]);
    default:
        return (float)get_f64le(b);
    }
}

static void check(const struct codec_in *in, const struct buf *block)
{
    uint64_t present[SLOTS_WORDS(SLOTS_LIMIT)];
    double value[SLOTS_LIMIT];
    uint8_t *copy = xmalloc(block->len);
    memcpy(copy, block->data, block->len);
    assert(codec_decode(copy, block->len, in->n, present, value, NULL) == OK);
    assert(!memcmp(present, in->present, SLOTS_WORDS(in->n) * 8));
    for (uint32_t i = 0; i < in->n; i++)
        assert(!slot_get(present, i) || f64_bits(value[i]) == f64_bits(in->value[i]));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    uint32_t n = get_u16le(data) % SLOTS_LIMIT + 1;
    unsigned how = data[2];
    uint64_t present[SLOTS_WORDS(SLOTS_LIMIT)] = {0};
    double value[SLOTS_LIMIT], before = 0;
    for (uint32_t i = 0; i < n; i++) {
        before = value[i] = make_value(how & 0x7f, data + 3, size - 3, i, before);
        if (!(how & 0x80) || data[3 + i % (size - 3)] & 1)
            slot_set(present, i);
    }
    struct codec_in in = {n, present, value};
    struct buf out = BUF_INIT;
    codec_encode(&in, &out);
    assert(out.len <= 1 + (n + 7) / 8 + (size_t)n * 8);
    check(&in, &out);
    for (unsigned f = 1; f < CODEC_FORMATS_MAX; f++) {
        buf_clear(&out);
        if (codec_format_name(f) && codec_encode_as(f, &in, &out, NULL) == OK)
            check(&in, &out);
    }
    buf_release(&out);
    return 0;
}
