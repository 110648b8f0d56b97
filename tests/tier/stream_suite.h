/* What every backend of src/stream/stream.h must do, as one list of cases. */
#ifndef CARAT_TESTS_STREAM_SUITE_H
#define CARAT_TESTS_STREAM_SUITE_H

#include "base/clock.h"
#include "stream/stream.h"

struct stream_backend {
    const char *name;
    /* A new, empty stream. Its buffer takes about 64 KiB a partition. */
    struct stream *(*open)(struct stream_backend *, unsigned partitions, struct clock *clock);
    /* Removes what it left behind; the stream is freed already. */
    void (*clean)(struct stream_backend *);
    void *ctx;
};

/* Runs all cases; the number of failed ones. */
int stream_suite_run(struct stream_backend *b);

#endif
