/* The queue of calls and the thread that works on it. States of a call:
 *
 *   fresh --thread--> ready --a place is free--> under way --attempt_judge--> done
 *                       ^                            |
 *                       +---- due ---- waiting <-----+ again
 */
#include "aws/client_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECTIONS_DEFAULT 32
#define QUEUE_DEFAULT       4096
#define CONNECT_MS_DEFAULT  3000
#define ATTEMPT_MS_DEFAULT  10000
#define TIMEOUT_MS_DEFAULT  30000
#define BASE_MS_DEFAULT     50
#define CAP_MS_DEFAULT      5000
#define BUDGET_TOKENS       1000
#define WAIT_MS_MAX         10000

/* --- lists --- */

static void list_init(struct call_list *l)
{
    *l = (struct call_list){NULL, &l->first, 0};
}

static void list_push(struct call_list *l, struct aws_call_state *s)
{
    s->next = NULL;
    *l->last = s;
    l->last = &s->next;
    l->n++;
}

/* *at is the link to it. */
static struct aws_call_state *list_take(struct call_list *l, struct aws_call_state **at)
{
    struct aws_call_state *s = *at;
    *at = s->next;
    if (l->last == &s->next)
        l->last = at;
    l->n--;
    return s;
}

static void list_remove(struct call_list *l, struct aws_call_state *s)
{
    struct aws_call_state **at = &l->first;
    while (*at != s)
        at = &(*at)->next;
    list_take(l, at);
}

/* --- the thread --- */

static int64_t now_ms(const struct aws_client *c)
{
    return clock_mono_ms(c->o.clock);
}

static void end_call(struct aws_client *c, struct aws_call_state *s)
{
    attempt_clear(s);
    pthread_mutex_lock(&c->mtx);
    s->done = true;
    c->pending--;
    pthread_cond_broadcast(&c->done);
    pthread_mutex_unlock(&c->mtx);
}

static void end_with(struct aws_client *c, struct aws_call_state *s, int code, const char *why)
{
    s->call->code =
        err_set(&s->call->err, code, "%s %s at %.120s: %s", c->service, s->call->op->name, c->endpoint, why);
    end_call(c, s);
}

static void begin(struct aws_client *c, struct aws_call_state *s)
{
    struct err err = ERR_INIT;
    int64_t now = now_ms(c);
    if (now >= s->deadline_ms) {
        end_with(c, s, ERR_TIMEOUT, "no turn in time");
        return;
    }
    if (attempt_prepare(c, s, now, &err) < 0) {
        end_with(c, s, ERR_INVALID, err.text);
        return;
    }
    if (s->call->op->requests)
        counter_add(s->call->op->requests, 1);
    s->begun_us = clock_mono_us(c->o.clock);
    s->x.own = NULL;
    list_push(&c->under_way, s);
    c->o.transport->ops->start(c->o.transport, &s->x);
}

static void ended(struct aws_client *c, struct aws_call_state *s)
{
    list_remove(&c->under_way, s);
    if (s->call->op->seconds)
        histogram_observe_us(s->call->op->seconds, (uint64_t)(clock_mono_us(c->o.clock) - s->begun_us));
    enum attempt_end end = attempt_judge(c, s, now_ms(c));
    if (c->parallel_gauge)
        gauge_set(c->parallel_gauge, parallel_limit_now(&c->parallel));
    if (end == ATTEMPT_DONE) {
        end_call(c, s);
        return;
    }
    attempt_clear(s);
    list_push(&c->waiting, s);
}

/* Takes over what was submitted; false if it is time to end. *hurry_ms: no call lasts longer. */
static bool take_fresh(struct aws_client *c, int64_t *hurry_ms)
{
    pthread_mutex_lock(&c->mtx);
    while (c->fresh.first)
        list_push(&c->ready, list_take(&c->fresh, &c->fresh.first));
    bool stopping = c->stopping;
    int64_t hurry = *hurry_ms = c->hurry_ms;
    for (; c->throttled; c->throttled--)
        parallel_limit_throttled(&c->parallel, now_ms(c));
    pthread_mutex_unlock(&c->mtx);
    struct call_list *lists[] = {&c->ready, &c->waiting};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (struct aws_call_state *s = lists[i]->first; s && hurry != INT64_MAX; s = s->next)
            s->deadline_ms = s->deadline_ms < hurry ? s->deadline_ms : hurry;
    return !stopping;
}

