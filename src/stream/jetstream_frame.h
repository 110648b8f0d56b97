/* What the stream on NATS JetStream puts on the wire beside NATS' own protocol. Pure functions.
 *
 * A message's payload is a frame, little-endian:
 *
 *    0  u32 'CJS1'
 *    4  u32 CRC32C of everything after this
 *    8  i64 appended_ms, the appender's wall clock; never smaller than in its message before
 *   16  u32 points
 *   20  u32 zero
 *   24  the record's payload, at least one byte
 */
#ifndef CARAT_STREAM_JETSTREAM_FRAME_H
#define CARAT_STREAM_JETSTREAM_FRAME_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JS_FRAME_BYTES 24

struct js_frame {
    int64_t appended_ms;
    uint32_t points;
    const uint8_t *payload; /* borrowed */
    size_t size;
};

/* Writes JS_FRAME_BYTES + f->size bytes. */
void js_frame_encode(uint8_t *out, const struct js_frame *f);
int js_frame_decode(const uint8_t *bytes, size_t n, struct js_frame *out, struct err *err) must_check;

/* What a delivered message's reply subject says of it:
 * $JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<time>.<pending>, with a domain and a hash
 * before the stream, and more behind, from newer servers. False if it is none. */
struct js_delivery {
    const char *consumer; /* into the reply */
    size_t consumer_len;
    uint64_t stream_seq, consumer_seq;
};
bool js_delivery_read(const char *reply, struct js_delivery *out);

#endif
