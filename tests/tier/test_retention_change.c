/* Stored data is brought to changed retention rules, over RocksDB and cold files, beside a running writer and
 * readers: at any moment, stopped anywhere, every slot that is read says what a plain model of the points
 * says. */
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog_store.h"
#include "cold/cold_files.h"
#include "cold/warm_tiered.h"
#include "hot/hot_mem.h"
#include "ingest/sink.h"
#include "model/window.h"
#include "mover/mover.h"
#include "server/retention_apply.h"
#include "server/retention_check.h"
#include "stream/stream_mem.h"
#include "warm/warm_rocksdb.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE 60000ll
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define SERIES 3
#define GRAIN  10000 /* finest step of all rules here */
#define DAYS   40
#define GRAINS (DAYS * DAY / GRAIN)
#define T0     (20000 * DAY)
#define BEGUN  (T0 + 12 * DAY) /* so much is there when a test begins */

struct world {
    char dir[64];
    struct stream *stream;
    struct clock_fake clock;
    struct metrics *metrics;
    /* what a process holds */
    struct rules *rules;
    struct catalog *catalog;
    struct hot *hot;
    struct warm *warm, *tiered;
    struct cold *cold;
    struct mover *mover;
    struct writer *writer;
    struct reader *reader;
    struct sink *sink;
    struct sink_session *session;
    /* the model: a value for each base slot, in the step of its time */
    double *value[SERIES];
    int64_t horizon_ms; /* what is younger must be there */
    int64_t fed_ms;
    /* the run of an apply */
    int calls, stop_at;
};

static char *path_in(const struct world *w, const char *name, char out[160])
{
    snprintf(out, 160, "%s/%s", w->dir, name);
    return out;
}

static uint32_t step_of(void *ctx, const char *name, size_t len)
{
    return rules_step_ms(ctx, name, len);
}

static void write_rules(const struct world *w, const char *retentions)
{
    char path[160];
    FILE *f = fopen(path_in(w, "schemas.conf", path), "w");
    assert_non_null(f);
    fprintf(f, "[all]\npattern = .\nretentions = %s\n", retentions);
    assert_int_equal(fclose(f), 0);
}

static void start_rules(struct world *w)
{
    struct err err = ERR_INIT;
    char schemas[160], aggregation[160], history[160];
    struct rules_options o = {.schemas_path = path_in(w, "schemas.conf", schemas),
                              .aggregation_path = path_in(w, "aggregation.conf", aggregation),
                              .history_path = path_in(w, "history", history),
                              .fs = fs_posix(),
                              .clock = &w->clock.base};
    FILE *f = fopen(aggregation, "w");
    assert_non_null(f);
    fputs("[all]\npattern = .\nxFilesFactor = 0\naggregationMethod = average\n", f);
    assert_int_equal(fclose(f), 0);
    if (rules_new(&o, &w->rules, &err) != OK)
        fail_msg("%s", err.text);
}

static void start_tiers(struct world *w)
{
    struct err err = ERR_INIT;
    char path[160];
    struct catalog_store *store;
    assert_int_equal(catalog_store_sqlite_open(path_in(w, "catalog.db", path), &store, &err), OK);
    struct catalog_options co = {.store = store, .step = step_of, .step_ctx = w->rules};
    assert_int_equal(catalog_open(&co, &w->catalog, &err), OK);
    rules_set_catalog(w->rules, w->catalog);
    struct warm_rocksdb_options wo = {.dir = path_in(w, "warm", path), .create = true};
    assert_int_equal(warm_rocksdb_open(&wo, &w->warm, &err), OK);
    struct cold_files_options fo = {.dir = path_in(w, "cold", path), .fs = fs_posix(), .create = true};
    assert_int_equal(cold_files_open(&fo, &w->cold, &err), OK);
    w->tiered = warm_tiered_new(w->warm, w->cold);
    struct mover_options mo = {.warm = w->warm,
                               .cold = w->cold,
                               .clock = &w->clock.base,
                               .steps = rules_steps,
                               .keep_ms = rules_step_keep_ms,
                               .ctx = w->rules,
                               .after_ms = DAY};
    w->mover = mover_new(&mo);
}

static int64_t no_limit(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return 0;
}

