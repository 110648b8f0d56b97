/* Payloads and reply subjects as they come from NATS: any bytes. */
#include "stream/jetstream_frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct js_frame f;
    struct err err;
    if (js_frame_decode(data, size, &f, &err) == OK) {
        uint8_t *again = malloc(size);
        js_frame_encode(again, &f);
        assert(f.size + JS_FRAME_BYTES == size);
        assert(memcmp(again, data, 20) == 0 || data[20] || data[21] || data[22] || data[23]);
        free(again);
    }
    char *text = malloc(size + 1);
    struct js_delivery d;
    memcpy(text, data, size);
    text[size] = 0;
    if (js_delivery_read(text, &d))
        assert(d.consumer >= text && d.consumer + d.consumer_len <= text + size);
    free(text);
    return 0;
}
