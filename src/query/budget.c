/* What a query may use, and its end before it is done: limits of time, points and memory, a client that has
 * gone away, the first failure. */
#include "base/clock.h"
#include "base/mem.h"
#include "query/eval.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steps between two looks at the clock: less than a millisecond of work. */
#define STEPS 200000

void query_fail(struct query *q, int code, const char *fmt, ...)
{
    if (q->failed)
        return;
    q->failed = true;
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (q->at)
        ast_error(q->err, code, q->at->source, q->at->pos, text);
    else
        err_set(q->err, code, "%s", text);
}

bool query_cancelled(const struct query *q)
{
    return q->env->cancelled && q->env->cancelled(q->env->cancel_ctx);
}

static void fail_points(struct query *q)
{
    query_fail(q, ERR_LIMIT, "the query needs more than %zu points (limit query.max_points)",
               q->limits.max_points);
}

/* Room for another n bytes; false and failed if there is none. */
static bool has_memory(struct query *q, size_t n)
{
    size_t used = q->arena->used + q->scratch_cap * sizeof *q->scratch;
    if (n > q->limits.max_bytes || used > q->limits.max_bytes - n)
        query_fail(q, ERR_LIMIT, "the query needs more than %zu bytes of memory (limit query.max_memory)",
                   q->limits.max_bytes);
    return !q->failed;
}

bool query_tick(struct query *q, size_t work)
{
    q->work += work;
    if (q->work <= STEPS || q->failed)
        return q->failed;
    q->work = 0;
    if (query_cancelled(q))
        query_fail(q, ERR_CLOSED, "the client has gone away");
    else if (clock_mono_us(clock_system()) > q->deadline_us)
        query_fail(q, ERR_LIMIT, "the query takes longer than %lld ms (limit query.timeout)",
                   (long long)q->limits.max_ms);
    else
        has_memory(q, 0);
    return q->failed;
}

const char *query_printf(struct query *q, const char *fmt, ...)
{
    char text[512];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *out = arena_alloc(q->arena, (size_t)n + 1);
    if ((size_t)n < sizeof text)
        memcpy(out, text, (size_t)n + 1);
    else
        vsnprintf(out, (size_t)n + 1, fmt, again);
    va_end(again);
    /* names grow with every function around them: they count, or nesting could eat all memory */
    q->points += (size_t)n / sizeof(double);
    if (q->points > q->limits.max_points)
        fail_points(q);
    return out;
}

bool query_count(struct query *q, size_t n)
{
    if (q->failed || query_tick(q, n))
        return false;
    if (n > q->limits.max_points - q->points) {
        fail_points(q);
        return false;
    }
    q->points += n;
    return true;
}

double *query_room(struct query *q, size_t n, size_t extra)
{
    if (!query_count(q, n) || !has_memory(q, (n + extra) * sizeof(double)))
        return NULL;
    return arena_alloc(q->arena, (n + extra ? n + extra : 1) * sizeof(double));
}

double *query_values(struct query *q, size_t n)
{
    return query_room(q, n, 0);
}

double *query_scratch(struct query *q, size_t n)
{
    if (n <= q->scratch_cap && q->scratch)
        return q->scratch;
    if (q->failed)
        return NULL;
    if (n > q->limits.max_points) {
        fail_points(q);
        return NULL;
    }
    if (!has_memory(q, n * sizeof *q->scratch))
        return NULL;
    q->scratch_cap = n < 1024 ? 1024 : n;
    q->scratch = xrealloc(q->scratch, q->scratch_cap * sizeof *q->scratch);
    return q->scratch;
}
