/* The stream on NATS JetStream. doc/jetstream.md says what it stores there and what is relied on. */
#ifndef CARAT_STREAM_STREAM_JETSTREAM_H
#define CARAT_STREAM_STREAM_JETSTREAM_H

#include "base/clock.h"
#include "base/metrics.h"
#include "stream/stream.h"

struct stream_jetstream_options {
    const char *servers; /* "nats://host:port,nats://host:port" */
    const char *name;    /* of the JetStream stream: letters, digits, - and _ */
    const char *user;    /* NULL or "": none; also for the next three */
    const char *password;
    const char *token;
    const char *credentials; /* a file */
    const char *ca;          /* a file: TLS with servers signed by it */
    bool tls;
    unsigned partitions;
    unsigned replicas;   /* when the stream is made; 0: 3, or 1 on a server that is no cluster */
    size_t buffer_bytes; /* accepted, not yet acknowledged, per partition; 0: 32 MiB */
    int64_t keep_ms;     /* records at least this young are kept even behind the checkpoint; 0: 24 h */
    int ack_timeout_ms;  /* an append that is not acknowledged for so long is given up as unknown; 0: 10 s */
    int connect_timeout_ms; /* the first time; 0: 10 s */
    struct clock *clock;
    struct metrics *metrics; /* may be NULL */
};

/* Makes the stream and the bucket for checkpoints where they are missing. ERR_CORRUPT: the stream ends before
 * a checkpoint, so the servers lost what they had acknowledged. */
int stream_jetstream_open(const struct stream_jetstream_options *o, struct stream **out,
                          struct err *err) must_check;
/* Lanes that can be read: partitions, and those of an earlier larger number that have records. */
unsigned stream_jetstream_lanes(struct stream *s);

#endif
