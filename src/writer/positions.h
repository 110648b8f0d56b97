/* A small file of stream positions, one a lane, replaced as a whole.
 *
 *   8 bytes "caratpos" | u32 version (1) | u32 n | n x u64 position | u32 CRC32C of all before
 *
 * It is a hint that may be old or gone (then more of the stream is looked at), so it is not synced; a torn
 * one is noticed by its checksum. */
#ifndef CARAT_WRITER_POSITIONS_H
#define CARAT_WRITER_POSITIONS_H

#include "base/err.h"
#include "base/fs.h"

#include <stdint.h>

#define POSITIONS_MAX 64

int positions_write(struct fs *fs, const char *path, const uint64_t *pos, unsigned n,
                    struct err *err) must_check;
/* Fills pos[0..n); lanes the file does not have become 0. ERR_NOT_FOUND, ERR_CORRUPT: all 0. */
int positions_read(struct fs *fs, const char *path, uint64_t *pos, unsigned n, struct err *err) must_check;

#endif
