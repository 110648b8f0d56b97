#include "http/api_graphite.h"

#include "base/mem.h"
#include "base/pool.h"
#include "base/spare.h"
#include "base/thread_name.h"
#include "query/api.h"
#include "query/format.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_BYTES (24u << 20) /* of the text of long answers, kept for the next one */

struct waiting {
    struct waiting *next;
    struct http_request *request;
    const char *prefix; /* of a route with a variable level: the path is prefix + level */
};

struct api_graphite {
    struct api_graphite_options o;
    struct query_env env;
    pthread_t *threads;
    unsigned nthreads;
    struct histogram *seconds;
    struct counter *refused, *cancelled;
    /* shared, under mtx */
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    struct waiting *first, **last;
    unsigned nwaiting;
    bool stopping;
};

static void reply_busy(struct http_request *r, const char *why)
{
    http_reply_header(r, "Retry-After", "1");
    http_reply_error(r, 503, "%s", why);
}

/* --- one request --- */

static struct api_arg *collect_args(struct http_request *r, struct arena *arena, size_t *n)
{
    const char *name, *value;
    size_t count = 0;
    while (http_arg_each(r, (unsigned)count, &name, &value) == 0)
        count++;
    struct api_arg *args = arena_alloc(arena, count * sizeof *args);
    for (*n = 0; *n < count && http_arg_each(r, (unsigned)*n, &name, &value) == 0; ++*n)
        args[*n] = (struct api_arg){name, value};
    return args;
}

static const char *route_path(struct http_request *r, const struct waiting *w, struct arena *arena)
{
    if (!w->prefix)
        return http_path(r);
    const char *level = http_path_var(r, 0);
    size_t n = strlen(w->prefix), m = strlen(level);
    char *path = arena_alloc(arena, n + m + 1);
    memcpy(path, w->prefix, n);
    memcpy(path + n, level, m + 1);
    return path;
}

/* Until the stream has been read again after a start, names and points may be missing. */
static bool all_there(struct api_graphite *a, const struct api_request *q, struct api_reply *reply)
{
    struct readiness_wait wait[1];
    if (!strncmp(q->path, "/functions", 10) || !readiness_waiting(&a->o.readiness, wait, 1))
        return true;
    reply->incomplete = true;
    snprintf(reply->why, sizeof reply->why, "catching up: %s", wait[0].text);
    for (size_t i = 0; i < q->nargs; i++)
        if (!strcmp(q->args[i].name, "partial") && !strcmp(q->args[i].value, "1"))
            return true;
    return false;
}

