/* Coarse archives as they are read, at any moment: while points are in hot, after flushes of some windows,
 * after the base expired; against a plain model of the points. */
#include "base/mem.h"
#include "hot/hot_mem.h"
#include "reader/reader.h"
#include "warm/warm_fault.h"
#include "warm/warm_mem.h"
#include "writer/rollup.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERIES 1
#define MINUTE 60000ll
#define DAY    (1440 * MINUTE)
#define T0     (20006 * DAY)
#define DAYS   40
#define SLOTS  (DAYS * 1440)

struct env {
    struct catalog *catalog;
    struct hot *hot;
    struct warm *warm, *mem;
    struct rollup_maker maker;
    struct flush_batch batch;
    struct hot_taken taken;
    struct reader *reader;
    struct retention retention;
    struct aggregation_rule rule;
    uint64_t pos;
    int64_t now;
    int64_t waits_since; /* the oldest point not flushed was taken then; 0: none */
    double value[SLOTS]; /* every point there ever was */
};

static const struct retention *archives(void *ctx, uint32_t series)
{
    return &((struct env *)ctx)->retention;
}
static const struct aggregation_rule *aggregation(void *ctx, uint32_t series)
{
    return &((struct env *)ctx)->rule;
}

static int setup(void **state)
{
    struct env *e = xcalloc(1, sizeof *e);
    struct err err = ERR_INIT;
    e->retention = (struct retention){
        "test", 4, {{60000, 2 * DAY}, {300000, 9 * DAY}, {3600000, 20 * DAY}, {86400000, 1000 * DAY}}};
    e->rule = (struct aggregation_rule){"test", AGGREGATION_AVERAGE, 0};
    assert_int_equal(catalog_open(&(struct catalog_options){0}, &e->catalog, &err), OK);
    assert_int_equal(catalog_define(e->catalog, SERIES, 60000, "a.b", 3, &err), OK);
    e->hot = hot_mem_new(1);
    e->mem = warm_mem_new(NULL);
    e->warm = warm_fault_new(e->mem);
    rollup_maker_init(&e->maker, e->warm, NULL);
    e->maker.archives = archives;
    e->maker.archives_ctx = e;
    e->reader = reader_new(&(struct reader_options){.catalog = e->catalog,
                                                    .hot = e->hot,
                                                    .warm = e->warm,
                                                    .archives = archives,
                                                    .aggregation = aggregation,
                                                    .rules_ctx = e});
    for (size_t i = 0; i < SLOTS; i++)
        e->value[i] = column_missing();
    e->now = T0;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    reader_free(e->reader);
    flush_batch_release(&e->batch);
    rollup_maker_release(&e->maker);
    hot_taken_release(&e->taken);
    hot_free(e->hot);
    warm_free(e->warm);
    catalog_free(e->catalog);
    free(e);
    return 0;
}

static void write_point(struct env *e, int64_t slot, double v)
{
    struct err err = ERR_INIT;
    int64_t ts = T0 + slot * MINUTE;
    if (slot < 0 || slot >= SLOTS || ts > e->now || ts < e->now - e->retention.archives[0].keep_ms)
        return; /* not accepted */
    struct hot_point p = {SERIES, 60000, ts, v};
    assert_int_equal(hot_apply(e->hot, 0, ++e->pos, &p, 1, &err), OK);
    e->value[slot] = v;
    e->waits_since = e->waits_since ? e->waits_since : e->now;
}

