/* Replays beside normal traffic: what is right stays as it is, what is damaged or gone comes back, whatever
 * is killed or damaged when. */
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"
#include "hot/hot_mem.h"
#include "ingest/sink.h"
#include "reader/reader.h"
#include "stream/stream_mem.h"
#include "warm/warm_mem.h"
#include "writer/replay.h"
#include "writer/verify.h"
#include "writer/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERIES 6
#define SLOTS  960 /* four windows of a minute's step */
#define STEP   60000
#define SPAN   (240 * (int64_t)STEP)
#define T0     (14400000ll * 124000)

struct world {
    char dir[64];
    unsigned lanes;
    struct stream *stream;
    struct warm *warm;
    struct clock_fake clock;
    struct metrics *metrics;
    /* of a process */
    struct catalog *catalog;
    struct hot *hot;
    struct writer *writer;
    struct reader *reader;
    struct sink *sink;
    struct sink_session *session;
    struct sample_batch batch;
    /* the model */
    bool present[SERIES][SLOTS];
    double value[SERIES][SLOTS];
    unsigned random;
};

static int pick(struct world *w, int n)
{
    return (int)((unsigned)rand_r(&w->random) % (unsigned)n);
}

static int64_t no_limit(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return 0;
}

static void process_start(struct world *w)
{
    struct err err = ERR_INIT;
    char path[128];
    struct catalog_store *store;
    snprintf(path, sizeof path, "%s/catalog.db", w->dir);
    assert_int_equal(catalog_store_sqlite_open(path, &store, &err), OK);
    struct catalog_options co = {.store = store};
    assert_int_equal(catalog_open(&co, &w->catalog, &err), OK);
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
                                .hot_max_bytes = 1u << 30};
    assert_int_equal(writer_start(&wo, &w->writer, &err), OK);
    struct reader_options ro = {.catalog = w->catalog, .hot = w->hot, .warm = w->warm};
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

static void process_kill(struct world *w)
{
    sink_session_free(w->session);
    sink_free(w->sink);
    reader_free(w->reader);
    writer_free(w->writer);
    hot_free(w->hot);
    catalog_free(w->catalog);
    warm_mem_cut(w->warm);
}

static struct world *world_new(unsigned lanes)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->random = (unsigned)getpid() * 2654435761u ^ (unsigned)clock_wall_ms(clock_system());
    print_message("seed %u\n", w->random);
    snprintf(w->dir, sizeof w->dir, "/tmp/carat-replay-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    clock_fake_init(&w->clock, T0 + SLOTS * (int64_t)STEP);
    w->lanes = lanes;
    w->metrics = metrics_new();
    w->stream = stream_mem_new(lanes, 1u << 20, clock_system());
    w->warm = warm_mem_new(NULL);
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
    warm_free(w->warm);
    metrics_free(w->metrics);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", w->dir);
    assert_int_equal(system(cmd), 0);
    free(w);
}

static void on_done(void *ctx, const struct sink_result *r)
{
    assert_int_equal(r->status, OK);
    atomic_store((_Atomic int *)ctx, 1);
}

static int series_name(int series, char name[64])
{
    return snprintf(name, 64, "replay.series%d.value", series);
}

