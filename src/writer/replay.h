/* The second writer: goes over the stream again, beside the normal one, and mends what warm should have.
 *
 * It works in two steps. *Find*: the records of the asked span are applied to a hot tier of its own, and
 * every window that comes out is compared with what a reader is given. What is there already is left alone,
 * so that replaying what is right writes nothing. *Mend*: the windows in which something is missing or
 * damaged are made from the stream as far back as it goes, in one run each, and laid together with what warm
 * has. doc/replay.md says why the second step does not simply store what the first one has. */
#ifndef CARAT_WRITER_REPLAY_H
#define CARAT_WRITER_REPLAY_H

#include "base/clock.h"
#include "base/err.h"
#include "catalog/catalog.h"
#include "hot/hot.h"
#include "model/column.h"
#include "stream/stream.h"
#include "warm/warm.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replay_window {
    uint32_t series, step_ms;
    int64_t window_ms;
};

struct replay_options {
    struct catalog *catalog; /* all borrowed */
    struct stream *stream;
    unsigned lanes;
    struct warm *warm;
    struct clock *clock;
    pthread_mutex_t *store_lock; /* writer_store_lock */
    struct hot *(*hot_new)(unsigned partitions);
    /* Newest position of a lane that readers see. */
    uint64_t (*applied)(void *ctx, unsigned lane);
    /* What a reader is given of a window, in its time's step. ERR_CORRUPT: some of it is damaged;
     * ERR_NOT_FOUND: the series does not keep that time; both leave *out empty. The values are freed here. */
    int (*read)(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct column *out,
                struct err *err);
    /* All points that arrived since then are in the stream, as of now: windows from there on can be made
     * whole, older damaged ones are left. INT64_MIN: all there ever were. */
    int64_t (*kept_since_ms)(void *ctx);
    /* Since when the base archive of a series has all its points: only from there on can its roll-ups be made
     * again, older damaged ones are left. NULL: always. */
    int64_t (*base_since_ms)(void *ctx, uint32_t series);
    /* Stores a base part in the place of others with the roll-ups that follow from it, in one step
     * (writer_put; the store lock is held). NULL: the part alone, into `warm`. */
    int (*put)(void *ctx, const struct part *p, const struct part_key *remove, size_t nremove,
               struct err *err);
    /* Makes the roll-ups of a time range again from the base (writer_rebuild). NULL: there are none. */
    int (*rebuild)(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct err *err);
    /* The step of a series' points of that time, and whether a window of that step holds points. NULL: the
     * catalog's step, and windows of it. */
    uint32_t (*step_at)(void *ctx, uint32_t series, int64_t ts_ms);
    bool (*is_base)(void *ctx, uint32_t series, uint32_t step_ms, int64_t window_ms);
    /* NULL, or asked now and then; true ends the run with ERR_CLOSED. */
    bool (*cancelled)(void *ctx);
    /* Seconds of stream gone over, of those to go over. The total grows when something is to be mended. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;

    struct stream_start from;
    int64_t to_ms;         /* records appended after this are not looked at; 0: no bound */
    const char *series;    /* a glob over paths, or the whole name of a tagged series; NULL: all */
    uint64_t memory_bytes; /* about so much is held; 0: 256 MiB */
    size_t max_windows;    /* and never more windows than this; 0: no such bound */
};

struct replay_result {
    uint64_t records, points; /* of the find step */
    uint64_t damaged_stretches;
    uint64_t compared; /* windows */
    uint64_t wanting;  /* of these, not as the stream has them */
    uint64_t mended;   /* stored anew */
    uint64_t left;     /* still damaged: the stream does not reach back far enough */
};

/* ERR_CLOSED: cancelled; ERR_BUSY: reads are not complete yet; ERR_NOT_FOUND: no series matches. Windows that
 * were mended before an error stay. `out` is filled in any case. One at a time. */
int replay_run(const struct replay_options *o, struct replay_result *out, struct err *err) must_check;

/* The second step alone, for windows known to be damaged (sorted here, doubles are fine). `from`, `to_ms` and
 * `series` do not count. Adds to *out. */
int replay_mend(const struct replay_options *o, struct replay_window *windows, size_t n,
                struct replay_result *out, struct err *err) must_check;

#endif
