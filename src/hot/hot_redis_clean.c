/* Windows nobody knows: keys in Redis that are in no index.
 *
 * Whoever owns a partition has every window with a point after the checkpoint in its index, because it
 * applies all of them. What else is there was left by a deletion that a failover undid, or by a writer that
 * lost the partition; it is in warm already. It is given out once more all the same (warm takes the same part
 * twice without harm) and then deleted, so that nothing rests on that argument but memory. */
#include "hot/hot_redis_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define SCAN_KEYS 1000
#define WATCH_MS  10000 /* between two looks at the memory of the nodes */

/* --- memory ----------------------------------------------------------------------------------------------
 */

struct memory {
    const char *node;
    int status;
    struct err *err;
};

static void on_info(void *ctx, size_t i, const redisReply *reply)
{
    struct memory *m = ctx;
    if (reply->type == REDIS_REPLY_ERROR)
        m->status = redis_reply_error(reply, "INFO memory", m->err);
    if (reply->type != REDIS_REPLY_STRING)
        return;
    const char *policy = strstr(reply->str, "maxmemory_policy:");
    if (policy && strncmp(policy + 17, "noeviction", 10) != 0)
        m->status =
            err_set(m->err, ERR_INVALID,
                    "redis %s has maxmemory-policy %.*s: it may drop points that are nowhere else yet; set "
                    "maxmemory-policy noeviction",
                    m->node, (int)strcspn(policy + 17, "\r\n"), policy + 17);
}

static int check_memory(struct redis_cluster *c, struct err *err)
{
    unsigned masters[REDIS_NODES_MAX];
    int rc = redis_cluster_refresh(c, err);
    size_t n = rc == OK ? redis_cluster_masters(c, masters, ARRAY_LEN(masters)) : 0;
    struct redis_batch b = REDIS_BATCH_INIT;
    redis_batch_begin(&b, 0, 2);
    redis_batch_str(&b, "INFO");
    redis_batch_str(&b, "memory");
    for (size_t i = 0; i < n && rc == OK; i++) {
        struct memory m = {.node = redis_cluster_node_name(c, masters[i]), .err = err};
        rc = redis_cluster_exec_on(c, masters[i], &b, on_info, &m, err);
        rc = rc == OK ? m.status : rc;
    }
    redis_batch_release(&b);
    return rc;
}

int hot_redis_check_memory(struct hot_redis *r, struct err *err)
{
    pthread_mutex_lock(&r->clean_mtx);
    int rc = check_memory(r->clean_client, err);
    pthread_mutex_unlock(&r->clean_mtx);
    return rc;
}

/* --- keys ------------------------------------------------------------------------------------------------
 */

struct scan {
    struct hot_redis *r;
    uint64_t cursor;
    bool more;
    struct hot_redis_stray *v; /* keys nobody knows */
    size_t n, cap;
    struct buf name;
    uint64_t found;
    int status;
    struct err err;
};

static bool known(struct hot_redis_part *p, const struct hot_redis_stray *s)
{
    pthread_mutex_lock(&p->mtx);
    bool yes = hot_redis_index_find(&p->index, s->series, s->key.step_ms, s->key.window_ms) != NULL;
    for (size_t i = 0; i < p->nstrays && !yes; i++)
        yes = p->strays[i].series == s->series && p->strays[i].key.step_ms == s->key.step_ms &&
              p->strays[i].key.window_ms == s->key.window_ms;
    pthread_mutex_unlock(&p->mtx);
    return yes;
}

static void take_key(struct scan *s, const redisReply *key)
{
    struct hot_redis *r = s->r;
    struct hot_redis_stray stray;
    buf_clear(&s->name);
    if (key->type != REDIS_REPLY_STRING ||
        !hot_redis_key_read(&r->naming, key->str, key->len, &stray.key, &s->name))
        return;
    if (stray.key.partition >= r->nparts)
        return; /* a lane that is not there any more, or another process's */
    stray.series = r->o.series_of(r->o.ctx, buf_str(&s->name), s->name.len);
    if (stray.series == 0) {
        hot_redis_count(r->unknown_windows, 1);
        if (log_allowed(&r->log, NULL))
            log_warn("hot", "a window in Redis of a series nobody knows is left alone", "name=%s",
                     buf_str(&s->name));
        return;
    }
    if (known(&r->parts[stray.key.partition], &stray))
        return;
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->v = xrealloc(s->v, s->cap * sizeof *s->v);
    }
    s->v[s->n++] = stray;
}

static void on_scan(void *ctx, size_t i, const redisReply *reply)
{
    struct scan *s = ctx;
    if (reply->type == REDIS_REPLY_ERROR)
        s->status = redis_reply_error(reply, "SCAN", &s->err);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_ARRAY)
        return;
    s->cursor = strtoull(reply->element[0]->str, NULL, 10);
    s->more = s->cursor != 0;
    for (size_t k = 0; k < reply->element[1]->elements; k++)
        take_key(s, reply->element[1]->element[k]);
}

