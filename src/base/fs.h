/* Files behind methods, so that tests can tear, fail and forget writes.
 *
 * Two implementations: fs_posix() here, and the simulated disk of tests/fault/.
 * Paths are plain; all calls are thread-safe on different files; one file is used
 * by one thread at a time except for pread. Methods return 0 or a negative status
 * and fill `err` (with the path); nothing retries a failed sync. */
#ifndef CARAT_BASE_FS_H
#define CARAT_BASE_FS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fs;
struct fs_file;

enum fs_open_flags {
    FS_READ = 1,      /* read only; without it the file is opened for read and write */
    FS_CREATE = 2,    /* create if missing */
    FS_EXCLUSIVE = 4, /* with FS_CREATE: fail if it is there */
    FS_TRUNCATE = 8,
};

/* Called for each entry of a directory, "." and ".." left out; non-zero stops. */
typedef int (*fs_list_fn)(void *ctx, const char *name);

struct fs_ops {
    int (*open)(struct fs *, const char *path, unsigned flags, struct fs_file **out, struct err *);
    int (*rename)(struct fs *, const char *from, const char *to, struct err *);
    int (*unlink)(struct fs *, const char *path, struct err *);
    int (*mkdir)(struct fs *, const char *path, struct err *); /* an existing directory is fine */
    int (*list)(struct fs *, const char *dir, fs_list_fn fn, void *ctx, struct err *);
    int (*sync_dir)(struct fs *, const char *dir, struct err *);
    /* Bytes free for us on the file system that holds `path`. */
    int (*free_bytes)(struct fs *, const char *path, uint64_t *out, struct err *);
};

struct fs_file_ops {
    /* Reads up to n bytes; *got < n only at the end of the file. */
    int (*pread)(struct fs_file *, void *p, size_t n, uint64_t off, size_t *got, struct err *);
    /* Writes all n bytes or fails; after a failure an unknown part may be there. */
    int (*pwrite)(struct fs_file *, const void *p, size_t n, uint64_t off, struct err *);
    /* After OK, all bytes written before are on stable storage. Never call it again after a failure. */
    int (*datasync)(struct fs_file *, struct err *);
    /* Reserves space up to `size` so that later writes neither grow the file nor need metadata. */
    int (*allocate)(struct fs_file *, uint64_t size, struct err *);
    int (*truncate)(struct fs_file *, uint64_t size, struct err *);
    int (*size)(struct fs_file *, uint64_t *out, struct err *);
    void (*close)(struct fs_file *);
};

struct fs {
    const struct fs_ops *ops;
};
struct fs_file {
    const struct fs_file_ops *ops;
};

/* The real file system; never freed. */
struct fs *fs_posix(void);

#define FS_INLINE static inline must_check
FS_INLINE int fs_open(struct fs *f, const char *path, unsigned flags, struct fs_file **out, struct err *e)
{
    return f->ops->open(f, path, flags, out, e);
}
FS_INLINE int fs_rename(struct fs *f, const char *from, const char *to, struct err *e)
{
    return f->ops->rename(f, from, to, e);
}
FS_INLINE int fs_unlink(struct fs *f, const char *path, struct err *e)
{
    return f->ops->unlink(f, path, e);
}
FS_INLINE int fs_mkdir(struct fs *f, const char *path, struct err *e)
{
    return f->ops->mkdir(f, path, e);
}
FS_INLINE int fs_list(struct fs *f, const char *dir, fs_list_fn fn, void *ctx, struct err *e)
{
    return f->ops->list(f, dir, fn, ctx, e);
}
FS_INLINE int fs_sync_dir(struct fs *f, const char *dir, struct err *e)
{
    return f->ops->sync_dir(f, dir, e);
}
FS_INLINE int fs_free_bytes(struct fs *f, const char *path, uint64_t *out, struct err *e)
{
    return f->ops->free_bytes(f, path, out, e);
}
FS_INLINE int fs_pread(struct fs_file *f, void *p, size_t n, uint64_t off, size_t *got, struct err *e)
{
    return f->ops->pread(f, p, n, off, got, e);
}
FS_INLINE int fs_pwrite(struct fs_file *f, const void *p, size_t n, uint64_t off, struct err *e)
{
    return f->ops->pwrite(f, p, n, off, e);
}
FS_INLINE int fs_datasync(struct fs_file *f, struct err *e)
{
    return f->ops->datasync(f, e);
}
FS_INLINE int fs_allocate(struct fs_file *f, uint64_t size, struct err *e)
{
    return f->ops->allocate(f, size, e);
}
FS_INLINE int fs_truncate(struct fs_file *f, uint64_t size, struct err *e)
{
    return f->ops->truncate(f, size, e);
}
FS_INLINE int fs_size(struct fs_file *f, uint64_t *out, struct err *e)
{
    return f->ops->size(f, out, e);
}
static inline void fs_close(struct fs_file *f)
{
    f->ops->close(f);
}
#undef FS_INLINE

#endif
