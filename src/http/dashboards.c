#include "http/dashboards.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX     ".json"
#define PATH_BYTES 4096

struct dashboard {
    char id[DASHBOARD_ID_MAX + 1];
    char tag[DASHBOARD_TAG_SIZE];
    char *title, *json;
    size_t n, panels;
};

struct dashboards {
    struct fs *fs;
    char *dir;
    pthread_mutex_t writing; /* one change at a time; taken before `mtx` */
    pthread_mutex_t mtx;     /* the table; changed with both */
    struct dashboard *v;     /* by id */
    size_t n;
};

static bool id_ok(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n && n <= DASHBOARD_ID_MAX && !id[n];
}

static int check_id(const char *id, struct err *err)
{
    if (id_ok(id))
        return OK;
    return err_set(err, ERR_INVALID, "a dashboard's id has 1 to %d of a-z, 0-9 and -", DASHBOARD_ID_MAX);
}

/* Where it is, or would be. */
static size_t place_of(const struct dashboards *d, const char *id, bool *there)
{
    size_t i = 0;
    while (i < d->n && strcmp(d->v[i].id, id) < 0)
        i++;
    *there = i < d->n && !strcmp(d->v[i].id, id);
    return i;
}

static void release(struct dashboard *b)
{
    free(b->title);
    free(b->json);
}

/* Checked bytes as an entry. */
static int make_entry(const char *id, const char *json, size_t n, struct dashboard *out, struct err *err)
{
    struct buf stored = BUF_INIT;
    *out = (struct dashboard){0};
    int rc = dashboard_check(json, n, &stored, &out->title, &out->panels, err);
    if (rc == OK && stored.len > DASHBOARD_BYTES_MAX) { /* escapes may be longer than what they stand for */
        free(out->title);
        rc = err_set(err, ERR_INVALID, "a dashboard has at most %d bytes", DASHBOARD_BYTES_MAX);
    }
    if (rc != OK) {
        buf_release(&stored);
        return rc;
    }
    snprintf(out->id, sizeof out->id, "%s", id);
    snprintf(out->tag, sizeof out->tag, "%016llx", (unsigned long long)hash_bytes(stored.data, stored.len));
    out->json = buf_detach(&stored, &out->n);
    return OK;
}

/* Takes the entry. */
static void put_entry(struct dashboards *d, const struct dashboard *b)
{
    bool there;
    pthread_mutex_lock(&d->mtx);
    size_t i = place_of(d, b->id, &there);
    if (there) {
        release(&d->v[i]);
    } else {
        d->v = xrealloc(d->v, (d->n + 1) * sizeof *d->v);
        memmove(d->v + i + 1, d->v + i, (d->n - i) * sizeof *d->v);
        d->n++;
    }
    d->v[i] = *b;
    pthread_mutex_unlock(&d->mtx);
}

/* --- files --- */

static void path_of(const struct dashboards *d, const char *id, const char *suffix, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%s%s", d->dir, id, suffix);
}

static int write_whole(struct fs *fs, const char *path, const void *p, size_t n, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(fs, path, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc != OK)
        return rc;
    rc = fs_pwrite(f, p, n, 0, err);
    if (rc == OK)
        rc = fs_datasync(f, err);
    fs_close(f);
    return rc;
}

static int store(struct dashboards *d, const struct dashboard *b, struct err *err)
{
    char tmp[PATH_BYTES], path[PATH_BYTES];
    path_of(d, b->id, ".tmp", tmp);
    path_of(d, b->id, SUFFIX, path);
    int rc = write_whole(d->fs, tmp, b->json, b->n, err);
    if (rc == OK)
        rc = fs_rename(d->fs, tmp, path, err);
    return rc == OK ? fs_sync_dir(d->fs, d->dir, err) : rc;
}

static int load(struct dashboards *d, const char *id, struct err *err)
{
    char path[PATH_BYTES];
    struct fs_file *f;
    struct dashboard b;
    size_t got = 0;
    path_of(d, id, SUFFIX, path);
    int rc = fs_open(d->fs, path, FS_READ, &f, err);
    if (rc != OK)
        return rc;
    char *bytes = xmalloc(DASHBOARD_BYTES_MAX + 1);
    rc = fs_pread(f, bytes, DASHBOARD_BYTES_MAX + 1, 0, &got, err);
    fs_close(f);
    if (rc == OK)
        rc = make_entry(id, bytes, got, &b, err);
    free(bytes);
    if (rc == OK)
        put_entry(d, &b);
    return rc;
}

