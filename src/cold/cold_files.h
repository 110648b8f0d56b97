/* The cold tier in a directory: packs are files, "<id in 16 hex digits>.pack", beside "manifest". */
#ifndef CARAT_COLD_COLD_FILES_H
#define CARAT_COLD_COLD_FILES_H

#include "base/fs.h"
#include "cold/cold.h"

struct cold_files_options {
    struct cold_options cold;
    const char *dir; /* its parent must exist */
    struct fs *fs;
    bool create; /* make it if it is missing, else ERR_NOT_FOUND */
};

/* Removes what no manifest names, unless read_only. ERR_UNSUPPORTED: written by a newer version.
 * ERR_CORRUPT, ERR_IO: text names the file. */
int cold_files_open(const struct cold_files_options *o, struct cold **out, struct err *err) must_check;

#endif
