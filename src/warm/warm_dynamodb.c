#include "warm/warm_dynamodb.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "model/window.h"
#include "warm/dynamodb_impl.h"
#include "warm/warm_key.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_MAX       (390u << 10) /* the service's: 400 KB with its names */
#define EXPIRY_SLACK_S 86400        /* the service deletes no sooner than a day after the retention's end */

static const struct warm_ops dynamodb_ops;

static struct warm_dynamodb *of(struct warm *w)
{
    assert(w->ops == &dynamodb_ops);
    return container_of(w, struct warm_dynamodb, base);
}

static void count(_Atomic uint64_t *own, struct counter *shared, uint64_t n)
{
    atomic_fetch_add_explicit(own, n, memory_order_relaxed);
    if (shared)
        counter_add(shared, n);
}

/* --- putting --- */

/* When the service may delete a part; 0: never. Not in the past: the service leaves alone what expired years
 * ago. */
static int64_t expires_s(const struct warm_dynamodb *w, const struct part_key *k)
{
    int64_t keep = w->o.keep_ms ? w->o.keep_ms(w->o.ctx, k->step_ms) : 0;
    if (keep <= 0)
        return 0;
    int64_t t = (k->window_ms + window_span_ms(k->step_ms) + keep) / 1000 + EXPIRY_SLACK_S;
    int64_t now = clock_wall_ms(w->o.clock) / 1000;
    return t > now ? t : now + 1;
}

static int key_cmp(const struct part_key *a, const struct part_key *b)
{
    if (a->step_ms != b->step_ms)
        return a->step_ms < b->step_ms ? -1 : 1;
    if (a->series != b->series)
        return a->series < b->series ? -1 : 1;
    if (a->window_ms != b->window_ms)
        return a->window_ms < b->window_ms ? -1 : 1;
    return a->hi < b->hi ? -1 : a->hi > b->hi;
}

/* A part of a put, and its place in it. */
struct turn {
    const struct part *part;
    size_t place;
};

static int by_key_and_place(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    int c = key_cmp(&x->part->key, &y->part->key);
    return c ? c : x->place < y->place ? -1 : x->place > y->place;
}

/* One part for each key, by the rule of warm_put. */
static size_t choose(const struct part *parts, size_t n, struct turn *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        out[i] = (struct turn){&parts[i], i};
    if (n > 1)
        qsort(out, n, sizeof *out, by_key_and_place);
    for (size_t i = 0; i < n; i++) {
        if (kept && !key_cmp(&out[kept - 1].part->key, &out[i].part->key)) {
            if (out[i].part->lo <= out[kept - 1].part->lo)
                out[kept - 1] = out[i];
        } else {
            out[kept++] = out[i];
        }
    }
    return kept;
}

static int put_parts(struct warm_dynamodb *w, const struct turn *t, size_t n, struct err *err)
{
    struct dynamodb_batch b = DYNAMODB_BATCH_INIT(w);
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        dynamodb_put_request(&b.requests, t[i].part, expires_s(w, &t[i].part->key));
        dynamodb_batch_added(&b);
        bytes += (int64_t)t[i].part->size + DYNAMODB_PARTITION_BYTES + DYNAMODB_SORT_BYTES;
    }
    int rc = dynamodb_batch_run(&b, err);
    dynamodb_batch_release(&b);
    if (rc == OK) {
        count(&w->written, w->written_total, n);
        atomic_fetch_add(&w->stored_bytes, bytes);
    }
    return rc;
}

static bool is_put(const struct turn *t, size_t n, const struct part_key *k, uint64_t lo)
{
    size_t from = 0, until = n;
    while (from < until) {
        size_t mid = from + (until - from) / 2;
        if (key_cmp(&t[mid].part->key, k) < 0)
            from = mid + 1;
        else
            until = mid;
    }
    return from < n && !key_cmp(&t[from].part->key, k) && t[from].part->lo == lo;
}

static int by_key(const void *a, const void *b)
{
    return key_cmp(a, b);
}

static bool holds(const struct part_key *keys, size_t n, const struct part_key *k)
{
    return n && bsearch(k, keys, n, sizeof *keys, by_key);
}

