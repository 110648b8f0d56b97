/* Objects in a service that speaks S3's API: AWS, Ceph, Swift, MinIO and the like. See doc/s3.md. */
#ifndef CARAT_COLD_OBJECT_S3_H
#define CARAT_COLD_OBJECT_S3_H

#include "aws/client.h"
#include "cold/object_store.h"

struct object_s3_options {
    struct aws_client *client; /* of the service "s3"; borrowed */
    const char *bucket;        /* in the path; NULL or empty: it is in the client's endpoint */
    size_t part_bytes;         /* at least 5 MiB; 0: 8 MiB */
};
struct object_store *object_s3_new(const struct object_s3_options *o);

/* Where the requests go: of an endpoint "https://s3.example.net" and a bucket to be named in the host, with
 * `endpoint` empty AWS's own. Appends to `out`; ERR_INVALID: the bucket cannot be in a host name, or the
 * endpoint is none. */
int object_s3_host_endpoint(const char *endpoint, const char *region, const char *bucket, struct buf *out,
                            struct err *err) must_check;

/* Makes the bucket if it is not there. */
int object_s3_make_bucket(struct object_store *s, struct err *err) must_check;

/* Pure, for tests: one page of an answer to ListObjectsV2 or ListMultipartUploads. */
struct s3_listed {
    char *name, *upload_id; /* upload_id: NULL in a list of objects */
    uint64_t size;
    int64_t time_ms;
};
struct s3_list {
    struct s3_listed *v;
    size_t n;
    bool truncated;
    char *next, *next_upload; /* where the next page begins; NULL: not told */
};
int s3_list_parse(const void *body, size_t n, struct s3_list *out, struct err *err) must_check;
void s3_list_release(struct s3_list *l);

#endif