/* As flush.c, without its thread: windows that ended before, or all. */
static void flush(struct env *e, int64_t closed_before, bool all)
{
    struct err err = ERR_INIT;
    struct hot_due due = {.closed_before_ms = closed_before, .settled_before = UINT64_MAX, .all = all};
    uint32_t cursor = 0;
    assert_int_equal(hot_take(e->hot, 0, &due, &cursor, 1000, &e->taken, &err), OK);
    flush_batch_clear(&e->batch);
    for (size_t i = 0; i < e->taken.n; i++) {
        flush_batch_reserve(&e->batch);
        struct flush_batch *b = &e->batch;
        assert_int_equal(merge_with_stored(e->warm, &e->taken.parts[i], &b->parts[i], &b->in_blocks[i],
                                           &b->blocks, &b->remove, &err),
                         OK);
        b->n++;
    }
    assert_int_equal(rollup_add_parts(&e->maker, &e->batch, &err), OK);
    assert_int_equal(flush_batch_put(&e->batch, e->warm, &err), OK);
    e->waits_since = all ? 0 : e->waits_since;
    if (rand() % 4) /* else: stored, and still in hot */
        assert_int_equal(hot_release(e->hot, 0, &e->taken, NULL, &err), OK);
}

/* Points wait for a flush less than the window that retention_warm_keep_ms adds. */
static void expire(struct env *e)
{
    struct err err = ERR_INIT;
    if (e->waits_since && e->now - e->waits_since > 4 * 60 * MINUTE)
        flush(e, 0, true);
    for (size_t k = 0; k < e->retention.narchives; k++)
        assert_int_equal(warm_expire(e->warm, e->retention.archives[k].step_ms,
                                     e->now - retention_warm_keep_ms(&e->retention, k), &err),
                         OK);
}

struct expected {
    double min, max, last, count, size;
    long double sum;
};

static struct expected count_anew(const struct env *e, int64_t ts, int64_t step)
{
    struct expected x = {.count = 0};
    for (int64_t slot = (ts - T0) / MINUTE, end = slot + step / MINUTE; slot < end; slot++) {
        double v = slot < 0 || slot >= SLOTS ? NAN : e->value[slot];
        if (isnan(v))
            continue;
        x.min = x.count == 0 || v < x.min ? v : x.min;
        x.max = x.count == 0 || v > x.max ? v : x.max;
        x.last = v;
        x.sum += v;
        x.size += fabs(v);
        x.count++;
    }
    return x;
}

static void assert_close(double got, long double want, double size)
{
    assert_true(fabsl(got - want) <= 1e-15L * size);
}

static void check_value(const struct env *e, enum aggregation a, int64_t ts, int64_t step, double got)
{
    struct expected x = count_anew(e, ts, step);
    int64_t seen = e->now < ts + step ? e->now : ts + step;
    double points = seen <= ts ? 1 : ceil((double)(seen - ts) / MINUTE);
    if (x.count == 0 || x.count < e->rule.x_files_factor * points) {
        assert_true(column_is_missing(got));
        return;
    }
    switch (a) {
    case AGGREGATION_SUM:
        assert_close(got, x.sum, x.size);
        return;
    case AGGREGATION_AVERAGE:
        assert_close(got, x.sum / x.count, x.size / x.count);
        return;
    case AGGREGATION_AVG_ZERO:
        assert_close(got, x.sum / (step / MINUTE), x.size);
        return;
    case AGGREGATION_MIN:
        assert_true(got == x.min);
        return;
    case AGGREGATION_MAX:
        assert_true(got == x.max);
        return;
    case AGGREGATION_LAST:
        assert_true(got == x.last);
        return;
    case AGGREGATION_COUNT:
    case AGGREGATION_KINDS:
        break;
    }
    assert_true(got == x.count);
}

static void check_archive(struct env *e, size_t k, enum aggregation a, int64_t from, int64_t until)
{
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    double factor = e->rule.x_files_factor;
    e->rule.x_files_factor = 0; /* that is for planned reads */
    assert_int_equal(reader_fetch_archive(e->reader, SERIES, e->retention.archives[k].step_ms, a, from, until,
                                          1u << 20, &c, &report, &err),
                     OK);
    assert_false(report.incomplete);
    for (size_t i = 0; i < c.n; i++)
        check_value(e, a, c.start_ms + (int64_t)i * c.step_ms, c.step_ms, c.values[i]);
    e->rule.x_files_factor = factor;
    free(c.values);
}

