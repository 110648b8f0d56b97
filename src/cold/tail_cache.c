/* A file for each pack, "<id, 16 hex digits>.tail":
 *
 *   "CARATTL1", u64 bytes of the pack, u32 bytes of the tail, u32 CRC-32C of id, those 20 bytes and the tail;
 * the tail
 *
 * Written under another name and renamed; never synced. */
#include "cold/tail_cache.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC             "CARATTL1"
#define HEAD_BYTES        24
#define TAIL_MAX          (64u << 20)
#define MAX_BYTES_DEFAULT (256u << 20)
#define SUFFIX            ".tail"
#define TMP               "new.tmp"

struct entry {
    uint64_t id, bytes, used;
};

struct tail_cache {
    struct fs *fs;
    char *dir;
    uint64_t max_bytes;
    pthread_mutex_t mtx;
    /* under mtx */
    struct entry *v;
    size_t n, cap;
    uint64_t bytes, clock;
    struct log_limit log;
};

static char *path_of(const struct tail_cache *c, const char *name)
{
    size_t n = strlen(c->dir) + strlen(name) + 2;
    char *path = xmalloc(n);
    snprintf(path, n, "%s/%s", c->dir, name);
    return path;
}

static char *tail_path(const struct tail_cache *c, uint64_t id)
{
    char name[40];
    snprintf(name, sizeof name, "%016" PRIx64 SUFFIX, id);
    return path_of(c, name);
}

/* --- under mtx --- */

static struct entry *find(struct tail_cache *c, uint64_t id)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].id == id)
            return &c->v[i];
    return NULL;
}

static void note(struct tail_cache *c, uint64_t id, uint64_t bytes)
{
    struct entry *e = find(c, id);
    if (!e) {
        if (c->n == c->cap) {
            c->cap = c->cap ? 2 * c->cap : 64;
            c->v = xrealloc(c->v, c->cap * sizeof *c->v);
        }
        e = &c->v[c->n++];
        *e = (struct entry){.id = id};
    }
    c->bytes += bytes - e->bytes;
    e->bytes = bytes;
    e->used = ++c->clock;
}

static void forget(struct tail_cache *c, struct entry *e)
{
    char *path = tail_path(c, e->id);
    (void)!fs_unlink(c->fs, path, NULL);
    free(path);
    c->bytes -= e->bytes;
    *e = c->v[--c->n];
}

static void make_room(struct tail_cache *c)
{
    while (c->bytes > c->max_bytes && c->n) {
        struct entry *oldest = &c->v[0];
        for (size_t i = 1; i < c->n; i++)
            oldest = c->v[i].used < oldest->used ? &c->v[i] : oldest;
        forget(c, oldest);
    }
}

/* --- files --- */

static uint32_t crc_of(uint64_t id, const uint8_t head[HEAD_BYTES], const void *tail, size_t n)
{
    uint8_t k[8];
    put_u64le(k, id);
    return crc32c(crc32c(crc32c(0, k, sizeof k), head, HEAD_BYTES - 4), tail, n);
}

static int write_file(struct tail_cache *c, uint64_t id, const void *tail, size_t n, uint64_t pack_bytes,
                      struct err *err)
{
    uint8_t head[HEAD_BYTES];
    memcpy(head, MAGIC, 8);
    put_u64le(head + 8, pack_bytes);
    put_u32le(head + 16, (uint32_t)n);
    put_u32le(head + 20, crc_of(id, head, tail, n));
    char *tmp = path_of(c, TMP), *path = tail_path(c, id);
    struct fs_file *f;
    int rc = fs_open(c->fs, tmp, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc == OK) {
        rc = fs_pwrite(f, head, sizeof head, 0, err);
        if (rc == OK)
            rc = fs_pwrite(f, tail, n, sizeof head, err);
        fs_close(f);
    }
    if (rc == OK)
        rc = fs_rename(c->fs, tmp, path, err);
    free(tmp);
    free(path);
    return rc;
}

