/* Deletions through the whole pipeline: stream, hot, warm, cold, roll-ups and replay, with late points,
 * moves, sweeps and crashes at any moment, against a plain model. */
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"
#include "codec/codec.h"
#include "cold/cold_files.h"
#include "cold/warm_tiered.h"
#include "erase/eraser.h"
#include "hot/hot_mem.h"
#include "ingest/deleter.h"
#include "ingest/sink.h"
#include "mover/mover.h"
#include "reader/reader.h"
#include "stream/stream_mem.h"
#include "warm/warm_masked.h"
#include "warm/warm_mem.h"
#include "writer/replay.h"
#include "writer/verify.h"
#include "writer/writer.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERIES 5
#define SLOTS  1200 /* five windows of a minute's step */
#define STEP   60000
#define T0     (14400000ll * 124000)

struct world {
    char dir[64];
    unsigned lanes;
    struct stream *stream; /* what survives a crash: this, */
    struct warm *store;    /* warm as of its last sync, */
    struct clock_fake clock;
    struct metrics *metrics;
    /* and files in dir: the catalog and cold. Of a process: */
    struct catalog *catalog;
    struct cold *cold;
    struct warm *tiered, *warm;
    struct hot *hot;
    struct writer *writer;
    struct reader *reader;
    struct mover *mover;
    struct eraser *eraser;
    struct sink *sink;
    struct sink_session *session;
    struct deleter *deleter;
    struct sample_batch batch;
    /* the model */
    bool present[SERIES][SLOTS];
    double value[SERIES][SLOTS];
    unsigned random;
    int stop_after; /* bytes of packs until the eraser is stopped; 0: never */
};

static int pick(struct world *w, int n)
{
    return (int)((unsigned)rand_r(&w->random) % (unsigned)n);
}

static const struct retention kept = {
    "test",
    4,
    {{60000, 2000ll * 86400000},
     {300000, 3000ll * 86400000},
     {3600000, 4000ll * 86400000},
     {86400000, 5000ll * 86400000}},
};

static const struct retention *archives(void *ctx, uint32_t series)
{
    return &kept;
}

static size_t steps(void *ctx, uint32_t *out, size_t cap)
{
    for (size_t i = 0; i < kept.narchives; i++)
        out[i] = kept.archives[i].step_ms;
    return kept.narchives;
}

static int64_t no_limit(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return 0;
}

static uint32_t step_60s(void *ctx, const char *name, size_t len)
{
    return STEP;
}

static int64_t base_since(void *ctx, uint32_t series)
{
    struct world *w = ctx;
    return writer_base_whole_from(w->writer, series);
}

/* --- a process --- */

static void open_stores(struct world *w)
{
    struct err err = ERR_INIT;
    char path[128];
    struct catalog_store *store;
    snprintf(path, sizeof path, "%s/catalog.db", w->dir);
    assert_int_equal(catalog_store_sqlite_open(path, &store, &err), OK);
    struct catalog_options co = {.store = store, .step = step_60s};
    assert_int_equal(catalog_open(&co, &w->catalog, &err), OK);
    snprintf(path, sizeof path, "%s/cold", w->dir);
    struct cold_files_options fo = {
        .cold = {.pack_bytes = 8 << 10, .tombstones = catalog_tombstones(w->catalog)},
        .dir = path,
        .fs = fs_posix(),
        .create = true};
    assert_int_equal(cold_files_open(&fo, &w->cold, &err), OK);
    w->tiered = warm_tiered_cached_new(w->store, w->cold, 1 << 20, NULL);
    w->warm = warm_masked_new(w->tiered, catalog_tombstones(w->catalog));
}

