#include "cold/manifest.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "model/window.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC       "CARATMAN"
#define VERSION     1
#define HEAD_BYTES  32
#define ENTRY_BYTES 80
#define CRC_BYTES   4

static void put_entry(uint8_t *q, const struct pack_info *p)
{
    put_u64le(q, p->id);
    put_u64le(q + 8, p->order);
    put_u32le(q + 16, p->step_ms);
    put_u32le(q + 20, p->min_series);
    put_u32le(q + 24, p->max_series);
    put_u32le(q + 28, 0);
    put_u64le(q + 32, (uint64_t)p->from_ms);
    put_u64le(q + 40, (uint64_t)p->until_ms);
    put_u64le(q + 48, p->bytes);
    put_u64le(q + 56, p->parts);
    put_u64le(q + 64, p->points);
    put_u64le(q + 72, p->block_bytes);
}

static void get_entry(const uint8_t *q, struct pack_info *p)
{
    p->id = get_u64le(q);
    p->order = get_u64le(q + 8);
    p->step_ms = get_u32le(q + 16);
    p->min_series = get_u32le(q + 20);
    p->max_series = get_u32le(q + 24);
    p->from_ms = (int64_t)get_u64le(q + 32);
    p->until_ms = (int64_t)get_u64le(q + 40);
    p->bytes = get_u64le(q + 48);
    p->parts = get_u64le(q + 56);
    p->points = get_u64le(q + 64);
    p->block_bytes = get_u64le(q + 72);
}

void manifest_encode(const struct manifest *m, struct buf *out)
{
    size_t start = out->len, size = HEAD_BYTES + m->n * ENTRY_BYTES;
    uint8_t *q = buf_reserve(out, size + CRC_BYTES);
    memcpy(q, MAGIC, 8);
    put_u32le(q + 8, VERSION);
    put_u32le(q + 12, (uint32_t)m->n);
    put_u64le(q + 16, m->generation);
    put_u64le(q + 24, m->next_id);
    for (size_t i = 0; i < m->n; i++)
        put_entry(q + HEAD_BYTES + i * ENTRY_BYTES, &m->packs[i]);
    put_u32le(q + size, crc32c(0, q, size));
    out->len = start + size + CRC_BYTES;
}

static int corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "manifest of the cold tier: %s", what);
}

static bool plausible(const struct manifest *m, const struct pack_info *p)
{
    return p->id < m->next_id && p->step_ms >= STEP_MIN_MS && p->step_ms <= STEP_MAX_MS &&
           p->min_series <= p->max_series && p->from_ms >= 0 && p->from_ms < p->until_ms &&
           p->from_ms % window_span_ms(p->step_ms) == 0;
}

int manifest_decode(const uint8_t *bytes, size_t n, struct manifest *out, struct err *err)
{
    *out = (struct manifest){0};
    if (n < HEAD_BYTES + CRC_BYTES || memcmp(bytes, MAGIC, 8) != 0)
        return corrupt(err, "it does not begin as one");
    if (get_u32le(bytes + n - CRC_BYTES) != crc32c(0, bytes, n - CRC_BYTES))
        return corrupt(err, "checksum mismatch");
    if (get_u32le(bytes + 8) != VERSION)
        return err_set(err, ERR_UNSUPPORTED,
                       "manifest of the cold tier has version %u, this program reads %d; use a newer carat",
                       get_u32le(bytes + 8), VERSION);
    size_t count = get_u32le(bytes + 12);
    if (n - HEAD_BYTES - CRC_BYTES != count * ENTRY_BYTES)
        return corrupt(err, "its length does not fit the number of packs");
    out->generation = get_u64le(bytes + 16);
    out->next_id = get_u64le(bytes + 24);
    out->packs = xcalloc(count ? count : 1, sizeof *out->packs);
    out->n = count;
    for (size_t i = 0; i < count; i++) {
        get_entry(bytes + HEAD_BYTES + i * ENTRY_BYTES, &out->packs[i]);
        if (!plausible(out, &out->packs[i]))
            return corrupt(err, "a pack that cannot be");
    }
    return OK;
}

void manifest_release(struct manifest *m)
{
    free(m->packs);
    *m = (struct manifest){0};
}
