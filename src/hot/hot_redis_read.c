/* Reads of queries. Each read under way has clients of its own, from a pool.
 *
 * What this process wrote it knows: a window in the index must be in Redis with at least the positions that
 * were acknowledged, or it has left to warm meanwhile and is not in the index any more. Anything else is said
 * to be incomplete. */
#include "hot/hot_redis_impl.h"

#include <stdlib.h>

#define READERS   4
#define MEMBERS   4096 /* windows of one series that are read at once */
#define BATCH_GET 64

struct wanted {
    int64_t window_ms;
    unsigned partition;
    bool known;      /* in our index: */
    uint64_t lo, hi; /* as acknowledged before the read */
    bool done;       /* was told, or is not there any more */
};

struct hot_redis_reader {
    struct redis_cluster *masters, *replicas; /* the latter may be NULL */
    struct redis_batch batch;
    struct buf series, key;
    struct wanted *v;
    size_t n, cap;
    uint32_t *which; /* wanted by command */
    size_t which_cap;
};

static void reader_free(struct hot_redis_reader *r)
{
    redis_cluster_free(r->masters);
    redis_cluster_free(r->replicas);
    redis_batch_release(&r->batch);
    buf_release(&r->series);
    buf_release(&r->key);
    free(r->v);
    free(r->which);
    free(r);
}

int hot_redis_pool_open(struct hot_redis *r, struct err *err)
{
    unsigned n = r->o.readers ? r->o.readers : READERS;
    r->pool = xcalloc(n, sizeof *r->pool);
    for (unsigned i = 0; i < n; i++) {
        struct hot_redis_reader *one = xcalloc(1, sizeof *one);
        r->pool[r->npool++] = one;
        int rc = hot_redis_client_new(r, false, &one->masters, err);
        if (rc == OK && r->o.read_replicas)
            rc = hot_redis_client_new(r, true, &one->replicas, err);
        if (rc != OK)
            return rc;
    }
    return OK;
}

void hot_redis_pool_close(struct hot_redis *r)
{
    for (size_t i = 0; i < r->npool; i++)
        reader_free(r->pool[i]);
    free(r->pool);
}

static struct hot_redis_reader *borrow(struct hot_redis *r)
{
    pthread_mutex_lock(&r->pool_mtx);
    while (r->npool == 0)
        pthread_cond_wait(&r->pool_changed, &r->pool_mtx);
    struct hot_redis_reader *one = r->pool[--r->npool];
    pthread_mutex_unlock(&r->pool_mtx);
    return one;
}

static void give_back(struct hot_redis *r, struct hot_redis_reader *one)
{
    pthread_mutex_lock(&r->pool_mtx);
    r->pool[r->npool++] = one;
    pthread_cond_signal(&r->pool_changed);
    pthread_mutex_unlock(&r->pool_mtx);
}

/* --- which windows ---------------------------------------------------------------------------------------
 */

static struct wanted *add_wanted(struct hot_redis_reader *rd, int64_t window_ms, unsigned partition)
{
    if (rd->n == rd->cap) {
        rd->cap = rd->cap ? 2 * rd->cap : 16;
        rd->v = xrealloc(rd->v, rd->cap * sizeof *rd->v);
    }
    rd->v[rd->n] = (struct wanted){.window_ms = window_ms, .partition = partition};
    return &rd->v[rd->n++];
}

struct span {
    uint32_t series, step_ms;
    int64_t from_ms, until_ms;
};

static bool touches(const struct span *s, int64_t window_ms)
{
    return window_ms < s->until_ms && window_ms + window_span_ms(s->step_ms) > s->from_ms;
}

static void want_known(struct hot_redis *r, struct hot_redis_reader *rd, const struct span *s)
{
    for (unsigned i = 0; i < r->nparts; i++) {
        struct hot_redis_part *p = &r->parts[i];
        pthread_mutex_lock(&p->mtx);
        for (struct hot_redis_win *w = hot_redis_index_head(&p->index, s->series); w; w = w->next)
            if (w->state >= HOT_REDIS_HELD && w->step_ms == s->step_ms && touches(s, w->start_ms)) {
                struct wanted *x = add_wanted(rd, w->start_ms, i);
                x->known = true;
                x->lo = w->lo;
                x->hi = w->hi;
            }
        pthread_mutex_unlock(&p->mtx);
    }
}

