/* The mover over warm_mem and cold: what is read stays the same, whatever moves, arrives late or crashes. */
#include "base/mem.h"
#include "warm/warm_fault.h"
#include "warm/warm_key.h"
#include "warm/warm_mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/cold_model.h"
#include "tier/world.h"

struct env {
    struct world *w;
    struct model *model;
    int64_t keep_ms[MODEL_STEPS];
    struct buf blocks;
};

static size_t steps(void *ctx, uint32_t *out, size_t cap)
{
    (void)ctx;
    (void)cap;
    memcpy(out, model_steps, sizeof model_steps);
    return MODEL_STEPS;
}

static int64_t keep(void *ctx, uint32_t step_ms)
{
    struct env *e = ctx;
    return e->keep_ms[step_ms == model_steps[1]];
}

/* warm keeps what it has: the model does not send anything again. */
static void crash_and_start(struct env *e, enum world_crash how)
{
    assert_int_equal(warm_sync(e->w->store, NULL), OK);
    world_crash(e->w, how);
    world_start(e->w);
}

static int setup(void **state)
{
    struct env *e = xcalloc(1, sizeof *e);
    uint64_t seed = (uint64_t)clock_mono_us(clock_system());
    printf("# SEED=%llu\n", (unsigned long long)seed);
    struct world_options o = {
        .seed = seed,
        .cold = true,
        .pack_bytes = 16 << 10,
        .mover = {.steps = steps,
                  .keep_ms = keep,
                  .ctx = e,
                  .after_ms = 1000,
                  .interval_ms = 1,
                  .slice_bytes = 600,
                  .compact_least = 3},
    };
    e->w = world_new(&o);
    e->model = xmalloc(sizeof *e->model);
    model_init(e->model, seed);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    world_free(e->w);
    buf_release(&e->blocks);
    free(e->model);
    free(e);
    return 0;
}

/* As the writer does it: through the composite, merged or not. */
static void put_run(struct env *e, int step, int series, int window)
{
    int lo, hi;
    model_run(e->model, step, series, window, &lo, &hi);
    buf_clear(&e->blocks);
    struct part p = model_part(e->model, step, series, window, lo, hi, &e->blocks);
    assert_int_equal(warm_put(e->w->warm, &p, 1, NULL, 0, NULL), OK);
}

static void put_random(struct env *e)
{
    struct model *m = e->model;
    put_run(e, (int)model_below(m, MODEL_STEPS), (int)model_below(m, MODEL_SERIES),
            (int)model_below(m, MODEL_WINDOWS));
}

static void check_all(struct env *e)
{
    for (int step = 0; step < MODEL_STEPS; step++)
        for (int series = 0; series < MODEL_SERIES; series++) {
            struct model_view v = {.step = step, .series = series};
            struct err err = ERR_INIT;
            if (warm_read(e->w->warm, (uint32_t)series, model_steps[step], 0, INT64_MAX, model_lay, &v,
                          &err) != OK)
                fail_msg("read: %s", err.text);
            model_check_view(e->model, &v, 0, MODEL_WINDOWS);
        }
}

static int count_part(void *ctx, const struct part *p)
{
    (void)p;
    ++*(size_t *)ctx;
    return 0;
}

/* Parts of windows before until_ms. */
static size_t in_warm(struct env *e, int step, int64_t until_ms)
{
    size_t n = 0;
    assert_int_equal(warm_scan(e->w->store, model_steps[step], 0, until_ms, count_part, &n, NULL), OK);
    return n;
}

static int64_t window_ms(int step, int window)
{
    return window * window_span_ms(model_steps[step]);
}

/* --- tests --- */

