/* Many writes: calls of 25 requests, many at once. What the service leaves undone goes into the next round,
 * after a wait; a round in which it did something begins the waits anew. */
#include "warm/dynamodb_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 25         /* the service's */
#define BODY_MAX     (4u << 20) /* of one call; the service's is 16 MB */
#define ROUNDS_MAX   12         /* in a row without anything done: about half a minute of waits */

struct chunk {
    struct aws_call call;
    struct buf body;
    size_t requests;
    bool under_way;
};

void dynamodb_batch_added(struct dynamodb_batch *b)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->ends = xrealloc(b->ends, b->cap * sizeof *b->ends);
    }
    b->ends[b->n++] = b->requests.len;
}

void dynamodb_batch_release(struct dynamodb_batch *b)
{
    buf_release(&b->requests);
    free(b->ends);
}

/* The next call's requests from number *at on. */
static void fill(const struct dynamodb_batch *b, size_t *at, struct chunk *c)
{
    const struct warm_dynamodb *w = b->w;
    c->requests = 0;
    buf_clear(&c->body);
    buf_puts(&c->body, "{\"ReturnConsumedCapacity\":\"TOTAL\",\"RequestItems\":{");
    buf_json_string(&c->body, w->table, strlen(w->table));
    buf_puts(&c->body, ":[");
    while (*at < b->n && c->requests < REQUESTS_MAX) {
        size_t from = *at ? b->ends[*at - 1] : 0, n = b->ends[*at] - from;
        if (c->requests && c->body.len + n > BODY_MAX)
            break;
        if (c->requests++)
            buf_putc(&c->body, ',');
        buf_append(&c->body, b->requests.data + from, n);
        ++*at;
    }
    buf_puts(&c->body, "]}}");
}

/* What was left undone of a call goes to `rest`. -1: the answer is none. */
static int take_unprocessed(const struct dynamodb_batch *b, const json_t *answer, size_t most,
                            struct dynamodb_batch *rest)
{
    const json_t *all = json_object_get(answer, "UnprocessedItems");
    const json_t *list = json_object_get(all, b->w->table);
    if (!json_is_object(all) || (list && !json_is_array(list)) || json_array_size(list) > most ||
        json_object_size(all) > (list ? 1 : 0))
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *text = json_dumps(json_array_get(list, i), JSON_COMPACT);
        if (!text)
            return -1;
        buf_puts(&rest->requests, text);
        dynamodb_batch_added(rest);
        free(text);
    }
    return 0;
}

static int finish(struct dynamodb_batch *b, struct chunk *c, struct dynamodb_batch *rest, struct err *err)
{
    json_t *answer;
    struct err why = ERR_INIT;
    size_t before = rest->n;
    c->under_way = false;
    int rc = dynamodb_wait(b->w, &c->call, true, &answer, &why);
    if (rc == OK && take_unprocessed(b, answer, c->requests, rest) < 0)
        rc = err_set(&why, ERR_IO, "warm tier: the answer to a batch does not tell what was left undone");
    json_decref(answer);
    if (rc == OK && rest->n > before) {
        aws_throttled(b->w->o.client, b->w->batch_write);
        atomic_fetch_add(&b->w->unprocessed, rest->n - before);
        if (b->w->unprocessed_total)
            counter_add(b->w->unprocessed_total, rest->n - before);
    }
    if (rc < 0 && err && err->code == OK)
        *err = why;
    return rc;
}

/* All of b once. The first failure, after all calls have ended. */
static int run_round(struct dynamodb_batch *b, struct dynamodb_batch *rest, struct err *err)
{
    struct chunk *ring = xcalloc(DYNAMODB_PARALLEL, sizeof *ring);
    struct err first = ERR_INIT;
    size_t at = 0, begun = 0, ended = 0;
    int rc = OK;
    while ((rc == OK && at < b->n) || ended < begun) {
        if (rc == OK && at < b->n && begun - ended < DYNAMODB_PARALLEL) {
            struct chunk *c = &ring[begun++ % DYNAMODB_PARALLEL];
            fill(b, &at, c);
            dynamodb_prepare(b->w, &c->call, b->w->batch_write, &c->body);
            rc = aws_submit(b->w->o.client, &c->call, &first);
            c->under_way = rc == OK;
            continue;
        }
        struct chunk *c = &ring[ended++ % DYNAMODB_PARALLEL];
        int one = c->under_way ? finish(b, c, rest, &first) : OK;
        rc = rc == OK ? one : rc;
    }
    for (size_t i = 0; i < DYNAMODB_PARALLEL; i++)
        buf_release(&ring[i].body);
    free(ring);
    return rc == OK ? OK : err_set(err, first.code, "%s", first.text);
}

int dynamodb_batch_run(struct dynamodb_batch *b, struct err *err)
{
    int rc = OK;
    unsigned idle = 0;
    while (rc == OK && b->n) {
        struct dynamodb_batch rest = DYNAMODB_BATCH_INIT(b->w);
        rc = run_round(b, &rest, err);
        idle = rest.n < b->n ? 1 : idle + 1;
        dynamodb_batch_release(b);
        *b = rest;
        if (rc == OK && b->n && (idle > ROUNDS_MAX || !aws_pause(b->w->o.client, idle)))
            rc = err_set(err, ERR_BUSY, "warm tier: throttled, %zu writes left", b->n);
    }
    dynamodb_batch_release(b);
    *b = (struct dynamodb_batch)DYNAMODB_BATCH_INIT(b->w);
    return rc;
}
