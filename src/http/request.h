/* One request: a copy of everything the handler may ask for, and the reply on its way back.
 *
 * It belongs to two parties, each with a reference: the connection (the server's thread) and, once the
 * handler runs, the handler, until it replies from whatever thread. Their meeting is a state under `mtx`:
 *
 *   READING --handler called--> RUNNING --http_reply--> REPLIED        answered when the handler returns
 *                                  |
 *                      handler returned first
 *                                  v
 *                               WAITING --http_reply--> REPLIED        resumes the suspended connection
 *                                  |
 *                        server stops, time is over
 *                                  v
 *                              ABANDONED --http_reply--> (discarded)   the client was told 503
 *
 * Nothing in a request points into libmicrohttpd's memory, so that an abandoned one may outlive its
 * connection and the server. */
#ifndef CARAT_HTTP_REQUEST_H
#define CARAT_HTTP_REQUEST_H

#include "base/arena.h"
#include "http/http.h"
#include "http/route.h"
#include "http/url.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum request_state { REQUEST_READING, REQUEST_RUNNING, REQUEST_WAITING, REQUEST_REPLIED, REQUEST_ABANDONED };

struct http_reply_parts {
    unsigned status;
    const char *content_type; /* a literal, or NULL */
    struct buf body;
    struct http_stream stream; /* next is NULL: the body is in `body` */
    struct http_pairs headers; /* in the request's arena */
};

struct http_request {
    /* owned by the connection until the handler runs, then read-only until the reply */
    struct arena arena;
    const char *method;
    const char *path;
    struct url_path levels;
    const struct route *route; /* NULL: unknown; kept while the server lives */
    const char *var[URL_MAX_LEVELS];
    unsigned nvars;
    struct http_pairs args, headers;
    struct buf body;

    /* owned by the server's thread */
    struct MHD_Connection *connection;
    struct http_request *prev, *next; /* all requests of the server, under its lock */
    bool head_seen;
    bool too_large;       /* the body is swallowed, 413 follows */
    bool overloaded;      /* all bodies together are over their bound: 503 follows */
    uint64_t body_bytes;  /* seen so far, stored or not */
    struct err malformed; /* code != 0: 400 follows */
    struct buf allow;
    int64_t start_us;

    _Atomic int refs;
    pthread_mutex_t mtx;
    /* under mtx */
    enum request_state state;
    struct http_reply_parts reply;
};

struct http_request *request_new(void);
void request_unref(struct http_request *r);

/* Takes the request target as it came ("/render?target=a") apart. Errors are kept in `malformed`. */
void request_set_target(struct http_request *r, const char *target);
/* Binds the route and its variables. */
void request_set_route(struct http_request *r, const struct route *route);
/* The form arguments of the finished body, if it is one. */
void request_parse_form(struct http_request *r);

#define HTTP_MAX_ARGS 4096

#endif