/* Deletes what there is of some keys of one window, whatever its lo; but not what this put has stored. */
static int note_stored(struct warm_dynamodb *w, struct dynamodb_query *q, const struct part_key *keys,
                       size_t n, const struct turn *put, size_t nput, struct dynamodb_batch *gone,
                       struct err *err)
{
    struct dynamodb_item item = {BUF_INIT, BUF_INIT, 0, 0};
    const json_t *json;
    int rc;
    while ((rc = dynamodb_query_next(q, &json, err)) == 1) {
        struct part_key k = keys[0];
        uint64_t lo;
        if (dynamodb_item_get(json, &item) < 0 ||
            dynamodb_sort_get(item.s.data, item.s.len, k.step_ms, &k.window_ms, &k.hi, &lo) < 0)
            continue; /* reads tell of it */
        if (!holds(keys, n, &k) || is_put(put, nput, &k, lo))
            continue;
        struct dynamodb_key key = dynamodb_part_key(&k, lo);
        dynamodb_delete_request(&gone->requests, &key);
        dynamodb_batch_added(gone);
    }
    dynamodb_item_release(&item);
    (void)w;
    return rc;
}

/* Keys of one series and window, from number i on. */
static size_t same_window(const struct part_key *k, size_t i, size_t n)
{
    size_t j = i + 1;
    while (j < n && k[j].series == k[i].series && k[j].step_ms == k[i].step_ms &&
           k[j].window_ms == k[i].window_ms)
        j++;
    return j - i;
}

static int find_removed(struct warm_dynamodb *w, const struct part_key *keys, size_t n,
                        const struct turn *put, size_t nput, struct dynamodb_batch *gone, struct err *err)
{
    struct dynamodb_query *q = xcalloc(DYNAMODB_PARALLEL, sizeof *q);
    size_t first[DYNAMODB_PARALLEL], size[DYNAMODB_PARALLEL], begun = 0, ended = 0, at = 0;
    int rc = OK;
    while ((rc == OK && at < n) || ended < begun) {
        size_t place = begun % DYNAMODB_PARALLEL;
        if (rc == OK && at < n && begun - ended < DYNAMODB_PARALLEL) {
            struct dynamodb_key from, until;
            first[place] = at;
            size[place] = same_window(keys, at, n);
            dynamodb_range(keys[at].series, keys[at].step_ms, keys[at].window_ms, keys[at].window_ms + 1,
                           &from, &until);
            dynamodb_query_begin(&q[place], w, &from, &until, false);
            at += size[place];
            begun++;
            continue;
        }
        place = ended++ % DYNAMODB_PARALLEL;
        if (rc == OK)
            rc = note_stored(w, &q[place], keys + first[place], size[place], put, nput, gone, err);
        dynamodb_query_end(&q[place]);
    }
    free(q);
    return rc;
}

static int remove_keys(struct warm_dynamodb *w, const struct part_key *remove, size_t n,
                       const struct turn *put, size_t nput, struct err *err)
{
    struct dynamodb_batch gone = DYNAMODB_BATCH_INIT(w);
    struct part_key *keys = xmalloc(n * sizeof *keys);
    memcpy(keys, remove, n * sizeof *keys);
    qsort(keys, n, sizeof *keys, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) /* none twice */
        if (!kept || key_cmp(&keys[kept - 1], &keys[i]))
            keys[kept++] = keys[i];
    int rc = find_removed(w, keys, kept, put, nput, &gone, err);
    size_t found = gone.n;
    if (rc == OK)
        rc = dynamodb_batch_run(&gone, err);
    if (rc == OK)
        count(&w->removed, w->removed_total, found);
    dynamodb_batch_release(&gone);
    free(keys);
    return rc;
}

static int check_sizes(const struct part *parts, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i].size > ITEM_MAX || parts[i].lo > parts[i].key.hi)
            return err_set(err, ERR_INVALID, "warm tier: a part of %zu bytes fits no item", parts[i].size);
    return OK;
}

static int dynamodb_put(struct warm *base, const struct part *parts, size_t n, const struct part_key *remove,
                        size_t nremove, struct err *err)
{
    struct warm_dynamodb *w = of(base);
    int rc = check_sizes(parts, n, err);
    if (rc == OK)
        rc = dynamodb_ready(w, err);
    if (rc < 0)
        return rc;
    struct turn *t = xmalloc((n ? n : 1) * sizeof *t);
    size_t kept = choose(parts, n, t);
    rc = dynamodb_mark_groups(w, parts, n, err);
    if (rc == OK)
        rc = put_parts(w, t, kept, err);
    if (rc == OK && nremove)
        rc = remove_keys(w, remove, nremove, t, kept, err);
    free(t);
    return rc;
}

