/* The hot tier: open windows of raw slots, written by the writer, read by the reader.
 *
 * Applying is idempotent: a slot holds the last value applied to it. A window leaves hot in
 * two steps: hot_take() copies due windows out as encoded parts, and hot_release() drops each
 * only if nothing was applied to it since. Between the two it stays readable.
 *
 * A backend outside this process may lose what it acknowledged (a Redis master that dies before its replica
 * has everything). It notices, says so (hot_lost), and is given the records again (hot_again). */
#ifndef CARAT_HOT_HOT_H
#define CARAT_HOT_HOT_H

#include "base/buf.h"
#include "base/err.h"
#include "model/part.h"
#include "model/slots.h"

struct hot;

/* One point with its series resolved. */
struct hot_point {
    uint32_t series;
    uint32_t step_ms;
    int64_t ts_ms; /* any time; floored to the step here */
    double value;
};

/* A window as hot holds it. hi is the position of the last point applied to it. */
struct hot_window {
    int64_t window_ms;
    uint64_t lo, hi;
    struct slots slots;
};
/* Called for each window in no order; non-zero stops and is returned. `w` is valid during the call. */
typedef int (*hot_window_fn)(void *ctx, const struct hot_window *w);

struct hot_stats {
    uint64_t series, windows; /* held now */
    uint64_t bytes;           /* memory, estimate; it may be kept for later when windows leave */
    uint64_t held_bytes;      /* of that, what the windows held now take */
    uint64_t late_points;     /* applied to a window other than the series' newest */
};

/* A new owner of a partition begins: records after `checkpoint` follow. What this process knew of the
 * partition is forgotten; where windows outlive the process, what they hold is kept as far as it is right.
 * Without it a partition begins at 0. The partition's thread. */
int hot_begin(struct hot *h, unsigned partition, uint64_t checkpoint, struct err *err) must_check;

/* The partition is another owner's from now on: nothing of it is known or given out any more. */
void hot_leave(struct hot *h, unsigned partition);

/* Applies points that came with stream position `pos`; positions of one partition never go down between
 * calls, except after hot_again. A record may come in several calls. One thread per partition.
 * 1: some of what was applied is lost and nothing more is taken until hot_again was called. Any other
 * failure: the points may be applied in part; apply them again. */
int hot_apply(struct hot *h, unsigned partition, uint64_t pos, const struct hot_point *points, size_t n,
              struct err *err) must_check;

/* True if hot_apply would answer 1, or if it is to be found out whether it would. Cheap, any thread. */
bool hot_lost(struct hot *h, unsigned partition);
/* After a loss: *from is the position after which records must be applied again, at least `checkpoint`;
 * UINT64_MAX if nothing is lost. Until they are, hot_oldest counts what was lost as held. The partition's
 * thread. */
int hot_again(struct hot *h, unsigned partition, uint64_t checkpoint, uint64_t *from,
              struct err *err) must_check;

/* All windows of one series that touch [from_ms, until_ms). An error means that some may be
 * missing; the others were told. Any thread. */
int hot_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
             hot_window_fn fn, void *ctx, struct err *err) must_check;

/* Which windows hot_take copies: those that
 *  - ended before closed_before_ms (shifted per series by up to jitter_permille of the window's span, so that
 *    a million windows do not end at once) and were last written at or before position settled_before, so
 * that a run of late points into one window is stored once and not many times; or
 *  - have data at or before position unflushed_before, so that the stream can be trimmed; or
 *  - are there at all, if `all`. */
struct hot_due {
    int64_t closed_before_ms;
    uint32_t jitter_permille;
    uint64_t settled_before;
    uint64_t unflushed_before; /* 0: not used */
    bool all;
};

struct hot_token {
    uint64_t mark;   /* the backend's own word for the state the window was copied in */
    uint32_t points; /* in the window */
};

/* Copies of windows. Reuse it between calls. */
struct hot_taken {
    struct part *parts; /* data points into `blocks` */
    struct hot_token *tokens;
    size_t n, cap;
    struct buf blocks;
};
#define HOT_TAKEN_INIT                                                                                       \
    {                                                                                                        \
        NULL, NULL, 0, 0, BUF_INIT                                                                           \
    }
void hot_taken_release(struct hot_taken *t);

/* Looks at up to `budget` series of a partition from *cursor on (0 to begin; moved along, 0 again after
 * a whole round) and copies due windows into `out` (cleared first). */
int hot_take(struct hot *h, unsigned partition, const struct hot_due *due, uint32_t *cursor, size_t budget,
             struct hot_taken *out, struct err *err) must_check;
/* Drops those of `t` that are as they were taken; returns how many in *released (may be NULL). */
int hot_release(struct hot *h, unsigned partition, const struct hot_taken *t, size_t *released,
                struct err *err) must_check;

/* Takes the slots of a series that start in [from_ms, until_ms) out of all windows of a partition, whatever
 * their step; a window with nothing left goes. What hot_take has copied before is as if a point had come: it
 * is not released. ERR_UNSUPPORTED: this backend cannot. */
int hot_erase(struct hot *h, unsigned partition, uint32_t series, int64_t from_ms, int64_t until_ms,
              struct err *err) must_check;

/* Whether hot_erase can. */
bool hot_can_erase(const struct hot *h);

/* Smallest lo of all windows of a partition, or UINT64_MAX if there are none. */
int hot_oldest(struct hot *h, unsigned partition, uint64_t *lo, struct err *err) must_check;

void hot_get_stats(struct hot *h, struct hot_stats *out);
void hot_free(struct hot *h);

#endif
