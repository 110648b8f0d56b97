/* Reading a pack: its footer once, then pages. Bytes come through a pack_source, so that a file, an object
 * far away and a fuzzer's memory are read alike. */
#ifndef CARAT_COLD_PACK_READER_H
#define CARAT_COLD_PACK_READER_H

#include "cold/pack_format.h"

#define PACK_SUFFIX_BYTES (64u << 10) /* read first: nearly always the whole footer */

struct pack_source {
    void *ctx;
    /* All n bytes or an error. */
    int (*read)(void *ctx, void *p, size_t n, uint64_t off, struct err *err);
    uint64_t size;
    size_t suffix; /* read first; 0: PACK_SUFFIX_BYTES */
};

/* Does not change once open; any number of threads. */
struct pack {
    struct pack_source source;
    struct pack_footer footer;
};
/* `out` needs no release after a failure. */
int pack_open(const struct pack_source *s, struct pack *out, struct err *err) must_check;
void pack_release(struct pack *p);
/* The header is not needed for reading; this is for who checks everything. */
int pack_check_header(const struct pack *p, struct err *err) must_check;
size_t pack_memory(const struct pack *p);

/* Parts of series min..max and windows that start in [from_ms, until_ms), by (series, window, hi). */
struct pack_range {
    uint32_t min_series, max_series;
    int64_t from_ms, until_ms;
};
/* What is skipped: a run, which is parts of one series from its first window to its last, or a page, which
 * may hold anything between its first series and that of the next page. */
struct pack_damage {
    bool page;
    uint32_t series, last_series;
    int64_t window_ms; /* where it begins, in the first series */
    int64_t from_ms, until_ms;
};
typedef void (*pack_damage_fn)(void *ctx, const struct pack_damage *d, const struct err *why);

struct pack_cursor {
    const struct pack *pack;
    struct pack_range range;
    uint64_t first, until; /* window numbers */
    pack_damage_fn damage;
    void *ctx;
    size_t page; /* the next one to read */
    struct buf bytes, raw;
    struct pack_directory runs;
    size_t run; /* the next one of the page */
    struct pack_run_view view;
    uint32_t part; /* the next one of the run */
};
void pack_cursor_init(struct pack_cursor *c, const struct pack *p, const struct pack_range *r,
                      pack_damage_fn damage, void *ctx);
/* 1: *out is valid until the next call. 0: the end. */
int pack_cursor_next(struct pack_cursor *c, struct part *out);
void pack_cursor_release(struct pack_cursor *c);

#endif
