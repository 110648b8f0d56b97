/* States of a connection's bytes between two reads: nothing kept; a partial line kept (`carry`); or
 * `skipping`, inside a line that was too long and is dropped up to its newline.
 *
 * A thread reads several connections into one buffer before it submits, so that many agents with a few lines
 * each cost one submission together. The samples point into that buffer: it is reset only after a submit. */
#include "ingest/graphite_listener.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"
#include "ingest/graphite_socket.h"
#include "ingest/graphite_text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX    64
#define LINE_BYTES_MAX 65536
#define READ_BYTES     (256 * 1024)
#define READ_BYTES_MIN (16 * 1024) /* with less room than this a submit comes before the next read */
#define EVENTS         64
#define DATAGRAMS      32
#define DATAGRAM_BYTES 65536
#define ACCEPTS        256 /* in a row, before data is read again */
#define IDLE_CHECK_MS  1000
#define DRAIN_MS       500  /* reads go on at most this long after the stop */
#define STOP_WAIT_MS   2000 /* then threads that wait for the stream are let go */
#define JOIN_SLICE_MS  5

struct connection {
    struct connection *next, *prev; /* in its thread's list, the least recently active first */
    int fd;
    bool skipping;
    char *carry;
    size_t carry_len;
    int64_t active_ms; /* monotonic */
};

/* Memory for one recvmmsg. */
struct datagrams {
    struct mmsghdr msg[DATAGRAMS];
    struct iovec iov[DATAGRAMS];
    char bytes[DATAGRAMS][DATAGRAM_BYTES];
};

struct reader {
    struct graphite_listener *l;
    pthread_t thread;
    int epoll, wake;
    pthread_mutex_t mtx;
    /* shared, under mtx: the first thread adds, the owner removes */
    struct connection list;
    /* owned by the thread */
    struct sink_session *session;
    struct sample_batch batch;
    struct graphite_parser parser;
    char *buf;
    size_t used;
    struct datagrams *datagrams; /* first thread only */
};

struct graphite_listener {
    struct graphite_listener_options o;
    struct graphite_sockets sockets;
    unsigned threads; /* running */
    struct reader *reader;
    atomic_bool stopping;
    atomic_uint open; /* connections */
    /* owned by the first thread */
    unsigned next_reader;
    int spare_fd; /* given up for a moment to refuse a connection when there are no descriptors */
    struct log_limit bad_line_log, refused_log;
    struct gauge *connections;
    struct counter *accepted, *refused, *timed_out, *bytes, *datagrams;
};

/* What an epoll event belongs to; connections are told by their own address. */
static char tag_wake, tag_tcp, tag_udp;

/* --- from bytes to the sink --- */

static void log_bad_lines(struct reader *r)
{
    for (unsigned i = 0; i < r->parser.n; i++) {
        uint32_t held;
        if (log_allowed(&r->l->bad_line_log, &held))
            log_warn("graphite", "line refused", "reason=%s line=\"%s\" held_back=%u",
                     reject_name(r->parser.error[i].reason), r->parser.error[i].excerpt, held);
    }
    r->parser.n = 0;
}

/* Hands over what was parsed; the buffer is free again. */
static void submit(struct reader *r)
{
    log_bad_lines(r);
    sink_submit(r->session, &r->batch, SINK_WAIT, false, NULL, NULL);
    sample_batch_clear(&r->batch);
    r->used = 0;
}

static void submit_if_any(struct reader *r)
{
    if (r->used || r->batch.n || r->parser.n)
        submit(r);
}

static size_t buf_bytes(const struct reader *r)
{
    return READ_BYTES + r->l->o.max_line_bytes;
}

static void set_carry(struct connection *c, const char *p, size_t n)
{
    if (n == 0) {
        free(c->carry);
        c->carry = NULL;
    } else {
        c->carry = xrealloc(c->carry, n);
        memcpy(c->carry, p, n);
    }
    c->carry_len = n;
}

/* Bytes of a line that is being dropped; the rest after its newline. */
static void skip_line(struct connection *c, const char **p, size_t *n)
{
    const char *newline = memchr(*p, '\n', *n);
    size_t skipped = newline ? (size_t)(newline - *p) + 1 : *n;
    c->skipping = !newline;
    *p += skipped;
    *n -= skipped;
}

/* The connection's next bytes, with what it carried in front of them. */
static void take_bytes(struct reader *r, struct connection *c, const char *p, size_t n)
{
    if (c->skipping)
        skip_line(c, &p, &n);
    size_t taken = graphite_parse(&r->parser, p, n, false, &r->batch);
    p += taken;
    n -= taken;
    if (n > r->parser.max_line_bytes + 1) { /* one more: it may be a carriage return */
        graphite_reject(&r->parser, p, n, REJECT_LINE_TOO_LONG, &r->batch);
        c->skipping = true;
        n = 0;
    }
    set_carry(c, p, n);
}

