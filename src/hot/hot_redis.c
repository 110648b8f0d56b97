#include "hot/hot_redis.h"

#include "hot/hot_redis_impl.h"

#include <assert.h>
#include <stdlib.h>

int hot_redis_client_new(struct hot_redis *r, bool replicas, struct redis_cluster **out, struct err *err)
{
    const struct redis_cluster_options o = {.nodes = r->o.nodes,
                                            .user = r->o.user,
                                            .password = r->o.password,
                                            .timeout_ms = r->o.timeout_ms,
                                            .replicas = replicas,
                                            .clock = r->o.clock,
                                            .metrics = &r->redis_metrics};
    return redis_cluster_new(&o, out, err);
}

int hot_redis_series_text(struct hot_redis *r, uint32_t series, uint32_t step_ms, struct buf *out,
                          struct err *err)
{
    size_t len = 0;
    const char *name = r->o.name_of(r->o.ctx, series, &len);
    buf_clear(out);
    if (!name)
        return err_set(err, ERR_NOT_FOUND, "series %u has no name", series);
    hot_redis_put_series(&r->naming, step_ms, name, len, out);
    return OK;
}

static void get_stats(struct hot *h, struct hot_stats *out)
{
    struct hot_redis *r = hot_redis_of(h);
    *out = (struct hot_stats){0};
    for (unsigned i = 0; i < r->nparts; i++) {
        struct hot_redis_part *p = &r->parts[i];
        pthread_mutex_lock(&p->mtx);
        out->series += p->index.series;
        out->windows += p->index.windows;
        out->bytes += p->index.bytes + p->value_bytes;
        out->late_points += p->late_points;
        pthread_mutex_unlock(&p->mtx);
    }
    out->held_bytes = out->bytes;
    /* Whoever bounds hot by its size makes room then. */
    if (out->windows && clock_mono_ms(r->o.clock) < atomic_load(&r->full_until_ms))
        out->bytes = UINT64_MAX / 4;
}

static void part_init(struct hot_redis *r, unsigned i)
{
    struct hot_redis_part *p = &r->parts[i];
    p->hot = r;
    p->number = i;
    turn_init(&p->io);
    pthread_mutex_init(&p->mtx, NULL);
    hot_redis_index_init(&p->index);
    p->hold_from = p->lost_from = UINT64_MAX;
}

static void part_release(struct hot_redis_part *p)
{
    redis_cluster_free(p->client);
    redis_batch_release(&p->batch);
    hot_redis_index_release(&p->index);
    buf_release(&p->series);
    buf_release(&p->key);
    free(p->strays);
    free(p->ops);
    free(p->cells);
    free(p->command_op);
    free(p->wins);
    pthread_mutex_destroy(&p->mtx);
    turn_release(&p->io);
}

static void stop_cleaner(struct hot_redis *r)
{
    if (!r->cleaner_runs)
        return;
    pthread_mutex_lock(&r->wake_mtx);
    r->stopping = true;
    pthread_cond_broadcast(&r->clean_wake);
    pthread_mutex_unlock(&r->wake_mtx);
    pthread_join(r->cleaner, NULL);
    r->cleaner_runs = false;
}

static void free_hot(struct hot *h)
{
    struct hot_redis *r = hot_redis_of(h);
    stop_cleaner(r);
    for (unsigned i = 0; i < r->nparts; i++)
        part_release(&r->parts[i]);
    free(r->parts);
    hot_redis_pool_close(r);
    redis_cluster_free(r->clean_client);
    pthread_cond_destroy(&r->pool_changed);
    pthread_mutex_destroy(&r->pool_mtx);
    pthread_cond_destroy(&r->clean_wake);
    pthread_mutex_destroy(&r->wake_mtx);
    pthread_mutex_destroy(&r->clean_mtx);
    if (r->o.password)
        explicit_bzero((char *)r->o.password, strlen(r->o.password));
    free((char *)r->o.nodes);
    free((char *)r->o.user);
    free((char *)r->o.password);
    free((char *)r->o.prefix);
    free(r);
}

