/* The server proper: libmicrohttpd's callbacks, from the first byte of a request to its end.
 *
 * Threads: one accepts (accept.h) and deals the connections out to libmicrohttpd's daemons, a thread each.
 * Every callback of one connection runs on its daemon's thread. The handler's reply may come from anywhere
 * (request.h has the states). Lock order: server mtx, request mtx, libmicrohttpd's own. */
#include "http/http.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/accept.h"
#include "http/listen.h"
#include "http/request.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Request line and headers of one connection, and libmicrohttpd's own books. A 16 KiB address leaves room
 * for the usual headers. Over it: 414 or 431. */
#define CONNECTION_MEMORY (24u << 10)
#define STREAM_BYTES      (256u << 10)
/* How much of a body that is too large is read and thrown away, so that a client that does not wait for
 * "100 Continue" gets to see its 413; after that the connection is closed. */
#define SWALLOW_BYTES (64u << 20)
/* All bodies being read together; over it requests are answered 503. */
#define BODIES_BYTES (256u << 20)
/* After the time of http_server_stop is over: for the 503s to leave. */
#define LAST_WORDS_MS 500

#define THREADS_MAX 64

struct http_server {
    struct http_options o;
    char *listen;
    struct route_table routes;
    struct acceptor *acceptor; /* NULL: not started, or stopped */
    struct MHD_Daemon *daemon[THREADS_MAX];
    unsigned next_daemon;  /* owned by the acceptor's thread */
    _Atomic unsigned open; /* connections; those just dealt out are not in it yet */
    unsigned port;
    struct log_limit log_limit;
    struct counter *requests[4]; /* by class, 2xx first */
    struct histogram *seconds;
    struct gauge *connections;
    _Atomic size_t bodies_bytes;

    pthread_mutex_t mtx;
    pthread_cond_t idle; /* active is 0 */
    /* under mtx */
    struct http_request *first;
    unsigned active;
    bool stopping;  /* answer what is new with 503 */
    bool abandoned; /* do not wait for handlers any more */
};

int http_server_new(const struct http_options *o, struct http_server **out, struct err *err)
{
    char host[256];
    unsigned port;
    int rc = listen_parse(o->listen, host, sizeof host, &port, err);
    if (rc)
        return err_prefix(err, "http.listen");
    struct http_server *s = xcalloc(1, sizeof *s);
    s->o = *o;
    s->o.listen = s->listen = xstrdup(o->listen);
    s->o.threads = o->threads ? o->threads : 2;
    s->o.threads = s->o.threads < THREADS_MAX ? s->o.threads : THREADS_MAX;
    s->o.max_body_bytes = o->max_body_bytes ? o->max_body_bytes : 16u << 20;
    s->o.max_connections = o->max_connections ? o->max_connections : 10000;
    s->o.idle_timeout_s = o->idle_timeout_s ? o->idle_timeout_s : 90;
    static const char *const class[] = {"code=\"2xx\"", "code=\"3xx\"", "code=\"4xx\"", "code=\"5xx\""};
    for (size_t i = 0; i < ARRAY_LEN(class); i++)
        s->requests[i] =
            metrics_counter(o->metrics, "carat_http_requests_total", class[i], "HTTP requests answered.");
    s->seconds = metrics_histogram(o->metrics, "carat_http_request_seconds", NULL,
                                   "Time from a request's head to its answer.");
    s->connections = metrics_gauge(o->metrics, "carat_http_connections", NULL, "Open HTTP connections.");
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->idle, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->mtx, NULL);
    *out = s;
    return OK;
}

void http_server_route(struct http_server *s, const char *method, const char *pattern, http_handler_fn fn,
                       void *ctx)
{
    assert(!s->acceptor);
    route_add(&s->routes, method, pattern, fn, ctx);
}

/* The reply. */

static void count_reply(struct http_server *s, const struct http_request *r)
{
    unsigned class = r->reply.status / 100;
    counter_add(s->requests[class < 2 ? 0 : class > 5 ? 3 : class - 2], 1);
    int64_t us = clock_mono_us(clock_system()) - r->start_us;
    histogram_observe_us(s->seconds, us > 0 ? (uint64_t)us : 0);
}

/* A reply's stream while libmicrohttpd sends it. */
struct sending {
    struct http_stream stream;
    const char *p; /* what of it has not been taken */
    size_t n;
};

static ssize_t take_some(void *ctx, uint64_t pos, char *buf, size_t max)
{
    struct sending *s = ctx;
    while (!s->n)
        if (!s->stream.next(s->stream.ctx, &s->p, &s->n))
            return MHD_CONTENT_READER_END_OF_STREAM;
    size_t n = s->n < max ? s->n : max;
    memcpy(buf, s->p, n);
    s->p += n;
    s->n -= n;
    return (ssize_t)n;
}