/* Sums and counts of a thinned answer are those of the points, where the slot has a value. */
static void check_sums(struct env *e, const struct column *c, const struct read_sums *sums)
{
    assert_int_equal(sums->points, c->step_ms / MINUTE);
    for (size_t i = 0; i < c->n; i++) {
        struct expected x = count_anew(e, c->start_ms + (int64_t)i * c->step_ms, c->step_ms);
        if (column_is_missing(c->values[i]))
            x = (struct expected){0};
        assert_true(sums->count[i] == x.count);
        assert_close(sums->sum[i], x.sum, x.size);
    }
}

static void check_planned(struct env *e, int64_t from, int64_t until, int64_t max_step_ms)
{
    static const double factors[] = {0, 0.5, 1};
    struct column c;
    struct read_report report = {0};
    struct read_spans spans;
    struct read_sums sums;
    struct err err = ERR_INIT;
    struct read_range range = {.from_ms = from, .until_ms = until, .now_ms = e->now, .max_slots = 1u << 20};
    e->rule.method = (enum aggregation)(rand() % AGGREGATION_KINDS);
    e->rule.x_files_factor = factors[rand() % 3];
    int64_t fine_ms = reader_planned_step_ms(e->reader, SERIES, &range);
    range.max_step_ms = max_step_ms;
    range.consolidation = (enum aggregation)(rand() % AGGREGATION_KINDS);
    assert_int_equal(reader_fetch_planned(e->reader, SERIES, &range, &c, &spans, &sums, &report, &err), OK);
    assert_false(report.incomplete);
    assert_true(c.step_ms >= fine_ms);
    assert_true(c.step_ms == fine_ms || c.step_ms <= max_step_ms);
    bool composes = range.consolidation != AGGREGATION_COUNT && range.consolidation != AGGREGATION_AVG_ZERO &&
                    max_step_ms;
    bool thinned =
        c.step_ms > MINUTE && composes && (fine_ms == MINUTE || range.consolidation == e->rule.method);
    assert_true(thinned == (sums.count != NULL));
    assert_true(thinned || c.step_ms == fine_ms);
    enum aggregation method = thinned ? range.consolidation : e->rule.method;
    if (thinned && fine_ms == MINUTE)
        e->rule.x_files_factor = 0; /* the finest archive has no such factor */
    if (thinned)
        check_sums(e, &c, &sums);
    int64_t at = c.start_ms;
    for (size_t i = 0; i < spans.n; i++) {
        assert_int_equal(spans.span[i].from_ms, at);
        assert_true(c.step_ms % spans.span[i].step_ms == 0);
        at = spans.span[i].until_ms;
    }
    assert_int_equal(at, c.start_ms + (int64_t)c.n * c.step_ms);
    bool plain = c.step_ms == 60000;
    for (size_t i = 0; i < c.n; i++)
        if (plain) {
            int64_t slot = (c.start_ms - T0) / MINUTE + (int64_t)i;
            double want = slot < 0 || slot >= SLOTS ? column_missing() : e->value[slot];
            assert_true(f64_bits(c.values[i]) == f64_bits(want));
        } else {
            check_value(e, method, c.start_ms + (int64_t)i * c.step_ms, c.step_ms, c.values[i]);
        }
    free(c.values);
    free(sums.sum);
    free(sums.count);
}

static int64_t random_time(const struct env *e)
{
    return T0 - DAY + rand() % (e->now - T0 + 3 * DAY);
}

static void check_some(struct env *e)
{
    for (int i = 0; i < 4; i++) {
        int64_t from = random_time(e), until = from + rand() % (10 * DAY);
        size_t k = (size_t)rand() % e->retention.narchives;
        if (k == 0 && from < e->now - e->retention.archives[0].keep_ms)
            from = e->now - e->retention.archives[0].keep_ms;
        if (k == 1 && from < e->now - e->retention.archives[1].keep_ms)
            from = e->now - e->retention.archives[1].keep_ms;
        if (k == 2 && from < e->now - e->retention.archives[2].keep_ms)
            from = e->now - e->retention.archives[2].keep_ms;
        check_archive(e, k, (enum aggregation)(rand() % AGGREGATION_KINDS), from, until);
        from = random_time(e);
        check_planned(e, from, from + rand() % (e->now - T0 + 2 * DAY),
                      rand() % 2 ? 0 : (1 + rand() % 1500) * MINUTE);
    }
}

