/* Points on their way from ingest to writer: the payload of a stream record.
 *
 * Layout, little-endian, every column starts at a multiple of 8 from the payload's start:
 *
 *   u8  version (1)
 *   u8  flags: 1 = times are i64 milliseconds, else i32 milliseconds relative to base
 *              2 = refs index the definitions of this batch, else they are catalog ids
 *   u16 zero
 *   u32 ndefs
 *   u32 npoints
 *   u32 bytes of definitions
 *   i64 base_ms
 *   i64 received_ms      when ingest took the points; for lag, never for meaning
 *   definitions: ndefs x { u32 ref | u32 step_ms | u16 name length | name }
 *   u32 refs[npoints]
 *   times[npoints]
 *   f64 values[npoints]
 *
 * 16 bytes a point and a name only with the records until the catalog has it. The
 * stream's own CRC protects it; opening still checks every bound and every name. */
#ifndef CARAT_MODEL_BATCH_H
#define CARAT_MODEL_BATCH_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_MAX_POINTS 32768
#define BATCH_MAX_BYTES  (4u << 20)

enum batch_flags { BATCH_WIDE_TIMES = 1, BATCH_LOCAL_REFS = 2 };

struct batch_def {
    uint32_t ref;
    uint32_t step_ms;
    const char *name; /* into the payload */
    uint16_t name_len;
};

/* A checked view of a payload; borrows its bytes. */
struct batch {
    uint8_t flags;
    uint32_t ndefs, npoints;
    int64_t base_ms, received_ms;
    const uint8_t *defs, *defs_end;
    const uint8_t *refs, *times, *values;
};

int batch_open(struct batch *b, const uint8_t *payload, size_t n, struct err *err) must_check;
/* Walks the definitions: start with *pos = b->defs; 0 and *out, or 1 at the end. */
int batch_next_def(const struct batch *b, const uint8_t **pos, struct batch_def *out);

static inline uint32_t batch_ref(const struct batch *b, size_t i)
{
    return get_u32le(b->refs + 4 * i);
}
static inline double batch_value(const struct batch *b, size_t i)
{
    return get_f64le(b->values + 8 * i);
}
/* Unsigned, because a damaged base may be near the ends: the sum then wraps to another wrong time. */
static inline int64_t batch_ts_ms(const struct batch *b, size_t i)
{
    return b->flags & BATCH_WIDE_TIMES
               ? (int64_t)get_u64le(b->times + 8 * i)
               : (int64_t)((uint64_t)b->base_ms + (uint64_t)(int32_t)get_u32le(b->times + 4 * i));
}

/* Collects points and writes a payload. One thread. */
struct batch_builder {
    uint8_t flags;
    int64_t base_ms, received_ms;
    uint32_t npoints, ndefs, cap;
    uint32_t *refs;
    int64_t *times;
    double *values;
    struct buf defs;
};
#define BATCH_BUILDER_INIT                                                                                   \
    {                                                                                                        \
        0, 0, 0, 0, 0, 0, NULL, NULL, NULL, BUF_INIT                                                         \
    }

void batch_builder_clear(struct batch_builder *b, int64_t received_ms); /* keeps memory */
void batch_builder_release(struct batch_builder *b);
void batch_builder_point(struct batch_builder *b, uint32_t ref, int64_t ts_ms, double value);
void batch_builder_def(struct batch_builder *b, uint32_t ref, uint32_t step_ms, const char *name,
                       size_t name_len);
/* Full: encode it before adding more. Both bounds leave room for one more point and definition. */
bool batch_builder_full(const struct batch_builder *b);
/* Appends the payload to `out`. */
void batch_builder_encode(const struct batch_builder *b, struct buf *out);

#endif
