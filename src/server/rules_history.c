#include "server/rules_history.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/killpoint.h"
#include "base/mem.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC      "CARATRET"
#define VERSION    1
#define HEAD_BYTES 16
#define ROW_BYTES  28 /* of an entry, without its text */
#define FILE_MAX   (HEAD_BYTES + (uint64_t)RULES_HISTORY_MAX * (ROW_BYTES + RULES_TEXT_MAX) + 4)

const char *rules_state_name(enum rules_state s)
{
    static const char *const names[RULES_STATES] = {"not applied", "being built", "being cleaned up",
                                                    "applied", "given up"};
    return names[s];
}

void rules_history_release(struct rules_history *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->v[i].text);
    free(h->v);
    *h = (struct rules_history){0};
}

void rules_history_add(struct rules_history *h, const char *text, uint32_t after_series,
                       enum rules_state state)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 8;
        h->v = xrealloc(h->v, h->cap * sizeof *h->v);
    }
    h->v[h->n++] = (struct rules_entry){
        .state = state, .text = text ? xstrdup(text) : NULL, .after_series = after_series};
}

void rules_history_encode(const struct rules_history *h, struct buf *out)
{
    size_t begin = out->len;
    uint8_t b[ROW_BYTES];
    memcpy(b, MAGIC, 8);
    put_u32le(b + 8, VERSION);
    put_u32le(b + 12, (uint32_t)h->n);
    buf_append(out, b, HEAD_BYTES);
    for (size_t i = 0; i < h->n; i++) {
        const struct rules_entry *e = &h->v[i];
        size_t len = e->text ? strlen(e->text) : 0;
        b[0] = (uint8_t)e->state;
        b[1] = e->text != NULL;
        b[2] = b[3] = 0;
        put_u32le(b + 4, e->after_series);
        put_u64le(b + 8, (uint64_t)e->decided_ms);
        put_u64le(b + 16, (uint64_t)e->from_ms);
        put_u32le(b + 24, (uint32_t)len);
        buf_append(out, b, ROW_BYTES);
        buf_append(out, e->text, len);
    }
    put_u32le(b, crc32c(0, out->data + begin, out->len - begin));
    buf_append(out, b, 4);
}

/* One entry at *at; false: it cannot be one. */
static bool decode_entry(const uint8_t *p, size_t n, size_t *at, struct rules_history *h)
{
    if (n - *at < ROW_BYTES)
        return false;
    const uint8_t *b = p + *at;
    size_t len = get_u32le(b + 24);
    uint32_t after = get_u32le(b + 4), before = h->n ? h->v[h->n - 1].after_series : 0;
    if (b[0] >= RULES_STATES || b[1] > 1 || b[2] || b[3] || len > RULES_TEXT_MAX ||
        len > n - *at - ROW_BYTES || (!b[1] && len) || memchr(b + ROW_BYTES, '\0', len) || after < before ||
        (!h->n && after))
        return false;
    char *text = b[1] ? xstrndup((const char *)b + ROW_BYTES, len) : NULL;
    rules_history_add(h, text, after, (enum rules_state)b[0]);
    free(text);
    h->v[h->n - 1].decided_ms = (int64_t)get_u64le(b + 8);
    h->v[h->n - 1].from_ms = (int64_t)get_u64le(b + 16);
    *at += ROW_BYTES + len;
    return h->v[h->n - 1].decided_ms >= 0 && h->v[h->n - 1].from_ms >= 0 &&
           h->v[h->n - 1].from_ms < INT64_MAX / 8 && h->v[h->n - 1].decided_ms < INT64_MAX / 8;
}

int rules_history_decode(const uint8_t *p, size_t n, struct rules_history *out, struct err *err)
{
    *out = (struct rules_history){0};
    if (n < HEAD_BYTES + 4 || memcmp(p, MAGIC, 8) || get_u32le(p + n - 4) != crc32c(0, p, n - 4))
        return err_set(err, ERR_CORRUPT, "the history of retention rules is damaged");
    if (get_u32le(p + 8) != VERSION)
        return err_set(err, ERR_UNSUPPORTED, "the history of retention rules is of a newer version of Carat");
    uint32_t entries = get_u32le(p + 12);
    size_t at = HEAD_BYTES;
    bool good = entries > 0 && entries <= RULES_HISTORY_MAX;
    for (uint32_t i = 0; i < entries && good; i++)
        good = decode_entry(p, n - 4, &at, out);
    if (good && at == n - 4)
        return OK;
    rules_history_release(out);
    return err_set(err, ERR_CORRUPT, "the history of retention rules is damaged");
}

static int sync_parent(struct fs *fs, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
    int rc = fs_sync_dir(fs, dir, err);
    free(dir);
    return rc;
}

int rules_history_store(const struct rules_history *h, struct fs *fs, const char *path, struct err *err)
{
    struct buf b = BUF_INIT;
    struct fs_file *f;
    char tmp[PATH_MAX];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    rules_history_encode(h, &b);
    int rc = fs_open(fs, tmp, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc == OK) {
        rc = fs_pwrite(f, b.data, b.len, 0, err);
        if (rc == OK)
            rc = fs_datasync(f, err);
        fs_close(f);
    }
    KILL_POINT("history.temp");
    if (rc == OK)
        rc = fs_rename(fs, tmp, path, err);
    KILL_POINT("history.renamed");
    buf_release(&b);
    return rc == OK ? sync_parent(fs, path, err) : rc;
}

int rules_history_load(struct fs *fs, const char *path, struct rules_history *out, struct err *err)
{
    struct fs_file *f;
    uint64_t size = 0;
    size_t got = 0;
    *out = (struct rules_history){0};
    int rc = fs_open(fs, path, FS_READ, &f, err);
    if (rc != OK)
        return rc;
    rc = fs_size(f, &size, err);
    uint8_t *p = rc == OK && size <= FILE_MAX ? xmalloc(size + 1) : NULL;
    if (p)
        rc = fs_pread(f, p, size, 0, &got, err);
    fs_close(f);
    if (rc == OK)
        rc = rules_history_decode(p, p ? got : 0, out, err);
    if (rc < 0 && err)
        err_prefix(err, "%s", path);
    free(p);
    return rc;
}