/* --- connections --- */

static void list_append(struct reader *r, struct connection *c)
{
    c->prev = r->list.prev;
    c->next = &r->list;
    c->prev->next = c;
    r->list.prev = c;
}

static void list_remove(struct connection *c)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
}

static void connection_touch(struct reader *r, struct connection *c)
{
    if (!r->l->o.idle_timeout_ms)
        return;
    pthread_mutex_lock(&r->mtx);
    c->active_ms = clock_mono_ms(r->l->o.clock);
    list_remove(c);
    list_append(r, c);
    pthread_mutex_unlock(&r->mtx);
}

static void connection_free(struct graphite_listener *l, struct connection *c)
{
    close(c->fd);
    free(c->carry);
    free(c);
    atomic_fetch_sub(&l->open, 1);
    gauge_add(l->connections, -1);
}

/* A last line without its newline may be cut inside a number: it is refused, not guessed. */
static void connection_close(struct reader *r, struct connection *c)
{
    if (c->carry_len)
        graphite_reject(&r->parser, c->carry, c->carry_len, REJECT_SYNTAX, &r->batch);
    pthread_mutex_lock(&r->mtx);
    list_remove(c);
    pthread_mutex_unlock(&r->mtx);
    connection_free(r->l, c);
}

/* One read: level-triggered epoll brings the connection back if there is more, after the others. */
static void connection_read(struct reader *r, struct connection *c)
{
    if (buf_bytes(r) - r->used < c->carry_len + READ_BYTES_MIN)
        submit(r);
    char *start = r->buf + r->used;
    size_t carried = c->carry_len;
    ssize_t n = recv(c->fd, start + carried, buf_bytes(r) - r->used - carried, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        connection_close(r, c);
        return;
    }
    if (carried)
        memcpy(start, c->carry, carried);
    r->used += carried + (size_t)n;
    counter_add(r->l->bytes, (uint64_t)n);
    connection_touch(r, c);
    take_bytes(r, c, start, carried + (size_t)n);
}

/* The least recently active connection that was silent since before_ms, or NULL. Only the thread itself
 * closes connections, so it stays valid. */
static struct connection *silent_since(struct reader *r, int64_t before_ms)
{
    pthread_mutex_lock(&r->mtx);
    struct connection *c = r->list.next;
    bool silent = c != &r->list && c->active_ms < before_ms;
    pthread_mutex_unlock(&r->mtx);
    return silent ? c : NULL;
}

static void close_idle(struct reader *r)
{
    int64_t before_ms = clock_mono_ms(r->l->o.clock) - r->l->o.idle_timeout_ms;
    for (struct connection *c; (c = silent_since(r, before_ms));) {
        counter_add(r->l->timed_out, 1);
        connection_close(r, c);
    }
}

static void close_all(struct reader *r)
{
    for (struct connection *c; (c = silent_since(r, INT64_MAX));)
        connection_close(r, c);
}

/* The stream failed for good. A closed port makes relays keep their points; an open one would lose them. */
static void close_door(struct reader *r)
{
    struct graphite_listener *l = r->l;
    close_all(r);
    if (r != &l->reader[0] || l->sockets.tcp < 0)
        return;
    close(l->sockets.tcp);
    l->sockets.tcp = -1;
    log_error("graphite", "no longer listening: the stream gave up", "port=%u", l->sockets.port);
}

/* --- accepting, on the first thread --- */

static void refused(struct graphite_listener *l, const char *why)
{
    uint32_t held;
    counter_add(l->refused, 1);
    if (log_allowed(&l->refused_log, &held))
        log_warn("graphite", "connection refused", "why=\"%s\" open=%u held_back=%u", why,
                 atomic_load(&l->open), held);
}

static void adopt(struct graphite_listener *l, int fd)
{
    if (atomic_load(&l->open) >= l->o.max_connections) {
        close(fd);
        refused(l, "graphite.max_connections is reached");
        return;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    struct connection *c = xcalloc(1, sizeof *c);
    c->fd = fd;
    c->active_ms = clock_mono_ms(l->o.clock);
    struct reader *r = &l->reader[l->next_reader++ % l->o.threads];
    atomic_fetch_add(&l->open, 1);
    gauge_add(l->connections, 1);
    counter_add(l->accepted, 1);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    pthread_mutex_lock(&r->mtx); /* until it is in both the list and the set, its thread must not close it */
    list_append(r, c);
    int rc = epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e);
    if (rc < 0)
        list_remove(c);
    pthread_mutex_unlock(&r->mtx);
    if (rc < 0) {
        connection_free(l, c);
        refused(l, "epoll takes no more");
    }
}