/* --- reading --- */

/* The parts of one series' query to fn: of equal (window, hi) the first that is whole. */
struct delivery {
    struct warm_dynamodb *w;
    uint32_t series, step_ms;
    int64_t now_s;
    struct dynamodb_item item;
    struct part_key last; /* delivered */
    bool any;
    uint64_t items; /* met, of whatever kind */
};

static int deliver_item(struct delivery *d, const json_t *json, warm_part_fn fn, void *ctx,
                        struct err *damage)
{
    struct part_key k = {.series = d->series, .step_ms = d->step_ms};
    struct part part;
    uint64_t lo;
    d->items++;
    if (dynamodb_item_get(json, &d->item) < 0 ||
        dynamodb_sort_get(d->item.s.data, d->item.s.len, k.step_ms, &k.window_ms, &k.hi, &lo) < 0) {
        char text[160];
        snprintf(text, sizeof text, "an item of series %u, step %u ms, is none of a part", d->series,
                 d->step_ms);
        warm_damaged(&d->w->base, damage, text);
        return 0;
    }
    if (d->item.expires_s && d->item.expires_s <= d->now_s) { /* the service has not got round to it */
        count(&d->w->expired, d->w->expired_total, 1);
        return 0;
    }
    if (d->any && !key_cmp(&d->last, &k))
        return 0;
    if (part_decode(&k, d->item.v.data, d->item.v.len, &part, NULL) == OK) {
        if (part.lo != lo) {
            warm_damaged(&d->w->base, damage, "a part lies under another run's key");
            return 0;
        }
        d->last = k;
        d->any = true;
    }
    return warm_deliver(&d->w->base, &k, d->item.v.data, d->item.v.len, fn, ctx, damage);
}

static int deliver_query(struct delivery *d, struct dynamodb_query *q, warm_part_fn fn, void *ctx,
                         struct err *damage, struct err *err)
{
    const json_t *json;
    int rc;
    d->any = false;
    while ((rc = dynamodb_query_next(q, &json, err)) == 1) {
        int told = deliver_item(d, json, fn, ctx, damage);
        if (told)
            return told;
    }
    return rc;
}

static struct delivery delivery_of(struct warm_dynamodb *w, uint32_t step_ms)
{
    return (struct delivery){.w = w,
                             .step_ms = step_ms,
                             .now_s = clock_wall_ms(w->o.clock) / 1000,
                             .item = {BUF_INIT, BUF_INIT, 0, 0}};
}

static int dynamodb_read(struct warm *base, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                         int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    struct warm_dynamodb *w = of(base);
    struct dynamodb_key from, until;
    struct dynamodb_query q;
    struct err damage = ERR_INIT;
    int rc = dynamodb_ready(w, err);
    if (rc < 0)
        return rc;
    struct delivery d = delivery_of(w, step_ms);
    d.series = series;
    dynamodb_range(series, step_ms, from_window_ms, until_window_ms, &from, &until);
    dynamodb_query_begin(&q, w, &from, &until, true);
    rc = deliver_query(&d, &q, fn, ctx, &damage, err);
    dynamodb_query_end(&q);
    dynamodb_item_release(&d.item);
    return rc == 0 && damage.code ? err_set(err, damage.code, "%s", damage.text) : rc;
}

/* --- scanning --- */

/* One group, or a stretch of it: each series' windows in [from_ms, until_ms), several asked for at a time. */
static int scan_series(struct delivery *d, int64_t from_ms, int64_t until_ms, warm_part_fn fn, void *ctx,
                       struct err *damage, struct err *err)
{
    struct warm_dynamodb *w = d->w;
    struct dynamodb_query *q = xcalloc(DYNAMODB_PARALLEL, sizeof *q);
    uint64_t end = w->o.series_end(w->o.ctx), begun = 0, ended = 0;
    int rc = 0;
    while ((rc == 0 && begun < end) || ended < begun) {
        if (rc == 0 && begun < end && begun - ended < DYNAMODB_PARALLEL) {
            struct dynamodb_key from, until;
            dynamodb_range((uint32_t)begun, d->step_ms, from_ms, until_ms, &from, &until);
            dynamodb_query_begin(&q[begun++ % DYNAMODB_PARALLEL], w, &from, &until, true);
            continue;
        }
        struct dynamodb_query *one = &q[ended % DYNAMODB_PARALLEL];
        d->series = (uint32_t)ended++;
        if (rc == 0)
            rc = deliver_query(d, one, fn, ctx, damage, err);
        dynamodb_query_end(one);
    }
    free(q);
    return rc;
}

