#include "backup/copy.h"

#include "backup/tree.h"
#include "base/fs.h"
#include "base/mem.h"

#include <stdlib.h>
#include <xxhash.h>

void copy_begin(struct copy *c, const struct backup_io *io, const struct backup_manifest *m)
{
    *c = (struct copy){.io = io, .chunk = xmalloc(COPY_CHUNK_BYTES)};
    if (m) {
        c->at.files_all = m->n;
        c->at.bytes_all = backup_manifest_bytes(m);
    }
}

void copy_end(struct copy *c)
{
    free(c->chunk);
}

int copy_advance(struct copy *c, uint64_t bytes, uint64_t files, struct err *err)
{
    c->at.bytes += bytes;
    c->at.files += files;
    if (c->io && c->io->progress)
        c->io->progress(c->io->ctx, &c->at);
    if (c->io && c->io->cancel && atomic_load(c->io->cancel))
        return err_set(err, ERR_CLOSED, "stopped");
    return OK;
}

static int pump(struct copy *c, struct fs_file *f, const char *path, uint64_t size, copy_sink_fn sink,
                void *ctx, XXH3_state_t *sum, struct err *err)
{
    int rc = OK;
    for (uint64_t off = 0; off < size && rc == OK;) {
        size_t want = size - off < COPY_CHUNK_BYTES ? (size_t)(size - off) : COPY_CHUNK_BYTES, got = 0;
        rc = fs_pread(f, c->chunk, want, off, &got, err);
        if (rc == OK && got < want)
            rc = err_set(err, ERR_CORRUPT, "%s has %llu bytes and should have %llu", path,
                         (unsigned long long)(off + got), (unsigned long long)size);
        if (rc < 0)
            break;
        XXH3_64bits_update(sum, c->chunk, got);
        if (sink)
            rc = sink(ctx, c->chunk, got, err);
        off += got;
        if (rc == OK)
            rc = copy_advance(c, got, 0, err);
    }
    return rc;
}

int copy_out(struct copy *c, const char *path, uint64_t size, copy_sink_fn sink, void *ctx, uint64_t *xxh3,
             struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(fs_posix(), path, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    XXH3_state_t *sum = XXH3_createState();
    XXH3_64bits_reset(sum);
    rc = pump(c, f, path, size, sink, ctx, sum, err);
    *xxh3 = XXH3_64bits_digest(sum);
    XXH3_freeState(sum);
    fs_close(f);
    return rc;
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

int copy_file(struct copy *c, const char *path, uint64_t size, const char *to, uint64_t *xxh3,
              struct err *err)
{
    struct target t = {.off = 0};
    int rc = tree_make_parents(to, err);
    if (rc == OK)
        rc = fs_open(fs_posix(), to, FS_CREATE | FS_TRUNCATE, &t.file, err);
    if (rc < 0)
        return rc;
    rc = copy_out(c, path, size, write_target, &t, xxh3, err);
    if (rc == OK)
        rc = fs_datasync(t.file, err);
    fs_close(t.file);
    return rc;
}

int copy_ends(const char *path, uint64_t size, uint64_t *ends, struct err *err)
{
    uint8_t b[2 * BACKUP_END_BYTES];
    size_t n = size < BACKUP_END_BYTES ? (size_t)size : BACKUP_END_BYTES, head = 0, tail = 0;
    struct fs_file *f;
    int rc = fs_open(fs_posix(), path, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_pread(f, b, n, 0, &head, err);
    if (rc == OK)
        rc = fs_pread(f, b + n, n, size - n, &tail, err);
    fs_close(f);
    if (rc == OK && (head < n || tail < n))
        rc = err_set(err, ERR_CORRUPT, "%s is shorter than %llu bytes", path, (unsigned long long)size);
    *ends = XXH3_64bits(b, head + tail);
    return rc;
}
