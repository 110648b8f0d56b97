/* Checkpoints, in a key-value bucket beside the stream ("<name>_state", key "checkpoint.<lane>", the position
 * in decimal), and trimming behind them. */
#include "stream/jetstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIM_EVERY_MS 60000
#define ATTEMPTS      5

static void key_of(unsigned lane, char key[32])
{
    snprintf(key, 32, "checkpoint.%u", lane);
}

/* What is in the bucket: *pos 0 and *revision 0 if there is nothing. */
static int load(struct js_stream *s, unsigned lane, uint64_t *pos, uint64_t *revision, struct err *err)
{
    char key[32];
    kvEntry *e = NULL;
    *pos = *revision = 0;
    key_of(lane, key);
    natsStatus st = kvStore_Get(&e, s->state, key);
    if (st == NATS_NOT_FOUND)
        return OK;
    if (st != NATS_OK)
        return js_error(s, st, 0, "read a checkpoint", err);
    const char *text = kvEntry_ValueString(e);
    char *end = NULL;
    *pos = text ? strtoull(text, &end, 10) : 0;
    *revision = kvEntry_Revision(e);
    int rc = text && *text && end && *end == 0
                 ? OK
                 : err_set(err, ERR_CORRUPT, "bucket %s_state: %s is no position", s->o.name, key);
    kvEntry_Destroy(e);
    return rc;
}

int js_last_record(struct js_lane *l, uint64_t *seq, int64_t *stored_ms, struct err *err)
{
    struct js_stream *s = l->stream;
    natsMsg *m = NULL;
    jsErrCode code = 0;
    *seq = 0;
    natsStatus st = js_GetLastMsg(&m, s->js, s->o.name, l->subject, NULL, &code);
    if (st == NATS_NOT_FOUND)
        return OK;
    if (st != NATS_OK)
        return js_error(s, st, code, "find the last record", err);
    *seq = natsMsg_GetSequence(m);
    if (stored_ms)
        *stored_ms = natsMsg_GetTime(m) / 1000000;
    natsMsg_Destroy(m);
    return OK;
}

/* The bucket has the replicas of the stream. */
int js_state_open(struct js_stream *s, struct err *err)
{
    char bucket[JS_NAME_MAX + 8];
    kvConfig c;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus st = js_GetStreamInfo(&info, s->js, s->o.name, NULL, &code);
    if (st != NATS_OK)
        return js_error(s, st, code, "look at the stream", err);
    snprintf(bucket, sizeof bucket, "%s_state", s->o.name);
    kvConfig_Init(&c);
    c.Bucket = bucket;
    c.History = 1;
    c.Replicas = (int)info->Config->Replicas;
    st = js_KeyValue(&s->state, s->js, bucket);
    if (st == NATS_NOT_FOUND)
        st = js_CreateKeyValue(&s->state, s->js, &c);
    uint64_t end = s->base_pos + info->State.LastSeq;
    jsStreamInfo_Destroy(info);
    if (st != NATS_OK)
        return js_error(s, st, 0, "open the bucket for checkpoints", err);
    for (unsigned i = 0; i < s->base.lanes; i++) {
        struct js_lane *l = &s->lane[i];
        int rc = load(s, i, &l->checkpoint, &l->revision, err);
        if (rc == OK && l->checkpoint > end)
            rc = err_set(
                err, ERR_CORRUPT,
                "the JetStream stream %s ends at position %" PRIu64 ", before the checkpoint %" PRIu64
                " of lane %u: the servers lost records they had acknowledged. Positions would be given a "
                "second time, so set jetstream.stream to a new name",
                s->o.name, end, l->checkpoint, i);
        if (rc != OK)
            return rc;
    }
    return OK;
}

uint64_t js_checkpoint_get(struct stream *stream, unsigned lane)
{
    struct js_stream *s = js_stream_of(stream);
    struct js_lane *l = &s->lane[lane];
    uint64_t pos, revision;
    struct err ignored;
    pthread_mutex_lock(&l->state_mu);
    /* Another process may have had the lane. What is known here is never ahead of what is stored. */
    if (!atomic_load(&s->closed) && load(s, lane, &pos, &revision, &ignored) == OK && pos >= l->checkpoint) {
        l->checkpoint = pos;
        l->revision = revision;
    }
    pos = l->checkpoint;
    pthread_mutex_unlock(&l->state_mu);
    return pos;
}

/* Only if nobody else moved it meanwhile; whoever did may be further. */
static int store(struct js_lane *l, uint64_t pos, struct err *err)
{
    struct js_stream *s = l->stream;
    char key[32], text[24];
    key_of(l->number, key);
    snprintf(text, sizeof text, "%" PRIu64, pos);
    for (int i = 0; i < ATTEMPTS; i++) {
        uint64_t revision = 0, there;
        struct err why = ERR_INIT;
        natsStatus st = l->revision ? kvStore_UpdateString(&revision, s->state, key, text, l->revision)
                                    : kvStore_CreateString(&revision, s->state, key, text);
        if (st == NATS_OK) {
            l->checkpoint = pos;
            l->revision = revision;
            return OK;
        }
        int failed = js_error(s, st, 0, "write a checkpoint", &why),
            rc = load(s, l->number, &there, &revision, err);
        if (rc != OK)
            return rc;
        l->checkpoint = there > l->checkpoint ? there : l->checkpoint;
        if (there >= pos) {
            l->revision = revision;
            return OK;
        }
        if (revision == l->revision) { /* nobody else was there: the servers could not take it */
            *err = why;
            return failed;
        }
        l->revision = revision;
    }
    return err_set(err, ERR_BUSY, "bucket %s_state: %s does not stop changing", s->o.name, key);
}