static int dynamodb_scan(struct warm *base, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                         warm_part_fn fn, void *ctx, struct err *err)
{
    struct warm_dynamodb *w = of(base);
    struct dynamodb_marks marks = {NULL, 0};
    struct err damage = ERR_INIT;
    int64_t group = warm_group_ms(step_ms);
    int rc = dynamodb_ready(w, err);
    if (rc == OK)
        rc = dynamodb_find_marks(w, step_ms, floor_to(from_window_ms, group), until_window_ms, &marks, err);
    for (size_t i = 0; i < marks.n && rc == 0; i++) {
        const struct dynamodb_mark *m = &marks.v[i];
        int64_t from = m->group_ms > from_window_ms ? m->group_ms : from_window_ms;
        int64_t until = m->group_ms + group < until_window_ms ? m->group_ms + group : until_window_ms;
        struct delivery d = delivery_of(w, step_ms);
        rc = scan_series(&d, from, until, fn, ctx, &damage, err);
        dynamodb_item_release(&d.item);
        if (rc == 0 && !d.items && from == m->group_ms && until == m->group_ms + group)
            dynamodb_unmark(w, step_ms, m);
    }
    free(marks.v);
    return rc == 0 && damage.code ? err_set(err, damage.code, "%s", damage.text) : rc;
}

/* --- removing what is unchanged --- */

/* A stored sort key of the series that is being looked at. */
struct stored {
    int64_t window_ms;
    uint64_t hi, lo;
};
struct stored_list {
    struct stored *v;
    size_t n, cap;
};

static int load_stored(struct dynamodb_query *q, uint32_t step_ms, struct stored_list *l, struct err *err)
{
    struct dynamodb_item item = {BUF_INIT, BUF_INIT, 0, 0};
    const json_t *json;
    int rc;
    l->n = 0;
    while ((rc = dynamodb_query_next(q, &json, err)) == 1) {
        struct stored s;
        if (dynamodb_item_get(json, &item) < 0 ||
            dynamodb_sort_get(item.s.data, item.s.len, step_ms, &s.window_ms, &s.hi, &s.lo) < 0)
            continue;
        if (l->n == l->cap) {
            l->cap = l->cap ? 2 * l->cap : 64;
            l->v = xrealloc(l->v, l->cap * sizeof *l->v);
        }
        l->v[l->n++] = s;
    }
    dynamodb_item_release(&item);
    return rc;
}

/* A part whose removal is under way. */
struct removal {
    const struct part *part;
    struct aws_call call;
    struct buf body;
};

static int begin_removal(struct warm_dynamodb *w, struct removal *r, const struct part *p, struct err *err)
{
    struct dynamodb_key key = dynamodb_part_key(&p->key, p->lo);
    struct buf value = BUF_INIT;
    part_encode(p, &value);
    r->part = p;
    dynamodb_body(w, &r->body);
    buf_puts(&r->body, ",\"ConditionExpression\":\"v = :v\",\"ExpressionAttributeValues\":{\":v\":");
    dynamodb_put_binary(&r->body, value.data, value.len);
    buf_puts(&r->body, "},\"Key\":{");
    dynamodb_put_key(&r->body, &key);
    buf_puts(&r->body, "}}");
    buf_release(&value);
    dynamodb_prepare(w, &r->call, w->delete_item, &r->body);
    return aws_submit(w->o.client, &r->call, err);
}

/* Whether there is nothing under the part's key. */
static int is_gone(struct warm_dynamodb *w, const struct part *p, bool *gone, struct err *err)
{
    struct dynamodb_key key = dynamodb_part_key(&p->key, p->lo);
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    dynamodb_body(w, &body);
    buf_puts(&body, ",\"ConsistentRead\":true,\"ProjectionExpression\":\"s\",\"Key\":{");
    dynamodb_put_key(&body, &key);
    buf_puts(&body, "}}");
    dynamodb_prepare(w, &call, w->get_item, &body);
    int rc = dynamodb_call(w, &call, false, &answer, err);
    *gone = rc == OK && !json_object_get(answer, "Item");
    json_decref(answer);
    buf_release(&body);
    return rc;
}