static bool read_file(struct tail_cache *c, uint64_t id, struct buf *tail, uint64_t *pack_bytes)
{
    uint8_t head[HEAD_BYTES];
    char *path = tail_path(c, id);
    struct fs_file *f;
    size_t got;
    int rc = fs_open(c->fs, path, FS_READ, &f, NULL);
    free(path);
    if (rc < 0)
        return false;
    bool good = fs_pread(f, head, sizeof head, 0, &got, NULL) == OK && got == sizeof head &&
                !memcmp(head, MAGIC, 8) && get_u32le(head + 16) <= TAIL_MAX;
    size_t n = good ? get_u32le(head + 16) : 0;
    good = good && fs_pread(f, buf_reserve(tail, n ? n : 1), n, sizeof head, &got, NULL) == OK && got == n &&
           crc_of(id, head, tail->data + tail->len, n) == get_u32le(head + 20);
    fs_close(f);
    if (!good)
        return false;
    tail->len += n;
    *pack_bytes = get_u64le(head + 8);
    return true;
}

/* --- for users --- */

static int take_name(void *ctx, const char *name)
{
    struct tail_cache *c = ctx;
    if (strlen(name) == 16 + strlen(SUFFIX) && !strcmp(name + 16, SUFFIX) &&
        strspn(name, "0123456789abcdef") == 16)
        note(c, strtoull(name, NULL, 16), 0);
    return 0;
}

static void measure(struct tail_cache *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct fs_file *f;
        uint64_t size = 0;
        char *path = tail_path(c, c->v[i].id);
        if (fs_open(c->fs, path, FS_READ, &f, NULL) == OK) {
            (void)!fs_size(f, &size, NULL);
            fs_close(f);
        }
        free(path);
        c->v[i].bytes = size;
        c->bytes += size;
    }
}

int tail_cache_open(const struct tail_cache_options *o, struct tail_cache **out, struct err *err)
{
    struct tail_cache *c = xcalloc(1, sizeof *c);
    c->fs = o->fs;
    c->dir = xstrdup(o->dir);
    c->max_bytes = o->max_bytes ? o->max_bytes : MAX_BYTES_DEFAULT;
    pthread_mutex_init(&c->mtx, NULL);
    int rc = fs_mkdir(c->fs, c->dir, err);
    if (rc == OK)
        rc = fs_list(c->fs, c->dir, take_name, c, err);
    if (rc < 0) {
        tail_cache_free(c);
        return rc;
    }
    measure(c);
    make_room(c);
    *out = c;
    return OK;
}

void tail_cache_free(struct tail_cache *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->mtx);
    free(c->v);
    free(c->dir);
    free(c);
}

bool tail_cache_get(struct tail_cache *c, uint64_t id, struct buf *tail, uint64_t *pack_bytes)
{
    pthread_mutex_lock(&c->mtx);
    struct entry *e = find(c, id);
    bool good = e && read_file(c, id, tail, pack_bytes);
    if (good)
        e->used = ++c->clock;
    else if (e)
        forget(c, e);
    pthread_mutex_unlock(&c->mtx);
    return good;
}

void tail_cache_put(struct tail_cache *c, uint64_t id, const void *tail, size_t n, uint64_t pack_bytes)
{
    struct err err = ERR_INIT;
    if (n > TAIL_MAX || HEAD_BYTES + n > c->max_bytes)
        return;
    pthread_mutex_lock(&c->mtx);
    if (write_file(c, id, tail, n, pack_bytes, &err) == OK) {
        note(c, id, HEAD_BYTES + n);
        make_room(c);
    } else if (log_allowed(&c->log, NULL)) {
        log_warn("cold", "footer not kept on the local disk", "why=\"%s\"", err.text);
    }
    pthread_mutex_unlock(&c->mtx);
}

void tail_cache_drop(struct tail_cache *c, uint64_t id)
{
    pthread_mutex_lock(&c->mtx);
    struct entry *e = find(c, id);
    if (e)
        forget(c, e);
    pthread_mutex_unlock(&c->mtx);
}

uint64_t tail_cache_bytes(struct tail_cache *c)
{
    pthread_mutex_lock(&c->mtx);
    uint64_t bytes = c->bytes;
    pthread_mutex_unlock(&c->mtx);
    return bytes;
}
