/* The bytes of a segment file of the embedded stream: pure functions over memory.
 *
 * A segment is a header area of LOG_HEADER_BYTES and then records, in blocks of LOG_BLOCK
 * bytes. A group of records that is written and synced together begins on a fresh block; the
 * rest of its last block is zero. doc/stream.md gives every field; all are little-endian.
 *
 *   header, at 0 and again at LOG_HEADER_COPY        record, at a multiple of 8
 *     0  magic "CARATLOG"                               0  u32 size of the payload, not 0
 *     8  u32 version = 1                                4  u32 CRC32C of the payload
 *    12  u32 lane                                       8  u64 position
 *    16  u64 segment id, random                        16  i64 appended_ms
 *    24  u64 first position                            24  u32 points
 *    32  u64 allocated bytes                           28  u32 CRC32C of the segment id and bytes 0..27
 *    40  i64 first appended_ms                         32  payload, zeros up to a multiple of 8
 *    48  u32 CRC32C of bytes 0..47
 */
#ifndef CARAT_STREAM_LOG_SEGMENT_H
#define CARAT_STREAM_LOG_SEGMENT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_HEADER_BYTES   4096
#define LOG_HEADER_COPY    2048
#define LOG_HEADER_USED    52
#define LOG_BLOCK          512
#define LOG_RECORD_HEADER  32
#define LOG_MAX_PAYLOAD    (16u << 20)
#define LOG_FORMAT_VERSION 1

struct log_header {
    uint32_t lane;
    uint64_t id;
    uint64_t first_pos;
    uint64_t allocated_bytes; /* a file shorter than this was sealed: nothing in it can be a torn tail */
    int64_t first_ms;
};

struct log_record {
    uint64_t pos;
    int64_t appended_ms;
    uint32_t points;
    uint32_t size;
    uint32_t payload_crc;
};

static inline uint64_t log_block_up(uint64_t off)
{
    return (off + LOG_BLOCK - 1) & ~(uint64_t)(LOG_BLOCK - 1);
}
/* Bytes a record with such a payload takes. */
static inline size_t log_record_bytes(size_t payload)
{
    return LOG_RECORD_HEADER + ((payload + 7) & ~(size_t)7);
}

void log_header_encode(uint8_t out[LOG_HEADER_BYTES], const struct log_header *h);
/* From the first n bytes of a file; OK, or ERR_CORRUPT if neither copy is whole, ERR_UNSUPPORTED for a
 * version of the future. */
int log_header_decode(const uint8_t *p, size_t n, struct log_header *h);

/* Writes log_record_bytes(size) bytes, padding included. */
void log_record_encode(uint8_t *out, uint64_t id, const struct log_record *r, const void *payload);
/* Reads the LOG_RECORD_HEADER bytes at p. True if they are the header of a record of this segment. */
bool log_record_decode(const uint8_t *p, uint64_t id, struct log_record *r);
/* The same without checking, for bytes that never left memory. False for padding. */
bool log_record_trusted(const uint8_t *p, struct log_record *r);

#endif
