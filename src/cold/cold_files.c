#include "cold/cold_files.h"

#include "base/killpoint.h"
#include "base/mem.h"
#include "cold/cold_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST      "manifest"
#define MANIFEST_TMP  "manifest.tmp"
#define MANIFEST_MAX  (256u << 20)
#define PACK_SUFFIX   ".pack"
#define PACK_NAME_LEN (16 + sizeof PACK_SUFFIX - 1)

struct cold_files {
    struct cold_store base;
    struct fs *fs;
    char *dir;
};

struct file {
    struct cold_object base;
    struct fs_file *f;
    uint64_t end; /* of what was appended */
};

static const struct cold_store_ops files_ops;

static struct cold_files *files_of(struct cold_store *s)
{
    assert(s->ops == &files_ops);
    return container_of(s, struct cold_files, base);
}

static struct file *file_of(struct cold_object *o)
{
    return container_of(o, struct file, base);
}

static char *path_of(struct cold_files *s, const char *name)
{
    size_t n = strlen(s->dir) + strlen(name) + 2;
    char *path = xmalloc(n);
    snprintf(path, n, "%s/%s", s->dir, name);
    return path;
}

static char *pack_path(struct cold_files *s, uint64_t id)
{
    char name[40];
    snprintf(name, sizeof name, "%016" PRIx64 PACK_SUFFIX, id);
    return path_of(s, name);
}

/* The id a name stands for, or -1. */
static int pack_id(const char *name, uint64_t *id)
{
    if (strlen(name) != PACK_NAME_LEN || strcmp(name + 16, PACK_SUFFIX) != 0 ||
        strspn(name, "0123456789abcdef") != 16)
        return -1;
    *id = strtoull(name, NULL, 16);
    return 0;
}

static int open_file(struct cold_files *s, char *path, unsigned flags, struct file **out, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(s->fs, path, flags, &f, err);
    free(path);
    if (rc < 0)
        return rc;
    *out = xcalloc(1, sizeof **out);
    (*out)->base.store = &s->base;
    (*out)->f = f;
    return OK;
}

/* --- objects --- */

static void files_close(struct cold_object *o)
{
    fs_close(file_of(o)->f);
    free(file_of(o));
}

static int files_create(struct cold_store *store, uint64_t id, struct cold_object **out, struct err *err)
{
    struct cold_files *s = files_of(store);
    struct file *f;
    int rc = open_file(s, pack_path(s, id), FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc == OK)
        *out = &f->base;
    return rc;
}

static int files_append(struct cold_object *o, const void *p, size_t n, struct err *err)
{
    struct file *f = file_of(o);
    int rc = fs_pwrite(f->f, p, n, f->end, err);
    f->end += rc == OK ? n : 0;
    return rc;
}

static int files_finish(struct cold_object *o, struct err *err)
{
    struct cold_files *s = files_of(o->store);
    KILL_POINT("cold.pack_written");
    int rc = fs_datasync(file_of(o)->f, err);
    KILL_POINT("cold.pack_synced");
    rc = rc < 0 ? rc : fs_sync_dir(s->fs, s->dir, err);
    KILL_POINT("cold.pack_named");
    return rc;
}