/* --- trimming ----------------------------------------------------------------------------------------------
 */

/* The first sequence the servers stored at or after that time; 0 if there is none. */
static int first_since(struct js_lane *l, int64_t wall_ms, uint64_t *seq, struct err *err)
{
    struct js_stream *s = l->stream;
    jsConsumerConfig c;
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    jsConsumerConfig_Init(&c);
    c.AckPolicy = js_AckNone;
    c.FilterSubject = l->subject;
    c.DeliverPolicy = js_DeliverByStartTime;
    c.OptStartTime = wall_ms * 1000000;
    c.MemoryStorage = true;
    c.Replicas = 1;
    c.InactiveThreshold = 5000000000ll;
    *seq = 0;
    natsStatus st = js_AddConsumer(&info, s->js, s->o.name, &c, NULL, &code);
    if (st != NATS_OK)
        return js_error(s, st, code, "look for old records", err);
    char subject[2 * JS_NAME_MAX + 64];
    static const char body[] = "{\"batch\":1,\"no_wait\":true}";
    natsMsg *m = NULL;
    struct js_delivery d;
    int rc = OK;
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", s->o.name, info->Name);
    bool any = info->NumPending > 0;
    if (any)
        st = natsConnection_Request(&m, s->nc, subject, body, sizeof body - 1, 5000);
    if (st != NATS_OK)
        rc = js_error(s, st, 0, "look for old records", err);
    else if (any && js_delivery_read(natsMsg_GetReply(m), &d))
        *seq = d.stream_seq;
    else if (any)
        rc = err_set(err, ERR_BUSY, "look for old records: no record came");
    natsMsg_Destroy(m);
    js_DeleteConsumer(s->js, s->o.name, info->Name, NULL, NULL);
    jsConsumerInfo_Destroy(info);
    return rc;
}

/* Records before the checkpoint and older than keep_ms go. */
static int trim(struct js_lane *l, struct err *err)
{
    struct js_stream *s = l->stream;
    uint64_t keep, until = l->checkpoint > s->base_pos ? l->checkpoint - s->base_pos + 1 : 1;
    jsErrCode code = 0;
    int rc = first_since(l, clock_wall_ms(s->o.clock) - s->o.keep_ms, &keep, err);
    if (rc != OK)
        return rc;
    if (keep && keep < until)
        until = keep;
    if (until <= 1) /* the servers take 0 and 1 for "everything" */
        return OK;
    jsOptions o;
    jsOptions_Init(&o);
    o.Stream.Purge.Subject = l->subject;
    o.Stream.Purge.Sequence = until;
    natsStatus st = js_PurgeStream(s->js, s->o.name, &o, &code);
    return st == NATS_OK ? OK : js_error(s, st, code, "remove old records", err);
}

static void look_at_size(struct js_stream *s)
{
    jsStreamInfo *info = NULL;
    if (js_GetStreamInfo(&info, s->js, s->o.name, NULL, NULL) == NATS_OK)
        atomic_store(&s->stored_bytes, info->State.Bytes);
    jsStreamInfo_Destroy(info);
}

/* A failed trim is no failure of the checkpoint: it is tried again with the next one. */
static void trim_now_and_then(struct js_lane *l)
{
    struct err err = ERR_INIT;
    int64_t now = js_mono_ms();
    int64_t every = l->stream->o.keep_ms < TRIM_EVERY_MS ? l->stream->o.keep_ms : TRIM_EVERY_MS;
    if (l->trimmed_ms && now - l->trimmed_ms < every)
        return;
    l->trimmed_ms = now;
    if (trim(l, &err) != OK && log_allowed(&l->stream->log, NULL))
        log_warn("stream", "old records are not removed yet", "lane=%u why=\"%s\"", l->number, err.text);
    look_at_size(l->stream);
}

int js_checkpoint(struct stream *stream, unsigned lane, uint64_t pos, struct err *err)
{
    struct js_stream *s = js_stream_of(stream);
    struct js_lane *l = &s->lane[lane];
    int rc = OK;
    pthread_mutex_lock(&l->state_mu);
    if (pos > l->checkpoint && pos > atomic_load(&l->synced)) {
        uint64_t seq;
        rc = js_last_record(l, &seq, NULL, err);
        if (rc == OK && pos > s->base_pos + seq)
            rc = err_set(err, ERR_INVALID, "checkpoint %" PRIu64 " of lane %u lies in the future", pos, lane);
    }
    if (rc == OK && pos > l->checkpoint)
        rc = store(l, pos, err);
    if (rc == OK)
        trim_now_and_then(l);
    pthread_mutex_unlock(&l->state_mu);
    return rc;
}
