/* The directory of a backup:
 *
 *   BACKUP                          "carat backup directory 1\n"
 *   lock                            flock: exclusive while it is written, shared while it is read
 *   manifest-000000000007.json      a generation; it appears by a rename, complete
 *   files/000000000007/warm/...     the files that came with that generation
 *
 * A file stays where it is as long as a manifest names it; later generations refer to it. One thread. */
#ifndef CARAT_BACKUP_STORE_H
#define CARAT_BACKUP_STORE_H

#include "backup/manifest.h"

#include <limits.h>

struct store {
    char dir[PATH_MAX];
    int lock_fd;
    uint64_t *generations; /* with a manifest, ascending */
    size_t n;
};

/* `write`: made if it is missing or empty, locked for this process alone. ERR_LOCKED: a backup runs.
 * ERR_INVALID: it holds something else. ERR_NOT_FOUND: not for writing, and there is no backup. */
int store_open(struct store *s, const char *dir, bool write, struct err *err) must_check;
void store_close(struct store *s);

/* 0: the newest. ERR_NOT_FOUND, ERR_CORRUPT. Release *out in any case. */
int store_load(const struct store *s, uint64_t generation, struct backup_manifest *out,
               struct err *err) must_check;
/* Where a file of generation `stored` is; out has PATH_MAX bytes. */
int store_path(const struct store *s, uint64_t stored, const char *name, char *out,
               struct err *err) must_check;

/* Durable on return, with the files it names (whose bytes are durable already). */
int store_commit(struct store *s, const struct backup_manifest *m, struct err *err) must_check;
/* Removes what came with a generation that was never committed. */
int store_discard(const struct store *s, uint64_t generation, struct err *err) must_check;
/* Forgets all but the `keep` newest generations, and removes the files no generation names. */
int store_prune(struct store *s, unsigned keep, struct err *err) must_check;

#endif
