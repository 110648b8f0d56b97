/* The way from parsed samples into the stream, the same for every door.
 *
 * sink_submit checks times, resolves names, builds batches and appends them to their partitions.
 * It is shared by all doors; each thread that submits has its own sink_session (buffers, no locks).
 *
 * Every point is counted once as received{door}, and then once as appended, as rejected{reason} or as
 * refused together with a bad point of its request. Appended points become synced or, when the stream fails
 * before it could make them durable, failed. */
#ifndef CARAT_INGEST_SINK_H
#define CARAT_INGEST_SINK_H

#include "base/clock.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "model/sample.h"
#include "stream/stream.h"

struct sink;
struct sink_session;

struct sink_options {
    struct catalog *catalog; /* borrowed, as all below */
    struct stream *stream;
    struct clock *clock;
    struct metrics *metrics;
    int64_t max_future_ms; /* points further ahead than this are refused */
    /* Oldest time a point of this series may have, from its retention. NULL: no bound. */
    int64_t (*oldest_ms)(void *ctx, const char *name, size_t name_len, int64_t now_ms);
    void *oldest_ctx;
    /* Younger than this no point is too old for any series: the shortest retention. oldest_ms is asked
     * only beyond it; 0: always. */
    int64_t sure_ms;
    /* Not OK while nothing may be taken, with the reason in *why (ERR_NO_SPACE: the disk is nearly full).
     * Cheap, any thread. SINK_WAIT waits until it is OK again. NULL: always OK. */
    int (*accepting)(void *ctx, struct err *why);
    void *accepting_ctx;
};

struct sink *sink_new(const struct sink_options *o);
/* After the stream is closed: until then batches in flight refer to the sink. */
void sink_free(struct sink *s);
/* `door` is the label of the counters: a short word such as "graphite". */
struct sink_session *sink_session_new(struct sink *s, const char *door);
void sink_session_free(struct sink_session *s);
/* Ends a sink_submit that waits for space, now and from here on: its points are given up and counted. For
 * the end of the process. Any thread. */
void sink_session_cancel(struct sink_session *s);

/* The stream has failed for good: nothing is taken until a restart. A door that cannot tell its senders
 * should close. Any thread. */
bool sink_gave_up(struct sink *s);

/* What became of a submission, told once when all of its accepted points are durable or have failed. */
struct sink_result {
    int status; /* OK: every accepted point is on stable storage */
    uint64_t accepted;
    uint64_t rejected[REJECT_KINDS]; /* by this submission's own checks; the first refused one: */
    size_t first_rejected;           /* index in the batch, SIZE_MAX if none */
    enum reject first_reason;
    struct err err;
};
/* From a thread of the stream or, when nothing was to be stored or it failed at once, from the submitter.
 * Must not block, and must not submit. */
typedef void (*sink_done_fn)(void *ctx, const struct sink_result *r);

enum sink_mode {
    SINK_WAIT,   /* block while the stream has no room: for doors that can stop reading */
    SINK_REFUSE, /* ERR_BUSY instead: for doors that can answer 503 */
};

/* Takes the batch's samples (the batch itself stays the caller's, and may be cleared on return). With
 * all_or_nothing a refused sample refuses the whole batch: status ERR_INVALID and first_* set, nothing
 * stored, and no series created unless the series limit was the reason. `done` may be NULL. Counts received
 * and rejected points (those the parser counted in b->rejected too).
 *
 * Any other status than OK means that some of the points may have been stored: a submission that needs
 * several batches can fail between them. To send all of them again is always right. */
void sink_submit(struct sink_session *s, const struct sample_batch *b, enum sink_mode mode,
                 bool all_or_nothing, sink_done_fn done, void *ctx);

#endif