/* *removed: whether it was. What is stored is another part now: fine. */
static int end_removal(struct warm_dynamodb *w, struct removal *r, bool *removed, struct err *err)
{
    json_t *answer;
    int rc = dynamodb_wait(w, &r->call, true, &answer, err);
    json_decref(answer);
    *removed = rc == OK;
    if (rc == ERR_LOCKED) /* after a lost answer: perhaps because it is done */
        rc = r->call.unsure ? is_gone(w, r->part, removed, err) : OK;
    return rc;
}

/* Adds the deletion of what was hidden behind a removed part. */
static void drop_hidden(const struct stored_list *l, const struct part *p, struct dynamodb_batch *hidden)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].window_ms == p->key.window_ms && l->v[i].hi == p->key.hi && l->v[i].lo > p->lo) {
            struct dynamodb_key key = dynamodb_part_key(&p->key, l->v[i].lo);
            dynamodb_delete_request(&hidden->requests, &key);
            dynamodb_batch_added(hidden);
        }
}

/* Whether this part is what a read gives: no longer run is stored under its key. */
static bool is_read(const struct stored_list *l, const struct part *p)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].window_ms == p->key.window_ms && l->v[i].hi == p->key.hi)
            return l->v[i].lo == p->lo;
    return false;
}

/* Parts of one series. */
static int remove_run(struct warm_dynamodb *w, const struct part *parts, size_t n,
                      const struct stored_list *l, struct dynamodb_batch *hidden, size_t *removed,
                      struct err *err)
{
    struct removal *r = xcalloc(DYNAMODB_PARALLEL, sizeof *r);
    size_t at = 0, begun = 0, ended = 0;
    int rc = OK;
    while ((rc == OK && at < n) || ended < begun) {
        if (rc == OK && at < n && begun - ended < DYNAMODB_PARALLEL) {
            const struct part *p = &parts[at++];
            if (is_read(l, p) && (rc = begin_removal(w, &r[begun % DYNAMODB_PARALLEL], p, err)) == OK)
                begun++;
            continue;
        }
        struct removal *one = &r[ended++ % DYNAMODB_PARALLEL];
        struct err why = ERR_INIT;
        bool done;
        int told = end_removal(w, one, &done, &why);
        if (told < 0 && rc == OK)
            rc = err_set(err, told, "%s", why.text);
        if (!done)
            continue;
        ++*removed;
        atomic_fetch_sub(&w->stored_bytes,
                         (int64_t)one->part->size + DYNAMODB_PARTITION_BYTES + DYNAMODB_SORT_BYTES);
        drop_hidden(l, one->part, hidden);
    }
    for (size_t i = 0; i < DYNAMODB_PARALLEL; i++)
        buf_release(&r[i].body);
    free(r);
    return rc;
}

/* How many parts from number i on are of one series, and the windows they span. */
static size_t same_series(const struct part *p, size_t i, size_t n, int64_t *from_ms, int64_t *until_ms)
{
    size_t j = i;
    *from_ms = INT64_MAX;
    *until_ms = 0;
    for (; j < n && p[j].key.series == p[i].key.series && p[j].key.step_ms == p[i].key.step_ms; j++) {
        *from_ms = p[j].key.window_ms < *from_ms ? p[j].key.window_ms : *from_ms;
        *until_ms = p[j].key.window_ms + 1 > *until_ms ? p[j].key.window_ms + 1 : *until_ms;
    }
    return j - i;
}

static int dynamodb_remove_if(struct warm *base, const struct part *parts, size_t n, size_t *removed,
                              struct err *err)
{
    struct warm_dynamodb *w = of(base);
    struct dynamodb_batch hidden = DYNAMODB_BATCH_INIT(w);
    struct stored_list l = {NULL, 0, 0};
    int rc = dynamodb_ready(w, err);
    for (size_t i = 0, some; i < n && rc == OK; i += some) {
        int64_t from_ms, until_ms;
        struct dynamodb_key from, until;
        struct dynamodb_query q;
        some = same_series(parts, i, n, &from_ms, &until_ms);
        dynamodb_range(parts[i].key.series, parts[i].key.step_ms, from_ms, until_ms, &from, &until);
        dynamodb_query_begin(&q, w, &from, &until, false);
        rc = load_stored(&q, parts[i].key.step_ms, &l, err);
        dynamodb_query_end(&q);
        if (rc == OK)
            rc = remove_run(w, parts + i, some, &l, &hidden, removed, err);
    }
    struct err why = ERR_INIT;
    int dropped = dynamodb_batch_run(&hidden, &why);
    if (rc == OK && dropped < 0)
        rc = err_set(err, dropped, "%s", why.text);
    count(&w->removed, w->removed_total, *removed);
    dynamodb_batch_release(&hidden);
    free(l.v);
    return rc;
}

