/* The bytes of a pack, and their checks. Pure: nothing here reads or writes a file. Layout: doc/cold.md.
 *
 *   header | pages | footer | trailer        page = directory | bodies of runs        run = parts of one
 * series
 *
 * Window numbers are window_ms / span. */
#ifndef CARAT_COLD_PACK_FORMAT_H
#define CARAT_COLD_PACK_FORMAT_H

#include "base/buf.h"
#include "base/err.h"
#include "model/part.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACK_VERSION       1
#define PACK_HEADER_BYTES  24
#define PACK_TRAILER_BYTES 24
#define PACK_PAGE_HEAD     8           /* CRC and length of a page's directory */
#define PACK_PAGE_BYTES    (64u << 10) /* a page is closed when its bodies are this large */
#define PACK_RUN_PARTS     64
#define PACK_RUN_BYTES     (32u << 10) /* a run is closed when its blocks are this large */
#define PACK_BLOCK_MAX     (1u << 20)
/* Bounds that follow; a reader refuses more before it allocates. */
#define PACK_RUN_MAX    (PACK_RUN_BYTES + PACK_BLOCK_MAX + PACK_RUN_PARTS * 4 * 10)
#define PACK_PAGE_MAX   (4u << 20)
#define PACK_FOOTER_MAX (256u << 20)

void pack_header_put(uint8_t out[PACK_HEADER_BYTES], uint32_t step_ms);
int pack_header_get(const uint8_t in[PACK_HEADER_BYTES], uint32_t *step_ms, struct err *err) must_check;

/* --- runs: consecutive parts of one series --- */

struct pack_run {
    uint32_t series, parts;
    uint64_t first, last; /* window numbers */
    uint32_t stored, raw; /* bytes of the body in the page, and unpacked */
    bool packed;          /* a zstd frame */
    uint32_t crc;         /* of the stored body, seeded with step, series and first */
    uint32_t offset;      /* of the body in the page; not stored */
};
uint32_t pack_run_crc(uint32_t step_ms, uint32_t series, uint64_t first, const uint8_t *body, size_t n);

/* What the parts of a run are written and read with. */
struct pack_run_pos {
    uint64_t window, hi;
};
/* Appends one part's line; `pos` begins as {first window, 0}. */
void pack_line_put(struct buf *lines, struct pack_run_pos *pos, uint32_t step_ms, const struct part *p);

/* An unpacked run: the lines of its parts, then their blocks. */
struct pack_run_view {
    struct part parts[PACK_RUN_PARTS];
    uint32_t n;
};
/* Checks everything; parts point into `raw`. */
int pack_run_open(const struct pack_run *run, uint32_t step_ms, const uint8_t *raw, struct pack_run_view *out,
                  struct err *err) must_check;

/* --- pages --- */

struct pack_directory {
    struct pack_run *v;
    size_t n, cap;
};
void pack_directory_add(struct pack_directory *d, const struct pack_run *r);
void pack_directory_release(struct pack_directory *d);
/* Appends head and directory; the bodies follow them. */
void pack_directory_put(const struct pack_directory *d, uint32_t step_ms, struct buf *out);
/* Reads those of a whole page of n bytes, bounds and order checked; out keeps its memory. */
int pack_directory_get(const uint8_t *page, size_t n, uint32_t step_ms, struct pack_directory *out,
                       struct err *err) must_check;

/* --- footer and trailer --- */

struct pack_page {
    uint64_t offset;
    uint32_t length;
    uint32_t series; /* of its first run */
    uint64_t first;
};
struct pack_footer {
    uint32_t step_ms, min_series, max_series;
    uint64_t first, last; /* window numbers */
    uint64_t parts, points, block_bytes;
    struct pack_page *pages;
    size_t npages, cap;
};
void pack_footer_add_page(struct pack_footer *f, const struct pack_page *p);
void pack_footer_release(struct pack_footer *f);
/* Appends footer and trailer; `offset` is where they will be. */
void pack_footer_put(const struct pack_footer *f, uint64_t offset, struct buf *out);
/* Where the footer is, from the last PACK_TRAILER_BYTES of a pack of `size` bytes. */
int pack_trailer_get(const uint8_t in[PACK_TRAILER_BYTES], uint64_t size, uint64_t *offset, uint32_t *length,
                     struct err *err) must_check;
/* `offset` is where it was read. Release it in any case. */
int pack_footer_get(const uint8_t *bytes, size_t n, uint64_t offset, struct pack_footer *out,
                    struct err *err) must_check;

#endif
