/* A submission goes through four steps, each over all of its samples: check, resolve, build, append. Only
 * the last has an effect on the stream; so a refusal that can be foreseen comes before any effect.
 *
 *   samples --check--> verdicts --resolve--> entries --build--> lanes, parcels --append--> stream
 *                                                                                            |
 *   done <-- submission, when its last parcel is told <-- ticket, one a parcel <-------------+
 */
#include "ingest/sink.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/id_set.h"
#include "model/batch.h"
#include "model/name.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long a wait for space goes on before it looks whether it is to end. */
#define WAIT_SLICE_MS 50
/* Buffers that grew beyond these for one large submission are given back. */
#define KEPT_SAMPLES 65536
#define KEPT_BYTES   (4u << 20)
/* The most that one more point with its definition adds to an encoded batch, padding included. */
#define POINT_BYTES_MAX (20 + 10 + NAME_MAX_BYTES + 24)

struct sink {
    struct sink_options o;
    unsigned partitions;
    size_t max_payload;
    struct counter *rejected[REJECT_KINDS];
    struct counter *appended, *synced, *failed, *refused_whole, *busy;
    struct histogram *ack;
    atomic_bool gave_up;
};

/* Points of one partition that are being gathered. */
struct lane {
    struct batch_builder builder;
    struct id_set defined;
    struct buf ids; /* u32 each: what `defined` holds, in order */
};

/* An encoded batch on its way out. Its buffers are reused by later submissions. */
struct parcel {
    unsigned partition;
    uint32_t points;
    struct buf payload;
    struct buf ids;
};

struct sink_session {
    struct sink *sink;
    char *door;
    struct counter *received;
    struct log_limit rejected_log, failed_log;
    atomic_bool cancelled;
    /* scratch of one submission */
    uint8_t *verdict; /* GOOD or an enum reject, for each sample */
    struct catalog_entry *entry;
    size_t cap; /* of both */
    struct lane *lane;
    struct parcel *parcel;
    size_t parcels, parcels_cap; /* in use; allocated */
};

#define GOOD REJECT_KINDS

/* One for each parcel: the context of its append. */
struct ticket {
    struct submission *sub;
    uint32_t points, nids;
    uint32_t *ids;
};

/* Lives until its last ticket is told. Allocated in one piece with its tickets and their ids. */
struct submission {
    struct sink *sink;
    atomic_uint pending; /* tickets, and one for the submitter */
    atomic_int status;   /* the first failure */
    int64_t started_us;
    sink_done_fn done;
    void *ctx;
    struct sink_result result;
    struct ticket ticket[];
};

/* --- the sink and its sessions --- */

static void register_rejects(struct sink *s)
{
    for (int i = 0; i < REJECT_KINDS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "reason=\"%s\"", reject_name((enum reject)i));
        s->rejected[i] = metrics_counter(s->o.metrics, "carat_points_rejected_total", labels,
                                         "Points refused, by reason.");
    }
}

struct sink *sink_new(const struct sink_options *o)
{
    assert(o->catalog && o->stream && o->clock && o->metrics);
    struct sink *s = xcalloc(1, sizeof *s);
    struct metrics *m = o->metrics;
    s->o = *o;
    s->partitions = stream_partitions(o->stream);
    s->max_payload = stream_max_payload(o->stream);
    assert(s->partitions > 0 && s->max_payload > 2 * POINT_BYTES_MAX);
    register_rejects(s);
    s->appended = metrics_counter(m, "carat_points_appended_total", NULL, "Points the stream took.");
    s->synced =
        metrics_counter(m, "carat_points_synced_total", NULL, "Appended points that are on stable storage.");
    s->failed = metrics_counter(m, "carat_points_failed_total", NULL,
                                "Appended points that the stream then failed to make durable.");
    s->refused_whole =
        metrics_counter(m, "carat_points_refused_with_request_total", NULL,
                        "Good points not stored because another point of their request was refused.");
    s->busy = metrics_counter(m, "carat_ingest_busy_total", NULL,
                              "Submissions answered with busy because the stream had no room.");
    s->ack = metrics_histogram(m, "carat_ingest_ack_seconds", NULL,
                               "Time from a submission to its points being durable.");
    return s;
}

void sink_free(struct sink *s)
{
    free(s);
}

