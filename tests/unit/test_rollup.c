/* Roll-up slots, windows and their block. */
#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/rollup_block.h"
#include "model/rollup.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_value(a, b) assert_true((a) == (b))

static unsigned seed_random(void)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    return seed;
}

static struct rollup_slot slot_of(const double *v, size_t n)
{
    struct rollup_slot s = ROLLUP_SLOT_INIT;
    for (size_t i = 0; i < n; i++)
        rollup_slot_add(&s, v[i]);
    return s;
}

static double value_of(const struct rollup_slot *s, enum aggregation a)
{
    return rollup_slot_value(s, a, 10);
}

static void every_aggregation(void **state)
{
    struct rollup_slot s = slot_of((double[]){3, -1, 4, 2}, 4);
    assert_value(value_of(&s, AGGREGATION_AVERAGE), 2);
    assert_value(value_of(&s, AGGREGATION_SUM), 8);
    assert_value(value_of(&s, AGGREGATION_MIN), -1);
    assert_value(value_of(&s, AGGREGATION_MAX), 4);
    assert_value(value_of(&s, AGGREGATION_LAST), 2);
    assert_value(value_of(&s, AGGREGATION_COUNT), 4);
    assert_value(value_of(&s, AGGREGATION_AVG_ZERO), 0.8);
    struct rollup_slot none = ROLLUP_SLOT_INIT;
    for (int a = 0; a < AGGREGATION_KINDS; a++)
        assert_true(column_is_missing(value_of(&none, (enum aggregation)a)));
}

static void names_are_those_of_graphite(void **state)
{
    struct err err = ERR_INIT;
    enum aggregation a;
    for (int i = 0; i < AGGREGATION_KINDS; i++) {
        const char *name = aggregation_name((enum aggregation)i);
        assert_int_equal(aggregation_parse(name, strlen(name), &a, &err), OK);
        assert_int_equal(a, i);
    }
    assert_int_equal(aggregation_parse("median", 6, &a, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "keeps sum, count, min, max and last"));
    assert_int_equal(aggregation_parse("avg", 3, &a, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "known are average"));
}

/* What an average of averages gets wrong. */
static void joining_is_not_averaging(void **state)
{
    struct rollup_slot a = slot_of((double[]){10}, 1), b = slot_of((double[]){1, 1, 1, 1}, 4);
    struct rollup_slot sum = ROLLUP_SLOT_INIT;
    rollup_slot_join(&sum, &(struct rollup_slot)ROLLUP_SLOT_INIT);
    rollup_slot_join(&sum, &a);
    rollup_slot_join(&sum, &b);
    assert_value(value_of(&sum, AGGREGATION_AVERAGE), 14.0 / 5);
    assert_value(value_of(&sum, AGGREGATION_LAST), 1);
    assert_value(value_of(&sum, AGGREGATION_MAX), 10);
}

static void nan_takes_no_part(void **state)
{
    struct rollup_slot s = slot_of((double[]){NAN, 2, NAN, column_missing(), 4, NAN}, 6);
    assert_value(value_of(&s, AGGREGATION_COUNT), 2);
    assert_value(value_of(&s, AGGREGATION_SUM), 6);
    assert_value(value_of(&s, AGGREGATION_LAST), 4);
    struct rollup_slot none = slot_of((double[]){NAN, NAN}, 2);
    assert_true(column_is_missing(value_of(&none, AGGREGATION_COUNT)));
    /* Infinities are values; both of them together are the one NaN, not "missing". */
    struct rollup_slot inf = slot_of((double[]){INFINITY, 1, -INFINITY, 1}, 4);
    assert_true(f64_bits(value_of(&inf, AGGREGATION_SUM)) == 0x7ff8000000000000ull);
    assert_value(value_of(&inf, AGGREGATION_COUNT), 4);
    struct rollup_slot high = slot_of((double[]){1e308, 1e308, 1}, 3);
    assert_true(isinf(value_of(&high, AGGREGATION_SUM)));
}

static void sums_are_not_eaten_by_rounding(void **state)
{
    struct rollup_slot s = ROLLUP_SLOT_INIT;
    for (int i = 0; i < 1440; i++)
        rollup_slot_add(&s, 0.1);
    assert_value(rollup_slot_sum(&s), 144);
    struct rollup_slot big = slot_of((double[]){1e16, 1, 1, -1e16}, 4);
    assert_value(rollup_slot_sum(&big), 2);
    struct rollup_slot zero = slot_of((double[]){-0.0}, 1);
    assert_true(signbit(rollup_slot_sum(&zero)));
}

static void a_slot_is_made_of_its_span(void **state)
{
    double v[] = {1, 2, 3, column_missing(), 5, 6};
    struct column base = {.start_ms = 600000, .step_ms = 60000, .n = 6, .values = v};
    struct rollup_slot s;
    rollup_make_slot(&s, &base, 720000, 180000);
    assert_value(value_of(&s, AGGREGATION_SUM), 8);
    assert_value(value_of(&s, AGGREGATION_COUNT), 2);
    struct rollup_slot fewer;
    rollup_make_slot(&fewer, &base, 780000, 60000);
    assert_false(rollup_slot_replaces(&fewer, &s));
    assert_true(rollup_slot_replaces(&s, &s));
}

static double random_value(int kind)
{
    switch (kind) {
    case 0:
        return 7;
    case 1:
        return rand() % 10000 / 100.0;
    case 2:
        return rand() / 3.0;
    default:
        return rand() % 4 - 2;
    }
}

