#include "backup/tree.h"

#include "base/fs.h"
#include "base/killpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_DIRS 16
#define DEPTH_MAX 16

int tree_join(const char *dir, const char *name, char *out, struct err *err)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path %.200s/%.100s is too long", dir, name);
    return OK;
}

struct walk {
    const char *root;
    tree_file_fn file;                                        /* either may be NULL */
    int (*dir)(void *ctx, const char *path, struct err *err); /* after what is in it */
    void *ctx;
    unsigned depth;
};

static int walk_dir(struct walk *w, const char *path, struct err *err);

static int walk_entry(struct walk *w, const char *dir, const char *name, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = tree_join(dir, name, path, err);
    if (rc < 0)
        return rc;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? OK : err_sys(err, ERR_IO, errno, "stat %s", path);
    if (S_ISDIR(st.st_mode))
        return walk_dir(w, path, err);
    if (S_ISREG(st.st_mode) && w->file)
        return w->file(w->ctx, path + strlen(w->root) + 1, (uint64_t)st.st_size, err);
    return OK;
}

static int walk_dir(struct walk *w, const char *path, struct err *err)
{
    if (w->depth == DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "%s: directories are nested too deeply", path);
    DIR *d = opendir(path);
    if (!d)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "list %s", path);
    w->depth++;
    int rc = OK;
    for (struct dirent *e; rc == OK && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            rc = walk_entry(w, path, e->d_name, err);
    closedir(d);
    w->depth--;
    return rc == OK && w->dir ? w->dir(w->ctx, path, err) : rc;
}

int tree_each(const char *dir, tree_file_fn fn, void *ctx, struct err *err)
{
    struct walk w = {.root = dir, .file = fn, .ctx = ctx};
    return walk_dir(&w, dir, err);
}

static int sync_one(void *ctx, const char *path, struct err *err)
{
    (void)ctx;
    return fs_sync_dir(fs_posix(), path, err);
}

int tree_sync_dirs(const char *dir, struct err *err)
{
    struct walk w = {.root = dir, .dir = sync_one};
    return walk_dir(&w, dir, err);
}

int tree_make_dir(const char *path, struct err *err)
{
    return fs_mkdir(fs_posix(), path, err);
}

static int remove_if_empty(void *ctx, const char *path, struct err *err)
{
    if (strcmp(path, ctx) != 0 && rmdir(path) < 0 && errno != ENOTEMPTY && errno != EEXIST)
        return err_sys(err, ERR_IO, errno, "remove %s", path);
    return OK;
}

int tree_remove_empty(const char *dir, struct err *err)
{
    struct walk w = {.root = dir, .dir = remove_if_empty, .ctx = (char *)(uintptr_t)dir};
    return walk_dir(&w, dir, err);
}

int tree_make_parents(const char *path, struct err *err)
{
    char dir[PATH_MAX];
    if (snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir)
        return err_set(err, ERR_INVALID, "the path %.200s... is too long", path);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = tree_make_dir(dir, err);
        if (rc < 0)
            return rc;
        *slash = '/';
    }
    return OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int tree_remove(const char *dir, struct err *err)
{
    if (nftw(dir, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return err_sys(err, ERR_IO, errno, "remove %s", dir);
    return OK;
}

bool tree_is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT;
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, "lost+found");
    closedir(d);
    return empty;
}

int tree_read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
    struct fs_file *f;
    uint64_t size;
    size_t got = 0;
    int rc = fs_open(fs_posix(), path, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_size(f, &size, err);
    if (rc == OK && size > max)
        rc = err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, max);
    if (rc == OK)
        rc = fs_pread(f, buf_reserve(out, (size_t)size + 1), (size_t)size, 0, &got, err);
    out->len += got;
    fs_close(f);
    return rc;
}

static int write_whole(const char *path, const void *bytes, size_t n, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(fs_posix(), path, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_pwrite(f, bytes, n, 0, err);
    if (rc == OK)
        rc = fs_datasync(f, err);
    fs_close(f);
    return rc;
}

int tree_write_file(const char *path, const void *bytes, size_t n, struct err *err)
{
    char tmp[PATH_MAX], dir[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return err_set(err, ERR_INVALID, "the path %.200s... is too long", path);
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    int rc = write_whole(tmp, bytes, n, err);
    KILL_POINT("backup.small_file_temp");
    if (rc == OK)
        rc = fs_rename(fs_posix(), tmp, path, err);
    return rc == OK ? fs_sync_dir(fs_posix(), slash ? dir : ".", err) : rc;
}
