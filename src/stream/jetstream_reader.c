/* Readers: a pull consumer each, which the servers forget when it is not used any more.
 *
 * The reader asks for some messages at a time and the servers send them as they come, so that a new record
 * arrives without being asked for. Between messages the servers send heartbeats; when those stay away, or a
 * message was missed, a new consumer is made behind the last record read. Nothing is acknowledged: what was
 * read is the reader's own business, and the checkpoint is kept elsewhere (jetstream_state.c). */
#include "stream/jetstream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_MS     50
#define HEARTBEAT_MS 500
#define SILENT_MS    2000  /* without a sign of the servers: another consumer */
#define MUST_WAIT_MS 10000 /* for a record that is known to be there */
#define EXPIRES_MS   30000
#define FORGET_MS    60000 /* an unused consumer */
#define REQUEST_MS   2000  /* shorter than the usual 5 s: the server asked may just have died */
#define ASK_BYTES    (8u << 20)
#define ASK_MAX      512
#define ASK_MIN      8
#define SKEW_MS      300000 /* clocks of appenders and servers differ by less */

struct js_reader {
    struct stream_reader base;
    struct js_lane *lane;
    struct stream_start start; /* of a reader that has read nothing yet */
    struct js_inbox *inbox;
    char consumer[JS_NAME_MAX]; /* "": none */
    uint64_t last;              /* position of the last record read or passed */
    uint64_t consumer_seq;      /* of the last message of this consumer */
    size_t asked;               /* messages on their way */
    size_t mean_bytes;
    int64_t heard_ms;
    natsMsg *held; /* the record given out points into it */
};

static struct js_reader *down(struct stream_reader *r)
{
    return container_of(r, struct js_reader, base);
}

/* --- inboxes -----------------------------------------------------------------------------------------------
 */

static struct js_inbox *inbox_new(struct js_stream *s, unsigned number, struct err *err)
{
    struct js_inbox *x = xcalloc(1, sizeof *x);
    char subject[80];
    snprintf(x->prefix, sizeof x->prefix, "_INBOX.carat.%016" PRIx64 ".%u", s->process_id, number);
    snprintf(subject, sizeof subject, "%s.*", x->prefix);
    natsStatus st = natsConnection_SubscribeSync(&x->sub, s->nc, subject);
    if (st == NATS_OK)
        st = natsSubscription_SetPendingLimits(x->sub, -1, -1);
    if (st == NATS_OK)
        return x;
    js_error(s, st, 0, "subscribe", err);
    free(x);
    return NULL;
}

static struct js_inbox *inbox_borrow(struct js_stream *s, struct err *err)
{
    pthread_mutex_lock(&s->inbox_mu);
    struct js_inbox *x = s->idle_inboxes;
    unsigned number = s->ninboxes;
    if (x)
        s->idle_inboxes = x->next;
    else
        s->ninboxes++;
    pthread_mutex_unlock(&s->inbox_mu);
    return x ? x : inbox_new(s, number, err);
}

static void inbox_give_back(struct js_stream *s, struct js_inbox *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&s->inbox_mu);
    x->next = s->idle_inboxes;
    s->idle_inboxes = x;
    pthread_mutex_unlock(&s->inbox_mu);
}

void js_inboxes_free(struct js_stream *s)
{
    while (s->idle_inboxes) {
        struct js_inbox *next = s->idle_inboxes->next;
        natsSubscription_Destroy(s->idle_inboxes->sub);
        free(s->idle_inboxes);
        s->idle_inboxes = next;
    }
}

/* --- the consumer ------------------------------------------------------------------------------------------
 */

static void consumer_drop(struct js_reader *r)
{
    struct js_stream *s = r->lane->stream;
    if (r->consumer[0] && natsConnection_Status(s->nc) == NATS_CONN_STATUS_CONNECTED) {
        jsOptions o;
        jsOptions_Init(&o);
        o.Wait = 500;
        js_DeleteConsumer(s->js, s->o.name, r->consumer, &o, NULL);
    }
    r->consumer[0] = 0;
    r->asked = 0;
}

