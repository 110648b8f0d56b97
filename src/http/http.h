/* The HTTP server: routes to handlers; replies may come later and from another thread.
 *
 * Built on libmicrohttpd with a small pool of epoll threads. A handler runs on one of them and must not
 * block for long; a request that waits for the stream keeps its `struct http_request *` and replies from
 * the completion callback (the connection is suspended meanwhile). Each request is replied to exactly once.
 */
#ifndef CARAT_HTTP_HTTP_H
#define CARAT_HTTP_HTTP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_request;

typedef void (*http_handler_fn)(void *ctx, struct http_request *r);

struct http_options {
    const char *listen;       /* "127.0.0.1:8012", "[::1]:8012"; port 0 picks a free one */
    unsigned threads;         /* 0: 2 */
    size_t max_body_bytes;    /* 0: 16 MiB; more is answered 413 */
    unsigned max_connections; /* 0: 10000 */
    unsigned idle_timeout_s;  /* 0: 90; more than the minute between two posts of an agent */
    struct metrics *metrics;
};

int http_server_new(const struct http_options *o, struct http_server **out, struct err *err) must_check;
/* Before http_server_start. method "GET" (also answers HEAD), "POST", ... ; pattern levels that start with
 * ':' match one level and are kept: "/api/v0/hosts/:id/metrics". Unknown path: 404, known path with another
 * method: 405. */
void http_server_route(struct http_server *s, const char *method, const char *pattern, http_handler_fn fn,
                       void *ctx);
int http_server_start(struct http_server *s, struct err *err) must_check;
unsigned http_server_port(struct http_server *s);
/* No new connections; waits up to timeout_ms for requests under way, then closes. */
void http_server_stop(struct http_server *s, int timeout_ms);
void http_server_free(struct http_server *s);

/* Request parts; all borrowed until the reply. */
const char *http_method(const struct http_request *r);
const char *http_path(const struct http_request *r);
/* Decoded value of the i-th ':' level. */
const char *http_path_var(const struct http_request *r, unsigned i);
/* First value of an argument, decoded, from the query string or an application/x-www-form-urlencoded (or
 * multipart-free) body; NULL if absent, "" if it has no value. */
const char *http_arg(const struct http_request *r, const char *name);
/* i-th value (0, 1, ...) of a repeated argument; NULL past the last. */
const char *http_arg_at(const struct http_request *r, const char *name, unsigned i);
/* i-th argument of all, in order, as (name, value); 1 past the last. */
int http_arg_each(const struct http_request *r, unsigned i, const char **name, const char **value);
const char *http_header(const struct http_request *r, const char *name);
const uint8_t *http_body(const struct http_request *r, size_t *n);

/* Whether the client has closed its connection, or has shut down its sending side, as programs do that go
 * away. Any thread, before the reply; costs a system call. */
bool http_client_gone(struct http_request *r);

/* Before the reply. */
void http_reply_header(struct http_request *r, const char *name, const char *value);
/* Takes the bytes of `body` (left empty; NULL for none). `r` is gone afterwards. */
void http_reply(struct http_request *r, unsigned status, const char *content_type, struct buf *body);
/* A body that is made while it is sent. Both functions run on a thread of the server, one after the other. */
struct http_stream {
    /* The next bytes, valid until the next call; false: there are no more. Must not block for long. */
    bool (*next)(void *ctx, const char **p, size_t *n);
    void (*free)(void *ctx); /* at the end, or when the client is gone */
    void *ctx;
    uint64_t size; /* of the whole body, if it is known; else 0, and it is sent in chunks */
};
/* As http_reply with such a body, which it takes. */
void http_reply_stream(struct http_request *r, unsigned status, const char *content_type,
                       const struct http_stream *body);
/* {"error":{"message":"..."}} */
void http_reply_error(struct http_request *r, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