static void a_round(struct env *e)
{
    e->now += rand() % (DAY / 4);
    int64_t now_slot = (e->now - T0) / MINUTE;
    for (int i = rand() % 300; i > 0; i--)
        write_point(e, now_slot - rand() % 300, rand() % 4 ? rand() % 1000 / 10.0 : rand() / 3.0);
    for (int i = rand() % 60; i > 0; i--) /* late */
        write_point(e, now_slot - rand() % (2 * 1440), rand() % 1000 / 10.0);
    if (rand() % 10 == 0) /* a resent stretch */
        for (int64_t from = now_slot - rand() % (2 * 1440), i = from; i < from + 400; i++)
            write_point(e, i, rand() % 100);
    if (rand() % 3)
        check_some(e);
    if (rand() % 3 == 0)
        flush(e, e->now - rand() % DAY, rand() % 4 == 0);
    if (rand() % 3 == 0)
        expire(e);
}

static void any_moment_any_archive(void **state)
{
    struct env *e = *state;
    while (e->now < T0 + (DAYS - 1) * DAY)
        a_round(e);
    for (size_t k = 0; k < e->retention.narchives; k++)
        for (int a = 0; a < AGGREGATION_KINDS; a++)
            check_archive(e, k, (enum aggregation)a, e->now - e->retention.archives[k].keep_ms, e->now + DAY);
}

static void unknown_archives_are_refused(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    struct read_spans spans;
    struct err err = ERR_INIT;
    struct read_sums sums;
    struct read_range range = {.from_ms = T0, .until_ms = T0 + DAY, .now_ms = T0 + DAY, .max_slots = 100};
    assert_int_equal(reader_fetch_archive(e->reader, SERIES, 120000, AGGREGATION_SUM, T0, T0 + DAY, 9999, &c,
                                          &report, &err),
                     ERR_INVALID);
    assert_int_equal(
        reader_fetch_archive(e->reader, 77, 60000, AGGREGATION_SUM, T0, T0 + DAY, 9999, &c, &report, &err),
        ERR_NOT_FOUND);
    assert_int_equal(reader_fetch_planned(e->reader, SERIES, &range, &c, &spans, &sums, &report, &err),
                     ERR_LIMIT);
    assert_int_equal(reader_fetch_planned(e->reader, 77, &range, &c, &spans, &sums, &report, &err),
                     ERR_NOT_FOUND);
}

/* A tier that fails is told, and what the other has comes. */
static void never_silently_short(void **state)
{
    struct env *e = *state;
    e->now = T0 + DAY;
    for (int i = 0; i < 600; i++)
        write_point(e, i, 1);
    flush(e, 0, true);
    for (int i = 600; i < 1200; i++)
        write_point(e, i, 1);
    for (uint64_t call = 1; call <= 2; call++) { /* the base's read, then the coarse one's */
        struct column c;
        struct read_report report = {0};
        struct err err = ERR_INIT;
        warm_fault_add(e->warm, &(struct warm_fault_rule){WARM_FAULT_READ, call, 1, ERR_IO, false, 0});
        assert_int_equal(reader_fetch_archive(e->reader, SERIES, 86400000, AGGREGATION_COUNT, T0, T0 + DAY,
                                              10, &c, &report, &err),
                         OK);
        assert_true(report.incomplete);
        assert_int_equal(report.why.code, ERR_IO);
        assert_true(c.values[0] >= 600);
        free(c.values);
        warm_fault_clear(e->warm);
    }
}