/* Moves what is due to the ready ones; how long until the next is. */
static int64_t wake_due(struct aws_client *c)
{
    int64_t now = now_ms(c), least = WAIT_MS_MAX;
    for (struct aws_call_state **at = &c->waiting.first; *at;) {
        int64_t left = (*at)->due_ms - now;
        if (left <= 0 || (*at)->deadline_ms <= now) {
            list_push(&c->ready, list_take(&c->waiting, at));
        } else {
            least = left < least ? left : least;
            at = &(*at)->next;
        }
    }
    return least;
}

static void cancel_all(struct aws_client *c, int code, const char *why)
{
    while (c->under_way.first) {
        struct aws_call_state *s = list_take(&c->under_way, &c->under_way.first);
        c->o.transport->ops->cancel(c->o.transport, &s->x);
        end_with(c, s, code, why);
    }
}

static void end_all(struct aws_client *c)
{
    cancel_all(c, ERR_CLOSED, "closed");
    while (c->ready.first)
        end_with(c, list_take(&c->ready, &c->ready.first), ERR_CLOSED, "closed");
    while (c->waiting.first)
        end_with(c, list_take(&c->waiting, &c->waiting.first), ERR_CLOSED, "closed");
}

static void *client_main(void *arg)
{
    struct aws_client *c = arg;
    struct aws_transport *t = c->o.transport;
    int64_t hurry;
    while (take_fresh(c, &hurry)) {
        int64_t wait = wake_due(c);
        if (now_ms(c) >= hurry)
            cancel_all(c, ERR_TIMEOUT, "given up because of the stop");
        else if (hurry - now_ms(c) < wait)
            wait = hurry - now_ms(c);
        while (c->ready.first && c->under_way.n < parallel_limit_now(&c->parallel))
            begin(c, list_take(&c->ready, &c->ready.first));
        for (struct aws_exchange *x = t->ops->next(t, wait); x; x = t->ops->next(t, 0))
            ended(c, container_of(x, struct aws_call_state, x));
    }
    end_all(c);
    return NULL;
}

/* --- for callers --- */

int aws_submit(struct aws_client *c, struct aws_call *call, struct err *err)
{
    assert(call->op && call->method && call->path && !call->state);
    struct aws_call_state *s = xcalloc(1, sizeof *s);
    int64_t now = now_ms(c);
    s->call = call;
    s->deadline_ms = now + (call->timeout_ms ? call->timeout_ms : c->o.timeout_ms);
    sigv4_hash(call->body, call->body_len, s->payload_hash);
    call->code = OK;
    call->attempts = 0;
    call->unsure = false;
    call->http_status = 0;
    pthread_mutex_lock(&c->mtx);
    int rc = OK;
    if (c->stopping)
        rc = err_set(err, ERR_CLOSED, "%s: closed", c->service);
    else if (c->pending >= c->o.queue)
        rc = err_set(err, ERR_BUSY, "%s at %.120s: %zu requests are waiting already", c->service, c->endpoint,
                     c->pending);
    if (rc == OK) {
        s->deadline_ms = s->deadline_ms < c->hurry_ms ? s->deadline_ms : c->hurry_ms;
        call->state = s;
        c->pending++;
        list_push(&c->fresh, s);
    }
    pthread_mutex_unlock(&c->mtx);
    if (rc == OK)
        c->o.transport->ops->wake(c->o.transport);
    else
        free(s);
    if (rc == ERR_BUSY && c->queue_full)
        counter_add(c->queue_full, 1);
    return rc;
}

int aws_wait(struct aws_client *c, struct aws_call *call, struct err *err)
{
    pthread_mutex_lock(&c->mtx);
    while (!call->state->done)
        pthread_cond_wait(&c->done, &c->mtx);
    pthread_mutex_unlock(&c->mtx);
    free(call->state);
    call->state = NULL;
    if (call->code != OK && err)
        *err = call->err;
    return call->code;
}

int aws_call(struct aws_client *c, struct aws_call *call, struct err *err)
{
    int rc = aws_submit(c, call, err);
    return rc == OK ? aws_wait(c, call, err) : rc;
}

void aws_call_release(struct aws_call *call)
{
    assert(!call->state);
    buf_release(&call->answer);
    buf_release(&call->answer_headers);
}

