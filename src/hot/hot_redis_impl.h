/* What the files of the hot tier on Redis share.
 *
 *   hot_redis.c        life, statistics
 *   hot_redis_apply.c  points into windows
 *   hot_redis_check.c  is what Redis acknowledged still there?
 *   hot_redis_take.c   windows that leave
 *   hot_redis_read.c   reads of queries
 *   hot_redis_clean.c  windows nobody knows
 *
 * Locks of a partition: `io` first, then `mtx`. Whoever has `io` may use the partition's client and change
 * the windows; `mtx` is held only while the index is looked at or changed, never while Redis works. */
#ifndef CARAT_HOT_HOT_REDIS_IMPL_H
#define CARAT_HOT_HOT_REDIS_IMPL_H

#include "base/log.h"
#include "base/mem.h"
#include "base/turn.h"
#include "hot/hot_impl.h"
#include "hot/hot_redis.h"
#include "hot/hot_redis_format.h"
#include "hot/hot_redis_index.h"
#include "redis/redis_cluster.h"

#include <pthread.h>
#include <stdatomic.h>

/* A window somebody left, to be given out by hot_take. */
struct hot_redis_stray {
    struct hot_redis_key key;
    uint32_t series;
};
#define HOT_REDIS_STRAYS_MAX 4096
#define HOT_REDIS_STRAY_MARK UINT64_MAX /* in a token: it is not in the index */

/* One window of an apply. */
struct hot_redis_op {
    struct hot_redis_win *w;
    uint32_t cell; /* the newest of its cells, in a list; UINT32_MAX ends it */
    uint32_t ncells;
    bool fresh, drop; /* it is begun anew; what is under its key goes first */
    uint64_t old_hi;  /* what Redis had before the write */
};
struct hot_redis_cell {
    uint32_t next;
    uint16_t slot;
    uint64_t bits;
};

struct hot_redis_part {
    struct hot_redis *hot;
    unsigned number;
    struct turn io;
    _Atomic bool suspect;     /* a read saw less than was acknowledged */
    _Atomic bool lost;        /* and it is known what: see lost_from */
    _Atomic bool gap;         /* reads are not complete; until the thread applies again */
    _Atomic uint64_t applied; /* last position that went well */

    /* shared, under mtx */
    pthread_mutex_t mtx;
    struct hot_redis_index index;
    uint64_t value_bytes; /* in Redis, estimate */
    uint64_t late_points;
    uint64_t hold_from,
        hold_until; /* lost positions after hold_from count as held until hold_until is passed */
    struct hot_redis_stray *strays;
    size_t nstrays;

    /* owned by the holder of io */
    struct redis_cluster *client;
    struct redis_batch batch;
    uint64_t tried;     /* highest position that was sent */
    uint64_t lost_from; /* apply again after this; UINT64_MAX: nothing lost */
    uint64_t versions, calls;
    struct hot_redis_op *ops;
    size_t nops, ops_cap;
    struct hot_redis_cell *cells;
    size_t ncells, cells_cap;
    uint32_t *command_op; /* by command of the batch */
    size_t command_op_cap;
    struct buf series, key; /* scratch */
    struct hot_redis_win **wins;
    size_t wins_cap;
};

struct hot_redis {
    struct hot base;
    struct hot_redis_options o; /* strings are ours */
    struct hot_redis_naming naming;
    struct redis_metrics redis_metrics;
    struct counter *lost_windows, *stray_windows, *unknown_windows, *corrupt_windows, *stale_reads;
    struct log_limit log;
    _Atomic int64_t full_until_ms; /* by the monotonic clock; Redis refused a write for want of memory */
    unsigned nparts;
    struct hot_redis_part *parts;
    /* reads */
    pthread_mutex_t pool_mtx;
    pthread_cond_t pool_changed;
    struct hot_redis_reader **pool; /* idle ones; under pool_mtx */
    size_t npool;
    /* cleaner */
    pthread_t cleaner;
    bool cleaner_runs;
    pthread_mutex_t clean_mtx; /* one look at a time */
    pthread_cond_t clean_wake;
    pthread_mutex_t wake_mtx;
    bool stopping; /* under wake_mtx */
    struct redis_cluster *clean_client;
};