static void open_ends(struct world *w)
{
    struct reader_options ro = {.catalog = w->catalog,
                                .hot = w->hot,
                                .warm = w->warm,
                                .archives = archives,
                                .base_since_ms = base_since,
                                .base_since_ctx = w};
    w->reader = reader_new(&ro);
    struct mover_options mo = {.warm = w->store,
                               .cold = w->cold,
                               .clock = clock_system(),
                               .steps = steps,
                               .after_ms = 1000,
                               .interval_ms = 1,
                               .slice_bytes = 2000,
                               .compact_least = 3};
    w->mover = mover_new(&mo);
    struct eraser_options eo = {.catalog = w->catalog,
                                .stream = w->stream,
                                .lanes = w->lanes,
                                .writer = w->writer,
                                .store = w->store,
                                .cold = w->cold,
                                .clock = clock_system(),
                                .steps = steps,
                                .retry_ms = 1};
    w->eraser = eraser_new(&eo);
    struct sink_options so = {.catalog = w->catalog,
                              .stream = w->stream,
                              .clock = &w->clock.base,
                              .metrics = w->metrics,
                              .max_future_ms = 86400000,
                              .oldest_ms = no_limit};
    w->sink = sink_new(&so);
    w->session = sink_session_new(w->sink, "test");
    struct deleter_options d = {
        .catalog = w->catalog, .stream = w->stream, .clock = &w->clock.base, .metrics = w->metrics};
    w->deleter = deleter_new(&d);
}

static void process_start(struct world *w)
{
    struct err err = ERR_INIT;
    char path[128];
    open_stores(w);
    w->hot = hot_mem_new(w->lanes);
    snprintf(path, sizeof path, "%s/positions", w->dir);
    struct writer_options wo = {.catalog = w->catalog,
                                .stream = w->stream,
                                .lanes = w->lanes,
                                .hot = w->hot,
                                .warm = w->warm,
                                .clock = clock_system(),
                                .metrics = w->metrics,
                                .fs = fs_posix(),
                                .state_path = path,
                                .round_ms = 1,
                                .max_unflushed_ms = 3600000,
                                .checkpoint_ms = 1,
                                .hot_max_bytes = 1u << 30,
                                .archives = archives};
    if (writer_start(&wo, &w->writer, &err) != OK)
        fail_msg("%s", err.text);
    open_ends(w);
}

static void process_kill(struct world *w)
{
    sink_session_free(w->session);
    sink_free(w->sink);
    deleter_free(w->deleter);
    reader_free(w->reader);
    mover_free(w->mover);
    writer_free(w->writer);
    eraser_free(w->eraser);
    hot_free(w->hot);
    warm_free(w->warm);
    warm_free(w->tiered);
    cold_free(w->cold);
    catalog_free(w->catalog);
    warm_mem_cut(w->store);
}

