/* Coarse archives as the writer makes them, against a plain model of the points. */
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/rollup_block.h"
#include "warm/warm_fault.h"
#include "warm/warm_masked.h"
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

#define SERIES 3
#define DAY    86400000ll
#define T0     (20006 * DAY) /* on the grid of seven seconds, too */
#define SLOTS  12000         /* of the base */

struct env {
    struct warm *warm;
    struct rollup_maker maker;
    struct flush_batch batch;
    struct metrics *metrics;
    struct retention retention;
    uint64_t pos;
    /* the model: what base there is */
    double value[SLOTS];
    struct hot_part {
        bool dirty;
        struct slots slots;
        uint64_t lo, hi;
    } * hot; /* windows not flushed yet */
    size_t nwindows;
};

static const struct retention *archives(void *ctx, uint32_t series)
{
    struct env *e = ctx;
    return series == SERIES ? &e->retention : NULL;
}

static struct env *env_new(const uint32_t *steps_s, size_t n)
{
    struct env *e = xcalloc(1, sizeof *e);
    e->warm = warm_mem_new(NULL);
    e->metrics = metrics_new();
    rollup_maker_init(&e->maker, e->warm, e->metrics);
    e->maker.archives = archives;
    e->maker.archives_ctx = e;
    e->retention = (struct retention){.rule = "test", .narchives = n};
    for (size_t i = 0; i < n; i++)
        e->retention.archives[i] =
            (struct retention_archive){steps_s[i] * 1000, (int64_t)(i + 1) * 1000 * DAY};
    for (size_t i = 0; i < SLOTS; i++)
        e->value[i] = column_missing();
    e->nwindows = SLOTS / 120;
    e->hot = xcalloc(e->nwindows, sizeof *e->hot);
    return e;
}

static void env_free(struct env *e)
{
    flush_batch_release(&e->batch);
    rollup_maker_release(&e->maker);
    warm_free(e->warm);
    metrics_free(e->metrics);
    free(e->hot);
    free(e);
}

static uint32_t base_step(const struct env *e)
{
    return e->retention.archives[0].step_ms;
}
static int64_t first_window(const struct env *e)
{
    return window_start(T0, base_step(e));
}

static void write_point(struct env *e, size_t slot, double v)
{
    int64_t ts = T0 + (int64_t)slot * base_step(e), window = window_start(ts, base_step(e));
    size_t i = (size_t)((window - first_window(e)) / window_span_ms(base_step(e)));
    assert_true(i < e->nwindows);
    struct hot_part *h = &e->hot[i];
    if (!h->dirty)
        slots_init(&h->slots, window_slots(base_step(e)));
    uint32_t at = window_slot(ts, base_step(e));
    slot_set(h->slots.present, at);
    h->slots.value[at] = v;
    h->hi = ++e->pos;
    h->lo = h->dirty ? h->lo : h->hi;
    h->dirty = true;
    e->value[slot] = v;
}

/* What flush.c does with the windows it takes, here a random share of them. */
static void flush(struct env *e, unsigned percent)
{
    struct err err = ERR_INIT;
    struct buf blocks = BUF_INIT;
    struct part fresh[SLOTS / 120];
    size_t n = 0;
    for (size_t i = e->nwindows; i-- > 0;) { /* newest first, as hot gives them */
        struct hot_part *h = &e->hot[i];
        if (!h->dirty || (unsigned)rand() % 100 >= percent)
            continue;
        h->dirty = false;
        size_t at = blocks.len;
        codec_encode(&(struct codec_in){h->slots.n, h->slots.present, h->slots.value}, &blocks);
        fresh[n++] = (struct part){
            {SERIES, base_step(e), first_window(e) + (int64_t)i * window_span_ms(base_step(e)), h->hi},
            h->lo,
            (const uint8_t *)at,
            blocks.len - at};
    }
    flush_batch_clear(&e->batch);
    for (size_t i = 0; i < n; i++) {
        fresh[i].data = blocks.data + (uintptr_t)fresh[i].data;
        flush_batch_reserve(&e->batch);
        assert_int_equal(merge_with_stored(e->warm, &fresh[i], &e->batch.parts[i], &e->batch.in_blocks[i],
                                           &e->batch.blocks, &e->batch.remove, &err),
                         OK);
        e->batch.n++;
    }
    assert_int_equal(rollup_add_parts(&e->maker, &e->batch, &err), OK);
    assert_int_equal(flush_batch_put(&e->batch, e->warm, &err), OK);
    buf_release(&blocks);
}