static void register_metrics(struct hot_redis *r)
{
    struct metrics *m = r->o.metrics;
    if (!m)
        return;
    r->redis_metrics = (struct redis_metrics){
        .commands = metrics_counter(m, "carat_redis_commands_total", NULL, "Commands sent to Redis."),
        .moved = metrics_counter(m, "carat_redis_moved_total", NULL,
                                 "Commands Redis sent to another node for good."),
        .asked = metrics_counter(m, "carat_redis_asked_total", NULL,
                                 "Commands Redis sent to another node this once."),
        .waits =
            metrics_counter(m, "carat_redis_waits_total", NULL,
                            "Commands a node could not take at the time (CLUSTERDOWN, TRYAGAIN, LOADING)."),
        .connects =
            metrics_counter(m, "carat_redis_connects_total", NULL, "Connections to Redis that were tried."),
        .failures =
            metrics_counter(m, "carat_redis_failures_total", NULL, "Connections to Redis that failed."),
    };
    r->lost_windows = metrics_counter(m, "carat_redis_lost_windows_total", NULL,
                                      "Windows of which Redis lost something it had acknowledged.");
    r->stray_windows = metrics_counter(m, "carat_redis_stray_windows_total", NULL,
                                       "Windows found in Redis that no writer knew.");
    r->unknown_windows = metrics_counter(m, "carat_redis_unknown_windows_total", NULL,
                                         "Windows found in Redis whose series is not in the catalog.");
    r->corrupt_windows = metrics_counter(m, "carat_redis_corrupt_windows_total", NULL,
                                         "Windows in Redis that are none of this version.");
    r->stale_reads = metrics_counter(m, "carat_redis_stale_reads_total", NULL,
                                     "Windows a replica did not have yet, read from the master instead.");
}

static struct hot_redis *new_hot(const struct hot_redis_options *o)
{
    static const struct hot_ops ops = {
        .name = "redis",
        .begin = hot_redis_begin,
        .leave = hot_redis_leave,
        .lost = hot_redis_lost,
        .again = hot_redis_again,
        .apply = hot_redis_apply,
        .read = hot_redis_read,
        .take = hot_redis_take,
        .release = hot_redis_release,
        .oldest = hot_redis_oldest,
        .get_stats = get_stats,
        .free = free_hot,
    };
    struct hot_redis *r = xcalloc(1, sizeof *r);
    r->base.ops = &ops;
    r->o = *o;
    r->o.nodes = xstrdup(o->nodes);
    r->o.user = xstrdup(o->user ? o->user : "");
    r->o.password = xstrdup(o->password ? o->password : "");
    r->o.prefix = xstrdup(o->prefix ? o->prefix : "");
    r->o.timeout_ms = o->timeout_ms ? o->timeout_ms : 2000;
    r->naming = (struct hot_redis_naming){r->o.prefix, o->host_levels};
    pthread_mutex_init(&r->pool_mtx, NULL);
    pthread_cond_init(&r->pool_changed, NULL);
    pthread_mutex_init(&r->clean_mtx, NULL);
    pthread_mutex_init(&r->wake_mtx, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->clean_wake, &attr);
    pthread_condattr_destroy(&attr);
    r->nparts = o->partitions;
    r->parts = xcalloc(r->nparts, sizeof *r->parts);
    for (unsigned i = 0; i < r->nparts; i++)
        part_init(r, i);
    register_metrics(r);
    return r;
}

/* What is wrong for good is told now; what may heal is tried again by everybody who needs it. */
static int look_at_cluster(struct hot_redis *r, struct err *err)
{
    struct err why = ERR_INIT;
    int rc = hot_redis_check_memory(r, &why);
    if (rc == ERR_INVALID) {
        *err = why;
        return rc;
    }
    if (rc != OK)
        log_warn("hot", "the Redis Cluster is not there yet", "why=\"%s\"", why.text);
    return OK;
}

int hot_redis_open(const struct hot_redis_options *o, struct hot **out, struct err *err)
{
    assert(o->partitions > 0 && o->partitions <= HOT_REDIS_PARTITIONS_MAX && o->name_of && o->series_of);
    if (o->prefix && strpbrk(o->prefix, "{}*?[]\\^"))
        return err_set(err, ERR_INVALID, "the prefix of keys in Redis must not have braces or wildcards");
    if (o->prefix && strlen(o->prefix) > 64)
        return err_set(err, ERR_INVALID, "the prefix of keys in Redis has more than 64 bytes");
    struct hot_redis *r = new_hot(o);
    int rc = OK;
    for (unsigned i = 0; i < r->nparts && rc == OK; i++)
        rc = hot_redis_client_new(r, false, &r->parts[i].client, err);
    if (rc == OK)
        rc = hot_redis_client_new(r, false, &r->clean_client, err);
    if (rc == OK)
        rc = hot_redis_pool_open(r, err);
    if (rc == OK)
        rc = look_at_cluster(r, err);
    if (rc == OK) {
        int failed = pthread_create(&r->cleaner, NULL, hot_redis_cleaner_main, r);
        r->cleaner_runs = failed == 0;
        rc = failed ? err_sys(err, ERR_FAILED, failed, "start the cleaner of hot") : OK;
    }
    if (rc != OK) {
        free_hot(&r->base);
        return rc;
    }
    *out = &r->base;
    return OK;
}
