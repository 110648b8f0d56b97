/* The Graphite line protocol over TCP and UDP.
 *
 * A few threads, each with its own epoll set, read buffer and sink session; a connection belongs to one
 * thread for its life, so its points keep their order. The first thread also accepts and reads datagrams.
 * There is no answer in this protocol: what is refused is counted and, at a bounded rate, logged. While the
 * stream has no room the threads stop reading, and TCP slows the senders down; datagrams are then lost in
 * the kernel, which is what UDP is. */
#ifndef CARAT_INGEST_GRAPHITE_LISTENER_H
#define CARAT_INGEST_GRAPHITE_LISTENER_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "ingest/sink.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct graphite_listener;

struct graphite_listener_options {
    const char *address;      /* "127.0.0.1:2003", "[::1]:2003", "localhost:2003"; port 0: any free one */
    bool no_udp;              /* TCP only */
    unsigned threads;         /* 0: 2; at most 64 */
    size_t max_line_bytes;    /* 0: 16 KiB; at most 64 KiB */
    uint32_t max_connections; /* 0: 10,000; further ones are closed at once */
    int64_t idle_timeout_ms;  /* connections silent for longer are closed; 0: never */
    struct sink *sink;        /* borrowed, as all below */
    struct clock *clock;
    struct metrics *metrics;
};

/* Listens and starts the threads. Errors name the address and the setting graphite.listen. */
int graphite_listener_start(const struct graphite_listener_options *o, struct graphite_listener **out,
                            struct err *err) must_check;
unsigned graphite_listener_port(const struct graphite_listener *l);
/* Stops accepting, takes what can be read at once (bounded in time), closes all connections, ends the
 * threads and frees the listener. A thread that waits for the stream is let go after some 2 s; what it held
 * is counted as rejected. */
void graphite_listener_stop(struct graphite_listener *l);

#endif