static void on_header(void *ctx, size_t i, const redisReply *reply)
{
    struct scan *s = ctx;
    struct hot_redis_stray *stray = &s->v[i];
    struct hot_redis_part *p = &s->r->parts[stray->key.partition];
    struct hot_redis_seen seen;
    struct err ignored;
    hot_redis_seen_from(&seen, reply, &ignored);
    /* What the owner is still to apply it will meet by itself. */
    if (seen.status != OK || seen.header.hi > atomic_load(&p->applied) || known(p, stray))
        return;
    pthread_mutex_lock(&p->mtx);
    if (!p->strays)
        p->strays = xmalloc(HOT_REDIS_STRAYS_MAX * sizeof *p->strays);
    if (p->nstrays < HOT_REDIS_STRAYS_MAX) { /* else at the next look */
        p->strays[p->nstrays++] = *stray;
        s->found++;
    }
    pthread_mutex_unlock(&p->mtx);
}

static int look_at_found(struct scan *s, struct redis_batch *b, struct err *err)
{
    struct hot_redis *r = s->r;
    struct buf series = BUF_INIT, key = BUF_INIT;
    int rc = OK;
    redis_batch_clear(b);
    for (size_t i = 0; i < s->n && rc == OK; i++) {
        rc = hot_redis_series_text(r, s->v[i].series, s->v[i].key.step_ms, &series, err);
        if (rc != OK)
            break;
        hot_redis_window_key(r, &series, s->v[i].key.window_ms, s->v[i].key.partition, &key);
        redis_batch_begin(b, redis_slot((const char *)key.data, key.len), 4);
        redis_batch_str(b, "GETRANGE");
        redis_batch_arg(b, key.data, key.len);
        redis_batch_str(b, "0");
        redis_batch_i64(b, HOT_REDIS_HEADER_BYTES - 1);
    }
    if (rc == OK && s->n)
        rc = redis_cluster_exec(r->clean_client, b, REDIS_FOLLOW, on_header, s, err);
    buf_release(&series);
    buf_release(&key);
    return rc;
}

static int scan_node(struct scan *s, unsigned node, struct err *err)
{
    struct hot_redis *r = s->r;
    struct redis_batch b = REDIS_BATCH_INIT;
    char pattern[256];
    int rc = OK;
    snprintf(pattern, sizeof pattern, "%s[0-9]*", r->naming.prefix);
    s->cursor = 0;
    s->more = true;
    while (rc == OK && s->more) {
        s->n = 0;
        s->more = false;
        redis_batch_clear(&b);
        redis_batch_begin(&b, 0, 6);
        redis_batch_str(&b, "SCAN");
        redis_batch_i64(&b, (int64_t)s->cursor);
        redis_batch_str(&b, "MATCH");
        redis_batch_str(&b, pattern);
        redis_batch_str(&b, "COUNT");
        redis_batch_i64(&b, SCAN_KEYS);
        rc = redis_cluster_exec_on(r->clean_client, node, &b, on_scan, s, err);
        if (rc == OK && s->status != OK) {
            *err = s->err;
            rc = s->status;
        }
        if (rc == OK)
            rc = look_at_found(s, &b, err);
    }
    redis_batch_release(&b);
    return rc;
}

int hot_redis_clean(struct hot *h, uint64_t *found, struct err *err)
{
    struct hot_redis *r = hot_redis_of(h);
    struct scan s = {.r = r, .err = ERR_INIT};
    unsigned masters[REDIS_NODES_MAX];
    pthread_mutex_lock(&r->clean_mtx);
    int rc = redis_cluster_refresh(r->clean_client, err);
    size_t n = rc == OK ? redis_cluster_masters(r->clean_client, masters, ARRAY_LEN(masters)) : 0;
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = scan_node(&s, masters[i], err);
    pthread_mutex_unlock(&r->clean_mtx);
    hot_redis_count(r->stray_windows, s.found);
    buf_release(&s.name);
    free(s.v);
    *found = s.found;
    return rc;
}

/* --- now and then ----------------------------------------------------------------------------------------
 */

/* True when stopping. */
static bool rest(struct hot_redis *r, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&r->wake_mtx);
    while (!r->stopping && pthread_cond_timedwait(&r->clean_wake, &r->wake_mtx, &until) != ETIMEDOUT)
        ;
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->wake_mtx);
    return stopping;
}

static void tell(struct hot_redis *r, const char *what, const struct err *why)
{
    if (log_allowed(&r->log, NULL))
        log_error("hot", what, "why=\"%s\"", why->text);
}

void *hot_redis_cleaner_main(void *arg)
{
    struct hot_redis *r = arg;
    int64_t last = clock_mono_ms(r->o.clock);
    while (!rest(r, WATCH_MS)) {
        struct err err = ERR_INIT;
        uint64_t found;
        if (hot_redis_check_memory(r, &err) == ERR_INVALID)
            tell(r, "Redis is set up so that points can get lost", &err);
        if (!r->o.clean_interval_ms || clock_mono_ms(r->o.clock) - last < r->o.clean_interval_ms)
            continue;
        last = clock_mono_ms(r->o.clock);
        if (hot_redis_clean(&r->base, &found, &err) != OK)
            tell(r, "the look for windows nobody knows was not finished", &err);
        else if (found)
            log_info("hot", "windows nobody knows are flushed", "windows=%llu", (unsigned long long)found);
    }
    return NULL;
}
