/* Requests to one AWS-style HTTP service: signed, tried again with full jitter as long as their time lasts,
 * bounded in number, counted.
 *
 *   static const struct aws_pair target = {"x-amz-target", "DynamoDB_20120810.Query"};
 *   struct aws_call call = {.op = query, .method = "POST", .path = "/", .headers = &target, .nheaders = 1,
 *                           .body = json.data, .body_len = json.len};
 *   rc = aws_call(client, &call, &err);      ... call.answer.data ...
 *   aws_call_release(&call);
 *
 * Many at once: aws_submit each, then aws_wait each. One thread of the client sends and receives for all.
 *
 * A call may reach the service more than once: after a lost answer nobody knows whether it had its effect
 * (`unsure`). So only requests that may be repeated belong here.
 *
 * Secrets are in no log and no error. See doc/aws.md. */
#ifndef CARAT_AWS_CLIENT_H
#define CARAT_AWS_CLIENT_H

#include "aws/backoff.h"
#include "aws/credentials.h"
#include "aws/error.h"
#include "aws/sigv4.h"
#include "aws/transport.h"
#include "base/clock.h"
#include "base/metrics.h"

struct aws_client;
struct aws_operation;

struct aws_client_options {
    const char *service;  /* as signed and as the metrics' label: "dynamodb", "kinesis", "s3" */
    const char *region;   /* "eu-west-1" */
    const char *endpoint; /* "http://127.0.0.1:8000", "https://bucket.s3.eu-west-1.amazonaws.com"; NULL or
                             empty: https://SERVICE.REGION.amazonaws.com. Nothing after host and port. */
    const char *ca_file;  /* NULL or empty: the system's certificates */
    struct aws_credentials *credentials;     /* borrowed; must outlive it */
    unsigned connections;                    /* requests at once; 0: 32 */
    unsigned queue;                          /* calls waiting for their turn; 0: 4096 */
    int64_t connect_ms;                      /* 0: 3 s */
    int64_t attempt_ms;                      /* one attempt, and silence within a longer one; 0: 10 s */
    int64_t timeout_ms;                      /* all attempts and the waits between; 0: 30 s */
    int64_t backoff_base_ms, backoff_cap_ms; /* 0: 50 ms, 5 s */
    struct clock *clock;                     /* NULL: the system's */
    struct aws_random *random;               /* NULL: the system's */
    struct metrics *metrics;                 /* may be NULL */
    struct aws_transport *transport;         /* taken over in any case; NULL: libcurl */
};

/* ERR_INVALID: the endpoint or the region is none. Nothing is sent. */
int aws_client_new(const struct aws_client_options *o, struct aws_client **out, struct err *err) must_check;
/* From now on no call lasts longer than until_ms (of the clock's mono_us / 1000): for a server that stops. */
void aws_client_hurry(struct aws_client *c, int64_t until_ms);
/* Calls under way end with ERR_CLOSED. */
void aws_client_free(struct aws_client *c);

/* An operation by name, with its metrics: asked for once, kept as long as the client. */
const struct aws_operation *aws_operation(struct aws_client *c, const char *name);

#define AWS_ANSWER_MAX (16u << 20)

struct aws_call {
    /* asked for; everything is borrowed until the call has ended */
    const struct aws_operation *op;
    const char *method;
    const char *path;             /* not encoded */
    const struct aws_pair *query; /* not encoded */
    size_t nquery;
    const struct aws_pair *headers; /* names in lower case */
    size_t nheaders;
    const void *body;
    size_t body_len;
    int64_t timeout_ms;     /* of all attempts; 0: the client's */
    int64_t attempt_ms;     /* 0: the client's; longer for what moves many bytes */
    size_t answer_max;      /* 0: AWS_ANSWER_MAX */
    unsigned most_attempts; /* 0: as many as its time and the budget allow */
    /* answered; release with aws_call_release */
    int code;        /* OK: HTTP 2xx. ERR_NOT_FOUND: 404 and "...NotFound...". ERR_BUSY: throttled to the end.
                        ERR_IO, ERR_TIMEOUT: no answer, or the service's own trouble. ERR_UNSUPPORTED: 501.
                        ERR_LOCKED: a condition did not hold (409, 412, ConditionalCheckFailedException).
                        ERR_LIMIT: a longer answer. ERR_CLOSED. ERR_INVALID: refused, or no credentials. */
    int http_status; /* of the last attempt; 0: there was no answer */
    struct buf answer, answer_headers;
    struct aws_error error; /* what the service said, if it refused */
    unsigned attempts;
    bool unsure;                  /* an attempt before the last may have had its effect */
    struct err err;               /* names service, operation and endpoint */
    struct aws_call_state *state; /* the client's; NULL before and after */
};

/* Begins; ERR_BUSY if too many are waiting (then it has not begun), ERR_CLOSED. `err` as in aws_call. */
int aws_submit(struct aws_client *c, struct aws_call *call, struct err *err) must_check;
/* Until it has ended; the call's code, with its text in `err`. */
int aws_wait(struct aws_client *c, struct aws_call *call, struct err *err) must_check;
/* Both. */
int aws_call(struct aws_client *c, struct aws_call *call, struct err *err) must_check;
void aws_call_release(struct aws_call *call);

/* A part of a batch was refused inside an answer of 200: counts as a throttle. */
void aws_throttled(struct aws_client *c, const struct aws_operation *op);

/* A wait before the attempt-th repetition of something larger than a call (a batch's rest); sleeps. False if
 * the client is about to end and it should be given up. */
bool aws_pause(struct aws_client *c, unsigned attempt);

const char *aws_client_endpoint(const struct aws_client *c);

#endif
