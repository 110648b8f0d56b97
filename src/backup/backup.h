/* Backups of a data directory: into a directory, of which each further backup copies only what is new, or as
 * a tar stream. What is copied is a snapshot of a running server (snapshot.h) or a data directory that no
 * server has. doc/backup.md says why nothing acknowledged is missing. */
#ifndef CARAT_BACKUP_BACKUP_H
#define CARAT_BACKUP_BACKUP_H

#include "backup/manifest.h"
#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct backup_progress {
    uint64_t files, files_all;
    uint64_t bytes, bytes_all; /* all is 0 while it is not known */
};

/* How a long run is watched and stopped; all zero: neither. */
struct backup_io {
    void (*progress)(void *ctx,
                     const struct backup_progress *p); /* at least once a MiB, from the caller's thread */
    void *ctx;
    const _Atomic bool *cancel; /* true: ERR_CLOSED soon; what was there before stays as it was */
};

struct backup_result {
    uint64_t generation;
    int64_t time_ms;                     /* everything acknowledged before is in */
    uint64_t files, bytes;               /* of the data directory */
    uint64_t copied_files, copied_bytes; /* of those, not yet in the backup */
};

/* Where files are: `root` holds those that `files` lists. */
struct backup_source {
    const char *root;
    const struct backup_manifest *files;
};

/* A new generation in `dir`, which is empty, missing or a backup. The `keep` newest stay (0 counts as 1).
 * Either it is complete and durable, or `dir` restores as before. ERR_LOCKED: another backup runs. */
int backup_to_dir(const struct backup_source *from, const char *dir, unsigned keep,
                  const struct backup_io *io, struct backup_result *out, struct err *err) must_check;
/* A tar stream that ends with the manifest. */
int backup_to_tar(const struct backup_source *from, int fd, const struct backup_io *io,
                  struct backup_result *out, struct err *err) must_check;

/* A backup inside the data directory would be in the next backup, and gone with the disk: ERR_INVALID. */
int backup_refuse_inside(const char *data_dir, const char *to, struct err *err) must_check;
/* When the newest generation in `dir` was made. ERR_NOT_FOUND: there is none. */
int backup_newest(const char *dir, int64_t *time_ms, struct err *err) must_check;

/* Reads every byte of a generation (0: the newest). ERR_CORRUPT names the first damaged file. */
int backup_verify(const char *dir, uint64_t generation, const struct backup_io *io, struct backup_result *out,
                  struct err *err) must_check;

#endif