static int load_file(void *ctx, const char *name)
{
    struct dashboards *d = ctx;
    struct err err = ERR_INIT;
    char id[DASHBOARD_ID_MAX + 1];
    const char *dot = strrchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : 0;
    if (!n || n > DASHBOARD_ID_MAX || strcmp(dot, SUFFIX) != 0) /* .tmp: of a write that did not end */
        return 0;
    snprintf(id, sizeof id, "%.*s", (int)n, name);
    if (!id_ok(id) || d->n == DASHBOARDS_MAX)
        log_warn("http", "a dashboard is not shown", "file=%s why=\"its name, or there are too many\"", name);
    else if (load(d, id, &err) != OK)
        log_warn("http", "a dashboard is not shown", "file=%s why=\"%s\"", name, err.text);
    return 0;
}

int dashboards_open(struct fs *fs, const char *dir, struct dashboards **out, struct err *err)
{
    int rc = fs_mkdir(fs, dir, err);
    if (rc != OK)
        return rc;
    struct dashboards *d = xcalloc(1, sizeof *d);
    d->fs = fs;
    d->dir = xstrdup(dir);
    pthread_mutex_init(&d->writing, NULL);
    pthread_mutex_init(&d->mtx, NULL);
    rc = fs_list(fs, dir, load_file, d, err);
    if (rc == OK)
        *out = d;
    else
        dashboards_free(d);
    return rc;
}

void dashboards_free(struct dashboards *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        release(&d->v[i]);
    pthread_mutex_destroy(&d->writing);
    pthread_mutex_destroy(&d->mtx);
    free(d->v);
    free(d->dir);
    free(d);
}

/* --- requests --- */

void dashboards_list(struct dashboards *d, struct buf *json)
{
    buf_puts(json, "{\"dashboards\":[");
    pthread_mutex_lock(&d->mtx);
    for (size_t i = 0; i < d->n; i++) {
        buf_printf(json, "%s{\"id\":\"%s\",\"title\":", i ? "," : "", d->v[i].id);
        buf_json_string(json, d->v[i].title, strlen(d->v[i].title));
        buf_printf(json, ",\"panels\":%zu}", d->v[i].panels);
    }
    pthread_mutex_unlock(&d->mtx);
    buf_puts(json, "]}");
}

static int not_there(const char *id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no dashboard %.*s", DASHBOARD_ID_MAX, id);
}

int dashboards_get(struct dashboards *d, const char *id, struct buf *json, char tag[DASHBOARD_TAG_SIZE],
                   struct err *err)
{
    bool there;
    pthread_mutex_lock(&d->mtx);
    size_t i = place_of(d, id, &there);
    if (there) {
        buf_append(json, d->v[i].json, d->v[i].n);
        memcpy(tag, d->v[i].tag, DASHBOARD_TAG_SIZE);
    }
    pthread_mutex_unlock(&d->mtx);
    return there ? OK : not_there(id, err);
}

/* With `writing` held. */
static int may_put(struct dashboards *d, const char *id, const char *expected, struct err *err)
{
    bool there;
    size_t i = place_of(d, id, &there);
    if (expected && strcmp(there ? d->v[i].tag : "", expected) != 0)
        return err_set(err, ERR_LOCKED, "dashboard %s %s; load it again", id,
                       there ? "was changed by someone else meanwhile" : "was deleted meanwhile");
    if (!there && d->n == DASHBOARDS_MAX)
        return err_set(err, ERR_LIMIT, "there are %d dashboards already; delete one", DASHBOARDS_MAX);
    return OK;
}

int dashboards_put(struct dashboards *d, const char *id, const char *json, size_t n, const char *expected,
                   char tag[DASHBOARD_TAG_SIZE], struct err *err)
{
    struct dashboard b;
    int rc = check_id(id, err);
    if (rc == OK)
        rc = make_entry(id, json, n, &b, err);
    if (rc != OK)
        return rc;
    pthread_mutex_lock(&d->writing);
    rc = may_put(d, id, expected, err);
    if (rc == OK)
        rc = store(d, &b, err);
    if (rc == OK) {
        memcpy(tag, b.tag, DASHBOARD_TAG_SIZE);
        put_entry(d, &b);
    } else {
        release(&b);
    }
    pthread_mutex_unlock(&d->writing);
    return rc;
}

int dashboards_delete(struct dashboards *d, const char *id, struct err *err)
{
    char path[PATH_BYTES];
    bool there;
    pthread_mutex_lock(&d->writing);
    size_t i = place_of(d, id, &there);
    path_of(d, there ? id : "", SUFFIX, path);
    int rc = there ? fs_unlink(d->fs, path, err) : not_there(id, err);
    if (rc == OK) {
        pthread_mutex_lock(&d->mtx);
        release(&d->v[i]);
        memmove(d->v + i, d->v + i + 1, (d->n - i - 1) * sizeof *d->v);
        d->n--;
        pthread_mutex_unlock(&d->mtx);
        rc = fs_sync_dir(d->fs, d->dir, err);
    }
    pthread_mutex_unlock(&d->writing);
    return rc;
}
