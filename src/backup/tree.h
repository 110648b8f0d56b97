/* Whole directory trees on the local file system. Paths are shorter than PATH_MAX: ERR_INVALID otherwise. */
#ifndef CARAT_BACKUP_TREE_H
#define CARAT_BACKUP_TREE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* "<dir>/<name>" into out (PATH_MAX bytes). */
int tree_join(const char *dir, const char *name, char *out, struct err *err) must_check;

/* Every regular file below `dir`, by its path relative to it; links to directories are followed at the top
 * only. Non-zero stops and is returned. */
typedef int (*tree_file_fn)(void *ctx, const char *name, uint64_t size, struct err *err);
int tree_each(const char *dir, tree_file_fn fn, void *ctx, struct err *err) must_check;

/* Makes what is missing of the directories that lead to the file `path`. */
int tree_make_parents(const char *path, struct err *err) must_check;
int tree_make_dir(const char *path, struct err *err) must_check;
/* Removes `dir` and all below it; a missing one is fine. Does not follow links. */
int tree_remove(const char *dir, struct err *err) must_check;
/* Removes the directories below `dir` that hold nothing. */
int tree_remove_empty(const char *dir, struct err *err) must_check;
/* Makes the names in `dir` and every directory below it durable. */
int tree_sync_dirs(const char *dir, struct err *err) must_check;
/* True if there is nothing in it, or it is not there. */
bool tree_is_empty(const char *dir);

/* A small file as a whole: at most `max` bytes, else ERR_LIMIT. */
int tree_read_file(const char *path, size_t max, struct buf *out, struct err *err) must_check;
/* Through a temporary name, so that it is there whole or not at all; durable on return. */
int tree_write_file(const char *path, const void *bytes, size_t n, struct err *err) must_check;

#endif
