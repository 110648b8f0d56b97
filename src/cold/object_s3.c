#include "cold/object_s3.h"

#include "aws/xml.h"
#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PART_BYTES_DEFAULT (8u << 20)
#define PART_BYTES_LEAST   (5u << 20)
#define PARTS_MAX          10000
#define UPLOAD_ID_MAX      1024
#define BULK_MS            60000 /* for one attempt that moves a part or a pack */
#define BULK_TIMEOUT_MS    180000
#define LISTS_MAX          100000 /* pages */

struct s3_store {
    struct object_store base;
    struct aws_client *client;
    char *bucket; /* "" or "/bucket" */
    const struct aws_operation *put, *get, *list, *remove, *begin, *part, *complete, *abort, *uploads, *make;
};

struct s3_upload {
    struct object_upload base;
    char *name;
    char id[UPLOAD_ID_MAX];
    char **tags; /* of the parts */
    size_t n;
    uint64_t bytes;
    bool done;
};

static const struct object_store_ops s3_ops;

static struct s3_store *of(struct object_store *s)
{
    assert(s->ops == &s3_ops);
    return container_of(s, struct s3_store, base);
}

/* The path of an object, or of the bucket for "". */
static const char *path_of(const struct s3_store *s, const char *name, struct buf *path)
{
    buf_clear(path);
    buf_printf(path, "%s/%s", s->bucket, name);
    return buf_str(path);
}

/* One call about an object; `call` has what is special. */
static int run(struct s3_store *s, const char *name, struct aws_call *call, struct err *err)
{
    struct buf path = BUF_INIT;
    call->path = path_of(s, name, &path);
    int rc = aws_call(s->client, call, err);
    if (rc < 0 && err)
        err_prefix(err, "%.200s", *name ? name : "bucket");
    buf_release(&path);
    return rc;
}

/* --- whole objects --- */

static int s3_put(struct object_store *base, const char *name, const void *p, size_t n, enum object_put how,
                  struct err *err)
{
    struct s3_store *s = of(base);
    static const struct aws_pair none_match = {"if-none-match", "*"};
    struct aws_call call = {
        .op = s->put,
        .method = "PUT",
        .headers = &none_match,
        .nheaders = how == OBJECT_PUT_NEW,
        .body = p,
        .body_len = n,
        .attempt_ms = BULK_MS,
        .timeout_ms = n > PART_BYTES_LEAST ? BULK_TIMEOUT_MS : 0,
    };
    int rc = run(s, name, &call, err);
    aws_call_release(&call);
    return rc;
}

/* "bytes 0-9/1234": the first byte and the size of the whole; false if it is not that. */
static bool parse_range(const struct aws_call *call, uint64_t *from, uint64_t *size)
{
    char text[128];
    uint64_t last;
    return aws_header(&call->answer_headers, "content-range", text, sizeof text) &&
           sscanf(text, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, from, &last, size) == 3 && last >= *from &&
           last - *from + 1 == call->answer.len && last < *size;
}

/* A range beyond the end: the object has that many bytes and none of them were asked for. */
static bool parse_unsatisfied(const struct aws_call *call, uint64_t *size)
{
    char text[128];
    if (call->http_status != 416)
        return false;
    if (!aws_header(&call->answer_headers, "content-range", text, sizeof text) ||
        sscanf(text, "bytes */%" SCNu64, size) != 1)
        *size = 0; /* not told by all; only an empty object is asked for that way here */
    return true;
}

static int get_range(struct s3_store *s, const char *name, const char *range, uint64_t want_from, size_t n,
                     struct buf *out, uint64_t *size, struct err *err)
{
    const struct aws_pair header = {"range", range};
    struct aws_call call = {
        .op = s->get,
        .method = "GET",
        .headers = &header,
        .nheaders = 1,
        .attempt_ms = n > PART_BYTES_LEAST ? BULK_MS : 0,
        .answer_max = n + 1,
    };
    uint64_t from = 0, whole = 0;
    int rc = run(s, name, &call, err);
    if (rc == OK && call.http_status == 206 && !parse_range(&call, &from, &whole))
        rc = err_set(err, ERR_IO, "%.200s: the answer does not tell which bytes it has", name);
    else if (rc == OK && call.http_status == 206 && want_from != UINT64_MAX && from != want_from)
        rc = err_set(err, ERR_IO, "%.200s: other bytes than asked for", name);
    else if (rc == OK && call.http_status != 206) { /* all of it: fine if that is what was asked for */
        whole = call.answer.len;
        if (want_from != UINT64_MAX && want_from > 0)
            rc = err_set(err, ERR_UNSUPPORTED, "%.200s: the service does not know ranges", name);
    } else if (rc < 0 && parse_unsatisfied(&call, &whole)) {
        buf_clear(&call.answer);
        rc = OK;
    }
    if (rc == OK) {
        buf_append(out, call.answer.data, call.answer.len < n ? call.answer.len : n);
        if (size)
            *size = whole;
    }
    aws_call_release(&call);
    return rc;
}

