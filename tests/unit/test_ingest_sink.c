#include "base/hash.h"
#include "gate_stream.h"
#include "ingest/id_set.h"
#include "ingest/sink.h"
#include "model/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW  INT64_C(1763800000000)
#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)

/* A sink between a real catalog and a gate stream, and what was told of the submissions. */
struct bench {
    struct clock_fake clock;
    struct metrics *metrics;
    struct catalog *catalog;
    struct gate_stream *gate;
    struct sink *sink;
    struct sink_session *session;
    struct sample_batch batch;
    int told;
    struct sink_result result;
};

static uint32_t step_of(void *ctx, const char *name, size_t len)
{
    return 60000;
}

/* Series that start with "old." keep a day, others ten. */
static int64_t oldest_of(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return now_ms - (len >= 4 && memcmp(name, "old.", 4) == 0 ? 1 : 10) * DAY;
}

static void bench_init(struct bench *t, unsigned partitions, size_t max_payload, uint32_t max_series)
{
    memset(t, 0, sizeof *t);
    clock_fake_init(&t->clock, NOW);
    t->metrics = metrics_new();
    t->gate = gate_new(partitions, max_payload);
    t->batch = (struct sample_batch)SAMPLE_BATCH_INIT;
    struct catalog_options co = {.step = step_of, .max_series = max_series, .metrics = t->metrics};
    struct err err;
    assert_int_equal(catalog_open(&co, &t->catalog, &err), OK);
    struct sink_options so = {.catalog = t->catalog,
                              .stream = &t->gate->base,
                              .clock = &t->clock.base,
                              .metrics = t->metrics,
                              .max_future_ms = HOUR,
                              .oldest_ms = oldest_of,
                              .sure_ms = DAY};
    t->sink = sink_new(&so);
    t->session = sink_session_new(t->sink, "test");
}

static uint64_t counted(struct bench *t, const char *name, const char *labels)
{
    return counter_get(metrics_counter(t->metrics, name, labels, ""));
}

static uint64_t rejected(struct bench *t)
{
    uint64_t n = 0;
    for (int i = 0; i < REJECT_KINDS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "reason=\"%s\"", reject_name((enum reject)i));
        n += counted(t, "carat_points_rejected_total", labels);
    }
    return n;
}

/* Every test ends with the books balanced. */
static void bench_release(struct bench *t)
{
    uint64_t received = counted(t, "carat_points_received_total", "door=\"test\"");
    uint64_t appended = counted(t, "carat_points_appended_total", NULL);
    assert_int_equal(received,
                     appended + rejected(t) + counted(t, "carat_points_refused_with_request_total", NULL));
    assert_int_equal(appended, counted(t, "carat_points_synced_total", NULL) +
                                   counted(t, "carat_points_failed_total", NULL));
    sample_batch_release(&t->batch);
    sink_session_free(t->session);
    gate_free(t->gate);
    sink_free(t->sink);
    catalog_free(t->catalog);
    metrics_free(t->metrics);
}

static void add(struct bench *t, const char *name, int64_t ts_ms, double value)
{
    char *copy = arena_strndup(&t->batch.names, name, strlen(name));
    uint32_t len = (uint32_t)strlen(name);
    *sample_batch_add(&t->batch) = (struct sample){copy, len, hash_bytes(copy, len), ts_ms, value};
}

static void on_done(void *ctx, const struct sink_result *r)
{
    struct bench *t = ctx;
    t->told++;
    t->result = *r;
}

/* Submits what was added, with the buffers overwritten right after: nothing may be borrowed for longer. */
static void submit(struct bench *t, enum sink_mode mode, bool all_or_nothing)
{
    sink_submit(t->session, &t->batch, mode, all_or_nothing, on_done, t);
    for (size_t i = 0; i < t->batch.n; i++)
        memset((char *)t->batch.v[i].name, 'X', t->batch.v[i].name_len);
    sample_batch_clear(&t->batch);
}

static struct batch opened(struct bench *t, size_t i)
{
    struct batch b;
    struct err err;
    assert_true(i < t->gate->n);
    assert_int_equal(batch_open(&b, t->gate->record[i].payload, t->gate->record[i].size, &err), OK);
    return b;
}

