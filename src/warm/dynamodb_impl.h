/* What the pieces of the backend share: warm_dynamodb.c (the operations), dynamodb_table.c (the table),
 * dynamodb_call.c (one call and its answer), dynamodb_batch.c (many writes), dynamodb_query.c (items in
 * order). */
#ifndef CARAT_WARM_DYNAMODB_IMPL_H
#define CARAT_WARM_DYNAMODB_IMPL_H

#include "warm/dynamodb_item.h"
#include "warm/warm_dynamodb.h"
#include "warm/warm_impl.h"

#define DYNAMODB_PARALLEL 64 /* calls of one operation under way; the client has its own limit */

/* A group of windows that is known to be marked. */
struct marked_group {
    uint32_t step_ms;
    int64_t group_ms, until_ms; /* mono: mark it again after this */
};

struct warm_dynamodb {
    struct warm base;
    struct warm_dynamodb_options o;
    char *table, *identity;
    const struct aws_operation *batch_write, *query, *put_item, *get_item, *delete_item, *create_table,
        *describe_table, *describe_ttl, *update_ttl;
    pthread_mutex_t opening;
    _Atomic bool ready; /* the table is there and ours; set under `opening` */
    _Atomic bool ttl;   /* the service removes what has expired */
    _Atomic int64_t stored_bytes;
    _Atomic uint64_t read_units_milli, write_units_milli, written, removed, unprocessed, expired;
    struct counter *written_total, *removed_total, *unprocessed_total, *expired_total;
    /* under base.change */
    struct marked_group *groups;
    size_t ngroups, cap_groups;
};

/* dynamodb_table.c */

/* The table is there and ours, or why not. Every operation begins with it. */
int dynamodb_ready(struct warm_dynamodb *w, struct err *err) must_check;

/* dynamodb_call.c */

/* Begins a body: {"TableName":"...","ReturnConsumedCapacity":"TOTAL" */
void dynamodb_body(const struct warm_dynamodb *w, struct buf *body);
/* Fills in what all calls have in common. `body` is borrowed until the call has ended. */
void dynamodb_prepare(struct warm_dynamodb *w, struct aws_call *call, const struct aws_operation *op,
                      const struct buf *body);
/* Waits for a submitted call. *answer: new, or NULL after a failure. Counts what it consumed. */
int dynamodb_wait(struct warm_dynamodb *w, struct aws_call *call, bool writes, json_t **answer,
                  struct err *err) must_check;
int dynamodb_call(struct warm_dynamodb *w, struct aws_call *call, bool writes, json_t **answer,
                  struct err *err) must_check;

/* dynamodb_batch.c */

/* Puts and deletes, in any order, no key twice. Add them, then run. */
struct dynamodb_batch {
    struct warm_dynamodb *w;
    struct buf requests; /* the requests of BatchWriteItem, one after the other */
    size_t *ends;        /* where each ends */
    size_t n, cap;
};
#define DYNAMODB_BATCH_INIT(w)                                                                               \
    {                                                                                                        \
        w, BUF_INIT, NULL, 0, 0                                                                              \
    }
/* After a request was appended to b->requests. */
void dynamodb_batch_added(struct dynamodb_batch *b);
/* All of them, or ERR_BUSY (throttled to the end) or another: then some may be done. Empties it. */
int dynamodb_batch_run(struct dynamodb_batch *b, struct err *err) must_check;
void dynamodb_batch_release(struct dynamodb_batch *b);

/* dynamodb_marks.c: groups of windows that have something */

struct dynamodb_mark {
    int64_t group_ms, written_ms;
};
struct dynamodb_marks {
    struct dynamodb_mark *v; /* to be freed */
    size_t n;
};
/* Before parts are put; under base.change. */
int dynamodb_mark_groups(struct warm_dynamodb *w, const struct part *parts, size_t n,
                         struct err *err) must_check;
/* Those of a step that begin in [from_ms, until_ms), by time. Adds to an empty *out. */
int dynamodb_find_marks(struct warm_dynamodb *w, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                        struct dynamodb_marks *out, struct err *err) must_check;
/* Nothing of it was found: removes the mark, if that is safe. */
void dynamodb_unmark(struct warm_dynamodb *w, uint32_t step_ms, const struct dynamodb_mark *m);

/* dynamodb_query.c */

/* Items of one partition with from <= s <= until, page by page. */
struct dynamodb_query {
    struct warm_dynamodb *w;
    struct dynamodb_key from, until; /* of one partition */
    bool values;                     /* v and t, too; else keys only (and w) */
    /* its own */
    struct aws_call call;
    struct buf body;
    json_t *answer, *items, *next;
    size_t at;
    bool under_way, over;
};
/* Asks for the first page. */
void dynamodb_query_begin(struct dynamodb_query *q, struct warm_dynamodb *w, const struct dynamodb_key *from,
                          const struct dynamodb_key *until, bool values);
/* 1: *item is valid until the next call. 0: the end. Negative: an error. */
int dynamodb_query_next(struct dynamodb_query *q, const json_t **item, struct err *err) must_check;
void dynamodb_query_end(struct dynamodb_query *q);

/* The keys of parts of one series whose windows start in [from_ms, until_ms). */
void dynamodb_range(uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                    struct dynamodb_key *from, struct dynamodb_key *until);

#endif
