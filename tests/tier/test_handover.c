/* Several writers on one stream: a lane goes from one to the other and back while points come in. */
#include "base/mem.h"
#include "reader/reader.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tier/world.h"

#define LANES   2
#define WRITERS 2
#define SERIES  6
#define POINTS  400
#define STEP    60000
#define NOBODY  (-1)

static const struct retention kept = {"test", 1, {{STEP, 2000ll * 86400000}}};

static const struct retention *archives(void *ctx, uint32_t series)
{
    return &kept;
}

struct who {
    int number;
    _Atomic int *owner; /* of each lane */
    _Atomic int *lapse; /* of each lane: the n-th question of its thread from now is answered with no */
};

static uint64_t owns(void *ctx, unsigned lane)
{
    const struct who *who = ctx;
    char thread[16];
    /* A lease that ran out, and that nobody had taken when its owner was there again. */
    if (atomic_load(&who->lapse[lane]) > 0 &&
        pthread_getname_np(pthread_self(), thread, sizeof thread) == 0 && strcmp(thread, "carat-lane") == 0 &&
        atomic_fetch_sub(&who->lapse[lane], 1) == 1)
        return 0;
    return atomic_load(&who->owner[lane]) == who->number;
}

struct env {
    _Atomic int owner[LANES];
    _Atomic int lapse[LANES];
    struct who who[WRITERS];
    struct world *w;
    struct writer *second;
    struct metrics *metrics; /* of the second */
    int64_t t0;
};

static double held(struct metrics *m)
{
    struct buf b = BUF_INIT;
    metrics_render(m, &b);
    const char *at = strstr(buf_str(&b), "\ncarat_writer_partitions ");
    double v = at ? strtod(at + 25, NULL) : -1;
    buf_release(&b);
    return v;
}

static void nap(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void wait_held(struct env *e, double sum)
{
    for (int i = 0; held(e->w->metrics) + held(e->metrics) != sum; i++, nap())
        assert_true(i < 60000);
}

static struct env *env_new(void)
{
    struct env *e = xcalloc(1, sizeof *e);
    for (int i = 0; i < WRITERS; i++)
        e->who[i] = (struct who){i, e->owner, e->lapse};
    struct world_options o = {
        .lanes = LANES,
        .threads = true,
        .archives = archives,
        .writer = {.round_ms = 1,
                   .max_unflushed_ms = 3600000,
                   .checkpoint_ms = 1,
                   .owns = owns,
                   .owns_ctx = &e->who[0]},
    };
    o.now_ms = clock_wall_ms(clock_system());
    e->t0 = clock_wall_ms(clock_system()) / STEP * STEP - (int64_t)POINTS * STEP;
    for (int i = 0; i < LANES; i++)
        e->owner[i] = 0;
    e->w = world_new(&o);
    e->metrics = metrics_new();
    char path[128];
    snprintf(path, sizeof path, "%s/second.positions", e->w->dir);
    struct writer_options second = {
        .catalog = e->w->catalog,
        .stream = e->w->stream,
        .lanes = e->w->lanes,
        .hot = e->w->hot,
        .warm = e->w->warm,
        .clock = clock_system(),
        .metrics = e->metrics,
        .fs = fs_posix(),
        .state_path = path,
        .round_ms = 1,
        .max_unflushed_ms = 3600000,
        .checkpoint_ms = 1,
        .hot_max_bytes = 1 << 30,
        .archives = archives,
        .owns = owns,
        .owns_ctx = &e->who[1],
    };
    struct err err = ERR_INIT;
    if (writer_start(&second, &e->second, &err) != OK)
        fail_msg("%s", err.text);
    return e;
}

static void env_free(struct env *e)
{
    writer_free(e->second);
    world_free(e->w);
    metrics_free(e->metrics);
    free(e);
}

static double value_of(int series, int slot, int pass)
{
    return series * 1000 + slot + pass * 0.25;
}

/* Some slots are written again later, by then perhaps by the other writer. */
static void submit(struct env *e, int slot)
{
    for (int s = 0; s < SERIES; s++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", s);
        world_add(e->w, name, e->t0 + (int64_t)slot * STEP, value_of(s, slot, 0));
        if (slot % 7 == 0 && slot >= 60)
            world_add(e->w, name, e->t0 + (int64_t)(slot - 60) * STEP, value_of(s, slot - 60, 1));
    }
    world_submit(e->w);
}

/* The last one lets go before the next one begins, as a lease that ran out is over for its holder first. */
static void hand_over(struct env *e, unsigned lane)
{
    int from = atomic_exchange(&e->owner[lane], NOBODY);
    wait_held(e, LANES - 1);
    atomic_store(&e->owner[lane], 1 - from);
    wait_held(e, LANES);
}

static int64_t behind(struct env *e)
{
    int64_t n = 0;
    for (unsigned i = 0; i < LANES; i++) {
        struct writer *w = atomic_load(&e->owner[i]) ? e->second : e->w->writer;
        n += (int64_t)(stream_synced_pos(e->w->stream, i) - writer_applied(w, i));
    }
    return n;
}

static void every_point_is_there_once(struct env *e)
{
    for (int i = 0; behind(e) > 0; i++, nap())
        assert_true(i < 60000);
    for (int s = 0; s < SERIES; s++) {
        char name[16];
        struct column c;
        struct read_report report = {0};
        struct err err = ERR_INIT;
        snprintf(name, sizeof name, "s%d", s);
        assert_int_equal(reader_fetch(e->w->reader, world_id(e->w, name), e->t0,
                                      e->t0 + (int64_t)POINTS * STEP, 100000, &c, &report, &err),
                         OK);
        assert_int_equal(c.n, POINTS);
        for (int i = 0; i < POINTS; i++) {
            bool again = (i + 60) % 7 == 0 && i + 60 < POINTS;
            if (c.values[i] != value_of(s, i, again))
                fail_msg("series %d slot %d: %g, not %g", s, i, c.values[i], value_of(s, i, again));
        }
        free(c.values);
    }
}

static void lanes_change_hands_without_a_loss(void **state)
{
    struct env *e = env_new();
    wait_held(e, LANES);
    for (int slot = 0; slot < POINTS; slot++) {
        submit(e, slot);
        if (slot % 20 == 19)
            hand_over(e, (unsigned)(slot / 20) % LANES);
    }
    every_point_is_there_once(e);
    env_free(e);
}

/* The thread waits for a record when its lease lapses, so it asks next with the record in its hand. */
static void leases_that_lapse_lose_nothing(void **state)
{
    struct env *e = env_new();
    wait_held(e, LANES);
    for (int slot = 0; slot < POINTS; slot++) {
        for (unsigned i = 0; slot % 20 == 0 && i < LANES; i++)
            atomic_store(&e->lapse[i], 1 + slot / 20 % 3);
        submit(e, slot);
        for (int i = 0; behind(e) > 0; i++, nap())
            assert_true(i < 10000);
    }
    every_point_is_there_once(e);
    env_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leases_that_lapse_lose_nothing),
        cmocka_unit_test(lanes_change_hands_without_a_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
