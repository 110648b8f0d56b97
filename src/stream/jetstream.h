/* What the files of the stream on NATS JetStream share.
 *
 *   stream_jetstream.c   connecting, making the stream, life
 *   jetstream_publish.c  appends and acknowledgements
 *   jetstream_reader.c   readers
 *   jetstream_state.c    checkpoints and trimming
 *
 * Lock order: a lane's mu before anything of the library. The library calls js_on_ack from a thread of its
 * own with no lock held. */
#ifndef CARAT_STREAM_JETSTREAM_H
#define CARAT_STREAM_JETSTREAM_H

#include "base/log.h"
#include "base/mem.h"
#include "stream/jetstream_frame.h"
#include "stream/stream_impl.h"
#include "stream/stream_jetstream.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#define JS_NAME_MAX    64
#define JS_SUBJECT_MAX (JS_NAME_MAX + 16)

enum js_entry_state {
    JS_QUEUED,   /* not sent */
    JS_SENT,     /* the library has the message */
    JS_ACKED,    /* pos is known */
    JS_UNSURE,   /* no acknowledgement came; it is sent again under the same id */
    JS_GIVEN_UP, /* status says why */
};

struct js_entry {
    struct js_entry *next;
    natsMsg *msg;         /* ours unless it is sent */
    const natsMsg *known; /* the same, to find the entry by */
    char id[48];
    size_t size;
    uint32_t points;
    enum js_entry_state state;
    stream_done_fn done;
    void *ctx;
    uint64_t pos;
    int64_t give_up_ms;
    int status;
    struct js_mark *marks; /* whoever wants to know where it ended up */
};

/* Filled when everything appended before it is settled. On the stack of who waits, under the lane's mu. */
struct js_mark {
    struct js_mark *next;
    bool settled;
    uint64_t pos; /* of the newest record before it */
};

struct js_lane {
    struct js_stream *stream;
    unsigned number;
    char subject[JS_SUBJECT_MAX];
    _Atomic uint64_t synced; /* newest position known to be durable */

    pthread_mutex_t mu;
    pthread_cond_t space;
    /* under mu */
    struct js_entry *head, *tail; /* in the order of appending */
    size_t buffered_bytes, nsent, nunsure, nqueued;
    bool closing; /* takes nothing more */
    bool mending; /* something was not acknowledged: nothing new is sent until that is settled */
    int64_t retry_ms;
    int64_t last_ms;
    uint64_t ids;
    uint32_t groups;
    struct stream_stats stats;

    pthread_mutex_t state_mu;
    /* under state_mu */
    uint64_t checkpoint, revision;
    int64_t trimmed_ms;
};

struct js_metrics {
    struct counter *appended_points, *appended_bytes, *synced_points, *syncs, *busy, *retries, *unknown,
        *reconnects, *quarantined_bytes;
    struct gauge *buffered_bytes, *failed;
    struct histogram *sync_seconds;
};

/* Where a reader's messages arrive. The library (3.4) may still touch a subscription that was just destroyed
 * when a message for it comes, so they are kept for other readers until the connection is closed. */
struct js_inbox {
    struct js_inbox *next;
    natsSubscription *sub; /* to <prefix>.* */
    char prefix[64];
    uint64_t turns; /* a consumer's messages are those to <prefix>.<turns> */
};

struct js_stream {
    struct stream base;
    struct stream_jetstream_options o; /* strings are ours */
    natsConnection *nc;
    jsCtx *js;
    kvStore *state;
    uint64_t base_pos; /* position of sequence 0 */
    uint64_t process_id;
    struct js_metrics m;
    struct log_limit log;
    _Atomic bool failed, closed;
    _Atomic bool leaving;       /* the connection is to be closed */
    _Atomic bool disconnected;  /* for good: the library calls nothing any more */
    _Atomic unsigned callbacks; /* under way */
    _Atomic uint64_t quarantined_records, quarantined_bytes, stored_bytes;

    pthread_t worker;
    bool worker_runs;
    pthread_mutex_t wake_mu;
    pthread_cond_t wake;
    /* under wake_mu */
    bool awake, closing, ending;

    pthread_mutex_t inbox_mu;
    /* under inbox_mu */
    struct js_inbox *idle_inboxes;
    unsigned ninboxes;

    struct js_lane *lane; /* base.lanes of them */
};

static inline struct js_stream *js_stream_of(struct stream *s)
{
    return container_of(s, struct js_stream, base);
}

static inline void js_count(struct counter *c, uint64_t n)
{
    if (c)
        counter_add(c, n);
}

int64_t js_mono_ms(void);
/* Words for a failure of the library; always negative. */
int js_error(struct js_stream *s, natsStatus st, jsErrCode code, const char *what, struct err *err);
void js_raise(_Atomic uint64_t *v, uint64_t to); /* to at least that */
void js_fail(struct js_stream *s, const char *why);

/* jetstream_publish.c */
int js_append(struct stream *s, unsigned partition, const void *payload, size_t size, uint32_t points,
              stream_done_fn done, void *ctx, struct err *err);
int js_wait_space(struct stream *s, unsigned partition, size_t size, int timeout_ms);
void js_on_ack(jsCtx *js, natsMsg *msg, jsPubAck *pa, jsPubAckErr *pae, void *closure);
void *js_worker_main(void *stream);
void js_wake(struct js_stream *s);
/* Waits until everything appended to the lane before the call is settled; *pos is the newest position of it,
 * 0 if nothing was under way. ERR_TIMEOUT. */
int js_wait_settled(struct js_lane *l, uint64_t *pos, struct err *err) must_check;
void js_lane_drop(struct js_lane *l); /* frees what is left */

/* jetstream_reader.c */
int js_reader_open(struct stream *s, unsigned lane, struct stream_start start, struct stream_reader **out,
                   struct err *err);
void js_inboxes_free(struct js_stream *s); /* after the connection was closed and all readers */

/* jetstream_state.c */
int js_state_open(struct js_stream *s, struct err *err) must_check;
int js_checkpoint(struct stream *s, unsigned lane, uint64_t pos, struct err *err);
uint64_t js_checkpoint_get(struct stream *s, unsigned lane);
/* Asks the stream's leader for the newest sequence of a lane, and when it was stored (may be NULL); 0: none.
 */
int js_last_record(struct js_lane *l, uint64_t *seq, int64_t *stored_ms, struct err *err) must_check;

#endif