void aws_throttled(struct aws_client *c, const struct aws_operation *op)
{
    if (op->throttles)
        counter_add(op->throttles, 1);
    pthread_mutex_lock(&c->mtx);
    c->throttled++;
    pthread_mutex_unlock(&c->mtx);
    c->o.transport->ops->wake(c->o.transport);
}

bool aws_pause(struct aws_client *c, unsigned attempt)
{
    int64_t ms = backoff_ms(attempt, c->o.backoff_base_ms, c->o.backoff_cap_ms, c->o.random);
    struct timespec begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    int rc = 0;
    pthread_mutex_lock(&c->mtx);
    while (!c->stopping && rc != ETIMEDOUT) {
        int64_t left = c->hurry_ms == INT64_MAX ? ms : c->hurry_ms - now_ms(c);
        left = left < ms ? left : ms;
        if (left <= 0)
            break;
        struct timespec until = {begun.tv_sec + left / 1000, begun.tv_nsec + left % 1000 * 1000000};
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        rc = pthread_cond_timedwait(&c->tick, &c->mtx, &until);
    }
    bool go_on = !c->stopping && now_ms(c) < c->hurry_ms;
    pthread_mutex_unlock(&c->mtx);
    return go_on;
}

/* --- operations and metrics --- */

const struct aws_operation *aws_operation(struct aws_client *c, const char *name)
{
    pthread_mutex_lock(&c->mtx);
    struct aws_operation *op = c->operations;
    while (op && strcmp(op->name, name) != 0)
        op = op->next;
    if (!op) {
        op = xcalloc(1, sizeof *op);
        op->name = xstrdup(name);
        op->next = c->operations;
        c->operations = op;
        if (c->o.metrics) {
            struct metrics *m = c->o.metrics;
            char labels[160];
            snprintf(labels, sizeof labels, "service=\"%s\",operation=\"%s\"", c->service, name);
            op->requests = metrics_counter(m, "carat_aws_requests_total", labels,
                                           "Requests sent to AWS-style services, each attempt counted.");
            op->errors = metrics_counter(m, "carat_aws_errors_total", labels,
                                         "Attempts without an answer, or with the service's own trouble.");
            op->throttles =
                metrics_counter(m, "carat_aws_throttles_total", labels,
                                "Attempts, or parts of batches, refused because of too much load.");
            op->retries =
                metrics_counter(m, "carat_aws_retries_total", labels, "Attempts that were repeated.");
            op->seconds = metrics_histogram(m, "carat_aws_request_seconds", labels, "Time of one attempt.");
        }
    }
    pthread_mutex_unlock(&c->mtx);
    return op;
}

static void register_metrics(struct aws_client *c)
{
    char labels[80];
    if (!c->o.metrics)
        return;
    snprintf(labels, sizeof labels, "service=\"%s\"", c->service);
    c->queue_full = metrics_counter(c->o.metrics, "carat_aws_queue_full_total", labels,
                                    "Requests refused because too many were waiting.");
    c->no_budget = metrics_counter(c->o.metrics, "carat_aws_retry_budget_empty_total", labels,
                                   "Attempts not repeated because too many before had failed.");
    c->parallel_gauge = metrics_gauge(c->o.metrics, "carat_aws_parallel_limit", labels,
                                      "Requests that may be under way at once; throttling makes it smaller.");
}

/* --- life --- */

static bool is_word(const char *s)
{
    size_t n = 0;
    for (; s && s[n]; n++)
        if (!isalnum((unsigned char)s[n]) && s[n] != '-')
            return false;
    return n > 0 && n < 64;
}

