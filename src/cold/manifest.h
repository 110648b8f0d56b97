/* The manifest: which packs there are. Pure: bytes and back. Layout: doc/cold.md. */
#ifndef CARAT_COLD_MANIFEST_H
#define CARAT_COLD_MANIFEST_H

#include "base/buf.h"
#include "cold/cold.h"

struct manifest {
    uint64_t generation; /* counts switches */
    uint64_t next_id;    /* larger than every id it names */
    struct pack_info *packs;
    size_t n;
};
void manifest_encode(const struct manifest *m, struct buf *out);
/* ERR_CORRUPT, ERR_UNSUPPORTED (a newer version). Release it in any case. */
int manifest_decode(const uint8_t *bytes, size_t n, struct manifest *out, struct err *err) must_check;
void manifest_release(struct manifest *m);

#endif
