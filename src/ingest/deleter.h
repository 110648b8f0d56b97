/* Deletions into the stream: the same for every door that asks for one.
 *
 * A deletion counts from its place in the stream on (model/deletion.h). When deleter_run returns OK all of it
 * is on stable storage, and the names of whole series that were deleted are free; that the points are no
 * longer read follows as soon as the writer has come there, as with points that are sent. */
#ifndef CARAT_INGEST_DELETER_H
#define CARAT_INGEST_DELETER_H

#include "base/clock.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "model/deletion.h"
#include "stream/stream.h"

/* Series and ranges that may be deleted and not yet taken out of files and stream. */
#define DELETIONS_MAX 1000000

struct deleter;

struct deleter_options {
    struct catalog *catalog; /* borrowed, as all below */
    struct stream *stream;
    struct clock *clock;
    struct metrics *metrics;
    const char *impossible; /* why nothing can be deleted here; NULL: it can */
};

struct deleter *deleter_new(const struct deleter_options *o);
/* After the stream is closed. */
void deleter_free(struct deleter *d);

struct deleter_result {
    uint64_t series, ranges;        /* deleted, durably */
    uint64_t pos[STREAM_LANES_MAX]; /* of the last record in each partition; 0: none */
};
/* Series that have ended are left out. In pieces of at most DELETION_MAX_ENTRIES a record, partition by
 * partition: after an error some of it may have been done, `out` tells how much for certain, and the same may
 * be asked for again. ERR_UNSUPPORTED: it is impossible here. ERR_BUSY: DELETIONS_MAX is reached, or the
 * stream has no room for long. `cancelled` may be NULL; true between two pieces ends it with ERR_CLOSED. Any
 * thread; blocks. */
int deleter_run(struct deleter *d, const struct deletion *v, size_t n, bool (*cancelled)(void *ctx),
                void *ctx, struct deleter_result *out, struct err *err) must_check;

#endif