static void world_start(struct world *w)
{
    struct err err = ERR_INIT;
    char path[160];
    start_rules(w);
    start_tiers(w);
    w->hot = hot_mem_new(1);
    struct writer_options o = {.catalog = w->catalog,
                               .stream = w->stream,
                               .lanes = 1,
                               .hot = w->hot,
                               .warm = w->tiered,
                               .clock = &w->clock.base,
                               .metrics = w->metrics,
                               .fs = fs_posix(),
                               .state_path = path_in(w, "positions", path),
                               .max_unflushed_ms = 3600000,
                               .checkpoint_ms = 1,
                               .hot_max_bytes = 1u << 30,
                               .layouts = rules_layouts,
                               .step_at = rules_step_at,
                               .archives_ctx = w->rules};
    assert_int_equal(writer_start(&o, &w->writer, &err), OK);
    assert_int_equal(rules_begin(w->rules, &err), OK);
    struct reader_options ro = {.catalog = w->catalog,
                                .hot = w->hot,
                                .warm = w->tiered,
                                .layouts = rules_read_layouts,
                                .aggregation = rules_aggregation,
                                .rules_ctx = w->rules};
    w->reader = reader_new(&ro);
    struct sink_options so = {.catalog = w->catalog,
                              .stream = w->stream,
                              .clock = &w->clock.base,
                              .metrics = w->metrics,
                              .oldest_ms = no_limit};
    w->sink = sink_new(&so);
    w->session = sink_session_new(w->sink, "test");
}

/* A kill: what is in hot comes from the stream again. */
static void world_end(struct world *w)
{
    sink_session_free(w->session);
    sink_free(w->sink);
    reader_free(w->reader);
    writer_free(w->writer);
    hot_free(w->hot);
    mover_free(w->mover);
    warm_free(w->tiered);
    cold_free(w->cold);
    warm_free(w->warm);
    catalog_free(w->catalog);
    rules_free(w->rules);
}

/* --- points --- */

struct ack {
    _Atomic int done;
    int status;
};

static void on_done(void *ctx, const struct sink_result *r)
{
    struct ack *a = ctx;
    a->status = r->status;
    atomic_store(&a->done, 1);
}

static size_t name_of(int series, char out[32])
{
    return (size_t)snprintf(out, 32, "change.series%d", series);
}

static uint32_t id_of(const struct world *w, int series)
{
    char name[32];
    size_t len = name_of(series, name);
    return catalog_lookup(w->catalog, name, len).id;
}

static void put(struct world *w, struct sample_batch *b, int series, int64_t ts_ms, double v)
{
    char name[32];
    struct sample *s = sample_batch_add(b);
    name_of(series, name);
    s->name = arena_strndup(&b->names, name, strlen(name));
    s->name_len = (uint32_t)strlen(name);
    s->hash = hash_bytes(name, strlen(name));
    s->ts_ms = ts_ms;
    s->value = v;
    uint32_t id = id_of(w, series);
    uint32_t step = id ? rules_step_at(w->rules, id, ts_ms) : rules_step_ms(w->rules, name, strlen(name));
    w->value[series][(floor_to(ts_ms, step) - T0) / GRAIN] = v;
}

static void submit(struct world *w, struct sample_batch *b)
{
    struct ack a = {0};
    if (!b->n)
        return;
    sink_submit(w->session, b, SINK_WAIT, false, on_done, &a);
    while (!atomic_load(&a.done))
        usleep(50);
    assert_int_equal(a.status, OK);
    sample_batch_clear(b);
}

static void wait_applied(struct world *w)
{
    uint64_t synced = stream_synced_pos(w->stream, 0);
    for (int i = 0; i < 20000 && writer_applied(w->writer, 0) < synced; i++)
        usleep(500);
    assert_true(writer_applied(w->writer, 0) >= synced);
}

/* Points of every series until the time, one each `every_ms`, some left out; the clock goes with them. */
static void feed(struct world *w, int64_t until_ms, int64_t every_ms)
{
    struct sample_batch b = SAMPLE_BATCH_INIT;
    for (; w->fed_ms < until_ms; w->fed_ms += every_ms) {
        for (int s = 0; s < SERIES; s++)
            if (rand() % 20)
                put(w, &b, s, w->fed_ms, rand() % 1000 / 4.0);
        atomic_store(&w->clock.now_ms, w->fed_ms);
        if (b.n > 3000)
            submit(w, &b);
    }
    atomic_store(&w->clock.now_ms, until_ms);
    submit(w, &b);
    sample_batch_release(&b);
    wait_applied(w);
}

