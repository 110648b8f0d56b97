#include "backup/backup.h"

#include "base/killpoint.h"
#include "base/mem.h"

#include "backup/copy.h"
#include "backup/store.h"
#include "backup/tar.h"
#include "backup/tree.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fill_result(struct backup_result *out, const struct backup_manifest *m)
{
    out->generation = m->generation;
    out->time_ms = m->time_ms;
    out->files = m->n;
    out->bytes = backup_manifest_bytes(m);
}

/* --- into a directory --- */

struct run {
    const struct backup_source *from;
    struct store store;
    struct backup_manifest before, made; /* the newest generation there, the new one */
    struct copy copy;
    struct backup_result *result;
};

/* True if `f` is stored already; then *there says where. Files that may change under their name are compared
 * by the checksum of all their bytes, those that cannot by their ends. */
static int is_stored(struct run *r, const char *path, struct backup_file *f, bool *stored, struct err *err)
{
    const struct backup_file *old = backup_manifest_find(&r->before, f->path);
    char there[PATH_MAX];
    struct stat st;
    *stored = false;
    if (!old || old->size != f->size || old->ends != f->ends)
        return OK;
    int rc = store_path(&r->store, old->stored, f->path, there, err);
    if (rc < 0 || stat(there, &st) < 0 || (uint64_t)st.st_size != f->size)
        return rc;
    if (!backup_path_immutable(f->path)) {
        rc = copy_out(&r->copy, path, f->size, NULL, NULL, &f->xxh3, err);
        r->copy.at.bytes -= f->size; /* read, but not yet done with */
        if (rc < 0 || f->xxh3 != old->xxh3)
            return rc;
    }
    f->xxh3 = old->xxh3;
    f->stored = old->stored;
    *stored = true;
    return OK;
}

static int copy_one(struct run *r, const struct backup_file *source, struct err *err)
{
    char path[PATH_MAX], to[PATH_MAX];
    struct backup_file *f = backup_manifest_add(&r->made, source->path, source->size);
    bool stored = false;
    int rc = tree_join(r->from->root, f->path, path, err);
    if (rc == OK)
        rc = copy_ends(path, f->size, &f->ends, err);
    if (rc == OK)
        rc = is_stored(r, path, f, &stored, err);
    if (rc < 0 || stored)
        return rc < 0 ? rc : copy_advance(&r->copy, f->size, 1, err);
    f->stored = r->made.generation;
    rc = store_path(&r->store, f->stored, f->path, to, err);
    if (rc == OK)
        rc = copy_file(&r->copy, path, f->size, to, &f->xxh3, err);
    if (rc < 0)
        return rc;
    KILL_POINT("backup.file_copied");
    r->result->copied_files++;
    r->result->copied_bytes += f->size;
    return copy_advance(&r->copy, 0, 1, err);
}

/* The newest manifest, if there is one that can be read; without it everything is copied. */
static int load_before(struct run *r, struct err *err)
{
    struct err ignored = ERR_INIT;
    uint64_t newest = r->store.n ? r->store.generations[r->store.n - 1] : 0;
    int rc = newest ? store_load(&r->store, 0, &r->before, &ignored) : OK;
    if (rc < 0) {
        backup_manifest_release(&r->before);
        if (rc != ERR_CORRUPT && rc != ERR_NOT_FOUND)
            return err_set(err, rc, "%s", ignored.text);
    }
    r->made.generation = newest + 1;
    r->made.time_ms = r->from->files->time_ms;
    return store_discard(&r->store, r->made.generation, err);
}

static int copy_all(struct run *r, struct err *err)
{
    const struct backup_manifest *m = r->from->files;
    int rc = load_before(r, err);
    for (size_t i = 0; i < m->n && rc == OK; i++)
        rc = copy_one(r, &m->files[i], err);
    if (rc == OK) {
        backup_manifest_sort(&r->made);
        rc = store_commit(&r->store, &r->made, err);
    }
    if (rc < 0 && r->made.generation) {
        struct err ignored;
        (void)!store_discard(&r->store, r->made.generation, &ignored);
    }
    return rc;
}

int backup_to_dir(const struct backup_source *from, const char *dir, unsigned keep,
                  const struct backup_io *io, struct backup_result *out, struct err *err)
{
    struct run r = {.from = from, .result = out};
    *out = (struct backup_result){0};
    int rc = store_open(&r.store, dir, true, err);
    if (rc < 0)
        return rc;
    KILL_POINT("backup.opened");
    copy_begin(&r.copy, io, from->files);
    rc = copy_all(&r, err);
    if (rc == OK) {
        fill_result(out, &r.made);
        rc = store_prune(&r.store, keep, err);
        if (rc < 0)
            err_prefix(err, "the backup is complete, but what is not needed any more could not be removed");
    }
    copy_end(&r.copy);
    backup_manifest_release(&r.before);
    backup_manifest_release(&r.made);
    store_close(&r.store);
    return rc;
}

int backup_refuse_inside(const char *data_dir, const char *to, struct err *err)
{
    char data[PATH_MAX], dir[PATH_MAX];
    if (!realpath(data_dir, data))
        return OK;
    const char *slash = strrchr(to, '/');
    char *parent = slash ? xstrndup(to, slash == to ? 1 : (size_t)(slash - to)) : xstrdup(".");
    bool known = realpath(to, dir) || realpath(parent, dir);
    size_t n = strlen(data);
    free(parent);
    if (known && !strncmp(dir, data, n) && (dir[n] == '/' || dir[n] == '\0'))
        return err_set(err, ERR_INVALID, "%.200s is inside the data directory; choose a place elsewhere", to);
    return OK;
}

