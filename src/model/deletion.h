/* Deletions: of a whole series, or of a series' points in a range of time.
 *
 * A deletion is a record of the stream beside the batches, so that "before" and "after" it are positions: a
 * point that was applied before it and whose slot starts in [from_ms, until_ms) is dead, one that comes after
 * it lives. Deleting a whole series ends its id: nothing of that id lives, whatever its position; a later
 * point with the same name makes a series with another id. doc/deletion.md has the whole of it.
 *
 * The record's payload, little-endian:
 *
 *   u8  2 (a batch has 1 here) | u8 zero | u16 zero | u32 n | i64 asked_ms, when it was asked for
 *   n x { u32 series | u32 zero | i64 from_ms | i64 until_ms }
 *
 * Whole series have the least and the largest i64 as their range. */
#ifndef CARAT_MODEL_DELETION_H
#define CARAT_MODEL_DELETION_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DELETION_MAX_ENTRIES 16384

struct deletion {
    uint32_t series;
    int64_t from_ms, until_ms; /* from < until */
};
#define DELETION_FROM_ALL  INT64_MIN
#define DELETION_UNTIL_ALL INT64_MAX
static inline bool deletion_is_whole(const struct deletion *d)
{
    return d->from_ms == DELETION_FROM_ALL && d->until_ms == DELETION_UNTIL_ALL;
}

/* A checked view of a payload; borrows its bytes. */
struct deletion_record {
    uint32_t n;
    int64_t asked_ms;
    const uint8_t *entries;
};

/* Whether a payload says that it is a deletion, and not a batch. */
bool deletion_is_record(const uint8_t *payload, size_t n);
/* ERR_CORRUPT, ERR_UNSUPPORTED: it is none that this program understands. */
int deletion_open(struct deletion_record *r, const uint8_t *payload, size_t n, struct err *err) must_check;
struct deletion deletion_at(const struct deletion_record *r, uint32_t i);
/* Appends the payload; 1 to DELETION_MAX_ENTRIES of them. */
void deletion_encode(const struct deletion *v, size_t n, int64_t asked_ms, struct buf *out);

#endif