bool sink_gave_up(struct sink *s)
{
    return atomic_load_explicit(&s->gave_up, memory_order_relaxed);
}

struct sink_session *sink_session_new(struct sink *sink, const char *door)
{
    struct sink_session *s = xcalloc(1, sizeof *s);
    char labels[64];
    snprintf(labels, sizeof labels, "door=\"%s\"", door);
    s->sink = sink;
    s->door = xstrdup(door);
    s->received =
        metrics_counter(sink->o.metrics, "carat_points_received_total", labels, "Points received, by door.");
    s->lane = xcalloc(sink->partitions, sizeof *s->lane);
    for (unsigned i = 0; i < sink->partitions; i++)
        s->lane[i].builder = (struct batch_builder)BATCH_BUILDER_INIT;
    return s;
}

void sink_session_free(struct sink_session *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->sink->partitions; i++) {
        batch_builder_release(&s->lane[i].builder);
        id_set_release(&s->lane[i].defined);
        buf_release(&s->lane[i].ids);
    }
    for (size_t i = 0; i < s->parcels_cap; i++) {
        buf_release(&s->parcel[i].payload);
        buf_release(&s->parcel[i].ids);
    }
    free(s->lane);
    free(s->parcel);
    free(s->verdict);
    free(s->entry);
    free(s->door);
    free(s);
}

void sink_session_cancel(struct sink_session *s)
{
    atomic_store(&s->cancelled, true);
}

static void scratch_reserve(struct sink_session *s, size_t n)
{
    if (s->cap && n <= s->cap)
        return;
    s->cap = n < 1024 ? 1024 : n + n / 2;
    s->verdict = xrealloc(s->verdict, s->cap * sizeof *s->verdict);
    s->entry = xrealloc(s->entry, s->cap * sizeof *s->entry);
}

static void scratch_trim(struct sink_session *s)
{
    if (s->cap > KEPT_SAMPLES) {
        free(s->verdict);
        free(s->entry);
        s->verdict = NULL;
        s->entry = NULL;
        s->cap = 0;
    }
    size_t kept = 0;
    for (size_t i = 0; i < s->parcels_cap; i++) {
        kept += s->parcel[i].payload.cap + s->parcel[i].ids.cap;
        if (kept > KEPT_BYTES) {
            buf_release(&s->parcel[i].payload);
            buf_release(&s->parcel[i].ids);
        }
    }
    s->parcels = 0;
}

/* --- check and resolve --- */

static void reject(struct sink_session *s, struct sink_result *r, size_t i, enum reject reason)
{
    s->verdict[i] = (uint8_t)reason;
    r->rejected[reason]++;
    if (i < r->first_rejected) {
        r->first_rejected = i;
        r->first_reason = reason;
    }
}

/* For what gets better with time and nothing else: a full disk, a catalog's store that is away. */
static void wait_a_little(void)
{
    nanosleep(&(struct timespec){0, WAIT_SLICE_MS * 1000000}, NULL);
}

/* The part of a check that most points do not need. */
static bool too_old(const struct sink_options *o, const struct sample *p, int64_t now_ms)
{
    return o->oldest_ms && p->ts_ms < o->oldest_ms(o->oldest_ctx, p->name, p->name_len, now_ms);
}

static void check_times(struct sink_session *s, const struct sample_batch *b, int64_t now_ms,
                        struct sink_result *r)
{
    const struct sink_options *o = &s->sink->o;
    int64_t latest = now_ms + o->max_future_ms;
    int64_t sure = o->sure_ms > 0 ? now_ms - o->sure_ms : INT64_MAX;
    memset(s->verdict, GOOD, b->n);
    for (size_t i = 0; i < b->n; i++) {
        const struct sample *p = &b->v[i];
        if (p->ts_ms > latest)
            reject(s, r, i, REJECT_FUTURE);
        else if (p->ts_ms < 0)
            reject(s, r, i, REJECT_TIME);
        else if (p->ts_ms < sure && too_old(o, p, now_ms))
            reject(s, r, i, REJECT_TOO_OLD);
    }
}

static bool any_rejected(const struct sink_result *r)
{
    return r->first_rejected != SIZE_MAX;
}

/* The good samples only: a refused one must not create its series. False: the catalog's store is away, and
 * some names are not known here. */
