/* What a block format offers to codec.c, and what it may use in return.
 *
 * A format sees neither slots nor presence: only the m values that are there, in slot order. Ids are
 * in codec.h; adding a format is a file, an id and a line in codec.c's table. */
#ifndef CARAT_CODEC_CODEC_IMPL_H
#define CARAT_CODEC_CODEC_IMPL_H

#include "base/buf.h"
#include "codec/codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct codec_ops {
    const char *name;
    /* Appends the body for m >= 0 values, or appends nothing and returns false: it cannot hold them, or
     * only in more bytes than raw. */
    bool (*encode)(const double *value, uint32_t m, struct buf *out);
    /* Exactly m values out of exactly size bytes; -1 if the bytes are no such body. `value` may be half
     * written then. */
    int (*decode)(const uint8_t *body, size_t size, uint32_t m, double *value);
};

extern const struct codec_ops codec_raw;
extern const struct codec_ops codec_xor;
extern const struct codec_ops codec_constant;
extern const struct codec_ops codec_scaled;
extern const struct codec_ops codec_dictionary;
extern const struct codec_ops codec_fraction;
extern const struct codec_ops codec_chunks;
extern const struct codec_ops codec_zstd;

/* NULL for an unknown id. */
const struct codec_ops *codec_format_ops(unsigned format);

/* Of a body that codec_scaled wrote: no unit fits all values, so another format may be much smaller. */
bool codec_scaled_is_poor(const uint8_t *body);

/* For formats made of others: the smallest plain format (raw, xor, constant, scaled, fraction) for m values,
 * and back. Returns the id; -1 if the id is not a plain one or the bytes are malformed. */
enum codec_format codec_plain_encode(const double *value, uint32_t m, struct buf *out);
int codec_plain_decode(unsigned format, const uint8_t *body, size_t size, uint32_t m, double *value);
/* The same with dictionary blocks: any format but chunks and zstd. */
enum codec_format codec_short_encode(const double *value, uint32_t m, struct buf *out);
int codec_short_decode(unsigned format, const uint8_t *body, size_t size, uint32_t m, double *value);

#endif
