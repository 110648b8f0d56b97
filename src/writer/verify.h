/* Reads everything that is stored and checks it: the catalog's store, every segment of the stream, every part
 * in warm, every pack of cold. What is damaged in warm and still in the stream can be mended (replay.h), and
 * roll-ups anywhere from their base. */
#ifndef CARAT_WRITER_VERIFY_H
#define CARAT_WRITER_VERIFY_H

#include "catalog/catalog_store.h"
#include "writer/replay.h"

#define VERIFY_ITEMS_MAX 1000
#define VERIFY_STEPS_MAX 32

struct verify_item {
    const char *tier; /* "catalog", "stream", "warm" or "cold" */
    uint32_t series;  /* 0: not known */
    uint32_t step_ms; /* 0: not known */
    int64_t window_ms;
    unsigned lane;    /* of the stream */
    uint64_t pos;     /* of the stream: the damage is after it */
    uint64_t pack;    /* of cold */
    int64_t until_ms; /* of cold: the windows that are hit end here, if they are known; else 0 */
    bool repaired;
    char why[160];
};

/* Where a look at the packs tells what it meets. */
struct verify_cold {
    void *ctx;
    int (*read)(void *ctx, uint64_t bytes, uint64_t parts); /* non-zero: give up with ERR_CLOSED */
    void (*damaged)(void *ctx, const struct verify_item *item);
};

struct verify_options {
    struct catalog *catalog; /* all borrowed */
    struct stream *stream;
    unsigned lanes;
    struct warm *warm; /* itself, without what is below it */
    struct clock *clock;
    /* Looks at all packs; OK also when something is damaged. NULL: there is no cold tier. */
    int (*cold)(void *ctx, const struct verify_cold *to, struct err *err);
    uint64_t (*cold_bytes)(void *ctx); /* how much that is */
    /* Makes good what is damaged in a pack, as far as all of it is stored elsewhere or can be made from what
     * is; *healed: all of it. Used if there is a `repair`. */
    int (*cold_heal)(void *ctx, uint64_t pack, bool *healed, struct err *err);
    /* Calls fn for every row of the catalog's store. NULL: not looked at. */
    int (*rows)(void *ctx, catalog_row_fn fn, void *fn_ctx, struct err *err);
    /* The steps warm may have of a series, at most VERIFY_STEPS_MAX; NULL: its own. */
    size_t (*steps)(void *ctx, uint32_t series, uint32_t *out);
    /* Whether a window of that step holds points; NULL: those of the series' own step. */
    bool (*is_base)(void *ctx, uint32_t series, uint32_t step_ms, int64_t window_ms);
    bool (*cancelled)(void *ctx);                               /* NULL, or true ends it with ERR_CLOSED */
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes; may be NULL */
    void *ctx;
    uint64_t bytes_per_s;                /* 0: as fast as it goes */
    const struct replay_options *repair; /* NULL: only report */
};

struct verify_result {
    uint64_t rows, records, series, parts, bytes; /* looked at */
    uint64_t damaged; /* found; each window of warm counts once, as does each place of a pack */
    uint64_t repaired;
    struct verify_item *items; /* the first of the damaged */
    size_t n;
    /* of warm, and of cold as far as they are known, for the repair */
    struct verify_windows {
        struct replay_window *v;
        size_t n, cap;
    } windows, cold_windows;
};

/* OK also when something is damaged. Else it could not finish; what was found until then is in `out`, which
 * is for verify_result_release in any case. */
int verify_run(const struct verify_options *o, struct verify_result *out, struct err *err) must_check;
void verify_result_release(struct verify_result *r);

#endif
