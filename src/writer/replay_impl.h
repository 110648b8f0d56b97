/* What the files of the replay share: replay.c finds, mend.c mends, span.c reads. */
#ifndef CARAT_WRITER_REPLAY_IMPL_H
#define CARAT_WRITER_REPLAY_IMPL_H

#include "hot/hot.h"
#include "writer/positions.h"
#include "writer/replay.h"

#define REPLAY_MEMORY       (256u << 20)
#define REPLAY_WINDOW_BYTES 2048 /* a window in hot at most, when all its slots are there */

/* How many windows are made again in one pass. */
static inline size_t replay_pass_windows(const struct replay_options *o)
{
    uint64_t n = (o->memory_bytes ? o->memory_bytes : REPLAY_MEMORY) / REPLAY_WINDOW_BYTES + 1;
    return o->max_windows && o->max_windows < n ? o->max_windows : (size_t)n;
}

/* Records of all lanes in the order of their positions: a series may have moved between lanes when their
 * number changed, and only in this order is what is applied one contiguous run. */
struct span {
    const struct replay_options *o;
    struct stream_reader *reader[POSITIONS_MAX];
    struct stream_record rec[POSITIONS_MAX];
    uint64_t end[POSITIONS_MAX]; /* up to and including */
    bool ended[POSITIONS_MAX], held[POSITIONS_MAX];
    int64_t to_ms; /* 0: none */
    int last;      /* the lane whose record was given out */
    int64_t first_ms, end_ms, at_ms;
};

/* Ends at what is applied at the call. */
int span_open(struct span *s, const struct replay_options *o, struct stream_start from, int64_t to_ms,
              struct err *err) must_check;
/* OK with *rec, valid until the next call; 1 at the end; ERR_CORRUPT: a damaged stretch was skipped. */
int span_next(struct span *s, const struct stream_record **rec, struct err *err) must_check;
void span_close(struct span *s);

/* Seconds of stream, done and in all. */
uint64_t span_done(const struct span *s);
uint64_t span_total(const struct span *s);

/* True for the series (bit of its id) or window that is wanted. */
typedef bool (*wanted_fn)(void *ctx, uint32_t series, uint32_t step_ms, int64_t ts_ms);

/* The points of a record that are wanted, into hot. `scratch` has room for BATCH_MAX_POINTS. A record that is
 * no batch is ERR_CORRUPT or ERR_UNSUPPORTED. */
int replay_apply(const struct replay_options *o, struct hot *hot, const struct stream_record *rec,
                 wanted_fn wanted, void *ctx, struct hot_point *scratch, size_t *applied,
                 struct err *err) must_check;

static inline bool replay_cancelled(const struct replay_options *o)
{
    return o->cancelled && o->cancelled(o->ctx);
}

#endif
