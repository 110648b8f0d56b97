#include "backup/snapshots.h"

#include "backup/tree.h"
#include "base/fs.h"
#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct snapshots {
    struct snapshot_source from;
    char dir[PATH_MAX];
    pthread_mutex_t mtx; /* held while one is made or removed */
};

/* True while someone uses it, or may be about to. */
static bool in_use(const char *path, int64_t grace_ms)
{
    char list[PATH_MAX + 32];
    struct stat st;
    snprintf(list, sizeof list, "%s/" SNAPSHOT_LIST, path);
    int fd = open(list, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool used = flock(fd, LOCK_EX | LOCK_NB) < 0;
    if (!used && fstat(fd, &st) == 0)
        used = clock_wall_ms(clock_system()) - (int64_t)st.st_mtim.tv_sec * 1000 < grace_ms;
    close(fd);
    return used;
}

struct sweep {
    struct snapshots *s;
    int64_t grace_ms;
};

static int sweep_one(void *ctx, const char *id)
{
    struct sweep *w = ctx;
    char path[PATH_MAX];
    struct err err = ERR_INIT;
    int rc = tree_join(w->s->dir, id, path, &err);
    if (rc < 0 || in_use(path, w->grace_ms))
        return OK;
    rc = tree_remove(path, &err);
    if (rc == OK)
        log_info("backup", "unused snapshot removed", "path=%s", path);
    else
        log_warn("backup", "unused snapshot not removed", "why=\"%s\"", err.text);
    return OK;
}

static void sweep(struct snapshots *s, int64_t grace_ms)
{
    struct sweep w = {s, grace_ms};
    struct err ignored;
    (void)!fs_list(fs_posix(), s->dir, sweep_one, &w, &ignored);
}

struct snapshots *snapshots_new(const struct snapshot_source *from)
{
    struct snapshots *s = xcalloc(1, sizeof *s);
    char real[PATH_MAX];
    s->from = *from;
    s->from.data_dir = xstrdup(realpath(from->data_dir, real) ? real : from->data_dir);
    snprintf(s->dir, sizeof s->dir, "%.*s/" SNAPSHOTS_DIR, PATH_MAX - 32, s->from.data_dir);
    pthread_mutex_init(&s->mtx, NULL);
    sweep(s, 0);
    return s;
}

void snapshots_free(struct snapshots *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->mtx);
    free((char *)(uintptr_t)s->from.data_dir);
    free(s);
}

/* Under mtx. */
static int take(struct snapshots *s, struct snapshot_info *out, struct err *err)
{
    struct backup_manifest m = {0};
    *out = (struct snapshot_info){.time_ms = clock_wall_ms(s->from.clock)};
    snprintf(out->id, sizeof out->id, "%" PRId64, clock_wall_ms(s->from.clock));
    int rc = tree_make_dir(s->dir, err);
    if (rc == OK)
        rc = tree_join(s->dir, out->id, out->path, err);
    if (rc == OK && access(out->path, F_OK) == 0)
        return err_set(err, ERR_BUSY, "there is a snapshot of this millisecond; try again");
    if (rc == OK)
        rc = snapshot_take(&s->from, out->path, &m, err);
    out->files = m.n;
    out->bytes = backup_manifest_bytes(&m);
    out->time_ms = m.time_ms;
    backup_manifest_release(&m);
    if (rc < 0) {
        struct err ignored;
        (void)!tree_remove(out->path, &ignored);
    }
    return rc;
}

int snapshots_take(struct snapshots *s, struct snapshot_info *out, struct err *err)
{
    if (pthread_mutex_trylock(&s->mtx) != 0)
        return err_set(err, ERR_BUSY, "another snapshot is being made; try again");
    sweep(s, SNAPSHOTS_GRACE_MS);
    int64_t start = clock_mono_ms(s->from.clock);
    int rc = take(s, out, err);
    pthread_mutex_unlock(&s->mtx);
    if (rc == OK)
        log_info("backup", "snapshot made", "id=%s files=%" PRIu64 " bytes=%" PRIu64 " took_ms=%" PRId64,
                 out->id, out->files, out->bytes, clock_mono_ms(s->from.clock) - start);
    else
        log_warn("backup", "snapshot failed", "why=\"%s\"", err->text);
    return rc;
}

int snapshots_drop(struct snapshots *s, const char *id, struct err *err)
{
    char path[PATH_MAX];
    if (!*id || strlen(id) > 20 || strspn(id, "0123456789") != strlen(id))
        return err_set(err, ERR_NOT_FOUND, "there is no snapshot %.40s", id);
    if (pthread_mutex_trylock(&s->mtx) != 0)
        return err_set(err, ERR_BUSY, "a snapshot is being made; try again");
    int rc = tree_join(s->dir, id, path, err);
    if (rc == OK && access(path, F_OK) < 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no snapshot %s", id);
    if (rc == OK)
        rc = tree_remove(path, err);
    KILL_POINT("snapshot.removed");
    pthread_mutex_unlock(&s->mtx);
    return rc;
}

int snapshot_use(const char *path, struct backup_manifest *out, int *fd, struct err *err)
{
    char list[PATH_MAX];
    struct buf text = BUF_INIT;
    *out = (struct backup_manifest){0};
    *fd = -1;
    int rc = tree_join(path, SNAPSHOT_LIST, list, err);
    if (rc < 0)
        return rc;
    *fd = open(list, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "open %s", list);
    if (flock(*fd, LOCK_SH | LOCK_NB) < 0)
        rc = err_set(err, ERR_NOT_FOUND, "%s is being removed", path);
    if (rc == OK)
        rc = tree_read_file(list, SNAPSHOT_LIST_BYTES_MAX, &text, err);
    if (rc == OK)
        rc = backup_manifest_decode(text.data, text.len, out, err);
    buf_release(&text);
    if (rc < 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

static int back_up(const struct snapshot_info *snapshot, const char *dir, unsigned keep,
                   const struct backup_io *io, struct backup_result *out, struct err *err)
{
    char root[PATH_MAX];
    struct backup_manifest m;
    int fd, rc = tree_join(snapshot->path, SNAPSHOT_DATA, root, err);
    if (rc == OK)
        rc = snapshot_use(snapshot->path, &m, &fd, err);
    if (rc < 0)
        return rc;
    rc = backup_to_dir(&(struct backup_source){root, &m}, dir, keep, io, out, err);
    backup_manifest_release(&m);
    close(fd);
    return rc;
}

int snapshots_backup(struct snapshots *s, const char *dir, unsigned keep, const struct backup_io *io,
                     struct backup_result *out, struct err *err)
{
    struct snapshot_info snapshot;
    struct err ignored = ERR_INIT;
    int rc = snapshots_take(s, &snapshot, err);
    if (rc < 0)
        return rc;
    rc = back_up(&snapshot, dir, keep, io, out, err);
    if (snapshots_drop(s, snapshot.id, &ignored) < 0)
        log_warn("backup", "snapshot not removed, the next one does it", "why=\"%s\"", ignored.text);
    return rc;
}