struct found {
    struct rollup r;
    uint64_t hi;
    size_t parts;
};

static int one_part(void *ctx, const struct part *p)
{
    struct found *f = ctx;
    struct rollup one;
    assert_true(p->lo <= p->key.hi);
    assert_int_equal(rollup_block_decode(p->data, p->size, f->r.n, &one, NULL), OK);
    rollup_overlay(&f->r, &one);
    f->hi = p->key.hi;
    f->parts++;
    return 0;
}

static struct found stored(struct env *e, uint32_t step, int64_t window)
{
    struct found f = {.parts = 0};
    struct err err = ERR_INIT;
    rollup_init(&f.r, window_slots(step));
    assert_int_equal(warm_read(e->warm, SERIES, step, window, window + 1, one_part, &f, &err), OK);
    assert_true(f.parts <= 1);
    return f;
}

/* Counted anew from the model, in the most plain way. */
static void check_slot(struct env *e, const struct rollup *r, uint32_t i, int64_t ts, uint32_t step)
{
    double min = 0, max = 0, last = 0;
    long double sum = 0, size = 0;
    int n = 0;
    for (int64_t t = ts; t < ts + step; t += base_step(e)) {
        int64_t slot = (t - T0) / base_step(e);
        double v = t < T0 || slot >= SLOTS ? NAN : e->value[slot];
        if (isnan(v))
            continue;
        min = n == 0 || v < min ? v : min;
        max = n == 0 || v > max ? v : max;
        last = v;
        sum += v;
        size += fabs(v);
        n++;
    }
    assert_int_equal(slot_get(r->present, i), n > 0);
    if (!n)
        return;
    assert_true(r->field[ROLLUP_COUNT][i] == n);
    assert_true(r->field[ROLLUP_MIN][i] == min);
    assert_true(r->field[ROLLUP_MAX][i] == max);
    assert_true(f64_bits(r->field[ROLLUP_LAST][i]) == f64_bits(last));
    assert_true(fabsl(r->field[ROLLUP_SUM][i] - sum) <= 3e-16L * size);
}

static void check_archives(struct env *e)
{
    int64_t end = T0 + (int64_t)SLOTS * base_step(e);
    for (size_t k = 1; k < e->retention.narchives; k++) {
        uint32_t step = e->retention.archives[k].step_ms;
        for (int64_t w = window_start(T0, step); w < end; w += window_span_ms(step)) {
            struct found f = stored(e, step, w);
            for (uint32_t i = 0; i < f.r.n; i++)
                check_slot(e, &f.r, i, w + (int64_t)i * step, step);
        }
    }
}

static double random_value(void)
{
    return rand() % 4 ? rand() % 10000 / 100.0 : rand() / 7.0 - 1e8;
}

static void random_points(struct env *e, size_t now)
{
    int n = rand() % 200;
    for (int i = 0; i < n; i++)
        write_point(e, rand() % 10 < 6 ? now - (size_t)rand() % 5 : (size_t)rand() % SLOTS, random_value());
    for (size_t i = rand() % 6 ? SLOTS : (size_t)rand() % SLOTS, m = i + 800; i < m && i < SLOTS; i++)
        write_point(e, i, random_value()); /* an agent sends what it kept */
}

static void archives_equal_the_model(const uint32_t *steps_s, size_t n, int rounds)
{
    struct env *e = env_new(steps_s, n);
    for (int round = 0; round < rounds; round++) {
        random_points(e, 5 + (size_t)round * (SLOTS - 5) / (size_t)rounds);
        flush(e, rand() % 3 ? 100 : (unsigned)rand() % 100);
        if (round % 8 == 0) {
            flush(e, 100);
            check_archives(e);
        }
    }
    flush(e, 100);
    check_archives(e);
    env_free(e);
}

