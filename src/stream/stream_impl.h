/* For implementers of a stream backend. The wrappers in stream.c assert arguments. */
#ifndef CARAT_STREAM_STREAM_IMPL_H
#define CARAT_STREAM_STREAM_IMPL_H

#include "stream/stream.h"

struct stream_ops {
    const char *name;
    int (*append)(struct stream *, unsigned partition, const void *payload, size_t size, uint32_t points,
                  stream_done_fn done, void *ctx, struct err *);
    int (*wait_space)(struct stream *, unsigned partition, size_t size, int timeout_ms);
    int (*reader_open)(struct stream *, unsigned partition, struct stream_start, struct stream_reader **,
                       struct err *);
    uint64_t (*synced_pos)(struct stream *, unsigned partition);
    int (*checkpoint)(struct stream *, unsigned partition, uint64_t pos, struct err *);
    uint64_t (*checkpoint_get)(struct stream *, unsigned partition);
    /* All three or none. */
    void (*hold)(struct stream *, struct stream_hold *);
    void (*release)(struct stream *);
    int (*files)(struct stream *, const struct stream_hold *, stream_file_fn, void *ctx, struct err *);
    void (*get_stats)(struct stream *, struct stream_stats *);
    void (*close)(struct stream *);
    void (*free)(struct stream *);
};

/* Embedded first in a backend's struct. */
struct stream {
    const struct stream_ops *ops;
    unsigned partitions;
    unsigned lanes; /* partitions that can be read and checkpointed: at least `partitions` */
    size_t max_payload;
};

struct stream_reader_ops {
    int (*next)(struct stream_reader *, struct stream_record *, int timeout_ms, struct err *);
    void (*close)(struct stream_reader *);
};
struct stream_reader {
    const struct stream_reader_ops *ops;
};

#endif
