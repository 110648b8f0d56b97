#include "backup/store.h"

#include "backup/tree.h"
#include "base/fs.h"
#include "base/killpoint.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MARK_FILE      "BACKUP"
#define MARK_TEXT      "carat backup directory 1\n"
#define LOCK_FILE      "lock"
#define LIST_BYTES_MAX (1u << 30)

static int manifest_path(const struct store *s, uint64_t generation, char *out, struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "manifest-%012" PRIu64 ".json", generation);
    return tree_join(s->dir, name, out, err);
}

int store_path(const struct store *s, uint64_t stored, const char *name, char *out, struct err *err)
{
    char below[BACKUP_PATH_MAX + 64];
    snprintf(below, sizeof below, "files/%012" PRIu64 "%s%s", stored, *name ? "/" : "", name);
    return tree_join(s->dir, below, out, err);
}

static int note_generation(void *ctx, const char *name)
{
    struct store *s = ctx;
    unsigned long long g;
    int used = 0;
    if (sscanf(name, "manifest-%12llu.json%n", &g, &used) != 1 || used != (int)strlen(name) || g == 0)
        return 0;
    s->generations = xrealloc(s->generations, (s->n + 1) * sizeof *s->generations);
    s->generations[s->n++] = g;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int take_lock(struct store *s, bool write, struct err *err)
{
    char path[PATH_MAX];
    int rc = tree_join(s->dir, LOCK_FILE, path, err);
    if (rc < 0)
        return rc;
    s->lock_fd = open(path, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0640);
    if (s->lock_fd < 0 && !write && (errno == EACCES || errno == ENOENT || errno == EROFS))
        return OK; /* a copy on a medium that nobody writes to */
    if (s->lock_fd < 0)
        return err_sys(err, ERR_IO, errno, "open %s", path);
    if (flock(s->lock_fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
        return OK;
    if (errno == EWOULDBLOCK)
        return err_set(err, ERR_LOCKED, "%s is in use by another backup or restore", s->dir);
    return err_sys(err, ERR_IO, errno, "lock %s", path);
}

static int check_mark(struct store *s, bool write, struct err *err)
{
    char path[PATH_MAX], temp[PATH_MAX];
    struct buf text = BUF_INIT;
    int rc = tree_join(s->dir, MARK_FILE, path, err);
    if (rc == OK)
        rc = tree_join(s->dir, MARK_FILE ".tmp", temp, err);
    if (rc < 0)
        return rc;
    rc = tree_read_file(path, 4096, &text, err);
    if (rc == ERR_NOT_FOUND && write)
        unlink(temp); /* of a first backup that was killed as it began: else the directory is not empty */
    if (rc == ERR_NOT_FOUND && write && tree_is_empty(s->dir)) {
        rc = tree_make_parents(path, err);
        if (rc == OK)
            rc = tree_write_file(path, MARK_TEXT, strlen(MARK_TEXT), err);
    } else if (rc == ERR_NOT_FOUND) {
        rc = err_set(err, write ? ERR_INVALID : ERR_NOT_FOUND, "%s is not a backup of carat%s", s->dir,
                     write ? "; choose an empty directory" : "");
    } else if (rc == OK && strcmp(buf_str(&text), MARK_TEXT) != 0) {
        rc = err_set(err, ERR_UNSUPPORTED, "%s was not written by this version of carat", path);
    }
    buf_release(&text);
    return rc;
}

int store_open(struct store *s, const char *dir, bool write, struct err *err)
{
    *s = (struct store){.lock_fd = -1};
    if (snprintf(s->dir, sizeof s->dir, "%s", dir) >= PATH_MAX - 256)
        return err_set(err, ERR_INVALID, "the path of the backup is too long");
    int rc = check_mark(s, write, err);
    if (rc == OK)
        rc = take_lock(s, write, err);
    if (rc == OK)
        rc = fs_list(fs_posix(), s->dir, note_generation, s, err);
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    if (s->n)
        qsort(s->generations, s->n, sizeof *s->generations, by_number);
    return OK;
}

void store_close(struct store *s)
{
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->generations);
    *s = (struct store){.lock_fd = -1};
}

int store_load(const struct store *s, uint64_t generation, struct backup_manifest *out, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    *out = (struct backup_manifest){0};
    if (s->n == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no complete backup in %s", s->dir);
    if (generation == 0)
        generation = s->generations[s->n - 1];
    int rc = manifest_path(s, generation, path, err);
    if (rc == OK)
        rc = tree_read_file(path, LIST_BYTES_MAX, &text, err);
    if (rc == OK) {
        rc = backup_manifest_decode(text.data, text.len, out, err);
        if (rc == OK && out->generation != generation)
            rc = err_set(err, ERR_CORRUPT, "it is that of another generation");
        if (rc < 0)
            err_prefix(err, "%s", path);
    }
    buf_release(&text);
    return rc;
}

int store_commit(struct store *s, const struct backup_manifest *m, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    int rc = tree_sync_dirs(s->dir, err);
    KILL_POINT("backup.files_synced");
    if (rc == OK)
        rc = manifest_path(s, m->generation, path, err);
    if (rc == OK) {
        backup_manifest_encode(m, &text);
        rc = tree_write_file(path, text.data, text.len, err);
        KILL_POINT("backup.committed");
        buf_release(&text);
    }
    if (rc == OK) {
        s->generations = xrealloc(s->generations, (s->n + 1) * sizeof *s->generations);
        s->generations[s->n++] = m->generation;
    }
    return rc;
}

int store_discard(const struct store *s, uint64_t generation, struct err *err)
{
    char path[PATH_MAX];
    int rc = store_path(s, generation, "", path, err);
    return rc == OK ? tree_remove(path, err) : rc;
}

/* --- pruning --- */

struct prune {
    struct store *s;
    struct backup_manifest *kept;
    size_t n;
};

static bool is_named(const struct prune *p, uint64_t stored, const char *name)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct backup_file *f = backup_manifest_find(&p->kept[i], name);
        if (f && f->stored == stored)
            return true;
    }
    return false;
}

/* `name` is "000000000007/warm/000012.sst". */
static int prune_file(void *ctx, const char *name, uint64_t size, struct err *err)
{
    const struct prune *p = ctx;
    char below[PATH_MAX], path[PATH_MAX];
    (void)size;
    char *end;
    unsigned long long stored = strtoull(name, &end, 10);
    if (*end == '/' && is_named(p, stored, end + 1))
        return OK;
    snprintf(below, sizeof below, "files/%s", name);
    int rc = tree_join(p->s->dir, below, path, err);
    if (rc == OK)
        rc = fs_unlink(fs_posix(), path, err);
    KILL_POINT("backup.pruned");
    return rc;
}

static int load_kept(struct prune *p, struct err *err)
{
    int rc = OK;
    p->kept = xcalloc(p->s->n, sizeof *p->kept);
    for (size_t i = 0; i < p->s->n && rc == OK; i++, p->n++)
        rc = store_load(p->s, p->s->generations[i], &p->kept[i], err);
    return rc;
}

static int forget_old(struct store *s, unsigned keep, struct err *err)
{
    size_t n = s->n > keep ? s->n - keep : 0;
    for (size_t i = 0; i < n; i++) {
        char path[PATH_MAX];
        int rc = manifest_path(s, s->generations[i], path, err);
        if (rc == OK)
            rc = fs_unlink(fs_posix(), path, err);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return rc;
        KILL_POINT("backup.forgotten");
    }
    memmove(s->generations, s->generations + n, (s->n - n) * sizeof *s->generations);
    s->n -= n;
    return n ? fs_sync_dir(fs_posix(), s->dir, err) : OK;
}

int store_prune(struct store *s, unsigned keep, struct err *err)
{
    char files[PATH_MAX];
    struct prune p = {.s = s};
    if (s->n == 0)
        return OK;
    int rc = forget_old(s, keep ? keep : 1, err);
    if (rc == OK)
        rc = load_kept(&p, err);
    if (rc == OK)
        rc = tree_join(s->dir, "files", files, err);
    if (rc == OK)
        rc = tree_each(files, prune_file, &p, err);
    if (rc == OK)
        rc = tree_remove_empty(files, err);
    for (size_t i = 0; i < p.n; i++)
        backup_manifest_release(&p.kept[i]);
    free(p.kept);
    return rc == ERR_NOT_FOUND ? OK : rc;
}
