#include "base/fs.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct posix_file {
    struct fs_file base;
    int fd;
    char path[];
};

static struct posix_file *down(struct fs_file *f)
{
    return container_of(f, struct posix_file, base);
}

static int posix_pread(struct fs_file *f, void *p, size_t n, uint64_t off, size_t *got, struct err *e)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = pread(down(f)->fd, (char *)p + done, n - done, (off_t)(off + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_sys(e, ERR_IO, errno, "read %s at %llu", down(f)->path, (unsigned long long)off);
        if (r == 0)
            break;
        done += (size_t)r;
    }
    *got = done;
    return OK;
}

static int posix_pwrite(struct fs_file *f, const void *p, size_t n, uint64_t off, struct err *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = pwrite(down(f)->fd, (const char *)p + done, n - done, (off_t)(off + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_sys(e, ERR_IO, errno, "write %s at %llu", down(f)->path, (unsigned long long)off);
        done += (size_t)r;
    }
    return OK;
}

static int posix_datasync(struct fs_file *f, struct err *e)
{
    if (fdatasync(down(f)->fd) < 0)
        return err_sys(e, ERR_IO, errno, "fdatasync %s", down(f)->path);
    return OK;
}

static int posix_allocate(struct fs_file *f, uint64_t size, struct err *e)
{
    int rc = posix_fallocate(down(f)->fd, 0, (off_t)size);
    if (rc == EOPNOTSUPP || rc == EINVAL) /* some file systems cannot; a sparse file still works */
        return OK;
    return rc ? err_sys(e, ERR_IO, rc, "allocate %llu bytes for %s", (unsigned long long)size, down(f)->path)
              : OK;
}

static int posix_truncate(struct fs_file *f, uint64_t size, struct err *e)
{
    if (ftruncate(down(f)->fd, (off_t)size) < 0)
        return err_sys(e, ERR_IO, errno, "truncate %s to %llu", down(f)->path, (unsigned long long)size);
    return OK;
}

static int posix_size(struct fs_file *f, uint64_t *out, struct err *e)
{
    struct stat st;
    if (fstat(down(f)->fd, &st) < 0)
        return err_sys(e, ERR_IO, errno, "stat %s", down(f)->path);
    *out = (uint64_t)st.st_size;
    return OK;
}

static void posix_close(struct fs_file *f)
{
    close(down(f)->fd);
    free(down(f));
}

static const struct fs_file_ops posix_file_ops = {
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .datasync = posix_datasync,
    .allocate = posix_allocate,
    .truncate = posix_truncate,
    .size = posix_size,
    .close = posix_close,
};

static int posix_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **out, struct err *e)
{
    (void)fs;
    int how = (flags & FS_READ ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    how |= flags & FS_CREATE ? O_CREAT : 0;
    how |= flags & FS_EXCLUSIVE ? O_EXCL : 0;
    how |= flags & FS_TRUNCATE ? O_TRUNC : 0;
    int fd = open(path, how, 0640);
    if (fd < 0)
        return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "open %s", path);
    size_t n = strlen(path) + 1;
    struct posix_file *f = xmalloc(sizeof *f + n);
    f->base.ops = &posix_file_ops;
    f->fd = fd;
    memcpy(f->path, path, n);
    *out = &f->base;
    return OK;
}

static int posix_rename(struct fs *fs, const char *from, const char *to, struct err *e)
{
    (void)fs;
    if (rename(from, to) < 0)
        return err_sys(e, ERR_IO, errno, "rename %s to %s", from, to);
    return OK;
}

static int posix_unlink(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    if (unlink(path) < 0)
        return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "unlink %s", path);
    return OK;
}

static int posix_mkdir(struct fs *fs, const char *path, struct err *e)
{
    (void)fs;
    if (mkdir(path, 0750) < 0 && errno != EEXIST)
        return err_sys(e, ERR_IO, errno, "create directory %s", path);
    return OK;
}

static int posix_list(struct fs *fs, const char *dir, fs_list_fn fn, void *ctx, struct err *e)
{
    (void)fs;
    DIR *d = opendir(dir);
    if (!d)
        return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "list %s", dir);
    int rc = OK;
    errno = 0;
    for (struct dirent *ent; rc == OK && (ent = readdir(d));)
        if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
            rc = fn(ctx, ent->d_name);
    closedir(d);
    return rc < 0 ? rc : OK;
}

static int posix_sync_dir(struct fs *fs, const char *dir, struct err *e)
{
    (void)fs;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "open directory %s", dir);
    int rc = fsync(fd) < 0 ? err_sys(e, ERR_IO, errno, "fsync directory %s", dir) : OK;
    close(fd);
    return rc;
}

static int posix_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct err *e)
{
    (void)fs;
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return err_sys(e, ERR_IO, errno, "statvfs %s", path);
    *out = (uint64_t)st.f_bavail * st.f_frsize;
    return OK;
}

struct fs *fs_posix(void)
{
    static const struct fs_ops ops = {
        .open = posix_open,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .list = posix_list,
        .sync_dir = posix_sync_dir,
        .free_bytes = posix_free_bytes,
    };
    static struct fs posix = {&ops};
    return &posix;
}