static struct world *world_new(unsigned lanes)
{
    struct world *w = xcalloc(1, sizeof *w);
    const char *given = getenv("CARAT_TEST_SEED");
    w->random = given ? (unsigned)strtoul(given, NULL, 10)
                      : (unsigned)getpid() * 2654435761u ^ (unsigned)clock_wall_ms(clock_system());
    print_message("# seed %u\n", w->random);
    snprintf(w->dir, sizeof w->dir, "/tmp/carat-deletion-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    clock_fake_init(&w->clock, T0 + SLOTS * (int64_t)STEP);
    w->lanes = lanes;
    w->metrics = metrics_new();
    w->stream = stream_mem_new(lanes, 1u << 20, clock_system());
    w->store = warm_mem_new(NULL);
    w->batch = (struct sample_batch)SAMPLE_BATCH_INIT;
    process_start(w);
    return w;
}

static void world_free(struct world *w)
{
    process_kill(w);
    sample_batch_release(&w->batch);
    stream_close(w->stream);
    stream_free(w->stream);
    warm_free(w->store);
    metrics_free(w->metrics);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", w->dir);
    assert_int_equal(system(cmd), 0);
    free(w);
}

/* --- what a client does --- */

static int series_name(int series, char name[64])
{
    return snprintf(name, 64, "deletion.series%d.value", series);
}

static uint32_t series_id(struct world *w, int series)
{
    char name[64];
    int len = series_name(series, name);
    return catalog_lookup(w->catalog, name, (size_t)len).id;
}

static void add(struct world *w, int series, int slot, double v)
{
    char name[64];
    int len = series_name(series, name);
    struct sample *s = sample_batch_add(&w->batch);
    *s = (struct sample){arena_strndup(&w->batch.names, name, (size_t)len), (uint32_t)len,
                         hash_bytes(name, (size_t)len), T0 + slot * (int64_t)STEP + pick(w, STEP), v};
    w->present[series][slot] = true;
    w->value[series][slot] = v;
}

static void on_done(void *ctx, const struct sink_result *r)
{
    assert_int_equal(r->status, OK);
    atomic_store((_Atomic int *)ctx, 1);
}

static void submit(struct world *w)
{
    _Atomic int done = 0;
    sink_submit(w->session, &w->batch, SINK_WAIT, false, on_done, &done);
    while (!atomic_load(&done))
        usleep(50);
    sample_batch_clear(&w->batch);
}

/* Mostly new points, some of them late, and slots written again with another value. */
static void post(struct world *w, int now_slot)
{
    for (int i = pick(w, 60); i >= 0; i--) {
        int slot = pick(w, 3) ? now_slot - pick(w, 4) : pick(w, SLOTS);
        slot = slot < 0 ? 0 : slot >= SLOTS ? SLOTS - 1 : slot;
        add(w, pick(w, SERIES), slot, pick(w, 1000) / 8.0);
    }
    submit(w);
}

static void delete (struct world *w, const struct deletion *v, size_t n)
{
    struct deleter_result r;
    struct err err = ERR_INIT;
    if (deleter_run(w->deleter, v, n, NULL, NULL, &r, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(r.series + r.ranges, n);
}

static void delete_range(struct world *w, int series, int from, int until)
{
    uint32_t id = series_id(w, series);
    if (!id)
        return;
    delete (w, &(struct deletion){id, T0 + from * (int64_t)STEP, T0 + until * (int64_t)STEP}, 1);
    for (int i = from; i < until && i < SLOTS; i++)
        w->present[series][i] = false;
}

static void delete_series(struct world *w, int series)
{
    uint32_t id = series_id(w, series);
    if (!id)
        return;
    delete (w, &(struct deletion){id, DELETION_FROM_ALL, DELETION_UNTIL_ALL}, 1);
    assert_int_equal(series_id(w, series), 0);
    memset(w->present[series], 0, sizeof w->present[series]);
}

/* Ranges of some slots, of hours, of all there is; several series at once; whole series. */
static void delete_some(struct world *w)
{
    int from = pick(w, SLOTS), lengths[] = {1 + pick(w, 10), 60 + pick(w, 300), SLOTS};
    int kind = pick(w, 8), until = from + lengths[pick(w, 3)];
    if (kind == 0) {
        delete_series(w, pick(w, SERIES));
    } else if (kind == 1) {
        struct deletion v[SERIES];
        size_t n = 0;
        for (int s = 0; s < SERIES; s++) {
            uint32_t id = series_id(w, s);
            if (id)
                v[n++] = (struct deletion){id, T0 + from * (int64_t)STEP, T0 + until * (int64_t)STEP};
            for (int i = from; i < until && i < SLOTS; i++)
                w->present[s][i] = false;
        }
        if (n)
            delete (w, v, n);
    } else {
        delete_range(w, pick(w, SERIES), from, until);
    }
}

/* --- checking --- */

static int count_wrong(struct world *w)
{
    int wrong = 0;
    for (int s = 0; s < SERIES; s++) {
        uint32_t id = series_id(w, s);
        struct column c = {0};
        struct read_report report = {0};
        struct err err = ERR_INIT;
        if (id)
            assert_int_equal(
                reader_fetch(w->reader, id, T0, T0 + SLOTS * (int64_t)STEP, SLOTS, &c, &report, &err), OK);
        if (report.incomplete)
            fail_msg("incomplete: %s", report.why.text);
        for (int i = 0; i < SLOTS; i++) {
            double v = id ? c.values[i] : column_missing();
            wrong += w->present[s][i] ? f64_bits(v) != f64_bits(w->value[s][i]) : !column_is_missing(v);
        }
        free(c.values);
    }
    return wrong;
}

/* What a coarse slot must say, from the model. */
static double expected(const struct world *w, int series, int64_t ts, int64_t step, enum aggregation a)
{
    double count = 0, sum = 0, min = INFINITY, max = -INFINITY, last = 0;
    for (int64_t slot = (ts - T0) / STEP, end = slot + step / STEP; slot < end; slot++) {
        if (slot < 0 || slot >= SLOTS || !w->present[series][slot])
            continue;
        double v = w->value[series][slot];
        count++;
        sum += v;
        min = v < min ? v : min;
        max = v > max ? v : max;
        last = v;
    }
    double by[] = {[AGGREGATION_SUM] = sum,
                   [AGGREGATION_MIN] = min,
                   [AGGREGATION_MAX] = max,
                   [AGGREGATION_LAST] = last,
                   [AGGREGATION_COUNT] = count};
    return count > 0 ? by[a] : column_missing();
}

static int count_wrong_rollups(struct world *w)
{
    static const enum aggregation all[] = {AGGREGATION_SUM, AGGREGATION_MIN, AGGREGATION_MAX,
                                           AGGREGATION_LAST, AGGREGATION_COUNT};
    int wrong = 0;
    for (int s = 0; s < SERIES; s++)
        for (size_t k = 1; series_id(w, s) && k < kept.narchives; k++)
            for (size_t a = 0; a < ARRAY_LEN(all); a++) {
                struct column c;
                struct read_report report = {0};
                struct err err = ERR_INIT;
                int64_t end = T0 + SLOTS * (int64_t)STEP, day = floor_to(T0, 86400000);
                assert_int_equal(reader_fetch_archive(w->reader, series_id(w, s), kept.archives[k].step_ms,
                                                      all[a], day, end, 1u << 20, &c, &report, &err),
                                 OK);
                assert_false(report.incomplete);
                for (size_t i = 0; i < c.n; i++) {
                    double want = expected(w, s, c.start_ms + (int64_t)i * c.step_ms, c.step_ms, all[a]);
                    wrong += column_is_missing(want) ? !column_is_missing(c.values[i])
                                                     : !(fabs(c.values[i] - want) <= 1e-12 * fabs(want));
                }
                free(c.values);
            }
    return wrong;
}

static void wait_applied(struct world *w)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t behind = 0;
        for (unsigned l = 0; l < w->lanes; l++)
            behind += writer_applied(w->writer, l) < stream_synced_pos(w->stream, l);
        if (!behind)
            return;
        usleep(500);
    }
    fail_msg("the stream is not applied");
}

static void check_all(struct world *w)
{
    wait_applied(w);
    assert_int_equal(count_wrong(w), 0);
    assert_int_equal(count_wrong_rollups(w), 0);
}

/* --- what goes on in the background --- */

static int wait_or_stop(void *ctx, uint64_t bytes)
{
    struct world *w = ctx;
    if (!w->stop_after)
        return 0;
    w->stop_after -= (int)bytes < w->stop_after ? (int)bytes : w->stop_after - 1;
    return w->stop_after == 1;
}

static void erase(struct world *w, bool may_stop)
{
    struct err err = ERR_INIT;
    w->stop_after = may_stop && pick(w, 2) ? 1 + pick(w, 20000) : 0;
    int rc = eraser_round(w->eraser, wait_or_stop, w, &err);
    if (rc != OK && rc != ERR_CLOSED)
        fail_msg("%s", err.text);
}

static void move(struct world *w)
{
    struct err err = ERR_INIT;
    if (mover_round(w->mover, &err) != OK)
        fail_msg("%s", err.text);
}

static uint64_t on_applied(void *ctx, unsigned lane)
{
    struct world *w = ctx;
    return writer_applied(w->writer, lane);
}

static int on_read(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct column *out,
                   struct err *err)
{
    struct world *w = ctx;
    struct read_report report = {0};
    int rc = reader_fetch(w->reader, series, from_ms, until_ms, 1000, out, &report, err);
    if (rc == OK && report.incomplete) {
        *err = report.why;
        rc = report.why.code;
    }
    return rc;
}

static int on_rebuild(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct err *err)
{
    struct world *w = ctx;
    return writer_rebuild(w->writer, series, from_ms, until_ms, NULL, NULL, err);
}

static int64_t all_is_kept(void *ctx)
{
    return INT64_MIN;
}

/* In several rounds and passes; or at once, and then without false alarms. */
static struct replay_result replay(struct world *w, size_t max_windows)
{
    struct replay_options o = {.catalog = w->catalog,
                               .stream = w->stream,
                               .lanes = w->lanes,
                               .warm = w->warm,
                               .clock = clock_system(),
                               .store_lock = writer_store_lock(w->writer),
                               .hot_new = hot_mem_new,
                               .applied = on_applied,
                               .read = on_read,
                               .rebuild = on_rebuild,
                               .kept_since_ms = all_is_kept,
                               .ctx = w,
                               .max_windows = max_windows};
    struct replay_result r;
    struct err err = ERR_INIT;
    int rc = replay_run(&o, &r, &err);
    if (rc)
        fail_msg("replay: %s %s", status_name(rc), err.text);
    return r;
}

static void verify(struct world *w)
{
    struct verify_options o = {.catalog = w->catalog,
                               .stream = w->stream,
                               .lanes = w->lanes,
                               .warm = w->warm,
                               .clock = clock_system(),
                               .ctx = w};
    struct verify_result r;
    struct err err = ERR_INIT;
    assert_int_equal(verify_run(&o, &r, &err), OK);
    assert_int_equal(r.damaged, 0);
    verify_result_release(&r);
}

/* Until nothing is in hot. */
static void settle(struct world *w)
{
    struct hot_stats stats;
    wait_applied(w);
    for (int i = 0; i < 20000; i++) {
        hot_get_stats(w->hot, &stats);
        if (!stats.windows)
            return;
        usleep(500);
    }
    fail_msg("hot does not empty");
}

/* --- nothing is left --- */

struct census {
    struct world *w;
    int series;
    uint64_t dead, foreign;
};

/* Every stored part, as it lies there: no slot the model does not have, in no part. */
static int census_part(void *ctx, const struct part *p)
{
    struct census *c = ctx;
    struct slots s;
    c->series = -1;
    for (int i = 0; i < SERIES; i++)
        if (series_id(c->w, i) == p->key.series)
            c->series = i;
    if (c->series < 0)
        c->foreign++;
    if (c->series < 0 || p->key.step_ms != STEP)
        return 0;
    slots_init(&s, 240);
    assert_int_equal(codec_decode(p->data, p->size, 240, s.present, s.value, NULL), OK);
    for (uint32_t i = 0; i < 240; i++) {
        int64_t slot = (p->key.window_ms - T0) / STEP + i;
        c->dead += slot_get(s.present, i) && !c->w->present[c->series][slot];
    }
    return 0;
}

static int census_pack(void *ctx, const struct pack_info *p)
{
    struct census *c = ctx;
    struct err err;
    assert_int_equal(cold_read_pack(c->w->cold, p->id, census_part, c, &err), OK);
    return 0;
}

static struct census take_census(struct world *w)
{
    struct census c = {.w = w};
    struct err err;
    for (size_t k = 0; k < kept.narchives; k++)
        assert_int_equal(warm_scan(w->store, kept.archives[k].step_ms, 0, INT64_MAX, census_part, &c, &err),
                         OK);
    cold_list(w->cold, census_pack, &c);
    return c;
}

static void erase_everything(struct world *w)
{
    settle(w);
    erase(w, false);
    check_all(w);
    struct census c = take_census(w);
    assert_int_equal(c.dead, 0);
    assert_int_equal(c.foreign, 0);
    assert_int_equal(tombstones_count_unswept(catalog_tombstones(w->catalog)), 0);
    assert_int_equal(catalog_count_ended(w->catalog), 0);
}

/* --- tests --- */

static void fill(struct world *w, int posts)
{
    for (int i = 0; i < posts; i++)
        post(w, i * SLOTS / posts);
}

/* One after the other in every place the points can be. */
static void a_range_goes_from_every_tier(void **state)
{
    struct world *w = world_new(1);
    for (int place = 0; place < 3; place++) {
        fill(w, 30);
        if (place > 0)
            settle(w);
        if (place > 1)
            move(w);
        delete_range(w, 0, 100, 700);
        delete_range(w, 1, 3, 4);
        check_all(w);
        settle(w);
        check_all(w);
        add(w, 0, 300, 42); /* late, and after */
        submit(w);
        check_all(w);
        settle(w);
        check_all(w);
        assert_int_equal(take_census(w).dead > 0, place > 0); /* hot drops them at once */
        erase_everything(w);
        process_kill(w);
        process_start(w);
        check_all(w);
        assert_int_equal(take_census(w).dead, 0);
    }
    struct warm_stats before, after;
    settle(w);
    warm_get_stats(w->store, &before);
    assert_int_equal(replay(w, 0).wanting, 0);
    warm_get_stats(w->store, &after);
    assert_int_equal(after.puts, before.puts);
    verify(w);
    world_free(w);
}

static void a_deleted_series_is_gone_and_its_name_free(void **state)
{
    struct world *w = world_new(2);
    fill(w, 30);
    settle(w);
    move(w);
    fill(w, 10);
    uint32_t was = series_id(w, 2);
    delete_series(w, 2);
    check_all(w);
    add(w, 2, 5, 7); /* the name again: none of the old points */
    submit(w);
    assert_true(series_id(w, 2) > was);
    check_all(w);
    delete_series(w, 3);
    process_kill(w); /* before the catalog's store may know */
    process_start(w);
    add(w, 3, 9, 8); /* before the stream is applied again: not to the id that has ended */
    submit(w);
    check_all(w);
    assert_true(series_id(w, 2) > was);
    settle(w);
    assert_true(take_census(w).foreign > 0);
    erase_everything(w);
    process_kill(w);
    process_start(w);
    check_all(w);
    assert_int_equal(replay(w, 0).wanting, 0);
    check_all(w);
    verify(w);
    world_free(w);
}

/* The record of a deletion may be where the lane does not come by: another lane had the series then. */
static void what_is_known_to_be_deleted_does_not_come_in(void **state)
{
    struct world *w = world_new(1);
    add(w, 0, 10, 1);
    add(w, 0, 20, 1);
    submit(w);
    struct tombstone t = {series_id(w, 0), false, T0 + 10 * STEP, T0 + 11 * STEP, 1000000};
    tombstones_add(catalog_tombstones(w->catalog), &t, 1);
    w->present[0][10] = false;
    check_all(w); /* what hot has already is masked */
    for (int i = 0; i < 50; i++) {
        add(w, 0, 10, i);
        add(w, 0, 30 + i, i);
        submit(w);
    }
    w->present[0][10] = false;
    check_all(w);
    settle(w);
    check_all(w);
    /* The first point of that slot too, if it was applied only after the deletion was known. */
    uint64_t deleted = counter_get(metrics_counter(w->metrics, "carat_points_deleted_total", NULL, ""));
    assert_in_range(deleted, 50, 51);
    world_free(w);
}

/* Reads one slot again and again: what was overwritten or deleted does not come back. */
struct watcher {
    struct world *w;
    pthread_t thread;
    uint32_t id;
    _Atomic bool stop;
    _Atomic int acked; /* the newest value that is surely gone or surely there */
    uint64_t reads;
};

static void *watch(void *arg)
{
    struct watcher *v = arg;
    int seen = 0;
    for (; !atomic_load(&v->stop); v->reads++) {
        struct column c;
        struct read_report report = {0};
        struct err err = ERR_INIT;
        int least = atomic_load(&v->acked);
        assert_int_equal(reader_fetch(v->w->reader, v->id, T0, T0 + STEP, 2, &c, &report, &err), OK);
        if (!report.incomplete && !column_is_missing(c.values[0])) {
            int value = (int)c.values[0];
            if (value < seen || value < least)
                fail_msg("read %d after %d, %d was deleted", value, seen, least - 1);
            seen = value;
        }
        free(c.values);
    }
    return NULL;
}

static void nothing_old_shows_up_meanwhile(void **state)
{
    struct world *w = world_new(1);
    add(w, 0, 0, 1);
    submit(w);
    struct watcher v = {.w = w, .id = series_id(w, 0)};
    assert_int_equal(pthread_create(&v.thread, NULL, watch, &v), 0);
    for (int i = 2; i < 400; i++) {
        add(w, 0, 0, i);
        submit(w);
        if (pick(w, 3) == 0)
            settle(w);
        if (pick(w, 6) == 0)
            move(w);
        if (pick(w, 2))
            continue;
        delete_range(w, 0, 0, 1 + pick(w, 3));
        wait_applied(w);
        atomic_store(&v.acked, i + 1);
        if (pick(w, 4) == 0)
            erase(w, false);
    }
    atomic_store(&v.stop, true);
    pthread_join(v.thread, NULL);
    assert_true(v.reads > 100);
    world_free(w);
}

static void anything_at_any_moment(void **state)
{
    struct world *w = world_new(*(unsigned *)*state);
    int rounds = getenv("CARAT_LONG") ? 200 : 12;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 25; i++) {
            post(w, (round % 12 * 25 + i) * SLOTS / 300);
            if (pick(w, 4) == 0)
                delete_some(w);
            if (pick(w, 8) == 0)
                usleep((unsigned)pick(w, 15000)); /* windows are flushed meanwhile */
            if (pick(w, 10) == 0)
                erase(w, true);
            if (pick(w, 15) == 0)
                move(w);
            if (pick(w, 30) == 0)
                check_all(w);
        }
        if (pick(w, 3) == 0)
            replay(w, 5);
        if (pick(w, 4) == 0)
            erase_everything(w);
        if (pick(w, 2))
            check_all(w);
        process_kill(w);
        process_start(w);
        if (pick(w, 2))
            check_all(w);
    }
    settle(w);
    check_all(w);
    replay(w, 5);
    check_all(w);
    erase_everything(w);
    assert_int_equal(replay(w, 0).wanting, 0);
    check_all(w);
    verify(w);
    world_free(w);
}

int main(void)
{
    static unsigned one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_goes_from_every_tier),
        cmocka_unit_test(a_deleted_series_is_gone_and_its_name_free),
        cmocka_unit_test(what_is_known_to_be_deleted_does_not_come_in),
        cmocka_unit_test(nothing_old_shows_up_meanwhile),
        {"anything_at_any_moment_one_partition", anything_at_any_moment, NULL, NULL, &one},
        {"anything_at_any_moment_three_partitions", anything_at_any_moment, NULL, NULL, &three},
    };
    return cmocka_run_group_tests_name("deletion", tests, NULL, NULL);
}
