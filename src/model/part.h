/* A part: one series' points of one window as stored in a tier below hot.
 *
 * It was made from a contiguous run of the stream, positions lo..hi, in which every
 * point of this series and window was applied in order. So of two parts the one with
 * the larger hi is right wherever both hold a slot: if its run reaches back over the
 * other's write it has the same write or a later one, and if it does not, its write
 * is later. Equal hi means equal bytes for the slots both hold. That is the whole
 * merge rule (parts_merge), and why applying the stream again changes nothing. */
#ifndef CARAT_MODEL_PART_H
#define CARAT_MODEL_PART_H

#include "base/buf.h"
#include "base/err.h"
#include "model/slots.h"

struct part_key {
    uint32_t series; /* catalog id */
    uint32_t step_ms;
    int64_t window_ms; /* window start */
    uint64_t hi;       /* last stream position it was made from */
};

struct part {
    struct part_key key;
    uint64_t lo;         /* first stream position it was made from */
    const uint8_t *data; /* encoded block (codec/codec.h), borrowed */
    size_t size;
};

/* The bytes of a part as a tier stores them beside its key:
 *   u8 version (1) | varint hi - lo | varint block size | block | u32le CRC32C
 * The CRC covers the key (as 4+4+8+8 little-endian bytes) and everything before it, so
 * that a value found under another key is noticed. */
void part_encode(const struct part *p, struct buf *out);
/* Reads it back; out->data points into `bytes`. ERR_CORRUPT names what is wrong. */
int part_decode(const struct part_key *key, const uint8_t *bytes, size_t n, struct part *out,
                struct err *err) must_check;

/* Lays `newer` over `into`: present slots of newer win. Same n. */
void slots_overlay(struct slots *into, const struct slots *newer);

#endif