static void made_from_all_points(void **state)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    archives_equal_the_model((uint32_t[]){60, 300, 3600, 86400}, 4, 60);
    archives_equal_the_model((uint32_t[]){10, 60, 3600, 86400}, 4, 20);
    archives_equal_the_model((uint32_t[]){7, 21, 420}, 3,
                             60); /* windows and slots that do not fit each other */
    archives_equal_the_model((uint32_t[]){1, 86400}, 2, 8);
    archives_equal_the_model((uint32_t[]){300, 86400}, 2, 20);
    archives_equal_the_model((uint32_t[]){60}, 1, 2);
}

static uint64_t parts_put(struct env *e)
{
    struct warm_stats s;
    warm_get_stats(e->warm, &s);
    return s.puts;
}

/* Applying again is harmless and costs nothing: no other bits, no other key. */
static void the_same_again_is_not_stored_again(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 300, 3600, 86400}, 4);
    for (size_t i = 0; i < 300; i++)
        write_point(e, i, (double)i);
    flush(e, 100);
    struct found before = stored(e, 3600000, window_start(T0, 3600000));
    uint64_t slots = counter_get(e->maker.slots), parts = counter_get(e->maker.parts);
    for (size_t i = 100; i < 200; i++)
        write_point(e, i, (double)i);
    flush(e, 100);
    assert_true(counter_get(e->maker.slots) > slots);
    assert_int_equal(counter_get(e->maker.parts), parts);
    struct found after = stored(e, 3600000, window_start(T0, 3600000));
    assert_int_equal(before.hi, after.hi);
    assert_true(rollup_equal(&before.r, &after.r));
    assert_true(parts_put(e) > 0);
    env_free(e);
}

/* The run of a base part ends before that of the stored coarse part: other content, other key. */
static void changed_content_has_a_larger_position(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 86400}, 2);
    write_point(e, 0, 1); /* window 0 waits in hot with a small position */
    for (size_t i = 300; i < 500; i++)
        write_point(e, i, 2);
    e->hot[0].dirty = false;
    flush(e, 100);
    e->hot[0].dirty = true;
    struct found before = stored(e, 86400000, window_start(T0, 86400000));
    flush(e, 100);
    struct found after = stored(e, 86400000, window_start(T0, 86400000));
    assert_int_equal(before.hi, e->pos);
    assert_int_equal(after.hi, e->pos + 1);
    check_archives(e);
    env_free(e);
}

/* The base went before its roll-ups: a late point does not make the day short. */
static void an_expired_base_does_not_empty_slots(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 86400}, 2);
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 1440; i++)
        write_point(e, i, 1);
    flush(e, 100);
    int64_t day = T0;
    assert_int_equal(warm_expire(e->warm, 60000, day + DAY / 2, &err), OK);
    write_point(e, 1439, 5);
    flush(e, 100);
    struct found f = stored(e, 86400000, window_start(day, 86400000));
    uint32_t at = window_slot(day, 86400000);
    assert_true(f.r.field[ROLLUP_COUNT][at] == 1440);
    assert_true(f.r.field[ROLLUP_SUM][at] == 1440);
    assert_int_equal(counter_get(e->maker.kept), 1);
    env_free(e);
}

/* Archives that were added later, and a window that was damaged, come back from the base. */
static void a_rebuild_makes_the_same(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 300, 3600, 86400}, 4);
    struct err err = ERR_INIT;
    e->maker.archives = NULL;
    for (int i = 0; i < 20; i++) {
        random_points(e, 5 + (size_t)rand() % (SLOTS - 5));
        flush(e, 100);
    }
    assert_int_equal(stored(e, 300000, window_start(T0, 300000)).parts, 0);
    e->maker.archives = archives;
    int64_t end = T0 + (int64_t)SLOTS * 60000;
    for (int again = 0; again < 2; again++) {
        flush_batch_clear(&e->batch);
        assert_int_equal(rollup_rebuild(&e->maker, &e->batch, SERIES, 60000, T0, end, T0, &err), OK);
        if (again)
            assert_int_equal(e->batch.n, 0);
        assert_int_equal(flush_batch_put(&e->batch, e->warm, &err), OK);
        check_archives(e);
    }
    env_free(e);
}

