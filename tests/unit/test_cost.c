#include "base/mem.h"
#include "cost/cost.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct prices built_in(void)
{
    struct prices p;
    struct err err = ERR_INIT;
    if (prices_parse(prices_default_text, "built-in", &p, &err) != OK)
        fail_msg("%s", err.text);
    return p;
}

static void assert_near(double got, double want)
{
    if (fabs(got - want) > 0.01 * want)
        fail_msg("got %g, want %g", got, want);
}

/* The table of computed costs for 1 M series at one minute, with 0.6 B a point and 60 B an item. */
static void known_figures_come_out(void **state)
{
    static const struct {
        double points, writes, storage;
    } table[] = {{1, 27375, 0}, {60, 456, 36}, {120, 228, 21}, {360, 76, 11}, {720, 38, 9}, {1440, 19, 8}};
    struct prices p = built_in();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cost_load l = cost_load_default();
        struct cost c;
        l.warm_bytes_point = 0.6;
        l.warm_days = COST_HOURS_MONTH / 24; /* the table is of a month */
        l.window_points = table[i].points;
        cost_of(&l, &p, &c);
        assert_near(c.points_month, 43.8e9);
        assert_true(fabs(c.warm_writes - table[i].writes) < 0.6);
        if (table[i].storage)
            assert_true(fabs(c.warm_storage - table[i].storage) < 0.6);
        assert_true(c.shards == 1);
        assert_near(c.stream, 11.3); /* 16 B records in batches of 25 KB */
    }
}

static void cold_is_charged_by_bytes_and_packs(void **state)
{
    struct prices p = built_in();
    struct cost_load l = cost_load_default();
    struct cost c;
    l.cold_bytes_point = 0.6;
    l.keep_days = l.warm_days + 365.0 / 12;
    cost_of(&l, &p, &c);
    assert_near(c.cold_storage, 0.60);
    assert_true(c.cold_requests < 0.01); /* reads of a day never go there */
    l.read_days = 60;
    cost_of(&l, &p, &c);
    assert_near(c.cold_requests, 10 * 730 * 3600 * 1 / 1e3 * 0.0004 + c.puts_month / 1e3 * 0.005);
    l.keep_days = l.warm_days;
    cost_of(&l, &p, &c);
    assert_true(c.cold_bytes == 0 && c.puts_month == 0);
}

static void the_best_window_is_the_cheapest(void **state)
{
    struct prices p = built_in();
    struct cost_load l = cost_load_default();
    struct cost best;
    double points;
    cost_best_window(&l, &p, &points, &best);
    for (const double *h = cost_windows_h; *h; h++) {
        struct cost c;
        l.window_points = *h * 60;
        cost_of(&l, &p, &c);
        assert_true(best.total <= c.total);
        assert_true(points != l.window_points || best.total == c.total);
    }
    p.redis_gb_hour = 1000; /* memory is dear: short windows */
    cost_best_window(&l, &p, &points, &best);
    assert_true(points == 60);
    p.redis_gb_hour = 0; /* memory is free: long ones, as far as an item stays below its next KB */
    cost_best_window(&l, &p, &points, &best);
    assert_true(points >= 480);
}

static void bad_price_files_are_told(void **state)
{
    static const struct {
        const char *text, *words;
    } list[] = {
        {"date = 2026-01-01\ncurrency = USD\n", "missing"},
        {"[s3]\ngb_month = cheap\n", "expected a price"},
        {"[s3]\ngb_month = -1\n", "expected a price"},
        {"[s3]\ngb_mnth = 1\n", "gb_mnth"},
        {"colour = red\n", "colour"},
        {"[s3]\nwhat\n", "mine.conf:2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct prices p;
        struct err err = ERR_INIT;
        assert_int_equal(prices_parse(list[i].text, "mine.conf", &p, &err), ERR_INVALID);
        if (!strstr(err.text, list[i].words) || !strstr(err.text, "mine.conf"))
            fail_msg("%s", err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_figures_come_out),
        cmocka_unit_test(cold_is_charged_by_bytes_and_packs),
        cmocka_unit_test(the_best_window_is_the_cheapest),
        cmocka_unit_test(bad_price_files_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