static int s3_get(struct object_store *base, const char *name, uint64_t from, size_t n, struct buf *out,
                  uint64_t *size, struct err *err)
{
    char range[64];
    assert(n > 0);
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, from, from + n - 1);
    return get_range(of(base), name, range, from, n, out, size, err);
}

static int s3_get_tail(struct object_store *base, const char *name, size_t n, struct buf *out, uint64_t *size,
                       struct err *err)
{
    char range[64];
    snprintf(range, sizeof range, "bytes=-%zu", n);
    return get_range(of(base), name, range, UINT64_MAX, n, out, size, err);
}

static int s3_remove(struct object_store *base, const char *name, struct err *err)
{
    struct s3_store *s = of(base);
    struct aws_call call = {.op = s->remove, .method = "DELETE"};
    int rc = run(s, name, &call, err);
    aws_call_release(&call);
    return rc == ERR_NOT_FOUND && strcmp(call.error.code, "NoSuchBucket") != 0 ? OK : rc;
}

/* --- lists --- */

/* The service's time, from its answer. */
static int64_t answer_time_ms(const struct aws_call *call)
{
    char date[64];
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    if (!aws_header(&call->answer_headers, "date", date, sizeof date) ||
        !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return -1;
    return (int64_t)timegm(&tm) * 1000;
}

/* One page. *now_ms: the service's time. */
static int get_list(struct s3_store *s, const struct aws_operation *op, const struct aws_pair *query,
                    size_t n, struct s3_list *out, int64_t *now_ms, struct err *err)
{
    struct aws_call call = {.op = op, .method = "GET", .query = query, .nquery = n};
    int rc = run(s, "", &call, err);
    if (rc == OK)
        rc = s3_list_parse(call.answer.data, call.answer.len, out, err);
    *now_ms = rc == OK ? answer_time_ms(&call) : 0;
    if (rc == OK && *now_ms < 0) {
        s3_list_release(out);
        rc = err_set(err, ERR_IO, "a list of objects came without a date");
    }
    aws_call_release(&call);
    return rc;
}

static int deliver(const struct s3_list *l, const char *prefix, const char *after, int64_t now_ms,
                   object_fn fn, void *ctx)
{
    int rc = 0;
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        const struct s3_listed *e = &l->v[i];
        if (strncmp(e->name, prefix, strlen(prefix)) != 0 || (after && strcmp(e->name, after) <= 0))
            continue;
        rc = fn(ctx, &(struct object_info){e->name, e->size, now_ms - e->time_ms});
    }
    return rc;
}

static int s3_list(struct object_store *base, const char *prefix, const char *after, object_fn fn, void *ctx,
                   struct err *err)
{
    struct s3_store *s = of(base);
    char *token = NULL;
    bool more = true;
    int rc = 0;
    for (unsigned page = 0; rc == 0 && more && page < LISTS_MAX; page++) {
        struct s3_list l;
        int64_t now_ms;
        struct aws_pair query[4] = {{"list-type", "2"}, {"prefix", prefix}};
        size_t n = 2;
        if (token)
            query[n++] = (struct aws_pair){"continuation-token", token};
        else if (after)
            query[n++] = (struct aws_pair){"start-after", after};
        rc = get_list(s, s->list, query, n, &l, &now_ms, err);
        if (rc < 0)
            break;
        rc = deliver(&l, prefix, after, now_ms, fn, ctx);
        more = l.truncated;
        free(token);
        token = l.next;
        l.next = NULL;
        s3_list_release(&l);
    }
    free(token);
    return rc;
}

/* --- uploads in parts --- */

static struct s3_upload *upload_of(struct object_upload *u)
{
    return container_of(u, struct s3_upload, base);
}

static int take_upload_id(void *ctx, const char *path, const char *text)
{
    struct s3_upload *u = ctx;
    if (!strcmp(path, "InitiateMultipartUploadResult/UploadId"))
        snprintf(u->id, sizeof u->id, "%s", strlen(text) < sizeof u->id ? text : "");
    return 0;
}

static void upload_free(struct s3_upload *u)
{
    for (size_t i = 0; i < u->n; i++)
        free(u->tags[i]);
    free(u->tags);
    free(u->name);
    free(u);
}

