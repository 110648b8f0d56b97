/* Any bytes as a block: u16 slots | block. What decodes must be well formed and survive a round trip. */
#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "model/slots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Arrays of the exact size, so that a sanitizer sees a write past them. */
struct decoded {
    uint64_t *present;
    double *value;
};

static struct decoded decoded_new(uint32_t n)
{
    return (struct decoded){xcalloc(SLOTS_WORDS(n), 8), xcalloc(n, sizeof(double))};
}

static void decoded_free(struct decoded *d)
{
    free(d->present);
    free(d->value);
}

static void check_again(const struct decoded *first, uint32_t n)
{
    struct decoded second = decoded_new(n);
    struct buf out = BUF_INIT;
    codec_encode(&(struct codec_in){n, first->present, first->value}, &out);
    assert(codec_decode(out.data, out.len, n, second.present, second.value, NULL) == OK);
    assert(!memcmp(first->present, second.present, SLOTS_WORDS(n) * 8));
    for (uint32_t i = 0; i < n; i++)
        assert(!slot_get(first->present, i) || f64_bits(first->value[i]) == f64_bits(second.value[i]));
    buf_release(&out);
    decoded_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint32_t n = get_u16le(data) % CODEC_SLOTS_MAX + 1;
    struct decoded d = decoded_new(n);
    struct err err = ERR_INIT;
    int rc = codec_decode(data + 2, size - 2, n, d.present, d.value, &err);
    assert(rc == OK || (rc == ERR_CORRUPT && err.text[0]));
    if (rc == OK) {
        assert(n % 64 == 0 || d.present[n / 64] >> (n % 64) == 0);
        check_again(&d, n);
    }
    decoded_free(&d);
    return 0;
}