static int files_open(struct cold_store *store, uint64_t id, struct cold_object **out, uint64_t *size,
                      struct err *err)
{
    struct cold_files *s = files_of(store);
    struct file *f;
    int rc = open_file(s, pack_path(s, id), FS_READ, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_size(f->f, size, err);
    if (rc < 0) {
        files_close(&f->base);
        return rc;
    }
    *out = &f->base;
    return OK;
}

static int files_read(struct cold_object *o, void *p, size_t n, uint64_t off, struct err *err)
{
    size_t got = 0;
    int rc = fs_pread(file_of(o)->f, p, n, off, &got, err);
    if (rc == OK && got != n)
        rc = err_set(err, ERR_CORRUPT, "the file ends before byte %" PRIu64, off + n);
    return rc;
}

static int files_remove(struct cold_store *store, uint64_t id, struct err *err)
{
    struct cold_files *s = files_of(store);
    char *path = pack_path(s, id);
    int rc = fs_unlink(s->fs, path, err);
    KILL_POINT("cold.pack_removed");
    free(path);
    return rc;
}

struct listing {
    struct cold_files *s;
    cold_name_fn fn;
    void *ctx;
    bool tmp;
};

static int list_one(void *ctx, const char *name)
{
    struct listing *l = ctx;
    uint64_t id;
    l->tmp |= !strcmp(name, MANIFEST_TMP);
    return pack_id(name, &id) == 0 ? l->fn(l->ctx, id) : 0;
}

static int files_list(struct cold_store *store, bool clean, cold_name_fn fn, void *ctx, struct err *err)
{
    struct cold_files *s = files_of(store);
    struct listing l = {s, fn, ctx, false};
    int rc = fs_list(s->fs, s->dir, list_one, &l, err);
    if (rc == OK && clean && l.tmp) {
        char *path = path_of(s, MANIFEST_TMP);
        rc = fs_unlink(s->fs, path, err);
        free(path);
    }
    return rc;
}

/* --- manifest --- */

static int files_load(struct cold_store *store, struct buf *out, struct err *err)
{
    struct cold_files *s = files_of(store);
    struct file *f;
    int rc = open_file(s, path_of(s, MANIFEST), FS_READ, &f, err);
    if (rc < 0)
        return rc;
    uint64_t size;
    rc = fs_size(f->f, &size, err);
    if (rc == OK && size > MANIFEST_MAX)
        rc = err_set(err, ERR_CORRUPT, "%s/" MANIFEST " has %" PRIu64 " bytes", s->dir, size);
    if (rc == OK)
        rc = files_read(&f->base, buf_reserve(out, size ? size : 1), size, 0, err);
    if (rc == OK)
        out->len += size;
    files_close(&f->base);
    return rc;
}

static int write_tmp(struct cold_files *s, const char *path, const void *p, size_t n, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(s->fs, path, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_pwrite(f, p, n, 0, err);
    if (rc == OK)
        rc = fs_datasync(f, err);
    fs_close(f);
    return rc;
}

static int files_store(struct cold_store *store, uint64_t generation, const void *p, size_t n, bool *unknown,
                       struct err *err)
{
    struct cold_files *s = files_of(store);
    (void)generation; /* the manifest's bytes tell it */
    char *tmp = path_of(s, MANIFEST_TMP), *path = path_of(s, MANIFEST);
    *unknown = false;
    int rc = write_tmp(s, tmp, p, n, err);
    KILL_POINT("cold.manifest_temp");
    if (rc == OK) {
        *unknown = true; /* from here on a crash may leave the old one or the new one */
        rc = fs_rename(s->fs, tmp, path, err);
        KILL_POINT("cold.manifest_renamed");
        if (rc == OK)
            rc = fs_sync_dir(s->fs, s->dir, err);
        KILL_POINT("cold.manifest_stored");
    }
    free(tmp);
    free(path);
    return rc;
}

static void files_free(struct cold_store *store)
{
    free(files_of(store)->dir);
    free(files_of(store));
}

static const struct cold_store_ops files_ops = {
    .name = "files",
    .create = files_create,
    .append = files_append,
    .finish = files_finish,
    .open = files_open,
    .read = files_read,
    .close = files_close,
    .remove = files_remove,
    .list = files_list,
    .load_manifest = files_load,
    .store_manifest = files_store,
    .free = files_free,
};

/* --- open --- */

static int no_name(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return 0;
}

static int make_dir(struct fs *fs, const char *dir, struct err *err)
{
    struct err ignored;
    if (fs_list(fs, dir, no_name, NULL, &ignored) == OK)
        return OK;
    int rc = fs_mkdir(fs, dir, err);
    const char *slash = strrchr(dir, '/');
    if (rc < 0 || slash == dir)
        return rc;
    char *parent = slash ? xstrndup(dir, (size_t)(slash - dir)) : xstrdup(".");
    rc = fs_sync_dir(fs, parent, err);
    free(parent);
    return rc;
}

int cold_files_open(const struct cold_files_options *o, struct cold **out, struct err *err)
{
    int rc = o->create ? make_dir(o->fs, o->dir, err) : fs_list(o->fs, o->dir, no_name, NULL, err);
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? err_set(err, rc, "there is no cold tier in %s", o->dir) : rc;
    struct cold_files *s = xcalloc(1, sizeof *s);
    s->base.ops = &files_ops;
    s->fs = o->fs;
    s->dir = xstrdup(o->dir);
    rc = cold_open(&s->base, &o->cold, 0, out, err);
    if (rc < 0 && err)
        err_prefix(err, "%s", o->dir);
    return rc;
}