static inline struct hot_redis *hot_redis_of(struct hot *h)
{
    return container_of(h, struct hot_redis, base);
}

static inline void hot_redis_count(struct counter *c, uint64_t n)
{
    if (c)
        counter_add(c, n);
}

/* Memory of a window in Redis beside its value: the key, its entry in the table, the object, the set's share.
 */
#define HOT_REDIS_KEY_BYTES 200

int hot_redis_client_new(struct hot_redis *r, bool replicas, struct redis_cluster **out,
                         struct err *err) must_check;

/* Puts "<step>:{..}<rest>" of a series into `out` (cleared first). ERR_NOT_FOUND: it has no name. */
int hot_redis_series_text(struct hot_redis *r, uint32_t series, uint32_t step_ms, struct buf *out,
                          struct err *err) must_check;
static inline void hot_redis_window_key(struct hot_redis *r, const struct buf *series, int64_t window_ms,
                                        unsigned partition, struct buf *out)
{
    buf_clear(out);
    hot_redis_put_window_key(&r->naming, (const char *)series->data, series->len, window_ms, partition, out);
}
static inline void hot_redis_set_key(struct hot_redis *r, const struct buf *series, struct buf *out)
{
    buf_clear(out);
    hot_redis_put_set_key(&r->naming, (const char *)series->data, series->len, out);
}

/* hot_redis_check.c; all with io held */
/* What Redis has under a window's key. */
struct hot_redis_seen {
    int status; /* OK: `header`; ERR_NOT_FOUND: nothing; ERR_CORRUPT: something else; else unknown */
    struct hot_redis_header header;
};
/* Notes what is gone if `seen` is not what was acknowledged. True if it is all there. May remove w. */
bool hot_redis_judge(struct hot_redis_part *p, struct hot_redis_win *w, const struct hot_redis_seen *seen);
void hot_redis_seen_from(struct hot_redis_seen *out, const redisReply *reply, struct err *err);
/* Makes sure that everything acknowledged is still there, where that is in doubt. 1: it is not. */
int hot_redis_settle(struct hot_redis_part *p, struct err *err) must_check;
/* Sends GETRANGE of the headers; *seen gets n answers. 1: in doubt. */
int hot_redis_look(struct hot_redis_part *p, struct hot_redis_win *const *wins, size_t n,
                   struct hot_redis_seen *seen, struct err *err) must_check;

/* the operations */
int hot_redis_begin(struct hot *h, unsigned partition, uint64_t checkpoint, struct err *err);
void hot_redis_leave(struct hot *h, unsigned partition);
bool hot_redis_lost(struct hot *h, unsigned partition);
int hot_redis_again(struct hot *h, unsigned partition, uint64_t checkpoint, uint64_t *from, struct err *err);
int hot_redis_apply(struct hot *h, unsigned partition, uint64_t pos, const struct hot_point *points, size_t n,
                    struct err *err);
int hot_redis_take(struct hot *h, unsigned partition, const struct hot_due *due, uint32_t *cursor,
                   size_t budget, struct hot_taken *out, struct err *err);
int hot_redis_release(struct hot *h, unsigned partition, const struct hot_taken *t, size_t *released,
                      struct err *err);
int hot_redis_oldest(struct hot *h, unsigned partition, uint64_t *lo, struct err *err);
int hot_redis_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                   hot_window_fn fn, void *ctx, struct err *err);

/* hot_redis_read.c */
int hot_redis_pool_open(struct hot_redis *r, struct err *err) must_check;
void hot_redis_pool_close(struct hot_redis *r);

/* hot_redis_clean.c */
int hot_redis_check_memory(struct hot_redis *r, struct err *err) must_check;
void *hot_redis_cleaner_main(void *hot_redis);

#endif
