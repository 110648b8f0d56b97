/* A stream in memory: the reference for the conformance suite, and for tests of what is above. */
#ifndef CARAT_STREAM_STREAM_MEM_H
#define CARAT_STREAM_STREAM_MEM_H

#include "base/clock.h"
#include "stream/stream.h"

/* buffer_bytes bounds what is accepted but not yet "synced" (a thread plays the disk). */
struct stream *stream_mem_new(unsigned partitions, size_t buffer_bytes, struct clock *clock);

#endif