static int s3_begin(struct object_store *base, const char *name, struct object_upload **out, struct err *err)
{
    struct s3_store *s = of(base);
    static const struct aws_pair query = {"uploads", ""};
    struct aws_call call = {.op = s->begin, .method = "POST", .query = &query, .nquery = 1};
    struct s3_upload *u = xcalloc(1, sizeof *u);
    u->base.store = base;
    u->name = xstrdup(name);
    int rc = run(s, name, &call, err);
    if (rc == OK)
        rc = xml_read(call.answer.data, call.answer.len, take_upload_id, u, err);
    if (rc == OK && !u->id[0])
        rc = err_set(err, ERR_IO, "%.200s: the service gave no id for an upload", name);
    aws_call_release(&call);
    if (rc < 0)
        upload_free(u);
    else
        *out = &u->base;
    return rc;
}

static int s3_part(struct object_upload *base, const void *p, size_t n, struct err *err)
{
    struct s3_upload *u = upload_of(base);
    struct s3_store *s = of(base->store);
    char number[16], tag[256];
    if (u->n == PARTS_MAX)
        return err_set(err, ERR_LIMIT, "%.200s: more than %d parts", u->name, PARTS_MAX);
    snprintf(number, sizeof number, "%zu", u->n + 1);
    const struct aws_pair query[] = {{"partNumber", number}, {"uploadId", u->id}};
    struct aws_call call = {.op = s->part,
                            .method = "PUT",
                            .query = query,
                            .nquery = 2,
                            .body = p,
                            .body_len = n,
                            .attempt_ms = BULK_MS,
                            .timeout_ms = BULK_TIMEOUT_MS};
    int rc = run(s, u->name, &call, err);
    if (rc == OK && !aws_header(&call.answer_headers, "etag", tag, sizeof tag))
        rc = err_set(err, ERR_IO, "%.200s: the service gave no tag for a part", u->name);
    aws_call_release(&call);
    if (rc < 0)
        return rc;
    if (u->n % 64 == 0)
        u->tags = xrealloc(u->tags, (u->n + 64) * sizeof(char *));
    u->tags[u->n++] = xstrdup(tag);
    u->bytes += n;
    return OK;
}

static void put_escaped(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '&' || *s == '<' || *s == '>' || *s == '"')
            buf_printf(out, "&#%d;", *s);
        else
            buf_putc(out, *s);
    }
}