static void sent(void *ctx)
{
    struct sending *s = ctx;
    s->stream.free(s->stream.ctx);
    free(s);
}

static struct MHD_Response *stream_response(struct http_stream *stream)
{
    struct sending *s = xcalloc(1, sizeof *s);
    s->stream = *stream;
    *stream = (struct http_stream){0};
    struct MHD_Response *m = MHD_create_response_from_callback(
        s->stream.size ? s->stream.size : MHD_SIZE_UNKNOWN, STREAM_BYTES, take_some, s, sent);
    if (!m)
        sent(s);
    return m;
}

/* On the server's thread, with the reply complete. */
static enum MHD_Result queue_reply(struct http_server *s, struct http_request *r, bool close_after)
{
    size_t len = r->reply.body.len;
    /* libmicrohttpd ends a chunked body that HEAD does not have (0.9.75): nothing must follow that. */
    close_after =
        close_after || (r->reply.stream.next && !r->reply.stream.size && !strcmp(r->method, "HEAD"));
    struct MHD_Response *m =
        r->reply.stream.next
            ? stream_response(&r->reply.stream)
            : MHD_create_response_from_buffer(len, len ? (void *)r->reply.body.data : (void *)"",
                                              len ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!m)
        return MHD_NO;
    if (len)
        r->reply.body = (struct buf)BUF_INIT;
    if (r->reply.content_type)
        MHD_add_response_header(m, "Content-Type", r->reply.content_type);
    for (size_t i = 0; i < r->reply.headers.n; i++)
        MHD_add_response_header(m, r->reply.headers.v[i].name, r->reply.headers.v[i].value);
    if (close_after)
        MHD_add_response_header(m, "Connection", "close");
    enum MHD_Result rc = MHD_queue_response(r->connection, r->reply.status, m);
    MHD_destroy_response(m);
    count_reply(s, r);
    return rc;
}

/* The handler. */

/* Answers what needs no handler; false if there is nothing wrong with the request. */
static bool refused(struct http_server *s, struct http_request *r, bool stopping)
{
    const char *coding = http_header(r, "Content-Encoding");
    if (stopping) {
        http_reply_header(r, "Retry-After", "1");
        http_reply_error(r, 503, "the server is shutting down");
    } else if (r->malformed.code) {
        http_reply_error(r, 400, "%s", r->malformed.text);
    } else if (!r->route && !r->allow.len) {
        http_reply_error(r, 404, "no such path: %s", r->path);
    } else if (!r->route) {
        http_reply_header(r, "Allow", buf_str(&r->allow));
        http_reply_error(r, 405, "%s does not take %s, only %s", r->path, r->method, buf_str(&r->allow));
    } else if (r->too_large) {
        http_reply_error(r, 413, "the body is larger than %zu bytes", s->o.max_body_bytes);
    } else if (r->overloaded) {
        http_reply_header(r, "Retry-After", "1");
        http_reply_error(r, 503, "too many request bodies at once; try again");
    } else if (coding && strcasecmp(coding, "identity")) {
        http_reply_error(r, 415, "Content-Encoding: %s is not supported here; send the body as it is",
                         coding);
    } else {
        return false;
    }
    return true;
}

/* The server's own answer to a request whose handler is too late. */
static void abandon(struct http_request *r)
{
    r->state = REQUEST_ABANDONED;
    r->reply.status = 503;
    r->reply.content_type = "application/json";
    r->reply.headers.n = 0;
    buf_puts(&r->reply.body,
             "{\"error\":{\"message\":\"the server is shutting down; whether the request took "
             "effect is unknown\"}}");
}

/* The handler has returned. True if the reply can be queued, false if the connection now waits for it. */
static bool settle(struct http_server *s, struct http_request *r)
{
    pthread_mutex_lock(&s->mtx);
    pthread_mutex_lock(&r->mtx);
    if (r->state == REQUEST_RUNNING && s->abandoned) {
        abandon(r);
    } else if (r->state == REQUEST_RUNNING) {
        r->state = REQUEST_WAITING;
        MHD_suspend_connection(r->connection);
    }
    bool ready = r->state != REQUEST_WAITING;
    pthread_mutex_unlock(&r->mtx);
    pthread_mutex_unlock(&s->mtx);
    return ready;
}

static enum request_state state_of(struct http_request *r)
{
    pthread_mutex_lock(&r->mtx);
    enum request_state state = r->state;
    pthread_mutex_unlock(&r->mtx);
    return state;
}