/* Header values have one line. */
static void set_why(struct http_request *r, char *why)
{
    for (char *p = why; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    http_reply_header(r, "X-Carat-Incomplete", *why ? why : "1");
}

static bool next_bytes(void *ctx, const char **p, size_t *n)
{
    return json_stream_next(ctx, p, n);
}

static void end_stream(void *ctx)
{
    json_stream_free(ctx);
}

static void send_reply(struct http_request *r, struct api_reply *reply)
{
    if (reply->status == 200) {
        if (reply->incomplete)
            set_why(r, reply->why);
        if (reply->stream)
            http_reply_stream(r, 200, reply->content_type,
                              &(struct http_stream){next_bytes, end_stream, reply->stream,
                                                    json_stream_size(reply->stream)});
        else
            http_reply(r, 200, reply->content_type, &reply->body);
        return;
    }
    if (reply->status == 503)
        http_reply_header(r, "Retry-After", "1");
    http_reply_error(r, reply->status, "%s", buf_str(&reply->body));
    buf_release(&reply->body);
}

static bool client_gone(void *ctx)
{
    return http_client_gone(ctx);
}

static void answer(struct api_graphite *a, const struct waiting *w)
{
    struct http_request *r = w->request;
    struct query_env env = a->env;
    env.cancelled = client_gone;
    env.cancel_ctx = r;
    struct arena arena = ARENA_INIT;
    struct api_reply before = {.status = 503}, reply = {.status = 404};
    struct api_request q = {.method = http_method(r), .path = route_path(r, w, &arena), .may_stream = true};
    if (http_client_gone(r)) { /* while it waited */
        counter_add(a->cancelled, 1);
        http_reply_error(r, API_CLIENT_GONE, "the client has gone away");
        arena_release(&arena);
        return;
    }
    int64_t began_us = clock_mono_us(a->o.clock);
    q.args = collect_args(r, &arena, &q.nargs);
    q.now_s = clock_wall_ms(a->o.clock) / 1000;
    if (!all_there(a, &q, &before)) {
        buf_printf(&before.body, "%s; partial=1 gives what there is", before.why);
        send_reply(r, &before);
    } else {
        if (!api_answer(&env, &q, &reply))
            buf_puts(&reply.body, "no such path");
        if (reply.status == API_CLIENT_GONE)
            counter_add(a->cancelled, 1);
        if (before.incomplete && !reply.incomplete)
            memcpy(reply.why, before.why, sizeof reply.why);
        reply.incomplete = reply.incomplete || before.incomplete;
        send_reply(r, &reply);
    }
    histogram_observe_us(a->seconds, (uint64_t)(clock_mono_us(a->o.clock) - began_us));
    arena_release(&arena);
}

/* --- the threads and what waits for them --- */

static struct waiting *take(struct api_graphite *a)
{
    pthread_mutex_lock(&a->mtx);
    while (!a->first && !a->stopping)
        pthread_cond_wait(&a->wake, &a->mtx);
    struct waiting *w = a->first;
    if (w) {
        a->first = w->next;
        if (!a->first)
            a->last = &a->first;
        a->nwaiting--;
    }
    pthread_mutex_unlock(&a->mtx);
    return w;
}

static void *work(void *arg)
{
    struct api_graphite *a = arg;
    thread_name("carat-query");
    for (struct waiting *w; (w = take(a));) {
        answer(a, w);
        free(w);
    }
    return NULL;
}

static void enqueue(struct api_graphite *a, struct http_request *r, const char *prefix)
{
    struct waiting *w = xmalloc(sizeof *w);
    *w = (struct waiting){NULL, r, prefix};
    pthread_mutex_lock(&a->mtx);
    bool stopping = a->stopping, refused = stopping || a->nwaiting >= a->o.max_waiting;
    if (!refused) {
        *a->last = w;
        a->last = &w->next;
        a->nwaiting++;
        pthread_cond_signal(&a->wake);
    }
    pthread_mutex_unlock(&a->mtx);
    if (!refused)
        return;
    free(w);
    counter_add(a->refused, 1);
    reply_busy(r, stopping ? "the server is stopping" : "too many queries are waiting");
}

static void on_request(void *ctx, struct http_request *r)
{
    enqueue(ctx, r, NULL);
}

static void on_tag(void *ctx, struct http_request *r)
{
    enqueue(ctx, r, "/tags/");
}

static void on_function(void *ctx, struct http_request *r)
{
    enqueue(ctx, r, "/functions/");
}

void api_graphite_routes(struct api_graphite *a, struct http_server *s)
{
    static const char *const both[] = {
        "/render",          "/metrics/find",           "/metrics/expand",          "/metrics/index.json",
        "/tags/findSeries", "/tags/autoComplete/tags", "/tags/autoComplete/values"};
    static const char *const posts[] = {"/tags/tagSeries", "/tags/tagMultiSeries"};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        http_server_route(s, "GET", both[i], on_request, a);
        http_server_route(s, "POST", both[i], on_request, a);
    }
    for (size_t i = 0; i < ARRAY_LEN(posts); i++)
        http_server_route(s, "POST", posts[i], on_request, a);
    http_server_route(s, "GET", "/events/get_data", on_request, a);
    http_server_route(s, "POST", "/events", on_request, a);
    http_server_route(s, "GET", "/tags", on_request, a);
    http_server_route(s, "GET", "/tags/:tag", on_tag, a);
    http_server_route(s, "GET", "/functions", on_request, a);
    http_server_route(s, "GET", "/functions/:name", on_function, a);
}

int api_graphite_new(const struct api_graphite_options *o, struct api_graphite **out, struct err *err)
{
    struct api_graphite *a = xcalloc(1, sizeof *a);
    unsigned threads = o->threads ? o->threads : 2;
    a->o = *o;
    a->o.max_waiting = o->max_waiting ? o->max_waiting : 256;
    a->env = (struct query_env){.source = o->source, .limits = o->limits};
    a->seconds = metrics_histogram(o->metrics, "carat_query_duration_seconds", NULL,
                                   "Time from taking up a query to its reply.");
    a->cancelled = metrics_counter(o->metrics, "carat_query_cancelled_total", NULL,
                                   "Queries given up because their client had gone away.");
    a->refused = metrics_counter(o->metrics, "carat_query_refused_total", NULL,
                                 "Queries answered 503 because too many waited.");
    a->last = &a->first;
    pthread_mutex_init(&a->mtx, NULL);
    pthread_cond_init(&a->wake, NULL);
    a->threads = xcalloc(threads, sizeof *a->threads);
    a->env.spare = spare_new(SPARE_BYTES);
    int rc = pool_new(o->helpers, "carat-query", &a->env.helpers, err);
    if (rc < 0) {
        api_graphite_free(a);
        return rc;
    }
    for (; a->nthreads < threads; a->nthreads++) {
        int errnum = pthread_create(&a->threads[a->nthreads], NULL, work, a);
        if (errnum) {
            api_graphite_free(a);
            return err_sys(err, ERR_FAILED, errnum, "cannot start a thread for queries");
        }
    }
    *out = a;
    return OK;
}

void api_graphite_stop(struct api_graphite *a)
{
    pthread_mutex_lock(&a->mtx);
    struct waiting *w = a->first;
    a->first = NULL;
    a->last = &a->first;
    a->nwaiting = 0;
    a->stopping = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->mtx);
    while (w) {
        struct waiting *next = w->next;
        reply_busy(w->request, "the server is stopping");
        free(w);
        w = next;
    }
    for (unsigned i = 0; i < a->nthreads; i++)
        pthread_join(a->threads[i], NULL);
    a->nthreads = 0;
}

void api_graphite_free(struct api_graphite *a)
{
    if (!a)
        return;
    api_graphite_stop(a);
    pool_free(a->env.helpers);
    spare_free(a->env.spare);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->mtx);
    free(a->threads);
    free(a);
}