static bool look_up(struct sink_session *s, const struct sample_batch *b)
{
    bool complete = true;
    for (size_t i = 0; i < b->n;) {
        if (s->verdict[i] != GOOD) {
            i++;
            continue;
        }
        size_t start = i;
        while (i < b->n && s->verdict[i] == GOOD)
            i++;
        catalog_resolve(s->sink->o.catalog, b->v + start, i - start, s->entry + start);
    }
    for (size_t i = 0; i < b->n; i++)
        complete &= s->verdict[i] != GOOD || s->entry[i].id || !s->entry[i].away;
    return complete;
}

static int resolve(struct sink_session *s, const struct sample_batch *b, enum sink_mode mode,
                   struct sink_result *r)
{
    while (!look_up(s, b)) {
        if (mode == SINK_REFUSE || atomic_load(&s->cancelled))
            return err_set(&r->err, ERR_BUSY, "the catalog's store is away, send the points again later");
        wait_a_little();
    }
    for (size_t i = 0; i < b->n; i++)
        if (s->verdict[i] == GOOD && s->entry[i].id == 0)
            reject(s, r, i, s->entry[i].over_quota ? REJECT_SERIES_QUOTA : REJECT_SERIES_LIMIT);
    return OK;
}

/* --- build --- */

static bool lane_full(const struct sink *s, const struct lane *l)
{
    size_t bytes = 32 + l->builder.defs.len + 20 * (size_t)l->builder.npoints;
    return batch_builder_full(&l->builder) || bytes + POINT_BYTES_MAX > s->max_payload;
}

static void lane_seal(struct sink_session *s, unsigned partition)
{
    struct lane *l = &s->lane[partition];
    if (s->parcels == s->parcels_cap) {
        s->parcels_cap = s->parcels_cap ? 2 * s->parcels_cap : 4;
        s->parcel = xrealloc(s->parcel, s->parcels_cap * sizeof *s->parcel);
        memset(s->parcel + s->parcels, 0, (s->parcels_cap - s->parcels) * sizeof *s->parcel);
    }
    struct parcel *p = &s->parcel[s->parcels++];
    p->partition = partition;
    p->points = l->builder.npoints;
    buf_clear(&p->payload);
    batch_builder_encode(&l->builder, &p->payload);
    struct buf ids = p->ids;
    p->ids = l->ids;
    l->ids = ids;
    buf_clear(&l->ids);
    id_set_clear(&l->defined);
    batch_builder_clear(&l->builder, l->builder.received_ms);
}

static void lane_define(struct lane *l, const struct catalog_entry *e, const struct sample *p)
{
    if (!id_set_add(&l->defined, e->id))
        return;
    batch_builder_def(&l->builder, e->id, e->step_ms, p->name, p->name_len);
    buf_append(&l->ids, &e->id, sizeof e->id);
}

static void build(struct sink_session *s, const struct sample_batch *b, int64_t now_ms)
{
    unsigned partitions = s->sink->partitions;
    for (unsigned k = 0; k < partitions; k++)
        batch_builder_clear(&s->lane[k].builder, now_ms);
    for (size_t i = 0; i < b->n; i++) {
        if (s->verdict[i] != GOOD)
            continue;
        const struct sample *p = &b->v[i];
        const struct catalog_entry *e = &s->entry[i];
        unsigned k = partitions == 1 ? 0 : (unsigned)(p->hash % partitions);
        struct lane *l = &s->lane[k];
        if (lane_full(s->sink, l))
            lane_seal(s, k);
        if (e->define)
            lane_define(l, e, p);
        batch_builder_point(&l->builder, e->id, p->ts_ms, p->value);
    }
    for (unsigned k = 0; k < partitions; k++)
        if (s->lane[k].builder.npoints)
            lane_seal(s, k);
}

/* --- completion --- */

static void explain(struct sink_result *r)
{
    switch (r->status) {
    case OK:
        break;
    case ERR_BUSY:
        err_set(&r->err, ERR_BUSY, "the stream's buffer is full, send the points again later");
        break;
    case ERR_NO_SPACE:
        err_set(&r->err, ERR_NO_SPACE, "no disk space for the stream, send the points again later");
        break;
    case ERR_CLOSED:
        err_set(&r->err, ERR_CLOSED, "the server is shutting down, send the points again later");
        break;
    default:
        err_set(&r->err, r->status,
                "the points were not made durable (%s); the server's log says why; send them again later",
                status_name(r->status));
    }
}

