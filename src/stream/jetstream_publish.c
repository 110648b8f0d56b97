/* Appends and their acknowledgements.
 *
 * A lane's records are sent in the order of appending, many at once. Acknowledgements come in that order too,
 * and `done` is called in it. When one does not come, the record may be in the stream or not. Then nothing
 * new is sent until everything sent before is settled: what is unsure is sent again under the same message
 * id, which the servers take for the same message as long as they remember it (`Duplicates` of the stream).
 * Only then `done` is called, in the order of positions. */
#include "stream/jetstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT     1024 /* messages sent and not acknowledged, per lane */
#define ACK_WAIT_MS   2500 /* for one attempt */
#define RETRY_MS      100
#define CLOSE_WAIT_MS 5000 /* after stream_close what is still unsure is given up */
#define IDLE_MS       1000

/* --- the queue; all with mu held ---------------------------------------------------------------------------
 */

static bool has_room(const struct js_lane *l, size_t size)
{
    return l->buffered_bytes == 0 || l->buffered_bytes + size <= l->stream->o.buffer_bytes;
}

static void set_state(struct js_lane *l, struct js_entry *e, enum js_entry_state state)
{
    l->nsent -= e->state == JS_SENT;
    l->nunsure -= e->state == JS_UNSURE;
    l->nqueued -= e->state == JS_QUEUED;
    e->state = state;
    l->nsent += state == JS_SENT;
    l->nunsure += state == JS_UNSURE;
    l->nqueued += state == JS_QUEUED;
}

static void note_trouble(struct js_lane *l, const char *why)
{
    js_count(l->stream->m.retries, 1);
    l->retry_ms = js_mono_ms() + RETRY_MS;
    if (log_allowed(&l->stream->log, NULL))
        log_warn("stream", "no acknowledgement from JetStream, sending again", "lane=%u why=\"%s\"",
                 l->number, why);
}

static void send_entry(struct js_lane *l, struct js_entry *e)
{
    jsPubOptions o;
    jsPubOptions_Init(&o);
    o.MsgId = e->id;
    o.MaxWait = ACK_WAIT_MS;
    o.ExpectStream = l->stream->o.name;
    set_state(l, e, JS_SENT);
    natsStatus st = js_PublishMsgAsync(l->stream->js, &e->msg, &o);
    if (st != NATS_OK) { /* the message is still ours */
        set_state(l, e, JS_UNSURE);
        l->mending = true;
        note_trouble(l, natsStatus_GetText(st));
    }
}

static void send_queued(struct js_lane *l)
{
    for (struct js_entry *e = l->head; e && l->nqueued && l->nsent < IN_FLIGHT && !l->mending; e = e->next)
        if (e->state == JS_QUEUED)
            send_entry(l, e);
}

static void entry_free(struct js_entry *e)
{
    natsMsg_Destroy(e->msg);
    free(e);
}

void js_lane_drop(struct js_lane *l)
{
    while (l->head) {
        struct js_entry *next = l->head->next;
        entry_free(l->head);
        l->head = next;
    }
    l->tail = NULL;
}

/* --- appending ---------------------------------------------------------------------------------------------
 */

static struct js_entry *entry_new(struct js_lane *l, const void *payload, size_t size, uint32_t points)
{
    struct js_entry *e = xcalloc(1, sizeof *e);
    uint8_t *frame = xmalloc(JS_FRAME_BYTES + size);
    int64_t now = clock_wall_ms(l->stream->o.clock);
    l->last_ms = now > l->last_ms ? now : l->last_ms;
    js_frame_encode(frame, &(struct js_frame){l->last_ms, points, payload, size});
    natsStatus st =
        natsMsg_Create(&e->msg, l->subject, NULL, (const char *)frame, (int)(JS_FRAME_BYTES + size));
    free(frame);
    if (st != NATS_OK) {
        free(e);
        return NULL;
    }
    e->known = e->msg;
    e->size = size;
    e->points = points;
    snprintf(e->id, sizeof e->id, "%016" PRIx64 "-%u-%" PRIu64, l->stream->process_id, l->number, l->ids++);
    return e;
}

static void push(struct js_lane *l, struct js_entry *e)
{
    if (l->tail)
        l->tail->next = e;
    else
        l->head = e;
    l->tail = e;
    l->nqueued++;
    l->buffered_bytes += e->size;
    l->stats.appended_records++;
    l->stats.appended_bytes += e->size;
    l->stats.appended_points += e->points;
}

