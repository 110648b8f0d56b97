/* The record of a deletion, the set of tombstones, and parts without their dead slots. */
#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/part_mask.h"
#include "model/batch.h"
#include "model/deletion.h"
#include "warm/warm_masked.h"
#include "warm/warm_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define STEP 60000
#define SPAN (240 * (int64_t)STEP)
#define T0   (SPAN * 1000)

static void records_round_trip(void **state)
{
    struct deletion v[] = {{7, 60000, 120000}, {9, DELETION_FROM_ALL, DELETION_UNTIL_ALL}, {1, 0, 1}};
    struct buf out = BUF_INIT;
    struct deletion_record r;
    struct err err = ERR_INIT;
    deletion_encode(v, 3, 1763800001234, &out);
    assert_true(deletion_is_record(out.data, out.len));
    assert_int_equal(deletion_open(&r, out.data, out.len, &err), OK);
    assert_true(r.n == 3 && r.asked_ms == 1763800001234);
    for (uint32_t i = 0; i < 3; i++) {
        struct deletion d = deletion_at(&r, i);
        assert_true(d.series == v[i].series && d.from_ms == v[i].from_ms && d.until_ms == v[i].until_ms);
        assert_int_equal(deletion_is_whole(&d), i == 1);
    }
    for (size_t n = 0; n < out.len; n++) { /* every truncation is refused, none is read past */
        uint8_t *copy = xmalloc(n ? n : 1);
        memcpy(copy, out.data, n);
        assert_int_not_equal(deletion_open(&r, copy, n, &err), OK);
        free(copy);
    }
    struct batch b; /* neither is taken for the other */
    assert_int_equal(batch_open(&b, out.data, out.len, &err), ERR_UNSUPPORTED);
    struct batch_builder bb = BATCH_BUILDER_INIT;
    batch_builder_clear(&bb, 1);
    batch_builder_point(&bb, 1, T0, 1);
    buf_clear(&out);
    batch_builder_encode(&bb, &out);
    assert_false(deletion_is_record(out.data, out.len));
    assert_int_equal(deletion_open(&r, out.data, out.len, &err), ERR_CORRUPT);
    batch_builder_release(&bb);
    buf_release(&out);
}

static int open_one(struct deletion d, size_t at, uint8_t byte)
{
    struct buf out = BUF_INIT;
    struct deletion_record r;
    struct err err = ERR_INIT;
    deletion_encode(&d, 1, 0, &out);
    if (at)
        out.data[at] = byte;
    int rc = deletion_open(&r, out.data, out.len, &err);
    assert_true(rc == OK || err.text[0]);
    buf_release(&out);
    return rc;
}

static void records_that_make_no_sense_are_refused(void **state)
{
    assert_int_equal(open_one((struct deletion){1, 0, 1}, 0, 0), OK);
    assert_int_equal(open_one((struct deletion){0, 0, 1}, 0, 0), ERR_CORRUPT);
    assert_int_equal(open_one((struct deletion){1, 5, 5}, 0, 0), ERR_CORRUPT);
    assert_int_equal(open_one((struct deletion){1, 5, 4}, 0, 0), ERR_CORRUPT);
    assert_int_equal(open_one((struct deletion){1, 0, 1}, 1, 1), ERR_UNSUPPORTED); /* from a later version */
    assert_int_equal(open_one((struct deletion){1, 0, 1}, 20, 1), ERR_UNSUPPORTED);
    assert_int_equal(open_one((struct deletion){1, 0, 1}, 4, 2), ERR_CORRUPT);
    assert_int_equal(open_one((struct deletion){1, 0, 1}, 7, 0xff), ERR_CORRUPT);
}

/* --- the set --- */

static struct tombstone tomb(uint32_t series, int64_t from, int64_t until, uint64_t pos)
{
    return (struct tombstone){series, false, from, until, pos};
}

static void add(struct tombstones *t, struct tombstone v)
{
    tombstones_add(t, &v, 1);
}

static void only_older_points_in_the_range_are_hit(void **state)
{
    struct tombstones *t = tombstones_new();
    assert_false(tombstones_hit(t, 1, 100, 5));
    assert_true(tombstones_stamp(t, 1) == 0 && tombstones_newest_pos(t) == 0);
    add(t, tomb(1, 100, 200, 10));
    assert_true(tombstones_hit(t, 1, 100, 9) && tombstones_hit(t, 1, 199, 1));
    assert_false(tombstones_hit(t, 1, 99, 9) || tombstones_hit(t, 1, 200, 9));
    assert_false(tombstones_hit(t, 1, 100, 11) || tombstones_hit(t, 2, 100, 9));
    assert_true(tombstones_newest_pos(t) == 10);
    tombstones_free(t);
}