/* All windows that are over into warm. */
static void wait_flushed(struct world *w)
{
    struct hot_stats hot;
    int waited = 0;
    do {
        usleep(1000);
        hot_get_stats(w->hot, &hot);
    } while (hot.windows > SERIES + 1 && ++waited < 20000);
    assert_true(hot.windows <= SERIES + 1);
}

/* And what is old enough into cold, after a restart: the stream is applied again from its beginning. */
static void settle(struct world *w)
{
    struct err err = ERR_INIT;
    wait_flushed(w);
    world_end(w);
    world_start(w);
    wait_applied(w);
    wait_flushed(w);
    assert_int_equal(mover_round(w->mover, &err), OK);
}

/* --- reading --- */

static int64_t now_of(struct world *w)
{
    return clock_wall_ms(&w->clock.base);
}

/* The average of the slot's points, as the model has them; missing if there are none. */
static double model_slot(const struct world *w, int series, int64_t ts_ms, int64_t step_ms)
{
    double sum = 0, n = 0;
    for (int64_t g = (ts_ms - T0) / GRAIN; g < (ts_ms + step_ms - T0) / GRAIN; g++)
        if (g >= 0 && g < GRAINS && !isnan(w->value[series][g])) {
            sum += w->value[series][g];
            n++;
        }
    return n > 0 ? sum / n : column_missing();
}

static int wrong_in(struct world *w, int series, int64_t from_ms, int64_t until_ms, size_t max_points)
{
    struct column c;
    struct read_report report = {0};
    struct read_spans spans;
    struct read_sums sums;
    struct err err = ERR_INIT;
    struct read_range range = {.from_ms = from_ms,
                               .until_ms = until_ms,
                               .now_ms = now_of(w),
                               .max_slots = 1u << 24,
                               .max_step_ms = max_points ? (until_ms - from_ms) / (int64_t)max_points : 0,
                               .consolidation = AGGREGATION_AVERAGE};
    int wrong = 0;
    uint32_t id = id_of(w, series);
    int rc = reader_fetch_planned(w->reader, id, &range, &c, &spans, &sums, &report, &err);
    if (rc != OK || report.incomplete)
        fail_msg("%s%s", err.text, report.why.text);
    for (size_t i = 0; i < c.n; i++) {
        int64_t ts = c.start_ms + (int64_t)i * c.step_ms;
        double want = model_slot(w, series, ts, c.step_ms), got = c.values[i];
        bool may_be_gone = ts < w->horizon_ms && column_is_missing(got);
        bool right = column_is_missing(want) ? column_is_missing(got) : fabs(want - got) < 1e-9;
        if (!right && !may_be_gone && wrong++ < 3)
            print_error("series %d step %lld, %.3f h before now: %g, expected %g\n", series,
                        (long long)c.step_ms, (double)(now_of(w) - ts) / HOUR, got, want);
    }
    free(c.values);
    free(sums.sum);
    free(sums.count);
    return wrong;
}

#define check(w) check_at(w, __LINE__)
static void check_at(struct world *w, int line)
{
    int64_t now = now_of(w);
    int wrong = 0;
    for (int s = 0; s < SERIES; s++) {
        wrong += wrong_in(w, s, T0, now, 0);
        wrong += wrong_in(w, s, T0, now, 200);
        wrong += wrong_in(w, s, now - 5 * HOUR, now, 0);
        wrong += wrong_in(w, s, now - 3 * DAY, now - DAY, 0);
        int64_t from = T0 + rand() % (now - T0);
        wrong += wrong_in(w, s, from, from + rand() % (now - from), (size_t)rand() % 500);
    }
    if (wrong) {
        const struct layout *l;
        print_error("in the check of line %d, now %lld\n", line, (long long)now);
        assert_true(rules_layouts(w->rules, id_of(w, 0), &l, NULL));
        for (size_t i = 0; i < l->neras; i++)
            print_error("era of %u from %.3f h before now, kept %.1f h\n", l->era[i].step_ms,
                        (double)(now - l->era[i].from_ms) / HOUR, (double)l->era[i].keep_ms / HOUR);
        for (size_t i = 0; i < l->narchives; i++)
            print_error("archive of %u since %.3f h before now, kept %.1f h\n", l->archive[i].step_ms,
                        (double)(now - l->archive[i].since_ms) / HOUR, (double)l->archive[i].keep_ms / HOUR);
    }
    assert_int_equal(wrong, 0);
}

