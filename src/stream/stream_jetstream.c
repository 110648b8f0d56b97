#include "stream/stream_jetstream.h"

#include "stream/jetstream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUFFER_BYTES       (32u << 20)
#define KEEP_MS            86400000
#define ACK_TIMEOUT_MS     10000
#define CONNECT_TIMEOUT_MS 10000
#define REPLICAS           3
#define REQUEST_MS         5000
#define MAX_PAYLOAD        (4u << 20)
#define HEADERS            256          /* of a message, beside its payload */
#define DUPLICATES_NS      600000000000 /* ids are remembered for ten minutes */
#define SERVERS_MAX        16

int64_t js_mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int js_error(struct js_stream *s, natsStatus st, jsErrCode code, const char *what, struct err *err)
{
    int status = st == NATS_TIMEOUT ? ERR_TIMEOUT : ERR_IO;
    if (code == JSInsufficientResourcesErr)
        status = ERR_NO_SPACE;
    natsStatus last = NATS_OK;
    const char *text = nats_GetLastError(&last);
    return err_set(err, status, "JetStream stream %s: %s: %s%s%.200s%s", s->o.name, what,
                   natsStatus_GetText(st), last == st && text ? " (" : "", last == st && text ? text : "",
                   last == st && text ? ")" : "");
}

void js_raise(_Atomic uint64_t *v, uint64_t to)
{
    uint64_t seen = atomic_load(v);
    while (seen < to && !atomic_compare_exchange_weak(v, &seen, to))
        ;
}

void js_fail(struct js_stream *s, const char *why)
{
    if (!atomic_exchange(&s->failed, true))
        log_error("stream", "JetStream is given up; nothing is acknowledged any more", "why=\"%s\"", why);
    if (s->m.failed)
        gauge_set(s->m.failed, 1);
    js_wake(s);
}

/* --- connecting --------------------------------------------------------------------------------------------
 */

static void on_closed(natsConnection *nc, void *closure)
{
    struct js_stream *s = closure;
    const char *text = NULL;
    natsConnection_GetLastError(nc, &text);
    if (!atomic_load(&s->leaving))
        js_fail(s, text ? text : "the connection was closed");
    atomic_store(&s->disconnected, true); /* s may be gone from here on */
}

static void on_reconnected(natsConnection *nc, void *closure)
{
    struct js_stream *s = closure;
    char url[256] = "";
    natsConnection_GetConnectedUrl(nc, url, sizeof url);
    js_count(s->m.reconnects, 1);
    log_info("stream", "connected to JetStream again", "url=%s", url);
}

static void on_disconnected(natsConnection *nc, void *closure)
{
    log_warn("stream", "the connection to JetStream is lost, trying again", "%s", "");
}

static natsStatus set_servers(natsOptions *opts, char *text)
{
    const char *v[SERVERS_MAX];
    int n = 0;
    char *rest = text, *one;
    while (n < SERVERS_MAX && (one = strsep(&rest, ",")) != NULL)
        if (*one)
            v[n++] = one;
    return natsOptions_SetServers(opts, v, n);
}

static natsStatus set_login(natsOptions *opts, const struct stream_jetstream_options *o)
{
    natsStatus st = NATS_OK;
    if (*o->user)
        st = natsOptions_SetUserInfo(opts, o->user, o->password);
    if (st == NATS_OK && *o->token)
        st = natsOptions_SetToken(opts, o->token);
    if (st == NATS_OK && *o->credentials)
        st = natsOptions_SetUserCredentialsFromFiles(opts, o->credentials, NULL);
    if (st == NATS_OK && (o->tls || *o->ca))
        st = natsOptions_SetSecure(opts, true);
    if (st == NATS_OK && *o->ca)
        st = natsOptions_LoadCATrustedCertificates(opts, o->ca);
    return st;
}