static void where_to_begin(const struct js_reader *r, jsConsumerConfig *c)
{
    uint64_t base = r->lane->stream->base_pos;
    c->DeliverPolicy = js_DeliverByStartSequence;
    if (r->last > base) {
        c->OptStartSeq = r->last - base + 1;
    } else if (r->start.from == STREAM_TIME && r->start.from_ms > SKEW_MS) {
        c->DeliverPolicy = js_DeliverByStartTime;
        c->OptStartTime = (r->start.from_ms - SKEW_MS) * 1000000;
    } else {
        c->DeliverPolicy = js_DeliverAll;
    }
}

/* Is nothing left from the consumer's start up to `synced`? A consumer may live on a server that is behind,
 * and so may a leader that was just elected be, so its answer counts only if it knows of `synced` itself. 1:
 * nothing. */
static int nothing_there(struct js_reader *r, const jsConsumerConfig *c, uint64_t synced, struct err *err)
{
    struct js_stream *s = r->lane->stream;
    uint64_t seq = 0, known = synced - s->base_pos;
    if (c->DeliverPolicy == js_DeliverByStartTime) {
        int64_t stored_ms;
        int rc = js_last_record(r->lane, &seq, &stored_ms, err);
        return rc != OK ? rc : seq >= known && stored_ms < c->OptStartTime / 1000000;
    }
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    jsOptions o;
    jsOptions_Init(&o);
    o.Wait = REQUEST_MS;
    o.Stream.Info.SubjectsFilter = r->lane->subject;
    natsStatus st = js_GetStreamInfo(&info, s->js, s->o.name, &o, &code);
    if (st != NATS_OK)
        return js_error(s, st, code, "look for the next record", err);
    /* Old records go first: if there is any at all, the newest is there. */
    bool none = info->State.LastSeq >= known && (!info->State.Subjects || info->State.Subjects->Count == 0);
    jsStreamInfo_Destroy(info);
    return none;
}

static int consumer_make(struct js_reader *r, struct err *err)
{
    struct js_stream *s = r->lane->stream;
    uint64_t synced = atomic_load(&r->lane->synced);
    jsConsumerConfig c;
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    jsOptions o;
    consumer_drop(r);
    if (!r->inbox)
        r->inbox = inbox_borrow(s, err);
    if (!r->inbox)
        return ERR_IO;
    r->inbox->turns++;
    jsOptions_Init(&o);
    o.Wait = REQUEST_MS;
    jsConsumerConfig_Init(&c);
    c.AckPolicy = js_AckNone;
    c.FilterSubject = r->lane->subject;
    c.InactiveThreshold = FORGET_MS * 1000000ll;
    c.MemoryStorage = true;
    c.Replicas = 1;
    where_to_begin(r, &c);
    natsStatus st = js_AddConsumer(&info, s->js, s->o.name, &c, &o, &code);
    if (st != NATS_OK)
        return js_error(s, st, code, "make a consumer", err);
    snprintf(r->consumer, sizeof r->consumer, "%s", info->Name);
    int none = info->NumPending == 0 && r->last < synced ? nothing_there(r, &c, synced, err) : 0;
    if (none == 1)
        r->last = synced; /* what there was is before the start, or trimmed */
    jsConsumerInfo_Destroy(info);
    r->consumer_seq = 0;
    r->asked = 0;
    r->heard_ms = js_mono_ms();
    return none < 0 ? none : OK;
}

static int ask(struct js_reader *r, struct err *err)
{
    struct js_stream *s = r->lane->stream;
    char subject[2 * JS_NAME_MAX + 64], body[160], reply[96];
    size_t mean = r->mean_bytes ? r->mean_bytes : 4096, n = ASK_BYTES / mean;
    n = n < ASK_MIN ? ASK_MIN : n > ASK_MAX ? ASK_MAX : n;
    if (r->asked > n / 2)
        return OK;
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", s->o.name, r->consumer);
    int len = snprintf(body, sizeof body, "{\"batch\":%zu,\"expires\":%lld,\"idle_heartbeat\":%lld}", n,
                       EXPIRES_MS * 1000000ll, HEARTBEAT_MS * 1000000ll);
    snprintf(reply, sizeof reply, "%s.%" PRIu64, r->inbox->prefix, r->inbox->turns);
    natsStatus st = natsConnection_PublishRequest(s->nc, subject, reply, body, len);
    if (st != NATS_OK)
        return js_error(s, st, 0, "ask for messages", err);
    r->asked += n;
    return OK;
}

