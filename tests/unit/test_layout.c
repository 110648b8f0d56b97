/* Layouts: what becomes of stored data when a rule changes, as plain values. */
#include "base/mem.h"
#include "model/layout_diff.h"
#include "model/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE 60000ll
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)
#define NOW    (20500 * DAY + 7 * HOUR + 13 * MINUTE + 1234)

static struct retention_rules *rules; /* of the last call; what they hand out must live on */

static const struct retention *rule(const char *retentions)
{
    char text[200];
    struct err err = ERR_INIT;
    snprintf(text, sizeof text, "[r]\npattern = .\nretentions = %s\n", retentions);
    assert_int_equal(retention_parse(text, "test", &rules, &err), OK);
    return retention_match(rules, "a", 1);
}

static struct layout made(const char *retentions, uint32_t step_ms)
{
    struct layout l;
    const struct retention *r = rule(retentions);
    layout_make(r, step_ms ? step_ms : r->archives[0].step_ms, &l);
    l.rule = "r";
    retention_free(rules);
    return l;
}

static struct layout prepared(const struct layout *l, const char *retentions, int64_t decided_ms,
                              int64_t at_ms)
{
    struct layout out;
    layout_change(l, rule(retentions), decided_ms, at_ms, &out);
    out.rule = "r";
    retention_free(rules);
    return out;
}

static struct layout changed(const struct layout *l, const char *retentions, int64_t at_ms)
{
    return prepared(l, retentions, at_ms, at_ms);
}

static struct layout clipped(const struct layout *l, const char *retentions)
{
    struct layout out;
    layout_clip(l, rule(retentions), &out);
    out.rule = "r";
    retention_free(rules);
    return out;
}

static void a_new_series_is_whole(void **state)
{
    struct layout l = made("60s:30d, 5m:1y, 1h:5y", 0);
    assert_int_equal(l.neras, 1);
    assert_int_equal(l.narchives, 2);
    assert_true(layout_era_whole_ms(&l, 0, NOW) == NOW - 30 * DAY);
    assert_true(layout_whole_ms(&l, 3600000, NOW) == NOW - 5 * YEAR);
    assert_int_equal(layout_coarsest_ms(&l), HOUR);
    assert_true(layout_longest_keep_ms(&l) == 5 * YEAR);
    /* One born with another step keeps the archives that fit it, as retention_of_step has it. */
    l = made("60s:30d, 5m:1y, 1h:5y", 300000);
    assert_int_equal(l.era[0].step_ms, 300000);
    assert_true(l.era[0].keep_ms == YEAR);
    assert_int_equal(l.narchives, 1);
}

static void the_same_rule_changes_nothing(void **state)
{
    struct layout l = made("60s:30d, 5m:1y", 0), again = changed(&l, "60s:30d, 5m:1y", NOW);
    assert_true(layout_same(&l, &again));
    assert_true(layout_era_whole_ms(&again, 0, NOW + DAY) == NOW + DAY - 30 * DAY);
    struct layout_diff d[LAYOUT_DIFFS_MAX];
    assert_int_equal(layout_diff(&l, &again, d), 0);
    struct layout clip = clipped(&l, "60s:30d, 5m:1y");
    assert_true(layout_equal(&l, &clip));
}

static void an_added_archive_reaches_back_as_far_as_its_sources(void **state)
{
    struct layout l = made("60s:30d, 1h:5y", 0), then = changed(&l, "60s:30d, 5m:1y, 1h:5y", NOW);
    const struct layout_archive *a = layout_find(&then, 300000);
    assert_true(a->keep_ms == YEAR && a->since_ms == ceil_to(NOW - 30 * DAY, 300000));
    /* From the 5 minutes, which go back for longer than the minutes do. */
    l = made("60s:30d, 5m:1y, 1h:5y", 0);
    then = changed(&l, "60s:30d, 5m:1y, 15m:2y, 1h:5y", NOW);
    assert_true(layout_find(&then, 900000)->since_ms == ceil_to(NOW - YEAR, 900000));
    struct layout_diff d[LAYOUT_DIFFS_MAX];
    assert_int_equal(layout_diff(&l, &then, d), 1);
    assert_true(d[0].kind == LAYOUT_ADDED && d[0].step_ms == 900000 && !d[0].points);
}

static void what_is_kept_for_longer_does_not_come_back(void **state)
{
    struct layout l = made("60s:30d, 1h:1y", 0), then = changed(&l, "60s:460d, 1h:5y", NOW);
    assert_true(layout_era_whole_ms(&then, 0, NOW) == NOW - 30 * DAY);
    assert_true(layout_era_whole_ms(&then, 0, NOW + 100 * DAY) == NOW - 30 * DAY);
    assert_true(layout_era_whole_ms(&then, 0, NOW + 1000 * DAY) == NOW + 540 * DAY);
    assert_true(layout_whole_ms(&then, 3600000, NOW) == NOW - YEAR);
}