static void old_groups_move_and_young_ones_stay(void **state)
{
    struct env *e = *state;
    for (int i = 0; i < 400; i++)
        put_random(e);
    size_t young = in_warm(e, 0, INT64_MAX) - in_warm(e, 0, window_ms(0, 32));
    atomic_store(&e->w->clock.now_ms, window_ms(0, 63));
    assert_int_equal(mover_round(e->w->mover, NULL), OK);
    assert_int_equal(in_warm(e, 0, window_ms(0, 32)), 0);
    assert_int_equal(in_warm(e, 0, INT64_MAX), young); /* the second group has not ended */
    assert_int_equal(in_warm(e, 1, INT64_MAX), 0);     /* those of the finer step are all old by now */
    check_all(e);
    struct mover_stats s;
    mover_get_stats(e->w->mover, &s);
    assert_int_equal(s.rounds, 1);
    assert_int_equal(s.errors, 0);
    assert_true(s.moved_parts > 0 && s.moved_parts == s.removed_parts);
    assert_true(s.moved_slices > 3);
    assert_true(s.merged_packs > 2);
    /* Late points in windows that have moved, and once more. */
    for (int i = 0; i < 100; i++)
        put_random(e);
    check_all(e);
    assert_int_equal(mover_round(e->w->mover, NULL), OK);
    assert_int_equal(in_warm(e, 0, window_ms(0, 32)), 0);
    check_all(e);
    crash_and_start(e, WORLD_KILL);
    check_all(e);
    struct buf text = BUF_INIT;
    metrics_render(e->w->metrics, &text);
    assert_non_null(strstr(buf_str(&text), "carat_mover_rounds_total 2\n"));
    buf_release(&text);
}

/* Something arrives between the copy and the removal: the moves end in the middle of a scan. */
static void late_parts_and_crashes_change_nothing(void **state)
{
    struct env *e = *state;
    struct model *m = e->model;
    for (int i = 0; i < 120; i++) {
        for (uint32_t n = model_below(m, 12); n; n--)
            put_random(e);
        if (model_below(m, 3) == 0)
            assert_int_equal(warm_sync(e->w->warm, NULL), OK);
        atomic_store(&e->w->clock.now_ms, window_ms(0, (int)model_below(m, 110)));
        uint32_t what = model_below(m, 6);
        if (what == 0) { /* the answer of a removal is lost, or nothing is removed */
            warm_fault_add(e->w->faults, &(struct warm_fault_rule){.op = WARM_FAULT_REMOVE,
                                                                   .first = 1 + model_below(m, 6),
                                                                   .count = 1,
                                                                   .code = ERR_IO,
                                                                   .after = model_below(m, 2)});
        } else if (what == 1) {
            sim_fs_fail(e->w->disk, (enum sim_fault)model_below(m, SIM_FAULTS), 1 + model_below(m, 20));
        } else if (what <= 3) {
            sim_fs_cut_after(e->w->disk, 1 + model_below(m, 60));
        }
        int rc = mover_round(e->w->mover, NULL);
        if (what >= 4)
            assert_int_equal(rc, OK);
        warm_fault_clear(e->w->faults);
        /* A fault of the disk may have ended the changes for good, or shows itself in the checks: start
         * again. */
        if (what >= 1 && what <= 3) {
            sim_fs_cut_after(e->w->disk, 0);
            for (int kind = 0; kind < SIM_FAULTS; kind++)
                sim_fs_fail(e->w->disk, (enum sim_fault)kind, 0);
            crash_and_start(e, WORLD_CUT);
        }
        check_all(e);
    }
    atomic_store(&e->w->clock.now_ms, window_ms(0, 1000));
    assert_int_equal(mover_round(e->w->mover, NULL), OK);
    assert_int_equal(in_warm(e, 0, INT64_MAX) + in_warm(e, 1, INT64_MAX), 0);
    check_all(e);
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(e->w->cold, &v, NULL), OK);
}

