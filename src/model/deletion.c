#include "model/deletion.h"

#include "base/bytes.h"

#include <assert.h>

#define RECORD_KIND  2
#define HEADER_BYTES 16
#define ENTRY_BYTES  24

bool deletion_is_record(const uint8_t *payload, size_t n)
{
    return n && payload[0] == RECORD_KIND;
}

struct deletion deletion_at(const struct deletion_record *r, uint32_t i)
{
    const uint8_t *p = r->entries + (size_t)i * ENTRY_BYTES;
    return (struct deletion){get_u32le(p), (int64_t)get_u64le(p + 8), (int64_t)get_u64le(p + 16)};
}

static int check_entry(const struct deletion_record *r, uint32_t i, struct err *err)
{
    struct deletion d = deletion_at(r, i);
    if (get_u32le(r->entries + (size_t)i * ENTRY_BYTES + 4))
        return err_set(err, ERR_UNSUPPORTED, "deletion: entry %u has unknown flags", i);
    if (!d.series || d.from_ms >= d.until_ms)
        return err_set(err, ERR_CORRUPT, "deletion: entry %u is of series %u, from %lld to %lld", i, d.series,
                       (long long)d.from_ms, (long long)d.until_ms);
    return OK;
}

int deletion_open(struct deletion_record *r, const uint8_t *payload, size_t n, struct err *err)
{
    if (n < HEADER_BYTES || payload[0] != RECORD_KIND)
        return err_set(err, ERR_CORRUPT, "deletion: %zu bytes are no header", n);
    if (payload[1] || get_u16le(payload + 2))
        return err_set(err, ERR_UNSUPPORTED, "deletion: unknown flags");
    *r = (struct deletion_record){get_u32le(payload + 4), (int64_t)get_u64le(payload + 8),
                                  payload + HEADER_BYTES};
    if (!r->n || r->n > DELETION_MAX_ENTRIES || n - HEADER_BYTES != (size_t)r->n * ENTRY_BYTES)
        return err_set(err, ERR_CORRUPT, "deletion: %zu bytes for %u entries", n, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        int rc = check_entry(r, i, err);
        if (rc != OK)
            return rc;
    }
    return OK;
}

void deletion_encode(const struct deletion *v, size_t n, int64_t asked_ms, struct buf *out)
{
    assert(n > 0 && n <= DELETION_MAX_ENTRIES);
    uint8_t *p = buf_reserve(out, HEADER_BYTES + n * ENTRY_BYTES);
    memset(p, 0, HEADER_BYTES);
    p[0] = RECORD_KIND;
    put_u32le(p + 4, (uint32_t)n);
    put_u64le(p + 8, (uint64_t)asked_ms);
    for (size_t i = 0; i < n; i++) {
        uint8_t *e = p + HEADER_BYTES + i * ENTRY_BYTES;
        put_u32le(e, v[i].series);
        put_u32le(e + 4, 0);
        put_u64le(e + 8, (uint64_t)v[i].from_ms);
        put_u64le(e + 16, (uint64_t)v[i].until_ms);
    }
    out->len += HEADER_BYTES + n * ENTRY_BYTES;
}
