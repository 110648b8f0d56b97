/* The pipeline from sink to reader over memory backends, with crashes: whatever is killed when, every
 * acknowledged point is read back once, with the value that is later in the stream. */
#include "base/hash.h"
#include "base/mem.h"
#include "stream/stream_impl.h"
#include "stream/stream_mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/world.h"

#define SERIES 8
#define SLOTS  1200 /* five windows of a minute's step */
#define STEP   60000
#define T0     (14400000ll * 124000)

struct env {
    struct world *w;
    bool present[SERIES][SLOTS];
    double value[SERIES][SLOTS];
};

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

static struct env *env_new(unsigned lanes, bool threads)
{
    struct env *e = xcalloc(1, sizeof *e);
    struct world_options o = {
        .lanes = lanes,
        .threads = threads,
        .now_ms = T0 + SLOTS * (int64_t)STEP,
        .archives = archives,
        .writer = {.round_ms = 1, .max_unflushed_ms = 3600000, .checkpoint_ms = 1},
    };
    e->w = world_new(&o);
    return e;
}

static void env_free(struct env *e)
{
    world_free(e->w);
    free(e);
}

static void series_name(int series, char name[64])
{
    snprintf(name, 64, "pipeline.series%d.value", series);
}

static uint32_t series_id(struct env *e, int series)
{
    char name[64];
    series_name(series, name);
    return world_id(e->w, name);
}

static void add(struct env *e, int series, int slot, double v)
{
    char name[64];
    series_name(series, name);
    world_add(e->w, name, T0 + slot * (int64_t)STEP + rand() % STEP, v);
    e->present[series][slot] = true;
    e->value[series][slot] = v;
}

static int count_wrong(struct env *e)
{
    int wrong = 0;
    for (int s = 0; s < SERIES; s++) {
        uint32_t id = series_id(e, s);
        struct column c = {0};
        struct read_report report = {0};
        struct err err = ERR_INIT;
        if (id) {
            assert_int_equal(
                reader_fetch(e->w->reader, id, T0, T0 + SLOTS * (int64_t)STEP, 1u << 20, &c, &report, &err),
                OK);
            assert_false(report.incomplete);
            assert_int_equal(c.n, SLOTS);
        }
        for (int i = 0; i < SLOTS; i++) {
            double v = id ? c.values[i] : column_missing();
            wrong += e->present[s][i] ? f64_bits(v) != f64_bits(e->value[s][i]) : !column_is_missing(v);
        }
        free(c.values);
    }
    return wrong;
}

