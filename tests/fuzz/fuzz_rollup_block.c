/* Roll-up blocks: whatever the bytes are, decoding stays inside them, and what it accepts can be encoded and
 * read back. Input: 1 byte chooses the number of slots, the rest is the block. */
#include "codec/rollup_block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t slots[] = {1, 24, 168, 240, 288, 365, 366, 64};
    if (size == 0)
        return 0;
    uint32_t n = slots[data[0] % 8];
    uint8_t *bytes = malloc(size); /* exact size, so that an over-read is seen */
    memcpy(bytes, data + 1, size - 1);
    bytes = realloc(bytes, size > 1 ? size - 1 : 1);
    struct rollup r, back;
    struct err err = ERR_INIT;
    int rc = rollup_block_decode(bytes, size - 1, n, &r, &err);
    if (rc == OK) {
        struct buf again = BUF_INIT;
        rollup_block_encode(&r, &again);
        assert(rollup_block_decode(again.data, again.len, n, &back, NULL) == OK);
        assert(rollup_equal(&r, &back));
        buf_release(&again);
    } else {
        assert(rc == ERR_CORRUPT && err.code == rc);
    }
    free(bytes);
    return 0;
}
