/* What a service says when it refuses, as JSON (DynamoDB, Kinesis) or XML (S3). Pure. */
#ifndef CARAT_AWS_ERROR_H
#define CARAT_AWS_ERROR_H

#include <stddef.h>

struct aws_error {
    char code[64];     /* "ProvisionedThroughputExceededException", "NoSuchKey"; empty: none was told */
    char message[240]; /* control bytes as spaces */
};
/* From the body of an answer; both empty if it is neither. */
void aws_error_parse(const void *body, size_t n, struct aws_error *out);

enum aws_error_kind {
    AWS_ERROR_OTHER,     /* the request is wrong: the same one again would be refused again */
    AWS_ERROR_THROTTLED, /* too much at once: later, and less */
    AWS_ERROR_TRANSIENT, /* the service's own trouble: again */
    AWS_ERROR_CLOCK,     /* our clock and theirs differ too much for a signature */
    AWS_ERROR_KEYS,      /* the keys are no longer good */
};
enum aws_error_kind aws_error_kind(int http_status, const char *code, const char *message);

#endif