static void completion(const struct s3_upload *u, struct buf *out)
{
    buf_puts(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < u->n; i++) {
        buf_printf(out, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        put_escaped(out, u->tags[i]);
        buf_puts(out, "</ETag></Part>");
    }
    buf_puts(out, "</CompleteMultipartUpload>");
}

/* Whether the object is there, with the bytes of the upload: then an earlier attempt has completed it. */
static bool is_complete(struct s3_store *s, const struct s3_upload *u)
{
    struct buf tail = BUF_INIT;
    uint64_t size = 0;
    int rc = s3_get_tail(&s->base, u->name, 1, &tail, &size, NULL);
    buf_release(&tail);
    return rc == OK && size == u->bytes;
}

static int s3_complete(struct object_upload *base, struct err *err)
{
    struct s3_upload *u = upload_of(base);
    struct s3_store *s = of(base->store);
    struct buf body = BUF_INIT;
    const struct aws_pair query = {"uploadId", u->id};
    completion(u, &body);
    struct aws_call call = {.op = s->complete,
                            .method = "POST",
                            .query = &query,
                            .nquery = 1,
                            .body = body.data,
                            .body_len = body.len,
                            .attempt_ms = BULK_MS,
                            .timeout_ms = BULK_TIMEOUT_MS};
    int rc = run(s, u->name, &call, err);
    struct aws_error told = {"", ""};
    if (rc == OK) /* 200 is said before it is done: a failure is in the body */
        aws_error_parse(call.answer.data, call.answer.len, &told);
    if (told.code[0])
        rc = err_set(err, ERR_IO, "%.200s: not put together: %s: %s", u->name, told.code, told.message);
    if (rc < 0 && is_complete(s, u))
        rc = OK;
    u->done = rc == OK;
    aws_call_release(&call);
    buf_release(&body);
    return rc;
}

static int abort_upload(struct s3_store *s, const char *name, const char *id, struct err *err)
{
    const struct aws_pair query = {"uploadId", id};
    struct aws_call call = {.op = s->abort, .method = "DELETE", .query = &query, .nquery = 1};
    int rc = run(s, name, &call, err);
    aws_call_release(&call);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

/* What cannot be given up now, a later start does. */
static void s3_end(struct object_upload *base)
{
    struct s3_upload *u = upload_of(base);
    if (!u->done)
        (void)!abort_upload(of(base->store), u->name, u->id, NULL);
    upload_free(u);
}

static int drop_page(struct s3_store *s, const struct s3_list *l, const char *prefix, int64_t before_ms,
                     size_t *dropped, struct err *err)
{
    int rc = OK;
    for (size_t i = 0; i < l->n && rc == OK; i++) {
        const struct s3_listed *e = &l->v[i];
        if (strncmp(e->name, prefix, strlen(prefix)) != 0 || e->time_ms > before_ms)
            continue;
        rc = abort_upload(s, e->name, e->upload_id, err);
        *dropped += rc == OK;
    }
    return rc;
}

static int s3_drop_uploads(struct object_store *base, const char *prefix, int64_t age_ms, size_t *dropped,
                           struct err *err)
{
    struct s3_store *s = of(base);
    char *key = NULL, *id = NULL;
    bool more = true;
    int rc = OK;
    *dropped = 0;
    for (unsigned page = 0; rc == OK && more && page < LISTS_MAX; page++) {
        struct s3_list l;
        int64_t now_ms;
        struct aws_pair query[4] = {{"uploads", ""}, {"prefix", prefix}};
        size_t n = 2;
        if (key)
            query[n++] = (struct aws_pair){"key-marker", key};
        if (id)
            query[n++] = (struct aws_pair){"upload-id-marker", id};
        rc = get_list(s, s->uploads, query, n, &l, &now_ms, err);
        if (rc < 0)
            break;
        rc = drop_page(s, &l, prefix, now_ms - age_ms, dropped, err);
        more = l.truncated;
        free(key);
        free(id);
        key = l.next;
        id = l.next_upload;
        l.next = l.next_upload = NULL;
        s3_list_release(&l);
    }
    free(key);
    free(id);
    return rc == ERR_UNSUPPORTED ? OK : rc; /* a service without such a list */
}

static void s3_free(struct object_store *base)
{
    free(of(base)->bucket);
    free(of(base));
}

static const struct object_store_ops s3_ops = {
    .name = "s3",
    .put = s3_put,
    .get = s3_get,
    .get_tail = s3_get_tail,
    .list = s3_list,
    .remove = s3_remove,
    .upload_begin = s3_begin,
    .upload_part = s3_part,
    .upload_complete = s3_complete,
    .upload_end = s3_end,
    .drop_uploads = s3_drop_uploads,
    .free = s3_free,
};

struct object_store *object_s3_new(const struct object_s3_options *o)
{
    struct s3_store *s = xcalloc(1, sizeof *s);
    size_t part = o->part_bytes ? o->part_bytes : PART_BYTES_DEFAULT;
    s->base.ops = &s3_ops;
    s->base.part_bytes = part < PART_BYTES_LEAST ? PART_BYTES_LEAST : part;
    s->client = o->client;
    if (o->bucket && *o->bucket) {
        size_t n = strlen(o->bucket) + 2;
        s->bucket = xmalloc(n);
        snprintf(s->bucket, n, "/%s", o->bucket);
    } else {
        s->bucket = xstrdup("");
    }
    s->put = aws_operation(s->client, "PutObject");
    s->get = aws_operation(s->client, "GetObject");
    s->list = aws_operation(s->client, "ListObjectsV2");
    s->remove = aws_operation(s->client, "DeleteObject");
    s->begin = aws_operation(s->client, "CreateMultipartUpload");
    s->part = aws_operation(s->client, "UploadPart");
    s->complete = aws_operation(s->client, "CompleteMultipartUpload");
    s->abort = aws_operation(s->client, "AbortMultipartUpload");
    s->uploads = aws_operation(s->client, "ListMultipartUploads");
    s->make = aws_operation(s->client, "CreateBucket");
    return &s->base;
}

int object_s3_make_bucket(struct object_store *base, struct err *err)
{
    struct s3_store *s = of(base);
    struct aws_call call = {.op = s->make, .method = "PUT"};
    int rc = run(s, "", &call, err);
    if (rc == ERR_LOCKED && !strcmp(call.error.code, "BucketAlreadyOwnedByYou"))
        rc = OK;
    aws_call_release(&call);
    return rc;
}

static bool fits_host(const char *bucket)
{
    size_t n = strlen(bucket);
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)bucket[i]) && !isdigit((unsigned char)bucket[i]) && bucket[i] != '-')
            return false; /* with a dot no certificate fits */
    return n >= 3 && n <= 63 && bucket[0] != '-' && bucket[n - 1] != '-';
}

int object_s3_host_endpoint(const char *endpoint, const char *region, const char *bucket, struct buf *out,
                            struct err *err)
{
    if (!fits_host(bucket))
        return err_set(err, ERR_INVALID,
                       "the bucket \"%.80s\" cannot be part of a host name: use the path style", bucket);
    if (!endpoint || !*endpoint) {
        buf_printf(out, "https://%s.s3.%s.amazonaws.com", bucket, region);
        return OK;
    }
    const char *host = strstr(endpoint, "://");
    if (!host)
        return err_set(err, ERR_INVALID, "%.200s: expected http://HOST:PORT or https://HOST", endpoint);
    buf_printf(out, "%.*s%s.%s", (int)(host + 3 - endpoint), endpoint, bucket, host + 3);
    return OK;
}