static void what_a_later_one_covers_goes(void **state)
{
    struct tombstones *t = tombstones_new();
    add(t, tomb(1, 100, 200, 10));
    add(t, tomb(1, 150, 300, 20)); /* only half of it */
    assert_int_equal(tombstones_count(t), 2);
    add(t, tomb(1, 50, 300, 30));
    assert_int_equal(tombstones_count(t), 1);
    add(t, tomb(1, 100, 200, 10)); /* the stream again */
    assert_int_equal(tombstones_count(t), 1);
    add(t, tomb(1, 60, 70, 40)); /* later, and so not covered */
    assert_int_equal(tombstones_count(t), 2);
    size_t n;
    struct tombstone_change *c = tombstones_changes(t, &n);
    assert_int_equal(n, 6);
    assert_true(c[2].gone && c[3].gone && !c[4].gone && c[4].tombstone.pos == 30);
    free(c);
    tombstones_changes_kept(t, 5);
    c = tombstones_changes(t, &n);
    assert_true(n == 1 && c[0].tombstone.pos == 40);
    free(c);
    tombstones_free(t);
}

static void stamps_follow_a_series_and_pins_keep_it(void **state)
{
    struct tombstones *t = tombstones_new();
    struct tombstone v = tomb(1, 100, 200, 10), w = tomb(2, 100, 200, 11);
    add(t, v);
    uint64_t one = tombstones_stamp(t, 1);
    assert_true(one);
    add(t, w);
    assert_true(tombstones_stamp(t, 1) == one);
    assert_int_equal(tombstones_count_unswept(t), 2);
    tombstones_set_swept(t, &v, 1);
    assert_true(tombstones_stamp(t, 1) != one);
    assert_int_equal(tombstones_count_unswept(t), 1);
    assert_true(tombstones_hit(t, 1, 100, 9)); /* it still guards */
    tombstones_pin(t);
    assert_false(tombstones_remove(t, &v, 1));
    tombstones_unpin(t);
    assert_true(tombstones_remove(t, &v, 1));
    assert_true(tombstones_stamp(t, 1) == 0);
    tombstones_drop_series(t, 2);
    assert_int_equal(tombstones_count(t), 0);
    assert_true(tombstones_newest_pos(t) == 0);
    tombstones_free(t);
}

static void random_sets_agree_with_a_plain_list(void **state)
{
    enum { MAX = 400 };
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("seed %u\n", seed);
    struct tombstone all[MAX];
    struct tombstones *t = tombstones_new();
    for (int n = 0; n < MAX; n++) {
        int64_t from = rand_r(&seed) % 50;
        all[n] = tomb(1 + (uint32_t)rand_r(&seed) % 100, from, from + 1 + rand_r(&seed) % 20,
                      1 + (uint64_t)rand_r(&seed) % 1000);
        add(t, all[n]);
        for (int i = 0; i < 20; i++) {
            uint32_t series = 1 + (uint32_t)rand_r(&seed) % 100;
            int64_t at = rand_r(&seed) % 75;
            uint64_t pos = 1 + (uint64_t)rand_r(&seed) % 1000;
            bool want = false;
            for (int k = 0; k <= n; k++)
                want |= all[k].series == series && at >= all[k].from_ms && at < all[k].until_ms &&
                        all[k].pos > pos;
            assert_int_equal(tombstones_hit(t, series, at, pos), want);
        }
    }
    size_t n;
    struct tombstone *list = tombstones_list(t, 0, &n);
    assert_int_equal(n, tombstones_count(t));
    for (size_t i = 1; i < n; i++)
        assert_true(list[i - 1].series < list[i].series ||
                    (list[i - 1].series == list[i].series && list[i - 1].pos <= list[i].pos));
    while (n)
        assert_true(tombstones_remove(t, &list[--n], 1));
    assert_int_equal(tombstones_count(t), 0);
    free(list);
    tombstones_free(t);
}

/* --- parts --- */

static struct part part_of(struct buf *bytes, uint64_t hi, int from, int until, double v)
{
    struct slots s;
    slots_init(&s, 240);
    for (int i = from; i < until; i++) {
        slot_set(s.present, (size_t)i);
        s.value[i] = v;
    }
    buf_clear(bytes);
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, bytes);
    return (struct part){.key = {1, STEP, T0, hi}, .lo = 1, .data = bytes->data, .size = bytes->len};
}

