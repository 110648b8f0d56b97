/* The client's own pieces: shared by client.c (the queue and its thread) and attempt.c (one attempt). */
#ifndef CARAT_AWS_CLIENT_IMPL_H
#define CARAT_AWS_CLIENT_IMPL_H

#include "aws/client.h"

#include <pthread.h>

struct aws_operation {
    struct aws_operation *next;
    char *name;
    /* all NULL without a registry */
    struct counter *requests, *errors, *throttles, *retries;
    struct histogram *seconds;
};

/* A call between submit and its end. */
struct aws_call_state {
    struct aws_call *call;
    struct aws_call_state *next;
    int64_t deadline_ms, due_ms, begun_us; /* begun_us: of the attempt */
    unsigned throttles;
    bool clock_set, keys_read; /* tried again once because of it */
    bool done;                 /* under mtx */
    char payload_hash[SIGV4_HASH_HEX];
    /* the attempt under way */
    struct aws_exchange x;
    struct sigv4_signed sent;
    struct buf url;
};

struct call_list {
    struct aws_call_state *first, **last;
    size_t n;
};

struct aws_client {
    struct aws_client_options o;
    char *service, *region, *endpoint;
    const char *host; /* in endpoint: host and port */
    pthread_t thread;
    pthread_mutex_t mtx;
    pthread_cond_t done, tick; /* tick: for aws_pause */
    /* under mtx */
    struct call_list fresh; /* submitted, not yet seen by the thread */
    size_t pending;         /* submitted and not done */
    bool stopping;
    int64_t hurry_ms; /* no deadline is later */
    struct aws_operation *operations;
    unsigned throttled; /* told by aws_throttled */
    /* owned by the thread */
    struct call_list ready, waiting, under_way;
    struct parallel_limit parallel;
    struct retry_budget budget;
    _Atomic int64_t skew_ms; /* the service's clock - ours */
    struct counter *queue_full, *no_budget;
    struct gauge *parallel_gauge;
};

/* attempt.c */

/* Signs and fills s->x. ERR_INVALID, ERR_NOT_FOUND: no credentials. */
int attempt_prepare(struct aws_client *c, struct aws_call_state *s, int64_t now_ms, struct err *err);

enum attempt_end {
    ATTEMPT_DONE,  /* call->code and call->err say how */
    ATTEMPT_AGAIN, /* at s->due_ms */
};
/* Judges what came back. */
enum attempt_end attempt_judge(struct aws_client *c, struct aws_call_state *s, int64_t now_ms);
void attempt_clear(struct aws_call_state *s);

#endif