/* Gives one reference back; the last one tells the result. */
static void submission_put(struct submission *sub)
{
    if (atomic_fetch_sub(&sub->pending, 1) != 1)
        return;
    struct sink *s = sub->sink;
    sub->result.status = atomic_load(&sub->status);
    if (sub->result.status == OK)
        histogram_observe_us(s->ack, (uint64_t)(clock_mono_us(s->o.clock) - sub->started_us));
    if (sub->done) {
        explain(&sub->result);
        sub->done(sub->ctx, &sub->result);
    }
    free(sub);
}

static void submission_fail(struct submission *sub, int status)
{
    int none = OK;
    if (status == ERR_FAILED)
        atomic_store(&sub->sink->gave_up, true);
    atomic_compare_exchange_strong(&sub->status, &none, status);
}

/* On a thread of the stream. */
static void on_durable(void *ctx, int status, uint64_t pos)
{
    struct ticket *t = ctx;
    struct sink *s = t->sub->sink;
    if (status == OK) {
        if (t->nids)
            catalog_defs_durable(s->o.catalog, t->ids, t->nids);
        counter_add(s->synced, t->points);
    } else {
        counter_add(s->failed, t->points);
        submission_fail(t->sub, status);
    }
    submission_put(t->sub);
}

static struct submission *submission_new(struct sink_session *s, const struct sink_result *r,
                                         sink_done_fn done, void *ctx)
{
    size_t ids = 0;
    for (size_t i = 0; i < s->parcels; i++)
        ids += s->parcel[i].ids.len;
    struct submission *sub = xmalloc(sizeof *sub + s->parcels * sizeof *sub->ticket + ids);
    sub->sink = s->sink;
    atomic_init(&sub->pending, (unsigned)s->parcels + 1);
    atomic_init(&sub->status, OK);
    sub->started_us = clock_mono_us(s->sink->o.clock);
    sub->done = done;
    sub->ctx = ctx;
    sub->result = *r;
    uint32_t *at = (uint32_t *)(sub->ticket + s->parcels);
    for (size_t i = 0; i < s->parcels; i++) {
        const struct parcel *p = &s->parcel[i];
        uint32_t nids = (uint32_t)(p->ids.len / sizeof *at);
        sub->ticket[i] = (struct ticket){sub, p->points, nids, at};
        if (nids)
            memcpy(at, p->ids.data, p->ids.len);
        at += nids;
    }
    return sub;
}

/* --- gate and append --- */

static bool has_room(const struct sink_session *s)
{
    for (size_t i = 0; i < s->parcels; i++) {
        const struct parcel *p = &s->parcel[i];
        if (stream_wait_space(s->sink->o.stream, p->partition, p->payload.len, 0) == ERR_TIMEOUT)
            return false;
    }
    return true;
}

/* OK once points may be taken; else why not, and nothing of the submission has had an effect. */
static int wait_for_gate(struct sink_session *s, enum sink_mode mode, struct err *why)
{
    const struct sink_options *o = &s->sink->o;
    int rc = OK;
    while (o->accepting && (rc = o->accepting(o->accepting_ctx, why)) < 0 && mode == SINK_WAIT &&
           !atomic_load(&s->cancelled))
        wait_a_little();
    return rc;
}

static int append(struct sink_session *s, const struct parcel *p, struct ticket *t, enum sink_mode mode)
{
    for (;;) {
        int rc = stream_append(s->sink->o.stream, p->partition, p->payload.data, p->payload.len, p->points,
                               on_durable, t, NULL);
        if ((rc != ERR_BUSY && rc != ERR_NO_SPACE) || mode == SINK_REFUSE || atomic_load(&s->cancelled))
            return rc;
        if (rc == ERR_NO_SPACE)
            wait_a_little();
        else if (stream_wait_space(s->sink->o.stream, p->partition, p->payload.len, WAIT_SLICE_MS) ==
                 ERR_FAILED)
            return ERR_FAILED;
    }
}

/* Points that did not get into the stream though nothing is wrong with them. */
static void give_up(struct sink_session *s, uint64_t points, int status)
{
    uint32_t held;
    counter_add(s->sink->rejected[REJECT_UNAVAILABLE], points);
    if (status == ERR_BUSY)
        counter_add(s->sink->busy, 1);
    if (log_allowed(&s->failed_log, &held))
        log_warn("ingest", "points not stored", "door=%s points=%llu status=%s held_back=%u", s->door,
                 (unsigned long long)points, status_name(status), held);
}