/* warm forgets what was not synced since; the stream gives it again. */
static void warm_may_lose_its_memory(void **state)
{
    struct env *e = *state;
    struct model *m = e->model;
    for (int i = 0; i < 60; i++) {
        assert_int_equal(warm_sync(e->w->warm, NULL), OK);
        struct run {
            int step, series, window;
        } runs[10];
        for (size_t k = 0; k < ARRAY_LEN(runs); k++) {
            runs[k] = (struct run){(int)model_below(m, MODEL_STEPS), (int)model_below(m, MODEL_SERIES),
                                   (int)model_below(m, MODEL_WINDOWS)};
            put_run(e, runs[k].step, runs[k].series, runs[k].window);
        }
        atomic_store(&e->w->clock.now_ms, window_ms(0, (int)model_below(m, 110)));
        assert_int_equal(mover_round(e->w->mover, NULL), OK);
        check_all(e);
        if (model_below(m, 2))
            warm_mem_cut(e->w->store);
        for (size_t k = 0; k < ARRAY_LEN(runs); k++) { /* from the checkpoint on, to where it was */
            int hi = MODEL_WRITES;
            while (!m->w[runs[k].step][runs[k].series][runs[k].window].covered[hi])
                hi--;
            buf_clear(&e->blocks);
            struct part p = model_part(m, runs[k].step, runs[k].series, runs[k].window, 1, hi, &e->blocks);
            assert_int_equal(warm_put(e->w->warm, &p, 1, NULL, 0, NULL), OK);
        }
        check_all(e);
    }
}

static void what_is_too_old_goes_from_both(void **state)
{
    struct env *e = *state;
    for (int w = 0; w < MODEL_WINDOWS; w++)
        put_run(e, 0, 1, w);
    atomic_store(&e->w->clock.now_ms, window_ms(0, 64));
    assert_int_equal(mover_round(e->w->mover, NULL), OK);
    check_all(e);
    e->keep_ms[0] = window_ms(0, 36);
    atomic_store(&e->w->clock.now_ms, window_ms(0, 100)); /* 64 windows too old */
    assert_int_equal(mover_round(e->w->mover, NULL), OK);
    memset(e->model->w[0][1], 0, 64 * sizeof e->model->w[0][1][0]);
    check_all(e);
    struct cold_stats s;
    cold_get_stats(e->w->cold, &s);
    assert_true(s.expired_packs > 0);
    struct cold_read_seen {
        size_t n;
    } seen = {0};
    assert_int_equal(cold_read(e->w->cold, 1, model_steps[0], 0, INT64_MAX, count_part, &seen.n, NULL), OK);
    assert_int_equal(seen.n, MODEL_WINDOWS - 64);
}

/* A sync of warm failed: nothing can be removed from it any more, so nothing is copied over and over. */
static void a_warm_that_gave_up_is_left_alone(void **state)
{
    struct env *e = *state;
    put_run(e, 0, 1, 1);
    warm_fault_add(e->w->faults,
                   &(struct warm_fault_rule){.op = WARM_FAULT_SYNC, .first = 1, .count = 1, .code = ERR_IO});
    assert_int_equal(warm_sync(e->w->faults, NULL), ERR_IO);
    atomic_store(&e->w->clock.now_ms, window_ms(0, 64));
    for (int i = 0; i < 3; i++)
        assert_int_equal(mover_round(e->w->mover, NULL), ERR_FAILED);
    struct cold_stats s;
    cold_get_stats(e->w->cold, &s);
    assert_int_equal(s.packs, 0);
    check_all(e);
}

struct checked {
    size_t parts, damaged;
    struct part_key key;
};

static int checked_part(void *ctx, const struct part *p)
{
    (void)p;
    ((struct checked *)ctx)->parts++;
    return 0;
}

static void checked_damage(void *ctx, const struct part_key *key, const char *why)
{
    struct checked *c = ctx;
    assert_non_null(strstr(why, "checksum"));
    c->key = *key;
    c->damaged++;
}