static natsStatus set_options(struct js_stream *s, natsOptions *opts)
{
    char *servers = xstrdup(s->o.servers);
    natsStatus st = set_servers(opts, servers);
    free(servers);
    if (st == NATS_OK)
        st = set_login(opts, &s->o);
    if (st == NATS_OK)
        st = natsOptions_SetName(opts, "carat");
    if (st == NATS_OK)
        st = natsOptions_SetMaxReconnect(opts, -1);
    if (st == NATS_OK)
        st = natsOptions_SetReconnectWait(opts, 100);
    if (st == NATS_OK)
        st = natsOptions_SetTimeout(opts, 2000);
    if (st == NATS_OK)
        st = natsOptions_SetPingInterval(opts, 2000); /* a server that hangs is left after two of them */
    if (st == NATS_OK)
        st = natsOptions_SetMaxPingsOut(opts, 2);
    if (st == NATS_OK)
        st = natsOptions_SetClosedCB(opts, on_closed, s);
    if (st == NATS_OK)
        st = natsOptions_SetReconnectedCB(opts, on_reconnected, s);
    if (st == NATS_OK)
        st = natsOptions_SetDisconnectedCB(opts, on_disconnected, s);
    return st;
}

static int connect_once(struct js_stream *s, struct err *err)
{
    natsOptions *opts = NULL;
    natsStatus st = natsOptions_Create(&opts);
    if (st == NATS_OK)
        st = set_options(s, opts);
    if (st == NATS_OK)
        st = natsConnection_Connect(&s->nc, opts);
    natsOptions_Destroy(opts);
    if (st == NATS_OK)
        return OK;
    int rc = js_error(s, st, 0, "connect", err);
    return st == NATS_CONNECTION_AUTH_FAILED || st == NATS_INVALID_ARG ? ERR_INVALID : rc;
}

/* --- the stream of the servers -----------------------------------------------------------------------------
 */

static natsStatus add_stream(struct js_stream *s, unsigned replicas, jsStreamInfo **info, jsErrCode *code)
{
    char subject[JS_SUBJECT_MAX];
    const char *subjects[] = {subject};
    jsStreamConfig c;
    snprintf(subject, sizeof subject, "%s.p.*", s->o.name);
    jsStreamConfig_Init(&c);
    c.Name = s->o.name;
    c.Description = "points on their way into Carat";
    c.Subjects = subjects;
    c.SubjectsLen = 1;
    c.Retention = js_LimitsPolicy;
    c.Storage = js_FileStorage;
    c.Discard = js_DiscardNew; /* full: refuse, never drop what is there */
    c.Duplicates = DUPLICATES_NS;
    c.Replicas = replicas;
    c.AllowDirect = false; /* a replica may be behind */
    return js_AddStream(info, s->js, &c, NULL, code);
}

/* The stream as it is, or made. A server that is no cluster gets one replica if none were asked for. */
static int find_or_make(struct js_stream *s, jsStreamInfo **info, struct err *err)
{
    jsErrCode code = 0;
    natsStatus st = js_GetStreamInfo(info, s->js, s->o.name, NULL, &code);
    if (st == NATS_OK)
        return OK;
    if (st == NATS_NOT_FOUND) {
        st = add_stream(s, s->o.replicas ? s->o.replicas : REPLICAS, info, &code);
        if (st != NATS_OK && code == JSStreamReplicasNotSupportedErr && s->o.replicas == 0) {
            st = add_stream(s, 1, info, &code);
            if (st == NATS_OK)
                log_warn("stream",
                         "one NATS server has the only copy of the stream: what it acknowledged can be "
                         "lost with it",
                         "stream=%s", s->o.name);
        }
    }
    if (st == NATS_OK)
        return OK;
    int rc = js_error(s, st, code, "find or make it", err);
    return code == JSStreamReplicasNotSupportedErr ? ERR_INVALID : rc;
}