int backup_newest(const char *dir, int64_t *time_ms, struct err *err)
{
    struct store s;
    struct backup_manifest m = {0};
    struct stat st;
    if (stat(dir, &st) < 0 || tree_is_empty(dir))
        return err_set(err, ERR_NOT_FOUND, "there is no backup in %s", dir);
    int rc = store_open(&s, dir, false, err);
    if (rc < 0)
        return rc;
    rc = store_load(&s, 0, &m, err);
    *time_ms = m.time_ms;
    backup_manifest_release(&m);
    store_close(&s);
    return rc;
}

/* --- as a tar stream --- */

static int write_fd(void *ctx, const void *bytes, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = write(*(int *)ctx, (const char *)bytes + done, n - done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_sys(err, ERR_IO, errno, "write the tar stream");
        done += (size_t)w;
    }
    return OK;
}

static int tar_begin(int fd, const char *name, uint64_t size, int64_t time_ms, struct err *err)
{
    uint8_t block[TAR_BLOCK];
    struct tar_entry e = {.size = size, .mtime_s = time_ms / 1000, .type = '0'};
    snprintf(e.name, sizeof e.name, "%s", name);
    tar_encode(block, &e);
    return write_fd(&fd, block, sizeof block, err);
}

static int tar_finish(int fd, uint64_t size, struct err *err)
{
    static const uint8_t zeros[TAR_BLOCK];
    return write_fd(&fd, zeros, (size_t)tar_padding(size), err);
}

static int tar_file(struct copy *c, const char *root, struct backup_file *f, int64_t time_ms, int fd,
                    struct err *err)
{
    char path[PATH_MAX];
    int rc = tree_join(root, f->path, path, err);
    if (rc == OK)
        rc = copy_ends(path, f->size, &f->ends, err);
    if (rc == OK)
        rc = tar_begin(fd, f->path, f->size, time_ms, err);
    if (rc == OK)
        rc = copy_out(c, path, f->size, write_fd, &fd, &f->xxh3, err);
    if (rc == OK)
        rc = tar_finish(fd, f->size, err);
    return rc == OK ? copy_advance(c, 0, 1, err) : rc;
}

static int tar_manifest(const struct backup_manifest *m, int fd, struct err *err)
{
    static const uint8_t end[2 * TAR_BLOCK];
    struct buf text = BUF_INIT;
    backup_manifest_encode(m, &text);
    int rc = tar_begin(fd, BACKUP_TAR_MANIFEST, text.len, m->time_ms, err);
    if (rc == OK)
        rc = write_fd(&fd, text.data, text.len, err);
    if (rc == OK)
        rc = tar_finish(fd, text.len, err);
    buf_release(&text);
    return rc == OK ? write_fd(&fd, end, sizeof end, err) : rc;
}

int backup_to_tar(const struct backup_source *from, int fd, const struct backup_io *io,
                  struct backup_result *out, struct err *err)
{
    struct backup_manifest made = {.generation = 1, .time_ms = from->files->time_ms};
    struct copy c;
    int rc = OK;
    *out = (struct backup_result){0};
    copy_begin(&c, io, from->files);
    for (size_t i = 0; i < from->files->n && rc == OK; i++) {
        const struct backup_file *f = &from->files->files[i];
        rc = tar_file(&c, from->root, backup_manifest_add(&made, f->path, f->size), made.time_ms, fd, err);
    }
    for (size_t i = 0; i < made.n; i++)
        made.files[i].stored = 1;
    if (rc == OK)
        rc = tar_manifest(&made, fd, err);
    fill_result(out, &made);
    out->copied_files = c.at.files;
    out->copied_bytes = c.at.bytes;
    copy_end(&c);
    backup_manifest_release(&made);
    return rc;
}

/* --- checking --- */

static int verify_one(struct copy *c, const struct store *s, const struct backup_file *f, struct err *err)
{
    char path[PATH_MAX];
    uint64_t sum;
    int rc = store_path(s, f->stored, f->path, path, err);
    if (rc == OK)
        rc = copy_out(c, path, f->size, NULL, NULL, &sum, err);
    if (rc == OK && sum != f->xxh3)
        rc = err_set(err, ERR_CORRUPT, "%s is damaged: its checksum does not match", path);
    return rc == OK ? copy_advance(c, 0, 1, err) : rc;
}

int backup_verify(const char *dir, uint64_t generation, const struct backup_io *io, struct backup_result *out,
                  struct err *err)
{
    struct store s;
    struct backup_manifest m = {0};
    *out = (struct backup_result){0};
    int rc = store_open(&s, dir, false, err);
    if (rc < 0)
        return rc;
    rc = store_load(&s, generation, &m, err);
    if (rc == OK) {
        struct copy c;
        copy_begin(&c, io, &m);
        fill_result(out, &m);
        for (size_t i = 0; i < m.n && rc == OK; i++)
            rc = verify_one(&c, &s, &m.files[i], err);
        copy_end(&c);
    }
    backup_manifest_release(&m);
    store_close(&s);
    return rc;
}
