/* AWS Signature Version 4: from the parts of a request, keys and a time to the headers that sign it. Pure.
 *
 *   struct sigv4_signed s;
 *   sigv4_sign(&request, &keys, &s);
 *   -> s.target "/bucket/a%20key?list-type=2" for the request line, s.headers to be sent as they are
 *
 * Checked against botocore's answers in tests/unit/sigv4_vectors.h. */
#ifndef CARAT_AWS_SIGV4_H
#define CARAT_AWS_SIGV4_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aws_pair {
    const char *name, *value;
};

/* Borrowed; token may be NULL. */
struct aws_keys {
    const char *id, *secret, *token;
};

#define SIGV4_HASH_HEX 65 /* SHA-256 in hex, with its NUL */

struct sigv4_request {
    const char *method;
    const char *host; /* as the Host header will have it: with the port, unless it is the scheme's own */
    const char *path; /* not encoded; begins with a slash */
    const struct aws_pair *query; /* not encoded; in any order, no name twice */
    size_t nquery;
    const struct aws_pair *headers; /* further ones to send and sign; no name twice */
    size_t nheaders;
    const char *service, *region;
    const char *payload_hash; /* hex SHA-256 of the body (sigv4_hash) */
    /* S3's ways: the path is encoded once and taken as it is, and the payload's hash is a header. Others sign
     * the path encoded twice; theirs has no dot segments and no double slashes here. */
    bool s3;
    int64_t time_ms; /* since the epoch */
};

struct sigv4_signed {
    struct buf target;  /* path and query as they have to be sent */
    struct buf headers; /* "Name: value\0" each: those of the request and those of the signature, no Host */
};
/* Release with sigv4_release. */
void sigv4_sign(const struct sigv4_request *r, const struct aws_keys *k, struct sigv4_signed *out);
void sigv4_release(struct sigv4_signed *s);

void sigv4_hash(const void *p, size_t n, char out[SIGV4_HASH_HEX]);

/* Appends `s` with everything but A-Z a-z 0-9 - _ . ~ (and slashes, if they stay) as %XX. */
void sigv4_encode(struct buf *out, const char *s, bool keep_slashes);

#endif
