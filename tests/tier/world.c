#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog_store.h"
#include "cold/cold_files.h"
#include "cold/warm_tiered.h"
#include "hot/hot_mem.h"
#include "stream/stream_log.h"
#include "stream/stream_mem.h"
#include "warm/warm_fault.h"
#include "warm/warm_mem.h"
#include "warm/warm_rocksdb.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/world.h"

#define STREAM_BYTES (1u << 20)
#define WAIT_MS      60000

static void path_of(const struct world *w, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", w->dir, name);
}

/* Of the directory: names without anything a shell would mind. */
static void shell(const struct world *w, const char *format)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd, format, w->dir, w->dir, w->dir);
    assert_int_equal(system(cmd), 0);
}

/* --- opening --- */

static struct clock *clock_of(struct world *w)
{
    return w->o.threads ? clock_system() : &w->clock.base;
}

static int open_stream(struct world *w, struct err *err)
{
    if (!w->o.log) {
        w->lanes = w->o.lanes;
        return OK;
    }
    struct stream_log_options o = {
        .dir = SIM_ROOT "/stream",
        .partitions = w->o.lanes,
        .segment_bytes = w->o.stream_segment_bytes,
        .keep_ms = w->o.stream_keep_ms,
        .tail_bytes = 1 << 20,
        .fs = sim_fs_base(w->disk),
        .clock = clock_of(w),
    };
    int rc = stream_log_open(&o, &w->stream, err);
    if (rc == OK)
        w->lanes = stream_log_lanes(w->stream);
    return rc;
}

static int open_rocksdb(struct world *w, struct err *err)
{
    char path[128];
    path_of(w, "warm", path);
    struct warm_rocksdb_options o = {.dir = path, .create = true, .cache_bytes = 16 << 20};
    return warm_rocksdb_open(&o, &w->store, err);
}

static int open_tiers(struct world *w, struct err *err)
{
    int rc = w->o.rocksdb ? open_rocksdb(w, err) : OK;
    if (rc != OK)
        return rc;
    w->warm = w->faults = warm_fault_new(w->store);
    if (!w->o.cold)
        return OK;
    struct cold_files_options o = {.cold = {.metrics = w->metrics, .pack_bytes = w->o.pack_bytes},
                                   .dir = SIM_ROOT "/cold",
                                   .fs = sim_fs_base(w->disk),
                                   .create = true};
    rc = cold_files_open(&o, &w->cold, err);
    if (rc != OK)
        return rc;
    w->warm = warm_tiered_cached_new(w->faults, w->cold, 1 << 20, NULL);
    struct mover_options m = w->o.mover;
    m.warm = w->faults;
    m.cold = w->cold;
    m.clock = &w->clock.base;
    m.metrics = w->metrics;
    w->mover = mover_new(&m);
    return OK;
}

static int open_catalog(struct world *w, struct err *err)
{
    char path[128];
    struct catalog_store *store;
    path_of(w, "catalog.db", path);
    int rc = catalog_store_sqlite_open(path, &store, err);
    if (rc != OK)
        return rc;
    struct catalog_options o = {.store = store, .step = w->o.step, .step_ctx = w->o.rules_ctx};
    return catalog_open(&o, &w->catalog, err);
}

static int start_writer(struct world *w, struct err *err)
{
    char path[128];
    path_of(w, "positions", path);
    struct writer_options o = w->o.writer;
    o.catalog = w->catalog;
    o.stream = w->stream;
    o.lanes = w->lanes;
    o.hot = w->hot;
    o.warm = w->warm;
    o.clock = clock_of(w);
    o.metrics = w->metrics;
    o.fs = fs_posix();
    o.state_path = path;
    o.hot_max_bytes = o.hot_max_bytes ? o.hot_max_bytes : 1u << 30;
    o.archives = w->o.archives;
    o.archives_ctx = w->o.rules_ctx;
    return w->o.threads ? writer_start(&o, &w->writer, err) : writer_open(&o, &w->writer, err);
}

static int64_t no_limit(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    (void)ctx, (void)name, (void)len, (void)now_ms;
    return 0;
}

static void open_ends(struct world *w)
{
    struct reader_options ro = {
        .catalog = w->catalog,
        .hot = w->hot,
        .warm = w->warm,
        .metrics = w->metrics,
        .archives = w->o.archives,
        .aggregation = w->o.aggregation,
        .rules_ctx = w->o.rules_ctx,
    };
    struct sink_options so = {
        .catalog = w->catalog,
        .stream = w->stream,
        .clock = &w->clock.base,
        .metrics = w->metrics,
        .max_future_ms = 86400000,
        .oldest_ms = w->o.oldest_ms ? w->o.oldest_ms : no_limit,
        .oldest_ctx = w->o.rules_ctx,
    };
    w->reader = reader_new(&ro);
    w->sink = sink_new(&so);
    w->session = sink_session_new(w->sink, "test");
}

int world_try_start(struct world *w, struct err *err)
{
    int rc = open_catalog(w, err);
    if (rc == OK)
        rc = open_stream(w, err);
    if (rc == OK)
        rc = open_tiers(w, err);
    if (rc != OK)
        return rc;
    w->hot = hot_mem_new(w->lanes);
    rc = start_writer(w, err);
    if (rc == OK)
        open_ends(w);
    return rc;
}

void world_start(struct world *w)
{
    struct err err = ERR_INIT;
    if (world_try_start(w, &err) != OK)
        fail_msg("start: %s", err.text);
}

