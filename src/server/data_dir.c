#include "server/data_dir.h"

#include "base/fs.h"
#include "base/killpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT_FILE  "FORMAT"
#define FORMAT_TEMP  "FORMAT.tmp"
#define FORMAT_TEXT  "carat data 1\n"
#define LOCK_FILE    "lock"
#define RESTORE_MARK "RESTORING" /* src/backup/restore.c */

const char *data_dir_path(const struct data_dir *d, const char *name, char *out)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", d->path, name);
    if (n >= PATH_MAX)
        out[PATH_MAX - 1] = '\0'; /* data_dir_open has left room for every name we use */
    return out;
}

static int make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return OK;
    return err_sys(err, ERR_IO, errno, "cannot create data.dir %s", path);
}

static int take_lock(struct data_dir *d, struct err *err)
{
    char path[PATH_MAX], who[32] = "";
    d->lock_fd = open(data_dir_path(d, LOCK_FILE, path), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (d->lock_fd < 0)
        return err_sys(err, ERR_IO, errno, "data.dir %s is not writable: %s", d->path, LOCK_FILE);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        int why = errno;
        ssize_t n = pread(d->lock_fd, who, sizeof who - 1, 0);
        who[n > 0 ? strcspn(who, "\n") : 0] = '\0';
        if (why != EWOULDBLOCK)
            return err_sys(err, ERR_IO, why, "lock %s", path);
        return err_set(err, ERR_LOCKED,
                       "data.dir %s is in use by another carat (process %s); stop it or choose another "
                       "directory with --set data.dir=DIR",
                       d->path, *who ? who : "unknown");
    }
    int n = snprintf(who, sizeof who, "%ld\n", (long)getpid());
    if (ftruncate(d->lock_fd, 0) < 0 || pwrite(d->lock_fd, who, (size_t)n, 0) != n)
        return err_sys(err, ERR_IO, errno, "write %s", path);
    return OK;
}

/* True if there is nothing in it but the lock file and what an interrupted start left. */
static bool is_fresh(const struct data_dir *d)
{
    DIR *dir = opendir(d->path);
    bool fresh = true;
    for (struct dirent *e; dir && (e = readdir(dir));)
        fresh =
            fresh && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, LOCK_FILE) ||
                      !strcmp(e->d_name, FORMAT_TEMP) || !strcmp(e->d_name, "lost+found"));
    if (dir)
        closedir(dir);
    return fresh;
}

/* Before anything is written: a wrong path must not leave traces in somebody's directory. */
static int refuse_foreign(const struct data_dir *d, struct err *err)
{
    char path[PATH_MAX];
    if (access(data_dir_path(d, FORMAT_FILE, path), F_OK) == 0 || is_fresh(d))
        return OK;
    return err_set(
        err, ERR_INVALID,
        "data.dir %s has files in it but no %s: it is not a data directory of carat; choose an empty one",
        d->path, FORMAT_FILE);
}

/* By a rename: a file with half of the text would be taken for another layout. */
static int write_format(const struct data_dir *d, const char *path, struct err *err)
{
    char temp[PATH_MAX];
    int fd = open(data_dir_path(d, FORMAT_TEMP, temp), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    size_t n = strlen(FORMAT_TEXT);
    if (fd < 0)
        return err_sys(err, ERR_IO, errno, "create %s", temp);
    bool ok = write(fd, FORMAT_TEXT, n) == (ssize_t)n && fsync(fd) == 0;
    int why = errno;
    close(fd);
    if (!ok)
        return err_sys(err, ERR_IO, why, "write %s", temp);
    KILL_POINT("data_dir.format_temp");
    int rc = fs_rename(fs_posix(), temp, path, err);
    KILL_POINT("data_dir.format_named");
    return rc == OK ? fs_sync_dir(fs_posix(), d->path, err) : rc;
}

/* A restore writes FORMAT after all else and then removes its mark. Killed in between it would begin anew,
 * and throw away what this server writes now. */
static int end_restore(const struct data_dir *d, struct err *err)
{
    char path[PATH_MAX];
    int rc = fs_unlink(fs_posix(), data_dir_path(d, RESTORE_MARK, path), err);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static int check_format(struct data_dir *d, struct err *err)
{
    char path[PATH_MAX], text[64] = "";
    data_dir_path(d, FORMAT_FILE, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return write_format(d, path, err);
    if (fd < 0)
        return err_sys(err, ERR_IO, errno, "open %s", path);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 0)
        return err_sys(err, ERR_IO, errno, "read %s", path);
    if (!strcmp(text, FORMAT_TEXT))
        return end_restore(d, err);
    text[strcspn(text, "\n")] = '\0';
    return err_set(err, ERR_UNSUPPORTED,
                   "data.dir %s has the layout \"%s\", carat %s reads \"carat data 1\"; use the version "
                   "that wrote it",
                   d->path, text, CARAT_VERSION);
}

int data_dir_open(struct data_dir *d, const char *path, struct err *err)
{
    d->lock_fd = -1;
    if (!*path || strlen(path) > PATH_MAX - 256)
        return err_set(err, ERR_INVALID, "data.dir is empty or too long");
    snprintf(d->path, sizeof d->path, "%s", path);
    int rc = make_dir(path, err);
    if (rc == OK)
        rc = refuse_foreign(d, err);
    if (rc == OK)
        rc = take_lock(d, err);
    if (rc == OK)
        rc = check_format(d, err);
    if (rc != OK)
        data_dir_close(d);
    return rc;
}

void data_dir_close(struct data_dir *d)
{
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    d->lock_fd = -1;
}
