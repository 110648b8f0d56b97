/* Making a data directory from a backup. Until everything is there and checked the directory has no FORMAT
 * file, so that no server takes it, and has a file RESTORING, so that the next restore begins again. */
#ifndef CARAT_BACKUP_RESTORE_H
#define CARAT_BACKUP_RESTORE_H

#include "backup/backup.h"

/* Into `to`, which is missing, empty or an unfinished restore (ERR_INVALID otherwise). generation 0: the
 * newest. ERR_CORRUPT names the damaged file. Everything is durable on return. */
int restore_from_dir(const char *dir, uint64_t generation, const char *to, const struct backup_io *io,
                     struct backup_result *out, struct err *err) must_check;
int restore_from_tar(int fd, const char *to, const struct backup_io *io, struct backup_result *out,
                     struct err *err) must_check;

#endif
