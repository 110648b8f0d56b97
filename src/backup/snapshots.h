/* The snapshots of a running server, in <data.dir>/snapshots/<id>. Who uses one holds a shared flock on its
 * list; one that nobody uses is removed by the next, and all that nobody uses at start. Thread-safe. */
#ifndef CARAT_BACKUP_SNAPSHOTS_H
#define CARAT_BACKUP_SNAPSHOTS_H

#include "backup/backup.h"
#include "backup/snapshot.h"

#include <limits.h>

#define SNAPSHOTS_DIR "snapshots"

/* How long a new one may be without a user. */
#define SNAPSHOTS_GRACE_MS 60000

struct snapshots;

struct snapshot_info {
    char id[32];
    char path[PATH_MAX]; /* absolute */
    uint64_t files, bytes;
    int64_t time_ms;
};

/* Borrows what `from` points to, and removes what an earlier process left, as far as nobody uses it. */
struct snapshots *snapshots_new(const struct snapshot_source *from);
void snapshots_free(struct snapshots *s);

/* ERR_BUSY: one is being made. ERR_NO_SPACE, ERR_IO, ...: nothing is left behind. Takes seconds. */
int snapshots_take(struct snapshots *s, struct snapshot_info *out, struct err *err) must_check;
/* ERR_NOT_FOUND: no such snapshot (any more). */
int snapshots_drop(struct snapshots *s, const char *id, struct err *err) must_check;

/* Takes one, brings `dir` (a path of this machine) up to date with it and drops it: the whole of a backup, as
 * a job of the server. See backup_to_dir. */
int snapshots_backup(struct snapshots *s, const char *dir, unsigned keep, const struct backup_io *io,
                     struct backup_result *out, struct err *err) must_check;

/* For users: opens the list of the snapshot at `path` and holds it; *fd is closed when done. ERR_NOT_FOUND.
 */
int snapshot_use(const char *path, struct backup_manifest *out, int *fd, struct err *err) must_check;

#endif
