/* The order matters; doc/backup.md proves it: hold the stream (and note its checkpoints), warm, then the
 * other tiers, then the stream's segments, then the names. Each later one is at least as new as the one
 * before, as after a crash of a server that fell behind. */
#include "backup/snapshot.h"

#include "backup/copy.h"
#include "backup/tree.h"
#include "base/fs.h"
#include "base/killpoint.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_BYTES_MAX (64u << 20)
#define TRIES_MAX       50

struct taking {
    const struct snapshot_source *from;
    char data[PATH_MAX]; /* where the files go */
    struct backup_manifest *files;
    struct copy copy;
    /* of the tree being linked */
    const char *tree_from;
    char tree_to[PATH_MAX];
    struct err *err;
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Of this process or machine, or made again by itself. */
static bool is_transient(const char *name)
{
    static const char *const names[] = {"lock", "snapshots", "writer.positions", "lost+found"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(name, names[i]))
            return true;
    return ends_with(name, ".tmp") || ends_with(name, "-shm");
}

/* A hard link, or a copy of the first `size` bytes where there can be none. */
static int link_or_copy(struct taking *t, const char *path, uint64_t size, const char *to, struct err *err)
{
    int rc = tree_make_parents(to, err);
    if (rc < 0)
        return rc;
    if (link(path, to) == 0)
        return OK;
    int why = errno;
    if (why == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is gone", path);
    if (why != EXDEV && why != EPERM && why != EOPNOTSUPP && why != EMLINK)
        return err_sys(err, ERR_IO, why, "link %s to %s", path, to);
    uint64_t sum;
    return copy_file(&t->copy, path, size, to, &sum, err);
}

/* --- stream --- */

static int take_stream_file(void *ctx, const struct stream_file *f)
{
    struct taking *t = ctx;
    char name[PATH_MAX], to[PATH_MAX];
    snprintf(name, sizeof name, "stream/%s", f->name);
    if (!backup_path_ok(name))
        return err_set(t->err, ERR_INVALID, "no backup can hold a file named %s", name);
    int rc = tree_join(t->data, name, to, t->err);
    if (rc == OK)
        rc = tree_make_parents(to, t->err);
    if (rc == OK)
        rc = f->path ? link_or_copy(t, f->path, f->size, to, t->err)
                     : tree_write_file(to, f->bytes, (size_t)f->size, t->err);
    if (rc == OK)
        backup_manifest_add(t->files, name, f->size);
    return rc;
}

/* --- the other directories: files that never change, and perhaps a manifest that is replaced --- */

static int link_one(void *ctx, const char *name, uint64_t size, struct err *err)
{
    struct taking *t = ctx;
    char path[PATH_MAX], to[PATH_MAX];
    int rc =
        ends_with(name, ".tmp") || !strcmp(name, "manifest") ? 1 : tree_join(t->tree_from, name, path, err);
    if (rc == OK)
        rc = tree_join(t->tree_to, name, to, err);
    if (rc == OK)
        rc = link_or_copy(t, path, size, to, err);
    return rc == ERR_NOT_FOUND || rc == 1 ? OK
                                          : rc; /* removed since it was listed: the manifest has moved on */
}

static int same_bytes(const char *a, const char *b, struct err *err)
{
    struct buf x = BUF_INIT, y = BUF_INIT;
    int rc = tree_read_file(a, SMALL_BYTES_MAX, &x, err);
    if (rc == OK)
        rc = tree_read_file(b, SMALL_BYTES_MAX, &y, err);
    if (rc == OK)
        rc = x.len == y.len && !memcmp(x.data, y.data, x.len) ? OK : 1;
    buf_release(&x);
    buf_release(&y);
    return rc;
}

/* 1: it was replaced meanwhile. A link keeps the inode, so its number cannot come again. */
static int same_manifest(const char *now, const char *taken, bool had_one, struct err *err)
{
    struct stat a, b;
    if (stat(now, &a) < 0)
        return had_one;
    if (!had_one || stat(taken, &b) < 0)
        return 1;
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return OK;
    return a.st_dev == b.st_dev ? 1 : same_bytes(now, taken, err);
}

/* 1: again. */
static int link_tree_once(struct taking *t, struct err *err)
{
    char now[PATH_MAX], taken[PATH_MAX];
    struct stat st;
    int rc = tree_remove(t->tree_to, err);
    if (rc == OK)
        rc = tree_make_dir(t->tree_to, err);
    if (rc == OK)
        rc = tree_join(t->tree_from, "manifest", now, err);
    if (rc == OK)
        rc = tree_join(t->tree_to, "manifest", taken, err);
    bool has_manifest = rc == OK && stat(now, &st) == 0;
    if (rc == OK && has_manifest)
        rc = link_or_copy(t, now, (uint64_t)st.st_size, taken, err);
    if (rc == OK)
        rc = tree_each(t->tree_from, link_one, t, err);
    return rc == OK ? same_manifest(now, taken, has_manifest, err) : rc == ERR_NOT_FOUND ? 1 : rc;
}

static int link_tree(struct taking *t, const char *name, struct err *err)
{
    char from[PATH_MAX];
    int rc = tree_join(t->from->data_dir, name, from, err);
    if (rc == OK)
        rc = tree_join(t->data, name, t->tree_to, err);
    t->tree_from = from;
    for (unsigned i = 0; rc == OK && i < TRIES_MAX; i++) {
        rc = link_tree_once(t, err);
        if (rc != 1)
            return rc;
        rc = OK;
    }
    return rc < 0 ? rc : err_set(err, ERR_BUSY, "%s changes too fast to be copied; try again", from);
}

static int take_small_file(struct taking *t, const char *name, struct err *err)
{
    char path[PATH_MAX], to[PATH_MAX];
    struct buf bytes = BUF_INIT;
    int rc = tree_join(t->from->data_dir, name, path, err);
    if (rc == OK)
        rc = tree_join(t->data, name, to, err);
    if (rc == OK)
        rc = tree_read_file(path, SMALL_BYTES_MAX, &bytes, err);
    if (rc == OK)
        rc = tree_write_file(to, bytes.data, bytes.len, err);
    buf_release(&bytes);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static int take_entry(struct taking *t, const char *name, struct err *err)
{
    static const char *const own_way[] = {"stream", "warm", "catalog"};
    char path[PATH_MAX];
    struct stat st;
    for (size_t i = 0; i < ARRAY_LEN(own_way); i++)
        if (!strcmp(name, own_way[i]))
            return OK;
    if (is_transient(name))
        return OK;
    int rc = tree_join(t->from->data_dir, name, path, err);
    if (rc < 0 || stat(path, &st) < 0)
        return rc; /* removed since it was listed */
    return S_ISDIR(st.st_mode)   ? link_tree(t, name, err)
           : S_ISREG(st.st_mode) ? take_small_file(t, name, err)
                                 : OK;
}

static int take_others(struct taking *t, struct err *err)
{
    DIR *d = opendir(t->from->data_dir);
    int rc = d ? OK : err_sys(err, ERR_IO, errno, "list %s", t->from->data_dir);
    for (struct dirent *e; rc == OK && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            rc = take_entry(t, e->d_name, err);
    if (d)
        closedir(d);
    return rc;
}

/* --- all of it --- */

static int take_catalog(struct taking *t, struct err *err)
{
    char path[PATH_MAX];
    int rc = tree_join(t->data, "catalog/catalog.db", path, err);
    if (rc == OK)
        rc = tree_make_parents(path, err);
    return rc == OK ? catalog_copy(t->from->catalog, path, err) : rc;
}

/* The catalog first: what it says is deleted then comes from records that are in the copied stream, too, and
 * what it no longer remembers was taken out of the tiers before they are copied. */
static int take_held(struct taking *t, const struct stream_hold *hold, struct err *err)
{
    char warm[PATH_MAX];
    KILL_POINT("snapshot.begun");
    int rc = take_catalog(t, err);
    KILL_POINT("snapshot.catalog");
    if (rc == OK)
        rc = tree_join(t->data, "warm", warm, err);
    if (rc == OK)
        rc = warm_snapshot(t->from->warm, warm, err);
    KILL_POINT("snapshot.warm");
    if (rc == OK)
        rc = take_others(t, err);
    KILL_POINT("snapshot.others");
    if (rc == OK)
        rc = stream_files(t->from->stream, hold, take_stream_file, t, err);
    KILL_POINT("snapshot.stream");
    return rc;
}

static int list_file(void *ctx, const char *name, uint64_t size, struct err *err)
{
    struct backup_manifest *m = ctx;
    if (!strncmp(name, "stream/", 7)) /* listed with their true sizes already */
        return OK;
    if (!backup_path_ok(name))
        return err_set(err, ERR_INVALID, "no backup can hold a file named %s", name);
    backup_manifest_add(m, name, size);
    return OK;
}

static int write_list(const char *dir, struct backup_manifest *m, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    backup_manifest_sort(m);
    backup_manifest_encode(m, &text);
    int rc = tree_join(dir, SNAPSHOT_LIST, path, err);
    if (rc == OK)
        rc = tree_write_file(path, text.data, text.len, err);
    buf_release(&text);
    return rc;
}

int snapshot_take(const struct snapshot_source *from, const char *dir, struct backup_manifest *out,
                  struct err *err)
{
    *out = (struct backup_manifest){.time_ms = clock_wall_ms(from->clock)};
    struct taking t = {.from = from, .files = out, .err = err};
    if (mkdir(dir, 0750) < 0)
        return err_sys(err, ERR_IO, errno, "create %s", dir);
    int rc = tree_join(dir, SNAPSHOT_DATA, t.data, err);
    if (rc == OK)
        rc = tree_make_dir(t.data, err);
    if (rc < 0)
        return rc;
    struct stream_hold hold;
    copy_begin(&t.copy, NULL, NULL);
    if (from->hold)
        from->hold(from->hold_ctx);
    stream_hold(from->stream, &hold);
    rc = take_held(&t, &hold, err);
    stream_release(from->stream);
    if (from->release)
        from->release(from->hold_ctx);
    copy_end(&t.copy);
    if (rc == OK)
        rc = tree_each(t.data, list_file, out, err);
    if (rc == OK)
        rc = write_list(dir, out, err);
    KILL_POINT("snapshot.listed");
    return rc;
}

/* --- without a server --- */

static int list_idle(void *ctx, const char *name, uint64_t size, struct err *err)
{
    char first[NAME_MAX + 1];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(name, "/"), name);
    if (is_transient(first) || is_transient(name) || !strncmp(name, "stream/quarantine/", 18) ||
        !strcmp(name, "warm/LOCK") || !strncmp(name, "warm/LOG", 8))
        return OK;
    if (!backup_path_ok(name))
        return err_set(err, ERR_INVALID, "no backup can hold a file named %s", name);
    backup_manifest_add(ctx, name, size);
    return OK;
}

int snapshot_of_idle(const char *data_dir, struct clock *clock, struct backup_manifest *out, struct err *err)
{
    *out = (struct backup_manifest){.time_ms = clock_wall_ms(clock)};
    int rc = tree_each(data_dir, list_idle, out, err);
    backup_manifest_sort(out);
    return rc;
}