/* Without a descriptor the connection would stay in the backlog and wake the thread for ever. */
static void refuse_without_fd(struct graphite_listener *l)
{
    refused(l, "no file descriptors left");
    if (l->spare_fd < 0)
        return;
    close(l->spare_fd);
    int fd = accept4(l->sockets.tcp, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_some(struct graphite_listener *l)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(l->sockets.tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            adopt(l, fd);
        else if (errno == EMFILE || errno == ENFILE)
            refuse_without_fd(l);
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* --- datagrams, on the first thread --- */

static struct datagrams *datagrams_new(void)
{
    struct datagrams *d = xmalloc(sizeof *d); /* pages are touched only as far as datagrams are long */
    memset(d->msg, 0, sizeof d->msg);
    for (int i = 0; i < DATAGRAMS; i++) {
        d->iov[i] = (struct iovec){d->bytes[i], DATAGRAM_BYTES};
        d->msg[i].msg_hdr.msg_iov = &d->iov[i];
        d->msg[i].msg_hdr.msg_iovlen = 1;
    }
    return d;
}

static void read_datagrams(struct reader *r)
{
    struct datagrams *d = r->datagrams;
    int n = recvmmsg(r->l->sockets.udp, d->msg, DATAGRAMS, MSG_DONTWAIT, NULL);
    if (n <= 0)
        return;
    uint64_t bytes = 0;
    for (int i = 0; i < n; i++) {
        graphite_parse(&r->parser, d->bytes[i], d->msg[i].msg_len, true, &r->batch);
        bytes += d->msg[i].msg_len;
    }
    counter_add(r->l->datagrams, (uint64_t)n);
    counter_add(r->l->bytes, bytes);
    submit(r); /* the names point into the datagrams */
}

/* --- threads --- */

static void handle(struct reader *r, const struct epoll_event *e)
{
    if (e->data.ptr == &tag_wake)
        return;
    if (e->data.ptr == &tag_tcp)
        accept_some(r->l);
    else if (e->data.ptr == &tag_udp)
        read_datagrams(r);
    else
        connection_read(r, e->data.ptr);
}

/* True if there was something. */
static bool turn(struct reader *r, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->epoll, events, EVENTS, timeout_ms);
    r->parser.now_ms = clock_wall_ms(r->l->o.clock);
    for (int i = 0; i < n; i++)
        handle(r, &events[i]);
    if (r->l->o.idle_timeout_ms)
        close_idle(r);
    submit_if_any(r);
    if (sink_gave_up(r->l->o.sink))
        close_door(r);
    return n > 0;
}

static void *reader_run(void *arg)
{
    struct reader *r = arg;
    struct graphite_listener *l = r->l;
    int timeout_ms = l->o.idle_timeout_ms ? IDLE_CHECK_MS : -1;
    thread_name("carat-graphite");
    while (!atomic_load(&l->stopping))
        turn(r, timeout_ms);
    epoll_ctl(r->epoll, EPOLL_CTL_DEL, r->wake, NULL);
    if (r == &l->reader[0] && l->sockets.tcp >= 0)
        epoll_ctl(r->epoll, EPOLL_CTL_DEL, l->sockets.tcp, NULL);
    int64_t until_us = clock_mono_us(clock_system()) + DRAIN_MS * 1000;
    while (turn(r, 0) && clock_mono_us(clock_system()) < until_us)
        ;
    return NULL;
}

static int watch(struct reader *r, int fd, void *tag, struct err *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = tag};
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
        return err_sys(err, ERR_IO, errno, "graphite.listen: epoll_ctl");
    return OK;
}

static int reader_init(struct reader *r, struct graphite_listener *l, struct err *err)
{
    r->l = l;
    pthread_mutex_init(&r->mtx, NULL);
    r->list.next = r->list.prev = &r->list;
    r->batch = (struct sample_batch)SAMPLE_BATCH_INIT;
    r->parser.max_line_bytes = l->o.max_line_bytes;
    r->buf = xmalloc(buf_bytes(r));
    r->session = sink_session_new(l->o.sink, "graphite");
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->epoll < 0 || r->wake < 0)
        return err_sys(err, ERR_IO, errno, "graphite.listen: cannot create an epoll set");
    return watch(r, r->wake, &tag_wake, err);
}

static void reader_release(struct reader *r)
{
    close_all(r);
    submit_if_any(r); /* counts what the closing refused */
    sink_session_free(r->session);
    sample_batch_release(&r->batch);
    free(r->buf);
    free(r->datagrams);
    if (r->epoll >= 0)
        close(r->epoll);
    if (r->wake >= 0)
        close(r->wake);
    pthread_mutex_destroy(&r->mtx);
}

