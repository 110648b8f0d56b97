/* Addresses to listen on, as users write them. */
#ifndef CARAT_HTTP_LISTEN_H
#define CARAT_HTTP_LISTEN_H

#include "base/err.h"

#include <stddef.h>

/* Cuts "127.0.0.1:8012", "localhost:8012" or "[::1]:8012" into host and port. ERR_INVALID says what is
 * expected. Pure. */
int listen_parse(const char *address, char *host, size_t host_size, unsigned *port,
                 struct err *err) must_check;

/* A listening TCP socket, non-blocking; accepted sockets send without Nagle's delay. `option` names the
 * setting in error texts. The caller closes *fd. */
int listen_open(const char *address, const char *option, int *fd, struct err *err) must_check;

/* The local port of a socket; 0 if it has none. */
unsigned listen_port(int fd);

#endif
