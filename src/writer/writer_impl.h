/* What the files of the writer share. */
#ifndef CARAT_WRITER_WRITER_IMPL_H
#define CARAT_WRITER_WRITER_IMPL_H

#include "writer/writer.h"

#include "base/log.h"
#include "model/deletion.h"
#include "writer/flush_batch.h"
#include "writer/rollup.h"

#include <pthread.h>
#include <stdatomic.h>

/* Positions by minute of append, to turn "older than max_unflushed" into a position. */
#define MINUTES 1024

struct lane {
    struct writer *writer;
    unsigned number;
    pthread_t thread;
    bool running;
    struct stream_reader *reader; /* owned by the lane's thread; NULL: not open yet */
    _Atomic uint64_t target;      /* caught up when applied reaches it */
    _Atomic uint64_t applied;     /* newest position that is readable */
    _Atomic int64_t applied_ms;   /* when the record there was appended; 0: none yet */
    _Atomic bool done;            /* the stream is closed and everything in it applied */
    _Atomic bool held;            /* this writer applies it now */
    _Atomic uint64_t terms;       /* times it was taken */
    _Atomic uint64_t epoch;       /* what `owns` said when it was; never 0 then */
    /* owned by the lane's thread, read by the flusher: a torn pair only makes it flush a little earlier or
     * later */
    struct {
        _Atomic int64_t minute;
        _Atomic uint64_t pos;
    } minutes[MINUTES];
    struct hot_point *points; /* BATCH_MAX_POINTS */
    struct log_limit corrupt_log, orphan_log;
    /* owned by the flusher */
    uint32_t cursor;
    uint64_t round_pos, settled;
    bool round_started;
    int64_t round_started_ms; /* monotonic */
};

struct writer {
    struct writer_options o;
    struct lane *lanes;
    pthread_t flusher, keeper;
    bool threaded; /* else driven by the caller; set before there are threads */
    bool threads_running;
    pthread_mutex_t mtx; /* protects the two conditions' waits */
    pthread_cond_t wake;
    _Atomic bool stopping;
    _Atomic bool flush_all;     /* whatever is in hot is due */
    _Atomic uint64_t hot_bytes; /* as of the flusher's last look */
    struct hot_taken taken;     /* owned by the flusher, or the caller of writer_flush */

    pthread_mutex_t flush_mtx; /* whoever merges with warm and puts: the flusher, writer_stop, a rebuild, a
                                  replay (writer_store_lock) */
    /* under flush_mtx */
    struct flush_batch batch;
    struct rollup_maker rollups;

    struct counter *applied_points, *orphaned_points, *dead_points, *corrupt_records;
    struct counter *sealed_windows, *sealed_points, *flushed_windows, *flushed_points, *flush_errors;
    struct counter *apply_waits, *again;
    struct histogram *apply_seconds, *readable_seconds, *flush_seconds, *rollup_seconds, *checkpoint_seconds;
    struct log_limit flush_log;
};

/* apply.c: one record into catalog and hot. ERR_CORRUPT, ERR_UNSUPPORTED: no point of it was applied. */
int lane_apply(struct lane *l, const struct stream_record *rec, struct err *err) must_check;

/* The step of a series' points of that time; 0: no such series. */
static inline uint32_t writer_step_at(const struct writer *w, uint32_t series, int64_t ts_ms)
{
    return w->o.step_at ? w->o.step_at(w->o.archives_ctx, series, ts_ms)
                        : catalog_step_ms(w->o.catalog, series);
}

static inline bool lane_held(struct lane *l)
{
    return atomic_load_explicit(&l->held, memory_order_acquire);
}
/* Is it this writer's, without anybody else in between, since it was taken? Asked before everything that
 * others see: hot, warm, the checkpoint. */
static inline bool lane_owned(struct lane *l)
{
    const struct writer_options *o = &l->writer->o;
    return !o->owns || o->owns(o->owns_ctx, l->number) == atomic_load(&l->epoch);
}
/* Another number each time the lane is taken; 0 while it is not to be written to. */
static inline uint64_t lane_term(struct lane *l)
{
    uint64_t term = atomic_load(&l->terms) + 1;
    return lane_held(l) && lane_owned(l) ? term : 0;
}

/* deletions.c */

/* What a deletion in the stream says, to the catalog: from now on it counts. True if series have ended. */
bool deletion_publish(struct catalog *c, const struct deletion_record *r, uint64_t pos);
/* The same, and out of hot. */
int lane_apply_deletion(struct lane *l, const struct stream_record *rec, struct err *err) must_check;

/* lane.c */
void *lane_main(void *lane);
/* Opens the stream for reading after the last applied position. */
int lane_begin(struct lane *l, struct err *err) must_check;
/* Reads one record and applies it, or ends the runs at a damaged one. 1: none came within timeout_ms, so all
 * that is durable is applied. ERR_CLOSED: the stream is closed. After an error of applying, which with
 * threads comes only when the writer is stopping, no more may be applied. */
int lane_step(struct lane *l, int timeout_ms, struct err *err) must_check;
/* The newest position appended at or before that time; 0 if not known. */
uint64_t lane_pos_at(struct lane *l, int64_t wall_ms);

/* flush.c */
void *flusher_main(void *writer);
/* What the flusher does in a tick: up to BUDGET series of each lane. The first failure; all lanes were tried.
 */
int flush_lanes(struct writer *w, struct err *err) must_check;
/* One look at up to `budget` series of a lane from *at on, which moves on (0 again after a round) once
 * everything taken is stored. *moved: windows stored. */
int flush_slice(struct lane *l, const struct hot_due *due, uint32_t *at, size_t budget,
                struct hot_taken *scratch, size_t *moved, struct err *err) must_check;
/* Every window of the lane, in the lane's own thread, so that none changes meanwhile. */
int flush_all(struct lane *l, struct err *err) must_check;

/* rebuild.c: what is stored of a series of that step, and what is being built (NULL: nothing). False: nothing
 * but points, or no such series. */
bool writer_layout(struct writer *w, uint32_t series, uint32_t step_ms, struct layout *out,
                   const struct layout **next);
/* Nothing is accepted from further ahead. */
#define WRITER_FUTURE_MS (366 * 86400000ll)

/* scan.c: definitions after `from[lane]` into the catalog. */
int scan_definitions(struct writer *w, const uint64_t *from, struct err *err) must_check;

/* Waits until `ms` have passed or writer_stop is called; true when stopping. */
bool writer_sleep(struct writer *w, int64_t ms);

#endif
