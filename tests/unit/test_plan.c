/* Which archive answers which part of a read. */
#include "model/window.h"
#include "reader/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE 60000ll
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define NOW    (20500 * DAY + 7 * HOUR + 13 * MINUTE + 1234)

static const struct retention usual = {
    "default",
    4,
    {{60000, 460 * DAY}, {300000, 2 * 365 * DAY}, {3600000, 5 * 365 * DAY}, {86400000, 30 * 365 * DAY}}};

static struct plan plan(int64_t from, int64_t until, size_t max_points)
{
    struct plan p;
    plan_make(&usual, NOW, from, until, max_points ? (until - from) / (int64_t)max_points : 0, &p);
    return p;
}

static void a_recent_range_is_read_from_the_base(void **state)
{
    struct plan p = plan(NOW - DAY, NOW, 0);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.span[0].archive, 0);
    assert_int_equal(p.step_ms, MINUTE);
    assert_int_equal(p.span[0].from_ms, ceil_to(NOW - DAY, MINUTE));
    assert_int_equal(p.span[0].until_ms, ceil_to(NOW, MINUTE));
}

static void a_border_is_crossed_on_a_slot_of_the_coarser(void **state)
{
    struct plan p = plan(NOW - 500 * DAY, NOW, 0);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.span[0].archive, 1);
    assert_int_equal(p.span[1].archive, 0);
    assert_int_equal(p.step_ms, 5 * MINUTE);
    assert_int_equal(p.span[0].until_ms, ceil_to(NOW - 460 * DAY, 5 * MINUTE));
    assert_int_equal(p.span[1].from_ms, p.span[0].until_ms);
    p = plan(NOW - 3000 * DAY, NOW, 0);
    assert_int_equal(p.n, 4);
    assert_int_equal(p.step_ms, DAY);
    /* Older than all of them: the coarsest has it if any has. */
    p = plan(NOW - 20000 * DAY, NOW - 15000 * DAY, 0);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.span[0].archive, 3);
}

static void fewer_points_are_read_from_the_coarsest_that_has_enough(void **state)
{
    assert_int_equal(plan(NOW - 30 * DAY, NOW, 43200).step_ms, MINUTE);
    assert_int_equal(plan(NOW - 30 * DAY, NOW, 8640).step_ms, 5 * MINUTE);
    assert_int_equal(plan(NOW - 30 * DAY, NOW, 8641).step_ms, MINUTE);
    assert_int_equal(plan(NOW - 30 * DAY, NOW, 720).step_ms, HOUR);
    assert_int_equal(plan(NOW - 30 * DAY, NOW, 30).step_ms, DAY);
    assert_int_equal(plan(NOW - 30 * DAY, NOW, 1).step_ms, DAY);
    assert_int_equal(plan(NOW - HOUR, NOW, 1000).step_ms, MINUTE);
    /* What is asked for coarser than it is kept is read in one step over both sides of the border. */
    struct plan p = plan(NOW - 500 * DAY, NOW, 1000);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.span[0].archive, 2);
}

static void nothing_is_planned_for_nothing(void **state)
{
    assert_int_equal(plan(NOW, NOW, 0).n, 0);
    assert_int_equal(plan(NOW, NOW - DAY, 10).n, 0);
    assert_int_equal(plan(NOW + 1, NOW + 2, 0).n, 0); /* no slot starts there */
}

/* Too short for a slot of the coarser archive: what is left of the border does not make the rest coarse. */
static void a_sliver_before_the_border_does_not_coarsen(void **state)
{
    int64_t border = ceil_to(NOW - 460 * DAY, 5 * MINUTE);
    struct plan p = plan(border - MINUTE, border + DAY, 0);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.step_ms, MINUTE);
    assert_int_equal(p.span[0].from_ms, border);
}

static void random_retention(struct retention *r)
{
    static const uint32_t factors[] = {2, 3, 5, 6, 12, 24, 60};
    *r = (struct retention){.rule = "random", .narchives = 1 + (size_t)rand() % 5};
    uint32_t step = 1000u << (rand() % 3);
    int64_t keep = 0;
    for (size_t i = 0; i < r->narchives; i++) {
        keep += (int64_t)step * (1 + rand() % 300);
        r->archives[i] = (struct retention_archive){step, keep};
        uint64_t next = (uint64_t)step * factors[rand() % 7];
        if (next > STEP_MAX_MS)
            r->narchives = i + 1;
        step = (uint32_t)next;
    }
}

static void spans_tile_the_range_with_the_finest_that_holds_it(void **state)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 20000; round++) {
        struct retention r;
        struct plan p;
        random_retention(&r);
        int64_t whole = r.archives[r.narchives - 1].keep_ms;
        int64_t from = NOW - rand() % (whole + whole / 4),
                until = from + rand() % (NOW - from + whole / 8 + 1);
        size_t points = rand() % 2 ? 0 : 1 + (size_t)rand() % 2000;
        plan_make(&r, NOW, from, until, points ? (until - from) / (int64_t)points : 0, &p);
        size_t finest = 0;
        for (size_t i = 0; i < r.narchives && points; i++)
            if ((int64_t)r.archives[i].step_ms * (int64_t)points <= until - from)
                finest = i;
        for (size_t i = 0; i < p.n; i++) {
            const struct plan_span *s = &p.span[i];
            assert_true(s->from_ms < s->until_ms && s->archive >= finest);
            assert_true(i == 0 || (s->from_ms == s[-1].until_ms && s->archive < s[-1].archive));
            /* It is still kept, but for the coarsest; and a finer one is not kept at the whole span's
             * beginning. */
            assert_true(s->archive + 1 == r.narchives || s->from_ms >= NOW - r.archives[s->archive].keep_ms);
            if (s->archive > finest) {
                int64_t coarse = r.archives[s->archive].step_ms;
                assert_true(s->until_ms - coarse < NOW - r.archives[s->archive - 1].keep_ms ||
                            s->from_ms < NOW - r.archives[s->archive - 1].keep_ms);
            }
            assert_int_equal(s->from_ms % r.archives[s->archive].step_ms, 0);
        }
        if (!p.n)
            continue;
        int64_t first = p.span[0].from_ms, end = p.span[p.n - 1].until_ms;
        assert_int_equal(p.step_ms, r.archives[p.span[0].archive].step_ms);
        assert_true(first % p.step_ms == 0 && end % p.step_ms == 0);
        assert_true(first >= from && end >= until && end - until < p.step_ms);
        assert_true(first - from < STEP_MAX_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recent_range_is_read_from_the_base),
        cmocka_unit_test(a_border_is_crossed_on_a_slot_of_the_coarser),
        cmocka_unit_test(fewer_points_are_read_from_the_coarsest_that_has_enough),
        cmocka_unit_test(nothing_is_planned_for_nothing),
        cmocka_unit_test(a_sliver_before_the_border_does_not_coarsen),
        cmocka_unit_test(spans_tile_the_range_with_the_finest_that_holds_it),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
