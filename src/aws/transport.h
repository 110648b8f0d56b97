/* One request over the wire and its answer, with no meaning: what src/aws/client.c tries, signs and judges.
 * libcurl is one implementation, the scripts of tests another. */
#ifndef CARAT_AWS_TRANSPORT_H
#define CARAT_AWS_TRANSPORT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aws_exchange {
    /* asked for; borrowed until it is back */
    const char *method;
    const char *url;
    const char *headers; /* "Name: value\0" each */
    size_t headers_len;
    const void *body;
    size_t body_len;
    int64_t connect_ms, timeout_ms;
    int64_t silence_ms; /* so long without a byte in either direction is ERR_TIMEOUT, to the second */
    size_t answer_max;  /* a longer body is ERR_LIMIT */
    /* answered: `code` OK means that there is an HTTP status and a whole body */
    int code;    /* OK, ERR_IO, ERR_TIMEOUT, ERR_LIMIT, ERR_CLOSED (cancelled) */
    bool unsent; /* it failed before the server can have seen anything of it */
    bool resent; /* it went out more than once, and only the last has an answer */
    int http_status;
    struct buf answer_headers; /* "name: value\n" each, names in lower case */
    struct buf answer;
    char why[160]; /* if code is not OK */
    void *own;     /* the transport's */
};

struct aws_transport;
struct aws_transport_ops {
    /* Begins it, never waits. */
    void (*start)(struct aws_transport *, struct aws_exchange *);
    /* One that has ended; NULL after wait_ms, or sooner after a wake. */
    struct aws_exchange *(*next)(struct aws_transport *, int64_t wait_ms);
    /* Ends one at once; it is not given back by next. */
    void (*cancel)(struct aws_transport *, struct aws_exchange *);
    void (*wake)(struct aws_transport *); /* any thread; all others: one thread */
    void (*free)(struct aws_transport *); /* nothing is under way */
};
struct aws_transport {
    const struct aws_transport_ops *ops;
};

struct aws_transport_options {
    unsigned connections; /* open at once */
    const char *ca_file;  /* NULL or empty: the system's */
};
/* libcurl: HTTP/1.1, connections kept and used again, certificates checked. */
int aws_transport_curl_new(const struct aws_transport_options *o, struct aws_transport **out,
                           struct err *err) must_check;

/* A header's value in `out` (cut to cap), or false if it is not there. `name` in lower case. */
bool aws_header(const struct buf *headers, const char *name, char *out, size_t cap);

#endif