static void points_reach_the_stream_and_the_ack_waits_for_it(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    add(&t, "a.b", NOW - 5, 1.5);
    add(&t, "c", NOW, 2);
    add(&t, "a.b", NOW + HOUR, 3);
    submit(&t, SINK_WAIT, false);
    assert_int_equal(t.told, 0);
    assert_int_equal(t.gate->n, 1);
    struct batch b = opened(&t, 0);
    uint32_t ab = catalog_lookup(t.catalog, "a.b", 3).id, c = catalog_lookup(t.catalog, "c", 1).id;
    assert_int_equal(b.npoints, 3);
    assert_true(b.received_ms == NOW);
    assert_int_equal(batch_ref(&b, 0), ab);
    assert_int_equal(batch_ref(&b, 1), c);
    assert_int_equal(batch_ref(&b, 2), ab);
    assert_true(batch_ts_ms(&b, 0) == NOW - 5 && batch_ts_ms(&b, 2) == NOW + HOUR);
    assert_true(batch_value(&b, 0) == 1.5 && batch_value(&b, 2) == 3);
    gate_tell(t.gate, 1, OK);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, OK);
    assert_int_equal(t.result.accepted, 3);
    assert_true(t.result.first_rejected == SIZE_MAX);
    bench_release(&t);
}

/* Definitions go with every batch until one that carries them is durable. */
static void definitions_until_durable(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    for (int i = 0; i < 3; i++) {
        add(&t, "a.b", NOW, i);
        add(&t, "a.b", NOW + 1, i);
        submit(&t, SINK_WAIT, false);
        struct batch b = opened(&t, (size_t)i);
        assert_int_equal(b.ndefs, i < 2 ? 1 : 0);
        if (i == 0) {
            struct batch_def d;
            const uint8_t *pos = b.defs;
            assert_int_equal(batch_next_def(&b, &pos, &d), 0);
            assert_int_equal(d.ref, batch_ref(&b, 0));
            assert_int_equal(d.step_ms, 60000);
            assert_memory_equal(d.name, "a.b", 3);
        }
        gate_tell(t.gate, 1, i == 0 ? ERR_FAILED : OK);
    }
    bench_release(&t);
}

static void bad_times_are_refused_one_by_one(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    add(&t, "ok", NOW, 1);
    add(&t, "never.made", NOW + HOUR + 1, 1);
    add(&t, "never.made", INT64_MAX, 1);
    add(&t, "never.made", -1, 1);
    add(&t, "old.a", NOW - DAY - 1, 1);
    add(&t, "old.b", NOW - DAY, 1);
    add(&t, "young.a", NOW - 10 * DAY, 1);
    add(&t, "young.b", NOW - 10 * DAY - 1, 1);
    t.batch.rejected[REJECT_SYNTAX] = 4;
    submit(&t, SINK_WAIT, false);
    gate_tell(t.gate, 1, OK);
    assert_int_equal(t.result.status, OK);
    assert_int_equal(t.result.accepted, 3);
    assert_int_equal(t.result.rejected[REJECT_FUTURE], 2);
    assert_int_equal(t.result.rejected[REJECT_TIME], 1);
    assert_int_equal(t.result.rejected[REJECT_TOO_OLD], 2);
    assert_int_equal(t.result.first_rejected, 1);
    assert_int_equal(t.result.first_reason, REJECT_FUTURE);
    assert_int_equal(catalog_count(t.catalog), 3);
    assert_int_equal(counted(&t, "carat_points_received_total", "door=\"test\""), 12);
    assert_int_equal(counted(&t, "carat_points_rejected_total", "reason=\"syntax\""), 4);
    assert_int_equal(counted(&t, "carat_points_rejected_total", "reason=\"too_old\""), 2);
    bench_release(&t);
}

static void all_or_nothing(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 2);
    add(&t, "a", NOW, 1);
    add(&t, "b", NOW + 2 * HOUR, 1);
    submit(&t, SINK_REFUSE, true);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, ERR_INVALID);
    assert_int_equal(t.result.first_rejected, 1);
    assert_int_equal(t.result.first_reason, REJECT_FUTURE);
    assert_non_null(strstr(t.result.err.text, "future"));
    assert_int_equal(catalog_count(t.catalog), 0);
    for (int i = 0; i < 3; i++)
        add(&t, (const char *[]){"a", "b", "c"}[i], NOW, 1);
    submit(&t, SINK_REFUSE, true);
    assert_int_equal(t.told, 2);
    assert_int_equal(t.result.first_reason, REJECT_SERIES_LIMIT);
    assert_int_equal(t.gate->n, 0);
    bench_release(&t);
}

