#include "stream/log_segment.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

_Static_assert(LOG_HEADER_COPY % LOG_BLOCK == 0 && LOG_HEADER_COPY + LOG_HEADER_USED <= LOG_HEADER_BYTES,
               "the copies of the header share no block");
_Static_assert(LOG_HEADER_BYTES % LOG_BLOCK == 0 && LOG_BLOCK % 8 == 0, "records begin on a block");

static const char magic[8] = "CARATLOG";

void log_header_encode(uint8_t out[LOG_HEADER_BYTES], const struct log_header *h)
{
    memset(out, 0, LOG_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    put_u32le(out + 8, LOG_FORMAT_VERSION);
    put_u32le(out + 12, h->lane);
    put_u64le(out + 16, h->id);
    put_u64le(out + 24, h->first_pos);
    put_u64le(out + 32, h->allocated_bytes);
    put_u64le(out + 40, (uint64_t)h->first_ms);
    put_u32le(out + 48, crc32c(0, out, 48));
    memcpy(out + LOG_HEADER_COPY, out, LOG_HEADER_USED);
}

static int decode_copy(const uint8_t *p, struct log_header *h)
{
    if (memcmp(p, magic, sizeof magic) != 0 || get_u32le(p + 48) != crc32c(0, p, 48))
        return ERR_CORRUPT;
    if (get_u32le(p + 8) != LOG_FORMAT_VERSION)
        return ERR_UNSUPPORTED;
    h->lane = get_u32le(p + 12);
    h->id = get_u64le(p + 16);
    h->first_pos = get_u64le(p + 24);
    h->allocated_bytes = get_u64le(p + 32);
    h->first_ms = (int64_t)get_u64le(p + 40);
    return OK;
}

int log_header_decode(const uint8_t *p, size_t n, struct log_header *h)
{
    if (n < LOG_HEADER_BYTES)
        return ERR_CORRUPT;
    int rc = decode_copy(p, h);
    return rc == ERR_CORRUPT ? decode_copy(p + LOG_HEADER_COPY, h) : rc;
}

/* The id is under the checksum, so neither a block of another segment nor a payload that imitates a
 * record can pass: whoever writes payloads does not know it. */
static uint32_t header_crc(const uint8_t *p, uint64_t id)
{
    uint8_t seed[8];
    put_u64le(seed, id);
    return crc32c(crc32c(0, seed, sizeof seed), p, 28);
}

void log_record_encode(uint8_t *out, uint64_t id, const struct log_record *r, const void *payload)
{
    put_u32le(out, r->size);
    put_u32le(out + 4, r->payload_crc);
    put_u64le(out + 8, r->pos);
    put_u64le(out + 16, (uint64_t)r->appended_ms);
    put_u32le(out + 24, r->points);
    put_u32le(out + 28, header_crc(out, id));
    memcpy(out + LOG_RECORD_HEADER, payload, r->size);
    memset(out + LOG_RECORD_HEADER + r->size, 0, log_record_bytes(r->size) - LOG_RECORD_HEADER - r->size);
}

bool log_record_trusted(const uint8_t *p, struct log_record *r)
{
    r->size = get_u32le(p);
    r->payload_crc = get_u32le(p + 4);
    r->pos = get_u64le(p + 8);
    r->appended_ms = (int64_t)get_u64le(p + 16);
    r->points = get_u32le(p + 24);
    return r->size != 0;
}

bool log_record_decode(const uint8_t *p, uint64_t id, struct log_record *r)
{
    return log_record_trusted(p, r) && r->size <= LOG_MAX_PAYLOAD && get_u32le(p + 28) == header_crc(p, id);
}