/* What a coarse slot must say, from the model. */
static double expected(const struct env *e, int series, int64_t ts, int64_t step, enum aggregation a)
{
    double count = 0, sum = 0, min = INFINITY, max = -INFINITY, last = 0;
    for (int64_t slot = (ts - T0) / STEP, end = slot + step / STEP; slot < end; slot++) {
        if (slot < 0 || slot >= SLOTS || !e->present[series][slot])
            continue;
        double v = e->value[series][slot];
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

static int count_wrong_in(struct env *e, int series, size_t archive, enum aggregation a)
{
    int wrong = 0;
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    int64_t end = T0 + SLOTS * (int64_t)STEP, day = floor_to(T0, 86400000);
    assert_int_equal(reader_fetch_archive(e->w->reader, series_id(e, series), kept.archives[archive].step_ms,
                                          a, day, end, 1u << 20, &c, &report, &err),
                     OK);
    assert_false(report.incomplete);
    for (size_t i = 0; i < c.n; i++)
        wrong +=
            !is_right(c.values[i], expected(e, series, c.start_ms + (int64_t)i * c.step_ms, c.step_ms, a));
    free(c.values);
    return wrong;
}

static int count_wrong_rollups(struct env *e)
{
    static const enum aggregation all[] = {AGGREGATION_SUM, AGGREGATION_MIN, AGGREGATION_MAX,
                                           AGGREGATION_LAST, AGGREGATION_COUNT};
    int wrong = 0;
    for (int s = 0; s < SERIES; s++)
        for (size_t k = 1; series_id(e, s) && k < kept.narchives; k++)
            for (size_t a = 0; a < ARRAY_LEN(all); a++)
                wrong += count_wrong_in(e, s, k, all[a]);
    return wrong;
}

/* Acknowledged is durable; readable a moment later. */
static void check_all(struct env *e)
{
    int wrong = count_wrong(e);
    for (int i = 0; i < 2000 && wrong; i++) {
        usleep(1000);
        wrong = count_wrong(e);
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(count_wrong_rollups(e), 0);
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

static void random_post(struct env *e, int now_slot)
{
    int n = 1 + rand() % 200;
    for (int i = 0; i < n; i++) {
        int slot = rand() % 10 < 7 ? now_slot - rand() % 3 : rand() % SLOTS;
        slot = slot < 0 ? 0 : slot >= SLOTS ? SLOTS - 1 : slot;
        add(e, rand() % SERIES, slot, rand() % 3 ? rand() % 1000 : rand() / 7.0);
    }
    world_submit(e->w);
}

static void crash_and_start(struct env *e)
{
    world_crash(e->w, WORLD_KILL);
    world_start(e->w);
}

static void crashes_lose_and_double_nothing(void **state)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    struct env *e = env_new(*(unsigned *)*state, true);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 40; i++) {
            random_post(e, round * 100 + i * 2);
            if (rand() % 8 == 0)
                usleep((unsigned)rand() % 20000); /* let windows be flushed and checkpoints be made */
        }
        if (rand() % 3 == 0)
            rebuild(e->w);
        if (rand() % 2)
            check_all(e);
        crash_and_start(e);
        if (rand() % 2) {
            world_wait_caught_up(e->w);
            check_all(e);
        }
    }
    world_wait_caught_up(e->w);
    check_all(e);
    stream_close(e->w->stream);
    writer_stop(e->w->writer, clock_wall_ms(clock_system()) + 10000);
    check_all(e);
    assert_int_equal(world_hot_windows(e->w), 0); /* a clean stop leaves everything in warm */
    assert_int_equal(counter_get(metrics_counter(e->w->metrics, "carat_rollup_slots_kept_total", NULL, "")),
                     0);
    env_free(e);
}

/* --- a stream with a hole: one record is damaged and reported as such --- */

struct holed {
    struct stream base;
    struct stream *inner;
    uint64_t hole;
};
struct holed_reader {
    struct stream_reader base;
    struct stream_reader *inner;
    struct holed *of;
};

static struct holed *holed_of(struct stream *s)
{
    return container_of(s, struct holed, base);
}

static int holed_append(struct stream *s, unsigned p, const void *payload, size_t size, uint32_t points,
                        stream_done_fn done, void *ctx, struct err *err)
{
    return stream_append(holed_of(s)->inner, p, payload, size, points, done, ctx, err);
}

static int holed_wait(struct stream *s, unsigned p, size_t size, int timeout_ms)
{
    return stream_wait_space(holed_of(s)->inner, p, size, timeout_ms);
}

static int holed_next(struct stream_reader *r, struct stream_record *rec, int timeout_ms, struct err *err)
{
    struct holed_reader *h = container_of(r, struct holed_reader, base);
    int rc = stream_reader_next(h->inner, rec, timeout_ms, err);
    if (rc == OK && rec->pos == h->of->hole)
        return err_set(err, ERR_CORRUPT, "record %llu is damaged", (unsigned long long)rec->pos);
    return rc;
}

static void holed_reader_close(struct stream_reader *r)
{
    struct holed_reader *h = container_of(r, struct holed_reader, base);
    stream_reader_close(h->inner);
    free(h);
}

static int holed_open(struct stream *s, unsigned p, struct stream_start start, struct stream_reader **out,
                      struct err *err)
{
    static const struct stream_reader_ops ops = {.next = holed_next, .close = holed_reader_close};
    struct holed_reader *h = xcalloc(1, sizeof *h);
    h->base.ops = &ops;
    h->of = holed_of(s);
    *out = &h->base;
    return stream_reader_open(h->of->inner, p, start, &h->inner, err);
}

static uint64_t holed_synced(struct stream *s, unsigned p)
{
    return stream_synced_pos(holed_of(s)->inner, p);
}

static int holed_checkpoint(struct stream *s, unsigned p, uint64_t pos, struct err *err)
{
    return stream_checkpoint(holed_of(s)->inner, p, pos, err);
}

static uint64_t holed_checkpoint_get(struct stream *s, unsigned p)
{
    return stream_checkpoint_get(holed_of(s)->inner, p);
}

static void holed_stats(struct stream *s, struct stream_stats *out)
{
    stream_get_stats(holed_of(s)->inner, out);
}

static void holed_close(struct stream *s)
{
    stream_close(holed_of(s)->inner);
}

static void holed_free(struct stream *s)
{
    stream_free(holed_of(s)->inner);
    free(holed_of(s));
}

/* Takes `inner` over. */
static struct stream *holed_new(struct stream *inner, uint64_t hole)
{
    static const struct stream_ops ops = {
        .name = "holed",
        .append = holed_append,
        .wait_space = holed_wait,
        .reader_open = holed_open,
        .synced_pos = holed_synced,
        .checkpoint = holed_checkpoint,
        .checkpoint_get = holed_checkpoint_get,
        .get_stats = holed_stats,
        .close = holed_close,
        .free = holed_free,
    };
    struct holed *h = xcalloc(1, sizeof *h);
    h->base = *inner;
    h->base.ops = &ops;
    h->inner = inner;
    h->hole = hole;
    return &h->base;
}

/* What the writer's threads would do in a quiet while: a window leaves hot in the second round after its last
 * point. */
static void run(struct world *w)
{
    struct err err = ERR_INIT;
    assert_int_equal(writer_apply(w->writer, &err), OK);
    for (int i = 0; i < 2; i++) {
        atomic_fetch_add(&w->clock.now_ms, 1);
        assert_int_equal(writer_flush(w->writer, &err), OK);
    }
    assert_int_equal(writer_checkpoint(w->writer, &err), OK);
}

/* Slot 0 is written 1, then 2; both reach warm. After a crash the record with the 2 is damaged, and a later
 * one touches the same window. A run across the hole would end later than the part in warm and hold the 1. */
static void a_hole_in_the_stream_brings_nothing_old_back(void **state)
{
    (void)state;
    struct env *e = env_new(1, false);
    struct world *w = e->w;
    world_add(w, "pipeline.open.value", w->clock.now_ms, 9); /* an open window holds the checkpoint back */
    world_submit(w);
    add(e, 0, 0, 1);
    world_submit(w);
    add(e, 0, 0, 2);
    world_submit(w);
    run(w);
    assert_int_equal(world_hot_windows(w), 1);
    assert_int_equal(stream_checkpoint_get(w->stream, 0), 0);
    world_crash(w, WORLD_KILL);
    w->stream = holed_new(w->stream, 3);
    world_start(w);
    add(e, 0, 5, 7);
    world_submit(w);
    struct err err = ERR_INIT;
    assert_int_equal(writer_apply(w->writer, &err), OK);
    check_all(e);
    run(w);
    assert_int_equal(world_hot_windows(w), 0);
    check_all(e);
    env_free(e);
}

static _Atomic int64_t own_mono_ms;

static int64_t own_mono_us(struct clock *c)
{
    (void)c;
    return atomic_load(&own_mono_ms) * 1000;
}

static void a_clock_set_back_does_not_hold_windows_up(void **state)
{
    (void)state;
    struct env *e = env_new(1, false);
    struct world *w = e->w;
    struct err err = ERR_INIT;
    w->clock.base.mono_us = own_mono_us;
    assert_int_equal(writer_flush(w->writer, &err), OK);
    add(e, 0, 0, 1);
    world_submit(w);
    assert_int_equal(writer_apply(w->writer, &err), OK);
    atomic_fetch_sub(&w->clock.now_ms, 3600000);
    for (int i = 0; i < 2; i++) {
        atomic_fetch_add(&own_mono_ms, 1);
        assert_int_equal(writer_flush(w->writer, &err), OK);
    }
    assert_int_equal(world_hot_windows(w), 0);
    check_all(e);
    env_free(e);
}

int main(void)
{
    static unsigned one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hole_in_the_stream_brings_nothing_old_back),
        cmocka_unit_test(a_clock_set_back_does_not_hold_windows_up),
        {"crashes_lose_and_double_nothing_one_partition", crashes_lose_and_double_nothing, NULL, NULL, &one},
        {"crashes_lose_and_double_nothing_three_partitions", crashes_lose_and_double_nothing, NULL, NULL,
         &three},
    };
    return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