/* --- messages ----------------------------------------------------------------------------------------------
 */

/* Of this consumer, and not of one before it: a record names its consumer, all else is sent to the inbox with
 * the number of its turn. */
static bool is_mine(const struct js_reader *r, const natsMsg *m)
{
    struct js_delivery d;
    if (js_delivery_read(natsMsg_GetReply(m), &d))
        return d.consumer_len == strlen(r->consumer) && memcmp(d.consumer, r->consumer, d.consumer_len) == 0;
    const char *dot = strrchr(natsMsg_GetSubject(m), '.');
    return dot && strtoull(dot + 1, NULL, 10) == r->inbox->turns;
}

/* A message of the servers' own: heartbeat, request over, consumer gone. */
static bool is_status(struct js_reader *r, natsMsg *m)
{
    const char *status = NULL;
    if (natsMsg_GetDataLength(m) > 0 || natsMsgHeader_Get(m, "Status", &status) != NATS_OK)
        return false;
    if (strcmp(status, "100") == 0) /* heartbeat */
        return true;
    if (strcmp(status, "409") == 0 || strcmp(status, "503") == 0)
        r->heard_ms = 0; /* the consumer is gone: make another */
    else
        r->asked = 0; /* 404, 408: nothing more comes for what was asked */
    return true;
}

enum taken { TAKEN, PASSED, MISSED };

/* Is this the next record? */
static enum taken take(struct js_reader *r, natsMsg *m, struct stream_record *rec, int *status,
                       struct err *err)
{
    struct js_stream *s = r->lane->stream;
    struct js_delivery d;
    struct js_frame f;
    *status = OK;
    if (!js_delivery_read(natsMsg_GetReply(m), &d))
        return PASSED;
    if (d.consumer_seq != r->consumer_seq + 1)
        return MISSED;
    r->consumer_seq = d.consumer_seq;
    r->asked -= r->asked > 0;
    uint64_t pos = s->base_pos + d.stream_seq;
    if (pos <= r->last)
        return PASSED;
    r->last = pos;
    js_raise(&r->lane->synced, pos);
    size_t n = (size_t)natsMsg_GetDataLength(m);
    r->mean_bytes = r->mean_bytes ? (7 * r->mean_bytes + n + 7) / 8 : n + 1;
    *status = js_frame_decode((const uint8_t *)natsMsg_GetData(m), n, &f, err);
    if (*status != OK) {
        atomic_fetch_add(&s->quarantined_records, 1);
        atomic_fetch_add(&s->quarantined_bytes, n);
        js_count(s->m.quarantined_bytes, n);
        err_prefix(err, "stream %s, position %llu", s->o.name, (unsigned long long)pos);
        return TAKEN;
    }
    if (r->start.from == STREAM_TIME && f.appended_ms < r->start.from_ms)
        return PASSED;
    r->start.from = STREAM_OLDEST; /* from here on everything */
    *rec = (struct stream_record){
        .pos = pos, .appended_ms = f.appended_ms, .payload = f.payload, .size = f.size};
    return TAKEN;
}

/* Everything up to here is known to be there. */
static bool behind(const struct js_reader *r)
{
    return r->last < atomic_load(&r->lane->synced);
}

/* OK: *m. 1: nothing came in `ms`. */
static int receive(struct js_reader *r, int64_t ms, natsMsg **m, struct err *err)
{
    int rc = OK;
    if (!r->consumer[0] || js_mono_ms() - r->heard_ms > SILENT_MS)
        rc = consumer_make(r, err);
    if (rc == OK)
        rc = ask(r, err);
    if (rc != OK)
        return rc;
    natsStatus st = natsSubscription_NextMsg(m, r->inbox->sub, ms > 0 ? ms : 1);
    if (st == NATS_TIMEOUT)
        return 1;
    if (st != NATS_OK)
        return js_error(r->lane->stream, st, 0, "receive", err);
    if (!is_mine(r, *m)) {
        natsMsg_Destroy(*m);
        return 1;
    }
    r->heard_ms = js_mono_ms();
    return OK;
}

