/* A transport that answers what a test wrote down, on a clock that only it moves: waits take no time. */
#ifndef CARAT_TESTS_AWS_SCRIPT_H
#define CARAT_TESTS_AWS_SCRIPT_H

#include "aws/client.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SCRIPT_MAX 64

/* What happens to one attempt. code not OK: no answer; `never`: none until it is cancelled. */
struct script_line {
    int code;
    bool unsent, never;
    int http_status;
    const char *headers; /* "name: value\n" each */
    const char *body;
    int64_t takes_ms;
};
/* What was asked. */
struct script_seen {
    char method[8], url[256], headers[1024], body[512];
    int64_t at_ms;
};

struct script {
    struct aws_transport base;
    struct clock_fake *clock;
    struct script_line lines[SCRIPT_MAX];
    size_t nlines, at; /* the last line is for all that follow */
    struct script_seen seen[SCRIPT_MAX];
    size_t nseen, nparallel, most_parallel;
    struct aws_exchange *ended[SCRIPT_MAX];
    size_t nended;
    pthread_mutex_t mtx;
    pthread_cond_t woken;
    bool wake;
};

static void script_start(struct aws_transport *t, struct aws_exchange *x)
{
    struct script *s = container_of(t, struct script, base);
    const struct script_line *l = &s->lines[s->at + 1 < s->nlines ? s->at++ : s->nlines - 1];
    pthread_mutex_lock(&s->mtx);
    if (s->nseen < SCRIPT_MAX) {
        struct script_seen *seen = &s->seen[s->nseen++];
        struct buf headers = BUF_INIT;
        for (const char *p = x->headers; p < x->headers + x->headers_len; p += strlen(p) + 1)
            buf_printf(&headers, "%s\n", p);
        snprintf(seen->method, sizeof seen->method, "%s", x->method);
        snprintf(seen->url, sizeof seen->url, "%s", x->url);
        snprintf(seen->headers, sizeof seen->headers, "%s", buf_str(&headers));
        snprintf(seen->body, sizeof seen->body, "%.*s", (int)x->body_len, (const char *)x->body);
        seen->at_ms = clock_wall_ms(&s->clock->base);
        buf_release(&headers);
    }
    s->nparallel++;
    s->most_parallel = s->nparallel > s->most_parallel ? s->nparallel : s->most_parallel;
    if (!l->never) {
        atomic_fetch_add(&s->clock->now_ms, l->takes_ms);
        x->code = l->code;
        x->unsent = l->unsent;
        x->http_status = l->http_status;
        buf_puts(&x->answer_headers, l->headers ? l->headers : "");
        buf_puts(&x->answer, l->body ? l->body : "");
        snprintf(x->why, sizeof x->why, "scripted");
        assert(s->nended < SCRIPT_MAX);
        s->ended[s->nended++] = x;
    }
    pthread_mutex_unlock(&s->mtx);
}

static struct aws_exchange *script_next(struct aws_transport *t, int64_t wait_ms)
{
    struct script *s = container_of(t, struct script, base);
    struct aws_exchange *x = NULL;
    pthread_mutex_lock(&s->mtx);
    if (s->nended) {
        x = s->ended[0];
        memmove(s->ended, s->ended + 1, --s->nended * sizeof *s->ended);
        s->nparallel--;
    } else if (wait_ms >= 10000) { /* nothing to do */
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        while (!s->wake && pthread_cond_timedwait(&s->woken, &s->mtx, &until) == 0)
            ;
    } else if (!s->wake) {
        atomic_fetch_add(&s->clock->now_ms, wait_ms);
    }
    s->wake = s->wake && x;
    pthread_mutex_unlock(&s->mtx);
    return x;
}

static void script_cancel(struct aws_transport *t, struct aws_exchange *x)
{
    struct script *s = container_of(t, struct script, base);
    (void)x;
    s->nparallel--;
}

static void script_wake(struct aws_transport *t)
{
    struct script *s = container_of(t, struct script, base);
    pthread_mutex_lock(&s->mtx);
    s->wake = true;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->mtx);
}

static void script_free(struct aws_transport *t)
{
    (void)t; /* the test's */
}

static const struct aws_transport_ops script_ops = {
    .start = script_start,
    .next = script_next,
    .cancel = script_cancel,
    .wake = script_wake,
    .free = script_free,
};

static inline void script_init(struct script *s, struct clock_fake *clock)
{
    memset(s, 0, sizeof *s);
    s->base.ops = &script_ops;
    s->clock = clock;
    pthread_mutex_init(&s->mtx, NULL);
    pthread_cond_init(&s->woken, NULL);
}

static inline void script_add(struct script *s, struct script_line line)
{
    s->lines[s->nlines++] = line;
}

#endif