static int open_stream(struct js_stream *s, struct err *err)
{
    jsOptions o;
    jsOptions_Init(&o);
    o.Wait = REQUEST_MS;
    o.PublishAsync.AckHandler = js_on_ack;
    o.PublishAsync.AckHandlerClosure = s;
    natsStatus st = s->js ? NATS_OK : natsConnection_JetStream(&s->js, s->nc, &o);
    if (st != NATS_OK)
        return js_error(s, st, 0, "use JetStream", err);
    jsStreamInfo *info = NULL;
    int rc = find_or_make(s, &info, err);
    if (rc != OK)
        return rc;
    /* A stream that is deleted and made again begins after everything the old one can have given. */
    s->base_pos = (uint64_t)(info->Created / 1000000) << 20;
    atomic_store(&s->stored_bytes, info->State.Bytes);
    int64_t max = natsConnection_GetMaxPayload(s->nc);
    s->base.max_payload = MAX_PAYLOAD;
    if (max < (int64_t)(MAX_PAYLOAD + HEADERS))
        s->base.max_payload = max > 2 * HEADERS ? (size_t)max - HEADERS : HEADERS;
    if (info->Config->MaxMsgSize > 2 * HEADERS &&
        s->base.max_payload > (size_t)info->Config->MaxMsgSize - HEADERS)
        s->base.max_payload = (size_t)info->Config->MaxMsgSize - HEADERS;
    if (s->base.max_payload > s->o.buffer_bytes / 4)
        s->base.max_payload = s->o.buffer_bytes / 4;
    jsStreamInfo_Destroy(info);
    return OK;
}

/* --- lanes -------------------------------------------------------------------------------------------------
 */

/* Lanes of an earlier, larger number of partitions that still have records. */
static int count_lanes(struct js_stream *s, struct err *err)
{
    char filter[JS_SUBJECT_MAX];
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    jsOptions o;
    snprintf(filter, sizeof filter, "%s.p.*", s->o.name);
    jsOptions_Init(&o);
    o.Stream.Info.SubjectsFilter = filter;
    natsStatus st = js_GetStreamInfo(&info, s->js, s->o.name, &o, &code);
    if (st != NATS_OK)
        return js_error(s, st, code, "look at its subjects", err);
    s->base.lanes = s->base.partitions;
    const jsStreamStateSubjects *subjects = info->State.Subjects;
    for (int i = 0; subjects && i < subjects->Count; i++) {
        const char *dot = strrchr(subjects->List[i].Subject, '.');
        unsigned long lane = dot ? strtoul(dot + 1, NULL, 10) : STREAM_LANES_MAX;
        if (lane < STREAM_LANES_MAX && lane >= s->base.lanes)
            s->base.lanes = (unsigned)lane + 1;
    }
    jsStreamInfo_Destroy(info);
    return OK;
}

static void lane_init(struct js_stream *s, unsigned i)
{
    struct js_lane *l = &s->lane[i];
    pthread_condattr_t attr;
    l->stream = s;
    l->number = i;
    l->last_ms = INT64_MIN;
    snprintf(l->subject, sizeof l->subject, "%s.p.%u", s->o.name, i);
    pthread_mutex_init(&l->mu, NULL);
    pthread_mutex_init(&l->state_mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->space, &attr);
    pthread_condattr_destroy(&attr);
}

static int open_lanes(struct js_stream *s, struct err *err)
{
    int rc = count_lanes(s, err);
    if (rc != OK)
        return rc;
    s->lane = xcalloc(s->base.lanes, sizeof *s->lane);
    for (unsigned i = 0; i < s->base.lanes; i++)
        lane_init(s, i);
    for (unsigned i = 0; i < s->base.lanes && rc == OK; i++) {
        uint64_t seq = 0;
        rc = js_last_record(&s->lane[i], &seq, NULL, err);
        if (seq)
            atomic_store(&s->lane[i].synced, s->base_pos + seq);
    }
    return rc;
}

/* --- life --------------------------------------------------------------------------------------------------
 */

static void js_stream_close(struct stream *stream)
{
    struct js_stream *s = js_stream_of(stream);
    for (unsigned i = 0; s->lane && i < s->base.lanes; i++) {
        pthread_mutex_lock(&s->lane[i].mu);
        s->lane[i].closing = true;
        pthread_mutex_unlock(&s->lane[i].mu);
    }
    pthread_mutex_lock(&s->wake_mu);
    s->closing = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->wake_mu);
    if (s->worker_runs)
        pthread_join(s->worker, NULL);
    s->worker_runs = false;
    atomic_store(&s->closed, true);
}

