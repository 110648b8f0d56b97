/* Writing a pack: parts in, bytes out in order, the footer last. One thread. */
#ifndef CARAT_COLD_PACK_WRITER_H
#define CARAT_COLD_PACK_WRITER_H

#include "cold/pack_format.h"

typedef int (*pack_write_fn)(void *ctx, const void *p, size_t n, struct err *err);

struct pack_writer {
    pack_write_fn write;
    void *ctx;
    uint64_t written;
    struct pack_footer footer;
    struct pack_directory runs; /* of the page */
    struct buf bodies;          /* of the page */
    struct pack_run run;        /* parts 0: none is begun */
    struct pack_run_pos pos;
    struct buf lines, blocks, packed, out;
    void *zstd;
};
/* Nothing is written before the first part. */
void pack_writer_init(struct pack_writer *w, uint32_t step_ms, pack_write_fn write, void *ctx);
/* By ascending (series, window, hi), of this step; the block at most PACK_BLOCK_MAX. `points` are counted for
 * the footer. */
int pack_writer_add(struct pack_writer *w, const struct part *p, uint32_t points, struct err *err) must_check;
/* At least one part must have been added. */
int pack_writer_finish(struct pack_writer *w, struct err *err) must_check;
/* Bytes so far, the open page included. */
uint64_t pack_writer_bytes(const struct pack_writer *w);
void pack_writer_release(struct pack_writer *w);

#endif
