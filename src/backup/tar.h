/* Headers of a tar archive (POSIX ustar; sizes from 8 GiB on in GNU's base-256 form). Pure. */
#ifndef CARAT_BACKUP_TAR_H
#define CARAT_BACKUP_TAR_H

#include "base/err.h"

#include <stdint.h>

#define TAR_BLOCK 512

struct tar_entry {
    char name[101];
    uint64_t size;
    int64_t mtime_s;
    char type; /* '0' a file */
};

/* `name` is at most 100 bytes; mtime_s from 0. */
void tar_encode(uint8_t out[TAR_BLOCK], const struct tar_entry *e);
/* OK, 1 for a block of zeros (the end), ERR_CORRUPT, ERR_UNSUPPORTED (a name in two parts). */
int tar_decode(const uint8_t block[TAR_BLOCK], struct tar_entry *e, struct err *err) must_check;

/* Zeros that follow `size` bytes. */
static inline uint64_t tar_padding(uint64_t size)
{
    return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

#endif