static void js_stream_free(struct stream *stream)
{
    struct js_stream *s = js_stream_of(stream);
    js_stream_close(stream);
    atomic_store(&s->leaving, true);
    if (s->nc)
        natsConnection_Close(s->nc);
    js_inboxes_free(s);
    kvStore_Destroy(s->state);
    jsCtx_Destroy(s->js);
    natsConnection_Destroy(s->nc);
    while ((s->nc && !atomic_load(&s->disconnected)) || atomic_load(&s->callbacks))
        nats_Sleep(1); /* the library's threads are still in our callbacks */
    for (unsigned i = 0; s->lane && i < s->base.lanes; i++) {
        struct js_lane *l = &s->lane[i];
        js_lane_drop(l);
        pthread_cond_destroy(&l->space);
        pthread_mutex_destroy(&l->mu);
        pthread_mutex_destroy(&l->state_mu);
    }
    free(s->lane);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->wake_mu);
    pthread_mutex_destroy(&s->inbox_mu);
    free((char *)s->o.servers);
    free((char *)s->o.name);
    free((char *)s->o.user);
    free((char *)s->o.password);
    free((char *)s->o.token);
    free((char *)s->o.credentials);
    free((char *)s->o.ca);
    free(s);
}

static uint64_t js_synced_pos(struct stream *stream, unsigned lane)
{
    struct js_stream *s = js_stream_of(stream);
    struct err ignored;
    uint64_t seq;
    /* Other processes append too. */
    if (!atomic_load(&s->closed) && js_last_record(&s->lane[lane], &seq, NULL, &ignored) == OK && seq)
        js_raise(&s->lane[lane].synced, s->base_pos + seq);
    return atomic_load(&s->lane[lane].synced);
}

static void js_get_stats(struct stream *stream, struct stream_stats *out)
{
    struct js_stream *s = js_stream_of(stream);
    *out = (struct stream_stats){.failed = atomic_load(&s->failed),
                                 .stored_bytes = atomic_load(&s->stored_bytes),
                                 .quarantined_records = atomic_load(&s->quarantined_records),
                                 .quarantined_bytes = atomic_load(&s->quarantined_bytes)};
    for (unsigned i = 0; i < s->base.lanes; i++) {
        struct js_lane *l = &s->lane[i];
        pthread_mutex_lock(&l->mu);
        out->appended_records += l->stats.appended_records;
        out->appended_bytes += l->stats.appended_bytes;
        out->appended_points += l->stats.appended_points;
        out->synced_records += l->stats.synced_records;
        out->synced_points += l->stats.synced_points;
        out->syncs += l->stats.syncs;
        out->buffered_bytes += l->buffered_bytes;
        out->last_pos = l->stats.last_pos > out->last_pos ? l->stats.last_pos : out->last_pos;
        pthread_mutex_unlock(&l->mu);
    }
}

static void register_metrics(struct js_stream *s)
{
    struct metrics *m = s->o.metrics;
    if (!m)
        return;
    s->m = (struct js_metrics){
        .appended_points = metrics_counter(m, "carat_stream_appended_points_total", NULL,
                                           "Points taken by the stream, durable or not yet."),
        .appended_bytes = metrics_counter(m, "carat_stream_appended_bytes_total", NULL,
                                          "Payload bytes taken by the stream, durable or not yet."),
        .synced_points = metrics_counter(m, "carat_stream_synced_points_total", NULL,
                                         "Points of this process that are durable in the stream."),
        .syncs = metrics_counter(m, "carat_stream_syncs_total", NULL, "Groups of records made durable."),
        .busy = metrics_counter(m, "carat_stream_busy_total", NULL,
                                "Appends refused because the buffer was full."),
        .retries = metrics_counter(m, "carat_stream_retries_total", NULL,
                                   "Records sent to JetStream again because no acknowledgement came."),
        .unknown = metrics_counter(m, "carat_stream_unknown_total", NULL,
                                   "Records given up without knowing whether JetStream has them."),
        .reconnects = metrics_counter(m, "carat_stream_reconnects_total", NULL,
                                      "Connections to JetStream that were made again."),
        .quarantined_bytes = metrics_counter(m, "carat_stream_quarantined_bytes_total", NULL,
                                             "Bytes of damaged records that readers skipped."),
        .buffered_bytes = metrics_gauge(m, "carat_stream_buffered_bytes", NULL,
                                        "Bytes taken by the stream and not yet durable."),
        .failed = metrics_gauge(m, "carat_stream_failed", NULL,
                                "1 after a failed write or sync: nothing is acknowledged any more."),
    };
}