int js_append(struct stream *stream, unsigned partition, const void *payload, size_t size, uint32_t points,
              stream_done_fn done, void *ctx, struct err *err)
{
    struct js_stream *s = js_stream_of(stream);
    struct js_lane *l = &s->lane[partition];
    struct js_entry *e = NULL;
    int rc = OK;
    pthread_mutex_lock(&l->mu);
    if (l->closing)
        rc = err_set(err, ERR_CLOSED, "the stream is closing");
    else if (atomic_load(&s->failed))
        rc = err_set(err, ERR_FAILED, "the connection to JetStream is gone for good");
    else if (!has_room(l, size))
        rc = err_set(err, ERR_BUSY, "partition %u is full", partition);
    else if (!(e = entry_new(l, payload, size, points)))
        rc = err_set(err, ERR_BUSY, "partition %u: no memory for a message", partition);
    if (rc == OK) {
        e->done = done;
        e->ctx = ctx;
        e->give_up_ms = js_mono_ms() + s->o.ack_timeout_ms;
        push(l, e);
        if (!l->mending && l->nqueued == 1 && l->nsent < IN_FLIGHT)
            send_entry(l, e);
        js_count(s->m.appended_points, points);
        js_count(s->m.appended_bytes, size);
        if (s->m.buffered_bytes)
            gauge_add(s->m.buffered_bytes, (int64_t)size);
    }
    pthread_mutex_unlock(&l->mu);
    if (rc == ERR_BUSY)
        js_count(s->m.busy, 1);
    return rc;
}

static struct timespec in_ms(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

int js_wait_settled(struct js_lane *l, uint64_t *pos, struct err *err)
{
    struct js_mark mark = {0};
    struct timespec until = in_ms(l->stream->o.ack_timeout_ms + 1000);
    int rc = OK;
    pthread_mutex_lock(&l->mu);
    struct js_entry *e = l->tail;
    if (e) {
        mark.next = e->marks;
        e->marks = &mark;
    }
    while (e && !mark.settled && rc == OK)
        if (pthread_cond_timedwait(&l->space, &l->mu, &until) != 0)
            rc = err_set(err, ERR_TIMEOUT, "lane %u: what was appended before is not settled", l->number);
    for (struct js_mark **m = e && !mark.settled ? &e->marks : NULL; m && *m; m = &(*m)->next)
        if (*m == &mark) {
            *m = mark.next;
            break;
        }
    pthread_mutex_unlock(&l->mu);
    *pos = mark.pos;
    return rc;
}

int js_wait_space(struct stream *stream, unsigned partition, size_t size, int timeout_ms)
{
    struct js_stream *s = js_stream_of(stream);
    struct js_lane *l = &s->lane[partition];
    struct timespec until = in_ms(timeout_ms);
    int rc = OK;
    pthread_mutex_lock(&l->mu);
    while (rc == OK && !has_room(l, size) && !atomic_load(&s->failed) && !atomic_load(&s->closed))
        if (pthread_cond_timedwait(&l->space, &l->mu, &until) != 0)
            rc = ERR_TIMEOUT;
    pthread_mutex_unlock(&l->mu);
    return rc == OK && atomic_load(&s->failed) ? ERR_FAILED : rc;
}

/* --- acknowledgements --------------------------------------------------------------------------------------
 */

static struct js_lane *lane_of(struct js_stream *s, const natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg), *dot = strrchr(subject, '.');
    unsigned long number = dot ? strtoul(dot + 1, NULL, 10) : s->base.lanes;
    return number < s->base.lanes ? &s->lane[number] : NULL;
}

void js_on_ack(jsCtx *js, natsMsg *msg, jsPubAck *pa, jsPubAckErr *pae, void *closure)
{
    struct js_stream *s = closure;
    struct js_lane *l = lane_of(s, msg);
    struct js_entry *e;
    if (!l) {
        natsMsg_Destroy(msg);
        return;
    }
    atomic_fetch_add(&s->callbacks, 1); /* the entry keeps s alive until it is settled, this after that */
    pthread_mutex_lock(&l->mu);
    for (e = l->head; e && !(e->known == msg && e->state == JS_SENT); e = e->next)
        ;
    if (e && pa) {
        set_state(l, e, JS_ACKED);
        e->pos = s->base_pos + pa->Sequence;
    } else if (e) {
        set_state(l, e, JS_UNSURE);
        e->msg = msg;
        msg = NULL;
        l->mending = true;
        note_trouble(l, pae->ErrText ? pae->ErrText : natsStatus_GetText(pae->Err));
    }
    pthread_mutex_unlock(&l->mu);
    natsMsg_Destroy(msg);
    js_wake(s);
    atomic_fetch_sub(&s->callbacks, 1);
}

/* --- the worker --------------------------------------------------------------------------------------------
 */

void js_wake(struct js_stream *s)
{
    pthread_mutex_lock(&s->wake_mu);
    s->awake = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->wake_mu);
}

/* Takes the settled entries at the head of the queue. */
static struct js_entry *take_settled(struct js_lane *l, size_t *n)
{
    struct js_entry *first = l->head, *last = NULL;
    uint64_t newest = 0;
    *n = 0;
    while (l->head && (l->head->state == JS_ACKED || l->head->state == JS_GIVEN_UP)) {
        last = l->head;
        l->head = last->next;
        newest = last->pos > newest ? last->pos : newest;
        for (struct js_mark *m = last->marks; m; m = m->next) {
            m->pos = newest;
            m->settled = true;
        }
        ++*n;
    }
    if (!last)
        return NULL;
    last->next = NULL;
    if (!l->head)
        l->tail = NULL;
    return first;
}