static bool is_wanted(const struct hot_redis_reader *rd, int64_t window_ms, unsigned partition)
{
    for (size_t i = 0; i < rd->n; i++)
        if (rd->v[i].window_ms == window_ms && rd->v[i].partition == partition)
            return true;
    return false;
}

struct members {
    struct hot_redis_reader *rd;
    const struct span *span;
    int status;
    struct err err;
};

static void on_members(void *ctx, size_t i, const redisReply *reply)
{
    struct members *m = ctx;
    if (reply->type == REDIS_REPLY_ERROR)
        m->status = redis_reply_error(reply, "windows of a series", &m->err);
    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t k = 0; k < reply->elements && m->rd->n < MEMBERS; k++) {
        const redisReply *e = reply->element[k];
        char *end;
        if (e->type != REDIS_REPLY_STRING || e->len == 0)
            continue;
        int64_t member = strtoll(e->str, &end, 10);
        int64_t window_ms = hot_redis_member_window(member, m->span->step_ms);
        unsigned partition = hot_redis_member_partition(member);
        if (*end == 0 && touches(m->span, window_ms) && !is_wanted(m->rd, window_ms, partition))
            add_wanted(m->rd, window_ms, partition);
    }
}

/* Windows that other processes wrote. */
static int want_shared(struct hot_redis *r, struct hot_redis_reader *rd, const struct span *s,
                       struct err *err)
{
    struct members m = {.rd = rd, .span = s, .err = ERR_INIT};
    hot_redis_set_key(r, &rd->series, &rd->key);
    redis_batch_clear(&rd->batch);
    redis_batch_begin(&rd->batch, redis_slot((const char *)rd->key.data, rd->key.len), 2);
    redis_batch_str(&rd->batch, "SMEMBERS");
    redis_batch_arg(&rd->batch, rd->key.data, rd->key.len);
    int rc = redis_cluster_exec(rd->masters, &rd->batch, REDIS_FOLLOW, on_members, &m, err);
    if (rc == OK && m.status != OK) {
        *err = m.err;
        rc = m.status;
    }
    return rc;
}

/* --- what is in them -------------------------------------------------------------------------------------
 */

struct reading {
    struct hot_redis *r;
    struct hot_redis_reader *rd;
    const struct span *span;
    hot_window_fn fn;
    void *ctx;
    bool replicas;
    int stopped; /* what fn said */
    int status;  /* of what could not be read; err says it */
    struct err err;
};

/* Nothing there, or less than was acknowledged: has it left, or is it lost? */
static void look_again(struct reading *g, struct wanted *x)
{
    struct hot_redis_part *p = &g->r->parts[x->partition];
    pthread_mutex_lock(&p->mtx);
    struct hot_redis_win *w =
        hot_redis_index_find(&p->index, g->span->series, g->span->step_ms, x->window_ms);
    bool still = w && w->state >= HOT_REDIS_HELD && w->lo == x->lo;
    bool leaving = still && w->state == HOT_REDIS_LEAVING;
    pthread_mutex_unlock(&p->mtx);
    x->done = true; /* if it is not known any more, it is in warm, which is read after hot */
    if (!still || leaving)
        return;
    atomic_store(&p->suspect, true);
    g->status = err_set(&g->err, ERR_BUSY,
                        "Redis has less of a window than it acknowledged; it is being applied again");
}

