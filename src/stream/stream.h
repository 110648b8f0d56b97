/* The stream: the durable, ordered log between ingest and writer.
 *
 * It has partitions, each an ordered lane with exactly one writer. A record is an opaque
 * payload with a position; positions grow within a partition and, for a given series,
 * across restarts and changes of the partition count, so that "later in the stream" is
 * always a comparison of positions. Position 0 is before the first record.
 *
 * An acknowledged record is on stable storage and will be read by every reader that
 * starts at or before it, until it is trimmed.
 */
#ifndef CARAT_STREAM_STREAM_H
#define CARAT_STREAM_STREAM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;
struct stream_reader;

/* Called exactly once for each accepted append, from a thread of the stream, in position order
 * within a partition: status OK means durable; anything else means the effect is unknown (the
 * record may or may not be read later) and the sender must be told so. Must not block and must
 * not call back into the stream. */
typedef void (*stream_done_fn)(void *ctx, int status, uint64_t pos);

struct stream_record {
    uint64_t pos;
    int64_t appended_ms;    /* wall clock of the append */
    const uint8_t *payload; /* valid until the next call on the reader */
    size_t size;
};

enum stream_from {
    STREAM_OLDEST,   /* first record kept */
    STREAM_POSITION, /* first record with pos > from_pos */
    STREAM_TIME,     /* first record with appended_ms >= from_ms */
    STREAM_LATEST    /* only records appended after the call */
};
struct stream_start {
    enum stream_from from;
    uint64_t from_pos;
    int64_t from_ms;
};

struct stream_stats {
    uint64_t appended_records, appended_bytes, appended_points;
    uint64_t synced_records, synced_points;
    uint64_t syncs;
    uint64_t buffered_bytes; /* accepted, not yet durable */
    uint64_t stored_bytes;   /* on disk, all partitions */
    uint64_t quarantined_records, quarantined_bytes;
    uint64_t torn_bytes; /* cut off tails at the last open */
    uint64_t last_pos;   /* newest position accepted */
    bool failed;         /* gave up after a failed write or sync: appends answer ERR_FAILED */
};

unsigned stream_partitions(struct stream *s);
/* Largest payload it takes. */
size_t stream_max_payload(struct stream *s);

/* Copies the payload and returns at once. `points` is for the counters. `done` may be NULL.
 * ERR_BUSY: the buffer is full, nothing was taken, done will not be called; wait with
 * stream_wait_space. ERR_FAILED / ERR_NO_SPACE / ERR_CLOSED: nothing was taken. Any thread. */
int stream_append(struct stream *s, unsigned partition, const void *payload, size_t size, uint32_t points,
                  stream_done_fn done, void *ctx, struct err *err) must_check;

/* Blocks until an append of `size` bytes has a chance, or timeout. OK, ERR_TIMEOUT or ERR_FAILED. */
int stream_wait_space(struct stream *s, unsigned partition, size_t size, int timeout_ms);

/* Only durable records are read, in order. One thread per reader; many readers at once. */
int stream_reader_open(struct stream *s, unsigned partition, struct stream_start start,
                       struct stream_reader **out, struct err *err) must_check;
/* OK with *rec; 1 if nothing came within timeout_ms (0: do not wait); ERR_CLOSED when the stream shuts
 * down; ERR_CORRUPT for a damaged stretch that was skipped and quarantined (call again to go on). */
int stream_reader_next(struct stream_reader *r, struct stream_record *rec, int timeout_ms,
                       struct err *err) must_check;
void stream_reader_close(struct stream_reader *r);

/* Newest durable position of a partition; a reader that has reached it is caught up. */
uint64_t stream_synced_pos(struct stream *s, unsigned partition);

/* The consumer's checkpoint, durable on return: everything up to and including `pos` is safely in the
 * next tier. The stream may drop what lies before every checkpoint once it is older than the kept time.
 * Checkpoints only move forward; a smaller one is ignored. */
int stream_checkpoint(struct stream *s, unsigned partition, uint64_t pos, struct err *err) must_check;
uint64_t stream_checkpoint_get(struct stream *s, unsigned partition);

/* A copy of the stream, for backups: from the hold to the release nothing is trimmed, so that what the copy
 * is to hold stays. Holds are counted; a released stream trims with its next checkpoint. */
#define STREAM_LANES_MAX 64
struct stream_hold {
    uint64_t checkpoint[STREAM_LANES_MAX]; /* of each lane, durable when the hold began */
};
void stream_hold(struct stream *s, struct stream_hold *out);
void stream_release(struct stream *s);

struct stream_file {
    const char *name;     /* below the stream's directory: "p00/0000000000000001.seg" */
    const char *path;     /* the file; it may grow, but its first `size` bytes never change. NULL: */
    const uint8_t *bytes; /* these are the bytes */
    uint64_t size;
};
/* Valid during the call; non-zero stops and is returned. */
typedef int (*stream_file_fn)(void *ctx, const struct stream_file *f);

/* Under a hold: the files that make a stream with every record that is durable now and lies behind the
 * hold's checkpoints, and with these checkpoints. Positions given so far are not given again by that
 * stream. ERR_UNSUPPORTED: this backend has no files. Any thread; no lock is held. */
int stream_files(struct stream *s, const struct stream_hold *hold, stream_file_fn fn, void *ctx,
                 struct err *err) must_check;

void stream_get_stats(struct stream *s, struct stream_stats *out);

/* Refuses further appends, makes durable and acknowledges what was taken, wakes readers with ERR_CLOSED
 * once they have read everything. Then stream_free frees it; readers must be closed by then. */
void stream_close(struct stream *s);
void stream_free(struct stream *s);

#endif