/* --- expiry --- */

static int sweep_series(struct warm_dynamodb *w, struct dynamodb_query *q, uint32_t series, uint32_t step_ms,
                        struct dynamodb_batch *gone, struct err *err)
{
    struct dynamodb_item item = {BUF_INIT, BUF_INIT, 0, 0};
    const json_t *json;
    int rc;
    (void)w;
    while ((rc = dynamodb_query_next(q, &json, err)) == 1) {
        struct part_key k = {.series = series, .step_ms = step_ms};
        uint64_t lo;
        if (dynamodb_item_get(json, &item) < 0 || item.s.len != DYNAMODB_SORT_BYTES ||
            dynamodb_sort_get(item.s.data, item.s.len, step_ms, &k.window_ms, &k.hi, &lo) < 0)
            continue;
        struct dynamodb_key key = dynamodb_part_key(&k, lo);
        dynamodb_delete_request(&gone->requests, &key);
        dynamodb_batch_added(gone);
    }
    dynamodb_item_release(&item);
    return rc;
}

#define SWEEP_WRITES 2000 /* deletions that are collected before they are sent */

/* All of a group, by ourselves. *found: whether there was anything. */
static int sweep_group(struct warm_dynamodb *w, uint32_t step_ms, int64_t group_ms, bool *found,
                       struct err *err)
{
    struct dynamodb_query *q = xcalloc(DYNAMODB_PARALLEL, sizeof *q);
    struct dynamodb_batch gone = DYNAMODB_BATCH_INIT(w);
    uint64_t end = w->o.series_end(w->o.ctx), begun = 0, ended = 0, total = 0;
    int rc = OK;
    while ((rc == OK && begun < end) || ended < begun) {
        if (rc == OK && begun < end && begun - ended < DYNAMODB_PARALLEL) {
            struct dynamodb_key from, until;
            dynamodb_range((uint32_t)begun, step_ms, group_ms, group_ms + warm_group_ms(step_ms), &from,
                           &until);
            dynamodb_query_begin(&q[begun++ % DYNAMODB_PARALLEL], w, &from, &until, false);
            continue;
        }
        struct dynamodb_query *one = &q[ended % DYNAMODB_PARALLEL];
        if (rc == OK)
            rc = sweep_series(w, one, (uint32_t)ended, step_ms, &gone, err);
        ended++;
        dynamodb_query_end(one);
        if (rc == OK && (gone.n >= SWEEP_WRITES || ended == end)) {
            total += gone.n;
            rc = dynamodb_batch_run(&gone, err);
        }
    }
    count(&w->removed, w->removed_total, total);
    *found = total > 0;
    dynamodb_batch_release(&gone);
    free(q);
    return rc;
}

/* The service removes what has a time to live. Where it does not, whole groups are removed here. */
static int dynamodb_expire(struct warm *base, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    struct warm_dynamodb *w = of(base);
    struct dynamodb_marks marks = {NULL, 0};
    int64_t group = warm_group_ms(step_ms);
    int rc = dynamodb_ready(w, err);
    if (rc < 0 || atomic_load(&w->ttl) || before_ms < group)
        return rc;
    rc = dynamodb_find_marks(w, step_ms, 0, floor_to(before_ms, group), &marks, err);
    for (size_t i = 0; i < marks.n && rc == OK; i++) {
        bool found;
        if (marks.v[i].group_ms > before_ms - group)
            continue;
        rc = sweep_group(w, step_ms, marks.v[i].group_ms, &found, err);
        if (rc == OK && !found)
            dynamodb_unmark(w, step_ms, &marks.v[i]);
    }
    free(marks.v);
    return rc;
}

/* --- the rest --- */

static int dynamodb_sync(struct warm *base, struct err *err)
{
    (void)base, (void)err; /* a put that returned OK is durable */
    return OK;
}

static void dynamodb_get_stats(struct warm *base, struct warm_stats *out)
{
    int64_t bytes = atomic_load(&of(base)->stored_bytes);
    out->stored_bytes = bytes > 0 ? (uint64_t)bytes : 0;
}

