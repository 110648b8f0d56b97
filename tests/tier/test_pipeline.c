/* The pipeline from sink to reader over memory backends, with crashes: whatever is killed when, every
 * acknowledged point is read back once, with the value that is later in the stream. */
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"
#include "hot/hot_mem.h"
#include "ingest/sink.h"
#include "model/name.h"
#include "reader/reader.h"
#include "stream/stream_mem.h"
#include "warm/warm_fault.h"
#include "warm/warm_mem.h"
#include "writer/writer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"

#define SERIES 8
#define SLOTS  1200 /* five windows of a minute's step */
#define STEP   60000
#define T0     (14400000ll * 124000)

/* What survives a crash: the stream, warm as of its last sync, the catalog's file. */
struct world {
    char dir[64];
    struct stream *stream;
    struct warm *warm; /* warm_mem */
    struct clock_fake clock;
    struct metrics *metrics;
    /* what a process holds */
    struct catalog *catalog;
    struct hot *hot;
    struct writer *writer;
    struct reader *reader;
    struct sink *sink;
    struct sink_session *session;
    /* the model */
    bool present[SERIES][SLOTS];
    double value[SERIES][SLOTS];
};

static uint32_t step_60s(void *ctx, const char *name, size_t len)
{
    return STEP;
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

static int64_t no_limit(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return 0;
}

static void world_start(struct world *w, unsigned partitions)
{
    struct err err = ERR_INIT;
    char path[128];
    snprintf(path, sizeof path, "%s/catalog.db", w->dir);
    struct catalog_store *store;
    assert_int_equal(catalog_store_sqlite_open(path, &store, &err), OK);
    struct catalog_options co = {.store = store, .step = step_60s};
    assert_int_equal(catalog_open(&co, &w->catalog, &err), OK);
    w->hot = hot_mem_new(partitions);
    snprintf(path, sizeof path, "%s/positions", w->dir);
    struct writer_options wo = {
        .catalog = w->catalog,
        .stream = w->stream,
        .lanes = partitions,
        .hot = w->hot,
        .warm = w->warm,
        .clock = clock_system(),
        .metrics = w->metrics,
        .fs = fs_posix(),
        .state_path = path,
        .flush_delay_ms = 0,
        .round_ms = 1,
        .max_unflushed_ms = 3600000,
        .checkpoint_ms = 1,
        .hot_max_bytes = 1u << 30,
        .archives = archives,
    };
    assert_int_equal(writer_start(&wo, &w->writer, &err), OK);
    struct reader_options ro = {
        .catalog = w->catalog, .hot = w->hot, .warm = w->warm, .metrics = w->metrics, .archives = archives};
    w->reader = reader_new(&ro);
    struct sink_options so = {.catalog = w->catalog,
                              .stream = w->stream,
                              .clock = &w->clock.base,
                              .metrics = w->metrics,
                              .max_future_ms = 86400000,
                              .oldest_ms = no_limit};
    w->sink = sink_new(&so);
    w->session = sink_session_new(w->sink, "test");
}

/* A kill: threads end where they are, nothing is flushed, what warm had not synced is gone. */
static void world_crash(struct world *w)
{
    sink_session_free(w->session);
    sink_free(w->sink);
    reader_free(w->reader);
    writer_free(w->writer);
    hot_free(w->hot);
    catalog_free(w->catalog);
    warm_mem_cut(w->warm);
}

struct ack {
    _Atomic int done;
    int status;
    uint64_t accepted;
};

static void on_done(void *ctx, const struct sink_result *r)
{
    struct ack *a = ctx;
    a->status = r->status;
    a->accepted = r->accepted;
    atomic_store(&a->done, 1);
}

static void submit(struct world *w, struct sample_batch *b)
{
    struct ack a = {0};
    sink_submit(w->session, b, SINK_WAIT, false, on_done, &a);
    while (!atomic_load(&a.done))
        usleep(50);
    assert_int_equal(a.status, OK);
    assert_int_equal(a.accepted, b->n);
    sample_batch_clear(b);
}

static void add(struct world *w, struct sample_batch *b, int series, int slot, double v)
{
    char name[64];
    int len = snprintf(name, sizeof name, "pipeline.series%d.value", series);
    struct sample *s = sample_batch_add(b);
    s->name = arena_strndup(&b->names, name, (size_t)len);
    s->name_len = (uint32_t)len;
    s->hash = hash_bytes(name, (size_t)len);
    s->ts_ms = T0 + slot * (int64_t)STEP + rand() % STEP;
    s->value = v;
    w->present[series][slot] = true;
    w->value[series][slot] = v;
}

static void wait_caught_up(struct world *w, unsigned partitions)
{
    struct err why;
    for (int i = 0; i < 20000 && !writer_caught_up(w->writer, &why); i++)
        usleep(500);
    assert_true(writer_caught_up(w->writer, &why));
}

static int count_wrong(struct world *w)
{
    int wrong = 0;
    for (int s = 0; s < SERIES; s++) {
        char name[64];
        int len = snprintf(name, sizeof name, "pipeline.series%d.value", s);
        uint32_t id = catalog_lookup(w->catalog, name, (size_t)len).id;
        struct column c = {0};
        struct read_report report = {0};
        struct err err = ERR_INIT;
        if (id) {
            assert_int_equal(
                reader_fetch(w->reader, id, T0, T0 + SLOTS * (int64_t)STEP, 1u << 20, &c, &report, &err), OK);
            assert_false(report.incomplete);
            assert_int_equal(c.n, SLOTS);
        }
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

static bool is_right(double got, double want)
{
    return column_is_missing(want) ? column_is_missing(got) : fabs(got - want) <= 1e-12 * fabs(want);
}

static int count_wrong_rollups(struct world *w)
{
    static const enum aggregation all[] = {AGGREGATION_SUM, AGGREGATION_MIN, AGGREGATION_MAX,
                                           AGGREGATION_LAST, AGGREGATION_COUNT};
    int wrong = 0;
    for (int s = 0; s < SERIES; s++) {
        char name[64];
        int len = snprintf(name, sizeof name, "pipeline.series%d.value", s);
        uint32_t id = catalog_lookup(w->catalog, name, (size_t)len).id;
        for (size_t k = 1; id && k < kept.narchives; k++)
            for (size_t a = 0; a < ARRAY_LEN(all); a++) {
                struct column c;
                struct read_report report = {0};
                struct err err = ERR_INIT;
                int64_t end = T0 + SLOTS * (int64_t)STEP, day = floor_to(T0, 86400000);
                assert_int_equal(reader_fetch_archive(w->reader, id, kept.archives[k].step_ms, all[a], day,
                                                      end, 1u << 20, &c, &report, &err),
                                 OK);
                assert_false(report.incomplete);
                for (size_t i = 0; i < c.n; i++)
                    wrong += !is_right(
                        c.values[i], expected(w, s, c.start_ms + (int64_t)i * c.step_ms, c.step_ms, all[a]));
                free(c.values);
            }
    }
    return wrong;
}

/* Acknowledged is durable; readable a moment later. */
static void check_all(struct world *w)
{
    int wrong = count_wrong(w);
    for (int i = 0; i < 2000 && wrong; i++) {
        usleep(1000);
        wrong = count_wrong(w);
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(count_wrong_rollups(w), 0);
}

static int count_progress(void *ctx, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    ++*(int *)ctx;
    return 0;
}

/* Beside the running writer, while points come in: nothing is lost to it. */
static void rebuild(struct world *w)
{
    struct err err = ERR_INIT;
    int done = 0;
    assert_int_equal(writer_rebuild(w->writer, 0, 0, INT64_MAX, count_progress, &done, &err), OK);
    assert_int_equal(done, catalog_max_id(w->catalog));
    assert_int_equal(writer_rebuild(w->writer, 4711, 0, INT64_MAX, NULL, NULL, &err), ERR_NOT_FOUND);
}

static void random_post(struct world *w, struct sample_batch *b, int now_slot)
{
    int n = 1 + rand() % 200;
    for (int i = 0; i < n; i++) {
        int slot = rand() % 10 < 7 ? now_slot - rand() % 3 : rand() % SLOTS;
        slot = slot < 0 ? 0 : slot >= SLOTS ? SLOTS - 1 : slot;
        add(w, b, rand() % SERIES, slot, rand() % 3 ? rand() % 1000 : rand() / 7.0);
    }
    submit(w, b);
}

static void crashes_lose_and_double_nothing(void **state)
{
    unsigned partitions = *(unsigned *)*state;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    struct world *w = xcalloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/carat-pipeline-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    clock_fake_init(&w->clock, T0 + SLOTS * (int64_t)STEP);
    w->metrics = metrics_new();
    w->stream = stream_mem_new(partitions, 1u << 20, clock_system());
    w->warm = warm_mem_new(NULL);
    struct sample_batch b = SAMPLE_BATCH_INIT;
    world_start(w, partitions);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 40; i++) {
            random_post(w, &b, round * 100 + i * 2);
            if (rand() % 8 == 0)
                usleep((unsigned)rand() % 20000); /* let windows be flushed and checkpoints be made */
        }
        if (rand() % 3 == 0)
            rebuild(w);
        if (rand() % 2)
            check_all(w);
        world_crash(w);
        world_start(w, partitions);
        if (rand() % 2) {
            wait_caught_up(w, partitions);
            check_all(w);
        }
    }
    wait_caught_up(w, partitions);
    check_all(w);
    stream_close(w->stream);
    writer_stop(w->writer, clock_wall_ms(clock_system()) + 10000);
    check_all(w);
    struct hot_stats stats;
    hot_get_stats(w->hot, &stats);
    assert_int_equal(stats.windows, 0); /* a clean stop leaves everything in warm */
    assert_int_equal(counter_get(metrics_counter(w->metrics, "carat_rollup_slots_kept_total", NULL, "")), 0);
    world_crash(w);
    sample_batch_release(&b);
    stream_free(w->stream);
    warm_free(w->warm);
    metrics_free(w->metrics);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", w->dir);
    assert_int_equal(system(cmd), 0);
    free(w);
}

int main(void)
{
    static unsigned one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        {"crashes_lose_and_double_nothing_one_partition", crashes_lose_and_double_nothing, NULL, NULL, &one},
        {"crashes_lose_and_double_nothing_three_partitions", crashes_lose_and_double_nothing, NULL, NULL,
         &three},
    };
    return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