/* Sends again what is unsure, or gives it up. */
static void mend(struct js_lane *l, int64_t now)
{
    if (l->nsent || (l->nunsure && now < l->retry_ms))
        return;
    for (struct js_entry *e = l->head; e; e = e->next) {
        if (e->state != JS_UNSURE)
            continue;
        if (now >= e->give_up_ms || atomic_load(&l->stream->failed)) {
            e->status = atomic_load(&l->stream->failed) ? ERR_FAILED : ERR_TIMEOUT;
            set_state(l, e, JS_GIVEN_UP);
            js_count(l->stream->m.unknown, 1);
        } else {
            send_entry(l, e);
        }
    }
    l->mending = l->nsent || l->nunsure;
}

static int by_position(const void *a, const void *b)
{
    const struct js_entry *x = *(struct js_entry *const *)a, *y = *(struct js_entry *const *)b;
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

/* After mending the order of positions may not be that of appending. Those given up have none and go first.
 */
static struct js_entry *sorted(struct js_entry *list, size_t n)
{
    struct js_entry **v = xmalloc(n * sizeof *v);
    size_t i = 0;
    for (struct js_entry *e = list; e; e = e->next)
        v[i++] = e;
    qsort(v, n, sizeof *v, by_position);
    for (i = 0; i < n; i++)
        v[i]->next = i + 1 < n ? v[i + 1] : NULL;
    list = v[0];
    free(v);
    return list;
}

/* Readers know of a record before its sender does. */
static void tell(struct js_lane *l, struct js_entry *list)
{
    struct js_stream *s = l->stream;
    uint64_t newest = 0, points = 0, records = 0;
    size_t bytes = 0;
    for (struct js_entry *e = list; e; e = e->next) {
        newest = e->pos > newest ? e->pos : newest;
        points += e->state == JS_ACKED ? e->points : 0;
        records += e->state == JS_ACKED;
        bytes += e->size;
    }
    js_raise(&l->synced, newest);
    pthread_mutex_lock(&l->mu);
    l->buffered_bytes -= bytes;
    l->stats.synced_records += records;
    l->stats.synced_points += points;
    l->stats.syncs++;
    l->stats.last_pos = newest > l->stats.last_pos ? newest : l->stats.last_pos;
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->mu);
    js_count(s->m.synced_points, points);
    js_count(s->m.syncs, 1);
    if (s->m.buffered_bytes)
        gauge_add(s->m.buffered_bytes, -(int64_t)bytes);
    while (list) {
        struct js_entry *next = list->next;
        if (list->done)
            list->done(list->ctx, list->state == JS_ACKED ? OK : list->status, list->pos);
        entry_free(list);
        list = next;
    }
}

/* True if there is something left in the lane. */
static bool serve_lane(struct js_lane *l)
{
    size_t n = 0;
    pthread_mutex_lock(&l->mu);
    bool was_mending = l->mending;
    if (l->mending)
        mend(l, js_mono_ms());
    struct js_entry *settled = l->mending ? NULL : take_settled(l, &n);
    if (!l->mending)
        send_queued(l);
    bool left = l->head != NULL;
    pthread_mutex_unlock(&l->mu);
    if (settled)
        tell(l, was_mending ? sorted(settled, n) : settled);
    return left;
}

/* What is not settled soon after the close is given up. */
static void hurry(struct js_stream *s)
{
    int64_t last = js_mono_ms() + CLOSE_WAIT_MS;
    for (unsigned i = 0; i < s->base.lanes; i++) {
        pthread_mutex_lock(&s->lane[i].mu);
        for (struct js_entry *e = s->lane[i].head; e; e = e->next)
            e->give_up_ms = e->give_up_ms < last ? e->give_up_ms : last;
        pthread_mutex_unlock(&s->lane[i].mu);
    }
}

/* True when closing. */
static bool wait_for_work(struct js_stream *s, bool something_left)
{
    struct timespec until = in_ms(something_left ? RETRY_MS : IDLE_MS);
    pthread_mutex_lock(&s->wake_mu);
    while (!s->awake && !(s->closing && !s->ending))
        if (pthread_cond_timedwait(&s->wake, &s->wake_mu, &until) != 0)
            break;
    s->awake = false;
    bool closing = s->closing;
    bool hurried = s->ending;
    s->ending = closing;
    pthread_mutex_unlock(&s->wake_mu);
    if (closing && !hurried)
        hurry(s);
    return closing;
}

void *js_worker_main(void *arg)
{
    struct js_stream *s = arg;
    bool closing = false, left = false;
    do {
        bool was_closing = closing;
        left = false;
        for (unsigned i = 0; i < s->base.lanes; i++)
            left |= serve_lane(&s->lane[i]);
        if (was_closing && !left)
            break;
        closing = wait_for_work(s, left);
    } while (true);
    return NULL;
}