static void nothing_to_store_is_told_at_once(void **state)
{
    struct bench t;
    bench_init(&t, 2, 1 << 20, 1);
    submit(&t, SINK_WAIT, true);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, OK);
    add(&t, "a", NOW, 1);
    add(&t, "b", NOW, 1);
    submit(&t, SINK_WAIT, false);
    assert_int_equal(t.gate->n, 1);
    gate_tell(t.gate, 1, OK);
    assert_int_equal(t.result.accepted, 1);
    assert_int_equal(t.result.rejected[REJECT_SERIES_LIMIT], 1);
    add(&t, "c", NOW, 1);
    submit(&t, SINK_WAIT, false);
    assert_int_equal(t.told, 3);
    assert_int_equal(t.result.status, OK);
    assert_int_equal(t.result.accepted, 0);
    bench_release(&t);
}

/* Each series in one partition, all points there once and in order, every batch within the bound. */
static void points_are_split_by_series_and_by_size(void **state)
{
    enum { PARTITIONS = 3, SERIES = 500, ROUNDS = 4, MAX = 16384 };
    struct bench t;
    bench_init(&t, PARTITIONS, MAX, 0);
    char name[64];
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < SERIES; i++) {
            snprintf(name, sizeof name, "servers.host-%d.cpu.user", i);
            add(&t, name, NOW + r, i);
        }
    submit(&t, SINK_WAIT, false);
    assert_true(t.gate->n > PARTITIONS);
    int seen[SERIES] = {0}, home[SERIES];
    for (size_t k = 0; k < t.gate->n; k++) {
        struct batch b = opened(&t, k);
        assert_true(t.gate->record[k].size <= MAX);
        for (uint32_t i = 0; i < b.npoints; i++) {
            int s = (int)batch_value(&b, i);
            if (!seen[s])
                home[s] = (int)t.gate->record[k].partition;
            assert_int_equal(home[s], t.gate->record[k].partition);
            assert_true(batch_ts_ms(&b, i) == NOW + seen[s]++);
        }
    }
    for (int i = 0; i < SERIES; i++)
        assert_int_equal(seen[i], ROUNDS);
    gate_tell(t.gate, t.gate->n - 1, OK);
    assert_int_equal(t.told, 0);
    gate_tell(t.gate, 1, OK);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.accepted, SERIES * ROUNDS);
    bench_release(&t);
}

static void one_failed_batch_fails_the_submission(void **state)
{
    struct bench t;
    bench_init(&t, 1, 8192, 0);
    for (int i = 0; i < 1000; i++)
        add(&t, "a", NOW + i, i);
    submit(&t, SINK_WAIT, false);
    assert_true(t.gate->n >= 3);
    gate_tell(t.gate, 1, OK);
    gate_tell(t.gate, 1, ERR_IO);
    gate_tell(t.gate, t.gate->n - t.gate->told, OK);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, ERR_IO);
    assert_true(t.result.err.text[0] != '\0');
    bench_release(&t);
}

static void a_full_stream_refuses_before_any_effect(void **state)
{
    struct bench t;
    bench_init(&t, 2, 1 << 20, 0);
    t.gate->full = 1 << 1; /* the second of two */
    for (int i = 0; i < 10; i++)
        add(&t, (char[]){'a' + i, 0}, NOW, i);
    submit(&t, SINK_REFUSE, false);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, ERR_BUSY);
    assert_int_equal(t.gate->n, 0);
    assert_int_equal(counted(&t, "carat_points_rejected_total", "reason=\"unavailable\""), 10);
    assert_int_equal(counted(&t, "carat_ingest_busy_total", NULL), 1);
    /* Half of it fits: the result waits for that half and is a failure all the same. */
    t.gate->full = 0;
    t.gate->room = 1;
    for (int i = 0; i < 10; i++)
        add(&t, (char[]){'a' + i, 0}, NOW, i);
    submit(&t, SINK_REFUSE, false);
    assert_int_equal(t.gate->n, 1);
    assert_int_equal(t.told, 1);
    gate_tell(t.gate, 1, OK);
    assert_int_equal(t.told, 2);
    assert_int_equal(t.result.status, ERR_BUSY);
    bench_release(&t);
}

static void a_stream_that_gave_up_refuses_in_both_modes(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    assert_false(sink_gave_up(t.sink));
    t.gate->answer = ERR_FAILED;
    for (int mode = SINK_WAIT; mode <= SINK_REFUSE; mode++) {
        add(&t, "a", NOW, 1);
        submit(&t, (enum sink_mode)mode, false);
        assert_int_equal(t.told, mode + 1);
        assert_int_equal(t.result.status, ERR_FAILED);
        assert_true(sink_gave_up(t.sink));
    }
    assert_int_equal(counted(&t, "carat_points_rejected_total", "reason=\"unavailable\""), 2);
    bench_release(&t);
}