/* OK with *rec, 1 if there was none, ERR_CORRUPT, or the connection's trouble. */
static int next_of_inbox(struct js_reader *r, int64_t ms, struct stream_record *rec, struct err *err)
{
    natsMsg *m = NULL;
    int status, rc = receive(r, ms, &m, err);
    if (rc != OK)
        return rc;
    if (is_status(r, m)) {
        natsMsg_Destroy(m);
        return 1;
    }
    enum taken taken = take(r, m, rec, &status, err);
    if (taken == TAKEN && status == OK) {
        r->held = m;
        return OK;
    }
    natsMsg_Destroy(m);
    if (taken == MISSED)
        r->heard_ms = 0;
    return taken == TAKEN ? status : 1;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Waits for as long as asked, and longer while a record is known to be there. */
static int js_next(struct stream_reader *base, struct stream_record *rec, int timeout_ms, struct err *err)
{
    struct js_reader *r = down(base);
    struct js_stream *s = r->lane->stream;
    int64_t now = js_mono_ms(), until = now + timeout_ms, longest = now + MUST_WAIT_MS;
    struct err why = ERR_INIT;
    natsMsg_Destroy(r->held);
    r->held = NULL;
    for (;; now = js_mono_ms()) {
        bool must = behind(r);
        if (!must && atomic_load(&s->closed))
            return err_set(err, ERR_CLOSED, "the stream is closed");
        int rc = next_of_inbox(r, must ? SLICE_MS : least(SLICE_MS, until - now), rec, &why);
        if (rc == OK)
            return OK;
        if (rc == ERR_CORRUPT) {
            *err = why;
            return rc;
        }
        must = behind(r);
        now = js_mono_ms();
        if (rc < 0 && (now >= until || now >= longest)) {
            *err = why;
            return rc;
        }
        if (rc < 0)
            nats_Sleep(SLICE_MS);
        if (must && now >= longest)
            return err_set(err, ERR_TIMEOUT, "stream %s, lane %u: the servers do not send what is after %llu",
                           s->o.name, r->lane->number, (unsigned long long)r->last);
        if (!must && now >= until && !atomic_load(&s->closed))
            return 1;
    }
}

static void js_close(struct stream_reader *base)
{
    struct js_reader *r = down(base);
    consumer_drop(r);
    inbox_give_back(r->lane->stream, r->inbox);
    natsMsg_Destroy(r->held);
    free(r);
}

/* LATEST: behind everything appended so far, which may still be on its way. */
static int find_end(struct js_reader *r, struct err *err)
{
    struct js_stream *s = r->lane->stream;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    int rc = js_wait_settled(r->lane, &r->last, err);
    if (rc != OK || r->last)
        return rc;
    natsStatus st = js_GetStreamInfo(&info, s->js, s->o.name, NULL, &code);
    if (st != NATS_OK)
        return js_error(s, st, code, "find the end of the stream", err);
    r->last = s->base_pos + info->State.LastSeq;
    jsStreamInfo_Destroy(info);
    return OK;
}

int js_reader_open(struct stream *stream, unsigned lane, struct stream_start start,
                   struct stream_reader **out, struct err *err)
{
    static const struct stream_reader_ops ops = {js_next, js_close};
    struct js_stream *s = js_stream_of(stream);
    struct js_reader *r = xcalloc(1, sizeof *r);
    int rc = OK;
    r->base.ops = &ops;
    r->lane = &s->lane[lane];
    r->start = start;
    if (start.from == STREAM_POSITION)
        r->last = start.from_pos;
    else if (start.from == STREAM_LATEST)
        rc = find_end(r, err);
    if (rc != OK) {
        free(r);
        return rc;
    }
    *out = &r->base;
    return OK;
}
