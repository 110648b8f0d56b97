/* The two sockets of the Graphite listener. */
#ifndef CARAT_INGEST_GRAPHITE_SOCKET_H
#define CARAT_INGEST_GRAPHITE_SOCKET_H

#include "base/err.h"

struct graphite_sockets {
    int tcp, udp; /* non-blocking; udp is -1 if it was not wanted */
    unsigned port;
};

/* Binds both to one address and port. */
int graphite_sockets_open(const char *address, int want_udp, struct graphite_sockets *out,
                          struct err *err) must_check;

#endif