/* Of the step the reader answers on. */
static int64_t step_read(struct world *w, int64_t from_ms, int64_t until_ms)
{
    struct read_range range = {.from_ms = from_ms, .until_ms = until_ms, .now_ms = now_of(w)};
    return reader_planned_step_ms(w->reader, id_of(w, 0), &range);
}

/* --- stored windows --- */

struct oldest {
    int64_t ms;
    uint64_t windows;
};

static int note_window(void *ctx, const struct part *p)
{
    struct oldest *o = ctx;
    o->windows++;
    o->ms = p->key.window_ms < o->ms ? p->key.window_ms : o->ms;
    return 0;
}

static struct oldest stored(struct world *w, uint32_t step_ms)
{
    struct oldest o = {INT64_MAX, 0};
    struct err err = ERR_INIT;
    for (int s = 0; s < SERIES; s++)
        assert_int_equal(warm_read(w->tiered, id_of(w, s), step_ms, 0, INT64_MAX, note_window, &o, &err), OK);
    return o;
}

/* --- applying --- */

static bool stop_now(void *ctx)
{
    struct world *w = ctx;
    return w->stop_at && ++w->calls >= w->stop_at;
}

static int apply(struct world *w, int stop_at)
{
    struct retention_apply a = {.rules = w->rules,
                                .catalog = w->catalog,
                                .writer = w->writer,
                                .reader = w->reader,
                                .warm = w->warm,
                                .cold = w->cold,
                                .mover = w->mover,
                                .clock = &w->clock.base,
                                .cancelled = stop_now,
                                .ctx = w};
    struct retention_applied out;
    struct err err = ERR_INIT;
    w->calls = 0;
    w->stop_at = stop_at;
    int rc = retention_apply_run(&a, &out, &err);
    if (rc != OK && rc != ERR_CLOSED)
        fail_msg("%s", err.text);
    return rc;
}

static void reload(struct world *w, const char *retentions)
{
    struct err err = ERR_INIT;
    write_rules(w, retentions);
    if (rules_reload(w->rules, &err) != OK)
        fail_msg("%s", err.text);
}

static uint64_t changing(struct world *w)
{
    struct retention_check c = {
        .rules = w->rules, .catalog = w->catalog, .warm = w->tiered, .clock = &w->clock.base};
    struct retention_checked out;
    struct buf json = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(retention_check_run(&c, &json, &out, &err), OK);
    buf_release(&json);
    return out.changing;
}

static void check_applied(struct world *w)
{
    struct rules_status s;
    rules_get_status(w->rules, &s);
    assert_true(s.state == RULES_DONE && !s.leftovers);
    assert_int_equal(changing(w), 0);
}

/* Readers that never rest, while rules change under them. They look at what is not fed any more. */
struct watcher {
    pthread_t thread;
    struct world *w;
    _Atomic bool stop;
    int64_t until_ms;
    _Atomic int wrong, reads;
};

static void *watch(void *ctx)
{
    struct watcher *v = ctx;
    while (!atomic_load(&v->stop))
        for (int s = 0; s < SERIES; s++) {
            atomic_fetch_add(&v->wrong, wrong_in(v->w, s, T0, v->until_ms, 0));
            atomic_fetch_add(&v->wrong, wrong_in(v->w, s, v->until_ms - DAY, v->until_ms, 0));
            atomic_fetch_add(&v->reads, 2);
        }
    return NULL;
}

static void watch_begin(struct watcher *v, struct world *w)
{
    memset(v, 0, sizeof *v);
    v->w = w;
    v->until_ms = floor_to(now_of(w), DAY) - DAY;
    assert_int_equal(pthread_create(&v->thread, NULL, watch, v), 0);
}

static void watch_end(struct watcher *v)
{
    for (int i = 0; i < 20000 && !atomic_load(&v->reads); i++)
        usleep(500);
    atomic_store(&v->stop, true);
    assert_int_equal(pthread_join(v->thread, NULL), 0);
    assert_int_equal(atomic_load(&v->wrong), 0);
    assert_true(atomic_load(&v->reads) > 0);
}

