/* Copying files with a checksum, progress and a way to stop. */
#ifndef CARAT_BACKUP_COPY_H
#define CARAT_BACKUP_COPY_H

#include "backup/backup.h"

#include <stddef.h>

/* What one backup, check or restore keeps while it runs. */
struct copy {
    const struct backup_io *io;
    struct backup_progress at;
    uint8_t *chunk; /* COPY_CHUNK_BYTES */
};
#define COPY_CHUNK_BYTES (1u << 20)

void copy_begin(struct copy *c, const struct backup_io *io, const struct backup_manifest *m);
void copy_end(struct copy *c);
/* Counts and shows; ERR_CLOSED if it shall stop. */
int copy_advance(struct copy *c, uint64_t bytes, uint64_t files, struct err *err) must_check;

typedef int (*copy_sink_fn)(void *ctx, const void *bytes, size_t n, struct err *err);
/* The first `size` bytes of `path` to `sink` (NULL: nowhere), and their XXH3-64. ERR_CORRUPT: it is shorter.
 */
int copy_out(struct copy *c, const char *path, uint64_t size, copy_sink_fn sink, void *ctx, uint64_t *xxh3,
             struct err *err) must_check;
/* To the new file `to`, whose directory is made; its bytes are durable on return, its name is not. */
int copy_file(struct copy *c, const char *path, uint64_t size, const char *to, uint64_t *xxh3,
              struct err *err) must_check;

/* XXH3-64 of both ends of the first `size` bytes, see struct backup_file. */
int copy_ends(const char *path, uint64_t size, uint64_t *ends, struct err *err) must_check;

#endif