static void random_rollup(struct rollup *r, uint32_t n)
{
    rollup_init(r, n);
    int kind = rand() % 4, fill = rand() % 101;
    for (uint32_t i = 0; i < n; i++) {
        struct rollup_slot s = ROLLUP_SLOT_INIT;
        for (int k = rand() % 100 < fill ? 1 + rand() % 5 : 0; k > 0; k--)
            rollup_slot_add(&s, random_value(kind));
        rollup_set(r, i, &s);
    }
}

static void blocks_hold_the_same_bits(void **state)
{
    seed_random();
    struct buf b = BUF_INIT;
    for (int round = 0; round < 400; round++) {
        static const uint32_t sizes[] = {240, 288, 168, 365, 366, 1, 64};
        struct rollup r, back;
        struct err err = ERR_INIT;
        random_rollup(&r, sizes[rand() % 7]);
        buf_clear(&b);
        rollup_block_encode(&r, &b);
        assert_int_equal(rollup_block_decode(b.data, b.len, r.n, &back, &err), OK);
        assert_true(rollup_equal(&r, &back));
        if (b.len > 1)
            assert_int_equal(rollup_block_decode(b.data, b.len - 1, r.n, &back, &err), ERR_CORRUPT);
        buf_putc(&b, 0);
        assert_int_equal(rollup_block_decode(b.data, b.len, r.n, &back, &err), ERR_CORRUPT);
        assert_int_equal(rollup_block_decode(b.data, 0, r.n, &back, &err), ERR_CORRUPT);
    }
    buf_release(&b);
}

/* The layout on disk, byte by byte: never changes. */
static void the_layout_stays(void **state)
{
    struct rollup r, back;
    rollup_init(&r, 24);
    for (uint32_t i = 0; i < 24; i++) {
        struct rollup_slot s = slot_of((double[]){5, 5}, 2);
        rollup_set(&r, i, &s);
    }
    struct buf b = BUF_INIT, count = BUF_INIT, sum = BUF_INIT;
    rollup_block_encode(&r, &b);
    codec_encode(&(struct codec_in){24, r.present, r.field[ROLLUP_COUNT]}, &count);
    codec_encode(&(struct codec_in){24, r.present, r.field[ROLLUP_SUM]}, &sum);
    size_t at = 0;
    assert_int_equal(b.data[at++], 0x40);
    assert_int_equal(b.data[at++], 8 + count.len);
    assert_memory_equal(b.data + at, count.data, count.len);
    at += count.len;
    assert_int_equal(b.data[at++], 8 + sum.len);
    assert_memory_equal(b.data + at, sum.data, sum.len);
    at += sum.len;
    assert_int_equal(b.data[at++], 8 + sum.len); /* min: 5 everywhere, as long as the sum's 10 */
    at += sum.len;
    assert_int_equal(b.data[at++], ROLLUP_MIN); /* max is min */
    assert_int_equal(b.data[at++], ROLLUP_MIN); /* and so is last */
    assert_int_equal(at, b.len);
    /* A reference to itself or ahead is none. */
    b.data[at - 1] = ROLLUP_LAST;
    assert_int_equal(rollup_block_decode(b.data, b.len, 24, &back, NULL), ERR_CORRUPT);
    /* A codec's block is never taken for a roll-up. */
    assert_int_equal(rollup_block_decode(count.data, count.len, 24, &back, NULL), ERR_CORRUPT);
    assert_true(codec_decode(b.data, b.len, 24, back.present, back.field[0], NULL) == ERR_CORRUPT);
    buf_release(&b);
    buf_release(&count);
    buf_release(&sum);
}

static void newer_slots_win_in_all_fields(void **state)
{
    struct rollup old, new;
    rollup_init(&old, 4);
    rollup_init(&new, 4);
    struct rollup_slot a = slot_of((double[]){1, 9}, 2), b = slot_of((double[]){4}, 1);
    rollup_set(&old, 0, &a);
    rollup_set(&old, 1, &a);
    rollup_set(&new, 1, &b);
    rollup_set(&new, 2, &b);
    rollup_overlay(&old, &new);
    assert_value(rollup_value(&old, 0, AGGREGATION_AVERAGE, 2), 5);
    assert_value(rollup_value(&old, 1, AGGREGATION_MIN, 2), 4);
    assert_value(rollup_value(&old, 1, AGGREGATION_COUNT, 2), 1);
    assert_value(rollup_value(&old, 2, AGGREGATION_AVG_ZERO, 2), 2);
    assert_true(column_is_missing(rollup_value(&old, 3, AGGREGATION_SUM, 2)));
    rollup_set(&old, 0, &(struct rollup_slot)ROLLUP_SLOT_INIT);
    assert_true(column_is_missing(rollup_value(&old, 0, AGGREGATION_SUM, 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_aggregation),
        cmocka_unit_test(names_are_those_of_graphite),
        cmocka_unit_test(joining_is_not_averaging),
        cmocka_unit_test(nan_takes_no_part),
        cmocka_unit_test(sums_are_not_eaten_by_rounding),
        cmocka_unit_test(a_slot_is_made_of_its_span),
        cmocka_unit_test(blocks_hold_the_same_bits),
        cmocka_unit_test(the_layout_stays),
        cmocka_unit_test(newer_slots_win_in_all_fields),
    };
    return cmocka_run_group_tests_name("rollup", tests, NULL, NULL);
}