/* With readers, and points coming in meanwhile. */
static void apply_under_load(struct world *w)
{
    struct watcher v;
    watch_begin(&v, w);
    feed(w, w->fed_ms + HOUR, 60000);
    assert_int_equal(apply(w, 0), OK);
    feed(w, w->fed_ms + HOUR, 60000);
    watch_end(&v);
    check(w);
    check_applied(w);
}

/* --- the cases --- */

static struct world *world_new(const char *retentions)
{
    struct world *w = xcalloc(1, sizeof *w);
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    snprintf(w->dir, sizeof w->dir, "/tmp/carat-change-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    clock_fake_init(&w->clock, T0);
    w->metrics = metrics_new();
    w->stream = stream_mem_new(1, 1u << 20, &w->clock.base);
    for (int s = 0; s < SERIES; s++) {
        w->value[s] = xmalloc(GRAINS * sizeof(double));
        for (int64_t i = 0; i < GRAINS; i++)
            w->value[s][i] = NAN;
    }
    w->fed_ms = w->horizon_ms = T0;
    write_rules(w, retentions);
    world_start(w);
    feed(w, BEGUN, 60000);
    settle(w);
    struct cold_stats cold;
    cold_get_stats(w->cold, &cold);
    assert_true(cold.packs > 0);
    check(w);
    return w;
}

static void world_free(struct world *w)
{
    char command[100];
    world_end(w);
    stream_free(w->stream);
    metrics_free(w->metrics);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    for (int s = 0; s < SERIES; s++)
        free(w->value[s]);
    free(w);
}

static void archives_come_and_go(void **state)
{
    struct world *w = world_new("60s:30d, 5m:1y, 1h:5y");
    reload(w, "60s:30d, 15m:1y, 1d:5y");
    check(w);
    assert_int_equal(changing(w), SERIES);
    assert_true(stored(w, 300000).windows > 0 && stored(w, 900000).windows == 0);
    apply_under_load(w);
    assert_true(stored(w, 300000).windows == 0 && stored(w, 3600000).windows == 0);
    assert_true(stored(w, 900000).windows > 0 && stored(w, 86400000).windows > 0);
    settle(w);
    check(w);
    world_free(w);
}

/* What only the 5 minutes have any more becomes 15 minutes. */
static void an_archive_is_made_from_a_finer_one(void **state)
{
    struct world *w = world_new("60s:3d, 5m:1y, 1h:5y");
    assert_int_equal(apply(w, 0), OK); /* away with the minutes that have expired for these series */
    assert_true(stored(w, 60000).ms > now_of(w) - 5 * DAY);
    reload(w, "60s:3d, 15m:1y");
    apply_under_load(w);
    assert_int_equal(step_read(w, T0 + DAY, T0 + 2 * DAY), 900000);
    world_free(w);
}

static void a_shorter_keep_holds_at_once_and_on_disk(void **state)
{
    struct world *w = world_new("60s:30d, 1h:5y");
    reload(w, "60s:2d, 1h:5y");
    check(w);
    assert_int_equal(step_read(w, T0 + DAY, T0 + 2 * DAY), HOUR);
    assert_true(stored(w, 60000).ms == T0);
    apply_under_load(w);
    assert_true(stored(w, 60000).ms > now_of(w) - 3 * DAY);
    /* And nothing that is older than all of it. */
    reload(w, "60s:2d");
    w->horizon_ms = ceil_to(now_of(w) + 3 * HOUR - 2 * DAY, HOUR); /* it moves on with what is fed */
    check(w);
    struct column c;
    struct read_report report = {0};
    struct read_spans spans;
    struct read_sums sums;
    struct err err = ERR_INIT;
    struct read_range range = {
        .from_ms = T0, .until_ms = now_of(w) - 2 * DAY - HOUR, .now_ms = now_of(w), .max_slots = 1u << 24};
    assert_int_equal(reader_fetch_planned(w->reader, id_of(w, 0), &range, &c, &spans, &sums, &report, &err),
                     OK);
    for (size_t i = 0; i < c.n; i++)
        assert_true(column_is_missing(c.values[i]));
    free(c.values);
    apply_under_load(w);
    assert_true(stored(w, 3600000).windows == 0);
    /* What is kept for longer again does not come back, and is not asked for. */
    int64_t lost = w->horizon_ms;
    reload(w, "60s:30d, 1h:5y");
    assert_int_equal(apply(w, 0), OK);
    w->horizon_ms = ceil_to(lost, DAY) + DAY;
    check(w);
    check_applied(w);
    feed(w, w->fed_ms + 3 * DAY, 60000);
    check(w);
    world_free(w);
}

static void the_step_becomes_coarser(void **state)
{
    struct world *w = world_new("60s:30d, 1h:5y");
    reload(w, "5m:1y, 1h:5y");
    check(w);
    apply_under_load(w);
    assert_int_equal(step_read(w, T0 + DAY, T0 + 2 * DAY), 300000);
    assert_true(stored(w, 60000).ms > T0 + 9 * DAY);
    int64_t from = ceil_to(BEGUN + HOUR, DAY);
    uint32_t id = id_of(w, 0);
    assert_int_equal(rules_step_at(w->rules, id, from - 1), 60000);
    assert_int_equal(rules_step_at(w->rules, id, from), 300000);
    /* Minutes until then, of five minutes the last one counts after it; late ones for the time before. */
    feed(w, from + 2 * DAY + 7 * HOUR, 60000);
    check(w);
    settle(w);
    check(w);
    struct sample_batch b = SAMPLE_BATCH_INIT;
    for (int i = 0; i < 200; i++)
        put(w, &b, rand() % SERIES, from - rand() % (6 * HOUR), 1000 + i);
    submit(w, &b);
    sample_batch_release(&b);
    wait_applied(w);
    check(w);
    settle(w);
    check(w);
    /* The whole stream again, from nothing but what is on disk. */
    world_end(w);
    world_start(w);
    wait_applied(w);
    check(w);
    world_free(w);
}

static void the_step_becomes_finer(void **state)
{
    struct world *w = world_new("60s:30d, 1h:5y");
    reload(w, "10s:1d, 60s:30d, 1h:5y");
    apply_under_load(w);
    int64_t from = ceil_to(BEGUN + HOUR, 4 * HOUR);
    uint32_t id = id_of(w, 0);
    assert_int_equal(rules_step_at(w->rules, id, from - 1), 60000);
    assert_int_equal(rules_step_at(w->rules, id, from), 10000);
    feed(w, from, 60000);
    feed(w, from + 10 * HOUR, 10000);
    check(w);
    assert_int_equal(step_read(w, from + HOUR, from + 2 * HOUR), 10000);
    assert_int_equal(step_read(w, from - 2 * HOUR, from - HOUR), 60000);
    settle(w);
    check(w);
    /* The ten seconds expire, the minutes made of them stay beside those that came as minutes. */
    feed(w, from + 4 * DAY, 10000);
    settle(w);
    check(w);
    assert_int_equal(step_read(w, from - DAY, from + DAY), 60000);
    assert_true(stored(w, 10000).ms > from);
    struct err err = ERR_INIT;
    assert_int_equal(writer_rebuild(w->writer, 0, 0, INT64_MAX, NULL, NULL, &err), OK);
    check(w);
    /* And back again. */
    reload(w, "60s:30d, 1h:5y");
    apply_under_load(w);
    feed(w, w->fed_ms + DAY, 60000);
    settle(w);
    check(w);
    world_free(w);
}

/* Stopped at each place where it looks whether to go on, by a kill. */
static void stopped_anywhere_it_goes_on(void **state)
{
    static const char *const to[] = {"60s:3d, 15m:1y, 1d:5y", "5m:30d, 1h:1y", "10s:1d, 60s:3d, 1h:5y"};
    for (size_t k = 0; k < ARRAY_LEN(to); k++) {
        struct world *w = world_new("60s:30d, 5m:1y, 1h:5y");
        reload(w, to[k]);
        int stops = 0;
        for (int at = 1; apply(w, at) == ERR_CLOSED; at++, stops++) {
            check(w);
            feed(w, w->fed_ms + 10 * MINUTE, 60000);
            world_end(w);
            world_start(w);
            wait_applied(w);
            check(w);
        }
        print_message("# %d stops\n", stops);
        assert_true(stops >= SERIES + 2);
        check(w);
        check_applied(w);
        settle(w);
        check(w);
        world_free(w);
    }
}

/* What was begun is given up for other rules; what was made of it does no harm. */
static void other_rules_come_in_the_middle(void **state)
{
    struct world *w = world_new("60s:30d, 5m:1y, 1h:5y");
    reload(w, "60s:30d, 10m:1y, 1h:5y");
    assert_int_equal(apply(w, 4), ERR_CLOSED);
    assert_true(rules_applying(w->rules));
    reload(w, "60s:30d, 5m:1y, 1d:5y");
    assert_false(rules_applying(w->rules));
    check(w);
    apply_under_load(w);
    assert_true(stored(w, 600000).windows == 0);
    world_free(w);
}

/* Series are born under rules that are in force and not applied; each keeps to what it was born under. */
static void series_are_born_meanwhile(void **state)
{
    struct world *w = world_new("60s:30d, 1h:5y");
    reload(w, "10s:2d, 5m:1y");
    struct sample_batch b = SAMPLE_BATCH_INIT;
    struct sample *s = sample_batch_add(&b);
    s->name = "change.new";
    s->name_len = 10;
    s->hash = hash_bytes("change.new", 10);
    s->ts_ms = w->fed_ms;
    s->value = 7;
    submit(w, &b);
    sample_batch_release(&b);
    wait_applied(w);
    uint32_t id = catalog_lookup(w->catalog, "change.new", 10).id;
    const struct layout *l;
    for (int i = 0; i < 2; i++) {
        assert_true(rules_layouts(w->rules, id, &l, NULL));
        assert_true(l->neras == 1 && layout_step_ms(l) == 10000 && layout_find(l, 300000));
        assert_true(rules_layouts(w->rules, id_of(w, 0), &l, NULL));
        assert_true(l->neras == 1 && layout_step_ms(l) == 60000 && !layout_find(l, 300000));
        settle(w);
    }
    assert_int_equal(changing(w), SERIES);
    check(w);
    apply_under_load(w);
    assert_true(rules_layouts(w->rules, id, &l, NULL));
    assert_true(l->neras == 1 && layout_step_ms(l) == 10000);
    world_free(w);
}

/* Any rules one after the other, with crashes and time passing. All of them keep the hours, so nothing may be
 * lost. */
static void any_rules_in_any_order(void **state)
{
    static const char *const some[] = {
        "60s:30d, 5m:1y, 1h:5y",
        "60s:3d, 1h:5y",
        "10s:6h, 60s:30d, 1h:5y",
        "5m:40d, 1h:5y",
        "10s:2d, 1m:20d, 10m:1y, 1h:5y",
        "60s:30d, 15m:1y, 1h:5y, 1d:10y",
        "1h:5y, 1d:10y",
        "30s:2d, 1h:5y",
    };
    struct world *w = world_new(some[0]);
    for (int round = 0; round < 6 && w->fed_ms < T0 + 36 * DAY; round++) {
        reload(w, some[(size_t)rand() % ARRAY_LEN(some)]);
        check(w);
        wait_flushed(w); /* the clock of hours is frozen meanwhile */
        while (apply(w, rand() % 2 ? 0 : 1 + rand() % 12) == ERR_CLOSED) {
            world_end(w);
            world_start(w);
            wait_applied(w);
            check(w);
        }
        check_applied(w);
        check(w);
        feed(w, w->fed_ms + rand() % (3 * DAY) / MINUTE * MINUTE, rand() % 3 ? 60000 : 20000);
        if (rand() % 2)
            settle(w);
        check(w);
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_come_and_go),
        cmocka_unit_test(an_archive_is_made_from_a_finer_one),
        cmocka_unit_test(a_shorter_keep_holds_at_once_and_on_disk),
        cmocka_unit_test(the_step_becomes_coarser),
        cmocka_unit_test(the_step_becomes_finer),
        cmocka_unit_test(stopped_anywhere_it_goes_on),
        cmocka_unit_test(other_rules_come_in_the_middle),
        cmocka_unit_test(series_are_born_meanwhile),
        cmocka_unit_test(any_rules_in_any_order),
    };
    return cmocka_run_group_tests_name("retention_change", tests, NULL, NULL);
}
