/* The lists of S3's answers. */
#include "cold/object_s3.h"

#include "aws/xml.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENTRIES_MAX 100000 /* a page has at most 1,000 by itself */

struct reading {
    struct s3_list *out;
    struct s3_listed entry;
    bool bad;
};

/* 2026-11-22T10:00:00.000Z; -1: it is none. */
static int64_t parse_time(const char *text)
{
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    return end && (*end == '.' || *end == 'Z') ? (int64_t)timegm(&tm) * 1000 : -1;
}

static void replace(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
}

static void entry_clear(struct s3_listed *e)
{
    free(e->name);
    free(e->upload_id);
    *e = (struct s3_listed){0};
}

static int close_entry(struct reading *r, bool upload)
{
    struct s3_list *l = r->out;
    if (!r->entry.name || r->entry.time_ms < 0 || upload != (r->entry.upload_id != NULL) ||
        l->n == ENTRIES_MAX)
        return 1;
    if (l->n % 256 == 0)
        l->v = xrealloc(l->v, (l->n + 256) * sizeof *l->v);
    l->v[l->n++] = r->entry;
    r->entry = (struct s3_listed){0};
    return 0;
}

static int on_element(void *ctx, const char *path, const char *text)
{
    struct reading *r = ctx;
    struct s3_list *l = r->out;
    bool upload = !strncmp(path, "ListMultipartUploadsResult", 26);
    const char *what = strchr(path, '/');
    if (strncmp(path, "ListBucketResult", 16) != 0 && !upload)
        return 1;
    if (!what)
        return 0;
    if (!strcmp(what, "/Contents/Key") || !strcmp(what, "/Upload/Key"))
        replace(&r->entry.name, text);
    else if (!strcmp(what, "/Upload/UploadId"))
        replace(&r->entry.upload_id, text);
    else if (!strcmp(what, "/Contents/Size"))
        r->entry.size = strtoull(text, NULL, 10);
    else if (!strcmp(what, "/Contents/LastModified") || !strcmp(what, "/Upload/Initiated"))
        r->entry.time_ms = parse_time(text);
    else if (!strcmp(what, "/Contents") || !strcmp(what, "/Upload"))
        return close_entry(r, upload);
    else if (!strcmp(what, "/IsTruncated"))
        l->truncated = !strcmp(text, "true");
    else if (!strcmp(what, "/NextContinuationToken") || !strcmp(what, "/NextKeyMarker"))
        replace(&l->next, text);
    else if (!strcmp(what, "/NextUploadIdMarker"))
        replace(&l->next_upload, text);
    return 0;
}

int s3_list_parse(const void *body, size_t n, struct s3_list *out, struct err *err)
{
    struct reading r = {.out = out};
    *out = (struct s3_list){0};
    int rc = xml_read(body, n, on_element, &r, err);
    entry_clear(&r.entry);
    if (rc > 0)
        rc = err_set(err, ERR_CORRUPT, "that is no list of objects");
    if (rc == OK && out->truncated && !out->next)
        rc = err_set(err, ERR_CORRUPT, "a list that goes on does not say where");
    if (rc < 0)
        s3_list_release(out);
    return rc;
}

void s3_list_release(struct s3_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        entry_clear(&l->v[i]);
    free(l->v);
    free(l->next);
    free(l->next_upload);
    *l = (struct s3_list){0};
}