/* Sets c->endpoint and c->host. */
static int set_endpoint(struct aws_client *c, const char *given, struct err *err)
{
    if (!given || !*given) {
        size_t n = strlen(c->service) + strlen(c->region) + 64;
        c->endpoint = xmalloc(n);
        snprintf(c->endpoint, n, "https://%s.%s.amazonaws.com", c->service, c->region);
    } else {
        size_t n = strlen(given);
        c->endpoint = xstrndup(given, n - (given[n - 1] == '/'));
    }
    char *host = strstr(c->endpoint, "://");
    bool https = host && host - c->endpoint == 5 && !strncasecmp(c->endpoint, "https", 5);
    bool http = host && host - c->endpoint == 4 && !strncasecmp(c->endpoint, "http", 4);
    if (!https && !http)
        return err_set(err, ERR_INVALID, "%.200s: expected http://HOST:PORT or https://HOST", c->endpoint);
    host += 3;
    if (!*host || strpbrk(host, "/?#@ \t\r\n\"\\"))
        return err_set(err, ERR_INVALID, "%.200s: expected only a host and a port after ://", c->endpoint);
    for (char *p = c->endpoint; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    /* The scheme's own port is not in the Host header. */
    size_t n = strlen(host);
    const char *own = https ? ":443" : ":80";
    if (n > strlen(own) && !strcmp(host + n - strlen(own), own))
        host[n - strlen(own)] = '\0';
    c->host = host;
    return OK;
}

static void set_defaults(struct aws_client_options *o)
{
    o->connections = o->connections ? o->connections : CONNECTIONS_DEFAULT;
    o->queue = o->queue ? o->queue : QUEUE_DEFAULT;
    o->connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS_DEFAULT;
    o->attempt_ms = o->attempt_ms ? o->attempt_ms : ATTEMPT_MS_DEFAULT;
    o->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS_DEFAULT;
    o->backoff_base_ms = o->backoff_base_ms ? o->backoff_base_ms : BASE_MS_DEFAULT;
    o->backoff_cap_ms = o->backoff_cap_ms ? o->backoff_cap_ms : CAP_MS_DEFAULT;
    o->clock = o->clock ? o->clock : clock_system();
    o->random = o->random ? o->random : aws_random_system();
}

static void release(struct aws_client *c)
{
    if (c->o.transport)
        c->o.transport->ops->free(c->o.transport);
    while (c->operations) {
        struct aws_operation *op = c->operations;
        c->operations = op->next;
        free(op->name);
        free(op);
    }
    pthread_cond_destroy(&c->done);
    pthread_cond_destroy(&c->tick);
    pthread_mutex_destroy(&c->mtx);
    free(c->service);
    free(c->region);
    free(c->endpoint);
    free(c);
}

static int start(struct aws_client *c, const struct aws_client_options *o, struct err *err)
{
    if (!is_word(c->region))
        return err_set(err, ERR_INVALID, "\"%.60s\" is no AWS region", c->region);
    int rc = set_endpoint(c, o->endpoint, err);
    if (rc == OK && !c->o.transport)
        rc = aws_transport_curl_new(&(struct aws_transport_options){c->o.connections, o->ca_file},
                                    &c->o.transport, err);
    if (rc < 0)
        return rc;
    register_metrics(c);
    int e = pthread_create(&c->thread, NULL, client_main, c);
    return e ? err_sys(err, ERR_IO, e, "cannot start the thread of %s", c->service) : OK;
}

int aws_client_new(const struct aws_client_options *o, struct aws_client **out, struct err *err)
{
    struct aws_client *c = xcalloc(1, sizeof *c);
    assert(o->credentials && is_word(o->service));
    c->o = *o;
    set_defaults(&c->o);
    c->service = xstrdup(o->service);
    c->region = xstrdup(o->region ? o->region : "");
    c->hurry_ms = INT64_MAX;
    c->budget = (struct retry_budget){BUDGET_TOKENS, BUDGET_TOKENS};
    parallel_limit_init(&c->parallel, c->o.connections);
    list_init(&c->fresh);
    list_init(&c->ready);
    list_init(&c->waiting);
    list_init(&c->under_way);
    pthread_mutex_init(&c->mtx, NULL);
    pthread_cond_init(&c->done, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->tick, &attr);
    pthread_condattr_destroy(&attr);
    int rc = start(c, o, err);
    if (rc < 0)
        release(c);
    else
        *out = c;
    return rc;
}

void aws_client_hurry(struct aws_client *c, int64_t until_ms)
{
    pthread_mutex_lock(&c->mtx);
    c->hurry_ms = until_ms;
    pthread_cond_broadcast(&c->tick);
    pthread_mutex_unlock(&c->mtx);
    c->o.transport->ops->wake(c->o.transport);
}

void aws_client_free(struct aws_client *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->mtx);
    c->stopping = true;
    pthread_cond_broadcast(&c->tick);
    pthread_mutex_unlock(&c->mtx);
    c->o.transport->ops->wake(c->o.transport);
    pthread_join(c->thread, NULL);
    release(c);
}

const char *aws_client_endpoint(const struct aws_client *c)
{
    return c->endpoint;
}