/* Whatever was stored: where the base is whole, a rebuild says what the base says. */
static void a_rebuild_mends_what_counts_too_much(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 300}, 2);
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 300; i++)
        write_point(e, i, (double)i);
    flush(e, 100);
    struct found bad = stored(e, 300000, T0);
    bad.r.field[ROLLUP_COUNT][2] = 99;
    struct buf block = BUF_INIT;
    rollup_block_encode(&bad.r, &block);
    struct part p = {{SERIES, 300000, T0, bad.hi + 7}, 1, block.data, block.len};
    struct part_key old = {SERIES, 300000, T0, bad.hi};
    assert_int_equal(warm_put(e->warm, &p, 1, &old, 1, &err), OK);
    for (int whole = 0; whole < 2; whole++) {
        flush_batch_clear(&e->batch);
        assert_int_equal(
            rollup_rebuild(&e->maker, &e->batch, SERIES, 60000, T0, T0 + DAY, whole ? T0 : T0 + DAY, &err),
            OK);
        assert_int_equal(flush_batch_put(&e->batch, e->warm, &err), OK);
        assert_true(stored(e, 300000, T0).r.field[ROLLUP_COUNT][2] == (whole ? 5 : 99));
    }
    check_archives(e);
    buf_release(&block);
    env_free(e);
}

/* A roll-up may be all that is left of points that are damaged. */
static void a_rebuild_from_a_damaged_base_takes_nothing_away(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 86400}, 2);
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 480; i++)
        write_point(e, i, (double)i);
    flush(e, 100);
    struct part_key key = {SERIES, 60000, T0, e->hot[0].hi};
    static const uint8_t noise[] = {1, 0xff, 0xff};
    assert_int_equal(warm_put(e->warm, &(struct part){key, 1, noise, sizeof noise}, 1, &key, 1, &err), OK);
    struct rollup before = stored(e, 86400000, window_start(T0, 86400000)).r;
    assert_int_equal(rollup_rebuild(&e->maker, &e->batch, SERIES, 60000, T0, T0 + DAY, T0, &err), OK);
    assert_true(e->maker.base_damaged);
    assert_int_equal(flush_batch_put(&e->batch, e->warm, &err), OK);
    struct rollup after = stored(e, 86400000, window_start(T0, 86400000)).r;
    assert_true(rollup_equal(&before, &after));
    env_free(e);
}

/* --- deletion --- */

/* As the sweep does it: the base is masked, the roll-ups are made again. */
static uint64_t erase(struct env *e, const struct tombstone *t, int64_t whole_from_ms)
{
    struct tombstones *all = tombstones_new();
    struct warm *masked = warm_masked_new(e->warm, all);
    struct err err = ERR_INIT;
    int64_t coarsest = e->retention.archives[e->retention.narchives - 1].step_ms, chunk = coarsest,
            end = T0 + (int64_t)SLOTS * base_step(e);
    uint64_t left = 0;
    tombstones_add(all, t, 1);
    e->maker.warm = masked;
    for (int64_t at = floor_to(T0, chunk); at < end; at += chunk) {
        flush_batch_clear(&e->batch);
        assert_int_equal(
            rollup_erase(&e->maker, &e->batch, t, base_step(e), at, at + chunk, whole_from_ms, &left, &err),
            OK);
        assert_int_equal(flush_batch_put(&e->batch, e->warm, &err), OK);
    }
    e->maker.warm = e->warm;
    warm_free(masked);
    tombstones_free(all);
    return left;
}

