#include "model/batch.h"

#include "base/mem.h"
#include "model/name.h"
#include "model/window.h"

#include <assert.h>
#include <stdlib.h>

#define HEADER_BYTES     32
#define DEF_HEADER_BYTES 10

static size_t pad8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* Offsets of the columns for a header's counts; the total size is `end`. */
struct layout {
    size_t defs, refs, times, values, end;
};

static struct layout layout_of(unsigned flags, size_t npoints, size_t defs_bytes)
{
    struct layout l;
    l.defs = HEADER_BYTES;
    l.refs = pad8(l.defs + defs_bytes);
    l.times = pad8(l.refs + 4 * npoints);
    l.values = pad8(l.times + (flags & BATCH_WIDE_TIMES ? 8 : 4) * npoints);
    l.end = l.values + 8 * npoints;
    return l;
}

static int check_defs(const struct batch *b, struct err *err)
{
    const uint8_t *p = b->defs;
    for (uint32_t i = 0; i < b->ndefs; i++) {
        if (b->defs_end - p < DEF_HEADER_BYTES)
            return err_set(err, ERR_CORRUPT, "batch: definition %u of %u ends early", i, b->ndefs);
        uint32_t step_ms = get_u32le(p + 4);
        size_t len = get_u16le(p + 8);
        p += DEF_HEADER_BYTES;
        if (len == 0 || len > NAME_MAX_BYTES || (size_t)(b->defs_end - p) < len)
            return err_set(err, ERR_CORRUPT, "batch: definition %u has a name of %zu bytes", i, len);
        if (step_ms < STEP_MIN_MS || step_ms > STEP_MAX_MS)
            return err_set(err, ERR_CORRUPT, "batch: definition %u has a step of %u ms", i, step_ms);
        p += len;
    }
    return p == b->defs_end
               ? OK
               : err_set(err, ERR_CORRUPT, "batch: bytes left over after %u definitions", b->ndefs);
}

int batch_open(struct batch *b, const uint8_t *payload, size_t n, struct err *err)
{
    if (n < HEADER_BYTES)
        return err_set(err, ERR_CORRUPT, "batch: %zu bytes are no header", n);
    if (payload[0] != 1)
        return err_set(err, ERR_UNSUPPORTED, "batch: version %u, this program reads 1", payload[0]);
    b->flags = payload[1];
    b->ndefs = get_u32le(payload + 4);
    b->npoints = get_u32le(payload + 8);
    size_t defs_bytes = get_u32le(payload + 12);
    b->base_ms = (int64_t)get_u64le(payload + 16);
    b->received_ms = (int64_t)get_u64le(payload + 24);
    if ((b->flags & ~(BATCH_WIDE_TIMES | BATCH_LOCAL_REFS)) || get_u16le(payload + 2))
        return err_set(err, ERR_UNSUPPORTED, "batch: unknown flags %u", b->flags);
    if (b->npoints > BATCH_MAX_POINTS || defs_bytes > BATCH_MAX_BYTES)
        return err_set(err, ERR_CORRUPT, "batch: %u points and %zu definition bytes are over the bounds",
                       b->npoints, defs_bytes);
    struct layout l = layout_of(b->flags, b->npoints, defs_bytes);
    if (l.end != n)
        return err_set(err, ERR_CORRUPT, "batch: %zu bytes where the header asks for %zu", n, l.end);
    b->defs = payload + l.defs;
    b->defs_end = b->defs + defs_bytes;
    b->refs = payload + l.refs;
    b->times = payload + l.times;
    b->values = payload + l.values;
    return check_defs(b, err);
}

int batch_next_def(const struct batch *b, const uint8_t **pos, struct batch_def *out)
{
    const uint8_t *p = *pos;
    if (p == b->defs_end)
        return 1;
    *out = (struct batch_def){get_u32le(p), get_u32le(p + 4), (const char *)p + DEF_HEADER_BYTES,
                              get_u16le(p + 8)};
    *pos = p + DEF_HEADER_BYTES + out->name_len;
    return 0;
}

