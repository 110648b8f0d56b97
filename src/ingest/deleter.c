#include "ingest/deleter.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define SPACE_WAIT_MS 3000

struct deleter {
    struct deleter_options o;
    unsigned partitions;
    size_t max_entries;
    struct counter *series, *ranges;
};

struct deleter *deleter_new(const struct deleter_options *o)
{
    struct deleter *d = xcalloc(1, sizeof *d);
    d->o = *o;
    d->partitions = stream_partitions(o->stream);
    d->max_entries = (stream_max_payload(o->stream) - 16) / 24;
    if (d->max_entries > DELETION_MAX_ENTRIES)
        d->max_entries = DELETION_MAX_ENTRIES;
    d->series = metrics_counter(o->metrics, "carat_deleted_series_total", NULL, "Series deleted.");
    d->ranges = metrics_counter(o->metrics, "carat_deleted_ranges_total", NULL,
                                "Ranges of time deleted from a series.");
    return d;
}

void deleter_free(struct deleter *d)
{
    free(d);
}

/* --- one record --- */

/* Where a thread waits for the stream's word. */
struct waiting {
    pthread_mutex_t mtx;
    pthread_cond_t told;
    bool done; /* under mtx, as all below */
    int status;
    uint64_t pos;
};

static void on_durable(void *ctx, int status, uint64_t pos)
{
    struct waiting *w = ctx;
    pthread_mutex_lock(&w->mtx);
    w->done = true;
    w->status = status;
    w->pos = pos;
    pthread_cond_signal(&w->told);
    pthread_mutex_unlock(&w->mtx);
}

static int append(struct deleter *d, unsigned partition, const struct buf *payload, struct waiting *w,
                  struct err *err)
{
    int rc = stream_append(d->o.stream, partition, payload->data, payload->len, 0, on_durable, w, err);
    if (rc == ERR_BUSY && stream_wait_space(d->o.stream, partition, payload->len, SPACE_WAIT_MS) == OK)
        rc = stream_append(d->o.stream, partition, payload->data, payload->len, 0, on_durable, w, err);
    return rc;
}

static int append_and_wait(struct deleter *d, unsigned partition, const struct buf *payload, uint64_t *pos,
                           struct err *err)
{
    struct waiting w = {.done = false};
    pthread_mutex_init(&w.mtx, NULL);
    pthread_cond_init(&w.told, NULL);
    int rc = append(d, partition, payload, &w, err);
    if (rc == OK) {
        pthread_mutex_lock(&w.mtx);
        while (!w.done)
            pthread_cond_wait(&w.told, &w.mtx);
        pthread_mutex_unlock(&w.mtx);
        *pos = w.pos;
        if (w.status != OK)
            rc = err_set(err, w.status,
                         "the deletion was not made durable (%s) and may or may not happen; ask again later",
                         status_name(w.status));
    }
    pthread_cond_destroy(&w.told);
    pthread_mutex_destroy(&w.mtx);
    return rc;
}

/* Whole series end when that is durable and not before: a later series of the name gets another id, and of
 * the two only one may ever be found alive. */
static void count_done(struct deleter *d, const struct deletion *v, size_t n, uint64_t pos,
                       struct deleter_result *out)
{
    uint32_t *ids = xmalloc(n * sizeof *ids);
    size_t nids = 0;
    for (size_t i = 0; i < n; i++)
        if (deletion_is_whole(&v[i]))
            ids[nids++] = v[i].series;
    if (nids)
        catalog_end(d->o.catalog, ids, nids, pos);
    out->series += nids;
    out->ranges += n - nids;
    counter_add(d->series, nids);
    counter_add(d->ranges, n - nids);
    free(ids);
}

static int delete_some(struct deleter *d, unsigned partition, const struct deletion *v, size_t n,
                       struct deleter_result *out, struct err *err)
{
    struct buf payload = BUF_INIT;
    deletion_encode(v, n, clock_wall_ms(d->o.clock), &payload);
    int rc = append_and_wait(d, partition, &payload, &out->pos[partition], err);
    if (rc == OK)
        count_done(d, v, n, out->pos[partition], out);
    buf_release(&payload);
    return rc;
}

/* --- all of them --- */

static int check_room(struct deleter *d, size_t n, struct err *err)
{
    size_t kept = tombstones_count(catalog_tombstones(d->o.catalog)) + catalog_count_ended(d->o.catalog);
    if (n <= DELETIONS_MAX && kept <= DELETIONS_MAX - n)
        return OK;
    return err_set(
        err, ERR_BUSY,
        "%zu series and ranges are deleted and still in files or in the stream, with %zu more there "
        "would be over %d; delete less at a time, or later",
        kept, n, DELETIONS_MAX);
}

/* Those of one partition, to the front of `to`. The partition is that to which the points go. */
static size_t pick(struct deleter *d, const struct deletion *v, size_t n, unsigned partition,
                   struct deletion *to)
{
    size_t picked = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *name = catalog_name(d->o.catalog, v[i].series, &len);
        if (name && !catalog_has_ended(d->o.catalog, v[i].series) &&
            hash_bytes(name, len) % d->partitions == partition)
            to[picked++] = v[i];
    }
    return picked;
}

int deleter_run(struct deleter *d, const struct deletion *v, size_t n, bool (*cancelled)(void *ctx),
                void *ctx, struct deleter_result *out, struct err *err)
{
    *out = (struct deleter_result){0};
    if (d->o.impossible)
        return err_set(err, ERR_UNSUPPORTED, "nothing can be deleted: %s", d->o.impossible);
    int rc = check_room(d, n, err);
    struct deletion *some = xmalloc((n + 1) * sizeof *some);
    for (unsigned p = 0; p < d->partitions && rc == OK; p++) {
        size_t m = pick(d, v, n, p, some);
        for (size_t i = 0; i < m && rc == OK; i += d->max_entries) {
            rc = delete_some(d, p, some + i, m - i < d->max_entries ? m - i : d->max_entries, out, err);
            if (rc == OK && cancelled && cancelled(ctx))
                rc = err_set(err, ERR_CLOSED, "cancelled");
        }
    }
    free(some);
    if (out->series + out->ranges)
        log_info("delete", "deleted", "series=%llu ranges=%llu", (unsigned long long)out->series,
                 (unsigned long long)out->ranges);
    return rc;
}
