#include "backup/restore.h"

#include "backup/copy.h"
#include "backup/store.h"
#include "backup/tar.h"
#include "backup/tree.h"
#include "base/fs.h"
#include "base/killpoint.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MARK_FILE      "RESTORING" /* an unfinished restore: run it again */
#define LAST_FILE      "FORMAT"    /* without it no server takes the directory */
#define LAST_BYTES_MAX 4096
#define LIST_BYTES_MAX (1u << 30)

struct restore {
    const char *to;
    struct copy copy;
    struct buf last; /* of LAST_FILE */
    bool has_last;
    struct backup_manifest seen; /* tar: what came, with its checksums */
    struct buf list;
};

/* --- the directory it goes to --- */

struct clearing {
    const char *to;
    struct err *err;
};

/* The mark stays: a removal that is killed is begun again too. */
static int clear_one(void *ctx, const char *name)
{
    const struct clearing *c = ctx;
    char path[PATH_MAX];
    if (!strcmp(name, MARK_FILE))
        return OK;
    int rc = tree_join(c->to, name, path, c->err);
    return rc == OK ? tree_remove(path, c->err) : rc;
}

static int clear_unfinished(const char *to, struct err *err)
{
    char mark[PATH_MAX];
    int rc = tree_join(to, MARK_FILE, mark, err);
    if (rc < 0)
        return rc;
    if (access(mark, F_OK) == 0)
        return fs_list(fs_posix(), to, clear_one, &(struct clearing){to, err}, err);
    if (!tree_is_empty(to))
        return err_set(err, ERR_INVALID, "%s is not empty; restore into a new directory", to);
    return OK;
}

/* Empty, and not through another name: whenever there is anything in the directory the mark is. */
static int set_mark(const char *to, const char *mark, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(fs_posix(), mark, FS_CREATE, &f, err);
    if (rc < 0)
        return rc;
    fs_close(f);
    int synced = fs_sync_dir(fs_posix(), to, err);
    KILL_POINT("restore.marked");
    return synced;
}

static int begin(struct restore *r, const char *to, const struct backup_io *io,
                 const struct backup_manifest *m, struct err *err)
{
    char mark[PATH_MAX];
    *r = (struct restore){.to = to};
    copy_begin(&r->copy, io, m);
    int rc = clear_unfinished(to, err);
    if (rc == OK)
        rc = tree_join(to, MARK_FILE, mark, err);
    if (rc == OK)
        rc = tree_make_parents(mark, err);
    return rc == OK ? set_mark(to, mark, err) : rc;
}

static int finish(struct restore *r, struct err *err)
{
    char path[PATH_MAX];
    if (!r->has_last)
        return err_set(err, ERR_CORRUPT,
                       "the backup has no " LAST_FILE ": it is not one of a data directory");
    int rc = tree_sync_dirs(r->to, err);
    KILL_POINT("restore.files_synced");
    if (rc == OK)
        rc = tree_join(r->to, LAST_FILE, path, err);
    if (rc == OK)
        rc = tree_write_file(path, r->last.data, r->last.len, err);
    KILL_POINT("restore.format_written");
    if (rc == OK)
        rc = tree_join(r->to, MARK_FILE, path, err);
    if (rc == OK)
        rc = fs_unlink(fs_posix(), path, err);
    if (rc == ERR_NOT_FOUND) /* a server took it at once, and the mark away */
        rc = OK;
    KILL_POINT("restore.unmarked");
    return rc == OK ? fs_sync_dir(fs_posix(), r->to, err) : rc;
}

static void end(struct restore *r)
{
    copy_end(&r->copy);
    buf_release(&r->last);
    buf_release(&r->list);
    backup_manifest_release(&r->seen);
}

static void fill_result(struct backup_result *out, const struct backup_manifest *m)
{
    *out = (struct backup_result){.generation = m->generation,
                                  .time_ms = m->time_ms,
                                  .files = m->n,
                                  .bytes = backup_manifest_bytes(m),
                                  .copied_files = m->n,
                                  .copied_bytes = backup_manifest_bytes(m)};
}