void batch_builder_clear(struct batch_builder *b, int64_t received_ms)
{
    b->flags = 0;
    b->npoints = b->ndefs = 0;
    b->received_ms = received_ms;
    buf_clear(&b->defs);
}

void batch_builder_release(struct batch_builder *b)
{
    free(b->refs);
    free(b->times);
    free(b->values);
    buf_release(&b->defs);
    *b = (struct batch_builder)BATCH_BUILDER_INIT;
}

void batch_builder_point(struct batch_builder *b, uint32_t ref, int64_t ts_ms, double value)
{
    assert(b->npoints < BATCH_MAX_POINTS);
    if (b->npoints == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 1024;
        b->refs = xrealloc(b->refs, b->cap * sizeof *b->refs);
        b->times = xrealloc(b->times, b->cap * sizeof *b->times);
        b->values = xrealloc(b->values, b->cap * sizeof *b->values);
    }
    if (b->npoints == 0)
        b->base_ms = ts_ms;
    int64_t rel = ts_ms - b->base_ms;
    if (rel < INT32_MIN || rel > INT32_MAX)
        b->flags |= BATCH_WIDE_TIMES;
    b->refs[b->npoints] = ref;
    b->times[b->npoints] = ts_ms;
    b->values[b->npoints++] = value;
}

void batch_builder_def(struct batch_builder *b, uint32_t ref, uint32_t step_ms, const char *name,
                       size_t name_len)
{
    assert(name_len > 0 && name_len <= NAME_MAX_BYTES);
    uint8_t *p = buf_reserve(&b->defs, DEF_HEADER_BYTES + name_len);
    put_u32le(p, ref);
    put_u32le(p + 4, step_ms);
    put_u16le(p + 8, (uint16_t)name_len);
    memcpy(p + DEF_HEADER_BYTES, name, name_len);
    b->defs.len += DEF_HEADER_BYTES + name_len;
    b->ndefs++;
}

bool batch_builder_full(const struct batch_builder *b)
{
    return b->npoints >= BATCH_MAX_POINTS ||
           b->defs.len + DEF_HEADER_BYTES + NAME_MAX_BYTES > BATCH_MAX_BYTES / 2;
}

void batch_builder_encode(const struct batch_builder *b, struct buf *out)
{
    struct layout l = layout_of(b->flags, b->npoints, b->defs.len);
    uint8_t *p = buf_reserve(out, l.end);
    memset(p, 0, HEADER_BYTES);
    p[0] = 1;
    p[1] = b->flags;
    put_u32le(p + 4, b->ndefs);
    put_u32le(p + 8, b->npoints);
    put_u32le(p + 12, (uint32_t)b->defs.len);
    put_u64le(p + 16, (uint64_t)b->base_ms);
    put_u64le(p + 24, (uint64_t)b->received_ms);
    if (b->defs.len)
        memcpy(p + l.defs, b->defs.data, b->defs.len);
    memset(p + l.defs + b->defs.len, 0, l.refs - l.defs - b->defs.len);
    for (uint32_t i = 0; i < b->npoints; i++)
        put_u32le(p + l.refs + 4 * (size_t)i, b->refs[i]);
    memset(p + l.refs + 4 * (size_t)b->npoints, 0, l.times - l.refs - 4 * (size_t)b->npoints);
    size_t width = b->flags & BATCH_WIDE_TIMES ? 8 : 4;
    for (uint32_t i = 0; i < b->npoints; i++)
        if (width == 8)
            put_u64le(p + l.times + 8 * (size_t)i, (uint64_t)b->times[i]);
        else
            put_u32le(p + l.times + 4 * (size_t)i, (uint32_t)(int32_t)(b->times[i] - b->base_ms));
    memset(p + l.times + width * b->npoints, 0, l.values - l.times - width * b->npoints);
    for (uint32_t i = 0; i < b->npoints; i++)
        put_f64le(p + l.values + 8 * (size_t)i, b->values[i]);
    out->len += l.end;
}
