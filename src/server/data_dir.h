/* The data directory: made on first use, locked while a server has it, and marked with the version of
 * its layout. */
#ifndef CARAT_SERVER_DATA_DIR_H
#define CARAT_SERVER_DATA_DIR_H

#include "base/err.h"

#include <limits.h>

struct data_dir {
    char path[PATH_MAX];
    int lock_fd;
};

/* ERR_LOCKED: another process has it. ERR_UNSUPPORTED: made by a version with another layout. ERR_INVALID:
 * there are files in it that are not ours. */
int data_dir_open(struct data_dir *d, const char *path, struct err *err) must_check;
void data_dir_close(struct data_dir *d);

/* "<dir>/<name>" in `out` (PATH_MAX bytes); returns out. */
const char *data_dir_path(const struct data_dir *d, const char *name, char *out);

#endif
