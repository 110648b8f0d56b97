/* The embedded stream: an append log on local disk with group commit. doc/stream.md has the format. */
#ifndef CARAT_STREAM_STREAM_LOG_H
#define CARAT_STREAM_STREAM_LOG_H

#include "base/clock.h"
#include "base/fs.h"
#include "base/metrics.h"
#include "stream/stream.h"

struct stream_log_options {
    const char *dir;      /* created if missing */
    unsigned partitions;  /* 1..64; may differ from the last time */
    size_t segment_bytes; /* preallocated; 0 = 64 MiB */
    size_t buffer_bytes;  /* accepted and not yet durable, per partition; 0 = 32 MiB */
    size_t tail_bytes;    /* durable records kept in memory for readers that keep up; 0 = 32 MiB */
    int64_t keep_ms;      /* records at least this young are kept even behind the checkpoint; 0 = 24 h */
    struct fs *fs;
    struct clock *clock;
    struct metrics *metrics; /* may be NULL */
};

/* Opens and recovers: cuts a torn tail, leaves damage elsewhere to the readers (who quarantine it).
 * Partitions of an earlier count stay readable until trimmed: stream_log_lanes tells how many lanes
 * (partition numbers for readers and checkpoints) exist, at least `partitions`. */
int stream_log_open(const struct stream_log_options *o, struct stream **out, struct err *err) must_check;
unsigned stream_log_lanes(struct stream *s);

#endif