static void on_window(void *ctx, size_t i, const redisReply *reply)
{
    struct reading *g = ctx;
    struct wanted *x = &g->rd->v[g->rd->which[i]];
    struct hot_redis_header h = {0};
    struct hot_window w = {.window_ms = x->window_ms};
    struct err err = ERR_INIT;
    int rc = OK;
    if (g->stopped)
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        rc = redis_reply_error(reply, "read a window", &err);
    else if (reply->type == REDIS_REPLY_STRING)
        rc = hot_redis_window_read((const uint8_t *)reply->str, reply->len, window_slots(g->span->step_ms),
                                   &h, &w.slots, &err);
    if (g->replicas && (rc != OK || !x->known || h.hi < x->hi))
        return; /* the master knows */
    if (rc == ERR_CORRUPT)
        hot_redis_count(g->r->corrupt_windows, 1);
    if (rc != OK) {
        x->done = true;
        g->status = rc;
        g->err = err;
    } else if (x->known && h.hi < x->hi) {
        look_again(g, x);
    } else {
        x->done = true;
        if (reply->type != REDIS_REPLY_STRING)
            return;
        w.lo = h.lo;
        w.hi = h.hi;
        g->stopped = g->fn(g->ctx, &w);
    }
}

static int fetch(struct reading *g, struct redis_cluster *from, struct err *err)
{
    struct hot_redis_reader *rd = g->rd;
    int rc = OK;
    if (rd->n > rd->which_cap) {
        rd->which_cap = rd->n + rd->n / 2;
        rd->which = xrealloc(rd->which, rd->which_cap * sizeof *rd->which);
    }
    for (size_t i = 0; i < rd->n && rc == OK && !g->stopped;) {
        redis_batch_clear(&rd->batch);
        for (; i < rd->n && rd->batch.n < BATCH_GET; i++) {
            if (rd->v[i].done || (g->replicas && !rd->v[i].known))
                continue;
            hot_redis_window_key(g->r, &rd->series, rd->v[i].window_ms, rd->v[i].partition, &rd->key);
            rd->which[rd->batch.n] = (uint32_t)i;
            redis_batch_begin(&rd->batch, redis_slot((const char *)rd->key.data, rd->key.len), 2);
            redis_batch_str(&rd->batch, "GET");
            redis_batch_arg(&rd->batch, rd->key.data, rd->key.len);
        }
        if (rd->batch.n)
            rc = redis_cluster_exec(from, &rd->batch, REDIS_FOLLOW, on_window, g, err);
    }
    return rc;
}

static int fetch_all(struct reading *g, struct err *err)
{
    struct err ignored = ERR_INIT;
    int rc = OK;
    if (g->rd->replicas) {
        g->replicas = true;
        if (fetch(g, g->rd->replicas, &ignored) == OK)
            for (size_t i = 0; i < g->rd->n; i++)
                hot_redis_count(g->r->stale_reads, !g->rd->v[i].done);
        g->replicas = false;
    }
    rc = fetch(g, g->rd->masters, err);
    if (g->stopped)
        return g->stopped;
    if (rc == OK && g->status != OK) {
        *err = g->err;
        rc = g->status;
    }
    return rc;
}

static bool gap(const struct hot_redis *r)
{
    bool any = false;
    for (unsigned i = 0; i < r->nparts; i++)
        any |= atomic_load(&r->parts[i].gap);
    return any;
}

int hot_redis_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                   hot_window_fn fn, void *ctx, struct err *err)
{
    struct hot_redis *r = hot_redis_of(h);
    struct span s = {series, step_ms, from_ms, until_ms};
    bool gap_before = gap(r);
    struct hot_redis_reader *rd = borrow(r);
    struct reading g = {.r = r, .rd = rd, .span = &s, .fn = fn, .ctx = ctx, .err = ERR_INIT};
    rd->n = 0;
    want_known(r, rd, &s);
    int rc = OK;
    if (rd->n || r->o.shared)
        rc = hot_redis_series_text(r, series, step_ms, &rd->series, err);
    if (rc == OK && r->o.shared)
        rc = want_shared(r, rd, &s, err);
    if (rc == OK && rd->n)
        rc = fetch_all(&g, err);
    give_back(r, rd);
    if (rc == OK && (gap_before || gap(r)))
        rc = err_set(err, ERR_BUSY, "what Redis lost is being applied again");
    return rc;
}