static void a_shorter_keep_drops_single_windows(void **state)
{
    struct layout l = made("60s:460d, 1h:5y", 0), then = changed(&l, "60s:30d, 1h:5y", NOW);
    int64_t window = window_start(NOW - 40 * DAY, 60000);
    assert_false(layout_drops(&l, 60000, window, NOW));
    assert_true(layout_drops(&then, 60000, window, NOW));
    assert_false(layout_drops(&then, 60000, window_start(NOW - 30 * DAY, 60000), NOW));
    assert_false(layout_drops(&then, 3600000, window_start(NOW - 40 * DAY, 3600000), NOW));
    /* An archive that is none any more goes whole. */
    assert_true(layout_drops(&then, 300000, window_start(NOW, 300000), NOW));
    /* Before it is applied nothing is read for longer, and nothing goes. */
    struct layout clip = clipped(&l, "60s:30d, 1h:5y");
    assert_true(layout_era_whole_ms(&clip, 0, NOW) == NOW - 30 * DAY);
    clip = clipped(&l, "1h:1y");
    assert_true(layout_era_whole_ms(&clip, 0, NOW) == NOW - YEAR + 0 || clip.era[0].keep_ms == YEAR);
    assert_true(clip.archive[0].keep_ms == YEAR);
}

static void a_finer_step_leaves_the_old_points_an_era(void **state)
{
    struct layout l = made("60s:460d, 1h:5y", 0), then = changed(&l, "10s:6h, 60s:30d, 1h:5y", NOW);
    assert_int_equal(then.neras, 2);
    assert_int_equal(then.era[1].step_ms, 10000);
    int64_t from = then.era[1].from_ms;
    assert_true(from >= NOW && from < NOW + 4 * HOUR && from % window_span_ms(60000) == 0);
    assert_int_equal(layout_era_at(&then, from - 1), 0);
    assert_int_equal(layout_era_at(&then, from), 1);
    /* The old points are what the 60 s archive is for their time. */
    assert_true(then.era[0].keep_ms == 30 * DAY);
    assert_true(layout_is_base(&then, 60000, from - window_span_ms(60000)));
    assert_false(layout_is_base(&then, 60000, from));
    assert_non_null(layout_find(&then, 60000));
    struct layout_diff d[LAYOUT_DIFFS_MAX];
    assert_int_equal(layout_diff(&l, &then, d), 2);
    assert_true(d[0].kind == LAYOUT_STEP && d[0].step_ms == 10000 && d[0].was_ms == 60000 &&
                d[0].since_ms == from);
    assert_true(d[1].kind == LAYOUT_SHORTER && d[1].step_ms == 60000 && d[1].points);
    /* Once it has expired it is forgotten. */
    struct layout later = changed(&then, "10s:6h, 60s:30d, 1h:5y", from + 6 * YEAR);
    assert_int_equal(later.neras, 1);
}

static void a_coarser_step_rolls_the_old_points_up(void **state)
{
    struct layout l = made("60s:460d, 1h:5y", 0), then = changed(&l, "5m:2y, 1h:5y", NOW);
    assert_int_equal(then.neras, 2);
    assert_true(then.era[0].keep_ms == 0);
    const struct layout_archive *a = layout_find(&then, 300000);
    assert_true(a && a->keep_ms == 2 * YEAR && a->since_ms == ceil_to(NOW - 460 * DAY, 300000));
    int64_t from = then.era[1].from_ms;
    assert_true(from % DAY == 0 && from >= NOW);
    assert_true(layout_is_base(&then, 300000, from) && !layout_is_base(&then, 300000, from - DAY));
    assert_true(layout_drops(&then, 60000, window_start(NOW - 3 * DAY, 60000), NOW));
    /* What may still be written to stays a little. */
    assert_false(layout_drops(&then, 60000, window_start(NOW - DAY, 60000), NOW));
    assert_true(layout_store_keep_ms(&then, 60000) > LAYOUT_LINGER_MS);
    assert_true(layout_whole_ms(&then, 300000, NOW) == a->since_ms);
    /* Until it is switched to nothing is another era, but the archive is known. */
    struct layout next = prepared(&l, "5m:2y, 1h:5y", NOW, LAYOUT_NEVER);
    assert_int_equal(layout_era_at(&next, NOW + 1000 * YEAR), 0);
    assert_non_null(layout_find(&next, 300000));
    /* And back: the old minutes are gone, and not taken for there. */
    struct layout back = changed(&then, "60s:460d, 1h:5y", from + 10 * DAY);
    assert_int_equal(back.neras, 3);
    assert_true(layout_era_whole_ms(&back, 0, from + 20 * DAY) >= from);
    assert_true(back.era[1].step_ms == 300000 && back.era[1].keep_ms > 0);
}

