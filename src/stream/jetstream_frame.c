#include "stream/jetstream_frame.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

#define MAGIC 0x31534a43u /* "CJS1" */

void js_frame_encode(uint8_t *out, const struct js_frame *f)
{
    put_u32le(out, MAGIC);
    put_u64le(out + 8, (uint64_t)f->appended_ms);
    put_u32le(out + 16, f->points);
    put_u32le(out + 20, 0);
    memcpy(out + JS_FRAME_BYTES, f->payload, f->size);
    put_u32le(out + 4, crc32c(0, out + 8, JS_FRAME_BYTES - 8 + f->size));
}

int js_frame_decode(const uint8_t *bytes, size_t n, struct js_frame *out, struct err *err)
{
    if (n <= JS_FRAME_BYTES || get_u32le(bytes) != MAGIC)
        return err_set(err, ERR_CORRUPT, "a message of %zu bytes that is not one of Carat's", n);
    if (get_u32le(bytes + 4) != crc32c(0, bytes + 8, n - 8))
        return err_set(err, ERR_CORRUPT, "a message of %zu bytes with a wrong checksum", n);
    *out = (struct js_frame){.appended_ms = (int64_t)get_u64le(bytes + 8),
                             .points = get_u32le(bytes + 16),
                             .payload = bytes + JS_FRAME_BYTES,
                             .size = n - JS_FRAME_BYTES};
    return OK;
}

#define TOKENS 16

/* Splits at dots; 0 if there are more than TOKENS. */
static size_t split(const char *text, const char *token[TOKENS])
{
    size_t n = 0;
    for (const char *p = text; p; n++) {
        if (n == TOKENS)
            return 0;
        token[n] = p;
        p = strchr(p, '.');
        p = p ? p + 1 : NULL;
    }
    return n;
}

static bool number(const char *p, uint64_t *out)
{
    uint64_t v = 0;
    const char *q = p;
    for (; *q >= '0' && *q <= '9'; q++) {
        uint64_t d = (uint64_t)(*q - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = v;
    return q != p && (*q == '.' || *q == 0);
}

bool js_delivery_read(const char *reply, struct js_delivery *out)
{
    const char *token[TOKENS];
    size_t n = reply && strncmp(reply, "$JS.ACK.", 8) == 0 ? split(reply, token) : 0;
    size_t seq = n == 9 ? 5 : n >= 11 ? 7 : 0;
    if (!seq)
        return false;
    out->consumer = token[seq - 2];
    out->consumer_len = (size_t)(token[seq - 1] - token[seq - 2] - 1);
    return number(token[seq], &out->stream_seq) && number(token[seq + 1], &out->consumer_seq);
}
