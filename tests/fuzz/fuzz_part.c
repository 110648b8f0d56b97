/* Stored parts: whatever the bytes are, decoding stays inside them, and what it accepts is what encoding
 * gives. Input: 24 bytes of key, 1 byte: repair the checksum or not, then the stored value. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "model/part.h"

#include <assert.h>
#include <stdlib.h>

#define KEY_BYTES 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct part *p, const uint8_t *bytes, size_t n)
{
    assert(p->lo <= p->key.hi);
    assert(p->data >= bytes && p->data + p->size <= bytes + n);
    struct buf again = BUF_INIT;
    struct part back;
    part_encode(p, &again);
    assert(again.len <= n); /* varints may have been longer than they need be */
    assert(part_decode(&p->key, again.data, again.len, &back, NULL) == OK);
    assert(back.lo == p->lo && back.size == p->size && !memcmp(back.data, p->data, p->size));
    /* Another key's part is noticed. */
    struct part_key other = p->key;
    other.series ^= 1;
    assert(part_decode(&other, again.data, again.len, &back, NULL) == ERR_CORRUPT);
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < KEY_BYTES + 1)
        return 0;
    struct part_key key = {get_u32le(data), get_u32le(data + 4), (int64_t)get_u64le(data + 8),
                           get_u64le(data + 16)};
    bool repair = data[KEY_BYTES] & 1;
    size_t n = size - KEY_BYTES - 1;
    uint8_t *bytes = malloc(n ? n : 1); /* exact size, so that an over-read is seen */
    memcpy(bytes, data + KEY_BYTES + 1, n);
    if (repair && n >= 4)
        put_u32le(bytes + n - 4, crc32c(crc32c(0, data, KEY_BYTES), bytes, n - 4));
    struct part p;
    struct err err = ERR_INIT;
    int rc = part_decode(&key, bytes, n, &p, &err);
    if (rc == OK)
        check_accepted(&p, bytes, n);
    else
        assert(rc == err.code && (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED));
    free(bytes);
    return 0;
}
