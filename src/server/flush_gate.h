/* Nothing may expire that a roll-up still has to be made from.
 *
 * A window is flushed soon after its points came, and expiry leaves time enough for that
 * (retention_warm_keep_ms). Two things break this: after a start the stream brings back points that came long
 * ago, and rules that keep less make points old at once. Both close the gate. It opens when everything that
 * was in the stream by then has left hot, with its roll-ups. */
#ifndef CARAT_SERVER_FLUSH_GATE_H
#define CARAT_SERVER_FLUSH_GATE_H

#include "base/clock.h"
#include "stream/stream.h"
#include "writer/writer.h"

#include <pthread.h>
#include <stdbool.h>

struct flush_gate {
    struct stream *stream; /* all borrowed */
    struct writer *writer;
    unsigned lanes;
    struct clock *clock;
    pthread_mutex_t mtx;
    /* under mtx */
    bool open, noted;
    int64_t closed_ms;
    uint64_t upto[STREAM_LANES_MAX]; /* if noted */
};

/* Closed, for the start. */
void flush_gate_init(struct flush_gate *g, struct stream *stream, struct writer *writer, unsigned lanes,
                     struct clock *clock);
void flush_gate_release(struct flush_gate *g);
/* Before rules that keep less come into force, and once more after. Any thread, as all here. */
void flush_gate_close(struct flush_gate *g);
bool flush_gate_is_open(struct flush_gate *g);

#endif