void warm_dynamodb_get_stats(struct warm *base, struct warm_dynamodb_stats *out)
{
    struct warm_dynamodb *w = of(base);
    *out = (struct warm_dynamodb_stats){
        .read_units_milli = atomic_load(&w->read_units_milli),
        .write_units_milli = atomic_load(&w->write_units_milli),
        .items_written = atomic_load(&w->written),
        .items_removed = atomic_load(&w->removed),
        .items_unprocessed = atomic_load(&w->unprocessed),
        .items_expired = atomic_load(&w->expired),
    };
}

static double read_units(void *ctx)
{
    return (double)atomic_load(&((struct warm_dynamodb *)ctx)->read_units_milli) / 1000;
}
static double write_units(void *ctx)
{
    return (double)atomic_load(&((struct warm_dynamodb *)ctx)->write_units_milli) / 1000;
}

static void units(struct metrics *m, struct warm_dynamodb *w)
{
    metrics_gauge_fn(m, "carat_dynamodb_read_units_total", NULL, "Read capacity units consumed.", "counter",
                     w ? read_units : NULL, w);
    metrics_gauge_fn(m, "carat_dynamodb_write_units_total", NULL, "Write capacity units consumed.", "counter",
                     w ? write_units : NULL, w);
}

static void dynamodb_free(struct warm *base)
{
    struct warm_dynamodb *w = of(base);
    if (w->o.metrics)
        units(w->o.metrics, NULL);
    warm_clear(base);
    pthread_mutex_destroy(&w->opening);
    free(w->groups);
    free(w->table);
    free(w->identity);
    free(w);
}

static const struct warm_ops dynamodb_ops = {
    .name = "dynamodb",
    .put = dynamodb_put,
    .read = dynamodb_read,
    .scan = dynamodb_scan,
    .remove_if = dynamodb_remove_if,
    .expire = dynamodb_expire,
    .sync = dynamodb_sync,
    .get_stats = dynamodb_get_stats,
    .free = dynamodb_free,
};

static void register_metrics(struct warm_dynamodb *w, struct metrics *m)
{
    w->written_total =
        metrics_counter(m, "carat_dynamodb_items_written_total", NULL, "Parts stored as items.");
    w->removed_total = metrics_counter(m, "carat_dynamodb_items_removed_total", NULL,
                                       "Items removed: replaced, moved to cold, or expired.");
    w->unprocessed_total = metrics_counter(m, "carat_dynamodb_items_unprocessed_total", NULL,
                                           "Writes the service left undone in a batch; they are sent again.");
    w->expired_total = metrics_counter(m, "carat_dynamodb_items_expired_total", NULL,
                                       "Expired items met while reading; they are not served.");
    units(m, w);
}

static void find_operations(struct warm_dynamodb *w)
{
    struct aws_client *c = w->o.client;
    w->batch_write = aws_operation(c, "BatchWriteItem");
    w->query = aws_operation(c, "Query");
    w->put_item = aws_operation(c, "PutItem");
    w->get_item = aws_operation(c, "GetItem");
    w->delete_item = aws_operation(c, "DeleteItem");
    w->create_table = aws_operation(c, "CreateTable");
    w->describe_table = aws_operation(c, "DescribeTable");
    w->describe_ttl = aws_operation(c, "DescribeTimeToLive");
    w->update_ttl = aws_operation(c, "UpdateTimeToLive");
}

int warm_dynamodb_open(const struct warm_dynamodb_options *o, struct warm **out, struct err *err)
{
    struct warm_dynamodb *w = xcalloc(1, sizeof *w);
    struct err why = ERR_INIT;
    assert(o->client && o->table && o->identity && o->clock && o->series_end);
    warm_init(&w->base, &dynamodb_ops, o->metrics);
    w->o = *o;
    w->table = xstrdup(o->table);
    w->identity = xstrdup(o->identity);
    pthread_mutex_init(&w->opening, NULL);
    find_operations(w);
    if (o->metrics)
        register_metrics(w, o->metrics);
    int rc = dynamodb_ready(w, &why);
    if (rc == ERR_IO || rc == ERR_TIMEOUT || rc == ERR_BUSY) {
        log_warn("warm", "the service does not answer yet; going on", "why=\"%s\"", why.text);
        rc = OK;
    }
    if (rc < 0) {
        dynamodb_free(&w->base);
        return err_set(err, rc, "%s", why.text);
    }
    *out = &w->base;
    return OK;
}