static void steps_that_do_not_fit_stay(void **state)
{
    struct layout l = made("60s:460d, 1h:5y", 0);
    const struct retention *r = rule("90s:1y, 1h:5y");
    assert_non_null(layout_why_not(&l, r, NOW));
    retention_free(rules);
    struct layout then = changed(&l, "90s:1y, 1h:5y", NOW);
    assert_int_equal(then.neras, 1);
    assert_int_equal(layout_step_ms(&then), 60000);
    assert_int_equal(then.narchives, 1);
    /* Changed again and again: at most so many are remembered at a time. */
    int64_t now = NOW;
    for (int i = 0; i < 10; i++) {
        now += 30 * DAY;
        l = changed(&l, i % 2 ? "60s:460d, 1h:5y" : "10s:6h, 60s:460d, 1h:5y", now);
        assert_in_range(l.neras, 1, LAYOUT_ERAS);
    }
    assert_int_equal(l.neras, LAYOUT_ERAS);
}

/* --- any rules in any order --- */

static const char *const some_rules[] = {
    "60s:460d, 5m:2y, 1h:5y, 1d:30y",
    "60s:30d, 5m:1y, 1h:5y",
    "60s:30d",
    "10s:6h, 60s:30d, 1h:5y",
    "10s:2d, 1m:90d, 10m:1y",
    "5m:2y, 1h:5y",
    "5m:30d, 1h:1y, 1d:10y",
    "1h:5y",
    "30s:7d, 5m:1y",
    "90s:7d, 1h:1y",
    "1s:1h, 1m:30d, 15m:3y",
};

static void check_steps(const struct layout *l)
{
    for (size_t i = 0; i < l->neras; i++) {
        assert_true(i == 0 || l->era[i].from_ms >= layout_era_from(l, i - 1));
        for (size_t k = 0; k < l->neras; k++)
            assert_true(l->era[i].step_ms % l->era[k].step_ms == 0 ||
                        l->era[k].step_ms % l->era[i].step_ms == 0);
        for (size_t k = 0; k < l->narchives; k++)
            assert_true(l->archive[k].step_ms % l->era[i].step_ms == 0 ||
                        l->era[i].step_ms % l->archive[k].step_ms == 0);
    }
    for (size_t k = 1; k < l->narchives; k++)
        assert_true(l->archive[k].step_ms % l->archive[k - 1].step_ms == 0 &&
                    l->archive[k].step_ms > l->archive[k - 1].step_ms);
}

/* No window is of two kinds: where an era ends, so does every window that may hold its points or be made of
 * them. */
static void check_windows(const struct layout *l)
{
    for (size_t i = 1; i < l->neras; i++)
        for (size_t side = i - 1; side <= i; side++) {
            uint32_t step = l->era[side].step_ms;
            int64_t window = window_start(l->era[i].from_ms - 1, step);
            if (window + window_span_ms(step) <= l->era[i].from_ms)
                continue;
            uint32_t other = l->era[side == i ? i - 1 : i].step_ms;
            assert_true(other >= step); /* else roll-ups of this step would be in the same window */
        }
}

static void any_changes_in_any_order(void **state)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 2000; round++) {
        int64_t now = NOW;
        struct layout l = made(some_rules[rand() % ARRAY_LEN(some_rules)], rand() % 3 ? 0 : 60000);
        check_steps(&l);
        for (int i = 0; i < 8; i++) {
            const char *text = some_rules[rand() % ARRAY_LEN(some_rules)];
            struct layout then = changed(&l, text, now), next = prepared(&l, text, now, LAYOUT_NEVER), d;
            struct layout_diff diff[LAYOUT_DIFFS_MAX];
            layout_diff(&l, &then, diff);
            check_steps(&then);
            check_windows(&then);
            /* What is built beforehand is what there is afterwards. */
            assert_int_equal(then.narchives, next.narchives);
            for (size_t k = 0; k < then.narchives; k++)
                assert_int_equal(then.archive[k].step_ms, next.archive[k].step_ms);
            /* It follows the rule now: again is nothing, and the rule does not clip it. */
            d = changed(&then, text, now);
            assert_true(layout_same(&then, &d));
            d = clipped(&then, text);
            assert_true(layout_same(&then, &d));
            /* Nothing is claimed that was not there. */
            assert_true(layout_base_whole_ms(&then, now) >= layout_base_whole_ms(&l, now) ||
                        layout_step_ms(&l) != layout_step_ms(&then));
            l = then;
            now += rand() % (60 * DAY);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_series_is_whole),
        cmocka_unit_test(the_same_rule_changes_nothing),
        cmocka_unit_test(an_added_archive_reaches_back_as_far_as_its_sources),
        cmocka_unit_test(what_is_kept_for_longer_does_not_come_back),
        cmocka_unit_test(a_shorter_keep_drops_single_windows),
        cmocka_unit_test(a_finer_step_leaves_the_old_points_an_era),
        cmocka_unit_test(a_coarser_step_rolls_the_old_points_up),
        cmocka_unit_test(steps_that_do_not_fit_stay),
        cmocka_unit_test(any_changes_in_any_order),
    };
    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
