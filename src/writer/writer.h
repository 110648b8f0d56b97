/* The writer: stream -> hot -> warm.
 *
 * A thread per lane applies records to hot; a flusher moves closed windows to warm; a keeper writes the
 * catalog, syncs warm and moves the stream's checkpoints. doc/writer.md tells how these fit so that
 * nothing is lost or doubled whatever is killed when. */
#ifndef CARAT_WRITER_WRITER_H
#define CARAT_WRITER_WRITER_H

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "hot/hot.h"
#include "model/layout.h"
#include "stream/stream.h"
#include "warm/warm.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct writer;

struct writer_options {
    struct catalog *catalog; /* borrowed, as all that follow */
    struct stream *stream;
    unsigned lanes; /* of the stream, at least its partitions */
    struct hot *hot;
    struct warm *warm;
    struct clock *clock;
    struct metrics *metrics;
    struct fs *fs;
    const char *state_path; /* where the catalog's stream positions are noted */
    int64_t flush_delay_ms; /* a window rests this long after its end before it is flushed */
    uint32_t jitter_permille;
    int64_t round_ms;         /* least time between two looks at the same series */
    int64_t max_unflushed_ms; /* windows with older unflushed data are flushed though still open */
    int64_t checkpoint_ms;    /* between checkpoints */
    uint64_t hot_max_bytes;   /* above: everything is flushed; above twice that: applying waits */
    /* What is kept of a series. `layouts` goes before `archives`; both NULL: no roll-ups. */
    retention_of_fn archives;
    layout_of_fn layouts;
    layout_step_fn step_at; /* NULL: the catalog's */
    void *archives_ctx;     /* of all three */
    /* With several writers on one stream: 0 if another one has the lane now, else a number that is another
     * one whenever somebody else had it in between (lease/lease.h). A lane begins at the stream's checkpoint
     * when it is given to this writer and stops when it is taken away: from then on nothing is written to
     * hot, to warm or as a checkpoint. Hot is shared, too, and is left as it is at the end. NULL: all lanes,
     * always. Cheap, any thread. */
    uint64_t (*owns)(void *ctx, unsigned lane);
    void *owns_ctx;
};

/* Takes over the definitions the stream holds and the catalog's store does not (so that a name cannot get
 * a second id), then starts the threads. On return new points may be accepted. */
int writer_start(const struct writer_options *o, struct writer **out, struct err *err) must_check;

/* The same without threads, for who owns the time (a simulation, a tool): nothing happens but in the three
 * calls below, all from one thread. writer_stop and writer_free end it as usual. */
int writer_open(const struct writer_options *o, struct writer **out, struct err *err) must_check;
/* Applies everything that is durable in the stream now, however full hot gets. After an error only
 * writer_free. */
int writer_apply(struct writer *w, struct err *err) must_check;
/* Looks at every series once, if a round is due by `round_ms` or hot is full, and moves what is due to warm.
 */
int writer_flush(struct writer *w, struct err *err) must_check;
/* Syncs warm, writes the catalog, and lets the stream forget what is safe in both. */
int writer_checkpoint(struct writer *w, struct err *err) must_check;

/* True once everything that was durable at the start has been applied, of the lanes this writer has; else
 * *why says what is missing. */
bool writer_caught_up(struct writer *w, struct err *why);

/* Called after each series of a rebuild; non-zero stops it and is returned. */
typedef int (*rebuild_progress_fn)(void *ctx, uint64_t done, uint64_t total);

/* Makes every slot of the coarse archives that starts in [from_ms, until_ms) again, from what warm has of the
 * base: for one series, or for all with series 0. Needed when archives were added to series that had points.
 * A stored slot older than the base is kept for stays unless the new one counts as many points. Points that
 * are still in hot come in when they are flushed. What is made can be read at once and is durable with the
 * next warm_sync, which is the caller's to do: no start would make it again. ERR_CORRUPT, after all else was
 * done: some of the base is damaged, and stored slots that count more than what is left of it stay. Any
 * thread, beside everything else; progress may be NULL. */
int writer_rebuild(struct writer *w, uint32_t series, int64_t from_ms, int64_t until_ms,
                   rebuild_progress_fn progress, void *ctx, struct err *err) must_check;

/* Makes what a series' next layout has and the present one has not, as far back as there is something to make
 * it from. Again and again without harm. */
int writer_build(struct writer *w, uint32_t series, struct err *err) must_check;

/* After what `layouts` says has changed: waits until nothing goes by what it said before. */
void writer_quiesce(struct writer *w);
/* --- deletion: taking out what is dead (doc/deletion.md); for whoever sweeps, one thread --- */

/* Since when the base archive of a series has all its points, as of now. */
int64_t writer_base_whole_from(struct writer *w, uint32_t series);
/* Takes the series, whose id has ended, out of `store`: warm itself, unmasked and without cold. Of the steps
 * given. */
int writer_sweep_series(struct writer *w, struct warm *store, uint32_t series, const uint32_t *steps,
                        size_t nsteps, struct err *err) must_check;
/* The dead slots of a tombstone out of `store`, and what it takes of roll-ups of which the rules know no
 * archive any more. */
int writer_sweep_range(struct writer *w, struct warm *store, const struct tombstone *t, int64_t whole_from_ms,
                       const uint32_t *steps, size_t nsteps, struct err *err) must_check;
/* Makes the roll-ups again that it touched. *left counts stored slots with dead points in them that have to
 * stay: their base has expired, and part of their time is not deleted. *damaged: some of the base could not
 * be read, what would be made from it was left. */
int writer_sweep_rollups(struct writer *w, const struct tombstone *t, int64_t whole_from_ms, uint64_t *left,
                         bool *damaged, struct err *err) must_check;

/* Newest position of a lane that is applied, and so can be read. Any thread. */
uint64_t writer_applied(struct writer *w, unsigned lane);

/* How far behind the stream a lane is: durable records that are not applied, and the age of the newest
 * applied one while there are any. False: another writer has the lane. Any thread. */
bool writer_lag(struct writer *w, unsigned lane, uint64_t *records, int64_t *age_ms);

/* Everything up to and including *pos has left hot, at least for warm's memory, with its roll-ups. Looks at
 * every series. Any thread. */
int writer_flushed(struct writer *w, unsigned lane, uint64_t *pos, struct err *err) must_check;

/* Moves to warm all that is in the stream now, with its roll-ups, however young. `stop` (may be NULL) is
 * asked now and then; true ends it with ERR_CLOSED. One caller at a time, with threads. */
int writer_flush_all(struct writer *w, bool (*stop)(void *ctx), void *ctx, struct err *err) must_check;

/* Held while a window of warm is read, merged and replaced; whoever else does that takes it too. Nothing is
 * waited for under it but warm. */
pthread_mutex_t *writer_store_lock(struct writer *w);

/* Stores a base part with the roll-ups that follow from it, and removes others of its window, in one step. It
 * holds all that warm has of the window. The caller holds writer_store_lock. */
int writer_put(struct writer *w, const struct part *p, const struct part_key *remove, size_t nremove,
               struct err *err) must_check;

/* After stream_close: applies what is left, flushes all windows as far as deadline_ms (wall clock) allows,
 * writes the catalog and the checkpoints, joins the threads. What was not flushed is still in the stream. */
void writer_stop(struct writer *w, int64_t deadline_ms);
void writer_free(struct writer *w);

#endif