static void register_metrics(struct graphite_listener *l)
{
    struct metrics *m = l->o.metrics;
    l->connections = metrics_gauge(m, "carat_graphite_connections", NULL, "Open Graphite connections.");
    l->accepted = metrics_counter(m, "carat_graphite_connections_total", NULL, "Graphite connections taken.");
    l->refused = metrics_counter(m, "carat_graphite_connections_refused_total", NULL,
                                 "Graphite connections closed at once: too many, or no descriptors.");
    l->timed_out = metrics_counter(m, "carat_graphite_connections_idle_total", NULL,
                                   "Graphite connections closed because they were silent.");
    l->bytes = metrics_counter(m, "carat_graphite_bytes_total", NULL, "Bytes of Graphite lines read.");
    l->datagrams = metrics_counter(m, "carat_graphite_datagrams_total", NULL, "Graphite datagrams read.");
}

static void set_defaults(struct graphite_listener_options *o)
{
    o->threads = o->threads ? o->threads : 2;
    o->max_line_bytes = o->max_line_bytes ? o->max_line_bytes : 16384;
    o->max_connections = o->max_connections ? o->max_connections : 10000;
    assert(o->threads <= THREADS_MAX && o->max_line_bytes <= LINE_BYTES_MAX && o->idle_timeout_ms >= 0);
}

static int start_threads(struct graphite_listener *l, struct err *err)
{
    struct reader *first = &l->reader[0];
    int rc = watch(first, l->sockets.tcp, &tag_tcp, err);
    if (rc == OK && l->sockets.udp >= 0) {
        first->datagrams = datagrams_new();
        rc = watch(first, l->sockets.udp, &tag_udp, err);
    }
    while (rc == OK && l->threads < l->o.threads) {
        int e = pthread_create(&l->reader[l->threads].thread, NULL, reader_run, &l->reader[l->threads]);
        if (e)
            rc = err_sys(err, ERR_IO, e, "graphite.listen: cannot start a thread");
        else
            l->threads++;
    }
    return rc;
}

int graphite_listener_start(const struct graphite_listener_options *o, struct graphite_listener **out,
                            struct err *err)
{
    struct graphite_listener *l = xcalloc(1, sizeof *l);
    l->o = *o;
    set_defaults(&l->o);
    l->o.address = NULL; /* the caller's, not needed again */
    int rc = graphite_sockets_open(o->address, !o->no_udp, &l->sockets, err);
    if (rc) {
        free(l);
        return rc;
    }
    register_metrics(l);
    l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    l->reader = xcalloc(l->o.threads, sizeof *l->reader);
    for (unsigned i = 0; i < l->o.threads; i++) {
        int one = reader_init(&l->reader[i], l, rc ? NULL : err);
        rc = rc ? rc : one;
    }
    if (rc == OK)
        rc = start_threads(l, err);
    if (rc) {
        graphite_listener_stop(l);
        return rc;
    }
    *out = l;
    return OK;
}

unsigned graphite_listener_port(const struct graphite_listener *l)
{
    return l->sockets.port;
}

/* Joins in time, or lets the threads that wait for the stream go and joins then. */
static void join_all(struct graphite_listener *l)
{
    unsigned joined = 0;
    for (int waited_ms = 0; joined < l->threads && waited_ms < STOP_WAIT_MS;) {
        if (pthread_tryjoin_np(l->reader[joined].thread, NULL) == 0) {
            joined++;
        } else {
            nanosleep(&(struct timespec){0, JOIN_SLICE_MS * 1000000}, NULL);
            waited_ms += JOIN_SLICE_MS;
        }
    }
    for (unsigned i = 0; i < l->o.threads; i++)
        sink_session_cancel(l->reader[i].session);
    for (; joined < l->threads; joined++)
        pthread_join(l->reader[joined].thread, NULL);
}

void graphite_listener_stop(struct graphite_listener *l)
{
    if (!l)
        return;
    atomic_store(&l->stopping, true);
    for (unsigned i = 0; i < l->threads; i++) {
        uint64_t one = 1;
        ssize_t n = write(l->reader[i].wake, &one, sizeof one);
        assert(n == sizeof one);
    }
    join_all(l);
    if (l->sockets.tcp >= 0)
        close(l->sockets.tcp);
    if (l->sockets.udp >= 0)
        close(l->sockets.udp);
    for (unsigned i = 0; i < l->o.threads; i++)
        reader_release(&l->reader[i]);
    if (l->spare_fd >= 0)
        close(l->spare_fd);
    free(l->reader);
    free(l);
}
