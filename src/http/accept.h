/* A thread that accepts connections and hands them on.
 *
 * libmicrohttpd could accept itself, but 0.9.75 cannot stop doing so safely: MHD_quiesce_daemon aborts the
 * process when a thread of the pool takes the socket out of its epoll set at the same moment. */
#ifndef CARAT_HTTP_ACCEPT_H
#define CARAT_HTTP_ACCEPT_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

struct acceptor;

struct acceptor_options {
    int fd; /* listening and non-blocking; owned from a successful start on */
    /* True if there is room for one more; while there is none, connections wait in the kernel. */
    bool (*room)(void *ctx);
    /* Takes the connected socket, non-blocking. Both are called on the acceptor's thread. */
    void (*take)(void *ctx, int fd, const struct sockaddr *addr, socklen_t len);
    void *ctx; /* borrowed */
};

int acceptor_start(const struct acceptor_options *o, struct acceptor **out, struct err *err) must_check;
/* On return nothing is taken any more, connections are refused, and `a` is freed. NULL is fine. */
void acceptor_stop(struct acceptor *a);

#endif