static bool is_stopping(struct http_server *s)
{
    pthread_mutex_lock(&s->mtx);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->mtx);
    return stopping;
}

/* The body is in, or a suspended connection goes on. */
static enum MHD_Result answer(struct http_server *s, struct http_request *r)
{
    enum request_state state = state_of(r);
    if (state == REQUEST_WAITING) /* woken for another reason */
        return MHD_YES;
    bool stopping = is_stopping(s);
    if (state == REQUEST_READING) {
        request_parse_form(r);
        pthread_mutex_lock(&r->mtx);
        r->state = REQUEST_RUNNING;
        pthread_mutex_unlock(&r->mtx);
        atomic_fetch_add(&r->refs, 1); /* the handler's, dropped by its reply */
        if (!refused(s, r, stopping))
            r->route->fn(r->route->ctx, r);
        if (!settle(s, r))
            return MHD_YES;
    }
    return queue_reply(s, r, stopping);
}

/* libmicrohttpd's callbacks, in the order they come. */

static void on_log(void *ctx, const char *fmt, va_list ap)
{
    struct http_server *s = ctx;
    char text[256];
    vsnprintf(text, sizeof text, fmt, ap);
    size_t n = strlen(text);
    while (n && text[n - 1] == '\n')
        text[--n] = '\0';
    if (log_allowed(&s->log_limit, NULL))
        log_debug("http", "libmicrohttpd says", "text=\"%s\"", text);
}

static void on_connection(void *ctx, struct MHD_Connection *c, void **socket_ctx,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = ctx;
    bool started = code == MHD_CONNECTION_NOTIFY_STARTED;
    gauge_add(s->connections, started ? 1 : -1);
    if (started)
        atomic_fetch_add(&s->open, 1);
    else
        atomic_fetch_sub(&s->open, 1);
}

/* We have taken the arguments. libmicrohttpd would take them too, into the connection's small memory, and
 * when they do not fit (some 600 arguments) it leaves the connection hanging without an answer (0.9.75). The
 * bytes are its read buffer, which it cuts with NULs itself right after this. */
static void hide_query(const char *target)
{
    const char *query = strchr(target, '?');
    if (query && query[1])
        ((char *)(uintptr_t)query)[1] = '\0';
}

static void *on_request_line(void *ctx, const char *target, struct MHD_Connection *c)
{
    struct http_server *s = ctx;
    struct http_request *r = request_new();
    r->connection = c;
    r->start_us = clock_mono_us(clock_system());
    request_set_target(r, target);
    hide_query(target);
    pthread_mutex_lock(&s->mtx);
    r->next = s->first;
    if (r->next)
        r->next->prev = r;
    s->first = r;
    s->active++;
    pthread_mutex_unlock(&s->mtx);
    return r;
}

static enum MHD_Result copy_header(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct http_request *r = ctx;
    http_pairs_add(&r->headers, &r->arena, arena_strndup(&r->arena, name, strlen(name)),
                   arena_strndup(&r->arena, value ? value : "", value ? strlen(value) : 0));
    return MHD_YES;
}

static enum MHD_Result on_head(struct http_server *s, struct http_request *r, const char *method)
{
    r->head_seen = true;
    r->method = arena_strndup(&r->arena, method, strlen(method));
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, copy_header, r);
    if (!r->malformed.code)
        request_set_route(r, route_find(&s->routes, r->method, &r->levels, &r->allow));
    const char *length = http_header(r, "Content-Length"), *expect = http_header(r, "Expect");
    unsigned long long announced = length ? strtoull(length, NULL, 10) : 0;
    r->too_large = announced > s->o.max_body_bytes;
    bool asks_first = expect && !strcasecmp(expect, "100-continue");
    if (r->too_large && (asks_first || announced > s->o.max_body_bytes + SWALLOW_BYTES))
        return answer(s, r); /* libmicrohttpd closes the connection after it */
    return MHD_YES;
}

static void keep_body(struct http_server *s, struct http_request *r, const char *data, size_t n)
{
    size_t before = r->body.cap;
    buf_append(&r->body, data, n);
    size_t more = r->body.cap - before;
    r->overloaded = atomic_fetch_add(&s->bodies_bytes, more) + more > BODIES_BYTES;
}