static int check_name(const char *name, struct err *err)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    if (n == 0 || n > JS_NAME_MAX - 8 || name[n])
        return err_set(err, ERR_INVALID,
                       "jetstream.stream = %.40s: a name of at most %d letters, digits, - and _ is expected",
                       name, JS_NAME_MAX - 8);
    return OK;
}

static char *text(const char *s)
{
    return xstrdup(s ? s : "");
}

static struct js_stream *new_stream(const struct stream_jetstream_options *o)
{
    static const struct stream_ops ops = {.name = "jetstream",
                                          .append = js_append,
                                          .wait_space = js_wait_space,
                                          .reader_open = js_reader_open,
                                          .synced_pos = js_synced_pos,
                                          .checkpoint = js_checkpoint,
                                          .checkpoint_get = js_checkpoint_get,
                                          .get_stats = js_get_stats,
                                          .close = js_stream_close,
                                          .free = js_stream_free};
    struct js_stream *s = xcalloc(1, sizeof *s);
    s->base.ops = &ops;
    s->base.partitions = o->partitions;
    s->o = *o;
    s->o.servers = text(o->servers);
    s->o.name = text(o->name);
    s->o.user = text(o->user);
    s->o.password = text(o->password);
    s->o.token = text(o->token);
    s->o.credentials = text(o->credentials);
    s->o.ca = text(o->ca);
    s->o.buffer_bytes = o->buffer_bytes ? o->buffer_bytes : BUFFER_BYTES;
    s->o.keep_ms = o->keep_ms ? o->keep_ms : KEEP_MS;
    s->o.ack_timeout_ms = o->ack_timeout_ms ? o->ack_timeout_ms : ACK_TIMEOUT_MS;
    s->o.connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    if (getrandom(&s->process_id, sizeof s->process_id, 0) != sizeof s->process_id)
        s->process_id = (uint64_t)clock_mono_us(clock_system());
    pthread_condattr_t attr;
    pthread_mutex_init(&s->wake_mu, NULL);
    pthread_mutex_init(&s->inbox_mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    register_metrics(s);
    return s;
}

/* Servers that have just been started need a moment: tried until the time is over. */
static int open_with_patience(struct js_stream *s, struct err *err)
{
    int64_t until = js_mono_ms() + s->o.connect_timeout_ms;
    for (;;) {
        int rc = s->nc ? OK : connect_once(s, err);
        if (rc == OK)
            rc = open_stream(s, err);
        if (rc == OK || rc == ERR_INVALID || js_mono_ms() >= until)
            return rc;
        nats_Sleep(100);
    }
}

int stream_jetstream_open(const struct stream_jetstream_options *o, struct stream **out, struct err *err)
{
    assert(o->partitions > 0 && o->partitions <= STREAM_LANES_MAX);
    int rc = check_name(o->name, err);
    if (rc != OK)
        return rc;
    struct js_stream *s = new_stream(o);
    rc = open_with_patience(s, err);
    if (rc == OK)
        rc = open_lanes(s, err);
    if (rc == OK)
        rc = js_state_open(s, err);
    if (rc == OK) {
        int failed = pthread_create(&s->worker, NULL, js_worker_main, s);
        s->worker_runs = failed == 0;
        rc = failed ? err_sys(err, ERR_FAILED, failed, "start a thread") : OK;
    }
    if (rc != OK) {
        js_stream_free(&s->base);
        return rc;
    }
    *out = &s->base;
    return OK;
}

unsigned stream_jetstream_lanes(struct stream *s)
{
    return s->lanes;
}