static void what_a_deletion_touched_is_made_again(void **state)
{
    for (int round = 0; round < 10; round++) {
        struct env *e = env_new((uint32_t[]){60, 300, 3600, 86400}, 4);
        for (int i = 0; i < 10; i++)
            random_points(e, 5 + (size_t)rand() % (SLOTS - 5));
        flush(e, 100);
        size_t from = (size_t)rand() % SLOTS, until = from + 1 + (size_t)rand() % (round % 2 ? 20 : SLOTS);
        struct tombstone t = {SERIES, false, T0 + (int64_t)from * 60000, T0 + (int64_t)until * 60000,
                              e->pos + 1};
        for (size_t i = from; i < until && i < SLOTS; i++)
            e->value[i] = column_missing();
        assert_int_equal(erase(e, &t, T0), 0);
        check_archives(e);
        assert_int_equal(erase(e, &t, T0), 0); /* and the same again */
        check_archives(e);
        env_free(e);
    }
}

/* Of the first day only roll-ups are left. */
static void what_cannot_be_made_again_goes_whole_or_stays(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 300, 86400}, 3);
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 2880; i++)
        write_point(e, i, 1);
    flush(e, 100);
    assert_int_equal(warm_expire(e->warm, 60000, T0 + DAY, &err), OK);
    struct tombstone t = {SERIES, false, T0 + 7 * 3600000 + 60000, T0 + DAY + 7 * 3600000 + 60000,
                          e->pos + 1};
    assert_int_equal(erase(e, &t, T0 + DAY), 2); /* a slot of five minutes and the day */
    struct found day = stored(e, 86400000, window_start(T0, 86400000));
    uint32_t at = window_slot(T0, 86400000);
    assert_true(day.r.field[ROLLUP_COUNT][at] == 1440);
    assert_true(day.r.field[ROLLUP_COUNT][at + 1] == 1440 - 7 * 60 - 1);
    for (int64_t ts = T0; ts < T0 + 2 * DAY; ts += 300000) {
        struct found f = stored(e, 300000, window_start(ts, 300000));
        uint32_t i = window_slot(ts, 300000);
        bool before = ts < T0 + 7 * 3600000 + 300000, after = ts >= T0 + DAY + 7 * 3600000;
        assert_int_equal(slot_get(f.r.present, i), before || after);
        if (before || after)
            assert_true(f.r.field[ROLLUP_COUNT][i] == (ts == T0 + DAY + 7 * 3600000 ? 4 : 5));
    }
    env_free(e);
}

static void a_warm_that_fails_is_told(void **state)
{
    struct env *e = env_new((uint32_t[]){60, 300}, 2);
    struct err err = ERR_INIT;
    struct warm *fault = warm_fault_new(e->warm);
    e->warm = e->maker.warm = fault;
    write_point(e, 3, 1);
    flush(e, 100);
    for (uint64_t call = 1; call <= 2; call++) {
        warm_fault_add(fault, &(struct warm_fault_rule){WARM_FAULT_READ, call, 1, ERR_IO, false, 0});
        flush_batch_clear(&e->batch);
        assert_int_equal(rollup_rebuild(&e->maker, &e->batch, SERIES, 60000, T0, T0 + DAY, T0, &err), ERR_IO);
        warm_fault_clear(fault);
    }
    env_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_from_all_points),
        cmocka_unit_test(the_same_again_is_not_stored_again),
        cmocka_unit_test(changed_content_has_a_larger_position),
        cmocka_unit_test(an_expired_base_does_not_empty_slots),
        cmocka_unit_test(a_rebuild_makes_the_same),
        cmocka_unit_test(a_rebuild_mends_what_counts_too_much),
        cmocka_unit_test(a_rebuild_from_a_damaged_base_takes_nothing_away),
        cmocka_unit_test(what_a_deletion_touched_is_made_again),
        cmocka_unit_test(what_cannot_be_made_again_goes_whole_or_stays),
        cmocka_unit_test(a_warm_that_fails_is_told),
    };
    return cmocka_run_group_tests_name("rollup_writer", tests, NULL, NULL);
}