/* --- from a directory --- */

static int keep_last(void *ctx, const void *bytes, size_t n, struct err *err)
{
    struct restore *r = ctx;
    if (r->last.len + n > LAST_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, LAST_FILE " is too large");
    buf_append(&r->last, bytes, n);
    r->has_last = true;
    return OK;
}

static int restore_one(struct restore *r, const struct store *s, const struct backup_file *f, struct err *err)
{
    char path[PATH_MAX], to[PATH_MAX];
    uint64_t sum = 0;
    int rc = store_path(s, f->stored, f->path, path, err);
    if (rc == OK)
        rc = tree_join(r->to, f->path, to, err);
    if (rc == OK)
        rc = !strcmp(f->path, LAST_FILE) ? copy_out(&r->copy, path, f->size, keep_last, r, &sum, err)
                                         : copy_file(&r->copy, path, f->size, to, &sum, err);
    KILL_POINT("restore.file_copied");
    if (rc == OK && sum != f->xxh3)
        rc = err_set(err, ERR_CORRUPT, "%s is damaged: its checksum does not match", path);
    return rc == OK ? copy_advance(&r->copy, 0, 1, err) : rc;
}

static int restore_all(struct restore *r, const struct store *s, const struct backup_manifest *m,
                       struct err *err)
{
    int rc = OK;
    for (size_t i = 0; i < m->n && rc == OK; i++)
        rc = restore_one(r, s, &m->files[i], err);
    return rc == OK ? finish(r, err) : rc;
}

int restore_from_dir(const char *dir, uint64_t generation, const char *to, const struct backup_io *io,
                     struct backup_result *out, struct err *err)
{
    struct store s;
    struct backup_manifest m = {0};
    int rc = store_open(&s, dir, false, err);
    if (rc < 0)
        return rc;
    rc = store_load(&s, generation, &m, err);
    if (rc == OK) {
        struct restore r;
        rc = begin(&r, to, io, &m, err);
        if (rc == OK)
            rc = restore_all(&r, &s, &m, err);
        end(&r);
        fill_result(out, &m);
    }
    backup_manifest_release(&m);
    store_close(&s);
    return rc;
}

/* --- from a tar stream: the manifest comes last, checksums are compared then --- */

static int read_fd(int fd, void *p, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = read(fd, (char *)p + done, n - done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_sys(err, ERR_IO, errno, "read the tar stream");
        if (r == 0)
            return err_set(err, ERR_CORRUPT, "the tar stream ends early");
        done += (size_t)r;
    }
    return OK;
}

/* Where the bytes of an entry go. */
struct sink {
    copy_sink_fn write;
    void *ctx;
};

static int entry_bytes(struct restore *r, int fd, uint64_t size, const struct sink *to, uint64_t *xxh3,
                       struct err *err)
{
    uint8_t padding[TAR_BLOCK];
    XXH3_state_t *sum = XXH3_createState();
    XXH3_64bits_reset(sum);
    int rc = OK;
    for (uint64_t left = size; left && rc == OK;) {
        size_t n = left < COPY_CHUNK_BYTES ? (size_t)left : COPY_CHUNK_BYTES;
        rc = read_fd(fd, r->copy.chunk, n, err);
        if (rc == OK) {
            XXH3_64bits_update(sum, r->copy.chunk, n);
            rc = to->write(to->ctx, r->copy.chunk, n, err);
        }
        if (rc == OK)
            rc = copy_advance(&r->copy, n, 0, err);
        left -= n;
    }
    *xxh3 = XXH3_64bits_digest(sum);
    XXH3_freeState(sum);
    return rc == OK ? read_fd(fd, padding, (size_t)tar_padding(size), err) : rc;
}

struct target {
    struct fs_file *file;
    uint64_t off;
};

static int write_target(void *ctx, const void *bytes, size_t n, struct err *err)
{
    struct target *t = ctx;
    int rc = fs_pwrite(t->file, bytes, n, t->off, err);
    t->off += n;
    return rc;
}