/* The base went before its roll-ups, and a late point waits in hot: the day is not what is left of its base.
 */
static void an_expired_base_does_not_shorten_a_read(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    e->now = T0 + DAY;
    for (int i = 0; i < 1440; i++)
        write_point(e, i, 1);
    flush(e, 0, true);
    e->hot = (hot_free(e->hot), hot_mem_new(1));
    reader_free(e->reader);
    e->reader = reader_new(&(struct reader_options){
        .catalog = e->catalog, .hot = e->hot, .warm = e->warm, .archives = archives, .rules_ctx = e});
    assert_int_equal(warm_expire(e->warm, 60000, T0 + 20 * DAY, &err), OK);
    write_point(e, 1439, 1);
    assert_int_equal(reader_fetch_archive(e->reader, SERIES, 86400000, AGGREGATION_COUNT, T0, T0 + DAY, 10,
                                          &c, &report, &err),
                     OK);
    assert_true(c.values[0] == 1440);
    free(c.values);
}

/* Where a span came from: for a reader's meta. */
static void spans_tell_their_tiers(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    struct read_spans spans;
    struct err err = ERR_INIT;
    for (int i = 0; i < 8; i++) {
        e->now = T0 + i * DAY;
        write_point(e, i * 1440, i);
        if (i == 4)
            flush(e, 0, true);
    }
    struct read_sums sums;
    struct read_range range = {.from_ms = T0, .until_ms = e->now + 1, .now_ms = e->now, .max_slots = 10000};
    assert_int_equal(reader_fetch_planned(e->reader, SERIES, &range, &c, &spans, &sums, &report, &err), OK);
    assert_int_equal(spans.n, 2);
    assert_int_equal(spans.span[0].step_ms, 300000);
    assert_int_equal(spans.span[1].step_ms, 60000);
    assert_true(spans.span[0].tiers & READ_WARM);
    assert_int_equal(spans.span[1].tiers, READ_HOT);
    free(c.values);
}

/* The rules got a coarse archive after the points had been stored, and no rebuild has been run yet. */
static void a_younger_archive_does_not_shorten_a_read(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    struct read_spans spans;
    struct read_sums sums;
    struct err err = ERR_INIT;
    e->retention.narchives = 1;
    e->retention.archives[0].keep_ms = 30 * DAY;
    for (int i = 0; i < 6 * 1440; i++) {
        e->now = T0 + i * MINUTE;
        if (i == 3 * 1440 + 500) { /* from here on there is an archive of an hour, beginning in its window */
            flush(e, 0, true);
            e->retention.archives[1] = (struct retention_archive){3600000, 100 * DAY};
            e->retention.narchives = 2;
        }
        if (i % 1440 > 10 && (i < 1440 || i > 1900))
            write_point(e, i, i % 97);
    }
    flush(e, e->now - DAY / 4, false);
    struct read_range range = {
        .from_ms = T0, .until_ms = e->now, .now_ms = e->now, .max_slots = 200, .max_step_ms = 3600000};
    assert_int_equal(reader_fetch_planned(e->reader, SERIES, &range, &c, &spans, &sums, &report, &err), OK);
    assert_int_equal(c.n, 6 * 24);
    assert_false(report.incomplete);
    e->rule.x_files_factor = 0;
    for (size_t i = 0; i < c.n; i++)
        check_value(e, AGGREGATION_AVERAGE, c.start_ms + (int64_t)i * c.step_ms, c.step_ms, c.values[i]);
    check_sums(e, &c, &sums);
    free(c.values);
    free(sums.sum);
    free(sums.count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_moment_any_archive, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_archives_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(never_silently_short, setup, teardown),
        cmocka_unit_test_setup_teardown(an_expired_base_does_not_shorten_a_read, setup, teardown),
        cmocka_unit_test_setup_teardown(spans_tell_their_tiers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_younger_archive_does_not_shorten_a_read, setup, teardown),
    };
    return cmocka_run_group_tests_name("rollup_reader", tests, NULL, NULL);
}