static enum MHD_Result on_body(struct http_server *s, struct http_request *r, const char *data, size_t *n)
{
    r->body_bytes += *n;
    if (r->body_bytes > s->o.max_body_bytes)
        r->too_large = true;
    if (r->body_bytes > s->o.max_body_bytes + SWALLOW_BYTES)
        return MHD_NO;
    if (!r->too_large && !r->overloaded && r->route)
        keep_body(s, r, data, *n);
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
                                 const char *version, const char *data, size_t *n, void **request)
{
    struct http_server *s = ctx;
    struct http_request *r = *request;
    if (!r->head_seen)
        return on_head(s, r, method);
    return *n ? on_body(s, r, data, n) : answer(s, r);
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *s = ctx;
    struct http_request *r = *request;
    if (!r)
        return;
    *request = NULL;
    atomic_fetch_sub(&s->bodies_bytes, r->body.cap);
    pthread_mutex_lock(&s->mtx);
    if (r->prev)
        r->prev->next = r->next;
    else
        s->first = r->next;
    if (r->next)
        r->next->prev = r->prev;
    if (--s->active == 0)
        pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->mtx);
    request_unref(r);
}

/* Start and stop. */

static void raise_file_limit(const struct http_server *s)
{
    struct rlimit l;
    rlim_t want = s->o.max_connections + 1024u; /* the rest of the program has files, too */
    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= want)
        return;
    l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
    if (setrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur < want)
        log_warn("http", "the limit on open files is lower than http.max_connections needs",
                 "open_files=%llu wanted=%llu", (unsigned long long)l.rlim_cur, (unsigned long long)want);
}

/* The acceptor's questions. */

static bool has_room(void *ctx)
{
    struct http_server *s = ctx;
    return atomic_load(&s->open) < s->o.max_connections;
}

static void take_connection(void *ctx, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct http_server *s = ctx;
    struct MHD_Daemon *d = s->daemon[s->next_daemon++ % s->o.threads];
    MHD_add_connection(d, fd, addr, len); /* on failure it has closed the socket and told on_log */
}

static struct MHD_Daemon *start_daemon(struct http_server *s)
{
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                                MHD_USE_NO_LISTEN_SOCKET,
                            0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
                            MHD_OPTION_CONNECTION_LIMIT, s->o.max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
                            s->o.idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, s,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
                            on_connection, s, MHD_OPTION_END);
}

static void stop_daemons(struct http_server *s)
{
    for (unsigned i = 0; i < s->o.threads; i++) {
        if (s->daemon[i])
            MHD_stop_daemon(s->daemon[i]);
        s->daemon[i] = NULL;
    }
}

int http_server_start(struct http_server *s, struct err *err)
{
    int fd;
    assert(!s->acceptor);
    int rc = listen_open(s->listen, "http.listen", &fd, err);
    if (rc)
        return rc;
    raise_file_limit(s);
    s->port = listen_port(fd);
    for (unsigned i = 0; i < s->o.threads && !rc; i++)
        if (!(s->daemon[i] = start_daemon(s)))
            rc = err_sys(err, ERR_IO, errno, "cannot start the HTTP server on %s (http.listen)", s->listen);
    struct acceptor_options o = {.fd = fd, .room = has_room, .take = take_connection, .ctx = s};
    if (!rc)
        rc = acceptor_start(&o, &s->acceptor, err);
    if (rc) {
        stop_daemons(s);
        close(fd);
    }
    return rc;
}

unsigned http_server_port(struct http_server *s)
{
    return s->port;
}

static void wait_idle(struct http_server *s, int timeout_ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&s->mtx);
    while (s->active && pthread_cond_timedwait(&s->idle, &s->mtx, &t) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&s->mtx);
}

/* Answers every waiting request with 503: none may be suspended when the daemon stops. */
static void abandon_waiting(struct http_server *s)
{
    unsigned n = 0;
    pthread_mutex_lock(&s->mtx);
    s->abandoned = true;
    for (struct http_request *r = s->first; r; r = r->next) {
        pthread_mutex_lock(&r->mtx);
        if (r->state == REQUEST_WAITING) {
            abandon(r);
            MHD_resume_connection(r->connection);
            n++;
        }
        pthread_mutex_unlock(&r->mtx);
    }
    pthread_mutex_unlock(&s->mtx);
    if (n)
        log_warn("http", "requests were still waiting when the server stopped", "requests=%u", n);
}

void http_server_stop(struct http_server *s, int timeout_ms)
{
    if (!s->acceptor)
        return;
    pthread_mutex_lock(&s->mtx);
    s->stopping = true;
    pthread_mutex_unlock(&s->mtx);
    acceptor_stop(s->acceptor);
    s->acceptor = NULL;
    wait_idle(s, timeout_ms);
    abandon_waiting(s);
    wait_idle(s, LAST_WORDS_MS);
    stop_daemons(s);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_stop(s, 0);
    route_table_release(&s->routes);
    pthread_mutex_destroy(&s->mtx);
    pthread_cond_destroy(&s->idle);
    free(s->listen);
    free(s);
}