static void *make_room(void *ctx)
{
    struct gate_stream *g = ctx;
    for (;;) {
        pthread_mutex_lock(&g->mtx);
        bool waited = g->waits > 1;
        if (waited)
            g->room = 5;
        pthread_mutex_unlock(&g->mtx);
        if (waited)
            return NULL;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void waits_for_room(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    t.gate->room = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, make_room, t.gate), 0);
    add(&t, "a", NOW, 1);
    submit(&t, SINK_WAIT, false);
    pthread_join(thread, NULL);
    assert_int_equal(t.gate->n, 1);
    gate_tell(t.gate, 1, OK);
    assert_int_equal(t.result.status, OK);
    bench_release(&t);
}

static void *cancel(void *ctx)
{
    struct bench *t = ctx;
    for (bool waited = false; !waited;) {
        pthread_mutex_lock(&t->gate->mtx);
        waited = t->gate->waits > 1;
        pthread_mutex_unlock(&t->gate->mtx);
    }
    sink_session_cancel(t->session);
    return NULL;
}

static void a_wait_can_be_cancelled(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    t.gate->room = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel, &t), 0);
    add(&t, "a", NOW, 1);
    submit(&t, SINK_WAIT, false);
    pthread_join(thread, NULL);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, ERR_BUSY);
    bench_release(&t);
}

/* The stream may tell before its append returns. */
static void instant_acks_and_no_listener(void **state)
{
    struct bench t;
    bench_init(&t, 2, 8192, 0);
    t.gate->instant = true;
    for (int i = 0; i < 2000; i++)
        add(&t, (char[]){'a' + i % 20, 0}, NOW + i, i);
    submit(&t, SINK_WAIT, false);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, OK);
    assert_int_equal(t.result.accepted, 2000);
    add(&t, "a", NOW, 1);
    add(&t, "a", NOW + DAY, 1);
    sink_submit(t.session, &t.batch, SINK_WAIT, false, NULL, NULL);
    assert_int_equal(counted(&t, "carat_points_synced_total", NULL), 2001);
    bench_release(&t);
}

static void every_reason_is_shown_from_the_start(void **state)
{
    struct bench t;
    bench_init(&t, 1, 1 << 20, 0);
    struct buf out = BUF_INIT;
    metrics_render(t.metrics, &out);
    for (int i = 0; i < REJECT_KINDS; i++) {
        char line[128];
        snprintf(line, sizeof line, "carat_points_rejected_total{reason=\"%s\"} 0\n",
                 reject_name((enum reject)i));
        assert_non_null(strstr(buf_str(&out), line));
    }
    buf_release(&out);
    bench_release(&t);
}

static void id_sets(void **state)
{
    struct id_set s = {NULL, 0, 0};
    id_set_clear(&s);
    for (int round = 0; round < 2; round++) {
        for (uint32_t id = 1; id < 20000; id++)
            assert_true(id_set_add(&s, id * 64));
        for (uint32_t id = 1; id < 20000; id++)
            assert_false(id_set_add(&s, id * 64));
        id_set_clear(&s);
        assert_true(id_set_add(&s, 7));
        assert_false(id_set_add(&s, 7));
        id_set_clear(&s);
    }
    id_set_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_reach_the_stream_and_the_ack_waits_for_it),
        cmocka_unit_test(definitions_until_durable),
        cmocka_unit_test(bad_times_are_refused_one_by_one),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(nothing_to_store_is_told_at_once),
        cmocka_unit_test(points_are_split_by_series_and_by_size),
        cmocka_unit_test(one_failed_batch_fails_the_submission),
        cmocka_unit_test(a_full_stream_refuses_before_any_effect),
        cmocka_unit_test(a_stream_that_gave_up_refuses_in_both_modes),
        cmocka_unit_test(waits_for_room),
        cmocka_unit_test(a_wait_can_be_cancelled),
        cmocka_unit_test(instant_acks_and_no_listener),
        cmocka_unit_test(every_reason_is_shown_from_the_start),
        cmocka_unit_test(id_sets),
    };
    return cmocka_run_group_tests_name("ingest_sink", tests, NULL, NULL);
}
