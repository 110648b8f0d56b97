/* Replays beside normal traffic: what is right stays as it is, what is damaged or gone comes back, whatever
 * is killed or damaged when. */
#include "base/hash.h"
#include "base/mem.h"
#include "hot/hot_mem.h"
#include "warm/warm_mem.h"
#include "writer/replay.h"
#include "writer/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/world.h"

#define SERIES 6
#define SLOTS  960 /* four windows of a minute's step */
#define STEP   60000
#define SPAN   (240 * (int64_t)STEP)
#define T0     (14400000ll * 124000)

struct env {
    struct world *w;
    bool present[SERIES][SLOTS];
    double value[SERIES][SLOTS];
    unsigned random;
};

static int pick(struct env *e, int n)
{
    return (int)((unsigned)rand_r(&e->random) % (unsigned)n);
}

static struct env *env_new(unsigned lanes)
{
    struct env *e = xcalloc(1, sizeof *e);
    e->random = (unsigned)getpid() * 2654435761u ^ (unsigned)clock_wall_ms(clock_system());
    print_message("# seed %u\n", e->random);
    struct world_options o = {
        .lanes = lanes,
        .threads = true,
        .now_ms = T0 + SLOTS * (int64_t)STEP,
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
    snprintf(name, 64, "replay.series%d.value", series);
}

static void add(struct env *e, int series, int slot, double v)
{
    char name[64];
    series_name(series, name);
    world_add(e->w, name, T0 + slot * (int64_t)STEP, v);
    e->present[series][slot] = true;
    e->value[series][slot] = v;
}

/* Mostly new points, some of them late, and slots written again with another value. */
static void post(struct env *e, int now_slot)
{
    for (int i = pick(e, 60); i >= 0; i--) {
        int slot = pick(e, 3) ? now_slot - pick(e, 4) : pick(e, SLOTS);
        slot = slot < 0 ? 0 : slot >= SLOTS ? SLOTS - 1 : slot;
        add(e, pick(e, SERIES), slot, pick(e, 1000) / 8.0);
    }
    world_submit(e->w);
}

static uint32_t series_id(struct env *e, int series)
{
    char name[64];
    series_name(series, name);
    return world_id(e->w, name);
}

static int count_wrong(struct env *e, bool *damaged)
{
    int wrong = 0;
    *damaged = false;
    for (int s = 0; s < SERIES; s++) {
        struct column c = {0};
        struct read_report report = {0};
        struct err err = ERR_INIT;
        uint32_t id = series_id(e, s);
        if (id)
            assert_int_equal(
                reader_fetch(e->w->reader, id, T0, T0 + SLOTS * (int64_t)STEP, SLOTS, &c, &report, &err), OK);
        *damaged |= report.incomplete;
        for (int i = 0; i < SLOTS; i++) {
            double v = id ? c.values[i] : column_missing();
            wrong += e->present[s][i] ? f64_bits(v) != f64_bits(e->value[s][i]) : !column_is_missing(v);
        }
        free(c.values);
    }
    return wrong;
}

/* What was acknowledged is readable a moment later. */
static void check_all(struct env *e)
{
    bool damaged;
    int wrong = 1;
    for (int i = 0; i < 3000 && wrong; i++) {
        wrong = count_wrong(e, &damaged);
        if (wrong)
            usleep(1000);
    }
    assert_int_equal(wrong, 0);
    assert_false(damaged);
}

/* --- replaying --- */

static uint64_t on_applied(void *ctx, unsigned lane)
{
    struct env *e = ctx;
    return writer_applied(e->w->writer, lane);
}

static int on_read(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct column *out,
                   struct err *err)
{
    struct env *e = ctx;
    struct read_report report = {0};
    int rc = reader_fetch(e->w->reader, series, from_ms, until_ms, 1000, out, &report, err);
    if (rc == OK && report.incomplete) {
        *err = report.why;
        rc = report.why.code;
    }
    return rc;
}

static int64_t all_is_kept(void *ctx)
{
    return INT64_MIN;
}

static int64_t first_window_is_not(void *ctx)
{
    return T0 + SPAN;
}

static struct replay_options options(struct env *e)
{
    return (struct replay_options){.catalog = e->w->catalog,
                                   .stream = e->w->stream,
                                   .lanes = e->w->lanes,
                                   .warm = e->w->warm,
                                   .clock = clock_system(),
                                   .store_lock = writer_store_lock(e->w->writer),
                                   .hot_new = hot_mem_new,
                                   .applied = on_applied,
                                   .read = on_read,
                                   .kept_since_ms = all_is_kept,
                                   .ctx = e,
                                   .max_windows = 5 /* several rounds and passes */};
}

static struct replay_result replay(struct env *e, const struct replay_options *o)
{
    struct replay_result r;
    struct err err = ERR_INIT;
    int rc = replay_run(o, &r, &err);
    if (rc)
        fail_msg("replay: %s %s", status_name(rc), err.text);
    return r;
}

struct keys {
    struct part_key v[1000];
    size_t n;
};

static int on_part(void *ctx, const struct part *p)
{
    struct keys *k = ctx;
    if (k->n < 1000)
        k->v[k->n++] = p->key;
    return 0;
}

static void stored_keys(struct env *e, struct keys *k)
{
    struct err err;
    k->n = 0;
    for (int s = 0; s < SERIES; s++)
        if (series_id(e, s))
            (void)!warm_read(e->w->warm, series_id(e, s), STEP, 0, INT64_MAX, on_part, k, &err);
}

/* Damages or removes about one part in `one_in`. Returns how many. */
static size_t harm(struct env *e, int one_in, bool may_remove)
{
    struct keys k;
    struct err err;
    size_t n = 0;
    stored_keys(e, &k);
    for (size_t i = 0; i < k.n; i++) {
        if (pick(e, one_in))
            continue;
        n++;
        if (may_remove && pick(e, 2))
            assert_int_equal(warm_put(e->w->warm, NULL, 0, &k.v[i], 1, &err), OK);
        else if (warm_mem_damage(e->w->store, &k.v[i]) < 0)
            n--; /* the flusher has just replaced it */
    }
    return n;
}

static void fill(struct env *e, int posts)
{
    for (int i = 0; i < posts; i++)
        post(e, i * SLOTS / posts);
}

static void what_is_right_is_left_alone(void **state)
{
    struct env *e = env_new(2);
    fill(e, 60);
    world_wait_flushed(e->w);
    struct warm_stats before, after;
    warm_get_stats(e->w->warm, &before);
    struct replay_options o = options(e);
    struct replay_result r = replay(e, &o);
    warm_get_stats(e->w->warm, &after);
    assert_true(r.compared >= SERIES * 4);
    assert_int_equal(r.mended, 0);
    assert_int_equal(after.puts, before.puts);
    check_all(e);
    env_free(e);
}

static void damaged_and_lost_parts_come_back(void **state)
{
    struct env *e = env_new(1);
    fill(e, 60);
    world_wait_flushed(e->w);
    bool damaged;
    size_t harmed = harm(e, 1, true);
    assert_true(harmed > 0);
    assert_true(count_wrong(e, &damaged) > 0);
    struct replay_options o = options(e);
    struct replay_result r = replay(e, &o);
    assert_true(r.mended > 0);
    assert_int_equal(r.left, 0);
    check_all(e);
    assert_int_equal(replay(e, &o).wanting, 0); /* and no damage is left behind */
    world_crash(e->w, WORLD_KILL);              /* what was mended is durable */
    world_start(e->w);
    check_all(e);
    env_free(e);
}

static void only_what_was_asked_for(void **state)
{
    struct env *e = env_new(1);
    fill(e, 40);
    world_wait_flushed(e->w);
    assert_true(harm(e, 1, false) > 0);
    struct replay_options o = options(e);
    o.series = "replay.series[01].*";
    struct replay_result r = replay(e, &o);
    assert_true(r.mended > 0);
    for (int s = 0; s < SERIES; s++) {
        struct column c = {0};
        struct err err;
        assert_int_equal(on_read(e, series_id(e, s), T0, T0 + SPAN, &c, &err), s < 2 ? OK : ERR_CORRUPT);
        free(c.values);
    }
    struct err err = ERR_INIT;
    o.series = "no.such";
    assert_int_equal(replay_run(&o, &r, &err), ERR_NOT_FOUND);
    o.series = NULL;
    o.to_ms = 1; /* before everything */
    assert_int_equal(replay(e, &o).records, 0);
    env_free(e);
}

static void what_the_stream_may_not_have_whole_stays_damaged(void **state)
{
    struct env *e = env_new(1);
    fill(e, 40);
    world_wait_flushed(e->w);
    assert_true(harm(e, 1, false) > 0);
    struct replay_options o = options(e);
    o.kept_since_ms = first_window_is_not;
    struct replay_result r = replay(e, &o);
    assert_true(r.left >= SERIES);
    struct column c = {0};
    struct err err;
    assert_int_equal(on_read(e, series_id(e, 0), T0, T0 + SPAN, &c, &err), ERR_CORRUPT);
    free(c.values);
    assert_int_equal(on_read(e, series_id(e, 0), T0 + SPAN, T0 + 2 * SPAN, &c, &err), OK);
    free(c.values);
    env_free(e);
}

static struct verify_result verify(struct env *e, const struct replay_options *repair)
{
    struct verify_options o = {.catalog = e->w->catalog,
                               .stream = e->w->stream,
                               .lanes = e->w->lanes,
                               .warm = e->w->warm,
                               .clock = clock_system(),
                               .ctx = e,
                               .repair = repair};
    struct verify_result r;
    struct err err = ERR_INIT;
    assert_int_equal(verify_run(&o, &r, &err), OK);
    return r;
}

static void verify_finds_and_repairs(void **state)
{
    struct env *e = env_new(2);
    fill(e, 40);
    world_wait_flushed(e->w);
    struct verify_result good = verify(e, NULL);
    assert_int_equal(good.damaged, 0);
    assert_int_equal(good.series, SERIES);
    assert_true(good.records >= 40 && good.parts >= SERIES * 4);
    size_t harmed = harm(e, 3, false);
    struct verify_result bad = verify(e, NULL);
    assert_int_equal(bad.damaged, harmed); /* a window is one part once all is at rest */
    assert_int_equal(bad.n, harmed);
    assert_string_equal(bad.items[0].tier, "warm");
    struct replay_options o = options(e);
    struct verify_result repaired = verify(e, &o);
    assert_int_equal(repaired.damaged, harmed);
    assert_int_equal(repaired.repaired, harmed);
    assert_true(repaired.items[0].repaired);
    check_all(e);
    verify_result_release(&good);
    verify_result_release(&bad);
    verify_result_release(&repaired);
    env_free(e);
}

static bool at_once(void *ctx)
{
    return true;
}

static void can_be_cancelled(void **state)
{
    struct env *e = env_new(1);
    fill(e, 70);
    world_wait_flushed(e->w);
    struct replay_options o = options(e);
    o.cancelled = at_once;
    struct replay_result r;
    struct err err = ERR_INIT;
    assert_int_equal(replay_run(&o, &r, &err), ERR_CLOSED);
    check_all(e);
    env_free(e);
}

/* Replays, damage and kills at any moment. Parts are not removed here: a removal that nothing shows is no
 * fault that disks have, and a later merge may then hide what was lost. */
static void nothing_is_lost_or_doubled_at_any_moment(void **state)
{
    struct env *e = env_new(*(unsigned *)*state);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 25; i++) {
            post(e, (round * 25 + i) * SLOTS / 250);
            if (pick(e, 6) == 0)
                usleep((unsigned)pick(e, 15000)); /* windows are flushed meanwhile */
            if (pick(e, 8) == 0)
                harm(e, 4, false);
            if (pick(e, 5) == 0) {
                struct replay_options o = options(e);
                o.max_windows = 1 + (size_t)pick(e, 30);
                o.from = (struct stream_start){.from = STREAM_POSITION, .from_pos = (uint64_t)pick(e, 200)};
                replay(e, &o);
            }
        }
        if (pick(e, 2)) {
            world_crash(e->w, WORLD_KILL);
            world_start(e->w);
        }
    }
    world_wait_flushed(e->w);
    struct replay_options o = options(e);
    o.from = (struct stream_start){.from = STREAM_OLDEST};
    replay(e, &o);
    check_all(e);
    env_free(e);
}

int main(void)
{
    static unsigned one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_right_is_left_alone),
        cmocka_unit_test(damaged_and_lost_parts_come_back),
        cmocka_unit_test(only_what_was_asked_for),
        cmocka_unit_test(what_the_stream_may_not_have_whole_stays_damaged),
        cmocka_unit_test(verify_finds_and_repairs),
        cmocka_unit_test(can_be_cancelled),
        {"at_any_moment_one_lane", nothing_is_lost_or_doubled_at_any_moment, NULL, NULL, &one},
        {"at_any_moment_three_lanes", nothing_is_lost_or_doubled_at_any_moment, NULL, NULL, &three},
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