struct world *world_new(const struct world_options *o)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->o = *o;
    w->o.lanes = o->lanes ? o->lanes : 1;
    snprintf(w->dir, sizeof w->dir, "/tmp/carat-world-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    clock_fake_init(&w->clock, o->now_ms);
    w->metrics = metrics_new();
    w->disk = sim_fs_new(o->seed);
    w->batch = (struct sample_batch)SAMPLE_BATCH_INIT;
    if (!o->log)
        w->stream = stream_mem_new(w->o.lanes, STREAM_BYTES, clock_of(w));
    if (!o->rocksdb)
        w->store = warm_mem_new(NULL);
    world_start(w);
    return w;
}

/* --- the end of a process --- */

/* In the order in which they use each other; any of them may be missing after a failed start. */
static void end_process(struct world *w)
{
    if (w->mover)
        mover_stop(w->mover);
    reader_free(w->reader);
    writer_free(w->writer);
    if (w->o.log && w->stream)
        stream_free(w->stream);
    sink_session_free(w->session);
    sink_free(w->sink);
    mover_free(w->mover);
    if (w->hot)
        hot_free(w->hot);
    if (w->cold) {
        warm_free(w->warm);
        cold_free(w->cold);
    }
    if (w->faults)
        warm_fault_unwrap(w->faults);
    if (w->o.rocksdb && w->store)
        warm_free(w->store);
    if (w->catalog)
        catalog_free(w->catalog);
    w->mover = NULL;
    w->reader = NULL;
    w->writer = NULL;
    w->session = NULL;
    w->sink = NULL;
    w->hot = NULL;
    w->warm = w->faults = NULL;
    w->cold = NULL;
    w->catalog = NULL;
    w->stream = w->o.log ? NULL : w->stream;
    w->store = w->o.rocksdb ? NULL : w->store;
}

static void unmark_warm(struct world *w)
{
    if (w->marked)
        shell(w, "rm -rf %s/marked");
    w->marked = false;
}

void world_mark_warm(struct world *w)
{
    struct err err = ERR_INIT;
    char path[128];
    if (!w->o.rocksdb)
        return;
    unmark_warm(w);
    path_of(w, "marked", path);
    if (warm_snapshot(w->store, path, &err) != OK)
        fail_msg("mark: %s", err.text);
    w->marked = true;
    w->marked_syncs = warm_fault_calls(w->faults, WARM_FAULT_SYNC);
}

void world_crash(struct world *w, enum world_crash how)
{
    if (how == WORLD_CUT)
        sim_fs_cut(w->disk); /* first: closing must not sync any more */
    if (w->marked && w->marked_syncs != warm_fault_calls(w->faults, WARM_FAULT_SYNC))
        unmark_warm(w);
    end_process(w);
    sim_fs_power_on(w->disk);
    if (w->marked)
        shell(w, "rm -rf %s/warm && mv %s/marked %s/warm");
    w->marked = false;
    if (!w->o.rocksdb)
        warm_mem_cut(w->store);
}

void world_stop(struct world *w)
{
    assert_true(w->o.log);
    unmark_warm(w);
    stream_close(w->stream);
    writer_stop(w->writer, clock_wall_ms(clock_of(w)) + 10000);
    end_process(w);
}

void world_free(struct world *w)
{
    end_process(w);
    if (w->stream)
        stream_free(w->stream);
    if (w->store)
        warm_free(w->store);
    sample_batch_release(&w->batch);
    sim_fs_free(w->disk);
    metrics_free(w->metrics);
    shell(w, "rm -rf %s");
    free(w);
}

/* --- points --- */

struct sample *world_add(struct world *w, const char *name, int64_t ts_ms, double value)
{
    size_t len = strlen(name);
    struct sample *s = sample_batch_add(&w->batch);
    *s = (struct sample){arena_strndup(&w->batch.names, name, len), (uint32_t)len, hash_bytes(name, len),
                         ts_ms, value};
    return s;
}

struct answer {
    sem_t come;
    int status;
    uint64_t accepted;
};

static void on_answer(void *ctx, const struct sink_result *r)
{
    struct answer *a = ctx;
    a->status = r->status;
    a->accepted = r->accepted;
    sem_post(&a->come);
}

int world_try_submit(struct world *w)
{
    struct answer a;
    sem_init(&a.come, 0, 0);
    sink_submit(w->session, &w->batch, SINK_WAIT, false, on_answer, &a);
    while (sem_wait(&a.come) != 0)
        ;
    sem_destroy(&a.come);
    if (a.status == OK)
        assert_int_equal(a.accepted, w->batch.n);
    sample_batch_clear(&w->batch);
    return a.status;
}

void world_submit(struct world *w)
{
    assert_int_equal(world_try_submit(w), OK);
}

uint32_t world_id(struct world *w, const char *name)
{
    return catalog_lookup(w->catalog, name, strlen(name)).id;
}

uint64_t world_hot_windows(struct world *w)
{
    struct hot_stats stats;
    hot_get_stats(w->hot, &stats);
    return stats.windows;
}

/* --- waiting --- */

void world_wait_caught_up(struct world *w)
{
    struct err why = ERR_INIT;
    for (int i = 0; i < WAIT_MS; i++) {
        if (writer_caught_up(w->writer, &why))
            return;
        usleep(1000);
    }
    fail_msg("%s", why.text);
}

static bool all_applied(struct world *w)
{
    for (unsigned l = 0; l < w->lanes; l++)
        if (writer_applied(w->writer, l) < stream_synced_pos(w->stream, l))
            return false;
    return true;
}

void world_wait_flushed(struct world *w)
{
    for (int i = 0; i < WAIT_MS; i++) {
        if (all_applied(w) && !world_hot_windows(w))
            return;
        usleep(1000);
    }
    fail_msg("%llu windows stay in hot", (unsigned long long)world_hot_windows(w));
}
