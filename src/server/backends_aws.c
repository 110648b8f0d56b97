/* Warm in DynamoDB and cold in S3, as the configuration asks for them. */
#include "server/backends_aws.h"

#include "aws/client.h"
#include "aws/credentials.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cold/cold_objects.h"
#include "cold/object_s3.h"
#include "server/server_impl.h"
#include "warm/warm_dynamodb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define IDENTITY_KEY "deployment"

/* --- whose objects and items those are --- */

static int make_identity(char *out, size_t size, struct err *err)
{
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_sys(err, ERR_IO, errno, "make a name for this deployment");
    snprintf(out, size, "%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
    return OK;
}

/* Beside the catalog, since what is stored is known by the catalog's ids: of all processes, in PostgreSQL. */
static int shared_identity(struct server *s, char *out, size_t size, struct err *err)
{
    struct buf value = BUF_INIT;
    uint64_t revision;
    int rc = kv_get(s->kv, IDENTITY_KEY, &value, &revision, err);
    if (rc == ERR_NOT_FOUND) {
        rc = make_identity(out, size, err);
        if (rc == OK)
            rc = kv_put(s->kv, IDENTITY_KEY, out, 0, NULL, err);
        if (rc == OK || rc == ERR_LOCKED) /* or another process was first */
            rc = kv_get(s->kv, IDENTITY_KEY, &value, &revision, err);
    }
    if (rc == OK)
        snprintf(out, size, "%s", buf_str(&value));
    buf_release(&value);
    return rc;
}

/* By a rename, so that there is never half of it. */
static int write_identity(struct server *s, const char *path, const char *identity, struct err *err)
{
    char temp[PATH_MAX];
    data_dir_path(&s->dir, IDENTITY_KEY ".tmp", temp);
    FILE *f = fopen(temp, "w");
    bool good = f && fprintf(f, "%s\n", identity) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (f && fclose(f) != 0)
        good = false;
    if (!good)
        return err_sys(err, ERR_IO, errno, "write %s", temp);
    int rc = fs_rename(fs_posix(), temp, path, err);
    return rc == OK ? fs_sync_dir(fs_posix(), s->dir.path, err) : rc;
}

static int local_identity(struct server *s, char *out, size_t size, struct err *err)
{
    char path[PATH_MAX];
    FILE *f = fopen(data_dir_path(&s->dir, IDENTITY_KEY, path), "r");
    if (f) {
        bool read = fgets(out, (int)size, f) != NULL;
        fclose(f);
        out[strcspn(out, "\n")] = '\0';
        if (read && strlen(out) == 32)
            return OK;
        return err_set(err, ERR_CORRUPT, "%s: not the name of a deployment", path);
    }
    if (errno != ENOENT)
        return err_sys(err, ERR_IO, errno, "read %s", path);
    int rc = make_identity(out, size, err);
    if (rc != OK)
        return rc;
    return write_identity(s, path, out, err);
}

/* --- clients --- */

struct aws_backends {
    struct aws_credentials *credentials;
    struct aws_client *s3, *dynamodb;
    char identity[40];
};

static int prepare(struct server *s, struct err *err)
{
    if (s->aws)
        return OK;
    s->aws = xcalloc(1, sizeof *s->aws);
    const struct aws_credentials_options o = {
        .file = config_string(s->config, "aws.credentials"),
        .profile = config_string(s->config, "aws.profile"),
        .clock = s->clock,
    };
    s->aws->credentials = aws_credentials_new(&o);
    size_t size = sizeof s->aws->identity;
    return s->kv ? shared_identity(s, s->aws->identity, size, err)
                 : local_identity(s, s->aws->identity, size, err);
}

static int open_client(struct server *s, const char *service, const char *endpoint, struct aws_client **out,
                       struct err *err)
{
    const struct aws_client_options o = {
        .service = service,
        .region = config_string(s->config, "aws.region"),
        .endpoint = endpoint,
        .ca_file = config_string(s->config, "aws.ca_file"),
        .credentials = s->aws->credentials,
        .timeout_ms = config_duration_ms(s->config, "aws.timeout"),
        .clock = s->clock,
        .metrics = s->metrics,
    };
    return aws_client_new(&o, out, err);
}

void aws_backends_hurry(struct server *s, int64_t until_ms)
{
    if (s->aws && s->aws->s3)
        aws_client_hurry(s->aws->s3, until_ms);
    if (s->aws && s->aws->dynamodb)
        aws_client_hurry(s->aws->dynamodb, until_ms);
}

void aws_backends_free(struct server *s)
{
    if (!s->aws)
        return;
    if (s->aws->s3)
        aws_client_free(s->aws->s3);
    if (s->aws->dynamodb)
        aws_client_free(s->aws->dynamodb);
    aws_credentials_free(s->aws->credentials);
    free(s->aws);
    s->aws = NULL;
}

/* --- warm --- */

static uint32_t series_end(void *ctx)
{
    struct server *s = ctx;
    return catalog_max_id(s->catalog) + 1;
}

static int64_t keep_of(void *ctx, uint32_t step_ms)
{
    struct server *s = ctx;
    return rules_step_keep_ms(s->rules, step_ms);
}

int open_warm_dynamodb(struct server *s, struct err *err)
{
    int rc = prepare(s, err);
    if (rc == OK)
        rc =
            open_client(s, "dynamodb", config_string(s->config, "dynamodb.endpoint"), &s->aws->dynamodb, err);
    if (rc != OK)
        return err_prefix(err, "dynamodb");
    const struct warm_dynamodb_options o = {
        .client = s->aws->dynamodb,
        .table = config_string(s->config, "dynamodb.table"),
        .identity = s->aws->identity,
        .create = config_bool(s->config, "dynamodb.create_table"),
        .clock = s->clock,
        .metrics = s->metrics,
        .series_end = series_end,
        .keep_ms = config_bool(s->config, "dynamodb.ttl") ? keep_of : NULL,
        .ctx = s,
    };
    return warm_dynamodb_open(&o, &s->warm_store, err);
}

/* --- cold --- */

/* The bucket is part of the host on AWS, and of the path elsewhere. */
static int in_host(struct server *s, bool *out, struct err *err)
{
    const char *style = config_string(s->config, "s3.style");
    *out = !strcmp(style, "host") || (!strcmp(style, "auto") && !*config_string(s->config, "s3.endpoint"));
    if (strcmp(style, "host") != 0 && strcmp(style, "auto") != 0 && strcmp(style, "path") != 0)
        return err_set(err, ERR_INVALID, "s3.style = %.40s: expected auto, path or host", style);
    if (!*config_string(s->config, "s3.bucket"))
        return err_set(err, ERR_INVALID, "s3.bucket is not set: cold.backend = s3 needs one");
    const char *prefix = config_string(s->config, "s3.prefix");
    if (*prefix && prefix[strlen(prefix) - 1] != '/')
        return err_set(err, ERR_INVALID, "s3.prefix = %.40s: expected nothing, or something that ends in /",
                       prefix);
    return OK;
}

static int open_objects(struct server *s, struct object_store **out, struct err *err)
{
    struct buf endpoint = BUF_INIT;
    const char *bucket = config_string(s->config, "s3.bucket"),
               *given = config_string(s->config, "s3.endpoint");
    bool host;
    int rc = in_host(s, &host, err);
    if (rc == OK && host)
        rc = object_s3_host_endpoint(given, config_string(s->config, "aws.region"), bucket, &endpoint, err);
    else if (rc == OK)
        buf_puts(&endpoint, given);
    if (rc == OK)
        rc = prepare(s, err);
    if (rc == OK)
        rc = open_client(s, "s3", buf_str(&endpoint), &s->aws->s3, err);
    buf_release(&endpoint);
    if (rc != OK)
        return rc;
    const struct object_s3_options o = {.client = s->aws->s3,
                                        .bucket = host ? NULL : bucket,
                                        .part_bytes = config_size_bytes(s->config, "s3.part_size")};
    *out = object_s3_new(&o);
    if (config_bool(s->config, "s3.create_bucket"))
        rc = object_s3_make_bucket(*out, err);
    if (rc != OK)
        (*out)->ops->free(*out);
    return rc;
}

int open_cold_s3(struct server *s, const struct cold_options *cold, struct err *err)
{
    char cache[PATH_MAX];
    struct cold_objects_options o = {
        .cold = *cold,
        .prefix = config_string(s->config, "s3.prefix"),
        .clock = s->clock,
        .cache_dir = data_dir_path(&s->dir, "cold-footers", cache),
        .fs = fs_posix(),
        .disk_cache_bytes = config_size_bytes(s->config, "s3.cache"),
    };
    int rc = open_objects(s, &o.objects, err);
    if (rc != OK)
        return rc;
    o.identity = s->aws->identity;
    return cold_objects_open(&o, &s->cold, err);
}