static void damage_in_warm_holds_nothing_up(void **state)
{
    struct env *e = *state;
    for (int w = 0; w < 10; w++)
        put_run(e, 0, 1, w);
    int hi = MODEL_WRITES;
    while (!e->model->w[0][1][4].covered[hi])
        hi--;
    struct part_key key = {1, model_steps[0], window_ms(0, 4), (uint64_t)hi};
    assert_int_equal(warm_mem_damage(e->w->store, &key), 0);
    atomic_store(&e->w->clock.now_ms, window_ms(0, 64));
    assert_int_equal(mover_round(e->w->mover, NULL), ERR_CORRUPT);
    size_t n = 0;
    assert_int_equal(cold_read(e->w->cold, 1, model_steps[0], 0, INT64_MAX, count_part, &n, NULL), OK);
    assert_int_equal(n, 9);
    assert_int_equal(warm_read(e->w->warm, 1, model_steps[0], 0, INT64_MAX, count_part, &n, NULL),
                     ERR_CORRUPT);
    struct checked c = {0};
    assert_int_equal(
        warm_check(e->w->warm, 1, model_steps[0], 0, INT64_MAX, checked_part, checked_damage, &c, NULL),
        ERR_CORRUPT);
    assert_int_equal(c.parts, 9);
    assert_int_equal(c.damaged, 1);
    assert_true(c.key.series == key.series && c.key.window_ms == key.window_ms && c.key.hi == key.hi);
}

/* --- with threads --- */

struct reading {
    struct env *e;
    _Atomic bool stop;
    _Atomic uint64_t rounds;
};

static void *read_all_the_time(void *arg)
{
    struct reading *r = arg;
    while (!atomic_load(&r->stop)) {
        check_all(r->e);
        atomic_fetch_add(&r->rounds, 1);
    }
    return NULL;
}

/* The model stands still while windows move, merge and come back: every read is right. */
static void reads_beside_the_mover_are_right(void **state)
{
    struct env *e = *state;
    struct reading r = {.e = e};
    pthread_t thread;
    for (int i = 0; i < 300; i++)
        put_random(e);
    assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, &r), 0);
    assert_int_equal(mover_start(e->w->mover, NULL), OK);
    for (int w = 0; w < 110; w += 10) {
        uint64_t rounds = atomic_load(&r.rounds);
        struct mover_stats before, now;
        mover_get_stats(e->w->mover, &before);
        atomic_store(&e->w->clock.now_ms, window_ms(0, w));
        /* What is in warm already, once more: it has to move again. */
        for (int i = 0; i < 5; i++) {
            int series = i, hi = MODEL_WRITES;
            while (hi && !e->model->w[0][series][w % MODEL_WINDOWS].covered[hi])
                hi--;
            if (!hi)
                continue;
            buf_clear(&e->blocks);
            struct part p = model_part(e->model, 0, series, w % MODEL_WINDOWS, 1, hi, &e->blocks);
            assert_int_equal(warm_put(e->w->warm, &p, 1, NULL, 0, NULL), OK);
        }
        do {
            usleep(500);
            mover_get_stats(e->w->mover, &now);
        } while (atomic_load(&r.rounds) < rounds + 2 || now.rounds < before.rounds + 2);
    }
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    mover_stop(e->w->mover);
    check_all(e);
}

/* Parts arrive at any moment of a move: between the copy and the removal, too. */
static void late_parts_arrive_during_moves(void **state)
{
    struct env *e = *state;
    struct mover_stats s;
    atomic_store(&e->w->clock.now_ms, window_ms(0, 1000));
    assert_int_equal(mover_start(e->w->mover, NULL), OK);
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 4; k++)
            put_random(e);
        if (i % 8 == 0)
            check_all(e);
    }
    do {
        usleep(500);
        mover_get_stats(e->w->mover, &s);
    } while (s.rounds < 4);
    mover_stop(e->w->mover);
    assert_int_equal(s.errors, 0);
    check_all(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(old_groups_move_and_young_ones_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(late_parts_and_crashes_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(warm_may_lose_its_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_too_old_goes_from_both, setup, teardown),
        cmocka_unit_test_setup_teardown(a_warm_that_gave_up_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_warm_holds_nothing_up, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_beside_the_mover_are_right, setup, teardown),
        cmocka_unit_test_setup_teardown(late_parts_arrive_during_moves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