static void add(struct world *w, int series, int slot, double v)
{
    char name[64];
    int len = series_name(series, name);
    struct sample *s = sample_batch_add(&w->batch);
    *s = (struct sample){arena_strndup(&w->batch.names, name, (size_t)len), (uint32_t)len,
                         hash_bytes(name, (size_t)len), T0 + slot * (int64_t)STEP, v};
    w->present[series][slot] = true;
    w->value[series][slot] = v;
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

static uint32_t series_id(struct world *w, int series)
{
    char name[64];
    int len = series_name(series, name);
    return catalog_lookup(w->catalog, name, (size_t)len).id;
}

static int count_wrong(struct world *w, bool *damaged)
{
    int wrong = 0;
    *damaged = false;
    for (int s = 0; s < SERIES; s++) {
        struct column c = {0};
        struct read_report report = {0};
        struct err err = ERR_INIT;
        uint32_t id = series_id(w, s);
        if (id)
            assert_int_equal(
                reader_fetch(w->reader, id, T0, T0 + SLOTS * (int64_t)STEP, SLOTS, &c, &report, &err), OK);
        *damaged |= report.incomplete;
        for (int i = 0; i < SLOTS; i++) {
            double v = id ? c.values[i] : column_missing();
            wrong += w->present[s][i] ? f64_bits(v) != f64_bits(w->value[s][i]) : !column_is_missing(v);
        }
        free(c.values);
    }
    return wrong;
}

/* What was acknowledged is readable a moment later. */
static void check_all(struct world *w)
{
    bool damaged;
    int wrong = 1;
    for (int i = 0; i < 3000 && wrong; i++) {
        wrong = count_wrong(w, &damaged);
        if (wrong)
            usleep(1000);
    }
    assert_int_equal(wrong, 0);
    assert_false(damaged);
}

/* Until all is applied, and nothing is in hot. */
static void settle(struct world *w)
{
    struct hot_stats stats;
    for (int i = 0; i < 10000; i++) {
        uint64_t behind = 0;
        for (unsigned l = 0; l < w->lanes; l++)
            behind += writer_applied(w->writer, l) < stream_synced_pos(w->stream, l);
        hot_get_stats(w->hot, &stats);
        if (!behind && !stats.windows)
            return;
        usleep(1000);
    }
    fail_msg("hot does not empty");
}

/* --- replaying --- */

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

static int64_t all_is_kept(void *ctx)
{
    return INT64_MIN;
}

static int64_t first_window_is_not(void *ctx)
{
    return T0 + SPAN;
}

static struct replay_options options(struct world *w)
{
    return (struct replay_options){.catalog = w->catalog,
                                   .stream = w->stream,
                                   .lanes = w->lanes,
                                   .warm = w->warm,
                                   .clock = clock_system(),
                                   .store_lock = writer_store_lock(w->writer),
                                   .hot_new = hot_mem_new,
                                   .applied = on_applied,
                                   .read = on_read,
                                   .kept_since_ms = all_is_kept,
                                   .ctx = w,
                                   .max_windows = 5 /* several rounds and passes */};
}

static struct replay_result replay(struct world *w, const struct replay_options *o)
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

static void stored_keys(struct world *w, struct keys *k)
{
    struct err err;
    k->n = 0;
    for (int s = 0; s < SERIES; s++)
        if (series_id(w, s))
            (void)!warm_read(w->warm, series_id(w, s), STEP, 0, INT64_MAX, on_part, k, &err);
}

/* Damages or removes about one part in `one_in`. Returns how many. */
static size_t harm(struct world *w, int one_in, bool may_remove)
{
    struct keys k;
    struct err err;
    size_t n = 0;
    stored_keys(w, &k);
    for (size_t i = 0; i < k.n; i++) {
        if (pick(w, one_in))
            continue;
        n++;
        if (may_remove && pick(w, 2))
            assert_int_equal(warm_put(w->warm, NULL, 0, &k.v[i], 1, &err), OK);
        else if (warm_mem_damage(w->warm, &k.v[i]) < 0)
            n--; /* the flusher has just replaced it */
    }
    return n;
}

static void fill(struct world *w, int posts)
{
    for (int i = 0; i < posts; i++)
        post(w, i * SLOTS / posts);
}

static void what_is_right_is_left_alone(void **state)
{
    struct world *w = world_new(2);
    fill(w, 60);
    settle(w);
    struct warm_stats before, after;
    warm_get_stats(w->warm, &before);
    struct replay_options o = options(w);
    struct replay_result r = replay(w, &o);
    warm_get_stats(w->warm, &after);
    assert_true(r.compared >= SERIES * 4);
    assert_int_equal(r.mended, 0);
    assert_int_equal(after.puts, before.puts);
    check_all(w);
    world_free(w);
}

static void damaged_and_lost_parts_come_back(void **state)
{
    struct world *w = world_new(1);
    fill(w, 60);
    settle(w);
    bool damaged;
    size_t harmed = harm(w, 1, true);
    assert_true(harmed > 0);
    assert_true(count_wrong(w, &damaged) > 0);
    struct replay_options o = options(w);
    struct replay_result r = replay(w, &o);
    assert_true(r.mended > 0);
    assert_int_equal(r.left, 0);
    check_all(w);
    assert_int_equal(replay(w, &o).wanting, 0); /* and no damage is left behind */
    process_kill(w);                            /* what was mended is durable */
    process_start(w);
    check_all(w);
    world_free(w);
}

static void only_what_was_asked_for(void **state)
{
    struct world *w = world_new(1);
    fill(w, 40);
    settle(w);
    assert_true(harm(w, 1, false) > 0);
    struct replay_options o = options(w);
    o.series = "replay.series[01].*";
    struct replay_result r = replay(w, &o);
    assert_true(r.mended > 0);
    for (int s = 0; s < SERIES; s++) {
        struct column c = {0};
        struct err err;
        assert_int_equal(on_read(w, series_id(w, s), T0, T0 + SPAN, &c, &err), s < 2 ? OK : ERR_CORRUPT);
        free(c.values);
    }
    struct err err = ERR_INIT;
    o.series = "no.such";
    assert_int_equal(replay_run(&o, &r, &err), ERR_NOT_FOUND);
    o.series = NULL;
    o.to_ms = 1; /* before everything */
    assert_int_equal(replay(w, &o).records, 0);
    world_free(w);
}

static void what_the_stream_may_not_have_whole_stays_damaged(void **state)
{
    struct world *w = world_new(1);
    fill(w, 40);
    settle(w);
    assert_true(harm(w, 1, false) > 0);
    struct replay_options o = options(w);
    o.kept_since_ms = first_window_is_not;
    struct replay_result r = replay(w, &o);
    assert_true(r.left >= SERIES);
    struct column c = {0};
    struct err err;
    assert_int_equal(on_read(w, series_id(w, 0), T0, T0 + SPAN, &c, &err), ERR_CORRUPT);
    free(c.values);
    assert_int_equal(on_read(w, series_id(w, 0), T0 + SPAN, T0 + 2 * SPAN, &c, &err), OK);
    free(c.values);
    world_free(w);
}

static struct verify_result verify(struct world *w, const struct replay_options *repair)
{
    struct verify_options o = {.catalog = w->catalog,
                               .stream = w->stream,
                               .lanes = w->lanes,
                               .warm = w->warm,
                               .clock = clock_system(),
                               .ctx = w,
                               .repair = repair};
    struct verify_result r;
    struct err err = ERR_INIT;
    assert_int_equal(verify_run(&o, &r, &err), OK);
    return r;
}

static void verify_finds_and_repairs(void **state)
{
    struct world *w = world_new(2);
    fill(w, 40);
    settle(w);
    struct verify_result good = verify(w, NULL);
    assert_int_equal(good.damaged, 0);
    assert_int_equal(good.series, SERIES);
    assert_true(good.records >= 40 && good.parts >= SERIES * 4);
    size_t harmed = harm(w, 3, false);
    struct verify_result bad = verify(w, NULL);
    assert_int_equal(bad.damaged, harmed); /* a window is one part once all is at rest */
    assert_int_equal(bad.n, harmed);
    assert_string_equal(bad.items[0].tier, "warm");
    struct replay_options o = options(w);
    struct verify_result repaired = verify(w, &o);
    assert_int_equal(repaired.damaged, harmed);
    assert_int_equal(repaired.repaired, harmed);
    assert_true(repaired.items[0].repaired);
    check_all(w);
    verify_result_release(&good);
    verify_result_release(&bad);
    verify_result_release(&repaired);
    world_free(w);
}

static bool at_once(void *ctx)
{
    return true;
}

static void can_be_cancelled(void **state)
{
    struct world *w = world_new(1);
    fill(w, 70);
    settle(w);
    struct replay_options o = options(w);
    o.cancelled = at_once;
    struct replay_result r;
    struct err err = ERR_INIT;
    assert_int_equal(replay_run(&o, &r, &err), ERR_CLOSED);
    check_all(w);
    world_free(w);
}

/* Replays, damage and kills at any moment. Parts are not removed here: a removal that nothing shows is no
 * fault that disks have, and a later merge may then hide what was lost. */
static void nothing_is_lost_or_doubled_at_any_moment(void **state)
{
    struct world *w = world_new(*(unsigned *)*state);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 25; i++) {
            post(w, (round * 25 + i) * SLOTS / 250);
            if (pick(w, 6) == 0)
                usleep((unsigned)pick(w, 15000)); /* windows are flushed meanwhile */
            if (pick(w, 8) == 0)
                harm(w, 4, false);
            if (pick(w, 5) == 0) {
                struct replay_options o = options(w);
                o.max_windows = 1 + (size_t)pick(w, 30);
                o.from = (struct stream_start){.from = STREAM_POSITION, .from_pos = (uint64_t)pick(w, 200)};
                replay(w, &o);
            }
        }
        if (pick(w, 2)) {
            process_kill(w);
            process_start(w);
        }
    }
    settle(w);
    struct replay_options o = options(w);
    o.from = (struct stream_start){.from = STREAM_OLDEST};
    replay(w, &o);
    check_all(w);
    world_free(w);
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