static int entry_to_file(struct restore *r, int fd, const struct tar_entry *e, uint64_t *xxh3,
                         struct err *err)
{
    char path[PATH_MAX];
    struct target t = {.off = 0};
    int rc = tree_join(r->to, e->name, path, err);
    if (rc == OK)
        rc = tree_make_parents(path, err);
    if (rc == OK)
        rc = fs_open(fs_posix(), path, FS_CREATE | FS_EXCLUSIVE, &t.file, err);
    if (rc < 0)
        return rc;
    rc = entry_bytes(r, fd, e->size, &(struct sink){write_target, &t}, xxh3, err);
    if (rc == OK)
        rc = fs_datasync(t.file, err);
    fs_close(t.file);
    return rc;
}

static int append_list(void *ctx, const void *bytes, size_t n, struct err *err)
{
    buf_append(ctx, bytes, n);
    return OK;
}

static int take_entry(struct restore *r, int fd, const struct tar_entry *e, struct err *err)
{
    uint64_t sum;
    if (e->type != '0' || !backup_path_ok(e->name))
        return err_set(err, ERR_CORRUPT, "the tar stream is not a carat backup: it holds %s", e->name);
    if (!strcmp(e->name, BACKUP_TAR_MANIFEST)) {
        if (r->list.len || e->size > LIST_BYTES_MAX)
            return err_set(err, ERR_CORRUPT, "the tar stream has two manifests or too large a one");
        return entry_bytes(r, fd, e->size, &(struct sink){append_list, &r->list}, &sum, err);
    }
    int rc = !strcmp(e->name, LAST_FILE) && !r->has_last
                 ? entry_bytes(r, fd, e->size, &(struct sink){keep_last, r}, &sum, err)
                 : entry_to_file(r, fd, e, &sum, err);
    KILL_POINT("restore.file_copied");
    if (rc < 0)
        return rc;
    backup_manifest_add(&r->seen, e->name, e->size)->xxh3 = sum;
    return copy_advance(&r->copy, 0, 1, err);
}

static int check_seen(struct restore *r, const struct backup_manifest *m, struct err *err)
{
    backup_manifest_sort(&r->seen);
    if (r->seen.n != m->n)
        return err_set(err, ERR_CORRUPT, "the tar stream has %zu files, its manifest lists %zu", r->seen.n,
                       m->n);
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->files[i].path, r->seen.files[i].path) != 0 ||
            m->files[i].size != r->seen.files[i].size || m->files[i].xxh3 != r->seen.files[i].xxh3)
            return err_set(err, ERR_CORRUPT, "%s in the tar stream is damaged: its checksum does not match",
                           m->files[i].path);
    return OK;
}

static int take_stream(struct restore *r, int fd, struct err *err)
{
    uint8_t block[TAR_BLOCK];
    struct tar_entry e;
    int rc;
    while ((rc = read_fd(fd, block, sizeof block, err)) == OK && (rc = tar_decode(block, &e, err)) == OK)
        if ((rc = take_entry(r, fd, &e, err)) < 0)
            return rc;
    if (rc == 1 && !r->list.len)
        return err_set(err, ERR_CORRUPT, "the tar stream has no manifest at its end");
    return rc == 1 ? OK : rc;
}

int restore_from_tar(int fd, const char *to, const struct backup_io *io, struct backup_result *out,
                     struct err *err)
{
    struct restore r;
    struct backup_manifest m = {0};
    int rc = begin(&r, to, io, NULL, err);
    if (rc == OK)
        rc = take_stream(&r, fd, err);
    if (rc == OK)
        rc = backup_manifest_decode(r.list.data, r.list.len, &m, err);
    if (rc == OK)
        rc = check_seen(&r, &m, err);
    if (rc == OK)
        rc = finish(&r, err);
    fill_result(out, &m);
    backup_manifest_release(&m);
    end(&r);
    return rc;
}