static void parts_lose_what_is_dead(void **state)
{
    struct tombstones *t = tombstones_new();
    struct buf bytes = BUF_INIT, block = BUF_INIT;
    struct part p = part_of(&bytes, 9, 0, 100, 1), out;
    assert_int_equal(part_mask(NULL, &p, &block, &out), PART_LIVES);
    add(t, tomb(1, T0 + 100 * STEP, T0 + SPAN, 10)); /* beside what it has */
    assert_int_equal(part_mask(t, &p, &block, &out), PART_LIVES);
    add(t, tomb(1, T0 + 50 * STEP, T0 + 60 * STEP, 11));
    assert_int_equal(part_mask(t, &p, &block, &out), PART_CUT);
    struct slots s;
    assert_int_equal(codec_decode(out.data, out.size, 240, s.present, s.value, NULL), OK);
    assert_int_equal(slots_count(s.present, 240), 90);
    assert_true(out.key.hi == 9 && out.lo == 1 && slot_get(s.present, 49) && !slot_get(s.present, 50));
    add(t, tomb(1, 0, T0 + SPAN, 12));
    assert_int_equal(part_mask(t, &p, &block, &out), PART_DEAD);
    p.key.hi = 13; /* made by somebody who knew */
    assert_int_equal(part_mask(t, &p, &block, &out), PART_LIVES);
    p = (struct part){.key = {1, STEP, T0, 9}, .lo = 1, .data = (const uint8_t *)"\x40xyz", .size = 4};
    assert_int_equal(part_mask(t, &p, &block, &out), PART_LIVES); /* a roll-up */
    tombstones_free(t);
    buf_release(&bytes);
    buf_release(&block);
}

struct sum {
    size_t parts, points;
};

static int add_up(void *ctx, const struct part *p)
{
    struct sum *s = ctx;
    struct slots one;
    slots_init(&one, 240);
    assert_int_equal(codec_decode(p->data, p->size, 240, one.present, one.value, NULL), OK);
    s->parts++;
    s->points += slots_count(one.present, 240);
    return 0;
}

static struct sum stored(struct warm *w)
{
    struct sum s = {0};
    struct err err;
    assert_int_equal(warm_read(w, 1, STEP, 0, INT64_MAX, add_up, &s, &err), OK);
    return s;
}

static void warm_looks_as_if_it_had_never_come(void **state)
{
    struct tombstones *t = tombstones_new();
    struct warm *inner = warm_mem_new(NULL), *w = warm_masked_new(inner, t);
    struct buf bytes = BUF_INIT;
    struct err err = ERR_INIT;
    struct part p = part_of(&bytes, 5, 0, 100, 1);
    assert_int_equal(warm_put(w, &p, 1, NULL, 0, &err), OK);
    add(t, tomb(1, T0, T0 + 40 * STEP, 10));
    assert_true(stored(inner).points == 100 && stored(w).points == 60);
    p = part_of(&bytes, 7, 0, 100, 2); /* by somebody who does not know yet */
    assert_int_equal(warm_put(w, &p, 1, NULL, 0, &err), OK);
    assert_true(stored(inner).points == 160);
    p = part_of(&bytes, 8, 0, 30, 2);
    assert_int_equal(warm_put(w, &p, 1, NULL, 0, &err), OK);
    assert_true(stored(inner).parts == 2); /* nothing of it lives */
    p = part_of(&bytes, 11, 0, 30, 2);
    assert_int_equal(warm_put(w, &p, 1, NULL, 0, &err), OK);
    assert_true(stored(w).points == 60 + 60 + 30);
    struct sum seen = {0};
    unsigned tiers = 0;
    assert_int_equal(warm_read_told(w, 1, STEP, 0, INT64_MAX, add_up, &seen, &tiers, &err), OK);
    assert_true(seen.points == 150 && tiers == WARM_FROM_WARM);
    seen = (struct sum){0};
    assert_int_equal(warm_scan(w, STEP, 0, INT64_MAX, add_up, &seen, &err), OK);
    assert_true(seen.points == 150);
    warm_free(w);
    warm_free(inner);
    tombstones_free(t);
    buf_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_round_trip),
        cmocka_unit_test(records_that_make_no_sense_are_refused),
        cmocka_unit_test(only_older_points_in_the_range_are_hit),
        cmocka_unit_test(what_a_later_one_covers_goes),
        cmocka_unit_test(stamps_follow_a_series_and_pins_keep_it),
        cmocka_unit_test(random_sets_agree_with_a_plain_list),
        cmocka_unit_test(parts_lose_what_is_dead),
        cmocka_unit_test(warm_looks_as_if_it_had_never_come),
    };
    return cmocka_run_group_tests_name("deletion", tests, NULL, NULL);
}