static void append_all(struct sink_session *s, struct submission *sub, enum sink_mode mode)
{
    int rc = mode == SINK_REFUSE && !has_room(s) ? ERR_BUSY : OK;
    size_t i = 0;
    for (; i < s->parcels && rc == OK; i++) {
        uint32_t points = s->parcel[i].points;
        rc = append(s, &s->parcel[i], &sub->ticket[i], mode);
        if (rc)
            break;
        counter_add(s->sink->appended, points);
    }
    if (rc) {
        uint64_t left = 0;
        submission_fail(sub, rc);
        for (; i < s->parcels; i++) {
            left += s->parcel[i].points;
            submission_put(sub);
        }
        give_up(s, left, rc);
    }
    submission_put(sub);
}

/* --- submit --- */

static void count(struct sink_session *s, const struct sample_batch *b, const struct sink_result *r)
{
    uint64_t received = b->n;
    for (int i = 0; i < REJECT_KINDS; i++) {
        uint64_t n = b->rejected[i] + r->rejected[i];
        received += b->rejected[i];
        if (n)
            counter_add(s->sink->rejected[i], n);
    }
    counter_add(s->received, received);
}

/* For doors that cannot tell the sender. */
static void log_rejected(struct sink_session *s, const struct sample_batch *b, const struct sink_result *r)
{
    uint32_t held;
    if (!log_allowed(&s->rejected_log, &held))
        return;
    const struct sample *p = &b->v[r->first_rejected];
    log_warn("ingest", "point refused", "door=%s reason=%s name=%.*s time_ms=%lld held_back=%u", s->door,
             reject_name(r->first_reason), (int)(p->name_len < 200 ? p->name_len : 200), p->name,
             (long long)p->ts_ms, held);
}

static void refuse_whole(struct sink_session *s, const struct sample_batch *b, struct sink_result *r,
                         sink_done_fn done, void *ctx)
{
    uint64_t bad = 0;
    for (int i = 0; i < REJECT_KINDS; i++)
        bad += r->rejected[i];
    counter_add(s->sink->refused_whole, b->n - bad);
    r->status =
        err_set(&r->err, ERR_INVALID, "point %zu: %s", r->first_rejected, reject_help(r->first_reason));
    r->accepted = 0;
    if (done)
        done(ctx, r);
}

static void refuse_at_gate(struct sink_session *s, const struct sample_batch *b, struct sink_result *r,
                           sink_done_fn done, void *ctx)
{
    uint64_t bad = 0;
    for (int i = 0; i < REJECT_KINDS; i++)
        bad += r->rejected[i];
    count(s, b, r);
    give_up(s, b->n - bad, r->status);
    if (done)
        done(ctx, r);
}

void sink_submit(struct sink_session *s, const struct sample_batch *b, enum sink_mode mode,
                 bool all_or_nothing, sink_done_fn done, void *ctx)
{
    struct sink_result r = {.first_rejected = SIZE_MAX};
    r.status = b->n ? wait_for_gate(s, mode, &r.err) : OK;
    if (r.status != OK) {
        refuse_at_gate(s, b, &r, done, ctx);
        return;
    }
    int64_t now_ms = clock_wall_ms(s->sink->o.clock);
    scratch_reserve(s, b->n);
    check_times(s, b, now_ms, &r);
    if (!all_or_nothing || !any_rejected(&r))
        r.status = resolve(s, b, mode, &r);
    if (r.status != OK) {
        refuse_at_gate(s, b, &r, done, ctx);
        return;
    }
    count(s, b, &r);
    if (any_rejected(&r) && !done)
        log_rejected(s, b, &r);
    if (all_or_nothing && any_rejected(&r)) {
        refuse_whole(s, b, &r, done, ctx);
        return;
    }
    build(s, b, now_ms);
    for (size_t i = 0; i < s->parcels; i++)
        r.accepted += s->parcel[i].points;
    if (s->parcels)
        append_all(s, submission_new(s, &r, done, ctx), mode);
    else if (done)
        done(ctx, &r);
    scratch_trim(s);
}
